#include "mas_essence.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "differ.h"
#include "zio.h"

#define FILE_MAX ((size_t)64 << 20)
#define SHOWN_LINES 3
#define CSV_COLUMNS 64

static const char *const volatile_call[] = {"n_cached",   "n_pass",  "n_drafted",
                                            "n_accepted", "seconds", "first_seconds",
                                            "joules",     "crc",     NULL};
static const char *const volatile_case[] = {"cached_tokens",    "seconds", "ended", "joules",
                                            "joules_per_token", "energy",  "crc",   NULL};
static const char *const volatile_summary[] = {"engine", "engine_covers", "run",
                                               "energy", "energy_gap",    NULL};
static const char *const volatile_question[] = {
    "cached_tokens", "seconds_mean",     "seconds_median",       "seconds_p95", "joules",
    "joules_n",      "joules_per_token", "joules_per_new_token", "cost_usd",    NULL};
static const char *const volatile_csv[] = {"total_latency_seconds", "joules", "joules_per_token"};
enum { VOLATILE_CSV = sizeof volatile_csv / sizeof *volatile_csv };
static const char *const volatile_generate[] = {
    "cached_tokens", "passes", "drafted", "accepted", "first_seconds", "total_seconds", NULL};

/* Removes the fields `without` and appends the others as one line with sorted keys. A call keeps
 * only the fields of its kind. */
static int add_json(json_t *j, const char *label, const char *const *without, struct str *out,
                    struct err *e)
{
    for (; *without; without++)
        json_object_del(j, *without);
    char *text = json_dumps(j, JSON_SORT_KEYS);
    if (!text)
        FAIL(e, ERR_DATA, "cannot print %s", label);
    str_addf(out, "%s %s\n", label, text);
    free(text);
    return 0;
}

static int trace_line(const char *line, size_t n, struct str *out, struct err *e)
{
    char label[300];
    json_t *j = json_loadb(line, n, JSON_ALLOW_NUL, NULL);
    const char *call = json_string_value(json_object_get(j, "call")),
               *name = json_string_value(json_object_get(j, "case"));
    int rc;
    if (call) {
        snprintf(label, sizeof label, "call %s %s %d", call,
                 json_string_value(json_object_get(j, "role")),
                 (int)json_integer_value(json_object_get(j, "index")));
        rc = add_json(j, label, volatile_call, out, e);
    } else if (name) {
        snprintf(label, sizeof label, "case %s", name);
        rc = add_json(j, label, volatile_case, out, e);
    } else
        rc = err_set(e, ERR_DATA, "neither call nor case: %.*s", (int)(n < 200 ? n : 200), line);
    json_decref(j);
    return rc;
}

static int add_traces(const char *path, struct str *out, struct err *e)
{
    struct str text = STR_INIT;
    if (access(path, R_OK) < 0)
        return 0;
    TRY(zio_read(path, FILE_MAX, &text, e));
    int rc = 0;
    for (const char *s = text.s; *s && rc == 0;) {
        size_t n = strcspn(s, "\n");
        rc = trace_line(s, n, out, e);
        s += n + (s[n] == '\n');
    }
    str_free(&text);
    return rc;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorts the lines: calls of several cases are written in the order in which they end. */
static void sort_lines(struct str *text)
{
    size_t n = 0, cap = 64;
    char **line = malloc(cap * sizeof *line);
    for (char *s = strtok(text->s, "\n"); s && line; s = strtok(NULL, "\n")) {
        if (n == cap)
            line = realloc(line, (cap *= 2) * sizeof *line);
        line[n++] = s;
    }
    struct str sorted = STR_INIT;
    qsort(line, n, sizeof *line, by_text);
    for (size_t i = 0; i < n; i++)
        str_addf(&sorted, "%s\n", line[i]);
    free(line);
    str_free(text);
    *text = sorted;
}

/* The end of the field of a CSV line at s: its comma, or the end of the line. */
static const char *csv_end(const char *s)
{
    bool quoted = false;
    for (; *s && *s != '\n' && (quoted || *s != ','); s++)
        quoted ^= *s == '"';
    return s;
}

/* The number of that column among those without a fixed content, -1 = another column. */
static int csv_volatile(const char *s, size_t n)
{
    for (int i = 0; i < VOLATILE_CSV; i++)
        if (n == strlen(volatile_csv[i]) && !memcmp(s, volatile_csv[i], n))
            return i;
    return -1;
}

/* Appends results.csv without the columns of seconds and joules. */
static int add_csv(const char *path, struct str *out, struct err *e)
{
    struct str text = STR_INIT;
    TRY(zio_read(path, FILE_MAX, &text, e));
    bool skipped[CSV_COLUMNS] = {false};
    int column = 0, found = 0;
    bool head = true;
    str_adds(out, "csv");
    for (const char *s = text.s; *s;) {
        const char *end = csv_end(s);
        size_t n = (size_t)(end - s), plain = n && s[n - 1] == '\r' ? n - 1 : n;
        if (head && column < CSV_COLUMNS && csv_volatile(s, plain) >= 0) {
            skipped[column] = true;
            found++;
        }
        head = head && *end != '\n';
        if (column >= CSV_COLUMNS || !skipped[column])
            str_addf(out, " %.*s", (int)n, s);
        column = *end == '\n' ? 0 : column + 1;
        str_adds(out, *end == '\n' ? "\ncsv" : *end ? "," : "");
        s = end + (*end != 0);
    }
    str_addc(out, '\n');
    str_free(&text);
    if (found != VOLATILE_CSV)
        FAIL(e, ERR_DATA, "%s: %d of the columns of seconds and joules, expected %d", path, found,
             VOLATILE_CSV);
    return 0;
}

static int add_summary(const char *path, struct str *out, struct err *e)
{
    struct str text = STR_INIT;
    const char *name;
    json_t *role;
    TRY(zio_read(path, FILE_MAX, &text, e));
    json_t *j = json_loadb(text.s, text.len, JSON_ALLOW_NUL, NULL),
           *per_question = json_incref(json_object_get(j, "per_question"));
    str_free(&text);
    json_object_del(j, "per_question");
    json_object_foreach(json_object_get(j, "by_role"), name, role)
        json_object_del(role, "cached_tokens");
    int rc = j && per_question ? 0 : err_set(e, ERR_DATA, "%s: no summary", path);
    if (rc == 0)
        rc = add_json(j, "summary", volatile_summary, out, e);
    if (rc == 0)
        rc = add_json(per_question, "per_question", volatile_question, out, e);
    json_decref(per_question);
    json_decref(j);
    return rc;
}

int essence_of_eval(const char *dir, struct str *out, struct err *e)
{
    char path[1024];
    static const char *const traces[] = {"traces.jsonl.gz", "traces.jsonl"};
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, traces[i]);
        TRY(add_traces(path, out, e));
    }
    sort_lines(out);
    snprintf(path, sizeof path, "%s/results.csv", dir);
    TRY(add_csv(path, out, e));
    snprintf(path, sizeof path, "%s/summary.json", dir);
    TRY(add_summary(path, out, e));
    return str_ok(out, "results", e);
}

