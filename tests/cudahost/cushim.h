/*
 * cushim: CUDA C++ for a host compiler. A kernel file compiled by g++ or clang++ includes this
 * header in place of the headers of nvcc.
 *
 * It has the qualifiers, threadIdx and the like, launches, shared memory, barriers, warp
 * collectives, atomics, and twins of the PTX wrappers.
 *   - Each CUDA thread is a fiber. The scheduler switches fibers only when a kernel synchronises.
 *   - Blocks run one after another on the calling OS thread; those of a cooperative launch run
 *     together.
 *   - README.md says which errors are found and which are not.
 *
 * Only kernels/cuda/cu.cuh includes this header. Tests control the shim through cushim_test.h.
 */
#ifndef CUSHIM_H
#define CUSHIM_H

#ifdef __CUDACC__
#error "cushim.h is for host compilers; nvcc has the real thing"
#endif

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <driver_types.h>
#include <vector_functions.h>
#include <vector_types.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <tuple>
#include <type_traits>
#include <utility>

#include "cushim_cudart.h"

#undef __global__
#undef __device__
#undef __host__
#undef __constant__
#undef __shared__
#undef __launch_bounds__
#undef __forceinline__
#undef __noinline__
#undef __grid_constant__
#define __global__
#define __device__
#define __host__
#define __constant__
#define __shared__ CUSHIM_use_SHARED_ARRAY_or_SmemCarve_instead_of___shared__
#define __launch_bounds__(...)
#define __forceinline__ inline __attribute__((always_inline))
/* __noinline__ stays undefined: libstdc++ writes __attribute__((__noinline__)). */
#define __grid_constant__

/* Kernels of one flavour must run on the machine of the same flavour, which checks them. Another
 * combination does not link. */
#if defined(CUSHIM_RACE)
#define cushim cushim_race
#elif defined(__SANITIZE_ADDRESS__)
#define cushim cushim_asan
#endif

