#include "nvml.h"

#include <dlfcn.h>
#include <math.h>
#include <string.h>

#include "clock.h"
#include "mem.h"

/* ---- the library's interface ----------------------------------------------------------------- */

/* nvmlReturn_t */
enum {
    NVML_OK = 0,
    NVML_UNINITIALIZED = 1,
    NVML_NOT_SUPPORTED = 3,
    NVML_GPU_IS_LOST = 15,
    NVML_RESET_REQUIRED = 16
};
enum { NVML_SM_CLOCK = 1, NVML_MEMORY_CLOCK = 2 }; /* nvmlClockType_t */
enum { NVML_GPU_SENSOR = 0 };                      /* nvmlTemperatureSensors_t */
enum { NVML_TX_BYTES = 0, NVML_RX_BYTES = 1 };     /* nvmlPcieUtilCounter_t */
struct nvml_memory {                               /* nvmlMemory_t: bytes */
    unsigned long long total, free, used;
};

/* X(member, name, parameters); the first parameter is the device */
#define NVML_DEVICE_CALLS(X)                                                                       \
    X(energy, "nvmlDeviceGetTotalEnergyConsumption", (void *, unsigned long long *millijoules))    \
    X(power, "nvmlDeviceGetPowerUsage", (void *, unsigned *milliwatts))                            \
    X(clock, "nvmlDeviceGetClockInfo", (void *, int type, unsigned *mhz))                          \
    X(reasons, "nvmlDeviceGetCurrentClocksEventReasons", (void *, unsigned long long *bits))       \
    X(throttle, "nvmlDeviceGetCurrentClocksThrottleReasons", (void *, unsigned long long *bits))   \
    X(temperature, "nvmlDeviceGetTemperature", (void *, int sensor, unsigned *celsius))            \
    X(generation, "nvmlDeviceGetCurrPcieLinkGeneration", (void *, unsigned *))                     \
    X(generation_max, "nvmlDeviceGetMaxPcieLinkGeneration", (void *, unsigned *))                  \
    X(width, "nvmlDeviceGetCurrPcieLinkWidth", (void *, unsigned *lanes))                          \
    X(width_max, "nvmlDeviceGetMaxPcieLinkWidth", (void *, unsigned *lanes))                       \
    X(throughput, "nvmlDeviceGetPcieThroughput", (void *, int counter, unsigned *kb_s))            \
    X(memory, "nvmlDeviceGetMemoryInfo", (void *, struct nvml_memory *))

struct nvml_api { /* NULL: the driver lacks it */
    int (*init)(void);
    int (*shutdown)(void);
    const char *(*text)(int rc);
    int (*find)(const char *pci, void **device);
#define X(member, name, parameters) int(*member) parameters;
    NVML_DEVICE_CALLS(X)
#undef X
};

struct nvml {
    void *lib, *device;
    bool begun; /* init succeeded */
    struct nvml_api api;
    /* the energy; with the caller's lock */
    bool counter, ended;
    bool unknown;          /* neither a counter nor a power */
    unsigned long long mj; /* of the last sample */
    double watts;          /* likewise, without a counter */
    int64_t at_ns;
    double joules;
};

static void nvml_symbol(void *lib, const char *name, void *member)
{
    void *p = dlsym(lib, name);
    memcpy(member, &p, sizeof p);
}

static void nvml_bind(struct nvml *n)
{
    nvml_symbol(n->lib, "nvmlInit_v2", &n->api.init);
    nvml_symbol(n->lib, "nvmlShutdown", &n->api.shutdown);
    nvml_symbol(n->lib, "nvmlErrorString", &n->api.text);
    nvml_symbol(n->lib, "nvmlDeviceGetHandleByPciBusId_v2", &n->api.find);
#define X(member, name, parameters) nvml_symbol(n->lib, name, &n->api.member);
    NVML_DEVICE_CALLS(X)
#undef X
}

static const char *nvml_text(const struct nvml *n, int rc)
{
    const char *s = n->api.text ? n->api.text(rc) : NULL;
    return s ? s : "no text for this error";
}

/* ---- energy ---------------------------------------------------------------------------------- */

static int nvml_fail(struct nvml *n, int rc, struct err *e)
{
    bool lost = rc == NVML_GPU_IS_LOST || rc == NVML_UNINITIALIZED || rc == NVML_RESET_REQUIRED;
    n->ended = true;
    FAIL(e, lost ? ERR_NODEV : ERR_IO, "NVML error %d: %s", rc, nvml_text(n, rc));
}

static int nvml_count(struct nvml *n, struct err *e)
{
    unsigned long long mj = 0;
    int rc = n->api.energy(n->device, &mj);
    if (rc != NVML_OK)
        return nvml_fail(n, rc, e);
    if (mj < n->mj) { /* the driver was loaded anew */
        n->ended = true;
        FAIL(e, ERR_IO, "the energy counter went back from %llu to %llu mJ", n->mj, mj);
    }
    n->joules += (double)(mj - n->mj) * 1e-3;
    n->mj = mj;
    return 0;
}

/* The trapezoidal rule. */
static int nvml_integrate(struct nvml *n, int64_t now_ns, struct err *e)
{
    unsigned mw = 0;
    int rc = n->api.power(n->device, &mw);
    if (rc != NVML_OK)
        return nvml_fail(n, rc, e);
    double watts = mw * 1e-3;
    n->joules += (watts + n->watts) / 2 * (double)(now_ns - n->at_ns) * 1e-9;
    n->watts = watts;
    n->at_ns = now_ns;
    return 0;
}

