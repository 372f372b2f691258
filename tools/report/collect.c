#include "collect.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "embed.h"
#include "folder.h"
#include "gridcell.h"
#include "jdoc.h"
#include "jscan.h"
#include "manifest.h"
#include "medqa.h"
#include "outfile.h"
#include "recorded.h"
#include "replay.h"
#include "report.h"
#include "review.h"
#include "sha256.h"
#include "stats.h"
#include "study.h"
#include "trace_parts.h"
#include "trace_scan.h"
#include "vary.h"
#include "zio.h"

#define COLLECT_PROMPT ((size_t)4 << 20) /* largest file of prompts */
#define COLLECT_NAMES 512                /* files in a folder of prompts */
#define COLLECT_TOP 40 /* bytes of the name of the folder in the archive: longer ones are cut */

static int collect_file(struct bundle *b, const char *path, const char *name, struct err *e)
{
    struct str data = STR_INIT;
    int rc = zio_read_raw(path, BUNDLE_BYTES, &data, e);
    if (!rc)
        rc = bundle_add(b, name, &data, e);
    str_free(&data);
    return rc;
}

static int collect_named(struct bundle *b, const char *dir, const char *name, struct err *e)
{
    char path[1200];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return access(path, F_OK) == 0 ? collect_file(b, path, name, e) : 0;
}

/* The whole cases of a run that is not sealed: it was killed, or goes on. */
static int collect_open_trace(struct bundle *b, const char *dir, struct err *e)
{
    struct replay lines = {.text = STR_INIT};
    struct str data = STR_INIT;
    int rc;
    TRY_DONE(replay_open(dir, &lines, e));
    str_add(&data, lines.text.s, lines.text.len - lines.unfinished);
    TRY_DONE(bundle_add(b, "traces.jsonl", &data, e));
done:
    replay_free(&lines);
    str_free(&data);
    return rc;
}

/* run.json with other figures; all other bytes stay. */
static int collect_run_json(const struct trace_run *run, const struct str *figures, struct str *out,
                            struct err *e)
{
    struct jscan j = {.n = 0};
    struct jscan_item it = {.key = NULL}, at = {.key = NULL};
    int rc, more;
    jscan_set(&j, run->json.s, run->json.len);
    TRY_DONE(jscan_open(&j, '{', e));
    while ((more = jscan_next(&j, &it, e)) > 0)
        if (jscan_key(&it, "figures"))
            at = it;
    TRY_DONE(more);
    if (!at.key)
        TRY_DONE(err_set(e, ERR_DATA, "run.json: key 'figures' is missing"));
    str_add(out, run->json.s, (size_t)(at.value - run->json.s));
    str_add(out, figures->s, figures->len);
    str_adds(out, at.value + at.n);
    rc = str_ok(out, "run.json", e);
done:
    jscan_free(&j);
    return rc;
}

/* run.json, summary.json and results.csv as they are, or with the figures of the trace when a kill
 * has left older ones. *renewed: it has. */
static int collect_figures(struct bundle *b, const char *dir, bool *renewed, struct err *e)
{
    struct trace_run run = {.asked = 0};
    struct stats_summary s = {.answered = 0};
    struct str figures = STR_INIT, text = STR_INIT;
    json_t *doc = NULL, *now = NULL;
    int rc;
    TRY_DONE(trace_read(dir, &run, e));
    TRY_DONE(stats_summarize(&run, run.price_kwh, &s, e));
    report_figures(&s, &figures);
    TRY_DONE(str_ok(&figures, "figures", e));
    TRY_DONE(jdoc_load(run.json.s, run.json.len, &doc, e));
    TRY_DONE(jdoc_load(figures.s, figures.len, &now, e));
    const json_t *was = json_object_get(doc, "figures");
    *renewed = !json_equal(json_object_get(was, "done"), json_object_get(now, "done"));
    if (!*renewed) {
        TRY_DONE(collect_named(b, dir, "run.json", e));
        TRY_DONE(collect_named(b, dir, "summary.json", e));
        rc = collect_named(b, dir, "results.csv", e);
        goto done;
    }
    TRY_DONE(collect_run_json(&run, &figures, &text, e));
    str_clear(&run.json);
    str_add(&run.json, text.s, text.len);
    TRY_DONE(bundle_add(b, "run.json", &text, e));
    report_json(&s, run.json.s, "", &text);
    TRY_DONE(bundle_add(b, "summary.json", &text, e));
    TRY_DONE(report_csv(&run, &text, e));
    rc = bundle_add(b, "results.csv", &text, e);
done:
    json_decref(doc);
    json_decref(now);
    stats_free(&s);
    trace_run_free(&run);
    str_free(&figures);
    str_free(&text);
    return rc;
}

