/*
 * mas bench kernels: every kernel on every case, or on the matrices of a model, beside the memory's
 * rate in the same run. Cold: copies of the operands that no cache holds together take turns. Warm:
 * the same operands again and again. On the CPU a kernel is an instruction set. matmul is the only
 * op named here, because its shapes can be given.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "advice.h"
#include "bench_html.h"
#include "bench_oracle.h"
#include "case.h"
#include "check.h"
#include "cli.h"
#include "clock.h"
#include "cmd.h"
#include "energy.h"
#include "kernel_row.h"
#include "mem.h"
#include "model_calls.h"
#include "pool.h"
#include "stat.h"

enum { MOST_COPIES = 64, MOST_KERNELS = 16, MOST_COLUMNS = 16, MOST_REPEATS = 1000 };
enum { RECORDED = 64 };                /* calls of a recording, at least, */
static const double recorded_s = 5e-3; /* or so many seconds of them */
#define SPREAD ((size_t)256 << 20)     /* bytes that no cache holds */
#define ROOM ((size_t)2 << 30)         /* of all copies together */
/* a warm sample is at least so long: a clock's resolution does not show */
static const double sample_s = 1e-3;

struct bench {
    const char *op, *shape, *variant, *format;
    int fmt; /* enum fmt, or -1 = all of the case's */
    int columns[MOST_COLUMNS], n_columns;
    struct {
        int columns;         /* of one matrix; 0 = a model's calls */
        int64_t n_in, n_out; /* of it */
        struct model_call call[MODEL_CALLS];
        int n_call;
    } matrices; /* of shape */
    int repeats;
    bool refcheck;
    struct engine_options machine; /* backend, threads and device */
    struct cli_rows rows;
    /* while it runs */
    struct ops_options ops;
    struct ops *open[MOST_KERNELS]; /* one for each instruction set of the CPU, else one */
    const char *open_name[MOST_KERNELS];
    char isa[MOST_KERNELS][16]; /* names of instruction sets */
    int n_open;
    struct ops *ref;
    struct ceiling ceiling;
    bool no_ceiling; /* it is not measured */
    struct kernel_sheet sheet;
    struct energy energy;
    struct energy_span spent;    /* by all rows */
    bool emulated;               /* a GPU's kernels, run by the host */
    int n_failed;                /* of them */
    uint64_t key;                /* of recordings */
    int n_times;                 /* of the model's matrix being measured: uses in a decode step */
    struct bench_result *result; /* (n_result), for a page */
    size_t n_result, cap_result;
};

/* ---- one kernel ------------------------------------------------------------------------------ */

/* Number of calls of one sample, on n copies of the case in turn. */
struct calls {
    const struct op_case *c;
    struct case_device *d;
    int n, rounds;
};

static int call_all(const struct calls *l, struct ops *ops, struct err *e)
{
    for (int i = 0; i < l->n * l->rounds; i++)
        TRY(l->c->run(l->c, l->d[i % l->n].dev, ops, NULL, e));
    return 0;
}

/* Records the calls if the backend can. There are enough rounds that neither launches nor the wait
 * for their end count. call_s: seconds of a call, about. key 0: no recording, one round. */
static int record(struct bench *b, struct calls *l, struct ops *ops, double call_s, uint64_t *key,
                  struct err *e)
{
    *key = 0;
    l->rounds = 1;
    if (!ops->record_begin)
        return 0;
    const double most = recorded_s / (call_s + 1e-9);
    const int calls = most < RECORDED ? (int)most + 1 : RECORDED;
    if (!b->emulated && l->n < calls)
        l->rounds = (calls + l->n - 1) / l->n;
    TRY(ops->record_begin(ops, NULL, e));
    int rc = call_all(l, ops, e);
    if (rc == 0)
        *key = ++b->key;
    int end = ops->record_end(ops, NULL, *key, rc ? NULL : e);
    return rc < 0 ? rc : end;
}

/* Seconds of a call. */
static int pass(const struct calls *l, struct ops *ops, uint64_t key, double *seconds,
                struct err *e)
{
    struct device *dev = ops->dev;
    TRY(dev->api->sync(dev, NULL, e));
    int64_t t0 = clock_ns();
    if (key) {
        int rc = ops->replay(ops, NULL, key, e);
        if (rc <= 0)
            return rc < 0 ? rc : err_set(e, ERR_BUG, "a recording of %s is lost", l->c->name);
    } else {
        TRY(call_all(l, ops, e));
    }
    TRY(dev->api->sync(dev, NULL, e));
    *seconds = (double)(clock_ns() - t0) * 1e-9 / (l->n * l->rounds);
    return 0;
}

