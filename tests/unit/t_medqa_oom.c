/* The readers of the agents without memory: an error, no leak, no crash. */
#include "oom.h"

#include <jansson.h>

#include "answer.h"
#include "catalog.h"
#include "import.h"
#include "medqa.h"
#include "prompt.h"
#include "records.h"
#include "result.h"
#include "test.h"

static int read_questions(void *arg)
{
    static const char text[] =
        "{\"question\": \"Q?\", \"options\": {\"A\": \"a\", \"B\": \"b\", \"C\": \"c\", \"D\": "
        "\"d\"}, "
        "\"answer_idx\": \"C\", \"meta_info\": \"step1\"}\n{}\n"
        "{\"question\": \"R?\", \"options\": [{\"key\": \"A\", \"value\": \"a\"}, {\"key\": \"B\", "
        "\"value\": \"b\"}], "
        "\"answer_idx\": 1, \"answer\": \"b\", \"x\": [[[[[[[[[{\"y\": NaN}]]]]]]]]]}\n"
        "{\"question\": \"R?\", \"options\": [\"a\", \"b\"], \"answer_idx\": \"B\"}\n"
        "{\"sent1\": \"S\", \"sent2\": \"T\", \"ending0\": \"a\", \"ending1\": \"b\", \"ending2\": "
        "\"c\", "
        "\"ending3\": \"d\", \"label\": 1}\n";
    struct medqa m = {.n = 0};
    struct err e;
    (void)arg;
    int rc = medqa_parse(text, strlen(text), "x", &m, &e);
    medqa_free(&m);
    return rc;
}

static int read_text(const char *text)
{
    struct medqa m = {.n = 0};
    struct err e;
    int rc = medqa_parse(text, strlen(text), "x_test.csv", &m, &e);
    medqa_free(&m);
    return rc;
}

static int read_csv(void *arg)
{
    (void)arg;
    return read_text("Q?,a,\"b \"\"b\",c,d,B\nR?,1,2,3,4,A\nS,1\n");
}

static int read_columns(void *arg)
{
    (void)arg;
    return read_text("{\"question\": {\"0\": \"Q\", \"1\": \"R\"}, \"opa\": {\"0\": \"a\", "
                     "\"1\": \"a\"}, \"opb\": {\"0\": \"b\", \"1\": \"b\"}, \"cop\": {\"0\": 0, "
                     "\"1\": 1}}");
}

static int read_keyed(void *arg)
{
    (void)arg;
    return read_text("{\"1\": {\"QUESTION\": \"Q\", \"CONTEXTS\": [\"C\", \"D\"], "
                     "\"final_decision\": \"no\"}}");
}

static struct medqa questions; /* of the predictions */

static int predictions(const char *text)
{
    struct import im = {.answer = NULL};
    struct err e;
    int rc = import_parse(text, strlen(text), "x", NULL, &questions, &im, &e);
    import_free(&im);
    return rc;
}

static int predictions_csv(void *arg)
{
    (void)arg;
    return predictions("id,predicted\n0,B\n1,A\n");
}

static int predictions_items(void *arg)
{
    (void)arg;
    return predictions("[{\"id\": 0, \"pred\": \"B\"}]");
}

static int predictions_samples(void *arg)
{
    (void)arg;
    return predictions("{\"doc_id\": 77, \"doc\": {\"sent1\": \"Q?\", \"ending0\": \"a\", "
                       "\"ending1\": \"b\", \"label\": 0}, \"filtered_resps\": [[-2], [-1]]}");
}

static void predictions_fail_without_memory(void **state)
{
    (void)state;
    struct err e;
    static const char two[] =
        "{\"sent1\": \"Q?\", \"ending0\": \"a\", \"ending1\": \"b\", \"label\": 0}\n"
        "{\"sent1\": \"R?\", \"ending0\": \"a\", \"ending1\": \"b\", \"label\": 0}\n";
    static int (*const readers[])(void *) = {predictions_csv, predictions_items,
                                             predictions_samples};
    ok(medqa_parse(two, strlen(two), "x", &questions, &e));
    for (size_t i = 0; i < sizeof readers / sizeof readers[0]; i++) {
        assert_true(oom_loop(readers[i], NULL, false) > 2);
        assert_true(oom_loop(readers[i], NULL, true) > 2);
    }
    medqa_free(&questions);
}

