/*
 * t_layout: every wrapper of ptx.cuh, warp.cuh and vec.cuh, and every intrinsic of cushim_math.h,
 * against a plain definition in this file. Built with the shim, it verifies the twins. Built with
 * nvcc, it is the first program to run on a GPU and verifies that twins and hardware agree. Exit
 * status: 0 all right, 1 a difference, 77 no GPU.
 */
#include "cu.cuh"

#include <math.h>
#include <stdio.h>
#include <vector>

namespace CU_NS
{

struct layout_args {
    const __half *a16, *b16; /* (16, 16), (16, 8) */
    const __nv_bfloat16 *abf, *bbf;
    const int8_t *a8, *b8; /* (16, 32), (32, 8) */
    const uint16_t *tile;  /* four 8x8 tiles */
    const uint32_t *word;  /* (64) arbitrary */
    uint32_t *out;
};

template <class T> __device__ uint32_t pack2(const T *lo, const T *hi)
{
    uint16_t l, h;
    memcpy(&l, (const void *)lo, 2);
    memcpy(&h, (const void *)hi, 2);
    return (uint32_t)l | (uint32_t)h << 16;
}

__device__ uint32_t pack4(const int8_t *p, int stride)
{
    uint32_t r = 0;
    for (int i = 0; i < 4; i++)
        r |= (uint32_t)(uint8_t)p[i * stride] << 8 * i;
    return r;
}

/* d (16, 8) = c + a b, fragments filled by the documented layout; c[i][j] = i + j. */
template <class T>
__device__ void fragments_k16(const T *a, const T *b, uint32_t (&fa)[4], uint32_t (&fb)[2])
{
    const int g = threadIdx.x / 4, t = threadIdx.x % 4;
    for (int i = 0; i < 4; i++) {
        const T *at = a + (g + i % 2 * 8) * 16 + t * 2 + i / 2 * 8;
        fa[i] = pack2(at, at + 1);
    }
    for (int i = 0; i < 2; i++) {
        const T *at = b + (t * 2 + i * 8) * 8 + g;
        fb[i] = pack2(at, at + 8);
    }
}

__global__ void k_mma(const layout_args x)
{
    const int g = threadIdx.x / 4, t = threadIdx.x % 4;
    uint32_t fa[4], fb[2];
    float d[4], e[4];
    int c[4];
    for (int i = 0; i < 4; i++) {
        c[i] = g + i / 2 * 8 + t * 2 + i % 2;
        d[i] = e[i] = (float)c[i];
    }
    fragments_k16(x.a16, x.b16, fa, fb);
    mma_m16n8k16_f16(d, fa, fb);
    fragments_k16(x.abf, x.bbf, fa, fb);
    mma_m16n8k16_bf16(e, fa, fb);
    for (int i = 0; i < 4; i++)
        fa[i] = pack4(x.a8 + (g + i % 2 * 8) * 32 + t * 4 + i / 2 * 16, 1);
    for (int i = 0; i < 2; i++)
        fb[i] = pack4(x.b8 + (t * 4 + i * 16) * 8 + g, 8);
    mma_m16n8k32_s8(c, fa, fb);
    /* the first half of k only */
    int half[4] = {g + t * 2, g + t * 2 + 1, g + 8 + t * 2, g + 8 + t * 2 + 1};
    const uint32_t two[2] = {fa[0], fa[1]};
    mma_m16n8k16_s8(half, two, fb[0]);
    for (int i = 0; i < 4; i++) {
        const int at = (g + i / 2 * 8) * 8 + t * 2 + i % 2;
        x.out[at] = __float_as_uint(d[i]);
        x.out[128 + at] = __float_as_uint(e[i]);
        x.out[256 + at] = (uint32_t)c[i];
        x.out[384 + at] = (uint32_t)half[i];
    }
}

__global__ void k_ldmatrix(const layout_args x)
{
    SHARED_ARRAY(uint4, rows, [32]); /* 8 elements each */
    uint16_t *h = reinterpret_cast<uint16_t *>(rows);
    for (int i = threadIdx.x; i < 256; i += 32)
        h[i] = x.tile[i];
    __syncwarp();
    uint32_t r4[4], t4[4], r2[2];
    ldmatrix_x4(r4, rows + threadIdx.x);
    ldmatrix_x4_trans(t4, rows + threadIdx.x);
    ldmatrix_x2(r2, rows + threadIdx.x % 16);
    for (int i = 0; i < 4; i++) {
        x.out[threadIdx.x * 4 + i] = r4[i];
        x.out[128 + threadIdx.x * 4 + i] = t4[i];
    }
    for (int i = 0; i < 2; i++)
        x.out[256 + threadIdx.x * 2 + i] = r2[i];
}

__global__ void k_async(const layout_args x) /* 16 lanes copy, 16 fill with zeros; two groups */
{
    SmemCarve smem;
    uint32_t *a = smem.take<uint32_t>(128), *b = smem.take<uint32_t>(128);
    const uint32_t *from = x.word + threadIdx.x % 16 * 4;
    cp_async16(a + threadIdx.x * 4, from);
    cp_async_commit();
    cp_async16_zfill(b + threadIdx.x * 4, from, threadIdx.x < 16);
    cp_async_commit();
    cp_async_wait<1>();
    __syncwarp();
    for (int i = threadIdx.x; i < 128; i += 32)
        x.out[i] = a[127 - i];
    cp_async_wait<0>();
    __syncwarp();
    for (int i = threadIdx.x; i < 128; i += 32)
        x.out[128 + i] = b[127 - i];
    const uint4 v = ld_stream16(from);
    x.out[256 + threadIdx.x] = v.x + 3 * v.y + 5 * v.z + 7 * v.w;
    x.out[288 + threadIdx.x] = ld_stream4(x.word + threadIdx.x);
    __syncwarp();
    cp_async16_part(a + threadIdx.x * 4, from, threadIdx.x % 17);
    cp_async_commit();
    cp_async_wait<0>();
    __syncwarp();
    for (int i = threadIdx.x; i < 128; i += 32)
        x.out[320 + i] = a[127 - i];
}

__global__ void k_named(const layout_args x) /* 128 threads; pairs of warps exchange */
{
    SHARED_ARRAY(uint32_t, a, [128]);
    a[threadIdx.x] = threadIdx.x * 3;
    named_barrier(1 + threadIdx.x / 64, 64);
    x.out[threadIdx.x] = a[threadIdx.x ^ 32];
    x.out[128 + threadIdx.x] = (uint32_t)__syncthreads_count(threadIdx.x % 3 == 0);
    x.out[256 + threadIdx.x] = (uint32_t)(__syncthreads_or(threadIdx.x == 77) != 0) |
                               (uint32_t)(__syncthreads_and(threadIdx.x < 77) != 0) << 1;
}

__global__ void k_grid(const layout_args x)
{
    x.out[blockIdx.x * 32 + threadIdx.x] = blockIdx.x + 1;
    grid_sync();
    x.out[128 + blockIdx.x * 32 + threadIdx.x] =
        x.out[(blockIdx.x + 1) % gridDim.x * 32 + threadIdx.x];
}

/* 2^x: first where it must be exact, then a ramp from -140 to 130 */
__host__ __device__ static float power_at(int i)
{
    const float exact[] = {0.0f, 1.0f, -1.0f, 10.0f, -126.0f, 127.0f, -INFINITY, INFINITY};
    return i < 8 ? exact[i] : -140.0f + 0.3f * (float)i;
}

__global__ void k_power(const layout_args x)
{
    for (int i = threadIdx.x; i < 904; i += 32)
        x.out[i] = __float_as_uint(ex2_approx(power_at(i)));
    x.out[904 + threadIdx.x] = (uint32_t)lane_again();
}

enum { N_WARP = 21 };

__global__ void k_warp(const layout_args x)
{
    const unsigned all = 0xffffffffu, w = x.word[threadIdx.x];
    const int lane = threadIdx.x, v = (int)w;
    int pred;
    uint32_t r[N_WARP] = {
        __shfl_sync(all, w, lane * 7),
        __shfl_sync(all, w, lane + 3, 8),
        __shfl_up_sync(all, w, 5),
        __shfl_up_sync(all, w, 3, 16),
        __shfl_down_sync(all, w, 5),
        __shfl_down_sync(all, w, 3, 16),
        __shfl_xor_sync(all, w, 9),
        __shfl_xor_sync(all, w, 5, 8),
        __ballot_sync(all, w & 1),
        (uint32_t)(__any_sync(all, lane == 9) != 0) | (uint32_t)(__all_sync(all, lane != 9) != 0)
                                                          << 1,
        __match_any_sync(all, w & 3),
        __match_all_sync(all, 5u, &pred),
        __match_all_sync(all, w, &pred),
        (uint32_t)__reduce_add_sync(all, v),
        (uint32_t)__reduce_max_sync(all, v),
        (uint32_t)__reduce_min_sync(all, v),
        __reduce_max_sync(all, w),
        __reduce_min_sync(all, w),
        __reduce_or_sync(all, w & 0x0f0f0f0f),
        __reduce_and_sync(all, w | 0x0f0f0f0f),
        __reduce_xor_sync(all, w),
    };
    for (int i = 0; i < N_WARP; i++)
        x.out[i * 32 + lane] = r[i];
}

/* Reductions of warp.cuh, beside the shuffles that define them. */
__global__ void k_reduce(const layout_args x)
{
    SHARED_ARRAY(float, part, [4]);
    const float f = (float)(int)x.word[threadIdx.x % 64] * 0x1p-20f;
    float sum = f, most = f;
    for (int o = 16; o; o >>= 1) {
        sum += __shfl_xor_sync(0xffffffffu, sum, o);
        most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, o));
    }
    x.out[threadIdx.x] = __float_as_uint(warp_sum(f)) ^ __float_as_uint(sum); /* 0: the same bits */
    x.out[128 + threadIdx.x] = __float_as_uint(warp_max(f)) ^ __float_as_uint(most);
    x.out[256 + threadIdx.x] = (uint32_t)warp_sum((int)threadIdx.x);
    x.out[384 + threadIdx.x] = __float_as_uint(block_sum<128>((float)threadIdx.x, part));
    x.out[512 + threadIdx.x] =
        __float_as_uint(block_max<128>(fabsf((float)threadIdx.x - 50), part));
}

