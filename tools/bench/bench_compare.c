/* mas bench compare: two results of mas bench kernels, mas bench read or mas profile, row by row. A
 * ratio above 1 means that the second is faster. Its interval is that of the quotient of the two
 * times between their 5 and 95 % quantiles. Without quantiles the times alone are compared.
 *
 * Two rows belong together when everything that both know is the same: op, case, kernel and so on.
 * Two kinds of pairs are shown and not judged. "part" is one kernel beside a whole call. "mix" is a
 * row that fits several rows of the other file.
 *
 * A kernel that fails in the second file alone is as bad as a slower one. Two files without a pair
 * of rows are an error, too. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "bench.h"
#include "cli.h"
#include "cmd.h"
#include "mem.h"
#include "zio.h"

#define MOST_BYTES ((size_t)64 << 20)

struct match {  /* of a row in the other file's rows */
    long other; /* -1: none, or several */
    int n;      /* rows that fit */
    bool same;  /* all keys are equal */
};

struct side {
    const char *path;
    json_t *doc;
    const json_t *rows;
    size_t n;
    struct match *match; /* (n) */
};

struct compare {
    struct side side[2];
    int n_path;
    float threshold;
    int width; /* of the column of kernels */
    int slower, faster, same, alone, unjudged;
    int failed, broken; /* rows that failed in a file; of them those that failed in B alone */
};

static const char *text(const json_t *row, const char *key)
{
    const char *s = json_string_value(json_object_get(row, key));
    return s ? s : "";
}

static double number(const json_t *row, const char *key)
{
    return json_number_value(json_object_get(row, key));
}

#define READS "mas bench kernels, mas bench read and mas profile, -o json"

/* The file is none of READS: says which file it is, if its members tell. */
static int refuse(const struct side *s, struct err *e)
{
    const char *kind = text(s->doc, "bench");
    if (json_is_array(s->doc))
        FAIL(e, ERR_DATA, "%s is an array%s; name a result of " READS, s->path,
             json_object_get(json_array_get(s->doc, 0), "avg_ts") ? ": a result of mas bench model"
                                                                  : "");
    if (json_object_get(s->doc, "traceEvents"))
        FAIL(e, ERR_DATA, "%s is a timeline (mas profile --trace); name a result of " READS,
             s->path);
    if (*kind && strcmp(kind, "kernels") != 0)
        FAIL(e, ERR_DATA, "%s is a result of mas bench %s; name one of " READS, s->path, kind);
    if (!*kind)
        FAIL(e, ERR_DATA, "%s is not a result of " READS ": it has no member \"bench\"", s->path);
    const json_t *format = json_object_get(s->doc, "format");
    if (!json_is_integer(format))
        FAIL(e, ERR_DATA, "%s has no whole number \"format\"; name a result of " READS, s->path);
    if (json_integer_value(format) != 1)
        FAIL(e, ERR_DATA, "%s has format %lld, this program reads format 1; measure again", s->path,
             (long long)json_integer_value(format));
    FAIL(e, ERR_DATA, "%s has no array \"rows\"; name a result of " READS, s->path);
}

static int load(struct side *s, struct err *e)
{
    struct str file = STR_INIT;
    json_error_t why;
    TRY(zio_read(s->path, MOST_BYTES, &file, e));
    size_t blank = file.s ? strspn(file.s, " \t\r\n") : 0;
    if (blank < file.len)
        s->doc = json_loadb(file.s, file.len, 0, &why);
    int rc = 0;
    if (blank == file.len)
        rc = err_set(e, ERR_DATA, "%s is empty; name a result of " READS, s->path);
    else if (!s->doc)
        rc = err_set(e, ERR_DATA, "%s is no JSON: line %d: %s; name a result of " READS, s->path,
                     why.line, why.text);
    str_free(&file);
    TRY(rc);
    s->rows = json_object_get(s->doc, "rows");
    if (strcmp(text(s->doc, "bench"), "kernels") != 0 || !json_is_array(s->rows) ||
        json_integer_value(json_object_get(s->doc, "format")) != 1)
        return refuse(s, e);
    s->n = json_array_size(s->rows);
    for (size_t i = 0; i < s->n; i++)
        if (!json_is_object(json_array_get(s->rows, i)))
            FAIL(e, ERR_DATA, "%s: row %zu of %zu is no JSON object", s->path, i + 1, s->n);
    s->match = mem_zalloc(s->n + 1, sizeof *s->match);
    return s->match ? 0 : NOMEM(e, s->n * sizeof *s->match, "pairs of rows");
}

