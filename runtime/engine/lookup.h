/*
 * lookup: guesses how a text goes on from where its last tokens have stood before: in the text
 * itself, or in what the engine has written lately (prompt lookup decoding, Saxena 2023). Replies
 * quote their prompts and repeat the forms of the replies before them, so that such guesses are
 * often right, and they cost no model.
 *
 * One thread.
 */
#ifndef MAS_LOOKUP_H
#define MAS_LOOKUP_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct lookup;

#define LOOKUP_LONGEST 8 /* tokens of context that are compared at most */

enum lookup_from { LOOKUP_TEXT, LOOKUP_MEMORY };

struct lookup_guess {
    const int32_t *next; /* (n) in the text or in the memory: valid until that changes */
    int n;
    int length; /* tokens of context that agree, 2 (text) or 3 (memory) to LOOKUP_LONGEST */
    enum lookup_from from;
};

/* tokens: what the memory holds, at least 16; the oldest make room. ERR_NOMEM. */
int lookup_open(size_t tokens, struct lookup **out, struct err *e);
void lookup_close(struct lookup *l); /* accepts NULL */

/* Remembers a text of n tokens. Nothing is guessed from one text into the next. */
void lookup_remember(struct lookup *l, const int32_t *tok, int n);

/* How tok[0..n) may go on: by the longest context, of equal ones by the text itself, there by the
 * last place. n = 0 in the guess: no idea. */
struct lookup_guess lookup_find(const struct lookup *l, const int32_t *tok, int n);

#endif
