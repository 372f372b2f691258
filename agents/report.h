/* report: results for people (a table), for programs (summary.json) and for spreadsheets (results.csv). */
#ifndef MAS_REPORT_H
#define MAS_REPORT_H

#include "stats.h"
#include "str.h"

/* A table of at most `width` columns (80 or more). title: what was run, one line. */
void report_table(const struct stats_summary *s, const char *title, int width, struct str *out);
/* Runs side by side, the first one being what the others are compared with: accuracy with its interval,
 * what is missing, and what a question cost. */
struct report_run {
    const char *name;
    struct stats_summary summary;
    struct stats_paired paired; /* the first run against this one; unused in the first */
};
void report_runs(const struct report_run *run, int n, struct str *out);
void report_paired(const struct stats_paired *p, const char *a, const char *b, struct str *out);
/* One JSON object; numbers that were not measured are null. run_json: the trace's run.json, included as
 * "run" when not empty; engine_json likewise: what the engine of the process that ended the run has done. */
void report_json(const struct stats_summary *s, const char *run_json, const char *engine_json, struct str *out);
/* Header and one row a result, RFC 4180: trace_id, question (first 100 characters), predicted_answer,
 * correct_answer, is_correct, total_latency_seconds, total_tokens, n_specialists. No answer is an empty
 * field. */
void report_csv(const struct results *rs, struct str *out);

#endif
