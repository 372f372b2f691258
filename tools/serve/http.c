/*
 * The transport on libmicrohttpd. One lock an exchange; its state:
 *
 *   READING --> HANDED --> FULL      http_reply: one body
 *      |          +------> STREAM    http_begin: pieces until http_end
 *      +-----------------> FULL      refused by the transport or by head()
 *
 * libmicrohttpd's thread suspends a connection that has nothing to send, and http_reply, http_write
 * or http_end resume it. `parked` says that it is suspended; it changes under the lock only.
 * MHD_stop_daemon aborts the process if a connection is suspended. So http_close waits until every
 * exchange has had its end, and from then on no exchange is handed over. MHD_quiesce_daemon is not
 * used: in 0.9.75 it races with the threads of the pool, and the loser aborts the process.
 *
 * A refused request has its body read and dropped before the reply is sent. Otherwise the kernel
 * would reset the connection, and a client that writes first would not see the reply.
 *
 * A suspended connection does not notice that its client has left. The watcher, a thread of this
 * file, waits on the sockets of all exchanges that were not answered at once (epoll, EPOLLRDHUP). A
 * client that closes its side of the connection counts as gone, even if it could still read. The
 * watcher also keeps the time limits and sends the beats.
 *
 * An exchange is held by libmicrohttpd until the request is over, by the handler until it has
 * replied, and by the watcher while it looks. Locks are taken in the order exchange, server.
 */
#include "http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "clock.h"
#include "mem.h"

enum phase { READING, HANDED, FULL, STREAM };

#define HEADERS_MOST 8
#define HTTP_THREADS 2
#define TICK_MS 250                      /* the watcher's, for limits of seconds */
#define TICK_MOST 65536                  /* exchanges it looks at; connections are fewer */
#define BUCKETS 4096                     /* of exchanges by their number */
#define POOL_BYTES (2 * HTTP_HEAD_MOST)  /* libmicrohttpd's, of a connection: its head and more */
#define DROPPED_MOST ((size_t)100000000) /* bytes of a refused body that are read */
#define CLOSE_MS 500                     /* http_close: for replies that are on their way */
#define COMPACT_FROM ((size_t)64 << 10)  /* sent bytes that a buffer may keep */

static const char nul[] = "NUL"; /* http_target's mark of a target with one */

/* When memory is out, this needs none. */
static const char no_memory[] = "{\"error\": {\"message\": \"out of memory; try again later\", "
                                "\"type\": \"server_error\", \"param\": null, \"code\": null}}\n";

struct http {
    struct http_server *s;
    struct http *prev, *next; /* in s->list */
    struct http *chain;       /* in s->bucket */
    uint64_t id;
    pthread_mutex_t lock;
    int holders; /* under the lock of s */
    /* libmicrohttpd's side; conn is NULL once the request is over */
    struct MHD_Connection *conn;
    int fd;
    bool parked, queued; /* queued: libmicrohttpd has the response */
    bool ignore_body;    /* refused: what still comes is dropped */
    size_t dropped;      /* bytes of it */
    /* the request */
    struct http_head head;
    char *target;
    char method[16];
    struct str body;
    int64_t t_head;
    /* the reply */
    enum phase phase;
    int status;
    char type[64];
    struct {
        char name[32], value[480];
    } header[HEADERS_MOST];
    int n_header;
    struct str out; /* not sent yet: out.s[sent..] */
    size_t sent;
    size_t total; /* bytes of the reply's body */
    bool ended, left;
    bool cut;     /* by the transport: the client reads too slowly, or memory is out */
    bool broken;  /* by the handler: the reply ends incomplete, after what was written */
    bool late;    /* the reply came after the client had left */
    bool starved; /* no memory for the reply: no_memory in its place */
    bool watched, handed;
    char note[HTTP_NOTE_MOST];
    const char *beat;
    bool quiet;              /* nothing but beats was written */
    int64_t t_begun, t_text; /* of http_begin, of the last write */
    /* the client's leaving */
    void (*gone)(struct http *h, void *user);
    void *gone_user;
    bool calling; /* gone runs */
    pthread_cond_t called;
    void *user;
};

