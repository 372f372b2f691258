#include <stdio.h>

#include "case.h"

#define COPY_PAGES 4

static const struct {
    enum fmt fmt;
    int n_token, page_tokens, n_kv_head, head_dim;
    bool bench;
} copy_table[] = {
    {FMT_F16, 0, 16, 1, 8, false},    {FMT_F16, 5, 16, 3, 8, false},
    {FMT_Q8_0, 32, 32, 2, 64, false}, {FMT_F32, 1, 256, 2, 5, false},
    {FMT_Q8_0, 3, 32, 2, 32, false}, /* 102 bytes a head */
    {FMT_F16, 64, 64, 8, 128, true},
};

static int kv_copy_run(const struct op_case *c, void *const *dev, struct ops *ops, struct stream *s,
                       struct err *e)
{
    struct kv_view kv = c->kv;
    kv.k = dev[0];
    kv.v = dev[1];
    struct kv_copy_args a = c->args.kv_copy;
    a.kv = &kv;
    return ops->kv_copy(ops, s, &a, e);
}

static bool kv_copy_bench(int i)
{
    return copy_table[i].bench;
}

static int kv_copy_make(int i, struct op_case *c, struct err *e)
{
    int page = copy_table[i].page_tokens, heads = copy_table[i].n_kv_head;
    int dim = copy_table[i].head_dim;
    const struct fmt_info *f = fmt_info(copy_table[i].fmt);
    size_t bytes = (size_t)dim / (size_t)f->block_elems * f->block_bytes * (size_t)(page * heads);
    c->bench = kv_copy_bench(i);
    snprintf(c->name, sizeof c->name, "%s %d of %d tokens, %d heads of %d", f->name,
             copy_table[i].n_token, page, heads, dim);
    unsigned char *k = case_buf(c, "kv.k", CASE_INOUT, CASE_BYTES, COPY_PAGES, bytes);
    unsigned char *v = case_buf(c, "kv.v", CASE_INOUT, CASE_BYTES, COPY_PAGES, bytes);
    TRY(case_done(c, e));
    for (size_t b = 0; b < COPY_PAGES * bytes; b++) {
        k[b] = (unsigned char)(b * 131 >> 3);
        v[b] = (unsigned char)(b * 57 >> 2);
    }
    c->kv = (struct kv_view){.fmt = copy_table[i].fmt,
                             .n_page = COPY_PAGES,
                             .page_tokens = page,
                             .n_kv_head = heads,
                             .head_dim = dim};
    c->args.kv_copy = (struct kv_copy_args){.src = 3, .dst = 1, .n_token = copy_table[i].n_token};
    c->bytes = 4.0 * (double)bytes * copy_table[i].n_token / page;
    c->run = kv_copy_run;
    return 0;
}

const struct case_set case_kv_copy = {sizeof copy_table / sizeof *copy_table, kv_copy_make,
                                      kv_copy_bench};
