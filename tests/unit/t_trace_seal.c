/* A trace that is read while another process seals it, or goes on with the sealed one. */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "replay.h"
#include "script.h"
#include "test.h"
#include "trace.h"
#include "zio.h"

enum { QUESTIONS = 6, READS = 400 };

static char dir[256];

static void in(const char *name, char out[512])
{
    snprintf(out, 512, "%s/%s", dir, name);
}

static void put(const char *name, const char *s, size_t n)
{
    char path[512];
    in(name, path);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(s, 1, n, f) != n || fclose(f) != 0)
        _exit(1);
}

/* Without end: puts one form of the trace beside the other, and removes the other. So do trace_seal
 * and trace_open of a run that goes on. */
static void seal_and_unseal(const char *s, size_t n, const struct str *gz)
{
    char from[512], plain[512], sealed[512];
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves no process */
    in("new", from);
    in("traces.jsonl", plain);
    in("traces.jsonl.gz", sealed);
    for (;;) {
        put("new", gz->s, gz->len);
        if (rename(from, sealed) != 0 || unlink(plain) != 0)
            _exit(1);
        put("new", s, n);
        if (rename(from, plain) != 0 || unlink(sealed) != 0)
            _exit(1);
    }
}

static void a_trace_is_read_while_its_form_changes(void **state)
{
    (void)state;
    struct err e;
    struct bench bench;
    struct medqa m = {.n = 0};
    struct str gz = STR_INIT;
    char path[512];
    size_t n;
    bench_mkdir(dir);
    bench_open(&bench, 9, (const char *[]){NULL});
    bench_questions(&m, QUESTIONS);
    ok(bench_run(&bench, &m, dir, 2, NULL, &e));
    in("traces.jsonl", path);
    char *s = test_read(path, &n);
    ok(zio_gzip(s, n, &gz, &e));
    const pid_t other = fork();
    if (other == 0)
        seal_and_unseal(s, n, &gz);
    for (int i = 0; i < READS; i++) {
        struct trace_run run;
        struct replay r;
        ok(trace_read(dir, &run, &e));
        assert_int_equal(run.results.n, QUESTIONS);
        trace_run_free(&run);
        ok(replay_open(dir, &r, &e));
        assert_int_equal(r.results.n, QUESTIONS);
        replay_free(&r);
    }
    assert_int_equal(waitpid(other, NULL, WNOHANG), 0); /* it never stopped */
    kill(other, SIGKILL);
    waitpid(other, NULL, 0);
    free(s);
    str_free(&gz);
    bench_close(&bench);
    medqa_free(&m);
    test_rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_trace_is_read_while_its_form_changes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
