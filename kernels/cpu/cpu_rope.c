/* cpu_rope: the angle pos * inv_freq is a double; a float would be off by 0.004 at position
 * 100,000. Sine and cosine are computed in double and rounded to f32, once per row for all
 * heads. */
#include <math.h>

#include "ops_check.h"
#include "ops_cpu.h"

struct rope_job {
    const struct rope_args *a;
    const struct cpu_kernels *k;
};

void cpu_turn_of(int n_rot, enum rope_pairs pairs, const float *inv_freq, int32_t pos,
                 struct cpu_turn *t)
{
    t->n_pair = n_rot / 2;
    t->step = pairs == ROPE_ADJACENT ? 2 : 1;
    t->apart = pairs == ROPE_ADJACENT ? 1 : t->n_pair;
    for (int i = 0; i < t->n_pair; i++) {
        double angle = (double)pos * (double)inv_freq[i];
        t->c[i] = (float)cos(angle);
        t->s[i] = (float)sin(angle);
    }
}

static void cpu_rope_rows(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const struct rope_job *j = arg;
    const struct rope_args *a = j->a;
    const int dim = a->head_dim;
    struct cpu_turn t;
    for (int64_t r = begin; r < end; r++) {
        cpu_turn_of(a->n_rot, a->pairs, a->inv_freq, a->pos[r], &t);
        j->k->rope(a->q + r * a->n_head * dim, a->n_head, dim, t.n_pair, t.step, t.apart, t.c, t.s);
        j->k->rope(a->k + r * a->n_kv_head * dim, a->n_kv_head, dim, t.n_pair, t.step, t.apart, t.c,
                   t.s);
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
