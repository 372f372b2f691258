/*
 * request: one generation or one scoring that a caller asks of the engine.
 *
 * The caller owns a request and its buffers. It lends them to the engine from engine_submit to
 * done(). Only the engine writes to them in between.
 */
#ifndef MAS_REQUEST_H
#define MAS_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

struct grammar; /* grammar.h */

enum finish {
    FINISH_NONE,   /* still running */
    FINISH_STOP,   /* end-of-turn token or the grammar's end */
    FINISH_LENGTH, /* max_new reached: the reply is cut */
    /* max_new near, under a grammar: the shortest valid text closed the reply */
    FINISH_CLOSED,
    FINISH_CANCEL,
    FINISH_ERROR, /* see request.err */
};
const char *finish_name(enum finish f);

struct request {
    /* in */
    uint64_t id; /* names the random stream together with seed */
    uint64_t seed;
    /* lower ranks are served first, equal ranks in order of arrival; changes no result */
    uint32_t rank;
    const int32_t *prompt; /* (n_prompt) >= 1 */
    int n_prompt;
    int max_new; /* 0 = scoring only */
    float temperature, top_p, min_p;
    int top_k;
    bool ignore_eos;               /* benchmarks */
    const struct grammar *grammar; /* NULL = free text */
    /* Scoring: log-probability of each continuation after the prompt, sum over its tokens. The
     * prompt is computed once for all continuations. n_cont > 0 needs max_new == 0. */
    const int32_t *const *cont;
    const int *cont_len; /* each >= 1 */
    int n_cont;
    /* Raw logits, for perplexity and comparisons: called on the engine thread for every prompt
     * position >= logits_from with the row (n_vocab) f32, in order. NULL = none. */
    void (*on_logits)(struct request *r, int pos, const float *logits);
    int logits_from;
    /* Every sampled token, in order, on the engine thread. May be NULL. */
    void (*on_token)(struct request *r, int32_t id, float logprob);
    /* Exactly once after a successful submit, last access by the engine. */
    void (*done)(struct request *r);
    void *user;
    /* out */
    int32_t *out;  /* (max_new) caller's buffer */
    float *out_lp; /* (max_new) or NULL: log-probability of each token at T = 1, unmasked */
    int n_out;
    /* tokens of out that the model chose; fewer than n_out under FINISH_CLOSED only */
    int n_own;
    double *cont_lp; /* (n_cont) caller's buffer */
    enum finish finish;
    struct err err;            /* for FINISH_ERROR */
    int n_cached;              /* prompt tokens taken from the prefix cache */
    int n_pass;                /* steps that gave tokens of the reply */
    int n_drafted, n_accepted; /* draft tokens that steps verified, and accepted ones */
    int64_t t_submit_ns, t_first_ns, t_done_ns; /* clock_ns; t_first_ns: first token or score */
    void *engine_slot;                          /* the engine's */
};

#endif
