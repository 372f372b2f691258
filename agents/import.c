#include "import.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "import_item.h"
#include "medqa_fields.h"
#include "medqa_ids.h"
#include "mem.h"
#include "result.h"
#include "sha256.h"
#include "trace_scan.h"
#include "zio.h"

#define IMPORT_FILE ((size_t)4 << 30) /* largest file after inflation, bytes */

struct importer {
    struct import im;
    const struct medqa *data;
    const char *filter;
    struct medqa_ids ids; /* of data */
    bool key_given;
    /* the text before the numbers of ids: that of the first one */
    char prefix[64];
    bool prefixed;
    char of_filter[64]; /* the filter of the samples so far; "" = none yet */
};

/* ---- questions ------------------------------------------------------------------------------- */

/* The number at the end of the id; all ids have the same text before it. */
static int import_number(struct importer *r, const char *id, int64_t *out, struct err *e)
{
    size_t n = strlen(id), digits = 0;
    while (digits < n && id[n - digits - 1] >= '0' && id[n - digits - 1] <= '9')
        digits++;
    size_t prefix = n - digits;
    if (!digits || digits > 12 || prefix >= sizeof r->prefix ||
        !str_to_i64(id + prefix, 0, INT64_MAX, out))
        FAIL(e, ERR_DATA, "id '%.*s' is no question of the data file and ends with no number",
             medqa_shown(id, 60), id);
    if (!r->prefixed)
        snprintf(r->prefix, sizeof r->prefix, "%.*s", (int)prefix, id);
    r->prefixed = true;
    if (strlen(r->prefix) != prefix || memcmp(r->prefix, id, prefix) != 0)
        FAIL(e, ERR_DATA,
             "id '%.*s' is no question of the data file, and does not begin with '%s' as those "
             "before: its number is no record number",
             medqa_shown(id, 60), id, r->prefix);
    return 0;
}

/* The question of the item. *again: a duplicate record stands for it. */
static int import_question(struct importer *r, const struct import_item *it, size_t *out,
                           bool *again, struct err *e)
{
    int64_t at = -1, number = 0;
    *again = false;
    if (it->doc[0]) {
        at = medqa_ids_find(&r->ids, it->doc);
        if (at < 0)
            FAIL(e, ERR_DATA, "the question of this sample is not in the data file");
        *out = (size_t)at;
        return 0;
    }
    if (!it->id)
        FAIL(e, ERR_DATA, "the prediction has no id");
    at = medqa_ids_find(&r->ids, it->id);
    if (at >= 0) {
        *out = (size_t)at;
        return 0;
    }
    TRY(import_number(r, it->id, &number, e));
    if ((size_t)number >= r->data->n_records)
        FAIL(e, ERR_DATA, "id '%s' is record %lld counted from 0, the data file has %zu records",
             it->id, (long long)number, r->data->n_records);
    const struct medqa_record *rec = &r->data->record[number];
    if (rec->kind == MEDQA_REJECTED)
        FAIL(e, ERR_DATA, "id '%s' is record %lld of the data file, which was rejected: %s", it->id,
             (long long)number, rec->why);
    *again = rec->kind == MEDQA_DUPLICATE;
    *out = rec->question;
    return 0;
}

/* ---- answers --------------------------------------------------------------------------------- */

/* The option that the text names by its letter or by its own text; -1 = none or several. */
static int import_option(const struct medqa_question *q, const char *text)
{
    int at = -1, n = 0, letter = medqa_letter(text, strlen(text));
    if (letter >= 0 && letter < q->n_options)
        return letter;
    for (int i = 0; i < q->n_options; i++)
        if (medqa_same(text, q->option[i])) {
            at = i;
            n++;
        }
    return n == 1 ? at : -1;
}

static int import_check_key(struct importer *r, const struct medqa_question *q,
                            const struct import_item *it, struct err *e)
{
    int key = it->gold ? import_option(q, it->gold) : it->gold_number;
    if (!it->gold && it->gold_number < 0)
        return 0;
    r->key_given = true;
    if (key == q->key)
        return 0;
    char name[8] = "another";
    if (key >= 0)
        snprintf(name, sizeof name, "%c", 'A' + key);
    FAIL(e, ERR_DATA,
         "the key of question %s is %c in the data file and %s here: these are other questions, or "
         "another order",
         q->id, 'A' + q->key, name);
}

/* The first of the highest: lm-evaluation-harness breaks ties so. */
static void import_highest(const struct import_item *it, struct import_answer *a)
{
    a->has_lp = true;
    a->predicted = 0;
    for (int i = 0; i < it->n_lp; i++) {
        a->lp[i] = it->lp[i];
        if (it->lp[i] > it->lp[a->predicted])
            a->predicted = i;
    }
}

