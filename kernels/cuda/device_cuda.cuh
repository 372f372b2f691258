/*
 * device_cuda: the table of device.h on the CUDA runtime. All work is queued on streams that do not
 * wait for the legacy stream. NULL stands for the device's own stream, `main`. Each buffer is one
 * cudaMalloc: the program makes a handful of large ones when it opens a model, and none later.
 *
 * A `struct stream *` is the cudaStream_t itself, a `struct event *` the cudaEvent_t. The current
 * device belongs to the calling thread, so every entry sets it.
 */
#ifndef MAS_DEVICE_CUDA_CUH
#define MAS_DEVICE_CUDA_CUH

#include "ctx.cuh"

extern "C" {
#include "log.h"
}

namespace CU_NS
{

struct device_cuda {
    struct device dev; /* first: a struct device * is a struct device_cuda * */
    int index;         /* CUDA's number of the device */
    cudaStream_t main;
    size_t cap;  /* most bytes of device memory to hand out; SIZE_MAX = no limit */
    size_t used; /* bytes of device memory handed out */
};

/* *n: number of devices that the driver shows. ERR_NODEV gives the reason when there are none. */
int device_cuda_count(int *n, struct err *e);
/* ERR_NODEV for an index without a device, or a device older than sm_80. */
int device_cuda_init(struct device_cuda *d, int index, uint64_t vram_bytes, struct err *e);
void device_cuda_free(struct device_cuda *d); /* every buffer, stream and event must be gone */
int device_cuda_use(const struct device_cuda *d, struct err *e);

static inline cudaStream_t device_cuda_stream(const struct device_cuda *d, struct stream *s)
{
    return s ? reinterpret_cast<cudaStream_t>(s) : d->main;
}

} // namespace CU_NS

#endif
