/*
 * mas bench stream: a model whose weights are copied to the device for every step. One run measures
 * in turn:
 *
 *   copy     passes over the streamed weights without any computation: the same pieces, the same
 *            memory of the host, the same ring
 *   step     decode steps of N sequences, with copies
 *   compute  the same steps without copies; the ring holds made-up weights
 *
 * overlap: the part of the shorter one of copy and compute that the longer one hides. A step as
 * long as the longer one has 100 %, a step as long as both together 0 %.
 * link: bytes that a step copies in its time, as a share of the rate of the copies alone.
 * CPU: bytes that the CPU's matrices move, over the time of these operations.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "advice.h"
#include "bench.h"
#include "cli.h"
#include "clock.h"
#include "cmd.h"
#include "energy.h"
#include "mem.h"
#include "place.h"
#include "rng.h"
#include "span.h"
#include "stat.h"

enum { MOST_PARALLEL = 16, MOST_STEPS = 1000, MOST_REPEATS = 100, WARM = 2 };
/* copies alone take about that long, and at least one pass */
static const double copy_s = 0.1;
/* of a step: a copy or a computation below says nothing about their overlap */
static const double small_part = 0.05;

/* Sees the steps of the engine. Only its thread writes while requests run. */
struct watch {
    struct spans spans;
    int rows, want;            /* of a decode step; steps to record */
    bool decoding;             /* the step under way has these rows */
    int n_seen, n;             /* such steps seen, recorded */
    int64_t last_ns, op_ns;    /* end of the last step, start of an operation of the CPU */
    double *seconds;           /* (want) */
    double host_s, host_bytes; /* of the CPU in the step under way */
    double all_s, all_bytes;   /* of the recorded steps */
};

struct bench {
    struct cli_engine ce;
    int parallel[MOST_PARALLEL], n_parallel, steps, depth, repeats;
    const char *format;
    /* while it runs */
    struct watch watch;
    struct engine *en;
    struct stage_stats stage;
    int passes;                    /* of copies alone */
    double *copy, *step, *compute; /* (repeats), (repeats x steps) x 2 */
    bool first;
    struct energy energy;
};

struct row {
    int parallel;
    struct stat_summary copy, step, compute; /* seconds of a pass or step */
    double cpu_bytes;                        /* of a step */
    double cpu, cpu_alone; /* bytes/s beside the copies and without; NaN = no such part */
};

/* ---- steps ----------------------------------------------------------------------------------- */

static bool of_host(const struct span *span)
{
    return span->kind == SPAN_OP && span->op == OP_matmul && span->dev->is_host;
}

static void on_begin(struct spans *spans, const struct span *span)
{
    struct watch *w = (struct watch *)spans;
    if (of_host(span))
        w->op_ns = clock_ns();
}

static void on_step(struct watch *w)
{
    const int64_t now = clock_ns();
    if (w->decoding && w->n_seen++ >= WARM && w->n < w->want) {
        w->seconds[w->n++] = (double)(now - w->last_ns) * 1e-9;
        w->all_s += w->host_s;
        w->all_bytes += w->host_bytes;
    }
    w->decoding = false;
    w->host_s = w->host_bytes = 0;
    w->last_ns = now;
}

static void on_end(struct spans *spans, const struct span *span)
{
    struct watch *w = (struct watch *)spans;
    if (of_host(span)) {
        w->host_s += (double)(clock_ns() - w->op_ns) * 1e-9;
        w->host_bytes += span->bytes;
    } else if (span->kind == SPAN_PHASE && !strcmp(span->name, "decode")) {
        w->decoding = span->rows == w->rows;
    } else if (span->kind == SPAN_STEP) {
        on_step(w);
    }
}

/* Tokens that the first sequence may give before the last one begins. */
static int ramp(const struct bench *b, int parallel)
{
    const int rows = b->ce.opt.batch_tokens - parallel; /* beside those that decode */
    return (int)((int64_t)parallel * b->depth / (rows > 0 ? rows : 1)) + 2;
}

/* Tokens that each sequence gives. */
static int length(const struct bench *b, int parallel)
{
    return WARM + b->steps + 1 + ramp(b, parallel);
}

