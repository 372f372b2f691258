#include "speed.h"

#include <stdio.h>

#include "cli.h"
#include "clock.h"
#include "mem.h"
#include "rng.h"

enum { WARM_TOKENS = 8, WARM_SEED = 999 };

void speed_name(const struct speed_test *t, char out[32])
{
    if (t->gen && t->parallel > 1)
        snprintf(out, 32, "tg%d x %d", t->gen, t->parallel);
    else
        snprintf(out, 32, "%s%d", t->gen ? "tg" : "pp", t->gen ? t->gen : t->prompt);
}

int speed_tokens(const struct speed_test *t)
{
    return t->gen ? t->gen * t->parallel : t->prompt;
}

int speed_run(struct engine *en, const struct speed_test *t, uint64_t seed, double *seconds,
              struct err *e)
{
    int rc = 0, n = t->prompt ? t->prompt : 1, count = t->gen ? t->parallel : 1;
    uint32_t vocab = (uint32_t)engine_info(en)->n_vocab;
    struct cli_job *jobs = mem_zalloc((size_t)count, sizeof *jobs);
    int32_t *tok = mem_zalloc((size_t)count * (size_t)n, sizeof *tok);
    int32_t *out = mem_zalloc((size_t)count * (size_t)(t->gen + 1), sizeof *out);
    if (!jobs || !tok || !out) {
        rc = NOMEM(e, (size_t)count * (size_t)n * sizeof *tok, "benchmark");
        goto done;
    }
    for (int i = 0; i < count * n; i++)
        tok[i] = (int32_t)rng_below(seed, (uint64_t)i, vocab);
    for (int i = 0; i < count; i++)
        jobs[i].r = (struct request){.id = (uint64_t)i,
                                     .seed = seed,
                                     .prompt = tok + i * n,
                                     .n_prompt = n,
                                     .max_new = t->gen ? t->gen : 1,
                                     .top_p = 1,
                                     .ignore_eos = true,
                                     .out = out + (size_t)i * (size_t)(t->gen + 1)};
    int64_t t0 = clock_ns();
    TRY_DONE(cli_run_all(en, jobs, count, e));
    *seconds = (double)(clock_ns() - t0) / 1e9;
done:
    mem_free(jobs);
    mem_free(tok);
    mem_free(out);
    return rc;
}

int speed_warm(struct engine *en, const struct speed_test *t, struct err *e)
{
    struct speed_test warm = *t;
    double seconds;
    warm.gen = t->gen > WARM_TOKENS ? WARM_TOKENS : t->gen;
    return speed_run(en, &warm, WARM_SEED, &seconds, e);
}

void speed_say_width(const struct speed_test *t, const struct engine_stats *before,
                     const struct engine_stats *after)
{
    char name[32];
    const uint64_t steps = after->steps - before->steps;
    const double width = steps ? (double)(after->rows - before->rows) / (double)steps : 0;
    if (!t->gen || t->parallel < 2 || !steps || width > 0.9 * t->parallel)
        return;
    speed_name(t, name);
    fprintf(stderr,
            "mas: %s: on average %.1f of %d sequences ran together; raise --kv-bytes, --vram or "
            "--ram, or use --placement throughput\n",
            name, width, t->parallel);
}
