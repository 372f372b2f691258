/*
 * Tensor parallel on simulated cards (kernels/sim.h): the clock of the whole engine against the
 * prediction of the plan, and against closed forms. Calls of the host and copies take the times
 * that the plan assumes.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "rng.h"
#include "simulate.h"
#include "test.h"

static char model[3][64];
static const char *const shape[3] = {"gemma3-4b", "llama3-70b", "qwen2.5-7b"};

static int make_models(void **state)
{
    (void)state;
    const char *mas = getenv("MAS");
    for (int i = 0; i < 3 && mas; i++) {
        char command[256];
        snprintf(model[i], sizeof model[i], "/tmp/t_sim_parallel.%d.%d.gguf", (int)getpid(), i);
        snprintf(command, sizeof command, "%s synth --shape %s --hollow --quiet %s", mas, shape[i],
                 model[i]);
        if (system(command))
            return -1;
    }
    return 0;
}

static int remove_models(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        unlink(model[i]);
    return 0;
}

/* n cards of these figures that share every matrix, through main memory. */
static struct simulate shared_by(int n, double gib, double vram, double link)
{
    if (!getenv("MAS"))
        skip();
    struct simulate in = {.model = model[1],
                          .vram_bytes = (uint64_t)(gib * 1073741824),
                          .ram_bytes = (uint64_t)64 << 30,
                          .rates = {.vram = vram,
                                    .link = link,
                                    .host = 55e9,
                                    .dram = 65e9,
                                    .device_ops = 330e12,
                                    .host_ops = 1e12,
                                    .hop_s = 3e-5},
                          .cpu_layers = PLAN_ANY,
                          .split = PLAN_ROWS,
                          .mode = PLAN_LATENCY,
                          .n_ctx = 896,
                          .n_seq = 1,
                          .kv_fmt = FMT_Q8_0,
                          .n_prompt = 440,
                          .n_step = 4,
                          .n_warm = 3,
                          .n_more = n - 1};
    for (int i = 0; i < n - 1; i++)
        in.more[i] = (struct sim_card){
            .vram_bytes = in.vram_bytes, .vram = vram, .link = link, .device_ops = 330e12};
    return in;
}

/* Half of the weights on each card, 4 gathers a layer of two copies. Without tensor parallel the
 * pair takes the whole weights one after the other. */
static void a_70b_on_a_pair(void **state)
{
    (void)state;
    struct err e;
    struct simulated r, layers;
    struct simulate in = shared_by(2, 23, 1008e9, 25e9);
    ok(simulate_run(&in, &r, &e));
    assert_int_equal(r.plan.split, PLAN_ROWS);
    const double gathers = 80 * (4 * 2e-5 + (3 * 32768 + 114688) / 2.0 * 2 / 25e9),
                 want = (42.5e9 - 0.59e9 + r.kv_len * 174080.0) / 2 / 1008e9 + gathers;
    in.split = PLAN_LAYERS;
    ok(simulate_run(&in, &layers, &e));
    print_message("simulated, 70B on 2 x RTX 4090, one sequence: %.2f tok/s by rows (closed form "
                  "%.2f, predicted %.2f), %.2f by layers\n",
                  1 / r.step_s, 1 / want, 1 / r.plan.one.step_s, 1 / layers.step_s);
    assert_true(fabs(r.step_s / want - 1) < 0.05);
    assert_true(layers.step_s > 1.3 * r.step_s);
    simulated_free(&layers);
    simulated_free(&r);
}

/* Each card's memory that the engine takes is what the plan counts, or a little less. */
static void the_plan_counts_the_memory_of_each_card(void **state)
{
    (void)state;
    struct err e;
    struct simulated r;
    for (int n = 2; n <= 4; n += 2) {
        struct simulate in = shared_by(n, n == 2 ? 23 : 12, 1008e9, 25e9);
        ok(simulate_run(&in, &r, &e));
        for (int d = 0; d < n; d++)
            assert_true(r.plan.share[d].total_bytes <= in.vram_bytes);
        simulated_free(&r);
        in.vram_bytes = in.more[0].vram_bytes = (uint64_t)16 << 30;
        if (n == 2)
            fails(simulate_run(&in, &r, &e), ERR_USAGE, "do not fit the devices");
    }
}

/* A number between the two, on a logarithmic scale. */
static double draw(uint64_t *rng, double least, double most)
{
    *rng = rng_key(*rng, 1, 2);
    return least * pow(most / least, rng_uniform(*rng, 0));
}

/* Random cards, loads and models: each prediction is within 5 %. PLACEMENTS: their number. */
static void predictions_are_right_within_five_per_cent(void **state)
{
    (void)state;
    struct err e;
    uint64_t rng = 7;
    double worst = 0;
    int n_run = 0, called = 0;
    const char *asked = getenv("PLACEMENTS");
    const int most = asked ? atoi(asked) : 21;
    for (int i = 0; i < most; i++) {
        struct simulated r;
        const int which = i % 3, n = which == 2 ? (i % 2 ? 4 : 2) : 2 + 2 * (i / 3 % 2);
        struct simulate in = shared_by(n, 100, draw(&rng, 300e9, 3e12), draw(&rng, 6e9, 60e9));
        in.model = model[which];
        for (int k = 0; k < n - 1; k++) {
            in.more[k].vram = i % 5 ? draw(&rng, 300e9, 3e12) : in.rates.vram;
            in.more[k].link = i % 5 ? draw(&rng, 6e9, 60e9) : in.rates.link;
        }
        in.peer = i % 4 == 1 ? draw(&rng, 10e9, 400e9) : 0;
        in.n_seq = (int)draw(&rng, 1, 49);
        in.n_prompt = 440 - in.n_seq / 2;
        in.mode = in.n_seq > 1 ? PLAN_THROUGHPUT : PLAN_LATENCY;
        ok(simulate_run(&in, &r, &e));
        assert_int_equal(r.plan.split, PLAN_ROWS);
        const double off = r.step_s / r.plan.all.step_s - 1;
        if (fabs(off) > 0.05)
            fail_msg("run %d: %d cards, %s, %d sequences, peer %g: %.5f s, predicted %.5f s (calls "
                     "%.5f, cards %.5f, gathers %.5f): %.1f %% off",
                     i, n, shape[which], r.plan.n_seq, in.peer, r.step_s, r.plan.all.step_s,
                     r.plan.all.call_s, r.plan.all.device_s, r.plan.all.border_s, 100 * off);
        worst = fabs(off) > worst ? fabs(off) : worst;
        called += r.plan.all.call_s >= 0.9 * r.plan.all.step_s;
        n_run++;
        simulated_free(&r);
    }
    print_message("%d configurations, the calls of the host limit %d of them, at most %.1f %% "
                  "off\n",
                  n_run, called, 100 * worst);
    assert_true(n_run == most && called >= most / 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_70b_on_a_pair),
        cmocka_unit_test(the_plan_counts_the_memory_of_each_card),
        cmocka_unit_test(predictions_are_right_within_five_per_cent),
    };
    return cmocka_run_group_tests(tests, make_models, remove_models);
}
