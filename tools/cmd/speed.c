#include "speed.h"

#include <stdio.h>
#include <string.h>

#include "advice.h"
#include "cli.h"
#include "clock.h"
#include "mem.h"
#include "rng.h"

enum { WARM_TOKENS = 8, WARM_SEED = 999, DEPTH_SEED = 1000003 };

void speed_name(const struct speed_test *t, char out[48])
{
    if (t->gen && t->parallel > 1)
        snprintf(out, 48, "tg%d x %d", t->gen, t->parallel);
    else
        snprintf(out, 48, "%s%d", t->gen ? "tg" : "pp", t->gen ? t->gen : t->prompt);
    if (t->depth)
        snprintf(out + strlen(out), 48 - strlen(out), " @ d%d", t->depth);
}

int speed_tokens(const struct speed_test *t)
{
    return t->gen ? t->gen * t->parallel : t->prompt;
}

struct speed_jobs {
    int n, prompt; /* sequences; tokens of a prompt, the context included */
    struct cli_job *job;
    int32_t *tok, *out;
};

static void speed_jobs_free(struct speed_jobs *j)
{
    mem_free(j->job);
    mem_free(j->tok);
    mem_free(j->out);
}

static int speed_jobs_make(struct engine *en, const struct speed_test *t, uint64_t seed,
                           struct speed_jobs *j, struct err *e)
{
    const int own = t->prompt ? t->prompt : 1;
    const uint32_t vocab = (uint32_t)engine_info(en)->n_vocab;
    j->n = t->gen ? t->parallel : 1;
    j->prompt = t->depth + own;
    j->job = mem_zalloc((size_t)j->n, sizeof *j->job);
    j->tok = mem_zalloc((size_t)j->n * (size_t)j->prompt, sizeof *j->tok);
    j->out = mem_zalloc((size_t)j->n * (size_t)(t->gen + 1), sizeof *j->out);
    if (!j->job || !j->tok || !j->out)
        return NOMEM(e, (size_t)j->n * (size_t)j->prompt * sizeof *j->tok, "benchmark");
    for (int i = 0; i < j->n; i++) {
        int32_t *tok = j->tok + (size_t)i * (size_t)j->prompt;
        for (int k = 0; k < t->depth; k++)
            tok[k] = (int32_t)rng_below(DEPTH_SEED, (uint64_t)i << 32 | (uint64_t)k, vocab);
        for (int k = 0; k < own; k++)
            tok[t->depth + k] = (int32_t)rng_below(seed, (uint64_t)(i * own + k), vocab);
        j->job[i].r = (struct request){.id = (uint64_t)i,
                                       .seed = seed,
                                       .prompt = tok,
                                       .n_prompt = j->prompt,
                                       .max_new = t->gen ? t->gen : 1,
                                       .top_p = 1,
                                       .ignore_eos = true,
                                       .out = j->out + (size_t)i * (size_t)(t->gen + 1)};
    }
    return 0;
}

/* The progress of a context: a line that is overwritten. */
struct speed_progress {
    struct engine *en;
    const struct speed_test *test;
    int n;           /* sequences */
    uint64_t before; /* tokens of prompts that the engine had before */
};

static uint64_t prompt_tokens(struct engine *en)
{
    struct engine_stats now;
    engine_stats(en, &now);
    return now.prompt_tokens + now.cached_tokens;
}

static void show_context(void *user)
{
    const struct speed_progress *p = user;
    const double all = (double)p->n * p->test->depth,
                 done = (double)(prompt_tokens(p->en) - p->before);
    fprintf(stderr, "\rcontext of %d x %d tokens: %3.0f %% ", p->n, p->test->depth,
            100 * (done < all ? done / all : 1));
    fflush(stderr);
}

static int run_shown(struct engine *en, const struct speed_test *t, struct speed_jobs *j,
                     struct err *e)
{
    struct speed_progress p = {.en = en, .test = t, .n = j->n, .before = prompt_tokens(en)};
    show_context(&p);
    const int rc = cli_run_watched(en, j->job, j->n, show_context, &p, e);
    fprintf(stderr, "\r%78s\r", "");
    fflush(stderr);
    return rc;
}

