/* Thinking by a chat template, from the engine up to `mas`: the demo model with a vocabulary that
 * has the control tokens of Qwen3. Its thoughts are noise; every end of them occurs. */
#include <jansson.h>
#include <math.h>

#include "engine.h"
#include "llm.h"
#include "test.h"
#include "think.h"
#include "thinker.h"
#include "tokenizer.h"

static char dir[256], model[300];

static const char user[] = "A 65-year-old man has crushing chest pain.";
static const char schema[] =
    "{\"type\": \"object\", \"properties\": {\"a\": {\"enum\": [\"x\", \"yy\"]}, \"b\": {\"type\": "
    "\"string\", \"maxLength\": 8}}, \"required\": [\"a\", \"b\"]}";

/* Renames the 24 last tokens, which are control tokens: most become the end of thinking, so that a
 * hot model draws it now and then. */
static int setup(void **state)
{
    (void)state;
    snprintf(model, sizeof model, "%s/thinks.gguf", test_mkdir(dir));
    thinker_write(model);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    test_rmdir(dir);
    return 0;
}

static struct llm_call call_of(uint64_t id, int max_think, float temperature)
{
    return (struct llm_call){.id = id,
                             .seed = 7,
                             .user = user,
                             .user_len = sizeof user - 1,
                             .max_tokens = 40,
                             .max_think = max_think,
                             .temperature = temperature,
                             .top_p = 1,
                             .reply = STR_INIT,
                             .think = STR_INIT};
}

static void ask(struct llm *l, struct llm_call *c)
{
    struct err e;
    ok(llm_submit(l, c, &e));
    assert_ptr_equal(llm_next(l, -1), c);
    if (c->finish == LLM_ERROR)
        fail_msg("%s", c->err.msg);
}

static bool no_mark(const struct str *s)
{
    return !s->len || !strstr(s->s, "</think>");
}

static void thinking_and_reply_are_apart(void **state)
{
    (void)state;
    enum { N = 40 };
    struct llm *l = thinker_llm(model, "qwen3", 1), *many = thinker_llm(model, "qwen3", 16);
    const struct llm_schema *s[2];
    struct err e;
    struct llm_call one[N], all[N];
    int how[LLM_THOUGHT_EOS + 1] = {0};
    ok(llm_schema(l, schema, sizeof schema - 1, "test", &s[0], &e));
    ok(llm_schema(many, schema, sizeof schema - 1, "test", &s[1], &e));
    assert_true(llm_info(l)->thinks);
    for (int i = 0; i < N; i++) {
        one[i] = all[i] = call_of((uint64_t)i, i % 5 ? 200 : 9, i % 4 ? 5 : 0);
        one[i].schema = i % 2 ? s[0] : NULL;
        all[i].schema = i % 2 ? s[1] : NULL;
        ask(l, &one[i]);
        ok(llm_submit(many, &all[i], &e));
    }
    for (int i = 0; i < N; i++)
        assert_non_null(llm_next(many, -1));
    for (int i = 0; i < N; i++) {
        const struct llm_call *c = &one[i], *d = &all[i];
        how[c->thought]++;
        assert_true(c->n_think > 2 && c->n_think <= c->max_think + 64 && c->n_new <= 40);
        assert_true(no_mark(&c->think) && no_mark(&c->reply));
        if (c->schema) {
            json_t *doc = json_loads(c->reply.s, 0, NULL);
            if (!doc || !json_string_value(json_object_get(doc, "a")))
                fail_msg("call %d: '%s' is no reply of the schema", i, c->reply.s);
            json_decref(doc);
        }
        assert_true(isfinite(c->mean_lp) || !c->n_new);
        assert_int_equal(c->thought, d->thought);
        assert_int_equal(c->n_think, d->n_think);
        assert_int_equal(c->n_new, d->n_new);
        assert_int_equal(c->think.len, d->think.len);
        assert_int_equal(c->reply.len, d->reply.len);
        assert_memory_equal(c->think.s, d->think.s, c->think.len);
        assert_memory_equal(c->reply.s, d->reply.s, c->reply.len);
        assert_memory_equal(&c->mean_lp, &d->mean_lp, sizeof c->mean_lp);
    }
    assert_true(how[LLM_THOUGHT_CLOSED] > 3 && how[LLM_THOUGHT_CUT] > 3);
    assert_int_equal(how[LLM_THOUGHT_OPEN] + how[LLM_THOUGHT_EMPTY] + how[LLM_THOUGHT_NONE], 0);
    for (int i = 0; i < N; i++) {
        llm_call_clear(&one[i]);
        llm_call_clear(&all[i]);
    }
    llm_close(l);
    llm_close(many);
}

/* A score is asked after the empty block, as a reply without a budget is. */
static void scores_and_replies_without_a_budget_follow_an_empty_block(void **state)
{
    (void)state;
    static const struct llm_text letters[] = {{" A", 2}, {" B", 2}};
    struct llm *thinks = thinker_llm(model, "qwen3", 1), *plain = thinker_llm(model, "chatml", 1);
    struct llm_call c = call_of(1, 0, 0), d = call_of(1, 0, 0);
    ask(thinks, &c);
    ask(plain, &d);
    assert_int_equal(c.thought, LLM_THOUGHT_EMPTY);
    assert_int_equal(d.thought, LLM_THOUGHT_NONE);
    assert_int_equal(c.n_think, 0);
    int block = c.n_prompt - d.n_prompt; /* <think>, two line ends, </think>, two line ends */
    assert_in_range(block, 4, 6);
    llm_call_clear(&c);
    llm_call_clear(&d);
    c.max_tokens = d.max_tokens = 0;
    c.options = d.options = letters;
    c.n_options = d.n_options = 2;
    c.reply_prefix = d.reply_prefix = "Answer:";
    ask(thinks, &c);
    ask(plain, &d);
    assert_int_equal(c.thought, LLM_THOUGHT_EMPTY);
    assert_int_equal(c.n_prompt - d.n_prompt, block);
    assert_true(c.option_lp[0] < 0 && c.option_lp[0] != d.option_lp[0]);
    llm_call_clear(&c);
    llm_call_clear(&d);
    llm_close(thinks);
    llm_close(plain);
}

