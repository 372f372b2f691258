/*
 * wire: requests over http or https to one server, many at a time, without a thread. This is the
 * one home of libcurl in this room.
 *
 * - A job is lent from wire_start until wire_next or wire_stop returns it.
 * - No redirection is followed. So the key reaches the server of the address alone.
 * - The address has neither user nor password, neither query nor fragment.
 * - Messages never contain the key.
 *
 * One thread uses a wire.
 */
#ifndef MAS_WIRE_H
#define MAS_WIRE_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"
#include "str.h"

#define WIRE_BODY ((size_t)16 << 20) /* most bytes of a reply */
#define WIRE_TEXT 256

enum wire_end {
    WIRE_REPLY,  /* status and body are there */
    WIRE_LATE,   /* the time was up */
    WIRE_BROKEN, /* not connected, reset, or the body ended early: another attempt may succeed */
    WIRE_WRONG,  /* a certificate, a protocol, a reply without end: another attempt is in vain */
    WIRE_STARVED /* out of memory */
};

struct wire_job {
    /* in */
    const char *url;  /* of wire_url */
    const char *body; /* JSON; NULL = a GET */
    size_t body_len;
    double timeout_s; /* of the whole exchange */
    void *user;
    /* out */
    enum wire_end end;
    long status;
    struct str reply;
    double wait_s;        /* Retry-After, by seconds or by date; negative = none */
    char why[WIRE_TEXT];  /* not WIRE_REPLY: the cause */
    char goes[WIRE_TEXT]; /* a redirection: its target; "" = none */
    /* private */
    void *curl;
    size_t head_bytes;
    bool endless;
};

struct wire;
/* key: NULL = none. ERR_CONFIG: it has bytes that no header may hold. ERR_NOMEM. */
int wire_open(const char *key, struct wire **out, struct err *e);
void wire_close(struct wire *w); /* accepts NULL; jobs on the way are stopped */
/* The job's reply is emptied. ERR_NOMEM, ERR_CONFIG. */
int wire_start(struct wire *w, struct wire_job *j, struct err *e);
/* The next job that ended, or NULL after timeout_ms or after a signal. */
struct wire_job *wire_next(struct wire *w, int timeout_ms);
void wire_stop(struct wire *w, struct wire_job *j);
void wire_job_free(struct wire_job *j); /* a job that is not on the way */

/* Checks the address of a server and appends it without slashes at its end. ERR_CONFIG. */
int wire_address(const char *address, struct str *out, struct err *e);

#endif
