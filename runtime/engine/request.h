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

/*
 * The thinking of a request: a block of free text before its reply. The prompt has opened the block
 * already. Nothing constrains the block, and only these ends stop it:
 *
 *   the model writes `close`     the engine adds `after`, unless the last token goes on after close
 *   the budget of `max` is used  the engine adds `end`
 *   an end token (EOS, ..)       is dropped, and the engine adds `end`
 *
 * Tokens that the engine adds stand in out and belong to the block. Their log-probability is NaN.
 * The reply begins after them, with its grammar and its own limit of max_new.
 */
struct request_think {
    int max;           /* budget: tokens of the block that the model chooses; 0 = no block */
    const char *close; /* (n_close) bytes; may end anywhere in a token, and span several */
    int n_close;
    const int32_t *end, *after; /* (n_end) >= 1, (n_after) */
    int n_end, n_after;
};
#define THINK_CLOSE_MOST 64 /* bytes of close */
#define THINK_ADDED_MOST 64 /* tokens of end, of after */

enum thought {                 /* the end of the block */
               THOUGHT_NONE,   /* the request has no block */
               THOUGHT_OPEN,   /* not ended: the request still runs, was cancelled or failed */
               THOUGHT_CLOSED, /* by the model */
               THOUGHT_CUT,    /* by the budget */
               THOUGHT_EOS,    /* the model ended its turn within the block */
};
const char *thought_name(enum thought t); /* "none", "open", "closed", "cut", "eos" */

struct token_lp { /* a token and its log-probability */
    int32_t id;   /* -1 = none; then lp is NaN */
    float lp;
};
#define REQUEST_TOP_MOST 20 /* of n_top */

struct token_bias {
    int32_t id;
    float bias; /* -100 to 100 */
};
#define REQUEST_BIAS_MOST 1024 /* of n_bias; biases of one token add up */

/*
 * A letter in a reply under a grammar, whose distribution is wanted: the first one after the bytes
 * of `after`. The result stands in lp when the model, not the closer, has written the letter. The
 * tokens are those that the grammar allows at this place. For letter i of 'A', 'B', ..:
 *
 *   lp[i] = log(sum of p(token) over the tokens that write i / the same over all letters)
 *
 * p is the probability at T = 1 before the changes of logits. Only the drawn tokens before the
 * place matter. A letter that no allowed token writes has -inf.
 */
struct request_choice {
    const char *after; /* (n_after) >= 1 bytes, lent */
    int n_after;
    int n;      /* letters, to REQUEST_CHOICE_MOST; 0 = no choice is wanted */
    double *lp; /* (n) out: the caller's buffer */
    bool made;  /* out: lp is set */
};
#define REQUEST_CHOICE_MOST 26

struct request {
    /* in */
    uint64_t id; /* names the random stream together with seed */
    uint64_t seed;
    /* lower ranks are served first, equal ranks in order of arrival; changes no result */
    uint32_t rank;
    const int32_t *prompt; /* (n_prompt) >= 1 */
    int n_prompt;
    int max_new; /* tokens of the reply; 0 = scoring only */
    struct request_think think;
    float temperature, top_p, min_p;
    int top_k;
    bool ignore_eos;               /* benchmarks */
    const struct grammar *grammar; /* NULL = free text */
    /*
     * Changes of the logits before temperature and filters; a grammar's mask holds after them. All
     * are off when 0. For a token with logit x, in this order (f32):
     *
     *   x > 0 ? x / repeat_penalty : x * repeat_penalty, if the token is among the last
     *       repeat_last_n tokens of prompt and out (-1 = all; 0 = off)
     *   x + (bias - (count * frequency_penalty + presence_penalty))
     *
     * count: occurrences in out so far, the block of thinking included; without any, both penalties
     * are 0. Log-probabilities in the results are those before these changes.
     */
    const struct token_bias *bias; /* (n_bias) */
    int n_bias;
    float presence_penalty, frequency_penalty; /* -2 to 2 */
    float repeat_penalty;                      /* 0.01 to 100; 0 and 1 = off */
    int repeat_last_n;
    /* Tokens listed at each position of out_top and prompt_top: 0 = none, to REQUEST_TOP_MOST. They
     * are the most probable ones at T = 1, unmasked, in order of their logits, lower ids first on
     * ties. Rows have NULL tokens (id -1) at places that the model did not compute. */
    int n_top;
    struct request_choice choice;
    /* Scores the prompt from this position on, if prompt_lp or prompt_top is given. Then max_new
     * and n_cont may both be 0. Not together with on_logits. */
    int prompt_lp_from;
    /* Scoring: log-probability of each continuation after the prompt, sum over its tokens. The
     * prompt is computed once for all continuations. n_cont > 0 needs max_new == 0. */
    const int32_t *const *cont;
    const int *cont_len; /* each >= 1 */
    int n_cont;
    /* Raw logits, for perplexity and comparisons: called on the engine thread for every prompt
     * position >= logits_from with the row (n_vocab) f32, in order. NULL = none. */
    void (*on_logits)(struct request *r, int pos, const float *logits);
    int logits_from;
    /* Every token of out, in order, on the engine thread. It belongs to the block of thinking if
     * n_think == n_out. Its values stand in out_lp and out_top, and those of the prompt are
     * complete. May be NULL. */
    void (*on_token)(struct request *r, int32_t id, float logprob);
    /* Exactly once after a successful submit, last access by the engine. */
    void (*done)(struct request *r);
    void *user;
    /* out */
    int32_t *out;  /* (request_most) caller's buffer: the block of thinking, then the reply */
    float *out_lp; /* (request_most) or NULL: log-probability of each token at T = 1, unmasked */
    struct token_lp *out_top; /* (request_most, n_top) or NULL */
    /* (n_prompt) or NULL: log-probability of each prompt token after those before it; NaN for the
     * first one and before prompt_lp_from. The same float as out_lp of that token there. */
    float *prompt_lp;
    struct token_lp *prompt_top; /* (n_prompt, n_top) or NULL: as prompt_lp */
    int n_out;
    int n_think; /* the first tokens of out: the block, its end included */
    enum thought thought;
    /* tokens of the reply that the model chose; fewer than n_out - n_think under FINISH_CLOSED
     * only */
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

/* True when r asks for results of its prompt's tokens. */
bool request_scores_prompt(const struct request *r);
/* Most tokens that out receives. */
int64_t request_most(const struct request *r);

#endif
