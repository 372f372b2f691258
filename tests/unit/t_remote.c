/* Servers of models without a network: replies in files, waits, windows, schemas, addresses. */
#include <math.h>

#include "form.h"
#include "remote.h"
#include "retry.h"
#include "schema_fit.h"
#include "test.h"

static char *reply_file(const char *name, size_t *n)
{
    char path[512];
    snprintf(path, sizeof path, TEST_GOLDEN "/replies/%s", name);
    return test_read(path, n);
}

/* ---- replies --------------------------------------------------------------------------------- */

struct want {
    const struct form *form;
    const char *file;
    const char *text, *think, *refusal;
    enum form_end end;
    bool counted;
    int n_prompt, n_cached, n_new, n_think;
    double mean_lp; /* 1 = unknown */
    const char *model, *fingerprint;
};

static void replies_read_as_their_servers_mean_them(void **state)
{
    (void)state;
    static const struct want want[] = {
        {&form_openai, "llama_server_length.json", "Hello there, welcome", "", "", FORM_LENGTH,
         true, 32, 24, 4, 0, -1.15, "smollm2", "b0-unknown"},
        {&form_openai, "llama_server_schema.json", "{\n  \"word\": \"zqxvy\"\n}", "", "", FORM_STOP,
         true, 32, 31, 26, 0, 1, "smollm2", "b0-unknown"},
        {&form_openai, "vllm_think.json", "B", "First A, then B.", "", FORM_STOP, true, 40, 0, 12,
         0, -0.25, "org/thinker", ""},
        {&form_openai, "openai_refusal.json", "", "", "I cannot help with that.", FORM_REFUSED,
         true, 30, 16, 5, 3, 1, "hosted-2026-01-01", "fp_0123456789"},
        {&form_openai, "openai_filter.json", "", "", "", FORM_REFUSED, false, 0, 0, 0, 0, 1,
         "hosted", ""},
        {&form_ollama, "ollama_chat.json", "{\"word\": \"zqxvy\"}", "Hm.", "", FORM_STOP, true, 26,
         0, 298, 0, 1, "llama3:8b", ""},
        {&form_ollama, "ollama_length.json", "cut", "", "", FORM_LENGTH, false, 0, 0, 3, 0, 1,
         "llama3:8b", ""},
    };
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        const struct want *w = &want[i];
        struct form_reply r = FORM_REPLY_INIT;
        struct err e;
        size_t n = 0;
        char *s = reply_file(w->file, &n);
        ok(w->form->read(s, n, &r, &e));
        assert_string_equal(r.text.s, w->text);
        assert_string_equal(r.think.s, w->think);
        assert_string_equal(r.refusal.s, w->refusal);
        assert_int_equal(r.end, w->end);
        assert_int_equal(r.counted, w->counted);
        assert_int_equal(r.n_prompt, w->n_prompt);
        assert_int_equal(r.n_cached, w->n_cached);
        assert_int_equal(r.n_new, w->n_new);
        assert_int_equal(r.n_think, w->n_think);
        assert_string_equal(r.model, w->model);
        assert_string_equal(r.fingerprint, w->fingerprint);
        if (w->mean_lp > 0 ? !isnan(r.mean_lp) : !(fabs(r.mean_lp - w->mean_lp) < 0.05))
            fail_msg("%s: mean log-probability %g", w->file, r.mean_lp);
        form_reply_free(&r);
        free(s);
    }
}

