/*
 * element: one number of a row in any format, by the scalar decoder of kernels/quant. For kernels
 * in which neighbouring threads take neighbouring elements and loads are few beside stores.
 */
#ifndef MAS_ELEMENT_CUH
#define MAS_ELEMENT_CUH

#include "ctx.cuh"

extern "C" {
#include "fmt_q4_0.h"
#include "fmt_q4_k.h"
#include "fmt_q5_k.h"
#include "fmt_q6_k.h"
#include "fmt_q8_0.h"
}

namespace CU_NS
{

/* Element i of a row. */
template <enum fmt F> __device__ __forceinline__ float fmt_element(const uint8_t *row, int64_t i)
{
    const int k = (int)(i % 256), k32 = (int)(i % 32);
    if constexpr (F == FMT_F32) {
        return reinterpret_cast<const float *>(row)[i];
    } else if constexpr (F == FMT_F16) {
        return vec_half(reinterpret_cast<const uint16_t *>(row)[i]);
    } else if constexpr (F == FMT_BF16) {
        return vec_bf16(reinterpret_cast<const uint16_t *>(row)[i]);
    } else if constexpr (F == FMT_Q4_0) {
        const struct fmt_q4_0 *b = reinterpret_cast<const struct fmt_q4_0 *>(row) + i / 32;
        return fmt_q4_0_value(b, vec_half(b->d), k32);
    } else if constexpr (F == FMT_Q8_0) {
        const struct fmt_q8_0 *b = reinterpret_cast<const struct fmt_q8_0 *>(row) + i / 32;
        return fmt_q8_0_value(b, vec_half(b->d), k32);
    } else if constexpr (F == FMT_Q4_K) {
        const struct fmt_q4_k *b = reinterpret_cast<const struct fmt_q4_k *>(row) + i / 256;
        return fmt_q4_k_value(b, vec_half(b->d), vec_half(b->dmin), k);
    } else if constexpr (F == FMT_Q5_K) {
        const struct fmt_q5_k *b = reinterpret_cast<const struct fmt_q5_k *>(row) + i / 256;
        return fmt_q5_k_value(b, vec_half(b->d), vec_half(b->dmin), k);
    } else {
        static_assert(F == FMT_Q6_K, "a format without a case");
        const struct fmt_q6_k *b = reinterpret_cast<const struct fmt_q6_k *>(row) + i / 256;
        return fmt_q6_k_value(b, vec_half(b->d), k);
    }
}

} // namespace CU_NS

#endif
