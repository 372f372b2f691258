/*
 * engine: a loaded model that serves many generations at once. The façade of the runtime.
 *
 * One thread inside owns device, model, KV pool and scheduler. Others submit requests through one
 * queue and hear back through the request's callback, which runs on the engine thread and must only
 * hand the news on (it must not block and may call engine_submit). All calls are thread-safe.
 *
 * What a request gets depends only on (model file, backend, prompt, its parameters, seed, id):
 * never on what else runs, on arrival order, thread count, page size, prefix cache, guesses ahead,
 * streaming or restarts. (Where the CPU computes layers beside a device it depends on which ones:
 * cpu_layers fixes their number.)
 */
#ifndef MAS_ENGINE_H
#define MAS_ENGINE_H

#include "chat.h"
#include "grammar.h"
#include "ops.h"
#include "plan.h"
#include "tokenizer.h"

struct engine;

struct engine_options {
    const char *model;   /* path, or "demo" */
    const char *backend; /* ops_open kind; NULL = "auto" */
    struct ops_options ops;
    int n_ctx; /* longest prompt + reply, tokens; 0 = the model's own limit up to 4,096 */
    /* sequences computed together; 0 = as many as make a batch fast: 64, on a device as many as its
     * KV cache holds of 900 tokens, 16 to 256 */
    int n_seq;
    int batch_tokens; /* rows of one step, prefill chunks included; 0 = 512 */
    int page_tokens;  /* KV page; 0 = 32 */
    /* FMT_F16, FMT_Q8_0, FMT_Q4_0; FMT_F32 (= 0) for comparisons with float32 oracles */
    enum fmt kv_fmt;
    /* size of the pool; 0 = n_seq contexts of n_ctx (at most half of memory), where n_seq is 0 and
     * there is no device 16 of them: sequences are admitted by pages, and few fill their context */
    uint64_t kv_bytes;
    bool no_prefix_cache;
    /* pages of the prefix cache and of preempted sequences go to the host where the pool has no
     * room */
    enum plan_swap swap;
    uint64_t swap_bytes; /* memory for them; 0 = what the plan says */
    /* Guessing tokens ahead (speculate.h). Changes no result. */
    int max_draft; /* guesses of a sequence in one step, at most 64; 0 = none */
    /* second choices of the draft model that a sequence follows beside its guesses, 0 to 4 */
    int max_branch;
    bool lookup;             /* guess from the prompt and from earlier replies */
    const char *draft_model; /* and by this model, a path or "demo"; NULL or "" = by none */
    bool always_draft;       /* also where guessing does not pay: for tests */
    double spoil_drafts;     /* 0 to 1, share of guesses made wrong: for simulations */
    /* run decode steps op by op also where the backend can record and replay them */
    bool no_record;
    bool profile; /* measure the time of every op (engine_profile) */
    /* Where weights lie when a device cannot hold all of them (plan.h); without a device not looked
     * at. */
    enum plan_mode placement;
    bool cpu_layers_set; /* cpu_layers is given; else the mode decides */
    int cpu_layers;      /* layers whose feed-forward part the CPU computes */
    uint64_t ram_bytes;  /* memory of the host that weights may take; 0 = what is available */
    /* without a device: use weights as they lie in the page cache, never copy (plan.h) */
    bool map_weights;
    double link_limit;              /* bytes/s, 0 = none: emulates a slower link */
    const struct plan_rates *rates; /* of the machine; NULL = measured when they are needed */
    void (*progress)(uint64_t done, uint64_t total, void *user); /* loading, bytes; may be NULL */
    void *user;
};

/* ERR_NOINPUT, ERR_DATA (model file), ERR_NODEV, ERR_NOMEM, ERR_USAGE (does not fit: the knob). */
int engine_open(const struct engine_options *opt, struct engine **out, struct err *e);
void engine_close(struct engine *en); /* cancels what runs, waits, frees; accepts NULL */

