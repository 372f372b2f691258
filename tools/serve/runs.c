/* POST /eval, and runs that begin, go on and stop. */
#include "runs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "check.h"
#include "engine_options.h"
#include "jdoc.h"
#include "log.h"
#include "mem.h"
#include "outfile.h"
#include "provider.h"
#include "sources.h"
#include "subset.h"
#include "vary.h"
#include "zio.h"

#define QUESTIONS "questions.json" /* in the folder of a run that was given its questions */

struct eval_args {
#define X(...) FIELD_MEMBER(__VA_ARGS__)
#include "clinical_eval.def"
#undef X
};
static const struct field_row rows[] = {
#define X(...) FIELD_ROW(struct eval_args, __VA_ARGS__)
#include "clinical_eval.def"
#undef X
};
const struct field_set clinical_eval_fields = {"EvalRequest", rows, sizeof rows / sizeof rows[0],
                                               sizeof(struct eval_args)};

struct start { /* a run that begins or goes on: until its call has an answer */
    struct call *c;
    struct live_run *r;
    char data[RUNFOLDER_PATH + 32]; /* path of the questions; "" = they are in `given` */
    struct str given;               /* JSON of given questions */
    size_t asked;                   /* first records; 0 = all */
    bool shuffle;
};

/* ---- a live run ------------------------------------------------------------------------------ */

struct live_run *runs_find_live(struct clinical *k, const char *id)
{
    struct live_run *r = k->runs;
    while (r && strcmp(r->id, id) != 0)
        r = r->next;
    return r;
}

static void run_unlist(struct clinical *k, struct live_run *r)
{
    for (struct live_run **p = &k->runs; *p; p = &(*p)->next)
        if (*p == r) {
            *p = r->next;
            return;
        }
}

static void run_free(struct live_run *r)
{
    CHECK(!r->watchers);
    trace_close(r->trace);
    ward_close(&r->ward);
    medqa_free(&r->m);
    str_free(&r->subset);
    str_free(&r->variants);
    mem_free(r->event);
    str_free(&r->text);
    mem_free(r);
}

static double per_second(const struct run_progress *p)
{
    return p->seconds > 0 ? (double)p->new_tokens / p->seconds : 0;
}

void runs_progress_json(const struct live_run *r, struct str *out)
{
    const struct run_progress *p = &r->p;
    size_t known = p->done + r->asked.rejected;
    double left = p->fresh ? p->seconds / (double)p->fresh * (double)(p->total - p->done) : NAN;
    str_addf(out, "\"done\": %zu, \"total\": %zu, \"correct\": %zu, \"unparsed\": %zu", p->done,
             p->total, p->correct, p->unparsed);
    str_addf(out,
             ", \"failed\": %zu, \"rejected\": %zu, \"in_flight\": %zu, \"so_far\": ", p->failed,
             r->asked.rejected, p->in_flight);
    runs_rate_json(p->correct, known, out);
    str_addf(out, ", \"seconds\": %.3f, \"new_tokens\": %lld, \"tokens_per_second\": %.6g",
             p->seconds, (long long)p->new_tokens, per_second(p));
    if (isfinite(left))
        str_addf(out, ", \"seconds_left\": %.3f", left);
    else
        str_adds(out, ", \"seconds_left\": null");
    if (p->n_joules)
        str_addf(out, ", \"joules\": %.9g", p->joules);
    else
        str_adds(out, ", \"joules\": null");
}

/* With the lock. Clients that have left are dropped. */
static void run_tell(struct live_run *r, const char *s, size_t n)
{
    for (struct runs_watcher **p = &r->watchers; *p;) {
        struct runs_watcher *w = *p;
        if (http_gone(w->c->http)) {
            *p = w->next;
            http_end(w->c->http, false);
            call_free(w->c);
            mem_free(w);
            continue;
        }
        http_write(w->c->http, s, n);
        p = &w->next;
    }
}

