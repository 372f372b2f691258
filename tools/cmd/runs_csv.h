/* runs_csv: the rows of several runs in one table, for mas export --csv. */
#ifndef MAS_RUNS_CSV_H
#define MAS_RUNS_CSV_H

#include "err.h"
#include "str.h"

/* Appends a header and the rows of each run in dir (n), as report_csv has them. The first column,
 * "run", is the last part of the folder's name, or the whole name if two runs have the same.
 * Notes of the runs go to standard error. Errors of trace_read. */
int runs_csv(const char *const *dir, size_t n, struct str *out, struct err *e);

#endif
