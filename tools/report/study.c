#include "study.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "jdoc.h"
#include "mem.h"
#include "review.h"
#include "vary.h"

#define STUDY_DRAWS 10000 /* of the bootstrap, as in mas export */
#define STUDY_SEED 42

/* ---- one run --------------------------------------------------------------------------------- */

const char *study_setting(const struct study_run *r, const char *key)
{
    const json_t *config = json_object_get(r->identity, "config");
    const json_t *v = json_object_get(config, key);
    v = v ? v : json_object_get(r->identity, key);
    v = v ? v : json_object_get(r->about, key);
    return json_is_string(v) ? json_string_value(v) : "";
}

static int study_describe(struct study_run *r, struct err *e)
{
    json_t *sessions = NULL;
    TRY(jdoc_load(r->run.json.s, r->run.json.len, &r->doc, e));
    TRY(jdoc_array(r->doc, "sessions", 1, 1000000, &sessions, e));
    r->identity = json_object_get(r->doc, "identity");
    r->about = json_object_get(json_array_get(sessions, json_array_size(sessions) - 1), "about");
    return 0;
}

/* The last part of a path, without slashes at its end. */
static void study_name(const char *dir, char out[64])
{
    size_t end = strlen(dir);
    while (end > 1 && dir[end - 1] == '/')
        end--;
    size_t begin = end;
    while (begin && dir[begin - 1] != '/')
        begin--;
    snprintf(out, 64, "%.*s", (int)(end - begin), dir + begin);
}

/* *copy: the run at that place is a copy of one before it, which is said on standard error. */
static int study_find_copy(const struct study *s, size_t at, bool *copy, struct err *e)
{
    *copy = false;
    for (size_t i = 0; i < at && !*copy; i++) {
        TRY(stats_same_run(&s->run[i].run, &s->run[at].run, copy, e));
        if (*copy)
            fprintf(stderr, "%s is a copy of the run in %s; it is taken once\n", s->run[at].dir,
                    s->run[i].dir);
    }
    return 0;
}

static void study_close_run(struct study_run *r)
{
    trace_run_free(&r->run);
    stats_free(&r->sum);
    json_decref(r->doc);
    mem_free(r->result);
    mem_free(r->c);
    if (r->blocks.s)
        str_free(&r->blocks);
    if (r->bad.s)
        str_free(&r->bad);
    *r = (struct study_run){.n_block = 0};
}

static int study_open_run(const struct study *s, size_t at, bool *copy, struct err *e)
{
    struct study_run *r = &s->run[at];
    struct replay lines = {.text = STR_INIT};
    int rc;
    study_name(r->dir, r->name);
    r->blocks = r->bad = (struct str)STR_INIT;
    TRY(trace_read(r->dir, &r->run, e));
    fputs(r->run.notes.s, stderr);
    TRY(study_find_copy(s, at, copy, e));
    if (*copy)
        return 0;
    TRY(study_describe(r, e));
    const double price = isnan(s->price_kwh) ? r->run.price_kwh : s->price_kwh;
    TRY(stats_summarize(&r->run, price, &r->sum, e));
    stats_partial(&r->sum, r->partial);
    r->result = mem_zalloc(r->run.records.n, sizeof *r->result);
    r->c = mem_zalloc(r->run.results.n, sizeof *r->c);
    if (!r->result || !r->c)
        return NOMEM(e, (r->run.records.n + r->run.results.n) * sizeof *r->c, "a run");
    for (size_t i = 0; i < r->run.results.n; i++)
        r->result[r->run.results.r[i].index] = i + 1;
    TRY(replay_open(r->dir, &lines, e));
    rc = study_pack(r, at, &lines, e);
    replay_free(&lines);
    return rc;
}

/* Folders of one name are named by their paths. */
static void study_names(struct study *s)
{
    for (size_t i = 0; i < s->n; i++) {
        bool twice = false;
        for (size_t k = 0; k < s->n; k++) {
            char other[64];
            study_name(s->run[k].dir, other);
            twice |= k != i && !strcmp(other, s->run[i].name);
        }
        const size_t n = strlen(s->run[i].dir);
        if (twice)
            snprintf(s->run[i].name, sizeof s->run[i].name, "%s",
                     s->run[i].dir + (n > 63 ? n - 63 : 0));
    }
}