int nvml_joules(struct nvml *n, int64_t now_ns, double *out, struct err *e)
{
    if (n->ended)
        FAIL(e, ERR_IO, "the energy is not measured any more");
    TRY(n->counter ? nvml_count(n, e) : nvml_integrate(n, now_ns, e));
    *out = n->joules;
    return 0;
}

/* Takes the first reading of the counter, or of the power where there is no counter. */
static int nvml_begin(struct nvml *n, struct err *e)
{
    unsigned mw = 0;
    int rc = n->api.energy ? n->api.energy(n->device, &n->mj) : NVML_NOT_SUPPORTED;
    n->counter = rc == NVML_OK;
    if (rc == NVML_NOT_SUPPORTED) {
        rc = n->api.power ? n->api.power(n->device, &mw) : NVML_NOT_SUPPORTED;
        n->watts = mw * 1e-3;
        n->at_ns = clock_ns();
    }
    n->unknown = n->ended = rc == NVML_NOT_SUPPORTED;
    return rc == NVML_OK || n->unknown ? 0 : nvml_fail(n, rc, e);
}

const char *nvml_how(const struct nvml *n)
{
    return n->unknown ? NULL : n->counter ? "NVML energy counter" : "NVML power, integrated";
}

/* ---- gauges ---------------------------------------------------------------------------------- */

static double nvml_gauge(int (*get)(void *, unsigned *), void *device, double unit)
{
    unsigned v = 0;
    return get && get(device, &v) == NVML_OK ? v * unit : (double)NAN;
}

/* A gauge of one of several clocks, sensors or counters. */
static double nvml_which(int (*get)(void *, int, unsigned *), void *device, int which, double unit)
{
    unsigned v = 0;
    return get && get(device, which, &v) == NVML_OK ? v * unit : (double)NAN;
}

void nvml_gauges(struct nvml *n, bool throughput, double out[HEALTH_COUNT], bool *has_reasons,
                 uint64_t *reasons)
{
    const struct nvml_api *a = &n->api;
    void *d = n->device;
    struct nvml_memory m = {.total = 0};
    bool memory = a->memory && a->memory(d, &m) == NVML_OK;
    out[HEALTH_WATTS] = nvml_gauge(a->power, d, 1e-3);
    out[HEALTH_SM_MHZ] = nvml_which(a->clock, d, NVML_SM_CLOCK, 1);
    out[HEALTH_MEMORY_MHZ] = nvml_which(a->clock, d, NVML_MEMORY_CLOCK, 1);
    out[HEALTH_CELSIUS] = nvml_which(a->temperature, d, NVML_GPU_SENSOR, 1);
    out[HEALTH_PCIE_GENERATION] = nvml_gauge(a->generation, d, 1);
    out[HEALTH_PCIE_GENERATION_MAX] = nvml_gauge(a->generation_max, d, 1);
    out[HEALTH_PCIE_LANES] = nvml_gauge(a->width, d, 1);
    out[HEALTH_PCIE_LANES_MAX] = nvml_gauge(a->width_max, d, 1);
    out[HEALTH_PCIE_RX] =
        throughput ? nvml_which(a->throughput, d, NVML_RX_BYTES, 1e3) : (double)NAN;
    out[HEALTH_PCIE_TX] =
        throughput ? nvml_which(a->throughput, d, NVML_TX_BYTES, 1e3) : (double)NAN;
    out[HEALTH_VRAM_USED] = memory ? (double)m.used : (double)NAN;
    out[HEALTH_VRAM_TOTAL] = memory ? (double)m.total : (double)NAN;
    unsigned long long bits = 0;
    int (*get)(void *, unsigned long long *) = a->reasons ? a->reasons : a->throttle;
    *has_reasons = get && get(d, &bits) == NVML_OK;
    *reasons = *has_reasons ? bits : 0;
}

/* ---- life ------------------------------------------------------------------------------------ */

static int nvml_find(struct nvml *n, const char *library, const char *pci, struct err *e)
{
    n->lib = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!n->lib) {
        const char *why = dlerror();
        FAIL(e, ERR_NODEV, "no NVML (%s)", why ? why : library);
    }
    nvml_bind(n);
    if (!n->api.init || !n->api.shutdown || !n->api.find)
        FAIL(e, ERR_NODEV, "no NVML (%s lacks nvmlInit_v2, nvmlShutdown or its search by bus id)",
             library);
    int rc = n->api.init();
    if (rc != NVML_OK)
        FAIL(e, ERR_NODEV, "NVML does not begin (error %d: %s)", rc, nvml_text(n, rc));
    n->begun = true;
    rc = n->api.find(pci, &n->device);
    if (rc != NVML_OK)
        FAIL(e, ERR_NODEV, "NVML has no GPU %s (error %d: %s)", pci, rc, nvml_text(n, rc));
    return nvml_begin(n, e);
}

int nvml_open(const char *library, const char *pci, struct nvml **out, struct err *e)
{
    struct nvml *n = mem_zalloc(1, sizeof *n);
    if (!n)
        return NOMEM(e, sizeof *n, "NVML");
    int rc = nvml_find(n, library, pci, e);
    if (rc < 0) {
        nvml_close(n);
        return rc;
    }
    *out = n;
    return 0;
}

void nvml_close(struct nvml *n)
{
    if (!n)
        return;
    if (n->begun)
        n->api.shutdown();
    if (n->lib)
        dlclose(n->lib);
    mem_free(n);
}