static void no_other_bytes_are_a_reply(void **state)
{
    (void)state;
    static const struct {
        const struct form *form;
        const char *file, *why;
    } bad[] = {
        {&form_openai, "page.txt", "bad JSON"},
        {&form_openai, "half.txt", "bad JSON"},
        {&form_openai, "empty_choices.json", "'choices' is empty"},
        {&form_openai, "no_finish.json", "no finish_reason"},
        {&form_openai, "empty_text.json", "the reply is empty"},
        {&form_openai, "list_text.json", "'content' is an array, not a string"},
        {&form_openai, "ollama_chat.json", "'choices'"},
        {&form_openai, "llama_server_400.json", "'choices'"},
        {&form_ollama, "page.txt", "bad JSON"},
        {&form_ollama, "ollama_load.json", "done_reason is 'load'"},
        {&form_ollama, "ollama_stream.json", "not done"},
        {&form_ollama, "ollama_error.json", "'message'"},
        {&form_ollama, "llama_server_length.json", "'message'"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct form_reply r = FORM_REPLY_INIT;
        struct err e;
        size_t n = 0;
        char *s = reply_file(bad[i].file, &n);
        fails(bad[i].form->read(s, n, &r, &e), ERR_DATA, bad[i].why);
        form_reply_free(&r);
        free(s);
    }
}

/* Every beginning of a reply is an error: none is taken for the whole. */
static void a_cut_reply_is_never_whole(void **state)
{
    (void)state;
    static const char *const files[] = {"llama_server_length.json", "openai_refusal.json"};
    for (size_t i = 0; i < 2; i++) {
        size_t n = 0;
        char *s = reply_file(files[i], &n);
        while (s[n - 1] != '}')
            n--;
        for (size_t k = 0; k < n; k++) {
            struct form_reply r = FORM_REPLY_INIT;
            struct err e;
            assert_int_equal(form_openai.read(s, k, &r, &e), ERR_DATA);
            form_reply_free(&r);
        }
        free(s);
    }
}

static void messages_of_refusals_are_found(void **state)
{
    (void)state;
    static const char *const said[][2] = {
        {"{\"error\": {\"message\": \"too fast\", \"code\": 7}}", "too fast"},
        {"{\"error\": \"model not found\"}", "model not found"},
        {"{\"detail\": [{\"msg\": \"bad field\", \"loc\": []}]}", "bad field"},
        {"{\"object\": \"error\", \"message\": \"no\"}", "no"},
        {"<html>502</html>", "<html>502</html>"},
        {"{\"error\": {\"error\": {\"error\": {}}}}", "{\"error\": {\"error\": {\"error\": {}}}}"},
        {"", ""}};
    for (size_t i = 0; i < sizeof said / sizeof said[0]; i++) {
        struct str out = STR_INIT;
        form_fault(said[i][0], strlen(said[i][0]), &out);
        assert_string_equal(out.s, said[i][1]);
        str_free(&out);
    }
}

/* ---- scores ---------------------------------------------------------------------------------- */

static const char *const option[] = {" blue", " of stone"};
static const size_t option_len[] = {5, 9};
static const struct form_score score = {
    .prompt = "The sky is", .prompt_len = 10, .option = option, .option_len = option_len, .n = 2};

static int read_score(const struct form_score *c, const char *s, size_t n, double *lp, int *tokens,
                      struct err *e)
{
    struct form_reply r = FORM_REPLY_INIT;
    int rc = form_openai.read_score(c, s, n, lp, tokens, &r, e);
    form_reply_free(&r);
    return rc;
}

static void a_score_sums_the_tokens_of_the_option(void **state)
{
    (void)state;
    struct err e;
    size_t n = 0;
    double lp[2];
    int tokens[2];
    char *s = reply_file("vllm_echo.json", &n);
    ok(read_score(&score, s, n, lp, tokens, &e));
    assert_true(lp[0] == -0.5 && lp[1] == -9.75);
    assert_true(tokens[0] == 1 && tokens[1] == 2);
    /* a border of an option inside a token */
    const char *const inside[] = {"lue", " of stone"};
    const size_t inside_len[] = {3, 9};
    struct form_score other = score;
    other.option = inside;
    other.option_len = inside_len;
    fails(read_score(&other, s, n, lp, tokens, &e), ERR_DATA, "do not end as the option does");
    other.n = 1;
    fails(read_score(&other, s, n, lp, tokens, &e), ERR_DATA, "2 choices for 1 prompts");
    free(s);
    s = reply_file("mas_echo_end.json", &n); /* the new token ends the text and is not shown */
    ok(read_score(&score, s, n, lp, tokens, &e));
    assert_true(lp[0] == -0.5 && lp[1] == -9.75);
    free(s);
    s = reply_file("llama_server_echo.json", &n);
    fails(read_score(&score, s, n, lp, tokens, &e), ERR_DATA, "no log-probabilities of the prompt");
    free(s);
}

/* ---- requests -------------------------------------------------------------------------------- */

static bool body_has(const struct form *f, const struct form_server *s, const struct form_chat *c,
                     const char *text)
{
    struct str out = STR_INIT;
    f->write(s, c, &out);
    assert_false(out.failed);
    bool has = strstr(out.s, text) != NULL;
    str_free(&out);
    return has;
}

static void a_request_has_what_the_server_takes(void **state)
{
    (void)state;
    struct form_server s = {.model = "m\"1", .n_ctx = 4096, .schema = FORM_JSON_SCHEMA};
    struct form_chat c = {.system = "sys",
                          .system_len = 3,
                          .user = "a\"b",
                          .user_len = 3,
                          .schema = "{\"type\":\"object\"}",
                          .max_tokens = 50,
                          .temperature = 0.3,
                          .top_p = 1,
                          .seed = 9};
    assert_true(body_has(&form_openai, &s, &c, "\"model\": \"m\\\"1\""));
    assert_true(body_has(&form_openai, &s, &c, "{\"role\": \"user\", \"content\": \"a\\\"b\"}"));
    assert_true(body_has(&form_openai, &s, &c, "\"schema\": {\"type\":\"object\"}"));
    assert_true(body_has(&form_openai, &s, &c, "\"top_k\": -1, \"min_p\": 0"));
    assert_true(body_has(&form_openai, &s, &c, "\"max_tokens\": 50"));
    assert_false(body_has(&form_openai, &s, &c, "enable_thinking"));
    s.sampling = FORM_SAMPLING_PLAIN;
    s.completion_tokens = true;
    assert_false(body_has(&form_openai, &s, &c, "top_k"));
    assert_true(body_has(&form_openai, &s, &c, "\"max_completion_tokens\": 50"));
    s.schema = FORM_GUIDED_JSON;
    assert_true(body_has(&form_openai, &s, &c, "\"guided_json\": {\"type\":\"object\"}"));
    assert_false(body_has(&form_openai, &s, &c, "response_format"));
    s.schema = FORM_TEXT_ONLY;
    assert_true(body_has(&form_openai, &s, &c, "JSON Schema:\\n{\\\"type\\\":\\\"object\\\"}"));
    c.broken = "oops";
    c.broken_len = 4;
    c.fault = "bad JSON at column 1";
    assert_true(body_has(&form_openai, &s, &c, "{\"role\": \"assistant\", \"content\": \"oops\"}"));
    assert_true(body_has(&form_openai, &s, &c, "not valid under the schema: bad JSON at column 1"));
    s.schema = FORM_FORMAT;
    assert_true(body_has(&form_ollama, &s, &c, "\"format\": {\"type\":\"object\"}"));
    assert_true(body_has(&form_ollama, &s, &c, "\"num_ctx\": 4096, \"num_predict\": 50"));
    assert_true(body_has(&form_ollama, &s, &c, "\"truncate\": false"));
    assert_false(body_has(&form_ollama, &s, &c, "\"think\""));
    s.thinks = true;
    c.max_think = 7;
    assert_true(body_has(&form_ollama, &s, &c, "\"think\": true"));
    assert_true(body_has(&form_ollama, &s, &c, "\"num_predict\": 57"));
}

/* ---- schemas --------------------------------------------------------------------------------- */

static const char plan_schema[] =
    "{\"title\": \"t\", \"type\": \"object\", \"properties\": {"
    "\"ids\": {\"type\": \"array\", \"minItems\": 2, \"maxItems\": 2, \"uniqueItems\": true,"
    " \"items\": {\"type\": \"string\", \"enum\": [\"a\", \"b\", \"c\"]}},"
    "\"p\": {\"type\": \"number\", \"minimum\": 0, \"maximum\": 1, \"x-decimals\": 2},"
    "\"note\": {\"type\": \"string\", \"maxLength\": 3}, \"only\": {\"const\": \"x\"}},"
    "\"required\": [\"ids\", \"p\"], \"additionalProperties\": false}";

static void a_value_fits_or_the_fault_has_its_path(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"{\"ids\": [\"a\", \"b\"], \"p\": 0.25}", NULL},
        {"{\"p\": 1, \"ids\": [\"c\", \"b\"], \"note\": \"\xc3\xa4\xc3\xb6\xc3\xbc\", "
         "\"only\": \"x\"}",
         NULL},
        {"{\"ids\": [\"a\", \"b\"], \"p\": 0.125}", NULL}, /* the strategy's reader takes it */
        {"{\"ids\": [\"a\", \"a\"], \"p\": 0.25}", "$.ids[1] is the same as item 0"},
        {"{\"ids\": [\"a\"], \"p\": 0.25}", "$.ids has 1 items"},
        {"{\"ids\": [\"a\", \"d\"], \"p\": 0.25}", "$.ids[1] is not one of the 3 values"},
        {"{\"ids\": [\"a\", \"b\"], \"p\": 1.5}", "$.p is 1.5"},
        {"{\"ids\": [\"a\", \"b\"], \"p\": \"1\"}", "$.p is a string, the schema has the type"},
        {"{\"ids\": [\"a\", \"b\"]}", "$ lacks the key 'p'"},
        {"{\"ids\": [\"a\", \"b\"], \"p\": 0, \"q\": 0}", "$ has the key 'q'"},
        {"{\"ids\": [\"a\", \"b\"], \"p\": 0, \"note\": \"four\"}", "$.note has 4 characters"},
        {"{\"ids\": [\"a\", \"b\"], \"p\": 0, \"only\": \"y\"}", "$.only is not the value"},
        {"[]", "$ is an array, the schema has the type object"},
        {"Here: {}", "bad JSON"},
        {"", "bad JSON"}};
    struct schema_fit *f = NULL;
    struct err e;
    ok(schema_fit_open(plan_schema, sizeof plan_schema - 1, "plan", &f, &e));
    assert_null(strstr(schema_fit_text(f), "title"));
    assert_null(strstr(schema_fit_text(f), "x-decimals"));
    /* a range of few numbers goes to the server as a list */
    assert_non_null(strstr(schema_fit_text(f), "\"enum\":[0,0.01,0.02,"));
    assert_non_null(strstr(schema_fit_text(f), ",0.07,"));
    assert_non_null(strstr(schema_fit_text(f), "0.99,1]"));
    assert_null(strstr(schema_fit_text(f), "maximum"));
    assert_non_null(strstr(schema_fit_plain(f), "\"maximum\":1"));
    assert_null(strstr(schema_fit_plain(f), "0.07"));
    assert_non_null(strstr(schema_fit_text(f), "\"uniqueItems\":true"));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *s = cases[i][0];
        if (!cases[i][1])
            ok(schema_fit_check(f, s, strlen(s), &e));
        else
            fails(schema_fit_check(f, s, strlen(s), &e), ERR_DATA, cases[i][1]);
    }
    schema_fit_close(f);
}

