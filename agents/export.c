#include "export.h"

#include <stdio.h>
#include <string.h>

#include "jdoc.h"
#include "mem.h"
#include "review.h"
#include "vary.h"

/* ---- documents ------------------------------------------------------------------------------- */

void export_put(struct export_json *j, json_t *object, const char *key, json_t *value)
{
    j->failed |= json_object_set_new(object, key, value) != 0;
}

void export_add(struct export_json *j, json_t *array, json_t *value)
{
    j->failed |= json_array_append_new(array, value) != 0;
}

json_t *export_text(const char *s)
{
    return s ? json_stringn(s, strlen(s)) : json_null();
}

json_t *export_copy(const json_t *value)
{
    return value ? json_deep_copy(value) : json_null();
}

int export_dump(const struct export_json *j, const json_t *doc, size_t indent, struct str *out,
                struct err *e)
{
    char *text =
        j->failed || !doc
            ? NULL
            : json_dumps(doc, JSON_INDENT(indent) | JSON_REAL_PRECISION(17) | JSON_ENCODE_ANY);
    if (!text)
        return NOMEM(e, 0, "a document");
    str_adds(out, text);
    mem_free(text);
    return str_ok(out, "a document", e);
}

/* ---- the run --------------------------------------------------------------------------------- */

static const json_t *export_session(const struct export_run *x)
{
    const json_t *sessions = json_object_get(x->doc, "sessions");
    return json_array_get(sessions, json_array_size(sessions) - 1);
}

const json_t *export_about(const struct export_run *x, const char *key)
{
    return json_object_get(json_object_get(export_session(x), "about"), key);
}

const json_t *export_config(const struct export_run *x, const char *key)
{
    return json_object_get(export_about(x, "config"), key);
}

static const char *export_string(const json_t *v, const char *otherwise)
{
    return json_is_string(v) ? json_string_value(v) : otherwise;
}

/* "data/medqa_test.jsonl.gz" -> "medqa_test"; other characters than letters, digits, '.' and '-'
 * become '_'. */
