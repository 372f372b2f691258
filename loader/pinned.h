/* pinned: host memory that a device copies at the speed of the link. If it cannot be pinned, the
 * memory is pageable and a warning says so. */
#ifndef MAS_PINNED_H
#define MAS_PINNED_H

#include "device.h"

/* what: the purpose, for the warning ("weights are loaded"). ERR_NOMEM: no pageable memory
 * either. */
int pinned_alloc(struct device *dev, size_t bytes, const char *what, struct buf *out,
                 struct err *e);

/* For a message: " for GPU 1", or "" on the host. Returns out. */
const char *pinned_gpu(const struct device *dev, char out[24]);

#endif
