/* mas bench ceiling: how fast this machine moves bytes, and multiplies, when it does nothing else. What other
 * figures are measured against. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "advice.h"
#include "bench.h"
#include "cli.h"
#include "clock.h"
#include "cmd.h"
#include "mem.h"
#include "pool.h"
#include "stat.h"

enum { REPEATS = 7 };
#define HOST_BYTES ((size_t)256 << 20)   /* of each array: more than any cache */
#define DEVICE_BYTES ((size_t)512 << 20)

void bench_time(char out[32])
{
    time_t now = time(NULL);
    struct tm tm;
    gmtime_r(&now, &tm);
    strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

/* ---- the host's memory ---------------------------------------------------------------------------- */

struct arrays {
    double *a, *b, *c; /* (n) */
    double *sum;       /* one a worker, a cache line apart */
};

static void do_read(void *arg, int64_t begin, int64_t end, int worker)
{
    const struct arrays *x = arg;
    double s[8] = {0}; /* independent sums: one chain of additions would be the limit */
    int64_t i = begin;
    for (; i + 8 <= end; i += 8)
        for (int k = 0; k < 8; k++)
            s[k] += x->a[i + k];
    for (; i < end; i++)
        s[0] += x->a[i];
    x->sum[8 * worker] = s[0] + s[1] + s[2] + s[3] + s[4] + s[5] + s[6] + s[7];
}

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

static int host_ceiling(int threads, struct ceiling *out, struct err *e)
{
    struct pool *all = NULL, *one = NULL;
    struct arrays x = {NULL, NULL, NULL, NULL};
    int64_t n = (int64_t)(HOST_BYTES / sizeof *x.a);
    int rc = 0;
    TRY_DONE(pool_open(threads, &all, e));
    TRY_DONE(pool_open(1, &one, e));
    x.a = mem_aligned(HOST_BYTES);
    x.b = mem_aligned(HOST_BYTES);
    x.c = mem_aligned(HOST_BYTES);
    x.sum = mem_zalloc(8 * (size_t)pool_threads(all), sizeof *x.sum);
    if (!x.a || !x.b || !x.c || !x.sum)
        TRY_DONE(NOMEM(e, 3 * HOST_BYTES, "the arrays of a benchmark"));
    for (int64_t i = 0; i < n; i++)
        x.a[i] = x.b[i] = x.c[i] = (double)i;
    out->read = rate(all, &x, n, do_read, (double)HOST_BYTES);
    out->copy = rate(all, &x, n, do_copy, 2 * (double)HOST_BYTES);
    out->triad = rate(all, &x, n, do_triad, 3 * (double)HOST_BYTES);
    out->read_one = rate(one, &x, n, do_read, (double)HOST_BYTES);
done:
    mem_free(x.a);
    mem_free(x.b);
    mem_free(x.c);
    mem_free(x.sum);
    pool_close(one);
    pool_close(all);
    return rc;
}

/* ---- a device's memory ---------------------------------------------------------------------------- */

static int copy_rate(struct device *dev, void *to, const void *from, size_t bytes, double *out, struct err *e)
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
    out->read = out->copy; /* what a kernel that only reads can reach is not less */
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

const char *const ceiling_peak_name[PEAK_COUNT] = {"f32 multiply-add", "int8 products", "tensor cores, f16",
                                                   "tensor cores, int8"};
const char *const ceiling_peak_field[PEAK_COUNT] = {"f32_gop_s", "int8_gop_s", "tensor_f16_gop_s",
                                                    "tensor_int8_gop_s"};

/* ---- the mode ------------------------------------------------------------------------------------- */

struct options {
    const char *backend;
    struct ops_options ops;
    bool json;
};

static error_t parse(int key, char *arg, struct argp_state *st)
{
    struct options *o = st->input;
    switch (key) {
    case 'B':
        o->backend = arg;
        return 0;
    case 't':
        return cli_int(st, "--threads", arg, 0, 256, &o->ops.n_threads);
    case 'd':
        return cli_int(st, "--device", arg, 0, 63, &o->ops.device);
    case 'o':
        if (strcmp(arg, "md") && strcmp(arg, "json")) {
            argp_error(st, "bad -o '%s': must be md or json", arg);
            return EINVAL;
        }
        o->json = !strcmp(arg, "json");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void line(const char *what, double bytes_per_second)
{
    if (bytes_per_second > 0)
        printf("| %-44s | %8.1f |\n", what, bytes_per_second * 1e-9);
}

static void print_md(const struct ops *ops, const struct ceiling *c)
{
    bool host = ops->dev->is_host;
    char when[32];
    bench_time(when);
    printf("%s; %s; mas %s\n\n| %-44s | %8s |\n| %-44s | %8s |\n", ops->dev->name, when, MAS_COMMIT, "", "GB/s",
           "--------------------------------------------", "-------:");
    line(host ? "read, all threads" : "read (taken as the copy's)", c->read);
    line("read, one thread", c->read_one);
    line("copy, read and written", c->copy);
    line("triad, two read and one written", c->triad);
    line("pinned memory to device", c->up);
    line("device to pinned memory", c->down);
    printf("\n| %-44s | %8s |\n| %-44s | %8s |\n", "", "GOP/s", "--------------------------------------------", "-------:");
    for (int i = 0; i < PEAK_COUNT; i++)
        line(ceiling_peak_name[i], c->peak[i]);
}

static void print_json(const struct ops *ops, const struct ceiling *c)
{
    struct str s = STR_INIT;
    char when[32];
    bench_time(when);
    str_addf(&s, "{\"bench\": \"ceiling\", \"format\": 1, \"commit\": \"%s\", \"time\": \"%s\", \"backend\": \"%s\", \"device\": ",
             MAS_COMMIT, when, ops->name);
    str_add_json(&s, ops->dev->name, strlen(ops->dev->name));
    str_addf(&s, ", \"read_gb_s\": %.2f, \"read_one_gb_s\": %.2f, \"copy_gb_s\": %.2f, \"triad_gb_s\": %.2f, "
             "\"up_gb_s\": %.2f, \"down_gb_s\": %.2f", c->read * 1e-9, c->read_one * 1e-9, c->copy * 1e-9,
             c->triad * 1e-9, c->up * 1e-9, c->down * 1e-9);
    for (int i = 0; i < PEAK_COUNT; i++)
        str_addf(&s, ", \"%s\": %.1f", ceiling_peak_field[i], c->peak[i] * 1e-9);
    str_adds(&s, "}\n");
    fputs(s.s ? s.s : "", stdout);
    str_free(&s);
}

int bench_ceiling(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"backend", 'B', "KIND", 0, "cpu (default), cuda or cudahost: whose memory", 1},
        {"threads", 't', "N", 0, "of the CPU, 0 = all cores (default)", 1},
        {"device", 'd', "N", 0, "GPU (default 0)", 1},
        {"output", 'o', "FORMAT", 0, "md (default) or json", 1},
        {0}};
    static const struct argp argp = {options, parse, NULL,
                                     "Measures how fast memory is read and copied, in arrays larger than any cache, and how fast the "
                                     "processors multiply when no memory is in the way.",
                                     NULL, NULL, NULL};
    struct options o = {.backend = "cpu"};
    struct ceiling c;
    struct ops *ops = NULL;
    struct err e = {0};
    int done = cli_parse(&argp, argc, argv, &o);
    if (done >= 0)
        return done;
    if (ops_open(o.backend, &o.ops, &ops, &e) < 0)
        return cmd_fail(&e);
    int rc = ceiling_measure(ops, o.ops.n_threads, &c, &e);
    if (rc == 0 && o.json)
        print_json(ops, &c);
    else if (rc == 0)
        print_md(ops, &c);
    ops_close(ops);
    if (rc < 0)
        advice_instead(&e, "--ctx", "free memory there, or choose another --device");
    return rc < 0 ? cmd_fail(&e) : 0;
}
