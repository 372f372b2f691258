/* Vocabularies of files: each rule of the token tables has a file that breaks it; odd but valid
 * ones are accepted. */
#include "mem.h"
#include "test.h"
#include "tokenizer.h"

/* ---- a GGUF file of metadata in memory ----------------------------------------------------- */

#define ABSENT (-1)
#define MAX_TOKENS 320

/* The vocabulary to write; each test changes the part under test. */
struct file {
    const char *model, *pre, *name;
    const char *token[MAX_TOKENS];
    int type[MAX_TOKENS];
    float score[MAX_TOKENS];
    int n, n_types, n_scores;
    const char *merge[8];
    int n_merges;
    int64_t bos, eos, unknown; /* ABSENT: no such key */
    int add_bos, add_prefix;
    int squeeze, add_eos; /* 0: no such key */
    int type_elem;        /* element type of token_type */
};

static char letters[256][8]; /* the byte-level alphabet, or <0xAB> */

static void put(struct str *b, const void *p, size_t n)
{
    str_add(b, p, n);
}

static void put_u32(struct str *b, uint32_t v)
{
    put(b, &v, sizeof v);
}

static void put_u64(struct str *b, uint64_t v)
{
    put(b, &v, sizeof v);
}

static void put_text(struct str *b, const char *s)
{
    put_u64(b, strlen(s));
    put(b, s, strlen(s));
}

static void put_key(struct str *b, uint64_t *n_kv, const char *key, enum gguf_type type)
{
    put_text(b, key);
    put_u32(b, (uint32_t)type);
    (*n_kv)++;
}

static void put_array(struct str *b, uint64_t *n_kv, const char *key, int elem, int n)
{
    put_key(b, n_kv, key, GGUF_ARRAY);
    put_u32(b, (uint32_t)elem);
    put_u64(b, (uint64_t)n);
}

static void put_id(struct str *b, uint64_t *n_kv, const char *key, int64_t id)
{
    if (id == ABSENT)
        return;
    put_key(b, n_kv, key, GGUF_U32);
    put_u32(b, (uint32_t)id);
}

static void put_flag(struct str *b, uint64_t *n_kv, const char *key, int flag)
{
    if (flag == ABSENT)
        return;
    put_key(b, n_kv, key, GGUF_BOOL);
    str_addc(b, (char)flag);
}

static void put_metadata(struct str *b, uint64_t *n_kv, const struct file *f)
{
    if (f->model) {
        put_key(b, n_kv, "tokenizer.ggml.model", GGUF_STRING);
        put_text(b, f->model);
    }
    if (f->name) {
        put_key(b, n_kv, "general.name", GGUF_STRING);
        put_text(b, f->name);
    }
    if (f->pre) {
        put_key(b, n_kv, "tokenizer.ggml.pre", GGUF_STRING);
        put_text(b, f->pre);
    }
    if (f->n != ABSENT) {
        put_array(b, n_kv, "tokenizer.ggml.tokens", GGUF_STRING, f->n);
        for (int i = 0; i < f->n; i++)
            put_text(b, f->token[i]);
    }
    if (f->n_types != ABSENT) {
        put_array(b, n_kv, "tokenizer.ggml.token_type", f->type_elem, f->n_types);
        put(b, f->type, (size_t)f->n_types * sizeof f->type[0]);
    }
    if (f->n_scores != ABSENT) {
        put_array(b, n_kv, "tokenizer.ggml.scores", GGUF_F32, f->n_scores);
        put(b, f->score, (size_t)f->n_scores * sizeof f->score[0]);
    }
    if (f->n_merges != ABSENT) {
        put_array(b, n_kv, "tokenizer.ggml.merges", GGUF_STRING, f->n_merges);
        for (int i = 0; i < f->n_merges; i++)
            put_text(b, f->merge[i]);
    }
    put_id(b, n_kv, "tokenizer.ggml.bos_token_id", f->bos);
    put_id(b, n_kv, "tokenizer.ggml.eos_token_id", f->eos);
    put_id(b, n_kv, "tokenizer.ggml.unknown_token_id", f->unknown);
    put_flag(b, n_kv, "tokenizer.ggml.add_bos_token", f->add_bos);
    put_flag(b, n_kv, "tokenizer.ggml.add_space_prefix", f->add_prefix);
    put_flag(b, n_kv, "tokenizer.ggml.remove_extra_whitespaces", f->squeeze ? 1 : ABSENT);
    put_flag(b, n_kv, "tokenizer.ggml.add_eos_token", f->add_eos ? 1 : ABSENT);
}

