#include <stdio.h>

#include "case.h"

static const struct {
    int n_row;
    int64_t n;
    bool bench;
} add_table[] = {{1, 1, false},    {3, 17, false},   {3, 20, false},
                 {4, 2048, false}, {5, 1001, false}, {512, 4096, true}};

static int add_run(const struct op_case *c, void *const *dev, struct ops *ops, struct stream *s,
                   struct err *e)
{
    struct add_args a = c->args.add;
    a.x = dev[0];
    a.y = dev[1];
    return ops->add(ops, s, &a, e);
}

static bool add_bench(int i)
{
    return add_table[i].bench;
}

static int add_make(int i, struct op_case *c, struct err *e)
{
    int n_row = add_table[i].n_row;
    int64_t n = add_table[i].n;
    c->bench = add_bench(i);
    snprintf(c->name, sizeof c->name, "%dx%lld", n_row, (long long)n);
    case_floats(c, "x", CASE_IN, n_row * n, 15, 1);
    case_floats(c, "y", CASE_INOUT, n_row * n, 16, 100); /* exact: one rounding */
    TRY(case_done(c, e));
    c->args.add = (struct add_args){.n_row = n_row, .n = n};
    case_traffic(c, traffic_add(&c->args.add));
    c->run = add_run;
    return 0;
}

const struct case_set case_add = {sizeof add_table / sizeof *add_table, add_make, add_bench};
