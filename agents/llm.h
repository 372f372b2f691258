/*
 * llm: the agents' only door to a model. Calls go in, completions come out of one queue, so that a
 * pipeline is a state machine stepped on completions and never a thread. The local implementation
 * sits on runtime/engine/engine.h; the scripted one answers from a table or a function, for tests.
 *
 * One thread uses an llm. Calls are owned by the caller and lent from submit until llm_next returns
 * them.
 */
#ifndef MAS_LLM_H
#define MAS_LLM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "str.h"

struct llm;
struct llm_schema; /* a JSON Schema prepared by one llm; lives until llm_close */

enum llm_finish {
    LLM_STOP,   /* ended by itself */
    LLM_CUT,    /* token limit reached in the middle */
    LLM_CLOSED, /* token limit near: closed validly under its schema; see own_len */
    /* also a reply that was complete before the cancelling reached it: no reply, n_new 0 */
    LLM_CANCEL,
    LLM_ERROR, /* call.err says why */
};
const char *llm_finish_name(enum llm_finish f); /* "stop", "cut", .. */

struct llm_text {
    const char *s;
    size_t n;
};

struct llm_call {
    /* in */
    /* with seed: names the random stream. Derived from (question id, role, index), so that a
     * resumed run draws the same numbers */
    uint64_t id;
    uint64_t seed;
    uint32_t rank;      /* lower ones are served first; changes no reply */
    const char *system; /* trusted text of the role */
    const char *user;   /* holds untrusted text; never becomes control tokens */
    size_t system_len, user_len;
    const char *reply_prefix;        /* the assistant's turn begins with this; NULL = nothing */
    const struct llm_schema *schema; /* NULL = free text */
    int max_tokens; /* 0 = scoring: log-probability of each option as continuation */
    float temperature, top_p, min_p;
    int top_k;
    const struct llm_text *options; /* scoring only */
    int n_options;
    void *user_data;
    /* out; reply and option_lp belong to the call until llm_call_clear */
    struct str reply;
    /* bytes of reply that the model chose or that its schema forced; the rest of a closed reply is
     * the closer's. LLM_CLOSED: at most reply.len; any other: reply.len */
    size_t own_len;
    double *option_lp;  /* (n_options) natural log, sum over the option's tokens */
    int *option_tokens; /* (n_options) */
    enum llm_finish finish;
    struct err err;
    int n_prompt, n_cached, n_new;
    /* steps that gave new tokens; tokens drafted, and those accepted */
    int n_pass, n_drafted, n_accepted;
    double mean_lp;       /* mean log-probability of the new tokens, NaN if none */
    double seconds;       /* submit to done */
    double first_seconds; /* submit to first token */
    void *llm_slot;       /* the llm's */
    bool cancelled;       /* llm_cancel was called */
};

void llm_call_clear(struct llm_call *c); /* frees the out part; the in part stays */

struct llm_info { /* for the trace header */
    char model[512];
    char model_sha256[65];
    char backend[64], device[128];
    char host_layers
        [4096]; /* "0-3,7": feed-forward parts that the CPU computes beside a device; "" = none */
    char placement[200]; /* where the weights lie; "" when it is not ours to know */
    char chat[32];
    int n_ctx;
    int slots; /* calls that make progress together: a hint for how many to submit */
};

struct llm_api {
    int (*schema)(struct llm *l, const char *json, size_t n, const char *name,
                  const struct llm_schema **out, struct err *e);
    int (*submit)(struct llm *l, struct llm_call *c, struct err *e);
    int (*check)(struct llm *l, const struct llm_call *c, struct err *e);
    struct llm_call *(*next)(struct llm *l, int timeout_ms);
    void (*cancel)(struct llm *l, struct llm_call *c);
    int (*count_tokens)(struct llm *l, const struct llm_call *c, int *out, struct err *e);
    const struct llm_info *(*info)(struct llm *l);
    void (*close)(struct llm *l);
};

struct llm { /* first member of every implementation */
    const struct llm_api *api;
};

/* Compiles a schema; ERR_CONFIG with its JSON path when a form is not supported. */
int llm_schema(struct llm *l, const char *json, size_t n, const char *name,
               const struct llm_schema **out, struct err *e);
/* ERR_DATA when prompt + max_tokens exceed the context (both numbers); then the call was not
 * taken. */
int llm_submit(struct llm *l, struct llm_call *c, struct err *e);
/* Would llm_submit find room for it? The same ERR_DATA where not; nothing is taken. */
int llm_check(struct llm *l, const struct llm_call *c, struct err *e);
/* The next finished call, in order of completion; NULL after timeout_ms (-1 = for ever, but NULL at
 * once when nothing is in flight). A signal wakes it with NULL. */
struct llm_call *llm_next(struct llm *l, int timeout_ms);
void llm_cancel(struct llm *l, struct llm_call *c); /* it still comes out of llm_next */
int llm_count_tokens(struct llm *l, const struct llm_call *c, int *out, struct err *e);
const struct llm_info *llm_info(struct llm *l);
void llm_close(struct llm *l); /* accepts NULL */

/* llm_local.c: on an engine, which it borrows. */
struct engine;
int llm_local_open(struct engine *en, struct llm **out, struct err *e);

/* llm_script.c: fn writes the reply (and finish, own_len of a closed one, option_lp) of a call;
 * called at llm_next, in an order shuffled by seed, so that completions arrive as unordered as
 * in life. */
typedef void (*llm_script_fn)(struct llm_call *c, void *user);
int llm_script_open(llm_script_fn fn, void *user, uint64_t seed, struct llm **out, struct err *e);
/* The text of a schema that such an llm has prepared. */
const char *llm_script_schema(const struct llm_schema *s);

#endif