struct built {
    struct gguf *g;
    void *bytes;
};

static struct built build(const struct file *f)
{
    struct err e;
    struct str kv = STR_INIT, all = STR_INIT;
    uint64_t n_kv = 0;
    put_metadata(&kv, &n_kv, f);
    put(&all, "GGUF\3\0\0", 8);
    put_u64(&all, 0);
    put_u64(&all, n_kv);
    put(&all, kv.s, kv.len);
    struct built b = {.bytes = mem_aligned(all.len)};
    memcpy(b.bytes, all.s, all.len);
    ok(gguf_open_memory(b.bytes, all.len, "small.gguf", &b.g, &e));
    str_free(&kv);
    str_free(&all);
    return b;
}

static void unbuild(struct built b)
{
    gguf_close(b.g);
    mem_free(b.bytes);
}

/* ---- two right ones ------------------------------------------------------------------------ */

/* Ids 0..255 are the bytes in ascending order. */
static struct file right_bpe(void)
{
    struct file f = {.model = "gpt2",
                     .pre = "llama-bpe",
                     .n_scores = ABSENT,
                     .bos = 260,
                     .eos = 261,
                     .unknown = ABSENT,
                     .add_bos = ABSENT,
                     .add_prefix = ABSENT,
                     .type_elem = GGUF_I32};
    uint32_t next = 256;
    for (int i = 0; i < 256; i++) {
        bool self = (i >= 33 && i <= 126) || (i >= 161 && i <= 172) || i >= 174;
        letters[i][utf8_encode(self ? (uint32_t)i : next++, letters[i])] = 0;
        f.token[i] = letters[i];
        f.type[i] = 1;
    }
    static const char *const more[] = {"ab",
                                       "abc",
                                       "\xc4\xa0"
                                       "a",
                                       "\xc4\xa0"
                                       "ab",
                                       "<|begin_of_text|>",
                                       "<|eot_id|>"};
    for (int i = 0; i < 6; i++) {
        f.token[256 + i] = more[i];
        f.type[256 + i] = i < 4 ? 1 : 3;
    }
    f.n = f.n_types = 262;
    f.merge[0] = "a b";
    f.merge[1] = "ab c";
    f.merge[2] = "\xc4\xa0 a";
    f.n_merges = 3;
    return f;
}

/* 0 <unk>, 1 <s>, 2 </s>, 3..258 bytes, then "a", "b", "ab", " ", " a". */
static struct file right_spm(void)
{
    struct file f = {.model = "llama",
                     .n_merges = ABSENT,
                     .bos = 1,
                     .eos = 2,
                     .unknown = 0,
                     .add_bos = ABSENT,
                     .add_prefix = ABSENT,
                     .type_elem = GGUF_I32};
    static const char *const head[] = {"<unk>", "<s>", "</s>"};
    static const char *const tail[] = {"a", "b", "ab", "\xe2\x96\x81",
                                       "\xe2\x96\x81"
                                       "a"};
    for (int i = 0; i < 3; i++) {
        f.token[i] = head[i];
        f.type[i] = i ? 3 : 2;
    }
    for (int i = 0; i < 256; i++) {
        snprintf(letters[i], sizeof letters[i], i & 1 ? "<0x%02X>" : "<0x%02x>", (unsigned)i);
        f.token[3 + i] = letters[i];
        f.type[3 + i] = 6;
    }
    for (int i = 0; i < 5; i++) {
        f.token[259 + i] = tail[i];
        f.type[259 + i] = 1;
        f.score[259 + i] = (float)(i == 2 ? -1 : i == 4 ? -2 : -10);
    }
    f.n = f.n_types = f.n_scores = 264;
    return f;
}

