/*
 * health: the sampler and its samples. A source is `on` while its energy is measured. The sampler
 * reads the gauges without the lock, because the throughput of the link takes tens of milliseconds.
 * Nobody else reads gauges.
 */
#include "health.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "mem.h"
#include "nvml.h"
#include "rapl.h"

enum { HEALTH_PERIOD_MS = 100 };

struct health {
    struct nvml *nvml; /* NULL: none */
    struct rapl *rapl;
    int period_ms;
    int64_t t0;
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    /* under lock */
    bool stop, gpu_used, gpu_on, cpu_on;
    bool gpu_seen;   /* its gauges are read */
    bool knows_last; /* the last sample knew the reasons */
    struct health_now now;
};

const char *const health_gauge_key[HEALTH_COUNT] = {
#define X(name, key) key,
    HEALTH_GAUGES(X)
#undef X
};

/* ---- texts ----------------------------------------------------------------------------------- */

static const struct health_word {
    enum health_reason bit;
    const char *text;
} health_words[] = {
    {HEALTH_IDLE, "idle"},
    {HEALTH_APPLICATION_CLOCKS, "application clocks"},
    {HEALTH_POWER_CAP, "software power cap"},
    {HEALTH_HARDWARE_SLOWDOWN, "hardware slowdown"},
    {HEALTH_SYNC_BOOST, "sync boost"},
    {HEALTH_HEAT, "software thermal slowdown"},
    {HEALTH_HARDWARE_HEAT, "hardware thermal slowdown"},
    {HEALTH_POWER_BRAKE, "hardware power brake"},
    {HEALTH_DISPLAY_CLOCKS, "display clocks"},
};

void health_reasons(uint64_t reasons, struct str *out)
{
    const char *comma = "";
    for (size_t i = 0; i < sizeof health_words / sizeof *health_words; i++) {
        if (!(reasons & (uint64_t)health_words[i].bit))
            continue;
        str_addf(out, "%s%s", comma, health_words[i].text);
        comma = ", ";
        reasons &= ~(uint64_t)health_words[i].bit;
    }
    if (reasons)
        str_addf(out, "%sreasons %#llx", comma, (unsigned long long)reasons);
}

const char *health_throttled(uint64_t reasons)
{
    bool power = reasons & (HEALTH_POWER_CAP | HEALTH_POWER_BRAKE),
         heat = reasons & (HEALTH_HEAT | HEALTH_HARDWARE_HEAT);
    return power && heat                          ? "power, heat"
           : power                                ? "power"
           : heat                                 ? "heat"
           : (reasons & HEALTH_HARDWARE_SLOWDOWN) ? "hardware"
                                                  : "";
}

/* The text of the sum. A GPU in use that is not measured leaves no sum. */
static void health_source(struct health *h)
{
    struct health_now *n = &h->now;
    size_t room = sizeof n->source;
    if (h->gpu_used && !h->gpu_on)
        snprintf(n->source, room, "%s", n->gpu);
    else if (h->gpu_used)
        snprintf(n->source, room, "GPU: %.180s; CPU: %.180s", n->gpu, n->cpu);
    else if (h->cpu_on)
        snprintf(n->source, room, "CPU: %.380s", n->cpu);
    else
        snprintf(n->source, room, "%s", n->cpu);
}

static void health_absent(char out[HEALTH_TEXT], const struct err *why)
{
    snprintf(out, HEALTH_TEXT, "not measured: %.380s", why->msg);
}

/* ---- samples --------------------------------------------------------------------------------- */

/* The ranges of a lost GPU stay. */
static void health_lost(struct health *h)
{
    h->gpu_seen = h->knows_last = false;
    h->now.reasons = 0;
    for (int i = 0; i < HEALTH_COUNT; i++)
        h->now.gauge[i].now = (double)NAN;
}

/* A source ends, and with it the sum. */
static void health_gpu_ends(struct health *h, const struct err *why)
{
    bool lost = why->code == ERR_NODEV;
    h->gpu_on = false;
    h->now.gpu_joules = h->now.joules = (double)NAN;
    snprintf(h->now.gpu, HEALTH_TEXT, "not measured: %s after %.1f s (%.300s)",
             lost ? "GPU lost" : "NVML failed", h->now.seconds, why->msg);
    if (lost)
        health_lost(h);
    health_source(h);
}

