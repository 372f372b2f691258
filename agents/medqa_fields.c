#include "medqa_fields.h"

#include <stdio.h>
#include <string.h>

#include "str.h"

/* ---- fields ---------------------------------------------------------------------------------- */

static const char *const field_names[FIELD_NAMED] = {
#define X(name, text) [FIELD_##name] = text,
    MEDQA_FIELDS(X)
#undef X
};

const char *medqa_field_name(enum medqa_field_index i)
{
    return field_names[i];
}

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

bool medqa_null(const struct medqa_field *f)
{
    return f->n == 4 && !memcmp(f->s, "null", 4);
}

bool medqa_there(const struct medqa_field *f)
{
    return f->n && !medqa_null(f);
}

int medqa_shown(const char *s, size_t most)
{
    size_t n = strlen(s);
    return (int)utf8_complete(s, n < most ? n : most);
}

/* ending0, ending1, ..: the option's place; -1 = another key. */
static int field_ending(const char *key, size_t n)
{
    int number = 0;
    if (n < 7 || n > 10 || memcmp(key, "ending", 6) != 0)
        return -1;
    for (size_t i = 6; i < n; i++) {
        if (key[i] < '0' || key[i] > '9' || (i == 6 && key[i] == '0' && n > 7))
            return -1;
        number = 10 * number + key[i] - '0';
    }
    return number;
}

static int record_field(struct medqa_fields *r, const char *key, size_t n)
{
    for (int i = 0; i < FIELD_NAMED; i++)
        if (n == strlen(field_names[i]) && !memcmp(key, field_names[i], n))
            return i;
    if (n == 1 && key[0] >= 'A' && key[0] < 'A' + MEDQA_OPTIONS)
        return FIELD_LETTER + key[0] - 'A';
    if (n == 3 && key[0] == 'o' && key[1] == 'p' && key[2] >= 'a' && key[2] < 'a' + MEDQA_OPTIONS)
        return FIELD_OP + key[2] - 'a';
    int number = field_ending(key, n);
    if (number < MEDQA_OPTIONS)
        return number < 0 ? -1 : FIELD_ENDING + number;
    r->too_many = true;
    return -1;
}

static int record_member(struct medqa_fields *r, const struct jscan_item *it, struct err *e)
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

int medqa_fields_find(struct medqa_fields *r, const char *s, size_t n, struct err *e)
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

int medqa_load(const struct medqa_field *f, const char *name, json_t **out, struct err *e)
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

