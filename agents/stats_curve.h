/*
 * stats_curve: how far the probability of an answer can be trusted. Each function takes n pairs: p
 * in [0, 1], the probability that the model gave its answer, and right, 0 or 1.
 */
#ifndef MAS_STATS_CURVE_H
#define MAS_STATS_CURVE_H

#include <stddef.h>

#include "stats_test.h"

#define STATS_BINS 10

/* Expected calibration error over `bins` bins of equal width (Guo et al., ICML 2017, eq. 3): mean
 * over questions of |accuracy - mean probability| of their bin. NaN when n == 0. */
double stats_ece(const double *p, const unsigned char *right, size_t n, int bins);
/* Brier score: mean of (p - right)^2 (G. W. Brier, Mon. Weather Rev. 78 (1950) 1, for the event
 * that the answer is right). NaN when n == 0. */
double stats_brier(const double *p, const unsigned char *right, size_t n);

/* The same score over the options of one question, in Brier's first form: sum of (p[i] - (i ==
 * key))^2. 0 is best, 2 worst. p (n_options), sum 1; 0 <= key < n_options. */
double stats_brier_options(const double *p, int n_options, int key);

struct stats_bin { /* from <= p < to; the last bin holds p == 1 too */
    double from, to;
    double mean_p; /* NaN when it is empty */
    struct stats_rate rate;
};
/* The reliability table. out: (bins). */
void stats_reliability(const double *p, const unsigned char *right, size_t n, int bins,
                       struct stats_bin *out);

/* Selective answering: only answers with p >= threshold are given. */
struct stats_step {
    double threshold;
    size_t kept, right; /* answers given, and the right ones among them */
};
/* One step for each distinct p, from the most certain on: coverage kept / n, risk 1 - right / kept.
 * Equal p are one step: no threshold separates them. step: room for n. ERR_NOMEM. */
int stats_steps(const double *p, const unsigned char *right, size_t n, struct stats_step *step,
                size_t *n_step, struct err *e);
/* Area below the risk-coverage curve (Geifman, Uziel, El-Yaniv, ICLR 2019): the mean risk over the
 * thresholds that just give each of the n answers. NaN without a step. */
double stats_aurc(const struct stats_step *step, size_t n_step);
/* The first step that gives at least that share of the answers, 0 < coverage <= 1; NULL without a
 * step. */
const struct stats_step *stats_at_coverage(const struct stats_step *step, size_t n_step,
                                           double coverage);

#endif
