/* Plans of several devices. Closed forms check the clock of a pipeline. Trying all cuts checks the
 * choice of runs. Every plan is checked for soundness. */
#include <math.h>
#include <string.h>

#include "plan_try.h"
#include "rng.h"
#include "test.h"

enum { L70 = 80, MOST = PLAN_DEVICES };

static uint64_t attn[L70], ffn[L70];

struct machine {
    struct plan_device device[MOST];
    struct cost_hop hop[MOST * MOST];
};

static void add(struct machine *m, int d, double gib, double vram, double link)
{
    m->device[d] = (struct plan_device){.vram_bytes = (uint64_t)(gib * 1073741824),
                                        .vram = vram * 1e9,
                                        .link = link * 1e9,
                                        .device_ops = 3.3e14,
                                        .launch_s = 1.5e-6};
}

static void connect(struct machine *m, int n, double rate, bool peer)
{
    for (int i = 0; i < n * n; i++)
        m->hop[i] = (struct cost_hop){.rate = rate, .hop_s = 2e-5, .peer = peer};
}

/* A 70B of n layers on n_device devices. */
static struct plan_input model(const struct machine *m, int n_device, int n_layer, int n_seq,
                               enum plan_mode mode)
{
    for (int l = 0; l < L70; l++) {
        attn[l] = 98000000;
        ffn[l] = 415000000;
    }
    return (struct plan_input){
        .n_layer = n_layer,
        .attn_bytes = attn,
        .ffn_bytes = ffn,
        .embed_bytes = 590000000,
        .output_bytes = 860000000,
        .kv_bytes_per_token = (uint64_t)n_layer * 2176,
        .n_ctx = 900,
        .n_seq = n_seq,
        .workspace_bytes = 300000000,
        .on_device = true,
        .ram_bytes = (uint64_t)64 << 30,
        .mode = mode,
        .n_host = PLAN_ANY,
        .kv_len = 900,
        .row_bytes = 32768,
        .ops_per_byte = 3.3,
        .n_device = n_device,
        .device = m->device,
        .hop = m->hop,
        .split = PLAN_LAYERS,
        .rows = {.units = 8,
                 .n_vocab = 128256,
                 .head_bytes = 32768,
                 .ffn_bytes = 114688,
                 .copy_s = 1e-5,
                 .call_s = 2.5e-6},
        .rates = {.host = 55e9, .dram = 65e9, .host_ops = 1e12, .hop_s = 3e-5, .step_s = 1e-4}};
}

/* ---- the clock ------------------------------------------------------------------------------- */

enum { PIPE_LAYERS = 8 };

/* Two or more devices with PIPE_LAYERS layers of 1 GB each; nothing takes time but their bytes. */
struct pipe {
    struct cost_part part[2 * PIPE_LAYERS * MOST + 2];
    struct cost_device device[MOST];
    struct cost_hop hop[MOST * MOST];
    struct cost_model m;
};

static void pipe_init(struct pipe *p, int n_device, enum plan_place place)
{
    int n = 0;
    *p = (struct pipe){.m = {.part = p->part,
                             .device = p->device,
                             .hop = p->hop,
                             .n_device = n_device,
                             .n_layer = PIPE_LAYERS * n_device,
                             .row_bytes = 1000000,
                             .rates = {.host = 50e9}}};
    p->part[n++] = (struct cost_part){PART_EMBED, 0, PLAN_VRAM, 0, 0};
    for (int d = 0; d < n_device; d++) {
        p->device[d] = (struct cost_device){.vram = 1000e9, .link = 10e9, .ring_bytes = 1000000000};
        for (int l = 0; l < PIPE_LAYERS; l++) {
            int layer = d * PIPE_LAYERS + l;
            p->part[n++] = (struct cost_part){PART_ATTN, layer, PLAN_VRAM, 500000000, d};
            p->part[n++] = (struct cost_part){PART_FFN, layer, place, 500000000, d};
        }
    }
    p->part[n++] = (struct cost_part){PART_OUTPUT, 0, PLAN_VRAM, 0, n_device - 1};
    p->m.n_part = n;
    for (int i = 0; i < n_device * n_device; i++)
        p->hop[i] = (struct cost_hop){.rate = 10e9, .hop_s = 1e-3};
}

static double pipe_step(const struct pipe *p, int rows)
{
    struct err e;
    struct cost c;
    const struct cost_load load = {.rows = rows, .n_seq = rows, .kv_len = 1};
    ok(cost_step(&p->m, &load, &c, &e));
    return c.step_s;
}

