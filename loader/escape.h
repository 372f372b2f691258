/*
 * escape: makes untrusted bytes safe for a terminal or a message. Printable ASCII and valid UTF-8
 * stay. Control characters, invalid bytes, invisible and direction-changing characters become \xNN
 * per byte. A backslash becomes \\, so two different names never look the same.
 */
#ifndef MAS_ESCAPE_H
#define MAS_ESCAPE_H

#include "str.h"

/* Appends at most max_bytes of s in escaped form, and "..." if bytes were left out. */
void escape_add(struct str *out, const char *s, size_t len, size_t max_bytes);

/* Writes s in escaped form to a fixed buffer, cut to fit, without allocation; returns buf. */
enum { ESCAPE_NAME = 96 };
const char *escape_name(char buf[ESCAPE_NAME], const char *s, size_t len);

#endif
