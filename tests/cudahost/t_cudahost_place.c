/*
 * A model on the CUDA kernels with its parts resident, streamed or on the CPU. Streamed weights
 * give the bits of resident ones, at every split and with every ring, even on a device that runs
 * late. Parts on the CPU give the same bits at every run, close to those of the device.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "clock.h"
#include "cushim_test.h"
#include "forward.h"
#include "log.h"
#include "mem.h"
#include "pace.h"
#include "placed.h"
#include "source.h"
#include "test.h"
#include "tokenizer.h"

enum { N_CTX = 64, PAGE = 16, PROMPT = 7, DECODE = 4, MAX_LAYERS = 8 };

static struct scene { /* a model on a device, and a plan for the test to change */
    struct gguf *g;
    struct tokenizer *tok;
    struct model m;
    struct ops *gpu, *cpu;
    struct plan plan;
    enum plan_place place[2 * MAX_LAYERS];
    uint64_t largest;
    double link_limit;
    float *want; /* logits with everything resident */
    size_t n_logits;
} sc;

/* ---- a few steps ----------------------------------------------------------------------------- */

struct run {
    struct place *place;
    struct kv *kv;
    struct forward *fw;
    struct kv_seq seq;
};

static int run_open(struct run *r, struct err *e)
{
    const struct hparams *hp = &sc.m.hp;
    struct kv_config kc = {.fmt = FMT_F16,
                           .page_tokens = PAGE,
                           .n_page = N_CTX / PAGE,
                           .n_layer = hp->n_layer,
                           .n_kv_head = hp->n_kv_head,
                           .head_dim = hp->head_dim};
    struct forward_limits lim = {.max_rows = 16,
                                 .max_seqs = 2,
                                 .max_logit_rows = 4,
                                 .max_pages = N_CTX / PAGE,
                                 .max_kv_len = N_CTX,
                                 .max_pairs = 4,
                                 /* recordings of sc.gpu would outlive the memory that they use */
                                 .no_record = true};
    *r = (struct run){0};
    TRY(place_run(&sc.plan, &sc.m.w, sc.gpu, sc.link_limit, NULL, NULL, &r->place, e));
    TRY(kv_open(&kc, sc.gpu, &r->kv, e));
    TRY(forward_open(&sc.m, r->place, r->kv, &sc.gpu, sc.cpu, &lim, &r->fw, e));
    return kv_seq_init(r->kv, N_CTX, &r->seq, e);
}

static void run_close(struct run *r)
{
    if (r->seq.page)
        kv_seq_free(r->kv, &r->seq);
    forward_close(r->fw);
    kv_close(r->kv);
    place_free(r->place);
}

/* Runs n tokens; out gets the logits of the last one, NULL: no logits. */
static int run_step(struct run *r, const int32_t *tok, int n, float *out, struct err *e)
{
    TRY(kv_seq_reserve(r->kv, &r->seq, n, e));
    struct batch *b = forward_batch(r->fw);
    for (int i = 0; i < n; i++) {
        b->tok[i] = tok[i];
        b->pos[i] = r->seq.len + i;
        b->slot[i] = kv_slot(r->kv, &r->seq, b->pos[i]);
    }
    r->seq.len += n;
    b->n_row = n;
    b->n_seq = 1;
    b->q_start[1] = n;
    b->kv_len[0] = b->max_kv_len = r->seq.len;
    for (int i = 0; i < r->seq.n_page; i++)
        b->page[i] = r->seq.page[i];
    b->n_logit = out != NULL;
    b->logit_row[0] = n - 1;
    TRY(forward_step(r->fw, "pass", e));
    return out ? forward_logits(r->fw, 0, 1, out, e) : 0;
}

