/*
 * grid_table: the figures of an experiment: one row a cell, and one row a setting with the mean and
 * the deviation over its seeds. The figures are computed from the cells' folders, never copied from
 * their reports.
 *
 * A setting's mean is over all records asked for. The comparison has the questions that all cells
 * have finished, as mas export --against has them.
 */
#ifndef MAS_GRID_TABLE_H
#define MAS_GRID_TABLE_H

#include "gridfile.h"
#include "report.h"

struct grid_table_cell {
    const struct gridfile_cell *of;
    bool read; /* the folder holds this cell and was read; otherwise no figure is valid */
    struct stats_rate accuracy;     /* of variants, its interval is that of stats_variants */
    struct stats_variants variants; /* zero if the cell has none */
    size_t none; /* records without an answer: unparsed, failed, rejected, not run */
    size_t not_run;
    size_t asked_again, attempts; /* questions, and their failed attempts that were replaced */
    /* of a finished question; NaN = none. prompt: all tokens of prompts; computed: those that no
     * cache had, which depends on the cells before */
    double calls, prompt, computed, new_tokens, seconds, joules;
    size_t setting; /* index into grid_table.setting */
};

struct grid_table_setting {
    size_t cell;     /* the first one */
    size_t n, whole; /* cells (seeds), and those of them whose questions are all finished */
    double mean, sd; /* accuracy over the `whole` cells; sd: of a sample, NaN for fewer than two */
    double prompt, new_tokens, seconds; /* means over them */
};

struct grid_table {
    const struct gridfile *file;
    struct grid_table_cell *cell;       /* (n), those of the file that are not removed */
    struct grid_table_setting *setting; /* (n_setting) cells that differ in the seed only */
    size_t n, n_setting;
    /* The cells whose questions are all finished, compared with the first of them (stats_runs.h).
     * n_run 0: there are fewer than two, or their records are more than GRID_TABLE_RECORDS. */
    struct stats_compared compared;
    struct report_run *report;    /* (n_whole) */
    struct trace_run *run;        /* (n_whole) */
    const struct trace_run **all; /* (n_whole) */
    size_t n_whole;
    bool too_many;
};
#define GRID_TABLE_RECORDS 500000 /* of all cells: they are in memory together */
#define GRID_TABLE_DRAWS 2000     /* of a bootstrap interval */

/* price: USD per kWh, NaN = as each run says. Borrows file. A folder that cannot be read
 * has no figures. ERR_NOMEM. */
int grid_table_read(const char *dir, const struct gridfile *file, double price_kwh,
                    struct grid_table *out, struct err *e);
/* Compares the cells with the finished cell of that name instead of the first finished one.
 * ERR_USAGE when the cell is not compared, ERR_NOMEM. */
int grid_table_baseline(struct grid_table *t, const char *name, struct err *e);
void grid_table_free(struct grid_table *t); /* accepts a zeroed one */
/* Appends the tables for a person. */
void grid_table_text(const struct grid_table *t, struct str *out);
/* Appends one JSON object; numbers that were not measured are null. ERR_NOMEM. */
int grid_table_json(const struct grid_table *t, struct str *out, struct err *e);

#endif