static bool collect_sealed(const char *dir)
{
    char path[1200];
    struct folder f = {.lock = -1};
    bool plain = true;
    struct err ignored;
    snprintf(path, sizeof path, "%s/traces.jsonl.gz", dir);
    snprintf(f.dir, sizeof f.dir, "%s", dir);
    return access(path, F_OK) == 0 && !trace_parts_any(&f) &&
           trace_plain(&f, &plain, &ignored) == 0 && !plain;
}

/* The former traces that run.json names. A lost one stays lost: mas verify finds it missing. */
static int collect_former(struct bundle *b, const char *dir, struct err *e)
{
    char path[1200];
    struct str text = STR_INIT;
    struct retried r = {.ids = NULL};
    json_t *doc = NULL, *v;
    const char *name;
    int rc;
    snprintf(path, sizeof path, "%s/run.json", dir);
    TRY_DONE(zio_read(path, MANIFEST_BYTES, &text, e));
    TRY_DONE(jdoc_load(text.s, text.len, &doc, e));
    TRY_DONE(retried_read(doc, &r, e));
    json_object_foreach(r.files, name, v)
    {
        TRY_DONE(collect_named(b, dir, name, e));
    }
done:
    retried_free(&r);
    json_decref(doc);
    str_free(&text);
    return rc;
}

static int collect_folder(struct bundle *b, const char *dir, bool *renewed, struct err *e)
{
    *renewed = false;
    TRY(collect_former(b, dir, e));
    TRY(collect_named(b, dir, "records.jsonl", e));
    TRY(collect_named(b, dir, VARY_FILE, e));
    if (!collect_sealed(dir)) {
        TRY(collect_figures(b, dir, renewed, e));
        return collect_open_trace(b, dir, e);
    }
    TRY(collect_named(b, dir, "traces.jsonl.gz", e));
    TRY(collect_named(b, dir, "run.json", e));
    TRY(collect_named(b, dir, "summary.json", e));
    return collect_named(b, dir, "results.csv", e);
}

/* ---- prompts --------------------------------------------------------------------------------- */

static bool collect_is_prompt(const char *name)
{
    const char *dot = strrchr(name, '.');
    return name[0] != '.' && dot && (!strcmp(dot, ".txt") || !strcmp(dot, ".json"));
}

/* The files inside the program: configs/prompts/S/.. */
static int collect_built_in(struct bundle *b, const char *folder, struct err *e)
{
    char from[128], name[256];
    snprintf(from, sizeof from, "configs/prompts/%.60s/", folder);
    for (const struct embed_file *f = embed_table; f->path; f++) {
        struct str data = STR_INIT;
        if (strncmp(f->path, from, strlen(from)) != 0)
            continue;
        snprintf(name, sizeof name, "review/prompts/%.60s/%.100s", folder, f->path + strlen(from));
        str_add(&data, f->data, f->size);
        const int rc = bundle_add(b, name, &data, e);
        str_free(&data);
        TRY(rc);
    }
    return 0;
}

