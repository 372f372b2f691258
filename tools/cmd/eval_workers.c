#define _GNU_SOURCE /* for sched_setaffinity */
#include "eval_workers.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "check.h"
#include "engine_options.h"
#include "folder.h"
#include "identity.h"
#include "jdoc.h"
#include "mem.h"
#include "meter.h"
#include "pool.h"
#include "topology.h"
#include "toy.h"
#include "vary.h"
#include "workers.h"
#include "zio.h"

static const char no_energy[] = "not measured: several workers share one meter";

struct eval_crew {
    struct eval_crew_options o;
    struct workers *workers;
    size_t at; /* the present job */
    char *dir; /* (RUNFOLDER_PATH) of the present job */
};

/* ---- a worker -------------------------------------------------------------------------------- */

/* Leaves this process the cores of worker `number` of n. With fewer cores than workers, the cores
 * stay shared. */
static void pin(int number, int n)
{
    struct topology t;
    bool mine[TOPOLOGY_CPUS];
    cpu_set_t own;
    topology_here(&t);
    if (!topology_part(&t, number, n, mine))
        return;
    CPU_ZERO(&own);
    for (int i = 0; i < t.n_cpu; i++)
        if (mine[i])
            CPU_SET((size_t)t.cpu[i], &own);
    (void)sched_setaffinity(0, sizeof own, &own);
}

/* The GPUs of worker `number`: an equal part of `devices`, in their order. */
static int give_devices(struct config *c, int number, int n, struct err *e)
{
    const struct engine_options *eo = config_of(c, &engine_option_set);
    const struct option_list all = eo->devices;
    const int each = all.n / n;
    char set[96] = "";
    if (!all.n)
        return 0;
    if (each == 1) {
        snprintf(set, sizeof set, "device=%.20s", all.item[number]);
        TRY(config_set(c, set, e));
        return config_set(c, "devices=[]", e);
    }
    snprintf(set, sizeof set, "devices=[");
    for (int i = number * each; i < (number + 1) * each; i++)
        snprintf(set + strlen(set), sizeof set - strlen(set), "%s%.4s",
                 i > number * each ? ", " : "", all.item[i]);
    snprintf(set + strlen(set), sizeof set - strlen(set), "]");
    return config_set(c, set, e);
}

/* The settings of a worker: its part of the threads and of the GPUs. */
static int worker_config(const struct eval_crew *c, const struct eval_job *job, int number,
                         struct config *out, struct err *e)
{
    const int given = (int)config_int(job->config, "threads");
    const int all = given ? given : pool_cores();
    char set[32];
    TRY(config_copy(job->config, out, e));
    snprintf(set, sizeof set, "threads=%d", all / c->o.n > 0 ? all / c->o.n : 1);
    TRY(config_set(out, set, e));
    return give_devices(out, number, c->o.n, e);
}

struct served { /* of a worker */
    const struct eval_crew *c;
    int fd, number;
    struct clinic_options clinic;
    struct llm *llm;
    int model; /* of llm */
};

static int serve_model(struct served *s, const struct eval_job *job, const struct config *config,
                       struct err *e)
{
    char noise[TOY_TEXT];
    if (s->llm && s->model == job->model)
        return 0;
    llm_close(s->llm);
    s->llm = NULL;
    TRY(clinic_llm(&s->clinic, config, &s->llm, e));
    s->model = job->model;
    const struct llm_info *info = llm_info(s->llm);
    const struct engine_options *eo = config_of(job->config, &engine_option_set);
    if (strcmp(info->backend, "cpu") != 0 && !eo->devices.n)
        FAIL(e, ERR_USAGE,
             "--workers divides the cores of the CPU, and the backend is %s; name a GPU for each "
             "worker, as --set 'devices=[0, 1]', or leave --workers out, or add --set backend=cpu",
             info->backend);
    if (!s->number && toy_says_all(info->name, job->data->question, job->asked.questions, noise))
        fprintf(stderr, "noise: %s\n", noise);
    return 0;
}

