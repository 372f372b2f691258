/* prices: the price that a public API would ask for the tokens of a question. The list is
 * prices.def. */
#ifndef MAS_PRICES_H
#define MAS_PRICES_H

#include <stddef.h>

struct price {
    const char *name;
    double prompt, completion; /* USD a million tokens */
    const char *date, *source;
};
/* All prices of the list; *n of them. */
const struct price *prices_all(size_t *n);
/* USD for that many tokens, as the run's own tokenizer counts them. */
double prices_usd(const struct price *p, double prompt_tokens, double completion_tokens);

#endif