static void expect_ids(const struct file *f, const char *text, unsigned flags, const char *want)
{
    struct err e;
    struct built b = build(f);
    struct tokenizer *t;
    struct token_list l = {0};
    struct str got = STR_INIT;
    ok(tokenizer_open(b.g, NULL, &t, &e));
    ok(tokenizer_encode(t, text, strlen(text), flags, &l, &e));
    for (size_t i = 0; i < l.n; i++)
        str_addf(&got, i ? " %d" : "%d", l.id[i]);
    assert_string_equal(got.s, want);
    str_free(&got);
    token_list_free(&l);
    tokenizer_close(t);
    unbuild(b);
}

static void expect_refused(const struct file *f, const char *text)
{
    struct err e;
    struct built b = build(f);
    struct tokenizer *t;
    fails(tokenizer_open(b.g, NULL, &t, &e), ERR_DATA, text);
    assert_non_null(strstr(e.msg, "small.gguf"));
    unbuild(b);
}

/* ---- tests --------------------------------------------------------------------------------- */

static void the_smallest_vocabularies_encode(void **state)
{
    (void)state;
    struct file f = right_bpe();
    expect_ids(&f, "abc ab abcabc", 0, "257 259 32 257 257"); /* " ab" is a whole piece */
    expect_ids(&f, " abcx", 0, "32 257 120");
    expect_ids(&f, " acx", 0, "258 99 120");
    expect_ids(&f, "\xff", TOK_BOS, "260 255");
    expect_ids(&f, "<|eot_id|>", TOK_SPECIAL, "261");
    f = right_spm();
    expect_ids(&f, "ab", TOK_BOS, "1 262 261"); /* "ab" outranks " a" */
    expect_ids(&f, "aab", 0, "263 261");
    expect_ids(&f, "\xc3\xa9", 0, "262 198 172");
    expect_ids(&f, "</s>ab", TOK_SPECIAL, "2 262 261");
}

static void defaults_and_switches_of_the_file(void **state)
{
    (void)state;
    struct file f = right_bpe();
    f.add_bos = 0;
    expect_ids(&f, "a", TOK_BOS, "97");
    f.add_bos = 1;
    expect_ids(&f, "a", TOK_BOS, "260 97");
    f.bos = UINT32_MAX; /* "none" in the words of converters */
    expect_ids(&f, "a", TOK_BOS, "97");
    f.bos = ABSENT;
    expect_ids(&f, "a", TOK_BOS, "97");
    f.pre = "llama3";
    expect_ids(&f, "a", 0, "97");
    f.pre = "llama-v3";
    expect_ids(&f, "a", 0, "97");
    f = right_spm();
    f.add_prefix = 0;
    expect_ids(&f, "ab", 0, "261");
    f.add_prefix = 1;
    f.add_bos = 0;
    expect_ids(&f, "ab", TOK_BOS, "262 261");
}

static void unknown_models_and_pre_tokenizers_are_named(void **state)
{
    (void)state;
    struct file f = right_bpe();
    f.model = "bert";
    expect_refused(&f, "tokenizer.ggml.model is 'bert'");
    f.model = NULL;
    expect_refused(&f, "tokenizer.ggml.model");
    f = right_bpe();
    f.pre = "qwen9";
    expect_refused(&f,
                   "the pre-tokenizer 'qwen9' of tokenizer.ggml.pre is unknown; choose one with "
                   "--pre NAME: llama-bpe, ");
    f.pre = "";
    expect_refused(&f, "the pre-tokenizer '' of tokenizer.ggml.pre is unknown");
    f.pre = "llama-bpe smaug-bpe"; /* not a list */
    expect_refused(&f, "is unknown");
    f.pre = NULL; /* and not all control tokens of Llama 3 */
    expect_refused(&f, "there is no tokenizer.ggml.pre, which names the pre-tokenizer; choose one "
                       "with --pre NAME: llama-bpe, ");
}

