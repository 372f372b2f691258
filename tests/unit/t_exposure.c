/* The contamination probe: measures of texts, other wordings, a scripted llm, and the figures of
 * transformers (tools/training/golden/probe.py). */
#include "exposure.h"

#include <math.h>

#include "engine.h"
#include "jdoc.h"
#include "test.h"
#include "vary.h"

static struct exposure_text measure(const struct llm_token *t, int n)
{
    struct exposure_text out;
    struct err e;
    ok(exposure_measure(t, n, &out, &e));
    return out;
}

static void min_k_is_the_mean_of_the_least_probable_tokens(void **state)
{
    (void)state;
    struct llm_token t[11] = {{.lp = (double)NAN}};
    for (int i = 1; i < 11; i++)
        t[i] = (struct llm_token){.lp = -i};
    struct exposure_text m = measure(t, 11);
    assert_int_equal(m.tokens, 10);
    assert_true(m.mean_lp == -5.5 && m.min_k == -9.5); /* 2 of 10 tokens */
    m = measure(t, 5);                                 /* 4 tokens: at least one counts */
    assert_true(m.min_k == -4);
    m = measure(t, 1);
    assert_int_equal(m.tokens, 0);
    assert_true(isnan(m.min_k) && isnan(m.mean_lp));
}

static void places_are_at_equal_distances(void **state)
{
    (void)state;
    struct llm_token t[26];
    for (int i = 0; i < 26; i++)
        t[i] = (struct llm_token){.lp = i ? -1 : (double)NAN, .top = true};
    /* tokens 1 to 25: places 1, 6, 11, 16, 21 of five tokens each, which cover all of them */
    assert_int_equal(measure(t, 26).points, 5);
    assert_int_equal(measure(t, 26).exact, 5);
    for (int i = 1; i < 26; i++) {
        t[i].top = false;
        assert_int_equal(measure(t, 26).exact, 4);
        t[i].top = true;
    }
    assert_int_equal(measure(t, 5).points, 0); /* four tokens */
    assert_int_equal(measure(t, 6).points, 1);
    assert_int_equal(measure(t, 8).points, 3);
}

static void reordered(const char *text, const char *want)
{
    struct str s = STR_INIT;
    exposure_reorder(text, &s);
    assert_string_equal(s.s ? s.s : "", want);
    str_free(&s);
}

static void the_last_sentence_stays_the_last(void **state)
{
    (void)state;
    reordered("One. Two! Three? Which?", "Two! Three? One. Which?");
    reordered(" One 1.5 mg.  Two.\nWhich? ", "Two.  One 1.5 mg. Which?");
    reordered("One. Which", "Which One.");
    reordered("One", "");
    reordered("", "");
}

/* ---- a scripted llm -------------------------------------------------------------------------- */

/* A text with "seen" is known by heart, others are not. The order that begins with the letters of
 * the options in rising order is the most probable one. */
static void answer(struct llm_call *c, void *user)
{
    (void)user;
    assert_true(c->raw && c->max_tokens == 0);
    const bool seen = strstr(c->user, "seen") != NULL;
    for (int i = 0; i < c->n_token; i++)
        c->token[i] = (struct llm_token){.lp = i ? (seen ? -0.1 : -2.0) : (double)NAN, .top = seen};
    for (int i = 0; i < c->n_options; i++)
        c->option_lp[i] = strstr(c->options[i].s, "A. a") ? -1 : -2;
    if (strstr(c->user, "broken")) {
        c->finish = LLM_ERROR;
        err_set(&c->err, ERR_IO, "a fault");
    }
}

static const char file[] = "{\"question\": \"A seen text of some length. And more. Which is it?\", "
                           "\"options\": [\"a\", \"b\", \"c\", \"d\"], "
                           "\"answer_idx\": \"A\"}\n"
                           "{\"question\": \"Another text of some length. And more. Which is "
                           "it?\", \"options\": [\"c\", \"d\", \"a\"], "
                           "\"answer_idx\": \"B\"}\n";

