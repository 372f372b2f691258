/*
 * runlist: the folders of runs that a command compares. A folder is known by its device and inode,
 * so it is the same one under another path or through a link.
 */
#ifndef MAS_RUNLIST_H
#define MAS_RUNLIST_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"

/* Are both names of one folder? Equal names are, also if there is no such folder. */
bool runlist_same(const char *a, const char *b);
/* Leaves each folder once, in the order of first names; standard error has the names left out. dir
 * (cap), of which *n are used. baseline: the folder that the others are compared with. It moves to
 * the front, and is added if it is not there. NULL = the first one. ERR_USAGE when there is no room
 * for it. */
int runlist_pick(const char **dir, size_t *n, size_t cap, const char *baseline, struct err *e);

#endif
