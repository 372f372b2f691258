#include "synth_vocab.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "mem.h"
#include "str.h"

int synth_vocab_copy(const char *path, struct gguf_writer *w, int64_t *n_vocab, struct err *e)
{
    static const char prefix[] = "tokenizer.";
    struct gguf *g = NULL;
    const struct gguf_kv *tokens;
    int rc = 0;
    TRY_DONE(gguf_open(path, &g, e));
    TRY_DONE(gguf_get_array(g, "tokenizer.ggml.tokens", GGUF_STRING, &tokens, e));
    if (tokens->count < 1 || tokens->count > SYNTH_VOCAB_MOST)
        TRY_DONE(err_set(e, ERR_DATA, "%s: tokenizer.ggml.tokens has %llu tokens; must be 1 to %d",
                         path, (unsigned long long)tokens->count, SYNTH_VOCAB_MOST));
    for (size_t i = 0; i < gguf_n_kv(g); i++) {
        const struct gguf_kv *kv = gguf_kv_at(g, i);
        if (kv->key.len > strlen(prefix) && !memcmp(kv->key.s, prefix, strlen(prefix)))
            TRY_DONE(gguf_put_kv(w, kv, e));
    }
    *n_vocab = (int64_t)tokens->count;
done:
    gguf_close(g);
    return rc;
}

/* ---- the byte vocabulary -------------------------------------------------------------------- */

enum {
    TYPE_NORMAL = 1, /* tokenizer.ggml.token_type */
    TYPE_CONTROL = 3,
    TYPE_UNUSED = 5,
    BYTES = 256,
};

static const char *const controls[] = {
    "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
    "<|eot_id|>",        "<|eom_id|>",      "<|python_tag|>",      "<|finetune_right_pad_id|>",
};
enum { CONTROLS = sizeof controls / sizeof *controls, RESERVED = 8, TILE = 32 };
_Static_assert(BYTES + CONTROLS + RESERVED == SYNTH_VOCAB_LEAST, "the tokens of every vocabulary");

static const char chat_template[] =
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}"
    "{{ message['content'] | trim + '<|eot_id|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}"
    "{% endif %}";

struct byte_vocab {
    struct gguf_str *text; /* (most) */
    int32_t *type;         /* (most) */
    char (*numbered)[40];  /* (most) */
    size_t n;
    char notation[BYTES][4];
};

static void vocab_add(struct byte_vocab *v, const char *s, size_t len, int32_t type)
{
    v->text[v->n] = (struct gguf_str){s, len};
    v->type[v->n++] = type;
}

/* Printable bytes of Latin-1 stand for themselves and come first; the others, in order, are written
 * as U+0100, U+0101, .. (encoder.py of openai/gpt-2). */