enum { N_INT = 23 };

__global__ void k_intrinsics(const layout_args x)
{
    const uint32_t a = x.word[threadIdx.x], b = x.word[63 - threadIdx.x];
    const float f = (float)(int)a * 0x1p-8f;
    const float2 h = vec_half2(vec_pack_half2(1.5f, -0.25f));
    uint32_t r[N_INT] = {
        (uint32_t)__dp4a((int)a, (int)b, 77),
        __dp4a(a, b, 77u),
        __byte_perm(a, b, 0x5140),
        __byte_perm(a, b, 0xb3f2),
        __vadd4(a, b),
        __vsub4(a, b),
        __vsubss4(a, b),
        __funnelshift_r(a, b, 13),
        __funnelshift_l(a, b, 13),
        (uint32_t)__popc(a),
        (uint32_t)__clz((int)(a >> threadIdx.x)),
        (uint32_t)__ffs((int)(a & b)),
        __brev(a),
        __umulhi(a, b),
        (uint32_t)__mulhi((int)a, (int)b),
        (uint32_t)__float2int_rn(f),
        (uint32_t)__float2int_rz(f),
        (uint32_t)__float2int_rn((float)threadIdx.x * 0.5f),
        __float_as_uint(vec_half((uint16_t)(a & 0x7bff))),
        vec_pack_half(f * 0x1p-12f),
        __float_as_uint(vec_bf16((uint16_t)a)),
        (uint32_t)(h.x == 1.5f) | (uint32_t)(h.y == -0.25f) << 1,
        __float_as_uint(fmaf(f, 3.0f, 0.1f)),
    };
    for (int i = 0; i < N_INT; i++)
        x.out[i * 32 + threadIdx.x] = r[i];
}

} /* namespace CU_NS */

