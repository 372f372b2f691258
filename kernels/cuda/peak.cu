/*
 * peak: the multiplying instructions of the kernels, at their highest rate, for `mas bench
 * ceiling`.
 *
 * Nothing is loaded. Every thread has PEAK_SUMS independent sums and adds to each in turn, so that
 * neither latency nor memory limits the rate. Operations: 2 for each product of a warp's
 * instruction.
 */
#include "device_cuda.cuh"

namespace CU_NS
{

static constexpr int PEAK_SUMS = 8, PEAK_THREADS = 256;

static_assert(PEAK_F32 == 0 && PEAK_INT8 == 1 && PEAK_TENSOR_F16 == 2 && PEAK_TENSOR_INT8 == 3,
              "k_peak<WHAT>");

template <int WHAT> __global__ void __launch_bounds__(PEAK_THREADS) k_peak(int turns, float *sink)
{
    const int lane = (int)threadIdx.x;
    const uint32_t a[4] = {(uint32_t)lane, 1, 2, 3}, b[2] = {4, (uint32_t)turns};
    float x[PEAK_SUMS][4];
    int n[PEAK_SUMS][4];
#pragma unroll
    for (int k = 0; k < PEAK_SUMS; k++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            x[k][i] = (float)(k + i);
            n[k][i] = k + i;
        }
#pragma unroll 1
    for (int t = 0; t < turns; t++)
#pragma unroll
        for (int k = 0; k < PEAK_SUMS; k++) {
            if constexpr (WHAT == PEAK_TENSOR_F16)
                mma_m16n8k16_f16(x[k], a, b);
            else if constexpr (WHAT == PEAK_TENSOR_INT8)
                mma_m16n8k32_s8(n[k], a, b);
            else if constexpr (WHAT == PEAK_INT8)
                n[k][0] = __dp4a((int)a[0], n[k][0], n[k][0]);
            else
                x[k][0] = fmaf(x[k][0], 0.999f, 1.0f);
        }
    float all = 0;
#pragma unroll
    for (int k = 0; k < PEAK_SUMS; k++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            all += x[k][i] + (float)n[k][i];
    if (all == 1.25f || blockIdx.x + threadIdx.x == 0) /* one thread, but all must know their sum */
        *sink = all;
}

static void peak_launch(enum ops_peak what, unsigned blocks, int turns, float *sink, cudaStream_t s)
{
    if (what == PEAK_F32)
        LAUNCH(k_peak<0>, dim3(blocks), dim3(PEAK_THREADS), 0, s, turns, sink);
    else if (what == PEAK_INT8)
        LAUNCH(k_peak<1>, dim3(blocks), dim3(PEAK_THREADS), 0, s, turns, sink);
    else if (what == PEAK_TENSOR_F16)
        LAUNCH(k_peak<2>, dim3(blocks), dim3(PEAK_THREADS), 0, s, turns, sink);
    else
        LAUNCH(k_peak<3>, dim3(blocks), dim3(PEAK_THREADS), 0, s, turns, sink);
}

struct peak_run {
    cudaStream_t stream;
    cudaEvent_t from, to;
    float *sink;
    unsigned blocks;
    int turns;
};

static int peak_open(struct peak_run *r, struct err *e)
{
    CU_TRY(e, cudaMalloc(&r->sink, sizeof *r->sink));
    CU_TRY(e, cudaEventCreate(&r->from));
    CU_TRY(e, cudaEventCreate(&r->to));
    return 0;
}

static void peak_close(struct peak_run *r)
{
    if (r->to)
        (void)cudaEventDestroy(r->to);
    if (r->from)
        (void)cudaEventDestroy(r->from);
    (void)cudaFree(r->sink);
}

/* Seconds of a launch, by the device's own clock. */
static int peak_time(const struct peak_run *r, enum ops_peak what, double *seconds, struct err *e)
{
    float ms;
    CU_TRY(e, cudaEventRecord(r->from, r->stream));
    peak_launch(what, r->blocks, r->turns, r->sink, r->stream);
    CU_LAUNCHED(e, "peak");
    CU_TRY(e, cudaEventRecord(r->to, r->stream));
    CU_TRY(e, cudaEventSynchronize(r->to));
    CU_TRY(e, cudaEventElapsedTime(&ms, r->from, r->to));
    *seconds = (double)ms * 1e-3;
    return 0;
}

/* Builds name their architectures, so that the message can; host execution runs any. */
#ifndef MAS_CUDA_CODE
#define MAS_CUDA_CODE "any"
#endif

int cuda_code_check(const struct cuda_ctx *cx, struct err *e)
{
    struct cudaFuncAttributes a;
    const cudaError_t rc = cudaFuncGetAttributes(&a, k_peak<0>);
    if (rc == cudaSuccess)
        return 0;
    (void)cudaGetLastError();
    FAIL(
        e, ERR_NODEV,
        "the GPU is sm_%d and this program has kernels for %s; build with -DMAS_CUDA_ARCHS=%d (%s)",
        cx->cc, MAS_CUDA_CODE, cx->cc, cudaGetErrorString(rc));
}

int cuda_peak(const struct cuda_ctx *cx, cudaStream_t stream, enum ops_peak what, int turns,
              double *out, struct err *e)
{
    static const double products[PEAK_COUNT] = {32, 128, 16 * 8 * 16, 16 * 8 * 32}; /* of a warp */
    struct peak_run r = {};
    double best = 0, s = 0;
    r.stream = stream;
    r.blocks = (unsigned)cx->sm_count * 8;
    r.turns = turns;
    int rc = peak_open(&r, e);
    for (int i = -1; i < 5 && rc == 0; i++) { /* the first one warms up; the fastest counts */
        rc = peak_time(&r, what, &s, e);
        if (rc == 0 && i >= 0 && (best == 0 || s < best))
            best = s;
    }
    peak_close(&r);
    *out = best > 0 ? 2 * products[what] * PEAK_SUMS * turns * r.blocks * (PEAK_THREADS / 32) / best
                    : 0;
    return rc;
}

} // namespace CU_NS
