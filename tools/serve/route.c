#include "route.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "check.h"
#include "clinical.h"
#include "clock.h"
#include "log.h"
#include "mem.h"
#include "ollama.h"
#include "openai.h"
#include "server.h"
#include "status.h"

const struct route route_table[] = {
#define X(method, path, run, fields, api, marks, tag, doc)                                         \
    {method, path, run, fields, api, marks, tag, doc},
#include "routes.def"
#undef X
};
const int route_count = sizeof route_table / sizeof route_table[0];

/* ---- finding --------------------------------------------------------------------------------- */

/* Whether the path fits the pattern; part gets the text at its braces. Bounded: a pattern has at
 * most two. */
static bool route_fits(const char *pattern, const char *path, char part[128])
{
    part[0] = 0;
    while (*pattern) {
        if (*pattern != '{') {
            if (*pattern++ != *path++)
                return false;
            continue;
        }
        pattern = strchr(pattern, '}') + 1;
        if (strchr(pattern,
                   '{')) { /* several: the part is all of their text, with what is between */
            size_t n = strcspn(path, "/");
            if (!n || strlen(path) >= 128 || !route_fits(pattern, path + n, part))
                return false;
            snprintf(part, 128, "%s", path);
            return true;
        }
        /* the rest of a pattern has a fixed text: the part ends before it */
        size_t tail = strlen(pattern), n = strlen(path);
        if (n <= tail || memcmp(path + n - tail, pattern, tail) != 0)
            return false;
        n -= tail;
        if (n >= 128 || memchr(path, '/', n) == path)
            return false;
        memcpy(part, path, n);
        part[n] = 0;
        return true;
    }
    return !*path;
}

/* The row of a request. NULL: none. *allow then has the methods of that path, if it is one. The
 * path is that of the first row that fits: rows stand before those that fit more. */
static const struct route *route_find(const char *method, const char *path, char part[128],
                                      struct str *allow)
{
    if (!strcmp(method, "HEAD"))
        method = "GET";
    const char *own = NULL;
    for (int i = 0; i < route_count; i++) {
        if (own ? strcmp(route_table[i].path, own) != 0
                : !route_fits(route_table[i].path, path, part))
            continue;
        own = route_table[i].path;
        if (!strcmp(route_table[i].method, method))
            return &route_table[i];
        str_addf(allow, "%s%s", allow->len ? ", " : "", route_table[i].method);
    }
    return NULL;
}

/* ---- errors ---------------------------------------------------------------------------------- */

static const char *error_type(int status)
{
    switch (status) {
    case 401:
        return "authentication_error";
    case 403:
        return "permission_error";
    case 404:
        return "not_found_error";
    case 503:
        return "overloaded_error";
    default:
        return status >= 500 ? "server_error" : "invalid_request_error";
    }
}

void call_error_json(enum api api, int status, const char *param, const char *message,
                     struct str *out)
{
    str_adds(out, "{\"error\": ");
    if (api != API_OLLAMA)
        str_adds(out, "{\"message\": ");
    str_add_json(out, message, strlen(message));
    if (api != API_OLLAMA) {
        str_addf(out, ", \"type\": \"%s\", \"param\": ", error_type(status));
        if (param)
            str_add_json(out, param, strlen(param));
        else
            str_adds(out, "null");
        str_addf(out, ", \"code\": %s}",
                 status == 404 && param && !strcmp(param, "model") ? "\"model_not_found\""
                                                                   : "null");
    }
    str_adds(out, "}\n");
}

int call_status(const struct err *e)
{
    switch (e->code) {
    case ERR_USAGE:
    case ERR_DATA:
    case ERR_CONFIG:
        return 400;
    case ERR_NOINPUT:
        return 404;
    case ERR_NODEV:
    case ERR_NOMEM:
    case ERR_AGAIN:
    case ERR_CANCEL:
        return 503;
    default:
        return 500;
    }
}

/* The form of errors of a path without a row. */
static enum api route_api(const char *path)
{
    if (!strncmp(path, "/api/", 5))
        return API_OLLAMA;
    return !strncmp(path, "/v1/", 4) ? API_OPENAI : API_PLAIN;
}

const char *route_fault(struct http *h, int status, const char *message, struct str *out,
                        void *user)
{
    (void)user;
    call_error_json(route_api(http_path(h)), status, NULL, message, out);
    return "application/json";
}

/* ---- calls ----------------------------------------------------------------------------------- */

void call_free(struct call *c)
{
    if (c->free_state)
        c->free_state(c->state);
    json_decref(c->body);
    mem_free(c->args);
    mem_free(c);
}

void call_reply_type(struct call *c, int status, const char *type, struct str *body)
{
    http_reply(c->http, status, type, body);
    call_free(c);
}

void call_reply(struct call *c, int status, struct str *json)
{
    call_reply_type(c, status, "application/json", json);
}

static void call_refuse(struct call *c, int status, const char *param, const char *message)
{
    struct str body = STR_INIT;
    call_error_json(c->route->api, status, param, message, &body);
    if (status == 503)
        http_set_header(c->http, "Retry-After", "2");
    call_reply(c, status, &body);
}

