/* cpu_rope: the angle pos * inv_freq is a double (a float would be off by 0.004 at position
 * 100,000), its sine and cosine are taken in double and rounded to f32; once per row for all heads.
 */
#include <math.h>

#include "ops_check.h"
#include "ops_cpu.h"

struct rope_job {
    const struct rope_args *a;
    const struct cpu_kernels *k;
};

static void cpu_rope_rows(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const struct rope_job *j = arg;
    const struct rope_args *a = j->a;
    const int half = a->n_rot / 2, step = a->pairs == ROPE_ADJACENT ? 2 : 1;
    const int apart = a->pairs == ROPE_ADJACENT ? 1 : half, dim = a->head_dim;
    float c[OPS_MAX_HEAD_DIM / 2], s[OPS_MAX_HEAD_DIM / 2];
    for (int64_t r = begin; r < end; r++) {
        for (int i = 0; i < half; i++) {
            double angle = (double)a->pos[r] * (double)a->inv_freq[i];
            c[i] = (float)cos(angle);
            s[i] = (float)sin(angle);
        }
        j->k->rope(a->q + r * a->n_head * dim, a->n_head, dim, half, step, apart, c, s);
        j->k->rope(a->k + r * a->n_kv_head * dim, a->n_kv_head, dim, half, step, apart, c, s);
    }
}

int cpu_rope(struct ops *ops, struct stream *s, const struct rope_args *a, struct err *e)
{
    (void)s;
    TRY(ops_check_rope(a, e));
    struct rope_job job = {a, ops_cpu(ops)->k};
    pool_run(ops_cpu(ops)->pool, a->n_row, cpu_rope_rows, &job);
    return 0;
}
