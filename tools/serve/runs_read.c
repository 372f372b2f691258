/* The folders of runs, read for clients. */
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>

#include "jdoc.h"
#include "jscan.h"
#include "mem.h"
#include "report.h"
#include "runs.h"
#include "stats.h"
#include "trace_scan.h"
#include "zio.h"

#define ABOUT_BYTES ((size_t)4 << 20)

bool runs_id_good(const char *id)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789._-,=+";
    size_t n = strlen(id);
    return n && n <= RUNS_ID && id[0] != '.' && strspn(id, letters) == n;
}

int runs_dir(const struct serve *s, const char *id, char out[RUNFOLDER_PATH], struct err *e)
{
    const struct tool_options *of = config_of(s->config, &tool_option_set);
    char about[RUNFOLDER_PATH + 16];
    struct stat st;
    bool good = runs_id_good(id);
    if (good && snprintf(out, RUNFOLDER_PATH, "%s/%s", of->traces_dir, id) >= RUNFOLDER_PATH)
        good = false;
    snprintf(about, sizeof about, "%s/run.json", good ? out : "");
    const char *cell = good && stat(about, &st) != 0 ? strstr(id, RUNS_CELL) : NULL;
    if (cell) { /* a run of an experiment */
        const char *name = cell + strlen(RUNS_CELL);
        good = runs_id_good(name) && snprintf(out, RUNFOLDER_PATH, "%s/%.*s/%s", of->traces_dir,
                                              (int)(cell - id), id, name) < RUNFOLDER_PATH;
        snprintf(about, sizeof about, "%s/run.json", good ? out : "");
    }
    if (!good || stat(about, &st) != 0)
        FAIL(e, ERR_NOINPUT, "no run '%.120s'; GET /runs lists all", id);
    return 0;
}

static void text_member(struct str *out, const char *key, const char *s)
{
    str_addf(out, ", \"%s\": ", key);
    str_add_json(out, s, strlen(s));
}

static void number_member(struct str *out, const char *key, double v)
{
    str_addf(out, ", \"%s\": ", key);
    str_add_number(out, v, 9);
}

static void letter_member(struct str *out, const char *key, int i)
{
    if (i >= 0)
        str_addf(out, ", \"%s\": \"%c\"", key, 'A' + i);
    else
        str_addf(out, ", \"%s\": null", key);
}

void runs_rate_json(size_t correct, size_t n, struct str *out)
{
    const struct stats_rate r = stats_wilson(correct, n);
    str_addf(out, "{\"correct\": %zu, \"n\": %zu", correct, n);
    number_member(out, "accuracy", r.rate);
    number_member(out, "low", r.lo);
    number_member(out, "high", r.hi);
    str_adds(out, "}");
}

/* ---- run.json -------------------------------------------------------------------------------- */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void copy_text(struct str *out, const char *key, const json_t *object, const char *name)
{
    const char *s = json_string_value(json_object_get(object, name));
    text_member(out, key, s ? base_name(s) : "");
}

/* Members "status", "records", .. of the last report; null members if there is none. */
static void copy_figures(const json_t *figures, struct str *out)
{
    static const char *const names[] = {"status",     "records",  "done",     "not_run", "rejected",
                                        "duplicates", "answered", "unparsed", "failed"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const json_t *v = json_object_get(figures, names[i]);
        char *text = json_dumps(v, JSON_ENCODE_ANY);
        out->failed |= v && !text;
        str_addf(out, ", \"%s\": %s", names[i], text ? text : "null");
        mem_free(text);
    }
    const json_t *a = json_object_get(figures, "accuracy");
    const json_t *done = json_object_get(figures, "done");
    char *text = json_dumps(a, JSON_ENCODE_ANY);
    out->failed |= a && !text;
    str_addf(out, ", \"accuracy\": %s, \"so_far\": ", text ? text : "null");
    mem_free(text);
    if (json_is_object(a) && json_is_integer(done))
        runs_rate_json((size_t)json_integer_value(json_object_get(a, "correct")),
                       (size_t)json_integer_value(done), out);
    else
        str_adds(out, "null");
}

