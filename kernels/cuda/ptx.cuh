/*
 * ptx: the only inline assembly of the project. One wrapper per instruction, named after it, with
 * the reason to use it. Wrappers take pointers; the plain-C twin of each is in
 * tests/cudahost/cushim_ptx.h and t_layout compares the two. All exist from sm_80 on. (PTX ISA 8.x;
 * section names in brackets.)
 */
#ifndef MAS_PTX_CUH
#define MAS_PTX_CUH

#include "cu.cuh"

#if defined(__CUDACC__)
namespace CU_NS
{

/* Shared-memory instructions address the shared window with 32 bits. */
__device__ __forceinline__ unsigned ptx_shared(const void *p)
{
    return (unsigned)__cvta_generic_to_shared(p);
}

/* 16 bytes global -> shared without registers, past L1 (.cg). Visible to the issuing thread after a
 * cp_async_wait that covers it, to other threads after a following barrier. [cp.async] */
__device__ __forceinline__ void cp_async16(void *s, const void *g)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(ptx_shared(s)), "l"(g)
                 : "memory");
}

/* As cp_async16; when not ok, 16 zero bytes arrive and g is not read. */
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

/* Four 8x8 tiles of 16-bit elements from shared memory into mma fragments. Lane 8 i + j gives the
 * 16-byte aligned address of row j of tile i. Lane l gets elements 2 (l % 4) and + 1 of row l / 4.
 * [ldmatrix] */
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

/* d (16, 8) f32 += a (16, 16) b (16, 8): tensor cores. Fragments, g = lane / 4, t = lane % 4:
 *   a[i]  rows g + 8 (i % 2), columns 2 t + 8 (i / 2) and + 1
 *   b[i]  rows 2 t + 8 i and + 1, column g
 *   d[i]  row g + 8 (i / 2), column 2 t + i % 2
 * The order of the sum over k is the hardware's own. [mma.m16n8k16] */
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
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
        "{%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* d (16, 8) s32 += a (16, 32) b (32, 8) of int8, exact. Fragments:
 *   a[i]  rows g + 8 (i % 2), columns 4 t + 16 (i / 2) .. + 3
 *   b[i]  rows 4 t + 16 i .. + 3, column g
 *   d     as above
 * [mma.m16n8k32] */
