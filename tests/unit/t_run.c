/* The driver of runs: the result of a case depends on nothing but the case. */
#include <math.h>
#include <stdatomic.h>
#include <unistd.h>

#include "report.h"
#include "script.h"
#include "test.h"

/* Runs n questions in a fresh folder; out: the cases as text, then results.csv. */
static void outcome(uint64_t order, int concurrency, int n, const char *const *sets,
                    struct str *out)
{
    struct err e;
    struct bench b;
    struct medqa m = {.n = 0};
    struct trace_run run = {.asked = 0};
    char dir[256];
    bench_mkdir(dir);
    bench_open(&b, order, sets);
    bench_questions(&m, n);
    ok(bench_run(&b, &m, dir, concurrency, NULL, &e));
    bench_cases(dir, out);
    ok(trace_read(dir, &run, &e));
    assert_int_equal(run.results.n, n);
    ok(report_csv(&run, out, &e));
    trace_run_free(&run);
    medqa_free(&m);
    bench_close(&b);
    test_rmdir(dir);
}

static void concurrency_and_order_of_completion_change_no_byte(void **state)
{
    (void)state;
    static const int cases[] = {1, 7, 64};
    for (const struct strategy *const *s = strategy_all(); *s; s++) {
        char set[64];
        const char *sets[] = {set, "planner.top_k=3", NULL};
        snprintf(set, sizeof set, "strategy=%s", (*s)->name);
        struct str want = STR_INIT, got = STR_INIT;
        outcome(1, 1, 40, sets, &want);
        assert_true(want.len > 2000);
        for (int i = 0; i < 3; i++)
            for (uint64_t order = 2; order < 4; order++) {
                str_clear(&got);
                outcome(order, cases[i], 40, sets, &got);
                assert_string_equal(got.s, want.s);
            }
        str_free(&want);
        str_free(&got);
    }
}

static void another_seed_gives_other_replies(void **state)
{
    (void)state;
    struct str a = STR_INIT, b = STR_INIT;
    outcome(1, 4, 12, (const char *[]){"seed=1", NULL}, &a);
    outcome(1, 4, 12, (const char *[]){"seed=2", NULL}, &b);
    assert_string_not_equal(a.s, b.s);
    str_free(&a);
    str_free(&b);
}

/* ---- stopping -------------------------------------------------------------------------------- */

struct stopper {
    atomic_int stop;
    long after; /* finished cases */
    long seen;
};

static void stop_after(const struct consult *c, const struct result *r, void *user)
{
    struct stopper *s = user;
    (void)c;
    (void)r;
    if (++s->seen == s->after)
        atomic_store(&s->stop, 1);
}

static void a_stopped_run_continues_to_the_same_results(void **state)
{
    (void)state;
    struct err e;
    struct bench b;
    struct medqa m = {.n = 0};
    struct str want = STR_INIT, got = STR_INIT;
    char dir[256];
    outcome(5, 3, 30, NULL, &want);
    bench_mkdir(dir);
    bench_open(&b, 6, NULL);
    bench_questions(&m, 30);
    for (int round = 0;; round++) {
        struct trace *t = NULL;
        struct trace_options to = {.dir = dir, .identity = "{}", .about = "{}", .data = &m};
        struct stopper s = {.after = 4};
        struct run_progress p;
        ok(trace_open(&to, &t, &e));
        size_t before = trace_results(t)->n;
        struct run_options o = {.env = &b.env,
                                .question = m.question,
                                .n = m.n,
                                .trace = t,
                                .concurrency = 1 + 5 * (round % 4),
                                .stop = &s.stop,
                                .clock = bench_clock,
                                .finished = stop_after,
                                .user = &s};
        int rc = run_questions(&o, &p, &e);
        size_t after = trace_results(t)->n;
        trace_close(t);
        assert_int_equal(p.done, after);
        if (after == 30)
            break;
        assert_int_equal(rc, ERR_CANCEL);
        assert_int_equal(after, before + 4);
    }
    bench_cases(dir, &got);
    assert_memory_equal(got.s, want.s, got.len);
    str_free(&want);
    str_free(&got);
    medqa_free(&m);
    bench_close(&b);
    test_rmdir(dir);
}

