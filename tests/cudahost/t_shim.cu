/*
 * t_shim: kernels with a planted bug, and correct kernels that a careless checker would blame
 * (ok_*).
 *
 * Each runs in three orders, every run in a process of its own. Its verdict is compared with the
 * table at the bottom, which has one column per build. F, R, X: the bug is found in forward,
 * reverse, random order; ?: either result is right. A bug counts as found after a finding of the
 * shim, a sanitizer's abort, a failed call, or a wrong result. `t_shim NAME ORDER` runs one kernel
 * and shows its output.
 */
#include "cu.cuh"

#include "cushim_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace CU_NS
{

/* ---- order inside a block -------------------------------------------------------------------- */

/* y[b] = sum of a row */
template <bool SYNC> __global__ void k_reduce(const float *x, float *y, int n)
{
    SHARED_ARRAY(float, part, [8]);
    float v = 0;
    for (int i = threadIdx.x; i < n; i += 256)
        v += x[blockIdx.x * n + i];
    v = warp_sum(v);
    if (threadIdx.x % 32 == 0)
        part[threadIdx.x / 32] = v;
    if (SYNC)
        __syncthreads(); /* all parts are written */
    if (threadIdx.x == 0) {
        float s = 0;
        for (int i = 0; i < 8; i++)
            s += part[i];
        y[blockIdx.x] = s;
    }
}

template <bool SYNC> __global__ void k_reverse_warp(const float *x, float *y)
{
    SHARED_ARRAY(float, buf, [32]);
    buf[threadIdx.x] = x[threadIdx.x];
    if (SYNC)
        __syncwarp();
    y[threadIdx.x] = buf[31 - threadIdx.x];
}

/* A tile is used again without the second barrier: write after read. */
template <bool SYNC> __global__ void k_tiles(const float *x, float *y, int tiles)
{
    SHARED_ARRAY(float, buf, [128]);
    float s = 0;
    for (int t = 0; t < tiles; t++) {
        buf[threadIdx.x] = x[t * 128 + threadIdx.x];
        __syncthreads();
        s += buf[127 - threadIdx.x];
        if (SYNC)
            __syncthreads();
    }
    y[threadIdx.x] = s;
}

__global__ void k_two_writers(float *y) /* threads 0 and 32 write one cell */
{
    SHARED_ARRAY(float, a, [32]);
    a[threadIdx.x % 32] = threadIdx.x < 32 ? 1.0f : 2.0f;
    __syncthreads();
    y[threadIdx.x] = a[threadIdx.x % 32];
}

/* y (64, 64) = a (64, k) b (64, k)^T in f16 with two stages of cp.async, ldmatrix and mma. */
template <bool SYNC>
__global__ void __launch_bounds__(128) k_gemm(const __half *a, const __half *b, float *y, int k)
{
    SmemCarve smem;
    /* rows of 32 elements and 8 of padding */
    __half *ta = smem.take<__half>(2 * 64 * 40), *tb = smem.take<__half>(2 * 64 * 40);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
    float d[8][4] = {};
    auto load = [&](int stage, int k0) {
        for (int i = threadIdx.x; i < 64 * 4; i += 128) {
            const int row = i / 4, col = i % 4 * 8;
            cp_async16(ta + (stage * 64 + row) * 40 + col, a + row * k + k0 + col);
            cp_async16(tb + (stage * 64 + row) * 40 + col, b + row * k + k0 + col);
        }
        cp_async_commit();
    };
    load(0, 0);
    for (int k0 = 0; k0 < k; k0 += 32) {
        const int stage = k0 / 32 % 2;
        if (k0 + 32 < k) {
            load(stage ^ 1, k0 + 32);
            cp_async_wait<1>();
        } else {
            cp_async_wait<0>();
        }
        __syncthreads(); /* every thread's part of the stage has arrived */
        for (int kk = 0; kk < 32; kk += 16) {
            uint32_t fa[4], fb[2];
            ldmatrix_x4(fa, ta + (stage * 64 + warp * 16 + lane % 16) * 40 + kk + lane / 16 * 8);
            for (int j = 0; j < 8; j++) {
                ldmatrix_x2(fb, tb + (stage * 64 + j * 8 + lane % 8) * 40 + kk + lane / 8 % 2 * 8);
                mma_m16n8k16_f16(d[j], fa, fb);
            }
        }
        if (SYNC)
            __syncthreads(); /* the stage is read before the next load overwrites it */
    }
    for (int j = 0; j < 8; j++)
        for (int i = 0; i < 4; i++)
            y[(warp * 16 + g + i / 2 * 8) * 64 + j * 8 + t * 2 + i % 2] = d[j][i];
}

/* ---- convergence ----------------------------------------------------------------------------- */

__global__ void k_divergent_barrier(float *y)
{
    if (threadIdx.x < 64) {
        y[threadIdx.x] = 1;
        __syncthreads();
    } else {
        y[threadIdx.x] = 2;
        __syncthreads();
    }
}

__global__ void k_deadlock(float *y)
{
    float v = (float)threadIdx.x;
    if (threadIdx.x < 48)
        __syncthreads();
    v += __shfl_xor_sync(0xffffffffu, v, 1);
    y[threadIdx.x] = v;
}

__global__ void k_early_return(float *y, int n)
{
    if ((int)threadIdx.x >= n)
        return;
    y[threadIdx.x] = 1;
    __syncthreads();
}

__global__ void k_shuffle_returned(const float *x, float *y, int n)
{
    if ((int)threadIdx.x >= n)
        return;
    float v = x[threadIdx.x];
    for (int o = 16; o; o >>= 1)
        v += __shfl_down_sync(0xffffffffu, v, o);
    if (threadIdx.x == 0)
        y[0] = v;
}

__global__ void k_shuffle_divergent(const float *x, float *y)
{
    float v = x[threadIdx.x];
    if (threadIdx.x < 16)
        v += __shfl_xor_sync(0xffffffffu, v, 1);
    else
        v -= __shfl_xor_sync(0xffffffffu, v, 1);
    y[threadIdx.x] = v;
}

__global__ void k_shuffle_mask(const float *x, float *y) /* lane 31 is not in its own mask */
{
    y[threadIdx.x] = __shfl_xor_sync(0x7fffffffu, x[threadIdx.x], 1);
}

__global__ void k_mma_part(float *y) /* tensor cores under a branch */
{
    float d[4] = {};
    uint32_t a[4] = {}, b[2] = {};
    if (threadIdx.x < 16)
        mma_m16n8k16_f16(d, a, b);
    y[threadIdx.x] = d[0];
}

__global__ void k_subwarps(const float *x, float *y) /* half warps under their own masks */
{
    float v = x[threadIdx.x];
    unsigned m = threadIdx.x & 16 ? 0xffff0000u : 0x0000ffffu;
    if (threadIdx.x & 16) {
        for (int o = 8; o; o >>= 1)
            v += __shfl_xor_sync(m, v, o);
    } else {
        for (int o = 8; o; o >>= 1)
            v = fmaxf(v, __shfl_xor_sync(m, v, o));
    }
    y[threadIdx.x] = v;
}

__global__ void k_votes(const float *x, float *y) /* 48 threads: the second warp is half empty */
{
    const unsigned all = threadIdx.x < 32 ? 0xffffffffu : 0x0000ffffu;
    const int big = x[threadIdx.x] > 1.0f;
    const unsigned ballot = __ballot_sync(all, big);
    const unsigned same = __match_any_sync(all, big);
    const int agree = (same == (big ? ballot : ~ballot & all)) &&
                      __any_sync(all, big) == (ballot != 0) &&
                      __all_sync(all, big) == (ballot == all);
    const int n = __syncthreads_count(big);
    y[threadIdx.x] = agree ? (float)n + (float)__popc(ballot) : -1.0f;
}

__global__ void k_return_at_once(float *y, int n) /* no barrier follows: correct */
{
    if ((int)threadIdx.x >= n)
        return;
    y[threadIdx.x] = 1;
}

template <bool OWN> __global__ void k_named(const float *x, float *y) /* pairs of warps exchange */
{
    SHARED_ARRAY(float, a, [128]);
    a[threadIdx.x] = x[threadIdx.x];
    named_barrier(1 + threadIdx.x / 64, 64);
    y[threadIdx.x] = a[threadIdx.x ^ (OWN ? 32 : 64)]; /* 64: the other pair's half */
}

__global__ void k_named_count(float *y) /* three warps arrive, two are expected */
{
    if (threadIdx.x < 96)
        named_barrier(1, 64);
    y[threadIdx.x] = 1;
}

/* ---- products of a warpgroup ----------------------------------------------------------------- */

enum product_bug {
    P_NONE,
    P_EARLY,
    P_NO_PROXY,
    P_NO_FENCE,
    P_ALONE,
    P_ASKEW,
    P_LEFT,
    P_OPERAND,
    P_OVERWRITTEN
};

__host__ __device__ constexpr int product_weight(int row)
{
    return row % 5 - 2;
}

/* y (64, 64) = a (64, 32) b (64, 32)^T. Each row of a holds one number; b is columns 32 .. 63 of
 * x (64, 128). */
template <product_bug BUG> __global__ void k_product(const int8_t *x, int *y)
{
    SmemCarve smem;
    uint8_t *b = smem.take<uint8_t>(1024 + 64 * 128 + 128, 128);
    b += wgmma_align(b);
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    for (int i = threadIdx.x; i < 64 * 8; i += 128)
        cp_async16(b + i / 8 * 128 + (i % 8 ^ i / 8 % 8) * 16, x + 16 * i);
    cp_async_commit();
    cp_async_wait<0>();
    if (BUG != P_NO_PROXY)
        fence_proxy_async();
    __syncthreads();
    int d[32];
    uint32_t a[4];
    for (int i = 0; i < 4; i++)
        a[i] = (uint32_t)(product_weight(16 * warp + lane / 4 + 8 * (i % 2)) & 255) * 0x01010101u;
    for (int i = 0; i < 32; i++)
        d[i] = 1000;
    if (BUG != P_NO_FENCE)
        wgmma_fence();
    const wgmma_tile at = wgmma_tile_move(wgmma_tile_128(b + (BUG == P_ASKEW ? 128 : 0)), 32);
    if (BUG != P_ALONE || warp != 3)
        wgmma_m64k32<64, true>(d, a, at, false);
    wgmma_commit();
    if (BUG == P_OPERAND)
        a[0] = 0;
    if (BUG == P_OVERWRITTEN) {
        __syncthreads();
        if (warp == 0)
            b[lane * 128] = 77;
    }
    const int early = d[5];
    if (BUG != P_LEFT)
        wgmma_wait<0>();
    if (BUG == P_EARLY)
        d[5] = early;
    for (int i = 0; i < 32; i++)
        y[(16 * warp + lane / 4 + i / 2 % 2 * 8) * 64 + i / 4 * 8 + lane % 4 * 2 + i % 2] = d[i];
}

/* ---- memory ---------------------------------------------------------------------------------- */

__global__ void k_oob_static(float *y)
{
    SHARED_ARRAY(float, a, [32]);
    a[threadIdx.x + (threadIdx.x == 31)] = 1;
    __syncthreads();
    y[threadIdx.x] = a[threadIdx.x & 15];
}

__global__ void k_oob_dynamic(float *y)
{
    SmemCarve smem;
    float *a = smem.take<float>(32);
    float *b = smem.take<float>(32);
    b[threadIdx.x] = 0;
    a[threadIdx.x + 1] = 1; /* on a GPU the last one lands in b */
    __syncthreads();
    y[threadIdx.x] = a[31 - threadIdx.x] + b[threadIdx.x];
}

template <bool CHECK> __global__ void k_guard(float *y, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (!CHECK || i < n)
        y[i] = 1;
}

__global__ void k_before(float *y)
{
    y[(int)threadIdx.x - 1] = 1;
}

__global__ void k_read_past(const float *x, float *y)
{
    y[threadIdx.x] = x[threadIdx.x + 1];
}

__global__ void k_uninit_shared(float *y)
{
    SHARED_ARRAY(float, a, [64]);
    if (threadIdx.x < 31)
        a[threadIdx.x] = (float)threadIdx.x;
    __syncthreads();
    y[threadIdx.x] = a[31 - threadIdx.x];
}

__global__ void k_double(const float *x, float *y)
{
    y[threadIdx.x] = 2.0f * x[threadIdx.x];
}

__global__ void k_misaligned(const uint8_t *w, unsigned *y)
{
    uint4 v = ld_stream16(w + threadIdx.x * 210); /* Q6_K blocks are 2-byte aligned */
    y[threadIdx.x] = v.x + v.w;
}

__global__ void k_misaligned_vec(float *y)
{
    vec_store4(y + threadIdx.x * 5, make_float4(1, 1, 1, 1));
}

__global__ void k_big_shared(float *y)
{
    SmemCarve smem;
    float *a = smem.take<float>(16384);
    a[threadIdx.x] = (float)threadIdx.x;
    __syncthreads();
    y[threadIdx.x] = a[threadIdx.x ^ 1];
}

__global__ void k_ldmatrix_misaligned(const __half *x, unsigned *y)
{
    SmemCarve smem;
    __half *a = smem.take<__half>(16 * 18); /* rows of 36 bytes */
    for (int i = threadIdx.x; i < 16 * 18; i += 32)
        a[i] = x[i];
    __syncwarp();
    uint32_t r[4];
    ldmatrix_x4(r, a + threadIdx.x % 16 * 18 + threadIdx.x / 16 * 8);
    y[threadIdx.x] = r[0] + r[3];
}

/* ---- cp.async -------------------------------------------------------------------------------- */

template <int LEFT, bool SYNC> __global__ void k_async(const float *x, float *y)
{
    SmemCarve smem;
    float *a = smem.take<float>(128);
    cp_async16(a + threadIdx.x * 4, x + threadIdx.x * 4);
    cp_async_commit();
    cp_async_wait<LEFT>(); /* 1 leaves the group in flight */
    if (SYNC)
        __syncthreads();
    for (int i = 0; i < 4; i++)
        y[threadIdx.x * 4 + i] = a[127 - (threadIdx.x * 4 + i)];
    if (LEFT)
        cp_async_wait<0>();
}

__global__ void k_async_return(const float *x, float *y)
{
    SmemCarve smem;
    float *a = smem.take<float>(128);
    cp_async16(a + threadIdx.x * 4, x + threadIdx.x * 4);
    cp_async_commit();
    y[threadIdx.x] = 1;
}

/* beyond n: zeros, without a read */
__global__ void k_async_zfill(const float *x, float *y, int n)
{
    SmemCarve smem;
    float *a = smem.take<float>(128);
    cp_async16_zfill(a + threadIdx.x * 4, x + threadIdx.x * 4, (int)threadIdx.x * 4 < n);
    cp_async_commit();
    cp_async_wait<0>();
    __syncthreads();
    for (int i = threadIdx.x; i < 128; i += 32)
        y[i] = a[i];
}

/* ---- between blocks -------------------------------------------------------------------------- */

template <bool ATOMIC> __global__ void k_sum_blocks(const float *x, float *y)
{
    float v = warp_sum(x[blockIdx.x * 32 + threadIdx.x]);
    if (threadIdx.x == 0) {
        if (ATOMIC)
            atomicAdd(y, v);
        else
            *y += v;
    }
}

template <bool FENCE>
__global__ void k_last_block(const float *x, float *part, unsigned *count, float *y)
{
    SHARED_ARRAY(int, last, [1]);
    float v = warp_sum(x[blockIdx.x * 32 + threadIdx.x]);
    if (threadIdx.x == 0) {
        part[blockIdx.x] = v;
        if (FENCE)
            __threadfence(); /* the part is visible before the count is */
        last[0] = atomicAdd(count, 1u) == gridDim.x - 1;
    }
    __syncthreads();
    if (last[0]) {
        if (FENCE)
            __threadfence();
        float s = 0;
        for (unsigned i = threadIdx.x; i < gridDim.x; i += 32)
            s += part[i];
        s = warp_sum(s);
        if (threadIdx.x == 0)
            y[0] = s;
    }
}

__global__ void k_shared_counter(unsigned *y)
{
    SHARED_ARRAY(unsigned, n, [1]);
    if (threadIdx.x == 0)
        n[0] = 0;
    __syncthreads();
    atomicAdd(&n[0], 1u);
    __syncthreads();
    y[threadIdx.x] = n[0];
}

template <bool SYNC> __global__ void k_grid(const float *x, float *part, float *y)
{
    float v = warp_sum(x[blockIdx.x * 32 + threadIdx.x]);
    if (threadIdx.x == 0)
        part[blockIdx.x] = v;
    if (SYNC)
        grid_sync();
    if (threadIdx.x == 0) {
        float s = 0;
        for (unsigned i = 0; i < gridDim.x; i++)
            s += part[(blockIdx.x + i) % gridDim.x];
        y[blockIdx.x] = s;
    }
}

__global__ void k_spin(int *flag, float *data, float *y) /* block 1 waits for block 0 */
{
    if (threadIdx.x != 0)
        return;
    if (blockIdx.x == 0) {
        data[0] = 42.0f;
        __threadfence();
        atomicExch(flag, 1);
    } else {
        while (atomicAdd(flag, 0) == 0)
            __nanosleep(100);
        __threadfence();
        y[0] = data[0];
    }
}

} /* namespace CU_NS */