/* One folder of prompts: of the strategy, or of forms that several strategies share. */
static int collect_prompt_folder(struct bundle *b, const char *from, const char *folder,
                                 struct err *e)
{
    char dir[1200], path[1500], name[300];
    struct dirent *d;
    int rc = 0, n = 0;
    if (!*from)
        return collect_built_in(b, folder, e);
    snprintf(dir, sizeof dir, "%s/%.60s", from, folder);
    DIR *list = opendir(dir);
    if (!list)
        FAIL(e, ERR_NOINPUT, "cannot open the folder of prompts %s: %s", dir, strerror(errno));
    while (!rc && (d = readdir(list)) != NULL) {
        if (!collect_is_prompt(d->d_name))
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, d->d_name);
        snprintf(name, sizeof name, "review/prompts/%.60s/%.100s", folder, d->d_name);
        rc = ++n > COLLECT_NAMES
                 ? err_set(e, ERR_DATA, "%s has more than %d files", dir, COLLECT_NAMES)
                 : collect_file(b, path, name, e);
    }
    closedir(list);
    return rc;
}

/* The folders that the names of the run's prompts begin with: "panel/planner". */
static int collect_prompts(struct bundle *b, const char *dir, const struct recorded *r,
                           struct err *e)
{
    const json_t *prompts = json_object_get(r->identity, "prompts");
    json_t *done = json_object(), *v;
    const char *key;
    char packed[REVIEW_PATH] = "";
    int rc = done ? 0 : NOMEM(e, 1, "names of folders");
    if (!review_file(dir, REVIEW_PROMPTS, packed))
        packed[0] = 0;
    json_object_foreach((json_t *)(uintptr_t)prompts, key, v)
    {
        char folder[64];
        snprintf(folder, sizeof folder, "%.*s", (int)strcspn(key, "/"), key);
        if (rc || json_object_get(done, folder))
            continue;
        if (json_object_set_new(done, folder, json_true()) != 0)
            rc = NOMEM(e, 1, "names of folders");
        else
            rc = collect_prompt_folder(b, packed[0] ? packed : recorded_text(r, "prompts_dir"),
                                       folder, e);
    }
    json_decref(done);
    return rc;
}

static int collect_catalogue(struct bundle *b, const char *dir, const struct recorded *r,
                             struct err *e)
{
    const char *from = recorded_text(r, "specialties");
    const struct embed_file *f = embed_find("configs/specialties.yaml");
    struct str data = STR_INIT;
    char packed[REVIEW_PATH];
    if (review_file(dir, REVIEW_SPECIALTIES, packed))
        from = packed;
    if (*from)
        return collect_file(b, from, "review/specialties.yaml", e);
    if (f)
        str_add(&data, f->data, f->size);
    int rc = bundle_add(b, "review/specialties.yaml", &data, e);
    str_free(&data);
    return rc;
}

/* ---- questions, settings, page, manifest ----------------------------------------------------- */

static int collect_data(struct bundle *b, const char *dir, const struct recorded *r,
                        const char *given, bool *has, struct err *e)
{
    const json_t *of = json_object_get(r->about, "data");
    const char *path = given ? given : json_is_string(of) ? json_string_value(of) : "";
    char packed[REVIEW_PATH];
    struct str data = STR_INIT;
    char hash[65];
    int rc = 0;
    *has = false;
    if (!given && review_file(dir, REVIEW_QUESTIONS, packed))
        path = packed;
    if (!given && (!*path || !strcmp(path, "-") || access(path, R_OK) != 0))
        return 0;
    TRY_DONE(zio_read(path, MEDQA_FILE, &data, e)); /* the hash is of the bytes after inflation */
    TRY_DONE(sha256_hex(data.s, data.len, hash, e));
    if (!strcmp(hash, recorded_text(r, "data_sha256"))) {
        *has = true;
        rc = bundle_add(b, "review/questions.jsonl", &data, e);
    } else if (given) {
        rc = err_set(e, ERR_DATA, "%s is not the run's data: its sha256 is %s, the run's %s", path,
                     hash, recorded_text(r, "data_sha256"));
    }
done:
    str_free(&data);
    return rc;
}

