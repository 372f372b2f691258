#include "chat.h"
#include "oom.h"
#include "test.h"
#include "tokenizer.h"

/* Opens a tokenizer, encodes a text with every kind of piece, renders a chat, decodes and
 * streams. */
static int whole_life(void *arg)
{
    static const char text[] = "<note>The patient's\n\n  x1234 \xf0\x9f\x98\x80 <|eot_id|> "
                               "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const struct gguf *g = arg;
    const struct chat_message m[] = {{"system", "be brief", 8}, {"user", "Hello", 5}};
    struct tokenizer *t = NULL;
    struct chat *c = NULL;
    struct token_list l = {0};
    struct str s = STR_INIT;
    struct err e;
    int rc;
    TRY_DONE(tokenizer_open(g, NULL, &t, &e));
    TRY_DONE(token_list_push(&l, 7, &e));
    rc = tokenizer_encode(t, text, sizeof text - 1, TOK_SPECIAL | TOK_BOS, &l, &e);
    assert_true(rc == 0 || l.n == 1); /* no partial result */
    TRY_DONE(rc);
    TRY_DONE(tokenizer_decode(t, l.id, l.n, TOK_SPECIAL, &s, &e));
    l.n = 1;
    TRY_DONE(chat_open(g, t, &(struct chat_options){.name = "chatml"}, &c, &e));
    rc = chat_render(c, m, 2, CHAT_THINK_DEFAULT, &l, &e);
    assert_true(rc == 0 || l.n == 1);
    TRY_DONE(rc);
    str_free(&s);
    struct tokenizer_stream st = {0};
    for (size_t i = 1; i < l.n; i++)
        tokenizer_stream_push(t, &st, l.id[i], &s);
    tokenizer_stream_end(&st, &s);
    rc = str_ok(&s, "the stream", &e);
done:
    str_free(&s);
    token_list_free(&l);
    chat_close(c);
    tokenizer_close(t);
    return rc;
}

static void running_out_of_memory_is_reported_and_leaks_nothing(void **state)
{
    (void)state;
    static const char *const files[] = {TEST_GOLDEN "/vocab_bpe.gguf",
                                        TEST_GOLDEN "/vocab_spm.gguf"};
    for (size_t i = 0; i < 2; i++) {
        struct err e;
        struct gguf *g;
        ok(gguf_open(files[i], &g, &e));
        assert_in_range(oom_loop(whole_life, g, false), 15, 200);
        assert_in_range(oom_loop(whole_life, g, true), 15, 200);
        gguf_close(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(running_out_of_memory_is_reported_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
