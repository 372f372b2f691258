/*
 * A model on several devices: logits have the bits of one device. Nothing of this changes them:
 *   - the cut of the layers, parts that are streamed, the number of micro-batches
 *   - the way between devices: peer access, or pinned memory
 *   - devices that run late, work in reverse order
 */
#include <stdio.h>
#include <string.h>

#include "cushim_test.h"
#include "forward.h"
#include "log.h"
#include "mem.h"
#include "place.h"
#include "serve.h"
#include "source.h"
#include "test.h"
#include "tokenizer.h"

enum { N_CTX = 64, PAGE = 16, N_SEQ = 5, DECODE = 3, MAX_LAYERS = 16, N_DEVICE = 4 };
enum { N_STEP = 2 + DECODE };

static struct scene { /* a model, its devices, and a plan for the test to change */
    struct gguf *g;
    struct tokenizer *tok;
    struct model m;
    struct ops *gpu[N_DEVICE], *cpu;
    struct plan plan;
    enum plan_place place[2 * MAX_LAYERS];
    bool record;
    bool ahead; /* device 0 runs all of a step before the others begin */
    int lost;   /* 1 + the device that is lost when the last step is queued; 0 = none */
    struct ops *on[MAX_LAYERS];
    float *want, *got; /* (N_STEP, N_SEQ, n_vocab) logits */
    size_t n_logits;
} sc;

/* ---- a few steps of several sequences -------------------------------------------------------- */

struct run {
    struct place *place;
    struct kv *kv;
    struct forward *fw;
    struct kv_seq seq[N_SEQ];
};

static int run_open(struct run *r, struct err *e)
{
    const struct hparams *hp = &sc.m.hp;
    *r = (struct run){0};
    for (int l = 0; l < hp->n_layer; l++)
        sc.on[l] = sc.gpu[plan_device_of(&sc.plan, PART_ATTN, l)];
    struct kv_config kc = {.fmt = FMT_F16,
                           .page_tokens = PAGE,
                           .n_page = N_SEQ * N_CTX / PAGE,
                           .n_layer = hp->n_layer,
                           .n_kv_head = hp->n_kv_head,
                           .head_dim = hp->head_dim,
                           .on = sc.on};
    struct forward_limits lim = {.max_rows = 40,
                                 .max_seqs = N_SEQ,
                                 .max_logit_rows = 8,
                                 .max_pages = N_CTX / PAGE,
                                 .max_kv_len = N_CTX,
                                 .max_pairs = 4,
                                 .n_device = sc.plan.n_device,
                                 .no_record = !sc.record};
    TRY(place_open(&sc.plan, &sc.m.w, sc.gpu, sc.cpu, NULL, 0, &r->place, e));
    TRY(place_load(r->place, NULL, NULL, e));
    TRY(kv_open(&kc, sc.gpu[0], &r->kv, e));
    TRY(forward_open(&sc.m, r->place, r->kv, sc.gpu, sc.cpu, &lim, &r->fw, e));
    for (int i = 0; i < N_SEQ; i++)
        TRY(kv_seq_init(r->kv, N_CTX, &r->seq[i], e));
    return 0;
}

static void run_close(struct run *r)
{
    for (int i = 0; i < N_SEQ; i++)
        if (r->seq[i].page)
            kv_seq_free(r->kv, &r->seq[i]);
    forward_close(r->fw);
    kv_close(r->kv);
    place_free(r->place);
}

/* Adds n rows of sequence i to the batch. */
static int add_rows(struct run *r, struct batch *b, int i, int n, struct err *e)
{
    struct kv_seq *s = &r->seq[i];
    TRY(kv_seq_reserve(r->kv, s, n, e));
    for (int k = 0; k < n; k++, b->n_row++) {
        b->pos[b->n_row] = s->len + k;
        b->tok[b->n_row] = (3 + 7 * i + 16 * b->pos[b->n_row]) % sc.m.hp.n_vocab;
        b->slot[b->n_row] = kv_slot(r->kv, s, b->pos[b->n_row]);
    }
    s->len += n;
    for (int k = 0; k < s->n_page; k++)
        b->page[b->n_seq * (N_CTX / PAGE) + k] = s->page[k];
    b->kv_len[b->n_seq++] = s->len;
    b->q_start[b->n_seq] = b->n_row;
    b->max_kv_len = s->len > b->max_kv_len ? s->len : b->max_kv_len;
    return 0;
}

