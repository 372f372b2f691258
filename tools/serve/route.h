/*
 * route: the table of what the server answers (routes.def), and calls: a request on its way through
 * one row of it. The OpenAPI document comes from the same rows and their fields.
 *
 * A handler owns its call. It ends it once, by call_reply, call_fail, or, after http_begin and
 * http_end, by call_free. It may do so later and from any thread. Handlers run on threads of work,
 * those marked QUICK on the transport's own: these must neither block nor compute.
 */
#ifndef MAS_ROUTE_H
#define MAS_ROUTE_H

#include <jansson.h>

#include "field.h"
#include "http.h"
#include "work.h"

struct serve;

enum api {             /* the form of errors */
           API_PLAIN,  /* ours: as OpenAI's */
           API_OPENAI, /* {"error": {"message", "type", "param", "code"}} */
           API_OLLAMA, /* {"error": text} */
};

enum route_mark {
    ROUTE_KEYLESS = 1, /* answered without the API key */
    ROUTE_QUICK = 2,
    ROUTE_WORKS = 4, /* takes part in the queue: refused while the server drains */
};

struct call;

struct route {
    const char *method;
    const char *path; /* a part in braces, "{id}", takes any text without '/' */
    void (*run)(struct call *c);
    const struct field_set *fields; /* of the body; NULL = none is read */
    enum api api;
    unsigned marks;
    const char *tag, *doc; /* one sentence */
};
extern const struct route route_table[];
extern const int route_count;

struct call {
    struct serve *s;
    struct http *http;
    const struct route *route;
    json_t *body;   /* the parsed body */
    void *args;     /* the struct that route->fields fills; its texts belong to body */
    char part[128]; /* the text at "{..}" of the path, decoded */
    int64_t t_start;
    /* the handler's, for as long as the call lives; call_free calls free_state, if there is one */
    void *state;
    void (*free_state)(void *state);
    struct work_job job;
};

/* For http_options. user: the struct serve. */
void route_head(struct http *h, void *user);
void route_whole(struct http *h, void *user);
const char *route_fault(struct http *h, int status, const char *message, struct str *out,
                        void *user);
void route_over(struct http *h, const struct http_record *r, void *user);

/* Replies with JSON and frees the call; json is empty afterwards. */
void call_reply(struct call *c, int status, struct str *json);
void call_reply_type(struct call *c, int status, const char *type, struct str *body);
/* Replies with an error in the form of the call's API, and frees the call. param: the body's member
 * at fault, or NULL. */
void call_fail(struct call *c, int status, const char *param, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* The same with the status that e's code means: 400 bad request, 404 no such thing, 503 later, 500
 * our bug. Messages of the system's faults, which may hold paths, are logged and replaced. */
void call_fail_err(struct call *c, const char *param, const struct err *e);
void call_free(struct call *c);
/* Appends the error's JSON in the form of an API: for errors in the middle of a stream. */
void call_error_json(enum api api, int status, const char *param, const char *message,
                     struct str *out);
int call_status(const struct err *e); /* of a code */

/* Appends the OpenAPI document. */
void route_openapi(struct str *out);

/* The fields of each request and the handlers, by their files. */
#define X(method, path, run, fields, api, marks, tag, doc) void run(struct call *c);
#include "routes.def"
#undef X

#endif
