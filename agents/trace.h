/*
 * trace: a run's folder on disk. No finished case is ever lost or counted twice.
 *
 *   lock             held (flock) while a run writes; holds its process id
 *   run.json         identity (must be the same to continue), number of records asked for,
 *                    content of the data file, one session for each change of settings,
 *                    failed attempts that were replaced (retried.h), figures of the last report
 *   records.jsonl    the data file, record by record (records.h)
 *   traces.jsonl     one line a call, then one line for their case; a crc ends every line
 *   traces.jsonl.gz  the same, sealed when the run is complete (members of 32 cases)
 *
 * A case is appended by one write and one fdatasync. So a crash can leave only an unfinished tail:
 * an unterminated line, or calls without their case. Opening cuts the tail off, keeps it as
 * traces.jsonl.tail.bad and says so. A complete but wrong line is damage and is refused with its
 * line and question. With repair, the damaged case is dropped, so that it is asked again.
 */
#ifndef MAS_TRACE_H
#define MAS_TRACE_H

#include <stdbool.h>

#include "lease.h"
#include "medqa.h"
#include "records.h"
#include "result.h"
#include "retried.h"
#include "roles.h"
#include "str.h"

#define TRACE_FORMAT 2 /* of the folder; format 1 named questions by their index in the file */

struct trace;

struct trace_given {      /* a data file as another folder describes it */
    const char *records;  /* text of records.jsonl */
    const char *describe; /* JSON object of records_describe */
    const char *sessions; /* items of the array "sessions" of run.json */
    const struct retried *retried;
};

struct trace_options {
    const char *dir; /* made if need be, parents too */
    /* JSON object of JSON objects and values: the settings that must not change */
    const char *identity;
    /* likewise, the settings that may change; a continuation with other values is a new session */
    const char *about;
    const char *defaults;     /* JSON object: every option's default (trace_diff.h); NULL = none */
    const struct medqa *data; /* the file, or one question */
    size_t asked; /* number of first records that the figures cover; 0 = all. May change */
    bool repair;
    /* Failed cases among the records asked for are asked again. The former files stay as *.old, and
     * run.json says so (retried.h) */
    bool retry_failed;
    /* held for the folder or one above it, in place of flock; NULL = flock. The cases go to a part
     * of their own (trace_parts.h). It must outlive the trace */
    struct lease *lease;
    /* in place of data, when the file is not there (merge.h); NULL = none */
    const struct trace_given *given;
    bool fresh; /* moves the folder's content to DIR/old-1, old-2, .. */
};

/* ERR_CREATE (folder, lock, lease: names the other process), ERR_CONFIG (identity differs: says
 * how; a folder of another format), ERR_DATA (damage), ERR_IO, ERR_NOMEM. */
int trace_open(const struct trace_options *opt, struct trace **out, struct err *e);
void trace_close(struct trace *t); /* accepts NULL */

/* Findings while opening: lines of text for the user; "" = none. */
const char *trace_notes(const struct trace *t);
/* The finished cases, in order of the file; grows with trace_append. */
const struct results *trace_results(const struct trace *t);
bool trace_has(const struct trace *t, int64_t index); /* true: that question is finished */

/* Writes a finished case and its calls. On failure the file is cut back to its last good end, the
 * case is not counted, and the run can be continued later. ERR_CREATE: the lease is lost. ERR_IO,
 * ERR_NOMEM. */
int trace_append(struct trace *t, const struct consult *c, struct err *e);
/* The lines that trace_append writes for a case, for another process to write. ERR_NOMEM. */
int trace_lines(const struct consult *c, struct str *out, struct err *e);
/* Writes finished cases that another process answered: whole lines with their checksums, each case
 * after its calls. All are written, or none. ERR_DATA when a line is wrong or its question is
 * finished, ERR_IO, ERR_NOMEM. */
int trace_import(struct trace *t, const struct str *lines, struct err *e);
/* Compresses a complete run. Crash-safe; does nothing if it is sealed already. */
int trace_seal(struct trace *t, struct err *e);

/* Writes figures, a JSON object, into run.json in place of the former ones. */
int trace_figures(struct trace *t, const char *figures, struct err *e);
/* Adds the member "stopped" to figures, a JSON object with members; NULL = nothing. */
void trace_add_cause(struct str *figures, const char *cause);
/* Writes the cause of a run's end before its time as the only figure. */
int trace_stopped(struct trace *t, const char *cause, struct err *e);
const char *trace_json(const struct trace *t); /* the last written run.json */

/* A folder that was read back. */
struct trace_run {
    struct records records;
    struct results results; /* in order of the data file; also results beyond `asked` */
    struct roles roles;     /* calls of the records asked for */
    struct retried retried; /* questions that were asked again */
    size_t asked;           /* records that the figures cover, at most records.n */
    double price_kwh;       /* USD, of the last session; NaN = not recorded */
    /* USD a million tokens on a server, likewise; 0 = none */
    double price_prompt, price_completion;
    struct str json;  /* run.json */
    struct str notes; /* lines for the user; "" = none */
};
/* Reads a folder without changing it (export). An unfinished tail is left out and mentioned in
 * notes. ERR_CONFIG for a folder of another format. */
int trace_read(const char *dir, struct trace_run *out, struct err *e);
void trace_run_free(struct trace_run *r); /* accepts a zeroed one */

#endif
