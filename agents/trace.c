#include "trace.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "folder.h"
#include "gridfile.h"
#include "manifest.h"
#include "mem.h"
#include "sha256.h"
#include "trace_parts.h"
#include "trace_scan.h"
#include "zio.h"

#define TRACE_MEMBER 32 /* cases in one gzip member */

struct trace {
    struct folder folder;
    struct manifest manifest;
    struct lease *lease; /* NULL = flock */
    char name[32];       /* of the file that is appended to: traces.jsonl, or a part */
    int fd;              /* of that file, -1 until something is appended */
    off_t end;           /* its last good end */
    bool sealed;         /* only the .gz is there */
    bool plain;          /* traces.jsonl or a part is there */
    struct results results;
    unsigned char *has; /* (n_has) by question index */
    size_t n_has;
    struct str notes;
};

/* ---- opening --------------------------------------------------------------------------------- */

/* Cuts the unfinished tail off, after it has been written elsewhere. */
static int trace_cut(struct trace *t, const char *tail, size_t n, struct err *e)
{
    char path[1100], name[64];
    int rc = 0;
    folder_free_name(&t->folder, "traces.jsonl.tail.bad", name);
    TRY(folder_save(&t->folder, name, tail, n, e));
    folder_path(&t->folder, "traces.jsonl", path);
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
                 n, t->folder.dir, name);
    return rc;
}

static void trace_note_failed(struct trace *t, size_t failed, const char *former)
{
    if (failed)
        str_addf(&t->notes, "%zu failed question%s asked again; the former file is %s\n", failed,
                 failed == 1 ? " is" : "s are", former);
}

/* Number of first records whose failed cases are asked again. */
static size_t trace_retry(const struct trace_options *o)
{
    if (!o->retry_failed)
        return 0;
    return o->asked ? o->asked : SIZE_MAX;
}

/* Keeps a former trace under the first free name of that stem. failed: it has failed attempts, so
 * run.json will name it with its hash. */
static int trace_keep(struct trace *t, const char *name, const char *stem, bool failed, char as[64],
                      struct err *e)
{
    char path[1100], hash[65];
    struct str data = STR_INIT;
    int rc;
    folder_free_name(&t->folder, stem, as);
    TRY_DONE(folder_keep(&t->folder, name, as, e));
    if (!failed)
        goto done;
    folder_path(&t->folder, as, path);
    TRY_DONE(zio_read_raw(path, TRACE_BYTES, &data, e));
    TRY_DONE(sha256_hex(data.s, data.len, hash, e));
    rc = retried_keep(&t->manifest.retried, as, data.len, hash, e);
done:
    str_free(&data);
    return rc;
}

/* Puts the good cases in place of the damaged file, which is kept. */
static int trace_repair(struct trace *t, const struct trace_scan *s, const struct str *kept,
                        struct err *e)
{
    const char *stem = s->damaged ? "traces.jsonl.bad" : "traces.jsonl.old";
    char bad[1100], name[64];
    TRY(trace_keep(t, "traces.jsonl", stem, s->failed > 0, name, e));
    if (s->failed) /* run.json first: a crash here loses no attempt */
        TRY(trace_figures(t, "null", e));
    folder_path(&t->folder, name, bad);
    TRY(folder_save(&t->folder, "traces.jsonl", kept->s, kept->len, e));
    t->end = (off_t)kept->len;
    trace_note_failed(t, s->failed, bad);
    if (!s->damaged)
        return 0;
    str_addf(&t->notes,
             "repaired: %lld damaged places from line %lld on, %zu cases kept; the damaged file "
             "is %s\n",
             (long long)s->damaged, (long long)s->first_bad, t->results.n, bad);
    return 0;
}

