/* profile_trace: records made by hand, read back with jansson and by tools/scripts/trace_check.py. */
#include <jansson.h>

#include "profile.h"
#include "record_make.h"
#include "test.h"

static struct record_make m;
static char dir[256], path[300];
static json_t *doc;
static int engine, device, copies, worker, calls;

static const struct profile_facts facts = {.program = "mas 1 \"quoted\"",
                                           .device = "card, 2 GB",
                                           .model = "mod\xc3\xa9l\n.gguf",
                                           .date = "2026-01-02",
                                           .command = "mas profile -m 'a b'",
                                           .note = ""};

static int set_up(void **state)
{
    (void)state;
    test_mkdir(dir);
    snprintf(path, sizeof path, "%s/trace.json", dir);
    record_make_init(&m);
    engine = record_make_track(&m, TRACK_ENGINE, 0, "engine");
    device = record_make_track(&m, TRACK_DEVICE, 0, "NVIDIA \"H200\" \xff");
    copies = record_make_track(&m, TRACK_COPY, 0, "copies");
    worker = record_make_track(&m, TRACK_WORKER, 0, "worker 0");
    calls = record_make_track(&m, TRACK_CALLS, 0, "calls");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    json_decref(doc);
    doc = NULL;
    record_make_free(&m);
    test_rmdir(dir);
    return 0;
}

/* ---- reading --------------------------------------------------------------------------------- */

static int save(struct err *e)
{
    struct outfile *o = NULL;
    TRY(outfile_open(path, 0, &o, e));
    const int rc = profile_trace(&m.r, &facts, o, e);
    if (rc == 0)
        return outfile_commit(o, e);
    outfile_abandon(o);
    return rc;
}

/* Writes the record, has it checked, reads it. */
static void write_and_read(void)
{
    struct err e;
    struct str out = STR_INIT;
    json_error_t why;
    ok(save(&e));
    if (test_run(&out, "python3 %s/tools/scripts/trace_check.py %s", TEST_SOURCE, path) != 0)
        fail_msg("%s", out.s);
    str_free(&out);
    json_decref(doc);
    doc = json_load_file(path, JSON_REJECT_DUPLICATES, &why);
    if (!doc)
        fail_msg("%s", why.text);
}

static const char *text(const json_t *e, const char *key)
{
    const char *s = json_string_value(json_object_get(e, key));
    return s ? s : "";
}

static double number(const json_t *e, const char *key)
{
    return json_number_value(json_object_get(e, key));
}

static const json_t *args(const json_t *e)
{
    return json_object_get(e, "args");
}

/* The n-th event of a kind, a category ("" = any) and a name (NULL = any), from 0. n -1: counts
 * them all into *count. */
static const json_t *find(const char *ph, const char *cat, const char *name, int n, int *count)
{
    size_t i;
    json_t *e;
    *count = 0;
    json_array_foreach(json_object_get(doc, "traceEvents"), i, e)
    {
        if (!strcmp(text(e, "ph"), ph) && (!*cat || !strcmp(text(e, "cat"), cat)) &&
            (!name || !strcmp(text(e, "name"), name)) && (*count)++ == n)
            return e;
    }
    return NULL;
}

static const json_t *event(const char *ph, const char *cat, const char *name, int n)
{
    int count;
    return find(ph, cat, name, n, &count);
}

static int count(const char *ph, const char *cat, const char *name)
{
    int n;
    (void)find(ph, cat, name, -1, &n);
    return n;
}

static bool same(double a, double b)
{
    return a - b < 1e-6 && b - a < 1e-6;
}

/* ---- records --------------------------------------------------------------------------------- */

static void work(enum span_kind kind, int track, const char *name, uint64_t id, int64_t from,
                 int64_t to)
{
    struct interval *v = record_make_add(&m, kind, track, name, from, to);
    v->id = id;
    v->layer = 3;
    v->rows = 8;
    v->bytes = 4e6;
    v->ops = 8e6;
    v->phase = "decode";
    v->detail = kind == SPAN_OP ? "Q4_K 8x64->64 \"x\"" : "";
    v->kernel = kind == SPAN_OP ? "mma" : "";
}

