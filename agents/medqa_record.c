#include "medqa_record.h"

#include <stdio.h>
#include <string.h>

#include "jdoc.h"
#include "sha256.h"
#include "str.h"

/* ---- fields ---------------------------------------------------------------------------------- */

enum {
    FIELD_QUESTION,
    FIELD_OPTIONS,
    FIELD_ANSWER_IDX,
    FIELD_ANSWER,
    FIELD_META,
    FIELD_SENT1,
    FIELD_SENT2,
    FIELD_LABEL,
    FIELD_ENDING, /* ending0 and the others after it */
    FIELDS = FIELD_ENDING + MEDQA_OPTIONS,
};
static const char *const field_names[FIELD_ENDING] = {
    "question", "options", "answer_idx", "answer", "meta_info", "sent1", "sent2", "label"};

struct field { /* a value, as the file's bytes; n == 0: absent */
    const char *s;
    size_t n;
    bool twice;
};

struct record {
    struct medqa_scans *scans;
    struct arena *arena;
    struct field f[FIELDS];
    bool too_many; /* an ending beyond the last that there may be */
};

void medqa_scans_free(struct medqa_scans *s)
{
    jscan_free(&s->record);
    jscan_free(&s->options);
    jscan_free(&s->option);
}

bool medqa_blank(const char *s)
{
    return s[strspn(s, " \t\r\n")] == 0;
}

static bool field_null(const struct field *f)
{
    return f->n == 4 && !memcmp(f->s, "null", 4);
}

static bool field_there(const struct field *f)
{
    return f->n && !field_null(f);
}

/* Bytes of s to show in a message: at most `most`, whole characters. */
static int shown(const char *s, size_t most)
{
    size_t n = strlen(s);
    return (int)utf8_complete(s, n < most ? n : most);
}

static int record_field(struct record *r, const char *key, size_t n)
{
    for (int i = 0; i < FIELD_ENDING; i++)
        if (n == strlen(field_names[i]) && !memcmp(key, field_names[i], n))
            return i;
    if (n < 7 || n > 10 || memcmp(key, "ending", 6) != 0)
        return -1;
    int number = 0;
    for (size_t i = 6; i < n; i++) {
        if (key[i] < '0' || key[i] > '9' || (i == 6 && key[i] == '0' && n > 7))
            return -1;
        number = 10 * number + key[i] - '0';
    }
    if (number < MEDQA_OPTIONS)
        return FIELD_ENDING + number;
    r->too_many = true;
    return -1;
}

static int record_member(struct record *r, const struct jscan_item *it, struct err *e)
{
    json_t *key = NULL;
    int i = -1;
    if (it->key_len > 64)
        return 0;
    if (memchr(it->key, '\\', it->key_len)) { /* a key may be written with escapes */
        struct err why = {.code = 0};
        int rc = jdoc_value(it->key - 1, it->key_len + 2, &key, &why);
        if (rc == ERR_NOMEM)
            FAIL(e, rc, "%s", why.msg);
        if (rc == 0)
            i = record_field(r, json_string_value(key), json_string_length(key));
        json_decref(key);
    } else {
        i = record_field(r, it->key, it->key_len);
    }
    if (i >= 0) {
        r->f[i].twice = r->f[i].n != 0;
        r->f[i].s = it->value;
        r->f[i].n = it->n;
    }
    return 0;
}

static int record_members(struct record *r, const char *s, size_t n, struct err *e)
{
    struct jscan *j = &r->scans->record;
    struct jscan_item it = {.key = NULL};
    int more;
    size_t at = 0;
    while (at < n && s[at] && strchr(" \t\r\n", s[at]))
        at++;
    if (at < n && s[at] && s[at] != '{')
        FAIL(e, ERR_DATA, "not a JSON object");
    jscan_set(j, s, n);
    TRY(jscan_open(j, '{', e));
    while ((more = jscan_next(j, &it, e)) > 0)
        TRY(record_member(r, &it, e));
    TRY(more);
    return jscan_end(j, e);
}

