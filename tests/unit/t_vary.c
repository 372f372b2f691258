/* Variants of questions, and the figures of their groups. */
#include "vary.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "sha256.h"
#include "stats_variants.h"
#include "test.h"

static const char file[] =
    "{\"question\": \"P?\", \"options\": [\"a\", \"b\", \"c\"], \"answer_idx\": \"B\", "
    "\"meta_info\": \"s\"}\n"
    "{\"question\": \"broken\"}\n"
    "{\"question\": \"Q?\", \"options\": [\"yes\", \"no\"], \"answer_idx\": \"A\"}\n"
    "{\"question\": \"P?\", \"options\": [\"a\", \"b\", \"c\"], \"answer_idx\": \"B\"}\n";

static void read_file(struct medqa *m)
{
    struct err e;
    *m = (struct medqa){.n = 0};
    ok(medqa_parse(file, sizeof file - 1, "q.jsonl", m, &e));
}

static struct vary_count take(const struct vary *v, struct medqa *m, size_t asked,
                              const char *describes)
{
    struct vary_count n;
    struct str about = STR_INIT;
    struct err e;
    ok(vary_take(v, m, asked, &n, &about, &e));
    if (!strstr(about.s, describes))
        fail_msg("'%s' does not say '%s'", about.s, describes);
    str_free(&about);
    return n;
}

/* "abc B" */
static void is(const struct medqa *m, size_t record, const char *text, const char *options, int key)
{
    const struct medqa_question *q = &m->question[m->record[record].question];
    struct str s = STR_INIT;
    for (int i = 0; i < q->n_options; i++)
        str_addf(&s, "%s ", q->option[i]);
    assert_string_equal(q->text, text);
    assert_string_equal(s.s, options);
    assert_int_equal(q->key, key);
    str_free(&s);
}

static void orders_take_the_places_of_the_records(void **state)
{
    (void)state;
    struct medqa m;
    read_file(&m);
    char p[24];
    memcpy(p, m.question[0].id, sizeof p);
    const struct vary_count n =
        take(&(struct vary){.kind = VARY_CYCLIC}, &m, 0, "\"of\": 2, \"questions\": 5");
    assert_int_equal(n.questions, 2);
    assert_int_equal(n.variants, 5);
    assert_int_equal(n.records, 9);
    assert_int_equal(m.n_records, 9);
    assert_int_equal(m.n, 5);
    assert_int_equal(m.n_rejected, 1);
    assert_int_equal(m.n_duplicates, 3);
    is(&m, 0, "P?", "a b c ", 1);
    is(&m, 1, "P?", "b c a ", 0);
    is(&m, 2, "P?", "c a b ", 2);
    is(&m, 4, "Q?", "yes no ", 0);
    is(&m, 5, "Q?", "no yes ", 1);
    assert_int_equal(m.record[3].kind, MEDQA_REJECTED);
    assert_string_equal(m.question[2].of, p);
    assert_string_equal(m.question[0].id, p);
    for (size_t i = 6; i < 9; i++) { /* the duplicate repeats each variant */
        assert_int_equal(m.record[i].kind, MEDQA_DUPLICATE);
        assert_int_equal(m.record[i].question, i - 6);
        assert_int_equal(m.record[i].line, 4);
    }
    for (size_t i = 0; i < m.n; i++)
        assert_int_equal(m.record[m.question[i].index].question, i);
    medqa_free(&m);
}

static void the_first_records_give_the_first_variants(void **state)
{
    (void)state;
    static const size_t records[] = {0, 3, 4, 6, 9};
    for (size_t asked = 1; asked < 5; asked++) {
        struct medqa m;
        read_file(&m);
        const struct vary_count n = take(&(struct vary){.kind = VARY_CYCLIC}, &m, asked, "");
        assert_int_equal(n.records, records[asked]);
        assert_int_equal(n.questions, asked < 3 ? 1 : 2);
        assert_int_equal(n.variants, asked < 3 ? 3 : 5);
        assert_int_equal(m.n_records, 9);
        medqa_free(&m);
    }
}

