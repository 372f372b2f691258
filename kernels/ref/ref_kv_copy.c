#include <string.h>

#include "kv_row.h"
#include "ops_check.h"
#include "ops_ref.h"

int ref_kv_copy(struct ops *ops, struct stream *s, const struct kv_copy_args *a, struct err *e)
{
    (void)ops, (void)s;
    TRY(ops_check_kv_copy(a, e));
    for (int h = 0; h < a->kv->n_kv_head; h++)
        for (int t = 0; t < a->n_token; t++) {
            size_t from = kv_row_at(a->kv, a->src, h, t), to = kv_row_at(a->kv, a->dst, h, t);
            memcpy((char *)a->kv->k + to, (char *)a->kv->k + from, kv_row_bytes(a->kv));
            memcpy((char *)a->kv->v + to, (char *)a->kv->v + from, kv_row_bytes(a->kv));
        }
    return 0;
}
