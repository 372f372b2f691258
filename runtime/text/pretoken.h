/*
 * pretoken: cuts text into pieces; byte-level BPE merges inside a piece only.
 *
 * A pre-tokenizer is data: a row of pretokens.def. It is a sequence of passes. The first pass cuts
 * the text, each later pass cuts the pieces of the pass before it. A pass is a list of
 * alternatives, and has the meaning of the published regular expression. At each place the first
 * alternative that matches wins, and quantifiers are greedy. The text between two matches is a
 * piece, too. A pass sees one piece of the pass before it and nothing around that piece.
 *
 * Invariants:
 *   - Pieces are not empty and cover the text.
 *   - An invalid byte of UTF-8 counts as one character of no class.
 *   - All pieces of a text together cost O(n).
 */
#ifndef MAS_PRETOKEN_H
#define MAS_PRETOKEN_H

#include <stdbool.h>
#include <stddef.h>

#include "str.h"

#define PRETOKEN_PASSES 6 /* at most */

struct pretoken_pass;

struct pretoken {
    const char *name;   /* the label of model files, tokenizer.ggml.pre */
    const char *labels; /* other labels of the same thing, separated by spaces */
    const struct pretoken_pass *pass[PRETOKEN_PASSES]; /* NULL after the last */
    bool whole_first; /* a piece that is a token becomes this token, whatever the merges say */
    bool add_bos;     /* a file without add_bos_token means yes */
};

/* The row with this name or label, NULL = none. */
const struct pretoken *pretoken_find(const char *name, size_t n);
void pretoken_names(struct str *out); /* appends the names of all rows, separated by ", " */

/* A walk over the pieces of s[0..end[0]). */
struct pretoken_walk {
    const struct pretoken *rule;
    const char *s;
    size_t at;
    size_t end[PRETOKEN_PASSES + 1]; /* of the text, then of the current piece of each pass */
};

void pretoken_start(struct pretoken_walk *w, const struct pretoken *rule, const char *s, size_t n);
size_t pretoken_next(struct pretoken_walk *w); /* bytes of the next piece; 0 = the text is over */

#endif
