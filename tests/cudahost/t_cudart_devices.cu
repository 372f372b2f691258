/* t_cudart_devices: several devices of the shim's CUDA runtime keep their memory, streams and
 * faults apart. */
#include "cu.cuh"

#include "cushim_test.h"

#include <stdio.h>
#include <string.h>

namespace CU_NS
{

__global__ void k_fill(float *y, float v)
{
    y[threadIdx.x] = v;
}

struct pair {
    const float *x;
    float *y;
};

__global__ void k_double(const struct pair p)
{
    p.y[threadIdx.x] = 2 * p.x[threadIdx.x];
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

enum { N = 64, BYTES = N * sizeof(float) };

/* A stream, an event and two buffers of each of two devices, and pinned memory. */
struct fixture {
    cudaStream_t s[2] = {};
    cudaEvent_t e[2] = {};
    float *x[2] = {}, *y[2] = {}, *host = nullptr;
    fixture()
    {
        cushim_devices(2);
        for (int d = 0; d < 2; d++) {
            OK(cudaSetDevice(d));
            OK(cudaStreamCreateWithFlags(&s[d], cudaStreamNonBlocking));
            OK(cudaEventCreateWithFlags(&e[d], cudaEventDisableTiming));
            OK(cudaMalloc(&x[d], BYTES));
            OK(cudaMalloc(&y[d], BYTES));
        }
        OK(cudaMallocHost(&host, BYTES));
    }
    ~fixture()
    {
        for (int d = 0; d < 2; d++) {
            cudaFree(x[d]);
            cudaFree(y[d]);
            cudaEventDestroy(e[d]);
            cudaStreamDestroy(s[d]);
        }
        cudaFreeHost(host);
        cudaSetDevice(0);
    }
};

static void fill(fixture *f, int d, float v)
{
    OK(cudaSetDevice(d));
    LAUNCH(k_fill, dim3(1), dim3(N), 0, f->s[d], f->x[d], v);
    OK(cudaGetLastError());
}

static void each_has_its_memory_and_name()
{
    fixture f;
    size_t left, total;
    char id[2][16];
    int n = 0, d = -1;
    cushim_device_memory(1, 1 << 20);
    OK(cudaGetDeviceCount(&n));
    EXPECT(n == 2);
    OK(cudaSetDevice(1));
    OK(cudaGetDevice(&d));
    EXPECT(d == 1);
    OK(cudaMemGetInfo(&left, &total));
    EXPECT(total == 1 << 20 && left == total - 2 * BYTES);
    void *p;
    EXPECT(cudaMalloc(&p, 1 << 20) == cudaErrorMemoryAllocation);
    OK(cudaSetDevice(0));
    OK(cudaMemGetInfo(&left, &total));
    EXPECT(left == total - 2 * BYTES);
    for (int i = 0; i < 2; i++)
        OK(cudaDeviceGetPCIBusId(id[i], sizeof id[i], i));
    EXPECT(strcmp(id[0], id[1]) != 0);
    cudaPointerAttributes a;
    OK(cudaPointerGetAttributes(&a, f.x[1]));
    EXPECT(a.device == 1);
    EXPECT(cudaSetDevice(2) == cudaErrorInvalidDevice);
    (void)cudaGetLastError();
    cushim_device_memory(1, (size_t)8 << 30);
}

static void events_order_streams_of_both()
{
    fixture f;
    cushim_lazy(1);
    fill(&f, 0, 3);
    OK(cudaMemcpyAsync(f.host, f.x[0], BYTES, cudaMemcpyDeviceToHost, f.s[0]));
    OK(cudaEventRecord(f.e[0], f.s[0]));
    OK(cudaSetDevice(1));
    OK(cudaStreamWaitEvent(f.s[1], f.e[0], 0));
    OK(cudaMemcpyAsync(f.x[1], f.host, BYTES, cudaMemcpyHostToDevice, f.s[1]));
    LAUNCH(k_double, dim3(1), dim3(N), 0, f.s[1], pair{f.x[1], f.y[1]});
    OK(cudaGetLastError());
    OK(cudaMemcpyAsync(f.host, f.y[1], BYTES, cudaMemcpyDeviceToHost, f.s[1]));
    OK(cudaStreamSynchronize(f.s[1]));
    EXPECT(f.host[N - 1] == 6);
    EXPECT(cudaEventRecord(f.e[0], f.s[1]) == cudaErrorInvalidResourceHandle);
    (void)cudaGetLastError();
}

static void a_pointer_of_another_device_is_found()
{
    fixture f;
    OK(cudaSetDevice(1));
    LAUNCH(k_double, dim3(1), dim3(N), 0, f.s[1], pair{f.x[0], f.y[1]});
    EXPECT(cudaGetLastError() == cudaErrorLaunchFailure);
    EXPECT(strstr(cushim_findings(), "k_double on device 1") != nullptr);
    EXPECT(strstr(cushim_findings(), "memory of device 0, which it cannot access") != nullptr);
    cushim_reset();
    int can = 0;
    OK(cudaDeviceCanAccessPeer(&can, 1, 0));
    EXPECT(can == 1);
    fill(&f, 0, 4);
    OK(cudaSetDevice(1));
    OK(cudaDeviceEnablePeerAccess(0, 0));
    EXPECT(cudaDeviceEnablePeerAccess(0, 0) == cudaErrorPeerAccessAlreadyEnabled);
    (void)cudaGetLastError();
    LAUNCH(k_double, dim3(1), dim3(N), 0, f.s[1], pair{f.x[0], f.y[1]});
    OK(cudaGetLastError());
    EXPECT(f.y[1][0] == 8 && !*cushim_findings());
}

static void the_stream_of_a_launch_is_of_the_current_device()
{
    fixture f;
    OK(cudaSetDevice(1));
    LAUNCH(k_fill, dim3(1), dim3(N), 0, f.s[0], f.x[0], 1.0f);
    EXPECT(cudaGetLastError() == cudaErrorInvalidResourceHandle);
}

static void copies_between_devices()
{
    fixture f;
    int can = 1;
    fill(&f, 0, 5);
    EXPECT(cudaMemcpyAsync(f.x[1], f.x[0], BYTES, cudaMemcpyDefault, f.s[0]) ==
           cudaErrorInvalidValue);
    (void)cudaGetLastError();
    EXPECT(cudaMemcpyPeerAsync(f.x[1], 0, f.x[0], 0, BYTES, f.s[0]) == cudaErrorInvalidValue);
    (void)cudaGetLastError();
    OK(cudaMemcpyPeerAsync(f.x[1], 1, f.x[0], 0, BYTES, f.s[0]));
    EXPECT(f.x[1][N - 1] == 5 && cushim_peer_copies() == 1);
    cushim_apart(0, 1, 1);
    OK(cudaDeviceCanAccessPeer(&can, 0, 1));
    EXPECT(can == 0);
    EXPECT(cudaDeviceEnablePeerAccess(1, 0) != cudaSuccess);
    (void)cudaGetLastError();
}

static void a_lost_device_fails_and_the_other_goes_on()
{
    fixture f;
    fill(&f, 1, 1);
    cushim_lazy(1);
    fill(&f, 1, 2);
    cushim_lose(1, 0);
    OK(cudaSetDevice(0));
    EXPECT(cudaEventSynchronize(f.e[1]) == cudaErrorUnknown);
    EXPECT(cudaStreamSynchronize(f.s[1]) == cudaErrorUnknown);
    (void)cudaGetLastError();
    fill(&f, 0, 7);
    OK(cudaStreamSynchronize(f.s[0]));
    EXPECT(f.x[0][0] == 7 && f.x[1][0] == 1);
    EXPECT(cudaSetDevice(1) == cudaErrorUnknown);
    EXPECT(cudaStreamSynchronize(f.s[1]) == cudaErrorUnknown);
    (void)cudaGetLastError();
}

static void calls_of_one_device_are_counted_and_fail()
{
    fixture f;
    cushim_fail_at(2, 1);
    cushim_fail_on(1);
    fill(&f, 0, 1);
    OK(cudaSetDevice(1));
    EXPECT(cushim_calls() == 1);
    EXPECT(cudaStreamSynchronize(f.s[1]) != cudaSuccess);
    OK(cudaStreamSynchronize(f.s[1]));
    (void)cudaGetLastError();
}

int main(void)
{
    static const struct {
        const char *name;
        void (*run)();
    } tests[] = {
#define TEST(f) {#f, f}
        TEST(each_has_its_memory_and_name),
        TEST(events_order_streams_of_both),
        TEST(a_pointer_of_another_device_is_found),
        TEST(the_stream_of_a_launch_is_of_the_current_device),
        TEST(copies_between_devices),
        TEST(a_lost_device_fails_and_the_other_goes_on),
        TEST(calls_of_one_device_are_counted_and_fail),
    };
    cushim_quiet(1);
    for (auto &t : tests) {
        int before = failed;
        test = t.name;
        t.run();
        cushim_lazy(0);
        cushim_reset();
        cushim_devices(1);
        EXPECT(cushim_live(nullptr) == 0);
        printf("%-50s %s\n", t.name, failed == before ? "ok" : "FAILED");
    }
    return failed != 0;
}