void runs_tell_progress(struct live_run *r)
{
    struct str s = STR_INIT, event = STR_INIT;
    str_addc(&s, '{');
    runs_progress_json(r, &s);
    str_addc(&s, '}');
    if (!s.failed)
        clinical_event(&event, "progress", -1, s.s, s.len);
    if (event.len && !event.failed)
        run_tell(r, event.s, event.len);
    str_free(&s);
    str_free(&event);
}

/* With the lock. Keeps the event of one more finished case. */
static void run_keep(struct live_run *r, const struct result *res)
{
    struct err e;
    if (mem_grow(&r->event, &r->cap_event, r->n_event + 1, sizeof *r->event, "events", &e) < 0) {
        r->text.failed = true; /* no event is left out in silence: all later ones are */
        return;
    }
    runs_case_event(res, (int64_t)r->n_event + 1, &r->text);
    r->event[r->n_event++] = r->text.len;
}

static void on_progress(const struct run_progress *p, void *user)
{
    struct live_run *r = user;
    struct clinical *k = r->seat->k;
    pthread_mutex_lock(&k->lock);
    r->p = *p;
    runs_tell_progress(r);
    pthread_mutex_unlock(&k->lock);
}

static void on_finished(const struct consult *c, const struct result *res, void *user)
{
    struct live_run *r = user;
    struct clinical *k = r->seat->k;
    (void)c;
    pthread_mutex_lock(&k->lock);
    size_t before = r->text.len;
    run_keep(r, res);
    if (!r->text.failed && r->text.len > before)
        run_tell(r, r->text.s + before, r->text.len - before);
    pthread_mutex_unlock(&k->lock);
}

static double on_joules(void *user, const char **source)
{
    return seat_joules(((struct live_run *)user)->seat, source);
}

/* Ends the streams of all clients. With the lock. */
static void run_tell_end(struct live_run *r, const char *state, const char *why)
{
    struct str s = STR_INIT, event = STR_INIT;
    runs_tell_progress(r);
    str_addf(&s, "{\"state\": \"%s\", \"why\": ", state);
    str_add_json(&s, why, strlen(why));
    str_addc(&s, '}');
    if (!s.failed)
        clinical_event(&event, "end", -1, s.s, s.len);
    while (r->watchers) {
        struct runs_watcher *w = r->watchers;
        r->watchers = w->next;
        if (!event.failed)
            http_write(w->c->http, event.s, event.len);
        http_end(w->c->http, event.failed || s.failed || r->text.failed);
        call_free(w->c);
        mem_free(w);
    }
    str_free(&s);
    str_free(&event);
}

/* ---- beginning ------------------------------------------------------------------------------- */

/* Saves given questions in the folder, so that the run can be continued. */
static int run_save_given(struct start *t, struct err *e)
{
    if (t->data[0])
        return 0;
    snprintf(t->data, sizeof t->data, "%s/" QUESTIONS, t->r->dir);
    return outfile_save(t->data, t->given.s, t->given.len, e);
}

static int run_begin(struct start *t, struct err *e)
{
    struct live_run *r = t->r;
    const char *energy;
    r->ward.env.shuffle = t->shuffle;
    r->ward.env.subset = r->subset.len ? r->subset.s : NULL;
    r->ward.env.variants = r->variants.len ? r->variants.s : NULL;
    TRY(ward_open(&r->ward, r->seat, true, e));
    if (!r->dir[0])
        TRY(runfolder_make(&r->ward.config, "eval", r->dir, e));
    snprintf(r->id, sizeof r->id, "%s", strrchr(r->dir, '/') + 1);
    TRY(run_save_given(t, e));
    (void)seat_joules(r->seat, &energy);
    const struct runfolder f = {.env = &r->ward.env,
                                .dir = r->dir,
                                .data_path = t->data,
                                .data = &r->m,
                                .asked = r->asked.records,
                                .energy = energy};
    TRY(runfolder_trace(&f, &r->trace, e));
    if (*trace_notes(r->trace))
        log_info("run %s: %s", r->id, trace_notes(r->trace));
    const struct results *rs = trace_results(r->trace);
    r->p.total = r->asked.questions;
    for (size_t i = 0; i < rs->n; i++) {
        run_keep(r, &rs->r[i]);
        r->p.done += (size_t)rs->r[i].index < r->asked.records;
    }
    TRY(str_ok(&r->text, "events", e));
    if (r->p.done < r->asked.questions) /* so that no report says more than is true */
        TRY(runfolder_report(r->trace, r->dir, NULL, "", NULL, e));
    return 0;
}

