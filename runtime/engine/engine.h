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
#include "engine_options.h"
#include "engine_stats.h"
#include "ops.h"
#include "plan.h"
#include "request.h"

struct engine;
struct place;     /* place.h */
struct tokenizer; /* tokenizer.h */

/* Options that are zero have the defaults of options.def. ERR_NOINPUT, ERR_DATA (model file),
 * ERR_NODEV, ERR_NOMEM. ERR_USAGE names the option: it is out of its range, or the model does not
 * fit. */
int engine_open(const struct engine_options *opt, struct engine **out, struct err *e);
void engine_close(struct engine *en); /* cancels all requests, waits, frees; accepts NULL */

struct engine_info {
    const char *path;        /* of the model file */
    const char *arch, *name; /* general.architecture, general.name ("" if absent) */
    const char *backend;
    /* instruction set of the CPU, which computes or is beside a device; "" = that of no CPU */
    const char *isa;
    const char *device; /* of several: "GPU 0: ..; GPU 1: .." */
    int n_device;       /* that may compute, at least 1; plan->share has their layers */
    /* bus id of the GPU that computes; of several with a comma between two; "" = none */
    const char *pci;
    const int *gpu;        /* (n_device) numbers of the GPUs, in the order of pci */
    char model_sha256[65]; /* "" until engine_hash */
    uint64_t model_bytes, n_params;
    int n_layer, n_kv_head, head_dim, n_vocab;
    int n_ctx, n_seq, batch_tokens, page_tokens, n_page;
    enum fmt kv_fmt;
    const struct chat *chat; /* the template of the model, unknown ones included */
    const struct plan *plan; /* the place of every part, and the bytes of memory */
    uint64_t draft_bytes;    /* of memory, for the draft model where it computes; 0 = none */
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
/* Submits r[0..n) at once: no step comes between the first and the last of them. Errors as
 * engine_submit, with the first request that is refused; then none was submitted. ERR_NOMEM. */
int engine_submit_all(struct engine *en, struct request *const *r, int n, struct err *e);
/* Fails with the ERR_DATA that engine_submit would give. Takes nothing. */
int engine_check(const struct engine *en, const struct request *r, struct err *e);
/* done follows, with FINISH_CANCEL or the earlier end */
void engine_cancel(struct engine *en, struct request *r);

/* The placed weights, for measurements (place_hold, place_copy_alone). Only while the engine is
 * idle: done() has run for every submitted request. */
struct place *engine_placed(struct engine *en);

void engine_stats(struct engine *en, struct engine_stats *out);
/* 0, or the error that has ended the engine: its code and text. All later requests fail with it.
 * Any thread. */
int engine_ended(struct engine *en, struct err *e);

#endif
