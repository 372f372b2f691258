/*
 * curve: what an llm did over the time of an evaluation, as a picture: tokens a second and
 * pages of the KV cache.
 */
#ifndef MAS_CURVE_H
#define MAS_CURVE_H

#include "llm.h"
#include "str.h"

struct curve_point { /* totals since the beginning but for what is said to be of the moment */
    double seconds;
    double new_tokens, prompt_tokens; /* computed ones */
    int used, cached, running;        /* of the moment */
};

struct curve {
    struct llm *llm;
    int pages; /* of the KV cache */
    double begin;
    struct curve_point *p; /* (n) */
    size_t n, cap;
    bool full; /* out of memory: the rest is not drawn */
};

/* Begins with the llm's figures of now. Of an llm without a gauge nothing is kept. */
void curve_open(struct curve *c, struct llm *llm);
void curve_add(struct curve *c); /* a point, when the last one is a 20th of a second old */
void curve_free(struct curve *c);
/* title: one line, UTF-8. ERR_DATA without points, ERR_NOMEM. */
int curve_svg(const struct curve *c, const char *title, struct str *out, struct err *e);

#endif
