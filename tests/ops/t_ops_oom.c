/* Opening a backend, and the device's own allocations, without memory. */
#include "oom.h"
#include "ops.h"
#include "test.h"

static int open_and_use(void *kind)
{
    struct err e = {0};
    struct ops *ops = NULL;
    struct buf b = {0};
    struct stream *s = NULL;
    struct event *ev = NULL;
    const struct ops_options opt = {.n_threads = 1};
    int rc = ops_open(kind, &opt, &ops, &e);
    if (rc < 0)
        return rc;
    struct device *d = ops->dev;
    rc = d->api->alloc(d, MEM_DEVICE, 5 << 20, &b, &e);
    if (rc == 0)
        rc = d->api->stream_open(d, &s, &e);
    if (rc == 0)
        rc = d->api->event_open(d, &ev, &e);
    if (rc == 0)
        assert_true(b.bytes == 5 << 20 && (uintptr_t)b.ptr % 256 == 0);
    if (ev)
        d->api->event_close(d, ev);
    if (s)
        d->api->stream_close(d, s);
    d->api->free(d, &b);
    assert_null(b.ptr);
    ops_close(ops);
    return rc;
}

static void a_backend_reports_lack_of_memory_and_leaks_nothing(void **state)
{
    (void)state;
    char cpu[] = "cpu", ref[] = "ref";
    assert_true(oom_loop(open_and_use, cpu, false) >= 5);
    assert_true(oom_loop(open_and_use, cpu, true) >= 5);
    assert_true(oom_loop(open_and_use, ref, false) >= 4);
}

/* An op of a forward step allocates nothing, whatever its shape. */
static void an_op_allocates_nothing(void **state)
{
    (void)state;
    struct err e = {0};
    struct ops *ops = NULL;
    struct buf scratch;
    const struct ops_options opt = {.n_threads = 2};
    const struct ops_limits limits = {.max_rows = 9,
                                      .max_in = 256,
                                      .max_out = 32,
                                      .n_vocab = 300,
                                      .max_kv_len = 1,
                                      .n_head = 1,
                                      .head_dim = 1};
    static const float x[9 * 256] = {1}, w[32 * 256] = {1};
    static float y[9 * 32];
    int32_t id[7];
    float lp[7];
    struct sample_row p[7];
    for (int r = 0; r < 7; r++)
        p[r] = (struct sample_row){.temperature = 1, .top_p = 0.5f, .top_k = 9, .mask = -1};
    const struct tensor t = {.fmt = FMT_F32,
                             .n_dim = 2,
                             .dim = {32, 256, 1, 1},
                             .row_bytes = 1024,
                             .data = (void *)(uintptr_t)w};
    const struct matmul_args a = {
        .x = x, .n_row = 9, .n_in = 256, .n_out = 1, .out = {{&t, NULL, y}}};
    const struct sample_args s = {
        .logits = x, .n_row = 7, .n_vocab = 300, .p = p, .id = id, .lp = lp};
    ok(ops_open("cpu", &opt, &ops, &e));
    size_t bytes = ops->scratch_bytes(ops, &limits);
    ok(ops->dev->api->alloc(ops->dev, MEM_DEVICE, bytes, &scratch, &e));
    ops->bind_scratch(ops, scratch.ptr, bytes);
    oom_at(1, true);
    int rc = ops->matmul(ops, NULL, &a, NULL), rc_sample = ops->sample(ops, NULL, &s, NULL);
    long seen = oom_count();
    oom_at(0, false);
    assert_int_equal(rc, 0);
    assert_int_equal(rc_sample, 0);
    assert_int_equal(seen, 0);
    ops->dev->api->free(ops->dev, &scratch);
    ops_close(ops);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_backend_reports_lack_of_memory_and_leaks_nothing),
        cmocka_unit_test(an_op_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
