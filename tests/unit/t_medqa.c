/* The question reader: forms, rejects, the official file. */
#include "medqa.h"
#include "test.h"
#include "zio.h"

static int parse(const char *s, struct medqa *m, struct err *e)
{
    return medqa_parse(s, strlen(s), "x.jsonl", m, e);
}

#define GOOD                                                                                      \
    "{\"question\": \"Q?\", \"options\": {\"A\": \"a\", \"B\": \"b\", \"C\": \"c\", \"D\": \"d\"}, "  \
    "\"answer_idx\": \"C\", \"answer\": \"c\", \"meta_info\": \"step1\"}"

static void reads_the_official_form(void **state)
{
    (void)state;
    struct err e;
    struct medqa m = {.n = 0};
    ok(parse(GOOD "\n\n" GOOD, &m, &e));
    assert_int_equal(m.n, 2);
    assert_int_equal(m.n_rejected, 0);
    assert_int_equal(m.question[0].key, 2);
    assert_int_equal(m.question[0].n_options, 4);
    assert_string_equal(m.question[0].option[3], "d");
    assert_string_equal(m.question[0].step, "step1");
    assert_int_equal(m.question[1].index, 1);
    assert_string_not_equal(m.question[0].id, m.question[1].id); /* same text, other place */
    assert_string_equal(m.question[0].id + 4, m.question[1].id + 4);
    medqa_free(&m);
}

static void reads_five_options_the_hf_form_and_arrays(void **state)
{
    (void)state;
    struct err e;
    struct medqa m = {.n = 0};
    ok(parse("\xef\xbb\xbf [\n{\"id\": \"x\", \"sent1\": \"S\", \"sent2\": \"\", \"ending0\": \"a\", "
             "\"ending1\": \"b\", \"ending2\": \"c\", \"ending3\": \"d\", \"label\": 3},\n"
             "{\"question\": \"Q [,] \\\"\", \"options\": {\"E\": \"5\", \"A\": \"1\", \"B\": \"2\", "
             "\"C\": \"3\", \"D\": \"4\"}, \"answer_idx\": \"E\"},\n"
             "{\"sent1\": \"S\", \"sent2\": \"T\", \"ending0\": \"a\", \"ending1\": \"b\", "
             "\"ending2\": \"c\", \"ending3\": \"d\", \"ending4\": \"e\", \"label\": 0}]\n", &m, &e));
    assert_int_equal(m.n, 3);
    assert_int_equal(m.question[0].key, 3);
    assert_string_equal(m.question[0].text, "S");
    assert_int_equal(m.question[1].n_options, 5);
    assert_string_equal(m.question[1].option[4], "5");
    assert_string_equal(m.question[2].text, "S T");
    medqa_free(&m);
}

