/*
 * The spans of a generation (span.h). Every step, phase, part and op is reported once, inside the
 * right one, with the bytes of traffic.h. Recorded, streamed and drafted steps report theirs. The
 * reply stays the same.
 */
#include <stdio.h>
#include <string.h>

#include "reply.h"
#include "rng.h"
#include "span_log.h"
#include "test.h"

enum { N_PROMPT = 40, N_NEW = 12 };
#define TINY TEST_SOURCE "/tests/golden/logits_qwen3.gguf"

struct seen { /* of one generation */
    long step, prefill, decode, verify, draft, mixed, layer, embed, output, wait, deliver, schedule,
        upload, replay, copy, weights, hop;
    long op_outside; /* ops that are in no phase, other than sample and logprob */
    long wrong;      /* spans inside one of the wrong kind */
    long matmul_rows;
    double copied; /* bytes */
    char first_wrong[96];
};

static bool inside(const struct span *const *around, int n, enum span_kind kind)
{
    for (int i = 0; i < n; i++)
        if (around[i]->kind == kind)
            return true;
    return false;
}

static void note(struct seen *s, const struct span *span, const char *why)
{
    if (!s->wrong++)
        snprintf(s->first_wrong, sizeof s->first_wrong, "%s: %s", span->name, why);
}

