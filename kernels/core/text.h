/*
 * text: the beginning of text from outside. A byte order mark of UTF-8 is no part of the text.
 * UTF-16 and UTF-32 are refused by name, with or without a mark, because their NUL bytes would cut
 * a text or pass for characters.
 */
#ifndef MAS_TEXT_H
#define MAS_TEXT_H

#include "str.h"

/* "UTF-16LE", "UTF-16BE", "UTF-32LE" or "UTF-32BE", the names that iconv knows; NULL for anything
 * else. Without a mark, NUL bytes at the positions of Latin text tell them. marked: only a mark
 * counts. */
const char *text_wide(const char *s, size_t n, bool marked);

/* Bytes of the mark of UTF-8 at the beginning: 3 or 0. */
size_t text_mark(const char *s, size_t n);

/* Fails with `code` for text_wide and for NUL bytes; the message names the text by `name`. */
int text_check(const char *s, size_t n, const char *name, int code, struct err *e);

/* Checks as text_check. Then removes the mark, and turns each CR LF and each single CR into one
 * LF. */
int text_clean(struct str *s, const char *name, int code, struct err *e);

#endif
