#include "import_item.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "medqa_csv.h"
#include "medqa_record.h"

/* Names of one member, in items and in CSV. */
static const char *const ids[] = {"id", "trace_id", "question_id", NULL};
static const char *const predictions[] = {"pred", "predicted", "prediction", "predicted_answer",
                                          NULL};
static const char *const golds[] = {"gold", "correct_answer", "key", NULL};
static const char *const tokens[] = {"prompt_tokens", NULL};

struct item_walk {
    const char *name;
    import_take *take;
    void *user;
    const char *form;
    struct medqa_reading reading; /* of docs */
    int64_t line;                 /* of the item before; 0 = none */
    size_t in_line;               /* items of that line */
};

/* ---- JSON ------------------------------------------------------------------------------------ */

static json_t *item_member(const json_t *doc, const char *const *names)
{
    json_t *v = NULL;
    for (int i = 0; !v && names[i]; i++)
        v = json_object_get(doc, names[i]);
    return json_is_null(v) ? NULL : v;
}

/* A text or a whole number as text; NULL when absent or null. */
static int item_text(const json_t *v, const char *name, char number[24], const char **out,
                     struct err *e)
{
    *out = NULL;
    if (!v)
        return 0;
    if (json_is_integer(v)) {
        snprintf(number, 24, "%lld", (long long)json_integer_value(v));
        *out = number;
        return 0;
    }
    if (!json_is_string(v))
        FAIL(e, ERR_DATA, "'%s' is %s, expected a text", name, jdoc_type_name(json_typeof(v)));
    if (strlen(json_string_value(v)) != json_string_length(v))
        FAIL(e, ERR_DATA, "'%s' holds a NUL character (\\u0000)", name);
    *out = json_string_value(v);
    return 0;
}

static int item_plain(const struct item_walk *w, const json_t *doc, int64_t line, struct err *e)
{
    struct import_item it = {.gold_number = -1, .prompt_tokens = -1};
    char id[24], predicted[24], gold[24];
    const json_t *p = item_member(doc, predictions), *n = item_member(doc, tokens);
    TRY(item_text(item_member(doc, ids), "id", id, &it.id, e));
    TRY(item_text(p, "the prediction", predicted, &it.predicted, e));
    TRY(item_text(item_member(doc, golds), "the key", gold, &it.gold, e));
    it.number = json_is_integer(p);
    it.predicted = it.predicted ? it.predicted : "";
    if (n && (!json_is_integer(n) || json_integer_value(n) < 0))
        FAIL(e, ERR_DATA, "'prompt_tokens' is no whole number");
    if (n)
        it.prompt_tokens = json_integer_value(n);
    return w->take(w->user, &it, line, e);
}

/* A number, also in quotes, as lm-evaluation-harness writes it; NaN = another value. */
static double item_number(const json_t *v)
{
    double d;
    if (json_is_number(v))
        return json_number_value(v);
    return json_is_string(v) && str_to_f64(json_string_value(v), -1e300, 1e300, &d) ? d
                                                                                    : (double)NAN;
}

/* The replies after the filter: [[log-likelihood, greedy], ..] or [text]. */
static int item_replies(const json_t *list, struct import_item *it, struct err *e)
{
    const json_t *first = json_array_get(list, 0);
    size_t n = json_array_size(list);
    it->predicted = json_is_array(first) ? NULL : ""; /* NULL: the highest likelihood decides */
    if (json_is_string(first)) {
        if (n != 1)
            FAIL(e, ERR_DATA,
                 "'filtered_resps' has %zu texts, expected one: choose a filter that "
                 "leaves one",
                 n);
        it->predicted = json_string_value(first);
        return 0;
    }
    if (!json_is_array(first))
        FAIL(e, ERR_DATA, "'filtered_resps' has no texts and no log-likelihoods");
    if (n > MEDQA_OPTIONS)
        FAIL(e, ERR_DATA, "'filtered_resps' has %zu replies, expected one for each option", n);
    for (size_t i = 0; i < n; i++) {
        it->lp[i] = item_number(json_array_get(json_array_get(list, i), 0));
        if (!isfinite(it->lp[i]) || it->lp[i] > 0)
            FAIL(e, ERR_DATA, "reply %zu of 'filtered_resps' is no log-likelihood", i + 1);
    }
    it->n_lp = (int)n;
    return 0;
}