/* The value as a document; strict. name is for messages. */
static int field_load(const struct field *f, const char *name, json_t **out, struct err *e)
{
    if (!f->n)
        FAIL(e, ERR_DATA, "key '%s' is missing", name);
    if (f->twice)
        FAIL(e, ERR_DATA, "key '%s' stands twice", name);
    if (f->n > MEDQA_TEXT)
        FAIL(e, ERR_DATA, "'%s' has %zu bytes, the limit is %zu", name, f->n, MEDQA_TEXT);
    if (memchr(f->s, 0, f->n))
        FAIL(e, ERR_DATA, "'%s' holds a NUL byte; remove it", name);
    int rc = jdoc_value(f->s, f->n, out, e);
    return rc < 0 ? err_wrap(e, rc, "'%s'", name) : 0;
}

static int field_text(const struct field *f, const char *name, struct arena *a, const char **out,
                      struct err *e)
{
    json_t *doc = NULL;
    char *copy = NULL;
    int rc;
    TRY_DONE(field_load(f, name, &doc, e));
    size_t n = json_string_length(doc);
    if (!json_is_string(doc))
        rc = err_set(e, ERR_DATA, "'%s' is %s, expected a string", name,
                     jdoc_type_name(json_typeof(doc)));
    else if (memchr(json_string_value(doc), 0, n))
        rc = err_set(e, ERR_DATA, "'%s' holds a NUL character (\\u0000); remove it", name);
    else if (!(copy = arena_strndup(a, json_string_value(doc), n)))
        rc = NOMEM(e, n + 1, "a question");
    if (!rc)
        *out = copy;
done:
    json_decref(doc);
    return rc;
}

/* ---- letters and texts ----------------------------------------------------------------------- */

/* "B", "b", "B.", "(B)", "B:": the letter's place in the alphabet; -1 = another text. */
static int letter_of(const char *s, size_t n)
{
    while (n && strchr(" \t\r\n(", *s) && *s)
        s++, n--;
    while (n && strchr(" \t\r\n).:", s[n - 1]) && s[n - 1])
        n--;
    char c = n == 1 ? *s : 0;
    return c >= 'A' && c <= 'Z' ? c - 'A' : c >= 'a' && c <= 'z' ? c - 'a' : -1;
}

/* Cuts white space and quotation marks off both ends. */
static size_t bare(const char **s)
{
    *s += strspn(*s, " \t\r\n\"");
    size_t n = strlen(*s);
    while (n && strchr(" \t\r\n\"", (*s)[n - 1]))
        n--;
    return n;
}

static bool same_text(const char *a, const char *b)
{
    size_t n = bare(&a), m = bare(&b);
    return n == m && !memcmp(a, b, n);
}

/* ---- options --------------------------------------------------------------------------------- */

static int option_set(struct record *r, struct medqa_question *q, int i, const struct field *f,
                      struct err *e)
{
    char name[24];
    if (i >= MEDQA_OPTIONS)
        FAIL(e, ERR_DATA, "an option %c, expected 2 to %d options", 'A' + i, MEDQA_OPTIONS);
    if (field_null(f))
        return 0;
    snprintf(name, sizeof name, "option %c", 'A' + i);
    if (q->option[i])
        FAIL(e, ERR_DATA, "%s stands twice", name);
    TRY(field_text(f, name, r->arena, &q->option[i], e));
    if (medqa_blank(q->option[i]))
        FAIL(e, ERR_DATA, "%s is empty", name);
    return 0;
}

/* {"A": text, ..} */
static int options_object(struct record *r, struct medqa_question *q, struct err *e)
{
    struct jscan *j = &r->scans->options;
    struct jscan_item it = {.key = NULL};
    int more;
    TRY(jscan_open(j, '{', e));
    while ((more = jscan_next(j, &it, e)) > 0) {
        struct field f = {.s = it.value, .n = it.n};
        int i = letter_of(it.key, it.key_len);
        if (i < 0)
            FAIL(e, ERR_DATA, "an option is named '%.*s', expected a letter",
                 (int)utf8_complete(it.key, it.key_len < 20 ? it.key_len : 20), it.key);
        TRY(option_set(r, q, i, &f, e));
    }
    return more;
}

