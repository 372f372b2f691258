/*
 * merge: makes one run of the shards of a study (shard.h). Before it writes, it proves:
 * - All shards have the same identity.
 * - Each record is in the shard that the division gives it.
 * - Each question is finished exactly once.
 * A cell of an experiment that failed in a shard stays failed in the result, with its reason.
 *
 * A merged trace has the cases in the order of the data file. Their record numbers are those of the
 * whole. `ended` is null, because the clocks of several hosts cannot be compared.
 *
 * Questions that were asked again are those of all shards (retried.h). The former traces of shard 1
 * of 2 are copied into the result under names that end with ".shard-1-of-2".
 *
 * Failed questions may be asked again in the folder of the result, which the shards do not know. A
 * later merge keeps these answers and the record of the retry while the shards are the same. It
 * refuses to lose them: see merge_write.
 */
#ifndef MAS_MERGE_H
#define MAS_MERGE_H

#include "str.h"
#include "trace.h"

struct merge; /* a study that was read */

/* Reads shards.json and records.jsonl of dir. ERR_NOINPUT: no shards; ERR_DATA, ERR_CONFIG. */
int merge_open(const char *dir, struct merge **out, struct err *e);
void merge_close(struct merge *m); /* accepts NULL */

int merge_shards(const struct merge *m);   /* N */
size_t merge_cells(const struct merge *m); /* runs of the study, 1 unless it is an experiment */
/* The folder of a cell below that of the study; "" for a single run. */
const char *merge_cell_name(const struct merge *m, size_t cell);
/* The reason why a checked cell failed, "" = it is complete. A failed cell is not written. */
const char *merge_failed(const struct merge *m, size_t cell);
/* Questions of a checked cell, those that failed, and rejected records. Of a cell that was written,
 * those of the result. */
void merge_counts(const struct merge *m, size_t cell, size_t *questions, size_t *failed,
                  size_t *rejected);

/* Checks all shards of all cells. Appends a line a fault to faults. ERR_AGAIN: shards are missing
 * or unfinished; ERR_CONFIG: a shard is of another study; ERR_DATA: one is damaged. A cell that
 * failed in a shard, as its grid.json says, is a fault that stops no merge. */
int merge_check(struct merge *m, struct str *faults, struct err *e);
/* After the check: appends a line that names the versions of the program and their shards, if there
 * are several. ERR_NOMEM. */
int merge_versions(const struct merge *m, struct str *out, struct err *e);
/* Makes the folder of the result, locks it and takes its lease. stop: as in lease_options.
 * ERR_CREATE: another process writes there, or it holds another run. */
int merge_begin(struct merge *m, const char *out, const atomic_int *stop, struct err *e);
/* Lines for people: former results that merge_write has moved, answers that it kept, and answers
 * that the result lacks; "" = none. */
const char *merge_notes(const struct merge *m);
/* Writes one checked cell into that folder and seals it. The result of an earlier merge of these
 * shards is moved into old-N when the shards have other cases now. *t: its trace, open for reports.
 * dir: its folder. ERR_AGAIN: questions were asked again in that folder, and not all are finished.
 * ERR_CREATE: the shards have changed, and answers there would be replaced by failures. */
int merge_write(struct merge *m, size_t cell, char dir[1024], struct trace **t, struct err *e);
/* Writes grid.json of an experiment; nothing for a single run. */
int merge_write_grid(struct merge *m, struct err *e);

#endif