static void a_keyword_that_is_not_checked_is_refused(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"{\"type\": \"object\", \"properties\": {\"a\": {\"items\": {\"oneOf\": []}}}}",
         "s.json: $.a[] has the keyword 'oneOf'"},
        {"{\"type\": \"object\", \"properties\": {\"a\": 1}}", "s.json: $.a is not an object"},
        {"{\"additionalProperties\": true}", "additionalProperties is not false"},
        {"{", "s.json: bad JSON"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct schema_fit *f = NULL;
        struct err e;
        fails(schema_fit_open(bad[i][0], strlen(bad[i][0]), "s.json", &f, &e), ERR_CONFIG,
              bad[i][1]);
        assert_null(f);
    }
}

static void json_in_one_fence_is_taken_out(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {" {}\n", "{}"},          {"```json\n{\"a\": 1}\n```", "{\"a\": 1}"},
        {"```\n[]\n```\n", "[]"}, {"Sure: ```{}```", "Sure: ```{}```"},
        {"```", "```"},           {"", ""}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *part = NULL;
        size_t n = 0;
        form_json_part(cases[i][0], strlen(cases[i][0]), &part, &n);
        assert_int_equal(n, strlen(cases[i][1]));
        assert_memory_equal(part, cases[i][1], n);
    }
}

