/* The choice among the records of a question file. */
#include "subset.h"

#include "jdoc.h"
#include "outfile.h"
#include "records.h"
#include "test.h"
#include "vary.h"

static const char rejected[] = "{\"question\": \"\", \"options\": {\"A\": \"a\"}}\n";

/* Questions 0 to n - 1; those with an odd number are of step2&3. Record `bad` is rejected, record
 * `twin` repeats the one before it; -1 = none. */
static void make(struct medqa *m, int n, int bad, int twin)
{
    struct str s = STR_INIT;
    struct err e;
    for (int i = 0; i < n; i++) {
        const int k = i == twin ? i - 1 : i;
        if (i == bad)
            str_adds(&s, rejected);
        else
            str_addf(&s,
                     "{\"question\": \"Q%d\", \"options\": {\"A\": \"a\", \"B\": \"b\"}, "
                     "\"answer_idx\": \"A\", \"meta_info\": \"%s\"}\n",
                     k, k % 2 ? "step2&3" : "step1");
    }
    ok(medqa_parse(s.s, s.len, "x.jsonl", m, &e));
    assert_int_equal(m->n_records, n);
    str_free(&s);
}

static void take(const struct subset *s, struct medqa *m, struct str *about)
{
    struct err e;
    ok(subset_take(s, m, about, &e));
    for (size_t i = 0; i < m->n_records; i++)
        if (m->record[i].kind == MEDQA_QUESTION)
            assert_int_equal(m->question[m->record[i].question].index, i);
}

static void refused(const struct subset *s, struct medqa *m, const char *why)
{
    struct str about = STR_INIT;
    struct err e;
    assert_int_equal(subset_take(s, m, &about, &e), ERR_DATA);
    if (!strstr(e.msg, why))
        fail_msg("'%s' does not say '%s'", e.msg, why);
    str_free(&about);
}

static void a_smaller_sample_is_part_of_a_larger_one(void **state)
{
    (void)state;
    char ten[10][24];
    for (int k = 0; k < 2; k++) {
        struct medqa m = {.n = 0};
        struct str about = STR_INIT;
        make(&m, 100, -1, -1);
        take(&(struct subset){.sample = k ? 40 : 10, .seed = 7}, &m, &about);
        assert_int_equal(m.n_records, k ? 40 : 10);
        assert_int_equal(m.n, m.n_records);
        for (size_t i = 0; i < 10; i++) {
            bool found = !k;
            if (!k)
                memcpy(ten[i], m.question[i].id, sizeof ten[i]);
            for (size_t q = 0; k && q < m.n; q++)
                found |= !strcmp(ten[i], m.question[q].id);
            assert_true(found);
        }
        for (size_t i = 1; i < m.n_records; i++)
            assert_true(m.record[i].line > m.record[i - 1].line); /* in order of the file */
        str_free(&about);
        medqa_free(&m);
    }
}

static void the_order_of_the_file_changes_no_sample(void **state)
{
    (void)state;
    char id[2][12][24];
    for (int k = 0; k < 2; k++) {
        struct medqa m = {.n = 0};
        struct str s = STR_INIT, about = STR_INIT;
        struct err e;
        for (int i = 0; i < 60; i++)
            str_addf(&s,
                     "{\"question\": \"Q%d\", \"options\": {\"A\": \"a\", \"B\": \"b\"}, "
                     "\"answer_idx\": \"A\"}\n",
                     k ? 59 - i : i);
        ok(medqa_parse(s.s, s.len, "x.jsonl", &m, &e));
        take(&(struct subset){.sample = 12, .seed = 5}, &m, &about);
        for (size_t i = 0; i < 12; i++)
            memcpy(id[k][k ? 11 - i : i], m.question[i].id, sizeof id[k][i]);
        str_free(&s);
        str_free(&about);
        medqa_free(&m);
    }
    for (size_t i = 0; i < 12; i++)
        assert_string_equal(id[0][i], id[1][i]);
}

