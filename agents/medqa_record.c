#include "medqa_record.h"

#include <string.h>

#include "sha256.h"
#include "str.h"

/* {question, options, answer_idx, answer} */
static int record_official(struct medqa_fields *r, struct medqa_question *q, struct err *e)
{
    TRY(medqa_question_text(r, FIELD_QUESTION, &q->text, e));
    TRY(medqa_options(r, q, FIELD_OPTIONS, e));
    return medqa_key(r, q, e);
}

static bool record_is_hf(const struct medqa_fields *r)
{
    return r->f[FIELD_SENT1].n && !r->f[FIELD_OPTIONS].n;
}

/* {sent1, sent2, ending0.., label}: the form of the question sets for fine-tuning. */
static int record_hf(struct medqa_fields *r, struct medqa_question *q, struct err *e)
{
    const char *more = "";
    TRY(medqa_question_text(r, FIELD_SENT1, &q->text, e));
    if (medqa_there(&r->f[FIELD_SENT2]))
        TRY(medqa_text(&r->f[FIELD_SENT2], "sent2", r->arena, &more, e));
    if (!medqa_blank(more)) {
        const char *first = q->text;
        q->text = arena_printf(r->arena, "%s %s", first, more);
        if (!q->text)
            return NOMEM(e, strlen(first) + strlen(more), "a question");
    }
    TRY(medqa_options_row(r, q, FIELD_ENDING, e));
    return medqa_key_from_0(r, q, FIELD_LABEL, e);
}

const struct medqa_form medqa_form_rows[] = {
    {"medqa-hf", "MedQA as sent1, ending0, .., label", record_is_hf, record_hf, FIELD_META,
     MEDQA_BASE_OPEN},
    {"medmcqa", "MedMCQA: opa to opd, cop", medqa_is_medmcqa, medqa_read_medmcqa,
     FIELD_SUBJECT_NAME, MEDQA_BASE_OPEN},
    {"medmcqa-from-0", "the same; cop counts from 0", NULL, medqa_read_medmcqa, FIELD_SUBJECT_NAME,
     0},
    {"medmcqa-from-1", "the same; cop counts from 1", NULL, medqa_read_medmcqa, FIELD_SUBJECT_NAME,
     1},
    {"pubmedqa", "PubMedQA: contexts, final_decision", medqa_is_pubmedqa, medqa_read_pubmedqa, -1,
     MEDQA_BASE_OPEN},
    {"mmlu", "MMLU: choices and answer, or columns A to D", medqa_is_mmlu, medqa_read_mmlu,
     FIELD_SUBJECT, MEDQA_BASE_OPEN},
    {"medbullets", "MedBullets: opa to opd or ope, answer_idx", medqa_is_medbullets,
     medqa_read_medbullets, FIELD_META, MEDQA_BASE_OPEN},
    {"medxpertqa", "MedXpertQA: options, label", medqa_is_medxpertqa, medqa_read_medxpertqa,
     FIELD_MEDICAL_TASK, MEDQA_BASE_OPEN},
    {"medqa", "MedQA: options, answer_idx", NULL, record_official, FIELD_META, MEDQA_BASE_OPEN},
};
const int medqa_form_count = (int)(sizeof medqa_form_rows / sizeof medqa_form_rows[0]);

/* A group that cannot be used is not known; it rejects nothing. */
static int record_group(const struct medqa_fields *r, int group, struct medqa_question *q,
                        struct err *e)
{
    const struct medqa_field *f = &r->f[group < 0 ? 0 : group];
    struct err why = {.code = 0};
    const char *step = NULL;
    if (group < 0 || !f->n || f->s[0] != '"' || f->n > 6 * MEDQA_STEP + 2)
        return 0;
    int rc = medqa_text(f, "the group", r->arena, &step, &why);
    if (rc == ERR_NOMEM)
        FAIL(e, rc, "%s", why.msg);
    if (rc < 0 || strlen(step) > MEDQA_STEP)
        return 0;
    for (const char *p = step; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            return 0;
    q->step = step;
    return 0;
}

/* The origin of a variant. A value that is no id is not known; it rejects nothing. */
static int record_origin(const struct medqa_fields *r, struct medqa_question *q, struct err *e)
{
    const struct medqa_field *f = &r->f[FIELD_OF];
    if (f->twice || f->n != 18 || f->s[0] != '"' || f->s[17] != '"')
        return 0;
    for (int i = 1; i < 17; i++)
        if (!strchr("0123456789abcdef", f->s[i]))
            return 0;
    q->of = arena_strndup(r->arena, f->s + 1, 16);
    return q->of ? 0 : NOMEM(e, 17, "an id");
}

static const struct medqa_form *record_form(const struct medqa_fields *r)
{
    int i = 0;
    while (i < medqa_form_count - 1 && !(medqa_form_rows[i].is && medqa_form_rows[i].is(r)))
        i++;
    return &medqa_form_rows[i];
}

int medqa_record_read(struct medqa_reading *rd, struct arena *arena, const char *s, size_t n,
                      struct medqa_question *q, const struct medqa_form **form, struct err *e)
{
    struct medqa_fields r = {.scans = &rd->scans, .arena = arena, .base = &rd->base};
    TRY(medqa_fields_find(&r, s, n, e));
    const struct medqa_form *row = rd->form ? rd->form : record_form(&r);
    TRY(row->read(&r, q, e));
    *form = row;
    TRY(record_origin(&r, q, e));
    return record_group(&r, row->group, q, e);
}

int medqa_record_id(struct medqa_question *q, struct err *e)
{
    struct str s = STR_INIT;
    char hex[65];
    int rc;
    str_add(&s, q->text, strlen(q->text) + 1);
    for (int i = 0; i < q->n_options; i++)
        str_add(&s, q->option[i], strlen(q->option[i]) + 1);
    str_addc(&s, q->key < 0 ? '-' : (char)('A' + q->key));
    TRY_DONE(str_ok(&s, "a question's id", e));
    TRY_DONE(sha256_hex(s.s, s.len, hex, e));
    memcpy(q->id, hex, 16);
    q->id[16] = 0;
done:
    str_free(&s);
    return rc;
}
