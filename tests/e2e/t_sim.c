/*
 * The whole engine on a simulated card (kernels/sim.h). Its clock is compared with closed forms of
 * physics, and the plan's predictions with the clock. Weights are zeros that no kernel reads, so a
 * 70B model takes a fraction of a second.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "capture.h"
#include "simulate.h"
#include "stage.h"
#include "test.h"

static char model_8b[64], model_70b[64], model_1b[64];

static int make_models(void **state)
{
    (void)state;
    const char *mas = getenv("MAS");
    char command[512];
    if (!mas)
        return 0;
    snprintf(model_8b, sizeof model_8b, "/tmp/t_sim.%d.8b.gguf", (int)getpid());
    snprintf(model_70b, sizeof model_70b, "/tmp/t_sim.%d.70b.gguf", (int)getpid());
    snprintf(model_1b, sizeof model_1b, "/tmp/t_sim.%d.1b.gguf", (int)getpid());
    snprintf(command, sizeof command,
             "%s synth --shape llama3-8b --hollow --quiet %s && "
             "%s synth --shape llama3-70b --hollow --quiet %s && %s synth --shape llama3.2-1b "
             "--hollow --quiet %s",
             mas, model_8b, mas, model_70b, mas, model_1b);
    return system(command);
}

static int remove_models(void **state)
{
    (void)state;
    unlink(model_8b);
    unlink(model_70b);
    unlink(model_1b);
    return 0;
}

/* An RTX 4090 with the figures of design documents: 1,008 GB/s, 25 GB/s; 23 of its 24 GiB. */
static struct simulate rtx4090(const char *model, int n_seq)
{
    if (!getenv("MAS"))
        skip();
    return (struct simulate){.model = model,
                             .vram_bytes = (uint64_t)23 << 30,
                             .ram_bytes = (uint64_t)64 << 30,
                             .rates = {.vram = 1008e9,
                                       .link = 25e9,
                                       .host = 55e9,
                                       .dram = 65e9,
                                       .device_ops = 330e12,
                                       .host_ops = 1e12,
                                       .hop_s = 3e-5},
                             .cpu_layers = PLAN_ANY,
                             .n_ctx = 896,
                             .n_seq = n_seq,
                             .kv_fmt = FMT_Q8_0,
                             .n_prompt = 440 - n_seq / 2,
                             .n_step = 4,
                             .n_warm = 3};
}

static void near(const char *what, double got, double want, double share)
{
    if (!(fabs(got / want - 1) <= share))
        fail_msg("%s: %.4g, closed form %.4g: %.1f %% off", what, got, want,
                 100 * (got / want - 1));
}

static void a_resident_model_takes_its_bytes_over_the_bandwidth(void **state)
{
    (void)state;
    struct err e;
    struct simulated r;
    for (int n_seq = 1; n_seq <= 16; n_seq *= 16) {
        struct simulate in = rtx4090(model_8b, n_seq);
        ok(simulate_run(&in, &r, &e));
        assert_true(plan_is_resident(&r.plan));
        assert_int_equal(r.plan.n_seq, n_seq);
        /* 4.92 GB without the embedding's 0.3, and 68 KiB of KV a token */
        const double bytes = 4.92e9 - 0.3e9 + n_seq * (double)r.kv_len * 69632;
        near("8B", r.step_s, bytes / 1008e9, 0.05);
        assert_true(r.busy[SIM_DEVICE] > 0.97);
        simulated_free(&r);
    }
}

/* N x B / (W - V + N x kv). W = 42.5 GB of weights. V = memory of the card less ring and workspace.
 * kv = 156 MB of cache a sequence. */
