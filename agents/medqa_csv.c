#include "medqa_csv.h"

#include <stdio.h>
#include <string.h>

#include "medqa.h"

/* ---- rows ------------------------------------------------------------------------------------ */

static bool csv_at(const struct medqa_csv *c, char ch)
{
    return c->at < c->n && c->s[c->at] == ch;
}

/* Passes the end of a line; false = there is none here. */
static bool csv_newline(struct medqa_csv *c)
{
    bool cr = csv_at(c, '\r');
    c->at += cr;
    bool lf = csv_at(c, '\n');
    c->at += lf;
    c->line += cr || lf;
    return cr || lf;
}

/* A cell in quotes, from its first byte on. */
static int csv_quoted(struct medqa_csv *c, struct err *e)
{
    int64_t begin = c->line;
    for (;;) {
        size_t from = c->at;
        while (c->at < c->n && c->s[c->at] != '"') {
            char ch = c->s[c->at++];
            c->line += ch == '\n' || (ch == '\r' && !csv_at(c, '\n'));
        }
        str_add(&c->cells, c->s + from, c->at - from);
        if (c->at == c->n)
            FAIL(e, ERR_DATA, "line %lld: a quotation mark is not closed: file cut off?",
                 (long long)begin);
        c->at++;
        if (!csv_at(c, '"'))
            return 0;
        str_addc(&c->cells, '"');
        c->at++;
    }
}

static int csv_cell(struct medqa_csv *c, struct err *e)
{
    if (c->n_cells == MEDQA_CSV_CELLS)
        FAIL(e, ERR_DATA, "line %lld: more than %d cells", (long long)c->row_line, MEDQA_CSV_CELLS);
    if (csv_at(c, '"')) {
        c->at++;
        TRY(csv_quoted(c, e));
        if (c->at < c->n && !strchr(",\r\n", c->s[c->at]))
            FAIL(e, ERR_DATA, "line %lld: text after the closing quotation mark of column %d",
                 (long long)c->line, c->n_cells + 1);
    } else {
        size_t from = c->at;
        while (c->at < c->n && (!c->s[c->at] || !strchr(",\r\n", c->s[c->at])))
            c->at++;
        str_add(&c->cells, c->s + from, c->at - from);
    }
    c->end[c->n_cells++] = c->cells.len;
    return 0;
}

int medqa_csv_next(struct medqa_csv *c, struct err *e)
{
    if (!c->cells.s)
        c->cells = (struct str)STR_INIT;
    do {
        if (c->at == c->n)
            return 0;
        c->row_line = c->line;
        c->n_cells = 0;
        str_clear(&c->cells);
        TRY(csv_cell(c, e));
        while (csv_at(c, ',')) {
            c->at++;
            TRY(csv_cell(c, e));
        }
        csv_newline(c);
    } while (c->n_cells == 1 && !c->end[0]);
    TRY(str_ok(&c->cells, "a row of CSV", e));
    return 1;
}

const char *medqa_csv_cell(const struct medqa_csv *c, int i, size_t *n)
{
    size_t from = i ? c->end[i - 1] : 0;
    *n = c->end[i] - from;
    return c->cells.s + from;
}

bool medqa_csv_cell_is(const struct medqa_csv *c, int i, const char *text)
{
    size_t n;
    const char *s = medqa_csv_cell(c, i, &n);
    return n == strlen(text) && !memcmp(s, text, n);
}

void medqa_csv_free(struct medqa_csv *c)
{
    if (c->cells.s)
        str_free(&c->cells);
}

/* ---- rows as records ------------------------------------------------------------------------- */

static bool csv_names(const struct medqa_csv *c)
{
    bool found = false;
    for (int i = 0; i < c->n_cells; i++)
        found |= medqa_csv_cell_is(c, i, "question") || medqa_csv_cell_is(c, i, "QUESTION") ||
                 medqa_csv_cell_is(c, i, "sent1") || medqa_csv_cell_is(c, i, "input");
    return found && c->n_cells >= 4;
}

/* question, options, letter of the key */
static bool csv_bare(const struct medqa_csv *c)
{
    size_t n;
    if (c->n_cells < 4 || c->n_cells > 2 + MEDQA_OPTIONS)
        return false;
    const char *s = medqa_csv_cell(c, c->n_cells - 1, &n);
    return n == 1 && *s >= 'A' && *s < 'A' + c->n_cells - 2;
}

