#include <math.h>

#include "ops_ref.h"

void ref_rope_heads(const struct kv_write_rope *a, int head_dim, float *x, int n_head, double pos)
{
    int half = a->n_rot / 2;
    for (int h = 0; h < n_head; h++)
        for (int i = 0; i < half; i++) {
            float *p = x + h * head_dim + (a->pairs == ROPE_ADJACENT ? 2 * i : i);
            float *q = p + (a->pairs == ROPE_ADJACENT ? 1 : half);
            double angle = pos * (double)a->inv_freq[i], c = cos(angle), s = sin(angle);
            double u = (double)*p, v = (double)*q;
            *p = (float)(u * c - v * s);
            *q = (float)(u * s + v * c);
        }
}
