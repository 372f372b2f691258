/*
 * outcome: turns the logits of a step into results. It draws tokens, accepts drafts and branches,
 * advances grammars, ends replies, scores continuations and passes out raw logits. The scheduler
 * decides which sequences have rows in the step and how many of these have logits.
 *
 * One thread (the engine's). Allocates nothing after opening, except the text that closes a reply.
 */
#ifndef MAS_OUTCOME_H
#define MAS_OUTCOME_H

#include "engine_stats.h"
#include "forward.h"
#include "grammar.h"
#include "seq.h"
#include "speculate.h"

struct outcome;

/* Borrows all; sp may be NULL. Increases new_tokens, drafted, accepted and branched of stats.
 * ERR_NOMEM. */
int outcome_open(struct forward *fw, struct kv *kv, const struct tokenizer *tok,
                 struct grammar_vocab *gv, struct speculate *sp, struct engine_stats *stats,
                 struct outcome **out, struct err *e);
void outcome_close(struct outcome *s); /* accepts NULL */

/* Appends the rows with logits to b: n_logit of each running sequence, and all rows of its
 * branches. Returns the number of sampled rows, which come first. */
int outcome_ask(struct outcome *s, const struct seq_list *running, struct batch *b);
/* Takes the results of the step. An error of one sequence is stored in it (q->failed); the returned
 * error is the device's. */
int outcome_take(struct outcome *s, const struct seq_list *running, int n_sample, struct err *e);

#endif
