#include "exchange.h"

#include <ctype.h>
#include <curl/curl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "mem.h"

#define HOPS 10                 /* redirections followed */
#define HEAD_MAX (256u << 10)   /* bytes of one answer's headers */
#define REFUSAL_MAX (64u << 10) /* bytes of a refusal's body that are read */
#define BUFFER (256L << 10)
#define LOW_SPEED 100L /* bytes a second */
#define CONNECT_S 30L
#define WAIT_MAX_S 60 /* longest wait that a server may ask for */

/* ---- addresses ------------------------------------------------------------------------------- */

/* The address without user, password, query and fragment. */
void exchange_show(const char *url, char *out, size_t cap)
{
    const char *host = strstr(url, "://");
    size_t scheme = host ? (size_t)(host - url) + 3 : 0;
    const char *rest = url + scheme, *at = NULL;
    size_t end = strcspn(rest, "/?#");
    for (size_t i = 0; i < end; i++)
        if (rest[i] == '@')
            at = rest + i;
    if (at)
        rest = at + 1;
    snprintf(out, cap, "%.*s%.*s", (int)scheme, url, (int)strcspn(rest, "?#"), rest);
}

/* scheme://host:port, in lower case; NULL for no address of the web. Free with mem_free. */
static char *url_origin(const char *url)
{
    CURLU *u = curl_url();
    char *scheme = NULL, *host = NULL, *port = NULL, *out = NULL;
    struct str s = STR_INIT;
    if (u && !curl_url_set(u, CURLUPART_URL, url, 0) &&
        !curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) &&
        !curl_url_get(u, CURLUPART_HOST, &host, 0) &&
        !curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT)) {
        str_addf(&s, "%s://%s:%s", scheme, host, port);
        out = str_take(&s);
    }
    for (char *p = out; p && *p; p++)
        *p = (char)tolower((unsigned char)*p);
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(u);
    return out;
}

static bool url_is_web(const char *url)
{
    return !strncasecmp(url, "https://", 8) || !strncasecmp(url, "http://", 7);
}

/* The token of the server of url; NULL if there is none. */
static const char *token_for(const struct pull_options *o, const char *url)
{
    char *here = url_origin(url);
    const char *secret = NULL;
    for (size_t i = 0; here && i < o->n_token && !secret; i++) {
        char *its = url_origin(o->token[i].at);
        if (its && !strcmp(its, here))
            secret = o->token[i].secret;
        mem_free(its);
    }
    mem_free(here);
    return secret;
}

/* ---- the headers of an answer ---------------------------------------------------------------- */

static bool hex64(const char *s)
{
    return strlen(s) == 64 && strspn(s, "0123456789abcdef") == 64;
}

static void head_line(struct exchange *x, const char *name, size_t n, const char *value)
{
    struct exchange_head *h = &x->head;
    int64_t number;
#define IS(text) (n == sizeof(text) - 1 && !strncasecmp(name, text, n))
    if (IS("content-length")) {
        h->has_length = str_to_i64(value, 0, INT64_MAX, &number);
        h->length = h->has_length ? (uint64_t)number : 0;
    } else if (IS("transfer-encoding")) {
        h->chunked = strcasecmp(value, "chunked") == 0;
    } else if (IS("content-encoding")) {
        h->encoded = strcasecmp(value, "identity") != 0;
    } else if (IS("content-range")) {
        snprintf(h->range, sizeof h->range, "%s", value);
    } else if (IS("etag")) {
        snprintf(h->etag, sizeof h->etag, "%s", value);
    } else if (IS("last-modified")) {
        snprintf(h->modified, sizeof h->modified, "%s", value);
    } else if (IS("x-linked-size") && x->first) {
        x->linked_bytes = str_to_i64(value, 1, INT64_MAX, &number) ? (uint64_t)number : 0;
    } else if (IS("x-linked-etag") && x->first) {
        size_t len = strlen(value);
        char text[EXCHANGE_TEXT];
        snprintf(text, sizeof text, "%.*s", (int)(len > 1 ? len - 2 : 0), value + (len > 1));
        snprintf(x->linked, sizeof x->linked, "%s", hex64(text) ? text : "");
    }
#undef IS
}

static size_t on_head(char *data, size_t size, size_t n, void *user)
{
    struct exchange *x = user;
    char line[EXCHANGE_TEXT + 64];
    size_t all = size * n, len = all < sizeof line - 1 ? all : sizeof line - 1;
    x->head.bytes += all;
    if (x->head.bytes > HEAD_MAX)
        return 0;
    memcpy(line, data, len);
    while (len && strchr("\r\n \t", line[len - 1]))
        len--;
    line[len] = 0;
    if (!strncmp(line, "HTTP/", 5)) {
        x->head = (struct exchange_head){.bytes = x->head.bytes};
        return all;
    }
    char *colon = memchr(line, ':', len);
    if (colon)
        head_line(x, line, (size_t)(colon - line), colon + 1 + strspn(colon + 1, " \t"));
    return all;
}

