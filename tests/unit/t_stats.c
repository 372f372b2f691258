/* Statistics against values that other programs computed. */
#include <math.h>

#include "prices.h"
#include "report.h"
#include "stats.h"
#include "test.h"
#include "trace.h"

static void near_to(double got, double want, double tol)
{
    if (!(fabs(got - want) <= tol))
        fail_msg("%.17g, want %.17g within %g", got, want, tol);
}

/* Expected score intervals: Wilson's formula with p = k/n, evaluated in Python with z =
 * 1.959963984540054. Any table of the method has 0.3751 to 0.5671 for 47/100. */
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

/* Two-sided binomial tail, exact with Python's fractions: 2 * sum C(n, i) / 2^n for i <= min(b,
 * c). */
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

#define ROWS 400

struct made { /* a run of made-up results; rows: records, one question each */
    struct trace_run run;
    struct result r[ROWS];
    struct records_row row[ROWS];
};

static void fill(struct made *m, const char *right)
{
    size_t n = strlen(right);
    memset(m, 0, sizeof *m);
    m->run = (struct trace_run){.records = {.r = m->row, .n = n},
                                .results = {.r = m->r, .n = n},
                                .asked = n,
                                .json = STR_INIT};
    for (size_t i = 0; i < n; i++) {
        m->r[i] = (struct result){.index = (int64_t)i,
                                  .state = CONSULT_ANSWERED,
                                  .n_options = 4,
                                  .predicted = right[i] == '1' ? 1 : 2,
                                  .key = 1,
                                  .correct = right[i] == '1',
                                  .question = "q",
                                  .answer = "",
                                  .why = "",
                                  .agreement = (double)NAN,
                                  .step = "",
                                  .p = (double)NAN,
                                  .joules = (double)NAN,
                                  .energy = "",
                                  .seconds = (double)i,
                                  .calls = 7,
                                  .prompt_tokens = 100,
                                  .new_tokens = 10};
        m->row[i] = (struct records_row){.of = i,
                                         .line = (int64_t)i + 1,
                                         .key = 1,
                                         .question = "q",
                                         .step = i % 2 ? "step1" : "step2&3",
                                         .why = ""};
        snprintf(m->r[i].id, sizeof m->r[i].id, "%04zu", i);
        snprintf(m->row[i].id, sizeof m->row[i].id, "%04zu", i);
    }
}

static void pairs_by_id_whatever_the_order(void **state)
{
    (void)state;
    struct err e;
    static struct made a, b;
    struct stats_paired p, q;
    fill(&a, "111100");
    fill(&b, "110011");
    snprintf(b.r[5].id, sizeof b.r[5].id, "other");
    struct result t = b.r[0];
    b.r[0] = b.r[4];
    b.r[4] = t;
    ok(stats_pair(&a.run, &b.run, 2000, 42, &p, &e));
    assert_int_equal(p.n, 5);
    assert_int_equal(p.left_out, 1); /* "other" is no record of either */
    assert_int_equal(p.both, 2);
    assert_int_equal(p.only_a, 2);
    assert_int_equal(p.only_b, 1);
    assert_int_equal(p.neither, 0);
    near_to(p.difference, -0.2, 1e-12); /* b minus a */
    near_to(p.p, 1, 1e-12);
    assert_true(p.lo >= -1 && p.lo <= -0.2 && p.hi >= -0.2 && p.hi <= 1);
    ok(stats_pair(&a.run, &b.run, 2000, 42, &q, &e));
    assert_memory_equal(&p, &q, sizeof p);
    b.run.asked = 3; /* later records are left out */
    ok(stats_pair(&a.run, &b.run, 10, 1, &p, &e));
    assert_int_equal(p.n, 3);
    assert_int_equal(p.left_out, 3); /* which a alone was asked */
}

static void runs_without_a_common_question_have_no_difference(void **state)
{
    (void)state;
    struct err e;
    static struct made a, b;
    struct stats_paired p;
    fill(&a, "11");
    fill(&b, "10");
    snprintf(b.r[0].id, sizeof b.r[0].id, "x");
    snprintf(b.r[1].id, sizeof b.r[1].id, "y");
    ok(stats_pair(&a.run, &b.run, 10, 1, &p, &e));
    assert_int_equal(p.n, 0);
    assert_true(isnan(p.difference) && isnan(p.lo) && isnan(p.hi) && isnan(p.p));
    b.run.results.n = 0;
    ok(stats_pair(&a.run, &b.run, 10, 1, &p, &e));
    assert_int_equal(p.n, 0);
}

