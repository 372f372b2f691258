#include "echo.h"

#include <pthread.h>
#include <time.h>

#include "mem.h"
#include "test.h"

struct talk { /* an exchange */
    struct echo *t;
    struct http *h;
    struct work_job job;
    int n;
    atomic_bool gone;
    bool flood, watched;
};

static void nap(long us)
{
    struct timespec t = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
    nanosleep(&t, NULL);
}

static const char *echo_fault(struct http *h, int status, const char *message, struct str *out,
                              void *user)
{
    (void)h;
    (void)user;
    str_addf(out, "%d %s\n", status, message);
    return "text/plain";
}

static void echo_head(struct http *h, void *user)
{
    static const char *const path[] = {"/echo", "/later", "/big", "/never", "/stream", "/flood"};
    (void)user;
    for (size_t i = 0; i < sizeof path / sizeof *path; i++)
        if (!strcmp(http_path(h), path[i]))
            return;
    http_reply_text(h, 404, "text/plain", "no such path\n", 13);
}

static void echo_body(struct echo *t, struct http *h)
{
    size_t n;
    const char *s = http_body(h, &n);
    http_set_header(h, "X-Length", "yes");
    http_set_note(h, "echo");
    struct str copy = STR_INIT;
    str_add(&copy, s, n);
    atomic_fetch_add(&t->ended, 1);
    http_reply(h, 200, "text/plain", &copy);
}

static void later_run(struct work_job *j)
{
    struct talk *k = (struct talk *)((char *)j - offsetof(struct talk, job));
    struct echo *t = k->t;
    struct http *h = k->h;
    mem_free(k);
    echo_body(t, h);
}

static void talk_gone(struct http *h, void *user)
{
    struct talk *k = user;
    (void)h;
    atomic_fetch_add(&k->t->gone, 1);
    atomic_store(&k->gone, true);
}

/* /never: until the client has left. */
static void *never_main(void *arg)
{
    struct talk *k = arg;
    while (!atomic_load(&k->gone))
        nap(500);
    http_forget(k->h);
    struct str none = STR_INIT;
    str_adds(&none, "too late");
    atomic_fetch_add(&k->t->ended, 1);
    http_reply(k->h, 200, "text/plain", &none);
    mem_free(k);
    return NULL;
}

static void *stream_main(void *arg)
{
    struct talk *k = arg;
    struct str block = STR_INIT;
    http_begin(k->h, 200, "text/event-stream", ": \n\n");
    for (int i = 0; (i < k->n || k->flood) && !atomic_load(&k->gone); i++) {
        str_clear(&block);
        for (int b = 0; b < (k->flood ? 4096 : 1); b++)
            str_addf(&block, k->flood ? "%015d;" : "%d;", i);
        http_write(k->h, block.s, block.len);
        if (k->flood)
            atomic_fetch_add(&k->t->flooded, block.len);
        if (i % 16 == 0)
            nap(100);
    }
    http_forget(k->h);
    atomic_fetch_add(&k->t->ended, 1);
    http_end(k->h, false);
    str_free(&block);
    mem_free(k);
    return NULL;
}

static void talk_start(struct echo *t, struct talk *k, void *(*body)(void *))
{
    pthread_t id;
    http_watch(k->h, talk_gone, k);
    if (pthread_create(&id, NULL, body, k) != 0)
        fail_msg("no thread");
    pthread_detach(id);
    (void)t;
}

static void echo_whole(struct http *h, void *user)
{
    struct echo *t = user;
    const char *path = http_path(h), *n = http_query(h, "n");
    atomic_fetch_add(&t->taken, 1);
    if (!strcmp(path, "/echo")) {
        echo_body(t, h);
        return;
    }
    struct talk *k = mem_zalloc(1, sizeof *k);
    struct str big = STR_INIT;
    if (!k || !strcmp(path, "/big")) {
        for (int i = 0; k && i < 65536; i++)
            str_adds(&big, "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb");
        mem_free(k);
        big.failed |= !k;
        atomic_fetch_add(&t->ended, 1);
        http_reply(h, k ? 200 : 503, "text/plain", &big);
        return;
    }
    k->t = t;
    k->h = h;
    k->n = n ? atoi(n) : 0;
    k->flood = !strcmp(path, "/flood");
    k->job.run = later_run;
    if (!strcmp(path, "/later"))
        work_post(t->work, &k->job);
    else
        talk_start(t, k, strcmp(path, "/never") ? stream_main : never_main);
}

static void echo_over(struct http *h, const struct http_record *r, void *user)
{
    struct echo *t = user;
    (void)h;
    atomic_fetch_add(&t->over, 1);
    atomic_fetch_add(&t->left, !r->whole);
}

void echo_open(struct echo *t, const struct http_options *o)
{
    struct err e = {0};
    struct http_options to = o ? *o : (struct http_options){.port = 0};
    memset(t, 0, sizeof *t);
    to.address = "127.0.0.1";
    to.connections = to.connections ? to.connections : 2048;
    to.head = echo_head;
    to.whole = echo_whole;
    to.fault = echo_fault;
    to.over = echo_over;
    to.user = t;
    ok(work_open(2, &t->work, &e));
    ok(http_open(&to, &t->http, &e));
    t->port = http_port(t->http);
}

void echo_close(struct echo *t)
{
    http_close(t->http);
    work_close(t->work);
    assert_int_equal(atomic_load(&t->taken), atomic_load(&t->ended));
}
