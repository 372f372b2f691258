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
#include "engine_options.h"
#include "engine_stats.h"
#include "ops.h"
#include "plan.h"
#include "request.h"

struct engine;
struct tokenizer; /* tokenizer.h */

/* Members that are zero are as options.def says. ERR_NOINPUT, ERR_DATA (model file), ERR_NODEV,
 * ERR_NOMEM, ERR_USAGE (out of its row's range, or does not fit: the option to change). */
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

void engine_stats(struct engine *en, struct engine_stats *out);

#endif