static int time_cold(struct bench *b, const struct op_case *c, struct case_device *d, int n,
                     struct kernel_row *r, struct err *e)
{
    struct calls l = {c, d, n, 1};
    double s[MOST_REPEATS], first;
    uint64_t key;
    TRY(pass(&l, r->ops, 0, &first, e)); /* loads the kernels */
    TRY(pass(&l, r->ops, 0, &first, e));
    TRY(record(b, &l, r->ops, first, &key, e));
    TRY(pass(&l, r->ops, key, &first, e)); /* warms up what is not memory */
    for (int i = 0; i < b->repeats; i++)
        TRY(pass(&l, r->ops, key, &s[i], e));
    r->cold = stat_summarize(s, (size_t)b->repeats);
    return 0;
}

static int time_warm(struct bench *b, const struct op_case *c, struct case_device *d,
                     struct kernel_row *r, struct err *e)
{
    struct calls l = {c, d, 1, 1};
    double s[MOST_REPEATS], one;
    uint64_t key;
    TRY(record(b, &l, r->ops, r->cold.median, &key, e));
    TRY(pass(&l, r->ops, key, &one, e));
    one *= l.rounds;
    int calls = one < sample_s ? (int)(sample_s / (one + 1e-9)) + 1 : 1;
    for (int i = 0; i < b->repeats; i++) {
        double sum = 0, t;
        for (int k = 0; k < calls; k++) {
            TRY(pass(&l, r->ops, key, &t, e));
            sum += t;
        }
        s[i] = sum / calls;
    }
    r->warm = stat_summarize(s, (size_t)b->repeats).median;
    return 0;
}

/* ---- one case -------------------------------------------------------------------------------- */

static size_t case_bytes(const struct op_case *c)
{
    size_t sum = 1;
    for (int i = 0; i < c->n_buf; i++)
        sum += c->buf[i].bytes;
    return sum;
}

static int copies_of(const struct op_case *c)
{
    size_t bytes = case_bytes(c), n = SPREAD / bytes + 1;
    n = n < MOST_COPIES ? n : MOST_COPIES;
    while (n > 1 && n * bytes > ROOM)
        n--;
    return (int)n;
}

static int measure_with(struct bench *b, const struct op_case *plain, enum op op,
                        struct kernel_row *r, void *want[CASE_BUFS], struct err *e)
{
    struct op_case packed = *plain, *c = &packed; /* weights as the engine places them */
    struct case_device d[MOST_COPIES] = {{0}};
    int n = b->emulated ? 1 : copies_of(c), made = 0, rc = 0;
    if (r->variant >= 0)
        r->ops->variant_force(r->ops, op, r->variant);
    while (made < n && rc == 0) {
        rc = case_upload(c, r->ops, 0, &d[made++], e);
        if (rc == 0)
            rc = case_pack(c, &d[made - 1], e);
    }
    if (rc == 0) /* plainly first: ERR_NODEV when this kernel cannot do it */
        rc = c->run(c, d[made - 1].dev, r->ops, NULL, e);
    if (rc == 0)
        rc = time_cold(b, c, d, n, r, e);
    if (rc == 0)
        rc = time_warm(b, c, d, r, e);
    if (r->variant >= 0) { /* the kernel that a call takes when none is forced */
        r->ops->variant_force(r->ops, op, -1);
        if (rc == 0)
            rc = case_run(c, &d[made - 1], e);
        r->picked = rc == 0 && r->ops->variant_taken(r->ops, op) == r->variant;
        r->ops->variant_force(r->ops, op, r->variant);
    }
    while (made > 0)
        case_release(&d[--made]);
    r->error = NAN;
    if (rc == 0 && b->refcheck)
        rc = oracle_check(c, op, r->ops, want, &r->error, e);
    if (r->variant >= 0)
        r->ops->variant_force(r->ops, op, -1);
    return rc;
}

