#include "vary.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "jdoc.h"
#include "medqa_record.h"
#include "sha256.h"
#include "zio.h"

static const char *const vary_names[] = {[VARY_CYCLIC] = "cyclic",
                                         [VARY_NONE] = "none-of-the-above",
                                         [VARY_PARAPHRASES] = "paraphrases"};

struct vary_text { /* a paraphrase */
    char id[24];
    const char *text;
    long line;
    bool used;
};

struct vary_made { /* a variant, by its id */
    char id[24];
    size_t record;
};

struct varied {
    const struct vary *v;
    struct medqa *m; /* the questions before */
    struct vary_text *text;
    size_t n_text, cap_text;
    /* after: a question for each record that is not rejected; record.question is its index */
    struct medqa_question *question;
    struct medqa_record *record;
    size_t n, cap, n_records, cap_records;
    size_t of; /* questions before */
    struct vary_count count;
};

/* ---- paraphrases ----------------------------------------------------------------------------- */

static int vary_by_id(const void *a, const void *b)
{
    const struct vary_text *x = a, *y = b;
    const int order = strcmp(x->id, y->id);
    return order ? order : (x->line > y->line) - (x->line < y->line);
}

static int vary_line(struct varied *x, const char *s, size_t n, long line, struct err *e)
{
    struct vary_text t = {.line = line};
    const char *id = NULL, *text = NULL;
    json_t *doc = NULL;
    int rc;
    TRY_DONE(jdoc_load(s, n, &doc, e));
    TRY_DONE(jdoc_string(doc, "id", &id, e));
    TRY_DONE(jdoc_string(doc, "question", &text, e));
    if (strlen(id) != 16 || strspn(id, "0123456789abcdef") < 16)
        TRY_DONE(err_set(e, ERR_DATA,
                         "'%.40s' is no id of a question; an id has 16 hex digits, as trace_id of "
                         "results.csv",
                         id));
    if (!text[strspn(text, " \t\r\n")])
        TRY_DONE(err_set(e, ERR_DATA, "'question' is blank"));
    memcpy(t.id, id, 17);
    t.text = arena_strndup(&x->m->arena, text, strlen(text));
    if (!t.text) {
        rc = NOMEM(e, strlen(text), "a paraphrase");
        goto done;
    }
    TRY_DONE(mem_grow(&x->text, &x->cap_text, x->n_text + 1, sizeof *x->text, "paraphrases", e));
    x->text[x->n_text++] = t;
done:
    json_decref(doc);
    return rc;
}

static int vary_lines(struct varied *x, struct err *e)
{
    const struct vary *v = x->v;
    long line = 0;
    for (size_t at = 0, len; at < v->n; at += len + 1) {
        const char *end = memchr(v->text + at, '\n', v->n - at), *s = v->text + at;
        size_t skip = line == 0 && v->n - at >= 3 && !memcmp(s, "\xef\xbb\xbf", 3) ? 3 : 0;
        len = end ? (size_t)(end - s) : v->n - at;
        line++;
        while (skip < len && strchr(" \t\r", s[skip]) && s[skip])
            skip++;
        if (skip == len)
            continue;
        int rc = vary_line(x, s + skip, len - skip, line, e);
        if (rc < 0)
            return err_wrap(e, rc, "%s:%ld", v->name, line);
    }
    if (x->n_text)
        qsort(x->text, x->n_text, sizeof *x->text, vary_by_id);
    return 0;
}

