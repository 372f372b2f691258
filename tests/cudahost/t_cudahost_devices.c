/*
 * The whole engine on two and three GPUs that the host runs, as a pipeline of layers or with tensor
 * parallel. A request gets the tokens and the bits of one GPU. These change nothing: micro-batches,
 * recorded steps, drafts, pages pushed out of the cache, streamed weights. A GPU that is lost ends
 * the engine with an error that names it.
 */
#include <stdio.h>
#include <string.h>

#include "cushim_test.h"
#include "log.h"
#include "record.h"
#include "serve.h"
#include "test.h"

enum { N_JOB = 6, N_NEW = 8 };
static int longest = 24; /* prompt, tokens */
static int n_micro;      /* of the last plan */
/* how the GPUs share the model */
static enum plan_split split = PLAN_LAYERS;

static struct engine *open_engine(const struct engine_options *o)
{
    struct engine *en = NULL;
    struct err e;
    ok(engine_open(o, &en, &e));
    return en;
}

static struct jobs *some_jobs(const struct engine *en)
{
    return jobs_make(N_JOB, 1, longest, N_NEW, 5, engine_info(en)->n_vocab);
}

/* Options for one GPU. The rates are made up, so none are measured. */
static struct engine_options one_gpu(void)
{
    static const struct plan_rates rates = {
        .vram = 1e12, .link = 25e9, .host = 60e9, .host_ops = 1e12, .hop_s = 1e-7, .step_s = 1e-6};
    struct engine_options o = serve_options();
    o.backend = "cudahost";
    o.model = TEST_SOURCE "/configs/demo/toy_mini.gguf"; /* 3 layers, quantised */
    o.n_ctx = 128;
    o.n_seq = N_JOB;
    o.rates = &rates;
    return o;
}

static struct engine_options several(struct engine_options o, const char *list)
{
    o.devices = (struct option_list){.item = {list}, .n = 1};
    o.split = split;
    return o;
}

static struct jobs *run_on_one(const struct engine_options *o)
{
    struct engine *en = open_engine(o);
    struct jobs *js = some_jobs(en);
    jobs_run(en, js);
    engine_close(en);
    return js;
}

/* A variant in which a step of n_seq rows is cut: the GPUs compute slowly, so rows cost time. */
static struct engine_options slow(struct engine_options o)
{
    o.rates = &serve_slow_rates;
    return o;
}

/* Checks the results on at least `least` GPUs against those of one. */
static void compare(const struct jobs *want, const struct engine_options *o, int least,
                    struct engine_stats *st, const char *what)
{
    struct engine *en = open_engine(o);
    struct jobs *js = some_jobs(en);
    const struct plan *p = engine_info(en)->plan;
    print_message("%s: %d GPUs, %d micro-batches from %d rows on, %s\n", what, serve_gpus_used(en),
                  p->n_micro, p->micro_rows, plan_is_resident(p) ? "resident" : "not resident");
    if (least > 1)
        assert_int_equal(p->split, split);
    if (serve_gpus_used(en) < least)
        fail_msg("%s: %d GPUs have layers, wanted %d", what, serve_gpus_used(en), least);
    jobs_run(en, js);
    jobs_equal(want, js, what);
    if (st)
        engine_stats(en, st);
    n_micro = p->n_micro;
    engine_close(en);
    jobs_free(js);
    assert_string_equal(cushim_findings(), "");
    assert_int_equal(cushim_live(NULL), 0);
}

/* Limits the memory of each GPU to the workspace and this part of the weights, and the cache to
 * n_context contexts. */
static struct engine_options limited(struct engine_options o, double part, int n_context)
{
    struct engine *en = open_engine(&o);
    const struct plan *p = engine_info(en)->plan;
    const uint64_t context = p->kv_bytes / (uint64_t)p->kv_tokens * (uint64_t)o.n_ctx;
    uint64_t workspace = 0;
    for (int d = 0; d < p->n_device; d++)
        workspace = p->share[d].n ? p->share[d].workspace_bytes : workspace;
    o.kv_bytes = context * (uint64_t)n_context;
    o.vram_bytes = workspace + o.kv_bytes + (uint64_t)(part * (double)p->weight_bytes);
    print_message(
        "%d GPUs without limits; workspace %llu KiB, weights %llu KiB, context %llu KiB\n",
        serve_gpus_used(en), (unsigned long long)workspace >> 10,
        (unsigned long long)p->weight_bytes >> 10, (unsigned long long)context >> 10);
    engine_close(en);
    return o;
}

/* Memory of each GPU, as part of the weights: with tensor parallel the first one has the whole
 * embedding, half of this model. */
