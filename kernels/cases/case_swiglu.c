#include <stdio.h>

#include "case.h"

static const struct {
    int n_row;
    int64_t n;
    float std;
    bool bench;
} swiglu_table[] = {
    {1, 1, 1, false},    {3, 17, 3, false},     {7, 1000, 60, false},
    {2, 4096, 0, false}, {512, 14336, 1, true},
};

static int swiglu_run(const struct op_case *c, void *const *dev, struct ops *ops, struct stream *s,
                      struct err *e)
{
    struct swiglu_args a = c->args.swiglu;
    a.gate = dev[0];
    a.up = dev[1];
    a.y = dev[2];
    return ops->swiglu(ops, s, &a, e);
}

static int swiglu_make(int i, struct op_case *c, struct err *e)
{
    int n_row = swiglu_table[i].n_row;
    int64_t n = swiglu_table[i].n;
    c->bench = swiglu_table[i].bench;
    snprintf(c->name, sizeof c->name, "%dx%lld std %g", n_row, (long long)n,
             (double)swiglu_table[i].std);
    case_floats(c, "gate", CASE_IN, n_row * n, 13, swiglu_table[i].std);
    case_floats(c, "up", CASE_IN, n_row * n, 14, 1);
    case_buf(c, "y", CASE_OUT, CASE_F32, (size_t)(n_row * n), sizeof(float));
    case_tolerance(c, 1e-36, 1e-6); /* silu of a gate below -88.7 is a subnormal number */
    TRY(case_done(c, e));
    c->args.swiglu = (struct swiglu_args){.n_row = n_row, .n = n};
    case_traffic(c, traffic_swiglu(&c->args.swiglu));
    c->run = swiglu_run;
    return 0;
}

const struct case_set case_swiglu = {sizeof swiglu_table / sizeof *swiglu_table, swiglu_make};
