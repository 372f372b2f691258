#include "merge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gridfile.h"
#include "jdoc.h"
#include "jscan.h"
#include "manifest.h"
#include "mem.h"
#include "merge_part.h"
#include "sha256.h"
#include "trace_diff.h"
#include "trace_scan.h"
#include "zio.h"

#define MERGE_CELLS 4096

/* ---- reading the study ----------------------------------------------------------------------- */

int merge_member(const char *s, size_t n, const char *key, const char **out, size_t *len,
                 struct err *e)
{
    struct jscan j = {.n = 0};
    struct jscan_item it = {.key = NULL};
    int rc, more;
    *out = NULL;
    jscan_set(&j, s, n);
    TRY_DONE(jscan_open(&j, '{', e));
    while ((more = jscan_next(&j, &it, e)) > 0)
        if (jscan_key(&it, key)) {
            *out = it.value;
            *len = it.n;
        }
    rc = more;
    if (!rc && !*out)
        rc = err_set(e, ERR_DATA, "key '%s' is missing", key);
done:
    jscan_free(&j);
    return rc;
}

static void merge_new_cell(struct merge_cell *c, const char *name, size_t model)
{
    c->name = name;
    c->model = model;
    c->identity = c->sessions = (struct str)STR_INIT;
}

static int merge_single(struct merge *m, struct err *e)
{
    m->cell = mem_zalloc(1, sizeof *m->cell);
    m->cells_of = mem_zalloc(1, sizeof *m->cells_of);
    if (!m->cell || !m->cells_of)
        return NOMEM(e, sizeof *m->cell, "a study");
    m->n_cell = m->n_model = m->cells_of[0] = 1;
    merge_new_cell(&m->cell[0], "", 0);
    return 0;
}

static int merge_grid(struct merge *m, const json_t *study, struct err *e)
{
    json_t *cells = NULL, *models = NULL;
    TRY(jdoc_array(m->grid, "cells", 1, MERGE_CELLS, &cells, e));
    const size_t n = json_array_size(cells);
    TRY(jdoc_array(study, "models", n, n, &models, e));
    m->cell = mem_zalloc(n, sizeof *m->cell);
    m->cells_of = mem_zalloc(n, sizeof *m->cells_of);
    if (!m->cell || !m->cells_of)
        return NOMEM(e, n * sizeof *m->cell, "a study");
    for (size_t i = 0; i < n; i++) {
        const json_int_t model = json_integer_value(json_array_get(models, i));
        const char *name = NULL;
        TRY(jdoc_string(json_array_get(cells, i), "name", &name, e));
        if (model < 0 || (size_t)model >= n)
            FAIL(e, ERR_DATA, "model %lld of %zu cells", (long long)model, n);
        if (!*name || *name == '.' || strchr(name, '/'))
            FAIL(e, ERR_DATA, "'%.130s' is no name of a cell", name);
        merge_new_cell(&m->cell[i], name, (size_t)model);
        m->n_cell++;
        m->cells_of[model]++;
        m->n_model = (size_t)model + 1 > m->n_model ? (size_t)model + 1 : m->n_model;
    }
    for (size_t i = 0; i < m->n_model; i++)
        if (!m->cells_of[i])
            FAIL(e, ERR_DATA, "model %zu has no cell", i);
    return 0;
}

