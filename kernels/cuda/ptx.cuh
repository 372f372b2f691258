/*
 * ptx: the only inline assembly of the project. One wrapper per instruction, named after it, with the
 * reason to use it. Wrappers take pointers; the plain-C twin of each is in tests/cudahost/cushim_ptx.h and
 * t_layout compares the two. All exist from sm_80 on. (PTX ISA 8.x; section names in brackets.)
 */
#ifndef MAS_PTX_CUH
#define MAS_PTX_CUH

#include "cu.cuh"

#if defined(__CUDACC__)
namespace CU_NS {

/* Shared-memory instructions address the shared window with 32 bits. */
__device__ __forceinline__ unsigned ptx_shared(const void *p)
{
    return (unsigned)__cvta_generic_to_shared(p);
}

/* 16 bytes global -> shared without registers, past L1 (.cg). Visible to the issuing thread after a
 * cp_async_wait that covers it, to others after a barrier behind that. [cp.async] */
__device__ __forceinline__ void cp_async16(void *s, const void *g)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(ptx_shared(s)), "l"(g) : "memory");
}

/* The same; when not ok, 16 zero bytes arrive and g is not read. */
__device__ __forceinline__ void cp_async16_zfill(void *s, const void *g, bool ok)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(ptx_shared(s)), "l"(g),
                 "r"(ok ? 16 : 0)
                 : "memory");
}

/* Closes the group of the thread's copies issued since the last commit. */
__device__ __forceinline__ void cp_async_commit()
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

/* Waits until at most the N latest groups of this thread are in flight. */
template <int N> __device__ __forceinline__ void cp_async_wait()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

/* Four 8x8 tiles of 16-bit elements from shared memory into mma fragments: lane 8 i + j gives the 16-byte
 * aligned address of row j of tile i; lane l gets elements 2 (l % 4) and + 1 of row l / 4. [ldmatrix] */
__device__ __forceinline__ void ldmatrix_x4(uint32_t (&r)[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(ptx_shared(row))
                 : "memory");
}

/* The same tiles transposed: lane l gets elements l / 4 of rows 2 (l % 4) and + 1. */
__device__ __forceinline__ void ldmatrix_x4_trans(uint32_t (&r)[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(ptx_shared(row))
                 : "memory");
}

/* Two tiles; lanes 0..15 give addresses, the others' must be valid too. */
__device__ __forceinline__ void ldmatrix_x2(uint32_t (&r)[2], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(ptx_shared(row))
                 : "memory");
}

/* d (16, 8) f32 += a (16, 16) b (16, 8): tensor cores. Fragments: with g = lane / 4, t = lane % 4,
 * a[i] = rows g + 8 (i % 2), columns 2 t + 8 (i / 2) and + 1; b[i] = rows 2 t + 8 i and + 1, column g;
 * d[i] = row g + 8 (i / 2), column 2 t + i % 2. The order of the sum over k is the hardware's own.
 * [mma.m16n8k16] */
__device__ __forceinline__ void mma_m16n8k16_f16(float (&d)[4], const uint32_t (&a)[4],
                                                 const uint32_t (&b)[2])
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
                 "{%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ __forceinline__ void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4],
                                                  const uint32_t (&b)[2])
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
                 "{%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* d (16, 8) s32 += a (16, 32) b (32, 8) of int8, exact: a[i] = rows g + 8 (i % 2), columns 4 t + 16 (i / 2)
 * .. + 3; b[i] = rows 4 t + 16 i .. + 3, column g; d as above. [mma.m16n8k32] */
__device__ __forceinline__ void mma_m16n8k32_s8(int (&d)[4], const uint32_t (&a)[4],
                                                const uint32_t (&b)[2])
{
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
                 "{%8,%9}, {%0,%1,%2,%3};"
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* Weights are read once: through the read-only path, not kept in L1, which is left to the activations.
 * The memory must not be written while the kernel runs. [ld.global.nc] */
__device__ __forceinline__ uint4 ld_stream16(const void *p)
{
    uint4 v;
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(p));
    return v;
}

__device__ __forceinline__ uint32_t ld_stream4(const void *p)
{
    uint32_t v;
    asm volatile("ld.global.nc.L1::no_allocate.u32 %0, [%1];" : "=r"(v) : "l"(p));
    return v;
}

/* A barrier of n_thread threads (a multiple of 32) among the block's; ids 1..15, 0 is __syncthreads.
 * [bar.sync] */
__device__ __forceinline__ void named_barrier(int id, int n_thread)
{
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(n_thread) : "memory");
}

/* The grid barrier of a cooperative launch. */
__device__ __forceinline__ void grid_sync()
{
    cooperative_groups::this_grid().sync();
}

/* As cp_async16_zfill, for the first n of the 16 bytes, 0 <= n <= 16; g is aligned all the same.
 * [cp.async] */
__device__ __forceinline__ void cp_async16_part(void *s, const void *g, int n)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(ptx_shared(s)), "l"(g), "r"(n)
                 : "memory");
}

/* As mma_m16n8k32_s8 with k = 16: a[i] = rows g + 8 i, columns 4 t .. + 3; b = rows 4 t .. + 3,
 * column g. [mma.m16n8k16] */
__device__ __forceinline__ void mma_m16n8k16_s8(int (&d)[4], const uint32_t (&a)[2], uint32_t b)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5}, {%6}, "
                 "{%0,%1,%2,%3};"
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(b));
}

/* 2^x within 2 ulp: 0 for results below 2^-126. [ex2.approx.ftz] */
__device__ __forceinline__ float ex2_approx(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/* threadIdx.x % 32 of a one-dimensional block, anew: what follows from it is not kept in registers over a
 * loop that asks for it in each turn. [%laneid] */
__device__ __forceinline__ int lane_again()
{
    int lane;
    asm volatile("mov.u32 %0, %%laneid;" : "=r"(lane));
    return lane;
}

} /* namespace CU_NS */
#endif

#endif