static void models_of_other_kinds_are_refused_by_name(void **state)
{
    (void)state;
    static const char *const models[] = {"bert", "t5", "rwkv", "plamo2", "gemma4", "none"};
    char want[96];
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        struct file f = right_bpe();
        f.model = models[i];
        snprintf(want, sizeof want, "tokenizer.ggml.model is '%s', a tokenizer of another kind",
                 models[i]);
        expect_refused(&f, want);
    }
    struct file f = right_bpe();
    f.model = "gpt";
    expect_refused(&f, "tokenizer.ggml.model is 'gpt', an unknown tokenizer; this program has");
}

static void a_nameless_vocabulary_of_llama_3_has_its_pre_tokenizer(void **state)
{
    (void)state;
    struct file f = right_bpe();
    f.token[262] = "<|start_header_id|>";
    f.type[262] = 3;
    f.n = f.n_types = 263;
    f.pre = NULL;
    expect_ids(&f, "abc 1234", TOK_BOS, "260 257 32 49 50 51 52");
}

static void the_pre_tokenizer_of_the_caller_comes_first(void **state)
{
    (void)state;
    struct err e;
    struct file f = right_bpe();
    struct token_list l = {0};
    struct tokenizer *t;
    f.merge[3] = "1 2";
    f.token[262] = "12";
    f.type[262] = 1;
    f.n = f.n_types = 263;
    f.n_merges = 4;
    f.pre = "qwen9";
    struct built b = build(&f);
    ok(tokenizer_open(b.g, "llama3", &t, &e));
    ok(tokenizer_encode(t, "12", 2, TOK_BOS, &l, &e));
    assert_int_equal(l.n, 2);
    assert_int_equal(l.id[1], 262);
    tokenizer_close(t);
    l.n = 0;
    ok(tokenizer_open(b.g, "qwen2", &t, &e)); /* single digits, and no BOS of itself */
    ok(tokenizer_encode(t, "12", 2, TOK_BOS, &l, &e));
    assert_int_equal(l.n, 2);
    assert_int_equal(l.id[1], '2');
    tokenizer_close(t);
    fails(tokenizer_open(b.g, "qwen8", &t, &e), ERR_USAGE, "the pre-tokenizer 'qwen8' is unknown");
    unbuild(b);
    f = right_spm();
    b = build(&f);
    fails(tokenizer_open(b.g, "qwen2", &t, &e), ERR_USAGE,
          "--pre qwen2: a SentencePiece vocabulary has no pre-tokenizer");
    unbuild(b);
    token_list_free(&l);
}

static void token_tables_of_the_wrong_shape_are_refused(void **state)
{
    (void)state;
    struct file f = right_bpe();
    f.n = ABSENT;
    expect_refused(&f, "tokenizer.ggml.tokens");
    f = right_bpe();
    f.n = 0;
    f.bos = f.eos = ABSENT;
    expect_refused(&f, "tokenizer.ggml.tokens has 0 elements");
    f = right_bpe();
    f.n_types--;
    expect_refused(&f, "token_type has 261 elements, but tokenizer.ggml.tokens 262");
    f = right_bpe();
    f.type_elem = GGUF_F32;
    expect_refused(&f, "tokenizer.ggml.token_type");
    f = right_bpe();
    f.type[7] = -1;
    expect_refused(&f, "token_type[7] is -1, must be 0 to 6");
    f.type[7] = 7;
    expect_refused(&f, "token_type[7] is 7, must be 0 to 6");
    f = right_spm();
    f.n_scores--;
    expect_refused(&f, "scores has 263 elements, but tokenizer.ggml.tokens 264");
    f = right_spm();
    f.score[260] = (float)(0.0 / (f.score[0] - f.score[0] + 0.0));
    expect_refused(&f, "scores[260] is not a finite number");
}

