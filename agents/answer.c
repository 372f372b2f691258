#include "answer.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

#include "jdoc.h"
#include "own.h"
#include "str.h"

struct answer_doc {
    /* the text to read: the reply, or the finished values of a closed one */
    json_t *said;
    json_t *prose; /* the same, and the text in which the model was stopped */
    bool closed;
};

static void answer_free(struct answer_doc *d)
{
    json_decref(d->said);
    json_decref(d->prose);
}

static int answer_own(const char *s, size_t own, struct answer_doc *d, struct err *e)
{
    struct str whole = STR_INIT, cut = STR_INIT;
    int rc;
    TRY_DONE(own_part(s, own, &whole, &cut, e));
    TRY_DONE(jdoc_load(whole.s, whole.len, &d->said, e));
    TRY_DONE(jdoc_load(cut.s, cut.len, &d->prose, e));
    d->closed = true;
done:
    str_free(&whole);
    str_free(&cut);
    return rc;
}

static int answer_load(const char *s, size_t n, size_t own, struct answer_doc *d, struct err *e)
{
    json_t *all = NULL;
    if (n > ANSWER_BYTES)
        FAIL(e, ERR_DATA, "reply of %zu bytes, the limit is %zu", n, ANSWER_BYTES);
    if (!n)
        FAIL(e, ERR_DATA, "empty reply");
    TRY(jdoc_load(s, n, &all, e));
    if (own < n) {
        json_decref(all);
        return answer_own(s, own, d, e);
    }
    d->said = all;
    d->prose = json_incref(all);
    return 0;
}

static int answer_copy(struct arena *a, const char *s, const char **out, struct err *e)
{
    char *p = arena_strndup(a, s, strlen(s));
    if (!p)
        return NOMEM(e, strlen(s) + 1, "a reply");
    *out = p;
    return 0;
}

static int answer_text(const json_t *obj, const char *key, struct arena *a, const char **out,
                       struct err *e)
{
    const char *s = NULL;
    TRY(jdoc_string(obj, key, &s, e));
    return answer_copy(a, s, out, e);
}

/* Text that no decision hangs on: of a closed reply as much as there is. */
static int answer_prose(const struct answer_doc *d, const char *key, struct arena *a,
                        const char **out, struct err *e)
{
    if (d->closed && !json_object_get(d->prose, key))
        return answer_copy(a, "", out, e);
    return answer_text(d->prose, key, a, out, e);
}

/* An array of 0..max strings. */
static int answer_texts(const json_t *obj, bool closed, const char *key, size_t max,
                        struct arena *a, const char **out, int *n, struct err *e)
{
    json_t *list = NULL;
    *n = 0;
    if (closed && !json_object_get(obj, key))
        return 0;
    TRY(jdoc_array(obj, key, 0, max, &list, e));
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *s = json_string_value(json_array_get(list, i));
        if (!s)
            FAIL(e, ERR_DATA, "item %zu of '%s' is not a string", i + 1, key);
        TRY(answer_copy(a, s, &out[i], e));
    }
    *n = (int)json_array_size(list);
    return 0;
}

/* ---- the planner ----------------------------------------------------------------------------- */

static int answer_specialty(const char *id, const struct catalog *cat, int *out, struct err *e)
{
    int at = catalog_find(cat, id);
    if (at < 0)
        FAIL(e, ERR_DATA, "'%.63s' is not in the catalogue", id);
    *out = at;
    return 0;
}

static int answer_triage(const json_t *doc, const struct catalog *cat, struct answer_plan *p,
                         struct err *e)
{
    const char *id = NULL;
    TRY(jdoc_string(doc, "triage_generalist", &id, e));
    TRY(answer_specialty(id, cat, &p->triage, e));
    if (cat->entry[p->triage].kind != CATALOG_GENERALIST)
        FAIL(e, ERR_DATA, "triage_generalist '%s' is no generalist", id);
    return 0;
}

/* A list of k ids. A repeated id keeps its first place and is counted in *twice. Servers that do
 * not know uniqueItems repeat ids. selected: room for k. */
