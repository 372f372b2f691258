/*
 * stats_runs: several runs side by side, on the questions that all of them have finished. A
 * question is found by its id, so runs over other orders and subsets can be compared. Duplicates
 * and rejected records are no questions; each run's own table counts them.
 */
#ifndef MAS_STATS_RUNS_H
#define MAS_STATS_RUNS_H

#include "stats.h"
#include "stats_boot.h"
#include "stats_mixed.h"

/* The questions that every run was asked and has finished, in order of their ids. */
struct stats_common {
    size_t n, n_run;
    size_t left_out;      /* questions that some run was asked and not every run has finished */
    unsigned char *right; /* (n, n_run) 1 = right */
    signed char *answer;  /* (n, n_run) option of the data file, -1 = none */
};
/* ERR_NOMEM. Free with stats_common_free. */
int stats_common(const struct trace_run *const *run, size_t n_run, struct stats_common *out,
                 struct err *e);
void stats_common_free(struct stats_common *c); /* accepts a zeroed one */

/* *same: one run is a copy of the other. Their identities are equal, and so is every result with
 * its answer, tokens and times. Runs without results are no copies. ERR_NOMEM, ERR_DATA
 * (run.json). */
int stats_same_run(const struct trace_run *a, const struct trace_run *b, bool *same, struct err *e);

/* A setting: runs whose identities differ by their seed alone. */
struct stats_setting {
    size_t first, n_run;  /* its first run in the list, number of its runs */
    size_t left_out;      /* as in stats_common, of its runs */
    struct stats_mixed m; /* over its runs, on their common questions */
    /* The first setting and this one, on the questions that all their runs have finished: mean
     * accuracy of this one minus that of the first. Unused (n 0) in the first setting. */
    struct stats_bca difference; /* over questions, each with the mean of its runs */
    size_t difference_left_out;
    double p;      /* stats_sign_flip of the questions' differences; NaN when n == 0 */
    double p_holm; /* adjusted for all settings but the first */
};

struct stats_compared {
    size_t n_run, n_setting;
    struct stats_paired *paired;    /* (n_run) the first run and this one; the first is unused */
    size_t *setting;                /* (n_run) number of the run's setting */
    int64_t *seed;                  /* (n_run) -1 = its identity has none */
    struct stats_setting *settings; /* (n_setting), in order of their first runs */
    size_t n, left_out;             /* common questions of all runs */
    struct stats_cochran cochran;   /* of all runs */
    struct stats_kappa kappa;       /* of all runs' answers */
};
/* Compares runs. Holm's adjustment covers all runs but the first, and all settings but the first. A
 * run without a seed is a setting of its own. So is a second run with the same seed, since seeds
 * count as independent. draws, seed: of the bootstrap. ERR_NOMEM, ERR_DATA (run.json). */
int stats_compare(const struct trace_run *const *run, size_t n_run, int draws, uint64_t seed,
                  struct stats_compared *out, struct err *e);
void stats_compared_free(struct stats_compared *c); /* accepts a zeroed one */

#endif
