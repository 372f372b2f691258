/*
 * budget: the tokens that another run spent on each question, for a strategy that is to spend as
 * many. Tokens: those generated, of replies and of thinking. A question is found by its id.
 *
 * A strategy keeps to a question's budget by that question alone. So results depend neither on
 * other questions nor on concurrency. budget_tally then measures how near the means are.
 */
#ifndef MAS_BUDGET_H
#define MAS_BUDGET_H

#include "medqa.h"
#include "result.h"
#include "str.h"

struct budget_row {
    char id[24];
    int64_t tokens;
};

struct budget {
    struct budget_row *row; /* (n), by id */
    size_t n;
    char sha256[65]; /* of the ids and tokens */
};

#define BUDGET_NEAR 0.02 /* means that differ by this share at most are matched */

/* The finished questions of a run. ERR_DATA when the run has none or generates nothing; the errors
 * of trace_read. */
int budget_read(const char *dir, struct budget *out, struct err *e);
/* From results, which need no order. */
int budget_take(const struct results *rs, struct budget *out, struct err *e);
void budget_free(struct budget *b); /* accepts a zeroed one */
/* Tokens of the question; -1 = it has no budget. */
int64_t budget_of(const struct budget *b, const char *id);
/* ERR_DATA names the first of the questions that has no budget. dir: the run, for the message. */
int budget_covers(const struct budget *b, const struct medqa_question *q, size_t n, const char *dir,
                  struct err *e);

struct budget_tally { /* over the finished questions that have a budget */
    size_t n;
    double spent, given; /* means, tokens a question; NaN when n == 0 */
    bool near;           /* within BUDGET_NEAR */
};
struct budget_tally budget_tally(const struct budget *b, const struct results *rs, size_t records);

#endif
