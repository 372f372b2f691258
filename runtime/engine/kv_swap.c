#include "kv_swap.h"

#include <string.h>

#include "check.h"
#include "mem.h"
#include "pinned.h"

#define NONE (-1)

struct slot {
    int32_t prev, next; /* from the least to the most recently used; empty slots first */
    int32_t chain;      /* next slot of the same hash bucket */
    bool filled;
    struct kv_identity id;
};

struct kv_swap {
    struct ops *const *on; /* (n_layer) */
    int n_layer, page_tokens;
    size_t half;    /* bytes of K, and of V, of a page in one layer */
    struct buf buf; /* (n_slot, n_layer, 2, half) */
    struct slot *slot;
    int32_t *token;  /* (n_slot, page_tokens) */
    int32_t *bucket; /* (n_bucket) */
    size_t n_bucket; /* power of two */
    int32_t n_slot, n_filled, head, tail;
    uint64_t n_out, n_in;
};

static void swap_append(struct kv_swap *w, int32_t s)
{
    w->slot[s].prev = w->tail;
    w->slot[s].next = NONE;
    *(w->tail == NONE ? &w->head : &w->slot[w->tail].next) = s;
    w->tail = s;
}

static void swap_remove(struct kv_swap *w, int32_t s)
{
    struct slot *x = &w->slot[s];
    *(x->prev == NONE ? &w->head : &w->slot[x->prev].next) = x->next;
    *(x->next == NONE ? &w->tail : &w->slot[x->next].prev) = x->prev;
}

static void swap_used(struct kv_swap *w, int32_t s)
{
    swap_remove(w, s);
    swap_append(w, s);
}

static void swap_forget(struct kv_swap *w, int32_t s)
{
    struct slot *x = &w->slot[s];
    if (!x->filled)
        return;
    int32_t *link = &w->bucket[x->id.hash & (w->n_bucket - 1)];
    while (*link != s)
        link = &w->slot[*link].chain;
    *link = x->chain;
    x->filled = false;
    w->n_filled--;
}

static void swap_keep(struct kv_swap *w, int32_t s, const struct kv_identity *id,
                      const int32_t *tok)
{
    struct slot *x = &w->slot[s];
    int32_t *bucket = &w->bucket[id->hash & (w->n_bucket - 1)];
    x->id = *id;
    x->filled = true;
    x->chain = *bucket;
    *bucket = s;
    memcpy(w->token + (size_t)s * (size_t)w->page_tokens, tok,
           (size_t)w->page_tokens * sizeof *tok);
    w->n_filled++;
}

int kv_swap_open(struct ops *const *on, int n_layer, size_t half, int page_tokens, uint64_t bytes,
                 struct kv_swap **out, struct err *e)
{
    size_t page = 2 * half * (size_t)n_layer;
    uint64_t n = bytes / page, most = (uint64_t)((1 << 30) / page_tokens);
    if (!n)
        FAIL(e, ERR_USAGE,
             "kv.swap of %llu bytes holds no page of the KV cache, which has %zu; raise it, or set "
             "it to 0",
             (unsigned long long)bytes, page);
    struct kv_swap *w = mem_zalloc(1, sizeof *w);
    if (!w)
        return NOMEM(e, sizeof *w, "swapped pages");
    int rc = 0;
    *w = (struct kv_swap){.on = on,
                          .n_layer = n_layer,
                          .page_tokens = page_tokens,
                          .half = half,
                          .n_slot = (int32_t)(n < most ? n : most),
                          .head = NONE,
                          .tail = NONE};
    for (w->n_bucket = 16; w->n_bucket < 2 * (size_t)w->n_slot;)
        w->n_bucket *= 2;
    w->slot = mem_zalloc((size_t)w->n_slot, sizeof *w->slot);
    w->token = mem_zalloc((size_t)w->n_slot, (size_t)page_tokens * sizeof *w->token);
    w->bucket = mem_zalloc(w->n_bucket, sizeof *w->bucket);
    if (!w->slot || !w->token || !w->bucket)
        TRY_DONE(NOMEM(e, (size_t)w->n_slot * sizeof *w->slot, "swapped pages"));
    for (size_t i = 0; i < w->n_bucket; i++)
        w->bucket[i] = NONE;
    for (int32_t s = 0; s < w->n_slot; s++)
        swap_append(w, s);
    rc = pinned_alloc(on[0]->dev, (size_t)w->n_slot * page, "pages of the KV cache are swapped",
                      &w->buf, e);
    if (rc == ERR_NOMEM)
        rc = err_set(
            e, ERR_NOMEM,
            "cannot get %zu MiB of main memory for pages of the KV cache; set --kv-swap off",
            (size_t)w->n_slot * page >> 20);
    TRY_DONE(rc);
    *out = w;
    return 0;
done:
    kv_swap_close(w);
    return rc;
}

