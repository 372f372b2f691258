#include "remote.h"

#include <ctype.h>
#include <string.h>

#include "clock.h"
#include "form.h"
#include "log.h"
#include "mem.h"
#include "retry.h"

int remote_open(struct remote *r, const char *address, const char *key, struct err *e)
{
    r->base = (struct str)STR_INIT;
    r->wire = NULL;
    int rc = wire_address(address, &r->base, e);
    if (rc == 0)
        rc = wire_open(key, &r->wire, e);
    if (rc < 0)
        remote_close(r);
    return rc;
}

void remote_close(struct remote *r)
{
    wire_close(r->wire);
    r->wire = NULL;
    if (r->base.s)
        str_free(&r->base);
}

int remote_url(const struct remote *r, bool root, const char *path, struct str *out, struct err *e)
{
    size_t n = r->base.len;
    if (root && n > 3 && !memcmp(r->base.s + n - 3, "/v1", 3))
        n -= 3;
    str_add(out, r->base.s, n);
    str_adds(out, path);
    return str_ok(out, "an address", e);
}

/* ---- verdicts -------------------------------------------------------------------------------- */

/* Does the text have one of the words, in any case? */
static bool has_word(const struct str *text, const char *const *words)
{
    for (; *words; words++) {
        size_t k = strlen(*words);
        for (size_t i = 0; i + k <= text->len; i++) {
            size_t same = 0;
            while (same < k && tolower((unsigned char)text->s[i + same]) == (*words)[same])
                same++;
            if (same == k)
                return true;
        }
    }
    return false;
}

/* A refusal of one request. */
static enum remote_verdict judge_refusal(const struct wire_job *j, const struct str *said)
{
    static const char *const of_length[] = {"context", "too long", "too many tokens",
                                            "maximum length", NULL};
    static const char *const of_filter[] = {"content_filter", "content filter", "content policy",
                                            "safety", NULL};
    static const char *const of_schema[] = {"schema",  "response_format", "guided",
                                            "grammar", "format",          NULL};
    if (has_word(said, of_length) || has_word(&j->reply, of_filter))
        return REMOTE_CALL;
    return has_word(said, of_schema) ? REMOTE_SCHEMA : REMOTE_STOP;
}

static enum remote_verdict judge_status(const struct remote *r, const struct wire_job *j,
                                        const struct str *said, struct err *why)
{
    const char *at = r->base.s, *text = said->s;
    long s = j->status;
    int code = ERR_AGAIN;
    enum remote_verdict v = REMOTE_STOP;
    if (s == 408 || s == 425 || s == 429 || (s >= 500 && s != 501)) {
        v = REMOTE_AGAIN;
        err_set(why, code, "%s answers %ld%s: %s", at, s, s == 429 ? " (too many requests)" : "",
                text);
    } else if (s == 401 || s == 403) {
        err_set(why, code,
                "%s answers %ld: %s; name the variable that holds its key in remote.key_env", at, s,
                text);
    } else if (s >= 300 && s < 400) {
        err_set(why, code,
                "%s answers %ld and redirects to %s; redirections are not followed: set "
                "remote.base_url",
                at, s, j->goes[0] ? j->goes : "no address");
    } else if (s == 400 || s == 413 || s == 422) {
        v = judge_refusal(j, said);
        err_set(why, v == REMOTE_CALL ? ERR_DATA : code, "%s answers %ld: %s", at, s, text);
    } else {
        size_t n = r->base.len;
        bool bare = s == 404 && (n < 3 || memcmp(at + n - 3, "/v1", 3) != 0);
        err_set(why, code, "%s answers %ld: %s%s", at, s, text,
                bare ? "; the address of an API of OpenAI usually ends in /v1" : "");
    }
    return v;
}

enum remote_verdict remote_judge(const struct remote *r, const struct wire_job *j, struct err *why)
{
    struct str said = STR_INIT;
    enum remote_verdict v;
    switch (j->end) {
    case WIRE_STARVED:
        NOMEM(why, 4096, "a reply");
        return REMOTE_STOP;
    case WIRE_WRONG:
        err_set(why, ERR_AGAIN, "%s: %s", r->base.s, j->why);
        return REMOTE_STOP;
    case WIRE_LATE:
        err_set(why, ERR_AGAIN, "%s: no reply within %g s (remote.timeout_seconds)", r->base.s,
                j->timeout_s);
        return REMOTE_AGAIN;
    case WIRE_BROKEN:
        err_set(why, ERR_AGAIN, "%s: %s", r->base.s, j->why);
        return REMOTE_AGAIN;
    case WIRE_REPLY:
        break;
    }
    if (j->status == 200)
        return REMOTE_GOOD;
    form_fault(j->reply.s, j->reply.len, &said);
    v = judge_status(r, j, &said, why);
    str_free(&said);
    return v;
}

/* ---- one request ----------------------------------------------------------------------------- */

#define STOP_MS 100 /* between two looks at stop */

static int remote_stopped(const struct remote *r, struct err *e)
{
    if (r->stop && atomic_load(r->stop))
        FAIL(e, ERR_CANCEL, "stopped while %s was asked", r->base.s);
    return 0;
}

static int wait_for(const struct remote *r, struct wire_job *j, struct err *e)
{
    TRY(wire_start(r->wire, j, e));
    while (!wire_next(r->wire, STOP_MS)) {
        int rc = remote_stopped(r, e);
        if (rc < 0) {
            wire_stop(r->wire, j);
            return rc;
        }
    }
    return 0;
}

/* Says the failure, and waits before the next attempt. */
static int wait_again(const struct remote *r, int attempt, double wait, const struct err *why,
                      struct err *e)
{
    log_warn("%s; attempt %d of %d in %.1f s", why->msg, attempt + 1, r->retries + 1, wait);
    for (int64_t until = clock_ns() + (int64_t)(wait * 1e9), now; (now = clock_ns()) < until;) {
        int64_t ms = (until - now) / 1000000 + 1;
        TRY(remote_stopped(r, e));
        (void)wire_next(r->wire, ms < STOP_MS ? (int)ms : STOP_MS);
    }
    return remote_stopped(r, e);
}

int remote_ask(const struct remote *r, bool root, const char *path, const struct str *body,
               struct wire_job *j, struct err *e)
{
    int64_t end = clock_ns() + (int64_t)(r->deadline_s * 1e9);
    struct str url = STR_INIT;
    struct err why = {.code = 0};
    int rc;
    TRY_DONE(remote_url(r, root, path, &url, e));
    *j = (struct wire_job){.url = url.s,
                           .body = body ? body->s : NULL,
                           .body_len = body ? body->len : 0,
                           .timeout_s = r->timeout_s,
                           .reply = STR_INIT};
    for (int attempt = 1;; attempt++) {
        TRY_DONE(wait_for(r, j, e));
        enum remote_verdict v = remote_judge(r, j, &why);
        if (v == REMOTE_GOOD || (v != REMOTE_AGAIN && j->end == WIRE_REPLY))
            break;
        double wait = retry_wait(r->retry_s, attempt, j->wait_s, (uint64_t)end);
        if (v == REMOTE_STOP || attempt > r->retries || clock_ns() + (int64_t)(wait * 1e9) > end)
            TRY_DONE(err_set(e, why.code, "%s", why.msg));
        TRY_DONE(wait_again(r, attempt, wait, &why, e));
    }
done:
    j->url = j->body = NULL;
    str_free(&url);
    return rc;
}
