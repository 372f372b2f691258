/*
 * kv_swap: evicted pages of the KV pool that will be needed again, kept in pinned memory of the
 * host. It is the second level of the prefix cache (kv.h).
 *
 *   - A page has the same identity as in kv: its tokens and, through its parent, all tokens before
 *     it.
 *   - A page is copied out before its place in the pool is written again. It is copied back when a
 *     sequence looks it up. Its bits are those that computing it again would give.
 *   - A page that was copied back stays here too, so evicting it again costs nothing.
 *   - The least recently used page makes room for a new one.
 *   - The copies of a layer are queued in the order of its device's default stream.
 *
 * One thread (the engine's).
 */
#ifndef MAS_KV_SWAP_H
#define MAS_KV_SWAP_H

#include "ops.h"

struct kv_swap;

struct kv_identity {
    uint64_t uid;    /* of this content */
    uint64_t parent; /* uid of the previous page; 0 = first page */
    uint64_t hash;   /* of parent and tokens */
};

/* Allocates the pages that fit `bytes`. on (n_layer): the backend of each layer, lent. half: bytes
 * of K of a page in one layer. ERR_NOMEM. */
int kv_swap_open(struct ops *const *on, int n_layer, size_t half, int page_tokens, uint64_t bytes,
                 struct kv_swap **out, struct err *e);
void kv_swap_close(struct kv_swap *w); /* accepts NULL */

/* Copies page p out, unless it is here already. layer (n_layer): the pool. */
int kv_swap_out(struct kv_swap *w, const struct kv_view *layer, int32_t p,
                const struct kv_identity *id, const int32_t *tok, struct err *e);
/* The slot of the page with these tokens after that parent; -1 = not here. */
int32_t kv_swap_find(const struct kv_swap *w, uint64_t parent, uint64_t hash, const int32_t *tok);
/* Copies the page of a slot to page p of the pool. */
int kv_swap_in(struct kv_swap *w, int32_t slot, const struct kv_view *layer, int32_t p,
               struct kv_identity *id, struct err *e);

struct kv_swap_counts {
    int32_t slots, used;
    uint64_t out, in; /* pages copied */
};
void kv_swap_count(const struct kv_swap *w, struct kv_swap_counts *out);

#endif