static double room(void)
{
    return split == PLAN_ROWS ? 1 : 0.8;
}

static void two_gpus_give_the_tokens_of_one(void **state)
{
    (void)state;
    struct engine_options o = one_gpu(), two;
    struct jobs *want = run_on_one(&o);
    two = limited(several(o, "0,1"), room(), N_JOB);
    compare(want, &two, 2, NULL, "two GPUs");
    cushim_apart(0, 1, 1);
    two.no_record = true;
    cushim_lazy(1);
    compare(want, &two, 2, NULL, "through pinned memory, late, no step recorded");
    cushim_lazy(0);
    jobs_free(want);
}

static void micro_batches_keep_the_tokens(void **state)
{
    (void)state;
    struct engine_options o = one_gpu(), three;
    struct jobs *want = run_on_one(&o);
    three = slow(several(o, "2,0"));
    compare(want, &three, 2, NULL, "GPUs 2 and 0");
    assert_true(n_micro > 1);
    cushim_lazy(1);
    three.batch_tokens = 24;
    three.page_tokens = 64;
    compare(want, &three, 2, NULL, "chunks of 24, pages of 64, late");
    cushim_lazy(0);
    three = slow(several(o, "all"));
    compare(want, &three, 2, NULL, "all three GPUs");
    assert_true(n_micro > 1);
    jobs_free(want);
}

static void drafts_keep_the_tokens(void **state)
{
    (void)state;
    struct engine_options o = one_gpu(), two;
    struct engine_stats st;
    struct jobs *want = run_on_one(&o);
    o.max_draft = 4;
    o.always_draft = o.lookup = true;
    o.draft_model = o.model;
    o.max_branch = 2;
    o.spoil_drafts = 0.3;
    two = slow(several(o, "0,1"));
    compare(want, &two, 1, &st, "drafts");
    assert_true(st.accepted > 0);
    jobs_free(want);
}

/* Pages go to the host and come back, each half to its GPU. */
static void pushed_out_pages_keep_the_tokens(void **state)
{
    (void)state;
    struct engine_options o = one_gpu(), two;
    struct engine_stats st;
    o.page_tokens = 16;
    longest = 40;
    struct jobs *want = run_on_one(&o);
    for (enum plan_swap swap = PLAN_SWAP_OFF; swap <= PLAN_SWAP_ON; swap++) {
        two = limited(several(o, "0,1"), room(), 1);
        two.swap = swap;
        compare(want, &two, 2, &st, swap == PLAN_SWAP_ON ? "swapped" : "computed again");
        assert_true(st.preempted > 0);
        assert_true((st.pages_swapped_in > 0) == (swap == PLAN_SWAP_ON));
    }
    longest = 24;
    jobs_free(want);
}

/* Prompts of 40 tokens that share their first 32. */
static struct jobs *alike(const struct engine *en)
{
    struct jobs *js = jobs_make(N_JOB, 40, 40, N_NEW, 5, engine_info(en)->n_vocab);
    for (int i = 1; i < N_JOB; i++)
        memcpy(js->job[i].prompt, js->job[0].prompt, 32 * sizeof(int32_t));
    return js;
}

/* Runs them one after the other, so that each but the first can find the pages of the first.
 * Returns the number of tokens that came from the cache. */
static int run_alike(struct engine *en, struct jobs *js)
{
    int cached = 0;
    for (int i = 0; i < N_JOB; i++) {
        jobs_submit(en, js, i, i + 1);
        jobs_wait(js);
        cached += js->job[i].r.n_cached;
    }
    return cached;
}

/* Pages of a prefix are found on both GPUs: also those that were pushed out and come back. */
static void a_prefix_is_found_on_both_gpus(void **state)
{
    (void)state;
    struct engine_options o = one_gpu(), two;
    struct engine_stats st;
    o.page_tokens = 16;
    o.no_prefix_cache = true;
    struct engine *en = open_engine(&o);
    struct jobs *want = alike(en);
    assert_int_equal(run_alike(en, want), 0);
    engine_close(en);
    o.no_prefix_cache = false;
    for (int way = 0; way < 3; way++) { /* room for all; for one context, with swap and without */
        two = way ? limited(several(o, "0,1"), 0.8, 1) : slow(several(o, "0,1"));
        two.swap = way == 1 ? PLAN_SWAP_ON : PLAN_SWAP_OFF;
        cushim_apart(0, 1, way == 1);
        cushim_lazy(way != 0);
        en = open_engine(&two);
        assert_int_equal(serve_gpus_used(en), 2);
        struct jobs *js = alike(en), *other = some_jobs(en);
        for (int turn = 0; turn < 2; turn++) {
            const int cached = run_alike(en, js);
            jobs_equal(want, js, "a shared prefix");
            if (way == 0 || turn == 0)
                assert_int_equal(cached, 32 * (N_JOB - 1 + turn));
            jobs_run(en, other); /* other requests push the prefix out, where room is short */
        }
        engine_stats(en, &st);
        assert_true((st.pages_swapped_in > 0) == (way == 1));
        assert_true(way != 2 || st.pages_evicted > 0);
        if (way == 1) /* the second turn has found what the swap kept */
            assert_true(js->job[0].r.n_cached > 0);
        engine_close(en);
        jobs_free(js);
        jobs_free(other);
        cushim_lazy(0);
        assert_string_equal(cushim_findings(), "");
    }
    jobs_free(want);
}

