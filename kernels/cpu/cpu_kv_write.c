#include <string.h>

#include "kv_row.h"
#include "ops_check.h"
#include "ops_cpu.h"

struct kv_write_job {
    const struct kv_write_args *a;
    const struct cpu_kernels *k;
};

static void cpu_kv_store(const struct kv_write_job *j, const float *x, void *y)
{
    const struct kv_view *kv = j->a->kv;
    if (kv->fmt == FMT_F16)
        j->k->f16(x, y, kv->head_dim);
    else
        fmt_info(kv->fmt)->encode(x, NULL, y, kv->head_dim);
}

/* k of a head for the cache: k itself, or its turned copy in x. */
static const float *cpu_kv_turned(const struct kv_write_job *j, const struct cpu_turn *t,
                                  const float *k, float *x)
{
    const int dim = j->a->kv->head_dim;
    if (!j->a->rope.q)
        return k;
    memcpy(x, k, (size_t)dim * sizeof *x);
    j->k->rope(x, 1, dim, t->n_pair, t->step, t->apart, t->c, t->s);
    return x;
}

static void cpu_kv_write_rows(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const struct kv_write_job *j = arg;
    const struct kv_view *kv = j->a->kv;
    const struct kv_write_rope *rope = &j->a->rope;
    struct cpu_turn t;
    float x[OPS_MAX_HEAD_DIM];
    for (int64_t r = begin; r < end; r++) {
        if (rope->q) {
            float *q = rope->q + r * rope->n_head * kv->head_dim;
            cpu_turn_of(rope->n_rot, rope->pairs, rope->inv_freq, rope->pos[r], &t);
            j->k->rope(q, rope->n_head, kv->head_dim, t.n_pair, t.step, t.apart, t.c, t.s);
        }
        for (int h = 0; h < kv->n_kv_head; h++) {
            int32_t slot = j->a->slot[r];
            int64_t from = (r * kv->n_kv_head + h) * kv->head_dim;
            size_t to = kv_row_at(kv, slot / kv->page_tokens, h, slot % kv->page_tokens);
            cpu_kv_store(j, cpu_kv_turned(j, &t, j->a->k + from, x), (char *)kv->k + to);
            cpu_kv_store(j, j->a->v + from, (char *)kv->v + to);
        }
    }
}

int cpu_kv_write(struct ops *ops, struct stream *s, const struct kv_write_args *a, struct err *e)
{
    (void)s;
    TRY(ops_check_kv_write(a, e));
    struct kv_write_job job = {a, ops_cpu(ops)->k};
    pool_run(ops_cpu(ops)->pool, a->n_row, cpu_kv_write_rows, &job);
    return 0;
}