/* Answers the call that began the run. */
static void run_answer(struct call *c, const struct live_run *r)
{
    struct str s = STR_INIT;
    char at[RUNS_ID + 8];
    snprintf(at, sizeof at, "/runs/%s", r->id);
    str_addf(&s, "{\"id\": \"%s\", \"state\": \"running\", \"records\": %zu, \"questions\": %zu",
             r->id, r->asked.records, r->asked.questions);
    str_addf(&s, ", \"rejected\": %zu, \"duplicates\": %zu, \"done\": %zu, \"at\": \"%s\"",
             r->asked.rejected, r->asked.duplicates, r->p.done, at);
    str_adds(&s, ", \"notice\": \"" CLINICAL_NOTICE "\"}\n");
    http_set_header(c->http, "Location", at);
    call_reply(c, 202, &s);
}

static void run_compute(struct live_run *r)
{
    struct clinical *k = r->seat->k;
    struct err e = {0}, late = {0};
    const struct run_options ro = {.env = &r->ward.env,
                                   .question = r->m.question,
                                   .n = r->asked.questions,
                                   .trace = r->trace,
                                   .concurrency = r->concurrency,
                                   .stop = &r->seat->stop,
                                   .poll_ms = CLINICAL_POLL_MS,
                                   .joules = on_joules,
                                   .progress = on_progress,
                                   .finished = on_finished,
                                   .user = r};
    int rc = run_questions(&ro, NULL, &e);
    if (rc == 0)
        rc = trace_seal(r->trace, &e);
    if (runfolder_report(r->trace, r->dir, NULL, "", rc < 0 ? e.msg : NULL, &late) < 0)
        log_warn("run %s: %s", r->id, late.msg);
    if (rc < 0 && rc != ERR_CANCEL)
        log_warn("run %s ends before its time: %s", r->id, e.msg);
    trace_close(r->trace); /* another may go on with it as soon as the clients know of the end */
    r->trace = NULL;
    ward_close(&r->ward);
    pthread_mutex_lock(&k->lock);
    run_tell_end(r,
                 rc == 0            ? "complete"
                 : rc == ERR_CANCEL ? "stopped"
                                    : "failed",
                 rc == 0 || rc == ERR_CANCEL ? ""
                                             : "the run cannot go on; the server's log says why");
    run_unlist(k, r); /* from now on the folder speaks */
    seat_leave_locked(r->seat);
    pthread_mutex_unlock(&k->lock);
}

static void on_gone(struct http *h, void *user)
{
    (void)h;
    seat_stop(user);
}

static void start_free(struct start *t)
{
    str_free(&t->given);
    mem_free(t);
}

static void eval_main(struct seat *seat, void *user)
{
    struct start *t = user;
    struct live_run *r = t->r;
    struct clinical *k = seat->k;
    struct err e = {0};
    r->seat = seat;
    http_watch(t->c->http, on_gone, seat);
    int rc = run_begin(t, &e);
    http_forget(t->c->http);
    if (rc == 0 && atomic_load(&seat->stop))
        rc = err_set(&e, ERR_CANCEL, "stopped before it began");
    if (rc < 0) {
        trace_close(r->trace);
        r->trace = NULL;
        ward_close(&r->ward);
        seat_leave(seat);
        if (rc == ERR_CREATE) { /* the lock of another process */
            log_warn("run %s: %s", r->id, e.msg);
            call_fail(t->c, 409, NULL, "the run's folder cannot be written; its log says why");
        } else {
            call_fail_err(t->c, NULL, &e);
        }
        start_free(t);
        run_free(r);
        return;
    }
    pthread_mutex_lock(&k->lock);
    bool twice = runs_find_live(k, r->id) != NULL;
    if (!twice) {
        r->next = k->runs;
        k->runs = r;
    }
    if (k->closing)
        atomic_store(&seat->stop, 1);
    pthread_mutex_unlock(&k->lock);
    CHECK(!twice); /* the trace's lock admits one */
    run_answer(t->c, r);
    start_free(t);
    run_compute(r);
    run_free(r);
}