static int answer_selected(const json_t *doc, const char *key, const struct catalog *cat, int k,
                           int *selected, int *n, int *twice, struct err *e)
{
    json_t *list = NULL;
    *n = *twice = 0;
    TRY(jdoc_array(doc, key, (size_t)k, (size_t)k, &list, e));
    for (int i = 0; i < k; i++) {
        const char *id = json_string_value(json_array_get(list, (size_t)i));
        int at = 0, j = 0;
        if (!id)
            FAIL(e, ERR_DATA, "item %d of '%s' is not a string", i + 1, key);
        TRY(answer_specialty(id, cat, &at, e));
        while (j < *n && selected[j] != at)
            j++;
        if (j < *n)
            ++*twice;
        else
            selected[(*n)++] = at;
    }
    return 0;
}

static int answer_score_read(const json_t *item, struct arena *a, struct answer_score *s,
                             struct err *e)
{
    static const char *const keys[] = {
        "specialty_id", "relevance", "coverage_gain", "urgency_alignment", "procedural_signal",
        "reason",       NULL};
    TRY(jdoc_number(item, "relevance", 0, 1, &s->relevance, e));
    TRY(jdoc_number(item, "coverage_gain", 0, 1, &s->coverage_gain, e));
    TRY(jdoc_number(item, "urgency_alignment", 0, 1, &s->urgency_alignment, e));
    TRY(jdoc_number(item, "procedural_signal", 0, 1, &s->procedural_signal, e));
    TRY(answer_text(item, "reason", a, &s->reason, e));
    TRY(jdoc_only(item, keys, e));
    s->present = true;
    return 0;
}

/* The list must have the catalogue's length. An id scored twice keeps its first score and is
 * counted, because the selection stands without the scores. */
static int answer_scores(const json_t *doc, const struct catalog *cat, struct arena *a,
                         struct answer_plan *p, struct err *e)
{
    json_t *list = NULL;
    TRY(jdoc_array(doc, "scored_catalog", (size_t)cat->n, (size_t)cat->n, &list, e));
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        const char *id = NULL;
        struct answer_score s = {.present = false};
        int at = 0;
        TRY(jdoc_string(item, "specialty_id", &id, e));
        TRY(answer_specialty(id, cat, &at, e));
        TRY(answer_score_read(item, a, &s, e));
        if (p->score[at].present)
            p->scored_twice++;
        else
            p->score[at] = s;
    }
    p->has_scores = true;
    return 0;
}

int answer_plan(const char *s, size_t n, size_t own, const struct catalog *cat, int k, bool full,
                struct arena *a, struct answer_plan *out, struct err *e)
{
    static const char *const compact_keys[] = {"triage_generalist", "selected_specialties",
                                               "rationale", NULL};
    static const char *const full_keys[] = {"triage_generalist", "scored_catalog",
                                            "selected_specialties", "rationale", NULL};
    struct answer_plan p = {.triage = -1};
    struct answer_doc d = {.said = NULL};
    int rc;
    TRY_DONE(answer_load(s, n, own, &d, e));
    TRY_DONE(answer_triage(d.said, cat, &p, e));
    if (full)
        TRY_DONE(answer_scores(d.said, cat, a, &p, e));
    TRY_DONE(answer_selected(d.said, "selected_specialties", cat, k, p.selected, &p.n_selected,
                             &p.selected_twice, e));
    TRY_DONE(answer_prose(&d, "rationale", a, &p.rationale, e));
    TRY_DONE(jdoc_only(d.said, full ? full_keys : compact_keys, e));
    *out = p;
done:
    answer_free(&d);
    return rc;
}

/* ---- a specialist ---------------------------------------------------------------------------- */

static int answer_dx_read(const json_t *item, bool closed, struct arena *a, struct answer_dx *d,
                          struct err *e)
{
    static const char *const keys[] = {
        "dx", "p", "evidence_for", "evidence_against", "discriminators", NULL};
    TRY(answer_text(item, "dx", a, &d->dx, e));
    TRY(jdoc_number(item, "p", 0, 1, &d->p, e));
    TRY(answer_texts(item, closed, "evidence_for", ANSWER_EVIDENCE, a, d->evidence_for, &d->n_for,
                     e));
    TRY(answer_texts(item, closed, "evidence_against", ANSWER_EVIDENCE, a, d->evidence_against,
                     &d->n_against, e));
    TRY(answer_texts(item, closed, "discriminators", ANSWER_EVIDENCE, a, d->discriminators,
                     &d->n_discriminators, e));
    return jdoc_only(item, keys, e);
}

