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
    bool shown;   /* the progress of the context is a line on standard error */
};

/* "pp512", "tg128", "tg128 x 4", "tg128 @ d8192" */
void speed_name(const struct speed_test *t, char out[48]);
int speed_tokens(const struct speed_test *t); /* that the speed counts */
/* Steps inside the measured time of runs, and the sequences with rows in each, added up. */
struct speed_width {
    uint64_t steps, sequences;
};
double speed_mean_width(const struct speed_width *w); /* sequences of a step; 0 without steps */

/* Runs the test once, with all its sequences submitted before the first step. Equal seeds give
 * equal tokens; those of the context are always the same. Adds the run's steps to *w. ERR_NOMEM if
 * the cache could not hold the context. */
int speed_run(struct engine *en, const struct speed_test *t, uint64_t seed, double *seconds,
              struct speed_width *w, struct err *e);
/* Runs the test once with few tokens, so that memory and kernels are ready. */
int speed_warm(struct engine *en, const struct speed_test *t, struct err *e);

/* Says on standard error that fewer sequences ran together than the test asks for, and names the
 * options that help. Only when the KV cache has too few pages for all of them. Other reasons are no
 * fault of the settings: sequences with drafts end at different times. */
void speed_say_width(const struct engine *en, const struct speed_test *t,
                     const struct speed_width *w);

/* ERR_USAGE: a step of batch_tokens tokens cannot have one of each of `parallel` sequences. The
 * engine would make all steps larger, those of prompts too. */
int speed_check_batch(int batch_tokens, int parallel, struct err *e);

/* Puts options of the tests into the advice of an error: --ctx and --sequences are none of the
 * commands that run tests. depth, prompt, gen: the most tokens of -d, -p and -n. lengths: the
 * command's options of these, such as "-p/-n". */
void speed_advice(struct err *e, int depth, int prompt, int gen, const char *lengths);

#endif