static int trace_load_plain(struct trace *t, const struct trace_options *o, struct err *e)
{
    char path[1100];
    struct str text = STR_INIT, kept = STR_INIT;
    struct trace_scan s = {.results = &t->results,
                           .has = &t->has,
                           .n_has = &t->n_has,
                           .kept = o->repair || o->retry_failed ? &kept : NULL,
                           .retry = trace_retry(o),
                           .retried = &t->manifest.retried};
    int rc;
    folder_path(&t->folder, "traces.jsonl", path);
    TRY_DONE(zio_read(path, TRACE_BYTES, &text, e));
    TRY_DONE(trace_scan(&s, text.s, text.len, e));
    TRY_DONE(str_ok(&kept, "a repaired trace", e));
    t->end = (off_t)s.good_end;
    t->plain = true;
    if (s.damaged && !o->repair)
        rc = trace_refuse(&s, path, e);
    else if (s.damaged || s.failed)
        rc = trace_repair(t, &s, &kept, e);
    else if (s.good_end < text.len)
        rc = trace_cut(t, text.s + s.good_end, text.len - s.good_end, e);
done:
    str_free(&text);
    str_free(&kept);
    return rc;
}

/* Puts the readable part of a damaged sealed trace in place of it; the damaged file is kept. The
 * plain file is there first, so a crash in between loses nothing. */
static int trace_repair_sealed(struct trace *t, const struct trace_options *o, const char *path,
                               const struct str *text, struct err *e)
{
    char bad[1100], name[64];
    folder_free_name(&t->folder, "traces.jsonl.gz.bad", name);
    folder_path(&t->folder, name, bad);
    TRY(folder_save(&t->folder, "traces.jsonl", text->s, text->len, e));
    if (rename(path, bad) != 0)
        FAIL(e, ERR_IO, "cannot keep the damaged trace as %s: %s", bad, strerror(errno));
    str_addf(&t->notes, "repaired: the cases that could be read are kept; the damaged file is %s\n",
             bad);
    return trace_load_plain(t, o, e);
}

/* *good: the text is a whole trace without damage. */
static int trace_is_good(const struct str *text, bool *good, struct err *e)
{
    struct results results = {0};
    unsigned char *has = NULL;
    size_t n_has = 0;
    struct trace_scan s = {.results = &results, .has = &has, .n_has = &n_has};
    int rc = trace_scan(&s, text->s, text->len, e);
    *good = rc == 0 && !s.damaged && s.good_end == text->len;
    results_free(&results);
    mem_free(has);
    return rc;
}

/* Puts the cases that did not fail in place of a sealed trace, which is kept. */
static int trace_retry_sealed(struct trace *t, const char *path, const struct str *kept,
                              size_t failed, struct err *e)
{
    char old[1100], name[64];
    TRY(trace_keep(t, "traces.jsonl.gz", "traces.jsonl.gz.old", true, name, e));
    TRY(trace_figures(t, "null", e)); /* run.json first: a crash here loses no attempt */
    folder_path(&t->folder, name, old);
    TRY(folder_save(&t->folder, "traces.jsonl", kept->s, kept->len, e));
    if (unlink(path) != 0)
        FAIL(e, ERR_IO, "cannot remove %s, which is kept as %s: %s", path, old, strerror(errno));
    t->end = (off_t)kept->len;
    t->plain = true;
    trace_note_failed(t, failed, old);
    return 0;
}

static int trace_load_sealed(struct trace *t, const struct trace_options *o, struct err *e)
{
    char path[1100];
    bool whole, good;
    struct str text = STR_INIT, kept = STR_INIT;
    struct trace_scan s = {.results = &t->results,
                           .has = &t->has,
                           .n_has = &t->n_has,
                           .kept = o->retry_failed ? &kept : NULL,
                           .retry = trace_retry(o),
                           .retried = &t->manifest.retried};
    int rc;
    folder_path(&t->folder, "traces.jsonl.gz", path);
    TRY_DONE(zio_salvage(path, TRACE_BYTES, &text, &whole, e));
    if (!whole && !o->repair)
        TRY_DONE(err_set(e, ERR_DATA,
                         "%s: damaged: it does not unpack to its end; mas eval --repair keeps the "
                         "cases before the damage and asks the others again",
                         path));
    if (o->repair) {
        TRY_DONE(trace_is_good(&text, &good, e));
        if (!whole || !good) {
            rc = trace_repair_sealed(t, o, path, &text, e);
            goto done;
        }
    }
    TRY_DONE(trace_scan(&s, text.s, text.len, e));
    TRY_DONE(str_ok(&kept, "the other cases", e));
    if (s.damaged)
        rc = trace_refuse(&s, path, e);
    else if (s.good_end < text.len)
        rc = err_set(e, ERR_DATA,
                     "%s: ends in the middle of a case; mas eval --repair asks that case again",
                     path);
    else if (s.failed)
        rc = trace_retry_sealed(t, path, &kept, s.failed, e);
    t->sealed = !rc && !s.failed;
done:
    str_free(&text);
    str_free(&kept);
    return rc;
}

