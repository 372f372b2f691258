/*
 * scheduler: which rows go into the next step, and what becomes of its results. Runs on the engine
 * thread.
 *
 * A sequence is a list of tokens of which the first kv.len have been computed; whatever its history
 * (waiting, prefilling, decoding, preempted, a fork for scoring), the next step computes some of
 * the rest. That makes continuous batching, chunked prefill and recomputation after preemption one
 * rule.
 *
 *   waiting --admit--> running --all computed: sample / score--> .. --> finished (done called)
 *      ^                  |
 *      +---- preempted ---+   pages ran out: the youngest gives its pages back and waits in front
 *
 * Fairness: every running sequence with one token left to compute is in every step; prefill chunks
 * share the rest of batch_tokens in order of arrival; admission is first come, first served, and
 * pages are taken from the youngest. The oldest request has rows in every step, but for a step in
 * which another one computes a page that it wants too. So a request waits at most for those that
 * came before it, and is done after as many steps as it and they have tokens, prompts and replies
 * together (t_soak_mt holds a run to less). Of requests of different rank the lower one counts as
 * older, but who runs already goes on: a newcomer of lower rank waits for a place and pages.
 */
#ifndef MAS_SCHEDULER_H
#define MAS_SCHEDULER_H

#include "engine_stats.h"
#include "forward.h"
#include "request.h"

struct grammar_vocab; /* grammar.h */
struct tokenizer;     /* tokenizer.h */
struct seq;           /* seq.h */
struct speculate;     /* speculate.h */
struct sched;

struct sched_config {
    int n_seq, batch_tokens, n_ctx;
};

int sched_open(const struct sched_config *c, struct forward *fw, struct kv *kv,
               const struct tokenizer *tok, struct grammar_vocab *gv, struct speculate *sp,
               struct sched **out, struct err *e); /* sp NULL: no guessing ahead */
void sched_close(struct sched *s);                 /* nothing may be in it; accepts NULL */

void sched_add(struct sched *s, struct seq *q); /* takes ownership until finished() */
void sched_cancel(struct sched *s, struct seq *q);
bool sched_idle(const struct sched *s);

/* One step: admits, computes, samples, finishes. finished(q, user) is called for each sequence that
 * ended, with the request's out part filled; it must free q. A device error ends all of them with
 * that error and is returned. */
int sched_step(struct sched *s, void (*finished)(struct seq *q, void *user), void *user,
               struct err *e);
/* Ends everything at once with this finish and error. */
void sched_abort(struct sched *s, enum finish finish, const struct err *why,
                 void (*finished)(struct seq *q, void *user), void *user);
void sched_stats(const struct sched *s, struct engine_stats *out);

#endif