/* Decode steps of all sequences together, as many as the watch wants. */
static int run_steps(struct bench *b, int parallel, double *seconds, struct err *e)
{
    int rc = 0;
    const size_t n = (size_t)parallel, depth = (size_t)b->depth, most = (size_t)length(b, parallel);
    const uint32_t vocab = (uint32_t)engine_info(b->en)->n_vocab;
    struct cli_job *jobs = mem_zalloc(n, sizeof *jobs);
    int32_t *tok = mem_zalloc(n * depth, sizeof *tok), *out = mem_zalloc(n * most, sizeof *out);
    if (!jobs || !tok || !out)
        TRY_DONE(NOMEM(e, n * (depth + most) * sizeof *tok, "benchmark"));
    for (size_t i = 0; i < n * depth; i++)
        tok[i] = (int32_t)rng_below(1, i, vocab);
    for (size_t i = 0; i < n; i++)
        jobs[i].r = (struct request){.id = i,
                                     .prompt = tok + i * depth,
                                     .n_prompt = b->depth,
                                     .max_new = (int)most,
                                     .top_p = 1,
                                     .ignore_eos = true,
                                     .out = out + i * most};
    struct watch *w = &b->watch;
    w->rows = parallel;
    w->want = b->steps;
    w->n_seen = w->n = 0;
    w->seconds = seconds;
    w->all_s = w->all_bytes = 0;
    TRY_DONE(cli_run_all(b->en, jobs, parallel, e));
    if (w->n < b->steps)
        TRY_DONE(
            err_set(e, ERR_USAGE,
                    "%d sequences took %d steps together, %d are needed: the KV cache is too "
                    "small for them; raise --vram or lower --parallel, with --placement throughput",
                    parallel, w->n, b->steps));
done:
    mem_free(jobs);
    mem_free(tok);
    mem_free(out);
    return rc;
}

/* ---- one row --------------------------------------------------------------------------------- */

/* Seconds of a pass of copies alone. */
static int run_copies(struct bench *b, double *seconds, struct err *e)
{
    struct place *place = engine_placed(b->en);
    uint64_t bytes;
    double s;
    if (!b->passes) {
        TRY(place_copy_alone(place, 1, &bytes, &s, e));
        b->passes = s < copy_s ? (int)fmin(copy_s / (s + 1e-9), 1000) + 1 : 1;
    }
    TRY(place_copy_alone(place, b->passes, &bytes, &s, e));
    *seconds = s * (double)b->stage.pass_bytes / (double)bytes;
    return 0;
}

static int measure(struct bench *b, struct row *r, struct err *e)
{
    struct place *place = engine_placed(b->en);
    double s = 0, bytes = 0, s_alone = 0, bytes_alone = 0;
    for (int i = 0; i < b->repeats; i++) {
        TRY(run_copies(b, &b->copy[i], e));
        TRY(run_steps(b, r->parallel, b->step + i * b->steps, e));
        s += b->watch.all_s;
        bytes += b->watch.all_bytes;
        TRY(place_hold(place, true, e));
        TRY(run_steps(b, r->parallel, b->compute + i * b->steps, e));
        s_alone += b->watch.all_s;
        bytes_alone += b->watch.all_bytes;
        TRY(place_hold(place, false, e));
    }
    const size_t n = (size_t)b->repeats * (size_t)b->steps;
    r->copy = stat_summarize(b->copy, (size_t)b->repeats);
    r->step = stat_summarize(b->step, n);
    r->compute = stat_summarize(b->compute, n);
    r->cpu_bytes = bytes / (double)n;
    r->cpu = s > 0 ? bytes / s : NAN;
    r->cpu_alone = s_alone > 0 ? bytes_alone / s_alone : NAN;
    return 0;
}

/* NaN if the shorter one is so small a part of a step that noise decides. */
static double overlap(const struct row *r)
{
    const double shorter = fmin(r->copy.median, r->compute.median);
    if (!(shorter >= small_part * r->step.median))
        return NAN;
    return (r->copy.median + r->compute.median - r->step.median) / shorter;
}

/* ---- output ---------------------------------------------------------------------------------- */

static bool emulated(const struct bench *b)
{
    return !strcmp(engine_info(b->en)->backend, "cudahost");
}

static double gb(double bytes)
{
    return bytes * 1e-9;
}

static double rate_alone(const struct bench *b, const struct row *r)
{
    return gb((double)b->stage.pass_bytes / r->copy.median);
}

static double rate_streamed(const struct bench *b, const struct row *r)
{
    return gb((double)b->stage.pass_bytes / r->step.median);
}

