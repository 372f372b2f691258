/*
 * http_state: the transport's own structures. States and locks are described in http.c.
 *
 *   http.c         an exchange and its reply
 *   http_daemon.c  libmicrohttpd's calls
 *   http_server.c  the watcher, opening and closing
 */
#ifndef MAS_HTTP_STATE_H
#define MAS_HTTP_STATE_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

#include "http.h"

enum phase { READING, HANDED, FULL, STREAM };

#define HEADERS_MOST 8
#define BUCKETS 4096 /* of exchanges by their number */

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

/* A new exchange with its head, held by libmicrohttpd; NULL = no memory. */
struct http *http_new(struct http_server *s, struct MHD_Connection *conn, const char *url,
                      const char *method, const char *version);
/* Gives up one hold; none of the caller's locks is held. */
void http_drop(struct http *h);
/* The client has left. Called with the lock, which is released for gone() and taken again. */
void http_leave(struct http *h);
/* Appends bytes to the reply: with the lock. */
void http_add(struct http *h, const void *bytes, size_t n);

/* Starts libmicrohttpd's threads on fd, a socket that listens. false, with errno: it did not. */
bool http_daemon(struct http_server *s, int fd);

#endif