using namespace CU_NS;

/* ---- the cases ------------------------------------------------------------------------------- */

static float value(size_t i)
{
    return (float)(i % 7) * 0.25f + 0.5f;
}

template <class T> static T *dev(size_t n, bool filled)
{
    T *p;
    cudaMalloc(&p, n * sizeof(T));
    if (filled) {
        std::vector<T> h(n);
        for (size_t i = 0; i < n; i++)
            h[i] = T(value(i));
        cudaMemcpy(p, h.data(), n * sizeof(T), cudaMemcpyHostToDevice);
    }
    return p;
}

template <class T> static T *zeros(size_t n)
{
    T *p = dev<T>(n, false);
    cudaMemset(p, 0, n * sizeof(T));
    return p;
}

static int wrong; /* number of wrong results */

template <class T, class F> static void expect(T *p, size_t n, F want)
{
    std::vector<T> h(n);
    cudaMemcpy(h.data(), p, n * sizeof(T), cudaMemcpyDeviceToHost);
    for (size_t i = 0; i < n; i++) {
        double w = (double)want(i), d = fabs((double)h[i] - w);
        if (!(d <= 1e-3 * fabs(w)) && !wrong++)
            printf("wrong result: [%zu] is %g, expected %g\n", i, (double)h[i], w);
    }
}