namespace cushim
{

/* A place in the source; the default argument of every function that synchronises. */
struct site {
    const char *file;
    int line;
};
#define CUSHIM_SITE const char *file_ = __builtin_FILE(), int line_ = __builtin_LINE()
#define CUSHIM_AT (::cushim::site{file_, line_})

/* The built-in variables of the running thread. */
struct thread_id {
    uint3 tid;
    unsigned lane; /* 0..31 */
    unsigned lin;  /* linear index in the block */
    const uint3 *bid;
};
extern struct thread_id *cur;
extern dim3 launch_block, launch_grid;

/* ---- launches -------------------------------------------------------------------------------- */

/* A launch with a copy of its arguments, so that stream queues and graphs can run it later. */
struct kernel_call {
    const void *func; /* address of the kernel */
    const char *name; /* as written in LAUNCH */
    const char *full; /* "... K = space::kernel<FMT_Q4_K, 4>]": names the instance */
    dim3 grid, block;
    size_t smem; /* dynamic bytes */
    bool cooperative;
    void *args; /* the kernel's parameters, args_bytes bytes */
    size_t args_bytes;
    void (*run)(void *args);                  /* calls the kernel as the current thread */
    void (*copy)(void *dst, const void *src); /* parameters are trivially copyable: no destructor */
};

/* Queues the call on the stream. An impossible launch sets the runtime's last error. */
void launch(const struct kernel_call *call, cudaStream_t stream);

template <class... P> struct call_args {
    void (*kernel)(P...);
    std::tuple<P...> p;
};

template <auto K> const char *kernel_name(void)
{
    return __PRETTY_FUNCTION__;
}

template <class... P, class... A>
void launch_kernel(const char *name, const char *full, bool cooperative, void (*kernel)(P...),
                   dim3 grid, dim3 block, size_t smem, cudaStream_t stream, A &&...a)
{
    static_assert((std::is_trivially_copyable<P>::value && ...),
                  "kernel parameters are plain data");
    static_assert((sizeof(P) + ... + 0) <= 4096, "kernel parameters take at most 4 KiB");
    using Args = call_args<std::remove_const_t<P>...>;
    Args args{kernel, std::tuple<std::remove_const_t<P>...>(static_cast<P>(a)...)};
    struct kernel_call call = {};
    call.func = reinterpret_cast<const void *>(kernel);
    call.name = name;
    call.full = full;
    call.grid = grid;
    call.block = block;
    call.smem = smem;
    call.cooperative = cooperative;
    call.args = &args;
    call.args_bytes = sizeof args;
    call.run = [](void *v) {
        Args *c = static_cast<Args *>(v);
        std::apply(c->kernel, c->p);
    };
    call.copy = [](void *dst, const void *src) { new (dst) Args(*static_cast<const Args *>(src)); };
    launch(&call, stream);
}

/* ---- shared memory --------------------------------------------------------------------------- */

/* The block's array with this key, made by the first call. It has redzones and starts as NaN. */
void *shared_static(const void *key, size_t bytes, size_t align, const char *name);
/* Piece k of the dynamic shared memory, in the order of the calls. Its size is the same in every
 * thread. */
void *shared_piece(unsigned k, size_t bytes, size_t align);

struct SmemCarve {
    unsigned n_piece = 0;
    template <class T> T *take(unsigned n, unsigned align = 16)
    {
        return static_cast<T *>(shared_piece(n_piece++, n * sizeof(T), align));
    }
};

/* ---- synchronisation ------------------------------------------------------------------------- */

/* Waits until n_thread threads of the block are at barrier id; 0 = all that have not returned.
 * Returns the number of threads with pred != 0. */
int block_barrier(int id, int n_thread, int pred, struct site at);
void grid_barrier(struct site at);
void spin_yield(void);
void fence(void);

enum collective { SYNCWARP, SHUFFLE, VOTE, MATCH, REDUCE, LDMATRIX, MMA, WGMMA_WAIT };
/* The calling lane gives v (and src). It waits until every live lane of mask has called from the
 * same line with the same kind and tag. The last lane computes for all. Returns the lane's
 * result. */
uint64_t warp_collective(enum collective kind, unsigned tag, unsigned mask, uint64_t v,
                         unsigned src, struct site at);

/* ---- asynchronous copies, notes for the race checker ----------------------------------------- */

void cp_async(void *s, const void *g, unsigned copy_bytes, struct site at);
void cp_commit(void);
void cp_wait(unsigned groups_left);

/* ---- products of warpgroups: b (n, 32) bytes of a swizzled tile in shared memory ------------- */

void proxy_dirty(void); /* the thread has written shared memory by other means than wgmma */
void proxy_fence(void);
void wgmma_fence_regs(void);
void wgmma_issue(int *d, const uint32_t *a, const void *b, unsigned n, bool a_signed, bool add,
                 struct site at);
void wgmma_commit_group(void);
void wgmma_wait_groups(unsigned groups_left, struct site at);

#ifdef CUSHIM_RACE
void note_atomic(const void *p, unsigned bytes, const void *pc);
#else
inline void note_atomic(const void *, unsigned, const void *)
{
}
#endif

[[noreturn]] void kernel_trap(const char *what, struct site at);

} /* namespace cushim */

#define threadIdx (static_cast<const uint3 &>(::cushim::cur->tid))
#define blockIdx (static_cast<const uint3 &>(*::cushim::cur->bid))
#define blockDim (static_cast<const dim3 &>(::cushim::launch_block))
#define gridDim (static_cast<const dim3 &>(::cushim::launch_grid))
static const int warpSize = 32;

