/*
 * kv: the paged KV cache of all sequences, and the prefix cache inside it.
 *
 * A page holds page_tokens positions of every layer. Page p of layer l lies at the same index in
 * that layer's K and V arrays, so one page table serves all layers. Pages are counted: a fork
 * shares them, and a sequence that must write into a shared partial page gets its own copy first.
 *
 * Prefix cache: a full page whose content is determined (its tokens and, through its parent, all
 * tokens before it) can be found again by them. A match compares the tokens themselves, never only
 * a hash. Pages nobody references stay findable until their memory is needed, least recently used
 * first. With swap_bytes those that were found before, and those of sequences that were pushed out,
 * then go to the host and are found there (kv_swap.h). A page registered in step n becomes usable
 * in step n + 1, when its content has been computed.
 *
 * Invariants (kv_audit): every page is exactly one of free, referenced (ref > 0), cached (ref 0, in
 * the LRU list); the sum of references equals the pages in all sequences.
 * One thread (the engine's).
 */
#ifndef MAS_KV_H
#define MAS_KV_H

#include <stdbool.h>

#include "kv_swap.h"

enum { KV_PAGE_LEAST = 16, KV_PAGE_MOST = 256 }; /* tokens; powers of two */

struct kv_config {
    enum fmt fmt;
    int page_tokens; /* power of two, KV_PAGE_LEAST to KV_PAGE_MOST */
    int32_t n_page;
    int n_layer, n_kv_head, head_dim;
    bool prefix_cache;
    /* host memory for pages that have no room; 0 = none. Needs the prefix cache */
    uint64_t swap_bytes;
};

struct kv;

struct kv_seq {    /* the pages of one sequence; plain data, owned by its request */
    int32_t *page; /* (cap) the first n_page are in use */
    int n_page, cap;
    int len;         /* positions whose K and V are (or are being) computed */
    uint64_t parent; /* identity of the last full page, for the prefix cache; 0 at the start */
    int registered;  /* full pages that went through the prefix cache already */
};

/* Bytes of one page over all layers; 0 when a row of head_dim cannot be stored in fmt. */
size_t kv_page_bytes(const struct kv_config *c);

int kv_open(const struct kv_config *c, struct ops *ops, struct kv **out, struct err *e);
void kv_close(struct kv *kv); /* accepts NULL; every sequence must have been dropped */

const struct kv_view *kv_layer(const struct kv *kv, int layer);
int kv_page_tokens(const struct kv *kv);

/* An empty sequence with room for max_tokens in its page table. */
int kv_seq_init(const struct kv *kv, int max_tokens, struct kv_seq *s, struct err *e);
/* gives the pages back; keeps the table, len 0 */
void kv_seq_drop(struct kv *kv, struct kv_seq *s);
void kv_seq_preempt(struct kv *kv, struct kv_seq *s); /* likewise, of one that will come back */
void kv_seq_free(struct kv *kv, struct kv_seq *s);    /* the table too */

/* Makes pages for positions len .. len + n - 1 and a private copy of a shared partial page.
 * ERR_AGAIN, nothing changed, when there are not enough pages; else the device's error. */
int kv_seq_reserve(struct kv *kv, struct kv_seq *s, int n, struct err *e);
/* Forgets the positions from len on and gives their pages back. No page that reaches beyond len may
 * have gone through kv_seq_register. */
void kv_seq_truncate(struct kv *kv, struct kv_seq *s, int len);
/* Slot (page * page_tokens + offset) of a reserved position. */
int32_t kv_slot(const struct kv *kv, const struct kv_seq *s, int pos);
/* dst (empty, initialised) becomes a fork of src's first n_tokens positions. */
void kv_seq_fork(struct kv *kv, const struct kv_seq *src, int n_tokens, struct kv_seq *dst);

/* dst gives its pages back and takes those of src, which is empty then. */
void kv_seq_move(struct kv *kv, struct kv_seq *dst, struct kv_seq *src);

enum kv_lookup { KV_MISS, KV_HIT, KV_WAIT };
/*
 * At a page boundary (s->len == pages * page_tokens): is the next page, with these page_tokens
 * tokens, in the cache? KV_HIT: it has been appended to s and len advanced. KV_WAIT: another
 * sequence computes it in this very step; ask again in the next. KV_MISS otherwise. Fails only when
 * the device does.
 */
int kv_seq_lookup(struct kv *kv, struct kv_seq *s, const int32_t *tokens, enum kv_lookup *out,
                  struct err *e);
/* Tells the cache that the first n_sure (<= s->len) positions hold these tokens (tok = the whole
 * sequence from 0); registers every page that is full of them. Call once the step that computes
 * them is put together. */
void kv_seq_register(struct kv *kv, struct kv_seq *s, const int32_t *tok, int n_sure);
/* The step has been computed (ok) or not: pages registered in it become usable or are forgotten. */
void kv_step_done(struct kv *kv, bool computed);

struct kv_counts {
    int32_t free, cached, used; /* pages; sum = n_page */
    uint64_t hits, misses, evicted;
    struct kv_swap_counts swap;
};
void kv_count(const struct kv *kv, struct kv_counts *out);
/* Pages that a reserve could take now: free plus cached. */
int32_t kv_available(const struct kv *kv);
/* Checks the invariants given all live sequences; false and a reason otherwise. For tests. */
bool kv_audit(const struct kv *kv, const struct kv_seq *const *seqs, int n, const char **why);

#endif
