#include <math.h>
#include <stdio.h>

#include "case.h"

#define KV_PAGES 7

static const struct kv_shape {
    enum fmt fmt;
    int n_row, page_tokens, n_kv_head, head_dim;
    bool bench;
    float std;         /* deviation of k */
    int n_head, n_rot; /* heads of q; n_rot 0: no rope */
    enum rope_pairs pairs;
    bool odd; /* frequencies that no model should have: negative, NaN, infinite */
} kv_shapes[] = {
    {FMT_F16, 1, 16, 1, 8, false, 2, 0, 0, ROPE_ADJACENT, false},
    {FMT_F16, 19, 32, 2, 40, false, 2, 0, 0, ROPE_ADJACENT, false},
    {FMT_F16, 3, 16, 2, 5, false, 2, 0, 0, ROPE_ADJACENT, false},
    {FMT_F16, 4, 16, 1, 40, false, 1e6f, 0, 0, ROPE_ADJACENT,
     false}, /* beyond the range of a half */
    {FMT_F32, 5, 16, 1, 64, false, 2, 0, 0, ROPE_ADJACENT, false},
    {FMT_F32, 3, 16, 1, 7, false, 2, 0, 0, ROPE_ADJACENT, false},
    {FMT_BF16, 5, 64, 3, 64, false, 2, 0, 0, ROPE_ADJACENT, false},
    {FMT_BF16, 4, 16, 2, 9, false, 2, 0, 0, ROPE_ADJACENT, false},
    {FMT_Q8_0, 1, 16, 1, 32, false, 2, 0, 0, ROPE_ADJACENT, false}, /* one block */
    {FMT_Q8_0, 33, 16, 2, 64, false, 2, 0, 0, ROPE_ADJACENT, false},
    {FMT_Q8_0, 3, 32, 8, 128, false, 2, 0, 0, ROPE_ADJACENT, false},
    /* scales of 1.3 times the smallest half */
    {FMT_Q8_0, 4, 16, 1, 64, false, 6e-6f, 0, 0, ROPE_ADJACENT, false},
    {FMT_Q4_0, 4, 32, 1, 128, false, 2, 0, 0, ROPE_ADJACENT, false},
    /* enough blocks to reach a difference in the last step of a search for the scale */
    {FMT_Q4_0, 96, 32, 4, 64, false, 2, 0, 0, ROPE_ADJACENT, false},
    {FMT_F16, 19, 32, 2, 40, false, 2, 6, 40, ROPE_ADJACENT, false},
    {FMT_F16, 3, 16, 2, 5, false, 2, 1, 4, ROPE_HALVES, false}, /* an odd length, rotated in part */
    {FMT_F32, 5, 16, 1, 300, false, 2, 9, 300, ROPE_ADJACENT, false}, /* more pairs than threads */
    {FMT_BF16, 2, 64, 3, 64, false, 2, 3, 32, ROPE_HALVES, false},
    {FMT_Q8_0, 5, 32, 8, 128, false, 2, 32, 128, ROPE_ADJACENT, false},
    {FMT_Q8_0, 33, 16, 2, 64, false, 2, 8, 64, ROPE_HALVES, false},
    {FMT_Q4_0, 7, 32, 3, 512, false, 2, 3, 512, ROPE_ADJACENT, false},
    {FMT_F32, 1, 16, 1, 2, false, 2, 1, 2, ROPE_ADJACENT, false},
    {FMT_F32, 5, 16, 1, 80, false, 2, 4, 32, ROPE_HALVES, false},
    {FMT_F32, 33, 16, 8, 128, false, 2, 8, 128, ROPE_HALVES, false},
    {FMT_F32, 7, 16, 1, 10, false, 2, 3, 6, ROPE_ADJACENT, false},
    {FMT_F32, 3, 16, 1, 16, false, 2, 2, 12, ROPE_ADJACENT, true},
    /* Gemma 3, Phi-3 mini, Phi-4 mini (rotated in part), Mistral Small 3 */
    {FMT_F16, 5, 16, 1, 256, false, 2, 4, 256, ROPE_HALVES, false},
    {FMT_Q8_0, 5, 32, 4, 256, false, 2, 8, 256, ROPE_HALVES, false},
    {FMT_Q4_0, 3, 16, 1, 256, false, 2, 4, 256, ROPE_HALVES, false},
    {FMT_Q8_0, 4, 16, 2, 96, false, 2, 2, 96, ROPE_HALVES, false},
    {FMT_Q4_0, 4, 16, 2, 96, false, 2, 2, 96, ROPE_HALVES, false},
    {FMT_Q8_0, 3, 16, 8, 128, false, 2, 24, 96, ROPE_HALVES, false},
    {FMT_F16, 3, 16, 8, 128, false, 2, 32, 128, ROPE_ADJACENT, false},
    {FMT_F16, 448, 64, 8, 128, true, 2, 0, 0, ROPE_ADJACENT, false},
    {FMT_Q8_0, 448, 64, 8, 128, true, 2, 0, 0, ROPE_ADJACENT, false},
    {FMT_Q8_0, 1, 64, 8, 128, true, 2, 32, 128, ROPE_ADJACENT, false},
    {FMT_Q8_0, 448, 64, 8, 128, true, 2, 32, 128, ROPE_ADJACENT, false},
};