/* The members that tell rows apart. */
static const char *const keys[] = {"op",   "case",  "kernel", "instance", "launch",
                                   "step", "phase", "range",  "function", "report"};
enum { N_KEY = sizeof keys / sizeof *keys, N_FIT = 7 }; /* the first N_FIT decide what fits */

static bool part(const json_t *row)
{
    return json_is_true(json_object_get(row, "part"));
}

/* Everything is the same, also what is not known. */
static bool same_row(const json_t *a, const json_t *b)
{
    for (int i = 0; i < N_KEY; i++)
        if (strcmp(text(a, keys[i]), text(b, keys[i])))
            return false;
    return true;
}

/* The number format of a row: "Q4_K" begins its case or its kernel's arguments; -1: not known. */
static int format_of(const json_t *row)
{
    const char *of[] = {text(row, "case"), text(row, "instance")};
    for (int i = 0; i < 2; i++) {
        char word[16];
        enum fmt fmt;
        size_t n = strcspn(of[i], ", ");
        snprintf(word, sizeof word, "%.*s", n < sizeof word ? (int)n : 0, of[i]);
        if (fmt_from_name(word, &fmt))
            return (int)fmt;
    }
    return -1;
}

/* Nothing that both know differs. */
static bool fits(const json_t *a, const json_t *b)
{
    int x_fmt = format_of(a), y_fmt = format_of(b);
    if (x_fmt >= 0 && y_fmt >= 0 && x_fmt != y_fmt)
        return false;
    for (int i = 0; i < N_FIT; i++) {
        const char *x = text(a, keys[i]), *y = text(b, keys[i]);
        if (*x && *y && strcmp(x, y))
            return false;
    }
    return true;
}

static void match_same(struct side *own, struct side *other)
{
    for (size_t i = 0; i < own->n; i++) {
        own->match[i].other = -1;
        for (size_t k = 0; k < other->n && !own->match[i].same; k++)
            if (same_row(json_array_get(own->rows, i), json_array_get(other->rows, k)))
                own->match[i] = (struct match){(long)k, 1, true};
    }
}

/* For the rows that have no equal. Whole calls go with whole calls and kernels with kernels, if
 * there are such. A row without a kernel goes with the kernel that a call takes. */
static void match_fitting(struct side *own, struct side *other)
{
    for (size_t i = 0; i < own->n; i++) {
        const json_t *row = json_array_get(own->rows, i);
        int n[2] = {0, 0}, n_picked = 0;
        long one[2] = {-1, -1}, picked = -1;
        for (size_t k = 0; k < other->n && !own->match[i].same; k++) {
            const json_t *r = json_array_get(other->rows, k);
            if (!other->match[k].same && fits(r, row)) {
                n[part(r)]++;
                one[part(r)] = (long)k;
                if (json_is_true(json_object_get(r, "picked"))) {
                    n_picked++;
                    picked = (long)k;
                }
            }
        }
        int kind = n[part(row)] ? part(row) : !part(row);
        if (own->match[i].same)
            continue;
        own->match[i] = (struct match){n[kind] == 1 ? one[kind] : -1, n[kind], false};
        if (n[kind] > 1 && n_picked == 1 && !part(row) && !*text(row, "kernel"))
            own->match[i].other = picked;
    }
}

/* True if a row of `own` is paired with row k of the other file. */
static bool taken(const struct side *own, size_t k)
{
    for (size_t i = 0; i < own->n; i++)
        if (own->match[i].other == (long)k)
            return true;
    return false;
}

enum { MOST_WIDTH = 40 };

/* "mma<Q4_K, 2, 1>"; without a word of our own the function's name; "-" */
static void kernel_of(const json_t *row, char out[MOST_WIDTH + 1])
{
    const char *name = text(row, "kernel"), *more = text(row, "instance");
    if (*name && *more)
        snprintf(out, MOST_WIDTH + 1, "%s<%s>", name, more);
    else if (*name)
        snprintf(out, MOST_WIDTH + 1, "%s", name);
    else if (*text(row, "function"))
        snprintf(out, MOST_WIDTH + 1, "%.*s", (int)strcspn(text(row, "function"), "<("),
                 text(row, "function"));
    else
        snprintf(out, MOST_WIDTH + 1, "-");
}

static void print_names(const struct compare *c, const json_t *row, const json_t *other)
{
    char kernel[MOST_WIDTH + 1];
    const char *of = *text(row, "case") ? text(row, "case") : text(other, "case");
    kernel_of(*text(row, "kernel") || *text(row, "function") ? row : other, kernel);
    printf("| %-9s | %-34s | %-*s |", text(row, "op"), *of ? of : "-", c->width, kernel);
}

