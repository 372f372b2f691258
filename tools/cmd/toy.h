/*
 * toy: recognises a case from outside the world on which the model inside the program was trained,
 * so that its answer is noise. configs/demo/words.txt has the words of that world's training texts
 * (made by tools/training/demo_model/words.py). configs/demo/ACCURACY.md has TOY_UNKNOWN and its
 * figures.
 */
#ifndef MAS_TOY_H
#define MAS_TOY_H

#include <stdbool.h>

#include "medqa.h"

#define TOY_UNKNOWN 8 /* percent of a case's words that may be new to the model */
#define TOY_TEXT 200

/* true: the model of this name is the toy model, or was made from it. */
bool toy_is(const char *model);

/* Number of words of the question and its options, and number of them that training has not
 * shown. */
struct toy_words {
    int all, unknown;
};
struct toy_words toy_count(const struct medqa_question *q);
bool toy_foreign(const struct toy_words *w);

/* One case: true and the sentence that says so, if the answer is noise. false and "" for another
 * model, or a case that may be of its world. */
bool toy_says(const char *model, const struct medqa_question *q, char out[TOY_TEXT]);
/* As toy_says, for many cases: the sentence has the number of noise cases. */
bool toy_says_all(const char *model, const struct medqa_question *q, size_t n, char out[TOY_TEXT]);

#endif
