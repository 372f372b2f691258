#include "tokenizer.h"

#include <string.h>
#include <strings.h>

#include "bpe.h"
#include "check.h"
#include "log.h"
#include "mem.h"
#include "spm.h"
#include "vocab.h"

#define KEY "tokenizer.ggml."
static const struct marker {
    const char *name;
    enum { NO, TURN, TEXT } end;
} markers[] = {
#define X(name, end) {name, end},
#include "markers.def"
};

enum { MAX_ENDS = sizeof markers / sizeof markers[0] + 3 };

struct tokenizer {
    enum vocab_form form; /* VOCAB_BYTE_LEVEL: bpe is set; VOCAB_SENTENCE: spm */
    struct vocab vocab;
    struct bpe bpe;
    struct spm spm;
    int32_t bos, eos, eot, eom, unknown; /* -1 = none */
    int32_t end[MAX_ENDS];               /* tokens that end a reply */
    int n_end;
    bool add_bos;
    bool space_prefix; /* SentencePiece: encoding puts a space before text, decoding removes it */
    bool eats_space;   /* Phi 3: a special token takes the white space after it with it */
};

/* ---- opening ------------------------------------------------------------------------------- */

static bool is_text(struct gguf_str s, const char *text)
{
    return s.len == strlen(text) && !memcmp(s.s, text, s.len);
}

static int shown(struct gguf_str s)
{
    return s.len > 80 ? 80 : (int)s.len;
}

/* Models of tokenizers that other programs know. */
static const char *const refused_models[] = {"bert",   "t5",   "rwkv",    "plamo2",
                                             "gemma4", "none", "no_vocab"};

static int form_of(const struct gguf *g, enum vocab_form *out, struct err *e)
{
    struct gguf_str model;
    TRY(gguf_get_str(g, KEY "model", &model, e));
    bool known = false;
    for (size_t i = 0; i < sizeof refused_models / sizeof refused_models[0]; i++)
        known |= is_text(model, refused_models[i]);
    if (known || (!is_text(model, "llama") && !is_text(model, "gpt2")))
        FAIL(e, ERR_DATA,
             "%s: " KEY "model is '%.*s', %s; this program has 'gpt2' (byte-level BPE) and 'llama' "
             "(SentencePiece)",
             gguf_path(g), shown(model), model.s,
             known ? "a tokenizer of another kind" : "an unknown tokenizer");
    *out = is_text(model, "llama") ? VOCAB_SENTENCE : VOCAB_BYTE_LEVEL;
    return 0;
}

/* The control tokens that only Llama 3's vocabulary has. */
static bool is_llama3(const struct gguf *g)
{
    static const char *const names[] = {"<|begin_of_text|>", "<|start_header_id|>", "<|eot_id|>"};
    const struct gguf_kv *kv = gguf_find(g, KEY "tokens");
    size_t found = 0;
    if (!kv || kv->type != GGUF_ARRAY || kv->elem != GGUF_STRING)
        return false;
    for (uint64_t i = 0; i < kv->count; i++)
        for (size_t k = 0; k < sizeof names / sizeof names[0]; k++)
            found += is_text(kv->strings[i], names[k]);
    return found >= sizeof names / sizeof names[0];
}

/* name: of the caller, NULL = the file's. Old files of Llama 3 lack the key; their vocabulary shows
 * what they are. */