/* A step of 10 us: an op is queued and runs later, as does a copy; a worker computes a part. */
static void step(int64_t at)
{
    const uint64_t id = (uint64_t)at * 10;
    m.step++;
    record_make_add(&m, SPAN_HOST, engine, "schedule", at, at + 1000);
    work(SPAN_OP, engine, "matmul", id + 1, at + 2000, at + 2500);
    work(SPAN_COPY, engine, "copy", id + 2, at + 2600, at + 2700);
    record_make_add(&m, SPAN_PART, engine, "layer", at + 2000, at + 3000)->layer = 3;
    work(SPAN_OP, device, "matmul", id + 1, at + 2700, at + 6700);
    work(SPAN_COPY, copies, "copy", id + 2, at + 2800, at + 4800);
    work(SPAN_OP, worker, "matmul", 0, at + 2100, at + 2400);
    record_make_add(&m, SPAN_HOST, engine, "wait", at + 3000, at + 7000);
    record_make_add(&m, SPAN_PHASE, engine, "decode", at + 1000, at + 7000)->rows = 8;
    record_make_add(&m, SPAN_HOST, engine, "deliver", at + 7000, at + 8000);
    record_make_add(&m, SPAN_STEP, engine, "step", at, at + 10000);
}

static void call(const char *role, const char *question, uint64_t id, int64_t from, int64_t to)
{
    const int at = m.step;
    m.step = -1;
    struct interval *v = record_make_add(&m, SPAN_CALL, calls, role, from, to);
    v->detail = question;
    v->id = id;
    m.step = at;
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void a_slice_keeps_time_and_details(void **state)
{
    (void)state;
    step(1234567);
    write_and_read();
    const json_t *op = event("X", "op", "matmul", 0);
    assert_non_null(op);
    assert_true(same(number(op, "ts"), 1237.267) && same(number(op, "dur"), 4.0));
    assert_string_equal(text(args(op), "case"), "Q4_K 8x64->64 \"x\"");
    assert_string_equal(text(args(op), "kernel"), "mma");
    assert_string_equal(text(args(op), "phase"), "decode");
    assert_true(number(args(op), "layer") == 3 && number(args(op), "rows") == 8);
    assert_true(number(args(op), "bytes") == 4e6 && number(args(op), "ops") == 8e6);
    assert_true(same(number(args(op), "GB/s"), 1000) && same(number(args(op), "GOP/s"), 2000));
    assert_int_equal(count("X", "op", NULL), 1); /* neither as queued nor as a worker's part */
    assert_int_equal(count("X", "queued", NULL), 2);
    assert_int_equal(count("X", "worker", "matmul"), 1);
    assert_int_equal(count("X", "part", "layer 3"), 1);
    assert_null(json_object_get(args(event("X", "step", "step", 0)), "layer"));
    assert_true(number(args(event("X", "step", "step", 0)), "step") == 0);
    assert_int_equal(count("X", "", NULL), (int)m.r.n_interval);
}

static void names_survive_whatever_they_hold(void **state)
{
    (void)state;
    step(0);
    write_and_read();
    assert_non_null(event("M", "", "process_name", 0));
    assert_string_equal(text(args(event("M", "", "process_name", 0)), "name"),
                        "mas 1 \"quoted\": mod\xc3\xa9l\n.gguf");
    assert_string_equal(text(args(event("M", "", "thread_name", 1)), "name"),
                        "NVIDIA \"H200\" \xef\xbf\xbd");
    const json_t *other = json_object_get(doc, "otherData");
    assert_string_equal(text(other, "command"), "mas profile -m 'a b'");
    assert_string_equal(text(doc, "displayTimeUnit"), "ns");
    assert_true(number(other, "intervals") == 11 && number(other, "dropped") == 0);
}

static void counters_show_rows_and_copies(void **state)
{
    (void)state;
    step(0);
    write_and_read();
    assert_int_equal(count("C", "", "rows of a step"), 2);
    assert_true(number(args(event("C", "", "rows of a step", 0)), "rows") == 8);
    assert_true(number(args(event("C", "", "rows of a step", 1)), "rows") == 0);
    assert_true(same(number(args(event("C", "", "copies", 0)), "GB/s"), 2000));
}

static void flows_join_queued_work_and_its_run(void **state)
{
    (void)state;
    step(0);
    step(20000);
    work(SPAN_OP, engine, "add", 7, 100000, 101000); /* runs while it is called */
    work(SPAN_OP, device, "add", 7, 100100, 100900);
    work(SPAN_OP, engine, "add", 9, 102000, 103000); /* has not run */
    write_and_read();
    assert_int_equal(count("s", "queue", NULL), 4);
    assert_int_equal(count("f", "queue", NULL), 4);
    const json_t *s = event("s", "queue", NULL, 0);
    assert_true(same(number(s, "ts"), 2.0) && number(s, "tid") == engine + 1);
    for (int i = 0; event("f", "queue", NULL, i); i++) {
        const json_t *f = event("f", "queue", NULL, i);
        if (number(f, "id") == number(s, "id"))
            assert_true(same(number(f, "ts"), 2.7) && number(f, "tid") == device + 1);
    }
}

static void flows_join_a_replay_and_its_first_op(void **state)
{
    (void)state;
    for (m.step = 0; m.step < 2; m.step++) {
        const int64_t at = m.step * 10000;
        record_make_add(&m, SPAN_HOST, engine, "replay", at + 100, at + 200);
        for (int i = 0; i < 3; i++)
            work(SPAN_OP, device, "matmul", 0, at + 1000 + i * 1000, at + 1900 + i * 1000);
        record_make_add(&m, SPAN_STEP, engine, "step", at, at + 9000);
    }
    write_and_read();
    assert_int_equal(count("s", "queue", NULL), 2);
    assert_true(same(number(event("f", "queue", NULL, 0), "ts"), 1.0));
    assert_true(same(number(event("f", "queue", NULL, 1), "ts"), 11.0));
}

static void flows_lead_from_a_call_to_its_steps(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++)
        step(i * 10000);
    call("planner", "q1", 1, 5000, 27100); /* steps 1 and 2; 2 delivers at 27,000 */
    call("panel", "q1", 1, 5100, 18000);   /* step 1 alone */
    call("panel", "q2", 2, 33000, 36000);  /* none: 3 has begun, and delivers later */
    write_and_read();
    assert_int_equal(count("s", "call", NULL), 2);
    assert_int_equal(count("t", "call", NULL), 1);
    assert_int_equal(count("f", "call", NULL), 2);
    assert_true(same(number(event("t", "call", NULL, 0), "ts"), 10.0));
    assert_true(same(number(event("f", "call", NULL, 0), "ts"), 10.0));
    assert_true(same(number(event("f", "call", NULL, 1), "ts"), 20.0));
    assert_true(number(event("t", "call", NULL, 0), "tid") == engine + 1);
    assert_string_equal(text(args(event("X", "call", "planner", 0)), "question"), "q1");
}

