/* Predictions of other programs as a run: their forms, their faults, the folder, known figures. */
#include "import.h"

#include <math.h>

#include "stats.h"
#include "test.h"
#include "trace.h"

/* Three questions, one of them twice, and a rejected record. */
static const char questions[] =
    "{\"question\": \"P?\", \"options\": [\"a\", \"b\", \"c\"], \"answer_idx\": \"B\", "
    "\"meta_info\": \"s1\"}\n"
    "{\"question\": \"Q?\", \"options\": [\"a\", \"b\", \"12\"], \"answer_idx\": \"A\"}\n"
    "{\"question\": \"P?\", \"options\": [\"a\", \"b\", \"c\"], \"answer_idx\": \"B\"}\n"
    "{\"question\": \"broken\"}\n"
    "{\"question\": \"R?\", \"options\": [\"yes\", \"no\"], \"answer_idx\": \"B\"}\n";

static void data_open(struct medqa *m)
{
    struct err e;
    ok(medqa_parse(questions, strlen(questions), "q.jsonl", m, &e));
    assert_int_equal(m->n, 3);
}

static int parse(const char *s, const char *filter, const struct medqa *m, struct import *im,
                 struct err *e)
{
    return import_parse(s, strlen(s), "p", filter, m, im, e);
}

static void items_name_their_record_and_their_answer(void **state)
{
    (void)state;
    struct err e;
    struct medqa m = {.n = 0};
    struct import im;
    data_open(&m);
    ok(parse("[{\"id\": \"set-0000\", \"pred\": \"B\", \"gold\": \"B\", \"prompt_tokens\": 7, "
             "\"x\": NaN},\n"
             " {\"id\": \"set-0002\", \"pred\": \"C\", \"gold\": \"B\"},\n"
             " {\"id\": \"set-0004\", \"pred\": \" No\\n\", \"gold\": \"no\"},\n"
             " {\"id\": \"set-0001\", \"pred\": \"E\"}]",
             NULL, &m, &im, &e));
    assert_string_equal(im.form, "items");
    assert_string_equal(im.key, "checked");
    assert_int_equal(im.n_given, 3);
    assert_int_equal(im.n_repeated, 1);
    assert_int_equal(im.n_unparsed, 2);
    assert_int_equal(im.answer[0].predicted, 1);
    assert_int_equal(im.answer[0].prompt_tokens, 7);
    assert_int_equal(im.answer[1].predicted, -1);
    assert_string_equal(im.answer[1].why, "the prediction 'E' names no option");
    assert_int_equal(im.answer[2].prompt_tokens, -1);
    /* the text of an option is compared with its capitals */
    assert_string_equal(im.answer[2].why, "the prediction ' No\n' names no option");
    import_free(&im);
    ok(parse("{\"id\": 4, \"predicted\": \"no\"}\n{\"id\": 1, \"predicted\": null}", NULL, &m, &im,
             &e));
    assert_string_equal(im.key, "not given");
    assert_int_equal(im.answer[2].predicted, 1);
    assert_string_equal(im.answer[1].why, "the file has no prediction");
    assert_false(im.answer[0].given);
    import_free(&im);
    medqa_free(&m);
}

