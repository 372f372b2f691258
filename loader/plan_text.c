/* plan_text: names of places, and a plan in words. */
#include "plan.h"

#include <inttypes.h>

#include "check.h"

const char *plan_place_name(enum plan_place place)
{
    switch (place) {
    case PLAN_HOST:
        return "host";
    case PLAN_VRAM:
        return "VRAM";
    case PLAN_STREAM:
        return "streamed";
    }
    return "nowhere";
}

static const char *const mode_names[PLAN_MODE_COUNT] = {"auto", "latency", "throughput"};

const char *plan_mode_name(enum plan_mode mode)
{
    CHECK((unsigned)mode < PLAN_MODE_COUNT);
    return mode_names[mode];
}

static const char *const split_names[PLAN_SPLIT_COUNT] = {"auto", "layers", "rows"};

const char *plan_split_name(enum plan_split split)
{
    CHECK((unsigned)split < PLAN_SPLIT_COUNT);
    return split_names[split];
}

static void describe_row(struct str *out, const char *what, uint64_t bytes, const char *where)
{
    str_addf(out, "%-10s %10.1f MiB%s%s\n", what, (double)bytes / 1048576.0, *where ? "  " : "",
             where);
}

/* "ffn: 31 VRAM, 49 streamed" */
static void describe_places(struct str *out, const char *what, const enum plan_place *place, int n)
{
    static const enum plan_place order[] = {PLAN_VRAM, PLAN_STREAM, PLAN_HOST};
    const char *between = ": ";
    str_adds(out, what);
    for (size_t k = 0; k < sizeof order / sizeof *order; k++) {
        int count = 0;
        for (int l = 0; l < n; l++)
            count += place[l] == order[k];
        if (count)
            str_addf(out, "%s%d %s", between, count, plan_place_name(order[k]));
        between = count ? ", " : between;
    }
}

/* "device 0: layers 0 to 39, 20.6 GB of weights in VRAM, 1.2 GB streamed, KV cache 3.0 GB" */
static void describe_share(struct str *out, const struct plan *p, int d)
{
    const struct plan_share *s = &p->share[d];
    if (!s->n) {
        str_addf(out, "  device %d: not used\n", d);
        return;
    }
    if (p->split == PLAN_ROWS)
        str_addf(out, "  device %d: 1/%d of every matrix", d, p->n_device);
    else
        str_addf(out, "  device %d: layers %d to %d", d, s->first, s->first + s->n - 1);
    str_addf(out, ", %.1f GB of weights in VRAM", (double)s->vram_weight_bytes * 1e-9);
    if (s->stream_bytes)
        str_addf(out, ", %.1f GB streamed", (double)s->stream_bytes * 1e-9);
    str_addf(out, ", KV cache %.1f GB\n", (double)s->kv_bytes * 1e-9);
}

static void describe_devices(const struct plan *p, struct str *out)
{
    if (p->n_device < 2)
        return;
    for (int d = 0; d < p->n_device; d++)
        describe_share(out, p, d);
    for (int b = 0; b < p->n_border; b++)
        str_addf(out, "  border before layer %d: device %d to %d, %s, %" PRIu64 " bytes a row\n",
                 p->border[b].layer, p->border[b].from, p->border[b].to,
                 p->border[b].peer ? "directly" : "through main memory", p->border[b].row_bytes);
    if (p->n_micro > 1)
        str_addf(out, "  steps of %d rows or more run as %d micro-batches\n", p->micro_rows,
                 p->n_micro);
    str_addf(out, "  %s: %s\n", p->split == PLAN_ROWS ? "tensor parallel" : "runs of layers",
             p->why);
}

void plan_describe(const struct plan *p, struct str *out)
{
    describe_row(out, "weights", p->weight_bytes,
                 p->weights_mapped ? "read from the page cache" : "copied to memory");
    str_addf(out, "  embed: %s\n  ", plan_place_name(p->embed));
    describe_places(out, "attn", p->attn, p->n_layer);
    str_adds(out, "\n  ");
    describe_places(out, "ffn", p->ffn, p->n_layer);
    str_addf(out, "\n  output: %s\n", plan_place_name(p->output));
    describe_devices(p, out);
    if (p->ring_bytes) {
        describe_row(out, "streamed", p->stream_bytes, "in every step");
        describe_row(out, "ring", p->ring_bytes, "on the device");
        describe_row(out, "pinned", p->pinned_bytes,
                     p->keep_pinned ? "on the host, all streamed weights"
                                    : "on the host, filled from the disk");
    }
    describe_row(out, "KV cache", p->kv_bytes, "");
    str_addf(out, "  %" PRId64 " tokens\n", p->kv_tokens);
    if (p->swap_bytes)
        describe_row(out, "swap", p->swap_bytes, "on the host, for pages of the KV cache");
    describe_row(out, "workspace", p->workspace_bytes, "");
    describe_row(out, "our own", p->total_bytes, "");
    if (p->one.step_s > 0)
        str_addf(out, "predicted  %10.1f tokens/s for 1 sequence, %.1f for %d (%s)\n",
                 1 / p->one.step_s, (double)p->n_seq / p->all.step_s, p->n_seq,
                 plan_mode_name(p->mode));
}

void plan_line(const struct plan *p, struct str *out)
{
    if (plan_is_resident(p)) {
        str_adds(out, "all resident");
    } else {
        str_addf(out, "%s; embed: %s; ", plan_mode_name(p->mode), plan_place_name(p->embed));
        describe_places(out, "attn", p->attn, p->n_layer);
        str_adds(out, "; ");
        describe_places(out, "ffn", p->ffn, p->n_layer);
        str_addf(out, "; output: %s", plan_place_name(p->output));
    }
    for (int d = 0; d < p->n_device && p->n_device > 1 && p->split != PLAN_ROWS; d++)
        if (p->share[d].n)
            str_addf(out, "; device %d: layers %d to %d", d, p->share[d].first,
                     p->share[d].first + p->share[d].n - 1);
    if (p->split == PLAN_ROWS)
        str_addf(out, "; matrices shared by %d devices", p->n_device);
    str_addf(out, "; KV cache of %" PRId64 " tokens", p->kv_tokens);
}
