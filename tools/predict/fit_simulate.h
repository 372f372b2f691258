/* fit_simulate: the decode steps that mas fit predicts, run by the engine on a simulated card and
 * drawn. */
#ifndef MAS_FIT_SIMULATE_H
#define MAS_FIT_SIMULATE_H

#include "mixture.h"
#include "simulate.h"
#include "str.h"

enum { SCENES = 3 };

struct scene {           /* one placement */
    struct simulate run; /* without its model, which fit_simulate sets */
    char machine[96];    /* "rtx4090, 23.0 GiB, link 25 GB/s" */
    const char *draft;   /* the draft model: a shape, or a file; NULL = none */
    bool draft_is_shape;
    double predicted; /* tokens/s */
};

/* Runs n scenes, writes their timelines (run.n_step steps each) to path as SVG, adds a table to
 * report. model: a GGUF file. NULL: a shape of shapes.def in the formats of mix, as a hollow file
 * that exists during the run. */
int fit_simulate(struct scene *s, int n, const char *model, const char *shape, enum mixture mix,
                 const char *path, struct str *report, struct err *e);

#endif