/* After a failure: an error that the device keeps ends the run. */
static int still_answers(struct ops *ops, const struct op_case *c, const struct kernel_row *r,
                         struct err *e)
{
    struct err why = {0};
    int rc = ops->dev->api->sync(ops->dev, NULL, &why);
    if (rc < 0)
        FAIL(e, rc, "%s: %s: the device stopped, and no other kernel was measured: %s", c->name,
             r->kernel, why.msg);
    return 0;
}

/* All kernels that can do the case, into row; *n of them, the failed ones included. */
static int measure_all(struct bench *b, const struct op_case *c, enum op op, struct kernel_row *row,
                       int *n, void *want[CASE_BUFS], struct err *e)
{
    *n = 0;
    for (int o = 0; o < b->n_open; o++) {
        struct ops *ops = b->open[o];
        int variants = ops->variants ? ops->variants(ops, op) : 0;
        for (int v = variants ? 0 : -1; v < variants && *n < MOST_KERNELS; v++) {
            struct kernel_row *r = &row[*n];
            *r = (struct kernel_row){.ops = ops, .variant = v};
            snprintf(r->kernel, sizeof r->kernel, "%s",
                     v >= 0 ? ops->variant_name(ops, op, v) : b->open_name[o]);
            if (b->variant && strcmp(b->variant, r->kernel))
                continue;
            struct err why = {0};
            int rc = measure_with(b, c, op, r, want, &why);
            if (rc == ERR_NODEV) { /* it cannot do the case */
                TRY(still_answers(ops, c, r, e));
                continue;
            }
            ++*n;
            if (rc == 0 && !isnan(r->error) && !(r->error <= 1))
                rc = err_set(&why, ERR_IO, "differs from the oracle by %.3g times the tolerance",
                             r->error);
            if (rc < 0) {
                r->failed = why;
                r->failed.code = rc;
                TRY(still_answers(ops, c, r, e));
            }
        }
    }
    return 0;
}

/* ---- output ---------------------------------------------------------------------------------- */

/* For the page at the end. */
static int keep(struct bench *b, enum op op, const struct op_case *c, const struct kernel_row *r,
                struct err *e)
{
    if (r->failed.code) {
        kernel_row_failed(&b->sheet, op, c, r);
        b->sheet.n_row++;
        return 0;
    }
    TRY(mem_grow(&b->result, &b->cap_result, b->n_result + 1, sizeof *b->result,
                 "the results of a benchmark", e));
    struct bench_result *k = &b->result[b->n_result++];
    *k = (struct bench_result){.us = r->cold.median * 1e6,
                               .us_p5 = r->cold.p5 * 1e6,
                               .us_p95 = r->cold.p95 * 1e6,
                               .warm_us = r->warm * 1e6,
                               .bytes = c->bytes,
                               .ops = c->flops,
                               .error = r->error,
                               .share = kernel_row_share(&b->sheet, c, r),
                               .noisy = kernel_row_noisy(r),
                               .best = r->best,
                               .picked = r->picked,
                               .columns = op == OP_matmul ? c->args.matmul.n_row : 0,
                               .times = b->n_times};
    snprintf(k->op, sizeof k->op, "%s", ops_op_name(op));
    snprintf(k->name, sizeof k->name, "%s", c->name);
    snprintf(k->kernel, sizeof k->kernel, "%s", r->kernel);
    b->sheet.n_row++;
    return 0;
}

/* Marks the fastest, and what a call takes unforced: of the CPU's instruction sets the last. Failed
 * kernels have no mark. */
static void judge(const struct bench *b, struct kernel_row *r, int n, int *best, int *picked)
{
    *best = -1;
    *picked = r[n - 1].variant < 0 ? n - 1 : -1;
    for (int i = 0; i < n; i++) {
        if (r[i].failed.code)
            continue;
        *best = *best < 0 || r[i].cold.median < r[*best].cold.median ? i : *best;
        *picked = r[i].picked ? i : *picked;
    }
    if (*picked >= 0 && r[*picked].failed.code)
        *picked = -1;
    for (int i = 0; i < n; i++) {
        r[i].best = i == *best;
        r[i].picked = i == *picked && !b->variant;
    }
}

