/*
 * trace_diff: the differences between the identity of a run and the identity of the run that is to
 * continue it.
 */
#ifndef MAS_TRACE_DIFF_H
#define MAS_TRACE_DIFF_H

#include <jansson.h>

#include "str.h"

/* Appends the differences between the object `was` and the JSON text `now`, with both values. *n:
 * number of different values. Paths are skipped, because the hashes of their files are compared.
 * ERR_DATA when now is no JSON, ERR_NOMEM. */
int trace_differences(const json_t *was, const char *now, int *n, struct str *out, struct err *e);

#endif
