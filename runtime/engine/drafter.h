/*
 * drafter: a small model that guesses the next tokens of sequences of a large one with the same
 * vocabulary.
 *
 * It lies where the backend computes, whole, with a KV pool of its own. A guess is drawn with the
 * random numbers that the large model's draw at this place will take: two close distributions then
 * mostly choose the same token.
 *
 * The engine's thread.
 */
#ifndef MAS_DRAFTER_H
#define MAS_DRAFTER_H

#include "forward.h"

struct tokenizer; /* tokenizer.h */
struct drafter;

struct drafter_options {
    const char *model;
    struct forward_limits lim; /* of the large model; its record_key is not ours */
    int n_ctx, page_tokens;    /* of the large model */
    enum fmt kv_fmt;
    bool no_prefix_cache;
    bool map_weights;
    uint64_t memory; /* bytes that it may take where it computes; 0 = what is free */
};

/* tok: of the large model. ERR_NOINPUT, ERR_DATA (the file; another vocabulary, with the first
 * difference), ERR_USAGE when it does not fit, with both numbers. */
int drafter_open(const struct drafter_options *o, const struct tokenizer *tok, struct ops *ops,
                 struct drafter **out, struct err *e);
void drafter_close(struct drafter *d); /* accepts NULL; every sequence must have been dropped */

uint64_t drafter_bytes(const struct drafter *d); /* taken where it computes */
double drafter_now(const struct drafter *d);     /* forward_now */

struct draft_want {
    struct kv_seq *kv;   /* ours of this sequence, with a table of kv_seq_init */
    const int32_t *tok;  /* (n_tok - n_tail) the sequence so far, guesses included */
    const int32_t *tail; /* (n_tail) what a branch goes on with */
    int n_tok, n_tail;
    int n_sure; /* the first n_sure are no guesses */
    /* the second choice is wanted, too; of at most DRAFTER_SECONDS of one pass */
    bool second;
    struct sample_row sample; /* mask: index into masks, or -1 */
    /* out: the guess; -1 = none this time: its prompt is still being read, or there is no room */
    int32_t id;
    /* out: its log-probability by the small model, at T = 1 and without a mask */
    float lp;
    int32_t id2; /* out: what would have been drawn without id; -1 = none */
    float lp2;
};

#define DRAFTER_SECONDS 32

/* One pass for all of them: reads what each has not read yet, as far as a step's rows go, and
 * guesses one token for those that it has read. n <= lim.max_seqs. The device's error. */
int drafter_guess(struct drafter *d, struct draft_want *w, int n, const uint32_t *const *masks,
                  int n_mask, struct err *e);

/* Forgets what was guessed beyond the first n_tok tokens, at least n_sure - 1 of every
 * drafter_guess so far. */
void drafter_rewind(struct drafter *d, struct kv_seq *s, int n_tok);
/* An empty one becomes a fork of src, and back: dst gives up its own for src's. */
void drafter_fork(struct drafter *d, const struct kv_seq *src, struct kv_seq *dst);
void drafter_move(struct drafter *d, struct kv_seq *dst, struct kv_seq *src);
void drafter_drop(struct drafter *d, struct kv_seq *s); /* gives its pages back */

#endif