/* The first paraphrase of the question, or the place after all. *n: their number. */
static size_t vary_find(const struct varied *x, const char *id, size_t *n)
{
    size_t lo = 0, hi = x->n_text;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (strcmp(x->text[mid].id, id) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    for (*n = 0; lo + *n < x->n_text && !strcmp(x->text[lo + *n].id, id);)
        ++*n;
    return lo;
}

/* ---- variants -------------------------------------------------------------------------------- */

static int vary_record(struct varied *x, const struct medqa_record *r, struct err *e)
{
    if (x->n_records == MEDQA_RECORDS)
        FAIL(e, ERR_DATA, "the variants are more than %zu records; choose fewer questions",
             MEDQA_RECORDS);
    TRY(mem_grow(&x->record, &x->cap_records, x->n_records + 1, sizeof *x->record, "records", e));
    x->record[x->n_records++] = *r;
    return 0;
}

static int vary_add(struct varied *x, const struct medqa_record *r, struct medqa_question *q,
                    const char *of, struct err *e)
{
    struct medqa_record made = {.kind = MEDQA_QUESTION, .line = r->line, .question = x->n};
    q->of = of;
    TRY(medqa_record_id(q, e));
    TRY(mem_grow(&x->question, &x->cap, x->n + 1, sizeof *x->question, "questions", e));
    TRY(vary_record(x, &made, e));
    x->question[x->n++] = *q;
    return 0;
}

/* The question with option `first` at A, the next ones after it. */
static struct medqa_question vary_turn(const struct medqa_question *q, int first)
{
    struct medqa_question out = *q;
    for (int place = 0; place < q->n_options; place++)
        out.option[place] = q->option[(first + place) % q->n_options];
    if (q->key >= 0)
        out.key = (q->key - first + q->n_options) % q->n_options;
    return out;
}

static int vary_words(struct varied *x, const struct medqa_record *r,
                      const struct medqa_question *q, const char *of, struct err *e)
{
    struct medqa_question out = *q;
    size_t n, at = vary_find(x, q->id, &n);
    if (r->kind == MEDQA_QUESTION)
        x->count.alone += n == 0;
    TRY(vary_add(x, r, &out, of, e));
    for (size_t i = at; i < at + n; i++) {
        out = *q;
        out.text = x->text[i].text;
        x->text[i].used = true;
        TRY(vary_add(x, r, &out, of, e));
    }
    return 0;
}

/* All variants of a record that is not rejected. */
static int vary_variants(struct varied *x, const struct medqa_record *r, struct err *e)
{
    const struct medqa_question *q = &x->m->question[r->question];
    struct medqa_question out = *q;
    const char *of = arena_strndup(&x->m->arena, q->id, strlen(q->id));
    if (!of)
        return NOMEM(e, sizeof q->id, "an id");
    x->of += r->kind == MEDQA_QUESTION;
    if (x->v->kind == VARY_PARAPHRASES)
        return vary_words(x, r, q, of, e);
    if (x->v->kind == VARY_NONE) {
        if (q->key >= 0)
            out.option[q->key] = VARY_NONE_TEXT;
        return vary_add(x, r, &out, of, e);
    }
    for (int first = 0; first < q->n_options || first == 0; first++) {
        out = vary_turn(q, first);
        TRY(vary_add(x, r, &out, of, e));
    }
    return 0;
}

static int vary_order(const void *a, const void *b)
{
    const struct vary_made *x = a, *y = b;
    const int order = strcmp(x->id, y->id);
    return order ? order : (x->record > y->record) - (x->record < y->record);
}

/* Equal variants become one question and its duplicates; questions are packed and numbered. */
static int vary_pack(struct varied *x, struct err *e)
{
    struct vary_made *made = mem_zalloc(x->n, sizeof *made);
    size_t n = 0, k = 0;
    if (!made)
        return NOMEM(e, x->n * sizeof *made, "variants");
    for (size_t i = 0; i < x->n_records; i++)
        if (x->record[i].kind != MEDQA_REJECTED) {
            memcpy(made[k].id, x->question[k].id, sizeof made->id);
            made[k].record = i;
            k++;
        }
    if (k)
        qsort(made, k, sizeof *made, vary_order);
    for (size_t i = 1; i < k; i++)
        if (!strcmp(made[i].id, made[i - 1].id))
            x->record[made[i].record].kind = MEDQA_DUPLICATE;
    for (size_t i = 0; i < x->n_records; i++) {
        struct medqa_record *r = &x->record[i];
        if (r->kind != MEDQA_QUESTION)
            continue;
        x->question[n] = x->question[r->question]; /* n <= r->question */
        x->question[n].index = (int64_t)i;
        r->question = n++;
    }
    for (size_t i = 0, first = 0; i < k; i++) { /* a duplicate has its first one's question */
        first = i && !strcmp(made[i].id, made[i - 1].id) ? first : made[i].record;
        x->record[made[i].record].question = x->record[first].question;
    }
    x->n = n;
    for (size_t i = 0; i < x->count.records; i++)
        x->count.variants += x->record[i].kind == MEDQA_QUESTION;
    mem_free(made);
    return 0;
}

static int vary_all(struct varied *x, size_t asked, struct err *e)
{
    const struct medqa *m = x->m;
    size_t used = 0;
    asked = asked && asked < m->n_records ? asked : m->n_records;
    for (size_t i = 0; i < m->n_records; i++) {
        if (m->record[i].kind == MEDQA_REJECTED)
            TRY(vary_record(x, &m->record[i], e));
        else
            TRY(vary_variants(x, &m->record[i], e));
        if (i + 1 == asked) {
            x->count.records = x->n_records;
            x->count.questions = x->of;
        }
    }
    for (size_t i = 0; i < x->n_text; i++)
        used += x->text[i].used;
    x->count.unused = x->n_text - used;
    if (x->v->kind == VARY_PARAPHRASES && !used)
        FAIL(e, ERR_DATA,
             "%s: none of %zu paraphrases is of a question of the data; an id is the "
             "trace_id of results.csv",
             x->v->name, x->n_text);
    return vary_pack(x, e);
}

static int vary_describe(const struct varied *x, struct str *out, struct err *e)
{
    char sha256[65];
    str_addf(out, "{\"kind\": \"%s\", \"of\": %zu, \"questions\": %zu", vary_names[x->v->kind],
             x->of, x->n);
    if (x->v->kind == VARY_PARAPHRASES) {
        TRY(sha256_hex(x->v->text, x->v->n, sha256, e));
        str_addf(out, ", \"sha256\": \"%s\"", sha256);
    }
    str_addc(out, '}');
    return str_ok(out, "variants", e);
}

int vary_take(const struct vary *v, struct medqa *m, size_t asked, struct vary_count *count,
              struct str *describe, struct err *e)
{
    struct varied x = {.v = v, .m = m};
    int rc = 0;
    if (v->kind == VARY_PARAPHRASES)
        TRY_DONE(vary_lines(&x, e));
    TRY_DONE(vary_all(&x, asked, e));
    TRY_DONE(vary_describe(&x, describe, e));
    mem_free(m->question);
    mem_free(m->record);
    m->question = x.question;
    m->record = x.record;
    m->n = x.n;
    m->cap = x.cap;
    m->n_records = x.n_records;
    m->cap_records = x.cap_records;
    m->n_rejected = m->n_duplicates = 0;
    for (size_t i = 0; i < m->n_records; i++) {
        m->n_rejected += m->record[i].kind == MEDQA_REJECTED;
        m->n_duplicates += m->record[i].kind == MEDQA_DUPLICATE;
    }
    *count = x.count;
    x.question = NULL;
    x.record = NULL;
done:
    mem_free(x.question);
    mem_free(x.record);
    mem_free(x.text);
    return rc;
}

/* ---- a recorded run -------------------------------------------------------------------------- */

/* The file of paraphrases in the run's folder, whose hash must be that of the identity. */
static int vary_copy(const char *dir, const json_t *of, struct str *text, struct err *e)
{
    const char *want = NULL;
    char path[1100], sha256[65];
    TRY(jdoc_string(of, "sha256", &want, e));
    snprintf(path, sizeof path, "%s/%s", dir, VARY_FILE);
    TRY(zio_read(path, MEDQA_FILE, text, e));
    TRY(sha256_hex(text->s, text->len, sha256, e));
    if (strcmp(sha256, want) != 0)
        FAIL(e, ERR_DATA, "%s has sha256 %s, the run had %.64s", path, sha256, want);
    return 0;
}

int vary_recorded(const char *dir, const json_t *identity, struct medqa *m, struct err *e)
{
    const json_t *of = json_object_get(identity, "variants");
    struct vary v = {.kind = VARY_AS_IS, .name = VARY_FILE};
    struct vary_count count;
    struct str text = STR_INIT, about = STR_INIT;
    const char *kind = NULL;
    int rc = 0;
    if (!of)
        return 0;
    TRY_DONE(jdoc_string(of, "kind", &kind, e));
    for (int i = VARY_CYCLIC; i <= VARY_PARAPHRASES; i++)
        if (!strcmp(kind, vary_names[i]))
            v.kind = (enum vary_kind)i;
    if (v.kind == VARY_AS_IS)
        TRY_DONE(err_set(e, ERR_DATA, "variants of the kind '%.40s' are not known", kind));
    if (v.kind == VARY_PARAPHRASES)
        TRY_DONE(vary_copy(dir, of, &text, e));
    v.text = text.s;
    v.n = text.len;
    TRY_DONE(vary_take(&v, m, 0, &count, &about, e));
done:
    str_free(&text);
    str_free(&about);
    return rc;
}

/* ---- text ------------------------------------------------------------------------------------ */

void vary_say(enum vary_kind kind, const struct vary_count *n, char out[96])
{
    const char *each = kind == VARY_CYCLIC ? "order" : "wording";
    out[0] = 0;
    if (kind == VARY_NONE)
        snprintf(out, 96, "%zu questions, the right option replaced", n->questions);
    else if (kind != VARY_AS_IS && n->questions && n->variants % n->questions == 0)
        snprintf(out, 96, "%zu questions x %zu %ss", n->questions, n->variants / n->questions,
                 each);
    else if (kind != VARY_AS_IS)
        snprintf(out, 96, "%zu questions in %zu %ss", n->questions, n->variants, each);
}

static void vary_member(struct str *out, const char *key, const char *s)
{
    str_addf(out, "\"%s\": ", key);
    str_add_json(out, s, strlen(s));
}

static void vary_question(const struct medqa_question *q, struct str *out)
{
    CHECK(q->key >= 0); /* a question of a file has a key */
    str_addc(out, '{');
    vary_member(out, "question", q->text);
    str_adds(out, ", \"options\": {");
    for (int i = 0; i < q->n_options; i++) {
        const char letter[2] = {(char)('A' + i), 0};
        str_adds(out, i ? ", " : "");
        vary_member(out, letter, q->option[i]);
    }
    str_addf(out, "}, \"answer_idx\": \"%c\", ", 'A' + q->key);
    vary_member(out, "meta_info", q->step);
    str_addf(out, ", \"of\": \"%s\"}\n", q->of ? q->of : q->id);
}

void vary_write(const struct medqa *m, struct str *out)
{
    for (size_t i = 0; i < m->n_records; i++)
        if (m->record[i].kind == MEDQA_QUESTION)
            vary_question(&m->question[m->record[i].question], out);
}