/* Computes the context of each sequence, whose pages stay in the prefix cache. */
static int speed_fill(struct engine *en, const struct speed_test *t, struct speed_jobs *j,
                      struct err *e)
{
    for (int i = 0; i < j->n; i++) {
        j->job[i].r.n_prompt = t->depth;
        j->job[i].r.max_new = 1;
    }
    TRY(t->shown ? run_shown(en, t, j, e) : cli_run_all(en, j->job, j->n, e));
    for (int i = 0; i < j->n; i++) {
        j->job[i].r.n_prompt = j->prompt;
        j->job[i].r.max_new = t->gen ? t->gen : 1;
    }
    return 0;
}

static int speed_time(struct engine *en, const struct speed_test *t, struct speed_jobs *j,
                      double *seconds, struct speed_width *w, struct err *e)
{
    struct engine_stats before, after;
    char name[48];
    if (t->depth)
        TRY(speed_fill(en, t, j, e));
    engine_stats(en, &before);
    const int64_t t0 = clock_ns();
    TRY(cli_run_all(en, j->job, j->n, e));
    *seconds = (double)(clock_ns() - t0) / 1e9;
    engine_stats(en, &after);
    w->steps += after.steps - before.steps;
    w->sequences += after.sequences - before.sequences;
    for (int i = 0; i < j->n; i++)
        if (j->job[i].r.n_cached < t->depth) {
            speed_name(t, name);
            FAIL(e, ERR_NOMEM,
                 "%s: the KV cache kept %d of %d tokens of a sequence's context; raise --kv-bytes, "
                 "or lower -d or --parallel",
                 name, j->job[i].r.n_cached, t->depth);
        }
    return 0;
}

int speed_run(struct engine *en, const struct speed_test *t, uint64_t seed, double *seconds,
              struct speed_width *w, struct err *e)
{
    struct speed_jobs j = {0};
    int rc = speed_jobs_make(en, t, seed, &j, e);
    if (rc == 0)
        rc = speed_time(en, t, &j, seconds, w, e);
    speed_jobs_free(&j);
    return rc;
}

int speed_warm(struct engine *en, const struct speed_test *t, struct err *e)
{
    struct speed_test warm = *t;
    struct speed_width w = {.steps = 0};
    double seconds;
    warm.gen = t->gen > WARM_TOKENS ? WARM_TOKENS : t->gen;
    return speed_run(en, &warm, WARM_SEED, &seconds, &w, e);
}

double speed_mean_width(const struct speed_width *w)
{
    return w->steps ? (double)w->sequences / (double)w->steps : 0;
}

void speed_say_width(const struct engine *en, const struct speed_test *t,
                     const struct speed_width *w)
{
    const struct engine_info *in = engine_info(en);
    const double width = speed_mean_width(w);
    /* one token of prompt and all but the last new one are stored after the context */
    const int64_t each = (t->depth + t->gen + in->page_tokens - 1) / in->page_tokens,
                  pages = each * t->parallel;
    char name[48];
    if (!t->gen || t->parallel < 2 || width > 0.9 * t->parallel || pages <= in->n_page)
        return;
    speed_name(t, name);
    fprintf(stderr,
            "mas: %s: on average %.1f of %d sequences ran together: they need %lld pages of %d "
            "tokens, and the KV cache has %d; raise --kv-bytes%s\n",
            name, width, t->parallel, (long long)pages, in->page_tokens, in->n_page,
            in->plan->n_device ? ", --vram or --ram, or use --placement throughput" : " or --ram");
}

int speed_check_batch(int batch_tokens, int parallel, struct err *e)
{
    if (parallel > batch_tokens)
        FAIL(e, ERR_USAGE,
             "--parallel %d with steps of at most %d tokens: a step has a token of each sequence; "
             "raise --batch-tokens to %d or lower --parallel",
             parallel, batch_tokens, parallel);
    return 0;
}

void speed_advice(struct err *e, int depth, int prompt, int gen, const char *lengths)
{
    const struct advice_option own[] = {
        {"--ctx", lengths}, {"--sequences", "--parallel"}, {NULL, NULL}};
    const bool pp = prompt >= gen;
    char text[160] = "";
    if (depth)
        snprintf(text, sizeof text, "lower -d %d or %s %d: a test takes both and one token more",
                 depth, pp ? "-p" : "-n", pp ? prompt : gen);
    else
        snprintf(text, sizeof text, "lower %s %d: a test takes one token more", pp ? "-p" : "-n",
                 pp ? prompt : gen);
    advice_instead(e, "set --ctx", text);
    advice_as_options(e, own);
}
