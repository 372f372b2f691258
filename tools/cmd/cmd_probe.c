/* mas probe: asks whether a model has seen questions before. */
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "clinic.h"
#include "cmd.h"
#include "exposure.h"
#include "outfile.h"
#include "output.h"
#include "sources.h"
#include "subset.h"
#include "tool_options.h"
#include "vary.h"
#include "zio.h"

struct options {
    struct clinic_options clinic;
    const char *data, *reference, *words, *out;
    int n, sample, seed;
    struct tool_options own; /* data_format alone */
};

enum { OPT_DATA = 1, OPT_REFERENCE, OPT_WORDS, OPT_SAMPLE, OPT_SEED, OPT_FORMAT, OPT_OUT = 'o' };

static const struct argp_option rows[] = {
    {"data", OPT_DATA, "FILE", 0,
     "questions, as for mas eval: a file, or a name that mas pull lists, as medqa", 1},
    {"reference", OPT_REFERENCE, "FILE", 0,
     "questions of the same kind that the model cannot have seen; both sets are compared", 1},
    {"paraphrases", OPT_WORDS, "FILE", 0,
     "the questions of --data in other words: JSON Lines of {id, question}. Without it the other "
     "wording is the same text with its sentences in another order",
     1},
    {"n", 'n', "N", 0, "only the first N questions of each file", 1},
    {"sample", OPT_SAMPLE, "N", 0, "a random sample of N records of each file", 1},
    {"sample-seed", OPT_SEED, "N", 0, "seed of --sample (1)", 1},
    {"data-format", OPT_FORMAT, "NAME", 0,
     "format of the questions (default: their content tells); agents/DATASETS.md lists them", 1},
    {"output", OPT_OUT, "FILE.jsonl", 0, "write the figures of each question, one a line", 1},
    {0}};

