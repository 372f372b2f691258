/*
 * The timeline of a generation (record.h) and its totals (profile_sum.h). The backends are the CPU,
 * and CUDA's kernels run by the host. Steps are plain, recorded or drafted, with resident and
 * streamed weights, and with layers on the CPU.
 *
 * - The pieces of a step add up to its wall time. Less than 3 % of it lies in no interval.
 * - Every op of every pass has run once, also those of replayed passes.
 * - The reply does not change.
 */
#include <stdio.h>
#include <string.h>

#include "profile_sum.h"
#include "reply.h"
#include "rng.h"
#include "serve.h"
#include "test.h"

enum { N_PROMPT = 48, N_NEW = 24, TRIES = 5 };
#define TINY TEST_SOURCE "/tests/golden/logits_llama_gqa.gguf"
#define MOST_BETWEEN 0.03

struct run {
    int32_t out[N_NEW];
    int n_out, n_layer;
    struct recorder *recorder;
    struct record record;
    struct profile_sum sum;
    uint64_t copied, link; /* bytes a pass that the plan streams */
};

static int generate(struct engine *en, struct run *out, struct err *e)
{
    int32_t prompt[N_PROMPT];
    for (int i = 0; i < N_PROMPT; i++)
        prompt[i] = (int32_t)rng_below(3, (uint64_t)i, (uint32_t)engine_info(en)->n_vocab);
    struct reply p = {.r = {.prompt = prompt,
                            .n_prompt = N_PROMPT,
                            .max_new = N_NEW,
                            .top_p = 1,
                            .ignore_eos = true,
                            .out = out->out}};
    const int rc = reply_run(en, &p, e);
    out->n_out = p.r.n_out;
    return rc;
}

/* Many sequences at once, as an evaluation has them. */
static void crowd(struct engine *en, int n)
{
    struct jobs *js = jobs_make(n, N_PROMPT, N_PROMPT, N_NEW, 5, engine_info(en)->n_vocab);
    jobs_run(en, js);
    jobs_free(js);
}

/* False: this build has no such backend. */
static bool run(const struct engine_options *opt, bool record, int n_job, struct run *out)
{
    struct engine_options o = *opt;
    struct engine *en = NULL;
    struct err e = {0};
    *out = (struct run){.n_out = 0};
    if (record)
        ok(recorder_open(1 << 20, &out->recorder, &e));
    o.spans = record ? recorder_spans(out->recorder) : NULL;
    const int rc = engine_open(&o, &en, &e);
    if (rc == ERR_NODEV) {
        recorder_close(out->recorder);
        return false;
    }
    ok(rc < 0 ? rc : 0);
    out->n_layer = (int)engine_info(en)->n_layer;
    out->link = engine_info(en)->plan->stream_bytes;
    ok(generate(en, out, &e)); /* warms up */
    if (record)
        recorder_clear(out->recorder);
    if (n_job)
        crowd(en, n_job);
    else
        ok(generate(en, out, &e));
    if (record) {
        ok(recorder_read(out->recorder, &out->record, &e));
        assert_int_equal(out->record.dropped, 0);
        ok(profile_sum_make(&out->record, &out->sum, &e));
    }
    engine_close(en);
    return true;
}

static void done(struct run *r)
{
    profile_sum_free(&r->sum);
    recorder_close(r->recorder);
}

/* Largest share of a group's wall time that lies in no interval; the sum of all pieces is whole. */
static double between(const struct run *r, bool print)
{
    double most = 0;
    for (int g = 0; g < r->sum.n_group; g++) {
        const struct profile_group *group = &r->sum.group[g];
        int64_t all = 0, rest = 0;
        for (int i = 0; i < group->n_piece; i++) {
            all += group->piece[i].ns;
            rest += group->piece[i].kind == PIECE_BETWEEN ? group->piece[i].ns : 0;
            if (print)
                print_message("  %s: %-10s %5.1f %%\n", group->name, group->piece[i].name,
                              100 * (double)group->piece[i].ns / (double)group->wall_ns);
        }
        assert_int_equal(all, group->wall_ns);
        const double share = group->wall_ns ? (double)rest / (double)group->wall_ns : 0;
        most = share > most ? share : most;
    }
    return most;
}

