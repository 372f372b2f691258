/*
 * kv_copy: the first n_token rows of every head of page src, of K and of V, to page dst.
 *
 *   k, v (n_page, n_kv_head, page_tokens, row_bytes); of each head one run of n_token * row_bytes
 *   bytes is copied
 *
 * Bytes: 4 * n_kv_head * n_token * row_bytes; a page of 64 tokens, 8 heads of 128 f16 is 512 KiB
 * both ways. The format does not matter.
 *
 * Variants
 *   bytes  16 bytes a thread, coalesced; the last, shorter piece of a run byte by byte.
 *          Not measured.
 */
#include "kv_page.cuh"

namespace CU_NS
{

static const int KV_COPY_THREADS = 128;

struct kv_copy_call {
    kv_page kv;
    int src, dst;
    int bytes; /* of a run */
};

__global__ void __launch_bounds__(KV_COPY_THREADS) k_kv_copy_bytes(const kv_copy_call a)
{
    unsigned char *base = blockIdx.z ? a.kv.v : a.kv.k;
    const unsigned char *from = base + kv_page_row(a.kv, a.src, (int)blockIdx.y, 0);
    unsigned char *to = base + kv_page_row(a.kv, a.dst, (int)blockIdx.y, 0);
    const int i = 16 * (int)(blockIdx.x * KV_COPY_THREADS + threadIdx.x);
    if (i + 16 <= a.bytes)
        *reinterpret_cast<uint4 *>(to + i) = *reinterpret_cast<const uint4 *>(from + i);
    else
        for (int j = i; j < a.bytes; j++)
            to[j] = from[j];
}

int cuda_kv_copy_bytes(struct cuda_ctx *, cudaStream_t s, const struct kv_copy_args *a,
                       struct err *e)
{
    kv_copy_call call;
    TRY(kv_page_of("kv_copy", a->kv, &call.kv, e));
    call.src = a->src;
    call.dst = a->dst;
    call.bytes = a->n_token * call.kv.row_bytes;
    const int span = 16 * KV_COPY_THREADS;
    const dim3 grid((unsigned)((call.bytes + span - 1) / span), (unsigned)a->kv->n_kv_head, 2);
    LAUNCH(k_kv_copy_bytes, grid, dim3(KV_COPY_THREADS), 0, s, call);
    CU_LAUNCHED(e, "kv_copy_bytes");
    return 0;
}

} // namespace CU_NS
