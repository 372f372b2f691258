/* mas import: makes the folder of a run from predictions that another program made. */
#include <string.h>

#include "cli.h"
#include "clinic.h"
#include "cmd.h"
#include "import.h"
#include "runfolder.h"
#include "sources.h"
#include "str.h"
#include "tool_options.h"
#include "trace.h"

struct options {
    const char *file, *data, *out, *name, *filter;
    struct tool_options own; /* data_format alone; NULL = the content tells */
    bool fresh;
};

enum { OPT_DATA = 1, OPT_FORMAT, OPT_OUT, OPT_NAME, OPT_FILTER, OPT_FORCE_NEW };

static const struct argp_option rows[] = {
    {"data", OPT_DATA, "FILE", 0,
     "the questions of the predictions: a file, or a name that mas pull lists, as medqa", 1},
    {"data-format", OPT_FORMAT, "NAME", 0,
     "format of the questions (default: their content tells); agents/DATASETS.md lists them", 1},
    {"out", OPT_OUT, "DIR", 0, "folder of the run", 1},
    {"name", OPT_NAME, "NAME", 0, "name of the model or program (default: the file's name)", 1},
    {"filter", OPT_FILTER, "NAME", 0,
     "filter of lm-evaluation-harness whose samples count, if the file has several", 1},
    {"force-new", OPT_FORCE_NEW, 0, 0, "start again in DIR; its old content moves to DIR/old-N", 1},
    {0}};

static error_t parse(int key, char *arg, struct argp_state *st)
{
    struct options *o = st->input;
    switch (key) {
    case OPT_DATA:
        o->data = arg;
        return 0;
    case OPT_FORMAT:
        return cli_option(st, &tool_option_set, "data-format", arg, &o->own);
    case OPT_OUT:
        o->out = arg;
        return 0;
    case OPT_NAME:
        o->name = arg;
        return 0;
    case OPT_FILTER:
        o->filter = arg;
        return 0;
    case OPT_FORCE_NEW:
        o->fresh = true;
        return 0;
    case ARGP_KEY_ARG:
        return cli_one(st, "file", arg, &o->file);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

static void say(const struct import *im, const struct medqa *m, const char *file)
{
    fprintf(stderr, "%s: %zu predictions in the form %s for %zu questions", file, im->n_given,
            im->form, m->n);
    fprintf(stderr, im->n_unparsed ? ", %zu name no option\n" : "\n", im->n_unparsed);
    if (im->n_repeated)
        fprintf(stderr, "%zu predictions for duplicate records left out: the first record counts\n",
                im->n_repeated);
    if (!strcmp(im->key, "not given"))
        fprintf(stderr, "the file has no keys: the order of the questions is not checked\n");
}

static int write_run(const struct options *o, const char *data_path, const struct import *im,
                     const struct medqa *m, struct err *e)
{
    const char *name = o->name ? o->name : base_name(o->file);
    struct str identity = STR_INIT, about = STR_INIT, cases = STR_INIT;
    struct trace *t = NULL;
    char title[256];
    int rc;
    import_identity(im, m, name, &identity);
    import_about(name, MAS_COMMIT, o->file, data_path, &about);
    import_write(im, m, &cases);
    TRY_DONE(str_ok(&identity, "the run's identity", e));
    TRY_DONE(str_ok(&about, "the run's settings", e));
    TRY_DONE(str_ok(&cases, "imported cases", e));
    struct trace_options to = {
        .dir = o->out, .identity = identity.s, .about = about.s, .data = m, .fresh = o->fresh};
    TRY_DONE(trace_open(&to, &t, e));
    fputs(trace_notes(t), stderr);
    if (!trace_results(t)->n)
        TRY_DONE(trace_import(t, &cases, e));
    else
        fprintf(stderr, "%s holds these predictions already\n", o->out);
    TRY_DONE(trace_seal(t, e));
    snprintf(title, sizeof title, "%s, imported, on %s", name, base_name(data_path));
    rc = runfolder_report(t, o->out, title, "", NULL, e);
done:
    trace_close(t);
    str_free(&identity);
    str_free(&about);
    str_free(&cases);
    return rc;
}

static int import(const struct options *o, struct err *e)
{
    struct str path = STR_INIT;
    struct medqa m = {.n = 0};
    struct import im = {.answer = NULL};
    int rc;
    if (!o->file)
        FAIL(e, ERR_USAGE, "no file of predictions; give one");
    if (!o->data)
        FAIL(e, ERR_USAGE, "no questions; give those of the predictions with --data FILE");
    if (!o->out)
        FAIL(e, ERR_USAGE, "no folder for the run; give one with --out DIR");
    TRY_DONE(sources_data(o->data, &path, e));
    TRY_DONE(medqa_read_as(path.s, o->own.data_format, &m, e));
    TRY_DONE(import_read(o->file, o->filter, &m, &im, e));
    say(&im, &m, o->file);
    TRY_DONE(runfolder_doubts(&m, m.n_records, path.s, e));
    rc = write_run(o, path.s, &im, &m, e);
done:
    import_free(&im);
    medqa_free(&m);
    str_free(&path);
    return rc;
}

static int run(int argc, char **argv)
{
    static const struct argp argp = {
        rows,
        parse,
        "FILE",
        "Makes the folder of a run from predictions of another program: JSON of {id, pred}, CSV "
        "with the columns id and predicted, or samples_*.jsonl of lm-evaluation-harness. mas "
        "export takes the folder as it takes any run. Values that the file does not give are not "
        "filled in. Research software: not for clinical care.",
        NULL,
        NULL,
        NULL};
    struct options o = {.fresh = false};
    struct err e = {0};
    int done = cli_parse(&argp, argc, argv, &o);
    if (done >= 0)
        return done;
    clinic_notice();
    return import(&o, &e) < 0 ? cmd_fail(&e) : 0;
}

const struct cmd cmd_import = {
    "import", "make a run from predictions of another program",
    "mas import samples_medqa_4options.jsonl --data medqa --out runs/theirs --name Llama-3-8B\n"
    "mas import predictions.csv --data questions.jsonl --out runs/other\n",
    run};
