/* Question files of the public sets: each in its own form, its container, its faults. */
#include "medqa.h"
#include "test.h"

static int as(const char *s, const char *name, const char *form, struct medqa *m, struct err *e)
{
    return medqa_parse_as(s, strlen(s), name, form, m, e);
}

static int parse(const char *s, struct medqa *m, struct err *e)
{
    return as(s, "x", NULL, m, e);
}

#define MEDMCQA(q, cop)                                                                            \
    "{\"question\": \"" q "\", \"exp\": null, \"cop\": " cop ", \"opa\": \"a\", \"opb\": \"b\", "  \
    "\"opc\": \"c\", \"opd\": \"d\", \"subject_name\": \"Anatomy\", \"topic_name\": \"X\", "       \
    "\"id\": \"e9ad821a\", \"choice_type\": \"single\"}\n"

static void medmcqa_counts_from_0_or_1_as_the_whole_file_tells(void **state)
{
    (void)state;
    struct err e;
    struct medqa m = {.n = 0};
    ok(parse(MEDMCQA("P", "1") MEDMCQA("Q", "4") MEDMCQA("R", "2"), &m, &e));
    assert_string_equal(m.form, "medmcqa");
    assert_int_equal(m.n, 3);
    assert_int_equal(m.question[0].key, 0);
    assert_int_equal(m.question[1].key, 3);
    assert_string_equal(m.question[1].option[3], "d");
    assert_string_equal(m.question[2].step, "Anatomy");
    medqa_free(&m);
    ok(parse(MEDMCQA("P", "1") MEDMCQA("Q", "3") MEDMCQA("R", "0"), &m, &e));
    assert_int_equal(m.question[0].key, 1);
    assert_int_equal(m.question[2].key, 0);
    medqa_free(&m);
    ok(parse(MEDMCQA("P", "0") MEDMCQA("Q", "-1"), &m, &e));
    assert_int_equal(m.n, 1);
    assert_non_null(strstr(m.record[1].why, "has no key, as in a test split"));
    medqa_free(&m);
    ok(parse(MEDMCQA("P", "\"b\""), &m, &e));
    assert_int_equal(m.question[0].key, 1);
    medqa_free(&m);
}

static void medmcqa_without_0_and_4_needs_its_base(void **state)
{
    (void)state;
    struct err e;
    struct medqa m = {.n = 0};
    static const char open[] = MEDMCQA("P", "1") MEDMCQA("Q", "3");
    fails(parse(open, &m, &e), ERR_DATA, "give the format medmcqa-from-0 or medmcqa-from-1");
    ok(as(open, "x", "medmcqa-from-0", &m, &e));
    assert_int_equal(m.question[1].key, 3);
    medqa_free(&m);
    ok(as(open, "x", "medmcqa-from-1", &m, &e));
    assert_int_equal(m.question[1].key, 2);
    medqa_free(&m);
    fails(as(MEDMCQA("P", "4"), "x", "medmcqa-from-0", &m, &e), ERR_DATA,
          "cop is 4, expected 0 to 3");
    fails(parse(MEDMCQA("P", "0") MEDMCQA("Q", "4"), &m, &e), ERR_DATA,
          "the file has cop 0 and cop 4");
    fails(parse(MEDMCQA("P", "null"), &m, &e), ERR_DATA, "key 'cop' is missing");
}

#define PMID(id, q, d)                                                                             \
    "  \"" id "\": {\n    \"QUESTION\": \"" q                                                      \
    "\",\n    \"CONTEXTS\": [\"First.\", \"Second.\"],\n"                                          \
    "    \"LABELS\": [\"A\", \"B\"], \"YEAR\": \"2011\", \"final_decision\": \"" d "\"}"

static void pubmedqa_is_read_by_its_ids_and_as_lines(void **state)
{
    (void)state;
    struct err e;
    struct medqa m = {.n = 0}, l = {.n = 0};
    ok(parse("{\n" PMID("21645374", "Q?", "yes") ",\n" PMID("1", "R?", "perhaps") ",\n" PMID(
                 "2", "S?", "maybe") "\n}\n",
             &m, &e));
    assert_string_equal(m.form, "pubmedqa");
    assert_int_equal(m.n_records, 3);
    assert_int_equal(m.n, 2);
    assert_string_equal(m.question[0].text, "First.\nSecond.\n\nQ?");
    assert_int_equal(m.question[0].n_options, 3);
    assert_string_equal(m.question[0].option[2], "maybe");
    assert_int_equal(m.question[0].key, 0);
    assert_int_equal(m.question[1].key, 2);
    assert_int_equal(m.record[1].line, 6);
    assert_string_equal(m.record[1].why, "final_decision is 'perhaps', expected yes, no or maybe");
    ok(parse("{\"pubid\": 21645374, \"question\": \"Q?\", \"context\": {\"contexts\": [\"First.\", "
             "\"Second.\"], \"labels\": [\"A\", \"B\"]}, \"long_answer\": \"L\", "
             "\"final_decision\": \"yes\"}",
             &l, &e));
    assert_string_equal(l.question[0].id, m.question[0].id);
    medqa_free(&m);
    medqa_free(&l);
    fails(parse("{\"question\": \"Q\", \"context\": \"all\", \"final_decision\": \"yes\"}", &m, &e),
          ERR_DATA, "the contexts are no list of texts");
    fails(parse("{\"1\": {\"QUESTION\": \"Q\", \"CONTEXTS\": [\"C\"], \"final_decision\": \"no\"}",
                &m, &e),
          ERR_DATA, "x: the object of records");
}