static void must(cudaError_t e, const char *what)
{
    if (e != cudaSuccess) {
        printf("%s: %s\n", what, cudaGetErrorString(e));
        wrong++;
    }
}
#define MUST(call) must(call, #call)

static double row_sum(size_t row, size_t n)
{
    double s = 0;
    for (size_t i = 0; i < n; i++)
        s += value(row * n + i);
    return s;
}

template <bool SYNC> static void reduce()
{
    float *x = dev<float>(2048, true), *y = dev<float>(2, false);
    LAUNCH((k_reduce<SYNC>), dim3(2), dim3(256), 0, nullptr, x, y, 1024);
    expect(y, 2, [](size_t i) { return row_sum(i, 1024); });
}

template <bool SYNC> static void reverse_warp()
{
    float *x = dev<float>(32, true), *y = dev<float>(32, false);
    LAUNCH((k_reverse_warp<SYNC>), dim3(1), dim3(32), 0, nullptr, x, y);
    expect(y, 32, [](size_t i) { return value(31 - i); });
}

template <bool SYNC> static void tiles()
{
    float *x = dev<float>(512, true), *y = dev<float>(128, false);
    LAUNCH((k_tiles<SYNC>), dim3(1), dim3(128), 0, nullptr, x, y, 4);
    expect(y, 128, [](size_t i) {
        return value(127 - i) + value(255 - i) + value(383 - i) + value(511 - i);
    });
}