/* Probabilities beside a prediction. */
static int import_probabilities(const struct medqa_question *q, const struct import_item *it,
                                struct import_answer *a, struct err *e)
{
    double sum = 0;
    if (it->n_p && it->n_p != q->n_options)
        FAIL(e, ERR_DATA, "%d probabilities for a question with %d options", it->n_p, q->n_options);
    for (int i = 0; i < it->n_p; i++)
        sum += it->p[i];
    if (it->n_p && !(fabs(sum - 1) <= 1e-3))
        FAIL(e, ERR_DATA, "the probabilities of the options have the sum %.6g, expected 1", sum);
    a->has_p = it->n_p > 0;
    memcpy(a->p, it->p, sizeof a->p);
    a->has_lp = it->n_lp > 0;
    memcpy(a->lp, it->lp, sizeof a->lp);
    return 0;
}

static int import_read_answer(const struct medqa_question *q, const struct import_item *it,
                              struct import_answer *a, struct err *e)
{
    *a = (struct import_answer){.given = true, .predicted = -1, .prompt_tokens = it->prompt_tokens};
    if (it->n_lp && it->n_lp != q->n_options)
        FAIL(e, ERR_DATA, "%d log-likelihoods for a question with %d options", it->n_lp,
             q->n_options);
    if (it->n_lp && !it->predicted) {
        import_highest(it, a);
        return 0;
    }
    TRY(import_probabilities(q, it, a, e));
    a->predicted = import_option(q, it->predicted);
    if (a->predicted < 0 && it->number)
        FAIL(e, ERR_DATA,
             "the prediction is the number %s: whether it counts from 0 or from 1 is not known; "
             "write letters",
             it->predicted);
    if (a->predicted < 0 && medqa_blank(it->predicted))
        snprintf(a->why, sizeof a->why, "the file has no prediction");
    else if (a->predicted < 0)
        snprintf(a->why, sizeof a->why, "the prediction '%.*s' names no option",
                 medqa_shown(it->predicted, 60), it->predicted);
    return 0;
}

/* Samples of one filter only. *other: the sample is of a filter that was not asked for. */
static int import_filter(struct importer *r, const struct import_item *it, bool *other,
                         struct err *e)
{
    *other = it->filter && r->filter && strcmp(it->filter, r->filter) != 0;
    if (*other || !it->filter)
        return 0;
    if (!r->of_filter[0])
        snprintf(r->of_filter, sizeof r->of_filter, "%s", it->filter);
    if (strncmp(r->of_filter, it->filter, sizeof r->of_filter - 1) != 0)
        FAIL(e, ERR_DATA,
             "the file has samples of the filters '%s' and '%.60s'; name the one "
             "that counts",
             r->of_filter, it->filter);
    return 0;
}

static int import_one(void *user, const struct import_item *it, int64_t line, struct err *e)
{
    struct importer *r = user;
    size_t at;
    bool again, other;
    (void)line;
    TRY(import_filter(r, it, &other, e));
    if (other)
        return 0;
    if (it->status && (!strcmp(it->status, "rejected") || !strcmp(it->status, "not run")))
        return 0; /* a row without a prediction */
    TRY(import_question(r, it, &at, &again, e));
    again |= it->status && !strcmp(it->status, "duplicate");
    const struct medqa_question *q = &r->data->question[at];
    struct import_answer a;
    TRY(import_check_key(r, q, it, e));
    TRY(import_read_answer(q, it, &a, e));
    if (again) {
        r->im.n_repeated++;
        return 0;
    }
    if (r->im.answer[at].given)
        FAIL(e, ERR_DATA, "a second prediction for question %s", q->id);
    r->im.answer[at] = a;
    r->im.n_given++;
    r->im.n_unparsed += a.predicted < 0;
    return 0;
}

/* ---- files ----------------------------------------------------------------------------------- */

static int import_begin(struct importer *r, struct err *e)
{
    r->im.n = r->data->n;
    r->im.answer = mem_zalloc(r->im.n, sizeof *r->im.answer);
    if (!r->im.answer)
        return NOMEM(e, r->im.n * sizeof *r->im.answer, "predictions");
    return medqa_ids_open(r->data, &r->ids, e);
}

int import_parse(const char *text, size_t n, const char *name, const char *filter,
                 const struct medqa *data, struct import *out, struct err *e)
{
    struct importer r = {.data = data, .filter = filter};
    int rc;
    TRY_DONE(import_begin(&r, e));
    TRY_DONE(sha256_hex(text, n, r.im.sha256, e));
    TRY_DONE(import_items(text, n, name, import_one, &r, &r.im.form, e));
    if (!r.im.n_given)
        TRY_DONE(err_set(e, ERR_DATA, "%s: no prediction%s%s", name,
                         filter ? " of the filter " : "", filter ? filter : ""));
    r.im.key = r.key_given ? "checked" : "not given";
    *out = r.im;
    r.im = (struct import){.answer = NULL};
done:
    import_free(&r.im);
    medqa_ids_free(&r.ids);
    return rc;
}

int import_read(const char *path, const char *filter, const struct medqa *data, struct import *out,
                struct err *e)
{
    struct str text = STR_INIT;
    int rc;
    TRY_DONE(zio_read(path, IMPORT_FILE, &text, e));
    TRY_DONE(import_parse(text.s, text.len, path, filter, data, out, e));
done:
    str_free(&text);
    return rc;
}