/* The id of the question in doc; "" when doc is no record of a question file. */
static int item_doc(struct item_walk *w, const char *s, size_t n, char out[24], struct err *e)
{
    struct arena arena = {.head = NULL};
    struct medqa_question q = {.key = -1, .step = ""};
    const struct medqa_form *form = NULL;
    struct err why = {.code = 0};
    int rc = medqa_record_read(&w->reading, &arena, s, n, &q, &form, &why);
    out[0] = 0;
    if (rc == 0)
        rc = medqa_record_id(&q, &why);
    if (rc == 0)
        memcpy(out, q.id, sizeof q.id);
    arena_free(&arena);
    if (rc == ERR_NOMEM)
        FAIL(e, rc, "%s", why.msg);
    return 0;
}

/* A sample of lm-evaluation-harness. raw: its doc, n == 0: none. */
static int item_harness(struct item_walk *w, const json_t *doc, const struct jscan_item *raw,
                        int64_t line, struct err *e)
{
    struct import_item it = {.gold_number = -1, .prompt_tokens = -1};
    char id[24], filter[24], target[24];
    int64_t number;
    json_t *replies = NULL;
    TRY(item_text(json_object_get(doc, "doc_id"), "doc_id", id, &it.id, e));
    TRY(item_text(json_object_get(doc, "filter"), "filter", filter, &it.filter, e));
    TRY(item_text(json_object_get(doc, "target"), "target", target, &it.gold, e));
    TRY(jdoc_get(doc, "filtered_resps", JSON_ARRAY, &replies, e));
    TRY(item_replies(replies, &it, e));
    if (it.gold && str_to_i64(it.gold, 0, MEDQA_OPTIONS - 1, &number)) {
        it.gold_number = (int)number;
        it.gold = NULL;
    }
    if (it.gold && medqa_letter(it.gold, strlen(it.gold)) < 0)
        it.gold = NULL; /* a text, which the doc has, too */
    if (raw->n)
        TRY(item_doc(w, raw->value, raw->n, it.doc, e));
    return w->take(w->user, &it, line, e);
}

static bool item_known(const struct jscan_item *m)
{
    static const char *const harness[] = {"doc_id", "filter", "target", "filtered_resps", NULL};
    static const char *const *const all[] = {ids, predictions, golds, tokens, harness};
    for (size_t k = 0; k < sizeof all / sizeof all[0]; k++)
        for (int i = 0; all[k][i]; i++)
            if (jscan_key(m, all[k][i]))
                return true;
    return false;
}

/* The members that are known, as an object; the others are not judged. raw: the member doc. */
static int item_members(const char *s, size_t n, struct str *out, struct jscan_item *raw,
                        struct err *e)
{
    struct jscan j = {.n = 0};
    struct jscan_item m = {.key = NULL};
    int rc, more;
    jscan_set(&j, s, n);
    TRY_DONE(jscan_open(&j, '{', e));
    str_addc(out, '{');
    while ((more = jscan_next(&j, &m, e)) > 0) {
        if (jscan_key(&m, "doc"))
            *raw = m;
        if (!item_known(&m))
            continue;
        str_adds(out, out->len > 1 ? ", \"" : "\"");
        str_add(out, m.key, m.key_len);
        str_adds(out, "\": ");
        str_add(out, m.value, m.n);
    }
    str_addc(out, '}');
    rc = more < 0 ? more : jscan_end(&j, e);
    if (!rc)
        rc = str_ok(out, "a prediction", e);
done:
    jscan_free(&j);
    return rc;
}

