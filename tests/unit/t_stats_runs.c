/* Runs side by side: common questions, settings, comparison, and its reports. */
#include <jansson.h>
#include <math.h>

#include "jdoc.h"
#include "report.h"
#include "stats_runs.h"
#include "test.h"
#include "trace.h"

static void near_to(double got, double want, double tol)
{
    if (!(fabs(got - want) <= tol))
        fail_msg("%.17g, want %.17g within %g", got, want, tol);
}

#define ROWS 40

struct made { /* a run whose record i is question ids[i] */
    struct trace_run run;
    struct result r[ROWS];
    struct records_row row[ROWS];
};

/* One record a character of outcome: 1 right, 0 wrong, - not finished, x rejected, = a duplicate of
 * the record before it. ids: one letter a record. */
static void make(struct made *m, const char *ids, const char *outcome, const char *json)
{
    size_t n = strlen(ids), k = 0;
    memset(m, 0, sizeof *m);
    assert_true(n <= ROWS && n == strlen(outcome));
    for (size_t i = 0; i < n; i++) {
        struct records_row *row = &m->row[i];
        *row = (struct records_row){.kind = MEDQA_QUESTION,
                                    .of = i,
                                    .line = (int64_t)i + 1,
                                    .key = 1,
                                    .question = "q",
                                    .step = "",
                                    .why = ""};
        row->id[0] = ids[i];
        if (outcome[i] == 'x') {
            row->kind = MEDQA_REJECTED;
            row->id[0] = 0;
        }
        if (outcome[i] == '=') {
            row->kind = MEDQA_DUPLICATE;
            row->of = i - 1;
        }
        if (outcome[i] != '0' && outcome[i] != '1')
            continue;
        m->r[k] = (struct result){.index = (int64_t)i,
                                  .state = CONSULT_ANSWERED,
                                  .n_options = 4,
                                  .predicted = outcome[i] == '1' ? 1 : 2,
                                  .key = 1,
                                  .correct = outcome[i] == '1',
                                  .question = "q",
                                  .answer = "",
                                  .why = "",
                                  .step = "",
                                  .energy = "",
                                  .agreement = (double)NAN,
                                  .joules = (double)NAN,
                                  .p = (double)NAN};
        m->r[k++].id[0] = ids[i];
    }
    m->run = (struct trace_run){.records = {.r = m->row, .n = n},
                                .results = {.r = m->r, .n = k},
                                .asked = n,
                                .json = {.s = (char *)(uintptr_t)json, .len = strlen(json)}};
}

static void common_questions_are_those_that_every_run_has_finished(void **state)
{
    (void)state;
    struct err e;
    static struct made a, b, c;
    const struct trace_run *all[] = {&a.run, &b.run, &c.run};
    struct stats_common t;
    make(&a, "abbcd?", "10=1-x", "");
    make(&b, "dcbaz", "110-1", "");
    make(&c, "cba", "001", "");
    ok(stats_common(all, 3, &t, &e));
    assert_int_equal(t.n, 2); /* b and c */
    assert_int_equal(t.left_out, 3);
    const unsigned char right[] = {0, 0, 0, 1, 1, 0};
    assert_memory_equal(t.right, right, sizeof right);
    assert_int_equal(t.answer[0], 2);
    assert_int_equal(t.answer[3], 1);
    stats_common_free(&t);
    b.run.asked = 1; /* d alone */
    ok(stats_common(all, 2, &t, &e));
    assert_int_equal(t.n, 0);
    assert_int_equal(t.left_out, 4);
    stats_common_free(&t);
    ok(stats_common(all, 1, &t, &e));
    assert_int_equal(t.n, 3);
    assert_int_equal(t.left_out, 1);
    stats_common_free(&t);
    ok(stats_common(NULL, 0, &t, &e));
    assert_int_equal(t.n, 0);
    stats_common_free(&t);
}

#define RUN(seed, rest)                                                                            \
    "{\"format\": 2, \"identity\": {\"config\": {\"seed\": " seed ", \"strategy\": \"x\"}, " rest  \
    "}, \"asked\": 8}"

/* Four runs of one setting, two of them with the same seed and one with its members in another
 * order. One run of other data, and two without a seed. */
