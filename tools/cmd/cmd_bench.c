/*
 * mas bench model: prefill and decode speed of a model. Flags, table and JSON names are those of
 * llama-bench, so that both can be compared. pp N is a prompt of N random tokens. tg N is N tokens
 * generated one by one, after one token of prompt. "@ d N": after N tokens of context.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "cli.h"
#include "cmd.h"
#include "energy.h"
#include "mem.h"
#include "span.h"
#include "speed_rows.h"

#define BENCH_LIST 16

struct bench {
    struct cli_engine ce;
    int p[BENCH_LIST], n_p, n[BENCH_LIST], n_n, parallel[BENCH_LIST], n_parallel;
    int depth[BENCH_LIST], n_depth;
    int repeat;
    const char *format;
    struct energy energy;
    struct str foot;  /* of the table: machine and settings, then a line a test; of each model */
    struct str lines; /* of energy, of the present model's tests */
    bool first;       /* no row is printed */
};

enum { OPT_PARALLEL = 1 };

static error_t parse(int key, char *arg, struct argp_state *st)
{
    struct bench *b = st->input;
    switch (key) {
    case ARGP_KEY_INIT:
        st->child_inputs[0] = &b->ce;
        return 0;
    case 'p':
        return cli_list(st, "-p", arg, 0, 1 << 24, BENCH_LIST, b->p, &b->n_p);
    case 'n':
        return cli_list(st, "-n", arg, 0, 1 << 24, BENCH_LIST, b->n, &b->n_n);
    case 'd':
        return cli_list(st, "-d", arg, 0, 1 << 24, BENCH_LIST, b->depth, &b->n_depth);
    case 'b':
        b->ce.batched = true;
        return cli_option(st, &engine_option_set, "batch-tokens", arg, &b->ce.opt);
    case 'r':
        return cli_int(st, "-r", arg, 1, 1000, &b->repeat);
    case OPT_PARALLEL:
        return cli_list(st, "--parallel", arg, 1, 4096, BENCH_LIST, b->parallel, &b->n_parallel);
    case 'o':
        return cli_word(st, "-o", arg, "md|csv|json", &b->format);
    case ARGP_KEY_ARG:
        if (!strcmp(arg, "model"))
            return 0;
        argp_error(st,
                   "unknown benchmark '%s'; there are: model, kernels, ceiling, compare, "
                   "stream, read, tiles",
                   arg);
        return EINVAL;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    {"n-prompt", 'p', "N,..", 0, "prompt lengths to measure, 0 = none (default 512)", 1},
    {"n-gen", 'n', "N,..", 0, "numbers of tokens to generate, 0 = none (default 128)", 1},
    {"n-depth", 'd', "N,..", 0,
     "tokens of context before each test, computed before its time begins: a multiple of "
     "--page-tokens (default 0)",
     1},
    {"parallel", OPT_PARALLEL, "N,..", 0, "sequences generated together in tg (default 1)", 1},
    {"batch-size", 'b', "N", 0, "the same as --batch-tokens", 1},
    {"repetitions", 'r', "N", 0, "repeats of each test (default 5)", 1},
    {"output", 'o', "FORMAT", 0, "md (default), csv or json", 1},
    {0}};

/* number: of the test, so that no test finds tokens of another one in the prefix cache */
static int measure(struct bench *b, struct engine *en, int number, struct speed_row *t,
                   struct err *e)
{
    double x[1000], seconds;
    int rc = 0;
    const struct span span = span_of(SPAN_HOST, "measured", -1, 0); /* a profiler's capture */
    struct speed_width width = {.steps = 0};
    TRY(speed_warm(en, &t->test, e));
    energy_begin(&b->energy);
    spans_begin(b->ce.ranges.spans, &span);
    for (int i = 0; i < b->repeat && rc == 0; i++) {
        rc = speed_run(en, &t->test, (uint64_t)(number * b->repeat + i), &seconds, &width, e);
        x[i] = rc == 0 ? speed_tokens(&t->test) / seconds : 0;
    }
    spans_end(b->ce.ranges.spans, &span);
    energy_end(&b->energy, &t->energy);
    TRY(rc);
    speed_say_width(en, &t->test, &width);
    t->width = speed_mean_width(&width);
    t->tokens = (double)speed_tokens(&t->test) * b->repeat;
    t->s = stat_summarize(x, (size_t)b->repeat);
    return 0;
}

/* Keeps the test's energy for the end of the table. */
static void keep_energy(struct bench *b, const struct speed_row *t)
{
    char test[48];
    struct str line = STR_INIT;
    speed_name(&t->test, test);
    energy_line(&t->energy, t->tokens, &line);
    if (line.len)
        str_addf(&b->lines, "  %-12s %s\n", test, line.s);
    str_free(&line);
}

static int print(const struct str *s, struct err *e)
{
    TRY(str_ok(s, "a result", e));
    fputs(s->s, stdout);
    return cli_flush(e);
}

static int print_row(const struct bench *b, const struct speed_about *a, const struct speed_row *r,
                     bool first, struct err *e)
{
    struct str s = STR_INIT;
    if (!strcmp(b->format, "md"))
        speed_row_md(a, r, first, &s);
    else if (!strcmp(b->format, "json"))
        speed_row_json(a, r, first, &s);
    else
        speed_row_csv(a, r, first, &s);
    const int rc = print(&s, e);
    str_free(&s);
    return rc;
}

/* After the rows of all models. */
static int print_end(const struct bench *b, struct err *e)
{
    struct str s = STR_INIT;
    if (!strcmp(b->format, "json"))
        str_adds(&s, b->first ? "[\n]\n" : "\n]\n");
    else if (!strcmp(b->format, "md") && b->foot.len)
        str_addf(&s, "\n%s", b->foot.s);
    const int rc = print(&s, e);
    str_free(&s);
    return rc;
}

static void longest(const int *v, int n, int *out)
{
    for (int i = 0; i < n; i++)
        *out = v[i] > *out ? v[i] : *out;
}

/* Options of llama-bench that argp would take for bundles of short options. */
static int check_foreign(int argc, char **argv, struct err *e)
{
    static const char *const foreign[][2] = {
        {"-pg", "give -p and -n: each measures a test of its own"},
        {"-ngl", "mas places layers itself; --vram and --cpu-layers change that"},
        {"-fa", "mas has one kind of attention; leave it out"},
        {"-ub", "a step has the tokens of -b"},
        {"-ctk", "--kv-type is the format of the whole cache"},
        {"-ctv", "--kv-type is the format of the whole cache"},
        {"-mmp", "--map-weights reads weights from the mapped file"},
        {"-ts", "mas uses one GPU; name it with --device"},
        {"-sm", "mas uses one GPU; name it with --device"},
        {"-mg", "mas uses one GPU; name it with --device"},
        {"-dev", "name the GPU with --device"},
        {"-nkvo", "the KV cache lies on the device that computes; leave it out"},
        {"-rtr", "mas packs weights unless --map-weights is given; leave it out"},
    };
    for (int i = 1; i < argc && strcmp(argv[i], "--"); i++)
        for (size_t k = 0; k < sizeof foreign / sizeof *foreign; k++)
            if (!strcmp(argv[i], foreign[k][0]))
                FAIL(e, ERR_USAGE, "%s is llama-bench's; %s", foreign[k][0], foreign[k][1]);
    return 0;
}

/* The context is kept by the prefix cache, which has whole pages. */
static int check_depth(const struct bench *b, struct err *e)
{
    const int page = b->ce.opt.page_tokens;
    for (int i = 0; i < b->n_depth; i++) {
        const int low = b->depth[i] / page * page;
        if (low != b->depth[i])
            FAIL(e, ERR_USAGE,
                 "-d %d is no multiple of %d, the tokens of a page of the KV cache; give %d or %d",
                 b->depth[i], page, low, low + page);
    }
    return 0;
}

/* The tests of one model. */
static int bench_tests(struct bench *b, struct engine *en, const struct speed_about *about,
                       struct err *e)
{
    const bool shown = !b->ce.quiet && isatty(STDERR_FILENO);
    const int each = b->n_p + b->n_n * b->n_parallel;
    for (int k = 0; k < b->n_depth * each; k++) {
        const int i = k % each;
        struct speed_row t = {.test = {.parallel = 1, .depth = b->depth[k / each], .shown = shown}};
        if (i < b->n_p) {
            t.test.prompt = b->p[i];
        } else {
            t.test.gen = b->n[(i - b->n_p) / b->n_parallel];
            t.test.parallel = b->parallel[(i - b->n_p) % b->n_parallel];
        }
        if (!t.test.prompt && !t.test.gen)
            continue;
        TRY(measure(b, en, k, &t, e));
        TRY(print_row(b, about, &t, b->first, e));
        keep_energy(b, &t);
        b->first = false;
    }
    return 0;
}

/* Machine, settings and energy of a model's rows. */
static void keep_about(struct bench *b, const struct speed_about *about)
{
    if (b->ce.n_model > 1)
        str_addf(&b->foot, "%s: ", b->ce.opt.model);
    speed_about_md(about, &b->foot);
    str_addf(&b->foot, "energy: %s\n%s", b->energy.now.source, b->lines.s ? b->lines.s : "");
    str_free(&b->lines);
}

static int bench_model(struct bench *b, const char *changed, struct err *e)
{
    int rc = 0;
    struct engine *en = NULL;
    TRY_DONE(cli_engine_open(&b->ce, &en, e));
    const struct engine_info *in = engine_info(en);
    TRY_DONE(energy_open(&b->energy, in->backend, in->pci, in->gpu, e));
    const struct speed_about about = {in, &b->ce.opt, cli_threads(in->backend, b->ce.opt.n_threads),
                                      changed};
    TRY_DONE(bench_tests(b, en, &about, e));
    if (!b->first)
        keep_about(b, &about);
done:
    energy_close(&b->energy);
    cli_engine_close(&b->ce, en);
    return rc;
}

static int bench(struct bench *b, struct err *e)
{
    /* settings with a place of their own in the table or its last line */
    static const char *const told[] = {"model",   "backend",      "isa", "threads",
                                       "kv-type", "batch-tokens", NULL};
    int rc = 0, most_p = 0, most_n = 0, most_d = 0, most_seq = 1;
    longest(b->p, b->n_p, &most_p);
    longest(b->n, b->n_n, &most_n);
    longest(b->parallel, b->n_parallel, &most_seq);
    struct str changed = STR_INIT;
    if (!most_p && !most_n)
        FAIL(e, ERR_USAGE, "nothing to measure: -p and -n are both 0; set one of them");
    TRY(check_depth(b, e));
    if (most_n)
        TRY(speed_check_batch(b->ce.opt.batch_tokens, most_seq, e));
    cli_add_changed(&b->ce, told, &changed);
    longest(b->depth, b->n_depth, &most_d);
    b->ce.opt.n_ctx = most_d + (most_p > most_n ? most_p : most_n) + 1;
    b->ce.opt.no_prefix_cache = !most_d;
    b->ce.opt.n_seq = most_n ? most_seq : 1;
    for (int i = 0; i < (b->ce.n_model ? b->ce.n_model : 1) && rc == 0; i++) {
        b->ce.opt.model = b->ce.n_model ? b->ce.model[i] : NULL;
        rc = bench_model(b, changed.s ? changed.s : "", e);
    }
    if (rc == 0)
        rc = print_end(b, e);
    else if (!b->first) /* rows before an error are whole, as JSON too */
        (void)print_end(b, NULL);
    str_free(&changed);
    str_free(&b->foot);
    str_free(&b->lines);
    return rc;
}

static int run(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } modes[] = {{"kernels", bench_kernels}, {"ceiling", bench_ceiling}, {"compare", bench_compare},
                 {"stream", bench_stream},   {"read", bench_read},       {"tiles", bench_tiles}};
    char title[64]; /* how argp calls the program */
    for (size_t i = 0; argc > 1 && i < sizeof modes / sizeof *modes; i++)
        if (!strcmp(argv[1], modes[i].name)) {
            snprintf(title, sizeof title, "%s %s", argv[0], modes[i].name);
            argv[1] = title;
            return modes[i].run(argc - 1, argv + 1);
        }
    /* -p, -n and --parallel set the first two; a repeat must not find a cache */
    static const struct cli_row own[] = {{.flag = "ctx", .absent = true},
                                         {.flag = "sequences", .absent = true},
                                         {.flag = "no-prefix-cache", .absent = true}};
    struct bench b = {.p = {512},
                      .n_p = 1,
                      .n = {128},
                      .n_n = 1,
                      .parallel = {1},
                      .n_parallel = 1,
                      .n_depth = 1,
                      .repeat = 5,
                      .format = "md",
                      .first = true,
                      .lines = STR_INIT,
                      .foot = STR_INIT};
    const struct argp_child children[] = {{&b.ce.rows.argp, 0, "Model and machine:", 10}, {0}};
    const struct argp argp = {
        options,
        parse,
        "model",
        "Measures the speed of a model: prompt processing and generation. Other benchmarks: "
        "mas bench kernels, mas bench ceiling, mas bench compare, mas bench stream, mas bench "
        "read, mas bench tiles; each has its own --help. With -m several times it measures one "
        "model after the other. mas profile times each op of the same "
        "tests.",
        children,
        NULL,
        NULL};
    cli_engine_init(&b.ce, own, sizeof own / sizeof own[0]);
    b.ce.several = true;
    struct err e = {0};
    if (check_foreign(argc, argv, &e) < 0)
        return cmd_fail(&e);
    int done = cli_parse(&argp, argc, argv, &b);
    if (done >= 0)
        return done;
    int rc = bench(&b, &e), most_d = 0, most_p = 0, most_n = 0;
    longest(b.depth, b.n_depth, &most_d);
    longest(b.p, b.n_p, &most_p);
    longest(b.n, b.n_n, &most_n);
    if (rc < 0)
        speed_advice(&e, most_d, most_p, most_n, "-d/-p/-n");
    return rc < 0 ? cmd_fail(&e) : 0;
}

const struct cmd cmd_bench = {
    "bench", "measure speed",
    "mas bench model -m model.gguf -p 512 -n 128 -t 2\n"
    "mas bench model -m model.gguf -p 0 -n 64 --parallel 1,4,8 -o json\n"
    "mas bench kernels --op matmul --shape 8b --fmt Q4_K --columns 1,8,64 -o json >a.json\n"
    "mas bench ceiling\n"
    "mas bench tiles\n"
    "mas bench stream -m model.gguf --vram 8GiB --link-limit 25GB --parallel 1,8\n"
    "mas bench compare a.json b.json\n"
    "nsys stats -r nvtx_gpu_proj_sum,cuda_gpu_kern_sum -f csv run.nsys-rep | mas bench read -\n",
    run};
