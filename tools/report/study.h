/*
 * study: runs read for one report, with everything that the page shows of them. The figures come
 * from agents/stats.h. The texts of the cases are packed while a trace is read, so that one trace
 * at a time is in memory.
 *
 * A question is one row of the page, with an answer of each run that asked it. Runs are joined by
 * the question's id.
 */
#ifndef MAS_STUDY_H
#define MAS_STUDY_H

#include <jansson.h>

#include "replay.h"
#include "stats_runs.h"
#include "trace.h"

/* The first bytes of the page, by which a later run knows a file of its own. */
#define STUDY_HEAD "<!doctype html>\n<!-- a report of mas -->\n"
#define STUDY_RUNS 256
#define STUDY_BLOCK 16 /* cases that the page unpacks together */
/* With more runs than these, settings are listed by value instead of one column a run, and the
 * pictures of single runs are folded. */
#define STUDY_FEW 8

enum study_flag { /* of a case; the page's script filters by them */
                  STUDY_RIGHT = 1,
                  STUDY_UNPARSED = 2,
                  STUDY_FAILED = 4,
                  STUDY_CUT = 8,       /* a reply met its token limit */
                  STUDY_CLOSED = 16,   /* a reply was closed before its limit */
                  STUDY_DISAGREE = 32, /* the agreement among its reports is below 1 */
                  STUDY_CHANGED = 64,  /* a position changed in a later round */
                  STUDY_CALL = 128,    /* a call was not parsed */
};

struct study_case {
    size_t block, place; /* of its texts */
    unsigned flags;
};

struct study_place { /* a position among the shown options */
    size_t key;      /* cases whose right option stood there */
    size_t right;    /* of them: answered right */
    size_t chosen;   /* cases whose answer stood there */
};

struct study_run {
    const char *dir;
    char name[64];    /* the folder's, or the path if two folders have one name */
    char partial[64]; /* "partial, 6 of 60" (records); "" = every question asked for was run */
    struct trace_run run;
    struct stats_summary sum;
    json_t *doc; /* run.json */
    const json_t *identity, *about;
    size_t *result;       /* (run.records.n) 1 + index of the record's result; 0 = none */
    struct study_case *c; /* (run.results.n) */
    struct study_place place[MEDQA_OPTIONS];
    size_t n_place;    /* places of the question with most options; 0 = orders were not recorded */
    struct str blocks; /* script elements with the texts */
    size_t n_block;
    struct str bad; /* rows of a table: the first replies that ended badly */
    size_t n_bad;   /* all of them */
};

struct study_question {
    char id[24];
    size_t first;                   /* the first run that has it */
    size_t record;                  /* its record number there */
    const struct medqa_question *q; /* NULL = the data file was not found */
};

struct study {
    struct study_run *run; /* (n) */
    size_t n;
    struct study_question *question; /* (n_question) by first run, then by record */
    size_t n_question;
    struct medqa *data;             /* (n) files of questions that were found; zeroed otherwise */
    struct stats_compared compared; /* only with two runs or more */
    double price_kwh;               /* NaN = each run's own */
};

/* data: a file of questions, NULL = those that the runs name, where they exist unchanged. Errors of
 * trace_read and medqa_read. */
int study_open(const char *const *dir, size_t n, const char *data, double price_kwh,
               struct study *out, struct err *e);
void study_close(struct study *s); /* accepts a zeroed one */
/* The result of a question in a run; NULL = it has none. *at: its index. */
const struct result *study_result(const struct study *s, size_t run, const struct study_question *q,
                                  size_t *at);
/* The questions that every run was asked; s->n_question of them = the runs have the same ones. */
size_t study_shared(const struct study *s);
/* The run has the question among the records asked for. */
bool study_asked(const struct study *s, size_t run, const struct study_question *q);

/* A member of run.json's identity.config, identity or last settings; "" = none. Lives as long as
 * the run. */
const char *study_setting(const struct study_run *r, const char *key);

/* Packs the cases of the trace into r->blocks, and fills the rest that only its lines tell. Used by
 * study_open. ERR_DATA, ERR_NOMEM. */
int study_pack(struct study_run *r, size_t number, const struct replay *lines, struct err *e);

/* The whole page. ERR_NOMEM. */
int study_page(const struct study *s, struct str *out, struct err *e);

/* ---- its parts (study_chart.c, study_table.c, study_cases.c) --------------------------------- */

/* The name of a run, and how much of it was run if that is not all. */
void study_run_label(const struct study_run *r, struct str *out);
/* A warning if the runs were asked different questions. */
void study_note_questions(const struct study *s, struct str *out);
void study_legend(const struct study *s, struct str *out);
void study_charts_cost(const struct study *s, struct str *out);
void study_chart_accuracy(const struct study *s, struct str *out);
void study_chart_paired(const struct study *s, struct str *out);
void study_charts_places(const struct study *s, struct str *out);
void study_charts_specialties(const struct study *s, struct str *out);
void study_charts_calibration(const struct study *s, struct str *out);
int study_charts_time(const struct study *s, struct str *out, struct err *e);
void study_table_runs(const struct study *s, struct str *out);
void study_table_steps(const struct study *s, struct str *out);
void study_table_prices(const struct study *s, struct str *out);
void study_table_paired(const struct study *s, struct str *out);
void study_table_settings(const struct study *s, struct str *out);
void study_table_places(const struct study *s, struct str *out);
void study_table_specialties(const struct study *s, struct str *out);
void study_table_bad(const struct study *s, struct str *out);
void study_table_setup(const struct study *s, struct str *out);
int study_index(const struct study *s, struct str *out, struct err *e);

#endif
