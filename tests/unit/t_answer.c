/* Parsing of replies: strict, the agreed form or an error that names the fault. */
#include <jansson.h>
#include <math.h>

#include "answer.h"
#include "own.h"
#include "test.h"

static struct catalog cat;
static struct arena arena;

static int setup(void **state)
{
    (void)state;
    struct err e;
    return catalog_read("", &cat, &e);
}

static int teardown(void **state)
{
    (void)state;
    catalog_free(&cat);
    arena_free(&arena);
    return 0;
}

static int plan(const char *s, int k, struct answer_plan *p, struct err *e)
{
    return answer_plan(s, strlen(s), strlen(s), &cat, k, false, &arena, p, e);
}

#define PLAN(triage, ids)                                                                          \
    "{\"triage_generalist\": \"" triage "\", \"selected_specialties\": [" ids                      \
    "], \"rationale\": \"r\"}"

static void a_plan_has_exactly_k_known_ids(void **state)
{
    (void)state;
    struct err e;
    struct answer_plan p;
    ok(plan(PLAN("pediatrics", "\"ent\", \"urology\""), 2, &p, &e));
    assert_int_equal(p.n_selected, 2);
    assert_string_equal(cat.entry[p.selected[0]].id, "ent");
    assert_string_equal(cat.entry[p.triage].id, "pediatrics");
    assert_int_equal(p.selected_twice, 0);
    ok(plan(PLAN("pediatrics", "\"ent\", \"urology\", \"ent\""), 3, &p, &e));
    assert_int_equal(p.n_selected, 2);
    assert_int_equal(p.selected_twice, 1);
    assert_string_equal(cat.entry[p.selected[0]].id, "ent");
    assert_string_equal(cat.entry[p.selected[1]].id, "urology");
    static const struct {
        const char *text, *why;
    } bad[] = {
        {PLAN("pediatrics", "\"ent\""), "1 items, expected 2 to 2"},
        {PLAN("pediatrics", "\"ent\", \"radiology\""), "'radiology' is not in the catalogue"},
        {PLAN("pediatrics", "\"ent\", 7"), "item 2 of 'selected_specialties'"},
        {PLAN("cardiology", "\"ent\", \"urology\""), "'cardiology' is no generalist"},
        {"{\"selected_specialties\": [], \"rationale\": \"\"}", "'triage_generalist' is missing"},
        {"{\"triage_generalist\": \"pediatrics\", \"selected_specialties\": [\"ent\", "
         "\"urology\"], "
         "\"rationale\": \"r\", \"comment\": 1}",
         "unknown key 'comment'"},
        {"// plan\n{}", "bad JSON at column"},
        {"{\"triage_generalist\": \"pediatrics\", \"selected_spe", "bad JSON"},
        {"", "empty reply"},
        {"[]", "expected an object"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        fails(plan(bad[i].text, 2, &p, &e), ERR_DATA, bad[i].why);
}

static void a_full_plan_keeps_the_first_score_of_each(void **state)
{
    (void)state;
    struct err e;
    struct answer_plan p;
    struct str s = STR_INIT;
    str_adds(&s, "{\"triage_generalist\": \"pediatrics\", \"scored_catalog\": [");
    for (int i = 0; i < 28; i++) /* the last id repeats the first */
        str_addf(&s,
                 "%s{\"specialty_id\": \"%s\", \"relevance\": 0.%02d, \"coverage_gain\": 0, "
                 "\"urgency_alignment\": 0, \"procedural_signal\": 0, \"reason\": \"\"}",
                 i ? ", " : "", cat.entry[i == 27 ? 0 : i].id, i + 1);
    str_adds(&s, "], \"selected_specialties\": [\"ent\"], \"rationale\": \"\"}");
    ok(answer_plan(s.s, s.len, s.len, &cat, 1, true, &arena, &p, &e));
    assert_int_equal(p.scored_twice, 1);
    assert_true(fabs(p.score[0].relevance - 0.01) < 1e-12);
    assert_false(p.score[27].present);
    fails(answer_plan(s.s, s.len, s.len, &cat, 1, false, &arena, &p, &e), ERR_DATA,
          "unknown key 'scored_catalog'");
    str_free(&s);
}

#define REPORT(dx) "{\"specialty_id\": \"ent\", \"differential\": [" dx "], \"notes\": \"\"}"
#define DX(p)                                                                                      \
    "{\"dx\": \"D\", \"p\": " p                                                                    \
    ", \"evidence_for\": [\"f\"], \"evidence_against\": [], \"discriminators\": []}"

static int report(const char *s, struct answer_report *r, struct err *e)
{
    return answer_report(s, strlen(s), strlen(s), &cat, catalog_find(&cat, "ent"), &arena, r, e);
}

static void a_report_has_one_to_three_diagnoses_in_its_own_name(void **state)
{
    (void)state;
    struct err e;
    struct answer_report r;
    ok(report(REPORT(DX("0.5") ", " DX("0.25")), &r, &e));
    assert_int_equal(r.n_dx, 2);
    assert_false(r.rescaled);
    assert_string_equal(r.dx[0].evidence_for[0], "f");
    fails(report(REPORT(""), &r, &e), ERR_DATA, "0 items, expected 1 to 3");
    fails(report(REPORT(DX("1.5")), &r, &e), ERR_DATA, "diagnosis 1: 'p' is 1.5, expected 0 to 1");
    fails(report(REPORT(DX("\"0.5\"")), &r, &e), ERR_DATA, "'p' is a string");
    fails(report(REPORT(DX("0") "," DX("0") "," DX("0") "," DX("0")), &r, &e), ERR_DATA, "4 items");
    const char *own = REPORT(DX("0"));
    fails(answer_report(own, strlen(own), strlen(own), &cat, 0, &arena, &r, &e), ERR_DATA,
          "specialty_id is 'ent', 'emergency_medicine' was asked");
}

static void probabilities_above_one_are_rescaled_and_say_so(void **state)
{
    (void)state;
    struct err e;
    struct answer_report r;
    ok(report(REPORT(DX("0.9") ", " DX("0.9")), &r, &e));
    assert_true(r.rescaled);
    assert_true(fabs(r.dx[0].p - 0.5) < 1e-12);
    ok(report(REPORT(DX("0.3") ", " DX("0.3") ", " DX("0.4")), &r, &e)); /* 1 within rounding */
    assert_false(r.rescaled);
}

#define FINAL(a)                                                                                   \
    "{\"final_answer\": " a                                                                        \
    ", \"ordered_differential\": [\"x\"], \"justification\": \"j\", \"warnings\": []}"

static int decide(const char *s, int n, struct answer_decision *d, struct err *e)
{
    return answer_decision(s, strlen(s), strlen(s), n, &arena, d, e);
}

static void a_decision_is_a_letter_and_nothing_else(void **state)
{
    (void)state;
    struct err e;
    struct answer_decision d;
    ok(decide(FINAL("\"D\""), 4, &d, &e));
    assert_int_equal(d.letter, 3);
    ok(decide(FINAL("\"E\""), 5, &d, &e));
    static const char *const bad[] = {
        "\"E\"", "\"d\"", "\"D.\"", "\"\"", "\"The answer is A\"", "\"Appendicitis\"", "\"AB\""};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char s[256];
        snprintf(s, sizeof s, FINAL("%s"), bad[i]);
        fails(decide(s, 4, &d, &e), ERR_DATA, "expected a letter A to D");
    }
    fails(decide(FINAL("null"), 4, &d, &e), ERR_DATA, "'final_answer' is null");
    ok(decide(FINAL("\"Appendicitis\""), 0, &d, &e));
    assert_int_equal(d.letter, -1);
    fails(decide(FINAL("\" \""), 0, &d, &e), ERR_DATA, "final_answer is empty");
}

static void free_text_gives_a_letter_only_in_the_agreed_forms(void **state)
{
    (void)state;
    struct err e;
    static const struct {
        const char *text;
        int letter; /* -1 = error */
    } cases[] = {
        {"B", 1},
        {" B.\n", 1},
        {"(C)", 2},
        {"D)", 3},
        {"Answer: B", 1},
        {"I think so.\nFinal answer: (A)\n", 0},
        {"A doctor should answer.", -1},
        {"E", -1},
        {"b", -1},
        {"A B", -1},
        {"Answer: A\nAnswer: B", -1},
        {"Answer: A\nAnswer: A", -1},
        {"Answer: appendicitis", -1},
        {"", -1},
        {"the Answer: B", -1},
        {"A.B", -1},
        {"((A)", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int got = -1, rc = answer_letter(cases[i].text, strlen(cases[i].text), 4, &got, &e);
        if ((rc == 0 ? got : -1) != cases[i].letter)
            fail_msg("'%s': %d %d", cases[i].text, rc, got);
    }
}

static void a_reply_nested_too_deep_or_too_long_is_an_error(void **state)
{
    (void)state;
    struct err e;
    struct answer_decision d;
    struct str s = STR_INIT;
    for (int i = 0; i < 100000; i++)
        str_addc(&s, '[');
    fails(answer_decision(s.s, s.len, s.len, 4, &arena, &d, &e), ERR_DATA, "nested 100000 deep");
    for (int i = 0; i < 200000; i++)
        str_addc(&s, ' ');
    fails(answer_decision(s.s, s.len, s.len, 4, &arena, &d, &e), ERR_DATA, "the limit is 262144");
    str_free(&s);
}

/* ---- closed replies -------------------------------------------------------------------------- */

/* Joins the first n bytes of the model's reply and the rest of the closer's. The two replies have
 * equal length and differ in every choice, so no value may come from the closer. */
static void spliced(const char *model, const char *closer, size_t n, char *out)
{
    assert_int_equal(strlen(model), strlen(closer));
    memcpy(out, closer, strlen(closer) + 1);
    memcpy(out, model, n);
}

static void a_letter_that_the_closer_chose_is_no_answer(void **state)
{
    (void)state;
    static const char *const forms[] = {"{\"final_answer\": \"%c\", \"ordered_differential\": "
                                        "[\"%c\"], \"justification\": \"j\", \"warnings\": []}",
                                        "{\"ordered_differential\": [\"%c\"], \"justification\": "
                                        "\"j\", \"final_answer\": \"%c\", \"warnings\": []}",
                                        "{\"reasoning\": \"%c\", \"final_answer\": \"%c\"}"};
    for (int f = 0; f < 3; f++) {
        char model[256], closer[256], text[256];
        int taken = 0;
        snprintf(model, sizeof model, forms[f], 'C', 'C');
        snprintf(closer, sizeof closer, forms[f], 'A', 'A');
        for (size_t n = 0, len = strlen(model); n <= len; n++) {
            struct err e;
            struct answer_decision d;
            spliced(model, closer, n, text);
            int rc = f == 2 ? answer_reasoned(text, len, n, 4, &arena, &d, &e)
                            : answer_decision(text, len, n, 4, &arena, &d, &e);
            if (rc < 0) {
                assert_int_equal(rc, ERR_DATA);
                continue;
            }
            assert_int_equal(d.letter, 2);
            /* with its quote */
            assert_true(n > (size_t)(strstr(model, "final_answer") - model) + 16);
            assert_true(d.n_differential == 0 || d.differential[0][0] == 'C');
            taken++;
        }
        assert_in_range(taken, 1, 110);
    }
}

static void an_open_answer_that_was_cut_is_no_answer(void **state)
{
    (void)state;
    static const char text[] = "{\"reasoning\": \"r\", \"final_answer\": \"Acute appendicitis\"}";
    struct err e;
    struct answer_decision d;
    size_t len = strlen(text), quote = len - 2;
    for (size_t n = 0; n <= quote; n++)
        fails(answer_reasoned(text, len, n, 0, &arena, &d, &e), ERR_DATA, "");
    ok(answer_reasoned(text, len, quote + 1, 0, &arena, &d, &e));
    assert_string_equal(d.text, "Acute appendicitis");
}

static void a_plan_stands_once_the_model_has_named_all_ids(void **state)
{
    (void)state;
    static const char model[] = PLAN("pediatrics", "\"cardiology\", \"nephrology\"");
    static const char closer[] = PLAN("emergency_", "\"dermatolog\", \"psychiatry\"");
    char text[256];
    size_t ids = (size_t)(strstr(model, "gy\"]") - model) + 3, len = strlen(model);
    for (size_t n = 0; n <= len; n++) {
        struct err e;
        struct answer_plan p;
        spliced(model, closer, n, text);
        int rc = answer_plan(text, len, n, &cat, 2, false, &arena, &p, &e);
        assert_int_equal(rc, n < ids ? ERR_DATA : 0);
        if (rc)
            continue;
        assert_string_equal(cat.entry[p.triage].id, "pediatrics");
        assert_string_equal(cat.entry[p.selected[1]].id, "nephrology");
        assert_string_equal(p.rationale,
                            n > (size_t)(strstr(model, "\"r\"") - model) + 1 ? "r" : "");
    }
}

static void a_report_keeps_the_diagnoses_that_the_model_finished(void **state)
{
    (void)state;
    static const char text[] = "{\"specialty_id\": \"ent\", \"differential\": [{\"dx\": "
                               "\"Otitis\", \"p\": 0.61, \"evidence_for\": "
                               "[\"fever\", \"pain\"], \"evidence_against\": [\"calm\"], "
                               "\"discriminators\": [\"view\"]}, {\"dx\": \"Mumps\", "
                               "\"p\": 0.25, \"evidence_for\": [], \"evidence_against\": [], "
                               "\"discriminators\": []}], \"notes\": \"seen twice\"}";
    static const struct {
        const char *up_to; /* the last text that the model wrote */
        int n_dx, n_for, n_against;
        const char *notes;
    } cases[] = {
        {"\"p\": 0.61", 0, 0, 0, ""},
        {"\"p\": 0.61,", 1, 0, 0, ""},
        {"[\"fever\"", 1, 1, 0, ""},
        {"\"fever\", \"pa", 1, 1, 0, ""},
        {"\"pain\"]", 1, 2, 0, ""},
        {"[\"calm\"", 1, 2, 1, ""},
        {"\"view\"]}", 1, 2, 1, ""},
        {"\"Mumps\"", 1, 2, 1, ""},
        {"\"p\": 0.2", 1, 2, 1, ""},
        {"\"p\": 0.25,", 2, 2, 1, ""},
        {"\"notes\": ", 2, 2, 1, ""},
        {"\"seen tw", 2, 2, 1, "seen tw"},
        {"\"seen twice\"", 2, 2, 1, "seen twice"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct err e;
        struct answer_report r;
        size_t own = (size_t)(strstr(text, cases[i].up_to) - text) + strlen(cases[i].up_to);
        int rc =
            answer_report(text, strlen(text), own, &cat, catalog_find(&cat, "ent"), &arena, &r, &e);
        if (!cases[i].n_dx) {
            assert_int_equal(rc, ERR_DATA);
            continue;
        }
        if (rc || r.n_dx != cases[i].n_dx || r.dx[0].n_for != cases[i].n_for ||
            r.dx[0].n_against != cases[i].n_against || strcmp(r.notes, cases[i].notes) != 0)
            fail_msg("up to '%s': %d %s", cases[i].up_to, rc, rc ? e.msg : r.notes);
        assert_true(fabs(r.dx[0].p - 0.61) < 1e-12);
    }
}

/* The finished part of every prefix of JSON is JSON again, with the values of the whole. */
static void the_own_part_of_any_prefix_is_json(void **state)
{
    (void)state;
    static const char text[] = "{\"a\": [1, -2.5, [true, {\"k\": null}], {}], \"b\": "
                               "\"x\\n\\u00e9\\ud83d\\ude00\xc3\xa9\", "
                               "\"c\\\"\": {\"d\": [\"\\\\\", \"\"], \"e\": false}}";
    struct err e;
    json_error_t je;
    for (size_t n = 1; n < sizeof text; n++) {
        struct str whole = STR_INIT, cut = STR_INIT;
        ok(own_part(text, n, &whole, &cut, &e));
        json_t *w = json_loadb(whole.s, whole.len, JSON_REJECT_DUPLICATES, &je);
        json_t *c = json_loadb(cut.s, cut.len, JSON_REJECT_DUPLICATES, &je);
        if (!w || !c)
            fail_msg("%.*s: %s and %s", (int)n, text, whole.s, cut.s);
        assert_true(whole.len <= cut.len);
        json_decref(w);
        json_decref(c);
        if (n == sizeof text - 1)
            assert_string_equal(whole.s, text);
        str_free(&whole);
        str_free(&cut);
    }
    struct str s = STR_INIT, t = STR_INIT, deep = STR_INIT;
    for (int i = 0; i < 100; i++)
        str_addc(&deep, '[');
    fails(own_part(text, 0, &s, &t, &e), ERR_DATA, "before anything was said");
    fails(own_part(deep.s, deep.len, &s, &t, &e), ERR_DATA, "nested deeper than 16");
    str_free(&deep);
}

static void agreement_counts_pairs_of_equal_first_diagnoses(void **state)
{
    (void)state;
    struct answer_report r[3] = {{.n_dx = 1, .dx = {{.dx = "Acute MI."}}},
                                 {.n_dx = 1, .dx = {{.dx = "acute  mi"}}},
                                 {.n_dx = 1, .dx = {{.dx = "Acute MIs"}}}};
    assert_true(fabs(answer_agreement(r, 3) - 1.0 / 3) < 1e-12);
    assert_true(fabs(answer_agreement(r, 2) - 1) < 1e-12);
    assert_true(isnan(answer_agreement(r, 1)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plan_has_exactly_k_known_ids),
        cmocka_unit_test(a_full_plan_keeps_the_first_score_of_each),
        cmocka_unit_test(a_report_has_one_to_three_diagnoses_in_its_own_name),
        cmocka_unit_test(probabilities_above_one_are_rescaled_and_say_so),
        cmocka_unit_test(a_decision_is_a_letter_and_nothing_else),
        cmocka_unit_test(free_text_gives_a_letter_only_in_the_agreed_forms),
        cmocka_unit_test(a_reply_nested_too_deep_or_too_long_is_an_error),
        cmocka_unit_test(a_letter_that_the_closer_chose_is_no_answer),
        cmocka_unit_test(an_open_answer_that_was_cut_is_no_answer),
        cmocka_unit_test(a_plan_stands_once_the_model_has_named_all_ids),
        cmocka_unit_test(a_report_keeps_the_diagnoses_that_the_model_finished),
        cmocka_unit_test(the_own_part_of_any_prefix_is_json),
        cmocka_unit_test(agreement_counts_pairs_of_equal_first_diagnoses),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
