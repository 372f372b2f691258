#include "nvml_stub.h"

#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One lock guards the state: NVML's calls are thread-safe. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const struct nvml_stub fresh = {
#define X(member, value) .member = value,
    NVML_STUB_STATE(X)
#undef X
};
/* Cards by number: the order in which they were first looked for. The address of a card is its
 * handle. Counts of the library's own calls are those of card 0. */
static struct nvml_stub card[NVML_STUB_CARDS] = {
#define CARD                                                                                       \
    {                                                                                              \
        NVML_STUB_STATE(X)                                                                         \
    }
#define X(member, value) .member = value,
    CARD, CARD, CARD, CARD, CARD, CARD, CARD, CARD,
#undef X
};
static int n_card; /* that were looked for */

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
    for (int i = 0; i < NVML_STUB_CARDS; i++)
        card[i] = fresh;
    n_card = 0;
    pthread_mutex_unlock(&lock);
}

void nvml_stub_get(struct nvml_stub *out)
{
    pthread_mutex_lock(&lock);
    *out = card[0];
    pthread_mutex_unlock(&lock);
}

int nvml_stub_set_card(int number, const char *member, long long value)
{
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        if (!strcmp(members[i].name, member)) {
            pthread_mutex_lock(&lock);
            for (int k = 0; k < NVML_STUB_CARDS; k++)
                if (number < 0 || k == number)
                    memcpy((char *)&card[k] + members[i].at, &value, sizeof value);
            pthread_mutex_unlock(&lock);
            return 1;
        }
    return 0;
}

int nvml_stub_set(const char *member, long long value)
{
    return nvml_stub_set_card(-1, member, value);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void run_script(void)
{
    const char *script = getenv("NVML_STUB");
    char member[32];
    long long value;
    int n = 0, number = -1;
    while (script && *script) {
        if (sscanf(script, " %31[a-z_]@%d=%lld%n", member, &number, &value, &n) != 3) {
            number = -1;
            if (sscanf(script, " %31[a-z_]=%lld%n", member, &value, &n) != 2)
                break;
        }
        if (number >= NVML_STUB_CARDS || !nvml_stub_set_card(number, member, value)) {
            fprintf(stderr, "nvml_stub: there is no member %s of card %d\n", member, number);
            abort();
        }
        script += n;
    }
}

int nvmlInit_v2(void)
{
    run_script();
    pthread_mutex_lock(&lock);
    int rc = (int)card[0].init_rc;
    card[0].inits += rc == 0;
    pthread_mutex_unlock(&lock);
    return rc;
}

int nvmlShutdown(void)
{
    const char *path = getenv("NVML_STUB_LOG");
    FILE *f = path ? fopen(path, "w") : NULL;
    pthread_mutex_lock(&lock);
    for (int i = 0; f && i < n_card; i++)
        fprintf(f, "%lld %lld %lld\n", card[i].first, card[i].last, card[i].answers);
    card[0].shutdowns++;
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
    int i = 0;
    while (i < n_card && strcmp(card[i].pci, pci) != 0)
        i++;
    if (i == NVML_STUB_CARDS) {
        fprintf(stderr, "nvml_stub: more than %d cards\n", NVML_STUB_CARDS);
        abort();
    }
    n_card += i == n_card;
    snprintf(card[i].pci, sizeof card[i].pci, "%s", pci);
    int rc = (int)card[i].find_rc;
    pthread_mutex_unlock(&lock);
    *device = &card[i];
    return rc;
}

/* ---- answers --------------------------------------------------------------------------------- */

/* The card of a handle; NULL: there is none. */
static struct nvml_stub *card_of(void *device)
{
    for (int i = 0; i < n_card; i++)
        if (device == &card[i])
            return &card[i];
    return NULL;
}

/* With the lock held: the result of a call on the card. */
static int call(const struct nvml_stub *c, long long rc)
{
    if (!c)
        return 2;
    if (c->lost_after && c->answers >= c->lost_after)
        return (int)c->lost_rc;
    return (int)rc;
}

/* at: of the member that is the answer. */
static int answer_member(void *device, unsigned *out, size_t at)
{
    long long value;
    pthread_mutex_lock(&lock);
    const struct nvml_stub *c = card_of(device);
    int rc = call(c, c ? c->gauge_rc : 0);
    if (!rc) {
        memcpy(&value, (const char *)c + at, sizeof value);
        *out = (unsigned)value;
    }
    pthread_mutex_unlock(&lock);
    return rc;
}
#define ANSWER(device, out, member) answer_member(device, out, offsetof(struct nvml_stub, member))

/* A fixed answer. */
static int answer_number(void *device, unsigned *out, unsigned value)
{
    pthread_mutex_lock(&lock);
    const struct nvml_stub *c = card_of(device);
    int rc = call(c, c ? c->gauge_rc : 0);
    if (!rc)
        *out = value;
    pthread_mutex_unlock(&lock);
    return rc;
}

static int answer_bits(void *device, unsigned long long *bits)
{
    unsigned v = 0;
    int rc = ANSWER(device, &v, reasons);
    *bits = v;
    return rc;
}

/* Does the power stand in for the counter? */
static int no_counter(const struct nvml_stub *c)
{
#ifdef NVML_STUB_OLD
    (void)c;
    return 1;
#else
    return c->energy_rc != 0;
#endif
}

#ifndef NVML_STUB_OLD
int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *mj)
{
    pthread_mutex_lock(&lock);
    struct nvml_stub *c = card_of(device);
    int rc = call(c, c ? c->energy_rc : 0);
    if (!rc) {
        *mj = (unsigned long long)c->energy;
        c->first = c->first < 0 ? c->energy : c->first;
        c->last = c->energy;
        c->energy += c->energy_step;
        c->answers++;
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
    struct nvml_stub *c = card_of(device);
    int rc = call(c, c ? c->power_rc : 0);
    if (!rc) {
        *mw = (unsigned)c->power;
        c->answers += no_counter(c);
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

int nvmlDeviceGetClockInfo(void *device, int type, unsigned *mhz)
{
    return type == 1   ? ANSWER(device, mhz, sm)
           : type == 2 ? ANSWER(device, mhz, mem)
                       : answer_number(device, mhz, 0);
}

int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *out)
{
    return sensor == 0 ? ANSWER(device, out, celsius) : answer_number(device, out, 0);
}

int nvmlDeviceGetCurrPcieLinkGeneration(void *device, unsigned *v)
{
    return answer_number(device, v, 4);
}

int nvmlDeviceGetMaxPcieLinkGeneration(void *device, unsigned *v)
{
    return answer_number(device, v, 5);
}

int nvmlDeviceGetCurrPcieLinkWidth(void *device, unsigned *v)
{
    return answer_number(device, v, 8);
}

int nvmlDeviceGetMaxPcieLinkWidth(void *device, unsigned *v)
{
    return answer_number(device, v, 16);
}

int nvmlDeviceGetPcieThroughput(void *device, int counter, unsigned *kb_s)
{
    return counter == 1 ? ANSWER(device, kb_s, rx) : ANSWER(device, kb_s, tx);
}

int nvmlDeviceGetMemoryInfo(void *device, struct nvml_stub_memory *out)
{
    pthread_mutex_lock(&lock);
    const struct nvml_stub *c = card_of(device);
    int rc = call(c, c ? c->gauge_rc : 0);
    if (!rc)
        *out = (struct nvml_stub_memory){(unsigned long long)c->total,
                                         (unsigned long long)(c->total - c->used),
                                         (unsigned long long)c->used};
    pthread_mutex_unlock(&lock);
    return rc;
}
