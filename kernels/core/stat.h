/* stat: order statistics of repeated measurements. */
#ifndef MAS_STAT_H
#define MAS_STAT_H

#include <stddef.h>

struct stat_summary {
    size_t n;
    double mean, stddev, median, p5, p95, min, max; /* unit of the samples; NaN when n == 0 */
};

/* Sorts x in place. Quantiles by linear interpolation (Hyndman & Fan type 7). */
struct stat_summary stat_summarize(double *x, size_t n);
double stat_quantile_sorted(const double *x, size_t n, double q);

#endif
