/*
 * shim_cudart: the CUDA runtime on a host. A stream is a queue of work.
 *
 *   eager            work runs when it is queued
 *   lazy             work runs when a thread waits for it, on that thread (cushim_lazy)
 *   under capture    the stream keeps its work in a list of nodes instead
 *
 *   - `queued` counts the works ever put into a stream, `done` those that ran.
 *   - An event is a place: (stream, value of queued at the record). Waiting for it runs its stream
 *     until done reaches the place. A wait in a stream is a work that does the same.
 *   - A place always precedes the wait in time, so the waiting ends.
 *   - One lock protects all of this.
 *   - A device has its own memory, default stream and faults. Buffers, streams and events belong to
 *     the device that was current in the thread that made them.
 */
#include "shim_rt.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#define API extern "C" __attribute__((visibility("default")))

namespace cushim
{

/* ---- objects --------------------------------------------------------------------------------- */

struct stream;
struct event;
struct capture;

enum work_kind { WORK_KERNEL, WORK_COPY, WORK_FILL, WORK_HOST, WORK_RECORD, WORK_WAIT, WORK_GRAPH };

struct work {
    explicit work(enum work_kind k) : kind(k)
    {
    }
    enum work_kind kind;
    /* kernel */
    struct kernel_call call = {};
    size_t shared_limit = 0;
    std::shared_ptr<void> args; /* the memory of call.args */
    /* copy, fill */
    void *dst = nullptr;
    const void *src = nullptr;
    size_t bytes = 0;
    int byte = 0;
    enum cudaMemcpyKind dir = cudaMemcpyDefault;
    std::shared_ptr<void> staged; /* a copy of a pageable source, made at the call */
    /* host function */
    cudaHostFn_t fn = nullptr;
    void *data = nullptr;
    /* record, wait */
    std::shared_ptr<struct event> ev;
    std::shared_ptr<struct stream> of;
    uint64_t place = 0;
    /* graph */
    std::shared_ptr<const std::vector<struct work>> nodes;
};

struct stream {
    int device = 0;
    bool blocking = true; /* it and the default stream wait for each other */
    uint64_t queued = 0, done = 0;
    std::deque<struct work> queue;
    std::shared_ptr<struct capture> cap;
};

struct event {
    int device = 0;
    std::shared_ptr<struct stream> of; /* NULL: never recorded */
    uint64_t place = 0;
    bool timed = true;
    double ms = 0; /* time at which the record ran */
    std::shared_ptr<struct capture> cap;
    /* in a capture: number of nodes of each stream that precede the event */
    std::map<struct stream *, size_t> known;
};

struct capture {
    std::shared_ptr<struct stream> origin;
    enum cudaStreamCaptureMode mode;
    std::thread::id by;
    bool broken = false;
    std::vector<struct work> nodes;
    struct member {
        size_t n_node = 0;
        std::map<struct stream *, size_t> known;
    };
    std::map<struct stream *, struct member> members;
};

struct graph {
    int device = 0; /* of the captured stream */
    std::vector<struct work> nodes;
};

struct graph_exec {
    int device = 0; /* of its launches */
    std::shared_ptr<const std::vector<struct work>> nodes;
};

struct memory {
    char *base; /* start of the allocation; guards lie around the caller's bytes */
    size_t bytes;
    int device; /* of device memory */
};

struct card {
    std::shared_ptr<struct stream> null_stream = std::make_shared<struct stream>();
    size_t total = (size_t)8 << 30, used = 0;
    long calls_left = -1;              /* calls until the device is lost; -1: it stays */
    bool apart[CUSHIM_DEVICES] = {};   /* no peer access to that device is possible */
    bool reaches[CUSHIM_DEVICES] = {}; /* peer access to that device is enabled */
};

static const size_t GUARD = 256;

/* Devices at the start: the variable CUSHIM_DEVICES, for programs that no test controls; else 1. */
static int devices_at_start(void)
{
    const char *text = getenv("CUSHIM_DEVICES");
    const int n = text ? atoi(text) : 1;
    if (n >= 1 && n <= CUSHIM_DEVICES)
        return n;
    fprintf(stderr, "cushim: CUSHIM_DEVICES is '%s', must be 1 to %d\n", text, CUSHIM_DEVICES);
    abort();
}

struct runtime {
    std::mutex lock;
    std::map<char *, struct memory> device, pinned; /* by the caller's pointer */
    std::map<char *, size_t> registered;
    std::map<void *, std::shared_ptr<struct stream>> streams;
    std::map<void *, std::shared_ptr<struct event>> events;
    std::map<void *, std::unique_ptr<struct graph>> graphs;
    std::map<void *, std::unique_ptr<struct graph_exec>> execs;
    std::vector<std::shared_ptr<struct capture>> captures;
    struct card card[CUSHIM_DEVICES];
    int n_device = devices_at_start();
    long peer_copies = 0;
    std::map<const void *, size_t> dynamic_limit; /* per kernel: cudaFuncSetAttribute */
    bool lazy = false;
    long calls = 0, fail_at = 0;
    int fail_device = -1; /* count calls for this device only */
    bool fail_once = false;
    std::string fail_only; /* count calls with this in their name only */
    std::string fail_name; /* a call that fails by its name: from its fail_from-th time on */
    long named = 0, fail_from = 0;
    int driver = 13000; /* the CUDA version of the driver */
    bool break_capture = false;
    std::string detail; /* details of the last bad call */
    runtime()
    {
        for (int i = 0; i < CUSHIM_DEVICES; i++)
            card[i].null_stream->device = i;
    }
};
/* Never destroyed: other static objects of a program may still use the device. */
static struct runtime &R = *new struct runtime;
static thread_local cudaError_t last_error;
static thread_local int current_device;

static struct card &here(void)
{
    return R.card[current_device];
}

typedef std::lock_guard<std::mutex> locked;

/* ---- errors ---------------------------------------------------------------------------------- */

static cudaError_t ret(cudaError_t e)
{
    if (G.sticky)
        e = cudaErrorLaunchFailure;
    if (e != cudaSuccess)
        last_error = e;
    return e;
}

static cudaError_t bad(cudaError_t e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static cudaError_t bad(cudaError_t e, const char *fmt, ...)
{
    char m[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(m, sizeof m, fmt, ap);
    va_end(ap);
    R.detail = m;
    if (!G.quiet)
        fprintf(stderr, "cushim: %s\n", m);
    return ret(e);
}

/* The error of every call for a device that is lost. */
static const cudaError_t LOST = cudaErrorUnknown;

/* Begins every call that can fail; true: this call must fail (cushim_fail_at, cushim_fail_call). */
static bool refused_on(int device, const char *func)
{
    struct card &c = R.card[device];
    if (G.sticky || c.calls_left == 0)
        return true;
    if (c.calls_left > 0 && --c.calls_left == 0)
        return true;
    if (R.fail_device >= 0 && R.fail_device != device)
        return false;
    if (!strstr(func, R.fail_only.c_str()))
        return false;
    long n = ++R.calls;
    if (!R.fail_name.empty() && strstr(func, R.fail_name.c_str()) && ++R.named >= R.fail_from)
        return true;
    return R.fail_at > 0 && (R.fail_once ? n == R.fail_at : n >= R.fail_at);
}

static bool refused(const char *func)
{
    return refused_on(current_device, func);
}

static bool is_lost(int device)
{
    return R.card[device].calls_left == 0;
}

/* A call that a capture forbids ends the capture with an error. */
static bool capture_forbids(void)
{
    bool any = false;
    for (auto &c : R.captures)
        if (c->mode == cudaStreamCaptureModeGlobal ||
            (c->mode == cudaStreamCaptureModeThreadLocal && c->by == std::this_thread::get_id()))
            any = c->broken = true;
    return any;
}

#define ENTER(injected)                                                                            \
    locked hold(R.lock);                                                                           \
    if (refused(__func__))                                                                         \
    return ret(is_lost(current_device) ? LOST : injected)
/* The rest of a call that waits for the work of a stream or an event: its device must be there. */
#define REACH(of)                                                                                  \
    if (is_lost((of)->device))                                                                     \
    return ret(LOST)
#define ENTER_UNCAPTURED(injected, what)                                                           \
    ENTER(injected);                                                                               \
    if (capture_forbids())                                                                         \
    return bad(cudaErrorStreamCaptureUnsupported, what " while a stream is captured")

/* ---- memory ---------------------------------------------------------------------------------- */

static char *memory_new(size_t bytes)
{
#if defined(CUSHIM_RACE)
    return static_cast<char *>(race_alloc(bytes, 256, false));
#elif defined(__SANITIZE_ADDRESS__)
    void *p;
    return posix_memalign(&p, 256, bytes) ? nullptr : static_cast<char *>(p);
#else
    void *p;
    return posix_memalign(&p, 256, bytes + 2 * GUARD) ? nullptr : static_cast<char *>(p) + GUARD;
#endif
}

static void memory_delete(char *p)
{
#if defined(CUSHIM_RACE)
    race_free(p);
#elif defined(__SANITIZE_ADDRESS__)
    free(p);
#else
    free(p - GUARD);
#endif
}

#if !defined(CUSHIM_RACE) && !defined(__SANITIZE_ADDRESS__)
static bool whole(const char *p, size_t n)
{
    static const uint64_t all = ~(uint64_t)0;
    for (size_t i = 0; i < n; i += 8)
        if (memcmp(p + i, &all, 8) != 0)
            return false;
    return true;
}
#endif

/* After a launch: checks for writes beside a buffer. Sanitized builds report them at the access. */
void memory_check(void)
{
#if !defined(CUSHIM_RACE) && !defined(__SANITIZE_ADDRESS__)
    for (auto &a : R.device) {
        size_t pad = (8 - a.second.bytes % 8) % 8; /* the guard begins at the next multiple of 8 */
        char *end = a.first + a.second.bytes + pad;
        bool before = whole(a.first - GUARD, GUARD), after = whole(end, GUARD - 8);
        if (before && after)
            continue;
        kernel_note("device memory was written out of bounds, %s a buffer of %zu bytes",
                    before ? "after" : "before", a.second.bytes);
        memset(a.first - GUARD, 0xff, GUARD);
        memset(end, 0xff, GUARD - 8);
    }
#endif
}

template <class M> static bool in_range(const std::map<char *, M> &m, const void *p, size_t n)
{
    char *c = static_cast<char *>(const_cast<void *>(p));
    auto it = m.upper_bound(c);
    if (it == m.begin())
        return false;
    --it;
    size_t bytes;
    if constexpr (std::is_same_v<M, struct memory>)
        bytes = it->second.bytes;
    else
        bytes = it->second;
    return c + n <= it->first + bytes;
}
static bool on_device(const void *p, size_t n)
{
    return in_range(R.device, p, n);
}
/* The device of the buffer with this address; -1 = none. */
static int device_of(const void *p)
{
    char *c = static_cast<char *>(const_cast<void *>(p));
    auto it = R.device.upper_bound(c);
    if (it == R.device.begin())
        return -1;
    --it;
    return c < it->first + it->second.bytes ? it->second.device : -1;
}
static bool is_pinned(const void *p, size_t n)
{
    return in_range(R.pinned, p, n) || in_range(R.registered, p, n);
}

/* ---- running work ---------------------------------------------------------------------------- */

static void run_until(const std::shared_ptr<struct stream> &s, uint64_t place);

static void run_work(const struct work &w, int device)
{
    if (G.sticky || is_lost(device))
        return; /* the device is dead */
    switch (w.kind) {
    case WORK_KERNEL: {
        struct kernel_call call = w.call;
        call.args = w.args.get();
        run_grid(&call, w.shared_limit);
        break;
    }
    case WORK_COPY: {
        const void *src = w.staged ? w.staged.get() : w.src;
        if (w.dir == cudaMemcpyDeviceToHost)
            race_host_reads(src, w.bytes);
        memmove(w.dst, src, w.bytes);
        if (w.dir == cudaMemcpyDeviceToDevice)
            race_device_copied(w.dst, src, w.bytes);
        else if (w.dir == cudaMemcpyHostToDevice)
            race_host_wrote(w.dst, w.bytes);
        break;
    }
    case WORK_FILL:
        memset(w.dst, w.byte, w.bytes);
        race_host_wrote(w.dst, w.bytes);
        break;
    case WORK_HOST:
        w.fn(w.data);
        break;
    case WORK_RECORD: {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        w.ev->ms = (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
        break;
    }
    case WORK_WAIT:
        run_until(w.of, w.place);
        break;
    case WORK_GRAPH:
        for (const struct work &n : *w.nodes)
            run_work(n, device);
        break;
    }
}

static void run_until(const std::shared_ptr<struct stream> &s, uint64_t place)
{
    while (s->done < place && !s->queue.empty()) {
        struct work w = std::move(s->queue.front());
        s->queue.pop_front();
        run_work(w, s->device);
        s->done++;
    }
}

static void drain(const std::shared_ptr<struct stream> &s)
{
    run_until(s, s->queued);
}

static std::vector<std::shared_ptr<struct stream>> all_streams(void)
{
    std::vector<std::shared_ptr<struct stream>> all;
    for (int i = 0; i < R.n_device; i++)
        all.push_back(R.card[i].null_stream);
    for (auto &s : R.streams)
        all.push_back(s.second);
    return all;
}

static void drain_all(void)
{
    std::vector<std::shared_ptr<struct stream>> all = all_streams();
    for (size_t i = 0; i < all.size(); i++)
        drain(all[G.order == CUSHIM_REVERSE ? all.size() - 1 - i : i]);
}

/* ---- queues and captures --------------------------------------------------------------------- */

static bool is_null(const std::shared_ptr<struct stream> &s)
{
    return s == R.card[s->device].null_stream;
}

static std::shared_ptr<struct stream> find(cudaStream_t s)
{
    if (!s || s == cudaStreamLegacy)
        return here().null_stream;
    auto it = R.streams.find(s);
    return it == R.streams.end() ? nullptr : it->second;
}

static void push(const std::shared_ptr<struct stream> &s, struct work w)
{
    s->queue.push_back(std::move(w));
    s->queued++;
}

static void push_wait(const std::shared_ptr<struct stream> &s,
                      const std::shared_ptr<struct stream> &of, uint64_t place)
{
    if (of->done >= place)
        return;
    struct work w {
        WORK_WAIT
    };
    w.of = of;
    w.place = place;
    push(s, std::move(w));
}

/* Orders the default stream and the blocking streams. */
static void push_legacy(const std::shared_ptr<struct stream> &s)
{
    const std::shared_ptr<struct stream> &null = R.card[s->device].null_stream;
    if (s == null) {
        for (auto &o : R.streams)
            if (o.second->blocking && o.second->device == s->device)
                push_wait(s, o.second, o.second->queued);
    } else if (s->blocking) {
        push_wait(s, null, null->queued);
    }
}

static bool forbidden_null(const std::shared_ptr<struct stream> &s)
{
    if (!is_null(s))
        return false;
    bool any = false;
    for (auto &c : R.captures)
        if (c->origin->blocking && c->origin->device == s->device)
            any = c->broken = true;
    return any;
}

static cudaError_t enqueue(const std::shared_ptr<struct stream> &s, struct work w)
{
    if (s->cap) {
        struct capture::member &m = s->cap->members[s.get()];
        m.known[s.get()] = ++m.n_node;
        s->cap->nodes.push_back(std::move(w));
        return ret(cudaSuccess);
    }
    if (forbidden_null(s))
        return bad(cudaErrorStreamCaptureImplicit,
                   "the default stream is used while a blocking stream is captured");
    push_legacy(s);
    push(s, std::move(w));
    if (!R.lazy)
        drain(s);
    return ret(cudaSuccess);
}

static cudaError_t bad_stream(void)
{
    return bad(cudaErrorInvalidResourceHandle, "no such stream");
}

/* ---- launches -------------------------------------------------------------------------------- */

static int sm_threads(void)
{
    return G.sm == 75 ? 1024 : G.sm == 86 || G.sm == 89 || G.sm == 120 ? 1536 : 2048;
}
enum { SM_COUNT = 8, RESERVED_SHARED = 1024 };

static size_t sm_shared(void)
{
    return shared_optin(G.sm) + RESERVED_SHARED;
}

static int resident(size_t threads, size_t smem)
{
    size_t by_threads = (size_t)sm_threads() / ((threads + 31) / 32 * 32);
    size_t by_shared = sm_shared() / (smem + RESERVED_SHARED);
    size_t by_blocks = G.sm == 75 || G.sm == 86 ? 16 : G.sm == 89 || G.sm == 120 ? 24 : 32;
    size_t n = by_threads < by_shared ? by_threads : by_shared;
    return (int)(n < by_blocks ? n : by_blocks);
}

static cudaError_t check_launch(const struct kernel_call *c, size_t *limit)
{
    dim3 g = c->grid, b = c->block;
    uint64_t threads = (uint64_t)b.x * b.y * b.z;
    if (!threads || threads > MAX_THREADS || b.z > 64 || !g.x || !g.y || !g.z ||
        g.x > 2147483647u || g.y > 65535 || g.z > 65535)
        return bad(cudaErrorInvalidConfiguration, "launch of %s: grid (%u,%u,%u), block (%u,%u,%u)",
                   c->name, g.x, g.y, g.z, b.x, b.y, b.z);
    auto it = R.dynamic_limit.find(c->func);
    size_t allowed = it == R.dynamic_limit.end() ? 48 * 1024 : it->second;
    if (c->smem > allowed || c->smem > shared_optin(G.sm))
        return bad(
            cudaErrorInvalidValue,
            "launch of %s: %zu bytes of dynamic shared memory; the kernel's attribute allows %zu, "
            "sm_%d %zu",
            c->name, c->smem, allowed, G.sm, shared_optin(G.sm));
    uint64_t blocks = (uint64_t)g.x * g.y * g.z;
    uint64_t fit = (uint64_t)resident(threads, c->smem) * SM_COUNT;
    if (c->cooperative && blocks > fit)
        return bad(cudaErrorCooperativeLaunchTooLarge,
                   "launch of %s: %llu blocks together, %llu fit", c->name,
                   (unsigned long long)blocks, (unsigned long long)fit);
    *limit = it == R.dynamic_limit.end() ? 48 * 1024 : shared_optin(G.sm);
    return cudaSuccess;
}

/* Checks that the kernel gets no address of a device that its own cannot reach. An argument in
 * memory is not looked at. Padding between arguments counts as an argument. */
static void check_arguments(const struct kernel_call *c, int device)
{
    const char *at = static_cast<const char *>(c->args);
    for (size_t i = 0; R.n_device > 1 && i + sizeof(void *) <= c->args_bytes; i += sizeof(void *)) {
        void *p;
        memcpy(&p, at + i, sizeof p);
        int of = device_of(p);
        if (of < 0 || of == device || R.card[device].reaches[of])
            continue;
        kernel_note("%s on device %d gets a pointer to memory of device %d, which it cannot access",
                    c->name, device, of);
        return;
    }
}

void launch(const struct kernel_call *call, cudaStream_t stream)
{
    locked hold(R.lock);
    size_t limit = 0;
    if (refused(__func__)) {
        ret(is_lost(current_device) ? LOST : cudaErrorLaunchOutOfResources);
        return;
    }
    std::shared_ptr<struct stream> s = find(stream);
    if (!s) {
        bad_stream();
        return;
    }
    if (s->device != current_device) {
        bad(cudaErrorInvalidResourceHandle,
            "launch of %s: the stream is of device %d and device %d is current", call->name,
            s->device, current_device);
        return;
    }
    check_arguments(call, s->device);
    if (s->cap && R.break_capture) {
        s->cap->broken = true;
        ret(cudaErrorStreamCaptureInvalidated);
        return;
    }
    if (check_launch(call, &limit) != cudaSuccess)
        return;
    if (!R.lazy && !s->cap && R.captures.empty()) { /* nothing is queued anywhere */
        run_grid(call, limit);
        ret(cudaSuccess);
        return;
    }
    struct work w {
        WORK_KERNEL
    };
    w.call = *call;
    w.shared_limit = limit;
    void *args = aligned_alloc(64, (call->args_bytes + 63) / 64 * 64);
    call->copy(args, call->args);
    w.args = std::shared_ptr<void>(args, free);
    enqueue(s, std::move(w));
}

static struct graph_exec *find_exec(cudaGraphExec_t x)
{
    auto it = R.execs.find(x);
    return it == R.execs.end() ? nullptr : it->second.get();
}

} /* namespace cushim */

using namespace cushim;

/* ---- errors, device -------------------------------------------------------------------------- */

API cudaError_t cudaGetLastError(void)
{
    locked hold(R.lock);
    cudaError_t e = G.sticky ? cudaErrorLaunchFailure : last_error;
    last_error = cudaSuccess;
    return e;
}

API cudaError_t cudaPeekAtLastError(void)
{
    locked hold(R.lock);
    return G.sticky ? cudaErrorLaunchFailure : last_error;
}

API const char *cudaGetErrorName(cudaError_t e)
{
    switch (e) {
#define NAME(x)                                                                                    \
    case x:                                                                                        \
        return #x;
        NAME(cudaSuccess)
        NAME(cudaErrorInvalidValue)
        NAME(cudaErrorMemoryAllocation)
        NAME(cudaErrorInvalidConfiguration)
        NAME(cudaErrorInvalidDevice)
        NAME(cudaErrorInvalidResourceHandle)
        NAME(cudaErrorNotReady)
        NAME(cudaErrorLaunchFailure)
        NAME(cudaErrorLaunchOutOfResources)
        NAME(cudaErrorCooperativeLaunchTooLarge)
        NAME(cudaErrorHostMemoryAlreadyRegistered)
        NAME(cudaErrorHostMemoryNotRegistered)
        NAME(cudaErrorStreamCaptureUnsupported)
        NAME(cudaErrorStreamCaptureInvalidated)
        NAME(cudaErrorStreamCaptureUnmatched)
        NAME(cudaErrorStreamCaptureUnjoined)
        NAME(cudaErrorStreamCaptureIsolation)
        NAME(cudaErrorStreamCaptureImplicit)
        NAME(cudaErrorCapturedEvent)
        NAME(cudaErrorGraphExecUpdateFailure)
        NAME(cudaErrorPeerAccessUnsupported)
        NAME(cudaErrorPeerAccessAlreadyEnabled)
        NAME(cudaErrorPeerAccessNotEnabled)
        NAME(cudaErrorUnknown)
#undef NAME
    default:
        return "cudaErrorOther";
    }
}

API const char *cudaGetErrorString(cudaError_t e)
{
    static thread_local std::string text;
    locked hold(R.lock);
    if (e == cudaErrorLaunchFailure && !G.findings.empty())
        text = G.findings.substr(0, G.findings.find('\n'));
    else
        text = cudaGetErrorName(e);
    return text.c_str();
}

API cudaError_t cudaDriverGetVersion(int *v)
{
    ENTER(cudaErrorUnknown);
    *v = R.driver;
    return ret(cudaSuccess);
}

API cudaError_t cudaRuntimeGetVersion(int *v)
{
    ENTER(cudaErrorUnknown);
    *v = CUDART_VERSION;
    return ret(cudaSuccess);
}

API cudaError_t cudaGetDeviceCount(int *n)
{
    ENTER(cudaErrorUnknown);
    if (R.driver / 1000 < CUDART_VERSION / 1000)
        return ret(cudaErrorInsufficientDriver);
    *n = R.n_device;
    return ret(cudaSuccess);
}

API cudaError_t cudaGetDevice(int *device)
{
    ENTER(cudaErrorUnknown);
    *device = current_device;
    return ret(cudaSuccess);
}

static bool no_device(int device)
{
    return device < 0 || device >= R.n_device;
}

static cudaError_t bad_device(int device)
{
    return bad(cudaErrorInvalidDevice, "device %d of %d", device, R.n_device);
}

API cudaError_t cudaSetDevice(int device)
{
    locked hold(R.lock);
    if (no_device(device))
        return bad_device(device);
    current_device = device; /* also of a lost device: the next calls fail, not those of another */
    if (refused(__func__))
        return ret(is_lost(device) ? LOST : cudaErrorUnknown);
    return ret(cudaSuccess);
}

API cudaError_t cudaDeviceCanAccessPeer(int *can, int device, int peer)
{
    ENTER(cudaErrorUnknown);
    if (no_device(device) || no_device(peer))
        return bad_device(no_device(device) ? device : peer);
    *can = device != peer && !R.card[device].apart[peer];
    return ret(cudaSuccess);
}

API cudaError_t cudaDeviceEnablePeerAccess(int peer, unsigned flags)
{
    ENTER(cudaErrorUnknown);
    if (no_device(peer) || peer == current_device)
        return bad_device(peer);
    if (flags)
        return bad(cudaErrorInvalidValue, "flags %u of peer access: must be 0", flags);
    if (here().apart[peer])
        return bad(cudaErrorPeerAccessUnsupported, "device %d cannot access device %d",
                   current_device, peer);
    if (here().reaches[peer])
        return ret(cudaErrorPeerAccessAlreadyEnabled);
    here().reaches[peer] = true;
    return ret(cudaSuccess);
}

API cudaError_t cudaDeviceDisablePeerAccess(int peer)
{
    ENTER(cudaErrorUnknown);
    if (no_device(peer) || !here().reaches[peer])
        return ret(cudaErrorPeerAccessNotEnabled);
    here().reaches[peer] = false;
    return ret(cudaSuccess);
}

API cudaError_t cudaInitDevice(int device, unsigned, unsigned)
{
    return cudaSetDevice(device);
}

API cudaError_t cudaDeviceGetPCIBusId(char *id, int bytes, int device)
{
    static const char made_up[] = "FFFF:FF:1F.7"; /* the last address of the last bus */
    ENTER(cudaErrorUnknown);
    if (no_device(device))
        return bad_device(device);
    if (!id || bytes < (int)sizeof made_up)
        return bad(cudaErrorInvalidValue, "%d bytes for a bus id of %zu", bytes, sizeof made_up);
    memcpy(id, made_up, sizeof made_up);
    id[9] = "FEDCBA98"[device];
    return cudaSuccess;
}

API cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int device)
{
    ENTER(cudaErrorUnknown);
    if (no_device(device))
        return bad_device(device);
    memset(p, 0, sizeof *p);
    snprintf(p->name, sizeof p->name, "host execution as sm_%d", G.sm);
    p->totalGlobalMem = R.card[device].total;
    p->sharedMemPerBlock = 48 * 1024;
    p->sharedMemPerBlockOptin = shared_optin(G.sm);
    p->sharedMemPerMultiprocessor = sm_shared();
    p->reservedSharedMemPerBlock = RESERVED_SHARED;
    p->regsPerBlock = p->regsPerMultiprocessor = 65536;
    p->warpSize = 32;
    p->maxThreadsPerBlock = p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024;
    p->maxThreadsDim[2] = 64;
    p->maxGridSize[0] = 2147483647;
    p->maxGridSize[1] = p->maxGridSize[2] = 65535;
    p->maxThreadsPerMultiProcessor = sm_threads();
    p->maxBlocksPerMultiProcessor = 16;
    p->multiProcessorCount = SM_COUNT;
    p->major = G.sm / 10;
    p->minor = G.sm % 10;
    p->concurrentKernels = p->cooperativeLaunch = p->unifiedAddressing = 1;
    p->asyncEngineCount = 2;
    p->l2CacheSize = 4 << 20;
    return ret(cudaSuccess);
}

API cudaError_t cudaDeviceGetAttribute(int *v, enum cudaDeviceAttr attr, int device)
{
    ENTER(cudaErrorUnknown);
    if (no_device(device))
        return bad_device(device);
    switch (attr) {
    case cudaDevAttrMultiProcessorCount:
        *v = SM_COUNT;
        break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
        *v = (int)shared_optin(G.sm);
        break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
        *v = (int)sm_shared();
        break;
    case cudaDevAttrMaxSharedMemoryPerBlock:
        *v = 48 * 1024;
        break;
    case cudaDevAttrComputeCapabilityMajor:
        *v = G.sm / 10;
        break;
    case cudaDevAttrComputeCapabilityMinor:
        *v = G.sm % 10;
        break;
    case cudaDevAttrMaxThreadsPerBlock:
        *v = 1024;
        break;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
        *v = sm_threads();
        break;
    case cudaDevAttrWarpSize:
        *v = 32;
        break;
    case cudaDevAttrCooperativeLaunch:
        *v = 1;
        break;
    default:
        return bad(cudaErrorInvalidValue, "device attribute %d is not known to the shim",
                   (int)attr);
    }
    return ret(cudaSuccess);
}

API cudaError_t cudaDeviceSynchronize(void)
{
    ENTER_UNCAPTURED(cudaErrorUnknown, "cudaDeviceSynchronize");
    for (auto &s : all_streams())
        if (s->device == current_device)
            drain(s);
    return ret(cudaSuccess);
}

API cudaError_t cudaDeviceReset(void)
{
    return cudaDeviceSynchronize();
}

/* ---- memory ---------------------------------------------------------------------------------- */

API cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes)
{
    ENTER(cudaErrorUnknown);
    const struct card &c = here();
    *total_bytes = c.total;
    *free_bytes = c.used < c.total ? c.total - c.used : 0;
    return ret(cudaSuccess);
}

API cudaError_t cudaMalloc(void **p, size_t bytes)
{
    ENTER_UNCAPTURED(cudaErrorMemoryAllocation, "cudaMalloc");
    *p = nullptr;
    if (!bytes)
        return ret(cudaSuccess);
    struct card &c = here();
    char *m = c.used < c.total && bytes <= c.total - c.used ? memory_new(bytes) : nullptr;
    if (!m)
        return ret(cudaErrorMemoryAllocation);
#if defined(CUSHIM_RACE)
#elif defined(__SANITIZE_ADDRESS__)
    memset(m, 0xff, bytes);
#else
    memset(m - GUARD, 0xff, bytes + 2 * GUARD);
#endif
    R.device[m] = {m, bytes, current_device};
    c.used += bytes;
    *p = m;
    return ret(cudaSuccess);
}

API cudaError_t cudaFree(void *p)
{
    locked hold(R.lock);
    if (!p)
        return ret(cudaSuccess);
    auto it = R.device.find(static_cast<char *>(p));
    if (it == R.device.end())
        return bad(cudaErrorInvalidValue, "cudaFree of %p, which was not allocated", p);
    if (capture_forbids())
        return bad(cudaErrorStreamCaptureUnsupported, "cudaFree while a stream is captured");
    drain_all();
    R.card[it->second.device].used -= it->second.bytes;
    memory_delete(it->first);
    R.device.erase(it);
    return ret(cudaSuccess);
}

API cudaError_t cudaHostAlloc(void **p, size_t bytes, unsigned)
{
    ENTER_UNCAPTURED(cudaErrorMemoryAllocation, "cudaHostAlloc");
    *p = nullptr;
    if (!bytes)
        return ret(cudaSuccess);
    void *m;
    if (posix_memalign(&m, 4096, bytes))
        return ret(cudaErrorMemoryAllocation);
    memset(m, 0xff, bytes);
    R.pinned[static_cast<char *>(m)] = {static_cast<char *>(m), bytes, -1};
    *p = m;
    return ret(cudaSuccess);
}

API cudaError_t cudaMallocHost(void **p, size_t bytes)
{
    return cudaHostAlloc(p, bytes, 0);
}

API cudaError_t cudaFreeHost(void *p)
{
    locked hold(R.lock);
    if (!p)
        return ret(cudaSuccess);
    auto it = R.pinned.find(static_cast<char *>(p));
    if (it == R.pinned.end())
        return bad(cudaErrorInvalidValue, "cudaFreeHost of %p, which was not allocated", p);
    if (capture_forbids())
        return bad(cudaErrorStreamCaptureUnsupported, "cudaFreeHost while a stream is captured");
    drain_all();
    free(p);
    R.pinned.erase(it);
    return ret(cudaSuccess);
}

API cudaError_t cudaHostRegister(void *p, size_t bytes, unsigned)
{
    ENTER_UNCAPTURED(cudaErrorMemoryAllocation, "cudaHostRegister");
    if (!p || !bytes)
        return bad(cudaErrorInvalidValue, "cudaHostRegister of nothing");
    if (is_pinned(p, 1))
        return bad(cudaErrorHostMemoryAlreadyRegistered, "%p is pinned already", p);
    R.registered[static_cast<char *>(p)] = bytes;
    return ret(cudaSuccess);
}

API cudaError_t cudaHostUnregister(void *p)
{
    locked hold(R.lock);
    drain_all();
    if (!R.registered.erase(static_cast<char *>(p)))
        return bad(cudaErrorHostMemoryNotRegistered, "%p is not registered", p);
    return ret(cudaSuccess);
}

API cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *a, const void *p)
{
    ENTER(cudaErrorUnknown);
    memset(a, 0, sizeof *a);
    if (on_device(p, 1)) {
        a->type = cudaMemoryTypeDevice;
        a->device = device_of(p);
        a->devicePointer = const_cast<void *>(p);
    } else {
        a->type = is_pinned(p, 1) ? cudaMemoryTypeHost : cudaMemoryTypeUnregistered;
        a->hostPointer = const_cast<void *>(p);
    }
    return ret(cudaSuccess);
}

