/* mas eval: takes a file of questions through a strategy, resumably, and reports accuracy and
 * cost. */
#include <string.h>

#include "budget.h"
#include "cli.h"
#include "clinic.h"
#include "cmd.h"
#include "curve.h"
#include "eval_check.h"
#include "eval_workers.h"
#include "grid_run.h"
#include "meter.h"
#include "output.h"
#include "runfolder.h"
#include "shard_work.h"
#include "sheet.h"
#include "target.h"
#include "tool_options.h"
#include "toy.h"
#include "variants.h"
#include "workers.h"

struct options {
    struct clinic_options clinic;
    const char *data, *out, *curve;
    struct tool_options own; /* data_format alone */
    int n, concurrency;
    bool shuffle, fresh, repair, retry_failed, check;
    /* the choice among the records */
    const char *step, *ids;
    const char *match; /* folder of the run whose tokens are matched; NULL = none */
    int sample, sample_seed;
    struct variants variants; /* that take the places of the chosen records */
    struct shard_ask shard;
    int workers; /* 0 = this process computes */
};

enum {
    OPT_DATA = 1,
    OPT_OUT,
    OPT_SHUFFLE,
    OPT_CONCURRENCY,
    OPT_FORCE_NEW,
    OPT_REPAIR,
    OPT_RETRY_FAILED,
    OPT_CURVE,
    OPT_DATA_FORMAT,
    OPT_STEP,
    OPT_IDS,
    OPT_SAMPLE,
    OPT_SAMPLE_SEED,
    OPT_MATCH,
    OPT_SHARD,
    OPT_LEASE,
    OPT_WORKERS,
    OPT_NODE_COPY,
    OPT_DRY_RUN,
    OPT_CHECK
};

static const struct argp_option rows[] = {
    {"data", OPT_DATA, "FILE", 0,
     "questions: JSON Lines, JSON or CSV of MedQA, MedMCQA, PubMedQA, MMLU, MedBullets, MedXpertQA "
     "(agents/DATASETS.md); plain or .gz; or a name that mas pull lists, as medqa; default: the "
     "configuration's",
     1},
    {"data-format", OPT_DATA_FORMAT, "NAME", 0,
     "format of the questions; default: the configuration's data_format, or their content tells",
     1},
    {"n", 'n', "N", 0,
     "only the first N records of the file, rejected ones and duplicates counted, before variants "
     "are made of them. In a folder "
     "with more, nothing is dropped: the figures are about the N, the others stay",
     1},
    {"out", OPT_OUT, "DIR", 0,
     "folder of the run; one that exists is continued, also on another processor or "
     "with other threads. Otherwise a new one in logging.traces_dir",
     1},
    {"shuffle", OPT_SHUFFLE, 0, 0, "show the options of each question in an order of its own", 1},
    {"sample", OPT_SAMPLE, "N", 0,
     "a random sample of N records. A run is about its sample: it cannot be continued with another",
     1},
    {"sample-seed", OPT_SAMPLE_SEED, "N", 0, "seed of --sample (1)", 1},
    {"step", OPT_STEP, "STEP", 0, "only questions of this step, as step1", 1},
    {"ids", OPT_IDS, "FILE", 0,
     "only the questions with these ids, one a line: the trace_id of results.csv", 1},
    {"match-tokens", OPT_MATCH, "DIR", 0,
     "generate as many tokens for each question as the run in DIR did, by more samples or a limit. "
     "A strategy that cannot is refused, with the names of those that can. The means of both runs "
     "are shown at the end",
     1},
    {"shard", OPT_SHARD, "I/N", 0,
     "only share I of N of the records, for N tasks that share the folder --out. mas merge makes "
     "one "
     "run of their results (agents/CLUSTER.md)",
     1},
    {"lease", OPT_LEASE, "SECONDS", 0,
     "with --shard: a task on another host without a sign of life for so long is taken as dead, "
     "and "
     "its share is taken over (90)",
     1},
    {"dry-run", OPT_DRY_RUN, 0, 0,
     "with --shard: show which records each task would have, and whether the folder holds this "
     "study. Nothing is written, and no model is loaded. Exit status 78: another study",
     1},
    {"concurrency", OPT_CONCURRENCY, "N", 0, "cases at once, or auto (default)", 2},
    {"node-copy", OPT_NODE_COPY, "DIR", 0,
     "read the model from a copy in DIR, a folder on a disk of this host. Of many processes that "
     "start at once, one copies and the others wait (agents/CLUSTER.md)",
     2},
    {"workers", OPT_WORKERS, "N", 0,
     "N processes with an engine each, which share the CPU's cores, the GPUs of 'devices' and one "
     "queue of questions. A process that dies is replaced (agents/CLUSTER.md)",
     2},
    {"check", OPT_CHECK, 0, 0,
     "read settings, questions and the header of the model, then end: nothing is asked or written",
     2},
    {"curve", OPT_CURVE, "FILE.svg", 0,
     "draw tokens a second and the use of the KV cache over time", 2},
    {"force-new", OPT_FORCE_NEW, 0, 0, "start again in DIR; its old content moves to DIR/old-N", 2},
    {"repair", OPT_REPAIR, 0, 0, "drop cases whose trace is damaged and ask them again", 2},
    {"retry-failed", OPT_RETRY_FAILED, 0, 0,
     "ask the failed questions among the records of this start again. run.json, summary.json and "
     "the table say how many; the former trace is kept in the folder",
     2},
    {0}};

