/*
 * llm: the agents' only door to a model. Calls go in, and completions come out of one queue. So a
 * pipeline is a state machine stepped on completions, never a thread. The local implementation sits
 * on runtime/engine/engine.h; the scripted one answers from a function, for tests. provider.h opens
 * the llm that a configuration names.
 *
 * An llm says what it can do. A strategy says what its roles need, and strategy_open compares the
 * two before anything is asked.
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
struct spans;      /* span.h */
struct llm_schema; /* a JSON Schema prepared by one llm; lives until llm_close */

enum llm_finish {
    LLM_STOP,   /* ended by itself */
    LLM_CUT,    /* token limit reached in the middle */
    LLM_CLOSED, /* token limit near: closed validly under its schema; see own_len */
    /* no reply, n_new 0, even if the reply was complete before the cancel arrived */
    LLM_CANCEL,
    LLM_ERROR, /* call.err says why */
};
const char *llm_finish_name(enum llm_finish f); /* "stop", "cut", .. */

/* The end of a call's thinking: free text that the model writes before its reply. */
enum llm_thought {
    LLM_THOUGHT_NONE,   /* the model does not think */
    LLM_THOUGHT_EMPTY,  /* budget 0: the reply follows the template's empty block */
    LLM_THOUGHT_OPEN,   /* not ended: the call was cancelled or failed before */
    LLM_THOUGHT_CLOSED, /* by the model */
    LLM_THOUGHT_CUT,    /* the budget ran out, and the llm closed the block */
    LLM_THOUGHT_EOS,    /* the model ended its turn within the block, and the llm closed it */
};
const char *llm_thought_name(enum llm_thought t); /* "none", "empty", "open", "closed", .. */
#define LLM_THINK_DEFAULT 2048 /* tokens: the budget of a model that thinks, if none is given */

#define LLM_CHOICE_MOST 26 /* letters of llm_call.choice */

struct llm_text {
    const char *s;
    size_t n;
};

struct llm_token { /* of a prompt that is scored */
    double lp; /* natural log of its probability after the tokens before it; NaN = it has none */
    bool top;  /* no other token was more probable there */
};

struct llm_call {
    /* in */
    /* with seed: names the random stream. Derived from (question id, role, index), so that a
     * resumed run draws the same numbers */
    uint64_t id;
    uint64_t seed;
    uint32_t rank; /* lower ones are served first; changes no reply */
    /* for profilers: the role, and the question or its id; NULL = unnamed */
    const char *role, *about;
    const char *system; /* trusted text of the role */
    const char *user;   /* holds untrusted text; never becomes control tokens */
    size_t system_len, user_len;
    /* The user text is the whole prompt, without a chat template. Then system, reply_prefix and
     * max_think must be unset. BOS comes first if the model file asks for it, unless no_bos. */
    bool raw, no_bos;
    const char *reply_prefix;        /* the assistant's turn begins with this; NULL = nothing */
    const struct llm_schema *schema; /* NULL = free text */
    int max_tokens; /* 0 = scoring: log-probability of each option as continuation */
    /* most tokens of thinking before the reply; 0 = none. A score has none. ERR_DATA for a model
     * that does not think */
    int max_think;
    float temperature, top_p, min_p;
    int top_k;
    const struct llm_text *options; /* scoring only */
    int n_options;
    /* The tokens of the prompt itself are wanted. Then max_tokens is 0 and there are no options. */
    bool score_prompt;
    /* Name of a member of the reply that is one of the letters 'A', 'B', .. under its schema. The
     * probabilities of the n_choice letters (at most LLM_CHOICE_MOST) are wanted at their place.
     * NULL = not wanted. */
    const char *choice;
    int n_choice;
    /* For display while the call runs: pieces of think (thinking) and reply, n >= 1 bytes. Together
     * they are exactly these two texts. A piece holds complete UTF-8 characters, except the last
     * one of a text that ends within a character. Runs on the llm's own
     * thread or in llm_next, never after llm_next has returned the call. It must not block, and
     * must not use the llm. A cancelled call may have passed on a beginning. NULL = none. */
    void (*on_text)(struct llm_call *c, const char *text, size_t n, bool thinking);
    void *user_data;
    /* out; reply, think, token and option_lp belong to the call until llm_call_clear */
    struct str reply; /* without the thinking */
    struct str think; /* the thinking, without the texts that open and close it */
    enum llm_thought thought;
    int n_think; /* tokens of the block; n_new does not count them */
    /* bytes of reply that the model chose or that its schema forced. The rest of a closed reply is
     * the closer's. LLM_CLOSED: at most reply.len; any other: reply.len */
    size_t own_len;
    /* (n_choice) natural log of the probability among the letters that the schema allows, at T = 1.
     * Only if has_choice: some llms cannot say it, and a letter of the closer has none. It costs no
     * further tokens. */
    double choice_lp[LLM_CHOICE_MOST];
    bool has_choice;
    double *option_lp;       /* (n_options) natural log, sum over the option's tokens */
    int *option_tokens;      /* (n_options) */
    struct llm_token *token; /* (n_token) of the prompt, in order; only with score_prompt */
    int n_token;
    enum llm_finish finish;
    struct err err;
    int n_prompt, n_cached, n_new;
    /* steps that gave new tokens; tokens drafted, and those accepted */
    int n_pass, n_drafted, n_accepted;
    double mean_lp;       /* mean log-probability of the reply's tokens, NaN if none */
    double seconds;       /* submit to done */
    double first_seconds; /* submit to first token */
    /* Of a server: attempts after the first, and the cause of the last of them. Repairs of a reply
     * that broke its schema. The fingerprint of another version of the server. "" = none. */
    int n_retries, n_repairs;
    char retried[200], fingerprint[128];
    void *llm_slot; /* the llm's */
    bool cancelled; /* llm_cancel was called */
};