static int kv_write_run(const struct op_case *c, void *const *dev, struct ops *ops,
                        struct stream *s, struct err *e)
{
    struct kv_view kv = c->kv;
    kv.k = dev[3];
    kv.v = dev[4];
    struct kv_write_args a = c->args.kv_write;
    a.k = dev[0];
    a.v = dev[1];
    a.slot = dev[2];
    a.kv = &kv;
    if (a.rope.n_head) {
        a.rope.q = dev[5];
        a.rope.pos = dev[6];
        a.rope.inv_freq = dev[7];
    }
    return ops->kv_write(ops, s, &a, e);
}

/* A rotated number of k near a rounding border may round to either side. So the tolerance is one
 * step of the format, for numbers up to 5. */
static void kv_write_tolerance(struct op_case *c, enum fmt fmt)
{
    const double step = fmt == FMT_F32    ? 3e-6
                        : fmt == FMT_F16  ? 4e-3
                        : fmt == FMT_BF16 ? 0.04
                                          : 0.05;
    case_rows(c, fmt);
    case_tolerance(c, fmt == FMT_Q4_0 ? 0.7 : step, 0);
}

/* Adds the last three buffers: q, pos, inv_freq. */
static int kv_write_add_rope(struct op_case *c, const struct kv_shape *s, struct err *e)
{
    const int n_rot = s->n_rot;
    case_floats(c, "q", CASE_INOUT, (int64_t)s->n_row * s->n_head * s->head_dim, 6, 1);
    case_tolerance(c, 6e-7, 0);
    int32_t *pos = case_buf(c, "pos", CASE_IN, CASE_I32, (size_t)s->n_row, sizeof *pos);
    float *freq = case_buf(c, "inv_freq", CASE_IN, CASE_F32, (size_t)n_rot / 2, sizeof *freq);
    TRY(case_done(c, e));
    for (int r = 0; r < s->n_row; r++)
        pos[r] = r * 4001 % 131072;
    for (int k = 0; k < n_rot / 2; k++)
        freq[k] = powf(500000, -2.0f * (float)k / (float)n_rot);
    if (s->odd) {
        freq[1] = -0.7f;
        freq[2] = NAN;
        freq[3] = INFINITY;
        freq[4] = -INFINITY;
    }
    c->args.kv_write.rope =
        (struct kv_write_rope){.n_head = s->n_head, .n_rot = n_rot, .pairs = s->pairs};
    return 0;
}

static bool kv_write_bench(int i)
{
    return kv_shapes[i].bench;
}

static int kv_write_make(int i, struct op_case *c, struct err *e)
{
    const struct kv_shape *s = &kv_shapes[i];
    int64_t row = (int64_t)s->n_kv_head * s->head_dim, slots = KV_PAGES * s->page_tokens;
    size_t bytes = 0;
    fmt_row_bytes(s->fmt, row, &bytes);
    c->bench = kv_write_bench(i);
    snprintf(c->name, sizeof c->name, "%s %d rows %d heads of %d page %d%s", fmt_info(s->fmt)->name,
             s->n_row, s->n_kv_head, s->head_dim, s->page_tokens,
             !s->n_head                  ? ""
             : s->odd                    ? " rope by odd frequencies"
             : s->pairs == ROPE_ADJACENT ? " rope adjacent"
                                         : " rope halves");
    case_floats(c, "k", CASE_IN, s->n_row * row, 8, s->std);
    case_floats(c, "v", CASE_IN, s->n_row * row, 9, 0.1f);
    int32_t *slot = case_buf(c, "slot", CASE_IN, CASE_I32, (size_t)s->n_row, sizeof *slot);
    /* other slots must keep their bytes: both caches are inputs and are compared as bytes */
    case_buf(c, "kv.k", CASE_INOUT, CASE_BYTES, (size_t)slots, bytes);
    if (s->n_head)
        kv_write_tolerance(c, s->fmt);
    case_buf(c, "kv.v", CASE_INOUT, CASE_BYTES, (size_t)slots, bytes);
    TRY(case_done(c, e));
    for (int r = 0; r < s->n_row; r++) /* scattered and distinct: 5 has no factor in 7 * 2^n */
        slot[r] = (int32_t)(((int64_t)r * 5 + 3) % slots);
    c->kv = (struct kv_view){.fmt = s->fmt,
                             .n_page = KV_PAGES,
                             .page_tokens = s->page_tokens,
                             .n_kv_head = s->n_kv_head,
                             .head_dim = s->head_dim};
    c->args.kv_write = (struct kv_write_args){.n_row = s->n_row, .kv = &c->kv};
    c->run = kv_write_run;
    if (s->n_head)
        TRY(kv_write_add_rope(c, s, e));
    struct kv_write_args a = c->args.kv_write;
    a.rope.q = s->n_head ? c->buf[5].host : NULL;
    case_traffic(c, traffic_kv_write(&a));
    return 0;
}

const struct case_set case_kv_write = {sizeof kv_shapes / sizeof *kv_shapes, kv_write_make,
                                       kv_write_bench};