static int item_one(struct item_walk *w, const char *s, size_t n, int64_t line, struct err *e)
{
    struct str known = STR_INIT;
    struct jscan_item raw = {.key = NULL};
    json_t *doc = NULL;
    int rc;
    TRY_DONE(item_members(s, n, &known, &raw, e));
    TRY_DONE(jdoc_load(known.s, known.len, &doc, e));
    bool harness = json_object_get(doc, "doc_id") && json_object_get(doc, "filtered_resps");
    const char *form = harness ? "lm-eval" : "items";
    if (!harness && !item_member(doc, ids))
        TRY_DONE(err_set(e, ERR_DATA,
                         "the item has no id; expected {id, pred}, or a sample of "
                         "lm-evaluation-harness with doc_id and filtered_resps"));
    if (w->form && strcmp(w->form, form) != 0)
        TRY_DONE(err_set(e, ERR_DATA, "an item in the form %s after others in the form %s", form,
                         w->form));
    w->form = form;
    rc = harness ? item_harness(w, doc, &raw, line, e) : item_plain(w, doc, line, e);
done:
    json_decref(doc);
    str_free(&known);
    return rc;
}

static int item_json(void *user, const char *s, size_t n, int64_t line, const char *why,
                     struct err *e)
{
    struct item_walk *w = user;
    int rc = why ? err_set(e, ERR_DATA, "%s", why) : item_one(w, s, n, line, e);
    w->in_line = line == w->line ? w->in_line + 1 : 1;
    w->line = line;
    if (rc == ERR_DATA && w->in_line > 1)
        err_wrap(e, rc, "item %zu", w->in_line);
    return rc == ERR_DATA ? err_wrap(e, rc, "%s:%lld", w->name, (long long)line) : rc;
}

/* ---- CSV ------------------------------------------------------------------------------------- */

/* The column with one of the names; -1 = none. */
static int item_column(const struct medqa_csv *head, const char *const *names)
{
    for (int i = 0; names[i]; i++)
        for (int c = 0; c < head->n_cells; c++)
            if (medqa_csv_cell_is(head, c, names[i]))
                return c;
    return -1;
}

/* A cell as text; NULL when there is no such column, or it is empty. buf keeps it. */
static int item_cell(const struct medqa_csv *c, int column, struct str *buf, const char **out,
                     struct err *e)
{
    size_t n = 0;
    const char *s = column >= 0 && column < c->n_cells ? medqa_csv_cell(c, column, &n) : "";
    str_clear(buf);
    str_add(buf, s, n);
    TRY(str_ok(buf, "a cell", e));
    if (n && memchr(s, 0, n))
        FAIL(e, ERR_DATA, "a cell holds a NUL byte");
    *out = n ? buf->s : NULL;
    return 0;
}

/* The columns of a table. */
struct item_columns {
    int id, predicted, gold, tokens, status; /* -1 = none */
    int p[MEDQA_OPTIONS], lp[MEDQA_OPTIONS]; /* "p_A", "lp_A" and those after it */
};

static struct item_columns item_columns(const struct medqa_csv *head)
{
    static const char *const own[] = {"trace_id", NULL}, *const status[] = {"status", NULL};
    struct item_columns c = {.id = item_column(head, ids),
                             .predicted = item_column(head, predictions),
                             .gold = item_column(head, golds),
                             .tokens = item_column(head, tokens),
                             .status = item_column(head, own) < 0 ? -1 : item_column(head, status)};
    for (int i = 0; i < MEDQA_OPTIONS; i++) {
        char p[8], lp[8];
        const char *const p_names[] = {p, NULL}, *const lp_names[] = {lp, NULL};
        snprintf(p, sizeof p, "p_%c", 'A' + i);
        snprintf(lp, sizeof lp, "lp_%c", 'A' + i);
        c.p[i] = item_column(head, p_names);
        c.lp[i] = item_column(head, lp_names);
    }
    return c;
}

