/* Names of the same diagnosis, and the agreement of reports by them. */
#include "synonyms.h"

#include <math.h>

#include "agreement.h"
#include "test.h"

static struct synonyms built_in;

static void is(const char *text, const char *want)
{
    struct str s = STR_INIT;
    struct err e;
    ok(synonyms_class(&built_in, text, &s, &e));
    if (strcmp(s.s ? s.s : "", want) != 0)
        fail_msg("'%s' is '%s', want '%s'", text, s.s, want);
    str_free(&s);
}

static bool same(const char *a, const char *b)
{
    struct str x = STR_INIT, y = STR_INIT;
    struct err e;
    ok(synonyms_class(&built_in, a, &x, &e));
    ok(synonyms_class(&built_in, b, &y, &e));
    const bool equal = !strcmp(x.s, y.s);
    str_free(&x);
    str_free(&y);
    return equal;
}

static void normal_forms_follow_the_rules(void **state)
{
    (void)state;
    is("  Crohn's Disease. ", "crohn disease");
    is("Crohn\xe2\x80\x99s disease", "crohn disease");
    is("Graves' disease", "grave disease");
    is("Pulmonary abscesses", "pulmonary abscess");
    is("Kidney stones", "kidney stone");
    is("biopsies", "biopsy");
    is("Tetanus; sepsis, illness", "tetanus sepsis illness");
    is("fungus and gas", "fungus and gas");
    is("Sj\xc3\xb6gren syndrome", "sj\xc3\xb6gren syndrome");
    is("!?", "");
    is("'", "");
    is("s's", "s");
    is("", "");
}

static void names_of_one_class_are_the_same(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"MI", "Myocardial infarction"},
        {"Heart attack", "myocardial infarctions"},
        {"Acute MI", "acute myocardial infarction"},
        {"AMI", "Acute heart attack"},
        {"Myocardial infarction (MI)", "heart attack"},
        {"iron deficiency anaemia", "Iron-deficiency anemia"},
        {"CVA", "Stroke"},
        {"Kidney stones", "Nephrolithiasis"},
        {"Type 2 diabetes", "T2DM"},
        {"GERD", "Gastro-oesophageal reflux disease"},
        {"Wilms' tumour", "nephroblastoma"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        if (!same(pairs[i][0], pairs[i][1]))
            fail_msg("'%s' is not '%s'", pairs[i][0], pairs[i][1]);
}

static void other_diagnoses_stay_apart(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"MI", "acute MI"},
        {"stroke", "ischemic stroke"},
        {"stroke", "heat stroke"},
        {"type 1 diabetes", "type 2 diabetes"},
        {"hypothyroidism", "hyperthyroidism"},
        {"STEMI", "NSTEMI"},
        {"ischemic stroke", "stroke (ischemic)"},
        {"myocardial infarction (old)", "myocardial infarction"},
        {"MS", "multiple sclerosis"},
        {"heart attack", "panic attack"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        if (same(pairs[i][0], pairs[i][1]))
            fail_msg("'%s' is '%s'", pairs[i][0], pairs[i][1]);
}

static void refused(const char *yaml, const char *why)
{
    struct synonyms t;
    struct err e;
    fails(synonyms_parse(yaml, strlen(yaml), "own.yaml", &t, &e), ERR_CONFIG, why);
    assert_non_null(strstr(e.msg, "own.yaml"));
}

static void a_bad_table_is_refused(void **state)
{
    (void)state;
    refused("names:\n  - [a, b]\n  - [c, B]\n", "'b' stands twice in names");
    refused("names:\n  - [stones, stone]\n", "'stone' stands twice in names");
    refused("names:\n  - [a]\n", "class 1 has fewer than two names");
    refused("names:\n  - a\n", "class 1 has fewer than two names");
    refused("names:\n  - [a, \"?\"]\n", "'?' has no word");
    refused("words:\n  - [a b, c]\nnames: []\n", "'a b' is not one word");
    refused("words:\n  - [a, b, c]\nnames: []\n", "item 1 is no pair");
    refused("words:\n  - [a, b]\n  - [A, c]\nnames: []\n", "'a' stands twice in words");
    refused("words:\n  - [a, [b]]\nnames: []\n", "a name is an array, expected a text");
    refused("words: []\n", "'names' is missing");
    refused("others: []\n", "others");
}

static void a_table_of_ones_own_replaces_the_built_in_one(void **state)
{
    (void)state;
    static const char yaml[] = "words:\n  - [grippe, flu]\nnames:\n  - [flu, influenza]\n";
    struct synonyms t;
    struct str s = STR_INIT;
    struct err e;
    ok(synonyms_parse(yaml, sizeof yaml - 1, "own.yaml", &t, &e));
    ok(synonyms_class(&t, "La Grippe", &s, &e));
    assert_string_equal(s.s, "la flu");
    ok(synonyms_class(&t, "grippe (Influenza)", &s, &e));
    assert_string_equal(s.s, "flu");
    ok(synonyms_class(&t, "MI", &s, &e));
    assert_string_equal(s.s, "mi");
    assert_int_equal(strlen(t.hash), 64);
    str_free(&s);
    synonyms_free(&t);
}

/* ---- reports --------------------------------------------------------------------------------- */

static void reports_agree_by_class_and_choose_an_option(void **state)
{
    (void)state;
    const struct medqa_question q = {
        .option = {"Heart attack", "GERD", "Pulmonary embolism", "acid reflux disease"},
        .n_options = 4,
        .key = 0};
    struct consult c = {.q = &q, .shown = {2, 0, 1, 3}}; /* as shown: PE, heart attack, .. */
    struct answer_report r[4] = {{.n_dx = 1, .dx = {{.dx = "Myocardial infarction"}}},
                                 {.n_dx = 1, .dx = {{.dx = "MI"}}},
                                 {.n_dx = 1, .dx = {{.dx = "reflux oesophagitis"}}},
                                 {.n_dx = 1, .dx = {{.dx = "GORD"}}}};
    struct err e;
    ok(agreement_reports(&c, &built_in, r, 4, &e));
    assert_true(c.agreement == 0);
    assert_true(fabs(c.agreement_class - 1.0 / 6) < 1e-15);
    assert_string_equal(c.choices, "AA--"); /* two options are GORD's class: no choice */
    ok(agreement_reports(&c, &built_in, r, 1, &e));
    assert_true(isnan(c.agreement_class));
    assert_string_equal(c.choices, "A");
    arena_free(&c.arena);
}

static int begin(void **state)
{
    struct err e;
    (void)state;
    ok(synonyms_read("", &built_in, &e));
    return 0;
}

static int end(void **state)
{
    (void)state;
    synonyms_free(&built_in);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(normal_forms_follow_the_rules),
        cmocka_unit_test(names_of_one_class_are_the_same),
        cmocka_unit_test(other_diagnoses_stay_apart),
        cmocka_unit_test(a_bad_table_is_refused),
        cmocka_unit_test(a_table_of_ones_own_replaces_the_built_in_one),
        cmocka_unit_test(reports_agree_by_class_and_choose_an_option),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
