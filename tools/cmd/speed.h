/*
 * speed: the two tests of a model's speed, on random tokens. mas bench model and mas profile run
 * them.
 *
 *   ppN   a prompt of N tokens: the time until its first token
 *   tgN   N tokens for each of `parallel` sequences, after one token of prompt
 *
 * Both with `depth` tokens of context before them, whose keys and values lie in the cache. They are
 * computed before the time begins, so the engine needs its prefix cache.
 */
#ifndef MAS_SPEED_H
#define MAS_SPEED_H

#include "engine.h"

struct speed_test {
    int prompt;   /* of pp; 0 = tg */
    int gen;      /* of tg; 0 = pp */
    int parallel; /* sequences of tg */
    int depth;    /* a multiple of the page's tokens */
};

/* "pp512", "tg128", "tg128 x 4", "tg128 @ d8192" */
void speed_name(const struct speed_test *t, char out[48]);
int speed_tokens(const struct speed_test *t); /* that the speed counts */
/* Runs the test once. Equal seeds give equal tokens; those of the context are always the same.
 * ERR_NOMEM if the cache could not hold the context. */
int speed_run(struct engine *en, const struct speed_test *t, uint64_t seed, double *seconds,
              struct err *e);
/* Runs the test once with few tokens, so that memory and kernels are ready. */
int speed_warm(struct engine *en, const struct speed_test *t, struct err *e);

/* Says on standard error if fewer sequences ran together than the test asks for. That happens when
 * the KV cache has no room, or when the placement serves one sequence. The number is the mean of
 * the steps between two readings of engine_stats. */
void speed_say_width(const struct speed_test *t, const struct engine_stats *before,
                     const struct engine_stats *after);

#endif
