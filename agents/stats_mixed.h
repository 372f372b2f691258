/*
 * stats_mixed: the accuracy of one setting that was run with several seeds on the same questions.
 *
 * Both questions and seeds are samples. The model is that of crossed random effects: a cell of the
 * table is mean + question + seed + rest. The components come from the mean squares of the two-way
 * table (J. Cornfield & J. W. Tukey, Ann. Math. Statist. 27 (1956) 907; R. L. Brennan,
 * Generalizability Theory, 2001, chapter 2). A negative component counts as 0.
 */
#ifndef MAS_STATS_MIXED_H
#define MAS_STATS_MIXED_H

#include <stddef.h>

struct stats_mixed {
    size_t n, n_seed, right; /* questions, runs, right answers of the n x n_seed cells */
    double mean;             /* right / (n * n_seed); NaN when there is no cell */
    double sd;               /* of the seeds' accuracies, divisor n_seed - 1; NaN when n_seed < 2 */
    double question, seed, rest; /* variance components; NaN when n < 2 or n_seed < 2 */
    double se;                   /* of the mean over other questions and other seeds */
    double df; /* Satterthwaite (Biometrics 2 (1946) 110); infinite when se == 0 */
    /* 95 % interval for other questions and other seeds: Wilson's, for a sample of mean (1 -
     * mean) / se^2 answers and Student's quantile with df (E. L. Korn & B. I. Graubard, Survey
     * Methodology 24 (1998) 193, for the sample's size). se == 0: all cells are equal, the
     * sample is n. */
    double lo, hi;
};
/* right (n, n_seed) of 0, 1. */
struct stats_mixed stats_mixed(const unsigned char *right, size_t n, size_t n_seed);

#endif
