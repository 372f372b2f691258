/* GET /runs and below: lists, figures, cases and events, of live runs and of folders. */
#include "runs.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "gridfile.h"
#include "mem.h"
#include "trace_scan.h"

#define FOLDERS_MOST 4000 /* newest folders that a list looks at */

/* ---- GET /runs ------------------------------------------------------------------------------- */

/* Queries and headers can be read on the transport's thread alone; the work is done on another. */
struct reading {
    struct runs_page page;
    bool cases;      /* GET /runs: single cases, too */
    int64_t last;    /* Last-Event-ID */
    const char *bad; /* the query at fault; NULL = none */
    char why[200];
};

static void bad_query(struct reading *q, const char *name, const char *value, const char *takes)
{
    if (q->bad)
        return;
    q->bad = name;
    snprintf(q->why, sizeof q->why, "'%s' is '%.60s', expected %s", name, value, takes);
}

static void number_query(struct call *c, const char *name, int64_t lo, int64_t hi, int64_t *v,
                         struct reading *q)
{
    const char *s = http_query(c->http, name);
    char takes[60];
    snprintf(takes, sizeof takes, "%lld to %lld", (long long)lo, (long long)hi);
    if (s && !str_to_i64(s, lo, hi, v))
        bad_query(q, name, s, takes);
}

static void read_query(struct call *c, struct reading *q)
{
    static const char *const filters[] = {"all", "wrong", "correct", "unparsed", "failed"};
    const char *filter = http_query(c->http, "filter"), *cases = http_query(c->http, "cases");
    const char *last = http_header(c->http, "last-event-id");
    *q = (struct reading){.page = {.limit = 100, .filter = "all"}};
    number_query(c, "offset", 0, INT32_MAX, &q->page.offset, q);
    number_query(c, "limit", 0, 1000, &q->page.limit, q);
    number_query(c, "last", 0, INT64_MAX, &q->last, q);
    if (last && !str_to_i64(last, 0, INT64_MAX, &q->last))
        bad_query(q, "Last-Event-ID", last, "the number of an event");
    bool known = !filter;
    for (size_t i = 0; i < sizeof filters / sizeof filters[0] && !known; i++)
        known = !strcmp(filter, filters[i]);
    if (!known)
        bad_query(q, "filter", filter, "all, wrong, correct, unparsed or failed");
    else if (filter)
        snprintf(q->page.filter, sizeof q->page.filter, "%s", filter);
    q->cases = cases && !strcmp(cases, "true");
    if (cases && !q->cases && strcmp(cases, "false") != 0)
        bad_query(q, "cases", cases, "true or false");
}

/* On the transport's thread: keeps the queries as the call's arguments, and goes on elsewhere. */
static void read_later(struct call *c, void (*run)(struct work_job *j))
{
    struct reading *q = mem_zalloc(1, sizeof *q);
    struct err e = {0};
    if (!q) {
        NOMEM(&e, sizeof *q, "a request");
        call_fail_err(c, NULL, &e);
        return;
    }
    read_query(c, q);
    c->args = q;
    if (q->bad) {
        call_fail(c, 400, q->bad, "%s", q->why);
        return;
    }
    c->job.run = run;
    work_post(c->s->work, &c->job);
}

static struct call *call_of(struct work_job *j)
{
    return (struct call *)((char *)j - offsetof(struct call, job));
}

struct folder_name {
    char name[RUNS_ID + 1];
    int64_t changed;
};

static int newer(const void *a, const void *b)
{
    const struct folder_name *x = a, *y = b;
    if (x->changed != y->changed)
        return x->changed < y->changed ? 1 : -1;
    return strcmp(y->name, x->name);
}

/* A folder that the program has named for a single case. */
static bool names_case(const char *id)
{
    static const char *const kinds[] = {"run-", "plan-", "consult-", "aggregate-"};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const char *at = id + strlen(kinds[i]);
        if (!strncmp(id, kinds[i], strlen(kinds[i])) && strspn(at, "0123456789") == 8 &&
            at[8] == '-' && strspn(at + 9, "0123456789") == 6)
            return true;
    }
    return false;
}

struct folder_list {
    struct folder_name *f; /* (n) */
    size_t n, cap;
};

/* Adds the run whose folder is below dir, if it is one. of: its experiment; "" = none. */
static int list_add(struct folder_list *l, const char *dir, const char *of, const char *name,
                    struct err *e)
{
    char path[2 * RUNFOLDER_PATH], id[2 * RUNS_ID + 8];
    struct stat st;
    if (!runs_id_good(name))
        return 0;
    snprintf(id, sizeof id, "%s%s%s", of, *of ? RUNS_CELL : "", name);
    snprintf(path, sizeof path, "%s/%s/run.json", dir, name);
    if (!runs_id_good(id) || stat(path, &st) != 0)
        return 0;
    TRY(mem_grow(&l->f, &l->cap, l->n + 1, sizeof *l->f, "runs", e));
    snprintf(l->f[l->n].name, sizeof l->f[l->n].name, "%s", id);
    l->f[l->n++].changed = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    return 0;
}

