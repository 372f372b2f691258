#include "vocabulary.h"

#include "rng.h"
#include "test.h"

static const char *const pieces[] = {
    "{\"",
    "\": \"",
    "\", \"",
    "\"}",
    "\"]",
    "\"},",
    "\"}, {\"",
    "\"], \"",
    "\"]}",
    "\"}]",
    "}]}",
    "]]}",
    ": ",
    ", ",
    "\":",
    "\": ",
    " \"",
    ", \"",
    ": [",
    ": [{",
    ": {",
    ": [\"",
    "[]",
    "[[",
    "]]",
    "{}",
    "}}",
    "\\n",
    "\\\"",
    "\\\\",
    "\\u",
    "\\u00",
    "\\ud83d",
    "\\ude00",
    "\\ud83d\\ude00",
    "\\u0041b",
    "\\u0000",
    "d83d\\ud",
    "00e9",
    "n",
    "na\"",
    "u0020\"",
    "a\\",
    "abc\\",
    "\\\", \"",
    "\"\"",
    "\"\\",
    "x\"]",
    "\xc3",
    "\xa9",
    "\xe2\x82",
    "\xac",
    "\xf0\x9f",
    "\x98\x80",
    "\xf0\x9f\x98\x80",
    "\x80\xc3",
    "\xa9\"",
    "\xed\xa0",
    "\xc0\x80",
    "a\xe2",
    "\xac, ",
    "e\xcc\x81",
    "\x01",
    "\x7f",
    "a\nb",
    "0.",
    "0.5",
    "00",
    "10",
    "1, ",
    "1}",
    "1]",
    "-",
    "-1",
    ".5",
    ".25",
    "5, 6",
    "5], [",
    "0]]",
    "99",
    "true",
    "false",
    "true, \"",
    "null",
    "nul",
    "l, ",
    "ent",
    "ent_",
    "ent\"",
    "ent_x\", \"",
    "_xyz\"",
    "a\", \"b",
    "ab\"",
    "abc\", \"",
    "b\"]",
    "....",
    "...\"",
    "..........................................",
    "a b c d e f g h i j k l m n o p q r s t u v w x y z a b c d e f g h i j",
    "cardi",
    "ology\"",
    "cardiology",
    "{\"triage_",
    " the",
    " of",
    "The",
    "chest pain",
};
#define N_PIECES (sizeof pieces / sizeof pieces[0])

static void set(struct vocabulary *x, size_t i, const char *s, size_t n)
{
    x->bytes[i] = malloc(n + 1); /* exact size: a read beyond a token is an ASan error */
    assert_non_null(x->bytes[i]);
    memcpy(x->bytes[i], s, n);
    x->len[i] = n;
}

void vocabulary_init(struct vocabulary *out, const char *sample, size_t n_sample, size_t random,
                     uint64_t seed)
{
    struct err e = {0};
    struct vocabulary x = {.n = 256 + 3 + 2 * N_PIECES + random};
    x.bytes = calloc(x.n, sizeof *x.bytes);
    x.len = calloc(x.n, sizeof *x.len);
    x.is_end = calloc(x.n, sizeof *x.is_end);
    size_t i = 0;
    for (; i < 256; i++)
        set(&x, i, (char[]){(char)i}, 1);
    x.is_end[i] = x.is_end[i + 1] = true;
    set(&x, i++, "<end>", 5);
    set(&x, i++, "", 0);
    set(&x, i++, "", 0);
    for (size_t k = 0; k < 2 * N_PIECES; k++)
        set(&x, i++, pieces[k / 2], strlen(pieces[k / 2]) - (k % 2 && k % 6));
    for (size_t k = 0; k < random; k++) {
        size_t n = 1 + rng_below(seed, 2 * k, 12);
        size_t at = n_sample > n ? rng_below(seed, 2 * k + 1, (uint32_t)(n_sample - n)) : 0;
        set(&x, i++, n_sample > n ? sample + at : "?", n_sample > n ? n : 1);
    }
    ok(grammar_vocab_open_tokens(x.n, (const char *const *)x.bytes, x.len, x.is_end, &x.v, &e));
    *out = x;
}

void vocabulary_free(struct vocabulary *x)
{
    grammar_vocab_close(x->v);
    for (size_t i = 0; i < x->n; i++)
        free(x->bytes[i]);
    free(x->bytes);
    free(x->len);
    free(x->is_end);
}

int32_t vocabulary_draw(const struct vocabulary *x, const uint32_t *mask, uint64_t key)
{
    uint32_t n = 0;
    for (size_t w = 0; w < (x->n + 31) / 32; w++)
        n += (uint32_t)__builtin_popcount(mask[w]);
    if (!n)
        return -1;
    uint32_t k = rng_below(key, 0, n);
    for (size_t i = 0; i < x->n; i++)
        if ((mask[i / 32] >> (i % 32) & 1) && k-- == 0)
            return (int32_t)i;
    return -1;
}

void vocabulary_reply(const struct vocabulary *x, const struct grammar *g, uint64_t seed,
                      struct str *out)
{
    struct err e;
    struct grammar_state s;
    grammar_start(g, &s);
    for (uint64_t step = 0; !s.done && step < 200000; step++) {
        const uint32_t *mask;
        ok(grammar_mask(x->v, g, &s, &mask, &e));
        int32_t id = vocabulary_draw(x, mask, rng_key(seed, 0, step));
        assert_true(grammar_accept(x->v, g, &s, id));
        str_add(out, x->bytes[id], x->len[id]);
    }
    assert_true(s.done);
}

struct grammar *vocabulary_grammar(const char *file)
{
    struct err e;
    char path[1024];
    struct grammar *g;
    size_t n;
    snprintf(path, sizeof path, "%s/tests/fuzz/corpus/grammar/%s", TEST_SOURCE, file);
    char *text = test_read(path, &n);
    ok(grammar_compile(text, n, file, &g, &e));
    free(text);
    return g;
}