static void near(const char *what, double got, double want)
{
    if (!(fabs(got / want - 1) <= 1e-6))
        fail_msg("%s: %.6g, must be %.6g", what, got, want);
}

static void one_sequence_pays_a_hop_for_each_border(void **state)
{
    (void)state;
    struct pipe p;
    for (int n = 1; n <= MOST; n++) {
        pipe_init(&p, n, PLAN_VRAM);
        near("one sequence", pipe_step(&p, 1), n * 8e-3 + (n - 1) * (1e-3 + 1e-4));
    }
    pipe_init(&p, 3, PLAN_VRAM);
    p.device[1].vram = 250e9; /* 32 ms instead of 8 */
    near("a slow one in the middle", pipe_step(&p, 1), 48e-3 + 2.2e-3);
}

/* Each device reads its weights once a micro-batch, at the same time as the others. */
static void micro_batches_keep_all_devices_busy(void **state)
{
    (void)state;
    struct pipe p;
    pipe_init(&p, 2, PLAN_VRAM);
    p.m.row_bytes = 0;
    p.hop[1].hop_s = 0;
    p.m.steps_overlap = true;
    p.m.n_micro = 2;
    near("two in two", pipe_step(&p, 64), 2 * 8e-3);
    p.m.n_micro = 4;
    near("four in two", pipe_step(&p, 64), 4 * 8e-3);
    p.device[1].vram = 500e9; /* the slower one sets the pace */
    near("an unequal pair", pipe_step(&p, 64), 4 * 16e-3);
    p.m.n_micro = 1;
    near("one at a time", pipe_step(&p, 64), 8e-3 + 16e-3);
    pipe_init(&p, 4, PLAN_VRAM);
    p.m.row_bytes = 0;
    for (int i = 0; i < 16; i++)
        p.hop[i].hop_s = 0;
    p.m.steps_overlap = true;
    p.m.n_micro = 2; /* too few: two of the four are idle */
    near("two in four", pipe_step(&p, 64), 4 * 8e-3);
    p.m.n_micro = 4;
    near("four in four", pipe_step(&p, 64), 4 * 8e-3);
    p.m.steps_overlap = false; /* the pipeline fills and drains in every step */
    near("four in four, drained", pipe_step(&p, 64), (4 + 4 - 1) * 8e-3);
    p.part[p.m.n_part - 1].bytes = 2000000000; /* the output: once for all of them, 2 ms */
    near("with an output", pipe_step(&p, 64), (4 + 4 - 1) * 8e-3 + 2e-3);
    p.m.steps_overlap = true; /* once for each, on the last device */
    near("overlapping, with an output", pipe_step(&p, 64), 4 * (8e-3 + 2e-3));
}

/* The arithmetic of a batch is divided among micro-batches; the reading of weights is not. */
static void micro_batches_pay_where_arithmetic_is_the_limit(void **state)
{
    (void)state;
    struct pipe p;
    pipe_init(&p, 2, PLAN_VRAM);
    p.m.row_bytes = 0;
    p.hop[1].hop_s = 0;
    p.m.steps_overlap = true;
    p.m.ops_per_byte = 4;
    p.device[0].device_ops = p.device[1].device_ops = 4e12; /* 1e12 bytes/s, a row */
    near("1 batch", pipe_step(&p, 100), 2 * 800e-3);
    p.m.n_micro = 2;
    near("2 micro-batches", pipe_step(&p, 100), 800e-3);
}

/* A ring gives the link of one device work while the other computes. Two rings of 1 GB do not
 * change the bytes that a link copies: 4 GB each, less nothing. */
static void links_of_two_devices_copy_at_the_same_time(void **state)
{
    (void)state;
    struct pipe p;
    struct err e;
    struct cost c;
    const struct cost_load load = {.rows = 1, .n_seq = 1, .kv_len = 1};
    pipe_init(&p, 2, PLAN_STREAM);
    ok(cost_step(&p.m, &load, &c, &e));
    near("busy time of a link", c.link_s, 0.4);
    assert_true(c.step_s > 0.5 && c.step_s < 0.81);
    const double two = c.step_s;
    p.device[0].link = p.device[1].link = 20e9;
    ok(cost_step(&p.m, &load, &c, &e));
    assert_true(c.step_s < 0.6 * two);
    p.device[0].ring_bytes = p.device[1].ring_bytes = 4000000000; /* all of it ahead */
    p.device[0].link = p.device[1].link = 10e9;
    ok(cost_step(&p.m, &load, &c, &e));
    near("whole runs ahead", c.step_s, 0.4);
}

