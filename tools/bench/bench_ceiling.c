/* mas bench ceiling: the machine's rates of moving bytes and of multiplying, with no other work.
 * Other figures are compared with these rates. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "advice.h"
#include "bench.h"
#include "cli.h"
#include "clock.h"
#include "cmd.h"
#include "mem.h"
#include "pool.h"
#include "stat.h"

enum { REPEATS = 7, READ_REPEATS = 5 };
#define HOST_BYTES ((size_t)256 << 20) /* of each array: more than any cache */
#define DEVICE_BYTES ((size_t)512 << 20)

void bench_time(char out[32])
{
    time_t now = time(NULL);
    struct tm tm;
    gmtime_r(&now, &tm);
    strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

/* ---- the host's memory ----------------------------------------------------------------------- */

struct arrays {
    double *a, *b, *c; /* (n) */
};

static void do_copy(void *arg, int64_t begin, int64_t end, int worker)
{
    const struct arrays *x = arg;
    (void)worker;
    memcpy(x->b + begin, x->a + begin, (size_t)(end - begin) * sizeof *x->a);
}

static void do_triad(void *arg, int64_t begin, int64_t end, int worker)
{
    const struct arrays *x = arg;
    (void)worker;
    for (int64_t i = begin; i < end; i++)
        x->c[i] = x->a[i] + 3.0 * x->b[i];
}

/* bytes that one run moves, over the median of a few */
static double rate(struct pool *p, struct arrays *x, int64_t n, pool_fn fn, double bytes)
{
    double s[REPEATS];
    for (int i = -1; i < REPEATS; i++) { /* the first one warms up */
        int64_t t0 = clock_ns();
        pool_run(p, n, fn, x);
        if (i >= 0)
            s[i] = (double)(clock_ns() - t0) * 1e-9;
    }
    return bytes / stat_summarize(s, REPEATS).median;
}

/* Seconds to read HOST_BYTES at p once in pattern i. */
static int read_time(struct ops *ops, int i, const void *p, double *out, struct err *e)
{
    uint64_t sum;
    int64_t t0 = clock_ns();
    TRY(ops->read(ops, i, p, HOST_BYTES, &sum, e));
    *out = (double)(clock_ns() - t0) * 1e-9;
    return 0;
}

static double read_rate(double *s)
{
    return (double)HOST_BYTES / stat_summarize(s, READ_REPEATS).median;
}

/* one: NULL where all is one thread. huge, small: HOST_BYTES of pages of 2 MiB, where the system
 * gives them, and of the usual size. All ways take turns, so that a state that the machine
 * passes through meets all of them. */
static int reads_measure(struct ops *all, struct ops *one, const void *huge, const void *small,
                         struct ceiling *out, struct err *e)
{
    double s[CEILING_READS][READ_REPEATS], s_one[CEILING_READS][READ_REPEATS];
    int n = 0;
    while (all->read_name(all, n))
        n++;
    if (2 * n > CEILING_READS)
        FAIL(e, ERR_BUG, "%d ways to read memory, at most %d", 2 * n, CEILING_READS);
    for (int k = 0; k < READ_REPEATS; k++)
        for (int i = 0; i < 2 * n; i++) {
            TRY(read_time(all, i / 2, i % 2 ? huge : small, &s[i][k], e));
            if (i % 2 && one)
                TRY(read_time(one, i / 2, huge, &s_one[i / 2][k], e));
        }
    for (int i = 0; i < 2 * n; i++) {
        struct ceiling_read *r = &out->reads[i];
        snprintf(r->name, sizeof r->name, "%s%s", all->read_name(all, i / 2),
                 i % 2 ? ", huge pages" : "");
        r->rate = read_rate(s[i]);
        if (r->rate > out->read) {
            out->read = r->rate;
            out->best_read = i;
        }
        if (i % 2 && one)
            out->read_one = fmax(out->read_one, read_rate(s_one[i / 2]));
    }
    out->read_one = one ? out->read_one : out->read;
    out->n_read = 2 * n;
    return 0;
}

/* HOST_BYTES, written once so that there are pages. Those of struct buf are huge ones if the system
 * gives them. */
static int host_array(struct ops *ops, bool huge, struct buf *out, struct err *e)
{
    struct device *dev = ops->dev;
    TRY(dev->api->alloc(dev, MEM_DEVICE, HOST_BYTES, out, e));
    if (!huge)
        /* a kernel without such pages grants none */
        (void)madvise(out->ptr, HOST_BYTES, MADV_NOHUGEPAGE);
    double *x = out->ptr;
    for (size_t i = 0; i < HOST_BYTES / sizeof *x; i++)
        x[i] = (double)i;
    return 0;
}

static int host_ceiling(int threads, struct ceiling *out, struct err *e)
{
    const struct ops_options of_all = {.n_threads = threads}, of_one = {.n_threads = 1};
    struct ops *all = NULL, *one = NULL;
    struct pool *pool = NULL;
    struct buf a = {0}, b = {0}, c = {0};
    int64_t n = (int64_t)(HOST_BYTES / sizeof(double));
    int rc = 0;
    TRY_DONE(ops_open("cpu", &of_all, &all, e));
    if ((threads ? threads : pool_cores()) > 1)
        TRY_DONE(ops_open("cpu", &of_one, &one, e));
    TRY_DONE(host_array(all, true, &a, e));
    TRY_DONE(host_array(all, false, &b, e));
    TRY_DONE(reads_measure(all, one, a.ptr, b.ptr, out, e));
    all->dev->api->free(all->dev, &b);
    TRY_DONE(host_array(all, true, &b, e));
    TRY_DONE(host_array(all, true, &c, e));
    TRY_DONE(pool_open(threads, &pool, e));
    struct arrays x = {a.ptr, b.ptr, c.ptr};
    out->copy = rate(pool, &x, n, do_copy, 2 * (double)HOST_BYTES);
    out->triad = rate(pool, &x, n, do_triad, 3 * (double)HOST_BYTES);
done:
    pool_close(pool);
    if (all) {
        all->dev->api->free(all->dev, &a);
        all->dev->api->free(all->dev, &b);
        all->dev->api->free(all->dev, &c);
    }
    ops_close(one);
    ops_close(all);
    return rc;
}

/* ---- a device's memory ----------------------------------------------------------------------- */

static int copy_rate(struct device *dev, void *to, const void *from, size_t bytes, double *out,
                     struct err *e)
{
    double s[REPEATS];
    for (int i = -1; i < REPEATS; i++) {
        TRY(dev->api->sync(dev, NULL, e));
        int64_t t0 = clock_ns();
        for (int k = 0; k < 4; k++)
            TRY(dev->api->copy(dev, NULL, to, from, bytes, e));
        TRY(dev->api->sync(dev, NULL, e));
        if (i >= 0)
            s[i] = (double)(clock_ns() - t0) / 4e9;
    }
    *out = (double)bytes / stat_summarize(s, REPEATS).median;
    return 0;
}

static int device_ceiling(struct device *dev, struct ceiling *out, struct err *e)
{
    struct buf a = {0}, b = {0}, pinned = {0};
    size_t bytes = strcmp(dev->kind, "cuda") ? (size_t)8 << 20 : DEVICE_BYTES;
    int rc = 0;
    TRY_DONE(dev->api->alloc(dev, MEM_DEVICE, bytes, &a, e));
    TRY_DONE(dev->api->alloc(dev, MEM_DEVICE, bytes, &b, e));
    TRY_DONE(dev->api->alloc(dev, MEM_PINNED, bytes, &pinned, e));
    memset(pinned.ptr, 0x5a, bytes);
    TRY_DONE(dev->api->copy(dev, NULL, a.ptr, pinned.ptr, bytes, e));
    TRY_DONE(copy_rate(dev, b.ptr, a.ptr, bytes, &out->copy, e));
    out->copy *= 2;
    TRY_DONE(copy_rate(dev, a.ptr, pinned.ptr, bytes, &out->up, e));
    TRY_DONE(copy_rate(dev, pinned.ptr, a.ptr, bytes, &out->down, e));
    out->read = out->copy; /* a kernel that only reads reaches at least this rate */
done:
    dev->api->free(dev, &pinned);
    dev->api->free(dev, &b);
    dev->api->free(dev, &a);
    return rc;
}

int ceiling_measure(struct ops *ops, int threads, struct ceiling *out, struct err *e)
{
    *out = (struct ceiling){0};
    TRY(ops->dev->is_host ? host_ceiling(threads, out, e) : device_ceiling(ops->dev, out, e));
    for (int i = 0; ops->peak && i < PEAK_COUNT; i++)
        TRY(ops->peak(ops, (enum ops_peak)i, &out->peak[i], e));
    return 0;
}

const char *const ceiling_peak_name[PEAK_COUNT] = {"f32 multiply-add", "int8 products",
                                                   "tensor cores, f16", "tensor cores, int8"};
const char *const ceiling_peak_field[PEAK_COUNT] = {"f32_gop_s", "int8_gop_s", "tensor_f16_gop_s",
                                                    "tensor_int8_gop_s"};

/* ---- the mode -------------------------------------------------------------------------------- */

struct options {
    struct engine_options machine; /* backend, threads and device */
    struct cli_rows rows;
    bool json, verbose;
};

static error_t parse(int key, char *arg, struct argp_state *st)
{
    struct options *o = st->input;
    const char *format;
    switch (key) {
    case ARGP_KEY_INIT:
        st->child_inputs[0] = &o->rows;
        return 0;
    case 'o':
        if (cli_word(st, "-o", arg, "md|json", &format))
            return EINVAL;
        o->json = !strcmp(format, "json");
        return 0;
    case 'v':
        o->verbose = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void line(const char *what, double bytes_per_second)
{
    if (bytes_per_second > 0)
        printf("| %-52s | %8.1f |\n", what, bytes_per_second * 1e-9);
}

static void print_md(const struct ops *ops, const struct ceiling *c, bool verbose)
{
    char when[32], read[80] = "read (taken as the copy's)";
    if (c->n_read)
        snprintf(read, sizeof read, "read, all threads: %s", c->reads[c->best_read].name);
    bench_time(when);
    printf("%s; %s; mas %s\n\n| %-52s | %8s |\n| %-52s | %8s |\n", ops->dev->name, when, MAS_COMMIT,
           "", "GB/s", "----------------------------------------------------", "-------:");
    line(read, c->read);
    for (int i = 0; verbose && i < c->n_read; i++) {
        snprintf(read, sizeof read, "  %s", c->reads[i].name);
        line(read, c->reads[i].rate);
    }
    line("read, one thread", c->read_one);
    line("copy, read and written", c->copy);
    line("triad, two read and one written", c->triad);
    line("pinned memory to device", c->up);
    line("device to pinned memory", c->down);
    printf("\n| %-52s | %8s |\n| %-52s | %8s |\n", "", "GOP/s",
           "----------------------------------------------------", "-------:");
    for (int i = 0; i < PEAK_COUNT; i++)
        line(ceiling_peak_name[i], c->peak[i]);
}

static void print_json(const struct ops *ops, const struct ceiling *c)
{
    struct str s = STR_INIT;
    char when[32];
    bench_time(when);
    str_addf(&s,
             "{\"bench\": \"ceiling\", \"format\": 1, \"commit\": \"%s\", \"time\": \"%s\", "
             "\"backend\": \"%s\", \"device\": ",
             MAS_COMMIT, when, ops->name);
    str_add_json(&s, ops->dev->name, strlen(ops->dev->name));
    str_addf(&s, ", \"isa\": \"%s\"", ops->isa ? ops->isa : "");
    str_adds(&s, ", \"reads\": {");
    for (int i = 0; i < c->n_read; i++)
        str_addf(&s, "%s\"%s\": %.2f", i ? ", " : "", c->reads[i].name, c->reads[i].rate * 1e-9);
    str_addf(&s, "}, \"read_how\": \"%s\"", c->n_read ? c->reads[c->best_read].name : "");
    str_addf(&s,
             ", \"read_gb_s\": %.2f, \"read_one_gb_s\": %.2f, \"copy_gb_s\": %.2f, \"triad_gb_s\": "
             "%.2f, "
             "\"up_gb_s\": %.2f, \"down_gb_s\": %.2f",
             c->read * 1e-9, c->read_one * 1e-9, c->copy * 1e-9, c->triad * 1e-9, c->up * 1e-9,
             c->down * 1e-9);
    for (int i = 0; i < PEAK_COUNT; i++)
        str_addf(&s, ", \"%s\": %.1f", ceiling_peak_field[i], c->peak[i] * 1e-9);
    str_adds(&s, "}\n");
    fputs(s.s ? s.s : "", stdout);
    str_free(&s);
}

static int check_isa(const struct ops *ops, const char *isa, struct err *e)
{
    if (strcmp(isa, "auto") != 0 && !(ops->isa && *ops->isa))
        FAIL(e, ERR_USAGE,
             "--isa %s with backend %s: its products are not those of a CPU; leave out --isa", isa,
             ops->name);
    return 0;
}

int bench_ceiling(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"output", 'o', "FORMAT", 0, "md (default) or json, which has every way to read memory", 1},
        {"verbose", 'v', NULL, 0, "every way to read memory, not only the best", 1},
        {0}};
    static const struct cli_row rows[] = {{.flag = "backend",
                                           .letter = 'B',
                                           .group = 1,
                                           .choices = "auto|cpu|cuda|cudahost",
                                           .doc = "Backend whose memory is measured.",
                                           .otherwise = "cpu"},
                                          {.flag = "isa",
                                           .group = 1,
                                           .doc = "Instruction set of the cpu backend whose "
                                                  "products are measured; auto is the best that "
                                                  "this processor has."},
                                          {.flag = "threads", .group = 1},
                                          {.flag = "device", .letter = 'd', .group = 1}};
    struct options o = {.json = false};
    const struct argp_child children[] = {{&o.rows.argp, 0, NULL, 1}, {0}};
    const struct argp argp = {options,
                              parse,
                              NULL,
                              "Measures the rates at which memory is read and copied, in "
                              "arrays larger than any cache. Measures the rate at which "
                              "the processors multiply without memory traffic. Main memory "
                              "is read in several ways: one to four streams a thread, with "
                              "and without prefetching, with and without huge pages. The "
                              "best way counts.",
                              children,
                              NULL,
                              NULL};
    struct ceiling c;
    struct ops *ops = NULL;
    struct err e = {0};
    cli_rows_some(&o.rows, &engine_option_set, rows, sizeof rows / sizeof rows[0], &o.machine);
    int done = cli_parse(&argp, argc, argv, &o);
    if (done >= 0)
        return done;
    const struct ops_options how = {
        .n_threads = o.machine.n_threads, .isa = o.machine.isa, .device = o.machine.device};
    if (ops_open(o.machine.backend, &how, &ops, &e) < 0)
        return cmd_fail(&e);
    int rc = check_isa(ops, how.isa, &e);
    if (rc == 0)
        rc = ceiling_measure(ops, how.n_threads, &c, &e);
    if (rc == 0 && o.json)
        print_json(ops, &c);
    else if (rc == 0)
        print_md(ops, &c, o.verbose);
    ops_close(ops);
    if (rc < 0)
        advice_instead(&e, "--ctx", "free memory there, or choose another --device");
    return rc < 0 ? cmd_fail(&e) : 0;
}