static void health_cpu_ends(struct health *h, const struct err *why)
{
    h->cpu_on = false;
    h->now.cpu_joules = h->now.joules = (double)NAN;
    snprintf(h->now.cpu, HEALTH_TEXT, "not measured: RAPL ended after %.1f s (%.300s)",
             h->now.seconds, why->msg);
    if (h->gpu_used && !h->gpu_on)
        return; /* the GPU's end is the reason */
    snprintf(h->now.source, sizeof h->now.source, "%s", h->now.cpu);
}

/* With the lock held. */
static void health_energy(struct health *h)
{
    struct health_now *n = &h->now;
    struct err e = {0};
    int64_t t = clock_ns();
    bool whole = isfinite(n->joules);
    n->seconds = (double)(t - h->t0) * 1e-9;
    if (h->gpu_on && nvml_joules(h->nvml, t, &n->gpu_joules, &e) < 0)
        health_gpu_ends(h, &e);
    if (h->cpu_on && rapl_joules(h->rapl, &n->cpu_joules, &e) < 0)
        health_cpu_ends(h, &e);
    if (whole && isfinite(n->joules))
        n->joules = (h->gpu_on ? n->gpu_joules : 0) + (h->cpu_on ? n->cpu_joules : 0);
}

static void health_range(struct health_value *v, double now)
{
    v->now = now;
    v->lo = fmin(v->lo, now); /* a NaN gives way to the other */
    v->hi = fmax(v->hi, now);
}

static void health_gauges(struct health *h, bool throughput)
{
    double v[HEALTH_COUNT];
    bool has;
    uint64_t reasons;
    nvml_gauges(h->nvml, throughput, v, &has, &reasons);
    pthread_mutex_lock(&h->lock);
    if (h->gpu_seen) { /* not lost meanwhile */
        for (int i = 0; i < HEALTH_COUNT; i++)
            health_range(&h->now.gauge[i], v[i]);
        h->knows_last = has;
        h->now.has_reasons |= has;
        h->now.reasons = reasons;
        h->now.reasons_seen |= reasons;
    }
    pthread_mutex_unlock(&h->lock);
}

static void health_after(struct timespec *t, int ms)
{
    t->tv_nsec += (long)ms % 1000 * 1000000;
    t->tv_sec += ms / 1000 + t->tv_nsec / 1000000000;
    t->tv_nsec %= 1000000000;
}

static void *health_sampler(void *arg)
{
    struct health *h = arg;
    struct timespec next;
    clock_gettime(CLOCK_MONOTONIC, &next);
    pthread_mutex_lock(&h->lock);
    while (!h->stop) {
        health_energy(h);
        if (h->gpu_seen) {
            pthread_mutex_unlock(&h->lock);
            health_gauges(h, true);
            pthread_mutex_lock(&h->lock);
        }
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        health_after(&next, h->period_ms);
        if (next.tv_sec < now.tv_sec || (next.tv_sec == now.tv_sec && next.tv_nsec < now.tv_nsec))
            next = now; /* late samples are not made up for */
        while (!h->stop && pthread_cond_timedwait(&h->wake, &h->lock, &next) != ETIMEDOUT)
            ;
    }
    pthread_mutex_unlock(&h->lock);
    return NULL;
}

/* ---- life ------------------------------------------------------------------------------------ */

static int health_gpu(struct health *h, const struct health_options *o, struct err *e)
{
    struct err why = {0};
    const char *library = o->nvml ? o->nvml : "libnvidia-ml.so.1";
    h->gpu_used = o->pci && *o->pci;
    snprintf(h->now.gpu, HEALTH_TEXT, "not measured: no GPU in use");
    if (!h->gpu_used)
        return 0;
    int rc = nvml_open(library, o->pci, &h->nvml, &why);
    if (rc == ERR_NOMEM)
        FAIL(e, rc, "%s", why.msg);
    h->gpu_seen = rc == 0;
    h->gpu_on = h->gpu_seen && nvml_how(h->nvml);
    if (h->gpu_on) {
        h->now.gpu_joules = 0;
        snprintf(h->now.gpu, HEALTH_TEXT, "%s", nvml_how(h->nvml));
        return 0;
    }
    if (h->gpu_seen)
        err_set(&why, ERR_NODEV, "NVML knows neither energy nor power of this GPU");
    health_absent(h->now.gpu, &why);
    return 0;
}