/* Takes the call, and ends it if the start fails. */
static void start_run(struct start *t, int rc, const char *param, struct err *e)
{
    struct call *c = t->c;
    if (rc == 0)
        rc = seat_start(c->s->clinical, eval_main, t, NULL, e);
    if (rc == 0)
        return;
    run_free(t->r);
    start_free(t);
    if (rc == ERR_AGAIN) {
        atomic_fetch_add(&c->s->rejected, 1);
        call_fail(c, 503, NULL, "%s", e->msg);
    } else {
        call_fail_err(c, param, e);
    }
}

static struct start *start_new(struct call *c)
{
    struct start *t = mem_zalloc(1, sizeof *t);
    struct live_run *r = mem_zalloc(1, sizeof *r);
    struct err e = {0};
    if (!t || !r) {
        mem_free(t);
        mem_free(r);
        NOMEM(&e, sizeof *r, "a run");
        call_fail_err(c, NULL, &e);
        return NULL;
    }
    t->c = c;
    t->r = r;
    t->given = r->text = r->subset = r->variants = (struct str)STR_INIT;
    return t;
}

/* ---- POST /eval ------------------------------------------------------------------------------ */

/* One record a line, so that a fault is named by the number of its record plus one. */
static int given_json(const json_t *list, struct str *out, struct err *e)
{
    str_adds(out, "[\n");
    for (size_t i = 0; i < json_array_size(list); i++) {
        char *text = json_dumps(json_array_get(list, i), JSON_COMPACT | JSON_ENCODE_ANY);
        if (!text)
            return NOMEM(e, 1, "questions");
        str_addf(out, "%s%s", i ? ",\n" : "", text);
        mem_free(text);
    }
    str_adds(out, "\n]\n");
    return str_ok(out, "questions", e);
}

/* The path of a name of the list of downloads. A client never names a path. */
static int named_data(const char *name, struct str *path, struct err *e)
{
    struct sources list = {.data = NULL};
    TRY(sources_open(NULL, &list, e));
    const struct sources_entry *n = sources_find(&list, name);
    bool known = n && n->data;
    sources_close(&list);
    if (!known)
        FAIL(e, ERR_DATA, "no list of questions '%.100s'; GET /clinic names those that are here",
             name);
    if (sources_data(name, path, e) < 0)
        FAIL(e, ERR_NOINPUT, "'%.100s' is not here; mas pull %.100s downloads it", name, name);
    return 0;
}

static int read_data(struct start *t, const struct eval_args *a, const char **param, struct err *e)
{
    const struct tool_options *of = config_of(&t->r->ward.config, &tool_option_set);
    struct str path = STR_INIT;
    int rc = 0;
    *param = "questions";
    if (a->questions && a->data)
        FAIL(e, ERR_DATA, "both 'data' and 'questions'; give one");
    if (a->questions) {
        TRY(given_json(a->questions, &t->given, e));
        return medqa_parse(t->given.s, t->given.len, "questions", &t->r->m, e);
    }
    *param = "data";
    if (a->data)
        TRY_DONE(named_data(a->data, &path, e));
    else if (*of->data)
        TRY_DONE(sources_data(of->data, &path, e));
    else
        TRY_DONE(err_set(e, ERR_DATA, "no questions; give 'questions', or a name as 'data'"));
    snprintf(t->data, sizeof t->data, "%s", path.s);
    rc = medqa_read(t->data, &t->r->m, e);
done:
    str_free(&path);
    return rc;
}

