/* The placement function: sizes give a plan, or an error with the knob to turn. */
#include "plan.h"

#include <math.h>

#include "test.h"

static const uint64_t attn[3] = {40, 80, 120}, ffn[3] = {60, 120, 180};

static struct plan_input sizes(void)
{
    return (struct plan_input){.n_layer = 3,
                               .attn_bytes = attn,
                               .ffn_bytes = ffn,
                               .embed_bytes = 400,
                               .output_bytes = 600,
                               .kv_bytes_per_token = 10,
                               .n_ctx = 50,
                               .n_seq = 4,
                               .workspace_bytes = 70,
                               .weights_mapped = true,
                               .n_host = PLAN_ANY};
}

static void everything_lies_on_the_host(void **state)
{
    (void)state;
    struct err e;
    struct plan p;
    struct plan_input in = sizes();
    ok(plan_make(&in, &p, &e));
    for (int i = 0; i < 3; i++)
        assert_true(p.attn[i] == PLAN_HOST && p.ffn[i] == PLAN_HOST);
    assert_true(p.embed == PLAN_HOST && p.output == PLAN_HOST && plan_is_resident(&p));
    assert_int_equal(p.weight_bytes, 1600);
    assert_int_equal(p.kv_tokens, 200);
    assert_int_equal(p.kv_bytes, 2000);
    assert_int_equal(p.total_bytes, 2070); /* mapped weights are not memory of our own */
    assert_true(p.weights_mapped);
    plan_free(&p);
    assert_null(p.attn);
    in.weights_mapped = false;
    ok(plan_make(&in, &p, &e));
    assert_int_equal(p.total_bytes, 3670);
    plan_free(&p);
}

/* Weights are packed if a sixteenth of the memory stays free beside the copy. */
static void weights_are_packed_where_memory_has_room(void **state)
{
    (void)state;
    struct err e;
    struct plan p;
    struct plan_input in = sizes();
    in.kv_bytes = 1000; /* with 70 of workspace and 1,600 of weights: 2,670 */
    in.weights_packed = true;
    ok(plan_make(&in, &p, &e));
    assert_true(p.weights_mapped); /* how much memory there is, nobody knows */
    plan_free(&p);
    for (int less = 0; less <= 2; less += 2) {
        in.ram_bytes = 2848 - (uint64_t)less;
        ok(plan_make(&in, &p, &e));
        assert_int_equal(p.weights_mapped, less > 0);
        assert_int_equal(p.total_bytes, less ? 1070 : 2670);
        plan_free(&p);
    }
}

static void the_kv_pool_is_as_asked_or_at_most_half_of_memory(void **state)
{
    (void)state;
    struct err e;
    struct plan p;
    struct plan_input in = sizes();
    in.kv_bytes = 1239; /* cut to whole tokens */
    ok(plan_make(&in, &p, &e));
    assert_int_equal(p.kv_tokens, 123);
    assert_int_equal(p.kv_bytes, 1230);
    plan_free(&p);
    in.kv_bytes = 0;
    in.ram_bytes = 3000; /* 2,000 wanted, half is 1,500 */
    ok(plan_make(&in, &p, &e));
    assert_int_equal(p.kv_tokens, 150);
    plan_free(&p);
    in.ram_bytes = 800; /* one context of 500 at least */
    ok(plan_make(&in, &p, &e));
    assert_int_equal(p.kv_tokens, 50);
    plan_free(&p);
}

/* A device holds the weights too; the pool may take nearly all the rest. */
static void on_a_device_the_pool_takes_what_the_model_leaves(void **state)
{
    (void)state;
    struct err e;
    struct plan p;
    struct plan_input in = sizes();
    in.on_device = true;
    fails(plan_make(&in, &p, &e), ERR_BUG, "cannot be mapped");
    in.weights_mapped = false;
    in.vram_bytes = 1600 + 70 + 1600; /* 2,000 wanted, 1,600 left, 1,500 of them for the pool */
    ok(plan_make(&in, &p, &e));
    for (int i = 0; i < 3; i++)
        assert_true(p.attn[i] == PLAN_VRAM && p.ffn[i] == PLAN_VRAM);
    assert_true(p.embed == PLAN_VRAM && p.output == PLAN_VRAM && plan_is_resident(&p));
    assert_int_equal(p.kv_tokens, 150);
    assert_int_equal(p.total_bytes, 1600 + 70 + 1500);
    plan_free(&p);
    in.vram_bytes = 1600 + 70 + 499; /* not one context */
    fails(plan_make(&in, &p, &e), ERR_USAGE, "available on the device; lower --ctx");
    assert_non_null(strstr(e.msg, "raise --vram"));
}