/* 400 questions, of which only a has 60 right and only b has 40. The normal approximation of the
 * difference's standard error is sqrt((60 + 40) - (60 - 40)^2 / 400) / 400 = 0.024875. */
static void bootstrap_interval_has_the_right_width(void **state)
{
    (void)state;
    struct err e;
    enum { N = 400 };
    static struct made a, b;
    static char ra[N + 1], rb[N + 1];
    struct stats_paired p;
    for (int i = 0; i < N; i++) {
        ra[i] = i < 60 || i >= 100 ? '1' : '0';
        rb[i] = i >= 60 ? '1' : '0';
    }
    fill(&a, ra);
    fill(&b, rb);
    ok(stats_pair(&a.run, &b.run, 10000, 7, &p, &e));
    near_to(p.difference, -0.05, 1e-12);
    near_to(p.lo, -0.05 - 1.96 * 0.024875, 0.003);
    near_to(p.hi, -0.05 + 1.96 * 0.024875, 0.003);
}

static void a_summary_keeps_every_question_in_the_denominator(void **state)
{
    (void)state;
    struct err e;
    static struct made m;
    struct stats_summary s;
    fill(&m, "111000");
    struct result *r = m.r;
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
    r[4].cut = 2;
    r[1].closed = 3;
    r[2].closed = 1;
    ok(stats_summarize(&m.run, 0.12, &s, &e));
    assert_int_equal(s.accuracy.n, 6);
    assert_int_equal(s.accuracy.k, 3);
    assert_int_equal(s.answered, 4);
    assert_int_equal(s.unparsed, 1);
    assert_int_equal(s.failed, 1);
    assert_int_equal(s.calls_cut, 2);
    assert_int_equal(s.cases_cut, 1);
    assert_int_equal(s.calls_closed, 4);
    assert_int_equal(s.cases_closed, 2);
    assert_int_equal(s.n_step, 2);
    assert_string_equal(s.step[0].name, "step1");
    assert_int_equal(s.step[0].rate.k, 1);
    assert_int_equal(s.step[1].rate.k, 2);
    assert_int_equal(s.n_specialty, 2);
    assert_string_equal(s.specialty[0].name, "cardiology");
    assert_int_equal(s.specialty[1].rate.n, 2);
    assert_int_equal(s.specialty[1].rate.k, 1);
    near_to(s.agreement, 0.75, 1e-12);
    assert_int_equal(s.n_agreement, 2);
    near_to(s.seconds.median, 2.5, 1e-12);
    near_to(s.cost, 0.0012, 1e-12); /* 0.01 kWh */
    near_to(s.prompt_tokens, 100, 1e-12);
    assert_true(isnan(s.ece));
    stats_free(&s);
}

/* Records of a file: 0 right, 1 rejected, 2 a copy of 0, 3 wrong, 4 a copy of 5, 5 not run, 6 not
 * asked. */
static void mixed(struct made *m)
{
    fill(m, "1110111");
    m->row[1] = (struct records_row){.kind = MEDQA_REJECTED,
                                     .of = 1,
                                     .line = 2,
                                     .key = -1,
                                     .question = "",
                                     .step = "",
                                     .why = "key 'question' is missing"};
    m->row[2].kind = MEDQA_DUPLICATE;
    m->row[2].of = 0;
    m->row[3].step = "";
    m->row[5].kind = MEDQA_DUPLICATE;
    m->row[5].of = 4;
    m->r[1] = m->r[3]; /* results: of records 0, 3, 6 */
    m->r[2] = m->r[6];
    m->run.results.n = 3;
    m->run.asked = 6;
}

