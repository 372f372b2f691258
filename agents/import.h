/*
 * import: predictions that another program made, as the cases of a run. So they are exported,
 * compared and counted like any run. Nothing is invented: tokens, seconds and joules that the file
 * does not give are null, and a question without a prediction is not run.
 *
 * The content decides the form (DATASETS.md):
 * - items: a JSON array or JSON Lines of {id, pred, gold, prompt_tokens}
 * - lm-eval: samples_*.jsonl of lm-evaluation-harness, of multiple choice or of texts
 * - csv: a line of names, then rows. The columns p_A, p_B, .. are the options' probabilities, and
 *   lp_A, lp_B, .. their log-probabilities
 *
 * results.csv of this program is such a CSV. Its rows of duplicates, of rejected records and of
 * questions that were not run are no predictions.
 *
 * The question of a prediction, by the first rule that applies:
 * 1. doc, a record of a question file: the question with the same content.
 * 2. id is the 16 hex digits of a question's id.
 * 3. id is a whole number, or one text for all ids and then a number: the record of that number,
 *    from 0.
 *
 * A key that the file gives must be that of the question. Otherwise the file is refused: it belongs
 * to other questions, or to another order.
 *
 * The answer is a letter or the text of one option. Another text, or none, is an unparsed case.
 */
#ifndef MAS_IMPORT_H
#define MAS_IMPORT_H

#include "medqa.h"
#include "str.h"

struct import_answer { /* of one question */
    bool given;
    int predicted;         /* index of the option, -1 = unparsed */
    char why[160];         /* unparsed: the reason */
    int64_t prompt_tokens; /* -1 = not known */
    bool has_lp;
    double lp[MEDQA_OPTIONS]; /* (n_options) log-probabilities of the options */
    bool has_p;
    double p[MEDQA_OPTIONS]; /* (n_options) probabilities of the options, sum 1 */
};

struct import {
    struct import_answer *answer; /* (n) by question of the data file */
    size_t n, n_given, n_unparsed;
    size_t n_repeated;      /* predictions for duplicate records, left out */
    const char *form, *key; /* name of the form; "checked" or "not given" */
    char sha256[65];        /* of the file after inflation */
};

/* filter: of lm-eval samples, which may hold several; NULL = the only one. Errors: ERR_NOINPUT,
 * ERR_IO, ERR_DATA with the line, ERR_NOMEM. */
int import_read(const char *path, const char *filter, const struct medqa *data, struct import *out,
                struct err *e);
/* As import_read, from memory; name is for messages. */
int import_parse(const char *text, size_t n, const char *name, const char *filter,
                 const struct medqa *data, struct import *out, struct err *e);
void import_free(struct import *im); /* accepts a zeroed one */

/* Appends the cases of the given answers as lines of a trace (trace_import). */
void import_write(const struct import *im, const struct medqa *data, struct str *out);
/* The two objects of trace_options, as those of identity.h. name: of the predictions, for
 * people. */
void import_identity(const struct import *im, const struct medqa *data, const char *name,
                     struct str *out);
void import_about(const char *name, const char *version, const char *path, const char *data_path,
                  struct str *out);

#endif
