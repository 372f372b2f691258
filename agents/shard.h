/*
 * shard: a part of an evaluation that one of several tasks computes. CLUSTER.md has the folder, the
 * command lines and the exit codes.
 *
 *   records --shard_order--> ranks --shard_share--> a range of ranks --shard_take--> own questions
 *
 * Invariants:
 * - A unit is a question with its duplicates, or a rejected record. Units are ordered by the
 *   question's id, or by a hash of the rejected record's line. The order of the file changes
 *   nothing.
 * - The shards 1..N of a model partition its ranks. Every caller computes the same division from
 *   the same records, so the merge can prove it again.
 */
#ifndef MAS_SHARD_H
#define MAS_SHARD_H

#include "medqa.h"
#include "records.h"
#include "str.h"

#define SHARD_MOST 100000 /* tasks of one study */
#define SHARD_FILE "shards.json"
#define SHARD_FORMAT 1

struct shard {
    int i, n; /* 1 <= i <= n; n 0 = the whole */
};
/* Reads "I/N". ERR_USAGE. */
int shard_parse(const char *text, struct shard *out, struct err *e);
/* The name of its folder: shard-3-of-8. */
void shard_name(struct shard s, char out[40]);

/* ---- the division ---------------------------------------------------------------------------- */

struct shard_order {
    size_t *rank; /* (n) by record; a duplicate has the rank of its question */
    size_t n;     /* records asked for */
    size_t units; /* ranks are 0..units-1 */
};
/* Of the first `asked` records. ERR_NOMEM. */
int shard_order(const struct medqa *m, size_t asked, struct shard_order *out, struct err *e);
/* The same from a records.jsonl that was read back. */
int shard_order_of(const struct records *rs, size_t asked, struct shard_order *out, struct err *e);
void shard_order_free(struct shard_order *o); /* accepts a zeroed one */

struct shard_span {
    size_t lo, hi; /* ranks lo <= r < hi */
};
/* The ranks of a model that shard s computes. cells: (n_models) number of cells of each model, 1
 * for a single run. All models lie in a row, each cells x units long; a shard takes an n-th of the
 * row. */
struct shard_span shard_share(struct shard s, const size_t *cells, size_t n_models, size_t model,
                              size_t units);
/* Records of the span, numbered anew, in the order of the file. *out borrows the texts of m, which
 * must outlive it. An empty span gives no record. ERR_NOMEM. */
int shard_take(const struct medqa *m, const struct shard_order *o, struct shard_span span,
               struct medqa *out, struct err *e);
/* Appends the member of a run's identity that marks a shard: a JSON object. */
void shard_describe(struct shard s, size_t asked, const struct medqa *own, struct str *out);

/* ---- the folder of all shards ---------------------------------------------------------------- */

/* All that the tasks of one study must agree on, and notes for the merge. */
struct shard_study {
    struct shard shard;
    const struct medqa *data; /* after the choice of records */
    size_t asked;             /* its first records */
    const char *subset;       /* JSON text of the choice; NULL or "" = all */
    const char *settings;     /* JSON object: options of the run, or name and hashes of the cells */
    const char *grid;         /* JSON object: grid.json of the whole; NULL = a single run */
    const char *command;      /* of a task, without --out and --shard; for messages */
};
/* Makes dir, writes records.jsonl and shards.json if they are not there, and compares shards.json
 * otherwise. Several tasks may do it at once. Writes the folder of the shard to out. ERR_CONFIG
 * names the differences, the command that began the study, and the ways out. ERR_USAGE when dir is
 * the folder of a run without shards; ERR_CREATE, ERR_IO, ERR_NOMEM. */
int shard_begin(const char *dir, const struct shard_study *s, char out[1024], struct err *e);
/* The same checks and errors, but nothing is written. Appends to said, in words, whether the study
 * has begun in dir. */
int shard_preview(const char *dir, const struct shard_study *s, struct str *said, struct err *e);

/* Compares a shard that begins with one that has begun, so that another model or prompt is seen
 * before the work. dir: of the shard, or of its cell. identity: JSON text of the run's identity,
 * whose last member is the shard's mark. ERR_CONFIG names the difference; ERR_DATA, ERR_NOMEM. */
int shard_like_others(const char *dir, const char *identity, struct err *e);

/* Does the folder hold shards that are not merged? */
bool shard_unmerged(const char *dir);
/* ERR_USAGE with the command that merges, if it does; otherwise 0. */
int shard_refuse_unmerged(const char *dir, struct err *e);

#endif
