#include "kv.h"

#include <string.h>

#include "check.h"
#include "kv_swap.h"
#include "mem.h"
#include "rng.h"
#include "span_op.h"

#define KV_NONE (-1)

struct kv_page {
    int32_t ref;
    int32_t prev, next; /* LRU list of cached pages, or free list (next only) */
    int32_t chain;      /* next page of the same hash bucket */
    bool listed;        /* in the hash table */
    bool wanted;        /* found again, or of a preempted sequence: worth swapping */
    struct kv_identity id;
    uint64_t step; /* step in which it was registered */
};

struct kv_pool { /* K and V of the layers of one backend */
    struct ops *ops;
    struct buf buf;
    size_t used; /* bytes given to layers */
};

struct kv {
    struct kv_config c;
    struct ops **on;      /* (n_layer) the backend of each layer */
    struct kv_pool *pool; /* (n_pool) one a backend */
    int n_pool;
    struct kv_swap *swap;                  /* or NULL */
    struct kv_view *layer;                 /* (n_layer) */
    struct kv_page *page;                  /* (n_page) */
    int32_t *token;                        /* (n_page, page_tokens) content of listed pages */
    int32_t *bucket;                       /* (n_bucket) */
    size_t n_bucket;                       /* power of two */
    int32_t free_head, lru_head, lru_tail; /* lru_head is evicted next */
    int32_t n_free, n_cached;
    uint64_t next_uid, step;
    uint64_t hits, misses, evicted;
    struct spans *spans; /* or NULL */
};

size_t kv_page_bytes(const struct kv_config *c)
{
    size_t row, bytes;
    if (!fmt_row_bytes(c->fmt, c->head_dim, &row) ||
        !size_mul(row, (size_t)c->page_tokens * (size_t)c->n_kv_head, &bytes) ||
        !size_mul(bytes, 2 * (size_t)c->n_layer, &bytes))
        return 0;
    return bytes;
}

static int kv_check_config(const struct kv_config *c, struct err *e)
{
    int pt = c->page_tokens;
    if (pt < KV_PAGE_LEAST || pt > KV_PAGE_MOST || (pt & (pt - 1)))
        FAIL(e, ERR_USAGE, "kv.page_tokens is %d; it takes a power of two from %d to %d", pt,
             KV_PAGE_LEAST, KV_PAGE_MOST);
    if (c->n_page < 1 || c->n_page > (1 << 30) / pt)
        FAIL(e, ERR_USAGE,
             "the KV cache has %d pages; it takes 1 to %d; lower its size or raise "
             "kv.page_tokens",
             c->n_page, (1 << 30) / pt);
    if (!kv_page_bytes(c))
        FAIL(e, ERR_USAGE,
             "kv type %s cannot hold heads of %d elements: must be a multiple of %d; "
             "use --kv-type f16",
             fmt_info(c->fmt)->name, c->head_dim, (int)fmt_info(c->fmt)->block_elems);
    return 0;
}

static struct kv_pool *kv_pool_of(struct kv *kv, int layer)
{
    for (int i = 0; i < kv->n_pool; i++)
        if (kv->pool[i].ops == kv->on[layer])
            return &kv->pool[i];
    kv->pool[kv->n_pool].ops = kv->on[layer];
    return &kv->pool[kv->n_pool++];
}

/* Allocates the pools: each has the layers of its backend, in their order. */
static int kv_layers(struct kv *kv, struct err *e)
{
    const struct kv_config *c = &kv->c;
    size_t one = kv_page_bytes(c) / (2 * (size_t)c->n_layer) * (size_t)c->n_page;
    for (int l = 0; l < c->n_layer; l++)
        kv_pool_of(kv, l)->used += 2 * one;
    for (int i = 0; i < kv->n_pool; i++) {
        struct device *dev = kv->pool[i].ops->dev;
        TRY(dev->api->alloc(dev, MEM_DEVICE, kv->pool[i].used, &kv->pool[i].buf, e));
        kv->pool[i].used = 0;
    }
    for (int l = 0; l < c->n_layer; l++) {
        struct kv_pool *pool = kv_pool_of(kv, l);
        char *at = (char *)pool->buf.ptr + pool->used;
        pool->used += 2 * one;
        kv->layer[l] = (struct kv_view){.fmt = c->fmt,
                                        .k = at,
                                        .v = at + one,
                                        .n_page = c->n_page,
                                        .page_tokens = c->page_tokens,
                                        .n_kv_head = c->n_kv_head,
                                        .head_dim = c->head_dim};
    }
    return 0;
}