static void a_70b_streams_at_the_rate_of_the_link(void **state)
{
    (void)state;
    struct err e;
    struct simulated r;
    static const int many[] = {1, 32, 143};
    for (int i = 0; i < 3; i++) {
        struct simulate in = rtx4090(model_70b, many[i]);
        in.mode = PLAN_THROUGHPUT;
        ok(simulate_run(&in, &r, &e));
        assert_int_equal(r.plan.mode, PLAN_THROUGHPUT);
        assert_int_equal(r.plan.n_seq, many[i]);
        const double v = (double)(in.vram_bytes - r.plan.ring_bytes - r.plan.workspace_bytes);
        const double n = many[i], form = n * 25e9 / (42.5e9 - v + n * 0.156e9);
        print_message("70B, %3d sequences: %.2f tok/s, closed form %.2f, plan %.2f; link busy %.1f "
                      "%%, device %.1f %%\n",
                      many[i], n / r.step_s, form, n / r.plan.all.step_s, 100 * r.busy[SIM_UP],
                      100 * r.busy[SIM_DEVICE]);
        near("70B", n / r.step_s, form, 0.05);
        assert_true(r.busy[SIM_UP] >= 0.97);
        simulated_free(&r);
    }
}

/* The CPU computes the parts that do not fit: (W - V) / host + V / vram. */
static void layers_on_the_cpu_take_its_memorys_rate(void **state)
{
    (void)state;
    struct err e;
    struct simulated r;
    struct simulate in = rtx4090(model_70b, 1);
    in.mode = PLAN_LATENCY;
    in.cpu_layers = 80;
    ok(simulate_run(&in, &r, &e));
    assert_int_equal(r.plan.stream_bytes, 0);
    const double host = (double)(r.plan.host_bytes) - 0.59e9,
                 vram = (double)r.plan.vram_weight_bytes;
    near("all ffn on the CPU", r.step_s, host / 55e9 + vram / 1008e9, 0.05);
    simulated_free(&r);
}

/* A plan that is given is carried out, for fewer sequences too, and in spite of the mode. */
static void a_given_plan_is_carried_out(void **state)
{
    (void)state;
    struct err e;
    struct simulated own, r;
    struct simulate in = rtx4090(model_70b, 24);
    in.mode = PLAN_THROUGHPUT;
    ok(simulate_run(&in, &own, &e));
    in.mode = PLAN_LATENCY;
    in.plan = &own.plan;
    in.n_run = 1;
    ok(simulate_run(&in, &r, &e));
    assert_int_equal(r.n_run, 1);
    assert_int_equal(r.plan.mode, PLAN_THROUGHPUT);
    assert_true(r.plan.stream_bytes == own.plan.stream_bytes);
    near("one sequence on the plan of 24", r.step_s, own.plan.one.step_s, 0.05);
    simulated_free(&own);
    simulated_free(&r);
}

/* Nothing of this host, neither its threads nor its clock, shows in the simulated one. Launches and
 * step_s are part of it. */
static void a_simulation_repeats_itself(void **state)
{
    (void)state;
    struct err e;
    struct simulated first, r, plain;
    for (int ring = 0; ring <= 1; ring++) { /* a ring on the host, which a thread fills */
        struct simulate in = rtx4090(ring ? model_70b : model_8b, 64);
        in.mode = PLAN_THROUGHPUT;
        in.ram_bytes = (uint64_t)(ring ? 20 : 64) << 30;
        ok(simulate_run(&in, &plain, &e));
        in.rates.launch_s = 1.5e-6;
        in.rates.step_s = 1e-4;
        ok(simulate_run(&in, &first, &e));
        ok(simulate_run(&in, &r, &e));
        assert_true(!ring || !plain.plan.keep_pinned);
        assert_true(r.step_s == first.step_s && r.n_span == first.n_span);
        if (!ring) /* 32 layers of 11 launches, 16 more for formats, 14 more */
            near("launches", first.step_s - plain.step_s, 382 * 1.5e-6 + 1e-4, 0.05);
        simulated_free(&plain);
        simulated_free(&first);
        simulated_free(&r);
    }
}

/* The split that latency mode chooses: CPU and link work at the same time, each during most of the
 * step. */
