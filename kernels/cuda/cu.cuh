/*
 * cu: the one header that every kernel file includes besides those of its own room. Under nvcc it
 * is CUDA. Under g++ or clang++ it is the host shim (tests/cudahost), which runs the same text with
 * one fiber per CUDA thread. Both builds can be linked into one program:
 *
 *   namespace CU_NS { ... }   everything in kernels/cuda: cuda_dev under nvcc, cuda_host otherwise
 *   CU_C(name)                name_cuda or name_cudahost: the few entry points, which have C
 *                             linkage
 *
 * In kernels: LAUNCH, never the chevrons; SHARED_ARRAY and SmemCarve, never a bare __shared__;
 * explicit lane masks; asm only in ptx.cuh. Launches are checked with CU_LAUNCHED, runtime calls
 * with CU_TRY.
 */
#ifndef MAS_CU_CUH
#define MAS_CU_CUH

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__CUDACC__)
#include <cooperative_groups.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#define CU_NS cuda_dev
#define CU_C(name) name##_cuda
#else
#include <cushim.h>

#define CU_NS cuda_host
#define CU_C(name) name##_cudahost
#endif

extern "C" {
#include "check.h"
#include "err.h"
#include "mem.h"
#include "ops.h"
}

namespace CU_NS
{

/* ---- launching ---------------------------------------------------------------------------------
 *
 * LAUNCH((kernel<A, B>), grid, block, dynamic_shared_bytes, stream, args...) converts the arguments
 * to the kernel's parameters and queues it; LAUNCH_COOP makes all blocks resident together, for
 * grid_sync().
 */
#if defined(__CUDACC__)
template <class... P, class... A>
inline void cu_launch(bool cooperative, void (*kernel)(P...), dim3 grid, dim3 block, size_t smem,
                      cudaStream_t stream, A &&...args)
{
    cudaLaunchAttribute attr = {};
    attr.id = cudaLaunchAttributeCooperative;
    attr.val.cooperative = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = smem;
    config.stream = stream;
    config.attrs = &attr;
    config.numAttrs = cooperative ? 1 : 0;
    (void)cudaLaunchKernelEx(&config, kernel, static_cast<P>(args)...); /* seen by CU_LAUNCHED */
}
#define LAUNCH(kernel, grid, block, smem, stream, ...)                                             \
    CU_NS::cu_launch(false, kernel, grid, block, smem, stream, ##__VA_ARGS__)
#define LAUNCH_COOP(kernel, grid, block, smem, stream, ...)                                        \
    CU_NS::cu_launch(true, kernel, grid, block, smem, stream, ##__VA_ARGS__)
#else
#define LAUNCH CUSHIM_LAUNCH
#define LAUNCH_COOP CUSHIM_LAUNCH_COOP
#endif

/* ---- shared memory -----------------------------------------------------------------------------
 *
 * SHARED_ARRAY(T, name, [A][B]) is a static array. SmemCarve cuts up the dynamic shared memory:
 * each take<T>(n) gives the next piece; all threads take the same pieces in the same order.
 */
#if defined(__CUDACC__)
#define SHARED_ARRAY(T, name, dims) __shared__ T name dims

extern __shared__ __align__(128) unsigned char cu_dynamic_smem[];

struct SmemCarve {
    unsigned used = 0;
    template <class T> __device__ __forceinline__ T *take(unsigned n, unsigned align = 16)
    {
        used = (used + align - 1) / align * align;
        T *p = reinterpret_cast<T *>(cu_dynamic_smem + used);
        used += n * (unsigned)sizeof(T);
        return p;
    }
};
#else
#define SHARED_ARRAY CUSHIM_SHARED_ARRAY
using cushim::SmemCarve;
#endif

/* ---- errors ---------------------------------------------------------------------------------- */

inline int cu_err_code(cudaError_t rc)
{
    switch (rc) {
    case cudaErrorMemoryAllocation:
        return ERR_NOMEM;
    case cudaErrorNoDevice:
    case cudaErrorInsufficientDriver:
    case cudaErrorInvalidDevice:
    case cudaErrorDevicesUnavailable:
        return ERR_NODEV;
    case cudaErrorInvalidValue:
    case cudaErrorInvalidConfiguration:
    case cudaErrorInvalidDeviceFunction:
    case cudaErrorInvalidResourceHandle:
        return ERR_BUG;
    default:
        return ERR_IO;
    }
}

/* Bytes of shared memory that a block can have on every card from sm_80 on; sm_86, 89 and 120 have
 * the least. */
static constexpr size_t CU_SMEM_LEAST = 99 * 1024;
static constexpr size_t CU_SMEM_HOPPER = 227 * 1024;

/* Lets the kernel use this many bytes of dynamic shared memory; call before a launch with more than
 * 48 KiB. Cheap enough for each launch, allowed under stream capture. */
template <class... P> inline int cu_smem_limit(void (*kernel)(P...), size_t bytes, struct err *e)
{
    if (bytes <= 48 * 1024)
        return 0;
    cudaError_t rc =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes);
    if (rc != cudaSuccess) {
        (void)cudaGetLastError(); /* reported here, not by the next launch */
        FAIL(e, cu_err_code(rc), "cuda: a kernel wants %zu bytes of shared memory: %s", bytes,
             cudaGetErrorString(rc));
    }
    return 0;
}

/* Passes up the failure of the launch just made. (An earlier asynchronous failure shows here
 * too.) */
#define CU_LAUNCHED(e, name)                                                                       \
    do {                                                                                           \
        cudaError_t cu_rc_ = cudaGetLastError();                                                   \
        if (cu_rc_ != cudaSuccess)                                                                 \
            FAIL((e), CU_NS::cu_err_code(cu_rc_), "cuda: launch of %s failed: %s", (name),         \
                 cudaGetErrorString(cu_rc_));                                                      \
    } while (0)

/* Passes up the failure of a runtime call. */
#define CU_TRY(e, call)                                                                            \
    do {                                                                                           \
        cudaError_t cu_rc_ = (call);                                                               \
        if (cu_rc_ != cudaSuccess) {                                                               \
            (void)cudaGetLastError();                                                              \
            FAIL((e), CU_NS::cu_err_code(cu_rc_), "cuda: %s failed: %s", #call,                    \
                 cudaGetErrorString(cu_rc_));                                                      \
        }                                                                                          \
    } while (0)

} /* namespace CU_NS */

#include "ptx.cuh"
#include "vec.cuh"
#include "warp.cuh"

#endif
