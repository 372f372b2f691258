/* mas export: writes the results of a run as CSV or JSON, or compares two runs question by question. */
#include <string.h>

#include "cli.h"
#include "clinic.h"
#include "cmd.h"
#include "output.h"
#include "report.h"
#include "trace.h"

#define BOOTSTRAP_DRAWS 10000
#define MAX_RUNS 16 /* compared at once */

struct options {
    const char *dir, *csv, *summary;
    const char *against[MAX_RUNS - 1];
    int n_against;
    float price;
};

enum { OPT_CSV = 1, OPT_SUMMARY, OPT_AGAINST, OPT_PRICE };

static const struct argp_option rows[] = {
    {"csv", OPT_CSV, "FILE", 0, "one row a question; '-' = standard output", 1},
    {"summary", OPT_SUMMARY, "FILE", 0, "the statistics as JSON; '-' = standard output", 1},
    {"against", OPT_AGAINST, "DIR", 0, "compare with another run on the questions both have: a table of "
                                       "results and costs, exact McNemar test, bootstrap interval; may "
                                       "be repeated", 1},
    {"price-kwh", OPT_PRICE, "USD", 0, "price of a kilowatt-hour (default 0.12)", 1},
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
    case OPT_AGAINST:
        if (o->n_against == MAX_RUNS - 1) {
            argp_error(st, "more than %d runs to compare with", MAX_RUNS - 1);
            return EINVAL;
        }
        o->against[o->n_against++] = arg;
        return 0;
    case OPT_PRICE:
        return cli_float(st, "--price-kwh", arg, 0, 100, &o->price);
    case ARGP_KEY_ARG:
        if (o->dir) {
            argp_error(st, "more than one folder: '%s' and '%s'; a second run goes behind --against",
                       o->dir, arg);
            return EINVAL;
        }
        o->dir = arg;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

struct loaded {
    struct results results;
    struct str run;
};

static int load(const char *dir, struct loaded *l, struct err *e)
{
    struct str notes = STR_INIT;
    int rc = trace_read(dir, &l->results, &l->run, &notes, e);
    fputs(notes.s, stderr);
    str_free(&notes);
    results_sort(&l->results);
    return rc;
}

static int write_csv(const struct options *o, const struct loaded *l, struct err *e)
{
    struct str s = STR_INIT;
    report_csv(&l->results, &s);
    int rc = output_file(o->csv, &s, e);
    str_free(&s);
    return rc;
}

static int write_summary(const struct options *o, const struct loaded *l, struct err *e)
{
    struct str s = STR_INIT;
    struct stats_summary stats;
    int rc;
    TRY_DONE(stats_summarize(&l->results, (double)o->price, &stats, e));
    report_json(&stats, l->run.s, "", &s);
    TRY_DONE(output_file(o->summary, &s, e));
done:
    str_free(&s);
    return rc;
}

/* The last part of a path, which names the run. */
static const char *run_name(const char *dir)
{
    const char *slash = strrchr(dir, '/');
    return slash && slash[1] ? slash + 1 : dir;
}

static int compare(const struct options *o, const struct loaded *first, struct err *e)
{
    struct report_run run[MAX_RUNS] = {{.name = run_name(o->dir)}};
    struct str table = STR_INIT, pairs = STR_INIT;
    int rc;
    TRY_DONE(stats_summarize(&first->results, (double)o->price, &run[0].summary, e));
    for (int i = 0; i < o->n_against; i++) {
        struct loaded other = {.run = STR_INIT};
        struct report_run *r = &run[1 + i];
        r->name = run_name(o->against[i]);
        rc = load(o->against[i], &other, e);
        if (rc == 0)
            rc = stats_summarize(&other.results, (double)o->price, &r->summary, e);
        if (rc == 0)
            rc = stats_pair(&first->results, &other.results, BOOTSTRAP_DRAWS, 42, &r->paired, e);
        results_free(&other.results); /* the table needs no group's name, which belongs to them */
        str_free(&other.run);
        TRY_DONE(rc);
        str_addc(&pairs, '\n');
        report_paired(&r->paired, o->dir, o->against[i], &pairs);
    }
    report_runs(run, 1 + o->n_against, &table);
    str_adds(&table, pairs.s);
    TRY_DONE(output_file("-", &table, e));
done:
    str_free(&table);
    str_free(&pairs);
    return rc;
}

static int export(const struct options *o, struct err *e)
{
    struct loaded l = {.run = STR_INIT};
    int rc;
    if (!o->dir)
        FAIL(e, ERR_USAGE, "no folder of a run; mas eval prints its name");
    TRY_DONE(load(o->dir, &l, e));
    if (o->csv)
        TRY_DONE(write_csv(o, &l, e));
    if (o->summary)
        TRY_DONE(write_summary(o, &l, e));
    if (o->n_against)
        TRY_DONE(compare(o, &l, e));
    if (!o->csv && !o->summary && !o->n_against)
        TRY_DONE(output_reports(&l.results, l.run.s, "", (double)o->price, o->dir, NULL, e));
done:
    results_free(&l.results);
    str_free(&l.run);
    return rc;
}

static int run(int argc, char **argv)
{
    static const struct argp argp = {rows, parse, "DIR",
                                     "Writes the results of a run as CSV or JSON, or compares two "
                                     "runs. Without an option prints the table of the evaluation.",
                                     NULL, NULL, NULL};
    struct options o = {.price = 0.12f};
    struct err e = {0};
    int done = cli_parse(&argp, argc, argv, &o);
    if (done >= 0)
        return done;
    return export(&o, &e) < 0 ? cmd_fail(&e) : 0;
}

const struct cmd cmd_export = {
    "export", "write the results of a run as CSV or JSON, compare two runs",
    "mas export runs/try --csv results.csv --summary summary.json\n"
    "mas export runs/panel --against runs/cot --against runs/direct\n",
    run};