void kv_swap_close(struct kv_swap *w)
{
    if (!w)
        return;
    for (int l = 0; l < w->n_layer && w->n_out; l++) /* copies may still be in progress */
        if (l == 0 || w->on[l] != w->on[l - 1])
            (void)w->on[l]->dev->api->sync(w->on[l]->dev, NULL, NULL);
    w->on[0]->dev->api->free(w->on[0]->dev, &w->buf);
    mem_free(w->slot);
    mem_free(w->token);
    mem_free(w->bucket);
    mem_free(w);
}

/* Copies a page of every layer, from the pool to a slot or back. */
static int swap_copy(struct kv_swap *w, const struct kv_view *layer, int32_t p, int32_t s, bool out,
                     struct err *e)
{
    for (int l = 0; l < w->n_layer; l++)
        for (int v = 0; v < 2; v++) {
            struct device *dev = w->on[l]->dev;
            char *pool = (char *)(v ? layer[l].v : layer[l].k) + (size_t)p * w->half;
            char *kept = (char *)w->buf.ptr +
                         (((size_t)s * (size_t)w->n_layer + (size_t)l) * 2 + (size_t)v) * w->half;
            TRY(dev->api->copy(dev, NULL, out ? kept : pool, out ? pool : kept, w->half, e));
        }
    return 0;
}

int32_t kv_swap_find(const struct kv_swap *w, uint64_t parent, uint64_t hash, const int32_t *tok)
{
    size_t pt = (size_t)w->page_tokens;
    for (int32_t s = w->bucket[hash & (w->n_bucket - 1)]; s != NONE; s = w->slot[s].chain)
        if (w->slot[s].id.hash == hash && w->slot[s].id.parent == parent &&
            !memcmp(w->token + (size_t)s * pt, tok, pt * sizeof *tok))
            return s;
    return NONE;
}

int kv_swap_out(struct kv_swap *w, const struct kv_view *layer, int32_t p,
                const struct kv_identity *id, const int32_t *tok, struct err *e)
{
    int32_t s = kv_swap_find(w, id->parent, id->hash, tok);
    if (s != NONE && w->slot[s].id.uid == id->uid) {
        swap_used(w, s);
        return 0;
    }
    /* otherwise it was computed again with another uid, which its children refer to */
    if (s == NONE)
        s = w->head;
    swap_forget(w, s);
    TRY(swap_copy(w, layer, p, s, true, e));
    swap_keep(w, s, id, tok);
    swap_used(w, s);
    w->n_out++;
    return 0;
}

int kv_swap_in(struct kv_swap *w, int32_t slot, const struct kv_view *layer, int32_t p,
               struct kv_identity *id, struct err *e)
{
    CHECK(w->slot[slot].filled);
    TRY(swap_copy(w, layer, p, slot, false, e));
    swap_used(w, slot);
    *id = w->slot[slot].id;
    w->n_in++;
    return 0;
}

void kv_swap_count(const struct kv_swap *w, struct kv_swap_counts *out)
{
    *out = (struct kv_swap_counts){
        .slots = w->n_slot, .used = w->n_filled, .out = w->n_out, .in = w->n_in};
}
