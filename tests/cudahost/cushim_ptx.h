/*
 * cushim_ptx: the twins of kernels/cuda/ptx.cuh, one for each wrapper, in the order of that file.
 * t_layout compares each twin with a plain definition, on the host and on a GPU.
 */
#ifndef CUSHIM_PTX_H
#define CUSHIM_PTX_H

namespace cushim
{
/* Operands of a lane that waits in a tensor-core collective. */
struct ldmatrix_lane {
    const void *row;
    uint32_t *r;
};
struct mma_lane {
    const uint32_t *a, *b;
    void *d;
};
enum mma_kind { MMA_F16, MMA_BF16, MMA_S8 };

inline void ldmatrix(unsigned n, bool trans, uint32_t *r, const void *row, struct site at)
{
    struct ldmatrix_lane l = {row, r};
    warp_collective(LDMATRIX, n * 2 + trans, 0xffffffffu, (uint64_t)(uintptr_t)&l, 0, at);
}
inline void mma(enum mma_kind kind, const uint32_t *a, const uint32_t *b, void *d, struct site at)
{
    struct mma_lane l = {a, b, d};
    warp_collective(MMA, kind, 0xffffffffu, (uint64_t)(uintptr_t)&l, 0, at);
}
} /* namespace cushim */

inline void cp_async16(void *s, const void *g, CUSHIM_SITE)
{
    cushim::cp_async(s, g, 16, CUSHIM_AT);
}
inline void cp_async16_zfill(void *s, const void *g, bool ok, CUSHIM_SITE)
{
    cushim::cp_async(s, g, ok ? 16 : 0, CUSHIM_AT);
}
inline void cp_async_commit(void)
{
    cushim::cp_commit();
}
template <int N> inline void cp_async_wait(void)
{
    cushim::cp_wait(N);
}

inline void ldmatrix_x4(uint32_t (&r)[4], const void *row, CUSHIM_SITE)
{
    cushim::ldmatrix(4, false, r, row, CUSHIM_AT);
}
inline void ldmatrix_x4_trans(uint32_t (&r)[4], const void *row, CUSHIM_SITE)
{
    cushim::ldmatrix(4, true, r, row, CUSHIM_AT);
}
inline void ldmatrix_x2(uint32_t (&r)[2], const void *row, CUSHIM_SITE)
{
    cushim::ldmatrix(2, false, r, row, CUSHIM_AT);
}
inline void mma_m16n8k16_f16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                             CUSHIM_SITE)
{
    cushim::mma(cushim::MMA_F16, a, b, d, CUSHIM_AT);
}
inline void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                              CUSHIM_SITE)
{
    cushim::mma(cushim::MMA_BF16, a, b, d, CUSHIM_AT);
}
inline void mma_m16n8k32_s8(int (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                            CUSHIM_SITE)
{
    cushim::mma(cushim::MMA_S8, a, b, d, CUSHIM_AT);
}

/* A misaligned address traps on a GPU. The race build and UBSan report the line; this check reports
 * it in all builds. */
__forceinline__ uint4 ld_stream16(const void *p, CUSHIM_SITE)
{
    if ((uintptr_t)p & 15)
        cushim::kernel_trap("16-byte load from a misaligned address", CUSHIM_AT);
    return *static_cast<const uint4 *>(p);
}
__forceinline__ uint32_t ld_stream4(const void *p, CUSHIM_SITE)
{
    if ((uintptr_t)p & 3)
        cushim::kernel_trap("4-byte load from a misaligned address", CUSHIM_AT);
    return *static_cast<const uint32_t *>(p);
}

inline void named_barrier(int id, int n_thread, CUSHIM_SITE)
{
    cushim::block_barrier(id, n_thread, 0, CUSHIM_AT);
}
inline void grid_sync(CUSHIM_SITE)
{
    cushim::grid_barrier(CUSHIM_AT);
}

inline void cp_async16_part(void *s, const void *g, int n, CUSHIM_SITE)
{
    if (n < 0 || n > 16)
        cushim::kernel_trap("cp.async of less than 0 or more than 16 bytes", CUSHIM_AT);
    cushim::cp_async(s, g, (unsigned)n, CUSHIM_AT);
}
/* The other half of k is zero. */
inline void mma_m16n8k16_s8(int (&d)[4], const uint32_t (&a)[2], uint32_t b, CUSHIM_SITE)
{
    const uint32_t a4[4] = {a[0], a[1], 0, 0}, b2[2] = {b, 0};
    cushim::mma(cushim::MMA_S8, a4, b2, d, CUSHIM_AT);
}

inline float ex2_approx(float x)
{
    const float y = exp2f(x);
    return y < 0x1p-126f ? 0 : y;
}

inline int lane_again(void)
{
    return (int)threadIdx.x % 32;
}

inline void fence_proxy_async(void)
{
    cushim::proxy_fence();
}
inline void wgmma_fence(void)
{
    cushim::wgmma_fence_regs();
}
inline void wgmma_commit(void)
{
    cushim::wgmma_commit_group();
}
inline void make_now(uint32_t (&)[4])
{
}
template <int N> inline void wgmma_wait(CUSHIM_SITE)
{
    cushim::wgmma_wait_groups(N, CUSHIM_AT);
}
struct wgmma_tile {
    const uint8_t *p;
};
inline unsigned wgmma_align(const void *p)
{
    return (unsigned)((0 - (uintptr_t)p) & 1023);
}
inline wgmma_tile wgmma_tile_128(const void *p)
{
    return {static_cast<const uint8_t *>(p)};
}
inline wgmma_tile wgmma_tile_move(wgmma_tile t, int bytes)
{
    return {t.p + bytes};
}
template <int N, bool SIGNED>
inline void wgmma_m64k32(int (&d)[N / 2], const uint32_t (&a)[4], wgmma_tile b, bool add,
                         CUSHIM_SITE)
{
    cushim::wgmma_issue(d, a, b.p, N, SIGNED, add, CUSHIM_AT);
}

#endif
