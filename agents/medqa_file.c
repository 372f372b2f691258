#include "medqa_file.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "jscan.h"
#include "medqa_csv.h"
#include "mem.h"
#include "str.h"

#define FILE_COLUMNS 64 /* of one object of columns */

struct file_walk {
    const char *name;
    medqa_file_take *take;
    void *user;
};

/* Bytes of white space and byte order marks from s[at] on; *line counts ends of lines. */
static size_t file_space(const char *s, size_t at, size_t n, int64_t *line)
{
    size_t begin = at;
    for (;;) {
        if (n - at >= 3 && !memcmp(s + at, "\xef\xbb\xbf", 3)) {
            at += 3;
        } else if (at < n && s[at] && strchr(" \t\r\n", s[at])) {
            *line += s[at] == '\n' || (s[at] == '\r' && !(at + 1 < n && s[at + 1] == '\n'));
            at++;
        } else {
            return at - begin;
        }
    }
}

/* A line ends with LF, CR LF or CR: no string of JSON holds one of these bytes. */
static int file_lines(const struct file_walk *w, const char *text, size_t n, struct err *e)
{
    int64_t line = 1;
    for (size_t at = file_space(text, 0, n, &line); at < n; at += file_space(text, at, n, &line)) {
        size_t len = 0;
        while (at + len < n && text[at + len] != '\n' && text[at + len] != '\r')
            len++;
        TRY(w->take(w->user, text + at, len, line, NULL, e));
        at += len;
    }
    return 0;
}

/* End of the array element that begins at `at`: the comma or bracket that follows it at its own
 * depth, or n. Strings are skipped with their escapes; *lines counts the newlines passed. */