void llm_call_clear(struct llm_call *c); /* frees the out part; the in part stays */

/* The capabilities of an llm: a set of bits. */
enum llm_can {
    LLM_CAN_SCORE = 1,    /* log-probability of given continuations */
    LLM_CAN_SCHEMA = 2,   /* a reply is decoded under a JSON Schema, or at least checked by it */
    LLM_CAN_SEED = 4,     /* the same seed and id give the same reply */
    LLM_CAN_LOGPROBS = 8, /* log-probability of the reply's own tokens */
    LLM_CAN_PREFIX = 16,  /* the reply continues a given beginning */
    LLM_CAN_RAW = 32,     /* prompts without a chat template */
    LLM_CAN_CHOICE = 64,  /* probabilities of the letters at their place: choice */
    LLM_CAN_PROMPT = 128, /* log-probability of the tokens of a prompt: score_prompt */
    LLM_CAN_ALL = 255,
};
/* "scores options, obeys a schema": the capabilities of the set, as part of a sentence. */
const char *llm_can_text(unsigned can, char buf[160]);
/* The capabilities that a call with these in members needs. */
unsigned llm_call_needs(const struct llm_call *c);

struct llm_info {         /* for the trace header */
    const char *provider; /* a row of providers.def; "script" */
    unsigned can;         /* LLM_CAN_.. */
    char name[128];       /* the model's own name, "" = it has none */
    char model[512];
    char model_sha256[65];
    char backend[64], device[8 * 140]; /* device: of several GPUs all */
    /* bus id of the GPU that computes, of several with a comma between two; "" = none, or not in
     * this machine */
    char pci[8 * 17];
    int gpu[8]; /* their numbers */
    char host_layers
        [4096]; /* "0-3,7": feed-forward parts that the CPU computes beside a device; "" = none */
    char placement[200]; /* places of the weights; "" = unknown to the provider */
    char chat[32];
    char kv[16];      /* number format of the KV cache; "" = unknown to the provider */
    char server[700]; /* address, version and findings about a server; "" = no server */
    char served[160]; /* the model's name as the server says it, with its digest; "" = no server */
    bool thinks;      /* the model can think before it replies */
    int n_ctx;
    int slots; /* calls that make progress together, a hint for the number to submit */
};

