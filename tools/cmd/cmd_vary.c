/* mas vary: writes variants of questions, for tests of robustness. */
#include <string.h>

#include "cli.h"
#include "cmd.h"
#include "output.h"
#include "runfolder.h"
#include "sources.h"
#include "target.h"
#include "tool_options.h"
#include "variants.h"

struct options {
    const char *file, *out;
    struct variants variants;
    enum target_force force;
    struct tool_options own; /* data_format alone; NULL = the content tells */
};

enum { OPT_FORMAT = 1, OPT_FORCE, OPT_OUT = 'o' };

static const struct argp_option rows[] = {
    {"data-format", OPT_FORMAT, "NAME", 0,
     "format of the questions (default: their content tells); agents/DATASETS.md lists them", 1},
    {"output", OPT_OUT, "FILE.jsonl", 0, "file to write; '-' = standard output (default)", 1},
    {"force", OPT_FORCE, 0, 0, "replace a file that is no file of variants", 1},
    {0}};

static error_t parse(int key, char *arg, struct argp_state *st)
{
    struct options *o = st->input;
    switch (key) {
    case ARGP_KEY_INIT:
        st->child_inputs[0] = &o->variants;
        return 0;
    case OPT_FORMAT:
        return cli_option(st, &tool_option_set, "data-format", arg, &o->own);
    case OPT_OUT:
        o->out = arg;
        return 0;
    case OPT_FORCE:
        o->force = TARGET_FORCED;
        return 0;
    case ARGP_KEY_ARG:
        return cli_one(st, "file", arg, &o->file);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static int vary(struct options *o, struct err *e)
{
    struct str path = STR_INIT, text = STR_INIT, about = STR_INIT;
    struct medqa m = {.n = 0};
    int rc;
    if (!o->file)
        FAIL(e, ERR_USAGE, "no questions; give a file, or a name that mas pull lists");
    if (!variants_given(&o->variants))
        FAIL(e, ERR_USAGE, "give one of %s", variants_names);
    TRY_DONE(sources_data(o->file, &path, e));
    const char *const input[] = {path.s, o->variants.file};
    const struct target out = {"--output", o->out, VIEWFILE_VARIANTS};
    TRY_DONE(target_check(&out, 1, input, 2, o->force, e));
    TRY_DONE(medqa_read_as(path.s, o->own.data_format, &m, e));
    TRY_DONE(variants_take(&o->variants, &m, 0, &about, e));
    vary_write(&m, &text);
    TRY_DONE(str_ok(&text, "variants of questions", e));
    TRY_DONE(output_file(o->out ? o->out : "-", &text, e));
    if (m.n < m.n_records)
        fprintf(stderr, "%zu rejected records and %zu duplicates left out\n", m.n_rejected,
                m.n_duplicates);
    rc = runfolder_doubts(&m, m.n_records, path.s, e);
done:
    variants_free(&o->variants);
    medqa_free(&m);
    str_free(&path);
    str_free(&text);
    str_free(&about);
    return rc;
}

static int run(int argc, char **argv)
{
    static const struct argp_child children[] = {{&variants_argp, 0, "Variants:", 0}, {0}};
    static const struct argp argp = {
        rows,
        parse,
        "QUESTIONS",
        "Writes variants of questions as JSON Lines in the form of MedQA. mas eval takes the file "
        "like any other. Its own options of the same names make the variants of one run.",
        children,
        NULL,
        NULL};
    struct options o = {.force = TARGET_ASKS};
    struct err e = {0};
    int done = cli_parse(&argp, argc, argv, &o);
    if (done >= 0)
        return done;
    return vary(&o, &e) < 0 ? cmd_fail(&e) : 0;
}

const struct cmd cmd_vary = {"vary", "write variants of questions, for tests of robustness",
                             "mas vary medqa --permute cyclic -o cyclic.jsonl\n"
                             "mas vary questions.csv --none-of-the-above -o none.jsonl\n"
                             "mas vary medqa --paraphrases words.jsonl -o said.jsonl\n",
                             run};
