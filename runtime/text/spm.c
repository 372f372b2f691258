#include "spm.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "f16.h"
#include "heap.h"
#include "mem.h"
#include "str.h"

#define KEY_SCORES "tokenizer.ggml.scores"
#define KEY_SQUEEZE "tokenizer.ggml.remove_extra_whitespaces"
#define NONE UINT32_MAX

/* The bits of a float as an integer that grows as the float falls. */
static uint32_t descending(float score)
{
    uint32_t u = f32_bits(score == 0 ? 0.0f : score); /* -0 is 0 */
    return u >> 31 ? u : ~u & 0x7fffffff;
}

static void bytes_init(struct spm *p, const struct vocab *v)
{
    for (int i = 0; i < 256; i++)
        p->byte[i] = p->unknown;
    for (int32_t id = v->n - 1; id >= 0; id--) /* the least id wins among equals */
        if (v->type[id] == VOCAB_BYTE)
            p->byte[(unsigned char)v->bytes[v->at[id]]] = id;
    for (int i = 0; i < 256; i++) { /* a file without types has byte tokens by name only */
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", (unsigned)i);
        int32_t id = p->byte[i] == p->unknown ? vocab_plain(v, name, strlen(name)) : -1;
        if (id >= 0)
            p->byte[i] = id;
    }
}

/* Fills rank (n): the sort key of each token by descending score; without scores all are 0. */
static int scores_read(struct spm *p, const struct vocab *v, const struct gguf *g, struct err *e)
{
    const struct gguf_kv *scores = NULL;
    if (gguf_find(g, KEY_SCORES))
        TRY(gguf_get_array(g, KEY_SCORES, GGUF_F32, &scores, e));
    if (scores && scores->count != (uint64_t)v->n)
        FAIL(e, ERR_DATA, "%s: " KEY_SCORES " has %llu elements, but tokenizer.ggml.tokens %d",
             gguf_path(g), (unsigned long long)scores->count, v->n);
    p->rank = mem_zalloc((size_t)v->n, sizeof *p->rank);
    if (!p->rank)
        return NOMEM(e, (size_t)v->n * sizeof *p->rank, "token scores");
    for (int32_t id = 0; id < v->n; id++) {
        float score = 0;
        if (scores)
            memcpy(&score, scores->raw + (size_t)id * sizeof score, sizeof score);
        if (!isfinite(score)) {
            spm_free(p);
            FAIL(e, ERR_DATA, "%s: " KEY_SCORES "[%d] is not a finite number", gguf_path(g), id);
        }
        p->rank[id] = descending(score);
    }
    return 0;
}

int spm_init(struct spm *p, const struct vocab *v, const struct gguf *g, int32_t unknown,
             struct err *e)
{
    *p = (struct spm){.unknown = unknown};
    bytes_init(p, v);
    TRY(gguf_get_bool_or(g, KEY_SQUEEZE, false, &p->squeeze, e));
    TRY(scores_read(p, v, g, e));
    for (int32_t id = 0; id < v->n; id++) {
        size_t len = v->at[id + 1] - v->at[id];
        if (v->type[id] == VOCAB_NORMAL && len > p->longest)
            p->longest = len;
    }
    return 0;
}

void spm_free(struct spm *p)
{
    mem_free(p->rank);
    *p = (struct spm){0};
}

struct symbol {       /* a stretch of the text; a doubly linked list in text order */
    uint32_t at, len; /* len 0: joined to the symbol before it */
    uint32_t prev, next;
};

struct scratch {
    char *text; /* spaces unescaped, prefix included */
    struct symbol *symbol;
    struct heap heap;
};

static int32_t normal_token(const struct vocab *v, const char *s, size_t n)
{
    int32_t id = vocab_plain(v, s, n);
    return id >= 0 && v->type[id] == VOCAB_NORMAL ? id : -1;
}

/* Offers the join of symbol `left` and its successor as a candidate if it is a token. Order: score,
 * then place. The candidate keeps its length, so it is recognised as outdated after another
 * merge. */
