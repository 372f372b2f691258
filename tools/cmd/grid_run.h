/* grid_run: runs an experiment (grid.h) as one resumable whole. Its cells are runs in folders below
 * one folder. Each model is loaded once, and its cells share the cache of prompt beginnings. */
#ifndef MAS_GRID_RUN_H
#define MAS_GRID_RUN_H

#include "clinic.h"
#include "grid.h"
#include "shard_work.h"
#include "variants.h"

struct grid_request {
    const struct clinic_options *clinic;
    const struct config *base; /* holds an experiment; outlives the call */
    const char *data;          /* path of the questions */
    const char *out;           /* NULL = a new folder in logging.traces_dir */
    int workers;               /* processes that compute; 0 = this one */
    int n, concurrency;        /* 0 = the experiment's number of records; as in run_options */
    bool shuffle, fresh, repair, retry_failed;
    struct shard_ask shard;
    struct variants variants; /* if they name any, in place of the experiment's; not yet taken */
};
/* ERR_ITEMS: some cells failed, or have failed questions; the others are done. ERR_CANCEL: stopped;
 * the same call goes on. Other errors: nothing was run. */
int grid_run(const struct grid_request *r, struct err *e);
/* Writes summary.json of the experiment in dir. Prints its table unless quiet. */
int grid_run_table(const char *dir, bool quiet, struct err *e);

#endif
