/*
 * shim_rt: the machine that runs one grid at a time, shared by the parts of the shim.
 *
 *   shim_cudart  streams, graphs, memory: the runtime calls; calls run_grid
 *   shim_sched   grid, blocks, warps, barriers: chooses the next thread to run
 *   shim_warp    results of warp collectives
 *   shim_smem    shared memory and cp.async
 *   shim_wgmma   asynchronous products of warpgroups
 *   shim_fiber   stacks and switching
 *   shim_race    the checker of the race build (CUSHIM_RACE), otherwise absent
 *
 * One lock serialises all of it. The machine is one object, `G`; the thread that holds the lock
 * uses it.
 */
#ifndef SHIM_RT_H
#define SHIM_RT_H

#include "cushim.h"
#include "cushim_test.h"

#include <string>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#define CUSHIM_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#define CUSHIM_TSAN 1
#endif

extern "C" void cushim_switch(void **save_sp, void *to_sp); /* shim_switch.S */

namespace cushim
{

enum {
    WARP = 32,
    MAX_THREADS = 1024,
    MAX_WARPS = 32,
    MAX_BARRIERS = 16,
    MAX_PIECES = 64,
    MAX_PRODUCTS = 32
};

/* ---- fibers ---------------------------------------------------------------------------------- */

struct fiber {
    void *sp;
    char *stack; /* NULL: the OS thread's own stack; a sanitizer tells its size later */
    size_t size;
    void *fake; /* ASan's fake stack */
    void *tsan; /* ThreadSanitizer's handle of the fiber */
    struct fiber *next_free, *next;
};
/* takes a fiber whose next switch enters or continues the loop of fiber_main */
struct fiber *fiber_take(void);
void fiber_give(struct fiber *f); /* parked in its loop, free for fiber_take */
void fiber_abandon_all(void);     /* restarts every fiber: the kernel was given up */
void fiber_main(void);            /* the loop of every fiber; the scheduler defines it */

/* ---- the machine ----------------------------------------------------------------------------- */

struct warp;
struct block;

struct async_copy { /* one cp.async in flight */
    void *dst;
    const void *src;
    unsigned bytes, group;
    struct site at;
};

struct product { /* one wgmma in progress: the part of one thread */
    int *d;
    const uint32_t *a;
    const void *b;
    unsigned n, group;
    bool a_signed, add;
    struct site at;
};

struct lane_op { /* the operation that a lane waits in */
    enum collective kind;
    unsigned tag, mask;
    struct site at;
};

struct thread : thread_id {
    struct warp *warp;
    struct block *block;
    struct fiber *fiber; /* NULL: not started, or returned */
    struct lane_op op;
    int barrier, barrier_result;
    struct async_copy *copy;
    unsigned n_copy, cap_copy, group; /* group: number of groups committed */
    struct product product[MAX_PRODUCTS];
    unsigned n_product, product_group;
    bool unfenced, products_fenced; /* has copied without fence.proxy.async; may issue wgmma */
};

struct warp {
    unsigned index, lanes;                       /* lanes: bits of the existing lanes */
    unsigned run, wait, bar, grid, spin, exited; /* one bit a lane; disjoint, together = lanes */
    bool mixed;                                  /* lanes wait in different collectives */
    uint64_t v[WARP];                            /* operands and results of a collective */
    uint8_t src[WARP];
    struct thread *t;  /* its first thread */
    uint64_t products; /* wgmma finished in this block */
#ifdef CUSHIM_RACE
    uint32_t clock[MAX_WARPS];       /* last count that the warp has seen of each other warp */
    uint32_t lane_clock[WARP][WARP]; /* [l][k]: last count that lane l has seen of lane k */
#endif
};

struct barrier {
    unsigned arrived, wanted, n_pred;
    int n_thread;
    struct thread *first;
};

struct piece { /* one array in a block's shared memory */
    const void *key;
    const char *name;
    char *p;
    size_t bytes, offset; /* offset: for dynamic pieces, in the launch's dynamic bytes */
};

struct shared {
    char *base; /* owned; redzones between the pieces */
    size_t used;
    struct piece fixed[MAX_PIECES], dynamic[MAX_PIECES];
    unsigned n_fixed, n_dynamic;
    size_t fixed_bytes, dynamic_bytes;
};

struct block {
    uint3 bid;
    unsigned lin, n_thread, n_warp, live, spins;
    bool started;
    struct warp warp[MAX_WARPS];
    struct barrier barrier[MAX_BARRIERS];
    struct thread *thread; /* n_thread */
    struct shared shared;
};

struct machine {
    /* settings */
    enum cushim_order order = CUSHIM_FORWARD;
    uint64_t seed = 1;
    int sm = 90;
    bool strict_exit = true, abort_on_finding = false, quiet = false;
    /* the running grid */
    const struct kernel_call *call = nullptr;
    size_t shared_limit = 0;
    struct block *block = nullptr; /* the block whose threads run */
    struct fiber main = {};
    struct fiber *prev = nullptr; /* the fiber that switched last, for ASan */
    uint64_t rng = 0;
    bool failed = false; /* the launch is given up */
    /* results */
    std::string findings;
    bool sticky = false; /* there was a finding: the device is dead until cushim_reset */
    struct cushim_counts stats = {};
};
extern struct machine G;

/* Leaves `from` until another fiber switches to it. Always inlined: the CPU mispredicts each return
 * after a switch, so few frames should lie between a kernel and the switch. */
inline __attribute__((always_inline)) void fiber_switch(struct fiber *from, struct fiber *to)
{
    G.stats.switches++;
#ifdef CUSHIM_ASAN
    G.prev = from;
    __sanitizer_start_switch_fiber(&from->fake, to->stack, to->size);
#endif
#ifdef CUSHIM_TSAN
    if (!from->stack)
        from->tsan = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(to->tsan, 0);
#endif
    cushim_switch(&from->sp, to->sp);
#ifdef CUSHIM_ASAN
    __sanitizer_finish_switch_fiber(from->fake, nullptr, nullptr);
#endif
}

inline struct thread *current(void)
{
    return static_cast<struct thread *>(cur);
}

/* Runs the grid to its end or its failure. The caller has checked the limits of the launch. */
void run_grid(const struct kernel_call *call, size_t shared_limit);

/* Both record a finding. kernel_fail also gives up the launch; called from a kernel it does not
 * return. */
void kernel_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void kernel_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* "kernel.cu" of a path: messages name that file. */
const char *file_name(const char *path);

size_t shared_optin(int sm); /* most bytes of shared memory per block on this architecture */

/* shim_warp: computes the collective in which the lanes `part` of the warp wait. */
void collective_compute(struct warp *w, const struct lane_op *op, unsigned part);
const char *collective_name(enum collective kind);

/* shim_cudart: after a launch, checks the guards around the buffers. */
void memory_check(void);

/* shim_smem */
void shared_start(struct block *b); /* a block starts: every piece is NaN again */
void shared_end(struct block *b);   /* a block ended: checks the redzones */
void shared_free(struct block *b);  /* the launch ended */
bool shared_holds(const struct block *b, const void *p, size_t n);
void copies_end(struct thread *t); /* a thread returns */

/* shim_wgmma */
/* a warp waits: finishes the products of groups that are old enough */
void products_finish(struct warp *w, const struct lane_op *op);
void products_end(struct thread *t); /* a thread returns */
void products_block_end(struct block *b);

/* ---- hooks of the race checker --------------------------------------------------------------- */

#ifdef CUSHIM_RACE
void *race_alloc(size_t bytes, size_t align, bool shared_mem);
void race_free(void *p);
void race_host_wrote(const void *p, size_t n);
void race_host_reads(const void *p, size_t n);
void race_device_copied(void *dst, const void *src, size_t n);
void race_fresh(void *p, size_t n); /* a shared array starts over */
void race_async(void *p, unsigned n, bool start);
void race_note(const void *p, unsigned n, bool write, struct site at);
void race_shape(const void *p, unsigned n, bool write, struct site at); /* counts; checks nothing */
void race_launch(const struct kernel_call *call);
void race_launch_end(void);
void race_block(struct block *b);
void race_barrier(struct block *b, unsigned warps);
void race_grid_barrier(void);
void race_fence(void);
/* The lanes have met. memory: they also see each other's accesses (__syncwarp). */
void race_warp_order(struct warp *w, unsigned lanes, bool memory);
#else
inline void race_host_wrote(const void *, size_t)
{
}
inline void race_host_reads(const void *, size_t)
{
}
inline void race_device_copied(void *, const void *, size_t)
{
}
inline void race_fresh(void *, size_t)
{
}
inline void race_async(void *, unsigned, bool)
{
}
inline void race_shape(const void *, unsigned, bool, struct site)
{
}
inline void race_note(const void *, unsigned, bool, struct site)
{
}
inline void race_launch(const struct kernel_call *)
{
}
inline void race_launch_end(void)
{
}
inline void race_block(struct block *)
{
}
inline void race_barrier(struct block *, unsigned)
{
}
inline void race_grid_barrier(void)
{
}
inline void race_fence(void)
{
}
inline void race_warp_order(struct warp *, unsigned, bool)
{
}
#endif

} /* namespace cushim */

#endif