static void another_seed_is_another_sample(void **state)
{
    (void)state;
    struct str about[3] = {STR_INIT, STR_INIT, STR_INIT};
    for (int k = 0; k < 3; k++) {
        struct medqa m = {.n = 0};
        make(&m, 100, -1, -1);
        take(&(struct subset){.sample = 10, .seed = k ? 1 : 2}, &m, &about[k]);
        medqa_free(&m);
    }
    assert_string_not_equal(strstr(about[0].s, "sha256"), strstr(about[1].s, "sha256"));
    assert_string_equal(about[1].s, about[2].s);
    assert_non_null(strstr(about[1].s, "\"sample\": 10, \"seed\": 1, \"records\": 10"));
    for (int k = 0; k < 3; k++)
        str_free(&about[k]);
}

static void rejected_records_and_duplicates_may_be_drawn(void **state)
{
    (void)state;
    struct medqa m = {.n = 0};
    struct str about = STR_INIT;
    make(&m, 6, 1, 3);
    take(&(struct subset){.sample = 6, .seed = 1}, &m, &about);
    assert_int_equal(m.n_records, 6);
    assert_int_equal(m.n, 4);
    assert_int_equal(m.n_rejected, 1);
    assert_int_equal(m.n_duplicates, 1);
    medqa_free(&m);
    /* a duplicate whose question is left out is that question */
    bool seen = false;
    for (uint64_t seed = 0; seed < 60 && !seen; seed++) {
        make(&m, 3, -1, 2);
        take(&(struct subset){.sample = 1, .seed = seed}, &m, &about);
        seen = m.record[0].line == 3;
        assert_int_equal(m.record[0].kind, MEDQA_QUESTION);
        assert_int_equal(m.n, 1);
        medqa_free(&m);
    }
    assert_true(seen);
    str_free(&about);
}

static void steps_and_ids_choose_questions(void **state)
{
    (void)state;
    struct medqa m = {.n = 0};
    struct str about = STR_INIT;
    char id[24], other[24];
    make(&m, 10, 4, -1);
    memcpy(id, m.question[2].id, sizeof id);
    memcpy(other, m.question[3].id, sizeof other);
    take(&(struct subset){.step = "step1"}, &m, &about);
    assert_int_equal(m.n, 4); /* records 0, 2, 6, 8 */
    assert_int_equal(m.n_records, 4);
    assert_int_equal(m.record[1].line, 3);
    const char *const ids[] = {id, other};
    refused(&(struct subset){.ids = ids, .n_ids = 2}, &m, other);
    medqa_free(&m);
    make(&m, 10, 4, -1);
    take(&(struct subset){.ids = ids, .n_ids = 2}, &m, &about);
    assert_int_equal(m.n_records, 2);
    assert_string_equal(m.question[0].id, id);
    refused(&(struct subset){.step = "step7"}, &m,
            "no question is left of 2 records; step is step7");
    refused(&(struct subset){.sample = 3}, &m, "a sample of 3 records from 2");
    medqa_free(&m);
    str_free(&about);
}

static void ids_are_read_from_lines(void **state)
{
    (void)state;
    static const char text[] = "# hard items\n0123456789abcdef\r\n\nfedcba9876543210,Q,wrong\n";
    struct arena a = {.limit = 1 << 20};
    const char *const *ids;
    size_t n;
    struct err e;
    ok(subset_ids(text, sizeof text - 1, "hard.txt", &a, &ids, &n, &e));
    assert_int_equal(n, 2);
    assert_string_equal(ids[1], "fedcba9876543210");
    assert_int_equal(subset_ids("0123456789abcdef\nQ17\n", 21, "hard.txt", &a, &ids, &n, &e),
                     ERR_DATA);
    assert_non_null(strstr(e.msg, "hard.txt:2: 'Q17' is no id"));
    assert_int_equal(subset_ids("# none\n", 7, "hard.txt", &a, &ids, &n, &e), ERR_DATA);
    assert_non_null(strstr(e.msg, "holds no id"));
    arena_free(&a);
}