static void head_md(const struct bench *b)
{
    const struct engine_info *in = engine_info(b->en);
    char when[32], limit[64] = "";
    bench_time(when);
    if (in->link_limit > 0)
        snprintf(limit, sizeof limit, "; emulated: link limited to %.4g GB/s", gb(in->link_limit));
    printf("%s; %s; mas %s\n%s: a step copies %.3f GB from %s memory%s, through a ring of %.3f "
           "GB%s%s\n\n",
           in->device, when, MAS_COMMIT, in->name[0] ? in->name : in->arch,
           gb((double)b->stage.pass_bytes), b->stage.pinned ? "pinned" : "pageable",
           b->stage.kept ? "" : ", read from the file for every step",
           gb((double)b->stage.ring_bytes), limit,
           emulated(b) ? "; a GPU's kernels run by the host: these times say nothing about a GPU"
                       : "");
    printf(
        "| %9s | %9s | %9s | %10s | %9s | %8s | %11s | %10s | %7s | %9s | %9s |\n"
        "| --------: | --------: | --------: | ---------: | --------: | -------: | ----------: | "
        "---------: | ------: | --------: | --------: |\n",
        "sequences", "t/s", "step, ms", "compute, ms", "copy, ms", "overlap", "step, GB/s",
        "copy, GB/s", "link", "CPU, GB/s", "CPU alone");
}

static void rate_md(char out[24], double bytes_per_second)
{
    if (isnan(bytes_per_second))
        snprintf(out, 24, "-");
    else
        snprintf(out, 24, "%.2f", gb(bytes_per_second));
}

static void print_md(const struct bench *b, const struct row *r)
{
    char cpu[24], alone[24], hidden[24] = "-";
    if (!isnan(overlap(r)))
        snprintf(hidden, sizeof hidden, "%.1f %%", 100 * overlap(r));
    rate_md(cpu, r->cpu);
    rate_md(alone, r->cpu_alone);
    if (b->first)
        head_md(b);
    printf("| %9d | %9.2f | %9.2f | %10.2f | %9.2f | %8s | %11.2f | %10.2f | %5.1f %% | %9s | "
           "%9s |\n",
           r->parallel, r->parallel / r->step.median, r->step.median * 1e3, r->compute.median * 1e3,
           r->copy.median * 1e3, hidden, rate_streamed(b, r), rate_alone(b, r),
           100 * rate_streamed(b, r) / rate_alone(b, r), cpu, alone);
}

static void head_json(const struct bench *b)
{
    const struct engine_info *in = engine_info(b->en);
    char when[32];
    struct str s = STR_INIT;
    bench_time(when);
    str_addf(&s,
             "{\"bench\": \"stream\", \"format\": 1, \"commit\": \"%s\", \"time\": \"%s\", "
             "\"backend\": \"%s\", \"device\": ",
             MAS_COMMIT, when, in->backend);
    str_add_json(&s, in->device, strlen(in->device));
    str_adds(&s, ", \"model\": ");
    str_add_json(&s, in->path, strlen(in->path));
    str_addf(&s,
             ", \"emulated\": %s,\n \"step_bytes\": %llu, \"piece_bytes\": %llu, \"ring_bytes\": "
             "%llu, \"host_bytes\": %llu, \"pinned\": %s, \"kept\": %s, \"link_limit_gb_s\": %.6g, "
             "\"depth\": %d,\n \"rows\": [",
             emulated(b) ? "true" : "false", (unsigned long long)b->stage.pass_bytes,
             (unsigned long long)STAGE_PIECE, (unsigned long long)b->stage.ring_bytes,
             (unsigned long long)in->plan->host_bytes, b->stage.pinned ? "true" : "false",
             b->stage.kept ? "true" : "false", gb(in->link_limit), b->depth);
    fputs(s.s ? s.s : "", stdout);
    str_free(&s);
}

static void rate_json(char out[24], double bytes_per_second)
{
    if (isnan(bytes_per_second))
        snprintf(out, 24, "null");
    else
        snprintf(out, 24, "%.4f", gb(bytes_per_second));
}

static void print_json(const struct bench *b, const struct row *r)
{
    char cpu[24], alone[24], hidden[24] = "null";
    if (!isnan(overlap(r)))
        snprintf(hidden, sizeof hidden, "%.4f", overlap(r));
    rate_json(cpu, r->cpu);
    rate_json(alone, r->cpu_alone);
    if (b->first)
        head_json(b);
    printf("%s\n  {\"parallel\": %d, \"tokens_s\": %.4f, \"step_ms\": %.4f, \"step_ms_p5\": %.4f, "
           "\"step_ms_p95\": %.4f, \"compute_ms\": %.4f, \"compute_ms_p5\": %.4f, "
           "\"compute_ms_p95\": %.4f, \"copy_ms\": %.4f, \"copy_ms_p5\": %.4f, \"copy_ms_p95\": "
           "%.4f, \"overlap\": %s, \"step_gb_s\": %.4f, \"copy_gb_s\": %.4f, \"link_share\": "
           "%.4f, \"cpu_bytes\": %.0f, \"cpu_gb_s\": %s, \"cpu_alone_gb_s\": %s}",
           b->first ? "" : ",", r->parallel, r->parallel / r->step.median, r->step.median * 1e3,
           r->step.p5 * 1e3, r->step.p95 * 1e3, r->compute.median * 1e3, r->compute.p5 * 1e3,
           r->compute.p95 * 1e3, r->copy.median * 1e3, r->copy.p5 * 1e3, r->copy.p95 * 1e3, hidden,
           rate_streamed(b, r), rate_alone(b, r), rate_streamed(b, r) / rate_alone(b, r),
           r->cpu_bytes, cpu, alone);
}

