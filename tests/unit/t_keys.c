/* Keys that change the arithmetic are obeyed or refused by name. Each has a file, made from a
 * committed model. */
#include <math.h>

#include "gguf_edit.h"
#include "keys.h"
#include "model.h"
#include "test.h"

#define LLAMA TEST_GOLDEN "/logits_llama_2.gguf"
#define QWEN2 TEST_GOLDEN "/logits_qwen2.gguf"
#define PARTIAL "u32:rope.dimension_count=4"

enum { N_VOCAB = 267 }; /* of both */

static char dir[256], path[300];

/* The model of a copy with these changes. The file is closed; *m keeps only its own data; free
 * it. */
static int try_model(const char *from, const char *changes, struct model *m, struct err *e)
{
    struct gguf *g;
    struct err own;
    gguf_edit(from, path, changes);
    if (gguf_open(path, &g, &own) < 0)
        fail_msg("%s: %s", changes, own.msg);
    int rc = model_init(g, N_VOCAB, m, e);
    if (rc == 0)
        weights_free(&m->w);
    gguf_close(g);
    return rc;
}

static void refused(const char *changes, const char *want)
{
    struct err e = {0};
    struct model m;
    int rc = try_model(LLAMA, changes, &m, &e);
    if (rc != ERR_DATA || !strstr(e.msg, want))
        fail_msg("%s: got %d '%s', want '%s'", changes, rc, e.msg, want);
}

static struct model taken(const char *changes)
{
    struct err e = {0};
    struct model m;
    if (try_model(LLAMA, changes, &m, &e) < 0)
        fail_msg("%s: %s", changes, e.msg);
    return m;
}

static void same_as(const char *changes, const char *other)
{
    struct model a = taken(changes), b = taken(other);
    assert_int_equal(a.hp.n_ctx_train, b.hp.n_ctx_train);
    assert_true(a.hp.attn_scale == b.hp.attn_scale);
    assert_int_equal(a.hp.rotary.n_rot, b.hp.rotary.n_rot);
    assert_memory_equal(a.inv_freq, b.inv_freq, (size_t)a.hp.rotary.n_rot / 2 * sizeof *a.inv_freq);
    model_free(&a);
    model_free(&b);
}

static void what_is_not_computed_is_refused_by_name(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"bool:attention.causal=0",
         "key 'llama.attention.causal' is 0: attention without a causal mask is not supported; "
         "must be 1"},
        {"f32:logit_scale=0.0625",
         "key 'llama.logit_scale' is 0.0625: a scale of logits is not supported; must be 0 or 1"},
        {"f32:residual_scale=0.22", "llama.residual_scale"},
        {"f32:embedding_scale=12", "llama.embedding_scale"},
        {"f32:attn_logit_softcapping=50",
         "soft-capping of attention scores is not supported; must be 0"},
        {"f32:final_logit_softcapping=30", "llama.final_logit_softcapping"},
        {"f32:attention.max_alibi_bias=8", "ALiBi"},
        {"f32:attention.clamp_kqv=8", "clamp_kqv"},
        {"f32:attention.clamp_kqv=nan", "clamp_kqv' is nan"},
        {"u32:expert_count=2",
         "key 'llama.expert_count' is 2: a mixture of experts is not supported"},
        {"u32:expert_used_count=1", "expert_used_count"},
        {"str:hidden_activation=gelu",
         "key 'llama.hidden_activation' is 'gelu': an activation other than SiLU is not "
         "supported; must be silu"},
        {"str:attention.causal=1", "key 'llama.attention.causal' is '1'"},
        {"u32s:rope.dimension_sections=0 16 0 0",
         "is 16 in element 1: RoPE in sections is not supported"},
        {"u32:pooling_type=3", "pooling_type' is 3"},
        {"bool:use_parallel_residual=1", "use_parallel_residual"},
        {"str:rope.scaling.type=longrope",
         "llama.rope.scaling.type is 'longrope'; supported: none, linear, yarn"},
        {"str:rope.scaling.type=dynamic", "'dynamic'; supported"},
        {"u32:rope.scaling.type=1", "llama.rope.scaling.type"},
        {"f32:rope.scaling.alpha=1000", "rope.scaling.alpha"},
        {"f32:rope.scaling.factor=-4", "key 'llama.rope.scaling.factor'"},
        {"f32:rope.scaling.factor=0.0001", "must be 0 (none) or at least 0.001"},
        {"f32:rope.scale_linear=-1", "key 'llama.rope.scale_linear'"},
        {"f32:rope.scaling.attn_factor=0", "rope.scaling.attn_factor"},
        {"str:rope.scaling.type=yarn,f32:rope.scaling.yarn_log_multiplier=0.1",
         "yarn_log_multiplier' is 0.1"},
        {"str:rope.scaling.type=yarn,f32:rope.scaling.yarn_attn_factor=2",
         "yarn_attn_factor' is 2"},
        {"str:rope.scaling.type=yarn,f32:rope.scaling.yarn_ext_factor=0.5",
         "rope.scaling.yarn_ext_factor is 0.5; supported with rope.scaling.type yarn: 1"},
        {"f32:rope.scaling.yarn_ext_factor=1",
         "yarn_ext_factor is 1; supported with rope.scaling.type none and linear: 0"},
        {"str:rope.scaling.type=yarn,f32:rope.scaling.yarn_beta_slow=64",
         "yarn_beta_slow is 64, above yarn_beta_fast"},
        {"str:rope.scaling.type=yarn,f32:rope.scaling.factor=4," PARTIAL,
         "turns 4 of 8 dimensions: only all are supported"},
        {"str:rope.scaling.type=yarn,f32:rope.freq_base=1", "YaRN needs a base above 1"},
        {"f32:attention.scale=-1", "llama.attention.scale"},
        {"i32:attention.sliding_window=-1", "llama.attention.sliding_window"},
        {"u32:attention.sliding_window=64,f32:rope.freq_base_swa=10000",
         "key 'llama.rope.freq_base_swa' with a sliding window: another RoPE in windowed layers is "
         "not supported"},
        {"i32s:attention.head_count_kv=4 2", "key 'llama.attention.head_count_kv' at byte"},
        {"i32s:attention.head_count=4 2",
         "differs between layers, which is not supported: layer 1 has 2, layer 0 4"},
        {"i32s:attention.head_count_kv=4 4 4", "has 3 elements, must have 2 or be one number"},
        {"i32s:feed_forward_length=72 70", "feed_forward_length"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        refused(rows[i][0], rows[i][1]);
}

