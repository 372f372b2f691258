/* The CUDA device of device.h, and recordings, on the host's runtime. Queued work runs as late as
 * its order allows, so a missing wait shows. */
#include <stdint.h>
#include <time.h>

#include "cushim_test.h"
#include "ops.h"
#include "test.h"

enum { N = 1000 };

static struct ops *ops;
static struct device *dev;
static const struct dev_api *api;

static int set_up(void **state)
{
    struct err e;
    (void)state;
    cushim_reset();
    cushim_lazy(1);
    ok(ops_open("cudahost", NULL, &ops, &e));
    dev = ops->dev;
    api = dev->api;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    ops_close(ops);
    cushim_lazy(0);
    assert_int_equal(cushim_live(NULL), 0);
    assert_string_equal(cushim_findings(), "");
    return 0;
}

static void the_device_names_itself(void **state)
{
    (void)state;
    assert_string_equal(ops->name, "cudahost");
    assert_string_equal(dev->kind, "cudahost");
    assert_false(dev->is_host);
    assert_non_null(strstr(dev->name, "SMs"));
    assert_non_null(strstr(dev->name, "sm_90"));
    assert_string_equal(dev->pci, "FFFF:FF:1F.7"); /* the shim's, which is no machine's */
}

static void copies_go_in_every_direction_in_order(void **state)
{
    (void)state;
    struct err e;
    struct buf d = {0}, pinned = {0}, host = {0};
    ok(api->alloc(dev, MEM_DEVICE, N, &d, &e));
    ok(api->alloc(dev, MEM_PINNED, N, &pinned, &e));
    ok(api->alloc(dev, MEM_HOST, N, &host, &e));
    assert_true(d.space == MEM_DEVICE && d.bytes == N && (uintptr_t)d.ptr % 256 == 0);
    unsigned char *p = pinned.ptr, *h = host.ptr;
    for (int i = 0; i < N; i++)
        p[i] = (unsigned char)(i * 7);
    memset(h, 0, N);
    ok(api->copy(dev, NULL, d.ptr, p, N, &e));
    ok(api->fill(dev, NULL, d.ptr, 0xab, 10, &e));
    ok(api->copy(dev, NULL, (char *)d.ptr + 500, d.ptr, 100, &e));
    ok(api->copy(dev, NULL, h, d.ptr, N, &e));
    ok(api->sync(dev, NULL, &e));
    for (int i = 0; i < N; i++) {
        int from = i >= 500 && i < 600 ? i - 500 : i;
        assert_int_equal(h[i], from < 10 ? 0xab : (unsigned char)(from * 7));
    }
    ok(api->copy(dev, NULL, NULL, NULL, 0, &e));
    fails(api->copy(dev, NULL, d.ptr, NULL, 1, &e), ERR_BUG, "src is NULL");
    fails(api->fill(dev, NULL, NULL, 0, 1, &e), ERR_BUG, "dst is NULL");
    api->free(dev, &d);
    api->free(dev, &pinned);
    api->free(dev, &host);
    assert_null(d.ptr);
    api->free(dev, &d); /* zeroed: no effect */
}

static void streams_wait_for_events(void **state)
{
    (void)state;
    struct err e;
    struct stream *a = NULL, *b = NULL;
    struct event *ev = NULL;
    struct buf d = {0}, p = {0};
    ok(api->alloc(dev, MEM_DEVICE, N, &d, &e));
    ok(api->alloc(dev, MEM_PINNED, 2 * N, &p, &e));
    ok(api->stream_open(dev, &a, &e));
    ok(api->stream_open(dev, &b, &e));
    ok(api->event_open(dev, &ev, &e));
    unsigned char *from = p.ptr, *to = from + N;
    memset(from, 5, N);
    memset(to, 0, N);
    ok(api->copy(dev, a, d.ptr, from, N, &e));
    ok(api->event_record(dev, ev, a, &e));
    ok(api->stream_wait(dev, b, ev, &e));
    ok(api->copy(dev, b, to, d.ptr, N, &e));
    ok(api->event_record(dev, ev, b, &e));
    ok(api->event_sync(dev, ev, &e));
    for (int i = 0; i < N; i++)
        assert_int_equal(to[i], 5);
    fails(api->event_record(dev, NULL, a, &e), ERR_BUG, "event is NULL");
    fails(api->event_sync(dev, NULL, &e), ERR_BUG, "event is NULL");
    fails(api->stream_wait(dev, a, NULL, &e), ERR_BUG, "event is NULL");
    api->event_close(dev, ev);
    api->stream_close(dev, a);
    api->stream_close(dev, b);
    api->free(dev, &d);
    api->free(dev, &p);
}