static void two_writers()
{
    float *y = dev<float>(64, false);
    LAUNCH(k_two_writers, dim3(1), dim3(64), 0, nullptr, y);
}

template <bool SYNC> static void gemm()
{
    const int k = 256;
    __half *a = dev<__half>(64 * k, true), *b = dev<__half>(64 * k, true);
    float *y = dev<float>(64 * 64, false);
    LAUNCH((k_gemm<SYNC>), dim3(1), dim3(128), 4 * 64 * 40 * sizeof(__half), nullptr, a, b, y, k);
    expect(y, 64 * 64, [=](size_t i) {
        double s = 0;
        for (int j = 0; j < k; j++)
            s += (double)value(i / 64 * k + j) * value(i % 64 * k + j);
        return s;
    });
}

static void divergent_barrier()
{
    LAUNCH(k_divergent_barrier, dim3(1), dim3(128), 0, nullptr, dev<float>(128, false));
}

static void deadlock()
{
    LAUNCH(k_deadlock, dim3(1), dim3(64), 0, nullptr, dev<float>(64, false));
}

static void early_return()
{
    LAUNCH(k_early_return, dim3(1), dim3(64), 0, nullptr, dev<float>(64, false), 40);
}

static void shuffle_returned()
{
    float *x = dev<float>(32, true), *y = dev<float>(1, false);
    LAUNCH(k_shuffle_returned, dim3(1), dim3(32), 0, nullptr, x, y, 20);
}

static void shuffle_divergent()
{
    float *x = dev<float>(32, true), *y = dev<float>(32, false);
    LAUNCH(k_shuffle_divergent, dim3(1), dim3(32), 0, nullptr, x, y);
}

