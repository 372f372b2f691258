/* The second half of merge.h: the result. */
/* for memmem */
#define _GNU_SOURCE
#include "merge.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mem.h"
#include "merge_part.h"
#include "merged.h"
#include "replay.h"
#include "sha256.h"
#include "trace_scan.h"
#include "vary.h"
#include "zio.h"

int merge_begin(struct merge *m, const char *out, const atomic_int *stop, struct err *e)
{
    const struct lease_options lo = {.dir = out, .what = out, .stop = stop};
    struct merged mark = {.cases = ""};
    struct stat a, b;
    bool stale;
    TRY(folder_make(&m->out, out, e));
    if (strlen(m->out.dir) > 880)
        FAIL(e, ERR_USAGE, "the folder's name is too long: %zu bytes, at most 880",
             strlen(m->out.dir));
    if (stat(m->folder.dir, &a) != 0 || stat(m->out.dir, &b) != 0)
        FAIL(e, ERR_IO, "cannot look at %s and %s: %s", m->folder.dir, m->out.dir, strerror(errno));
    m->own = a.st_dev == b.st_dev && a.st_ino == b.st_ino;
    memcpy(mark.study, m->study, sizeof mark.study);
    TRY(merged_check(&m->out, &mark, m->own, &stale, e)); /* a foreign folder is not touched */
    TRY(folder_lock_if(&m->out, e));                      /* an evaluation may write there */
    TRY(lease_take(&lo, &m->lease, e));
    TRY(merged_check(&m->out, &mark, m->own, &stale, e));
    return m->grid ? merged_write(&m->out, &mark, e) : 0;
}

const char *merge_notes(const struct merge *m)
{
    return m->notes.s;
}

/* Makes the folder of a cell's result. If it holds an earlier merge of other cases, that is moved
 * away. *kept: what was asked again in it since the merge of the same cases. */
static int merge_place(struct merge *m, const struct merge_cell *c, const char *dir,
                       const struct merged *mark, const bool *failed, struct merge_kept *kept,
                       struct err *e)
{
    struct folder f = {.lock = -1};
    bool stale;
    TRY(folder_make(&f, dir, e));
    TRY(merged_check(&f, mark, m->own, &stale, e));
    TRY(merge_kept_read(m, c, dir, failed, kept, e));
    TRY(merge_kept_refuse(m, kept, dir, stale, e));
    if (!stale && kept->again)
        str_addf(&m->notes,
                 "%s: failed questions were asked again after the merge; their answers stay\n",
                 f.dir);
    if (stale) {
        merge_kept_free(kept);
        str_addf(&m->notes, "the shards have changed since the last merge into %s\n", f.dir);
        TRY(folder_set_aside(&f, m->own ? "records.jsonl" : NULL, &m->notes, e));
    }
    return merged_write(&f, mark, e);
}

struct merge_line { /* a case with its calls, in the text of its shard */
    size_t record, shard;
    const struct replay_case *of;
};

static int merge_by_record(const void *a, const void *b)
{
    const struct merge_line *x = a, *y = b;
    return (x->record > y->record) - (x->record < y->record);
}

/* The case line with the record's number in the whole, and without the time of another host's
 * clock. Quotes in its strings are escaped, so the keys occur once. */
static int merge_case_line(const char *s, size_t n, size_t record, struct str *out, struct err *e)
{
    static const char number[] = ", \"n\": ", ended[] = ", \"ended\": ", crc[] = ", \"crc\": \"";
    const char *a = memmem(s, n, number, sizeof number - 1);
    const char *b = memmem(s, n, ended, sizeof ended - 1);
    const size_t begin = out->len;
    if (!a || !b || b < a || n < 20 || memcmp(s + n - 20, crc, sizeof crc - 1) != 0)
        FAIL(e, ERR_DATA, "a case line without n, ended and crc");
    const char *end = s + n - 20;
    str_add(out, s, (size_t)(a - s));
    str_addf(out, "%s%zu", number, record);
    a += sizeof number - 1;
    a += strspn(a, "0123456789");
    str_add(out, a, (size_t)(b - a));
    str_addf(out, "%snull", ended);
    b += sizeof ended - 1;
    while (b < end && *b != ',')
        b++;
    str_add(out, b, (size_t)(end - b));
    trace_end_line(out, begin);
    return 0;
}

