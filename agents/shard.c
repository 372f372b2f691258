#include "shard.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "folder.h"
#include "jdoc.h"
#include "jscan.h"
#include "rng.h"
#include "sha256.h"
#include "trace_diff.h"
#include "zio.h"

#define SHARD_REJECTED 1 /* step of the random number that stands for a rejected record's id */
#define SHARD_BYTES ((size_t)64 << 20) /* largest shards.json */

int shard_parse(const char *text, struct shard *out, struct err *e)
{
    char left[16] = "";
    int64_t i = 0, n = 0;
    const char *slash = strchr(text, '/');
    const size_t k = slash ? (size_t)(slash - text) : 0;
    if (slash && k < sizeof left)
        memcpy(left, text, k);
    if (!slash || !str_to_i64(left, 1, SHARD_MOST, &i) ||
        !str_to_i64(slash + 1, 1, SHARD_MOST, &n) || i > n)
        FAIL(e, ERR_USAGE,
             "'%.40s' is no shard; write I/N with 1 <= I <= N <= %d, as 3/8 for the third of eight",
             text, SHARD_MOST);
    *out = (struct shard){.i = (int)i, .n = (int)n};
    return 0;
}

void shard_name(struct shard s, char out[40])
{
    snprintf(out, 40, "shard-%d-of-%d", s.i, s.n);
}

/* ---- the division ---------------------------------------------------------------------------- */

struct shard_unit {
    uint64_t key;
    size_t record;
};

static int shard_compare(const void *a, const void *b)
{
    const struct shard_unit *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return (x->record > y->record) - (x->record < y->record);
}

/* Sorts the units and gives each its rank; duplicates get theirs from the caller. */
static int shard_rank(struct shard_unit *unit, size_t units, size_t n, struct shard_order *out,
                      struct err *e)
{
    size_t *rank = mem_zalloc(n ? n : 1, sizeof *rank);
    if (!rank)
        return NOMEM(e, n * sizeof *rank, "the division into shards");
    qsort(unit, units, sizeof *unit, shard_compare);
    for (size_t i = 0; i < units; i++)
        rank[unit[i].record] = i;
    *out = (struct shard_order){.rank = rank, .n = n, .units = units};
    return 0;
}

static uint64_t shard_key(bool rejected, const char *id, int64_t line)
{
    return rejected ? rng_key(0, (uint64_t)line, SHARD_REJECTED) : strtoull(id, NULL, 16);
}

int shard_order(const struct medqa *m, size_t asked, struct shard_order *out, struct err *e)
{
    const size_t n = asked < m->n_records ? asked : m->n_records;
    struct shard_unit *unit = mem_zalloc(n ? n : 1, sizeof *unit);
    size_t units = 0;
    int rc = unit ? 0 : NOMEM(e, n * sizeof *unit, "the division into shards");
    for (size_t i = 0; i < n && rc == 0; i++) {
        const struct medqa_record *r = &m->record[i];
        const bool rejected = r->kind == MEDQA_REJECTED;
        if (r->kind != MEDQA_DUPLICATE)
            unit[units++] = (struct shard_unit){
                shard_key(rejected, rejected ? "" : m->question[r->question].id, r->line), i};
    }
    if (rc == 0)
        rc = shard_rank(unit, units, n, out, e);
    for (size_t i = 0; i < n && rc == 0; i++)
        if (m->record[i].kind == MEDQA_DUPLICATE)
            out->rank[i] = out->rank[m->question[m->record[i].question].index];
    mem_free(unit);
    return rc;
}

int shard_order_of(const struct records *rs, size_t asked, struct shard_order *out, struct err *e)
{
    const size_t n = asked < rs->n ? asked : rs->n;
    struct shard_unit *unit = mem_zalloc(n ? n : 1, sizeof *unit);
    size_t units = 0;
    int rc = unit ? 0 : NOMEM(e, n * sizeof *unit, "the division into shards");
    for (size_t i = 0; i < n && rc == 0; i++) {
        const struct records_row *r = &rs->r[i];
        if (r->kind != MEDQA_DUPLICATE)
            unit[units++] =
                (struct shard_unit){shard_key(r->kind == MEDQA_REJECTED, r->id, r->line), i};
    }
    if (rc == 0)
        rc = shard_rank(unit, units, n, out, e);
    for (size_t i = 0; i < n && rc == 0; i++)
        if (rs->r[i].kind == MEDQA_DUPLICATE)
            out->rank[i] = out->rank[rs->r[i].of];
    mem_free(unit);
    return rc;
}

