/*
 * border: activations go from one device of a pipeline to the next one (plan.h). The host does not
 * wait: events order the work of both devices.
 *
 *   from, own stream    compute rows -- (copy to pinned memory) -- ready
 *   to, border's stream                          wait ready, wait free -- copy -- landed
 *   to, own stream                                                         wait landed -- compute
 *
 * Two micro-batches are under way at a border, each in a slot. So one crosses while the device
 * computes another one.
 */
#ifndef MAS_BORDER_H
#define MAS_BORDER_H

#include "device.h"

enum { BORDER_SLOTS = 2 };

struct spans; /* span.h */

struct border { /* the caller's; zero before border_open */
    struct device *from, *to;
    bool peer;                          /* one copy; false: through pinned memory */
    size_t bytes;                       /* of a slot */
    struct buf pinned;                  /* (BORDER_SLOTS, bytes) without peer access */
    struct stream *stream;              /* of `to` */
    struct event *ready[BORDER_SLOTS];  /* of `from`: the rows may be copied */
    struct event *landed[BORDER_SLOTS]; /* of `to`: the copy has ended */
    struct event *used[BORDER_SLOTS];   /* of `to`: its work on the rows has ended */
};

/* bytes: the most that cross at once in one slot. Takes pinned memory where the devices have no
 * peer access. */
int border_open(struct border *b, struct device *from, struct device *to, size_t bytes,
                struct err *e);
void border_close(struct border *b); /* also after a failed open, and of a zero border */

/* Queues the way from src, in memory of `from`, to dst, in memory of `to`. The work that computes
 * src is queued on from's own stream before, the work that reads dst on to's own stream
 * afterwards. dst is written after `free`, an event of any device. */
int border_cross(struct border *b, int slot, void *dst, const void *src, size_t bytes,
                 struct event *free, struct spans *spans, struct err *e);
/* Work queued on from's own stream after the call may overwrite the src of the slot's last
 * crossing. */
int border_reuse(struct border *b, int slot, struct err *e);
/* All work on the rows of the slot is queued on to's own stream: records `used`. */
int border_used(struct border *b, int slot, struct err *e);

#endif
