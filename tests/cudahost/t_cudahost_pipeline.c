/*
 * A model on several devices: logits have the bits of one device. Nothing of this changes them:
 *   - the cut of the layers, parts that are streamed, the number of micro-batches
 *   - the way between devices: peer access, or pinned memory
 *   - devices that run late, work in reverse order
 */
#include <stdio.h>
#include <string.h>

#include "cushim_test.h"
#include "log.h"
#include "serve.h"
#include "steps.h"
#include "test.h"

static struct steps sc;

static void micro_batches(int n)
{
    sc.plan.n_micro = n;
    sc.plan.micro_rows = 1;
}

static int set_up(void **state)
{
    (void)state;
    steps_open(&sc, TEST_GOLDEN "/logits_gemma3.gguf");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    cushim_lazy(0);
    cushim_order(CUSHIM_FORWARD, 1);
    steps_close(&sc);
    return 0;
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void two_devices_give_the_bits_of_one_at_every_cut(void **state)
{
    (void)state;
    char what[80];
    const int n = sc.m.hp.n_layer;
    for (int cut = 1; cut < n; cut++)
        for (int way = cut % 2; way <= (cut < 3 ? 1 : cut % 2); way++) {
            cushim_apart(0, 1, way);
            cushim_lazy(way);
            steps_layers(&sc, 2, (int[]){0, cut, n});
            snprintf(what, sizeof what, "%d of %d layers on device 0, %s", cut, n,
                     way ? "through pinned memory, late" : "peer access");
            steps_same_bits(&sc, what);
            assert_true(way || cushim_peer_copies() > 0);
        }
}

static void micro_batches_give_the_same_bits(void **state)
{
    (void)state;
    char what[80];
    const int n = sc.m.hp.n_layer;
    for (int n_micro = 2; n_micro <= 7; n_micro += n_micro < 4 ? 1 : 3) {
        cushim_apart(0, 1, n_micro % 2);
        cushim_apart(1, 2, n_micro % 3 == 0);
        cushim_lazy(1);
        cushim_order(n_micro % 2 ? CUSHIM_REVERSE : CUSHIM_FORWARD, 1);
        steps_layers(&sc, 2 + n_micro % 2, (int[]){0, 1, n_micro % 2 ? 2 : n, n});
        micro_batches(n_micro);
        snprintf(what, sizeof what, "%d micro-batches on %d devices", n_micro, sc.plan.n_device);
        steps_same_bits(&sc, what);
    }
}

static void a_device_without_layers_is_left_out(void **state)
{
    (void)state;
    const int n = sc.m.hp.n_layer;
    steps_layers(&sc, 4, (int[]){0, 0, n - 1, n - 1, n});
    steps_same_bits(&sc, "layers on devices 1 and 3 only");
}

static void streamed_parts_stream_to_their_device(void **state)
{
    (void)state;
    char what[80];
    const int n = sc.m.hp.n_layer;
    for (int v = 0; v < 4; v++) {
        steps_layers(&sc, 2, (int[]){0, 1, n});
        for (int l = 0; l < n; l++)
            if (v < 2 || l % 2)
                sc.plan.attn[l] = sc.plan.ffn[l] = PLAN_STREAM;
        sc.plan.keep_pinned = v % 2;
        sc.plan.output = v < 2 ? PLAN_STREAM : PLAN_VRAM;
        cushim_lazy(v % 2);
        snprintf(what, sizeof what, "streamed, variant %d", v);
        steps_same_bits(&sc, what);
    }
}

/* Layer 1 runs its feed-forward part on the CPU in both plans: on one device, then on two. */
static void a_part_on_the_cpu_lies_between_parts_of_its_device(void **state)
{
    (void)state;
    struct err e;
    const int n = sc.m.hp.n_layer;
    for (int cut = 1; cut <= 2; cut++) {
        steps_layers(&sc, 1, (int[]){0, n});
        sc.plan.ffn[1] = sc.plan.embed = PLAN_HOST;
        ok(steps_run(&sc, sc.want, &e));
        steps_layers(&sc, 2, (int[]){0, cut, n});
        sc.plan.ffn[1] = sc.plan.embed = PLAN_HOST;
        cushim_apart(0, 1, cut % 2);
        steps_same_bits(&sc, "a part on the CPU");
    }
}

/* The CPU gathers embeddings for each of several micro-batches. */
static void embeddings_of_micro_batches_may_come_from_the_cpu(void **state)
{
    (void)state;
    steps_layers(&sc, 2, (int[]){0, 1, sc.m.hp.n_layer});
    sc.plan.embed = PLAN_HOST;
    micro_batches(4);
    cushim_lazy(1);
    steps_same_bits(&sc, "embeddings from the CPU");
}

/* Each lane records its own layers, for each micro-batch. Recordings need devices of their own:
 * they outlive the memory that they use. */
static void recorded_steps_give_the_same_bits(void **state)
{
    (void)state;
    struct err e;
    for (int n_micro = 1; n_micro <= 3; n_micro += 2) {
        struct cushim_objects before, after;
        steps_close_devices(&sc);
        steps_open_devices(&sc);
        steps_layers(&sc, 2, (int[]){0, 1, sc.m.hp.n_layer});
        micro_batches(n_micro);
        sc.record = true;
        cushim_lazy(n_micro % 2);
        cushim_live(&before);
        ok(steps_run(&sc, sc.got, &e));
        cushim_live(&after);
        assert_memory_equal(sc.got, sc.want, sc.n_logits * sizeof *sc.got);
        assert_int_equal(after.graphs - before.graphs, 2 * n_micro);
    }
}

/* A device that runs ahead must wait before it overwrites rows. The host build asks a stream before
 * each op, which runs it; a replay of five micro-batches does not ask. */
static void a_device_that_runs_ahead_waits_for_the_others(void **state)
{
    (void)state;
    struct err e;
    for (int way = 0; way < 2; way++) {
        steps_close_devices(&sc);
        steps_open_devices(&sc);
        cushim_apart(0, 1, way);
        steps_layers(&sc, 2, (int[]){0, 1, sc.m.hp.n_layer});
        micro_batches(5);
        sc.record = sc.ahead = true;
        cushim_lazy(1);
        ok(steps_run(&sc, sc.got, &e));
        assert_memory_equal(sc.got, sc.want, sc.n_logits * sizeof *sc.got);
    }
}

/* ---- failures -------------------------------------------------------------------------------- */

static int small_set_up(void **state)
{
    (void)state;
    steps_open(&sc, TEST_GOLDEN "/logits_llama_gqa.gguf");
    steps_layers(&sc, 2, (int[]){0, 1, 2});
    micro_batches(2);
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
    steps_fail_calls(&sc, 8, 17);
}

static void a_device_that_is_lost_is_named(void **state)
{
    (void)state;
    steps_lose_devices(&sc, 6);
}

/* The work of the last step is queued and has not run. */
static void results_of_a_step_on_a_lost_device_are_refused(void **state)
{
    (void)state;
    cushim_lazy(1);
    sc.record = true; /* a replay asks no stream */
    for (sc.lost = 1; sc.lost <= 2; sc.lost++) {
        steps_close_devices(&sc);
        steps_open_devices(&sc);
        if (!steps_failed(&sc, sc.lost - 1, 0, "after the last step"))
            fail_msg("GPU %d is lost before its work has run: no error", sc.lost - 1);
    }
}

static void refused(struct engine_options o, const char *item0, const char *item1, int code,
                    const char *why)
{
    struct engine *en = NULL;
    struct err e;
    o.devices = (struct option_list){.item = {item0, item1}, .n = item1 ? 2 : 1};
    fails(engine_open(&o, &en, &e), code, why);
    assert_int_equal(cushim_live(NULL), 0);
}

/* --devices and the key devices name GPUs, each once. */
static void devices_are_numbers_that_exist(void **state)
{
    (void)state;
    struct engine_options o = serve_options();
    cushim_devices(2);
    o.backend = "cudahost";
    refused(o, "0", "0", ERR_USAGE, "GPU 0 is named twice");
    refused(o, "0,1,1", NULL, ERR_USAGE, "GPU 1 is named twice");
    refused(o, "0,x", NULL, ERR_USAGE, "'x' is no number of a GPU");
    refused(o, "", NULL, ERR_USAGE, "'' is no number of a GPU");
    refused(o, "0 1", NULL, ERR_USAGE, "a comma stands between");
    refused(o, "0,1,2,3,4,5,6,7,8", NULL, ERR_USAGE, "more than 8 GPUs");
    refused(o, "0", "2", ERR_NODEV, "no GPU 2: there are 2");
    o.device = 1;
    refused(o, "0", NULL, ERR_USAGE, "exclude each other");
    o.device = 0;
    o.backend = "cpu";
    refused(o, "all", NULL, ERR_NODEV, "backend cpu uses none");
    cushim_devices(1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        TEST(two_devices_give_the_bits_of_one_at_every_cut),
        TEST(micro_batches_give_the_same_bits),
        TEST(a_device_without_layers_is_left_out),
        TEST(streamed_parts_stream_to_their_device),
        TEST(a_part_on_the_cpu_lies_between_parts_of_its_device),
        TEST(embeddings_of_micro_batches_may_come_from_the_cpu),
        TEST(recorded_steps_give_the_same_bits),
        TEST(a_device_that_runs_ahead_waits_for_the_others),
        cmocka_unit_test_setup_teardown(a_call_of_any_device_that_fails_ends_the_step_with_its_name,
                                        small_set_up, small_tear_down),
        cmocka_unit_test_setup_teardown(a_device_that_is_lost_is_named, small_set_up,
                                        small_tear_down),
        cmocka_unit_test_setup_teardown(results_of_a_step_on_a_lost_device_are_refused,
                                        small_set_up, small_tear_down),
        cmocka_unit_test(devices_are_numbers_that_exist),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
