/* timeline: the work of a simulated card's engines in a few steps, as a picture. */
#ifndef MAS_TIMELINE_H
#define MAS_TIMELINE_H

#include "simulate.h"
#include "str.h"

struct timeline {
    char title[200], note[280];
    const struct simulated *run;
    double seconds; /* shown, from run->begin */
    double step;    /* seconds from one step's mark to the next; 0 = no marks */
};

/* An SVG of n timelines, one below the other. */
void timeline_svg(const struct timeline *t, int n, struct str *out);

#endif
