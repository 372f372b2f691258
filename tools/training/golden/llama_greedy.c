/*
 * llama_greedy: greedy continuation by llama.cpp, token by token, with the margin of each choice.
 * Not part of the program: stories.py builds it against a llama.cpp checkout to make golden files.
 *
 *     llama_greedy MODEL.gguf PROMPT N auto|on|off
 *
 * Prints the prompt's ids (BOS first) on one line, then per token: id, tab, logit of the best minus
 * logit of the second. One CPU thread, context 4,096, cache of halves; control tokens may stand in
 * the prompt; the last argument is llama.cpp's flash attention. The prompt is one batch, then
 * tokens follow one by one, as llama-completion does it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "llama.h"

#define N_CTX 4096

static void quiet(enum ggml_log_level level, const char *text, void *user)
{
    (void)user;
    if (level == GGML_LOG_LEVEL_ERROR)
        fputs(text, stderr);
}

static int die(const char *what)
{
    fprintf(stderr, "llama_greedy: %s\n", what);
    return 1;
}

static llama_token best(const float *x, int n, float *margin)
{
    int a = 0;
    for (int i = 1; i < n; i++)
        if (x[i] > x[a])
            a = i;
    int b = a == 0 ? 1 : 0;
    for (int i = 0; i < n; i++)
        if (i != a && x[i] > x[b])
            b = i;
    *margin = x[a] - x[b];
    return a;
}

static int run(struct llama_model *model, const char *prompt, int n_new, int flash)
{
    const struct llama_vocab *vocab = llama_model_get_vocab(model);
    struct llama_context_params p = llama_context_default_params();
    p.n_ctx = p.n_batch = N_CTX;
    p.n_threads = p.n_threads_batch = 1;
    p.type_k = p.type_v = GGML_TYPE_F16;
    p.flash_attn_type = (enum llama_flash_attn_type)flash;
    struct llama_context *ctx = llama_init_from_model(model, p);
    if (!ctx)
        return die("cannot make a context");
    static llama_token id[N_CTX];
    int n = llama_tokenize(vocab, prompt, (int)strlen(prompt), id, N_CTX, true, true);
    if (n <= 0 || n + n_new > N_CTX)
        return die("prompt and reply must fit into 4096 tokens");
    for (int i = 0; i < n; i++)
        printf("%d%c", id[i], i + 1 < n ? ' ' : '\n');
    for (int i = 0; i < n_new; i++) {
        if (llama_decode(ctx, llama_batch_get_one(id, n)) != 0)
            return die("llama_decode failed");
        float margin;
        id[0] = best(llama_get_logits_ith(ctx, -1), llama_vocab_n_tokens(vocab), &margin);
        n = 1;
        printf("%d\t%.4f\n", id[0], (double)margin);
    }
    llama_free(ctx);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return die("usage: llama_greedy MODEL.gguf PROMPT N auto|on|off");
    llama_log_set(quiet, NULL);
    int flash = strcmp(argv[4], "auto") == 0 ? -1 : strcmp(argv[4], "on") == 0;
    struct llama_model *model = llama_model_load_from_file(argv[1], llama_model_default_params());
    if (!model)
        return die("cannot load the model");
    int rc = run(model, argv[2], atoi(argv[3]), flash);
    llama_model_free(model);
    return rc;
}
