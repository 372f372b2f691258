#include "trace.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "jdoc.h"
#include "jscan.h"
#include "mem.h"
#include "outfile.h"
#include "sha256.h"
#include "trace_diff.h"
#include "trace_scan.h"
#include "zio.h"

#define TRACE_BYTES ((size_t)16 << 30) /* largest trace that is read back */
#define TRACE_RUN ((size_t)64 << 20)   /* largest run.json that is read back */
#define TRACE_MEMBER 32                /* cases in one gzip member */

struct trace {
    char dir[1024];
    int lock, fd; /* fd: traces.jsonl, -1 until something is appended */
    off_t end;    /* last good end of traces.jsonl */
    bool sealed;  /* only the .gz is there */
    bool plain;   /* traces.jsonl is there */
    struct results results;
    unsigned char *has; /* (n_has) by question index */
    size_t n_has;
    struct str notes;
    struct str head; /* run.json up to its figures */
    struct str json; /* all of it, as last written */
};

/* ---- files ----------------------------------------------------------------------------------- */

static void trace_path(const struct trace *t, const char *name, char out[1100])
{
    snprintf(out, 1100, "%s/%s", t->dir, name);
}

static bool trace_exists(const struct trace *t, const char *name)
{
    char path[1100];
    struct stat st;
    trace_path(t, name, path);
    return stat(path, &st) == 0;
}

static int trace_sync_dir(const struct trace *t, struct err *e)
{
    int fd = open(t->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int bad = fd < 0 || fsync(fd) != 0;
    if (fd >= 0)
        close(fd);
    if (bad)
        FAIL(e, ERR_IO, "cannot sync the folder %s: %s", t->dir, strerror(errno));
    return 0;
}

/* Writes a whole file so that after a crash it is there completely or not at all. */
static int trace_replace(const struct trace *t, const char *name, const void *data, size_t n,
                         struct err *e)
{
    char path[1100];
    trace_path(t, name, path);
    return outfile_save(path, data, n, e);
}

static int trace_mkdir(struct trace *t, const char *dir, struct err *e)
{
    size_t n = strlen(dir);
    if (!n || n >= sizeof t->dir)
        FAIL(e, ERR_CREATE, "the name of the run's folder has %zu bytes, expected 1 to %zu", n,
             sizeof t->dir - 1);
    memcpy(t->dir, dir, n + 1);
    while (n > 1 && t->dir[n - 1] == '/')
        t->dir[--n] = 0;
    for (size_t i = 1; i <= n; i++) {
        if (t->dir[i] != '/' && t->dir[i] != 0)
            continue;
        t->dir[i] = 0;
        int failed = mkdir(t->dir, 0777) != 0 && errno != EEXIST;
        if (failed)
            FAIL(e, ERR_CREATE, "cannot create the folder %s: %s", t->dir, strerror(errno));
        if (i < n)
            t->dir[i] = '/';
    }
    return 0;
}

static int trace_lock(struct trace *t, struct err *e)
{
    char path[1100], pid[32] = "";
    trace_path(t, "lock", path);
    t->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (t->lock < 0)
        FAIL(e, ERR_CREATE, "cannot create %s: %s", path, strerror(errno));
    if (flock(t->lock, LOCK_EX | LOCK_NB) != 0) {
        ssize_t n = errno == EWOULDBLOCK ? pread(t->lock, pid, sizeof pid - 1, 0) : -1;
        if (n < 0)
            FAIL(e, ERR_CREATE, "cannot lock %s: %s", path, strerror(errno));
        pid[strspn(pid, "0123456789")] = 0;
        FAIL(e, ERR_CREATE,
             "%s is being written by process %s; wait for it or choose another --out", t->dir,
             pid[0] ? pid : "(unknown)");
    }
    int n = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if (ftruncate(t->lock, 0) != 0)
        FAIL(e, ERR_IO, "cannot write %s: %s", path, strerror(errno));
    return zio_write_all(t->lock, path, pid, (size_t)n, e);
}

/* ---- opening --------------------------------------------------------------------------------- */

/* The next free name of the form stem.N or stem. */
static void trace_free_name(const struct trace *t, const char *stem, char out[64])
{
    snprintf(out, 64, "%s", stem);
    for (int i = 2; trace_exists(t, out) && i < 10000; i++)
        snprintf(out, 64, "%s.%d", stem, i);
}

/* Cuts the unfinished tail off, after it has been written elsewhere. */
static int trace_cut(struct trace *t, const char *tail, size_t n, struct err *e)
{
    char path[1100], name[64];
    int rc = 0;
    trace_free_name(t, "traces.jsonl.tail.bad", name);
    TRY(trace_replace(t, name, tail, n, e));
    trace_path(t, "traces.jsonl", path);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || ftruncate(fd, t->end) != 0 || fsync(fd) != 0)
        rc = err_set(e, ERR_IO, "cannot cut %s back to %lld bytes: %s", path, (long long)t->end,
                     strerror(errno));
    if (fd >= 0)
        close(fd);
    if (!rc)
        str_addf(&t->notes,
                 "the last case was being written when the run ended: %zu bytes cut off and kept "
                 "as %s/%s\n",
                 n, t->dir, name);
    return rc;
}

