#include "tokenizer.h"

#include <jansson.h>
#include <time.h>

#include "mem.h"
#include "pretoken.h"
#include "rng.h"
#include "test.h"
#include "unicode.h"

#define LLAMA3 "vocab/ggml-vocab-llama-bpe.gguf"
#define LLAMA2 "vocab/ggml-vocab-llama-spm.gguf"
#define SMALL_BPE TEST_GOLDEN "/vocab_bpe.gguf"
#define SMALL_SPM TEST_GOLDEN "/vocab_spm.gguf"

struct opened {
    struct gguf *g;
    struct tokenizer *t;
};

static struct opened open_file(const char *path)
{
    struct err e;
    struct opened o;
    ok(gguf_open(path, &o.g, &e));
    ok(tokenizer_open(o.g, NULL, &o.t, &e));
    return o;
}

static void close_file(struct opened o)
{
    tokenizer_close(o.t);
    gguf_close(o.g);
}

/* ---- golden strings on the small vocabularies (tools/training/golden/tokenizer.py) ---------- */

static void check_ids(const char *what, const json_t *want, const struct token_list *got,
                      const char *text)
{
    bool same = json_array_size(want) == got->n;
    for (size_t i = 0; same && i < got->n; i++)
        same = json_integer_value(json_array_get(want, i)) == got->id[i];
    if (same)
        return;
    struct str s = STR_INIT;
    str_addf(&s, "%s of '%s':\n got", what, text);
    for (size_t i = 0; i < got->n; i++)
        str_addf(&s, " %d", got->id[i]);
    str_adds(&s, "\nwant");
    for (size_t i = 0; i < json_array_size(want); i++)
        str_addf(&s, " %d", (int)json_integer_value(json_array_get(want, i)));
    fail_msg("%s", s.s);
}

static void check_pieces(const json_t *want, const char *s, size_t n)
{
    size_t at = 0;
    struct pretoken_walk w;
    pretoken_start(&w, pretoken_find("llama-bpe", 9), s, n);
    for (size_t i = 0; i < json_array_size(want); i++) {
        assert_true(at < n);
        size_t len = pretoken_next(&w);
        if (len != (size_t)json_integer_value(json_array_get(want, i)))
            fail_msg("piece %zu of '%s' at byte %zu has %zu bytes, want %d", i, s, at, len,
                     (int)json_integer_value(json_array_get(want, i)));
        at += len;
    }
    assert_int_equal(at, n);
    assert_int_equal(pretoken_next(&w), 0);
}

static void check_row(const struct tokenizer *t, const json_t *row, const char *key, unsigned flags)
{
    struct err e;
    struct token_list l = {0};
    struct str back = STR_INIT;
    const json_t *text = json_object_get(row, "text"), *ids = json_object_get(row, key);
    const char *s = json_string_value(text);
    size_t n = json_string_length(text);
    ok(tokenizer_encode(t, s, n, flags, &l, &e));
    check_ids(key, ids, &l, s);
    ok(tokenizer_decode(t, l.id, l.n, flags, &back, &e));
    assert_int_equal(back.len, n);
    assert_memory_equal(back.s, s, n);
    token_list_free(&l);
    str_free(&back);
}

static int check_golden(const char *vocab, const char *rows)
{
    struct opened o = open_file(vocab);
    char *text = test_read(rows, NULL);
    int n = 0;
    for (char *s = text, *end; (end = strchr(s, '\n')); s = end + 1, n++) {
        json_error_t je;
        json_t *row = json_loadb(s, (size_t)(end - s), JSON_ALLOW_NUL, &je);
        assert_non_null(row);
        const json_t *str = json_object_get(row, "text"), *pieces = json_object_get(row, "pieces");
        if (pieces)
            check_pieces(pieces, json_string_value(str), json_string_length(str));
        check_row(o.t, row, "ids", 0);
        if (pieces)
            check_row(o.t, row, json_object_get(row, "special") ? "special" : "ids", TOK_SPECIAL);
        json_decref(row);
    }
    free(text);
    close_file(o);
    return n;
}