/* {"key": "A", "value": text} */
static int option_pair(struct record *r, struct medqa_question *q, int at,
                       const struct jscan_item *item, struct err *e)
{
    struct jscan *j = &r->scans->option;
    struct jscan_item it = {.key = NULL};
    struct field key = {.n = 0}, value = {.n = 0};
    const char *letter = NULL;
    int more;
    jscan_set(j, item->value, item->n);
    TRY(jscan_open(j, '{', e));
    while ((more = jscan_next(j, &it, e)) > 0) {
        struct field *f = jscan_key(&it, "key") ? &key : jscan_key(&it, "value") ? &value : NULL;
        if (f)
            *f = (struct field){.s = it.value, .n = it.n, .twice = f->n != 0};
    }
    TRY(more);
    if (!key.n || !value.n)
        FAIL(e, ERR_DATA, "option %d has no '%s'", at + 1, key.n ? "value" : "key");
    TRY(field_text(&key, "key", r->arena, &letter, e));
    int i = letter_of(letter, strlen(letter));
    if (i < 0)
        FAIL(e, ERR_DATA, "the key of option %d is '%.*s', expected a letter", at + 1,
             shown(letter, 20), letter);
    return option_set(r, q, i, &value, e);
}

/* [text, ..] or [{"key": "A", "value": text}, ..] */
static int options_array(struct record *r, struct medqa_question *q, struct err *e)
{
    struct jscan *j = &r->scans->options;
    struct jscan_item it = {.key = NULL};
    int more, at = 0, pairs = 0;
    TRY(jscan_open(j, '[', e));
    for (; (more = jscan_next(j, &it, e)) > 0; at++) {
        struct field f = {.s = it.value, .n = it.n};
        bool pair = it.value[0] == '{';
        pairs += pair;
        if (pair != (pairs > 0) || (pair && pairs != at + 1))
            FAIL(e, ERR_DATA, "options are texts and objects, expected one form for all");
        if (at >= MEDQA_OPTIONS && !field_null(&f))
            FAIL(e, ERR_DATA, "more than %d options", MEDQA_OPTIONS);
        if (pair)
            TRY(option_pair(r, q, at, &it, e));
        else if (at < MEDQA_OPTIONS)
            TRY(option_set(r, q, at, &f, e));
    }
    return more;
}

/* The options that are there must be the first letters of the alphabet. */
static int options_count(struct medqa_question *q, struct err *e)
{
    int n = 0, last = -1;
    for (int i = 0; i < MEDQA_OPTIONS; i++)
        if (q->option[i]) {
            n++;
            last = i;
        }
    if (n < 2)
        FAIL(e, ERR_DATA, "%d options, expected 2 to %d", n, MEDQA_OPTIONS);
    for (int i = 0; i <= last; i++)
        if (!q->option[i])
            FAIL(e, ERR_DATA, "%d options, but none is named %c", n, 'A' + i);
    q->n_options = n;
    return 0;
}

/* ---- the key --------------------------------------------------------------------------------- */

struct index { /* the value of answer_idx or label */
    bool given;
    int letter;        /* -1 = a number */
    json_int_t number; /* -1 = a letter */
    char shown[32];
};

static int index_string(const char *s, const char *name, struct index *x, struct err *e)
{
    size_t n = bare(&s);
    snprintf(x->shown, sizeof x->shown, "'%.*s'", (int)utf8_complete(s, n < 20 ? n : 20), s);
    x->letter = letter_of(s, n);
    for (size_t i = 0; x->letter < 0 && i < n; i++) {
        if (s[i] < '0' || s[i] > '9' || n > 4)
            FAIL(e, ERR_DATA, "%s is %s, expected a letter", name, x->shown);
        x->number = (i ? 10 * x->number : 0) + (s[i] - '0');
    }
    x->given = n > 0;
    return 0;
}