int runs_about_json(const char *dir, bool *one_case, struct str *out, struct err *e)
{
    struct str text = STR_INIT;
    char path[RUNFOLDER_PATH + 16];
    json_t *doc = NULL;
    snprintf(path, sizeof path, "%s/run.json", dir);
    int rc = zio_read(path, ABOUT_BYTES, &text, e);
    if (rc == 0)
        rc = jdoc_load(text.s, text.len, &doc, e);
    const json_t *sessions = json_object_get(doc, "sessions");
    const json_t *first = json_array_get(sessions, 0);
    const json_t *last = json_array_get(sessions, json_array_size(sessions) - 1);
    const json_t *about = json_object_get(last, "about");
    const json_t *config = json_object_get(about, "config");
    const json_t *figures = json_object_get(doc, "figures");
    const char *data = json_string_value(json_object_get(about, "data"));
    if (rc == 0 && json_is_object(about)) {
        const char *status = json_string_value(json_object_get(figures, "status"));
        *one_case = data && !strcmp(data, "-");
        str_addf(out, ", \"state\": \"%s\"",
                 status && !strcmp(status, "complete") ? "complete" : "partial");
        copy_text(out, "strategy", config, "strategy");
        copy_text(out, "model", about, "model");
        copy_text(out, "data", about, "data");
        copy_text(out, "device", about, "device");
        copy_text(out, "began", first, "began");
        copy_text(out, "last_start", last, "last_start");
        str_addf(out, ", \"seed\": %lld, \"asked\": %lld",
                 (long long)json_integer_value(json_object_get(config, "seed")),
                 (long long)json_integer_value(json_object_get(doc, "asked")));
        copy_figures(figures, out);
    }
    if (rc != ERR_NOMEM && !(rc == 0 && json_is_object(about))) {
        str_adds(out, ", \"state\": \"damaged\"");
        rc = 0;
    }
    json_decref(doc);
    str_free(&text);
    return rc < 0 ? rc : str_ok(out, "a run's description", e);
}

/* ---- lines of the trace ---------------------------------------------------------------------- */

struct lines { /* the complete lines of a trace */
    struct str text;
    size_t at;
};

static int lines_open(const char *dir, struct lines *l, struct err *e)
{
    char path[1100];
    struct folder f = {.lock = -1};
    l->at = 0;
    l->text = (struct str)STR_INIT;
    snprintf(f.dir, sizeof f.dir, "%s", dir);
    return trace_text(&f, path, &l->text, e);
}

/* false: no more. The line has no line break. */
static bool lines_next(struct lines *l, const char **s, size_t *n)
{
    const char *from = l->text.s + l->at;
    const char *end = memchr(from, '\n', l->text.len - l->at);
    if (!end)
        return false;
    *s = from;
    *n = (size_t)(end - from);
    l->at += *n + 1;
    return true;
}

static bool is_case(const char *s, size_t n)
{
    static const char head[] = "{\"case\": ";
    return n > sizeof head && !memcmp(s, head, sizeof head - 1);
}

void runs_case_event(const struct result *r, int64_t number, struct str *out)
{
    struct str s = STR_INIT;
    str_addf(&s, "{\"n\": %lld, \"id\": \"%s\", \"state\": \"%s\", \"correct\": %s",
             (long long)r->index, r->id, consult_state_name(r->state),
             r->correct ? "true" : "false");
    letter_member(&s, "predicted", r->predicted);
    letter_member(&s, "key", r->key);
    number_member(&s, "seconds", r->seconds);
    str_addf(&s, ", \"tokens\": %lld, \"calls\": %d",
             (long long)(r->prompt_tokens + r->think_tokens + r->new_tokens), r->calls);
    text_member(&s, "why", r->why);
    str_adds(&s, "}");
    if (s.failed)
        out->failed = true;
    else
        clinical_event(out, "case", number, s.s, s.len);
    str_free(&s);
}

int runs_read_events(const char *dir, int64_t last, struct str *out, struct err *e)
{
    struct lines l;
    struct results rs = {.n = 0};
    const char *s;
    size_t n;
    int rc = lines_open(dir, &l, e);
    for (int64_t number = 0; rc == 0 && lines_next(&l, &s, &n);) {
        if (!is_case(s, n))
            continue;
        if (++number <= last)
            continue;
        rc = result_read(&rs, s, n, e);
        if (rc == 0)
            runs_case_event(&rs.r[rs.n - 1], number, out);
    }
    results_free(&rs);
    str_free(&l.text);
    return rc < 0 ? rc : str_ok(out, "events", e);
}

/* The number of the record in a case's line, -1 = none. */
static int64_t case_number(const char *s, size_t n)
{
    const char *at = strstr(s, "\"n\": "); /* the second member */
    int64_t v = 0;
    if (!at || at > s + n)
        return -1;
    for (at += 5; at < s + n && *at >= '0' && *at <= '9' && v < TRACE_INDEX; at++)
        v = v * 10 + (*at - '0');
    return v;
}

