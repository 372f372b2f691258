/* t_cudart: the shim's CUDA runtime behaves as its reference manual says, and fails on request. */
#include "cu.cuh"

#include "cushim_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <thread>
#include <time.h>
#include <vector>

namespace CU_NS
{

struct scale_args {
    const float *x;
    float *y;
    float by;
    int n;
};

__global__ void k_scale(const scale_args a)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < a.n)
        a.y[i] = a.x[i] * a.by;
}

__global__ void k_fill(float *y, float v)
{
    y[threadIdx.x] = v;
}

__global__ void k_crash(float *y)
{
    SHARED_ARRAY(float, part, [32]);
    if (threadIdx.x < 8)
        __syncthreads();
    part[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1.0f, 1);
    y[threadIdx.x] = part[threadIdx.x];
}

} /* namespace CU_NS */

using namespace CU_NS;

static const char *test;
static int failed;

#define EXPECT(cond)                                                                               \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            printf("%s: line %d: not true: %s\n", test, __LINE__, #cond);                          \
            failed++;                                                                              \
        }                                                                                          \
    } while (0)
#define OK(call) EXPECT((call) == cudaSuccess)

enum { N = 64 };

struct fixture {
    cudaStream_t a = nullptr, b = nullptr;
    cudaEvent_t e = nullptr;
    float *x = nullptr, *y = nullptr, *host = nullptr;
    bool open()
    {
        if (cudaStreamCreateWithFlags(&a, cudaStreamNonBlocking) != cudaSuccess ||
            cudaStreamCreateWithFlags(&b, cudaStreamNonBlocking) != cudaSuccess ||
            cudaEventCreateWithFlags(&e, cudaEventDefault) != cudaSuccess ||
            cudaMalloc(&x, N * sizeof(float)) != cudaSuccess ||
            cudaMalloc(&y, N * sizeof(float)) != cudaSuccess ||
            cudaMallocHost(&host, N * sizeof(float)) != cudaSuccess)
            return false;
        return true;
    }
    ~fixture()
    {
        cudaFreeHost(host);
        cudaFree(x);
        cudaFree(y);
        if (e)
            cudaEventDestroy(e);
        if (a)
            cudaStreamDestroy(a);
        if (b)
            cudaStreamDestroy(b);
    }
};

static void scale(fixture *f, const float *x, float *y, float by, cudaStream_t s)
{
    (void)f;
    scale_args a = {x, y, by, N};
    LAUNCH(k_scale, dim3(2), dim3(32), 0, s, a);
}

static float first(const float *p)
{
    float v = -1;
    OK(cudaMemcpy(&v, p, sizeof v, cudaMemcpyDeviceToHost));
    return v;
}

static void work_waits_for_its_stream_only()
{
    fixture f;
    EXPECT(f.open());
    cushim_lazy(1);
    LAUNCH(k_fill, dim3(1), dim3(N), 0, f.a, f.x, 1.0f);
    LAUNCH(k_fill, dim3(1), dim3(N), 0, f.b, f.y, 2.0f);
    uint64_t before = cushim_stats().launches;
    OK(cudaStreamSynchronize(f.b));
    EXPECT(cushim_stats().launches == before + 1);
    OK(cudaEventRecord(f.e, f.a));
    LAUNCH(k_fill, dim3(1), dim3(N), 0, f.a, f.x, 3.0f); /* after the event */
    OK(cudaEventSynchronize(f.e));
    EXPECT(cushim_stats().launches == before + 2);
    EXPECT(cudaStreamQuery(f.a) == cudaErrorNotReady);
    EXPECT(cudaStreamQuery(f.a) == cudaSuccess);
    EXPECT(cudaGetLastError() == cudaSuccess); /* not ready is not an error */
    EXPECT(first(f.x) == 3.0f);
}

