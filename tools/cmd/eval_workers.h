/* eval_workers: an evaluation by several processes on this host (agents/workers.h). Each has its
 * own share of the processor's cores and its own engine with its own copy of the weights. */
#ifndef MAS_EVAL_WORKERS_H
#define MAS_EVAL_WORKERS_H

#include "clinic.h"
#include "runfolder.h"

struct eval_workers_ask {
    const struct clinic_options *clinic;
    const struct config *base;
    const struct medqa *data;
    struct runfolder_asked asked;
    const char *subset, *variants; /* as in strategy_env */
    const struct str *paraphrases; /* as in struct runfolder */
    const char *data_path, *out;
    int n, concurrency; /* workers; cases in flight of all of them, 0 = auto */
    bool shuffle, fresh, repair, retry_failed;
    const atomic_int *stop;
};
/* Prints the table. ERR_ITEMS, ERR_CANCEL: as of mas eval. ERR_USAGE: settings that do not go with
 * workers. */
int eval_workers(const struct eval_workers_ask *a, struct err *e);

#endif