static size_t on_body(char *data, size_t size, size_t n, void *user)
{
    struct exchange *x = user;
    size_t all = size * n;
    curl_easy_getinfo(x->curl, CURLINFO_RESPONSE_CODE, &x->status);
    if (x->status != 200 && x->status != 206) {
        x->refusal += all;
        return x->refusal > REFUSAL_MAX ? 0 : all;
    }
    x->rc = x->put(x, data, all, &x->err);
    return x->rc < 0 ? 0 : all;
}

static int on_time(void *user, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct exchange *x = user;
    (void)a, (void)b, (void)c, (void)d;
    return x->o->stopped && x->o->stopped(x->o->user);
}

int exchange_open(struct exchange *x, const struct pull_options *o, struct err *e)
{
    *x = (struct exchange){.curl = curl_easy_init(), .o = o};
    if (!x->curl)
        return NOMEM(e, 4096, "a download");
    bool fine = true;
#define SET(option, value) fine = fine && curl_easy_setopt(x->curl, (option), (value)) == CURLE_OK
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_USERAGENT, "mas");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    SET(CURLOPT_BUFFERSIZE, BUFFER);
    SET(CURLOPT_CONNECTTIMEOUT, CONNECT_S);
    SET(CURLOPT_LOW_SPEED_LIMIT, LOW_SPEED);
    SET(CURLOPT_LOW_SPEED_TIME, (long)o->stall_s);
    SET(CURLOPT_HEADERFUNCTION, on_head);
    SET(CURLOPT_HEADERDATA, x);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, x);
    SET(CURLOPT_XFERINFOFUNCTION, on_time);
    SET(CURLOPT_XFERINFODATA, x);
    SET(CURLOPT_NOPROGRESS, 0L);
    if (o->authorities)
        SET(CURLOPT_CAINFO, o->authorities);
#undef SET
    if (!fine)
        FAIL(e, ERR_BUG, "libcurl refuses an option of a download");
    return 0;
}

/* Appends a header; false when memory is out. */
static bool add_header(struct curl_slist **list, const char *text)
{
    struct curl_slist *more = curl_slist_append(*list, text);
    if (more)
        *list = more;
    return more != NULL;
}

/* One request; *next: the address that it redirects to, NULL for an answer. */
static CURLcode exchange_hop(struct exchange *x, const char *url, const char *accept,
                             const char *if_range, uint64_t from, char **next)
{
    const char *token = token_for(x->o, url);
    struct curl_slist *list = NULL;
    struct str line = STR_INIT;
    char range[32];
    bool fine = true;
    *next = NULL;
    snprintf(range, sizeof range, "%" PRIu64 "-", from);
    if (accept) {
        str_addf(&line, "Accept: %s", accept);
        fine = !line.failed && add_header(&list, line.s);
    }
    if (fine && from && if_range && *if_range) {
        str_clear(&line);
        str_addf(&line, "If-Range: %s", if_range);
        fine = !line.failed && add_header(&list, line.s);
    }
    if (fine && token) {
        str_clear(&line);
        str_addf(&line, "Authorization: Bearer %s", token);
        fine = !line.failed && add_header(&list, line.s);
    }
    x->head = (struct exchange_head){.bytes = 0};
    x->refusal = 0;
    x->status = 0;
    CURLcode rc = fine ? curl_easy_setopt(x->curl, CURLOPT_URL, url) : CURLE_OUT_OF_MEMORY;
    if (rc == CURLE_OK)
        rc = curl_easy_setopt(x->curl, CURLOPT_HTTPHEADER, list);
    if (rc == CURLE_OK)
        rc = curl_easy_setopt(x->curl, CURLOPT_RANGE, from ? range : NULL);
    if (rc == CURLE_OK)
        rc = curl_easy_perform(x->curl);
    curl_easy_getinfo(x->curl, CURLINFO_RESPONSE_CODE, &x->status);
    if (rc == CURLE_OK && x->status >= 300 && x->status < 400)
        curl_easy_getinfo(x->curl, CURLINFO_REDIRECT_URL, next);
    curl_easy_setopt(x->curl, CURLOPT_HTTPHEADER, NULL);
    curl_slist_free_all(list);
    str_free(&line);
    return rc;
}

/* A redirection must lead to the web, and not from https to http. */
static int hop_allowed(const struct exchange *x, const char *from, const char *to, struct err *e)
{
    char shown[200];
    exchange_show(to, shown, sizeof shown);
    if (!url_is_web(to))
        FAIL(e, ERR_DATA, "%s redirects to %s, which is neither http nor https", x->shown, shown);
    if (!strncasecmp(from, "https:", 6) && strncasecmp(to, "https:", 6) != 0)
        FAIL(e, ERR_DATA, "%s redirects from https to %s, which anybody on the way could change",
             x->shown, shown);
    return 0;
}

