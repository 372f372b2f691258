/*
 * export: a run in the files of other programs. It brings together the results of the run, the
 * lines of its trace, and the questions with their options.
 *
 * - Every record asked for is a sample, but for questions that are not run yet. A duplicate is a
 *   sample with the answer of the record that it repeats; a rejected record is a wrong one. So the
 *   accuracy in the other file is that of a complete run.
 * - The file of questions must hold each question of the run, by its id. An id is a hash of the
 *   content.
 * - The same run gives the same bytes.
 */
#ifndef MAS_EXPORT_H
#define MAS_EXPORT_H

#include <jansson.h>

#include "medqa_ids.h"
#include "replay.h"
#include "trace.h"

struct export_run {
    struct trace_run run;
    struct replay replay;
    struct medqa data;
    struct medqa_ids ids;
    const struct result **result;      /* (run.records.n) of the record's question; NULL = none */
    const struct replay_case **traced; /* likewise: its lines in the trace */
    json_t *doc;                       /* run.json */
    const char *model, *strategy;      /* "imported" for imported runs */
    const char *began, *ended;         /* "2026-11-30T07:51:37Z", of the sessions */
    char task[128];                    /* name of the data file without folder and end */
    size_t n_samples, n_right;
};

/* data: the file of questions; NULL = the bundle's (review.h), or the one that the run names.
 * ERR_NOINPUT when that is missing, ERR_DATA when a question is not in it, and the errors of
 * trace_read. */
int export_open(const char *dir, const char *data, struct export_run *out, struct err *e);
void export_close(struct export_run *x); /* accepts a zeroed one */

struct export_sample {
    size_t record;
    const struct records_row *row;
    const struct medqa_question *q; /* NULL = the record was rejected */
    const struct result *r;         /* likewise */
    bool right;
    /* lines of the trace; NULL = none, as of imported answers. The caller owns neither. */
    json_t *line;  /* of the case */
    json_t *calls; /* array, in order of asking */
};
/* Calls take for each sample in order of the data file. */
typedef int export_take(const struct export_sample *s, void *user, struct err *e);
int export_each(const struct export_run *x, export_take *take, void *user, struct err *e);

/* Building of documents: a failure is kept and found by export_dump. */
struct export_json {
    bool failed;
};
void export_put(struct export_json *j, json_t *object, const char *key, json_t *value);
void export_add(struct export_json *j, json_t *array, json_t *value);
json_t *export_text(const char *s);       /* NULL = null */
json_t *export_copy(const json_t *value); /* NULL = null */
/* Appends the document; indent 0 = on one line. ERR_NOMEM. */
int export_dump(const struct export_json *j, const json_t *doc, size_t indent, struct str *out,
                struct err *e);
/* A member of session's "about", or of its "config"; NULL = none. */
const json_t *export_about(const struct export_run *x, const char *key);
const json_t *export_config(const struct export_run *x, const char *key);

/* Files of lm-evaluation-harness: DIR/results_TIME.json and DIR/samples_TASK_TIME.jsonl. */
int export_lm_eval(const struct export_run *x, const char *dir, struct err *e);
/* A log of Inspect in its JSON form. */
int export_inspect(const struct export_run *x, struct str *out, struct err *e);

#endif