/* The clock adds up a card whose parts are all resident. Part by part gives the same
 * time. */
static void a_card_in_one_go_is_its_parts(void **state)
{
    (void)state;
    struct pipe p;
    for (int i = 0; i < 16; i++) {
        pipe_init(&p, 3, PLAN_VRAM);
        p.part[0].bytes = p.part[p.m.n_part - 1].bytes = 300000000;
        p.part[0].place = i & 8 ? PLAN_HOST : PLAN_VRAM;
        p.device[1].vram = 400e9;
        p.device[2].launch_s = 1e-5;
        p.device[0].device_ops = 1e13;
        p.m.ops_per_byte = 4;
        p.m.kv_bytes_per_token = 2400;
        p.m.n_micro = i & 1 ? 5 : 1;
        p.m.steps_overlap = i & 2;
        const int rows = i & 4 ? 43 : 7;
        const double flow = pipe_step(&p, rows);
        p.m.by_part = true;
        near("part by part", flow, pipe_step(&p, rows));
    }
}

static void what_no_pipeline_can_run_is_refused(void **state)
{
    (void)state;
    struct pipe p;
    struct err e;
    struct cost c;
    struct cost_load load = {.rows = 8, .n_seq = 8, .kv_len = 1};
    pipe_init(&p, 2, PLAN_VRAM);
    p.hop[1].rate = 0;
    fails(cost_step(&p.m, &load, &c, &e), ERR_BUG, "no rate from device 0 to 1");
    pipe_init(&p, 2, PLAN_VRAM);
    p.part[3].device = 1;
    fails(cost_step(&p.m, &load, &c, &e), ERR_BUG, "on device 0 of 2, after device 1");
    pipe_init(&p, 2, PLAN_HOST);
    p.m.n_micro = 2;
    fails(cost_step(&p.m, &load, &c, &e), ERR_BUG, "in 2 micro-batches");
    pipe_init(&p, 2, PLAN_VRAM);
    p.m.n_micro = 9;
    fails(cost_step(&p.m, &load, &c, &e), ERR_BUG, "9 micro-batches of 8 rows");
    p.m.n_micro = 1, p.m.n_device = COST_DEVICES + 1;
    fails(cost_step(&p.m, &load, &c, &e), ERR_BUG, "on at most 8");
}

/* ---- plans ----------------------------------------------------------------------------------- */

static void check_share(const struct plan_input *in, const struct plan *p, int d)
{
    const struct plan_share *s = &p->share[d];
    uint64_t vram = 0, stream = 0, host = 0, largest = 0;
    for (int l = s->first; l < s->first + s->n; l++)
        for (int k = 0; k < 2; k++) {
            uint64_t bytes = k ? ffn[l] : attn[l];
            enum plan_place at = k ? p->ffn[l] : p->attn[l];
            assert_int_equal(plan_device_of(p, k ? PART_FFN : PART_ATTN, l), d);
            *(at == PLAN_VRAM ? &vram : at == PLAN_STREAM ? &stream : &host) += bytes;
            if (at == PLAN_STREAM && bytes > largest)
                largest = bytes;
        }
    if (plan_device_of(p, PART_EMBED, 0) == d)
        *(p->embed == PLAN_VRAM ? &vram : &host) += in->embed_bytes;
    if (plan_device_of(p, PART_OUTPUT, 0) == d)
        *(p->output == PLAN_VRAM ? &vram : &stream) += in->output_bytes;
    assert_int_equal(s->vram_weight_bytes, vram);
    assert_int_equal(s->stream_bytes, stream);
    assert_int_equal(s->host_bytes, host);
    assert_int_equal(s->kv_bytes, (uint64_t)p->kv_tokens * 2176 * (uint64_t)s->n);
    assert_true(s->ring_bytes >= largest && (stream == 0) == (s->ring_bytes == 0));
    assert_int_equal(s->pinned_bytes > 0, stream > 0);
    assert_int_equal(s->total_bytes,
                     s->vram_weight_bytes + s->ring_bytes + s->kv_bytes + s->workspace_bytes);
    assert_true(s->total_bytes <= in->device[d].vram_bytes);
}

