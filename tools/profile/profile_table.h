/*
 * profile_table: a profile as text: tables for people, JSON and CSV for programs. The totals are
 * those of profile_sum.h. tools/bench/bench.h describes the JSON.
 */
#ifndef MAS_PROFILE_TABLE_H
#define MAS_PROFILE_TABLE_H

#include <stdbool.h>

#include "profile.h"
#include "profile_sum.h"
#include "str.h"

struct profile_test { /* a test of mas bench model, run with the recorder and without */
    char name[48];
    int tokens;
    struct stat_summary with, without; /* seconds; n 0 = not run */
};

struct profile_report {
    const struct record *record;
    const struct profile_sum *sum;
    const struct profile_facts *facts;
    const struct profile_test *test;
    int n_test, threads;
    const char *backend;
    bool emulated; /* a GPU's kernels run by the host, or an emulated link */
};

/* The caller checks out with str_ok. */
void profile_md(const struct profile_report *p, struct str *out);
void profile_json(const struct profile_report *p, struct str *out);
void profile_csv(const struct profile_report *p, struct str *out);

/* Time that the recorder costs a test, as a share of the time without it; NaN = not measured. */
double profile_overhead(const struct profile_test *t);
/* Every repeat with the recorder took longer than every one without, or the reverse; three of each
 * at least. Otherwise the overhead is not told apart from noise. */
bool profile_overhead_clear(const struct profile_test *t);

#endif
