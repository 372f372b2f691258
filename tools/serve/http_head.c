#include "http_head.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

void head_init(struct http_head *h)
{
    memset(h, 0, sizeof *h);
    h->entry = (struct str)STR_INIT;
    h->path = "";
}

void head_free(struct http_head *h)
{
    str_free(&h->entry);
}

/* A character of a header's name (RFC 9110, section 5.6.2). */
static bool head_token(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

void head_add(struct http_head *h, enum head_kind kind, const char *name, size_t n_name,
              const char *value, size_t n_value)
{
    if (kind == HEAD_HEADER) {
        h->bad |= !n_name;
        for (size_t i = 0; i < n_name; i++)
            h->bad |= !head_token(name[i]);
        for (size_t i = 0; i < n_value; i++)
            h->bad |= ((unsigned char)value[i] < ' ' && value[i] != '\t') || value[i] == 127;
    }
    n_name = strnlen(name, n_name);
    n_value = value ? strnlen(value, n_value) : 0;
    str_addc(&h->entry, (char)kind);
    str_add(&h->entry, name, n_name);
    str_addc(&h->entry, 0);
    str_add(&h->entry, value ? value : "", n_value);
    str_addc(&h->entry, 0);
}

/* The entry after p, which is NULL at first; NULL = no more. */
static const char *head_next(const struct http_head *h, const char *p)
{
    if (!p)
        return h->entry.len ? h->entry.s : NULL;
    p += strlen(p) + 1;
    p += strlen(p) + 1;
    return p < h->entry.s + h->entry.len ? p : NULL;
}

static bool head_is(const char *entry, enum head_kind kind, const char *name)
{
    if (*entry != (char)kind)
        return false;
    return kind == HEAD_HEADER ? !strcasecmp(entry + 1, name) : !strcmp(entry + 1, name);
}

const char *head_find(const struct http_head *h, enum head_kind kind, const char *name)
{
    for (const char *p = head_next(h, NULL); p; p = head_next(h, p))
        if (head_is(p, kind, name))
            return p + strlen(p) + 1;
    return NULL;
}

int head_count(const struct http_head *h, enum head_kind kind, const char *name)
{
    int n = 0;
    for (const char *p = head_next(h, NULL); p; p = head_next(h, p))
        n += head_is(p, kind, name);
    return n;
}

size_t head_unescape(char *text)
{
    char *to = text;
    for (const char *p = text; *p;) {
        unsigned byte = 0;
        char hex[3] = {0};
        if (p[0] == '%' && p[1] && p[2]) {
            memcpy(hex, p + 1, 2);
            if (strspn(hex, "0123456789abcdefABCDEF") == 2)
                byte = (unsigned)strtoul(hex, NULL, 16);
        }
        *to++ = byte ? (char)byte : *p;
        p += byte ? 3 : 1;
    }
    *to = 0;
    return (size_t)(to - text);
}

void head_target(struct http_head *h, const char *target)
{
    h->path = target;
    if (strncasecmp(target, "http://", 7) != 0)
        return;
    const char *host = target + 7, *end = strchr(host, '/');
    size_t n = end ? (size_t)(end - host) : strlen(host);
    if (!n || n >= sizeof h->target_host)
        return; /* no path begins like this: not found */
    memcpy(h->target_host, host, n);
    h->target_host[n] = 0;
    h->path = end ? end : "/";
}

/* ---- checks ---------------------------------------------------------------------------------- */

static bool head_fail(struct head_fault *f, int status, bool close, const char *message)
{
    f->status = status;
    f->close = close;
    if (message)
        snprintf(f->message, sizeof f->message, "%s", message);
    return false;
}

/* The end of the body must be the same for everyone on the way. */
static bool head_check_frame(struct http_head *h, struct head_fault *f)
{
    const char *coding = head_find(h, HEAD_HEADER, "transfer-encoding");
    const char *size = head_find(h, HEAD_HEADER, "content-length");
    const char *expect = head_find(h, HEAD_HEADER, "expect");
    if (h->bad)
        return head_fail(f, 400, true, "a header has a character that no header may have");
    if (h->nul)
        return head_fail(f, 400, true, "the target has a NUL");
    if (h->bytes > HTTP_HEAD_MOST) {
        snprintf(f->message, sizeof f->message, "the head has %zu bytes, the limit is %zu",
                 h->bytes, HTTP_HEAD_MOST);
        return head_fail(f, 431, true, NULL);
    }
    if (head_count(h, HEAD_HEADER, "host") > 1 ||
        head_count(h, HEAD_HEADER, "content-length") > 1 ||
        head_count(h, HEAD_HEADER, "transfer-encoding") > 1 ||
        head_count(h, HEAD_HEADER, "content-type") > 1)
        return head_fail(f, 400, true,
                         "Host, Content-Length, Content-Type and Transfer-Encoding may stand once");
    if (coding && (size || h->old))
        return head_fail(f, 400, true,
                         size ? "Content-Length and Transfer-Encoding exclude each other"
                              : "HTTP/1.0 has no Transfer-Encoding");
    if (coding && strcasecmp(coding, "chunked") != 0) {
        snprintf(f->message, sizeof f->message,
                 "transfer-encoding '%.60s' is not read; it takes chunked", coding);
        return head_fail(f, 501, true, NULL);
    }
    h->has_body = coding || (size && strspn(size, "0") != strlen(size));
    h->expects = h->has_body && !h->old && expect && !strcasecmp(expect, "100-continue");
    return true;
}

/* Splits "name:port" or "[v6]:port"; writes the name in lower case. false: malformed. */
static bool head_host_name(const char *text, char out[256])
{
    size_t n = strlen(text);
    const char *end = text[0] == '[' ? strchr(text, ']') : strchr(text, ':');
    if (text[0] == '[') {
        if (!end)
            return false;
        text++;
    }
    size_t len = end ? (size_t)(end - text) : n;
    if (!len || len >= 256)
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        out[i] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
    }
    out[len] = 0;
    const char *port = end ? end + (*end == ']') : text + len;
    if (*port == ':')
        return port[1] && strspn(port + 1, "0123456789") == strlen(port + 1) && strlen(port) <= 6;
    return !*port;
}