/* Each part lies on one device, no budget is exceeded, and borders lie between runs. */
static void check_sound(const struct plan_input *in, const struct plan *p)
{
    uint64_t total = 0, pinned = 0;
    int layers = 0, used = 0, before = -1;
    assert_int_equal(p->n_device, in->n_device);
    for (int d = 0; d < p->n_device; d++) {
        const struct plan_share *s = &p->share[d];
        if (!s->n) {
            assert_int_equal(s->total_bytes, 0);
            continue;
        }
        assert_int_equal(s->first, layers);
        layers += s->n;
        check_share(in, p, d);
        total += s->total_bytes;
        pinned += s->pinned_bytes;
        if (used++) {
            const struct plan_border *b = &p->border[used - 2];
            assert_true(b->from == before && b->to == d && b->layer == s->first);
            assert_int_equal(b->row_bytes, in->row_bytes);
        }
        before = d;
    }
    assert_int_equal(layers, p->n_layer);
    assert_int_equal(p->n_border, used - 1);
    assert_int_equal(p->total_bytes, total);
    assert_true(pinned <= p->pinned_bytes && p->pinned_bytes + p->host_bytes <= in->ram_bytes);
    assert_true(p->kv_tokens >= in->n_ctx && p->n_seq >= 1);
    assert_true(p->n_micro == 1 || (p->stream_bytes == 0 && !plan_computes_on_host(p)));
    assert_true(p->n_micro == 1 || (p->micro_rows >= p->n_micro && p->micro_rows <= p->n_seq));
}

static double speed(const struct plan_input *in, const struct plan *p)
{
    return in->mode == PLAN_LATENCY ? p->one.step_s : p->all.step_s / p->n_seq;
}

/* A number below n. */
static int pick(int seed, int what, int device, uint32_t n)
{
    return (int)rng_below(rng_key((uint64_t)seed, (uint64_t)what, 0), (uint64_t)device, n);
}

/* Two to four devices of any memory, rates and links. The plan is sound and the same every time.
 * It is no slower than the best device alone. */
static void plans_of_any_machine_are_sound(void **state)
{
    (void)state;
    struct err e;
    struct plan p, again, alone;
    for (int seed = 0; seed < 60; seed++) {
        struct machine m;
        const int n = 2 + pick(seed, 0, 0, 3);
        for (int d = 0; d < n; d++)
            add(&m, d, 4 + pick(seed, 1, d, 44), 300 + pick(seed, 2, d, 1500),
                6 + pick(seed, 3, d, 50));
        connect(&m, n, 12e9, false);
        struct plan_input in =
            model(&m, n, L70, 1 << pick(seed, 4, 0, 8), (enum plan_mode)(seed % PLAN_MODE_COUNT));
        in.steps_overlap = seed % 2;
        in.n_host = seed % 5 ? PLAN_ANY : pick(seed, 5, 0, L70 + 1);
        ok(plan_make(&in, &p, &e));
        check_sound(&in, &p);
        int on_host = 0;
        for (int l = 0; l < L70; l++)
            on_host += p.ffn[l] == PLAN_HOST;
        assert_true(in.n_host < 0 || on_host == in.n_host);
        ok(plan_make(&in, &again, &e));
        assert_memory_equal(p.share, again.share, sizeof p.share);
        assert_memory_equal(p.attn, again.attn, 2 * L70 * sizeof *p.attn);
        for (int d = 0; d < n; d++) {
            struct plan_input one = in;
            one.n_device = 0;
            one.vram_bytes = m.device[d].vram_bytes;
            one.rates.vram = m.device[d].vram;
            one.rates.link = m.device[d].link;
            one.rates.device_ops = m.device[d].device_ops;
            one.rates.launch_s = m.device[d].launch_s;
            if (plan_make(&one, &alone, &e) < 0)
                continue;
            if (speed(&in, &p) > speed(&in, &alone) * 1.02)
                fail_msg("seed %d: %d devices take %.4f s a token, device %d alone %.4f", seed, n,
                         speed(&in, &p), d, speed(&in, &alone));
            plan_free(&alone);
        }
        plan_free(&p);
        plan_free(&again);
    }
}

/* ---- the choice of runs ---------------------------------------------------------------------- */

enum { FEW = 8 };

/* The best score over all cuts, all CPU parts and all rings. */
static void try_all(struct search *s, const struct plan_aim *aim, struct plan_cut *cut, int d,
                    int left)
{
    struct err e;
    const bool last = d == s->n_dev - 1;
    const int most = aim->mode == PLAN_LATENCY && s->in->rates.host > 0 ? left : 0;
    for (cut->n[d] = last ? left : 0; cut->n[d] <= left; cut->n[d]++)
        for (cut->n_host[d] = 0; cut->n_host[d] <= (most < cut->n[d] ? most : cut->n[d]);
             cut->n_host[d]++)
            if (!last)
                try_all(s, aim, cut, d + 1, left - cut->n[d]);
            else
                for (cut->depth = RING_FEWEST; cut->depth <= RING_MOST; cut->depth++)
                    ok(plan_try_cut(s, aim, cut, &e));
}

