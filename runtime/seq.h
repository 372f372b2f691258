/*
 * seq: one sequence in the engine: a request's own, or a continuation that is scored for it. Its tokens,
 * its pages, and where it stands. The scheduler decides; this file makes, checks and lists.
 */
#ifndef MAS_SEQ_H
#define MAS_SEQ_H

#include "engine.h"
#include "kv.h"

#define DRAFT_MOST 64 /* guesses of a sequence in one step */
#define BRANCH_MOST 4 /* other ways on of a sequence in one step */

/*
 * Another way on than a sequence's guesses: their first `from`, then other tokens. Guesses and branches are a tree, and
 * one step verifies all of it. A branch is a fork that computes the rows of the last token and of the shared guesses once
 * more for itself, so that attention sees a sequence like any other and gives the same bits.
 */
struct branch {
    struct kv_seq kv, draft_kv;
    int from, n; /* n = 0: given up */
    int32_t tok[DRAFT_MOST];
    uint8_t class[DRAFT_MOST]; /* speculate.h */
    int first_row, rows; /* in the step's batch: 1 + from + n, of which all want logits */
};

enum seq_kind {
    SEQ_GENERATE, /* prompt, then sampled tokens */
    SEQ_SCORE,    /* prompt; its last row scores the first token of every continuation */
    SEQ_CONT,     /* prompt + one continuation: scores the tokens after its first */
};

enum seq_where { SEQ_WAITING, SEQ_RUNNING, SEQ_PARKED /* score prompt, kept for its continuations */ };

struct seq {
    struct seq *prev, *next; /* in the list that `where` names */
    enum seq_where where;
    enum seq_kind kind;
    struct request *r;
    struct seq *owner;   /* of a SEQ_CONT: the SEQ_SCORE */
    struct seq **cont;   /* of a SEQ_SCORE: one per continuation of two or more tokens */
    int n_cont, cont_left;
    int cont_index;
    uint64_t arrival;    /* who is served first: rank of the request, then order of coming */
    int32_t *tok;        /* (cap) prompt, then what follows */
    int n_tok, cap;
    struct kv_seq kv;
    struct kv_seq draft_kv; /* its pages of the draft model (drafter.h) */
    struct grammar_state grammar;
    bool started;        /* admitted once: grammar set up, counters running */
    bool cancelled, failed;
    bool preempted;      /* at least once: figures of the first pass stand */
    int raw_next;        /* next position whose logits are scored or go to on_logits */
    int rows;            /* rows in the step being put together */
    int first_row;       /* its first row in the batch */
    int logit;           /* first logits row of this step, -1 = none */
    int n_logit;
    int n_draft;         /* guesses behind the tokens, tok[n_tok ..], that this step verifies (speculate.h) */
    uint8_t draft_class[DRAFT_MOST];
    struct branch *branch[BRANCH_MOST]; /* lent by speculate for a step */
    int n_branch;
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

/* Inserts in order of arrival, so that the tail of a list is always its youngest. */
void seq_list_insert(struct seq_list *l, struct seq *q);
void seq_list_remove(struct seq_list *l, struct seq *q);
/* Is q in l, given that it is in no other list? */
bool seq_listed(const struct seq_list *l, const struct seq *q);

#endif