struct conn { /* of a connection; for its limit of time between requests */
    struct conn *prev, *next;
    int fd;
    int64_t t_idle; /* since then no complete head; 0 = an exchange runs */
};

struct http_server {
    struct http_options o;
    char address[64];
    char **host;
    struct MHD_Daemon *daemon;
    int port;
    int epoll, wake;
    struct http **seen;   /* (TICK_MOST) the watcher's */
    atomic_size_t bodies; /* bytes of all bodies */
    pthread_t watcher;
    bool watching, closing;
    pthread_mutex_t lock; /* of the lists, of n_live, of closing */
    pthread_cond_t none;
    struct http *list, **bucket; /* (BUCKETS) */
    struct conn *conns;
    int n_live; /* exchanges that still exist */
    int n_held; /* of them, those whose handler has not ended them */
    int n_open; /* of them, those that were handed over */
    uint64_t ids;
};

/* ---- an exchange's life ---------------------------------------------------------------------- */

void http_free_body(struct http *h)
{
    atomic_fetch_sub(&h->s->bodies, h->body.len);
    str_free(&h->body);
}

static void http_free(struct http *h)
{
    http_free_body(h);
    str_free(&h->out);
    head_free(&h->head);
    mem_free(h->target);
    pthread_cond_destroy(&h->called);
    pthread_mutex_destroy(&h->lock);
    mem_free(h);
}

/* Gives up one hold; none of the caller's locks is held. */
static void http_drop(struct http *h)
{
    struct http_server *s = h->s;
    pthread_mutex_lock(&s->lock);
    bool last = --h->holders == 0;
    if (last) {
        s->n_open -= h->handed;
        if (h->prev)
            h->prev->next = h->next;
        else
            s->list = h->next;
        if (h->next)
            h->next->prev = h->prev;
        struct http **p = &s->bucket[h->id % BUCKETS];
        while (*p != h)
            p = &(*p)->chain;
        *p = h->chain;
    }
    pthread_mutex_unlock(&s->lock);
    if (!last)
        return;
    http_free(h);
    pthread_mutex_lock(&s->lock); /* last: http_close frees s when the count is 0 */
    if (--s->n_live == 0)
        pthread_cond_broadcast(&s->none);
    pthread_mutex_unlock(&s->lock);
}

/* libmicrohttpd has something to do: with the lock. */
static void http_wake(struct http *h)
{
    if (h->parked && h->conn) {
        h->parked = false;
        MHD_resume_connection(h->conn);
    }
}

/* The client has left. Called with the lock, which is released for gone() and taken again. */
static void http_leave(struct http *h)
{
    if (h->left || h->ended)
        return;
    h->left = true;
    if (h->gone) {
        void (*gone)(struct http *, void *) = h->gone;
        h->gone = NULL;
        h->calling = true;
        pthread_mutex_unlock(&h->lock);
        gone(h, h->gone_user);
        pthread_mutex_lock(&h->lock);
        h->calling = false;
        pthread_cond_broadcast(&h->called);
    }
    http_wake(h);
}

static enum MHD_Result http_copy(void *cls, enum MHD_ValueKind kind, const char *name,
                                 size_t n_name, const char *value, size_t n_value)
{
    struct http *h = cls;
    head_add(&h->head, kind == MHD_HEADER_KIND ? HEAD_HEADER : HEAD_QUERY, name, n_name, value,
             n_value);
    return MHD_YES;
}