static int read_catalogue(void *arg)
{
    static const char text[] = "specialties:\n  - {id: a, name: A, kind: generalist, scope: all}\n"
                               "  - {id: b, name: B, kind: medical, scope: some}\n";
    struct catalog c = {.n = 0};
    struct err e;
    (void)arg;
    int rc = catalog_parse(text, strlen(text), "x", &c, &e);
    catalog_free(&c);
    return rc;
}

static int decision(size_t own)
{
    static const char text[] =
        "{\"final_answer\": \"A\", \"ordered_differential\": [\"x\", \"y\"], "
        "\"justification\": \"j\", \"warnings\": [\"w\"]}";
    struct answer_decision d;
    struct arena a = {.head = NULL};
    struct err e;
    int rc = answer_decision(text, strlen(text), own ? own : strlen(text), 4, &a, &d, &e);
    arena_free(&a);
    return rc;
}

static int read_decision(void *arg)
{
    (void)arg;
    return decision(0);
}

static int read_closed_decision(void *arg)
{
    (void)arg;
    return decision(70);
}

static int read_result(void *arg)
{
    static const char text[] =
        "{\"case\": \"0000-00000000\", \"n\": 0, \"calls\": 1, \"state\": \"answered\", "
        "\"n_options\": 4, "
        "\"predicted\": \"A\", \"key\": \"A\", \"correct\": true, \"answer\": \"\", \"why\": \"\", "
        "\"step\": \"\", \"p\": null, \"selected\": [\"ent\"], \"reports\": 1, \"agreement\": "
        "null, "
        "\"cut\": 0, \"closed\": 0, \"prompt_tokens\": 1, \"cached_tokens\": 0, \"new_tokens\": 1, "
        "\"seconds\": 1, \"joules\": null, "
        "\"question\": \"q\"}";
    struct results rs = {.n = 0};
    struct err e;
    (void)arg;
    int rc = result_read(&rs, text, strlen(text), &e);
    results_free(&rs);
    return rc;
}

/* Reads the copy of a data file in a run's folder. */
static int read_records(void *arg)
{
    static const char text[] = "{\"record\": 0, \"line\": 1, \"id\": \"a\", \"key\": \"B\", "
                               "\"step\": \"s\", \"question\": \"q\"}\n"
                               "{\"record\": 1, \"line\": 2, \"rejected\": \"why\"}\n"
                               "{\"record\": 2, \"line\": 3, \"same_as\": 0, \"id\": \"a\", "
                               "\"key\": null, \"step\": \"\", \"question\": \"q\"}\n";
    struct records rs = {.n = 0};
    struct err e;
    (void)arg;
    int rc = records_read(text, strlen(text), &rs, &e);
    records_free(&rs);
    return rc;
}

static int read_prompt(void *arg)
{
    static const char *const slots[] = {"question", "options", NULL};
    struct prompt_source src = {"", "direct"};
    struct prompt *p = NULL;
    struct err e;
    (void)arg;
    int rc = prompt_open(&src, "answer", NULL, 0, slots, &p, &e);
    prompt_close(p);
    return rc;
}

/* From this object, so that the linker's wrap reaches the library's allocations too. */
static void *json_malloc(size_t n)
{
    return malloc(n);
}

static void each_of_our_allocations_can_fail(void **state)
{
    (void)state;
    static int (*const readers[])(void *) = {
        read_questions,       read_csv,    read_columns, read_keyed, read_catalogue, read_decision,
        read_closed_decision, read_result, read_records, read_prompt};
    for (size_t i = 0; i < sizeof readers / sizeof readers[0]; i++) {
        assert_true(oom_loop(readers[i], NULL, false) > 0);
        assert_true(oom_loop(readers[i], NULL, true) > 0);
    }
}

/* Lack of memory must not reject a question as bad JSON. (jansson 2.14 silently drops a character
 * when its buffer for a string of more than 15 bytes cannot grow; these texts have none.) */
static void the_parsers_allocations_can_fail_too(void **state)
{
    (void)state;
    json_set_alloc_funcs(json_malloc, free);
    assert_true(oom_loop(read_questions, NULL, false) > 20);
    assert_true(oom_loop(read_questions, NULL, true) > 20);
    assert_true(oom_loop(read_csv, NULL, false) > 20);
    assert_true(oom_loop(read_columns, NULL, false) > 20);
    assert_true(oom_loop(read_keyed, NULL, false) > 10);
    assert_true(oom_loop(read_catalogue, NULL, false) > 20);
    assert_true(oom_loop(read_catalogue, NULL, true) > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_of_our_allocations_can_fail),
        cmocka_unit_test(predictions_fail_without_memory),
        cmocka_unit_test(the_parsers_allocations_can_fail_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
