#include "grid_export.h"

#include <stdio.h>
#include <string.h>

#include "grid_table.h"
#include "gridcell.h"
#include "output.h"
#include "report.h"
#include "runlist.h"
#include "trace.h"

/* "cell,strategy,temperature,", or the values of a cell. A setting that is not read is empty. */
static void lead(const struct gridfile *f, const struct gridfile_cell *c, struct str *out)
{
    str_clear(out);
    report_csv_field(out, c ? c->name : "cell");
    for (size_t i = 0; i < f->n_key; i++) {
        str_addc(out, ',');
        report_csv_field(out, c ? (c->value[i] ? c->value[i] : "") : f->key[i]);
    }
    str_addc(out, ',');
}

/* Reads one cell: adds its columns to the form, or its rows to out. */
static int cell(const struct grid_export *o, const struct gridfile *f, size_t at,
                struct report_form *form, struct str *out, struct err *e)
{
    struct trace_run run = {.asked = 0};
    struct str before = STR_INIT;
    char path[1100];
    snprintf(path, sizeof path, "%.960s/%s", o->dir, f->cell[at].name);
    TRY(gridcell_check(o->dir, f, at, e));
    TRY(trace_read(path, &run, e));
    int rc = 0;
    if (!out) {
        report_csv_need(&run, form);
    } else {
        fputs(run.notes.s, stderr);
        lead(f, &f->cell[at], &before);
        rc = str_ok(&before, "a table", e);
        if (rc == 0)
            rc = report_csv_rows(&run, form, before.s, out, e);
    }
    trace_run_free(&run);
    str_free(&before);
    return rc;
}

static int write_csv(const struct grid_export *o, const struct gridfile *f, struct err *e)
{
    struct report_form form = {.n_lp = 0};
    struct str out = STR_INIT, head = STR_INIT;
    const size_t n = f->n - f->n_removed;
    size_t unread = 0;
    struct err why = {.code = 0};
    int rc = 0;
    for (size_t i = 0; i < n; i++)
        (void)cell(o, f, i, &form, NULL, &why); /* the same fault is named below */
    lead(f, NULL, &head);
    TRY_DONE(str_ok(&head, "a table", e));
    report_csv_header(&form, head.s, &out);
    for (size_t i = 0; i < n; i++) {
        rc = cell(o, f, i, &form, &out, &why);
        if (rc == ERR_NOMEM)
            TRY_DONE(err_set(e, rc, "%s", why.msg));
        unread += rc < 0;
        if (rc < 0)
            fprintf(stderr, "cell %s: %s\n", f->cell[i].name, why.msg);
    }
    TRY_DONE(output_file(o->csv, &out, e));
    if (unread)
        rc = err_set(e, ERR_ITEMS,
                     "%zu of %zu cells have no rows: they were not run, or their "
                     "folder cannot be read",
                     unread, n);
done:
    str_free(&out);
    str_free(&head);
    return rc;
}

/* Compares the cells with the one in that folder. */
static int set_baseline(const struct grid_export *o, const struct gridfile *f, struct grid_table *t,
                        struct err *e)
{
    char path[1100];
    for (size_t i = 0; i < f->n - f->n_removed; i++) {
        snprintf(path, sizeof path, "%.960s/%s", o->dir, f->cell[i].name);
        if (runlist_same(path, o->baseline) || !strcmp(f->cell[i].name, o->baseline))
            return grid_table_baseline(t, f->cell[i].name, e);
    }
    FAIL(e, ERR_USAGE, "--baseline %s: the experiment %s has no such cell; name one of its folders",
         o->baseline, o->dir);
}

/* Names the folders that hold another run than their cell: their cells have no figures. */
static int check_cells(const struct grid_export *o, const struct gridfile *f, struct err *e)
{
    const size_t n = f->n - f->n_removed;
    size_t others = 0;
    struct err why = {.code = 0};
    for (size_t i = 0; i < n; i++) {
        const int rc = gridcell_check(o->dir, f, i, &why);
        if (rc == ERR_NOMEM)
            FAIL(e, rc, "%s", why.msg);
        if (!rc || rc == ERR_NOINPUT)
            continue;
        others++;
        fprintf(stderr, "cell %s: %s\n", f->cell[i].name, why.msg);
    }
    if (others)
        FAIL(e, ERR_ITEMS, "%zu of %zu cells have no figures: their folders hold other runs",
             others, n);
    return 0;
}

static int write_figures(const struct grid_export *o, const struct gridfile *f, struct err *e)
{
    struct grid_table t = {.n = 0};
    struct str out = STR_INIT;
    int rc;
    TRY_DONE(grid_table_read(o->dir, f, o->price_kwh, &t, e));
    if (o->baseline)
        TRY_DONE(set_baseline(o, f, &t, e));
    if (o->summary) {
        TRY_DONE(grid_table_json(&t, &out, e));
        TRY_DONE(output_file(o->summary, &out, e));
    } else {
        grid_table_text(&t, &out);
        TRY_DONE(output_file("-", &out, e));
    }
done:
    str_free(&out);
    grid_table_free(&t);
    return rc;
}

int grid_export(const struct grid_export *o, struct err *e)
{
    struct gridfile f = {.doc = NULL};
    int rc;
    TRY_DONE(gridfile_read(o->dir, &f, e));
    if (o->summary || !o->csv)
        TRY_DONE(write_figures(o, &f, e));
    rc = o->csv ? write_csv(o, &f, e) : check_cells(o, &f, e);
done:
    gridfile_free(&f);
    return rc;
}