/* Lowers the memory of each GPU until weights are streamed. */
static void streamed_weights_keep_the_tokens(void **state)
{
    (void)state;
    struct engine_options o = one_gpu(), two;
    o.model = TEST_SOURCE "/configs/demo/toy_clinic.gguf"; /* 6 layers */
    longest = 9;
    struct jobs *want = run_on_one(&o);
    two = limited(several(o, "0,1"), 0.6, 1);
    two.placement = PLAN_THROUGHPUT;
    two.cpu_layers = (struct option_auto){true, 0};
    int n = 0;
    for (; n < 2; two.vram_bytes -= 64 << 10) {
        struct engine *en = open_engine(&two);
        const struct plan *p = engine_info(en)->plan;
        const bool streams = p->stream_bytes > 0;
        engine_close(en);
        if (!streams)
            continue;
        cushim_lazy(n++);
        compare(want, &two, 2, NULL, "streamed");
        cushim_lazy(0);
    }
    longest = 24;
    jobs_free(want);
}

/* ---- names and timelines --------------------------------------------------------------------- */

static void names_and_bus_ids_are_of_all_gpus(void **state)
{
    (void)state;
    struct engine_options two = several(one_gpu(), "2,0");
    struct engine *en = open_engine(&two);
    const struct engine_info *in = engine_info(en);
    assert_int_equal(in->n_device, 2);
    assert_int_equal(strncmp(in->device, "GPU 2: host execution", 21), 0);
    assert_non_null(strstr(in->device, "; GPU 0: host execution"));
    assert_string_equal(in->pci, "FFFF:FF:1D.7,FFFF:FF:1F.7");
    engine_close(en);
}

/* Ops on the tracks of GPU `number`. */
static int ops_of_gpu(const struct record *rec, int number)
{
    char name[16];
    int n = 0;
    snprintf(name, sizeof name, "GPU %d: ", number);
    for (size_t i = 0; i < rec->n_interval; i++) {
        const struct track *t = &rec->track[rec->interval[i].track];
        const bool other = !strncmp(t->name, "GPU ", 4);
        n += t->kind == TRACK_DEVICE &&
             (number ? !strncmp(t->name, name, strlen(name)) : !other && strstr(t->name, "host"));
    }
    return n;
}

static void a_timeline_has_a_track_for_each_gpu(void **state)
{
    (void)state;
    struct engine_options o = slow(several(one_gpu(), "0,1"));
    struct recorder *r = NULL;
    struct record rec;
    struct err e;
    ok(recorder_open(1 << 18, &r, &e));
    o.spans = recorder_spans(r);
    struct engine *en = open_engine(&o);
    struct jobs *js = some_jobs(en);
    jobs_run(en, js);
    ok(recorder_read(r, &rec, &e));
    const int on_0 = ops_of_gpu(&rec, 0), on_1 = ops_of_gpu(&rec, 1);
    print_message("%d ops on GPU 0, %d on GPU 1\n", on_0, on_1);
    assert_true(on_0 > 20 && on_1 > 20);
    engine_close(en);
    recorder_close(r);
    jobs_free(js);
}

/* ---- a GPU that is lost ---------------------------------------------------------------------- */

/* Runs jobs until one ends with an error; copies its text. */
static void run_to_the_error(struct engine *en, char *out, size_t n)
{
    struct jobs *js = some_jobs(en);
    struct err e = {0};
    *out = 0;
    for (int i = 0; i < js->n && !*out; i++) {
        if (jobs_try(en, js, i, &e) < 0) {
            snprintf(out, n, "%s", e.msg);
            break;
        }
        jobs_wait(js);
        if (js->job[i].r.finish == FINISH_ERROR)
            snprintf(out, n, "%s", js->job[i].r.err.msg);
    }
    jobs_free(js);
}

