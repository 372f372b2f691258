/*
 * row4: a row of f32, four elements at a time. If every row is 16-byte aligned, an access has 16
 * bytes; otherwise it is a single element. A thread gets the same elements either way, so results
 * are the same.
 */
#ifndef MAS_ROW4_CUH
#define MAS_ROW4_CUH

#include "cu.cuh"

namespace CU_NS
{

/* Rows of n floats from p on, one after another, are all 16-byte aligned. */
static inline bool row4_wide(const void *p, int64_t n)
{
    return reinterpret_cast<uintptr_t>(p) % 16 == 0 && n % 4 == 0;
}

/* Blocks of n_thread threads that take four elements of n each. */
static inline unsigned row4_blocks(int64_t n, int n_thread)
{
    return (unsigned)((n + 4 * n_thread - 1) / (4 * n_thread));
}

/* Elements i .. i + 3 of a row of n, i a multiple of 4; `rest` for elements after the end. */
__device__ __forceinline__ float4 row4_load(const float *x, int64_t i, int64_t n, bool wide,
                                            float rest)
{
    if (wide)
        return *reinterpret_cast<const float4 *>(x + i);
    float4 v;
    v.x = x[i];
    v.y = i + 1 < n ? x[i + 1] : rest;
    v.z = i + 2 < n ? x[i + 2] : rest;
    v.w = i + 3 < n ? x[i + 3] : rest;
    return v;
}

__device__ __forceinline__ void row4_store(float *y, int64_t i, int64_t n, bool wide, float4 v)
{
    if (wide) {
        *reinterpret_cast<float4 *>(y + i) = v;
        return;
    }
    y[i] = v.x;
    if (i + 1 < n)
        y[i + 1] = v.y;
    if (i + 2 < n)
        y[i + 2] = v.z;
    if (i + 3 < n)
        y[i + 3] = v.w;
}

} // namespace CU_NS

#endif
