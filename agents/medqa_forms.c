/* Forms of records other than MedQA's own. DATASETS.md says where each stands in public. */
#include <string.h>

#include "medqa_record.h"
#include "str.h"

static bool form_has(const struct medqa_fields *r, int field)
{
    return r->f[field].n != 0;
}

/* ---- MedMCQA --------------------------------------------------------------------------------- */

bool medqa_is_medmcqa(const struct medqa_fields *r)
{
    return form_has(r, FIELD_OP) && form_has(r, FIELD_COP);
}

/* The original files count cop from 1. The copy on Hugging Face counts from 0. */
static int form_cop(struct medqa_base *base, const struct medqa_index *x,
                    const struct medqa_question *q, int *out, struct err *e)
{
    base->zero |= x->number <= 0;
    base->four |= x->number >= 4;
    if (x->number < 0)
        FAIL(e, ERR_DATA, "cop is %s: the record has no key, as in a test split", x->shown);
    if (base->from == MEDQA_BASE_BOTH)
        FAIL(e, ERR_DATA,
             "cop is %s, but the file has cop 0 and cop 4: parts that count from 0 and from 1",
             x->shown);
    if (base->from == MEDQA_BASE_OPEN)
        FAIL(e, ERR_DATA,
             "cop is %s, and no record has 0 or 4: whether cop counts from 0 or from 1 is not "
             "known; give the format medmcqa-from-0 or medmcqa-from-1",
             x->shown);
    if (x->number < base->from || x->number >= base->from + q->n_options)
        FAIL(e, ERR_DATA, "cop is %s, expected %d to %d", x->shown, base->from,
             base->from + q->n_options - 1);
    *out = (int)x->number - base->from;
    return 0;
}

int medqa_read_medmcqa(struct medqa_fields *r, struct medqa_question *q, struct err *e)
{
    struct medqa_index x = {.given = false};
    TRY(medqa_question_text(r, FIELD_QUESTION, &q->text, e));
    TRY(medqa_options_row(r, q, FIELD_OP, e));
    TRY(medqa_index_read(&r->f[FIELD_COP], "cop", &x, e));
    if (!x.given)
        FAIL(e, ERR_DATA, "key 'cop' is missing");
    if (x.letter < 0)
        return form_cop(r->base, &x, q, &q->key, e);
    if (x.letter >= q->n_options)
        FAIL(e, ERR_DATA, "cop is %s, expected A to %c", x.shown, 'A' + q->n_options - 1);
    q->key = x.letter;
    return 0;
}

/* ---- PubMedQA -------------------------------------------------------------------------------- */

static const char *const decisions[] = {"yes", "no", "maybe"};
#define DECISIONS ((int)(sizeof decisions / sizeof decisions[0]))

bool medqa_is_pubmedqa(const struct medqa_fields *r)
{
    return form_has(r, FIELD_FINAL_DECISION) &&
           (form_has(r, FIELD_UPPER_CONTEXTS) || form_has(r, FIELD_CONTEXT));
}

/* Appends the paragraphs of the abstract, one a line. */
static int form_contexts(const json_t *list, struct str *out, struct err *e)
{
    if (!json_is_array(list) || !json_array_size(list))
        FAIL(e, ERR_DATA, "the contexts are no list of texts");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        size_t n = json_string_length(v);
        if (!json_is_string(v))
            FAIL(e, ERR_DATA, "context %zu is %s, expected a string", i + 1,
                 jdoc_type_name(json_typeof(v)));
        if (memchr(json_string_value(v), 0, n))
            FAIL(e, ERR_DATA, "context %zu holds a NUL character (\\u0000); remove it", i + 1);
        str_add(out, json_string_value(v), n);
        str_addc(out, '\n');
    }
    return 0;
}

/* The abstract, an empty line, the question. */
static int form_abstract(struct medqa_fields *r, const char *question, const char **out,
                         struct err *e)
{
    bool upper = form_has(r, FIELD_UPPER_CONTEXTS);
    enum medqa_field_index at = upper ? FIELD_UPPER_CONTEXTS : FIELD_CONTEXT;
    struct str s = STR_INIT;
    json_t *doc = NULL;
    const json_t *list;
    char *copy = NULL;
    int rc;
    TRY_DONE(medqa_load(&r->f[at], medqa_field_name(at), &doc, e));
    list = json_is_object(doc) ? json_object_get(doc, "contexts") : doc;
    TRY_DONE(form_contexts(list, &s, e));
    str_addc(&s, '\n');
    str_adds(&s, question);
    TRY_DONE(str_ok(&s, "a question", e));
    copy = arena_strndup(r->arena, s.s, s.len);
    if (!copy)
        TRY_DONE(NOMEM(e, s.len + 1, "a question"));
    *out = copy;
done:
    json_decref(doc);
    str_free(&s);
    return rc;
}

int medqa_read_pubmedqa(struct medqa_fields *r, struct medqa_question *q, struct err *e)
{
    const char *question = NULL, *answer = NULL;
    TRY(medqa_question_text(
        r, form_has(r, FIELD_UPPER_QUESTION) ? FIELD_UPPER_QUESTION : FIELD_QUESTION, &question,
        e));
    TRY(form_abstract(r, question, &q->text, e));
    TRY(medqa_text(&r->f[FIELD_FINAL_DECISION], "final_decision", r->arena, &answer, e));
    for (int i = 0; i < DECISIONS; i++) {
        q->option[i] = decisions[i];
        if (medqa_same(answer, decisions[i]))
            q->key = i;
    }
    q->n_options = DECISIONS;
    if (q->key < 0)
        FAIL(e, ERR_DATA, "final_decision is '%.*s', expected yes, no or maybe",
             medqa_shown(answer, 20), answer);
    return 0;
}

