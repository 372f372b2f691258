#include <stdio.h>
#include <string.h>

#include "jdoc.h"
#include "mem.h"
#include "report.h"
#include "stats.h"
#include "verify_part.h"
#include "zio.h"

/* ---- the figures of the first cases ---------------------------------------------------------- */

/* The run as it was when its trace had k cases. Borrows everything but the list of results. */
static int figures_run(const struct verify_check *c, size_t k, struct trace_run *out, struct err *e)
{
    struct trace_run r = c->run;
    const size_t n = k < c->lines.n ? k : c->lines.n;
    r.results = (struct results){.n = 0};
    if (k >= c->lines.n) {
        *out = c->run;
        return 0;
    }
    r.roles = (struct roles){.n = 0}; /* calls are not counted again: "by_role" is not compared */
    r.results.r = mem_zalloc(n + 1, sizeof *r.results.r);
    if (!r.results.r)
        return NOMEM(e, n * sizeof *r.results.r, "results");
    for (size_t i = 0; i < n; i++)
        r.results.r[i] = c->lines.results.r[c->lines.c[i].result];
    r.results.n = n;
    results_sort(&r.results);
    *out = r;
    return 0;
}

static void figures_run_free(const struct verify_check *c, struct trace_run *r)
{
    if (r->results.r != c->run.results.r)
        mem_free(r->results.r);
}

static int figures_done(const struct verify_check *c, size_t k, size_t *done, struct err *e)
{
    struct trace_run r;
    struct stats_summary s = {.answered = 0};
    TRY(figures_run(c, k, &r, e));
    const int rc = stats_summarize(&r, r.price_kwh, &s, e);
    if (!rc)
        *done = s.so_far.n;
    stats_free(&s);
    figures_run_free(c, &r);
    return rc;
}

/* The number of cases that the trace had when `done` records were done: the least such number, or
 * all cases. More cases have no fewer records done. */
static int figures_cases(const struct verify_check *c, const json_t *figures, size_t *k,
                         struct err *e)
{
    const json_t *v = json_object_get(figures, "done");
    const size_t want =
        json_is_integer(v) && json_integer_value(v) >= 0 ? (size_t)json_integer_value(v) : SIZE_MAX;
    size_t lo = 0, hi = c->lines.n, done = 0;
    TRY(figures_done(c, hi, &done, e));
    if (done == want)
        lo = hi;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        TRY(figures_done(c, mid, &done, e));
        if (done < want)
            lo = mid + 1;
        else
            hi = mid;
    }
    *k = lo;
    return 0;
}

/* ---- comparing ------------------------------------------------------------------------------- */

struct figures_diff {
    struct str names; /* of members that differ, with both values if they are short */
    int n;
    bool counts; /* a count of records differs */
};

static bool figures_is_count(const char *key)
{
    static const char *const names[] = {"records",    "done",     "not_run",  "rejected",
                                        "duplicates", "answered", "unparsed", "failed"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (!strcmp(key, names[i]))
            return true;
    return false;
}

static void figures_value(const json_t *v, struct str *out)
{
    char *s = v ? json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(10)) : NULL;
    str_adds(out, !v ? "absent" : s && strlen(s) < 40 ? s : "another value");
    mem_free(s);
}

static bool figures_same_count(const json_t *a, const json_t *b, const char *key)
{
    return json_equal(json_object_get(a, key), json_object_get(b, key));
}

static void figures_member(const char *key, const json_t *was, const json_t *now,
                           struct figures_diff *d)
{
    if (was && now && json_equal(was, now))
        return;
    d->counts |= figures_is_count(key) && was && now;
    if (!strcmp(key, "accuracy"))
        d->counts |= !figures_same_count(was, now, "correct") || !figures_same_count(was, now, "n");
    if (d->n++ >= VERIFY_SHOWN)
        return;
    str_addf(&d->names, "%s%.60s is ", d->n > 1 ? ", " : "", key);
    figures_value(was, &d->names);
    str_adds(&d->names, " (the trace gives ");
    figures_value(now, &d->names);
    str_addc(&d->names, ')');
}

/* All members of both objects, but those that no trace gives. roles: of all cases. lax: leaves out
 * members that only one has, for another program has other ones. */
static void figures_compare(const json_t *was, const json_t *now, bool roles, bool lax,
                            struct figures_diff *d)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)was, key, v)
    {
        if (!strcmp(key, "engine") || !strcmp(key, "engine_covers") || !strcmp(key, "run") ||
            !strcmp(key, "stopped") || (!roles && !strcmp(key, "by_role")) ||
            (lax && !json_object_get(now, key)))
            continue;
        figures_member(key, v, json_object_get(now, key), d);
    }
    json_object_foreach((json_t *)(uintptr_t)now, key, v)
    {
        if (!lax && !json_object_get(was, key))
            figures_member(key, NULL, v, d);
    }
    if (d->n > VERIFY_SHOWN)
        str_addf(&d->names, ", and %d more", d->n - VERIFY_SHOWN);
}

static bool figures_same_program(const struct verify_check *c)
{
    const char *version = json_string_value(json_object_get(c->recorded.about, "version"));
    return version && !strcmp(version, MAS_COMMIT);
}