int runs_read_case(const char *dir, int64_t wanted, struct str *out, struct err *e)
{
    struct lines l;
    struct str calls = STR_INIT;
    const char *s;
    size_t n;
    bool found = false;
    int rc = lines_open(dir, &l, e);
    while (rc == 0 && !found && lines_next(&l, &s, &n)) {
        if (!is_case(s, n)) {
            str_adds(&calls, calls.len ? ", " : "");
            str_add(&calls, s, n);
            continue;
        }
        found = case_number(s, n) == wanted;
        if (found) {
            str_adds(out, "{\"case\": ");
            str_add(out, s, n);
            str_addf(out, ", \"calls\": [%s]}\n", calls.s);
            out->failed |= calls.failed;
        }
        str_clear(&calls);
    }
    if (rc == 0 && !found)
        rc = err_set(e, ERR_NOINPUT, "record %lld of this run has no finished case",
                     (long long)wanted);
    str_free(&calls);
    str_free(&l.text);
    return rc < 0 ? rc : str_ok(out, "a case", e);
}

/* ---- the summary ----------------------------------------------------------------------------- */

static const struct result *result_of(const struct trace_run *run, size_t index)
{
    size_t lo = 0, hi = run->results.n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if ((size_t)run->results.r[mid].index < index)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < run->results.n && (size_t)run->results.r[lo].index == index ? &run->results.r[lo]
                                                                            : NULL;
}

static const char *row_state(const struct records_row *row, const struct result *r)
{
    if (row->kind == MEDQA_REJECTED)
        return "rejected";
    if (row->kind == MEDQA_DUPLICATE)
        return "duplicate";
    return r ? consult_state_name(r->state) : "not run";
}

static bool row_fits(const char *filter, const char *state, const struct result *r)
{
    if (!strcmp(filter, "wrong"))
        return strcmp(state, "not run") != 0 && !(r && r->correct);
    if (!strcmp(filter, "correct"))
        return r && r->correct;
    if (!strcmp(filter, "unparsed") || !strcmp(filter, "failed"))
        return !strcmp(state, filter);
    return true;
}

static void row_json(const struct records_row *row, size_t i, const struct result *r,
                     const char *state, struct str *out)
{
    str_addf(out, "{\"n\": %zu, \"line\": %lld, \"state\": \"%s\", \"id\": \"%s\"", i,
             (long long)row->line, state, row->id);
    letter_member(out, "key", row->key);
    text_member(out, "question", row->question);
    text_member(out, "step", row->step);
    if (!strcmp(state, "duplicate"))
        str_addf(out, ", \"of\": %zu", row->of);
    if (r) {
        letter_member(out, "predicted", r->predicted);
        text_member(out, "answer", r->answer);
        str_addf(out, ", \"correct\": %s, \"calls\": %d, \"tokens\": %lld",
                 r->correct ? "true" : "false", r->calls,
                 (long long)(r->prompt_tokens + r->think_tokens + r->new_tokens));
        number_member(out, "seconds", r->seconds);
        number_member(out, "p", r->p);
    }
    text_member(out, "why", row->kind == MEDQA_REJECTED ? row->why : r ? r->why : "");
    str_adds(out, "}");
}

static void cases_json(const struct trace_run *run, const struct runs_page *page, struct str *out)
{
    int64_t fit = 0, shown = 0;
    str_adds(out, ", \"cases\": [");
    for (size_t i = 0; i < run->asked; i++) {
        const struct records_row *row = &run->records.r[i];
        const struct result *r = row->kind == MEDQA_REJECTED ? NULL : result_of(run, row->of);
        const char *state = row_state(row, r);
        if (!row_fits(page->filter, state, r) || fit++ < page->offset || shown >= page->limit)
            continue;
        str_adds(out, shown++ ? ",\n " : "");
        row_json(row, i, r, state, out);
    }
    str_addf(out, "], \"offset\": %lld, \"limit\": %lld, \"filter\": \"%s\", \"fit\": %lld",
             (long long)page->offset, (long long)page->limit, page->filter, (long long)fit);
}

int runs_read_summary(const char *dir, const struct runs_page *page, struct str *out, struct err *e)
{
    struct trace_run run = {.asked = 0};
    struct stats_summary s = {.answered = 0};
    int rc;
    TRY_DONE(trace_read(dir, &run, e));
    TRY_DONE(stats_summarize(&run, run.price_kwh, &s, e));
    str_adds(out, ", \"summary\": ");
    report_json(&s, "", "", out);
    cases_json(&run, page, out);
done:
    stats_free(&s);
    trace_run_free(&run);
    return rc;
}
