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
#include <unistd.h>

#include "cushim_test.h"
#include "gguf_edit.h"
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

/* The result of attention is normed, that of ffn is added: the share of x is fetched anew. */
static void a_norm_after_one_part_alone_gives_the_same_bits(void **state)
{
    (void)state;
    char path[64];
    snprintf(path, sizeof path, "/tmp/t_cudahost_parallel.%d.gguf", (int)getpid());
    steps_close(&sc);
    gguf_edit(TEST_GOLDEN "/wide-formats.gguf", path, "bias:post_attention_norm.weight=256");
    steps_open(&sc, path);
    assert_true(weights_own(&sc.m.w, SLOT_ATTN_POST_NORM, 0) &&
                !weights_own(&sc.m.w, SLOT_FFN_POST_NORM, 0));
    for (int n = 2; n <= 4; n += 2) {
        shared_by(n);
        steps_same_bits(&sc, "a norm after attention");
    }
    unlink(path);
}

/* A cache of eight bits takes heads of 64 elements. */
static void the_cache_may_have_eight_bits(void **state)
{
    (void)state;
    struct err e;
    steps_close(&sc);
    steps_open(&sc, TEST_SOURCE "/configs/demo/toy_mini.gguf");
    sc.kv_fmt = FMT_Q8_0;
    steps_layers(&sc, 1, (int[]){0, sc.m.hp.n_layer});
    float first = sc.want[sc.n_logits - 1];
    ok(steps_run(&sc, sc.want, &e));
    assert_true(first != sc.want[sc.n_logits - 1]);
    shared_by(2);
    steps_same_bits(&sc, "a cache of eight bits");
}

/* Through pinned memory or not, late or in reverse order. A slot of the gathers that is written too
 * early, or a missing wait, shows. */
static void every_way_and_order_gives_the_same_bits(void **state)
{
    (void)state;
    char what[80];
    for (int n = 2; n <= 4; n += 2)
        for (int v = 0; v < 8; v++) {
            shared_by(n);
            sc.plan.rows_output = v != 5;
            for (int a = 0; a < n; a++)
                for (int b = a + 1; b < n; b++)
                    cushim_apart(a, b, v % 4 == 1 || (v % 4 == 3 && (a + b) % 2));
            cushim_lazy(v >= 2);
            cushim_order(v % 2 ? CUSHIM_REVERSE : CUSHIM_FORWARD, 1);
            const long before = cushim_peer_copies();
            snprintf(what, sizeof what, "%d devices, variant %d", n, v);
            steps_same_bits(&sc, what);
            assert_true((cushim_peer_copies() > before) == (v % 4 != 1 && !(n == 2 && v % 4 == 3)));
        }
}

/* Device 0 runs all of a step before the others begin. */
static void a_device_that_runs_ahead_waits_for_the_others(void **state)
{
    (void)state;
    sc.ahead = true;
    for (int way = 0; way < 2; way++) {
        shared_by(2);
        cushim_apart(0, 1, way);
        cushim_lazy(1);
        steps_same_bits(&sc, "ahead");
    }
}

/* ---- shares ---------------------------------------------------------------------------------- */

static void no_device_has_more_than_its_share(void **state)
{
    (void)state;
    struct err e;
    struct place *p;
    struct cushim_objects before, after;
    const uint64_t whole = weights_bytes(&sc.m.w),
                   embed = weights_part_bytes(&sc.m.w, PART_EMBED, 0);
    for (int n = 2; n <= 4; n += 2) {
        uint64_t more = weights_share_more(&sc.m.w, PART_OUTPUT, 0);
        for (int l = 0; l < sc.m.hp.n_layer; l++)
            more += weights_share_more(&sc.m.w, PART_ATTN, l) +
                    weights_share_more(&sc.m.w, PART_FFN, l);
        shared_by(n);
        cushim_live(&before);
        ok(place_open(&sc.plan, &sc.m.w, sc.gpu, sc.cpu, NULL, 0, &p, &e));
        cushim_live(&after);
        const uint64_t have = after.device_bytes - before.device_bytes,
                       most = embed + (whole - embed) + (uint64_t)n * more;
        if (have > most || have < whole)
            fail_msg("%d devices have %llu bytes, at most %llu", n, (unsigned long long)have,
                     (unsigned long long)most);
        place_free(p);
    }
    shared_by(2);
    sc.plan.ffn[1] = PLAN_STREAM;
    fails(place_open(&sc.plan, &sc.m.w, sc.gpu, sc.cpu, NULL, 0, &p, &e), ERR_BUG,
          "a part of layer 1 is streamed, and all devices share it");
    shared_by(2);
    struct ops *gone[2] = {sc.gpu[0], NULL};
    fails(place_open(&sc.plan, &sc.m.w, gone, sc.cpu, NULL, 0, &p, &e), ERR_BUG,
          "no backend for device 1");
}

