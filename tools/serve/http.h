/*
 * http: the transport of the server, and the only home of libmicrohttpd.
 *
 * An exchange is one request and its reply. The transport reads the request, checks it against the
 * limits, and hands it over. The handler replies at once, or keeps the exchange and replies later
 * from any thread:
 *
 *   head read -- head() --+- refused: http_reply, the body is not read
 *                         +- body read -- whole() --+- http_reply                     one piece
 *                                                   +- http_begin, http_write .., http_end
 *
 * Invariants:
 *   - Every exchange that whole() was given ends with one http_reply or one http_end. Until then it
 *     is the handler's, and it exists even if the client has left.
 *   - After the client has left, http_reply, http_write and http_end send nothing. A client that
 *     closes one side only still gets the replies that are given within whole().
 *   - gone() is called at most once: when the client leaves before the end of its reply. The
 *     transport watches the socket itself, so this happens within milliseconds.
 *   - No call blocks on a client. A client that reads too slowly is cut.
 *   - Nothing of a request is trusted: names of hosts, origins, types and sizes are checked here.
 */
#ifndef MAS_HTTP_H
#define MAS_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "http_head.h"
#include "str.h"

struct http;        /* an exchange */
struct http_server; /* listens, reads, sends */

/* Limits of every connection; also HTTP_BODY_MOST and HTTP_HEAD_MOST. */
#define HTTP_BODIES_MOST ((size_t)512 << 20) /* bytes of all bodies that are being read */
#define HTTP_UNREAD_MOST ((size_t)8 << 20)   /* bytes of a reply that the client has not read */
#define HTTP_NOTE_MOST 64                    /* bytes of a note for the log, NUL included */
#define HTTP_HEAD_SECONDS 60                 /* from a connection's start to a complete head */
#define HTTP_BODY_SECONDS 120                /* from the head to the end of the body */
#define HTTP_STALL_SECONDS 60                /* without progress on a connection */
#define HTTP_BEAT_FIRST_MS 1000              /* a stream without text: its first comment */
#define HTTP_BEAT_MS 10000                   /* and the next ones */

struct http_record { /* of a request that is over */
    int status;      /* 0 = no reply was begun */
    bool whole;      /* the client was sent the whole reply */
    bool gone;       /* the client left before */
    int64_t ns;      /* since its head was complete */
    size_t bytes;    /* of the reply's body */
    char note[HTTP_NOTE_MOST];
};

struct http_options {
    const char *address; /* numeric, IPv4 or IPv6 */
    int port;            /* 0 = any free one */
    int connections;     /* open at a time; further ones wait to be accepted */
    int head_seconds, body_seconds, stall_seconds; /* limits of time; 0 = as above */
    const char *const *host; /* (n_host) names that a Host header may have, beside localhost and
                                numeric addresses */
    int n_host;
    /* The request's head is complete: may refuse it by http_reply. Otherwise the body follows. */
    void (*head)(struct http *h, void *user);
    void (*whole)(struct http *h, void *user); /* the request is complete */
    /* Appends the body of an error reply by the transport, as the exchange's API writes it; returns
     * its content type. */
    const char *(*fault)(struct http *h, int status, const char *message, struct str *out,
                         void *user);
    /* A request is over, refused ones too; for the log. NULL = none. */
    void (*over)(struct http *h, const struct http_record *r, void *user);
    void *user;
};

/* Listens. Callbacks come from the transport's threads, several at a time. ERR_CREATE: the address
 * cannot be used. */
int http_open(const struct http_options *o, struct http_server **out, struct err *e);
int http_port(const struct http_server *s);
/* Hands over no more requests, refuses them with 503, ends connections and waits until every
 * exchange has had its end. Accepts NULL. */
void http_close(struct http_server *s);
/* Requests that were handed over and are not over: no end yet, or a client that still reads. */
int http_open_exchanges(struct http_server *s);

/* The request. Texts live as long as the exchange. */
const char *http_method(const struct http *h);
const char *http_path(const struct http *h); /* decoded, without the query */
/* NULL = it has none. */
const char *http_header(const struct http *h, const char *name);
const char *http_query(const struct http *h, const char *name);
const char *http_body(const struct http *h, size_t *n);
/* Gives up the body before the end of the exchange, once it is parsed. */
void http_free_body(struct http *h);
uint64_t http_id(const struct http *h); /* unique in this process, from 1 */
/* A place of the user's for each exchange: its route. */
void http_set_user(struct http *h, void *user);
void *http_user(const struct http *h);

/* A few words for the log's line of this request. */
void http_set_note(struct http *h, const char *note);
/* Adds a header to the reply, or replaces it; before http_reply or http_begin. */
void http_set_header(struct http *h, const char *name, const char *value);
/* Replies in one piece and gives the exchange back. Takes the bytes of body, which is then
 * empty. */
void http_reply(struct http *h, int status, const char *type, struct str *body);
/* The same for a constant text. */
void http_reply_text(struct http *h, int status, const char *type, const char *text, size_t n);

/* Starts a reply in pieces; its head is sent at once. beat: bytes that are sent whenever nothing
 * was written for a while, NULL = none. */
void http_begin(struct http *h, int status, const char *type, const char *beat);
void http_write(struct http *h, const void *bytes, size_t n);
/* The same, and text is empty afterwards. A failed text, which has lost bytes, breaks the reply
 * off: nothing follows, and the client sees an incomplete body. */
void http_write_str(struct http *h, struct str *text);
/* Ends the reply and gives the exchange back. cut: after what was written the reply breaks off, and
 * the client sees an incomplete body. */
void http_end(struct http *h, bool cut);

/* The client's leaving. gone may be called in this call. It must not block. It must not use the
 * exchange after the handler has ended it: http_forget first. */
void http_watch(struct http *h, void (*gone)(struct http *h, void *user), void *user);
/* After it, gone is neither running nor called. Not from gone itself. */
void http_forget(struct http *h);
bool http_gone(const struct http *h);

#endif
