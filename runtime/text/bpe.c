#include "bpe.h"

#include <string.h>

#include "heap.h"
#include "mem.h"
#include "rng.h"

#define KEY_MERGES "tokenizer.ggml.merges"

/* ---- the table of merges ------------------------------------------------------------------- */

static struct bpe_merge *merge_slot(const struct bpe *b, int32_t left, int32_t right)
{
    uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    for (size_t i = (size_t)rng_mix(pair) & b->mask;; i = (i + 1) & b->mask) {
        struct bpe_merge *m = &b->merge[i];
        if (m->left < 0 || (m->left == left && m->right == right))
            return m;
    }
}

/* Splits "left right" at its only space, which is not at an end. */
static bool merge_split(struct gguf_str s, size_t *left)
{
    const char *space = memchr(s.s, ' ', s.len);
    if (!space || space == s.s || space + 1 == s.s + s.len)
        return false;
    *left = (size_t)(space - s.s);
    return !memchr(space + 1, ' ', s.len - *left - 1);
}

/* Adds one merge of the given rank. buf is scratch of s.len bytes. */
static int merge_add(struct bpe *b, const struct vocab *v, struct gguf_str s, uint32_t rank,
                     char *buf, struct err *e)
{
    size_t at;
    if (!merge_split(s, &at))
        FAIL(e, ERR_DATA, "is not two texts with a space between");
    size_t left = vocab_unescape(VOCAB_BYTE_LEVEL, s.s, at, buf);
    size_t right = SIZE_MAX;
    if (left != SIZE_MAX)
        right = vocab_unescape(VOCAB_BYTE_LEVEL, s.s + at + 1, s.len - at - 1, buf + left);
    if (right == SIZE_MAX)
        FAIL(e, ERR_DATA, "has a character outside the byte-level alphabet");
    struct bpe_merge m = {.left = vocab_plain(v, buf, left),
                          .right = vocab_plain(v, buf + left, right),
                          .rank = rank,
                          .id = vocab_plain(v, buf, left + right)};
    if (m.left < 0 || m.right < 0 || m.id < 0)
        FAIL(e, ERR_DATA, "needs a token that the vocabulary lacks: the %s",
             m.left < 0    ? "left one"
             : m.right < 0 ? "right one"
                           : "joined one");
    struct bpe_merge *slot = merge_slot(b, m.left, m.right);
    if (slot->left >= 0)
        FAIL(e, ERR_DATA, "repeats number %u", slot->rank);
    *slot = m;
    return 0;
}

static int merges_read(struct bpe *b, const struct vocab *v, const struct gguf *g, struct err *e)
{
    const struct gguf_kv *kv;
    int rc = 0;
    TRY(gguf_get_array(g, KEY_MERGES, GGUF_STRING, &kv, e));
    if (kv->count > INT32_MAX)
        FAIL(e, ERR_DATA, "%s: " KEY_MERGES " has %llu elements, at most %d", gguf_path(g),
             (unsigned long long)kv->count, INT32_MAX);
    size_t slots = 16, longest = 0, n = (size_t)kv->count;
    while (slots < n * 2)
        slots *= 2;
    for (size_t i = 0; i < n; i++)
        longest = kv->strings[i].len > longest ? kv->strings[i].len : longest;
    char *buf = mem_resize(NULL, longest, 1);
    b->merge = mem_resize(NULL, slots, sizeof *b->merge);
    if (!b->merge || !buf) {
        rc = NOMEM(e, slots * sizeof *b->merge, "the table of merges");
        goto done;
    }
    memset(b->merge, 0xff, slots * sizeof *b->merge); /* left -1 everywhere */
    b->mask = slots - 1;
    for (size_t i = 0; i < n && rc == 0; i++) {
        struct gguf_str s = kv->strings[i];
        rc = merge_add(b, v, s, (uint32_t)i, buf, e);
        if (rc < 0)
            err_wrap(e, rc, "%s: " KEY_MERGES "[%zu] '%.*s'", gguf_path(g), i,
                     s.len > 40 ? 40 : (int)s.len, s.s);
    }
done:
    mem_free(buf);
    return rc;
}

