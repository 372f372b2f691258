/*
 * pattern: JSON strings of bounded length that fit a regular expression, decided byte by byte.
 *
 * The expression becomes a deterministic automaton over code points. A table holds, for each state
 * and each number of characters written, the least bytes that complete the string. So every
 * accepted prefix can be completed. Each character has exactly one spelling, that of str_add_json:
 * \" \\ \n \t \r, \u00xx for other control characters, the character itself otherwise.
 */
#ifndef MAS_PATTERN_H
#define MAS_PATTERN_H

#include "regex.h"

#define PATTERN_STATES 4000
#define PATTERN_EDGES (1u << 18)
#define PATTERN_CELLS ((size_t)4 << 20) /* of tables: states times distinct lengths */
#define PATTERN_WORK ((size_t)1 << 26)  /* steps of building */
#define PATTERN_NEVER UINT16_MAX

struct pattern_budget { /* work and cells left for the patterns of one schema */
    size_t work, cells;
};

struct pattern_edge { /* any character of lo..hi leads to state `to` */
    uint32_t lo, hi;
    uint32_t best; /* the character of lo..hi with the fewest bytes */
    uint16_t to, cost;
};

struct pattern {
    size_t n;      /* states; 0 is the start */
    size_t *first; /* (n + 1): edges of state q are edge[first[q] .. first[q + 1]), by lo */
    struct pattern_edge *edge;
    bool *accept;
    uint16_t min, max;       /* characters */
    uint16_t far_lo, far_hi; /* rows of `left` are equal from far_lo to far_hi characters */
    /* (max + 1, n): bytes that complete the string, its quote included; PATTERN_NEVER = none do.
     * Equal neighbouring rows are stored once. */
    const uint16_t **left;
};

/* Makes the table for strings of min..max characters that fit every expression of r, in the arena.
 * out->max is the length of the longest string that fits, at most max. ERR_CONFIG: a limit is
 * exceeded, or no string fits. ERR_NOMEM. */
int pattern_build(const struct regex *r, int min, int max, struct pattern_budget *budget,
                  struct arena *a, struct pattern *out, struct err *e);

struct pattern_at {        /* a place inside a string; all zero = before its opening quote */
    uint16_t state, chars; /* chars: completed */
    uint16_t phase;
    uint64_t part; /* bytes of the begun character */
};

/* Advances by one byte; false (at unchanged) when no string continues so. *end: b was the closing
 * quote. */
bool pattern_step(const struct pattern *p, struct pattern_at *at, unsigned char b, bool *end);
/* The next byte of the shortest completion. */
unsigned char pattern_close(const struct pattern *p, const struct pattern_at *at);
/* Bytes of the shortest string, quotes included; and the most bytes of any completion. */
size_t pattern_least(const struct pattern *p);
size_t pattern_most(const struct pattern *p);

#endif