/* Finds the direction of a copy and checks it against the pointers. False: the copy is
 * impossible. */
static bool copy_direction(void *dst, const void *src, size_t n, enum cudaMemcpyKind *kind)
{
    bool to = on_device(dst, n), from = on_device(src, n);
    enum cudaMemcpyKind is = to ? (from ? cudaMemcpyDeviceToDevice : cudaMemcpyHostToDevice)
                                : (from ? cudaMemcpyDeviceToHost : cudaMemcpyHostToHost);
    if (*kind != cudaMemcpyDefault && *kind != is)
        return false;
    if ((!to && on_device(dst, 1)) || (!from && on_device(src, 1)))
        return false; /* begins in a buffer and ends outside */
    *kind = is;
    return true;
}

static cudaError_t copy(void *dst, const void *src, size_t n, enum cudaMemcpyKind kind,
                        cudaStream_t stream, bool wait)
{
    std::shared_ptr<struct stream> s = find(stream);
    if (!s)
        return bad_stream();
    if (!n)
        return ret(cudaSuccess);
    enum cudaMemcpyKind dir = kind;
    if (!copy_direction(dst, src, n, &dir))
        return bad(cudaErrorInvalidValue,
                   "copy of %zu bytes, %p <- %p: a pointer is not where kind %d says", n, dst, src,
                   (int)kind);
    /* stricter than a GPU, which goes through the host without peer access */
    if (dir == cudaMemcpyDeviceToDevice && device_of(dst) != device_of(src))
        return bad(cudaErrorInvalidValue,
                   "copy of %zu bytes from device %d to device %d: use cudaMemcpyPeerAsync", n,
                   device_of(src), device_of(dst));
    struct work w {
        WORK_COPY
    };
    w.dst = dst;
    w.src = src;
    w.bytes = n;
    w.dir = dir;
    bool pageable = (dir == cudaMemcpyHostToDevice && !is_pinned(src, n)) ||
                    (dir == cudaMemcpyDeviceToHost && !is_pinned(dst, n)) ||
                    dir == cudaMemcpyHostToHost;
    if (pageable && s->cap) {
        s->cap->broken = true;
        return bad(cudaErrorStreamCaptureUnsupported, "a captured copy from or to pageable memory");
    }
    if (pageable && R.lazy && !wait && dir == cudaMemcpyHostToDevice) {
        void *m = malloc(n);
        memcpy(m, src, n);
        w.staged = std::shared_ptr<void>(m, free);
    }
    cudaError_t e = enqueue(s, std::move(w));
    if (e == cudaSuccess && (wait || (pageable && dir != cudaMemcpyHostToDevice)))
        drain(s);
    return ret(e);
}