static void shuffle_mask()
{
    float *x = dev<float>(32, true), *y = dev<float>(32, false);
    LAUNCH(k_shuffle_mask, dim3(1), dim3(32), 0, nullptr, x, y);
}

static void mma_part()
{
    LAUNCH(k_mma_part, dim3(1), dim3(32), 0, nullptr, dev<float>(32, false));
}

template <product_bug BUG> static void product()
{
    std::vector<int8_t> h(64 * 128);
    for (size_t i = 0; i < h.size(); i++)
        h[i] = (int8_t)(i * 37 % 251 - 125);
    int8_t *x;
    MUST(cudaMalloc(&x, h.size()));
    MUST(cudaMemcpy(x, h.data(), h.size(), cudaMemcpyHostToDevice));
    int *y = dev<int>(64 * 64, false);
    LAUNCH(k_product<BUG>, dim3(1), dim3(128), 1024 + 64 * 128 + 128, nullptr, x, y);
    expect(y, 64 * 64, [&](size_t i) {
        int sum = 0;
        for (size_t k = 32; k < 64; k++)
            sum += h[i % 64 * 128 + k];
        return product_weight((int)(i / 64)) * sum;
    });
}

static void ok_subwarps()
{
    float *x = dev<float>(32, true), *y = dev<float>(32, false);
    LAUNCH(k_subwarps, dim3(1), dim3(32), 0, nullptr, x, y);
    float most = 0, sum = 0;
    for (int i = 0; i < 16; i++) {
        most = fmaxf(most, value(i));
        sum += value(16 + i);
    }
    expect(y, 32, [=](size_t i) { return i < 16 ? most : sum; });
}

static void ok_votes()
{
    float *x = dev<float>(48, true), *y = dev<float>(48, false);
    LAUNCH(k_votes, dim3(1), dim3(48), 0, nullptr, x, y);
    int n[2] = {};
    for (int i = 0; i < 48; i++)
        n[i / 32] += value(i) > 1.0f;
    expect(y, 48, [=](size_t i) { return n[0] + n[1] + n[i / 32]; });
}

static void ok_return()
{
    float *y = dev<float>(40, false);
    LAUNCH(k_return_at_once, dim3(1), dim3(64), 0, nullptr, y, 40);
    expect(y, 40, [](size_t) { return 1; });
}

template <bool OWN> static void named()
{
    float *x = dev<float>(128, true), *y = dev<float>(128, false);
    LAUNCH((k_named<OWN>), dim3(1), dim3(128), 0, nullptr, x, y);
    expect(y, 128, [](size_t i) { return value(i ^ (OWN ? 32 : 64)); });
}

static void named_count()
{
    LAUNCH(k_named_count, dim3(1), dim3(128), 0, nullptr, dev<float>(128, false));
}

static void oob_static()
{
    LAUNCH(k_oob_static, dim3(1), dim3(32), 0, nullptr, dev<float>(32, false));
}

static void oob_dynamic()
{
    LAUNCH(k_oob_dynamic, dim3(1), dim3(32), 256, nullptr, dev<float>(32, false));
}

template <bool CHECK> static void guard()
{
    float *y = dev<float>(100, false);
    LAUNCH((k_guard<CHECK>), dim3(4), dim3(32), 0, nullptr, y, 100);
    expect(y, 100, [](size_t) { return 1; });
}

static void oob_before()
{
    LAUNCH(k_before, dim3(1), dim3(32), 0, nullptr, dev<float>(32, false));
}

static void oob_read()
{
    float *x = dev<float>(32, true), *y = dev<float>(32, false);
    LAUNCH(k_read_past, dim3(1), dim3(32), 0, nullptr, x, y);
    expect(y, 31, [](size_t i) { return value(i + 1); });
}

static void freed()
{
    float *x = dev<float>(32, true), *y = dev<float>(32, false);
    cudaFree(x);
    LAUNCH(k_double, dim3(1), dim3(32), 0, nullptr, x, y);
}

static void uninit_shared()
{
    float *y = dev<float>(32, false);
    LAUNCH(k_uninit_shared, dim3(1), dim3(32), 0, nullptr, y);
    expect(y, 32, [](size_t i) { return 31 - i; });
}

static void uninit_global()
{
    float *x = dev<float>(32, false), *y = dev<float>(32, false);
    LAUNCH(k_double, dim3(1), dim3(32), 0, nullptr, x, y);
}

static void misaligned()
{
    uint8_t *w = dev<uint8_t>(32 * 210 + 16, true);
    LAUNCH(k_misaligned, dim3(1), dim3(32), 0, nullptr, w, dev<unsigned>(32, false));
}

static void misaligned_vec()
{
    LAUNCH(k_misaligned_vec, dim3(1), dim3(32), 0, nullptr, dev<float>(32 * 5, false));
}

static void host_pointer()
{
    static float h[128];
    LAUNCH((k_guard<true>), dim3(1), dim3(128), 0, nullptr, h, 128);
}

static void shared_no_attribute()
{
    LAUNCH(k_big_shared, dim3(1), dim3(128), 65536, nullptr, dev<float>(128, false));
}

static void shared_too_small()
{
    LAUNCH(k_big_shared, dim3(1), dim3(128), 32768, nullptr, dev<float>(128, false));
}

static void shared_too_big() /* fine on sm_80 and sm_90 */
{
    cushim_arch(86);
    MUST(cudaFuncSetAttribute(k_big_shared, cudaFuncAttributeMaxDynamicSharedMemorySize,
                              120 * 1024));
}

