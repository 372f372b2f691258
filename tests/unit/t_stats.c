/* Statistics against values computed elsewhere. */
#include <math.h>

#include "report.h"
#include "stats.h"
#include "test.h"

static void near_to(double got, double want, double tol)
{
    if (!(fabs(got - want) <= tol))
        fail_msg("%.17g, want %.17g within %g", got, want, tol);
}

/* Values of the score interval: p = k/n in Wilson's formula evaluated in Python with z = 1.959963984540054;
 * 47/100 gives 0.3751 to 0.5671 in any table of the method. */
static void wilson_interval(void **state)
{
    (void)state;
    struct stats_rate r = stats_wilson(47, 100);
    near_to(r.lo, 0.3751081795934127, 1e-12);
    near_to(r.hi, 0.5671114302990063, 1e-12);
    r = stats_wilson(978, 1273);
    near_to(r.rate, 0.76826394344069130, 1e-12);
    near_to(r.lo, 0.7442991473514288, 1e-12);
    near_to(r.hi, 0.7906145612235002, 1e-12);
    r = stats_wilson(0, 20);
    near_to(r.lo, 0, 0);
    near_to(r.hi, 0.16112515805281938, 1e-12);
    r = stats_wilson(20, 20);
    near_to(r.lo, 0.8388748419471806, 1e-12);
    near_to(r.hi, 1, 0);
    r = stats_wilson(0, 0);
    assert_true(isnan(r.rate) && isnan(r.lo) && isnan(r.hi));
}

/* Two-sided binomial tail, exact with Python's fractions: 2 * sum C(n, i) / 2^n for i <= min(b, c). */
static void mcnemar_exact(void **state)
{
    (void)state;
    near_to(stats_mcnemar(10, 3), 0.09228515625, 1e-13);
    near_to(stats_mcnemar(3, 10), 0.09228515625, 1e-13);
    near_to(stats_mcnemar(0, 5), 0.0625, 1e-13);
    near_to(stats_mcnemar(1, 1), 1, 0);
    near_to(stats_mcnemar(0, 0), 1, 0);
    near_to(stats_mcnemar(120, 90), 0.04511408786484073, 1e-12);
    near_to(stats_mcnemar(600, 500), 0.0028195449914364275, 1e-12);
}

static void calibration_error(void **state)
{
    (void)state;
    /* two bins: 0.9, 0.9 with one right: |1 - 1.8| = 0.8; 0.25 wrong: 0.25; sum / 3 */
    const double p[] = {0.9, 0.9, 0.25};
    const unsigned char c[] = {1, 0, 0};
    near_to(stats_ece(p, c, 3, 10), 1.05 / 3, 1e-12);
    const double sure[] = {1, 1};
    const unsigned char right[] = {1, 1};
    near_to(stats_ece(sure, right, 2, 10), 0, 0);
    assert_true(isnan(stats_ece(p, c, 0, 10)));
}

static void fill(struct results *rs, struct result *r, size_t n, const char *right)
{
    *rs = (struct results){.r = r, .n = n};
    for (size_t i = 0; i < n; i++) {
        r[i] = (struct result){.index = (int64_t)i, .state = CONSULT_ANSWERED, .n_options = 4,
                               .predicted = right[i] == '1' ? 1 : 2, .key = 1,
                               .correct = right[i] == '1', .question = "q", .answer = "", .why = "",
                               .step = i % 2 ? "step1" : "step2&3", .agreement = (double)NAN,
                               .p = (double)NAN, .joules = (double)NAN, .seconds = (double)i,
                               .calls = 7, .prompt_tokens = 100, .new_tokens = 10};
        snprintf(r[i].id, sizeof r[i].id, "%04zu", i);
    }
}