static void a_known_text_is_told_from_others(void **state)
{
    (void)state;
    struct medqa m = {.n = 0};
    struct llm *l = NULL;
    struct exposure_item item[2];
    struct exposure_figures f;
    struct exposure_compared c;
    struct arena arena = {.limit = 1 << 20};
    struct str s = STR_INIT;
    struct err e;
    ok(medqa_parse(file, sizeof file - 1, "x", &m, &e));
    ok(llm_script_open(answer, NULL, 1, &l, &e));
    ok(exposure_run(
        &(struct exposure_options){.llm = l, .question = m.question, .n = 2, .arena = &arena}, item,
        &e));
    assert_int_equal(item[0].text.exact, 5);
    assert_int_equal(item[1].text.exact, 0);
    assert_int_equal(item[0].n_orders, 4);
    assert_int_equal(item[1].n_orders, 3);
    assert_true(item[0].first && !item[1].first);
    assert_string_equal(item[1].words, "And more. Another text of some length. Which is it?");
    ok(exposure_figures(item, 2, &f, &e));
    assert_int_equal(f.first.k, 1);
    assert_int_equal(f.first.n, 2);
    assert_true(fabs(f.chance - (1.0 / 4 + 1.0 / 3) / 2) < 1e-15);
    assert_true(fabs(f.p - (1 - 3.0 / 4 * 2 / 3)) < 1e-15);
    assert_int_equal(f.ngram.k, 5);
    assert_int_equal(f.ngram.n, 10);
    assert_true(fabs(f.more.mean) < 1e-15 && f.more.n == 2);
    ok(exposure_compare(item, 1, item + 1, 1, &c, &e));
    assert_true(c.min_k.auc == 1 && c.ngram.auc == 1);
    item[0].order_lp[2] = -HUGE_VAL; /* no JSON number */
    exposure_lines(item, 2, "data", &s);
    json_t *doc = NULL;
    ok(jdoc_load(s.s, (size_t)(strchr(s.s, '\n') - s.s), &doc, &e));
    assert_true(json_is_true(json_object_get(doc, "first")));
    json_decref(doc);
    str_free(&s);
    llm_close(l);
    medqa_free(&m);
    arena_free(&arena);
}

static void a_fault_is_named_and_not_counted(void **state)
{
    (void)state;
    static const char one[] = "{\"question\": \"A broken text. Which?\", \"options\": [\"a\", "
                              "\"b\"], \"answer_idx\": \"A\"}\n";
    struct medqa m = {.n = 0};
    struct llm *l = NULL;
    struct exposure_item item[1];
    struct exposure_figures f;
    struct arena arena = {.limit = 1 << 20};
    struct err e;
    ok(medqa_parse(one, sizeof one - 1, "x", &m, &e));
    ok(llm_script_open(answer, NULL, 1, &l, &e));
    const struct exposure_options o = {.llm = l, .question = m.question, .n = 1, .arena = &arena};
    ok(exposure_run(&o, item, &e));
    assert_string_equal(item[0].why, "a fault");
    ok(exposure_figures(item, 1, &f, &e));
    assert_int_equal(f.failed, 1);
    assert_int_equal(f.min_k.n, 0);
    assert_int_equal(f.first.n, 0);
    llm_script_can(l, LLM_CAN_ALL & ~LLM_CAN_PROMPT);
    fails(exposure_run(&o, item, &e), ERR_CONFIG, "needs an llm that scores its prompt");
    llm_script_can(l, LLM_CAN_ALL);
    atomic_int stop = 1;
    const struct exposure_options stopped = {
        .llm = l, .question = m.question, .n = 1, .arena = &arena, .stop = &stop};
    fails(exposure_run(&stopped, item, &e), ERR_CANCEL, "stopped after");
    llm_close(l);
    medqa_free(&m);
    arena_free(&arena);
}