/* A file of variants gives the questions of the variants of a file. */
static void a_written_file_has_the_same_questions(void **state)
{
    (void)state;
    for (int kind = VARY_CYCLIC; kind <= VARY_NONE; kind++) {
        struct medqa m, back = {.n = 0};
        struct str s = STR_INIT;
        struct err e;
        read_file(&m);
        take(&(struct vary){.kind = (enum vary_kind)kind}, &m, 0, "");
        vary_write(&m, &s);
        ok(medqa_parse(s.s, s.len, "v.jsonl", &back, &e));
        assert_int_equal(back.n, m.n);
        assert_int_equal(back.n_records, m.n);
        for (size_t i = 0; i < m.n; i++) {
            assert_string_equal(back.question[i].id, m.question[i].id);
            assert_string_equal(back.question[i].of, m.question[i].of);
        }
        medqa_free(&m);
        medqa_free(&back);
        str_free(&s);
    }
}

static void the_right_option_is_replaced(void **state)
{
    (void)state;
    struct medqa m;
    read_file(&m);
    take(&(struct vary){.kind = VARY_NONE}, &m, 0, "none-of-the-above");
    is(&m, 0, "P?", "a None of the other answers c ", 1);
    is(&m, 2, "Q?", "None of the other answers no ", 0);
    assert_int_equal(m.n_records, 4);
    medqa_free(&m);
}

/* Two orders of one question in the file: their variants are the same questions. */
static void equal_variants_are_duplicates(void **state)
{
    (void)state;
    static const char two[] =
        "{\"question\": \"Q?\", \"options\": [\"yes\", \"no\"], \"answer_idx\": \"A\"}\n"
        "{\"question\": \"Q?\", \"options\": [\"no\", \"yes\"], \"answer_idx\": \"B\"}\n";
    struct medqa m = {.n = 0};
    struct err e;
    ok(medqa_parse(two, sizeof two - 1, "two.jsonl", &m, &e));
    const struct vary_count n = take(&(struct vary){.kind = VARY_CYCLIC}, &m, 0, "");
    assert_int_equal(n.variants, 2);
    assert_int_equal(m.n_records, 4);
    assert_int_equal(m.n_duplicates, 2);
    assert_int_equal(m.record[2].question, 1);
    assert_int_equal(m.record[3].question, 0);
    medqa_free(&m);
}

/* ---- paraphrases ----------------------------------------------------------------------------- */

/* Lines for the id of P?, which is %s in the text. */
static char *words_of(const char *form)
{
    struct medqa m;
    static char text[600];
    read_file(&m);
    snprintf(text, sizeof text, form, m.question[0].id, m.question[0].id);
    medqa_free(&m);
    return text;
}

static void words_follow_their_question(void **state)
{
    (void)state;
    char *text = words_of("\n{\"id\": \"%s\", \"question\": \"P one?\"}\n"
                          "{\"id\": \"0123456789abcdef\", \"question\": \"X?\"}\n"
                          "{\"id\": \"%s\", \"question\": \"P two?\", \"by\": \"me\"}");
    struct medqa m;
    read_file(&m);
    const struct vary v = {
        .kind = VARY_PARAPHRASES, .text = text, .name = "w.jsonl", .n = strlen(text)};
    const struct vary_count n = take(&v, &m, 0, "\"sha256\"");
    assert_int_equal(n.questions, 2);
    assert_int_equal(n.variants, 4);
    assert_int_equal(n.alone, 1);
    assert_int_equal(n.unused, 1);
    is(&m, 0, "P?", "a b c ", 1);
    is(&m, 1, "P one?", "a b c ", 1);
    is(&m, 2, "P two?", "a b c ", 1);
    is(&m, 4, "Q?", "yes no ", 0);
    assert_string_equal(m.question[2].of, m.question[0].id);
    medqa_free(&m);
}

static void refused(const char *text, const char *why)
{
    struct medqa m;
    struct vary_count n;
    struct str about = STR_INIT;
    struct err e = {0};
    read_file(&m);
    const struct vary v = {
        .kind = VARY_PARAPHRASES, .text = text, .name = "w.jsonl", .n = strlen(text)};
    assert_int_equal(vary_take(&v, &m, 0, &n, &about, &e), ERR_DATA);
    if (!strstr(e.msg, why))
        fail_msg("'%s' does not say '%s'", e.msg, why);
    assert_int_equal(m.n_records, 4); /* as before */
    medqa_free(&m);
    str_free(&about);
}

