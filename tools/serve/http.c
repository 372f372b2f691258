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
 * A suspended connection does not notice that its client has left. The watcher, a thread of
 * http_server.c, waits on the sockets of all exchanges that were not answered at once (epoll,
 * EPOLLRDHUP). A
 * client that closes its side of the connection counts as gone, even if it could still read. The
 * watcher also keeps the time limits and sends the beats.
 *
 * An exchange is held by libmicrohttpd until the request is over, by the handler until it has
 * replied, and by the watcher while it looks. Locks are taken in the order exchange, server.
 */
#include "http_state.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "check.h"
#include "clock.h"
#include "mem.h"

#define COMPACT_FROM ((size_t)64 << 10) /* sent bytes that a buffer may keep */

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

void http_drop(struct http *h)
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

void http_leave(struct http *h)
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

struct http *http_new(struct http_server *s, struct MHD_Connection *conn, const char *url,
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

void http_add(struct http *h, const void *bytes, size_t n)
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