int medqa_csv_is(const char *s, size_t n, struct err *e)
{
    struct medqa_csv c = {.s = s, .n = n, .line = 1};
    struct err why = {.code = 0};
    int more = medqa_csv_next(&c, &why);
    int is = more > 0 && (csv_names(&c) || csv_bare(&c));
    medqa_csv_free(&c);
    if (more == ERR_NOMEM)
        FAIL(e, more, "%s", why.msg);
    return is;
}

static void csv_member(struct str *out, const char *key, size_t n_key, const char *s, size_t n)
{
    str_adds(out, out->len > 1 ? ", " : "");
    str_add_json(out, key, n_key);
    str_adds(out, ": ");
    str_add_json(out, s, n);
}

/* The row as an object. *why: it has cells without a name. */
static void csv_named_row(const struct medqa_csv *names, const struct medqa_csv *c, struct str *out,
                          const char **why)
{
    str_addc(out, '{');
    for (int i = 0; i < c->n_cells; i++) {
        size_t n, n_key;
        const char *s = medqa_csv_cell(c, i, &n);
        if (n && i >= names->n_cells)
            *why = "the row has more cells than the first line has names";
        else if (n) {
            const char *key = medqa_csv_cell(names, i, &n_key);
            csv_member(out, key, n_key, s, n);
        }
    }
    str_addc(out, '}');
}

static void csv_bare_row(const struct medqa_csv *c, const char *subject, struct str *out,
                         const char **why)
{
    size_t n;
    str_addc(out, '{');
    if (!csv_bare(c))
        *why = "the row is no question with options and the letter of one of them";
    for (int i = 0; !*why && i < c->n_cells; i++) {
        char letter = (char)('A' + i - 1);
        const char *s = medqa_csv_cell(c, i, &n);
        if (i == 0)
            csv_member(out, "question", 8, s, n);
        else if (i == c->n_cells - 1)
            csv_member(out, "answer", 6, s, n);
        else
            csv_member(out, &letter, 1, s, n);
    }
    if (*subject)
        csv_member(out, "subject", 7, subject, strlen(subject));
    str_addc(out, '}');
}

/* "data/anatomy_test.csv" -> "anatomy"; "" when the name has no such end. */
static void csv_subject(const char *name, char out[MEDQA_STEP + 1])
{
    static const char *const ends[] = {"_test.csv",    "_dev.csv",    "_val.csv",
                                       "_test.csv.gz", "_dev.csv.gz", "_val.csv.gz"};
    const char *slash = strrchr(name, '/');
    name = slash ? slash + 1 : name;
    size_t n = strlen(name);
    out[0] = 0;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        size_t m = strlen(ends[i]);
        if (n > m && n - m <= MEDQA_STEP && !strcmp(name + n - m, ends[i]))
            snprintf(out, MEDQA_STEP + 1, "%.*s", (int)(n - m), name);
    }
}

int medqa_csv_walk(const char *s, size_t n, int64_t line, const char *name, medqa_file_take *take,
                   void *user, struct err *e)
{
    struct medqa_csv names = {.s = s, .n = n, .line = line}, c = {.s = s, .n = n, .line = line};
    struct str row = STR_INIT;
    char subject[MEDQA_STEP + 1];
    int rc, more;
    csv_subject(name, subject);
    TRY_DONE(medqa_csv_next(&names, e));
    bool named = csv_names(&names);
    if (named) {
        c.at = names.at;
        c.line = names.line;
    }
    while ((more = medqa_csv_next(&c, e)) > 0) {
        const char *why = NULL;
        str_clear(&row);
        if (named)
            csv_named_row(&names, &c, &row, &why);
        else
            csv_bare_row(&c, subject, &row, &why);
        TRY_DONE(str_ok(&row, "a row of CSV", e));
        TRY_DONE(take(user, row.s, row.len, c.row_line, why, e));
    }
    rc = more;
    if (rc == ERR_DATA)
        err_wrap(e, rc, "%s", name);
done:
    medqa_csv_free(&names);
    medqa_csv_free(&c);
    str_free(&row);
    return rc;
}
