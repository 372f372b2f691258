/*
 * strategy: a way from a question to an answer. A strategy is a file strategy_<name>.c with `const
 * struct strategy strategy_<name>`, one line in strategies.def and a folder of prompts. It declares
 * the roles that it asks; settings, reports and traces know of roles only what is declared here.
 *
 * open reads and checks everything that a run needs: prompts, schemas, selections. So none of them
 * can fail in the middle of an evaluation. start and step drive one consult. They ask calls with
 * consult_submit and end the consult with consult_answer, consult_unparsed or consult_fail. 0: go
 * on. ERR_DATA: this case has failed, and the message is its reason. Any other error ends the run.
 * step is called only for calls that the llm completed. Results must not depend on the order of
 * completion.
 */
#ifndef MAS_STRATEGY_H
#define MAS_STRATEGY_H

#include "agent_options.h"
#include "catalog.h"
#include "consult.h"
#include "llm.h"

/* A role is a kind of call. A call of a role with LLM_CAN_SCORE scores options and generates
 * nothing; every other call generates a reply. */
struct strategy_role {
    const char *name; /* in traces; with the question and the index it names the random stream */
    const char *doc;  /* one line */
    /* role_tokens.KEY and agent_temperatures.KEY hold for this role; NULL = it has no such keys */
    const char *key;
    unsigned needs;     /* LLM_CAN_.. that its calls use */
    double temperature; /* default of agent_temperatures.KEY; negative = the key temperature */
    int max_tokens;     /* default of role_tokens.KEY; 0 = the key max_output_tokens */
    bool many;          /* several calls of this role are asked side by side */
    const char *json;   /* member of `mas run --json` that holds its replies; NULL = none */
};

/* The page on which a finished case is written for a person. Texts may come from a model. */
struct strategy_page {
    void (*title)(void *user, const char *text);
    /* a wrapped text: the first line after head, the others indented by head's length */
    void (*text)(void *user, const char *head, const char *text);
    void (*row)(void *user, const char *text); /* one line of a table, not wrapped */
    void *user;
};

enum strategy_part {
    STRATEGY_WORK,    /* before the answer: plans, reports */
    STRATEGY_GROUNDS, /* below the answer: reasons, warnings */
};
enum strategy_form {
    STRATEGY_TRACE, /* members of the case's line in a trace */
    STRATEGY_JSON,  /* members of `mas run --json` */
};

struct strategy {
    const char *name;
    const char *doc;                  /* one line */
    const struct strategy_role *role; /* a name of NULL ends the list */
    bool plans;                       /* can stop after a plan: strategy_env.plan_only */
    bool reports;        /* can stop after its reports, and can decide from given ones */
    const char *instead; /* a setting that needs less of the llm, for a message; NULL = none */
    bool matches;        /* keeps to strategy_env.budget */
    bool needs_options;  /* a question without options is a failed case */
    /* The strategy's own; NULL = none. Only strategies that name the same table read them. An
     * experiment relies on it: a setting that is not read makes no run of its own. */
    const struct option_set *options;
    /* true: the role is asked under these settings. NULL = every role is asked. */
    bool (*asks)(const struct strategy_env *env, const struct strategy_role *r);
    /* describe: "name": "hash" pairs of all prompts and schemas, comma-separated, for the trace. */
    int (*open)(const struct strategy_env *env, struct str *describe, void **state, struct err *e);
    void (*close)(void *state); /* accepts NULL */
    int (*start)(const void *state, struct consult *c, struct err *e);
    int (*step)(const void *state, struct consult *c, struct consult_call *call, struct err *e);
    /* Shows a case, also an unfinished one. Either may be NULL. facts appends ", \"key\": value"
     * members. */
    void (*show)(const struct consult *c, enum strategy_part part, const struct strategy_page *p);
    void (*facts)(const struct consult *c, enum strategy_form form, struct str *out);
};

