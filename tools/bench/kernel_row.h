/* kernel_row: the results of mas bench kernels, as a table, CSV or JSON. */
#ifndef MAS_KERNEL_ROW_H
#define MAS_KERNEL_ROW_H

#include "bench.h"
#include "case.h"
#include "energy.h"
#include "stat.h"

struct kernel_row { /* one kernel on one case */
    struct ops *ops;
    int variant; /* -1: the backend has one way */
    char kernel[64];
    struct stat_summary cold;
    double warm, error; /* error: share of the tolerance, NaN = not checked */
    bool picked, best;
    struct err failed; /* code 0: the figures are measured */
};

struct kernel_sheet {
    const char *format;            /* "md", "csv", "json" */
    const struct ceiling *ceiling; /* zeros: not measured */
    const struct ops *ops;         /* of the head */
    int threads;
    bool emulated; /* a GPU's kernels, run by the host */
    int n_row;     /* printed or kept, failed ones included */
};

bool kernel_row_noisy(const struct kernel_row *r);
/* Of the read ceiling; NAN where that is not measured. */
double kernel_row_share(const struct kernel_sheet *k, const struct op_case *c,
                        const struct kernel_row *r);
/* Prints a kernel without figures, on standard error, too. */
void kernel_row_failed(const struct kernel_sheet *k, enum op op, const struct op_case *c,
                       const struct kernel_row *r);
/* Prints one row, the head before the first. */
void kernel_row_print(struct kernel_sheet *k, enum op op, const struct op_case *c,
                      const struct kernel_row *r);
/* The end of what the head began; spent: by all rows. */
void kernel_sheet_end(const struct kernel_sheet *k, const struct energy_span *spent);

#endif