/* Small models on unequal devices, so that all cuts can be tried. */
static void the_search_finds_nearly_the_best_cut(void **state)
{
    (void)state;
    struct err e;
    struct plan p;
    double worst = 1;
    int tried = 0;
    for (int seed = 0; seed < 40; seed++) {
        struct machine m;
        const int n = 2 + seed % 2;
        for (int d = 0; d < n; d++)
            add(&m, d, 1.7 + 0.1 * pick(seed, 1, d, 30), 300 + pick(seed, 2, d, 1500),
                6 + pick(seed, 3, d, 50));
        connect(&m, n, 12e9, false);
        struct plan_input in = model(&m, n, FEW, 1 << pick(seed, 4, 0, 6),
                                     seed / 2 % 2 ? PLAN_LATENCY : PLAN_THROUGHPUT);
        in.workspace_bytes = 100000000;
        in.kv_bytes = in.kv_bytes_per_token * 900 * (uint64_t)in.n_seq;
        in.steps_overlap = seed / 4 % 2;
        if (plan_make(&in, &p, &e) < 0)
            continue;
        struct search s;
        struct plan_cut cut = {.depth = 0};
        const struct plan_aim aim = {in.mode, in.kv_bytes, in.kv_bytes};
        ok(plan_try_open(&s, &in, &p, &e));
        try_all(&s, &aim, &cut, 0, FEW);
        const double ratio = speed(&in, &p) / s.score;
        if (ratio > 1.03)
            fail_msg("seed %d, %d devices, %s: %.5f s a token, best of all cuts %.5f", seed, n,
                     plan_mode_name(in.mode), speed(&in, &p), s.score);
        worst = ratio > worst ? ratio : worst;
        tried++;
        plan_try_close(&s);
        plan_free(&p);
    }
    print_message("%d machines, at most %.1f %% above the best cut\n", tried, 100 * (worst - 1));
    assert_true(tried >= 30);
}

/* The figures of a 70B on pairs and fours of consumer cards, 1 GiB of each for others. */
static void a_70b_lies_whole_on_two_cards_of_24_gib(void **state)
{
    (void)state;
    struct err e;
    struct plan p, alone;
    struct machine m;
    add(&m, 0, 23, 1008, 25);
    add(&m, 1, 23, 1008, 25);
    connect(&m, 2, 12.5e9, false);
    struct plan_input in = model(&m, 2, L70, 1, PLAN_AUTO);
    ok(plan_make(&in, &p, &e));
    check_sound(&in, &p);
    assert_true(p.stream_bytes == 0 && !plan_computes_on_host(&p) && p.n_border == 1);
    assert_true(1 / p.one.step_s >= 19);
    plan_free(&p);
    in = model(&m, 2, L70, 128, PLAN_AUTO);
    ok(plan_make(&in, &p, &e));
    check_sound(&in, &p);
    struct plan_input one = in;
    one.n_device = 0, one.vram_bytes = m.device[0].vram_bytes;
    one.rates.vram = 1008e9, one.rates.link = 25e9, one.rates.device_ops = 3.3e14;
    ok(plan_make(&one, &alone, &e));
    const double pair = p.n_seq / p.all.step_s, single = alone.n_seq / alone.all.step_s;
    print_message("128 sequences of 900 tokens: %.1f tok/s on two cards, %.1f on one\n", pair,
                  single);
    assert_true(p.n_seq >= 40 && pair >= 1.8 * single);
    plan_free(&p);
    plan_free(&alone);
}

/* Filling the faster card first makes one sequence 0.5 % faster and leaves no memory for others. */
static void a_fast_card_leaves_room_for_sequences(void **state)
{
    (void)state;
    struct err e;
    struct plan p, one;
    struct machine m;
    add(&m, 0, 23, 1008, 25);
    add(&m, 1, 23, 936, 25);
    connect(&m, 2, 12.5e9, false);
    struct plan_input in = model(&m, 2, L70, 1, PLAN_LATENCY);
    ok(plan_make(&in, &one, &e));
    in.n_seq = 32;
    ok(plan_make(&in, &p, &e));
    assert_true(p.n_seq >= 28);
    assert_true(p.one.step_s <= one.one.step_s * 1.01);
    plan_free(&p);
    plan_free(&one);
}

