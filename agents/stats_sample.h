/*
 * stats_sample: means of samples, and the comparison of two of them. A value that the data do not
 * define is NaN.
 */
#ifndef MAS_STATS_SAMPLE_H
#define MAS_STATS_SAMPLE_H

#include <stddef.h>

#include "err.h"

struct stats_mean {
    size_t n; /* finite values; others are left out */
    double mean, sd;
    double lo, hi; /* 95 % interval by Student's t; NaN when n < 2 */
    double p;      /* two-sided t test of a mean of 0; NaN when n < 2 or sd == 0 */
};
struct stats_mean stats_mean_of(const double *x, size_t n);

struct stats_auc {
    size_t n_a, n_b; /* finite values of each sample */
    /* P(a > b) + P(a == b) / 2 for values drawn from both; its 95 % interval by the variance of E.
     * R. DeLong, D. M. DeLong & D. L. Clarke-Pearson, Biometrics 44 (1988) 837, cut to [0, 1]. NaN
     * without values in both. The interval is NaN too when a sample has less than two values, or
     * when the variance is 0, as for an area of 1. */
    double auc, lo, hi;
};
/* Sorts a and b; values that are not finite go to their ends. */
struct stats_auc stats_auc_of(double *a, size_t n_a, double *b, size_t n_b);

/* P(at least k of n events happen), which are independent with the probabilities p (n).
 * ERR_NOMEM. */
int stats_at_least(const double *p, size_t n, size_t k, double *out, struct err *e);

#endif
