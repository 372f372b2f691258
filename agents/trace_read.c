/* Reading a run's folder without changing it. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "manifest.h"
#include "sha256.h"
#include "shard.h"
#include "trace.h"
#include "trace_parts.h"
#include "trace_scan.h"
#include "zio.h"

/* Reads run.json: the number of records asked for, the price, the hash of records.jsonl. */
static int trace_read_run(const char *dir, struct trace_run *r, char sha256[65], struct err *e)
{
    json_t *doc = NULL, *data = NULL, *sessions = NULL;
    json_int_t asked = 0;
    const char *hash = NULL;
    int rc;
    r->price_kwh = (double)NAN;
    TRY_DONE(jdoc_load(r->json.s, r->json.len, &doc, e));
    TRY_DONE(manifest_format(doc, dir, e));
    TRY_DONE(jdoc_int(doc, "asked", 0, TRACE_INDEX, &asked, e));
    TRY_DONE(jdoc_get(doc, "data", JSON_OBJECT, &data, e));
    TRY_DONE(jdoc_string(data, "records_sha256", &hash, e));
    snprintf(sha256, 65, "%s", hash);
    TRY_DONE(retried_read(doc, &r->retried, e));
    TRY_DONE(jdoc_array(doc, "sessions", 1, 1000000, &sessions, e));
    const json_t *last = json_array_get(sessions, json_array_size(sessions) - 1);
    const json_t *config = json_object_get(json_object_get(last, "about"), "config");
    const json_t *price = json_object_get(config, "price_kwh");
    if (json_is_number(price))
        r->price_kwh = json_number_value(price);
    r->price_prompt = json_number_value(json_object_get(config, "remote.price_prompt"));
    r->price_completion = json_number_value(json_object_get(config, "remote.price_completion"));
    r->asked = (size_t)asked;
done:
    json_decref(doc);
    return rc;
}

static int trace_read_records(const struct folder *f, struct trace_run *r, const char *sha256,
                              struct err *e)
{
    char path[1100], hash[65];
    struct str text = STR_INIT;
    int rc;
    folder_path(f, "records.jsonl", path);
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

/* Puts the results in the order of the data file and compares them with its records. */
static int trace_read_order(struct trace_run *r, const char *path, struct err *e)
{
    results_sort(&r->results);
    for (size_t i = 0; i < r->results.n; i++) {
        const struct result *res = &r->results.r[i];
        size_t at = (size_t)res->index;
        if (at >= r->records.n || strcmp(r->records.r[at].id, res->id) != 0)
            FAIL(e, ERR_DATA, "%s: question %s is not record %zu of records.jsonl", path, res->id,
                 at + 1);
    }
    return 0;
}

/* The cases of a folder that is written under a lease. */
static int trace_read_parts(const struct folder *f, struct trace_run *r, struct err *e)
{
    unsigned char *has = NULL;
    size_t n_has = 0;
    struct trace_parts p = {.results = &r->results,
                            .has = &has,
                            .n_has = &n_has,
                            .roles = &r->roles,
                            .asked = r->asked};
    int rc = trace_parts_scan(f, &p, e);
    if (rc == 0 && p.bad.damaged)
        rc = trace_refuse(&p.bad, p.bad_path, e);
    if (rc == 0 && p.unfinished)
        str_addf(&r->notes, "%s: %zu bytes of an unfinished case left out\n", f->dir, p.unfinished);
    if (rc == 0)
        rc = trace_read_order(r, f->dir, e);
    mem_free(has);
    return rc;
}

static int trace_read_cases(const struct folder *f, struct trace_run *r, struct err *e)
{
    char path[1100];
    struct str text = STR_INIT;
    unsigned char *has = NULL;
    size_t n_has = 0;
    struct trace_scan s = {.results = &r->results,
                           .has = &has,
                           .n_has = &n_has,
                           .roles = &r->roles,
                           .asked = r->asked};
    int rc = 0;
    if (trace_parts_any(f))
        return trace_read_parts(f, r, e);
    TRY_DONE(trace_text(f, path, &text, e));
    if (!*path) /* nothing was finished yet */
        goto done;
    TRY_DONE(trace_scan(&s, text.s, text.len, e));
    if (s.damaged)
        rc = trace_refuse(&s, path, e);
    else if (s.good_end < text.len)
        str_addf(&r->notes, "%s: %zu bytes of an unfinished case left out\n", path,
                 text.len - s.good_end);
    if (!rc)
        rc = trace_read_order(r, path, e);
done:
    str_free(&text);
    mem_free(has);
    return rc;
}

int trace_read(const char *dir, struct trace_run *out, struct err *e)
{
    char path[1100], sha256[65];
    struct folder f = {.lock = -1};
    struct trace_run r = {.json = STR_INIT, .notes = STR_INIT};
    int rc;
    if (strlen(dir) >= sizeof f.dir)
        FAIL(e, ERR_NOINPUT, "the folder's name has %zu bytes", strlen(dir));
    memcpy(f.dir, dir, strlen(dir) + 1);
    folder_path(&f, "run.json", path);
    TRY_DONE(shard_refuse_unmerged(dir, e));
    TRY_DONE(zio_read(path, MANIFEST_BYTES, &r.json, e));
    rc = trace_read_run(dir, &r, sha256, e);
    if (rc == ERR_DATA)
        err_wrap(e, rc, "%s", path);
    TRY_DONE(rc);
    TRY_DONE(trace_read_records(&f, &r, sha256, e));
    TRY_DONE(trace_read_cases(&f, &r, e));
    TRY_DONE(str_ok(&r.notes, "notes", e));
    *out = r;
    r = (struct trace_run){.json = STR_INIT, .notes = STR_INIT};
done:
    trace_run_free(&r);
    return rc;
}

void trace_run_free(struct trace_run *r)
{
    records_free(&r->records);
    results_free(&r->results);
    roles_free(&r->roles);
    retried_free(&r->retried);
    if (r->json.s)
        str_free(&r->json);
    if (r->notes.s)
        str_free(&r->notes);
}