static int pre_of(const struct gguf *g, const char *name, const struct pretoken **out,
                  struct err *e)
{
    struct gguf_str pre = {.s = name, .len = name ? strlen(name) : 0};
    struct str names = STR_INIT;
    bool absent = !name && !gguf_find(g, KEY "pre");
    if (!name && !absent)
        TRY(gguf_get_str(g, KEY "pre", &pre, e));
    if (absent && is_llama3(g)) {
        pre = (struct gguf_str){.s = "llama-bpe", .len = strlen("llama-bpe")};
        log_warn("%s: there is no " KEY "pre; the vocabulary is Llama 3's, so its pre-tokenizer "
                 "llama-bpe is taken; --pre NAME takes another",
                 gguf_path(g));
    }
    *out = pretoken_find(pre.s, pre.len);
    if (*out)
        return 0;
    pretoken_names(&names);
    int rc = name ? ERR_USAGE : ERR_DATA;
    if (absent)
        err_set(e, rc,
                "%s: there is no " KEY "pre, which names the pre-tokenizer; choose one with --pre "
                "NAME: %s",
                gguf_path(g), names.failed ? "" : names.s);
    else
        err_set(e, rc, "%s: the pre-tokenizer '%.*s'%s is unknown; choose one with --pre NAME: %s",
                gguf_path(g), shown(pre), pre.s, name ? "" : " of " KEY "pre",
                names.failed ? "" : names.s);
    str_free(&names);
    return rc;
}

/* A special id; -1 when the key is absent or holds -1 or 2^32 - 1, which converters write for
 * "none". An id outside the vocabulary is -1, too: no model can have learnt it. */
static int id_of(const struct gguf *g, const char *key, uint64_t n_vocab, int32_t *out,
                 struct err *e)
{
    int64_t id;
    TRY(gguf_get_int_or(g, key, INT64_MIN, INT64_MAX, -1, &id, e));
    bool none = id == -1 || id == UINT32_MAX,
         inside = id >= 0 && (uint64_t)id < n_vocab && id <= INT32_MAX;
    if (!none && !inside)
        log_warn("%s: %s is %lld, but there are %llu tokens: there is no such token", gguf_path(g),
                 key, (long long)id, (unsigned long long)n_vocab);
    *out = inside ? (int32_t)id : -1;
    return 0;
}

/* A SentencePiece file without keys has SentencePiece's own order: <unk>, <s>, </s>; or Gemma's:
 * <pad>, <eos>, <bos>. */
static void ids_usual(struct tokenizer *t, const struct gguf *g, const struct gguf_kv *tokens)
{
    int32_t pad = -1;
    const struct {
        const char *key, *name;
        int32_t *id;
    } usual[] = {
        {KEY "unknown_token_id", "<unk>", &t->unknown}, {KEY "bos_token_id", "<s>", &t->bos},
        {KEY "eos_token_id", "</s>", &t->eos},          {KEY "padding_token_id", "<pad>", &pad},
        {KEY "eos_token_id", "<eos>", &t->eos},         {KEY "bos_token_id", "<bos>", &t->bos}};
    const bool gemma = tokens->count > 2 && is_text(tokens->strings[0], "<pad>") &&
                       is_text(tokens->strings[1], "<eos>") && is_text(tokens->strings[2], "<bos>");
    for (int32_t i = 0; i < 3 && (uint64_t)i < tokens->count; i++) {
        const int k = i + (gemma ? 3 : 0);
        if (!gguf_find(g, usual[k].key) && is_text(tokens->strings[i], usual[k].name))
            *usual[k].id = i;
    }
}

/* Says which wishes of the file are not fulfilled. */
static int warn_unused(const struct tokenizer *t, const struct gguf *g, struct err *e)
{
    bool eos, prefix;
    TRY(gguf_get_bool_or(g, KEY "add_eos_token", false, &eos, e));
    TRY(gguf_get_bool_or(g, KEY "add_space_prefix", false, &prefix, e));
    if (t->add_bos && t->bos < 0)
        log_warn("%s: texts should begin with BOS, but the file names no such token: they begin "
                 "without",
                 gguf_path(g));
    if (eos)
        log_warn("%s: " KEY "add_eos_token is true, but a reply continues the text: no EOS is "
                 "added",
                 gguf_path(g));
    if (prefix && t->form == VOCAB_BYTE_LEVEL)
        log_warn("%s: " KEY "add_space_prefix is true, but the vocabulary is of bytes: no space is "
                 "added",
                 gguf_path(g));
    return 0;
}

