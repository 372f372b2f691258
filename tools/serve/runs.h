/*
 * runs: evaluations. A run is a folder in logging.traces_dir, and its id is the folder's name.
 * While this process computes one, it is a live run beside it. A run of an experiment (grid.h) has
 * the id EXPERIMENT..CELL.
 *
 *   POST /eval, POST /runs/ID/resume -- live run -- all done, stopped, or failed -- folder
 *
 * Event number n of a run is its n-th finished case, in the order of its trace. So a client that
 * has seen n continues at n + 1, also after a restart of the server.
 */
#ifndef MAS_RUNS_H
#define MAS_RUNS_H

#include "clinical.h"

#define RUNS_ID 120 /* bytes of an id; a run of an experiment with a longer one is not listed */
#define RUNS_CELL ".."

struct runs_watcher { /* a client of GET /runs/ID/events */
    struct runs_watcher *next;
    struct call *c;
};

struct live_run {
    struct live_run *next;
    char id[RUNS_ID + 1], dir[RUNFOLDER_PATH];
    struct seat *seat;
    struct ward ward;
    struct medqa m;
    struct runfolder_asked asked;
    struct str subset, variants; /* JSON texts, as in strategy_env; "" = none */
    struct trace *trace;
    int concurrency;
    /* under the lock of clinical */
    struct run_progress p;
    size_t *event; /* (n_event) offsets in text: the ends of the finished cases' events */
    size_t n_event, cap_event;
    struct str text;
    struct runs_watcher *watchers;
};

/* ---- live runs (runs.c); with the lock of clinical ------------------------------------------- */

struct live_run *runs_find_live(struct clinical *k, const char *id); /* NULL: it is not live */
/* Appends the members of the progress, without brackets. */
void runs_progress_json(const struct live_run *r, struct str *out);
/* Tells the run's watchers of its progress. */
void runs_tell_progress(struct live_run *r);

/* ---- folders (runs_read.c) ------------------------------------------------------------------- */

bool runs_id_good(const char *id);
/* The folder of an id. ERR_NOINPUT: there is no such run. */
int runs_dir(const struct serve *s, const char *id, char out[RUNFOLDER_PATH], struct err *e);
/* Appends the event of a finished case. number: from 1. */
void runs_case_event(const struct result *r, int64_t number, struct str *out);
/* Appends "correct": .., "low": .. of so many records. */
void runs_rate_json(size_t correct, size_t n, struct str *out);
/* Appends the members of a run that its run.json has, for lists; of a damaged one its state alone.
 * ERR_NOMEM. */
int runs_about_json(const char *dir, bool *one_case, struct str *out, struct err *e);
/* Appends the events of all finished cases after `last`. */
int runs_read_events(const char *dir, int64_t last, struct str *out, struct err *e);
/* Appends the figures of the whole run and a page of its cases. */
struct runs_page {
    int64_t offset, limit;
    char filter[16]; /* all, wrong, correct, unparsed, failed */
};
int runs_read_summary(const char *dir, const struct runs_page *page, struct str *out,
                      struct err *e);
/* Appends {"case": .., "calls": [..]} of the record with that number, from 0. ERR_NOINPUT: it is
 * not finished. */
int runs_read_case(const char *dir, int64_t n, struct str *out, struct err *e);

#endif
