#define _GNU_SOURCE
#include "pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "cgroup.h"
#include "check.h"
#include "clock.h"
#include "mem.h"

#define POOL_MAX 256
#define POOL_SPIN 2000 /* about 20 us of pause: longer than the gap between two ops of a step */

/* of a worker's range; the loss when a worker is descheduled inside a part */
#define POOL_PARTS 4

/* The free parts of a worker's range: of job `job` mod 2^32, next .. end - 1. One word holds all of
 * it, so that no worker can take a part of a finished job. Each has a cache line of its own. */
struct pool_range {
    _Alignas(64) _Atomic uint64_t word; /* job << 32 | next << 16 | end */
};

/* Written by its worker inside a job, read by the caller after the job. */
struct pool_clock {
    _Alignas(64) struct pool_time t;
};

struct pool {
    int n;
    pthread_t thread[POOL_MAX];
    pthread_mutex_t lock;
    pthread_cond_t wake;
    atomic_uint job; /* increases by one per job; workers wait for it to change */
    atomic_int parked;
    atomic_bool stop;
    /* Of the job. Only a worker that has taken a part reads these; they are written only when all
     * parts are done. */
    pool_fn fn;
    void *arg;
    int64_t items, grain;
    int parts;
    bool watched;                 /* written between jobs, as fn is */
    _Alignas(64) atomic_int done; /* parts */
    struct pool_range range[POOL_MAX];
    struct topology topology;
    int node[POOL_MAX]; /* (n) index of each worker's node */
    struct pool_clock clock[POOL_MAX];
};

struct pool_start {
    struct pool *p;
    int worker;
};

static inline void pool_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

static int64_t pool_units(const struct pool *p)
{
    return (p->items + p->grain - 1) / p->grain;
}

/* Takes the next part of a range; -1 when none is left or the job is over. */
static int pool_take(struct pool_range *r, unsigned job)
{
    uint64_t word = atomic_load_explicit(&r->word, memory_order_relaxed);
    for (;;) {
        const unsigned next = (unsigned)(word >> 16) & 0xffff, end = (unsigned)word & 0xffff;
        if ((unsigned)(word >> 32) != job || next == end)
            return -1;
        if (atomic_compare_exchange_weak_explicit(&r->word, &word, word + (1u << 16),
                                                  memory_order_acquire, memory_order_relaxed))
            return (int)next;
    }
}

static void pool_timed(struct pool_time *t, pool_fn fn, void *arg, int64_t begin, int64_t end,
                       int worker)
{
    const int64_t from = clock_ns();
    fn(arg, begin, end, worker);
    t->end_ns = clock_ns();
    t->busy_ns += t->end_ns - from;
    t->begin_ns = t->begin_ns ? t->begin_ns : from;
}

static void pool_part(struct pool *p, int64_t begin, int64_t end, int worker)
{
    if (p->watched)
        pool_timed(&p->clock[worker].t, p->fn, p->arg, begin, end, worker);
    else
        p->fn(p->arg, begin, end, worker);
}

/* Runs the rest of the job: the worker's own range, then those of the others. */
static void pool_work(struct pool *p, unsigned job, int worker)
{
    const int n = p->n;
    int done = 0;
    for (int k = 0; k < n; k++) {
        struct pool_range *r = &p->range[(worker + k) % n];
        for (int part; (part = pool_take(r, job)) >= 0; done++) {
            const int64_t units = pool_units(p);
            const int64_t begin = units * part / p->parts * p->grain,
                          end = units * (part + 1) / p->parts * p->grain;
            pool_part(p, begin, end < p->items ? end : p->items, worker);
        }
    }
    if (done)
        atomic_fetch_add_explicit(&p->done, done, memory_order_release);
}

static void pool_wait_job(struct pool *p, unsigned seen)
{
    for (int i = 0; i < POOL_SPIN; i++) {
        if (atomic_load_explicit(&p->job, memory_order_acquire) != seen)
            return;
        pool_pause();
    }
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->parked, 1);
    while (atomic_load(&p->job) == seen)
        pthread_cond_wait(&p->wake, &p->lock);
    atomic_fetch_sub(&p->parked, 1);
    pthread_mutex_unlock(&p->lock);
}

static void *pool_main(void *arg)
{
    struct pool_start start = *(struct pool_start *)arg;
    mem_free(arg);
    struct pool *p = start.p;
    /* A worker keeps near to the rows that it owns if some memory is far away. It may move among
     * the processors of its node: if another program takes one, a thread bound to it would wait. */
    if (p->topology.n_node > 1)
        (void)topology_bind_thread(&p->topology, p->node[start.worker]);
    for (unsigned seen = 0;;) {
        pool_wait_job(p, seen);
        seen = atomic_load_explicit(&p->job, memory_order_acquire);
        if (atomic_load(&p->stop))
            return NULL;
        pool_work(p, seen, start.worker);
    }
}