static void paraphrases_take_the_place_of_other_orders(void **state)
{
    (void)state;
    struct medqa m = {.n = 0}, words = {.n = 0};
    struct llm *l = NULL;
    struct exposure_item item[2];
    struct vary_count count;
    struct arena arena = {.limit = 1 << 20};
    struct str about = STR_INIT;
    struct err e;
    char text[200];
    ok(medqa_parse(file, sizeof file - 1, "x", &m, &e));
    ok(medqa_parse(file, sizeof file - 1, "x", &words, &e));
    snprintf(text, sizeof text, "{\"id\": \"%s\", \"question\": \"Said in other words.\"}\n",
             m.question[1].id);
    ok(vary_take(
        &(struct vary){.kind = VARY_PARAPHRASES, .text = text, .name = "w", .n = strlen(text)},
        &words, 0, &count, &about, &e));
    ok(llm_script_open(answer, NULL, 1, &l, &e));
    ok(exposure_run(
        &(struct exposure_options){
            .llm = l, .question = m.question, .n = 2, .words = &words, .arena = &arena},
        item, &e));
    assert_null(item[0].words);
    assert_int_equal(item[0].other.tokens, 0);
    assert_string_equal(item[1].words, "Said in other words.");
    assert_true(item[1].other.tokens > 0);
    str_free(&about);
    llm_close(l);
    medqa_free(&m);
    medqa_free(&words);
    arena_free(&arena);
}

/* ---- a real one ------------------------------------------------------------------------------ */

static void check_line(struct llm *l, char *const *field)
{
    struct err e;
    json_t *doc = NULL;
    struct exposure_item item;
    struct arena arena = {.limit = 1 << 20};
    ok(jdoc_value(field[5], strlen(field[5]), &doc, &e));
    const struct medqa_question q = {.id = "x", .text = json_string_value(doc), .key = -1};
    ok(exposure_run(&(struct exposure_options){.llm = l, .question = &q, .n = 1, .arena = &arena},
                    &item, &e));
    if (item.text.tokens != atoi(field[0]) || item.text.points != atoi(field[3]) ||
        item.text.exact != atoi(field[4]) ||
        !(fabs(item.text.mean_lp - strtod(field[1], NULL)) <= 1e-3) ||
        !(fabs(item.text.min_k - strtod(field[2], NULL)) <= 1e-3))
        fail_msg("%s: %d tokens, mean %.9g, min-k %.9g, %d places, %d exact; want %s, %s, %s, %s, "
                 "%s",
                 q.text, item.text.tokens, item.text.mean_lp, item.text.min_k, item.text.points,
                 item.text.exact, field[0], field[1], field[2], field[3], field[4]);
    json_decref(doc);
    arena_free(&arena);
}

static void figures_are_those_of_transformers(void **state)
{
    (void)state;
    struct engine *en = NULL;
    struct llm *l = NULL;
    struct err e;
    const struct engine_options o = {.model = TEST_GOLDEN "/logits_qwen2.gguf",
                                     .backend = "cpu",
                                     .n_threads = 1,
                                     .n_ctx = 256,
                                     .n_seq = 4};
    size_t n;
    int lines = 0;
    ok(engine_open(&o, &en, &e));
    ok(llm_local_open(en, true, &l, &e));
    char *text = test_read(TEST_GOLDEN "/probe.tsv", &n), *save = NULL;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *field[6] = {line};
        for (int i = 1; i < 6; i++) {
            field[i] = strchr(field[i - 1], '\t');
            assert_non_null(field[i]);
            *field[i]++ = 0;
        }
        check_line(l, field);
        lines++;
    }
    assert_int_equal(lines, 7);
    free(text);
    llm_close(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(min_k_is_the_mean_of_the_least_probable_tokens),
        cmocka_unit_test(places_are_at_equal_distances),
        cmocka_unit_test(the_last_sentence_stays_the_last),
        cmocka_unit_test(a_known_text_is_told_from_others),
        cmocka_unit_test(a_fault_is_named_and_not_counted),
        cmocka_unit_test(paraphrases_take_the_place_of_other_orders),
        cmocka_unit_test(figures_are_those_of_transformers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
