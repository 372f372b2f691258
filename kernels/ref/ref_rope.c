#include <math.h>

#include "ops_check.h"
#include "ops_ref.h"

void ref_rope_heads(const struct rope_args *a, float *x, int n_head, double pos)
{
    int half = a->n_rot / 2;
    for (int h = 0; h < n_head; h++)
        for (int i = 0; i < half; i++) {
            float *p = x + h * a->head_dim + (a->pairs == ROPE_ADJACENT ? 2 * i : i);
            float *q = p + (a->pairs == ROPE_ADJACENT ? 1 : half);
            double angle = pos * (double)a->inv_freq[i], c = cos(angle), s = sin(angle);
            double u = (double)*p, v = (double)*q;
            *p = (float)(u * c - v * s);
            *q = (float)(u * s + v * c);
        }
}

int ref_rope(struct ops *ops, struct stream *s, const struct rope_args *a, struct err *e)
{
    (void)ops, (void)s;
    TRY(ops_check_rope(a, e));
    for (int64_t r = 0; r < a->n_row; r++) {
        double pos = a->pos[r];
        ref_rope_heads(a, a->q + r * a->n_head * a->head_dim, a->n_head, pos);
        ref_rope_heads(a, a->k + r * a->n_kv_head * a->head_dim, a->n_kv_head, pos);
    }
    return 0;
}
