/* runfolder: the folder of a run, for commands and for the server: its name, its trace, its
 * reports. */
#ifndef MAS_RUNFOLDER_H
#define MAS_RUNFOLDER_H

#include "strategy.h"
#include "trace.h"

#define RUNFOLDER_PATH 1024

/* Makes a new folder NAME-DATE-TIME in logging.traces_dir; two callers never get the same one.
 * ERR_CONFIG, ERR_CREATE. */
int runfolder_make(const struct config *c, const char *name, char out[RUNFOLDER_PATH],
                   struct err *e);

struct runfolder {
    const struct strategy_env *env; /* opened */
    const char *dir;
    const char *data_path;
    const struct medqa *data;
    size_t asked;                     /* its first records; 0 = all */
    const char *energy;               /* how joules are measured, or why they are not */
    const struct str *paraphrases;    /* text to keep as VARY_FILE; NULL = none */
    bool fresh, repair, retry_failed; /* as in trace_options */
    struct lease *lease;              /* likewise */
};
/* Opens the trace. Errors as trace_open. */
int runfolder_trace(const struct runfolder *o, struct trace **out, struct err *e);

#define RUNFOLDER_NAMED 20 /* records that are named on the terminal, of each kind */
/* Prints the doubts about the keys of the first n_records records (doubts.h). ERR_NOMEM. */
int runfolder_doubts(const struct medqa *m, size_t n_records, const char *name, struct err *e);

struct runfolder_asked { /* the first records of a file, as many as are wanted */
    size_t records, questions, duplicates, rejected;
};
/* n 0 = all. */
struct runfolder_asked runfolder_count(const struct medqa *m, size_t n);

/* Writes figures into run.json, and summary.json and results.csv into the folder. title: prints the
 * table to standard output, too; NULL = no table. engine: figures of the work of this process, a
 * JSON object; "" keeps those of the existing summary. cause: of the run's end before its time;
 * NULL = none. */
int runfolder_report(struct trace *t, const char *dir, const char *title, const char *engine,
                     const char *cause, struct err *e);

/* Prints to stderr why questions among the first n records failed, the most frequent reasons with
 * their numbers; nothing if none failed. ERR_NOMEM. */
int runfolder_reasons(const struct trace *t, size_t n, struct err *e);

#endif