static int merge_study(struct merge *m, struct err *e)
{
    json_t *study = NULL;
    json_int_t format = 0, of = 0, asked = 0;
    const char *hash = NULL, *text = NULL;
    char sha256[65], path[1100];
    size_t n = 0;
    TRY(jdoc_load(m->text.s, m->text.len, &m->doc, e));
    TRY(jdoc_int(m->doc, "format", 0, INT32_MAX, &format, e));
    if (format != SHARD_FORMAT)
        FAIL(e, ERR_CONFIG, "format %lld, this program reads format %d", (long long)format,
             SHARD_FORMAT);
    TRY(jdoc_get(m->doc, "study", JSON_OBJECT, &study, e));
    TRY(merge_member(m->text.s, m->text.len, "study", &text, &n, e));
    TRY(sha256_hex(text, n, m->study, e));
    TRY(jdoc_string(m->doc, "command", &m->command, e));
    TRY(jdoc_int(study, "of", 1, SHARD_MOST, &of, e));
    TRY(jdoc_int(study, "asked", 0, TRACE_INDEX, &asked, e));
    TRY(jdoc_string(study, "data_sha256", &m->data_sha256, e));
    TRY(jdoc_string(study, "records_sha256", &hash, e));
    m->of = (int)of;
    m->asked = (size_t)asked;
    folder_path(&m->folder, "records.jsonl", path);
    TRY(zio_read(path, TRACE_BYTES, &m->records_text, e));
    TRY(sha256_hex(m->records_text.s, m->records_text.len, sha256, e));
    if (strcmp(sha256, hash) != 0)
        FAIL(e, ERR_DATA, "%s is not the file that it names", path);
    TRY(records_read(m->records_text.s, m->records_text.len, &m->records, e));
    m->grid = json_object_get(m->doc, "grid");
    if (!json_is_object(m->grid))
        m->grid = NULL;
    return m->grid ? merge_grid(m, study, e) : merge_single(m, e);
}

int merge_compare(const void *a, const void *b)
{
    return strcmp(((const struct merge_id *)a)->id, ((const struct merge_id *)b)->id);
}

static int merge_ids(struct merge *m, struct err *e)
{
    m->id = mem_zalloc(m->records.n ? m->records.n : 1, sizeof *m->id);
    if (!m->id)
        return NOMEM(e, m->records.n * sizeof *m->id, "questions");
    for (size_t i = 0; i < m->records.n; i++) {
        const struct records_row *r = &m->records.r[i];
        if (r->kind == MEDQA_QUESTION)
            m->id[m->n_id++] = (struct merge_id){r->id, i};
        m->questions += i < m->asked && r->kind == MEDQA_QUESTION;
        m->rejected += i < m->asked && r->kind == MEDQA_REJECTED;
    }
    qsort(m->id, m->n_id, sizeof *m->id, merge_compare);
    return shard_order_of(&m->records, m->asked, &m->order, e);
}

int merge_open(const char *dir, struct merge **out, struct err *e)
{
    struct merge *m = mem_zalloc(1, sizeof *m);
    char path[1100];
    int rc;
    if (!m)
        return NOMEM(e, sizeof *m, "a study");
    m->folder.lock = m->out.lock = -1;
    m->text = m->records_text = m->notes = (struct str)STR_INIT;
    if ((size_t)snprintf(m->folder.dir, sizeof m->folder.dir, "%s", dir) >= 900)
        TRY_DONE(err_set(e, ERR_USAGE, "the folder's name is too long: %zu bytes, at most 899",
                         strlen(dir)));
    if (!folder_has(&m->folder, SHARD_FILE))
        TRY_DONE(err_set(e, ERR_NOINPUT,
                         "%s holds no shards: it has no " SHARD_FILE
                         "; give the --out of mas eval --shard",
                         dir));
    folder_path(&m->folder, SHARD_FILE, path);
    TRY_DONE(zio_read(path, MERGE_BYTES, &m->text, e));
    rc = merge_study(m, e);
    if (rc < 0)
        err_wrap(e, rc, "%s", path);
    if (rc == ERR_DATA || rc == ERR_NOINPUT) /* shards.json or records.jsonl */
        err_wrap(e, rc,
                 "a file of the study is damaged or lost; remove a damaged one and start any task "
                 "again, which writes it anew");
    TRY_DONE(rc);
    TRY_DONE(merge_ids(m, e));
    *out = m;
    return 0;
done:
    merge_close(m);
    return rc;
}

