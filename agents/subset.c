#include "subset.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jdoc.h"
#include "records.h"
#include "rng.h"
#include "sha256.h"
#include "zio.h"

bool subset_chooses(const struct subset *s)
{
    return (s->step && *s->step) || s->n_ids || s->sample;
}

/* ---- ids ------------------------------------------------------------------------------------- */

int subset_ids(const char *text, size_t n, const char *name, struct arena *arena,
               const char *const **ids, size_t *n_ids, struct err *e)
{
    const char **id;
    size_t most = 1, count = 0;
    long line = 0;
    for (size_t i = 0; i < n; i++)
        most += text[i] == '\n';
    id = arena_alloc(arena, most, sizeof *id);
    if (!id)
        return NOMEM(e, most * sizeof *id, "a list of ids");
    for (size_t at = 0; at < n;) {
        const char *end = memchr(text + at, '\n', n - at);
        const size_t len = end ? (size_t)(end - (text + at)) : n - at;
        const char *s = text + at;
        size_t k = 0;
        line++;
        at += len + 1;
        while (k < len && !strchr(" \t\r,", s[k]))
            k++;
        if (!k || *s == '#')
            continue;
        if (k != 16 || strspn(s, "0123456789abcdef") < 16)
            FAIL(e, ERR_DATA,
                 "%s:%ld: '%.*s' is no id of a question; an id has 16 hex digits, as trace_id of "
                 "results.csv",
                 name, line, k < 40 ? (int)k : 40, s);
        id[count] = arena_strndup(arena, s, k);
        if (!id[count++])
            return NOMEM(e, k, "an id");
    }
    if (!count)
        FAIL(e, ERR_DATA, "%s: holds no id of a question; write one a line", name);
    *ids = id;
    *n_ids = count;
    return 0;
}

int subset_ids_file(const char *path, struct arena *arena, const char *const **ids, size_t *n_ids,
                    struct err *e)
{
    struct str text = STR_INIT;
    int rc = zio_read(path, MEDQA_FILE, &text, e);
    if (rc == 0)
        rc = subset_ids(text.s, text.len, path, arena, ids, n_ids, e);
    str_free(&text);
    return rc;
}

static int subset_compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Keeps the questions whose ids are listed. ERR_DATA names the first id that the file lacks. */
static int subset_by_ids(const struct subset *s, const struct medqa *m, unsigned char *keep,
                         struct err *e)
{
    const char **sorted = mem_zalloc(s->n_ids, sizeof *sorted);
    unsigned char *seen = mem_zalloc(s->n_ids, 1);
    int rc = sorted && seen ? 0 : NOMEM(e, s->n_ids * sizeof *sorted, "a list of ids");
    if (rc < 0)
        goto done;
    memcpy(sorted, s->ids, s->n_ids * sizeof *sorted);
    qsort(sorted, s->n_ids, sizeof *sorted, subset_compare);
    for (size_t i = 0; i < m->n_records; i++) {
        const struct medqa_record *r = &m->record[i];
        const char *id = m->question[r->question].id;
        const char **hit = NULL;
        if (r->kind == MEDQA_QUESTION)
            hit = bsearch(&id, sorted, s->n_ids, sizeof *sorted, subset_compare);
        keep[i] &= hit != NULL;
        for (size_t k = hit ? (size_t)(hit - sorted) : s->n_ids;
             k < s->n_ids && !strcmp(sorted[k], id); k++)
            seen[k] = 1;
        for (size_t k = hit ? (size_t)(hit - sorted) : 0; k && !strcmp(sorted[k - 1], id); k--)
            seen[k - 1] = 1;
    }
    for (size_t k = 0; k < s->n_ids && rc == 0; k++)
        if (!seen[k])
            rc = err_set(e, ERR_DATA, "the data has no question with the id %s", sorted[k]);
done:
    mem_free(sorted);
    mem_free(seen);
    return rc;
}

/* ---- sample ---------------------------------------------------------------------------------- */

struct subset_draw {
    uint64_t key;
    size_t record;
};

static int subset_order(const void *a, const void *b)
{
    const struct subset_draw *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return x->record < y->record ? -1 : x->record > y->record;
}

