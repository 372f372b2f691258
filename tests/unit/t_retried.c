/* Failed attempts that were replaced: each counts once, and run.json gives them back. */
#include "jdoc.h"
#include "retried.h"
#include "test.h"

#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void add(struct retried *r, const char *id, const char *crc, const char *why)
{
    struct err e;
    ok(retried_add(r, id, crc, why, &e));
}

static void says(const struct retried *r, const char *want)
{
    struct str s = STR_INIT;
    retried_text(r, &s);
    assert_string_equal(s.s, want);
    str_free(&s);
}

/* The member as run.json has it. */
static void write_whole(const struct retried *r, struct str *out)
{
    str_adds(out, "{\"retried\": ");
    retried_json(r, true, out);
    str_addc(out, '}');
    assert_false(out->failed);
}

static int read_back(const char *s, struct retried *out, struct err *e)
{
    json_t *doc = NULL;
    assert_int_equal(jdoc_load(s, strlen(s), &doc, e), 0);
    const int rc = retried_read(doc, out, e);
    json_decref(doc);
    return rc;
}

static void an_attempt_counts_once_and_a_question_once(void **state)
{
    (void)state;
    struct retried r = {.ids = NULL};
    says(&r, "");
    add(&r, "q1", "0000000a", "stopped after 1.2 s, the limit is 1");
    add(&r, "q1", "0000000a", "stopped after 1.2 s, the limit is 1");
    assert_int_equal(retried_attempts(&r), 1);
    says(&r, "1 question; 1 failed attempt was replaced: 1 stopped after N s, the limit is N");
    add(&r, "q1", "0000000b", "stopped after 1.31 s, the limit is 1");
    add(&r, "q2", "0000000a", "status 503.");
    assert_int_equal(retried_questions(&r), 2);
    assert_int_equal(retried_attempts(&r), 3);
    says(&r, "2 questions; 3 failed attempts were replaced: 2 stopped after N s, the limit is N; 1 "
             "status N.");
    retried_free(&r);
}

static void the_text_names_the_most_frequent_reasons(void **state)
{
    (void)state;
    static const char *const why[] = {"a", "b", "c", "d", "e", "d", "d", "b"};
    struct retried r = {.ids = NULL};
    char crc[9];
    for (int i = 0; i < 8; i++) {
        snprintf(crc, sizeof crc, "%08d", i);
        add(&r, "q", crc, why[i]);
    }
    says(&r, "1 question; 8 failed attempts were replaced: 3 d; 2 b; 1 a; and 2 more reasons");
    retried_free(&r);
}

static void run_json_gives_it_back(void **state)
{
    (void)state;
    struct retried r = {.ids = NULL}, back = {.ids = NULL};
    struct str s = STR_INIT, again = STR_INIT;
    struct err e;
    add(&r, "q1", "0000000a", "a \"reason\" of 2 tokens");
    add(&r, "q1", "0000000b", "other");
    ok(retried_keep(&r, "traces.jsonl.old", 812, HASH, &e));
    write_whole(&r, &s);
    assert_string_equal(
        s.s, "{\"retried\": {\"questions\": 1, \"attempts\": 2, \"reasons\": [{\"why\": \"a "
             "\\\"reason\\\" of N tokens\", \"attempts\": 1}, {\"why\": \"other\", \"attempts\": "
             "1}], \"replaced\": {\"q1/0000000a\": \"a \\\"reason\\\" of 2 tokens\", "
             "\"q1/0000000b\": \"other\"}, \"files\": {\"traces.jsonl.old\": {\"bytes\": 812, "
             "\"sha256\": \"" HASH "\"}}}}");
    ok(read_back(s.s, &back, &e));
    write_whole(&back, &again);
    assert_string_equal(again.s, s.s);
    add(&back, "q1", "0000000a", "the same attempt"); /* is known by its checksum */
    assert_int_equal(retried_attempts(&back), 2);
    retried_free(&back);
    ok(read_back("{\"figures\": null}", &back, &e));
    assert_int_equal(retried_attempts(&back), 0);
    retried_free(&r);
    str_free(&s);
    str_free(&again);
}

static void a_wrong_member_is_refused(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"[]", "retried"},
        {"{\"files\": {}}", "replaced"},
        {"{\"replaced\": {}}", "files"},
        {"{\"replaced\": {\"q1\": \"why\"}, \"files\": {}}", "'q1' is no attempt"},
        {"{\"replaced\": {\"q1/0a\": \"why\"}, \"files\": {}}", "'q1/0a' is no attempt"},
        {"{\"replaced\": {\"/0000000a\": \"why\"}, \"files\": {}}", "is no attempt"},
        {"{\"replaced\": {\"q1/0000000a\": 1}, \"files\": {}}", "is no attempt"},
        {"{\"replaced\": {}, \"files\": {\"../x\": {\"bytes\": 1, \"sha256\": \"a\"}}}",
         "'../x' is no name"},
        {"{\"replaced\": {}, \"files\": {\"a/x\": {\"bytes\": 1, \"sha256\": \"a\"}}}",
         "'a/x' is no name"},
        {"{\"replaced\": {}, \"files\": {\"x\": {\"bytes\": -1, \"sha256\": \"a\"}}}", "bytes"},
        {"{\"replaced\": {}, \"files\": {\"x\": {\"bytes\": 1}}}", "sha256"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct retried r;
        struct err e;
        struct str s = STR_INIT;
        str_addf(&s, "{\"retried\": %s}", bad[i][0]);
        fails(read_back(s.s, &r, &e), ERR_DATA, bad[i][1]);
        assert_int_equal(retried_attempts(&r), 0);
        str_free(&s);
    }
}

static void shards_add_up(void **state)
{
    (void)state;
    struct retried a = {.ids = NULL}, b = {.ids = NULL}, all = {.ids = NULL};
    struct err e;
    add(&a, "q1", "0000000a", "slow");
    add(&a, "q1", "0000000b", "slow");
    add(&b, "q2", "0000000a", "slow");
    ok(retried_keep(&a, "traces.jsonl.gz.old", 1, HASH, &e));
    ok(retried_keep(&b, "traces.jsonl.gz.old", 2, HASH, &e));
    ok(retried_join(&all, &a, "shard-1-of-2", &e));
    ok(retried_join(&all, &b, "shard-2-of-2", &e));
    says(&all, "2 questions; 3 failed attempts were replaced: 3 slow");
    assert_int_equal(json_object_size(all.files), 2);
    const json_t *of = json_object_get(all.files, "traces.jsonl.gz.old.shard-2-of-2");
    assert_int_equal(json_integer_value(json_object_get(of, "bytes")), 2);
    retried_free(&a);
    retried_free(&b);
    retried_free(&all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_attempt_counts_once_and_a_question_once),
        cmocka_unit_test(the_text_names_the_most_frequent_reasons),
        cmocka_unit_test(run_json_gives_it_back),
        cmocka_unit_test(a_wrong_member_is_refused),
        cmocka_unit_test(shards_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
