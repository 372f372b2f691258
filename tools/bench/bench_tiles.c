/*
 * mas bench tiles: from how many rows of x on matrix tiles (AMX) multiply faster than AVX-512. For
 * each number format both multiply the same matrix, in turn, with rising numbers of rows. The end
 * of the output are the rows of kernels/cpu/tiles_rows.def for this machine.
 */
#include <stdio.h>
#include <string.h>

#include "bench.h"
#include "case.h"
#include "cli.h"
#include "clock.h"
#include "cmd.h"
#include "stat.h"
#include "tile_rows.h"

enum { MOST_ROWS = 24, MOST_REPEATS = 100 };
/* a sample is at least so long: a clock's resolution does not show */
static const double sample_s = 2e-3;

struct bench {
    int fmt; /* enum fmt, or -1 = all with integer kernels */
    int64_t n_in, n_out;
    int rows[MOST_ROWS], n_rows;
    int repeats;
    struct engine_options machine; /* threads */
    struct cli_rows options;
    struct ops *ops[2]; /* without tiles, with tiles */
};

/* Seconds of a call: the mean of as many calls as take sample_s. */
static int sample(const struct op_case *c, struct case_device *d, double *seconds, struct err *e)
{
    const int64_t t0 = clock_ns();
    int n = 0;
    do {
        TRY(case_run(c, d, e));
        *seconds = (double)(clock_ns() - t0) * 1e-9 / ++n;
    } while (*seconds * n < sample_s);
    return 0;
}

/* Medians of both, measured in turn. */
static int measure(struct bench *b, enum fmt fmt, int n_row, double seconds[2], struct err *e)
{
    struct op_case c = {0}, packed[2];
    struct case_device d[2] = {{0}};
    double all[2][MOST_REPEATS], first;
    int rc = case_matmul_shape(&c, fmt, n_row, b->n_in, b->n_out, EPI_STORE, e);
    for (int k = 0; k < 2 && rc == 0; k++) {
        packed[k] = c;
        rc = case_upload(&packed[k], b->ops[k], 0, &d[k], e);
        if (rc == 0)
            rc = case_pack(&packed[k], &d[k], e);
        if (rc == 0)
            rc = sample(&packed[k], &d[k], &first, e); /* warms up */
    }
    for (int i = 0; i < b->repeats && rc == 0; i++)
        for (int k = 0; k < 2 && rc == 0; k++)
            rc = sample(&packed[k], &d[k], &all[k][i], e);
    for (int k = 0; k < 2; k++) {
        if (rc == 0)
            seconds[k] = stat_summarize(all[k], (size_t)b->repeats).median;
        case_release(&d[k]);
    }
    case_free(&c);
    return rc;
}

static int bench_fmt(struct bench *b, enum fmt fmt, struct str *def, struct err *e)
{
    double seconds[MOST_ROWS][2];
    const char *name = fmt_info(fmt)->name;
    TRY(case_matmul_row(fmt, b->n_in, e));
    for (int i = 0; i < b->n_rows; i++) {
        TRY(measure(b, fmt, b->rows[i], seconds[i], e));
        const double gop = 2e-9 * b->rows[i] * (double)b->n_in * (double)b->n_out;
        printf("| %-7s | %4d | %8.1f | %8.1f | %6.2f |\n", name, b->rows[i], gop / seconds[i][0],
               gop / seconds[i][1], seconds[i][0] / seconds[i][1]);
        TRY(cli_flush(e));
    }
    const int least = tile_rows_least(b->rows, seconds, b->n_rows);
    if (least)
        str_addf(def, "X(%s, %d, MEASURED)\n", name, least);
    else
        str_addf(def, "X(%s, INT32_MAX, MEASURED) /* never faster up to %d rows */\n", name,
                 b->rows[b->n_rows - 1]);
    return 0;
}

