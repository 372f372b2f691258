/*
 * upload: copies parts of a file to a device once, at the disk's rate: a piece is read into one
 * pinned buffer while the other one is copied from. Where nothing can be pinned the buffers are
 * pageable, with a warning.
 */
#ifndef MAS_UPLOAD_H
#define MAS_UPLOAD_H

#include <stdbool.h>

#include "device.h"
#include "gguf.h"

#define UPLOAD_PIECE ((uint64_t)16 << 20) /* its copy takes as long as a launch is short */
#define UPLOAD_BUFS 2                     /* one is read into while the other is copied from */

struct upload { /* the caller's; zero but for dev before upload_init */
    struct device *dev;
    struct buf buf[UPLOAD_BUFS];
    struct event *copied[UPLOAD_BUFS]; /* the copy from the buffer has been made */
    bool used[UPLOAD_BUFS];
    int next;
};

int upload_init(struct upload *u, struct err *e);
/* n <= UPLOAD_PIECE bytes of the file at `at` to the device, queued on its default stream. */
int upload_piece(struct upload *u, const struct gguf *g, uint64_t at, size_t n, void *to,
                 struct err *e);
void upload_free(struct upload *u); /* waits for the copies; also after a failed init */

#endif
