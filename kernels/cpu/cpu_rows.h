/*
 * cpu_rows: row-wise ops over the pool, in pieces so small that one long row also uses all threads.
 */
#ifndef MAS_CPU_ROWS_H
#define MAS_CPU_ROWS_H

#include "ops_cpu.h"

/* Elements of a piece, at least: below this the wake-up of a thread costs more than it saves. */
#define CPU_GRAIN 4096

/* Runs fn over the n_row * n elements of dense rows as one line. */
static inline void cpu_rows_run(struct ops *ops, int64_t n_row, int64_t n, pool_fn fn, void *arg)
{
    pool_run_grain(ops_cpu(ops)->pool, n_row * n, CPU_GRAIN, fn, arg);
}

#endif
