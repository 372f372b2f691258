/* The watcher: a thread that sees clients leave, keeps the limits of time and sends the beats. Then
 * the opening and closing of a server. */
#include "http_state.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "clock.h"
#include "mem.h"

#define TICK_MS 250     /* the watcher's, for limits of seconds */
#define TICK_MOST 65536 /* exchanges it looks at; connections are fewer */
#define CLOSE_MS 500    /* http_close: for replies that are on their way */

/* ---- the watcher ----------------------------------------------------------------------------- */

/* A hold of the exchange with that number; NULL = it is over. */
static struct http *http_find(struct http_server *s, uint64_t id)
{
    struct http *h;
    pthread_mutex_lock(&s->lock);
    for (h = s->bucket[id % BUCKETS]; h && h->id != id; h = h->chain)
        ;
    if (h)
        h->holders++;
    pthread_mutex_unlock(&s->lock);
    return h;
}

static void http_hung_up(struct http_server *s, uint64_t id)
{
    struct http *h = http_find(s, id);
    if (!h)
        return;
    pthread_mutex_lock(&h->lock);
    http_leave(h);
    pthread_mutex_unlock(&h->lock);
    http_drop(h);
}

/* Limits of time, and beats. */
static void http_tick_one(struct http *h, int64_t now)
{
    pthread_mutex_lock(&h->lock);
    if (h->conn && !h->queued && (h->phase == READING || h->ignore_body) &&
        now - h->t_head > (int64_t)h->s->o.body_seconds * 1000000000)
        shutdown(h->fd, SHUT_RDWR);
    int64_t wait = h->quiet && h->t_text == h->t_begun ? HTTP_BEAT_FIRST_MS : HTTP_BEAT_MS;
    if (h->phase == STREAM && !h->ended && h->beat && now - h->t_text > wait * 1000000)
        http_add(h, h->beat, strlen(h->beat));
    if (h->cut && h->conn) { /* libmicrohttpd would wait for the client to read */
        shutdown(h->fd, SHUT_RDWR);
        http_leave(h);
    }
    pthread_mutex_unlock(&h->lock);
}

static void http_tick(struct http_server *s)
{
    int64_t now = clock_ns();
    pthread_mutex_lock(&s->lock);
    for (struct conn *c = s->conns; c; c = c->next)
        if (c->t_idle && now - c->t_idle > (int64_t)s->o.head_seconds * 1000000000)
            shutdown(c->fd, SHUT_RDWR);
    int n = 0;
    for (struct http *h = s->list; h && n < TICK_MOST; h = h->next) {
        h->holders++;
        s->seen[n++] = h;
    }
    pthread_mutex_unlock(&s->lock);
    for (int i = 0; i < n; i++) {
        http_tick_one(s->seen[i], now);
        http_drop(s->seen[i]);
    }
}

static void *http_watcher(void *arg)
{
    struct http_server *s = arg;
    struct epoll_event ev[64];
    int64_t next = 0;
    for (;;) {
        int n = epoll_wait(s->epoll, ev, 64, TICK_MS);
        for (int i = 0; i < n; i++) {
            if (!ev[i].data.u64) /* http_close */
                return NULL;
            http_hung_up(s, ev[i].data.u64);
        }
        if (clock_ns() >= next) {
            http_tick(s);
            next = clock_ns() + (int64_t)TICK_MS * 1000000;
        }
    }
}

/* ---- opening and closing --------------------------------------------------------------------- */

static void http_server_free(struct http_server *s)
{
    for (int i = 0; i < s->o.n_host; i++)
        mem_free(s->host ? s->host[i] : NULL);
    mem_free(s->host);
    mem_free(s->seen);
    mem_free(s->bucket);
    if (s->epoll >= 0)
        close(s->epoll);
    if (s->wake >= 0)
        close(s->wake);
    pthread_cond_destroy(&s->none);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}

static int http_copy_hosts(struct http_server *s, const struct http_options *o, struct err *e)
{
    s->host = mem_zalloc((size_t)(o->n_host ? o->n_host : 1), sizeof *s->host);
    if (!s->host)
        return NOMEM(e, 0, "host names");
    for (int i = 0; i < o->n_host; i++) {
        s->host[i] = mem_zalloc(strlen(o->host[i]) + 1, 1);
        if (!s->host[i])
            return NOMEM(e, 0, "host names");
        memcpy(s->host[i], o->host[i], strlen(o->host[i]));
    }
    return 0;
}