static void in_latency_mode_cpu_and_link_work_together(void **state)
{
    (void)state;
    struct err e;
    struct simulated r, alone;
    struct simulate in = rtx4090(model_70b, 1);
    in.mode = PLAN_LATENCY;
    ok(simulate_run(&in, &r, &e));
    /* CPU and link share 65 GB/s for the parts that are neither resident nor the embedding. While
     * the card computes, only the link's 25 GB/s are used. */
    const double rest = 42.5e9 - 0.59e9 - (double)r.plan.vram_weight_bytes,
                 card = r.busy[SIM_DEVICE] * r.step_s;
    near("CPU and link", r.step_s, (rest + 40e9 * card) / 65e9, 0.05);
    print_message(
        "70B, one sequence, CPU and link: %.2f tok/s, plan %.2f; link busy %.1f %%, CPU %.1f %%\n",
        1 / r.step_s, 1 / r.plan.one.step_s, 100 * r.busy[SIM_UP], 100 * r.busy[SIM_CPU]);
    in.cpu_layers = 0;
    ok(simulate_run(&in, &alone, &e));
    assert_true(r.step_s < 0.45 * alone.step_s);
    assert_true(r.busy[SIM_UP] > 0.8 && r.busy[SIM_CPU] > 0.8);
    simulated_free(&alone);
    simulated_free(&r);
}

/* A fast link that is limited gives the plan and the steps of a slow one, with parts on the CPU,
 * too. Activations keep the fast link. */
static void a_limited_link_is_a_slower_link(void **state)
{
    (void)state;
    struct err e;
    struct simulated slow, limited, fast;
    for (int latency = 0; latency <= 1; latency++) {
        struct simulate in = rtx4090(model_70b, latency ? 1 : 32);
        in.mode = latency ? PLAN_LATENCY : PLAN_THROUGHPUT;
        ok(simulate_run(&in, &slow, &e));
        in.rates.link = 60e9;
        in.rates.dram = 90e9;
        ok(simulate_run(&in, &fast, &e));
        assert_true(fast.step_s < 0.8 * slow.step_s);
        in.link_limit = 25e9;
        in.rates.dram = 65e9;
        ok(simulate_run(&in, &limited, &e));
        assert_int_equal(limited.plan.stream_bytes, slow.plan.stream_bytes);
        assert_int_equal(limited.plan.host_bytes, slow.plan.host_bytes);
        near("limited", limited.step_s, slow.step_s, 0.01);
        assert_true(limited.busy[SIM_UP] > 0.8);
        simulated_free(&slow);
        simulated_free(&limited);
        simulated_free(&fast);
    }
}

/* Weights are copied in pieces, so another copy to the device waits for one piece at most. */
static void other_copies_wait_for_one_piece_at_most(void **state)
{
    (void)state;
    struct err e;
    struct simulated r;
    struct simulate in = rtx4090(model_70b, 32);
    in.mode = PLAN_THROUGHPUT;
    ok(simulate_run(&in, &r, &e));
    int small = 0;
    for (size_t i = 0; i < r.n_span; i++) {
        assert_true(r.span[i].engine != SIM_UP || r.span[i].bytes <= (double)STAGE_PIECE);
        small += r.span[i].engine == SIM_UP && r.span[i].bytes < 1e6;
    }
    assert_true(small >= 2 * in.n_step); /* numbers of the batch, settings of the samplers */
    /* in each step the device computes the first layer long before the last one has arrived */
    assert_true(r.busy[SIM_UP] >= 0.97);
    simulated_free(&r);
}

/* Other programs take 3 GiB of the card between query and allocation. A smaller plan is found
 * before any loading. If less is left than the smallest plan needs, the message says so. */
static void a_card_with_less_than_it_says_gets_a_smaller_plan(void **state)
{
    (void)state;
    struct err e;
    struct simulated whole, r;
    struct simulate in = rtx4090(model_70b, 1);
    in.mode = PLAN_LATENCY;
    ok(simulate_run(&in, &whole, &e));
    in.lost_bytes = (uint64_t)3 << 30;
    ok(simulate_run(&in, &r, &e));
    assert_true(r.plan.n_resident < whole.plan.n_resident);
    assert_true(r.plan.total_bytes <= in.vram_bytes - in.lost_bytes);
    assert_true(r.plan.total_bytes > (in.vram_bytes - in.lost_bytes) * 9 / 10);
    simulated_free(&whole);
    simulated_free(&r);
    in.lost_bytes = in.vram_bytes - ((uint64_t)1 << 30);
    fails(simulate_run(&in, &r, &e), ERR_USAGE, "needs at least");
}