using namespace CU_NS;

static int differences;

static void must(cudaError_t e, const char *what)
{
    if (e != cudaSuccess) {
        printf("%s: %s\n", what, cudaGetErrorString(e));
        differences++;
    }
}

/* Compares out[first .. first + n) with want(i). */
template <class F>
static void compare(const char *what, const std::vector<uint32_t> &out, size_t first, size_t n,
                    F want)
{
    size_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t w = want(i), got = out[first + i];
        if (got != w && !bad++)
            printf("%s: [%zu] is %08x, expected %08x\n", what, i, got, w);
    }
    printf("%-24s %s\n", what, bad ? "DIFFERS" : "ok");
    differences += bad != 0;
}

static uint32_t bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    return u;
}

static uint32_t random_word(uint32_t i) /* a fixed word for each i, with mixed bits */
{
    uint64_t x = (i + 1) * 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    return (uint32_t)(x >> 29);
}
static int small(uint32_t i) /* -8 .. 7: every sum of products is exact */
{
    return (int)(random_word(i) & 15) - 8;
}
static int s8(uint32_t i)
{
    return (int8_t)random_word(i + 5000);
}
static int byte_of(uint32_t w, int i)
{
    return (int8_t)(w >> 8 * i);
}

template <class T> static T *upload(const std::vector<T> &h)
{
    T *p = nullptr;
    must(cudaMalloc(&p, h.size() * sizeof(T)), "cudaMalloc");
    must(cudaMemcpy(p, h.data(), h.size() * sizeof(T), cudaMemcpyHostToDevice), "cudaMemcpy");
    return p;
}

