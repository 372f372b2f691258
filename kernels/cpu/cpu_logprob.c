#include "ops_check.h"
#include "ops_cpu.h"

struct logprob_job {
    const struct logprob_args *a;
    const struct cpu_kernels *k;
};

/* Pairs of one row are neighbours, so that the row's sum is computed once (per thread). */
static void cpu_logprob_pairs(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const struct logprob_job *j = arg;
    const struct logprob_args *a = j->a;
    double lse = 0;
    for (int64_t i = begin; i < end; i++) {
        const float *x = a->logits + a->row[i] * a->n_vocab;
        if (i == begin || a->row[i] != a->row[i - 1])
            lse = j->k->log_sum_exp(x, a->n_vocab);
        a->lp[i] = (float)((double)x[a->id[i]] - lse);
    }
}

int cpu_logprob(struct ops *ops, struct stream *s, const struct logprob_args *a, struct err *e)
{
    (void)s;
    TRY(ops_check_logprob(a, e));
    struct logprob_job job = {a, ops_cpu(ops)->k};
    pool_run(ops_cpu(ops)->pool, a->n_pair, cpu_logprob_pairs, &job);
    return 0;
}