void shard_order_free(struct shard_order *o)
{
    mem_free(o->rank);
    *o = (struct shard_order){.n = 0};
}

/* The end of the first `part` of `of` shards within a model that begins at `begin` in the row. */
static size_t shard_border(uint64_t total, uint64_t part, uint64_t of, uint64_t begin,
                           uint64_t cells, size_t units)
{
    const uint64_t at = total * part / of; /* total < 2^33, part <= 10^5: below 2^50 */
    const uint64_t rank = at > begin ? (at - begin) / cells : 0;
    return rank < units ? (size_t)rank : units;
}

struct shard_span shard_share(struct shard s, const size_t *cells, size_t n_models, size_t model,
                              size_t units)
{
    uint64_t total = 0, begin = 0;
    for (size_t i = 0; i < n_models; i++) {
        begin += i < model ? (uint64_t)cells[i] * units : 0;
        total += (uint64_t)cells[i] * units;
    }
    const uint64_t of = (uint64_t)s.n, i = (uint64_t)s.i;
    return (struct shard_span){
        .lo = shard_border(total, i - 1, of, begin, cells[model], units),
        .hi = shard_border(total, i, of, begin, cells[model], units),
    };
}

int shard_take(const struct medqa *m, const struct shard_order *o, struct shard_span span,
               struct medqa *out, struct err *e)
{
    struct medqa t = *m; /* form and hash; the texts stay those of m */
    size_t *to = mem_zalloc(m->n ? m->n : 1, sizeof *to); /* new index + 1; 0 = none */
    t.arena = (struct arena){.limit = 0};
    t.question = mem_zalloc(m->n ? m->n : 1, sizeof *t.question);
    t.record = mem_zalloc(o->n ? o->n : 1, sizeof *t.record);
    t.n = t.n_records = t.n_rejected = t.n_duplicates = 0;
    t.cap = m->n ? m->n : 1;
    t.cap_records = o->n ? o->n : 1;
    if (!to || !t.question || !t.record) {
        mem_free(to);
        medqa_free(&t);
        return NOMEM(e, m->n * sizeof *t.question, "a shard");
    }
    for (size_t i = 0; i < o->n; i++) {
        struct medqa_record r = m->record[i];
        if (o->rank[i] < span.lo || o->rank[i] >= span.hi)
            continue;
        if (r.kind == MEDQA_QUESTION) {
            t.question[t.n] = m->question[r.question];
            t.question[t.n].index = (int64_t)t.n_records;
            to[r.question] = ++t.n;
        }
        if (r.kind != MEDQA_REJECTED)
            r.question = to[r.question] - 1; /* a duplicate comes after its question */
        t.n_rejected += r.kind == MEDQA_REJECTED;
        t.n_duplicates += r.kind == MEDQA_DUPLICATE;
        t.record[t.n_records++] = r;
    }
    mem_free(to);
    *out = t;
    return 0;
}

void shard_describe(struct shard s, size_t asked, const struct medqa *own, struct str *out)
{
    str_addf(out, "{\"shard\": %d, \"of\": %d, \"asked\": %zu, \"records\": %zu}", s.i, s.n, asked,
             own->n_records);
}

/* ---- the folder of all shards ---------------------------------------------------------------- */

static void shard_study_text(const struct shard_study *s, const char *records_sha256,
                             struct str *out)
{
    str_addf(out, "{\"of\": %d, \"asked\": %zu, \"data_sha256\": \"%s\"", s->shard.n, s->asked,
             s->data->sha256);
    str_addf(out, ", \"records_sha256\": \"%s\", \"subset\": %s, %s}", records_sha256,
             s->subset && *s->subset ? s->subset : "null", s->settings);
}

