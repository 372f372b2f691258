#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel_name.h"
#include "nsight_parts.h"
#include "stat.h"

/* Metrics by the names of page raw and of page details. */
enum metric { TIME, BYTES, READ, WRITTEN, RATE, SHARE, N_METRIC };

static const struct {
    const char *name;
    enum metric metric;
    enum nsight_unit unit; /* a metric in another unit is another metric of the same name */
} metrics[] = {
    {"gpu__time_duration.sum", TIME, UNIT_TIME},
    {"Duration", TIME, UNIT_TIME},
    {"dram__bytes.sum", BYTES, UNIT_BYTES},
    {"dram__bytes_read.sum", READ, UNIT_BYTES},
    {"dram__bytes_write.sum", WRITTEN, UNIT_BYTES},
    {"dram__bytes.sum.per_second", RATE, UNIT_RATE},
    {"Memory Throughput", RATE, UNIT_RATE},
    {"dram__throughput.avg.pct_of_peak_sustained_elapsed", SHARE, UNIT_PERCENT},
    {"gpu__dram_throughput.avg.pct_of_peak_sustained_elapsed", SHARE, UNIT_PERCENT},
    {"DRAM Throughput", SHARE, UNIT_PERCENT},
};
enum { N_NAME = sizeof metrics / sizeof *metrics };
/* five samples at least: with fewer, 5 and 95 % quantiles are the extremes */
enum { SAMPLES = 5 };

struct launch {
    const char *id, *function, *launch; /* in the arena of lines */
    int line;
    double value[N_METRIC]; /* ns, bytes, bytes/s, percent; NAN: not measured */
};

struct launches {
    struct launch *at;
    size_t n, cap;
    int id, function, grid, block; /* columns; grid and block: -1 = none */
};

static int new_launch(struct nsight_file *f, struct launches *all, const struct csv_line *l,
                      struct err *e)
{
    TRY(mem_grow(&all->at, &all->cap, all->n + 1, sizeof *all->at, "launches of a report", e));
    struct launch *a = &all->at[all->n];
    *a = (struct launch){.id = l->field[all->id],
                         .function = l->field[all->function],
                         .launch = "",
                         .line = l->line};
    for (int i = 0; i < N_METRIC; i++)
        a->value[i] = NAN;
    char launch[NSIGHT_LAUNCH];
    if (all->grid >= 0 && all->block >= 0 &&
        nsight_launch(l->field[all->grid], l->field[all->block], launch)) {
        a->launch = arena_strndup(&f->lines, launch, strlen(launch));
        if (!a->launch)
            return NOMEM(e, sizeof launch, "the grid of a launch");
    }
    all->n++;
    return 0;
}

/* Takes the value in `column` if the metric is known and its unit is the known one. */
static int take(const struct nsight_file *f, const struct csv_line *l, int column, const char *name,
                const char *unit, struct launch *a, struct err *e)
{
    for (int i = 0; i < N_NAME; i++) {
        enum nsight_unit kind;
        double scale, value;
        if (strcmp(metrics[i].name, name))
            continue;
        if (!nsight_unit(unit, strlen(unit), &kind, &scale))
            FAIL(e, ERR_DATA, "%s: line %d: %s has the unknown unit '%.40s'", f->name, l->line,
                 name, unit);
        TRY(nsight_number(f, l, column, &value, e));
        if (kind == metrics[i].unit)
            a->value[metrics[i].metric] = value * scale;
        else if (kind == UNIT_NONE && !isnan(value))
            FAIL(e, ERR_DATA, "%s: line %d: %s has no unit; use ncu --print-units base or auto",
                 f->name, l->line, name);
    }
    return 0;
}

/* Page details: a line a metric. Lines without a metric are advice. */
static int details(struct nsight_file *f, struct launches *all, struct err *e)
{
    struct csv_line l;
    int name, unit, value, rc;
    TRY(nsight_need(f, "Metric Name", &name, e));
    TRY(nsight_need(f, "Metric Unit", &unit, e));
    TRY(nsight_need(f, "Metric Value", &value, e));
    while ((rc = nsight_line(f, &l, e)) > 0) {
        struct launch *last = all->n ? &all->at[all->n - 1] : NULL;
        if (!last || strcmp(last->id, l.field[all->id]) ||
            strcmp(last->function, l.field[all->function]))
            TRY(new_launch(f, all, &l, e));
        TRY(take(f, &l, value, l.field[name], l.field[unit], &all->at[all->n - 1], e));
    }
    return rc;
}

