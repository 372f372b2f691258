/* device_cpu: host memory, as the table of device.h. Every call has finished when it returns; a
 * stream or event is only a token that can be passed around. Buffers start on a 256-byte boundary,
 * as on a GPU, so that layouts are the same. Large buffers ask for huge pages. */
#ifndef MAS_DEVICE_CPU_H
#define MAS_DEVICE_CPU_H

#include "device.h"

/* Fills the caller's struct; nothing to free. isa: the instruction set of the kernels, for the
 * name. */
void device_cpu_init(struct device *d, int n_threads, const char *isa);

#endif