void clinical_eval_post(struct call *c)
{
    const struct eval_args *a = c->args;
    const struct clinical_wish wish = {a->model, a->strategy, a->config, a->seed};
    struct start *t = start_new(c);
    struct err e = {0};
    const char *param = NULL;
    if (!t)
        return;
    struct live_run *r = t->r;
    int rc = ward_config(&r->ward, c->s, &wish, &param, &e);
    if (rc == 0)
        rc = read_data(t, a, &param, &e);
    if (rc == 0) {
        r->asked = runfolder_count(&r->m, a->n == FIELD_UNSET ? 0 : (size_t)a->n);
        r->concurrency = a->concurrency == FIELD_UNSET ? 0 : (int)a->concurrency;
        t->shuffle = a->shuffle;
        param = NULL;
    }
    start_run(t, rc, param, &e);
}

/* ---- POST /runs/ID/resume -------------------------------------------------------------------- */

/* The settings of the strategy that the run began with. Those of the engine are this server's: the
 * trace compares them. */
static int resume_settings(struct config *c, const json_t *was, struct err *e)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)was, key, v)
    {
        struct str text = STR_INIT;
        const void *at = NULL;
        const struct option_row *row = config_find(c, key, &at);
        if (!row || at == config_of(c, &engine_option_set))
            continue;
        str_addf(&text, "%s=", key);
        if (json_is_string(v)) {
            str_adds(&text, json_string_value(v));
        } else {
            char *value = json_dumps(v, JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
            str_adds(&text, value ? value : "");
            mem_free(value);
        }
        int rc = str_ok(&text, "a setting", e);
        if (rc == 0)
            rc = config_set(c, text.s, e);
        str_free(&text);
        TRY(rc);
    }
    return config_check(c, e);
}

/* The index of the model that the run used, -1: it is not served here. */
static int resume_model(struct serve *s, const char *path)
{
    for (int i = 0; path && i < hub_count(s->hub); i++) {
        struct hub_entry m;
        hub_entry(s->hub, i, &m);
        if (!strcmp(m.path, path))
            return i;
    }
    return -1;
}

/* The text of a member of the identity; "" = there is none. */
static int resume_text(const json_t *identity, const char *key, struct str *out, struct err *e)
{
    const json_t *v = json_object_get(identity, key);
    char *text = v ? json_dumps(v, JSON_REAL_PRECISION(17)) : NULL;
    if (v && !text)
        return NOMEM(e, 1, "a choice of records");
    if (text)
        str_adds(out, text);
    free(text); /* jansson's */
    return str_ok(out, "a choice of records", e);
}

/* A run that only mas eval can go on with. */
static int resume_refuse(const json_t *identity, struct err *e)
{
    if (json_object_get(identity, "shard"))
        FAIL(e, ERR_DATA, "it is a part of a study; go on with mas eval --shard");
    if (json_object_get(identity, "match_tokens"))
        FAIL(e, ERR_DATA,
             "it matches the tokens of another run; go on with mas eval --match-tokens");
    return 0;
}

/* Reads the run's data file, and takes the run's choice of records and their variants. */
static int resume_data(struct start *t, const json_t *identity, const json_t *about, struct err *e)
{
    struct live_run *r = t->r;
    const json_t *form = json_object_get(json_object_get(about, "config"), "data_format");
    TRY(resume_text(identity, "subset", &r->subset, e));
    TRY(resume_text(identity, "variants", &r->variants, e));
    int rc = medqa_read_as(t->data, json_string_value(form), &r->m, e);
    if (rc == 0)
        rc = subset_recorded(r->dir, identity, &r->m, e);
    if (rc == 0)
        rc = vary_recorded(r->dir, identity, &r->m, e);
    if (rc == ERR_NOMEM || rc == 0)
        return rc;
    log_warn("run %s: %s", r->id, e->msg);
    FAIL(e, ERR_DATA, "the questions of this run cannot be read; the server's log says why");
}