/* A name that resolves to this address only by somebody's name server is refused: DNS rebinding. A
 * numeric address cannot be rebound. */
static bool head_host_known(const char *text, char *const *host, int n_host)
{
    char name[256];
    unsigned char any[16];
    if (!head_host_name(text, name))
        return false;
    if (!strcmp(name, "localhost") || inet_pton(AF_INET, name, any) == 1 ||
        inet_pton(AF_INET6, name, any) == 1)
        return true;
    for (int i = 0; i < n_host; i++)
        if (!strcasecmp(name, host[i]))
            return true;
    return false;
}

/* A browser always sends Host. Clients of HTTP/1.0 may leave it out. */
static bool head_check_host(const struct http_head *h, char *const *known, int n_known,
                            struct head_fault *f)
{
    const char *host = head_find(h, HEAD_HEADER, "host");
    const char *origin = head_find(h, HEAD_HEADER, "origin");
    if (h->target_host[0] && host && strcasecmp(h->target_host, host) != 0)
        return head_fail(f, 400, false, "the target names another host than the header Host");
    if (h->target_host[0])
        host = h->target_host;
    if (!host && !h->old)
        return head_fail(f, 400, false, "the header Host is missing");
    if (host && !head_host_known(host, known, n_known)) {
        snprintf(f->message, sizeof f->message,
                 "host '%.200s' is not served here; add %.200s to serve.hosts", host, host);
        return head_fail(f, 403, false, NULL);
    }
    const char *from = origin ? strstr(origin, "://") : NULL;
    if (origin && (!from || !host || strcasecmp(from + 3, host) != 0)) {
        snprintf(f->message, sizeof f->message, "pages of '%.200s' may not use this server",
                 origin);
        return head_fail(f, 403, false, NULL);
    }
    return true;
}

static bool head_check_body(const struct http_head *h, struct head_fault *f)
{
    const char *size = head_find(h, HEAD_HEADER, "content-length");
    const char *type = head_find(h, HEAD_HEADER, "content-type");
    const char *coded = head_find(h, HEAD_HEADER, "content-encoding");
    if (!h->has_body)
        return true;
    if (size && (strlen(size) > 12 || strtoull(size, NULL, 10) > HTTP_BODY_MOST)) {
        snprintf(f->message, sizeof f->message, "the body has %.20s bytes, the limit is %zu", size,
                 HTTP_BODY_MOST);
        return head_fail(f, 413, strlen(size) > 8, NULL);
    }
    if (coded && strcasecmp(coded, "identity") != 0) {
        snprintf(f->message, sizeof f->message,
                 "content-encoding '%.60s' is not read; send it plain", coded);
        return head_fail(f, 415, false, NULL);
    }
    size_t n = type ? strcspn(type, "; \t") : 0;
    /* clients of Ollama leave it out; pages of other origins have an Origin, which is refused */
    if (type && !(n == 16 && !strncasecmp(type, "application/json", 16))) {
        snprintf(f->message, sizeof f->message,
                 "content-type is '%.100s'; it takes application/json: add the header "
                 "'content-type: application/json'",
                 type);
        return head_fail(f, 415, false, NULL);
    }
    return true;
}

bool head_check(struct http_head *h, char *const *host, int n_host, struct head_fault *f)
{
    return head_check_frame(h, f) && head_check_host(h, host, n_host, f) && head_check_body(h, f);
}