/* The words about one file. k of all cases were in the trace when its figures were written. */
static void figures_say(struct verify_check *c, const char *part, const struct figures_diff *d,
                        size_t k)
{
    const char *version = json_string_value(json_object_get(c->recorded.about, "version"));
    if (d->n && !d->counts && !figures_same_program(c))
        verify_say(c, OPEN, "%s: program %.40s computed other figures than this one, %s: %s", part,
                   version ? version : "unknown", MAS_COMMIT, d->names.s);
    else if (d->n)
        verify_say(c, DIFFERS, "%s: %s", part, d->names.s);
    else if (k < c->lines.n)
        verify_say(c, UNFINISHED,
                   "%s: its figures are older than the trace: of %zu cases of %zu; mas eval with "
                   "the same --out continues the run",
                   part, k, c->lines.n);
    else
        verify_say(c, SAME, "all figures of %s", part);
}

/* was: figures of run.json or summary.json. whole: all members of summary.json. */
static int figures_check(struct verify_check *c, const char *part, const json_t *was, bool whole,
                         size_t *k, struct err *e)
{
    struct trace_run r;
    struct stats_summary s = {.answered = 0};
    struct figures_diff d = {.names = STR_INIT};
    struct str text = STR_INIT;
    json_t *now = NULL;
    int rc;
    TRY(figures_cases(c, was, k, e));
    TRY(figures_run(c, *k, &r, e));
    TRY_DONE(stats_summarize(&r, r.price_kwh, &s, e));
    if (whole)
        report_json(&s, "", "", &text);
    else
        report_figures(&s, &text);
    TRY_DONE(str_ok(&text, "figures", e));
    TRY_DONE(jdoc_deep(text.s, text.len, 32, &now, e));
    figures_compare(was, now, *k >= c->lines.n, !figures_same_program(c), &d);
    TRY_DONE(str_ok(&d.names, "differences", e));
    figures_say(c, part, &d, *k);
done:
    json_decref(now);
    stats_free(&s);
    str_free(&text);
    str_free(&d.names);
    figures_run_free(c, &r);
    return rc;
}

/* ---- the files ------------------------------------------------------------------------------- */

/* Line and byte of the first difference of two texts. */
static void first_difference(const struct str *a, const struct str *b, size_t *line, size_t *at)
{
    *line = 1;
    for (*at = 0; *at < a->len && *at < b->len && a->s[*at] == b->s[*at]; (*at)++)
        *line += a->s[*at] == '\n';
}

/* The table of the first k cases; *same: it is the text. */
static int table_of(const struct verify_check *c, size_t k, const struct str *have, bool *same,
                    size_t *line, size_t *at, struct err *e)
{
    struct str want = STR_INIT;
    struct trace_run r;
    TRY(figures_run(c, k, &r, e));
    int rc = report_csv(&r, &want, e);
    if (!rc)
        rc = str_ok(&want, "results.csv", e);
    if (!rc) {
        first_difference(&want, have, line, at);
        *same = *at == want.len && *at == have->len;
    }
    str_free(&want);
    figures_run_free(c, &r);
    return rc;
}

/* run, summary: the numbers of cases of the other figures. */
static int check_table(struct verify_check *c, size_t run, size_t summary, struct err *e)
{
    const size_t k[] = {c->lines.n, run, summary};
    char path[1200];
    struct str have = STR_INIT;
    size_t line = 0, at = 0, other_line, other_at;
    bool same = false;
    int rc;
    if (!verify_at_hand(c, "results.csv", path)) {
        verify_say(c, OPEN, "results.csv: the folder has none");
        return 0;
    }
    TRY_DONE(zio_read(path, VERIFY_BYTES, &have, e));
    TRY_DONE(table_of(c, k[0], &have, &same, &line, &at, e));
    if (same)
        verify_say(c, SAME, "results.csv");
    for (int i = 1; i < 3 && !same; i++) {
        TRY_DONE(table_of(c, k[i], &have, &same, &other_line, &other_at, e));
        if (same)
            verify_say(c, UNFINISHED,
                       "results.csv: it is older than the trace: of %zu cases of %zu", k[i],
                       c->lines.n);
    }
    if (!same)
        verify_say(c, DIFFERS,
                   "results.csv:%zu: byte %zu is not what the trace gives; mas export --csv "
                   "writes it",
                   line, at);
done:
    str_free(&have);
    return rc;
}

static int check_summary(struct verify_check *c, size_t *k, struct err *e)
{
    char path[1200];
    struct str file = STR_INIT;
    json_t *summary = NULL;
    struct err why = {.code = 0};
    int rc;
    if (!verify_at_hand(c, "summary.json", path)) {
        verify_say(c, OPEN, "summary.json: the folder has none");
        return 0;
    }
    rc = zio_read(path, VERIFY_BYTES, &file, &why);
    if (!rc)
        rc = jdoc_deep(file.s, file.len, 32, &summary, &why);
    if (rc) {
        rc = verify_found(c, rc, &why, "summary.json", e);
        goto done;
    }
    TRY_DONE(figures_check(c, "summary.json", summary, true, k, e));
    const json_t *run = json_object_get(summary, "run");
    if (run && !json_equal(json_object_get(run, "identity"), c->recorded.identity))
        verify_say(c, DIFFERS, "summary.json: the identity of its run is not that of run.json");
done:
    json_decref(summary);
    str_free(&file);
    return rc;
}

int verify_figures(struct verify_check *c, struct err *e)
{
    const json_t *was = json_object_get(c->recorded.doc, "figures");
    size_t run = c->lines.n, summary = c->lines.n;
    if (json_is_object(was) && json_object_get(was, "accuracy"))
        TRY(figures_check(c, "run.json", was, false, &run, e));
    else
        verify_say(c, OPEN, "run.json: it has no figures, for the run did not end");
    TRY(check_summary(c, &summary, e));
    return check_table(c, run, summary, e);
}
