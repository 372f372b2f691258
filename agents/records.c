#include "records.h"

#include <string.h>

#include "jdoc.h"
#include "result.h"

#define RECORDS_NAMED 20 /* lines that the description names */

/* ---- writing --------------------------------------------------------------------------------- */

static void records_text(struct str *out, const char *key, const char *s, size_t n)
{
    str_addf(out, ", \"%s\": ", key);
    str_add_json(out, s, n);
}

static void records_question(const struct medqa_question *q, struct str *out)
{
    str_addf(out, ", \"id\": \"%s\", \"key\": ", q->id);
    if (q->key < 0)
        str_adds(out, "null");
    else
        str_addf(out, "\"%c\"", 'A' + q->key);
    if (q->of)
        records_text(out, "of", q->of, strlen(q->of));
    records_text(out, "step", q->step, strlen(q->step));
    records_text(out, "question", q->text, result_head(q->text));
}

void records_write(const struct medqa *m, struct str *out)
{
    for (size_t i = 0; i < m->n_records; i++) {
        const struct medqa_record *r = &m->record[i];
        str_addf(out, "{\"record\": %zu, \"line\": %lld", i, (long long)r->line);
        if (r->kind == MEDQA_REJECTED)
            records_text(out, "rejected", r->why, strlen(r->why));
        if (r->kind == MEDQA_DUPLICATE)
            str_addf(out, ", \"same_as\": %lld", (long long)m->question[r->question].index);
        if (r->kind != MEDQA_REJECTED)
            records_question(&m->question[r->question], out);
        str_adds(out, "}\n");
    }
}

static void records_lines(const struct medqa *m, enum medqa_kind kind, struct str *out)
{
    int named = 0;
    for (size_t i = 0; i < m->n_records && named < RECORDS_NAMED; i++) {
        const struct medqa_record *r = &m->record[i];
        if (r->kind != kind)
            continue;
        str_addf(out, "%s{\"line\": %lld", named++ ? ", " : "", (long long)r->line);
        if (kind == MEDQA_REJECTED)
            records_text(out, "why", r->why, strlen(r->why));
        else
            str_addf(out, ", \"same_as_line\": %lld",
                     (long long)m->record[m->question[r->question].index].line);
        str_addc(out, '}');
    }
}

void records_describe(const struct medqa *m, const char *sha256, struct str *out)
{
    str_addf(out, "{\"records\": %zu, \"questions\": %zu, \"duplicates\": %zu, \"rejected\": %zu, ",
             m->n_records, m->n, m->n_duplicates, m->n_rejected);
    str_adds(out, "\"first_rejected\": [");
    records_lines(m, MEDQA_REJECTED, out);
    str_adds(out, "], \"first_duplicates\": [");
    records_lines(m, MEDQA_DUPLICATE, out);
    str_addf(out, "], \"records_sha256\": \"%s\"}", sha256);
}

/* ---- reading --------------------------------------------------------------------------------- */

static int records_copy(struct records *rs, const json_t *doc, const char *key, const char **out,
                        struct err *e)
{
    const char *s = NULL;
    TRY(jdoc_string(doc, key, &s, e));
    char *copy = arena_strndup(&rs->arena, s, strlen(s));
    if (!copy)
        return NOMEM(e, strlen(s) + 1, "records");
    *out = copy;
    return 0;
}

static int records_known(struct records *rs, const json_t *doc, struct records_row *r,
                         struct err *e)
{
    const char *id = NULL, *key = json_string_value(json_object_get(doc, "key"));
    json_int_t same_as = 0;
    TRY(jdoc_string(doc, "id", &id, e));
    if (!id[0] || strlen(id) >= sizeof r->id)
        FAIL(e, ERR_DATA, "the question id has %zu bytes", strlen(id));
    memcpy(r->id, id, strlen(id) + 1);
    if (key && (strlen(key) != 1 || key[0] < 'A' || key[0] >= 'A' + MEDQA_OPTIONS))
        FAIL(e, ERR_DATA, "'key' is no letter");
    r->key = key ? key[0] - 'A' : -1;
    TRY(records_copy(rs, doc, "step", &r->step, e));
    TRY(records_copy(rs, doc, "question", &r->question, e));
    if (json_object_get(doc, "of"))
        TRY(records_copy(rs, doc, "of", &r->origin, e));
    if (!json_object_get(doc, "same_as"))
        return 0;
    r->kind = MEDQA_DUPLICATE;
    TRY(jdoc_int(doc, "same_as", 0, (json_int_t)rs->n - 1, &same_as, e));
    r->of = (size_t)same_as;
    if (rs->r[r->of].kind != MEDQA_QUESTION || strcmp(rs->r[r->of].id, r->id) != 0)
        FAIL(e, ERR_DATA, "record %zu is another question", r->of);
    return 0;
}

static int records_row(struct records *rs, const char *s, size_t n, struct err *e)
{
    struct records_row r = {.of = rs->n, .key = -1, .question = "", .step = "", .why = ""};
    json_t *doc = NULL;
    json_int_t number = 0, line = 0;
    int rc;
    TRY_DONE(jdoc_load(s, n, &doc, e));
    TRY_DONE(jdoc_int(doc, "record", (json_int_t)rs->n, (json_int_t)rs->n, &number, e));
    TRY_DONE(jdoc_int(doc, "line", 1, INT64_MAX, &line, e));
    r.line = line;
    if (json_object_get(doc, "rejected")) {
        r.kind = MEDQA_REJECTED;
        TRY_DONE(records_copy(rs, doc, "rejected", &r.why, e));
    } else {
        TRY_DONE(records_known(rs, doc, &r, e));
    }
    TRY_DONE(mem_grow(&rs->r, &rs->cap, rs->n + 1, sizeof *rs->r, "records", e));
    rs->r[rs->n++] = r;
done:
    json_decref(doc);
    return rc;
}

int records_read(const char *text, size_t n, struct records *out, struct err *e)
{
    struct records rs = {.n = 0};
    for (size_t at = 0; at < n;) {
        const char *nl = memchr(text + at, '\n', n - at);
        size_t len = nl ? (size_t)(nl - text) - at : n - at;
        int rc = records_row(&rs, text + at, len, e);
        if (rc < 0) {
            err_wrap(e, rc, "line %zu", rs.n + 1);
            records_free(&rs);
            return rc;
        }
        at += len + 1;
    }
    *out = rs;
    return 0;
}

void records_free(struct records *rs)
{
    mem_free(rs->r);
    arena_free(&rs->arena);
    *rs = (struct records){.n = 0};
}