static void too_little_memory_names_need_rest_and_knob(void **state)
{
    (void)state;
    struct err e;
    struct buf a = {0}, b = {0};
    struct ops *capped;
    size_t left, total;
    const struct ops_options opt = {.vram_bytes = 8 << 20};
    ok(ops_open("cudahost", &opt, &capped, &e));
    struct device *c = capped->dev;
    ok(c->api->memory(c, &left, &total, &e));
    assert_true(left == 8 << 20 && total == 8 << 20);
    ok(c->api->alloc(c, MEM_DEVICE, 5 << 20, &a, &e));
    ok(c->api->memory(c, &left, &total, &e));
    assert_true(left == 3 << 20);
    fails(c->api->alloc(c, MEM_DEVICE, 4 << 20, &b, &e), ERR_NOMEM,
          "cannot get 4.0 MiB of memory on GPU 0: ");
    assert_non_null(strstr(e.msg, "3.0 of 8.0 MiB left of the limit that --vram sets"));
    assert_non_null(strstr(e.msg, "raise --vram, lower --ctx or --sequences"));
    c->api->free(c, &a);
    ok(c->api->alloc(c, MEM_DEVICE, 8 << 20, &b, &e));
    c->api->free(c, &b);
    ops_close(capped);
    ok(api->memory(dev, &left, &total, &e));
    fails(api->alloc(dev, MEM_DEVICE, total + 1, &b, &e), ERR_NOMEM, "free; lower --ctx");
    assert_null(strstr(e.msg, "--vram"));
    ok(api->alloc(dev, MEM_DEVICE, N, &b, &e)); /* the failure is not reported again */
    api->free(dev, &b);
}

static void a_device_that_is_not_there_is_an_error(void **state)
{
    (void)state;
    struct err e;
    struct ops *none;
    const struct ops_options opt = {.device = 7};
    fails(ops_open("cudahost", &opt, &none, &e), ERR_NODEV, "no GPU 7: there is 1, counted from 0");
}

/* The message names both versions and both ways out. */
static void a_driver_older_than_the_build_is_named(void **state)
{
    (void)state;
    struct err e;
    struct ops *none;
    cushim_driver(12040);
    fails(ops_open("cudahost", NULL, &none, &e), ERR_NODEV, "supports CUDA 12.4");
    assert_non_null(strstr(e.msg, "built with CUDA 13."));
    assert_non_null(strstr(e.msg, "install driver 580 or newer, or build with a CUDA 12 toolkit"));
    cushim_driver(11080);
    fails(ops_open("cudahost", NULL, &none, &e), ERR_NODEV, "build with a CUDA 11 toolkit");
    cushim_driver(0);
    fails(ops_open("cudahost", NULL, &none, &e), ERR_NODEV, "no CUDA driver is installed");
    cushim_driver(13010); /* newer than the build */
    ok(ops_open("cudahost", NULL, &none, &e));
    ops_close(none);
    cushim_driver(13000);
}

static void a_gpu_without_machine_code_is_named_when_opened(void **state)
{
    (void)state;
    struct err e;
    struct ops *none;
    cushim_fail_call("cudaFuncGetAttributes", 1);
    fails(ops_open("cudahost", NULL, &none, &e), ERR_NODEV, "the GPU is sm_90 and this program");
    assert_non_null(strstr(e.msg, "build with -DMAS_CUDA_ARCHS=90"));
    cushim_fail_call("", 0);
}

