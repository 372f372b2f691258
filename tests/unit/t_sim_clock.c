/* The clock of a simulated device (kernels/sim.h): parallel engines, ordered streams, events,
 * memory. */
#include "sim.h"
#include "test.h"

static struct sim *sim;
static struct ops *ops, *cpu;
static struct device *dev;
static const struct dev_api *api;
static struct buf on_card, pinned;

static int set_up_with(struct sim_config c)
{
    struct err e;
    ok(sim_open(&c, &sim, &e));
    const struct ops_options opt = {.sim = sim};
    ok(ops_open("sim", &opt, &ops, &e));
    ok(ops_open_beside(ops, &opt, &cpu, &e));
    dev = ops->dev;
    api = dev->api;
    ok(api->alloc(dev, MEM_DEVICE, 1000, &on_card, &e));
    ok(api->alloc(dev, MEM_PINNED, 1000, &pinned, &e));
    return 0;
}

/* A card of 1,000 bytes/s, a link of 100, a CPU of 10, a tenth of a second for a hop. */
static int set_up(void **state)
{
    (void)state;
    return set_up_with(
        (struct sim_config){.card = {{.vram_bytes = 1 << 20, .vram = 1000, .link = 100}},
                            .n_card = 1,
                            .host = 10,
                            .hop_s = 0.1,
                            .n_span = 64});
}

static int tear_down(void **state)
{
    size_t free_bytes, total;
    struct err e;
    (void)state;
    api->free(dev, &on_card);
    api->free(dev, &pinned);
    ok(api->memory(dev, &free_bytes, &total, &e));
    assert_int_equal(free_bytes, total);
    ops_close(cpu);
    ops_close(ops);
    sim_close(sim);
    return 0;
}

static void at(double seconds)
{
    assert_float_equal(sim_now(sim), seconds, 1e-9);
}

static void up(struct stream *s, size_t bytes)
{
    struct err e;
    ok(api->copy(dev, s, on_card.ptr, pinned.ptr, bytes, &e));
}

static void down(struct stream *s, size_t bytes)
{
    struct err e;
    ok(api->copy(dev, s, pinned.ptr, on_card.ptr, bytes, &e));
}

static void fill(struct stream *s, size_t bytes)
{
    struct err e;
    ok(api->fill(dev, s, on_card.ptr, 0, bytes, &e));
}

static void calls_return_at_once_and_waiting_takes_the_time(void **state)
{
    struct err e;
    (void)state;
    at(0);
    up(NULL, 100);
    at(0);
    ok(api->sync(dev, NULL, &e)); /* a hop, a second, and a hop for the result */
    at(1.2);
    ok(api->sync(dev, NULL, &e));
    at(1.2);
}

static void a_stream_keeps_its_order_and_engines_work_together(void **state)
{
    struct err e;
    struct stream *other;
    (void)state;
    ok(api->stream_open(dev, &other, &e));
    up(NULL, 100);
    fill(NULL, 500);  /* after the copy: 1.1 to 1.6 */
    down(other, 100); /* beside it: 0.1 to 1.1 */
    fill(other, 500); /* the device is free at 1.1: to 1.6, then the other one to 2.1 */
    ok(api->sync(dev, NULL, &e));
    ok(api->sync(dev, other, &e));
    at(2.2);
    assert_float_equal(sim_busy(sim, 0, SIM_DEVICE), 1, 1e-9);
    assert_float_equal(sim_busy(sim, 0, SIM_UP), 1, 1e-9);
    assert_float_equal(sim_busy(sim, 0, SIM_DOWN), 1, 1e-9);
    api->stream_close(dev, other);
}

static void what_is_ready_first_comes_first_on_an_engine(void **state)
{
    struct err e;
    struct stream *other;
    const struct sim_span *span;
    (void)state;
    ok(api->stream_open(dev, &other, &e));
    for (int i = 0; i < 5; i++)
        up(other, 100);
    up(NULL, 10); /* waits for one of the five, not for all */
    ok(api->sync(dev, NULL, &e));
    assert_int_equal(sim_trace(sim, &span), 2);
    assert_float_equal(span[1].bytes, 10, 0);
    at(1.3);
    ok(api->sync(dev, other, &e));
    at(5.3);
    api->stream_close(dev, other);
}