/* A draft model of 1B with an acceptance rate of two thirds. A pass over the streamed weights gives
 * about 2.6 tokens of every sequence. A batch gains the same factor, less the memory and the time
 * of the draft model. */
static void a_draft_model_multiplies_what_streamed_weights_give(void **state)
{
    (void)state;
    struct err e;
    struct simulated r, plain;
    static const int many[] = {1, 143};
    for (int i = 0; i < 2; i++) {
        struct simulate in = rtx4090(model_70b, many[i]);
        in.mode = many[i] == 1 ? PLAN_LATENCY : PLAN_THROUGHPUT;
        in.n_prompt = 60;
        in.n_step = 60;
        in.n_warm = 20;
        ok(simulate_run(&in, &plain, &e));
        in.draft_model = model_1b;
        in.max_draft = 8;
        in.spoil = 0.34;
        ok(simulate_run(&in, &r, &e));
        print_message("70B, %3d sequences: %.2f tok/s, with a 1B draft %.2f at %.2f tokens a pass; "
                      "link busy %.1f %%, device "
                      "%.1f %%\n",
                      r.plan.n_seq, plain.rate, r.rate, r.per_pass, 100 * r.busy[SIM_UP],
                      100 * r.busy[SIM_DEVICE]);
        assert_true(r.rate >= (many[i] == 1 ? 8.6 : 150)); /* the targets for this card */
        assert_true(r.per_pass > 2 && r.per_pass < 2.7);
        simulated_free(&plain);
        simulated_free(&r);
    }
}

/* Cards, links, loads and placements: each prediction is within 5 %. */
static void predictions_are_right_within_five_per_cent(void **state)
{
    (void)state;
    static const double gib[] = {10, 16, 22.5, 30, 46}, link[] = {12e9, 25e9, 50e9};
    static const struct {
        enum plan_mode mode;
        int cpu_layers, n_seq;
    } how[] = {{PLAN_THROUGHPUT, PLAN_ANY, 8},
               {PLAN_THROUGHPUT, PLAN_ANY, 48},
               {PLAN_LATENCY, PLAN_ANY, 1},
               {PLAN_LATENCY, 25, 4},
               {PLAN_AUTO, PLAN_ANY, 16}};
    struct err e;
    int n = 0;
    double worst = 0;
    for (size_t g = 0; g < sizeof gib / sizeof *gib; g++)
        for (size_t l = 0; l < sizeof link / sizeof *link; l++)
            for (size_t h = 0; h < sizeof how / sizeof *how; h++) {
                struct simulated r;
                struct simulate in = rtx4090(model_70b, how[h].n_seq);
                in.vram_bytes = (uint64_t)(gib[g] * 1073741824);
                in.rates.link = link[l];
                in.mode = how[h].mode;
                in.cpu_layers = how[h].cpu_layers;
                ok(simulate_run(&in, &r, &e));
                const double off = r.step_s / r.plan.all.step_s - 1;
                if (fabs(off) > 0.05)
                    fail_msg("%.1f GiB, %.0f GB/s, %s, %d sequences, %d layers on the CPU: %.4f s, "
                             "predicted %.4f s: "
                             "%.1f %% off",
                             gib[g], link[l] * 1e-9, plan_mode_name(in.mode), r.plan.n_seq,
                             in.cpu_layers, r.step_s, r.plan.all.step_s, 100 * off);
                worst = fabs(off) > worst ? fabs(off) : worst;
                n++;
                simulated_free(&r);
            }
    print_message("%d configurations, at most %.1f %% off\n", n, 100 * worst);
}

/* ---- several cards --------------------------------------------------------------------------- */

enum card_name { RTX_3060, RTX_3090, RTX_4090, CARDS };

