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
 *
 * defaults: JSON object of options by name, or NULL. An option that only one side has is compared
 * as if the other side had its default. So a run can be continued by a program with new options,
 * as long as they have their defaults.
 *
 * ERR_DATA when now or defaults is no JSON, ERR_NOMEM. */
int trace_differences(const json_t *was, const char *now, const char *defaults, int *n,
                      struct str *out, struct err *e);

#endif