static bool has_interval(const json_t *row)
{
    return number(row, "us_p5") > 0 && number(row, "us_p95") > 0;
}

/* A row of a kernel that failed in at least one file has no figures to compare. */
static bool compare_failed(struct compare *c, const json_t *a, const json_t *b)
{
    const bool in_a = *text(a, "failed"), in_b = *text(b, "failed");
    if (!in_a && !in_b)
        return false;
    print_names(c, a, b);
    printf(" failed in %s: %s\n",
           in_a && in_b ? "both"
           : in_a       ? "A"
                        : "B",
           text(in_b ? b : a, "failed"));
    c->failed++;
    c->broken += in_b && !in_a;
    return true;
}

/* Before anything is printed: rows that have no failure have times. */
static int check_pair(struct compare *c, const json_t *a, const json_t *b, bool mix, struct err *e)
{
    (void)mix;
    const json_t *row[] = {a, b};
    const bool failed = *text(a, "failed") || *text(b, "failed");
    for (int i = 0; i < 2 && !failed; i++)
        if (!(number(row[i], "us") > 0))
            FAIL(e, ERR_DATA, "%s: %s [%s] %s: \"us\" must be a time above 0", c->side[i].path,
                 text(row[i], "op"), text(row[i], "case"), text(row[i], "kernel"));
    return 0;
}

static int compare_pair(struct compare *c, const json_t *a, const json_t *b, bool mix,
                        struct err *e)
{
    (void)e;
    if (compare_failed(c, a, b))
        return 0;
    double us_a = number(a, "us"), us_b = number(b, "us");
    bool interval = has_interval(a) && has_interval(b);
    double low = interval ? number(a, "us_p5") / number(b, "us_p95") : us_a / us_b;
    double high = interval ? number(a, "us_p95") / number(b, "us_p5") : us_a / us_b;
    const char *mark = "";
    if (mix || part(a) != part(b)) {
        mark = part(a) != part(b) ? "part" : "mix";
        c->unjudged++;
    } else if (high < (double)c->threshold) {
        mark = "slower";
        c->slower++;
    } else if (low > 1 / (double)c->threshold) {
        mark = "faster";
        c->faster++;
    } else {
        c->same++;
    }
    print_names(c, a, b);
    printf(" %10.1f | %10.1f | %6.3f |", us_a, us_b, us_a / us_b);
    if (interval)
        printf(" %6.3f .. %-6.3f | %-6s |\n", low, high, mark);
    else
        printf(" %-16s | %-6s |\n", "no interval", mark);
    return 0;
}

static void alone(struct compare *c, const json_t *row, int which, int n)
{
    print_names(c, row, row);
    printf(" only in %s", c->side[which].path);
    if (n)
        printf("; rows that fit: %d", n);
    printf("\n");
    c->alone++;
}

/* "A: a.json, NVIDIA H200, 2026-11-29T17:00:00Z, mas 1a2b3c": what the file knows. */
static void print_file(const struct compare *c, int i)
{
    static const char *const of[] = {"device", "time", "commit"};
    printf("%c: %s", 'A' + i, c->side[i].path);
    for (int k = 0; k < 3; k++) {
        const char *s = text(c->side[i].doc, of[k]);
        printf("%s%s%s", *s ? ", " : "", *s && k == 2 ? "mas " : "", s);
    }
    printf("\n");
}

static void print_head(struct compare *c)
{
    static const char line[] = "--------------------------------------------";
    char kernel[MOST_WIDTH + 1];
    c->width = 10;
    for (int i = 0; i < 2; i++)
        for (size_t k = 0; k < c->side[i].n; k++) {
            kernel_of(json_array_get(c->side[i].rows, k), kernel);
            c->width = (int)strlen(kernel) > c->width ? (int)strlen(kernel) : c->width;
        }
    for (int i = 0; i < 2; i++)
        print_file(c, i);
    printf("\n| %-9s | %-34s | %-*s | %10s | %10s | %6s | %-16s | %-6s |\n", "op", "case", c->width,
           "kernel", "us, A", "us, B", "A / B", "interval", "");
    printf("| --------- | ---------------------------------- | %.*s | ---------: | ---------: | "
           "-----: | ---------------- | ------ |\n",
           c->width, line);
}

typedef int pair_fn(struct compare *c, const json_t *a, const json_t *b, bool mix, struct err *e);
typedef void lone_fn(struct compare *c, const json_t *row, int which, int n);

/* The rows of A, then those of B that stand beside none of A. lone: of a row of one file, or
 * NULL. */
