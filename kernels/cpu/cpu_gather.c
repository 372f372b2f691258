#include <string.h>

#include "ops_check.h"
#include "ops_cpu.h"

static void cpu_gather_rows(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const struct gather_args *a = arg;
    for (int64_t r = begin; r < end; r++)
        memcpy(a->y + r * a->n, a->x + a->row[r] * a->n, (size_t)a->n * sizeof *a->y);
}

int cpu_gather(struct ops *ops, struct stream *s, const struct gather_args *a, struct err *e)
{
    (void)s;
    TRY(ops_check_gather(a, e));
    struct gather_args job = *a;
    pool_run(ops_cpu(ops)->pool, a->n_row, cpu_gather_rows, &job);
    return 0;
}
