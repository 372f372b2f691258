/* cpu_sample: threads share the rows; body_sample.h has the arithmetic. */
#include <math.h>

#include "mem.h"
#include "ops_check.h"
#include "ops_cpu.h"

size_t cpu_sample_scratch(int n_threads, int64_t n_vocab)
{
    return (size_t)n_threads * size_align((size_t)n_vocab * sizeof(uint64_t), 256);
}

struct sample_rows {
    const struct sample_args *a;
    const struct cpu_kernels *k;
    char *scratch;
};

static void cpu_sample_rows(void *arg, int64_t begin, int64_t end, int worker)
{
    const struct sample_rows *j = arg;
    const struct sample_args *a = j->a;
    void *scratch = j->scratch + cpu_sample_scratch(worker, a->n_vocab);
    for (int64_t r = begin; r < end; r++) {
        const float *x = a->logits + r * a->n_vocab;
        int64_t words = (a->n_vocab + 31) / 32;
        int32_t mask = a->p[r].mask;
        const struct sample_job row = {
            .x = x,
            .n = a->n_vocab,
            .mask = mask < 0 ? NULL : a->mask_bits + mask * words,
            .p = &a->p[r],
            .scratch = scratch,
        };
        int32_t id = j->k->sample(&row);
        a->id[r] = id;
        a->lp[r] = id < 0 ? NAN : (float)((double)x[id] - j->k->log_sum_exp(x, a->n_vocab));
    }
}

int cpu_sample(struct ops *ops, struct stream *s, const struct sample_args *a, struct err *e)
{
    (void)s;
    struct ops_cpu *c = ops_cpu(ops);
    TRY(ops_check_sample(a, e));
    if (a->n_row == 0)
        return 0;
    size_t need = cpu_sample_scratch(pool_threads(c->pool), a->n_vocab);
    TRY(ops_check_scratch("sample", need, c->scratch, c->scratch_bytes, e));
    struct sample_rows job = {a, c->k, c->scratch};
    pool_run(c->pool, a->n_row, cpu_sample_rows, &job);
    return 0;
}
