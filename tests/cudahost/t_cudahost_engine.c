/*
 * The whole engine on the CUDA kernels, run by the host. A result depends on nothing but its
 * request, with and without recorded steps, and on quantised weights and caches too. It equals the
 * result of the CPU. (Against other programs: t_logits and t_stories, which also run this backend.)
 */
#include <math.h>

#include "capture.h"
#include "cushim_test.h"
#include "serve.h"
#include "test.h"

enum { N_JOB = 8, N_NEW = 10 };
static int longest = 60; /* prompt of some_jobs, tokens */

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

static struct jobs *run_alone(const struct engine_options *o)
{
    struct engine *en = open_engine(o);
    struct jobs *js = some_jobs(en);
    for (int i = 0; i < js->n; i++) {
        jobs_submit(en, js, i, i + 1);
        jobs_wait(js);
    }
    engine_close(en);
    return js;
}

static void compare(const struct jobs *want, const struct engine_options *o, const char *what)
{
    struct engine *en = open_engine(o);
    struct jobs *js = some_jobs(en);
    jobs_run(en, js);
    jobs_equal(want, js, what);
    engine_close(en);
    jobs_free(js);
    if (*cushim_findings())
        fail_msg("%s: %s", what, cushim_findings());
    assert_int_equal(cushim_live(NULL), 0);
}

static struct engine_options cudahost_options(void)
{
    struct engine_options o = serve_options();
    o.backend = "cudahost";
    return o;
}

static void results_do_not_depend_on_batch_pages_chunks_cache_or_recording(void **state)
{
    (void)state;
    struct engine_options o = cudahost_options();
    struct jobs *want = run_alone(&o);
    compare(want, &o, "all together");
    o.no_record = true;
    compare(want, &o, "all together, no step recorded");
    o.no_record = false;
    cushim_lazy(1);
    compare(want, &o, "queued work run late");
    cushim_lazy(0);
    cushim_order(CUSHIM_REVERSE, 1);
    o.n_seq = 3;
    compare(want, &o, "3 together, reverse order");
    cushim_order(CUSHIM_RANDOM, 1);
    o.n_seq = N_JOB;
    o.batch_tokens = 24;
    o.page_tokens = 64;
    compare(want, &o, "chunks of at most 24 tokens, pages of 64, random order");
    cushim_order(CUSHIM_FORWARD, 1);
    o.no_prefix_cache = true;
    o.batch_tokens = 512;
    o.page_tokens = 32;
    compare(want, &o, "no prefix cache, pages of 32");
    jobs_free(want);
}

static void results_hold_with_a_q8_0_cache_and_quantised_weights(void **state)
{
    (void)state;
    struct engine_options o = cudahost_options();
    o.model = TEST_SOURCE "/configs/demo/toy_mini.gguf";
    o.kv_fmt = FMT_Q8_0;
    struct jobs *want = run_alone(&o);
    o.page_tokens = 128;
    o.batch_tokens = 40;
    o.n_seq = 7;
    compare(want, &o, "7 together, chunks of 40, pages of 128");
    jobs_free(want);
}

/* K-quants: the number of rows of a step decides their kernel. */
static void results_hold_with_k_quants(void **state)
{
    (void)state;
    char path[1024];
    need_data("models/stories260K-pad1024-Q4_K_M.gguf", path);
    struct engine_options o = cudahost_options();
    o.model = path;
    o.n_ctx = 128;
    longest = 8; /* matrices of 1,024 inputs are slow here */
    struct jobs *want = run_alone(&o);
    o.batch_tokens = 9;
    compare(want, &o, "all together, chunks of at most 9 tokens");
    longest = 60;
    jobs_free(want);
}

/* Recordings are kept for each power of two of the longest sequence, from 256 tokens on. Replies
 * that grow past one take the next. */
static void recorded_steps_hold_past_256_and_512_tokens(void **state)
{
    (void)state;
    static const int prompt[3] = {248, 200, 505};
    struct engine_options o = cudahost_options();
    o.model = TEST_SOURCE "/configs/demo/toy_mini.gguf";
    o.n_ctx = 1024;
    o.n_seq = 3;
    struct jobs *js[2];
    for (int record = 0; record < 2; record++) {
        o.no_record = !record;
        struct engine *en = open_engine(&o);
        js[record] = jobs_make(3, 505, 505, 20, 5, engine_info(en)->n_vocab);
        for (int i = 0; i < 3; i++) {
            js[record]->job[i].r.n_prompt = prompt[i];
            jobs_submit(en, js[record], i, i + 1);
            if (i != 1) /* the first one alone, then two of different lengths */
                jobs_wait(js[record]);
        }
        jobs_wait(js[record]);
        struct cushim_objects live;
        cushim_live(&live);
        assert_true(record ? live.graphs >= 3 : live.graphs == 0);
        engine_close(en);
        assert_string_equal(cushim_findings(), "");
    }
    jobs_equal(js[0], js[1], "recorded, past 256 and 512 tokens");
    jobs_free(js[0]);
    jobs_free(js[1]);
}