static void ok_shared_attribute()
{
    float *y = dev<float>(128, false);
    struct err e = {};
    if (cu_smem_limit(k_big_shared, 65536, &e) < 0)
        wrong++;
    LAUNCH(k_big_shared, dim3(1), dim3(128), 65536, nullptr, y);
    expect(y, 128, [](size_t i) { return i ^ 1; });
}

static void ldmatrix_misaligned()
{
    __half *x = dev<__half>(16 * 18, true);
    LAUNCH(k_ldmatrix_misaligned, dim3(1), dim3(32), 16 * 36, nullptr, x, dev<unsigned>(32, false));
}

template <int LEFT, bool SYNC> static void async()
{
    float *x = dev<float>(128, true), *y = dev<float>(128, false);
    LAUNCH((k_async<LEFT, SYNC>), dim3(1), dim3(32), 512, nullptr, x, y);
    expect(y, 128, [](size_t i) { return value(127 - i); });
}

static void async_return()
{
    float *x = dev<float>(128, true);
    LAUNCH(k_async_return, dim3(1), dim3(32), 512, nullptr, x, dev<float>(128, false));
}

static void ok_async_zfill()
{
    float *x = dev<float>(40, true), *y = dev<float>(128, false);
    LAUNCH(k_async_zfill, dim3(1), dim3(32), 512, nullptr, x, y, 40);
    expect(y, 128, [](size_t i) { return i < 40 ? value(i) : 0; });
}

template <bool ATOMIC> static void sum_blocks()
{
    float *x = dev<float>(128, true), *y = zeros<float>(1);
    LAUNCH((k_sum_blocks<ATOMIC>), dim3(4), dim3(32), 0, nullptr, x, y);
    expect(y, 1, [](size_t) { return row_sum(0, 128); });
}

template <bool FENCE> static void last_block()
{
    float *x = dev<float>(2048, true), *part = dev<float>(64, false), *y = dev<float>(1, false);
    LAUNCH((k_last_block<FENCE>), dim3(64), dim3(32), 0, nullptr, x, part, zeros<unsigned>(1), y);
    expect(y, 1, [](size_t) { return row_sum(0, 2048); });
}

static void two_blocks_one_y()
{
    unsigned *y = dev<unsigned>(128, false);
    LAUNCH(k_shared_counter, dim3(2), dim3(128), 0, nullptr, y);
}

static void ok_shared_atomic()
{
    unsigned *y = dev<unsigned>(128, false);
    LAUNCH(k_shared_counter, dim3(1), dim3(128), 0, nullptr, y);
    expect(y, 128, [](size_t) { return 128; });
}

template <bool SYNC> static void grid()
{
    float *x = dev<float>(512, true), *part = dev<float>(16, false), *y = dev<float>(16, false);
    LAUNCH_COOP((k_grid<SYNC>), dim3(16), dim3(32), 0, nullptr, x, part, y);
    expect(y, 16, [](size_t) { return row_sum(0, 512); });
}

template <bool TOGETHER> static void spin()
{
    float *y = dev<float>(1, false);
    if (TOGETHER)
        LAUNCH_COOP(k_spin, dim3(2), dim3(32), 0, nullptr, zeros<int>(1), dev<float>(1, false), y);
    else
        LAUNCH(k_spin, dim3(2), dim3(32), 0, nullptr, zeros<int>(1), dev<float>(1, false), y);
    expect(y, 1, [](size_t) { return 42; });
}

/* Streams run lazily, so unordered work happens late. */

struct two_streams {
    cudaStream_t a, b;
    cudaEvent_t done;
    float *x = dev<float>(32, true), *y = zeros<float>(32), *z = zeros<float>(32), *pinned;
    two_streams()
    {
        MUST(cudaStreamCreateWithFlags(&a, cudaStreamNonBlocking));
        MUST(cudaStreamCreateWithFlags(&b, cudaStreamNonBlocking));
        MUST(cudaEventCreateWithFlags(&done, cudaEventDisableTiming));
        MUST(cudaMallocHost(&pinned, 32 * sizeof(float)));
        cushim_lazy(1);
    }
};

template <bool WAIT> static void streams() /* stream b reads data that stream a wrote */
{
    two_streams s;
    LAUNCH(k_double, dim3(1), dim3(32), 0, s.a, s.x, s.y);
    MUST(cudaEventRecord(s.done, s.a));
    if (WAIT)
        MUST(cudaStreamWaitEvent(s.b, s.done, 0));
    LAUNCH(k_double, dim3(1), dim3(32), 0, s.b, s.y, s.z);
    MUST(cudaStreamSynchronize(s.b));
    MUST(cudaStreamSynchronize(s.a));
    expect(s.z, 32, [](size_t i) { return 4 * value(i); });
}

template <bool WAIT> static void results() /* the host reads the result of a copy */
{
    two_streams s;
    LAUNCH(k_double, dim3(1), dim3(32), 0, s.a, s.x, s.y);
    MUST(cudaMemcpyAsync(s.pinned, s.y, 32 * sizeof(float), cudaMemcpyDeviceToHost, s.a));
    if (WAIT)
        MUST(cudaStreamSynchronize(s.a));
    for (int i = 0; i < 32; i++)
        wrong += !(s.pinned[i] == 2 * value(i));
    MUST(cudaStreamSynchronize(s.a));
}

template <bool WAIT> static void source_reused() /* the host overwrites the source of a copy */
{
    two_streams s;
    for (int i = 0; i < 32; i++)
        s.pinned[i] = value(i);
    MUST(cudaMemcpyAsync(s.y, s.pinned, 32 * sizeof(float), cudaMemcpyHostToDevice, s.a));
    if (WAIT)
        MUST(cudaStreamSynchronize(s.a));
    s.pinned[0] = -1;
    MUST(cudaStreamSynchronize(s.a));
    expect(s.y, 32, value);
}