/* Of a closed reply's last diagnosis, the name and the probability must have been written. */
static bool answer_dx_begun(const json_t *list)
{
    const json_t *last = json_array_get(list, json_array_size(list) - 1);
    return json_is_object(last) && !(json_object_get(last, "dx") && json_object_get(last, "p"));
}

static int answer_differential(const struct answer_doc *doc, struct arena *a,
                               struct answer_report *r, struct err *e)
{
    json_t *list = NULL;
    double sum = 0;
    TRY(jdoc_array(doc->said, "differential", 1, ANSWER_DX, &list, e));
    size_t n = json_array_size(list) - (doc->closed && answer_dx_begun(list));
    if (!n)
        FAIL(e, ERR_DATA, "no diagnosis is finished");
    for (size_t i = 0; i < n; i++) {
        int rc = answer_dx_read(json_array_get(list, i), doc->closed, a, &r->dx[i], e);
        if (rc < 0)
            return err_wrap(e, rc, "diagnosis %zu", i + 1);
        sum += r->dx[i].p;
    }
    r->n_dx = (int)n;
    if (sum > 1 + 1e-9) { /* no schema can say this; the trace says that it happened */
        for (int i = 0; i < r->n_dx; i++)
            r->dx[i].p /= sum;
        r->rescaled = true;
    }
    return 0;
}

int answer_report(const char *s, size_t n, size_t own, const struct catalog *cat, int specialty,
                  struct arena *a, struct answer_report *out, struct err *e)
{
    static const char *const keys[] = {"specialty_id", "differential", "notes", NULL};
    struct answer_report r = {.specialty = specialty};
    const char *id = NULL;
    struct answer_doc d = {.said = NULL};
    int rc;
    TRY_DONE(answer_load(s, n, own, &d, e));
    TRY_DONE(jdoc_string(d.said, "specialty_id", &id, e));
    if (strcmp(id, cat->entry[specialty].id) != 0) {
        rc = err_set(e, ERR_DATA, "specialty_id is '%.63s', '%s' was asked", id,
                     cat->entry[specialty].id);
        goto done;
    }
    TRY_DONE(answer_differential(&d, a, &r, e));
    TRY_DONE(answer_prose(&d, "notes", a, &r.notes, e));
    TRY_DONE(jdoc_only(d.said, keys, e));
    *out = r;
done:
    answer_free(&d);
    return rc;
}

/* ---- the answer ------------------------------------------------------------------------------ */

static int answer_final(const json_t *doc, int n_options, struct arena *a,
                        struct answer_decision *d, struct err *e)
{
    TRY(answer_text(doc, "final_answer", a, &d->text, e));
    d->letter = -1;
    if (!n_options) {
        if (d->text[strspn(d->text, " \t\r\n")] == 0)
            FAIL(e, ERR_DATA, "final_answer is empty");
        return 0;
    }
    if (strlen(d->text) != 1 || d->text[0] < 'A' || d->text[0] >= 'A' + n_options)
        FAIL(e, ERR_DATA, "final_answer is '%.40s', expected a letter A to %c", d->text,
             'A' + n_options - 1);
    d->letter = d->text[0] - 'A';
    return 0;
}

