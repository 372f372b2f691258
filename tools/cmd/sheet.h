/* sheet: a finished case as a page for a person, or as one JSON object. */
#ifndef MAS_SHEET_H
#define MAS_SHEET_H

#include <stdio.h>

#include "consult.h"
#include "result.h"

/* Prints the work before the answer, the answer, its grounds and its cost. width in columns. */
void sheet_print(FILE *f, int width, const struct consult *c, const struct result *r,
                 const char *dir);
void sheet_work(FILE *f, int width, const struct consult *c); /* only the work before the answer */
/* Appends one JSON object and a newline. noise: the reason why the answer means nothing (toy.h);
 * "" = it may mean something, NULL = unknown. */
void sheet_json(const struct consult *c, const struct result *r, const char *dir, const char *noise,
                struct str *out);
/* The first and the last line of a page whose answer means nothing; nothing for "". */
void sheet_noise(FILE *f, int width, const char *noise);

#endif