/* y += x on the device, recorded and replayed. */
static void a_recording_runs_again_on_new_data(void **state)
{
    (void)state;
    struct err e;
    struct buf x = {0}, y = {0};
    float host[4] = {1, 2, 3, 4}, got[4];
    ok(api->alloc(dev, MEM_DEVICE, sizeof host, &x, &e));
    ok(api->alloc(dev, MEM_DEVICE, sizeof host, &y, &e));
    ok(api->copy(dev, NULL, x.ptr, host, sizeof host, &e));
    ok(api->fill(dev, NULL, y.ptr, 0, sizeof host, &e));
    const struct add_args add = {.x = x.ptr, .y = y.ptr, .n_row = 1, .n = 4};
    assert_int_equal(ops->replay(ops, NULL, 5, &e), 0);
    ok(ops->record_begin(ops, NULL, &e));
    fails(ops->record_begin(ops, NULL, &e), ERR_BUG, "under way");
    ok(ops->add(ops, NULL, &add, &e));
    ok(ops->record_end(ops, NULL, 5, &e));
    fails(ops->record_end(ops, NULL, 5, &e), ERR_BUG, "no recording");
    for (int i = 0; i < 3; i++)
        assert_int_equal(ops->replay(ops, NULL, 5, &e), 1);
    ok(api->copy(dev, NULL, got, y.ptr, sizeof got, &e));
    ok(api->sync(dev, NULL, &e));
    for (int i = 0; i < 4; i++)
        assert_true(got[i] == 3 * host[i]);
    host[0] = 100;
    ok(api->copy(dev, NULL, x.ptr, host, sizeof host, &e));
    assert_int_equal(ops->replay(ops, NULL, 5, &e), 1);
    ok(api->copy(dev, NULL, got, y.ptr, sizeof got, &e));
    ok(api->sync(dev, NULL, &e));
    assert_true(got[0] == 103);
    /* abandoned: no recording is kept */
    ok(ops->record_begin(ops, NULL, &e));
    ok(ops->add(ops, NULL, &add, &e));
    ok(ops->record_end(ops, NULL, 0, &e));
    assert_int_equal(ops->replay(ops, NULL, 0, &e), 0);
    api->free(dev, &x);
    api->free(dev, &y);
}

struct times {
    struct event *start, *end;
};

static struct times times_open(void)
{
    struct err e;
    struct times t = {0};
    ok(api->timer_open(dev, &t.start, &e));
    ok(api->timer_open(dev, &t.end, &e));
    return t;
}

static void times_close(const struct times *t)
{
    api->event_close(dev, t->start);
    api->event_close(dev, t->end);
}

static void nap(void *user)
{
    const struct timespec two_ms = {0, 2000000};
    (void)user;
    nanosleep(&two_ms, NULL);
}

static void timers_measure_what_lies_between(void **state)
{
    (void)state;
    struct err e;
    struct event *plain = NULL;
    struct stream *s = NULL;
    const struct times t = times_open();
    double seconds = -1, back = -1;
    ok(api->stream_open(dev, &s, &e));
    ok(api->event_open(dev, &plain, &e));
    ok(api->event_record(dev, t.start, s, &e));
    ok(api->host_call(dev, s, nap, NULL, &e));
    ok(api->event_record(dev, t.end, s, &e));
    ok(api->event_record(dev, plain, s, &e));
    fails(api->elapsed(dev, t.start, t.end, &seconds, &e), ERR_IO, "cudaEventElapsedTime");
    ok(api->event_sync(dev, t.end, &e));
    ok(api->elapsed(dev, t.start, t.end, &seconds, &e));
    ok(api->elapsed(dev, t.end, t.start, &back, &e));
    assert_true(seconds >= 2e-3 && seconds < 10 && back == -seconds);
    ok(api->sync(dev, s, &e));
    cushim_quiet(1);
    fails(api->elapsed(dev, t.start, plain, &seconds, &e), ERR_BUG, "cudaEventElapsedTime");
    cushim_quiet(0);
    fails(api->elapsed(dev, NULL, t.end, &seconds, &e), ERR_BUG, "first timer is NULL");
    fails(api->elapsed(dev, t.start, NULL, &seconds, &e), ERR_BUG, "second timer is NULL");
    times_close(&t);
    api->event_close(dev, plain);
    api->stream_close(dev, s);
}