static void a_run_that_is_stopped_before_it_begins_asks_nothing(void **state)
{
    (void)state;
    struct err e;
    struct bench b;
    struct medqa m = {.n = 0};
    struct trace *t = NULL;
    atomic_int stop = 1;
    char dir[256];
    struct trace_options to = {
        .dir = bench_mkdir(dir), .identity = "{}", .about = "{}", .data = &m};
    bench_open(&b, 6, NULL);
    bench_questions(&m, 3);
    ok(trace_open(&to, &t, &e));
    struct run_options o = {
        .env = &b.env, .question = m.question, .n = 3, .trace = t, .stop = &stop};
    fails(run_questions(&o, NULL, &e), ERR_CANCEL, "stopped");
    assert_int_equal(b.script.calls, 0);
    trace_close(t);
    medqa_free(&m);
    bench_close(&b);
    test_rmdir(dir);
}

/* ---- energy ---------------------------------------------------------------------------------- */

struct supply { /* each reading is 3 to 9 J above the one before */
    double now, first;
    int reads, ends; /* ends: the reading from which on there is none; 0 = never */
};

static double supply_read(void *user, const char **source)
{
    struct supply *s = user;
    s->now += 3 + s->reads * 7 % 4 * 2;
    s->first = s->reads++ ? s->first : s->now;
    bool on = !s->ends || s->reads < s->ends;
    *source = on ? "a meter" : "not measured: the meter broke";
    return on ? s->now : (double)NAN;
}

/* Runs the questions of m that the folder lacks; the sum of the joules of all results. */
static double supplied(const struct medqa *m, const char *dir, int concurrency, struct supply *s,
                       struct run_progress *p)
{
    struct err e;
    struct bench b;
    struct trace *t = NULL;
    double sum = 0;
    struct trace_options to = {.dir = dir, .identity = "{}", .about = "{}", .data = m};
    bench_open(&b, 3, NULL);
    ok(trace_open(&to, &t, &e));
    struct run_options o = {.env = &b.env,
                            .question = m->question,
                            .n = m->n,
                            .trace = t,
                            .concurrency = concurrency,
                            .joules = s ? supply_read : NULL,
                            .user = s};
    ok(run_questions(&o, p, &e));
    const struct results *rs = trace_results(t);
    for (size_t i = 0; i < rs->n; i++)
        sum += isfinite(rs->r[i].joules) ? rs->r[i].joules : 0;
    trace_close(t);
    bench_close(&b);
    return sum;
}

static void the_joules_of_all_cases_are_those_of_the_run(void **state)
{
    (void)state;
    static const int cases[] = {1, 5, 64};
    for (int i = 0; i < 3; i++) {
        struct medqa m = {.n = 0};
        struct supply s = {.now = 1000};
        struct run_progress p;
        char dir[256];
        bench_mkdir(dir);
        bench_questions(&m, 20);
        double sum = supplied(&m, dir, cases[i], &s, &p), want = s.now - s.first;
        assert_true(want > 100);
        if (!(fabs(sum - want) <= 1e-9 * want))
            fail_msg("%d at once: the cases have %.12g J, the run %.12g J", cases[i], sum, want);
        assert_int_equal(p.n_joules, 20);
        assert_true(fabs(p.joules - want) <= 1e-9 * want);
        medqa_free(&m);
        test_rmdir(dir);
    }
}

