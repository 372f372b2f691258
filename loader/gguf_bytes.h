/*
 * gguf_bytes: where the bytes of a model come from: a file, or memory lent by the caller.
 *
 * A file has two faces. `head` is a private copy of its beginning, read with pread as far as the
 * parser asks: metadata and names live there, so reading them can never fault, whatever happens to
 * the file. `map` is the whole file, mapped read-only: the tensors. When somebody cuts the file
 * short, touching a mapped page beyond the new end raises SIGBUS; no check before the access can
 * rule that out. So:
 *   - gguf_bytes_unchanged is cheap enough to be called before every step, which leaves the moment
 *     between the check and the end of that step;
 *   - gguf_bytes_populate and gguf_bytes_read never fault: they say "model file changed";
 *   - whoever needs certainty copies the weights with gguf_bytes_read (place.h: weights not
 *   mapped).
 * For memory both faces are the caller's bytes.
 */
#ifndef MAS_GGUF_BYTES_H
#define MAS_GGUF_BYTES_H

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
    size_t head_reserved;     /* bytes of address space behind head; 0 for memory */
    const unsigned char *map; /* (size) bytes after gguf_bytes_map; NULL before */
};

/* The largest metadata that is read: 1 GiB, a hundred times what a vocabulary of 256 K tokens
 * needs. */
#define GGUF_HEAD_MAX ((uint64_t)1 << 30)

/* ERR_NOINPUT: cannot be opened, or is no regular file. */
int gguf_bytes_open(const char *path, struct gguf_bytes *out, struct err *e);
int gguf_bytes_memory(const void *data, size_t size, const char *name, struct gguf_bytes *out,
                      struct err *e);
void gguf_bytes_close(struct gguf_bytes *b); /* a closed one is fine */

/* Makes bytes [0, upto) of head valid. upto <= size, else ERR_BUG. ERR_DATA beyond
 * GGUF_HEAD_MAX. */
int gguf_bytes_need(struct gguf_bytes *b, uint64_t upto, struct err *e);
/* The parser has finished: head becomes read-only, map becomes valid. */
int gguf_bytes_map(struct gguf_bytes *b, struct err *e);

/* Copies bytes [at, at + n) to dst. ERR_IO. Any thread. */
int gguf_bytes_read(const struct gguf_bytes *b, uint64_t at, void *dst, size_t n, struct err *e);
/* Brings bytes [at, at + n) of map into memory and into the page table; starts reading what
 * follows. Returns when they are there. ERR_IO. Nothing to do for memory. */
int gguf_bytes_populate(const struct gguf_bytes *b, uint64_t at, uint64_t n, struct err *e);
/* ERR_IO "model file changed" when length, mtime or inode differ from those at open. */
int gguf_bytes_unchanged(const struct gguf_bytes *b, struct err *e);

#endif
