/*
 * seq: one sequence of the engine: a request's own, or a continuation that is scored for it. It
 * holds the tokens, the pages and the state. The scheduler decides; this file makes, checks and
 * lists sequences.
 */
#ifndef MAS_SEQ_H
#define MAS_SEQ_H

#include "grammar.h"
#include "kv.h"
#include "request.h"
#include "think.h"

#define DRAFT_MOST 64 /* most draft tokens of a sequence in one step */
#define BRANCH_MOST 4 /* most branches of a sequence in one step */

/*
 * An alternative to a sequence's draft: its first `from` tokens, then other ones. Draft and
 * branches form a tree, and one step verifies all of it. A branch is a fork. It computes the rows
 * of the last token and of the shared draft tokens again. So attention sees an ordinary sequence
 * and gives the same bits.
 */
struct branch {
    struct kv_seq kv, draft_kv;
    int from, n; /* n = 0: dropped */
    int32_t tok[DRAFT_MOST];
    uint8_t class[DRAFT_MOST]; /* speculate.h */
    int first_row, rows;       /* in the step's batch: 1 + from + n rows, all with logits */
};

enum seq_kind {
    SEQ_GENERATE, /* prompt, then sampled tokens */
    SEQ_SCORE,    /* prompt; its last row scores the first token of every continuation */
    SEQ_CONT,     /* prompt + one continuation: scores the tokens after its first */
};

enum seq_where { /* the list of the scheduler that holds the sequence */
                 SEQ_WAITING,
                 SEQ_RUNNING,
                 SEQ_PARKED /* a computed prompt, kept for its continuations */
};

/* State of a sequence for one step. seq_step_begin resets all of it. */
struct seq_step {
    int rows;      /* in the batch, 0 = none */
    int first_row; /* index of the first of these rows */
    int logit;     /* first logits row, -1 = none */
    int n_logit;   /* the last n_logit rows have logits */
    /* the n_score rows before them have logits too: of the prompt, which they score (prompt_lp) */
    int n_score;
    int score; /* first logits row of these, -1 = none */
    /* draft tokens after the known ones, tok[n_tok ..], that this step verifies (speculate.h) */
    int n_draft;
    uint8_t draft_class[DRAFT_MOST];
    struct branch *branch[BRANCH_MOST]; /* lent by speculate */
    int n_branch;
};

/*
 * Each field belongs to one of four groups; a group has one function that resets it:
 *
 *   group      contents                                              reset by
 *   request    fixed when the sequence is made                       nothing
 *   progress   survives a preemption and a change of lists           nothing: each fact becomes
 *              true
 *                                                                    once
 *   memory     pages of the KV caches                                seq_preempt, or the sequence's
 *              end
 *   step       the step that is being put together                   seq_step_begin
 *
 * A fork (a continuation of a score) has progress of its own from the start. It shares pages, not
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
    uint64_t arrival; /* order of service: by rank of the request, then by arrival */
    int32_t *tok;     /* (cap) prompt, then generated, scored or draft tokens */
    int cap;

    /* progress */
    int n_tok;          /* tokens known so far */
    struct think think; /* the block before the reply */
    struct grammar_state grammar;
    int choice_matched; /* choice.h */
    /* next position whose logits are scored (continuation, prompt_lp) or passed to on_logits */
    int raw_next;
    int cont_left; /* of a SEQ_SCORE: continuations not yet scored */
    bool started;  /* was admitted once, so the grammar is set up */
    /* of a SEQ_SCORE: the prompt has given its results, scores of first tokens or logits */
    bool scored;
    bool cancelled, failed;
    bool preempted; /* at least once: figures of the cache count the first pass only */

    /* memory */
    struct kv_seq kv;
    /* of the draft model (drafter.h); survives a preemption, because that pool is separate */
    struct kv_seq draft_kv;

    struct seq_step step;
};

struct seq_list {
    struct seq *head, *tail;
    int n;
};

/* Checks a request before it is accepted. ERR_DATA. */
int seq_check(const struct request *r, const struct tokenizer *tok, int n_ctx, struct err *e);
/* Allocates the memory that a request needs in the engine, after seq_check. The submitting thread
 * calls it, so lack of memory is an error of that caller. */
int seq_new(struct request *r, const struct kv *kv, const struct tokenizer *tok, int n_ctx,
            struct seq **out, struct err *e);
void seq_free(struct kv *kv, struct seq *q);
struct request *seq_request(struct seq *q);
/* The grammar that the next token obeys; NULL = free text. */
const struct grammar *seq_grammar(const struct seq *q);
/* True when rows of q's prompt score its tokens. */
bool seq_scores_prompt(const struct seq *q);
/* Number of tokens that the model may still choose: of the block of thinking, or of the reply. */
int seq_left(const struct seq *q);

/* Frees the pages of q, which will compute its tokens again. Progress stays. */
void seq_preempt(struct kv *kv, struct seq *q);
/* Resets q->step before a step is put together; its branches must be freed already. */
void seq_step_begin(struct seq *q);

/* Inserts in order of arrival: the tail of a list is always its youngest sequence. */
void seq_list_insert(struct seq_list *l, struct seq *q);
void seq_list_remove(struct seq_list *l, struct seq *q);
/* True when q is in l; q must be in no other list. */
bool seq_listed(const struct seq_list *l, const struct seq *q);

#endif