/* Page raw: a line a launch. The line after the head has the units, and its ID is empty. */
static int raw(struct nsight_file *f, struct launches *all, struct err *e)
{
    struct csv_line unit, l;
    int rc = nsight_line(f, &unit, e);
    TRY(rc);
    if (rc == 0 || unit.field[all->id][0])
        FAIL(e, ERR_DATA, "%s: line %d: the line of units is missing after the names of metrics",
             f->name, f->head.line);
    while ((rc = nsight_line(f, &l, e)) > 0) {
        TRY(new_launch(f, all, &l, e));
        for (int i = 0; i < l.n; i++)
            TRY(take(f, &l, i, f->head.field[i], unit.field[i], &all->at[all->n - 1], e));
    }
    return rc;
}

/* ---- from launches to rows ------------------------------------------------------------------- */

static int order(const void *pa, const void *pb)
{
    const struct launch *a = pa, *b = pb;
    int d = strcmp(a->function, b->function);
    d = d ? d : strcmp(a->launch, b->launch);
    return d ? d : a->line - b->line;
}

static double bytes_of(const struct launch *a)
{
    if (!isnan(a->value[BYTES]))
        return a->value[BYTES];
    if (!isnan(a->value[READ]) && !isnan(a->value[WRITTEN]))
        return a->value[READ] + a->value[WRITTEN];
    return a->value[RATE] * a->value[TIME] * 1e-9;
}

/* The median of those that were measured; x: room for n. */
static double median(const struct launch *a, size_t n, double (*of)(const struct launch *),
                     double *x)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        if (!isnan(of(&a[i])))
            x[k++] = of(&a[i]);
    return k ? stat_summarize(x, k).median : NAN;
}

static double share_of(const struct launch *a)
{
    return a->value[SHARE] * 0.01;
}

/* n launches of one kernel with one grid. */
static int add(struct nsight_file *f, const struct launch *a, size_t n, double *x, struct err *e)
{
    struct nsight_row r = {.calls = (double)n, .us_p5 = NAN, .us_p95 = NAN, .total_us = 0};
    struct kernel_name k;
    for (size_t i = 0; i < n; i++) {
        if (isnan(a[i].value[TIME]))
            FAIL(e, ERR_DATA,
                 "%s: line %d: launch %.20s has no duration; measure gpu__time_duration.sum",
                 f->name, a[i].line, a[i].id);
        x[i] = a[i].value[TIME] * 1e-3;
        r.total_us += x[i];
    }
    if (!nsight_kernel(a->function, &k, &r)) {
        f->x->n_other++;
        f->x->other_us += r.total_us;
        return 0;
    }
    struct stat_summary s = stat_summarize(x, n);
    r.us = s.median;
    if (n >= SAMPLES) {
        r.us_p5 = s.p5;
        r.us_p95 = s.p95;
    }
    r.bytes = median(a, n, bytes_of, x);
    r.share = median(a, n, share_of, x);
    r.launch = a->launch[0] ? a->launch : NULL;
    return nsight_add(f, &r, e);
}

static int add_all(struct nsight_file *f, struct launches *all, struct err *e)
{
    double *x = arena_alloc(&f->lines, all->n, sizeof *x);
    if (!x)
        return NOMEM(e, all->n * sizeof *x, "times of launches");
    qsort(all->at, all->n, sizeof *all->at, order);
    for (size_t i = 0, n; i < all->n; i += n) {
        for (n = 1; i + n < all->n; n++)
            if (strcmp(all->at[i].function, all->at[i + n].function) ||
                strcmp(all->at[i].launch, all->at[i + n].launch))
                break;
        TRY(add(f, &all->at[i], n, x, e));
    }
    return 0;
}

int nsight_ncu(struct nsight_file *f, struct err *e)
{
    struct launches all = {.grid = nsight_column(&f->head, "Grid Size"),
                           .block = nsight_column(&f->head, "Block Size")};
    TRY(nsight_need(f, "ID", &all.id, e));
    TRY(nsight_need(f, "Kernel Name", &all.function, e));
    int rc = nsight_column(&f->head, "Metric Name") >= 0 ? details(f, &all, e) : raw(f, &all, e);
    if (rc == 0 && all.n)
        rc = add_all(f, &all, e);
    mem_free(all.at);
    return rc;
}