static void bad_words_are_named_by_their_line(void **state)
{
    (void)state;
    refused("{\"id\": \"0123456789abcdef\", \"question\": \"X?\"}\n", "none of 1 paraphrases");
    refused("", "none of 0 paraphrases");
    refused("\n{\"id\": \"17\", \"question\": \"X?\"}\n", "w.jsonl:2: '17' is no id");
    refused("{\"id\": \"0123456789abcdef\", \"question\": \" \"}\n",
            "w.jsonl:1: 'question' is blank");
    refused("{\"id\": \"0123456789abcdef\"}\n", "key 'question' is missing");
    refused("nothing\n", "w.jsonl:1: bad JSON");
}

/* The variants of a run are made again from its identity and its folder. */
static void a_run_makes_its_variants_again(void **state)
{
    (void)state;
    char dir[] = "/tmp/mas-test-XXXXXX", path[64], hash[65], identity[200];
    char *text = words_of("{\"id\": \"%s\", \"question\": \"P one?\"}\n");
    struct medqa m;
    struct err e = {0};
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/%s", dir, VARY_FILE);
    FILE *f = fopen(path, "w");
    fputs(text, f);
    fclose(f);
    ok(sha256_hex(text, strlen(text), hash, &e));
    for (int k = 0; k < 4; k++) {
        static const char *const form[] = {
            "{\"variants\": {\"kind\": \"paraphrases\", \"sha256\": \"%s\"}}",
            "{\"variants\": {\"kind\": \"paraphrases\", \"sha256\": \"0%s\"}}",
            "{\"variants\": {\"kind\": \"cyclic\"}}", "{\"shuffle\": false}"};
        static const size_t n[] = {3, 2, 5, 2};
        snprintf(identity, sizeof identity, form[k], hash);
        json_t *doc = json_loads(identity, 0, NULL);
        assert_non_null(doc);
        read_file(&m);
        assert_int_equal(vary_recorded(dir, doc, &m, &e), k == 1 ? ERR_DATA : 0);
        assert_int_equal(m.n, n[k]);
        medqa_free(&m);
        json_decref(doc);
    }
    unlink(path);
    rmdir(dir);
}

/* ---- figures --------------------------------------------------------------------------------- */

static void clusters_are_no_independent_answers(void **state)
{
    (void)state;
    double mean, lo, hi, wlo, whi;
    /* 2 of 2 and 0 of 2: variance 2 / (1 * 16) * (1 + 1) = 1/4, so one answer's worth */
    stats_clusters((int[]){2, 0}, (int[]){2, 2}, 2, &mean, &lo, &hi);
    stats_wilson_real(0.5, 1, 12.706204736432095, &wlo, &whi);
    assert_true(fabs(mean - 0.5) < 1e-15);
    assert_true(fabs(lo - wlo) < 1e-9 && fabs(hi - whi) < 1e-9);
    /* unequal sizes: mean 3/4; residuals 3 - 9/4 and 0 - 3/4; variance 2 / 16 * 9/8 */
    stats_clusters((int[]){3, 0}, (int[]){3, 1}, 2, &mean, &lo, &hi);
    stats_wilson_real(0.75, (3.0 / 16) / (9.0 / 64), 12.706204736432095, &wlo, &whi);
    assert_true(fabs(mean - 0.75) < 1e-15);
    assert_true(fabs(lo - wlo) < 1e-9 && fabs(hi - whi) < 1e-9);
    /* all right: as many answers as questions */
    stats_clusters((int[]){4, 4, 4}, (int[]){4, 4, 4}, 3, &mean, &lo, &hi);
    assert_true(fabs(lo - stats_wilson(3, 3).lo) < 1e-12 && hi == 1);
    stats_clusters((int[]){4}, (int[]){4}, 1, &mean, &lo, &hi);
    assert_true(mean == 1 && isnan(lo) && isnan(hi));
    stats_clusters(NULL, NULL, 0, &mean, &lo, &hi);
    assert_true(isnan(mean));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(orders_take_the_places_of_the_records),
        cmocka_unit_test(the_first_records_give_the_first_variants),
        cmocka_unit_test(a_written_file_has_the_same_questions),
        cmocka_unit_test(the_right_option_is_replaced),
        cmocka_unit_test(equal_variants_are_duplicates),
        cmocka_unit_test(words_follow_their_question),
        cmocka_unit_test(bad_words_are_named_by_their_line),
        cmocka_unit_test(a_run_makes_its_variants_again),
        cmocka_unit_test(clusters_are_no_independent_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
