#include "kv.h"

#include <string.h>

#include "check.h"
#include "mem.h"
#include "rng.h"

#define KV_NONE (-1)

struct kv_page {
    int32_t ref;
    int32_t prev, next;  /* LRU list of cached pages, or free list (next only) */
    int32_t chain;       /* next page of the same hash bucket */
    bool listed;         /* in the hash table */
    uint64_t uid;        /* identity of this content; a page's parent is named by it */
    uint64_t parent;     /* uid of the page before; 0 = first page */
    uint64_t hash;
    uint64_t step;       /* step in which it was registered */
};

struct kv {
    struct kv_config c;
    struct ops *ops;
    struct buf buf;
    struct kv_view *layer; /* (n_layer) */
    struct kv_page *page;  /* (n_page) */
    int32_t *token;        /* (n_page, page_tokens) content of listed pages */
    int32_t *bucket;       /* (n_bucket) */
    size_t n_bucket;       /* power of two */
    int32_t free_head, lru_head, lru_tail; /* lru_head is the next to go */
    int32_t n_free, n_cached;
    uint64_t next_uid, step;
    uint64_t hits, misses, evicted;
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
    if (pt < 16 || pt > 256 || (pt & (pt - 1)))
        FAIL(e, ERR_USAGE, "bad kv page of %d tokens: must be a power of two from 16 to 256", pt);
    if (c->n_page < 1 || c->n_page > (1 << 30) / pt)
        FAIL(e, ERR_USAGE, "bad kv pool of %d pages: must be 1 to %d; lower the kv budget or raise "
             "kv.page_tokens", c->n_page, (1 << 30) / pt);
    if (!kv_page_bytes(c))
        FAIL(e, ERR_USAGE, "kv type %s cannot hold heads of %d elements: must be a multiple of %d; "
             "use --kv-type f16", fmt_info(c->fmt)->name, c->head_dim,
             (int)fmt_info(c->fmt)->block_elems);
    return 0;
}

static void kv_layers(struct kv *kv)
{
    const struct kv_config *c = &kv->c;
    size_t one = kv_page_bytes(c) / (2 * (size_t)c->n_layer) * (size_t)c->n_page;
    for (int l = 0; l < c->n_layer; l++) {
        char *at = (char *)kv->buf.ptr + one * 2 * (size_t)l;
        kv->layer[l] = (struct kv_view){.fmt = c->fmt, .k = at, .v = at + one, .n_page = c->n_page,
                                        .page_tokens = c->page_tokens, .n_kv_head = c->n_kv_head,
                                        .head_dim = c->head_dim};
    }
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
    kv->ops = ops;
    size_t n = (size_t)c->n_page;
    for (kv->n_bucket = 16; kv->n_bucket < 2 * n;)
        kv->n_bucket *= 2;
    kv->layer = mem_zalloc((size_t)c->n_layer, sizeof *kv->layer);
    kv->page = mem_zalloc(n, sizeof *kv->page);
    kv->token = mem_zalloc(n, (size_t)c->page_tokens * sizeof *kv->token);
    kv->bucket = mem_zalloc(kv->n_bucket, sizeof *kv->bucket);
    if (!kv->layer || !kv->page || !kv->token || !kv->bucket) {
        rc = NOMEM(e, n * sizeof *kv->page, "kv page table");
        goto done;
    }
    TRY_DONE(ops->dev->api->alloc(ops->dev, MEM_DEVICE, kv_page_bytes(c) * n, &kv->buf, e));
    kv_layers(kv);
    kv_lists(kv);
    *out = kv;
    return 0;
done:
    kv_close(kv);
    return rc;
}

void kv_close(struct kv *kv)
{
    if (!kv)
        return;
    kv->ops->dev->api->free(kv->ops->dev, &kv->buf);
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
    int32_t *link = &kv->bucket[g->hash & (kv->n_bucket - 1)];
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

/* A page with ref 1 and no content; the caller made sure there is one. */
static int32_t kv_take(struct kv *kv)
{
    int32_t p = kv->free_head;
    if (p != KV_NONE) {
        kv->free_head = kv->page[p].next;
        kv->n_free--;
    } else {
        p = kv->lru_head;
        CHECK(p != KV_NONE);
        kv_lru_remove(kv, p);
        kv_unlist(kv, p);
        kv->evicted++;
    }
    kv->page[p].next = KV_NONE;
    kv->page[p].ref = 1;
    return p;
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
    for (int i = s->n_page; i-- > 0;) /* last page first: leaves of the prefix tree go before roots */
        kv_unref(kv, s->page[i]);
    s->n_page = s->len = s->registered = 0;
    s->parent = 0;
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
        TRY(kv->ops->kv_copy(kv->ops, NULL, &a, e));
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
        int32_t fresh = kv_take(kv), shared = s->page[s->n_page - 1];
        int rc = kv_copy_page(kv, shared, fresh, part, e);
        if (rc < 0) {
            kv_unref(kv, fresh);
            return rc;
        }
        s->page[s->n_page - 1] = fresh;
        kv_unref(kv, shared);
    }
    while (s->n_page < want)
        s->page[s->n_page++] = kv_take(kv);
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
    /* The fork goes on in the cache only from where its identity is known. */
    dst->registered = src->registered < full ? src->registered : full;
    dst->parent = dst->registered ? kv->page[src->page[dst->registered - 1]].uid : 0;
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
        if (kv->page[p].hash == hash && kv->page[p].parent == parent &&
            !memcmp(kv->token + (size_t)p * pt, tokens, pt * sizeof *tokens))
            return p;
    return KV_NONE;
}

enum kv_lookup kv_seq_lookup(struct kv *kv, struct kv_seq *s, const int32_t *tokens)
{
    int pt = kv->c.page_tokens;
    if (!kv->c.prefix_cache || s->len % pt || s->registered * pt != s->len || s->n_page * pt != s->len ||
        s->n_page >= s->cap)
        return KV_MISS;
    int32_t p = kv_find(kv, s->parent, kv_hash(s->parent, tokens, pt), tokens);
    if (p == KV_NONE) {
        kv->misses++;
        return KV_MISS;
    }
    if (kv->page[p].step >= kv->step)
        return KV_WAIT;
    kv_ref(kv, p);
    s->page[s->n_page++] = p;
    s->len += pt;
    s->registered++;
    s->parent = kv->page[p].uid;
    kv->hits++;
    return KV_HIT;
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
        if (g->listed) { /* came with a fork */
            s->parent = g->uid;
            continue;
        }
        g->uid = kv->next_uid++;
        g->parent = s->parent;
        if (same == KV_NONE) {
            g->hash = hash;
            g->step = kv->step;
            g->listed = true;
            size_t b = hash & (kv->n_bucket - 1);
            g->chain = kv->bucket[b];
            kv->bucket[b] = p;
            memcpy(kv->token + (size_t)p * (size_t)pt, t, (size_t)pt * sizeof *t);
            s->parent = g->uid;
        } else { /* computed twice: ours stays private, the chain continues through the listed one */
            s->parent = kv->page[same].uid;
            g->uid = s->parent;
        }
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
    *out = (struct kv_counts){.free = kv->n_free, .cached = kv->n_cached,
                              .used = kv->c.n_page - kv->n_free - kv->n_cached,
                              .hits = kv->hits, .misses = kv->misses, .evicted = kv->evicted};
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
           : n_free + n_cached + n_ref != kv->c.n_page ? "a page is lost" : NULL;
    return *why == NULL;
}
