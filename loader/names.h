/*
 * names: a hash table from byte strings to numbers, for keys and tensor names of untrusted files.
 *
 * Keys are views: their bytes must outlive the table. Each table has its own random seed, so no
 * file can be built to make lookups slow. Results never depend on the seed. Zero-initialise a table
 * before use; names_free ends it.
 */
#ifndef MAS_NAMES_H
#define MAS_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct names_slot {
    const char *s; /* NULL = empty */
    uint32_t len, value;
};

struct names {
    struct names_slot *slot; /* (cap), open addressing, at most half full */
    size_t cap, n;           /* cap: 0 or a power of two */
    uint64_t seed;
};

/* Adds s[0..len) -> value. Returns 1 for a new key, ERR_NOMEM, or 0 for a known key. Then the table
 * is unchanged, and *old (may be NULL) gets the value of that key. */
int names_add(struct names *t, const char *s, size_t len, uint32_t value, uint32_t *old,
              struct err *e);
bool names_find(const struct names *t, const char *s, size_t len, uint32_t *value);
void names_free(struct names *t); /* empty and usable again */

#endif