/* Data sheets, 1 GiB of each for others. */
static const struct sim_card data_sheet[CARDS] = {
    [RTX_3060] = {.vram_bytes = (uint64_t)11 << 30,
                  .vram = 360e9,
                  .link = 25e9,
                  .device_ops = 51e12},
    [RTX_3090] = {.vram_bytes = (uint64_t)23 << 30,
                  .vram = 936e9,
                  .link = 25e9,
                  .device_ops = 142e12},
    [RTX_4090] = {.vram_bytes = (uint64_t)23 << 30,
                  .vram = 1008e9,
                  .link = 25e9,
                  .device_ops = 330e12},
};

static struct simulate several(const char *model, int n_seq, const struct sim_card *card, int n)
{
    struct simulate in = rtx4090(model, n_seq);
    in.vram_bytes = card[0].vram_bytes;
    in.rates.vram = card[0].vram;
    in.rates.link = card[0].link;
    in.rates.device_ops = card[0].device_ops;
    in.n_more = n - 1;
    for (int i = 1; i < n; i++)
        in.more[i - 1] = card[i];
    return in;
}

/* Other programs take 6 GiB of the second card between query and allocation. */
static void of_several_cards_the_one_with_less_than_it_says_is_named(void **state)
{
    (void)state;
    struct err e;
    struct simulated r;
    struct capture said;
    char text[4096];
    struct sim_card pair[2] = {data_sheet[RTX_4090], data_sheet[RTX_4090]};
    pair[1].lost_bytes = (uint64_t)6 << 30;
    struct simulate in = several(model_70b, 1, pair, 2);
    capture_begin(&said);
    const int rc = simulate_run(&in, &r, &e);
    capture_end(&said, text, sizeof text);
    if (rc < 0)
        fail_msg("%s", e.msg);
    assert_true(r.plan.share[1].total_bytes <= pair[1].vram_bytes - pair[1].lost_bytes);
    if (!strstr(text, "GPU 1 (") || !strstr(text, " can allocate ") || strstr(text, "GPU 0 ("))
        fail_msg("said \"%s\"", text);
    simulated_free(&r);
}

/* A 70B lies whole on two cards of 24 GiB, and on four of 12. One sequence reads all weights once,
 * at the rates of the cards. */
static void a_70b_on_several_cards(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum card_name card[4];
        int n;
        double least; /* tok/s of one sequence */
    } rig[] = {{"2 x RTX 4090", {RTX_4090, RTX_4090}, 2, 19},
               {"2 x RTX 3090", {RTX_3090, RTX_3090}, 2, 19},
               {"RTX 4090 + RTX 3090", {RTX_4090, RTX_3090}, 2, 19},
               {"4 x RTX 3060", {RTX_3060, RTX_3060, RTX_3060, RTX_3060}, 4, 6}};
    struct err e;
    for (size_t i = 0; i < sizeof rig / sizeof *rig; i++) {
        struct sim_card card[4];
        struct simulated r;
        for (int k = 0; k < rig[i].n; k++)
            card[k] = data_sheet[rig[i].card[k]];
        struct simulate in = several(model_70b, 1, card, rig[i].n);
        in.mode = PLAN_LATENCY;
        ok(simulate_run(&in, &r, &e));
        print_message(
            "simulated, 70B on %s, one sequence: %.2f tok/s, predicted %.2f; %.1f GB resident, "
            "%.1f streamed, %.1f on the CPU\n",
            rig[i].name, 1 / r.step_s, 1 / r.plan.one.step_s,
            (double)r.plan.vram_weight_bytes * 1e-9, (double)r.plan.stream_bytes * 1e-9,
            (double)r.plan.host_bytes * 1e-9);
        assert_true(1 / r.step_s >= rig[i].least);
        near("prediction", r.step_s, r.plan.one.step_s, 0.05);
        simulated_free(&r);
    }
}

/* The second card is faster: with the rates of each, it takes the whole model. With the rates of
 * one for both, the first does. */