static void mmlu_is_read_as_rows_without_names(void **state)
{
    (void)state;
    struct err e;
    struct medqa m = {.n = 0};
    ok(as("\xef\xbb\xbfWhich one?,a,\"b, or \"\"c\"\"\",c,d,B\r\n"
          "\"Two\nlines?\",1,2,3,4,D\r\n"
          "\r\n"
          "Short?,1,2\r\n"
          "Empty?,1,,3,4,A\r\n"
          "Last?,1,2,3,4,A",
          "data/college_medicine_test.csv", NULL, &m, &e));
    assert_string_equal(m.form, "mmlu");
    assert_int_equal(m.n_records, 5);
    assert_int_equal(m.n, 3);
    assert_string_equal(m.question[0].text, "Which one?");
    assert_string_equal(m.question[0].option[1], "b, or \"c\"");
    assert_int_equal(m.question[0].key, 1);
    assert_string_equal(m.question[0].step, "college_medicine");
    assert_string_equal(m.question[1].text, "Two\nlines?");
    assert_int_equal(m.record[1].line, 2);
    assert_int_equal(m.record[2].line, 5);
    assert_non_null(strstr(m.record[2].why, "the row is no question with options"));
    assert_string_equal(m.record[3].why, "option B is empty");
    assert_int_equal(m.question[2].key, 0);
    medqa_free(&m);
    fails(as("Q?,a,b,c,d,B\n\"R?,a,b\n", "x", NULL, &m, &e), ERR_DATA,
          "x: line 2: a quotation mark is not closed");
    fails(as("Q?,a,b,c,d,B\n\"R\"?,a,b\n", "x", NULL, &m, &e), ERR_DATA,
          "x: line 2: text after the closing quotation mark of column 1");
}

static void mmlu_is_read_as_choices_and_as_columns(void **state)
{
    (void)state;
    struct err e;
    struct medqa m = {.n = 0};
    ok(parse("{\"question\": \"Q?\", \"subject\": \"anatomy\", \"choices\": [\"a\", \"b\", \"c\", "
             "\"d\"], \"answer\": 2}\n"
             "{\"question\": \"Q2?\", \"subject\": \"anatomy\", \"choices\": [\"a\", \"b\"], "
             "\"answer\": \"B\"}\n"
             "{\"question\": \"Q3?\", \"choices\": [\"a\", \"b\"], \"answer\": 2}\n"
             "{\"input\": \"Q4?\", \"A\": \"a\", \"B\": \"b\", \"C\": \"c\", \"D\": \"d\", "
             "\"target\": \"D\"}\n",
             &m, &e));
    assert_string_equal(m.form, "mmlu");
    assert_int_equal(m.n, 3);
    assert_int_equal(m.question[0].key, 2);
    assert_string_equal(m.question[0].step, "anatomy");
    assert_int_equal(m.question[1].key, 1);
    assert_string_equal(m.record[2].why, "'answer' is 2, expected 0 to 1");
    assert_int_equal(m.question[2].key, 3);
    medqa_free(&m);
}

static void medbullets_is_read_as_csv_and_as_columns(void **state)
{
    (void)state;
    struct err e;
    struct medqa m = {.n = 0}, c = {.n = 0};
    ok(parse("link,question,opa,opb,opc,opd,ope,answer_idx,answer,explanation,\n"
             "http://x,\"Q, one?\",a,b,c,d,e,E,e,because,,,\n"
             "http://x,Q two?,a,b,c,d,,C,c,,\n"
             "http://x,Q three?,a,b,c,d,,C,d,,\n"
             "http://x,Q four?,a,b,c,d,,C,c,,,more\n",
             &m, &e));
    assert_string_equal(m.form, "medbullets");
    assert_int_equal(m.n_records, 4);
    assert_int_equal(m.n, 2);
    assert_string_equal(m.question[0].text, "Q, one?");
    assert_int_equal(m.question[0].n_options, 5);
    assert_int_equal(m.question[0].key, 4);
    assert_int_equal(m.question[1].n_options, 4);
    assert_string_equal(m.record[2].why, "answer text 'd' is not the text of option C");
    assert_string_equal(m.record[3].why, "the row has more cells than the first line has names");
    ok(parse(
        "{\"link\":{\"0\":\"l\",\"1\":\"l\"},\n\"question\":{\"0\":\"Q, one?\",\"1\":\"Q two?\"},"
        "\"opa\":{\"0\":\"a\",\"1\":\"a\"},\"opb\":{\"0\":\"b\",\"1\":\"b\"},"
        "\"opc\":{\"0\":\"c\",\"1\":\"c\"},\"opd\":{\"0\":\"d\",\"1\":\"d\"},"
        "\"ope\":{\"0\":\"e\",\"1\":null},\"answer_idx\":{\"0\":\"E\",\"1\":\"C\"},"
        "\"answer\":{\"0\":\"e\",\"1\":\"c\"}}",
        &c, &e));
    assert_int_equal(c.n, 2);
    assert_string_equal(c.form, "medbullets");
    for (int i = 0; i < 2; i++)
        assert_string_equal(c.question[i].id, m.question[i].id);
    medqa_free(&m);
    medqa_free(&c);
    fails(
        parse("{\"question\":{\"0\":\"Q\",\"1\":\"R\"},\"opa\":{\"0\":\"a\",\"2\":\"b\"}}", &m, &e),
        ERR_DATA, "x: the object of columns: column 'opa' has other rows than the first column");
}