static int health_cpu(struct health *h, const struct health_options *o, struct err *e)
{
    struct err why = {0};
    if (o->gpu_alone) {
        snprintf(h->now.cpu, HEALTH_TEXT, "not measured: measured with another GPU");
        return 0;
    }
    int rc = rapl_open(o->powercap ? o->powercap : "/sys/class/powercap", &h->rapl, &why);
    if (rc == ERR_NOMEM)
        FAIL(e, rc, "%s", why.msg);
    h->cpu_on = rc == 0;
    if (!h->cpu_on) {
        health_absent(h->now.cpu, &why);
        return 0;
    }
    int n = rapl_packages(h->rapl);
    h->now.cpu_joules = 0;
    snprintf(h->now.cpu, HEALTH_TEXT, "RAPL, %d package%s", n, n == 1 ? "" : "s");
    return 0;
}

/* The sampler takes no signals: they are for the threads of the program. */
static int health_start(struct health *h, struct err *e)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&h->thread, NULL, health_sampler, h);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc)
        FAIL(e, ERR_IO, "cannot start the thread that measures energy: %s", strerror(rc));
    h->has_thread = true;
    return 0;
}

static int health_sources(struct health *h, const struct health_options *o, struct err *e)
{
    TRY(health_gpu(h, o, e));
    TRY(health_cpu(h, o, e));
    if (h->gpu_used ? h->gpu_on : h->cpu_on)
        h->now.joules = 0;
    health_source(h);
    if (h->gpu_seen)
        health_gauges(h, false);
    return h->gpu_seen || h->cpu_on ? health_start(h, e) : 0;
}

int health_open(const struct health_options *o, struct health **out, struct err *e)
{
    struct health *h = mem_zalloc(1, sizeof *h);
    pthread_condattr_t monotonic;
    if (!h)
        return NOMEM(e, sizeof *h, "the measuring of energy");
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&h->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&h->lock, NULL);
    h->t0 = clock_ns();
    h->period_ms = o->period_ms > 0 ? o->period_ms : HEALTH_PERIOD_MS;
    h->now.gpu_joules = h->now.cpu_joules = h->now.joules = (double)NAN;
    for (int i = 0; i < HEALTH_COUNT; i++)
        h->now.gauge[i] = (struct health_value){(double)NAN, (double)NAN, (double)NAN};
    int rc = health_sources(h, o, e);
    if (rc < 0) {
        health_close(h);
        return rc;
    }
    *out = h;
    return 0;
}

void health_close(struct health *h)
{
    if (!h)
        return;
    if (h->has_thread) {
        pthread_mutex_lock(&h->lock);
        h->stop = true;
        pthread_cond_signal(&h->wake);
        pthread_mutex_unlock(&h->lock);
        pthread_join(h->thread, NULL);
    }
    nvml_close(h->nvml);
    rapl_close(h->rapl);
    pthread_cond_destroy(&h->wake);
    pthread_mutex_destroy(&h->lock);
    mem_free(h);
}

void health_read(struct health *h, struct health_now *out)
{
    pthread_mutex_lock(&h->lock);
    health_energy(h);
    *out = h->now;
    pthread_mutex_unlock(&h->lock);
}

void health_begin(struct health *h)
{
    pthread_mutex_lock(&h->lock);
    for (int i = 0; i < HEALTH_COUNT; i++)
        h->now.gauge[i].lo = h->now.gauge[i].hi = h->now.gauge[i].now;
    h->now.reasons_seen = h->now.reasons;
    h->now.has_reasons = h->knows_last;
    pthread_mutex_unlock(&h->lock);
}