static void kv_lists(struct kv *kv)
{
    for (int32_t p = 0; p < kv->c.n_page; p++) {
        kv->page[p].next = p + 1 < kv->c.n_page ? p + 1 : KV_NONE;
        kv->page[p].prev = kv->page[p].chain = KV_NONE;
    }
    for (size_t i = 0; i < kv->n_bucket; i++)
        kv->bucket[i] = KV_NONE;
    kv->free_head = 0;
    kv->lru_head = kv->lru_tail = KV_NONE;
    kv->n_free = kv->c.n_page;
    kv->next_uid = 1;
    kv->step = 1;
}

int kv_open(const struct kv_config *c, struct ops *ops, struct kv **out, struct err *e)
{
    TRY(kv_check_config(c, e));
    int rc = 0;
    struct kv *kv = mem_zalloc(1, sizeof *kv);
    if (!kv)
        return NOMEM(e, sizeof *kv, "kv pool");
    kv->c = *c;
    size_t n = (size_t)c->n_page;
    for (kv->n_bucket = 16; kv->n_bucket < 2 * n;)
        kv->n_bucket *= 2;
    kv->layer = mem_zalloc((size_t)c->n_layer, sizeof *kv->layer);
    kv->on = mem_zalloc((size_t)c->n_layer, sizeof *kv->on);
    kv->pool = mem_zalloc((size_t)c->n_layer, sizeof *kv->pool);
    kv->page = mem_zalloc(n, sizeof *kv->page);
    kv->token = mem_zalloc(n, (size_t)c->page_tokens * sizeof *kv->token);
    kv->bucket = mem_zalloc(kv->n_bucket, sizeof *kv->bucket);
    if (!kv->layer || !kv->on || !kv->pool || !kv->page || !kv->token || !kv->bucket) {
        rc = NOMEM(e, n * sizeof *kv->page, "kv page table");
        goto done;
    }
    for (int l = 0; l < c->n_layer; l++)
        kv->on[l] = c->on ? c->on[l] : ops;
    TRY_DONE(kv_layers(kv, e));
    kv_lists(kv);
    if (c->swap_bytes && c->prefix_cache)
        TRY_DONE(kv_swap_open(kv->on, c->n_layer, kv_page_bytes(c) / 2 / (size_t)c->n_layer,
                              c->page_tokens, c->swap_bytes, &kv->swap, e));
    *out = kv;
    return 0;
done:
    kv_close(kv);
    return rc;
}

void kv_watch(struct kv *kv, struct spans *spans)
{
    kv->spans = spans;
}

void kv_close(struct kv *kv)
{
    if (!kv)
        return;
    kv_swap_close(kv->swap);
    for (int i = 0; i < kv->n_pool; i++)
        kv->pool[i].ops->dev->api->free(kv->pool[i].ops->dev, &kv->pool[i].buf);
    mem_free(kv->pool);
    mem_free(kv->on);
    mem_free(kv->layer);
    mem_free(kv->page);
    mem_free(kv->token);
    mem_free(kv->bucket);
    mem_free(kv);
}

const struct kv_view *kv_layer(const struct kv *kv, int layer)
{
    return &kv->layer[layer];
}

int kv_page_tokens(const struct kv *kv)
{
    return kv->c.page_tokens;
}

/* ---- lists ---------------------------------------------------------------------------------- */

static void kv_lru_remove(struct kv *kv, int32_t p)
{
    struct kv_page *g = &kv->page[p];
    *(g->prev == KV_NONE ? &kv->lru_head : &kv->page[g->prev].next) = g->next;
    *(g->next == KV_NONE ? &kv->lru_tail : &kv->page[g->next].prev) = g->prev;
    g->prev = g->next = KV_NONE;
    kv->n_cached--;
}

static void kv_lru_append(struct kv *kv, int32_t p)
{
    struct kv_page *g = &kv->page[p];
    g->prev = kv->lru_tail;
    g->next = KV_NONE;
    *(kv->lru_tail == KV_NONE ? &kv->lru_head : &kv->page[kv->lru_tail].next) = p;
    kv->lru_tail = p;
    kv->n_cached++;
}

static void kv_unlist(struct kv *kv, int32_t p)
{
    struct kv_page *g = &kv->page[p];
    int32_t *link = &kv->bucket[g->id.hash & (kv->n_bucket - 1)];
    while (*link != p)
        link = &kv->page[*link].chain;
    *link = g->chain;
    g->chain = KV_NONE;
    g->listed = false;
}