static int merge_case(const struct replay *r, const struct merge_line *l, struct str *out,
                      struct err *e)
{
    const struct replay_case *c = l->of;
    const char *line = r->text.s + c->last;
    str_add(out, r->text.s + c->first, c->last - c->first);
    return merge_case_line(line, c->end - c->last - 1, l->record, out, e);
}

/* Opens the traces of all shards of the cell and lists their cases in the order of the data. */
static int merge_collect(const struct merge *m, const struct merge_cell *c, struct replay *r,
                         struct merge_line **lines, size_t *n, struct err *e)
{
    size_t cap = 0;
    for (int i = 1; i <= m->of; i++) {
        const struct shard_span span = merge_span(m, c, i);
        char dir[1200];
        if (span.lo == span.hi)
            continue;
        merge_dir(m, c, i, dir);
        TRY(replay_open(dir, &r[i - 1], e));
        for (size_t k = 0; k < r[i - 1].n; k++) {
            const struct replay_case *of = &r[i - 1].c[k];
            const struct merge_id key = {.id = r[i - 1].results.r[of->result].id};
            const struct merge_id *hit =
                bsearch(&key, m->id, m->n_id, sizeof *m->id, merge_compare);
            if (!hit)
                FAIL(e, ERR_DATA, "%s: question %s is not in the data", dir, key.id);
            TRY(mem_grow(lines, &cap, *n + 1, sizeof **lines, "cases", e));
            (*lines)[(*n)++] = (struct merge_line){hit->record, (size_t)i - 1, of};
        }
    }
    if (*n)
        qsort(*lines, *n, sizeof **lines, merge_by_record);
    if (*n != m->questions)
        FAIL(e, ERR_AGAIN, "%zu cases, %zu questions: a shard changed meanwhile; try again", *n,
             m->questions);
    return 0;
}

/* The lines of all cases; begin (questions + 1): the offset of each case, then the end. */
struct merge_cases {
    struct str text;
    size_t n, *begin, *record;
    bool *failed; /* (m->records.n) by record */
};

static void merge_cases_free(struct merge_cases *s)
{
    str_free(&s->text);
    mem_free(s->begin);
    mem_free(s->record);
    mem_free(s->failed);
}

static int merge_lines(const struct merge *m, const struct merge_cell *c, struct merge_cases *out,
                       struct err *e)
{
    struct replay *r = mem_zalloc((size_t)m->of, sizeof *r);
    struct merge_line *lines = NULL;
    size_t n = 0;
    *out = (struct merge_cases){.text = STR_INIT,
                                .begin = mem_zalloc(m->questions + 1, sizeof *out->begin),
                                .record = mem_zalloc(m->questions + 1, sizeof *out->record),
                                .failed = mem_zalloc(m->records.n + 1, sizeof *out->failed)};
    int rc = r && out->begin && out->record && out->failed
                 ? 0
                 : NOMEM(e, m->questions * sizeof *out->record, "merged cases");
    if (rc == 0)
        rc = merge_collect(m, c, r, &lines, &n, e);
    for (size_t i = 0; i < n && rc == 0; i++) {
        const struct replay *from = &r[lines[i].shard];
        rc = merge_case(from, &lines[i], &out->text, e);
        out->failed[lines[i].record] = from->results.r[lines[i].of->result].state == CONSULT_FAILED;
        out->record[i] = lines[i].record;
        out->begin[i + 1] = out->text.len;
    }
    out->n = n;
    if (rc == 0)
        rc = str_ok(&out->text, "merged cases", e);
    for (int i = 0; r && i < m->of; i++)
        replay_free(&r[i]);
    mem_free(r);
    mem_free(lines);
    return rc;
}