API cudaError_t cudaMemcpy(void *dst, const void *src, size_t bytes, enum cudaMemcpyKind kind)
{
    ENTER_UNCAPTURED(cudaErrorUnknown, "cudaMemcpy");
    return copy(dst, src, bytes, kind, nullptr, true);
}

API cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t bytes, enum cudaMemcpyKind kind,
                                cudaStream_t s)
{
    ENTER(cudaErrorUnknown);
    return copy(dst, src, bytes, kind, s, false);
}

API cudaError_t cudaMemcpyPeerAsync(void *dst, int dst_device, const void *src, int src_device,
                                    size_t bytes, cudaStream_t stream)
{
    ENTER(cudaErrorUnknown);
    if (no_device(dst_device) || no_device(src_device))
        return bad_device(no_device(dst_device) ? dst_device : src_device);
    std::shared_ptr<struct stream> s = find(stream);
    if (!s)
        return bad_stream();
    if (is_lost(dst_device) || is_lost(src_device))
        return ret(LOST);
    if (!bytes)
        return ret(cudaSuccess);
    if (!on_device(dst, bytes) || !on_device(src, bytes) || device_of(dst) != dst_device ||
        device_of(src) != src_device)
        return bad(cudaErrorInvalidValue,
                   "copy of %zu bytes from device %d to device %d: memory of devices %d and %d",
                   bytes, src_device, dst_device, device_of(src), device_of(dst));
    struct work w {
        WORK_COPY
    };
    w.dst = dst;
    w.src = src;
    w.bytes = bytes;
    w.dir = cudaMemcpyDeviceToDevice;
    R.peer_copies++;
    return enqueue(s, std::move(w));
}

