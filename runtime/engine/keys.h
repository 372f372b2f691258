/*
 * keys: checks the keys of a model file under its architecture's prefix against a table (keys.def).
 * So no key that changes the arithmetic is ignored. Keys of an image encoder in the same file do
 * not concern the text: vision.*, mm.*.
 */
#ifndef MAS_KEYS_H
#define MAS_KEYS_H

#include "gguf.h"
#include "str.h"

/* arch: the prefix without its dot. ERR_DATA names the first key whose value is not supported, the
 * value and the supported ones. *unknown receives the names of keys that the table lacks, joined by
 * ", " and safe to print. */
int keys_check(const struct gguf *g, const char *arch, struct str *unknown, struct err *e);

/* The feature of an unknown architecture that no known one has, as its keys tell: "a mixture of
 * experts", .. NULL: they tell none. */
const char *keys_reason(const struct gguf *g, struct gguf_str arch);

#endif