int bpe_init(struct bpe *b, const struct vocab *v, const struct gguf *g, const struct pretoken *pre,
             struct err *e)
{
    *b = (struct bpe){.pre = pre};
    for (int i = 0; i < 256; i++) {
        char c = (char)i;
        b->byte[i] = vocab_plain(v, &c, 1);
    }
    int rc = merges_read(b, v, g, e);
    if (rc < 0)
        bpe_free(b);
    return rc;
}

void bpe_free(struct bpe *b)
{
    mem_free(b->merge);
    *b = (struct bpe){0};
}

/* ---- encoding ------------------------------------------------------------------------------ */

#define NONE UINT32_MAX

struct node {   /* one token of the piece so far; a doubly linked list in text order */
    int32_t id; /* -1: joined to the token before it */
    uint32_t prev, next;
};

struct scratch { /* reused for all pieces of a text */
    struct node *node;
    size_t cap;
    struct heap heap;
};

/* Offers the pair (left, its successor) as a candidate if a merge joins it. Order: rank, then
 * place. The candidate keeps the ids of the pair, so it is recognised as outdated after another
 * merge. */
static int offer(const struct bpe *b, struct scratch *w, uint32_t left, struct err *e)
{
    uint32_t right = left == NONE ? NONE : w->node[left].next;
    if (right == NONE)
        return 0;
    int32_t a = w->node[left].id, c = w->node[right].id;
    const struct bpe_merge *m = merge_slot(b, a, c);
    if (m->left < 0)
        return 0;
    struct heap_item item = {(uint64_t)m->rank << 32 | left, (uint32_t)a, (uint32_t)c};
    return heap_push(&w->heap, item, e);
}

static int merge_all(const struct bpe *b, struct scratch *w, struct err *e)
{
    struct heap_item top;
    while (heap_pop(&w->heap, &top)) {
        uint32_t at = (uint32_t)top.key;
        struct node *left = &w->node[at];
        if (left->id != (int32_t)top.a || left->next == NONE)
            continue;
        struct node *right = &w->node[left->next];
        if (right->id != (int32_t)top.b)
            continue;
        left->id = merge_slot(b, left->id, right->id)->id;
        right->id = -1;
        left->next = right->next;
        if (left->next != NONE)
            w->node[left->next].prev = at;
        TRY(offer(b, w, left->prev, e));
        TRY(offer(b, w, at, e));
    }
    return 0;
}

static int encode_piece(const struct bpe *b, const struct vocab *v, struct scratch *w,
                        const char *s, size_t n, struct token_list *out, size_t lost[256],
                        struct err *e)
{
    int32_t whole = b->pre->whole_first || n == 1 ? vocab_plain(v, s, n) : -1;
    if (whole >= 0)
        return token_list_push(out, whole, e);
    if (n >= NONE)
        FAIL(e, ERR_DATA, "cannot tokenize: a word of %zu bytes, at most %u", n, NONE - 1);
    TRY(mem_grow(&w->node, &w->cap, n, sizeof *w->node, "tokenizer scratch", e));
    for (size_t i = 0; i < n; i++)
        w->node[i] = (struct node){.id = b->byte[(unsigned char)s[i]],
                                   .prev = i ? (uint32_t)i - 1 : NONE,
                                   .next = i + 1 < n ? (uint32_t)i + 1 : NONE};
    w->heap.n = 0;
    for (size_t i = 0; i < n; i++)
        TRY(offer(b, w, (uint32_t)i, e));
    TRY(merge_all(b, w, e));
    for (uint32_t i = 0; i != NONE; i = w->node[i].next)
        if (w->node[i].id < 0) /* such a node is never joined: it is one byte */
            lost[(unsigned char)s[i]]++;
        else
            TRY(token_list_push(out, w->node[i].id, e));
    return 0;
}

int bpe_encode(const struct bpe *b, const struct vocab *v, const char *s, size_t n,
               struct token_list *out, size_t lost[256], struct err *e)
{
    struct scratch w = {0};
    struct pretoken_walk walk;
    int rc = 0;
    pretoken_start(&walk, b->pre, s, n);
    for (size_t len; rc == 0 && (len = pretoken_next(&walk)) > 0; s += len)
        rc = encode_piece(b, v, &w, s, len, out, lost, e);
    mem_free(w.node);
    heap_free(&w.heap);
    return rc;
}
