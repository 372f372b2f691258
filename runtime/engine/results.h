/*
 * results: what becomes of a step's logits. Tokens are drawn and taken as far as guesses and
 * branches were right, grammars move on, replies end, continuations are scored, and raw logits are
 * handed out. The scheduler says which sequences have rows in the step and how many of them want
 * logits.
 *
 * The engine's thread. Allocates nothing after opening, but for the text that closes a reply.
 */
#ifndef MAS_RESULTS_H
#define MAS_RESULTS_H

#include "engine_stats.h"
#include "forward.h"
#include "grammar.h"
#include "seq.h"
#include "speculate.h"

struct results;

/* Borrows all; sp may be NULL. Adds to new_tokens, drafted, accepted and branched of stats.
 * ERR_NOMEM. */
int results_open(struct forward *fw, struct kv *kv, const struct tokenizer *tok,
                 struct grammar_vocab *gv, struct speculate *sp, struct engine_stats *stats,
                 struct results **out, struct err *e);
void results_close(struct results *s); /* accepts NULL */

/* Puts the rows of a step that want logits down in b: n_logit of each running sequence and all of
 * its branches. Returns how many are sampled; these come first. */
int results_ask(struct results *s, const struct seq_list *running, struct batch *b);
/* Takes the results of the step. What goes wrong with one sequence is its own (q->failed); returns
 * the device's error. */
int results_take(struct results *s, const struct seq_list *running, int n_sample, struct err *e);

#endif
