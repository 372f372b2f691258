/* The text of a running call, piece by piece: together exactly the reply and the thinking, each
 * piece complete characters. And prompts without a chat template. */
#include "engine.h"
#include "llm.h"
#include "serve.h"
#include "test.h"
#include "thinker.h"
#include "tokenizer.h"

static char dir[256], model[300];

static const char user[] = "A 65-year-old man has crushing chest pain.";
static const char schema[] =
    "{\"type\": \"object\", \"properties\": {\"a\": {\"enum\": [\"x\", \"yy\"]}, \"b\": {\"type\": "
    "\"string\", \"maxLength\": 8}}, \"required\": [\"a\", \"b\"]}";

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

struct heard { /* by on_text; of one call */
    struct str text[2];
    int n;
    bool thought_after_reply, broken;
};

static void hear(struct llm_call *c, const char *text, size_t n, bool thinking)
{
    struct heard *h = c->user_data;
    assert_true(n > 0);
    h->broken = h->broken || utf8_complete(text, n) != n;
    h->thought_after_reply = h->thought_after_reply || (thinking && h->text[0].len);
    str_add(&h->text[thinking], text, n);
    h->n++;
}

static struct llm_call call_of(struct heard *h, uint64_t id, int max_think, float temperature)
{
    *h = (struct heard){.text = {STR_INIT, STR_INIT}};
    return (struct llm_call){.id = id,
                             .seed = 7,
                             .user = user,
                             .user_len = sizeof user - 1,
                             .max_tokens = 40,
                             .max_think = max_think,
                             .temperature = temperature,
                             .top_p = 1,
                             .on_text = hear,
                             .user_data = h,
                             .reply = STR_INIT,
                             .think = STR_INIT};
}

static void heard_free(struct heard *h, struct llm_call *c)
{
    str_free(&h->text[0]);
    str_free(&h->text[1]);
    llm_call_clear(c);
}

static void equal(const struct str *a, const struct str *b)
{
    assert_int_equal(a->len, b->len);
    if (a->len)
        assert_memory_equal(a->s, b->s, a->len);
}

static void pieces_are_together_the_texts_of_the_call(void **state)
{
    (void)state;
    enum { N = 60 };
    struct llm *l = thinker_llm(model, "qwen3", 8);
    const struct llm_schema *s;
    struct err e;
    struct llm_call c[N];
    struct heard h[N];
    int how[LLM_THOUGHT_EOS + 1] = {0}, pieces = 0, whole = 0;
    ok(llm_schema(l, schema, sizeof schema - 1, "test", &s, &e));
    for (int i = 0; i < N; i++) {
        c[i] = call_of(&h[i], (uint64_t)i, i % 5 == 0 ? 9 : i % 5 == 1 ? 0 : 200, i % 4 ? 5 : 0);
        c[i].schema = i % 2 ? s : NULL;
        ok(llm_submit(l, &c[i], &e));
    }
    for (int i = 0; i < N; i++)
        assert_non_null(llm_next(l, -1));
    for (int i = 0; i < N; i++) {
        if (c[i].finish == LLM_ERROR)
            fail_msg("%s", c[i].err.msg);
        equal(&h[i].text[1], &c[i].think);
        equal(&h[i].text[0], &c[i].reply);
        assert_false(h[i].thought_after_reply);
        /* only a text that ends within a character ends so */
        if (h[i].broken)
            assert_true(utf8_complete(c[i].reply.s, c[i].reply.len) != c[i].reply.len ||
                        utf8_complete(c[i].think.s, c[i].think.len) != c[i].think.len);
        how[c[i].thought]++;
        pieces += h[i].n;
        whole += (c[i].reply.len > 0) + (c[i].think.len > 0);
        heard_free(&h[i], &c[i]);
    }
    assert_true(how[LLM_THOUGHT_CLOSED] > 3 && how[LLM_THOUGHT_CUT] > 3 &&
                how[LLM_THOUGHT_EMPTY] > 3);
    assert_true(pieces > 5 * whole);
    llm_close(l);
}

static void nothing_comes_after_a_cancel(void **state)
{
    (void)state;
    struct llm *l = thinker_llm(model, "plain", 8);
    struct heard h;
    struct err e;
    struct llm_call c = call_of(&h, 1, 0, 1);
    ok(llm_submit(l, &c, &e));
    llm_cancel(l, &c);
    assert_ptr_equal(llm_next(l, -1), &c);
    assert_int_equal(c.finish, LLM_CANCEL);
    assert_int_equal(c.reply.len, 0);
    heard_free(&h, &c);
    llm_close(l);
}

static void say(struct llm_call *c, void *data)
{
    const char *text = data;
    str_adds(&c->reply, text);
    str_adds(&c->think, "th\xc3\xb6ught in pieces \xe2\x82\xac");
}

