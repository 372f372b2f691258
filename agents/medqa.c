#include "medqa.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "medqa_file.h"
#include "medqa_record.h"
#include "sha256.h"
#include "str.h"
#include "zio.h"

struct medqa_reader {
    struct medqa m;
    struct medqa_reading reading;
    uint32_t *slot; /* hash table of ids: index into m.question + 1, 0 = free; a power of two */
    size_t n_slot;
};

/* ---- ids ------------------------------------------------------------------------------------- */

/* The slot of that id: it holds the question, or it is free. */
static uint32_t *medqa_slot(const struct medqa_reader *r, const char *id)
{
    size_t at = (size_t)strtoull(id, NULL, 16) & (r->n_slot - 1);
    while (r->slot[at] && strcmp(r->m.question[r->slot[at] - 1].id, id) != 0)
        at = (at + 1) & (r->n_slot - 1);
    return &r->slot[at];
}

/* At most half of the slots are taken. */
static int medqa_room(struct medqa_reader *r, struct err *e)
{
    if (r->m.n * 2 < r->n_slot)
        return 0;
    size_t n = r->n_slot ? 2 * r->n_slot : 64;
    uint32_t *slot = mem_zalloc(n, sizeof *slot);
    if (!slot)
        return NOMEM(e, n * sizeof *slot, "the ids of questions");
    mem_free(r->slot);
    r->slot = slot;
    r->n_slot = n;
    for (size_t i = 0; i < r->m.n; i++)
        *medqa_slot(r, r->m.question[i].id) = (uint32_t)i + 1;
    return 0;
}

/* ---- records --------------------------------------------------------------------------------- */

static int medqa_reject(struct medqa_reader *r, struct medqa_record *rec, const struct err *why,
                        struct err *e)
{
    size_t n = strlen(why->msg);
    rec->kind = MEDQA_REJECTED;
    rec->why = arena_strndup(&r->m.arena, why->msg, utf8_complete(why->msg, n < 159 ? n : 159));
    if (!rec->why)
        return NOMEM(e, 160, "a rejected record");
    r->m.n_rejected++;
    return 0;
}

/* A question that was read: a new one, or the same as an earlier one. */
static int medqa_accept(struct medqa_reader *r, struct medqa_record *rec, struct medqa_question *q,
                        struct err *e)
{
    struct medqa *m = &r->m;
    TRY(medqa_record_id(q, e));
    TRY(medqa_room(r, e));
    uint32_t *slot = medqa_slot(r, q->id);
    if (*slot) {
        rec->kind = MEDQA_DUPLICATE;
        rec->question = *slot - 1;
        m->n_duplicates++;
        return 0;
    }
    TRY(mem_grow(&m->question, &m->cap, m->n + 1, sizeof *m->question, "questions", e));
    rec->question = m->n;
    m->question[m->n++] = *q;
    *slot = (uint32_t)m->n;
    return 0;
}

/* The form of the file is that of its questions. */
static void medqa_formed(struct medqa *m, const struct medqa_form *form)
{
    if (!*m->form)
        m->form = form->name;
    else if (strcmp(m->form, form->name) != 0)
        m->form = MEDQA_SEVERAL;
}

static int medqa_take(void *user, const char *s, size_t n, int64_t line, const char *broken,
                      struct err *e)
{
    struct medqa_reader *r = user;
    struct medqa *m = &r->m;
    struct medqa_record rec = {.kind = MEDQA_QUESTION, .line = line};
    struct medqa_question q = {.index = (int64_t)m->n_records, .key = -1, .step = ""};
    const struct medqa_form *form = NULL;
    struct err why = {.code = 0};
    if (m->n_records == MEDQA_RECORDS)
        FAIL(e, ERR_DATA, "line %lld: more than %zu records; split the file", (long long)line,
             MEDQA_RECORDS);
    TRY(mem_grow(&m->record, &m->cap_records, m->n_records + 1, sizeof *m->record, "records", e));
    int rc = broken ? err_set(&why, ERR_DATA, "%s", broken)
                    : medqa_record_read(&r->reading, &m->arena, s, n, &q, &form, &why);
    if (rc == ERR_NOMEM)
        FAIL(e, rc, "%s", why.msg);
    TRY(rc < 0 ? medqa_reject(r, &rec, &why, e) : medqa_accept(r, &rec, &q, e));
    if (rc == 0)
        medqa_formed(m, form);
    m->record[m->n_records++] = rec;
    return 0;
}