#define CUSHIM_LAUNCH(kernel, grid, block, smem, stream, ...)                                      \
    ::cushim::launch_kernel(#kernel, ::cushim::kernel_name<kernel>(), false, kernel, grid, block,  \
                            smem, stream, ##__VA_ARGS__)
#define CUSHIM_LAUNCH_COOP(kernel, grid, block, smem, stream, ...)                                 \
    ::cushim::launch_kernel(#kernel, ::cushim::kernel_name<kernel>(), true, kernel, grid, block,   \
                            smem, stream, ##__VA_ARGS__)

#define CUSHIM_SHARED_ARRAY(T, name, dims)                                                         \
    static const char name##_key_ = 0;                                                             \
    using name##_t_ = T dims;                                                                      \
    name##_t_ &name = *static_cast<name##_t_ *>(                                                   \
        ::cushim::shared_static(&name##_key_, sizeof(name##_t_), alignof(name##_t_), #name))

/* ---- barriers, votes, shuffles --------------------------------------------------------------- */

inline void __syncthreads(CUSHIM_SITE)
{
    cushim::block_barrier(0, 0, 0, CUSHIM_AT);
}
inline int __syncthreads_count(int p, CUSHIM_SITE)
{
    return cushim::block_barrier(0, 0, p != 0, CUSHIM_AT);
}
inline int __syncthreads_or(int p, CUSHIM_SITE)
{
    return cushim::block_barrier(0, 0, p != 0, CUSHIM_AT) > 0;
}
inline int __syncthreads_and(int p, CUSHIM_SITE)
{
    return cushim::block_barrier(0, 0, p == 0, CUSHIM_AT) == 0;
}
inline void __syncwarp(unsigned mask = 0xffffffffu, CUSHIM_SITE)
{
    cushim::warp_collective(cushim::SYNCWARP, 0, mask, 0, 0, CUSHIM_AT);
}
inline void __threadfence(void)
{
    cushim::fence();
}
inline void __threadfence_block(void)
{
}
inline void __threadfence_system(void)
{
    cushim::fence();
}
inline void __nanosleep(unsigned)
{
    cushim::spin_yield();
}

namespace cushim
{
template <class T> uint64_t to_bits(T v)
{
    static_assert(std::is_trivially_copyable<T>::value && sizeof(T) <= 8,
                  "operand of a collective");
    uint64_t u = 0;
    __builtin_memcpy(&u, &v, sizeof v);
    return u;
}
template <class T> T from_bits(uint64_t u)
{
    T v;
    __builtin_memcpy(&v, &u, sizeof v);
    return v;
}
template <class T> T shuffle(unsigned tag, unsigned mask, T v, unsigned src, struct site at)
{
    return from_bits<T>(warp_collective(SHUFFLE, tag, mask, to_bits(v), src, at));
}
} /* namespace cushim */

template <class T> T __shfl_sync(unsigned mask, T v, int src, int width = 32, CUSHIM_SITE)
{
    unsigned l = cushim::cur->lane;
    return cushim::shuffle(0, mask, v, (l & ~(width - 1u)) | (src & (width - 1u)), CUSHIM_AT);
}
template <class T> T __shfl_up_sync(unsigned mask, T v, unsigned delta, int width = 32, CUSHIM_SITE)
{
    int l = (int)cushim::cur->lane, src = l - (int)delta;
    return cushim::shuffle(1, mask, v, (unsigned)(src < (l & ~(width - 1)) ? l : src), CUSHIM_AT);
}
template <class T>
T __shfl_down_sync(unsigned mask, T v, unsigned delta, int width = 32, CUSHIM_SITE)
{
    int l = (int)cushim::cur->lane, src = l + (int)delta;
    return cushim::shuffle(2, mask, v, (unsigned)(src > (l | (width - 1)) ? l : src), CUSHIM_AT);
}
template <class T> T __shfl_xor_sync(unsigned mask, T v, int bits, int width = 32, CUSHIM_SITE)
{
    int l = (int)cushim::cur->lane, src = l ^ bits;
    return cushim::shuffle(3, mask, v, (unsigned)(src > (l | (width - 1)) ? l : src), CUSHIM_AT);
}
inline unsigned __ballot_sync(unsigned mask, int p, CUSHIM_SITE)
{
    return (unsigned)cushim::warp_collective(cushim::VOTE, 0, mask, p != 0, 0, CUSHIM_AT);
}
inline int __any_sync(unsigned mask, int p, CUSHIM_SITE)
{
    return cushim::warp_collective(cushim::VOTE, 1, mask, p != 0, 0, CUSHIM_AT) != 0;
}
inline int __all_sync(unsigned mask, int p, CUSHIM_SITE)
{
    return cushim::warp_collective(cushim::VOTE, 2, mask, p == 0, 0, CUSHIM_AT) == 0;
}
template <class T> unsigned __match_any_sync(unsigned mask, T v, CUSHIM_SITE)
{
    return (unsigned)cushim::warp_collective(cushim::MATCH, 0, mask, cushim::to_bits(v), 0,
                                             CUSHIM_AT);
}
template <class T> unsigned __match_all_sync(unsigned mask, T v, int *pred, CUSHIM_SITE)
{
    unsigned r =
        (unsigned)cushim::warp_collective(cushim::MATCH, 1, mask, cushim::to_bits(v), 0, CUSHIM_AT);
    *pred = r != 0;
    return r;
}

namespace cushim
{
enum reduction {
    RED_ADD,
    RED_MAX_S,
    RED_MIN_S,
    RED_MAX_U,
    RED_MIN_U,
    RED_OR,
    RED_AND,
    RED_XOR,
    RED_SUM_F,
    RED_MAX_F
};
}
#define CUSHIM_REDUCE(name, T, op)                                                                 \
    inline T __reduce_##name##_sync(unsigned mask, T v, CUSHIM_SITE)                               \
    {                                                                                              \
        return (T)(unsigned)cushim::warp_collective(cushim::REDUCE, cushim::op, mask, (unsigned)v, \
                                                    0, CUSHIM_AT);                                 \
    }
CUSHIM_REDUCE(add, unsigned, RED_ADD)
CUSHIM_REDUCE(add, int, RED_ADD)
CUSHIM_REDUCE(max, int, RED_MAX_S)
CUSHIM_REDUCE(min, int, RED_MIN_S)
CUSHIM_REDUCE(max, unsigned, RED_MAX_U)
CUSHIM_REDUCE(min, unsigned, RED_MIN_U)
CUSHIM_REDUCE(or, unsigned, RED_OR)
CUSHIM_REDUCE(and, unsigned, RED_AND)
CUSHIM_REDUCE(xor, unsigned, RED_XOR)
#undef CUSHIM_REDUCE

/* Twins of warp.cuh: the same xor tree 16, 8, 4, 2, 1, in one wait instead of five. */
namespace cushim
{
inline float warp_sum(float v, CUSHIM_SITE)
{
    return from_bits<float>(
        warp_collective(REDUCE, RED_SUM_F, 0xffffffffu, to_bits(v), 0, CUSHIM_AT));
}
inline float warp_max(float v, CUSHIM_SITE)
{
    return from_bits<float>(
        warp_collective(REDUCE, RED_MAX_F, 0xffffffffu, to_bits(v), 0, CUSHIM_AT));
}
inline int warp_sum(int v, CUSHIM_SITE)
{
    return __reduce_add_sync(0xffffffffu, v, file_, line_);
}
} /* namespace cushim */

/* ---- atomics: threads change only at synchronising operations, so plain code is atomic ------- */

#define CUSHIM_ATOMIC(name, expr)                                                                  \
    template <class T>                                                                             \
    __attribute__((noinline, no_sanitize("thread"))) T name(T *p, std::common_type_t<T> v)         \
    {                                                                                              \
        cushim::note_atomic(p, sizeof(T), __builtin_return_address(0));                            \
        T o = *p;                                                                                  \
        *p = (T)(expr);                                                                            \
        return o;                                                                                  \
    }
CUSHIM_ATOMIC(atomicAdd, o + v)
CUSHIM_ATOMIC(atomicSub, o - v)
CUSHIM_ATOMIC(atomicMax, o > v ? o : v)
CUSHIM_ATOMIC(atomicMin, o < v ? o : v)
CUSHIM_ATOMIC(atomicExch, v)
CUSHIM_ATOMIC(atomicOr, o | v)
CUSHIM_ATOMIC(atomicAnd, o &v)
CUSHIM_ATOMIC(atomicXor, o ^ v)
CUSHIM_ATOMIC(atomicInc, o >= v ? T(0) : T(o + 1))
#undef CUSHIM_ATOMIC

template <class T>
__attribute__((noinline, no_sanitize("thread"))) T atomicCAS(T *p, std::common_type_t<T> expected,
                                                             std::common_type_t<T> v)
{
    cushim::note_atomic(p, sizeof(T), __builtin_return_address(0));
    T o = *p;
    if (o == expected)
        *p = v;
    return o;
}

#include "cushim_math.h"
#include "cushim_ptx.h"

#endif
