#include "prices.h"

const struct price *prices_all(size_t *n)
{
    static const struct price list[] = {
#define X(name, prompt, completion, date, source) {name, prompt, completion, date, source},
#include "prices.def"
#undef X
    };
    *n = sizeof list / sizeof list[0];
    return list;
}

double prices_usd(const struct price *p, double prompt_tokens, double completion_tokens)
{
    return (prompt_tokens * p->prompt + completion_tokens * p->completion) * 1e-6;
}
