/*
 * health: energy and state of the GPU in use and of the processor's packages.
 *
 * A thread samples NVML (NVIDIA's management library, found at run time) and RAPL (the processor's
 * energy counters in sysfs). A source that is absent, or that ends, is no error: its values become
 * NaN, and its text says the reason.
 *
 *   - A counter covers its whole GPU or package. So the work of other programs is in its joules.
 *   - Of the processor only packages count: a package includes its cores, and not the memory
 *     modules.
 *   - A counter that wraps goes on. Two samples are a period apart, so that it wraps at most once
 *     between them.
 *   - A source never starts again after its end, and never gives 0 for joules that it cannot
 *     measure.
 *
 * All functions but the opening and the closing are thread-safe.
 */
#ifndef MAS_HEALTH_H
#define MAS_HEALTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "str.h"

struct health;

struct health_options {
    const char *nvml;     /* path of the library; NULL = "libnvidia-ml.so.1" */
    const char *powercap; /* folder of RAPL; NULL = "/sys/class/powercap" */
    /* PCI bus id of the GPU in use, as in struct device; NULL or "" = none, and NVML is not
     * opened */
    const char *pci;
    int period_ms;  /* of the samples; 0 = 100 */
    bool gpu_alone; /* the processor is measured elsewhere, and its counters are not opened */
};

/* X(name, key): the gauges; the key says the unit. rx: bytes that the GPU receives. */
#define HEALTH_GAUGES(X)                                                                           \
    X(WATTS, "watts")                                                                              \
    X(SM_MHZ, "sm_mhz")                                                                            \
    X(MEMORY_MHZ, "memory_mhz")                                                                    \
    X(CELSIUS, "celsius")                                                                          \
    X(PCIE_GENERATION, "pcie_generation")                                                          \
    X(PCIE_GENERATION_MAX, "pcie_generation_max")                                                  \
    X(PCIE_LANES, "pcie_lanes")                                                                    \
    X(PCIE_LANES_MAX, "pcie_lanes_max")                                                            \
    X(PCIE_RX, "pcie_rx_bytes_s")                                                                  \
    X(PCIE_TX, "pcie_tx_bytes_s")                                                                  \
    X(VRAM_USED, "vram_used_bytes")                                                                \
    X(VRAM_TOTAL, "vram_total_bytes")

enum health_gauge {
#define X(name, key) HEALTH_##name,
    HEALTH_GAUGES(X)
#undef X
        HEALTH_COUNT
};
extern const char *const health_gauge_key[HEALTH_COUNT];

struct health_value { /* NaN = no reading */
    double now;       /* of the last sample */
    double lo, hi;    /* of the samples since health_begin */
};

/* Reasons for clocks below the highest, as NVML numbers them: bits of `reasons`. */
enum health_reason {
    HEALTH_IDLE = 0x1,
    HEALTH_APPLICATION_CLOCKS = 0x2,
    HEALTH_POWER_CAP = 0x4,
    HEALTH_HARDWARE_SLOWDOWN = 0x8,
    HEALTH_SYNC_BOOST = 0x10,
    HEALTH_HEAT = 0x20,
    HEALTH_HARDWARE_HEAT = 0x40,
    HEALTH_POWER_BRAKE = 0x80,
    HEALTH_DISPLAY_CLOCKS = 0x100,
};

enum { HEALTH_TEXT = 400 };

struct health_now {
    double seconds; /* since the opening */
    /* since the opening; NaN = not measured, or no longer */
    double gpu_joules, cpu_joules;
    /* The sum of all sources that the opening found. NaN after any of them ended, or when a GPU is
     * in use and not measured. */
    double joules;
    struct health_value gauge[HEALTH_COUNT];
    uint64_t reasons;      /* of the last sample; 0 also when they are not known */
    uint64_t reasons_seen; /* of all samples since health_begin */
    bool has_reasons;      /* one of these samples knew them */
    /* "NVML energy counter", "RAPL, 1 package", "not measured: no NVML (..)" */
    char gpu[HEALTH_TEXT], cpu[HEALTH_TEXT];
    /* of the sum: "GPU: NVML energy counter; CPU: RAPL, 1 package", or "not measured: .." */
    char source[HEALTH_TEXT];
};

/* ERR_NOMEM, ERR_IO (no thread). */
int health_open(const struct health_options *o, struct health **out, struct err *e);
void health_close(struct health *h); /* accepts NULL */

/* Reads the energy counters, and copies the gauges of the last sample. */
void health_read(struct health *h, struct health_now *out);
/* Begins the ranges lo..hi and reasons_seen anew, from the last sample. */
void health_begin(struct health *h);

/* Appends the reasons in words: "idle, software power cap". Appends nothing for 0. */
void health_reasons(uint64_t reasons, struct str *out);
/* Those that mean that the GPU is held back, in short: "power", "heat", "power, heat", "hardware";
 * "" = none. */
const char *health_throttled(uint64_t reasons);

#endif