static void print_csv(const struct bench *b, const struct row *r)
{
    if (b->first)
        printf("parallel,tokens_s,step_ms,compute_ms,copy_ms,overlap,step_gb_s,copy_gb_s,"
               "link_share,cpu_gb_s,cpu_alone_gb_s\n");
    char hidden[24] = "";
    if (!isnan(overlap(r)))
        snprintf(hidden, sizeof hidden, "%.4f", overlap(r));
    printf("%d,%.4f,%.4f,%.4f,%.4f,%s,%.4f,%.4f,%.4f,", r->parallel, r->parallel / r->step.median,
           r->step.median * 1e3, r->compute.median * 1e3, r->copy.median * 1e3, hidden,
           rate_streamed(b, r), rate_alone(b, r), rate_streamed(b, r) / rate_alone(b, r));
    if (isnan(r->cpu) || isnan(r->cpu_alone))
        printf(",\n");
    else
        printf("%.4f,%.4f\n", gb(r->cpu), gb(r->cpu_alone));
}

static void print_row(struct bench *b, const struct row *r)
{
    if (!strcmp(b->format, "json"))
        print_json(b, r);
    else if (!strcmp(b->format, "csv"))
        print_csv(b, r);
    else
        print_md(b, r);
    b->first = false;
}

/* The end of what the head began. The energy is that of copies, steps and computation together. */
static void print_tail(struct bench *b)
{
    struct energy_span spent;
    struct str s = STR_INIT;
    energy_end(&b->energy, &spent);
    if (!strcmp(b->format, "json")) {
        energy_json(&spent, 0, &s);
        printf("\n ]%s}\n", s.s);
    } else if (!strcmp(b->format, "md")) {
        energy_foot(&spent, &s);
        printf("\n%s", s.s);
    }
    str_free(&s);
}

/* ---- the mode -------------------------------------------------------------------------------- */

static int check_streams(const struct bench *b, struct err *e)
{
    const struct engine_info *in = engine_info(b->en);
    if (in->plan->stream_bytes)
        return 0;
    if (!in->plan->vram_weight_bytes)
        FAIL(e, ERR_USAGE,
             "nothing is streamed on backend %s: it computes with weights in main memory; choose a "
             "GPU with --backend",
             in->backend);
    FAIL(e, ERR_USAGE,
         "nothing is streamed to %s: %.3f GB of weights are resident and the CPU computes %.3f "
         "GB; lower --vram, or set --cpu-layers 0",
         in->device, gb((double)in->plan->vram_weight_bytes), gb((double)in->plan->host_bytes));
}

static int check_batch(int batch_tokens, int parallel, struct err *e)
{
    if (batch_tokens < 2 * parallel)
        FAIL(e, ERR_USAGE,
             "--batch-tokens %d with --parallel %d: a step that fills contexts has two tokens of "
             "each sequence; give --batch-tokens %d or more, or fewer sequences",
             batch_tokens, parallel, 2 * parallel);
    return 0;
}

static int bench_run(struct bench *b, struct err *e)
{
    int rc = 0, most = 1;
    const size_t steps = (size_t)b->repeats * (size_t)b->steps;
    for (int i = 0; i < b->n_parallel; i++)
        most = b->parallel[i] > most ? b->parallel[i] : most;
    b->copy = mem_zalloc((size_t)b->repeats + 2 * steps, sizeof *b->copy);
    if (!b->copy)
        TRY_DONE(NOMEM(e, 2 * steps * sizeof *b->copy, "benchmark"));
    b->step = b->copy + b->repeats;
    b->compute = b->step + steps;
    b->watch.spans = (struct spans){.begin = on_begin, .end = on_end};
    b->ce.opt.spans = &b->watch.spans;
    b->ce.opt.n_seq = most;
    if (b->ce.batched)
        TRY_DONE(check_batch(b->ce.opt.batch_tokens, most, e));
    else if (b->ce.opt.batch_tokens < 2 * most)
        b->ce.opt.batch_tokens = 2 * most;
    b->ce.opt.n_ctx = b->depth + length(b, most);
    TRY_DONE(cli_engine_open(&b->ce, &b->en, e));
    TRY_DONE(check_streams(b, e));
    TRY_DONE(energy_open(&b->energy, engine_info(b->en)->backend, engine_info(b->en)->pci,
                         engine_info(b->en)->gpu, e));
    energy_begin(&b->energy);
    place_stats(engine_placed(b->en), &b->stage);
    for (int i = 0; i < b->n_parallel; i++) {
        struct row r = {.parallel = b->parallel[i]};
        TRY_DONE(measure(b, &r, e));
        print_row(b, &r);
        TRY_DONE(cli_flush(e));
    }
done:
    if (!b->first)
        print_tail(b);
    energy_close(&b->energy);
    cli_engine_close(&b->ce, b->en);
    mem_free(b->copy);
    return rc;
}