int answer_decision(const char *s, size_t n, size_t own, int n_options, struct arena *a,
                    struct answer_decision *out, struct err *e)
{
    static const char *const keys[] = {"final_answer", "ordered_differential", "justification",
                                       "warnings", NULL};
    struct answer_decision d = {.letter = -1};
    struct answer_doc doc = {.said = NULL};
    int rc;
    TRY_DONE(answer_load(s, n, own, &doc, e));
    TRY_DONE(answer_final(doc.said, n_options, a, &d, e));
    TRY_DONE(answer_texts(doc.said, doc.closed, "ordered_differential", ANSWER_LIST, a,
                          d.differential, &d.n_differential, e));
    TRY_DONE(answer_prose(&doc, "justification", a, &d.justification, e));
    TRY_DONE(answer_texts(doc.said, doc.closed, "warnings", ANSWER_LIST, a, d.warnings,
                          &d.n_warnings, e));
    TRY_DONE(jdoc_only(doc.said, keys, e));
    *out = d;
done:
    answer_free(&doc);
    return rc;
}

int answer_reasoned(const char *s, size_t n, size_t own, int n_options, struct arena *a,
                    struct answer_decision *out, struct err *e)
{
    static const char *const keys[] = {"reasoning", "final_answer", NULL};
    struct answer_decision d = {.letter = -1};
    struct answer_doc doc = {.said = NULL};
    int rc;
    TRY_DONE(answer_load(s, n, own, &doc, e));
    TRY_DONE(answer_prose(&doc, "reasoning", a, &d.justification, e));
    TRY_DONE(answer_final(doc.said, n_options, a, &d, e));
    TRY_DONE(jdoc_only(doc.said, keys, e));
    *out = d;
done:
    answer_free(&doc);
    return rc;
}

/* ---- notes, votes, selections ---------------------------------------------------------------- */

int answer_selection(const char *s, size_t n, size_t own, const struct catalog *cat, int k,
                     struct arena *a, struct answer_selection *out, struct err *e)
{
    static const char *const keys[] = {"rationale", "specialties", NULL};
    struct answer_selection r = {.n_selected = 0};
    struct answer_doc d = {.said = NULL};
    int rc;
    TRY_DONE(answer_load(s, n, own, &d, e));
    TRY_DONE(answer_prose(&d, "rationale", a, &r.rationale, e));
    TRY_DONE(answer_selected(d.said, "specialties", cat, k, r.selected, &r.n_selected,
                             &r.selected_twice, e));
    TRY_DONE(jdoc_only(d.said, keys, e));
    *out = r;
done:
    answer_free(&d);
    return rc;
}

static int answer_word(const json_t *doc, const char *key, const char *const *labels, int *out,
                       struct err *e)
{
    const char *s = NULL;
    TRY(jdoc_string(doc, key, &s, e));
    for (int i = 0; labels[i]; i++)
        if (!strcmp(labels[i], s)) {
            *out = i;
            return 0;
        }
    FAIL(e, ERR_DATA, "%s is '%.40s', expected '%s' or the like", key, s, labels[0]);
}

int answer_label(const char *s, size_t n, size_t own, const char *text_key, const char *label_key,
                 const char *const *labels, struct arena *a, struct answer_label *out,
                 struct err *e)
{
    const char *const keys[] = {text_key, label_key, NULL};
    struct answer_label r = {.label = -1};
    struct answer_doc d = {.said = NULL};
    int rc;
    TRY_DONE(answer_load(s, n, own, &d, e));
    TRY_DONE(answer_prose(&d, text_key, a, &r.text, e));
    TRY_DONE(answer_word(d.said, label_key, labels, &r.label, e));
    TRY_DONE(jdoc_only(d.said, keys, e));
    *out = r;
done:
    answer_free(&d);
    return rc;
}

int answer_note(const char *s, size_t n, size_t own, struct arena *a, const char **out,
                struct err *e)
{
    static const char *const keys[] = {"note", NULL};
    const char *text = NULL;
    struct answer_doc d = {.said = NULL};
    int rc;
    TRY_DONE(answer_load(s, n, own, &d, e));
    TRY_DONE(answer_prose(&d, "note", a, &text, e));
    TRY_DONE(jdoc_only(d.said, keys, e));
    if (text[strspn(text, " \t\r\n")] == 0)
        rc = err_set(e, ERR_DATA, "note is empty");
    else
        *out = text;
done:
    answer_free(&d);
    return rc;
}

/* ---- free text ------------------------------------------------------------------------------- */