/* The name of a file of the trace: its n parts, then the sealed one, then that of a run without a
 * lease. */
static void trace_former_name(const int *list, size_t n, size_t i, char name[32])
{
    if (i < n)
        trace_part_name(list[i], name);
    else
        snprintf(name, 32, "%s", i == n ? "traces.jsonl.gz" : "traces.jsonl");
}

/* Puts the good cases of all parts into the own one; damaged parts are kept under other names. */
static int trace_repair_parts(struct trace *t, const struct trace_parts *p, struct err *e)
{
    const struct str *kept = p->kept;
    const char *mark = p->bad.damaged ? "bad" : "old";
    char name[32], path[1100], stem[40], as[64];
    int *list = NULL, rc = 0;
    size_t n = 0;
    TRY(trace_parts_list(&t->folder, &list, &n, e));
    for (size_t i = 0; i < n + 2; i++) {
        trace_former_name(list, n, i, name);
        snprintf(stem, sizeof stem, "%s.%s", name, mark);
        if (folder_has(&t->folder, name))
            TRY_DONE(trace_keep(t, name, stem, p->failed > 0, as, e));
    }
    if (p->failed) /* run.json first: a crash here loses no attempt */
        TRY_DONE(trace_figures(t, "null", e));
    TRY_DONE(folder_save(&t->folder, t->name, kept->s, kept->len, e));
    t->end = (off_t)kept->len;
    t->plain = true;
    t->sealed = false;
    for (size_t i = 0; i < n + 2; i++) {
        trace_former_name(list, n, i, name);
        folder_path(&t->folder, name, path);
        if (strcmp(name, t->name) != 0 && unlink(path) != 0 && errno != ENOENT)
            TRY_DONE(err_set(e, ERR_IO, "cannot remove %s, which is kept as *.%s: %s", path, mark,
                             strerror(errno)));
    }
    if (p->bad.damaged)
        str_addf(&t->notes, "repaired: %zu cases kept; the former files are %s/*.bad\n",
                 t->results.n, t->folder.dir);
    snprintf(path, sizeof path, "%s/*.%s", t->folder.dir, mark);
    trace_note_failed(t, p->failed, path);
done:
    mem_free(list);
    return rc;
}

/* The cases of all holders of the lease. Their files are only read. */
static int trace_load_parts(struct trace *t, const struct trace_options *o, struct err *e)
{
    struct str kept = STR_INIT;
    struct trace_parts p = {.results = &t->results,
                            .has = &t->has,
                            .n_has = &t->n_has,
                            .repair = o->repair,
                            .retry = trace_retry(o),
                            .retried = &t->manifest.retried,
                            .kept = o->repair || o->retry_failed ? &kept : NULL};
    int rc;
    trace_part_name(lease_number(t->lease), t->name);
    t->plain = trace_parts_any(&t->folder) || folder_has(&t->folder, "traces.jsonl");
    t->sealed = !t->plain && folder_has(&t->folder, "traces.jsonl.gz");
    TRY_DONE(trace_parts_scan(&t->folder, &p, e));
    TRY_DONE(str_ok(&kept, "a repaired trace", e));
    if (p.bad.damaged && !o->repair)
        rc = trace_refuse(&p.bad, p.bad_path, e);
    else if (p.bad.damaged || p.failed)
        rc = trace_repair_parts(t, &p, e);
    else if (p.unfinished)
        str_addf(&t->notes, "%zu bytes of an unfinished case are left out\n", p.unfinished);
done:
    str_free(&kept);
    return rc;
}

static int trace_held(struct trace *t, struct err *e)
{
    return t->lease ? lease_check(t->lease, e) : 0;
}

