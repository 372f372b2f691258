/*
 * jscan: finds the members of a JSON object and the items of an array without reading their values,
 * so that a value nobody needs cannot make a document unreadable.
 *
 *   - Structure is strict: brackets match, commas and colons stand where they must, strings end, no
 *   comma is
 *     left over, words are true, false or null.
 *   - Values are not judged: NaN, Infinity, 1e400, integers of any length, any bytes in a string,
 *   any depth.
 *   - No recursion: one bit a level. The text is untrusted; nothing outside [s, s + n) is read.
 *
 * A value that is needed goes from here to jdoc.h, which is strict.
 */
#ifndef MAS_JSCAN_H
#define MAS_JSCAN_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"

struct jscan {
    const char *s;
    size_t n, at;
    unsigned char *level; /* bit i: the bracket open at depth i is an object's */
    size_t cap;           /* bytes */
    bool object, first;   /* what is walked through; nothing was found yet */
};

struct jscan_item {
    const char *key; /* between its quotes, escapes as they stand; NULL in an array */
    size_t key_len;
    const char *value; /* without white space around it; never empty */
    size_t n;
};

/* j is zeroed or was used before: its memory is kept. s must outlive the walk. */
void jscan_set(struct jscan *j, const char *s, size_t n);
void jscan_free(struct jscan *j); /* accepts a zeroed one */

/* The opening bracket, '{' or '['; ERR_DATA with the column (bytes from 1) when another thing
 * stands there. */
int jscan_open(struct jscan *j, char bracket, struct err *e);
/* 1 = the next member or item, 0 = the closing bracket was passed. ERR_DATA with the column,
 * ERR_NOMEM. */
int jscan_next(struct jscan *j, struct jscan_item *out, struct err *e);
/* Nothing but white space follows. */
int jscan_end(struct jscan *j, struct err *e);
/* The item's key is this text (without quotes and backslashes). */
bool jscan_key(const struct jscan_item *it, const char *name);

#endif
