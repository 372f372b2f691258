#include "runs_csv.h"

#include <stdio.h>
#include <string.h>

#include "report.h"
#include "trace.h"

/* The last part of a path without the slashes at its end. */
static void base_of(const char *dir, struct str *out)
{
    size_t end = strlen(dir), begin;
    while (end > 1 && dir[end - 1] == '/')
        end--;
    for (begin = end; begin && dir[begin - 1] != '/';)
        begin--;
    str_clear(out);
    str_add(out, dir + begin, end - begin);
}

/* "name,", the first column of run i. */
static int lead_of(const char *const *dir, size_t n, size_t i, struct str *out, struct err *e)
{
    struct str own = STR_INIT, other = STR_INIT;
    bool twice = false;
    base_of(dir[i], &own);
    for (size_t k = 0; k < n; k++) {
        base_of(dir[k], &other);
        twice |= k != i && !own.failed && !other.failed && !strcmp(own.s, other.s);
    }
    int rc = str_ok(&own, "a name", e);
    if (!rc)
        rc = str_ok(&other, "a name", e);
    str_clear(out);
    if (!rc)
        report_csv_field(out, twice ? dir[i] : own.s);
    str_addc(out, ',');
    str_free(&own);
    str_free(&other);
    return rc;
}

static int add_run(const char *dir, struct report_form *form, const char *lead, struct str *out,
                   struct err *e)
{
    struct trace_run run = {.asked = 0};
    int rc = 0;
    TRY(trace_read(dir, &run, e));
    if (!lead) {
        fputs(run.notes.s, stderr);
        report_csv_need(&run, form);
    } else {
        rc = report_csv_rows(&run, form, lead, out, e);
    }
    trace_run_free(&run);
    return rc;
}

int runs_csv(const char *const *dir, size_t n, struct str *out, struct err *e)
{
    struct report_form form = {.n_lp = 0};
    struct str lead = STR_INIT;
    int rc = 0;
    for (size_t i = 0; i < n; i++)
        TRY_DONE(add_run(dir[i], &form, NULL, NULL, e));
    report_csv_header(&form, "run,", out);
    for (size_t i = 0; i < n; i++) {
        TRY_DONE(lead_of(dir, n, i, &lead, e));
        TRY_DONE(str_ok(&lead, "a name", e));
        TRY_DONE(add_run(dir[i], &form, lead.s, out, e));
    }
done:
    str_free(&lead);
    return rc;
}