static size_t file_element(const char *s, size_t at, size_t n, int64_t *lines)
{
    size_t depth = 0;
    bool quoted = false;
    for (; at < n; at++) {
        char c = s[at];
        *lines += c == '\n' || (c == '\r' && !(at + 1 < n && s[at + 1] == '\n'));
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

/* Moves *at from the opening bracket at s[*at] to the byte after the closing one. */
static int file_array(const struct file_walk *w, const char *s, size_t *at, size_t n, int64_t *line,
                      struct err *e)
{
    for (bool first = true;; first = false) {
        *at += file_space(s, *at, n, line);
        int64_t begin = *line;
        size_t end = file_element(s, *at, n, line);
        if (end == n)
            FAIL(e, ERR_DATA, "%s:%lld: the array is not closed: file cut off?", w->name,
                 (long long)begin);
        if (end == *at && !(first && s[end] == ']'))
            FAIL(e, ERR_DATA, "%s:%lld: '%c' where a record was expected; remove the comma",
                 w->name, (long long)begin, s[end]);
        if (end > *at)
            TRY(w->take(w->user, s + *at, end - *at, begin, NULL, e));
        *at = end + 1;
        if (s[end] == ']')
            return 0;
        if (s[end] != ',')
            FAIL(e, ERR_DATA, "%s:%lld: '%c' where ',' or ']' was expected", w->name,
                 (long long)*line, s[end]);
    }
}

static int file_arrays(const struct file_walk *w, const char *s, size_t n, struct err *e)
{
    int64_t line = 1;
    for (size_t at = file_space(s, 0, n, &line); at < n; at += file_space(s, at, n, &line)) {
        if (s[at] != '[')
            FAIL(e, ERR_DATA, "%s:%lld: text after the end of the array", w->name, (long long)line);
        at++;
        TRY(file_array(w, s, &at, n, &line, e));
    }
    return 0;
}

/* ---- one object for the whole file ----------------------------------------------------------- */

static void file_count(const char *from, const char *to, int64_t *line)
{
    for (const char *p = from; p < to; p++)
        *line += *p == '\n' || (*p == '\r' && p[1] != '\n');
}

/* The first byte of the value of the key that holds the text of a question; 0 = there is none, or
 * no object. ERR_NOMEM. */
static int file_text_value(const char *s, size_t n, struct err *e)
{
    static const char *const keys[] = {"question", "QUESTION", "sent1", "input"};
    struct jscan j = {.n = 0};
    struct jscan_item it = {.key = NULL};
    struct err why = {.code = 0};
    int found = 0;
    jscan_set(&j, s, n);
    int more = jscan_open(&j, '{', &why);
    while (more >= 0 && !found && (more = jscan_next(&j, &it, &why)) > 0)
        for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++)
            if (jscan_key(&it, keys[k]))
                found = (unsigned char)it.value[0];
    jscan_free(&j);
    if (more == ERR_NOMEM)
        FAIL(e, more, "%s", why.msg);
    return found;
}

enum file_kind { FILE_LINES, FILE_KEYED, FILE_COLUMNED };

/* The kind of a text that begins with '{'. A record has a text of its own. */
static int file_kind(const char *s, size_t n, enum file_kind *out, struct err *e)
{
    struct jscan j = {.n = 0};
    struct jscan_item it = {.key = NULL};
    struct err why = {.code = 0};
    int own = file_text_value(s, n, e), inner = 0;
    TRY(own);
    jscan_set(&j, s, n);
    int more = jscan_open(&j, '{', &why);
    if (more >= 0)
        more = jscan_next(&j, &it, &why);
    jscan_free(&j);
    if (more == ERR_NOMEM)
        FAIL(e, more, "%s", why.msg);
    bool objects = more > 0 && it.value[0] == '{';
    if (objects && !own)
        inner = file_text_value(it.value, it.n, e);
    TRY(inner);
    *out = objects && own == '{' ? FILE_COLUMNED : inner == '"' ? FILE_KEYED : FILE_LINES;
    return 0;
}

static int file_keyed(const struct file_walk *w, const char *s, size_t n, int64_t line,
                      struct err *e)
{
    struct jscan j = {.n = 0};
    struct jscan_item it = {.key = NULL};
    const char *at = s;
    int rc, more;
    jscan_set(&j, s, n);
    TRY_DONE(jscan_open(&j, '{', e));
    while ((more = jscan_next(&j, &it, e)) > 0) {
        file_count(at, it.value, &line);
        at = it.value;
        TRY_DONE(w->take(w->user, it.value, it.n, line, NULL, e));
    }
    rc = more < 0 ? more : jscan_end(&j, e);
    if (rc == ERR_DATA)
        err_wrap(e, rc, "%s: the object of records", w->name);
done:
    jscan_free(&j);
    return rc;
}

struct file_columns {
    struct jscan j[FILE_COLUMNS];
    struct jscan_item name[FILE_COLUMNS];
    int n;
};

static int file_columns_find(struct file_columns *c, const char *s, size_t n, struct err *e)
{
    struct jscan j = {.n = 0};
    struct jscan_item it = {.key = NULL};
    int rc = 0, more;
    jscan_set(&j, s, n);
    TRY_DONE(jscan_open(&j, '{', e));
    while ((more = jscan_next(&j, &it, e)) > 0) {
        if (c->n == FILE_COLUMNS)
            TRY_DONE(err_set(e, ERR_DATA, "more than %d columns", FILE_COLUMNS));
        jscan_set(&c->j[c->n], it.value, it.n);
        TRY_DONE(jscan_open(&c->j[c->n], '{', e));
        c->name[c->n++] = it;
    }
    rc = more < 0 ? more : jscan_end(&j, e);
done:
    jscan_free(&j);
    return rc;
}

/* The next row as an object; 0 = there is none. *at: its text's value. */
static int file_columns_row(struct file_columns *c, struct str *row, const char **at, struct err *e)
{
    struct jscan_item first = {.key = NULL};
    str_clear(row);
    for (int i = 0; i < c->n; i++) {
        struct jscan_item it = {.key = NULL};
        int more = jscan_next(&c->j[i], &it, e);
        TRY(more);
        if (i == 0) {
            first = it;
            *at = it.value;
        }
        if (!it.key != !first.key ||
            (it.key && (it.key_len != first.key_len || memcmp(it.key, first.key, it.key_len) != 0)))
            FAIL(e, ERR_DATA, "column '%.*s' has other rows than the first column",
                 (int)utf8_complete(c->name[i].key,
                                    c->name[i].key_len < 40 ? c->name[i].key_len : 40),
                 c->name[i].key);
        if (!it.key)
            continue;
        str_adds(row, i ? ", \"" : "{\"");
        str_add(row, c->name[i].key, c->name[i].key_len);
        str_adds(row, "\": ");
        str_add(row, it.value, it.n);
    }
    if (!first.key)
        return 0;
    str_addc(row, '}');
    TRY(str_ok(row, "a record", e));
    return 1;
}

static int file_columned(const struct file_walk *w, const char *s, size_t n, int64_t line,
                         struct err *e)
{
    struct file_columns *c = mem_zalloc(1, sizeof *c);
    struct str row = STR_INIT;
    const char *last = s, *at = s;
    int rc, more;
    if (!c)
        return NOMEM(e, sizeof *c, "columns");
    TRY_DONE(file_columns_find(c, s, n, e));
    while ((more = file_columns_row(c, &row, &at, e)) > 0) {
        file_count(last, at, &line);
        last = at;
        TRY_DONE(w->take(w->user, row.s, row.len, line, NULL, e));
    }
    rc = more;
done:
    if (rc == ERR_DATA)
        err_wrap(e, rc, "%s: the object of columns", w->name);
    for (int i = 0; i < FILE_COLUMNS; i++)
        jscan_free(&c->j[i]);
    mem_free(c);
    str_free(&row);
    return rc;
}

/* ---- the whole file -------------------------------------------------------------------------- */

/* JSON begins with an ASCII character, so a byte order mark or the first NUL tells the encoding. */
int medqa_file_encoding(const char *s, size_t n, const char *name, struct err *e)
{
    const unsigned char *b = (const unsigned char *)s;
    const char *what = NULL;
    bool four = n >= 4;
    if (four &&
        ((b[0] == 0xff && b[1] == 0xfe && !b[2] && !b[3]) || (b[0] && !b[1] && !b[2] && !b[3])))
        what = "UTF-32LE";
    else if (four && ((!b[0] && !b[1] && b[2] == 0xfe && b[3] == 0xff) ||
                      (!b[0] && !b[1] && !b[2] && b[3])))
        what = "UTF-32BE";
    else if (n >= 2 && ((b[0] == 0xff && b[1] == 0xfe) || (b[0] && !b[1])))
        what = "UTF-16LE";
    else if (n >= 2 && ((b[0] == 0xfe && b[1] == 0xff) || (!b[0] && b[1])))
        what = "UTF-16BE";
    if (what)
        FAIL(e, ERR_DATA, "%s: %s text, expected UTF-8; convert it with iconv -f %s -t UTF-8", name,
             what, what);
    return 0;
}

int medqa_file_walk(const char *text, size_t n, const char *name, medqa_file_take *take, void *user,
                    struct err *e)
{
    struct file_walk w = {.name = name, .take = take, .user = user};
    int64_t line = 1;
    TRY(medqa_file_encoding(text, n, name, e));
    size_t at = file_space(text, 0, n, &line);
    char first = at < n ? text[at] : 0;
    if (first == '[')
        return file_arrays(&w, text, n, e);
    enum file_kind kind = FILE_LINES;
    if (first == '{')
        TRY(file_kind(text + at, n - at, &kind, e));
    if (kind == FILE_KEYED)
        return file_keyed(&w, text + at, n - at, line, e);
    if (kind == FILE_COLUMNED)
        return file_columned(&w, text + at, n - at, line, e);
    int csv = first && first != '{' ? medqa_csv_is(text + at, n - at, e) : 0;
    TRY(csv);
    if (csv)
        return medqa_csv_walk(text + at, n - at, line, name, take, user, e);
    return file_lines(&w, text, n, e);
}
