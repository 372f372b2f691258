/*
 * gather: brings the shares of an array to all devices of tensor parallel (plan.h). The host does
 * not wait: events order the work of the devices.
 *
 *   device s, own stream   compute share s -- (copy to pinned memory) -- ready
 *   device d, own stream   compute share d -- ready -- wait ready of s -- copy -- compute
 *
 * - Copies run in the receiver's own stream. So its kernels before them may read the destination,
 *   and those after them read the result.
 * - With peer access a share takes one copy. Otherwise its device copies it to pinned memory once,
 *   and each receiver copies it from there.
 * - A device may overwrite its share after the next gather but one. By then it has waited for every
 *   device, and each had copied the share before its next one. So gathers take turns in two slots.
 *   The shares of a slot lie in memory of their own. The pinned memory has the same two slots.
 */
#ifndef MAS_GATHER_H
#define MAS_GATHER_H

#include "device.h"
#include "plan.h"

enum { GATHER_SLOTS = 2, GATHER_ALL = -1 };

struct spans; /* span.h */

struct gather { /* the caller's; zero before gather_open */
    struct device *dev[PLAN_DEVICES];
    int n;
    bool peer[PLAN_DEVICES][PLAN_DEVICES]; /* from s to d: one copy */
    bool by_host[PLAN_DEVICES];            /* some device cannot copy from this one */
    size_t bytes[GATHER_SLOTS];            /* largest share of a slot */
    struct buf pinned;                     /* (n, bytes[0] + bytes[1]), if any is by_host */
    struct event *ready[PLAN_DEVICES];     /* the share of the device may be copied */
};

/* bytes: of the largest share in each slot. Takes pinned memory where devices have no peer
 * access. */
int gather_open(struct gather *g, struct device *const *dev, int n, const size_t *bytes,
                struct err *e);
void gather_close(struct gather *g); /* also after a failed open, and of a zero gather */

struct gather_move {
    int slot;
    /* on device d share s lies at at[d] + s x step; its own share is the source */
    char *at[PLAN_DEVICES];
    size_t step, bytes; /* bytes of a share; step 0: only one device sends */
    int from, to;       /* GATHER_ALL, or the only device that sends, that receives */
};

/* Queues the copies. The work that computes the shares is queued on each device's own stream
 * before, the work that reads them afterwards. */
int gather_move(struct gather *g, const struct gather_move *m, struct spans *spans, struct err *e);

#endif
