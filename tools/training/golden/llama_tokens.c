/*
 * llama_tokens: token ids of texts by llama.cpp. Not part of the program: vocabs.py builds it
 * against a llama.cpp checkout to make golden files.
 *
 *     llama_tokens MODEL.gguf < TEXTS
 *
 * TEXTS: for each text its length as four bytes, little-endian, then its bytes. Prints a line of
 * ids for each, separated by spaces. Control tokens are not recognised, and BOS is not added.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "llama.h"

static void quiet(enum ggml_log_level level, const char *text, void *user)
{
    (void)user;
    if (level == GGML_LOG_LEVEL_ERROR)
        fputs(text, stderr);
}

int main(int argc, char **argv)
{
    unsigned char head[4];
    llama_log_set(quiet, NULL);
    llama_backend_init();
    struct llama_model_params mp = llama_model_default_params();
    mp.vocab_only = true;
    struct llama_model *model = argc == 2 ? llama_model_load_from_file(argv[1], mp) : NULL;
    if (!model) {
        fprintf(stderr, "llama_tokens: no model\n");
        return 1;
    }
    const struct llama_vocab *vocab = llama_model_get_vocab(model);
    while (fread(head, 1, 4, stdin) == 4) {
        uint32_t n = head[0] | head[1] << 8 | head[2] << 16 | (uint32_t)head[3] << 24;
        char *text = malloc((size_t)n + 1);
        int32_t cap = (int32_t)n * 4 + 16;
        llama_token *id = malloc((size_t)cap * sizeof *id);
        if (!text || !id || fread(text, 1, n, stdin) != n) {
            fprintf(stderr, "llama_tokens: a text is cut off\n");
            return 1;
        }
        int32_t count = llama_tokenize(vocab, text, (int32_t)n, id, cap, false, false);
        for (int32_t i = 0; i < count; i++)
            printf(i ? " %d" : "%d", id[i]);
        putchar('\n');
        free(text);
        free(id);
    }
    llama_model_free(model);
    return 0;
}
