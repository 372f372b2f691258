/* cpu_rope: the angle pos * inv_freq is a double (a float would be off by 0.004 at position 100,000),
 * its sine and cosine are taken in double and rounded to f32; once per row for all heads. */
#include <math.h>

#include "ops_check.h"
#include "ops_cpu.h"

static void cpu_rope_heads(const struct rope_args *a, float *x, int n_head, const float *c,
                           const float *s)
{
    int half = a->n_rot / 2, step = a->pairs == ROPE_ADJACENT ? 2 : 1;
    int apart = a->pairs == ROPE_ADJACENT ? 1 : half;
    for (int h = 0; h < n_head; h++, x += a->head_dim)
        for (int i = 0; i < half; i++) {
            float u = x[step * i], v = x[step * i + apart];
            x[step * i] = fmaf(u, c[i], -(v * s[i]));
            x[step * i + apart] = fmaf(u, s[i], v * c[i]);
        }
}

static void cpu_rope_rows(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const struct rope_args *a = arg;
    float c[OPS_MAX_HEAD_DIM / 2], s[OPS_MAX_HEAD_DIM / 2];
    for (int64_t r = begin; r < end; r++) {
        for (int i = 0; i < a->n_rot / 2; i++) {
            double angle = (double)a->pos[r] * (double)a->inv_freq[i];
            c[i] = (float)cos(angle);
            s[i] = (float)sin(angle);
        }
        cpu_rope_heads(a, a->q + r * a->n_head * a->head_dim, a->n_head, c, s);
        cpu_rope_heads(a, a->k + r * a->n_kv_head * a->head_dim, a->n_kv_head, c, s);
    }
}

int cpu_rope(struct ops *ops, struct stream *s, const struct rope_args *a, struct err *e)
{
    (void)s;
    TRY(ops_check_rope(a, e));
    struct rope_args job = *a;
    pool_run(ops_cpu(ops)->pool, a->n_row, cpu_rope_rows, &job);
    return 0;
}
