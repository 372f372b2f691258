/*
 * eval_workers: evaluations by several processes on this host (agents/workers.h). Each has its own
 * engine and its own copy of the weights. The processor's cores are divided among them, and the
 * GPUs of `devices`.
 *
 * A crew serves a list of jobs in their order. A worker opens its model once for the jobs in a row
 * that have equal settings of the engine.
 */
#ifndef MAS_EVAL_WORKERS_H
#define MAS_EVAL_WORKERS_H

#include "clinic.h"
#include "runfolder.h"
#include "workers.h"

struct eval_job {                /* a run */
    const struct config *config; /* outlives the crew */
    int model; /* jobs with the same number can share an engine; they are in a row */
    const struct medqa *data;
    struct runfolder_asked asked;
    const char *subset, *variants; /* as in strategy_env */
    const struct str *paraphrases; /* as in struct runfolder */
    const char *dir;               /* of the run; NULL = a new one in logging.traces_dir */
    const char *model_sha256;      /* that the model must have; NULL or "" = any */
};

struct eval_crew_options {
    const struct clinic_options *clinic;
    const char *data_path;
    int n, concurrency; /* workers; cases in flight of all of them, 0 = auto */
    bool shuffle, fresh, repair, retry_failed;
    const atomic_int *stop;
    size_t n_job;
    /* Job i; its texts last until the next call. False: it is done. The answers for the jobs after
     * the present one may not change. */
    bool (*job)(void *user, size_t i, struct eval_job *out);
    void (*progress)(const struct run_progress *p, void *user); /* of the present run */
    void *user;
};

struct eval_crew;
/* Starts no process. ERR_USAGE: settings of a job that do not go with workers; it says what to do
 * instead. ERR_NOMEM. */
int eval_crew_open(const struct eval_crew_options *o, struct eval_crew **out, struct err *e);
/* Runs job i, after those before it. dir: its folder. *t: its trace, also after an error; NULL =
 * none. Errors as workers_turn and trace_open; after one of them the next job starts new workers.
 * The caller frees out->figures. */
int eval_crew_run(struct eval_crew *c, size_t i, char dir[RUNFOLDER_PATH], struct trace **t,
                  struct workers_outcome *out, struct err *e);
void eval_crew_close(struct eval_crew *c); /* accepts NULL */
/* Appends the figures of the workers as a member of the summary: a JSON object. */
int eval_crew_figures(const struct workers_outcome *out, struct str *engine, struct err *e);

struct eval_workers_ask {
    struct eval_job job;
    const struct clinic_options *clinic;
    const char *data_path;
    int n, concurrency; /* as in eval_crew_options */
    bool shuffle, fresh, repair, retry_failed;
    const atomic_int *stop;
};
/* One run, with its reports. Prints the table. ERR_ITEMS, ERR_CANCEL: as of mas eval. ERR_USAGE:
 * settings that do not go with workers. */
int eval_workers(const struct eval_workers_ask *a, struct err *e);

#endif