/* A prompt in two chunks, the first without logits, then greedy steps. out: (DECODE, n_vocab) */
static int run_text(struct run *r, float *out, struct err *e)
{
    int32_t prompt[PROMPT];
    int n_vocab = sc.m.hp.n_vocab;
    for (int i = 0; i < PROMPT; i++)
        prompt[i] = (1 + 16 * i) % n_vocab;
    TRY(run_step(r, prompt, 3, NULL, e));
    TRY(run_step(r, prompt + 3, PROMPT - 3, out, e));
    for (int i = 1; i < DECODE; i++) {
        int32_t best = 0;
        for (int32_t k = 1; k < n_vocab; k++)
            if (out[k] > out[best])
                best = k;
        out += n_vocab;
        TRY(run_step(r, &best, 1, out, e));
    }
    return 0;
}

static int run_plan(float *out, struct err *e)
{
    struct run r;
    int rc = run_open(&r, e);
    if (rc == 0)
        rc = run_text(&r, out, e);
    run_close(&r);
    return rc;
}

/* ---- the scene ------------------------------------------------------------------------------- */

static void everything(enum plan_place where)
{
    int n = sc.m.hp.n_layer;
    sc.plan = (struct plan){.n_layer = n,
                            .embed = PLAN_VRAM,
                            .output = where,
                            .attn = sc.place,
                            .ffn = sc.place + n,
                            .ring_bytes = sc.largest,
                            .keep_pinned = true,
                            .weights_mapped = true};
    for (int i = 0; i < 2 * n; i++)
        sc.place[i] = where;
}

static void scene_open(const char *model)
{
    struct err e;
    memset(&sc, 0, sizeof sc);
    ok(source_open(model, &sc.g, &e));
    ok(tokenizer_open(sc.g, NULL, &sc.tok, &e));
    ok(model_init(sc.g, tokenizer_n_vocab(sc.tok), &sc.m, &e));
    ok(ops_open("cudahost", NULL, &sc.gpu, &e));
    ok(ops_open("cpu", &(struct ops_options){.n_threads = 2}, &sc.cpu, &e));
    assert_true(sc.m.hp.n_layer <= MAX_LAYERS);
    for (int p = 0; p < 3; p++)
        for (int l = 0; l < sc.m.hp.n_layer; l++) {
            static const enum plan_part part[] = {PART_ATTN, PART_FFN, PART_OUTPUT};
            /* 12 * 256: alignment of the tensors */
            uint64_t n = weights_part_bytes(&sc.m.w, part[p], l) + 12 * 256;
            sc.largest = n > sc.largest ? n : sc.largest;
        }
    sc.n_logits = (size_t)DECODE * (size_t)sc.m.hp.n_vocab;
    sc.want = mem_zalloc(sc.n_logits, sizeof *sc.want);
    everything(PLAN_VRAM);
    ok(run_plan(sc.want, &e));
}

static void scene_close(void)
{
    mem_free(sc.want);
    ops_close(sc.cpu);
    ops_close(sc.gpu);
    model_free(&sc.m);
    tokenizer_close(sc.tok);
    gguf_close(sc.g);
    assert_string_equal(cushim_findings(), "");
    assert_int_equal(cushim_live(NULL), 0);
}

static int small(void **state)
{
    (void)state;
    scene_open(TEST_GOLDEN "/logits_llama_gqa.gguf");
    return 0;
}

static int demo(void **state)
{
    (void)state;
    scene_open("demo");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    cushim_lazy(0);
    scene_close();
    return 0;
}

static void same_bits(const char *what)
{
    struct err e;
    float *got = mem_zalloc(sc.n_logits, sizeof *got);
    ok(run_plan(got, &e));
    if (memcmp(got, sc.want, sc.n_logits * sizeof *got) != 0)
        fail_msg("%s: other logits than with resident weights", what);
    mem_free(got);
}