static void events_order_streams(void **state)
{
    struct err e;
    struct stream *other;
    struct event *ev;
    bool is_done;
    (void)state;
    ok(api->stream_open(dev, &other, &e));
    ok(api->event_open(dev, &ev, &e));
    ok(api->stream_wait(dev, NULL, ev, &e)); /* nothing recorded: does not wait */
    ok(api->event_done(dev, ev, &is_done, &e));
    assert_true(is_done);
    up(other, 100);
    ok(api->event_record(dev, ev, other, &e)); /* at 1.1 */
    ok(api->event_done(dev, ev, &is_done, &e));
    assert_false(is_done);
    fill(NULL, 100); /* 0.1 to 0.2 */
    ok(api->stream_wait(dev, NULL, ev, &e));
    fill(NULL, 100);                           /* 1.1 to 1.2 */
    up(other, 300);                            /* 1.1 to 4.1 */
    ok(api->event_record(dev, ev, other, &e)); /* a later record does not affect the wait */
    ok(api->sync(dev, NULL, &e));
    at(1.3);
    ok(api->event_sync(dev, ev, &e));
    at(4.2);
    ok(api->event_done(dev, ev, &is_done, &e));
    assert_true(is_done);
    api->event_close(dev, ev);
    api->stream_close(dev, other);
}

static void the_cpu_holds_up_its_caller(void **state)
{
    struct err e;
    (void)state;
    const struct tensor table = {.fmt = FMT_F32, .n_dim = 2, .dim = {4, 5, 1, 1}, .row_bytes = 20};
    const struct embed_args a = {.table = &table, .n_row = 1};
    up(NULL, 100);
    ok(cpu->embed(cpu, NULL, &a, &e)); /* a row of 20 bytes at 10 bytes/s */
    at(2);
    ok(api->sync(dev, NULL, &e)); /* done long before; the result is read now */
    at(2);
    assert_float_equal(sim_busy(sim, 0, SIM_CPU), 2, 1e-9);
}

/* The other streams keep the sim's rate, and the CPU has the memory that the slow copy leaves. */
static void a_limited_stream_copies_slower(void **state)
{
    struct err e;
    struct stream *slow;
    (void)state;
    ok(api->stream_open(dev, &slow, &e));
    api->stream_limit(dev, slow, 20);
    up(slow, 100);
    ok(api->sync(dev, slow, &e));
    at(0.1 + 5 + 0.1);
    up(NULL, 100);
    ok(api->sync(dev, NULL, &e));
    at(5.2 + 0.1 + 1 + 0.1);
    api->stream_limit(dev, slow, 1000); /* faster than the link: its rate holds */
    down(slow, 100);
    ok(api->sync(dev, slow, &e));
    at(6.4 + 0.1 + 1 + 0.1);
    api->stream_limit(dev, slow, 0);
    up(slow, 50);
    ok(api->sync(dev, slow, &e));
    at(7.6 + 0.1 + 0.5 + 0.1);
    api->stream_close(dev, slow);
}

static void the_cpu_has_the_memory_that_a_limited_copy_leaves(void **state)
{
    struct err e;
    struct stream *slow;
    (void)state;
    const struct tensor table = {.fmt = FMT_F32, .n_dim = 2, .dim = {4, 5, 1, 1}, .row_bytes = 20};
    const struct embed_args a = {.table = &table, .n_row = 1};
    tear_down(state);
    set_up_with((struct sim_config){.card = {{.vram_bytes = 1 << 20, .vram = 1000, .link = 100}},
                                    .n_card = 1,
                                    .host = 10,
                                    .dram = 12,
                                    .hop_s = 0.1});
    ok(api->stream_open(dev, &slow, &e));
    api->stream_limit(dev, slow, 4);
    up(slow, 100); /* 25 s */
    ok(api->sync(dev, NULL, &e));
    ok(cpu->embed(cpu, NULL, &a, &e)); /* 0.1 s at 10 bytes/s, then 19 bytes at 12 - 4 */
    at(0.1 + 19.0 / 8);
    ok(api->sync(dev, slow, &e));
    api->stream_close(dev, slow);
}

static void the_cpu_takes_the_longer_of_memory_and_arithmetic(void **state)
{
    struct err e;
    (void)state;
    const struct tensor table = {.fmt = FMT_F32, .n_dim = 2, .dim = {4, 5, 1, 1}, .row_bytes = 20};
    const struct embed_args a = {.table = &table, .n_row = 1}; /* 20 bytes */
    tear_down(state);
    set_up_with((struct sim_config){.card = {{.vram_bytes = 1 << 20, .vram = 1000, .link = 100}},
                                    .n_card = 1,
                                    .host = 10,
                                    .host_row = 4,
                                    .hop_s = 0.1});
    ok(cpu->embed(cpu, NULL, &a, &e));
    at(5);
}

static void memory_is_counted_and_what_comes_back_is_zero(void **state)
{
    struct err e;
    struct buf b = {0};
    (void)state;
    fails(api->alloc(dev, MEM_DEVICE, 1 << 20, &b, &e), ERR_NOMEM,
          "no 1048576 bytes left: 1000 of 1048576 are taken");
    ok(api->alloc(dev, MEM_DEVICE, (1 << 20) - 1000, &b, &e));
    api->free(dev, &b);
    memset(pinned.ptr, 7, 1000);
    down(NULL, 999);
    assert_int_equal(((unsigned char *)pinned.ptr)[998], 0);
    assert_int_equal(((unsigned char *)pinned.ptr)[999], 7);
    fails(ops_open("sim", NULL, &ops, &e), ERR_NODEV, "made by the program alone");
}

