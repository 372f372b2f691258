/* mas export: writes the results of a run as CSV or JSON, or compares runs question by question. */
#include <math.h>
#include <string.h>

#include "cli.h"
#include "clinic.h"
#include "cmd.h"
#include "collect.h"
#include "export.h"
#include "grid_export.h"
#include "gridfile.h"
#include "mem.h"
#include "orders.h"
#include "output.h"
#include "recorded.h"
#include "report.h"
#include "review.h"
#include "runlist.h"
#include "runs_csv.h"
#include "sha256.h"
#include "sources.h"
#include "study.h"
#include "target.h"
#include "tool_options.h"
#include "trace.h"
#include "vary.h"

#define BOOTSTRAP_DRAWS 10000
#define MAX_RUNS 64 /* compared at once */

struct options {
    const char *dir, *csv, *summary, *wrong, *bundle;
    const char *lm_eval, *inspect, *data; /* for other programs */
    bool orders;
    const char *baseline;
    enum target_force force;
    const char *against[MAX_RUNS - 1];
    int n_against;
    bool json;
    double discordant;       /* share, of --power; 0 = no such table */
    struct tool_options own; /* price_kwh NaN = as the run says */
};

enum {
    OPT_CSV = 1,
    OPT_SUMMARY,
    OPT_WRONG,
    OPT_AGAINST,
    OPT_PRICE,
    OPT_LM_EVAL,
    OPT_INSPECT,
    OPT_DATA,
    OPT_ORDERS,
    OPT_BUNDLE,
    OPT_POWER,
    OPT_BASELINE,
    OPT_FORCE,
    OPT_OUTPUT = 'o'
};

static const struct argp_option rows[] = {
    {"csv", OPT_CSV, "FILE", 0,
     "one row a question; of several runs with a column 'run'; '-' = standard output", 1},
    {"summary", OPT_SUMMARY, "FILE", 0, "the statistics as JSON; '-' = standard output", 1},
    {"wrong", OPT_WRONG, "FILE", 0,
     "ids of the finished questions without the right answer, one a line, for mas eval --ids; "
     "'-' = standard output",
     1},
    {"lm-eval", OPT_LM_EVAL, "DIR2", 0,
     "results_*.json and samples_*.jsonl of lm-evaluation-harness, into this folder", 1},
    {"inspect", OPT_INSPECT, "FILE.json", 0,
     "a log of Inspect in its JSON form; '-' = standard output", 1},
    {"orders", OPT_ORDERS, 0, 0,
     "does the order of the options change the answer? Of questions that stand in several orders "
     "(mas vary): the same answer in all; and accuracy by the place of the key",
     1},
    {"data", OPT_DATA, "FILE", 0,
     "the questions, for --lm-eval, --inspect, --orders and --bundle (default: those of an "
     "unpacked bundle, or the file that the run names)",
     1},
    {"against", OPT_AGAINST, "DIR", 0,
     "compare with another run on the questions both have finished: a table "
     "of results and costs, exact McNemar test, BCa bootstrap interval; "
     "differences are that run minus the first DIR; may be repeated; a second DIR means the same",
     1},
    {"baseline", OPT_BASELINE, "DIR", 0,
     "the run that all others are compared with (default: the first); of an experiment: one of its "
     "cells",
     1},
    {"power", OPT_POWER, "PERCENT", 0,
     "size of a study: questions needed to find a difference, if PERCENT of the questions tell two "
     "runs apart; needs no DIR",
     1},
    {"bundle", OPT_BUNDLE, "FILE.tar.gz", 0,
     "one file for a reviewer: the run, or the experiment with all its runs; settings, prompts, "
     "schemas, questions and report, with "
     "the hash of each; the model's hash, not the model. mas verify checks it",
     1},
    {"force", OPT_FORCE, 0, 0, "replace files that this command did not write", 1},
    {"output", OPT_OUTPUT, "FORMAT", 0, "of the tables: text (default) or json", 1},
    {"price-kwh", OPT_PRICE, "USD", 0,
     "price of a kilowatt-hour (default: the run's own, price_kwh of its "
     "configuration)",
     1},
    {0}};

