/* The question reader: accepted forms, rejects, duplicates, the official file. */
#include "doubts.h"
#include "medqa.h"
#include "test.h"
#include "zio.h"

static int parse(const char *s, struct medqa *m, struct err *e)
{
    return medqa_parse(s, strlen(s), "x.jsonl", m, e);
}

#define GOOD                                                                                       \
    "{\"question\": \"Q?\", \"options\": {\"A\": \"a\", \"B\": \"b\", \"C\": \"c\", \"D\": "       \
    "\"d\"}, "                                                                                     \
    "\"answer_idx\": \"C\", \"answer\": \"c\", \"meta_info\": \"step1\"}"

#define OTHER                                                                                      \
    "{\"question\": \"R?\", \"options\": {\"A\": \"a\", \"B\": \"b\"}, \"answer_idx\": \"A\"}"

static void reads_the_official_form(void **state)
{
    (void)state;
    struct err e;
    struct medqa m = {.n = 0};
    ok(parse(GOOD "\n\n" GOOD, &m, &e));
    assert_int_equal(m.n, 1);
    assert_int_equal(m.n_records, 2);
    assert_int_equal(m.n_rejected, 0);
    assert_int_equal(m.question[0].key, 2);
    assert_int_equal(m.question[0].n_options, 4);
    assert_string_equal(m.question[0].option[3], "d");
    assert_string_equal(m.question[0].step, "step1");
    assert_int_equal(m.question[0].index, 0);
    assert_int_equal(m.n_duplicates, 1);
    assert_int_equal(m.record[1].kind, MEDQA_DUPLICATE);
    assert_int_equal(m.record[1].line, 3);
    assert_int_equal(m.record[1].question, 0);
    medqa_free(&m);
}

