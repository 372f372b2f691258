#include "nsight.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "kernel_name.h"
#include "nsight_parts.h"
#include "ops.h"
#include "text.h"

enum { MOST_DIGITS = 48 };

/* ---- columns and numbers --------------------------------------------------------------------- */

bool nsight_unit(const char *text, size_t n, enum nsight_unit *kind, double *scale)
{
    static const struct {
        const char *name;
        enum nsight_unit kind;
        double scale;
    } units[] = {
        {"", UNIT_NONE, 1},          {"%", UNIT_PERCENT, 1},     {"ns", UNIT_TIME, 1},
        {"us", UNIT_TIME, 1e3},      {"ms", UNIT_TIME, 1e6},     {"s", UNIT_TIME, 1e9},
        {"nsec", UNIT_TIME, 1},      {"usec", UNIT_TIME, 1e3},   {"msec", UNIT_TIME, 1e6},
        {"sec", UNIT_TIME, 1e9},     {"nsecond", UNIT_TIME, 1},  {"usecond", UNIT_TIME, 1e3},
        {"msecond", UNIT_TIME, 1e6}, {"second", UNIT_TIME, 1e9}, {"byte", UNIT_BYTES, 1},
        {"Kbyte", UNIT_BYTES, 1e3},  {"Mbyte", UNIT_BYTES, 1e6}, {"Gbyte", UNIT_BYTES, 1e9},
        {"Tbyte", UNIT_BYTES, 1e12},
    };
    const char *slash = memchr(text, '/', n);
    size_t k = slash ? (size_t)(slash - text) : n;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strlen(units[i].name) == k && !strncmp(units[i].name, text, k)) {
            *kind = units[i].kind;
            *scale = units[i].scale;
            if (!slash)
                return true;
            size_t rest = n - k - 1;
            bool each_second =
                (rest == 1 && slash[1] == 's') || (rest == 6 && !strncmp(slash + 1, "second", 6));
            if (*kind != UNIT_BYTES || !each_second)
                return false;
            *kind = UNIT_RATE;
            return true;
        }
    return false;
}

/* Length of a column's name without its unit: "Avg (ns)" is 3, and so is "Avg(ns)". */
static size_t base(const char *name)
{
    size_t n = strcspn(name, "(");
    while (n > 0 && name[n - 1] == ' ')
        n--;
    return n;
}

int nsight_column(const struct csv_line *head, const char *names)
{
    for (int i = 0; i < head->n; i++) {
        size_t n = base(head->field[i]);
        for (const char *s = names; n;) {
            size_t k = strcspn(s, "|");
            if (k == n && !strncmp(s, head->field[i], n))
                return i;
            if (!s[k])
                break;
            s += k + 1;
        }
    }
    return -1;
}

int nsight_need(const struct nsight_file *f, const char *names, int *out, struct err *e)
{
    int at = nsight_column(&f->head, names);
    if (at < 0)
        FAIL(e, ERR_DATA, "%s: line %d: %s has no column '%.*s'", f->name, f->head.line, f->report,
             (int)strcspn(names, "|"), names);
    *out = at;
    return 0;
}

/* Copies the digits without commas between thousands. false: a comma elsewhere, or too long. */
static bool plain_digits(const char *s, char out[MOST_DIGITS])
{
    size_t n = 0, since = 0; /* digits since the last comma */
    bool comma = false, whole = true;
    for (; *s; s++) {
        bool digit = *s >= '0' && *s <= '9';
        if (whole && *s == ',') {
            if (comma ? since != 3 : since < 1 || since > 3)
                return false;
            comma = true;
            since = 0;
            continue;
        }
        if (whole && !digit) {
            if (comma && since != 3)
                return false;
            whole = false;
        }
        since += digit;
        if (n + 1 >= MOST_DIGITS)
            return false;
        out[n++] = *s;
    }
    out[n] = 0;
    return !whole || !comma || since == 3;
}

int nsight_number(const struct nsight_file *f, const struct csv_line *l, int column, double *out,
                  struct err *e)
{
    const char *s = l->field[column];
    char digits[MOST_DIGITS];
    if (!*s || !strcmp(s, "n/a") || !strcmp(s, "nan")) {
        *out = NAN;
        return 0;
    }
    if (!plain_digits(s, digits) || !str_to_f64(digits, 0, 1e18, out))
        FAIL(e, ERR_DATA,
             "%s: line %d: %s is '%.40s', must be a number from 0 to 1e18, such as "
             "1,234.5; run the profiler with LC_ALL=C",
             f->name, l->line, f->head.field[column], s);
    return 0;
}

