/* Streaming through a ring on the CPU's device, which copies at once: handshake of the reader,
 * orders, errors. (On a device that copies late: t_cudahost_stage.) */
#include "stage.h"

#include "clock.h"
#include "log.h"
#include "streamed.h"
#include "test.h"

static struct ops *cpu;

static int set_up(void **state)
{
    struct err e;
    (void)state;
    ok(ops_open("ref", &(struct ops_options){.n_threads = 1}, &cpu, &e));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    ops_close(cpu);
    return 0;
}

static void every_ring_and_piece_gives_the_same_bytes(void **state)
{
    (void)state;
    struct err e;
    struct streamed s;
    char what[128];
    for (int n = 1; n <= STREAMED_ITEMS; n += n < 3 ? 1 : 5)
        for (int v = 0; v < 12; v++) {
            streamed_make(&s, n, (uint64_t)(100 * n + v));
            struct stage_config c = streamed_config(&s, cpu->dev);
            c.ring_bytes += (uint64_t)v * s.total / 6; /* up to twice the bytes of all items */
            c.piece_bytes = (uint64_t)256 << v % 4;
            c.pinned_bytes = (uint64_t)(v % 5) * c.piece_bytes;
            c.keep_pinned = v % 2;
            s.slow = v % 3 == 0;
            snprintf(what, sizeof what, "%d items, variant %d", n, v);
            ok(streamed_try(&s, &c, 4, what, &e));
            ok(streamed_held(&s, &c, what, &e));
        }
}

static void a_hold_has_the_order_of_items(void **state)
{
    (void)state;
    struct err e;
    struct streamed s;
    struct stage *st;
    void *base;
    streamed_make(&s, 3, 2);
    struct stage_config c = streamed_config(&s, cpu->dev);
    for (int v = 0; v < 3; v++) {
        ok(stage_open(&c, &st, &e));
        stage_hold(st, true);
        ok(stage_acquire(st, 0, &base, &e)); /* nothing was queued: at once */
        if (v == 0)
            fails(stage_acquire(st, 1, &base, &e), ERR_BUG, "in a hold; next is 0, and the one");
        else if (v == 1)
            fails(stage_release(st, 1, &e), ERR_BUG, "item 1 was released in a hold");
        else
            ok(stage_release(st, 0, &e));
        if (v == 2)
            fails(stage_acquire(st, 2, &base, &e), ERR_BUG, "in a hold; next is 1");
        stage_close(st);
    }
}

static void the_stage_counts_what_it_does(void **state)
{
    (void)state;
    struct err e;
    struct streamed s;
    struct stage *st;
    struct stage_stats is;
    uint64_t pass = 0;
    streamed_make(&s, 5, 1);
    for (int i = 0; i < 5; i++)
        pass += s.item[i].bytes;
    for (int keep = 0; keep <= 1; keep++) {
        struct stage_config c = streamed_config(&s, cpu->dev);
        c.keep_pinned = keep;
        ok(stage_open(&c, &st, &e));
        stage_stats(st, &is);
        assert_true(is.kept == keep && is.reading && is.pinned && is.passes == 0);
        ok(streamed_run(&s, cpu->dev, st, 3, "counted", &e));
        stage_stats(st, &is);
        assert_int_equal(is.passes, 3);
        assert_int_equal(is.pass_bytes, pass);
        assert_true(is.copied_bytes >= 3 * pass && is.copied_bytes <= 4 * pass);
        assert_true(keep ? is.read_bytes == pass : is.read_bytes >= 3 * pass);
        assert_true(is.reading == !keep);
        stage_close(st);
    }
}

static void items_come_in_order_and_one_at_a_time(void **state)
{
    (void)state;
    struct err e;
    struct streamed s;
    struct stage *st;
    void *base;
    streamed_make(&s, 3, 2);
    struct stage_config c = streamed_config(&s, cpu->dev);
    ok(stage_open(&c, &st, &e));
    fails(stage_acquire(st, 1, &base, &e), ERR_BUG, "item 1 was asked for; next is 0");
    fails(stage_acquire(st, 0, &base, &e), ERR_BUG, "item 1 was asked for"); /* dead */
    stage_close(st);
    ok(stage_open(&c, &st, &e));
    ok(stage_acquire(st, 0, &base, &e));
    fails(stage_acquire(st, 1, &base, &e), ERR_BUG, "the one before has not been released");
    stage_close(st);
    ok(stage_open(&c, &st, &e));
    fails(stage_release(st, 0, &e), ERR_BUG, "has not been acquired");
    fails(stage_prefetch(st, &e), ERR_BUG, "has not been acquired");
    stage_close(st);
    stage_close(NULL);
}

