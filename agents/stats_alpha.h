/*
 * stats_alpha: agreement of raters beyond chance, for raters whose number differs from case to
 * case. Krippendorff's alpha for names (K. Krippendorff, Content Analysis, 4th ed. 2019, chapter
 * 12; A. F. Hayes & K. Krippendorff, Communication Methods and Measures 1 (2007) 77). With equally
 * many raters of every case, it differs from Fleiss' kappa only by a correction for small samples.
 */
#ifndef MAS_STATS_ALPHA_H
#define MAS_STATS_ALPHA_H

#include <stddef.h>

#define STATS_ALPHA_NAMES 128

struct stats_alpha {
    size_t units;    /* cases with two values or more: no other one counts */
    size_t values;   /* of these */
    int least, most; /* values of one such case */
    double pairs;    /* share of pairs within a case that agree, each case weighted by its values */
    double observed; /* disagreement: 1 - pairs */
    double expected; /* disagreement of any two values by chance */
    double alpha;    /* 1 - observed / expected; NaN without units, or if one name is given alone */
    /* while cases are added */
    double within;
    size_t of[STATS_ALPHA_NAMES];
};

/* Adds a case: its values are the characters of a text (below 128). '-' is a missing value. */
void stats_alpha_add(struct stats_alpha *a, const char *values);
/* Computes the figures. Cases may still be added. */
void stats_alpha_end(struct stats_alpha *a);

#endif