/* ---- lines ----------------------------------------------------------------------------------- */

static bool begins(const char *s, size_t n, const char *with)
{
    size_t k = strlen(with);
    return n >= k && !strncmp(s, with, k);
}

/* The lines that nsys and ncu print around their tables. */
static bool chatter(const char *s, size_t n)
{
    static const char *const prefix[] = {"Processing [", "Generating ", "Exporting ", "NOTICE:",
                                         "WARNING:",     "SKIPPED:",    "ERROR:",     "=="};
    for (size_t i = 0; i < sizeof prefix / sizeof *prefix; i++)
        if (begins(s, n, prefix[i]))
            return true;
    return false;
}

int nsight_line(struct nsight_file *f, struct csv_line *out, struct err *e)
{
    size_t n;
    if (f->csv.at >= f->csv.n)
        return 0;
    const char *s = csv_peek(&f->csv, &n);
    if (!n || chatter(s, n))
        return 0;
    TRY(csv_take(&f->csv, &f->lines, out, e));
    if (out->n != f->head.n)
        FAIL(e, ERR_DATA, "%s: line %d has %d columns, %s has %d; is the file cut off?", f->name,
             out->line, out->n, f->report, f->head.n);
    return 1;
}

/* ---- results --------------------------------------------------------------------------------- */

int nsight_text(struct nsight_file *f, const char *s, const char **out, struct err *e)
{
    *out = s ? arena_strndup(&f->x->arena, s, strlen(s)) : NULL;
    return s && !*out ? NOMEM(e, strlen(s) + 1, "a name of a report") : 0;
}

int nsight_add(struct nsight_file *f, const struct nsight_row *r, struct err *e)
{
    struct nsight *x = f->x;
    TRY(mem_grow(&x->row, &x->cap_row, x->n_row + 1, sizeof *x->row, "rows of a report", e));
    struct nsight_row mine = *r;
    mine.report = f->report;
    mine.file = x->n_file;
    TRY(nsight_text(f, r->op, &mine.op, e));
    TRY(nsight_text(f, r->call, &mine.call, e));
    TRY(nsight_text(f, r->range, &mine.range, e));
    TRY(nsight_text(f, r->function, &mine.function, e));
    TRY(nsight_text(f, r->kernel, &mine.kernel, e));
    TRY(nsight_text(f, r->instance, &mine.instance, e));
    TRY(nsight_text(f, r->launch, &mine.launch, e));
    x->row[x->n_row++] = mine;
    return 0;
}

bool nsight_kernel(const char *function, struct kernel_name *k, struct nsight_row *r)
{
    r->function = function;
    if (!kernel_name_parse(function, k))
        return r->op != NULL;
    r->op = r->op ? r->op : k->op;
    r->kernel = k->kernel[0] ? k->kernel : NULL;
    r->instance = k->instance[0] ? k->instance : NULL;
    return true;
}

/* Three numbers, whatever stands between them. */
static bool dimensions(const char *s, unsigned long out[3])
{
    for (int i = 0; i < 3; i++) {
        char *end;
        s += strcspn(s, "0123456789");
        if (!*s)
            return false;
        out[i] = strtoul(s, &end, 10);
        s = end;
    }
    return true;
}

bool nsight_launch(const char *grid, const char *block, char out[NSIGHT_LAUNCH])
{
    unsigned long g[3], b[3];
    if (!dimensions(grid, g) || !dimensions(block, b))
        return false;
    snprintf(out, NSIGHT_LAUNCH, "%lux%lux%lu of %lux%lux%lu", g[0], g[1], g[2], b[0], b[1], b[2]);
    return true;
}

/* ---- nsys stats ------------------------------------------------------------------------------ */

enum kind { NO_REPORT, PROJECTED, IN_RANGES, KERNELS, NCU };

static const struct {
    const char *name, *old; /* before 2023 */
    enum kind kind;
} known[] = {
    {"nvtx_gpu_proj_sum", "nvtxgpuproj", PROJECTED},
    {"nvtx_kern_sum", "nvtxkernsum", IN_RANGES},
    {"cuda_gpu_kern_sum", "gpukernsum", KERNELS},
    {"cuda_gpu_kern_gb_sum", "gpukerngbsum", KERNELS},
};

/* The name of a range without its domain; NULL: another domain's. */
static const char *our_range(const char *range)
{
    const char *colon = strchr(range, ':');
    if (!colon)
        return range;
    if (colon == range || (colon - range == 3 && !strncmp(range, "mas", 3)))
        return colon + 1;
    return NULL;
}