/* A rejected record or a duplicate is drawn by its line, because it has no id of its own. */
static uint64_t subset_key(const struct subset *s, const struct medqa *m, size_t i)
{
    const struct medqa_record *r = &m->record[i];
    if (r->kind != MEDQA_QUESTION)
        return rng_key(s->seed, (uint64_t)r->line, 1);
    return rng_key(s->seed, strtoull(m->question[r->question].id, NULL, 16), 0);
}

static int subset_sample(const struct subset *s, const struct medqa *m, unsigned char *keep,
                         struct err *e)
{
    struct subset_draw *draw = mem_zalloc(m->n_records, sizeof *draw);
    size_t n = 0;
    int rc = 0;
    if (!draw)
        return NOMEM(e, m->n_records * sizeof *draw, "a sample");
    for (size_t i = 0; i < m->n_records; i++)
        if (keep[i])
            draw[n++] = (struct subset_draw){subset_key(s, m, i), i};
    if ((uint64_t)s->sample > n)
        TRY_DONE(err_set(e, ERR_DATA,
                         "a sample of %lld records from %zu; lower its number or leave it out",
                         (long long)s->sample, n));
    qsort(draw, n, sizeof *draw, subset_order);
    for (size_t i = (size_t)s->sample; i < n; i++)
        keep[draw[i].record] = 0;
done:
    mem_free(draw);
    return rc;
}

/* ---- taking ---------------------------------------------------------------------------------- */

/* Packs the kept records and their questions. A duplicate whose question is left out becomes that
 * question. to: (m->n) 0 = not there yet, otherwise the new index + 1. */
static void subset_pack(struct medqa *m, const unsigned char *keep, size_t *to,
                        struct medqa_question *question)
{
    size_t n = 0, records = 0;
    m->n_rejected = m->n_duplicates = 0;
    for (size_t i = 0; i < m->n_records; i++) {
        struct medqa_record r = m->record[i];
        if (!keep[i])
            continue;
        if (r.kind != MEDQA_REJECTED) {
            size_t of = r.question;
            r.kind = to[of] ? MEDQA_DUPLICATE : MEDQA_QUESTION;
            if (!to[of]) {
                question[n] = m->question[of];
                question[n].index = (int64_t)records;
                to[of] = ++n;
            }
            r.question = to[of] - 1;
        }
        m->n_rejected += r.kind == MEDQA_REJECTED;
        m->n_duplicates += r.kind == MEDQA_DUPLICATE;
        m->record[records++] = r;
    }
    m->n = n;
    m->n_records = records;
    memcpy(m->question, question, n * sizeof *question);
}

/* Conditions, and a hash of the lines and ids that they chose. */
static int subset_describe(const struct subset *s, const struct medqa *m, struct str *out,
                           struct err *e)
{
    struct str text = STR_INIT;
    char sha256[65];
    int rc;
    for (size_t i = 0; i < m->n_records; i++) {
        const struct medqa_record *r = &m->record[i];
        str_addf(&text, "%lld %s\n", (long long)r->line,
                 r->kind == MEDQA_REJECTED ? "-" : m->question[r->question].id);
    }
    TRY_DONE(str_ok(&text, "a subset", e));
    TRY_DONE(sha256_hex(text.s, text.len, sha256, e));
    str_adds(out, "{");
    if (s->step && *s->step) {
        str_adds(out, "\"step\": ");
        str_add_json(out, s->step, strlen(s->step));
        str_adds(out, ", ");
    }
    if (s->n_ids)
        str_addf(out, "\"ids\": %zu, ", s->n_ids);
    if (s->sample)
        str_addf(out, "\"sample\": %lld, \"seed\": %llu, ", (long long)s->sample,
                 (unsigned long long)s->seed);
    str_addf(out, "\"records\": %zu, \"sha256\": \"%s\"}", m->n_records, sha256);
    TRY_DONE(str_ok(out, "a subset", e));
done:
    str_free(&text);
    return rc;
}

