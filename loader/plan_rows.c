/* plan_rows: tensor parallel, where every device has a share of each matrix, against a pipeline. */
#include "plan_try.h"

#include <inttypes.h>
#include <stdio.h>

#include "mem.h"

static uint64_t workspace_of(const struct plan_input *in, int d)
{
    const uint64_t own = in->device[d].workspace_bytes;
    return own ? own : in->rows.workspace_bytes ? in->rows.workspace_bytes : in->workspace_bytes;
}

static bool output_divides(const struct plan_input *in)
{
    return in->rows.n_vocab > 0 && in->rows.n_vocab % in->n_device == 0;
}

/* Bytes of weights on device d; an upper bound, as shares are aligned. False on overflow. */
static bool weights_of(const struct plan_input *in, int d, uint64_t *out)
{
    const uint64_t n = (uint64_t)in->n_device;
    uint64_t sum = 0;
    bool ok = plan_add(0, in->rows.more_bytes, (uint64_t)in->n_layer, &sum);
    for (int l = 0; l < in->n_layer; l++)
        ok = ok && plan_add(sum, in->attn_bytes[l] / n, 1, &sum) &&
             plan_add(sum, in->ffn_bytes[l] / n, 1, &sum);
    if (d == 0)
        ok = ok && plan_add(sum, in->embed_bytes, 1, &sum);
    if (output_divides(in)) /* of a tied matrix, the first device's share lies in the embedding */
        ok = ok && plan_add(sum, (in->output_bytes - (d ? 0 : in->tied_bytes)) / n, 1, &sum) &&
             plan_add(sum, in->rows.output_more, 1, &sum);
    else if (d == in->n_device - 1)
        ok = ok && plan_add(sum, in->output_bytes, 1, &sum);
    *out = sum;
    return ok;
}

/* Fills the shares, without the KV cache. *tokens: those for which every device has room. */
static bool shares_fill(const struct plan_input *in, struct plan *p, uint64_t *tokens)
{
    const uint64_t token = in->kv_bytes_per_token / (uint64_t)in->n_device;
    *tokens = UINT64_MAX;
    for (int d = 0; d < in->n_device; d++) {
        struct plan_share *s = &p->share[d];
        const uint64_t vram = in->device[d].vram_bytes, room = vram - vram / VRAM_SLACK;
        uint64_t need;
        *s = (struct plan_share){.n = in->n_layer, .workspace_bytes = workspace_of(in, d)};
        if (!weights_of(in, d, &s->vram_weight_bytes) ||
            !plan_add(s->vram_weight_bytes, s->workspace_bytes, 1, &need) || need > room)
            return false;
        *tokens = (room - need) / token < *tokens ? (room - need) / token : *tokens;
    }
    return true;
}

static void sum_up(struct plan *p)
{
    p->vram_weight_bytes = p->workspace_bytes = p->total_bytes = 0;
    for (int d = 0; d < p->n_device; d++) {
        struct plan_share *s = &p->share[d];
        s->kv_bytes = p->kv_bytes / (uint64_t)p->n_device;
        s->total_bytes = s->vram_weight_bytes + s->workspace_bytes + s->kv_bytes;
        p->vram_weight_bytes += s->vram_weight_bytes;
        p->workspace_bytes += s->workspace_bytes;
        p->total_bytes += s->total_bytes;
    }
}

/* All parts in VRAM, and the KV cache in the room beside them. False: they do not fit. */
static int rows_fill(const struct plan_input *in, struct plan *p, bool *fits, struct err *e)
{
    uint64_t one, want, tokens;
    TRY(plan_kv_need(in, &one, &want, e));
    p->mode = PLAN_AUTO;
    p->split = PLAN_ROWS;
    p->rows_output = output_divides(in);
    p->n_device = in->n_device;
    p->n_micro = 1;
    p->n_border = p->micro_rows = 0;
    p->embed = p->output = PLAN_VRAM;
    for (int l = 0; l < in->n_layer; l++)
        p->attn[l] = p->ffn[l] = PLAN_VRAM;
    p->n_resident = 2 * in->n_layer + 2;
    p->stream_bytes = p->host_bytes = p->ring_bytes = p->pinned_bytes = 0;
    p->keep_pinned = false;
    *fits = shares_fill(in, p, &tokens) && tokens >= (uint64_t)in->n_ctx;
    if (!*fits)
        return 0;
    const uint64_t most =
        tokens > UINT64_MAX / in->kv_bytes_per_token ? UINT64_MAX : tokens * in->kv_bytes_per_token;
    *fits = !in->kv_bytes || want <= most;
    plan_kv_set(in, p, want < most ? want : most);
    sum_up(p);
    return 0;
}