static void every_record_of_the_file_stands_in_the_figures(void **state)
{
    (void)state;
    struct err e;
    static struct made m;
    struct stats_summary s;
    size_t in_steps = 0;
    char partial[64];
    mixed(&m);
    ok(stats_summarize(&m.run, (double)NAN, &s, &e));
    assert_int_equal(s.accuracy.k, 2);
    assert_int_equal(s.accuracy.n, 6);
    assert_int_equal(s.so_far.k, 2);
    assert_int_equal(s.so_far.n, 4);
    assert_int_equal(s.rejected, 1);
    assert_int_equal(s.duplicates, 2);
    assert_int_equal(s.not_run, 1);
    assert_int_equal(s.answered, 2);
    assert_int_equal(s.answered + s.unparsed + s.failed + s.planned + s.not_run + s.duplicates +
                         s.rejected,
                     s.accuracy.n);
    near_to(s.accuracy.lo, stats_wilson(2, 6).lo,
            0); /* the two that are not known: wrong, and right */
    near_to(s.accuracy.hi, stats_wilson(4, 6).hi, 0);
    near_to(s.calls, 7, 0);
    assert_int_equal(s.seconds.n, 2);
    assert_int_equal(s.n_step, 4);
    assert_string_equal(s.step[0].name, STATS_NO_STEP);
    assert_string_equal(s.step[1].name, STATS_REJECTED);
    for (size_t i = 0; i < s.n_step; i++)
        in_steps += s.step[i].rate.n;
    assert_int_equal(in_steps, 6);
    stats_partial(&s, partial);
    assert_string_equal(partial, "partial, 4 of 6");
    stats_free(&s);
    fill(&m, "11");
    ok(stats_summarize(&m.run, 1, &s, &e));
    stats_partial(&s, partial);
    assert_string_equal(partial, "");
    stats_free(&s);
}

/* 8 records of two steps, of which the first 3 questions are finished: a step's interval is as wide
 * as that of the whole run. */
static void a_step_of_an_unfinished_run_is_no_worse_than_its_questions(void **state)
{
    (void)state;
    struct err e;
    static struct made m;
    struct stats_summary s;
    struct str t = STR_INIT;
    fill(&m, "11111111");
    for (int i = 0; i < 8; i++)
        m.row[i].step = i < 5 ? "one" : "two";
    m.run.results.n = 3;
    ok(stats_summarize(&m.run, (double)NAN, &s, &e));
    assert_int_equal(s.n_step, 2);
    assert_int_equal(s.step[0].rate.k, 3);
    assert_int_equal(s.step[0].rate.n, 5);
    assert_int_equal(s.step[0].unknown, 2);
    near_to(s.step[0].rate.lo, stats_wilson(3, 5).lo, 0);
    near_to(s.step[0].rate.hi, 1, 0);
    assert_int_equal(s.step[1].unknown, 3);
    near_to(s.step[1].rate.lo, 0, 0);
    near_to(s.step[1].rate.hi, 1, 0);
    report_table(&s, "t", 120, &t);
    assert_non_null(strstr(t.s, "3/5    (23 to 100), 2 not run\n"));
    assert_non_null(strstr(t.s, "0/3    (0 to 100), 3 not run\n"));
    str_clear(&t);
    report_json(&s, "", "", &t);
    assert_non_null(strstr(t.s, "\"high\": 1, \"done\": 3}, \"two\": "));
    assert_non_null(strstr(t.s, "\"high\": 1, \"done\": 0}}"));
    str_free(&t);
    stats_free(&s);
}

/* Answers of another program: their replies are not known, and all finished ones count. */
static void figures_of_imported_answers_are_not_zero_but_unknown(void **state)
{
    (void)state;
    struct err e;
    static struct made m;
    struct stats_summary s;
    struct str t = STR_INIT;
    fill(&m, "110");
    for (int i = 0; i < 3; i++) {
        struct result *r = &m.r[i];
        r->imported = true;
        r->calls = 0;
        r->prompt_tokens = r->cached_tokens = r->new_tokens = -1;
        r->seconds = (double)NAN;
    }
    m.r[0].prompt_tokens = 200; /* its file has these alone */
    m.r[2].p = 0.5;
    assert_int_equal(result_computed(&m.r[0]), -1);
    assert_int_equal(result_computed(&m.r[1]), -1);
    ok(stats_summarize(&m.run, (double)NAN, &s, &e));
    assert_true(s.imported && isnan(s.calls) && isnan(s.think_tokens));
    assert_int_equal(s.finished, 3);
    assert_int_equal(s.seconds.n, 0);
    report_json(&s, "", "", &t);
    assert_non_null(strstr(t.s, "\"calls_cut\": null, \"cases_cut\": null, \"calls_closed\": null, "
                                "\"cases_closed\": null"));
    assert_null(strstr(t.s, "nan"));
    str_clear(&t);
    report_table(&s, "t", 80, &t);
    assert_non_null(strstr(t.s, "has a probability; 2 have none"));
    str_clear(&t);
    const struct report_form form = {.think = true}; /* beside a run that thinks */
    ok(report_csv_rows(&m.run, &form, "", &t, &e));
    assert_non_null(strstr(t.s, ",answered,,,,,,\r\n"));
    str_free(&t);
    stats_free(&s);
}