static error_t parse(int key, char *arg, struct argp_state *st)
{
    struct options *o = st->input;
    switch (key) {
    case ARGP_KEY_INIT:
        st->child_inputs[0] = &o->clinic;
        return 0;
    case OPT_DATA:
        o->data = arg;
        return 0;
    case OPT_REFERENCE:
        o->reference = arg;
        return 0;
    case OPT_WORDS:
        o->words = arg;
        return 0;
    case 'n':
        return cli_int(st, "--n", arg, 1, INT32_MAX, &o->n);
    case OPT_SAMPLE:
        return cli_int(st, "--sample", arg, 1, INT32_MAX, &o->sample);
    case OPT_SEED:
        return cli_int(st, "--sample-seed", arg, 0, INT32_MAX, &o->seed);
    case OPT_FORMAT:
        return cli_option(st, &tool_option_set, "data-format", arg, &o->own);
    case OPT_OUT:
        o->out = arg;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(st, "unexpected argument '%s'; pass the questions with --data", arg);
        return EINVAL;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

struct set { /* of questions, and their figures */
    struct str path;
    struct medqa data, words;
    size_t n; /* questions that are scored */
    struct exposure_item *item;
    struct exposure_figures figures;
    struct arena arena;
};

static void set_free(struct set *s)
{
    str_free(&s->path);
    medqa_free(&s->data);
    medqa_free(&s->words);
    mem_free(s->item);
    arena_free(&s->arena);
}

/* The same file once more, each question followed by its paraphrases. */
static int read_words(const struct options *o, struct set *s, struct err *e)
{
    struct str text = STR_INIT, about = STR_INIT;
    struct vary_count count;
    int rc;
    TRY_DONE(zio_read(o->words, MEDQA_FILE, &text, e));
    TRY_DONE(medqa_read_as(s->path.s, o->own.data_format, &s->words, e));
    const struct vary v = {
        .kind = VARY_PARAPHRASES, .text = text.s, .name = o->words, .n = text.len};
    TRY_DONE(vary_take(&v, &s->words, 0, &count, &about, e));
done:
    str_free(&text);
    str_free(&about);
    return rc;
}

static int set_read(const struct options *o, const char *name, bool words, struct set *s,
                    struct err *e)
{
    const struct subset sub = {.sample = o->sample, .seed = (uint64_t)o->seed};
    struct str about = STR_INIT;
    int rc;
    TRY_DONE(sources_data(name, &s->path, e));
    TRY_DONE(medqa_read_as(s->path.s, o->own.data_format, &s->data, e));
    if (words)
        TRY_DONE(read_words(o, s, e));
    if (subset_chooses(&sub)) {
        rc = subset_take(&sub, &s->data, &about, e);
        if (rc < 0)
            err_wrap(e, rc, "%s", name);
        TRY_DONE(rc);
    }
    s->n = o->n && (size_t)o->n < s->data.n ? (size_t)o->n : s->data.n;
    if (s->data.n_rejected || s->data.n_duplicates)
        fprintf(stderr, "%s: %zu rejected records and %zu duplicates left out\n", s->path.s,
                s->data.n_rejected, s->data.n_duplicates);
    s->arena.limit = MEDQA_FILE;
    s->item = mem_zalloc(s->n, sizeof *s->item);
    if (!s->item)
        rc = NOMEM(e, s->n * sizeof *s->item, "a probe");
done:
    str_free(&about);
    return rc;
}

static void on_progress(size_t done, size_t n, void *user)
{
    const char *name = user;
    fprintf(stderr, "\r%s: %zu of %zu questions%s", name, done, n, done == n ? "\n" : "");
}

static int set_run(const struct options *o, struct llm *llm, struct set *s, struct err *e)
{
    const bool shown = !o->clinic.quiet && isatty(STDERR_FILENO);
    const struct exposure_options po = {.llm = llm,
                                        .question = s->data.question,
                                        .n = s->n,
                                        .words = s->words.n ? &s->words : NULL,
                                        .stop = clinic_signals(),
                                        .progress = shown ? on_progress : NULL,
                                        .user = s->path.s,
                                        .arena = &s->arena};
    TRY(exposure_run(&po, s->item, e));
    return exposure_figures(s->item, s->n, &s->figures, e);
}

static void show(const char *model, const struct set *s, struct str *out)
{
    char title[400];
    const char *slash = strrchr(s->path.s, '/');
    snprintf(title, sizeof title, "%.100s on %zu questions of %.200s", model, s->n,
             slash ? slash + 1 : s->path.s);
    exposure_table(title, &s->figures, out);
}

/* The last part of a path. */
static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

static int report(const struct options *o, const char *model, const struct set *data,
                  const struct set *reference, struct err *e)
{
    struct str table = STR_INIT, lines = STR_INIT;
    struct exposure_compared compared;
    int rc;
    show(model, data, &table);
    if (o->reference) {
        str_addc(&table, '\n');
        show(model, reference, &table);
        TRY_DONE(
            exposure_compare(data->item, data->n, reference->item, reference->n, &compared, e));
        str_addc(&table, '\n');
        exposure_table_compared(&compared, &table);
    }
    if (o->out) {
        exposure_lines(data->item, data->n, "data", &lines);
        exposure_lines(reference->item, reference->n, "reference", &lines);
        TRY_DONE(output_file(o->out, &lines, e));
    }
    TRY_DONE(output_file("-", &table, e));
done:
    str_free(&table);
    str_free(&lines);
    return rc;
}

static int probe(const struct options *o, struct err *e)
{
    struct config config = {.n = 0};
    struct set data = {.n = 0}, reference = {.n = 0};
    struct llm *llm = NULL;
    int rc;
    TRY_DONE(clinic_config(&o->clinic, &config, e));
    if (!o->data)
        TRY_DONE(err_set(e, ERR_USAGE, "no questions; give a file with --data FILE"));
    TRY_DONE(set_read(o, o->data, o->words != NULL, &data, e));
    if (o->reference)
        TRY_DONE(set_read(o, o->reference, false, &reference, e));
    TRY_DONE(clinic_llm(&o->clinic, &config, &llm, e));
    TRY_DONE(set_run(o, llm, &data, e));
    if (o->reference)
        TRY_DONE(set_run(o, llm, &reference, e));
    const struct llm_info *info = llm_info(llm);
    TRY_DONE(report(o, base_of(info->name[0] ? info->name : info->model), &data, &reference, e));
    if (data.figures.failed + reference.figures.failed)
        rc = err_set(e, ERR_ITEMS, "%zu of %zu questions have a text that was not scored%s%s",
                     data.figures.failed + reference.figures.failed, data.n + reference.n,
                     o->out ? "; their lines say why: " : "; -o FILE says why",
                     o->out ? o->out : "");
done:
    llm_close(llm);
    set_free(&data);
    set_free(&reference);
    config_free(&config);
    return rc;
}

static int run(int argc, char **argv)
{
    static const struct argp_child children[] = {{&clinic_argp, 0, "Settings:", 20}, {0}};
    static const struct argp argp = {
        rows,
        parse,
        NULL,
        "Asks whether a model has seen questions before: it scores their texts and generates "
        "nothing. Shows the n-grams that the model completes, the log-probability of the least "
        "probable tokens (min-k), both for another wording, too, and whether the file's order of "
        "the options is the most probable one. agents/DATASETS.md says what the figures mean. Exit "
        "status 1: a text was not scored.",
        children,
        NULL,
        NULL};
    struct options o = {.clinic = {.many = true}, .seed = 1};
    struct err e = {0};
    int done = cli_parse(&argp, argc, argv, &o);
    if (done >= 0)
        return done;
    return probe(&o, &e) < 0 ? clinic_fail(&e) : 0;
}

const struct cmd cmd_probe = {
    "probe", "ask whether a model has seen questions before",
    "mas probe -m llama3-8b --data medqa --sample 200\n"
    "mas probe -m llama3-8b --data medqa --reference newer.jsonl -o figures.jsonl\n"
    "mas probe -m demo --data configs/demo/questions.jsonl --n 50\n",
    run};
