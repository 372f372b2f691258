/*
 * outfile: the one way in which the program writes a file.
 *
 * - A regular file, or a name that is free, is there completely or not at all. Bytes go into a file
 * without a name in
 *   the same folder, which takes the name at outfile_commit; it goes by itself when the process
 *   dies. Where the file
 *   system has no such files the bytes go into NAME.RANDOM.part, which outfile_abandon removes.
 * - A symbolic link stays: the file that it leads to is replaced. One that leads nowhere yet gets a
 * file there.
 * - A file that exists keeps its mode, and its owner where the system allows that. One that may not
 * be written is
 *   refused. Other names of the same file (hard links) keep the old content.
 * - A FIFO, a device, a socket and the name of an open descriptor (/dev/stdout, /dev/fd/3) are
 * written into and never
 *   replaced.
 * - A file whose name cannot change hands (the folder may not be written, or the file is a mount
 * point) is written in
 *   place, after a warning: an interruption leaves it incomplete.
 *
 * Errors name the path, the reason, how much was written and the free bytes: ERR_CREATE until the
 * first byte, ERR_IO.
 */
#ifndef MAS_OUTFILE_H
#define MAS_OUTFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct outfile;

enum outfile_flags {
    /* a file with a name until it is complete, as where there are none without (for tests) */
    OUTFILE_NAMED = 1,
    OUTFILE_EXTENDS = 2 /* outfile_extend will be called: refuse at once what cannot be extended */
};

int outfile_open(const char *path, unsigned flags, struct outfile **out, struct err *e);
void outfile_abandon(struct outfile *o); /* leaves what was there before; accepts NULL */
/* Tells how many bytes there will be; ERR_IO when the file system has no room for them. */
int outfile_expect(struct outfile *o, uint64_t total, struct err *e);
int outfile_put(struct outfile *o, const void *data, size_t n, struct err *e);
/* Makes the file `total` bytes long; the new ones are zeros that take no room. */
int outfile_extend(struct outfile *o, uint64_t total, struct err *e);
/* Syncs, gives the file its name, frees o (also on failure, which leaves what was there before). */
int outfile_commit(struct outfile *o, struct err *e);
/* Goes to the same place as the program's standard output: reports belong elsewhere then. */
bool outfile_is_stdout(const struct outfile *o);
uint64_t outfile_written(const struct outfile *o);

/* All of it at once. */
int outfile_save(const char *path, const void *data, size_t n, struct err *e);

#endif
