/* agents/replay.h: the cases of a trace, their lines, and the ways to name one. */
#include <fcntl.h>
#include <unistd.h>

#include "replay.h"
#include "script.h"
#include "test.h"
#include "trace.h"

enum { CASES = 40 };

static void made(char dir[256])
{
    struct bench b;
    struct medqa m = {.n = 0};
    struct run_progress p;
    struct err e;
    bench_mkdir(dir);
    bench_open(&b, 3, (const char *[]){"planner.top_k=3", NULL});
    bench_questions(&m, CASES);
    ok(bench_run(&b, &m, dir, 7, &p, &e));
    medqa_free(&m);
    bench_close(&b);
}

/* Every line of a case is whole: its calls, then the case. */
static void a_case_is_its_calls_and_its_line(void **state)
{
    struct replay r = {.text = STR_INIT};
    struct err e;
    char dir[256];
    (void)state;
    made(dir);
    ok(replay_open(dir, &r, &e));
    assert_int_equal(r.n, CASES);
    assert_int_equal(r.unfinished, 0);
    size_t end = 0;
    for (size_t i = 0; i < r.n; i++) {
        const struct replay_case *c = &r.c[i];
        const char *line;
        size_t n, k = 0;
        int calls = 0;
        assert_int_equal(c->first, end);
        end = c->end;
        for (size_t at = c->first; replay_line(&r, c, &at, &line, &n);) {
            json_t *doc = NULL;
            size_t len = 0;
            ok(replay_parse(line, n, &doc, &e));
            const char *id = replay_text(doc, at < c->end ? "call" : "case", &len);
            assert_string_equal(id, r.results.r[c->result].id);
            if (at < c->end) {
                calls++;
                assert_true(*replay_text(doc, "user", &len) && len > 0);
            }
            assert_string_equal(replay_text(doc, "no such key", &len), "");
            assert_int_equal(len, 0);
            json_decref(doc);
            k++;
        }
        assert_int_equal(calls, c->n_calls);
        assert_int_equal(calls, 5);
        assert_int_equal(k, 6);
    }
    assert_int_equal(end, r.text.len);
    replay_free(&r);
    test_rmdir(dir);
}

static void a_case_is_found_by_the_beginning_of_its_id(void **state)
{
    struct replay r = {.text = STR_INIT};
    const struct replay_case *c = NULL;
    struct err e;
    char dir[256], head[8];
    (void)state;
    made(dir);
    ok(replay_open(dir, &r, &e));
    for (size_t i = 0; i < r.n; i++) {
        const char *id = r.results.r[i].id;
        ok(replay_find(&r, id, &c, &e));
        assert_ptr_equal(c, &r.c[i]);
        size_t same = 0;
        snprintf(head, sizeof head, "%.1s", id);
        for (size_t k = 0; k < r.n; k++)
            same += !strncmp(r.results.r[k].id, head, 1);
        if (same > 1) /* 40 ids begin with one of 16 digits */
            fails(replay_find(&r, head, &c, &e), ERR_USAGE, "give more digits");
        else
            ok(replay_find(&r, head, &c, &e));
    }
    fails(replay_find(&r, "xyz", &c, &e), ERR_NOINPUT, "no finished case 'xyz' among 40");
    fails(replay_find(&r, "", &c, &e), ERR_NOINPUT, "no finished case");
    replay_free(&r);
    test_rmdir(dir);
}

static void no_run_and_damage_are_named(void **state)
{
    struct replay r = {.text = STR_INIT};
    struct err e;
    struct str said = STR_INIT;
    char dir[256], path[300];
    (void)state;
    test_mkdir(dir);
    fails(replay_open(dir, &r, &e), ERR_NOINPUT, "no folder of a run");
    test_rmdir(dir);
    made(dir);
    snprintf(path, sizeof path, "%s/traces.jsonl", dir);
    if (access(path, F_OK) != 0)
        assert_int_equal(test_run(&said, "gunzip %s.gz", path), 0);
    const int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    const off_t size = lseek(fd, 0, SEEK_END);
    assert_int_equal(ftruncate(fd, size - 30), 0); /* the last case is not finished */
    ok(replay_open(dir, &r, &e));
    assert_int_equal(r.n, CASES - 1);
    assert_true(r.unfinished > 0);
    replay_free(&r);
    assert_int_equal(pwrite(fd, "#", 1, 500), 1);
    fails(replay_open(dir, &r, &e), ERR_DATA, "traces.jsonl:1: damaged at question");
    close(fd);
    str_free(&said);
    test_rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_case_is_its_calls_and_its_line),
        cmocka_unit_test(a_case_is_found_by_the_beginning_of_its_id),
        cmocka_unit_test(no_run_and_damage_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