static void settings_are_runs_that_differ_by_their_seed_alone(void **state)
{
    (void)state;
    struct err e;
    static struct made m[7];
    static const char *const json[] = {
        RUN("1", "\"data\": 1"),
        RUN("2", "\"data\": 1"),
        RUN("1", "\"data\": 1"),
        RUN("2", "\"data\": 2"),
        "{\"identity\": {\"data\": 1}}",
        "{\"identity\": {\"data\": 1, \"config\": {\"strategy\": \"x\", \"seed\": 3}}}",
        "{\"identity\": {\"data\": 1}}",
    };
    const size_t want[] = {0, 0, 1, 2, 3, 0, 4};
    const int64_t seed[] = {1, 2, 1, 2, -1, 3, -1};
    const struct trace_run *all[7];
    struct stats_compared c;
    for (int i = 0; i < 7; i++) {
        make(&m[i], "abcdefgh", "11110000", json[i]);
        all[i] = &m[i].run;
    }
    ok(stats_compare(all, 7, 10, 1, &c, &e));
    assert_int_equal(c.n_setting, 5);
    for (int i = 0; i < 7; i++) {
        assert_int_equal(c.setting[i], want[i]);
        assert_int_equal(c.seed[i], seed[i]);
    }
    assert_int_equal(c.settings[0].n_run, 3);
    assert_int_equal(c.settings[0].m.n_seed, 3);
    assert_int_equal(c.settings[2].first, 3);
    assert_int_equal(c.settings[2].n_run, 1);
    stats_compared_free(&c);
    m[1].run.json.len--; /* run.json is damaged */
    fails(stats_compare(all, 7, 10, 1, &c, &e), ERR_DATA, "");
}

/* Two seeds of a first setting, two of a second: differences of the eight questions are 0, 0, 1, 1,
 * 2, 2, 0 and -1 halves. Of the 2^5 signs of 1 1 2 2 1, 4 of each tail reach a sum of 5. */
static void a_comparison_has_every_test(void **state)
{
    (void)state;
    struct err e;
    static struct made m[5];
    static const char *const right[] = {"11100001", "11010001", "11111101", "11111100", "1-111100"};
    static const char *const json[] = {RUN("1", "\"data\": 1"), RUN("2", "\"data\": 1"),
                                       RUN("1", "\"data\": 2"), RUN("2", "\"data\": 2"), ""};
    const struct trace_run *all[5];
    struct stats_compared c;
    for (int i = 0; i < 5; i++) {
        make(&m[i], "abcdefgh", right[i], json[i]);
        all[i] = &m[i].run;
    }
    ok(stats_compare(all, 5, 500, 42, &c, &e));
    assert_int_equal(c.n, 7); /* b is not finished everywhere */
    assert_int_equal(c.left_out, 1);
    assert_int_equal(c.cochran.n_differ, 5);
    assert_int_equal(c.kappa.n_rater, 5);
    assert_int_equal(c.paired[3].n, 8);
    assert_int_equal(c.paired[3].left_out, 0);
    assert_int_equal(c.paired[4].left_out, 1);
    near_to(c.paired[2].p, 0.25, 1e-12); /* 0 : 3 */
    near_to(c.paired[2].p_holm, 1, 0);   /* 4 comparisons */
    assert_int_equal(c.n_setting, 3);
    const struct stats_setting *s = &c.settings[1];
    near_to(c.settings[0].m.mean, 8.0 / 16, 1e-12);
    near_to(c.settings[0].m.sd, 0, 1e-12);
    near_to(s->m.mean, 13.0 / 16, 1e-12);
    near_to(s->m.sd, sqrt(0.5) / 8, 1e-12); /* 7/8 and 6/8 */
    assert_int_equal(s->difference.n, 8);
    assert_int_equal(s->difference_left_out, 0);
    near_to(s->difference.mean, 5.0 / 16, 1e-12);
    assert_true(s->difference.lo < 5.0 / 16 && s->difference.hi > 5.0 / 16);
    near_to(s->p, 8.0 / 32, 1e-12);
    near_to(s->p_holm, 2 * 8.0 / 32, 1e-12);
    assert_int_equal(c.settings[2].difference_left_out, 1);
    assert_true(isnan(c.settings[0].p) && isnan(c.settings[2].m.sd));
    stats_compared_free(&c);
}

