/* profile_sum: pieces add up to the wall time; rows, layers and workers by hand. */
#include "profile_sum.h"

#include <math.h>

#include "record_make.h"
#include "test.h"

static struct record_make m;
static struct profile_sum sum;
static int engine, device, copies;

static int set_up(void **state)
{
    (void)state;
    record_make_init(&m);
    engine = record_make_track(&m, TRACK_ENGINE, 0, "engine");
    device = record_make_track(&m, TRACK_DEVICE, 0, "card");
    copies = record_make_track(&m, TRACK_COPY, 0, "copies");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    profile_sum_free(&sum);
    record_make_free(&m);
    return 0;
}

static void op(const char *name, const char *phase, int layer, int64_t from, int64_t to)
{
    struct interval *v = record_make_add(&m, SPAN_OP, device, name, from, to);
    v->phase = phase;
    v->layer = layer;
    v->rows = 2;
    v->bytes = 10;
    v->ops = 20;
}

/* A step of 1,000 ns in which each kind of piece occurs. */
static void full_step(int64_t at)
{
    m.step++;
    record_make_add(&m, SPAN_HOST, engine, "schedule", at, at + 100);
    record_make_add(&m, SPAN_HOST, engine, "upload", at + 100, at + 150);
    record_make_add(&m, SPAN_OP, engine, "matmul", at + 150, at + 200)->phase = "decode";
    record_make_add(&m, SPAN_PART, engine, "layer", at + 150, at + 500)->layer = 0;
    op("matmul", "decode", 0, at + 180, at + 600);
    record_make_add(&m, SPAN_COPY, copies, "copy", at + 590, at + 620);
    op("matmul", "decode", 1, at + 620, at + 700);
    record_make_add(&m, SPAN_HOST, engine, "wait", at + 500, at + 900);
    record_make_add(&m, SPAN_PHASE, engine, "decode", at + 100, at + 900)->rows = 2;
    record_make_add(&m, SPAN_HOST, engine, "deliver", at + 900, at + 980);
    record_make_add(&m, SPAN_STEP, engine, "step", at, at + 1000);
}

static int64_t piece(const struct profile_group *g, enum piece_kind kind, const char *name)
{
    for (int i = 0; i < g->n_piece; i++)
        if (g->piece[i].kind == kind && !strcmp(g->piece[i].name, name))
            return g->piece[i].ns;
    return 0;
}

static void check_pieces_are_whole(void)
{
    for (int i = 0; i < sum.n_group; i++) {
        const struct profile_group *g = &sum.group[i];
        int64_t all = 0, median = 0;
        for (int k = 0; k < g->n_piece; k++) {
            all += g->piece[k].ns;
            median += g->piece[k].median_ns;
        }
        assert_int_equal(all, g->wall_ns);
        if (g->n_step % 2)
            assert_int_equal(median, (int64_t)g->step.median);
    }
}

static void each_moment_of_a_step_belongs_to_one_piece(void **state)
{
    (void)state;
    struct err e;
    full_step(0);
    ok(profile_sum_make(&m.r, &sum, &e));
    assert_int_equal(sum.n_group, 1);
    const struct profile_group *g = &sum.group[0];
    assert_string_equal(g->name, "decode");
    assert_int_equal(g->n_step, 1);
    assert_int_equal(g->rows, 2);
    assert_int_equal(piece(g, PIECE_OP, "matmul"), 420 + 80);
    assert_int_equal(piece(g, PIECE_HOST, "schedule"), 100);
    assert_int_equal(piece(g, PIECE_HOST, "upload"), 50);
    assert_int_equal(piece(g, PIECE_HOST, "deliver"), 80);
    assert_int_equal(piece(g, PIECE_COPY, "copy"), 20);
    assert_int_equal(piece(g, PIECE_QUEUE, "queue"), 30);
    assert_int_equal(piece(g, PIECE_WAIT, "wait"), 200);
    assert_int_equal(piece(g, PIECE_BETWEEN, "between"), 20);
    check_pieces_are_whole();
}

