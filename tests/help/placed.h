/* placed: weights in their places in one call, for tests. */
#ifndef MAS_PLACED_H
#define MAS_PLACED_H

#include "place.h"

/* place_open, then place_load; nothing is left after an error of either. */
int place_run(const struct plan *plan, const struct weights *w, struct ops *ops, double link_limit,
              void (*progress)(uint64_t, uint64_t, void *), void *user, struct place **out,
              struct err *e);

#endif
