/*
 * escape: untrusted bytes made safe to show on a terminal or in a message. Printable ASCII and
 * valid UTF-8 text stay; control characters, invalid bytes, invisible and direction-changing
 * characters become \xNN per byte, a backslash becomes \\, so that two different names never look
 * the same.
 */
#ifndef MAS_ESCAPE_H
#define MAS_ESCAPE_H

#include "str.h"

/* Appends at most max_bytes of s in escaped form; "..." follows when something was left out. */
void escape_add(struct str *out, const char *s, size_t len, size_t max_bytes);

/* For messages: the same into a fixed buffer without allocation, cut to fit; returns buf. */
enum { ESCAPE_NAME = 96 };
const char *escape_name(char buf[ESCAPE_NAME], const char *s, size_t len);

#endif