static void a_lost_gpu_ends_the_engine_with_its_name(void **state)
{
    (void)state;
    struct engine_options o = one_gpu(), two;
    two = slow(several(o, "0,1"));
    log_set_level(LOG_ERROR);
    cushim_quiet(1);
    for (int gpu = 0; gpu < 2; gpu++)
        for (long n = 0; n < 600; n += 500) {
            char first[512], again[512], name[16];
            struct engine *en = open_engine(&two);
            assert_int_equal(serve_gpus_used(en), 2);
            cushim_lose(gpu, n);
            run_to_the_error(en, first, sizeof first);
            run_to_the_error(en, again, sizeof again);
            engine_close(en);
            cushim_reset();
            snprintf(name, sizeof name, "GPU %d", gpu);
            if (!strstr(first, name) || !strstr(again, first))
                fail_msg("GPU %d lost at call %ld: \"%s\", then \"%s\"", gpu, n, first, again);
            assert_int_equal(cushim_live(NULL), 0);
        }
    cushim_quiet(0);
    log_set_level(LOG_WARN);
}

/* Slow copies between the GPUs make tensor parallel the slower way. Without rates of the caller
 * they are measured. */
static void the_rate_of_peer_access_decides_how_a_model_is_shared(void **state)
{
    (void)state;
    split = PLAN_SPLIT_AUTO;
    struct engine_options o = slow(several(one_gpu(), "0,1"));
    for (int fast = 0; fast < 2; fast++) {
        o.peer_rate = fast ? 1e12 : 1e4;
        struct engine *en = open_engine(&o);
        const struct plan *p = engine_info(en)->plan;
        assert_int_equal(p->split, fast ? PLAN_ROWS : PLAN_LAYERS);
        assert_true(p->rows_one.step_s > 0);
        engine_close(en);
    }
    o.rates = NULL;
    struct engine *en = open_engine(&o);
    const double measured = engine_info(en)->plan->rows_one.border_s;
    engine_close(en);
    assert_true(measured > 0 && measured < 1);
    assert_int_equal(cushim_live(NULL), 0);
}

/* Each GPU has memory for its part of the plan and little more: it holds no other's cache. */
static void no_gpu_holds_more_than_the_plan_says(void **state)
{
    (void)state;
    struct engine_options one = one_gpu(), o = several(one, "0,1");
    struct jobs *want = run_on_one(&one);
    struct engine *en = open_engine(&o);
    const struct plan *p = engine_info(en)->plan;
    o.kv_bytes = p->kv_bytes;
    uint64_t most[2];
    for (int d = 0; d < 2; d++)
        most[d] = p->share[d].total_bytes + p->share[d].kv_bytes / 2;
    assert_true(p->share[0].kv_bytes > 256 << 10 && p->share[0].kv_bytes == p->share[1].kv_bytes);
    engine_close(en);
    for (int d = 0; d < 2; d++)
        cushim_device_memory(d, most[d]);
    compare(want, &o, 2, NULL, "little memory");
    jobs_free(want);
    cushim_devices(1);
    cushim_devices(3);
}

static int by_rows(void **state)
{
    (void)state;
    split = PLAN_ROWS;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    cushim_reset();
    cushim_lazy(0);
    cushim_apart(0, 1, 0);
    split = PLAN_LAYERS;
    longest = 24;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_teardown(f, tear_down)
        TEST(two_gpus_give_the_tokens_of_one),
        TEST(micro_batches_keep_the_tokens),
        TEST(drafts_keep_the_tokens),
        TEST(pushed_out_pages_keep_the_tokens),
        TEST(a_prefix_is_found_on_both_gpus),
        TEST(streamed_weights_keep_the_tokens),
        TEST(names_and_bus_ids_are_of_all_gpus),
        TEST(a_timeline_has_a_track_for_each_gpu),
        TEST(a_lost_gpu_ends_the_engine_with_its_name),
        TEST(the_rate_of_peer_access_decides_how_a_model_is_shared),
#define ROWS(f) {"by rows: " #f, f, by_rows, tear_down, NULL}
        ROWS(two_gpus_give_the_tokens_of_one),
        ROWS(drafts_keep_the_tokens),
        ROWS(pushed_out_pages_keep_the_tokens),
        ROWS(no_gpu_holds_more_than_the_plan_says),
        ROWS(a_timeline_has_a_track_for_each_gpu),
        ROWS(a_lost_gpu_ends_the_engine_with_its_name),
    };
    cushim_devices(3);
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    cushim_devices(1);
    return rc;
}
