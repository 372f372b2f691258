/*
 * kv_row: the address of a row of head_dim elements in a paged KV cache, in one place.
 */
#ifndef MAS_KV_ROW_H
#define MAS_KV_ROW_H

#include "ops.h"

static inline size_t kv_row_bytes(const struct kv_view *kv)
{
    const struct fmt_info *f = fmt_info(kv->fmt);
    return (size_t)(kv->head_dim / f->block_elems) * f->block_bytes;
}

/* Bytes from kv->k (or kv->v) to the row of a page, kv head and offset in the page. */
static inline size_t kv_row_at(const struct kv_view *kv, int32_t page, int head, int offset)
{
    size_t row = ((size_t)page * (size_t)kv->n_kv_head + (size_t)head) * (size_t)kv->page_tokens;
    return (row + (size_t)offset) * kv_row_bytes(kv);
}

#endif