static void reads_five_options_the_hf_form_and_arrays(void **state)
{
    (void)state;
    struct err e;
    struct medqa m = {.n = 0};
    ok(parse(
        "\xef\xbb\xbf [\n{\"id\": \"x\", \"sent1\": \"S\", \"sent2\": \"\", \"ending0\": \"a\", "
        "\"ending1\": \"b\", \"ending2\": \"c\", \"ending3\": \"d\", \"label\": 3},\n"
        "{\"question\": \"Q [,] \\\"\", \"options\": {\"E\": \"5\", \"A\": \"1\", \"B\": \"2\", "
        "\"C\": \"3\", \"D\": \"4\"}, \"answer_idx\": \"E\"},\n"
        "{\"sent1\": \"S\", \"sent2\": \"T\", \"ending0\": \"a\", \"ending1\": \"b\", "
        "\"ending2\": \"c\", \"ending3\": \"d\", \"ending4\": \"e\", \"label\": 0}]\n",
        &m, &e));
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
        {"{\"question\": \"Q\"", "the text ends where ',' or '}' was expected"},
        {"[1]", "not a JSON object"},
        {"{}", "key 'question' is missing"},
        {"{\"question\": 7}", "'question' is an integer"},
        {"{\"question\": \" \\n\", \"options\": {}}", "the question is empty"},
        {"{\"question\": \"Q\"}", "key 'options' is missing"},
        {"{\"question\": \"Q\", \"options\": {\"A\": \"a\"}}", "1 options, expected 2 to 10"},
        {"{\"question\": \"Q\", \"options\": []}", "0 options, expected 2 to 10"},
        {"{\"question\": \"Q\", \"options\": [0,1,2,3,4,5,6,7,8,9,10]}",
         "'option A' is an integer"},
        {"{\"question\": \"Q\", \"options\": "
         "[\"0\",\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\"]}",
         "more than 10 options"},
        {"{\"question\": \"Q\", \"options\": {\"A\": \"a\", \"K\": \"b\"}}",
         "an option K, expected 2 to 10"},
        {"{\"question\": \"Q\", \"options\": {\"A\": \"a\", \"op2\": \"b\"}}",
         "named 'op2', expected a letter"},
        {"{\"question\": \"Q\", \"options\": {\"A\": \"a\", \"a\": \"b\"}}",
         "option A stands twice"},
        {"{\"question\": \"Q\", \"options\": [\"a\", null, \"c\"]}",
         "2 options, but none is named B"},
        {"{\"question\": \"Q\", \"options\": [\"a\", {\"key\": \"B\", \"value\": \"b\"}]}",
         "expected one form"},
        {"{\"question\": \"Q\", \"options\": [{\"key\": \"A\"}, {\"key\": \"B\", \"value\": "
         "\"b\"}]}",
         "option 1 has no 'value'"},
        {"{\"question\": \"Q\", \"options\": [{\"key\": \"one\", \"value\": \"a\"}]}",
         "the key of option 1 is 'one'"},
        {"{\"question\": \"Q\", \"options\": \"A. a\"}", "'options' is no object and no array"},
        {"{\"question\": \"Q\", \"options\": {\"A\": \"a\", \"B\": \"b\", \"C\": \"c\", \"E\": "
         "\"e\"}}",
         "none is named D"},
        {"{\"question\": \"Q\", \"options\": {\"A\": \"a\", \"B\": \"b\", \"C\": 3, \"D\": \"d\"}}",
         "'option C' is an integer, expected a string"},
        {"{\"question\": \"Q\", \"options\": {\"A\": \"a\", \"B\": \"\", \"C\": \"c\", \"D\": "
         "\"d\"}}",
         "option B is empty"},
        {"{\"question\": \"Q\", \"options\": {\"A\": \"a\", \"B\": \"b\", \"C\": \"c\", \"D\": "
         "\"d\"}}",
         "key 'answer_idx' is missing"},
        {"{\"question\": \"Q\", \"options\": {\"A\": \"a\", \"B\": \"b\", \"C\": \"c\", \"D\": "
         "\"d\"}, "
         "\"answer_idx\": \"E\"}",
         "answer_idx is 'E', expected A to D"},
        {"{\"question\": \"Q\", \"options\": {\"A\": \"a\", \"B\": \"b\", \"C\": \"c\", \"D\": "
         "\"d\"}, "
         "\"answer_idx\": \"A\", \"answer\": \"b\"}",
         "answer text 'b' is not the text of option A"},
        {"{\"sent1\": \"Q\", \"ending0\": \"a\"}", "1 options, expected"},
        {"{\"sent1\": \"Q\", \"ending0\": \"a\", \"ending10\": \"k\", \"label\": 0}",
         "more than 10 options"},
        {"{\"sent1\": \"Q\", \"ending0\": \"a\", \"ending2\": \"k\", \"label\": 0}",
         "none is named B"},
        {"{\"sent1\": \"Q\", \"ending0\": \"a\", \"ending1\": \"k\", \"label\": -1}",
         "'label' is -1, expected 0 to 1"},
        {"{\"sent1\": \"Q\", \"ending0\": \"a\", \"ending1\": \"k\"}", "key 'label' is missing"},
        {"{\"sent1\": \"Q\", \"ending0\": \"a\", \"ending1\": \"b\", \"ending2\": \"c\", "
         "\"ending3\": "
         "\"d\", \"label\": 4}",
         "'label' is 4, expected 0 to 3"},
        {"{\"question\": \"Q\", \"question\": \"R\"}", "key 'question' stands twice"},
        {"{\"question\": \"\xff\"}", "'question': bad JSON"},
        {"{\"question\": \"a\\u0000b\"}", "'question' holds a NUL character"},
        {"{\"question\": \"\\ud800\"}", "'question': bad JSON"},
        {"{\"question\": NaN}", "'question': bad JSON"},
        {"{\"question\": [[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]}", "nested 20 deep"},
        {"{\"question\": null}", "'question' is null, expected a string"},
        {"{\"question\": \"Q\", }", "'}' where a key in quotes was expected"},
        {"{\"question\": \"Q\"},", "',' where the end was expected"},
        {"{\"question\": \"Q\", \"x\": [1, 2,]}", "']' where a value was expected"},
        {"{\"question\": \"Q\", \"x\": [1}}", "'}' where ',' or ']' was expected"},
        {"{\"question\": \"Q\", \"x\": nul}", "'nul' is no value"},
        {"{\"question\": \"Q\", \"x\": 1.2.3}", "'1.2.3' is no value"},
        {"{\"question\" \"Q\"}", "'\"' where ':' was expected"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct medqa m = {.n = 0};
        struct str s = STR_INIT;
        str_addf(&s, GOOD "\n%s\r\n" OTHER "\n", bad[i].line);
        ok(medqa_parse(s.s, s.len, "x.jsonl", &m, &e));
        assert_int_equal(m.n, 2);
        assert_int_equal(m.n_rejected, 1);
        assert_int_equal(m.n_records, 3);
        assert_int_equal(m.record[1].kind, MEDQA_REJECTED);
        assert_int_equal(m.record[1].line, 2);
        if (!strstr(m.record[1].why, bad[i].why))
            fail_msg("\"%s\", want \"%s\"", m.record[1].why, bad[i].why);
        assert_int_equal(m.question[1].index, 2); /* the rejected one keeps its number */
        assert_int_equal(medqa_first(&m, 2), 1);
        assert_int_equal(medqa_first(&m, 3), 2);
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
    assert_non_null(strstr(m.record[0].why, "the limit is 262144"));
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
    assert_int_equal(m.record[49].line, 50);
    assert_non_null(strstr(m.record[49].why, "key 'question' is missing"));
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
    fails(parse("{}\n", &m, &e), ERR_DATA,
          "no usable question, 1 rejected; line 1: key 'question'");
    fails(parse("[" GOOD ",\n{}", &m, &e), ERR_DATA, "x.jsonl:2: the array is not closed");
    fails(parse("[" GOOD "\n}", &m, &e), ERR_DATA, "where ',' or ']' was expected");
    fails(parse("[" GOOD "] x", &m, &e), ERR_DATA, "text after the end of the array");
    fails(parse("[" GOOD ",\n]", &m, &e), ERR_DATA, "x.jsonl:2: ']' where a record was expected");
    fails(parse("[" GOOD ",\n\n," OTHER "]", &m, &e), ERR_DATA,
          "x.jsonl:3: ',' where a record was expected");
    fails(parse("[," GOOD "]", &m, &e), ERR_DATA, "',' where a record was expected");
    fails(medqa_read("/nowhere/q.jsonl", &m, &e), ERR_NOINPUT, "/nowhere/q.jsonl");
}

/* One record: GOOD's, with other members after the first brace. */
static void accepted(const char *members, int key, int n_options)
{
    struct err e;
    struct medqa m = {.n = 0};
    struct str s = STR_INIT;
    str_addf(&s, "{%s}", members);
    if (parse(s.s, &m, &e) < 0)
        fail_msg("%s: %s", s.s, e.msg);
    assert_int_equal(m.n, 1);
    assert_int_equal(m.question[0].key, key);
    assert_int_equal(m.question[0].n_options, n_options);
    assert_int_equal(m.n_rejected, 0);
    medqa_free(&m);
    str_free(&s);
}

#define Q "\"question\": \"Q?\", "
#define ABCD "\"options\": {\"A\": \"a\", \"B\": \"b b\", \"C\": \"c\", \"D\": \"d\"}, "

static void a_field_that_is_not_needed_rejects_nothing(void **state)
{
    (void)state;
    static const char *const values[] = {"null",
                                         "NaN",
                                         "Infinity",
                                         "-Infinity",
                                         "1e400",
                                         "-1e999",
                                         "12345678901234567890123",
                                         "{}",
                                         "[]",
                                         "true",
                                         "[NaN, {\"a\": [1e400, {\"b\": null}]}]",
                                         "\"\\ud800\"",
                                         "\"\\u0000\"",
                                         "\"\xff\"",
                                         "{\"a\": 1, \"a\": 2}",
                                         "{\"question\": \"another\", \"options\": 7}",
                                         "\"tab\tinside\"",
                                         "\"[{,\\\"\""};
    static const char *const names[] = {"meta_info", "metamap_phrases", "id",
                                        "label",     "sent2",           "answer"};
    for (size_t n = 0; n < sizeof names / sizeof names[0]; n++)
        for (size_t v = 0; v < sizeof values / sizeof values[0]; v++) {
            struct str s = STR_INIT;
            if (!strcmp(names[n], "answer") && values[v][0] == '"')
                continue; /* a text there must be the option's */
            str_addf(&s, "\"%s\": %s, " Q ABCD "\"answer_idx\": \"C\"", names[n], values[v]);
            accepted(s.s, 2, 4);
            str_clear(&s);
            str_addf(&s, Q ABCD "\"answer_idx\": \"C\", \"%s\": %s", names[n], values[v]);
            accepted(s.s, 2, 4);
            str_free(&s);
        }
    accepted("\"x\": 1, \"x\": 2, " Q ABCD "\"answer_idx\": \"C\"", 2, 4);
}

static void depth_and_length_of_a_field_that_is_not_needed_reject_nothing(void **state)
{
    (void)state;
    struct str s = STR_INIT;
    str_adds(&s, Q ABCD "\"answer_idx\": \"C\", \"deep\": ");
    for (int i = 0; i < 100000; i++)
        str_adds(&s, i % 2 ? "[" : "{\"a\":");
    str_adds(&s, "1");
    for (int i = 100000; i-- > 0;)
        str_adds(&s, i % 2 ? "]" : "}");
    str_adds(&s, ", \"meta_info\": \"");
    for (int i = 0; i < 1 << 20; i++)
        str_addc(&s, 'x');
    str_addc(&s, '"');
    accepted(s.s, 2, 4);
    str_free(&s);
}

static void an_odd_step_is_not_known(void **state)
{
    (void)state;
    static const struct {
        const char *value, *step;
    } c[] = {{"\"step2&3\"", "step2&3"},
             {"null", ""},
             {"3", ""},
             {"\"a\\u0000b\"", ""},
             {"\"a\\nb\"", ""},
             {"\"0123456789012345678901234567890123456789012345678901234567890123\"", ""},
             {"\"012345678901234567890123456789012345678901234567890123456789012\"",
              "012345678901234567890123456789012345678901234567890123456789012"}};
    for (size_t i = 0; i < sizeof c / sizeof c[0]; i++) {
        struct err e;
        struct medqa m = {.n = 0};
        struct str s = STR_INIT;
        str_addf(&s, "{" Q ABCD "\"answer_idx\": \"C\", \"meta_info\": %s}", c[i].value);
        ok(parse(s.s, &m, &e));
        assert_string_equal(m.question[0].step, c[i].step);
        medqa_free(&m);
        str_free(&s);
    }
}

static void options_come_in_three_forms_and_any_number_from_2_to_10(void **state)
{
    (void)state;
    accepted(Q "\"options\": [\"a\", \"b\"], \"answer_idx\": \"B\"", 1, 2);
    accepted(Q "\"options\": {\"a\": \"x\", \"(B)\": \"y\", \"C.\": \"z\"}, \"answer_idx\": \"C\"",
             2, 3);
    accepted(Q "\"options\": [{\"value\": \"y\", \"key\": \"B\", \"score\": NaN}, {\"key\": \"A\", "
               "\"value\": \"x\"}], "
               "\"answer_idx\": \"B\", \"answer\": \"y\"",
             1, 2);
    accepted(Q "\"options\": {\"A\": \"x\", \"B\": \"y\", \"C\": null}, \"answer_idx\": \"B\"", 1,
             2);
    accepted(Q "\"options\": [\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\"], "
               "\"answer_idx\": \"J\"",
             9, 10);
    accepted("\"sent1\": \"S\", \"sent2\": null, \"ending0\": \"a\", \"ending1\": \"b\", "
             "\"ending2\": null, \"label\": 1",
             1, 2);
    accepted(
        "\"sent1\": \"S\", \"ending0\": \"a\", \"ending1\": \"b\", \"label\": \"1\", \"x\": NaN", 1,
        2);
    accepted("\"sent1\": \"S\", \"ending0\": \"a\", \"ending1\": \"b\", \"label\": 1.0", 1, 2);
    accepted("\"\\u0071uestion\": \"S\", \"options\": [\"a\", \"b\"], \"answer_idx\": \"A\"", 0, 2);
}

static void the_key_is_read_without_guessing(void **state)
{
    (void)state;
    static const struct {
        const char *members;
        int key; /* -1: rejected */
        const char *why;
    } c[] = {
        {"\"answer_idx\": \"b\"", 1, ""},
        {"\"answer_idx\": \" B. \"", 1, ""},
        {"\"answer_idx\": \"(B)\"", 1, ""},
        {"\"answer_idx\": \"B\", \"answer\": \" b b\\n\"", 1, ""},
        {"\"answer_idx\": \"B\", \"answer\": \"b b\\n\\\"\"", 1, ""},
        {"\"answer_idx\": \"B\", \"answer\": \"\"", 1, ""},
        {"\"answer_idx\": \"B\", \"answer\": null", 1, ""},
        {"\"answer_idx\": \"B\", \"answer\": \"B\"", 1, ""},
        {"\"answer_idx\": 1, \"answer\": \"b b\"", 1, ""},
        {"\"answer_idx\": 2, \"answer\": \"b b\"", 1, ""},
        {"\"answer_idx\": \"2\", \"answer\": \"b b\"", 1, ""},
        {"\"answer\": \"b b \"", 1, ""},
        {"\"answer\": \"D.\"", 3, ""},
        {"\"answer_idx\": null, \"answer\": \"b b\"", 1, ""},
        {"\"answer_idx\": \"E\"", -1, "answer_idx is 'E', expected A to D"},
        {"\"answer_idx\": \"BC\"", -1, "answer_idx is 'BC', expected a letter"},
        {"\"answer_idx\": 1", -1,
         "whether it counts from 0 or from 1 is not known; write a letter"},
        {"\"answer_idx\": 3, \"answer\": \"b b\"", -1,
         "answer_idx is 3, but the answer is option B"},
        {"\"answer_idx\": true", -1, "'answer_idx' is a boolean"},
        {"\"answer_idx\": 1e400, \"answer\": \"b b\"", -1, "'answer_idx': bad JSON"},
        {"\"answer_idx\": \"B\\u0000C\"", -1, "'answer_idx' holds a NUL character"},
        {"\"answer_idx\": \"B\", \"answer\": \"c\"", -1,
         "answer text 'c' is not the text of option B"},
        {"\"answer_idx\": \"B\", \"answer\": \"b  b\"", -1, "answer text 'b  b' is not the text"},
        {"\"answer_idx\": \"B\", \"answer_idx\": \"B\"", -1, "key 'answer_idx' stands twice"},
        {"\"answer\": \"nothing\"", -1, "answer text 'nothing' is the text of no option"},
        {"\"answer\": \"\"", -1, "key 'answer_idx' is missing"},
        {"\"x\": 1", -1, "key 'answer_idx' is missing"},
    };
    for (size_t i = 0; i < sizeof c / sizeof c[0]; i++) {
        struct err e;
        struct medqa m = {.n = 0};
        struct str s = STR_INIT;
        str_addf(&s, OTHER "\n{" Q ABCD "%s}", c[i].members);
        ok(parse(s.s, &m, &e));
        if (c[i].key >= 0 && (m.n != 2 || m.question[1].key != c[i].key))
            fail_msg("%s: %s", c[i].members, m.n_rejected ? m.record[1].why : "another key");
        if (c[i].key < 0 && (m.n != 1 || !strstr(m.record[1].why, c[i].why)))
            fail_msg("%s: %s", c[i].members, m.n_rejected ? m.record[1].why : "accepted");
        medqa_free(&m);
        str_free(&s);
    }
    struct err e;
    struct medqa m = {.n = 0};
    ok(parse(OTHER "\n{" Q "\"options\": [\"x\", \"x\"], \"answer\": \"x\"}\n"
                   "{" Q "\"options\": [\"B\", \"A\"], \"answer\": \"B\"}",
             &m, &e));
    assert_non_null(strstr(m.record[1].why, "answer text 'x' is the text of 2 options"));
    assert_non_null(strstr(m.record[2].why, "the letter of one option and the text of another"));
    medqa_free(&m);
}

/* A question has the same id in subsets, other orders and merged files; other contents have other
 * ids. */
static void ids_come_from_the_content(void **state)
{
    (void)state;
    struct err e;
    struct medqa a = {.n = 0}, b = {.n = 0};
    ok(parse(GOOD "\n" OTHER, &a, &e));
    ok(parse("{}\n" OTHER "\n\n" OTHER "\n" GOOD "\n", &b, &e));
    assert_int_equal(strlen(a.question[0].id), 16);
    assert_string_equal(a.question[0].id, b.question[1].id);
    assert_string_equal(a.question[1].id, b.question[0].id);
    assert_int_equal(b.n_duplicates, 1);
    assert_int_equal(b.record[2].kind, MEDQA_DUPLICATE);
    assert_int_equal(b.record[2].line, 4);
    medqa_free(&a);
    medqa_free(&b);
    static const char *const others[] = {
        "{\"question\": \"Q\", \"options\": [\"a\", \"b\"], \"answer_idx\": \"A\"}",
        "{\"question\": \"Q\", \"options\": [\"a\", \"b\"], \"answer_idx\": \"B\"}",
        "{\"question\": \"Q\", \"options\": [\"b\", \"a\"], \"answer_idx\": \"A\"}",
        "{\"question\": \"Qa\", \"options\": [\"\\u0061\", \"b\"], \"answer_idx\": \"A\"}",
        "{\"question\": \"Q\", \"options\": [\"a\", \"b\", \"c\"], \"answer_idx\": \"A\"}",
        "{\"question\": \"Q\", \"options\": [\"ab\", \"c\"], \"answer_idx\": \"A\"}",
        "{\"question\": \"Q\", \"options\": [\"a\", \"bc\"], \"answer_idx\": \"A\"}",
    };
    struct str s = STR_INIT;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        str_addf(&s, "%s\n", others[i]);
    str_addf(&s, "{\"id\": 7, \"meta_info\": \"step1\", %s\n",
             others[0] + 1); /* the same content */
    ok(parse(s.s, &a, &e));
    assert_int_equal(a.n, sizeof others / sizeof others[0]);
    assert_int_equal(a.n_duplicates, 1);
    medqa_free(&a);
    str_free(&s);
}

/* More ids than the table begins with. */
static void many_questions_and_all_of_them_twice(void **state)
{
    (void)state;
    struct err e;
    struct medqa m = {.n = 0};
    struct str s = STR_INIT;
    for (int i = 0; i < 2000; i++)
        str_addf(&s,
                 "{\"question\": \"Q%d\", \"options\": [\"a\", \"b\"], \"answer_idx\": \"A\"}\n",
                 i % 1000);
    ok(parse(s.s, &m, &e));
    assert_int_equal(m.n, 1000);
    assert_int_equal(m.n_duplicates, 1000);
    for (size_t i = 0; i < 1000; i++)
        assert_int_equal(m.record[1000 + i].question, i);
    medqa_free(&m);
    str_free(&s);
}

static void a_byte_order_mark_may_stand_wherever_a_record_begins(void **state)
{
    (void)state;
#define BOM "\xef\xbb\xbf"
    static const char *const files[] = {BOM GOOD "\n" OTHER "\n",
                                        GOOD "\n" BOM OTHER "\n",
                                        BOM GOOD "\r\n" BOM OTHER,
                                        GOOD "\r" OTHER "\r",
                                        GOOD "\n " BOM BOM " " OTHER "\n" BOM,
                                        BOM "[" GOOD "," BOM OTHER "]",
                                        BOM "[" GOOD "]\n" BOM "[" OTHER "]\n",
                                        "[" GOOD "," OTHER "][]",
                                        "\r\r[\r" GOOD ",\r" OTHER "\r]\r"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        struct err e;
        struct medqa m = {.n = 0};
        ok(parse(files[i], &m, &e));
        assert_int_equal(m.n, 2);
        assert_int_equal(m.n_records, 2);
        medqa_free(&m);
    }
    struct err e;
    struct medqa m = {.n = 0};
    ok(parse(GOOD "\r\r{}\r\n{}\n", &m, &e));
    assert_int_equal(m.record[1].line, 3);
    assert_int_equal(m.record[2].line, 4);
    medqa_free(&m);
}

static void other_encodings_are_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *name, *bom;
        int before, after; /* zeros around each byte */
    } c[] = {{"UTF-16LE", "\xff\xfe", 0, 1}, {"UTF-16LE", "", 0, 1}, {"UTF-16BE", "\xfe\xff", 1, 0},
             {"UTF-16BE", "", 1, 0},         {"UTF-32LE", "", 0, 3}, {"UTF-32BE", "", 3, 0}};
    for (size_t i = 0; i < sizeof c / sizeof c[0]; i++)
        for (size_t bytes = 1; bytes <= strlen(GOOD); bytes += strlen(GOOD) - 1) {
            struct err e;
            struct medqa m = {.n = 0};
            struct str s = STR_INIT;
            str_adds(&s, c[i].bom);
            for (size_t at = 0; at < bytes; at++) {
                str_add(&s, "\0\0\0", (size_t)c[i].before);
                str_addc(&s, GOOD[at]);
                str_add(&s, "\0\0\0", (size_t)c[i].after);
            }
            fails(medqa_parse(s.s, s.len, "x.jsonl", &m, &e), ERR_DATA, c[i].name);
            assert_non_null(strstr(e.msg, "iconv"));
            str_free(&s);
        }
    struct err e;
    struct medqa m = {.n = 0};
    fails(medqa_parse("\xff\xfe\0\0{\0\0\0", 8, "x", &m, &e), ERR_DATA, "UTF-32LE");
    fails(medqa_parse("\0\0\xfe\xff\0\0\0{", 8, "x", &m, &e), ERR_DATA, "UTF-32BE");
}

