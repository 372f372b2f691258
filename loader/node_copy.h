/*
 * node_copy: a copy of a model file in a folder of this host. Many processes may start at once: one
 * copies, the others wait for it. So the store that all hosts share is read once a host.
 *
 *   DIR/<16 hex digits of the path's sha256>/NAME   the copy; of a model in parts, each part
 *                                        .../from   sizes, inodes and times of the originals, and
 *                                                   the sha256 of the copied bytes
 *                                        .../lock   flock of the copying process; its progress
 *
 * - The copy counts as long as the originals have the recorded sizes, inodes, times of the last
 *   write and change times (ctime). The originals are not read again.
 * - The record is written last. A copy without one is made again.
 * - The caller compares the sha256 with that of the bytes that it loads.
 */
#ifndef MAS_NODE_COPY_H
#define MAS_NODE_COPY_H

#include <stdatomic.h>
#include <stdbool.h>

#include "str.h"

struct node_copy_options {
    const char *dir;        /* on a disk of this host; made if need be */
    const atomic_int *stop; /* non-zero ends it; NULL = never */
    /* bytes of the copy, by this process or by the one that is waited for; may be NULL */
    void (*progress)(uint64_t done, uint64_t total, void *user);
    void *user;
};

/* path: of a model file, or of any of its parts. Appends the path of the copy. *made: this call has
 * copied. ERR_NOINPUT, ERR_CREATE, ERR_IO (the disk is full: bytes needed and free), ERR_DATA (the
 * file changed meanwhile), ERR_CANCEL, ERR_NOMEM. */
int node_copy(const struct node_copy_options *o, const char *path, struct str *copy,
              char sha256[65], bool *made, struct err *e);

#endif
