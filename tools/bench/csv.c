#include "csv.h"

#include <string.h>

const char *csv_peek(const struct csv *c, size_t *n)
{
    const char *s = c->s + c->at, *end = memchr(s, '\n', c->n - c->at);
    *n = end ? (size_t)(end - s) : c->n - c->at;
    if (*n && s[*n - 1] == '\r')
        --*n;
    return s;
}

void csv_skip(struct csv *c)
{
    const char *end = memchr(c->s + c->at, '\n', c->n - c->at);
    c->at = end ? (size_t)(end - c->s) + 1 : c->n;
    c->line += end != NULL;
}

/* A quoted field from its first byte on, unquoted to `out`; *at is moved after the last quote. */
static int quoted(struct csv *c, size_t *at, char *out, size_t *n, struct err *e)
{
    int line = c->line;
    size_t i = *at + 1;
    for (;; i++) {
        if (i >= c->n)
            FAIL(e, ERR_DATA, "%s: line %d: a quote has no end; is the file cut off?", c->name,
                 line);
        if (c->s[i] == '"') {
            if (i + 1 >= c->n || c->s[i + 1] != '"')
                break;
            i++;
        }
        c->line += c->s[i] == '\n';
        out[(*n)++] = c->s[i];
    }
    *at = i + 1;
    return 0;
}

/* At a comma, or at a line end: LF or CR LF. */
static bool ends(const struct csv *c, size_t at)
{
    if (c->s[at] == '\r')
        return at + 1 < c->n && c->s[at + 1] == '\n';
    return c->s[at] == ',' || c->s[at] == '\n';
}

/* One field; *at is moved to the comma or the line end after it. */
static int field(struct csv *c, size_t *at, char *out, size_t *n, struct err *e)
{
    *n = 0;
    if (*at < c->n && c->s[*at] == '"') {
        TRY(quoted(c, at, out, n, e));
        if (*at < c->n && !ends(c, *at))
            FAIL(e, ERR_DATA, "%s: line %d: a comma is missing after a quoted field", c->name,
                 c->line);
    } else {
        for (; *at < c->n && !ends(c, *at); ++*at)
            out[(*n)++] = c->s[*at];
    }
    if (memchr(out, 0, *n))
        FAIL(e, ERR_DATA, "%s: line %d: a NUL byte; the file is no text", c->name, c->line);
    out[*n] = 0;
    return 0;
}

/* Upper bounds of the bytes and the fields of the line. Quotes count as in field. */
static void measure(const struct csv *c, size_t *bytes, size_t *fields)
{
    /* in a quoted field; at the first byte of a field; after a quote that ended one */
    bool inside = false, first = true, shut = false;
    size_t i = c->at;
    *fields = 1;
    for (; i < c->n && (inside || c->s[i] != '\n'); i++) {
        if (c->s[i] == '"' && (inside || first || shut)) {
            shut = inside;
            inside = !inside;
            first = false;
        } else {
            first = c->s[i] == ',' && !inside;
            *fields += first;
            shut = false;
        }
    }
    *bytes = i - c->at;
}

int csv_take(struct csv *c, struct arena *a, struct csv_line *out, struct err *e)
{
    size_t bytes, fields, at = c->at;
    struct csv_line l = {.line = c->line};
    measure(c, &bytes, &fields);
    fields = fields < CSV_FIELDS ? fields : CSV_FIELDS;
    char *text = arena_alloc(a, bytes + fields + 1, 1);
    l.field = arena_alloc(a, fields, sizeof *l.field);
    if (!text || !l.field)
        return NOMEM(e, bytes + fields * sizeof *l.field, "a line of a report");
    for (;; at++) {
        size_t n;
        if ((size_t)l.n == fields)
            FAIL(e, ERR_DATA, "%s: line %d: more than %d columns", c->name, l.line, CSV_FIELDS);
        l.field[l.n++] = text;
        TRY(field(c, &at, text, &n, e));
        text += n + 1;
        if (at >= c->n || c->s[at] != ',')
            break;
    }
    if (at >= c->n)
        FAIL(e, ERR_DATA,
             "%s: line %d has no line end; is the file cut off? If it is whole, end the line",
             c->name, l.line);
    c->at = at + 1 + (c->s[at] == '\r');
    c->line++;
    *out = l;
    return 0;
}
