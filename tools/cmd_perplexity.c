/*
 * mas perplexity: how well a model predicts a text, in windows of --ctx tokens that do not overlap. As in
 * common practice, the first half of a window is only context and the second half is scored, so that
 * every scored token has at least ctx/2 tokens before it.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "clock.h"
#include "cmd.h"
#include "mem.h"
#include "outfile.h"

struct perplexity {
    struct cli_engine ce;
    const char *prompt, *file, *logits_path;
    int chunks;
    /* while it runs */
    struct outfile *logits;
    const int32_t *tok; /* the window */
    int n, n_vocab;
    double nll, nll2;
    long scored;
    int top1;
    struct err io; /* of writing logits: code 0 = none */
};

enum { OPT_LOGITS = 1, OPT_CHUNKS };

static error_t parse(int key, char *arg, struct argp_state *st)
{
    struct perplexity *p = st->input;
    switch (key) {
    case ARGP_KEY_INIT:
        st->child_inputs[0] = &p->ce;
        return 0;
    case 'p':
        p->prompt = arg;
        return 0;
    case 'f':
        p->file = arg;
        return 0;
    case OPT_LOGITS:
        p->logits_path = arg;
        return 0;
    case OPT_CHUNKS:
        return cli_int(st, "--chunks", arg, 1, 1 << 24, &p->chunks);
    case ARGP_KEY_ARG:
        argp_error(st, "unexpected argument '%s'; the text goes behind -f", arg);
        return EINVAL;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    {"file", 'f', "FILE", 0, "text to predict, '-' = standard input", 1},
    {"prompt", 'p', "TEXT", 0, "the same, as an argument", 1},
    {"chunks", OPT_CHUNKS, "N", 0, "only the first N windows", 1},
    {"logits-out", OPT_LOGITS, "FILE", 0,
     "write the logits of every position of every window: raw f32, (positions, n_vocab), little endian",
     1},
    {0}};

/* On the engine thread. */
static void on_logits(struct request *r, int pos, const float *logits)
{
    struct perplexity *p = ((struct cli_job *)r)->user;
    size_t n = (size_t)p->n_vocab;
    if (p->logits && p->io.code == 0)
        (void)outfile_put(p->logits, logits, n * sizeof *logits, &p->io);
    if (pos < p->n / 2 || pos + 1 >= p->n)
        return;
    double max = -INFINITY, sum = 0;
    size_t best = 0;
    for (size_t i = 0; i < n; i++)
        if ((double)logits[i] > max) {
            max = (double)logits[i];
            best = i;
        }
    for (size_t i = 0; i < n; i++)
        sum += exp((double)logits[i] - max);
    double nll = max + log(sum) - (double)logits[p->tok[pos + 1]];
    p->nll += nll;
    p->nll2 += nll * nll;
    p->scored++;
    p->top1 += best == (size_t)p->tok[pos + 1];
}

static int window(struct perplexity *p, struct engine *en, struct err *e)
{
    struct cli_job j = {.user = p};
    j.r = (struct request){.id = 1, .prompt = p->tok, .n_prompt = p->n, .top_p = 1,
                           .on_logits = on_logits,
                           .logits_from = p->logits ? 0 : p->n / 2};
    TRY(cli_run(en, &j, e));
    if (p->io.code) {
        *e = p->io;
        return e->code;
    }
    return 0;
}

static void report(const struct perplexity *p, int done, int all, int64_t t0, bool end)
{
    double mean = p->scored ? p->nll / (double)p->scored : NAN;
    double var = p->scored > 1 ? (p->nll2 / (double)p->scored - mean * mean) / (double)(p->scored - 1) : NAN;
    FILE *to = end && !(p->logits && outfile_is_stdout(p->logits)) ? stdout : stderr;
    fprintf(to, "%swindow %d/%d: perplexity %.4f +- %.4f, %ld tokens, top-1 %.2f %%, %.1f s%s",
            end ? "" : "\r", done, all, exp(mean), exp(mean) * sqrt(var), p->scored,
            100.0 * p->top1 / (double)(p->scored ? p->scored : 1), (double)(clock_ns() - t0) / 1e9,
            end ? "\n" : "");
    if (!end)
        fflush(to);
}

static int measure(struct perplexity *p, struct engine *en, struct token_list *tok, struct err *e)
{
    int ctx = engine_info(en)->n_ctx;
    p->n_vocab = engine_info(en)->n_vocab;
    if (tok->n < 4)
        FAIL(e, ERR_DATA, "the text is only %zu tokens; at least 4 are needed", tok->n);
    int all = (int)(tok->n / (size_t)ctx), n = ctx;
    if (!all) { /* a short text is one short window */
        all = 1;
        n = (int)tok->n;
    }
    all = p->chunks && p->chunks < all ? p->chunks : all;
    int64_t t0 = clock_ns();
    for (int i = 0; i < all; i++) {
        p->tok = tok->id + (size_t)i * (size_t)n;
        p->n = n;
        TRY(window(p, en, e));
        if (!p->ce.quiet && isatty(STDERR_FILENO))
            report(p, i + 1, all, t0, false);
    }
    if (!p->ce.quiet && isatty(STDERR_FILENO))
        fprintf(stderr, "\r%90s\r", "");
    report(p, all, all, t0, true);
    return 0;
}

static int perplexity(struct perplexity *p, struct err *e)
{
    int rc = 0;
    struct str text = STR_INIT;
    struct token_list tok = {0};
    struct engine *en = NULL;
    TRY_DONE(cli_bytes_text(p->prompt, p->file, &text, e));
    if (p->logits_path)
        TRY_DONE(outfile_open(p->logits_path, 0, &p->logits, e));
    TRY_DONE(cli_engine_open(&p->ce, &en, e));
    TRY_DONE(tokenizer_encode(engine_tokenizer(en), text.s, text.len, TOK_BOS, &tok, e));
    TRY_DONE(measure(p, en, &tok, e));
done:
    engine_close(en);
    if (p->logits && rc == 0)
        rc = outfile_commit(p->logits, e);
    else
        outfile_abandon(p->logits);
    token_list_free(&tok);
    str_free(&text);
    return rc;
}

static int run(int argc, char **argv)
{
    static const struct argp_child children[] = {{&cli_engine_argp, 0, "Model and machine:", 10}, {0}};
    static const struct argp argp = {options, parse, NULL,
                                     "Measures how well a model predicts a text.", children, NULL, NULL};
    struct perplexity p = {.ce = {.opt = {.kv_fmt = FMT_F16, .n_seq = 1, .n_ctx = 512, .no_prefix_cache = true}}};
    int done = cli_parse(&argp, argc, argv, &p);
    if (done >= 0)
        return done;
    struct err e = {0};
    return perplexity(&p, &e) < 0 ? cmd_fail(&e) : 0;
}

const struct cmd cmd_perplexity = {
    "perplexity", "measure how well a model predicts a text",
    "mas perplexity -m model.gguf -f text.txt --ctx 2048\n"
    "mas perplexity -m model.gguf -p 'a short text' --logits-out logits.f32\n",
    run};