/* ---- MMLU ------------------------------------------------------------------------------------ */

bool medqa_is_mmlu(const struct medqa_fields *r)
{
    bool row =
        form_has(r, FIELD_LETTER) && form_has(r, FIELD_LETTER + 1) && !form_has(r, FIELD_OPTIONS);
    return (form_has(r, FIELD_CHOICES) && !form_has(r, FIELD_OPTIONS)) || row;
}

int medqa_read_mmlu(struct medqa_fields *r, struct medqa_question *q, struct err *e)
{
    enum medqa_field_index text = form_has(r, FIELD_INPUT) ? FIELD_INPUT : FIELD_QUESTION,
                           key = form_has(r, FIELD_TARGET) ? FIELD_TARGET : FIELD_ANSWER;
    TRY(medqa_question_text(r, text, &q->text, e));
    if (form_has(r, FIELD_CHOICES))
        TRY(medqa_options(r, q, FIELD_CHOICES, e));
    else
        TRY(medqa_options_row(r, q, FIELD_LETTER, e));
    return medqa_key_from_0(r, q, key, e);
}

/* ---- MedBullets ------------------------------------------------------------------------------ */

bool medqa_is_medbullets(const struct medqa_fields *r)
{
    return form_has(r, FIELD_OP) && !form_has(r, FIELD_OPTIONS);
}

int medqa_read_medbullets(struct medqa_fields *r, struct medqa_question *q, struct err *e)
{
    TRY(medqa_question_text(r, FIELD_QUESTION, &q->text, e));
    TRY(medqa_options_row(r, q, FIELD_OP, e));
    return medqa_key(r, q, e);
}

/* ---- MedXpertQA ------------------------------------------------------------------------------ */

bool medqa_is_medxpertqa(const struct medqa_fields *r)
{
    return form_has(r, FIELD_OPTIONS) && form_has(r, FIELD_LABEL) &&
           !form_has(r, FIELD_ANSWER_IDX) && !form_has(r, FIELD_ANSWER);
}

/* Do a and the first bytes of *b agree but for white space? Moves *b after them. */
static bool form_follows(const char *a, const char **b)
{
    static const char space[] = " \t\r\n";
    const char *s = *b;
    for (a += strspn(a, space); *a; a += strspn(a, space)) {
        s += strspn(s, space);
        if (*s++ != *a++)
            return false;
    }
    *b = s + strspn(s, space);
    return true;
}

/* The question repeats the options after "Answer Choices:". They go, because an option may be shown
 * at another letter. */
static int form_cut_choices(struct medqa_fields *r, struct medqa_question *q, struct err *e)
{
    static const char head[] = "Answer Choices:";
    const char *at = NULL;
    for (const char *p = q->text; (p = strstr(p, head)); p++)
        at = p;
    if (!at)
        return 0;
    const char *s = at + strlen(head);
    for (int i = 0; i < q->n_options; i++) {
        char letter[4] = {'(', (char)('A' + i), ')', 0};
        if (!form_follows(letter, &s) || !form_follows(q->option[i], &s))
            FAIL(e, ERR_DATA, "the question names other answer choices than 'options', at %c",
                 'A' + i);
    }
    if (*s)
        FAIL(e, ERR_DATA, "text follows the answer choices of the question");
    size_t n = (size_t)(at - q->text);
    while (n && strchr(" \t\r\n", q->text[n - 1]))
        n--;
    q->text = arena_strndup(r->arena, q->text, n);
    if (!q->text)
        return NOMEM(e, n + 1, "a question");
    if (medqa_blank(q->text))
        FAIL(e, ERR_DATA, "the question is empty");
    return 0;
}

/* label is a letter, or a list of one letter. */
static int form_label(struct medqa_fields *r, struct medqa_question *q, struct err *e)
{
    struct medqa_field *f = &r->f[FIELD_LABEL];
    struct jscan_item it = {.key = NULL};
    struct jscan *j = &r->scans->option;
    if (f->n && f->s[0] == '[' && !f->twice) {
        jscan_set(j, f->s, f->n);
        TRY(jscan_open(j, '[', e));
        int more = jscan_next(j, &it, e);
        TRY(more);
        struct medqa_field one = {.s = it.value, .n = more ? it.n : 0};
        more = more ? jscan_next(j, &it, e) : 0;
        TRY(more);
        if (!one.n || more)
            FAIL(e, ERR_DATA, "'label' has %s letters, expected one", one.n ? "several" : "no");
        *f = one;
    }
    return medqa_key_from_0(r, q, FIELD_LABEL, e);
}

int medqa_read_medxpertqa(struct medqa_fields *r, struct medqa_question *q, struct err *e)
{
    const struct medqa_field *images = &r->f[FIELD_IMAGES];
    if (medqa_there(images) && !(images->n == 2 && !memcmp(images->s, "[]", 2)))
        FAIL(e, ERR_DATA, "the question needs pictures, which this program does not read");
    TRY(medqa_question_text(r, FIELD_QUESTION, &q->text, e));
    TRY(medqa_options(r, q, FIELD_OPTIONS, e));
    TRY(form_cut_choices(r, q, e));
    return form_label(r, q, e);
}
