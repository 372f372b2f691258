/* mas bench compare: two results of mas bench kernels -o json, row by row. A ratio above 1 means
 * that the second is faster. Its interval is that of the quotient of the two times between their
 * 5 and 95 % quantiles. A kernel that fails in the second alone is as bad as a slower one. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "bench.h"
#include "cli.h"
#include "cmd.h"

struct compare {
    const char *path[2];
    int n_path;
    float threshold;
    json_t *doc[2];
    int slower, faster, same, alone;
    int failed, broken; /* rows that failed in a file; of them those that failed in B alone */
};

static int load(const char *path, json_t **out, struct err *e)
{
    json_error_t why;
    *out = json_load_file(path, 0, &why);
    if (!*out)
        FAIL(e, why.line < 0 ? ERR_NOINPUT : ERR_DATA, "cannot read %s: line %d: %s", path,
             why.line, why.text);
    const char *kind = json_string_value(json_object_get(*out, "bench"));
    if (!kind || strcmp(kind, "kernels") ||
        json_integer_value(json_object_get(*out, "format")) != 1 ||
        !json_is_array(json_object_get(*out, "rows")))
        FAIL(e, ERR_DATA, "%s is not a result of mas bench kernels -o json, format 1", path);
    return 0;
}

static const char *text(const json_t *row, const char *key)
{
    const char *s = json_string_value(json_object_get(row, key));
    return s ? s : "";
}

static double number(const json_t *row, const char *key)
{
    return json_number_value(json_object_get(row, key));
}

static bool same_row(const json_t *a, const json_t *b)
{
    return !strcmp(text(a, "op"), text(b, "op")) && !strcmp(text(a, "case"), text(b, "case")) &&
           !strcmp(text(a, "kernel"), text(b, "kernel"));
}

static const json_t *find(const json_t *rows, const json_t *row)
{
    for (size_t i = 0; i < json_array_size(rows); i++)
        if (same_row(json_array_get(rows, i), row))
            return json_array_get(rows, i);
    return NULL;
}

/* A row of a kernel that failed in at least one file has no figures to compare. */
static bool compare_failed(struct compare *c, const json_t *a, const json_t *b)
{
    const bool in_a = *text(a, "failed"), in_b = *text(b, "failed");
    if (!in_a && !in_b)
        return false;
    printf("| %-9s | %-34s | %-10s | failed in %s: %s\n", text(a, "op"), text(a, "case"),
           text(a, "kernel"),
           in_a && in_b ? "both"
           : in_a       ? "A"
                        : "B",
           text(in_b ? b : a, "failed"));
    c->failed++;
    c->broken += in_b && !in_a;
    return true;
}

static int compare_row(struct compare *c, const json_t *a, const json_t *b, struct err *e)
{
    double low = number(b, "us_p95"), high = number(b, "us_p5"), mid = number(b, "us");
    if (!(low > 0 && high > 0 && mid > 0 && number(a, "us") > 0))
        FAIL(e, ERR_DATA, "%s [%s] %s: times must be above 0", text(a, "op"), text(a, "case"),
             text(a, "kernel"));
    low = number(a, "us_p5") / low;
    high = number(a, "us_p95") / high;
    const char *mark = "";
    if (high < (double)c->threshold) {
        mark = "slower";
        c->slower++;
    } else if (low > 1 / (double)c->threshold) {
        mark = "faster";
        c->faster++;
    } else {
        c->same++;
    }
    printf("| %-9s | %-34s | %-10s | %10.1f | %10.1f | %6.3f | %6.3f .. %-6.3f | %-6s |\n",
           text(a, "op"), text(a, "case"), text(a, "kernel"), number(a, "us"), number(b, "us"),
           number(a, "us") / mid, low, high, mark);
    return 0;
}

static void alone(struct compare *c, const json_t *row, int which)
{
    printf("| %-9s | %-34s | %-10s | only in %s\n", text(row, "op"), text(row, "case"),
           text(row, "kernel"), c->path[which]);
    c->alone++;
}

static int compare(struct compare *c, struct err *e)
{
    for (int i = 0; i < 2; i++)
        TRY(load(c->path[i], &c->doc[i], e));
    const json_t *a = json_object_get(c->doc[0], "rows"), *b = json_object_get(c->doc[1], "rows");
    for (int i = 0; i < 2; i++)
        printf("%c: %s, %s, %s, mas %s\n", 'A' + i, c->path[i], text(c->doc[i], "device"),
               text(c->doc[i], "time"), text(c->doc[i], "commit"));
    printf("\n| %-9s | %-34s | %-10s | %10s | %10s | %6s | %-16s | %-6s |\n| --------- | "
           "---------------------------------- | "
           "---------- | ---------: | ---------: | -----: | ---------------- | ------ |\n",
           "op", "case", "kernel", "us, A", "us, B", "A / B", "interval", "");
    for (size_t i = 0; i < json_array_size(a); i++) {
        const json_t *row = json_array_get(a, i), *other = find(b, row);
        if (!other)
            alone(c, row, 0);
        else if (!compare_failed(c, row, other))
            TRY(compare_row(c, row, other, e));
    }
    for (size_t i = 0; i < json_array_size(b); i++)
        if (!find(a, json_array_get(b, i)))
            alone(c, json_array_get(b, i), 1);
    printf("\n%d faster, %d slower, %d the same within %.2f, %d only in one file", c->faster,
           c->slower, c->same, (double)c->threshold, c->alone);
    if (c->failed)
        printf(", %d failed", c->failed);
    printf("\n");
    if (c->broken)
        FAIL(e, ERR_ITEMS, "%d kernel%s of %s failed, which %s in %s", c->broken,
             c->broken == 1 ? "" : "s", c->path[1], c->broken == 1 ? "runs" : "run", c->path[0]);
    if (c->slower)
        FAIL(e, ERR_ITEMS, "%d kernel%s of %s: less than %.2f of the speed in %s", c->slower,
             c->slower == 1 ? "" : "s", c->path[1], (double)c->threshold, c->path[0]);
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
            c->path[c->n_path++] = arg;
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
        options, parse, "A.json B.json", "Compares two results of mas bench kernels -o json.", NULL,
        NULL,    NULL};
    struct compare c = {.threshold = 0.95f};
    struct err e = {0};
    int done = cli_parse(&argp, argc, argv, &c);
    if (done >= 0)
        return done;
    int rc = compare(&c, &e);
    for (int i = 0; i < 2; i++)
        json_decref(c.doc[i]);
    return rc < 0 ? cmd_fail(&e) : 0;
}
