#include "replay.h"

#include <stdio.h>
#include <string.h>

#include "jdoc.h"
#include "mem.h"
#include "shard.h"
#include "trace_parts.h"
#include "zio.h"

/* Notes the places of the lines of every case in text[0..end). */
static int replay_index(struct replay *r, size_t end, struct err *e)
{
    struct replay_case c = {.n_calls = 0};
    for (size_t at = 0; at < end;) {
        const char *nl = memchr(r->text.s + at, '\n', end - at);
        const size_t next = nl ? (size_t)(nl - r->text.s) + 1 : end;
        if (memcmp(r->text.s + at, "{\"case\"", 7) != 0) {
            c.n_calls++;
        } else {
            c.last = at;
            c.end = next;
            c.result = r->n;
            TRY(mem_grow(&r->c, &r->cap, r->n + 1, sizeof *r->c, "cases", e));
            r->c[r->n++] = c;
            c = (struct replay_case){.first = next};
        }
        at = next;
    }
    if (r->n != r->results.n)
        FAIL(e, ERR_BUG, "%zu cases in the text, %zu results", r->n, r->results.n);
    return 0;
}

static int replay_load(const struct folder *f, struct replay *r, struct err *e)
{
    unsigned char *has = NULL;
    size_t n_has = 0;
    struct trace_scan s = {.results = &r->results, .has = &has, .n_has = &n_has};
    int rc;
    if (trace_parts_any(f)) {
        TRY_DONE(trace_parts_text(f, &r->text, &r->unfinished, e));
        memcpy(r->path, f->dir, strlen(f->dir) + 1);
        TRY_DONE(trace_scan(&s, r->text.s, r->text.len, e));
        rc = replay_index(r, s.good_end, e);
        goto done;
    }
    TRY_DONE(trace_text(f, r->path, &r->text, e));
    if (!*r->path)
        goto done;
    TRY_DONE(trace_scan(&s, r->text.s, r->text.len, e));
    if (s.damaged)
        TRY_DONE(trace_refuse(&s, r->path, e));
    r->unfinished = r->text.len - s.good_end;
    TRY_DONE(replay_index(r, s.good_end, e));
done:
    mem_free(has);
    return rc;
}

int replay_open(const char *dir, struct replay *out, struct err *e)
{
    struct folder f = {.lock = -1};
    struct replay r = {.text = STR_INIT};
    if (strlen(dir) >= sizeof f.dir)
        FAIL(e, ERR_NOINPUT, "the folder's name has %zu bytes, the limit is %zu", strlen(dir),
             sizeof f.dir - 1);
    memcpy(f.dir, dir, strlen(dir) + 1);
    TRY(shard_refuse_unmerged(dir, e));
    if (!folder_has(&f, "run.json"))
        FAIL(e, ERR_NOINPUT,
             "%s is no folder of a run: it has no run.json; mas eval prints the "
             "name of its folder",
             dir);
    int rc = replay_load(&f, &r, e);
    if (rc < 0)
        replay_free(&r);
    else
        *out = r;
    return rc;
}

void replay_free(struct replay *r)
{
    if (r->text.s)
        str_free(&r->text);
    results_free(&r->results);
    mem_free(r->c);
    *r = (struct replay){.text = STR_INIT};
}

int replay_find(const struct replay *r, const char *id, const struct replay_case **out,
                struct err *e)
{
    const size_t n = strlen(id);
    size_t found = 0;
    for (size_t i = 0; i < r->n && n; i++) {
        const char *have = r->results.r[r->c[i].result].id;
        if (strncmp(have, id, n) != 0)
            continue;
        *out = &r->c[i];
        found++;
        if (!have[n])
            return 0;
    }
    if (!found)
        FAIL(e, ERR_NOINPUT,
             "no finished case '%.40s' among %zu; results.csv lists them as "
             "trace_id",
             id, r->n);
    if (found > 1)
        FAIL(e, ERR_USAGE, "%zu cases begin with '%.40s'; give more digits", found, id);
    return 0;
}

bool replay_line(const struct replay *r, const struct replay_case *c, size_t *at, const char **line,
                 size_t *n)
{
    if (*at >= c->end)
        return false;
    const char *begin = r->text.s + *at, *nl = memchr(begin, '\n', c->end - *at);
    const size_t len = nl ? (size_t)(nl - begin) : c->end - *at;
    *line = begin;
    *n = len;
    *at += len + (nl ? 1 : 0);
    return true;
}

int replay_parse(const char *line, size_t n, json_t **out, struct err *e)
{
    return jdoc_value(line, n, out, e);
}

const char *replay_text(const json_t *line, const char *key, size_t *n)
{
    const json_t *v = json_object_get(line, key);
    *n = json_is_string(v) ? json_string_length(v) : 0;
    return json_is_string(v) ? json_string_value(v) : "";
}
