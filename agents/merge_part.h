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
    size_t correct, failed; /* of its finished questions */
    /* of the first shard that has the cell */
    int first;           /* its number; 0 = none yet */
    struct str identity; /* JSON text, without the mark of a shard */
    struct str sessions; /* of all shards */
    /* of all shards; the names of their files end with that of the shard */
    struct retried retried;
    char why[400]; /* the error of a shard in which it failed; "" = none */
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

#endif