static int ids_read(struct tokenizer *t, const struct gguf *g, struct err *e)
{
    const struct gguf_kv *tokens;
    TRY(gguf_get_array(g, KEY "tokens", GGUF_STRING, &tokens, e));
    TRY(id_of(g, KEY "bos_token_id", tokens->count, &t->bos, e));
    TRY(id_of(g, KEY "eos_token_id", tokens->count, &t->eos, e));
    TRY(id_of(g, KEY "eot_token_id", tokens->count, &t->eot, e));
    TRY(id_of(g, KEY "eom_token_id", tokens->count, &t->eom, e));
    TRY(id_of(g, KEY "unknown_token_id", tokens->count, &t->unknown, e));
    if (t->form == VOCAB_SENTENCE)
        ids_usual(t, g, tokens);
    return 0;
}

static void end_add(struct tokenizer *t, int32_t id)
{
    if (id >= 0 && !tokenizer_is_end(t, id))
        t->end[t->n_end++] = id;
}

/* The control token of that name, -1 = none. */
static int32_t named(const struct tokenizer *t, const char *name)
{
    int32_t id = vocab_marked(&t->vocab, name, strlen(name));
    return id >= 0 && t->vocab.type[id] == VOCAB_CONTROL ? id : -1;
}

static void ends_find(struct tokenizer *t)
{
    for (size_t i = 0; i < sizeof markers / sizeof markers[0]; i++) {
        int32_t id = named(t, markers[i].name);
        if (markers[i].end == TURN && t->eot < 0)
            t->eot = id;
        if (markers[i].end != NO)
            end_add(t, id);
    }
    end_add(t, t->eos);
    end_add(t, t->eot);
    end_add(t, t->eom);
}

/* Phi 3's packages say "rstrip" of their special tokens. Files have no key for that: the model's
 * name shows it, as in llama.cpp. */
static int is_phi3(const struct gguf *g, bool *out, struct err *e)
{
    static const char *const names[] = {"phi-3", "phi3"};
    struct gguf_str s;
    const struct gguf_kv *kv = gguf_find(g, "general.name");
    *out = false;
    if (!kv || kv->type != GGUF_STRING)
        return 0;
    TRY(gguf_get_str(g, "general.name", &s, e));
    for (size_t k = 0; k < sizeof names / sizeof names[0]; k++)
        for (size_t i = 0, n = strlen(names[k]); i + n <= s.len; i++)
            *out |= !strncasecmp(s.s + i, names[k], n);
    return 0;
}

static int tokenizer_read(struct tokenizer *t, const struct gguf *g, const char *pre_name,
                          struct err *e)
{
    const struct pretoken *pre = NULL;
    if (pre_name && !*pre_name)
        pre_name = NULL;
    TRY(form_of(g, &t->form, e));
    if (t->form == VOCAB_BYTE_LEVEL)
        TRY(pre_of(g, pre_name, &pre, e));
    else if (pre_name)
        FAIL(e, ERR_USAGE, "%s: --pre %s: a SentencePiece vocabulary has no pre-tokenizer",
             gguf_path(g), pre_name);
    TRY(ids_read(t, g, e));
    TRY(gguf_get_bool_or(g, KEY "add_bos_token", !pre || pre->add_bos, &t->add_bos, e));
    if (t->form == VOCAB_SENTENCE)
        TRY(gguf_get_bool_or(g, KEY "add_space_prefix", true, &t->space_prefix, e));
    TRY(warn_unused(t, g, e));
    const int32_t control[] = {t->bos, t->eos, t->eot, t->eom};
    TRY(vocab_init(&t->vocab, g, t->form, control, sizeof control / sizeof control[0], e));
    ends_find(t);
    TRY(is_phi3(g, &t->eats_space, e));
    for (int32_t i = 0; i < t->vocab.n && t->unknown < 0; i++)
        if (t->vocab.type[i] == VOCAB_UNKNOWN)
            t->unknown = i;
    if (t->form == VOCAB_SENTENCE)
        return spm_init(&t->spm, &t->vocab, g, t->unknown, e);
    return bpe_init(&t->bpe, &t->vocab, g, pre, e);
}

