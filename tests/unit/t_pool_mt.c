/* The thread pool: every item runs once for every split. Also run under TSan. */
#include "clock.h"
#include "pool.h"
#include "test.h"

#include <sched.h>
#include <stdatomic.h>
#include <sys/stat.h>

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

static void siblings(const char *dir, int cpu, const char *list)
{
    char path[512];
    const char *const parts[] = {"", "/topology"};
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/cpu%d%s", dir, cpu, parts[i]);
        assert_int_equal(mkdir(path, 0700), 0);
    }
    snprintf(path, sizeof path, "%s/cpu%d/topology/thread_siblings_list", dir, cpu);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(list, f);
    fclose(f);
}

/* Two processors of one core count once; if only the second may be used, it counts. */
static void a_core_counts_once(void **state)
{
    (void)state;
    char dir[256];
    test_mkdir(dir);
    siblings(dir, 0, "0,4\n");
    siblings(dir, 4, "0,4\n");
    siblings(dir, 1, "1,5\n");
    siblings(dir, 5, "1,5\n");
    siblings(dir, 2, "2-3\n");
    siblings(dir, 3, "2-3\n");
    siblings(dir, 6, "6\n");
    bool allowed[8] = {true, true, true, true, true, true, true, true}; /* 7 says nothing */
    assert_int_equal(pool_cores_of(dir, allowed, 8), 5);
    allowed[0] = allowed[2] = allowed[7] = false;
    assert_int_equal(pool_cores_of(dir, allowed, 8), 4);
    assert_int_equal(pool_cores_of(dir, allowed, 1), 0);
    assert_true(pool_cores() >= 1);
    test_rmdir(dir);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pool_covers_every_item_once),
        cmocka_unit_test(a_core_counts_once),
        cmocka_unit_test(jobs_follow_each_other),
        cmocka_unit_test(a_worker_that_is_late_keeps_what_it_has_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
