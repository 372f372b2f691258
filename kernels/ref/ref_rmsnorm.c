#include <math.h>

#include "ops_check.h"
#include "ops_ref.h"

int ref_rmsnorm(struct ops *ops, struct stream *s, const struct rmsnorm_args *a, struct err *e)
{
    (void)ops, (void)s;
    TRY(ops_check_rmsnorm(a, e));
    for (int r = 0; r < a->n_row; r++) {
        const float *x = a->x + r * a->n;
        double sum = 0;
        for (int64_t i = 0; i < a->n; i++)
            sum += (double)x[i] * (double)x[i];
        double scale = 1 / sqrt(sum / (double)a->n + (double)a->eps);
        for (int64_t i = 0; i < a->n; i++) {
            float *y = a->y + r * a->n + i;
            const float v = (float)((double)x[i] * scale * (double)a->w[i]);
            *y = a->add ? *y + v : v;
        }
    }
    return 0;
}
