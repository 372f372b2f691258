/*
 * doubts: questions of a file whose keys are in doubt. Each is asked and counted by its key; people
 * are told.
 * - Another option has the text of the key's option. That option counts as wrong.
 * - An earlier question has the same text and options, and another key. At most one is right.
 */
#ifndef MAS_DOUBTS_H
#define MAS_DOUBTS_H

#include "medqa.h"
#include "str.h"

/* Appends lines for people about the questions of the first n_records records; nothing without a
 * doubt. name: of the file. most: questions of each kind that are named by their lines; the others
 * are counted. ERR_NOMEM. */
int doubts_say(const struct medqa *m, size_t n_records, const char *name, size_t most,
               struct str *out, struct err *e);

#endif