/* Of a tied matrix the first device's share is the beginning of the embedding: one copy. */
static void a_tied_matrix_lies_on_the_first_device_once(void **state)
{
    (void)state;
    struct err e;
    struct place *p;
    const struct tensor *embed[SLOT_COUNT], *output[2][SLOT_COUNT];
    steps_close(&sc);
    steps_open(&sc, TEST_SOURCE "/configs/demo/toy_mini.gguf");
    assert_true(weights_tied(&sc.m.w));
    shared_by(2);
    ok(place_open(&sc.plan, &sc.m.w, sc.gpu, sc.cpu, NULL, 0, &p, &e));
    ok(place_load(p, NULL, NULL, &e));
    ok(place_part(p, PART_EMBED, 0, embed, &e));
    for (int k = 0; k < 2; k++)
        place_share(p, PART_OUTPUT, 0, k, output[k]);
    assert_ptr_equal(output[0][SLOT_OUTPUT]->data, embed[SLOT_TOKEN_EMBD]->data);
    assert_int_equal(tensor_rows(output[0][SLOT_OUTPUT]), sc.m.hp.n_vocab / 2);
    assert_int_equal(tensor_rows(output[1][SLOT_OUTPUT]), sc.m.hp.n_vocab / 2);
    assert_int_equal(tensor_rows(embed[SLOT_TOKEN_EMBD]), sc.m.hp.n_vocab);
    const struct tensor *file = weights_get(&sc.m.w, SLOT_TOKEN_EMBD, 0);
    assert_memory_equal(embed[SLOT_TOKEN_EMBD]->data, file->data, tensor_bytes(file));
    assert_memory_equal(output[1][SLOT_OUTPUT]->data, (char *)file->data + tensor_bytes(file) / 2,
                        tensor_bytes(file) / 2);
    place_free(p);
}

static void a_share_of_a_slot_is_a_range_of_rows(void **state)
{
    (void)state;
    struct err e;
    struct tensor t;
    steps_close(&sc);
    steps_open(&sc, TEST_GOLDEN "/logits_llama_bias.gguf");
    const struct tensor *q = weights_get(&sc.m.w, SLOT_ATTN_Q, 1),
                        *b = weights_get(&sc.m.w, SLOT_ATTN_Q_BIAS, 1),
                        *norm = weights_get(&sc.m.w, SLOT_ATTN_NORM, 1);
    ok(weights_share(&sc.m.w, SLOT_ATTN_Q, 1, 1, 2, &t, &e));
    assert_int_equal(tensor_rows(&t), tensor_rows(q) / 2);
    assert_ptr_equal(t.data, (char *)q->data + tensor_bytes(q) / 2);
    ok(weights_share(&sc.m.w, SLOT_ATTN_Q_BIAS, 1, 1, 2, &t, &e));
    assert_int_equal(tensor_bytes(&t), tensor_bytes(b) / 2);
    assert_ptr_equal(t.data, (char *)b->data + tensor_bytes(b) / 2);
    ok(weights_share(&sc.m.w, SLOT_ATTN_NORM, 1, 1, 2, &t, &e));
    assert_ptr_equal(t.data, norm->data);
    assert_int_equal(tensor_bytes(&t), tensor_bytes(norm));
    fails(weights_share(&sc.m.w, SLOT_ATTN_Q, 1, 0, 7, &t, &e), ERR_BUG, "share 0 of 7");
    ok(weights_share(&sc.m.w, SLOT_ATTN_POST_NORM, 1, 0, 7, &t, &e));
    assert_null(t.data);
}

/* ---- failures -------------------------------------------------------------------------------- */

static int small_set_up(void **state)
{
    (void)state;
    steps_open(&sc, TEST_GOLDEN "/logits_llama_gqa.gguf");
    shared_by(2);
    cushim_quiet(1);
    log_set_level(LOG_ERROR); /* memory that cannot be pinned gives warnings */
    return 0;
}

static int small_tear_down(void **state)
{
    cushim_quiet(0);
    log_set_level(LOG_WARN);
    return tear_down(state);
}

static void a_call_of_any_device_that_fails_ends_the_step_with_its_name(void **state)
{
    (void)state;
    steps_fail_calls(&sc, 60, 23);
}

static void a_device_that_is_lost_is_named(void **state)
{
    (void)state;
    steps_lose_devices(&sc, 9);
}

static void results_of_a_step_on_a_lost_device_are_refused(void **state)
{
    (void)state;
    cushim_lazy(1);
    for (sc.lost = 1; sc.lost <= 2; sc.lost++)
        if (!steps_failed(&sc, sc.lost - 1, 0, "after the last step"))
            fail_msg("GPU %d is lost before its work has run: no error", sc.lost - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
#define SMALL(f) cmocka_unit_test_setup_teardown(f, small_set_up, small_tear_down)
        cmocka_unit_test(every_model_gives_the_bits_of_one_device),
        TEST(the_cache_may_have_eight_bits),
        TEST(a_norm_after_one_part_alone_gives_the_same_bits),
        TEST(every_way_and_order_gives_the_same_bits),
        TEST(a_device_that_runs_ahead_waits_for_the_others),
        TEST(no_device_has_more_than_its_share),
        TEST(a_tied_matrix_lies_on_the_first_device_once),
        TEST(a_share_of_a_slot_is_a_range_of_rows),
        SMALL(a_call_of_any_device_that_fails_ends_the_step_with_its_name),
        SMALL(a_device_that_is_lost_is_named),
        SMALL(results_of_a_step_on_a_lost_device_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
