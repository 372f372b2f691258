#include "manifest.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "jscan.h"
#include "sha256.h"
#include "trace_diff.h"
#include "zio.h"

/* A value of run.json as its text, so that writing it again changes no digit. */
struct manifest_raw {
    const char *s;
    size_t n;
};

int manifest_format(const json_t *doc, const char *dir, struct err *e)
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

static int manifest_raw_member(const char *s, size_t n, const char *key, struct manifest_raw *out,
                               struct err *e)
{
    struct jscan j = {.n = 0};
    struct jscan_item it = {.key = NULL};
    int rc, more;
    jscan_set(&j, s, n);
    TRY_DONE(jscan_open(&j, '{', e));
    while ((more = jscan_next(&j, &it, e)) > 0)
        if (jscan_key(&it, key))
            *out = (struct manifest_raw){.s = it.value, .n = it.n};
    rc = more;
    if (!rc && !out->n)
        rc = err_set(e, ERR_DATA, "key '%s' is missing", key);
done:
    jscan_free(&j);
    return rc;
}

/* The items of an array but the last, and the last. */
static int manifest_raw_last(const struct manifest_raw *list, struct manifest_raw *before,
                             struct manifest_raw *last, struct err *e)
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
        *last = (struct manifest_raw){.s = it.value, .n = it.n};
    }
    rc = more;
    if (!rc && !last->n)
        rc = err_set(e, ERR_DATA, "'sessions' is empty");
    if (!rc)
        *before = (struct manifest_raw){.s = begin, .n = (size_t)(end - begin)};
done:
    jscan_free(&j);
    return rc;
}

