/* The transport of the server: clients that ask, wait, leave, stall and flood, many at a time. */
#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>
#include <time.h>

#include "client.h"
#include "clock.h"
#include "echo.h"
#include "rng.h"
#include "test.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: localhost\r\n\r\n"

static bool until(atomic_int *n, int want, int ms)
{
    for (int64_t end = clock_ns() + (int64_t)ms * 1000000; atomic_load(n) < want;) {
        if (clock_ns() > end)
            return false;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return true;
}

/* Nothing is open any more within 2 s. */
static void settles(struct echo *t)
{
    for (int i = 0; http_open_exchanges(t->http) > 0; i++) {
        if (i == 2000)
            fail_msg("%d exchanges stay open", http_open_exchanges(t->http));
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}

static void post(struct str *out, const char *path, size_t n, unsigned seed)
{
    str_addf(out,
             "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
             "Content-Length: %zu\r\n\r\n",
             path, n);
    for (size_t i = 0; i < n; i++)
        str_addc(out, (char)('a' + (i * 7 + seed) % 26));
}

static void numbers(struct str *out, int n)
{
    for (int i = 0; i < n; i++)
        str_addf(out, "%d;", i);
}

/* ---- one client ------------------------------------------------------------------------------ */

static void replies(void **state)
{
    (void)state;
    struct echo t;
    struct str body = STR_INIT, want = STR_INIT, req = STR_INIT;
    echo_open(&t, NULL);
    int fd = client_open(t.port); /* one connection for all */
    for (size_t n = 0; n < 300000; n = n * 3 + 1) {
        str_clear(&req);
        str_clear(&body);
        post(&req, n % 2 ? "/echo" : "/later", n, (unsigned)n);
        client_send(fd, req.s, req.len);
        assert_int_equal(client_reply(fd, &body, 10000), 200);
        assert_int_equal(body.len, n);
        assert_memory_equal(body.s, req.s + req.len - n, n);
    }
    str_clear(&body);
    client_sends(fd, GET("/stream?n=1000"));
    assert_int_equal(client_reply(fd, &body, 10000), 200);
    numbers(&want, 1000);
    assert_string_equal(body.s, want.s);
    str_clear(&body);
    client_sends(fd, GET("/big"));
    assert_int_equal(client_reply(fd, &body, 10000), 200);
    assert_int_equal(body.len, 4 << 20);
    str_clear(&body);
    client_sends(fd, GET("/refused"));
    assert_int_equal(client_reply(fd, &body, 10000), 404);
    str_clear(&body);
    client_sends(fd, "HEAD /big HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    while (client_recv(fd, &body, 16384, 5000) > 0)
        ;
    assert_non_null(strstr(body.s, "Content-Length: 4194304\r\n"));
    assert_null(strstr(body.s, "bbbb"));
    client_close(fd);
    settles(&t);
    assert_int_equal(atomic_load(&t.gone), 0);
    echo_close(&t);
    assert_int_equal(atomic_load(&t.left), 0);
    str_free(&req);
    str_free(&body);
    str_free(&want);
}

/* A refused request has a body that is longer than any buffer. The client that writes first sees
 * the reply, and may ask again on the same connection. */
static void refusal_is_seen(void **state)
{
    (void)state;
    struct echo t;
    struct str req = STR_INIT, body = STR_INIT;
    echo_open(&t, NULL);
    post(&req, "/refused", 6 << 20, 1);
    for (int i = 0; i < 3; i++) {
        int fd = client_open(t.port);
        assert_true(client_send(fd, req.s, req.len));
        str_clear(&body);
        assert_int_equal(client_reply(fd, &body, 10000), 404);
        client_sends(fd, GET("/stream?n=1"));
        str_clear(&body);
        assert_int_equal(client_reply(fd, &body, 10000), 200);
        assert_string_equal(body.s, "0;");
        client_close(fd);
    }
    str_clear(&req);
    post(&req, "/echo", HTTP_BODY_MOST, 1);
    str_clear(&body);
    assert_int_equal(client_ask(t.port, req.s, &body), 200);
    assert_int_equal(body.len, HTTP_BODY_MOST);
    str_clear(&req);
    post(&req, "/echo", HTTP_BODY_MOST + 1, 1);
    str_clear(&body);
    assert_int_equal(client_ask(t.port, req.s, &body), 413);
    assert_non_null(strstr(body.s, "8388609 bytes, the limit is 8388608"));
    settles(&t);
    echo_close(&t);
    str_free(&req);
    str_free(&body);
}

/* ---- leaving --------------------------------------------------------------------------------- */

static void leaving_is_noticed(void **state)
{
    (void)state;
    struct echo t;
    struct str in = STR_INIT;
    echo_open(&t, NULL);
    for (int i = 0; i < 30; i++) {
        int fd = client_open(t.port);
        client_sends(fd, i % 2 ? GET("/never") : GET("/flood"));
        assert_true(until(&t.taken, i + 1, 5000));
        if (i % 2 == 0)
            client_recv(fd, &in, 100, 5000);
        if (i % 3 == 0)
            client_reset(fd);
        else if (i % 3 == 1)
            client_close(fd);
        else
            shutdown(fd, SHUT_WR); /* one side only: counts as gone */
        if (!until(&t.gone, i + 1, 2000))
            fail_msg("leaving %d was not noticed", i);
        if (i % 3 == 2)
            client_close(fd);
    }
    settles(&t);
    echo_close(&t);
    str_free(&in);
}

/* A HEAD for a stream is answered by its head; the stream's end must not be waited for. */
static void head_of_a_stream(void **state)
{
    (void)state;
    struct echo t;
    struct str in = STR_INIT;
    echo_open(&t, NULL);
    int fd = client_open(t.port);
    client_sends(fd, "HEAD /flood HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_true(until(&t.gone, 1, 5000));
    assert_true(client_recv(fd, &in, 16384, 5000) > 0);
    assert_true(!strncmp(in.s, "HTTP/1.1 200", 12));
    settles(&t);
    client_close(fd);
    echo_close(&t);
    str_free(&in);
}

static void half_closed_gets_quick_replies(void **state)
{
    (void)state;
    struct echo t;
    struct str body = STR_INIT, req = STR_INIT;
    echo_open(&t, NULL);
    post(&req, "/echo", 5, 0);
    for (int i = 0; i < 50; i++) {
        int fd = client_open(t.port);
        client_send(fd, req.s, req.len);
        shutdown(fd, SHUT_WR);
        str_clear(&body);
        assert_int_equal(client_reply(fd, &body, 5000), 200);
        assert_int_equal(body.len, 5);
        client_close(fd);
    }
    settles(&t);
    echo_close(&t);
    str_free(&body);
    str_free(&req);
}

/* A client that does not read costs 8 MiB, and is then cut. */
static void unread_is_bounded(void **state)
{
    (void)state;
    struct echo t;
    echo_open(&t, NULL);
    int fd = client_open(t.port);
    client_sends(fd, GET("/flood"));
    assert_true(until(&t.gone, 1, 20000));
    assert_true(atomic_load(&t.flooded) >= HTTP_UNREAD_MOST);
    assert_true(atomic_load(&t.flooded) < HTTP_UNREAD_MOST + (64 << 20)); /* and socket buffers */
    settles(&t);
    client_close(fd);
    echo_close(&t);
}

/* ---- time ------------------------------------------------------------------------------------ */

static void ends_within(struct echo *t, const char *begin, const char *drip, int ms)
{
    struct str in = STR_INIT;
    int fd = client_open(t->port);
    int64_t start = clock_ns();
    client_sends(fd, begin);
    for (;;) {
        if (*drip)
            client_send(fd, drip, 1);
        if (client_recv(fd, &in, 16384, 50) == 0)
            break;
        if (clock_ns() - start > (int64_t)ms * 1000000)
            fail_msg("'%.20s' is still open after %d ms", begin, ms);
    }
    client_close(fd);
    str_free(&in);
}

static void limits_of_time(void **state)
{
    (void)state;
    struct echo t;
    struct http_options o = {.head_seconds = 1, .body_seconds = 1, .stall_seconds = 30};
    echo_open(&t, &o);
    ends_within(&t, "", "", 4000);
    ends_within(&t, "GET /echo HTTP/1.1\r\nX: ", "x", 4000);
    ends_within(&t,
                "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                "Content-Length: 1000\r\n\r\n",
                "x", 4000);
    ends_within(&t,
                "POST /refused HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                "Content-Length: 1000\r\n\r\n",
                "x", 4000);
    settles(&t);
    echo_close(&t);
    o = (struct http_options){.stall_seconds = 1};
    echo_open(&t, &o);
    int fd = client_open(t.port), small = 4096;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    client_sends(fd, GET("/big")); /* nothing is read */
    for (int i = 0; atomic_load(&t.over) == 0; i++) {
        assert_true(i < 6000);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    assert_int_equal(atomic_load(&t.left), 1);
    client_close(fd);
    settles(&t);
    echo_close(&t);
}

/* ---- crowds ---------------------------------------------------------------------------------- */

struct crowd {
    struct echo *t;
    unsigned seed;
    int rounds;
    bool rude;
    int done;
};

struct dice {
    uint64_t key, n;
};

static uint64_t roll(struct dice *d)
{
    return rng_u64(d->key, d->n++);
}

/* Reads a reply of the stream or a part of it. */
static void read_some(int fd, uint64_t chance)
{
    struct str in = STR_INIT;
    if (chance % 3)
        client_recv(fd, &in, 1 + chance % 5000, 200);
    str_free(&in);
}

static void crowd_one(struct crowd *c, struct dice *g)
{
    struct str req = STR_INIT, body = STR_INIT, want = STR_INIT;
    size_t n = roll(g) % 3000;
    int kind = (int)(roll(g) % 4), fd = client_open(c->t->port);
    if (kind == 0)
        post(&req, "/echo", n, c->seed);
    else if (kind == 1)
        post(&req, "/later", n, c->seed);
    else if (kind == 2)
        str_addf(&req, "GET /stream?n=%zu HTTP/1.1\r\nHost: localhost\r\n\r\n", n);
    else
        str_adds(&req, c->rude ? GET("/never") : GET("/refused"));
    bool leaves = c->rude && (kind == 3 || roll(g) % 2);
    if (!leaves) {
        client_send(fd, req.s, req.len);
        int status = client_reply(fd, &body, 30000);
        if (status != (kind == 3 ? 404 : 200))
            fail_msg("status %d for %.30s", status, req.s);
        if (kind == 2)
            numbers(&want, (int)n);
        else if (kind < 2)
            str_add(&want, req.s + req.len - n, n);
        if (kind < 3 && (want.len != body.len || memcmp(want.s, body.s, want.len) != 0))
            fail_msg("another body for %.30s", req.s);
        c->done++;
    } else {
        size_t part = roll(g) % 2 ? req.len : roll(g) % req.len;
        client_send(fd, req.s, part);
        read_some(fd, roll(g));
    }
    if (roll(g) % 2)
        client_reset(fd);
    else
        client_close(fd);
    str_free(&req);
    str_free(&body);
    str_free(&want);
}

static void *crowd_main(void *arg)
{
    struct crowd *c = arg;
    struct dice g = {.key = rng_key(c->seed, 1, 1)};
    for (int i = 0; i < c->rounds; i++)
        crowd_one(c, &g);
    return NULL;
}

static void crowd(bool rude)
{
    enum { THREADS = 12 };
    struct echo t;
    struct crowd c[THREADS];
    pthread_t id[THREADS];
    echo_open(&t, NULL);
    for (int i = 0; i < THREADS; i++) {
        c[i] = (struct crowd){.t = &t, .seed = (unsigned)i, .rounds = 60, .rude = rude};
        assert_int_equal(pthread_create(&id[i], NULL, crowd_main, &c[i]), 0);
    }
    int done = 0;
    for (int i = 0; i < THREADS; i++) {
        pthread_join(id[i], NULL);
        done += c[i].done;
    }
    settles(&t);
    print_message("%d whole replies, %d clients left, %d handlers told\n", done,
                  atomic_load(&t.left), atomic_load(&t.gone));
    assert_true(done > 100);
    assert_true(!rude || atomic_load(&t.gone) > 10);
    echo_close(&t);
}

static void crowd_of_polite(void **state)
{
    (void)state;
    crowd(false);
}

static void crowd_of_rude(void **state)
{
    (void)state;
    crowd(true);
}

/* ---- the end --------------------------------------------------------------------------------- */

/* The server closes while connections are in every state. */
static void closes_in_every_state(void **state)
{
    (void)state;
    static const char *const begun[] = {
        "",
        "GET /ec",
        "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        "Content-Length: 100\r\n\r\nhalf",
        "POST /refused HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        "Content-Length: 100\r\n\r\nhalf",
        GET("/never"),
        GET("/flood"),
        GET("/big"),
        GET("/stream?n=1000000"),
        GET("/refused")};
    enum { KINDS = sizeof begun / sizeof *begun, EACH = 20 };
    for (int wait = 0; wait < 3; wait++) {
        struct echo t;
        int fd[KINDS * EACH];
        echo_open(&t, NULL);
        for (int i = 0; i < KINDS * EACH; i++) {
            fd[i] = client_open(t.port);
            client_sends(fd[i], begun[i % KINDS]);
        }
        nanosleep(&(struct timespec){.tv_nsec = wait * 20000000}, NULL);
        int64_t start = clock_ns();
        echo_close(&t);
        assert_true(clock_ns() - start < 8 * (int64_t)1000000000);
        for (int i = 0; i < KINDS * EACH; i++)
            client_close(fd[i]);
    }
}

struct knocker {
    int port;
    atomic_bool stop;
    int asked;
};

/* Asks until the server is gone. */
static void *knock_main(void *arg)
{
    struct knocker *k = arg;
    struct str body = STR_INIT, req = STR_INIT;
    post(&req, "/later", 10, 1);
    while (!atomic_load(&k->stop)) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_in at = {.sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)k->port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        if (connect(fd, (struct sockaddr *)&at, sizeof at) == 0 &&
            client_send(fd, req.s, req.len)) {
            str_clear(&body);
            int status = client_reply(fd, &body, 5000);
            if (status != 200 && status != 503 && status != 0)
                fail_msg("status %d at the end of the server", status);
            k->asked++;
        }
        client_close(fd);
    }
    str_free(&body);
    str_free(&req);
    return NULL;
}

/* Requests arrive while the server closes. */
static void closes_under_load(void **state)
{
    (void)state;
    for (int round = 0; round < 12; round++) {
        struct echo t;
        struct knocker k[4];
        pthread_t id[4];
        echo_open(&t, NULL);
        for (int i = 0; i < 4; i++) {
            k[i] = (struct knocker){.port = t.port};
            assert_int_equal(pthread_create(&id[i], NULL, knock_main, &k[i]), 0);
        }
        nanosleep(&(struct timespec){.tv_nsec = 20000000 + round * 1000000}, NULL);
        echo_close(&t);
        for (int i = 0; i < 4; i++)
            atomic_store(&k[i].stop, true);
        for (int i = 0; i < 4; i++)
            pthread_join(id[i], NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies),
        cmocka_unit_test(refusal_is_seen),
        cmocka_unit_test(leaving_is_noticed),
        cmocka_unit_test(head_of_a_stream),
        cmocka_unit_test(half_closed_gets_quick_replies),
        cmocka_unit_test(unread_is_bounded),
        cmocka_unit_test(limits_of_time),
        cmocka_unit_test(crowd_of_polite),
        cmocka_unit_test(crowd_of_rude),
        cmocka_unit_test(closes_in_every_state),
        cmocka_unit_test(closes_under_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