static void export_task(const char *path, char out[128])
{
    const char *slash = strrchr(path, '/');
    size_t n = 0;
    for (const char *s = slash ? slash + 1 : path; *s && n < 127; s++) {
        bool plain = (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') ||
                     (*s >= '0' && *s <= '9') || *s == '-';
        if (*s == '.')
            break;
        out[n++] = plain ? *s : '_';
    }
    out[n] = 0;
    if (!n)
        snprintf(out, 128, "questions");
}

static int export_questions(struct export_run *x, const char *dir, const char *data, struct err *e)
{
    char packed[REVIEW_PATH];
    const char *path = data ? data : export_string(export_about(x, "data"), "");
    const char *form = export_string(export_config(x, "data_format"), NULL);
    export_task(path, x->task);
    if (!data && review_file(dir, REVIEW_QUESTIONS, packed))
        path = packed;
    int rc = medqa_read_as(path, form, &x->data, e);
    if (rc < 0 && !data)
        return err_wrap(e, rc, "the questions of the run");
    TRY(rc);
    TRY(vary_recorded(dir, json_object_get(x->doc, "identity"), &x->data, e));
    TRY(medqa_ids_open(&x->data, &x->ids, e));
    for (size_t i = 0; i < x->run.records.n; i++) {
        const struct records_row *row = &x->run.records.r[i];
        if (row->kind != MEDQA_REJECTED && medqa_ids_find(&x->ids, row->id) < 0)
            FAIL(e, ERR_DATA, "%s has no question %s of the run; name the file that the run used",
                 path, row->id);
    }
    return 0;
}

/* Finds the result and the lines of each record's question. */
static int export_index(struct export_run *x, struct err *e)
{
    size_t n = x->run.records.n;
    const struct records *rs = &x->run.records;
    x->result = mem_zalloc(n, sizeof *x->result);
    x->traced = mem_zalloc(n, sizeof *x->traced);
    if (!x->result || !x->traced)
        return NOMEM(e, n * sizeof *x->result, "an export");
    for (size_t i = 0; i < x->run.results.n; i++)
        x->result[x->run.results.r[i].index] = &x->run.results.r[i];
    for (size_t i = 0; i < x->replay.n; i++) {
        int64_t at = x->replay.results.r[x->replay.c[i].result].index;
        if (at >= 0 && (size_t)at < n)
            x->traced[at] = &x->replay.c[i];
    }
    for (size_t i = n; i-- > 0;) {
        bool rejected = rs->r[i].kind == MEDQA_REJECTED;
        size_t of = rejected ? i : rs->r[i].of;
        x->result[i] = rejected ? NULL : x->result[of];
        x->traced[i] = rejected ? NULL : x->traced[of];
    }
    for (size_t i = 0; i < x->run.asked; i++) {
        x->n_samples += rs->r[i].kind == MEDQA_REJECTED || x->result[i];
        x->n_right += x->result[i] && x->result[i]->correct;
    }
    return 0;
}

static void export_describe(struct export_run *x)
{
    const json_t *identity = json_object_get(x->doc, "identity");
    const json_t *first = json_array_get(json_object_get(x->doc, "sessions"), 0);
    const char *strategy =
        export_string(json_object_get(json_object_get(identity, "config"), "strategy"), "");
    x->strategy = json_object_get(identity, "imported") ? "imported" : strategy;
    x->model = export_string(export_about(x, "model"), "");
    x->began = export_string(json_object_get(first, "began"), "");
    x->ended = export_string(json_object_get(export_session(x), "last_start"), "");
}

int export_open(const char *dir, const char *data, struct export_run *out, struct err *e)
{
    struct export_run x = {.n_samples = 0};
    int rc;
    TRY_DONE(trace_read(dir, &x.run, e));
    TRY_DONE(replay_open(dir, &x.replay, e));
    TRY_DONE(jdoc_load(x.run.json.s, x.run.json.len, &x.doc, e));
    export_describe(&x);
    TRY_DONE(export_questions(&x, dir, data, e));
    TRY_DONE(export_index(&x, e));
    if (!x.n_samples)
        TRY_DONE(err_set(e, ERR_DATA, "%s has no finished question", dir));
    *out = x;
    x = (struct export_run){.n_samples = 0};
done:
    export_close(&x);
    return rc;
}

void export_close(struct export_run *x)
{
    trace_run_free(&x->run);
    replay_free(&x->replay);
    medqa_ids_free(&x->ids);
    medqa_free(&x->data);
    mem_free(x->result);
    mem_free(x->traced);
    json_decref(x->doc);
    *x = (struct export_run){.n_samples = 0};
}

/* ---- samples --------------------------------------------------------------------------------- */

static int export_lines(const struct export_run *x, struct export_sample *s, struct err *e)
{
    const struct replay_case *c = x->traced[s->record];
    const char *line;
    size_t at, n;
    if (!c || (s->r && s->r->imported))
        return 0;
    s->calls = json_array();
    if (!s->calls)
        return NOMEM(e, 0, "an export");
    at = c->first;
    while (replay_line(&x->replay, c, &at, &line, &n)) {
        json_t *doc = NULL;
        TRY(replay_parse(line, n, &doc, e));
        if (!json_object_get(doc, "case")) {
            if (json_array_append_new(s->calls, doc) != 0)
                return NOMEM(e, n, "an export");
        } else {
            s->line = doc;
        }
    }
    return 0;
}

int export_each(const struct export_run *x, export_take *take, void *user, struct err *e)
{
    for (size_t i = 0; i < x->run.asked; i++) {
        const struct records_row *row = &x->run.records.r[i];
        struct export_sample s = {.record = i, .row = row, .r = x->result[i]};
        int rc = 0;
        if (row->kind != MEDQA_REJECTED && !s.r)
            continue;
        if (row->kind != MEDQA_REJECTED)
            s.q = &x->data.question[medqa_ids_find(&x->ids, row->id)];
        s.right = s.r && s.r->correct;
        rc = export_lines(x, &s, e);
        if (rc == 0)
            rc = take(&s, user, e);
        json_decref(s.line);
        json_decref(s.calls);
        TRY(rc);
    }
    return 0;
}
