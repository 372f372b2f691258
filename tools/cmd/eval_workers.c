#define _GNU_SOURCE /* for sched_setaffinity */
#include "eval_workers.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "folder.h"
#include "identity.h"
#include "mem.h"
#include "meter.h"
#include "pool.h"
#include "toy.h"
#include "vary.h"
#include "workers.h"

static const char no_energy[] = "not measured: several workers share one meter";

struct parent {
    const struct eval_workers_ask *a;
    struct meter meter;
    struct health_now health; /* nothing is known */
    char dir[RUNFOLDER_PATH];
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

/* Opens the engine of a worker and answers the questions that the parent gives. */
static int serve(const struct eval_workers_ask *a, int fd, int number, struct clinic *c,
                 struct err *e)
{
    struct clinic_options k = *a->clinic;
    struct str identity = STR_INIT, about = STR_INIT, figures = STR_INIT;
    struct worker *w = NULL;
    char threads[16], noise[TOY_TEXT];
    const int given = (int)config_int(a->base, "threads");
    const int all = given ? given : pool_cores();
    int rc;
    pin(number, a->n);
    snprintf(threads, sizeof threads, "%d", all / a->n > 0 ? all / a->n : 1);
    k.threads = threads;
    k.quiet |= number > 0;
    TRY_DONE(clinic_open(&k, true, a->shuffle, false, c, e));
    const struct llm_info *info = llm_info(c->llm);
    if (strcmp(info->backend, "cpu") != 0)
        TRY_DONE(err_set(e, ERR_USAGE,
                         "--workers divides the cores of the CPU, and the backend is %s; leave "
                         "--workers out, or add --set backend=cpu",
                         info->backend));
    c->env.subset = a->subset;
    c->env.variants = a->variants;
    if (!number && toy_says_all(info->name, a->data->question, a->asked.questions, noise))
        fprintf(stderr, "noise: %s\n", noise);
    identity_json(&c->env, a->data->sha256, &identity);
    identity_about(&c->env, MAS_COMMIT, a->data_path, no_energy, &about);
    TRY_DONE(str_ok(&identity, "the run's identity", e));
    TRY_DONE(str_ok(&about, "the run's settings", e));
    const int slots = a->concurrency ? (a->concurrency + a->n - 1) / a->n : info->slots;
    TRY_DONE(
        worker_open(fd, identity.s, about.s, a->data->question, a->asked.questions, slots, &w, e));
    const struct run_options ro = {
        .env = &c->env, .feed = worker_feed(w), .n = a->asked.questions, .concurrency = slots};
    rc = run_questions(&ro, NULL, e);
    llm_figures(c->llm, LLM_FIGURES_JSON, &figures);
    worker_end(w, figures.s, rc, e);
    worker_close(w);
    w = NULL;
    goto out;
done:
    if (rc < 0)
        worker_failed(fd, rc, e);
out:
    worker_close(w);
    str_free(&identity);
    str_free(&about);
    str_free(&figures);
    return rc;
}

static int on_start(const struct worker_start *w, pid_t *pid, void *user, struct err *e)
{
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP};
    const struct parent *p = user;
    struct clinic c = {.llm = NULL};
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
    const int rc = serve(p->a, w->fd, w->number, &c, e);
    clinic_close(&c);
    fflush(NULL);
    _exit(rc < 0 ? err_exit(rc) : 0);
}

/* ---- the parent ------------------------------------------------------------------------------ */