static void default_stream_orders_blocking_ones()
{
    fixture f;
    EXPECT(f.open());
    cudaStream_t blocking;
    OK(cudaStreamCreate(&blocking));
    cushim_lazy(1);
    LAUNCH(k_fill, dim3(1), dim3(N), 0, blocking, f.x, 5.0f);
    scale(&f, f.x, f.y, 2, nullptr); /* sees the 5 */
    EXPECT(first(f.y) == 10.0f);
    LAUNCH(k_fill, dim3(1), dim3(N), 0, blocking, f.x, 5.0f);
    scale(&f, f.x, f.y, 2, nullptr);
    LAUNCH(k_fill, dim3(1), dim3(N), 0, blocking, f.x, 7.0f); /* after it */
    OK(cudaStreamSynchronize(blocking));
    EXPECT(first(f.y) == 10.0f);
    EXPECT(first(f.x) == 7.0f);
    OK(cudaStreamDestroy(blocking));
}

static void host_work_and_time()
{
    fixture f;
    EXPECT(f.open());
    cudaEvent_t end;
    OK(cudaEventCreate(&end));
    int seen = 0;
    cushim_lazy(1);
    OK(cudaEventRecord(f.e, f.a));
    OK(cudaLaunchHostFunc(
        f.a, [](void *p) { ++*static_cast<int *>(p); }, &seen));
    OK(cudaEventRecord(end, f.a));
    EXPECT(seen == 0);
    float ms = -1;
    EXPECT(cudaEventElapsedTime(&ms, f.e, end) == cudaErrorNotReady);
    OK(cudaEventSynchronize(end));
    EXPECT(seen == 1);
    OK(cudaEventElapsedTime(&ms, f.e, end));
    EXPECT(ms >= 0);
    OK(cudaEventDestroy(end));
}

static cudaGraph_t capture(fixture *f, float by, bool twice)
{
    cudaGraph_t g = nullptr;
    cudaStreamCaptureStatus status;
    OK(cudaStreamBeginCapture(f->a, cudaStreamCaptureModeThreadLocal));
    OK(cudaStreamIsCapturing(f->a, &status));
    EXPECT(status == cudaStreamCaptureStatusActive);
    OK(cudaMemcpyAsync(f->x, f->host, N * sizeof(float), cudaMemcpyHostToDevice, f->a));
    scale(f, f->x, f->y, by, f->a);
    if (twice)
        scale(f, f->y, f->y, by, f->a);
    OK(cudaStreamEndCapture(f->a, &g));
    OK(cudaStreamIsCapturing(f->a, &status));
    EXPECT(status == cudaStreamCaptureStatusNone);
    return g;
}

static void graphs_replay_and_update()
{
    fixture f;
    EXPECT(f.open());
    uint64_t before = cushim_stats().launches;
    cudaGraph_t g = capture(&f, 2, false), other = capture(&f, 3, false),
                longer = capture(&f, 3, true);
    EXPECT(cushim_stats().launches == before); /* recorded, not run */
    size_t n = 0;
    OK(cudaGraphGetNodes(g, nullptr, &n));
    EXPECT(n == 2);
    cudaGraphExec_t x;
    OK(cudaGraphInstantiate(&x, g, 0));
    OK(cudaGraphDestroy(g)); /* the exec stays valid */
    for (int i = 1; i <= 3; i++) {
        f.host[0] = (float)i;
        OK(cudaGraphLaunch(x, f.a));
        EXPECT(first(f.y) == 2.0f * (float)i);
    }
    cushim_lazy(1);
    cudaGraphExecUpdateResultInfo info;
    OK(cudaGraphLaunch(x, f.a));
    OK(cudaGraphExecUpdate(x, other, &info)); /* the queued launch keeps the old graph */
    OK(cudaStreamSynchronize(f.a));
    EXPECT(first(f.y) == 6.0f);
    OK(cudaGraphLaunch(x, f.a));
    OK(cudaStreamSynchronize(f.a));
    EXPECT(first(f.y) == 9.0f);
    EXPECT(cudaGraphExecUpdate(x, longer, &info) == cudaErrorGraphExecUpdateFailure);
    EXPECT(info.result == cudaGraphExecUpdateErrorTopologyChanged);
    EXPECT(cudaGetLastError() == cudaErrorGraphExecUpdateFailure);
    OK(cudaGraphExecDestroy(x));
    OK(cudaGraphDestroy(other));
    OK(cudaGraphDestroy(longer));
}