static int print_case(struct bench *b, enum op op, const struct op_case *c, struct kernel_row *r,
                      int n, struct err *e)
{
    int best, picked;
    judge(b, r, n, &best, &picked);
    for (int i = 0; i < n; i++) {
        b->n_failed += r[i].failed.code != 0;
        if (!strcmp(b->format, "html"))
            TRY(keep(b, op, c, &r[i], e));
        else
            kernel_row_print(&b->sheet, op, c, &r[i]);
    }
    TRY(cli_flush(e));
    if (!b->emulated && !b->variant && picked >= 0 && r[picked].cold.p5 > r[best].cold.p95)
        fprintf(stderr, "mas: %s [%s]: %s is picked and %.2f times as slow as %s\n",
                ops_op_name(op), c->name, r[picked].kernel,
                r[picked].cold.median / r[best].cold.median, r[best].kernel);
    return 0;
}

/* Reports a case that cannot be made, or that the oracle cannot compute; the run goes on. */
static int no_case(struct bench *b, enum op op, const struct op_case *c, const char *part, int rc,
                   const struct err *why, struct err *e)
{
    struct kernel_row r = {.failed = *why, .error = (double)NAN};
    r.failed.code = rc;
    snprintf(r.kernel, sizeof r.kernel, "%s", part);
    return print_case(b, op, c, &r, 1, e);
}

static int bench_case(struct bench *b, enum op op, const struct op_case *c, struct err *e)
{
    struct kernel_row row[MOST_KERNELS];
    void *want[CASE_BUFS] = {NULL};
    struct err why = {0};
    int n = 0, rc = 0;
    if (b->refcheck)
        rc = oracle_results(b->ref, c, op, want, &why);
    rc = rc < 0 ? no_case(b, op, c, "the oracle", rc, &why, e)
                : measure_all(b, c, op, row, &n, want, e);
    for (int i = 0; i < CASE_BUFS; i++)
        mem_free(want[i]);
    /* the device may have stopped: the rows before are printed */
    int end = n ? print_case(b, op, c, row, n, rc ? NULL : e) : 0;
    return rc ? rc : end;
}

static int print_page(const struct bench *b, struct err *e)
{
#define EMULATED "A GPU's kernels, run by the host: these times say nothing about a GPU."
#define FAILED "Some kernels failed and have no row."
    static const char *const note[2][2] = {{"", FAILED}, {EMULATED, EMULATED " " FAILED}};
    struct str s = STR_INIT;
    char title[96];
    snprintf(title, sizeof title, "mas bench kernels%s%s", b->shape ? ", matrices of " : "",
             b->shape ? b->shape : "");
    const struct bench_page p = {.title = title,
                                 .device = b->open[b->n_open - 1]->dev->name,
                                 .threads = cli_threads(b->machine.backend, b->ops.n_threads),
                                 .note = note[b->emulated][b->n_failed != 0],
                                 .ceiling = b->ceiling,
                                 .row = b->result,
                                 .n_row = b->n_result};
    bench_html(&p, &s);
    int rc = str_ok(&s, "a page", e);
    if (rc == 0)
        fwrite(s.s, 1, s.len, stdout);
    str_free(&s);
    return rc;
}

/* ---- which cases ----------------------------------------------------------------------------- */

static int bench_shape(struct bench *b, int columns, int64_t n_in, int64_t n_out,
                       enum matmul_epilogue epilogue, struct err *e)
{
    struct op_case c = {0};
    struct err why = {0};
    int rc = case_matmul_shape(&c, b->fmt < 0 ? FMT_Q4_K : (enum fmt)b->fmt, columns, n_in, n_out,
                               epilogue, &why);
    if (rc == ERR_USAGE)
        *e = why;
    else if (rc < 0)
        rc = no_case(b, OP_matmul, &c, "the case", rc, &why, e);
    else
        rc = bench_case(b, OP_matmul, &c, e);
    case_free(&c);
    return rc;
}

static int bench_call(struct bench *b, const struct matmul_call *call, int columns, struct err *e)
{
    struct op_case c = {0};
    struct err why = {0};
    int rc = case_matmul_call(&c, call, columns, &why);
    if (rc == ERR_USAGE)
        *e = why;
    else if (rc < 0)
        rc = no_case(b, OP_matmul, &c, "the case", rc, &why, e);
    else
        rc = bench_case(b, OP_matmul, &c, e);
    case_free(&c);
    return rc;
}

