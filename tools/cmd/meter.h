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
/* The line, in at most `width` columns: counts, accuracy, rate and time left, then as much as fits
 * of unusable answers, throttling, energy and memory of the GPU, in this order. */
void meter_line(const struct run_progress *p, const struct health_now *h, int width,
                struct str *out);
void meter_close(struct meter *m); /* ends the bar's line */

#endif
