#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clinic.h"
#include "report.h"
#include "zio.h"

int output_file(const char *path, const struct str *text, struct err *e)
{
    char tmp[1200];
    TRY(str_ok(text, path, e));
    if (!strcmp(path, "-")) {
        fwrite(text->s, 1, text->len, stdout);
        return 0;
    }
    int n = snprintf(tmp, sizeof tmp, "%s.tmp", path);
    if (n < 0 || (size_t)n >= sizeof tmp)
        FAIL(e, ERR_USAGE, "the file name is too long: %zu bytes", strlen(path));
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666), rc;
    if (fd < 0)
        FAIL(e, ERR_CREATE, "cannot create %s: %s", tmp, strerror(errno));
    rc = zio_write_all(fd, tmp, text->s, text->len, e);
    if (!rc && fsync(fd) != 0)
        rc = err_set(e, ERR_IO, "cannot sync %s: %s", tmp, strerror(errno));
    close(fd);
    if (!rc && rename(tmp, path) != 0)
        rc = err_set(e, ERR_CREATE, "cannot rename %s to %s: %s", tmp, path, strerror(errno));
    if (rc < 0)
        unlink(tmp);
    return rc;
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
