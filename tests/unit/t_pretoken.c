/* The pre-tokenizers of pretokens.def against the pieces of other programs
 * (tools/training/golden/pretoken.py), and their properties on any bytes. */
#include "pretoken.h"

#include <jansson.h>
#include <time.h>

#include "rng.h"
#include "test.h"
#include "tokenizer.h"
#include "zio.h"

static const char *const names[] = {
    "llama-bpe", "smaug-bpe",    "gpt-2",          "qwen2",       "qwen35", "smollm", "tekken",
    "gpt-4o",    "deepseek-llm", "deepseek-coder", "deepseek-v3", "falcon", "default"};

#define N_NAMES (sizeof names / sizeof names[0])

static const struct pretoken *rule(const char *name)
{
    const struct pretoken *p = pretoken_find(name, strlen(name));
    if (!p)
        fail_msg("no pre-tokenizer '%s'", name);
    return p;
}

/* ---- golden pieces ------------------------------------------------------------------------- */

/* Pieces of s[0..n) by the rule, as the golden file writes them. */
static void pieces_of(const struct pretoken *p, const char *s, size_t n, struct str *out)
{
    struct pretoken_walk w;
    str_clear(out);
    pretoken_start(&w, p, s, n);
    for (size_t len; (len = pretoken_next(&w)) > 0;)
        str_addf(out, out->len ? " %zu" : "%zu", len);
}

/* The tokens on a small vocabulary with the rule. */
static void ids_of(const struct tokenizer *t, const char *s, size_t n, struct str *out)
{
    struct err e;
    struct token_list l = {0};
    str_clear(out);
    ok(tokenizer_encode(t, s, n, 0, &l, &e));
    for (size_t i = 0; i < l.n; i++)
        str_addf(out, i ? " %d" : "%d", l.id[i]);
    token_list_free(&l);
}

/* Compares the rules named in each key of row's member `what` with its value. t: (N_NAMES) the
 * small vocabulary with each rule, for ids; NULL for cuts. */
static void check_line(const json_t *row, const char *what, struct tokenizer *const *t,
                       size_t count[N_NAMES])
{
    const json_t *text = json_object_get(row, "text");
    json_t *cuts = json_object_get(row, what);
    struct str got = STR_INIT;
    const char *key;
    json_t *cut;
    json_object_foreach(cuts, key, cut)
    {
        for (size_t i = 0; i < N_NAMES; i++) {
            size_t len = strlen(names[i]);
            const char *at = strstr(key, names[i]);
            if (!at || (at > key && at[-1] != ' ') || (at[len] && at[len] != ' '))
                continue;
            count[i]++;
            if (t)
                ids_of(t[i], json_string_value(text), json_string_length(text), &got);
            else
                pieces_of(rule(names[i]), json_string_value(text), json_string_length(text), &got);
            if (strcmp(got.s, json_string_value(cut)))
                fail_msg("%s, %s of '%s':\n got %s\nwant %s", names[i], what,
                         json_string_value(text), got.s, json_string_value(cut));
        }
    }
    str_free(&got);
}

static void two_thousand_strings_have_the_pieces_and_ids_of_the_oracle(void **state)
{
    (void)state;
    struct err e;
    struct str all = STR_INIT;
    struct gguf *g;
    struct tokenizer *t[N_NAMES];
    size_t cuts[N_NAMES] = {0}, ids[N_NAMES] = {0};
    ok(gguf_open(TEST_GOLDEN "/vocab_bpe.gguf", &g, &e));
    for (size_t i = 0; i < N_NAMES; i++)
        ok(tokenizer_open(g, names[i], &t[i], &e));
    ok(zio_read(TEST_GOLDEN "/pretoken.jsonl.gz", 1 << 24, &all, &e));
    for (char *s = all.s, *end; (end = strchr(s, '\n')); s = end + 1) {
        json_error_t je;
        json_t *row = json_loadb(s, (size_t)(end - s), JSON_ALLOW_NUL, &je);
        assert_non_null(row);
        check_line(row, "cuts", NULL, cuts);
        if (json_object_get(row, "ids"))
            check_line(row, "ids", t, ids);
        json_decref(row);
    }
    for (size_t i = 0; i < N_NAMES; i++) {
        bool own = strcmp(names[i], "smaug-bpe") != 0; /* it has the pieces of llama-bpe */
        assert_int_equal(cuts[i], own ? 2000 : 0);
        assert_int_equal(ids[i], own ? 200 : 0);
        tokenizer_close(t[i]);
    }
    gguf_close(g);
    str_free(&all);
}

