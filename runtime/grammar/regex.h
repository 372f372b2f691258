/*
 * regex: the regular expressions of JSON Schema's `pattern` as one nondeterministic automaton over
 * code points.
 *
 * Supported: literals, ".", classes, \d \w \s and their complements, \t \n \v \f \r \xHH \uHHHH,
 * groups (plain, ?:, named), |, * + ? {n} {n,} {n,m} (lazy ones too), ^ and $. Any other syntax is
 * refused by name. With several expressions, a text must fit all of them.
 *
 * ECMA 262 and Python differ in the characters beyond ASCII that \d, \w, \s and "." match. The
 * automaton accepts only texts that fit both readings:
 *   - \d \w \s \D \W match ASCII only
 *   - \S and "." exclude every character that either takes for white space or a line end
 *   - U+0000 and surrogates never fit
 */
#ifndef MAS_REGEX_H
#define MAS_REGEX_H

#include "mem.h"

#define REGEX_STATES 8192 /* of all expressions; a counted repetition copies its states */
#define REGEX_RANGES 4096 /* of all character classes together */
#define REGEX_NESTING 32  /* depth of nested groups */
#define REGEX_MAX 0x10ffffu

struct regex_range {
    uint32_t lo, hi; /* code points, inclusive */
};

struct regex_set {
    size_t first, n; /* sorted disjoint ranges: range[first .. first + n) */
};

enum regex_op { REGEX_SET, REGEX_SPLIT, REGEX_BEGIN, REGEX_END, REGEX_ACCEPT };

struct regex_state {
    enum regex_op op;
    uint16_t set;  /* REGEX_SET: a character of this set leads to next */
    uint16_t next; /* SPLIT: to next and to other; BEGIN, END: to next at that end of the text */
    uint16_t other;
};

struct regex_part { /* one expression */
    uint16_t start, accept;
    uint16_t tail;       /* in this state every rest of the text fits; UINT16_MAX = none */
    uint16_t first, end; /* its states */
};

struct regex {
    struct regex_state *state; /* (n) */
    struct regex_set *set;     /* (n_set) */
    struct regex_range *range; /* (n_range) */
    struct regex_part *part;   /* (n_part) */
    size_t n, n_set, n_range, n_part;
    size_t cap, cap_set, cap_range, cap_part;
};

/* Adds the expression s[0..n). whole: reads it as ^(?:s)$. ERR_CONFIG names the unsupported syntax
 * and its byte; ERR_NOMEM. Call regex_free after an error, too. */
int regex_add(struct regex *r, const char *s, size_t n, bool whole, struct err *e);
void regex_free(struct regex *r);

#endif
