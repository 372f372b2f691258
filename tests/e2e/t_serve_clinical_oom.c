/* Clinical requests of the server, when the n-th allocation fails. Each gets a reply or the end of
 * its connection. It gives its seat back, and the next request works. */
#include <time.h>

#include "client.h"
#include "clinical.h"
#include "engine_options.h"
#include "log.h"
#include "oom.h"
#include "runs.h"
#include "script.h"
#include "server.h"
#include "test.h"
#include "tool_options.h"

#define HOST " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
#define CASE "{\"question\": \"Which is it?\", \"options\": [\"Gout\", \"Sepsis\"]"

struct place {
    struct config config;
    struct hub_options models;
    const char *name[1], *path[1];
    char dir[256];
    struct serve *s;
};

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static void place_open(struct place *p)
{
    struct err e;
    char set[300];
    memset(p, 0, sizeof *p);
    snprintf(set, sizeof set, "logging.traces_dir=%s", bench_mkdir(p->dir));
    ok(tool_config_init(&p->config, &e));
    ok(config_set(&p->config, "serve.port=0", &e));
    ok(config_set(&p->config, "serve.cases=1", &e));
    ok(config_set(&p->config, "strategy=direct", &e));
    ok(config_set(&p->config, set, &e));
    ok(config_check(&p->config, &e));
    p->models = (struct hub_options){.name = p->name, .path = p->path, .n = 1};
    p->models.engine = *(const struct engine_options *)config_of(&p->config, &engine_option_set);
    p->models.engine.n_ctx = 1024;
    p->models.engine.n_seq = 4;
    p->models.engine.n_threads = 1;
    p->name[0] = "mini";
    p->path[0] = TEST_SOURCE "/configs/demo/toy_mini.gguf";
    ok(serve_open(&p->config, "", &p->models, &p->s, &e));
    while (serve_first(p->s, &e) == SERVE_LOADING)
        nap();
    assert_int_equal(serve_first(p->s, &e), SERVE_READY);
}

static void place_close(struct place *p)
{
    serve_close(p->s);
    config_free(&p->config);
    test_rmdir(p->dir);
}

static void settle(struct place *p)
{
    while (http_open_exchanges(p->s->http) > 0 || clinical_running(p->s->clinical) > 0)
        nap();
}

static void request(struct str *out, const char *method_path, const char *body)
{
    str_clear(out);
    str_addf(out, "%s" HOST, method_path);
    if (body)
        str_addf(out, "Content-Type: application/json\r\nContent-Length: %zu\r\n", strlen(body));
    str_addf(out, "\r\n%s", body ? body : "");
}

static const struct {
    const char *method_path, *body;
    const char *sign; /* in a good reply, or an error in its place */
} ask[] = {
    {"POST /run", CASE "}", "\"predicted\""},
    {"POST /run", CASE ", \"stream\": true}", "event: end"},
    {"POST /run", CASE ", \"seed\": 3, \"config\": {\"temperature\": 0.5}}", "\"predicted\""},
    {"POST /eval",
     "{\"questions\": [{\"question\": \"one?\", \"options\": {\"A\": \"a\", \"B\": \"b\"}, "
     "\"answer_idx\": \"A\"}, {\"question\": \"no options\"}]}",
     "\"running\""},
    {"GET /runs", NULL, "\"runs\": ["},
    {"GET /runs/first", NULL, "\"summary\""},
    {"GET /runs/first/cases/0", NULL, "\"calls\""},
    {"GET /runs/first/events", NULL, "event: end"},
    {"POST /runs/first/resume", NULL, "\"running\""},
    {"GET /clinic", NULL, "\"strategies\""},
};

/* A run of the name "first". */
static void make_first(struct place *p)
{
    struct str req = STR_INIT, body = STR_INIT;
    char from[300], to[300];
    request(&req, ask[3].method_path, ask[3].body);
    assert_int_equal(client_ask(http_port(p->s->http), req.s, &body), 202);
    settle(p);
    const char *id = strstr(body.s, "\"id\": \"") + 7;
    snprintf(from, sizeof from, "%s/%.*s", p->dir, (int)strcspn(id, "\""), id);
    snprintf(to, sizeof to, "%s/first", p->dir);
    assert_int_equal(rename(from, to), 0);
    str_free(&req);
    str_free(&body);
}

static void one(struct place *p, size_t i)
{
    const int port = http_port(p->s->http);
    struct str req = STR_INIT, body = STR_INIT;
    long n = 1, refused = 0, closed = 0, runs = 0;
    request(&req, ask[i].method_path, ask[i].body);
    const int good = client_ask(port, req.s, &body);
    if (good / 100 != 2 || !strstr(body.s, ask[i].sign))
        fail_msg("request %zu: status %d: %s", i, good, body.s);
    settle(p);
    const size_t size = body.len;
    const bool still = !strncmp(ask[i].method_path, "GET", 3); /* nothing in it changes */
    for (;; n += 1 + n / 40, runs++) {
        int fd = client_open(port);
        str_clear(&body);
        oom_at(n, false);
        client_sends(fd, req.s);
        if (!client_ready(fd, 20000))
            fail_msg("request %zu, allocation %ld: no reply and no end", i, n);
        settle(p);
        long seen = oom_count();
        oom_at(0, false); /* the client needs memory, too: it reads after the end */
        int status = client_reply(fd, &body, 20000);
        client_close(fd);
        /* a run's own text may be damaged by no failure: 409 would say so */
        if (status != good && status != 503 && status != 500 && status != 0)
            fail_msg("request %zu, allocation %ld: status %d: %s", i, n, status, body.s);
        if (status == good && !strstr(body.s, ask[i].sign) && !strstr(body.s, "error"))
            fail_msg("request %zu, allocation %ld: %s", i, n, body.s);
        if (status == good && strstr(body.s, "event: end") && strstr(body.s, "event: case") &&
            !strstr(body.s, "event: error") && i == 1 &&
            (!strstr(body.s, "event: answer") || !strstr(body.s, "event: call-finished")))
            fail_msg("request %zu, allocation %ld: a stream without all of its events: %s", i, n,
                     body.s);
        if (status == good && still && body.len != size && !strstr(body.s, "error"))
            fail_msg("request %zu, allocation %ld: %zu bytes, expected %zu", i, n, body.len, size);
        closed += status == 0;
        refused += status != good && status != 0;
        if (seen < n)
            break;
    }
    print_message("%s: of %ld runs with a failure %ld were refused, %ld ended the connection\n",
                  ask[i].method_path, runs, refused, closed);
    str_clear(&body);
    assert_int_equal(client_ask(port, req.s, &body), good);
    settle(p);
    str_free(&req);
    str_free(&body);
}

static void every_request(void **state)
{
    (void)state;
    struct place p;
    place_open(&p);
    make_first(&p);
    for (size_t i = 0; i < sizeof ask / sizeof ask[0]; i++)
        one(&p, i);
    place_close(&p);
}

int main(void)
{
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_request)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