static void a_meter_that_breaks_leaves_no_zeros(void **state)
{
    (void)state;
    struct err e;
    struct medqa m = {.n = 0};
    struct trace_run run = {.asked = 0};
    struct supply s = {.ends = 22};
    struct run_progress p;
    char dir[256];
    bench_mkdir(dir);
    bench_questions(&m, 20);
    supplied(&m, dir, 4, &s, &p);
    ok(trace_read(dir, &run, &e));
    size_t has = 0;
    for (size_t i = 0; i < run.results.n; i++) {
        const struct result *r = &run.results.r[i];
        has += isfinite(r->joules);
        assert_true(isnan(r->joules) || r->joules > 0);
        assert_string_equal(r->energy,
                            isfinite(r->joules) ? "a meter" : "not measured: the meter broke");
    }
    assert_true(has > 3 && has < 17);
    assert_int_equal(p.n_joules, has);
    trace_run_free(&run);
    medqa_free(&m);
    test_rmdir(dir);
}

static void a_run_begun_without_a_meter_goes_on_with_one(void **state)
{
    (void)state;
    struct err e;
    struct medqa m = {.n = 0}, less = {.n = 0};
    struct trace_run run = {.asked = 0};
    struct supply s = {.now = 0};
    struct run_progress p;
    char dir[256];
    bench_mkdir(dir);
    bench_questions(&m, 12);
    less = m;
    less.n = 5;
    assert_true(supplied(&less, dir, 4, NULL, &p) == 0);
    assert_int_equal(p.n_joules, 0);
    double sum = supplied(&m, dir, 4, &s, &p), want = s.now - s.first;
    assert_true(fabs(sum - want) <= 1e-9 * want);
    assert_int_equal(p.n_joules, 7);
    ok(trace_read(dir, &run, &e));
    assert_int_equal(run.results.n, 12);
    for (size_t i = 0; i < run.results.n; i++) {
        assert_int_equal(isfinite(run.results.r[i].joules), i >= 5);
        assert_string_equal(run.results.r[i].energy, i >= 5 ? "a meter" : "");
    }
    trace_run_free(&run);
    medqa_free(&m);
    test_rmdir(dir);
}

/* ---- limits ---------------------------------------------------------------------------------- */

static int64_t tick(void *user)
{
    return *(int64_t *)user += 400000000; /* 0.4 s a look */
}

static void a_case_beyond_its_time_fails_and_the_run_goes_on(void **state)
{
    (void)state;
    struct err e;
    struct bench b;
    struct medqa m = {.n = 0};
    struct trace *t = NULL;
    struct run_progress p;
    int64_t now = 0;
    char dir[256];
    struct trace_options to = {
        .dir = bench_mkdir(dir), .identity = "{}", .about = "{}", .data = &m};
    bench_open(&b, 6, (const char *[]){"budgets.timeout_seconds=3", NULL});
    bench_questions(&m, 4);
    ok(trace_open(&to, &t, &e));
    struct run_options o = {.env = &b.env,
                            .question = m.question,
                            .n = 4,
                            .trace = t,
                            .concurrency = 2,
                            .clock = tick,
                            .user = &now};
    ok(run_questions(&o, &p, &e));
    assert_int_equal(p.done, 4);
    assert_int_equal(p.failed, 4);
    assert_non_null(strstr(trace_results(t)->r[0].why, "budgets.timeout_seconds is 3"));
    trace_close(t);
    medqa_free(&m);
    bench_close(&b);
    test_rmdir(dir);
}

static void a_lost_device_keeps_what_was_finished(void **state)
{
    (void)state;
    struct err e;
    struct bench b;
    struct medqa m = {.n = 0};
    struct str want = STR_INIT, got = STR_INIT;
    char dir[256];
    outcome(5, 3, 10, NULL, &want);
    bench_mkdir(dir);
    bench_open(&b, 6, NULL);
    bench_questions(&m, 10);
    m.n = 4;
    ok(bench_run(&b, &m, dir, 2, NULL, &e));
    m.n = 10;
    b.script.mood = SCRIPT_ERROR;
    b.script.error = ERR_NODEV;
    fails(bench_run(&b, &m, dir, 2, NULL, &e), ERR_NODEV, "the model fell over");
    b.script.mood = SCRIPT_GOOD;
    ok(bench_run(&b, &m, dir, 2, NULL, &e));
    bench_cases(dir, &got);
    assert_memory_equal(got.s, want.s, got.len);
    str_free(&want);
    str_free(&got);
    medqa_free(&m);
    bench_close(&b);
    test_rmdir(dir);
}

