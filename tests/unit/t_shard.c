/* The division of records into shards. */
#include "shard.h"
#include "test.h"

/* Questions 0..n-1; every 7th record is rejected, every 11th repeats the one before it. */
static void make(struct medqa *m, int n, int first)
{
    struct str s = STR_INIT;
    struct err e;
    for (int i = 0; i < n; i++) {
        const int k = i % 11 == 10 ? i - 1 : i;
        if (i % 7 == 6 && i % 11 != 10)
            str_adds(&s, "{\"question\": \"\"}\n");
        else
            str_addf(&s,
                     "{\"question\": \"Q%d\", \"options\": {\"A\": \"a\", \"B\": \"b\"}, "
                     "\"answer_idx\": \"A\"}\n",
                     first + k);
    }
    ok(medqa_parse(s.s, s.len, "x.jsonl", m, &e));
    assert_int_equal(m->n_records, n);
    str_free(&s);
}

static void every_record_is_in_one_shard(void **state)
{
    (void)state;
    struct medqa m = {.n = 0};
    struct shard_order o;
    struct err e;
    const size_t one = 1;
    make(&m, 200, 0);
    ok(shard_order(&m, 190, &o, &e));
    for (int n = 1; n <= 200; n = n < 9 ? n + 1 : n * 3) {
        unsigned char seen[200] = {0};
        for (int i = 1; i <= n; i++) {
            const struct shard_span span = shard_share((struct shard){i, n}, &one, 1, 0, o.units);
            struct medqa own = {.n = 0};
            const size_t most = (o.units + (size_t)n - 1) / (size_t)n;
            assert_true(span.hi - span.lo <= most && span.hi - span.lo + 1 >= o.units / (size_t)n);
            ok(shard_take(&m, &o, span, &own, &e));
            size_t questions = 0, rejected = 0, duplicates = 0;
            for (size_t k = 0; k < own.n_records; k++) {
                const struct medqa_record *r = &own.record[k];
                const size_t line = (size_t)r->line - 1;
                assert_true(line < 190 && !seen[line]);
                seen[line] = 1;
                questions += r->kind == MEDQA_QUESTION;
                rejected += r->kind == MEDQA_REJECTED;
                duplicates += r->kind == MEDQA_DUPLICATE;
                if (r->kind == MEDQA_REJECTED)
                    continue;
                const struct medqa_question *q = &own.question[r->question];
                if (r->kind == MEDQA_QUESTION)
                    assert_int_equal(q->index, k);
                else /* with the question that it repeats */
                    assert_int_equal(own.record[q->index].line, r->line - 1);
            }
            assert_int_equal(own.n, questions);
            assert_int_equal(own.n_rejected, rejected);
            assert_int_equal(own.n_duplicates, duplicates);
            medqa_free(&own);
        }
        for (int k = 0; k < 190; k++)
            assert_int_equal(seen[k], 1);
    }
    shard_order_free(&o);
    medqa_free(&m);
}

static void records_that_were_read_back_give_the_same_division(void **state)
{
    (void)state;
    struct medqa m = {.n = 0};
    struct records rs = {.n = 0};
    struct str text = STR_INIT;
    struct shard_order a, b;
    struct err e;
    make(&m, 150, 0);
    records_write(&m, &text);
    ok(records_read(text.s, text.len, &rs, &e));
    ok(shard_order(&m, 140, &a, &e));
    ok(shard_order_of(&rs, 140, &b, &e));
    assert_int_equal(a.n, b.n);
    assert_int_equal(a.units, b.units);
    assert_memory_equal(a.rank, b.rank, a.n * sizeof *a.rank);
    shard_order_free(&a);
    shard_order_free(&b);
    records_free(&rs);
    medqa_free(&m);
    str_free(&text);
}

/* The task of a question: by its content, so that the order of the file changes nothing. */
static void the_order_of_the_file_changes_no_question_s_shard(void **state)
{
    (void)state;
    struct str s[2] = {STR_INIT, STR_INIT};
    struct err e;
    const size_t one = 1;
    size_t rank[2][40];
    for (int k = 0; k < 2; k++) {
        struct medqa m = {.n = 0};
        struct shard_order o;
        for (int i = 0; i < 40; i++)
            str_addf(&s[k],
                     "{\"question\": \"Q%d\", \"options\": {\"A\": \"a\", \"B\": \"b\"}, "
                     "\"answer_idx\": \"A\"}\n",
                     k ? 39 - i : i);
        ok(medqa_parse(s[k].s, s[k].len, "x.jsonl", &m, &e));
        ok(shard_order(&m, 40, &o, &e));
        for (size_t i = 0; i < 40; i++)
            rank[k][k ? 39 - i : i] = o.rank[i];
        assert_true(shard_share((struct shard){1, 3}, &one, 1, 0, o.units).hi == 13);
        shard_order_free(&o);
        medqa_free(&m);
        str_free(&s[k]);
    }
    assert_memory_equal(rank[0], rank[1], sizeof rank[0]);
}

