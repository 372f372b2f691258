/*
 * Replies of a real model under every token limit, through the door that the agents use.
 *   - The model's own part of a closed reply is the beginning of the unlimited reply.
 *   - No letter or id comes from the closing text.
 *   - A cancelled call leaves no trace of its progress.
 */
#include <math.h>
#include <unistd.h>

#include "answer.h"
#include "engine.h"
#include "llm.h"
#include "prompt.h"
#include "test.h"

#define WHOLE 1600 /* tokens; no reply of these schemas is longer */

static struct engine *engine;
static struct llm *llm;
static struct catalog catalog;
static struct arena arena;

static int setup(void **state)
{
    (void)state;
    struct err e;
    struct engine_options o = {.model = TEST_SOURCE "/configs/demo/toy_clinic.gguf",
                               .backend = "cpu",
                               .n_threads = 2,
                               .n_ctx = 2048,
                               .n_seq = 32};
    ok(engine_open(&o, &engine, &e));
    ok(llm_local_open(engine, false, &llm, &e));
    ok(catalog_read("", &catalog, &e));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    llm_close(llm);
    engine_close(engine);
    catalog_free(&catalog);
    arena_free(&arena);
    return 0;
}

/* ---- every limit ----------------------------------------------------------------------------- */

struct taken { /* values that were read from a reply */
    int letter, n_selected, selected[CATALOG_MAX], n_dx;
};

/* A reply as its strategy reads it. */
typedef int (*reader)(const struct llm_call *c, struct taken *out, struct err *e);

static int read_decision(const struct llm_call *c, struct taken *out, struct err *e)
{
    struct answer_decision d;
    TRY(answer_decision(c->reply.s, c->reply.len, c->own_len, 4, &arena, &d, e));
    out->letter = d.letter;
    return 0;
}

static int read_reasoned(const struct llm_call *c, struct taken *out, struct err *e)
{
    struct answer_decision d;
    TRY(answer_reasoned(c->reply.s, c->reply.len, c->own_len, 4, &arena, &d, e));
    out->letter = d.letter;
    return 0;
}

static int read_plan(const struct llm_call *c, struct taken *out, struct err *e)
{
    struct answer_plan p;
    TRY(answer_plan(c->reply.s, c->reply.len, c->own_len, &catalog, 3, false, &arena, &p, e));
    out->n_selected = p.n_selected;
    memcpy(out->selected, p.selected, sizeof p.selected);
    return 0;
}

static int read_report(const struct llm_call *c, struct taken *out, struct err *e)
{
    struct answer_report r;
    int ent = catalog_find(&catalog, "ent");
    TRY(answer_report(c->reply.s, c->reply.len, c->own_len, &catalog, ent, &arena, &r, e));
    out->n_dx = r.n_dx;
    return 0;
}

static void ids(bool generalists, struct str *out)
{
    str_addc(out, '[');
    for (int i = 0; i < catalog.n; i++)
        if (!generalists || catalog.entry[i].kind == CATALOG_GENERALIST)
            str_addf(out, "%s\"%s\"", out->len > 1 ? ", " : "", catalog.entry[i].id);
    str_addc(out, ']');
}

static const struct llm_schema *schema_of(const char *strategy, const char *name)
{
    struct err e;
    struct prompt_source src = {"", strategy};
    struct str text = STR_INIT, all = STR_INIT, few = STR_INIT;
    const struct llm_schema *out = NULL;
    ids(false, &all);
    ids(true, &few);
    const struct prompt_constant planner[] = {
        {"specialty_ids", all.s}, {"generalist_ids", few.s}, {"k", "3"}};
    const struct prompt_constant answer = {
        "answer", "{\"type\": \"string\", \"enum\": [\"A\", \"B\", \"C\", \"D\"]}"};
    const struct prompt_constant specialty = {"specialty_id", "\"ent\""};
    bool plans = !strcmp(name, "planner.json"), reports = !strcmp(name, "specialist.json");
    ok(prompt_schema(&src, name,
                     plans     ? planner
                     : reports ? &specialty
                               : &answer,
                     plans ? 3 : 1, &text, &e));
    ok(llm_schema(llm, text.s, text.len, name, &out, &e));
    str_free(&text);
    str_free(&all);
    str_free(&few);
    return out;
}