struct engine_info {
    const char *path;        /* of the model file */
    const char *arch, *name; /* general.architecture, general.name ("" if absent) */
    const char *backend, *device;
    char model_sha256[65]; /* "" until engine_hash */
    uint64_t model_bytes, n_params;
    int n_layer, n_embd, n_head, n_kv_head, head_dim, n_ff, n_vocab, n_ctx_train;
    int n_ctx, n_seq, batch_tokens, page_tokens, n_page;
    enum fmt kv_fmt;
    enum chat_kind chat;
    const struct plan *plan; /* where everything lies */
    double link_limit;       /* bytes/s, as asked for: figures are emulated; 0 = none */
};
const struct engine_info *engine_info(const struct engine *en); /* lives as long as en; constant but
                                                                   for model_sha256 */
const struct tokenizer *engine_tokenizer(const struct engine *en);
/* sha256 of the model file; reads it all the first time. Before other threads use en. */
int engine_hash(struct engine *en, char hex[65], struct err *e);

enum finish {
    FINISH_NONE,   /* still running */
    FINISH_STOP,   /* end-of-turn token or the grammar's end */
    FINISH_LENGTH, /* max_new reached: the reply is cut */
    /* max_new came near under a grammar: the reply was closed validly by the shortest text */
    FINISH_CLOSED,
    FINISH_CANCEL,
    FINISH_ERROR, /* see request.err */
};
const char *finish_name(enum finish f);

/* One generation, or one scoring. Owned by the caller, lent to the engine from submit to done. */
struct request {
    /* in */
    uint64_t id; /* names the random stream together with seed */
    uint64_t seed;
    /* lower ones are served first, equal ones in order of their coming; changes no result */
    uint32_t rank;
    const int32_t *prompt; /* (n_prompt) >= 1 */
    int n_prompt;
    int max_new; /* 0 = scoring only */
    float temperature, top_p, min_p;
    int top_k;
    bool ignore_eos;               /* benchmarks */
    const struct grammar *grammar; /* NULL = free text */
    /* Scoring: log-probability of each continuation after the prompt, sum over its tokens. The
     * prompt is computed once for all. n_cont > 0 needs max_new == 0. */
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
    int n_drafted, n_accepted; /* guesses that steps verified, and those that came true */
    int64_t t_submit_ns, t_first_ns, t_done_ns; /* clock_ns; t_first: first token or score */
    void *engine_slot;                          /* the engine's */
};

/* ERR_DATA naming both numbers when the prompt (+ max_new, + longest continuation) exceeds n_ctx or
 * a token id is out of range; ERR_CANCEL when the engine is closing. On failure done is not
 * called. */
int engine_submit(struct engine *en, struct request *r, struct err *e);
/* The ERR_DATA that engine_submit would give; nothing is taken. */
int engine_check(const struct engine *en, const struct request *r, struct err *e);
/* done follows, FINISH_CANCEL or earlier */
void engine_cancel(struct engine *en, struct request *r);

/* Table of time by op since the last call, for an engine opened with `profile` that is idle: every
 * request submitted so far has had its done(). */
void engine_profile(struct engine *en, struct str *out);

struct engine_stats { /* totals since open */
    uint64_t prompt_tokens, cached_tokens, new_tokens, steps, rows;
    double busy_seconds; /* inside steps */
    int running, waiting, pages_used, pages_cached, pages_free;
    int most_pages_used;
    /* of the prefix cache: looked up, and forgotten for lack of room */
    uint64_t pages_found, pages_missed, pages_evicted;
    uint64_t pages_swapped_out, pages_swapped_in; /* to the host, and back */
    uint64_t preempted;
    uint64_t drafted, accepted; /* guesses verified, and come true */
    uint64_t branched;          /* passes that went on along a branch */
};
void engine_stats(struct engine *en, struct engine_stats *out);

#endif