static layout_args args;
static const size_t N_OUT = 8192;

static std::vector<uint32_t> results(void)
{
    std::vector<uint32_t> out(N_OUT);
    must(cudaGetLastError(), "launch");
    must(cudaMemcpy(out.data(), args.out, N_OUT * 4, cudaMemcpyDeviceToHost), "cudaMemcpy");
    must(cudaMemset(args.out, 0xee, N_OUT * 4), "cudaMemset");
    return out;
}

static uint32_t word(size_t i)
{
    return random_word((uint32_t)i + 9000);
}

static void check_mma(void)
{
    LAUNCH(k_mma, dim3(1), dim3(32), 0, nullptr, args);
    std::vector<uint32_t> out = results();
    auto product = [](size_t i, bool s, int half = 0) {
        int r = (int)(i / 8), c = (int)(i % 8), sum = r + c, n = s && !half ? 32 : 16;
        for (int k = 0; k < n; k++)
            sum += s ? s8((uint32_t)(r * 32 + k)) * s8((uint32_t)(600 + k * 8 + c))
                     : small((uint32_t)(r * 16 + k)) * small((uint32_t)(300 + k * 8 + c));
        return sum;
    };
    compare("mma_m16n8k16_f16", out, 0, 128,
            [&](size_t i) { return bits((float)product(i, false)); });
    compare("mma_m16n8k16_bf16", out, 128, 128,
            [&](size_t i) { return bits((float)product(i, false)); });
    compare("mma_m16n8k32_s8", out, 256, 128, [&](size_t i) { return (uint32_t)product(i, true); });
    compare("mma_m16n8k16_s8", out, 384, 128,
            [&](size_t i) { return (uint32_t)product(i, true, 1); });
}

/* The products of Hopper's warpgroups exist in code for sm_90a only. */
#if !defined(__CUDACC__) || defined(MAS_SM90A)
static __host__ __device__ int tile_byte(int row, int k)
{
    return (int8_t)((row * 32 + k) * 89 % 253 - 126);
}

/* d (64, N) = 7 + a (64, 32) b (N, 32)^T, b in columns 64 .. 95 of a tile */
template <int N, bool SIGNED> __global__ void k_wgmma(const layout_args x)
{
#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
    SmemCarve smem;
    uint8_t *b = smem.take<uint8_t>(1024 + N * 128, 128);
    b += wgmma_align(b);
    for (int i = threadIdx.x; i < N * 32; i += 128)
        b[i / 32 * 128 + (((64 + i % 32) / 16) ^ i / 32 % 8) * 16 + i % 16] =
            (uint8_t)tile_byte(i / 32, i % 32);
    fence_proxy_async();
    __syncthreads();
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, row = threadIdx.x / 32 * 16;
    int d[N / 2];
    uint32_t a[4];
    for (int i = 0; i < N / 2; i++)
        d[i] = 7;
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 4; k++)
            a[i] = (k ? a[i] : 0) |
                   (uint32_t)(uint8_t)tile_byte(row + g + i % 2 * 8 + 100, t * 4 + i / 2 * 16 + k)
                       << 8 * k;
    wgmma_fence();
    wgmma_m64k32<N, SIGNED>(d, a, wgmma_tile_move(wgmma_tile_128(b), 64), true);
    wgmma_commit();
    wgmma_wait<0>();
    for (int i = 0; i < N / 2; i++)
        x.out[(row + g + i / 2 % 2 * 8) * N + i / 4 * 8 + t * 2 + i % 2] = (uint32_t)d[i];