static int collect_settings(struct bundle *b, const struct recorded *r, struct err *e)
{
    char *s = json_dumps(r->about, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
    struct str data = STR_INIT;
    if (!s)
        return NOMEM(e, 1, "the settings");
    str_adds(&data, s);
    str_addc(&data, '\n');
    mem_free(s);
    int rc = bundle_add(b, "review/config.json", &data, e);
    str_free(&data);
    return rc;
}

static int collect_page(struct bundle *b, const char *const *dir, size_t n, const char *data,
                        struct err *e)
{
    struct study s = {.n = 0};
    struct str page = STR_INIT;
    int rc;
    TRY_DONE(study_open(dir, n, data, (double)NAN, &s, e));
    TRY_DONE(study_page(&s, &page, e));
    TRY_DONE(bundle_add(b, "review/report.html", &page, e));
done:
    study_close(&s);
    str_free(&page);
    return rc;
}

/* of: the identity of the run; NULL = the bundle is of an experiment. */
static int collect_manifest(struct bundle *b, const json_t *of, struct err *e)
{
    struct str s = STR_INIT;
    char hash[65];
    int rc = 0;
    char *identity = of ? json_dumps(of, 0) : NULL;
    bundle_sort(b); /* a folder of prompts is read in any order */
    str_addf(&s, "{\"format\": 1, \"program\": \"%s\",\n\"identity\": %s,\n\"files\": [",
             MAS_COMMIT, identity ? identity : "null");
    s.failed |= of && !identity;
    mem_free(identity);
    for (size_t i = 0; i < b->n && !rc; i++) {
        rc = sha256_hex(b->f[i].data.s, b->f[i].data.len, hash, e);
        str_addf(&s, "%s\n{\"name\": \"%s\", \"bytes\": %zu, \"sha256\": \"%s\"}", i ? "," : "",
                 b->f[i].name, b->f[i].data.len, hash);
    }
    str_adds(&s, "]}\n");
    if (!rc)
        rc = bundle_add(b, "review/manifest.json", &s, e);
    str_free(&s);
    return rc;
}

static void collect_top(const char *dir, char out[64])
{
    size_t end = strlen(dir), n = 0;
    while (end > 1 && dir[end - 1] == '/')
        end--;
    size_t begin = end;
    while (begin && dir[begin - 1] != '/')
        begin--;
    for (size_t i = begin; i < end && n < COLLECT_TOP; i++) {
        const char c = dir[i];
        const bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                          (c >= '0' && c <= '9') || c == '-' || c == '_' || (c == '.' && n);
        out[n++] = good ? c : '_';
    }
    out[n] = 0;
    if (!n)
        snprintf(out, 64, "run");
}

int collect_run(const char *dir, const char *data, struct bundle *out, struct collect_notes *notes,
                struct err *e)
{
    struct bundle b = {.n = 0};
    struct recorded r = {.n_set = 0};
    int rc;
    collect_top(dir, b.top);
    notes->has_page = true;
    TRY_DONE(recorded_open(dir, &r, e));
    TRY_DONE(collect_page(&b, &dir, 1, data, e)); /* reads the whole run: refuses damage */
    TRY_DONE(collect_folder(&b, dir, &notes->renewed, e));
    if (!r.imported) {
        TRY_DONE(collect_prompts(&b, dir, &r, e));
        TRY_DONE(collect_catalogue(&b, dir, &r, e));
    }
    TRY_DONE(collect_data(&b, dir, &r, data, &notes->has_data, e));
    TRY_DONE(collect_settings(&b, &r, e));
    TRY_DONE(collect_manifest(&b, r.identity, e));
    *out = b;
    b = (struct bundle){.n = 0};
done:
    bundle_free(&b);
    recorded_close(&r);
    return rc;
}

/* ---- an experiment --------------------------------------------------------------------------- */

/* One run of an experiment, below its folder. */
static int collect_cell(struct bundle *b, const char *dir, struct collect_notes *notes,
                        struct err *e)
{
    struct recorded r = {.n_set = 0};
    bool renewed = false;
    int rc;
    TRY_DONE(recorded_open(dir, &r, e));
    TRY_DONE(collect_folder(b, dir, &renewed, e));
    notes->renewed |= renewed;
    TRY_DONE(collect_prompts(b, dir, &r, e));
    TRY_DONE(collect_catalogue(b, dir, &r, e));
    TRY_DONE(collect_settings(b, &r, e));
done:
    recorded_close(&r);
    return rc;
}

/* The cells that have begun: dir (*n) of them, made in the arena. */
static int collect_cells(struct bundle *b, const char *dir, const struct gridfile *f,
                         struct arena *words, const char **begun, size_t *n,
                         struct collect_notes *notes, struct err *e)
{
    struct err why = {.code = 0};
    for (size_t i = 0; i < f->n - f->n_removed; i++) {
        const int is = gridcell_check(dir, f, i, &why);
        if (is == ERR_NOINPUT)
            continue;
        if (is < 0)
            FAIL(e, is, "%s", why.msg);
        begun[*n] = arena_printf(words, "%s/%s", dir, f->cell[i].name);
        if (!begun[*n])
            return NOMEM(e, 1024, "the name of a folder");
        b->under = f->cell[i].name;
        const int rc = collect_cell(b, begun[(*n)++], notes, e);
        b->under = NULL;
        if (rc < 0)
            return err_wrap(e, rc, "cell %s", f->cell[i].name);
    }
    if (!*n)
        FAIL(e, ERR_NOINPUT, "no run of the experiment %s has begun", dir);
    return 0;
}

int collect_experiment(const char *dir, const char *data, struct bundle *out,
                       struct collect_notes *notes, struct err *e)
{
    struct bundle b = {.n = 0};
    struct gridfile f = {.n = 0};
    struct recorded r = {.n_set = 0};
    struct arena words = {.limit = (size_t)64 << 20};
    const char **begun = NULL;
    size_t n = 0;
    int rc;
    collect_top(dir, b.top);
    TRY_DONE(gridfile_read(dir, &f, e));
    begun = arena_alloc(&words, f.n + 1, sizeof *begun);
    if (!begun)
        TRY_DONE(NOMEM(e, f.n * sizeof *begun, "names of folders"));
    TRY_DONE(collect_cells(&b, dir, &f, &words, begun, &n, notes, e));
    TRY_DONE(collect_named(&b, dir, GRIDFILE_NAME, e));
    TRY_DONE(collect_named(&b, dir, "summary.json", e));
    TRY_DONE(recorded_open(begun[0], &r, e));
    TRY_DONE(collect_data(&b, begun[0], &r, data, &notes->has_data, e));
    notes->has_page = n <= STUDY_RUNS;
    if (notes->has_page)
        TRY_DONE(collect_page(&b, begun, n, data, e));
    TRY_DONE(collect_manifest(&b, NULL, e));
    *out = b;
    b = (struct bundle){.n = 0};
done:
    bundle_free(&b);
    gridfile_free(&f);
    recorded_close(&r);
    arena_free(&words);
    return rc;
}

/* ---- unpacking ------------------------------------------------------------------------------- */

int collect_unpack(const struct bundle *b, const char *dir, struct err *e)
{
    char path[1200];
    for (size_t i = 0; i < b->n; i++) {
        const char *name = b->f[i].name;
        for (const char *s = strchr(name, '/'); s; s = strchr(s + 1, '/')) {
            snprintf(path, sizeof path, "%s/%.*s", dir, (int)(s - name), name);
            if (mkdir(path, 0777) != 0 && errno != EEXIST)
                FAIL(e, ERR_CREATE, "cannot create the folder %s: %s", path, strerror(errno));
        }
        snprintf(path, sizeof path, "%s/%s", dir, name);
        TRY(outfile_save(path, b->f[i].data.s, b->f[i].data.len, e));
    }
    return 0;
}

void collect_remove(const struct bundle *b, const char *dir)
{
    char path[1200];
    for (size_t i = 0; i < b->n; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, b->f[i].name);
        (void)unlink(path);
    }
    for (size_t depth = 0; depth < 6; depth++) /* the deepest folders go first */
        for (size_t i = 0; i < b->n; i++) {
            snprintf(path, sizeof path, "%s/%s", dir, b->f[i].name);
            for (char *s = strrchr(path, '/'); s && (size_t)(s - path) > strlen(dir);
                 s = strrchr(path, '/')) {
                *s = 0;
                (void)rmdir(path);
            }
        }
    (void)rmdir(dir);
}
