/*
 * Tensor parallel: devices share every matrix, and logits have the bits of one device. Nothing of
 * this changes them:
 *   - architecture, format of weights, format of the KV cache
 *   - one row or many in a step
 *   - the way between devices: peer access, or pinned memory
 *   - devices that run late, work in reverse order
 */
#include <stdio.h>
#include <string.h>

#include "cushim_test.h"
#include "log.h"
#include "steps.h"
#include "test.h"

static struct steps sc;

/* n devices share every matrix. */
static void shared_by(int n)
{
    const struct hparams *hp = &sc.m.hp;
    steps_plan(&sc, n);
    sc.plan.split = PLAN_ROWS;
    sc.plan.rows_output = hp->n_vocab % n == 0;
    for (int d = 0; d < n; d++)
        sc.plan.share[d] = (struct plan_share){.n = hp->n_layer};
}

static bool divides(int n)
{
    const struct hparams *hp = &sc.m.hp;
    return hp->n_kv_head % n == 0 && hp->n_embd % n == 0 && hp->n_ff % n == 0;
}

static int tear_down(void **state)
{
    (void)state;
    cushim_lazy(0);
    cushim_order(CUSHIM_FORWARD, 1);
    steps_close(&sc);
    return 0;
}

static int set_up(void **state)
{
    (void)state;
    steps_open(&sc, TEST_GOLDEN "/wide-formats.gguf"); /* 4 KV heads, five layers, Q2_K to Q6_K */
    return 0;
}

static void every_model_gives_the_bits_of_one_device(void **state)
{
    (void)state;
    static const char *const model[] = {
        TEST_GOLDEN "/logits_gemma3.gguf",         TEST_GOLDEN "/logits_gemma3_pattern.gguf",
        TEST_GOLDEN "/logits_llama_2.gguf",        TEST_GOLDEN "/logits_llama_bias.gguf",
        TEST_GOLDEN "/logits_llama_gqa.gguf",      TEST_GOLDEN "/logits_llama_head_dim.gguf",
        TEST_GOLDEN "/logits_llama_mha_tied.gguf", TEST_GOLDEN "/logits_mistral_window.gguf",
        TEST_GOLDEN "/logits_phi3.gguf",           TEST_GOLDEN "/logits_phi3_long.gguf",
        TEST_GOLDEN "/logits_qwen2.gguf",          TEST_GOLDEN "/logits_qwen3.gguf",
        TEST_GOLDEN "/wide-formats.gguf",          TEST_SOURCE "/configs/demo/toy_mini.gguf"};
    int n_run = 0, n_output = 0;
    for (size_t i = 0; i < sizeof model / sizeof *model; i++) {
        char what[200];
        steps_open(&sc, model[i]);
        for (int n = 2; n <= STEPS_DEVICES; n++) {
            if (!divides(n))
                continue;
            shared_by(n);
            cushim_apart(0, 1, n_run % 2);
            cushim_lazy(n_run % 3 == 0);
            snprintf(what, sizeof what, "%s, %d devices", strrchr(model[i], '/') + 1, n);
            print_message("%s%s\n", what, sc.plan.rows_output ? ", output divided" : "");
            steps_same_bits(&sc, what);
            n_run++;
            n_output += sc.plan.rows_output;
        }
        (void)tear_down(NULL);
    }
    assert_true(n_run >= 14 && n_output >= 4);
}

static void the_cache_may_have_eight_bits(void **state)
{
    (void)state;
    struct err e;
    sc.kv_fmt = FMT_Q8_0;
    steps_close(&sc);
    steps_open(&sc, TEST_GOLDEN "/stories260K-Q4_1.gguf");
    sc.kv_fmt = sc.m.hp.head_dim % 32 ? FMT_F16 : FMT_Q8_0;
    steps_layers(&sc, 1, (int[]){0, sc.m.hp.n_layer});
    ok(steps_run(&sc, sc.want, &e));
    shared_by(2);
    steps_same_bits(&sc, "cache");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        cmocka_unit_test(every_model_gives_the_bits_of_one_device),
        TEST(the_cache_may_have_eight_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