void merge_close(struct merge *m)
{
    if (!m)
        return;
    lease_give(m->lease);
    folder_close(&m->out);
    json_decref(m->doc);
    str_free(&m->notes);
    str_free(&m->text);
    str_free(&m->records_text);
    records_free(&m->records);
    shard_order_free(&m->order);
    for (size_t i = 0; i < m->n_cell; i++) {
        str_free(&m->cell[i].identity);
        str_free(&m->cell[i].sessions);
        retried_free(&m->cell[i].retried);
    }
    mem_free(m->cell);
    for (size_t i = 0; i < m->n_version; i++) {
        str_free(&m->version[i].text);
        str_free(&m->version[i].shards);
    }
    mem_free(m->version);
    mem_free(m->cells_of);
    mem_free(m->id);
    mem_free(m);
}

int merge_shards(const struct merge *m)
{
    return m->of;
}

size_t merge_cells(const struct merge *m)
{
    return m->n_cell;
}

const char *merge_cell_name(const struct merge *m, size_t cell)
{
    return m->cell[cell].name;
}

const char *merge_failed(const struct merge *m, size_t cell)
{
    return m->cell[cell].why;
}

void merge_counts(const struct merge *m, size_t cell, size_t *questions, size_t *failed,
                  size_t *rejected)
{
    *questions = m->questions;
    *failed = m->cell[cell].failed;
    *rejected = m->rejected;
}

struct shard_span merge_span(const struct merge *m, const struct merge_cell *c, int shard)
{
    const struct shard s = {.i = shard, .n = m->of};
    return shard_share(s, m->cells_of, m->n_model, c->model, m->order.units);
}

void merge_dir(const struct merge *m, const struct merge_cell *c, int shard, char out[1200])
{
    char name[40];
    shard_name((struct shard){.i = shard, .n = m->of}, name);
    snprintf(out, 1200, "%.900s/%s%s%s", m->folder.dir, name, *c->name ? "/" : "", c->name);
}

/* ---- the proof ------------------------------------------------------------------------------- */

/* The identity of the whole: that of a shard without its mark. */
static int merge_unmark(const struct merge *m, int shard, const char *s, size_t n, struct str *out,
                        struct err *e)
{
    static const char mark[] = ", \"shard\": ";
    json_t *doc = NULL, *of = NULL, *bare = NULL;
    json_int_t i = 0, all = 0;
    size_t at = n;
    int rc;
    TRY_DONE(jdoc_load(s, n, &doc, e));
    rc = jdoc_get(doc, "shard", JSON_OBJECT, &of, e);
    if (rc < 0)
        rc = err_set(e, ERR_CONFIG, "it is no shard of a study");
    TRY_DONE(rc);
    TRY_DONE(jdoc_int(of, "shard", 1, SHARD_MOST, &i, e));
    TRY_DONE(jdoc_int(of, "of", 1, SHARD_MOST, &all, e));
    if (i != shard || all != m->of)
        TRY_DONE(err_set(e, ERR_CONFIG, "it is shard %lld of %lld, this is the place of %d of %d",
                         (long long)i, (long long)all, shard, m->of));
    while (at && (at + sizeof mark - 1 > n || memcmp(s + at, mark, sizeof mark - 1) != 0))
        at--;
    str_add(out, s, at);
    str_addc(out, '}');
    TRY_DONE(str_ok(out, "an identity", e));
    TRY_DONE(jdoc_load(out->s, out->len, &bare, e));
    json_object_del(doc, "shard");
    if (!json_equal(doc, bare))
        rc = err_set(e, ERR_DATA, "its mark as a shard does not end its identity");
done:
    json_decref(doc);
    json_decref(bare);
    return rc;
}

