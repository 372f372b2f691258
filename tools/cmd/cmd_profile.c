/*
 * mas profile: the tests of mas bench model, op by op. A recorder (record.h) keeps the timeline of
 * the engine. The tests run without it as well, so that its cost is known.
 */
#include <stdio.h>
#include <string.h>

#include "bench.h"
#include "cli.h"
#include "cmd.h"
#include "mem.h"
#include "pool.h"
#include "profile_table.h"
#include "speed.h"
#include "viewfile.h"

enum { MOST_TESTS = 2, MOST_REPEATS = 1000, MOST_INTERVALS = 1 << 22 };

struct profile {
    struct cli_engine ce;
    int prompt, gen, parallel, repeat;
    bool no_plain, ceiling;
    const char *format, *trace, *html;
    /* while it runs */
    struct speed_test test[MOST_TESTS];
    struct profile_test result[MOST_TESTS];
    int n_test;
    char command[1024], program[64], date[32], model[128], device[8 * 140];
    struct profile_facts facts;
    struct outfile *trace_file, *html_file;
};

enum { OPT_PARALLEL = 1, OPT_TRACE, OPT_HTML, OPT_NO_PLAIN, OPT_CEILING };

static error_t parse(int key, char *arg, struct argp_state *st)
{
    struct profile *p = st->input;
    switch (key) {
    case ARGP_KEY_INIT:
        st->child_inputs[0] = &p->ce;
        return 0;
    case 'p':
        return cli_int(st, "-p", arg, 0, 1 << 24, &p->prompt);
    case 'n':
        return cli_int(st, "-n", arg, 0, 1 << 24, &p->gen);
    case 'r':
        return cli_int(st, "-r", arg, 1, MOST_REPEATS, &p->repeat);
    case OPT_PARALLEL:
        return cli_int(st, "--parallel", arg, 1, 4096, &p->parallel);
    case 'o':
        return cli_word(st, "-o", arg, "md|csv|json", &p->format);
    case OPT_TRACE:
        return viewfile_name(st, "--trace", arg, &p->trace);
    case OPT_HTML:
        return viewfile_name(st, "--html", arg, &p->html);
    case OPT_NO_PLAIN:
        p->no_plain = true;
        return 0;
    case OPT_CEILING:
        p->ceiling = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    {"n-prompt", 'p', "N", 0, "tokens of the prompt, 0 = no prefill test (default 512)", 1},
    {"n-gen", 'n', "N", 0, "tokens to generate, 0 = no decode test (default 32)", 1},
    {"parallel", OPT_PARALLEL, "N", 0, "sequences generated together (default 1)", 1},
    {"repetitions", 'r', "N", 0, "repeats of each test (default 3)", 1},
    {"no-plain", OPT_NO_PLAIN, NULL, 0,
     "do not run the tests without the recorder: its cost stays unknown", 1},
    {"ceiling", OPT_CEILING, NULL, 0,
     "measure the read rate of the memory first, for the column % read", 1},
    {"output", 'o', "FORMAT", 0, "md (default), csv or json", 2},
    {"trace", OPT_TRACE, "FILE", 0,
     "write the timeline as a Trace Event file, for Perfetto; replaces only an empty file or a "
     "trace",
     2},
    {"html", OPT_HTML, "FILE", 0,
     "write a page: parts of a step, timeline, ops, layers; replaces only an empty file or a page",
     2},
    {0}};

/* ---- the tests ------------------------------------------------------------------------------- */

static void choose_tests(struct profile *p)
{
    const struct speed_test all[MOST_TESTS] = {{.prompt = p->prompt, .parallel = 1},
                                               {.gen = p->gen, .parallel = p->parallel}};
    for (int i = 0; i < MOST_TESTS; i++)
        if (speed_tokens(&all[i])) {
            speed_name(&all[i], p->result[p->n_test].name);
            p->result[p->n_test].tokens = speed_tokens(&all[i]);
            p->test[p->n_test++] = all[i];
        }
}

/* Runs all tests. out: the seconds of test i. r, which may be NULL, forgets the warm-up. */
static int run_tests(struct profile *p, struct engine *en, struct recorder *r,
                     struct stat_summary out[MOST_TESTS], struct err *e)
{
    double x[MOST_REPEATS];
    for (int i = 0; i < p->n_test; i++)
        TRY(speed_warm(en, &p->test[i], e));
    if (r)
        recorder_clear(r);
    for (int i = 0; i < p->n_test; i++) {
        struct speed_width width = {.steps = 0};
        for (int k = 0; k < p->repeat; k++)
            TRY(speed_run(en, &p->test[i], (uint64_t)k, &x[k], &width, e));
        if (r)
            speed_say_width(en, &p->test[i], &width);
        out[i] = stat_summarize(x, (size_t)p->repeat);
    }
    return 0;
}

static int run_plain(struct profile *p, struct err *e)
{
    struct engine *en = NULL;
    struct stat_summary s[MOST_TESTS];
    p->ce.opt.spans = NULL;
    TRY(cli_engine_open(&p->ce, &en, e));
    const int rc = run_tests(p, en, NULL, s, e);
    cli_engine_close(&p->ce, en);
    for (int i = 0; i < p->n_test && rc == 0; i++)
        p->result[i].without = s[i];
    return rc;
}

static int measure_ceiling(struct profile *p, struct err *e)
{
    const struct engine_options *o = &p->ce.opt;
    const struct ops_options of = {.n_threads = o->n_threads, .isa = o->isa, .device = o->device};
    struct ops *ops;
    struct ceiling c;
    TRY(ops_open(o->backend, &of, &ops, e));
    const int rc = ceiling_measure(ops, o->n_threads, &c, e);
    ops_close(ops);
    p->facts.read = rc == 0 ? c.read : 0;
    return rc;
}

/* ---- the report ------------------------------------------------------------------------------ */

static void fill_facts(struct profile *p, const struct engine_info *in)
{
    const bool host = !strcmp(in->backend, "cudahost");
    snprintf(p->program, sizeof p->program, "mas %s", MAS_COMMIT);
    bench_time(p->date);
    const bool small = in->n_params < 100000000;
    snprintf(p->model, sizeof p->model, "%s, %.2f %s parameters", in->name[0] ? in->name : in->arch,
             (double)in->n_params / (small ? 1e6 : 1e9), small ? "M" : "B");
    snprintf(p->device, sizeof p->device, "%s", in->device);
    p->facts.program = p->program;
    p->facts.device = p->device;
    p->facts.model = p->model;
    p->facts.date = p->date;
    p->facts.command = p->command;
    p->facts.note = host ? "A GPU's kernels, run by the host: these times say nothing about a GPU."
                    : in->link_limit > 0
                        ? "The link to the device is emulated: it is slower than the machine's."
                        : "";
}

static int print(const struct profile *p, const struct record *r, const struct profile_sum *sum,
                 const char *backend, struct err *e)
{
    struct str s = STR_INIT;
    const struct profile_report report = {.record = r,
                                          .sum = sum,
                                          .facts = &p->facts,
                                          .test = p->result,
                                          .n_test = p->n_test,
                                          .threads = cli_threads(backend, p->ce.opt.n_threads),
                                          .backend = backend,
                                          .emulated = *p->facts.note != 0};
    if (!strcmp(p->format, "json"))
        profile_json(&report, &s);
    else if (!strcmp(p->format, "csv"))
        profile_csv(&report, &s);
    else
        profile_md(&report, &s);
    int rc = str_ok(&s, "a profile", e);
    if (rc == 0)
        fwrite(s.s, 1, s.len, stdout);
    str_free(&s);
    return rc < 0 ? rc : cli_flush(e);
}

/* Writes a file and gives it its name; *file is then NULL. A file that took the name during the run
 * stays, unless it is of that kind. */
static int save(struct outfile **file, enum viewfile kind, const char *path,
                int (*write)(const struct record *, const struct profile_facts *, struct outfile *,
                             struct err *),
                const struct record *r, const struct profile_facts *f, struct err *e)
{
    struct outfile *o = *file;
    TRY(write(r, f, o, e));
    TRY(viewfile_free(kind, path, e));
    *file = NULL;
    return outfile_commit(o, e);
}

static int report(struct profile *p, struct recorder *r, const char *backend, struct err *e)
{
    struct record rec;
    struct profile_sum sum;
    TRY(recorder_read(r, &rec, e));
    TRY(profile_sum_make(&rec, &sum, e));
    int rc = print(p, &rec, &sum, backend, e);
    profile_sum_free(&sum);
    TRY(rc);
    if (p->trace_file)
        TRY(save(&p->trace_file, VIEWFILE_TRACE, p->trace, profile_trace, &rec, &p->facts, e));
    if (p->html_file)
        TRY(save(&p->html_file, VIEWFILE_PAGE, p->html, profile_html, &rec, &p->facts, e));
    return 0;
}

static int run_recorded(struct profile *p, struct recorder *r, struct err *e)
{
    struct engine *en = NULL;
    struct stat_summary s[MOST_TESTS];
    int rc = 0;
    p->ce.opt.spans = recorder_spans(r);
    p->ce.quiet = p->ce.quiet || !p->no_plain; /* the first opening has told the placement */
    TRY_DONE(cli_engine_open(&p->ce, &en, e));
    TRY_DONE(run_tests(p, en, r, s, e));
    for (int i = 0; i < p->n_test; i++)
        p->result[i].with = s[i];
    fill_facts(p, engine_info(en));
    TRY_DONE(report(p, r, engine_info(en)->backend, e));
done:
    cli_engine_close(&p->ce, en);
    return rc;
}

/* Opens both files, so that a bad path fails before the run. */
static int open_files(struct profile *p, struct err *e)
{
    TRY(viewfile_apart("--trace", p->trace, "--html", p->html, e));
    if (p->trace)
        TRY(viewfile_free(VIEWFILE_TRACE, p->trace, e));
    if (p->html)
        TRY(viewfile_free(VIEWFILE_PAGE, p->html, e));
    if (p->trace)
        TRY(outfile_open(p->trace, 0, &p->trace_file, e));
    if (p->html)
        TRY(outfile_open(p->html, 0, &p->html_file, e));
    return 0;
}

static int profile(struct profile *p, struct err *e)
{
    struct recorder *r = NULL;
    int rc = 0;
    choose_tests(p);
    if (!p->n_test)
        FAIL(e, ERR_USAGE, "nothing to profile: -p and -n are both 0; set one of them");
    p->ce.opt.n_ctx = (p->prompt > p->gen ? p->prompt : p->gen) + 1;
    p->ce.opt.n_seq = p->gen ? p->parallel : 1;
    TRY(speed_check_batch(p->ce.opt.batch_tokens, p->ce.opt.n_seq, e));
    TRY_DONE(open_files(p, e));
    if (p->ceiling)
        TRY_DONE(measure_ceiling(p, e));
    if (!p->no_plain)
        TRY_DONE(run_plain(p, e));
    TRY_DONE(recorder_open(MOST_INTERVALS, &r, e));
    TRY_DONE(run_recorded(p, r, e));
done:
    outfile_abandon(p->trace_file);
    outfile_abandon(p->html_file);
    recorder_close(r);
    return rc;
}

/* The command line, as far as it fits. */
static void keep_command(struct profile *p, int argc, char **argv)
{
    size_t n = 0;
    for (int i = 0; i < argc && n < sizeof p->command; i++)
        n += (size_t)snprintf(p->command + n, sizeof p->command - n, "%s%s", i ? " " : "", argv[i]);
}

static int run(int argc, char **argv)
{
    /* -p, -n and --parallel set the first two; a repeat must not find a cache */
    static const struct cli_row own[] = {{.flag = "ctx", .absent = true},
                                         {.flag = "sequences", .absent = true},
                                         {.flag = "no-prefix-cache", .absent = true}};
    struct profile p = {.prompt = 512, .gen = 32, .parallel = 1, .repeat = 3, .format = "md"};
    const struct argp_child children[] = {{&p.ce.rows.argp, 0, "Model and machine:", 10}, {0}};
    const struct argp argp = {
        options,
        parse,
        NULL,
        "Runs a prefill and a decode test and shows the time of each op, layer and thread."
        "\vThe first table splits the time of a step. Each moment belongs to one line:\n"
        "  an op        the device or the CPU computes it\n"
        "  host work    no op runs; the host schedules, uploads, delivers ..\n"
        "  copy         no op runs; weights are copied, the host waits\n"
        "  queue        no op runs; the host queues one\n"
        "  wait         nothing runs, the host waits: launches and gaps\n"
        "  recorder     the recorder's own work\n"
        "  between      the rest: host work in no interval\n"
        "So no time counts twice, and the lines add up to the time of the step.",
        children,
        NULL,
        NULL};
    cli_engine_init(&p.ce, own, sizeof own / sizeof own[0]);
    p.ce.opt.no_prefix_cache = true;
    keep_command(&p, argc, argv);
    int done = cli_parse(&argp, argc, argv, &p);
    if (done >= 0)
        return done;
    struct err e = {0};
    int rc = profile(&p, &e);
    if (rc < 0)
        speed_advice(&e, 0, p.prompt, p.gen, "-p/-n");
    return rc < 0 ? cmd_fail(&e) : 0;
}

const struct cmd cmd_profile = {"profile", "show where the time of a step goes",
                                "mas profile -m model.gguf -p 512 -n 32 -t 2\n"
                                "mas profile -m model.gguf --parallel 8 -o json >profile.json\n"
                                "mas profile -m model.gguf --trace trace.json --html profile.html\n"
                                "mas bench compare kernels.json profile.json\n",
                                run};
