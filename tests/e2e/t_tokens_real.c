/* Token ids on vocabularies of real models, tests/real/tokens.jsonl.gz: those of the models' own
 * packages and of llama.cpp (tools/training/golden/vocabs.py). The files lie in the folder that
 * MAS_REAL names or that is the argument; a file that is absent is skipped with a word. */
#include <jansson.h>
#include <unistd.h>

#include "test.h"
#include "tokenizer.h"
#include "zio.h"

static const char *folder;

/* llama.cpp takes this token for the end of a text, whatever its type; the model's own package
 * does not. */
static bool differs_knowingly(const char *file, const char *text)
{
    return !strncmp(file, "gemma-3", 7) && !strcmp(text, "</s>");
}

static json_t *lines_of(const char *path)
{
    struct err e;
    struct str all = STR_INIT;
    json_t *out = json_array();
    ok(zio_read(path, 1 << 26, &all, &e));
    for (char *s = all.s, *end; (end = strchr(s, '\n')); s = end + 1) {
        json_error_t je;
        json_t *row = json_loadb(s, (size_t)(end - s), JSON_ALLOW_NUL, &je);
        assert_non_null(row);
        json_array_append_new(out, row);
    }
    str_free(&all);
    return out;
}

/* exact: decoding gives the text again. */
static void ids_of(const struct tokenizer *t, const json_t *text, bool exact, struct str *out)
{
    struct err e;
    struct token_list l = {0};
    struct str back = STR_INIT;
    size_t n = json_string_length(text);
    ok(tokenizer_encode(t, json_string_value(text), n, 0, &l, &e));
    str_clear(out);
    for (size_t i = 0; i < l.n; i++)
        str_addf(out, i ? " %d" : "%d", l.id[i]);
    ok(tokenizer_decode(t, l.id, l.n, 0, &back, &e));
    if (exact)
        assert_int_equal(back.len, n);
    if (exact && n)
        assert_memory_equal(back.s, json_string_value(text), n);
    str_free(&back);
    token_list_free(&l);
}

static void check_file(const json_t *row, const json_t *texts)
{
    struct err e;
    struct gguf *g;
    struct tokenizer *t;
    struct str path = STR_INIT, got = STR_INIT;
    const char *file = json_string_value(json_object_get(row, "file"));
    const json_t *ids = json_object_get(row, "ids");
    str_addf(&path, "%s/%s", folder, file);
    if (access(path.s, R_OK)) {
        print_message("skipped: no %s\n", path.s);
        str_free(&path);
        return;
    }
    assert_int_equal(json_array_size(ids), json_array_size(texts));
    ok(gguf_open(path.s, &g, &e));
    ok(tokenizer_open(g, NULL, &t, &e));
    for (size_t i = 0; i < json_array_size(ids); i++) {
        const json_t *text = json_object_get(json_array_get(texts, i), "text");
        const char *want = json_string_value(json_array_get(ids, i));
        /* SmolLM2 lacks bytes, and SentencePiece reads U+2581 as a space. */
        bool exact =
            strncmp(file, "SmolLM2", 7) != 0 && !strstr(json_string_value(text), "\xe2\x96\x81");
        ids_of(t, text, exact, &got);
        if (strcmp(got.s, want) && !differs_knowingly(file, json_string_value(text)))
            fail_msg("%s, '%s':\n got %s\nwant %s", file, json_string_value(text), got.s, want);
    }
    print_message("%s: ids of %zu texts\n", file, json_array_size(ids));
    tokenizer_close(t);
    gguf_close(g);
    str_free(&path);
    str_free(&got);
}

static void real_vocabularies_give_the_ids_of_their_packages(void **state)
{
    (void)state;
    if (!folder) {
        print_message("skipped: MAS_REAL names no folder of model files\n");
        skip();
    }
    json_t *texts = lines_of(TEST_GOLDEN "/pretoken.jsonl.gz");
    json_t *rows = lines_of(TEST_SOURCE "/tests/real/tokens.jsonl.gz");
    assert_int_equal(json_array_size(texts), 2000);
    for (size_t i = 0; i < json_array_size(rows); i++)
        check_file(json_array_get(rows, i), texts);
    json_decref(texts);
    json_decref(rows);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(real_vocabularies_give_the_ids_of_their_packages),
    };
    folder = argc > 1 ? argv[1] : getenv("MAS_REAL");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
