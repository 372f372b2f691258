/*
 * The recorder of timelines, on a made-up device. The device has a clock of its own, with another
 * start and a small drift, keeps events in recordings, and can hold back copies. Also run under
 * TSan.
 */
#include <pthread.h>
#include <time.h>

#include "clock.h"
#include "pool.h"
#include "record.h"
#include "test.h"

/* ---- the made-up device ---------------------------------------------------------------------- */

struct event {
    double at; /* on the device's clock */
    bool recorded, pending;
    struct event *next; /* in the recording */
};

enum { FAKE_KEYS = 4, NEAR_NS = 3000000 };

static struct fake {
    struct ops ops;
    struct device dev;
    int live;             /* timers that are open */
    int calls, fail_at;   /* the n-th call fails; 0 = none */
    bool recording, held; /* held: records on a stream of its own wait */
    struct event *kept[FAKE_KEYS][16];
    int n_kept[FAKE_KEYS], n_now;
    struct event *now[16];
    bool watched;
    struct pool_time worker[2];
} fake;

static double device_clock(void)
{
    return (double)clock_ns() * 1e-9 * 1.00002 + 5000;
}

static int refuse(struct err *e)
{
    if (++fake.calls == fake.fail_at)
        FAIL(e, ERR_IO, "the made-up device fails");
    return 0;
}

static int fake_timer_open(struct device *d, struct event **out, struct err *e)
{
    (void)d;
    TRY(refuse(e));
    *out = calloc(1, sizeof **out);
    assert_non_null(*out);
    fake.live++;
    return 0;
}

static void fake_event_close(struct device *d, struct event *ev)
{
    (void)d;
    free(ev);
    fake.live--;
}

static int fake_event_record(struct device *d, struct event *ev, struct stream *s, struct err *e)
{
    (void)d;
    TRY(refuse(e));
    if (fake.recording && !s) {
        assert_true(fake.n_now < 16);
        fake.now[fake.n_now++] = ev;
        return 0;
    }
    *ev = (struct event){.at = device_clock(), .recorded = true, .pending = s && fake.held};
    return 0;
}

static int fake_event_sync(struct device *d, struct event *ev, struct err *e)
{
    (void)d;
    TRY(refuse(e));
    if (ev->pending)
        *ev = (struct event){.at = device_clock(), .recorded = true};
    return 0;
}

static int fake_event_done(struct device *d, struct event *ev, bool *done, struct err *e)
{
    (void)d;
    TRY(refuse(e));
    *done = !ev->pending;
    return 0;
}

static int fake_elapsed(struct device *d, struct event *from, struct event *to, double *seconds,
                        struct err *e)
{
    (void)d;
    TRY(refuse(e));
    assert_true(from->recorded && to->recorded);
    *seconds = to->at - from->at;
    return 0;
}

static void fake_record(uint64_t key)
{
    if (key) {
        fake.recording = true;
        fake.n_now = 0;
    }
}

static void fake_record_end(uint64_t key)
{
    fake.recording = false;
    memcpy(fake.kept[key], fake.now, sizeof fake.now);
    fake.n_kept[key] = fake.n_now;
}

static void nap(int64_t ns)
{
    const struct timespec t = {0, ns};
    nanosleep(&t, NULL);
}

/* Each op of the recording takes a millisecond. */
static void fake_replay(uint64_t key)
{
    for (int i = 0; i < fake.n_kept[key]; i++) {
        if (i % 2)
            nap(1000000);
        *fake.kept[key][i] = (struct event){.at = device_clock(), .recorded = true};
    }
}

static const char *fake_variant_name(const struct ops *ops, enum op op, int i)
{
    (void)ops, (void)op;
    return i ? "second" : "first";
}

static int fake_variant_taken(const struct ops *ops, enum op op)
{
    (void)ops;
    return op == OP_matmul ? 1 : 0;
}

static void fake_watch(struct ops *ops, bool on)
{
    (void)ops;
    fake.watched = on;
}

static int fake_workers(struct ops *ops, struct pool_time *out, int most)
{
    (void)ops;
    for (int i = 0; i < most && i < 2; i++)
        out[i] = fake.worker[i];
    memset(fake.worker, 0, sizeof fake.worker);
    return 2;
}

