/*
 * text: how text from outside begins. A byte order mark of UTF-8 is an editor's note and no part of
 * the text. UTF-16 and UTF-32 are refused by name, with or without a mark: their NUL bytes would
 * cut a text or pass for characters.
 */
#ifndef MAS_TEXT_H
#define MAS_TEXT_H

#include "str.h"

/* "UTF-16LE", "UTF-16BE", "UTF-32LE" or "UTF-32BE", the names that iconv knows; NULL for anything
 * else. Without a mark these are known by NUL bytes in the places where text of the Latin
 * alphabet has them. marked: only by their mark. */
const char *text_wide(const char *s, size_t n, bool marked);

/* Bytes of the mark of UTF-8 at the beginning: 3 or 0. */
size_t text_mark(const char *s, size_t n);

/* Fails with `code` for text_wide and for NUL bytes; name is that of the text in the message. */
int text_check(const char *s, size_t n, const char *name, int code, struct err *e);

/* The same, then takes the mark away, and makes each CR LF and each CR alone one LF. */
int text_clean(struct str *s, const char *name, int code, struct err *e);

#endif
