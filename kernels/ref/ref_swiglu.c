#include <math.h>

#include "ops_check.h"
#include "ops_ref.h"

int ref_swiglu(struct ops *ops, struct stream *s, const struct swiglu_args *a, struct err *e)
{
    (void)ops, (void)s;
    TRY(ops_check_swiglu(a, e));
    for (int64_t i = 0; i < a->n_row * a->n; i++) {
        double g = (double)a->gate[i];
        a->y[i] = (float)(g / (1 + exp(-g)) * (double)a->up[i]);
    }
    return 0;
}