static void a_nul_never_cuts_a_text(void **state)
{
    (void)state;
    struct err e;
    struct medqa m = {.n = 0};
    static const char file[] =
        GOOD "\n"
             "{\"question\": \"Q\0?\", \"options\": [\"a\", \"b\"], \"answer_idx\": \"A\"}\n"
             "{\"question\": \"Q?\", \"options\": [\"a\0\", \"b\"], \"answer_idx\": \"A\"}\n"
             "{\"question\": \"Q?\", \"options\": [\"a\", \"b\"], \"answer_idx\": \"A\0\"}\n"
             "{\"question\": \"Q?\",\0 \"options\": [\"a\", \"b\"], \"answer_idx\": \"A\"}\n"
             "{\"question\": \"Q!\", \"options\": [\"a\", \"b\"], \"answer_idx\": \"A\", \"x\": "
             "\"\0\"}\n";
    static const char *const why[] = {"'question' holds a NUL byte", "'option A' holds a NUL byte",
                                      "'answer_idx' holds a NUL byte",
                                      "a NUL byte where a key in quotes was expected"};
    ok(medqa_parse(file, sizeof file - 1, "x", &m, &e));
    assert_int_equal(m.n_records, 6);
    assert_int_equal(m.n, 2);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(m.record[1 + i].line, 2 + i);
        if (!m.record[1 + i].why || !strstr(m.record[1 + i].why, why[i]))
            fail_msg("line %d: %s", 2 + i, m.record[1 + i].why ? m.record[1 + i].why : "accepted");
    }
    medqa_free(&m);
}

