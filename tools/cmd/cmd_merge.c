/* mas merge: makes one run or experiment of the shards that several tasks computed. */
#include "cli.h"
#include "clinic.h"
#include "cmd.h"
#include "grid_run.h"
#include "merge.h"
#include "runfolder.h"

struct options {
    const char *dir, *out;
    bool quiet;
};

enum { OPT_QUIET = 1 };

static const struct argp_option rows[] = {
    {"out", 'o', "DIR", 0, "folder of the result; default: the folder of the shards", 1},
    {"quiet", OPT_QUIET, 0, 0, "no table", 1},
    {0}};

static error_t parse(int key, char *arg, struct argp_state *st)
{
    struct options *o = st->input;
    switch (key) {
    case 'o':
        o->out = arg;
        return 0;
    case OPT_QUIET:
        o->quiet = true;
        return 0;
    case ARGP_KEY_ARG:
        return cli_one(st, "folder", arg, &o->dir);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* Writes all cells with their reports. *bad: questions without a good answer of theirs; *lost:
 * cells that failed in a shard. */
static int write(const struct options *o, struct merge *m, size_t *bad, size_t *lost, struct err *e)
{
    const bool single = merge_cells(m) == 1 && !*merge_cell_name(m, 0);
    for (size_t i = 0; i < merge_cells(m); i++) {
        struct trace *t = NULL;
        char dir[1024];
        size_t questions = 0, failed = 0, rejected = 0;
        if (*merge_failed(m, i)) {
            (*lost)++;
            continue;
        }
        TRY(merge_write(m, i, dir, &t, e));
        int rc = runfolder_report(t, dir, single && !o->quiet ? "merged run" : NULL, "", NULL, e);
        trace_close(t);
        TRY(rc);
        merge_counts(m, i, &questions, &failed, &rejected);
        *bad += failed + rejected;
    }
    return merge_write_grid(m, e);
}

static int merge(const struct options *o, struct err *e)
{
    const char *out = o->out ? o->out : o->dir;
    struct merge *m = NULL;
    struct str faults = STR_INIT;
    size_t bad = 0, lost = 0;
    int rc;
    if (!o->dir)
        FAIL(e, ERR_USAGE, "no folder; give the --out of mas eval --shard");
    TRY_DONE(merge_open(o->dir, &m, e));
    rc = merge_check(m, &faults, e);
    fputs(faults.s, stderr);
    TRY_DONE(rc);
    str_clear(&faults);
    TRY_DONE(merge_versions(m, &faults, e));
    fputs(faults.s, stderr);
    TRY_DONE(merge_begin(m, out, clinic_signals(), e));
    rc = write(o, m, &bad, &lost, e);
    fputs(merge_notes(m), stderr);
    TRY_DONE(rc);
    if (merge_cells(m) > 1 || *merge_cell_name(m, 0)) {
        TRY_DONE(grid_run_table(out, o->quiet, e));
        fprintf(stderr, "%d shards of %zu cells merged into %s\n", merge_shards(m),
                merge_cells(m) - lost, out);
    } else {
        fprintf(stderr, "%d shards merged into %s\n", merge_shards(m), out);
    }
    if (lost)
        rc = err_set(
            e, ERR_ITEMS,
            "%zu of %zu cells failed and are not in the result, %zu questions of the others "
            "failed or were rejected (all counted as wrong); grid.json in %s names them",
            lost, merge_cells(m), bad, out);
    else if (bad)
        rc =
            err_set(e, ERR_ITEMS,
                    "%zu questions failed or were rejected (all counted as wrong); results.csv and "
                    "the traces in %s name them",
                    bad, out);
done:
    merge_close(m);
    str_free(&faults);
    return rc;
}

static int run(int argc, char **argv)
{
    static const struct argp argp = {
        rows,
        parse,
        "DIR",
        "Makes one run, or one experiment, of the shards in DIR that mas eval --shard I/N wrote. "
        "It "
        "proves first that all shards are there, of one study and complete. Otherwise it writes "
        "nothing and names each shard with the command that completes it. Exit status 75: shards "
        "are "
        "missing or unfinished. 78: a shard is of another study. 1: merged, with failed "
        "questions, rejected records or failed cells.",
        NULL,
        NULL,
        NULL};
    struct options o = {.dir = NULL};
    struct err e = {0};
    const int done = cli_parse(&argp, argc, argv, &o);
    if (done >= 0)
        return done;
    return merge(&o, &e) < 0 ? cmd_fail(&e) : 0;
}

const struct cmd cmd_merge = {"merge", "make one run of the shards of a study",
                              "mas merge runs/study\n"
                              "mas merge runs/study -o runs/study-merged\n",
                              run};
