/*
 * Replies to schemas of every accepted keyword, drawn at random under masks and closed near a token
 * limit.
 *
 * As a test it runs the schemas of tests/fuzz/corpus/grammar/reply_*.json. With a file of schemas,
 * one a line, it prints the input of tools/scripts/schema_check.py. That is "E message" for a
 * refused schema, otherwise a line "R reply" for each reply; then a line ".".
 */
#include "grammar.h"
#include "rng.h"
#include "schema_check.h"
#include "test.h"
#include "vocabulary.h"

#include <glob.h>

#define FREE_REPLIES 4
#define TIGHT_REPLIES 4

static const char sample[] =
    "2024-02-29T23:59:59.5+01:00 12:30:00Z P1Y2M3DT4H user@example.org "
    "https://example.org/a?b#c 127.0.0.1 fe80::1 "
    "123e4567-e89b-12d3-a456-426614174000 ABC-123 \\\"\\\\ \xc3\xa9\xe6\xbc"
    "\xa2 -1.25, 100, \"kind\": \"cat\", null]}";

static int32_t first_of_closing(const struct vocabulary *x, const struct grammar *g,
                                const struct grammar_state *s)
{
    struct err e;
    struct token_list closing = {0};
    ok(grammar_close(x->v, g, s, &closing, &e));
    assert_int_equal(grammar_close_tokens(x->v, g, s), closing.n);
    int32_t id = closing.id[0];
    token_list_free(&closing);
    return id;
}

static void close_reply(const struct vocabulary *x, const struct grammar *g,
                        const struct grammar_state *s, struct str *text)
{
    struct err e;
    struct token_list closing = {0};
    struct grammar_state at = *s;
    ok(grammar_close(x->v, g, s, &closing, &e));
    for (size_t i = 0; i < closing.n; i++) {
        assert_true(grammar_accept(x->v, g, &at, closing.id[i]));
        str_add(text, x->bytes[closing.id[i]], x->len[closing.id[i]]);
    }
    assert_true(at.done);
    token_list_free(&closing);
}

/* A random reply of at most `limit` tokens by the callers' rule of grammar.h. One time in `hurry`
 * the next token is that of the shortest completion. */
static void reply(const struct vocabulary *x, const struct grammar *g, uint64_t seed,
                  uint32_t hurry, int limit, struct str *text)
{
    struct grammar_state s, was;
    struct err e;
    grammar_start(g, &s);
    for (int used = 0; !s.done; used++) {
        const uint32_t *mask;
        uint64_t key = rng_key(seed, 1, (uint64_t)used);
        ok(grammar_mask(x->v, g, &s, &mask, &e));
        int32_t id =
            rng_below(key, 9, hurry) ? vocabulary_draw(x, mask, key) : first_of_closing(x, g, &s);
        was = s;
        assert_true(grammar_accept(x->v, g, &s, id));
        if (grammar_close_tokens(x->v, g, &s) > limit - used - 1) {
            close_reply(x, g, &was, text);
            return;
        }
        str_add(text, x->bytes[id], x->len[id]);
    }
}

typedef void with_reply(void *arg, const struct str *text);

static void replies(const struct vocabulary *x, const struct grammar *g, uint64_t seed,
                    with_reply *each, void *arg)
{
    struct grammar_state start;
    grammar_start(g, &start);
    int least = grammar_close_tokens(x->v, g, &start);
    for (int i = 0; i < FREE_REPLIES + TIGHT_REPLIES; i++) {
        struct str text = STR_INIT;
        uint64_t key = rng_key(seed, 2, (uint64_t)i);
        int limit =
            i < FREE_REPLIES ? 100000 : least + (int)rng_below(key, 3, 2 + 15 * (uint32_t)i);
        reply(x, g, key, i % 2 ? 3 : 10, limit, &text);
        each(arg, &text);
        str_free(&text);
    }
}

static void check_reply(void *arg, const struct str *text)
{
    char why[256] = "";
    if (!schema_check(arg, text->s, text->len, why))
        fail_msg("%s: %s", why, text->s);
}

/* One file: its replies, from five seeds. */
static void check_file(const struct vocabulary *x, const char *path)
{
    struct grammar *g;
    struct err e;
    size_t n;
    char *text = test_read(path, &n);
    const char *json_text = strncmp(text, "\xef\xbb\xbf", 3) ? text : text + 3;
    json_t *json = json_loads(json_text, JSON_DECODE_ANY, NULL);
    assert_non_null(json);
    ok(grammar_compile(text, n, path, &g, &e));
    for (uint64_t seed = 0; seed < 5; seed++)
        replies(x, g, seed, check_reply, json);
    grammar_free(g);
    json_decref(json);
    free(text);
}

static void replies_to_every_keyword_are_valid(void **state)
{
    (void)state;
    struct vocabulary x;
    glob_t found;
    vocabulary_init(&x, sample, sizeof sample - 1, 200, 5);
    assert_int_equal(glob(TEST_SOURCE "/tests/fuzz/corpus/grammar/reply_*.json", 0, NULL, &found),
                     0);
    for (size_t i = 0; i < found.gl_pathc; i++)
        check_file(&x, found.gl_pathv[i]);
    assert_true(found.gl_pathc >= 37);
    globfree(&found);
    vocabulary_free(&x);
}

/* Schemas that people met (../shared/cases): accepted and obeyed. */
static void schemas_that_people_met_are_obeyed(void **state)
{
    (void)state;
    struct vocabulary x;
    glob_t found;
    if (glob(TEST_SOURCE "/../shared/cases/schema/*.json", 0, NULL, &found) != 0) {
        print_message("skipped: no ../shared/cases/schema\n");
        skip();
    }
    vocabulary_init(&x, sample, sizeof sample - 1, 200, 5);
    for (size_t i = 0; i < found.gl_pathc; i++)
        check_file(&x, found.gl_pathv[i]);
    globfree(&found);
    vocabulary_free(&x);
}

static void print_reply(void *arg, const struct str *text)
{
    (void)arg;
    printf("R %s\n", text->s);
}

static int print_all(const char *path)
{
    struct vocabulary x;
    struct err e;
    size_t n;
    uint64_t seed = 0;
    char *text = test_read(path, &n);
    vocabulary_init(&x, sample, sizeof sample - 1, 200, 5);
    for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
        struct grammar *g;
        if (grammar_compile(line, (size_t)(end - line), "s", &g, &e) < 0) {
            printf("E %s\n.\n", e.msg);
            continue;
        }
        replies(&x, g, seed++, print_reply, NULL);
        grammar_free(g);
        printf(".\n");
        fflush(stdout);
    }
    vocabulary_free(&x);
    free(text);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_to_every_keyword_are_valid),
        cmocka_unit_test(schemas_that_people_met_are_obeyed),
    };
    return argc > 1 ? print_all(argv[1]) : cmocka_run_group_tests(tests, NULL, NULL);
}
