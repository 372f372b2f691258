#include <stdio.h>

#include "case.h"

#define KV_PAGES 7

static const struct kv_shape {
    enum fmt fmt;
    int n_row, page_tokens, n_kv_head, head_dim;
    bool bench;
    float std; /* of k */
} kv_shapes[] = {
    {FMT_F16, 1, 16, 1, 8, false, 2},
    {FMT_F16, 19, 32, 2, 40, false, 2},
    {FMT_F16, 3, 16, 2, 5, false, 2},
    {FMT_F16, 4, 16, 1, 40, false, 1e6f}, /* beyond what a half holds */
    {FMT_F32, 5, 16, 1, 64, false, 2},
    {FMT_F32, 3, 16, 1, 7, false, 2},
    {FMT_BF16, 5, 64, 3, 64, false, 2},
    {FMT_BF16, 4, 16, 2, 9, false, 2},
    {FMT_Q8_0, 1, 16, 1, 32, false, 2}, /* one block */
    {FMT_Q8_0, 33, 16, 2, 64, false, 2},
    {FMT_Q8_0, 3, 32, 8, 128, false, 2},
    {FMT_Q8_0, 4, 16, 1, 64, false, 6e-6f}, /* scales of 1.3 times the smallest half */
    {FMT_Q4_0, 4, 32, 1, 128, false, 2},
    {FMT_Q4_0, 96, 32, 4, 64, false, 2}, /* enough blocks for a search to differ in its last step */
    {FMT_F16, 448, 64, 8, 128, true, 2},
    {FMT_Q8_0, 448, 64, 8, 128, true, 2},
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
    return ops->kv_write(ops, s, &a, e);
}

static int kv_write_make(int i, struct op_case *c, struct err *e)
{
    const struct kv_shape *s = &kv_shapes[i];
    int64_t row = (int64_t)s->n_kv_head * s->head_dim, slots = KV_PAGES * s->page_tokens;
    size_t bytes = 0;
    fmt_row_bytes(s->fmt, row, &bytes);
    c->bench = s->bench;
    snprintf(c->name, sizeof c->name, "%s %d rows %d heads of %d page %d", fmt_info(s->fmt)->name,
             s->n_row, s->n_kv_head, s->head_dim, s->page_tokens);
    case_floats(c, "k", CASE_IN, s->n_row * row, 8, s->std);
    case_floats(c, "v", CASE_IN, s->n_row * row, 9, 0.1f);
    int32_t *slot = case_buf(c, "slot", CASE_IN, CASE_I32, (size_t)s->n_row, sizeof *slot);
    /* what lies in the other slots must stay: both are given and compared as bytes */
    case_buf(c, "kv.k", CASE_INOUT, CASE_BYTES, (size_t)slots, bytes);
    case_buf(c, "kv.v", CASE_INOUT, CASE_BYTES, (size_t)slots, bytes);
    TRY(case_done(c, e));
    for (int r = 0; r < s->n_row; r++) /* scattered and distinct: 5 has no factor in 7 * 2^n */
        slot[r] = (int32_t)(((int64_t)r * 5 + 3) % slots);
    c->kv = (struct kv_view){.fmt = s->fmt,
                             .n_page = KV_PAGES,
                             .page_tokens = s->page_tokens,
                             .n_kv_head = s->n_kv_head,
                             .head_dim = s->head_dim};
    c->args.kv_write = (struct kv_write_args){.n_row = s->n_row};
    c->bytes = 2.0 * s->n_row * ((double)bytes + 4.0 * (double)row);
    c->run = kv_write_run;
    return 0;
}

const struct case_set case_kv_write = {sizeof kv_shapes / sizeof *kv_shapes, kv_write_make};