static void kv_put_free(struct kv *kv, int32_t p)
{
    kv->page[p].next = kv->free_head;
    kv->free_head = p;
    kv->n_free++;
}

static const int32_t *kv_tokens(const struct kv *kv, int32_t p)
{
    return kv->token + (size_t)p * (size_t)kv->c.page_tokens;
}

/* Takes a page: ref 1, no content. The caller has made sure that there is one. The only error is
 * the device's; nothing is changed then. */
static int kv_take(struct kv *kv, int32_t *out, struct err *e)
{
    int32_t p = kv->free_head;
    if (p != KV_NONE) {
        kv->free_head = kv->page[p].next;
        kv->n_free--;
    } else {
        p = kv->lru_head;
        CHECK(p != KV_NONE);
        if (kv->swap && kv->page[p].wanted && kv->page[p].step < kv->step)
            TRY(kv_swap_out(kv->swap, kv->layer, p, &kv->page[p].id, kv_tokens(kv, p), e));
        kv_lru_remove(kv, p);
        kv_unlist(kv, p);
        kv->evicted++;
    }
    kv->page[p].next = KV_NONE;
    kv->page[p].ref = 1;
    kv->page[p].wanted = false;
    *out = p;
    return 0;
}

static void kv_ref(struct kv *kv, int32_t p)
{
    if (kv->page[p].ref++ == 0)
        kv_lru_remove(kv, p);
}

static void kv_unref(struct kv *kv, int32_t p)
{
    CHECK(kv->page[p].ref > 0);
    if (--kv->page[p].ref > 0)
        return;
    if (kv->page[p].listed)
        kv_lru_append(kv, p);
    else
        kv_put_free(kv, p);
}

/* ---- sequences ------------------------------------------------------------------------------ */

int kv_seq_init(const struct kv *kv, int max_tokens, struct kv_seq *s, struct err *e)
{
    int cap = (max_tokens + kv->c.page_tokens - 1) / kv->c.page_tokens;
    int32_t *page = mem_zalloc((size_t)cap, sizeof *page);
    if (!page)
        return NOMEM(e, (size_t)cap * sizeof *page, "page table of a sequence");
    *s = (struct kv_seq){.page = page, .cap = cap};
    return 0;
}

void kv_seq_drop(struct kv *kv, struct kv_seq *s)
{
    /* last page first: leaves of the prefix tree are evicted before roots */
    for (int i = s->n_page; i-- > 0;)
        kv_unref(kv, s->page[i]);
    s->n_page = s->len = s->registered = 0;
    s->parent = 0;
}

void kv_seq_preempt(struct kv *kv, struct kv_seq *s)
{
    for (int i = 0; i < s->registered; i++)
        kv->page[s->page[i]].wanted = true;
    kv_seq_drop(kv, s);
}

void kv_seq_free(struct kv *kv, struct kv_seq *s)
{
    if (s->page)
        kv_seq_drop(kv, s);
    mem_free(s->page);
    *s = (struct kv_seq){0};
}

static int kv_copy_page(struct kv *kv, int32_t src, int32_t dst, int n_token, struct err *e)
{
    for (int l = 0; l < kv->c.n_layer; l++) {
        struct kv_copy_args a = {.kv = &kv->layer[l], .src = src, .dst = dst, .n_token = n_token};
        TRY(spans_run_kv_copy(kv->spans, l, kv->on[l], &a, e));
    }
    return 0;
}

int kv_seq_reserve(struct kv *kv, struct kv_seq *s, int n, struct err *e)
{
    int pt = kv->c.page_tokens, want = (s->len + n + pt - 1) / pt;
    CHECK(n > 0 && want <= s->cap);
    int part = s->len % pt;
    bool copy = part && kv->page[s->page[s->n_page - 1]].ref > 1;
    int need = want - s->n_page + (copy ? 1 : 0);
    if (need > kv_available(kv))
        FAIL(e, ERR_AGAIN, "kv pool is full: needs %d pages, %d available", need, kv_available(kv));
    if (copy) {
        int32_t fresh, shared = s->page[s->n_page - 1];
        TRY(kv_take(kv, &fresh, e));
        int rc = kv_copy_page(kv, shared, fresh, part, e);
        if (rc < 0) {
            kv_unref(kv, fresh);
            return rc;
        }
        s->page[s->n_page - 1] = fresh;
        kv_unref(kv, shared);
    }
    for (; s->n_page < want; s->n_page++)
        TRY(kv_take(kv, &s->page[s->n_page], e));
    return 0;
}