/* Puts the good cases in place of the damaged file, which is kept. */
static int trace_repair(struct trace *t, const struct trace_scan *s, const struct str *kept,
                        struct err *e)
{
    char path[1100], bad[1100], name[64];
    trace_free_name(t, "traces.jsonl.bad", name);
    trace_path(t, "traces.jsonl", path);
    trace_path(t, name, bad);
    if (link(path, bad) != 0)
        FAIL(e, ERR_IO, "cannot keep the damaged trace as %s: %s", bad, strerror(errno));
    TRY(trace_replace(t, "traces.jsonl", kept->s, kept->len, e));
    t->end = (off_t)kept->len;
    str_addf(&t->notes,
             "repaired: %lld damaged places from line %lld on, %zu cases kept; the damaged file "
             "is %s\n",
             (long long)s->damaged, (long long)s->first_bad, t->results.n, bad);
    return 0;
}

static int trace_load_plain(struct trace *t, bool repair, struct err *e)
{
    char path[1100];
    struct str text = STR_INIT, kept = STR_INIT;
    struct trace_scan s = {
        .results = &t->results, .has = &t->has, .n_has = &t->n_has, .kept = repair ? &kept : NULL};
    int rc;
    trace_path(t, "traces.jsonl", path);
    TRY_DONE(zio_read(path, TRACE_BYTES, &text, e));
    TRY_DONE(trace_scan(&s, text.s, text.len, e));
    TRY_DONE(str_ok(&kept, "a repaired trace", e));
    t->end = (off_t)s.good_end;
    t->plain = true;
    if (s.damaged && !repair)
        rc = trace_refuse(&s, path, e);
    else if (s.damaged)
        rc = trace_repair(t, &s, &kept, e);
    else if (s.good_end < text.len)
        rc = trace_cut(t, text.s + s.good_end, text.len - s.good_end, e);
done:
    str_free(&text);
    str_free(&kept);
    return rc;
}

static int trace_load_sealed(struct trace *t, struct err *e)
{
    char path[1100];
    struct str text = STR_INIT;
    struct trace_scan s = {.results = &t->results, .has = &t->has, .n_has = &t->n_has};
    int rc;
    trace_path(t, "traces.jsonl.gz", path);
    TRY_DONE(zio_read(path, TRACE_BYTES, &text, e));
    TRY_DONE(trace_scan(&s, text.s, text.len, e));
    if (s.damaged)
        rc = trace_refuse(&s, path, e);
    else if (s.good_end < text.len)
        rc = err_set(e, ERR_DATA, "%s: ends in the middle of a case", path);
    t->sealed = !rc;
done:
    str_free(&text);
    return rc;
}

/* ---- what the run is ------------------------------------------------------------------------- */

/* ERR_CONFIG unless the document is of the format that this program writes. */
static int trace_format(const json_t *doc, const char *dir, struct err *e)
{
    json_int_t format = json_integer_value(json_object_get(doc, "format"));
    if (format != TRACE_FORMAT)
        FAIL(e, ERR_CONFIG,
             "%s was written in format %lld, this program reads and writes format %d: it names "
             "questions in another way; read it with the version that wrote it, or begin in "
             "another folder",
             dir, (long long)format, TRACE_FORMAT);
    return 0;
}

