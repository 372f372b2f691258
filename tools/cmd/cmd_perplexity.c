/*
 * mas perplexity: the perplexity of a text. It counts as llama-perplexity does, so that figures can
 * be compared:
 *
 * - the text is cut into windows of n = --ctx tokens that do not overlap; a remainder is left out;
 * - if the file asks for BOS, BOS replaces the first token of each window;
 * - a window scores its tokens n/2 + 1 .. n - 1, each predicted from all tokens before it in the
 *   window;
 * - perplexity is exp of the mean of -log p of all scored tokens.
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
#include "target.h"
#include "tokenizer.h"

struct perplexity {
    struct cli_engine ce;
    const char *prompt, *file, *logits_path;
    int chunks;
    /* while it runs */
    struct outfile *logits;
    const int32_t *tok; /* the window */
    int n, n_vocab;
    int not_finite; /* a position of this window without a finite probability, -1 = none */
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
        argp_error(st, "unexpected argument '%s'; pass the text with -f", arg);
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
     "write the logits of every position of every window: raw f32, (positions, n_vocab), little "
     "endian",
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
    if (!isfinite(nll) && p->not_finite < 0)
        p->not_finite = pos;
    p->nll += nll;
    p->nll2 += nll * nll;
    p->scored++;
    p->top1 += best == (size_t)p->tok[pos + 1];
}

/* Window number i, from 0. */
static int window(struct perplexity *p, struct engine *en, int i, struct err *e)
{
    p->not_finite = -1;
    struct cli_job j = {.user = p};
    j.r = (struct request){.id = 1,
                           .prompt = p->tok,
                           .n_prompt = p->n,
                           .top_p = 1,
                           .on_logits = on_logits,
                           .logits_from = p->logits ? 0 : p->n / 2};
    TRY(cli_run(en, &j, e));
    if (p->io.code) {
        *e = p->io;
        return e->code;
    }
    if (p->not_finite >= 0)
        FAIL(e, ERR_DATA,
             "no perplexity: in window %d the logits at position %d give the next token no finite "
             "probability; look for NaN in the model's weights",
             i + 1, p->not_finite);
    if (!isfinite(exp(p->nll / (double)p->scored)))
        FAIL(e, ERR_DATA,
             "no perplexity: after window %d the mean negative log-probability is %g, whose "
             "exponential is no "
             "number; the model's weights may be damaged",
             i + 1, p->nll / (double)p->scored);
    return 0;
}

static void report(const struct perplexity *p, int done, int all, int64_t t0, bool end)
{
    double n = (double)p->scored, mean = p->nll / n; /* a window scores at least one token */
    double var = p->nll2 / n - mean * mean;
    char spread[40] = ""; /* that of the mean: one token has none */
    FILE *to = end && !(p->logits && outfile_is_stdout(p->logits)) ? stdout : stderr;
    if (p->scored > 1)
        snprintf(spread, sizeof spread, " +- %.4f", exp(mean) * sqrt(fmax(0, var) / (n - 1)));
    fprintf(to, "%swindow %d/%d: perplexity %.4f%s, %ld tokens, top-1 %.2f %%, %.1f s%s",
            end ? "" : "\r", done, all, exp(mean), spread, p->scored, 100.0 * p->top1 / n,
            (double)(clock_ns() - t0) / 1e9, end ? "\n" : "");
    if (!end)
        fflush(to);
}

static int measure(struct perplexity *p, struct engine *en, struct token_list *tok, struct err *e)
{
    const struct tokenizer *t = engine_tokenizer(en);
    const int n = engine_info(en)->n_ctx;
    const bool bos = tok->n && tok->id[0] == tokenizer_bos(t); /* text alone never becomes BOS */
    if (n - 1 - n / 2 < 1)
        FAIL(e, ERR_USAGE, "a window of %d tokens scores none; set --ctx to 3 or more", n);
    if (tok->n < (size_t)n)
        FAIL(e, ERR_DATA, "the text has %zu tokens, a window %d; give a longer text or lower --ctx",
             tok->n, n);
    int64_t most = (int64_t)(tok->n / (size_t)n);
    int all = p->chunks && p->chunks < most ? p->chunks : (int)most;
    p->n_vocab = engine_info(en)->n_vocab;
    p->n = n;
    int64_t t0 = clock_ns();
    for (int i = 0; i < all; i++) {
        int32_t *id = tok->id + (size_t)i * (size_t)n;
        if (bos)
            id[0] = tokenizer_bos(t); /* scored by no window */
        p->tok = id;
        TRY(window(p, en, i, e));
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
    const char *const input[] = {p->file, p->ce.opt.model};
    const struct target logits = {"--logits-out", p->logits_path, VIEWFILE_PICTURE};
    TRY_DONE(target_check(&logits, 1, input, 2, TARGET_FORCED, e)); /* of any kind */
    TRY_DONE(cli_bytes_text(p->prompt, p->file, &text, e));
    if (p->file && text.len && text.s[text.len - 1] == '\n')
        text.len--; /* as llama-perplexity reads a file */
    if (p->logits_path)
        TRY_DONE(outfile_open(p->logits_path, 0, &p->logits, e));
    TRY_DONE(cli_engine_open(&p->ce, &en, e));
    TRY_DONE(tokenizer_encode(engine_tokenizer(en), text.s, text.len, TOK_BOS, &tok, e));
    TRY_DONE(measure(p, en, &tok, e));
done:
    cli_engine_close(&p->ce, en);
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
    static const struct cli_row own[] = {
        {.flag = "ctx", .doc = "Tokens of a window.", .otherwise = "512"},
        {.flag = "no-prefix-cache", .absent = true}}; /* there is no cache */
    struct perplexity p = {0};
    const struct argp_child children[] = {{&p.ce.rows.argp, 0, "Model and machine:", 10}, {0}};
    const struct argp argp = {
        options,
        parse,
        NULL,
        "Measures how well a model predicts a text. Counts as llama-perplexity does: "
        "the text is cut into windows of --ctx tokens that do not overlap, and a "
        "remainder is left out. BOS stands in place of the first token of each window if the "
        "model's file asks for BOS. Each window scores the tokens after its middle, n - n/2 - 1 "
        "of n. One newline at the end of a file is not part of the text.",
        children,
        NULL,
        NULL};
    cli_engine_init(&p.ce, own, sizeof own / sizeof own[0]);
    p.ce.opt.n_seq = 1;
    p.ce.opt.no_prefix_cache = true;
    int done = cli_parse(&argp, argc, argv, &p);
    if (done >= 0)
        return done;
    struct err e = {0};
    return perplexity(&p, &e) < 0 ? cmd_fail(&e) : 0;
}

const struct cmd cmd_perplexity = {"perplexity", "measure how well a model predicts a text",
                                   "mas perplexity -m model.gguf -f text.txt --ctx 2048\n"
                                   "mas perplexity -m model.gguf -p 'a short text of nine tokens' "
                                   "--ctx 9 --logits-out logits.f32\n",
                                   run};
