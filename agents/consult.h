/*
 * consult: one question on its way through a strategy. A consult is a state machine, not a thread.
 * A strategy asks calls and is told of each completed call. It ends the consult with an answer, as
 * unparsed, or as failed. Hundreds are in flight at once and give the scheduler its batch.
 *
 * The configured seed and the question's id determine everything random in a consult: call ids,
 * order of options. So neither resuming nor concurrency changes a result.
 */
#ifndef MAS_CONSULT_H
#define MAS_CONSULT_H

#include "answer.h"
#include "llm.h"
#include "medqa.h"
#include "prompt.h"

struct strategy_env;
struct strategy_role;

enum consult_state {
    CONSULT_OPEN,
    CONSULT_ANSWERED, /* predicted or answer is set */
    CONSULT_UNPARSED, /* the model replied, but not in the agreed form: counts as wrong */
    CONSULT_FAILED,   /* no usable reply (prompt too long, budget, error): counts as wrong */
    CONSULT_PLANNED,  /* only the plan was wanted */
    CONSULT_REPORTED, /* only the reports were wanted */
};
const char *consult_state_name(enum consult_state s); /* "answered", .. */

struct consult_call {
    struct llm_call llm; /* user_data points back here */
    struct consult *of;
    struct consult_call *next; /* in order of asking */
    const struct strategy_role *role;
    int number;    /* among the calls of the case, from 0 */
    int index;     /* among the calls of this role */
    int specialty; /* catalogue index, -1 = none */
    const struct prompt *prompt;
    bool done, parsed, broken; /* broken: ended in an error that fails the case */
    char why[256];             /* parsed == false: the fault of the reply */
};

/* Follows the calls of a case, for display. Each function may be NULL. All run on the thread of the
 * run, except text, which runs as llm_call.on_text. A call has its events in this order: asked,
 * text.., ended, taken. Calls of the next stage are asked between ended and taken. */
struct consult_watch {
    void (*asked)(const struct consult_call *k, void *user); /* before it is submitted */
    void (*text)(const struct consult_call *k, const char *s, size_t n, bool thinking, void *user);
    void (*ended)(const struct consult_call *k, void *user); /* the llm has returned it */
    /* the strategy has read its reply: parsed and why are set */
    void (*taken)(const struct consult_call *k, void *user);
    void *user;
};

struct consult {
    const struct strategy_env *env;
    const struct medqa_question *q;
    int shown[MEDQA_OPTIONS]; /* option shown at place i is q->option[shown[i]] */
    const char *options;      /* the options in the form of a prompt */
    struct arena arena;       /* prompts, parsed replies; one lifetime */
    struct consult_call *first, *last;
    int n_calls, n_open;
    bool broken; /* a call ended in an error: the case fails when no call is open any more */
    void *data;  /* the strategy's, in the arena */
    /* the outcome */
    enum consult_state state;
    int predicted;       /* index into q->option, -1 = none */
    const char *answer;  /* text of an open question's answer, or NULL */
    char why[512];       /* unparsed, failed: the reason */
    struct str warnings; /* one a line */
    /* catalogue indices of the specialties that were asked for a report; NULL = none is asked by
     * this strategy */
    const int *selected;
    int n_selected, n_reports; /* reports: those that could be used */
    /* among the reports: pairs with the same text of the first diagnosis, and pairs with the same
     * class (synonyms.h); NaN = not measured */
    double agreement, agreement_class;
    const char *synonyms; /* hash of the table of these classes; NULL = none was used */
    /* Choices of speakers who have not read each other, in order of asking. 'A'..: the option in
     * the file's order; 'Y', 'N': a vote on a report; '-': none. NULL = nobody is asked for one. */
    char *choices;
    double p_option[MEDQA_OPTIONS]; /* by original option, sums to 1; only if has_p */
    bool has_p;
    /* by original option: log-probability of its letter after the prompt; only if has_lp */
    double option_lp[MEDQA_OPTIONS];
    bool has_lp;
    int64_t t_start, t_end; /* ns */
    /* the case's share of the energy while it was in flight; NaN = not measured */
    double joules;
    const char *energy; /* the source of the joules, or why there are none; NULL = not asked for */
};

