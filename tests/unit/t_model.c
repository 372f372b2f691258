/* The network of a model file: each rule is broken once, in a copy of a committed model. */
#include <math.h>

#include "gguf_write.h"
#include "model.h"
#include "test.h"

#define MODEL TEST_GOLDEN "/logits_llama_rope31.gguf"

struct change {           /* difference of the copy; NULL / 0 = none */
    const char *drop_key; /* leave out */
    const char *set_u32;  /* replace by this number (or add) */
    uint32_t u32;
    const char *set_f32;
    float f32;
    const char *set_str, *str;
    const char *drop_tensor, *add_tensor, *reshape_tensor;
    bool poison_freqs; /* rope_freqs gets a zero */
};

static char dir[256], path[300];

static bool is(struct gguf_str s, const char *name)
{
    return name && strlen(name) == s.len && !memcmp(name, s.s, s.len);
}

static void copy_keys(const struct gguf *g, struct gguf_writer *w, const struct change *c)
{
    struct err e;
    for (size_t i = 0; i < gguf_n_kv(g); i++) {
        const struct gguf_kv *kv = gguf_kv_at(g, i);
        if (!is(kv->key, c->drop_key) && !is(kv->key, c->set_u32) && !is(kv->key, c->set_f32) &&
            !is(kv->key, c->set_str))
            ok(gguf_put_kv(w, kv, &e));
    }
    if (c->set_u32)
        ok(gguf_put_u32(w, c->set_u32, c->u32, &e));
    if (c->set_f32)
        ok(gguf_put_f32(w, c->set_f32, c->f32, &e));
    if (c->set_str)
        ok(gguf_put_str(w, c->set_str, c->str, strlen(c->str), &e));
}

static void copy_tensors(const struct gguf *g, struct gguf_writer *w, const struct change *c)
{
    struct err e;
    int64_t odd[2] = {2, 3};
    static const float data[6] = {1, 2, 3, 4, 5, 6};
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < gguf_n_tensors(g); i++) {
            const struct gguf_tensor *t = gguf_tensor_at(g, i);
            char name[65];
            snprintf(name, sizeof name, "%.*s", (int)t->name.len, t->name.s);
            bool reshape = is(t->name, c->reshape_tensor);
            if (is(t->name, c->drop_tensor))
                continue;
            if (pass == 0 && reshape)
                ok(gguf_put_tensor(w, name, FMT_F32, 2, odd, &e));
            else if (pass == 0)
                ok(gguf_put_tensor(w, name, t->t.fmt, t->t.n_dim, t->t.dim, &e));
            else if (reshape)
                ok(gguf_put_data(w, data, sizeof data, &e));
            else if (c->poison_freqs && is(t->name, "rope_freqs.weight")) {
                float freqs[64] = {1, 0};
                ok(gguf_put_data(w, freqs, t->bytes, &e));
            } else {
                ok(gguf_put_data(w, t->t.data, t->bytes, &e));
            }
        }
        if (c->add_tensor && pass == 0)
            ok(gguf_put_tensor(w, c->add_tensor, FMT_F32, 2, odd, &e));
        else if (c->add_tensor)
            ok(gguf_put_data(w, data, sizeof data, &e));
    }
}

/* Opens a copy with this change; *m is to be freed when 0 is returned. */
static int open_changed(const struct change *c, struct model *m, struct err *e)
{
    struct gguf *g = NULL, *copy = NULL;
    struct gguf_writer *w = NULL;
    struct err own;
    if (gguf_open(MODEL, &g, &own) < 0 || gguf_writer_open(path, &w, &own) < 0)
        fail_msg("%s", own.msg);
    copy_keys(g, w, c);
    copy_tensors(g, w, c);
    const struct gguf_kv *tokens = gguf_find(g, "tokenizer.ggml.tokens");
    int n_vocab = (int)tokens->count;
    if (gguf_writer_finish(w, &own) < 0 || gguf_open(path, &copy, &own) < 0)
        fail_msg("%s", own.msg);
    int rc = model_init(copy, n_vocab, m, e);
    if (rc == 0) /* its views die with the file: keep only what is the model's own */
        weights_free(&m->w);
    gguf_close(copy);
    gguf_close(g);
    return rc;
}

