#include "names.h"

#include <string.h>

#include "clock.h"
#include "mem.h"
#include "rng.h"

/* FNV-1a (Fowler, Noll, Vo; 64 bits) with a random start and a full mixer at the end. */
static uint64_t names_hash(const struct names *t, const char *s, size_t len)
{
    uint64_t h = t->seed;
    for (size_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)s[i]) * 0x100000001b3u;
    return rng_mix(h);
}

/* The slot that holds s, or the empty slot for it. cap > n. */
static struct names_slot *names_slot(const struct names *t, const char *s, size_t len)
{
    size_t i = (size_t)names_hash(t, s, len) & (t->cap - 1);
    while (t->slot[i].s && (t->slot[i].len != len || memcmp(t->slot[i].s, s, len) != 0))
        i = (i + 1) & (t->cap - 1);
    return &t->slot[i];
}

static int names_grow(struct names *t, struct err *e)
{
    struct names bigger = {.cap = t->cap ? 2 * t->cap : 64, .n = t->n};
    bigger.slot = mem_zalloc(bigger.cap, sizeof *bigger.slot);
    if (!bigger.slot)
        return NOMEM(e, bigger.cap * sizeof *bigger.slot, "a table of names");
    bigger.seed = rng_mix((uint64_t)clock_ns() ^ (uint64_t)(uintptr_t)bigger.slot);
    for (size_t i = 0; i < t->cap; i++)
        if (t->slot[i].s)
            *names_slot(&bigger, t->slot[i].s, t->slot[i].len) = t->slot[i];
    mem_free(t->slot);
    *t = bigger;
    return 0;
}

int names_add(struct names *t, const char *s, size_t len, uint32_t value, uint32_t *old,
              struct err *e)
{
    if (len > UINT32_MAX)
        FAIL(e, ERR_DATA, "a name of %zu bytes is too long", len);
    if (2 * (t->n + 1) > t->cap)
        TRY(names_grow(t, e));
    struct names_slot *slot = names_slot(t, s, len);
    if (slot->s) {
        if (old)
            *old = slot->value;
        return 0;
    }
    *slot = (struct names_slot){.s = s, .len = (uint32_t)len, .value = value};
    t->n++;
    return 1;
}

bool names_find(const struct names *t, const char *s, size_t len, uint32_t *value)
{
    if (!t->cap)
        return false;
    const struct names_slot *slot = names_slot(t, s, len);
    if (!slot->s)
        return false;
    *value = slot->value;
    return true;
}

void names_free(struct names *t)
{
    mem_free(t->slot);
    *t = (struct names){0};
}