/* Writes the cases that an interrupted merge has not written. */
static int merge_import(const struct merge_cases *s, struct trace *t, struct err *e)
{
    struct str text = STR_INIT;
    for (size_t i = 0; i < s->n; i++)
        if (!trace_has(t, (int64_t)s->record[i]))
            str_add(&text, s->text.s + s->begin[i], s->begin[i + 1] - s->begin[i]);
    int rc = str_ok(&text, "merged cases", e);
    if (rc == 0 && text.len)
        rc = trace_import(t, &text, e);
    str_free(&text);
    return rc;
}

static int merge_mark(const struct merge *m, const struct merge_cell *c,
                      const struct merge_cases *s, struct merged *out, struct err *e)
{
    char part[3][65];
    TRY(sha256_hex(c->identity.s, c->identity.len, part[0], e));
    TRY(sha256_hex(c->sessions.s, c->sessions.len, part[1], e));
    TRY(sha256_hex(s->text.s, s->text.len, part[2], e));
    memcpy(out->study, m->study, sizeof out->study);
    return sha256_hex(part, sizeof part, out->cases, e);
}

/* Each shard keeps the file of paraphrases that its identity names by a hash. */
static int merge_paraphrases(const struct merge *m, const struct merge_cell *c, const char *dir,
                             struct err *e)
{
    char from[1200], path[1300];
    struct folder to = {.lock = -1};
    struct str text = STR_INIT;
    int rc = 0;
    merge_dir(m, c, c->first, from);
    snprintf(path, sizeof path, "%s/" VARY_FILE, from);
    if (access(path, F_OK) != 0)
        return 0;
    snprintf(to.dir, sizeof to.dir, "%s", dir);
    TRY_DONE(zio_read(path, MERGE_BYTES, &text, e));
    TRY_DONE(folder_save(&to, VARY_FILE, text.s, text.len, e));
done:
    str_free(&text);
    return rc;
}

/* Copies the former traces of the shards, whose failed attempts were replaced. A lost one stays
 * lost: run.json names it, and mas verify finds it missing. */
static int merge_former(const struct merge *m, const struct merge_cell *c, const char *dir,
                        struct err *e)
{
    struct folder to = {.lock = -1};
    char from[1200], path[1400], name[40];
    const char *key;
    json_t *v;
    snprintf(to.dir, sizeof to.dir, "%s", dir);
    for (int i = 1; i <= m->of; i++) {
        shard_name((struct shard){.i = i, .n = m->of}, name);
        merge_dir(m, c, i, from);
        json_object_foreach(c->retried.files, key, v)
        {
            const size_t n = strlen(key), end = strlen(name) + 1;
            struct str data = STR_INIT;
            if (n <= end || key[n - end] != '.' || strcmp(key + n - end + 1, name) != 0)
                continue;
            snprintf(path, sizeof path, "%s/%.*s", from, (int)(n - end), key);
            if (access(path, F_OK) != 0)
                continue;
            int rc = zio_read_raw(path, TRACE_BYTES, &data, e);
            if (rc == 0)
                rc = folder_save(&to, key, data.s, data.len, e);
            str_free(&data);
            TRY(rc);
        }
    }
    return 0;
}

/* Tells of answers in the folder of the shards that the result elsewhere does not have. */
static int merge_elsewhere(struct merge *m, const struct merge_cell *c, const bool *failed,
                           struct err *e)
{
    struct merge_kept k = {.again = 0};
    char dir[1200];
    if (m->own)
        return 0;
    snprintf(dir, sizeof dir, "%.900s%s%s", m->folder.dir, *c->name ? "/" : "", c->name);
    TRY(merge_kept_read(m, c, dir, failed, &k, e));
    if (k.better)
        str_addf(&m->notes,
                 "warning: %s has answers to %zu questions that failed in the shards, because they "
                 "were asked again there; the new result has the failures of the shards\n",
                 dir, k.better);
    merge_kept_free(&k);
    return 0;
}