int subset_take(const struct subset *s, struct medqa *m, struct str *describe, struct err *e)
{
    unsigned char *keep = mem_zalloc(m->n_records, 1);
    size_t *to = mem_zalloc(m->n, sizeof *to), left = 0;
    struct medqa_question *question = mem_zalloc(m->n, sizeof *question);
    int rc = keep && to && question ? 0 : NOMEM(e, m->n * sizeof *question, "a subset");
    if (rc < 0)
        goto done;
    for (size_t i = 0; i < m->n_records; i++) {
        const struct medqa_record *r = &m->record[i];
        keep[i] = !s->step || !*s->step ||
                  (r->kind != MEDQA_REJECTED && !strcmp(m->question[r->question].step, s->step));
    }
    if (s->n_ids)
        TRY_DONE(subset_by_ids(s, m, keep, e));
    if (s->sample)
        TRY_DONE(subset_sample(s, m, keep, e));
    for (size_t i = 0; i < m->n_records; i++)
        left += keep[i] && m->record[i].kind != MEDQA_REJECTED;
    if (!left)
        TRY_DONE(err_set(e, ERR_DATA, "no question is left of %zu records%s%s", m->n_records,
                         s->step && *s->step ? "; step is " : "", s->step ? s->step : ""));
    subset_pack(m, keep, to, question);
    TRY_DONE(subset_describe(s, m, describe, e));
done:
    mem_free(keep);
    mem_free(to);
    mem_free(question);
    return rc;
}

/* ---- a recorded run -------------------------------------------------------------------------- */

#define SUBSET_BYTES ((size_t)1 << 30) /* largest records.jsonl */

/* The ids of the run's questions; of variants, those of their origins. They live in rs and list. */
static int subset_run_ids(const char *dir, struct records *rs, const char ***list, size_t *n,
                          struct err *e)
{
    struct str text = STR_INIT;
    char path[1100];
    int rc;
    snprintf(path, sizeof path, "%.1000s/records.jsonl", dir);
    TRY_DONE(zio_read(path, SUBSET_BYTES, &text, e));
    TRY_DONE(records_read(text.s, text.len, rs, e));
    *list = mem_zalloc(rs->n ? rs->n : 1, sizeof **list);
    if (!*list)
        TRY_DONE(NOMEM(e, rs->n * sizeof **list, "ids of questions"));
    for (size_t i = 0; i < rs->n; i++) {
        const struct records_row *r = &rs->r[i];
        const char *id = r->origin ? r->origin : r->id;
        if (r->kind == MEDQA_QUESTION) /* an id may come several times, of its variants */
            (*list)[(*n)++] = id;
    }
done:
    str_free(&text);
    return rc;
}

int subset_recorded(const char *dir, const json_t *identity, struct medqa *m, struct err *e)
{
    const json_t *of = json_object_get(identity, "subset");
    const char *step = json_string_value(json_object_get(of, "step")), *was = NULL, *is = NULL;
    struct subset s = {.step = step,
                       .sample = json_integer_value(json_object_get(of, "sample")),
                       .seed = (uint64_t)json_integer_value(json_object_get(of, "seed"))};
    struct records rs = {.n = 0};
    const char **ids = NULL;
    struct str about = STR_INIT;
    json_t *now = NULL;
    int rc = 0;
    if (!json_is_object(of))
        return 0;
    if (json_object_get(of, "ids")) { /* all conditions together chose these */
        TRY_DONE(subset_run_ids(dir, &rs, &ids, &s.n_ids, e));
        s = (struct subset){.ids = ids, .n_ids = s.n_ids};
    }
    TRY_DONE(subset_take(&s, m, &about, e));
    TRY_DONE(jdoc_load(about.s, about.len, &now, e));
    TRY_DONE(jdoc_string(of, "sha256", &was, e));
    TRY_DONE(jdoc_string(now, "sha256", &is, e));
    if (strcmp(was, is) != 0)
        rc = err_set(e, ERR_DATA,
                     "the choice of records is not that of the run: sha256 %.12s.., it was %.12s..",
                     is, was);
done:
    records_free(&rs);
    mem_free(ids);
    str_free(&about);
    json_decref(now);
    return rc;
}
