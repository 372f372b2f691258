/*
 * The n-th device call fails, alone or with all later ones. Opening then says why and leaves
 * nothing allocated. A request ends with the error, and the engine refuses later requests with the
 * same error.
 */
#include "cushim_test.h"
#include "log.h"
#include "record.h"
#include "reply.h"
#include "serve.h"
#include "test.h"

/* Failures without consequences: queries whose answer is not needed (is the stream idle?). */
static long swallowed;

static struct engine_options small(void)
{
    struct engine_options o = serve_options();
    o.model = TEST_GOLDEN "/logits_llama_bias.gguf"; /* the same calls, and smaller matrices */
    o.backend = "cudahost";
    o.n_seq = 2;
    o.n_ctx = 64;
    return o;
}

/* The options for a device too small for the model. Weights are streamed and the CPU computes one
 * FFN; the program may answer a failed allocation with a smaller plan. */
static struct engine_options streamed(void)
{
    static const struct plan_rates rates = {
        .vram = 1e12, .link = 25e9, .host = 60e9, .host_ops = 1e12, .hop_s = 1e-5, .step_s = 1e-4};
    struct engine_options o = small();
    o.rates = &rates;
    o.placement = PLAN_THROUGHPUT;
    o.cpu_layers = (struct option_auto){true, 1};
    return o;
}

/* Two continuations share the page of the prompt; each writes to its own copy. */
static int score(struct engine *en, struct err *e)
{
    static const int32_t prompt[3] = {1, 2, 3}, a[2] = {4, 5}, b[2] = {6, 7};
    const int32_t *const cont[2] = {a, b};
    const int len[2] = {2, 2};
    double lp[2];
    struct reply p = {.r = {.prompt = prompt,
                            .n_prompt = 3,
                            .top_p = 1,
                            .cont = cont,
                            .cont_len = len,
                            .n_cont = 2,
                            .cont_lp = lp}};
    return reply_run(en, &p, e);
}

/* 5 tokens in, 5 out: prefill, plain, recorded and replayed decode steps; then a scoring
 * request. */
static int serve(struct engine *en, struct err *e)
{
    struct jobs *js = jobs_make(1, 5, 5, 5, 3, engine_info(en)->n_vocab);
    struct request *r = &js->job[0].r;
    int rc = jobs_try(en, js, 0, e);
    if (rc == 0) {
        jobs_wait(js);
        if (r->finish == FINISH_ERROR) {
            *e = r->err;
            rc = r->err.code;
        }
    }
    jobs_free(js);
    return rc < 0 ? rc : score(en, e);
}

/* Runs have a recorder, and calls for events fail only: they include its timers. The tests without
 * a recorder have the other calls. */
static bool record;

/* The n-th call of opening, serving and closing fails. False: there are fewer calls. */
static bool open_serve_close(struct engine_options o, long n, bool once)
{
    struct engine *en = NULL;
    struct err e = {0};
    struct recorder *r = NULL;
    if (record) {
        ok(recorder_open(1 << 16, &r, &e));
        o.spans = recorder_spans(r);
        cushim_fail_only("Event");
    }
    cushim_fail_at(n, once);
    int rc = engine_open(&o, &en, &e);
    if (rc == 0) {
        rc = serve(en, &e);
        if (rc < 0) { /* dead: every later request gets the same error */
            struct err again = {0};
            int rc2 = serve(en, &again);
            if (rc2 >= 0 || !strstr(again.msg, e.msg))
                fail_msg("call %ld %s: the engine goes on after \"%s\" with %d \"%s\"", n,
                         once ? "once" : "and later", e.msg, rc2, again.msg);
        }
        engine_close(en);
    }
    recorder_close(r);
    if (rc < 0 && !e.msg[0])
        fail_msg("call %ld: failed without a word", n);
    bool reached = cushim_calls() >= n;
    cushim_fail_at(0, 1);
    if (cushim_live(NULL) != 0)
        fail_msg("call %ld %s: %zu objects are left after \"%s\"", n, once ? "once" : "and later",
                 cushim_live(NULL), e.msg);
    cushim_reset();
    if (rc < 0 && !reached)
        fail_msg("failed with \"%s\" although no call did", e.msg);
    swallowed += reached && rc == 0;
    return reached;
}

static void every_failure_is_clean(struct engine_options o, bool once)
{
    long n = 1;
    swallowed = 0;
    while (open_serve_close(o, n, once))
        /* calls after the first failure mostly free objects: testing every third is enough */
        n += once ? 1 : 3;
    print_message("of %ld calls each failed, %s; %ld of them did not matter\n", n - 1,
                  once ? "one at a time" : "or every third, with all after it", swallowed);
    assert_true(n > 300);
}

static void a_call_that_fails_once(void **state)
{
    (void)state;
    every_failure_is_clean(small(), true);
}

static void calls_that_fail_from_then_on(void **state)
{
    (void)state;
    every_failure_is_clean(small(), false);
}

/* A recorder's timers: in plain, recorded and replayed steps. */
static void a_call_that_fails_once_while_recording_times(void **state)
{
    (void)state;
    record = true;
    every_failure_is_clean(small(), true);
    record = false;
}

/* Lowers the device's memory until the plan has all three: parts resident, streamed, and on the
 * host. */
static void fill_the_device(void)
{
    struct engine_options o = streamed();
    uint64_t bytes = (uint64_t)1 << 30, resident = 1, stream = 0, host = 0;
    while (!stream) {
        struct engine *en = NULL;
        struct err e;
        cushim_memory((size_t)bytes);
        ok(engine_open(&o, &en, &e));
        const struct plan *p = engine_info(en)->plan;
        resident = p->vram_weight_bytes, stream = p->stream_bytes, host = p->host_bytes;
        bytes =
            (bytes < p->total_bytes ? bytes : p->total_bytes + p->total_bytes / 100) - (8 << 10);
        engine_close(en);
    }
    print_message("%llu KiB of weights resident, %llu streamed, %llu on the host\n",
                  (unsigned long long)resident >> 10, (unsigned long long)stream >> 10,
                  (unsigned long long)host >> 10);
    assert_true(resident && host);
}

static void a_call_that_fails_once_while_streaming(void **state)
{
    (void)state;
    fill_the_device();
    every_failure_is_clean(streamed(), true);
}

static void calls_that_fail_from_then_on_while_streaming(void **state)
{
    (void)state;
    fill_the_device();
    every_failure_is_clean(streamed(), false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_that_fails_once),
        cmocka_unit_test(calls_that_fail_from_then_on),
        cmocka_unit_test(a_call_that_fails_once_while_recording_times),
        cmocka_unit_test(a_call_that_fails_once_while_streaming),
        cmocka_unit_test(calls_that_fail_from_then_on_while_streaming),
    };
    log_set_level(LOG_ERROR); /* smaller plans log warnings */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
