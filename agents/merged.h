/*
 * merged: the mark in a folder that mas merge made, merge.json. It tells a merge apart from any
 * other run, and a finished merge from one of shards that have changed since.
 */
#ifndef MAS_MERGED_H
#define MAS_MERGED_H

#include "folder.h"

#define MERGED_FILE "merge.json"

struct merged {
    char study[65]; /* sha256 of the study in shards.json */
    char cases[65]; /* of the merged identity, sessions and cases; "" = of no run: an experiment */
};

/* Compares the folder with the result that is to be written there. own: it is the folder of the
 * shards. *stale: it holds a merge of the same study, but of other cases; or, if it is own, of an
 * older program. ERR_CREATE: it holds another run, or the merge of another study. */
int merged_check(const struct folder *f, const struct merged *want, bool own, bool *stale,
                 struct err *e);
/* ERR_CREATE, ERR_IO. */
int merged_write(const struct folder *f, const struct merged *m, struct err *e);

#endif
