/*
 * vec: 16-byte accesses and conversions of packed halves. A 16-byte access needs a 16-byte aligned
 * address; the host builds check that. Callers that cannot guarantee it read smaller pieces.
 */
#ifndef MAS_VEC_CUH
#define MAS_VEC_CUH

#include "cu.cuh"

namespace CU_NS
{

__host__ __device__ __forceinline__ bool vec_aligned16(const void *p)
{
    return ((uintptr_t)p & 15) == 0;
}

__device__ __forceinline__ float4 vec_load4(const float *p)
{
    return *reinterpret_cast<const float4 *>(p);
}

__device__ __forceinline__ void vec_store4(float *p, float4 v)
{
    *reinterpret_cast<float4 *>(p) = v;
}

__device__ __forceinline__ uint4 vec_load16(const void *p)
{
    return *reinterpret_cast<const uint4 *>(p);
}

__device__ __forceinline__ void vec_store16(void *p, uint4 v)
{
    *reinterpret_cast<uint4 *>(p) = v;
}

__device__ __forceinline__ uint2 vec_load8(const void *p) /* 8-byte aligned */
{
    return *reinterpret_cast<const uint2 *>(p);
}

/* Two f16 in 32 bits <-> two f32; the low half is x. Exact; to f16 rounds to nearest even. */
__device__ __forceinline__ float2 vec_half2(uint32_t packed)
{
    __half2_raw raw;
    raw.x = (unsigned short)packed;
    raw.y = (unsigned short)(packed >> 16);
    return __half22float2(__half2(raw));
}

__device__ __forceinline__ uint32_t vec_pack_half2(float x, float y)
{
    __half2_raw raw = __floats2half2_rn(x, y);
    return (uint32_t)raw.x | (uint32_t)raw.y << 16;
}

__device__ __forceinline__ float vec_half(uint16_t bits)
{
    __half_raw raw;
    raw.x = bits;
    return __half2float(__half(raw));
}

__device__ __forceinline__ uint16_t vec_pack_half(float v)
{
    return __half_raw(__float2half_rn(v)).x;
}

__device__ __forceinline__ float vec_bf16(uint16_t bits)
{
    return __uint_as_float((uint32_t)bits << 16);
}

} /* namespace CU_NS */

#endif