/* Short sequences and much arithmetic: both cards are busy, so that the pair nearly doubles what
 * one card of twice the memory gives. */
static void micro_batches_nearly_double_a_batch(void **state)
{
    (void)state;
    struct err e;
    struct plan p, whole;
    struct machine m;
    add(&m, 0, 60, 1008, 25);
    add(&m, 1, 60, 1008, 25);
    connect(&m, 2, 12.5e9, false);
    struct plan_input in = model(&m, 2, L70, 512, PLAN_THROUGHPUT);
    in.kv_len = in.n_ctx = 128;
    in.steps_overlap = true;
    ok(plan_make(&in, &p, &e));
    check_sound(&in, &p);
    assert_true(p.n_micro >= 2 && p.n_border == 1);
    assert_int_equal(plan_n_micro(&p, p.micro_rows), p.n_micro);
    assert_int_equal(plan_n_micro(&p, p.micro_rows - 1), 1);
    struct plan_input one = in;
    one.n_device = 0, one.vram_bytes = 2 * m.device[0].vram_bytes;
    one.rates.vram = 1008e9, one.rates.link = 25e9, one.rates.device_ops = 3.3e14;
    ok(plan_make(&one, &whole, &e));
    assert_true(p.n_seq / p.all.step_s >= 1.8 * whole.n_seq / whole.all.step_s);
    plan_free(&p);
    plan_free(&whole);
}

static void rows_of_a_step_are_divided_evenly(void **state)
{
    (void)state;
    int first, next = 0;
    for (int k = 0; k < 3; k++) {
        int n = plan_micro_rows(8, 3, k, &first);
        assert_int_equal(first, next);
        assert_int_equal(n, k < 2 ? 3 : 2);
        next += n;
    }
    assert_int_equal(next, 8);
    const struct plan few = {.n_micro = 4, .micro_rows = 2};
    assert_int_equal(plan_n_micro(&few, 1), 1);
    assert_int_equal(plan_n_micro(&few, 3), 3);
    assert_int_equal(plan_n_micro(&few, 100), 4);
}

/* ---- tensor parallel ------------------------------------------------------------------------- */

/* Two cards of 24 GiB without peer access. */
static void pair_of_cards(struct machine *m)
{
    for (int d = 0; d < 2; d++)
        add(m, d, 23, 1008, 25);
    connect(m, 2, 12.5e9, false);
}

/* A 70B on a pair: half of the weights and of the cache each. Four gathers a layer, each of two
 * copies through main memory or of one with peer access. */
static void tensor_parallel_reads_half_of_the_weights_on_each(void **state)
{
    (void)state;
    struct err e;
    struct plan p;
    struct machine m;
    for (int way = 0; way < 2; way++) {
        pair_of_cards(&m);
        if (way)
            connect(&m, 2, 50e9, true);
        struct plan_input in = model(&m, 2, L70, 1, PLAN_LATENCY);
        in.split = PLAN_SPLIT_AUTO;
        ok(plan_make(&in, &p, &e));
        assert_int_equal(p.split, PLAN_ROWS);
        /* elements of a row in half a gather: 8192, 8192, 28672, 8192 */
        const double row = (3 * 32768 + 114688) / 2.0, rate = way ? 50e9 : 12.5e9,
                     gathers = 80 * (4 * (way ? 1 : 2) * 1e-5 + row / rate),
                     logits = 513024 / 2.0 / rate, kv = 900 * 80 * 2176 / 2 / 1008e9,
                     want = (80 * 513e6 + 860e6) / 2 / 1008e9 + kv + gathers + logits +
                            894 * 1.5e-6 + 1e-4 + 2 * 3e-5 +
                            5e-5; /* a step, hops, its other copies */
        if (fabs(p.one.step_s / want - 1) > 0.005)
            fail_msg("way %d: %.5f s, want %.5f", way, p.one.step_s, want);
        assert_true(p.rows_one.step_s == p.one.step_s && p.layers_one.step_s > p.one.step_s);
        assert_int_equal(p.n_border, 0);
        assert_true(p.rows_output && plan_is_resident(&p));
        assert_non_null(strstr(p.why, "runs of layers would take 1"));
        for (int d = 0; d < 2; d++)
            assert_true(p.share[d].n == L70 && p.share[d].total_bytes <= m.device[d].vram_bytes);
        assert_int_equal(p.share[0].vram_weight_bytes - p.share[1].vram_weight_bytes, 590000000);
        assert_int_equal(p.share[0].kv_bytes + p.share[1].kv_bytes, p.kv_bytes);
        assert_int_equal(plan_device_of(&p, PART_EMBED, 0), 0);
        assert_int_equal(plan_device_of(&p, PART_OUTPUT, 0), 1);
        plan_free(&p);
    }
}

