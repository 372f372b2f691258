#include <math.h>
#include <stdio.h>

#include "case.h"

#define EMBED_VOCAB 61

static int embed_run(const struct op_case *c, void *const *dev, struct ops *ops, struct stream *s,
                     struct err *e)
{
    struct tensor table = c->w[0];
    table.data = dev[0];
    struct embed_args a = c->args.embed;
    a.table = &table;
    a.id = dev[1];
    a.y = dev[2];
    return ops->embed(ops, s, &a, e);
}

static bool embed_bench(int i)
{
    return i / FMT_COUNT == 1;
}

static int embed_make(int i, struct op_case *c, struct err *e)
{
    enum fmt fmt = (enum fmt)(i % FMT_COUNT);
    c->bench = embed_bench(i);
    const float scale = i / FMT_COUNT == 2 ? sqrtf(640) : 1;
    int n_row = c->bench ? 512 : 9;
    int64_t n = c->bench ? 4096 : fmt_info(fmt)->block_elems == 1 ? 37 : 512;
    snprintf(c->name, sizeof c->name, "%s %dx%lld%s", fmt_info(fmt)->name, n_row, (long long)n,
             scale != 1 ? " scaled" : "");
    case_weights(c, 0, "table", fmt, EMBED_VOCAB, n, 1, 1);
    int32_t *id = case_buf(c, "id", CASE_IN, CASE_I32, (size_t)n_row, sizeof *id);
    case_buf(c, "y", CASE_OUT, CASE_F32, (size_t)(n_row * n), sizeof(float));
    TRY(case_done(c, e));
    for (int r = 0; r < n_row; r++)
        id[r] = (EMBED_VOCAB - 1 + 17 * r) % EMBED_VOCAB; /* the last token, then scattered ones */
    c->args.embed = (struct embed_args){.n_row = n_row, .scale = scale};
    c->bytes = (double)n_row * ((double)c->w[0].row_bytes + 4.0 * (double)n);
    c->run = embed_run;
    return 0;
}

const struct case_set case_embed = {3 * FMT_COUNT, embed_make, embed_bench};