/* The numbers of the columns in [lo, hi], up to the first empty cell: *n of them. */
static int item_numbers(const struct medqa_csv *c, const int *column, const char *what, double lo,
                        double hi, double *out, int *n, struct err *e)
{
    struct str buf = STR_INIT;
    const char *s = NULL;
    int rc = 0, last = 0;
    for (int i = 0; i < MEDQA_OPTIONS; i++) {
        TRY_DONE(item_cell(c, column[i], &buf, &s, e));
        if (!s)
            continue;
        if (last < i)
            TRY_DONE(err_set(e, ERR_DATA, "%s_%c is empty, %s_%c is not", what, 'A' + last, what,
                             'A' + i));
        if (!str_to_f64(s, lo, hi, &out[i]))
            TRY_DONE(err_set(e, ERR_DATA, "%s_%c is '%.20s', expected a number from %g to %g", what,
                             'A' + i, s, lo, hi));
        last = i + 1;
    }
    *n = last;
done:
    str_free(&buf);
    return rc;
}

static int item_row(const struct item_walk *w, const struct medqa_csv *c,
                    const struct item_columns *column, struct str buf[5], struct err *e)
{
    struct import_item it = {.gold_number = -1, .prompt_tokens = -1};
    const char *count = NULL;
    TRY(item_cell(c, column->id, &buf[0], &it.id, e));
    TRY(item_cell(c, column->predicted, &buf[1], &it.predicted, e));
    TRY(item_cell(c, column->gold, &buf[2], &it.gold, e));
    TRY(item_cell(c, column->tokens, &buf[3], &count, e));
    TRY(item_cell(c, column->status, &buf[4], &it.status, e));
    TRY(item_numbers(c, column->p, "p", 0, 1, it.p, &it.n_p, e));
    TRY(item_numbers(c, column->lp, "lp", -1e300, 0, it.lp, &it.n_lp, e));
    if (count && !str_to_i64(count, 0, (int64_t)1 << 40, &it.prompt_tokens))
        FAIL(e, ERR_DATA, "prompt_tokens is '%.20s', expected a whole number", count);
    it.predicted = it.predicted ? it.predicted : "";
    return w->take(w->user, &it, c->row_line, e);
}

static int item_csv(struct item_walk *w, const char *text, size_t n, struct err *e)
{
    struct medqa_csv c = {.s = text, .n = n, .line = 1};
    struct str buf[5] = {STR_INIT, STR_INIT, STR_INIT, STR_INIT, STR_INIT};
    int rc, more;
    if (n >= 3 && !memcmp(text, "\xef\xbb\xbf", 3))
        c.at = 3;
    TRY_DONE(medqa_csv_next(&c, e));
    const struct item_columns column = item_columns(&c);
    if (rc == 0 || column.id < 0 || column.predicted < 0)
        TRY_DONE(err_set(e, ERR_DATA,
                         "no predictions: expected JSON, or CSV whose first line names the columns "
                         "id and predicted"));
    w->form = "csv";
    while ((more = medqa_csv_next(&c, e)) > 0) {
        rc = item_row(w, &c, &column, buf, e);
        if (rc == ERR_DATA)
            err_wrap(e, rc, "line %lld", (long long)c.row_line);
        TRY_DONE(rc);
    }
    rc = more;
done:
    if (rc == ERR_DATA)
        err_wrap(e, rc, "%s", w->name);
    for (int i = 0; i < 5; i++)
        str_free(&buf[i]);
    medqa_csv_free(&c);
    return rc;
}

int import_items(const char *text, size_t n, const char *name, import_take *take, void *user,
                 const char **form, struct err *e)
{
    struct item_walk w = {
        .name = name, .take = take, .user = user, .reading = {.base = {.from = 0}}};
    size_t at = 0;
    TRY(medqa_file_encoding(text, n, name, e));
    while (at < n && (strchr(" \t\r\n\xef\xbb\xbf", text[at]) && text[at]))
        at++;
    bool json = at < n && (text[at] == '[' || text[at] == '{');
    int rc = json ? medqa_file_walk(text, n, name, item_json, &w, e) : item_csv(&w, text, n, e);
    medqa_scans_free(&w.reading.scans);
    if (!rc && !w.form)
        rc = err_set(e, ERR_DATA, "%s: holds no predictions", name);
    if (!rc)
        *form = w.form;
    return rc;
}