/* The bytes of the CUDA backend. They hold matmul with both forms of x and a norm of x, 64 sampled
 * rows, and states of attention up to 64 MiB. */
static void a_simulated_card_wants_the_scratch_of_a_real_one(void **state)
{
    (void)state;
    struct ops_limits l = {.max_rows = 64,
                           .max_logit_rows = 64,
                           .max_in = 512,
                           .max_norm = 128,
                           .max_out = 4096,
                           .n_vocab = 4096,
                           .max_kv_len = 256,
                           .n_head = 4,
                           .head_dim = 64};
    assert_int_equal(ops->scratch_bytes(ops, &l), 64 * (3 * 2048 * 8 + 7 * 40 + 8 + 8 + 4));
    l.max_rows = 4096;
    assert_int_equal(ops->scratch_bytes(ops, &l), 4096 * 4 * 2 * (64 + 2) * 4);
    l.max_in = 4096;
    assert_int_equal(ops->scratch_bytes(ops, &l), 4096 * (2 * 16 * 288 + 128 * 4));
    l.max_rows = 512;
    l.n_head = 32;
    l.max_kv_len = 8192;
    assert_int_equal(ops->scratch_bytes(ops, &l), 64 << 20);
    assert_int_equal(cpu->scratch_bytes(cpu, &l), 0);
}

/* ---- two cards ------------------------------------------------------------------------------- */

static struct ops *second;
static struct buf on_second;

/* The second card is half as fast, with half of the memory. peer: bytes/s, 0 = no access. */
static int set_up_two(double peer)
{
    struct err e;
    set_up_with((struct sim_config){.card = {{.vram_bytes = 1 << 20, .vram = 1000, .link = 100},
                                             {.vram_bytes = 1 << 19, .vram = 500, .link = 50}},
                                    .n_card = 2,
                                    .peer = peer,
                                    .host = 10,
                                    .dram = 200,
                                    .hop_s = 0.1,
                                    .n_span = 64});
    ok(ops_open("sim", &(struct ops_options){.sim = sim, .device = 1}, &second, &e));
    ok(second->dev->api->alloc(second->dev, MEM_DEVICE, 1000, &on_second, &e));
    return 0;
}

static int tear_down_two(void **state)
{
    second->dev->api->free(second->dev, &on_second);
    ops_close(second);
    return tear_down(state);
}

static int set_up_pair(void **state)
{
    (void)state;
    return set_up_two(0);
}

static int set_up_peers(void **state)
{
    (void)state;
    return set_up_two(200);
}

static void cards_have_their_own_memory_and_links(void **state)
{
    struct err e;
    size_t left, total;
    int n;
    struct ops *none;
    (void)state;
    ok(ops_devices("sim", &(struct ops_options){.sim = sim}, &n, &e));
    assert_int_equal(n, 2);
    assert_int_equal(second->dev->ordinal, 1);
    ok(api->memory(second->dev, &left, &total, &e));
    assert_int_equal(total, 1 << 19);
    assert_int_equal(left, (1 << 19) - 1000);
    up(NULL, 100); /* 1 s, beside 2 s */
    ok(api->copy(second->dev, NULL, on_second.ptr, pinned.ptr, 100, &e));
    ok(api->sync(dev, NULL, &e));
    at(1.2);
    ok(api->sync(second->dev, NULL, &e));
    at(2.2);
    assert_float_equal(sim_busy(sim, 0, SIM_UP), 1, 1e-9);
    assert_float_equal(sim_busy(sim, 1, SIM_UP), 2, 1e-9);
    /* inside the second card, 500 bytes/s for reading and writing */
    ok(api->copy(second->dev, NULL, on_second.ptr, (char *)on_second.ptr + 500, 100, &e));
    ok(api->sync(second->dev, NULL, &e));
    at(2.2 + 0.1 + 0.4 + 0.1);
    fails(ops_open("sim", &(struct ops_options){.sim = sim, .device = 2}, &none, &e), ERR_NODEV,
          "no simulated GPU 2: there are 2");
}

/* An event of one card holds up a stream of the other: the way through main memory. */
static void an_event_orders_two_cards(void **state)
{
    struct err e;
    struct event *ready;
    (void)state;
    ok(api->event_open(dev, &ready, &e));
    down(NULL, 100); /* 1 s */
    ok(api->event_record(dev, ready, NULL, &e));
    ok(api->stream_wait(second->dev, NULL, ready, &e));
    ok(api->copy(second->dev, NULL, on_second.ptr, pinned.ptr, 100, &e)); /* 2 s */
    ok(api->sync(second->dev, NULL, &e));
    at(0.1 + 1 + 2 + 0.1);
    api->event_close(dev, ready);
}