/* The recorder's work counts where nothing else does. */
static void the_recorder_s_own_work_is_a_piece(void **state)
{
    (void)state;
    struct err e;
    m.step = 0;
    record_make_add(&m, SPAN_HOST, engine, "schedule", 100, 200)->before_ns = 30;
    record_make_add(&m, SPAN_HOST, engine, "upload", 250, 300)->after_ns = 7;
    struct interval *op = record_make_add(&m, SPAN_OP, engine, "matmul", 400, 500);
    op->before_ns = 150; /* from 250 on: the upload, then 20, then the device, then 30 */
    op->after_ns = 20;
    record_make_add(&m, SPAN_OP, device, "matmul", 320, 370);
    struct interval *step = record_make_add(&m, SPAN_STEP, engine, "step", 0, 1000);
    step->before_ns = step->after_ns = 1000; /* outside of the step */
    ok(profile_sum_make(&m.r, &sum, &e));
    const struct profile_group *g = &sum.group[0];
    assert_int_equal(piece(g, PIECE_RECORDER, "recorder"), 30 + 20 + 30 + 20);
    assert_int_equal(piece(g, PIECE_HOST, "schedule"), 100);
    assert_int_equal(piece(g, PIECE_HOST, "upload"), 50);
    assert_int_equal(piece(g, PIECE_OP, "matmul"), 50);
    assert_int_equal(piece(g, PIECE_QUEUE, "queue"), 100);
    check_pieces_are_whole();
}

static void groups_have_their_median_step_and_gaps(void **state)
{
    (void)state;
    struct err e;
    const int64_t at[] = {0, 5000, 10000};
    const int64_t longer[] = {50, 0, 500};
    for (int i = 0; i < 3; i++) {
        full_step(at[i]);
        m.interval[m.r.n_interval - 1].end_ns += longer[i];
    }
    m.step++; /* a step that computes nothing */
    record_make_add(&m, SPAN_STEP, engine, "step", 20000, 20007);
    ok(profile_sum_make(&m.r, &sum, &e));
    assert_int_equal(sum.n_group, 2);
    assert_string_equal(sum.group[1].name, "other");
    assert_int_equal(sum.group[0].median, 0);
    assert_int_equal((int64_t)sum.group[0].step.median, 1050);
    assert_int_equal(sum.wall_ns, 3 * 1000 + 550 + 7);
    assert_int_equal(sum.apart_ns, (5000 - 1050) + (10000 - 6000) + (20000 - 11500));
    assert_int_equal(piece(&sum.group[0], PIECE_BETWEEN, "between"), 3 * 20 + 550);
    check_pieces_are_whole();
}

static void a_device_that_runs_past_the_step_is_cut(void **state)
{
    (void)state;
    struct err e;
    full_step(0);
    op("add", "decode", -1, -50, 30);    /* before the step began */
    op("add", "decode", -1, 990, 1040);  /* after its end */
    op("add", "decode", -1, 1500, 1600); /* outside */
    ok(profile_sum_make(&m.r, &sum, &e));
    assert_int_equal(piece(&sum.group[0], PIECE_OP, "add"), 30 + 10);
    check_pieces_are_whole();
}

static void rows_are_calls_of_one_case(void **state)
{
    (void)state;
    struct err e;
    full_step(0);
    full_step(2000);
    m.interval[4].detail = "Q4_K 1x8->8"; /* the first matmul as it ran */
    m.step = -1;
    op("kv_copy", "", -1, 7000, 7004);
    ok(profile_sum_make(&m.r, &sum, &e));
    assert_int_equal(sum.n_row, 3);
    assert_string_equal(sum.row[0].op, "matmul");
    assert_string_equal(sum.row[0].detail, "");
    assert_int_equal(sum.row[0].ns, 420 + 2 * 80);
    assert_int_equal(sum.row[0].calls, 3);
    assert_int_equal(sum.row[0].rows, 6);
    assert_true(sum.row[0].bytes == 30 && sum.row[0].ops == 60);
    assert_true(sum.row[0].call.median == 80 && sum.row[0].call.max == 420);
    assert_string_equal(sum.row[1].detail, "Q4_K 1x8->8");
    assert_int_equal(sum.row[1].ns, 420);
    assert_null(sum.row[1].busy_ns);
    assert_true(isnan(profile_imbalance(&m.r, &sum.row[1])));
    assert_string_equal(sum.group[sum.row[2].group].name, "other");
    assert_int_equal(sum.group[sum.row[2].group].n_step, 0);
}