static int bench_shapes(struct bench *b, struct err *e)
{
    if (b->matrices.columns)
        return bench_shape(b, b->matrices.columns, b->matrices.n_in, b->matrices.n_out, EPI_STORE,
                           e);
    for (int i = 0; i < b->matrices.n_call; i++) {
        const struct model_call *call = &b->matrices.call[i];
        b->n_times = call->times;
        for (int c = 0; c < b->n_columns; c++)
            TRY(bench_call(b, &call->call, b->columns[c], e));
    }
    return 0;
}

/* The cases of the tests: large ones; where a GPU's kernels are run by the host, small ones. */
static int bench_registry(struct bench *b, struct err *e)
{
    for (int op = 0; op < OP_COUNT; op++) {
        if (b->op && strcmp(b->op, ops_op_name((enum op)op)))
            continue;
        for (int i = 0; i < case_registry[op]->n; i++) {
            struct op_case c = {0};
            struct err why = {0};
            if (case_registry[op]->bench(i) == b->emulated)
                continue;
            int rc = case_registry[op]->make(i, &c, &why);
            const char *fmt = b->fmt < 0 ? "" : fmt_info((enum fmt)b->fmt)->name;
            if (rc < 0)
                rc = no_case(b, (enum op)op, &c, "the case", rc, &why, e);
            else if (!strncmp(c.name, fmt, strlen(fmt)))
                rc = bench_case(b, (enum op)op, &c, e);
            case_free(&c);
            TRY(rc);
        }
    }
    return 0;
}

/* ---- the options, checked before anything is measured ---------------------------------------- */

/* --shape: a model, or COLUMNSxN_INxN_OUT. */
static int check_shape(struct bench *b, struct err *e)
{
    long long m, n, k;
    char rest;
    if (b->op && strcmp(b->op, ops_op_name(OP_matmul)) != 0)
        FAIL(e, ERR_USAGE, "--shape has matrices of matmul, and --op is %s; leave out one of them",
             b->op);
    if (sscanf(b->shape, "%lldx%lldx%lld%c", &m, &n, &k, &rest) == 3) {
        if (m < 1 || m > 65536 || n < 1 || n > 1 << 24 || k < 1 || k > 1 << 24)
            FAIL(e, ERR_USAGE,
                 "--shape is '%s'; it takes 1 to 65536 columns, 1 to 16777216 inputs and outputs",
                 b->shape);
        b->matrices.columns = (int)m;
        b->matrices.n_in = n;
        b->matrices.n_out = k;
        return case_matmul_row(b->fmt < 0 ? FMT_Q4_K : (enum fmt)b->fmt, n, e);
    }
    TRY(model_calls(b->shape, b->fmt, b->matrices.call, &b->matrices.n_call, e));
    if (!b->matrices.n_call)
        FAIL(e, ERR_USAGE,
             "--shape is '%s'; it takes 8b, 70b or a model of mas fit --shape, or "
             "COLUMNSxINPUTSxOUTPUTS, such as 8x4096x14336",
             b->shape);
    for (int i = 0; i < b->matrices.n_call; i++) {
        const struct matmul_call *call = &b->matrices.call[i].call;
        for (int k_out = 0; k_out < call->n_out; k_out++)
            TRY(case_matmul_row(call->fmt[k_out], call->n_in, e));
    }
    return 0;
}

/* Adds the name to the list "a, b" once. */
static void add_name(struct str *list, const char *name)
{
    const size_t n = strlen(name);
    for (const char *s = list->s; s && *s; s += strspn(s, ", ")) {
        size_t word = strcspn(s, ",");
        if (word == n && !memcmp(s, name, n))
            return;
        s += word;
    }
    str_addf(list, "%s%s", list->len ? ", " : "", name);
}