static void results_beyond_the_questions_asked_for_are_kept(void **state)
{
    (void)state;
    struct err e;
    struct bench b;
    struct medqa m = {.n = 0};
    struct run_progress p;
    struct str want = STR_INIT, got = STR_INIT;
    char dir[256];
    bench_mkdir(dir);
    bench_open(&b, 6, NULL);
    bench_questions(&m, 5);
    ok(bench_run(&b, &m, dir, 2, NULL, &e));
    bench_cases(dir, &want);
    long calls = b.script.calls;
    m.n = 3;
    ok(bench_run(&b, &m, dir, 2, &p, &e));
    assert_int_equal(p.done, 3);
    assert_int_equal(p.beyond, 2);
    assert_int_equal(p.fresh, 0);
    m.n = 5;
    ok(bench_run(&b, &m, dir, 2, &p, &e));
    assert_int_equal(p.done, 5);
    assert_int_equal(b.script.calls, calls);
    bench_cases(dir, &got);
    assert_string_equal(got.s, want.s);
    str_free(&want);
    str_free(&got);
    medqa_free(&m);
    bench_close(&b);
    test_rmdir(dir);
}

static void results_of_other_questions_are_refused(void **state)
{
    (void)state;
    struct err e;
    struct bench b;
    struct medqa m = {.n = 0};
    char dir[256];
    bench_mkdir(dir);
    bench_open(&b, 6, NULL);
    bench_questions(&m, 5);
    ok(bench_run(&b, &m, dir, 2, NULL, &e));
    memcpy(m.question[4].id, "ffffffffffffffff", 17);
    fails(bench_run(&b, &m, dir, 2, NULL, &e), ERR_CONFIG, "the data has ffffffffffffffff");
    m.question[3].index = 9;
    fails(bench_run(&b, &m, dir, 2, NULL, &e), ERR_CONFIG, "as record 4, where the data has none");
    medqa_free(&m);
    bench_close(&b);
    test_rmdir(dir);
}

static void unparsed_cases_stay_in_the_denominator(void **state)
{
    (void)state;
    struct err e;
    struct bench b;
    struct medqa m = {.n = 0};
    struct run_progress p;
    char dir[256];
    bench_mkdir(dir);
    bench_open(&b, 6, NULL);
    bench_questions(&m, 8);
    b.script.mood = SCRIPT_REFUSAL;
    ok(bench_run(&b, &m, dir, 3, &p, &e));
    assert_int_equal(p.done, 8);
    assert_int_equal(p.unparsed, 8);
    assert_int_equal(p.correct, 0);
    medqa_free(&m);
    bench_close(&b);
    test_rmdir(dir);
}

