/* Traces that several holders of a lease wrote: each case once, by a fixed rule. */
#include <sys/stat.h>
#include <unistd.h>

#include "lease.h"
#include "script.h"
#include "test.h"
#include "trace_parts.h"
#include "zio.h"

static int64_t now_ns;

static int64_t clock_of(void *user)
{
    (void)user;
    return now_ns;
}

static void sleep_of(void *user, double s)
{
    (void)user;
    now_ns += (int64_t)(s * 1e9);
}

static const struct lease_self hosts[] = {{"n1", "boot-1", "space", 10, 100},
                                          {"n2", "boot-2", "space", 10, 100},
                                          {"n3", "boot-3", "space", 10, 100}};

/* The lease of host i; the holders before it are silent. */
static struct lease *take(const char *dir, int i)
{
    struct lease *l = NULL;
    struct err e;
    const struct lease_options o = {
        .dir = dir, .what = "the shard", .self = &hosts[i], .clock = clock_of, .sleep = sleep_of};
    ok(lease_take(&o, &l, &e));
    return l;
}

static struct trace *open_trace(const char *dir, const struct medqa *m, struct lease *l)
{
    struct trace *t = NULL;
    struct err e;
    const struct trace_options to = {
        .dir = dir, .identity = "{\"a\": 1}", .about = "{}", .data = m, .lease = l};
    ok(trace_open(&to, &t, &e));
    return t;
}

/* Answers the questions up to the n-th with this strategy seed. */
static int answer(struct trace *t, const struct medqa *m, size_t n, const char *seed, struct err *e)
{
    struct bench b;
    bench_open(&b, 1, (const char *[]){"planner.top_k=2", seed, NULL});
    const struct run_options o = {.env = &b.env,
                                  .question = m->question,
                                  .n = n,
                                  .trace = t,
                                  .concurrency = 1,
                                  .clock = bench_clock};
    const int rc = run_questions(&o, NULL, e);
    bench_close(&b);
    return rc;
}

static char *path_of(const char *dir, const char *name, char out[300])
{
    snprintf(out, 300, "%s/%s", dir, name);
    return out;
}

static void append(const char *dir, const char *name, const char *s, size_t n)
{
    char path[300];
    FILE *f = fopen(path_of(dir, name, path), "ab");
    assert_non_null(f);
    assert_int_equal(fwrite(s, 1, n, f), n);
    fclose(f);
}

static void holders_write_parts_of_their_own(void **state)
{
    (void)state;
    struct medqa m = {.n = 0};
    struct trace_run r;
    struct err e;
    char dir[256], path[300];
    size_t n = 0;
    bench_mkdir(dir);
    bench_questions(&m, 12);
    struct lease *a = take(dir, 0);
    struct trace *first = open_trace(dir, &m, a);
    ok(answer(first, &m, 5, "seed=1", &e));
    /* the first holder is silent: the second one sees its cases and goes on */
    struct lease *b = take(dir, 1);
    struct trace *second = open_trace(dir, &m, b);
    assert_int_equal(trace_results(second)->n, 5);
    ok(answer(second, &m, 8, "seed=1", &e));
    /* the first one wakes up: it writes nothing */
    fails(answer(first, &m, 8, "seed=1", &e), ERR_CREATE, "taken over by process 10 on host n2");
    char *part = test_read(path_of(dir, "traces-0001.jsonl", path), &n);
    free(part);
    /* a write that was on its way all the same: cases that the second has, and one cut short */
    part = test_read(path_of(dir, "traces-0002.jsonl", path), &n);
    append(dir, "traces-0001.jsonl", part, n);
    append(dir, "traces-0001.jsonl", part, 40);
    free(part);
    ok(trace_read(dir, &r, &e));
    assert_int_equal(r.results.n, 8);
    assert_non_null(strstr(r.notes.s, "40 bytes of an unfinished case left out"));
    trace_run_free(&r);
    ok(answer(second, &m, 12, "seed=1", &e));
    ok(trace_seal(second, &e));
    assert_int_equal(access(path_of(dir, "traces-0001.jsonl", path), F_OK), -1);
    assert_int_equal(access(path_of(dir, "traces-0002.jsonl", path), F_OK), -1);
    ok(trace_read(dir, &r, &e));
    assert_int_equal(r.results.n, 12);
    trace_run_free(&r);
    trace_close(first);
    trace_close(second);
    lease_give(a);
    lease_give(b);
    medqa_free(&m);
    test_rmdir(dir);
}