static error_t add_run(struct options *o, const char *dir, struct argp_state *st)
{
    if (o->n_against == MAX_RUNS - 1) {
        argp_error(st, "more than %d runs to compare with", MAX_RUNS - 1);
        return EINVAL;
    }
    o->against[o->n_against++] = dir;
    return 0;
}

static error_t parse(int key, char *arg, struct argp_state *st)
{
    struct options *o = st->input;
    switch (key) {
    case OPT_CSV:
        o->csv = arg;
        return 0;
    case OPT_SUMMARY:
        o->summary = arg;
        return 0;
    case OPT_BUNDLE:
        o->bundle = arg;
        return 0;
    case OPT_WRONG:
        o->wrong = arg;
        return 0;
    case OPT_LM_EVAL:
        o->lm_eval = arg;
        return 0;
    case OPT_INSPECT:
        o->inspect = arg;
        return 0;
    case OPT_FORCE:
        o->force = TARGET_FORCED;
        return 0;
    case OPT_ORDERS:
        o->orders = true;
        return 0;
    case OPT_DATA:
        o->data = arg;
        return 0;
    case OPT_AGAINST:
        return add_run(o, arg, st);
    case OPT_BASELINE:
        o->baseline = arg;
        return 0;
    case OPT_POWER:
        if (!str_to_f64(arg, 0, 100, &o->discordant) || !(o->discordant > 0)) {
            argp_error(st, "--power %s: a percentage above 0, at most 100", arg);
            return EINVAL;
        }
        o->discordant /= 100;
        return 0;
    case OPT_OUTPUT:
        if (strcmp(arg, "text") != 0 && strcmp(arg, "json") != 0) {
            argp_error(st, "-o %s: no such format; text or json", arg);
            return EINVAL;
        }
        o->json = !strcmp(arg, "json");
        return 0;
    case OPT_PRICE:
        return cli_option(st, &tool_option_set, "price-kwh", arg, &o->own);
    case ARGP_KEY_ARG:
        if (o->dir)
            return add_run(o, arg, st);
        o->dir = arg;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static int load(const char *dir, struct trace_run *run, struct err *e)
{
    TRY(trace_read(dir, run, e));
    fputs(run->notes.s, stderr);
    return 0;
}

static double price(const struct options *o, const struct trace_run *run)
{
    return isnan(o->own.price_kwh) ? run->price_kwh : o->own.price_kwh;
}

static int write_csv(const struct options *o, const struct trace_run *run, struct err *e)
{
    const char *dir[MAX_RUNS] = {o->dir};
    struct str s = STR_INIT;
    for (int i = 0; i < o->n_against; i++)
        dir[i + 1] = o->against[i];
    int rc = o->n_against ? runs_csv(dir, (size_t)o->n_against + 1, &s, e) : report_csv(run, &s, e);
    if (rc == 0)
        rc = output_file(o->csv, &s, e);
    str_free(&s);
    return rc;
}

static int write_summary(const struct options *o, const struct trace_run *run, const char *path,
                         struct err *e)
{
    struct str s = STR_INIT;
    struct stats_summary stats = {.answered = 0};
    int rc;
    TRY_DONE(stats_summarize(run, price(o, run), &stats, e));
    report_json(&stats, run->json.s, "", &s);
    TRY_DONE(output_file(path, &s, e));
done:
    stats_free(&stats);
    str_free(&s);
    return rc;
}

static int write_bundle(const struct options *o, struct err *e)
{
    struct bundle b = {.n = 0};
    struct str packed = STR_INIT, data = STR_INIT;
    char hash[65];
    struct collect_notes notes = {.has_data = false};
    int rc;
    if (o->data)
        TRY_DONE(sources_data(o->data, &data, e));
    TRY_DONE((gridfile_is(o->dir) ? collect_experiment
                                  : collect_run)(o->dir, o->data ? data.s : NULL, &b, &notes, e));
    TRY_DONE(bundle_pack(&b, &packed, e));
    TRY_DONE(sha256_hex(packed.s, packed.len, hash, e));
    TRY_DONE(output_file(o->bundle, &packed, e));
    if (!notes.has_data)
        fprintf(stderr, "the questions are not in the bundle: the file that the run names is not "
                        "here, or it has changed; give it with --data FILE\n");
    if (!notes.has_page)
        fprintf(stderr, "the report is not in the bundle: more than %d runs\n", STUDY_RUNS);
    if (notes.renewed)
        fprintf(stderr, "the run did not end: the figures in the bundle are computed anew from its "
                        "trace\n");
    fprintf(stderr, "%s: %zu files, sha256 %s\n", o->bundle, b.n, hash);
done:
    bundle_free(&b);
    str_free(&data);
    str_free(&packed);
    return rc;
}

static int write_wrong(const struct options *o, const struct trace_run *run, struct err *e)
{
    struct str s = STR_INIT;
    for (size_t i = 0; i < run->results.n; i++) {
        const struct result *r = &run->results.r[i];
        if ((size_t)r->index < run->asked && !r->correct)
            str_addf(&s, "%s\n", r->id);
    }
    int rc = output_file(o->wrong, &s, e);
    str_free(&s);
    return rc;
}

/* The last part of a path, which names the run. */
static const char *run_name(const char *dir)
{
    const char *slash = strrchr(dir, '/');
    return slash && slash[1] ? slash + 1 : dir;
}

/* Runs that share no question are named, and the others compared. */
static int say_apart(const struct options *o, const struct report_run *run, struct err *e)
{
    struct str names = STR_INIT;
    int apart = 0;
    for (int i = 1; i <= o->n_against; i++)
        if (!run[i].paired.n)
            str_addf(&names, "%s%s", apart++ ? ", " : "", o->against[i - 1]);
    int rc = str_ok(&names, "names", e);
    if (!rc && apart)
        rc = err_set(e, ERR_ITEMS, "%d of %d runs have no finished question in common with %s: %s",
                     apart, o->n_against, o->dir, names.s);
    str_free(&names);
    return rc;
}

static int show(const struct options *o, struct report_run *run, const struct stats_compared *c,
                struct err *e)
{
    struct str text = STR_INIT;
    int n = (int)c->n_run;
    for (int i = 0; i < n; i++)
        run[i].paired = c->paired[i];
    if (o->json) {
        report_compared_json(run, c, &text);
    } else {
        report_runs(run, n, &text);
        report_compared(run, c, &text);
        for (int i = 1; i < n; i++) {
            str_addc(&text, '\n');
            report_paired(&run[0], &run[i], &text);
        }
    }
    int rc = output_file("-", &text, e);
    str_free(&text);
    return rc;
}

/* Reads the run in dir, and adds it to the list unless it is a copy of one there. */
static int add_other(struct options *o, const char *dir, struct trace_run *run,
                     const struct trace_run **all, struct err *e)
{
    bool same = false;
    TRY(load(dir, run, e));
    for (int i = 0; i <= o->n_against && !same; i++) {
        TRY(stats_same_run(all[i], run, &same, e));
        if (same)
            fprintf(stderr, "%s is a copy of the run in %s; it is taken once\n", dir,
                    i ? o->against[i - 1] : o->dir);
    }
    if (same) {
        trace_run_free(run);
        *run = (struct trace_run){.asked = 0};
        return 0;
    }
    o->against[o->n_against++] = dir;
    all[o->n_against] = run;
    return 0;
}

/* first: the run in given->dir. */
static int compare(const struct options *given, const struct trace_run *first, struct err *e)
{
    struct options own = *given, *o = &own; /* without copies */
    const struct trace_run *all[MAX_RUNS] = {first};
    struct stats_compared c = {.n_run = 0};
    struct report_run *run = mem_zalloc(MAX_RUNS, sizeof *run);
    struct trace_run *other = mem_zalloc(MAX_RUNS, sizeof *other);
    int rc;
    if (!run || !other) {
        rc = NOMEM(e, MAX_RUNS * sizeof *run, "runs to compare");
        goto done;
    }
    run[0].name = run_name(o->dir);
    TRY_DONE(stats_summarize(first, price(o, first), &run[0].summary, e));
    o->n_against = 0;
    for (int i = 0; i < given->n_against; i++)
        TRY_DONE(add_other(o, given->against[i], &other[o->n_against + 1], all, e));
    for (int i = 1; i <= o->n_against; i++) {
        run[i].name = run_name(o->against[i - 1]);
        TRY_DONE(stats_summarize(&other[i], price(o, &other[i]), &run[i].summary, e));
    }
    TRY_DONE(stats_compare(all, (size_t)o->n_against + 1, BOOTSTRAP_DRAWS, 42, &c, e));
    TRY_DONE(show(o, run, &c, e));
    rc = say_apart(o, run, e);
done:
    stats_compared_free(&c);
    for (int i = 0; i < MAX_RUNS && run && other; i++) {
        stats_free(&run[i].summary);
        trace_run_free(&other[i]);
    }
    mem_free(run);
    mem_free(other);
    return rc;
}

/* Is path a file that holds the run in dir? */
static int check_output(const char *path, const char *dir, struct err *e)
{
    static const char *const own[] = {"run.json",        "records.jsonl", "traces.jsonl",
                                      "traces.jsonl.gz", "lock",          GRIDFILE_NAME,
                                      VARY_FILE};
    char file[1100];
    for (size_t i = 0; path && i < sizeof own / sizeof own[0]; i++) {
        snprintf(file, sizeof file, "%s/%s", dir, own[i]);
        if (viewfile_same(path, file))
            FAIL(e, ERR_USAGE, "%s is %s of the run itself and would be lost; name another file",
                 path, own[i]);
    }
    return 0;
}

static int check_questions_of_grid(const struct target *t, size_t n, const char *dir, struct err *e)
{
    struct gridfile f = {.n = 0};
    struct err unread;
    if (gridfile_read(dir, &f, &unread) < 0)
        return 0;
    const char *const input[] = {
        json_string_value(json_object_get(json_object_get(f.doc, "data"), "path"))};
    const int rc = target_check(t, n, input, 1, TARGET_FORCED, e);
    gridfile_free(&f);
    return rc;
}

/* The file of questions that the run in dir names, and the one of an unpacked bundle. */
static int check_questions(const struct options *o, const struct target *t, size_t n,
                           const char *dir, struct err *e)
{
    struct recorded r = {.n_set = 0};
    struct err unread; /* a folder that cannot be read is named later */
    char packed[REVIEW_PATH];
    if (gridfile_is(dir))
        return check_questions_of_grid(t, n, dir, e);
    if (recorded_open(dir, &r, &unread) < 0)
        return 0;
    const char *const input[] = {json_string_value(json_object_get(r.about, "data")), o->data,
                                 review_file(dir, REVIEW_QUESTIONS, packed) ? packed : NULL};
    const int rc = target_check(t, n, input, 3, TARGET_FORCED, e);
    recorded_close(&r);
    return rc;
}

static int check_outputs(const struct options *o, struct err *e)
{
    const struct target t[] = {{"--csv", o->csv, VIEWFILE_TABLE},
                               {"--summary", o->summary, VIEWFILE_SUMMARY},
                               {"--wrong", o->wrong, VIEWFILE_IDS},
                               {"--inspect", o->inspect, VIEWFILE_INSPECT},
                               {"--bundle", o->bundle, VIEWFILE_BUNDLE}};
    const size_t n_t = sizeof t / sizeof t[0];
    for (int i = 0; i <= o->n_against; i++) {
        const char *dir = i ? o->against[i - 1] : o->dir;
        for (size_t k = 0; k < n_t; k++)
            TRY(check_output(t[k].path, dir, e));
        TRY(check_questions(o, t, n_t, dir, e));
    }
    const size_t n = o->bundle ? strlen(o->bundle) : 0;
    if (n >= 8 && !strcmp(o->bundle + n - 8, ".tar.zst"))
        FAIL(e, ERR_USAGE, "%s: this program packs with gzip, not zstd; name it .tar.gz",
             o->bundle);
    return target_check(t, n_t, &o->data, 1, o->force, e);
}

/* Are the questions of the run needed? */
static bool needs_data(const struct options *o)
{
    return o->lm_eval || o->inspect || o->orders;
}

static int export_grid(const struct options *o, struct err *e)
{
    const struct grid_export g = {.dir = o->dir,
                                  .csv = o->csv,
                                  .summary = o->json && !o->summary ? "-" : o->summary,
                                  .baseline = o->baseline,
                                  .price_kwh = o->own.price_kwh};
    if (needs_data(o))
        FAIL(e, ERR_USAGE, "%s is an experiment; --%s needs one of its runs: mas export %s/CELL",
             o->dir,
             o->lm_eval   ? "lm-eval"
             : o->inspect ? "inspect"
                          : "orders",
             o->dir);
    if (o->n_against || o->wrong)
        FAIL(e, ERR_USAGE, "%s is an experiment; --%s needs one of its runs: mas export %s/CELL",
             o->dir, o->wrong ? "wrong" : "against", o->dir);
    if (o->bundle)
        TRY(write_bundle(o, e));
    return o->bundle && !g.csv && !g.summary ? 0 : grid_export(&g, e);
}

/* The options of one run. */
static int refuse_several(const struct options *o, struct err *e)
{
    const char *of_one = o->summary   ? "summary"
                         : o->wrong   ? "wrong"
                         : o->lm_eval ? "lm-eval"
                         : o->inspect ? "inspect"
                         : o->orders  ? "orders"
                         : o->bundle  ? "bundle"
                                      : NULL;
    if (of_one && o->n_against)
        FAIL(e, ERR_USAGE,
             "--%s is of one run, and %d are given: %s, %s%s; give one. -o json has the figures of "
             "all, --csv their rows",
             of_one, o->n_against + 1, o->dir, o->against[0], o->n_against > 1 ? ", .." : "");
    return 0;
}

static int plan(const struct options *o, struct err *e)
{
    struct str text = STR_INIT;
    if (o->json)
        report_plan_json(o->discordant, &text);
    else
        report_plan(o->discordant, &text);
    int rc = output_file("-", &text, e);
    str_free(&text);
    return rc;
}

static int write_orders(const struct options *o, const struct export_run *x, struct err *e)
{
    struct orders orders;
    struct str table = STR_INIT;
    int rc;
    TRY_DONE(orders_count(x, &orders, e));
    if (o->json)
        orders_json(&orders, &table);
    else
        orders_table(&orders, &table);
    TRY_DONE(output_file("-", &table, e));
done:
    str_free(&table);
    return rc;
}

static int write_others(const struct options *o, struct err *e)
{
    struct export_run x = {.n_samples = 0};
    struct str path = STR_INIT, log = STR_INIT;
    int rc = 0;
    if (o->data)
        TRY_DONE(sources_data(o->data, &path, e));
    rc = export_open(o->dir, o->data ? path.s : NULL, &x, e);
    if (rc == ERR_NOINPUT && !o->data)
        err_wrap(e, rc, "the export needs the questions; give them with --data FILE");
    TRY_DONE(rc);
    if (o->lm_eval)
        TRY_DONE(export_lm_eval(&x, o->lm_eval, e));
    if (o->inspect)
        TRY_DONE(export_inspect(&x, &log, e));
    if (o->inspect)
        TRY_DONE(output_file(o->inspect, &log, e));
    if (o->orders)
        TRY_DONE(write_orders(o, &x, e));
done:
    export_close(&x);
    str_free(&path);
    str_free(&log);
    return rc;
}

static int export(const struct options *o, struct err *e)
{
    struct trace_run l = {.asked = 0};
    int rc;
    if (o->discordant > 0 && !o->dir)
        return plan(o, e);
    if (o->discordant > 0)
        FAIL(e, ERR_USAGE, "--power plans a study and reads no folder; leave %s away", o->dir);
    if (!o->dir)
        FAIL(e, ERR_USAGE, "no folder of a run; mas eval prints its name");
    TRY_DONE(refuse_several(o, e));
    TRY_DONE(check_outputs(o, e));
    if (o->data && !needs_data(o) && !o->bundle)
        TRY_DONE(err_set(e, ERR_USAGE,
                         "--data is for --lm-eval, --inspect, --orders and --bundle; give one of "
                         "them"));
    if (gridfile_is(o->dir))
        return export_grid(o, e);
    TRY_DONE(load(o->dir, &l, e));
    if (o->csv)
        TRY_DONE(write_csv(o, &l, e));
    if (o->summary)
        TRY_DONE(write_summary(o, &l, o->summary, e));
    if (o->wrong)
        TRY_DONE(write_wrong(o, &l, e));
    if (needs_data(o))
        TRY_DONE(write_others(o, e));
    if (o->n_against)
        TRY_DONE(compare(o, &l, e));
    if (o->bundle)
        TRY_DONE(write_bundle(o, e));
    if (o->json && !o->n_against && !o->orders)
        TRY_DONE(write_summary(o, &l, "-", e));
    else if (!o->csv && !o->summary && !o->wrong && !o->bundle && !o->n_against && !needs_data(o))
        TRY_DONE(output_reports(&l, "", price(o, &l), o->dir, NULL, e));
done:
    trace_run_free(&l);
    return rc;
}

/* The runs, each once, the baseline first. An experiment keeps the order of its cells. */
static int choose_runs(struct options *o, struct err *e)
{
    const char *dir[MAX_RUNS] = {o->dir};
    size_t n = (size_t)o->n_against + 1;
    if (o->baseline && !o->dir)
        FAIL(e, ERR_USAGE, "--baseline %s: name the runs to compare with it", o->baseline);
    if (!o->dir || gridfile_is(o->dir))
        return 0;
    for (size_t i = 1; i < n; i++)
        dir[i] = o->against[i - 1];
    TRY(runlist_pick(dir, &n, MAX_RUNS, o->baseline, e));
    o->dir = dir[0];
    o->n_against = (int)n - 1;
    for (size_t i = 1; i < n; i++)
        o->against[i - 1] = dir[i];
    return 0;
}

static int run(int argc, char **argv)
{
    static const struct argp argp = {rows,
                                     parse,
                                     "DIR [DIR..]",
                                     "Writes the results of a run as CSV or JSON, or compares "
                                     "runs. Of an experiment's folder it writes the rows of all "
                                     "runs, with a column for each factor. Without an option it "
                                     "prints the table.",
                                     NULL,
                                     NULL,
                                     NULL};
    struct options o = {.own = {.price_kwh = NAN}, .force = TARGET_ASKS};
    struct err e = {0};
    int done = cli_parse(&argp, argc, argv, &o);
    if (done >= 0)
        return done;
    if (choose_runs(&o, &e) < 0)
        return cmd_fail(&e);
    return export(&o, &e) < 0 ? cmd_fail(&e) : 0;
}

const struct cmd cmd_export = {"export", "write the results of a run as CSV or JSON, compare runs",
                               "mas export runs/try --csv results.csv --summary summary.json\n"
                               "mas export runs/panel --bundle panel.tar.gz\n"
                               "mas export runs/panel runs/cot runs/direct\n"
                               "mas export runs/tries/* --baseline runs/tries/cot\n"
                               "mas export runs/panel runs/cot -o json >compared.json\n"
                               "mas export --power 20\n"
                               "mas export runs/try --lm-eval theirs --inspect try.json\n"
                               "mas export runs/demo-grid --csv rows.csv --summary cells.json\n",
                               run};