static void vocab_add_bytes(struct byte_vocab *v)
{
    uint32_t next = 0x100;
    for (int printable = 1; printable >= 0; printable--)
        for (uint32_t b = 0; b < BYTES; b++) {
            int shown = (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
            if (shown != printable)
                continue;
            int len = utf8_encode(shown ? b : next++, v->notation[b]);
            vocab_add(v, v->notation[b], (size_t)len, TYPE_NORMAL);
        }
}

static void vocab_add_numbered(struct byte_vocab *v, const char *name, size_t number, int32_t type)
{
    char *s = v->numbered[v->n];
    int len = snprintf(s, sizeof *v->numbered, "<|%s_%zu|>", name, number);
    vocab_add(v, s, (size_t)len, type);
}

/* The tokens of every vocabulary. */
static void vocab_add_common(struct byte_vocab *v)
{
    vocab_add_bytes(v);
    for (size_t i = 0; i < CONTROLS; i++)
        vocab_add(v, controls[i], strlen(controls[i]), TYPE_CONTROL);
    for (size_t i = 0; i < RESERVED; i++)
        vocab_add_numbered(v, "reserved_special_token", i, TYPE_CONTROL);
}

/* Word n: its digits to the base 80, two at least, as syllables of a consonant and a vowel. */
static void vocab_add_word(struct byte_vocab *v, size_t n, bool space)
{
    static const char consonant[] = "bcdfghjklmnprstv", vowel[] = "aeiou";
    enum { VOWELS = sizeof vowel - 1, BASE = (sizeof consonant - 1) * VOWELS };
    char *s = v->numbered[v->n];
    size_t digit[8], n_digit = 0, len = 0;
    for (size_t left = n; left || n_digit < 2; left /= BASE)
        digit[n_digit++] = left % BASE;
    if (space)
        len = (size_t)utf8_encode(0x120, s); /* byte ' ' in the notation of the vocabulary */
    while (n_digit--) {
        s[len++] = consonant[digit[n_digit] / VOWELS];
        s[len++] = vowel[digit[n_digit] % VOWELS];
    }
    vocab_add(v, s, len, TYPE_NORMAL);
}

static int vocab_put(const struct byte_vocab *v, struct gguf_writer *w, struct err *e)
{
    static const struct gguf_str none = {"", 0};
    TRY(gguf_put_str(w, "tokenizer.ggml.model", "gpt2", 4, e));
    TRY(gguf_put_str(w, "tokenizer.ggml.pre", "llama-bpe", 9, e));
    TRY(gguf_put_strings(w, "tokenizer.ggml.tokens", v->text, v->n, e));
    TRY(gguf_put_array(w, "tokenizer.ggml.token_type", GGUF_I32, v->type, v->n, e));
    TRY(gguf_put_strings(w, "tokenizer.ggml.merges", &none, 0, e));
    TRY(gguf_put_u32(w, "tokenizer.ggml.bos_token_id", BYTES + 0, e));
    TRY(gguf_put_u32(w, "tokenizer.ggml.eos_token_id", BYTES + 4, e)); /* <|eot_id|>, as Instruct */
    TRY(gguf_put_u32(w, "tokenizer.ggml.padding_token_id", BYTES + 7, e));
    return gguf_put_str(w, "tokenizer.chat_template", chat_template, strlen(chat_template), e);
}

static int vocab_open(struct byte_vocab *v, size_t most, struct err *e)
{
    v->text = mem_zalloc(most, sizeof *v->text);
    v->type = mem_zalloc(most, sizeof *v->type);
    v->numbered = mem_zalloc(most, sizeof *v->numbered);
    if (!v->text || !v->type || !v->numbered)
        return NOMEM(e, most * sizeof *v->numbered, "a vocabulary");
    return 0;
}

static void vocab_close(struct byte_vocab *v)
{
    mem_free(v->text);
    mem_free(v->type);
    mem_free(v->numbered);
}

int synth_vocab_bytes(struct gguf_writer *w, int64_t least, int64_t *n_vocab, struct err *e)
{
    struct byte_vocab v = {0};
    int rc = 0;
    TRY_DONE(vocab_open(&v, (size_t)least + SYNTH_VOCAB_LEAST + TILE, e));
    vocab_add_common(&v);
    for (size_t i = 0; v.n < (size_t)least || v.n % TILE; i++)
        vocab_add_numbered(&v, "unused", i, TYPE_UNUSED);
    TRY_DONE(vocab_put(&v, w, e));
    *n_vocab = (int64_t)v.n;
done:
    vocab_close(&v);
    return rc;
}

int synth_vocab_words(struct gguf_writer *w, int64_t n, struct err *e)
{
    struct byte_vocab v = {0};
    int rc = 0;
    CHECK(n >= SYNTH_VOCAB_LEAST && n <= SYNTH_VOCAB_MOST);
    TRY_DONE(vocab_open(&v, (size_t)n, e));
    vocab_add_common(&v);
    for (size_t i = 0; v.n < (size_t)n; i++)
        vocab_add_word(&v, i / 2, i % 2 == 0);
    TRY_DONE(vocab_put(&v, w, e));
done:
    vocab_close(&v);
    return rc;
}
