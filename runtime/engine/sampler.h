/* sampler: checks the sampling parameters of a request and turns them into rows of the op
 * sample. */
#ifndef MAS_SAMPLER_H
#define MAS_SAMPLER_H

#include "ops.h"
#include "request.h"

/* ERR_USAGE names the parameter, its value and range. */
int sampler_check(const struct request *r, struct err *e);
/* The row of the request's step-th token (0 = first); mask = row of the masks, -1 = none. */
struct sample_row sampler_row(const struct request *r, int step, int mask);

#endif