/* Shards of a study of n tasks that have a folder in dir. */
static int shard_begun(const char *dir, int n)
{
    struct folder f = {.lock = -1};
    int begun = 0;
    snprintf(f.dir, sizeof f.dir, "%s", dir);
    for (int i = 1; i <= n; i++) {
        char name[40];
        shard_name((struct shard){.i = i, .n = n}, name);
        begun += folder_has(&f, name);
    }
    return begun;
}

/* text: the study as this task has it; file: shards.json. */
static int shard_compare_study(const char *dir, const struct shard_study *s, const char *text,
                               const struct str *file, struct err *e)
{
    json_t *doc = NULL, *was = NULL;
    json_int_t format = 0, of = 0, asked = 0;
    const char *command = NULL;
    struct str diff = STR_INIT;
    int rc, n = 0;
    rc = jdoc_load(file->s, file->len, &doc, e);
    if (rc == 0)
        rc = jdoc_int(doc, "format", 0, INT32_MAX, &format, e);
    if (rc == 0 && format != SHARD_FORMAT)
        rc = err_set(e, ERR_CONFIG, "format %lld, this program reads format %d", (long long)format,
                     SHARD_FORMAT);
    if (rc == 0)
        rc = jdoc_get(doc, "study", JSON_OBJECT, &was, e);
    if (rc == 0)
        rc = jdoc_int(was, "of", 1, SHARD_MOST, &of, e);
    if (rc == 0)
        rc = jdoc_int(was, "asked", 0, INT64_MAX, &asked, e);
    if (rc == 0)
        rc = jdoc_string(doc, "command", &command, e);
    if (rc < 0)
        err_wrap(e, rc, "%s/" SHARD_FILE " is damaged (remove it; the next task writes it anew)",
                 dir);
    TRY_DONE(rc);
    TRY_DONE(trace_differences(was, text, NULL, &n, &diff, e));
    if (of != s->shard.n) {
        str_clear(&diff);
        str_addf(&diff, "it has %lld tasks, and mas eval --shard says %d", (long long)of,
                 s->shard.n);
    } else if (n == 1 && (size_t)asked != s->asked) {
        str_clear(&diff);
        str_addf(&diff, "it has %lld records, and this command asks for %zu (-n)", (long long)asked,
                 s->asked);
    }
    TRY_DONE(str_ok(&diff, "differences", e));
    if (n)
        rc = err_set(e, ERR_CONFIG,
                     "%s holds the shards of another study: %.600s; it was begun by '%.300s' "
                     "(mas eval --shard I/%d), and %d of its %d shards have a folder; give its "
                     "options, or choose another "
                     "--out, or end its tasks, remove %s and start again",
                     dir, diff.s, command, (int)of, shard_begun(dir, (int)of), (int)of, dir);
done:
    json_decref(doc);
    str_free(&diff);
    return rc;
}

static int shard_text(const struct shard_study *s, struct str *records, char sha256[65],
                      struct str *study, struct err *e)
{
    records_write(s->data, records);
    TRY(str_ok(records, "records.jsonl", e));
    TRY(sha256_hex(records->s, records->len, sha256, e));
    shard_study_text(s, sha256, study);
    return str_ok(study, SHARD_FILE, e);
}

static int shard_refuse_run(const struct folder *f, struct err *e)
{
    if (!folder_has(f, SHARD_FILE) && (folder_has(f, "run.json") || folder_has(f, "grid.json")))
        FAIL(e, ERR_USAGE, "%s is the folder of a run; shards need a folder of their own", f->dir);
    return 0;
}

static int shard_check_file(const struct folder *f, const struct shard_study *s,
                            const struct str *study, struct err *e)
{
    struct str file = STR_INIT;
    char path[1100];
    folder_path(f, SHARD_FILE, path);
    int rc = zio_read(path, SHARD_BYTES, &file, e);
    if (rc == 0)
        rc = shard_compare_study(f->dir, s, study->s, &file, e);
    str_free(&file);
    return rc;
}