static void predictions_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    struct err e;
    struct medqa m = {.n = 0};
    struct import im = {.answer = NULL};
    data_open(&m);
    static const struct {
        const char *text, *why;
    } c[] = {
        {"[{\"id\": \"a-0\", \"pred\": \"B\", \"gold\": \"C\"}]", "p:1: the key of question "},
        {"[{\"id\": \"a-0\", \"pred\": \"B\"},\n{\"id\": \"b-1\", \"pred\": \"B\"}]",
         "p:2: id 'b-1' is no question of the data file, and does not begin with 'a-'"},
        {"[{\"id\": \"a-x\", \"pred\": \"B\"}]", "ends with no number"},
        {"[{\"id\": \"a-5\", \"pred\": \"B\"}]",
         "id 'a-5' is record 5 counted from 0, the data file has 5 records"},
        {"[{\"id\": \"a-3\", \"pred\": \"B\"}]", "which was rejected"},
        {"[{\"id\": 0, \"pred\": \"B\"}, {\"id\": 0, \"pred\": \"B\"}]",
         "a second prediction for question"},
        {"[{\"id\": 0, \"pred\": 1}]", "the prediction is the number 1: whether it counts from 0"},
        {"[{\"id\": 0, \"pred\": []}]", "'the prediction' is an array"},
        {"[{\"id\": 0, \"pred\": \"B\", \"prompt_tokens\": -1}]",
         "'prompt_tokens' is no whole number"},
        {"[{\"pred\": \"B\"}]", "the item has no id"},
        {"[7]", "where an object was expected"},
        {"[{\"id\": 0, \"pred\": \"B\"}, {\"id\": 2, \"pred\": 7}]", "p:1: item 2: the prediction"},
        {"\xff\xfei\0d\0", "p: UTF-16LE text, expected UTF-8"},
        {"id,predicted,p_A,p_B,p_C\n0,B,0.5,,0.5\n", "line 2: p_B is empty, p_C is not"},
        {"id,predicted,p_A,p_B,p_C\n0,B,0.5,0.1,0.1\n", "the sum 0.7, expected 1"},
        {"id,predicted,p_A,p_B,p_C\n0,B,0.5,0.1,1.5\n",
         "p_C is '1.5', expected a number from 0 to 1"},
        {"id,predicted,p_A,p_B\n0,B,0.5,0.5\n", "2 probabilities for a question with 3 options"},
        {"id,predicted,lp_A,lp_B,lp_C\n0,B,-1,nan,-2\n", "lp_B is 'nan'"},
        {"id,status,predicted\n0,answered,B\n0,duplicate,B\n", "line 3: a second prediction"},
        {"[]", "p: holds no predictions"},
        {"", "p: no predictions: expected JSON, or CSV"},
        {"id,other\n1,B\n", "whose first line names the columns id and predicted"},
        {"id,predicted\n0,B\n0,B\n", "p: line 3: a second prediction"},
        {"id,predicted,prompt_tokens\n0,B,x\n", "prompt_tokens is 'x'"},
    };
    for (size_t i = 0; i < sizeof c / sizeof c[0]; i++)
        fails(parse(c[i].text, NULL, &m, &im, &e), ERR_DATA, c[i].why);
    medqa_free(&m);
}

static void csv_is_read_by_its_names(void **state)
{
    (void)state;
    struct err e;
    struct medqa m = {.n = 0};
    struct import im;
    struct str s = STR_INIT;
    data_open(&m);
    str_addf(&s,
             "\xef\xbb\xbfquestion,predicted_answer,trace_id,correct_answer\r\n"
             "\"P, \"\"?\"\"\",B,%s,B\r\n,,%s,A\r\n\n,12,1,A\r\n",
             m.question[0].id, m.question[2].id);
    fails(parse(s.s, NULL, &m, &im, &e), ERR_DATA, "p: line 3: the key of question");
    str_clear(&s);
    str_addf(&s,
             "question,predicted_answer,trace_id,correct_answer\r\n"
             "\"P, \"\"?\"\"\",B,%s,B\r\n,,%s,B\r\n\n,12,1,A\r\n",
             m.question[0].id, m.question[2].id);
    ok(parse(s.s, NULL, &m, &im, &e));
    assert_string_equal(im.form, "csv");
    assert_int_equal(im.answer[0].predicted, 1);
    assert_int_equal(im.answer[1].predicted, 2);
    assert_int_equal(im.answer[2].predicted, -1);
    import_free(&im);
    str_free(&s);
    medqa_free(&m);
}

static void results_csv_of_a_run_comes_back(void **state)
{
    (void)state;
    struct err e;
    struct medqa m = {.n = 0};
    struct import im;
    struct str s = STR_INIT, lines = STR_INIT;
    data_open(&m);
    str_addf(&s,
             "trace_id,predicted_answer,correct_answer,status,lp_A,lp_B,lp_C,p_A,p_B,p_C\r\n"
             "%s,B,B,answered,-3,-0.5,-2,0.05,0.8,0.15\r\n%s,,A,not run,,,,,,\r\n"
             "%s,B,B,duplicate,,,,,,\r\n,,,rejected,,,,,,\r\n%s,A,B,answered,,,,1,0,\r\n",
             m.question[0].id, m.question[1].id, m.question[0].id, m.question[2].id);
    ok(parse(s.s, NULL, &m, &im, &e));
    assert_int_equal(im.n_given, 2);
    assert_int_equal(im.n_repeated, 1);
    assert_int_equal(im.n_unparsed, 0);
    assert_false(im.answer[1].given);
    assert_true(im.answer[0].has_p && im.answer[0].has_lp && !im.answer[2].has_lp);
    import_write(&im, &m, &lines);
    assert_non_null(strstr(lines.s, "\"p\": 0.8"));
    assert_non_null(strstr(lines.s, "\"option_lp\": [-3, -0.5, -2]"));
    assert_non_null(strstr(lines.s, "\"p\": 1, \"p_option\": [1, 0], \"cut\""));
    import_free(&im);
    str_free(&s);
    str_free(&lines);
    medqa_free(&m);
}