/* The surest half, 80 % and 90 % of equally sure answers are all of them: one line says so. */
static void equal_probabilities_have_one_line(void **state)
{
    (void)state;
    struct err e;
    static struct made m;
    struct stats_summary s;
    struct str t = STR_INIT;
    fill(&m, "1110");
    for (int i = 0; i < 4; i++)
        m.r[i].p = 0.75;
    ok(stats_summarize(&m.run, (double)NAN, &s, &e));
    report_table(&s, "t", 80, &t);
    const char *one = strstr(t.s, "100.0 %, p at least 0.750");
    if (!one)
        fail_msg("%s", t.s);
    assert_null(strstr(one + 20, "p at least"));
    assert_non_null(strstr(one, "answers of equal probability are kept together"));
    stats_free(&s);
    for (int i = 0; i < 4; i++)
        m.r[i].p = 0.5 + 0.1 * i;
    str_clear(&t);
    ok(stats_summarize(&m.run, (double)NAN, &s, &e));
    report_table(&s, "t", 80, &t);
    assert_non_null(strstr(t.s, " 50.0 %, p at least 0.700"));
    assert_non_null(strstr(t.s, "100.0 %, p at least 0.500"));
    str_free(&t);
    stats_free(&s);
}

static void more_steps_than_a_table_shows_are_all_in_the_summary(void **state)
{
    (void)state;
    struct err e;
    static struct made m;
    static char names[ROWS][24], right[ROWS + 1];
    struct stats_summary s;
    struct str t = STR_INIT;
    memset(right, '1', ROWS);
    fill(&m, right);
    for (int i = 0; i < ROWS; i++) {
        snprintf(names[i], sizeof names[i], "step %03d", i / 2);
        m.row[i].step = names[i];
    }
    ok(stats_summarize(&m.run, 1, &s, &e));
    assert_int_equal(s.n_step, ROWS / 2);
    report_table(&s, "t", 80, &t);
    assert_non_null(strstr(t.s, "and 136 more: summary.json has all"));
    str_clear(&t);
    report_json(&s, "", "", &t);
    assert_non_null(strstr(t.s, "\"step 199\": {\"correct\": 2, \"n\": 2"));
    str_free(&t);
    stats_free(&s);
}

static void the_reports_name_every_kind_of_record(void **state)
{
    (void)state;
    struct err e;
    static struct made m;
    struct stats_summary s;
    struct str t = STR_INIT;
    static const char *const in_table[] = {"partial, 4 of 6 records",
                                           "50.0 %  2/4",
                                           "33.3 %  2/6",
                                           "1 rejected, 1 not run",
                                           "6: 3 questions, 2 duplicates",
                                           "2 calls cut (1 questions), 1 closed early"};
    static const char *const in_json[] = {"\"status\": \"partial, 4 of 6\"",
                                          "\"records\": 6",
                                          "\"done\": 4",
                                          "\"not_run\": 1",
                                          "\"rejected\": 1",
                                          "\"duplicates\": 2",
                                          "\"calls_cut\": 2, \"cases_cut\": 1",
                                          "\"calls_closed\": 1, \"cases_closed\": 1"};
    mixed(&m);
    m.r[0].cut = 2;
    m.r[1].closed = 1;
    ok(stats_summarize(&m.run, (double)NAN, &s, &e));
    report_table(&s, "t", 80, &t);
    for (size_t i = 0; i < sizeof in_table / sizeof in_table[0]; i++)
        if (!strstr(t.s, in_table[i]))
            fail_msg("no '%s' in\n%s", in_table[i], t.s);
    for (int file = 0; file < 2; file++) {
        str_clear(&t);
        if (file)
            report_json(&s, "", "", &t);
        else
            report_figures(&s, &t);
        for (size_t i = 0; i < sizeof in_json / sizeof in_json[0]; i++)
            if (!strstr(t.s, in_json[i]))
                fail_msg("no '%s' in\n%s", in_json[i], t.s);
    }
    str_free(&t);
    stats_free(&s);
}