int medqa_text(const struct medqa_field *f, const char *name, struct arena *a, const char **out,
               struct err *e)
{
    json_t *doc = NULL;
    char *copy = NULL;
    int rc;
    TRY_DONE(medqa_load(f, name, &doc, e));
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

int medqa_question_text(struct medqa_fields *r, enum medqa_field_index i, const char **out,
                        struct err *e)
{
    TRY(medqa_text(&r->f[i], field_names[i], r->arena, out, e));
    if (medqa_blank(*out))
        FAIL(e, ERR_DATA, "the question is empty");
    return 0;
}

/* ---- letters and texts ----------------------------------------------------------------------- */

int medqa_letter(const char *s, size_t n)
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

bool medqa_same(const char *a, const char *b)
{
    size_t n = bare(&a), m = bare(&b);
    return n == m && !memcmp(a, b, n);
}

/* ---- options --------------------------------------------------------------------------------- */

int medqa_option(struct medqa_fields *r, struct medqa_question *q, int i,
                 const struct medqa_field *f, struct err *e)
{
    char name[24];
    if (i >= MEDQA_OPTIONS)
        FAIL(e, ERR_DATA, "an option %c, expected 2 to %d options", 'A' + i, MEDQA_OPTIONS);
    if (medqa_null(f))
        return 0;
    snprintf(name, sizeof name, "option %c", 'A' + i);
    if (q->option[i])
        FAIL(e, ERR_DATA, "%s stands twice", name);
    TRY(medqa_text(f, name, r->arena, &q->option[i], e));
    if (medqa_blank(q->option[i]))
        FAIL(e, ERR_DATA, "%s is empty", name);
    return 0;
}

/* {"A": text, ..} */
static int medqa_options_object(struct medqa_fields *r, struct medqa_question *q, struct err *e)
{
    struct jscan *j = &r->scans->options;
    struct jscan_item it = {.key = NULL};
    int more;
    TRY(jscan_open(j, '{', e));
    while ((more = jscan_next(j, &it, e)) > 0) {
        struct medqa_field f = {.s = it.value, .n = it.n};
        int i = medqa_letter(it.key, it.key_len);
        if (i < 0)
            FAIL(e, ERR_DATA, "an option is named '%.*s', expected a letter",
                 (int)utf8_complete(it.key, it.key_len < 20 ? it.key_len : 20), it.key);
        TRY(medqa_option(r, q, i, &f, e));
    }
    return more;
}

/* {"key": "A", "value": text} or {"letter": "A", "content": text} */
static int option_pair(struct medqa_fields *r, struct medqa_question *q, int at,
                       const struct jscan_item *item, struct err *e)
{
    struct jscan *j = &r->scans->option;
    struct jscan_item it = {.key = NULL};
    struct medqa_field key = {.n = 0}, value = {.n = 0};
    const char *letter = NULL;
    int more;
    jscan_set(j, item->value, item->n);
    TRY(jscan_open(j, '{', e));
    while ((more = jscan_next(j, &it, e)) > 0) {
        struct medqa_field *f = jscan_key(&it, "key") || jscan_key(&it, "letter")      ? &key
                                : jscan_key(&it, "value") || jscan_key(&it, "content") ? &value
                                                                                       : NULL;
        if (f)
            *f = (struct medqa_field){.s = it.value, .n = it.n, .twice = f->n != 0};
    }
    TRY(more);
    if (!key.n || !value.n)
        FAIL(e, ERR_DATA, "option %d has no '%s'", at + 1, key.n ? "value" : "key");
    TRY(medqa_text(&key, "key", r->arena, &letter, e));
    int i = medqa_letter(letter, strlen(letter));
    if (i < 0)
        FAIL(e, ERR_DATA, "the key of option %d is '%.*s', expected a letter", at + 1,
             medqa_shown(letter, 20), letter);
    return medqa_option(r, q, i, &value, e);
}

/* [text, ..] or [{"key": "A", "value": text}, ..] */
static int medqa_options_array(struct medqa_fields *r, struct medqa_question *q, struct err *e)
{
    struct jscan *j = &r->scans->options;
    struct jscan_item it = {.key = NULL};
    int more, at = 0, pairs = 0;
    TRY(jscan_open(j, '[', e));
    for (; (more = jscan_next(j, &it, e)) > 0; at++) {
        struct medqa_field f = {.s = it.value, .n = it.n};
        bool pair = it.value[0] == '{';
        pairs += pair;
        if (pair != (pairs > 0) || (pair && pairs != at + 1))
            FAIL(e, ERR_DATA, "options are texts and objects, expected one form for all");
        if (at >= MEDQA_OPTIONS && !medqa_null(&f))
            FAIL(e, ERR_DATA, "more than %d options", MEDQA_OPTIONS);
        if (pair)
            TRY(option_pair(r, q, at, &it, e));
        else if (at < MEDQA_OPTIONS)
            TRY(medqa_option(r, q, at, &f, e));
    }
    return more;
}

/* The options that are there must be the first letters of the alphabet. */
static int medqa_options_count(struct medqa_question *q, struct err *e)
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

int medqa_options_row(struct medqa_fields *r, struct medqa_question *q,
                      enum medqa_field_index first, struct err *e)
{
    if (r->too_many)
        FAIL(e, ERR_DATA, "more than %d options", MEDQA_OPTIONS);
    for (int i = 0; i < MEDQA_OPTIONS; i++)
        if (r->f[(int)first + i].n)
            TRY(medqa_option(r, q, i, &r->f[(int)first + i], e));
    return medqa_options_count(q, e);
}

int medqa_options(struct medqa_fields *r, struct medqa_question *q, enum medqa_field_index i,
                  struct err *e)
{
    const struct medqa_field *f = &r->f[i];
    json_t *doc = NULL;
    if (f->twice || !f->n)
        return medqa_load(f, field_names[i], &doc, e); /* says so */
    if (f->n > MEDQA_OPTIONS * MEDQA_TEXT)
        FAIL(e, ERR_DATA, "'%s' has %zu bytes, the limit is %zu", field_names[i], f->n,
             MEDQA_OPTIONS * MEDQA_TEXT);
    jscan_set(&r->scans->options, f->s, f->n);
    if (f->s[0] == '{')
        TRY(medqa_options_object(r, q, e));
    else if (f->s[0] == '[')
        TRY(medqa_options_array(r, q, e));
    else
        FAIL(e, ERR_DATA, "'%s' is no object and no array", field_names[i]);
    return medqa_options_count(q, e);
}

/* ---- the key --------------------------------------------------------------------------------- */

static int index_string(const char *s, const char *name, struct medqa_index *x, struct err *e)
{
    size_t n = bare(&s);
    snprintf(x->shown, sizeof x->shown, "'%.*s'", (int)utf8_complete(s, n < 20 ? n : 20), s);
    x->letter = medqa_letter(s, n);
    for (size_t i = 0; x->letter < 0 && i < n; i++) {
        if (s[i] < '0' || s[i] > '9' || n > 4)
            FAIL(e, ERR_DATA, "%s is %s, expected a letter", name, x->shown);
        x->number = (i ? 10 * x->number : 0) + (s[i] - '0');
    }
    x->given = n > 0;
    return 0;
}

int medqa_index_read(const struct medqa_field *f, const char *name, struct medqa_index *out,
                     struct err *e)
{
    struct medqa_index x = {.letter = -1, .number = -1};
    json_t *doc = NULL;
    int rc = 0;
    if (!medqa_there(f))
        goto done;
    TRY_DONE(medqa_load(f, name, &doc, e));
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

int medqa_key_from_0(struct medqa_fields *r, struct medqa_question *q, enum medqa_field_index i,
                     struct err *e)
{
    struct medqa_index x = {.given = false};
    TRY(medqa_index_read(&r->f[i], field_names[i], &x, e));
    if (!x.given)
        FAIL(e, ERR_DATA, "key '%s' is missing", field_names[i]);
    if (x.letter >= 0)
        x.number = x.letter;
    if (x.number < 0 || x.number >= q->n_options)
        FAIL(e, ERR_DATA, "'%s' is %s, expected 0 to %d", field_names[i], x.shown,
             q->n_options - 1);
    q->key = (int)x.number;
    return 0;
}

/* The one option that the text names, by its own text or by its letter. */
static int key_of_text(const struct medqa_question *q, const char *answer, int *out, struct err *e)
{
    int letter = medqa_letter(answer, strlen(answer)), at = -1, n = 0;
    for (int i = 0; i < q->n_options; i++)
        if (medqa_same(answer, q->option[i])) {
            at = i;
            n++;
        }
    if (letter >= q->n_options)
        letter = -1;
    if (n > 1)
        FAIL(e, ERR_DATA, "answer text '%.*s' is the text of %d options", medqa_shown(answer, 40),
             answer, n);
    if (n == 1 && letter >= 0 && letter != at)
        FAIL(e, ERR_DATA, "answer '%.*s' is the letter of one option and the text of another",
             medqa_shown(answer, 40), answer);
    if (n == 0 && letter < 0)
        FAIL(e, ERR_DATA, "answer text '%.*s' is the text of no option", medqa_shown(answer, 40),
             answer);
    *out = n ? at : letter;
    return 0;
}

static int key_of_letter(const struct medqa_question *q, const struct medqa_index *x,
                         const char *answer, int *out, struct err *e)
{
    if (x->letter >= q->n_options)
        FAIL(e, ERR_DATA, "answer_idx is %s, expected A to %c", x->shown, 'A' + q->n_options - 1);
    if (answer && !medqa_same(answer, q->option[x->letter]) &&
        medqa_letter(answer, strlen(answer)) != x->letter)
        FAIL(e, ERR_DATA, "answer text '%.*s' is not the text of option %c",
             medqa_shown(answer, 40), answer, 'A' + x->letter);
    *out = x->letter;
    return 0;
}

int medqa_key(const struct medqa_fields *r, struct medqa_question *q, struct err *e)
{
    const struct medqa_field *f = &r->f[FIELD_ANSWER];
    struct medqa_index x = {.given = false};
    const char *answer = NULL;
    TRY(medqa_index_read(&r->f[FIELD_ANSWER_IDX], "answer_idx", &x, e));
    if (f->n && f->s[0] == '"') {
        TRY(medqa_text(f, "answer", r->arena, &answer, e));
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