/* Counts the calls that reached their token limit, and the cases with such a call. */
static void replies_that_met_their_limit_are_counted(void **state)
{
    (void)state;
    static const struct {
        enum script_mood mood;
        const char *role;
        int index;
        size_t cut_calls, cut_cases, closed_calls, closed_cases;
    } c[] = {{SCRIPT_CLOSED, "specialist", -1, 0, 0, 9, 3},
             {SCRIPT_CUT, "specialist", 1, 3, 3, 0, 0},
             {SCRIPT_CUT, "planner", -1, 3, 3, 0, 0},
             {SCRIPT_GOOD, NULL, -1, 0, 0, 0, 0}};
    for (size_t i = 0; i < sizeof c / sizeof c[0]; i++) {
        struct err e;
        struct bench b;
        struct medqa m = {.n = 0};
        struct trace_run run = {.asked = 0};
        struct stats_summary s;
        char dir[256];
        bench_mkdir(dir);
        bench_open(&b, 6, (const char *[]){"planner.top_k=3", NULL});
        b.script.mood = c[i].mood;
        b.script.only_role = c[i].role;
        b.script.only_index = c[i].index;
        bench_questions(&m, 3);
        ok(bench_run(&b, &m, dir, 2, NULL, &e));
        ok(trace_read(dir, &run, &e));
        ok(stats_summarize(&run, 0, &s, &e));
        assert_int_equal(s.calls_cut, c[i].cut_calls);
        assert_int_equal(s.cases_cut, c[i].cut_cases);
        assert_int_equal(s.calls_closed, c[i].closed_calls);
        assert_int_equal(s.cases_closed, c[i].closed_cases);
        stats_free(&s);
        trace_run_free(&run);
        medqa_free(&m);
        bench_close(&b);
        test_rmdir(dir);
    }
}

/* Two to ten options, by every strategy: each letter can be the answer. */
static void any_number_of_options_up_to_ten_runs(void **state)
{
    (void)state;
    for (const struct strategy *const *of = strategy_all(); *of; of++) {
        char set[64];
        struct err e;
        struct bench b;
        struct medqa m = {.n = 0};
        struct run_progress p;
        struct str s = STR_INIT;
        unsigned seen = 0;
        char dir[256];
        bench_mkdir(dir);
        snprintf(set, sizeof set, "strategy=%s", (*of)->name);
        bench_open(&b, 6, (const char *[]){set, "planner.top_k=2", NULL});
        b.env.shuffle = true;
        for (int q = 0; q < 720; q++) {
            int n = 2 + q % 9;
            str_addf(&s, "{\"question\": \"Q%d\", \"options\": [\"0\"", q);
            for (int k = 1; k < n; k++)
                str_addf(&s, ", \"%d\"", k);
            str_addf(&s, "], \"answer_idx\": \"%c\"}\n", 'A' + n - 1);
        }
        ok(medqa_parse(s.s, s.len, "made-up", &m, &e));
        assert_int_equal(m.n, 720);
        ok(bench_run(&b, &m, dir, 9, &p, &e));
        assert_int_equal(p.done, 720);
        assert_int_equal(p.unparsed + p.failed, 0);
        struct trace_run run = {.asked = 0};
        ok(trace_read(dir, &run, &e));
        for (size_t k = 0; k < run.results.n; k++)
            seen |= 1u << run.results.r[k].predicted;
        assert_int_equal(seen, 0x3ff);
        trace_run_free(&run);
        str_free(&s);
        medqa_free(&m);
        bench_close(&b);
        test_rmdir(dir);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(concurrency_and_order_of_completion_change_no_byte),
        cmocka_unit_test(another_seed_gives_other_replies),
        cmocka_unit_test(a_stopped_run_continues_to_the_same_results),
        cmocka_unit_test(a_run_that_is_stopped_before_it_begins_asks_nothing),
        cmocka_unit_test(the_joules_of_all_cases_are_those_of_the_run),
        cmocka_unit_test(a_meter_that_breaks_leaves_no_zeros),
        cmocka_unit_test(a_run_begun_without_a_meter_goes_on_with_one),
        cmocka_unit_test(a_case_beyond_its_time_fails_and_the_run_goes_on),
        cmocka_unit_test(a_lost_device_keeps_what_was_finished),
        cmocka_unit_test(results_beyond_the_questions_asked_for_are_kept),
        cmocka_unit_test(results_of_other_questions_are_refused),
        cmocka_unit_test(unparsed_cases_stay_in_the_denominator),
        cmocka_unit_test(replies_that_met_their_limit_are_counted),
        cmocka_unit_test(any_number_of_options_up_to_ten_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
