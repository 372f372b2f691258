/* shard_work: the share of one task of an evaluation that several tasks divide (agents/CLUSTER.md):
 * its folder, its lease, its records. */
#ifndef MAS_SHARD_WORK_H
#define MAS_SHARD_WORK_H

#include "clinic.h"
#include "lease.h"
#include "shard.h"

struct shard_ask {
    struct shard shard; /* n 0 = no shard: the whole */
    double lease_s;     /* lease_options.wait_s; 0 = usual */
    bool dry;           /* shows the division, and writes and computes nothing */
};

struct shard_work {
    struct shard shard;
    struct shard_order order;
    char dir[1024];      /* of the shard */
    struct lease *lease; /* NULL after a dry run */
};
/* Makes the folder of the shard below out and takes its lease. s: filled but for command. Prints
 * the lease's notes. A dry run prints whether the study has begun instead. Errors as shard_begin
 * and lease_take. */
int shard_work_open(const struct shard_ask *a, const struct clinic_options *k, const char *out,
                    const struct shard_study *s, const atomic_int *stop, struct shard_work *w,
                    struct err *e);
/* Of a dry run: prints the records that each task has of a model. name: of the model, "" = there is
 * one. cells, n, model: as in shard_share. */
void shard_work_show(const struct shard_work *w, const struct medqa *m, size_t asked,
                     const size_t *cells, size_t n, size_t model);
void shard_work_close(struct shard_work *w); /* accepts a zeroed one */

#endif