static void calls_that_overlap_have_lanes_and_cases(void **state)
{
    (void)state;
    call("planner", "q1", 1, 0, 100);
    call("planner", "q2 \xe6\xbc\xa2", 2, 10, 50); /* inside the first, but no part of it */
    call("panel", "q1", 3, 100, 300);
    call("panel", "", 4, 120, 130);
    write_and_read();
    assert_int_equal(count("X", "call", NULL), 4);
    assert_true(number(event("X", "call", "planner", 0), "tid") !=
                number(event("X", "call", "planner", 1), "tid"));
    assert_true(number(event("X", "call", "panel", 0), "tid") ==
                number(event("X", "call", "planner", 0), "tid"));
    assert_int_equal(count("b", "case", NULL), 2);
    assert_true(same(number(event("b", "case", "q1", 0), "ts"), 0));
    assert_true(same(number(event("e", "case", "q1", 0), "ts"), 0.3));
    assert_true(number(args(event("b", "case", "q1", 0)), "calls") == 2);
    assert_int_equal(count("e", "case", "q2 \xe6\xbc\xa2"), 1);
}

static void slices_nest_on_every_thread(void **state)
{
    (void)state;
    work(SPAN_OP, device, "a", 0, 0, 1000);
    work(SPAN_OP, device, "b", 0, 900, 2000);       /* 100 ns: a rounding error */
    work(SPAN_OP, device, "c", 0, 1500, 3000);      /* runs beside b */
    work(SPAN_OP, device, "d", 0, 3000, 3000);      /* no time at all */
    work(SPAN_OP, device, "e", 0, 3000, 3000);      /* once more */
    work(SPAN_OP, device, "f", 0, 5000, 4000);      /* ends before it starts */
    work(SPAN_OP, device, "in", 0, 6900, 7100);     /* sticks out of the next by 100 ns */
    work(SPAN_OP, device, "around", 0, 6000, 7000); /* ends earlier, comes later */
    write_and_read();
    assert_true(same(number(event("X", "op", "b", 0), "ts"), 1.0));
    assert_true(same(number(event("X", "op", "b", 0), "dur"), 1.0));
    assert_true(number(event("X", "op", "b", 0), "tid") != number(event("X", "op", "c", 0), "tid"));
    assert_true(same(number(event("X", "op", "c", 0), "dur"), 1.5));
    assert_true(same(number(event("X", "op", "f", 0), "dur"), 0));
    assert_int_equal(count("M", "", "thread_name"), 6); /* one more than tracks */
}

