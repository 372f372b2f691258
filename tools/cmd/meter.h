/* meter: progress of an evaluation on standard error: a bar that rewrites itself on a terminal, one
 * plain line every 30 seconds otherwise. */
#ifndef MAS_METER_H
#define MAS_METER_H

#include "health.h"
#include "run.h"

struct meter {
    bool quiet, terminal;
    int64_t shown_ns; /* time of the last drawn line */
    bool drawn;       /* the current line holds the bar */
};

void meter_open(struct meter *m, bool quiet);
/* h: the state of the device, as last read. */
void meter_show(struct meter *m, const struct run_progress *p, const struct health_now *h);
/* The line has counts, accuracy, rate and time left. Parts that fit in `width` columns follow, in
 * this order of importance: unusable answers, throttling, energy, memory of the GPU. */
void meter_line(const struct run_progress *p, const struct health_now *h, int width,
                struct str *out);
void meter_close(struct meter *m); /* ends the bar's line */

#endif
