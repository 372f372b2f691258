/*
 * curve: an llm's tokens a second and pages of the KV cache over the time of an evaluation, as a
 * picture.
 */
#ifndef MAS_CURVE_H
#define MAS_CURVE_H

#include "llm.h"
#include "str.h"

struct curve_point { /* totals since the beginning, except members marked as of the moment */
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
    bool full; /* out of memory: the picture ends here */
};

/* Begins with the llm's current figures. An llm without a gauge gives no points. */
void curve_open(struct curve *c, struct llm *llm);
void curve_add(struct curve *c); /* adds a point if the last one is a 20th of a second old */
void curve_free(struct curve *c);
/* title: one line, UTF-8. ERR_DATA without points, ERR_NOMEM. */
int curve_svg(const struct curve *c, const char *title, struct str *out, struct err *e);

#endif
