/*
 * element: one number of a row in any format, or a run of eight, by the scalar decoder of
 * kernels/quant. For kernels in which neighbouring threads take neighbouring elements and loads are
 * few beside stores.
 */
#ifndef MAS_ELEMENT_CUH
#define MAS_ELEMENT_CUH

#include "ctx.cuh"

#define FMT_LOAD_F16(h) CU_NS::vec_half(h)
#define FMT_LOAD_BF16(h) CU_NS::vec_bf16(h)

extern "C" {
#define FMT_HEADERS
#include "formats.def"
#undef FMT_HEADERS
}

namespace CU_NS
{

/* Element i of a row. */
template <enum fmt F> struct fmt_of;
#define X(NAME, lower, id, elems, bytes, ...)                                                      \
    template <> struct fmt_of<FMT_##NAME> {                                                        \
        static constexpr int ELEMS = elems, BYTES = bytes; /* of a block */                        \
        static __device__ __forceinline__ float element(const uint8_t *row, int64_t i)             \
        {                                                                                          \
            return fmt_##lower##_element(row, i);                                                  \
        }                                                                                          \
    };
#include "formats.def"

template <enum fmt F> __device__ __forceinline__ float fmt_element(const uint8_t *row, int64_t i)
{
    return fmt_of<F>::element(row, i);
}

static constexpr int FMT_RUN = 8;

/* Elements i .. i + 7 of a row, i a multiple of 8. In a format of blocks they lie in one block: the
 * compiler sees that, and computes the places of their bytes once. */
template <enum fmt F>
__device__ __forceinline__ void fmt_run(const uint8_t *row, int64_t i, float (&v)[FMT_RUN])
{
    if constexpr (fmt_of<F>::ELEMS == 1) {
#pragma unroll
        for (int k = 0; k < FMT_RUN; k++)
            v[k] = fmt_element<F>(row, i + k);
    } else {
        constexpr unsigned RUNS = fmt_of<F>::ELEMS / FMT_RUN; /* of a block */
        const uint64_t run = (uint64_t)i / FMT_RUN;
        const uint8_t *block = row + run / RUNS * fmt_of<F>::BYTES;
        const int at = (int)((unsigned)run % RUNS * FMT_RUN);
#pragma unroll
        for (int k = 0; k < FMT_RUN; k++)
            v[k] = fmt_element<F>(block, at + k);
    }
}

} // namespace CU_NS

#endif
