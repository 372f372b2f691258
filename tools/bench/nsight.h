/*
 * nsight: reports of NVIDIA's profilers as rows of `mas bench kernels`. Read are
 *
 * - CSV of `nsys stats` (Nsight Systems): nvtx_gpu_proj_sum, nvtx_kern_sum, cuda_gpu_kern_sum and
 *   cuda_gpu_kern_gb_sum, several in one file, with the lines that nsys prints between them. Older
 *   spellings of the columns are known. A unit in a column's name counts; without one the unit is
 *   nanoseconds.
 * - `ncu --csv` (Nsight Compute), pages raw (a column a metric, a line of units) and details (a
 *   line a metric). Launches of one kernel with one grid and block become one row.
 *
 * An op's name comes from its NVTX range where the report has ranges, else from the kernel's name
 * (kernel_name.h). An op's range is called "matmul Q4_K 1x4096->4096 store": the op, and its case.
 * Ranges count that belong to the domain "mas" or to none. Times of a report that nests ranges
 * overlap; so a row is a range that is an op, and other ranges stand apart.
 *
 * The text is trusted in nothing. A column is found by its name. ERR_DATA names the file, the line
 * and the column.
 */
#ifndef MAS_NSIGHT_H
#define MAS_NSIGHT_H

#include "mem.h"

/* Texts lie in the arena; NULL and NAN: not known from this report. */
struct nsight_row {
    const char *report; /* "nvtx_gpu_proj_sum", .., or "ncu" */
    int file;           /* which call of nsight_read, from 0 */
    const char *op;
    const char *call;              /* the case, as in call_text.h, from the op's range */
    const char *range;             /* around the kernel: the op's, "replay", or "" = none */
    const char *function;          /* the kernel's full name; NULL: the row is a whole call */
    const char *kernel, *instance; /* as in kernel_name.h, "" = NULL */
    const char *launch;            /* "132x1x1 of 128x1x1": grid and block */
    double calls;                  /* calls or launches, > 0 */
    double us, us_p5, us_p95;      /* of one; us is the median, or the mean with `mean` */
    double total_us;
    double bytes; /* moved by the GPU's memory, of one launch */
    double share; /* of the memory's peak rate, 0..1 */
    bool mean;
};

struct nsight_range { /* a range that is no op: step, decode, layer 3, replay */
    const char *report, *name;
    int file;
    double calls, us, total_us; /* us as above */
    bool mean;
};

struct nsight {
    struct arena arena;
    struct nsight_row *row;
    struct nsight_range *range;
    size_t n_row, cap_row, n_range, cap_range;
    int n_file;
    size_t n_other; /* rows left out: kernels and ranges of other programs and libraries */
    double other_us;
};

/* Adds the reports of one file, whose name is for messages. On failure the caller frees x. ERR_DATA
 * also when the file has no report, or no row of this program. */
int nsight_read(struct nsight *x, const void *data, size_t n, const char *name, struct err *e);
void nsight_free(struct nsight *x); /* x is empty again */

#endif
