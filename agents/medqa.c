#include "medqa.h"

#include <stdio.h>
#include <string.h>

#include "jdoc.h"
#include "sha256.h"
#include "str.h"
#include "zio.h"

/* ---- one record ---------------------------------------------------------------------------------- */

/* A copy in the arena. JSON strings come without NUL bytes (the parser refuses \u0000). */
static int medqa_copy(struct medqa *m, const char *s, const char **out, struct err *e)
{
    char *p = arena_strndup(&m->arena, s, strlen(s));
    if (!p)
        return NOMEM(e, strlen(s) + 1, "a question");
    *out = p;
    return 0;
}

static bool medqa_blank(const char *s)
{
    return s[strspn(s, " \t\r\n")] == 0;
}

static int medqa_option(struct medqa *m, struct medqa_question *q, int i, const json_t *v,
                        struct err *e)
{
    if (!json_is_string(v))
        FAIL(e, ERR_DATA, "option %c is not a string", 'A' + i);
    if (medqa_blank(json_string_value(v)))
        FAIL(e, ERR_DATA, "option %c is empty", 'A' + i);
    return medqa_copy(m, json_string_value(v), &q->option[i], e);
}

static int medqa_count(struct medqa_question *q, size_t n, struct err *e)
{
    if (n != 4 && n != 5)
        FAIL(e, ERR_DATA, "%zu options, expected 4 or 5", n);
    q->n_options = (int)n;
    return 0;
}

static int medqa_key_letter(const json_t *rec, struct medqa_question *q, struct err *e)
{
    const char *letter = NULL, *answer = NULL;
    TRY(jdoc_string(rec, "answer_idx", &letter, e));
    if (strlen(letter) != 1 || letter[0] < 'A' || letter[0] >= 'A' + q->n_options)
        FAIL(e, ERR_DATA, "answer_idx is '%.20s', expected A to %c", letter,
             'A' + q->n_options - 1);
    q->key = letter[0] - 'A';
    if (!json_object_get(rec, "answer"))
        return 0;
    TRY(jdoc_string(rec, "answer", &answer, e));
    if (strcmp(answer, q->option[q->key]) != 0)
        FAIL(e, ERR_DATA, "answer text '%.40s' is not the text of option %s", answer, letter);
    return 0;
}

static int medqa_official(struct medqa *m, const json_t *rec, struct medqa_question *q,
                          struct err *e)
{
    json_t *options = NULL;
    TRY(jdoc_get(rec, "options", JSON_OBJECT, &options, e));
    TRY(medqa_count(q, json_object_size(options), e));
    for (int i = 0; i < q->n_options; i++) {
        char letter[2] = {(char)('A' + i), 0};
        const json_t *v = json_object_get(options, letter);
        if (!v)
            FAIL(e, ERR_DATA, "%d options, but none is named %s", q->n_options, letter);
        TRY(medqa_option(m, q, i, v, e));
    }
    TRY(medqa_key_letter(rec, q, e));
    if (json_object_get(rec, "meta_info")) {
        const char *step = NULL;
        TRY(jdoc_string(rec, "meta_info", &step, e));
        if (strlen(step) > 31)
            FAIL(e, ERR_DATA, "meta_info has %zu bytes, the limit is 31", strlen(step));
        TRY(medqa_copy(m, step, &q->step, e));
    }
    return 0;
}

/* {sent1, sent2, ending0.., label}: the form of the question sets for fine-tuning. */
static int medqa_hf(struct medqa *m, const json_t *rec, struct medqa_question *q, struct err *e)
{
    size_t n = 0;
    char key[32];
    json_int_t label = 0;
    for (;; n++) {
        snprintf(key, sizeof key, "ending%zu", n);
        if (n > MEDQA_OPTIONS || !json_object_get(rec, key))
            break;
    }
    TRY(medqa_count(q, n, e));
    for (int i = 0; i < q->n_options; i++) {
        snprintf(key, sizeof key, "ending%d", i);
        TRY(medqa_option(m, q, i, json_object_get(rec, key), e));
    }
    TRY(jdoc_int(rec, "label", 0, q->n_options - 1, &label, e));
    q->key = (int)label;
    return 0;
}

