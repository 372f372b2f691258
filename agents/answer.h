/*
 * answer: reads a model's reply, strictly. A reply has exactly the agreed form, or it is an error
 * that names the fault. Nothing is searched for in prose, and no letter is ever assumed.
 *
 * Strings and arrays live in the caller's arena. The model's text is untrusted: the limits of the
 * schemas also cap depth, counts and lengths.
 *
 * The model wrote the first `own` of a reply's n bytes; own < n if the reply was closed at its
 * token limit. Of such a reply only finished parts count: a letter, an id, a number or an item of a
 * list whose end the model wrote. Prose (rationale, notes, justification) counts as far as it was
 * written. Lists may be short or empty. A missing letter, missing ids of the K, or a missing first
 * diagnosis is an error, as in any other reply.
 */
#ifndef MAS_ANSWER_H
#define MAS_ANSWER_H

#include <stdbool.h>
#include <stddef.h>

#include "catalog.h"
#include "err.h"
#include "mem.h"
#include "str.h"

#define ANSWER_BYTES ((size_t)256 << 10) /* longest reply that is read */
#define ANSWER_DX 3                      /* diagnoses in one report */
#define ANSWER_EVIDENCE 4                /* items in each evidence list */
#define ANSWER_LIST 5                    /* diagnoses and warnings in a decision */

struct answer_score { /* the planner's rating of one specialty, all in 0..1 */
    bool present;
    double relevance, coverage_gain, urgency_alignment, procedural_signal;
    const char *reason;
};

struct answer_plan { /* PlannerResult */
    int triage;      /* catalogue index of a generalist; -1 = the selection has no triage */
    /* catalogue indices, in the planner's order, without the repeats */
    int selected[CATALOG_MAX], n_selected, selected_twice;
    struct answer_score score[CATALOG_MAX]; /* by catalogue index; selection "full" only */
    int scored_twice;          /* repeats in the scored list; the same number of ids has no score */
    double log_p[CATALOG_MAX]; /* natural log, selection "logit" only */
    bool has_scores, has_log_p;
    const char *rationale;
};

struct answer_dx {
    const char *dx;
    double p;
    const char *evidence_for[ANSWER_EVIDENCE], *evidence_against[ANSWER_EVIDENCE];
    const char *discriminators[ANSWER_EVIDENCE];
    int n_for, n_against, n_discriminators;
};

struct answer_report { /* SpecialistReport */
    int specialty;     /* catalogue index */
    struct answer_dx dx[ANSWER_DX];
    int n_dx;
    bool rescaled; /* the probabilities summed to more than 1 and were divided by their sum */
    const char *notes;
};

struct answer_decision { /* FinalDecision */
    int letter;          /* option as shown to the model; -1 for an open question */
    const char *text;    /* the letter, or the diagnosis of an open question */
    const char *differential[ANSWER_LIST], *warnings[ANSWER_LIST];
    int n_differential, n_warnings;
    const char *justification;
};

struct answer_selection { /* {rationale, specialties} */
    const char *rationale;
    /* catalogue indices, in the order given, without the repeats */
    int selected[CATALOG_MAX], n_selected, selected_twice;
};

struct answer_label { /* a text, then one of a few words: {comment, vote} and the like */
    const char *text;
    int label; /* index into the words */
};

/* full: the form with scored_catalog. k: number of specialties that must be selected, all
 * different. ERR_DATA, ERR_NOMEM. */
int answer_plan(const char *s, size_t n, size_t own, const struct catalog *cat, int k, bool full,
                struct arena *a, struct answer_plan *out, struct err *e);
/* specialty: the specialty that was asked. A report in the name of another is an error. */
int answer_report(const char *s, size_t n, size_t own, const struct catalog *cat, int specialty,
                  struct arena *a, struct answer_report *out, struct err *e);
/* n_options 0: final_answer is a diagnosis. */
int answer_decision(const char *s, size_t n, size_t own, int n_options, struct arena *a,
                    struct answer_decision *out, struct err *e);
/* {reasoning, final_answer}: the justification of out is the reasoning. */
int answer_reasoned(const char *s, size_t n, size_t own, int n_options, struct arena *a,
                    struct answer_decision *out, struct err *e);

/* {rationale, specialties}: k ids of the catalogue. */
int answer_selection(const char *s, size_t n, size_t own, const struct catalog *cat, int k,
                     struct arena *a, struct answer_selection *out, struct err *e);
/* {text_key, label_key}: a text, then one of the labels (NULL-terminated). */
int answer_label(const char *s, size_t n, size_t own, const char *text_key, const char *label_key,
                 const char *const *labels, struct arena *a, struct answer_label *out,
                 struct err *e);
/* {note}: one text, not empty. */
int answer_note(const char *s, size_t n, size_t own, struct arena *a, const char **out,
                struct err *e);

/* The letter of a free-text reply. The whole reply is "B", "B.", "B)" or "(B)", or exactly one of
 * its lines is "Answer: B" or "Final answer: B". ERR_DATA otherwise. */
int answer_letter(const char *s, size_t n, int n_options, int *out, struct err *e);

/* True when two texts have the same letters and digits in the same order; case is ignored. */
bool answer_same(const char *a, const char *b);
/* True when two decisions give the same letter, or the same text for an open question. */
bool answer_same_decision(const struct answer_decision *a, const struct answer_decision *b);
/* Share of pairs of reports whose first diagnoses are the same text (letters and digits compared,
 * case ignored); NaN with fewer than two. */
double answer_agreement(const struct answer_report *r, int n);

/* The report in the form that the aggregator reads. */
void answer_report_text(const struct answer_report *r, const struct catalog *cat, struct str *out);

#endif