/* Timers inside a recording tell the times of the last replay. */
static void timers_of_a_recording_tell_each_replay(void **state)
{
    (void)state;
    struct err e;
    struct buf x = {0};
    const struct times t = times_open(), around = times_open();
    double first = -1, second = -1, from = -1, to = -1;
    ok(api->alloc(dev, MEM_DEVICE, 64, &x, &e));
    ok(api->fill(dev, NULL, x.ptr, 0, 64, &e));
    const struct add_args add = {.x = x.ptr, .y = (float *)x.ptr + 8, .n_row = 1, .n = 4};
    ok(ops->record_begin(ops, NULL, &e));
    ok(api->event_record(dev, t.start, NULL, &e));
    ok(ops->add(ops, NULL, &add, &e));
    ok(api->event_record(dev, t.end, NULL, &e));
    ok(ops->record_end(ops, NULL, 7, &e));
    assert_int_equal(ops->replay(ops, NULL, 7, &e), 1);
    ok(api->sync(dev, NULL, &e));
    ok(api->elapsed(dev, t.start, t.end, &first, &e));
    assert_true(first >= 0);
    ok(api->event_record(dev, around.start, NULL, &e));
    assert_int_equal(ops->replay(ops, NULL, 7, &e), 1);
    ok(api->event_record(dev, around.end, NULL, &e));
    ok(api->sync(dev, NULL, &e));
    ok(api->elapsed(dev, around.start, t.start, &from, &e));
    ok(api->elapsed(dev, t.start, t.end, &second, &e));
    ok(api->elapsed(dev, t.end, around.end, &to, &e));
    assert_true(from >= 0 && second > 0 && to >= 0);
    times_close(&t);
    times_close(&around);
    api->free(dev, &x);
}

static void the_recording_unused_longest_is_forgotten(void **state)
{
    (void)state;
    struct err e;
    struct buf x = {0};
    struct cushim_objects live;
    ok(api->alloc(dev, MEM_DEVICE, 64, &x, &e));
    ok(api->fill(dev, NULL, x.ptr, 0, 64, &e));
    const struct add_args add = {.x = x.ptr, .y = (float *)x.ptr + 8, .n_row = 1, .n = 4};
    for (uint64_t key = 1; key <= 65; key++) {
        ok(ops->record_begin(ops, NULL, &e));
        ok(ops->add(ops, NULL, &add, &e));
        ok(ops->record_end(ops, NULL, key, &e));
        assert_int_equal(ops->replay(ops, NULL, 1, &e), 1); /* 1 stays in use */
    }
    cushim_live(&live);
    assert_int_equal(live.graphs, 64);
    assert_int_equal(ops->replay(ops, NULL, 2, &e), 0);
    assert_int_equal(ops->replay(ops, NULL, 3, &e), 1);
    ok(ops->record_begin(ops, NULL, &e)); /* a known key: replaces its old recording */
    ok(ops->add(ops, NULL, &add, &e));
    ok(ops->record_end(ops, NULL, 65, &e));
    cushim_live(&live);
    assert_int_equal(live.graphs, 64);
    ok(api->sync(dev, NULL, &e));
    api->free(dev, &x);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_device_names_itself),
        T(copies_go_in_every_direction_in_order),
        T(streams_wait_for_events),
        T(too_little_memory_names_need_rest_and_knob),
        T(a_device_that_is_not_there_is_an_error),
        T(a_driver_older_than_the_build_is_named),
        T(a_gpu_without_machine_code_is_named_when_opened),
        T(a_recording_runs_again_on_new_data),
        T(timers_measure_what_lies_between),
        T(timers_of_a_recording_tell_each_replay),
        T(the_recording_unused_longest_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
