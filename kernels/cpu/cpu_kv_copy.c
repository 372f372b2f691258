#include <string.h>

#include "kv_row.h"
#include "ops_check.h"
#include "ops_cpu.h"

/* One page: too little to share among threads. The tokens of a head are neighbours in memory. */
int cpu_kv_copy(struct ops *ops, struct stream *s, const struct kv_copy_args *a, struct err *e)
{
    (void)ops, (void)s;
    TRY(ops_check_kv_copy(a, e));
    size_t bytes = (size_t)a->n_token * kv_row_bytes(a->kv);
    for (int h = 0; h < a->kv->n_kv_head; h++) {
        size_t from = kv_row_at(a->kv, a->src, h, 0), to = kv_row_at(a->kv, a->dst, h, 0);
        memcpy((char *)a->kv->k + to, (char *)a->kv->k + from, bytes);
        memcpy((char *)a->kv->v + to, (char *)a->kv->v + from, bytes);
    }
    return 0;
}
