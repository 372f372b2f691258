#include "plan.h"

#include <inttypes.h>

#include "mem.h"

/* a + b * c, false on overflow */
static bool add_product(uint64_t a, uint64_t b, uint64_t c, uint64_t *out)
{
    uint64_t p;
    return !__builtin_mul_overflow(b, c, &p) && !__builtin_add_overflow(a, p, out);
}

static int plan_check(const struct plan_input *in, struct err *e)
{
    if (in->on_device && in->weights_mapped)
        FAIL(e, ERR_BUG, "plan_make: weights on a device cannot be mapped");
    if (in->n_layer < 0 || in->n_ctx < 1 || in->n_seq < 1 || in->kv_bytes_per_token < 1)
        FAIL(e, ERR_BUG, "plan_make: %d layers, %d tokens, %d sequences, %" PRIu64 " bytes a token",
             in->n_layer, in->n_ctx, in->n_seq, in->kv_bytes_per_token);
    return 0;
}

/* What the KV pool may take unasked. On the host half of the memory, which others use too; on a device
 * what the rest of the model leaves, less a part for what the driver takes as it goes. */
static uint64_t plan_kv_most(const struct plan_input *in)
{
    if (!in->on_device)
        return in->ram_bytes / 2;
    uint64_t rest = in->shared_bytes;
    bool ok = add_product(rest, in->workspace_bytes, 1, &rest);
    for (int i = 0; i < in->n_layer; i++)
        ok = ok && add_product(rest, in->layer_bytes[i], 1, &rest);
    uint64_t left = ok && in->ram_bytes > rest ? in->ram_bytes - rest : 0;
    return left - left / 16;
}

/* Bytes of the KV pool, a whole number of tokens. */
static int plan_kv(const struct plan_input *in, struct plan *p, struct err *e)
{
    uint64_t token = in->kv_bytes_per_token, one, all;
    if (!add_product(0, token, (uint64_t)in->n_ctx, &one) ||
        !add_product(0, one, (uint64_t)in->n_seq, &all))
        FAIL(e, ERR_USAGE,
             "cannot plan: the size of %d sequences of %d tokens overflows; lower --ctx or --sequences",
             in->n_seq, in->n_ctx);
    uint64_t want = in->kv_bytes ? in->kv_bytes : all;
    uint64_t most = plan_kv_most(in);
    if (in->kv_bytes == 0 && in->ram_bytes && want > most)
        want = most > one ? most : one;
    if (want < one)
        FAIL(e, ERR_USAGE,
             "cannot place the KV cache: one sequence of %d tokens needs %" PRIu64 " bytes, %" PRIu64
             " were asked for; raise --kv-bytes, or lower --ctx or --kv-type q8_0",
             in->n_ctx, one, want);
    p->kv_tokens = (int64_t)(want / token > INT64_MAX ? INT64_MAX : want / token);
    p->kv_bytes = (uint64_t)p->kv_tokens * token;
    return 0;
}

/* Weights and the sum of all that needs memory of our own, against what there is. */
static int plan_sum(const struct plan_input *in, struct plan *p, struct err *e)
{
    uint64_t weights = in->shared_bytes, total = p->kv_bytes;
    bool ok = true;
    for (int i = 0; i < in->n_layer; i++)
        ok = ok && add_product(weights, in->layer_bytes[i], 1, &weights);
    ok = ok && add_product(total, in->workspace_bytes, 1, &total);
    if (!in->weights_mapped)
        ok = ok && add_product(total, weights, 1, &total);
    if (!ok)
        FAIL(e, ERR_USAGE, "cannot plan: the sum of weights, KV cache and workspace overflows");
    if (in->ram_bytes && total > in->ram_bytes)
        FAIL(e, ERR_USAGE,
             "cannot place the model: needs %" PRIu64 " MiB (%sKV cache %" PRIu64
             " MiB, workspace %" PRIu64 " MiB), %" PRIu64
             " MiB available%s; lower --ctx, --sequences or --kv-type q8_0%s",
             (total >> 20) + 1, in->weights_mapped ? "" : "weights copied, ", p->kv_bytes >> 20,
             in->workspace_bytes >> 20, in->ram_bytes >> 20, in->on_device ? " on the device" : "",
             in->on_device ? ", raise --vram where it is set, or choose --backend cpu" : "");
    p->weight_bytes = weights;
    p->total_bytes = total;
    return 0;
}

int plan_make(const struct plan_input *in, struct plan *out, struct err *e)
{
    struct plan p = {.n_layer = in->n_layer, .workspace_bytes = in->workspace_bytes,
                     .weights_mapped = in->weights_mapped};
    TRY(plan_check(in, e));
    TRY(plan_kv(in, &p, e));
    TRY(plan_sum(in, &p, e));
    p.attn = mem_zalloc(2 * (size_t)in->n_layer, sizeof *p.attn);
    if (!p.attn)
        return NOMEM(e, 2 * (size_t)in->n_layer * sizeof *p.attn, "a plan");
    p.ffn = p.attn + in->n_layer;
    p.embed = p.output = in->on_device ? PLAN_VRAM : PLAN_HOST;
    for (int i = 0; i < 2 * in->n_layer; i++)
        p.attn[i] = p.embed;
    *out = p;
    return 0;
}

void plan_free(struct plan *p)
{
    mem_free(p->attn);
    *p = (struct plan){0};
}

enum plan_place plan_at(const struct plan *p, enum plan_part part, int layer)
{
    if (part == PART_ATTN || part == PART_FFN)
        return part == PART_ATTN ? p->attn[layer] : p->ffn[layer];
    return part == PART_EMBED ? p->embed : p->output;
}

static const char *place_name(enum plan_place place)
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

static void describe_row(struct str *out, const char *what, uint64_t bytes, const char *where)
{
    str_addf(out, "%-10s %10.1f MiB  %s\n", what, (double)bytes / 1048576.0, where);
}

void plan_describe(const struct plan *p, struct str *out)
{
    describe_row(out, "weights", p->weight_bytes,
                 p->weights_mapped ? "read from the page cache" : "copied to memory");
    for (int i = 0, k; i < p->n_layer; i = k) { /* one row for neighbours in the same place */
        for (k = i + 1; k < p->n_layer && p->attn[k] == p->attn[i];)
            k++;
        str_addf(out, "  layers %d to %d: %s\n", i, k - 1, place_name(p->attn[i]));
    }
    describe_row(out, "KV cache", p->kv_bytes, "");
    str_addf(out, "  %" PRId64 " tokens\n", p->kv_tokens);
    describe_row(out, "workspace", p->workspace_bytes, "");
    describe_row(out, "our own", p->total_bytes, "");
}
