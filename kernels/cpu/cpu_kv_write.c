#include <string.h>

#include "fmt_q4_0.h"
#include "kv_row.h"
#include "ops_check.h"
#include "ops_cpu.h"

struct kv_write_job {
    const struct kv_write_args *a;
    const struct cpu_kernels *k;
    struct cpu_turn_table *turns; /* NULL: nothing is turned */
};

struct kv_blocks { /* blocks of Q4_0 that wait: the kernel fits KV_BLOCKS of them side by side */
    float x[32][KV_BLOCKS];
    struct fmt_q4_0 *to[KV_BLOCKS];
    int n;
};

static void kv_blocks_write(const struct kv_write_job *j, struct kv_blocks *b)
{
    if (b->n)
        j->k->q4_0((const float(*)[KV_BLOCKS])b->x, b->n, b->to);
    b->n = 0;
}

static void kv_blocks_add(const struct kv_write_job *j, struct kv_blocks *b, const float *x,
                          void *y)
{
    struct fmt_q4_0 *to = y;
    for (int64_t k = 0; k < j->a->kv->head_dim / 32; k++, x += 32) {
        for (int i = 0; i < 32; i++)
            b->x[i][b->n] = x[i];
        b->to[b->n++] = to + k;
        if (b->n == KV_BLOCKS)
            kv_blocks_write(j, b);
    }
}

static void cpu_kv_store(const struct kv_write_job *j, const float *x, void *y,
                         struct kv_blocks *blocks)
{
    const struct kv_view *kv = j->a->kv;
    if (kv->fmt == FMT_F16)
        j->k->f16(x, y, kv->head_dim);
    else if (kv->fmt == FMT_Q8_0)
        j->k->q8_0(x, y, kv->head_dim);
    else if (kv->fmt == FMT_Q4_0)
        kv_blocks_add(j, blocks, x, y);
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
    j->k->rope(x, 1, dim, t);
    return x;
}

static void cpu_kv_write_rows(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const struct kv_write_job *j = arg;
    const struct kv_view *kv = j->a->kv;
    const struct kv_write_rope *rope = &j->a->rope;
    struct cpu_turn t;
    float x[OPS_MAX_HEAD_DIM], own[TURN_FLOATS];
    struct kv_blocks blocks;
    memset(&blocks, 0, sizeof blocks);
    for (int64_t r = begin; r < end; r++) {
        if (rope->q) {
            float *q = rope->q + r * rope->n_head * kv->head_dim;
            cpu_turn_of(j->turns, r, rope->pos[r], own, &t);
            j->k->rope(q, rope->n_head, kv->head_dim, &t);
        }
        for (int h = 0; h < kv->n_kv_head; h++) {
            int32_t slot = j->a->slot[r];
            int64_t from = (r * kv->n_kv_head + h) * kv->head_dim;
            size_t to = kv_row_at(kv, slot / kv->page_tokens, h, slot % kv->page_tokens);
            cpu_kv_store(j, cpu_kv_turned(j, &t, j->a->k + from, x), (char *)kv->k + to, &blocks);
            cpu_kv_store(j, j->a->v + from, (char *)kv->v + to, &blocks);
        }
    }
    kv_blocks_write(j, &blocks);
}

int cpu_kv_write(struct ops *ops, struct stream *s, const struct kv_write_args *a, struct err *e)
{
    (void)s;
    TRY(ops_check_kv_write(a, e));
    struct ops_cpu *c = ops_cpu(ops);
    struct kv_write_job job = {a, c->k, NULL};
    if (a->rope.q)
        job.turns = cpu_turns_table(c->turns, a->rope.pairs, a->rope.n_rot, a->rope.inv_freq);
    pool_run(c->pool, a->n_row, cpu_kv_write_rows, &job);
    return 0;
}
