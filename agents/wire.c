#include "wire.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "mem.h"

#define HEAD_MAX ((size_t)256 << 10) /* bytes of the headers of a reply */
#define CONNECT_S 20L

struct wire {
    CURLM *multi;
    struct curl_slist *headers;
};

/* ---- addresses ------------------------------------------------------------------------------- */

static bool has_part(CURLU *u, CURLUPart part)
{
    char *text = NULL;
    bool has = curl_url_get(u, part, &text, 0) == CURLUE_OK && text;
    curl_free(text);
    return has;
}

int wire_address(const char *address, struct str *out, struct err *e)
{
    CURLU *u = curl_url();
    char *scheme = NULL;
    size_t n = strlen(address);
    int rc = 0;
    if (!u)
        return NOMEM(e, 4096, "an address");
    /* the address is not shown: it may hold a password */
    if (curl_url_set(u, CURLUPART_URL, address, 0) != CURLUE_OK ||
        curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
        (strcasecmp(scheme, "http") != 0 && strcasecmp(scheme, "https") != 0))
        rc = err_set(e, ERR_CONFIG,
                     "remote.base_url of %zu bytes is no address of http or https, such as "
                     "http://127.0.0.1:8000/v1",
                     n);
    else if (has_part(u, CURLUPART_USER) || has_part(u, CURLUPART_PASSWORD))
        rc = err_set(e, ERR_CONFIG,
                     "remote.base_url names a user or a password, which run.json would keep; name "
                     "the variable of a key in remote.key_env");
    else if (has_part(u, CURLUPART_QUERY) || has_part(u, CURLUPART_FRAGMENT))
        rc = err_set(e, ERR_CONFIG,
                     "remote.base_url has a query or a fragment; give the part before '?' or '#'");
    while (n && address[n - 1] == '/')
        n--;
    if (!rc)
        str_add(out, address, n);
    curl_free(scheme);
    curl_url_cleanup(u);
    return rc ? rc : str_ok(out, "an address", e);
}

/* ---- one job --------------------------------------------------------------------------------- */

static size_t on_head(char *data, size_t size, size_t n, void *user)
{
    struct wire_job *j = user;
    (void)data;
    j->head_bytes += size * n;
    j->endless = j->head_bytes > HEAD_MAX;
    return j->endless ? 0 : size * n;
}

static size_t on_body(char *data, size_t size, size_t n, void *user)
{
    struct wire_job *j = user;
    size_t all = size * n;
    j->endless = j->reply.len + all > WIRE_BODY;
    if (j->endless)
        return 0;
    str_add(&j->reply, data, all);
    return j->reply.failed ? 0 : all;
}

static bool job_set(struct wire *w, struct wire_job *j)
{
    CURL *c = j->curl;
    bool fine = true;
#define SET(option, value) fine = fine && curl_easy_setopt(c, (option), (value)) == CURLE_OK
    SET(CURLOPT_URL, j->url);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_USERAGENT, "mas");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    SET(CURLOPT_CONNECTTIMEOUT, CONNECT_S);
    SET(CURLOPT_TIMEOUT_MS, (long)(j->timeout_s * 1000));
    SET(CURLOPT_HTTPHEADER, w->headers);
    SET(CURLOPT_HEADERFUNCTION, on_head);
    SET(CURLOPT_HEADERDATA, j);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, j);
    SET(CURLOPT_PRIVATE, j);
    if (j->body) {
        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)j->body_len);
        SET(CURLOPT_POSTFIELDS, j->body);
    }
#undef SET
    return fine;
}

static enum wire_end job_broke(const struct wire_job *j, CURLcode code)
{
    switch (code) {
    case CURLE_OUT_OF_MEMORY:
        return WIRE_STARVED;
    case CURLE_OPERATION_TIMEDOUT:
        return WIRE_LATE;
    case CURLE_WRITE_ERROR: /* a reply without end, or no memory for it */
        return j->endless ? WIRE_WRONG : WIRE_STARVED;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_URL_MALFORMAT:
        return WIRE_WRONG;
    default: /* also no http at all: bytes left over from the reply before */
        return WIRE_BROKEN;
    }
}