static void manifest_now(char out[32])
{
    struct tm tm;
    time_t now = time(NULL);
    gmtime_r(&now, &tm);
    strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

static void manifest_session(struct str *out, long long starts, const char *began,
                             const char *about)
{
    char now[32];
    manifest_now(now);
    str_addf(out, "{\"starts\": %lld, \"began\": ", starts);
    str_add_json(out, began ? began : now, strlen(began ? began : now));
    str_addf(out, ", \"last_start\": \"%s\", \"about\": %s}", now, about);
}

/* The sessions of run.json, and this one: the last goes on when the settings are the same. */
static int manifest_sessions(struct str *notes, const struct trace_options *o, const json_t *doc,
                             const struct str *text, struct str *out, struct err *e)
{
    struct manifest_raw list = {.n = 0}, before = {.n = 0}, last = {.n = 0};
    struct str diff = STR_INIT;
    json_t *sessions = NULL, *about = NULL;
    json_int_t starts = 0;
    const char *began = NULL;
    int rc, n = 0;
    TRY_DONE(manifest_raw_member(text->s, text->len, "sessions", &list, e));
    TRY_DONE(manifest_raw_last(&list, &before, &last, e));
    TRY_DONE(jdoc_array(doc, "sessions", 1, 1000000, &sessions, e));
    const json_t *was = json_array_get(sessions, json_array_size(sessions) - 1);
    TRY_DONE(jdoc_get(was, "about", JSON_OBJECT, &about, e));
    TRY_DONE(jdoc_int(was, "starts", 1, INT64_MAX - 1, &starts, e));
    TRY_DONE(jdoc_string(was, "began", &began, e));
    TRY_DONE(trace_differences(about, o->about, o->defaults, &n, &diff, e));
    str_add(out, before.s, before.n);
    if (n) {
        str_addf(notes, "continued with: %s\n", diff.s);
        str_adds(out, before.n ? ",\n" : "");
        str_add(out, last.s, last.n);
    }
    str_adds(out, n || before.n ? ",\n" : "");
    manifest_session(out, n ? 1 : starts + 1, n ? NULL : began, o->about);
done:
    str_free(&diff);
    return rc;
}

static const char *manifest_version(const json_t *sessions, size_t i)
{
    const json_t *about = json_object_get(json_array_get(sessions, i), "about");
    return json_string_value(json_object_get(about, "version"));
}

void manifest_versions(const json_t *sessions, struct str *out, int *n)
{
    const size_t all = json_array_size(sessions);
    *n = 0;
    str_addc(out, '[');
    for (size_t i = 0; i < all; i++) {
        const char *own = manifest_version(sessions, i);
        bool before = !own;
        for (size_t k = 0; k < i && !before; k++) {
            const char *other = manifest_version(sessions, k);
            before = other && !strcmp(other, own);
        }
        if (before)
            continue;
        str_adds(out, (*n)++ ? ", " : "");
        str_add_json(out, own, strlen(own));
    }
    str_addc(out, ']');
}

/* Appends the member "versions" if the sessions have several. */
static int manifest_put_versions(const struct str *sessions, struct str *out, struct err *e)
{
    struct str list = STR_INIT, versions = STR_INIT;
    json_t *doc = NULL;
    int rc, n = 0;
    str_addf(&list, "{\"sessions\": [%s]}", sessions->s);
    TRY_DONE(str_ok(&list, "run.json", e));
    TRY_DONE(jdoc_load(list.s, list.len, &doc, e));
    manifest_versions(json_object_get(doc, "sessions"), &versions, &n);
    if (n > 1) {
        str_adds(out, ",\n\"versions\": ");
        str_adds(out, versions.s);
    }
    rc = str_ok(&versions, "run.json", e);
done:
    json_decref(doc);
    str_free(&list);
    str_free(&versions);
    return rc;
}

static int manifest_head(struct manifest *m, const struct folder *f, const struct trace_options *o,
                         const char *identity, size_t n, const struct str *sessions, struct err *e)
{
    struct str records = STR_INIT;
    char sha256[65];
    size_t asked = o->asked;
    int rc;
    if (o->given) {
        str_adds(&records, o->given->records);
    } else {
        records_write(o->data, &records);
        if (!asked || asked > o->data->n_records)
            asked = o->data->n_records;
    }
    TRY_DONE(str_ok(&records, "records.jsonl", e));
    TRY_DONE(sha256_hex(records.s, records.len, sha256, e));
    str_clear(&m->head);
    str_addf(&m->head, "{\"format\": %d,\n\"identity\": ", TRACE_FORMAT);
    str_add(&m->head, identity, n);
    str_addf(&m->head, ",\n\"asked\": %zu,\n\"data\": ", asked);
    if (o->given)
        str_adds(&m->head, o->given->describe);
    else
        records_describe(o->data, sha256, &m->head);
    str_addf(&m->head, ",\n\"sessions\": [%s]", sessions->s);
    TRY_DONE(manifest_put_versions(sessions, &m->head, e));
    TRY_DONE(str_ok(&m->head, "run.json", e));
    TRY_DONE(folder_save(f, "records.jsonl", records.s, records.len, e));
done:
    str_free(&records);
    return rc;
}

static int manifest_same(const struct folder *f, const struct trace_options *o, const json_t *doc,
                         struct err *e)
{
    struct str diff = STR_INIT;
    json_t *was = NULL;
    int rc, n = 0;
    TRY_DONE(jdoc_get(doc, "identity", JSON_OBJECT, &was, e));
    TRY_DONE(trace_differences(was, o->identity, o->defaults, &n, &diff, e));
    if (n)
        rc = err_set(e, ERR_CONFIG,
                     "%s holds another run: %s; choose another --out, or start again by "
                     "mas eval --force-new (the present results are kept in a subfolder)",
                     f->dir, diff.s);
done:
    str_free(&diff);
    return rc;
}

int manifest_continue(struct manifest *m, const struct folder *f, struct str *notes,
                      const struct trace_options *o, struct err *e)
{
    char path[1100];
    struct str text = STR_INIT, sessions = STR_INIT;
    struct manifest_raw identity = {.n = 0};
    json_t *doc = NULL;
    int rc;
    folder_path(f, "run.json", path);
    TRY_DONE(zio_read(path, MANIFEST_BYTES, &text, e));
    rc = jdoc_load(text.s, text.len, &doc, e);
    if (!rc)
        rc = manifest_format(doc, f->dir, e);
    if (!rc)
        rc = manifest_same(f, o, doc, e);
    if (!rc && o->given)
        str_adds(&sessions, o->given->sessions);
    else if (!rc)
        rc = manifest_sessions(notes, o, doc, &text, &sessions, e);
    if (!rc && !o->given)
        rc = retried_read(doc, &m->retried, e);
    else if (!rc)
        rc = retried_join(&m->retried, o->given->retried, "", e);
    if (!rc)
        rc = manifest_raw_member(text.s, text.len, "identity", &identity, e);
    if (rc == ERR_DATA)
        err_wrap(e, rc, "%s", path);
    if (!rc)
        rc = str_ok(&sessions, "run.json", e);
    if (!rc)
        rc = manifest_head(m, f, o, identity.s, identity.n, &sessions, e);
done:
    json_decref(doc);
    str_free(&text);
    str_free(&sessions);
    return rc;
}

int manifest_begin(struct manifest *m, const struct folder *f, const struct trace_options *o,
                   struct err *e)
{
    struct str sessions = STR_INIT;
    int rc;
    if (o->given)
        str_adds(&sessions, o->given->sessions);
    else
        manifest_session(&sessions, 1, NULL, o->about);
    TRY_DONE(str_ok(&sessions, "run.json", e));
    if (o->given)
        TRY_DONE(retried_join(&m->retried, o->given->retried, "", e));
    TRY_DONE(manifest_head(m, f, o, o->identity, strlen(o->identity), &sessions, e));
done:
    str_free(&sessions);
    return rc;
}

void manifest_free(struct manifest *m)
{
    str_free(&m->head);
    str_free(&m->json);
    retried_free(&m->retried);
}

int manifest_write(struct manifest *m, const struct folder *f, const char *figures, struct err *e)
{
    struct str s = STR_INIT;
    int rc;
    str_adds(&s, m->head.s);
    if (retried_attempts(&m->retried)) {
        str_adds(&s, ",\n\"retried\": ");
        retried_json(&m->retried, true, &s);
    }
    str_addf(&s, ",\n\"figures\": %s}\n", figures);
    TRY_DONE(str_ok(&s, "run.json", e));
    TRY_DONE(folder_save(f, "run.json", s.s, s.len, e));
    str_free(&m->json);
    m->json = s;
    s = (struct str)STR_INIT;
done:
    str_free(&s);
    return rc;
}