/* Texts last as long as the consult. */
int consult_open(const struct strategy_env *env, const struct medqa_question *q,
                 struct consult **out, struct err *e);
void consult_close(struct consult *c); /* accepts NULL; no call may be open */

/* The options alone, "A. ..", one a line; "" = the question has none. */
const char *consult_option_lines(const struct consult *c);

struct consult_ask {
    const struct strategy_role *role; /* gives the token limit and the temperature */
    int index;
    int specialty; /* -1 = none */
    const struct prompt *prompt;
    int most;                  /* tokens of the reply, in place of the role's limit; 0 = its */
    const char *const *values; /* of the prompt's slots */
    const char *reply_prefix;  /* NULL = none */
    bool raw, no_bos;          /* as in llm_call */
    const struct llm_schema *schema;
    const char *letter; /* member of the reply that is an option's letter; NULL = none */
    const struct llm_text *options; /* of a role that scores */
    int n_options;
};

/* Submits one call. ERR_DATA when the prompt does not fit the context or the case's token budget is
 * spent: the case has failed, the run goes on. Other errors end the run. */
int consult_submit(struct consult *c, const struct consult_ask *ask, struct err *e);
/* Submits n calls side by side, or none. Every prompt is checked before the first is sent. So the
 * record of a failed case does not depend on the progress of its other calls. Errors as above. */
int consult_submit_all(struct consult *c, const struct consult_ask *ask, int n, struct err *e);

/* true: the reply can be parsed, since it was neither cut nor an error. Otherwise writes the reason
 * into the call. */
bool consult_usable(struct consult_call *call);
/* Leaves a warning if the call's reply was closed before the model had finished it. name: the
 * speaker's name in the warning. */
void consult_warn_closed(const struct consult_call *call, const char *name);
/* Leaves a warning for each call whose thinking was cut, in order of asking. */
void consult_warn_thinking(struct consult *c);
/* Marks the call as not parsed. For a reply that was closed early, the reason names the limit to
 * raise. */
void consult_bad(struct consult_call *call, const struct err *why);

/* The call ended in an error that fails its case. The case ends only after its other calls, so that
 * the record does not depend on their order. */
void consult_break(struct consult_call *call, const struct err *why);
/* Fails a broken case without open calls. The reason is that of the first asked call with a
 * reason. */
void consult_settle(struct consult *c);

/* The probabilities of the options where the call's reply wrote its letter: p by original option,
 * sum 1. False, with p unchanged, if the llm gave none. */
bool consult_letter_p(const struct consult *c, const struct consult_call *k,
                      double p[MEDQA_OPTIONS]);
/* Takes these probabilities of the call as those of the case, if there are any. */
void consult_take_p(struct consult *c, const struct consult_call *k);

/* Sets choices to n times '-'. ERR_NOMEM. */
int consult_choices(struct consult *c, int n, struct err *e);
/* Choice i is the option with this letter as shown to the model; letter < 0: none. */
void consult_choose(struct consult *c, int i, int letter);

/* Ends a consult. letter: as shown to the model; it is mapped back to the question's own order. */
void consult_answer(struct consult *c, int letter, const char *text);
/* Takes an answer back: a strategy goes on after the one that answered. */
void consult_reopen(struct consult *c);
void consult_unparsed(struct consult *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void consult_fail(struct consult *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void consult_warn(struct consult *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Tokens of the calls that are done: prompt (cached ones included) + thinking + new. */
int64_t consult_tokens(const struct consult *c);
/* True when the calls of a case took more tokens than its budget. False while a call is open, so
 * that the order of ends changes nothing. */
bool consult_spent(const struct consult *c);
/* Fails a case that has spent its budget, also one with an answer. */
void consult_overspent(struct consult *c);
/* A number that depends on (question, role, index) and nothing else. */
uint64_t consult_id(const char *question, const char *role, int index);

#endif
