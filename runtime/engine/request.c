#include "request.h"

const char *finish_name(enum finish f)
{
    static const char *const names[] = {"running", "stop",      "length",
                                        "closed",  "cancelled", "error"};
    return names[f];
}

const char *thought_name(enum thought t)
{
    static const char *const names[] = {"none", "open", "closed", "cut", "eos"};
    return names[t];
}

bool request_scores_prompt(const struct request *r)
{
    return r->prompt_lp || (r->prompt_top && r->n_top);
}

int64_t request_most(const struct request *r)
{
    const struct request_think *t = &r->think;
    int added = t->n_end > t->n_after ? t->n_end : t->n_after;
    return (int64_t)r->max_new + (t->max ? (int64_t)t->max + added : 0);
}