static void csv_has_the_agreed_columns_and_a_row_for_every_record(void **state)
{
    (void)state;
    struct err e;
    static struct made m;
    struct str s = STR_INIT;
    mixed(&m);
    m.row[0].question = m.row[2].question = "A man, 40, says \"no\".\nWhy?";
    m.r[1].predicted = -1;
    m.r[1].state = CONSULT_UNPARSED;
    m.r[1].why = "no, \"A\"";
    m.r[1].cut = 1;
    m.r[0].joules = 250;
    m.r[0].cached_tokens = 10;
    ok(report_csv(&m.run, &s, &e));
    assert_string_equal(
        s.s, "trace_id,question,predicted_answer,correct_answer,is_correct,total_latency_seconds,"
             "total_tokens,"
             "n_specialists,line,status,calls_cut,calls_closed,reason,joules,joules_per_token\r\n"
             "0000,\"A man, 40, says "
             "\"\"no\"\".\nWhy?\",B,B,true,0.000,110,0,1,answered,0,0,,250,2.5\r\n"
             ",,,,false,,,,2,rejected,,,key 'question' is missing,,\r\n"
             "0002,\"A man, 40, says \"\"no\"\".\nWhy?\",B,B,true,,,,3,duplicate,,,the same "
             "question as line 1,,\r\n"
             "0003,q,,B,false,3.000,110,0,4,unparsed,1,0,\"no, \"\"A\"\"\",,\r\n"
             "0004,q,,B,false,,,,5,not run,,,,,\r\n"
             "0005,q,,B,false,,,,6,duplicate,,,the same question as line 5,,\r\n");
    str_free(&s);
}

#define NO_NVML                                                                                    \
    "not measured: no NVML (libnvidia-ml.so.1: cannot open shared object file: No such file or "   \
    "directory)"

/* Of the table: true if some line has all of the text. */
static bool table_has(const struct stats_summary *s, const char *text)
{
    struct str t = STR_INIT, flat = STR_INIT;
    report_table(s, "title", 80, &t);
    for (const char *p = t.s; *p;) { /* a line that goes on below its head's end is one line */
        size_t n = strcspn(p, "\n"), indent = strspn(p, " ");
        assert_true(n <= 80);
        if (indent == 18)
            str_addc(&flat, ' ');
        else
            str_addc(&flat, '\n');
        str_add(&flat, p + (indent == 18 ? 18 : 0), n - (indent == 18 ? 18 : 0));
        p += n + (p[n] == '\n');
    }
    bool found = strstr(flat.s, text) != NULL;
    if (!found)
        print_message("'%s' is not in\n%s", text, t.s);
    str_free(&t);
    str_free(&flat);
    return found;
}

static bool json_has(const struct stats_summary *s, const char *text)
{
    struct str t = STR_INIT;
    report_json(s, "", "", &t);
    bool found = strstr(t.s, text) != NULL;
    if (!found)
        print_message("'%s' is not in\n%s", text, t.s);
    str_free(&t);
    return found;
}