/* Adds the runs of an experiment, if the folder is one. */
static int list_cells(struct folder_list *l, const char *dir, const char *name, struct err *e)
{
    char path[RUNFOLDER_PATH + RUNS_ID + 16];
    int rc = 0;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    DIR *d = gridfile_is(path) ? opendir(path) : NULL;
    for (struct dirent *f; d && rc == 0 && (f = readdir(d));)
        rc = list_add(l, path, name, f->d_name, e);
    if (d)
        closedir(d);
    return rc;
}

/* The folders of runs, the newest first. */
static int list_folders(const struct serve *s, bool cases, struct folder_name **out, size_t *n,
                        struct err *e)
{
    const struct tool_options *of = config_of(s->config, &tool_option_set);
    DIR *d = opendir(of->traces_dir);
    struct folder_list l = {.n = 0};
    int rc = 0;
    *out = NULL;
    *n = 0;
    if (!d)
        return 0; /* nothing has run yet */
    for (struct dirent *f; rc == 0 && (f = readdir(d));) {
        if (!runs_id_good(f->d_name) || (!cases && names_case(f->d_name)))
            continue;
        rc = list_add(&l, of->traces_dir, "", f->d_name, e);
        if (rc == 0)
            rc = list_cells(&l, of->traces_dir, f->d_name, e);
    }
    closedir(d);
    if (l.n)
        qsort(l.f, l.n, sizeof *l.f, newer);
    *out = l.f;
    *n = l.n;
    return rc;
}

/* Appends the run as one object without its last bracket. *fits false: it is left out. */
static int run_json(struct serve *s, const char *id, bool cases, bool *fits, struct str *out,
                    struct err *e)
{
    struct clinical *k = s->clinical;
    struct str about = STR_INIT;
    char dir[RUNFOLDER_PATH];
    bool one_case = false;
    *fits = false;
    if (runs_dir(s, id, dir, NULL) < 0)
        return 0;
    int rc = runs_about_json(dir, &one_case, &about, e);
    if (rc < 0 || (one_case && !cases)) {
        str_free(&about);
        return rc;
    }
    str_addf(out, "{\"id\": \"%s\", \"kind\": \"%s\"", id, one_case ? "case" : "evaluation");
    str_adds(out, about.s);
    pthread_mutex_lock(&k->lock);
    const struct live_run *r = runs_find_live(k, id);
    if (r) {
        str_adds(out, ", \"live\": {");
        runs_progress_json(r, out);
        str_adds(out, "}");
    } else {
        str_adds(out, ", \"live\": null");
    }
    pthread_mutex_unlock(&k->lock);
    str_free(&about);
    *fits = true;
    return str_ok(out, "a list of runs", e);
}

static void list_job(struct work_job *j)
{
    struct call *c = call_of(j);
    const struct reading *q = c->args;
    struct folder_name *f = NULL;
    struct str out = STR_INIT;
    struct err e = {0};
    size_t n = 0;
    int64_t fit = 0, shown = 0;
    if (list_folders(c->s, q->cases, &f, &n, &e) < 0) {
        mem_free(f);
        call_fail_err(c, NULL, &e);
        return;
    }
    str_adds(&out, "{\"notice\": \"" CLINICAL_NOTICE "\", \"runs\": [");
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n && i < FOLDERS_MOST && shown < q->page.limit; i++) {
        struct str one = STR_INIT;
        bool fits;
        rc = run_json(c->s, f[i].name, q->cases, &fits, &one, &e);
        if (rc == 0 && fits && fit++ >= q->page.offset)
            str_addf(&out, "%s%s}", shown++ ? ",\n " : "", one.s);
        str_free(&one);
    }
    str_addf(&out, "], \"offset\": %lld, \"limit\": %lld}\n", (long long)q->page.offset,
             (long long)q->page.limit);
    mem_free(f);
    if (rc < 0) {
        str_free(&out);
        call_fail_err(c, NULL, &e);
        return;
    }
    call_reply(c, 200, &out);
}

void runs_get(struct call *c)
{
    read_later(c, list_job);
}

/* ---- GET /runs/ID and below ------------------------------------------------------------------ */

/* The error of a folder that cannot be read names no path. */
static void fail_folder(struct call *c, const char *id, const struct err *e)
{
    if (e->code == ERR_NOMEM || (e->code == ERR_NOINPUT && !strchr(e->msg, '/'))) {
        call_fail_err(c, NULL, e);
        return;
    }
    log_warn("run %s: %s", id, e->msg);
    call_fail(c, 409, NULL,
              "the folder of run %s cannot be read; the server's log says why, and mas eval "
              "--repair may mend it",
              id);
}