/* The faster way is taken, unless the caller names one. */
static void the_way_to_share_is_chosen_by_cost_or_asked_for(void **state)
{
    (void)state;
    struct err e;
    struct plan p;
    struct machine m;
    pair_of_cards(&m);
    for (int slow = 0; slow < 3; slow++)
        for (int split = 0; split < PLAN_SPLIT_COUNT; split++) {
            struct plan_input in = model(&m, 2, L70, 1, PLAN_LATENCY);
            in.split = (enum plan_split)split;
            in.rows.copy_s = slow == 1 ? 1e-4 : 1e-5; /* slow copies, or a slow host */
            in.rows.call_s = slow == 2 ? 2e-5 : 2.5e-6;
            ok(plan_make(&in, &p, &e));
            assert_true((p.rows_one.step_s < p.layers_one.step_s) == !slow);
            assert_int_equal(p.split, split ? split : slow ? PLAN_LAYERS : PLAN_ROWS);
            assert_true(!split == !strstr(p.why, "this way was asked for"));
            assert_true(p.one.step_s == (p.split == PLAN_ROWS ? p.rows_one : p.layers_one).step_s);
            plan_free(&p);
        }
}

/* More calls of the host for more devices: a step is no shorter than these. */
static void the_calls_of_one_host_limit_a_step(void **state)
{
    (void)state;
    struct err e;
    struct plan p;
    struct machine m;
    double two = 0;
    for (int n = 2; n <= 4; n += 2) {
        for (int d = 0; d < n; d++)
            add(&m, d, 80, 1e6, 1e6);
        connect(&m, n, 1e15, true);
        struct plan_input in = model(&m, n, L70, 1, PLAN_LATENCY);
        in.split = PLAN_ROWS;
        in.rows.copy_s = 0;
        ok(plan_make(&in, &p, &e));
        /* a layer: 11 kernels on each device, 4 gathers with a record and 2 (n - 1) calls each */
        const double calls = 80.0 * n * (11 + 4 * (1 + 2 * (n - 1)));
        assert_true(fabs(p.one.call_s / (calls * 2.5e-6) - 1) < 0.01);
        assert_true(p.one.step_s >= p.one.call_s && p.one.step_s < 1.1 * p.one.call_s + 1e-4);
        assert_true(p.one.call_s > 2.5 * two);
        two = p.one.call_s;
        plan_free(&p);
    }
}

static void tensor_parallel_that_is_not_possible_has_a_reason(void **state)
{
    (void)state;
    struct err e;
    struct plan p;
    struct machine m;
    static const char *const why[] = {"cannot divide evenly", "only if the CPU computes no layer",
                                      "the rate between the devices is unknown",
                                      "do not fit the devices"};
    for (int i = 0; i < 4; i++) {
        pair_of_cards(&m);
        if (i == 3)
            add(&m, 1, 16, 1008, 25);
        struct plan_input in = model(&m, 2, L70, 1, PLAN_LATENCY);
        if (i == 0)
            in.rows.units = 3;
        in.n_host = i == 1 ? 4 : PLAN_ANY;
        if (i == 2)
            m.hop[2].rate = 0;
        in.split = PLAN_SPLIT_AUTO;
        ok(plan_make(&in, &p, &e));
        assert_int_equal(p.split, PLAN_LAYERS);
        assert_true(p.rows_one.step_s == 0);
        if (!strstr(p.why, why[i]))
            fail_msg("reason %d: %s", i, p.why);
        plan_free(&p);
        in.split = PLAN_ROWS;
        fails(plan_make(&in, &p, &e), ERR_USAGE, why[i]);
        assert_non_null(strstr(e.msg, "use --split layers or auto"));
    }
    struct plan_input in = model(&m, 1, L70, 1, PLAN_LATENCY);
    in.split = PLAN_ROWS;
    fails(plan_make(&in, &p, &e), ERR_USAGE, "--split rows takes several devices");
}

