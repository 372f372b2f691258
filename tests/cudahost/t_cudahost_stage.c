/*
 * Streaming to a device whose work runs when it is queued, or as late as allowed. Every copy waits
 * for the use of the bytes that it overwrites, and every use for its copy. A failed call leaves an
 * error and nothing else.
 */
#include "cushim_test.h"
#include "log.h"
#include "stage.h"
#include "streamed.h"
#include "test.h"

static struct ops *gpu;

static int set_up(void **state)
{
    struct err e;
    (void)state;
    ok(ops_open("cudahost", NULL, &gpu, &e));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    cushim_lazy(0);
    ops_close(gpu);
    assert_string_equal(cushim_findings(), "");
    assert_int_equal(cushim_live(NULL), 0);
    return 0;
}

static void every_ring_gives_the_same_bytes_however_late(void **state)
{
    (void)state;
    struct err e;
    struct streamed s;
    char what[128];
    for (int n = 1; n <= STREAMED_ITEMS; n += n < 3 ? 1 : 5)
        for (int v = 0; v < 24; v++) {
            streamed_make(&s, n, (uint64_t)(1000 * n + v));
            struct stage_config c = streamed_config(&s, gpu->dev);
            c.ring_bytes += (uint64_t)v * s.total / 12;
            c.piece_bytes = (uint64_t)256 << v % 4;
            c.pinned_bytes = (uint64_t)(v % 5) * c.piece_bytes;
            c.keep_pinned = v % 4 == 3;
            s.slow = v % 3 == 0;
            cushim_lazy(v % 2);
            snprintf(what, sizeof what, "%d items, variant %d", n, v);
            ok(streamed_try(&s, &c, 3, what, &e));
            ok(streamed_held(&s, &c, what, &e));
        }
}

/* The n-th call of opening, a few passes and closing fails. False: there are fewer calls. */
static bool fail_call(long n, bool once, bool keep, bool hold)
{
    struct streamed s;
    struct err e = {0};
    streamed_make(&s, 3, 7);
    struct stage_config c = streamed_config(&s, gpu->dev);
    c.keep_pinned = keep;
    c.piece_bytes = 1024;
    c.pinned_bytes = 3072;
    size_t before = cushim_live(NULL);
    cushim_fail_at(n, once);
    int rc = hold ? streamed_held(&s, &c, "with a failing call", &e)
                  : streamed_try(&s, &c, 3, "with a failing call", &e);
    bool reached = cushim_calls() >= n;
    cushim_fail_at(0, 1);
    if (cushim_live(NULL) != before)
        fail_msg("call %ld: %zu objects are left after \"%s\"", n, cushim_live(NULL) - before,
                 e.msg);
    if (rc < 0 && (!e.msg[0] || !reached))
        fail_msg("call %ld: failed with \"%s\"", n, e.msg);
    cushim_reset();
    return reached;
}

static void a_failing_call_leaves_an_error_and_nothing_else(void **state)
{
    (void)state;
    for (int v = 0; v < 8; v++) {
        long n = 1;
        while (fail_call(n, v % 2, v / 2 % 2, v / 4))
            n++;
        print_message("%ld calls failed, %s, weights %s%s\n", n - 1,
                      v % 2 ? "once" : "from then on", v / 2 % 2 ? "kept" : "read anew",
                      v / 4 ? ", with a hold" : "");
        assert_true(n > 50);
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(every_ring_gives_the_same_bytes_however_late),
        T(a_failing_call_leaves_an_error_and_nothing_else),
    };
    log_set_level(LOG_ERROR); /* a warning of one run would appear hundreds of times */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