/* A choice of records and its variants, as a run's folder keeps them. */
struct kept {
    char dir[256];
    json_t *identity;
    struct str records;
};

static void keep(struct kept *k, const struct subset *s, bool varied)
{
    struct medqa m = {.n = 0};
    struct str about = STR_INIT, identity = STR_INIT;
    char path[300];
    struct err e;
    *k = (struct kept){.records = STR_INIT};
    test_mkdir(k->dir);
    make(&m, 30, 4, 9);
    take(s, &m, &about);
    if (varied) {
        const struct vary vary = {.kind = VARY_CYCLIC};
        struct vary_count count;
        struct str text = STR_INIT;
        ok(vary_take(&vary, &m, 0, &count, &text, &e));
        str_free(&text);
    }
    records_write(&m, &k->records);
    str_addf(&identity, "{\"subset\": %s%s}", about.s,
             varied ? ", \"variants\": {\"kind\": \"cyclic\"}" : "");
    ok(jdoc_load(identity.s, identity.len, &k->identity, &e));
    snprintf(path, sizeof path, "%s/records.jsonl", k->dir);
    ok(outfile_save(path, k->records.s, k->records.len, &e));
    str_free(&about);
    str_free(&identity);
    medqa_free(&m);
}

static void forget(struct kept *k)
{
    test_rmdir(k->dir);
    json_decref(k->identity);
    str_free(&k->records);
}

static int take_again(void *user)
{
    const struct kept *k = user;
    struct medqa m = {.n = 0};
    struct str records = STR_INIT;
    struct err e = {.code = 0};
    make(&m, 30, 4, 9);
    int rc = subset_recorded(k->dir, k->identity, &m, &e);
    if (rc == 0)
        rc = vary_recorded(k->dir, k->identity, &m, &e);
    if (rc == 0) {
        records_write(&m, &records);
        rc = str_ok(&records, "records", &e);
    }
    if (rc == 0)
        assert_string_equal(records.s, k->records.s);
    else if (rc != ERR_NOMEM)
        print_message("%s\n", e.msg);
    str_free(&records);
    medqa_free(&m);
    return rc;
}

static void a_recorded_choice_is_taken_again(void **state)
{
    (void)state;
    struct medqa m = {.n = 0};
    struct kept k;
    struct err e;
    make(&m, 30, 4, 9);
    const char *const ids[] = {m.question[3].id, m.question[20].id, m.question[12].id,
                               m.question[7].id};
    const struct subset some[] = {{.step = "step1"},
                                  {.sample = 8, .seed = 3},
                                  {.step = "step2&3", .sample = 5, .seed = 1},
                                  {.ids = ids, .n_ids = 4},
                                  {.ids = ids, .n_ids = 4, .sample = 2, .seed = 9}};
    for (size_t i = 0; i < 2 * sizeof some / sizeof some[0]; i++) {
        keep(&k, &some[i / 2], i % 2);
        assert_int_equal(take_again(&k), 0);
        forget(&k);
    }
    /* another data file, and no choice */
    keep(&k, &some[1], false);
    struct medqa other = {.n = 0};
    make(&other, 12, 4, 9);
    fails(subset_recorded(k.dir, k.identity, &other, &e), ERR_DATA,
          "the choice of records is not that of the run");
    medqa_free(&other);
    make(&other, 30, 4, 9);
    json_object_del(k.identity, "subset");
    ok(subset_recorded(k.dir, k.identity, &other, &e));
    assert_int_equal(other.n_records, 30);
    medqa_free(&other);
    forget(&k);
    medqa_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_smaller_sample_is_part_of_a_larger_one),
        cmocka_unit_test(the_order_of_the_file_changes_no_sample),
        cmocka_unit_test(another_seed_is_another_sample),
        cmocka_unit_test(rejected_records_and_duplicates_may_be_drawn),
        cmocka_unit_test(steps_and_ids_choose_questions),
        cmocka_unit_test(ids_are_read_from_lines),
        cmocka_unit_test(a_recorded_choice_is_taken_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