/* ---- waits ----------------------------------------------------------------------------------- */

static void waits_double_with_jitter_and_never_undercut_the_server(void **state)
{
    (void)state;
    double least = 1e9, most = 0;
    for (uint64_t key = 0; key < 1000; key++) {
        for (int attempt = 1; attempt <= 20; attempt++) {
            double full = 0.5 * (1 << (attempt - 1 < RETRY_DOUBLINGS ? attempt - 1 : 6));
            double w = retry_wait(0.5, attempt, -1, key);
            assert_true(w >= full / 2 && w <= full);
            assert_true(retry_wait(0.5, attempt, 40, key) >= 40);
            assert_true(retry_wait(0.5, attempt, 0, key) >= w);
        }
        double first = retry_wait(1, 1, -1, key);
        least = first < least ? first : least;
        most = first > most ? first : most;
    }
    assert_true(least < 0.51 && most > 0.99);
}

static void the_window_halves_once_in_a_while_and_grows_by_one_a_round(void **state)
{
    (void)state;
    struct retry_window w;
    retry_window_open(&w, 16, 1);
    assert_int_equal(retry_window_room(&w), 16);
    retry_window_cut(&w, 0);
    retry_window_cut(&w, 500000000); /* of the same overload */
    assert_int_equal(retry_window_room(&w), 8);
    for (int i = 0; i < 8; i++)
        retry_window_grow(&w);
    assert_in_range(retry_window_room(&w), 8, 9);
    for (int i = 1; i < 10; i++)
        retry_window_cut(&w, (int64_t)i * 2000000000);
    assert_int_equal(retry_window_room(&w), 1);
    for (int i = 0; i < 1000; i++)
        retry_window_grow(&w);
    assert_int_equal(retry_window_room(&w), 16);
}

/* ---- addresses and verdicts ------------------------------------------------------------------ */

