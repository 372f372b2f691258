/* pinned: host memory that a device copies from and to at the link's speed, or, where so much
 * cannot be pinned, pageable memory and a warning. */
#ifndef MAS_PINNED_H
#define MAS_PINNED_H

#include "device.h"

/* what: for the warning, "weights are loaded". ERR_NOMEM only when there is no pageable memory
 * either. */
int pinned_alloc(struct device *dev, size_t bytes, const char *what, struct buf *out,
                 struct err *e);

#endif
