/*
 * exchange: one request over http or https, its redirections, and the answer. This is the one home
 * of libcurl in this room; pull.c is its caller.
 *
 * Invariants: a token goes to its own server alone. A redirection leads to http or https, never
 * from https to http, and at most 10 follow each other. Messages never show passwords or queries of
 * an address.
 */
#ifndef MAS_EXCHANGE_H
#define MAS_EXCHANGE_H

#include "pull.h"

#define EXCHANGE_TEXT 256 /* bytes kept of a header's value */

struct exchange_head { /* the headers of the last answer that matter here */
    size_t bytes;      /* of all headers */
    bool has_length, chunked, encoded;
    uint64_t length;
    char range[EXCHANGE_TEXT], etag[EXCHANGE_TEXT], modified[EXCHANGE_TEXT]; /* "" = absent */
};

struct exchange {
    /* the caller sets these two after exchange_open: */
    /* gets the body of a status 200 or 206; a negative result ends the exchange */
    int (*put)(struct exchange *x, const char *data, size_t n, struct err *e);
    void *user;
    /* results */
    long status;
    struct exchange_head head;
    char linked[65];       /* sha256 of the file, as the first server names it; "" = none */
    uint64_t linked_bytes; /* its size; 0 = none */
    char shown[200];       /* the address for messages */
    int wait_s;            /* seconds that a busy server asks to wait, at most 60; 0 = none */
    /* private */
    void *curl;
    const struct pull_options *o;
    bool first;     /* the first server answers, not one that it redirects to */
    size_t refusal; /* bytes of a refusal's body */
    int rc;         /* of put */
    struct err err;
};

int exchange_open(struct exchange *x, const struct pull_options *o, struct err *e);
void exchange_close(struct exchange *x); /* also after a failed exchange_open */
/* Requests url, from byte `from` on. accept, if_range: values of headers; NULL or "" = none. 0: the
 * body of a status 200 or 206 was put, or the status is 416. *again: another attempt may succeed.
 * ERR_CANCEL: stopped. ERR_AGAIN, ERR_NOINPUT, ERR_DATA, ERR_IO; the error of put. */
int exchange_run(struct exchange *x, const char *url, const char *accept, const char *if_range,
                 uint64_t from, bool *again, struct err *e);
/* True when the server's protocol shows that the body is complete. */
bool exchange_ends(const struct exchange *x);
/* The address without user, password, query and fragment. */
void exchange_show(const char *url, char *out, size_t cap);

#endif
