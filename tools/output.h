/* output: reports of a run to the terminal and to files, which are written as outfile.h says. */
#ifndef MAS_OUTPUT_H
#define MAS_OUTPUT_H

#include "result.h"

/* Table on standard output; summary.json and results.csv in dir (NULL = no files). */
int output_reports(const struct results *rs, const char *run_json, const char *engine_json,
                   double price_kwh, const char *title, const char *dir, struct err *e);
/* Writes text to path, "-" = standard output. */
int output_file(const char *path, const struct str *text, struct err *e);

#endif
