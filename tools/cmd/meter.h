/* meter: progress of an evaluation on standard error: a bar that rewrites itself on a terminal, one
 * plain line every 30 seconds otherwise. */
#ifndef MAS_METER_H
#define MAS_METER_H

#include "health.h"
#include "run.h"

/* Several runs that are one whole; meter_show's progress is that of the present one. */
struct meter_whole {
    const char *name;   /* of the present run */
    size_t at, n;       /* its number from 1, of all */
    size_t done, total; /* cases of all runs but the present one; of all runs */
    /* Runs of one kind take about the same time a case. Of earlier runs of the present kind: */
    size_t fresh;   /* cases that this process has finished */
    double seconds; /* spent on them */
    size_t later;   /* cases of later runs of the present kind */
    double ahead;   /* seconds of later runs of other kinds, from earlier ones of their kinds */
    size_t unknown; /* cases of later runs of kinds that have not been run; `ahead` lacks them */
    /* cases that this process has finished in runs of other kinds, and seconds spent on them */
    size_t other_fresh;
    double other_seconds;
};

struct meter {
    const struct meter_whole *whole; /* NULL = there is one run */
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
/* The line of several runs: done and total of all, the present run with its accuracy, and the time
 * left for all. "ETA ~2:00" counts the cases of a new kind with the mean time of all cases so far.
 * The name is cut to fit in `width` columns. */
void meter_whole_line(const struct meter_whole *w, const struct run_progress *p, int width,
                      struct str *out);
void meter_close(struct meter *m); /* ends the bar's line */
void meter_clear(struct meter *m); /* takes the bar away, for a line in its place */

#endif
