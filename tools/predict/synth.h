/* synth: models that are only there to be measured. */
#ifndef MAS_SYNTH_H
#define MAS_SYNTH_H

#include "err.h"
#include "mixture.h"

/* Writes a model of a shape of shapes.def that holds nothing but zeros, in a file that takes no
 * room. */
int synth_hollow(const char *shape, enum mixture mix, const char *path, struct err *e);

#endif
