/*
 * remote: one server of models: its address, the requests in flight, and the rules of a failure.
 *
 *   reply                                  verdict
 *   200                                    REMOTE_GOOD: the form reads the body
 *   408, 425, 429, 5xx, reset, late, cut   REMOTE_AGAIN: another attempt after a wait
 *   400, 413, 422: prompt too long,        REMOTE_CALL: this call fails, others may succeed
 *   or refused by a filter
 *   400, 422 about the schema              REMOTE_SCHEMA: the server does not take the schema
 *   3xx, 401, 403, 404, other              REMOTE_STOP: every call would fail
 */
#ifndef MAS_REMOTE_H
#define MAS_REMOTE_H

#include <stdatomic.h>

#include "wire.h"

enum remote_verdict { REMOTE_GOOD, REMOTE_AGAIN, REMOTE_CALL, REMOTE_SCHEMA, REMOTE_STOP };

struct remote {
    struct wire *wire;
    struct str base;        /* the address, without a slash at its end */
    double timeout_s;       /* of one attempt */
    double deadline_s;      /* of all attempts and waits of a call */
    double retry_s;         /* the first wait */
    int retries;            /* further attempts */
    const atomic_int *stop; /* non-zero: remote_ask gives up; NULL = never */
};

/* key: NULL = none; it is not kept. ERR_CONFIG, ERR_NOMEM. */
int remote_open(struct remote *r, const char *address, const char *key, struct err *e);
void remote_close(struct remote *r); /* accepts a zeroed one */

/* Appends the address of a path of the API, or, with root, of the server: without /v1. */
int remote_url(const struct remote *r, bool root, const char *path, struct str *out, struct err *e);
/* The verdict of a job that ended. why: the cause, with the code of the error that a stop is:
 * ERR_AGAIN; ERR_DATA for REMOTE_CALL. */
enum remote_verdict remote_judge(const struct remote *r, const struct wire_job *j, struct err *why);

/* One request, with its attempts; waits for its end. 0: the reply in j has a status that is not
 * REMOTE_AGAIN. Free it with wire_job_free. Each further attempt is said in the log. ERR_AGAIN: no
 * such reply within attempts and time. ERR_CANCEL: stopped. */
int remote_ask(const struct remote *r, bool root, const char *path, const struct str *body,
               struct wire_job *j, struct err *e);

#endif