static cudaError_t fill(void *dst, int byte, size_t bytes, cudaStream_t stream)
{
    std::shared_ptr<struct stream> s = find(stream);
    if (!s)
        return bad_stream();
    if (!bytes)
        return ret(cudaSuccess);
    if (!on_device(dst, bytes))
        return bad(cudaErrorInvalidValue,
                   "fill of %zu bytes at %p, which is not in a device buffer", bytes, dst);
    struct work w {
        WORK_FILL
    };
    w.dst = dst;
    w.byte = byte;
    w.bytes = bytes;
    return enqueue(s, std::move(w));
}

API cudaError_t cudaMemset(void *dst, int byte, size_t bytes)
{
    ENTER_UNCAPTURED(cudaErrorUnknown, "cudaMemset");
    return fill(dst, byte, bytes, nullptr);
}

API cudaError_t cudaMemsetAsync(void *dst, int byte, size_t bytes, cudaStream_t s)
{
    ENTER(cudaErrorUnknown);
    return fill(dst, byte, bytes, s);
}

/* ---- streams and events ---------------------------------------------------------------------- */

API cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned flags)
{
    ENTER(cudaErrorMemoryAllocation);
    auto made = std::make_shared<struct stream>();
    made->device = current_device;
    made->blocking = !(flags & cudaStreamNonBlocking);
    *s = reinterpret_cast<cudaStream_t>(made.get());
    R.streams[made.get()] = made;
    return ret(cudaSuccess);
}