/* With one seed each, the test of settings is McNemar's, and the intervals are the same. */
static void settings_of_one_run_are_compared_like_runs(void **state)
{
    (void)state;
    struct err e;
    static struct made a, b;
    const struct trace_run *all[] = {&a.run, &b.run};
    struct stats_compared c;
    make(&a, "abcdefghijklmnop", "1110000111100000", RUN("1", "\"data\": 1"));
    make(&b, "abcdefghijklmnop", "1111111111000001", RUN("1", "\"data\": 2"));
    ok(stats_compare(all, 2, 500, 42, &c, &e));
    near_to(c.settings[1].p, c.paired[1].p, 1e-12);
    near_to(c.settings[1].difference.mean, c.paired[1].difference, 1e-12);
    near_to(c.settings[1].difference.lo, c.paired[1].lo, 1e-12);
    near_to(c.settings[1].difference.hi, c.paired[1].hi, 1e-12);
    near_to(c.paired[1].p_holm, c.paired[1].p, 0);
    stats_compared_free(&c);
}

static void run_without_questions(struct made *m)
{
    make(m, "", "", "");
}

static void has(const struct str *t, const char *text)
{
    if (!strstr(t->s, text)) {
        print_message("%s\n", t->s);
        fail_msg("no: %s", text);
    }
}

static void lines_fit(const struct str *t, size_t width)
{
    for (const char *p = t->s; *p;) {
        size_t n = strcspn(p, "\n");
        if (n > width)
            fail_msg("%zu columns: %.*s", n, (int)n, p);
        p += n + (p[n] == '\n');
    }
}

static void compare_and_report(struct made *m, size_t n, struct str *text, json_t **doc)
{
    struct err e;
    struct report_run *run = calloc(n, sizeof *run);
    const struct trace_run *all[8];
    static const char *const name[] = {"cot-1", "cot-2", "panel-1", "panel-2", "other"};
    struct stats_compared c;
    struct str json = STR_INIT;
    assert_non_null(run);
    for (size_t i = 0; i < n; i++) {
        all[i] = &m[i].run;
        run[i].name = name[i];
        ok(stats_summarize(all[i], (double)NAN, &run[i].summary, &e));
    }
    ok(stats_compare(all, n, 500, 42, &c, &e));
    for (size_t i = 0; i < n; i++)
        run[i].paired = c.paired[i];
    report_runs(run, (int)n, text);
    report_compared(run, &c, text);
    for (size_t i = 1; i < n; i++)
        report_paired(&run[0], &run[i], text);
    lines_fit(text, 105);
    report_compared_json(run, &c, &json);
    ok(jdoc_load(json.s, json.len, doc, &e));
    str_free(&json);
    for (size_t i = 0; i < n; i++)
        stats_free(&run[i].summary);
    free(run);
    stats_compared_free(&c);
}

static const json_t *at(const json_t *doc, const char *list, size_t i, const char *key)
{
    const json_t *v = json_object_get(json_array_get(json_object_get(doc, list), i), key);
    if (!v)
        fail_msg("no %s[%zu].%s", list, i, key);
    return v;
}