/* The op of a range called "add 3x17"; *call is "3x17". An op's range always has its case: "embed"
 * alone is a part of a step. */
static const char *range_op(const char *s, const char **call)
{
    size_t n = strcspn(s, " ");
    for (int op = 0; op < OP_COUNT; op++) {
        const char *name = ops_op_name((enum op)op);
        if (strlen(name) == n && !strncmp(s, name, n) && s[n] && s[n + 1]) {
            *call = s + n + 1;
            return name;
        }
    }
    return NULL;
}

struct times { /* columns of a report of nsys; -1: there is none */
    int calls, total, mean, median;
};

/* One cell of time, in us. */
static int time_of(const struct nsight_file *f, const struct csv_line *l, int column, double *us,
                   struct err *e)
{
    const char *name = f->head.field[column], *unit = name + strcspn(name, "(");
    enum nsight_unit kind = UNIT_TIME;
    double ns = 1;
    if (*unit && (!nsight_unit(unit + 1, strcspn(unit + 1, ")"), &kind, &ns) || kind != UNIT_TIME))
        FAIL(e, ERR_DATA, "%s: line %d: %s has no unit of time; must be ns, us, ms or s", f->name,
             f->head.line, name);
    TRY(nsight_number(f, l, column, us, e));
    *us *= ns * 1e-3;
    return 0;
}

static int read_times(const struct nsight_file *f, const struct csv_line *l, const struct times *t,
                      struct nsight_row *r, struct err *e)
{
    r->us = NAN;
    TRY(nsight_number(f, l, t->calls, &r->calls, e));
    TRY(time_of(f, l, t->total, &r->total_us, e));
    if (!(r->calls >= 1))
        FAIL(e, ERR_DATA, "%s: line %d: %s is '%.40s', must be at least 1", f->name, l->line,
             f->head.field[t->calls], l->field[t->calls]);
    if (isnan(r->total_us))
        FAIL(e, ERR_DATA, "%s: line %d: %s is '%.40s', must be a number", f->name, l->line,
             f->head.field[t->total], l->field[t->total]);
    if (t->median >= 0)
        TRY(time_of(f, l, t->median, &r->us, e));
    r->mean = isnan(r->us);
    if (r->mean && t->mean >= 0)
        TRY(time_of(f, l, t->mean, &r->us, e));
    if (isnan(r->us))
        r->us = r->total_us / r->calls;
    return 0;
}

static int add_range(struct nsight_file *f, const char *name, const struct nsight_row *r,
                     struct err *e)
{
    struct nsight *x = f->x;
    TRY(mem_grow(&x->range, &x->cap_range, x->n_range + 1, sizeof *x->range, "ranges of a report",
                 e));
    struct nsight_range g = {.report = f->report,
                             .file = x->n_file,
                             .calls = r->calls,
                             .us = r->us,
                             .total_us = r->total_us,
                             .mean = r->mean};
    TRY(nsight_text(f, name, &g.name, e));
    x->range[x->n_range++] = g;
    return 0;
}

static void leave_out(struct nsight_file *f, const struct nsight_row *r)
{
    f->x->n_other++;
    f->x->other_us += r->total_us;
}

static const struct nsight_row blank = {
    .us = NAN, .us_p5 = NAN, .us_p95 = NAN, .bytes = NAN, .share = NAN};

/* A range over the GPU's work in it. */
static int projected(struct nsight_file *f, struct err *e)
{
    struct times t = {.mean = nsight_column(&f->head, "Proj Avg|Projected Avg"),
                      .median = nsight_column(&f->head, "Proj Med|Projected Med")};
    struct csv_line l;
    int range, rc;
    TRY(nsight_need(f, "Range", &range, e));
    TRY(nsight_need(f, "Range Instances", &t.calls, e));
    TRY(nsight_need(f, "Total Proj Time|Total Projected Time", &t.total, e));
    while ((rc = nsight_line(f, &l, e)) > 0) {
        struct nsight_row r = blank;
        const char *name = our_range(l.field[range]);
        TRY(read_times(f, &l, &t, &r, e));
        r.op = name ? range_op(name, &r.call) : NULL;
        if (!name)
            leave_out(f, &r);
        else if (r.op)
            TRY(nsight_add(f, &r, e));
        else
            TRY(add_range(f, name, &r, e));
    }
    return rc;
}