static void without_types_tokens_are_normal_and_without_scores_all_equal(void **state)
{
    (void)state;
    struct file f = right_bpe();
    f.n_types = ABSENT;
    /* its name makes it control */
    expect_ids(&f, "abc<|eot_id|>", 0, "257 60 124 101 111 116 95 105 100 124 62");
    expect_ids(&f, "<|eot_id|>", TOK_SPECIAL | TOK_BOS, "260 261");
    f = right_bpe();
    f.type[257] = 0; /* of no type: normal */
    expect_ids(&f, "abc", 0, "257");
    f = right_spm();
    f.n_types = ABSENT; /* bytes by their names */
    expect_ids(&f,
               "\xc3\xa9"
               "ab",
               0, "262 198 172 261");
    expect_ids(&f, "ab", TOK_BOS, "1 262 261");
    f = right_spm();
    f.n_scores = ABSENT; /* of equal ones the leftmost pair */
    expect_ids(&f, "ab", 0, "263 260");
    expect_ids(&f, "aab", 0, "263 261");
    f.n_types = ABSENT;
    expect_ids(&f, "aab", 0, "263 261");
}

static void sentencepiece_without_ids_has_its_usual_ones(void **state)
{
    (void)state;
    struct file f = right_spm();
    f.bos = f.eos = f.unknown = ABSENT;
    expect_ids(&f, "ab</s>", TOK_BOS | TOK_SPECIAL, "1 262 261 2");
    f.n_types = ABSENT; /* then their names are no text, either */
    expect_ids(&f, "</s>", TOK_BOS, "1 262 0 50 118 0");
    f.bos = UINT32_MAX; /* none, in the words of the file */
    expect_ids(&f, "ab", TOK_BOS, "262 261");
    f.bos = ABSENT;
    f.token[1] = "[CLS]"; /* of another order */
    expect_ids(&f, "ab", TOK_BOS, "262 261");
}

static void gemma_without_ids_has_gemmas_usual_ones(void **state)
{
    (void)state;
    struct file f = right_spm();
    static const char *const order[] = {"<pad>", "<eos>", "<bos>"};
    for (int i = 0; i < 3; i++) {
        f.token[i] = order[i];
        f.type[i] = 3;
    }
    f.bos = f.eos = f.unknown = ABSENT;
    expect_ids(&f, "ab<eos>", TOK_BOS | TOK_SPECIAL, "2 262 261 1");
    f.bos = UINT32_MAX;
    expect_ids(&f, "ab", TOK_BOS, "262 261");
    f.bos = ABSENT;
    f.token[1] = "[SEP]"; /* of another order */
    expect_ids(&f, "ab", TOK_BOS, "262 261");
}

static void extra_spaces_are_removed_if_the_file_says_so(void **state)
{
    (void)state;
    struct file f = right_spm();
    expect_ids(&f, "  a  b ", 0, "262 262 263 262 262 260 262");
    f.squeeze = 1;
    expect_ids(&f, "  a  b ", 0, "263 262 260");
    expect_ids(&f, "a\n  b", 0, "263 13 262 260"); /* other white space stays */
    expect_ids(&f, "a \xe2\x96\x81 b", 0, "263 262 260");
    expect_ids(&f, "a </s>  b", TOK_SPECIAL, "263 2 262 260");
    expect_ids(&f, "   ", TOK_BOS, "1");
    f.add_prefix = 0;
    expect_ids(&f, "  a  b ", 0, "259 262 260");
}