static void a_script_speaks_in_pieces_too(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "x", "12345\xe2\x82\xac more \xf0\x9f\x98\x80",
                                        "cut \xf0\x9f\x98", "\xff\xfe bad \x80"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct llm *l;
        struct err e;
        struct heard h;
        struct llm_call c = call_of(&h, 1, 10, 0);
        ok(llm_script_open(say, (void *)(uintptr_t)texts[i], 0, &l, &e));
        llm_script_thinks(l, true);
        ok(llm_submit(l, &c, &e));
        assert_ptr_equal(llm_next(l, -1), &c);
        equal(&h.text[0], &c.reply);
        equal(&h.text[1], &c.think);
        assert_int_equal(c.reply.len, strlen(texts[i]));
        assert_true(h.n >= 3 && h.broken == (i == 3));
        heard_free(&h, &c);
        llm_close(l);
    }
}

/* ---- raw prompts ----------------------------------------------------------------------------- */

/* The prompt of a raw call is the text: the same reply as the engine's for its tokens. */
static void a_raw_prompt_has_no_template(void **state)
{
    (void)state;
    struct llm *l = thinker_llm(model, "qwen3", 8);
    struct engine *en = NULL;
    struct engine_options o = {.model = model, .backend = "cpu", .n_ctx = 512};
    struct err e;
    struct heard h;
    struct token_list tokens = {0};
    static const char text[] = "chest pain <|im_end|>";
    ok(engine_open(&o, &en, &e));
    ok(tokenizer_encode(engine_tokenizer(en), text, sizeof text - 1, TOK_BOS, &tokens, &e));
    bool bos = tokens.id[0] == tokenizer_bos(engine_tokenizer(en));
    for (size_t i = 0; i < tokens.n; i++) /* data never becomes a control token */
        assert_true(i == 0 || !tokenizer_is_control(engine_tokenizer(en), tokens.id[i]));
    for (int no_bos = 0; no_bos < 2; no_bos++) {
        struct llm_call c = call_of(&h, 1, 0, 0);
        c.user = text;
        c.user_len = sizeof text - 1;
        c.raw = true;
        c.no_bos = no_bos;
        ok(llm_check(l, &c, &e));
        ok(llm_submit(l, &c, &e));
        assert_ptr_equal(llm_next(l, -1), &c);
        assert_int_equal(c.n_prompt, (int)tokens.n - (bos && no_bos));
        assert_true(llm_call_needs(&c) & LLM_CAN_RAW);
        heard_free(&h, &c);
    }
    struct llm_call c = call_of(&h, 1, 0, 0);
    c.raw = true;
    c.system = "x";
    c.system_len = 1;
    fails(llm_submit(l, &c, &e), ERR_BUG, "a raw prompt with a system text");
    c.system_len = 0;
    c.max_think = 3;
    fails(llm_check(l, &c, &e), ERR_BUG, "a raw prompt with thinking");
    c.max_think = 0;
    c.reply_prefix = "x";
    fails(llm_submit(l, &c, &e), ERR_BUG, "a raw prompt with the beginning of a reply");
    token_list_free(&tokens);
    engine_close(en);
    llm_close(l);
}

static void raw_options_are_scored_after_the_text(void **state)
{
    (void)state;
    struct llm *l = thinker_llm(model, "qwen3", 8);
    struct engine *en = NULL;
    struct engine_options o = {.model = model, .backend = "cpu", .n_ctx = 512};
    struct err e;
    struct heard h;
    static const struct llm_text options[] = {{" A", 2}, {" B", 2}, {" chest pain", 11}};
    struct llm_call c = call_of(&h, 1, 0, 0);
    ok(engine_open(&o, &en, &e));
    c.raw = true;
    c.max_tokens = 0;
    c.options = options;
    c.n_options = 3;
    ok(llm_submit(l, &c, &e));
    assert_ptr_equal(llm_next(l, -1), &c);
    assert_int_equal(c.finish, LLM_STOP);
    assert_int_equal(h.n, 0);
    for (int i = 0; i < 3; i++) {
        struct token_list all = {0};
        char text[200];
        double lp = 0;
        snprintf(text, sizeof text, "%s%s", user, options[i].s);
        ok(tokenizer_encode(engine_tokenizer(en), text, strlen(text), TOK_BOS, &all, &e));
        assert_int_equal(c.option_tokens[i], (int)all.n - c.n_prompt);
        const int32_t *cont = all.id + c.n_prompt;
        int len = c.option_tokens[i];
        struct jobs *one = jobs_make(1, c.n_prompt, c.n_prompt, 0, 1, 100);
        struct request *r = &one->job[0].r;
        memcpy(one->job[0].prompt, all.id, (size_t)c.n_prompt * sizeof *all.id);
        r->cont = &cont;
        r->cont_len = &len;
        r->n_cont = 1;
        r->cont_lp = &lp;
        jobs_run(en, one);
        jobs_free(one);
        assert_true(lp == c.option_lp[i]);
        token_list_free(&all);
    }
    heard_free(&h, &c);
    engine_close(en);
    llm_close(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_together_the_texts_of_the_call),
        cmocka_unit_test(nothing_comes_after_a_cancel),
        cmocka_unit_test(a_script_speaks_in_pieces_too),
        cmocka_unit_test(a_raw_prompt_has_no_template),
        cmocka_unit_test(raw_options_are_scored_after_the_text),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
