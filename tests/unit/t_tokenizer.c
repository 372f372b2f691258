#include "tokenizer.h"

#include <jansson.h>

#include "test.h"

#define LLAMA3 "vocab/ggml-vocab-llama-bpe.gguf"
#define LLAMA2 "vocab/ggml-vocab-llama-spm.gguf"

struct opened {
    struct gguf *g;
    struct tokenizer *t;
};

static struct opened open_file(const char *path)
{
    struct err e;
    struct opened o;
    ok(gguf_open(path, &o.g, &e));
    ok(tokenizer_open(o.g, &o.t, &e));
    return o;
}

static void close_file(struct opened o)
{
    tokenizer_close(o.t);
    gguf_close(o.g);
}

/* ---- the published test strings of the two real vocabularies -------------------------------------- */

/* Strings lie between lines "__ggml_vocab_test__"; a string does not own the newline before that line. */
#define SEPARATOR "\n__ggml_vocab_test__\n"

static void ids_text(const struct token_list *l, struct str *out)
{
    str_clear(out);
    for (size_t i = 0; i < l->n; i++)
        str_addf(out, " %d", l->id[i]);
}

static int check_strings(const char *vocab)
{
    struct err e;
    char path[1024], file[200], *inp, *want;
    snprintf(file, sizeof file, "%s.inp", vocab);
    inp = test_read(test_data(file, path), NULL);
    snprintf(file, sizeof file, "%s.out", vocab);
    want = test_read(test_data(file, path), NULL);
    struct opened o = open_file(test_data(vocab, path));
    struct token_list l = {0};
    struct str got = STR_INIT;
    int n = 0;
    char *line = want;
    for (char *s = inp, *end; (end = strstr(s, SEPARATOR)); s = end + strlen(SEPARATOR), n++) {
        l.n = 0;
        ok(tokenizer_encode(o.t, s, (size_t)(end - s), 0, &l, &e));
        ids_text(&l, &got);
        char *eol = strchr(line, '\n');
        assert_non_null(eol);
        *eol = *end = 0;
        if (strcmp(got.s, line))
            fail_msg("string %d '%s':\n got%s\nwant%s", n, s, got.s, line);
        line = eol + 1;
        str_clear(&got);
        ok(tokenizer_decode(o.t, l.id, l.n, 0, &got, &e));
        assert_string_equal(got.s, s);
    }
    assert_int_equal(*line, 0);
    str_free(&got);
    token_list_free(&l);
    close_file(o);
    free(inp);
    free(want);
    return n;
}

static void llama3_strings_give_the_published_ids(void **state)
{
    (void)state;
    char path[1024];
    need_data(LLAMA3, path);
    assert_int_equal(check_strings(LLAMA3), 46);
}

static void llama2_strings_give_the_published_ids(void **state)
{
    (void)state;
    char path[1024];
    need_data(LLAMA2, path);
    assert_int_equal(check_strings(LLAMA2), 46);
}

/* ---- MedQA --------------------------------------------------------------------------------------- */

static void prompt_of(const char *line, struct str *out)
{
    json_error_t je;
    json_t *root = json_loads(line, 0, &je);
    assert_non_null(root);
    const char *q, *a, *b, *c, *d;
    assert_int_equal(json_unpack(root, "{s:s, s:{s:s, s:s, s:s, s:s}}", "question", &q, "options", "A", &a,
                                 "B", &b, "C", &c, "D", &d), 0);
    str_clear(out);
    str_addf(out, "Question: %s\nA. %s\nB. %s\nC. %s\nD. %s\nAnswer:", q, a, b, c, d);
    json_decref(root);
}

static void medqa_prompts_have_the_known_number_of_tokens(void **state)
{
    (void)state;
    struct err e;
    char path[1024], data[1024];
    need_data(LLAMA3, path);
    need_data("medqa/test_4opt.jsonl", data);
    struct opened o = open_file(path);
    char *text = test_read(data, NULL);
    struct token_list l = {0};
    struct str prompt = STR_INIT;
    size_t total = 0, most = 0, n = 0;
    for (char *s = text, *end; (end = strchr(s, '\n')); s = end + 1, n++) {
        *end = 0;
        prompt_of(s, &prompt);
        l.n = 0;
        ok(tokenizer_encode(o.t, prompt.s, prompt.len, 0, &l, &e));
        total += l.n;
        most = l.n > most ? l.n : most;
    }
    print_message("%zu prompts, %zu tokens, max %zu\n", n, total, most);
    assert_int_equal(n, 1273);
    assert_int_equal(total, 269052);
    assert_int_equal(most, 887);
    str_free(&prompt);
    token_list_free(&l);
    free(text);
    close_file(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llama3_strings_give_the_published_ids),
        cmocka_unit_test(llama2_strings_give_the_published_ids),
        cmocka_unit_test(medqa_prompts_have_the_known_number_of_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
