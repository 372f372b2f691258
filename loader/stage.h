/*
 * stage: copies weights from a file to a device for every step, while the device computes.
 *
 *   file --reader thread--> pinned host memory --copy stream--> ring on the device --> kernels
 *
 * An item is a part of a layer. Items are used in one fixed cyclic order.
 *
 * Memory:
 *   - The ring of the device is first in, first out; each item is contiguous. The bytes of an
 *     item are free when the device's own stream has passed the item's release.
 *   - The reader thread reads the bytes in pieces. Pinned host memory is either a copy of all items
 *     or a ring of pieces. The first pass fills the copy, later passes only copy from it. Every
 *     pass fills the ring again.
 *   - Copies run on their own stream. That stream waits for the release of the bytes that a copy
 *     overwrites. So the caller's thread waits only for the reader, and not at all once all items
 *     are pinned.
 *
 * Threads and errors:
 *   - One thread (the engine's) calls all functions. Only the reader thread calls config.read.
 *   - After an error every later call gives the same error, except stage_close and stage_stats.
 *   - A caller may abandon a step in the middle and continue with the next item.
 */
#ifndef MAS_STAGE_H
#define MAS_STAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "device.h"

/* most bytes of one copy: another copy waits for one piece at most */
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
    /* on the host, without keep_pinned: bytes of a ring, 2 pieces at least */
    uint64_t pinned_bytes;
    uint64_t piece_bytes; /* 0 = STAGE_PIECE; a multiple of 256 */
    bool keep_pinned;     /* all items stay in pinned memory */
    int (*read)(void *user, uint64_t file_at, void *dst, size_t n, struct err *e);
    void *user;
    double link_limit; /* bytes/s, 0 = none: emulates a slower link */
};

struct stage;
struct spans; /* span.h */

/* Starts reading at once. ERR_USAGE when an item does not fit the ring, with needed and given bytes
 * and the knob. ERR_NOMEM when the device has no room. If memory cannot be pinned, the stage takes
 * less, with one warning: a ring instead of a copy, a smaller ring, finally a pageable ring. */
int stage_open(const struct stage_config *c, struct stage **out, struct err *e);
void stage_close(struct stage *st); /* accepts NULL; waits for copies and reads in progress */

/* Makes the device's own stream wait for the bytes of the item. *base: their address (256-aligned),
 * valid until the release. The host waits for the reader. ERR_BUG unless item is the next in order
 * and the previous item is released. */
int stage_acquire(struct stage *st, int item, void **base, struct err *e);
/* Ends the use of the acquired item. All kernels that read it are already queued. Queues the copies
 * that this makes possible. */
int stage_release(struct stage *st, int item, struct err *e);
/* Queues copies of the following items without waiting, as far as they are read and the ring has
 * room. */
int stage_prefetch(struct stage *st, struct err *e);

/* Reports intervals to spans (NULL = none). */
void stage_watch(struct stage *st, struct spans *spans);

/* For measurements, between two passes.
 *
 * stage_hold(on): passes copy nothing, and the ring has made-up contents that are finite in every
 * number format. stage_hold(off): the next pass copies again. Each takes effect at the first
 * acquire of item 0 for which no copy is queued, so the pass after the call may still copy.
 *
 * stage_copy_alone: this number of passes without any computation. *bytes were copied in *seconds,
 * measured on the clock of the device. Ends a hold. */
void stage_hold(struct stage *st, bool on);
int stage_copy_alone(struct stage *st, int passes, uint64_t *bytes, double *seconds, struct err *e);

struct stage_stats {       /* since open */
    uint64_t copied_bytes; /* queued to the device */
    uint64_t read_bytes;   /* by the reader */
    double read_seconds;   /* inside config.read */
    uint64_t stalls;       /* acquires that waited for the reader */
    double stall_seconds;
    uint64_t passes;                               /* number of releases of the last item */
    uint64_t pinned_bytes, ring_bytes, pass_bytes; /* pass_bytes: of all items */
    bool kept;                                     /* all items stay in host memory */
    bool pinned;                                   /* false: copies come from pageable memory */
    bool reading;                                  /* the file is still needed */
};
void stage_stats(struct stage *st, struct stage_stats *out);

#endif
