/*
 * stats_variants: the figures of a run on variants of questions (vary.h). The variants of a
 * question are a group: the records with the same origin. Only the run's folder is needed.
 *
 * An answer is the same in two variants if it names the same option. Cyclic orders keep the
 * distance from the key to each option, and other variants keep every place. So equal distances
 * from the key are the same option.
 */
#ifndef MAS_STATS_VARIANTS_H
#define MAS_STATS_VARIANTS_H

#include "err.h"
#include "stats_test.h"

struct trace_run;

struct stats_variants {
    size_t variants, questions; /* records asked for that are variants, and their origins */
    size_t alone;               /* groups of one variant */
    size_t unfinished;       /* other groups of which a part alone is finished, in no rate below */
    struct stats_rate same;  /* groups whose answers all name the same option */
    struct stats_rate right; /* groups that are right in all variants */
    /* Accuracy over all variants; one that is not finished is not right. The interval (95 %) says
     * how it varies with the questions: the variants of one are no independent answers. Variance of
     * a ratio over clusters (W. G. Cochran, Sampling Techniques, 1977, section 9A), then Wilson's
     * interval for a sample of mean (1 - mean) / variance answers and Student's quantile (E. L.
     * Korn & B. I. Graubard, Survey Methodology 24 (1998) 193). NaN for less than two questions. */
    double mean, lo, hi;
};

/* ERR_NOMEM. */
int stats_variants(const struct trace_run *run, struct stats_variants *out, struct err *e);
/* The mean and interval of n groups: k right of size answers each. */
void stats_clusters(const int *k, const int *size, size_t n, double *mean, double *lo, double *hi);

#endif