/* ---- questions ------------------------------------------------------------------------------- */

static int study_by_id(const void *a, const void *b)
{
    const struct study_question *x = a, *y = b;
    const int order = strcmp(x->id, y->id);
    return order ? order : (x->first > y->first) - (x->first < y->first);
}

static int study_by_place(const void *a, const void *b)
{
    const struct study_question *x = a, *y = b;
    if (x->first != y->first)
        return x->first > y->first ? 1 : -1;
    return (x->record > y->record) - (x->record < y->record);
}

static int study_questions(struct study *s, struct err *e)
{
    size_t n = 0, kept = 0;
    for (size_t i = 0; i < s->n; i++)
        n += s->run[i].run.asked;
    struct study_question *q = mem_zalloc(n, sizeof *q);
    if (!q)
        return NOMEM(e, n * sizeof *q, "the questions of a report");
    s->question = q;
    n = 0;
    for (size_t i = 0; i < s->n; i++)
        for (size_t k = 0; k < s->run[i].run.asked; k++) {
            const struct records_row *row = &s->run[i].run.records.r[k];
            if (row->kind != MEDQA_QUESTION)
                continue;
            q[n] = (struct study_question){.first = i, .record = k};
            memcpy(q[n++].id, row->id, sizeof row->id);
        }
    if (n)
        qsort(q, n, sizeof *q, study_by_id);
    for (size_t i = 0; i < n; i++)
        if (!i || strcmp(q[i].id, q[kept - 1].id) != 0)
            q[kept++] = q[i];
    if (kept)
        qsort(q, kept, sizeof *q, study_by_place);
    s->n_question = kept;
    return 0;
}

/* The record of a question in a run; run.records.n = none. Runs of one file agree on the record's
 * number; others are searched. */
static size_t study_record(const struct study *s, size_t run, const struct study_question *q)
{
    const struct records *rs = &s->run[run].run.records;
    if (q->record < rs->n && rs->r[q->record].kind == MEDQA_QUESTION &&
        !strcmp(rs->r[q->record].id, q->id))
        return q->record;
    for (size_t i = 0; i < rs->n; i++)
        if (rs->r[i].kind == MEDQA_QUESTION && !strcmp(rs->r[i].id, q->id))
            return i;
    return rs->n;
}

bool study_asked(const struct study *s, size_t run, const struct study_question *q)
{
    return study_record(s, run, q) < s->run[run].run.asked;
}

const struct result *study_result(const struct study *s, size_t run, const struct study_question *q,
                                  size_t *at)
{
    const struct study_run *r = &s->run[run];
    const size_t record = study_record(s, run, q);
    if (record >= r->run.asked || !r->result[record])
        return NULL;
    *at = r->result[record] - 1;
    return &r->run.results.r[*at];
}

size_t study_shared(const struct study *s)
{
    size_t shared = 0;
    for (size_t i = 0; i < s->n_question; i++) {
        bool all = true;
        for (size_t k = 0; k < s->n && all; k++)
            all = study_asked(s, k, &s->question[i]);
        shared += all;
    }
    return shared;
}

/* Joins the texts of a file of questions to the questions. */
static void study_join(struct study *s, const struct medqa *m)
{
    for (size_t i = 0; i < s->n_question; i++) {
        struct study_question *q = &s->question[i];
        const size_t guess = q->record; /* the file has no record that is left out before it */
        if (guess < m->n_records && m->record[guess].kind == MEDQA_QUESTION &&
            !strcmp(m->question[m->record[guess].question].id, q->id)) {
            q->q = &m->question[m->record[guess].question];
            continue;
        }
        for (size_t k = 0; !q->q && k < m->n; k++)
            if (!strcmp(m->question[k].id, q->id))
                q->q = &m->question[k];
    }
}

/* The form of the run's questions; NULL = each record's own. */
static const char *study_form(const struct study_run *r)
{
    return json_string_value(json_object_get(json_object_get(r->about, "config"), "data_format"));
}

/* Are the questions of both runs made of the same file in the same way? */
static bool study_same_data(const struct study_run *a, const struct study_run *b)
{
    const json_t *x = json_object_get(a->identity, "variants");
    const json_t *y = json_object_get(b->identity, "variants");
    return !strcmp(study_setting(a, "data_sha256"), study_setting(b, "data_sha256")) &&
           (x ? json_equal(x, y) : !y);
}

