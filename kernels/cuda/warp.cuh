/*
 * warp: reductions over a warp and over a block, in one fixed order: the xor tree 16, 8, 4, 2, 1
 * over lanes, then the warps in ascending order. Every lane gets the same bits. All 32 lanes must
 * call.
 */
#ifndef MAS_WARP_CUH
#define MAS_WARP_CUH

#include "cu.cuh"

namespace CU_NS
{

enum { WARP_SIZE = 32 };
static const unsigned WARP_ALL = 0xffffffffu;

#if defined(__CUDACC__)
__device__ __forceinline__ float warp_sum(float v)
{
#pragma unroll
    for (int o = 16; o; o >>= 1)
        v += __shfl_xor_sync(WARP_ALL, v, o);
    return v;
}

__device__ __forceinline__ int warp_sum(int v)
{
    return __reduce_add_sync(WARP_ALL, v);
}

/* fmaxf of a number and a NaN gives the number. */
__device__ __forceinline__ float warp_max(float v)
{
#pragma unroll
    for (int o = 16; o; o >>= 1)
        v = fmaxf(v, __shfl_xor_sync(WARP_ALL, v, o));
    return v;
}
#else
using cushim::warp_max;
using cushim::warp_sum;
#endif

/*
 * Over a block of THREADS threads (a multiple of 32), for all threads. `part` is shared memory for
 * THREADS / 32 floats. Two barriers: the first makes the parts visible, the second lets part be
 * reused.
 */
template <int THREADS> __device__ __forceinline__ float block_sum(float v, float *part)
{
    static_assert(THREADS % WARP_SIZE == 0 && THREADS <= 1024, "whole warps");
    v = warp_sum(v);
    if (threadIdx.x % WARP_SIZE == 0)
        part[threadIdx.x / WARP_SIZE] = v;
    __syncthreads();
    float s = part[0];
#pragma unroll
    for (int i = 1; i < THREADS / WARP_SIZE; i++)
        s += part[i];
    __syncthreads();
    return s;
}

template <int THREADS> __device__ __forceinline__ float block_max(float v, float *part)
{
    static_assert(THREADS % WARP_SIZE == 0 && THREADS <= 1024, "whole warps");
    v = warp_max(v);
    if (threadIdx.x % WARP_SIZE == 0)
        part[threadIdx.x / WARP_SIZE] = v;
    __syncthreads();
    float s = part[0];
#pragma unroll
    for (int i = 1; i < THREADS / WARP_SIZE; i++)
        s = fmaxf(s, part[i]);
    __syncthreads();
    return s;
}

} /* namespace CU_NS */

#endif
