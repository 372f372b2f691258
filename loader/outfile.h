/*
 * outfile: writes the files of the program.
 *
 *   path leads to                        bytes go to                        outfile_commit
 *   a free name or a regular file        an unnamed file in the folder      gives it the name
 *   on a file system without those       NAME.RANDOM.part                   renames it
 *   a file that may not be renamed       the file itself, with a warning    syncs it
 *   a FIFO, a device or a socket         the target, never replaced         syncs it
 *   a descriptor (/dev/stdout, fd/3)     the target, never replaced         syncs it
 *   any of the first two, to be resumed  NAME.part, which stays             renames it
 *
 * Invariants:
 *   - A file under its name is complete. Exception: the third row, where an interruption leaves it
 *     incomplete. That row applies to a folder that may not be written and to a mount point.
 *   - A file without a name disappears when the process dies. outfile_abandon removes a .part file,
 *     but not the one of a file to be resumed.
 *   - A symbolic link stays: the file that it leads to is replaced, or created.
 *   - An existing file keeps its mode, and its owner if the system allows that. A file that may not
 *     be written is refused. Other names of the same file (hard links) keep the old content.
 *
 * Errors name the path, the reason, the bytes written and the free bytes. ERR_CREATE before the
 * first byte, ERR_IO after it.
 */
#ifndef MAS_OUTFILE_H
#define MAS_OUTFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"

struct outfile;

enum outfile_flags {
    /* for tests: always a .part file, as on a file system that needs names */
    OUTFILE_NAMED = 1,
    OUTFILE_EXTENDS = 2, /* outfile_extend will be called: other targets are refused at once */
    /* The bytes stand in NAME.part, from earlier calls, too (outfile_written); this program alone
     * writes there. Only a regular file in a folder that may be written. ERR_AGAIN: another program
     * writes it. */
    OUTFILE_RESUMES = 4
};

int outfile_open(const char *path, unsigned flags, struct outfile **out, struct err *e);
/* *out: would outfile_open and outfile_commit change a regular file that exists? False for a free
 * name, a FIFO, a device and a descriptor of this program. ERR_CREATE for a path that leads
 * nowhere. */
int outfile_replaces(const char *path, bool *out, struct err *e);
void outfile_abandon(struct outfile *o); /* keeps the previous file; accepts NULL */
/* Removes the NAME.part of a file to be resumed; frees o. */
void outfile_discard(struct outfile *o);
/* Keeps the first `total` bytes of a file to be resumed. */
int outfile_cut(struct outfile *o, uint64_t total, struct err *e);
/* Reads n bytes of those that are written, from byte at. */
int outfile_reread(const struct outfile *o, uint64_t at, void *dst, size_t n, struct err *e);
/* The path of NAME.part, of a file to be resumed; lives as long as o. */
const char *outfile_part(const struct outfile *o);
/* Announces the size of the file; ERR_IO when the file system has no room for it. */
int outfile_expect(struct outfile *o, uint64_t total, struct err *e);
int outfile_put(struct outfile *o, const void *data, size_t n, struct err *e);
/* Makes the file `total` bytes long; the new bytes are zeros that take no room on the disk. */
int outfile_extend(struct outfile *o, uint64_t total, struct err *e);
/* Syncs the file, gives it its name, frees o. A failure keeps the previous file and frees o,
 * too. */
int outfile_commit(struct outfile *o, struct err *e);
/* True when bytes go to the program's standard output: reports must then go elsewhere. */
bool outfile_is_stdout(const struct outfile *o);
uint64_t outfile_written(const struct outfile *o);
/* The user to whom the file that is written belongs now. outfile_commit keeps the owner of a file
 * that exists, if the system allows that. ERR_IO. */
int outfile_owner(const struct outfile *o, uid_t *owner, struct err *e);

/* Opens, writes and commits a file of n bytes. */
int outfile_save(const char *path, const void *data, size_t n, struct err *e);

#endif