/* Copies the head: handlers on other threads read it while libmicrohttpd goes on. */
static bool http_copy_head(struct http *h, const char *url, const char *version)
{
    const union MHD_ConnectionInfo *size =
        MHD_get_connection_info(h->conn, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    MHD_get_connection_values_n(h->conn, MHD_HEADER_KIND | MHD_GET_ARGUMENT_KIND, http_copy, h);
    h->head.bytes = size ? size->header_size : 0;
    h->head.old = !strcmp(version, "HTTP/1.0");
    h->target = mem_strdup(url);
    if (!h->target || h->head.entry.failed)
        return false;
    head_target(&h->head, h->target);
    return true;
}

static struct http *http_new(struct http_server *s, struct MHD_Connection *conn, const char *url,
                             const char *method, const char *version)
{
    struct http *h = mem_zalloc(1, sizeof *h);
    if (!h)
        return NULL;
    h->s = s;
    h->conn = conn;
    h->body = h->out = (struct str)STR_INIT;
    head_init(&h->head);
    if (!http_copy_head(h, url, version)) {
        head_free(&h->head);
        mem_free(h->target);
        mem_free(h);
        return NULL;
    }
    snprintf(h->method, sizeof h->method, "%s", method);
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->called, NULL);
    h->holders = 1;
    h->fd = MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    h->t_head = clock_ns();
    const union MHD_ConnectionInfo *ci =
        MHD_get_connection_info(conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    pthread_mutex_lock(&s->lock);
    if (ci && ci->socket_context)
        ((struct conn *)ci->socket_context)->t_idle = 0;
    h->id = ++s->ids;
    h->next = s->list;
    if (h->next)
        h->next->prev = h;
    s->list = h;
    h->chain = s->bucket[h->id % BUCKETS];
    s->bucket[h->id % BUCKETS] = h;
    s->n_live++;
    pthread_mutex_unlock(&s->lock);
    return h;
}

/* ---- the request ----------------------------------------------------------------------------- */

const char *http_method(const struct http *h)
{
    return h->method;
}

const char *http_path(const struct http *h)
{
    return h->head.path;
}

const char *http_header(const struct http *h, const char *name)
{
    return head_find(&h->head, HEAD_HEADER, name);
}

const char *http_query(const struct http *h, const char *name)
{
    return head_find(&h->head, HEAD_QUERY, name);
}

const char *http_body(const struct http *h, size_t *n)
{
    *n = h->body.len;
    return h->body.s;
}

uint64_t http_id(const struct http *h)
{
    return h->id;
}

void http_set_user(struct http *h, void *user)
{
    h->user = user;
}

void *http_user(const struct http *h)
{
    return h->user;
}

/* ---- the reply, from any thread -------------------------------------------------------------- */

void http_set_header(struct http *h, const char *name, const char *value)
{
    int at = 0;
    pthread_mutex_lock(&h->lock);
    while (at < h->n_header && strcasecmp(h->header[at].name, name) != 0)
        at++;
    CHECK(at < HEADERS_MOST);
    char *v = h->header[at].value;
    snprintf(h->header[at].name, sizeof h->header[0].name, "%s", name);
    snprintf(v, sizeof h->header[0].value, "%s", value);
    for (; *v; v++) /* a value never ends its line */
        if ((unsigned char)*v < ' ' || *v == 127)
            *v = ' ';
    h->n_header += at == h->n_header;
    pthread_mutex_unlock(&h->lock);
}

static void http_ended(struct http *h)
{
    struct http_server *s = h->s;
    pthread_mutex_lock(&s->lock);
    s->n_held--;
    pthread_mutex_unlock(&s->lock);
}

/* With the lock. */
static void http_full(struct http *h, int status, const char *type, struct str *body)
{
    CHECK(h->phase == READING || h->phase == HANDED);
    h->phase = FULL;
    if (body->failed) {
        str_free(body);
        status = 503;
        type = "application/json";
        h->starved = true;
    }
    h->status = status;
    snprintf(h->type, sizeof h->type, "%s", type);
    h->late = h->left;
    if (h->late)
        str_free(body);
    h->out = *body;
    *body = (struct str)STR_INIT;
    h->ended = true;
    h->gone = NULL;
}

void http_reply(struct http *h, int status, const char *type, struct str *body)
{
    pthread_mutex_lock(&h->lock);
    bool held = h->phase == HANDED;
    http_full(h, status, type, body);
    http_wake(h);
    if (!held) { /* refused before it was handed over: the transport's own hold remains */
        pthread_mutex_unlock(&h->lock);
        return;
    }
    http_ended(h);
    pthread_mutex_unlock(&h->lock);
    http_drop(h);
}

void http_set_note(struct http *h, const char *note)
{
    pthread_mutex_lock(&h->lock);
    snprintf(h->note, sizeof h->note, "%s", note);
    pthread_mutex_unlock(&h->lock);
}

void http_reply_text(struct http *h, int status, const char *type, const char *text, size_t n)
{
    struct str body = STR_INIT;
    str_add(&body, text, n);
    http_reply(h, status, type, &body);
}

void http_begin(struct http *h, int status, const char *type, const char *beat)
{
    pthread_mutex_lock(&h->lock);
    CHECK(h->phase == HANDED);
    h->phase = STREAM;
    h->status = status;
    snprintf(h->type, sizeof h->type, "%s", type);
    h->beat = beat;
    h->quiet = true;
    h->t_begun = h->t_text = clock_ns();
    http_wake(h);
    pthread_mutex_unlock(&h->lock);
}

/* Appends bytes to the reply: with the lock. */
static void http_add(struct http *h, const void *bytes, size_t n)
{
    if (h->left || !h->conn || h->cut)
        return;
    if (h->sent == h->out.len || h->sent >= COMPACT_FROM) { /* a slow reader's buffer stays small */
        h->out.len -= h->sent;
        memmove(h->out.s, h->out.s + h->sent, h->out.len);
        h->sent = 0;
    }
    if (h->out.len - h->sent + n <= HTTP_UNREAD_MOST)
        str_add(&h->out, bytes, n);
    else
        h->cut = true; /* it reads too slowly */
    h->cut |= h->out.failed;
    h->t_text = clock_ns();
    http_wake(h);
}

void http_write(struct http *h, const void *bytes, size_t n)
{
    pthread_mutex_lock(&h->lock);
    CHECK(h->phase == STREAM && !h->ended);
    h->quiet = false;
    http_add(h, bytes, n);
    pthread_mutex_unlock(&h->lock);
}

void http_write_str(struct http *h, struct str *text)
{
    if (!text->failed) {
        http_write(h, text->s, text->len);
        str_clear(text);
        return;
    }
    str_free(text);
    pthread_mutex_lock(&h->lock);
    CHECK(h->phase == STREAM && !h->ended);
    h->cut = true;
    http_wake(h);
    pthread_mutex_unlock(&h->lock);
}

void http_end(struct http *h, bool cut)
{
    pthread_mutex_lock(&h->lock);
    CHECK(h->phase == STREAM && !h->ended);
    h->ended = true;
    h->broken = cut;
    h->gone = NULL;
    http_wake(h);
    http_ended(h);
    pthread_mutex_unlock(&h->lock);
    http_drop(h);
}

/* ---- the client's leaving -------------------------------------------------------------------- */

void http_watch(struct http *h, void (*gone)(struct http *h, void *user), void *user)
{
    pthread_mutex_lock(&h->lock);
    h->gone = gone;
    h->gone_user = user;
    if (h->left) { /* already */
        h->left = false;
        http_leave(h);
    }
    pthread_mutex_unlock(&h->lock);
}

void http_forget(struct http *h)
{
    pthread_mutex_lock(&h->lock);
    h->gone = NULL;
    while (h->calling)
        pthread_cond_wait(&h->called, &h->lock);
    pthread_mutex_unlock(&h->lock);
}

bool http_gone(const struct http *h)
{
    struct http *w = (struct http *)(uintptr_t)h; /* the lock is not part of the value */
    pthread_mutex_lock(&w->lock);
    bool left = w->left || !w->conn;
    pthread_mutex_unlock(&w->lock);
    return left;
}

/* ---- refusals -------------------------------------------------------------------------------- */

/* Replies with an error in the form of the exchange's API. */
static void http_refuse(struct http *h, int status, const char *message)
{
    struct str body = STR_INIT;
    const char *type = h->s->o.fault(h, status, message, &body, h->s->o.user);
    if (status == 503)
        http_set_header(h, "Retry-After", "2");
    http_reply(h, status, type, &body);
}

/* ---- libmicrohttpd's calls ------------------------------------------------------------------- */

static ssize_t http_pull(void *cls, uint64_t pos, char *buf, size_t max)
{
    struct http *h = cls;
    (void)pos;
    pthread_mutex_lock(&h->lock);
    ssize_t got;
    size_t left = h->out.len - h->sent;
    if (h->left || h->cut) {
        got = MHD_CONTENT_READER_END_WITH_ERROR;
    } else if (left) {
        got = (ssize_t)(left < max ? left : max);
        memcpy(buf, h->out.s + h->sent, (size_t)got);
        h->sent += (size_t)got;
        h->total += (size_t)got;
    } else if (h->ended) {
        got = h->broken ? MHD_CONTENT_READER_END_WITH_ERROR : MHD_CONTENT_READER_END_OF_STREAM;
    } else {
        got = 0;
        h->parked = true;
        MHD_suspend_connection(h->conn);
    }
    pthread_mutex_unlock(&h->lock);
    return got;
}

static void http_add_headers(struct http *h, struct MHD_Response *r)
{
    MHD_add_response_header(r, "Content-Type", h->type);
    MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
    if (strncmp(h->type, "text/html", 9) != 0)
        MHD_add_response_header(r, "Cache-Control", "no-store");
    for (int i = 0; i < h->n_header; i++)
        MHD_add_response_header(r, h->header[i].name, h->header[i].value);
}

/* Without the lock. */
static enum MHD_Result http_queue(struct http *h)
{
    struct MHD_Response *r;
    if (h->phase == FULL) {
        const char *text = h->starved ? no_memory : h->out.s;
        r = MHD_create_response_from_buffer(h->total, (char *)(uintptr_t)text,
                                            MHD_RESPMEM_PERSISTENT);
    } else {
        r = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16384, http_pull, h, NULL);
    }
    if (!r)
        return MHD_NO;
    http_add_headers(h, r);
    enum MHD_Result ok = MHD_queue_response(h->conn, (unsigned)h->status, r);
    MHD_destroy_response(r);
    return ok;
}