static void answer_trim(const char **s, size_t *n)
{
    while (*n && strchr(" \t\r\n", (*s)[0]) && (*s)[0])
        (*s)++, (*n)--;
    while (*n && strchr(" \t\r\n", (*s)[*n - 1]) && (*s)[*n - 1])
        (*n)--;
}

/* "B", "B.", "B)", "(B)" -> 1; otherwise -1. */
static int answer_bare(const char *s, size_t n, int n_options)
{
    answer_trim(&s, &n);
    if (n == 3 && s[0] == '(' && s[2] == ')')
        s++, n = 1;
    else if (n == 2 && (s[1] == '.' || s[1] == ')'))
        n = 1;
    return n == 1 && s[0] >= 'A' && s[0] < 'A' + n_options ? s[0] - 'A' : -1;
}

static size_t answer_lead(const char *s, size_t n)
{
    static const char *const leads[] = {"Answer:", "Final answer:"};
    for (size_t i = 0; i < 2; i++) {
        size_t k = strlen(leads[i]);
        if (n >= k && !memcmp(s, leads[i], k))
            return k;
    }
    return 0;
}

int answer_letter(const char *s, size_t n, int n_options, int *out, struct err *e)
{
    int letter = answer_bare(s, n, n_options), lines = 0;
    for (size_t at = 0; letter < 0 && at < n;) {
        const char *nl = memchr(s + at, '\n', n - at);
        size_t len = nl ? (size_t)(nl - (s + at)) : n - at, lead = answer_lead(s + at, len);
        if (lead) {
            lines++;
            *out = answer_bare(s + at + lead, len - lead, n_options);
            if (*out < 0)
                FAIL(e, ERR_DATA, "the answer line holds no letter A to %c", 'A' + n_options - 1);
        }
        at += len + 1;
    }
    if (letter < 0 && lines != 1)
        FAIL(e, ERR_DATA, "%s", lines ? "more than one answer line" : "no answer line");
    if (letter >= 0)
        *out = letter;
    return 0;
}

/* ---- reports together ------------------------------------------------------------------------ */

/* The next letter or digit of *s in lower case; 0 at the end. Bytes of UTF-8 count as letters. */
static int answer_folded(const char **s)
{
    for (; **s; (*s)++) {
        unsigned char c = (unsigned char)**s;
        if (isalnum(c) || c >= 0x80) {
            (*s)++;
            return tolower(c);
        }
    }
    return 0;
}

bool answer_same(const char *a, const char *b)
{
    for (;;) {
        int x = answer_folded(&a), y = answer_folded(&b);
        if (x != y)
            return false;
        if (!x)
            return true;
    }
}

bool answer_same_decision(const struct answer_decision *a, const struct answer_decision *b)
{
    return a->letter == b->letter && (a->letter >= 0 || answer_same(a->text, b->text));
}

double answer_agreement(const struct answer_report *r, int n)
{
    int pairs = 0, same = 0;
    for (int i = 0; i < n; i++)
        for (int j = i + 1; j < n; j++, pairs++)
            same += answer_same(r[i].dx[0].dx, r[j].dx[0].dx);
    return pairs ? (double)same / pairs : (double)NAN;
}

static void answer_list(const char *head, const char *const *items, int n, struct str *out)
{
    if (!n)
        return;
    str_addf(out, "   %s: ", head);
    for (int i = 0; i < n; i++)
        str_addf(out, "%s%s", i ? "; " : "", items[i]);
    str_addc(out, '\n');
}

void answer_report_text(const struct answer_report *r, const struct catalog *cat, struct str *out)
{
    str_addf(out, "%s:\n", cat->entry[r->specialty].name);
    for (int i = 0; i < r->n_dx; i++) {
        const struct answer_dx *d = &r->dx[i];
        str_addf(out, "%d. %s (p %.2f)\n", i + 1, d->dx, d->p);
        answer_list("for", d->evidence_for, d->n_for, out);
        answer_list("against", d->evidence_against, d->n_against, out);
        answer_list("would discriminate", d->discriminators, d->n_discriminators, out);
    }
    if (r->notes[0])
        str_addf(out, "   notes: %s\n", r->notes);
}
