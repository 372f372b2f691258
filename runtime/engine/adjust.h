/*
 * adjust: a request's biases and penalties, as edits of one row of logits. request.h has the
 * formula. The edits depend on the request and on the tokens before the row, never on the step that
 * computes the row. So they are the same with and without drafts, and after a preemption.
 *
 * One thread (the engine's). Allocates nothing after opening.
 */
#ifndef MAS_ADJUST_H
#define MAS_ADJUST_H

#include "forward.h"
#include "request.h"

struct adjust;

/* ERR_NOMEM. */
int adjust_open(int32_t n_vocab, struct adjust **out, struct err *e);
void adjust_close(struct adjust *a); /* accepts NULL */

/* ERR_USAGE, ERR_DATA: a value out of its range, or a token that the vocabulary lacks. */
int adjust_check(const struct request *r, int32_t n_vocab, struct err *e);
/* False: no logit of r is ever changed. */
bool adjust_wanted(const struct request *r);

struct adjust_text { /* the tokens before a row: first the prompt */
    const int32_t *tok, *tail;
    int n, n_tail;
};
/* Most edits of a row of r after a text of n tokens. */
int adjust_most(const struct adjust *a, const struct request *r, int n);
/* Writes the edits of a row to edit (adjust_most); returns their number. */
int adjust_row(struct adjust *a, const struct request *r, const struct adjust_text *t, int32_t row,
               struct logit_edit *edit);

#endif