/* ---- the table ----------------------------------------------------------------------------- */

static void each_label_finds_its_row(void **state)
{
    (void)state;
    static const char *const labels[][2] = {
        {"llama3", "llama-bpe"},       {"llama-v3", "llama-bpe"}, {"dbrx", "smaug-bpe"},
        {"deepseek-r1-qwen", "qwen2"}, {"starcoder", "smollm"},   {"command-r", "smollm"},
        {"refact", "smollm"},          {"phi-2", "gpt-2"},        {"llama4", "gpt-4o"},
    };
    for (size_t i = 0; i < sizeof labels / sizeof labels[0]; i++)
        assert_ptr_equal(rule(labels[i][0]), rule(labels[i][1]));
    assert_true(rule("llama-bpe")->whole_first && rule("llama-bpe")->add_bos);
    assert_true(rule("tekken")->whole_first && rule("tekken")->add_bos);
    assert_false(rule("smaug-bpe")->whole_first || rule("qwen2")->add_bos);
    static const char *const none[] = {"", " ", "llama", "llama-bpe ", "lama3", "qwen", "glm4"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        assert_null(pretoken_find(none[i], strlen(none[i])));
    struct str list = STR_INIT, want = STR_INIT;
    pretoken_names(&list);
    for (size_t i = 0; i < N_NAMES; i++)
        str_addf(&want, i ? ", %s" : "%s", names[i]);
    assert_string_equal(list.s, want.s);
    str_free(&list);
    str_free(&want);
}

/* ---- properties ---------------------------------------------------------------------------- */

/* The pieces are not empty and cover the text. Returns their number. */
static size_t walk(const struct pretoken *p, const char *s, size_t n)
{
    struct pretoken_walk w;
    size_t at = 0, count = 0;
    pretoken_start(&w, p, s, n);
    for (size_t len; (len = pretoken_next(&w)) > 0; at += len, count++)
        assert_true(len <= n - at);
    assert_int_equal(at, n);
    assert_int_equal(pretoken_next(&w), 0);
    return count;
}

static void any_bytes_are_covered_by_pieces(void **state)
{
    (void)state;
    static const char *const bits[] = {
        "a",  "B",    "'s",       "1",        " ",        "\n",           "\r", "\t",
        "\\", "\xff", "\xe2\x80", "\xcc\x81", "\xc5\xbf", "\xe4\xb8\x80", "`",  "\xe3\x80\x80"};
    char buf[64];
    for (uint64_t k = 0; k < 4000; k++) {
        size_t n = 0, want = rng_u64(k, 0) % 40;
        while (n < want) {
            const char *bit = bits[rng_u64(k, n + 1) % (sizeof bits / sizeof bits[0])];
            for (; *bit && n < want; bit++)
                buf[n++] = *bit;
        }
        for (size_t i = 0; i < N_NAMES; i++)
            walk(rule(names[i]), buf, n);
    }
}

/* Runs that make a careless scanner read the text once for each of its characters. */
static void long_runs_cost_linear_time(void **state)
{
    (void)state;
    static const char *const bits[] = {" ",
                                       "\n",
                                       "\t ",
                                       " \r\n",
                                       "'",
                                       "A",
                                       "a",
                                       "Aa",
                                       "1",
                                       "!",
                                       "\xcc\x81",
                                       "\xe0\xb8\x81",
                                       "\x01",
                                       " 1",
                                       "\xff",
                                       "\xe3\x80\x80",
                                       "\xe4\xb8\x80",
                                       "\xc7\x85",
                                       "\x01 ",
                                       "1  ",
                                       "  \xe0\xb8\x81"};
    enum { N = 1 << 18 };
    char *s = malloc(N);
    assert_non_null(s);
    clock_t begin = clock();
    for (size_t b = 0; b < sizeof bits / sizeof bits[0]; b++) {
        size_t len = strlen(bits[b]);
        for (size_t i = 0; i < N; i++)
            s[i] = bits[b][i % len];
        for (size_t i = 0; i < N_NAMES; i++)
            walk(rule(names[i]), s, N);
    }
    double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    if (!(seconds < 120)) /* a quadratic scanner takes hours */
        fail_msg("%.1f s for %zu runs of %d bytes", seconds, sizeof bits / sizeof bits[0], N);
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_thousand_strings_have_the_pieces_and_ids_of_the_oracle),
        cmocka_unit_test(each_label_finds_its_row),
        cmocka_unit_test(any_bytes_are_covered_by_pieces),
        cmocka_unit_test(long_runs_cost_linear_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