/* Compares the identity with that of the first shard of the cell, or keeps it as the first. */
static int merge_identity(const struct merge *m, struct merge_cell *c, int shard,
                          const struct trace_run *run, struct err *e)
{
    struct str bare = STR_INIT, diff = STR_INIT;
    const char *s = NULL;
    size_t n = 0;
    json_t *doc = NULL;
    int rc, count = 0;
    TRY_DONE(merge_member(run->json.s, run->json.len, "identity", &s, &n, e));
    TRY_DONE(merge_unmark(m, shard, s, n, &bare, e));
    TRY_DONE(jdoc_load(bare.s, bare.len, &doc, e));
    const char *data = json_string_value(json_object_get(doc, "data_sha256"));
    if (!data || strcmp(data, m->data_sha256) != 0)
        TRY_DONE(err_set(e, ERR_CONFIG, "its data has sha256 %.12s.., that of the study %.12s..",
                         data ? data : "?", m->data_sha256));
    if (!c->first) {
        c->first = shard;
        c->identity = bare;
        bare = (struct str)STR_INIT;
        goto done;
    }
    json_decref(doc);
    doc = NULL;
    TRY_DONE(jdoc_load(c->identity.s, c->identity.len, &doc, e));
    TRY_DONE(trace_differences(doc, bare.s, NULL, &count, &diff, e));
    if (count)
        rc = err_set(e, ERR_CONFIG, "it is of another study than shard %d: %s", c->first, diff.s);
done:
    json_decref(doc);
    str_free(&bare);
    str_free(&diff);
    return rc;
}

/* Notes the version of each session. */
static int merge_note_versions(struct merge *m, int shard, const json_t *sessions, struct err *e)
{
    for (size_t i = 0; i < json_array_size(sessions); i++) {
        const json_t *about = json_object_get(json_array_get(sessions, i), "about");
        const char *text = json_string_value(json_object_get(about, "version"));
        size_t k = 0;
        if (!text)
            continue;
        while (k < m->n_version && strcmp(m->version[k].text.s, text) != 0)
            k++;
        if (k == m->n_version) {
            TRY(mem_grow(&m->version, &m->cap_version, k + 1, sizeof *m->version, "versions", e));
            m->version[m->n_version++] =
                (struct merge_version){.text = STR_INIT, .shards = STR_INIT};
            str_adds(&m->version[k].text, text);
            TRY(str_ok(&m->version[k].text, "a version", e));
        }
        struct merge_version *v = &m->version[k];
        if (v->last != shard)
            str_addf(&v->shards, "%s%d", v->shards.len ? ", " : "", shard);
        v->last = shard;
    }
    return 0;
}

int merge_versions(const struct merge *m, struct str *out, struct err *e)
{
    if (m->n_version > 1)
        str_addf(out, "%zu versions of the program made these shards, and may reply differently:",
                 m->n_version);
    for (size_t i = 0; i < m->n_version && m->n_version > 1; i++)
        str_addf(out, "%s %.80s (shards %.200s)", i ? "," : "", m->version[i].text.s,
                 m->version[i].shards.s ? m->version[i].shards.s : "");
    str_adds(out, m->n_version > 1 ? "\n" : "");
    return str_ok(out, "versions", e);
}

/* The sessions of run.json, after those of the other shards. */
static int merge_sessions(struct merge *m, int shard, struct merge_cell *c,
                          const struct trace_run *run, struct err *e)
{
    const char *s = NULL;
    size_t n = 0;
    json_t *doc = NULL;
    TRY(jdoc_load(run->json.s, run->json.len, &doc, e));
    const int rc = merge_note_versions(m, shard, json_object_get(doc, "sessions"), e);
    json_decref(doc);
    TRY(rc);
    TRY(merge_member(run->json.s, run->json.len, "sessions", &s, &n, e));
    if (n < 2)
        FAIL(e, ERR_DATA, "'sessions' is no array");
    str_adds(&c->sessions, c->sessions.len ? ",\n" : "");
    str_add(&c->sessions, s + 1, n - 2);
    return str_ok(&c->sessions, "sessions", e);
}

