/* The folder of a run: torn tails, damage, locks, full disks, sealing. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "report.h"
#include "script.h"
#include "test.h"
#include "trace_scan.h"
#include "zio.h"

#define N 6 /* questions in the traces of these tests */

static char dir[256];
static struct bench bench;
static struct medqa questions;

static int setup(void **state)
{
    (void)state;
    bench_mkdir(dir);
    bench_open(&bench, 9, (const char *[]){"planner.top_k=3", NULL});
    bench_questions(&questions, N);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    bench_close(&bench);
    medqa_free(&questions);
    questions = (struct medqa){.n = 0};
    test_rmdir(dir);
    return 0;
}

static char *path(const char *name)
{
    static char buf[4][512];
    static int at;
    at = (at + 1) % 4;
    snprintf(buf[at], sizeof buf[at], "%s/%s", dir, name);
    return buf[at];
}

static void put(const char *name, const char *data, size_t n)
{
    FILE *f = fopen(path(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static bool exists(const char *name)
{
    struct stat st;
    return stat(path(name), &st) == 0;
}

static struct trace_options options(void)
{
    return (struct trace_options){
        .dir = dir, .identity = "{\"a\": {\"b\": 1}}", .about = "{}", .data = &questions};
}

/* A complete run, its file read back. */
static char *complete(size_t *n)
{
    struct err e;
    ok(bench_run(&bench, &questions, dir, 2, NULL, &e));
    return test_read(path("traces.jsonl"), n);
}

/* The offset after the last complete case of s[0..n); *cases = number of complete cases. */
static size_t good_end(const char *s, size_t n, size_t *cases)
{
    size_t good = 0;
    *cases = 0;
    for (size_t at = 0; at < n;) {
        const char *nl = memchr(s + at, '\n', n - at);
        if (!nl)
            break;
        size_t end = (size_t)(nl - s) + 1;
        if (!strncmp(s + at, "{\"case\"", 7)) {
            good = end;
            ++*cases;
        }
        at = end;
    }
    return good;
}

/* The offset of the last k cases. */
static size_t last_cases(const char *s, size_t n, size_t k)
{
    size_t all, cases, at = n;
    good_end(s, n, &all);
    do
        at = good_end(s, at - 1, &cases);
    while (cases > all - k);
    return at;
}

static void a_cut_at_every_byte_of_the_last_cases_loses_only_the_unfinished_one(void **state)
{
    (void)state;
    struct err e;
    size_t n, from;
    char *whole = complete(&n);
    struct trace_options to = options();
    from = last_cases(whole, n, 1);
    assert_true(from > 0 && from < n);
    /* every byte of the last case and of all line ends, every 7th byte of the two cases before */
    for (size_t cut = last_cases(whole, n, 3); cut < n;
         cut += cut < from && whole[cut] != '}' ? 7 : 1) {
        struct trace *t = NULL;
        size_t cases = 0, good = good_end(whole, cut, &cases);
        put("traces.jsonl", whole, cut);
        ok(trace_open(&to, &t, &e));
        assert_int_equal(trace_results(t)->n, cases);
        trace_close(t);
        size_t left, bad;
        char *now = test_read(path("traces.jsonl"), &left);
        assert_int_equal(left, good);
        assert_memory_equal(now, whole, left);
        free(now);
        if (cut > good) {
            char *tail = test_read(path("traces.jsonl.tail.bad"), &bad);
            assert_int_equal(bad, cut - good);
            assert_memory_equal(tail, whole + good, bad);
            free(tail);
            unlink(path("traces.jsonl.tail.bad"));
        }
        assert_false(exists("traces.jsonl.tail.bad"));
    }
    free(whole);
}

static void a_cut_run_is_finished_with_the_same_results(void **state)
{
    (void)state;
    struct err e;
    size_t n;
    struct str want = STR_INIT, got = STR_INIT;
    char *whole = complete(&n);
    bench_cases(dir, &want);
    for (size_t cut = 0; cut < n; cut += n / 13) {
        put("traces.jsonl", whole, cut);
        ok(bench_run(&bench, &questions, dir, 3, NULL, &e));
        str_clear(&got);
        bench_cases(dir, &got);
        assert_string_equal(got.s, want.s);
        unlink(path("traces.jsonl.tail.bad"));
    }
    str_free(&want);
    str_free(&got);
    free(whole);
}

static void a_flipped_bit_is_refused_with_line_and_question_or_only_costs_the_tail(void **state)
{
    (void)state;
    struct err e;
    size_t n;
    char *s = complete(&n);
    struct trace_options to = options();
    for (size_t at = 0; at < n; at += at < 4000 ? 1 : 97) {
        struct trace *t = NULL;
        char was = s[at];
        s[at] = (char)(was ^ 1 << (at % 8));
        put("traces.jsonl", s, n);
        fails(trace_open(&to, &t, &e), ERR_DATA, "traces.jsonl:");
        assert_non_null(strstr(e.msg, "--repair"));
        s[at] = was;
    }
    /* the very last newline: a torn write looks the same, so only that case is asked again */
    struct trace *t = NULL;
    s[n - 1] = 'x';
    put("traces.jsonl", s, n);
    ok(trace_open(&to, &t, &e));
    assert_int_equal(trace_results(t)->n, N - 1);
    trace_close(t);
    free(s);
}

static void damage_names_the_line_and_the_question(void **state)
{
    (void)state;
    struct err e;
    size_t n;
    struct trace *t = NULL;
    struct trace_options to = options();
    char *s = complete(&n), want[64];
    char *line = s; /* the third line, somewhere in its middle */
    line = strchr(strchr(line, '\n') + 1, '\n') + 1;
    snprintf(want, sizeof want, "traces.jsonl:3: damaged at question %.16s", line + 10);
    line[60] ^= 1;
    put("traces.jsonl", s, n);
    fails(trace_open(&to, &t, &e), ERR_DATA, want);
    free(s);
}

static void repair_asks_the_damaged_cases_again_and_keeps_the_rest(void **state)
{
    (void)state;
    struct err e;
    size_t n;
    struct str want = STR_INIT, got = STR_INIT;
    char *s = complete(&n);
    bench_cases(dir, &want);
    for (size_t at = 5; at + 1 < n; at += n / 41) {
        struct trace *t = NULL;
        struct trace_options to = options();
        char was = s[at];
        s[at] = (char)(was ^ 4);
        put("traces.jsonl", s, n);
        to.repair = true;
        ok(trace_open(&to, &t, &e));
        assert_in_range(trace_results(t)->n, N - 2, N - 1); /* a flipped newline joins two lines */
        assert_non_null(strstr(trace_notes(t), "repaired"));
        trace_close(t);
        size_t kept;
        char *bad = test_read(path("traces.jsonl.bad"), &kept);
        assert_int_equal(kept, n);
        assert_memory_equal(bad, s, n);
        free(bad);
        unlink(path("traces.jsonl.bad"));
        ok(bench_run(&bench, &questions, dir, 3, NULL, &e));
        str_clear(&got);
        bench_cases(dir, &got);
        assert_string_equal(got.s, want.s);
        s[at] = was;
    }
    str_free(&want);
    str_free(&got);
    free(s);
}

static void a_case_that_stands_twice_is_damage(void **state)
{
    (void)state;
    struct err e;
    size_t n;
    struct trace *t = NULL;
    struct trace_options to = options();
    char *s = complete(&n), *twice = malloc(2 * n);
    memcpy(twice, s, n);
    memcpy(twice + n, s, n);
    put("traces.jsonl", twice, 2 * n);
    fails(trace_open(&to, &t, &e), ERR_DATA, "the question was finished before");
    free(twice);
    free(s);
}

static void calls_without_their_case_in_the_middle_are_damage(void **state)
{
    (void)state;
    struct err e;
    size_t n;
    struct trace *t = NULL;
    struct trace_options to = options();
    char *s = complete(&n), *line = strstr(s, "\n{\"case\"") + 1, *end = strchr(line, '\n') + 1;
    memmove(line, end, n - (size_t)(end - s));
    put("traces.jsonl", s, n - (size_t)(end - line));
    fails(trace_open(&to, &t, &e), ERR_DATA, "calls without their case");
    free(s);
}

static void a_missing_call_is_damage(void **state)
{
    (void)state;
    struct err e;
    size_t n;
    struct trace *t = NULL;
    struct trace_options to = options();
    char *s = complete(&n), *end = strchr(s, '\n') + 1;
    put("traces.jsonl", end, n - (size_t)(end - s));
    fails(trace_open(&to, &t, &e), ERR_DATA, "4 calls before the case, which says 5");
    free(s);
}

static void a_second_run_in_the_same_folder_names_the_first_process(void **state)
{
    (void)state;
    struct err e;
    struct trace *t = NULL, *second = NULL;
    struct trace_options to = options();
    char want[64];
    snprintf(want, sizeof want, "is being written by process %ld;", (long)getpid());
    ok(trace_open(&to, &t, &e));
    fails(trace_open(&to, &second, &e), ERR_CREATE, want);
    trace_close(t);
    ok(trace_open(&to, &second, &e));
    trace_close(second);
}

static void another_identity_is_refused_with_what_differs(void **state)
{
    (void)state;
    struct err e;
    struct trace *t = NULL;
    struct trace_options to = options();
    to.identity = "{\"config\": {\"seed\": 42, \"temperature\": 0.3, \"model\": \"a.gguf\"}, "
                  "\"data\": \"x\"}";
    to.about = "{\"version\": \"1\"}";
    ok(trace_open(&to, &t, &e));
    trace_close(t);
    static const struct {
        const char *identity, *message;
    } other[] = {
        {"{\"config\": {\"seed\": 43, \"temperature\": 0.3, \"model\": \"a.gguf\"}, \"data\": "
         "\"x\"}",
         "config.seed was 42, is 43;"},
        {"{\"config\": {\"seed\": 42, \"temperature\": 0.3, \"model\": \"a.gguf\"}, \"data\": "
         "\"y\"}",
         "data was \"x\", is \"y\";"},
        {"{\"config\": {\"seed\": 42, \"model\": \"a.gguf\"}, \"data\": \"x\"}",
         "config.temperature was 0.3, is (absent)"},
        {"{\"config\": {\"seed\": 42, \"temperature\": 0.3, \"new\": 1, \"model\": \"a\"}, "
         "\"data\": \"x\"}",
         "config.new was (absent), is 1"},
        {"{\"config\": {\"seed\": 7, \"temperature\": 0.5}, \"data\": \"x\"}",
         "config.seed was 42, is 7; config.temperature was"},
    };
    for (size_t i = 0; i < sizeof other / sizeof other[0]; i++) {
        to.identity = other[i].identity;
        fails(trace_open(&to, &t, &e), ERR_CONFIG, other[i].message);
        assert_non_null(strstr(e.msg, "--force-new"));
    }
    /* a moved model is the same model: the hash decides; another version gives a warning only */
    to.identity = "{\"config\": {\"seed\": 42, \"temperature\": 0.3, \"model\": \"b.gguf\"}, "
                  "\"data\": \"x\"}";
    to.about = "{\"version\": \"2\"}";
    ok(trace_open(&to, &t, &e));
    assert_string_equal(trace_notes(t), "continued with: version was \"1\", is \"2\"\n");
    trace_close(t);
}

/* A run of a program that had fewer options is continued as long as the new ones have their
 * defaults, and the other way round. */
static void an_option_that_a_run_lacks_has_its_default(void **state)
{
    (void)state;
    struct err e;
    struct trace *t = NULL;
    struct trace_options to = options();
    static const struct {
        const char *before, *now, *message; /* NULL = the same run */
    } cases[] = {
        {"\"seed\": 1", "\"seed\": 1, \"sc.samples\": 5, \"thinking.budget\": -1", NULL},
        {"\"seed\": 1, \"sc.samples\": 5", "\"seed\": 1", NULL},
        {"\"seed\": 1", "\"seed\": 1, \"sc.samples\": 7", "config.sc.samples was 5, is 7"},
        {"\"seed\": 1, \"sc.samples\": 7", "\"seed\": 1", "config.sc.samples was 7, is 5"},
        {"\"seed\": 1", "\"seed\": 1, \"no.option\": 5", "config.no.option was (absent), is 5"},
    };
    to.defaults = "{\"seed\": 3, \"sc.samples\": 5, \"thinking.budget\": -1}";
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char before[200], now[200];
        snprintf(before, sizeof before, "{\"config\": {%s}}", cases[i].before);
        snprintf(now, sizeof now, "{\"config\": {%s}}", cases[i].now);
        to.fresh = true;
        to.identity = before;
        ok(trace_open(&to, &t, &e));
        trace_close(t);
        to.fresh = false;
        to.identity = now;
        if (cases[i].message) {
            fails(trace_open(&to, &t, &e), ERR_CONFIG, cases[i].message);
            continue;
        }
        ok(trace_open(&to, &t, &e));
        trace_close(t);
    }
}

/* Number of occurrences of the text in the file. */
static size_t times(const char *name, const char *text)
{
    size_t n, count = 0;
    char *s = test_read(path(name), &n);
    for (const char *at = s; (at = strstr(at, text)); at++)
        count++;
    free(s);
    return count;
}

/* Runs before wrote 0 and -1 for roles without a limit or a temperature of their own. */
static void a_role_without_limits_is_written_or_absent(void **state)
{
    (void)state;
    struct err e;
    struct trace *t = NULL;
    struct trace_options to = options();
    to.identity = "{\"config\": {\"role_tokens.a\": 0, \"role_tokens.b\": 90, "
                  "\"agent_temperatures.a\": -1, \"agent_temperatures.b\": 0}}";
    ok(trace_open(&to, &t, &e));
    trace_close(t);
    to.identity = "{\"config\": {\"role_tokens.b\": 90, \"agent_temperatures.b\": 0}}";
    ok(trace_open(&to, &t, &e));
    trace_close(t);
    to.identity = "{\"config\": {\"agent_temperatures.b\": 0}}";
    fails(trace_open(&to, &t, &e), ERR_CONFIG, "config.role_tokens.b was 90, is (absent)");
    to.identity = "{\"config\": {\"role_tokens.b\": 90}}";
    fails(trace_open(&to, &t, &e), ERR_CONFIG, "config.agent_temperatures.b was 0, is (absent)");
    to.identity = "{\"config\": {\"role_tokens.a\": 64, \"role_tokens.b\": 90, "
                  "\"agent_temperatures.b\": 0}}";
    fails(trace_open(&to, &t, &e), ERR_CONFIG, "config.role_tokens.a was (absent), is 64");
}

static void every_change_of_settings_is_a_session_of_its_own(void **state)
{
    (void)state;
    struct err e;
    struct trace *t = NULL;
    struct trace_run run = {.asked = 0};
    struct trace_options to = options();
    to.identity = "{\"config\": {\"temperature\": 0.1234567890123456789}}";
    static const char *const about[] = {
        "{\"isa\": \"a\", \"config\": {\"price_kwh\": 0.12}}",
        "{\"isa\": \"a\", \"config\": {\"price_kwh\": 0.12}}",
        "{\"isa\": \"b\", \"config\": {\"price_kwh\": 0.12}}",
        "{\"isa\": \"b\", \"config\": {\"price_kwh\": 0.30000000000000004}}",
        "{\"isa\": \"b\", \"config\": {\"price_kwh\": 0.30000000000000004}}"};
    static const size_t sessions[] = {1, 1, 2, 3, 3};
    for (size_t i = 0; i < 5; i++) {
        to.about = about[i];
        to.asked = i + 1;
        ok(trace_open(&to, &t, &e));
        ok(trace_figures(t, "{\"k\": 1}", &e));
        assert_non_null(strstr(trace_json(t), "\"figures\": {\"k\": 1}}"));
        trace_close(t);
        assert_int_equal(times("run.json", "\"began\""), sessions[i]);
        ok(trace_read(dir, &run, &e));
        assert_int_equal(run.asked, i + 1);
        assert_int_equal(run.records.n, N);
        assert_true(run.price_kwh == (i < 3 ? 0.12 : 0.30000000000000004));
        trace_run_free(&run);
    }
    assert_int_equal(times("run.json", "{\"starts\": 2,"), 2);
    assert_int_equal(times("run.json", "{\"starts\": 1,"), 1);
    assert_int_equal(times("run.json", "0.1234567890123456789"),
                     1); /* no digit is lost by writing it again */
    assert_int_equal(times("run.json", "0.30000000000000004"), 1);
}

static void a_folder_of_another_format_is_refused_by_name(void **state)
{
    (void)state;
    struct err e;
    struct trace *t = NULL;
    struct trace_run run = {.asked = 0};
    struct trace_options to = options();
    static const struct {
        const char *json;
        int code;
        const char *why;
    } c[] = {
        {"{\"format\": 1,\n\"identity\": {\"a\": {\"b\": 1}},\n\"about\": {}}\n", ERR_CONFIG,
         "was written in format 1, this program reads and writes format 2"},
        {"{}", ERR_CONFIG, "was written in format 0"},
        {"{\"format\": 2, \"identity\": {\"a\": {\"b\": 1}}}", ERR_DATA,
         "run.json: key 'sessions' is missing"},
        {"{\"format\": 2, \"identity\": {\"a\": {\"b\": 1}}, \"sessions\": []}", ERR_DATA,
         "run.json: 'sessions' is empty"},
        {"{\"format\": 2", ERR_DATA, "run.json: bad JSON"},
    };
    for (size_t i = 0; i < sizeof c / sizeof c[0]; i++) {
        put("run.json", c[i].json, strlen(c[i].json));
        fails(trace_open(&to, &t, &e), c[i].code, c[i].why);
    }
    put("run.json", c[0].json, strlen(c[0].json));
    fails(trace_read(dir, &run, &e), ERR_CONFIG, "was written in format 1");
}

static void the_records_of_the_data_file_are_kept_and_checked(void **state)
{
    (void)state;
    struct err e;
    size_t n, m;
    struct trace_run run = {.asked = 0};
    free(complete(&n));
    char *s = test_read(path("records.jsonl"), &m);
    ok(trace_read(dir, &run, &e));
    assert_int_equal(run.records.n, N);
    for (size_t i = 0; i < N; i++) {
        assert_string_equal(run.records.r[i].id, questions.question[i].id);
        assert_string_equal(run.records.r[i].step, questions.question[i].step);
        assert_int_equal(run.records.r[i].key, questions.question[i].key);
    }
    trace_run_free(&run);
    s[m / 2] ^= 1;
    put("records.jsonl", s, m);
    fails(trace_read(dir, &run, &e), ERR_DATA, "records.jsonl is not the file that run.json names");
    unlink(path("records.jsonl"));
    fails(trace_read(dir, &run, &e), ERR_NOINPUT, "records.jsonl");
    ok(bench_run(&bench, &questions, dir, 2, NULL, &e)); /* continuing writes it again */
    ok(trace_read(dir, &run, &e));
    assert_int_equal(run.results.n, N);
    trace_run_free(&run);
    free(s);
}

static void force_new_keeps_the_former_results_aside(void **state)
{
    (void)state;
    struct err e;
    size_t n, m;
    struct trace *t = NULL;
    struct trace_options to = options();
    char *s = complete(&n);
    to.fresh = true;
    to.identity = "{\"other\": 1}";
    for (int i = 1; i <= 2; i++) {
        ok(trace_open(&to, &t, &e));
        assert_int_equal(trace_results(t)->n, 0);
        trace_close(t);
        assert_int_equal(exists("old-2/run.json"), i == 2);
    }
    char *kept = test_read(path("old-1/traces.jsonl"), &m);
    assert_int_equal(m, n);
    assert_memory_equal(kept, s, n);
    free(kept);
    free(s);
}

static void a_sealed_run_reads_the_same_and_can_go_on(void **state)
{
    (void)state;
    struct err e;
    size_t n, m;
    struct str want = STR_INIT, got = STR_INIT;
    struct trace *t = NULL;
    struct trace_options to = options();
    char *s = complete(&n);
    bench_cases(dir, &want);
    ok(trace_open(&to, &t, &e));
    ok(trace_seal(t, &e));
    ok(trace_seal(t, &e)); /* sealing again has no effect */
    trace_close(t);
    assert_false(exists("traces.jsonl"));
    bench_cases(dir, &got);
    assert_string_equal(got.s, want.s);
    struct medqa more = {.n = 0};
    bench_questions(&more, N + 1);
    ok(bench_run(&bench, &more, dir, 3, NULL, &e));
    assert_false(exists("traces.jsonl.gz"));
    char *now = test_read(path("traces.jsonl"), &m);
    assert_true(m > n);
    assert_memory_equal(now, s, n);
    free(now);
    free(s);
    medqa_free(&more);
    str_free(&want);
    str_free(&got);
}

static size_t n_read(void)
{
    struct err e;
    struct trace_run run;
    ok(trace_read(dir, &run, &e));
    size_t n = run.results.n;
    trace_run_free(&run);
    return n;
}

static void a_plain_trace_shorter_than_the_sealed_one_is_set_aside(void **state)
{
    (void)state;
    struct err e;
    size_t n, cases;
    struct trace *t = NULL;
    struct trace_options to = options();
    char *s = complete(&n);
    ok(trace_open(&to, &t, &e));
    ok(trace_seal(t, &e));
    trace_close(t);
    const size_t lens[] = {0, 1, good_end(s, n / 2, &cases), n - 1, n};
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
        const bool whole = lens[i] == n; /* a crash after the sealed one was written */
        put("traces.jsonl", s, lens[i]);
        assert_int_equal(n_read(), N);
        ok(trace_open(&to, &t, &e));
        assert_int_equal(trace_results(t)->n, N);
        assert_true(whole == !strstr(trace_notes(t), "traces.jsonl.bad"));
        trace_close(t);
        assert_true(exists("traces.jsonl") == whole);
        assert_true(exists("traces.jsonl.bad") == !whole);
        unlink(path("traces.jsonl.bad"));
    }
    free(s);
}

static void a_damaged_sealed_trace_is_refused(void **state)
{
    (void)state;
    struct err e;
    size_t n;
    struct trace *t = NULL;
    struct trace_options to = options();
    free(complete(&n));
    ok(trace_open(&to, &t, &e));
    ok(trace_seal(t, &e));
    trace_close(t);
    char *s = test_read(path("traces.jsonl.gz"), &n);
    struct str whole = STR_INIT;
    int refused = 0;
    ok(zio_read(path("traces.jsonl.gz"), SIZE_MAX >> 1, &whole, &e));
    for (size_t at = 0; at < n; at += n / 29) {
        s[at] ^= 0x10;
        put("traces.jsonl.gz", s, n);
        int rc = trace_open(&to, &t, &e);
        if (rc == 0)
            trace_close(t);
        else
            assert_int_equal(rc, ERR_DATA);
        struct str now = STR_INIT; /* time stamps, flags and padding bits of gzip are not data */
        if (rc == 0)
            ok(zio_read(path("traces.jsonl.gz"), SIZE_MAX >> 1, &now, &e));
        if (rc == 0 && (now.len != whole.len || memcmp(now.s, whole.s, whole.len) != 0))
            fail_msg("byte %zu of %zu was changed, and so was the text", at, n);
        refused += rc != 0;
        str_free(&now);
        s[at] ^= 0x10;
    }
    assert_true(refused > 20); /* of 30 */
    str_free(&whole);
    put("traces.jsonl.gz", s, n / 2);
    fails(trace_open(&to, &t, &e), ERR_DATA, "traces.jsonl.gz: damaged: it does not unpack");
    assert_non_null(strstr(e.msg, "--repair"));
    free(s);
}

static void repair_of_a_sealed_trace_asks_what_was_lost(void **state)
{
    (void)state;
    struct err e;
    size_t n, kept;
    struct trace *t = NULL;
    struct str want = STR_INIT, got = STR_INIT;
    struct trace_options to = options();
    free(complete(&n));
    bench_cases(dir, &want);
    ok(trace_open(&to, &t, &e));
    ok(trace_seal(t, &e));
    trace_close(t);
    char *s = test_read(path("traces.jsonl.gz"), &n);
    to.repair = true;
    ok(trace_open(&to, &t, &e)); /* nothing to repair */
    assert_int_equal(trace_results(t)->n, N);
    trace_close(t);
    assert_true(exists("traces.jsonl.gz"));
    for (size_t at = 12; at < n; at += n / 23) {
        const size_t len = at % 2 ? n : at + 1; /* a changed byte, or a cut file */
        char was = s[at];
        s[at] = (char)(was ^ 4);
        put("traces.jsonl.gz", s, len);
        unlink(path("traces.jsonl"));
        ok(trace_open(&to, &t, &e));
        const bool whole = trace_results(t)->n == N; /* the byte was no data */
        assert_true(whole || strstr(trace_notes(t), "repaired"));
        trace_close(t);
        if (!whole) {
            char *bad = test_read(path("traces.jsonl.gz.bad"), &kept);
            assert_int_equal(kept, len);
            assert_memory_equal(bad, s, len);
            free(bad);
            assert_false(exists("traces.jsonl.gz"));
        }
        unlink(path("traces.jsonl.gz.bad"));
        ok(bench_run(&bench, &questions, dir, 3, NULL, &e));
        str_clear(&got);
        bench_cases(dir, &got);
        assert_string_equal(got.s, want.s);
        s[at] = was;
    }
    str_free(&want);
    str_free(&got);
    free(s);
}

/* The child may write at most `limit` bytes: its case fails with EFBIG and the file is cut back. */
static void a_full_disk_loses_only_the_case_at_hand(void **state)
{
    (void)state;
    struct err e;
    size_t n, m;
    struct str want = STR_INIT, got = STR_INIT;
    char *whole = complete(&n);
    bench_cases(dir, &want);
    unlink(path("traces.jsonl"));
    for (size_t limit = 3000; limit < n; limit += n / 5) {
        fflush(NULL);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            struct rlimit rl = {limit, limit};
            struct err ce = {.code = 0};
            signal(SIGXFSZ, SIG_IGN);
            setrlimit(RLIMIT_FSIZE, &rl);
            int rc = bench_run(&bench, &questions, dir, 1, NULL, &ce);
            bool named = strstr(ce.msg, "traces.jsonl") && strstr(ce.msg, "not counted");
            _exit(rc == ERR_IO && named ? 0 : 1);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        char *s = test_read(path("traces.jsonl"), &m);
        assert_true(m <= limit);
        assert_true(m == 0 || s[m - 1] == '\n');
        free(s);
        assert_false(exists("traces.jsonl.tail.bad"));
    }
    ok(bench_run(&bench, &questions, dir, 2, NULL, &e));
    bench_cases(dir, &got);
    assert_string_equal(got.s, want.s);
    free(whole);
    str_free(&want);
    str_free(&got);
}

static void a_folder_that_cannot_be_made_is_named(void **state)
{
    (void)state;
    struct err e;
    struct trace *t = NULL;
    struct trace_options to = options();
    to.dir = "/proc/nowhere/run";
    fails(trace_open(&to, &t, &e), ERR_CREATE, "cannot create the folder /proc/nowhere");
    char name[1100];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = 0;
    to.dir = name;
    fails(trace_open(&to, &t, &e), ERR_CREATE, "1099 bytes");
    to.dir = dir;
    put("traces.jsonl", "", 0);
    fails(trace_open(&to, &t, &e), ERR_CONFIG, "traces but no run.json");
}

static void a_trace_line_holds_prompt_and_reply(void **state)
{
    (void)state;
    size_t n;
    char *s = complete(&n);
    *strchr(s, '\n') = 0;
    static const char *const keys[] = {"\"role\": \"planner\"",
                                       "\"prompt_hash\": \"",
                                       "\"seed\": 42",
                                       "\"finish\": \"stop\"",
                                       "\"parsed\": true",
                                       "\"n_prompt\": ",
                                       "\"system\": \"You are",
                                       "A patient number",
                                       "\"reply\": \"{\\\"triage",
                                       "\"crc\": \""};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (!strstr(s, keys[i]))
            fail_msg("no %s in %s", keys[i], s);
    free(s);
}

/* Puts `to` in place of `from`, as long, in every line of the trace; checksums follow. */
static void rewrite(const char *from, const char *to)
{
    size_t n, len = strlen(from);
    struct str out = STR_INIT;
    char *s = test_read(path("traces.jsonl"), &n);
    assert_int_equal(strlen(to), len);
    for (char *line = s; *line;) {
        char *end = strchr(line, '\n'), *crc = end - strlen(", \"crc\": \"01234567\"}");
        size_t begin = out.len;
        for (char *at = line; at + len <= crc; at++)
            if (!memcmp(at, from, len))
                memcpy(at, to, len);
        str_add(&out, line, (size_t)(crc - line));
        trace_end_line(&out, begin);
        line = end + 1;
    }
    put("traces.jsonl", out.s, out.len);
    str_free(&out);
    free(s);
}

static const struct roles_row *role_of(const struct trace_run *run, const char *name)
{
    for (size_t i = 0; i < run->roles.n; i++)
        if (!strcmp(run->roles.r[i].name, name))
            return &run->roles.r[i];
    fail_msg("no role %s", name);
    return NULL;
}

/* The roles of a trace are those that it names, also one that no strategy here declares. */
static void calls_are_counted_by_the_roles_that_a_trace_names(void **state)
{
    (void)state;
    struct err e;
    size_t n;
    struct trace_run run = {.asked = 0};
    struct stats_summary sum = {.answered = 0};
    struct str table = STR_INIT, json = STR_INIT;
    int64_t calls = 0, prompt = 0, new = 0;
    bench.script.mood = SCRIPT_CUT;
    bench.script.only_role = "specialist";
    bench.script.only_index = 1;
    free(complete(&n));
    rewrite("\"role\": \"planner\"", "\"role\": \"referee\"");
    ok(trace_read(dir, &run, &e));
    assert_int_equal(run.roles.n, 3);
    for (size_t i = 0; i < run.results.n; i++) {
        calls += run.results.r[i].calls;
        prompt += run.results.r[i].prompt_tokens;
        new += run.results.r[i].new_tokens;
    }
    for (size_t i = 0; i < 3; i++) {
        calls -= run.roles.r[i].calls;
        prompt -= run.roles.r[i].prompt_tokens;
        new -= run.roles.r[i].new_tokens;
    }
    assert_true(calls == 0 && prompt == 0 && new == 0);
    const int64_t cases = (int64_t)questions.n;
    assert_int_equal(role_of(&run, "referee")->calls, cases);
    assert_int_equal(role_of(&run, "specialist")->calls, 3 * cases);
    assert_int_equal(role_of(&run, "specialist")->cut, cases);
    assert_int_equal(role_of(&run, "specialist")->unparsed, cases);
    assert_int_equal(role_of(&run, "aggregator")->cut, 0);
    ok(stats_summarize(&run, 0.12, &sum, &e));
    report_table(&sum, "title", 80, &table);
    report_json(&sum, "", "", &json);
    assert_non_null(strstr(table.s, "    referee "));
    assert_non_null(strstr(json.s, "\"referee\": {\"calls\": "));
    str_free(&table);
    str_free(&json);
    stats_free(&sum);
    trace_run_free(&run);
    rewrite("\"n_new\": ", "\"n_nex\": ");
    fails(trace_read(dir, &run, &e), ERR_DATA, "key 'n_new' of a call is missing");
}

/* Calls of records that were not asked for are in the file and not in the figures. */
static void calls_beyond_the_records_asked_for_are_not_counted(void **state)
{
    (void)state;
    struct err e;
    size_t n;
    struct trace *t = NULL;
    struct trace_run run = {.asked = 0};
    struct trace_options to = options();
    free(complete(&n));
    to.asked = 2;
    ok(trace_open(&to, &t, &e));
    trace_close(t);
    ok(trace_read(dir, &run, &e));
    assert_int_equal(run.results.n, questions.n);
    assert_int_equal(role_of(&run, "planner")->calls, 2);
    trace_run_free(&run);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_cut_at_every_byte_of_the_last_cases_loses_only_the_unfinished_one),
        T(a_cut_run_is_finished_with_the_same_results),
        T(a_flipped_bit_is_refused_with_line_and_question_or_only_costs_the_tail),
        T(damage_names_the_line_and_the_question),
        T(repair_asks_the_damaged_cases_again_and_keeps_the_rest),
        T(a_case_that_stands_twice_is_damage),
        T(calls_without_their_case_in_the_middle_are_damage),
        T(a_missing_call_is_damage),
        T(a_second_run_in_the_same_folder_names_the_first_process),
        T(another_identity_is_refused_with_what_differs),
        T(an_option_that_a_run_lacks_has_its_default),
        T(a_role_without_limits_is_written_or_absent),
        T(every_change_of_settings_is_a_session_of_its_own),
        T(a_folder_of_another_format_is_refused_by_name),
        T(the_records_of_the_data_file_are_kept_and_checked),
        T(force_new_keeps_the_former_results_aside),
        T(a_sealed_run_reads_the_same_and_can_go_on),
        T(a_plain_trace_shorter_than_the_sealed_one_is_set_aside),
        T(a_damaged_sealed_trace_is_refused),
        T(repair_of_a_sealed_trace_asks_what_was_lost),
        T(a_full_disk_loses_only_the_case_at_hand),
        T(a_folder_that_cannot_be_made_is_named),
        T(a_trace_line_holds_prompt_and_reply),
        T(calls_are_counted_by_the_roles_that_a_trace_names),
        T(calls_beyond_the_records_asked_for_are_not_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