/* True when tensor parallel is possible; otherwise `why` says why not. */
static bool divides(const struct plan_input *in, char *why, size_t cap)
{
    const int n = in->n_device;
    bool rates = true;
    for (int i = 0; i < n * n; i++)
        rates = rates && (i / n == i % n || in->hop[i].rate > 0) && in->device[i / n].link > 0;
    if (in->rows.units < 1 || in->rows.units % n ||
        in->kv_bytes_per_token % ((uint64_t)in->n_layer * (uint64_t)n))
        snprintf(why, cap,
                 "KV heads, feed-forward rows and width form %d shares, which %d devices cannot "
                 "divide evenly",
                 in->rows.units, n);
    else if (in->n_host > 0)
        snprintf(why, cap, "matrices are divided only if the CPU computes no layer");
    else if (!rates)
        snprintf(why, cap, "the rate between the devices is unknown");
    else
        return true;
    return false;
}

static double score(const struct plan_input *in, const struct plan *p)
{
    return in->mode == PLAN_LATENCY ? p->one.step_s
                                    : p->all.step_s / (double)(p->n_seq ? p->n_seq : 1);
}

static void note_both(struct plan *p, const struct plan *layers, const struct plan *rows)
{
    p->layers_one = layers->one;
    p->layers_all = layers->all;
    p->layers_n_seq = layers->n_seq;
    if (!rows)
        return;
    p->rows_one = rows->one;
    p->rows_all = rows->all;
    p->rows_n_seq = rows->n_seq;
}

/* Keeps the pipeline p or replaces it by `rows`. */
static void choose(const struct plan_input *in, struct plan *p, const struct plan *rows)
{
    const struct plan layers = *p;
    const double by_rows = score(in, rows), by_layers = score(in, p);
    const bool take =
        in->split == PLAN_ROWS || (in->split == PLAN_SPLIT_AUTO && by_rows < by_layers);
    if (take)
        plan_copy(p, rows);
    note_both(p, &layers, rows);
    snprintf(p->why, sizeof p->why, "%s would take %.0f %% of the time%s",
             take ? "runs of layers" : "tensor parallel",
             100 * (take ? by_layers / by_rows : by_rows / by_layers),
             in->split != PLAN_SPLIT_AUTO ? "; this way was asked for" : "");
}

int plan_rows_predict(const struct plan_input *in, struct plan *p, struct err *e)
{
    struct search s;
    int rc;
    TRY_DONE(plan_try_open(&s, in, p, e));
    TRY_DONE(plan_try_step(&s, p, 1, 1, &p->one, e));
    TRY_DONE(plan_try_step(&s, p, p->n_seq > 0 ? p->n_seq : 1, 1, &p->all, e));
done:
    plan_try_close(&s);
    return rc;
}

int plan_rows(const struct plan_input *in, struct plan *p, struct err *e)
{
    char why[sizeof p->why];
    bool fits = divides(in, why, sizeof why);
    struct plan rows = *p;
    const size_t n = (size_t)in->n_layer;
    rows.attn = mem_zalloc(2 * n + 1, sizeof *rows.attn);
    if (!rows.attn)
        return NOMEM(e, (2 * n + 1) * sizeof *rows.attn, "a plan");
    rows.ffn = rows.attn + n;
    int rc = 0;
    if (fits) {
        TRY_DONE(rows_fill(in, &rows, &fits, e));
        if (!fits)
            snprintf(why, sizeof why,
                     "equal shares of weights, with workspace and KV cache, do not fit the devices "
                     "(%" PRIu64 " MiB of weights each)",
                     rows.share[0].vram_weight_bytes >> 20);
    }
    if (fits) {
        TRY_DONE(plan_rows_predict(in, &rows, e));
        choose(in, p, &rows);
    } else if (in->split == PLAN_ROWS) {
        TRY_DONE(err_set(e, ERR_USAGE,
                         "cannot divide the matrices among %d devices: %s; use --split layers or "
                         "auto",
                         in->n_device, why));
    } else {
        const struct plan layers = *p;
        note_both(p, &layers, NULL);
        snprintf(p->why, sizeof p->why, "%s", why);
    }
done:
    mem_free(rows.attn);
    return rc;
}