/* Fills the start from run.json. */
static int resume_read(struct start *t, const json_t *doc, struct err *e)
{
    struct live_run *r = t->r;
    struct ward *w = &r->ward;
    struct serve *s = t->c->s;
    struct stat st;
    const json_t *identity = json_object_get(doc, "identity");
    const json_t *sessions = json_object_get(doc, "sessions");
    const json_t *about =
        json_object_get(json_array_get(sessions, json_array_size(sessions) - 1), "about");
    const json_t *was = json_object_get(identity, "config");
    const char *data = json_string_value(json_object_get(about, "data"));
    const char *model = json_string_value(json_object_get(was, "model"));
    struct hub_entry entry;
    if (!json_is_object(was) || !data || !model)
        FAIL(e, ERR_DATA, "the run's description is incomplete");
    if (!strcmp(data, "-"))
        FAIL(e, ERR_DATA, "it is a single case, not an evaluation");
    TRY(resume_refuse(identity, e));
    TRY(config_copy(s->config, &w->config, e));
    TRY(resume_settings(&w->config, was, e));
    const struct agent_options *of = config_of(&w->config, &agent_option_set);
    w->index = -1;
    if (!strcmp(of->provider, provider_local.name)) {
        w->index = resume_model(s, model);
        if (w->index < 0)
            FAIL(e, ERR_DATA, "the model of this run is not served here; start the server with it");
        hub_entry(s->hub, w->index, &entry);
        char set[600];
        snprintf(set, sizeof set, "model=%s", entry.path);
        TRY(config_set(&w->config, set, e));
    }
    TRY(catalog_read(of->specialties, &w->catalog, e));
    t->shuffle = json_is_true(json_object_get(identity, "shuffle"));
    snprintf(t->data, sizeof t->data, "%s/" QUESTIONS, r->dir);
    if (stat(t->data, &st) != 0)
        snprintf(t->data, sizeof t->data, "%s", data);
    TRY(resume_data(t, identity, about, e));
    r->asked = runfolder_count(&r->m, (size_t)json_integer_value(json_object_get(doc, "asked")));
    return 0;
}

void run_resume_post(struct call *c)
{
    struct clinical *k = c->s->clinical;
    struct str text = STR_INIT;
    char path[RUNFOLDER_PATH + 16];
    json_t *doc = NULL;
    struct err e = {0};
    pthread_mutex_lock(&k->lock);
    bool live = runs_find_live(k, c->part) != NULL;
    pthread_mutex_unlock(&k->lock);
    if (live) {
        call_fail(c, 409, NULL, "this run goes on already");
        return;
    }
    struct start *t = start_new(c);
    if (!t)
        return;
    snprintf(t->r->id, sizeof t->r->id, "%s", c->part);
    int rc = runs_dir(c->s, c->part, t->r->dir, &e);
    snprintf(path, sizeof path, "%s/run.json", t->r->dir);
    int read = rc == 0 ? zio_read(path, (size_t)4 << 20, &text, &e) : 0;
    if (rc == 0 && read == 0)
        read = jdoc_load(text.s, text.len, &doc, &e);
    if (read == ERR_NOMEM) {
        rc = read;
    } else if (read < 0) {
        log_warn("run %s: %s", c->part, e.msg);
        rc = err_set(&e, ERR_DATA, "the run's description is damaged");
    }
    if (rc == 0)
        rc = resume_read(t, doc, &e);
    json_decref(doc);
    str_free(&text);
    start_run(t, rc, NULL, &e);
}

/* ---- stopping -------------------------------------------------------------------------------- */

void run_stop_post(struct call *c)
{
    struct clinical *k = c->s->clinical;
    struct str s = STR_INIT;
    char dir[RUNFOLDER_PATH];
    struct err e = {0};
    pthread_mutex_lock(&k->lock);
    struct live_run *r = runs_find_live(k, c->part);
    if (r)
        atomic_store(&r->seat->stop, 1);
    pthread_mutex_unlock(&k->lock);
    if (!r && runs_dir(c->s, c->part, dir, &e) < 0) {
        call_fail_err(c, NULL, &e);
        return;
    }
    str_addf(&s, "{\"id\": \"%s\", \"state\": \"%s\"}\n", c->part, r ? "stopping" : "stopped");
    call_reply(c, r ? 202 : 200, &s);
}

void run_delete(struct call *c)
{
    run_stop_post(c);
}
