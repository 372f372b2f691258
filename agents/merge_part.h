/* merge_part: what the files of merge.h share. merge.c reads a study and proves that it is whole;
 * merge_write.c writes the result. */
#ifndef MAS_MERGE_PART_H
#define MAS_MERGE_PART_H

#include <jansson.h>

#include "folder.h"
#include "lease.h"
#include "records.h"
#include "retried.h"
#include "shard.h"

#define MERGE_BYTES ((size_t)64 << 20) /* largest shards.json and run.json */

struct merge_id { /* a question of the whole */
    const char *id;
    size_t record;
};

struct merge_cell {
    const char *name;
    size_t model;
    /* of its finished questions: of the shards, then of the result */
    size_t correct, failed;
    /* of the first shard that has the cell */
    int first;           /* its number; 0 = none yet */
    struct str identity; /* JSON text, without the mark of a shard */
    struct str sessions; /* of all shards */
    /* of all shards; the names of their files end with that of the shard */
    struct retried retried;
    char why[400]; /* the error of a shard in which it failed; "" = none */
};

/* The result of an earlier merge in the folder of a cell. Failed questions may have been asked
 * again there (mas eval --retry-failed without --shard), which the shards do not know. */
struct merge_kept {
    size_t again;           /* replaced attempts that no shard has; 0 = nothing was asked again */
    size_t better;          /* of their questions, those that failed in the shard, but not here */
    size_t left;            /* questions that are not finished here */
    struct str sessions;    /* items of the array "sessions" of its run.json */
    struct retried retried; /* of its run.json */
};

struct merge_version { /* of the program */
    struct str text, shards;
    int last; /* number of the last shard of the list */
};

struct merge {
    struct folder folder, out;
    struct lease *lease;
    struct str text; /* shards.json */
    json_t *doc;
    const json_t *grid; /* NULL = a single run */
    const char *command, *data_sha256;
    char study[65]; /* sha256 of the study in shards.json */
    bool own;       /* the result goes into the folder of the shards */
    struct str notes;
    int of;
    size_t asked, questions, rejected;
    struct str records_text;
    struct records records;
    struct shard_order order;
    struct merge_id *id; /* (n_id) sorted */
    size_t n_id;
    struct merge_cell *cell; /* (n_cell) */
    size_t n_cell;
    size_t *cells_of; /* (n_model) cells of each model */
    size_t n_model;
    struct merge_version *version; /* (n_version) */
    size_t n_version, cap_version;
};

/* The text of a member of a JSON object. ERR_DATA when it is missing. */
int merge_member(const char *s, size_t n, const char *key, const char **out, size_t *len,
                 struct err *e);
/* Orders struct merge_id by id. */
int merge_compare(const void *a, const void *b);
/* The ranks of a shard in the cell's model, and its folder. */
struct shard_span merge_span(const struct merge *m, const struct merge_cell *c, int shard);
void merge_dir(const struct merge *m, const struct merge_cell *c, int shard, char out[1200]);

/* Appends the command of mas eval with the options of the study. begin: its words before --out. */
void merge_command_in(const struct merge *m, const char *begin, const char *dir, struct str *out);

/* Reads the result in dir. failed: (m->records.n) the question failed in its shard. *out is empty
 * without a merged result, and for one that cannot be read: opening the trace tells of damage.
 * ERR_IO, ERR_NOMEM. Free with merge_kept_free. */
int merge_kept_read(const struct merge *m, const struct merge_cell *c, const char *dir,
                    const bool *failed, struct merge_kept *out, struct err *e);
void merge_kept_free(struct merge_kept *k); /* accepts a zeroed one */
/* Refuses a merge into dir that would lose what was asked again there. stale: the shards have
 * changed since the last merge. ERR_AGAIN: the retry is not finished; ERR_CREATE: its answers would
 * be replaced by failures. */
int merge_kept_refuse(const struct merge *m, const struct merge_kept *k, const char *dir,
                      bool stale, struct err *e);

#endif
