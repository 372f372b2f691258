/* synth: models for measurements only. */
#ifndef MAS_SYNTH_H
#define MAS_SYNTH_H

#include "err.h"
#include "mixture.h"

/* Writes a model of a shape of shapes.def that holds only zeros, in a sparse file that takes no
 * disk space. */
int synth_hollow(const char *shape, enum mixture mix, const char *path, struct err *e);

/* The file of mas synth --shape SHAPE --type MIX --seed SEED: random weights, a vocabulary of
 * bytes. */
int synth_random(const char *shape, enum mixture mix, int64_t seed, const char *path,
                 struct err *e);

#endif