static struct engine_options drafting(struct engine_options o)
{
    o.max_draft = 4;
    o.always_draft = o.lookup = true;
    o.draft_model = o.model;
    o.max_branch = 2;
    o.spoil_drafts = 0.3;
    return o;
}

/* Steps with several rows of one sequence, also recorded, by two models in turns; right and wrong
 * drafts. */
static void results_do_not_depend_on_drafts(void **state)
{
    (void)state;
    struct engine_options o = cudahost_options();
    struct jobs *want = run_alone(&o);
    struct engine_options ahead = drafting(o);
    compare(want, &ahead, "drafting");
    ahead.no_record = true;
    ahead.page_tokens = 64;
    ahead.n_seq = 3;
    compare(want, &ahead, "drafting, no step recorded, 3 together, pages of 64");
    char dir[256], draft[300];
    snprintf(draft, sizeof draft, "%s/draft.gguf", test_mkdir(dir));
    serve_draft(draft);
    ahead = drafting(o);
    ahead.draft_model = draft; /* its second choices are right sometimes */
    ahead.lookup = false;
    ahead.spoil_drafts = 0;
    struct engine *en = open_engine(&ahead);
    struct jobs *js = some_jobs(en);
    jobs_run(en, js);
    jobs_equal(want, js, "branches");
    struct engine_stats st;
    engine_stats(en, &st);
    assert_true(st.branched > 1);
    engine_close(en);
    jobs_free(js);
    test_rmdir(dir);
    jobs_free(want);
    o.model = TEST_SOURCE "/configs/demo/toy_mini.gguf";
    o.kv_fmt = FMT_Q8_0;
    want = run_alone(&o);
    ahead = drafting(o);
    compare(want, &ahead, "drafting with a q8_0 cache and quantised weights");
    jobs_free(want);
}

static void sequences_that_push_each_other_out_get_the_same(void **state)
{
    (void)state;
    struct engine_options o = cudahost_options();
    struct jobs *want = run_alone(&o);
    o.kv_bytes = 8 * 16 * 2 * 2 * 16 * 2 * 2; /* 8 pages: one context */
    o.n_ctx = 128;
    struct engine *en = open_engine(&o);
    struct jobs *js = some_jobs(en);
    struct engine_stats st;
    jobs_run(en, js);
    engine_stats(en, &st);
    jobs_equal(want, js, "preempted and recomputed");
    assert_true(st.preempted > 0);
    engine_close(en);
    jobs_free(js);
    jobs_free(want);
}

static void decode_steps_are_recorded_and_replayed(void **state)
{
    (void)state;
    struct engine_options o = cudahost_options();
    struct engine *en = open_engine(&o);
    struct jobs *js = jobs_make(2, 5, 5, 12, 3, engine_info(en)->n_vocab);
    struct cushim_objects live;
    jobs_run(en, js);
    cushim_live(&live);
    assert_true(live.graphs >= 1);
    engine_close(en);
    jobs_free(js);
    o.no_record = true;
    en = open_engine(&o);
    js = jobs_make(2, 5, 5, 12, 3, engine_info(en)->n_vocab);
    jobs_run(en, js);
    cushim_live(&live);
    assert_int_equal(live.graphs, 0);
    engine_close(en);
    jobs_free(js);
}

/* A call that makes or starts a recording fails from its n-th time on. */
static void without_recordings_steps_run_plainly_and_say_so_once(void **state)
{
    static const struct {
        const char *name;
        long n;
    } calls[] = {{"cudaStreamBeginCapture", 1},
                 {"cudaStreamEndCapture", 1},
                 {"cudaGraphInstantiate", 1},
                 {"cudaGraphLaunch", 1},
                 {"cudaGraphLaunch", 3}};
    (void)state;
    struct engine_options o = cudahost_options();
    struct jobs *want = run_alone(&o);
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        char text[4096];
        struct capture stderr_text;
        struct engine *en = open_engine(&o);
        struct jobs *js = some_jobs(en);
        cushim_fail_call(calls[i].name, calls[i].n);
        capture_begin(&stderr_text);
        jobs_run(en, js);
        capture_end(&stderr_text, text, sizeof text);
        const long called = cushim_named_calls();
        cushim_fail_call("", 0);
        jobs_equal(want, js, calls[i].name);
        const char *said = strstr(text, "run without CUDA graphs from now on");
        if (!said || strstr(said + 8, "run without") || !strstr(text, calls[i].name))
            fail_msg("%s, call %ld: said \"%s\"", calls[i].name, calls[i].n, text);
        assert_int_equal(called, calls[i].n); /* not tried again */
        engine_close(en);
        jobs_free(js);
        assert_int_equal(cushim_live(NULL), 0);
    }
    jobs_free(want);
}

