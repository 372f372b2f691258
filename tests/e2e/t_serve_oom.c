/* The whole server, when the n-th allocation fails: at its start, and in requests of every kind. */
#include <time.h>

#include "client.h"
#include "log.h"
#include "oom.h"
#include "serve.h"
#include "server.h"
#include "test.h"
#include "tool_options.h"

struct place {
    struct config config;
    struct hub_options models;
    const char *name[1], *path[1];
    struct serve *s;
};

static void place_init(struct place *p)
{
    struct err e;
    memset(p, 0, sizeof *p);
    ok(tool_config_init(&p->config, &e));
    ok(config_set(&p->config, "serve.port=0", &e));
    ok(config_check(&p->config, &e));
    p->models = (struct hub_options){.name = p->name, .path = p->path, .n = 1};
    p->models.engine = serve_options();
    p->name[0] = "tiny";
    p->path[0] = p->models.engine.model;
}

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static int open_and_close(struct place *p)
{
    struct err e = {0};
    struct serve *s = NULL;
    int rc = serve_open(&p->config, "", &p->models, &s, &e);
    if (rc == 0) {
        enum serve_first f;
        while ((f = serve_first(s, &e)) == SERVE_LOADING)
            nap();
        rc = f == SERVE_FAILED ? e.code : 0;
        serve_close(s);
    }
    if (rc < 0 && !e.msg[0])
        return ERR_BUG;
    /* a thread or a socket that cannot be made for lack of memory */
    return rc == ERR_AGAIN || rc == ERR_CREATE ? ERR_NOMEM : rc;
}

static void opening(void **state)
{
    (void)state;
    struct place p;
    place_init(&p);
    long n = 1, failed = 0;
    for (;; n++) { /* the server starts without figures of energy: not every failure is one */
        oom_at(n, false);
        int rc = open_and_close(&p);
        long seen = oom_count();
        oom_at(0, false);
        if (rc != 0 && rc != ERR_NOMEM)
            fail_msg("allocation %ld: error %d", n, rc);
        failed += rc != 0;
        if (seen < n)
            break;
    }
    print_message("%ld of %ld failures ended the start\n", failed, n - 1);
    assert_true(failed > 50);
    config_free(&p.config);
}

#define POST(path, body)                                                                           \
    "POST " path " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: "             \
    "application/json\r\nTransfer-Encoding: chunked\r\n\r\n" body

/* One chunk. The size of the text is known to the compiler only. */
static void chunk(struct str *out, const char *head, const char *text)
{
    str_clear(out);
    str_addf(out, "%s%zx\r\n%s\r\n0\r\n\r\n", head, strlen(text), text);
}

static const struct {
    const char *head, *body;
} ask[] = {
    {"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", NULL},
    {"GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", NULL},
    {"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", NULL},
    {"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", NULL},
    {POST("/v1/completions", ""), "{\"prompt\": \"ab\", \"max_tokens\": 3, \"temperature\": 0}"},
    {POST("/v1/completions", ""),
     "{\"prompt\": [\"ab\", \"c\"], \"n\": 2, \"max_tokens\": 3, \"temperature\": 0, "
     "\"stop\": [\"x\"], \"echo\": true, "
     "\"logprobs\": 2}"},
    {POST("/v1/completions", ""),
     "{\"prompt\": \"ab\", \"max_tokens\": 3, \"temperature\": 0, \"stream\": true}"},
    {POST("/v1/chat/completions", ""),
     "{\"messages\": [{\"role\": \"user\", \"content\": \"ab\"}], \"max_tokens\": 3, "
     "\"temperature\": 0, "
     "\"stream\": true, \"n\": 2, \"stream_options\": {\"include_usage\": true}}"},
    {POST("/v1/chat/completions", ""), "{\"messages\": [{\"role\": \"user\", \"content\": "
                                       "\"ab\"}], \"max_tokens\": 30, \"temperature\": 0, "
                                       "\"response_format\": {\"type\": \"json_schema\", "
                                       "\"json_schema\": {\"name\": \"a\", \"schema\": "
                                       "{\"type\": \"object\", \"properties\": {\"a\": {\"type\": "
                                       "\"integer\"}}, \"required\": [\"a\"]}}}}"},
    {POST("/v1/chat/completions", ""),
     "{\"messages\": [{\"role\": \"user\", \"content\": \"ab\"}, {\"role\": \"assistant\", "
     "\"tool_calls\": [{\"id\": \"c\", \"function\": {\"name\": \"f\", \"arguments\": \"{}\"}}]}, "
     "{\"role\": \"tool\", \"tool_call_id\": \"c\", \"content\": \"x\"}], \"max_tokens\": 60, "
     "\"temperature\": 0, \"tool_choice\": \"required\", \"tools\": [{\"type\": \"function\", "
     "\"function\": {\"name\": \"f\", \"parameters\": {\"type\": \"object\", \"properties\": "
     "{\"a\": "
     "{\"$ref\": \"#/$defs/x\"}}, \"$defs\": {\"x\": {\"enum\": [1, 2]}}}}}]}"},
    {POST("/v1/completions", ""),
     "{\"prompt\": [1, 2, 3], \"echo\": true, \"max_tokens\": 3, \"temperature\": 0, \"stream\": "
     "true}"},
    {POST("/v1/responses", ""),
     "{\"input\": \"ab\", \"max_output_tokens\": 16, \"temperature\": 0, "
     "\"stream\": true}"},
    {POST("/v1/completions", ""), "{\"prompt\": 1}"},
    {POST("/api/chat", ""),
     "{\"messages\": [{\"role\": \"system\", \"content\": \"x\"}, {\"role\": \"user\", "
     "\"content\": \"ab\"}], \"options\": {\"num_predict\": 3, \"temperature\": 0}, \"logprobs\": "
     "true, \"top_logprobs\": 2}"},
    {POST("/api/generate", ""), "{\"prompt\": \"ab\", \"stream\": false, \"options\": "
                                "{\"num_predict\": 30}, \"format\": {\"type\": \"object\", "
                                "\"properties\": {\"a\": {\"type\": \"integer\"}}}}"},
    {POST("/api/chat", ""),
     "{\"messages\": [{\"role\": \"user\", \"content\": \"ab\"}, {\"role\": \"assistant\", "
     "\"tool_calls\": [{\"function\": {\"name\": \"f\", \"arguments\": {}}}]}, {\"role\": "
     "\"tool\", "
     "\"content\": \"c\"}], \"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"f\", "
     "\"parameters\": {\"type\": \"object\"}}}], \"stream\": false, \"options\": {\"num_predict\": "
     "3}}"},
    {POST("/api/generate", ""), "{\"keep_alive\": \"5m\"}"},
    {POST("/api/show", ""), "{}"},
    {POST("/tokenize", ""), "{\"prompt\": \"ab\"}"},
    {POST("/detokenize", ""), "{\"tokens\": [5, 6]}"},
    {POST("/apply-template", ""), "{\"messages\": [{\"role\": \"user\", \"content\": \"ab\"}]}"},
    {"GET /api/tags HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", NULL},
    {"GET /api/ps HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", NULL},
    {"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", NULL},
    {"GET /props HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", NULL},
    {"GET /tokenizer_info HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", NULL},
};