/* Largest difference from the logits of resident weights, as a fraction of their spread. */
static double distance(const float *got)
{
    double worst = 0, sum = 0;
    for (size_t i = 0; i < sc.n_logits; i++) {
        double d = fabs((double)got[i] - (double)sc.want[i]);
        worst = d > worst || d != d ? d : worst;
        sum += (double)sc.want[i] * (double)sc.want[i];
    }
    return worst / sqrt(sum / (double)sc.n_logits);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void streamed_is_resident_at_every_split(void **state)
{
    (void)state;
    char what[64];
    int n = sc.m.hp.n_layer;
    for (int split = 0; split <= 2 * n + 1; split++) /* parts split .. last are streamed */
        for (int late = 0; late <= 1; late++) {
            everything(PLAN_VRAM);
            for (int i = split; i < 2 * n; i++)
                *(i % 2 ? &sc.plan.ffn[i / 2] : &sc.plan.attn[i / 2]) = PLAN_STREAM;
            sc.plan.output = split <= 2 * n ? PLAN_STREAM : PLAN_VRAM;
            sc.plan.keep_pinned = split % 2;
            cushim_lazy(late);
            snprintf(what, sizeof what, "streamed from part %d on, %s", split,
                     late ? "late" : "at once");
            same_bits(what);
        }
}

static void streamed_is_resident_with_every_ring(void **state)
{
    (void)state;
    char what[64];
    for (int parts = 1; parts <= 7; parts += 2)
        for (int v = 0; v < 4; v++) {
            everything(PLAN_STREAM);
            sc.plan.ring_bytes = (uint64_t)parts * sc.largest - (parts > 1 ? 300 : 0);
            sc.plan.keep_pinned = v % 2;
            sc.plan.embed = v / 2 ? PLAN_HOST : PLAN_VRAM; /* a gathered row is the same row */
            cushim_lazy(1);
            snprintf(what, sizeof what, "a ring of %d parts, variant %d", parts, v);
            same_bits(what);
        }
}

/* Seconds of the steps of run_text, and the bytes copied for them. */
static double text_seconds(float *out, uint64_t *bytes)
{
    struct err e;
    struct run r;
    struct stage_stats st;
    const int64_t t0 = clock_ns();
    ok(run_open(&r, &e));
    ok(run_text(&r, out, &e));
    const double seconds = (double)(clock_ns() - t0) * 1e-9;
    place_stats(r.place, &st);
    *bytes = st.copied_bytes;
    run_close(&r);
    return seconds;
}

/* The copies take at least their bytes over the limit, and beside them a run takes about as long as
 * without a limit. The device of this test computes while nothing is copied. */
static void a_limited_link_gives_the_same_bits_at_its_rate(void **state)
{
    (void)state;
    uint64_t bytes;
    float *got = mem_zalloc(sc.n_logits, sizeof *got);
    everything(PLAN_STREAM);
    const double free_s = text_seconds(got, &bytes);
    sc.link_limit = (double)bytes / 0.3; /* the run copies for 0.3 s */
    double best = INFINITY;
    for (int i = 0; i < 10 && best > 0.5 + 3 * free_s; i++) {
        memset(got, 0, sc.n_logits * sizeof *got);
        const double seconds = text_seconds(got, &bytes);
        assert_memory_equal(got, sc.want, sc.n_logits * sizeof *got);
        assert_true(seconds >= (double)bytes / sc.link_limit - PACE_IDLE_NS * 1e-9);
        best = seconds < best ? seconds : best;
    }
    print_message("%.3f s without a limit, %.3f s with 0.3 s of copies\n", free_s, best);
    assert_true(best <= 0.5 + 3 * free_s); /* other programs may stop this one */
    mem_free(got);
}

/* In a hold steps copy nothing and give finite logits. After it, and after copies alone, the bits
 * are those of resident weights. */
static void a_hold_leaves_nothing_behind(void **state)
{
    (void)state;
    struct err e;
    struct run r;
    struct stage_stats before, after;
    const int32_t tok = 5;
    uint64_t bytes;
    double seconds;
    float *got = mem_zalloc(sc.n_logits, sizeof *got);
    for (int v = 0; v < 4; v++) {
        everything(PLAN_STREAM);
        sc.plan.ring_bytes *= v % 2 ? 3 : 1;
        sc.plan.keep_pinned = v / 2;
        cushim_lazy(v % 2);
        ok(run_open(&r, &e));
        ok(run_step(&r, &tok, 1, NULL, &e));
        ok(place_hold(r.place, true, &e));
        ok(run_step(&r, &tok, 1, NULL, &e));
        place_stats(r.place, &before);
        for (int i = 0; i < 3; i++) {
            ok(run_step(&r, &tok, 1, got, &e));
            for (int k = 0; k < sc.m.hp.n_vocab; k++)
                assert_true(isfinite(got[k]));
        }
        place_stats(r.place, &after);
        assert_int_equal(after.copied_bytes, before.copied_bytes);
        ok(place_hold(r.place, false, &e));
        ok(run_step(&r, &tok, 1, NULL, &e));
        ok(place_copy_alone(r.place, 2, &bytes, &seconds, &e));
        assert_true(bytes > 0 && seconds > 0);
        kv_seq_free(r.kv, &r.seq);
        ok(kv_seq_init(r.kv, N_CTX, &r.seq, &e));
        ok(run_text(&r, got, &e));
        assert_memory_equal(got, sc.want, sc.n_logits * sizeof *got);
        run_close(&r);
    }
    everything(PLAN_VRAM);
    ok(run_open(&r, &e));
    fails(place_hold(r.place, true, &e), ERR_USAGE, "nothing is streamed");
    fails(place_copy_alone(r.place, 1, &bytes, &seconds, &e), ERR_USAGE, "nothing is streamed");
    run_close(&r);
    mem_free(got);
}

static void parts_on_the_cpu_give_the_same_bits_near_the_device_s(void **state)
{
    (void)state;
    struct err e;
    float *first = mem_zalloc(sc.n_logits, sizeof *first),
          *got = mem_zalloc(sc.n_logits, sizeof *got);
    int n = sc.m.hp.n_layer;
    for (int from = 0; from < n; from++) {
        for (int v = 0; v < 4; v++) {
            everything(v % 2 ? PLAN_STREAM : PLAN_VRAM);
            for (int l = from; l < n; l++)
                sc.plan.ffn[l] = PLAN_HOST;
            sc.plan.weights_mapped = v / 2;
            cushim_lazy(v % 2);
            ok(run_plan(v ? got : first, &e));
            if (v && memcmp(first, got, sc.n_logits * sizeof *got) != 0)
                fail_msg("layers from %d on the CPU, variant %d: other bits", from, v);
        }
        print_message(
            "feed-forward of layers %d to %d on the CPU: logits within %.2g of their spread\n",
            from, n - 1, distance(first));
        assert_true(distance(first) < 0.05);
    }
    mem_free(first);
    mem_free(got);
}

/* Opens a copy of the small model that the test may cut. All parts are streamed through the
 * smallest rings; one step is done. */
static void open_streamed_copy(const char *dir, char path[300], struct run *r)
{
    const int32_t tok[2] = {1, 2};
    struct err e;
    size_t n;
    scene_close();
    char *bytes = test_read(TEST_GOLDEN "/logits_llama_gqa.gguf", &n);
    snprintf(path, 300, "%s/m.gguf", dir);
    FILE *f = fopen(path, "wb");
    assert_true(f && fwrite(bytes, 1, n, f) == n && fclose(f) == 0);
    free(bytes);
    scene_open(path);
    everything(PLAN_STREAM);
    sc.plan.keep_pinned = false;
    sc.plan.weights_mapped = false;
    ok(run_open(r, &e));
    ok(run_step(r, tok, 2, NULL, &e));
}

/* Every step reads streamed weights with pread: cutting the file meanwhile gives an error
 * message. */
static void a_file_cut_while_it_is_streamed_is_a_message(void **state)
{
    (void)state;
    char dir[256], path[300];
    const int32_t tok = 1;
    struct err e;
    struct run r;
    test_mkdir(dir);
    open_streamed_copy(dir, path, &r);
    assert_int_equal(truncate(path, 4096), 0);
    fails(run_step(&r, &tok, 1, NULL, &e), ERR_IO, "changed");
    assert_non_null(strstr(e.msg, path));
    run_close(&r);
    test_rmdir(dir);
}

/* The file is cut after the check at the beginning of a step: the short read gives the message. */
static void a_file_cut_in_the_middle_of_a_step_is_a_message(void **state)
{
    (void)state;
    char dir[256], path[300];
    const struct tensor *t[SLOT_COUNT];
    struct err e;
    struct run r;
    test_mkdir(dir);
    open_streamed_copy(dir, path, &r);
    ok(place_part(r.place, PART_EMBED, 0, t, &e));
    ok(place_release(r.place, PART_EMBED, 0, &e));
    assert_int_equal(truncate(path, 4096), 0);
    int rc = 0;
    /* items already in the rings are used first */
    for (int i = 0; i < 8 * 2 * sc.m.hp.n_layer && rc == 0; i++) {
        int l = i / 2 % sc.m.hp.n_layer;
        enum plan_part part = i % 2 ? PART_FFN : PART_ATTN;
        rc = place_part(r.place, part, l, t, &e);
        if (rc == 0)
            rc = place_release(r.place, part, l, &e);
        if (rc == 0 && l == sc.m.hp.n_layer - 1 && part == PART_FFN)
            rc = place_part(r.place, PART_OUTPUT, 0, t, &e);
        if (rc == 0 && l == sc.m.hp.n_layer - 1 && part == PART_FFN)
            rc = place_release(r.place, PART_OUTPUT, 0, &e);
    }
    assert_int_equal(rc, ERR_IO);
    assert_non_null(strstr(e.msg, path));
    assert_non_null(strstr(e.msg, "shorter"));
    fails(place_part(r.place, PART_ATTN, 0, t, &e), ERR_IO, path); /* later calls fail, too */
    run_close(&r);
    test_rmdir(dir);
}

static void what_is_placed_elsewhere_is_not_recorded(void **state)
{
    (void)state;
    struct err e;
    struct run r;
    struct stage_stats st;
    static const enum plan_place where[] = {PLAN_VRAM, PLAN_STREAM, PLAN_HOST};
    for (int i = 0; i < 3; i++) {
        everything(PLAN_VRAM);
        sc.plan.ffn[0] = where[i];
        ok(run_open(&r, &e));
        assert_int_equal(place_recordable(r.place), where[i] == PLAN_VRAM);
        assert_int_equal(place_has_host(r.place), where[i] == PLAN_HOST);
        assert_int_equal(place_of(r.place, PART_FFN, 0), where[i]);
        place_stats(r.place, &st);
        assert_int_equal(st.ring_bytes != 0, where[i] == PLAN_STREAM);
        run_close(&r);
    }
}

#define T(f, model) cmocka_unit_test_setup_teardown(f, model, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(streamed_is_resident_at_every_split, small),
        T(streamed_is_resident_with_every_ring, small),
        T(a_hold_leaves_nothing_behind, small),
        T(a_limited_link_gives_the_same_bits_at_its_rate, small),
        T(parts_on_the_cpu_give_the_same_bits_near_the_device_s, small),
        T(a_file_cut_while_it_is_streamed_is_a_message, small),
        T(a_file_cut_in_the_middle_of_a_step_is_a_message, small),
        T(what_is_placed_elsewhere_is_not_recorded, small),
    };
    const struct CMUnitTest large[] = {
        T(streamed_is_resident_at_every_split, demo),
        T(parts_on_the_cpu_give_the_same_bits_near_the_device_s, demo),
    };
    log_set_level(LOG_ERROR);
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    /* the race checker would take minutes and check the same lines */
    if (strcmp(cushim_flavour(), "race") != 0)
        rc += cmocka_run_group_tests(large, NULL, NULL);
    return rc;
}
