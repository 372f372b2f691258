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
         "tensor rope_factors_long.weight is missing, which longrope needs"},
        {"str:rope.scaling.type=longrope,f32:rope.scaling.factor=4",
         "llama.rope.scaling.factor is 4 with rope.scaling.type longrope"},
        {"str:rope.scaling.type=dynamic", "'dynamic'; supported: none, linear, yarn, longrope"},
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
        {"u32:attention.sliding_window=64,u32:attention.key_length_swa=4",
         "key 'llama.attention.key_length_swa' with a sliding window: another head size in "
         "windowed layers is not supported"},
        {"u32:attention.sliding_window=64,f32:rope.freq_base_swa=0", "llama.rope.freq_base_swa"},
        {"u32:attention.sliding_window=64,u32s:attention.sliding_window_pattern=1 0 1",
         "key 'llama.attention.sliding_window_pattern' has 3 elements, must have 2 or be one "
         "number"},
        {"str:attention.sliding_window_pattern=swa", "llama.attention.sliding_window_pattern"},
        {"u32:attention.sliding_window_pattern=1001", "llama.attention.sliding_window_pattern"},
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

/* Layers of a copy of `from` (two or three) with these changes: their windows, and '*' after those
 * with local RoPE. */
static void layers_are(const char *from, const char *changes, const char *want)
{
    struct err e = {0};
    struct model m;
    char have[64] = "";
    if (try_model(from, changes, &m, &e) < 0)
        fail_msg("%s: %s", changes, e.msg);
    for (int l = 0; l < m.hp.n_layer; l++) {
        size_t at = strlen(have);
        snprintf(have + at, sizeof have - at, "%s%d%s", l ? " " : "", m.layer[l].window,
                 m.layer[l].local ? "*" : "");
    }
    if (strcmp(have, want) != 0)
        fail_msg("%s: layers %s, want %s", changes, have, want);
    assert_int_equal(m.hp.n_ctx_train, 512);
    model_free(&m);
}

/* The context stays whole. Without a pattern, llama's layers all have the window, and every sixth
 * of Gemma 3's has none. */
static void a_sliding_window_belongs_to_its_layers(void **state)
{
    (void)state;
    static const char gemma[] = TEST_GOLDEN "/logits_gemma3.gguf";
    layers_are(LLAMA, "-", "0 0");
    layers_are(LLAMA, "u32:attention.sliding_window=0", "0 0");
    layers_are(LLAMA, "u32:attention.sliding_window=100", "100* 100*");
    layers_are(LLAMA, "u32:attention.sliding_window=511", "511* 511*");
    layers_are(LLAMA, "u32:attention.sliding_window=512", "0* 0*");
#define WINDOW "u32:attention.sliding_window=100,"
    layers_are(LLAMA, WINDOW "u32:attention.sliding_window_pattern=2", "100* 0");
    layers_are(LLAMA, WINDOW "u32:attention.sliding_window_pattern=1", "0 0");
    layers_are(LLAMA, WINDOW "u32:attention.sliding_window_pattern=0", "100* 100*");
    layers_are(LLAMA, WINDOW "bool:attention.sliding_window_pattern=1", "100* 100*");
    layers_are(LLAMA, WINDOW "bool:attention.sliding_window_pattern=0", "0 0");
    layers_are(LLAMA, WINDOW "u32s:attention.sliding_window_pattern=0 1", "0 100*");
    layers_are(LLAMA, "u32s:attention.sliding_window_pattern=0 1", "0 0");
    layers_are(gemma, "-", "20* 20* 20* 20* 20* 0 20*");
    layers_are(gemma, "u32:attention.sliding_window=4096", "0* 0* 0* 0* 0* 0 0*");
    layers_are(gemma, WINDOW "u32:attention.sliding_window_pattern=3",
               "100* 100* 0 100* 100* 0 100*");
#undef WINDOW
}

/* Local layers have their own base and, in Gemma 3, no scaling. */
static void layers_with_a_window_have_their_own_frequencies(void **state)
{
    (void)state;
    static const struct {
        const char *from, *changes;
        double full, local; /* angle of pair 1 at position 1 */
    } row[] = {
        {LLAMA, "-", pow(10000, -0.25), pow(10000, -0.25)},
        {LLAMA, "f32:rope.freq_base_swa=500", pow(10000, -0.25), pow(500, -0.25)},
        {LLAMA, "f32:rope.scaling.factor=4,f32:rope.freq_base_swa=500", pow(10000, -0.25) / 4,
         pow(500, -0.25) / 4},
        {LLAMA, "f32:rope.global.freq_base=300,f32:rope.local.freq_base=500", pow(300, -0.25),
         pow(500, -0.25)},
        {TEST_GOLDEN "/logits_gemma3.gguf", "-", pow(1e6, -0.125) / 8, pow(1e4, -0.125)},
        {TEST_GOLDEN "/logits_gemma3.gguf", "f32:rope.freq_base_swa=500", pow(1e6, -0.125) / 8,
         pow(500, -0.125)},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct err e = {0};
        struct model m;
        if (try_model(row[i].from, row[i].changes, &m, &e) < 0)
            fail_msg("%s: %s", row[i].changes, e.msg);
        assert_true(fabs((double)model_freqs(&m, false, 512)[1] / row[i].full - 1) < 1e-6);
        assert_true(fabs((double)model_freqs(&m, true, 512)[1] / row[i].local - 1) < 1e-6);
        model_free(&m);
    }
    struct err e = {0};
    struct model m;
    fails(try_model(TEST_GOLDEN "/logits_gemma3.gguf", "str:rope.scaling.type=yarn", &m, &e),
          ERR_DATA, "only linear scaling is supported here");
}

