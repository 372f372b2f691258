/* mas bench read: reports of nsys and ncu (nsight.h) in the form of mas bench kernels (bench.h). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "cli.h"
#include "cmd.h"
#include "nsight.h"
#include "zio.h"

enum { MOST_FILES = 64 };

struct reading {
    const char *path[MOST_FILES];
    int n_path;
    const char *format;
    struct nsight x;
    struct str out;
};

/* ---- numbers that may be unknown ------------------------------------------------------------- */

static void add_number(struct str *s, const char *fmt, double v, const char *unknown)
{
    if (isnan(v))
        str_adds(s, unknown);
    else
        str_addf(s, fmt, v); /* one of the formats below */
}

static double rate(const struct nsight_row *r) /* GB/s */
{
    return r->us > 0 ? r->bytes / r->us * 1e-3 : NAN;
}

/* True if both rows stand in one report. Sorted rows of one report are neighbours. */
static bool together(const struct nsight_row *a, const struct nsight_row *b)
{
    return a->file == b->file && !strcmp(a->report, b->report);
}

/* Time of the report's rows from row i on, in us. */
static double report_us(const struct nsight *x, size_t i)
{
    double sum = 0;
    for (size_t k = i; k < x->n_row && together(&x->row[i], &x->row[k]); k++)
        sum += x->row[k].total_us;
    return sum;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void member(struct str *s, const char *name, const char *text)
{
    str_addf(s, ", \"%s\": ", name);
    if (text)
        str_add_json(s, text, strlen(text));
    else
        str_adds(s, "null");
}

static void number(struct str *s, const char *name, double v)
{
    str_addf(s, ", \"%s\": ", name);
    add_number(s, "%.9g", v, "null");
}

static const char *boolean(bool b)
{
    return b ? "true" : "false";
}

static void json_row(const struct nsight_row *r, bool first, struct str *s)
{
    str_addf(s, "%s\n  {\"op\": \"%s\"", first ? "" : ",", r->op);
    member(s, "case", r->call);
    member(s, "kernel", r->kernel);
    number(s, "us", r->us);
    number(s, "us_p5", r->us_p5);
    number(s, "us_p95", r->us_p95);
    str_adds(s, ", \"warm_us\": null");
    number(s, "bytes", r->bytes);
    str_adds(s, ", \"ops\": null");
    number(s, "gb_s", rate(r));
    str_adds(s, ", \"gop_s\": null");
    number(s, "share", r->share);
    str_adds(s, ", \"noisy\": null, \"best\": null, \"picked\": null, \"error\": null");
    number(s, "calls", r->calls);
    number(s, "total_us", r->total_us);
    str_addf(s, ", \"mean\": %s, \"part\": %s", boolean(r->mean), boolean(r->function));
    member(s, "instance", r->instance);
    member(s, "launch", r->launch);
    member(s, "range", r->range);
    member(s, "function", r->function);
    member(s, "report", r->report);
    str_addc(s, '}');
}

static void print_json(struct reading *b)
{
    struct str *s = &b->out;
    str_adds(s, "{\"bench\": \"kernels\", \"format\": 1, \"commit\": null, \"time\": null, "
                "\"backend\": \"cuda\", \"device\": null, \"threads\": null, \"emulated\": false, "
                "\"ceiling\": null,\n \"files\": [");
    for (int i = 0; i < b->n_path; i++) {
        str_adds(s, i ? ", " : "");
        str_add_json(s, b->path[i], strlen(b->path[i]));
    }
    str_addf(s, "], \"left_out\": {\"rows\": %zu, \"us\": %.9g},\n \"rows\": [", b->x.n_other,
             b->x.other_us);
    for (size_t i = 0; i < b->x.n_row; i++)
        json_row(&b->x.row[i], i == 0, s);
    str_adds(s, "\n ],\n \"ranges\": [");
    for (size_t i = 0; i < b->x.n_range; i++) {
        const struct nsight_range *g = &b->x.range[i];
        str_adds(s, i ? ",\n  {\"name\": " : "\n  {\"name\": ");
        str_add_json(s, g->name, strlen(g->name));
        number(s, "calls", g->calls);
        number(s, "us", g->us);
        number(s, "total_us", g->total_us);
        str_addf(s, ", \"mean\": %s", boolean(g->mean));
        member(s, "report", g->report);
        str_addc(s, '}');
    }
    str_adds(s, "\n ]}\n");
}

/* ---- CSV ------------------------------------------------------------------------------------- */

static void cell(struct str *s, const char *text)
{
    str_addc(s, ',');
    if (!text)
        return;
    if (!strpbrk(text, ",\"\r\n")) {
        str_adds(s, text);
        return;
    }
    str_addc(s, '"');
    for (; *text; text++) {
        str_adds(s, *text == '"' ? "\"" : "");
        str_addc(s, *text);
    }
    str_addc(s, '"');
}

static void value(struct str *s, double v)
{
    str_addc(s, ',');
    add_number(s, "%.9g", v, "");
}

static void print_csv(struct reading *b)
{
    struct str *s = &b->out;
    str_adds(s, "op,case,kernel,us,us_p5,us_p95,warm_us,gb_s,gop_s,share,noisy,best,picked,error,"
                "calls,total_us,mean,part,instance,launch,range,function,report\n");
    for (size_t i = 0; i < b->x.n_row; i++) {
        const struct nsight_row *r = &b->x.row[i];
        str_adds(s, r->op);
        cell(s, r->call);
        cell(s, r->kernel);
        value(s, r->us);
        value(s, r->us_p5);
        value(s, r->us_p95);
        str_addc(s, ',');
        value(s, rate(r));
        str_addc(s, ',');
        value(s, r->share);
        str_adds(s, ",,,,");
        value(s, r->calls);
        value(s, r->total_us);
        str_addf(s, ",%d,%d", r->mean, r->function != NULL);
        cell(s, r->instance);
        cell(s, r->launch);
        cell(s, r->range);
        cell(s, r->function);
        cell(s, r->report);
        str_addc(s, '\n');
    }
}

/* ---- Markdown -------------------------------------------------------------------------------- */

/* Texts of the file, without bytes that would break the table or the terminal. */
static void safe(struct str *s, const char *text)
{
    for (; *text; text++)
        str_addc(s, (unsigned char)*text < 0x20 || *text == 0x7f || *text == '|' ? '?' : *text);
}

static void padded(struct str *s, const char *fmt, int width, double v)
{
    struct str t = STR_INIT;
    add_number(&t, fmt, v, "");
    str_addf(s, " %*s |", width, t.s);
    s->failed |= t.failed;
    str_free(&t);
}

static void named(struct str *s, const char *text, const char *more, int width)
{
    size_t from = s->len + 1;
    str_adds(s, " ");
    safe(s, text ? text : "");
    if (more) {
        str_addc(s, '<');
        safe(s, more);
        str_addc(s, '>');
    }
    while (s->len - from < (size_t)width && !s->failed)
        str_addc(s, ' ');
    str_adds(s, " |");
}

static void print_md(struct reading *b)
{
    struct str *s = &b->out;
    bool mean = false;
    double sum = 0;
    str_addf(s, "| %-9s | %-34s | %-24s | %10s | %23s | %7s | %6s | %7s | %10s | %6s | %-20s |\n",
             "op", "case", "kernel", "us", "p5 .. p95", "GB/s", "% peak", "calls", "total ms",
             "% time", "report");
    str_adds(s, "| --------- | ---------------------------------- | ------------------------ | "
                "---------: | ----------------------: | ------: | -----: | ------: | ---------: | "
                "-----: | -------------------- |\n");
    for (size_t i = 0; i < b->x.n_row; i++) {
        const struct nsight_row *r = &b->x.row[i];
        char us[32], spread[48] = "";
        if (i == 0 || !together(r - 1, r))
            sum = report_us(&b->x, i);
        mean |= r->mean;
        snprintf(us, sizeof us, "%.1f%s", r->us, r->mean ? " m" : "");
        if (!isnan(r->us_p5))
            snprintf(spread, sizeof spread, "%.1f .. %.1f", r->us_p5, r->us_p95);
        str_addf(s, "| %-9s |", r->op);
        named(s, r->call, NULL, 34);
        named(s, r->kernel ? r->kernel : r->function, r->kernel ? r->instance : NULL, 24);
        str_addf(s, " %10s | %23s |", us, spread);
        padded(s, "%.2f", 7, rate(r));
        padded(s, "%.1f", 6, 100 * r->share);
        padded(s, "%.0f", 7, r->calls);
        padded(s, "%.3f", 10, r->total_us * 1e-3);
        padded(s, "%.1f", 6, sum > 0 ? 100 * r->total_us / sum : NAN);
        named(s, r->report, NULL, 20);
        str_addc(s, '\n');
    }
    if (b->x.n_range) {
        str_addf(s, "\n| %-24s | %10s | %7s | %10s | %-20s |\n", "range", "us", "calls", "total ms",
                 "report");
        str_adds(s, "| ------------------------ | ---------: | ------: | ---------: | "
                    "-------------------- |\n");
    }
    for (size_t i = 0; i < b->x.n_range; i++) {
        const struct nsight_range *g = &b->x.range[i];
        char us[32];
        mean |= g->mean;
        snprintf(us, sizeof us, "%.1f%s", g->us, g->mean ? " m" : "");
        str_addc(s, '|');
        named(s, g->name, NULL, 24);
        str_addf(s, " %10s |", us);
        padded(s, "%.0f", 7, g->calls);
        padded(s, "%.3f", 10, g->total_us * 1e-3);
        named(s, g->report, NULL, 20);
        str_addc(s, '\n');
    }
    str_addf(s,
             "\nus: median%s. %% peak: of the memory's peak rate. %% time: of the report's rows. "
             "No kernel: the whole call of an op.\n",
             mean ? ", or the mean (m) where the report has no median" : "");
    if (b->x.n_other)
        str_addf(s, "Left out, rows of other programs and libraries: %zu, %.3f ms.\n", b->x.n_other,
                 b->x.other_us * 1e-3);
}

/* ---- the mode -------------------------------------------------------------------------------- */

/* Files as given; calls of ops before kernels; in a report the longest total first. */
static int order(const void *pa, const void *pb)
{
    const struct nsight_row *a = pa, *b = pb;
    int d = a->file - b->file;
    d = d ? d : (a->function != NULL) - (b->function != NULL);
    d = d ? d : strcmp(a->report, b->report);
    d = d ? d : (a->total_us < b->total_us) - (a->total_us > b->total_us);
    d = d ? d : strcmp(a->op, b->op);
    d = d ? d : strcmp(a->call ? a->call : "", b->call ? b->call : "");
    return d ? d : strcmp(a->function ? a->function : "", b->function ? b->function : "");
}

static int bench_files(struct reading *b, struct err *e)
{
    for (int i = 0; i < b->n_path; i++) {
        struct str text = STR_INIT;
        int rc = zio_read(b->path[i], (size_t)64 << 20, &text, e);
        if (rc == 0)
            rc = nsight_read(&b->x, text.s, text.len,
                             strcmp(b->path[i], "-") ? b->path[i] : "standard input", e);
        str_free(&text);
        TRY(rc);
    }
    if (b->x.n_row)
        qsort(b->x.row, b->x.n_row, sizeof *b->x.row, order);
    if (!strcmp(b->format, "json"))
        print_json(b);
    else if (!strcmp(b->format, "csv"))
        print_csv(b);
    else
        print_md(b);
    TRY(str_ok(&b->out, "a table", e));
    fwrite(b->out.s, 1, b->out.len, stdout);
    return cli_flush(e);
}

static error_t parse(int key, char *arg, struct argp_state *st)
{
    struct reading *b = st->input;
    switch (key) {
    case 'o':
        return cli_word(st, "-o", arg, "md|csv|json", &b->format);
    case ARGP_KEY_ARG:
        if (b->n_path == MOST_FILES) {
            argp_error(st, "more than %d files", MOST_FILES);
            return EINVAL;
        }
        b->path[b->n_path++] = arg;
        return 0;
    case ARGP_KEY_END:
        if (b->n_path)
            return 0;
        argp_error(st, "a file is needed: the output of nsys stats or ncu --csv; - is standard "
                       "input");
        return EINVAL;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int bench_read(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"output", 'o', "FORMAT", 0, "md (default), csv or json", 1}, {0}};
    static const struct argp argp = {
        options,
        parse,
        "FILE..",
        "Reads reports of nsys (nsys stats --format csv) and of ncu (ncu --csv) into the table of "
        "mas bench kernels. Its JSON is a side of mas bench compare.",
        NULL,
        NULL,
        NULL};
    struct reading b = {.format = "md", .out = STR_INIT};
    struct err e = {0};
    int done = cli_parse(&argp, argc, argv, &b);
    if (done >= 0)
        return done;
    int rc = bench_files(&b, &e);
    nsight_free(&b.x);
    str_free(&b.out);
    return rc < 0 ? cmd_fail(&e) : 0;
}
