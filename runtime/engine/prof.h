/* prof: where the time of a step goes, by op. On the CPU an op has finished when its call returns,
 * so wall time around the call is its time. Off by default; costs two clock reads an op when on. */
#ifndef MAS_PROF_H
#define MAS_PROF_H

#include <stdbool.h>

#include "ops.h"
#include "str.h"

struct prof {
    bool on;
    int64_t ns[OP_COUNT];
    uint64_t calls[OP_COUNT];
};

/* op, calls, ms, share; most expensive first */
void prof_table(const struct prof *p, struct str *out);

#endif
