#include "pinned.h"

#include <stdio.h>

#include "log.h"

const char *pinned_gpu(const struct device *dev, char out[24])
{
    snprintf(out, 24, dev->is_host ? "" : " for GPU %d", dev->ordinal);
    return out;
}

int pinned_alloc(struct device *dev, size_t bytes, const char *what, struct buf *out, struct err *e)
{
    int rc = dev->api->alloc(dev, MEM_PINNED, bytes, out, e);
    if (rc != ERR_NOMEM || dev->is_host) /* on the host both kinds of memory are the same */
        return rc;
    char gpu[24];
    log_warn("the system does not allow to pin %zu KiB%s: %s through pageable memory, which is "
             "slower; raise the limit of "
             "locked memory (ulimit -l)",
             (bytes + 1023) >> 10, pinned_gpu(dev, gpu), what);
    return dev->api->alloc(dev, MEM_HOST, bytes, out, e);
}
