/*
 * nvml_stub: a library with the part of NVML's interface that kernels/health uses, for tests
 * without a GPU. The built files are nvml/libnvidia-ml.so.1 and, without the newer functions,
 * nvml_old/libnvidia-ml.so.1.
 *
 * It has any cards that are asked for, at most NVML_STUB_CARDS. They have numbers in the order of
 * the first search for their bus ids.
 *
 * nvml_stub_get gives a state to a test in the same process. A script for another process is the
 * variable NVML_STUB, as in "energy_step=500 celsius@1=60", whose names are the members below:
 * of all cards, or of card 1. nvmlShutdown then writes a line for each card into the file of
 * NVML_STUB_LOG: the counter's first and last answer, and the number of answers.
 *
 * Declarations: NVML API Reference Guide, docs.nvidia.com/deploy/nvml-api.
 */
#ifndef NVML_STUB_H
#define NVML_STUB_H

/* X(member, value at the start) */
#define NVML_STUB_STATE(X)                                                                         \
    X(init_rc, 0)                                                                                  \
    X(find_rc, 0)                                                                                  \
    X(energy_rc, 0) /* of the counter */                                                           \
    X(power_rc, 0)                                                                                 \
    X(gauge_rc, 0)     /* of everything else */                                                    \
    X(energy, 1000000) /* mJ: the counter's next answer */                                         \
    X(energy_step, 0)  /* mJ: added after each answer */                                           \
    X(power, 200000)   /* mW */                                                                    \
    X(lost_after, 0)   /* answers of counter or power before the GPU is lost; 0 = never */         \
    X(lost_rc, 15)     /* of every call to a lost GPU; 15: it is lost */                           \
    X(sm, 1980)                                                                                    \
    X(mem, 2619)                                                                                   \
    X(celsius, 45)                                                                                 \
    X(reasons, 0)                                                                                  \
    X(used, 22870491955) /* bytes */                                                               \
    X(total, 25769803776)                                                                          \
    X(rx, 2500000) /* KB/s */                                                                      \
    X(tx, 1000)                                                                                    \
    /* counts of calls */                                                                          \
    X(inits, 0)                                                                                    \
    X(shutdowns, 0)                                                                                \
    X(answers, 0) /* of counter or power */                                                        \
    X(first, -1)  /* mJ: the counter's first and last answer */                                    \
    X(last, -1)

enum { NVML_STUB_CARDS = 8 };

struct nvml_stub {
#define X(member, value) long long member;
    NVML_STUB_STATE(X)
#undef X
    char pci[32]; /* bus id */
};

/* Puts every member back to its value at the start. */
void nvml_stub_reset(void);
void nvml_stub_get(struct nvml_stub *out); /* of card 0 */
/* Sets a member of all cards by its name; 0 = there is no such member. */
int nvml_stub_set(const char *member, long long value);
int nvml_stub_set_card(int number, const char *member, long long value); /* of one card */

struct nvml_stub_memory {
    unsigned long long total, free, used;
};

int nvmlInit_v2(void);
int nvmlShutdown(void);
const char *nvmlErrorString(int rc);
int nvmlDeviceGetHandleByPciBusId_v2(const char *pci, void **device);
int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *mj);
int nvmlDeviceGetPowerUsage(void *device, unsigned *mw);
int nvmlDeviceGetClockInfo(void *device, int type, unsigned *mhz);
int nvmlDeviceGetCurrentClocksEventReasons(void *device, unsigned long long *bits);
int nvmlDeviceGetCurrentClocksThrottleReasons(void *device, unsigned long long *bits);
int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *celsius);
int nvmlDeviceGetCurrPcieLinkGeneration(void *device, unsigned *v);
int nvmlDeviceGetMaxPcieLinkGeneration(void *device, unsigned *v);
int nvmlDeviceGetCurrPcieLinkWidth(void *device, unsigned *v);
int nvmlDeviceGetMaxPcieLinkWidth(void *device, unsigned *v);
int nvmlDeviceGetPcieThroughput(void *device, int counter, unsigned *kb_s);
int nvmlDeviceGetMemoryInfo(void *device, struct nvml_stub_memory *out);

#endif