static void eos_is_not_added_even_if_the_file_asks_for_it(void **state)
{
    (void)state;
    struct file f = right_spm();
    f.add_eos = 1;
    expect_ids(&f, "ab", TOK_BOS, "1 262 261");
    f = right_bpe();
    f.add_eos = 1;
    expect_ids(&f, "a", TOK_BOS, "260 97");
}

static void special_ids_outside_the_vocabulary_are_no_tokens(void **state)
{
    (void)state;
    static const int64_t outside[] = {262, 263, 0x7fffffff, 0x80000000u, 0xfffffffeu};
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        struct err e;
        struct file f = right_bpe();
        f.bos = f.eos = outside[i];
        expect_ids(&f, "a", TOK_BOS, "97");
        struct built b = build(&f);
        struct tokenizer *t;
        ok(tokenizer_open(b.g, NULL, &t, &e));
        assert_int_equal(tokenizer_bos(t), -1);
        assert_int_equal(tokenizer_eos(t), -1);
        for (int id = 0; id < 262; id++)
            assert_true(tokenizer_is_end(t, id) == (id == 261)); /* <|eot_id|>, by its name */
        tokenizer_close(t);
        unbuild(b);
    }
}

static void tokens_that_cannot_be_read_are_refused(void **state)
{
    (void)state;
    static const char *const bytes[] = {"<0x4>",  "<0x411>", "0x41", "<0xG1>", "<0x1G>",
                                        "<1x41>", "<0x41)",  "",     "A"};
    for (size_t i = 0; i < sizeof bytes / sizeof bytes[0]; i++) {
        struct file f = right_spm();
        f.token[3 + 0x41] = bytes[i];
        expect_refused(&f, "tokenizer.ggml.tokens[68]");
    }
}

static void normal_tokens_outside_the_alphabet_are_unused(void **state)
{
    (void)state;
    static const char *const odd[] = {"a b", "\xff", "\xc5\x84" /* U+0144, one past the alphabet */,
                                      "\xc2\xad" /* U+00AD, which stands for no byte */};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        struct err e;
        struct tokenizer *t;
        struct str name = STR_INIT;
        struct file f = right_bpe();
        f.token[259] = odd[i];
        expect_ids(&f, odd[i], TOK_SPECIAL,
                   i == 0   ? "97 32 98"
                   : i == 1 ? "255"
                   : i == 2 ? "197 132"
                            : "194 173");
        struct built b = build(&f);
        ok(tokenizer_open(b.g, NULL, &t, &e));
        assert_true(tokenizer_is_control(t, 259));
        tokenizer_piece(t, 259, TOK_SPECIAL, &name);
        assert_string_equal(name.s, odd[i]);
        str_free(&name);
        tokenizer_close(t);
        unbuild(b);
    }
}

static void a_byte_without_a_token_is_left_out(void **state)
{
    (void)state;
    struct file f = right_bpe();
    f.token[0xe9] = "aa";
    expect_ids(&f, "x\xe9y", 0, "120 121");
    expect_ids(&f, "\xe9", 0, "");
    expect_ids(&f, "a\xe9 b", 0, "97 32 98");
    f.unknown = 5; /* another program's token for it would mislead the model */
    expect_ids(&f, "x\xe9y", 0, "120 121");
    expect_ids(&f,
               "a\xe9"
               "b",
               0, "97 98"); /* nothing merges across it */
    f = right_spm();
    f.token[3 + 0xa9] = "<0x41>"; /* one byte twice, the other not at all */
    expect_ids(&f, "\xc3\xa9", 0, "262 198 0");
    f.unknown = ABSENT; /* found by its type */
    expect_ids(&f, "\xc3\xa9", 0, "262 198 0");
    f.token[0] = "?";
    f.type[0] = 5;
    expect_ids(&f, "\xc3\xa9", 0, "262 198");
}

static void a_vocabulary_without_byte_tokens_says_unknown_once_a_character(void **state)
{
    (void)state;
    struct file f = right_spm();
    for (int i = 0; i < 256; i++) {
        f.token[3 + i] = "";
        f.type[3 + i] = 5;
    }
    expect_ids(&f,
               "\xc3\xa9"
               "ab\xff\xf0\x9f\x98\x80",
               0, "262 0 261 0 0");
}

