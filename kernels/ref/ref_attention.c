#include <math.h>

#include "kv_row.h"
#include "ops_check.h"
#include "ops_ref.h"

/* Row of kv head h at position t of sequence s, decoded. */
static void ref_kv_row(const struct attention_args *a, const void *base, int s, int h, int t,
                       float *out)
{
    const struct kv_view *kv = a->kv;
    int32_t page = a->page[(int64_t)s * a->max_pages + t / kv->page_tokens];
    size_t at = kv_row_at(kv, page, h, t % kv->page_tokens);
    fmt_info(kv->fmt)->decode((const char *)base + at, out, kv->head_dim);
}

/* One query row and head: q, y (head_dim). It sees positions from .. n - 1. p (n) is scratch. */
static void ref_attention_head(const struct attention_args *a, int s, int h, int from, int n,
                               const float *q, float *y, double *p)
{
    int dim = a->kv->head_dim, kv_head = h / (a->n_head / a->kv->n_kv_head);
    float row[OPS_MAX_HEAD_DIM];
    double max = -INFINITY, sum = 0, out[OPS_MAX_HEAD_DIM] = {0};
    for (int t = from; t < n; t++) {
        ref_kv_row(a, a->kv->k, s, kv_head, t, row);
        double dot = 0;
        for (int i = 0; i < dim; i++)
            dot += (double)q[i] * (double)row[i];
        p[t] = dot * (double)a->scale;
        max = p[t] > max ? p[t] : max;
    }
    for (int t = from; t < n; t++) {
        p[t] = exp(p[t] - max);
        sum += p[t];
    }
    for (int t = from; t < n; t++) {
        ref_kv_row(a, a->kv->v, s, kv_head, t, row);
        for (int i = 0; i < dim; i++)
            out[i] += p[t] * (double)row[i];
    }
    for (int i = 0; i < dim; i++)
        y[i] = (float)(out[i] / sum);
}

int ref_attention(struct ops *ops, struct stream *st, const struct attention_args *a, struct err *e)
{
    (void)st;
    TRY(ops_check_attention(a, e));
    if (a->n_row == 0)
        return 0;
    void *p;
    TRY(ops_ref_scratch(ops, "attention", (size_t)a->max_kv_len * sizeof(double), &p, e));
    for (int s = 0; s < a->n_seq; s++)
        for (int r = a->q_start[s]; r < a->q_start[s + 1]; r++)
            for (int h = 0; h < a->n_head; h++) {
                int n = a->kv_len[s] - a->q_start[s + 1] + r + 1;
                int64_t at = ((int64_t)r * a->n_head + h) * a->kv->head_dim;
                int from = a->window && n > a->window ? n - a->window : 0;
                ref_attention_head(a, s, h, from, n, a->q + at, a->y + at, p);
            }
    return 0;
}