enum { OPT_PARALLEL = 1 };

static error_t parse(int key, char *arg, struct argp_state *st)
{
    struct bench *b = st->input;
    switch (key) {
    case ARGP_KEY_INIT:
        st->child_inputs[0] = &b->ce;
        return 0;
    case OPT_PARALLEL:
        return cli_list(st, "--parallel", arg, 1, 4096, MOST_PARALLEL, b->parallel, &b->n_parallel);
    case 'n':
        return cli_int(st, "-n", arg, 1, MOST_STEPS, &b->steps);
    case 'd':
        return cli_int(st, "-d", arg, 1, 1 << 20, &b->depth);
    case 'r':
        return cli_int(st, "-r", arg, 1, MOST_REPEATS, &b->repeats);
    case 'o':
        return cli_word(st, "-o", arg, "md|csv|json", &b->format);
    case ARGP_KEY_ARG:
        argp_error(st, "unexpected argument '%s'; name the model with -m", arg);
        return EINVAL;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int bench_stream(int argc, char **argv)
{
    static const struct advice_option own_options[] = {
        {"--ctx", "-d/-n"}, {"--sequences", "--parallel"}, {NULL, NULL}};
    static const struct argp_option options[] = {
        {"parallel", OPT_PARALLEL, "N,..", 0, "sequences decoded together (default 1,8)", 1},
        {"n-gen", 'n', "N", 0, "measured steps of a repetition (default 8)", 1},
        {"n-depth", 'd', "N", 0, "tokens of each sequence before them (default 1)", 1},
        {"repetitions", 'r', "N", 0, "repeats of copies, steps and computation (default 3)", 1},
        {"output", 'o', "FORMAT", 0, "md (default), csv or json", 1},
        {0}};
    /* -d, -n and --parallel set the first two; prompts repeat; drafts would change the rows of
     * steps; only throughput has room for all sequences */
    static const struct cli_row own[] = {{.flag = "ctx", .absent = true},
                                         {.flag = "sequences", .absent = true},
                                         {.flag = "no-prefix-cache", .absent = true},
                                         {.flag = "draft-model", .absent = true},
                                         {.flag = "max-draft", .absent = true},
                                         {.flag = "max-branches", .absent = true},
                                         {.flag = "lookup", .absent = true},
                                         {.flag = "placement", .otherwise = "throughput"}};
    struct bench b = {.parallel = {1, 8},
                      .n_parallel = 2,
                      .steps = 8,
                      .depth = 1,
                      .repeats = 3,
                      .format = "md",
                      .first = true};
    struct err e = {0};
    const struct argp_child children[] = {{&b.ce.rows.argp, 0, "Model and machine:", 10}, {0}};
    const struct argp argp = {
        options,
        parse,
        NULL,
        "Measures a model whose weights are copied to the GPU for every step: the copies alone, "
        "the steps, and the computation alone. Prints how much of the shorter one is hidden "
        "and the share of the link's rate. With parts on the CPU (--cpu-layers), also their "
        "memory rate beside the copies and without. --vram and --link-limit emulate a smaller "
        "machine.",
        children,
        NULL,
        NULL};
    cli_engine_init(&b.ce, own, sizeof own / sizeof own[0]);
    b.ce.opt.no_prefix_cache = true;
    b.ce.opt.max_draft = 0;
    b.ce.opt.placement = PLAN_THROUGHPUT;
    int done = cli_parse(&argp, argc, argv, &b);
    if (done >= 0)
        return done;
    int rc = bench_run(&b, &e);
    if (rc < 0) {
        advice_instead(&e, "set --ctx", "lower -d, -n or --parallel");
        advice_as_options(&e, own_options);
    }
    return rc < 0 ? cmd_fail(&e) : 0;
}