/* Files that people met: every record is accepted, except in the UTF-16 file. */
static void the_shared_cases_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t n;
    } c[] = {{"answer_ws.jsonl", 3}, {"bigint.jsonl", 2},
             {"cat_bom.jsonl", 2},   {"gz_trailing_zeros.jsonl.gz", 1},
             {"meta_null.jsonl", 2}, {"nan.jsonl", 2},
             {"ok.jsonl", 1},        {"opt_strlist.jsonl", 2},
             {"six.jsonl", 2}};
    struct err e;
    struct medqa m = {.n = 0};
    char path[1024], name[64];
    for (size_t i = 0; i < sizeof c / sizeof c[0]; i++) {
        snprintf(name, sizeof name, "../cases/eval/eval_%s", c[i].name);
        need_data(name, path);
        if (medqa_read(path, &m, &e) < 0)
            fail_msg("%s: %s", path, e.msg);
        if (m.n != c[i].n || m.n_rejected)
            fail_msg("%s: %zu accepted, %zu rejected: %s", path, m.n, m.n_rejected,
                     m.record[m.n_records - 1].why);
        medqa_free(&m);
    }
    need_data("../cases/eval/eval_utf16.jsonl", path);
    fails(medqa_read(path, &m, &e), ERR_DATA, "UTF-16");
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
    assert_string_equal(m.sha256,
                        "c3b905ccfa66152dc25afbcb2c10e86c0bdb208824f0658fcdb2c040f60a2beb");
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
    fails(medqa_single("Q", "A.1||B.2||C.3||D.4||E.5||F.6||G.7||H.8||I.9||J.10||K.11", &m, &e),
          ERR_USAGE, "more than 10 options");
    fails(medqa_single("\xff", NULL, &m, &e), ERR_USAGE, "not valid UTF-8");
}