static int shard_publish(const struct folder *f, const struct shard_study *s, struct err *e)
{
    struct str records = STR_INIT, study = STR_INIT, text = STR_INIT;
    char sha256[65];
    bool made = false;
    int rc;
    TRY_DONE(shard_text(s, &records, sha256, &study, e));
    TRY_DONE(shard_refuse_run(f, e));
    if (!folder_has(f, SHARD_FILE)) {
        str_addf(&text, "{\"format\": %d,\n\"study\": %s,\n\"command\": ", SHARD_FORMAT, study.s);
        str_add_json(&text, s->command, strlen(s->command));
        str_adds(&text, ",\n\"data\": ");
        records_describe(s->data, sha256, &text);
        str_addf(&text, ",\n\"grid\": %s}\n", s->grid ? s->grid : "null");
        TRY_DONE(str_ok(&text, SHARD_FILE, e));
        TRY_DONE(folder_publish(f, "records.jsonl", records.s, records.len, &made, e));
        TRY_DONE(folder_publish(f, SHARD_FILE, text.s, text.len, &made, e));
    }
    TRY_DONE(shard_check_file(f, s, &study, e));
    if (!folder_has(f, "records.jsonl")) /* lost */
        TRY_DONE(folder_publish(f, "records.jsonl", records.s, records.len, &made, e));
done:
    str_free(&records);
    str_free(&study);
    str_free(&text);
    return rc;
}

int shard_preview(const char *dir, const struct shard_study *s, struct str *said, struct err *e)
{
    struct str records = STR_INIT, study = STR_INIT;
    struct folder f = {.lock = -1};
    char sha256[65];
    int rc;
    if (snprintf(f.dir, sizeof f.dir, "%s", dir) >= (int)sizeof f.dir)
        FAIL(e, ERR_USAGE, "the folder's name is too long: %zu bytes", strlen(dir));
    TRY_DONE(shard_text(s, &records, sha256, &study, e));
    TRY_DONE(shard_refuse_run(&f, e));
    if (folder_has(&f, SHARD_FILE)) {
        TRY_DONE(shard_check_file(&f, s, &study, e));
        str_addf(said, "%s holds this study: %d of %d shards have a folder", dir,
                 shard_begun(dir, s->shard.n), s->shard.n);
    } else {
        str_addf(said, "%s holds no study yet: the first task fixes these settings for all", dir);
    }
    rc = str_ok(said, "a preview", e);
done:
    str_free(&records);
    str_free(&study);
    return rc;
}

int shard_begin(const char *dir, const struct shard_study *s, char out[1024], struct err *e)
{
    struct folder f = {.lock = -1}, own = {.lock = -1};
    char name[40];
    TRY(folder_make(&f, dir, e));
    TRY(shard_publish(&f, s, e));
    shard_name(s->shard, name);
    if (snprintf(out, 1024, "%s/%s", f.dir, name) >= 1024)
        FAIL(e, ERR_USAGE, "the folder's name is too long: %zu bytes", strlen(f.dir));
    return folder_make(&own, out, e);
}

/* Removes the mark; writes the number of the shard and of all. */
static int shard_unmark(json_t *identity, struct shard *out, struct err *e)
{
    json_t *mark = NULL;
    json_int_t i = 0, n = 0;
    TRY(jdoc_get(identity, "shard", JSON_OBJECT, &mark, e));
    TRY(jdoc_int(mark, "shard", 1, SHARD_MOST, &i, e));
    TRY(jdoc_int(mark, "of", 1, SHARD_MOST, &n, e));
    *out = (struct shard){.i = (int)i, .n = (int)n};
    json_object_del(identity, "shard");
    return 0;
}

/* The identity in the run.json of a folder; *out NULL: there is none yet. */
static int shard_identity(const char *dir, json_t **out, struct err *e)
{
    struct str text = STR_INIT;
    json_t *doc = NULL, *identity = NULL;
    char path[1400];
    int rc = 0;
    *out = NULL;
    snprintf(path, sizeof path, "%s/run.json", dir);
    if (access(path, F_OK) != 0)
        return 0;
    TRY_DONE(zio_read(path, SHARD_BYTES, &text, e));
    rc = jdoc_load(text.s, text.len, &doc, e);
    if (rc == 0)
        rc = jdoc_get(doc, "identity", JSON_OBJECT, &identity, e);
    if (rc < 0)
        err_wrap(e, rc, "%s", path);
    TRY_DONE(rc);
    *out = json_incref(identity);
done:
    json_decref(doc);
    str_free(&text);
    return rc;
}

