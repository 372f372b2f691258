/* report: results for people (a table), for programs (summary.json) and for spreadsheets
 * (results.csv). */
#ifndef MAS_REPORT_H
#define MAS_REPORT_H

#include "stats.h"
#include "stats_runs.h"
#include "str.h"
#include "trace.h"

/* A table of at most `width` columns (80 or more). title: the run, in one line. */
void report_table(const struct stats_summary *s, const char *title, int width, struct str *out);
/* Runs side by side: accuracy with its interval, missing answers, and the cost of a question. The
 * others are compared with the first run; every difference is this run minus the first. */
struct report_run {
    const char *name;
    struct stats_summary summary;
    struct stats_paired paired; /* the first run and this one; unused in the first */
};
void report_runs(const struct report_run *run, int n, struct str *out);
/* The name without its part seed=N, for a setting of several seeds: "cot,top_p=1". */
void report_setting_name(const char *name, int64_t seed, struct str *out);
/* Why the intervals of settings of few seeds are wide, in two sentences; nothing if there is no
 * such setting. */
void report_few_seeds(const struct stats_compared *c, struct str *out);
void report_paired(const struct report_run *first, const struct report_run *other, struct str *out);
/* The size of a study of two runs, before it is made. discordant: share of the questions that one
 * run alone will have right, in (0, 1]. */
void report_plan(double discordant, struct str *out);
/* The same as one JSON object: "plan", "discordant", "level", "power"; "needed", one row a
 * difference; and "found", one row a number of questions. Shares, not percentages. */
void report_plan_json(double discordant, struct str *out);
/* The runs together; run: (c->n_run). Three parts, each where there is something to show:
 * - Cochran's Q and Fleiss' kappa of three runs or more;
 * - settings, if several runs differ by their seed alone;
 * - calibration, if answers have probabilities. */
void report_compared(const struct report_run *run, const struct stats_compared *c, struct str *out);
/* The whole comparison as one JSON object; members "runs" (with their summaries), "paired",
 * "together" and "settings". Numbers that are not defined are null. */
void report_compared_json(const struct report_run *run, const struct stats_compared *c,
                          struct str *out);
/* One JSON object; numbers that were not measured are null. run_json: the trace's run.json,
 * included as "run" when not empty. engine_json likewise, as "engine": the work of the engine since
 * the last start of the run that computed something. Earlier starts are in no figure of it, which
 * "engine_covers" says. "retried" is there when failed questions were asked again (retried.h). */
void report_json(const struct stats_summary *s, const char *run_json, const char *engine_json,
                 struct str *out);
/* The counts alone, for run.json: one JSON object. */
void report_figures(const struct stats_summary *s, struct str *out);
/* Writes CSV (RFC 4180): a header and one row a record asked for. Columns:
 * - trace_id, question (first 100 characters), predicted_answer, correct_answer, is_correct,
 *   total_latency_seconds, total_tokens, n_specialists;
 * - line (of the data file), status (answered, unparsed, failed, not run, duplicate, rejected),
 *   calls_cut, calls_closed, reason;
 * - joules, joules_per_token (a token that the model computed);
 * - think_tokens, if any question has some; total_tokens counts them too;
 * - lp_A, lp_B, ..: log-probability of each option's letter, if any question has some;
 * - p_A, p_B, ..: probability of each option, likewise.
 *
 * An unknown value is an empty field. A duplicate has the answer of the record that it repeats, and
 * no costs. */
int report_csv(const struct trace_run *run, struct str *out, struct err *e);
/* The columns of one table for several runs: those that any of them needs. Begin with zeros. */
struct report_form {
    bool think; /* think_tokens */
    int n_lp;   /* lp_A and those after it */
    int n_p;    /* p_A and those after it */
};
void report_csv_need(const struct trace_run *run, struct report_form *form);
/* The header and the rows of one run. lead: the first columns with their comma, the same in each
 * row; "" = none. */
void report_csv_header(const struct report_form *form, const char *lead, struct str *out);
int report_csv_rows(const struct trace_run *run, const struct report_form *form, const char *lead,
                    struct str *out, struct err *e);
/* Appends a field, in quotes if need be. */
void report_csv_field(struct str *out, const char *s);

#endif