static void each_card_has_its_own_rates(void **state)
{
    (void)state;
    struct err e;
    const struct simulate in = rtx4090(model_8b, 1);
    for (int n_rates = 0; n_rates <= 2; n_rates += 2) {
        const struct sim_config c = {.card = {data_sheet[RTX_3090], data_sheet[RTX_4090]},
                                     .n_card = 2,
                                     .host = in.rates.host};
        struct plan_rates rates[2] = {in.rates, in.rates};
        struct sim *sim;
        struct engine *en;
        rates[0].vram = c.card[0].vram;
        ok(sim_open(&c, &sim, &e));
        const struct engine_options opt = {.model = model_8b,
                                           .backend = "sim",
                                           .sim = sim,
                                           .n_threads = 1,
                                           .n_ctx = 512,
                                           .n_seq = 1,
                                           .batch_tokens = 512,
                                           .kv_fmt = FMT_Q8_0,
                                           .devices = {.item = {"0", "1"}, .n = 2},
                                           .cpu_layers = {false, PLAN_ANY},
                                           .ram_bytes = in.ram_bytes,
                                           .rates = rates,
                                           .n_rates = n_rates};
        ok(engine_open(&opt, &en, &e));
        const struct plan *p = engine_info(en)->plan;
        assert_int_equal(p->share[n_rates == 2 ? 1 : 0].n, p->n_layer);
        engine_close(en);
        sim_close(sim);
    }
}

/* 128 requests on two cards, against one of them, which streams the weights that do not fit. */
static void two_cards_give_a_batch_more_than_twice_of_one(void **state)
{
    (void)state;
    struct err e;
    struct simulated one, two;
    const struct sim_card card[2] = {data_sheet[RTX_4090], data_sheet[RTX_4090]};
    struct simulate in = several(model_70b, 128, card, 1);
    ok(simulate_run(&in, &one, &e));
    in = several(model_70b, 128, card, 2);
    ok(simulate_run(&in, &two, &e));
    print_message(
        "simulated, 70B, 128 sequences asked for: %.1f tok/s on two RTX 4090 (%d together), "
        "%.1f on one (%d together)\n",
        two.plan.n_seq / two.step_s, two.plan.n_seq, one.plan.n_seq / one.step_s, one.plan.n_seq);
    assert_true(two.plan.n_seq / two.step_s >= 1.8 * one.plan.n_seq / one.step_s);
    simulated_free(&one);
    simulated_free(&two);
}