API cudaError_t cudaStreamCreate(cudaStream_t *s)
{
    return cudaStreamCreateWithFlags(s, cudaStreamDefault);
}

API cudaError_t cudaStreamCreateWithPriority(cudaStream_t *s, unsigned flags, int)
{
    return cudaStreamCreateWithFlags(s, flags);
}

API cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest)
{
    ENTER(cudaErrorUnknown);
    *least = 0;
    *greatest = -5;
    return ret(cudaSuccess);
}

API cudaError_t cudaStreamDestroy(cudaStream_t s)
{
    locked hold(R.lock);
    auto it = R.streams.find(s);
    if (it == R.streams.end())
        return bad_stream();
    drain(it->second);
    R.streams.erase(it);
    return ret(cudaSuccess);
}

API cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    ENTER(cudaErrorUnknown);
    std::shared_ptr<struct stream> s = find(stream);
    if (!s)
        return bad_stream();
    if (s->cap) {
        s->cap->broken = true;
        return bad(cudaErrorStreamCaptureUnsupported,
                   "cudaStreamSynchronize of a stream under capture");
    }
    REACH(s);
    if (is_null(s))
        push_legacy(s); /* the record waits for the blocking streams too */
    drain(s);
    return ret(cudaSuccess);
}

API cudaError_t cudaStreamQuery(cudaStream_t stream)
{
    ENTER(cudaErrorUnknown);
    std::shared_ptr<struct stream> s = find(stream);
    if (!s)
        return bad_stream();
    if (s->cap) {
        s->cap->broken = true;
        return bad(cudaErrorStreamCaptureUnsupported, "cudaStreamQuery of a stream under capture");
    }
    REACH(s);
    if (s->done == s->queued)
        return ret(cudaSuccess);
    run_until(s, s->done + 1); /* a caller that asks repeatedly sees the stream finish */
    return G.sticky ? ret(cudaSuccess) : cudaErrorNotReady;
}