/* The shard of the study folder with the lowest number but s.i that has begun; 0 = none. cell: ""
 * or "/NAME". */
static int shard_first_other(const char *study, struct shard s, const char *cell, json_t **out,
                             int *number, struct err *e)
{
    DIR *d = opendir(study);
    int rc = 0;
    *number = 0;
    if (!d)
        FAIL(e, ERR_IO, "cannot read the folder %s: %s", study, strerror(errno));
    for (const struct dirent *i = readdir(d); i && rc == 0; i = readdir(d)) {
        char name[40], dir[1300], left[16] = "";
        int64_t k = 0;
        json_t *identity = NULL;
        const size_t n = strncmp(i->d_name, "shard-", 6) ? 0 : strspn(i->d_name + 6, "0123456789");
        if (!n || n >= sizeof left)
            continue;
        memcpy(left, i->d_name + 6, n);
        if (!str_to_i64(left, 1, s.n, &k) || k == s.i || (*number && k > *number))
            continue;
        shard_name((struct shard){.i = (int)k, .n = s.n}, name);
        if (strcmp(name, i->d_name) != 0)
            continue;
        snprintf(dir, sizeof dir, "%.1000s/%s%.250s", study, name, cell);
        rc = shard_identity(dir, &identity, e);
        if (!identity)
            continue;
        json_decref(*out);
        *out = identity;
        *number = (int)k;
    }
    closedir(d);
    return rc;
}

int shard_like_others(const char *dir, const char *identity, struct err *e)
{
    json_t *own = NULL, *other = NULL;
    struct shard s = {.n = 0}, unused;
    struct str diff = STR_INIT;
    char name[42], study[1100], *text = NULL;
    int rc, n = 0, number = 0;
    TRY_DONE(jdoc_load(identity, strlen(identity), &own, e));
    TRY_DONE(shard_unmark(own, &s, e));
    name[0] = '/';
    shard_name(s, name + 1);
    const char *at = NULL;
    for (const char *p = strstr(dir, name); p; p = strstr(p + 1, name))
        at = p[strlen(name)] == '/' || !p[strlen(name)] ? p : at;
    if (!at || (size_t)(at - dir) >= sizeof study)
        TRY_DONE(err_set(e, ERR_BUG, "%s is not the folder of shard %d of %d", dir, s.i, s.n));
    memcpy(study, dir, (size_t)(at - dir));
    study[at - dir] = 0;
    TRY_DONE(shard_first_other(study, s, at + strlen(name), &other, &number, e));
    if (!number)
        goto done;
    TRY_DONE(shard_unmark(other, &unused, e));
    text = json_dumps(own, 0);
    if (!text)
        TRY_DONE(NOMEM(e, strlen(identity), "an identity"));
    TRY_DONE(trace_differences(other, text, NULL, &n, &diff, e));
    if (n)
        rc = err_set(e, ERR_CONFIG,
                     "shard %d of this study was computed with other parts, and the merge would "
                     "refuse both: %s; use the same, or choose another --out",
                     number, diff.s);
done:
    free(text);
    json_decref(own);
    json_decref(other);
    str_free(&diff);
    return rc;
}

bool shard_unmerged(const char *dir)
{
    struct folder f = {.lock = -1};
    const int n = snprintf(f.dir, sizeof f.dir, "%s", dir);
    return n > 0 && (size_t)n < sizeof f.dir && folder_has(&f, SHARD_FILE) &&
           !folder_has(&f, "run.json") && !folder_has(&f, "grid.json");
}

int shard_refuse_unmerged(const char *dir, struct err *e)
{
    if (shard_unmerged(dir))
        FAIL(e, ERR_USAGE,
             "%s holds shards that are not merged yet; run: mas merge %s (a part alone: "
             "%s/shard-I-of-N)",
             dir, dir, dir);
    return 0;
}