/* A step with rows[i] rows of sequence i, and logits of the last row of each if they are wanted.
 * The logits come in falling order of the sequences. out: (N_SEQ, n_vocab) */
static int run_step(struct run *r, const int *rows, bool logits, float *out, struct err *e)
{
    struct batch *b = forward_batch(r->fw);
    for (int i = 0; i < N_SEQ; i++)
        if (rows[i])
            TRY(add_rows(r, b, i, rows[i], e));
    for (int i = b->n_seq; logits && i-- > 0;)
        b->logit_row[b->n_logit++] = b->q_start[i + 1] - 1;
    TRY(forward_step(r->fw, "pass", e));
    if (sc.lost && out >= sc.got + (size_t)(N_STEP - 1) * N_SEQ * (size_t)sc.m.hp.n_vocab)
        cushim_lose(sc.lost - 1, 0);
    if (sc.ahead)
        TRY(sc.gpu[0]->dev->api->sync(sc.gpu[0]->dev, NULL, e));
    return logits ? forward_logits(r->fw, 0, b->n_logit, out, e) : 0;
}

/* Prompts in two chunks, the first without logits, then decode steps. */
static int run_text(struct run *r, float *out, struct err *e)
{
    static const int first[N_SEQ] = {3, 0, 9, 1, 5}, second[N_SEQ] = {2, 17, 1, 4, 1};
    static const int one[N_SEQ] = {1, 1, 1, 1, 1};
    const size_t step = (size_t)N_SEQ * (size_t)sc.m.hp.n_vocab;
    TRY(run_step(r, first, false, out, e));
    TRY(run_step(r, second, true, out + step, e));
    for (int i = 0; i < DECODE; i++)
        TRY(run_step(r, one, true, out + (size_t)(2 + i) * step, e));
    return 0;
}

static int run_plan(float *out, struct err *e)
{
    struct run r;
    memset(out, 0, sc.n_logits * sizeof *out);
    int rc = run_open(&r, e);
    if (rc == 0)
        rc = run_text(&r, out, e);
    run_close(&r);
    return rc;
}

/* ---- the scene ------------------------------------------------------------------------------- */

/* Largest part, with the alignment of its tensors. */
static uint64_t largest_part(void)
{
    static const enum plan_part part[] = {PART_ATTN, PART_FFN, PART_OUTPUT};
    uint64_t most = 0;
    for (int p = 0; p < 3; p++)
        for (int l = 0; l < sc.m.hp.n_layer; l++) {
            uint64_t n = weights_part_bytes(&sc.m.w, part[p], l) + 12 * 256;
            most = n > most ? n : most;
        }
    return most;
}

/* All parts resident; device d has layers cut[d] .. cut[d + 1] - 1. */
static void layers_on(int n_device, const int *cut)
{
    const int n = sc.m.hp.n_layer;
    const uint64_t ring = largest_part();
    sc.plan = (struct plan){.n_layer = n,
                            .attn = sc.place,
                            .ffn = sc.place + n,
                            .embed = PLAN_VRAM,
                            .output = PLAN_VRAM,
                            .ring_bytes = ring,
                            .keep_pinned = true,
                            .weights_mapped = true,
                            .n_device = n_device,
                            .n_micro = 1};
    for (int d = 0; d < n_device; d++)
        sc.plan.share[d] =
            (struct plan_share){.first = cut[d], .n = cut[d + 1] - cut[d], .ring_bytes = ring};
    for (int i = 0; i < 2 * n; i++)
        sc.place[i] = PLAN_VRAM;
}

static void micro_batches(int n)
{
    sc.plan.n_micro = n;
    sc.plan.micro_rows = 1;
}

static void open_devices(void)
{
    struct err e;
    for (int d = 0; d < N_DEVICE; d++)
        ok(ops_open("cudahost", &(struct ops_options){.device = d}, &sc.gpu[d], &e));
}

static void close_devices(void)
{
    for (int d = 0; d < N_DEVICE; d++)
        ops_close(sc.gpu[d]);
}