static int index_read(const struct field *f, const char *name, struct index *out, struct err *e)
{
    struct index x = {.letter = -1, .number = -1};
    json_t *doc = NULL;
    int rc = 0;
    if (!field_there(f))
        goto done;
    TRY_DONE(field_load(f, name, &doc, e));
    if (json_is_string(doc) && strlen(json_string_value(doc)) != json_string_length(doc)) {
        rc = err_set(e, ERR_DATA, "'%s' holds a NUL character (\\u0000); remove it", name);
    } else if (json_is_string(doc)) {
        TRY_DONE(index_string(json_string_value(doc), name, &x, e));
    } else if (json_is_integer(doc) ||
               (json_is_real(doc) && json_real_value(doc) >= 0 && json_real_value(doc) < 1000 &&
                json_real_value(doc) == (int)json_real_value(doc))) {
        x.given = true;
        x.number =
            json_is_integer(doc) ? json_integer_value(doc) : (json_int_t)json_real_value(doc);
        snprintf(x.shown, sizeof x.shown, "%lld", (long long)x.number);
    } else {
        rc = err_set(e, ERR_DATA, "'%s' is %s, expected a letter or a whole number", name,
                     jdoc_type_name(json_typeof(doc)));
    }
done:
    json_decref(doc);
    if (!rc)
        *out = x;
    return rc;
}

/* The one option that the text names, by its own text or by its letter. */
static int key_of_text(const struct medqa_question *q, const char *answer, int *out, struct err *e)
{
    int letter = letter_of(answer, strlen(answer)), at = -1, n = 0;
    for (int i = 0; i < q->n_options; i++)
        if (same_text(answer, q->option[i])) {
            at = i;
            n++;
        }
    if (letter >= q->n_options)
        letter = -1;
    if (n > 1)
        FAIL(e, ERR_DATA, "answer text '%.*s' is the text of %d options", shown(answer, 40), answer,
             n);
    if (n == 1 && letter >= 0 && letter != at)
        FAIL(e, ERR_DATA, "answer '%.*s' is the letter of one option and the text of another",
             shown(answer, 40), answer);
    if (n == 0 && letter < 0)
        FAIL(e, ERR_DATA, "answer text '%.*s' is the text of no option", shown(answer, 40), answer);
    *out = n ? at : letter;
    return 0;
}

static int key_of_letter(const struct medqa_question *q, const struct index *x, const char *answer,
                         int *out, struct err *e)
{
    if (x->letter >= q->n_options)
        FAIL(e, ERR_DATA, "answer_idx is %s, expected A to %c", x->shown, 'A' + q->n_options - 1);
    if (answer && !same_text(answer, q->option[x->letter]) &&
        letter_of(answer, strlen(answer)) != x->letter)
        FAIL(e, ERR_DATA, "answer text '%.*s' is not the text of option %c", shown(answer, 40),
             answer, 'A' + x->letter);
    *out = x->letter;
    return 0;
}

static int record_key(const struct record *r, struct medqa_question *q, struct err *e)
{
    const struct field *f = &r->f[FIELD_ANSWER];
    struct index x = {.given = false};
    const char *answer = NULL;
    TRY(index_read(&r->f[FIELD_ANSWER_IDX], "answer_idx", &x, e));
    if (f->n && f->s[0] == '"') {
        TRY(field_text(f, "answer", r->arena, &answer, e));
        if (medqa_blank(answer))
            answer = NULL;
    }
    if (x.given && x.letter >= 0)
        return key_of_letter(q, &x, answer, &q->key, e);
    if (!answer && !x.given)
        FAIL(e, ERR_DATA, "key 'answer_idx' is missing");
    if (!answer)
        FAIL(e, ERR_DATA,
             "answer_idx is %s without a text in 'answer': whether it counts from 0 or from 1 is "
             "not known; write a letter",
             x.shown);
    TRY(key_of_text(q, answer, &q->key, e));
    if (x.given && x.number != q->key && x.number != q->key + 1)
        FAIL(e, ERR_DATA, "answer_idx is %s, but the answer is option %c", x.shown, 'A' + q->key);
    return 0;
}

