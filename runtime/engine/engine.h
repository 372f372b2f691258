/*
 * engine: a loaded model that serves many generations at once. The façade of the runtime.
 *
 * One thread inside owns device, model, KV pool and scheduler. Other threads submit requests
 * through one queue. A request's callback reports its end. The callback runs on the engine thread:
 * it must not block, and it may call engine_submit. All calls are thread-safe.
 *
 * A result depends only on the model file, the backend, and the request: its prompt, parameters,
 * seed and id. It never depends on other requests, arrival order, thread count, page size, prefix
 * cache, drafts, streaming or restarts. Exception: if the CPU computes layers beside a device, the
 * result depends on their choice; cpu_layers fixes their number.
 */
#ifndef MAS_ENGINE_H
#define MAS_ENGINE_H

#include "chat.h"
#include "engine_stats.h"
#include "ops.h"
#include "plan.h"
#include "request.h"

struct engine;
struct tokenizer; /* tokenizer.h */

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

/* ERR_NOINPUT, ERR_DATA (model file), ERR_NODEV, ERR_NOMEM, ERR_USAGE (does not fit: names the
 * option). */
int engine_open(const struct engine_options *opt, struct engine **out, struct err *e);
void engine_close(struct engine *en); /* cancels all requests, waits, frees; accepts NULL */

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
    const struct plan *plan; /* the place of every part */
    double link_limit;       /* bytes/s, as asked for: figures are emulated; 0 = none */
};
const struct engine_info *engine_info(const struct engine *en); /* lives as long as en; constant but
                                                                   for model_sha256 */
const struct tokenizer *engine_tokenizer(const struct engine *en);
/* sha256 of the model file; reads it all the first time. Before other threads use en. */
int engine_hash(struct engine *en, char hex[65], struct err *e);

/* ERR_DATA naming both numbers when the prompt (+ max_new, + longest continuation) exceeds n_ctx,
 * or when a token id is out of range. ERR_CANCEL when the engine is closing. On failure done is not
 * called. */
int engine_submit(struct engine *en, struct request *r, struct err *e);
/* Fails with the ERR_DATA that engine_submit would give. Takes nothing. */
int engine_check(const struct engine *en, const struct request *r, struct err *e);
/* done follows, with FINISH_CANCEL or the earlier end */
void engine_cancel(struct engine *en, struct request *r);

/* Table of time by op since the last call, for an engine opened with `profile`. The engine must be
 * idle: done() has run for every submitted request. */
void engine_profile(struct engine *en, struct str *out);

void engine_stats(struct engine *en, struct engine_stats *out);

#endif