/* Gives libmicrohttpd the response, or suspends the connection until there is one. With the lock,
 * which is released meanwhile. */
static enum MHD_Result http_settle(struct http *h)
{
    if (h->queued)
        return MHD_YES;
    if (h->left && (h->phase != FULL || h->late))
        return MHD_NO;
    if (h->phase != FULL && h->phase != STREAM) {
        h->parked = true;
        MHD_suspend_connection(h->conn);
        return MHD_YES;
    }
    h->queued = true;
    if (h->phase == FULL) {
        h->total = h->starved ? sizeof no_memory - 1 : h->out.len;
        h->sent = h->out.len;
    }
    /* libmicrohttpd calls http_pull with the response's lock held, so none is held here. The
     * members that http_queue reads do not change any more. */
    pthread_mutex_unlock(&h->lock);
    enum MHD_Result ok = http_queue(h);
    pthread_mutex_lock(&h->lock);
    return ok;
}

/* Has the watcher look for the client's leaving. With the lock. */
static void http_start_watch(struct http *h)
{
    struct epoll_event ev = {.events = EPOLLRDHUP | EPOLLONESHOT, .data.u64 = h->id};
    h->watched = epoll_ctl(h->s->epoll, EPOLL_CTL_ADD, h->fd, &ev) == 0;
}