struct strategy_env { /* shared by every consult of a run */
    struct llm *llm;
    const struct config *config; /* has the tables of agent_option_sets */
    const struct catalog *catalog;
    bool shuffle; /* options in an order of the question's own */
    /* JSON object: the choice among the records of the data file (subset.h); NULL = all of them */
    const char *subset;
    const char *shard; /* JSON object: the share of the records (shard.h); NULL = the whole */
    /* JSON object: the variants that took the records' places (vary.h); NULL = none */
    const char *variants;
    /* tokens to generate for each question (budget.h), which the strategy keeps to; NULL = none.
     * Set by strategy_match after strategy_open */
    const struct budget *budget;
    bool plan_only; /* stop after the plan, for strategies that make one */
    /* stop after the reports, for strategies that have some */
    bool reports_only;
    /* (n_specialty) catalogue indices, all different: the specialties of every case, in place of
     * those that a plan selects. n_specialty 0 = none */
    const int *specialty;
    int n_specialty;
    /* (n_given) reports to decide from, of these specialties; n_given 0 = none */
    const struct answer_report *given;
    int n_given;
    const struct consult_watch *watch; /* NULL = none */
    /* filled by strategy_open */
    const struct agent_options *options;
    const struct strategy *strategy;
    void *state;
    struct str prompts; /* JSON object: prompt and schema hashes */
};

/* NULL-terminated, in the order of strategies.def. */
const struct strategy *const *strategy_all(void);
/* ERR_CONFIG with all names. */
int strategy_find(const char *name, const struct strategy **out, struct err *e);
/* Appends "a, b": the names of all strategies, or of those that make a plan. */
void strategy_names(bool planning, struct str *out);
/* ERR_CONFIG when the strategy makes no plan; the message names those that do. */
int strategy_makes_plan(const struct strategy *s, struct err *e);

/* ERR_DATA when the strategy needs options and there are none. */
int strategy_takes(const struct strategy *s, int n_options, struct err *e);
/* Starts a consult by the strategy's start. ERR_DATA also when the question lacks the options that
 * the strategy needs. */
int strategy_start(const struct strategy_env *env, struct consult *c, struct err *e);

/* Opens the strategy of config on the env's llm, config and catalogue, which must outlive it.
 * ERR_CONFIG when the llm lacks a capability that a role needs. The message names strategy, role,
 * need and provider. */
int strategy_open(struct strategy_env *env, struct err *e);
void strategy_close(struct strategy_env *env); /* accepts one whose open failed */

/* Gives an opened env a budget, which must outlive it. ERR_CONFIG when the strategy keeps to none;
 * the message names those that do. */
int strategy_match(struct strategy_env *env, const struct budget *b, struct err *e);

/* ---- for the strategies themselves ----------------------------------------------------------- */

/* Reads a schema, fills its slots, compiles it and adds it to describe (NULL = not). */
int strategy_schema(const struct strategy_env *env, const struct prompt_source *src,
                    const char *file, const struct prompt_constant *c, size_t n,
                    struct str *describe, const struct llm_schema **out, struct err *e);
/* Schema of an answer: enum of the letters, or short text for an open question. */
void strategy_answer_form(int n_options, char buf[96]);
/* Adds "name": "hash". */
void strategy_describe(struct str *describe, const char *name, const char *hash);
/* Limits of a role: its own value if set, or its default, or the common one. */
int strategy_tokens(const struct agent_options *o, const struct strategy_role *r);
#define STRATEGY_KEY 80
/* The key that this limit comes from: "role_tokens.KEY" if that is set or the role has a default,
 * or else "max_output_tokens". */
void strategy_tokens_key(const struct agent_options *o, const struct strategy_role *r,
                         char out[STRATEGY_KEY]);
/* Tokens that a call of this role may think: the configured budget, or the default of a model that
 * thinks. 0 for a role that scores. */
int strategy_think(const struct strategy_env *env, const struct strategy_role *r);
double strategy_temperature(const struct agent_options *o, const struct strategy_role *r);
/* ERR_CONFIG when the role's token limit is below `least`. Such a reply would be closed before the
 * model has written the part that counts. */
int strategy_least_tokens(const struct agent_options *o, const struct strategy_role *r, int least,
                          struct err *e);
/* Writes the items, separated by "; "; nothing for n = 0. */
void strategy_show_list(const struct strategy_page *p, const char *head, const char *const *items,
                        int n);
/* Adds "selected_specialties": the ids of the specialties that were asked. */
void strategy_facts_selected(const struct consult *c, struct str *out);
/* Justification, differential and warnings; d may be NULL. */
void strategy_show_decision(const struct strategy_page *p, const struct answer_decision *d);

#define X(name) extern const struct strategy strategy_##name;
#include "strategies.def"
#undef X

#endif
