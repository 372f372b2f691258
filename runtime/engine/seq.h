/*
 * seq: one sequence in the engine: a request's own, or a continuation that is scored for it. Its
 * tokens, its pages, and where it stands. The scheduler decides; this file makes, checks and lists.
 */
#ifndef MAS_SEQ_H
#define MAS_SEQ_H

#include "grammar.h"
#include "kv.h"
#include "request.h"

#define DRAFT_MOST 64 /* guesses of a sequence in one step */
#define BRANCH_MOST 4 /* other ways on of a sequence in one step */

/*
 * Another way on than a sequence's guesses: their first `from`, then other tokens. Guesses and
 * branches are a tree, and one step verifies all of it. A branch is a fork that computes the rows
 * of the last token and of the shared guesses once more for itself, so that attention sees a
 * sequence like any other and gives the same bits.
 */
struct branch {
    struct kv_seq kv, draft_kv;
    int from, n; /* n = 0: given up */
    int32_t tok[DRAFT_MOST];
    uint8_t class[DRAFT_MOST]; /* speculate.h */
    int first_row, rows;       /* in the step's batch: 1 + from + n, of which all want logits */
};

enum seq_kind {
    SEQ_GENERATE, /* prompt, then sampled tokens */
    SEQ_SCORE,    /* prompt; its last row scores the first token of every continuation */
    SEQ_CONT,     /* prompt + one continuation: scores the tokens after its first */
};

enum seq_where {
    SEQ_WAITING,
    SEQ_RUNNING,
    SEQ_PARKED /* score prompt, kept for its continuations */
};

/* What one step knows of a sequence. seq_step_begin sets all of it back; nothing of it outlives the
 * step. */
struct seq_step {
    int rows;      /* in the batch, 0 = none */
    int first_row; /* of them */
    int logit;     /* first logits row, -1 = none */
    int n_logit;   /* the last n_logit rows want logits */
    /* guesses after the tokens, tok[n_tok ..], that this step verifies (speculate.h) */
    int n_draft;
    uint8_t draft_class[DRAFT_MOST];
    struct branch *branch[BRANCH_MOST]; /* lent by speculate */
    int n_branch;
};

/*
 * Each field belongs to one of four groups, by what sets it back:
 *
 *   request    fixed when the sequence is made                      nothing
 *   progress   kept when the sequence is preempted or moves lists   nothing: each fact becomes true
 *              once
 *   memory     pages of the KV caches                               seq_preempt, or the end of the
 *              sequence
 *   step       the step being put together                          seq_step_begin
 *
 * A fork (a continuation of a score) has progress of its own from the start; it shares pages, not
 * state.
 */
struct seq {
    struct seq *prev, *next; /* in the list that `where` names */
    enum seq_where where;

    /* request */
    enum seq_kind kind;
    struct request *r;
    struct seq *owner; /* of a SEQ_CONT: the SEQ_SCORE */
    struct seq **cont; /* of a SEQ_SCORE: one per continuation of two or more tokens */
    int n_cont;
    int cont_index;   /* of a SEQ_CONT: in the request */
    uint64_t arrival; /* order of service: rank of the request, then order of arrival */
    int32_t *tok;     /* (cap) prompt, then what follows */
    int cap;

    /* progress */
    int n_tok; /* tokens known so far */
    struct grammar_state grammar;
    int raw_next;  /* next position whose logits are scored or go to on_logits */
    int cont_left; /* of a SEQ_SCORE: continuations not yet scored */
    bool started;  /* was admitted once: the grammar is set up */
    /* of a SEQ_SCORE: the prompt has given what it is asked for: scores of first tokens, or
     * logits */
    bool scored;
    bool cancelled, failed;
    bool preempted; /* at least once: cache figures count the first pass only */

    /* memory */
    struct kv_seq kv;
    /* of the draft model (drafter.h); kept when preempted, since the drafter's pool is its own */
    struct kv_seq draft_kv;

    struct seq_step step;
};

struct seq_list {
    struct seq *head, *tail;
    int n;
};

/* Everything of a request that can be checked before it is taken. ERR_DATA. */
int seq_check(const struct request *r, const struct tokenizer *tok, int n_ctx, struct err *e);
/* Memory of a request's life in the engine; made on the submitting thread so that lack of memory is
 * that caller's error. Checks everything that can be checked without the engine thread. */
int seq_new(struct request *r, const struct kv *kv, const struct tokenizer *tok, int n_ctx,
            struct seq **out, struct err *e);
void seq_free(struct kv *kv, struct seq *q);
struct request *seq_request(struct seq *q);

/* Gives back the pages of q, which will compute its tokens again. Progress stays. */
void seq_preempt(struct kv *kv, struct seq *q);
/* Before a step is put together; branches must have been given back. */
void seq_step_begin(struct seq *q);

/* Inserts in order of arrival, so that the tail of a list is always its youngest. */
void seq_list_insert(struct seq_list *l, struct seq *q);
void seq_list_remove(struct seq_list *l, struct seq *q);
/* Is q in l, given that it is in no other list? */
bool seq_listed(const struct seq_list *l, const struct seq *q);

#endif