/* ---- the two forms --------------------------------------------------------------------------- */

static int record_official(struct record *r, struct medqa_question *q, struct err *e)
{
    const struct field *f = &r->f[FIELD_OPTIONS];
    json_t *doc = NULL;
    TRY(field_text(&r->f[FIELD_QUESTION], "question", r->arena, &q->text, e));
    if (medqa_blank(q->text))
        FAIL(e, ERR_DATA, "the question is empty");
    if (f->twice || !f->n)
        return field_load(f, "options", &doc, e); /* says so */
    if (f->n > MEDQA_OPTIONS * MEDQA_TEXT)
        FAIL(e, ERR_DATA, "'options' has %zu bytes, the limit is %zu", f->n,
             MEDQA_OPTIONS * MEDQA_TEXT);
    jscan_set(&r->scans->options, f->s, f->n);
    if (f->s[0] == '{')
        TRY(options_object(r, q, e));
    else if (f->s[0] == '[')
        TRY(options_array(r, q, e));
    else
        FAIL(e, ERR_DATA, "'options' is no object and no array");
    TRY(options_count(q, e));
    return record_key(r, q, e);
}

/* {sent1, sent2, ending0.., label}: the form of the question sets for fine-tuning. */
static int record_hf(struct record *r, struct medqa_question *q, struct err *e)
{
    const char *more = "";
    struct index x = {.given = false};
    TRY(field_text(&r->f[FIELD_SENT1], "sent1", r->arena, &q->text, e));
    if (medqa_blank(q->text))
        FAIL(e, ERR_DATA, "the question is empty");
    if (field_there(&r->f[FIELD_SENT2]))
        TRY(field_text(&r->f[FIELD_SENT2], "sent2", r->arena, &more, e));
    if (!medqa_blank(more)) {
        const char *first = q->text;
        q->text = arena_printf(r->arena, "%s %s", first, more);
        if (!q->text)
            return NOMEM(e, strlen(first) + strlen(more), "a question");
    }
    if (r->too_many)
        FAIL(e, ERR_DATA, "more than %d options", MEDQA_OPTIONS);
    for (int i = 0; i < MEDQA_OPTIONS; i++)
        if (r->f[FIELD_ENDING + i].n)
            TRY(option_set(r, q, i, &r->f[FIELD_ENDING + i], e));
    TRY(options_count(q, e));
    TRY(index_read(&r->f[FIELD_LABEL], "label", &x, e));
    if (!x.given)
        FAIL(e, ERR_DATA, "key 'label' is missing");
    if (x.letter >= 0)
        x.number = x.letter;
    if (x.number < 0 || x.number >= q->n_options)
        FAIL(e, ERR_DATA, "'label' is %s, expected 0 to %d", x.shown, q->n_options - 1);
    q->key = (int)x.number;
    return 0;
}

/* A step that cannot be used is not known; it rejects nothing. */
static int record_step(const struct record *r, struct medqa_question *q, struct err *e)
{
    const struct field *f = &r->f[FIELD_META];
    struct err why = {.code = 0};
    const char *step = NULL;
    if (!f->n || f->s[0] != '"' || f->n > 6 * MEDQA_STEP + 2)
        return 0;
    int rc = field_text(f, "meta_info", r->arena, &step, &why);
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

int medqa_record_read(struct medqa_scans *scans, struct arena *arena, const char *s, size_t n,
                      struct medqa_question *q, struct err *e)
{
    struct record r = {.scans = scans, .arena = arena};
    TRY(record_members(&r, s, n, e));
    if (r.f[FIELD_SENT1].n && !r.f[FIELD_OPTIONS].n)
        TRY(record_hf(&r, q, e));
    else
        TRY(record_official(&r, q, e));
    return record_step(&r, q, e);
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