int essence_of_generate(const char *path, struct str *out, struct err *e)
{
    json_error_t why;
    json_t *j = json_load_file(path, JSON_ALLOW_NUL, &why);
    if (!j)
        FAIL(e, ERR_DATA, "generate printed no JSON: %s", why.text);
    int rc = add_json(j, "generate", volatile_generate, out, e);
    json_decref(j);
    return rc;
}

int essence_of_perplexity(const char *path, const char *logits, struct str *out, struct err *e)
{
    char *text = differ_read(path), *seconds = strrchr(text, ',');
    if (!seconds) {
        free(text);
        FAIL(e, ERR_DATA, "perplexity printed no figures");
    }
    str_addf(out, "perplexity %.*s\n", (int)(seconds - text), text);
    free(text);
    FILE *f = fopen(logits, "rb");
    if (!f)
        return 0;
    uint64_t hash = 0;
    for (int c; (c = getc(f)) != EOF;)
        hash = (hash ^ (uint64_t)c) * 0x100000001b3u;
    str_addf(out, "logits of %ld bytes, hash %llx\n", ftell(f), (unsigned long long)hash);
    fclose(f);
    return 0;
}

/* ---- the difference ---- */

static void print_field(const char *key, json_t *a, json_t *b)
{
    char *x = a ? json_dumps(a, JSON_ENCODE_ANY) : NULL,
         *y = b ? json_dumps(b, JSON_ENCODE_ANY) : NULL;
    printf("    %s: plain %.300s, here %.300s\n", key, x ? x : "missing", y ? y : "missing");
    free(x);
    free(y);
}

/* Prints the differing fields of two lines "label {..}" with the same label. */
static void print_fields(const char *plain, const char *other)
{
    const char *a = strchr(plain, '{'), *b = strchr(other, '{');
    json_t *x = a ? json_loadb(a, strcspn(a, "\n"), JSON_ALLOW_NUL, NULL) : NULL,
           *y = b ? json_loadb(b, strcspn(b, "\n"), JSON_ALLOW_NUL, NULL) : NULL;
    const char *key;
    json_t *v;
    if (!x || !y) {
        printf("    plain %.*s\n    here  %.*s\n", (int)strcspn(plain, "\n"), plain,
               (int)strcspn(other, "\n"), other);
    } else {
        json_object_foreach(x, key, v) if (!json_object_get(y, key) ||
                                           !json_equal(v, json_object_get(y, key)))
            print_field(key, v, json_object_get(y, key));
        json_object_foreach(y, key, v) if (!json_object_get(x, key)) print_field(key, NULL, v);
    }
    json_decref(x);
    json_decref(y);
}

static size_t label_length(const char *line)
{
    size_t n = strcspn(line, "\n"), brace = strcspn(line, "{");
    return brace < n ? brace : strcspn(line, " \n");
}

void essence_print_difference(const char *plain, const char *other)
{
    for (int shown = 0; (*plain || *other) && shown < SHOWN_LINES;) {
        size_t n = strcspn(plain, "\n"), m = strcspn(other, "\n"), l = label_length(plain),
               k = label_length(other);
        size_t common = l < k ? l : k;
        int order = !*plain ? 1 : !*other ? -1 : strncmp(plain, other, common);
        order = order ? order : (l > k) - (l < k);
        if (order == 0 && (n != m || memcmp(plain, other, n))) {
            printf("  %.*s differs\n", (int)l, plain);
            print_fields(plain, other);
            shown++;
        } else if (order) {
            printf("  %s: %.*s\n", order < 0 ? "missing here" : "only here",
                   (int)(order < 0 ? l : k), order < 0 ? plain : other);
            shown++;
        }
        if (order <= 0)
            plain += n + (plain[n] == '\n');
        if (order >= 0)
            other += m + (other[m] == '\n');
    }
}