/* A graph with an external record before and after its work sets both times at each launch. */
static void external_records_are_nodes()
{
    fixture f;
    EXPECT(f.open());
    cudaEvent_t end;
    OK(cudaEventCreate(&end));
    cudaGraph_t g = nullptr;
    cudaGraphExec_t x;
    float first_ms = -1, second_ms = -1, between = -1;
    size_t n = 0;
    EXPECT(cudaEventRecordWithFlags(f.e, f.a, cudaEventRecordExternal) == cudaErrorIllegalState);
    (void)cudaGetLastError();
    OK(cudaStreamBeginCapture(f.a, cudaStreamCaptureModeThreadLocal));
    OK(cudaEventRecordWithFlags(f.e, f.a, cudaEventRecordExternal));
    OK(cudaLaunchHostFunc(
        f.a,
        [](void *) {
            struct timespec t = {0, 2000000};
            nanosleep(&t, nullptr);
        },
        nullptr));
    OK(cudaEventRecordWithFlags(end, f.a, cudaEventRecordExternal));
    OK(cudaStreamEndCapture(f.a, &g));
    OK(cudaGraphGetNodes(g, nullptr, &n));
    EXPECT(n == 3);
    OK(cudaGraphInstantiate(&x, g, 0));
    EXPECT(cudaEventElapsedTime(&first_ms, f.e, end) == cudaErrorInvalidResourceHandle);
    (void)cudaGetLastError();
    cudaEvent_t start;
    OK(cudaEventCreate(&start));
    cushim_lazy(1);
    OK(cudaEventRecord(start, f.a));
    OK(cudaGraphLaunch(x, f.a));
    EXPECT(cudaEventElapsedTime(&first_ms, f.e, end) == cudaErrorNotReady);
    OK(cudaStreamSynchronize(f.a));
    OK(cudaEventElapsedTime(&first_ms, f.e, end));
    EXPECT(first_ms >= 2);
    OK(cudaGraphLaunch(x, f.a));
    EXPECT(cudaEventElapsedTime(&second_ms, f.e, end) == cudaErrorNotReady);
    OK(cudaStreamSynchronize(f.a));
    OK(cudaEventElapsedTime(&second_ms, f.e, end));
    OK(cudaEventElapsedTime(&between, start, f.e)); /* after the whole first launch */
    EXPECT(second_ms >= 2 && between >= first_ms);
    OK(cudaGraphExecDestroy(x));
    OK(cudaGraphDestroy(g));
    OK(cudaEventDestroy(start));
    OK(cudaEventDestroy(end));
}

static void broken_capture_gives_no_graph()
{
    fixture f;
    EXPECT(f.open());
    cudaGraph_t g = (cudaGraph_t)&f;
    float pageable[N] = {};
    OK(cudaStreamBeginCapture(f.a, cudaStreamCaptureModeThreadLocal));
    EXPECT(cudaMemcpyAsync(f.x, pageable, sizeof pageable, cudaMemcpyHostToDevice, f.a) ==
           cudaErrorStreamCaptureUnsupported);
    EXPECT(cudaStreamEndCapture(f.a, &g) == cudaErrorStreamCaptureInvalidated);
    EXPECT(!g);
    (void)cudaGetLastError();
    OK(cudaStreamBeginCapture(f.a, cudaStreamCaptureModeThreadLocal));
    std::thread other([&] { /* another thread may allocate during a capture */
                            void *p;
                            EXPECT(cudaMalloc(&p, 16) == cudaSuccess && cudaFree(p) == cudaSuccess);
    });
    other.join();
    OK(cudaStreamEndCapture(f.a, &g));
    OK(cudaGraphDestroy(g));
}

static void memory_has_an_end()
{
    cushim_memory(1 << 20);
    void *p, *q;
    size_t free_bytes, total;
    OK(cudaMalloc(&p, 700 << 10));
    OK(cudaMemGetInfo(&free_bytes, &total));
    EXPECT(total == 1 << 20 && free_bytes == 324 << 10);
    EXPECT(cudaMalloc(&q, 400 << 10) == cudaErrorMemoryAllocation && !q);
    EXPECT(cudaGetLastError() == cudaErrorMemoryAllocation);
    EXPECT(cudaGetLastError() == cudaSuccess); /* an error is reported once */
    OK(cudaFree(p));
    EXPECT(cudaFree(p) == cudaErrorInvalidValue);
    (void)cudaGetLastError();
    cushim_memory((size_t)8 << 30);
}

