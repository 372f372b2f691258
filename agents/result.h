/*
 * result: the outcome of a finished case, as one line of a trace. A result is always read from its
 * line, also by the run that wrote it. So a resumed evaluation cannot differ from an uninterrupted
 * one.
 */
#ifndef MAS_RESULT_H
#define MAS_RESULT_H

#include <stdbool.h>
#include <stdint.h>

#include "consult.h"

struct result {
    char id[24];   /* medqa_question.id */
    int64_t index; /* record number in the data file */
    enum consult_state state;
    int n_options;
    int predicted, key;                /* index of the option in the data file's order; -1 = none */
    bool correct;                      /* false also when unparsed or failed */
    const char *question;              /* its beginning, at most 100 characters */
    const char *answer;                /* of an open question; "" = none */
    const char *why;                   /* unparsed, failed: the reason; "" otherwise */
    const char *step;                  /* "step1", .. or "" */
    const char *selected[CATALOG_MAX]; /* ids of the specialties asked */
    int n_selected, n_reports;
    double agreement;       /* among the reports, NaN = not measured */
    double agreement_class; /* likewise, by classes of synonyms */
    const char *choices;    /* as in consult; NULL = not recorded */
    double p;               /* probability of the predicted letter, NaN = not measured */
    /* (n_options) by option of the data file: its probability, sum 1; only if has_p */
    double p_option[MEDQA_OPTIONS];
    bool has_p;
    /* (n_options) by option of the data file: log-probability of its letter; only if has_lp */
    double option_lp[MEDQA_OPTIONS];
    bool has_lp;
    /* answered by another program: its calls are not known, and its seconds are NaN. Tokens are -1
     * unless its file has them */
    bool imported;
    double seconds, joules; /* of the case; joules NaN = not measured */
    double ended; /* seconds of the run's clock, which a new start of the machine resets; NaN = not
                   * recorded */
    const char *energy; /* the source of the joules, or why there are none; "" = not recorded */
    int calls;
    int cut;          /* number of replies cut at their token limit */
    int closed;       /* number of replies closed before their limit, validly under their schema */
    int thoughts_cut; /* replies whose thinking was cut at its budget */
    int64_t prompt_tokens, cached_tokens, new_tokens; /* prompt_tokens counts cached ones too */
    int64_t think_tokens;                             /* of the thinking; new_tokens has none */
};

struct results {
    struct result *r; /* (n) */
    size_t n, cap;
    struct arena arena; /* their strings */
};
void results_free(struct results *rs); /* accepts a zeroed one */

/* Bytes of the beginning of a question that reports show: at most 100 characters. */
size_t result_head(const char *s);

/* Appends the case as a JSON object without its last brace; trace.c adds the checksum. */
void result_write(const struct consult *c, struct str *out);
/* Appends one call as a JSON object without its last brace. */
void result_write_call(const struct consult *c, const struct consult_call *k, struct str *out);

/* Reads a whole case line (with brace and checksum) and appends it to rs. ERR_DATA, ERR_NOMEM. */
int result_read(struct results *rs, const char *line, size_t n, struct err *e);
/* Tokens of a case that the model computed: thinking, new ones, and prompt tokens not from the
 * cache; -1 = not known. */
int64_t result_computed(const struct result *r);
/* Puts the results in the order of the data file. */
void results_sort(struct results *rs);

#endif