void kv_seq_truncate(struct kv *kv, struct kv_seq *s, int len)
{
    int pt = kv->c.page_tokens, keep = (len + pt - 1) / pt;
    CHECK(len >= 0 && len <= s->len && s->registered * pt <= len);
    while (s->n_page > keep)
        kv_unref(kv, s->page[--s->n_page]);
    s->len = len;
}

int32_t kv_slot(const struct kv *kv, const struct kv_seq *s, int pos)
{
    int pt = kv->c.page_tokens;
    return s->page[pos / pt] * pt + pos % pt;
}

void kv_seq_fork(struct kv *kv, const struct kv_seq *src, int n_tokens, struct kv_seq *dst)
{
    int pt = kv->c.page_tokens, pages = (n_tokens + pt - 1) / pt, full = n_tokens / pt;
    CHECK(n_tokens <= src->len && pages <= dst->cap && dst->n_page == 0);
    for (int i = 0; i < pages; i++) {
        kv_ref(kv, src->page[i]);
        dst->page[i] = src->page[i];
    }
    dst->n_page = pages;
    dst->len = n_tokens;
    /* The fork continues in the cache only from the last page with a known identity. */
    dst->registered = src->registered < full ? src->registered : full;
    dst->parent = dst->registered ? kv->page[src->page[dst->registered - 1]].id.uid : 0;
}

void kv_seq_move(struct kv *kv, struct kv_seq *dst, struct kv_seq *src)
{
    CHECK(src->n_page <= dst->cap);
    kv_seq_drop(kv, dst);
    memcpy(dst->page, src->page, (size_t)src->n_page * sizeof *dst->page);
    dst->n_page = src->n_page;
    dst->len = src->len;
    dst->registered = src->registered;
    dst->parent = src->parent;
    src->n_page = src->len = src->registered = 0;
    src->parent = 0;
}

/* ---- prefix cache --------------------------------------------------------------------------- */

static uint64_t kv_hash(uint64_t parent, const int32_t *tokens, int n)
{
    uint64_t h = rng_mix(parent);
    for (int i = 0; i < n; i++)
        h = rng_mix(h ^ (uint32_t)tokens[i]);
    return h;
}

static int32_t kv_find(const struct kv *kv, uint64_t parent, uint64_t hash, const int32_t *tokens)
{
    size_t pt = (size_t)kv->c.page_tokens;
    for (int32_t p = kv->bucket[hash & (kv->n_bucket - 1)]; p != KV_NONE; p = kv->page[p].chain)
        if (kv->page[p].id.hash == hash && kv->page[p].id.parent == parent &&
            !memcmp(kv_tokens(kv, p), tokens, pt * sizeof *tokens))
            return p;
    return KV_NONE;
}

static void kv_list(struct kv *kv, int32_t p, const int32_t *tokens)
{
    struct kv_page *g = &kv->page[p];
    size_t b = g->id.hash & (kv->n_bucket - 1);
    g->listed = true;
    g->chain = kv->bucket[b];
    kv->bucket[b] = p;
    memcpy(kv->token + (size_t)p * (size_t)kv->c.page_tokens, tokens,
           (size_t)kv->c.page_tokens * sizeof *tokens);
}

/* Copies a swapped page back. *out has ref 1; KV_NONE: the page is not swapped, or there is no
 * room. */
static int kv_recall(struct kv *kv, uint64_t parent, uint64_t hash, const int32_t *tokens,
                     int32_t *out, struct err *e)
{
    int32_t p, slot;
    *out = KV_NONE;
    if (!kv->swap || kv_swap_find(kv->swap, parent, hash, tokens) < 0 || !kv_available(kv))
        return 0;
    TRY(kv_take(kv, &p, e)); /* may evict the very page that is looked for */
    slot = kv_swap_find(kv->swap, parent, hash, tokens);
    int rc = slot < 0 ? 0 : kv_swap_in(kv->swap, slot, kv->layer, p, &kv->page[p].id, e);
    if (slot < 0 || rc < 0) {
        kv_unref(kv, p);
        return rc;
    }
    kv->page[p].step = 0;
    kv_list(kv, p, tokens);
    *out = p;
    return 0;
}