static void what_does_not_fit_names_need_limit_and_knob(void **state)
{
    (void)state;
    struct err e;
    struct plan p;
    struct plan_input in = sizes();
    in.kv_bytes = 499;
    fails(plan_make(&in, &p, &e), ERR_USAGE,
          "needs 500 bytes, 499 were asked for; raise --kv-bytes");
    in = sizes();
    in.ram_bytes = (uint64_t)5 << 20, in.kv_bytes = (uint64_t)4 << 20;
    in.workspace_bytes = (uint64_t)2 << 20;
    fails(plan_make(&in, &p, &e), ERR_USAGE,
          "KV cache 3 MiB, workspace 2 MiB), 5 MiB available; lower");
    assert_non_null(strstr(e.msg, "--kv-type q8_0"));
    in.weights_mapped = false;
    fails(plan_make(&in, &p, &e), ERR_USAGE, "weights copied");
    in.ram_bytes = 2070 + 1599;
    in.kv_bytes = 2000, in.workspace_bytes = 70;
    fails(plan_make(&in, &p, &e), ERR_USAGE, "cannot place the model");
    in.ram_bytes++;
    ok(plan_make(&in, &p, &e));
    plan_free(&p);
}

static void overflowing_sizes_are_refused(void **state)
{
    (void)state;
    struct err e;
    struct plan p;
    struct plan_input in = sizes();
    in.kv_bytes_per_token = UINT64_MAX / 100;
    fails(plan_make(&in, &p, &e), ERR_USAGE, "overflows");
    in = sizes(), in.workspace_bytes = UINT64_MAX;
    fails(plan_make(&in, &p, &e), ERR_USAGE, "overflows");
    in = sizes(), in.embed_bytes = UINT64_MAX;
    fails(plan_make(&in, &p, &e), ERR_USAGE, "overflows");
    in = sizes(), in.n_seq = 0;
    fails(plan_make(&in, &p, &e), ERR_BUG, "0 sequences");
}

/* ---- a model larger than the device: Llama-3-70B Q4_K_M on 24 GB ----------------------------- */

enum { L70 = 80 };
static uint64_t attn70[L70], ffn70[L70];

static struct plan_input large(uint64_t vram, int n_seq, enum plan_mode mode)
{
    for (int l = 0; l < L70; l++) {
        attn70[l] = 98000000;
        ffn70[l] = 415000000;
    }
    return (struct plan_input){.n_layer = L70,
                               .attn_bytes = attn70,
                               .ffn_bytes = ffn70,
                               .embed_bytes = 590000000,
                               .output_bytes = 860000000,
                               .kv_bytes_per_token = 174080,
                               .n_ctx = 900,
                               .n_seq = n_seq,
                               .workspace_bytes = 300000000,
                               .on_device = true,
                               .vram_bytes = vram,
                               .ram_bytes = (uint64_t)64 << 30,
                               .mode = mode,
                               .n_host = PLAN_ANY,
                               .kv_len = 900,
                               .row_bytes = 32768,
                               .ops_per_byte = 3.3,
                               .rates = {.vram = 1008e9,
                                         .link = 25e9,
                                         .host = 55e9,
                                         .dram = 65e9,
                                         .device_ops = 3.3e14,
                                         .host_ops = 1e12,
                                         .hop_s = 3e-5,
                                         .step_s = 1e-3}};
}

