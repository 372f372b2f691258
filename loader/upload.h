/*
 * upload: copies parts of a file to a device once, at the disk's rate. One pinned buffer is read
 * into while the other is copied from. If memory cannot be pinned, the buffers are pageable and a
 * warning says so.
 */
#ifndef MAS_UPLOAD_H
#define MAS_UPLOAD_H

#include <stdbool.h>

#include "device.h"
#include "gguf.h"

#define UPLOAD_PIECE ((uint64_t)16 << 20) /* bytes of a copy, enough to hide its launch */
#define UPLOAD_BUFS 2                     /* one is read into, the other is copied from */

struct upload { /* owned by the caller; zero except dev before upload_init */
    struct device *dev;
    struct buf buf[UPLOAD_BUFS];
    struct event *copied[UPLOAD_BUFS]; /* the copy from the buffer has ended */
    bool used[UPLOAD_BUFS];
    int next;
};

/* Allocates buffers for parts of at most `largest` bytes. Pinning is slow, so a buffer holds no
 * more than that, and no more than UPLOAD_PIECE. */
int upload_init(struct upload *u, uint64_t largest, struct err *e);
/* Queues a copy of n bytes of the file at `at` on the device's default stream; n <= UPLOAD_PIECE
 * and n <= largest. */
int upload_piece(struct upload *u, const struct gguf *g, uint64_t at, size_t n, void *to,
                 struct err *e);
void upload_free(struct upload *u); /* waits for the copies; also after a failed init */

#endif
