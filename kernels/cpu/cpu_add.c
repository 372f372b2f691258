#include "cpu_rows.h"
#include "ops_check.h"

struct add_job {
    const struct add_args *a;
    const struct cpu_kernels *k;
};

static void cpu_add_part(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const struct add_job *j = arg;
    j->k->add(j->a->x + begin, j->a->y + begin, end - begin);
}

int cpu_add(struct ops *ops, struct stream *s, const struct add_args *a, struct err *e)
{
    (void)s;
    TRY(ops_check_add(a, e));
    struct add_job job = {a, ops_cpu(ops)->k};
    cpu_rows_run(ops, a->n_row, a->n, cpu_add_part, &job);
    return 0;
}