static long *counter(struct seen *s, const char *name)
{
    const struct {
        const char *name;
        long *at;
    } row[] = {{"step", &s->step},       {"prefill", &s->prefill}, {"decode", &s->decode},
               {"verify", &s->verify},   {"draft", &s->draft},     {"mixed", &s->mixed},
               {"layer", &s->layer},     {"embed", &s->embed},     {"output", &s->output},
               {"wait", &s->wait},       {"deliver", &s->deliver}, {"schedule", &s->schedule},
               {"upload", &s->upload},   {"replay", &s->replay},   {"copy", &s->copy},
               {"weights", &s->weights}, {"hop", &s->hop}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        if (!strcmp(row[i].name, name))
            return row[i].at;
    return NULL;
}

static void on_end(void *user, const struct span *span, const struct span *const *around, int n)
{
    struct seen *s = user;
    if (span->kind != SPAN_OP) {
        long *at = counter(s, span->name);
        if (at)
            ++*at;
        else
            note(s, span, "unknown");
    }
    if (span->kind == SPAN_STEP ? n != 0 : !inside(around, n, SPAN_STEP))
        note(s, span, "not in a step");
    if (span->kind == SPAN_PART && !inside(around, n, SPAN_PHASE))
        note(s, span, "not in a phase");
    if (span->kind == SPAN_OP) {
        bool late = !strcmp(span->name, "sample") || !strcmp(span->name, "logprob");
        if (inside(around, n, SPAN_PART) == late)
            note(s, span, late ? "in a part" : "in no part");
        if (!span->detail[0] || !(span->bytes > 0) || !(span->rows > 0))
            note(s, span, "without text, bytes or rows");
        if (strcmp(span->name, ops_op_name((enum op)span->op)) != 0)
            note(s, span, "name and number differ");
        if (span->op == OP_matmul)
            s->matmul_rows += (long)span->rows;
    }
    if (span->kind == SPAN_COPY)
        s->copied += span->bytes;
}

struct run {
    struct seen seen;
    long n_op[OP_COUNT], replays, records;
    double bytes[OP_COUNT];
    int32_t out[N_NEW];
    int n_out;
};

/* One generation with spans, or without (watched false). False: this build has no such backend. */
static bool generate(const struct engine_options *opt, bool watched, struct run *out)
{
    struct engine_options o = *opt;
    struct span_log log;
    struct engine *en = NULL;
    struct err e = {0};
    int32_t prompt[N_PROMPT];
    memset(out, 0, sizeof *out);
    span_log_init(&log);
    log.each = on_end;
    log.user = &out->seen;
    o.spans = watched ? &log.spans : NULL;
    int rc = engine_open(&o, &en, &e);
    if (rc == ERR_NODEV)
        return false;
    ok(rc < 0 ? rc : 0);
    for (int i = 0; i < N_PROMPT; i++)
        prompt[i] = (int32_t)rng_below(3, (uint64_t)i, (uint32_t)engine_info(en)->n_vocab);
    struct reply p = {.r = {.prompt = prompt,
                            .n_prompt = N_PROMPT,
                            .max_new = N_NEW,
                            .top_p = 1,
                            .ignore_eos = true,
                            .out = out->out}};
    ok(reply_run(en, &p, &e));
    out->n_out = p.r.n_out;
    engine_close(en);
    if (watched && !span_log_right(&log))
        fail_msg("%s", log.fault);
    if (out->seen.wrong)
        fail_msg("%ld wrong spans, the first: %s", out->seen.wrong, out->seen.first_wrong);
    memcpy(out->n_op, log.n_op, sizeof out->n_op);
    memcpy(out->bytes, log.bytes, sizeof out->bytes);
    out->records = log.records;
    out->replays = log.replays;
    return true;
}

static struct engine_options options(const char *backend)
{
    return (struct engine_options){.model = TINY, .backend = backend, .n_seq = 2, .n_ctx = 128};
}

static int layers(void)
{
    struct engine_options o = options("ref");
    struct engine *en = NULL;
    struct err e;
    ok(engine_open(&o, &en, &e));
    int n = engine_info(en)->n_layer;
    engine_close(en);
    return n;
}

static void same_reply(const struct run *a, const struct run *b)
{
    assert_int_equal(a->n_out, N_NEW);
    assert_int_equal(a->n_out, b->n_out);
    assert_memory_equal(a->out, b->out, sizeof a->out);
}

/* One prefill, then a decode pass for each further token. Qwen3 has 8 ops a layer: 4 matmuls, 2
 * norms of heads, kv_write, attention. */
static void check_plain(const struct run *r, int n_layer)
{
    const long passes = N_NEW;
    assert_int_equal(r->seen.step, passes);
    assert_int_equal(r->seen.prefill, 1);
    assert_int_equal(r->seen.decode, passes - 1);
    assert_int_equal(r->seen.draft + r->seen.verify + r->seen.mixed, 0);
    assert_int_equal(r->seen.upload, passes);
    assert_int_equal(r->seen.wait, passes);
    assert_int_equal(r->seen.schedule, 2 * passes);
    const long walked = r->seen.embed; /* passes that were not replayed */
    assert_int_equal(r->seen.layer, walked * n_layer);
    assert_int_equal(r->seen.output, walked);
    assert_int_equal(r->n_op[OP_embed], walked);
    assert_int_equal(r->n_op[OP_matmul], walked * (4 * n_layer + 1));
    assert_int_equal(r->n_op[OP_rmsnorm], walked * 2 * n_layer);
    assert_int_equal(r->n_op[OP_kv_write], walked * n_layer);
    assert_int_equal(r->n_op[OP_attention], walked * n_layer);
    assert_int_equal(r->n_op[OP_sample], passes);
    assert_int_equal(walked + r->replays - r->records, passes);
}

static void each_step_reports_its_phases_parts_and_ops(void **state)
{
    (void)state;
    static const char *const backends[] = {"ref", "cpu"};
    const int n_layer = layers();
    for (size_t i = 0; i < 2; i++) {
        struct run with, without;
        struct engine_options o = options(backends[i]);
        assert_true(generate(&o, true, &with));
        assert_true(generate(&o, false, &without));
        same_reply(&with, &without);
        assert_int_equal(with.seen.embed, N_NEW);
        assert_int_equal(with.replays, 0);
        check_plain(&with, n_layer);
        /* The last layer of a prompt computes Q, K and V for all rows. The other three matmuls
         * and the output matrix compute the row with logits alone. */
        assert_int_equal(with.seen.matmul_rows,
                         N_PROMPT * (4 * (n_layer - 1) + 1) + 4 + (N_NEW - 1) * (4 * n_layer + 1));
    }
}

static void recorded_steps_report_a_replay_in_place_of_their_ops(void **state)
{
    (void)state;
    struct run with, without;
    struct engine_options o = options("cudahost");
    if (!generate(&o, true, &with))
        skip();
    assert_true(generate(&o, false, &without));
    same_reply(&with, &without);
    check_plain(&with, layers());
    assert_true(with.records > 0);
    assert_true(with.replays > with.records); /* a recording is run by its first replay */
}

static void streamed_weights_report_their_copies(void **state)
{
    (void)state;
    struct run with, without;
    struct engine_options o = options("cudahost");
    o.model = "demo";
    o.placement = PLAN_THROUGHPUT;
    o.vram_bytes = (8 << 20) + (128 << 10);
    o.batch_tokens = 64;
    o.kv_bytes = 1 << 20;
    if (!generate(&o, true, &with))
        skip();
    assert_true(generate(&o, false, &without));
    same_reply(&with, &without);
    assert_true(with.seen.copy > 0);
    assert_true(with.seen.weights > 0);
    assert_true(with.seen.copied > 1e6);
    assert_int_equal(with.records, 0);
}

static void drafted_steps_report_draft_and_verify(void **state)
{
    (void)state;
    struct run with, without;
    struct engine_options o = options("cpu");
    o.draft_model = TINY;
    o.max_draft = 4;
    o.always_draft = true;
    assert_true(generate(&o, true, &with));
    assert_true(generate(&o, false, &without));
    same_reply(&with, &without);
    assert_true(with.seen.draft > 0);
    assert_true(with.seen.verify > 0);
    assert_true(with.seen.step < N_NEW); /* accepted drafts save steps */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_step_reports_its_phases_parts_and_ops),
        cmocka_unit_test(recorded_steps_report_a_replay_in_place_of_their_ops),
        cmocka_unit_test(streamed_weights_report_their_copies),
        cmocka_unit_test(drafted_steps_report_draft_and_verify),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
