/* libmicrohttpd's calls: from a connection's first byte to the end of its request. The reply's part
 * is http.c. */
#include "http_state.h"

#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "clock.h"
#include "mem.h"

#define HTTP_THREADS 2
#define POOL_BYTES (2 * HTTP_HEAD_MOST)  /* libmicrohttpd's, of a connection: its head and more */
#define DROPPED_MOST ((size_t)100000000) /* bytes of a refused body that are read */

static const char nul[] = "NUL"; /* http_target's mark of a target with one */

/* When memory is out, this needs none. */
static const char no_memory[] = "{\"error\": {\"message\": \"out of memory; try again later\", "
                                "\"type\": \"server_error\", \"param\": null, \"code\": null}}\n";

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

/* ---- the calls ------------------------------------------------------------------------------- */

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
    r.gone = !r.whole && !h->cut && !h->broken && h->phase != READING;
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

bool http_daemon(struct http_server *s, int fd)
{
    s->daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC, 0, NULL, NULL,
        http_access, s, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)s->o.connections, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)s->o.stall_seconds,
        MHD_OPTION_UNESCAPE_CALLBACK, http_unescape, NULL, MHD_OPTION_URI_LOG_CALLBACK, http_target,
        NULL, MHD_OPTION_CONNECTION_MEMORY_LIMIT, POOL_BYTES, MHD_OPTION_NOTIFY_COMPLETED,
        http_over, s, MHD_OPTION_NOTIFY_CONNECTION, http_connection, s, MHD_OPTION_THREAD_POOL_SIZE,
        (unsigned)HTTP_THREADS, MHD_OPTION_END);
    return s->daemon;
}
