/*
 * stage: brings weights from a file to a device for every step, while the device computes.
 *
 * Items (a part of a layer) are used in one fixed cyclic order. On the device they lie in a ring of
 * bytes, first in, first out, each in one piece; an item's bytes are free again when the compute
 * stream has passed its release. On the host the bytes are read in pieces by one reader thread:
 * into a pinned copy of all items, which the first pass fills and later passes only copy from, or
 * into a ring of pinned pieces, which every pass fills again. Copies run on a stream of their own
 * and wait there for the release of what they overwrite, so that the caller's thread waits only for
 * the reader, and not at all once everything is pinned.
 *
 * One thread (the engine's) calls everything below; config.read is called by the reader thread
 * only. After an error every later call but stage_close and stage_stats gives the same error. A
 * caller that leaves a step in the middle for reasons of its own may go on with the item that comes
 * next.
 */
#ifndef MAS_STAGE_H
#define MAS_STAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "device.h"

/* bytes of a copy, at most: other copies wait for one at most */
#define STAGE_PIECE ((uint64_t)4 << 20)

struct stage_range { /* bytes [file_at, file_at + bytes) of the file lie at `at` of the item */
    uint64_t file_at, bytes, at;
};

struct stage_item { /* ranges in ascending order of at, without overlap, inside bytes */
    uint64_t bytes; /* > 0 */
    int n_range;
    const struct stage_range *range;
};

struct stage_config { /* item and range tables are copied by stage_open */
    struct device *dev;
    const struct stage_item *item;
    int n_item;          /* >= 1 */
    uint64_t ring_bytes; /* on the device; at least the largest item */
    /* on the host, without keep_pinned: a ring of so many bytes, 2 pieces at least */
    uint64_t pinned_bytes;
    uint64_t piece_bytes; /* 0 = STAGE_PIECE; a multiple of 256 */
    bool keep_pinned;     /* all items stay in pinned memory */
    int (*read)(void *user, uint64_t file_at, void *dst, size_t n, struct err *e);
    void *user;
    double link_limit; /* bytes/s, 0 = none: emulates a slower link */
};

struct stage;

/* ERR_USAGE with needed, given and the knob when an item does not fit the ring; ERR_NOMEM when the
 * device has no room. Where so much memory cannot be pinned, less is (a ring instead of a copy, a
 * smaller ring, in the end a pageable one), with one warning. Reading starts at once. */
int stage_open(const struct stage_config *c, struct stage **out, struct err *e);
void stage_close(struct stage *st); /* accepts NULL; waits for what is under way */

/* The compute stream waits for the item's bytes; *base = where it lies (256-aligned) until its
 * release. ERR_BUG unless item is the next in order and the one before has been released. The
 * host waits for the reader. */
int stage_acquire(struct stage *st, int item, struct stream *compute, void **base, struct err *e);
/* All use of the acquired item has been queued on compute. Queues copies that have become
 * possible. */
int stage_release(struct stage *st, int item, struct stream *compute, struct err *e);
/* Queues copies of following items, as far as they have been read and there is room, without
 * waiting. */
int stage_prefetch(struct stage *st, struct err *e);

struct stage_stats {       /* since open */
    uint64_t copied_bytes; /* queued to the device */
    uint64_t read_bytes;   /* by the reader */
    double read_seconds;   /* inside config.read */
    uint64_t stalls;       /* acquires that waited for the reader */
    double stall_seconds;
    uint64_t passes;                               /* times that the last item was released */
    uint64_t pinned_bytes, ring_bytes, pass_bytes; /* pass_bytes: of all items */
    bool kept;                                     /* all items stay in host memory */
    bool pinned;                                   /* false: copies come from pageable memory */
    bool reading;                                  /* the file is still needed */
};
void stage_stats(struct stage *st, struct stage_stats *out);

#endif