#endif
}

template <int N, bool SIGNED> static void check_wgmma_as(const char *name)
{
    LAUNCH((k_wgmma<N, SIGNED>), dim3(1), dim3(128), 1024 + N * 128, nullptr, args);
    std::vector<uint32_t> out = results();
    compare(name, out, 0, 64 * N, [&](size_t i) {
        int sum = 7;
        for (int k = 0; k < 32; k++) {
            const int a = tile_byte((int)(i / N) + 100, k);
            sum += (SIGNED ? a : a & 255) * tile_byte((int)(i % N), k);
        }
        return (uint32_t)sum;
    });
}

static void check_wgmma(void)
{
    int major = 0, minor = 0;
    must(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0),
         "cudaDeviceGetAttribute");
    must(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0),
         "cudaDeviceGetAttribute");
    if (major != 9 || minor != 0) {
        printf("wgmma                    not on this device\n");
        return;
    }
    check_wgmma_as<64, false>("wgmma_m64k32<64, u8>");
    check_wgmma_as<64, true>("wgmma_m64k32<64, s8>");
    check_wgmma_as<128, false>("wgmma_m64k32<128, u8>");
    check_wgmma_as<128, true>("wgmma_m64k32<128, s8>");
}
#else
static void check_wgmma(void)
{
}
#endif

static void check_ldmatrix(void)
{
    LAUNCH(k_ldmatrix, dim3(1), dim3(32), 0, nullptr, args);
    std::vector<uint32_t> out = results();
    /* the tiles hold their own indices: tile i, row r, column c is 64 i + 8 r + c */
    auto pair = [](size_t lo, size_t hi) { return (uint32_t)(lo | hi << 16); };
    compare("ldmatrix_x4", out, 0, 128, [&](size_t i) {
        size_t lane = i / 4, at = i % 4 * 64 + lane / 4 * 8 + lane % 4 * 2;
        return pair(at, at + 1);
    });
    compare("ldmatrix_x4_trans", out, 128, 128, [&](size_t i) {
        size_t lane = i / 4, at = i % 4 * 64 + lane % 4 * 2 * 8 + lane / 4;
        return pair(at, at + 8);
    });
    compare("ldmatrix_x2", out, 256, 64, [&](size_t i) {
        size_t lane = i / 2, at = i % 2 * 64 + lane / 4 * 8 + lane % 4 * 2;
        return pair(at, at + 1);
    });
}

static void check_async(void)
{
    LAUNCH(k_async, dim3(1), dim3(32), 2 * 128 * 4, nullptr, args);
    std::vector<uint32_t> out = results();
    compare("cp_async16", out, 0, 128, [](size_t i) { return word((127 - i) % 64); });
    compare("cp_async16_zfill", out, 128, 128,
            [](size_t i) { return 127 - i < 64 ? word(127 - i) : 0; });
    compare("ld_stream16", out, 256, 32, [](size_t i) {
        size_t at = i % 16 * 4;
        return word(at) + 3 * word(at + 1) + 5 * word(at + 2) + 7 * word(at + 3);
    });
    compare("ld_stream4", out, 288, 32, word);
    /* thread l copies its byte k of 16 when k < l % 17 */
    compare("cp_async16_part", out, 320, 128, [](size_t i) {
        const size_t at = 127 - i, lane = at / 4, n = lane % 17, first = at % 4 * 4;
        const uint32_t w = word(lane % 16 * 4 + at % 4);
        return n >= first + 4 ? w : n <= first ? 0 : w & ((1u << 8 * (n - first)) - 1);
    });
}

static void check_barriers(void)
{
    LAUNCH(k_named, dim3(1), dim3(128), 0, nullptr, args);
    std::vector<uint32_t> out = results();
    compare("named_barrier", out, 0, 128, [](size_t i) { return (uint32_t)(i ^ 32) * 3; });
    compare("__syncthreads_count", out, 128, 128, [](size_t) { return 43u; });
    compare("__syncthreads_or, _and", out, 256, 128, [](size_t) { return 1u; });
    LAUNCH_COOP(k_grid, dim3(4), dim3(32), 0, nullptr, args);
    out = results();
    compare("grid_sync", out, 128, 128, [](size_t i) { return (uint32_t)((i / 32 + 1) % 4 + 1); });
}