int tokenizer_open(const struct gguf *g, const char *pre, struct tokenizer **out, struct err *e)
{
    struct tokenizer *t = mem_zalloc(1, sizeof *t);
    if (!t)
        return NOMEM(e, sizeof *t, "the tokenizer");
    int rc = tokenizer_read(t, g, pre, e);
    if (rc < 0) {
        tokenizer_close(t);
        return rc;
    }
    *out = t;
    return 0;
}

void tokenizer_close(struct tokenizer *t)
{
    if (!t)
        return;
    bpe_free(&t->bpe);
    spm_free(&t->spm);
    vocab_free(&t->vocab);
    mem_free(t);
}

/* ---- text to tokens ------------------------------------------------------------------------ */

static int encode_text(const struct tokenizer *t, const char *s, size_t n, struct token_list *out,
                       size_t lost[256], struct err *e)
{
    if (n == 0)
        return 0;
    if (t->form == VOCAB_SENTENCE)
        return spm_encode(&t->spm, &t->vocab, s, n, t->space_prefix, out, lost, e);
    return bpe_encode(&t->bpe, &t->vocab, s, n, out, lost, e);
}

static bool keeps_space(const struct tokenizer *t, int32_t id)
{
    static const char *const names[] = {"<unk>", "<s>", "<|endoftext|>"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (vocab_marked(&t->vocab, names[i], strlen(names[i])) == id)
            return true;
    return false;
}

static size_t space_at(const char *s, size_t n) /* bytes of ASCII white space at the start */
{
    size_t i = 0;
    while (i < n && (s[i] == ' ' || (s[i] >= '\t' && s[i] <= '\r')))
        i++;
    return i;
}

static int encode_all(const struct tokenizer *t, const char *text, size_t n, unsigned flags,
                      struct token_list *out, size_t lost[256], struct err *e)
{
    size_t begin = 0, at = 0; /* text[begin..at) holds no special or user-defined piece */
    if ((flags & TOK_BOS) && t->add_bos && t->bos >= 0)
        TRY(token_list_push(out, t->bos, e));
    while (at < n) {
        int32_t id = vocab_spot(&t->vocab, text + at, n - at, flags & TOK_SPECIAL);
        if (id < 0) {
            at++;
            continue;
        }
        size_t len;
        vocab_text(&t->vocab, id, &len);
        TRY(encode_text(t, text + begin, at - begin, out, lost, e));
        TRY(token_list_push(out, id, e));
        at += len;
        if (t->eats_space && !keeps_space(t, id))
            at += space_at(text + at, n - at);
        begin = at;
    }
    return encode_text(t, text + begin, n - begin, out, lost, e);
}

static void warn_lost(const size_t lost[256])
{
    struct str s = STR_INIT;
    size_t n = 0;
    for (int i = 0; i < 256; i++) {
        if (!lost[i])
            continue;
        str_addf(&s, n ? ", 0x%02x" : "0x%02x", (unsigned)i);
        n += lost[i];
    }
    if (n && !s.failed)
        log_warn("the vocabulary has no token for %zu byte%s of the text: %s; the model does not "
                 "see %s",
                 n, n == 1 ? "" : "s", s.s, n == 1 ? "it" : "them");
    str_free(&s);
}

int tokenizer_encode(const struct tokenizer *t, const char *text, size_t n, unsigned flags,
                     struct token_list *out, struct err *e)
{
    size_t before = out->n, lost[256] = {0};
    int rc = encode_all(t, text, n, flags, out, lost, e);
    if (rc < 0)
        out->n = before;
    else
        warn_lost(lost);
    return rc;
}

/* ---- tokens to text ------------------------------------------------------------------------ */

void tokenizer_text(const struct tokenizer *t, int32_t id, const char **s, size_t *len)
{
    *s = vocab_text(&t->vocab, id, len);
}

void tokenizer_bytes(const struct tokenizer *t, int32_t id, const char **s, size_t *len)
{
    *s = vocab_text(&t->vocab, id, len);
    if (tokenizer_is_control(t, id))
        *len = 0;
}

void tokenizer_piece(const struct tokenizer *t, int32_t id, unsigned flags, struct str *out)
{
    const char *s;
    size_t len;
    if (flags & TOK_SPECIAL)
        s = vocab_text(&t->vocab, id, &len);
    else
        tokenizer_bytes(t, id, &s, &len);
    str_add(out, s, len);
}

/* The bytes of id in running text. A stretch of text begins the whole or follows a special piece;
 * encoding put a space before it, which is removed here. */
static void running_bytes(const struct tokenizer *t, int32_t id, bool *started, const char **s,
                          size_t *len)
{
    tokenizer_bytes(t, id, s, len);
    unsigned char type = t->vocab.type[id];
    if (type != VOCAB_NORMAL && type != VOCAB_BYTE) {
        *started = false;
    } else if (*len) {
        if (t->space_prefix && !*started && **s == ' ') {
            (*s)++;
            (*len)--;
        }
        *started = true;
    }
}

int tokenizer_decode(const struct tokenizer *t, const int32_t *id, size_t n, unsigned flags,
                     struct str *out, struct err *e)
{
    bool started = false;
    for (size_t i = 0; i < n; i++)
        if (id[i] < 0 || id[i] >= t->vocab.n)
            FAIL(e, ERR_DATA, "token %zu is %d, but the vocabulary has ids 0 to %d", i, id[i],
                 t->vocab.n - 1);
    for (size_t i = 0; i < n; i++) {
        const char *s;
        size_t len;
        running_bytes(t, id[i], &started, &s, &len);
        if ((flags & TOK_SPECIAL) && tokenizer_is_control(t, id[i]))
            s = vocab_text(&t->vocab, id[i], &len);
        str_add(out, s, len);
    }
    return str_ok(out, "decoded text", e);
}

void tokenizer_stream_push(const struct tokenizer *t, struct tokenizer_stream *st, int32_t id,
                           struct str *out)
{
    const char *s;
    size_t len, before = out->len;
    running_bytes(t, id, &st->started, &s, &len);
    str_add(out, st->held, st->n_held);
    str_add(out, s, len);
    if (out->failed)
        return;
    size_t ready = utf8_complete(out->s + before, out->len - before);
    st->n_held = out->len - before - ready;
    if (st->n_held) {
        memcpy(st->held, out->s + before + ready, st->n_held);
        out->len = before + ready;
        out->s[out->len] = 0;
    }
}

void tokenizer_stream_end(struct tokenizer_stream *st, struct str *out)
{
    str_add(out, st->held, st->n_held);
    *st = (struct tokenizer_stream){0};
}

/* ---- questions ----------------------------------------------------------------------------- */

int32_t tokenizer_n_vocab(const struct tokenizer *t)
{
    return t->vocab.n;
}

int32_t tokenizer_bos(const struct tokenizer *t)
{
    return t->bos;
}

int32_t tokenizer_eos(const struct tokenizer *t)
{
    return t->eos;
}

int32_t tokenizer_eot(const struct tokenizer *t)
{
    return t->eot;
}

bool tokenizer_is_end(const struct tokenizer *t, int32_t id)
{
    for (int i = 0; i < t->n_end; i++)
        if (t->end[i] == id)
            return true;
    return false;
}

bool tokenizer_is_control(const struct tokenizer *t, int32_t id)
{
    CHECK(id >= 0 && id < t->vocab.n);
    unsigned char type = t->vocab.type[id];
    return type == VOCAB_CONTROL || type == VOCAB_UNKNOWN || type == VOCAB_UNUSED;
}

int32_t tokenizer_find(const struct tokenizer *t, const char *piece, size_t n)
{
    int32_t id = vocab_marked(&t->vocab, piece, n);
    return id >= 0 ? id : vocab_plain(&t->vocab, piece, n);
}