template <bool JOIN> static void graph() /* a forks to b inside a capture; replayed on new data */
{
    two_streams s;
    cudaGraph_t g;
    cudaGraphExec_t x;
    MUST(cudaStreamBeginCapture(s.a, cudaStreamCaptureModeThreadLocal));
    LAUNCH(k_double, dim3(1), dim3(32), 0, s.a, s.x, s.y);
    MUST(cudaEventRecord(s.done, s.a));
    MUST(cudaStreamWaitEvent(s.b, s.done, 0));
    LAUNCH(k_double, dim3(1), dim3(32), 0, s.b, s.y, s.z);
    MUST(cudaEventRecord(s.done, s.b));
    if (JOIN)
        MUST(cudaStreamWaitEvent(s.a, s.done, 0));
    MUST(cudaStreamEndCapture(s.a, &g));
    if (!JOIN)
        return;
    MUST(cudaGraphInstantiate(&x, g, 0));
    for (int round = 1; round <= 2; round++) {
        MUST(cudaGraphLaunch(x, s.a));
        MUST(cudaStreamSynchronize(s.a));
        expect(s.z, 32, [=](size_t i) { return 4 * round * value(i); });
        std::vector<float> h(32);
        for (int i = 0; i < 32; i++)
            h[i] = 2 * value(i);
        MUST(cudaMemcpyAsync(s.x, h.data(), 32 * sizeof(float), cudaMemcpyHostToDevice, s.a));
    }
    MUST(cudaGraphExecDestroy(x));
    MUST(cudaGraphDestroy(g));
}

static void capture_allocates()
{
    two_streams s;
    cudaGraph_t g;
    void *p;
    MUST(cudaStreamBeginCapture(s.a, cudaStreamCaptureModeGlobal));
    MUST(cudaMalloc(&p, 16));
    MUST(cudaStreamEndCapture(s.a, &g));
}

static void capture_waits()
{
    two_streams s;
    cudaGraph_t g;
    MUST(cudaStreamBeginCapture(s.a, cudaStreamCaptureModeThreadLocal));
    MUST(cudaStreamSynchronize(s.a));
    MUST(cudaStreamEndCapture(s.a, &g));
}

static void wrong_direction()
{
    two_streams s;
    MUST(cudaMemcpyAsync(s.pinned, s.x, 128, cudaMemcpyHostToDevice, s.a));
}

static void copy_too_long()
{
    two_streams s;
    MUST(cudaMemcpyAsync(s.y, s.x, 132, cudaMemcpyDeviceToDevice, s.a));
}