#define DOC_Q                                                                                      \
    "\"doc\": {\"sent1\": \"Q?\", \"ending0\": \"a\", \"ending1\": \"b\", \"ending2\": \"12\", "   \
    "\"label\": 0}"

static void samples_of_the_harness_are_read(void **state)
{
    (void)state;
    struct err e;
    struct medqa m = {.n = 0};
    struct import im;
    data_open(&m);
    ok(parse("{\"doc_id\": 77, " DOC_Q ", \"target\": \"0\", \"filter\": \"none\", \"acc\": NaN, "
             "\"filtered_resps\": [[\"-2.5\", \"False\"], [\"-1.25\", \"True\"], [\"-1.25\", "
             "\"True\"]]}\n"
             "{\"doc_id\": 4, \"doc\": {\"x\": 1}, \"target\": \"B\", \"filter\": \"none\", "
             "\"filtered_resps\": [[-1.0, false], [-0.5, true]]}\n",
             NULL, &m, &im, &e));
    assert_string_equal(im.form, "lm-eval");
    assert_string_equal(im.key, "checked");
    assert_int_equal(im.n_given, 2);
    assert_int_equal(im.answer[1].predicted, 1); /* the first of the highest */
    assert_true(im.answer[1].has_lp && im.answer[1].lp[0] == -2.5);
    assert_int_equal(im.answer[2].predicted, 1);
    import_free(&im);
    static const char two[] = "{\"doc_id\": 0, \"target\": \"B\", \"filter\": \"strict\", "
                              "\"filtered_resps\": [\"[invalid]\"]}\n"
                              "{\"doc_id\": 0, \"target\": \"B\", \"filter\": \"flexible\", "
                              "\"filtered_resps\": [\"(B)\"]}\n";
    fails(parse(two, NULL, &m, &im, &e), ERR_DATA,
          "p:2: the file has samples of the filters 'strict' and 'flexible'; name the one");
    ok(parse(two, "flexible", &m, &im, &e));
    assert_int_equal(im.answer[0].predicted, 1);
    import_free(&im);
    fails(parse(two, "none", &m, &im, &e), ERR_DATA, "no prediction of the filter none");
    fails(parse("{\"doc_id\": 1, " DOC_Q
                ", \"target\": \"1\", \"filtered_resps\": [[-1], [-2], [-3]]}",
                NULL, &m, &im, &e),
          ERR_DATA, "is A in the data file and B here");
    fails(parse("{\"doc_id\": 1, \"filtered_resps\": [[-1], [-2]]}", NULL, &m, &im, &e), ERR_DATA,
          "2 log-likelihoods for a question with 3 options");
    fails(parse("{\"doc_id\": 1, \"filtered_resps\": [[-1], [1], [-3]]}", NULL, &m, &im, &e),
          ERR_DATA, "reply 2 of 'filtered_resps' is no log-likelihood");
    fails(parse("{\"doc_id\": 1, \"doc\": {\"question\": \"Z?\", \"choices\": [\"a\", \"b\", "
                "\"c\"], \"answer\": 0},"
                " \"filtered_resps\": [[-1], [-2], [-3]]}",
                NULL, &m, &im, &e),
          ERR_DATA, "the question of this sample is not in the data file");
    fails(
        parse(
            "{\"doc_id\": 1, \"filtered_resps\": [[-1], [-2], [-3]]}\n{\"id\": 4, \"pred\": \"A\"}",
            NULL, &m, &im, &e),
        ERR_DATA, "p:2: an item in the form items after others in the form lm-eval");
    medqa_free(&m);
}