static void a_peer_copy_takes_the_rate_between_the_cards(void **state)
{
    struct err e;
    bool yes;
    (void)state;
    ok(api->peer(second->dev, dev, &yes, &e));
    assert_true(yes);
    ok(api->peer_copy(second->dev, NULL, on_second.ptr, dev, on_card.ptr, 100, &e));
    ok(api->sync(second->dev, NULL, &e));
    at(0.1 + 0.5 + 0.1);
    const struct sim_span *span;
    assert_int_equal(sim_trace(sim, &span), 1);
    assert_true(span->card == 1 && span->engine == SIM_UP);
    assert_string_equal(span->name, "peer copy");
}

/* Each mistake of a caller that two cards make possible. */
static void pointers_of_another_card_are_refused(void **state)
{
    struct err e;
    bool yes;
    (void)state;
    ok(api->peer(second->dev, dev, &yes, &e));
    assert_false(yes);
    fails(api->peer_copy(second->dev, NULL, on_second.ptr, dev, on_card.ptr, 8, &e), ERR_BUG,
          "no peer access");
    fails(api->copy(second->dev, NULL, on_card.ptr, pinned.ptr, 8, &e), ERR_BUG,
          "dst lies on another simulated card");
    fails(api->copy(second->dev, NULL, pinned.ptr, on_card.ptr, 8, &e), ERR_BUG,
          "src lies on another simulated card");
    tear_down_two(state);
    set_up_two(200);
    fails(api->peer_copy(second->dev, NULL, on_card.ptr, dev, on_card.ptr, 8, &e), ERR_BUG,
          "dst does not lie on its card");
    fails(api->peer_copy(second->dev, NULL, on_second.ptr, dev, on_second.ptr, 8, &e), ERR_BUG,
          "src does not lie on its card");
}

/* While both links copy, the CPU has 155 - 100 - 50 bytes/s. While one of them does, its own 10 are
 * the limit. */
static void the_cpu_has_the_memory_that_both_links_leave(void **state)
{
    struct err e;
    (void)state;
    const struct tensor table = {.fmt = FMT_F32, .n_dim = 2, .dim = {4, 5, 1, 1}, .row_bytes = 20};
    const struct embed_args a = {.table = &table, .n_row = 1}; /* 20 bytes */
    tear_down_two(state);
    set_up_with((struct sim_config){.card = {{.vram_bytes = 1 << 20, .vram = 1000, .link = 100},
                                             {.vram_bytes = 1 << 19, .vram = 500, .link = 50}},
                                    .n_card = 2,
                                    .host = 10,
                                    .dram = 155,
                                    .n_span = 64});
    ok(ops_open("sim", &(struct ops_options){.sim = sim, .device = 1}, &second, &e));
    ok(api->alloc(second->dev, MEM_DEVICE, 1000, &on_second, &e));
    up(NULL, 100);                                                         /* 1 s */
    ok(api->copy(second->dev, NULL, on_second.ptr, pinned.ptr, 1000, &e)); /* 20 s */
    ok(cpu->embed(cpu, NULL, &a, &e)); /* 5 bytes/s for a second, then 10 */
    at(1 + 15.0 / 10);
    ok(api->sync(dev, NULL, &e));
    ok(api->sync(second->dev, NULL, &e));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(calls_return_at_once_and_waiting_takes_the_time, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_stream_keeps_its_order_and_engines_work_together, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_is_ready_first_comes_first_on_an_engine, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(events_order_streams, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_simulated_card_wants_the_scratch_of_a_real_one, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_cpu_holds_up_its_caller, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_limited_stream_copies_slower, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_cpu_has_the_memory_that_a_limited_copy_leaves, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_cpu_takes_the_longer_of_memory_and_arithmetic, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(memory_is_counted_and_what_comes_back_is_zero, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(cards_have_their_own_memory_and_links, set_up_pair,
                                        tear_down_two),
        cmocka_unit_test_setup_teardown(an_event_orders_two_cards, set_up_pair, tear_down_two),
        cmocka_unit_test_setup_teardown(a_peer_copy_takes_the_rate_between_the_cards, set_up_peers,
                                        tear_down_two),
        cmocka_unit_test_setup_teardown(pointers_of_another_card_are_refused, set_up_pair,
                                        tear_down_two),
        cmocka_unit_test_setup_teardown(the_cpu_has_the_memory_that_both_links_leave, set_up_pair,
                                        tear_down_two),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
