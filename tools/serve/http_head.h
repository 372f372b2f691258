/*
 * http_head: the head of a request: its headers and its query, copied from the connection, and the
 * checks that need nothing else. Nothing in it is trusted.
 */
#ifndef MAS_HTTP_HEAD_H
#define MAS_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>

#include "str.h"

#define HTTP_BODY_MOST ((size_t)8 << 20)  /* bytes of a request's body */
#define HTTP_HEAD_MOST ((size_t)32 << 10) /* bytes of a request's line and headers */

enum head_kind { HEAD_HEADER = 'h', HEAD_QUERY = 'q' };

struct http_head {
    struct str entry;      /* of each: its kind, its name, NUL, its value, NUL */
    size_t bytes;          /* of the request's line and headers */
    bool nul;              /* the target has a NUL */
    bool bad;              /* a name or a value has bytes that none may have */
    bool expects;          /* the client sends its body after "100 Continue" only */
    bool has_body;         /* the client announces one */
    bool old;              /* HTTP/1.0 */
    const char *path;      /* without scheme, host and query; a part of the target */
    char target_host[256]; /* "host:port" of a target in the form http://host:port/path; "" */
};

struct head_fault {
    int status;
    bool close; /* the end of the request is not known: the connection ends with the reply */
    char message[700];
};

void head_init(struct http_head *h);
void head_free(struct http_head *h);
/* Copies one header, or one member of the query. Bytes without a meaning make the head bad. */
void head_add(struct http_head *h, enum head_kind kind, const char *name, size_t n_name,
              const char *value, size_t n_value);
/* The first value of a name, NULL = none. Names of headers have no case. */
const char *head_find(const struct http_head *h, enum head_kind kind, const char *name);
int head_count(const struct http_head *h, enum head_kind kind, const char *name);
/* Splits the target of the request's line. target lives as long as h. */
void head_target(struct http_head *h, const char *target);
/* Fills expects and has_body, and checks the head against (n_host) names of hosts that are served.
 * false: *f says the fault. */
bool head_check(struct http_head *h, char *const *host, int n_host, struct head_fault *f);
/* Decodes %XX in place and returns the new length. %00 and malformed ones stay as they are: no text
 * of the head contains NUL. */
size_t head_unescape(char *text);

#endif
