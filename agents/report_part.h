/* report_part: pieces of reports that report.c and report_compare.c share. */
#ifndef MAS_REPORT_PART_H
#define MAS_REPORT_PART_H

#include "report.h"

#define REPORT_ALPHA 0.05 /* level of the tests */
#define REPORT_POWER 0.8  /* of a study that is planned */

/* "76.8 %  978/1273  95 % interval 74.4 to 79.1", or "no questions" */
void report_rate(const struct stats_rate *r, struct str *out);
/* One number in a column; "-" when it was not measured. */
void report_cell(double v, int width, int decimals, struct str *out);
/* Appends ', "key": number'; null when it is not finite. */
void report_number(struct str *out, const char *key, double d);
/* Appends {"correct": .., "n": .., "accuracy": .., "low": .., "high": ..}. */
void report_json_rate(struct str *out, const struct stats_rate *r);
/* Appends the members of stats_curve.h: "ece", "ece_n", "brier", "brier_options", "aurc",
 * "reliability", "coverage". */
void report_json_confidence(const struct stats_summary *s, struct str *out);

#endif
