/*
 * merge: makes one run of the shards of a study (shard.h). Before it writes, it proves:
 * - All shards have the same identity.
 * - Each record is in the shard that the division gives it.
 * - Each question is finished exactly once.
 *
 * A merged trace has the cases in the order of the data file. Their record numbers are those of the
 * whole. `ended` is null, because the clocks of several hosts cannot be compared.
 */
#ifndef MAS_MERGE_H
#define MAS_MERGE_H

#include "str.h"
#include "trace.h"

struct merge_fault { /* a shard that is in the way */
    int code;        /* ERR_AGAIN: missing or unfinished; ERR_CONFIG: foreign; or its own error */
    int shard;       /* from 1 */
    char why[1100];
};

struct merge; /* a study that was read */

/* Reads shards.json and records.jsonl of dir. ERR_NOINPUT: no shards; ERR_DATA, ERR_CONFIG. */
int merge_open(const char *dir, struct merge **out, struct err *e);
void merge_close(struct merge *m); /* accepts NULL */

int merge_shards(const struct merge *m);   /* N */
size_t merge_cells(const struct merge *m); /* runs of the study, 1 unless it is an experiment */
/* The folder of a cell below that of the study; "" for a single run. */
const char *merge_cell_name(const struct merge *m, size_t cell);
const char *merge_command(const struct merge *m, int shard, struct str *out);

/* Checks all shards of all cells. Appends a line a fault to faults. ERR_AGAIN, ERR_CONFIG, ERR_DATA
 * with the number of faults, or 0. */
int merge_check(struct merge *m, struct str *faults, struct err *e);
/* Writes one checked cell into the folder out and seals it. *t is open, for reports. */
int merge_write(struct merge *m, size_t cell, const char *out, struct trace **t, struct err *e);
/* Writes grid.json of an experiment into the folder out; nothing for a single run. */
int merge_write_grid(struct merge *m, const char *out, struct err *e);

#endif
