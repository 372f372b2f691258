/*
 * toy: tells that a case is not of the world that the model inside the program was trained on, so
 * that its answer is noise. The words of that world's training texts are in configs/demo/words.txt
 * (tools/training/demo_model/words.py makes it); TOY_UNKNOWN and the figures behind it are in
 * configs/demo/README.md.
 */
#ifndef MAS_TOY_H
#define MAS_TOY_H

#include <stdbool.h>

#include "medqa.h"

#define TOY_UNKNOWN 8 /* percent of a case's words that may be new to the model */
#define TOY_TEXT 200

/* Is the model of this name the toy model, or one made of it? */
bool toy_is(const char *model);

/* Words of the question and its options, and how many of them training has not shown. */
struct toy_words {
    int all, unknown;
};
struct toy_words toy_count(const struct medqa_question *q);
bool toy_foreign(const struct toy_words *w);

/* One case: false and "" when the model is another one or the case may be of its world; otherwise
 * the sentence that says so. */
bool toy_says(const char *model, const struct medqa_question *q, char out[TOY_TEXT]);
/* The same for many: how many of them are noise. */
bool toy_says_all(const char *model, const struct medqa_question *q, size_t n, char out[TOY_TEXT]);

#endif