/* Two to four cards, loads and placements: each prediction is within 5 %. */
static void predictions_of_several_cards_are_right_within_five_per_cent(void **state)
{
    (void)state;
    static const struct {
        double gib[4], vram[4], link[4], peer;
        int n;
    } rig[] = {
        {{22.5, 22.5}, {1008e9, 1008e9}, {25e9, 25e9}, 0, 2},
        {{10, 10}, {1008e9, 1008e9}, {25e9, 25e9}, 0, 2},
        {{16, 22.5}, {717e9, 1008e9}, {12e9, 25e9}, 0, 2},
        {{46, 10}, {768e9, 360e9}, {25e9, 25e9}, 25e9, 2},
        {{10, 30}, {360e9, 1792e9}, {25e9, 50e9}, 0, 2},
        {{80, 80}, {2039e9, 2039e9}, {25e9, 25e9}, 300e9, 2},
        {{22.5, 22.5, 22.5}, {936e9, 936e9, 936e9}, {12e9, 12e9, 12e9}, 0, 3},
        {{6, 10, 16}, {360e9, 717e9, 1008e9}, {25e9, 12e9, 6e9}, 0, 3},
        {{16, 10, 6}, {1008e9, 717e9, 360e9}, {50e9, 25e9, 12e9}, 56e9, 3},
        {{40, 8, 12}, {1555e9, 300e9, 600e9}, {25e9, 25e9, 25e9}, 0, 3},
        {{11, 11, 11, 11}, {360e9, 360e9, 360e9, 360e9}, {25e9, 25e9, 25e9, 25e9}, 0, 4},
        {{7, 7, 7, 7}, {360e9, 360e9, 360e9, 360e9}, {12e9, 12e9, 12e9, 12e9}, 0, 4},
        {{22.5, 11, 22.5, 6}, {936e9, 360e9, 1008e9, 500e9}, {25e9, 12e9, 25e9, 25e9}, 0, 4},
        {{80, 80, 80, 80}, {3350e9, 3350e9, 3350e9, 3350e9}, {50e9, 50e9, 50e9, 50e9}, 450e9, 4},
        {{6, 6, 6, 30}, {300e9, 300e9, 300e9, 900e9}, {6e9, 12e9, 25e9, 50e9}, 0, 4}};
    static const struct {
        enum plan_mode mode;
        int cpu_layers, n_seq;
    } how[] = {{PLAN_THROUGHPUT, PLAN_ANY, 8},
               {PLAN_THROUGHPUT, PLAN_ANY, 96},
               {PLAN_LATENCY, PLAN_ANY, 1},
               {PLAN_LATENCY, 10, 4},
               {PLAN_AUTO, PLAN_ANY, 16}};
    struct err e;
    int n = 0, pipes = 0;
    double worst = 0;
    for (size_t g = 0; g < sizeof rig / sizeof *rig; g++)
        for (size_t h = 0; h < sizeof how / sizeof *how; h++) {
            struct simulated r;
            struct sim_card card[4];
            for (int k = 0; k < rig[g].n; k++)
                card[k] = (struct sim_card){.vram_bytes = (uint64_t)(rig[g].gib[k] * 1073741824),
                                            .vram = rig[g].vram[k],
                                            .link = rig[g].link[k],
                                            .device_ops = 142e12};
            struct simulate in = several(model_70b, how[h].n_seq, card, rig[g].n);
            in.peer = rig[g].peer;
            in.mode = how[h].mode;
            in.cpu_layers = how[h].cpu_layers;
            ok(simulate_run(&in, &r, &e));
            const double off = r.step_s / r.plan.all.step_s - 1;
            if (fabs(off) > 0.05)
                fail_msg("rig %d, %s, %d sequences, %d layers on the CPU, %d micro-batches: %.4f "
                         "s, predicted %.4f s: %.1f %% off",
                         (int)g, plan_mode_name(in.mode), r.plan.n_seq, in.cpu_layers,
                         r.plan.n_micro, r.step_s, r.plan.all.step_s, 100 * off);
            worst = fabs(off) > worst ? fabs(off) : worst;
            n++;
            pipes += r.plan.n_micro > 1;
            simulated_free(&r);
        }
    print_message("%d configurations, %d with micro-batches, at most %.1f %% off\n", n, pipes,
                  100 * worst);
    assert_true(n == 75 && pipes >= 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_resident_model_takes_its_bytes_over_the_bandwidth),
        cmocka_unit_test(a_70b_streams_at_the_rate_of_the_link),
        cmocka_unit_test(a_limited_link_is_a_slower_link),
        cmocka_unit_test(a_given_plan_is_carried_out),
        cmocka_unit_test(a_simulation_repeats_itself),
        cmocka_unit_test(layers_on_the_cpu_take_its_memorys_rate),
        cmocka_unit_test(in_latency_mode_cpu_and_link_work_together),
        cmocka_unit_test(other_copies_wait_for_one_piece_at_most),
        cmocka_unit_test(a_card_with_less_than_it_says_gets_a_smaller_plan),
        cmocka_unit_test(a_draft_model_multiplies_what_streamed_weights_give),
        cmocka_unit_test(predictions_are_right_within_five_per_cent),
        cmocka_unit_test(of_several_cards_the_one_with_less_than_it_says_is_named),
        cmocka_unit_test(a_70b_on_several_cards),
        cmocka_unit_test(each_card_has_its_own_rates),
        cmocka_unit_test(two_cards_give_a_batch_more_than_twice_of_one),
        cmocka_unit_test(predictions_of_several_cards_are_right_within_five_per_cent),
    };
    return cmocka_run_group_tests(tests, make_models, remove_models);
}