static void refuse(struct change c, const char *text)
{
    struct err e;
    struct model m;
    fails(open_changed(&c, &m, &e), ERR_DATA, text);
}

static void an_unchanged_copy_is_understood(void **state)
{
    (void)state;
    struct err e;
    struct model m;
    struct change none = {0};
    ok(open_changed(&none, &m, &e));
    assert_string_equal(m.arch->name, "llama");
    assert_int_equal(m.hp.n_layer, 2);
    assert_int_equal(m.hp.n_head % m.hp.n_kv_head, 0);
    assert_true(m.n_params > 10000);
    model_free(&m);
}

static void hyperparameters_are_needed_and_in_range(void **state)
{
    (void)state;
    refuse((struct change){.set_str = "general.architecture", .str = "mamba"},
           "architecture 'mamba' is not supported; supported: llama");
    refuse((struct change){.drop_key = "general.architecture"}, "general.architecture");
    static const char *const needed[] = {"llama.block_count", "llama.embedding_length",
                                         "llama.feed_forward_length", "llama.context_length",
                                         "llama.attention.head_count"};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        refuse((struct change){.drop_key = needed[i]}, needed[i]);
        refuse((struct change){.set_u32 = needed[i], .u32 = 0}, needed[i]);
        refuse((struct change){.set_u32 = needed[i], .u32 = 0xffffffff}, needed[i]);
        refuse((struct change){.set_str = needed[i], .str = "8"}, needed[i]);
    }
    refuse((struct change){.set_u32 = "llama.attention.head_count_kv", .u32 = 2},
           "must divide evenly");
    refuse((struct change){.set_u32 = "llama.rope.dimension_count", .u32 = 3}, "must be even");
    refuse((struct change){.set_u32 = "llama.attention.value_length", .u32 = 6}, "differ");
    refuse((struct change){.set_f32 = "llama.rope.freq_base", .f32 = NAN}, "llama.rope.freq_base");
    refuse((struct change){.set_f32 = "llama.attention.layer_norm_rms_epsilon", .f32 = -1},
           "epsilon");
    refuse((struct change){.drop_key = "llama.attention.layer_norm_rms_epsilon"},
           "key 'llama.attention.layer_norm_rms_epsilon' is missing");
    refuse((struct change){.poison_freqs = true}, "rope_freqs.weight element 1 is 0");
}

/* An architecture that this program lacks is refused with its difference. Experts come first. */
static void unknown_architectures_are_refused_with_their_reason(void **state)
{
    (void)state;
    refuse((struct change){.set_str = "general.architecture",
                           .str = "gemma2",
                           .set_f32 = "gemma2.attn_logit_softcapping",
                           .f32 = 50},
           "architecture 'gemma2' is not supported: it has soft-capping of attention scores; "
           "supported: llama, qwen2, qwen3, phi3, gemma3");
    refuse((struct change){.set_str = "general.architecture",
                           .str = "qwen3moe",
                           .set_u32 = "qwen3moe.expert_count",
                           .u32 = 128,
                           .set_f32 = "qwen3moe.logit_scale",
                           .f32 = 2},
           "architecture 'qwen3moe' is not supported: it has a mixture of experts; supported");
    refuse((struct change){.set_str = "general.architecture", .str = "mamba"},
           "architecture 'mamba' is not supported; supported");
}

/* Tensors of an image encoder are left out. */
static void only_the_text_of_a_model_with_images_is_read(void **state)
{
    (void)state;
    struct err e;
    struct model m;
    struct change vision = {.add_tensor = "v.blk.0.attn_q.weight"};
    struct change projector = {.add_tensor = "mm.mm_input_projection.weight"};
    ok(open_changed(&vision, &m, &e));
    model_free(&m);
    ok(open_changed(&projector, &m, &e));
    model_free(&m);
    refuse((struct change){.add_tensor = "vblk.0.attn_q.weight"}, "has no place");
}

