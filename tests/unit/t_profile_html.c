/* profile_html: what the page shows, names that need escapes, records with little in them. */
#include "profile.h"
#include "record_make.h"
#include "test.h"

static struct record_make m;
static char dir[256], path[300], *page;
static int engine, device, copies, worker;

static struct profile_facts facts;

static int set_up(void **state)
{
    (void)state;
    test_mkdir(dir);
    snprintf(path, sizeof path, "%s/page.html", dir);
    facts = (struct profile_facts){.program = "mas 1",
                                   .device = "card",
                                   .model = "a <b> & \"c\"",
                                   .date = "2026-01-02",
                                   .command = "mas profile -m '<x>'",
                                   .note = ""};
    record_make_init(&m);
    engine = record_make_track(&m, TRACK_ENGINE, 0, "engine");
    device = record_make_track(&m, TRACK_DEVICE, 0, "card <1>, 2 GB");
    copies = record_make_track(&m, TRACK_COPY, 0, "copies");
    worker = record_make_track(&m, TRACK_WORKER, 0, "worker 0");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(page);
    page = NULL;
    record_make_free(&m);
    test_rmdir(dir);
    return 0;
}

static int count(const char *text)
{
    int n = 0;
    for (const char *at = page; (at = strstr(at, text)); at += strlen(text))
        n++;
    return n;
}

static void has(const char *text)
{
    if (!strstr(page, text))
        fail_msg("no '%s' in the page", text);
}

/* Writes the page and checks what holds for every page. */
static void write_page(void)
{
    static const char *const pairs[][2] = {
        {"<svg", "</svg>"},      {"<table>", "</table>"}, {"<div", "</div>"}, {"<text", "</text>"},
        {"<title>", "</title>"}, {"<tr>", "</tr>"},       {"<td>", "</td>"},  {"<p", "</p>"}};
    struct err e;
    struct outfile *o;
    ok(outfile_open(path, 0, &o, &e));
    ok(profile_html(&m.r, &facts, o, &e));
    ok(outfile_commit(o, &e));
    free(page);
    page = test_read(path, NULL);
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        int open = count(pairs[i][0]);
        if (!strcmp(pairs[i][0], "<p"))
            open -= count("<pre>");
        assert_int_equal(open, count(pairs[i][1]));
    }
    assert_int_equal(count("http"), 0); /* nothing from elsewhere */
    assert_int_equal(count("<script"), 0);
    assert_int_equal(count("nan"), 0);
    assert_int_equal(count("inf"), 0);
    assert_int_equal(count("width=\"-"), 0);
    assert_int_equal(count("<b> &"), 0); /* the model's name as it is */
}

static void op(const char *name, int layer, int64_t from, int64_t to)
{
    struct interval *v = record_make_add(&m, SPAN_OP, device, name, from, to);
    v->phase = "decode";
    v->detail = "Q4_K <8x8>";
    v->kernel = "mma";
    v->layer = layer;
    v->bytes = 1e6;
    v->ops = 2e6;
}

/* 1 ms: matmul 600 us, wait 100 us, schedule 200 us, 100 us between. */
static void step(int64_t at)
{
    m.step++;
    record_make_add(&m, SPAN_HOST, engine, "schedule", at, at + 200000);
    op("matmul", 0, at + 200000, at + 500000);
    op("matmul", 1, at + 500000, at + 800000);
    record_make_add(&m, SPAN_COPY, copies, "copy", at + 300000, at + 400000);
    record_make_add(&m, SPAN_HOST, engine, "wait", at + 300000, at + 900000);
    record_make_add(&m, SPAN_PHASE, engine, "decode", at + 200000, at + 900000)->rows = 4;
    record_make_add(&m, SPAN_STEP, engine, "step", at, at + 1000000);
}

static void the_page_shows_the_median_step(void **state)
{
    (void)state;
    m.r.device_timed = true;
    facts.read = 1e10;
    step(0);
    step(2000000);
    write_page();
    has("Profile of a &lt;b&gt; &amp; &quot;c&quot;");
    has("<pre>mas profile -m '&lt;x&gt;'</pre>");
    has("2 steps, 4 rows each. A step takes 1.000 ms");
    has("matmul <b>600 us</b>, 60.0 %");
    has("schedule <b>200 us</b>, 20.0 %");
    has("wait <b>100 us</b>, 10.0 %");
    has("between <b>100 us</b>, 10.0 %");
    has("<td>Q4_K &lt;8x8&gt;</td><td>mma</td><td>4</td><td>1.200</td><td>60.0</td><td>300.0</td>");
    has("<td>3.33</td><td>33.3</td>"); /* GB/s, and the share of 10 GB/s */
    has(">card &lt;1&gt;</text>");
    has("layer 1: 300.0 us");
    has("All steps take 2.000 ms, and 1.000 ms pass between steps.");
}

static void a_busy_lane_is_drawn_in_few_pieces(void **state)
{
    (void)state;
    m.step = 0;
    for (int i = 0; i < 20000; i++)
        op("matmul", i % 80, i * 1000, i * 1000 + 900);
    record_make_add(&m, SPAN_STEP, engine, "step", 0, 20000000);
    write_page();
    has("matmul, 2");
    assert_true(strlen(page) < 100000);
}

static void workers_and_their_waiting_are_shown(void **state)
{
    (void)state;
    m.r.n_worker = 1;
    step(0);
    record_make_busy(&m, &m.interval[1], (const int64_t[]){150000});
    record_make_add(&m, SPAN_OP, worker, "matmul", 200000, 350000);
    write_page();
    has("Threads of the CPU pool");
    has(">50.0 %</text>");
    has(">worker 0</text>");
}

static void a_full_record_and_a_note_are_said(void **state)
{
    (void)state;
    step(0);
    m.r.dropped = 77;
    facts.note = "the link is <emulated>";
    write_page();
    has("The record was full: 77 intervals more");
    has("the link is &lt;emulated&gt;");
}

static void records_with_little_in_them_make_a_page(void **state)
{
    (void)state;
    write_page();
    has("Nothing was recorded.");
    m.step = 0; /* a step that takes no time */
    record_make_add(&m, SPAN_STEP, engine, "step", 5, 5);
    write_page();
    has("1 step, 0 rows each. A step takes 0.0 us.");
    m.step = -1; /* an op outside of steps, which takes no time */
    op("kv_copy", -1, 10, 10);
    write_page();
    has("kv_copy");
    m.step = 1; /* an op that ends before its step begins */
    record_make_add(&m, SPAN_STEP, engine, "step", 100, 200);
    op("add", 0, 10, 20);
    write_page();
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(the_page_shows_the_median_step),          TEST(a_busy_lane_is_drawn_in_few_pieces),
        TEST(workers_and_their_waiting_are_shown),     TEST(a_full_record_and_a_note_are_said),
        TEST(records_with_little_in_them_make_a_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
