#include "grammar.h"
#include "oom.h"
#include "test.h"

static const char schema[] =
    "{\"type\":\"object\",\"required\":[\"a/b\",\"c\",\"d\"],\"properties\":{"
    "\"a/"
    "b\":{\"type\":\"array\",\"maxItems\":2,\"uniqueItems\":true,\"items\":{\"enum\":[\"x\",\"y\"]}"
    "},"
    "\"c\":{\"type\":\"number\",\"minimum\":0,\"maximum\":1},\"d\":{\"const\":\"z\"},"
    "\"e\":{\"type\":\"string\",\"pattern\":\"^[a-c]{2}|[^d]\\\\d+$\",\"maxLength\":4},"
    "\"f\":{\"oneOf\":[{\"$ref\":\"#/$defs/"
    "g\"},{\"type\":[\"array\",\"null\"]},{\"const\":{\"a\":[1.5]}}]}},"
    "\"$defs\":{\"g\":{\"allOf\":[{\"enum\":[1,10,\"a\"]},{\"type\":\"integer\"}]}}}";

static int compile(void *arg)
{
    (void)arg;
    struct grammar *g = NULL;
    int rc = grammar_compile(schema, sizeof schema - 1, "s", &g, NULL);
    grammar_free(g);
    return rc;
}

static int
refuse(void *arg) /* a wrong schema stays wrong: either error is correct, a crash or leak is not */
{
    (void)arg;
    static const char bad[] =
        "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"maxLenght\":1}}}";
    struct grammar *g = NULL;
    int rc = grammar_compile(bad, sizeof bad - 1, "s", &g, NULL);
    assert_null(g);
    return rc == ERR_CONFIG ? 0 : rc;
}

static int open_and_use(void *arg)
{
    const struct grammar *g = arg;
    static const char *const bytes[] = {"{",    "\"", "\", \"", "a", "\\", "ab\"",
                                        "n\"}", "é",  "{",      "é", ""};
    size_t len[11];
    bool is_end[11] = {false};
    for (size_t i = 0; i < 11; i++)
        len[i] = strlen(bytes[i]);
    is_end[10] = true;
    struct grammar_vocab *v = NULL;
    struct token_list out = {0};
    int rc = grammar_vocab_open_tokens(11, bytes, len, is_end, &v, NULL);
    struct grammar_state s;
    const uint32_t *mask;
    grammar_start(g, &s);
    if (rc == 0)
        rc = grammar_mask(v, g, &s, &mask, NULL);
    if (rc == 0) {
        rc = grammar_close(v, g, &s, &out, NULL);
        if (rc == ERR_DATA) /* as it should: this vocabulary lacks most bytes */
            rc = 0;
        assert_int_equal(out.n, 0);
    }
    token_list_free(&out);
    grammar_vocab_close(v);
    return rc;
}

static void compiling_survives_every_failed_allocation(void **state)
{
    (void)state;
    assert_true(oom_loop(compile, NULL, false) > 10);
    assert_true(oom_loop(compile, NULL, true) > 10);
    assert_true(oom_loop(refuse, NULL, false) > 5);
}

static void opening_a_vocabulary_survives_every_failed_allocation(void **state)
{
    (void)state;
    struct grammar *g;
    struct err e;
    ok(grammar_compile(schema, sizeof schema - 1, "s", &g, &e));
    assert_true(oom_loop(open_and_use, g, false) > 10);
    assert_true(oom_loop(open_and_use, g, true) > 10);
    grammar_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compiling_survives_every_failed_allocation),
        cmocka_unit_test(opening_a_vocabulary_survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
