#include "ops_check.h"
#include "ops_cpu.h"

struct rmsnorm_job {
    const struct rmsnorm_args *a;
    const struct cpu_kernels *k;
};

static void cpu_rmsnorm_rows(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const struct rmsnorm_job *j = arg;
    const struct rmsnorm_args *a = j->a;
    for (int64_t r = begin; r < end; r++)
        j->k->rmsnorm(a->x + r * a->n, a->w, a->y + r * a->n, a->n, a->eps, a->add);
}

int cpu_rmsnorm(struct ops *ops, struct stream *s, const struct rmsnorm_args *a, struct err *e)
{
    (void)s;
    TRY(ops_check_rmsnorm(a, e));
    struct rmsnorm_job job = {a, ops_cpu(ops)->k};
    pool_run(ops_cpu(ops)->pool, a->n_row, cpu_rmsnorm_rows, &job);
    return 0;
}