static void summary_job(struct work_job *j)
{
    struct call *c = call_of(j);
    const struct reading *q = c->args;
    char dir[RUNFOLDER_PATH], id[sizeof c->part];
    struct str out = STR_INIT;
    struct err e = {0};
    snprintf(id, sizeof id, "%s", c->part);
    int rc = runs_dir(c->s, id, dir, &e);
    if (rc < 0) {
        call_fail_err(c, NULL, &e);
        return;
    }
    bool fits;
    rc = run_json(c->s, id, true, &fits, &out, &e);
    if (rc == 0)
        rc = runs_read_summary(dir, &q->page, &out, &e);
    if (rc < 0) {
        str_free(&out);
        fail_folder(c, id, &e);
        return;
    }
    str_adds(&out, ", \"notice\": \"" CLINICAL_NOTICE "\"}\n");
    call_reply(c, 200, &out);
}

void run_get(struct call *c)
{
    read_later(c, summary_job);
}

/* part: "ID/cases/N". */
static void case_job(struct work_job *j)
{
    struct call *c = call_of(j);
    char dir[RUNFOLDER_PATH], id[sizeof c->part];
    struct str out = STR_INIT;
    struct err e = {0};
    int64_t n = 0;
    snprintf(id, sizeof id, "%s", c->part);
    char *slash = strchr(id, '/'), *number = strrchr(id, '/');
    bool good = slash && str_to_i64(number + 1, 0, TRACE_INDEX, &n);
    if (slash)
        *slash = 0;
    int rc = good ? runs_dir(c->s, id, dir, &e)
                  : err_set(&e, ERR_NOINPUT, "a case's number is a whole number from 0");
    if (rc < 0) {
        call_fail_err(c, NULL, &e);
        return;
    }
    rc = runs_read_case(dir, n, &out, &e);
    if (rc < 0) {
        str_free(&out);
        fail_folder(c, id, &e);
        return;
    }
    call_reply(c, 200, &out);
}

void run_case_get(struct call *c)
{
    read_later(c, case_job);
}

/* A live run's client: gets the events that it has not seen, and waits for more. With the lock. */
static bool events_live(struct live_run *r, struct call *c, int64_t last)
{
    struct runs_watcher *w = mem_zalloc(1, sizeof *w);
    size_t from = last > 0 && (size_t)last <= r->n_event ? r->event[last - 1] : 0;
    if (!w)
        return false;
    if (last > 0 && (size_t)last > r->n_event)
        from = r->text.len;
    w->c = c;
    http_begin(c->http, 200, CLINICAL_STREAM, CLINICAL_BEAT);
    if (r->text.len > from)
        http_write(c->http, r->text.s + from, r->text.len - from);
    w->next = r->watchers;
    r->watchers = w;
    runs_tell_progress(r);
    return true;
}

static void events_job(struct work_job *j)
{
    struct call *c = call_of(j);
    struct clinical *k = c->s->clinical;
    const struct reading *q = c->args;
    char dir[RUNFOLDER_PATH], id[sizeof c->part];
    struct str out = STR_INIT, about = STR_INIT;
    struct err e = {0};
    snprintf(id, sizeof id, "%s", c->part);
    pthread_mutex_lock(&k->lock);
    struct live_run *r = runs_find_live(k, id);
    bool told = r && events_live(r, c, q->last);
    pthread_mutex_unlock(&k->lock);
    if (told)
        return;
    int rc = runs_dir(c->s, id, dir, &e);
    if (rc < 0) {
        call_fail_err(c, NULL, &e);
        return;
    }
    bool one_case = false;
    rc = runs_about_json(dir, &one_case, &about, &e);
    if (rc == 0)
        rc = runs_read_events(dir, q->last, &out, &e);
    if (rc < 0) {
        str_free(&out);
        str_free(&about);
        fail_folder(c, id, &e);
        return;
    }
    bool complete = strstr(about.s, "\"state\": \"complete\"") != NULL;
    const char *end = complete ? "{\"state\": \"complete\", \"why\": \"\"}"
                               : "{\"state\": \"partial\", \"why\": \"\"}";
    clinical_event(&out, "end", -1, end, strlen(end));
    str_free(&about);
    http_begin(c->http, 200, CLINICAL_STREAM, CLINICAL_BEAT);
    if (!out.failed)
        http_write(c->http, out.s, out.len);
    http_end(c->http, out.failed);
    str_free(&out);
    call_free(c);
}

void run_events_get(struct call *c)
{
    read_later(c, events_job);
}
