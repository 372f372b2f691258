/*
 * drafter: a small model that drafts the next tokens for sequences of a large model with the same
 * vocabulary.
 *
 * All of it is resident where the backend computes, with a KV pool of its own. A draft token is
 * drawn with the random numbers that the large model's draw at this position will use. So two
 * similar distributions mostly choose the same token.
 *
 * One thread (the engine's).
 */
#ifndef MAS_DRAFTER_H
#define MAS_DRAFTER_H

#include "forward.h"

struct tokenizer; /* tokenizer.h */
struct drafter;

struct drafter_options {
    const char *model;
    const char *pre;                    /* as in engine_options */
    const struct source_places *places; /* as in engine_options */
    struct forward_limits lim;          /* of the large model; record_key is ignored */
    int n_ctx, page_tokens;             /* of the large model */
    enum fmt kv_fmt;
    bool no_prefix_cache;
    bool map_weights;
    const char *packed_cache; /* packed.h: where */
    uint64_t memory;          /* bytes that it may allocate where it computes; 0 = all free bytes */
};

/* tok: of the large model. ERR_NOINPUT, ERR_DATA (the file is bad; or the vocabulary differs, with
 * the first difference), ERR_USAGE (not enough memory, with both numbers). */
int drafter_open(const struct drafter_options *o, const struct tokenizer *tok, struct ops *ops,
                 struct drafter **out, struct err *e);
void drafter_close(struct drafter *d); /* accepts NULL; every sequence must be dropped before */

void drafter_watch(struct drafter *d, struct spans *spans); /* as forward_watch */
uint64_t drafter_bytes(const struct drafter *d);            /* allocated where it computes */
double drafter_now(const struct drafter *d);                /* forward_now */

struct draft_want {      /* a request for one draft token */
    struct kv_seq *kv;   /* the sequence's pages in the drafter's pool (kv_seq_init) */
    const int32_t *tok;  /* (n_tok - n_tail) the sequence so far, draft tokens included */
    const int32_t *tail; /* (n_tail) the tokens of a branch, after tok */
    int n_tok, n_tail;
    int n_sure; /* the first n_sure tokens are not drafts */
    /* id2 and lp2 are wanted, too; of at most DRAFTER_SECONDS sequences of one pass */
    bool second;
    struct sample_row sample; /* mask: index into masks, or -1 */
    /* out: the draft token; -1 = none this time: the prompt is not read completely, or there is no
     * room */
    int32_t id;
    /* out: log-probability of id by the small model, at T = 1 and without a mask */
    float lp;
    int32_t id2; /* out: the token that is drawn when id is excluded; -1 = none */
    float lp2;
};

#define DRAFTER_SECONDS 32

/* Runs one pass for all requests. Reads the unread tokens of each sequence, as far as the rows of a
 * step allow. Drafts one token for each sequence that is read completely. n <= lim.max_seqs. The
 * error is the device's. */
int drafter_next(struct drafter *d, struct draft_want *w, int n, const uint32_t *const *masks,
                 int n_mask, struct err *e);

/* Drops the drafts after the first n_tok tokens. n_tok must be at least n_sure - 1 of every
 * drafter_next so far. */
void drafter_rewind(struct drafter *d, struct kv_seq *s, int n_tok);
/* drafter_fork makes an empty dst a fork of src. drafter_move frees the pages of dst and moves
 * those of src to it. */
void drafter_fork(struct drafter *d, const struct kv_seq *src, struct kv_seq *dst);
void drafter_move(struct drafter *d, struct kv_seq *dst, struct kv_seq *src);
void drafter_drop(struct drafter *d, struct kv_seq *s); /* frees its pages */

#endif
