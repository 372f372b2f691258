/*
 * synonyms: says when two texts name the same diagnosis. It never guesses: two texts are the same
 * if their normal forms are equal, or if a table has both in one class.
 *
 * Normal form, in this order:
 * 1. Words are the runs of letters and digits, in lower case. An apostrophe with s at the end of a
 *    word is dropped. Bytes of UTF-8 are letters.
 * 2. A word of four letters or more becomes singular by its ending. Words in -ies get -y. Words in
 *    -sses, -shes, -ches and -xes lose -es. Other words in -s lose it, but not those in -ss, -us
 *    and -is.
 * 3. A word that the table lists becomes the words that it stands for.
 * 4. A text in brackets at the end is dropped if it is in the same class as the text before it.
 *
 * The table is YAML (configs/synonyms.yaml): `words`, pairs of a word and what it stands for, and
 * `names`, classes of names.
 */
#ifndef MAS_SYNONYMS_H
#define MAS_SYNONYMS_H

#include "err.h"
#include "mem.h"
#include "str.h"

#define SYNONYMS_BYTES ((size_t)4 << 20) /* largest table */
#define SYNONYMS_NAMES 100000            /* names and words of a table */

struct synonyms_row {
    const char *from,
        *to; /* normal forms: a name and its class's first name; a word and its words */
};

struct synonyms {
    struct synonyms_row *name, *word; /* (n_name), (n_word) sorted by from */
    size_t n_name, n_word;
    char hash[65]; /* SHA-256 of the file */
    struct arena arena;
};

/* path "" = the table inside the program. ERR_NOINPUT, ERR_CONFIG names the fault: a name in two
 * classes, a word that stands twice, a word of several words. ERR_NOMEM. */
int synonyms_read(const char *path, struct synonyms *out, struct err *e);
int synonyms_parse(const char *text, size_t n, const char *name, struct synonyms *out,
                   struct err *e);
void synonyms_free(struct synonyms *s); /* accepts a zeroed one */

/* Sets out to the class of a text: the first name of its class, or its own normal form. "" = the
 * text has no word. ERR_NOMEM. */
int synonyms_class(const struct synonyms *s, const char *text, struct str *out, struct err *e);
/* The class as a text in the arena; NULL = the text has no word. */
int synonyms_of(const struct synonyms *s, const char *text, struct arena *a, const char **out,
                struct err *e);

#endif
