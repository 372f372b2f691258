/*
 * folder: the folder of a run: its name, its lock, and its files. After a crash each file is there
 * completely or not at all. trace.h lists the files.
 */
#ifndef MAS_FOLDER_H
#define MAS_FOLDER_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"
#include "str.h"

struct folder {
    char dir[1024];
    int lock; /* descriptor, -1 = not held */
};

/* Makes the folder and its parents, and stores its name. ERR_CREATE. */
int folder_make(struct folder *f, const char *dir, struct err *e);
/* Holds the lock until folder_close. ERR_CREATE names the process that holds it. */
int folder_lock(struct folder *f, struct err *e);
/* The same; on a file system without locks it holds nothing and is no error. */
int folder_lock_if(struct folder *f, struct err *e);
void folder_close(struct folder *f); /* gives the lock back if it is held */

void folder_path(const struct folder *f, const char *name, char out[1100]);
bool folder_has(const struct folder *f, const char *name);
/* Syncs the folder, so that created and renamed files survive a crash. ERR_IO. */
int folder_sync(const struct folder *f, struct err *e);
/* Writes a whole file in place of the former one. ERR_CREATE, ERR_IO. */
int folder_save(const struct folder *f, const char *name, const void *data, size_t n,
                struct err *e);
/* Makes a file with this content unless the name is taken, in one step: of several processes, also
 * of several hosts, one makes it. *made: it was us. ERR_CREATE, ERR_IO. */
int folder_publish(const struct folder *f, const char *name, const void *data, size_t n, bool *made,
                   struct err *e);
/* Gives the file a second name, which must be free: a hard link, or a copy where the file system
 * has no links. ERR_CREATE, ERR_IO. */
int folder_keep(const struct folder *f, const char *name, const char *as, struct err *e);
/* The next free name of the form stem or stem.N. */
void folder_free_name(const struct folder *f, const char *stem, char out[64]);
/* Moves the files of a former run, its former traces too, into the first free old-N and notes that.
 * keep: the name of one that stays; NULL = none. ERR_CREATE, ERR_IO. */
int folder_set_aside(const struct folder *f, const char *keep, struct str *notes, struct err *e);

#endif
