/*
 * kv_page: addresses in a paged KV cache, for launchers on the host and for kernels: the view of
 * ops.h with derived numbers.
 *
 * The rows of one page and head are neighbours, and a page has a multiple of 16 of them. So 16 rows
 * that start at a multiple of 16 are one run of bytes. The run begins at a multiple of 16 bytes,
 * whatever the format. Kernels that read quantised rows in 16-byte pieces depend on that.
 */
#ifndef MAS_KV_PAGE_CUH
#define MAS_KV_PAGE_CUH

#include "ctx.cuh"

namespace CU_NS
{

struct kv_page {
    unsigned char *k, *v;
    enum fmt fmt;
    int shift; /* page_tokens = 1 << shift */
    int n_kv_head;
    int head_dim;
    int row_bytes; /* of head_dim elements */
};

/* The formats that kernels write and read. */
static inline bool kv_page_known(enum fmt f)
{
    return f == FMT_F32 || f == FMT_F16 || f == FMT_BF16 || f == FMT_Q8_0 || f == FMT_Q4_0;
}

static inline int kv_page_of(const char *op, const struct kv_view *kv, struct kv_page *out,
                             struct err *e)
{
    const struct fmt_info *f = fmt_info(kv->fmt);
    if ((reinterpret_cast<uintptr_t>(kv->k) | reinterpret_cast<uintptr_t>(kv->v)) % 16)
        FAIL(e, ERR_BUG, "%s: the cache lies at %p and %p, both must be multiples of 16", op, kv->k,
             kv->v);
    out->k = static_cast<unsigned char *>(kv->k);
    out->v = static_cast<unsigned char *>(kv->v);
    out->fmt = kv->fmt;
    out->shift = 0;
    while (1 << out->shift < kv->page_tokens)
        out->shift++;
    out->n_kv_head = kv->n_kv_head;
    out->head_dim = kv->head_dim;
    out->row_bytes = (int)((size_t)(kv->head_dim / f->block_elems) * f->block_bytes);
    return 0;
}

/* Bytes from k (or v) to the row at an offset in a page. */
__device__ __forceinline__ size_t kv_page_row(const kv_page &p, int page, int head, int offset)
{
    size_t row =
        (((size_t)page * (unsigned)p.n_kv_head + (unsigned)head) << p.shift) + (unsigned)offset;
    return row * (unsigned)p.row_bytes;
}

} // namespace CU_NS

#endif