static void each_fault_is_rejected_by_line_and_the_rest_is_kept(void **state)
{
    (void)state;
    struct err e;
    static const struct {
        const char *line, *why;
    } bad[] = {
        {"{\"question\": \"Q\"", "bad JSON at column"},
        {"[1]", "not a JSON object"},
        {"{}", "key 'question' is missing"},
        {"{\"question\": 7}", "'question' is an integer"},
        {"{\"question\": \" \\n\", \"options\": {}}", "the question is empty"},
        {"{\"question\": \"Q\"}", "key 'options' is missing"},
        {"{\"question\": \"Q\", \"options\": {\"A\": \"a\", \"B\": \"b\"}}", "2 options, expected 4 or 5"},
        {"{\"question\": \"Q\", \"options\": {\"A\": \"a\", \"B\": \"b\", \"C\": \"c\", \"E\": \"e\"}}",
         "none is named D"},
        {"{\"question\": \"Q\", \"options\": {\"A\": \"a\", \"B\": \"b\", \"C\": 3, \"D\": \"d\"}}",
         "option C is not a string"},
        {"{\"question\": \"Q\", \"options\": {\"A\": \"a\", \"B\": \"\", \"C\": \"c\", \"D\": \"d\"}}",
         "option B is empty"},
        {"{\"question\": \"Q\", \"options\": {\"A\": \"a\", \"B\": \"b\", \"C\": \"c\", \"D\": \"d\"}}",
         "key 'answer_idx' is missing"},
        {"{\"question\": \"Q\", \"options\": {\"A\": \"a\", \"B\": \"b\", \"C\": \"c\", \"D\": \"d\"}, "
         "\"answer_idx\": \"E\"}", "answer_idx is 'E', expected A to D"},
        {"{\"question\": \"Q\", \"options\": {\"A\": \"a\", \"B\": \"b\", \"C\": \"c\", \"D\": \"d\"}, "
         "\"answer_idx\": \"A\", \"answer\": \"b\"}", "answer text 'b' is not the text of option A"},
        {"{\"sent1\": \"Q\", \"ending0\": \"a\"}", "1 options, expected"},
        {"{\"sent1\": \"Q\", \"ending0\": \"a\", \"ending1\": \"b\", \"ending2\": \"c\", \"ending3\": "
         "\"d\", \"label\": 4}", "'label' is 4, expected 0 to 3"},
        {"{\"question\": \"Q\", \"question\": \"R\"}", "duplicate"},
        {"{\"question\": \"\xff\"}", "bad JSON"},
        {"{\"question\": \"a\\u0000b\"}", "bad JSON"},
        {"{\"question\": \"\\ud800\"}", "bad JSON"},
        {"[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]", "nested 20 deep"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct medqa m = {.n = 0};
        struct str s = STR_INIT;
        str_addf(&s, GOOD "\n%s\r\n" GOOD "\n", bad[i].line);
        ok(medqa_parse(s.s, s.len, "x.jsonl", &m, &e));
        assert_int_equal(m.n, 2);
        assert_int_equal(m.n_rejected, 1);
        assert_int_equal(m.reject[0].line, 2);
        if (!strstr(m.reject[0].why, bad[i].why))
            fail_msg("\"%s\", want \"%s\"", m.reject[0].why, bad[i].why);
        assert_int_equal(m.question[1].index, 2); /* the rejected one keeps its number */
        medqa_free(&m);
        str_free(&s);
    }
}

static void a_line_of_a_megabyte_is_rejected_and_the_rest_is_kept(void **state)
{
    (void)state;
    struct err e;
    struct medqa m = {.n = 0};
    struct str s = STR_INIT;
    str_adds(&s, "{\"question\": \"");
    for (int i = 0; i < 1 << 20; i++)
        str_addc(&s, 'x');
    str_adds(&s, "\"}\n" GOOD "\n");
    ok(medqa_parse(s.s, s.len, "x.jsonl", &m, &e));
    assert_int_equal(m.n, 1);
    assert_non_null(strstr(m.reject[0].why, "the limit is 262144"));
    medqa_free(&m);
    str_free(&s);
}

static void many_rejects_are_all_counted(void **state)
{
    (void)state;
    struct err e;
    struct medqa m = {.n = 0};
    struct str s = STR_INIT;
    for (int i = 0; i < 50; i++)
        str_adds(&s, "{}\n");
    str_adds(&s, GOOD);
    ok(medqa_parse(s.s, s.len, "x.jsonl", &m, &e));
    assert_int_equal(m.n_rejected, 50);
    assert_int_equal(m.reject[19].line, 20);
    medqa_free(&m);
    str_free(&s);
}

static void a_file_without_a_question_is_an_error(void **state)
{
    (void)state;
    struct err e;
    struct medqa m = {.n = 0};
    fails(parse("", &m, &e), ERR_DATA, "holds no questions");
    fails(parse(" [ ] ", &m, &e), ERR_DATA, "holds no questions");
    fails(parse("{}\n", &m, &e), ERR_DATA, "no usable question, 1 rejected; line 1: key 'question'");
    fails(parse("[" GOOD ",\n{}", &m, &e), ERR_DATA, "x.jsonl:2: the array is not closed");
    fails(parse("[" GOOD "\n}", &m, &e), ERR_DATA, "where ',' or ']' was expected");
    fails(parse("[" GOOD "] x", &m, &e), ERR_DATA, "text after the end of the array");
    fails(medqa_read("/nowhere/q.jsonl", &m, &e), ERR_NOINPUT, "/nowhere/q.jsonl");
}

static void reads_gzip_by_content(void **state)
{
    (void)state;
    struct err e;
    struct medqa a = {.n = 0}, b = {.n = 0};
    struct str gz = STR_INIT;
    char dir[256], path[300];
    snprintf(path, sizeof path, "%s/q", test_mkdir(dir));
    ok(zio_gzip(GOOD "\n", strlen(GOOD) + 1, &gz, &e));
    FILE *f = fopen(path, "wb");
    fwrite(gz.s, 1, gz.len, f);
    fclose(f);
    ok(medqa_read(path, &a, &e));
    ok(parse(GOOD "\n", &b, &e));
    assert_string_equal(a.question[0].id, b.question[0].id);
    assert_string_equal(a.sha256, b.sha256);
    medqa_free(&a);
    medqa_free(&b);
    str_free(&gz);
    test_rmdir(dir);
}

static void the_official_test_file_is_read_completely(void **state)
{
    (void)state;
    struct err e;
    struct medqa m = {.n = 0};
    char path[1024];
    int keys[5] = {0}, step1 = 0;
    need_data("medqa/test_4opt.jsonl", path);
    ok(medqa_read(path, &m, &e));
    assert_int_equal(m.n, 1273);
    assert_int_equal(m.n_rejected, 0);
    for (size_t i = 0; i < m.n; i++) {
        keys[m.question[i].key]++;
        step1 += !strcmp(m.question[i].step, "step1");
    }
    assert_int_equal(keys[0], 353);
    assert_int_equal(keys[1], 309);
    assert_int_equal(keys[2], 346);
    assert_int_equal(keys[3], 265);
    assert_in_range(step1, 1, 1272);
    assert_string_equal(m.sha256, "c3b905ccfa66152dc25afbcb2c10e86c0bdb208824f0658fcdb2c040f60a2beb");
    medqa_free(&m);
}

static void the_demo_questions_are_sound(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        size_t n;
    } files[] = {{TEST_SOURCE "/configs/demo/questions.jsonl", 200},
                 {TEST_SOURCE "/configs/demo/handwritten.jsonl", 24}};
    for (size_t f = 0; f < 2; f++) {
        struct err e;
        struct medqa m = {.n = 0};
        size_t keys[5] = {0};
        ok(medqa_read(files[f].path, &m, &e));
        assert_int_equal(m.n_rejected, 0);
        assert_int_equal(m.n, files[f].n);
        for (size_t i = 0; i < m.n; i++)
            keys[m.question[i].key]++;
        for (int i = 0; i < 4; i++)
            assert_int_equal(keys[i], m.n / 4);
        medqa_free(&m);
    }
}