/* Counts the finished questions of the result. */
static void merge_count(struct merge_cell *c, const struct trace *t)
{
    const struct results *rs = trace_results(t);
    c->correct = c->failed = 0;
    for (size_t i = 0; i < rs->n; i++) {
        c->correct += rs->r[i].correct;
        c->failed += rs->r[i].state == CONSULT_FAILED;
    }
}

int merge_write(struct merge *m, size_t cell, char dir[1024], struct trace **t, struct err *e)
{
    struct merge_cell *c = &m->cell[cell];
    struct str describe = STR_INIT;
    const char *s = NULL;
    size_t n = 0;
    struct trace *to = NULL;
    struct merge_cases cases;
    struct merge_kept kept = {.again = 0};
    struct merged mark;
    int rc;
    TRY_DONE(merge_lines(m, c, &cases, e));
    TRY_DONE(merge_mark(m, c, &cases, &mark, e));
    TRY_DONE(merge_member(m->text.s, m->text.len, "data", &s, &n, e));
    str_add(&describe, s, n);
    TRY_DONE(str_ok(&describe, "run.json", e));
    snprintf(dir, 1024, "%.900s%s%s", m->out.dir, *c->name ? "/" : "", c->name);
    TRY_DONE(merge_elsewhere(m, c, cases.failed, e));
    TRY_DONE(merge_place(m, c, dir, &mark, cases.failed, &kept, e));
    const struct trace_given given = {.records = m->records_text.s,
                                      .describe = describe.s,
                                      .sessions = kept.again ? kept.sessions.s : c->sessions.s,
                                      .retried = kept.again ? &kept.retried : &c->retried};
    const struct trace_options o = {.dir = dir,
                                    .identity = c->identity.s,
                                    .about = "{}",
                                    .asked = m->asked,
                                    .lease = m->lease,
                                    .given = &given};
    TRY_DONE(trace_open(&o, &to, e));
    TRY_DONE(merge_paraphrases(m, c, dir, e));
    TRY_DONE(merge_former(m, c, dir, e));
    TRY_DONE(merge_import(&cases, to, e));
    TRY_DONE(trace_seal(to, e));
    merge_count(c, to);
    *t = to;
    to = NULL;
done:
    trace_close(to);
    merge_kept_free(&kept);
    merge_cases_free(&cases);
    str_free(&describe);
    return rc;
}

int merge_write_grid(struct merge *m, struct err *e)
{
    json_t *doc = m->grid ? json_deep_copy(m->grid) : NULL;
    char *text = NULL;
    int rc = 0;
    if (!m->grid)
        return 0;
    json_t *cells = json_object_get(doc, "cells");
    bool bad = !cells;
    for (size_t i = 0; i < m->n_cell && !bad; i++) {
        json_t *c = json_array_get(cells, i);
        if (*m->cell[i].why) {
            bad = json_object_set_new(c, "state", json_string("failed")) != 0 ||
                  json_object_set_new(c, "why", json_string(m->cell[i].why)) != 0 ||
                  json_object_set_new(c, "total", json_integer((json_int_t)m->questions)) != 0;
            continue;
        }
        bad = json_object_set_new(c, "state", json_string("done")) != 0 ||
              json_object_set_new(c, "done", json_integer((json_int_t)m->questions)) != 0 ||
              json_object_set_new(c, "total", json_integer((json_int_t)m->questions)) != 0 ||
              json_object_set_new(c, "correct", json_integer((json_int_t)m->cell[i].correct)) != 0;
    }
    text = bad ? NULL : json_dumps(doc, 0);
    if (!text)
        rc = NOMEM(e, m->text.len, "grid.json");
    else
        rc = folder_save(&m->out, "grid.json", text, strlen(text), e);
    json_decref(doc);
    free(text);
    return rc;
}
