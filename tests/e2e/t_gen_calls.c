/* Calls of functions: their beginning, their JSON in pieces. Replies that turn out to be calls
 * start again under the grammar. */
#include <stdatomic.h>
#include <time.h>

#include "grammar.h"
#include "openai.h"
#include "test.h"
#include "thinker.h"

/* ---- the beginning of a call ----------------------------------------------------------------- */

static void a_call_is_told_from_text_by_its_first_bytes(void **state)
{
    (void)state;
    static const struct {
        enum gen_verdict want;
        const char *text;
    } rows[] = {
        {GEN_UNDECIDED, ""},
        {GEN_UNDECIDED, " \n"},
        {GEN_UNDECIDED, "{"},
        {GEN_UNDECIDED, "{ \"na"},
        {GEN_UNDECIDED, "{\"name\" "},
        {GEN_UNDECIDED, "<tool_"},
        {GEN_UNDECIDED, "``"},
        {GEN_UNDECIDED, "```json\n["},
        {GEN_CALL, "{\"name\":"},
        {GEN_CALL, " [ {\n \"name\" : \"x\""},
        {GEN_CALL, "<tool_call>\n{\"name\": \"x"},
        {GEN_CALL, "```json\n{\"name\": 1"},
        {GEN_CALL, "```\n{\"name\": 1"},
        {GEN_FREE, "The"},
        {GEN_FREE, "{\"names\":"},
        {GEN_FREE, "{\"Name\":"},
        {GEN_FREE, "[1"},
        {GEN_FREE, "[[{\"name\":"},
        {GEN_FREE, "<tool"
                   "s>"},
        {GEN_FREE, "{}"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        enum gen_verdict got = openai_tools_decide(rows[i].text, strlen(rows[i].text));
        if (got != rows[i].want)
            fail_msg("'%s': %d, expected %d", rows[i].text, got, rows[i].want);
    }
}

static void scan_call(struct tool_scan *s)
{
    str_addf(s->user, "<%d %s>", s->index, s->name);
}

static void scan_arguments(struct tool_scan *s, const char *text, size_t n)
{
    assert_true(n > 0);
    str_add(s->user, text, n);
}

/* Feeds the text in pieces of n bytes. */
static void scan(const char *only, const char *text, size_t n, struct str *out)
{
    struct tool_scan s = {.call = scan_call, .arguments = scan_arguments, .user = out};
    str_clear(out);
    for (size_t at = 0; at < strlen(text); at += n)
        tool_scan_feed(&s, only, text + at, strnlen(text + at, n));
}

static void calls_are_read_in_pieces_of_any_size(void **state)
{
    (void)state;
    static const struct {
        const char *only, *text, *want;
    } rows[] = {
        {NULL, "{\"name\": \"w\", \"arguments\": {}}", "<0 w>{}"},
        {NULL,
         "[{\"name\": \"w\", \"arguments\": {\"a\": \"}]{\\\"\"}}, {\"name\": \"long-er.1\", "
         "\"arguments\": {\"b\": [{}, 1]}}]",
         "<0 w>{\"a\": \"}]{\\\"\"}<1 long-er.1>{\"b\": [{}, 1]}"},
        {NULL, "[{\"name\": \"a\", \"arguments\": {\"x\": \"\\\\\"}}]", "<0 a>{\"x\": \"\\\\\"}"},
        {"f", "{\"a\": {\"name\": \"b\"}, \"c\": \"}\"}",
         "<0 f>{\"a\": {\"name\": \"b\"}, \"c\": \"}\"}"},
    };
    struct str out = STR_INIT;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (size_t n = 1; n < 40; n++) {
            scan(rows[i].only, rows[i].text, n, &out);
            assert_string_equal(out.s, rows[i].want);
        }
    str_free(&out);
}

/* ---- replies that become calls --------------------------------------------------------------- */

static const char schema[] =
    "{\"type\": \"object\", \"properties\": {\"a\": {\"enum\": [\"x\", \"yy\"]}, \"b\": {\"type\": "
    "\"string\", \"maxLength\": 8}}, \"required\": [\"a\", \"b\"]}";

struct bench {
    char dir[256], model[300];
    struct engine *en;
    struct hub_model m;
    struct work *work;
    struct grammar *grammar;
};

struct trial {
    struct gen g;
    struct str text, think;
    bool cancel;
    atomic_bool done;
};

static int setup(void **state)
{
    static struct bench b;
    struct err e;
    snprintf(b.model, sizeof b.model, "%s/thinks.gguf", test_mkdir(b.dir));
    thinker_write(b.model);
    struct engine_options o = {.model = b.model,
                               .backend = "cpu",
                               .n_threads = 1,
                               .n_ctx = 512,
                               .n_seq = 4,
                               .chat_template = "qwen3"};
    ok(engine_open(&o, &b.en, &e));
    ok(work_open(1, &b.work, &e));
    ok(grammar_compile(schema, strlen(schema), "s", &b.grammar, &e));
    b.m = (struct hub_model){
        .name = "thinks", .en = b.en, .tok = engine_tokenizer(b.en), .info = engine_info(b.en)};
    *state = &b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    work_close(b->work);
    engine_close(b->en);
    grammar_free(b->grammar);
    test_rmdir(b->dir);
    return 0;
}

static void on_piece(struct gen *g, const char *text, size_t n, bool thinking)
{
    struct trial *t = g->user;
    str_add(thinking ? &t->think : &t->text, text, n);
}

static void on_done(struct gen *g)
{
    struct trial *t = g->user;
    assert_false(atomic_load(&t->done));
    atomic_store(&t->done, true);
}

static enum gen_verdict calls_at_3(const char *s, size_t n)
{
    (void)s;
    return n < 3 ? GEN_UNDECIDED : GEN_CALL;
}

static enum gen_verdict free_at_3(const char *s, size_t n)
{
    (void)s;
    return n < 3 ? GEN_UNDECIDED : GEN_FREE;
}

static enum gen_verdict never(const char *s, size_t n)
{
    (void)s;
    (void)n;
    return GEN_UNDECIDED;
}

/* Runs one reply to its end. decide NULL: under `grammar`, or free. */
static void run(struct bench *b, struct trial *t, enum gen_verdict (*decide)(const char *, size_t),
                bool grammar, int think, bool cancel)
{
    struct err e;
    memset(t, 0, sizeof *t);
    t->text = t->think = (struct str)STR_INIT;
    gen_init(&t->g, &b->m, b->work);
    for (int i = 0; i < 6; i++)
        ok(token_list_push(&t->g.prompt, 300 + i * 7, &e));
    t->g.continues = true;
    t->g.r.id = 1;
    t->g.r.seed = 11;
    t->g.r.temperature = 1.2f;
    t->g.r.max_new = 40;
    t->g.r.grammar = grammar ? b->grammar : NULL;
    t->g.call_grammar = decide ? b->grammar : NULL;
    t->g.decide = decide;
    t->g.on_piece = on_piece;
    t->g.done = on_done;
    t->g.user = t;
    if (think)
        ok(gen_think(&t->g, think, &e));
    ok(gen_submit(&t->g, &e));
    if (cancel)
        gen_cancel(&t->g);
    for (int i = 0; !atomic_load(&t->done); i++) {
        if (i == 60000)
            fail_msg("a reply has no end");
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    assert_string_equal(t->text.s, t->g.text.s);
    assert_string_equal(t->think.s, t->g.think.s);
}

static void clear(struct trial *t)
{
    gen_free(&t->g);
    str_free(&t->text);
    str_free(&t->think);
}

static void compare(struct bench *b, enum gen_verdict (*decide)(const char *, size_t), bool grammar,
                    int think)
{
    struct trial plain, turned;
    run(b, &plain, NULL, grammar, think, false);
    run(b, &turned, decide, false, think, false);
    assert_string_equal(turned.text.s, plain.text.s);
    assert_string_equal(turned.think.s, plain.think.s);
    assert_int_equal(turned.g.finish, plain.g.finish);
    assert_int_equal(turned.g.n_text, plain.g.n_text);
    assert_int_equal(turned.g.calls, grammar);
    assert_int_equal(gen_tokens(&turned.g), gen_tokens(&plain.g));
    assert_int_equal(turned.g.r.n_think, plain.g.r.n_think);
    assert_true(think == 0 || plain.think.len > 0);
    clear(&plain);
    clear(&turned);
}

static void a_reply_that_begins_a_call_is_one_under_its_grammar(void **state)
{
    compare(*state, calls_at_3, true, 0);
    compare(*state, calls_at_3, true, 12);
}

static void a_reply_that_begins_no_call_is_free(void **state)
{
    compare(*state, free_at_3, false, 0);
    compare(*state, free_at_3, false, 12);
    compare(*state, never, false, 0);
}

/* The client leaves at any moment, also between the two requests: the reply ends. */
static void a_reply_that_becomes_a_call_can_be_cancelled(void **state)
{
    for (int i = 0; i < 60; i++) {
        struct trial t;
        run(*state, &t, calls_at_3, false, i % 2 ? 12 : 0, true);
        assert_true(t.g.finish == GEN_CANCEL || t.g.finish == GEN_STOP || t.g.finish == GEN_LENGTH);
        clear(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_is_told_from_text_by_its_first_bytes),
        cmocka_unit_test(calls_are_read_in_pieces_of_any_size),
        cmocka_unit_test(a_reply_that_begins_a_call_is_one_under_its_grammar),
        cmocka_unit_test(a_reply_that_begins_no_call_is_free),
        cmocka_unit_test(a_reply_that_becomes_a_call_can_be_cancelled),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
