/*
 * pace: makes a link that is fast look like one of a given rate. Pure arithmetic on times that the
 * caller passes, so it runs on any clock.
 *
 *   begin(now) -> copy of n bytes -> end(n, now) -> sleep for the result -> begin(now) -> ..
 *
 * due_ns is the time at which the slow link would have copied all bytes so far. A sleep ends late,
 * and the calls around a copy take time. due_ns then lies in the past, and the next copies sleep
 * less: this debt is kept. A link without a copy for PACE_IDLE_NS was idle, and idle time is lost
 * on a real link. So the debt ends there, and it never exceeds PACE_IDLE_NS when a copy begins.
 *
 * From the begin of any copy to the end of any later sleep, the bytes are at most
 * rate x (time between + PACE_IDLE_NS).
 */
#ifndef MAS_PACE_H
#define MAS_PACE_H

#include <stdint.h>

#define PACE_IDLE_NS ((int64_t)2000000)

struct pace {
    double rate;    /* bytes/s, above 0 */
    int64_t due_ns; /* 0 at the start */
};

/* A copy begins. now_ns: a clock that never goes back. */
void pace_begin(struct pace *p, int64_t now_ns);
/* The copy of these bytes has ended. Returns the nanoseconds to sleep, 0 or more. */
int64_t pace_end(struct pace *p, uint64_t bytes, int64_t now_ns);
/* Sleeps on the system's clock, at least that long. */
void pace_sleep(int64_t ns);

#endif