/* No part is lost, no budget exceeded, and the cache holds the promised tokens. */
static void check_sound(const struct plan_input *in, const struct plan *p)
{
    uint64_t sum = p->vram_weight_bytes + p->stream_bytes + p->host_bytes, largest = 0;
    assert_int_equal(sum, p->weight_bytes);
    assert_true(p->total_bytes <= in->vram_bytes);
    assert_int_equal(p->total_bytes,
                     p->vram_weight_bytes + p->ring_bytes + p->kv_bytes + p->workspace_bytes);
    assert_true(p->kv_tokens >= in->n_ctx);
    for (int l = 0; l < p->n_layer; l++) {
        assert_true(p->attn[l] != PLAN_HOST);
        if (p->ffn[l] == PLAN_STREAM && ffn70[l] > largest)
            largest = ffn70[l];
    }
    assert_true(p->ring_bytes >= largest && (p->stream_bytes == 0) == (p->ring_bytes == 0));
    assert_true(p->pinned_bytes + p->host_bytes <= in->ram_bytes);
}

static void a_larger_card_is_never_slower(void **state)
{
    (void)state;
    struct err e;
    struct plan p;
    for (int mode = 0; mode < PLAN_MODE_COUNT; mode++)
        for (int n = 1; n <= 64; n *= 8) {
            double last = 1e9;
            for (uint64_t gib = 6; gib <= 48; gib += 3) {
                struct plan_input in = large(gib << 30, n, (enum plan_mode)mode);
                ok(plan_make(&in, &p, &e));
                check_sound(&in, &p);
                double s = mode == PLAN_LATENCY ? p.one.step_s : p.all.step_s / p.n_seq;
                if (s > last * 1.02) /* rings of whole parts, places of whole parts */
                    fail_msg("%s, %d sequences: %.4f s a token with %d GiB, %.4f with 3 less",
                             plan_mode_name((enum plan_mode)mode), n, s, (int)gib, last);
                last = s;
                plan_free(&p);
            }
        }
}

static void the_plan_of_a_70b_is_what_physics_says(void **state)
{
    (void)state;
    struct err e;
    struct plan p;
    struct plan_input in = large((uint64_t)24 << 30, 143, PLAN_AUTO);
    /* at least 143 x 25e9 / 42.5e9 tokens/s: all for the price of one pass */
    ok(plan_make(&in, &p, &e));
    assert_true(p.mode == PLAN_THROUGHPUT && p.n_seq == 143);
    assert_true(fabs(p.all.step_s / ((double)p.stream_bytes / 25e9) - 1) < 0.03);
    assert_true(p.n_seq / p.all.step_s > 84);
    assert_true(p.all.link_s > 0.97 * p.all.step_s);
    plan_free(&p);
    in = large((uint64_t)24 << 30, 1, PLAN_AUTO);
    ok(plan_make(&in, &p, &e)); /* CPU and link share 65 GB/s */
    assert_true(p.mode == PLAN_LATENCY && p.host_bytes > in.embed_bytes && p.stream_bytes > 0);
    double moved = (double)(p.host_bytes - in.embed_bytes + p.stream_bytes);
    assert_true(p.one.step_s >= moved / 65e9 && p.one.step_s < 1.1 * moved / 65e9);
    plan_free(&p);
    in.n_host = 0;
    ok(plan_make(&in, &p, &e));
    double rest = (double)p.stream_bytes;
    assert_true(fabs(p.one.step_s / (rest / 25e9) - 1) < 0.05);
    plan_free(&p);
    in.n_host = 60, in.mode = PLAN_LATENCY;
    ok(plan_make(&in, &p, &e));
    assert_int_equal(p.host_bytes, 60 * ffn70[0] + in.embed_bytes);
    plan_free(&p);
    in = large((uint64_t)24 << 30, 1, PLAN_THROUGHPUT);
    in.ram_bytes = (uint64_t)8 << 30; /* less than what is streamed */
    ok(plan_make(&in, &p, &e));
    assert_true(!p.keep_pinned && p.pinned_bytes == (uint64_t)1 << 30);
    plan_free(&p);
}

