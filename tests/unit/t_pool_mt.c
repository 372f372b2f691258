/* The thread pool: every item runs once for every split. Also run under TSan. */
#define _GNU_SOURCE /* sched_getaffinity */
#include "clock.h"
#include "pool.h"
#include "test.h"

#include <sched.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

struct cover {
    unsigned char *seen;
    int64_t grain;
};

static void mark(void *arg, int64_t begin, int64_t end, int worker)
{
    struct cover *c = arg;
    (void)worker;
    assert_true(begin % c->grain == 0);
    for (int64_t i = begin; i < end; i++)
        c->seen[i]++;
}

static void pool_covers_every_item_once(void **state)
{
    (void)state;
    struct err e;
    unsigned char seen[1000];
    for (int threads = 1; threads <= 5; threads++) {
        struct pool *p;
        ok(pool_open(threads, &p, &e));
        for (int64_t n = 0; n < 1000; n = n * 3 / 2 + 1)
            for (int64_t grain = 1; grain <= 32; grain *= 4) {
                struct cover c = {seen, grain};
                memset(seen, 0, sizeof seen);
                pool_run_grain(p, n, grain, mark, &c);
                for (int64_t i = 0; i < 1000; i++)
                    assert_int_equal(seen[i], i < n);
            }
        pool_close(p);
    }
    struct pool *none = NULL;
    fails(pool_open(-1, &none, &e), ERR_USAGE, "-1");
}

/* On a machine with two nodes each thread that the pool starts stays on its node; on one with one
 * node nobody is bound. The nodes are invented, the processors are those of this machine. */
struct bound {
    cpu_set_t mask[2];
    atomic_int seen[2];
};

static void look(void *arg, int64_t begin, int64_t end, int worker)
{
    struct bound *b = arg;
    (void)begin, (void)end;
    if (atomic_fetch_add(&b->seen[worker], 1) == 0)
        sched_getaffinity(0, sizeof b->mask[worker], &b->mask[worker]);
    for (int i = 0; i < 2000 && !atomic_load(&b->seen[!worker]); i++)
        usleep(100); /* let the other one take a part */
}

static void threads_stay_on_their_node(void **state)
{
    (void)state;
    struct topology here, t;
    struct err e;
    cpu_set_t mine;
    topology_here(&here);
    assert_int_equal(sched_getaffinity(0, sizeof mine, &mine), 0);
    if (here.n_cpu < 2) {
        print_message("skipped: one processor\n");
        skip();
    }
    t = (struct topology){.n_cpu = 2,
                          .n_core = 2,
                          .n_node = 2,
                          .node = {0, 1},
                          .cores = {1, 1},
                          .cpu = {here.cpu[0], here.cpu[1]},
                          .core_of = {here.cpu[0], here.cpu[1]},
                          .index_of = {0, 1}};
    for (int nodes = 2; nodes >= 1; nodes--) {
        struct bound b = {0};
        struct pool *p;
        t.n_node = nodes;
        t.cores[0] = nodes == 2 ? 1 : 2;
        ok(pool_open_on(2, &t, &p, &e));
        assert_int_equal(pool_node(p, 0), 0);
        assert_int_equal(pool_node(p, 1), nodes - 1);
        pool_run(p, 2, look, &b);
        assert_true(CPU_EQUAL(&b.mask[0], &mine)); /* the caller is not bound */
        if (nodes == 2) {
            assert_int_equal(CPU_COUNT(&b.mask[1]), 1);
            assert_true(CPU_ISSET((size_t)here.cpu[1], &b.mask[1]));
        } else {
            assert_true(CPU_EQUAL(&b.mask[1], &mine));
        }
        pool_close(p);
    }
    assert_true(pool_cores() >= 1);
}

struct sums {
    const int64_t *x;
    int64_t *y;
};

static void square(void *arg, int64_t begin, int64_t end, int worker)
{
    struct sums *s = arg;
    (void)worker;
    for (int64_t i = begin; i < end; i++)
        s->y[i] += s->x[i] * s->x[i];
}

/* Jobs in quick succession, and with pauses in which the workers park: each job sees the results of
 * the previous one. */
static void jobs_follow_each_other(void **state)
{
    (void)state;
    struct err e;
    struct pool *p;
    int64_t x[257], y[257] = {0};
    struct sums s = {x, y};
    ok(pool_open(4, &p, &e));
    for (int64_t i = 0; i < 257; i++)
        x[i] = i;
    for (int round = 0; round < 500; round++) {
        pool_run(p, 257, square, &s);
        for (volatile int spin = 0; round % 50 == 0 && spin < 2000000; spin++)
            ; /* longer than the workers' spin */
    }
    for (int64_t i = 0; i < 257; i++)
        assert_int_equal(y[i], 500 * i * i);
    pool_close(p);
}