/* Counts the exchange as the handler's. false: the server closes. With the lock. */
static bool http_hold(struct http *h)
{
    struct http_server *s = h->s;
    pthread_mutex_lock(&s->lock);
    bool open = !s->closing;
    h->holders += open;
    s->n_held += open;
    s->n_open += open;
    h->handed = open;
    pthread_mutex_unlock(&s->lock);
    return open;
}

/* The request is complete: hands it over. */
static enum MHD_Result http_hand(struct http *h)
{
    pthread_mutex_lock(&h->lock);
    bool first = h->phase == READING, open = first && http_hold(h);
    if (open)
        h->phase = HANDED;
    pthread_mutex_unlock(&h->lock);
    if (open)
        h->s->o.whole(h, h->s->o.user);
    else if (first)
        http_refuse(h, 503, "the server is stopping");
    pthread_mutex_lock(&h->lock);
    if (open && h->phase != FULL)
        http_start_watch(h);
    enum MHD_Result ok = http_settle(h);
    pthread_mutex_unlock(&h->lock);
    return ok;
}

/* The head is complete. A refusal goes out at once if the client waits for it, or if the request
 * has no known end. Otherwise it goes out after the body. */
static enum MHD_Result http_first(struct http_server *s, struct MHD_Connection *conn,
                                  const char *url, const char *method, const char *version,
                                  void **ctx)
{
    bool with_nul = *ctx == nul;
    *ctx = NULL;
    struct http *h = http_new(s, conn, url, method, version);
    if (!h)
        return MHD_NO;
    *ctx = h;
    h->head.nul = with_nul;
    struct head_fault f = {0};
    pthread_mutex_lock(&s->lock);
    bool closing = s->closing;
    pthread_mutex_unlock(&s->lock);
    if (closing)
        http_refuse(h, 503, "the server is stopping");
    else if (!head_check(&h->head, s->host, s->o.n_host, &f))
        http_refuse(h, f.status, f.message);
    else
        s->o.head(h, s->o.user);
    pthread_mutex_lock(&h->lock);
    enum MHD_Result ok = MHD_YES;
    h->ignore_body = h->phase == FULL;
    if (h->ignore_body && (f.close || h->head.expects))
        ok = http_settle(h);
    pthread_mutex_unlock(&h->lock);
    return ok;
}