static void energy_is_that_of_the_questions_that_have_it(void **state)
{
    (void)state;
    struct err e;
    static struct made m;
    struct stats_summary s;
    fill(&m, "1110");
    ok(stats_summarize(&m.run, 0.12, &s, &e)); /* as in folders without a source */
    assert_true(isnan(s.joules) && s.n_joules == 0);
    assert_true(table_has(&s, "energy          not measured\n"));
    assert_true(json_has(&s, ", \"energy\": \"not measured\", \"energy_gap\": null"));
    assert_true(json_has(&s, "\"joules\": null, \"joules_n\": 0, "));
    stats_free(&s);

    for (int i = 0; i < 4; i++)
        m.r[i].energy = NO_NVML;
    ok(stats_summarize(&m.run, 0.12, &s, &e));
    assert_true(table_has(&s, "energy          " NO_NVML "\n"));
    assert_true(json_has(&s, ", \"energy\": \"" NO_NVML "\", \"energy_gap\": null"));
    stats_free(&s);

    m.r[2].energy = m.r[3].energy = "GPU: NVML energy counter; CPU: RAPL, 1 package";
    m.r[2].joules = 100; /* 100 prompt tokens, 10 new ones */
    m.r[3].joules = 254;
    m.r[3].cached_tokens = 50;
    ok(stats_summarize(&m.run, 0.36, &s, &e));
    assert_int_equal(s.n_joules, 2);
    near_to(s.joules, 177, 1e-12);
    near_to(s.joules_per_token, 354.0 / (110 + 60), 1e-12);
    near_to(s.joules_per_new_token, 354.0 / 20, 1e-12);
    near_to(s.cost, 177e-7, 1e-15);
    assert_true(table_has(&s, "energy          177 J a question, 2.08 J a token computed, 17.7 J a "
                              "new token, 0.018 USD for 1,000 questions "
                              "GPU: NVML energy counter; CPU: RAPL, 1 package "
                              "means over 2 of 4 questions; the others: " NO_NVML "\n"));
    assert_true(json_has(&s, "\"joules\": 177, \"joules_n\": 2, "));
    assert_true(json_has(&s, ", \"energy\": \"GPU: NVML energy counter; CPU: RAPL, 1 package\", "
                             "\"energy_gap\": \"" NO_NVML "\""));
    stats_free(&s);

    for (int i = 0; i < 4; i++) { /* a question answered by scores generates nothing */
        m.r[i].joules = 1;
        m.r[i].new_tokens = 0;
        m.r[i].energy = "CPU: RAPL, 1 package";
    }
    ok(stats_summarize(&m.run, 0.12, &s, &e));
    assert_true(isnan(s.joules_per_new_token));
    assert_true(
        table_has(&s, "1 J a question, 0.0114 J a token computed, 3.3e-05 USD for 1,000 questions "
                      "CPU: RAPL, 1 package\n"));
    assert_true(json_has(&s, "\"joules_per_new_token\": null"));
    assert_true(json_has(&s, "\"energy_gap\": null"));
    stats_free(&s);
}

/* 1,000 prompt tokens and 100 new ones a question, and 150 of thinking, at a list's price. */
static void the_same_tokens_have_a_list_price(void **state)
{
    (void)state;
    struct err e;
    static struct made m;
    struct stats_summary s;
    size_t n;
    const struct price *p = prices_all(&n);
    char text[64];
    assert_true(n > 2);
    for (size_t i = 0; i < n; i++) {
        assert_true(p[i].prompt > 0 && p[i].completion >= p[i].prompt);
        assert_true(strlen(p[i].date) >= 7 && !strncmp(p[i].date, "20", 2) && *p[i].source);
    }
    fill(&m, "10");
    for (int i = 0; i < 2; i++) {
        m.r[i].prompt_tokens = 1000;
        m.r[i].cached_tokens = 900;
        m.r[i].new_tokens = 100;
        m.r[i].think_tokens = 150;
    }
    ok(stats_summarize(&m.run, 0.12, &s, &e));
    double usd = (1000 * p[0].prompt + 250 * p[0].completion) / 1e6;
    near_to(prices_usd(&p[0], s.prompt_tokens, s.new_tokens + s.think_tokens), usd, 1e-15);
    snprintf(text, sizeof text, "%9.4g  (%.2f, replies", 1000 * usd, p[0].prompt);
    assert_true(table_has(&s, text));
    snprintf(text, sizeof text, "\"usd_per_question\": %.10g,", usd);
    assert_true(json_has(&s, text));
    stats_free(&s);
    m.run.results.n = 0; /* nothing is finished */
    ok(stats_summarize(&m.run, 0.12, &s, &e));
    assert_true(json_has(&s, "\"usd_per_question\": null"));
    stats_free(&s);
}