static void what_cannot_be_planned_names_the_knob(void **state)
{
    (void)state;
    struct err e;
    struct plan p;
    struct plan_input in = large((uint64_t)1 << 30, 1, PLAN_AUTO);
    fails(plan_make(&in, &p, &e), ERR_USAGE, "needs at least");
    in = large((uint64_t)24 << 30, 1, PLAN_AUTO);
    in.n_host = L70 + 1;
    fails(plan_make(&in, &p, &e), ERR_USAGE, "lower --cpu-layers");
}

/* Pages go to the host if all parts are resident and the pool is small. K and V of a token must
 * also be cheaper to fetch than to compute. */
static void pages_are_swapped_where_that_is_cheaper(void **state)
{
    (void)state;
    struct err e;
    struct plan p;
    struct plan_input in = large((uint64_t)46 << 30, 64, PLAN_LATENCY);
    in.ram_bytes = (uint64_t)64 << 30;
    ok(plan_make(&in, &p, &e));
    assert_true(plan_is_resident(&p) && p.n_seq < 64);
    assert_true(p.swap_bytes == (uint64_t)4 << 30);
    plan_free(&p);
    in.swap = PLAN_SWAP_ON; /* a quarter of memory, or the pool */
    ok(plan_make(&in, &p, &e));
    assert_true(p.swap_bytes ==
                (p.kv_bytes < (uint64_t)16 << 30 ? p.kv_bytes : (uint64_t)16 << 30));
    struct str s = STR_INIT;
    plan_describe(&p, &s);
    assert_non_null(strstr(s.s, "on the host, for pages of the KV cache"));
    str_free(&s);
    plan_free(&p);
    in.swap = PLAN_SWAP_OFF, in.swap_bytes = 1000;
    ok(plan_make(&in, &p, &e));
    assert_true(p.swap_bytes == 0);
    plan_free(&p);
    in.swap = PLAN_SWAP_AUTO; /* with a requested size */
    ok(plan_make(&in, &p, &e));
    assert_true(p.swap_bytes == 1000);
    plan_free(&p);
    in.swap_bytes = 0, in.ops_per_byte /= 1000; /* as if computing were a thousand times cheaper */
    ok(plan_make(&in, &p, &e));
    assert_true(p.swap_bytes == 0);
    plan_free(&p);
    in = large((uint64_t)24 << 30, 64, PLAN_AUTO); /* streamed: the computation hides */
    in.ram_bytes = (uint64_t)64 << 30;
    ok(plan_make(&in, &p, &e));
    assert_true(!plan_is_resident(&p) && p.swap_bytes == 0);
    plan_free(&p);
    in = large((uint64_t)80 << 30, 4, PLAN_AUTO); /* the pool holds all */
    ok(plan_make(&in, &p, &e));
    assert_true(p.n_seq == 4 && p.swap_bytes == 0);
    plan_free(&p);
    in = sizes(); /* without a device it is memory like the pool's */
    ok(plan_make(&in, &p, &e));
    assert_true(p.swap_bytes == 0);
    plan_free(&p);
}

static void a_plan_reads_like_a_table(void **state)
{
    (void)state;
    struct err e;
    struct plan p;
    struct plan_input in = sizes();
    struct str s = STR_INIT;
    ok(plan_make(&in, &p, &e));
    plan_describe(&p, &s);
    assert_non_null(strstr(s.s, "read from the page cache"));
    assert_non_null(strstr(s.s, "attn: 3 host\n  ffn: 3 host\n"));
    assert_non_null(strstr(s.s, "200 tokens"));
    str_clear(&s);
    plan_line(&p, &s);
    assert_string_equal(s.s, "all resident; KV cache of 200 tokens");
    str_clear(&s);
    p.attn[1] = PLAN_STREAM, p.attn[2] = PLAN_VRAM, p.weights_mapped = false;
    plan_describe(&p, &s);
    assert_non_null(strstr(s.s, "copied to memory"));
    assert_non_null(strstr(s.s, "attn: 1 VRAM, 1 streamed, 1 host\n"));
    str_clear(&s);
    plan_line(&p, &s);
    assert_non_null(strstr(s.s, "; attn: 1 VRAM, 1 streamed, 1 host; ffn: "));
    str_free(&s);
    plan_free(&p);
}

