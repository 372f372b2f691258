/* meter: progress of an evaluation on standard error: a bar that rewrites itself on a terminal, one
 * plain line every 30 seconds otherwise. */
#ifndef MAS_METER_H
#define MAS_METER_H

#include "run.h"

struct meter {
    bool quiet, terminal;
    int64_t shown_ns; /* time of the last drawn line */
    bool drawn;       /* the current line holds the bar */
};

void meter_open(struct meter *m, bool quiet);
void meter_show(struct meter *m, const struct run_progress *p);
void meter_close(struct meter *m); /* ends the bar's line */

#endif