static void tables_fit_their_width_and_name_what_is_missing(void **state)
{
    (void)state;
    struct err e;
    static struct made m;
    struct stats_summary s;
    fill(&m, "111000");
    for (int i = 0; i < 6; i++) {
        m.r[i].selected[0] = "cardiology";
        m.r[i].selected[1] = "family_internal_medicine";
        m.r[i].selected[2] = "ent";
        m.r[i].n_selected = 3;
    }
    m.row[0].step = "a step of the longest name that a record may have, 63 bytes....";
    struct roles_row role = {.name = "a role of a long name, which is cut off",
                             .calls = 99999999,
                             .unparsed = 99999999,
                             .cut = 999999,
                             .closed = 999999,
                             .prompt_tokens = 99999999 * INT64_C(131072),
                             .cached_tokens = 99999999 * INT64_C(131072),
                             .new_tokens = 99999999 * INT64_C(131072)};
    m.run.roles = (struct roles){.r = &role, .n = 1};
    ok(stats_summarize(&m.run, 0.12, &s, &e));
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
        assert_non_null(strstr(t.s, "a role of a long n 99999999 99999999 999999 999999  131072"));
        str_free(&t);
    }
    stats_free(&s);
    m.run.asked = 0;
    m.run.roles = (struct roles){.n = 0};
    ok(stats_summarize(&m.run, 0.12, &s, &e));
    struct str t = STR_INIT;
    report_table(&s, "title", 80, &t);
    assert_non_null(strstr(t.s, "no questions"));
    str_free(&t);
    stats_free(&s);
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
    run[1].paired = (struct stats_paired){.n = 100, .difference = 0.125, .p = 0.03125};
    struct str t = STR_INIT;
    report_runs(run, 2, &t);
    const char *rows = strchr(t.s, '\n');
    assert_non_null(rows);
    assert_memory_equal(t.s, "run     acc.%  95 % int.  none calls computed   new seconds   diff",
                        66);
    const char want[] =
        "\n"
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
    str_clear(&t);
    report_paired(&run[0], &run[1], &t); /* the same sign as in the table */
    assert_non_null(strstr(t.s, "panel against direct, 100 common questions"));
    assert_non_null(strstr(t.s, "+12.5 points (this run minus the first)"));
    str_clear(&t);
    run[1].summary.joules = (double)NAN;
    run[1].paired = (struct stats_paired){.difference = (double)NAN, .p = (double)NAN};
    s->accuracy = stats_wilson(3, 60);
    s->so_far = stats_wilson(3, 6);
    s->not_run = 54;
    report_runs(run, 2, &t);
    report_paired(&run[0], &run[1], &t);
    assert_non_null(strstr(t.s, "\ndirect (partial, 6 of 60)    5.0"));
    assert_non_null(strstr(t.s, "\npanel                       47.0  37.5-56.7     3   7.0      "
                                "150     3    0.25      -       -\n"));
    assert_non_null(strstr(t.s, "panel against direct (partial, 6 of 60): no question in common"));
    str_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wilson_interval),
        cmocka_unit_test(mcnemar_exact),
        cmocka_unit_test(calibration_error),
        cmocka_unit_test(pairs_by_id_whatever_the_order),
        cmocka_unit_test(runs_without_a_common_question_have_no_difference),
        cmocka_unit_test(bootstrap_interval_has_the_right_width),
        cmocka_unit_test(a_summary_keeps_every_question_in_the_denominator),
        cmocka_unit_test(every_record_of_the_file_stands_in_the_figures),
        cmocka_unit_test(a_step_of_an_unfinished_run_is_no_worse_than_its_questions),
        cmocka_unit_test(figures_of_imported_answers_are_not_zero_but_unknown),
        cmocka_unit_test(equal_probabilities_have_one_line),
        cmocka_unit_test(more_steps_than_a_table_shows_are_all_in_the_summary),
        cmocka_unit_test(the_reports_name_every_kind_of_record),
        cmocka_unit_test(csv_has_the_agreed_columns_and_a_row_for_every_record),
        cmocka_unit_test(energy_is_that_of_the_questions_that_have_it),
        cmocka_unit_test(the_same_tokens_have_a_list_price),
        cmocka_unit_test(tables_fit_their_width_and_name_what_is_missing),
        cmocka_unit_test(runs_stand_side_by_side),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
