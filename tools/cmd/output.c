#include "output.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "clinic.h"
#include "outfile.h"
#include "report.h"

int output_file(const char *path, const struct str *text, struct err *e)
{
    TRY(str_ok(text, path, e));
    if (strcmp(path, "-") != 0)
        return outfile_save(path, text->s, text->len, e);
    if (fwrite(text->s, 1, text->len, stdout) != text->len)
        FAIL(e, ERR_IO, "cannot write to standard output: %s", strerror(errno));
    return 0;
}

static int output_in(const char *dir, const char *name, const struct str *text, struct err *e)
{
    char path[1100];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return output_file(path, text, e);
}

int output_reports(const struct trace_run *run, const char *engine_json, double price_kwh,
                   const char *title, const char *dir, struct err *e)
{
    struct stats_summary s = {.answered = 0};
    struct str table = STR_INIT, json = STR_INIT, csv = STR_INIT;
    int rc;
    TRY_DONE(stats_summarize(run, price_kwh, &s, e));
    if (title) {
        report_table(&s, title, clinic_width(stdout), &table);
        TRY_DONE(output_file("-", &table, e));
    }
    if (!dir)
        goto done;
    report_json(&s, run->json.s, engine_json, &json);
    TRY_DONE(output_in(dir, "summary.json", &json, e));
    TRY_DONE(report_csv(run, &csv, e));
    TRY_DONE(output_in(dir, "results.csv", &csv, e));
done:
    stats_free(&s);
    str_free(&table);
    str_free(&json);
    str_free(&csv);
    return rc;
}