static void options_of_the_command_line_are_checked(void **state)
{
    (void)state;
    struct err e;
    struct medqa m = {.n = 0};
    ok(medqa_single("Q?", "A. GERD||B) Acute MI ||  C.  PE", &m, &e));
    assert_int_equal(m.question[0].n_options, 3);
    assert_string_equal(m.question[0].option[1], "Acute MI");
    assert_string_equal(m.question[0].option[2], "PE");
    assert_int_equal(m.question[0].key, -1);
    medqa_free(&m);
    fails(medqa_single(" ", NULL, &m, &e), ERR_USAGE, "the question is empty");
    fails(medqa_single("Q", "A. a", &m, &e), ERR_USAGE, "separate options by '||'");
    fails(medqa_single("Q", "A. a||C. c", &m, &e), ERR_USAGE, "option 2 must begin with 'B.'");
    fails(medqa_single("Q", "GERD||MI", &m, &e), ERR_USAGE, "option 1 must begin with 'A.'");
    fails(medqa_single("Q", "A. a||B. ", &m, &e), ERR_USAGE, "option B is empty");
    fails(medqa_single("Q", "A.1||B.2||C.3||D.4||E.5||F.6||G.7||H.8||I.9", &m, &e), ERR_USAGE,
          "more than 8 options");
    fails(medqa_single("\xff", NULL, &m, &e), ERR_USAGE, "not valid UTF-8");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_official_form),
        cmocka_unit_test(reads_five_options_the_hf_form_and_arrays),
        cmocka_unit_test(each_fault_is_rejected_by_line_and_the_rest_is_kept),
        cmocka_unit_test(a_line_of_a_megabyte_is_rejected_and_the_rest_is_kept),
        cmocka_unit_test(many_rejects_are_all_counted),
        cmocka_unit_test(a_file_without_a_question_is_an_error),
        cmocka_unit_test(reads_gzip_by_content),
        cmocka_unit_test(the_official_test_file_is_read_completely),
        cmocka_unit_test(the_demo_questions_are_sound),
        cmocka_unit_test(options_of_the_command_line_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
