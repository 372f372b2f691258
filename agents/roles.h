/*
 * roles: the calls of a run, counted role by role from the call lines of its trace. A role is a
 * name in a trace. A role that no strategy of this program declares is counted like any other.
 */
#ifndef MAS_ROLES_H
#define MAS_ROLES_H

#include "err.h"
#include "mem.h"

struct roles_row {
    const char *name;
    int64_t calls, unparsed, cut, closed;
    int64_t prompt_tokens, cached_tokens, new_tokens; /* prompt_tokens counts cached ones too */
    int64_t think_tokens;                             /* new_tokens has none of them */
};

struct roles {
    struct roles_row *r; /* (n) in order of first mention in the trace */
    size_t n, cap;
    struct arena arena; /* their names */
};

/* Counts one call line, with or without its line end. ERR_DATA when a key is missing or of another
 * form, ERR_NOMEM. */
int roles_add(struct roles *rs, const char *line, size_t n, struct err *e);
void roles_free(struct roles *rs); /* accepts a zeroed one */

#endif