static void check_power(void)
{
    LAUNCH(k_power, dim3(1), dim3(32), 0, nullptr, args);
    std::vector<uint32_t> out = results();
    compare("ex2_approx, exact", out, 0, 8,
            [](size_t i) { return bits((float)exp2((double)power_at((int)i))); });
    /* expects the function's own answer when that is within 2 ulp */
    compare("ex2_approx", out, 8, 896, [&](size_t i) {
        const double want = exp2((double)power_at((int)i + 8));
        float got;
        memcpy(&got, &out[8 + i], sizeof got);
        if (want < 0x1p-126)
            return got <= 0x1p-126f && got >= 0 ? out[8 + i] : 0u;
        if (want > 3.4e38)
            return bits(INFINITY);
        return fabs(got - want) <= want * 0x1p-22 ? out[8 + i] : bits((float)want);
    });
    compare("lane_again", out, 904, 32, [](size_t i) { return (uint32_t)i; });
}

static void check_warp(void)
{
    LAUNCH(k_warp, dim3(1), dim3(32), 0, nullptr, args);
    std::vector<uint32_t> out = results();
    size_t row = 0;
    auto next = [&](const char *what, uint32_t (*want)(size_t)) {
        compare(what, out, 32 * row++, 32, want);
    };
    auto all = [&](const char *what, uint32_t start, uint32_t (*f)(uint32_t, uint32_t)) {
        uint32_t r = start;
        for (size_t i = 0; i < 32; i++)
            r = f(r, word(i));
        compare(what, out, 32 * row++, 32, [=](size_t) { return r; });
    };
    next("__shfl_sync", [](size_t i) { return word(i * 7 % 32); });
    next("__shfl_sync width 8", [](size_t i) { return word(i / 8 * 8 + (i + 3) % 8); });
    next("__shfl_up_sync", [](size_t i) { return word(i < 5 ? i : i - 5); });
    next("__shfl_up_sync width 16", [](size_t i) { return word(i % 16 < 3 ? i : i - 3); });
    next("__shfl_down_sync", [](size_t i) { return word(i > 26 ? i : i + 5); });
    next("__shfl_down_sync width 16", [](size_t i) { return word(i % 16 > 12 ? i : i + 3); });
    next("__shfl_xor_sync", [](size_t i) { return word(i ^ 9); });
    next("__shfl_xor_sync width 8", [](size_t i) { return word(i ^ 5); });
    next("__ballot_sync", [](size_t) {
        uint32_t r = 0;
        for (size_t i = 0; i < 32; i++)
            r |= (word(i) & 1) << i;
        return r;
    });
    next("__any_sync, __all_sync", [](size_t) { return 1u; });
    next("__match_any_sync", [](size_t l) {
        uint32_t r = 0;
        for (size_t i = 0; i < 32; i++)
            r |= (uint32_t)((word(i) & 3) == (word(l) & 3)) << i;
        return r;
    });
    next("__match_all_sync same", [](size_t) { return 0xffffffffu; });
    next("__match_all_sync differs", [](size_t) { return 0u; });
    all("__reduce_add_sync", 0, [](uint32_t a, uint32_t b) { return a + b; });
    all("__reduce_max_sync s32", 0x80000000u,
        [](uint32_t a, uint32_t b) { return (int)a > (int)b ? a : b; });
    all("__reduce_min_sync s32", 0x7fffffffu,
        [](uint32_t a, uint32_t b) { return (int)a < (int)b ? a : b; });
    all("__reduce_max_sync u32", 0, [](uint32_t a, uint32_t b) { return a > b ? a : b; });
    all("__reduce_min_sync u32", ~0u, [](uint32_t a, uint32_t b) { return a < b ? a : b; });
    all("__reduce_or_sync", 0, [](uint32_t a, uint32_t b) { return a | (b & 0x0f0f0f0f); });
    all("__reduce_and_sync", ~0u, [](uint32_t a, uint32_t b) { return a & (b | 0x0f0f0f0f); });
    all("__reduce_xor_sync", 0, [](uint32_t a, uint32_t b) { return a ^ b; });

    LAUNCH(k_reduce, dim3(1), dim3(128), 0, nullptr, args);
    out = results();
    compare("warp_sum f32", out, 0, 128, [](size_t) { return 0u; });
    compare("warp_max f32", out, 128, 128, [](size_t) { return 0u; });
    compare("warp_sum s32", out, 256, 128,
            [](size_t i) { return (uint32_t)(i / 32 * 1024 + 496); });
    compare("block_sum", out, 384, 128, [](size_t) { return bits(8128.0f); });
    compare("block_max", out, 512, 128, [](size_t) { return bits(77.0f); });
}