void call_fail(struct call *c, int status, const char *param, const char *fmt, ...)
{
    struct err e = {0};
    char message[1000];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    err_set(&e, ERR_DATA, "%s", message); /* control bytes become '?' */
    call_refuse(c, status, param, e.msg);
}

void call_fail_err(struct call *c, const char *param, const struct err *e)
{
    int status = call_status(e);
    if (status == 400 || status == 404 || e->code == ERR_CANCEL) {
        call_refuse(c, status, param, e->msg);
        return;
    }
    log_warn("request %llu: %s", (unsigned long long)http_id(c->http), e->msg);
    call_refuse(c, status, param,
                e->code == ERR_NOMEM   ? "out of memory; try again later"
                : e->code == ERR_NODEV ? "the device does not work any more; restart the server"
                                       : "the server failed; its log says why");
}

/* ---- the transport's calls ------------------------------------------------------------------- */

/* Compares in a time that does not depend on the place of a difference. */
static bool same_key(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    unsigned diff = n != m;
    for (size_t i = 0; i < n; i++)
        diff |= (unsigned)(a[i] ^ b[m ? i % m : 0]);
    return diff == 0;
}

static bool route_key(const struct serve *s, struct http *h)
{
    if (!s->api_key[0])
        return true;
    const char *given = http_header(h, "authorization");
    const char *x = http_header(h, "x-api-key");
    if (given && !strncasecmp(given, "Bearer ", 7))
        return same_key(given + 7, s->api_key);
    return x && same_key(x, s->api_key);
}

static void refuse_head(struct http *h, int status, const char *message)
{
    struct str body = STR_INIT;
    call_error_json(route_api(http_path(h)), status, NULL, message, &body);
    http_reply(h, status, "application/json", &body);
}

void route_head(struct http *h, void *user)
{
    struct serve *s = user;
    struct str allow = STR_INIT;
    char part[128], message[400];
    const struct route *r = route_find(http_method(h), http_path(h), part, &allow);
    if (!r && allow.len) {
        http_set_header(h, "Allow", allow.s);
        snprintf(message, sizeof message, "%.16s is not answered here; use %.60s", http_method(h),
                 allow.s);
        refuse_head(h, 405, message);
    } else if (!r) {
        snprintf(message, sizeof message, "no such path: %.200s; /openapi.json lists all",
                 http_path(h));
        refuse_head(h, 404, message);
    } else if (!(r->marks & ROUTE_KEYLESS) && !route_key(s, h)) {
        http_set_header(h, "WWW-Authenticate", "Bearer");
        refuse_head(h, 401, "the API key is missing or wrong; send Authorization: Bearer KEY");
    } else if (r->marks & ROUTE_WORKS && atomic_load(&s->draining)) {
        http_set_header(h, "Retry-After", "10");
        refuse_head(h, 503, "the server is stopping");
    }
    http_set_user(h, (void *)(uintptr_t)r); /* a refused one does not come back */
    str_free(&allow);
}

static void call_run(struct work_job *j)
{
    struct call *c = (struct call *)((char *)j - offsetof(struct call, job));
    const struct field_set *set = c->route->fields;
    struct err e = {0};
    if (set) {
        const char *member = NULL;
        size_t n;
        const char *body = http_body(c->http, &n);
        int rc = n ? field_parse(body, n, &c->body, &e)
                   : err_set(&e, ERR_DATA, "the body is empty, expected a JSON object");
        http_free_body(c->http);
        c->args = rc == 0 ? mem_zalloc(1, set->size) : NULL;
        if (rc == 0 && !c->args)
            rc = NOMEM(&e, set->size, "a request");
        if (rc == 0)
            rc = field_read(set, c->body, c->args, &member, &e);
        if (rc < 0) {
            call_fail_err(c, member, &e);
            return;
        }
    }
    c->route->run(c);
}

void route_whole(struct http *h, void *user)
{
    struct serve *s = user;
    const struct route *r = http_user(h);
    struct call *c = mem_zalloc(1, sizeof *c);
    if (!c) {
        struct str none = STR_INIT;
        none.failed = true;
        http_reply(h, 503, "application/json", &none);
        return;
    }
    c->s = s;
    c->http = h;
    c->route = r;
    c->t_start = clock_ns();
    c->job.run = call_run;
    route_fits(r->path, http_path(h), c->part);
    if (r->marks & ROUTE_QUICK)
        call_run(&c->job);
    else
        work_post(s->work, &c->job);
}

/* One line a request, and the count of its status. */
void route_over(struct http *h, const struct http_record *r, void *user)
{
    struct serve *s = user;
    struct err line = {0};
    atomic_fetch_add(&s->requests[r->status / 100 % 6], 1);
    if (r->gone)
        atomic_fetch_add(&s->gone, 1);
    err_set(&line, 0, "%.16s %.200s", http_method(h), http_path(h)); /* control bytes become '?' */
    log_info("%s %d%s %.1f ms, %zu bytes%s%s", line.msg, r->status,
             r->whole  ? ""
             : r->gone ? " (the client left)"
                       : " (broken off)",
             (double)r->ns / 1e6, r->bytes, r->note[0] ? ", " : "", r->note);
}