struct llm_gauge {                    /* figures of the moment; totals count from the opening */
    double new_tokens, prompt_tokens; /* computed, totals */
    int pages;                        /* of the KV cache */
    int pages_used, pages_cached;     /* of them */
    int running;                      /* calls that make progress */
};

enum llm_figures {
    LLM_FIGURES_LINE, /* one line for a person, without its end */
    LLM_FIGURES_JSON, /* one JSON object */
};

struct llm_api {
    int (*schema)(struct llm *l, const char *json, size_t n, const char *name,
                  const struct llm_schema **out, struct err *e);
    int (*submit)(struct llm *l, struct llm_call *c, struct err *e);
    int (*check)(struct llm *l, const struct llm_call *c, struct err *e);
    struct llm_call *(*next)(struct llm *l, int timeout_ms);
    void (*cancel)(struct llm *l, struct llm_call *c);
    const struct llm_info *(*info)(struct llm *l);
    void (*close)(struct llm *l);
    /* Each of these may be NULL: this llm has no such figures. */
    void (*gauge)(struct llm *l, struct llm_gauge *out);
    void (*figures)(struct llm *l, enum llm_figures form, struct str *out);
    void (*placement)(struct llm *l, struct str *out);
};

struct llm { /* first member of every implementation */
    const struct llm_api *api;
    struct spans *spans; /* llm_watch */
};

/* Compiles a schema; ERR_CONFIG with its JSON path when a form is not supported. */
int llm_schema(struct llm *l, const char *json, size_t n, const char *name,
               const struct llm_schema **out, struct err *e);
/* ERR_DATA when prompt + max_think + max_tokens exceed the context; then the call was not taken. */
int llm_submit(struct llm *l, struct llm_call *c, struct err *e);
/* Checks that llm_submit would find room for the call. Fails with the same ERR_DATA. Takes
 * nothing. */
int llm_check(struct llm *l, const struct llm_call *c, struct err *e);
/* The next finished call, in order of completion; NULL after timeout_ms (-1 = for ever, but NULL at
 * once when nothing is in flight). A signal wakes it with NULL. */
struct llm_call *llm_next(struct llm *l, int timeout_ms);
void llm_cancel(struct llm *l, struct llm_call *c); /* it still comes out of llm_next */
const struct llm_info *llm_info(struct llm *l);
/* Reports each call to spans (span.h; NULL = none), from submit to llm_next. */
void llm_watch(struct llm *l, struct spans *spans);
void llm_close(struct llm *l); /* accepts NULL */

/* false, with out unchanged, when this llm has no gauge. */
bool llm_gauge(struct llm *l, struct llm_gauge *out);
/* Appends the figures of the work since the opening. Appends nothing if no figures are known or no
 * work was done. */
void llm_figures(struct llm *l, enum llm_figures form, struct str *out);
/* Appends lines with the places of the weights. Appends nothing if all weights lie in one place. */
void llm_placement(struct llm *l, struct str *out);

/* llm_local.c: an llm on an engine. It borrows the engine; own: llm_close closes the engine too. */
struct engine;
int llm_local_open(struct engine *en, bool own, struct llm **out, struct err *e);

/* llm_script.c: fn writes the reply of a call, and finish, option_lp, token, think, thought (closed
 * if fn leaves it), and own_len of a closed reply. llm_next calls it in an order shuffled by seed,
 * so that completions arrive as unordered as in reality. */
typedef void (*llm_script_fn)(struct llm_call *c, void *user);
int llm_script_open(llm_script_fn fn, void *user, uint64_t seed, struct llm **out, struct err *e);
/* A scripted llm has every capability until this call sets others. */
void llm_script_can(struct llm *l, unsigned can);
/* A scripted llm does not think until this call. */
void llm_script_thinks(struct llm *l, bool thinks);
/* The text of a schema that a scripted llm has prepared. */
const char *llm_script_schema(const struct llm_schema *s);

#endif
