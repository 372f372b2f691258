/* trace_diff: what differs between the identity of a run and that of the run that is to continue
 * it. */
#ifndef MAS_TRACE_DIFF_H
#define MAS_TRACE_DIFF_H

#include <jansson.h>

#include "str.h"

/* Appends what differs between the object `was` and the JSON text `now`, with both values; *n = how
 * many values do. Paths are passed over, since the hashes of what they name are compared.
 * ERR_DATA when now is no JSON, ERR_NOMEM. */
int trace_differences(const json_t *was, const char *now, int *n, struct str *out, struct err *e);

#endif
