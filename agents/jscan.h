/*
 * jscan: finds the members of a JSON object and the items of an array without reading their values.
 * So a value that nobody needs cannot make a document unreadable.
 *
 * - Structure is strict: brackets match, commas and colons stand in their places, no comma is left
 *   over, strings end, words are true, false or null.
 * - Values are not judged: NaN, Infinity, 1e400, integers of any length, any bytes in a string, any
 *   depth.
 * - No recursion: one bit a level. The text is untrusted; nothing outside [s, s + n) is read.
 *
 * A needed value goes from here to jdoc.h, which is strict.
 */
#ifndef MAS_JSCAN_H
#define MAS_JSCAN_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"

struct jscan {
    const char *s;
    size_t n, at;
    unsigned char *level; /* bit i: the open bracket at depth i is an object's */
    size_t cap;           /* bytes */
    bool object, first;   /* an object (not an array); nothing was found yet */
};

struct jscan_item {
    const char *key; /* between its quotes, escapes not decoded; NULL in an array */
    size_t key_len;
    const char *value; /* without white space around it; never empty */
    size_t n;
};

/* j is zeroed or was used before; its memory is reused. s must outlive the walk. */
void jscan_set(struct jscan *j, const char *s, size_t n);
void jscan_free(struct jscan *j); /* accepts a zeroed one */

/* Reads the opening bracket, '{' or '['. ERR_DATA with the column (bytes from 1) for anything
 * else. */
int jscan_open(struct jscan *j, char bracket, struct err *e);
/* 1 = the next member or item, 0 = the closing bracket was passed. ERR_DATA with the column,
 * ERR_NOMEM. */
int jscan_next(struct jscan *j, struct jscan_item *out, struct err *e);
/* 0 if only white space follows; else ERR_DATA. */
int jscan_end(struct jscan *j, struct err *e);
/* The item's key is this text (without quotes and backslashes). */
bool jscan_key(const struct jscan_item *it, const char *name);

#endif
