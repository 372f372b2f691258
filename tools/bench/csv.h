/*
 * csv: lines of comma-separated values (RFC 4180) in memory. A field may stand in double quotes;
 * two of them inside stand for one. A quoted field may hold commas and line ends. The text is
 * trusted in nothing.
 */
#ifndef MAS_CSV_H
#define MAS_CSV_H

#include "mem.h"

enum { CSV_FIELDS = 4096 }; /* of a line, at most */

struct csv {
    const char *s; /* the text, n bytes */
    size_t n, at;
    int line;         /* of the next byte, from 1 */
    const char *name; /* of the text, in messages */
};

struct csv_line {
    char **field; /* (n), NUL-terminated, in the caller's arena */
    int n;
    int line;
};

/* The rest of the line at c->at as it is, without its end; nothing is taken. *n: its bytes. */
const char *csv_peek(const struct csv *c, size_t *n);
/* Takes the rest of the line, whatever it holds. */
void csv_skip(struct csv *c);
/* Takes one line. Requires c->at < c->n. ERR_DATA with the line: a quote without an end, bytes
 * after a quoted field, more than CSV_FIELDS fields, a NUL byte, no line end. A text without a line
 * end may have been cut off. */
int csv_take(struct csv *c, struct arena *a, struct csv_line *out, struct err *e);

#endif
