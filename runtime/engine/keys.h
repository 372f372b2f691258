/*
 * keys: holds the keys of a model file under its architecture's own prefix against a table
 * (keys.def), so that no key that changes the arithmetic is skipped.
 */
#ifndef MAS_KEYS_H
#define MAS_KEYS_H

#include "gguf.h"
#include "str.h"

/* arch: the prefix without its dot. ERR_DATA names the first key with a value that is not computed
 * here, the value and those that are. Names of keys that the table lacks are appended to
 * *unknown, separated by ", " and safe to print. */
int keys_check(const struct gguf *g, const char *arch, struct str *unknown, struct err *e);

#endif