static void reports_show_what_was_compared_and_left_out(void **state)
{
    (void)state;
    static struct made m[5];
    static const char *const right[] = {"11100001", "11010001", "11111101", "11111100", "1-111100"};
    static const char *const json[] = {RUN("1", "\"data\": 1"), RUN("2", "\"data\": 1"),
                                       RUN("1", "\"data\": 2"), RUN("2", "\"data\": 2"), ""};
    struct str t = STR_INIT;
    json_t *doc = NULL;
    for (int i = 0; i < 5; i++)
        make(&m[i], "abcdefgh", right[i], json[i]);
    for (int i = 0; i < 8; i++) /* the first run has probabilities, two of them alike */
        m[0].r[i].p = i < 2 ? 0.95 : 0.9 - 0.1 * i;
    compare_and_report(m, 5, &t, &doc);
    has(&t, "   diff       p  p Holm\n");
    has(&t, "p Holm: adjusted for the 4 comparisons");
    has(&t, "5 runs, 7 questions that all have finished, 1 left out");
    has(&t, "Cochran's Q      ");
    has(&t, "told apart by    5 of 7 questions");
    has(&t, "Fleiss' kappa    ");
    has(&t, "cot-1 (seeds 1, 2)       2   50.0   0.0");
    has(&t, "panel-1 (seeds 1, 2)     2   81.2   8.8");
    has(&t, "other                    1   71.4     -      -     -      7     1");
    has(&t, "(BCa bootstrap)");
    has(&t,
        "80 % power       8 questions are too few to find any difference; this difference needs ");
    has(&t, "run          n   out    ECE  Brier   AURC   half%   80%\ncot-1        8     0");
    has(&t, "\npanel-1      0     8      -      -      -       -     -\n");
    assert_int_equal(json_array_size(json_object_get(doc, "runs")), 5);
    near_to(json_number_value(at(doc, "settings", 1, "p")), 8.0 / 32, 1e-9);
    assert_true(json_is_null(at(doc, "settings", 2, "sd")));
    assert_true(json_is_null(at(doc, "runs", 4, "seed")));
    assert_int_equal(json_integer_value(at(doc, "settings", 2, "left_out")), 1);
    assert_int_equal(json_array_size(at(doc, "settings", 1, "runs")), 2);
    near_to(json_number_value(at(doc, "paired", 1, "p_holm")), 1, 0);
    const json_t *sum = at(doc, "runs", 0, "summary");
    near_to(json_number_value(json_object_get(sum, "ece_n")), 8, 0);
    const json_t *half = json_array_get(json_object_get(sum, "coverage"), 0);
    near_to(json_number_value(json_object_get(half, "coverage")), 0.5, 1e-9);
    json_decref(doc);
    str_free(&t);
}

/* Two runs alike: no test is defined, and none is invented. */
static void what_is_not_defined_is_said(void **state)
{
    (void)state;
    static struct made m[3];
    struct str t = STR_INIT;
    json_t *doc = NULL;
    for (int i = 0; i < 3; i++)
        make(&m[i], "abc", "111", "");
    compare_and_report(m, 3, &t, &doc);
    has(&t, "not defined: no question tells the runs apart");
    has(&t, "not defined: all answers are the same");
    has(&t, "no interval: no question tells the runs apart");
    assert_null(strstr(t.s, "setting"));
    assert_true(json_is_null(json_object_get(json_object_get(doc, "together"), "cochran_p")));
    assert_true(json_is_null(at(doc, "paired", 0, "low")));
    json_decref(doc);
    str_clear(&t);
    run_without_questions(&m[0]);
    run_without_questions(&m[1]);
    run_without_questions(&m[2]);
    compare_and_report(m, 3, &t, &doc);
    has(&t, "no question in common");
    assert_true(json_is_null(at(doc, "paired", 0, "p")));
    json_decref(doc);
    str_clear(&t);
    compare_and_report(m, 1, &t, &doc); /* a run alone */
    assert_int_equal(json_array_size(json_object_get(doc, "paired")), 0);
    json_decref(doc);
    str_free(&t);
}

/* Every question differs in the same way; and 3 of 24 do, as a study of few questions has it. */
static void an_interval_and_a_test_that_disagree_are_told(void **state)
{
    (void)state;
    static struct made m[2];
    struct str t = STR_INIT;
    json_t *doc = NULL;
    make(&m[0], "abc", "000", "");
    make(&m[1], "abc", "111", "");
    compare_and_report(m, 2, &t, &doc);
    has(&t, "no interval: the same on every question");
    json_decref(doc);
    str_clear(&t);
    make(&m[0], "abcdefghijklmnopqrstuvwx", "111111111111111111111111", "");
    make(&m[1], "abcdefghijklmnopqrstuvwx", "111111111111111111111000", "");
    compare_and_report(m, 2, &t, &doc);
    has(&t, "p = 0.25");
    has(&t, "The interval and the test disagree");
    has(&t, "tell the runs apart, here 3: trust the exact test.");
    json_decref(doc);
    str_clear(&t);
    make(&m[1], "abcdefghijklmnopqrstuvwx", "111111111111110000000000", "");
    compare_and_report(m, 2, &t, &doc); /* 10 of 24: both find it */
    assert_null(strstr(t.s, "disagree"));
    json_decref(doc);
    str_free(&t);
    assert_true(stats_disagree(-0.1, 0.2, 0.01) && stats_disagree(0.1, 0.2, 0.05));
    assert_false(stats_disagree(0, 0.2, 0.5) || stats_disagree(-0.2, -0.1, 0.049));
    assert_false(stats_disagree((double)NAN, 0.2, 0.5) || stats_disagree(0.1, 0.2, (double)NAN));
}