/* Makes the folder of a run. */
static void folder_of(const struct import *im, const struct medqa *m, const char *dir)
{
    struct err e;
    struct str identity = STR_INIT, about = STR_INIT, cases = STR_INIT;
    struct trace *t = NULL;
    import_identity(im, m, "na\"me", &identity);
    import_about("na\"me", "v", "p", "q", &about);
    import_write(im, m, &cases);
    struct trace_options to = {.dir = dir, .identity = identity.s, .about = about.s, .data = m};
    ok(trace_open(&to, &t, &e));
    ok(trace_import(t, &cases, &e));
    fails(trace_import(t, &cases, &e), ERR_DATA, "the question was finished before");
    ok(trace_seal(t, &e));
    trace_close(t);
    str_free(&identity);
    str_free(&about);
    str_free(&cases);
}

static void the_folder_invents_nothing(void **state)
{
    (void)state;
    struct err e;
    struct medqa m = {.n = 0};
    struct import im;
    struct trace_run run;
    struct stats_summary s;
    char dir[256];
    data_open(&m);
    ok(parse("{\"doc_id\": 0, \"filtered_resps\": [[-3], [-1], [-2]]}\n"
             "{\"doc_id\": 1, \"filtered_resps\": [[-3], [-1], [-2]]}\n",
             NULL, &m, &im, &e));
    folder_of(&im, &m, test_mkdir(dir));
    ok(trace_read(dir, &run, &e));
    assert_int_equal(run.results.n, 2);
    const struct result *r = &run.results.r[0];
    assert_true(r->imported && r->correct && r->has_lp);
    assert_true(isnan(r->seconds) && isnan(r->joules));
    assert_int_equal(r->prompt_tokens, -1);
    assert_int_equal(r->new_tokens, -1);
    assert_float_equal(r->p, exp(-1) / (exp(-1) + exp(-2) + exp(-3)), 1e-15);
    ok(stats_summarize(&run, (double)NAN, &s, &e));
    assert_int_equal(s.accuracy.k, 2); /* a duplicate counts as what it repeats */
    assert_int_equal(s.accuracy.n, 5);
    assert_int_equal(s.not_run, 1);
    assert_true(isnan(s.calls) && isnan(s.prompt_tokens) && isnan(s.new_tokens));
    assert_int_equal(s.seconds.n, 0);
    assert_true(isfinite(s.ece));
    stats_free(&s);
    trace_run_free(&run);
    test_rmdir(dir);
    import_free(&im);
    medqa_free(&m);
}

/* Two published runs on the official test file: 978 and 1,069 of 1,273 right. */
static void the_published_predictions_give_their_figures(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        size_t right;
    } c[2] = {{"medqa/llama33_70b_turbo_zero_shot_items.json", 978},
              {"medqa/mirage_gpt-4-32k_cot_items.json", 1069}};
    struct err e;
    char data[1024], path[2][1024], dir[2][256];
    struct medqa m = {.n = 0};
    struct trace_run run[2];
    struct stats_paired p;
    need_data("medqa/test_4opt.jsonl", data);
    for (int i = 0; i < 2; i++)
        need_data(c[i].file, path[i]);
    ok(medqa_read(data, &m, &e));
    for (int i = 0; i < 2; i++) {
        struct import im;
        struct stats_summary s;
        ok(import_read(path[i], NULL, &m, &im, &e));
        assert_int_equal(im.n_given, 1273);
        folder_of(&im, &m, test_mkdir(dir[i]));
        import_free(&im);
        ok(trace_read(dir[i], &run[i], &e));
        ok(stats_summarize(&run[i], (double)NAN, &s, &e));
        assert_int_equal(s.accuracy.k, c[i].right);
        assert_int_equal(s.accuracy.n, 1273);
        stats_free(&s);
    }
    ok(stats_pair(&run[0], &run[1], 1000, 42, &p, &e));
    assert_int_equal(p.n, 1273);
    if (!(fabs(p.p / 1.98948e-9 - 1) < 1e-5))
        fail_msg("McNemar p = %.9g, want 1.98948e-9", p.p);
    for (int i = 0; i < 2; i++) {
        trace_run_free(&run[i]);
        test_rmdir(dir[i]);
    }
    medqa_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_name_their_record_and_their_answer),
        cmocka_unit_test(predictions_that_do_not_fit_are_refused),
        cmocka_unit_test(csv_is_read_by_its_names),
        cmocka_unit_test(results_csv_of_a_run_comes_back),
        cmocka_unit_test(samples_of_the_harness_are_read),
        cmocka_unit_test(the_folder_invents_nothing),
        cmocka_unit_test(the_published_predictions_give_their_figures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
