#include "cpu_rows.h"
#include "ops_check.h"

struct swiglu_job {
    const struct swiglu_args *a;
    const struct cpu_kernels *k;
};

static void cpu_swiglu_part(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const struct swiglu_job *j = arg;
    j->k->swiglu(j->a->gate + begin, j->a->up + begin, j->a->y + begin, end - begin);
}

int cpu_swiglu(struct ops *ops, struct stream *s, const struct swiglu_args *a, struct err *e)
{
    (void)s;
    TRY(ops_check_swiglu(a, e));
    struct swiglu_job job = {a, ops_cpu(ops)->k};
    cpu_rows_run(ops, a->n_row, a->n, cpu_swiglu_part, &job);
    return 0;
}