static struct dev_api fake_api = {.event_close = fake_event_close,
                                  .event_record = fake_event_record,
                                  .event_sync = fake_event_sync,
                                  .event_done = fake_event_done,
                                  .timer_open = fake_timer_open,
                                  .elapsed = fake_elapsed};
static const struct dev_api plain_api = {.event_close = fake_event_close};

static void make(bool timers, bool pool)
{
    memset(&fake, 0, sizeof fake);
    fake.dev = (struct device){.api = timers ? &fake_api : &plain_api, .kind = "made-up"};
    snprintf(fake.dev.name, sizeof fake.dev.name, "a made-up device");
    fake.ops = (struct ops){.name = "made-up", .dev = &fake.dev};
    if (timers) {
        fake.ops.variant_name = fake_variant_name;
        fake.ops.variant_taken = fake_variant_taken;
    }
    if (pool) {
        fake.ops.isa = "avx0";
        fake.ops.watch = fake_watch;
        fake.ops.workers = fake_workers;
    }
}

/* ---- spans ----------------------------------------------------------------------------------- */

static struct span op_span(enum op op, const char *detail, int layer)
{
    struct span s = span_of(SPAN_OP, op == OP_matmul ? "matmul" : "add", layer, 3);
    s.detail = detail;
    s.bytes = 100;
    s.ops = 200;
    s.op = (int)op;
    s.on = &fake.ops;
    s.dev = &fake.dev;
    return s;
}

static void run_op(struct spans *s, enum op op, const char *detail, int layer)
{
    char text[32]; /* as in span_op.c: gone after begin */
    snprintf(text, sizeof text, "%s", detail);
    const struct span span = op_span(op, text, layer);
    spans_begin(s, &span);
    nap(1000000);
    spans_end(s, &span);
    memset(text, '?', sizeof text - 1);
}

static void run_copy(struct spans *s)
{
    struct span span = span_of(SPAN_COPY, "copy", -1, 0);
    span.bytes = 4096;
    span.dev = &fake.dev;
    span.stream = (struct stream *)&fake;
    spans_begin(s, &span);
    spans_end(s, &span);
}

static void run_replay(struct spans *s, uint64_t key)
{
    const struct span span = span_of(SPAN_HOST, "replay", -1, 1);
    spans_begin(s, &span);
    fake_replay(key);
    spans_end(s, &span);
    spans_replay(s, &fake.ops, key);
}

static void take_two_ops(struct spans *s, uint64_t key)
{
    spans_record(s, &fake.ops, key);
    fake_record(key);
    run_op(s, OP_matmul, "first", 0);
    run_op(s, OP_add, "second", 1);
    spans_record(s, &fake.ops, 0);
    fake_record_end(key);
}

static _Thread_local struct span around[8]; /* spans that have begun */
static _Thread_local int n_around;

static void enter(struct spans *s, enum span_kind kind, const char *name)
{
    around[n_around] = span_of(kind, name, -1, 0);
    spans_begin(s, &around[n_around++]);
}

static void leave(struct spans *s)
{
    spans_end(s, &around[--n_around]);
}

#define IN(s, kind, name, ...)                                                                     \
    do {                                                                                           \
        enter(s, kind, name);                                                                      \
        __VA_ARGS__;                                                                               \
        leave(s);                                                                                  \
    } while (0)

/* ---- looking at a record --------------------------------------------------------------------- */

static bool on(const struct record *r, const struct interval *v, enum track_kind kind)
{
    return r->track[v->track].kind == kind;
}

/* The i-th interval of that name on a track of the kind. */
static const struct interval *find(const struct record *r, enum track_kind kind, const char *name,
                                   int i)
{
    for (size_t k = 0; k < r->n_interval; k++)
        if (on(r, &r->interval[k], kind) && !strcmp(r->interval[k].name, name) && i-- == 0)
            return &r->interval[k];
    return NULL;
}

static int count(const struct record *r, enum track_kind kind)
{
    int n = 0;
    for (size_t k = 0; k < r->n_interval; k++)
        n += on(r, &r->interval[k], kind);
    return n;
}