static void pointers_are_known()
{
    fixture f;
    EXPECT(f.open());
    static char mine[8192];
    cudaPointerAttributes a;
    OK(cudaPointerGetAttributes(&a, f.x + 3));
    EXPECT(a.type == cudaMemoryTypeDevice);
    OK(cudaPointerGetAttributes(&a, f.host));
    EXPECT(a.type == cudaMemoryTypeHost);
    OK(cudaPointerGetAttributes(&a, mine));
    EXPECT(a.type == cudaMemoryTypeUnregistered);
    OK(cudaHostRegister(mine, sizeof mine, cudaHostRegisterDefault));
    OK(cudaPointerGetAttributes(&a, mine + 100));
    EXPECT(a.type == cudaMemoryTypeHost);
    EXPECT(cudaHostRegister(mine, 16, 0) == cudaErrorHostMemoryAlreadyRegistered);
    OK(cudaHostUnregister(mine));
    EXPECT(cudaHostUnregister(mine) == cudaErrorHostMemoryNotRegistered);
    (void)cudaGetLastError();
}

static void bad_launches_are_told_once()
{
    fixture f;
    EXPECT(f.open());
    uint64_t before = cushim_stats().launches;
    LAUNCH(k_fill, dim3(1), dim3(2048), 0, f.a, f.x, 1.0f);
    EXPECT(cudaPeekAtLastError() == cudaErrorInvalidConfiguration);
    EXPECT(cudaGetLastError() == cudaErrorInvalidConfiguration);
    LAUNCH(k_fill, dim3(1, 70000), dim3(N), 0, f.a, f.x, 1.0f);
    EXPECT(cudaGetLastError() == cudaErrorInvalidConfiguration);
    LAUNCH(k_fill, dim3(1), dim3(N), 50000, f.a, f.x, 1.0f);
    EXPECT(cudaGetLastError() == cudaErrorInvalidValue);
    LAUNCH_COOP(k_fill, dim3(100000), dim3(N), 0, f.a, f.x, 1.0f);
    EXPECT(cudaGetLastError() == cudaErrorCooperativeLaunchTooLarge);
    LAUNCH(k_fill, dim3(1), dim3(N), 0, (cudaStream_t)&f, f.x, 1.0f);
    EXPECT(cudaGetLastError() == cudaErrorInvalidResourceHandle);
    EXPECT(cushim_stats().launches == before);
    OK(cudaStreamSynchronize(f.a)); /* the device works */
}

static void a_crash_stays()
{
    fixture f;
    EXPECT(f.open());
    LAUNCH(k_crash, dim3(1), dim3(32), 0, f.a, f.x);
    EXPECT(cudaGetLastError() == cudaErrorLaunchFailure);
    EXPECT(cudaGetLastError() == cudaErrorLaunchFailure);
    EXPECT(cudaStreamSynchronize(f.a) == cudaErrorLaunchFailure);
    EXPECT(strstr(cudaGetErrorString(cudaErrorLaunchFailure), "k_crash") != nullptr);
    EXPECT(strstr(cushim_findings(), "deadlock") != nullptr);
    void *p = nullptr;
    EXPECT(cudaMalloc(&p, 16) == cudaErrorLaunchFailure);
    cushim_reset();
    LAUNCH(k_fill, dim3(1), dim3(N), 0, f.a, f.x, 4.0f); /* fibers of the crash are usable again */
    EXPECT(first(f.x) == 4.0f);
}