/* The text of a part that the strategy wrote with this seed, for the same questions. */
static void part_of(const struct medqa *m, const char *seed, struct str *out)
{
    struct err e;
    char dir[256], path[300];
    size_t n = 0;
    bench_mkdir(dir);
    struct lease *l = take(dir, 0);
    struct trace *t = open_trace(dir, m, l);
    ok(answer(t, m, m->n, seed, &e));
    char *s = test_read(path_of(dir, "traces-0001.jsonl", path), &n);
    str_add(out, s, n);
    free(s);
    trace_close(t);
    lease_give(l);
    test_rmdir(dir);
}

static void the_highest_number_that_has_a_case_gives_it(void **state)
{
    (void)state;
    struct medqa m = {.n = 0};
    struct str one = STR_INIT, two = STR_INIT, got = STR_INIT;
    struct folder f = {.lock = -1};
    struct err e;
    char dir[256];
    size_t unfinished = 0;
    bench_mkdir(dir);
    bench_questions(&m, 6);
    part_of(&m, "seed=1", &one);
    part_of(&m, "seed=2", &two);
    assert_string_not_equal(one.s, two.s);
    ok(folder_make(&f, dir, &e));
    append(dir, "traces-0001.jsonl", one.s, one.len);
    append(dir, "traces-0010.jsonl", two.s, two.len);
    append(dir, "traces-9.jsonl.bad", "x", 1);
    ok(trace_parts_text(&f, &got, &unfinished, &e));
    assert_string_equal(got.s, two.s);
    /* the sealed file goes before all parts */
    str_clear(&got);
    struct str gz = STR_INIT;
    ok(zio_gzip(one.s, one.len, &gz, &e));
    append(dir, "traces.jsonl.gz", gz.s, gz.len);
    ok(trace_parts_text(&f, &got, &unfinished, &e));
    assert_string_equal(got.s, one.s);
    assert_int_equal(unfinished, 0);
    str_free(&gz);
    /* damage is named by its file and line */
    two.s[two.len / 2] ^= 1;
    append(dir, "traces-0011.jsonl", two.s, two.len);
    fails(trace_parts_text(&f, &got, &unfinished, &e), ERR_DATA, "traces-0011.jsonl:");
    str_free(&one);
    str_free(&two);
    str_free(&got);
    medqa_free(&m);
    test_rmdir(dir);
}

static void damage_is_repaired_into_the_own_part(void **state)
{
    (void)state;
    struct medqa m = {.n = 0};
    struct trace *t = NULL;
    struct trace_run r;
    struct str text = STR_INIT;
    struct err e;
    char dir[256], path[300];
    bench_mkdir(dir);
    bench_questions(&m, 6);
    part_of(&m, "seed=1", &text);
    text.s[text.len / 2] ^= 1;
    append(dir, "traces-0001.jsonl", text.s, text.len);
    struct lease *l = take(dir, 0);
    lease_give(l);
    l = take(dir, 1); /* number 2 */
    struct trace_options to = {
        .dir = dir, .identity = "{\"a\": 1}", .about = "{}", .data = &m, .lease = l};
    fails(trace_open(&to, &t, &e), ERR_CONFIG, "holds traces but no run.json");
    unlink(path_of(dir, "traces-0001.jsonl", path));
    t = open_trace(dir, &m, l);
    trace_close(t);
    append(dir, "traces-0001.jsonl", text.s, text.len);
    fails(trace_open(&to, &t, &e), ERR_DATA, "traces-0001.jsonl:");
    to.repair = true;
    ok(trace_open(&to, &t, &e));
    assert_int_equal(trace_results(t)->n, 5);
    assert_int_equal(access(path_of(dir, "traces-0001.jsonl.bad", path), F_OK), 0);
    ok(answer(t, &m, 6, "seed=1", &e));
    ok(trace_seal(t, &e));
    trace_close(t);
    ok(trace_read(dir, &r, &e));
    assert_int_equal(r.results.n, 6);
    trace_run_free(&r);
    lease_give(l);
    str_free(&text);
    medqa_free(&m);
    test_rmdir(dir);
}

