/* The probe, variants, synonyms and agreement without memory: ERR_NOMEM, and nothing is left. */
#include "agreement.h"
#include "exposure.h"
#include "oom.h"
#include "test.h"
#include "vary.h"

static const char file[] =
    "{\"question\": \"One text. More. Which?\", \"options\": [\"a\", \"b\"], \"answer_idx\": "
    "\"A\"}\n";

static void answer(struct llm_call *c, void *user)
{
    (void)user;
    for (int i = 0; i < c->n_token; i++)
        c->token[i] = (struct llm_token){.lp = -1, .top = true};
    for (int i = 0; i < c->n_options; i++)
        c->option_lp[i] = -1 - i;
}

static int probe(void *arg)
{
    struct medqa m = {.n = 0};
    struct llm *l = NULL;
    struct exposure_item item[1];
    struct exposure_figures f;
    struct exposure_compared c;
    struct arena arena = {.limit = 1 << 20};
    struct err e = {.code = 0};
    (void)arg;
    int rc = medqa_parse(file, sizeof file - 1, "x", &m, &e);
    if (rc == 0)
        rc = llm_script_open(answer, NULL, 1, &l, &e);
    if (rc == 0)
        rc = exposure_run(
            &(struct exposure_options){.llm = l, .question = m.question, .n = 1, .arena = &arena},
            item, &e);
    if (rc == 0)
        rc = exposure_figures(item, 1, &f, &e);
    if (rc == 0)
        rc = exposure_compare(item, 1, item, 1, &c, &e);
    if (rc == 0) {
        assert_string_equal(item[0].why, "");
        assert_int_equal(f.first.k, 1);
        assert_true(c.min_k.auc == 0.5);
    }
    llm_close(l);
    medqa_free(&m);
    arena_free(&arena);
    return rc;
}

static int agree(void *arg)
{
    static const char yaml[] = "words:\n  - [flu, influenza]\nnames:\n  - [influenza, grippe]\n";
    const struct medqa_question q = {.option = {"grippe", "cold"}, .n_options = 2, .key = 0};
    struct consult c = {.q = &q, .shown = {0, 1}};
    const struct answer_report r[2] = {{.n_dx = 1, .dx = {{.dx = "the flu (Grippe)"}}},
                                       {.n_dx = 1, .dx = {{.dx = "Influenza"}}}};
    struct synonyms t = {.n_name = 0};
    struct err e = {.code = 0};
    (void)arg;
    int rc = synonyms_parse(yaml, sizeof yaml - 1, "x", &t, &e);
    if (rc == 0)
        rc = agreement_reports(&c, &t, r, 2, &e);
    if (rc == 0)
        assert_string_equal(c.choices, "-A");
    arena_free(&c.arena);
    synonyms_free(&t);
    return rc;
}

static int words(void *arg)
{
    struct medqa m = {.n = 0};
    struct vary_count count;
    struct str about = STR_INIT, out = STR_INIT;
    struct err e = {.code = 0};
    char text[100];
    (void)arg;
    int rc = medqa_parse(file, sizeof file - 1, "x", &m, &e);
    if (rc == 0) {
        snprintf(text, sizeof text, "{\"id\": \"%s\", \"question\": \"Other?\"}\n",
                 m.question[0].id);
        rc = vary_take(
            &(struct vary){.kind = VARY_PARAPHRASES, .text = text, .name = "w", .n = strlen(text)},
            &m, 0, &count, &about, &e);
    }
    if (rc == 0) {
        vary_write(&m, &out);
        rc = str_ok(&out, "x", &e);
    }
    medqa_free(&m);
    str_free(&about);
    str_free(&out);
    return rc;
}

static void lack_of_memory_is_an_error(void **state)
{
    (void)state;
    assert_true(oom_loop(probe, NULL, false) > 10);
    assert_true(oom_loop(agree, NULL, false) > 10);
    assert_true(oom_loop(words, NULL, false) > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(lack_of_memory_is_an_error)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
