/* An evaluation of 1,273 questions, killed with SIGKILL at random moments and started again until it is
 * complete: each question exactly once, results as if nothing had happened. */
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "rng.h"
#include "script.h"
#include "test.h"

#define QUESTIONS 1273
#define KILLS 200

static const char *const sets[] = {"planner.top_k=2", "planner.selection=random", NULL};

/* One process's share of the run; never returns. A child that finishes everything exits 0. */
static void child(const struct medqa *m, const char *dir, uint64_t order)
{
    struct bench b;
    struct err e = {.code = 0};
    bench_open(&b, order, sets);
    int rc = bench_run(&b, m, dir, 1 + (int)(order % 9), NULL, &e);
    if (rc < 0)
        fprintf(stderr, "child: %s\n", e.msg);
    _exit(rc < 0 ? 2 : 0);
}

static void wait_ns(long ns)
{
    struct timespec t = {.tv_nsec = ns};
    nanosleep(&t, NULL);
}

static void a_run_killed_200_times_ends_as_an_uninterrupted_one(void **state)
{
    (void)state;
    struct err e;
    struct bench b;
    struct medqa m = {.n = 0};
    struct str want = STR_INIT, got = STR_INIT;
    char whole[256], dir[256];
    int kills = 0, status = -1;
    bench_mkdir(whole);
    bench_mkdir(dir);
    bench_questions(&m, QUESTIONS);
    bench_open(&b, 1, sets);
    ok(bench_run(&b, &m, whole, 8, NULL, &e));
    bench_cases(whole, &want);
    for (uint64_t round = 0;; round++) {
        fflush(NULL);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
            child(&m, dir, round);
        /* 1 to 9 ms while kills are due: long enough for some cases, too short for many */
        if (kills < KILLS) {
            wait_ns(1000000 + (long)rng_below(rng_key(7, round, 0), 0, 8000000));
            kill(pid, SIGKILL);
        }
        while (waitpid(pid, &status, 0) < 0)
            assert_int_equal(errno, EINTR);
        kills += WIFSIGNALED(status);
        if (!WIFSIGNALED(status)) { /* finished, perhaps before all kills: then start once more */
            assert_int_equal(WEXITSTATUS(status), 0);
            if (kills >= KILLS)
                break;
            test_rmdir(dir);
            bench_mkdir(dir);
        }
    }
    bench_cases(dir, &got);
    assert_int_equal(got.len, want.len);
    assert_string_equal(got.s, want.s);
    print_message("%d kills\n", kills);
    str_free(&want);
    str_free(&got);
    medqa_free(&m);
    bench_close(&b);
    test_rmdir(whole);
    test_rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_killed_200_times_ends_as_an_uninterrupted_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