static void scene_open(const char *model)
{
    struct err e;
    memset(&sc, 0, sizeof sc);
    cushim_devices(N_DEVICE);
    ok(source_open(model, &sc.g, &e));
    ok(tokenizer_open(sc.g, NULL, &sc.tok, &e));
    ok(model_init(sc.g, tokenizer_n_vocab(sc.tok), &sc.m, &e));
    open_devices();
    ok(ops_open("cpu", &(struct ops_options){.n_threads = 2}, &sc.cpu, &e));
    assert_true(sc.m.hp.n_layer <= MAX_LAYERS);
    sc.n_logits = (size_t)N_STEP * N_SEQ * (size_t)sc.m.hp.n_vocab;
    sc.want = mem_zalloc(sc.n_logits, sizeof *sc.want);
    sc.got = mem_zalloc(sc.n_logits, sizeof *sc.got);
    layers_on(1, (int[]){0, sc.m.hp.n_layer});
    ok(run_plan(sc.want, &e));
}

static void scene_close(void)
{
    mem_free(sc.want);
    mem_free(sc.got);
    ops_close(sc.cpu);
    close_devices();
    model_free(&sc.m);
    tokenizer_close(sc.tok);
    gguf_close(sc.g);
    assert_string_equal(cushim_findings(), "");
    assert_int_equal(cushim_live(NULL), 0);
    cushim_devices(1);
}

static int set_up(void **state)
{
    (void)state;
    scene_open(TEST_GOLDEN "/logits_gemma3.gguf");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    cushim_lazy(0);
    cushim_order(CUSHIM_FORWARD, 1);
    scene_close();
    return 0;
}

static void same_bits(const char *what)
{
    struct err e;
    ok(run_plan(sc.got, &e));
    if (memcmp(sc.got, sc.want, sc.n_logits * sizeof *sc.got) != 0)
        fail_msg("%s: other logits than on one device", what);
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
            layers_on(2, (int[]){0, cut, n});
            snprintf(what, sizeof what, "%d of %d layers on device 0, %s", cut, n,
                     way ? "through pinned memory, late" : "peer access");
            same_bits(what);
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
        layers_on(2 + n_micro % 2, (int[]){0, 1, n_micro % 2 ? 2 : n, n});
        micro_batches(n_micro);
        snprintf(what, sizeof what, "%d micro-batches on %d devices", n_micro, sc.plan.n_device);
        same_bits(what);
    }
}

static void a_device_without_layers_is_left_out(void **state)
{
    (void)state;
    const int n = sc.m.hp.n_layer;
    layers_on(4, (int[]){0, 0, n - 1, n - 1, n});
    same_bits("layers on devices 1 and 3 only");
}

static void streamed_parts_stream_to_their_device(void **state)
{
    (void)state;
    char what[80];
    const int n = sc.m.hp.n_layer;
    for (int v = 0; v < 4; v++) {
        layers_on(2, (int[]){0, 1, n});
        for (int l = 0; l < n; l++)
            if (v < 2 || l % 2)
                sc.plan.attn[l] = sc.plan.ffn[l] = PLAN_STREAM;
        sc.plan.keep_pinned = v % 2;
        sc.plan.output = v < 2 ? PLAN_STREAM : PLAN_VRAM;
        cushim_lazy(v % 2);
        snprintf(what, sizeof what, "streamed, variant %d", v);
        same_bits(what);
    }
}

/* Layer 1 runs its feed-forward part on the CPU in both plans: on one device, then on two. */
static void a_part_on_the_cpu_lies_between_parts_of_its_device(void **state)
{
    (void)state;
    struct err e;
    const int n = sc.m.hp.n_layer;
    for (int cut = 1; cut <= 2; cut++) {
        layers_on(1, (int[]){0, n});
        sc.plan.ffn[1] = sc.plan.embed = PLAN_HOST;
        ok(run_plan(sc.want, &e));
        layers_on(2, (int[]){0, cut, n});
        sc.plan.ffn[1] = sc.plan.embed = PLAN_HOST;
        cushim_apart(0, 1, cut % 2);
        same_bits("a part on the CPU");
    }
}

/* The CPU gathers embeddings for each of several micro-batches. */
static void embeddings_of_micro_batches_may_come_from_the_cpu(void **state)
{
    (void)state;
    layers_on(2, (int[]){0, 1, sc.m.hp.n_layer});
    sc.plan.embed = PLAN_HOST;
    micro_batches(4);
    cushim_lazy(1);
    same_bits("embeddings from the CPU");
}

/* Each lane records its own layers, for each micro-batch. Recordings need devices of their own:
 * they outlive the memory that they use. */