static void pairs_by_id_whatever_the_order(void **state)
{
    (void)state;
    struct err e;
    struct result x[6], y[6];
    struct results a, b;
    struct stats_paired p, q;
    fill(&a, x, 6, "111100");
    fill(&b, y, 6, "110011");
    snprintf(y[5].id, sizeof y[5].id, "other");
    struct result t = y[0];
    y[0] = y[4];
    y[4] = t;
    ok(stats_pair(&a, &b, 2000, 42, &p, &e));
    assert_int_equal(p.n, 5);
    assert_int_equal(p.both, 2);
    assert_int_equal(p.only_a, 2);
    assert_int_equal(p.only_b, 1);
    assert_int_equal(p.neither, 0);
    near_to(p.difference, 0.2, 1e-12);
    near_to(p.p, 1, 1e-12);
    assert_true(p.lo >= -1 && p.lo <= 0.2 && p.hi >= 0.2 && p.hi <= 1);
    ok(stats_pair(&a, &b, 2000, 42, &q, &e));
    assert_memory_equal(&p, &q, sizeof p);
    b.n = 0;
    fails(stats_pair(&a, &b, 10, 1, &p, &e), ERR_DATA, "no question in common");
}

/* 400 questions, 60 only by a and 40 only by b: the normal approximation of the difference's standard
 * error is sqrt((60 + 40) - (60 - 40)^2 / 400) / 400 = 0.024875. */
static void bootstrap_interval_has_the_right_width(void **state)
{
    (void)state;
    struct err e;
    enum { N = 400 };
    static struct result x[N], y[N];
    static char ra[N + 1], rb[N + 1];
    struct results a, b;
    struct stats_paired p;
    for (int i = 0; i < N; i++) {
        ra[i] = i < 60 || i >= 100 ? '1' : '0';
        rb[i] = i >= 60 ? '1' : '0';
    }
    fill(&a, x, N, ra);
    fill(&b, y, N, rb);
    ok(stats_pair(&a, &b, 10000, 7, &p, &e));
    near_to(p.difference, 0.05, 1e-12);
    near_to(p.lo, 0.05 - 1.96 * 0.024875, 0.003);
    near_to(p.hi, 0.05 + 1.96 * 0.024875, 0.003);
}

static void a_summary_keeps_every_question_in_the_denominator(void **state)
{
    (void)state;
    struct err e;
    struct result r[6];
    struct results rs;
    struct stats_summary s;
    fill(&rs, r, 6, "111000");
    r[4].state = CONSULT_UNPARSED;
    r[5].state = CONSULT_FAILED;
    r[0].selected[0] = "ent";
    r[3].selected[0] = "ent";
    r[3].selected[1] = "cardiology";
    r[0].n_selected = 1;
    r[3].n_selected = 2;
    r[1].agreement = 0.5;
    r[2].agreement = 1;
    r[0].joules = 36000;
    ok(stats_summarize(&rs, 0.12, &s, &e));
    assert_int_equal(s.accuracy.n, 6);
    assert_int_equal(s.accuracy.k, 3);
    assert_int_equal(s.answered, 4);
    assert_int_equal(s.unparsed, 1);
    assert_int_equal(s.failed, 1);
    assert_int_equal(s.n_step, 2);
    assert_string_equal(s.step[0].name, "step1");
    assert_int_equal(s.step[0].rate.k, 1);
    assert_int_equal(s.step[1].rate.k, 2);
    assert_int_equal(s.n_specialty, 2);
    assert_string_equal(s.specialty[0].name, "cardiology");
    assert_int_equal(s.specialty[1].rate.n, 2);
    assert_int_equal(s.specialty[1].rate.k, 1);
    near_to(s.agreement, 0.75, 1e-12);
    near_to(s.seconds.median, 2.5, 1e-12);
    near_to(s.cost, 0.0012, 1e-12); /* 0.01 kWh */
    near_to(s.prompt_tokens, 100, 1e-12);
    assert_true(isnan(s.ece));
}