int trace_figures(struct trace *t, const char *figures, struct err *e)
{
    TRY(trace_held(t, e));
    return manifest_write(&t->manifest, &t->folder, figures, e);
}

void trace_add_cause(struct str *figures, const char *cause)
{
    if (!cause || figures->failed || !figures->len || figures->s[figures->len - 1] != '}')
        return;
    figures->s[--figures->len] = 0;
    str_adds(figures, figures->len > 1 ? ", \"stopped\": " : "\"stopped\": ");
    str_add_json(figures, cause, strlen(cause));
    str_addc(figures, '}');
}

int trace_stopped(struct trace *t, const char *cause, struct err *e)
{
    struct str s = STR_INIT;
    str_adds(&s, "{}");
    trace_add_cause(&s, cause);
    int rc = str_ok(&s, "a cause", e);
    if (rc == 0)
        rc = trace_figures(t, s.s, e);
    str_free(&s);
    return rc;
}

const char *trace_json(const struct trace *t)
{
    return t->manifest.json.s;
}

/* The plain file has lost its text; the sealed one holds the cases. */
static int trace_set_aside(struct trace *t, struct err *e)
{
    char path[1100], bad[1100], name[64];
    folder_free_name(&t->folder, "traces.jsonl.bad", name);
    folder_path(&t->folder, "traces.jsonl", path);
    folder_path(&t->folder, name, bad);
    if (rename(path, bad) != 0)
        FAIL(e, ERR_IO, "cannot keep the short trace as %s: %s", bad, strerror(errno));
    str_addf(&t->notes, "%s has less than traces.jsonl.gz, whose cases are taken; it is now %s\n",
             path, bad);
    return 0;
}

/* The file of a folder that is written under flock. */
static int trace_load_files(struct trace *t, const struct trace_options *o, struct err *e)
{
    bool plain;
    TRY(trace_plain(&t->folder, &plain, e));
    if (plain)
        return trace_load_plain(t, o, e);
    if (folder_has(&t->folder, "traces.jsonl"))
        TRY(trace_set_aside(t, e));
    return folder_has(&t->folder, "traces.jsonl.gz") ? trace_load_sealed(t, o, e) : 0;
}

static int trace_load(struct trace *t, const struct trace_options *o, struct err *e)
{
    if (folder_has(&t->folder, GRIDFILE_NAME))
        FAIL(e, ERR_CONFIG,
             "%s is the folder of an experiment (%s); a run needs a folder of its own: choose "
             "another --out, or continue the experiment with its own configuration",
             t->folder.dir, GRIDFILE_NAME);
    if (o->fresh)
        TRY(folder_set_aside(&t->folder, NULL, &t->notes, e));
    if (folder_has(&t->folder, "run.json"))
        TRY(manifest_continue(&t->manifest, &t->folder, &t->notes, o, e));
    else if (folder_has(&t->folder, "traces.jsonl") || folder_has(&t->folder, "traces.jsonl.gz") ||
             trace_parts_any(&t->folder))
        FAIL(e, ERR_CONFIG,
             "%s holds traces but no run.json; choose another --out, or start again by "
             "mas eval --force-new",
             t->folder.dir);
    else if (folder_has(&t->folder, "summary.json") || folder_has(&t->folder, "results.csv"))
        FAIL(e, ERR_CONFIG,
             "%s holds summary.json or results.csv of no run (there is no run.json); choose "
             "another --out, or "
             "start again by mas eval --force-new, which moves them to a subfolder",
             t->folder.dir);
    else
        TRY(manifest_begin(&t->manifest, &t->folder, o, e));
    if (t->lease)
        TRY(trace_load_parts(t, o, e));
    else
        TRY(trace_load_files(t, o, e));
    TRY(trace_figures(t, "null", e));
    return str_ok(&t->notes, "notes", e);
}

/* A folder that is written under a lease is not written without one. */
static int trace_lock(struct trace *t, struct err *e)
{
    if (t->lease)
        return lease_check(t->lease, e);
    TRY(lease_refuse_held(t->folder.dir, e));
    if (trace_parts_any(&t->folder))
        FAIL(e, ERR_USAGE,
             "%s is a shard that is not finished; continue it by mas eval --shard, with the folder "
             "above it as --out",
             t->folder.dir);
    return folder_lock(&t->folder, e);
}

