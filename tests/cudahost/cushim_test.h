/*
 * cushim_test: what a test does with the shim: the order of execution, the architecture, failures
 * of the n-th call, findings, leaks. C and C++. All of it may be called from any thread; settings
 * hold from the next launch on.
 */
#ifndef CUSHIM_TEST_H
#define CUSHIM_TEST_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Which of the runnable blocks, warps and lanes goes first. FORWARD and REVERSE together run every
 * pair of accesses that nothing orders both ways. */
enum cushim_order { CUSHIM_FORWARD, CUSHIM_REVERSE, CUSHIM_RANDOM };
void cushim_order(enum cushim_order order, uint64_t seed);

/* 75, 80, 86, 89, 90 (the default), 100 or 120: decides the limits of shared memory. */
void cushim_arch(int sm);

/* Total bytes of the device's memory (8 GiB by default). */
void cushim_memory(size_t bytes);

/* 0: work runs when it is queued on a stream. 1: as late as the stream's order allows, which shows
 * a missing wait. Both are orders that a GPU may take. */
void cushim_lazy(int on);

/* 1 (the default): a thread that has returned before a barrier of its block is a finding. */
void cushim_strict_exit(int on);

/* A finding is printed to stderr and makes every later call fail with cudaErrorLaunchFailure, as a
 * crashed kernel does. 1: abort there. quiet: not printed. */
void cushim_abort_on_finding(int on);
void cushim_quiet(int on);

/* What was found since the last reset, one finding a line; "" when nothing. The text stays valid
 * until the next launch or reset. */
const char *cushim_findings(void);
/* Forgets findings, errors and failures asked for; keeps memory, streams and settings. */
void cushim_reset(void);

/* The n-th runtime call or launch from now on fails (1 = the next), once or from then on; n <= 0:
 * none. Calls that give something back (free, destroy) and questions about errors don't count. */
void cushim_fail_at(long n, int once);
long cushim_calls(void); /* counted since the last cushim_fail_at */

struct cushim_objects {
    /* graphs: and execs */
    size_t device_buffers, device_bytes, pinned_buffers, streams, events, graphs;
};
/* What was made and not yet given back; returns the number of objects. out may be NULL. */
size_t cushim_live(struct cushim_objects *out);

struct cushim_counts {
    uint64_t launches, blocks, threads, switches;
};
struct cushim_counts cushim_stats(void);

/* Race build: prints per source line the sectors and bank conflicts of the launches since the last
 * call to FILE-like fd; other builds: nothing is known, returns -1. */
int cushim_shapes(int on);
int cushim_print_shapes(int fd);

/* The same added up over a kernel: requests of warps, and what they took. A sector is 32 bytes of
 * global memory; a wavefront serves 32 lanes of 4 bytes, 16 of 8 or 8 of 16 from 32 banks. ideal:
 * what the bytes asked for would take side by side, or without conflicts. */
struct cushim_traffic {
    uint64_t requests, units, ideal;
};
struct cushim_kernel {
    const char *name; /* k_matmul_matvec<FMT_Q4_K,4> */
    struct cushim_traffic load, store, shared;
};
/* Calls each for the kernels since cushim_shapes(1), by name; other builds: -1. */
int cushim_kernels(void (*each)(const struct cushim_kernel *k, void *arg), void *arg);

/* "plain", "asan" or "race": what this copy of the shim was built as. */
const char *cushim_flavour(void);

#ifdef __cplusplus
}
#endif

#endif