/* longrope: a context above the original one takes the long factors. */
static void the_context_chooses_the_factors_of_longrope(void **state)
{
    (void)state;
    struct err e = {0};
    struct model m;
    if (try_model(TEST_GOLDEN "/logits_phi3_long.gguf", "-", &m, &e) < 0)
        fail_msg("%s", e.msg);
    const float *longer = model_freqs(&m, false, 41), *shorter = model_freqs(&m, false, 40);
    for (int i = 0; i < m.hp.rotary.n_rot / 2; i++) {
        double plain = pow(10000, -i / 6.0);
        assert_true(fabs((double)longer[i] * (1 + 0.9 * i) / plain - 1) < 1e-6);
        assert_true(fabs((double)shorter[i] * (1.3 - 0.1 * i) / plain - 1) < 1e-6);
    }
    const double gain = 1 + log(512.0 / 40) / log(40); /* of q and k together */
    assert_true(fabs((double)m.hp.attn_scale * sqrt(12) / gain - 1) < 1e-6);
    model_free(&m);
}

static void the_activation_is_that_of_the_architecture(void **state)
{
    (void)state;
    static const char gemma[] = TEST_GOLDEN "/logits_gemma3.gguf";
    struct err e = {0};
    struct model m;
    ok(try_model(gemma, "str:hidden_activation=gelu_pytorch_tanh", &m, &e));
    assert_int_equal(model_gate(&m), EPI_GEGLU);
    assert_true(model_embed_scale(&m) == sqrtf(24));
    model_free(&m);
    fails(try_model(gemma, "str:hidden_activation=silu", &m, &e), ERR_DATA,
          "an activation other than GELU is not supported; must be gelu_pytorch_tanh");
    fails(try_model(gemma, "f32:final_logit_softcapping=30", &m, &e), ERR_DATA,
          "soft-capping of logits");
}

/* Gemma 3 27B has heads of 128, but its scores are scaled by 5376 / 32 = 168. */
static void the_scale_of_scores_is_that_of_the_model(void **state)
{
    (void)state;
    static const struct {
        const char *shape;
        double dim;
    } row[] = {{"gemma3-27b", 168}, {"gemma3-12b", 256}, {"mistral-small-3", 128}, {"phi-4", 128}};
    const char *mas = getenv("MAS");
    struct str out = STR_INIT;
    assert_non_null(mas);
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct err e = {0};
        struct gguf *g;
        struct model m;
        str_clear(&out);
        if (test_run(&out, "'%s' synth --hollow --shape %s --vocab 300 --quiet '%s'", mas,
                     row[i].shape, path))
            fail_msg("%s", out.s);
        ok(gguf_open(path, &g, &e));
        ok(model_init(g, 300, &m, &e));
        assert_true(fabs((double)m.hp.attn_scale * sqrt(row[i].dim) - 1) < 1e-6);
        model_free(&m);
        gguf_close(g);
    }
    str_free(&out);
}

/* The keys of an image encoder do not concern the text. */
static void keys_of_an_image_encoder_are_not_unknown(void **state)
{
    (void)state;
    struct err e;
    struct gguf *g;
    struct str unknown = STR_INIT;
    gguf_edit(LLAMA, path, "u32:vision.block_count=27,u32:mm.tokens_per_image=256");
    ok(gguf_open(path, &g, &e));
    ok(keys_check(g, "llama", &unknown, &e));
    assert_int_equal(unknown.len, 0);
    gguf_close(g);
    str_free(&unknown);
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
                                           {TEST_GOLDEN "/logits_phi3_long.gguf", "phi3"},
                                           {TEST_GOLDEN "/logits_gemma3_pattern.gguf", "gemma3"},
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
        cmocka_unit_test(a_sliding_window_belongs_to_its_layers),
        cmocka_unit_test(layers_with_a_window_have_their_own_frequencies),
        cmocka_unit_test(the_context_chooses_the_factors_of_longrope),
        cmocka_unit_test(the_activation_is_that_of_the_architecture),
        cmocka_unit_test(the_scale_of_scores_is_that_of_the_model),
        cmocka_unit_test(keys_of_an_image_encoder_are_not_unknown),
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
