#include <string.h>

#include "kv_row.h"
#include "ops_check.h"
#include "ops_ref.h"

/* k of one row and head, turned if the call asks for that. */
static void ref_kv_write_k(const struct kv_write_args *a, int64_t r, const float *k, void *to)
{
    float x[OPS_MAX_HEAD_DIM];
    memcpy(x, k, (size_t)a->kv->head_dim * sizeof *x);
    if (a->rope.q)
        ref_rope_heads(&a->rope, a->kv->head_dim, x, 1, a->rope.pos[r]);
    fmt_info(a->kv->fmt)->encode(x, NULL, to, a->kv->head_dim);
}

int ref_kv_write(struct ops *ops, struct stream *s, const struct kv_write_args *a, struct err *e)
{
    (void)ops, (void)s;
    TRY(ops_check_kv_write(a, e));
    if (a->n_row == 0)
        return 0;
    for (int64_t r = 0; r < a->n_row; r++) {
        const int64_t width = (int64_t)a->rope.n_head * a->kv->head_dim;
        if (a->rope.q)
            ref_rope_heads(&a->rope, a->kv->head_dim, a->rope.q + r * width, a->rope.n_head,
                           a->rope.pos[r]);
        for (int h = 0; h < a->kv->n_kv_head; h++) {
            int64_t from = (r * a->kv->n_kv_head + h) * a->kv->head_dim;
            size_t to = kv_row_at(a->kv, a->slot[r] / a->kv->page_tokens, h,
                                  a->slot[r] % a->kv->page_tokens);
            ref_kv_write_k(a, r, a->k + from, (char *)a->kv->k + to);
            fmt_info(a->kv->fmt)->encode(a->v + from, NULL, (char *)a->kv->v + to, a->kv->head_dim);
        }
    }
    return 0;
}
