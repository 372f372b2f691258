/*
 * ranges: names the work of a command for NVIDIA's profilers (nvtx.h). --nvtx asks for it, and it
 * is on by itself when a profiler is attached. --no-nvtx turns it off: then no function of NVTX is
 * called.
 */
#ifndef MAS_RANGES_H
#define MAS_RANGES_H

#include <argp.h>

#include "err.h"

struct spans; /* span.h */

enum ranges_choice { RANGES_AUTO, RANGES_ON, RANGES_OFF };

struct ranges {
    enum ranges_choice nvtx; /* as the command line says */
    struct spans *spans;     /* while it is open; NULL = none */
};

/* --nvtx and --no-nvtx, a child parser; its input is a struct ranges. */
extern const struct argp ranges_argp;

/* Sets r->spans, and names the calling thread. ERR_NODEV: --nvtx was given, and this build has no
 * NVTX or no profiler is attached. Without the option a profiler that takes no ranges is a line on
 * standard error. */
int ranges_open(struct ranges *r, struct err *e);
void ranges_close(struct ranges *r); /* after everything that reports to r->spans */

#endif