int trace_open(const struct trace_options *opt, struct trace **out, struct err *e)
{
    struct trace *t = mem_zalloc(1, sizeof *t);
    int rc;
    if (!t)
        return NOMEM(e, sizeof *t, "a trace");
    t->folder.lock = t->fd = -1;
    t->lease = opt->lease;
    snprintf(t->name, sizeof t->name, "traces.jsonl");
    t->notes = t->manifest.head = t->manifest.json = (struct str)STR_INIT;
    TRY_DONE(folder_make(&t->folder, opt->dir, e));
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
    folder_close(&t->folder);
    results_free(&t->results);
    mem_free(t->has);
    str_free(&t->notes);
    manifest_free(&t->manifest);
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
    folder_path(&t->folder, "traces.jsonl.gz", path);
    TRY_DONE(zio_read(path, TRACE_BYTES, &text, e));
    TRY_DONE(folder_save(&t->folder, "traces.jsonl", text.s, text.len, e));
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
    if (t->sealed && !t->lease)
        TRY(trace_unseal(t, e));
    t->sealed = false;
    folder_path(&t->folder, t->name, path);
    t->fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (t->fd < 0)
        FAIL(e, ERR_CREATE, "cannot write %s: %s", path, strerror(errno));
    t->plain = true;
    return folder_sync(&t->folder, e);
}

static int trace_write(struct trace *t, const struct str *s, struct err *e)
{
    char path[1100];
    TRY(trace_held(t, e));
    folder_path(&t->folder, t->name, path);
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

/* *last: offset of the case's own line. */
static int trace_case_lines(const struct consult *c, struct str *s, size_t *last, struct err *e)
{
    for (const struct consult_call *k = c->first; k; k = k->next) {
        *last = s->len;
        result_write_call(c, k, s);
        trace_end_line(s, *last);
    }
    *last = s->len;
    result_write(c, s);
    trace_end_line(s, *last);
    return str_ok(s, "a trace line", e);
}

int trace_lines(const struct consult *c, struct str *out, struct err *e)
{
    size_t last = 0;
    return trace_case_lines(c, out, &last, e);
}

int trace_append(struct trace *t, const struct consult *c, struct err *e)
{
    struct str s = STR_INIT;
    bool twice = false;
    int rc;
    size_t begin = 0;
    TRY_DONE(trace_case_lines(c, &s, &begin, e));
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

int trace_import(struct trace *t, const struct str *lines, struct err *e)
{
    struct trace_scan s = {.results = &t->results, .has = &t->has, .n_has = &t->n_has};
    TRY(trace_writable(t, e));
    TRY(trace_scan(&s, lines->s, lines->len, e));
    if (s.damaged)
        FAIL(e, ERR_DATA, "imported case %lld: question %s: %s", (long long)s.first_bad, s.bad_id,
             s.bad_why);
    return trace_write(t, lines, e);
}

int trace_seal(struct trace *t, struct err *e)
{
    char path[1100];
    struct str text = STR_INIT, out = STR_INIT;
    size_t begin = 0, unfinished = 0;
    int rc, cases = 0;
    if (t->sealed || !t->plain)
        return 0;
    folder_path(&t->folder, "traces.jsonl", path);
    if (t->lease)
        TRY_DONE(trace_parts_text(&t->folder, &text, &unfinished, e));
    else
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
    TRY_DONE(trace_held(t, e));
    TRY_DONE(folder_save(&t->folder, "traces.jsonl.gz", out.s, out.len, e));
    if (t->fd >= 0)
        close(t->fd);
    t->fd = -1;
    t->sealed = true;
    if (t->lease)
        rc = trace_parts_remove(&t->folder, lease_number(t->lease), e);
    else if (unlink(path) != 0)
        rc = err_set(e, ERR_IO, "cannot remove %s: %s", path, strerror(errno));
done:
    str_free(&text);
    str_free(&out);
    return rc;
}
