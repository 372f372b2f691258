/* An evaluation of 1,273 questions, killed with SIGKILL at random moments and restarted until it is
 * complete. Each question is answered once, and results equal those of an undisturbed run. */
#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
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

static off_t trace_size(const char *dir)
{
    char path[300];
    struct stat st;
    snprintf(path, sizeof path, "%s/traces.jsonl", dir);
    return stat(path, &st) == 0 ? st.st_size : 0;
}

/* Kills the child after it has written 0 to 11 more cases (6 KB each) and up to 0.5 ms have passed.
 * So the kill hits any moment from its start to the middle of a write. Gives up when the child has
 * ended. */
static void kill_later(pid_t pid, const char *dir, uint64_t key)
{
    off_t until = trace_size(dir) + (off_t)rng_below(key, 0, 12) * 6000;
    siginfo_t ended = {.si_pid = 0};
    while (trace_size(dir) < until && ended.si_pid == 0) {
        wait_ns(50000);
        assert_int_equal(waitid(P_PID, (id_t)pid, &ended, WEXITED | WNOHANG | WNOWAIT), 0);
    }
    wait_ns((long)rng_below(key, 1, 500000));
    kill(pid, SIGKILL);
}

static size_t finished(const char *dir)
{
    struct str s = STR_INIT;
    test_run(&s, "grep -c '^{\"case\"' '%s/traces.jsonl'", dir);
    size_t n = (size_t)atol(s.s);
    str_free(&s);
    return n;
}

/* Number of torn tails that were found and set aside. */
static size_t torn(const char *dir)
{
    struct str s = STR_INIT;
    test_run(&s, "ls '%s' | grep -c tail.bad", dir);
    size_t n = (size_t)atol(s.s);
    str_free(&s);
    return n;
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
        if (kills < KILLS)
            kill_later(pid, dir, rng_key(7, round, 0));
        while (waitpid(pid, &status, 0) < 0)
            assert_int_equal(errno, EINTR);
        kills += WIFSIGNALED(status);
        if (kills == KILLS && WIFSIGNALED(status))
            print_message("after %d kills %zu of %d questions are finished\n", kills, finished(dir),
                          QUESTIONS);
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
    print_message("%d kills, %zu of them cut a case in its writing\n", kills, torn(dir));
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
