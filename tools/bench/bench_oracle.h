/*
 * bench_oracle: results of a benchmark's case beside those of the oracle. The oracle computes every
 * number of a small case. Of a large matrix it computes 64 of the results of each row: the first,
 * the last, and some between.
 */
#ifndef MAS_BENCH_ORACLE_H
#define MAS_BENCH_ORACLE_H

#include "case.h"

/* Computes what oracle_check compares with. want[i]: of buffer i, to be freed by mem_free, also
 * after an error; NULL for an input. */
int oracle_results(struct ops *ref, const struct op_case *c, enum op op, void *want[CASE_BUFS],
                   struct err *e);
/* Runs the case on ops. *used: the largest share of the tolerance; infinite for NaN against a
 * number. */
int oracle_check(const struct op_case *c, enum op op, struct ops *ops, void *const want[CASE_BUFS],
                 double *used, struct err *e);

#endif