/* Keys in doubt are named; every question is still asked. */
static void keys_in_doubt_are_named_by_their_lines(void **state)
{
    (void)state;
    struct medqa m = {.n = 0};
    struct err e;
    struct str out = STR_INIT;
    ok(parse("{\"question\": \"Q1\", \"options\": [\"x\", \"y\", \"x\"], \"answer_idx\": \"C\"}\n"
             "{\"question\": \"Q2\", \"options\": [\"x\", \"x\", \"y\"], \"answer_idx\": \"C\"}\n"
             "{\"question\": \"Q3\", \"options\": [\"x\", \"y\"], \"answer_idx\": \"A\"}\n"
             "{\"question\": \"Q3\", \"options\": [\"x\", \"y\"], \"answer_idx\": \"A\"}\n"
             "{\"question\": \"Q3\", \"options\": [\"y\", \"x\"], \"answer_idx\": \"A\"}\n"
             "{\"question\": \"Q3\", \"options\": [\"x\", \"y\"], \"answer_idx\": \"B\"}\n",
             &m, &e));
    assert_int_equal(m.n, 5);
    ok(doubts_say(&m, m.n_records, "f", 20, &out, &e));
    assert_string_equal(
        out.s, "f: 1 of 5 questions have another option with the text of the key's; the "
               "key alone counts as right:\n"
               "  line 1: key C, and A\n"
               "f: 1 of 5 questions repeat an earlier one with another key; all are asked, "
               "at most one key is right:\n"
               "  line 6: the question of line 3\n");
    str_clear(&out);
    ok(doubts_say(&m, 5, "f", 0, &out, &e)); /* the last record is not asked for */
    assert_string_equal(out.s,
                        "f: 1 of 4 questions have another option with the text of the key's; the "
                        "key alone counts as right:\n  and 1 more\n");
    str_free(&out);
    medqa_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_official_form),
        cmocka_unit_test(reads_five_options_the_hf_form_and_arrays),
        cmocka_unit_test(each_fault_is_rejected_by_line_and_the_rest_is_kept),
        cmocka_unit_test(a_line_of_a_megabyte_is_rejected_and_the_rest_is_kept),
        cmocka_unit_test(many_rejects_are_all_counted),
        cmocka_unit_test(a_field_that_is_not_needed_rejects_nothing),
        cmocka_unit_test(depth_and_length_of_a_field_that_is_not_needed_reject_nothing),
        cmocka_unit_test(an_odd_step_is_not_known),
        cmocka_unit_test(options_come_in_three_forms_and_any_number_from_2_to_10),
        cmocka_unit_test(the_key_is_read_without_guessing),
        cmocka_unit_test(ids_come_from_the_content),
        cmocka_unit_test(many_questions_and_all_of_them_twice),
        cmocka_unit_test(a_byte_order_mark_may_stand_wherever_a_record_begins),
        cmocka_unit_test(other_encodings_are_refused_by_name),
        cmocka_unit_test(a_nul_never_cuts_a_text),
        cmocka_unit_test(the_shared_cases_are_read),
        cmocka_unit_test(a_file_without_a_question_is_an_error),
        cmocka_unit_test(reads_gzip_by_content),
        cmocka_unit_test(the_official_test_file_is_read_completely),
        cmocka_unit_test(the_demo_questions_are_sound),
        cmocka_unit_test(keys_in_doubt_are_named_by_their_lines),
        cmocka_unit_test(options_of_the_command_line_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