static void times_before_the_beginning_move_all(void **state)
{
    (void)state;
    work(SPAN_OP, device, "a", 0, -1500, 1000);
    work(SPAN_OP, device, "b", 0, 2000, 3000);
    write_and_read();
    assert_true(same(number(event("X", "op", "a", 0), "ts"), 0));
    assert_true(same(number(event("X", "op", "b", 0), "ts"), 3.5));
}

static void a_full_record_says_so(void **state)
{
    (void)state;
    step(0);
    m.r.dropped = 12345678901;
    write_and_read();
    assert_string_equal(text(event("i", "", NULL, 0), "name"),
                        "12345678901 intervals more, not recorded");
    assert_true(number(json_object_get(doc, "otherData"), "dropped") == 12345678901.0);
}

static void an_empty_record_is_a_trace_too(void **state)
{
    (void)state;
    m.r.n_track = 0;
    write_and_read();
    assert_int_equal(count("X", "", NULL), 0);
    assert_int_equal(count("M", "", "process_name"), 1);
}

static void many_events_come_in_pieces(void **state)
{
    (void)state;
    for (int i = 0; i < 2000; i++)
        step(i * 10000);
    write_and_read();
    assert_int_equal(count("X", "step", NULL), 2000);
}

static void a_full_disk_is_an_error(void **state)
{
    (void)state;
    struct err e;
    for (int i = 0; i < 2000; i++)
        step(i * 10000);
    snprintf(path, sizeof path, "/dev/full");
    fails(save(&e), ERR_IO, "/dev/full");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_slice_keeps_time_and_details),
        TEST(names_survive_whatever_they_hold),
        TEST(counters_show_rows_and_copies),
        TEST(flows_join_queued_work_and_its_run),
        TEST(flows_join_a_replay_and_its_first_op),
        TEST(flows_lead_from_a_call_to_its_steps),
        TEST(calls_that_overlap_have_lanes_and_cases),
        TEST(slices_nest_on_every_thread),
        TEST(times_before_the_beginning_move_all),
        TEST(a_full_record_says_so),
        TEST(an_empty_record_is_a_trace_too),
        TEST(many_events_come_in_pieces),
        TEST(a_full_disk_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
