/*
 * speculate: drafts the next tokens of sequences, so that one step can compute several tokens of
 * each.
 *
 * A draft changes no result. A step computes the rows of the last token and of the draft tokens.
 * The token of each row is drawn by the usual rule, random numbers and grammar of its position
 * (ops.h, sample). The first token that differs from the draft makes the rows after it invalid. So
 * tokens, log-probabilities and endings are bit for bit those without speculation, at any
 * temperature. This is the exact rejection rule with coupled draws. A draft token x is accepted
 * with the probability that the large model draws x. Otherwise the token that the large model drew
 * replaces x.
 *
 * Sources of draft tokens, in order:
 *   grammar      the only token that a grammar allows
 *   lookup       the tokens after an earlier occurrence of the last tokens (lookup.h)
 *   draft model  (drafter.h) its second choices begin branches, so the step verifies a tree. If the
 *                first choice is rejected and the second accepted, the sequence continues on the
 *                branch.
 *
 * Two running measurements decide the number of draft tokens. They are the acceptance rate of each
 * kind of draft, and the duration of steps by their number of rows. So a full batch on a busy
 * processor turns speculation off, and streamed weights turn it on.
 *
 * One thread (the engine's). Allocates nothing after opening.
 */
#ifndef MAS_SPECULATE_H
#define MAS_SPECULATE_H

#include "drafter.h"
#include "grammar.h"
#include "seq.h"

struct speculate;

#define SPECULATE_BRANCHES 32 /* most branches of all sequences in one step */

struct speculate_options {
    int max_draft;  /* draft tokens of a sequence along one path of a step, 1 to DRAFT_MOST */
    int max_branch; /* branches of a sequence in one step, 0 to BRANCH_MOST */
    struct kv *kv;  /* of the model */
    int n_ctx;      /* longest sequence */
    bool lookup;    /* draft from texts */
    int n_seq;      /* sequences of a step */
    bool always;    /* for tests: take every draft token, even if it costs more than it saves */
    /* 0 to 1: fraction of draft tokens to replace by wrong ones. For simulations, which would
     * accept every draft token. */
    double spoil;
};

/* Borrows all; drafter may be NULL. ERR_NOMEM. */
int speculate_open(const struct speculate_options *o, const struct tokenizer *tok,
                   struct grammar_vocab *gv, struct drafter *drafter, struct speculate **out,
                   struct err *e);
void speculate_close(struct speculate *sp); /* accepts NULL */

/*
 * Drafts for q[0..n), each of which has one token left to compute. q->n_draft receives the number
 * of tokens put after tok[n_tok - 1]: those worth their rows. other_rows: rows of the step besides
 * these n; room: further rows that it may take. The error is the device's, from the draft model.
 */
int speculate_draft(struct speculate *sp, struct seq **q, int n, int other_rows, int room,
                    struct err *e);
/* Records that a step verified q's draft: its first n_true tokens were accepted, then n_way tokens
 * of branch `way` (NULL: of none). */
void speculate_verified(struct speculate *sp, const struct seq *q, int n_true,
                        const struct branch *way, int n_way);
/* Continues q on one of its branches, whose pages it takes over. */
void speculate_take(struct speculate *sp, struct seq *q, struct branch *way);
/* Frees the branches of q and their pages. */
void speculate_prune(struct speculate *sp, struct seq *q);
/* Records the duration of a step with this number of rows. */
void speculate_took(struct speculate *sp, int rows, double seconds);
/* Ends q: remembers its text for lookup and frees its pages in the draft model. */
void speculate_ended(struct speculate *sp, struct seq *q);

#endif