/* Answers the questions of a job that the parent gives. */
static int serve_questions(struct served *s, const struct eval_job *job, struct clinic *c,
                           struct err *e)
{
    const struct eval_crew_options *o = &s->c->o;
    struct str identity = STR_INIT, about = STR_INIT, figures = STR_INIT;
    struct worker *w = NULL;
    int rc;
    c->env.subset = job->subset;
    c->env.variants = job->variants;
    identity_json(&c->env, job->data->sha256, &identity);
    identity_about(&c->env, MAS_COMMIT, o->data_path, no_energy, &about);
    TRY_DONE(str_ok(&identity, "the run's identity", e));
    TRY_DONE(str_ok(&about, "the run's settings", e));
    const int slots = o->concurrency ? (o->concurrency + o->n - 1) / o->n : llm_info(c->llm)->slots;
    TRY_DONE(worker_open(s->fd, identity.s, about.s, job->data->question, job->asked.questions,
                         slots, &w, e));
    const struct run_options ro = {
        .env = &c->env, .feed = worker_feed(w), .n = job->asked.questions, .concurrency = slots};
    rc = run_questions(&ro, NULL, e);
    llm_figures(c->llm, LLM_FIGURES_JSON, &figures);
    worker_end(w, figures.s, rc, e);
done:
    if (rc < 0 && !w)
        worker_failed(s->fd, rc, e);
    worker_close(w);
    str_free(&identity);
    str_free(&about);
    str_free(&figures);
    return rc;
}

static int serve_job(struct served *s, const struct eval_job *job, struct err *e)
{
    struct config config = {.n = 0};
    struct clinic c = {.llm = NULL};
    int rc;
    TRY_DONE(worker_config(s->c, job, s->number, &config, e));
    TRY_DONE(serve_model(s, job, &config, e));
    TRY_DONE(clinic_open_on(&config, s->llm, s->c->o.shuffle, &c, e));
    rc = serve_questions(s, job, &c, e);
    clinic_close(&c);
    config_free(&config);
    return rc;
done:
    worker_failed(s->fd, rc, e);
    config_free(&config);
    return rc;
}

/* Serves the present job and those after it, as the parent runs them. */
static int serve(const struct eval_crew *c, int fd, int number, struct err *e)
{
    struct served s = {.c = c, .fd = fd, .number = number, .clinic = *c->o.clinic, .model = -1};
    struct eval_job job;
    int rc = 0;
    pin(number, c->o.n);
    s.clinic.quiet |= number > 0;
    for (size_t i = c->at; i < c->o.n_job && rc == 0; i++)
        if (c->o.job(c->o.user, i, &job))
            rc = serve_job(&s, &job, e);
    llm_close(s.llm);
    return rc;
}

static int on_start(const struct worker_start *w, pid_t *pid, void *user, struct err *e)
{
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP};
    const struct eval_crew *c = user;
    const pid_t parent = getpid();
    fflush(NULL); /* or the child would write it again */
    *pid = fork();
    if (*pid < 0)
        FAIL(e, ERR_AGAIN, "cannot start worker %d: %s", w->number + 1, strerror(errno));
    if (*pid)
        return 0;
    for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++)
        signal(ignored[i], SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(75);
    for (int i = 0; i < w->n_close; i++)
        close(w->close[i]);
    const int rc = serve(c, w->fd, w->number, e);
    fflush(NULL);
    _exit(rc < 0 ? err_exit(rc) : 0);
}

/* ---- the parent ------------------------------------------------------------------------------ */

/* The model's hash in the identity must be that of the cells before. */
static int check_model(const struct eval_job *job, const char *identity, struct err *e)
{
    json_t *doc = NULL;
    int rc = 0;
    if (!job->model_sha256 || !*job->model_sha256)
        return 0;
    TRY(jdoc_load(identity, strlen(identity), &doc, e));
    const char *is = json_string_value(json_object_get(doc, "model_sha256"));
    if (!is || strcmp(is, job->model_sha256) != 0)
        rc = err_set(e, ERR_CONFIG,
                     "the model has changed: finished cells have sha256 %.12s.., it is %.12s.. "
                     "now; give the former file, or begin in another --out",
                     job->model_sha256, is ? is : "unknown");
    json_decref(doc);
    return rc;
}