/* n more bytes of the body. */
static enum MHD_Result http_more(struct http *h, const char *data, size_t n)
{
    char message[160];
    if (!h->ignore_body && h->body.len + n > HTTP_BODY_MOST) {
        snprintf(message, sizeof message, "the body has more bytes than the limit, %zu",
                 HTTP_BODY_MOST);
        http_refuse(h, 413, message);
        h->ignore_body = true;
    } else if (!h->ignore_body && atomic_load(&h->s->bodies) + n > HTTP_BODIES_MOST) {
        http_refuse(h, 503, "the requests that run have too many bytes; try again later");
        h->ignore_body = true;
    }
    if (h->ignore_body) {
        http_free_body(h);
        h->dropped += n;
        return h->dropped > DROPPED_MOST ? MHD_NO : MHD_YES;
    }
    size_t before = h->body.len;
    str_add(&h->body, data, n);
    atomic_fetch_add(&h->s->bodies, h->body.len - before);
    if (h->body.failed) {
        http_refuse(h, 503, "out of memory; try again later");
        h->ignore_body = true;
    }
    return MHD_YES;
}

/* libmicrohttpd ends the target at its first NUL, and has put another one before the version.
 * Returns *ctx of the request's first call. */
static void *http_target(void *cls, const char *target, struct MHD_Connection *conn)
{
    (void)cls;
    (void)conn;
    return strncmp(target + strlen(target) + 1, "HTTP/", 5) != 0 ? (void *)(uintptr_t)nul : NULL;
}

