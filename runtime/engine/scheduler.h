/*
 * scheduler: chooses the rows of the next step and uses its results. Runs on the engine thread.
 *
 * A sequence is a list of tokens, of which the first kv.len are computed. The next step computes
 * some of the rest. This one rule covers continuous batching, chunked prefill, recomputation after
 * preemption, and forks for scoring.
 *
 *   waiting --admit--> running --all computed: sample / score--> .. --> finished (done called)
 *      ^                  |
 *      +---- preempted ---+   pages ran out: the youngest gives its pages back and waits at the
 *                             head
 *
 * Fairness:
 *   - Every running sequence with one token left to compute is in every step.
 *   - Prefill chunks share the rest of batch_tokens in order of arrival.
 *   - Admission is first come, first served. Pages are taken from the youngest sequence.
 *   - The oldest request has rows in every step. Exception: a step in which another request
 *     computes a page that it needs too.
 *   - So a request finishes within as many steps as there are tokens in it and in all requests
 *     ahead of it: prompts, thinking and replies together. (t_soak_mt holds a run to fewer.)
 *   - A request of lower rank counts as older. It does not preempt a running one: it waits for a
 *     place and for pages.
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
    struct spans *spans; /* or NULL */
};

int sched_open(const struct sched_config *c, struct forward *fw, struct kv *kv,
               const struct tokenizer *tok, struct grammar_vocab *gv, struct speculate *sp,
               struct sched **out, struct err *e); /* sp NULL: no speculation */
void sched_close(struct sched *s);                 /* must be empty; accepts NULL */

void sched_add(struct sched *s, struct seq *q); /* takes ownership until finished() */
void sched_cancel(struct sched *s, struct seq *q);
bool sched_idle(const struct sched *s);

/* Runs one step: admits, computes, samples, finishes. Calls finished(q, user) for each sequence
 * that has ended, with the request's out part filled; it must free q. After a device
 * error, which is returned, there is no further step: sched_abort ends the sequences. */
int sched_step(struct sched *s, void (*finished)(struct seq *q, void *user), void *user,
               struct err *e);
/* Ends all sequences at once with this finish and error. */
void sched_abort(struct sched *s, enum finish finish, const struct err *why,
                 void (*finished)(struct seq *q, void *user), void *user);
void sched_stats(const struct sched *s, struct engine_stats *out);

#endif