#define TEN                                                                                        \
    "{\"A\": \"a\", \"B\": \"b  b\", \"C\": \"c\", \"D\": \"d\", \"E\": \"e\", \"F\": \"f\", "     \
    "\"G\": \"g\", \"H\": \"h\", \"I\": \"i\", \"J\": \"j\"}"
#define TEN_TEXT "(A) a (B) b b (C) c (D) d (E) e (F) f (G) g (H) h (I) i (J) j"

static void medxpertqa_has_ten_options_once(void **state)
{
    (void)state;
    struct err e;
    struct medqa m = {.n = 0};
    ok(parse("{\"id\": \"Text-0\", \"question\": \"Q?\\nAnswer Choices: " TEN_TEXT
             "\", \"options\": " TEN
             ", \"label\": \"J\", \"medical_task\": \"Diagnosis\", \"body_system\": \"Skeletal\"}\n"
             "{\"question\": \"R?\", \"options\": [{\"letter\": \"A\", \"content\": \"a\"}, "
             "{\"letter\": \"B\", \"content\": \"b\"}], \"label\": [\"B\"]}\n"
             "{\"question\": \"S?\\nAnswer Choices: (A) x (B) b\", \"options\": [\"a\", \"b\"], "
             "\"label\": \"A\"}\n"
             "{\"question\": \"T?\", \"options\": [\"a\", \"b\"], \"label\": [\"A\", \"B\"]}\n"
             "{\"question\": \"U?\", \"options\": [\"a\", \"b\"], \"label\": \"A\", \"images\": "
             "[\"MM-1.jpeg\"]}\n",
             &m, &e));
    assert_string_equal(m.form, "medxpertqa");
    assert_int_equal(m.n, 2);
    assert_string_equal(m.question[0].text, "Q?");
    assert_int_equal(m.question[0].n_options, 10);
    assert_int_equal(m.question[0].key, 9);
    assert_string_equal(m.question[0].step, "Diagnosis");
    assert_int_equal(m.question[1].key, 1);
    assert_non_null(strstr(m.record[2].why, "other answer choices than 'options', at A"));
    assert_non_null(strstr(m.record[3].why, "several letters"));
    assert_non_null(strstr(m.record[4].why, "needs pictures"));
    medqa_free(&m);
}

static void forms_may_be_mixed_or_named(void **state)
{
    (void)state;
    struct err e;
    struct medqa m = {.n = 0};
    const char *about = NULL;
    static const char two[] =
        "{\"question\": \"Q?\", \"options\": [\"a\", \"b\"], \"answer_idx\": \"A\"}\n"
        "{\"question\": \"R?\", \"choices\": [\"a\", \"b\"], \"answer\": 0}\n";
    ok(parse(two, &m, &e));
    assert_string_equal(m.form, MEDQA_SEVERAL);
    assert_int_equal(m.n, 2);
    medqa_free(&m);
    ok(as(two, "x", "mmlu", &m, &e));
    assert_string_equal(m.form, "mmlu");
    assert_int_equal(m.n, 1);
    assert_int_equal(m.n_rejected, 1);
    medqa_free(&m);
    fails(as(two, "x", "medmcq", &m, &e), ERR_USAGE, "named 'medmcq'; there are medqa-hf, medmcqa");
    int n = 0;
    while (medqa_form_name(n, &about)) {
        assert_true(strlen(about) > 10);
        n++;
    }
    assert_true(n >= 7);
    assert_null(medqa_form_name(-1, &about));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(medmcqa_counts_from_0_or_1_as_the_whole_file_tells),
        cmocka_unit_test(medmcqa_without_0_and_4_needs_its_base),
        cmocka_unit_test(pubmedqa_is_read_by_its_ids_and_as_lines),
        cmocka_unit_test(mmlu_is_read_as_rows_without_names),
        cmocka_unit_test(mmlu_is_read_as_choices_and_as_columns),
        cmocka_unit_test(medbullets_is_read_as_csv_and_as_columns),
        cmocka_unit_test(medxpertqa_has_ten_options_once),
        cmocka_unit_test(forms_may_be_mixed_or_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