static void bpe_golden_strings_give_the_same_ids(void **state)
{
    (void)state;
    assert_int_equal(check_golden(SMALL_BPE, TEST_GOLDEN "/vocab_bpe.jsonl"), 465);
}

static void spm_golden_strings_give_the_same_ids(void **state)
{
    (void)state;
    assert_int_equal(check_golden(SMALL_SPM, TEST_GOLDEN "/vocab_spm.jsonl"), 465);
}

static void a_whole_piece_that_is_a_token_needs_no_merges(void **state)
{
    (void)state;
    struct err e;
    struct opened o = open_file(SMALL_BPE); /* its merges cannot build " patient" */
    struct token_list l = {0};
    int32_t id = tokenizer_find(o.t, " patient", 8);
    assert_true(id >= 0);
    ok(tokenizer_encode(o.t, "a patient a patients", 20, 0, &l, &e));
    assert_int_equal(l.id[1], id);
    for (size_t i = 2; i < l.n; i++)
        assert_int_not_equal(l.id[i], id);
    token_list_free(&l);
    close_file(o);
}

static void unicode_classes_are_those_of_version_15(void **state)
{
    (void)state;
    static const struct {
        uint32_t cp;
        enum unicode_class want;
    } rows[] = {
        {0, UNICODE_OTHER},         {9, UNICODE_SPACE},          {0xd, UNICODE_SPACE},
        {0xe, UNICODE_OTHER},       {0x1c, UNICODE_OTHER},       {0x20, UNICODE_SPACE},
        {'0', UNICODE_NUMBER},      {'9', UNICODE_NUMBER},       {':', UNICODE_PUNCT},
        {'@', UNICODE_PUNCT},       {'A', UNICODE_UPPER},        {'z', UNICODE_LOWER},
        {'{', UNICODE_PUNCT},       {0x85, UNICODE_SPACE},       {'$', UNICODE_SYMBOL},
        {'`', UNICODE_SYMBOL},      {0xa0, UNICODE_SPACE},       {0xaa, UNICODE_UNCASED},
        {0xb2, UNICODE_NUMBER},     {0xd7, UNICODE_SYMBOL},      {0x100, UNICODE_UPPER},
        {0x101, UNICODE_LOWER},     {0x136, UNICODE_UPPER},      {0x137, UNICODE_LOWER},
        {0x138, UNICODE_LOWER},     {0x139, UNICODE_UPPER},      {0x1c5, UNICODE_TITLE},
        {0x2af, UNICODE_LOWER},     {0x2b0, UNICODE_MODIFIER},   {0x301, UNICODE_MARK},
        {0x903, UNICODE_MARK},      {0x20dd, UNICODE_MARK},      {0x180e, UNICODE_OTHER},
        {0x2009, UNICODE_SPACE},    {0x200b, UNICODE_OTHER},     {0x2028, UNICODE_SPACE},
        {0x2019, UNICODE_PUNCT},    {0x2160, UNICODE_NUMBER},    {0x24b6, UNICODE_SYMBOL},
        {0x3000, UNICODE_SPACE},    {0x4e00, UNICODE_UNCASED},   {0x9fff, UNICODE_UNCASED},
        {0xd7a3, UNICODE_UNCASED},  {0xd800, UNICODE_OTHER},     {0xe000, UNICODE_OTHER},
        {0xfeff, UNICODE_OTHER},    {0x1e4d0, UNICODE_UNCASED},  {0x1f600, UNICODE_SYMBOL},
        {0x31350, UNICODE_UNCASED}, /* both letters new in 15.0 */
        {0x2ebf0, UNICODE_OTHER},   /* new in 15.1 */
        {0x10ffff, UNICODE_OTHER},  {0xffffffff, UNICODE_OTHER},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (unicode_class(rows[i].cp) != rows[i].want)
            fail_msg("U+%04X has class %d, want %d", rows[i].cp, unicode_class(rows[i].cp),
                     rows[i].want);
}

/* ---- properties ---------------------------------------------------------------------------- */

/* Random bytes of several tempers: any bytes, text, white space, control names cut anywhere. */
static size_t random_text(uint64_t key, char *buf, size_t cap)
{
    static const char *const bits[] = {"<|eot_id|>",   "<|begin_of_text|>",
                                       "<note>",       "<s>",
                                       "</s>",         "'s",
                                       "'LL",          "\r\n",
                                       "  ",           "\n\n",
                                       "\t",           "123",
                                       "\xc3\xa9",     "\xf0\x9f\x98\x80",
                                       "\xe2\x80\xa8", "\xe2\x82",
                                       "\xff",         " patient",
                                       "!?",           "\xcc\x81"};
    size_t n = 0, parts = rng_below(key, 0, 40);
    for (size_t i = 0; i < parts && n + 64 < cap; i++) {
        uint64_t k = rng_u64(key, i + 1);
        if (rng_below(k, 0, 3)) {
            const char *s = bits[rng_below(k, 1, sizeof bits / sizeof bits[0])];
            size_t len = strlen(s),
                   cut = rng_below(k, 2, 4) ? len : rng_below(k, 3, (uint32_t)len + 1);
            memcpy(buf + n, s, cut);
            n += cut;
        } else {
            for (size_t j = rng_below(k, 4, 12); j > 0; j--)
                buf[n++] = (char)(rng_u64(k, 10 + j) >> (rng_below(k, 5, 2) ? 56 : 57));
        }
    }
    return n;
}

/* Does s[0..at) end inside a valid character of s? */
static bool splits_character(const char *s, size_t n, size_t at)
{
    uint32_t cp;
    size_t begin = utf8_complete(s, at);
    return begin < at && utf8_decode(s + begin, n - begin, &cp) > 0;
}

static void check_round_trip(const struct tokenizer *t, const char *s, size_t n, unsigned flags)
{
    struct err e;
    struct token_list l = {0};
    struct str back = STR_INIT, live = STR_INIT;
    struct tokenizer_stream st = {0};
    ok(tokenizer_encode(t, s, n, flags, &l, &e));
    ok(tokenizer_decode(t, l.id, l.n, flags, &back, &e));
    if (back.len != n || memcmp(back.s, s, n)) {
        struct str a = STR_INIT, b = STR_INIT;
        str_add_json(&a, s, n);
        str_add_json(&b, back.s, back.len);
        fail_msg("%s\ncomes back as\n%s", a.s, b.s);
    }
    for (size_t i = 0; !(flags & TOK_SPECIAL) && i < l.n; i++) {
        assert_false(tokenizer_is_control(t, l.id[i]));
        tokenizer_stream_push(t, &st, l.id[i], &live);
        assert_false(splits_character(s, n, live.len));
    }
    tokenizer_stream_end(&st, &live);
    if (!(flags & TOK_SPECIAL)) {
        assert_int_equal(live.len, n);
        assert_memory_equal(live.s, s, n);
    }
    token_list_free(&l);
    str_free(&back);
    str_free(&live);
}

static void round_trips(const char *vocab)
{
    struct opened o = open_file(vocab);
    char buf[1000];
    for (uint64_t i = 0; i < 3000; i++) {
        size_t n = random_text(rng_key(11, i, 0), buf, sizeof buf);
        check_round_trip(o.t, buf, n, i & 1 ? TOK_SPECIAL : 0);
    }
    for (int c = 0; c < 256; c++) {
        buf[0] = (char)c;
        check_round_trip(o.t, buf, 1, 0);
    }
    close_file(o);
}

static void bpe_gives_any_bytes_back(void **state)
{
    (void)state;
    round_trips(SMALL_BPE);
}

static void spm_gives_any_bytes_back(void **state)
{
    (void)state;
    round_trips(SMALL_SPM);
}

static void names_of_control_tokens_in_text_stay_text(void **state)
{
    (void)state;
    struct err e;
    static const char *const vocabs[] = {SMALL_BPE, SMALL_SPM};
    for (size_t v = 0; v < 2; v++) {
        struct opened o = open_file(vocabs[v]);
        struct str text = STR_INIT, name = STR_INIT;
        struct token_list l = {0};
        int control = 0;
        for (int32_t id = 0; id < tokenizer_n_vocab(o.t); id++) {
            if (!tokenizer_is_control(o.t, id))
                continue;
            str_clear(&name);
            tokenizer_piece(o.t, id, TOK_SPECIAL, &name);
            str_add(&text, name.s, name.len);
            control += name.len > 0 && tokenizer_find(o.t, name.s, name.len) == id;
        }
        assert_true(control >= 3);
        ok(tokenizer_encode(o.t, text.s, text.len, TOK_BOS, &l, &e));
        assert_int_equal(l.id[0], tokenizer_bos(o.t));
        for (size_t i = 1; i < l.n; i++)
            assert_false(tokenizer_is_control(o.t, l.id[i]));
        l.n = 0;
        ok(tokenizer_encode(o.t, text.s, text.len, TOK_SPECIAL, &l, &e));
        assert_true(tokenizer_is_control(o.t, l.id[0]));
        token_list_free(&l);
        str_free(&text);
        str_free(&name);
        close_file(o);
    }
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__OPTIMIZE__)
#define SECONDS 10.0
#define BYTES ((size_t)1 << 17)
#else
#define SECONDS 1.0
#define BYTES ((size_t)1 << 20)
#endif

/* Processor seconds of one encoding, the best of three: other processes share the caches. */
static double encode_seconds(const struct tokenizer *t, const char *s, size_t n)
{
    struct err e;
    double best = 1e9;
    for (int i = 0; i < 3 && best > SECONDS / 2; i++) {
        struct token_list l = {0};
        clock_t begin = clock();
        ok(tokenizer_encode(t, s, n, 0, &l, &e));
        double took = (double)(clock() - begin) / CLOCKS_PER_SEC;
        best = took < best ? took : best;
        token_list_free(&l);
    }
    return best;
}

static void pathological(const char *vocab)
{
    static const char *const units[] = {
        "a", " ", "\xf0\x9f\x98\x80", "\xff", "<",        "<|",           "\n",       " \n",
        "'", "1", "\xe2\x96",         "ab ",  "\xcc\x81", "\xe4\xb8\x80", "<|eot_id|"};
    struct opened o = open_file(vocab);
    size_t n = BYTES;
    char *text = malloc(n);
    for (size_t u = 0; u < sizeof units / sizeof units[0]; u++) {
        size_t len = strlen(units[u]);
        for (size_t i = 0; i < n; i++)
            text[i] = units[u][i % len];
        double took = encode_seconds(o.t, text, n);
        if (!(took <= SECONDS))
            fail_msg("%zu bytes of '%s' took %.2f s of processor time, at most %.0f", n, units[u],
                     took, SECONDS);
        check_round_trip(o.t, text, n / 16, 0);
    }
    free(text);
    close_file(o);
}

static void a_megabyte_of_anything_is_quick(void **state)
{
    (void)state;
    char path[1024];
    pathological(SMALL_BPE);
    pathological(SMALL_SPM);
    if (test_data(LLAMA3, path))
        pathological(path);
}

/* ---- the rest of the interface ------------------------------------------------------------- */

static void ids_of_the_small_vocabulary(void **state)
{
    (void)state;
    struct opened o = open_file(SMALL_BPE);
    const char *s;
    size_t len;
    int32_t eot = tokenizer_eot(o.t), user = tokenizer_find(o.t, "<note>", 6);
    int32_t unused = tokenizer_find(o.t, "<|unused|>", 10), empty = tokenizer_n_vocab(o.t) - 1;
    assert_int_equal(tokenizer_bos(o.t), tokenizer_find(o.t, "<|begin_of_text|>", 17));
    assert_int_equal(tokenizer_eos(o.t), tokenizer_find(o.t, "<|end_of_text|>", 15));
    assert_int_equal(eot, tokenizer_find(o.t, "<|eot_id|>", 10));
    assert_true(tokenizer_is_end(o.t, eot) && tokenizer_is_end(o.t, tokenizer_eos(o.t)));
    assert_true(tokenizer_is_end(o.t, tokenizer_find(o.t, "<|eom_id|>", 10)));
    assert_false(tokenizer_is_end(o.t, tokenizer_bos(o.t)) || tokenizer_is_end(o.t, -1));
    assert_true(tokenizer_is_control(o.t, eot) && tokenizer_is_control(o.t, unused));
    assert_false(tokenizer_is_control(o.t, user));
    tokenizer_bytes(o.t, user, &s, &len);
    assert_int_equal(len, 6);
    assert_memory_equal(s, "<note>", 6);
    tokenizer_bytes(o.t, eot, &s, &len);
    assert_int_equal(len, 0);
    tokenizer_bytes(o.t, empty, &s, &len);
    assert_int_equal(len, 0);
    assert_int_equal(tokenizer_find(o.t, "", 0), -1);
    assert_int_equal(tokenizer_find(o.t, "no such token", 13), -1);
    int32_t the = tokenizer_find(o.t, " the", 4);
    tokenizer_bytes(o.t, the, &s, &len);
    assert_memory_equal(s, " the", 4);
    close_file(o);
}

static void pieces_show_control_tokens_only_when_asked(void **state)
{
    (void)state;
    struct err e;
    struct opened o = open_file(SMALL_BPE);
    struct str s = STR_INIT;
    int32_t eot = tokenizer_eot(o.t),
            ids[] = {tokenizer_find(o.t, "a", 1), eot, tokenizer_find(o.t, "b", 1)};
    tokenizer_piece(o.t, eot, 0, &s);
    assert_int_equal(s.len, 0);
    tokenizer_piece(o.t, eot, TOK_SPECIAL, &s);
    assert_string_equal(s.s, "<|eot_id|>");
    str_clear(&s);
    ok(tokenizer_decode(o.t, ids, 3, 0, &s, &e));
    assert_string_equal(s.s, "ab");
    str_clear(&s);
    ok(tokenizer_decode(o.t, ids, 3, TOK_SPECIAL, &s, &e));
    assert_string_equal(s.s, "a<|eot_id|>b");
    str_clear(&s);
    ids[1] = tokenizer_n_vocab(o.t);
    fails(tokenizer_decode(o.t, ids, 3, 0, &s, &e), ERR_DATA, "token 1 is 1511");
    ids[1] = -1;
    fails(tokenizer_decode(o.t, ids, 3, 0, &s, &e), ERR_DATA, "token 1 is -1");
    assert_int_equal(s.len, 0);
    str_free(&s);
    close_file(o);
}

static void push_bytes(const struct opened *o, struct tokenizer_stream *st, const char *bytes,
                       struct str *out)
{
    for (; *bytes; bytes++)
        tokenizer_stream_push(o->t, st, tokenizer_find(o->t, bytes, 1), out);
}

static void streams_hold_incomplete_characters_back(void **state)
{
    (void)state;
    struct opened o = open_file(SMALL_BPE);
    struct tokenizer_stream st = {0};
    struct str s = STR_INIT;
    push_bytes(&o, &st, "\xf0\x9f\x98", &s);
    assert_int_equal(s.len, 0);
    push_bytes(&o, &st, "\x80", &s);
    assert_string_equal(s.s, "\xf0\x9f\x98\x80");
    str_clear(&s);
    push_bytes(&o, &st, "\xe2\x82", &s);
    assert_int_equal(s.len, 0);
    push_bytes(&o, &st, "x\xc3", &s); /* the two can never be completed now */
    assert_string_equal(s.s, "\xe2\x82x");
    tokenizer_stream_end(&st, &s);
    assert_string_equal(s.s, "\xe2\x82x\xc3");
    assert_int_equal(st.n_held, 0);
    str_free(&s);
    close_file(o);
}

static void spm_takes_back_only_the_space_it_added(void **state)
{
    (void)state;
    struct err e;
    struct opened o = open_file(SMALL_SPM);
    struct token_list l = {0};
    struct str s = STR_INIT;
    ok(tokenizer_encode(o.t, "the </s> the", 12, TOK_SPECIAL | TOK_BOS, &l, &e));
    assert_int_equal(l.id[0], 1);
    ok(tokenizer_decode(o.t, l.id, l.n, 0, &s, &e));
    assert_string_equal(s.s, "the  the");
    str_clear(&s);
    struct tokenizer_stream st = {0};
    int32_t the = tokenizer_find(o.t, " the", 4);
    assert_true(the >= 0);
    tokenizer_stream_push(o.t, &st, the, &s);
    tokenizer_stream_push(o.t, &st, the, &s);
    tokenizer_stream_push(o.t, &st, tokenizer_eos(o.t), &s);
    tokenizer_stream_push(o.t, &st, the, &s);
    assert_string_equal(s.s, "the thethe");
    str_clear(&s);
    st = (struct tokenizer_stream){.started = true}; /* a continuation keeps it */
    tokenizer_stream_push(o.t, &st, the, &s);
    assert_string_equal(s.s, " the");
    str_clear(&s);
    tokenizer_piece(o.t, the, 0, &s);
    assert_string_equal(s.s, " the");
    assert_int_equal(tokenizer_eot(o.t), -1);
    token_list_free(&l);
    str_free(&s);
    close_file(o);
}

/* ---- the published test strings of the two real vocabularies ------------------------------- */

/* Strings lie between lines "__ggml_vocab_test__"; a string does not own the newline before that
 * line. */
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

/* ---- MedQA --------------------------------------------------------------------------------- */

static void prompt_of(const char *line, struct str *out)
{
    json_error_t je;
    json_t *root = json_loads(line, 0, &je);
    assert_non_null(root);
    const char *q, *a, *b, *c, *d;
    assert_int_equal(json_unpack(root, "{s:s, s:{s:s, s:s, s:s, s:s}}", "question", &q, "options",
                                 "A", &a, "B", &b, "C", &c, "D", &d),
                     0);
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
        cmocka_unit_test(bpe_golden_strings_give_the_same_ids),
        cmocka_unit_test(spm_golden_strings_give_the_same_ids),
        cmocka_unit_test(a_whole_piece_that_is_a_token_needs_no_merges),
        cmocka_unit_test(unicode_classes_are_those_of_version_15),
        cmocka_unit_test(bpe_gives_any_bytes_back),
        cmocka_unit_test(spm_gives_any_bytes_back),
        cmocka_unit_test(names_of_control_tokens_in_text_stay_text),
        cmocka_unit_test(a_megabyte_of_anything_is_quick),
        cmocka_unit_test(ids_of_the_small_vocabulary),
        cmocka_unit_test(pieces_show_control_tokens_only_when_asked),
        cmocka_unit_test(streams_hold_incomplete_characters_back),
        cmocka_unit_test(spm_takes_back_only_the_space_it_added),
        cmocka_unit_test(llama3_strings_give_the_published_ids),
        cmocka_unit_test(llama2_strings_give_the_published_ids),
        cmocka_unit_test(medqa_prompts_have_the_known_number_of_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
