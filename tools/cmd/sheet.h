/* sheet: a finished case as a person reads it, or as one JSON object. */
#ifndef MAS_SHEET_H
#define MAS_SHEET_H

#include <stdio.h>

#include "consult.h"
#include "result.h"

/* What led to the answer, the answer and its grounds, cost; width in columns. */
void sheet_print(FILE *f, int width, const struct consult *c, const struct result *r,
                 const char *dir);
void sheet_work(FILE *f, int width, const struct consult *c); /* what led to the answer, alone */
/* noise: why the answer means nothing (toy.h); "" when it may mean something, NULL when nothing is
 * known of that. */
void sheet_json(FILE *f, const struct consult *c, const struct result *r, const char *dir,
                const char *noise);
/* The first and the last line of a page whose answer means nothing; nothing for "". */
void sheet_noise(FILE *f, int width, const char *noise);

#endif
