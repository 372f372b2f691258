/* sheet: a finished case as a person reads it, or as one JSON object. */
#ifndef MAS_SHEET_H
#define MAS_SHEET_H

#include <stdio.h>

#include "consult.h"
#include "result.h"

/* Plan, specialists, decision, cost; width in columns. */
void sheet_print(FILE *f, int width, const struct consult *c, const struct result *r,
                 const char *dir);
void sheet_plan(FILE *f, int width, const struct consult *c); /* c->plan is there */
void sheet_json(FILE *f, const struct consult *c, const struct result *r, const char *dir);

#endif