static void job_end(struct wire_job *j, CURLcode code)
{
    curl_off_t wait = 0;
    char *goes = NULL;
    curl_easy_getinfo(j->curl, CURLINFO_RESPONSE_CODE, &j->status);
    j->end = WIRE_REPLY;
    if (code != CURLE_OK) {
        j->end = job_broke(j, code);
        snprintf(j->why, sizeof j->why, "%s",
                 j->endless                           ? "the server sends more than a reply has"
                 : code == CURLE_UNSUPPORTED_PROTOCOL ? "the server does not answer in http"
                                                      : curl_easy_strerror(code));
    }
    if (curl_easy_getinfo(j->curl, CURLINFO_RETRY_AFTER, &wait) == CURLE_OK && wait > 0)
        j->wait_s = (double)wait;
    if (j->status >= 300 && j->status < 400 &&
        curl_easy_getinfo(j->curl, CURLINFO_REDIRECT_URL, &goes) == CURLE_OK && goes)
        snprintf(j->goes, sizeof j->goes, "%.*s", (int)strcspn(goes, "?#"), goes);
}

void wire_job_free(struct wire_job *j)
{
    if (j->reply.s)
        str_free(&j->reply);
    j->reply = (struct str)STR_INIT;
}

static void job_drop(struct wire *w, struct wire_job *j)
{
    curl_multi_remove_handle(w->multi, j->curl);
    curl_easy_cleanup(j->curl);
    j->curl = NULL;
}

/* ---- all jobs -------------------------------------------------------------------------------- */

static bool add_header(struct wire *w, const char *text)
{
    struct curl_slist *more = curl_slist_append(w->headers, text);
    if (more)
        w->headers = more;
    return more != NULL;
}

/* A key is one word of visible ASCII: anything else could begin another header. */
static int check_key(const char *key, struct err *e)
{
    if (!*key)
        FAIL(e, ERR_CONFIG, "the key is empty; set the variable that remote.key_env names");
    for (const char *p = key; *p; p++)
        if (*p <= 0x20 || *p >= 0x7f)
            FAIL(e, ERR_CONFIG,
                 "byte %zu of the key is 0x%02x, which no header may hold; set the variable that "
                 "remote.key_env names without line ends and spaces",
                 (size_t)(p - key) + 1, (unsigned)(unsigned char)*p);
    return 0;
}

int wire_open(const char *key, struct wire **out, struct err *e)
{
    struct str line = STR_INIT;
    struct wire *w = NULL;
    int rc = 0;
    if (key)
        TRY(check_key(key, e));
    w = mem_zalloc(1, sizeof *w);
    if (!w)
        return NOMEM(e, sizeof *w, "a connection");
    w->multi = curl_multi_init();
    if (key)
        str_addf(&line, "Authorization: Bearer %s", key);
    if (!w->multi || line.failed || !add_header(w, "Content-Type: application/json") ||
        !add_header(w, "Accept: application/json") || !add_header(w, "Expect:") ||
        (key && !add_header(w, line.s)))
        rc = NOMEM(e, 4096, "a connection");
    str_free(&line);
    if (rc < 0) {
        wire_close(w);
        return rc;
    }
    *out = w;
    return 0;
}

void wire_close(struct wire *w)
{
    if (!w)
        return;
    curl_slist_free_all(w->headers);
    curl_multi_cleanup(w->multi);
    mem_free(w);
}

int wire_start(struct wire *w, struct wire_job *j, struct err *e)
{
    wire_job_free(j);
    j->status = 0;
    j->wait_s = -1;
    j->why[0] = j->goes[0] = 0;
    j->head_bytes = 0;
    j->endless = false;
    j->curl = curl_easy_init();
    if (!j->curl)
        return NOMEM(e, 4096, "a request");
    if (job_set(w, j) && curl_multi_add_handle(w->multi, j->curl) == CURLM_OK)
        return 0;
    curl_easy_cleanup(j->curl);
    j->curl = NULL;
    return NOMEM(e, 4096, "a request");
}

static struct wire_job *wire_ended(struct wire *w)
{
    int left = 0, running = 0;
    curl_multi_perform(w->multi, &running);
    for (CURLMsg *m; (m = curl_multi_info_read(w->multi, &left));) {
        char *user = NULL;
        if (m->msg != CURLMSG_DONE)
            continue;
        CURLcode code = m->data.result;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &user);
        struct wire_job *j = (struct wire_job *)(void *)user;
        job_end(j, code);
        job_drop(w, j);
        return j;
    }
    return NULL;
}

struct wire_job *wire_next(struct wire *w, int timeout_ms)
{
    struct wire_job *j = wire_ended(w);
    if (j)
        return j;
    curl_multi_poll(w->multi, NULL, 0, timeout_ms, NULL);
    return wire_ended(w);
}

void wire_stop(struct wire *w, struct wire_job *j)
{
    if (j->curl)
        job_drop(w, j);
}