static uint32_t each_byte(uint32_t a, uint32_t b, int (*f)(int, int))
{
    uint32_t r = 0;
    for (int i = 0; i < 4; i++)
        r |= (uint32_t)(uint8_t)f(byte_of(a, i), byte_of(b, i)) << 8 * i;
    return r;
}

static uint32_t perm(uint32_t a, uint32_t b, uint32_t select)
{
    uint8_t bytes[8], r[4];
    memcpy(bytes, &a, 4);
    memcpy(bytes + 4, &b, 4);
    for (int i = 0; i < 4; i++) {
        uint32_t s = select >> 4 * i & 15;
        r[i] = s & 8 ? (bytes[s & 7] & 128 ? 255 : 0) : bytes[s & 7];
    }
    memcpy(&a, r, 4);
    return a;
}

static void check_intrinsics(void)
{
    LAUNCH(k_intrinsics, dim3(1), dim3(32), 0, nullptr, args);
    std::vector<uint32_t> out = results();
    size_t row = 0;
    auto next = [&](const char *what, uint32_t (*want)(uint32_t, uint32_t, size_t)) {
        compare(what, out, 32 * row++, 32,
                [=](size_t i) { return want(word(i), word(63 - i), i); });
    };
    next("__dp4a s32", [](uint32_t a, uint32_t b, size_t) {
        int s = 77;
        for (int i = 0; i < 4; i++)
            s += byte_of(a, i) * byte_of(b, i);
        return (uint32_t)s;
    });
    next("__dp4a u32", [](uint32_t a, uint32_t b, size_t) {
        uint32_t s = 77;
        for (int i = 0; i < 4; i++)
            s += (uint32_t)(uint8_t)byte_of(a, i) * (uint32_t)(uint8_t)byte_of(b, i);
        return s;
    });
    next("__byte_perm", [](uint32_t a, uint32_t b, size_t) { return perm(a, b, 0x5140); });
    next("__byte_perm sign", [](uint32_t a, uint32_t b, size_t) { return perm(a, b, 0xb3f2); });
    next("__vadd4", [](uint32_t a, uint32_t b, size_t) {
        return each_byte(a, b, [](int x, int y) { return x + y; });
    });
    next("__vsub4", [](uint32_t a, uint32_t b, size_t) {
        return each_byte(a, b, [](int x, int y) { return x - y; });
    });
    next("__vsubss4", [](uint32_t a, uint32_t b, size_t) {
        return each_byte(a, b, [](int x, int y) {
            return x - y > 127 ? 127 : x - y < -128 ? -128 : x - y;
        });
    });
    next("__funnelshift_r", [](uint32_t a, uint32_t b, size_t) { return a >> 13 | b << 19; });
    next("__funnelshift_l", [](uint32_t a, uint32_t b, size_t) { return b << 13 | a >> 19; });
    next("__popc", [](uint32_t a, uint32_t, size_t) {
        uint32_t n = 0;
        for (; a; a >>= 1)
            n += a & 1;
        return n;
    });
    next("__clz", [](uint32_t a, uint32_t, size_t i) {
        uint32_t n = 0;
        for (a >>= i; n < 32 && !(a >> (31 - n) & 1); n++)
            ;
        return n;
    });
    next("__ffs", [](uint32_t a, uint32_t b, size_t) {
        uint32_t n = 0;
        for (a &= b; n < 32 && !(a >> n & 1); n++)
            ;
        return n < 32 ? n + 1 : 0;
    });
    next("__brev", [](uint32_t a, uint32_t, size_t) {
        uint32_t r = 0;
        for (int i = 0; i < 32; i++)
            r |= (a >> i & 1) << (31 - i);
        return r;
    });
    next("__umulhi",
         [](uint32_t a, uint32_t b, size_t) { return (uint32_t)((uint64_t)a * b >> 32); });
    next("__mulhi",
         [](uint32_t a, uint32_t b, size_t) { return (uint32_t)((int64_t)(int)a * (int)b >> 32); });
    next("__float2int_rn",
         [](uint32_t a, uint32_t, size_t) { return (uint32_t)lrintf((float)(int)a * 0x1p-8f); });
    next("__float2int_rz",
         [](uint32_t a, uint32_t, size_t) { return (uint32_t)(int)((float)(int)a * 0x1p-8f); });
    next("__float2int_rn ties", [](uint32_t, uint32_t, size_t i) {
        return (uint32_t)(i % 2 ? (i / 2 + 1) / 2 * 2 : i / 2); /* to even */
    });
    next("vec_half", [](uint32_t a, uint32_t, size_t) {
        a &= 0x7bff;
        return bits(ldexpf((float)(a & 1023) + (a >> 10 ? 1024.0f : 0.0f),
                           (int)(a >> 10 ? a >> 10 : 1) - 25));
    });
    /* |value| < 2048: a normal half, or nearly 0 */
    next("vec_pack_half", [](uint32_t a, uint32_t, size_t) {
        float f = (float)(int)a * 0x1p-20f, m = fabsf(f);
        int e;
        frexpf(m, &e);
        uint32_t q = (uint32_t)lrintf(ldexpf(m, 11 - e)); /* 1024 .. 2048 */
        return (f < 0 ? 0x8000u : 0) | (((uint32_t)(e + 14) << 10) + (q - 1024));
    });
    next("vec_bf16", [](uint32_t a, uint32_t, size_t) { return a << 16; });
    next("vec_pack_half2", [](uint32_t, uint32_t, size_t) { return 3u; });
    next("fmaf", [](uint32_t a, uint32_t, size_t) {
        /* exact in f64 here */
        return bits((float)((double)((float)(int)a * 0x1p-8f) * 3.0 + (double)0.1f));
    });
}

