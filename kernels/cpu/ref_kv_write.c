#include "kv_row.h"
#include "ops_check.h"
#include "ops_ref.h"

int ref_kv_write(struct ops *ops, struct stream *s, const struct kv_write_args *a, struct err *e)
{
    (void)ops, (void)s;
    TRY(ops_check_kv_write(a, e));
    for (int64_t r = 0; r < a->n_row; r++)
        for (int h = 0; h < a->kv->n_kv_head; h++) {
            int64_t from = (r * a->kv->n_kv_head + h) * a->kv->head_dim;
            size_t to = kv_row_at(a->kv, a->slot[r] / a->kv->page_tokens, h,
                                  a->slot[r] % a->kv->page_tokens);
            const struct fmt_info *f = fmt_info(a->kv->fmt);
            f->encode(a->k + from, (char *)a->kv->k + to, a->kv->head_dim);
            f->encode(a->v + from, (char *)a->kv->v + to, a->kv->head_dim);
        }
    return 0;
}
