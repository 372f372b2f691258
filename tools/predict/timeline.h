/* timeline: what the engines of a simulated card do in a few steps, as a picture. */
#ifndef MAS_TIMELINE_H
#define MAS_TIMELINE_H

#include "simulate.h"
#include "str.h"

struct timeline {
    char title[200], note[280];
    const struct simulated *run;
    double seconds; /* shown, from run->begin */
    double step;    /* from one mark of a next step to another; 0 = no marks */
};

/* An SVG of n timelines, one below the other. */
void timeline_svg(const struct timeline *t, int n, struct str *out);

#endif
