/* Requests of many clients while models come and go, clients leave, and the server closes. */
#include <pthread.h>
#include <time.h>

#include "client.h"
#include "log.h"
#include "rng.h"
#include "serve.h"
#include "server.h"
#include "test.h"
#include "tool_options.h"

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

struct place {
    struct config config;
    struct hub_options models;
    const char *name[2], *path[2];
    struct serve *s;
    int port;
};

/* Two models, one of which is resident and goes as soon as nobody uses it. */
static void place_open(struct place *p)
{
    struct err e;
    memset(p, 0, sizeof *p);
    ok(tool_config_init(&p->config, &e));
    ok(config_set(&p->config, "serve.port=0", &e));
    ok(config_set(&p->config, "serve.keep_alive=0", &e));
    ok(config_check(&p->config, &e));
    p->models = (struct hub_options){.name = p->name, .path = p->path, .n = 2};
    p->models.engine = serve_options();
    p->name[0] = "one";
    p->name[1] = "two";
    p->path[0] = p->path[1] = p->models.engine.model;
    ok(serve_open(&p->config, "", &p->models, &p->s, &e));
    p->port = http_port(p->s->http);
}

static void settles(struct place *p)
{
    for (int i = 0, held = 1;
         held || http_open_exchanges(p->s->http) > 0 || atomic_load(&p->s->admitted) > 0; i++) {
        struct hub_entry m[2];
        hub_entry(p->s->hub, 0, &m[0]);
        hub_entry(p->s->hub, 1, &m[1]);
        held = m[0].held + m[1].held + m[0].waiting + m[1].waiting;
        if (i == 20000)
            fail_msg("%d users of models, %d replies, %d exchanges stay", held,
                     atomic_load(&p->s->admitted), http_open_exchanges(p->s->http));
        nap();
    }
}

static void request(struct str *out, int kind, int model, int tokens)
{
    struct str body = STR_INIT;
    str_clear(out);
    str_addf(&body,
             "{\"model\": \"%s\", \"prompt\": [\"ab\", \"c\"], \"max_tokens\": %d, \"seed\": 1%s}",
             model ? "two" : "one", tokens,
             kind == 1   ? ", \"stream\": true"
             : kind == 2 ? ", \"n\": 3"
                         : "");
    str_addf(
        out,
        "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        "Content-Length: %zu\r\n\r\n%s",
        body.len, body.s);
    str_free(&body);
}

struct visitor {
    struct place *p;
    uint64_t key, n;
    int done;
};

static uint64_t roll(struct visitor *v)
{
    return rng_u64(v->key, v->n++);
}

static void *visit(void *arg)
{
    struct visitor *v = arg;
    struct str req = STR_INIT, body = STR_INIT;
    for (int i = 0; i < 40; i++) {
        bool leaves = roll(v) % 2;
        request(&req, (int)(roll(v) % 3), (int)(roll(v) % 2), 1 + (int)(roll(v) % 30));
        int fd = client_open(v->p->port);
        client_sends(fd, req.s);
        str_clear(&body);
        if (!leaves) {
            int status = client_reply(fd, &body, 60000);
            if (status != 200)
                fail_msg("status %d: %s", status, body.s);
            v->done += status == 200;
        } else if (roll(v) % 2) {
            client_recv(fd, &body, 1 + roll(v) % 400, (int)(roll(v) % 20));
        }
        if (roll(v) % 2)
            client_reset(fd);
        else
            client_close(fd);
    }
    str_free(&req);
    str_free(&body);
    return NULL;
}

enum { VISITORS = 8 };

static void clients_leave(void **state)
{
    (void)state;
    struct place p;
    struct visitor v[VISITORS];
    pthread_t id[VISITORS];
    place_open(&p);
    for (int i = 0; i < VISITORS; i++) {
        v[i] = (struct visitor){.p = &p, .key = rng_key(7, (uint64_t)i, 1)};
        assert_int_equal(pthread_create(&id[i], NULL, visit, &v[i]), 0);
    }
    int done = 0;
    for (int i = 0; i < VISITORS; i++) {
        pthread_join(id[i], NULL);
        done += v[i].done;
    }
    settles(&p);
    print_message("%d whole replies, %llu clients left\n", done,
                  (unsigned long long)atomic_load(&p.s->gone));
    assert_true(done > 50);
    serve_close(p.s);
    config_free(&p.config);
}

/* The server closes while requests wait for a model, run, and are written. */
static void server_closes(void **state)
{
    (void)state;
    for (int round = 0; round < 6; round++) {
        struct place p;
        struct str req = STR_INIT;
        int fd[40];
        place_open(&p);
        for (int i = 0; i < 40; i++) {
            request(&req, i % 3, i % 2, 200);
            fd[i] = client_open(p.port);
            client_sends(fd[i], req.s);
        }
        for (int i = 0; i < round * 8; i++)
            nap();
        if (round % 2)
            serve_drain(p.s);
        serve_close(p.s);
        for (int i = 0; i < 40; i++)
            client_close(fd[i]);
        str_free(&req);
        config_free(&p.config);
    }
}

int main(void)
{
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clients_leave),
        cmocka_unit_test(server_closes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