/* Checks that the model's own part begins the whole reply, and that its values are those of the
 * whole. Returns 0 when there are no values. */
static int compare(const struct llm_call *whole, const struct llm_call *c, reader read,
                   const struct taken *want)
{
    struct err e;
    struct taken got = {.letter = -1};
    assert_true(c->own_len <= c->reply.len);
    if (c->own_len > whole->reply.len || memcmp(c->reply.s, whole->reply.s, c->own_len) != 0)
        fail_msg("limit %d: the own %zu bytes of %s are not the beginning of %s", c->max_tokens,
                 c->own_len, c->reply.s, whole->reply.s);
    int rc = read(c, &got, &e);
    if (rc < 0) {
        assert_int_equal(rc, ERR_DATA);
        return 0;
    }
    assert_int_equal(got.letter, want->letter);
    assert_int_equal(got.n_selected, want->n_selected);
    assert_memory_equal(got.selected, want->selected, sizeof got.selected);
    assert_in_range(got.n_dx, want->n_dx ? 1 : 0, want->n_dx);
    return 1;
}

static struct llm_call call_of(const struct llm_schema *schema, int limit, float temperature)
{
    static const char user[] =
        "Case:\nA 30-year-old has a sore throat and fever.\n\nOptions:\nA. a\nB. b\nC. c\nD. d";
    return (struct llm_call){.id = 7,
                             .seed = 3,
                             .user = user,
                             .user_len = sizeof user - 1,
                             .schema = schema,
                             .max_tokens = limit,
                             .temperature = temperature,
                             .top_p = 1,
                             .reply = STR_INIT};
}

/* Compares the reply under a limit with the reply without one. Limits go from 1 token to a few more
 * than the whole: all of the first and the last ones, every step-th between. */
static void every_limit(const char *strategy, const char *name, reader read, int step,
                        float temperature)
{
    struct err e;
    struct taken want = {.letter = -1};
    const struct llm_schema *schema = schema_of(strategy, name);
    struct llm_call whole = call_of(schema, WHOLE, temperature), *c = calloc(WHOLE, sizeof *c);
    int n = 0, closed = 0, refused = 0, taken = 0;
    ok(llm_submit(llm, &whole, &e));
    assert_ptr_equal(llm_next(llm, -1), &whole);
    assert_int_equal(whole.finish, LLM_STOP);
    assert_int_equal(whole.own_len, whole.reply.len);
    ok(read(&whole, &want, &e));
    for (int limit = 1; limit < whole.n_new + 4; limit++) {
        if (limit > 60 && limit < whole.n_new - 12 && limit % step)
            continue;
        c[n] = call_of(schema, limit, temperature);
        ok(llm_submit(llm, &c[n++], &e));
    }
    for (int i = 0; i < n; i++)
        assert_non_null(llm_next(llm, -1));
    for (int i = 0; i < n; i++) {
        if (c[i].finish == LLM_ERROR) { /* the limit is too short even for the frame */
            assert_non_null(strstr(c[i].err.msg, "the shortest reply under this schema takes"));
            refused++;
        } else if (c[i].finish == LLM_CLOSED) {
            closed++;
            taken += compare(&whole, &c[i], read, &want);
        } else {
            assert_int_equal(c[i].finish, LLM_STOP);
            assert_int_equal(compare(&whole, &c[i], read, &want), 1);
        }
        llm_call_clear(&c[i]);
    }
    print_message(
        "%s: whole %d tokens; of %d limits %d too small, %d closed, %d of these with what counts\n",
        name, whole.n_new, n, refused, closed, taken);
    assert_true(refused > 0 && closed > 10 && taken < closed);
    llm_call_clear(&whole);
    free(c);
}