/* Every request with the n-th allocation failing: it gets a reply, or its connection ends. */
static void requests(void **state)
{
    (void)state;
    struct place p;
    struct err e;
    struct str req = STR_INIT, body = STR_INIT;
    place_init(&p);
    ok(serve_open(&p.config, "", &p.models, &p.s, &e));
    while (serve_first(p.s, &e) == SERVE_LOADING)
        nap();
    assert_int_equal(serve_first(p.s, &e), SERVE_READY);
    int port = http_port(p.s->http);
    for (size_t i = 0; i < sizeof ask / sizeof *ask; i++) {
        if (ask[i].body) {
            chunk(&req, ask[i].head, ask[i].body);
        } else {
            str_clear(&req);
            str_adds(&req, ask[i].head);
        }
        str_clear(&body);
        int good = client_ask(port, req.s, &body);
        size_t size = body.len;
        long n = 1, seen = 0;
        int closed = 0, refused = 0;
        for (;; n++) {
            int fd = client_open(port);
            str_clear(&body);
            oom_at(n, false);
            client_sends(fd, req.s);
            if (!client_ready(fd, 20000))
                fail_msg("request %zu, allocation %ld: no reply and no end", i, n);
            while (http_open_exchanges(p.s->http) > 0 || atomic_load(&p.s->admitted) > 0)
                nap();
            seen = oom_count();
            oom_at(0, false); /* the client needs memory, too: it reads after the end */
            int status = client_reply(fd, &body, 20000);
            client_close(fd);
            if (status == -1)
                fail_msg("request %zu, allocation %ld: the connection stays open", i, n);
            if (status != good && status != 503 && status != 500 && status != 0)
                fail_msg("request %zu, allocation %ld: status %d: %s", i, n, status, body.s);
            bool varies = strstr(req.s, "/api/") || strstr(req.s, "/metrics"); /* times */
            if (status == good && body.len != size && !strstr(body.s, "\"error\": ") && !varies) {
                fputs(body.s, stderr); /* cmocka cuts long messages */
                fail_msg("request %zu, allocation %ld: %zu bytes, expected %zu", i, n, body.len,
                         size);
            }
            closed += status == 0;
            refused += status != good && status != 0;
            if (seen < n)
                break;
        }
        print_message("request %zu: status %d; of %ld failures %d were refused, %d ended the "
                      "connection\n",
                      i, good, n - 1, refused, closed);
        assert_true(n > 2);
        str_clear(&body);
        assert_int_equal(client_ask(port, req.s, &body), good);
    }
    serve_close(p.s);
    config_free(&p.config);
    str_free(&req);
    str_free(&body);
}

int main(void)
{
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening),
        cmocka_unit_test(requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
