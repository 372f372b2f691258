/*
 * speaker: a role with its prompt and its schemas, for strategies that ask several roles. All of it
 * is read and checked when the strategy opens.
 *
 * The functions speaker_read_.. read a finished call's reply into the consult's arena. They set
 * parsed, or the reason why the reply cannot be used. They leave no warning, because calls side by
 * side end in any order; speaker_warn does that in order of asking.
 */
#ifndef MAS_SPEAKER_H
#define MAS_SPEAKER_H

#include "strategy.h"

/* The forms of replies that speakers share: <form>.json in configs/prompts/forms/. */
enum speaker_form {
    SPEAKER_REASONED, /* {reasoning, final_answer} */
    SPEAKER_DECISION, /* {ordered_differential, justification, final_answer, warnings} */
    SPEAKER_NOTE,     /* {note} */
    SPEAKER_VOTE,     /* {comment, vote}: agree or disagree */
    SPEAKER_SELECT,   /* {rationale, specialties}: k ids of the catalogue */
    SPEAKER_LEVEL,    /* {rationale, complexity}: low, moderate or high */
};

enum { SPEAKER_AGREE, SPEAKER_DISAGREE };
enum { SPEAKER_LOW, SPEAKER_MODERATE, SPEAKER_HIGH };

struct speaker {
    const struct strategy_role *role;
    enum speaker_form form;
    int k; /* SPEAKER_SELECT: number of specialties */
    struct prompt *prompt;
    const struct llm_schema *schema[MEDQA_OPTIONS + 1]; /* by number of options */
};

struct speaker_file {
    const struct strategy_role *role;
    enum speaker_form form;
    int k;                    /* SPEAKER_SELECT only */
    const char *prompt;       /* <prompt>.txt in the strategy's folder */
    const char *const *slots; /* of its section [user]; NULL-terminated */
    /* its section [system] has the slot {system}: the text of the strategy's system.txt; with
     * SPEAKER_SELECT also {catalogue} */
};

/* Reads the prompt and prepares the schemas; adds their hashes to describe. ERR_CONFIG also when
 * the role's token limit is too low for the form. */
int speaker_open(const struct strategy_env *env, const char *strategy, const struct speaker_file *f,
                 struct str *describe, struct speaker *out, struct err *e);
void speaker_close(struct speaker *s); /* accepts a zeroed one */

/* The call of a speaker, for consult_submit and consult_submit_all. */
struct consult_ask speaker_ask(const struct speaker *s, const struct consult *c, int index,
                               int specialty, const char *const *values);
/* Asks one call. */
int speaker_submit(const struct speaker *s, struct consult *c, int index, int specialty,
                   const char *const *values, struct err *e);

/* *out = NULL: the reply cannot be used, and call->why says why. Errors: ERR_NOMEM. */
int speaker_read_decision(const struct speaker *s, struct consult_call *call,
                          struct answer_decision **out, struct err *e);
int speaker_read_note(struct consult_call *call, const char **out, struct err *e);
int speaker_read_label(const struct speaker *s, struct consult_call *call,
                       struct answer_label **out, struct err *e);
/* The word of a label in the speaker's form: "agree", "low", .. */
const char *speaker_label_name(const struct speaker *s, int label);
int speaker_read_selection(const struct speaker *s, struct consult_call *call,
                           struct answer_selection **out, struct err *e);

/* The decision of a call that ends the case: answers with its letter or text and its
 * probabilities, or ends the case as unparsed. *out: as speaker_read_decision. */
int speaker_decide(const struct speaker *s, struct consult_call *call, struct answer_decision **out,
                   struct err *e);
/* True when no call of the case is open and none has failed: a round is over. */
bool speaker_round_over(const struct consult *c);
/* The first call of this role with this index or a higher one. */
const struct consult_call *speaker_first(const struct consult *c, const struct strategy_role *r,
                                         int index);
/* The answer of a decision as records name it: the letter of the option in the file's order, or the
 * text of an open question. buf holds the letter. */
const char *speaker_answer_name(const struct consult *c, const struct answer_decision *d,
                                char buf[2]);
/* Takes the mean of n calls' probabilities of letters as those of the case, if all have some. */
void speaker_take_mean_p(struct consult *c, const struct consult_call *const *k, int n);
/* Sets the consult's choices from n replies, NULL = none. Nothing for an open question.
 * ERR_NOMEM. */
int speaker_choices(struct consult *c, const struct answer_decision *const *d, int n,
                    struct err *e);
/* Sets the consult's choices from n votes, NULL = none. ERR_NOMEM. */
int speaker_votes(struct consult *c, struct answer_label *const *v, int n, struct err *e);
/* Warns of every call from `first` on whose reply cannot be used or was closed early, in order of
 * asking. */
void speaker_warn(struct consult *c, const struct consult_call *first);
/* Moves a text into the consult's arena and frees s. ERR_NOMEM. */
int speaker_text(struct consult *c, struct str *s, const char **out, struct err *e);

#endif