/* A kernel stands once under every range around it. Of these the op's counts. A replayed recording
 * has no range of an op, and a kernel may stand outside all ranges. Then the kernel's own name
 * tells the op. */
static int in_ranges(struct nsight_file *f, struct err *e)
{
    struct times t = {.mean = nsight_column(&f->head, "Avg|Average"),
                      .median = nsight_column(&f->head, "Med|Median")};
    struct csv_line l;
    int range, kernel, rc;
    TRY(nsight_need(f, "NVTX Range", &range, e));
    TRY(nsight_need(f, "Kernel Name", &kernel, e));
    TRY(nsight_need(f, "Kern Inst", &t.calls, e));
    TRY(nsight_need(f, "Total Time", &t.total, e));
    while ((rc = nsight_line(f, &l, e)) > 0) {
        struct nsight_row r = blank;
        struct kernel_name k;
        const char *name = our_range(l.field[range]);
        TRY(read_times(f, &l, &t, &r, e));
        r.op = name ? range_op(name, &r.call) : NULL;
        r.range = name;
        if (name && !r.op && *name && strcmp(name, "replay"))
            continue; /* counted under the op's range */
        if (nsight_kernel(l.field[kernel], &k, &r) && name)
            TRY(nsight_add(f, &r, e));
        else
            leave_out(f, &r);
    }
    return rc;
}

static int kernels(struct nsight_file *f, struct err *e)
{
    struct times t = {.mean = nsight_column(&f->head, "Avg|Average"),
                      .median = nsight_column(&f->head, "Med|Median")};
    struct csv_line l;
    int kernel, rc, grid = nsight_column(&f->head, "GridXYZ"),
                    block = nsight_column(&f->head, "BlockXYZ");
    TRY(nsight_need(f, "Name", &kernel, e));
    TRY(nsight_need(f, "Instances", &t.calls, e));
    TRY(nsight_need(f, "Total Time", &t.total, e));
    while ((rc = nsight_line(f, &l, e)) > 0) {
        struct nsight_row r = blank;
        struct kernel_name k;
        char launch[NSIGHT_LAUNCH];
        TRY(read_times(f, &l, &t, &r, e));
        if (grid >= 0 && block >= 0 && nsight_launch(l.field[grid], l.field[block], launch))
            r.launch = launch;
        const char *name = l.field[kernel],
                   *slash = strrchr(name, '/'); /* report option nvtx-name */
        if (nsight_kernel(slash ? slash + 1 : name, &k, &r))
            TRY(nsight_add(f, &r, e));
        else
            leave_out(f, &r);
    }
    return rc;
}

/* ---- rows of one report that say the same ---------------------------------------------------- */

static int text_order(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) : (a != NULL) - (b != NULL);
}

static int row_order(const void *pa, const void *pb)
{
    const struct nsight_row *a = pa, *b = pb;
    int d = text_order(a->op, b->op);
    d = d ? d : text_order(a->call, b->call);
    d = d ? d : text_order(a->function, b->function);
    d = d ? d : text_order(a->range, b->range);
    return d ? d : text_order(a->launch, b->launch);
}

/* Rows from `first` on: those of several threads become one. Its time is then a mean. */
static void merge(struct nsight *x, size_t first)
{
    size_t n = first;
    if (x->n_row == first)
        return;
    qsort(x->row + first, x->n_row - first, sizeof *x->row, row_order);
    for (size_t i = first; i < x->n_row; i++) {
        struct nsight_row *last = n > first ? &x->row[n - 1] : NULL, *r = &x->row[i];
        if (!last || row_order(last, r)) {
            x->row[n++] = *r;
            continue;
        }
        last->calls += r->calls;
        last->total_us += r->total_us;
        last->us = last->total_us / last->calls;
        last->mean = true;
    }
    x->n_row = n;
}

/* ---- a file ---------------------------------------------------------------------------------- */

struct seen { /* for the message about a file without a report */
    const char *text;
    size_t n;
};

/* "Processing [x.sqlite] with [../reports/NAME.py]...": NAME in *out. */
static void announced(const char *s, size_t n, struct seen *out)
{
    size_t end = n, from;
    while (end > 0 && s[end - 1] != ']')
        end--;
    if (end < 4 || strncmp(s + end - 4, ".py]", 4))
        return;
    end -= 4;
    for (from = end; from > 0 && s[from - 1] != '/' && s[from - 1] != '['; from--)
        ;
    *out = (struct seen){s + from, end - from};
}