static void values_that_change_nothing_are_taken(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "bool:attention.causal=1",
        "f32:logit_scale=1,f32:residual_scale=1,f32:embedding_scale=0",
        "f32:attn_logit_softcapping=0,f32:final_logit_softcapping=0",
        "u32:expert_count=0,u32:expert_used_count=0,u32:expert_feed_forward_length=14336",
        "str:hidden_activation=silu,u32:pooling_type=0",
        "u32:pooling_type=4294967295,f32:attention.layer_norm_epsilon=1",
        "str:tensor_data_layout=Meta AI original pth,bool:rope.scaling.finetuned=1",
        "u32s:rope.dimension_sections=0 0 0 0,u32s:attention.rope_pattern=1 1",
        "f32:rope.scaling.yarn_ext_factor=-1,f32:rope.scaling.yarn_attn_factor=1,f32:rope.scaling."
        "yarn_log_multiplier=0",
        "f32:rope.freq_base_swa=10000,u32:attention.sliding_window=0",
        "u32:attention.sliding_window=512",
        "i32s:attention.head_count=4 4,i32s:attention.head_count_kv=4 "
        "4,i32s:feed_forward_length=72 72",
        "str:rope.scaling.type=linear,f32:rope.scaling.factor=0",
        "str:rope.scaling.type=linear,f32:rope.scaling.factor=0,f32:rope.scale_linear=4",
        "str:rope.scaling.type=none,f32:rope.scaling.factor=4",
        "str:rope.scaling.type=none,f32:rope.scale_linear=4",
        "str:rope.scaling.type=linear,f32:rope.scaling.yarn_beta_slow=64",
        "u32:rope.scaling.original_context_length=32",
        "f32:attention.scale=0",
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        same_as(rows[i], "-");
    same_as("f32:rope.scaling.factor=4", "str:rope.scaling.type=linear,f32:rope.scaling.factor=4");
    same_as("f32:rope.scale_linear=4", "f32:rope.scaling.factor=4");
    same_as("f32:rope.scale_linear=8,f32:rope.scaling.factor=4", "f32:rope.scaling.factor=4");
    same_as("str:rope.scaling.type=yarn", "-");
    same_as("str:rope.scaling.type=yarn,f32:rope.scaling.factor=4,u32:rope.scaling.original_"
            "context_length=0",
            "str:rope.scaling.type=yarn,f32:rope.scaling.factor=4,u32:rope.scaling.original_"
            "context_length=512");
}

/* Reference: the definitions of the paper, computed here independently. */
static void yarn_keeps_fast_pairs_and_stretches_slow_ones(void **state)
{
    (void)state;
    struct model plain = taken("-");
    struct model m =
        taken("str:rope.scaling.type=yarn,f32:rope.scaling.factor=4,u32:rope.scaling.original_"
              "context_length=128,"
              "f32:rope.scaling.yarn_beta_fast=16,f32:rope.scaling.yarn_beta_slow=0.5");
    /* Of 4 pairs: 16 turns within 128 tokens at pair 0.10, half a turn at pair 1.61: low 0, high
     * 2. */
    assert_true(m.inv_freq[0] == plain.inv_freq[0]);
    assert_true(fabsf(m.inv_freq[1] / plain.inv_freq[1] - (0.5f + 0.5f / 4)) < 1e-6f);
    assert_true(fabsf(m.inv_freq[2] / plain.inv_freq[2] - 0.25f) < 1e-6f);
    assert_true(fabsf(m.inv_freq[3] / plain.inv_freq[3] - 0.25f) < 1e-6f);
    float gain = 0.1f * logf(4) + 1;
    assert_true(fabsf(m.hp.attn_scale / plain.hp.attn_scale - gain * gain) < 1e-6f);
    model_free(&m);
    m = taken("f32:rope.scaling.attn_factor=1.5,f32:attention.scale=2");
    assert_true(fabsf(m.hp.attn_scale - 2 * 1.5f * 1.5f) < 1e-6f);
    model_free(&m);
    model_free(&plain);
}