static void csv_has_the_agreed_columns_and_quotes(void **state)
{
    (void)state;
    struct result r[2];
    struct results rs;
    struct str s = STR_INIT;
    fill(&rs, r, 2, "10");
    r[0].question = "A man, 40, says \"no\".\nWhy?";
    r[1].predicted = -1;
    r[1].state = CONSULT_UNPARSED;
    report_csv(&rs, &s);
    assert_string_equal(s.s,
                        "trace_id,question,predicted_answer,correct_answer,is_correct,"
                        "total_latency_seconds,total_tokens,n_specialists\r\n"
                        "0000,\"A man, 40, says \"\"no\"\".\nWhy?\",B,B,true,0.000,110,0\r\n"
                        "0001,q,,B,false,1.000,110,0\r\n");
    str_free(&s);
}

static void tables_fit_their_width_and_name_what_is_missing(void **state)
{
    (void)state;
    struct err e;
    struct result r[6];
    struct results rs;
    struct stats_summary s;
    fill(&rs, r, 6, "111000");
    for (int i = 0; i < 6; i++) {
        r[i].selected[0] = "cardiology";
        r[i].selected[1] = "family_internal_medicine";
        r[i].selected[2] = "ent";
        r[i].n_selected = 3;
    }
    ok(stats_summarize(&rs, 0.12, &s, &e));
    for (int width = 80; width <= 120; width += 40) {
        struct str t = STR_INIT;
        report_table(&s, "title", width, &t);
        for (const char *p = t.s; *p;) {
            size_t n = strcspn(p, "\n");
            if (n > (size_t)width)
                fail_msg("%zu columns: %.*s", n, (int)n, p);
            p += n + (p[n] == '\n');
        }
        assert_non_null(strstr(t.s, "50.0 %  3/6"));
        assert_non_null(strstr(t.s, "not measured"));
        assert_non_null(strstr(t.s, "family_internal_medicine"));
        str_free(&t);
    }
    rs.n = 0;
    ok(stats_summarize(&rs, 0.12, &s, &e));
    struct str t = STR_INIT;
    report_table(&s, "title", 80, &t);
    assert_non_null(strstr(t.s, "no questions"));
    str_free(&t);
}

static void runs_stand_side_by_side(void **state)
{
    (void)state;
    struct report_run run[2] = {{.name = "direct"}, {.name = "panel"}};
    struct stats_summary *s = &run[0].summary;
    s->accuracy = stats_wilson(47, 100);
    s->unparsed = 2, s->failed = 1;
    s->calls = 1, s->prompt_tokens = 250, s->cached_tokens = 100, s->new_tokens = 3;
    s->seconds = (struct stat_summary){.n = 100, .median = 0.25};
    s->joules = (double)NAN;
    run[1].summary = *s;
    run[1].summary.calls = 7;
    run[1].paired = (struct stats_paired){.n = 100, .difference = -0.125, .p = 0.03125};
    struct str t = STR_INIT;
    report_runs(run, 2, &t);
    const char *rows = strchr(t.s, '\n');
    assert_non_null(rows);
    assert_memory_equal(t.s, "run     acc.%  95 % int.  none calls computed   new seconds   diff", 66);
    const char want[] = "\n"
                        "direct   47.0  37.5-56.7     3   1.0      150     3    0.25\n"
                        "panel    47.0  37.5-56.7     3   7.0      150     3    0.25  +12.5   0.031\n";
    if (strncmp(rows, want, strlen(want)) != 0)
        fail_msg("the table is\n%s", t.s);
    str_free(&t);
    run[1].summary.joules = 12.34;
    report_runs(run, 2, &t);
    assert_non_null(strstr(t.s, "seconds  joules   diff"));
    assert_non_null(strstr(t.s, "    0.25       -"));
    assert_non_null(strstr(t.s, "    0.25    12.3  +12.5"));
    str_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wilson_interval),
        cmocka_unit_test(mcnemar_exact),
        cmocka_unit_test(calibration_error),
        cmocka_unit_test(pairs_by_id_whatever_the_order),
        cmocka_unit_test(bootstrap_interval_has_the_right_width),
        cmocka_unit_test(a_summary_keeps_every_question_in_the_denominator),
        cmocka_unit_test(csv_has_the_agreed_columns_and_quotes),
        cmocka_unit_test(tables_fit_their_width_and_name_what_is_missing),
        cmocka_unit_test(runs_stand_side_by_side),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
