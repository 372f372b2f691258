/*
 * vary: variants of questions, for tests of robustness. Each variant is a question of its own, with
 * an id of its own and the id of its origin. So a run on variants is a run like any other.
 *
 * - cyclic: each question in all cyclic orders of its options (Pezeshkpour and Hruschka, NAACL
 *   Findings 2024, study the order of options). A question with n options gives n questions.
 * - none: the right option's text becomes "None of the other answers". The key stays at its place.
 *   A question without a key is left as it is.
 * - paraphrases: each question, and after it the same question in other words, with the same
 *   options and key. The words come from a file: JSON Lines {"id": .., "question": ..}, several
 *   lines an id if wanted. A question without a line stays alone.
 *
 * The variants of a record take the record's place, so the first records of a file give the first
 * variants. A rejected record stays one rejected record. A variant that equals an earlier question
 * is a duplicate, as in a file (medqa.h).
 */
#ifndef MAS_VARY_H
#define MAS_VARY_H

#include <jansson.h>

#include "medqa.h"
#include "str.h"

enum vary_kind { VARY_AS_IS, VARY_CYCLIC, VARY_NONE, VARY_PARAPHRASES };
#define VARY_NONE_TEXT "None of the other answers"
#define VARY_FILE "paraphrases.jsonl" /* the copy of a file of paraphrases in a run's folder */

struct vary {
    enum vary_kind kind;
    /* of VARY_PARAPHRASES: the text of the file (n bytes), and its name for messages */
    const char *text, *name;
    size_t n;
};

struct vary_count {
    /* of the first records asked for: their questions, the different variants of these, and the
     * records that have taken their place */
    size_t questions, variants, records;
    size_t alone;  /* paraphrases: questions of the data without one */
    size_t unused; /* paraphrases of ids that are not among the questions */
};

/* Replaces the records of m by their variants. asked: number of first records that are wanted; 0 =
 * all. Appends to describe a JSON object for the identity of a run. ERR_DATA names the line of a
 * bad paraphrase; also when no paraphrase is of a question, or there are too many records.
 * ERR_NOMEM. */
int vary_take(const struct vary *v, struct medqa *m, size_t asked, struct vary_count *count,
              struct str *describe, struct err *e);
/* Does the same to m, the questions of the run in the folder dir, if the run's identity names
 * variants. ERR_DATA when the folder's file of paraphrases is not the run's; ERR_NOINPUT. */
int vary_recorded(const char *dir, const json_t *identity, struct medqa *m, struct err *e);
/* "20 questions x 4 orders"; "" = no variants. */
void vary_say(enum vary_kind kind, const struct vary_count *n, char out[96]);

/* Appends JSON Lines in the form medqa, with the id of the origin as "of". Rejected and duplicate
 * records are left out. */
void vary_write(const struct medqa *m, struct str *out);

#endif
