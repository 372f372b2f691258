/*
 * element: one number of a row in any format, by the scalar decoder of kernels/quant. For kernels
 * in which neighbouring threads take neighbouring elements and loads are few beside stores.
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
#define X(NAME, lower, id, elems, ...)                                                             \
    template <> struct fmt_of<FMT_##NAME> {                                                        \
        static constexpr int ELEMS = elems; /* of a block */                                       \
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

} // namespace CU_NS

#endif