/* The ranges hold the job's parts from here on. */
static void pool_cut(struct pool *p, unsigned job)
{
    const int64_t units = pool_units(p);
    p->parts = units < (int64_t)p->n * POOL_PARTS ? (int)units : p->n * POOL_PARTS;
    atomic_store_explicit(&p->done, 0, memory_order_relaxed);
    for (int w = 0; w < p->n; w++) {
        const uint64_t begin = (uint64_t)(p->parts * w / p->n),
                       end = (uint64_t)(p->parts * (w + 1) / p->n);
        atomic_store_explicit(&p->range[w].word, (uint64_t)job << 32 | begin << 16 | end,
                              memory_order_release);
    }
}

static void pool_post(struct pool *p)
{
    atomic_fetch_add(&p->job, 1);
    if (atomic_load(&p->parked) > 0) { /* a worker that parks after this load sees the new job */
        pthread_mutex_lock(&p->lock);
        pthread_cond_broadcast(&p->wake);
        pthread_mutex_unlock(&p->lock);
    }
}

void pool_run_grain(struct pool *p, int64_t n, int64_t grain, pool_fn fn, void *arg)
{
    if (n <= 0)
        return;
    CHECK(grain > 0);
    p->fn = fn;
    p->arg = arg;
    if (p->n == 1 || n <= grain) {
        pool_part(p, 0, n, 0);
        return;
    }
    p->items = n;
    p->grain = grain;
    const unsigned job = atomic_load_explicit(&p->job, memory_order_relaxed) + 1;
    pool_cut(p, job);
    pool_post(p);
    pool_work(p, job, 0);
    for (int i = 0; atomic_load_explicit(&p->done, memory_order_acquire) < p->parts; i++) {
        if (i < POOL_SPIN)
            pool_pause();
        else
            sched_yield(); /* the worker may need this very core */
    }
}

void pool_run(struct pool *p, int64_t n, pool_fn fn, void *arg)
{
    pool_run_grain(p, n, 1, fn, arg);
}

/* Cores, less those that a quota of processor time does not pay for. */
static int pool_cores_in(const struct topology *t)
{
    const int quota = cgroup_cores(""), n = quota && quota < t->n_core ? quota : t->n_core;
    return n < 1 ? 1 : n > POOL_MAX ? POOL_MAX : n;
}

int pool_cores(void)
{
    struct topology t;
    topology_here(&t);
    return pool_cores_in(&t);
}

static int pool_start_thread(struct pool *p, int worker, int want, struct err *e)
{
    struct pool_start *start = mem_zalloc(1, sizeof *start);
    if (!start)
        return NOMEM(e, sizeof *start, "a thread of the pool");
    *start = (struct pool_start){p, worker};
    if (pthread_create(&p->thread[worker], NULL, pool_main, start)) {
        mem_free(start);
        FAIL(e, ERR_AGAIN, "cannot start thread %d of %d; lower --threads", worker + 1, want);
    }
    return 0;
}

int pool_open_on(int n_threads, const struct topology *topology, struct pool **out, struct err *e)
{
    int rc = 0;
    if (n_threads < 0 || n_threads > POOL_MAX)
        FAIL(e, ERR_USAGE, "bad thread count %d: must be 0 (all cores) to %d", n_threads, POOL_MAX);
    struct pool *p = mem_aligned(sizeof *p);
    if (!p)
        return NOMEM(e, sizeof *p, "thread pool");
    memset(p, 0, sizeof *p);
    p->topology = *topology;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    const int want = n_threads ? n_threads : pool_cores_in(topology);
    topology_share(topology, want, p->node);
    for (p->n = 1; p->n < want; p->n++)
        TRY_DONE(pool_start_thread(p, p->n, want, e));
    *out = p;
    return 0;
done:
    pool_close(p);
    return rc;
}

int pool_open(int n_threads, struct pool **out, struct err *e)
{
    struct topology t;
    topology_here(&t);
    return pool_open_on(n_threads, &t, out, e);
}

const struct topology *pool_topology(const struct pool *p)
{
    return &p->topology;
}

int pool_node(const struct pool *p, int worker)
{
    return p->node[worker];
}

bool pool_home(const struct pool *p, int64_t n, size_t bytes, void *data)
{
    bool taken = true;
    for (int k = 0; k < p->topology.n_node; k++) {
        long long begin, end;
        topology_items(p->node, p->n, k, n, &begin, &end);
        taken &= topology_bind_memory(&p->topology, k, (char *)data + (size_t)begin * bytes,
                                      (size_t)(end - begin) * bytes);
    }
    return taken;
}

void pool_close(struct pool *p)
{
    if (!p)
        return;
    atomic_store(&p->stop, true);
    pool_post(p);
    for (int i = 1; i < p->n; i++)
        pthread_join(p->thread[i], NULL);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    mem_free(p);
}

void pool_watch(struct pool *p, bool on)
{
    p->watched = on;
    memset(p->clock, 0, sizeof p->clock);
}

int pool_times(struct pool *p, struct pool_time *out, int most)
{
    for (int w = 0; w < p->n; w++) {
        if (w < most)
            out[w] = p->clock[w].t;
        p->clock[w].t = (struct pool_time){0};
    }
    return p->n;
}

int pool_threads(const struct pool *p)
{
    return p->n;
}