/* --variant is a kernel of an op that is measured. */
static int check_variant(const struct bench *b, struct err *e)
{
    const char *of = b->shape ? ops_op_name(OP_matmul) : b->op;
    struct str list = STR_INIT;
    bool found = false;
    for (int op = 0; op < OP_COUNT; op++) {
        if (of && strcmp(of, ops_op_name((enum op)op)) != 0)
            continue;
        for (int o = 0; o < b->n_open; o++) {
            const struct ops *ops = b->open[o];
            const int n = ops->variants ? ops->variants(ops, (enum op)op) : 0;
            for (int v = n ? 0 : -1; v < n; v++) {
                const char *name = v < 0 ? b->open_name[o] : ops->variant_name(ops, (enum op)op, v);
                add_name(&list, name);
                found |= !strcmp(name, b->variant);
            }
        }
    }
    int rc = str_ok(&list, "the names of kernels", e);
    if (rc == 0 && !found)
        rc = err_set(e, ERR_USAGE, "unknown --variant '%s'; kernels of %s on backend %s: %s",
                     b->variant, of ? of : "all ops", b->machine.backend, list.s);
    str_free(&list);
    return rc;
}

/* ---- the mode -------------------------------------------------------------------------------- */

static int open_cpu(struct bench *b, struct err *e)
{
    size_t n;
    for (int i = 1;; i++) { /* after "auto" */
        const char *isa = option_choice(OPS_ISAS, i, &n);
        struct ops_options o = b->ops;
        if (!n)
            return 0;
        CHECK(b->n_open < MOST_KERNELS && n < sizeof b->isa[0]);
        snprintf(b->isa[b->n_open], sizeof b->isa[0], "%.*s", (int)n, isa);
        o.isa = b->isa[b->n_open];
        int rc = ops_open("cpu", &o, &b->open[b->n_open], e);
        if (rc == ERR_NODEV)
            continue;
        TRY(rc);
        b->open_name[b->n_open++] = o.isa;
    }
}

static int bench_open(struct bench *b, struct err *e)
{
    if (b->refcheck)
        TRY(ops_open("ref", NULL, &b->ref, e));
    if (!strcmp(b->machine.backend, "cpu")) {
        TRY(open_cpu(b, e));
    } else {
        TRY(ops_open(b->machine.backend, &b->ops, &b->open[0], e));
        b->open_name[b->n_open++] = b->machine.backend;
    }
    const struct device *dev = b->open[0]->dev;
    b->emulated = !strcmp(dev->kind, "cudahost");
    if (b->variant)
        TRY(check_variant(b, e));
    TRY(energy_open(&b->energy, dev->kind, dev->pci, &dev->ordinal, e));
    b->sheet = (struct kernel_sheet){.format = b->format,
                                     .ceiling = &b->ceiling,
                                     .ops = b->open[b->n_open - 1],
                                     .threads = cli_threads(b->machine.backend, b->ops.n_threads),
                                     .emulated = b->emulated};
    return b->no_ceiling
               ? 0
               : ceiling_measure(b->open[b->n_open - 1], b->ops.n_threads, &b->ceiling, e);
}

static int bench_run(struct bench *b, struct err *e)
{
    if (b->no_ceiling && !strcmp(b->format, "html"))
        FAIL(e, ERR_USAGE, "-o html draws the memory's rates; leave out --no-ceiling");
    if (b->shape)
        TRY(check_shape(b, e));
    TRY(bench_open(b, e));
    energy_begin(&b->energy);
    int rc = b->shape ? bench_shapes(b, e) : bench_registry(b, e);
    energy_end(&b->energy, &b->spent);
    if (b->sheet.n_row)
        kernel_sheet_end(&b->sheet, &b->spent);
    if (!strcmp(b->format, "html") && b->sheet.n_row) {
        int page = print_page(b, rc ? NULL : e);
        rc = rc ? rc : page;
    }
    TRY(rc);
    if (!b->sheet.n_row)
        FAIL(e, ERR_USAGE, "no case and kernel of that description; see --help");
    if (b->n_failed)
        FAIL(e, ERR_ITEMS, "%d kernel%s of %d failed: see %s message%s", b->n_failed,
             b->n_failed == 1 ? "" : "s", b->sheet.n_row, b->n_failed == 1 ? "its" : "their",
             b->n_failed == 1 ? "" : "s");
    return cli_flush(e);
}

static error_t parse_op(struct bench *b, const char *arg, struct argp_state *st)
{
    for (int op = 0; op < OP_COUNT; op++)
        if (!strcmp(arg, ops_op_name((enum op)op))) {
            b->op = arg;
            return 0;
        }
    struct str list = STR_INIT;
    for (int op = 0; op < OP_COUNT; op++)
        add_name(&list, ops_op_name((enum op)op));
    argp_error(st, "unknown --op '%s'; ops: %s", arg, list.s ? list.s : "");
    str_free(&list);
    return EINVAL;
}