/* Reads the questions of run i. A file that cannot be read or that has changed is left out. */
static int study_read_data(struct study *s, size_t i, const char *path, struct err *e)
{
    const struct study_run *r = &s->run[i];
    struct err why = {.code = 0};
    int rc = medqa_read_as(path, study_form(r), &s->data[i], &why);
    if (rc == 0 && strcmp(s->data[i].sha256, study_setting(r, "data_sha256")) == 0)
        rc = vary_recorded(r->dir, r->identity, &s->data[i], &why);
    else if (rc == 0)
        rc = ERR_DATA;
    if (rc == ERR_NOMEM)
        FAIL(e, rc, "%s", why.msg);
    if (rc == 0)
        study_join(s, &s->data[i]);
    else
        medqa_free(&s->data[i]);
    return 0;
}

/* The files that the runs name, each once, where they are unchanged. */
static int study_find_data(struct study *s, struct err *e)
{
    for (size_t i = 0; i < s->n; i++) {
        const char *path = study_setting(&s->run[i], "data");
        const json_t *of = json_object_get(s->run[i].about, "data");
        char packed[REVIEW_PATH];
        bool known = false;
        path = json_is_string(of) ? json_string_value(of) : path;
        if (review_file(s->run[i].dir, REVIEW_QUESTIONS, packed))
            path = packed;
        for (size_t k = 0; k < i; k++)
            known |= s->data[k].n && study_same_data(&s->run[k], &s->run[i]);
        if (known || !*path || !strcmp(path, "-") || access(path, R_OK) != 0)
            continue;
        TRY(study_read_data(s, i, path, e));
    }
    return 0;
}

/* The questions of a file that the caller names, for all runs. */
static int study_given_data(struct study *s, const char *path, struct err *e)
{
    for (size_t i = 0; i < s->n; i++) {
        bool known = false;
        for (size_t k = 0; k < i; k++)
            known |= study_same_data(&s->run[k], &s->run[i]);
        if (known)
            continue;
        TRY(medqa_read_as(path, study_form(&s->run[i]), &s->data[i], e));
        TRY(vary_recorded(s->run[i].dir, s->run[i].identity, &s->data[i], e));
        study_join(s, &s->data[i]);
    }
    return 0;
}

static int study_compare(struct study *s, struct err *e)
{
    const struct trace_run **run = mem_zalloc(s->n, sizeof *run);
    if (!run)
        return NOMEM(e, s->n * sizeof *run, "a comparison");
    for (size_t i = 0; i < s->n; i++)
        run[i] = &s->run[i].run;
    const int rc = stats_compare(run, s->n, STUDY_DRAWS, STUDY_SEED, &s->compared, e);
    mem_free(run);
    return rc;
}

/* ---- the study ------------------------------------------------------------------------------- */

int study_open(const char *const *dir, size_t n, const char *data, double price_kwh,
               struct study *out, struct err *e)
{
    struct study s = {.n = n, .price_kwh = price_kwh};
    int rc = 0;
    s.run = mem_zalloc(n, sizeof *s.run);
    s.data = mem_zalloc(n, sizeof *s.data);
    if (!s.run || !s.data) {
        rc = NOMEM(e, n * sizeof *s.run, "a report");
        goto done;
    }
    for (size_t i = 0, at = 0; i < n; i++) {
        bool copy = false;
        s.run[at].dir = dir[i];
        TRY_DONE(study_open_run(&s, at, &copy, e));
        if (copy)
            study_close_run(&s.run[at]);
        s.n -= copy;
        at += !copy;
    }
    if (s.n > 1)
        TRY_DONE(study_compare(&s, e));
    study_names(&s);
    TRY_DONE(study_questions(&s, e));
    TRY_DONE(data ? study_given_data(&s, data, e) : study_find_data(&s, e));
    *out = s;
    s = (struct study){.n = 0};
done:
    study_close(&s);
    return rc;
}

void study_close(struct study *s)
{
    for (size_t i = 0; i < s->n && s->run; i++)
        study_close_run(&s->run[i]);
    for (size_t i = 0; i < s->n && s->data; i++)
        medqa_free(&s->data[i]);
    stats_compared_free(&s->compared);
    mem_free(s->run);
    mem_free(s->data);
    mem_free(s->question);
    *s = (struct study){.n = 0};
}