static std::shared_ptr<struct event> find_event(cudaEvent_t e)
{
    auto it = R.events.find(e);
    return it == R.events.end() ? nullptr : it->second;
}

static cudaError_t bad_event(void)
{
    return bad(cudaErrorInvalidResourceHandle, "no such event");
}

API cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned)
{
    ENTER(cudaErrorUnknown);
    std::shared_ptr<struct stream> s = find(stream);
    std::shared_ptr<struct event> ev = find_event(event);
    if (!s || !ev)
        return s ? bad_event() : bad_stream();
    if (ev->cap) { /* the stream joins the capture */
        if (s->cap && s->cap != ev->cap)
            return bad(cudaErrorStreamCaptureIsolation,
                       "a stream under capture waits for another capture");
        if (!s->cap && is_null(s))
            return bad(cudaErrorStreamCaptureImplicit,
                       "the default stream waits for a captured event");
        s->cap = ev->cap;
        struct capture::member &m = s->cap->members[s.get()];
        for (auto &k : ev->known)
            if (m.known[k.first] < k.second)
                m.known[k.first] = k.second;
        return ret(cudaSuccess);
    }
    if (s->cap) {
        s->cap->broken = true;
        return bad(cudaErrorStreamCaptureIsolation,
                   "a stream under capture waits for an event outside of it");
    }
    if (!ev->of)
        return ret(cudaSuccess); /* never recorded: nothing to wait for */
    push_legacy(s);
    push_wait(s, ev->of, ev->place);
    if (!R.lazy)
        drain(s);
    return ret(cudaSuccess);
}

API cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t fn, void *data)
{
    ENTER(cudaErrorUnknown);
    std::shared_ptr<struct stream> s = find(stream);
    if (!s)
        return bad_stream();
    struct work w {
        WORK_HOST
    };
    w.fn = fn;
    w.data = data;
    return enqueue(s, std::move(w));
}

API cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned flags)
{
    ENTER(cudaErrorMemoryAllocation);
    auto made = std::make_shared<struct event>();
    made->device = current_device;
    made->timed = !(flags & cudaEventDisableTiming);
    *e = reinterpret_cast<cudaEvent_t>(made.get());
    R.events[made.get()] = made;
    return ret(cudaSuccess);
}

API cudaError_t cudaEventCreate(cudaEvent_t *e)
{
    return cudaEventCreateWithFlags(e, cudaEventDefault);
}

API cudaError_t cudaEventDestroy(cudaEvent_t e)
{
    locked hold(R.lock);
    return R.events.erase(e) ? ret(cudaSuccess) : bad_event();
}

/* An external record under capture is a node of the graph. Any other record under capture only
 * orders nodes. */
API cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned flags)
{
    ENTER(cudaErrorUnknown);
    std::shared_ptr<struct stream> s = find(stream);
    std::shared_ptr<struct event> ev = find_event(event);
    if (!s || !ev)
        return s ? bad_event() : bad_stream();
    if (s->device != ev->device)
        return bad(cudaErrorInvalidResourceHandle,
                   "an event of device %d is recorded on a stream of device %d", ev->device,
                   s->device);
    bool external = flags & cudaEventRecordExternal;
    if (external && !s->cap)
        return bad(cudaErrorIllegalState, "an external record of an event outside of a capture");
    if (s->cap && !external) {
        ev->cap = s->cap;
        ev->known = s->cap->members[s.get()].known;
        return ret(cudaSuccess);
    }
    ev->cap = nullptr;
    struct work w {
        WORK_RECORD
    };
    w.ev = ev;
    if (external)
        return enqueue(s, std::move(w));
    cudaError_t e = enqueue(s, std::move(w));
    if (e == cudaSuccess) {
        ev->of = s;
        ev->place = s->queued;
    }
    return e;
}

API cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    return cudaEventRecordWithFlags(event, stream, cudaEventRecordDefault);
}

API cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    ENTER(cudaErrorUnknown);
    std::shared_ptr<struct event> ev = find_event(event);
    if (!ev)
        return bad_event();
    if (ev->cap) {
        ev->cap->broken = true;
        return bad(cudaErrorCapturedEvent, "cudaEventSynchronize of a captured event");
    }
    REACH(ev);
    if (ev->of)
        run_until(ev->of, ev->place);
    return ret(cudaSuccess);
}

API cudaError_t cudaEventQuery(cudaEvent_t event)
{
    ENTER(cudaErrorUnknown);
    std::shared_ptr<struct event> ev = find_event(event);
    if (!ev)
        return bad_event();
    if (ev->cap) {
        ev->cap->broken = true;
        return bad(cudaErrorCapturedEvent, "cudaEventQuery of a captured event");
    }
    REACH(ev);
    if (!ev->of || ev->of->done >= ev->place)
        return ret(cudaSuccess);
    run_until(ev->of, ev->of->done + 1);
    return G.sticky ? ret(cudaSuccess) : cudaErrorNotReady;
}

API cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t start, cudaEvent_t end)
{
    ENTER(cudaErrorUnknown);
    std::shared_ptr<struct event> a = find_event(start), b = find_event(end);
    if (!a || !b)
        return bad_event();
    if (a->device != b->device)
        return bad(cudaErrorInvalidResourceHandle,
                   "elapsed time between events of devices %d and %d", a->device, b->device);
    if (!a->of || !b->of || !a->timed || !b->timed)
        return bad(cudaErrorInvalidResourceHandle,
                   "elapsed time between events that were not timed");
    if (a->of->done < a->place || b->of->done < b->place)
        return cudaErrorNotReady;
    *ms = (float)(b->ms - a->ms);
    return ret(cudaSuccess);
}

/* ---- graphs ---------------------------------------------------------------------------------- */

API cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode)
{
    ENTER(cudaErrorUnknown);
    std::shared_ptr<struct stream> s = find(stream);
    if (!s)
        return bad_stream();
    if (is_null(s))
        return bad(cudaErrorStreamCaptureUnsupported, "the default stream cannot be captured");
    if (s->cap)
        return bad(cudaErrorIllegalState, "the stream is under capture already");
    auto c = std::make_shared<struct capture>();
    c->origin = s;
    c->mode = mode;
    c->by = std::this_thread::get_id();
    c->members[s.get()];
    s->cap = c;
    R.captures.push_back(c);
    return ret(cudaSuccess);
}

static void capture_close(const std::shared_ptr<struct capture> &c)
{
    for (auto &s : R.streams)
        if (s.second->cap == c)
            s.second->cap = nullptr;
    for (size_t i = 0; i < R.captures.size(); i++)
        if (R.captures[i] == c) {
            R.captures.erase(R.captures.begin() + (long)i);
            break;
        }
    c->origin = nullptr;
}

API cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *g)
{
    locked hold(R.lock);
    bool fails = refused(__func__);
    *g = nullptr;
    std::shared_ptr<struct stream> s = find(stream);
    if (!s)
        return bad_stream();
    std::shared_ptr<struct capture> c = s->cap;
    if (!c)
        return bad(cudaErrorIllegalState, "the stream is not under capture");
    if (c->origin != s)
        return bad(cudaErrorStreamCaptureUnmatched, "the capture began on another stream");
    bool joined = true;
    std::map<struct stream *, size_t> &known = c->members[s.get()].known;
    for (auto &m : c->members)
        joined = joined && known[m.first] >= m.second.n_node;
    capture_close(c);
    if (fails)
        return ret(cudaErrorUnknown);
    if (c->broken)
        return bad(cudaErrorStreamCaptureInvalidated, "the capture was broken by an earlier call");
    if (!joined)
        return bad(cudaErrorStreamCaptureUnjoined,
                   "a stream of the capture was not joined to its origin");
    auto made = std::make_unique<struct graph>();
    made->device = s->device;
    made->nodes = std::move(c->nodes);
    *g = reinterpret_cast<cudaGraph_t>(made.get());
    R.graphs[made.get()] = std::move(made);
    return ret(cudaSuccess);
}

API cudaError_t cudaStreamIsCapturing(cudaStream_t stream, enum cudaStreamCaptureStatus *status)
{
    ENTER(cudaErrorUnknown);
    std::shared_ptr<struct stream> s = find(stream);
    if (!s)
        return bad_stream();
    *status = !s->cap          ? cudaStreamCaptureStatusNone
              : s->cap->broken ? cudaStreamCaptureStatusInvalidated
                               : cudaStreamCaptureStatusActive;
    return ret(cudaSuccess);
}

static struct graph *find_graph(cudaGraph_t g)
{
    auto it = R.graphs.find(g);
    return it == R.graphs.end() ? nullptr : it->second.get();
}

static cudaError_t bad_graph(void)
{
    return bad(cudaErrorInvalidResourceHandle, "no such graph");
}

API cudaError_t cudaGraphInstantiate(cudaGraphExec_t *x, cudaGraph_t graph, unsigned long long)
{
    ENTER_UNCAPTURED(cudaErrorMemoryAllocation, "cudaGraphInstantiate");
    *x = nullptr;
    struct graph *g = find_graph(graph);
    if (!g)
        return bad_graph();
    auto made = std::make_unique<struct graph_exec>();
    made->device = g->device;
    made->nodes = std::make_shared<const std::vector<struct work>>(g->nodes);
    *x = reinterpret_cast<cudaGraphExec_t>(made.get());
    R.execs[made.get()] = std::move(made);
    return ret(cudaSuccess);
}

API cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    ENTER(cudaErrorUnknown);
    std::shared_ptr<struct stream> s = find(stream);
    struct graph_exec *x = find_exec(exec);
    if (!s || !x)
        return s ? bad_graph() : bad_stream();
    if (s->device != x->device)
        return bad(cudaErrorInvalidResourceHandle,
                   "a graph of device %d is launched on a stream of device %d", x->device,
                   s->device);
    struct work w {
        WORK_GRAPH
    };
    w.nodes = x->nodes; /* a later update does not change this launch */
    cudaError_t e = enqueue(s, std::move(w));
    for (const struct work &n : *x->nodes)
        if (e == cudaSuccess && n.kind == WORK_RECORD) { /* the launch records its events */
            n.ev->of = s;
            n.ev->place = s->queued;
        }
    return e;
}

API cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t stream)
{
    ENTER(cudaErrorUnknown);
    if (!find(stream))
        return bad_stream();
    return find_exec(exec) ? ret(cudaSuccess) : bad_graph();
}

API cudaError_t cudaGraphExecUpdate(cudaGraphExec_t exec, cudaGraph_t graph,
                                    cudaGraphExecUpdateResultInfo *info)
{
    ENTER(cudaErrorGraphExecUpdateFailure);
    struct graph_exec *x = find_exec(exec);
    struct graph *g = find_graph(graph);
    if (!x || !g)
        return bad_graph();
    memset(info, 0, sizeof *info);
    if (g->nodes.size() != x->nodes->size())
        info->result = cudaGraphExecUpdateErrorTopologyChanged;
    for (size_t i = 0; i < g->nodes.size() && info->result == cudaGraphExecUpdateSuccess; i++) {
        const struct work &a = (*x->nodes)[i], &b = g->nodes[i];
        if (a.kind != b.kind)
            info->result = cudaGraphExecUpdateErrorNodeTypeChanged;
        else if (a.kind == WORK_KERNEL && a.call.func != b.call.func)
            info->result = cudaGraphExecUpdateErrorFunctionChanged;
        else if (a.kind == WORK_COPY && a.dir != b.dir)
            info->result = cudaGraphExecUpdateErrorParametersChanged;
    }
    if (info->result != cudaGraphExecUpdateSuccess)
        return bad(cudaErrorGraphExecUpdateFailure, "the new graph is not like the old one (%d)",
                   (int)info->result);
    x->nodes = std::make_shared<const std::vector<struct work>>(g->nodes);
    return ret(cudaSuccess);
}

API cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *nodes, size_t *n)
{
    ENTER(cudaErrorUnknown);
    struct graph *g = find_graph(graph);
    if (!g)
        return bad_graph();
    if (nodes)
        return bad(cudaErrorInvalidValue, "the shim can only count nodes");
    *n = g->nodes.size();
    return ret(cudaSuccess);
}

API cudaError_t cudaGraphDestroy(cudaGraph_t g)
{
    locked hold(R.lock);
    return R.graphs.erase(g) ? ret(cudaSuccess) : bad_graph();
}

API cudaError_t cudaGraphExecDestroy(cudaGraphExec_t x)
{
    locked hold(R.lock);
    return R.execs.erase(x) ? ret(cudaSuccess) : bad_graph();
}

/* ---- kernels --------------------------------------------------------------------------------- */

API cudaError_t cudaFuncSetAttribute(const void *func, enum cudaFuncAttribute attr, int value)
{
    ENTER(cudaErrorUnknown);
    if (attr == cudaFuncAttributePreferredSharedMemoryCarveout)
        return ret(cudaSuccess);
    if (attr != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 ||
        (size_t)value > shared_optin(G.sm))
        return bad(cudaErrorInvalidValue,
                   "kernel attribute %d = %d; sm_%d allows %zu bytes of shared memory", (int)attr,
                   value, G.sm, shared_optin(G.sm));
    R.dynamic_limit[func] = (size_t)value;
    return ret(cudaSuccess);
}

API cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *a, const void *func)
{
    ENTER(cudaErrorNoKernelImageForDevice);
    memset(a, 0, sizeof *a);
    auto it = R.dynamic_limit.find(func);
    a->maxThreadsPerBlock = MAX_THREADS;
    a->maxDynamicSharedSizeBytes = it == R.dynamic_limit.end() ? 48 * 1024 : (int)it->second;
    return ret(cudaSuccess);
}

API cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *n, const void *, int block,
                                                              size_t smem)
{
    ENTER(cudaErrorUnknown);
    if (block <= 0 || block > MAX_THREADS)
        return bad(cudaErrorInvalidValue, "occupancy of a block of %d threads", block);
    *n = resident((size_t)block, smem);
    return ret(cudaSuccess);
}

/* ---- calls of tests -------------------------------------------------------------------------- */

API void cushim_order(enum cushim_order order, uint64_t seed)
{
    locked hold(R.lock);
    G.order = order;
    G.seed = seed;
}

API void cushim_arch(int sm)
{
    locked hold(R.lock);
    G.sm = sm;
}

API void cushim_memory(size_t bytes)
{
    locked hold(R.lock);
    for (struct card &c : R.card)
        c.total = bytes;
}

API void cushim_devices(int n)
{
    locked hold(R.lock);
    drain_all();
    R.n_device = n < 1 ? 1 : n > CUSHIM_DEVICES ? CUSHIM_DEVICES : n;
    for (int i = 0; i < CUSHIM_DEVICES; i++) {
        struct card fresh;
        fresh.total = R.card[0].total;
        fresh.used = R.card[i].used;
        fresh.null_stream->device = i;
        R.card[i] = fresh;
    }
    R.fail_device = -1;
    R.peer_copies = 0;
}

API void cushim_device_memory(int device, size_t bytes)
{
    locked hold(R.lock);
    R.card[device].total = bytes;
}

API void cushim_apart(int a, int b, int on)
{
    locked hold(R.lock);
    R.card[a].apart[b] = R.card[b].apart[a] = on != 0;
}

API void cushim_lose(int device, long n)
{
    locked hold(R.lock);
    R.card[device].calls_left = n < 0 ? -1 : n;
}

API void cushim_fail_on(int device)
{
    locked hold(R.lock);
    R.fail_device = device;
}

API long cushim_peer_copies(void)
{
    locked hold(R.lock);
    return R.peer_copies;
}

API void cushim_lazy(int on)
{
    locked hold(R.lock);
    if (!on)
        drain_all();
    R.lazy = on != 0;
}

API void cushim_strict_exit(int on)
{
    locked hold(R.lock);
    G.strict_exit = on != 0;
}

API void cushim_abort_on_finding(int on)
{
    locked hold(R.lock);
    G.abort_on_finding = on != 0;
}

API void cushim_quiet(int on)
{
    locked hold(R.lock);
    G.quiet = on != 0;
}

API const char *cushim_findings(void)
{
    locked hold(R.lock);
    return G.findings.c_str();
}

API void cushim_reset(void)
{
    locked hold(R.lock);
    for (auto &s : all_streams()) { /* drops the work that a dead device did not run */
        s->queue.clear();
        s->done = s->queued;
    }
    G.findings.clear();
    G.sticky = false;
    last_error = cudaSuccess;
    R.fail_at = 0;
    R.fail_device = -1;
    R.fail_only.clear();
    R.fail_name.clear();
    for (struct card &c : R.card)
        c.calls_left = -1;
}

API void cushim_fail_at(long n, int once)
{
    locked hold(R.lock);
    R.calls = 0;
    R.fail_at = n;
    R.fail_once = once != 0;
}

API void cushim_fail_only(const char *part)
{
    locked hold(R.lock);
    R.fail_only = part;
}

API long cushim_calls(void)
{
    locked hold(R.lock);
    return R.calls;
}

API void cushim_fail_call(const char *name, long n)
{
    locked hold(R.lock);
    R.fail_name = name;
    R.fail_from = n;
    R.named = 0;
}

API long cushim_named_calls(void)
{
    locked hold(R.lock);
    return R.named;
}

API void cushim_break_capture(int on)
{
    locked hold(R.lock);
    R.break_capture = on != 0;
}

API void cushim_driver(int version)
{
    locked hold(R.lock);
    R.driver = version;
}

API size_t cushim_live(struct cushim_objects *out)
{
    locked hold(R.lock);
    struct cushim_objects l = {};
    l.device_buffers = R.device.size();
    for (const struct card &c : R.card)
        l.device_bytes += c.used;
    l.pinned_buffers = R.pinned.size() + R.registered.size();
    l.streams = R.streams.size();
    l.events = R.events.size();
    l.graphs = R.graphs.size() + R.execs.size();
    if (out)
        *out = l;
    return l.device_buffers + l.pinned_buffers + l.streams + l.events + l.graphs;
}

API struct cushim_counts cushim_stats(void)
{
    locked hold(R.lock);
    return G.stats;
}

#ifndef CUSHIM_RACE
API int cushim_shapes(int)
{
    return -1;
}
API int cushim_print_shapes(int)
{
    return -1;
}
API int cushim_kernels(void (*)(const struct cushim_kernel *, void *), void *)
{
    return -1;
}
#endif

API const char *cushim_flavour(void)
{
#if defined(CUSHIM_RACE)
    return "race";
#elif defined(__SANITIZE_ADDRESS__)
    return "asan";
#else
    return "plain";
#endif
}