/* ---- files ----------------------------------------------------------------------------------- */

static int medqa_form_find(const char *name, const struct medqa_form **out, struct err *e)
{
    struct str names = STR_INIT;
    for (int i = 0; i < medqa_form_count; i++)
        if (!strcmp(medqa_form_rows[i].name, name)) {
            *out = &medqa_form_rows[i];
            return 0;
        }
    for (int i = 0; i < medqa_form_count; i++)
        str_addf(&names, "%s%s", i ? ", " : "", medqa_form_rows[i].name);
    int rc = err_set(e, ERR_USAGE, "no format of questions is named '%.40s'; there are %s", name,
                     names.failed ? "others" : names.s);
    str_free(&names);
    return rc;
}

const char *medqa_form_name(int i, const char **about)
{
    if (i < 0 || i >= medqa_form_count)
        return NULL;
    *about = medqa_form_rows[i].about;
    return medqa_form_rows[i].name;
}

/* Reads all records; what was read before goes. */
static int medqa_pass(struct medqa_reader *r, const char *text, size_t n, const char *name,
                      struct err *e)
{
    medqa_free(&r->m);
    r->m.form = "";
    mem_free(r->slot);
    r->slot = NULL;
    r->n_slot = 0;
    return medqa_file_walk(text, n, name, medqa_take, r, e);
}

static int medqa_whole(const struct medqa *m, const char *name, struct err *e)
{
    size_t at = 0;
    if (m->n)
        return 0;
    if (!m->n_rejected)
        FAIL(e, ERR_DATA, "%s: holds no questions", name);
    while (m->record[at].kind != MEDQA_REJECTED)
        at++;
    FAIL(e, ERR_DATA, "%s: no usable question, %zu rejected; line %lld: %s", name, m->n_rejected,
         (long long)m->record[at].line, m->record[at].why);
}

int medqa_parse_as(const char *text, size_t n, const char *name, const char *form,
                   struct medqa *out, struct err *e)
{
    struct medqa_reader r = {.reading = {.base = {.from = MEDQA_BASE_OPEN}}};
    struct medqa_base *base = &r.reading.base;
    int rc = 0;
    if (form && *form)
        TRY(medqa_form_find(form, &r.reading.form, e));
    if (r.reading.form)
        base->from = r.reading.form->base;
    TRY_DONE(medqa_pass(&r, text, n, name, e));
    if (base->from == MEDQA_BASE_OPEN && (base->zero || base->four)) {
        base->from = base->zero && base->four ? MEDQA_BASE_BOTH : base->four;
        TRY_DONE(medqa_pass(&r, text, n, name, e));
    }
    TRY_DONE(sha256_hex(text, n, r.m.sha256, e));
    TRY_DONE(medqa_whole(&r.m, name, e));
    *out = r.m;
    r.m = (struct medqa){.n = 0};
done:
    medqa_free(&r.m);
    medqa_scans_free(&r.reading.scans);
    mem_free(r.slot);
    return rc;
}

int medqa_parse(const char *text, size_t n, const char *name, struct medqa *out, struct err *e)
{
    return medqa_parse_as(text, n, name, NULL, out, e);
}

int medqa_read_as(const char *path, const char *form, struct medqa *out, struct err *e)
{
    struct str text = STR_INIT;
    int rc;
    TRY_DONE(zio_read(path, MEDQA_FILE, &text, e));
    TRY_DONE(medqa_parse_as(text.s, text.len, path, form, out, e));
done:
    str_free(&text);
    return rc;
}