/* Another process may take the processor between two intervals: the best of a few runs counts. */
static void check_sums(const struct engine_options *opt, const char *what)
{
    double best = 1;
    for (int i = 0; i < TRIES && best >= MOST_BETWEEN; i++) {
        struct run r;
        assert_true(run(opt, true, opt->n_seq, &r));
        const double share = between(&r, i == TRIES - 1);
        best = share < best ? share : best;
        done(&r);
    }
    print_message("%s: %.2f %% of a step in no interval\n", what, 100 * best);
    if (!(best < MOST_BETWEEN))
        fail_msg("%s: %.1f %% of a step lie in no interval", what, 100 * best);
}

static void check_same(const struct engine_options *opt, const struct run *with)
{
    struct run without;
    assert_true(run(opt, false, 0, &without));
    assert_int_equal(with->n_out, without.n_out);
    assert_memory_equal(with->out, without.out, sizeof without.out);
}

static int64_t calls(const struct run *r, const char *op, bool draft)
{
    int64_t n = 0;
    for (size_t i = 0; i < r->sum.n_row; i++)
        if (!strcmp(r->sum.row[i].op, op) && !strcmp(r->sum.row[i].phase, "draft") == draft)
            n += r->sum.row[i].calls;
    return n;
}

static const struct profile_group *group(const struct run *r, const char *name)
{
    for (int g = 0; g < r->sum.n_group; g++)
        if (!strcmp(r->sum.group[g].name, name))
            return &r->sum.group[g];
    return NULL;
}

/* A prefill, then a decode pass for each further token; 6 ops in a layer. */
static void check_plain(const struct run *r)
{
    assert_int_equal(r->record.n_step, N_NEW);
    assert_int_equal(r->sum.n_group, 2);
    assert_int_equal(group(r, "prefill")->n_step, 1);
    assert_int_equal(group(r, "prefill")->rows, N_PROMPT);
    assert_int_equal(group(r, "decode")->n_step, N_NEW - 1);
    assert_int_equal(group(r, "decode")->rows, N_NEW - 1);
    assert_int_equal(group(r, "decode")->n_layer, r->n_layer);
    assert_int_equal(calls(r, "matmul", false), N_NEW * (4 * r->n_layer + 1));
    assert_int_equal(calls(r, "attention", false), N_NEW * r->n_layer);
    assert_int_equal(calls(r, "kv_write", false), N_NEW * r->n_layer);
    assert_int_equal(calls(r, "sample", false), N_NEW);
    for (size_t i = 0; i < r->sum.n_row; i++) {
        const struct profile_row *row = &r->sum.row[i];
        if (!(row->call.median > 0 && row->bytes > 0 && row->detail[0]))
            fail_msg("%s [%s]: without time, bytes or case", row->op, row->detail);
    }
}

static struct engine_options options(const char *model, const char *backend)
{
    return (struct engine_options){.model = model,
                                   .backend = backend,
                                   .n_seq = 1,
                                   .n_ctx = 128,
                                   .n_threads = 2,
                                   .no_prefix_cache = true};
}

static void steps_of_the_cpu_add_up(void **state)
{
    (void)state;
    struct run r;
    const char *const model[] = {TINY, "demo"};
    for (int i = 0; i < 2; i++) {
        struct engine_options o = options(model[i], "cpu");
        assert_true(run(&o, true, 0, &r));
        check_plain(&r);
        check_same(&o, &r);
        assert_false(r.record.device_timed);
        assert_int_equal(r.record.n_worker, 2);
        double worst = 0;
        for (size_t k = 0; k < r.sum.n_row; k++) {
            const struct profile_row *row = &r.sum.row[k];
            assert_non_null(row->busy_ns);
            assert_true(row->kernel[0]);
            for (int w = 0; w < 2; w++)
                assert_in_range(row->busy_ns[w], 0, row->ns);
            const double uneven = profile_imbalance(&r.record, row);
            worst = uneven > worst ? uneven : worst;
        }
        assert_true(worst > 0);
        done(&r);
        o.n_seq = 16; /* one row of a tiny model takes some microseconds, little more than a span */
        check_sums(&o, i ? "demo on the CPU" : "a tiny model on the CPU");
    }
}

