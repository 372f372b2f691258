/* serve: an engine on a committed tiny model, and requests with a wait for their end, for tests. */
#ifndef MAS_SERVE_H
#define MAS_SERVE_H

#include "engine.h"

struct job { /* a request with its buffers; r is the first member */
    struct request r;
    int32_t *prompt, *out;
    float *lp;
    struct jobs *all;
};

struct jobs {
    struct job *job;
    int n, left;
    void *sync;
};

/* Makes n requests: seeded random prompts of lo..hi tokens, and max_new tokens to generate each. */
struct jobs *jobs_make(int n, int lo, int hi, int max_new, uint64_t seed, int n_vocab);
/* Gives every request a block of thinking; the arrays of t must outlive them. */
void jobs_think(struct jobs *js, const struct request_think *t);
void jobs_free(struct jobs *js);
int jobs_try(struct engine *en, struct jobs *js, int i, struct err *e); /* submits one */
/* fails the test on refusal */
void jobs_submit(struct engine *en, struct jobs *js, int from, int to);
void jobs_wait(struct jobs *js);
void jobs_run(struct engine *en, struct jobs *js); /* submit all, wait for all */
/* Checks that both generated the same tokens with the same log-probabilities, bit for bit. */
void jobs_equal(const struct jobs *a, const struct jobs *b, const char *what);

/* Options for the committed tiny model (GQA, 2 layers); backend "cpu", 2 threads. */
struct engine_options serve_options(void);
/* Number of GPUs that have layers. */
int serve_gpus_used(const struct engine *en);
/* Made-up GPUs that compute slowly: rows cost time, so steps on several are cut into
 * micro-batches. */
extern const struct plan_rates serve_slow_rates;
/* Writes a draft model for that model to path: its weights with noise, so that most drafts are
 * right. */
void serve_draft(const char *path);

#endif
