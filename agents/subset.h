/*
 * subset: a choice among the records of a question file. The chosen records keep their order and
 * their lines. They become the whole file of a run: its denominators count them alone.
 *
 * Conditions hold together, in this order: step, ids, sample. A sample takes the n records with the
 * lowest random number. That number depends on the seed and the question's id. So a smaller sample
 * is part of a larger one, and the order of the file changes nothing.
 *
 * A sample is drawn among all records, also rejected ones and duplicates. Ids choose each question
 * once. A rejected record has neither a step nor an id, so these two conditions leave it out.
 */
#ifndef MAS_SUBSET_H
#define MAS_SUBSET_H

#include <jansson.h>
#include <stdbool.h>

#include "medqa.h"
#include "str.h"

struct subset {
    const char *step;       /* medqa_question.step; NULL or "" = any */
    const char *const *ids; /* (n_ids) ids of questions; n_ids 0 = any */
    size_t n_ids;
    int64_t sample; /* records; 0 = all */
    uint64_t seed;  /* of the sample */
};

/* Does it leave out anything? */
bool subset_chooses(const struct subset *s);
/* Reads ids from a text, one a line. Empty lines, lines that begin with #, and text after the id
 * are skipped. The ids live in arena. ERR_DATA with the line of a malformed id, ERR_NOMEM. */
int subset_ids(const char *text, size_t n, const char *name, struct arena *arena,
               const char *const **ids, size_t *n_ids, struct err *e);
/* As subset_ids, from a file. ERR_NOINPUT, ERR_IO too. */
int subset_ids_file(const char *path, struct arena *arena, const char *const **ids, size_t *n_ids,
                    struct err *e);
/* Keeps the chosen records of m and numbers them anew. Appends to describe a JSON object for the
 * identity of a run: the conditions, and a hash of the chosen records. ERR_DATA when an id is not
 * in the file, when the sample is larger than the file, or when nothing is left. ERR_NOMEM. */
int subset_take(const struct subset *s, struct medqa *m, struct str *describe, struct err *e);
/* Takes from m, the data file of the run in the folder dir, the choice that the run's identity
 * describes, if it describes one. Ids come from the folder's records. ERR_DATA when the choice has
 * other records than the run had; errors of subset_take and records_read. */
int subset_recorded(const char *dir, const json_t *identity, struct medqa *m, struct err *e);

#endif