static void a_letter_is_the_models_or_none_at_every_limit(void **state)
{
    (void)state;
    every_limit("panel", "aggregator.json", read_decision, 10, 0);
    every_limit("panel", "aggregator.json", read_decision, 50, 0.9f);
    every_limit("cot", "answer.json", read_reasoned, 50, 0);
}

static void ids_and_diagnoses_are_the_models_or_none_at_every_limit(void **state)
{
    (void)state;
    every_limit("panel", "planner.json", read_plan, 50, 0);
    every_limit("panel", "specialist.json", read_report, 10, 0);
}

/* ---- cancelled calls ------------------------------------------------------------------------- */

static void wait_until(bool (*reached)(const struct engine_stats *))
{
    struct engine_stats st;
    for (int i = 0; i < 60000; i++) {
        engine_stats(engine, &st);
        if (reached(&st))
            return;
        usleep(1000);
    }
    fail_msg("the engine has not got there within a minute");
}

static uint64_t tokens_before;

static bool some_tokens(const struct engine_stats *st)
{
    return st->new_tokens >= tokens_before + 5;
}

static bool nothing_runs(const struct engine_stats *st)
{
    return st->new_tokens >= tokens_before + 5 && !st->running && !st->waiting;
}

/* Calls cancelled in the middle, or when complete but not fetched: both give one record. */
static void a_cancelled_call_records_nothing_of_how_far_it_got(void **state)
{
    (void)state;
    for (int late = 0; late < 2; late++) {
        struct err e;
        struct engine_stats st;
        struct llm_call c = {.id = 1,
                             .seed = 3,
                             .user = "Say much.",
                             .user_len = 9,
                             .max_tokens = late ? 60 : 1500,
                             .temperature = 1,
                             .top_p = 1,
                             .reply = STR_INIT,
                             .schema = schema_of("cot", "answer.json")};
        engine_stats(engine, &st);
        tokens_before = st.new_tokens;
        ok(llm_submit(llm, &c, &e));
        wait_until(late ? nothing_runs : some_tokens);
        llm_cancel(llm, &c);
        assert_ptr_equal(llm_next(llm, -1), &c);
        assert_int_equal(c.finish, LLM_CANCEL);
        assert_int_equal(c.n_new, 0);
        assert_int_equal(c.n_cached, 0);
        assert_int_equal(c.reply.len, 0);
        assert_int_equal(c.own_len, 0);
        assert_true(isnan(c.mean_lp) && isnan(c.first_seconds));
        assert_true(c.n_prompt > 0);
        llm_call_clear(&c);
    }
}

static void a_check_says_what_submitting_would_say(void **state)
{
    (void)state;
    struct err e, why;
    char *text = calloc(1, 20001);
    memset(text, 'x', 20000);
    struct llm_call c = {
        .user = text, .user_len = 20000, .max_tokens = 10, .top_p = 1, .reply = STR_INIT};
    fails(llm_check(llm, &c, &e), ERR_DATA, "exceeds the context of 2048");
    why = e;
    fails(llm_submit(llm, &c, &e), ERR_DATA, why.msg);
    c.user_len = 10;
    ok(llm_check(llm, &c, &e));
    const struct llm_text letters[] = {{" A", 2}, {" B", 2}};
    c.max_tokens = 0;
    c.options = letters;
    c.n_options = 2;
    ok(llm_check(llm, &c, &e));
    assert_null(c.option_lp);
    llm_call_clear(&c);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_letter_is_the_models_or_none_at_every_limit),
        cmocka_unit_test(ids_and_diagnoses_are_the_models_or_none_at_every_limit),
        cmocka_unit_test(a_cancelled_call_records_nothing_of_how_far_it_got),
        cmocka_unit_test(a_check_says_what_submitting_would_say),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