static void addresses_lose_v1_for_paths_of_the_server(void **state)
{
    (void)state;
    struct remote r = {.wire = NULL};
    struct str url = STR_INIT;
    struct err e;
    ok(remote_open(&r, "http://127.0.0.1:1/v1//", NULL, &e));
    ok(remote_url(&r, false, "/models", &url, &e));
    assert_string_equal(url.s, "http://127.0.0.1:1/v1/models");
    str_clear(&url);
    ok(remote_url(&r, true, "/version", &url, &e));
    assert_string_equal(url.s, "http://127.0.0.1:1/version");
    str_free(&url);
    remote_close(&r);
    fails(remote_open(&r, "http://u:secret@h/v1", NULL, &e), ERR_CONFIG, "a user or a password");
    assert_null(strstr(e.msg, "secret"));
    fails(remote_open(&r, "http://h/v1", "two\r\nlines", &e), ERR_CONFIG, "byte 4 of the key");
    assert_null(strstr(e.msg, "two"));
    fails(remote_open(&r, "http://h/v1", "", &e), ERR_CONFIG, "the key is empty");
    fails(remote_open(&r, "file:///etc/passwd", NULL, &e), ERR_CONFIG, "no address of http");
    remote_close(&r);
}

static void every_status_has_a_verdict(void **state)
{
    (void)state;
    static const struct {
        long status;
        const char *body;
        enum remote_verdict want;
        int code;
    } cases[] = {
        {200, "", REMOTE_GOOD, 0},
        {408, "", REMOTE_AGAIN, ERR_AGAIN},
        {429, "", REMOTE_AGAIN, ERR_AGAIN},
        {500, "", REMOTE_AGAIN, ERR_AGAIN},
        {501, "", REMOTE_STOP, ERR_AGAIN},
        {503, "", REMOTE_AGAIN, ERR_AGAIN},
        {529, "", REMOTE_AGAIN, ERR_AGAIN},
        {301, "", REMOTE_STOP, ERR_AGAIN},
        {401, "", REMOTE_STOP, ERR_AGAIN},
        {404, "", REMOTE_STOP, ERR_AGAIN},
        {204, "", REMOTE_STOP, ERR_AGAIN},
        {400, "{\"error\": \"This Maximum CONTEXT length\"}", REMOTE_CALL, ERR_DATA},
        {413, "{\"error\": \"prompt too long\"}", REMOTE_CALL, ERR_DATA},
        {400, "{\"error\": {\"message\": \"no\", \"code\": \"content_filter\"}}", REMOTE_CALL,
         ERR_DATA},
        {400, "{\"error\": \"invalid json_schema\"}", REMOTE_SCHEMA, ERR_AGAIN},
        {422, "{\"detail\": \"seed is negative\"}", REMOTE_STOP, ERR_AGAIN},
    };
    struct remote r = {.base = STR_INIT};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct wire_job j = {.end = WIRE_REPLY, .status = cases[i].status, .reply = STR_INIT};
        struct err e = {.code = 0};
        str_adds(&j.reply, cases[i].body);
        if (remote_judge(&r, &j, &e) != cases[i].want || e.code != cases[i].code)
            fail_msg("%ld %s: %d %s", cases[i].status, cases[i].body, e.code, e.msg);
        wire_job_free(&j);
    }
    static const enum wire_end ends[] = {WIRE_LATE, WIRE_BROKEN, WIRE_WRONG, WIRE_STARVED};
    static const enum remote_verdict want[] = {REMOTE_AGAIN, REMOTE_AGAIN, REMOTE_STOP,
                                               REMOTE_STOP};
    for (size_t i = 0; i < 4; i++) {
        struct wire_job j = {.end = ends[i], .reply = STR_INIT};
        struct err e;
        assert_int_equal(remote_judge(&r, &j, &e), want[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_read_as_their_servers_mean_them),
        cmocka_unit_test(no_other_bytes_are_a_reply),
        cmocka_unit_test(a_cut_reply_is_never_whole),
        cmocka_unit_test(messages_of_refusals_are_found),
        cmocka_unit_test(a_score_sums_the_tokens_of_the_option),
        cmocka_unit_test(a_request_has_what_the_server_takes),
        cmocka_unit_test(a_value_fits_or_the_fault_has_its_path),
        cmocka_unit_test(a_keyword_that_is_not_checked_is_refused),
        cmocka_unit_test(json_in_one_fence_is_taken_out),
        cmocka_unit_test(waits_double_with_jitter_and_never_undercut_the_server),
        cmocka_unit_test(the_window_halves_once_in_a_while_and_grows_by_one_a_round),
        cmocka_unit_test(addresses_lose_v1_for_paths_of_the_server),
        cmocka_unit_test(every_status_has_a_verdict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
