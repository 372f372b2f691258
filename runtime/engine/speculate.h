/*
 * speculate: guesses the next tokens of sequences, so that one step can compute several tokens of
 * each.
 *
 * A guess changes no result. A step computes the rows of a sequence's last token and of its
 * guesses; each row's token is then drawn by the rule, the random numbers and the grammar of its
 * place as ever (ops.h, sample), and the first one that is not the guess makes what follows it
 * worthless. So tokens, log-probabilities and endings are bit for bit those without speculation, at
 * any temperature. This is the exact rejection rule with the two draws coupled: a guess x is
 * accepted with the probability that the large model draws x, and where it is not, what it drew
 * takes its place.
 *
 * Where guesses come from, first to last: what a grammar leaves as the only way on; where the last
 * tokens stood before (lookup.h); a draft model (drafter.h). A draft model's second choices begin
 * branches, so that what is verified is a tree: where the first choice was wrong and the second
 * right, the step goes on along the branch. How many are worth a row of the step follows from two
 * things that are measured all the time: how often guesses of that kind came true, and what steps
 * of so many rows take. A full batch on a busy processor thus switches speculation off by itself,
 * and streamed weights switch it on.
 *
 * The engine's thread. Allocates nothing after opening.
 */
#ifndef MAS_SPECULATE_H
#define MAS_SPECULATE_H

#include "drafter.h"
#include "grammar.h"
#include "seq.h"

struct speculate;

#define SPECULATE_BRANCHES 32 /* of all sequences in one step */

struct speculate_options {
    int max_draft;  /* guesses of a sequence in one step along one way, 1 to DRAFT_MOST */
    int max_branch; /* branches of a sequence in one step, 0 to BRANCH_MOST */
    struct kv *kv;  /* of the model */
    int n_ctx;      /* longest sequence */
    bool lookup;    /* guess from texts */
    int n_seq;      /* sequences of a step */
    bool always;    /* take every guess, also where it does not pay: for tests */
    /* 0 to 1, share of the guesses to make wrong on purpose: for simulations, where all would come
     * true */
    double spoil;
};

/* Borrows all; drafter may be NULL. ERR_NOMEM. */
int speculate_open(const struct speculate_options *o, const struct tokenizer *tok,
                   struct grammar_vocab *gv, struct drafter *drafter, struct speculate **out,
                   struct err *e);
void speculate_close(struct speculate *sp); /* accepts NULL */

/*
 * Guesses for q[0..n), each of which has one token left to compute: q->n_draft tokens behind
 * tok[n_tok - 1], by what is worth its rows. other_rows: rows that the step has besides the n;
 * room: more rows that it may take. The device's error, of the draft model.
 */
int speculate_guess(struct speculate *sp, struct seq **q, int n, int other_rows, int room,
                    struct err *e);
/* A step verified q's guesses: the first n_true of them came true, then so many of branch `way`;
 * NULL: it was none. */
void speculate_verified(struct speculate *sp, const struct seq *q, int n_true,
                        const struct branch *way, int n_way);
/* q goes on along one of its branches: takes its pages. */
void speculate_take(struct speculate *sp, struct seq *q, struct branch *way);
/* q's branches are done with: their pages go back. */
void speculate_prune(struct speculate *sp, struct seq *q);
/* A step of so many rows took so long. */
void speculate_took(struct speculate *sp, int rows, double seconds);
/* q has ended: its text is remembered, its pages go back. */
void speculate_ended(struct speculate *sp, struct seq *q);

#endif
