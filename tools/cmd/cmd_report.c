/* mas report: one page about runs, with every case in it. */
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "clinic.h"
#include "cmd.h"
#include "gridcell.h"
#include "output.h"
#include "runlist.h"
#include "study.h"
#include "target.h"
#include "tool_options.h"

struct options {
    const char *dir[STUDY_RUNS]; /* as they were given */
    size_t n;
    const char *run[STUDY_RUNS]; /* with the cells of experiments in place of their folders */
    size_t n_run;
    struct arena words;
    const char *out, *data, *baseline;
    enum target_force force;
    struct tool_options own; /* price_kwh NaN = as each run says */
};

enum { OPT_DATA = 1, OPT_PRICE, OPT_BASELINE, OPT_FORCE };

static const struct argp_option rows[] = {
    {"output", 'o', "FILE.html", 0,
     "the page; '-' = standard output. An existing file is replaced only when it is empty or a "
     "report",
     1},
    {"force", OPT_FORCE, 0, 0, "replace a file that is no report", 1},
    {"data", OPT_DATA, "FILE", 0,
     "the questions with their options; default: the files that the runs name, where they are "
     "unchanged",
     1},
    {"baseline", OPT_BASELINE, "DIR", 0,
     "the run that all others are compared with; it becomes run 1 (default: the first)", 1},
    {"price-kwh", OPT_PRICE, "USD", 0,
     "price of a kilowatt-hour (default: each run's own, price_kwh of its configuration)", 1},
    {0}};

static error_t parse(int key, char *arg, struct argp_state *st)
{
    struct options *o = st->input;
    switch (key) {
    case 'o':
        return viewfile_name(st, "--output", arg, &o->out);
    case OPT_BASELINE:
        o->baseline = arg;
        return 0;
    case OPT_FORCE:
        o->force = TARGET_FORCED;
        return 0;
    case OPT_DATA:
        o->data = arg;
        return 0;
    case OPT_PRICE:
        return cli_option(st, &tool_option_set, "price-kwh", arg, &o->own);
    case ARGP_KEY_ARG:
        if (o->n == STUDY_RUNS) {
            argp_error(st, "more than %d folders", STUDY_RUNS);
            return EINVAL;
        }
        o->dir[o->n++] = arg;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static int add_run(struct options *o, const char *dir, struct err *e)
{
    if (o->n_run == STUDY_RUNS)
        FAIL(e, ERR_USAGE, "more than %d runs; give fewer folders", STUDY_RUNS);
    if (!dir)
        return NOMEM(e, 1024, "the name of a folder");
    o->run[o->n_run++] = dir;
    return 0;
}

/* The cells of an experiment that have begun, in its order. */
static int add_experiment(struct options *o, const char *dir, struct err *e)
{
    struct gridfile f = {.n = 0};
    const size_t before = o->n_run;
    char path[1200];
    int rc;
    TRY(gridfile_read(dir, &f, e));
    for (size_t i = 0; i < f.n - f.n_removed; i++) {
        snprintf(path, sizeof path, "%s/%s/run.json", dir, f.cell[i].name);
        if (access(path, F_OK) != 0)
            continue;
        TRY_DONE(gridcell_check(dir, &f, i, e));
        TRY_DONE(add_run(o, arena_printf(&o->words, "%s/%s", dir, f.cell[i].name), e));
    }
    rc = 0;
    if (o->n_run == before)
        rc = err_set(e, ERR_NOINPUT, "no run of the experiment %s has begun", dir);
    else if (o->n_run - before < f.n - f.n_removed)
        fprintf(stderr, "%s: %zu of %zu runs have begun\n", dir, o->n_run - before,
                f.n - f.n_removed);
done:
    gridfile_free(&f);
    return rc;
}

static int report(struct options *o, struct err *e)
{
    struct study s = {.n = 0};
    struct str page = STR_INIT;
    int rc;
    if (!o->n)
        FAIL(e, ERR_USAGE, "no folder of a run; mas eval prints its name");
    if (!o->out)
        FAIL(e, ERR_USAGE, "no name for the page; give one with -o FILE.html");
    const struct target out = {"--output", o->out, VIEWFILE_REPORT};
    TRY(target_check(&out, 1, &o->data, 1, o->force, e));
    for (size_t i = 0; i < o->n; i++)
        TRY_DONE(gridfile_is(o->dir[i]) ? add_experiment(o, o->dir[i], e)
                                        : add_run(o, o->dir[i], e));
    TRY_DONE(runlist_pick(o->run, &o->n_run, STUDY_RUNS, o->baseline, e));
    TRY_DONE(study_open(o->run, o->n_run, o->data, o->own.price_kwh, &s, e));
    TRY_DONE(study_page(&s, &page, e));
    TRY_DONE(output_file(o->out, &page, e));
    if (study_shared(&s) < s.n_question)
        fprintf(stderr,
                "the runs were not asked the same questions: %zu in all, %zu of every run\n",
                s.n_question, study_shared(&s));
    if (strcmp(o->out, "-") != 0)
        fprintf(stderr, "%s: %zu runs, %zu questions, %.1f MB\n", o->out, s.n, s.n_question,
                (double)page.len * 1e-6);
done:
    study_close(&s);
    str_free(&page);
    arena_free(&o->words);
    return rc;
}

static int run(int argc, char **argv)
{
    static const struct argp argp = {
        rows,
        parse,
        "DIR...",
        "Writes one page about the runs, for a browser, without foreign resources. The folder of "
        "an "
        "experiment stands for all its runs. The page has results "
        "with intervals, costs, paired comparisons with the first run, calibration, and every case "
        "with its prompts and replies. Research software: not for clinical care.",
        NULL,
        NULL,
        NULL};
    struct options o = {.own = {.price_kwh = NAN}, .force = TARGET_ASKS};
    struct err e = {0};
    int done = cli_parse(&argp, argc, argv, &o);
    if (done >= 0)
        return done;
    clinic_notice();
    return report(&o, &e) < 0 ? clinic_fail(&e) : 0;
}

const struct cmd cmd_report = {"report", "write a page about runs, with every case in it",
                               "mas report runs/direct runs/cot runs/panel -o report.html\n"
                               "mas report runs/demo-grid -o grid.html\n",
                               run};