/* Several models: each rank of each model in one shard, about equal work, few loads. */
static void models_are_divided_first(void **state)
{
    (void)state;
    static const size_t cells[][4] = {{1, 1, 1, 1}, {6, 6, 6, 6}, {1, 2, 3, 4}, {54, 1, 1, 1}};
    for (size_t c = 0; c < 4; c++) {
        for (int n = 1; n <= 40; n++) {
            const size_t units = 101;
            size_t end[4] = {0}, loads = 0, total = 0;
            for (size_t k = 0; k < 4; k++)
                total += cells[c][k] * units;
            for (int i = 1; i <= n; i++) {
                size_t work = 0, own = 0;
                for (size_t k = 0; k < 4; k++) {
                    const struct shard_span s =
                        shard_share((struct shard){i, n}, cells[c], 4, k, units);
                    assert_int_equal(s.lo, end[k]);
                    assert_true(s.lo <= s.hi && s.hi <= units);
                    end[k] = s.hi;
                    own += s.hi > s.lo;
                    work += (s.hi - s.lo) * cells[c][k];
                }
                loads += own;
                assert_true(work <= total / (size_t)n + 54);
                if (c < 2 && n % 4 == 0)
                    assert_int_equal(own, 1);
            }
            for (size_t k = 0; k < 4; k++)
                assert_int_equal(end[k], units);
            assert_true(loads <= 4 + (size_t)n - 1);
        }
    }
}

static void a_shard_is_read_strictly(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",      "3",   "/8",    "3/",       "0/8",
        "9/8",   "3/0", " 3/8",  "3/8 ",     "-1/8",
        "3/8/9", "a/b", "1.5/3", "3/100001", "00000000000000000003/8"};
    struct shard s = {.n = 0};
    struct err e;
    char name[40];
    ok(shard_parse("3/8", &s, &e));
    assert_int_equal(s.i, 3);
    assert_int_equal(s.n, 8);
    shard_name(s, name);
    assert_string_equal(name, "shard-3-of-8");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        fails(shard_parse(bad[i], &s, &e), ERR_USAGE, "is no shard");
}

static void tasks_of_another_study_are_refused(void **state)
{
    (void)state;
    struct medqa m = {.n = 0}, other = {.n = 0};
    char dir[256], own[1024];
    struct err e;
    make(&m, 30, 0);
    make(&other, 30, 500);
    struct shard_study s = {.shard = {1, 4},
                            .data = &m,
                            .asked = 30,
                            .settings = "\"config\": {\"seed\": 1}",
                            .command = "mas eval"};
    test_mkdir(dir);
    ok(shard_begin(dir, &s, own, &e));
    assert_non_null(strstr(own, "/shard-1-of-4"));
    assert_true(shard_unmerged(dir));
    s.shard.i = 4;
    ok(shard_begin(dir, &s, own, &e));
    s.shard.n = 5;
    fails(shard_begin(dir, &s, own, &e), ERR_CONFIG, "it has 4 tasks, and mas eval --shard says 5");
    s.shard.n = 4;
    s.settings = "\"config\": {\"seed\": 2}";
    fails(shard_begin(dir, &s, own, &e), ERR_CONFIG, "config.seed was 1, is 2");
    s.settings = "\"config\": {\"seed\": 1}";
    s.data = &other;
    fails(shard_begin(dir, &s, own, &e), ERR_CONFIG, "data_sha256 was");
    fails(shard_refuse_unmerged(dir, &e), ERR_USAGE, "mas merge");
    test_rmdir(dir);
    medqa_free(&m);
    medqa_free(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_record_is_in_one_shard),
        cmocka_unit_test(records_that_were_read_back_give_the_same_division),
        cmocka_unit_test(the_order_of_the_file_changes_no_question_s_shard),
        cmocka_unit_test(models_are_divided_first),
        cmocka_unit_test(a_shard_is_read_strictly),
        cmocka_unit_test(tasks_of_another_study_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
