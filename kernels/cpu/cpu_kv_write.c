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
        fmt_info(kv->fmt)->encode(x, y, kv->head_dim);
}

static void cpu_kv_write_rows(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const struct kv_write_job *j = arg;
    const struct kv_view *kv = j->a->kv;
    for (int64_t r = begin; r < end; r++)
        for (int h = 0; h < kv->n_kv_head; h++) {
            int32_t slot = j->a->slot[r];
            int64_t from = (r * kv->n_kv_head + h) * kv->head_dim;
            size_t to = kv_row_at(kv, slot / kv->page_tokens, h, slot % kv->page_tokens);
            cpu_kv_store(j, j->a->k + from, (char *)kv->k + to);
            cpu_kv_store(j, j->a->v + from, (char *)kv->v + to);
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