static int on_ready(const char *identity, const char *about, struct trace **t, void *user,
                    struct err *e)
{
    struct eval_crew *c = user;
    const struct eval_crew_options *o = &c->o;
    struct eval_job job;
    struct str defaults = STR_INIT;
    struct folder folder = {.lock = -1};
    size_t before = 0;
    CHECK(o->job(o->user, c->at, &job));
    TRY(check_model(&job, identity, e));
    if (!job.dir)
        TRY(runfolder_make(job.config, "eval", c->dir, e));
    else if (snprintf(c->dir, RUNFOLDER_PATH, "%s", job.dir) >= RUNFOLDER_PATH)
        FAIL(e, ERR_USAGE, "the folder's name is too long: %zu bytes", strlen(job.dir));
    struct trace_options to = {.dir = c->dir,
                               .identity = identity,
                               .about = about,
                               .data = job.data,
                               .asked = job.asked.records,
                               .fresh = o->fresh,
                               .repair = o->repair,
                               .retry_failed = o->retry_failed};
    int rc = config_json_defaults(job.config, &defaults, e);
    to.defaults = defaults.s;
    if (rc == 0)
        rc = trace_open(&to, t, e);
    str_free(&defaults);
    TRY(rc);
    memcpy(folder.dir, c->dir, sizeof folder.dir);
    if (job.paraphrases)
        TRY(folder_save(&folder, VARY_FILE, job.paraphrases->s, job.paraphrases->len, e));
    fputs(trace_notes(*t), stderr);
    for (size_t i = 0; i < trace_results(*t)->n; i++)
        before += (size_t)trace_results(*t)->r[i].index < job.asked.records;
    if (o->n_job == 1)
        fprintf(stderr, "%zu records: %zu questions, %d workers, %zu done before; results in %s\n",
                job.asked.records, job.asked.questions, o->n, before, c->dir);
    if (before < job.asked.questions)
        return runfolder_report(*t, c->dir, NULL, "", NULL, e);
    return 0;
}

static void on_progress(const struct run_progress *p, void *user)
{
    const struct eval_crew *c = user;
    c->o.progress(p, c->o.user);
}

static int check_job(const struct eval_crew_options *o, const struct eval_job *job, struct err *e)
{
    const struct agent_options *of = config_of(job->config, &agent_option_set);
    const struct engine_options *eo = config_of(job->config, &engine_option_set);
    if (strcmp(of->provider, "local") != 0)
        FAIL(e, ERR_USAGE,
             "--workers starts engines here, and provider %s answers from a server; raise "
             "remote.parallel in place of it",
             of->provider);
    for (int i = 0; i < eo->devices.n; i++)
        if (!strcmp(eo->devices.item[i], "all"))
            FAIL(e, ERR_USAGE,
                 "--workers divides the GPUs of 'devices', which is 'all'; name them, as --set "
                 "'devices=[0, 1]'");
    if (eo->devices.n % o->n)
        FAIL(e, ERR_USAGE,
             "%d GPUs in 'devices' cannot be divided equally among %d workers; give --workers %d, "
             "or another list",
             eo->devices.n, o->n, eo->devices.n);
    return 0;
}

int eval_crew_open(const struct eval_crew_options *o, struct eval_crew **out, struct err *e)
{
    struct eval_crew *c = mem_zalloc(1, sizeof *c);
    struct eval_job job;
    int rc = 0;
    if (!c)
        return NOMEM(e, sizeof *c, "workers");
    c->o = *o;
    for (size_t i = 0; i < o->n_job; i++)
        if (o->job(o->user, i, &job))
            TRY_DONE(check_job(o, &job, e));
    TRY_DONE(workers_open(o->n, &c->workers, e));
    *out = c;
    return 0;
done:
    eval_crew_close(c);
    return rc;
}

int eval_crew_run(struct eval_crew *c, size_t i, char dir[RUNFOLDER_PATH], struct trace **t,
                  struct workers_outcome *out, struct err *e)
{
    struct eval_job job;
    c->at = i;
    c->dir = dir;
    CHECK(c->o.job(c->o.user, i, &job));
    const struct workers_options o = {.n = c->o.n,
                                      .question = job.data->question,
                                      .n_question = job.asked.questions,
                                      .start = on_start,
                                      .ready = on_ready,
                                      .stop = c->o.stop,
                                      .progress = on_progress,
                                      .user = c};
    return workers_turn(c->workers, &o, t, out, e);
}