int medqa_read(const char *path, struct medqa *out, struct err *e)
{
    return medqa_read_as(path, NULL, out, e);
}

void medqa_free(struct medqa *m)
{
    mem_free(m->question);
    mem_free(m->record);
    arena_free(&m->arena);
    *m = (struct medqa){.n = 0};
}

size_t medqa_first(const struct medqa *m, size_t n_records)
{
    size_t lo = 0, hi = m->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if ((size_t)m->question[mid].index < n_records)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* ---- the command line ------------------------------------------------------------------------ */

static bool medqa_utf8(const char *s)
{
    for (size_t n = strlen(s), i = 0; i < n;) {
        uint32_t cp;
        int k = utf8_decode(s + i, n - i, &cp);
        if (!k)
            return false;
        i += (size_t)k;
    }
    return true;
}

/* "B. Acute MI" -> "Acute MI"; the letter must be the one whose turn it is. */
static int medqa_single_option(struct medqa *m, struct medqa_question *q, const char *s, size_t n,
                               struct err *e)
{
    int i = q->n_options;
    if (i == MEDQA_OPTIONS)
        FAIL(e, ERR_USAGE, "more than %d options", MEDQA_OPTIONS);
    while (n && (s[0] == ' ' || s[0] == '\n'))
        s++, n--;
    if (n < 2 || s[0] != 'A' + i || (s[1] != '.' && s[1] != ')'))
        FAIL(e, ERR_USAGE, "option %d must begin with '%c.', found '%.*s'", i + 1, 'A' + i,
             (int)(n < 20 ? n : 20), s);
    s += 2, n -= 2;
    while (n && s[0] == ' ')
        s++, n--;
    while (n && (s[n - 1] == ' ' || s[n - 1] == '\n'))
        n--;
    if (!n)
        FAIL(e, ERR_USAGE, "option %c is empty", 'A' + i);
    q->option[i] = arena_strndup(&m->arena, s, n);
    if (!q->option[i])
        return NOMEM(e, n + 1, "an option");
    q->n_options++;
    return 0;
}

static int medqa_single_options(struct medqa *m, struct medqa_question *q, const char *options,
                                struct err *e)
{
    for (const char *s = options, *bar; s; s = bar ? bar + 2 : NULL) {
        bar = strstr(s, "||");
        TRY(medqa_single_option(m, q, s, bar ? (size_t)(bar - s) : strlen(s), e));
    }
    if (q->n_options < 2)
        FAIL(e, ERR_USAGE, "one option only; separate options by '||'");
    return 0;
}

int medqa_single(const char *text, const char *options, struct medqa *out, struct err *e)
{
    struct medqa m = {.form = ""};
    struct medqa_question q = {.key = -1, .step = ""};
    int rc = 0;
    if (medqa_blank(text))
        FAIL(e, ERR_USAGE, "the question is empty");
    if (!medqa_utf8(text) || (options && !medqa_utf8(options)))
        FAIL(e, ERR_USAGE, "the question or an option is not valid UTF-8");
    q.text = arena_strndup(&m.arena, text, strlen(text));
    if (!q.text)
        TRY_DONE(NOMEM(e, strlen(text) + 1, "a question"));
    if (options)
        TRY_DONE(medqa_single_options(&m, &q, options, e));
    TRY_DONE(mem_grow(&m.question, &m.cap, 1, sizeof *m.question, "a question", e));
    TRY_DONE(mem_grow(&m.record, &m.cap_records, 1, sizeof *m.record, "a question", e));
    TRY_DONE(medqa_record_id(&q, e));
    TRY_DONE(sha256_hex(q.id, strlen(q.id), m.sha256, e));
    m.question[m.n++] = q;
    m.record[m.n_records++] = (struct medqa_record){.kind = MEDQA_QUESTION, .line = 1};
    *out = m;
    m = (struct medqa){.n = 0};
done:
    medqa_free(&m);
    return rc;
}
