#include "device_cuda.cuh"

#include <stdio.h>

namespace CU_NS
{

static const int OLDEST_CC = 80; /* cp.async, mma.m16n8k16, bf16 */
static const double MIB = 1048576.0;

/* How the kernels of a host build were compiled, so that a test knows what it runs. */
#if defined(__CUDACC__)
#define FLAVOUR ""
#elif defined(CUSHIM_RACE)
#define FLAVOUR ", race"
#elif defined(__SANITIZE_ADDRESS__)
#define FLAVOUR ", asan"
#else
#define FLAVOUR ", plain"
#endif

static struct device_cuda *self(struct device *d)
{
    return reinterpret_cast<struct device_cuda *>(d);
}

/* The error of a call for a device, by the kind of its failure. */
static int device_result(const struct device_cuda *d, cudaError_t rc, const char *call,
                         struct err *e)
{
    if (rc == cudaSuccess)
        return 0;
    (void)cudaGetLastError(); /* reported here, not by the next launch */
    FAIL(e, cu_err_code(rc), "cuda: %s failed on GPU %d: %s", call, d->index,
         cudaGetErrorString(rc));
}
#define GPU_TRY(d, e, call) TRY(device_result(d, call, #call, e))

int device_cuda_use(const struct device_cuda *d, struct err *e)
{
    GPU_TRY(d, e, cudaSetDevice(d->index));
    return 0;
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* Free memory: the driver's answer, or the rest of the cap if that is less. */
static int device_left(struct device_cuda *d, size_t *left, size_t *total, struct err *e)
{
    size_t driver_free, driver_total;
    GPU_TRY(d, e, cudaMemGetInfo(&driver_free, &driver_total));
    size_t cap_left = d->cap > d->used ? d->cap - d->used : 0;
    *left = driver_free < cap_left ? driver_free : cap_left;
    *total = driver_total < d->cap ? driver_total : d->cap;
    return 0;
}

static int no_room(struct device_cuda *d, size_t bytes, struct err *e)
{
    size_t left = 0, total = 0;
    TRY(device_left(d, &left, &total, e));
    bool capped = d->cap != SIZE_MAX;
    FAIL(e, ERR_NOMEM,
         "cannot get %.1f MiB of memory on GPU %d: %.1f of %.1f MiB %s; %slower --ctx or "
         "--sequences, or use --kv-type q8_0",
         (double)bytes / MIB, d->index, (double)left / MIB, (double)total / MIB,
         capped ? "left of the limit that --vram sets" : "free", capped ? "raise --vram, " : "");
}

static int device_malloc(struct device_cuda *d, size_t bytes, void **out, struct err *e)
{
    if (bytes > d->cap || d->used > d->cap - bytes)
        return no_room(d, bytes, e);
    cudaError_t rc = cudaMalloc(out, bytes ? bytes : 1);
    if (rc == cudaErrorMemoryAllocation) {
        (void)cudaGetLastError(); /* not sticky: the next call must not see it */
        return no_room(d, bytes, e);
    }
    TRY(device_result(d, rc, "cudaMalloc", e));
    d->used += bytes;
    return 0;
}

static int device_pinned(struct device_cuda *d, size_t bytes, void **out, struct err *e)
{
    cudaError_t rc = cudaHostAlloc(out, bytes ? bytes : 1, cudaHostAllocDefault);
    if (rc == cudaErrorMemoryAllocation) {
        (void)cudaGetLastError();
        FAIL(e, ERR_NOMEM,
             "cannot pin %.1f MiB of host memory for copies to GPU %d; free some or "
             "raise the limit of locked memory",
             (double)bytes / MIB, d->index);
    }
    return device_result(d, rc, "cudaHostAlloc", e);
}

static int cuda_alloc(struct device *dev, enum mem_space space, size_t bytes, struct buf *out,
                      struct err *e)
{
    struct device_cuda *d = self(dev);
    void *p = NULL;
    TRY(device_cuda_use(d, e));
    if (space == MEM_DEVICE) {
        TRY(device_malloc(d, bytes, &p, e));
    } else if (space == MEM_PINNED) {
        TRY(device_pinned(d, bytes, &p, e));
    } else {
        p = mem_aligned(bytes ? bytes : 1);
        if (!p)
            return NOMEM(e, bytes, "host buffer");
    }
    out->ptr = p;
    out->bytes = bytes;
    out->space = space;
    return 0;
}

static void cuda_free(struct device *dev, struct buf *b)
{
    struct device_cuda *d = self(dev);
    if (b->ptr && b->space == MEM_HOST) {
        mem_free(b->ptr);
    } else if (b->ptr) {
        (void)cudaSetDevice(d->index);
        cudaError_t rc = b->space == MEM_DEVICE ? cudaFree(b->ptr) : cudaFreeHost(b->ptr);
        if (rc != cudaSuccess)
            log_warn("cannot free %zu bytes of %s memory of GPU %d: %s", b->bytes,
                     b->space == MEM_DEVICE ? "device" : "pinned", d->index,
                     cudaGetErrorString(rc));
        if (b->space == MEM_DEVICE)
            d->used -= b->bytes;
    }
    *b = buf{};
}

static int cuda_copy(struct device *dev, struct stream *s, void *dst, const void *src, size_t bytes,
                     struct err *e)
{
    if (bytes && (!dst || !src))
        FAIL(e, ERR_BUG, "copy: %s is NULL for %zu bytes", dst ? "src" : "dst", bytes);
    if (!bytes)
        return 0;
    TRY(device_cuda_use(self(dev), e));
    GPU_TRY(self(dev), e,
            cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDefault, device_cuda_stream(self(dev), s)));
    return 0;
}

static int cuda_fill(struct device *dev, struct stream *s, void *dst, int byte, size_t bytes,
                     struct err *e)
{
    if (bytes && !dst)
        FAIL(e, ERR_BUG, "fill: dst is NULL for %zu bytes", bytes);
    if (!bytes)
        return 0;
    TRY(device_cuda_use(self(dev), e));
    GPU_TRY(self(dev), e, cudaMemsetAsync(dst, byte, bytes, device_cuda_stream(self(dev), s)));
    return 0;
}

static int cuda_memory(struct device *dev, size_t *free_bytes, size_t *total_bytes, struct err *e)
{
    TRY(device_cuda_use(self(dev), e));
    return device_left(self(dev), free_bytes, total_bytes, e);
}

/* ---- order of execution ---------------------------------------------------------------------- */

static int cuda_stream_open(struct device *dev, struct stream **out, struct err *e)
{
    cudaStream_t s;
    TRY(device_cuda_use(self(dev), e));
    GPU_TRY(self(dev), e, cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
    *out = reinterpret_cast<struct stream *>(s);
    return 0;
}

static void cuda_stream_close(struct device *dev, struct stream *s)
{
    if (!s)
        return;
    (void)cudaSetDevice(self(dev)->index);
    (void)cudaStreamDestroy(reinterpret_cast<cudaStream_t>(s));
}

static int cuda_event_open(struct device *dev, struct event **out, struct err *e)
{
    cudaEvent_t ev;
    TRY(device_cuda_use(self(dev), e));
    GPU_TRY(self(dev), e, cudaEventCreateWithFlags(&ev, cudaEventDisableTiming));
    *out = reinterpret_cast<struct event *>(ev);
    return 0;
}

static int cuda_timer_open(struct device *dev, struct event **out, struct err *e)
{
    cudaEvent_t ev;
    TRY(device_cuda_use(self(dev), e));
    GPU_TRY(self(dev), e, cudaEventCreateWithFlags(&ev, cudaEventDefault));
    *out = reinterpret_cast<struct event *>(ev);
    return 0;
}

static int cuda_elapsed(struct device *dev, struct event *from, struct event *to, double *seconds,
                        struct err *e)
{
    float ms;
    if (!from || !to)
        FAIL(e, ERR_BUG, "elapsed: the %s timer is NULL", from ? "second" : "first");
    TRY(device_cuda_use(self(dev), e));
    TRY(device_result(self(dev),
                      cudaEventElapsedTime(&ms, reinterpret_cast<cudaEvent_t>(from),
                                           reinterpret_cast<cudaEvent_t>(to)),
                      "cudaEventElapsedTime", e));
    *seconds = (double)ms * 1e-3;
    return 0;
}

static void cuda_event_close(struct device *dev, struct event *ev)
{
    if (!ev)
        return;
    (void)cudaSetDevice(self(dev)->index);
    (void)cudaEventDestroy(reinterpret_cast<cudaEvent_t>(ev));
}

static int cuda_event_record(struct device *dev, struct event *ev, struct stream *s, struct err *e)
{
    if (!ev)
        FAIL(e, ERR_BUG, "event_record: the event is NULL");
    cudaStream_t stream = device_cuda_stream(self(dev), s);
    cudaStreamCaptureStatus status;
    TRY(device_cuda_use(self(dev), e));
    GPU_TRY(self(dev), e, cudaStreamIsCapturing(stream, &status));
    /* external: a node of the graph, not only an order of its nodes */
    unsigned flags =
        status == cudaStreamCaptureStatusNone ? cudaEventRecordDefault : cudaEventRecordExternal;
    GPU_TRY(self(dev), e,
            cudaEventRecordWithFlags(reinterpret_cast<cudaEvent_t>(ev), stream, flags));
    return 0;
}

static int cuda_stream_wait(struct device *dev, struct stream *s, struct event *ev, struct err *e)
{
    if (!ev)
        FAIL(e, ERR_BUG, "stream_wait: the event is NULL");
    TRY(device_cuda_use(self(dev), e));
    GPU_TRY(self(dev), e,
            cudaStreamWaitEvent(device_cuda_stream(self(dev), s), reinterpret_cast<cudaEvent_t>(ev),
                                0));
    return 0;
}

static int cuda_event_sync(struct device *dev, struct event *ev, struct err *e)
{
    if (!ev)
        FAIL(e, ERR_BUG, "event_sync: the event is NULL");
    TRY(device_cuda_use(self(dev), e));
    GPU_TRY(self(dev), e, cudaEventSynchronize(reinterpret_cast<cudaEvent_t>(ev)));
    return 0;
}

static int cuda_event_done(struct device *dev, struct event *ev, bool *done, struct err *e)
{
    if (!ev)
        FAIL(e, ERR_BUG, "event_done: the event is NULL");
    TRY(device_cuda_use(self(dev), e));
    cudaError_t rc = cudaEventQuery(reinterpret_cast<cudaEvent_t>(ev));
    if (rc == cudaErrorNotReady)
        (void)cudaGetLastError(); /* an answer, not a failure: the next launch must not see it */
    else
        TRY(device_result(self(dev), rc, "cudaEventQuery", e));
    *done = rc == cudaSuccess;
    return 0;
}

static int cuda_host_call(struct device *dev, struct stream *s, void (*fn)(void *), void *user,
                          struct err *e)
{
    TRY(device_cuda_use(self(dev), e));
    GPU_TRY(self(dev), e, cudaLaunchHostFunc(device_cuda_stream(self(dev), s), fn, user));
    return 0;
}

static int cuda_peer(struct device *dev, struct device *from, bool *yes, struct err *e)
{
    int can = 0;
    TRY(device_cuda_use(self(dev), e));
    GPU_TRY(self(dev), e, cudaDeviceCanAccessPeer(&can, self(dev)->index, self(from)->index));
    if (can) {
        cudaError_t rc = cudaDeviceEnablePeerAccess(self(from)->index, 0);
        if (rc == cudaErrorPeerAccessAlreadyEnabled)
            (void)cudaGetLastError(); /* not an error here: the next launch must not see it */
        else
            TRY(device_result(self(dev), rc, "cudaDeviceEnablePeerAccess", e));
    }
    *yes = can != 0;
    return 0;
}

static int cuda_peer_copy(struct device *dev, struct stream *s, void *dst, struct device *from,
                          const void *src, size_t bytes, struct err *e)
{
    if (bytes && (!dst || !src))
        FAIL(e, ERR_BUG, "peer_copy: %s is NULL for %zu bytes", dst ? "src" : "dst", bytes);
    if (!bytes)
        return 0;
    TRY(device_cuda_use(self(dev), e));
    GPU_TRY(self(dev), e,
            cudaMemcpyPeerAsync(dst, self(dev)->index, src, self(from)->index, bytes,
                                device_cuda_stream(self(dev), s)));
    return 0;
}

static int cuda_sync(struct device *dev, struct stream *s, struct err *e)
{
    TRY(device_cuda_use(self(dev), e));
    GPU_TRY(self(dev), e, cudaStreamSynchronize(device_cuda_stream(self(dev), s)));
    return 0;
}

/* ---- life ------------------------------------------------------------------------------------ */

static const struct dev_api *device_cuda_api(void)
{
    static const struct dev_api api = {
        cuda_alloc,        cuda_free,       cuda_copy,        cuda_fill,         cuda_stream_open,
        cuda_stream_close, cuda_event_open, cuda_event_close, cuda_event_record, cuda_stream_wait,
        cuda_event_sync,   cuda_sync,       cuda_memory,      cuda_event_done,   cuda_host_call,
        nullptr,           cuda_timer_open, cuda_elapsed,     nullptr,           cuda_peer,
        cuda_peer_copy,
    }; /* in the order of struct dev_api */
    return &api;
}

/* The oldest driver that a CUDA version runs on (CUDA Toolkit release notes, "minor version
 * compatibility"); NULL: unknown. */
static const char *driver_of(int cuda)
{
    return cuda == 13 ? "driver 580 or newer" : cuda == 12 ? "driver 525 or newer" : NULL;
}

/* ERR_NODEV without a driver, and if its CUDA version is older than that of the build. */
static int driver_check(struct err *e)
{
    const int build = CUDART_VERSION / 1000;
    int version = 0;
    CU_TRY(e, cudaDriverGetVersion(&version));
    if (version == 0)
        FAIL(e, ERR_NODEV, "no CUDA driver is installed");
    if (version / 1000 >= build)
        return 0;
    const char *driver = driver_of(build);
    FAIL(e, ERR_NODEV,
         "the driver supports CUDA %d.%d and this program was built with CUDA %d.%d; install %s, "
         "or build with a CUDA %d toolkit",
         version / 1000, version % 1000 / 10, build, CUDART_VERSION % 1000 / 10,
         driver ? driver : "a newer driver", version / 1000);
}

int device_cuda_count(int *n, struct err *e)
{
    int count = 0;
    TRY(driver_check(e));
    cudaError_t rc = cudaGetDeviceCount(&count);
    if (rc == cudaSuccess && count > 0) {
        *n = count;
        return 0;
    }
    (void)cudaGetLastError();
    if (rc == cudaSuccess || rc == cudaErrorNoDevice)
        FAIL(e, ERR_NODEV, "the CUDA driver shows no GPU");
    if (rc == cudaErrorInsufficientDriver) /* of a version that looked new enough */
        FAIL(e, ERR_NODEV, "the CUDA driver is too old for this program (CUDA %d.%d)",
             CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
    FAIL(e, ERR_NODEV, "the CUDA driver does not answer: %s", cudaGetErrorString(rc));
}

static int device_describe(struct device_cuda *d, struct err *e)
{
    struct cudaDeviceProp p;
    GPU_TRY(d, e, cudaGetDeviceProperties(&p, d->index));
    int cc = 10 * p.major + p.minor;
    if (cc < OLDEST_CC)
        FAIL(e, ERR_NODEV, "GPU %d (%.80s) is sm_%d; the kernels need sm_%d", d->index, p.name, cc,
             OLDEST_CC);
    snprintf(d->dev.name, sizeof d->dev.name, "%.72s, %d SMs, %.1f GiB, sm_%d%s", p.name,
             p.multiProcessorCount, (double)p.totalGlobalMem / (1024 * MIB), cc, FLAVOUR);
    GPU_TRY(d, e, cudaDeviceGetPCIBusId(d->dev.pci, sizeof d->dev.pci, d->index));
    return 0;
}

int device_cuda_init(struct device_cuda *d, int index, uint64_t vram_bytes, struct err *e)
{
    int n;
    TRY(device_cuda_count(&n, e));
    if (index < 0 || index >= n)
        FAIL(e, ERR_NODEV, "no GPU %d: there %s %d, counted from 0; use --device or --devices",
             index, n == 1 ? "is" : "are", n);
    *d = device_cuda{};
    d->dev.api = device_cuda_api();
    d->dev.kind = CU_KIND;
    d->index = d->dev.ordinal = index;
    d->cap = vram_bytes && vram_bytes < SIZE_MAX ? (size_t)vram_bytes : SIZE_MAX;
    TRY(device_cuda_use(d, e));
    TRY(device_describe(d, e));
    GPU_TRY(d, e, cudaStreamCreateWithFlags(&d->main, cudaStreamNonBlocking));
    return 0;
}

void device_cuda_free(struct device_cuda *d)
{
    if (!d->main)
        return;
    (void)cudaSetDevice(d->index);
    (void)cudaStreamDestroy(d->main);
    d->main = NULL;
}

} // namespace CU_NS
