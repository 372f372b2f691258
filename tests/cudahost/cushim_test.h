/*
 * cushim_test: the controls of the shim for tests: order of execution, architecture, failures of
 * the n-th call, findings, leaks. C and C++. Any thread may call all functions. A setting takes
 * effect at the next launch.
 */
#ifndef CUSHIM_TEST_H
#define CUSHIM_TEST_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Order of the runnable blocks, warps and lanes. Of two accesses that nothing orders, FORWARD and
 * REVERSE together run each one first once. */
enum cushim_order { CUSHIM_FORWARD, CUSHIM_REVERSE, CUSHIM_RANDOM };
void cushim_order(enum cushim_order order, uint64_t seed);

/* sm: 75, 80, 86, 89, 90 (the default), 100 or 120. Sets the limits of shared memory. */
void cushim_arch(int sm);

/* Total bytes of each device's memory (8 GiB by default). */
void cushim_memory(size_t bytes);

#define CUSHIM_DEVICES 8 /* at most */
/* Number of devices; by default 1, or the number in the variable CUSHIM_DEVICES. All have the
 * memory of device 0 and peer access to one another. No object of a device may exist. */
void cushim_devices(int n);
void cushim_device_memory(int device, size_t bytes); /* of one device */
/* 1: the two devices have no peer access. */
void cushim_apart(int a, int b, int on);
/* The n-th call from now on for the device and all later ones fail; queued work does not run. 0: it
 * is lost now; below 0: it is there again. */
void cushim_lose(int device, long n);
long cushim_peer_copies(void); /* copies between devices since cushim_devices */

/* 0: work runs when it is queued on a stream. 1: work runs as late as the stream's order allows,
 * which reveals a missing wait. A GPU may take either order. */
void cushim_lazy(int on);

/* 1 (the default): a thread that returns before a barrier of its block is a finding. */
void cushim_strict_exit(int on);

/* A finding is printed to stderr. Every later call then fails with cudaErrorLaunchFailure, as after
 * a crashed kernel. 1: aborts at the finding. quiet: findings are not printed. */
void cushim_abort_on_finding(int on);
void cushim_quiet(int on);

/* The findings since the last reset, one a line; "" when there are none. The text stays valid until
 * the next launch or reset. */
const char *cushim_findings(void);
/* Drops findings, errors and requested failures; keeps memory, streams and settings. */
void cushim_reset(void);

/* Makes the n-th runtime call or launch from now on fail (1 = the next), `once` or with all later
 * ones; n <= 0: none. Calls that free or destroy, and queries of errors, are not counted. */
void cushim_fail_at(long n, int once);
/* Only calls for this device count, and fail; -1: those for all. Ended by cushim_reset. */
void cushim_fail_on(int device);
/* Only calls with `part` in their name count, and fail: "Event"; "": all. Ended by cushim_reset. */
void cushim_fail_only(const char *part);
long cushim_calls(void); /* counted since the last cushim_fail_at */
/* Makes the runtime call of this name fail from its n-th time on; "launch" stands for launches, ""
 * ends it. */
void cushim_fail_call(const char *name, long n);
long cushim_named_calls(void); /* of that name, counted since the last cushim_fail_call */

/* 1: every launch on a stream under capture fails and breaks the capture. */
void cushim_break_capture(int on);

/* The CUDA version that the driver supports: 13000 (the default) is CUDA 13.0; 0: no driver. */
void cushim_driver(int version);

struct cushim_objects {
    /* graphs: graphs and their executable forms */
    size_t device_buffers, device_bytes, pinned_buffers, streams, events, graphs;
};
/* The objects that exist and were not freed; returns their number. out may be NULL. */
size_t cushim_live(struct cushim_objects *out);

struct cushim_counts {
    uint64_t launches, blocks, threads, switches;
};
struct cushim_counts cushim_stats(void);

/* Race build: cushim_shapes starts or stops counting sectors and bank conflicts of launches.
 * cushim_print_shapes prints them to fd, by source line. Other builds do not count and return
 * -1. */
int cushim_shapes(int on);
int cushim_print_shapes(int fd);

/* Memory traffic of a kernel: requests of warps, and the units that they took. A sector is 32 bytes
 * of global memory. A wavefront of shared memory serves 32 lanes of 4 bytes, 16 of 8 or 8 of 16
 * from 32 banks. ideal: the units for the same bytes if they were adjacent, or had no conflicts. */
struct cushim_traffic {
    uint64_t requests, units, ideal;
};
struct cushim_kernel {
    const char *name; /* k_matmul_matvec<FMT_Q4_K,4> */
    struct cushim_traffic load, store, shared;
};
/* Calls `each` for the kernels since cushim_shapes(1), sorted by name; other builds: -1. */
int cushim_kernels(void (*each)(const struct cushim_kernel *k, void *arg), void *arg);

/* "plain", "asan" or "race": the flavour of this build of the shim. */
const char *cushim_flavour(void);

#ifdef __cplusplus
}
#endif

#endif