static error_t parse_fmt(struct bench *b, const char *arg, struct argp_state *st)
{
    enum fmt fmt;
    if (fmt_from_name(arg, &fmt)) {
        b->fmt = (int)fmt;
        return 0;
    }
    struct str list = STR_INIT;
    for (int f = 0; f < FMT_COUNT; f++)
        add_name(&list, fmt_info((enum fmt)f)->name);
    argp_error(st, "unknown --fmt '%s'; formats: %s", arg, list.s ? list.s : "");
    str_free(&list);
    return EINVAL;
}

enum { KEY_NO_CEILING = 0x100 };

static error_t parse(int key, char *arg, struct argp_state *st)
{
    struct bench *b = st->input;
    switch (key) {
    case ARGP_KEY_INIT:
        st->child_inputs[0] = &b->rows;
        return 0;
    case 'p':
        return parse_op(b, arg, st);
    case 'f':
        return parse_fmt(b, arg, st);
    case 's':
        b->shape = arg;
        return 0;
    case 'c':
        return cli_list(st, "--columns", arg, 1, 65536, MOST_COLUMNS, b->columns, &b->n_columns);
    case 'v':
        b->variant = strcmp(arg, "all") ? arg : NULL;
        return 0;
    case 'R':
        b->refcheck = true;
        return 0;
    case KEY_NO_CEILING:
        b->no_ceiling = true;
        return 0;
    case 'r':
        return cli_int(st, "-r", arg, 1, MOST_REPEATS, &b->repeats);
    case 'o':
        return cli_word(st, "-o", arg, "md|csv|json|html", &b->format);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int bench_kernels(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"op", 'p', "OP", 0, "only this operation (default all)", 1},
        {"fmt", 'f', "FORMAT", 0, "only this number format; with --shape that of all matrices", 1},
        {"shape", 's', "SHAPE", 0,
         "the matmuls of a step of 8b, 70b or another model of mas fit --shape, in the formats of "
         "Q4_K_M; or one of COLUMNSxINPUTSxOUTPUTS",
         1},
        {"columns", 'c', "N,..", 0,
         "rows of activations that share a matrix, for a model (default 1)", 1},
        {"variant", 'v', "NAME", 0, "only this kernel (default all)", 1},
        {"refcheck", 'R', NULL, 0,
         "compare each result with the oracle; of a large matrix 64 results of each row", 1},
        {"repetitions", 'r', "N", 0, "samples of each time (default 15)", 1},
        {"no-ceiling", KEY_NO_CEILING, NULL, 0,
         "do not measure the memory's rates, which takes seconds: the times alone", 1},
        {"output", 'o', "FORMAT", 0,
         "md (default), csv, json or html: a page with roofline and curves", 2},
        {0}};
    static const struct cli_row rows[] = {
        {.flag = "backend",
         .letter = 'B',
         .group = 1,
         .doc = "Backend that is measured; cpu measures each instruction set.",
         .otherwise = "cpu"},
        {.flag = "threads", .group = 2},
        {.flag = "device", .letter = 'd', .group = 2}};
    struct bench b = {.fmt = -1, .columns = {1}, .n_columns = 1, .repeats = 15, .format = "md"};
    struct err e = {0};
    const struct argp_child children[] = {{&b.rows.argp, 0, NULL, 1}, {0}};
    const struct argp argp = {
        options,  parse,
        NULL,     "Times every kernel, cold and warm, beside the memory's rate in the same run.",
        children, NULL,
        NULL};
    cli_rows_some(&b.rows, &engine_option_set, rows, sizeof rows / sizeof rows[0], &b.machine);
    int done = cli_parse(&argp, argc, argv, &b);
    if (done >= 0)
        return done;
    b.ops = (struct ops_options){.n_threads = b.machine.n_threads, .device = b.machine.device};
    int rc = bench_run(&b, &e);
    for (int i = 0; i < b.n_open; i++)
        ops_close(b.open[i]);
    energy_close(&b.energy);
    ops_close(b.ref);
    mem_free(b.result);
    if (rc < 0)
        advice_instead(&e, "--ctx", "choose a smaller --shape or fewer --columns");
    return rc < 0 ? cmd_fail(&e) : 0;
}