static void what_cannot_be_streamed_is_refused(void **state)
{
    (void)state;
    struct err e;
    struct streamed s;
    struct stage *st;
    streamed_make(&s, 3, 3);
    struct stage_config c = streamed_config(&s, cpu->dev);
    c.ring_bytes--;
    fails(stage_open(&c, &st, &e), ERR_USAGE, "raise --vram");
    c = streamed_config(&s, cpu->dev);
    s.range[1][0].bytes = s.item[1].bytes + 1;
    fails(stage_open(&c, &st, &e), ERR_BUG, "range 0 of item 1");
    s.item[1] = (struct stage_item){0};
    fails(stage_open(&c, &st, &e), ERR_BUG, "item 1 is empty");
    c.piece_bytes = 100;
    fails(stage_open(&c, &st, &e), ERR_BUG, "pieces of 100 bytes");
}

static void a_failed_read_is_said_once_its_piece_is_needed(void **state)
{
    (void)state;
    struct err e;
    struct streamed s;
    for (int keep = 0; keep <= 1; keep++)
        for (long n = 1; n <= 40; n++) {
            streamed_make(&s, 4, 4);
            struct stage_config c = streamed_config(&s, cpu->dev);
            c.keep_pinned = keep;
            s.slow = n % 4 == 0;
            s.fail_at = n;
            int rc = streamed_try(&s, &c, 4, "a failing file", &e);
            if (rc != ERR_IO && !(keep && rc == 0 && s.reads < n)) /* read once: fewer reads */
                fail_msg("read %ld failed: %d \"%s\"", n, rc, e.msg);
            if (rc == ERR_IO)
                assert_non_null(strstr(e.msg, "cannot read byte"));
        }
}

/* ---- a system with a limit on pinned memory -------------------------------------------------- */

static size_t pin_limit;

static int alloc_limited(struct device *d, enum mem_space space, size_t bytes, struct buf *out,
                         struct err *e)
{
    if (space == MEM_PINNED && bytes > pin_limit)
        FAIL(e, ERR_NOMEM, "cannot pin %zu bytes", bytes);
    return cpu->dev->api->alloc(d, space, bytes, out, e);
}

static void where_pinning_is_refused_less_is_pinned(void **state)
{
    (void)state;
    struct err e;
    struct streamed s;
    struct stage *st;
    struct stage_stats is;
    struct dev_api api = *cpu->dev->api;
    struct device dev = *cpu->dev;
    api.alloc = alloc_limited;
    dev.api = &api;
    streamed_make(&s, 6, 5);
    struct stage_config c = streamed_config(&s, &dev);
    c.keep_pinned = true;
    pin_limit = 2500;
    ok(stage_open(&c, &st, &e));
    stage_stats(st, &is);
    assert_true(!is.kept && is.pinned && is.pinned_bytes <= 2500 && is.pinned_bytes > 1000);
    ok(streamed_run(&s, cpu->dev, st, 3, "a small ring", &e));
    stage_close(st);
    pin_limit = 0;
    ok(stage_open(&c, &st, &e));
    stage_stats(st, &is);
    assert_true(!is.kept && !is.pinned);
    ok(streamed_run(&s, cpu->dev, st, 3, "pageable", &e));
    stage_close(st);
}

static void a_slower_link_takes_its_time(void **state)
{
    (void)state;
    struct err e;
    struct streamed s;
    streamed_make(&s, 4, 6);
    struct stage_config c = streamed_config(&s, cpu->dev);
    c.link_limit = (double)s.total * 50; /* 20 ms a pass */
    int64_t t0 = clock_ns();
    ok(streamed_try(&s, &c, 3, "slow", &e));
    double seconds = (double)(clock_ns() - t0) * 1e-9, bytes = 0;
    for (int i = 0; i < 4; i++)
        bytes += 3 * (double)s.item[i].bytes;
    assert_true(seconds >= bytes / c.link_limit);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    log_set_level(LOG_ERROR); /* a warning of one run would appear hundreds of times */
    const struct CMUnitTest tests[] = {
        T(every_ring_and_piece_gives_the_same_bytes),
        T(the_stage_counts_what_it_does),
        T(a_hold_has_the_order_of_items),
        T(items_come_in_order_and_one_at_a_time),
        T(what_cannot_be_streamed_is_refused),
        T(a_failed_read_is_said_once_its_piece_is_needed),
        T(where_pinning_is_refused_less_is_pinned),
        T(a_slower_link_takes_its_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
