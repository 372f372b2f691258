/* mas export: writes the results of a run as CSV or JSON, or compares two runs question by
 * question. */
#include <math.h>
#include <string.h>
#include <sys/stat.h>

#include "cli.h"
#include "clinic.h"
#include "cmd.h"
#include "collect.h"
#include "output.h"
#include "report.h"
#include "sha256.h"
#include "tool_options.h"
#include "trace.h"

#define BOOTSTRAP_DRAWS 10000
#define MAX_RUNS 16 /* compared at once */

struct options {
    const char *dir, *csv, *summary, *bundle;
    const char *against[MAX_RUNS - 1];
    int n_against;
    struct tool_options own; /* price_kwh NaN = as the run says */
};

enum { OPT_CSV = 1, OPT_SUMMARY, OPT_AGAINST, OPT_PRICE, OPT_BUNDLE };

static const struct argp_option rows[] = {
    {"csv", OPT_CSV, "FILE", 0, "one row a question; '-' = standard output", 1},
    {"summary", OPT_SUMMARY, "FILE", 0, "the statistics as JSON; '-' = standard output", 1},
    {"against", OPT_AGAINST, "DIR", 0,
     "compare with another run on the questions both have finished: a table "
     "of results and costs, exact McNemar test, bootstrap interval; "
     "differences are that run minus DIR; may be repeated",
     1},
    {"bundle", OPT_BUNDLE, "FILE.tar.gz", 0,
     "one file for a reviewer: the run, its settings, prompts, schemas, questions and report, with "
     "the hash of each; the model's hash, not the model. mas verify checks it",
     1},
    {"price-kwh", OPT_PRICE, "USD", 0,
     "price of a kilowatt-hour (default: the run's own, price_kwh of its "
     "configuration)",
     1},
    {0}};

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
    case OPT_AGAINST:
        if (o->n_against == MAX_RUNS - 1) {
            argp_error(st, "more than %d runs to compare with", MAX_RUNS - 1);
            return EINVAL;
        }
        o->against[o->n_against++] = arg;
        return 0;
    case OPT_PRICE:
        return cli_option(st, &tool_option_set, "price-kwh", arg, &o->own);
    case ARGP_KEY_ARG:
        if (o->dir) {
            argp_error(st, "more than one folder: '%s' and '%s'; pass a second run with --against",
                       o->dir, arg);
            return EINVAL;
        }
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
    struct str s = STR_INIT;
    int rc = report_csv(run, &s, e);
    if (rc == 0)
        rc = output_file(o->csv, &s, e);
    str_free(&s);
    return rc;
}

static int write_summary(const struct options *o, const struct trace_run *run, struct err *e)
{
    struct str s = STR_INIT;
    struct stats_summary stats = {.answered = 0};
    int rc;
    TRY_DONE(stats_summarize(run, price(o, run), &stats, e));
    report_json(&stats, run->json.s, "", &s);
    TRY_DONE(output_file(o->summary, &s, e));
done:
    stats_free(&stats);
    str_free(&s);
    return rc;
}

static int write_bundle(const struct options *o, struct err *e)
{
    struct bundle b = {.n = 0};
    struct str packed = STR_INIT;
    char hash[65];
    bool has_data = false;
    int rc;
    TRY_DONE(collect_run(o->dir, NULL, &b, &has_data, e));
    TRY_DONE(bundle_pack(&b, &packed, e));
    TRY_DONE(sha256_hex(packed.s, packed.len, hash, e));
    TRY_DONE(output_file(o->bundle, &packed, e));
    if (!has_data)
        fprintf(stderr, "the questions are not in the bundle: the file that the run names is not "
                        "here, or it has changed\n");
    fprintf(stderr, "%s: %zu files, sha256 %s\n", o->bundle, b.n, hash);
done:
    bundle_free(&b);
    str_free(&packed);
    return rc;
}

/* The last part of a path, which names the run. */
static const char *run_name(const char *dir)
{
    const char *slash = strrchr(dir, '/');
    return slash && slash[1] ? slash + 1 : dir;
}

/* Another run beside the first. The summary's group names are not used: they belong to what is
 * freed here. */
