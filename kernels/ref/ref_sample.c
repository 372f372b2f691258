/* The definition of ops.h in the plainest order: sort the allowed tokens by logit, cut the sorted
 * list with each filter, draw from the rest. The largest allowed logit is subtracted before the
 * division by T, which shifts all candidates alike. */
#include <math.h>

#include "ops_check.h"
#include "ops_ref.h"
#include "rng.h"

static bool ref_allowed(const struct sample_args *a, int r, int64_t id)
{
    int32_t mask = a->p[r].mask;
    int64_t words = (a->n_vocab + 31) / 32;
    return mask < 0 || (a->mask_bits[mask * words + id / 32] >> id % 32 & 1);
}

/* Larger logit first, then lower id. */
static bool ref_before(const float *x, int32_t i, int32_t j)
{
    return x[i] > x[j] || (!(x[i] < x[j]) && i < j);
}

/* Heap sort into the order of ref_before: no allocation, no recursion. */
static void ref_sift(const float *x, int32_t *id, int64_t at, int64_t n)
{
    for (int64_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && ref_before(x, id[child], id[child + 1]))
            child++;
        if (!ref_before(x, id[at], id[child]))
            return;
        int32_t t = id[at];
        id[at] = id[child];
        id[child] = t;
    }
}

static void ref_sort(const float *x, int32_t *id, int64_t n)
{
    for (int64_t i = n / 2; i-- > 0;)
        ref_sift(x, id, i, n);
    for (int64_t end = n; end-- > 1;) {
        int32_t t = id[0];
        id[0] = id[end];
        id[end] = t;
        ref_sift(x, id, 0, end);
    }
}

/* The first of n sorted tokens that remain after the filters; w[i] = exp((logit - max) / T). */
static int64_t ref_filter(const struct sample_row *p, const float *x, const int32_t *id,
                          const double *w, int64_t n)
{
    if (p->top_k > 0 && p->top_k < n) {
        int64_t k = p->top_k;
        while (k < n && !(x[id[k]] < x[id[p->top_k - 1]]))
            k++;
        n = k;
    }
    if (p->top_p < 1) {
        double total = 0, sum = 0;
        for (int64_t i = 0; i < n; i++)
            total += w[i];
        int64_t k = 0;
        while (k < n && sum < (double)p->top_p * total)
            sum += w[k++];
        while (k < n && !(x[id[k]] < x[id[k - 1]]))
            k++;
        n = k;
    }
    int64_t k = 0;
    while (k < n && w[k] >= (double)p->min_p)
        k++;
    return k;
}

static int32_t ref_sample_row(const struct sample_args *a, int r, double *w, int32_t *id)
{
    const struct sample_row *p = &a->p[r];
    const float *x = a->logits + r * a->n_vocab;
    int64_t n = 0;
    for (int64_t i = 0; i < a->n_vocab; i++) {
        if (isnan(x[i]))
            return -1;
        if (ref_allowed(a, r, i))
            id[n++] = (int32_t)i;
    }
    ref_sort(x, id, n);
    if (n == 0 || isinf(x[id[0]]))
        return -1;
    if (!(p->temperature > 0))
        return id[0];
    for (int64_t i = 0; i < n; i++)
        w[i] = exp(((double)x[id[i]] - (double)x[id[0]]) / (double)p->temperature);
    int64_t kept = ref_filter(p, x, id, w, n);
    double best = -INFINITY;
    int32_t chosen = -1;
    for (int64_t i = 0; i < kept; i++) {
        double u = (double)rng_uniform(p->key, (uint64_t)id[i]);
        double score = ((double)x[id[i]] - (double)x[id[0]]) / (double)p->temperature;
        score -= log(-log(u));
        if (score > best || (!(score < best) && id[i] < chosen)) {
            best = score;
            chosen = id[i];
        }
    }
    return chosen;
}

int ref_sample(struct ops *ops, struct stream *s, const struct sample_args *a, struct err *e)
{
    TRY(ops_check_sample(a, e));
    if (a->n_row == 0)
        return 0;
    void *scratch;
    size_t need = (size_t)a->n_vocab * (sizeof(double) + sizeof(int32_t));
    TRY(ops_ref_scratch(ops, "sample", need, &scratch, e));
    double *w = scratch;
    for (int r = 0; r < a->n_row; r++) {
        a->id[r] = ref_sample_row(a, r, w, (int32_t *)(w + a->n_vocab));
        a->lp[r] = NAN;
        const int32_t row = r, id = a->id[r];
        const struct logprob_args lp = {.logits = a->logits,
                                        .n_row = a->n_row,
                                        .n_vocab = a->n_vocab,
                                        .row = &row,
                                        .id = &id,
                                        .lp = &a->lp[r],
                                        .n_pair = 1};
        if (id >= 0)
            TRY(ref_logprob(ops, s, &lp, e));
    }
    return 0;
}