static void named(const char *name, int64_t seed, const char *want)
{
    struct str t = STR_INIT;
    report_setting_name(name, seed, &t);
    assert_string_equal(t.s, want);
    str_free(&t);
}

/* A setting of seeds 7, 8, 9 is not called after its first seed. */
static void a_setting_has_no_seed_in_its_name(void **state)
{
    (void)state;
    named("cot,top_p=1,seed=7", 7, "cot,top_p=1");
    named("cot,seed=7,top_p=1", 7, "cot,top_p=1");
    named("seed=7,top_p=1", 7, "top_p=1");
    named("seed=7", 7, "all");
    named("runs/grid/seed=7,top_p=1", 7, "runs/grid/top_p=1");
    named("cot,seed=71,seed=7", 7, "cot,seed=71");
    named("cot,reseed=7", 7, "cot,reseed=7");
    named("cot,seed=7", 8, "cot,seed=7");
    named("cot-1", 1, "cot-1");
    named("cot,seed=-1", -1, "cot,seed=-1");
}

/* Two errors of 60 answers, both of one seed: the interval is wide, and the report says why. */
static void wide_intervals_of_few_seeds_are_explained(void **state)
{
    (void)state;
    static struct made m[3];
    static const char *const json[] = {RUN("1", "\"data\": 1"), RUN("2", "\"data\": 1"),
                                       RUN("3", "\"data\": 1")};
    struct str t = STR_INIT;
    json_t *doc = NULL;
    for (int i = 0; i < 3; i++)
        make(&m[i], "abcdefghijklmnopqrst", i ? "11111111111111111111" : "00111111111111111111",
             json[i]);
    compare_and_report(m, 3, &t, &doc);
    has(&t, "96.7   5.8   57.1  99.8");
    has(&t, "Few seeds make a wide interval");
    has(&t, "2.0 degrees of freedom and counts 4.30 standard errors instead of 1.96");
    json_decref(doc);
    str_clear(&t);
    make(&m[0], "abcdefghijklmnopqrst", "11111111111111111111", json[0]);
    compare_and_report(m, 3, &t, &doc);
    assert_null(strstr(t.s, "Few seeds"));
    json_decref(doc);
    str_free(&t);
}

/* A copied folder is the same run; another run with the same answers is not. */
static void a_copy_of_a_run_is_known(void **state)
{
    (void)state;
    struct err e;
    static struct made a, b;
    bool same = false;
    make(&a, "abc", "101", RUN("1", "\"data\": 1"));
    b = a;
    b.run.results.r = b.r;
    b.run.records.r = b.row;
    for (int i = 0; i < 3; i++)
        a.r[i].seconds = b.r[i].seconds = 0.5 + i;
    ok(stats_same_run(&a.run, &b.run, &same, &e));
    assert_true(same);
    b.r[2].seconds += 1e-9; /* the same answers, asked again */
    ok(stats_same_run(&a.run, &b.run, &same, &e));
    assert_false(same);
    b.r[2].seconds = a.r[2].seconds;
    b.run.json.s = (char *)(uintptr_t)RUN("2", "\"data\": 1");
    ok(stats_same_run(&a.run, &b.run, &same, &e));
    assert_false(same);
    b.run.json = a.run.json;
    b.run.results.n = 2;
    ok(stats_same_run(&a.run, &b.run, &same, &e));
    assert_false(same);
    a.run.results.n = b.run.results.n = 0; /* nothing is known of either */
    ok(stats_same_run(&a.run, &b.run, &same, &e));
    assert_false(same);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(common_questions_are_those_that_every_run_has_finished),
        cmocka_unit_test(settings_are_runs_that_differ_by_their_seed_alone),
        cmocka_unit_test(a_comparison_has_every_test),
        cmocka_unit_test(settings_of_one_run_are_compared_like_runs),
        cmocka_unit_test(reports_show_what_was_compared_and_left_out),
        cmocka_unit_test(what_is_not_defined_is_said),
        cmocka_unit_test(an_interval_and_a_test_that_disagree_are_told),
        cmocka_unit_test(a_setting_has_no_seed_in_its_name),
        cmocka_unit_test(wide_intervals_of_few_seeds_are_explained),
        cmocka_unit_test(a_copy_of_a_run_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
