/*
 * gguf_bytes: the bytes of a model, from a file or from memory lent by the caller.
 *
 * A file has two views:
 *   head  a private copy of its beginning, read with pread as far as the parser asks. Metadata and
 *         names are read from it, so reading them never faults.
 *   map   the whole file, mapped read-only, for the tensors.
 * For memory both are the caller's bytes.
 *
 * If the file is cut short, touching a mapped page beyond the new end raises SIGBUS. No check
 * before the access can exclude that. Therefore:
 *   - gguf_bytes_unchanged is cheap enough for a call before every step. A change between the check
 *     and the end of that step still faults.
 *   - gguf_bytes_populate and gguf_bytes_read never fault: they report "model file changed".
 *   - A caller that needs certainty copies the weights with gguf_bytes_read (place.h: weights not
 *     mapped).
 */
#ifndef MAS_GGUF_BYTES_H
#define MAS_GGUF_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "err.h"

struct gguf_bytes {
    char *path;    /* owned */
    int fd;        /* -1 for memory */
    uint64_t size; /* bytes of the file at open */
    dev_t dev;     /* identity at open */
    ino_t ino;
    struct timespec mtime;
    const unsigned char *head; /* head_bytes valid bytes; stays at one address */
    size_t head_bytes;
    size_t head_reserved;     /* bytes of address space at head; 0 for memory */
    const unsigned char *map; /* (size) bytes after gguf_bytes_map; NULL before */
    bool map_lent;            /* the map lies in address space of the caller, who frees it */
};

/* Most metadata that is read: 1 GiB, a hundred times the need of a vocabulary of 256 K tokens. */
#define GGUF_HEAD_MAX ((uint64_t)1 << 30)

/* ERR_NOINPUT: the file cannot be opened, or it is not a regular file. */
int gguf_bytes_open(const char *path, struct gguf_bytes *out, struct err *e);
int gguf_bytes_memory(const void *data, size_t size, const char *name, struct gguf_bytes *out,
                      struct err *e);
void gguf_bytes_close(struct gguf_bytes *b); /* may be called twice */

/* Makes bytes [0, upto) of head valid. ERR_DATA beyond GGUF_HEAD_MAX; ERR_BUG when upto > size. */
int gguf_bytes_need(struct gguf_bytes *b, uint64_t upto, struct err *e);
/* Bytes of address space that the map takes: size, up to a whole page. */
uint64_t gguf_bytes_room(const struct gguf_bytes *b);
/* Ends parsing: makes head read-only and map valid. at: the address of the map, in address space
 * that the caller has reserved (gguf_bytes_room) and frees; NULL lets the system choose. */
int gguf_bytes_map(struct gguf_bytes *b, void *at, struct err *e);

/* Copies bytes [at, at + n) to dst. ERR_IO. Any thread. */
int gguf_bytes_read(const struct gguf_bytes *b, uint64_t at, void *dst, size_t n, struct err *e);
/* Loads bytes [at, at + n) of map into memory and into the page table. Returns when they are
 * loaded. ERR_IO. No effect for memory. */
int gguf_bytes_populate(const struct gguf_bytes *b, uint64_t at, uint64_t n, struct err *e);
/* Asks the system to read bytes [at, at + n) and a little more into the page cache, and returns at
 * once. No effect for memory. */
void gguf_bytes_ahead(const struct gguf_bytes *b, uint64_t at, uint64_t n);
/* ERR_IO "model file changed" when length, mtime or inode differ from those at open. */
int gguf_bytes_unchanged(const struct gguf_bytes *b, struct err *e);

#endif
