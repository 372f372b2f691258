/*
 * mas bench kernels with failing calls of the CUDA runtime. One failure is a row with its message,
 * and all other kernels are measured. A device that stops ends the run. The output is always whole:
 * valid JSON, CSV with equal columns. mas bench compare reads such results.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "cmd.h"
#include "cushim_test.h"
#include "log.h"
#include "test.h"

enum { MOST_WORDS = 16 };

static struct err said; /* the last error of a mode */
static char dir[256], path[300];

int cmd_fail(const struct err *e)
{
    said = *e;
    return err_exit(e->code);
}

static int set_up(void **state)
{
    (void)state;
    test_mkdir(dir);
    snprintf(path, sizeof path, "%s/out", dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    cushim_reset();
    test_rmdir(dir);
    return 0;
}

/* Runs a mode with its output in the file `to` and nothing on standard error; its exit code. */
static int run(int (*mode)(int argc, char **argv), const char *to, const char *const *words)
{
    char *argv[MOST_WORDS] = {(char *)(uintptr_t) "bench"};
    int argc = 1;
    while (words[argc - 1]) {
        assert_true(argc < MOST_WORDS - 1);
        argv[argc] = (char *)(uintptr_t)words[argc - 1];
        argc++;
    }
    fflush(stdout);
    fflush(stderr);
    const int old_out = dup(1), old_err = dup(2);
    assert_non_null(freopen(to, "w", stdout));
    assert_non_null(freopen("/dev/null", "w", stderr));
    said = (struct err){0};
    const int code = mode(argc, argv);
    fflush(stdout);
    fflush(stderr);
    assert_true(dup2(old_out, 1) == 1 && dup2(old_err, 2) == 2);
    close(old_out);
    close(old_err);
    return code;
}

/* -o FORMAT of the kernels of one small op. */
static int kernels(const char *to, const char *format)
{
    const char *const words[] = {"--backend", "cudahost", "--op", "gather", "-r", "1",
                                 "-t",        "1",        "-o",   format,   NULL};
    return run(bench_kernels, to, words);
}

struct rows {
    size_t n, failed, best;
    bool printed;
};

/* Reads the JSON in `path`, which may be empty. */
static struct rows read_rows(const char *what)
{
    struct rows r = {0};
    json_error_t why;
    size_t n;
    char *text = test_read(path, &n);
    r.printed = n > 0;
    free(text);
    if (!r.printed)
        return r;
    json_t *doc = json_load_file(path, 0, &why), *row;
    if (!doc)
        fail_msg("%s: line %d of the output: %s", what, why.line, why.text);
    const json_t *rows = json_object_get(doc, "rows");
    size_t i;
    assert_true(json_is_array(rows));
    json_array_foreach(rows, i, row)
    {
        const char *message = json_string_value(json_object_get(row, "failed"));
        r.n++;
        r.failed += message && *message;
        r.best += json_is_true(json_object_get(row, "best"));
        if (!message)
            assert_true(json_number_value(json_object_get(row, "us")) > 0);
        assert_true(*json_string_value(json_object_get(row, "kernel")));
    }
    json_decref(doc);
    return r;
}

static struct rows clean;
static long calls;

static void without_failures_all_is_measured(void **state)
{
    (void)state;
    cushim_fail_at(0, 1);
    assert_int_equal(kernels(path, "json"), 0);
    calls = cushim_calls();
    clean = read_rows("no failure");
    assert_true(clean.n >= 4 && clean.failed == 0 && clean.best > 0 && calls > 100);
}

/* The n-th call fails once. */
static void one_failure_is_a_row_and_the_run_goes_on(void **state)
{
    (void)state;
    int rows = 0;
    for (long n = 1; n <= calls; n += 1 + calls / 50) {
        char what[64];
        snprintf(what, sizeof what, "call %ld of %ld", n, calls);
        cushim_fail_at(n, 1);
        const int code = kernels(path, "json");
        cushim_reset();
        const struct rows r = read_rows(what);
        if (!r.printed) { /* the device could not be opened or its ceiling not be measured */
            assert_true(code != 0 && code != 1);
            continue;
        }
        if (r.n != clean.n || r.failed > 1 || (code == 1) != (r.failed == 1) || code > 1)
            fail_msg("%s: exit code %d, %zu rows of %zu, %zu failed: %s", what, code, r.n, clean.n,
                     r.failed, said.msg);
        if (code == 1)
            assert_non_null(strstr(said.msg, "1 kernel of"));
        rows += r.failed == 1;
    }
    print_message("%d failures became a row\n", rows);
    assert_true(rows > 10);
}

/* All calls from the n-th on fail. */
static void a_device_that_stops_ends_the_run(void **state)
{
    (void)state;
    int ended = 0;
    for (long n = 1; n <= calls; n += 1 + calls / 25) {
        char what[64];
        snprintf(what, sizeof what, "all calls from %ld of %ld on", n, calls);
        cushim_fail_at(n, 0);
        const int code = kernels(path, "json");
        const bool reached = cushim_calls() >= n; /* a fast run makes fewer calls */
        cushim_reset();
        const struct rows r = read_rows(what);
        if (!reached)
            continue;
        if (code == 0 || code == 1 || (r.printed && r.failed != 1) || (r.printed && r.n > clean.n))
            fail_msg("%s: exit code %d, %zu rows, %zu failed: %s", what, code, r.n, r.failed,
                     said.msg);
        if (r.printed)
            assert_non_null(strstr(said.msg, "the device stopped"));
        ended += r.printed && r.n < clean.n;
    }
    print_message("%d runs ended early\n", ended);
    assert_true(ended > 3);
}

static void every_format_has_failed_rows(void **state)
{
    (void)state;
    static const char *const format[] = {"md", "csv", "html"};
    for (int i = 0; i < 3; i++) {
        size_t n;
        cushim_fail_at(calls * 2 / 3, 1);
        const int code = kernels(path, format[i]);
        cushim_reset();
        char *text = test_read(path, &n);
        assert_int_equal(code, 1);
        if (i == 0)
            assert_non_null(strstr(text, "| failed: "));
        if (i == 2)
            assert_non_null(strstr(text, "Some kernels failed and have no row"));
        int commas = 0, first = -1, quoted = 0;
        for (const char *s = text; i == 1 && *s; s++) {
            quoted ^= *s == '"';
            commas += *s == ',' && !quoted;
            if (*s != '\n')
                continue;
            if (first >= 0 && commas != first)
                fail_msg("a line of the CSV has %d commas, its head %d", commas, first);
            first = commas;
            commas = 0;
        }
        free(text);
    }
}

static void compare_reads_failed_rows(void **state)
{
    (void)state;
    char whole[300], table[300];
    size_t n;
    snprintf(whole, sizeof whole, "%s/whole", dir);
    snprintf(table, sizeof table, "%s/table", dir);
    cushim_fail_at(0, 1);
    assert_int_equal(kernels(whole, "json"), 0);
    cushim_fail_at(calls * 2 / 3, 1);
    assert_int_equal(kernels(path, "json"), 1);
    cushim_reset();
    /* a kernel that fails in B is as bad as a slower one; one that failed in A is not */
    for (int i = 0; i < 3; i++) {
        const char *const words[] = {"--threshold", "0.01", i == 1 ? path : whole,
                                     i == 0   ? path
                                     : i == 1 ? whole
                                              : whole,
                                     NULL};
        const int code = run(bench_compare, table, words);
        char *text = test_read(table, &n);
        if (code != (i == 0))
            fail_msg("compare %d: exit code %d: %s", i, code, said.msg);
        if (i < 2)
            assert_non_null(strstr(text, i ? "failed in A: " : "failed in B: "));
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_failures_all_is_measured),
        cmocka_unit_test(one_failure_is_a_row_and_the_run_goes_on),
        cmocka_unit_test(a_device_that_stops_ends_the_run),
        cmocka_unit_test(every_format_has_failed_rows),
        cmocka_unit_test(compare_reads_failed_rows),
    };
    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
