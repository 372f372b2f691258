/* prof: the time of a step by op. On the CPU an op is finished when its call returns, so its time
 * is the wall time of the call. Off by default; costs two clock reads an op when on. */
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

/* writes op, calls, ms, share; the most expensive op first */
void prof_table(const struct prof *p, struct str *out);

#endif
