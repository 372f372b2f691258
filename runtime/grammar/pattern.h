/*
 * pattern: JSON strings that fit a regular expression and have a bounded length, decided byte by
 * byte.
 *
 * The expression is a deterministic automaton over code points, and a table says how many bytes
 * each of its states needs at least to complete the string after c characters. So every prefix that
 * is accepted can be completed. A character has one way to be written, that of str_add_json: \"
 * \\ \n \t \r, \u00xx for other control characters, itself otherwise.
 */
#ifndef MAS_PATTERN_H
#define MAS_PATTERN_H

#include "regex.h"

#define PATTERN_STATES 4000
#define PATTERN_EDGES (1u << 18)
#define PATTERN_CELLS ((size_t)4 << 20) /* of tables: states times different lengths */
#define PATTERN_WORK ((size_t)1 << 26)  /* steps of preparing */
#define PATTERN_NEVER UINT16_MAX

struct pattern_budget { /* what the patterns of one schema may still use */
    size_t work, cells;
};

struct pattern_edge { /* any character of lo..hi leads to state `to` */
    uint32_t lo, hi;
    uint32_t best; /* the one with the fewest bytes */
    uint16_t to, cost;
};

struct pattern {
    size_t n;      /* states; 0 is the start */
    size_t *first; /* (n + 1): edges of state q are edge[first[q] .. first[q + 1]), by lo */
    struct pattern_edge *edge;
    bool *accept;
    uint16_t min, max;       /* characters */
    uint16_t far_lo, far_hi; /* after so many characters the table's rows are equal */
    /* (max + 1, n): bytes that complete the string, its quote included; PATTERN_NEVER = none do.
     * Equal neighbours are one row. */
    const uint16_t **left;
};

/* Makes the table for strings of min..max characters that fit every expression of r, in memory of
 * the arena. max is lowered to the longest string that fits. ERR_CONFIG: a limit, or nothing fits;
 * ERR_NOMEM. */
int pattern_build(const struct regex *r, int min, int max, struct pattern_budget *budget,
                  struct arena *a, struct pattern *out, struct err *e);

struct pattern_at {        /* inside a string; all zero = before its opening quote */
    uint16_t state, chars; /* chars: completed */
    uint16_t phase;
    uint64_t part; /* of the character that has begun */
};

/* Advances by one byte; false (at unchanged) when no string continues so. *end: the closing quote
 * came. */
bool pattern_step(const struct pattern *p, struct pattern_at *at, unsigned char b, bool *end);
/* The next byte of the shortest completion. */
unsigned char pattern_close(const struct pattern *p, const struct pattern_at *at);
/* Bytes of the shortest string, quotes included; most that a completion takes from anywhere. */
size_t pattern_least(const struct pattern *p);
size_t pattern_most(const struct pattern *p);

#endif