void import_free(struct import *im)
{
    mem_free(im->answer);
    im->answer = NULL;
}

/* ---- cases ----------------------------------------------------------------------------------- */

static void import_letter(struct str *out, const char *key, int i)
{
    if (i < 0)
        str_addf(out, ", \"%s\": null", key);
    else
        str_addf(out, ", \"%s\": \"%c\"", key, 'A' + i);
}

static void import_text(struct str *out, const char *key, const char *s, size_t n)
{
    str_addf(out, ", \"%s\": ", key);
    str_add_json(out, s, n);
}

/* Log-probabilities by option, and the probabilities among the options. */
static void import_write_lp(const struct import_answer *a, int n, struct str *out)
{
    double sum = 0, top = a->lp[a->predicted];
    for (int i = 0; i < n; i++)
        sum += exp(a->lp[i] - top);
    str_adds(out, ", \"p\": ");
    str_add_number(out, 1 / sum, 17);
    str_adds(out, ", \"p_option\": [");
    for (int i = 0; i < n; i++) {
        str_adds(out, i ? ", " : "");
        str_add_number(out, exp(a->lp[i] - top) / sum, 17);
    }
    str_adds(out, "], \"option_lp\": [");
    for (int i = 0; i < n; i++) {
        str_adds(out, i ? ", " : "");
        str_add_number(out, a->lp[i], 17);
    }
    str_addc(out, ']');
}

static void import_write_list(struct str *out, const char *key, const double *v, int n)
{
    str_addf(out, ", \"%s\": [", key);
    for (int i = 0; i < n; i++) {
        str_adds(out, i ? ", " : "");
        str_add_number(out, v[i], 17);
    }
    str_addc(out, ']');
}

/* Probabilities that the file gives, and log-probabilities beside them. */
static void import_write_p(const struct import_answer *a, int n, struct str *out)
{
    str_adds(out, ", \"p\": ");
    str_add_number(out, a->predicted < 0 ? (double)NAN : a->p[a->predicted], 17);
    import_write_list(out, "p_option", a->p, n);
    if (a->has_lp)
        import_write_list(out, "option_lp", a->lp, n);
}

static void import_case(const struct medqa_question *q, const struct import_answer *a,
                        struct str *out)
{
    enum consult_state state = a->predicted < 0 ? CONSULT_UNPARSED : CONSULT_ANSWERED;
    bool correct = q->key >= 0 && a->predicted == q->key;
    str_addf(out, "{\"case\": \"%s\", \"n\": %lld, \"calls\": 0, \"imported\": true", q->id,
             (long long)q->index);
    str_addf(out, ", \"state\": \"%s\", \"n_options\": %d", consult_state_name(state),
             q->n_options);
    import_letter(out, "predicted", a->predicted);
    import_letter(out, "key", q->key);
    str_addf(out, ", \"correct\": %s, \"answer\": \"\"", correct ? "true" : "false");
    import_text(out, "why", a->why, strlen(a->why));
    import_text(out, "step", q->step, strlen(q->step));
    if (a->has_p)
        import_write_p(a, q->n_options, out);
    else if (a->has_lp && a->predicted >= 0)
        import_write_lp(a, q->n_options, out);
    else
        str_adds(out, ", \"p\": null");
    str_adds(out, ", \"cut\": 0, \"closed\": 0");
    if (a->prompt_tokens < 0)
        str_adds(out, ", \"prompt_tokens\": null");
    else
        str_addf(out, ", \"prompt_tokens\": %lld", (long long)a->prompt_tokens);
    str_adds(out, ", \"cached_tokens\": null, \"new_tokens\": null, \"seconds\": null, "
                  "\"joules\": null");
    import_text(out, "question", q->text, result_head(q->text));
}

void import_write(const struct import *im, const struct medqa *data, struct str *out)
{
    for (size_t i = 0; i < im->n; i++) {
        size_t begin = out->len;
        if (!im->answer[i].given)
            continue;
        import_case(&data->question[i], &im->answer[i], out);
        trace_end_line(out, begin);
    }
}

void import_identity(const struct import *im, const struct medqa *data, const char *name,
                     struct str *out)
{
    str_addf(out,
             "{\"config\": {}, \"prompts\": {}, \"imported\": {\"form\": \"%s\", \"file_sha256\": "
             "\"%s\"",
             im->form, im->sha256);
    import_text(out, "name", name, strlen(name));
    str_addf(out, ", \"key\": \"%s\"}, \"data_sha256\": \"%s\"}", im->key, data->sha256);
}

void import_about(const char *name, const char *version, const char *path, const char *data_path,
                  struct str *out)
{
    str_adds(out, "{\"version\": ");
    str_add_json(out, version, strlen(version));
    import_text(out, "model", name, strlen(name));
    import_text(out, "imported_from", path, strlen(path));
    import_text(out, "data", data_path, strlen(data_path));
    str_adds(out, ", \"config\": {}}");
}
