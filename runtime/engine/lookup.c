#include "lookup.h"

#include <string.h>

#include "check.h"
#include "mem.h"
#include "rng.h"

#define LEAST_TEXT 2
#define FOLLOW 64    /* most tokens of a draft from the memory */
#define BETWEEN (-1) /* separates two texts of the memory; not a token */

/* Lengths of the contexts that the memory finds, longer ones first. */
static const int key_length[] = {6, 3};
enum { KEYS = sizeof key_length / sizeof *key_length };

struct lookup {
    int32_t *ring; /* (size) the memory; token number i is at i % size */
    size_t size;   /* power of two */
    uint64_t n;    /* tokens ever remembered */
    /* (2 size) by hash of a context: number of the token after its last occurrence; 0 = none */
    uint64_t *at[KEYS];
};

int lookup_open(size_t tokens, struct lookup **out, struct err *e)
{
    struct lookup *l = mem_zalloc(1, sizeof *l);
    if (!l)
        return NOMEM(e, sizeof *l, "memory of replies");
    for (l->size = 16; l->size < tokens;)
        l->size *= 2;
    l->ring = mem_zalloc(l->size, sizeof *l->ring);
    bool all = l->ring != NULL;
    for (int k = 0; k < KEYS; k++) {
        l->at[k] = mem_zalloc(2 * l->size, sizeof *l->at[k]);
        all = all && l->at[k];
    }
    if (!all) {
        int rc = NOMEM(e, l->size * sizeof *l->ring, "memory of replies");
        lookup_close(l);
        return rc;
    }
    l->ring[0] = BETWEEN;
    l->n = 1; /* numbers start at 1: 0 means none in the tables */
    *out = l;
    return 0;
}

void lookup_close(struct lookup *l)
{
    if (!l)
        return;
    mem_free(l->ring);
    for (int k = 0; k < KEYS; k++)
        mem_free(l->at[k]);
    mem_free(l);
}

static uint64_t *lookup_slot(const struct lookup *l, int k, const int32_t *end)
{
    uint64_t h = (uint64_t)k;
    for (int i = key_length[k]; i > 0; i--)
        h = rng_mix(h ^ (uint32_t)end[-i]);
    return &l->at[k][h & (2 * l->size - 1)];
}

void lookup_remember(struct lookup *l, const int32_t *tok, int n)
{
    if ((size_t)n >= l->size) {
        tok += (size_t)n - (l->size - 1);
        n = (int)l->size - 1;
    }
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < KEYS; k++)
            if (i >= key_length[k])
                *lookup_slot(l, k, tok + i) = l->n + (uint64_t)i;
        l->ring[(l->n + (uint64_t)i) & (l->size - 1)] = tok[i];
    }
    l->n += (uint64_t)n;
    l->ring[l->n++ & (l->size - 1)] = BETWEEN;
}

/* Number of equal tokens just before a and b, at most `most`. */
static int common(const int32_t *a, const int32_t *b, int most)
{
    int n = 0;
    while (n < most && a[-1 - n] == b[-1 - n])
        n++;
    return n;
}

static struct lookup_draft find_in_text(const int32_t *tok, int n)
{
    struct lookup_draft best = {.n = 0, .length = LEAST_TEXT - 1};
    for (int p = n - 1; p >= LEAST_TEXT && best.length < LOOKUP_LONGEST; p--) {
        if (tok[p - 1] != tok[n - 1] || tok[p - 2] != tok[n - 2])
            continue;
        int length = common(tok + p, tok + n, p < LOOKUP_LONGEST ? p : LOOKUP_LONGEST);
        if (length > best.length)
            best = (struct lookup_draft){
                .next = tok + p, .n = n - p, .length = length, .from = LOOKUP_TEXT};
    }
    return best;
}

/* Token number i of the memory; BETWEEN if it is overwritten or was never there. */
static int32_t remembered(const struct lookup *l, uint64_t i)
{
    return i < l->n && i + l->size >= l->n ? l->ring[i & (l->size - 1)] : BETWEEN;
}

static struct lookup_draft find_in_memory(const struct lookup *l, const int32_t *tok, int n)
{
    for (int k = 0; k < KEYS; k++) {
        if (n < key_length[k])
            continue;
        uint64_t at = *lookup_slot(l, k, tok + n);
        int length = 0, follow = 0;
        while (length < LOOKUP_LONGEST && length < n && at > (uint64_t)length &&
               remembered(l, at - 1 - (uint64_t)length) == tok[n - 1 - length])
            length++;
        if (length < key_length[k]) /* overwritten since, or another context with the same hash */
            continue;
        size_t first = at & (l->size - 1);
        while (follow < FOLLOW && remembered(l, at + (uint64_t)follow) != BETWEEN &&
               first + (size_t)follow < l->size)
            follow++;
        return (struct lookup_draft){
            .next = l->ring + first, .n = follow, .length = length, .from = LOOKUP_MEMORY};
    }
    return (struct lookup_draft){.n = 0};
}

struct lookup_draft lookup_find(const struct lookup *l, const int32_t *tok, int n)
{
    CHECK(n >= 0);
    struct lookup_draft text = find_in_text(tok, n);
    if (text.n && text.length == LOOKUP_LONGEST)
        return text;
    struct lookup_draft memory = find_in_memory(l, tok, n);
    return memory.n && (!text.n || memory.length > text.length) ? memory : text;
}