static void layers_are_those_of_the_model(void **state)
{
    (void)state;
    struct err e;
    full_step(0);
    op("add", "decode", 1, 960, 970);
    op("add", "draft", 1, 970, 980);
    full_step(2000);
    ok(profile_sum_make(&m.r, &sum, &e));
    const struct profile_group *g = &sum.group[0];
    assert_int_equal(g->n_layer, 2);
    assert_int_equal(g->layer[0].layer, 0);
    assert_true(g->layer[0].min == 420 && g->layer[0].max == 420);
    assert_int_equal(g->layer[1].layer, 1);
    assert_true(g->layer[1].min == 80 && g->layer[1].median == 85 && g->layer[1].max == 90);
}

static void a_draft_does_not_name_the_step(void **state)
{
    (void)state;
    struct err e;
    m.step = 0;
    record_make_add(&m, SPAN_PHASE, engine, "draft", 0, 10)->rows = 1;
    op("matmul", "draft", 0, 2, 9);
    record_make_add(&m, SPAN_PHASE, engine, "verify", 10, 30)->rows = 4;
    op("matmul", "verify", 0, 12, 28);
    record_make_add(&m, SPAN_STEP, engine, "step", 0, 30);
    ok(profile_sum_make(&m.r, &sum, &e));
    assert_int_equal(sum.n_group, 1);
    assert_string_equal(sum.group[0].name, "verify");
    assert_int_equal(sum.group[0].rows, 4);
    assert_int_equal(piece(&sum.group[0], PIECE_OP, "draft"), 7);
    assert_int_equal(piece(&sum.group[0], PIECE_OP, "matmul"), 16);
    assert_int_equal(sum.n_row, 2);
    check_pieces_are_whole();
}

static void workers_are_compared_call_by_call(void **state)
{
    (void)state;
    struct err e;
    m.r.n_worker = 2;
    m.step = 0;
    record_make_add(&m, SPAN_STEP, engine, "step", 0, 100);
    op("matmul", "decode", 0, 0, 50);
    record_make_busy(&m, &m.interval[1], (const int64_t[]){30, 10});
    op("matmul", "decode", 0, 50, 90);
    record_make_busy(&m, &m.interval[2], (const int64_t[]){10, 30});
    op("matmul", "decode", 0, 90, 95); /* not watched */
    ok(profile_sum_make(&m.r, &sum, &e));
    const struct profile_row *row = &sum.row[0];
    assert_int_equal(row->busy_ns[0], 40);
    assert_int_equal(row->busy_ns[1], 40);
    assert_int_equal(row->longest_ns, 60);
    assert_int_equal(row->watched_ns, 90);
    assert_true(fabs(profile_imbalance(&m.r, row) - 0.5) < 1e-12);
}

static void an_empty_record_has_no_groups(void **state)
{
    (void)state;
    struct err e;
    ok(profile_sum_make(&m.r, &sum, &e));
    assert_int_equal(sum.n_group, 0);
    assert_int_equal(sum.n_row, 0);
    assert_int_equal(sum.wall_ns, 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(each_moment_of_a_step_belongs_to_one_piece),
        TEST(the_recorder_s_own_work_is_a_piece),
        TEST(groups_have_their_median_step_and_gaps),
        TEST(a_device_that_runs_past_the_step_is_cut),
        TEST(rows_are_calls_of_one_case),
        TEST(layers_are_those_of_the_model),
        TEST(a_draft_does_not_name_the_step),
        TEST(workers_are_compared_call_by_call),
        TEST(an_empty_record_has_no_groups),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
