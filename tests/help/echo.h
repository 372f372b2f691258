/*
 * echo: a server of http.h with handlers for tests.
 *
 *   POST /echo        replies with the body, on the transport's thread
 *   POST /later       the same, from a thread of work
 *   GET  /big         4 MiB of 'b' in one piece
 *   GET  /never       replies after the client has left
 *   GET  /stream?n=N  N pieces "0;" "1;" .. from a thread of its own; ends early if the client left
 *   GET  /flood       pieces of 64 KiB until the client is gone
 *   GET  /refused     404 in head(), as any other path
 */
#ifndef MAS_ECHO_H
#define MAS_ECHO_H

#include <stdatomic.h>

#include "http.h"
#include "work.h"

struct echo {
    struct http_server *http;
    struct work *work;
    int port;
    atomic_int taken, ended, gone; /* exchanges handed over, ended; calls of gone */
    atomic_int over, left;         /* records; those without a whole reply */
    atomic_size_t flooded;         /* bytes written by /flood */
    bool quiet_oom;                /* a handler without memory replies 503 */
};

/* Zero members of o get their defaults; o may be NULL. */
void echo_open(struct echo *t, const struct http_options *o);
void echo_close(struct echo *t);

#endif