static int bench_run(struct bench *b, struct str *def, struct err *e)
{
    static const char *const isa[2] = {"avx512vnni", "amx"};
    char when[32];
    for (int i = 1; i < b->n_rows; i++)
        if (b->rows[i] <= b->rows[i - 1])
            FAIL(e, ERR_USAGE, "--rows has %d after %d; give rising numbers", b->rows[i],
                 b->rows[i - 1]);
    for (int k = 1; k >= 0; k--) { /* first the set that a machine may lack */
        const struct ops_options o = {
            .n_threads = b->machine.n_threads, .isa = isa[k], .tile_rows = 1};
        TRY(ops_open("cpu", &o, &b->ops[k], e));
    }
    bench_time(when);
    printf("%s; %s; %lld inputs, %lld outputs; medians of %d\n\n", b->ops[1]->dev->name, when,
           (long long)b->n_in, (long long)b->n_out, b->repeats);
    printf("| format  | rows | AVX-512, GOP/s | AMX, GOP/s | ratio |\n"
           "|---|---:|---:|---:|---:|\n");
    for (int f = 0; f < FMT_COUNT; f++) {
        const enum fmt fmt = (enum fmt)f;
        if (b->fmt < 0 ? !fmt_is_plain(fmt) && b->ops[1]->reads(b->ops[1], fmt) : b->fmt == f)
            TRY(bench_fmt(b, fmt, def, e));
    }
    TRY(str_ok(def, "the table", e));
    printf("\n%s", def->len ? def->s : "");
    return cli_flush(e);
}

static error_t parse_shape(struct bench *b, const char *arg, struct argp_state *st)
{
    long long n, k;
    char rest;
    if (sscanf(arg, "%lldx%lld%c", &n, &k, &rest) != 2 || n < 1 || n > 1 << 24 || k < 1 ||
        k > 1 << 24) {
        argp_error(st,
                   "--shape is '%s'; it takes INPUTSxOUTPUTS, each 1 to 16777216, such as "
                   "4096x14336",
                   arg);
        return EINVAL;
    }
    b->n_in = n;
    b->n_out = k;
    return 0;
}

static error_t parse_fmt(struct bench *b, const char *arg, struct argp_state *st)
{
    enum fmt fmt;
    if (!fmt_from_name(arg, &fmt) || fmt_is_plain(fmt)) {
        argp_error(st, "--fmt is '%s'; it takes a format with integer kernels, such as Q4_K", arg);
        return EINVAL;
    }
    b->fmt = (int)fmt;
    return 0;
}

static error_t parse(int key, char *arg, struct argp_state *st)
{
    struct bench *b = st->input;
    switch (key) {
    case ARGP_KEY_INIT:
        st->child_inputs[0] = &b->options;
        return 0;
    case 'f':
        return parse_fmt(b, arg, st);
    case 's':
        return parse_shape(b, arg, st);
    case 'c':
        return cli_list(st, "--rows", arg, 1, 4096, MOST_ROWS, b->rows, &b->n_rows);
    case 'r':
        return cli_int(st, "-r", arg, 1, MOST_REPEATS, &b->repeats);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int bench_tiles(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"fmt", 'f', "FORMAT", 0, "only this number format (default all with integer kernels)", 1},
        {"shape", 's', "SHAPE", 0, "INPUTSxOUTPUTS of the matrix (default 4096x4096)", 1},
        {"rows", 'c', "N,..", 0,
         "rising numbers of rows of activations (default 4,8,12,16,20,24,28,32,40,48,64,128)", 1},
        {"repetitions", 'r', "N", 0, "samples of each time (default 5)", 1},
        {0}};
    static const struct cli_row rows[] = {{.flag = "threads", .group = 2, .otherwise = "1"}};
    struct bench b = {.fmt = -1,
                      .n_in = 4096,
                      .n_out = 4096,
                      .rows = {4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 64, 128},
                      .n_rows = 12,
                      .repeats = 5};
    struct err e = {0};
    struct str def = STR_INIT;
    const struct argp_child children[] = {{&b.options.argp, 0, NULL, 1}, {0}};
    const struct argp argp = {
        options,
        parse,
        NULL,
        "Measures from how many rows on AMX's matrix tiles are faster than AVX-512, for each "
        "number format, and prints the rows of kernels/cpu/tiles_rows.def. It needs a processor "
        "with AMX.",
        children,
        NULL,
        NULL};
    cli_rows_some(&b.options, &engine_option_set, rows, sizeof rows / sizeof rows[0], &b.machine);
    b.machine.n_threads = 1;
    int done = cli_parse(&argp, argc, argv, &b);
    if (done >= 0)
        return done;
    int rc = bench_run(&b, &def, &e);
    for (int k = 0; k < 2; k++)
        ops_close(b.ops[k]);
    str_free(&def);
    return rc < 0 ? cmd_fail(&e) : 0;
}