/* A value of run.json as it stands there, so that writing it again changes no digit. */
struct trace_raw {
    const char *s;
    size_t n;
};

static int trace_raw_member(const char *s, size_t n, const char *key, struct trace_raw *out,
                            struct err *e)
{
    struct jscan j = {.n = 0};
    struct jscan_item it = {.key = NULL};
    int rc, more;
    jscan_set(&j, s, n);
    TRY_DONE(jscan_open(&j, '{', e));
    while ((more = jscan_next(&j, &it, e)) > 0)
        if (jscan_key(&it, key))
            *out = (struct trace_raw){.s = it.value, .n = it.n};
    rc = more;
    if (!rc && !out->n)
        rc = err_set(e, ERR_DATA, "key '%s' is missing", key);
done:
    jscan_free(&j);
    return rc;
}

/* The items of an array but the last, and the last. */
static int trace_raw_last(const struct trace_raw *list, struct trace_raw *before,
                          struct trace_raw *last, struct err *e)
{
    struct jscan j = {.n = 0};
    struct jscan_item it = {.key = NULL};
    const char *begin = NULL, *end = NULL;
    int rc, more;
    jscan_set(&j, list->s, list->n);
    TRY_DONE(jscan_open(&j, '[', e));
    while ((more = jscan_next(&j, &it, e)) > 0) {
        begin = begin ? begin : it.value;
        end = last->n ? last->s + last->n : begin;
        *last = (struct trace_raw){.s = it.value, .n = it.n};
    }
    rc = more;
    if (!rc && !last->n)
        rc = err_set(e, ERR_DATA, "'sessions' is empty");
    if (!rc)
        *before = (struct trace_raw){.s = begin, .n = (size_t)(end - begin)};
done:
    jscan_free(&j);
    return rc;
}

