/*
 * strategy: a way from a question to an answer. A strategy is a file strategy_<name>.c with
 * `const struct strategy strategy_<name>`, one line in strategies.def and a folder of prompts.
 *
 * open reads and checks everything that a run needs (prompts, schemas, selections), so that nothing
 * of the kind can go wrong in the middle of an evaluation. start and step drive one consult: they
 * ask calls with consult_submit and end the consult with consult_answer, consult_unparsed or
 * consult_fail. They return 0; ERR_DATA = this case has failed, the message is its reason; anything
 * else ends the run. step hears only of calls that the llm completed; results must not depend on
 * the order of completion.
 */
#ifndef MAS_STRATEGY_H
#define MAS_STRATEGY_H

#include "agent_options.h"
#include "catalog.h"
#include "consult.h"
#include "llm.h"

struct strategy {
    const char *name;
    const char *doc;                  /* one line */
    const struct option_set *options; /* the strategy's own; NULL = none */
    /* describe: "name": "hash" pairs of all prompts and schemas, comma-separated, for the trace. */
    int (*open)(const struct strategy_env *env, struct str *describe, void **state, struct err *e);
    void (*close)(void *state); /* accepts NULL */
    int (*start)(const void *state, struct consult *c, struct err *e);
    int (*step)(const void *state, struct consult *c, struct consult_call *call, struct err *e);
};

struct strategy_env { /* what every consult of a run shares */
    struct llm *llm;
    const struct config *config; /* has the tables of agent_option_sets */
    const struct catalog *catalog;
    bool shuffle;   /* options in an order of the question's own */
    bool plan_only; /* stop after the plan; panel only */
    /* filled by strategy_open */
    const struct agent_options *options;
    const struct strategy *strategy;
    void *state;
    struct str prompts; /* JSON object: prompt and schema hashes */
};

/* NULL-terminated, in the order of strategies.def. */
const struct strategy *const *strategy_all(void);
/* ERR_CONFIG with the names there are. */
int strategy_find(const char *name, const struct strategy **out, struct err *e);

/* Opens the strategy of config on the env's llm, config and catalogue, which must outlive it. */
int strategy_open(struct strategy_env *env, struct err *e);
void strategy_close(struct strategy_env *env); /* accepts one whose open failed */

/* ---- for the strategies themselves ----------------------------------------------------------- */

/* Reads a schema, fills its slots, compiles it and adds it to describe (NULL = not). */
int strategy_schema(const struct strategy_env *env, const struct prompt_source *src,
                    const char *file, const struct prompt_constant *c, size_t n,
                    struct str *describe, const struct llm_schema **out, struct err *e);
/* Schema of an answer: enum of the letters, or short text for an open question. */
void strategy_answer_form(int n_options, char buf[96]);
/* Adds "name": "hash". */
void strategy_describe(struct str *describe, const char *name, const char *hash);
/* A role's own value if set, or the common one. */
int strategy_tokens(const struct agent_options *o, const char *role);
double strategy_temperature(const struct agent_options *o, const char *role);

#define X(name) extern const struct strategy strategy_##name;
#include "strategies.def"
#undef X

#endif