static int medqa_text(struct medqa *m, const json_t *rec, bool hf, struct medqa_question *q,
                      struct err *e)
{
    const char *text = NULL, *more = "";
    TRY(jdoc_string(rec, hf ? "sent1" : "question", &text, e));
    if (hf && json_object_get(rec, "sent2"))
        TRY(jdoc_string(rec, "sent2", &more, e));
    if (medqa_blank(text))
        FAIL(e, ERR_DATA, "the question is empty");
    if (medqa_blank(more))
        return medqa_copy(m, text, &q->text, e);
    q->text = arena_printf(&m->arena, "%s %s", text, more);
    return q->text ? 0 : NOMEM(e, strlen(text) + strlen(more), "a question");
}

static void medqa_id(struct medqa_question *q)
{
    uint32_t crc = zio_crc32(0, q->text, strlen(q->text));
    for (int i = 0; i < q->n_options; i++)
        crc = zio_crc32(crc, q->option[i], strlen(q->option[i]) + 1);
    snprintf(q->id, sizeof q->id, "%04lld-%08x", (long long)q->index, (unsigned)crc);
}

static int medqa_record(struct medqa *m, const char *s, size_t n, struct err *e)
{
    json_t *rec = NULL;
    struct medqa_question q = {.index = m->records, .key = -1, .step = ""};
    int rc;
    if (n > MEDQA_RECORD)
        FAIL(e, ERR_DATA, "record of %zu bytes, the limit is %zu", n, MEDQA_RECORD);
    TRY_DONE(jdoc_load(s, n, &rec, e));
    if (!json_is_object(rec)) {
        rc = err_set(e, ERR_DATA, "not a JSON object");
        goto done;
    }
    bool hf = json_object_get(rec, "sent1") != NULL;
    TRY_DONE(medqa_text(m, rec, hf, &q, e));
    TRY_DONE(hf ? medqa_hf(m, rec, &q, e) : medqa_official(m, rec, &q, e));
    TRY_DONE(mem_grow(&m->question, &m->cap, m->n + 1, sizeof *m->question, "questions", e));
    medqa_id(&q);
    m->question[m->n++] = q;
done:
    json_decref(rec);
    return rc;
}

/* ---- files --------------------------------------------------------------------------------------- */

static int medqa_take(struct medqa *m, const char *s, size_t n, int64_t line, struct err *e)
{
    struct err why = {.code = 0};
    int rc = medqa_record(m, s, n, &why);
    m->records++;
    if (rc == ERR_NOMEM) {
        FAIL(e, rc, "%s", why.msg);
    } else if (rc < 0) {
        if (m->n_rejected < MEDQA_REJECTS_KEPT) {
            struct medqa_reject *r = &m->reject[m->n_rejected];
            r->line = line;
            snprintf(r->why, sizeof r->why, "%.*s", (int)sizeof r->why - 1, why.msg);
        }
        m->n_rejected++;
    }
    return 0;
}

static int medqa_lines(struct medqa *m, const char *text, size_t n, struct err *e)
{
    int64_t line = 1;
    for (size_t at = 0; at < n; line++) {
        const char *nl = memchr(text + at, '\n', n - at);
        size_t len = nl ? (size_t)(nl - (text + at)) : n - at, blank = 0;
        while (blank < len && strchr(" \t\r", text[at + blank]) && text[at + blank])
            blank++;
        if (blank < len)
            TRY(medqa_take(m, text + at, len, line, e));
        at += len + 1;
    }
    return 0;
}

/* End of the array element that begins at `at`: the comma or bracket that follows it at its own depth,
 * or n. Strings are skipped with their escapes; *lines counts the newlines passed. */
static size_t medqa_element(const char *s, size_t at, size_t n, int64_t *lines)
{
    size_t depth = 0;
    bool quoted = false;
    for (; at < n; at++) {
        char c = s[at];
        *lines += c == '\n';
        if (quoted) {
            if (c == '\\' && at + 1 < n) {
                at++;
                *lines += s[at] == '\n';
            } else if (c == '"') {
                quoted = false;
            }
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            if (!depth)
                return at;
            depth--;
        } else if (c == ',' && !depth) {
            return at;
        }
    }
    return n;
}