static void trace_now(char out[32])
{
    struct tm tm;
    time_t now = time(NULL);
    gmtime_r(&now, &tm);
    strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

static void trace_session(struct str *out, long long starts, const char *began, const char *about)
{
    char now[32];
    trace_now(now);
    str_addf(out, "{\"starts\": %lld, \"began\": ", starts);
    str_add_json(out, began ? began : now, strlen(began ? began : now));
    str_addf(out, ", \"last_start\": \"%s\", \"about\": %s}", now, about);
}

/* The sessions of run.json, and this one: the last goes on when the settings are the same. */
static int trace_sessions(struct trace *t, const struct trace_options *o, const json_t *doc,
                          const struct str *text, struct str *out, struct err *e)
{
    struct trace_raw list = {.n = 0}, before = {.n = 0}, last = {.n = 0};
    struct str diff = STR_INIT;
    json_t *sessions = NULL, *about = NULL;
    json_int_t starts = 0;
    const char *began = NULL;
    int rc, n = 0;
    TRY_DONE(trace_raw_member(text->s, text->len, "sessions", &list, e));
    TRY_DONE(trace_raw_last(&list, &before, &last, e));
    TRY_DONE(jdoc_array(doc, "sessions", 1, 1000000, &sessions, e));
    const json_t *was = json_array_get(sessions, json_array_size(sessions) - 1);
    TRY_DONE(jdoc_get(was, "about", JSON_OBJECT, &about, e));
    TRY_DONE(jdoc_int(was, "starts", 1, INT64_MAX - 1, &starts, e));
    TRY_DONE(jdoc_string(was, "began", &began, e));
    TRY_DONE(trace_differences(about, o->about, &n, &diff, e));
    str_add(out, before.s, before.n);
    if (n) {
        str_addf(&t->notes, "continued with: %s\n", diff.s);
        str_adds(out, before.n ? ",\n" : "");
        str_add(out, last.s, last.n);
    }
    str_adds(out, n || before.n ? ",\n" : "");
    trace_session(out, n ? 1 : starts + 1, n ? NULL : began, o->about);
done:
    str_free(&diff);
    return rc;
}

static int trace_head(struct trace *t, const struct trace_options *o, const char *identity,
                      size_t n, const struct str *sessions, struct err *e)
{
    struct str records = STR_INIT;
    char sha256[65];
    size_t asked = o->asked && o->asked < o->data->n_records ? o->asked : o->data->n_records;
    int rc;
    records_write(o->data, &records);
    TRY_DONE(str_ok(&records, "records.jsonl", e));
    TRY_DONE(sha256_hex(records.s, records.len, sha256, e));
    str_clear(&t->head);
    str_addf(&t->head, "{\"format\": %d,\n\"identity\": ", TRACE_FORMAT);
    str_add(&t->head, identity, n);
    str_addf(&t->head, ",\n\"asked\": %zu,\n\"data\": ", asked);
    records_describe(o->data, sha256, &t->head);
    str_addf(&t->head, ",\n\"sessions\": [%s],\n\"figures\": ", sessions->s);
    TRY_DONE(str_ok(&t->head, "run.json", e));
    TRY_DONE(trace_replace(t, "records.jsonl", records.s, records.len, e));
done:
    str_free(&records);
    return rc;
}

int trace_figures(struct trace *t, const char *figures, struct err *e)
{
    struct str s = STR_INIT;
    int rc;
    str_addf(&s, "%s%s}\n", t->head.s, figures);
    TRY_DONE(str_ok(&s, "run.json", e));
    TRY_DONE(trace_replace(t, "run.json", s.s, s.len, e));
    str_free(&t->json);
    t->json = s;
    s = (struct str)STR_INIT;
done:
    str_free(&s);
    return rc;
}

const char *trace_json(const struct trace *t)
{
    return t->json.s;
}

static int trace_same(struct trace *t, const struct trace_options *o, const json_t *doc,
                      struct err *e)
{
    struct str diff = STR_INIT;
    json_t *was = NULL;
    int rc, n = 0;
    TRY_DONE(jdoc_get(doc, "identity", JSON_OBJECT, &was, e));
    TRY_DONE(trace_differences(was, o->identity, &n, &diff, e));
    if (n)
        rc = err_set(e, ERR_CONFIG,
                     "%s holds another run: %s; choose another --out, or start again by "
                     "mas eval --force-new (the present results are kept in a subfolder)",
                     t->dir, diff.s);
done:
    str_free(&diff);
    return rc;
}

/* A run.json that is there: it must be of this run. Prepares the new one. */
static int trace_check(struct trace *t, const struct trace_options *o, struct err *e)
{
    char path[1100];
    struct str text = STR_INIT, sessions = STR_INIT;
    struct trace_raw identity = {.n = 0};
    json_t *doc = NULL;
    int rc;
    trace_path(t, "run.json", path);
    TRY_DONE(zio_read(path, TRACE_RUN, &text, e));
    rc = jdoc_load(text.s, text.len, &doc, e);
    if (!rc)
        rc = trace_format(doc, t->dir, e);
    if (!rc)
        rc = trace_same(t, o, doc, e);
    if (!rc)
        rc = trace_sessions(t, o, doc, &text, &sessions, e);
    if (!rc)
        rc = trace_raw_member(text.s, text.len, "identity", &identity, e);
    if (rc == ERR_DATA)
        err_wrap(e, rc, "%s", path);
    if (!rc)
        rc = str_ok(&sessions, "run.json", e);
    if (!rc)
        rc = trace_head(t, o, identity.s, identity.n, &sessions, e);
done:
    json_decref(doc);
    str_free(&text);
    str_free(&sessions);
    return rc;
}

static int trace_start(struct trace *t, const struct trace_options *o, struct err *e)
{
    struct str sessions = STR_INIT;
    int rc;
    trace_session(&sessions, 1, NULL, o->about);
    TRY_DONE(str_ok(&sessions, "run.json", e));
    TRY_DONE(trace_head(t, o, o->identity, strlen(o->identity), &sessions, e));
done:
    str_free(&sessions);
    return rc;
}

/* Moves what a former run left into the first free old-N. */
static int trace_set_aside(struct trace *t, struct err *e)
{
    static const char *const names[] = {"run.json",     "traces.jsonl", "traces.jsonl.gz",
                                        "summary.json", "results.csv",  "records.jsonl"};
    char sub[64], from[1100], to[1200];
    bool any = false;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        any |= trace_exists(t, names[i]);
    if (!any)
        return 0;
    for (int i = 1;; i++) {
        snprintf(sub, sizeof sub, "old-%d", i);
        trace_path(t, sub, to);
        if (mkdir(to, 0777) == 0)
            break;
        if (errno != EEXIST || i > 10000)
            FAIL(e, ERR_CREATE, "cannot create %s: %s", to, strerror(errno));
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        trace_path(t, names[i], from);
        snprintf(to, sizeof to, "%s/%s/%s", t->dir, sub, names[i]);
        if (rename(from, to) != 0 && errno != ENOENT)
            FAIL(e, ERR_IO, "cannot move %s: %s", from, strerror(errno));
    }
    str_addf(&t->notes, "the former results are in %s/%s\n", t->dir, sub);
    return trace_sync_dir(t, e);
}

static int trace_load(struct trace *t, const struct trace_options *o, struct err *e)
{
    if (o->fresh)
        TRY(trace_set_aside(t, e));
    if (trace_exists(t, "run.json"))
        TRY(trace_check(t, o, e));
    else if (trace_exists(t, "traces.jsonl") || trace_exists(t, "traces.jsonl.gz"))
        FAIL(e, ERR_CONFIG,
             "%s holds traces but no run.json; choose another --out, or start again by "
             "mas eval --force-new",
             t->dir);
    else if (trace_exists(t, "summary.json") || trace_exists(t, "results.csv"))
        FAIL(e, ERR_CONFIG,
             "%s holds summary.json or results.csv of no run (there is no run.json); choose "
             "another --out, or "
             "start again by mas eval --force-new, which moves them to a subfolder",
             t->dir);
    else
        TRY(trace_start(t, o, e));
    if (trace_exists(t, "traces.jsonl"))
        TRY(trace_load_plain(t, o->repair, e));
    else if (trace_exists(t, "traces.jsonl.gz"))
        TRY(trace_load_sealed(t, e));
    TRY(trace_figures(t, "null", e));
    return str_ok(&t->notes, "notes", e);
}

int trace_open(const struct trace_options *opt, struct trace **out, struct err *e)
{
    struct trace *t = mem_zalloc(1, sizeof *t);
    int rc;
    if (!t)
        return NOMEM(e, sizeof *t, "a trace");
    t->lock = t->fd = -1;
    t->notes = t->head = t->json = (struct str)STR_INIT;
    TRY_DONE(trace_mkdir(t, opt->dir, e));
    TRY_DONE(trace_lock(t, e));
    TRY_DONE(trace_load(t, opt, e));
    *out = t;
    t = NULL;
done:
    trace_close(t);
    return rc;
}

void trace_close(struct trace *t)
{
    if (!t)
        return;
    if (t->fd >= 0)
        close(t->fd);
    if (t->lock >= 0)
        close(t->lock); /* gives the lock back */
    results_free(&t->results);
    mem_free(t->has);
    str_free(&t->notes);
    str_free(&t->head);
    str_free(&t->json);
    mem_free(t);
}

const char *trace_notes(const struct trace *t)
{
    return t->notes.s;
}

const struct results *trace_results(const struct trace *t)
{
    return &t->results;
}

bool trace_has(const struct trace *t, int64_t index)
{
    return index >= 0 && (size_t)index < t->n_has && t->has[index];
}

/* ---- writing --------------------------------------------------------------------------------- */

/* A sealed run that goes on becomes a plain file again. */
static int trace_unseal(struct trace *t, struct err *e)
{
    char path[1100];
    struct str text = STR_INIT;
    int rc;
    trace_path(t, "traces.jsonl.gz", path);
    TRY_DONE(zio_read(path, TRACE_BYTES, &text, e));
    TRY_DONE(trace_replace(t, "traces.jsonl", text.s, text.len, e));
    t->end = (off_t)text.len;
    t->sealed = false;
    t->plain = true;
    if (unlink(path) != 0)
        rc = err_set(e, ERR_IO, "cannot remove %s: %s", path, strerror(errno));
done:
    str_free(&text);
    return rc;
}

static int trace_writable(struct trace *t, struct err *e)
{
    char path[1100];
    if (t->fd >= 0)
        return 0;
    if (t->sealed)
        TRY(trace_unseal(t, e));
    trace_path(t, "traces.jsonl", path);
    t->fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (t->fd < 0)
        FAIL(e, ERR_CREATE, "cannot write %s: %s", path, strerror(errno));
    t->plain = true;
    return trace_sync_dir(t, e);
}

static int trace_write(struct trace *t, const struct str *s, struct err *e)
{
    char path[1100];
    trace_path(t, "traces.jsonl", path);
    int rc = zio_write_all(t->fd, path, s->s, s->len, e);
    if (!rc && fdatasync(t->fd) != 0)
        rc = err_set(e, ERR_IO, "cannot sync %s: %s", path, strerror(errno));
    if (rc < 0) {
        /* if even this fails, the next open finds the tail and cuts it */
        int cut = ftruncate(t->fd, t->end);
        return err_wrap(e, rc, "the last case could not be written and is not counted%s",
                        cut == 0 ? "" : " (cutting it off failed too)");
    }
    t->end += (off_t)s->len;
    return 0;
}

int trace_append(struct trace *t, const struct consult *c, struct err *e)
{
    struct str s = STR_INIT;
    bool twice = false;
    int rc;
    size_t begin = 0;
    for (const struct consult_call *k = c->first; k; k = k->next) {
        begin = s.len;
        result_write_call(c, k, &s);
        trace_end_line(&s, begin);
    }
    begin = s.len;
    result_write(c, &s);
    trace_end_line(&s, begin);
    TRY_DONE(str_ok(&s, "a trace line", e));
    TRY_DONE(trace_writable(t, e));
    TRY_DONE(result_read(&t->results, s.s + begin, s.len - begin - 1, e));
    rc = trace_write(t, &s, e);
    if (!rc)
        rc = trace_mark(&t->has, &t->n_has, c->q->index, &twice, e);
    if (rc < 0)
        t->results.n--;
done:
    str_free(&s);
    return rc;
}

int trace_seal(struct trace *t, struct err *e)
{
    char path[1100];
    struct str text = STR_INIT, out = STR_INIT;
    size_t begin = 0;
    int rc, cases = 0;
    if (t->sealed || !t->plain)
        return 0;
    trace_path(t, "traces.jsonl", path);
    TRY_DONE(zio_read(path, TRACE_BYTES, &text, e));
    for (size_t at = 0; at < text.len;) {
        const char *nl = memchr(text.s + at, '\n', text.len - at);
        size_t end = nl ? (size_t)(nl - text.s) + 1 : text.len;
        cases += end - at > 10 && !memcmp(text.s + at, "{\"case\": \"", 10);
        at = end;
        if (cases == TRACE_MEMBER || (at == text.len && at > begin)) {
            TRY_DONE(zio_gzip(text.s + begin, at - begin, &out, e));
            begin = at;
            cases = 0;
        }
    }
    TRY_DONE(trace_replace(t, "traces.jsonl.gz", out.s, out.len, e));
    if (t->fd >= 0)
        close(t->fd);
    t->fd = -1;
    t->sealed = true;
    if (unlink(path) != 0)
        rc = err_set(e, ERR_IO, "cannot remove %s: %s", path, strerror(errno));
done:
    str_free(&text);
    str_free(&out);
    return rc;
}

/* ---- reading only ---------------------------------------------------------------------------- */

/* What run.json says: how many records were asked for, the price, the hash of records.jsonl. */
static int trace_read_run(const char *dir, struct trace_run *r, char sha256[65], struct err *e)
{
    json_t *doc = NULL, *data = NULL, *sessions = NULL;
    json_int_t asked = 0;
    const char *hash = NULL;
    int rc;
    r->price_kwh = (double)NAN;
    TRY_DONE(jdoc_load(r->json.s, r->json.len, &doc, e));
    TRY_DONE(trace_format(doc, dir, e));
    TRY_DONE(jdoc_int(doc, "asked", 0, TRACE_INDEX, &asked, e));
    TRY_DONE(jdoc_get(doc, "data", JSON_OBJECT, &data, e));
    TRY_DONE(jdoc_string(data, "records_sha256", &hash, e));
    snprintf(sha256, 65, "%s", hash);
    TRY_DONE(jdoc_array(doc, "sessions", 1, 1000000, &sessions, e));
    const json_t *last = json_array_get(sessions, json_array_size(sessions) - 1);
    const json_t *price =
        json_object_get(json_object_get(json_object_get(last, "about"), "config"), "price_kwh");
    if (json_is_number(price))
        r->price_kwh = json_number_value(price);
    r->asked = (size_t)asked;
done:
    json_decref(doc);
    return rc;
}

static int trace_read_records(const struct trace *t, struct trace_run *r, const char *sha256,
                              struct err *e)
{
    char path[1100], hash[65];
    struct str text = STR_INIT;
    int rc;
    trace_path(t, "records.jsonl", path);
    TRY_DONE(zio_read(path, TRACE_BYTES, &text, e));
    TRY_DONE(sha256_hex(text.s, text.len, hash, e));
    if (strcmp(hash, sha256) != 0)
        rc = err_set(e, ERR_DATA,
                     "%s is not the file that run.json names: damaged; mas eval on that "
                     "folder and its data writes it again",
                     path);
    if (!rc)
        rc = records_read(text.s, text.len, &r->records, e);
    if (rc < 0)
        goto done;
    if (r->asked > r->records.n)
        r->asked = r->records.n;
done:
    str_free(&text);
    return rc;
}

static int trace_read_cases(struct trace *t, struct trace_run *r, struct err *e)
{
    char path[1100];
    struct str text = STR_INIT;
    struct trace_scan s = {.results = &r->results,
                           .has = &t->has,
                           .n_has = &t->n_has,
                           .roles = &r->roles,
                           .asked = r->asked};
    int rc = 0;
    bool plain = trace_exists(t, "traces.jsonl");
    if (!plain && !trace_exists(t, "traces.jsonl.gz")) /* nothing was finished yet */
        return 0;
    trace_path(t, plain ? "traces.jsonl" : "traces.jsonl.gz", path);
    TRY_DONE(zio_read(path, TRACE_BYTES, &text, e));
    TRY_DONE(trace_scan(&s, text.s, text.len, e));
    if (s.damaged)
        rc = trace_refuse(&s, path, e);
    else if (s.good_end < text.len)
        str_addf(&r->notes, "%s: %zu bytes of an unfinished case left out\n", path,
                 text.len - s.good_end);
    results_sort(&r->results);
    for (size_t i = 0; !rc && i < r->results.n; i++) {
        const struct result *res = &r->results.r[i];
        size_t at = (size_t)res->index;
        if (at >= r->records.n || strcmp(r->records.r[at].id, res->id) != 0)
            rc = err_set(e, ERR_DATA, "%s: question %s is not record %zu of records.jsonl", path,
                         res->id, at + 1);
    }
done:
    str_free(&text);
    return rc;
}

int trace_read(const char *dir, struct trace_run *out, struct err *e)
{
    char path[1100], sha256[65];
    struct trace t = {.lock = -1, .fd = -1};
    struct trace_run r = {.json = STR_INIT, .notes = STR_INIT};
    int rc;
    if (strlen(dir) >= sizeof t.dir)
        FAIL(e, ERR_NOINPUT, "the folder's name has %zu bytes", strlen(dir));
    memcpy(t.dir, dir, strlen(dir) + 1);
    trace_path(&t, "run.json", path);
    TRY_DONE(zio_read(path, TRACE_RUN, &r.json, e));
    rc = trace_read_run(dir, &r, sha256, e);
    if (rc == ERR_DATA)
        err_wrap(e, rc, "%s", path);
    TRY_DONE(rc);
    TRY_DONE(trace_read_records(&t, &r, sha256, e));
    TRY_DONE(trace_read_cases(&t, &r, e));
    TRY_DONE(str_ok(&r.notes, "notes", e));
    *out = r;
    r = (struct trace_run){.json = STR_INIT, .notes = STR_INIT};
done:
    trace_run_free(&r);
    mem_free(t.has);
    return rc;
}

void trace_run_free(struct trace_run *r)
{
    records_free(&r->records);
    results_free(&r->results);
    roles_free(&r->roles);
    if (r->json.s)
        str_free(&r->json);
    if (r->notes.s)
        str_free(&r->notes);
}