static void merges_must_be_two_known_tokens_and_their_join(void **state)
{
    (void)state;
    static const struct {
        const char *merge, *want;
    } rows[] = {
        {"ab", "is not two texts"},        {"", "is not two texts"},
        {" ab", "is not two texts"},       {"ab ", "is not two texts"},
        {"a b c", "is not two texts"},     {"a  b", "is not two texts"},
        {"aa b", "lacks: the left one"},   {"a bb", "lacks: the right one"},
        {"a c", "lacks: the joined one"},  {"a b", "repeats number 0"},
        {"\xff b", "byte-level alphabet"}, {"a \xc2\xad", "byte-level alphabet"},
        {"a <|eot_id|>", "the right one"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct file f = right_bpe();
        f.merge[2] = rows[i].merge;
        expect_refused(&f, rows[i].want);
        expect_refused(&f, "tokenizer.ggml.merges[2]");
    }
    struct file f = right_bpe();
    f.n_merges = ABSENT;
    expect_refused(&f, "tokenizer.ggml.merges");
    f.n_merges = 0; /* allowed: single bytes and whole pieces */
    expect_ids(&f, "abc abcd", 0, "257 32 97 98 99 100");
}

static void text_cannot_merge_into_a_control_token(void **state)
{
    (void)state;
    struct file f = right_bpe();
    f.type[256] = 3; /* "ab", which the merges would build */
    expect_refused(&f, "lacks: the joined one");
    f = right_spm();
    f.type[261] = 3;
    expect_ids(&f, "ab", 0, "263 260");
    f.type[261] = 5;
    expect_ids(&f, "ab", 0, "263 260");
}

static void control_tokens_are_control_whatever_their_type_says(void **state)
{
    (void)state;
    struct file f = right_bpe();
    f.type[260] = 1; /* bos by its id, eot by its name */
    f.type[261] = 4;
    f.eos = ABSENT;
    expect_ids(&f, "<|eot_id|>", TOK_SPECIAL | TOK_BOS, "260 261");
    struct err e;
    struct built b = build(&f);
    struct tokenizer *t;
    struct token_list l = {0};
    ok(tokenizer_open(b.g, NULL, &t, &e));
    assert_true(tokenizer_is_control(t, 260) && tokenizer_is_control(t, 261));
    ok(tokenizer_encode(t, "<|begin_of_text|><|eot_id|>", 27, 0, &l, &e));
    for (size_t i = 0; i < l.n; i++)
        assert_true(l.id[i] < 260);
    token_list_free(&l);
    tokenizer_close(t);
    unbuild(b);
}

static void turn_markers_end_replies_and_are_no_text(void **state)
{
    (void)state;
    struct err e;
    struct tokenizer *t;
    struct file f = right_bpe();
    static const char *const more[] = {"<|im_start|>", "<|im_end|>", "<|endoftext|>", "<think>",
                                       "<reponame>"};
    for (int i = 0; i < 5; i++) {
        f.token[260 + i] = more[i];
        f.type[260 + i] = 4; /* as some converters write them */
    }
    f.n = f.n_types = 265;
    f.bos = ABSENT;
    f.eos = 3;
    expect_ids(&f, "<|im_end|>", TOK_SPECIAL, "261");
    expect_ids(&f, "a<|im_end|>", 0, "97 60 124 105 109 95 101 110 100 124 62");
    expect_ids(&f, "<think>", 0, "263"); /* visible text of a reply */
    struct built b = build(&f);
    ok(tokenizer_open(b.g, NULL, &t, &e));
    assert_int_equal(tokenizer_eot(t), 261);
    for (int id = -1; id < 266; id++)
        assert_true(tokenizer_is_end(t, id) == (id == 3 || id == 261 || id == 262 || id == 264));
    tokenizer_close(t);
    unbuild(b);
}

static void special_tokens_of_phi_3_eat_white_space(void **state)
{
    (void)state;
    struct file f = right_spm();
    f.add_prefix = 0;
    f.token[264] = "<|end|>";
    f.type[264] = 3;
    f.token[265] = "<|endoftext|>";
    f.type[265] = 3;
    f.n = f.n_types = f.n_scores = 266;
    expect_ids(&f, "<|end|> \n ab", TOK_SPECIAL, "264 262 13 262 261");
    f.name = "Microsoft Phi-3 mini";
    expect_ids(&f, "<|end|> \n ab", TOK_SPECIAL, "264 261");
    expect_ids(&f, "<|end|> \t\n", TOK_SPECIAL, "264");
    expect_ids(&f, "<|endoftext|> ab", TOK_SPECIAL, "265 262 261");
    expect_ids(&f, "<s> ab", TOK_SPECIAL, "1 262 261");
    f.name = "Phi 3";
    expect_ids(&f, "<|end|> ab", TOK_SPECIAL, "264 262 261");
    f.name = "phi3";
    expect_ids(&f, "<|end|> ab", TOK_SPECIAL, "264 261");
}

static void user_defined_tokens_are_found_in_any_text_longest_first(void **state)
{
    (void)state;
    struct file f = right_bpe();
    f.token[262] = "<x>";
    f.token[263] = "<x>>";
    f.token[264] = "<x>"; /* the same again: the least id counts */
    f.token[265] = "";    /* never found */
    for (int i = 262; i < 266; i++)
        f.type[i] = 4;
    f.n = f.n_types = 266;
    expect_ids(&f, "a<x>b<x>>>", 0, "97 262 98 263 62");
    expect_ids(&f, "<x", 0, "60 120");
    f.type[262] = 3;
    expect_ids(&f, "<x>", 0, "264");
    expect_ids(&f, "<x>", TOK_SPECIAL, "262");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_smallest_vocabularies_encode),
        cmocka_unit_test(defaults_and_switches_of_the_file),
        cmocka_unit_test(unknown_models_and_pre_tokenizers_are_named),
        cmocka_unit_test(models_of_other_kinds_are_refused_by_name),
        cmocka_unit_test(a_nameless_vocabulary_of_llama_3_has_its_pre_tokenizer),
        cmocka_unit_test(the_pre_tokenizer_of_the_caller_comes_first),
        cmocka_unit_test(token_tables_of_the_wrong_shape_are_refused),
        cmocka_unit_test(without_types_tokens_are_normal_and_without_scores_all_equal),
        cmocka_unit_test(sentencepiece_without_ids_has_its_usual_ones),
        cmocka_unit_test(gemma_without_ids_has_gemmas_usual_ones),
        cmocka_unit_test(extra_spaces_are_removed_if_the_file_says_so),
        cmocka_unit_test(eos_is_not_added_even_if_the_file_asks_for_it),
        cmocka_unit_test(special_ids_outside_the_vocabulary_are_no_tokens),
        cmocka_unit_test(tokens_that_cannot_be_read_are_refused),
        cmocka_unit_test(normal_tokens_outside_the_alphabet_are_unused),
        cmocka_unit_test(a_byte_without_a_token_is_left_out),
        cmocka_unit_test(a_vocabulary_without_byte_tokens_says_unknown_once_a_character),
        cmocka_unit_test(merges_must_be_two_known_tokens_and_their_join),
        cmocka_unit_test(text_cannot_merge_into_a_control_token),
        cmocka_unit_test(control_tokens_are_control_whatever_their_type_says),
        cmocka_unit_test(turn_markers_end_replies_and_are_no_text),
        cmocka_unit_test(special_tokens_of_phi_3_eat_white_space),
        cmocka_unit_test(user_defined_tokens_are_found_in_any_text_longest_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
