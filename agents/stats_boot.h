/*
 * stats_boot: the BCa bootstrap interval of a mean of paired differences (B. Efron, JASA 82 (1987)
 * 171; Efron & Tibshirani, An Introduction to the Bootstrap, 1993, section 14.3). The percentiles
 * of the resampled means are shifted by two constants:
 * - bias z0: the normal quantile of the share of resampled means below the estimate. A tie counts
 *   half, as in scipy.stats.bootstrap;
 * - acceleration a: exact for a mean. The jackknife values of a mean are linear in the data, so a =
 *   sum (d - m)^3 / (6 (sum (d - m)^2)^(3/2)).
 */
#ifndef MAS_STATS_BOOT_H
#define MAS_STATS_BOOT_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct stats_bca {
    size_t n;
    double mean;
    double lo, hi; /* 95 %; NaN when all d are equal (n <= 1 too): no resample differs */
    double bias, acceleration;
};
/* Differences d[i] / scale of n questions; resamples whole questions. Sums are integers, so ties
 * are exact. Draw j of resample i is a pure function of seed, i and j. n < 2^32. ERR_NOMEM. */
int stats_bca(const int32_t *d, size_t n, int scale, int draws, uint64_t seed,
              struct stats_bca *out, struct err *e);

#endif