int kv_seq_lookup(struct kv *kv, struct kv_seq *s, const int32_t *tokens, enum kv_lookup *out,
                  struct err *e)
{
    int pt = kv->c.page_tokens;
    *out = KV_MISS;
    if (!kv->c.prefix_cache || s->len % pt || s->registered * pt != s->len ||
        s->n_page * pt != s->len || s->n_page >= s->cap)
        return 0;
    uint64_t hash = kv_hash(s->parent, tokens, pt);
    int32_t p = kv_find(kv, s->parent, hash, tokens);
    if (p != KV_NONE && kv->page[p].step >= kv->step) {
        *out = KV_WAIT;
        return 0;
    }
    if (p != KV_NONE)
        kv_ref(kv, p);
    else
        TRY(kv_recall(kv, s->parent, hash, tokens, &p, e));
    if (p == KV_NONE) {
        kv->misses++;
        return 0;
    }
    s->page[s->n_page++] = p;
    s->len += pt;
    s->registered++;
    s->parent = kv->page[p].id.uid;
    kv->page[p].wanted = true;
    kv->hits++;
    *out = KV_HIT;
    return 0;
}

void kv_seq_register(struct kv *kv, struct kv_seq *s, const int32_t *tok, int n_sure)
{
    int pt = kv->c.page_tokens;
    CHECK(n_sure <= s->len);
    if (!kv->c.prefix_cache)
        return;
    for (; (s->registered + 1) * pt <= n_sure; s->registered++) {
        const int32_t *t = tok + s->registered * pt;
        uint64_t hash = kv_hash(s->parent, t, pt);
        int32_t p = s->page[s->registered], same = kv_find(kv, s->parent, hash, t);
        struct kv_page *g = &kv->page[p];
        if (g->listed) { /* registered before, in the sequence that this one forked */
            s->parent = g->id.uid;
            continue;
        }
        if (same == KV_NONE) {
            g->id = (struct kv_identity){kv->next_uid++, s->parent, hash};
            g->step = kv->step;
            kv_list(kv, p, t);
            /* computed twice: our copy stays private, the chain continues through the listed
             * page */
        } else {
            g->id = kv->page[same].id;
        }
        s->parent = g->id.uid;
    }
}

void kv_step_done(struct kv *kv, bool computed)
{
    if (!computed)
        for (int32_t p = 0; p < kv->c.n_page; p++)
            if (kv->page[p].listed && kv->page[p].step == kv->step) {
                kv_unlist(kv, p);
                if (kv->page[p].ref == 0) {
                    kv_lru_remove(kv, p);
                    kv_put_free(kv, p);
                }
            }
    kv->step++;
}

/* ---- figures and invariants ------------------------------------------------------------------ */

int32_t kv_available(const struct kv *kv)
{
    return kv->n_free + kv->n_cached;
}

void kv_count(const struct kv *kv, struct kv_counts *out)
{
    *out = (struct kv_counts){.free = kv->n_free,
                              .cached = kv->n_cached,
                              .used = kv->c.n_page - kv->n_free - kv->n_cached,
                              .hits = kv->hits,
                              .misses = kv->misses,
                              .evicted = kv->evicted};
    if (kv->swap)
        kv_swap_count(kv->swap, &out->swap);
}

bool kv_audit(const struct kv *kv, const struct kv_seq *const *seqs, int n, const char **why)
{
    int32_t n_free = 0, n_cached = 0, n_ref = 0;
    int64_t refs = 0, held = 0;
    for (int32_t p = kv->free_head; p != KV_NONE; p = kv->page[p].next)
        n_free++;
    for (int32_t p = kv->lru_head; p != KV_NONE; p = kv->page[p].next) {
        n_cached++;
        if (kv->page[p].ref != 0 || !kv->page[p].listed) {
            *why = "a page in the LRU list is referenced or unlisted";
            return false;
        }
    }
    for (int32_t p = 0; p < kv->c.n_page; p++) {
        refs += kv->page[p].ref;
        n_ref += kv->page[p].ref > 0;
    }
    for (int i = 0; i < n; i++)
        held += seqs[i]->n_page;
    *why = n_free != kv->n_free       ? "free list and count differ"
           : n_cached != kv->n_cached ? "LRU list and count differ"
           : refs != held             ? "references and pages held by sequences differ"
           : n_free + n_cached + n_ref != kv->c.n_page ? "a page is lost"
                                                       : NULL;
    return *why == NULL;
}
