#include <stdio.h>

#include "case.h"

static const struct {
    int n_row;
    int64_t n;
    float std;
    bool bench, add;
} rmsnorm_table[] = {
    {1, 1, 1, false, false},       {3, 17, 1, false, false},    {33, 64, 1e-4f, false, false},
    {2, 4101, 30, false, false},   {5, 2048, 0, false, false}, /* zeros: only eps decides */
    {1, 8192, 1e3f, false, false}, {1, 1, 1, false, true},      {3, 17, 1, false, true},
    {9, 640, 5, false, true},      {2, 4101, 30, false, true},  {5, 2048, 0, false, true},
    {1, 4096, 1, true, false},     {512, 4096, 1, true, false}, {1, 640, 1, true, true},
    {512, 2560, 1, true, true},
};

static int rmsnorm_run(const struct op_case *c, void *const *dev, struct ops *ops, struct stream *s,
                       struct err *e)
{
    struct rmsnorm_args a = c->args.rmsnorm;
    a.x = dev[0];
    a.w = dev[1];
    a.y = dev[2];
    return ops->rmsnorm(ops, s, &a, e);
}

static bool rmsnorm_bench(int i)
{
    return rmsnorm_table[i].bench;
}

static int rmsnorm_make(int i, struct op_case *c, struct err *e)
{
    int n_row = rmsnorm_table[i].n_row;
    int64_t n = rmsnorm_table[i].n;
    const bool add = rmsnorm_table[i].add;
    c->bench = rmsnorm_bench(i);
    snprintf(c->name, sizeof c->name, "%dx%lld std %g%s", n_row, (long long)n,
             (double)rmsnorm_table[i].std, add ? " add" : "");
    case_floats(c, "x", CASE_IN, n_row * n, 2, rmsnorm_table[i].std);
    case_floats(c, "w", CASE_IN, n, 3, 1);
    if (add)
        case_floats(c, "y", CASE_INOUT, n_row * n, 4, 2);
    else
        case_buf(c, "y", CASE_OUT, CASE_F32, (size_t)(n_row * n), sizeof(float));
    case_tolerance(c, add ? 5e-6 : 0, 2e-6);
    TRY(case_done(c, e));
    c->args.rmsnorm = (struct rmsnorm_args){.n_row = n_row, .n = n, .eps = 1e-5f, .add = add};
    case_traffic(c, traffic_rmsnorm(&c->args.rmsnorm));
    c->run = rmsnorm_run;
    return 0;
}

const struct case_set case_rmsnorm = {sizeof rmsnorm_table / sizeof *rmsnorm_table, rmsnorm_make,
                                      rmsnorm_bench};