/* A batch: every row has a place in the cache, and each device holds half of it. */
static void tensor_parallel_divides_the_cache(void **state)
{
    (void)state;
    struct err e;
    struct plan p;
    struct machine m;
    pair_of_cards(&m);
    struct plan_input in = model(&m, 2, L70, 64, PLAN_THROUGHPUT);
    in.split = PLAN_ROWS;
    ok(plan_make(&in, &p, &e));
    assert_true(p.n_seq > 4 && p.kv_tokens >= (int64_t)p.n_seq * in.n_ctx);
    for (int d = 0; d < 2; d++)
        assert_true(p.share[d].total_bytes <= m.device[d].vram_bytes &&
                    p.share[d].kv_bytes == p.kv_bytes / 2);
    assert_true(p.share[0].total_bytes > m.device[0].vram_bytes / 100 * 98 || p.n_seq == 64);
    const int64_t tokens = p.kv_tokens;
    plan_free(&p);
    in.kv_bytes = (uint64_t)(tokens + 1000) * in.kv_bytes_per_token;
    fails(plan_make(&in, &p, &e), ERR_USAGE, "do not fit the devices");
}

/* ---- messages -------------------------------------------------------------------------------- */

static void what_cannot_be_planned_is_said(void **state)
{
    (void)state;
    struct err e;
    struct plan p;
    struct machine m;
    for (int d = 0; d < MOST; d++)
        add(&m, d, 1, 1008, 25);
    connect(&m, MOST, 12.5e9, false);
    struct plan_input in = model(&m, 2, L70, 1, PLAN_AUTO);
    fails(plan_make(&in, &p, &e), ERR_USAGE, "available on all devices together");
    in.n_device = MOST + 1;
    fails(plan_make(&in, &p, &e), ERR_USAGE, "9 devices were asked for: at most 8");
    in = model(&m, 2, L70, 1, PLAN_AUTO);
    m.hop[1].rate = 0;
    fails(plan_make(&in, &p, &e), ERR_BUG, "no rate from device 0 to 1");
    connect(&m, 2, 12.5e9, false);
    m.device[1].vram = 0;
    fails(plan_make(&in, &p, &e), ERR_BUG, "device 1 of 1073741824 bytes and 0");
}

static void a_plan_of_two_devices_reads_like_a_table(void **state)
{
    (void)state;
    struct err e;
    struct plan p;
    struct machine m;
    struct str s = STR_INIT;
    add(&m, 0, 23, 1008, 25);
    add(&m, 1, 23, 1008, 25);
    add(&m, 2, 2, 100, 25);
    connect(&m, 3, 12.5e9, false);
    struct plan_input in = model(&m, 3, L70, 1, PLAN_AUTO);
    ok(plan_make(&in, &p, &e));
    plan_describe(&p, &s);
    assert_non_null(strstr(s.s, "device 0: layers 0 to "));
    assert_non_null(strstr(s.s, " to 79, "));
    assert_non_null(strstr(s.s, "device 2: not used"));
    assert_non_null(strstr(s.s, "device 0 to 1, through main memory, 32768 bytes a row"));
    str_clear(&s);
    plan_line(&p, &s);
    assert_non_null(strstr(s.s, "; device 0: layers 0 to "));
    str_free(&s);
    plan_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_sequence_pays_a_hop_for_each_border),
        cmocka_unit_test(micro_batches_keep_all_devices_busy),
        cmocka_unit_test(micro_batches_pay_where_arithmetic_is_the_limit),
        cmocka_unit_test(links_of_two_devices_copy_at_the_same_time),
        cmocka_unit_test(a_card_in_one_go_is_its_parts),
        cmocka_unit_test(what_no_pipeline_can_run_is_refused),
        cmocka_unit_test(plans_of_any_machine_are_sound),
        cmocka_unit_test(the_search_finds_nearly_the_best_cut),
        cmocka_unit_test(a_70b_lies_whole_on_two_cards_of_24_gib),
        cmocka_unit_test(a_fast_card_leaves_room_for_sequences),
        cmocka_unit_test(micro_batches_nearly_double_a_batch),
        cmocka_unit_test(rows_of_a_step_are_divided_evenly),
        cmocka_unit_test(tensor_parallel_reads_half_of_the_weights_on_each),
        cmocka_unit_test(the_way_to_share_is_chosen_by_cost_or_asked_for),
        cmocka_unit_test(the_calls_of_one_host_limit_a_step),
        cmocka_unit_test(tensor_parallel_that_is_not_possible_has_a_reason),
        cmocka_unit_test(tensor_parallel_divides_the_cache),
        cmocka_unit_test(what_cannot_be_planned_is_said),
        cmocka_unit_test(a_plan_of_two_devices_reads_like_a_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