/* Layers with a sliding window read no more K and V than the window. */
static void a_window_bounds_the_cache_that_a_step_reads(void **state)
{
    (void)state;
    static const struct cost_part part[] = {{PART_ATTN, 0, PLAN_VRAM, 1000, 0},
                                            {PART_ATTN, 1, PLAN_VRAM, 1000, 0},
                                            {PART_ATTN, 2, PLAN_VRAM, 1000, 0},
                                            {PART_ATTN, 3, PLAN_VRAM, 1000, 0}};
    static const struct {
        int n_windowed, kv_len;
        double tokens; /* of a layer, mean of the four */
    } row[] = {{0, 1000, 1000}, {3, 1000, 325}, {4, 1000, 100}, {3, 100, 100}, {3, 99, 99}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        const struct cost_model m = {.part = part,
                                     .n_part = 4,
                                     .rates = {.vram = 1e6},
                                     .kv_bytes_per_token = 400,
                                     .n_layer = 4,
                                     .n_windowed = row[i].n_windowed,
                                     .window = 100};
        const struct cost_load load = {.rows = 2, .n_seq = 2, .kv_len = row[i].kv_len};
        struct cost c;
        struct err e;
        ok(cost_step(&m, &load, &c, &e));
        const double want = (4 * 1000 + 2 * 400 * row[i].tokens) / 1e6;
        assert_true(fabs(c.step_s / want - 1) < 1e-9);
    }
}

/* The time of a part on the host is the longest of three: memory, arithmetic of a row, and of all
 * rows. */
static void a_format_that_needs_arithmetic_is_not_read_at_the_rate_of_memory(void **state)
{
    (void)state;
    static const struct cost_part part[] = {{PART_FFN, 0, PLAN_HOST, 1000000, 0}};
    static const struct {
        double host, host_row, host_ops;
        int rows;
        double want;
    } row[] = {{1e6, 0, 0, 1, 1},       {1e6, 4e6, 0, 1, 1},     {1e6, 2.5e5, 0, 1, 4},
               {1e6, 2.5e5, 0, 8, 4},   {1e6, 2.5e5, 1e6, 1, 4}, {1e6, 2.5e5, 1e6, 3, 6},
               {1e5, 2.5e5, 1e6, 3, 10}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        const struct cost_model m = {.part = part,
                                     .n_part = 1,
                                     .ops_per_byte = 2,
                                     .rates = {.vram = 1e9,
                                               .host = row[i].host,
                                               .host_row = row[i].host_row,
                                               .host_ops = row[i].host_ops},
                                     .n_layer = 1};
        const struct cost_load load = {.rows = row[i].rows, .n_seq = 1};
        struct cost c;
        struct err e;
        ok(cost_step(&m, &load, &c, &e));
        if (!(fabs(c.step_s / row[i].want - 1) < 1e-9))
            fail_msg("row %zu: %g s, must be %g", i, c.step_s, row[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_lies_on_the_host),
        cmocka_unit_test(weights_are_packed_where_memory_has_room),
        cmocka_unit_test(the_kv_pool_is_as_asked_or_at_most_half_of_memory),
        cmocka_unit_test(on_a_device_the_pool_takes_what_the_model_leaves),
        cmocka_unit_test(what_does_not_fit_names_need_limit_and_knob),
        cmocka_unit_test(overflowing_sizes_are_refused),
        cmocka_unit_test(a_larger_card_is_never_slower),
        cmocka_unit_test(the_plan_of_a_70b_is_what_physics_says),
        cmocka_unit_test(what_cannot_be_planned_names_the_knob),
        cmocka_unit_test(pages_are_swapped_where_that_is_cheaper),
        cmocka_unit_test(a_plan_reads_like_a_table),
        cmocka_unit_test(a_window_bounds_the_cache_that_a_step_reads),
        cmocka_unit_test(a_format_that_needs_arithmetic_is_not_read_at_the_rate_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