static void steps_of_a_device_add_up(void **state)
{
    (void)state;
    struct run r;
    const char *const model[] = {TINY, "demo"};
    for (int i = 0; i < 2; i++) {
        const struct engine_options o = options(model[i], "cudahost");
        if (!run(&o, true, 0, &r))
            skip();
        check_plain(&r); /* nearly all decode passes are replays */
        check_same(&o, &r);
        assert_true(r.record.device_timed);
        for (size_t k = 0; k < r.sum.n_row; k++)
            assert_true(r.sum.row[k].kernel[0]);
        done(&r);
        check_sums(&o, i ? "demo on cudahost" : "a tiny model on cudahost");
    }
}

static void steps_with_streamed_weights_add_up(void **state)
{
    (void)state;
    struct run r;
    struct engine_options o = options("demo", "cudahost");
    o.placement = PLAN_THROUGHPUT;
    o.vram_bytes = (8 << 20) + (128 << 10);
    o.batch_tokens = 64;
    o.kv_bytes = 1 << 20;
    if (!run(&o, true, 0, &r))
        skip();
    double bytes = 0;
    for (size_t i = 0; i < r.record.n_interval; i++)
        if (r.record.track[r.record.interval[i].track].kind == TRACK_COPY)
            bytes += r.record.interval[i].bytes;
    assert_true(r.link > 0);
    /* the weights of each pass; the first pass's copies may precede the record */
    assert_in_range((uint64_t)bytes, (N_NEW - 1) * r.link, (N_NEW + 1) * r.link);
    check_same(&o, &r);
    done(&r);
    check_sums(&o, "streamed weights on cudahost");
}

static void steps_with_layers_on_the_cpu_add_up(void **state)
{
    (void)state;
    static const struct plan_rates rates = {
        .vram = 1e12, .link = 25e9, .host = 60e9, .host_ops = 1e12, .hop_s = 1e-5, .step_s = 1e-4};
    struct run r;
    struct engine_options o = options("demo", "cudahost");
    o.cpu_layers = (struct option_auto){true, 2};
    o.rates = &rates;
    if (!run(&o, true, 0, &r))
        skip();
    assert_int_equal(calls(&r, "matmul", false), N_NEW * (4 * r.n_layer + 1));
    int64_t on_cpu = 0;
    for (size_t i = 0; i < r.sum.n_row; i++)
        on_cpu += r.sum.row[i].busy_ns ? r.sum.row[i].calls : 0;
    assert_int_equal(on_cpu, N_NEW * 2 * 2); /* two matmuls in each of two layers */
    check_same(&o, &r);
    done(&r);
    check_sums(&o, "two layers on the CPU beside cudahost");
}

static void drafted_steps_add_up(void **state)
{
    (void)state;
    const char *const backend[] = {"cpu", "cudahost"};
    for (int i = 0; i < 2; i++) {
        struct run r;
        struct engine_options o = options(TINY, backend[i]);
        o.draft_model = TINY;
        o.max_draft = 4;
        o.always_draft = true;
        if (!run(&o, true, 0, &r))
            continue;
        assert_non_null(group(&r, "verify"));
        assert_true(calls(&r, "matmul", true) > 0);
        assert_int_equal(calls(&r, "matmul", true) % (4 * r.n_layer + 1), 0);
        check_same(&o, &r);
        done(&r);
        o.n_seq = 8;
        check_sums(&o, i ? "drafts on cudahost" : "drafts on the CPU");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_of_the_cpu_add_up),
        cmocka_unit_test(steps_of_a_device_add_up),
        cmocka_unit_test(steps_with_streamed_weights_add_up),
        cmocka_unit_test(steps_with_layers_on_the_cpu_add_up),
        cmocka_unit_test(drafted_steps_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
