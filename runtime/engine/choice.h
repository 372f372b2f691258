/*
 * choice: finds the place in a reply where the model writes a letter of interest, and says which
 * letter a token would write there. The place is the byte after the text request_choice.after.
 * Both the text and the letter may begin and end anywhere in a token.
 */
#ifndef MAS_CHOICE_H
#define MAS_CHOICE_H

#include <stddef.h>

#include "request.h"

struct tokenizer; /* tokenizer.h */

/* Checks the choice of a request. ERR_BUG. */
int choice_check(const struct request *r, struct err *e);
/* Reads the bytes of a token of the reply. *matched: bytes of `after` that end before them; it is 0
 * at the start of a reply, and is updated. Returns the letter that the token writes at the place, 0
 * to n - 1, or -1. */
int choice_read(const struct request_choice *c, int *matched, const char *s, size_t n);
/* Adds the log-probability lp to the sum of a letter: out = log(exp(out) + exp(lp)). */
void choice_add(double *out, double lp);
/* Makes the log-probabilities of all letters those among the letters: their sum becomes 1. False
 * when every letter has probability 0. */
bool choice_norm(double *lp, int n);

#endif