static const struct bug {
    const char *name;
    void (*run)();
    const char *plain, *asan, *race; /* orders that find it */
} bugs[] = {
    {"reduce", reduce<false>, "F-?", "F-?", "FRX"},
    {"reverse_warp", reverse_warp<false>, "FRX", "FRX", "FRX"},
    {"tiles", tiles<false>, "FRX", "FRX", "FRX"},
    {"two_writers", two_writers, "---", "---", "FRX"},
    {"gemm", gemm<false>, "FRX", "FRX", "FRX"},
    {"divergent_barrier", divergent_barrier, "FRX", "FRX", "FRX"},
    {"deadlock", deadlock, "FRX", "FRX", "FRX"},
    {"early_return", early_return, "FRX", "FRX", "FRX"},
    {"shuffle_returned", shuffle_returned, "FRX", "FRX", "FRX"},
    {"shuffle_divergent", shuffle_divergent, "FRX", "FRX", "FRX"},
    {"shuffle_mask", shuffle_mask, "FRX", "FRX", "FRX"},
    {"mma_part", mma_part, "FRX", "FRX", "FRX"},
    {"product_early", product<P_EARLY>, "FRX", "FRX", "FRX"},
    {"product_no_proxy", product<P_NO_PROXY>, "FRX", "FRX", "FRX"},
    {"product_no_fence", product<P_NO_FENCE>, "FRX", "FRX", "FRX"},
    {"product_alone", product<P_ALONE>, "FRX", "FRX", "FRX"},
    {"product_askew", product<P_ASKEW>, "FRX", "FRX", "FRX"},
    {"product_left", product<P_LEFT>, "FRX", "FRX", "FRX"},
    {"product_operand", product<P_OPERAND>, "FRX", "FRX", "FRX"},
    {"product_overwritten", product<P_OVERWRITTEN>, "FR?", "FR?", "FRX"},
    {"named_wrong", named<false>, "FR?", "FR?", "FRX"},
    {"named_count", named_count, "FRX", "FRX", "FRX"},
    {"oob_static", oob_static, "FRX", "FRX", "FRX"},
    {"oob_dynamic", oob_dynamic, "FRX", "FRX", "FRX"},
    {"oob_global", guard<false>, "FRX", "FRX", "FRX"},
    {"oob_before", oob_before, "FRX", "FRX", "FRX"},
    {"oob_read", oob_read, "---", "FRX", "FRX"},
    {"freed", freed, "---", "FRX", "FRX"},
    {"uninit_shared", uninit_shared, "FRX", "FRX", "FRX"},
    {"uninit_global", uninit_global, "---", "---", "FRX"},
    {"misaligned", misaligned, "FRX", "FRX", "FRX"},
    {"misaligned_vec", misaligned_vec, "???", "FRX", "FRX"},
    {"host_pointer", host_pointer, "---", "---", "FRX"},
    {"shared_no_attribute", shared_no_attribute, "FRX", "FRX", "FRX"},
    {"shared_too_small", shared_too_small, "FRX", "FRX", "FRX"},
    {"shared_too_big", shared_too_big, "FRX", "FRX", "FRX"},
    {"ldmatrix_misaligned", ldmatrix_misaligned, "FRX", "FRX", "FRX"},
    {"async_wait", async<1, true>, "FRX", "FRX", "FRX"},
    {"async_no_barrier", async<0, false>, "FRX", "FRX", "FRX"},
    {"async_return", async_return, "FRX", "FRX", "FRX"},
    {"sum_blocks", sum_blocks<false>, "---", "---", "FRX"},
    {"last_block", last_block<false>, "---", "---", "FRX"},
    {"grid_no_sync", grid<false>, "FRX", "FRX", "FRX"},
    {"spin_alone", spin<false>, "-R?", "-R?", "-R?"},
    {"two_blocks_one_y", two_blocks_one_y, "---", "---", "FRX"},
    {"streams", streams<false>, "FRX", "FRX", "FRX"},
    {"results", results<false>, "FRX", "FRX", "FRX"},
    {"source_reused", source_reused<false>, "FRX", "FRX", "FRX"},
    {"graph_not_joined", graph<false>, "FRX", "FRX", "FRX"},
    {"capture_allocates", capture_allocates, "FRX", "FRX", "FRX"},
    {"capture_waits", capture_waits, "FRX", "FRX", "FRX"},
    {"wrong_direction", wrong_direction, "FRX", "FRX", "FRX"},
    {"copy_too_long", copy_too_long, "FRX", "FRX", "FRX"},
    {"ok_reduce", reduce<true>, "---", "---", "---"},
    {"ok_reverse_warp", reverse_warp<true>, "---", "---", "---"},
    {"ok_tiles", tiles<true>, "---", "---", "---"},
    {"ok_gemm", gemm<true>, "---", "---", "---"},
    {"ok_product", product<P_NONE>, "---", "---", "---"},
    {"ok_subwarps", ok_subwarps, "---", "---", "---"},
    {"ok_votes", ok_votes, "---", "---", "---"},
    {"ok_return", ok_return, "---", "---", "---"},
    {"ok_named", named<true>, "---", "---", "---"},
    {"ok_guard", guard<true>, "---", "---", "---"},
    {"ok_shared_attribute", ok_shared_attribute, "---", "---", "---"},
    {"ok_async", async<0, true>, "---", "---", "---"},
    {"ok_async_zfill", ok_async_zfill, "---", "---", "---"},
    {"ok_atomic", sum_blocks<true>, "---", "---", "---"},
    {"ok_last_block", last_block<true>, "---", "---", "---"},
    {"ok_shared_atomic", ok_shared_atomic, "---", "---", "---"},
    {"ok_grid", grid<true>, "---", "---", "---"},
    {"ok_spin", spin<true>, "---", "---", "---"},
    {"ok_streams", streams<true>, "---", "---", "---"},
    {"ok_results", results<true>, "---", "---", "---"},
    {"ok_source_reused", source_reused<true>, "---", "---", "---"},
    {"ok_graph", graph<true>, "---", "---", "---"},
};

/* Returns 1 after a finding, a failed call or a wrong result. */
static int run_one(const struct bug *b, int order)
{
    cushim_order((enum cushim_order)order, 1);
    b->run();
    cudaError_t e = cudaDeviceSynchronize();
    if (e == cudaSuccess)
        e = cudaGetLastError();
    if (e != cudaSuccess)
        printf("%s\n", cudaGetErrorString(e));
    fflush(stdout);
    return wrong || e != cudaSuccess || cushim_findings()[0];
}

/* run_one in a process of its own; its output is dropped. */
static bool finds(const struct bug *b, int order)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        if (!freopen("/dev/null", "w", stdout) || !freopen("/dev/null", "w", stderr))
            _exit(0);
        alarm(60);
        _exit(run_one(b, order));
    }
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) != pid) {
        perror("t_shim: fork");
        exit(1);
    }
    return status != 0;
}

int main(int argc, char **argv)
{
    const char *flavour = cushim_flavour();
    int n_bad = 0, n_bug = 0, n_ok = 0;
    if (argc == 3) {
        for (const struct bug &b : bugs)
            if (!strcmp(b.name, argv[1])) {
                int r = run_one(&b, atoi(argv[2]));
                puts(r ? "found" : "silent");
                return r;
            }
        fprintf(stderr, "usage: t_shim [CASE 0|1|2]\n");
        return 64;
    }
    for (const struct bug &b : bugs) {
        const char *want = !strcmp(flavour, "race")   ? b.race
                           : !strcmp(flavour, "asan") ? b.asan
                                                      : b.plain;
        char got[4] = "---";
        bool same = true;
        for (int o = 0; o < 3; o++) {
            if (finds(&b, o))
                got[o] = "FRX"[o];
            same = same && (want[o] == '?' || want[o] == got[o]);
        }
        printf("%-20s %s%s%s\n", b.name, got, same ? "" : "  expected ", same ? "" : want);
        n_bad += !same;
        if (!strncmp(b.name, "ok_", 3))
            n_ok++;
        else
            n_bug++;
    }
    printf("%s: %d planted bugs, %d right kernels, %d differ from the table\n", flavour, n_bug,
           n_ok, n_bad);
    return n_bad != 0;
}