static void in_order(const struct record *r)
{
    for (size_t k = 0; k < r->n_interval; k++) {
        const struct interval *v = &r->interval[k];
        assert_true(0 <= v->start_ns && v->start_ns <= v->end_ns);
        assert_true(k == 0 || r->interval[k - 1].end_ns <= v->end_ns);
        assert_true(v->before_ns >= 0 && v->after_ns >= 0);
    }
}

static void near(int64_t a, int64_t b)
{
    if (a - b > NEAR_NS || b - a > NEAR_NS)
        fail_msg("%lld ns and %lld ns are far apart", (long long)a, (long long)b);
}

static struct recorder *open_recorder(size_t most)
{
    struct err e;
    struct recorder *r;
    ok(recorder_open(most, &r, &e));
    spans_thread(recorder_spans(r), "engine");
    return r;
}

static void close_all(struct recorder *r)
{
    spans_closing(recorder_spans(r), &fake.dev);
    assert_int_equal(fake.live, 0);
    assert_false(fake.watched);
    recorder_close(r);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void an_op_without_timers_runs_while_it_is_called(void **state)
{
    (void)state;
    struct err e;
    struct record rec;
    make(false, true);
    struct recorder *r = open_recorder(1000);
    struct spans *s = recorder_spans(r);
    IN(s, SPAN_STEP, "step", {
        IN(s, SPAN_HOST, "schedule", nap(1000000));
        IN(s, SPAN_PHASE, "decode", {
            const struct span op = op_span(OP_matmul, "Q4_K 1x2->3", 5);
            spans_begin(s, &op);
            const int64_t t0 = clock_ns();
            nap(1000000);
            fake.worker[0] = (struct pool_time){700, t0 + 10, t0 + 810};
            fake.worker[1] = (struct pool_time){300, t0 + 20, t0 + 400};
            spans_end(s, &op);
            run_op(s, OP_add, "", -1); /* no worker took part */
        });
    });
    ok(recorder_read(r, &rec, &e));
    in_order(&rec);
    assert_int_equal(rec.n_step, 1);
    assert_false(rec.device_timed);
    assert_int_equal(rec.dropped, 0);
    assert_int_equal(count(&rec, TRACK_ENGINE), 5);
    assert_int_equal(count(&rec, TRACK_DEVICE), 2);
    assert_int_equal(rec.n_worker, 2);
    assert_int_equal(count(&rec, TRACK_WORKER), 2);
    const struct interval *step = find(&rec, TRACK_ENGINE, "step", 0),
                          *schedule = find(&rec, TRACK_ENGINE, "schedule", 0),
                          *phase = find(&rec, TRACK_ENGINE, "decode", 0),
                          *queued = find(&rec, TRACK_ENGINE, "matmul", 0),
                          *ran = find(&rec, TRACK_DEVICE, "matmul", 0);
    assert_ptr_equal(step, &rec.interval[rec.n_interval - 1]);
    assert_true(step->start_ns <= schedule->start_ns && schedule->end_ns <= phase->start_ns &&
                phase->start_ns <= queued->start_ns && queued->end_ns <= phase->end_ns &&
                phase->end_ns <= step->end_ns);
    assert_true(schedule->end_ns - schedule->start_ns >= 1000000);
    assert_true(queued->start_ns == ran->start_ns && queued->end_ns == ran->end_ns);
    assert_true(ran->end_ns - ran->start_ns >= 1000000);
    assert_true(queued->id && queued->id == ran->id);
    assert_string_equal(ran->phase, "decode");
    assert_string_equal(schedule->phase, "");
    assert_string_equal(ran->detail, "Q4_K 1x2->3");
    assert_string_equal(ran->kernel, "avx0");
    assert_string_equal(rec.track[ran->track].name, "a made-up device");
    assert_string_equal(rec.track[queued->track].name, "engine");
    assert_true(ran->layer == 5 && ran->rows == 3 && ran->bytes == 100 && ran->ops == 200);
    assert_int_equal(ran->step, 0);
    assert_true(rec.busy_ns[ran->busy] == 700 && rec.busy_ns[ran->busy + 1] == 300);
    assert_true(queued->busy == RECORD_UNWATCHED);
    const struct interval *worker = find(&rec, TRACK_WORKER, "matmul", 0);
    assert_int_equal(rec.track[worker->track].number, 1); /* ends first */
    assert_int_equal(worker->end_ns - worker->start_ns, 380);
    close_all(r);
}

static void an_op_of_a_device_has_the_device_s_times(void **state)
{
    (void)state;
    struct err e;
    struct record rec;
    make(true, false);
    struct recorder *r = open_recorder(1000);
    struct spans *s = recorder_spans(r);
    for (int i = 0; i < 3; i++)
        IN(s, SPAN_STEP, "step", IN(s, SPAN_PHASE, "prefill", {
               run_op(s, OP_matmul, "a", 0);
               run_op(s, OP_add, "b", 1);
           }));
    ok(recorder_read(r, &rec, &e));
    in_order(&rec);
    assert_true(rec.device_timed);
    assert_int_equal(rec.n_step, 3);
    assert_int_equal(count(&rec, TRACK_DEVICE), 6);
    for (int i = 0; i < 3; i++) {
        const struct interval *queued = find(&rec, TRACK_ENGINE, "matmul", i),
                              *ran = find(&rec, TRACK_DEVICE, "matmul", i);
        near(queued->start_ns, ran->start_ns);
        near(queued->end_ns, ran->end_ns);
        assert_true(ran->end_ns - ran->start_ns >= 1000000);
        assert_int_equal(ran->step, i);
        assert_int_equal(ran->id, queued->id);
        assert_string_equal(ran->kernel, "second");
        assert_string_equal(ran->detail, "a");
        assert_string_equal(find(&rec, TRACK_DEVICE, "add", i)->kernel, "first");
    }
    assert_true(fake.live <= 6); /* timers are used again: 4 of ops, 2 of marks */
    close_all(r);
}

/* Ops of a recording are those of its replays, not of the time when they were recorded. */
static void a_replay_has_the_ops_of_its_recording(void **state)
{
    (void)state;
    struct err e;
    struct record rec;
    make(true, false);
    struct recorder *r = open_recorder(1000);
    struct spans *s = recorder_spans(r);
    IN(s, SPAN_STEP, "step", run_op(s, OP_add, "plain", 0));
    IN(s, SPAN_STEP, "step", IN(s, SPAN_PHASE, "decode", {
           take_two_ops(s, 1);
           run_replay(s, 1);
       }));
    IN(s, SPAN_STEP, "step", {
        IN(s, SPAN_PHASE, "draft", run_replay(s, 1)); /* twice in a step */
        IN(s, SPAN_PHASE, "draft", run_replay(s, 1));
    });
    ok(recorder_read(r, &rec, &e));
    in_order(&rec);
    assert_int_equal(count(&rec, TRACK_DEVICE), 7);
    const int step[3] = {1, 2, 2};
    for (int i = 0; i < 3; i++) {
        const struct interval *a = find(&rec, TRACK_DEVICE, "matmul", i),
                              *b = find(&rec, TRACK_DEVICE, "add", i + 1),
                              *replay = find(&rec, TRACK_ENGINE, "replay", i);
        assert_int_equal(a->step, step[i]);
        assert_int_equal(b->step, step[i]);
        assert_string_equal(a->phase, i ? "draft" : "decode");
        assert_string_equal(a->detail, "first");
        assert_string_equal(b->detail, "second");
        assert_int_equal(a->id, 0);
        assert_true(a->end_ns - a->start_ns >= 1000000 && a->end_ns <= b->start_ns);
        near(a->start_ns, replay->start_ns);
        near(b->end_ns, replay->end_ns);
    }
    spans_replay(s, &fake.ops, 3); /* unknown */
    ok(recorder_read(r, &rec, &e));
    assert_int_equal(rec.dropped, 1);
    close_all(r);
}

static void a_key_that_is_recorded_again_has_its_new_ops(void **state)
{
    (void)state;
    struct err e;
    struct record rec;
    make(true, false);
    struct recorder *r = open_recorder(1000);
    struct spans *s = recorder_spans(r);
    IN(s, SPAN_STEP, "step", run_op(s, OP_add, "plain", 0));
    IN(s, SPAN_STEP, "step", take_two_ops(s, 1));
    spans_record(s, &fake.ops, 1);
    fake_record(1);
    run_op(s, OP_matmul, "new", 7);
    spans_record(s, &fake.ops, 0);
    fake_record_end(1);
    IN(s, SPAN_STEP, "step", run_replay(s, 1));
    ok(recorder_read(r, &rec, &e));
    assert_int_equal(count(&rec, TRACK_DEVICE), 2);
    assert_string_equal(find(&rec, TRACK_DEVICE, "matmul", 0)->detail, "new");
    close_all(r);
}

static void a_copy_is_read_when_it_has_ended(void **state)
{
    (void)state;
    struct err e;
    struct record rec;
    make(true, false);
    struct recorder *r = open_recorder(1000);
    struct spans *s = recorder_spans(r);
    IN(s, SPAN_STEP, "step", {
        run_op(s, OP_add, "plain", 0);
        IN(s, SPAN_HOST, "weights", run_copy(s));
        fake.held = true;
        IN(s, SPAN_HOST, "weights", run_copy(s));
    });
    fake.held = false;
    nap(5000000);
    ok(recorder_read(r, &rec, &e)); /* waits for the second copy */
    in_order(&rec);
    assert_int_equal(count(&rec, TRACK_COPY), 2);
    const struct interval *a = find(&rec, TRACK_COPY, "copy", 0),
                          *b = find(&rec, TRACK_COPY, "copy", 1),
                          *step = find(&rec, TRACK_ENGINE, "step", 0);
    assert_true(a->bytes == 4096 && a->step == 0 && a->id && a->id != b->id);
    assert_true(a->end_ns < step->end_ns && b->end_ns > step->end_ns);
    close_all(r);
}

static void a_full_record_counts_what_it_drops(void **state)
{
    (void)state;
    struct err e;
    struct record rec;
    make(false, true);
    struct recorder *r = open_recorder(3);
    struct spans *s = recorder_spans(r);
    for (int i = 0; i < 4; i++)
        IN(s, SPAN_STEP, "step", );
    IN(s, SPAN_STEP, "step", run_op(s, OP_add, "", -1));
    ok(recorder_read(r, &rec, &e));
    assert_int_equal(rec.n_interval, 3);
    assert_int_equal(rec.dropped, 4); /* two steps, the op as queued and as run */
    recorder_clear(r);
    ok(recorder_read(r, &rec, &e));
    assert_true(rec.n_interval == 0 && rec.n_step == 0 && rec.dropped == 0);
    IN(s, SPAN_STEP, "step", );
    ok(recorder_read(r, &rec, &e));
    assert_true(rec.n_interval == 1 && rec.n_step == 1 && rec.interval[0].step == 0);
    assert_true(rec.interval[0].start_ns < 1000000000);
    close_all(r);
}

static void one_life(struct recorder *r)
{
    struct spans *s = recorder_spans(r);
    IN(s, SPAN_STEP, "step", {
        run_op(s, OP_add, "plain", 0);
        run_copy(s);
    });
    IN(s, SPAN_STEP, "step", take_two_ops(s, 1));
    if (fake.n_kept[1] == 4)
        IN(s, SPAN_STEP, "step", run_replay(s, 1));
}

/* The n-th call of the device fails: the reader learns why, the spans go on, and no timer stays. */
static void a_timer_that_fails_is_the_reader_s_error(void **state)
{
    (void)state;
    struct err e;
    struct record rec;
    int n = 0, failed = 0;
    for (bool reached = true; reached; failed += reached) {
        make(true, false);
        fake.fail_at = ++n;
        struct recorder *r = open_recorder(1000);
        one_life(r);
        e = (struct err){0};
        const int rc = recorder_read(r, &rec, &e);
        reached = fake.calls >= n;
        assert_int_equal(rc, reached ? ERR_IO : 0);
        if (reached)
            assert_string_equal(e.msg, "the made-up device fails");
        close_all(r);
    }
    assert_true(failed > 20);
}

static void a_device_may_close_and_another_open(void **state)
{
    (void)state;
    struct err e;
    struct record rec;
    make(true, false);
    struct recorder *r = open_recorder(1000);
    one_life(r);
    spans_closing(recorder_spans(r), &fake.dev);
    assert_int_equal(fake.live, 0);
    spans_closing(recorder_spans(r), &fake.dev); /* unknown by now */
    one_life(r);
    ok(recorder_read(r, &rec, &e));
    in_order(&rec);
    assert_int_equal(rec.n_step, 6);
    assert_int_equal(count(&rec, TRACK_DEVICE), 6);
    assert_int_equal(count(&rec, TRACK_COPY), 2);
    close_all(r);
}

enum { CALLS = 300 };

static void *make_calls(void *arg)
{
    struct spans *s = arg;
    char text[24];
    for (uint64_t i = 0; i < CALLS; i++) {
        struct span call = span_of(SPAN_CALL, i % 2 ? "planner" : "specialist", -1, 0);
        snprintf(text, sizeof text, "case %d", (int)(i % 7));
        call.detail = text;
        spans_start(s, (uint64_t)(uintptr_t)text + i, &call);
        if (i > 1)
            spans_finish(s, (uint64_t)(uintptr_t)text + i - 2);
    }
    return NULL;
}

static void *make_steps(void *arg)
{
    struct spans *s = arg;
    spans_thread(s, "engine");
    for (int i = 0; i < CALLS; i++)
        IN(s, SPAN_STEP, "step", IN(s, SPAN_HOST, "schedule", ));
    return NULL;
}

/* Two threads of agents and two engines report at once; a third reads. */
static void threads_report_at_once(void **state)
{
    (void)state;
    struct err e;
    struct record rec;
    make(false, false);
    struct recorder *r = open_recorder(100000);
    pthread_t thread[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(
            pthread_create(&thread[i], NULL, i < 2 ? make_calls : make_steps, recorder_spans(r)),
            0);
    for (int i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    ok(recorder_read(r, &rec, &e));
    in_order(&rec);
    assert_int_equal(count(&rec, TRACK_CALLS), 2 * (CALLS - 2)); /* two of each are under way */
    assert_int_equal(count(&rec, TRACK_ENGINE), 4 * CALLS);
    assert_int_equal(rec.n_step, 2 * CALLS);
    const struct interval *call = find(&rec, TRACK_CALLS, "planner", 3);
    assert_true(call->kind == SPAN_CALL && call->step == -1 && call->id);
    assert_memory_equal(call->detail, "case ", 5);
    close_all(r);
}

static void *end_late(void *arg)
{
    struct spans *s = arg;
    IN(s, SPAN_STEP, "step", nap(30000000));
    return NULL;
}

/* A request is done before its step has ended. Its waiter may read at once. */
static void a_read_waits_for_the_end_of_the_step(void **state)
{
    (void)state;
    struct err e;
    struct record rec;
    make(false, false);
    struct recorder *r = open_recorder(1000);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, end_late, recorder_spans(r)), 0);
    nap(10000000);
    ok(recorder_read(r, &rec, &e));
    assert_int_equal(rec.n_interval, rec.n_step); /* 0 if the thread was late */
    pthread_join(thread, NULL);
    ok(recorder_read(r, &rec, &e));
    assert_int_equal(rec.n_interval, 1);
    close_all(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_op_without_timers_runs_while_it_is_called),
        cmocka_unit_test(an_op_of_a_device_has_the_device_s_times),
        cmocka_unit_test(a_replay_has_the_ops_of_its_recording),
        cmocka_unit_test(a_key_that_is_recorded_again_has_its_new_ops),
        cmocka_unit_test(a_copy_is_read_when_it_has_ended),
        cmocka_unit_test(a_full_record_counts_what_it_drops),
        cmocka_unit_test(a_timer_that_fails_is_the_reader_s_error),
        cmocka_unit_test(a_device_may_close_and_another_open),
        cmocka_unit_test(threads_report_at_once),
        cmocka_unit_test(a_read_waits_for_the_end_of_the_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
