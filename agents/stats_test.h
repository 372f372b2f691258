/*
 * stats_test: intervals and tests over counts. They know no run: callers pass counts and tables.
 * A value that the data do not define is NaN. Each formula has its source. STATISTICS.md argues the
 * choices.
 */
#ifndef MAS_STATS_TEST_H
#define MAS_STATS_TEST_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

#define STATS_Z 1.959963984540054 /* 97.5 % quantile of the normal distribution */

struct stats_rate {
    size_t k, n;
    double rate, lo, hi; /* 95 % Wilson score interval; NaN when n == 0 */
};
/* E. B. Wilson, JASA 22 (1927) 209. */
struct stats_rate stats_wilson(size_t k, size_t n);
/* The same interval for a rate of a sample of n, which need not be whole, and the quantile z. The
 * ends are exactly 0 and 1 for rates of 0 and 1. NaN unless n > 0. */
void stats_wilson_real(double rate, double n, double z, double *lo, double *hi);

/* Exact two-sided McNemar test: b counts the pairs in which only the first run was right, c those
 * in which only the second was. Returns P of a split at least this uneven if both are equally
 * likely. 1 when b + c == 0. */
double stats_mcnemar(size_t b, size_t c);

/* Exact two-sided randomisation test of paired integer differences d (n) (R. A. Fisher, The
 * Design of Experiments, 1935, section 21). *p: P that the sum is at least as far from 0 when
 * each difference takes either sign with probability 1/2. With d in {-1, 0, 1} this is McNemar's
 * test. 1 when all d are 0, NaN when n == 0. Time and memory grow with the sum of |d|.
 * ERR_NOMEM. */
int stats_sign_flip(const int32_t *d, size_t n, double *p, struct err *e);

/* Holm's step-down adjustment (S. Holm, Scand. J. Statist. 6 (1979) 65): adjusted[i] <= alpha
 * rejects with a family-wise error of alpha. A NaN is no comparison: it stays NaN and is not
 * counted. adjusted may not be p itself. */
void stats_holm(const double *p, size_t n, double *adjusted);

struct stats_cochran {
    size_t n, n_run; /* questions, runs */
    size_t n_differ; /* questions that some runs have right and some wrong */
    double q, p;     /* NaN when n_differ == 0 or n_run < 2 */
};
/* Cochran's Q: are the runs equally often right on the same questions? right (n, n_run) of 0, 1.
 * p: chi-square with n_run - 1 degrees (W. G. Cochran, Biometrika 37 (1950) 256). */
struct stats_cochran stats_cochran(const unsigned char *right, size_t n, size_t n_run);

struct stats_kappa {
    size_t n, n_rater;
    double observed, expected; /* share of agreeing pairs; by chance, from the answers' shares */
    double kappa;              /* NaN when n == 0, n_rater < 2, or one answer is given throughout */
};
/* Fleiss' kappa of answers (n, n_rater), each -1 (no answer, a category of its own) or 0..126 (J.
 * L. Fleiss, Psychol. Bull. 76 (1971) 378). */
struct stats_kappa stats_fleiss(const signed char *answer, size_t n, size_t n_rater);

/* Power of the exact McNemar test at level alpha on n questions. discordant: share of the questions
 * that exactly one run has right; difference: share that only the second has, minus share that only
 * the first has. Sums over all outcomes. NaN unless |difference| <= discordant <= 1. */
double stats_power(size_t n, double discordant, double difference, double alpha);
/* Questions needed for that power, from the normal approximation (R. J. Connor, Biometrics 43
 * (1987) 207), not rounded. NaN for impossible arguments or a difference of 0. */
double stats_questions(double discordant, double difference, double alpha, double power);
/* The smallest difference that n questions find with that power, by the same approximation. NaN
 * when even a difference of discordant is not found. */
double stats_detectable(size_t n, double discordant, double alpha, double power);

#endif