__device__ __forceinline__ void mma_m16n8k32_s8(int (&d)[4], const uint32_t (&a)[4],
                                                const uint32_t (&b)[2])
{
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
                 "{%8,%9}, {%0,%1,%2,%3};"
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* For weights, which are read once. Takes the read-only path and leaves L1 to the activations. The
 * memory must not be written while the kernel runs. [ld.global.nc] */
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

/* A barrier of n_thread threads of the block, a multiple of 32. ids 1..15; 0 is __syncthreads.
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

/* As cp_async16_zfill, for the first n of the 16 bytes, 0 <= n <= 16. g is aligned. [cp.async] */
__device__ __forceinline__ void cp_async16_part(void *s, const void *g, int n)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(ptx_shared(s)), "l"(g),
                 "r"(n)
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

/* threadIdx.x % 32 of a one-dimensional block, read anew. So a loop that calls it in each turn
 * keeps no derived values in registers. [%laneid] */
__device__ __forceinline__ int lane_again()
{
    int lane;
    asm volatile("mov.u32 %0, %%laneid;" : "=r"(lane));
    return lane;
}

/* ---- Hopper: asynchronous products of a warpgroup, four warps whose threads 128 i .. + 127 all
 * call. Only in files compiled for sm_90a. [wgmma] */

/* Orders a thread's ordinary writes to shared memory before the wgmma that read them. Each thread
 * that wrote calls it, before the barrier. [fence.proxy.async] */
__device__ __forceinline__ void fence_proxy_async()
{
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

/* Needed before the first wgmma that follows other uses of its registers. [wgmma.fence] */
__device__ __forceinline__ void wgmma_fence()
{
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

__device__ __forceinline__ void wgmma_commit()
{
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

/* Forces the computation of these registers here, not between the products that read them. */
__device__ __forceinline__ void make_now(uint32_t (&r)[4])
{
    asm volatile("" : "+r"(r[0]), "+r"(r[1]), "+r"(r[2]), "+r"(r[3]));
}

/* Waits until at most the N latest groups are in flight. Before that, neither sums nor operands may
 * be touched. */
template <int N> __device__ __forceinline__ void wgmma_wait()
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}

/* A matrix in shared memory, in rows of 128 bytes. The 16-byte piece c of row r lies at place c ^ r
 * % 8. Groups of eight rows lie 1024 bytes apart and begin at a multiple of 1024 of the shared
 * window. [matrix descriptor, 128-byte swizzle] */
struct wgmma_tile {
    uint64_t bits;
};

/* Bytes from p to the next possible beginning of a tile. */
__device__ __forceinline__ unsigned wgmma_align(const void *p)
{
    return (0u - ptx_shared(p)) & 1023u;
}

__device__ __forceinline__ wgmma_tile wgmma_tile_128(const void *p)
{
    const uint64_t lead = 1, stride = 1024 / 16, swizzle = 1;
    return {(uint64_t)(ptx_shared(p) & 0x3ffff) >> 4 | lead << 16 | stride << 32 | swizzle << 62};
}

/* The tile from column `bytes` on (a multiple of 16 below 128), or a tile that many bytes later (a
 * multiple of 1024). */
__device__ __forceinline__ wgmma_tile wgmma_tile_move(wgmma_tile t, int bytes)
{
    return {t.bits + (uint64_t)(bytes / 16)};
}

#define WGMMA_D(i)                                                                                 \
    "+r"(d[i]), "+r"(d[i + 1]), "+r"(d[i + 2]), "+r"(d[i + 3]), "+r"(d[i + 4]), "+r"(d[i + 5]),    \
        "+r"(d[i + 6]), "+r"(d[i + 7])
#define WGMMA_64(TYPE)                                                                             \
    asm volatile(                                                                                  \
        "{\n\t.reg .pred p;\n\tsetp.ne.b32 p, %37, 0;\n\t"                                         \
        "wgmma.mma_async.sync.aligned.m64n64k32.s32." TYPE ".s8 {"                                 \
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                   \
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "        \
        "{%32, %33, %34, %35}, %36, p;\n\t}"                                                       \
        : WGMMA_D(0), WGMMA_D(8), WGMMA_D(16), WGMMA_D(24)                                         \
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b.bits), "r"((int)add)                   \
        : "memory")
#define WGMMA_128(TYPE)                                                                            \
    asm volatile(                                                                                  \
        "{\n\t.reg .pred p;\n\tsetp.ne.b32 p, %69, 0;\n\t"                                         \
        "wgmma.mma_async.sync.aligned.m64n128k32.s32." TYPE ".s8 {"                                \
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                   \
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "         \
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "         \
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "        \
        "{%64, %65, %66, %67}, %68, p;\n\t}"                                                       \
        : WGMMA_D(0), WGMMA_D(8), WGMMA_D(16), WGMMA_D(24), WGMMA_D(32), WGMMA_D(40), WGMMA_D(48), \
          WGMMA_D(56)                                                                              \
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b.bits), "r"((int)add)                   \
        : "memory")

/* d (64, N) s32 = a (64, 32) b (32, N), + d when add; a: 8 bits, signed or not, in registers. b (N,
 * 32) int8: 32 columns of a tile. Warp w has rows 16 w .. + 15. a and d are as in mma_m16n8k32_s8,
 * d[4 i ..] of columns 8 i .. + 7. Exact. [wgmma.mma_async] */
template <int N, bool SIGNED>
__device__ __forceinline__ void wgmma_m64k32(int (&d)[N / 2], const uint32_t (&a)[4], wgmma_tile b,
                                             bool add)
{
    static_assert(N == 64 || N == 128, "others are not written down");
    if constexpr (N == 128 && SIGNED)
        WGMMA_128("s8");
    else if constexpr (N == 128)
        WGMMA_128("u8");
    else if constexpr (SIGNED)
        WGMMA_64("s8");
    else
        WGMMA_64("u8");
}
#undef WGMMA_D
#undef WGMMA_64
#undef WGMMA_128

} /* namespace CU_NS */
#endif

#endif
