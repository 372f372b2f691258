/*
 * stats: what a set of results says, with its uncertainty. The denominator is always every question
 * asked: unparsed and failed cases are wrong and are shown beside.
 */
#ifndef MAS_STATS_H
#define MAS_STATS_H

#include <stddef.h>
#include <stdint.h>

#include "result.h"
#include "stat.h"

struct stats_rate {
    size_t k, n;
    double rate, lo, hi; /* 95 % Wilson score interval; NaN when n == 0 */
};
/* E. B. Wilson, JASA 22 (1927) 209. */
struct stats_rate stats_wilson(size_t k, size_t n);

/* Exact two-sided McNemar test: b and c count the pairs in which only the first, only the second run was
 * right. P of a split at least this uneven when both are as likely. 1 when b + c == 0. */
double stats_mcnemar(size_t b, size_t c);

struct stats_paired {
    size_t n, both, only_a, only_b, neither; /* questions that both runs have */
    double difference, lo, hi; /* accuracy of a minus b; 95 % percentile bootstrap over questions */
    double p;                  /* exact McNemar */
};
/* Pairs two runs by question id. draws: bootstrap samples; the same seed gives the same interval.
 * ERR_DATA when no question is common, ERR_NOMEM. */
int stats_pair(const struct results *a, const struct results *b, int draws, uint64_t seed,
               struct stats_paired *out, struct err *e);

/* Expected calibration error over `bins` bins of equal width (Guo et al., ICML 2017, eq. 3): mean over
 * questions of |accuracy - mean probability| of their bin. p in [0, 1]. NaN when n == 0. */
double stats_ece(const double *p, const unsigned char *correct, size_t n, int bins);

#define STATS_STEPS 8

struct stats_group {
    const char *name; /* belongs to the results */
    struct stats_rate rate;
};

struct stats_summary {
    struct stats_rate accuracy; /* n = all questions */
    size_t answered, unparsed, failed, no_key;
    struct stats_group step[STATS_STEPS];
    int n_step;
    struct stats_group specialty[CATALOG_MAX]; /* questions for which it was selected; by name */
    int n_specialty;
    double agreement; /* mean over the cases that have one; NaN = none */
    double ece;       /* NaN = no letter probabilities */
    size_t n_ece;
    double calls, prompt_tokens, cached_tokens, new_tokens; /* per question */
    struct stat_summary seconds; /* per question */
    double joules, cost;         /* per question, USD; NaN = not measured */
};
/* price: USD per kWh. ERR_NOMEM. */
int stats_summarize(const struct results *rs, double price_kwh, struct stats_summary *out,
                    struct err *e);

#endif
