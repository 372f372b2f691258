#include <math.h>

#include "ops_check.h"
#include "ops_ref.h"

int ref_logprob(struct ops *ops, struct stream *s, const struct logprob_args *a, struct err *e)
{
    (void)ops, (void)s;
    TRY(ops_check_logprob(a, e));
    for (int i = 0; i < a->n_pair; i++) {
        const float *x = a->logits + a->row[i] * a->n_vocab;
        double max = -INFINITY, sum = 0;
        for (int64_t j = 0; j < a->n_vocab; j++)
            max = (double)x[j] > max ? (double)x[j] : max;
        for (int64_t j = 0; j < a->n_vocab; j++)
            sum += exp((double)x[j] - max);
        a->lp[i] = (float)((double)x[a->id[i]] - max - log(sum));
    }
    return 0;
}
