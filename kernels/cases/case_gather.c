#include <stdio.h>

#include "case.h"

static const struct {
    int n_row, from;
    int64_t n;
    bool bench;
} gather_table[] = {{1, 1, 1, false},
                    {3, 9, 17, false},
                    {3, 9, 20, false},
                    {9, 4, 515, false},
                    {64, 512, 4096, true}};

static int gather_run(const struct op_case *c, void *const *dev, struct ops *ops, struct stream *s,
                      struct err *e)
{
    struct gather_args a = c->args.gather;
    a.x = dev[0];
    a.row = dev[1];
    a.y = dev[2];
    return ops->gather(ops, s, &a, e);
}

static bool gather_bench(int i)
{
    return gather_table[i].bench;
}

static int gather_make(int i, struct op_case *c, struct err *e)
{
    int n_row = gather_table[i].n_row, from = gather_table[i].from;
    int64_t n = gather_table[i].n;
    c->bench = gather_bench(i);
    snprintf(c->name, sizeof c->name, "%d of %d rows of %lld", n_row, from, (long long)n);
    case_floats(c, "x", CASE_IN, from * n, 17, 1);
    int32_t *row = case_buf(c, "row", CASE_IN, CASE_I32, (size_t)n_row, sizeof *row);
    case_buf(c, "y", CASE_OUT, CASE_F32, (size_t)(n_row * n), sizeof(float));
    TRY(case_done(c, e));
    for (int r = 0; r < n_row; r++)
        row[r] = (from - 1 + 3 * r) % from;
    c->args.gather = (struct gather_args){.n_row = n_row, .n = n};
    case_traffic(c, traffic_gather(&c->args.gather));
    c->run = gather_run;
    return 0;
}

const struct case_set case_gather = {sizeof gather_table / sizeof *gather_table, gather_make,
                                     gather_bench};