static void recorded_steps_give_the_same_bits(void **state)
{
    (void)state;
    struct err e;
    for (int n_micro = 1; n_micro <= 3; n_micro += 2) {
        struct cushim_objects before, after;
        close_devices();
        open_devices();
        layers_on(2, (int[]){0, 1, sc.m.hp.n_layer});
        micro_batches(n_micro);
        sc.record = true;
        cushim_lazy(n_micro % 2);
        cushim_live(&before);
        ok(run_plan(sc.got, &e));
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
        close_devices();
        open_devices();
        cushim_apart(0, 1, way);
        layers_on(2, (int[]){0, 1, sc.m.hp.n_layer});
        micro_batches(5);
        sc.record = sc.ahead = true;
        cushim_lazy(1);
        ok(run_plan(sc.got, &e));
        assert_memory_equal(sc.got, sc.want, sc.n_logits * sizeof *sc.got);
    }
}

/* ---- failures -------------------------------------------------------------------------------- */

static int small_set_up(void **state)
{
    (void)state;
    scene_open(TEST_GOLDEN "/logits_llama_gqa.gguf");
    layers_on(2, (int[]){0, 1, 2});
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

/* Objects that a run may not leave behind. Recordings belong to the devices. */
static size_t live(void)
{
    struct cushim_objects o;
    const size_t n = cushim_live(&o);
    return n - o.graphs;
}

/* The error of a run in which calls for the device fail is the device's; nothing is left over. */
static bool failed_run(int device, long n, const char *how)
{
    struct err e = {0};
    char gpu[16];
    const size_t before = live();
    const int rc = run_plan(sc.got, &e);
    cushim_fail_at(0, 1);
    if (live() != before)
        fail_msg("GPU %d, call %ld %s: %zu objects are left after \"%s\"", device, n, how,
                 live() - before, e.msg);
    cushim_reset();
    snprintf(gpu, sizeof gpu, "GPU %d", device);
    if (rc < 0 && !strstr(e.msg, gpu))
        fail_msg("GPU %d, call %ld %s: the error does not name it: \"%s\"", device, n, how, e.msg);
    if (rc == 0 && memcmp(sc.got, sc.want, sc.n_logits * sizeof *sc.got) != 0)
        fail_msg("GPU %d, call %ld %s: no error, and other logits", device, n, how);
    return rc < 0;
}

/* Calls of a run for this device. */
static long calls_of(int device)
{
    struct err e;
    cushim_fail_at(0, 1);
    cushim_fail_on(device);
    ok(run_plan(sc.got, &e));
    const long n = cushim_calls();
    cushim_reset();
    return n;
}

static void a_call_of_any_device_that_fails_ends_the_step_with_its_name(void **state)
{
    (void)state;
    for (int device = 0; device < 2; device++) {
        const long calls = calls_of(device);
        int fatal = 0, n_run = 0;
        cushim_apart(0, 1, device);
        for (long n = 1; n <= calls; n += n < 8 ? 1 : 17, n_run++) {
            cushim_fail_at(n, n % 2);
            cushim_fail_on(device);
            fatal += failed_run(device, n, n % 2 ? "once" : "and later");
        }
        print_message("GPU %d: %ld calls, %d of %d failures ended the run\n", device, calls, fatal,
                      n_run);
        assert_true(calls > 200 && 2 * fatal > n_run);
    }
}

static void a_device_that_is_lost_is_named(void **state)
{
    (void)state;
    for (int device = 0; device < 2; device++) {
        const long calls = calls_of(device);
        for (int late = 0; late < 2; late++)
            for (long n = 1 + late; n <= calls - 8; n += 1 + calls / 6) {
                cushim_lazy(late);
                cushim_lose(device, n);
                if (!failed_run(device, n, late ? "and later, late" : "and later"))
                    fail_msg("GPU %d is lost at call %ld of %ld, and the run goes on", device, n,
                             calls);
                cushim_lazy(0);
            }
    }
}

/* The work of the last step is queued and has not run. */
static void results_of_a_step_on_a_lost_device_are_refused(void **state)
{
    (void)state;
    cushim_lazy(1);
    sc.record = true; /* a replay asks no stream */
    for (sc.lost = 1; sc.lost <= 2; sc.lost++) {
        close_devices();
        open_devices();
        if (!failed_run(sc.lost - 1, 0, "after the last step"))
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