/* Requests, and follows redirections. *code: of the last request. */
static int follow(struct exchange *x, const char *url, const char *accept, const char *if_range,
                  uint64_t from, CURLcode *code, struct err *e)
{
    char *at = mem_strdup(url);
    int rc = 0;
    if (!at)
        return NOMEM(e, strlen(url), "an address");
    for (int hop = 0;; hop++) {
        char *next, *copy;
        x->first = hop == 0;
        *code = exchange_hop(x, at, accept, if_range, from, &next);
        if (*code != CURLE_OK || !next)
            break;
        if (hop == HOPS)
            TRY_DONE(err_set(e, ERR_DATA, "%s redirects more than %d times", x->shown, HOPS));
        TRY_DONE(hop_allowed(x, at, next, e));
        copy = mem_strdup(next);
        if (!copy)
            TRY_DONE(NOMEM(e, strlen(next), "an address"));
        mem_free(at);
        at = copy;
    }
done:
    mem_free(at);
    return rc;
}

/* ---- failures -------------------------------------------------------------------------------- */

/* A busy server: keeps the wait that it asks for (Retry-After), and appends it to the message. */
static void asked_wait(struct exchange *x, char *out, size_t cap)
{
    curl_off_t s = 0;
    out[0] = 0;
    if ((x->status != 429 && x->status != 503) ||
        curl_easy_getinfo(x->curl, CURLINFO_RETRY_AFTER, &s) != CURLE_OK || s < 1)
        return;
    x->wait_s = s < WAIT_MAX_S ? (int)s : WAIT_MAX_S;
    snprintf(out, cap, " and asks for a wait of %" PRId64 " s%s", (int64_t)s,
             s > WAIT_MAX_S ? " (at most 60 s are waited)" : "");
}

/* *again: another attempt may succeed. */
static int refused(struct exchange *x, bool *again, struct err *e)
{
    char wait[80];
    long s = x->status;
    asked_wait(x, wait, sizeof wait);
    *again = s == 408 || s == 425 || s == 429 || s >= 500;
    if (*again)
        FAIL(e, ERR_AGAIN, "%s: the server answers %ld%s%s; try again later", x->shown, s,
             s == 429 ? " (too many requests)" : "", wait);
    if (s == 401)
        FAIL(e, ERR_NOINPUT,
             "%s: the server answers 401, a login is needed: accept the model's "
             "licence on its page, and set a token (for Hugging Face HF_TOKEN)",
             x->shown);
    if (s == 403)
        FAIL(e, ERR_NOINPUT,
             "%s: the server answers 403, forbidden: the token lacks the right, or "
             "the model's licence is not accepted on its page",
             x->shown);
    if (s == 404 || s == 410)
        FAIL(e, ERR_NOINPUT, "%s: the server answers %ld, there is no such file: check the name",
             x->shown, s);
    if (s >= 300 && s < 400)
        FAIL(e, ERR_DATA, "%s: the server answers %ld without an address to go to", x->shown, s);
    FAIL(e, ERR_NOINPUT, "%s: the server answers %ld", x->shown, s);
}

/* A request that ended without a whole answer. */
static int broken(const struct exchange *x, CURLcode code, bool *again, struct err *e)
{
    const char *why = curl_easy_strerror(code);
    *again = false;
    switch (code) {
    case CURLE_OUT_OF_MEMORY:
        return NOMEM(e, 4096, "a download");
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
        FAIL(e, ERR_IO,
             "%s: its certificate cannot be trusted (%s); check the clock, or name the file of the "
             "authority's certificate in SSL_CERT_FILE",
             x->shown, why);
    case CURLE_URL_MALFORMAT:
        FAIL(e, ERR_USAGE, "%s is no address of the web (%s)", x->shown, why);
    case CURLE_WRITE_ERROR: /* headers or a refusal without end */
        FAIL(e, ERR_DATA, "%s: the server sends more than an answer has", x->shown);
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL: /* HTTP/0.9 */
        FAIL(e, ERR_DATA, "%s: the server does not answer in http", x->shown);
    default:
        *again = true;
        FAIL(e, ERR_AGAIN, "%s: %s", x->shown, why);
    }
}

int exchange_run(struct exchange *x, const char *url, const char *accept, const char *if_range,
                 uint64_t from, bool *again, struct err *e)
{
    CURLcode code;
    *again = false;
    x->rc = 0;
    x->wait_s = 0;
    x->linked[0] = 0;
    x->linked_bytes = 0;
    exchange_show(url, x->shown, sizeof x->shown);
    TRY(follow(x, url, accept, if_range, from, &code, e));
    if (x->rc < 0)
        FAIL(e, x->rc, "%s", x->err.msg);
    if (code == CURLE_ABORTED_BY_CALLBACK)
        FAIL(e, ERR_CANCEL, "interrupted");
    if (x->status == 416 && from)
        return 0;
    if (x->status >= 300)
        return refused(x, again, e);
    if (code != CURLE_OK)
        return broken(x, code, again, e);
    if (x->status != 200 && x->status != 206)
        return refused(x, again, e);
    return 0;
}

bool exchange_ends(const struct exchange *x)
{
    long version = 0;
    curl_easy_getinfo(x->curl, CURLINFO_HTTP_VERSION, &version);
    return x->head.has_length || x->head.chunked || version >= CURL_HTTP_VERSION_2_0;
}

void exchange_close(struct exchange *x)
{
    curl_easy_cleanup(x->curl);
    x->curl = NULL;
}