static void budgets_count_in_the_context(void **state)
{
    (void)state;
    struct err e;
    struct llm *l = thinker_llm(model, "qwen3", 1), *plain = thinker_llm(model, "chatml", 1);
    struct llm_call c = call_of(1, 500, 0);
    fails(llm_check(l, &c, &e), ERR_DATA, "thinking included");
    assert_non_null(strstr(e.msg, "the context of 512"));
    fails(llm_submit(l, &c, &e), ERR_DATA, "thinking included");
    c.max_think = 100;
    ok(llm_check(l, &c, &e));
    assert_false(llm_info(plain)->thinks);
    fails(llm_submit(plain, &c, &e), ERR_DATA, "chat template chatml does not think");
    llm_close(l);
    llm_close(plain);
}

/* ---- mas ------------------------------------------------------------------------------------- */

/* Runs mas and returns one of its outputs. want: its exit status, -1 = 0, or 1 for no answer. */
static char *run(const char *args, bool errors, int want)
{
    char command[1200], log[300];
    size_t n;
    snprintf(log, sizeof log, "%s/log", dir);
    snprintf(command, sizeof command, "'%s' %s %s'%s'", getenv("MAS"), args,
             errors ? ">/dev/null 2>" : "2>/dev/null >", log);
    int rc = system(command);
    if (want < 0 ? rc != 0 && rc != 1 << 8 : rc != want << 8)
        fail_msg("%s: status %d, want %d", command, rc >> 8, want);
    return test_read(log, &n);
}

static void generate_shows_thinking_apart(void **state)
{
    (void)state;
    char args[700];
    if (!getenv("MAS"))
        skip();
    snprintf(args, sizeof args,
             "generate -m '%s' --chat-template qwen3 --chat -p 'chest pain' -n 12 --think 8",
             model);
    char *out = run(args, false, 0), *err = run(args, true, 0);
    snprintf(args, sizeof args,
             "generate -m '%s' --chat-template qwen3 --chat -p 'chest pain' -n 12 --think 8 --json",
             model);
    char *json = run(args, false, 0);
    json_t *doc = json_loads(json, 0, NULL);
    assert_non_null(doc);
    const char *text = json_string_value(json_object_get(doc, "text")),
               *thought = json_string_value(json_object_get(doc, "thinking"));
    assert_true(text && thought && *thought);
    char *shown = strstr(err, "<think>\n"), *end = strstr(err, "\n</think>");
    assert_true(shown && end && end > shown);
    assert_memory_equal(thought, shown + 8, (size_t)(end - shown) - 8);
    assert_memory_equal(out, text, strlen(text));
    assert_string_equal(out + strlen(text), "\n");
    assert_string_equal(json_string_value(json_object_get(doc, "thought")), "cut");
    assert_in_range(json_integer_value(json_object_get(doc, "think_tokens")), 10, 14);
    assert_int_equal(json_array_size(json_object_get(doc, "tokens")), 12);
    assert_int_equal(json_array_size(json_object_get(doc, "logprobs")), 12);
    json_decref(doc);
    free(json);
    free(out);
    free(err);
    snprintf(args, sizeof args,
             "generate -m '%s' --chat-template qwen3 --chat -p 'chest pain' -n 12 --think 0 --json",
             model);
    json = run(args, false, 0);
    assert_non_null(
        strstr(json, "\"thinking\": \"\", \"thought\": \"empty\", \"think_tokens\": 0"));
    free(json);
    snprintf(args, sizeof args, "generate -m '%s' -p 'chest pain' -n 2 --think 8", model);
    err = run(args, true, 64);
    assert_non_null(strstr(err, "--think 8 needs --chat"));
    free(err);
    snprintf(args, sizeof args, "generate -m '%s' --chat-template chatml --chat -p a --think 8",
             model);
    err = run(args, true, 64);
    assert_non_null(strstr(err, "--think 8: models of chat template chatml do not think"));
    free(err);
}

static void run_shows_the_length_and_keeps_the_text(void **state)
{
    (void)state;
    char args[1000];
    if (!getenv("MAS"))
        skip();
    snprintf(args, sizeof args,
             "run -c '%s/configs/demo.yaml' --set 'model=%s' --set chat.template=qwen3 --set "
             "thinking.budget=16 --set max_context_length=1024 -s cot "
             "--out '%s/run' --json -q 'chest pain' -o 'A. MI||B. GERD'",
             TEST_SOURCE, model, dir);
    char *json = run(args, false, -1); /* the demo model answers with noise */
    json_t *doc = json_loads(json, 0, NULL);
    assert_non_null(doc);
    const json_t *first = json_array_get(json_object_get(doc, "thinking"), 0);
    assert_string_equal(json_string_value(json_object_get(first, "role")), "answer");
    assert_true(json_integer_value(json_object_get(first, "tokens")) > 2);
    assert_int_equal(json_integer_value(json_object_get(doc, "think_tokens")),
                     json_integer_value(json_object_get(first, "tokens")));
    json_decref(doc);
    free(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(thinking_and_reply_are_apart),
        cmocka_unit_test(scores_and_replies_without_a_budget_follow_an_empty_block),
        cmocka_unit_test(budgets_count_in_the_context),
        cmocka_unit_test(generate_shows_thinking_apart),
        cmocka_unit_test(run_shows_the_length_and_keeps_the_text),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