int main(void)
{
    int n_device = 0;
    if (cudaGetDeviceCount(&n_device) != cudaSuccess || n_device == 0) {
        printf("t_layout: skipped, no GPU\n");
        return 77;
    }
    struct cudaDeviceProp prop;
    must(cudaGetDeviceProperties(&prop, 0), "cudaGetDeviceProperties");
    printf("%s\n", prop.name);
    std::vector<__half> a16(256), b16(128);
    std::vector<__nv_bfloat16> abf(256), bbf(128);
    std::vector<int8_t> a8(512), b8(256);
    std::vector<uint16_t> tile(256);
    std::vector<uint32_t> words(64);
    for (uint32_t i = 0; i < 256; i++) {
        a16[i] = __float2half((float)small(i));
        abf[i] = __float2bfloat16((float)small(i));
        b8[i] = (int8_t)s8(600 + i);
        tile[i] = (uint16_t)i;
    }
    for (uint32_t i = 0; i < 128; i++) {
        b16[i] = __float2half((float)small(300 + i));
        bbf[i] = __float2bfloat16((float)small(300 + i));
    }
    for (uint32_t i = 0; i < 512; i++)
        a8[i] = (int8_t)s8(i);
    for (uint32_t i = 0; i < 64; i++)
        words[i] = word(i);
    args.a16 = upload(a16);
    args.b16 = upload(b16);
    args.abf = upload(abf);
    args.bbf = upload(bbf);
    args.a8 = upload(a8);
    args.b8 = upload(b8);
    args.tile = upload(tile);
    args.word = upload(words);
    args.out = upload(std::vector<uint32_t>(N_OUT));
    check_mma();
    check_wgmma();
    check_ldmatrix();
    check_async();
    check_barriers();
    check_power();
    check_warp();
    check_intrinsics();
    const void *all[] = {args.a16, args.b16,  args.abf,  args.bbf, args.a8,
                         args.b8,  args.tile, args.word, args.out};
    for (const void *p : all)
        must(cudaFree(const_cast<void *>(p)), "cudaFree");
    printf("t_layout: %d differences\n", differences);
    return differences != 0;
}
