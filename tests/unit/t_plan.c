/* The placement function: sizes in, a plan or the knob to turn out. */
#include "plan.h"

#include "test.h"

static const uint64_t attn[3] = {40, 80, 120}, ffn[3] = {60, 120, 180};

static struct plan_input sizes(void)
{
    return (struct plan_input){.n_layer = 3, .attn_bytes = attn, .ffn_bytes = ffn, .embed_bytes = 400,
                               .output_bytes = 600, .kv_bytes_per_token = 10, .n_ctx = 50, .n_seq = 4,
                               .workspace_bytes = 70, .weights_mapped = true, .n_resident_most = PLAN_ANY,
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

/* A device holds the weights as well, and the pool may take nearly all that they leave. */
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
    fails(plan_make(&in, &p, &e), ERR_USAGE, "needs 500 bytes, 499 were asked for; raise --kv-bytes");
    in = sizes();
    in.ram_bytes = (uint64_t)5 << 20, in.kv_bytes = (uint64_t)4 << 20;
    in.workspace_bytes = (uint64_t)2 << 20;
    fails(plan_make(&in, &p, &e), ERR_USAGE, "KV cache 3 MiB, workspace 2 MiB), 5 MiB available; lower");
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
    p.attn[1] = PLAN_STREAM, p.attn[2] = PLAN_VRAM, p.weights_mapped = false;
    plan_describe(&p, &s);
    assert_non_null(strstr(s.s, "copied to memory"));
    assert_non_null(strstr(s.s, "attn: 1 VRAM, 1 streamed, 1 host\n"));
    str_free(&s);
    plan_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_lies_on_the_host),
        cmocka_unit_test(the_kv_pool_is_as_asked_or_at_most_half_of_memory),
        cmocka_unit_test(on_a_device_the_pool_takes_what_the_model_leaves),
        cmocka_unit_test(what_does_not_fit_names_need_limit_and_knob),
        cmocka_unit_test(overflowing_sizes_are_refused),
        cmocka_unit_test(a_plan_reads_like_a_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