/* Makes the socket that listens. */
static int http_listen(struct http_server *s, int *out, struct err *e)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)s->o.port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)s->o.port)};
    bool six = inet_pton(AF_INET6, s->address, &v6.sin6_addr) == 1;
    if (!six && inet_pton(AF_INET, s->address, &v4.sin_addr) != 1)
        FAIL(e, ERR_USAGE, "address '%s' is not numeric; it takes 127.0.0.1, ::1, 0.0.0.0 ..",
             s->address);
    int one = 1,
        fd = socket(six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        FAIL(e, ERR_CREATE, "cannot make a socket: %s", strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    const struct sockaddr *at = six ? (struct sockaddr *)&v6 : (struct sockaddr *)&v4;
    socklen_t n = six ? sizeof v6 : sizeof v4;
    if (bind(fd, at, n) < 0 || listen(fd, 1024) < 0) {
        int rc = err_set(e, ERR_CREATE, "cannot listen on %s port %d: %s", s->address, s->o.port,
                         strerror(errno));
        close(fd);
        return rc;
    }
    struct sockaddr_storage got;
    socklen_t n_got = sizeof got;
    getsockname(fd, (struct sockaddr *)&got, &n_got);
    s->port = ntohs(six ? ((struct sockaddr_in6 *)&got)->sin6_port
                        : ((struct sockaddr_in *)&got)->sin_port);
    *out = fd;
    return 0;
}

/* Each connection is a descriptor. */
static void http_raise_descriptors(int connections)
{
    struct rlimit r;
    rlim_t want = (rlim_t)connections + 256;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < want) {
        r.rlim_cur = r.rlim_max < want ? r.rlim_max : want;
        setrlimit(RLIMIT_NOFILE, &r);
    }
}

static int http_start(struct http_server *s, struct err *e)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.u64 = 0};
    int fd = -1;
    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    s->wake = eventfd(0, EFD_CLOEXEC);
    s->seen = mem_zalloc(TICK_MOST, sizeof(struct http *));
    s->bucket = mem_zalloc(BUCKETS, sizeof(struct http *));
    if (!s->seen || !s->bucket)
        return NOMEM(e, TICK_MOST * sizeof(struct http *), "the table of requests");
    if (s->epoll < 0 || s->wake < 0 || epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->wake, &ev) < 0)
        FAIL(e, ERR_AGAIN, "cannot make event descriptors: %s", strerror(errno));
    TRY(http_listen(s, &fd, e));
    http_raise_descriptors(s->o.connections);
    if (!http_daemon(s, fd)) {
        close(fd);
        FAIL(e, ERR_CREATE, "cannot serve on %s port %d: %s", s->address, s->port, strerror(errno));
    }
    if (pthread_create(&s->watcher, NULL, http_watcher, s) != 0)
        FAIL(e, ERR_AGAIN, "cannot start the thread that watches connections");
    s->watching = true;
    return 0;
}

int http_open(const struct http_options *o, struct http_server **out, struct err *e)
{
    struct http_server *s = mem_zalloc(1, sizeof *s);
    if (!s)
        return NOMEM(e, sizeof *s, "server");
    s->o = *o;
    s->o.head_seconds = o->head_seconds ? o->head_seconds : HTTP_HEAD_SECONDS;
    s->o.body_seconds = o->body_seconds ? o->body_seconds : HTTP_BODY_SECONDS;
    s->o.stall_seconds = o->stall_seconds ? o->stall_seconds : HTTP_STALL_SECONDS;
    s->epoll = s->wake = -1;
    snprintf(s->address, sizeof s->address, "%s", o->address);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->none, NULL);
    int rc = http_copy_hosts(s, o, e);
    if (rc == 0)
        rc = http_start(s, e);
    if (rc < 0) {
        http_close(s);
        return rc;
    }
    *out = s;
    return 0;
}

int http_port(const struct http_server *s)
{
    return s->port;
}

int http_open_exchanges(struct http_server *s)
{
    pthread_mutex_lock(&s->lock);
    int n = s->n_open;
    pthread_mutex_unlock(&s->lock);
    return n;
}

/* Every handler has ended its exchange, and clients had CLOSE_MS to read the replies. */
static bool http_closed(struct http_server *s, int64_t since)
{
    pthread_mutex_lock(&s->lock);
    bool ended = s->n_held == 0, over = s->n_open == 0;
    pthread_mutex_unlock(&s->lock);
    return ended && (over || clock_ns() - since > (int64_t)CLOSE_MS * 1000000);
}

/* Every exchange that is running: its client counts as gone. */
static void http_leave_all(struct http_server *s)
{
    for (uint64_t id = 0;;) { /* newer ones have higher numbers; a list may change between looks */
        struct http *h = NULL;
        pthread_mutex_lock(&s->lock);
        for (struct http *x = s->list; x; x = x->next)
            if (x->id > id && (!h || x->id < h->id))
                h = x;
        if (h)
            h->holders++;
        pthread_mutex_unlock(&s->lock);
        if (!h)
            return;
        id = h->id;
        pthread_mutex_lock(&h->lock);
        http_leave(h);
        pthread_mutex_unlock(&h->lock);
        http_drop(h);
    }
}

void http_close(struct http_server *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->closing = true;
    pthread_mutex_unlock(&s->lock);
    if (s->daemon) {
        for (int64_t since = clock_ns(); !http_closed(s, since);) {
            http_leave_all(s);
            struct timespec ms = {.tv_nsec = 2000000};
            nanosleep(&ms, NULL);
        }
    }
    if (s->watching) {
        uint64_t one = 1;
        CHECK(write(s->wake, &one, sizeof one) == sizeof one);
        pthread_join(s->watcher, NULL);
    }
    if (s->daemon)
        MHD_stop_daemon(s->daemon);
    pthread_mutex_lock(&s->lock);
    while (s->n_live > 0)
        pthread_cond_wait(&s->none, &s->lock);
    pthread_mutex_unlock(&s->lock);
    http_server_free(s);
}
