#include "runfolder.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "doubts.h"
#include "folder.h"
#include "identity.h"
#include "jscan.h"
#include "output.h"
#include "report.h"
#include "shard.h"
#include "tool_options.h"
#include "vary.h"
#include "zio.h"

int runfolder_make(const struct config *c, const char *name, char out[RUNFOLDER_PATH],
                   struct err *e)
{
    const struct tool_options *o = config_of(c, &tool_option_set);
    struct folder parent = {.lock = -1};
    char stamp[32];
    struct tm tm;
    time_t now = time(NULL);
    localtime_r(&now, &tm);
    strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", &tm);
    TRY(folder_make(&parent, o->traces_dir, e));
    for (int i = 1; i < 1000; i++) {
        char suffix[16] = "";
        if (i > 1)
            snprintf(suffix, sizeof suffix, "-%d", i);
        int n = snprintf(out, RUNFOLDER_PATH, "%s/%s-%s%s", o->traces_dir, name, stamp, suffix);
        if (n < 0 || n >= RUNFOLDER_PATH)
            FAIL(e, ERR_CONFIG, "logging.traces_dir is too long: %zu bytes", strlen(o->traces_dir));
        if (mkdir(out, 0777) == 0)
            return 0;
        if (errno != EEXIST)
            FAIL(e, ERR_CREATE, "cannot create the folder %s: %s", out, strerror(errno));
    }
    FAIL(e, ERR_CREATE, "no free folder name like %s", out);
}

int runfolder_trace(const struct runfolder *o, struct trace **out, struct err *e)
{
    struct str identity = STR_INIT, about = STR_INIT, defaults = STR_INIT;
    struct folder folder = {.lock = -1};
    struct trace *t = NULL;
    int rc;
    identity_json(o->env, o->data->sha256, &identity);
    identity_about(o->env, MAS_COMMIT, o->data_path, o->energy, &about);
    TRY_DONE(str_ok(&identity, "the run's identity", e));
    TRY_DONE(str_ok(&about, "the run's settings", e));
    TRY_DONE(config_json_defaults(o->env->config, &defaults, e));
    if (o->env->shard && !o->fresh) /* --force-new starts the study's first shard again */
        TRY_DONE(shard_like_others(o->dir, identity.s, e));
    struct trace_options to = {.dir = o->dir,
                               .identity = identity.s,
                               .about = about.s,
                               .defaults = defaults.s,
                               .data = o->data,
                               .asked = o->asked,
                               .fresh = o->fresh,
                               .repair = o->repair,
                               .retry_failed = o->retry_failed,
                               .lease = o->lease};
    TRY_DONE(trace_open(&to, &t, e));
    if (o->paraphrases) {
        snprintf(folder.dir, sizeof folder.dir, "%s",
                 o->dir); /* trace_open has checked its length */
        TRY_DONE(folder_save(&folder, VARY_FILE, o->paraphrases->s, o->paraphrases->len, e));
    }
    *out = t;
    t = NULL;
done:
    trace_close(t);
    str_free(&identity);
    str_free(&about);
    str_free(&defaults);
    return rc;
}

int runfolder_doubts(const struct medqa *m, size_t n_records, const char *name, struct err *e)
{
    struct str lines = STR_INIT;
    int rc = doubts_say(m, n_records, name, RUNFOLDER_NAMED, &lines, e);
    if (!rc && lines.len)
        fputs(lines.s, stderr);
    str_free(&lines);
    return rc;
}

struct runfolder_asked runfolder_count(const struct medqa *m, size_t n)
{
    struct runfolder_asked a = {.records = n && n < m->n_records ? n : m->n_records};
    for (size_t i = 0; i < a.records; i++) {
        a.duplicates += m->record[i].kind == MEDQA_DUPLICATE;
        a.rejected += m->record[i].kind == MEDQA_REJECTED;
    }
    a.questions = medqa_first(m, a.records);
    return a;
}

/* Appends the "engine" of the existing summary, unchanged; nothing if no summary exists. */
static void former_figures(const char *dir, struct str *out)
{
    struct str text = STR_INIT;
    struct jscan j = {.n = 0};
    struct jscan_item it = {.key = NULL};
    struct err e;
    char path[1100];
    snprintf(path, sizeof path, "%s/summary.json", dir);
    if (zio_read(path, (size_t)64 << 20, &text, &e) < 0)
        return;
    jscan_set(&j, text.s, text.len);
    if (jscan_open(&j, '{', &e) == 0)
        while (jscan_next(&j, &it, &e) > 0)
            if (jscan_key(&it, "engine"))
                str_add(out, it.value, it.n);
    jscan_free(&j);
    str_free(&text);
}

int runfolder_report(struct trace *t, const char *dir, const char *title, const char *engine,
                     const char *cause, struct err *e)
{
    struct trace_run run = {.asked = 0};
    struct stats_summary s = {.answered = 0};
    struct str figures = STR_INIT, work = STR_INIT;
    int rc;
    TRY_DONE(trace_read(dir, &run, e));
    TRY_DONE(stats_summarize(&run, run.price_kwh, &s, e));
    report_figures(&s, &figures);
    trace_add_cause(&figures, cause);
    TRY_DONE(str_ok(&figures, "run.json", e));
    TRY_DONE(trace_figures(t, figures.s, e));
    str_clear(&run.json);
    str_adds(&run.json, trace_json(t));
    str_adds(&work, engine);
    if (!work.len) /* the figures of the last start that computed anything */
        former_figures(dir, &work);
    TRY_DONE(str_ok(&work, "summary.json", e));
    TRY_DONE(output_reports(&run, work.s, run.price_kwh, title, dir, e));
done:
    stats_free(&s);
    trace_run_free(&run);
    str_free(&figures);
    str_free(&work);
    return rc;
}

int runfolder_reasons(const struct trace *t, size_t n, struct err *e)
{
    const struct results *rs = trace_results(t);
    struct retried failed = {.ids = NULL};
    struct str text = STR_INIT;
    int rc = 0;
    for (size_t i = 0; i < rs->n && rc == 0; i++)
        if (rs->r[i].state == CONSULT_FAILED && (size_t)rs->r[i].index < n)
            rc = retried_add(&failed, rs->r[i].id, "00000000", rs->r[i].why, e);
    retried_why(&failed, &text);
    if (rc == 0)
        rc = str_ok(&text, "reasons", e);
    if (rc == 0 && text.len)
        fprintf(stderr, "failed:%s\n", text.s);
    retried_free(&failed);
    str_free(&text);
    return rc;
}
