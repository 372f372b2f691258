/*
 * lookup: drafts the continuation of a text from an earlier occurrence of its last tokens (prompt
 * lookup decoding, Saxena 2023). It searches the text itself and the texts that the engine has
 * written lately. Replies quote their prompts and repeat the forms of earlier replies. So such
 * drafts are often accepted, and they need no model.
 *
 * One thread.
 */
#ifndef MAS_LOOKUP_H
#define MAS_LOOKUP_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct lookup;

#define LOOKUP_LONGEST 8 /* most tokens of context that are compared */

enum lookup_from { LOOKUP_TEXT, LOOKUP_MEMORY };

struct lookup_draft {
    const int32_t *next; /* (n) in the text or the memory; valid until that changes */
    int n;
    int length; /* tokens of context that agree: 2 (text) or 3 (memory) to LOOKUP_LONGEST */
    enum lookup_from from;
};

/* tokens: capacity of the memory, at least 16; the oldest tokens make room. ERR_NOMEM. */
int lookup_open(size_t tokens, struct lookup **out, struct err *e);
void lookup_close(struct lookup *l); /* accepts NULL */

/* Remembers a text of n tokens. A draft never continues from one text into the next. */
void lookup_remember(struct lookup *l, const int32_t *tok, int n);

/* Drafts a continuation of tok[0..n) from the longest matching context. Among equal lengths the
 * text itself comes before the memory, and its last occurrence before earlier ones. Result n = 0:
 * none. */
struct lookup_draft lookup_find(const struct lookup *l, const int32_t *tok, int n);

#endif