/* A launch that fails only while it is recorded. */
static void a_broken_capture_is_computed_plainly(void **state)
{
    (void)state;
    struct engine_options o = cudahost_options();
    struct jobs *want = run_alone(&o);
    char text[4096];
    struct capture stderr_text;
    struct engine *en = open_engine(&o);
    struct jobs *js = some_jobs(en);
    cushim_break_capture(1);
    capture_begin(&stderr_text);
    jobs_run(en, js);
    capture_end(&stderr_text, text, sizeof text);
    cushim_break_capture(0);
    jobs_equal(want, js, "a broken capture");
    assert_non_null(strstr(text, "run without CUDA graphs from now on"));
    engine_close(en);
    jobs_free(js);
    jobs_free(want);
    assert_int_equal(cushim_live(NULL), 0);
}

/* F32 weights: both backends differ from exact arithmetic by rounding only. */
static void the_cpu_and_the_kernels_agree_on_greedy_text(void **state)
{
    (void)state;
    struct engine_options o = cudahost_options();
    struct engine *gpu = open_engine(&o);
    o.backend = "cpu";
    struct engine *cpu = open_engine(&o);
    int n_vocab = engine_info(cpu)->n_vocab;
    struct jobs *a = jobs_make(6, 5, 30, 20, 3, n_vocab), *b = jobs_make(6, 5, 30, 20, 3, n_vocab);
    jobs_run(cpu, a);
    jobs_run(gpu, b);
    for (int i = 0; i < a->n; i += 3) { /* the greedy ones */
        assert_memory_equal(a->job[i].out, b->job[i].out, 20 * sizeof(int32_t));
        for (int k = 0; k < 20; k++)
            assert_true(fabsf(a->job[i].lp[k] - b->job[i].lp[k]) < 1e-3f);
    }
    jobs_free(a);
    jobs_free(b);
    engine_close(cpu);
    engine_close(gpu);
}

/* A device that holds the cache and some of the weights; the program may use `vram` bytes of it. */
static struct engine_options too_small(uint64_t vram, enum plan_mode mode)
{
    static const struct plan_rates rates = {
        .vram = 1e12, .link = 25e9, .host = 60e9, .host_ops = 1e12, .hop_s = 1e-5, .step_s = 1e-4};
    struct engine_options o = cudahost_options();
    o.vram_bytes = vram;
    o.rates = &rates;
    o.placement = mode;
    return o;
}

/* Number of the model's parts in this place. */
static int count_parts(const struct engine *en, enum plan_place place)
{
    const struct plan *p = engine_info(en)->plan;
    int n = (p->embed == place) + (p->output == place);
    for (int l = 0; l < p->n_layer; l++)
        n += (p->attn[l] == place) + (p->ffn[l] == place);
    return n;
}

/* Each step copies the streamed bytes; copies for the next steps may be queued already. */
static void check_streamed(struct engine *en)
{
    const uint64_t bytes = engine_info(en)->plan->stream_bytes;
    struct engine_stats st;
    struct jobs *js = jobs_make(1, 5, 5, 6, 3, engine_info(en)->n_vocab);
    jobs_run(en, js);
    engine_stats(en, &st);
    assert_true(st.streamed_bytes >= st.steps * bytes &&
                st.streamed_bytes <= (st.steps + 2) * bytes);
    assert_int_equal(st.swapped_bytes, 0);
    assert_int_equal(st.sequences, st.steps);
    jobs_free(js);
}