static int compare_one(const struct options *o, const struct trace_run *first, const char *dir,
                       struct report_run *out, struct err *e)
{
    struct trace_run other = {.asked = 0};
    int rc;
    out->name = run_name(dir);
    TRY_DONE(load(dir, &other, e));
    TRY_DONE(stats_summarize(&other, price(o, &other), &out->summary, e));
    TRY_DONE(stats_pair(first, &other, BOOTSTRAP_DRAWS, 42, &out->paired, e));
done:
    trace_run_free(&other);
    return rc;
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

static int compare(const struct options *o, const struct trace_run *first, struct err *e)
{
    struct report_run run[MAX_RUNS] = {{.name = run_name(o->dir)}};
    struct str table = STR_INIT;
    int rc;
    TRY_DONE(stats_summarize(first, price(o, first), &run[0].summary, e));
    for (int i = 0; i < o->n_against; i++)
        TRY_DONE(compare_one(o, first, o->against[i], &run[1 + i], e));
    report_runs(run, 1 + o->n_against, &table);
    for (int i = 1; i <= o->n_against; i++) {
        str_addc(&table, '\n');
        report_paired(&run[0], &run[i], &table);
    }
    TRY_DONE(output_file("-", &table, e));
    rc = say_apart(o, run, e);
done:
    for (int i = 0; i < MAX_RUNS; i++)
        stats_free(&run[i].summary);
    str_free(&table);
    return rc;
}

/* Are both names of one file that exists, or the same name? */
static bool same_file(const char *a, const char *b)
{
    struct stat x, y;
    return !strcmp(a, b) || (stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev &&
                             x.st_ino == y.st_ino && S_ISREG(x.st_mode));
}

/* Is path a file that holds the run in dir? */
static int check_output(const char *path, const char *dir, struct err *e)
{
    static const char *const own[] = {"run.json", "records.jsonl", "traces.jsonl",
                                      "traces.jsonl.gz", "lock"};
    char file[1100];
    for (size_t i = 0; path && i < sizeof own / sizeof own[0]; i++) {
        snprintf(file, sizeof file, "%s/%s", dir, own[i]);
        if (same_file(path, file))
            FAIL(e, ERR_USAGE, "%s is %s of the run itself and would be lost; name another file",
                 path, own[i]);
    }
    return 0;
}

static int check_outputs(const struct options *o, struct err *e)
{
    if (o->csv && o->summary && same_file(o->csv, o->summary))
        FAIL(e, ERR_USAGE, "--csv and --summary both name %s; name two files", o->csv);
    for (int i = 0; i <= o->n_against; i++) {
        const char *dir = i ? o->against[i - 1] : o->dir;
        TRY(check_output(o->csv, dir, e));
        TRY(check_output(o->summary, dir, e));
        TRY(check_output(o->bundle, dir, e));
    }
    const size_t n = o->bundle ? strlen(o->bundle) : 0;
    if (n >= 8 && !strcmp(o->bundle + n - 8, ".tar.zst"))
        FAIL(e, ERR_USAGE, "%s: this program packs with gzip, not zstd; name it .tar.gz",
             o->bundle);
    return 0;
}

static int export(const struct options *o, struct err *e)
{
    struct trace_run l = {.asked = 0};
    int rc;
    if (!o->dir)
        FAIL(e, ERR_USAGE, "no folder of a run; mas eval prints its name");
    TRY_DONE(check_outputs(o, e));
    TRY_DONE(load(o->dir, &l, e));
    if (o->csv)
        TRY_DONE(write_csv(o, &l, e));
    if (o->summary)
        TRY_DONE(write_summary(o, &l, e));
    if (o->n_against)
        TRY_DONE(compare(o, &l, e));
    if (o->bundle)
        TRY_DONE(write_bundle(o, e));
    if (!o->csv && !o->summary && !o->bundle && !o->n_against)
        TRY_DONE(output_reports(&l, "", price(o, &l), o->dir, NULL, e));
done:
    trace_run_free(&l);
    return rc;
}

static int run(int argc, char **argv)
{
    static const struct argp argp = {rows,
                                     parse,
                                     "DIR",
                                     "Writes the results of a run as CSV or JSON, or compares two "
                                     "runs. Without an option prints the table of the evaluation.",
                                     NULL,
                                     NULL,
                                     NULL};
    struct options o = {.own = {.price_kwh = NAN}};
    struct err e = {0};
    int done = cli_parse(&argp, argc, argv, &o);
    if (done >= 0)
        return done;
    return export(&o, &e) < 0 ? cmd_fail(&e) : 0;
}

const struct cmd cmd_export = {"export",
                               "write the results of a run as CSV or JSON, compare two runs",
                               "mas export runs/try --csv results.csv --summary summary.json\n"
                               "mas export runs/panel --against runs/cot --against runs/direct\n"
                               "mas export runs/panel --bundle panel.tar.gz\n",
                               run};
