#include "nvml_stub.h"

#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One lock guards the state: NVML's calls are thread-safe. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct nvml_stub state = {
#define X(member, value) .member = value,
    NVML_STUB_STATE(X)
#undef X
};
static char the_device; /* its address is the handle */
static const long long nothing, link[4] = {4, 5, 8, 16};

static const struct {
    const char *name;
    size_t at;
} members[] = {
#define X(member, value) {#member, offsetof(struct nvml_stub, member)},
    NVML_STUB_STATE(X)
#undef X
};

void nvml_stub_reset(void)
{
    pthread_mutex_lock(&lock);
    state = (struct nvml_stub){
#define X(member, value) .member = value,
        NVML_STUB_STATE(X)
#undef X
    };
    pthread_mutex_unlock(&lock);
}

void nvml_stub_get(struct nvml_stub *out)
{
    pthread_mutex_lock(&lock);
    *out = state;
    pthread_mutex_unlock(&lock);
}

int nvml_stub_set(const char *member, long long value)
{
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        if (!strcmp(members[i].name, member)) {
            pthread_mutex_lock(&lock);
            memcpy((char *)&state + members[i].at, &value, sizeof value);
            pthread_mutex_unlock(&lock);
            return 1;
        }
    return 0;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void run_script(void)
{
    const char *script = getenv("NVML_STUB");
    char member[32];
    long long value;
    int n = 0;
    for (; script && sscanf(script, " %31[a-z_]=%lld%n", member, &value, &n) == 2; script += n)
        if (!nvml_stub_set(member, value)) {
            fprintf(stderr, "nvml_stub: there is no member %s\n", member);
            abort();
        }
}

int nvmlInit_v2(void)
{
    run_script();
    pthread_mutex_lock(&lock);
    int rc = (int)state.init_rc;
    state.inits += rc == 0;
    pthread_mutex_unlock(&lock);
    return rc;
}

int nvmlShutdown(void)
{
    const char *path = getenv("NVML_STUB_LOG");
    FILE *f = path ? fopen(path, "w") : NULL;
    pthread_mutex_lock(&lock);
    if (f)
        fprintf(f, "%lld %lld %lld\n", state.first, state.last, state.answers);
    state.shutdowns++;
    pthread_mutex_unlock(&lock);
    if (f)
        fclose(f);
    return 0;
}

const char *nvmlErrorString(int rc)
{
    return rc == 1     ? "Uninitialized"
           : rc == 3   ? "Not Supported"
           : rc == 6   ? "Not Found"
           : rc == 9   ? "Driver Not Loaded"
           : rc == 15  ? "GPU is lost"
           : rc == 999 ? "Unknown Error"
                       : "another error";
}

int nvmlDeviceGetHandleByPciBusId_v2(const char *pci, void **device)
{
    pthread_mutex_lock(&lock);
    snprintf(state.pci, sizeof state.pci, "%s", pci);
    int rc = (int)state.find_rc;
    pthread_mutex_unlock(&lock);
    *device = &the_device;
    return rc;
}

/* ---- answers --------------------------------------------------------------------------------- */

/* With the lock held: the result of a call on the device. */
static int call(void *device, long long rc)
{
    if (device != &the_device)
        return 2;
    if (state.lost_after && state.answers >= state.lost_after)
        return (int)state.lost_rc;
    return (int)rc;
}

static int answer(void *device, unsigned *out, const long long *value)
{
    pthread_mutex_lock(&lock);
    int rc = call(device, state.gauge_rc);
    if (!rc)
        *out = (unsigned)*value;
    pthread_mutex_unlock(&lock);
    return rc;
}

static int answer_bits(void *device, unsigned long long *bits)
{
    unsigned v = 0;
    int rc = answer(device, &v, &state.reasons);
    *bits = v;
    return rc;
}

/* Does the power stand in for the counter? */
static int no_counter(void)
{
#ifdef NVML_STUB_OLD
    return 1;
#else
    return state.energy_rc != 0;
#endif
}

#ifndef NVML_STUB_OLD
int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *mj)
{
    pthread_mutex_lock(&lock);
    int rc = call(device, state.energy_rc);
    if (!rc) {
        *mj = (unsigned long long)state.energy;
        state.first = state.first < 0 ? state.energy : state.first;
        state.last = state.energy;
        state.energy += state.energy_step;
        state.answers++;
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

int nvmlDeviceGetCurrentClocksEventReasons(void *device, unsigned long long *bits)
{
    return answer_bits(device, bits);
}
#endif

int nvmlDeviceGetCurrentClocksThrottleReasons(void *device, unsigned long long *bits)
{
    return answer_bits(device, bits);
}

int nvmlDeviceGetPowerUsage(void *device, unsigned *mw)
{
    pthread_mutex_lock(&lock);
    int rc = call(device, state.power_rc);
    *mw = (unsigned)state.power;
    state.answers += rc == 0 && no_counter();
    pthread_mutex_unlock(&lock);
    return rc;
}

int nvmlDeviceGetClockInfo(void *device, int type, unsigned *mhz)
{
    return answer(device, mhz, type == 1 ? &state.sm : type == 2 ? &state.mem : &nothing);
}

int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *celsius)
{
    return answer(device, celsius, sensor == 0 ? &state.celsius : &nothing);
}

int nvmlDeviceGetCurrPcieLinkGeneration(void *device, unsigned *v)
{
    return answer(device, v, &link[0]);
}

int nvmlDeviceGetMaxPcieLinkGeneration(void *device, unsigned *v)
{
    return answer(device, v, &link[1]);
}

int nvmlDeviceGetCurrPcieLinkWidth(void *device, unsigned *v)
{
    return answer(device, v, &link[2]);
}

int nvmlDeviceGetMaxPcieLinkWidth(void *device, unsigned *v)
{
    return answer(device, v, &link[3]);
}

int nvmlDeviceGetPcieThroughput(void *device, int counter, unsigned *kb_s)
{
    return answer(device, kb_s, counter == 1 ? &state.rx : &state.tx);
}

int nvmlDeviceGetMemoryInfo(void *device, struct nvml_stub_memory *out)
{
    pthread_mutex_lock(&lock);
    int rc = call(device, state.gauge_rc);
    *out = (struct nvml_stub_memory){(unsigned long long)state.total,
                                     (unsigned long long)(state.total - state.used),
                                     (unsigned long long)state.used};
    pthread_mutex_unlock(&lock);
    return rc;
}
