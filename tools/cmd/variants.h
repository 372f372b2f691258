/* variants: the options of vary and eval that name variants of questions (vary.h), as a child
 * parser. */
#ifndef MAS_VARIANTS_H
#define MAS_VARIANTS_H

#include <argp.h>

#include "vary.h"

struct variants { /* input of variants_argp */
    const char *permute;
    bool none;
    const char *file; /* of paraphrases */
    /* filled by variants_take */
    enum vary_kind kind;
    struct str text; /* of the file */
    struct vary_count count;
};
/* --permute, --none-of-the-above, --paraphrases. */
extern const struct argp variants_argp;
extern const char variants_names[]; /* "--permute cyclic, .." for messages */

/* True when an option names variants. */
bool variants_given(const struct variants *v);
/* Replaces the records of m by the variants that the options name; nothing if they name none. asked
 * and describe: as in vary_take. Says the numbers on standard error. ERR_USAGE for several options;
 * errors of vary_take and of reading the file. */
int variants_take(struct variants *v, struct medqa *m, size_t asked, struct str *describe,
                  struct err *e);
/* The text that a run's folder keeps; NULL = none. */
const struct str *variants_text(const struct variants *v);
void variants_free(struct variants *v); /* accepts a zeroed one */

#endif
