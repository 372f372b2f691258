/*
 * output: reports of a run to the terminal and to files. Files are written by the rules of
 * outfile.h.
 */
#ifndef MAS_OUTPUT_H
#define MAS_OUTPUT_H

#include "trace.h"

/* Table on standard output (title NULL = none); summary.json and results.csv in dir (NULL = no
 * files). */
int output_reports(const struct trace_run *run, const char *engine_json, double price_kwh,
                   const char *title, const char *dir, struct err *e);
/* Writes text to path, "-" = standard output. ERR_CREATE, ERR_IO. */
int output_file(const char *path, const struct str *text, struct err *e);

#endif