static error_t parse(int key, char *arg, struct argp_state *st)
{
    struct options *o = st->input;
    switch (key) {
    case ARGP_KEY_INIT:
        st->child_inputs[0] = &o->clinic;
        st->child_inputs[1] = &o->variants;
        return 0;
    case OPT_DATA:
        o->data = arg;
        return 0;
    case 'n':
        return cli_int(st, "--n", arg, 1, INT32_MAX, &o->n);
    case OPT_OUT:
        o->out = arg;
        return 0;
    case OPT_CURVE:
        o->curve = arg;
        return 0;
    case OPT_DATA_FORMAT:
        o->clinic.data_format = arg;
        return cli_option(st, &tool_option_set, "data-format", arg, &o->own);
    case OPT_STEP:
        o->step = arg;
        return 0;
    case OPT_IDS:
        o->ids = arg;
        return 0;
    case OPT_MATCH:
        o->match = arg;
        return 0;
    case OPT_SHARD: {
        struct err e = {.code = 0};
        if (shard_parse(arg, &o->shard.shard, &e) < 0) {
            argp_error(st, "--shard: %s", e.msg);
            return EINVAL;
        }
        return 0;
    }
    case OPT_DRY_RUN:
        o->shard.dry = true;
        return 0;
    case OPT_NODE_COPY:
        o->clinic.node_copy = arg;
        return 0;
    case OPT_WORKERS:
        return cli_int(st, "--workers", arg, 1, WORKERS_MOST, &o->workers);
    case OPT_LEASE:
        if (!str_to_f64(arg, 1, 86400, &o->shard.lease_s)) {
            argp_error(st, "--lease %s: seconds from 1 to 86400", arg);
            return EINVAL;
        }
        return 0;
    case OPT_SAMPLE:
        return cli_int(st, "--sample", arg, 1, INT32_MAX, &o->sample);
    case OPT_SAMPLE_SEED:
        return cli_int(st, "--sample-seed", arg, 0, INT32_MAX, &o->sample_seed);
    case OPT_SHUFFLE:
        o->shuffle = true;
        return 0;
    case OPT_CONCURRENCY:
        o->concurrency = 0;
        return strcmp(arg, "auto") ? cli_int(st, "--concurrency", arg, 1, 4096, &o->concurrency)
                                   : 0;
    case OPT_FORCE_NEW:
        o->fresh = true;
        return 0;
    case OPT_CHECK:
        o->check = true;
        return 0;
    case OPT_REPAIR:
        o->repair = true;
        return 0;
    case OPT_RETRY_FAILED:
        o->retry_failed = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(st, "unexpected argument '%s'; pass the questions with --data", arg);
        return EINVAL;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

struct watch { /* the observers of the run */
    struct meter meter;
    struct curve curve;
    struct energy *energy;
    bool began; /* the folder of the run is open: its timeline may be written */
};

static double on_joules(void *user, const char **source)
{
    return energy_joules(((struct watch *)user)->energy, source);
}

static void on_progress(const struct run_progress *p, void *user)
{
    struct watch *w = user;
    const char *source;
    (void)energy_joules(w->energy, &source); /* the gauges of the line */
    meter_show(&w->meter, p, &w->energy->now);
    curve_add(&w->curve);
}

static int draw(const struct options *o, const struct curve *c, const struct clinic *k, size_t n,
                struct err *e)
{
    struct str svg = STR_INIT;
    char title[256];
    snprintf(title, sizeof title, "%zu questions, strategy %s, %d sequences, KV cache %s", n,
             k->env.options->strategy, llm_info(k->llm)->slots, llm_info(k->llm)->kv);
    int rc = curve_svg(c, title, &svg, e);
    if (rc == 0)
        rc = output_file(o->curve, &svg, e);
    str_free(&svg);
    return rc;
}

static void say_figures(const struct clinic *c)
{
    struct str line = STR_INIT;
    llm_figures(c->llm, LLM_FIGURES_LINE, &line);
    if (line.len)
        fprintf(stderr, "%s\n", line.s);
    str_free(&line);
}

/* Names the records of that kind among the first n. */
static void say_lines(const struct medqa *m, size_t n, enum medqa_kind kind, size_t all)
{
    size_t named = 0;
    for (size_t i = 0; i < n && named < RUNFOLDER_NAMED; i++) {
        const struct medqa_record *r = &m->record[i];
        if (r->kind != kind)
            continue;
        named++;
        if (kind == MEDQA_REJECTED)
            fprintf(stderr, "  line %lld: %s\n", (long long)r->line, r->why);
        else
            fprintf(stderr, "  line %lld: the same question as line %lld\n", (long long)r->line,
                    (long long)m->record[m->question[r->question].index].line);
    }
    if (all > named)
        fprintf(stderr, "  and %zu more: records.jsonl and results.csv have all\n", all - named);
}

static void say_records(const struct medqa *m, const struct runfolder_asked *a, const char *path)
{
    if (a->rejected)
        fprintf(stderr, "%s: %zu of %zu records rejected, they count as wrong:\n", path,
                a->rejected, a->records);
    say_lines(m, a->records, MEDQA_REJECTED, a->rejected);
    if (a->duplicates)
        fprintf(
            stderr,
            "%s: %zu of %zu records are duplicates, each counts as the record that it repeats:\n",
            path, a->duplicates, a->records);
    say_lines(m, a->records, MEDQA_DUPLICATE, a->duplicates);
}

/* Finished questions of the folder: *beyond are not among those asked for. */
static size_t done_before(const struct trace *t, const struct runfolder_asked *a, size_t *beyond)
{
    const struct results *rs = trace_results(t);
    *beyond = 0;
    for (size_t i = 0; i < rs->n; i++)
        *beyond += (size_t)rs->r[i].index >= a->records;
    return rs->n - *beyond;
}

/* The reports of the run; the table to standard output if wanted. cause: of the run's end before
 * its time; NULL = none. */
static int report(const struct clinic *c, struct trace *t, const char *dir, const char *data,
                  bool table, const char *cause, struct err *e)
{
    struct str engine = STR_INIT;
    const char *slash = strrchr(data, '/');
    char title[256];
    snprintf(title, sizeof title, "strategy %s on %s", c->env.options->strategy,
             slash ? slash + 1 : data);
    llm_figures(c->llm, LLM_FIGURES_JSON, &engine);
    int rc = str_ok(&engine, "summary.json", e);
    if (rc == 0)
        rc = runfolder_report(t, dir, table ? title : NULL, engine.s, cause, e);
    str_free(&engine);
    return rc;
}

/* The run ended before its time: what is finished is reported as far as that goes. */
static void unfinished(const struct options *o, const struct clinic *c, struct trace *t,
                       const char *dir, const struct run_progress *p, const struct err *why)
{
    struct err ignored; /* the run's own error is the one to show */
    if (!trace_results(t)->n) {
        (void)trace_stopped(t, why->msg, &ignored);
        return;
    }
    (void)report(c, t, dir, o->data, true, why->msg, &ignored);
    fprintf(stderr, "partial, %zu of %zu questions; continue with the same command%s%s\n", p->done,
            p->total, o->out ? "" : " and --out ", o->out ? "" : dir);
}

/* The tokens of the run beside those that it was to match. */
static void say_match(const struct options *o, const struct clinic *c, const struct trace *t,
                      size_t records)
{
    const struct budget_tally b = budget_tally(c->env.budget, trace_results(t), records);
    if (!b.n)
        return;
    fprintf(stderr, "tokens generated: %.1f a question, %.1f in %s: %+.1f %%, %s %g %%\n", b.spent,
            b.given, o->match, 100 * (b.spent - b.given) / b.given,
            b.near ? "matched within" : "not within", 100 * BUDGET_NEAR);
}

static int finish(const struct options *o, struct clinic *c, struct trace *t, const char *dir,
                  const struct runfolder_asked *a, const struct run_progress *p, struct err *e)
{
    TRY(trace_seal(t, e));
    TRY(report(c, t, dir, o->data, true, NULL, e));
    TRY(runfolder_reasons(t, a->records, e));
    if (p->failed || a->rejected)
        FAIL(
            e, ERR_ITEMS,
            "%zu of %zu questions failed, %zu of %zu records were rejected (all counted as wrong); "
            "results.csv and the traces in %s name them%s",
            p->failed, p->total, a->rejected, a->records, dir,
            p->failed ? "; mas eval --retry-failed asks failed ones again" : "");
    return 0;
}

static int ask(const struct options *o, struct clinic *c, const struct medqa *m,
               const struct shard_work *work, const struct runfolder_asked *a, struct watch *watch,
               const atomic_int *stop, struct err *e)
{
    struct clinic_trace ct = {.dir = work->lease ? work->dir : o->out,
                              .lease = work->lease,
                              .name = "eval",
                              .data_path = o->data,
                              .data = m,
                              .asked = a->records,
                              .paraphrases = variants_text(&o->variants),
                              .fresh = o->fresh,
                              .repair = o->repair,
                              .retry_failed = o->retry_failed};
    struct run_progress p = {.done = 0};
    struct trace *t = NULL;
    char dir[1024];
    size_t beyond = 0;
    int rc;
    TRY_DONE(clinic_trace(c, &ct, dir, &t, e));
    watch->began = true;
    size_t before = done_before(t, a, &beyond);
    fprintf(stderr, "%zu records: %zu questions, strategy %s, %zu done before; results in %s\n",
            a->records, a->questions, c->env.options->strategy, before, dir);
    if (beyond)
        fprintf(stderr,
                "the folder has %zu more finished questions after the first %zu records: they stay "
                "in its "
                "traces, the figures are about the %zu; a larger --n counts them again\n",
                beyond, a->records, a->records);
    if (before < a->questions)
        TRY_DONE(report(c, t, dir, o->data, false, NULL,
                        e)); /* so that no report says more than is true */
    meter_open(&watch->meter, o->clinic.quiet);
    watch->energy = &c->energy;
    struct run_options ro = {.env = &c->env,
                             .question = m->question,
                             .n = a->questions,
                             .trace = t,
                             .concurrency = o->concurrency,
                             .stop = stop,
                             .joules = on_joules,
                             .progress = on_progress,
                             .user = watch};
    rc = run_questions(&ro, &p, e);
    meter_close(&watch->meter);
    if (!o->clinic.quiet)
        say_figures(c);
    if (o->match)
        say_match(o, c, t, a->records);
    if (rc < 0)
        unfinished(o, c, t, dir, &p, e);
    else
        rc = finish(o, c, t, dir, a, &p, e);
done:
    trace_close(t);
    return rc;
}

/* Keeps the records that the command line chooses, and describes the choice. */
static int choose(const struct options *o, struct medqa *m, struct arena *arena, struct str *about,
                  struct err *e)
{
    struct subset s = {.step = o->step,
                       .sample = o->sample,
                       .seed = o->sample_seed < 0 ? 1 : (uint64_t)o->sample_seed};
    if (o->sample_seed >= 0 && !o->sample)
        FAIL(e, ERR_USAGE, "--sample-seed without --sample; give the size of the sample");
    if (o->ids)
        TRY(subset_ids_file(o->ids, arena, &s.ids, &s.n_ids, e));
    if (!subset_chooses(&s))
        return 0;
    const size_t all = m->n_records;
    int rc = subset_take(&s, m, about, e);
    if (rc < 0)
        return err_wrap(e, rc, "%s", o->data);
    fprintf(stderr, "%zu of %zu records chosen; the figures are about these\n", m->n_records, all);
    return 0;
}

/* The records asked for. --n counts those of the file, before variants took their places. */
static struct runfolder_asked count(const struct options *o, const struct medqa *m)
{
    return runfolder_count(m,
                           variants_given(&o->variants) ? o->variants.count.records : (size_t)o->n);
}

/* The run by several processes. */
static int by_workers(const struct options *o, const struct config *base, const struct medqa *m,
                      const struct runfolder_asked *a, const struct str *subset,
                      const struct str *variants, const atomic_int *stop, struct err *e)
{
    const struct eval_workers_ask ask = {.job = {.config = base,
                                                 .data = m,
                                                 .asked = *a,
                                                 .subset = subset->len ? subset->s : NULL,
                                                 .variants = variants->len ? variants->s : NULL,
                                                 .paraphrases = variants_text(&o->variants),
                                                 .dir = o->out},
                                         .clinic = &o->clinic,
                                         .data_path = o->data,
                                         .n = o->workers,
                                         .concurrency = o->concurrency,
                                         .shuffle = o->shuffle,
                                         .fresh = o->fresh,
                                         .repair = o->repair,
                                         .retry_failed = o->retry_failed,
                                         .stop = stop};
    return eval_workers(&ask, e);
}

/* The share of the task: its folder, its lease and its records. */
static int share(const struct options *o, const struct config *base, const struct medqa *m,
                 size_t asked, const struct str *subset, const struct str *variants,
                 const atomic_int *stop, struct shard_work *work, struct medqa *own,
                 struct str *mark, struct err *e)
{
    const size_t one = 1;
    struct str settings = STR_INIT;
    int rc;
    str_addf(&settings,
             "\"shuffle\": %s, \"variants\": %s, \"config\": ", o->shuffle ? "true" : "false",
             variants->len ? variants->s : "null");
    config_json(base, true, &settings);
    TRY_DONE(str_ok(&settings, "settings", e));
    const struct shard_study study = {
        .data = m, .asked = asked, .subset = subset->s, .settings = settings.s};
    TRY_DONE(shard_work_open(&o->shard, &o->clinic, o->out, &study, stop, work, e));
    if (o->shard.dry) {
        shard_work_show(work, m, asked, &one, 1, 0);
        goto done;
    }
    const struct shard_span span = shard_share(work->shard, &one, 1, 0, work->order.units);
    TRY_DONE(shard_take(m, &work->order, span, own, e));
    shard_describe(work->shard, asked, own, mark);
    TRY_DONE(str_ok(mark, "a shard", e));
    fprintf(stderr, "shard %d of %d: %zu of %zu records\n", work->shard.i, work->shard.n,
            own->n_records, asked);
done:
    str_free(&settings);
    return rc;
}

struct task {              /* the questions of this process, and their origin */
    struct medqa whole, m; /* whole: of which m is a shard; otherwise empty */
    struct shard_work work;
    struct str mark, subset, variants; /* as in strategy_env */
    struct arena ids;
    struct budget budget;
    struct runfolder_asked asked;
    const atomic_int *stop;
};

static int prepare(struct options *o, const struct config *base, struct task *k, struct err *e)
{
    TRY(medqa_read_as(o->data, o->own.data_format, &k->m, e));
    TRY(choose(o, &k->m, &k->ids, &k->subset, e));
    TRY(variants_take(&o->variants, &k->m, (size_t)o->n, &k->variants, e));
    k->asked = count(o, &k->m);
    if (o->shard.shard.n) {
        k->whole = k->m;
        k->m = (struct medqa){.n = 0};
        TRY(share(o, base, &k->whole, k->asked.records, &k->subset, &k->variants, k->stop, &k->work,
                  &k->m, &k->mark, e));
        k->asked = runfolder_count(&k->m, 0);
        if (o->shard.dry)
            return 0;
    }
    if (o->match) {
        TRY(budget_read(o->match, &k->budget, e));
        TRY(budget_covers(&k->budget, k->m.question, k->asked.questions, o->match, e));
    }
    say_records(&k->m, &k->asked, o->data);
    return runfolder_doubts(&k->m, k->asked.records, o->data, e);
}

/* After the reports: the picture, if one is wanted. */
static int finish_curve(const struct options *o, const struct watch *watch, const struct clinic *c,
                        size_t n, int rc, struct err *e)
{
    struct err drawing = {.code = 0};
    const int drawn = draw(o, &watch->curve, c, n, &drawing);
    if (drawn < 0 && rc == 0)
        return err_set(e, drawn, "%s", drawing.msg);
    if (drawn < 0)
        fprintf(stderr, "%s\n", drawing.msg);
    return rc;
}

/* The run by this process. */
static int compute(const struct options *o, struct task *k, struct err *e)
{
    struct clinic c = {.llm = NULL};
    struct llm_gauge gauge;
    struct watch watch = {.curve = {.llm = NULL}};
    char noise[TOY_TEXT];
    int rc;
    TRY_DONE(clinic_open(&o->clinic, true, o->shuffle, false, &c, e));
    c.env.subset = k->subset.len ? k->subset.s : NULL;
    c.env.shard = k->mark.len ? k->mark.s : NULL;
    c.env.variants = k->variants.len ? k->variants.s : NULL;
    if (o->match)
        TRY_DONE(strategy_match(&c.env, &k->budget, e));
    if (o->curve && !llm_gauge(c.llm, &gauge))
        TRY_DONE(err_set(e, ERR_USAGE, "--curve: provider %s measures nothing to draw",
                         llm_info(c.llm)->provider));
    if (o->curve)
        curve_open(&watch.curve, c.llm);
    if (toy_says_all(llm_info(c.llm)->name, k->m.question, k->asked.questions, noise))
        fprintf(stderr, "noise: %s\n", noise);
    rc = ask(o, &c, &k->m, &k->work, &k->asked, &watch, k->stop, e);
    if (watch.began)
        rc = clinic_ran(&o->clinic, &c, rc, e);
    bool ended = rc == 0 || rc == ERR_ITEMS; /* the summary is there */
    if (*noise && ended) {
        printf("\n");
        sheet_noise(stdout, clinic_width(stdout), noise);
    }
    if (o->curve && ended)
        rc = finish_curve(o, &watch, &c, k->asked.questions, rc, e);
done:
    curve_free(&watch.curve);
    clinic_close(&c);
    return rc;
}

static int evaluate(struct options *o, const struct config *base, struct err *e)
{
    struct task k = {.mark = STR_INIT,
                     .subset = STR_INIT,
                     .variants = STR_INIT,
                     .ids = {.limit = MEDQA_FILE},
                     .stop = clinic_signals()};
    int rc;
    TRY_DONE(viewfile_apart("--timeline", o->clinic.timeline, "--curve", o->curve, e));
    const struct target curve = {"--curve", o->curve, VIEWFILE_PICTURE};
    const char *const input[] = {o->data, o->ids, o->variants.file};
    TRY_DONE(target_check(&curve, 1, input, 3, TARGET_NEVER, e));
    TRY_DONE(clinic_timeline_apart(&o->clinic, o->fresh ? NULL : o->out, e));
    TRY_DONE(prepare(o, base, &k, e));
    if (o->shard.shard.n && !k.m.n_records) /* more shards than records, or a dry run */
        goto done;
    rc = o->workers ? by_workers(o, base, &k.m, &k.asked, &k.subset, &k.variants, k.stop, e)
                    : compute(o, &k, e);
done:
    shard_work_close(&k.work);
    medqa_free(&k.m);
    medqa_free(&k.whole);
    str_free(&k.mark);
    str_free(&k.subset);
    str_free(&k.variants);
    arena_free(&k.ids);
    budget_free(&k.budget);
    variants_free(&o->variants);
    return rc;
}

/* Combinations of --shard and --workers that make no sense. */
static int check_tasks(const struct options *o, struct err *e)
{
    const char *with = o->match             ? "--match-tokens"
                       : o->curve           ? "--curve"
                       : o->clinic.timeline ? "--timeline"
                                            : NULL;
    if (!o->shard.shard.n && o->shard.lease_s > 0)
        FAIL(e, ERR_USAGE, "--lease is of --shard, which is not given");
    if (!o->shard.shard.n && o->shard.dry)
        FAIL(e, ERR_USAGE, "--dry-run is of --shard, which is not given; add --shard 1/N");
    if (o->workers && (with || o->shard.shard.n))
        FAIL(e, ERR_USAGE, "%s does not go with --workers", with ? with : "--shard");
    if (o->workers && o->clinic.ranges.nvtx == RANGES_ON)
        FAIL(e, ERR_USAGE, "--nvtx does not go with --workers: profile one process");
    if (!o->shard.shard.n)
        return o->out ? shard_refuse_unmerged(o->out, e) : 0;
    if (!o->out)
        FAIL(e, ERR_USAGE, "--shard needs --out DIR, the same folder for all shards");
    if (with)
        FAIL(e, ERR_USAGE, "%s does not go with --shard: it is about a whole run", with);
    return 0;
}

/* ---- experiments ----------------------------------------------------------------------------- */

/* A setting of the command line that the experiment varies would be ignored. */
static int refuse_factor(const struct config *base, const char *key, size_t n, const char *flag,
                         struct err *e)
{
    for (size_t i = 0; i < base->n_entry; i++) {
        const char *factor = base->entry[i].key;
        if (!strcmp(factor, "seeds") && n == strlen("seed") && !memcmp(key, "seed", n))
            FAIL(e, ERR_USAGE, "%s: the experiment has its own seeds; set experiment.seeds", flag);
        if (!strncmp(factor, "factors.", 8) && strlen(factor + 8) == n &&
            !memcmp(factor + 8, key, n))
            FAIL(e, ERR_USAGE, "%s: the experiment varies %.*s; set experiment.%s", flag, (int)n,
                 key, factor);
    }
    return 0;
}

static int experiment(const struct options *o, const struct config *base, struct err *e)
{
    const struct clinic_options *k = &o->clinic;
    const char *flag, *key = NULL;
    char named[64];
    const struct grid_request r = {.clinic = k,
                                   .base = base,
                                   .data = o->data,
                                   .out = o->out,
                                   .n = o->n,
                                   .shard = o->shard,
                                   .variants = o->variants,
                                   .workers = o->workers,
                                   .concurrency = o->concurrency,
                                   .shuffle = o->shuffle,
                                   .fresh = o->fresh,
                                   .repair = o->repair,
                                   .retry_failed = o->retry_failed};
    if (o->curve || k->timeline)
        FAIL(e, ERR_USAGE, "%s draws one run; an experiment has several",
             o->curve ? "--curve" : "--timeline");
    if (o->match)
        FAIL(e, ERR_USAGE, "--match-tokens is for one run; an experiment has several");
    if (o->step || o->ids || o->sample || o->sample_seed >= 0)
        FAIL(e, ERR_USAGE,
             "an experiment chooses its records itself: set experiment.data.step, .ids or "
             ".sample.n and .sample.seed");
    if (k->model)
        TRY(refuse_factor(base, "model", 5, "--model", e));
    if (k->strategy)
        TRY(refuse_factor(base, "strategy", 8, "--strategy", e));
    if (k->seed)
        TRY(refuse_factor(base, "seed", 4, "--seed", e));
    for (int at = 0; (flag = clinic_flag(k, &at, &key)) != NULL;) {
        snprintf(named, sizeof named, "--%s", flag);
        TRY(refuse_factor(base, key, strlen(key), named, e));
    }
    for (int i = 0; i < k->n_set; i++)
        TRY(refuse_factor(base, k->set[i], strcspn(k->set[i], "="), "--set", e));
    return grid_run(&r, e);
}

/* The questions of all shards, then the rest. */
static int check(struct options *o, const struct config *base, struct err *e)
{
    struct task k = {
        .mark = STR_INIT, .subset = STR_INIT, .variants = STR_INIT, .ids = {.limit = MEDQA_FILE}};
    struct str found = STR_INIT;
    int rc;
    o->shard.shard.n = 0;
    TRY_DONE(prepare(o, base, &k, e));
    TRY_DONE(eval_check(base, o->shuffle, &found, e));
    TRY_DONE(str_ok(&found, "a check", e));
    printf("checked: %zu records, %s; nothing was asked or written\n", k.asked.records, found.s);
done:
    medqa_free(&k.m);
    str_free(&k.subset);
    str_free(&k.variants);
    str_free(&found);
    arena_free(&k.ids);
    budget_free(&k.budget);
    variants_free(&o->variants);
    return rc;
}

static int run(int argc, char **argv)
{
    static const struct argp_child children[] = {
        {&clinic_argp, 0, "Settings:", 20}, {&variants_argp, 0, "Variants:", 10}, {0}};
    static const struct argp argp = {
        rows,
        parse,
        NULL,
        "Takes a file of multiple-choice questions through a strategy. An interrupted evaluation "
        "is "
        "continued by the same command with the same --out; a changed configuration, model or data "
        "file is refused. Accuracy is over all records asked for: unparsed, failed and rejected "
        "ones count "
        "as wrong, and a duplicate as the record that it repeats. A configuration with an "
        "experiment "
        "is run as one whole: a folder with one run a setting and seed (agents/EXPERIMENTS.md). "
        "Exit status 1: some questions failed or records were rejected. Research software: not for "
        "clinical care.",
        children,
        NULL,
        NULL};
    struct options o = {.clinic = {.many = true, .experiment = true}, .sample_seed = -1};
    struct config base = {.n = 0};
    struct err e = {0};
    int done = cli_parse(&argp, argc, argv, &o);
    if (done >= 0)
        return done;
    clinic_notice();
    (void)clinic_signals(); /* a signal at any moment ends the run in an orderly way */
    struct str data = STR_INIT;
    int rc = clinic_data(&o.clinic, o.data, &data, &e);
    o.data = data.s;
    if (rc == 0 && !data.len)
        rc = err_set(&e, ERR_USAGE,
                     "no questions; give a file with --data FILE "
                     "(configs/demo/questions.jsonl is a small one), or the key 'data'");
    if (rc == 0)
        rc = clinic_config(&o.clinic, &base, &e);
    if (rc == 0)
        rc = check_tasks(&o, &e);
    if (rc == 0) {
        o.own = *(const struct tool_options *)config_of(&base, &tool_option_set);
        rc = o.check             ? check(&o, &base, &e)
             : grid_given(&base) ? experiment(&o, &base, &e)
                                 : evaluate(&o, &base, &e);
    }
    config_free(&base);
    str_free(&data);
    return rc < 0 ? clinic_fail(&e) : 0;
}

const struct cmd cmd_eval = {
    "eval", "evaluate a strategy on a file of questions",
    "mas eval -c demo --data configs/demo/questions.jsonl --n 20 --out runs/try\n"
    "mas eval --config configs/llama3_70b.yaml --n 10\n"
    "mas eval -c configs/llama3_70b.yaml --data medqa --n 100 --strategy panel\n"
    "mas eval -c configs/llama3_8b.yaml --data medqa.jsonl --strategy direct --shuffle --seed 7\n"
    "mas eval -c configs/llama3_8b.yaml --data medqa --sample 200 -s direct --permute cyclic\n"
    "mas eval -c configs/experiments/demo.yaml --data configs/demo/questions.jsonl --out "
    "runs/grid\n"
    "mas eval -c demo --data configs/demo/questions.jsonl --out runs/study --shard 3/8\n"
    "mas eval -c demo --data configs/demo/questions.jsonl --out runs/two --workers 2\n",
    run};
