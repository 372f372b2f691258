/*
 * kv: the paged KV cache of all sequences, and the prefix cache inside it.
 *
 * A page holds page_tokens positions of every layer. Page p has the same index in the K and V
 * arrays of every layer, on whatever device they lie. So one page table serves all layers. Pages
 * are reference counted: a fork shares them. A sequence that writes to a shared partial page first
 * gets its own copy.
 *
 * Prefix cache:
 *   - A full page is found by its tokens and, through its parent, by all tokens before it. A lookup
 *     compares the tokens themselves, never only a hash.
 *   - A page without references stays in the cache until its memory is needed. The least recently
 *     used page is evicted first.
 *   - With swap_bytes, an evicted page goes to the host if it was found before or belonged to a
 *     preempted sequence. It is found there, too (kv_swap.h).
 *   - A page registered in step n is usable from step n + 1 on, when it has been computed.
 *
 * Invariants (kv_audit):
 *   - Every page is exactly one of free, referenced (ref > 0), cached (ref 0, in the LRU list).
 *   - The sum of references equals the number of pages in all sequences.
 *
 * One thread (the engine's).
 */
#ifndef MAS_KV_H
#define MAS_KV_H

#include <stdbool.h>

#include "kv_swap.h"

struct spans; /* span.h */

enum { KV_PAGE_LEAST = 16, KV_PAGE_MOST = 256 }; /* tokens; powers of two */

struct kv_config {
    enum fmt fmt;
    int page_tokens; /* power of two, KV_PAGE_LEAST to KV_PAGE_MOST */
    int32_t n_page;
    int n_layer, n_kv_head, head_dim;
    bool prefix_cache;
    /* bytes of host memory for evicted pages; 0 = none. Needs the prefix cache */
    uint64_t swap_bytes;
    /* (n_layer) the backend of each layer: its device has K and V of the layer. kv_open copies the
     * pointers. NULL: one backend has all layers */
    struct ops *const *on;
};

struct kv;

struct kv_seq {    /* the pages of one sequence; plain data, owned by its request */
    int32_t *page; /* (cap) the first n_page are in use */
    int n_page, cap;
    int len;         /* positions whose K and V are computed, or in computation */
    uint64_t parent; /* identity of the last full page, for the prefix cache; 0 at the start */
    int registered;  /* number of full pages that were registered in the prefix cache */
};

/* Bytes of one page over all layers; 0 when a row of head_dim cannot be stored in fmt. */
size_t kv_page_bytes(const struct kv_config *c);

/* ops: the backend of all layers, unless c->on names one for each. */
int kv_open(const struct kv_config *c, struct ops *ops, struct kv **out, struct err *e);
/* Reports copies of pages on the device to spans (NULL = none). */
void kv_watch(struct kv *kv, struct spans *spans);
void kv_close(struct kv *kv); /* accepts NULL; every sequence must be dropped before */

const struct kv_view *kv_layer(const struct kv *kv, int layer);
int kv_page_tokens(const struct kv *kv);

/* An empty sequence with room for max_tokens in its page table. */
int kv_seq_init(const struct kv *kv, int max_tokens, struct kv_seq *s, struct err *e);
/* frees the pages; keeps the table, len 0 */
void kv_seq_drop(struct kv *kv, struct kv_seq *s);
void kv_seq_preempt(struct kv *kv, struct kv_seq *s); /* drops a sequence that will come back */
void kv_seq_free(struct kv *kv, struct kv_seq *s);    /* drops it and frees the table */

/* Takes pages for positions len .. len + n - 1, and copies a shared partial page. ERR_AGAIN,
 * nothing changed, when there are not enough pages; other errors are the device's. */
int kv_seq_reserve(struct kv *kv, struct kv_seq *s, int n, struct err *e);
/* Drops the positions from len on and frees their pages. No page that reaches beyond
 * len may be registered. */
void kv_seq_truncate(struct kv *kv, struct kv_seq *s, int len);
/* Slot (page * page_tokens + offset) of a reserved position. */
int32_t kv_slot(const struct kv *kv, const struct kv_seq *s, int pos);
/* Makes dst (empty, initialised) a fork of the first n_tokens positions of src. */
void kv_seq_fork(struct kv *kv, const struct kv_seq *src, int n_tokens, struct kv_seq *dst);

/* Frees the pages of dst and moves those of src to it; src is empty afterwards. */
void kv_seq_move(struct kv *kv, struct kv_seq *dst, struct kv_seq *src);

enum kv_lookup { KV_MISS, KV_HIT, KV_WAIT };
/*
 * Looks up the next page, with these page_tokens tokens. s must end at a page boundary (s->len ==
 * n_page x page_tokens).
 *   KV_HIT   the page is appended to s and len is advanced
 *   KV_WAIT  another sequence computes the page in this step; ask again in the next
 *   KV_MISS  the page is not in the cache
 * Errors are the device's only.
 */
int kv_seq_lookup(struct kv *kv, struct kv_seq *s, const int32_t *tokens, enum kv_lookup *out,
                  struct err *e);
/* Registers every full page among the first n_sure (<= s->len) positions in the cache. tok: the
 * whole sequence from position 0. Call it after the step that computes the pages is put
 * together. */
void kv_seq_register(struct kv *kv, struct kv_seq *s, const int32_t *tok, int n_sure);
/* Ends a step. Pages registered in it become usable if it was computed; otherwise they are
 * dropped. */
void kv_step_done(struct kv *kv, bool computed);

struct kv_counts {
    int32_t free, cached, used; /* pages; sum = n_page */
    uint64_t hits, misses, evicted;
    struct kv_swap_counts swap;
};
void kv_count(const struct kv *kv, struct kv_counts *out);
/* Number of pages that a reserve can take now: free plus cached. */
int32_t kv_available(const struct kv *kv);
/* Checks the invariants, given all live sequences; false and a reason if one is broken. For
 * tests. */
bool kv_audit(const struct kv *kv, const struct kv_seq *const *seqs, int n, const char **why);

#endif