void eval_crew_close(struct eval_crew *c)
{
    if (!c)
        return;
    workers_close(c->workers);
    mem_free(c);
}

int eval_crew_figures(const struct workers_outcome *out, struct str *engine, struct err *e)
{
    if (out->deaths)
        fprintf(stderr,
                "%zu worker processes ended early and were replaced; %zu questions failed "
                "because of that\n",
                out->deaths, out->failed_by_deaths);
    str_addf(engine, "{\"workers\": %s}", out->figures.s);
    return str_ok(engine, "figures", e);
}

/* ---- one run --------------------------------------------------------------------------------- */

struct alone {
    const struct eval_workers_ask *a;
    struct meter meter;
    struct health_now health; /* nothing is known */
};

static bool alone_job(void *user, size_t i, struct eval_job *out)
{
    (void)i;
    *out = ((const struct alone *)user)->a->job;
    return true;
}

static void alone_progress(const struct run_progress *p, void *user)
{
    struct alone *s = user;
    meter_show(&s->meter, p, &s->health);
}

static int report(const struct eval_workers_ask *a, const char *dir, struct trace *t,
                  const struct workers_outcome *out, const char *cause, struct err *e)
{
    const struct agent_options *of = config_of(a->job.config, &agent_option_set);
    const char *slash = strrchr(a->data_path, '/');
    struct str engine = STR_INIT;
    char title[256];
    snprintf(title, sizeof title, "strategy %s on %s", of->strategy,
             slash ? slash + 1 : a->data_path);
    int rc = eval_crew_figures(out, &engine, e);
    if (rc == 0)
        rc = runfolder_report(t, dir, title, engine.s, cause, e);
    str_free(&engine);
    return rc;
}

static int finish(const struct eval_workers_ask *a, const char *dir, struct trace *t,
                  const struct workers_outcome *out, struct err *e)
{
    const struct run_progress *r = &out->progress;
    const struct runfolder_asked *asked = &a->job.asked;
    TRY(trace_seal(t, e));
    TRY(report(a, dir, t, out, NULL, e));
    TRY(runfolder_reasons(t, asked->records, e));
    if (r->failed || asked->rejected)
        FAIL(
            e, ERR_ITEMS,
            "%zu of %zu questions failed, %zu of %zu records were rejected (all counted as wrong); "
            "results.csv and the traces in %s name them%s",
            r->failed, r->total, asked->rejected, asked->records, dir,
            r->failed ? "; mas eval --retry-failed asks failed ones again" : "");
    return 0;
}

int eval_workers(const struct eval_workers_ask *a, struct err *e)
{
    struct alone s = {.a = a};
    struct workers_outcome out = {.figures = STR_INIT};
    struct eval_crew *crew = NULL;
    struct trace *t = NULL;
    char dir[RUNFOLDER_PATH] = "";
    struct err ignored;
    const struct eval_crew_options o = {.clinic = a->clinic,
                                        .data_path = a->data_path,
                                        .n = a->n,
                                        .concurrency = a->concurrency,
                                        .shuffle = a->shuffle,
                                        .fresh = a->fresh,
                                        .repair = a->repair,
                                        .retry_failed = a->retry_failed,
                                        .stop = a->stop,
                                        .n_job = 1,
                                        .job = alone_job,
                                        .progress = alone_progress,
                                        .user = &s};
    TRY(eval_crew_open(&o, &crew, e));
    meter_open(&s.meter, a->clinic->quiet);
    int rc = eval_crew_run(crew, 0, dir, &t, &out, e);
    meter_close(&s.meter);
    eval_crew_close(crew);
    if (rc == 0) {
        rc = finish(a, dir, t, &out, e);
    } else if (t && trace_results(t)->n) {
        (void)report(a, dir, t, &out, e->msg, &ignored);
        fprintf(stderr, "partial, %zu of %zu questions; continue with the same command%s%s\n",
                out.progress.done, out.progress.total, a->job.dir ? "" : " and --out ",
                a->job.dir ? "" : dir);
    } else if (t) {
        (void)trace_stopped(t, e->msg, &ignored);
    }
    trace_close(t);
    str_free(&out.figures);
    return rc;
}
