/*
 * embed: y[r] = decode(table[id[r]]) * scale
 *
 * Shapes: table (n_vocab, n_embd) in any format, id (n_row), y (n_row, n_embd) f32. Moves n_row *
 * (row_bytes + 4 n_embd) bytes: 512 rows of 4096 Q4_K 9.6 MB, a decode step 19 KB. The launch
 * bounds all but long prompts. Floor: the stores, at the card's bandwidth.
 *
 * One variant, `gather`: a thread decodes 8 neighbouring elements with the scalar decoder of
 * kernels/quant. So there is one decode per format, and the numbers have its bits. A thread stores
 * 16 bytes at a time and loads single bytes. Wide loads would gain little. Neighbouring threads
 * take neighbouring bytes, and a block of weights is one or two lines of L1. The stores are 4 to 7
 * times the loads. Not measured: there was no GPU. Numerics: the bits of
 * fmt_<x>_decode, then one product.
 */
#include "element.cuh"

namespace CU_NS
{

static constexpr int EMBED_THREADS = 128, EMBED_RUN = FMT_RUN;

struct embed_job {
    const uint8_t *table;
    const int32_t *id;
    float *y;
    size_t row_bytes;
    int64_t n;
    float scale;
    int wide; /* rows of y begin at multiples of 16 bytes and are whole runs long */
};

template <enum fmt F>
__global__ void __launch_bounds__(EMBED_THREADS) k_embed_gather(const struct embed_job a)
{
    const int64_t i = ((int64_t)blockIdx.y * EMBED_THREADS + threadIdx.x) * EMBED_RUN;
    if (i >= a.n)
        return;
    const uint8_t *row = a.table + (size_t)a.id[blockIdx.x] * a.row_bytes;
    float *y = a.y + (size_t)blockIdx.x * (size_t)a.n + i;
    if (a.wide || fmt_of<F>::ELEMS > 1) { /* rows of blocks are whole runs long */
        float v[EMBED_RUN];
        fmt_run<F>(row, i, v);
#pragma unroll
        for (int k = 0; k < EMBED_RUN; k++)
            v[k] = __fmul_rn(v[k], a.scale);
        if (a.wide) {
            reinterpret_cast<float4 *>(y)[0] = make_float4(v[0], v[1], v[2], v[3]);
            reinterpret_cast<float4 *>(y)[1] = make_float4(v[4], v[5], v[6], v[7]);
            return;
        }
#pragma unroll
        for (int k = 0; k < EMBED_RUN; k++)
            y[k] = v[k];
        return;
    }
    for (int k = 0; k < EMBED_RUN && i + k < a.n; k++)
        y[k] = __fmul_rn(fmt_element<F>(row, i + k), a.scale);
}

int cuda_embed_gather(struct cuda_ctx *, cudaStream_t s, const struct embed_args *a, struct err *e)
{
    const struct tensor *t = a->table;
    const int64_t n = tensor_cols(t),
                  parts = (n + EMBED_THREADS * EMBED_RUN - 1) / (EMBED_THREADS * EMBED_RUN);
    const struct fmt_info *f = fmt_info(t->fmt); /* blocks of an odd number of bytes lie anywhere */
    const size_t unit = fmt_is_plain(t->fmt) ? f->block_bytes : 2 - f->block_bytes % 2;
    if (parts > 65535)
        FAIL(e, ERR_BUG, "embed: a row has %lld elements, limit %d", (long long)n,
             65535 * EMBED_THREADS * EMBED_RUN);
    if ((uintptr_t)t->data % unit || t->row_bytes % unit)
        FAIL(e, ERR_BUG, "embed: table at %p with rows %zu bytes apart; must be multiples of %zu",
             t->data, t->row_bytes, unit);
    struct embed_job j = {};
    j.table = static_cast<const uint8_t *>(t->data);
    j.id = a->id;
    j.y = a->y;
    j.row_bytes = t->row_bytes;
    j.n = n;
    j.scale = a->scale;
    j.wide = n % EMBED_RUN == 0 && (uintptr_t)a->y % 16 == 0;
    const dim3 grid((unsigned)a->n_row, (unsigned)parts);
    switch (t->fmt) {
#define X(NAME, lower, ...)                                                                        \
    case FMT_##NAME:                                                                               \
        LAUNCH((k_embed_gather<FMT_##NAME>), grid, EMBED_THREADS, 0, s, j);                        \
        break;
#include "formats.def"
    default:
        FAIL(e, ERR_BUG, "embed: no kernel for format %d", (int)t->fmt);
    }
    CU_LAUNCHED(e, "embed_gather");
    return 0;
}

} // namespace CU_NS