/* The trace of a run in which every question fails. */
static void failures_of(const struct medqa *m, struct str *out)
{
    struct bench b;
    struct err e;
    char dir[256], path[300];
    bench_mkdir(dir);
    bench_open(&b, 1, (const char *[]){"strategy=cot", NULL});
    b.script.mood = SCRIPT_ERROR;
    b.script.error = ERR_DATA;
    ok(bench_run(&b, m, dir, 1, NULL, &e));
    ok(zio_read(path_of(dir, "traces.jsonl", path), TRACE_BYTES, out, &e));
    bench_close(&b);
    test_rmdir(dir);
}

static void has_retried(const char *dir, size_t results, size_t attempts, size_t files)
{
    struct trace_run r;
    struct err e;
    ok(trace_read(dir, &r, &e));
    assert_int_equal(r.results.n, results);
    assert_int_equal(retried_questions(&r.retried), attempts);
    assert_int_equal(retried_attempts(&r.retried), attempts);
    assert_int_equal(json_object_size(r.retried.files), files);
    trace_run_free(&r);
}

static void failures_are_taken_out_of_every_file_up_to_the_records_asked_for(void **state)
{
    (void)state;
    struct medqa m = {.n = 0};
    struct trace *t = NULL;
    struct str text = STR_INIT;
    struct err e;
    char dir[256], path[300];
    bench_mkdir(dir);
    bench_questions(&m, 6);
    failures_of(&m, &text);
    struct lease *l = take(dir, 0);
    trace_close(open_trace(dir, &m, l));
    append(dir, "traces.jsonl", text.s, text.len); /* of a run without a lease */
    has_retried(dir, 6, 0, 0);
    struct trace_options to = {.dir = dir,
                               .identity = "{\"a\": 1}",
                               .about = "{}",
                               .data = &m,
                               .lease = l,
                               .asked = 4,
                               .retry_failed = true};
    ok(trace_open(&to, &t, &e));
    assert_non_null(strstr(trace_notes(t), "4 failed questions are asked again"));
    assert_int_equal(trace_results(t)->n, 2);
    trace_close(t);
    assert_int_not_equal(access(path_of(dir, "traces.jsonl", path), F_OK), 0);
    assert_int_equal(access(path_of(dir, "traces.jsonl.old", path), F_OK), 0);
    has_retried(dir, 2, 4, 1);
    ok(trace_open(&to, &t, &e)); /* nothing is left to take out */
    assert_null(strstr(trace_notes(t), "asked again"));
    trace_close(t);
    has_retried(dir, 2, 4, 1);
    to.asked = 0;
    ok(trace_open(&to, &t, &e));
    assert_int_equal(trace_results(t)->n, 0);
    assert_int_equal(access(path_of(dir, "traces-0001.jsonl.old", path), F_OK), 0);
    ok(answer(t, &m, 6, "seed=1", &e));
    ok(trace_seal(t, &e));
    trace_close(t);
    has_retried(dir, 6, 6, 2);
    lease_give(l);
    str_free(&text);
    medqa_free(&m);
    test_rmdir(dir);
}

static void a_shard_is_not_written_without_its_lease(void **state)
{
    (void)state;
    struct medqa m = {.n = 0};
    struct trace *t = NULL;
    struct err e;
    char dir[256];
    bench_mkdir(dir);
    bench_questions(&m, 3);
    struct trace_options to = {.dir = dir, .identity = "{\"a\": 1}", .about = "{}", .data = &m};
    struct lease *l = take(dir, 0);
    fails(trace_open(&to, &t, &e), ERR_CREATE, "is held by process 10 on host n1");
    struct trace *own = open_trace(dir, &m, l);
    ok(answer(own, &m, 2, "seed=1", &e));
    trace_close(own);
    lease_give(l);
    fails(trace_open(&to, &t, &e), ERR_USAGE, "is a shard that is not finished");
    medqa_free(&m);
    test_rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(holders_write_parts_of_their_own),
        cmocka_unit_test(the_highest_number_that_has_a_case_gives_it),
        cmocka_unit_test(damage_is_repaired_into_the_own_part),
        cmocka_unit_test(failures_are_taken_out_of_every_file_up_to_the_records_asked_for),
        cmocka_unit_test(a_shard_is_not_written_without_its_lease),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