/* Makes every call that can fail; stops at the first failure, as a program does. */
static cudaError_t session(void)
{
    fixture f;
    cudaGraph_t g = nullptr;
    cudaGraphExec_t x = nullptr;
    cudaError_t rc = f.open() ? cudaSuccess : cudaGetLastError();
    if (rc != cudaSuccess)
        return rc;
    auto step = [&](cudaError_t r) { return rc = rc == cudaSuccess ? r : rc; };
    bool capturing =
        step(cudaStreamBeginCapture(f.a, cudaStreamCaptureModeThreadLocal)) == cudaSuccess;
    if (rc == cudaSuccess) {
        scale(&f, f.x, f.y, 2, f.a);
        step(cudaGetLastError());
    }
    if (capturing) {
        cudaError_t end = cudaStreamEndCapture(f.a, &g);
        step(end);
    }
    if (rc == cudaSuccess)
        step(cudaGraphInstantiate(&x, g, 0));
    if (rc == cudaSuccess)
        step(cudaMemsetAsync(f.x, 0, N * sizeof(float), f.a));
    if (rc == cudaSuccess)
        step(cudaGraphLaunch(x, f.a));
    if (rc == cudaSuccess)
        step(cudaEventRecord(f.e, f.a));
    if (rc == cudaSuccess)
        step(cudaStreamWaitEvent(f.b, f.e, 0));
    if (rc == cudaSuccess)
        step(cudaMemcpyAsync(f.host, f.y, N * sizeof(float), cudaMemcpyDeviceToHost, f.b));
    if (rc == cudaSuccess)
        step(cudaStreamSynchronize(f.b));
    EXPECT(rc != cudaSuccess || f.host[N - 1] == 0.0f);
    if (x)
        cudaGraphExecDestroy(x);
    if (g)
        cudaGraphDestroy(g);
    return rc;
}

static void every_call_can_fail()
{
    for (int once = 0; once <= 1; once++) {
        long n = 1;
        for (;; n++) {
            cushim_fail_at(n, once);
            cudaError_t rc = session();
            long calls = cushim_calls();
            (void)cudaGetLastError();
            if (calls >= n) /* a failure with `once` is over, the other kind stays */
                EXPECT((session() == cudaSuccess) == (once != 0));
            cushim_fail_at(0, 0);
            (void)cudaGetLastError();
            EXPECT(cushim_live(nullptr) == 0);
            EXPECT(!cushim_findings()[0]);
            if (calls < n) { /* the session has fewer than n calls */
                EXPECT(rc == cudaSuccess);
                break;
            }
            EXPECT(rc != cudaSuccess);
        }
        EXPECT(n == 17); /* 16 calls that can fail */
    }
}

static void what_lives_is_counted()
{
    struct cushim_objects o;
    EXPECT(cushim_live(&o) == 0 && o.device_bytes == 0);
    {
        fixture f;
        EXPECT(f.open());
        EXPECT(cushim_live(&o) == 6);
        EXPECT(o.device_buffers == 2 && o.device_bytes == 2 * N * sizeof(float) &&
               o.pinned_buffers == 1);
        EXPECT(o.streams == 2 && o.events == 1 && o.graphs == 0);
    }
    EXPECT(cushim_live(&o) == 0);
}

static void properties_follow_the_architecture()
{
    static const struct {
        int sm;
        size_t optin;
    } archs[] = {{80, 163}, {86, 99}, {89, 99}, {90, 227}, {120, 99}};
    for (auto &a : archs) {
        cudaDeviceProp p;
        int v = 0;
        cushim_arch(a.sm);
        OK(cudaGetDeviceProperties(&p, 0));
        EXPECT(p.major * 10 + p.minor == a.sm && p.sharedMemPerBlockOptin == a.optin * 1024);
        OK(cudaDeviceGetAttribute(&v, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0));
        EXPECT((size_t)v == a.optin * 1024);
    }
    cushim_arch(90);
    EXPECT(cudaSetDevice(1) == cudaErrorInvalidDevice);
    (void)cudaGetLastError();
}

int main(void)
{
    static const struct {
        const char *name;
        void (*run)();
    } tests[] = {
#define TEST(f) {#f, f}
        TEST(work_waits_for_its_stream_only),
        TEST(default_stream_orders_blocking_ones),
        TEST(host_work_and_time),
        TEST(graphs_replay_and_update),
        TEST(external_records_are_nodes),
        TEST(broken_capture_gives_no_graph),
        TEST(memory_has_an_end),
        TEST(pointers_are_known),
        TEST(bad_launches_are_told_once),
        TEST(a_crash_stays),
        TEST(every_call_can_fail),
        TEST(what_lives_is_counted),
        TEST(properties_follow_the_architecture),
    };
    cushim_quiet(1);
    for (auto &t : tests) {
        int before = failed;
        test = t.name;
        t.run();
        cushim_lazy(0);
        cushim_reset();
        EXPECT(cushim_live(nullptr) == 0);
        printf("%-40s %s\n", t.name, failed == before ? "ok" : "FAILED");
    }
    return failed != 0;
}