struct late {
    atomic_int rest;  /* items done by the caller */
    atomic_bool held; /* a worker has one item, and keeps it until all others are done */
};

static void hold_one(void *arg, int64_t begin, int64_t end, int worker)
{
    struct late *l = arg;
    bool none = false;
    const int64_t t0 = clock_ns();
    if (worker == 0) {
        while (!atomic_load(&l->held) && clock_ns() - t0 < 1000000000)
            sched_yield();
        atomic_fetch_add(&l->rest, (int)(end - begin));
    } else if (atomic_compare_exchange_strong(&l->held, &none, true))
        while (atomic_load(&l->rest) < 7 && clock_ns() - t0 < 20000000000)
            sched_yield();
}

/* While a worker is held up, others do the items that it has not taken yet. */
static void a_worker_that_is_late_keeps_what_it_has_and_no_more(void **state)
{
    (void)state;
    struct err e;
    struct pool *p;
    bool held = false;
    ok(pool_open(2, &p, &e));
    for (int round = 0; round < 20 && !held; round++) {
        struct late l = {0, false};
        pool_run(p, 8, hold_one, &l);
        held = atomic_load(&l.held);
        if (held)
            assert_int_equal(atomic_load(&l.rest), 7);
    }
    assert_true(held);
    pool_close(p);
}

static void nap(void *arg, int64_t begin, int64_t end, int worker)
{
    const struct timespec ms = {0, 1000000};
    (void)arg, (void)worker;
    for (int64_t i = begin; i < end; i++)
        nanosleep(&ms, NULL);
}

/* Every worker's time inside parts is counted; a read forgets it. */
static void a_watched_pool_counts_the_time_of_each_worker(void **state)
{
    (void)state;
    struct err e;
    struct pool *p;
    struct pool_time t[4];
    for (int threads = 1; threads <= 4; threads += 3) {
        ok(pool_open(threads, &p, &e));
        pool_run(p, 16, nap, NULL);
        assert_int_equal(pool_times(p, t, 4), threads);
        for (int w = 0; w < threads; w++) /* not watched yet */
            assert_true(!t[w].busy_ns && !t[w].begin_ns && !t[w].end_ns);
        pool_watch(p, true);
        const int64_t t0 = clock_ns();
        pool_run(p, 16, nap, NULL);
        const int64_t t1 = clock_ns();
        assert_int_equal(pool_times(p, t, 4), threads);
        int64_t busy = 0;
        for (int w = 0; w < threads; w++) {
            busy += t[w].busy_ns;
            if (!t[w].busy_ns) /* the others were faster */
                continue;
            assert_true(t0 <= t[w].begin_ns && t[w].begin_ns < t[w].end_ns && t[w].end_ns <= t1);
            assert_true(t[w].busy_ns <= t[w].end_ns - t[w].begin_ns);
        }
        assert_true(busy >= 16 * 1000000 && busy <= threads * (t1 - t0));
        t[0] = (struct pool_time){1, 1, 1};
        pool_times(p, t, 0);
        assert_int_equal(t[0].busy_ns, 1); /* nothing is written after `most` */
        pool_run(p, 1, nap, NULL);         /* one item: the caller alone */
        pool_times(p, t, 4);
        assert_true(t[0].busy_ns >= 1000000 && t[0].end_ns - t[0].begin_ns == t[0].busy_ns);
        for (int w = 1; w < threads; w++)
            assert_int_equal(t[w].busy_ns, 0);
        pool_watch(p, false);
        pool_run(p, 16, nap, NULL);
        pool_times(p, t, 4);
        assert_int_equal(t[0].busy_ns, 0);
        pool_close(p);
    }
}

/* Results of a watched pool are those of any other. */
static void a_watched_pool_covers_every_item_once(void **state)
{
    (void)state;
    struct err e;
    struct pool *p;
    struct pool_time t[3];
    unsigned char seen[1000];
    ok(pool_open(3, &p, &e));
    pool_watch(p, true);
    for (int round = 0; round < 300; round++) {
        struct cover c = {seen, 4};
        memset(seen, 0, sizeof seen);
        pool_run_grain(p, 3 * round, 4, mark, &c);
        if (round % 3 == 0)
            pool_times(p, t, 3);
        for (int64_t i = 0; i < 1000; i++)
            assert_int_equal(seen[i], i < 3 * round);
    }
    pool_close(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pool_covers_every_item_once),
        cmocka_unit_test(threads_stay_on_their_node),
        cmocka_unit_test(jobs_follow_each_other),
        cmocka_unit_test(a_worker_that_is_late_keeps_what_it_has_and_no_more),
        cmocka_unit_test(a_watched_pool_counts_the_time_of_each_worker),
        cmocka_unit_test(a_watched_pool_covers_every_item_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