static int each_row(struct compare *c, pair_fn *pair, lone_fn *lone, struct err *e)
{
    const struct side *a = &c->side[0], *b = &c->side[1];
    for (size_t i = 0; i < a->n; i++) {
        const json_t *row = json_array_get(a->rows, i);
        const struct match *m = &a->match[i];
        if (m->other >= 0)
            TRY(pair(c, row, json_array_get(b->rows, (size_t)m->other),
                     b->match[m->other].other != (long)i && !m->same, e));
        else if (lone && !taken(b, i))
            lone(c, row, 0, m->n);
    }
    for (size_t k = 0; k < b->n; k++) {
        const json_t *row = json_array_get(b->rows, k);
        const struct match *m = &b->match[k];
        if (taken(a, k))
            continue;
        if (m->other >= 0)
            TRY(pair(c, json_array_get(a->rows, (size_t)m->other), row, true, e));
        else if (lone)
            lone(c, row, 1, m->n);
    }
    return 0;
}

/* No pair of rows has times. */
static int nothing(const struct compare *c, struct err *e)
{
    const struct side *a = &c->side[0], *b = &c->side[1];
    if (!a->n || !b->n)
        FAIL(e, ERR_DATA, "nothing to compare: %s has no rows (A has %zu, B has %zu)",
             a->n ? b->path : a->path, a->n, b->n);
    if (c->failed)
        FAIL(e, ERR_DATA, "nothing to compare: each kernel of both files failed (%d)", c->failed);
    FAIL(e, ERR_DATA,
         "nothing to compare: no row of %s (%zu) is in %s (%zu); measure the same ops and cases",
         a->path, a->n, b->path, b->n);
}

static int compare(struct compare *c, struct err *e)
{
    struct side *a = &c->side[0], *b = &c->side[1];
    TRY(load(a, e));
    TRY(load(b, e));
    match_same(a, b);
    match_same(b, a);
    match_fitting(a, b);
    match_fitting(b, a);
    TRY(each_row(c, check_pair, NULL, e));
    print_head(c);
    TRY(each_row(c, compare_pair, alone, e));
    printf("\n%d faster, %d slower, %d the same within %.2f, %d only in one file", c->faster,
           c->slower, c->same, (double)c->threshold, c->alone);
    if (c->unjudged)
        printf(", %d not judged (part: a kernel beside a call; mix: beside several rows)",
               c->unjudged);
    if (c->failed)
        printf(", %d failed", c->failed);
    printf("\n");
    if (c->broken)
        FAIL(e, ERR_ITEMS, "%d kernel%s of %s failed, which %s in %s", c->broken,
             c->broken == 1 ? "" : "s", b->path, c->broken == 1 ? "runs" : "run", a->path);
    if (!(c->slower + c->faster + c->same + c->unjudged))
        return nothing(c, e);
    if (c->slower)
        FAIL(e, ERR_ITEMS, "%d kernel%s of %s: less than %.2f of the speed in %s", c->slower,
             c->slower == 1 ? "" : "s", b->path, (double)c->threshold, a->path);
    return 0;
}

static error_t parse(int key, char *arg, struct argp_state *st)
{
    struct compare *c = st->input;
    switch (key) {
    case 'T':
        return cli_float(st, "--threshold", arg, 0.01, 1, &c->threshold);
    case ARGP_KEY_ARG:
        if (c->n_path < 2) {
            c->side[c->n_path++].path = arg;
            return 0;
        }
        argp_error(st, "unexpected argument '%s' after two files", arg);
        return EINVAL;
    case ARGP_KEY_END:
        if (c->n_path == 2)
            return 0;
        argp_error(st, "two files are needed, %d %s given", c->n_path,
                   c->n_path == 1 ? "is" : "are");
        return EINVAL;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int bench_compare(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"threshold", 'T', "SHARE", 0,
         "exit 1 when a kernel of B, even at the best of its interval, has less than this share of "
         "A's speed (default 0.95)",
         1},
        {0}};
    static const struct argp argp = {
        options,
        parse,
        "A.json B.json",
        "Compares two results, row by row. A result is the output of mas bench kernels, mas bench "
        "read or mas profile with -o json. Exits 1 for a slower kernel, 65 when no row of A is in "
        "B.",
        NULL,
        NULL,
        NULL};
    struct compare c = {.threshold = 0.95f};
    struct err e = {0};
    int done = cli_parse(&argp, argc, argv, &c);
    if (done >= 0)
        return done;
    int rc = compare(&c, &e);
    for (int i = 0; i < 2; i++) {
        json_decref(c.side[i].doc);
        mem_free(c.side[i].match);
    }
    return rc < 0 ? cmd_fail(&e) : 0;
}