/* The records of the shard are those of its ranks, one after the other. */
static int merge_records(const struct merge *m, struct shard_span span, const struct trace_run *run,
                         size_t *questions, struct err *e)
{
    size_t at = 0;
    *questions = 0;
    for (size_t i = 0; i < m->order.n; i++) {
        const struct records_row *want = &m->records.r[i];
        if (m->order.rank[i] < span.lo || m->order.rank[i] >= span.hi)
            continue;
        const struct records_row *have = at < run->records.n ? &run->records.r[at] : NULL;
        if (!have || have->kind != want->kind || have->line != want->line ||
            strcmp(have->id, want->id) != 0)
            FAIL(e, ERR_DATA,
                 "its record %zu is not record %zu of the data file, as the division "
                 "has it",
                 at + 1, i + 1);
        *questions += want->kind == MEDQA_QUESTION;
        at++;
    }
    if (at != run->records.n || run->asked != at)
        FAIL(e, ERR_DATA, "it has %zu records and asks for %zu, the division gives it %zu",
             run->records.n, run->asked, at);
    return 0;
}

static int merge_check_shard(struct merge *m, struct merge_cell *c, int shard, struct err *e)
{
    const struct shard_span span = merge_span(m, c, shard);
    struct trace_run run = {.asked = 0};
    struct folder f = {.lock = -1};
    char dir[1200], name[40];
    size_t questions = 0;
    int rc;
    if (span.lo == span.hi)
        return 0;
    merge_dir(m, c, shard, dir);
    snprintf(f.dir, sizeof f.dir, "%.1000s", dir);
    if (!folder_has(&f, "run.json"))
        FAIL(e, ERR_AGAIN, "it has not begun");
    TRY_DONE(trace_read(dir, &run, e));
    TRY_DONE(merge_identity(m, c, shard, &run, e));
    TRY_DONE(merge_records(m, span, &run, &questions, e));
    if (run.results.n != questions)
        TRY_DONE(
            err_set(e, ERR_AGAIN, "%zu of %zu questions are finished", run.results.n, questions));
    TRY_DONE(merge_sessions(m, shard, c, &run, e));
    shard_name((struct shard){.i = shard, .n = m->of}, name);
    TRY_DONE(retried_join(&c->retried, &run.retried, name, e));
    for (size_t i = 0; i < run.results.n; i++) {
        c->correct += run.results.r[i].correct;
        c->failed += run.results.r[i].state == CONSULT_FAILED;
    }
done:
    trace_run_free(&run);
    return rc;
}

void merge_command_in(const struct merge *m, const char *begin, const char *dir, struct str *out)
{
    static const char words[] = "mas eval", end[] = "shard"; /* of an older program */
    const char *rest = m->command;
    size_t n = strlen(rest);
    if (!strncmp(rest, words, sizeof words - 1)) {
        rest += sizeof words - 1;
        n -= sizeof words - 1;
    }
    if (n > sizeof end && !strcmp(rest + n - (sizeof end - 1), end))
        while (n && rest[--n] != ' ') {
        }
    str_addf(out, "%s --out ", begin);
    str_add_word(out, dir);
    str_add(out, rest, n);
}

/* The command of mas eval that completes or mends a shard, in the folder that is merged. how: 0 or
 * an error that says what is wrong with it. */
static void merge_command(const struct merge *m, int shard, int how, struct str *out)
{
    char begin[80];
    snprintf(begin, sizeof begin, "%s --%s %d/%d",
             how == ERR_CONFIG ? "mas eval --force-new"
             : how == ERR_DATA ? "mas eval --repair"
                               : "mas eval",
             "shard", shard, m->of);
    merge_command_in(m, begin, m->folder.dir, out);
    str_addc(out, '\n');
}

/* Appends why the shard cannot be merged, and what to do. cells: so many have the fault, or another
 * one. */