static int on_ready(const char *identity, const char *about, struct trace **t, void *user,
                    struct err *e)
{
    struct parent *p = user;
    const struct eval_workers_ask *a = p->a;
    struct str defaults = STR_INIT;
    struct folder folder = {.lock = -1};
    size_t before = 0;
    if (!a->out)
        TRY(runfolder_make(a->base, "eval", p->dir, e));
    else if (snprintf(p->dir, sizeof p->dir, "%s", a->out) >= (int)sizeof p->dir)
        FAIL(e, ERR_USAGE, "the folder's name is too long: %zu bytes", strlen(a->out));
    struct trace_options to = {.dir = p->dir,
                               .identity = identity,
                               .about = about,
                               .data = a->data,
                               .asked = a->asked.records,
                               .fresh = a->fresh,
                               .repair = a->repair};
    int rc = config_json_defaults(a->base, &defaults, e);
    to.defaults = defaults.s;
    if (rc == 0)
        rc = trace_open(&to, t, e);
    str_free(&defaults);
    TRY(rc);
    memcpy(folder.dir, p->dir, sizeof folder.dir);
    if (a->paraphrases)
        TRY(folder_save(&folder, VARY_FILE, a->paraphrases->s, a->paraphrases->len, e));
    fputs(trace_notes(*t), stderr);
    for (size_t i = 0; i < trace_results(*t)->n; i++)
        before += (size_t)trace_results(*t)->r[i].index < a->asked.records;
    fprintf(stderr, "%zu records: %zu questions, %d workers, %zu done before; results in %s\n",
            a->asked.records, a->asked.questions, a->n, before, p->dir);
    if (before < a->asked.questions)
        return runfolder_report(*t, p->dir, NULL, "", NULL, e);
    return 0;
}

static void on_progress(const struct run_progress *progress, void *user)
{
    struct parent *p = user;
    meter_show(&p->meter, progress, &p->health);
}

static int report(const struct parent *p, struct trace *t, const struct workers_outcome *out,
                  const char *cause, struct err *e)
{
    const struct agent_options *of = config_of(p->a->base, &agent_option_set);
    const char *slash = strrchr(p->a->data_path, '/');
    struct str engine = STR_INIT;
    char title[256];
    snprintf(title, sizeof title, "strategy %s on %s", of->strategy,
             slash ? slash + 1 : p->a->data_path);
    str_addf(&engine, "{\"workers\": %s}", out->figures.s);
    int rc = str_ok(&engine, "figures", e);
    if (rc == 0)
        rc = runfolder_report(t, p->dir, title, engine.s, cause, e);
    str_free(&engine);
    return rc;
}

static int finish(const struct parent *p, struct trace *t, const struct workers_outcome *out,
                  struct err *e)
{
    const struct run_progress *r = &out->progress;
    TRY(trace_seal(t, e));
    TRY(report(p, t, out, NULL, e));
    if (out->deaths)
        fprintf(stderr,
                "%zu worker processes ended early and were replaced; %zu questions failed "
                "because of that\n",
                out->deaths, out->failed_by_deaths);
    if (r->failed || p->a->asked.rejected)
        FAIL(
            e, ERR_ITEMS,
            "%zu of %zu questions failed, %zu of %zu records were rejected (all counted as wrong); "
            "results.csv and the traces in %s name them",
            r->failed, r->total, p->a->asked.rejected, p->a->asked.records, p->dir);
    return 0;
}

static int check(const struct eval_workers_ask *a, struct err *e)
{
    const struct agent_options *of = config_of(a->base, &agent_option_set);
    if (strcmp(of->provider, "local") != 0)
        FAIL(e, ERR_USAGE,
             "--workers starts engines here, and provider %s answers from a server; raise "
             "remote.parallel in place of it",
             of->provider);
    return 0;
}

int eval_workers(const struct eval_workers_ask *a, struct err *e)
{
    struct parent p = {.a = a};
    struct workers_outcome out;
    struct trace *t = NULL;
    struct err ignored;
    TRY(check(a, e));
    const struct workers_options o = {.n = a->n,
                                      .question = a->data->question,
                                      .n_question = a->asked.questions,
                                      .start = on_start,
                                      .ready = on_ready,
                                      .stop = a->stop,
                                      .progress = on_progress,
                                      .user = &p};
    meter_open(&p.meter, a->clinic->quiet);
    int rc = workers_run(&o, &t, &out, e);
    meter_close(&p.meter);
    if (rc == 0) {
        rc = finish(&p, t, &out, e);
    } else if (t && trace_results(t)->n) {
        (void)report(&p, t, &out, e->msg, &ignored);
        fprintf(stderr, "partial, %zu of %zu questions; continue with the same command%s%s\n",
                out.progress.done, out.progress.total, a->out ? "" : " and --out ",
                a->out ? "" : p.dir);
    } else if (t) {
        (void)trace_stopped(t, e->msg, &ignored);
    }
    trace_close(t);
    str_free(&out.figures);
    return rc;
}