static void the_context_ends_with_a_sliding_window(void **state)
{
    (void)state;
    struct model m =
        taken("u32:attention.sliding_window=100,bool:attention.sliding_window_pattern=1");
    assert_int_equal(m.hp.n_ctx_train, 100);
    model_free(&m);
}

static void unknown_keys_are_named(void **state)
{
    (void)state;
    struct err e;
    struct gguf *g;
    struct str unknown = STR_INIT;
    gguf_edit(
        LLAMA, path,
        "f32:swirl.factor=2,u32:attention.causal\x1b=0,str:tokenizer.own=x,u32:general.odd=1");
    ok(gguf_open(path, &g, &e));
    ok(keys_check(g, "llama", &unknown, &e));
    assert_string_equal(unknown.s, "llama.swirl.factor, llama.attention.causal\\x1b");
    str_clear(&unknown);
    ok(keys_check(g, "llam", &unknown, &e));
    ok(keys_check(g, "qwen2", &unknown, &e));
    assert_int_equal(unknown.len, 0);
    gguf_close(g);
    static const char *const known[][2] = {{TEST_GOLDEN "/logits_llama_gqa.gguf", "llama"},
                                           {QWEN2, "qwen2"},
                                           {TEST_GOLDEN "/logits_qwen3.gguf", "qwen3"},
                                           {TEST_GOLDEN "/logits_llama_rope31.gguf", "llama"}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        ok(gguf_open(known[i][0], &g, &e));
        ok(keys_check(g, known[i][1], &unknown, &e));
        assert_string_equal(unknown.s, "");
        gguf_close(g);
    }
    str_free(&unknown);
}

static void an_unknown_key_is_a_warning_and_the_run_goes_on(void **state)
{
    (void)state;
    struct str out = STR_INIT;
    const char *mas = getenv("MAS");
    assert_non_null(mas);
    gguf_edit(LLAMA, path, "f32:swirl.factor=2");
    int rc = test_run(&out, "'%s' perplexity -m '%s' -p 'some text' --ctx 8 --quiet", mas, path);
    if (rc != 0 || !strstr(out.s, "unknown keys, without effect here: llama.swirl.factor\n") ||
        !strstr(out.s, "perplexity"))
        fail_msg("exit %d: %s", rc, out.s);
    str_clear(&out);
    gguf_edit(LLAMA, path, "u32:attention.sliding_window=100");
    rc = test_run(&out, "'%s' perplexity -m '%s' -p 'some text' --ctx 101 --quiet", mas, path);
    if (rc != 64 || !strstr(out.s, "the context ends at 100 tokens, not at 512") ||
        !strstr(out.s, "must be 1 to 100"))
        fail_msg("exit %d: %s", rc, out.s);
    str_free(&out);
}

/* Every other command that reads a model's shape. */
static void other_commands_take_one_number_for_each_layer(void **state)
{
    (void)state;
    struct str out = STR_INIT;
    const char *mas = getenv("MAS");
    assert_non_null(mas);
    gguf_edit(LLAMA, path,
              "i32s:attention.head_count=4 4,i32s:attention.head_count_kv=4 "
              "4,i32s:feed_forward_length=72 72,"
              "u32:general.alignment=131072,bias:ffn_down=32");
    int rc = test_run(&out,
                      "'%s' fit -m '%s' --gpu rtx4090 --kv-type f16 && '%s' quantize --quiet '%s' "
                      "'%s/f16.gguf' F16 && "
                      "'%s' perplexity -m '%s/f16.gguf' -p 'some text' --ctx 8 --quiet",
                      mas, path, mas, path, dir, mas, dir);
    if (rc != 0 || !strstr(out.s, "perplexity"))
        fail_msg("exit %d: %s", rc, out.s);
    str_clear(&out);
    gguf_edit(LLAMA, path, "i32s:attention.head_count_kv=4 2");
    rc = test_run(&out, "'%s' fit -m '%s' --gpu rtx4090 --kv-type f16", mas, path);
    if (rc != 65 || !strstr(out.s, "key 'llama.attention.head_count_kv'") ||
        !strstr(out.s, "differs between layers"))
        fail_msg("exit %d: %s", rc, out.s);
    str_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_computed_is_refused_by_name),
        cmocka_unit_test(values_that_change_nothing_are_taken),
        cmocka_unit_test(yarn_keeps_fast_pairs_and_stretches_slow_ones),
        cmocka_unit_test(the_context_ends_with_a_sliding_window),
        cmocka_unit_test(unknown_keys_are_named),
        cmocka_unit_test(an_unknown_key_is_a_warning_and_the_run_goes_on),
        cmocka_unit_test(other_commands_take_one_number_for_each_layer),
    };
    test_mkdir(dir);
    snprintf(path, sizeof path, "%s/changed.gguf", dir);
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    test_rmdir(dir);
    return rc;
}