static void merge_fault(const struct merge *m, const struct merge_cell *c, int shard, size_t cells,
                        const struct err *why, struct str *out)
{
    struct err held = {.code = 0};
    char name[40], dir[1200];
    str_addf(out, "shard %d of %d", shard, m->of);
    if (cells > 1)
        str_addf(out, ", %zu cells, the first is %s", cells, c->name);
    else if (*c->name)
        str_addf(out, ", cell %s", c->name);
    str_addf(out, ": %s; ", why->msg);
    shard_name((struct shard){.i = shard, .n = m->of}, name);
    snprintf(dir, sizeof dir, "%.900s/%s", m->folder.dir, name);
    if (why->code == ERR_AGAIN && lease_refuse_held(dir, &held) == ERR_CREATE) {
        str_addf(out, "%s\n", held.msg);
        return;
    }
    str_adds(out, why->code == ERR_AGAIN    ? "run: "
                  : why->code == ERR_CONFIG ? "start it again: "
                                            : "mend it: ");
    merge_command(m, shard,
                  why->code == ERR_AGAIN || why->code == ERR_CONFIG ? why->code : ERR_DATA, out);
}

static void merge_tell(const char *what, size_t n, struct str *out)
{
    if (n)
        str_addf(out, "%s%zu %s %s", out->len ? ", " : "", n, n == 1 ? "is" : "are", what);
}

/* Did the cell fail in this shard? Then its reason is kept. */
static bool merge_gave_up(const struct merge *m, struct merge_cell *c, int shard)
{
    struct gridfile file = {.doc = NULL};
    struct err unread;
    char name[40], dir[1200];
    shard_name((struct shard){.i = shard, .n = m->of}, name);
    snprintf(dir, sizeof dir, "%.900s/%s", m->folder.dir, name);
    if (!m->grid || gridfile_read(dir, &file, &unread) < 0)
        return false;
    bool gave_up = false;
    for (size_t i = 0; i < file.n - file.n_removed && !gave_up; i++) {
        gave_up = !strcmp(file.cell[i].name, c->name) &&
                  !strcmp(file.cell[i].state, grid_state_name(GRID_FAILED));
        if (gave_up && !*c->why)
            snprintf(c->why, sizeof c->why, "%.399s", file.cell[i].why);
    }
    gridfile_free(&file);
    return gave_up;
}

int merge_check(struct merge *m, struct str *faults, struct err *e)
{
    size_t n[3] = {0}; /* unfinished, foreign, damaged */
    struct str told = STR_INIT;
    int rc = 0;
    for (int i = 1; i <= m->of; i++) {
        struct err first = {.code = 0};
        const struct merge_cell *at = NULL;
        size_t cells = 0;
        for (size_t k = 0; k < m->n_cell; k++) {
            struct err why = {.code = 0};
            const int bad = merge_check_shard(m, &m->cell[k], i, &why);
            if (bad == ERR_NOMEM)
                FAIL(e, bad, "%s", why.msg);
            if (bad == ERR_AGAIN && merge_gave_up(m, &m->cell[k], i)) {
                str_addf(faults, "shard %d of %d, cell %s failed: %s; try it again: ", i, m->of,
                         m->cell[k].name, m->cell[k].why);
                merge_command(m, i, 0, faults);
                continue;
            }
            cells += bad < 0;
            if (bad < 0 && !at) {
                first = why;
                first.code = bad;
                at = &m->cell[k];
            }
        }
        if (!at)
            continue;
        n[first.code == ERR_AGAIN ? 0 : first.code == ERR_CONFIG ? 1 : 2]++;
        merge_fault(m, at, i, cells, &first, faults);
    }
    TRY(str_ok(faults, "faults", e));
    if (!(n[0] + n[1] + n[2]))
        return 0;
    merge_tell("missing or unfinished", n[0], &told);
    merge_tell("of another study", n[1], &told);
    merge_tell("damaged", n[2], &told);
    rc = str_ok(&told, "faults", e);
    if (rc == 0)
        rc = err_set(e,
                     n[1]   ? ERR_CONFIG
                     : n[2] ? ERR_DATA
                            : ERR_AGAIN,
                     "%s cannot be merged: of %d shards, %s", m->folder.dir, m->of, told.s);
    str_free(&told);
    return rc;
}