static int offer(const struct spm *p, const struct vocab *v, struct scratch *w, uint32_t left,
                 struct err *e)
{
    uint32_t right = left == NONE ? NONE : w->symbol[left].next;
    if (right == NONE)
        return 0;
    const struct symbol *a = &w->symbol[left];
    uint32_t len = a->len + w->symbol[right].len; /* both are parts of a text < 4 GiB */
    int32_t id = len <= p->longest ? normal_token(v, w->text + a->at, len) : -1;
    if (id < 0)
        return 0;
    struct heap_item item = {(uint64_t)p->rank[id] << 32 | left, len, 0};
    return heap_push(&w->heap, item, e);
}

static int merge_all(const struct spm *p, const struct vocab *v, struct scratch *w, struct err *e)
{
    struct heap_item top;
    while (heap_pop(&w->heap, &top)) {
        uint32_t at = (uint32_t)top.key;
        struct symbol *left = &w->symbol[at];
        if (left->len == 0 || left->next == NONE)
            continue;
        struct symbol *right = &w->symbol[left->next];
        if (left->len + right->len != top.a)
            continue;
        left->len += right->len;
        right->len = 0;
        left->next = right->next;
        if (left->next != NONE)
            w->symbol[left->next].prev = at;
        TRY(offer(p, v, w, left->prev, e));
        TRY(offer(p, v, w, at, e));
    }
    return 0;
}

/* Makes one symbol of each character or invalid byte. Returns their number. */
static uint32_t split(struct scratch *w, uint32_t n)
{
    uint32_t count = 0;
    for (uint32_t at = 0; at < n;) {
        uint32_t cp;
        int k = utf8_decode(w->text + at, n - at, &cp);
        struct symbol *s = &w->symbol[count];
        *s = (struct symbol){.at = at,
                             .len = k ? (uint32_t)k : 1,
                             .prev = count ? count - 1 : NONE,
                             .next = count + 1};
        at += s->len;
        count++;
    }
    if (count)
        w->symbol[count - 1].next = NONE;
    return count;
}

static int emit(const struct spm *p, const struct vocab *v, const char *s, uint32_t len,
                struct token_list *out, size_t lost[256], struct err *e)
{
    int32_t id = normal_token(v, s, len);
    if (id >= 0)
        return token_list_push(out, id, e);
    for (uint32_t i = 0; i < len; i++) {
        int32_t byte = p->byte[(unsigned char)s[i]];
        if (byte < 0 || byte == p->unknown)
            lost[(unsigned char)s[i]]++;
        if (byte >= 0)
            TRY(token_list_push(out, byte, e));
        if (byte >= 0 && byte == p->unknown) /* it replaces the whole character */
            break;
    }
    return 0;
}

/* Removes spaces at both ends and makes one of each run. Returns the new length. */
static size_t squeeze(char *s, size_t n)
{
    size_t len = 0;
    for (size_t i = 0; i < n; i++)
        if (s[i] != ' ' || (len && s[len - 1] != ' '))
            s[len++] = s[i];
    return len && s[len - 1] == ' ' ? len - 1 : len;
}

int spm_encode(const struct spm *p, const struct vocab *v, const char *s, size_t n, bool prefix,
               struct token_list *out, size_t lost[256], struct err *e)
{
    if (n >= NONE - 1)
        FAIL(e, ERR_DATA, "cannot tokenize: a text of %zu bytes, at most %u", n, NONE - 2);
    struct scratch w = {.text = mem_resize(NULL, n + 1, 1),
                        .symbol = mem_resize(NULL, n + 1, sizeof *w.symbol)};
    int rc = 0;
    if (!w.text || !w.symbol) {
        rc = NOMEM(e, (n + 1) * (1 + sizeof *w.symbol), "tokenizer scratch");
        goto done;
    }
    w.text[0] = ' ';
    size_t len = vocab_unescape(VOCAB_SENTENCE, s, n, w.text + prefix);
    if (p->squeeze)
        len = squeeze(w.text + prefix, len);
    if (len || !p->squeeze)
        len += prefix;
    uint32_t count = split(&w, (uint32_t)len);
    for (uint32_t i = 0; i < count; i++)
        TRY_DONE(offer(p, v, &w, i, e));
    TRY_DONE(merge_all(p, v, &w, e));
    for (uint32_t i = count ? 0 : NONE; i != NONE; i = w.symbol[i].next)
        TRY_DONE(emit(p, v, w.text + w.symbol[i].at, w.symbol[i].len, out, lost, e));
done:
    mem_free(w.text);
    mem_free(w.symbol);
    heap_free(&w.heap);
    return rc;
}