static enum MHD_Result http_access(void *cls, struct MHD_Connection *conn, const char *url,
                                   const char *method, const char *version, const char *data,
                                   size_t *n_data, void **ctx)
{
    struct http *h = *ctx;
    if (!h || *ctx == nul)
        return http_first(cls, conn, url, method, version, ctx);
    if (!*n_data)
        return http_hand(h);
    size_t n = *n_data;
    *n_data = 0;
    return http_more(h, data, n);
}

/* The request is over. */
static void http_tell(struct http *h, bool whole)
{
    struct http_record r = {.ns = clock_ns() - h->t_head};
    pthread_mutex_lock(&h->lock);
    r.whole = whole && !h->cut && !h->broken && !h->left;
    r.status = h->queued ? h->status : 0;
    r.bytes = h->total;
    snprintf(r.note, sizeof r.note, "%s", h->note);
    pthread_mutex_unlock(&h->lock);
    if (h->s->o.over)
        h->s->o.over(h, &r, h->s->o.user);
}

static void http_over(void *cls, struct MHD_Connection *conn, void **ctx,
                      enum MHD_RequestTerminationCode why)
{
    struct http *h = *ctx;
    struct http_server *s = cls;
    if (!h || *ctx == nul)
        return;
    *ctx = NULL;
    http_tell(h, why == MHD_REQUEST_TERMINATED_COMPLETED_OK);
    const union MHD_ConnectionInfo *ci =
        MHD_get_connection_info(conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    pthread_mutex_lock(&s->lock);
    if (ci && ci->socket_context)
        ((struct conn *)ci->socket_context)->t_idle = clock_ns();
    pthread_mutex_unlock(&s->lock);
    pthread_mutex_lock(&h->lock);
    if (h->watched)
        epoll_ctl(s->epoll, EPOLL_CTL_DEL, h->fd, NULL);
    h->conn = NULL;
    h->parked = false;
    http_leave(h); /* nothing if the reply has ended; a HEAD of a stream ends before it */
    pthread_mutex_unlock(&h->lock);
    http_drop(h);
}

static void http_connection(void *cls, struct MHD_Connection *conn, void **ctx,
                            enum MHD_ConnectionNotificationCode what)
{
    struct http_server *s = cls;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        struct conn *c = mem_zalloc(1, sizeof *c);
        if (!c)
            return; /* without a limit of time */
        c->fd = MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        c->t_idle = clock_ns();
        pthread_mutex_lock(&s->lock);
        c->next = s->conns;
        if (c->next)
            c->next->prev = c;
        s->conns = c;
        pthread_mutex_unlock(&s->lock);
        *ctx = c;
        return;
    }
    struct conn *c = *ctx;
    if (!c)
        return;
    pthread_mutex_lock(&s->lock);
    if (c->prev)
        c->prev->next = c->next;
    else
        s->conns = c->next;
    if (c->next)
        c->next->prev = c->prev;
    pthread_mutex_unlock(&s->lock);
    mem_free(c);
}

/* %XX in the target and in the query. */
static size_t http_unescape(void *cls, struct MHD_Connection *conn, char *text)
{
    (void)cls;
    (void)conn;
    return head_unescape(text);
}

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
    s->daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC, 0, NULL, NULL,
        http_access, s, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)s->o.connections, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)s->o.stall_seconds,
        MHD_OPTION_UNESCAPE_CALLBACK, http_unescape, NULL, MHD_OPTION_URI_LOG_CALLBACK, http_target,
        NULL, MHD_OPTION_CONNECTION_MEMORY_LIMIT, POOL_BYTES, MHD_OPTION_NOTIFY_COMPLETED,
        http_over, s, MHD_OPTION_NOTIFY_CONNECTION, http_connection, s, MHD_OPTION_THREAD_POOL_SIZE,
        (unsigned)HTTP_THREADS, MHD_OPTION_END);
    if (!s->daemon) {
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