static void tensors_must_all_be_there_fit_and_be_used(void **state)
{
    (void)state;
    refuse((struct change){.drop_tensor = "blk.1.ffn_down.weight"}, "blk.1.ffn_down.weight");
    refuse((struct change){.drop_tensor = "token_embd.weight"}, "token_embd.weight");
    refuse((struct change){.reshape_tensor = "blk.0.attn_q.weight"}, "blk.0.attn_q.weight");
    refuse((struct change){.add_tensor = "blk.0.ffn_gate_exps.weight"},
           "'blk.0.ffn_gate_exps.weight' has no place");
    refuse((struct change){.set_u32 = "llama.block_count", .u32 = 1}, "has no place");
    refuse((struct change){.set_u32 = "llama.block_count", .u32 = 3}, "blk.2.attn_norm.weight");
}

static void linear_scaling_divides_the_frequencies(void **state)
{
    (void)state;
    struct err e;
    struct model plain, scaled;
    struct change none = {0};
    struct change scale = {.set_str = "llama.rope.scaling.type",
                           .str = "linear",
                           .set_f32 = "llama.rope.scaling.factor",
                           .f32 = 4};
    ok(open_changed(&none, &plain, &e));
    ok(open_changed(&scale, &scaled, &e));
    for (int i = 0; i < plain.hp.rotary.n_rot / 2; i++)
        assert_true(fabsf(plain.inv_freq[i] / scaled.inv_freq[i] - 4) < 1e-5f);
    model_free(&plain);
    model_free(&scaled);
}

/* An outline has the tensors of the architecture's slots: those of every file, and those that its
 * flags bring. */
static void an_outline_has_the_tensors_of_its_architecture(void **state)
{
    (void)state;
    static const struct hparams hp = {.n_layer = 2,
                                      .n_embd = 256,
                                      .n_head = 4,
                                      .n_kv_head = 2,
                                      .head_dim = 64,
                                      .n_ff = 512,
                                      .n_vocab = 1000,
                                      .rotary = {.n_rot = 64}};
    static const struct {
        const char *arch;
        uint64_t more; /* parameters of a layer beside the matrices and two norms */
    } row[] = {{"llama", 0},
               {"qwen2", 256 + 2 * 128},
               {"qwen3", 2 * 64},
               {"phi3", 0},
               {"gemma3", 2 * 64 + 2 * 256}};
    const uint64_t layer = 2 * 256 + 2 * 256 * 256 + 2 * 128 * 256 + 3 * 256 * 512;
    struct err e;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        for (int tied = 0; tied < 2; tied++) {
            const struct arch *a = model_arch_find(row[i].arch, strlen(row[i].arch));
            struct model m;
            uint64_t bytes[4];
            struct plan_input in = {0};
            ok(model_outline(a, &hp, tied, MIX_F16, &m, &e));
            assert_int_equal(m.n_params, 2 * (layer + row[i].more) + 256 + (tied ? 1 : 2) * 256000);
            model_plan_sizes(&m, bytes, &in);
            assert_int_equal(in.n_layer, 2);
            const uint64_t norms = a->flags & ARCH_POST_NORM ? 2 : 1;
            assert_int_equal(in.ffn_bytes[1], norms * 4 * 256 + 2 * 3 * 256 * 512);
            assert_int_equal(in.tied_bytes, tied ? 512000 : 0);
            assert_int_equal(in.row_bytes, 1024);
            assert_int_equal(weights_tied(&m.w), tied);
            assert_null(weights_get(&m.w, SLOT_FFN_UP_BIAS, 0)->data);
            assert_int_equal(weights_get(&m.w, SLOT_FFN_UP_BIAS, 0)->n_dim, 0);
            model_free(&m);
        }
    assert_null(model_arch_find("mamba", 5));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unchanged_copy_is_understood),
        cmocka_unit_test(hyperparameters_are_needed_and_in_range),
        cmocka_unit_test(unknown_architectures_are_refused_with_their_reason),
        cmocka_unit_test(only_the_text_of_a_model_with_images_is_read),
        cmocka_unit_test(tensors_must_all_be_there_fit_and_be_used),
        cmocka_unit_test(linear_scaling_divides_the_frequencies),
        cmocka_unit_test(an_outline_has_the_tensors_of_its_architecture),
    };
    test_mkdir(dir);
    snprintf(path, sizeof path, "%s/changed.gguf", dir);
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    test_rmdir(dir);
    return rc;
}