static int medqa_array(struct medqa *m, const char *s, size_t at, size_t n, const char *name,
                       struct err *e)
{
    int64_t line = 1;
    for (size_t i = 0; i < at; i++)
        line += s[i] == '\n';
    for (at++;;) {
        while (at < n && strchr(" \t\r\n", s[at]) && s[at]) {
            line += s[at] == '\n';
            at++;
        }
        int64_t begin = line;
        size_t end = medqa_element(s, at, n, &line);
        bool empty = end == at;
        if (end == n)
            FAIL(e, ERR_DATA, "%s:%lld: the array is not closed: file cut off?", name,
                 (long long)begin);
        if (!(empty && s[end] == ']' && !m->records))
            TRY(medqa_take(m, s + at, end - at, begin, e));
        at = end + 1;
        if (s[end] == ']')
            break;
        if (s[end] != ',')
            FAIL(e, ERR_DATA, "%s:%lld: '%c' where ',' or ']' was expected", name,
                 (long long)line, s[end]);
    }
    while (at < n && strchr(" \t\r\n", s[at]) && s[at])
        at++;
    if (at < n)
        FAIL(e, ERR_DATA, "%s:%lld: text after the end of the array", name, (long long)line);
    return 0;
}

int medqa_parse(const char *text, size_t n, const char *name, struct medqa *out, struct err *e)
{
    struct medqa m = {.n = 0};
    size_t at = n >= 3 && !memcmp(text, "\xef\xbb\xbf", 3) ? 3 : 0;
    int rc;
    TRY_DONE(sha256_hex(text, n, m.sha256, e));
    text += at;
    n -= at;
    for (at = 0; at < n && strchr(" \t\r\n", text[at]) && text[at];)
        at++;
    if (at < n && text[at] == '[')
        TRY_DONE(medqa_array(&m, text, at, n, name, e));
    else
        TRY_DONE(medqa_lines(&m, text, n, e));
    if (!m.n && m.n_rejected)
        rc = err_set(e, ERR_DATA, "%s: no usable question, %zu rejected; line %lld: %s", name,
                     m.n_rejected, (long long)m.reject[0].line, m.reject[0].why);
    else if (!m.n)
        rc = err_set(e, ERR_DATA, "%s: holds no questions", name);
    if (rc < 0)
        goto done;
    *out = m;
    m = (struct medqa){.n = 0};
done:
    medqa_free(&m);
    return rc;
}

int medqa_read(const char *path, struct medqa *out, struct err *e)
{
    struct str text = STR_INIT;
    int rc;
    TRY_DONE(zio_read(path, MEDQA_FILE, &text, e));
    TRY_DONE(medqa_parse(text.s, text.len, path, out, e));
done:
    str_free(&text);
    return rc;
}

void medqa_free(struct medqa *m)
{
    mem_free(m->question);
    arena_free(&m->arena);
    *m = (struct medqa){.n = 0};
}

/* ---- the command line ---------------------------------------------------------------------------- */

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
    struct medqa m = {.records = 1};
    struct medqa_question q = {.key = -1, .step = ""};
    int rc = 0;
    if (medqa_blank(text))
        FAIL(e, ERR_USAGE, "the question is empty");
    if (!medqa_utf8(text) || (options && !medqa_utf8(options)))
        FAIL(e, ERR_USAGE, "the question or an option is not valid UTF-8");
    TRY_DONE(medqa_copy(&m, text, &q.text, e));
    if (options)
        TRY_DONE(medqa_single_options(&m, &q, options, e));
    TRY_DONE(mem_grow(&m.question, &m.cap, 1, sizeof *m.question, "a question", e));
    medqa_id(&q);
    TRY_DONE(sha256_hex(q.id, strlen(q.id), m.sha256, e));
    m.question[m.n++] = q;
    *out = m;
    m = (struct medqa){.n = 0};
done:
    medqa_free(&m);
    return rc;
}