static enum kind kind_of(const struct csv_line *h, const struct seen *named, const char **report)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if ((strlen(known[i].name) == named->n && !strncmp(known[i].name, named->text, named->n)) ||
            (strlen(known[i].old) == named->n && !strncmp(known[i].old, named->text, named->n))) {
            *report = known[i].name;
            return known[i].kind;
        }
    enum kind k = NO_REPORT;
    if (named->n)
        return NO_REPORT; /* a report of nsys that is of no use here */
    if (nsight_column(h, "ID") >= 0 && nsight_column(h, "Kernel Name") >= 0)
        k = NCU;
    else if (nsight_column(h, "NVTX Range") >= 0 && nsight_column(h, "Kernel Name") >= 0)
        k = IN_RANGES;
    else if (nsight_column(h, "Range") >= 0 && nsight_column(h, "Range Instances") >= 0)
        k = PROJECTED;
    else if (nsight_column(h, "Name") >= 0 && nsight_column(h, "Instances") >= 0)
        k = KERNELS;
    *report = k == NCU         ? "ncu"
              : k == IN_RANGES ? "nvtx_kern_sum"
              : k == PROJECTED ? "nvtx_gpu_proj_sum"
                               : "cuda_gpu_kern_sum";
    if (k == KERNELS && nsight_column(h, "GridXYZ") >= 0)
        *report = "cuda_gpu_kern_gb_sum";
    return k;
}

static int report(struct nsight_file *f, enum kind kind, struct err *e)
{
    size_t first = f->x->n_row;
    TRY(kind == NCU         ? nsight_ncu(f, e)
        : kind == IN_RANGES ? in_ranges(f, e)
        : kind == PROJECTED ? projected(f, e)
                            : kernels(f, e));
    if (kind != NCU)
        merge(f->x, first);
    return 0;
}

/* True if the line has the words of a head; other lines are skipped unread. */
static bool like_head(const char *s, size_t n)
{
    static const char *const word[] = {"Instances", "Kernel Name"};
    for (size_t at = 0; at < n; at++)
        for (size_t i = 0; i < sizeof word / sizeof *word; i++)
            if (begins(s + at, n - at, word[i]))
                return true;
    return false;
}

/* All reports of the file; their number in *n. */
static int reports(struct nsight_file *f, int *n, struct seen *why, struct err *e)
{
    struct seen name = {"", 0};
    while (f->csv.at < f->csv.n) {
        size_t len;
        const char *s = csv_peek(&f->csv, &len);
        if (chatter(s, len) || !(name.n || like_head(s, len))) {
            announced(s, len, &name);
            if (begins(s, len, "SKIPPED:") || begins(s, len, "==ERROR=="))
                *why = (struct seen){s, len};
            csv_skip(&f->csv);
            continue;
        }
        if (!len) {
            csv_skip(&f->csv);
            continue;
        }
        TRY(csv_take(&f->csv, &f->lines, &f->head, e));
        enum kind kind = kind_of(&f->head, &name, &f->report);
        name.n = 0;
        if (kind == NO_REPORT)
            continue;
        ++*n;
        TRY(report(f, kind, e));
        arena_free(&f->lines);
    }
    return 0;
}

int nsight_read(struct nsight *x, const void *data, size_t n, const char *name, struct err *e)
{
    size_t mark = text_mark(data, n), had = x->n_row + x->n_range, other = x->n_other;
    struct nsight_file f = {
        .x = x,
        .csv = {.s = (const char *)data + mark, .n = n - mark, .line = 1, .name = name},
        .name = name};
    struct seen why = {"", 0};
    int count = 0;
    TRY(text_check(data, n, name, ERR_DATA, e));
    int rc = reports(&f, &count, &why, e);
    arena_free(&f.lines);
    TRY(rc);
    if (!count)
        FAIL(e, ERR_DATA,
             "%s has no report of nsys stats --format csv (nvtx_gpu_proj_sum, nvtx_kern_sum, "
             "cuda_gpu_kern_sum) and no table of ncu --csv%s%.*s",
             name, why.n ? ": " : "", why.n < 200 ? (int)why.n : 200, why.text);
    if (x->n_row + x->n_range == had)
        FAIL(e, ERR_DATA, "%s: no kernel and no range of mas, %zu rows of others%s%.*s", name,
             x->n_other - other, why.n ? ": " : "", why.n < 200 ? (int)why.n : 200, why.text);
    x->n_file++;
    return 0;
}

void nsight_free(struct nsight *x)
{
    mem_free(x->row);
    mem_free(x->range);
    arena_free(&x->arena);
    *x = (struct nsight){.n_row = 0};
}