/* Lowers the usable device memory from the whole need until not even one context fits. */
static void streamed_weights_give_what_resident_ones_give(void **state)
{
    (void)state;
    char what[80];
    struct engine_options o = cudahost_options();
    o.n_seq = 3;
    struct engine *en = open_engine(&o);
    uint64_t all = engine_info(en)->plan->total_bytes,
             step = engine_info(en)->plan->vram_weight_bytes / 8;
    assert_true(plan_is_resident(engine_info(en)->plan));
    engine_close(en);
    struct jobs *want = run_alone(&o);
    int plans = 0, most = 0;
    for (uint64_t vram = all + step;; vram -= step) {
        struct engine_options few = too_small(vram, PLAN_THROUGHPUT);
        struct err e;
        few.n_seq = 3;
        if (engine_open(&few, &en, &e) < 0) {
            assert_int_equal(e.code, ERR_USAGE);
            break;
        }
        int streamed = count_parts(en, PLAN_STREAM);
        check_streamed(en);
        engine_close(en);
        cushim_lazy(++plans % 2);
        most = streamed > most ? streamed : most;
        snprintf(what, sizeof what, "%d parts streamed in %llu bytes", streamed,
                 (unsigned long long)vram);
        compare(want, &few, what);
    }
    cushim_lazy(0);
    print_message("%d budgets, up to %d parts streamed\n", plans, most);
    assert_true(plans >= 4 && most >= 3);
    jobs_free(want);
}

/* Same bits at every run and in every batch; close to the results of the kernels. */
static void layers_on_the_cpu_give_the_same_at_every_run(void **state)
{
    (void)state;
    struct engine_options o = cudahost_options();
    o.cpu_layers = (struct option_auto){true, 1};
    o.placement = PLAN_LATENCY;
    struct engine_options few = too_small((uint64_t)1 << 30, PLAN_LATENCY);
    o.rates = few.rates;
    struct engine *en = open_engine(&o);
    assert_true(count_parts(en, PLAN_HOST) >= 1 && engine_info(en)->plan->host_bytes > 0);
    engine_close(en);
    struct jobs *want = run_alone(&o);
    compare(want, &o, "all together");
    o.n_threads = 1;
    o.batch_tokens = 24;
    compare(want, &o, "one thread, chunks of 24 tokens");
    jobs_free(want);
}

static void a_model_that_does_not_fit_names_the_knobs(void **state)
{
    (void)state;
    struct engine_options o = cudahost_options();
    struct engine *en = NULL;
    struct err e;
    o.vram_bytes = 1 << 20;
    fails(engine_open(&o, &en, &e), ERR_USAGE, "available on the device; lower --ctx");
    assert_non_null(strstr(e.msg, "raise --vram"));
    assert_int_equal(cushim_live(NULL), 0);
}

static int sequences_of(uint64_t kv_bytes, int64_t *tokens)
{
    struct engine_options o = cudahost_options();
    o.n_seq = 0;
    o.kv_bytes = kv_bytes;
    struct engine *en = open_engine(&o);
    const struct engine_info *in = engine_info(en);
    const int n = in->n_seq;
    /* sequences of typical length */
    *tokens = (int64_t)in->n_page * in->page_tokens / (in->n_ctx < 900 ? in->n_ctx : 900);
    engine_close(en);
    return n;
}

/* By default a device computes as many sequences together as its cache holds, within bounds. */
static void sequences_are_as_many_as_the_cache_holds(void **state)
{
    (void)state;
    int64_t hold;
    assert_int_equal(sequences_of(1 << 18, &hold), 16);
    assert_true(hold < 16);
    const int some = sequences_of(4 << 20, &hold);
    assert_int_equal(some, hold);
    assert_true(some > 16 && some < 256);
    assert_int_equal(sequences_of(32 << 20, &hold), 256);
    assert_true(hold > 256);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_that_does_not_fit_names_the_knobs),
        cmocka_unit_test(decode_steps_are_recorded_and_replayed),
        cmocka_unit_test(without_recordings_steps_run_plainly_and_say_so_once),
        cmocka_unit_test(a_broken_capture_is_computed_plainly),
        cmocka_unit_test(sequences_are_as_many_as_the_cache_holds),
        cmocka_unit_test(the_cpu_and_the_kernels_agree_on_greedy_text),
        cmocka_unit_test(results_do_not_depend_on_batch_pages_chunks_cache_or_recording),
        cmocka_unit_test(results_hold_with_a_q8_0_cache_and_quantised_weights),
        cmocka_unit_test(results_hold_with_k_quants),
        cmocka_unit_test(recorded_steps_hold_past_256_and_512_tokens),
        cmocka_unit_test(results_do_not_depend_on_drafts),
        cmocka_unit_test(streamed_weights_give_what_resident_ones_give),
        cmocka_unit_test(layers_on_the_cpu_give_the_same_at_every_run),
        cmocka_unit_test(sequences_that_push_each_other_out_get_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
