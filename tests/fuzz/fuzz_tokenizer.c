/*
 * Fuzzes both tokenizers. Input that begins with "GGUF" is a model file: if it is valid, its
 * vocabulary is opened and used. Any other input is text for the two small vocabularies of
 * tests/golden; its length chooses the pre-tokenizer. There encoded text decodes to the same bytes,
 * and plain text gives no control token.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chat.h"
#include "mem.h"
#include "tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "fuzz_tokenizer: %s\n", what);
    abort();
}

static bool has_underline(const char *s, size_t n) /* U+2581 */
{
    for (size_t i = 0; i + 3 <= n; i++)
        if (!memcmp(s + i, "\xe2\x96\x81", 3))
            return true;
    return false;
}

static void round_trip(const struct tokenizer *t, const char *s, size_t n, unsigned flags)
{
    struct token_list l = {0};
    struct str back = STR_INIT;
    struct err e;
    require(tokenizer_encode(t, s, n, flags, &l, &e) == 0, "encoding failed");
    for (size_t i = 0; !(flags & TOK_SPECIAL) && i < l.n; i++)
        require(!tokenizer_is_control(t, l.id[i]), "text became a control token");
    require(tokenizer_decode(t, l.id, l.n, flags, &back, &e) == 0, "decoding failed");
    /* SentencePiece writes a space as U+2581, so the two are one to it. */
    if (!has_underline(s, n))
        require(back.len == n && !memcmp(back.s, s, n), "the text came back changed");
    token_list_free(&l);
    str_free(&back);
}

static void use_file(const uint8_t *data, size_t size)
{
    static const char text[] = "The a patient's  \n\n 12345 \xc3\xa9\xff<|eot_id|></s>";
    struct gguf *g = NULL;
    struct tokenizer *t = NULL;
    struct chat *c = NULL;
    struct token_list l = {0};
    struct err e;
    const struct chat_message m = {"user", text, sizeof text - 1};
    void *copy = mem_aligned(size);
    memcpy(copy, data, size);
    if (gguf_open_memory(copy, size, "fuzz.gguf", &g, &e) == 0 &&
        tokenizer_open(g, NULL, &t, &e) == 0) {
        (void)tokenizer_encode(t, text, sizeof text - 1, 0, &l, &e);
        for (size_t i = 0; i < l.n; i++)
            require(l.id[i] >= 0 && l.id[i] < tokenizer_n_vocab(t), "an id outside the vocabulary");
        if (chat_open(g, t, &(struct chat_options){0}, &c, &e) == 0)
            (void)chat_render(c, &m, 1, CHAT_THINK_DEFAULT, &l, &e);
    }
    token_list_free(&l);
    chat_close(c);
    tokenizer_close(t);
    gguf_close(g);
    mem_free(copy);
}

/* pre: NULL = the file's */
static void use_text(const char *file, const char *pre, const char *s, size_t n)
{
    struct gguf *g;
    struct tokenizer *t;
    struct err e;
    require(gguf_open(file, &g, &e) == 0 && tokenizer_open(g, pre, &t, &e) == 0,
            "no small vocabulary");
    round_trip(t, s, n, 0);
    round_trip(t, s, n, TOK_SPECIAL);
    tokenizer_close(t);
    gguf_close(g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size >= 4 && !memcmp(data, "GGUF", 4)) {
        use_file(data, size);
        return 0;
    }
    static const char *const pre[] = {"llama-bpe",      "gpt-2",       "qwen2",  "qwen35",
                                      "smollm",         "tekken",      "gpt-4o", "deepseek-llm",
                                      "deepseek-coder", "deepseek-v3", "falcon", "default"};
    const char *name = pre[size % (sizeof pre / sizeof pre[0])];
    use_text(TEST_GOLDEN "/vocab_bpe.gguf", name, (const char *)data, size);
    use_text(TEST_GOLDEN "/vocab_spm.gguf", NULL, (const char *)data, size);
    return 0;
}
