#include "verify.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "catalog.h"
#include "jdoc.h"
#include "llm.h"
#include "manifest.h"
#include "medqa.h"
#include "recorded.h"
#include "replay.h"
#include "report.h"
#include "review.h"
#include "sha256.h"
#include "source.h"
#include "sources.h"
#include "stats.h"
#include "strategy.h"
#include "tool_options.h"
#include "trace.h"
#include "vary.h"
#include "verify_part.h"
#include "zio.h"

void verify_say(struct verify_check *c, enum verify_word k, const char *fmt, ...)
{
    static const char *const word[] = {"same: ", "DIFFERS: ", "not checked: ", "unfinished: "};
    char text[1400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    c->v->n_same += k == SAME;
    c->v->n_differ += k == DIFFERS;
    c->v->n_open += k == OPEN || k == UNFINISHED;
    str_addf(&c->v->text, "%s%s%s\n", c->o->lead ? c->o->lead : "", word[k], text);
}

int verify_found(struct verify_check *c, int rc, const struct err *why, const char *part,
                 struct err *e)
{
    if (rc == ERR_DATA || rc == ERR_CONFIG || rc == ERR_NOINPUT)
        verify_say(c, DIFFERS, "%s: %s", part, why->msg);
    else
        FAIL(e, rc, "%s", why->msg);
    return 0;
}

bool verify_at_hand(const struct verify_check *c, const char *name, char path[1200])
{
    snprintf(path, 1200, "%s/%s", c->o->dir, name);
    return access(path, F_OK) == 0;
}

static int hash_of(const char *path, char hex[65], size_t *bytes, struct err *e)
{
    struct str data = STR_INIT;
    int rc;
    TRY_DONE(zio_read_raw(path, VERIFY_BYTES, &data, e));
    *bytes = data.len;
    TRY_DONE(sha256_hex(data.s, data.len, hex, e));
done:
    str_free(&data);
    return rc;
}

/* ---- the manifest of a bundle ---------------------------------------------------------------- */

int verify_file(struct verify_check *c, const struct verify_listed *f, int *bad, struct err *e)
{
    char path[1200], hex[65];
    size_t n = 0;
    if (!verify_at_hand(c, f->name, path)) {
        verify_say(c, DIFFERS, "%s: missing; %s lists it", f->name, f->by);
        (*bad)++;
        return 0;
    }
    TRY(hash_of(path, hex, &n, e));
    if (strcmp(hex, f->sha256) != 0) {
        verify_say(c, DIFFERS, "%s: %zu bytes of sha256 %s; %s has %lld bytes of %.64s", f->name, n,
                   hex, f->by, (long long)f->bytes, f->sha256);
        (*bad)++;
    }
    return 0;
}

static int check_file(struct verify_check *c, const json_t *row, int *bad, struct err *e)
{
    struct verify_listed f = {.by = "the manifest"};
    json_int_t bytes = 0;
    TRY(jdoc_string(row, "name", &f.name, e));
    TRY(jdoc_string(row, "sha256", &f.sha256, e));
    TRY(jdoc_int(row, "bytes", 0, INT64_MAX, &bytes, e));
    f.bytes = bytes;
    if (strstr(f.name, "..") || f.name[0] == '/')
        FAIL(e, ERR_DATA, "the name '%.80s' leads out of the folder", f.name);
    return verify_file(c, &f, bad, e);
}

int verify_manifest(struct verify_check *c, struct err *e)
{
    char path[1200];
    struct str text = STR_INIT;
    json_t *doc = NULL, *files = NULL;
    struct err why = {.code = 0};
    int rc = 0, bad = 0;
    if (!verify_at_hand(c, "review/manifest.json", path)) {
        verify_say(c, OPEN,
                   "hashes of the files: the folder has no review/manifest.json; a bundle has");
        return 0;
    }
    rc = zio_read(path, (size_t)64 << 20, &text, &why);
    if (!rc)
        rc = jdoc_load(text.s, text.len, &doc, &why);
    if (!rc)
        rc = jdoc_array(doc, "files", 1, 100000, &files, &why);
    for (size_t i = 0; !rc && i < json_array_size(files); i++)
        rc = check_file(c, json_array_get(files, i), &bad, &why);
    if (!rc && c->recorded.identity &&
        !json_equal(json_object_get(doc, "identity"), c->recorded.identity)) {
        verify_say(c, DIFFERS, "run.json: its identity is not the manifest's");
        bad++;
    }
    if (!rc && !bad)
        verify_say(c, SAME, "hashes of the %zu files in the manifest", json_array_size(files));
    json_decref(doc);
    str_free(&text);
    return rc ? verify_found(c, rc, &why, "review/manifest.json", e) : 0;
}

/* ---- the trace ------------------------------------------------------------------------------- */

static int check_trace(struct verify_check *c, struct err *e)
{
    struct err why = {.code = 0};
    int rc = trace_read(c->o->dir, &c->run, &why);
    if (!rc)
        rc = replay_open(c->o->dir, &c->lines, &why);
    if (rc)
        return verify_found(c, rc, &why, "records and trace", e);
    c->has_run = true;
    if (c->lines.unfinished)
        verify_say(c, UNFINISHED, "%s: %zu bytes of a case that was being written at the end",
                   c->lines.path, c->lines.unfinished);
    verify_say(c, SAME,
               "checksums of the trace's lines: %zu cases, each question once, each a record of "
               "records.jsonl",
               c->lines.n);
    return 0;
}

/* The settings of the run, with the prompts of a bundle. */
static int prompts_setup(const struct verify_check *c, struct config *config, struct err *e)
{
    char path[1200], set[1300];
    TRY(tool_config_init(config, e));
    for (int i = 0; i < c->recorded.n_set; i++)
        TRY(config_set(config, c->recorded.set[i], e));
    if (review_file(c->o->dir, REVIEW_PROMPTS, path)) {
        snprintf(set, sizeof set, "prompts_dir=%s", path);
        TRY(config_set(config, set, e));
    }
    if (review_file(c->o->dir, REVIEW_SPECIALTIES, path)) {
        snprintf(set, sizeof set, "specialties=%s", path);
        TRY(config_set(config, set, e));
    }
    return config_check(config, e);
}

/* A number of a call's line against the one that the settings give; NaN = not known. */
static void check_number(struct verify_check *c, const json_t *line, size_t number, const char *key,
                         double want, int *bad)
{
    const json_t *v = json_object_get(line, key);
    const double is = json_number_value(v);
    if (!json_is_number(v) || isnan(want) || (is >= want && is <= want) || (*bad)++ >= VERIFY_SHOWN)
        return;
    verify_say(c, DIFFERS, "trace, line %zu: %s %.9g, the settings of run.json give %.9g", number,
               key, is, want);
}

static const struct strategy_role *find_role(const struct strategy *s, const char *name)
{
    for (const struct strategy_role *r = s ? s->role : NULL; r && r->name; r++)
        if (!strcmp(r->name, name))
            return r;
    return NULL;
}

/* One call line: the prompt's hash, seed and temperature are those of run.json. of: NULL = the
 * settings are not known to this program. */
static void check_call(struct verify_check *c, const struct agent_options *of,
                       const struct strategy *s, const json_t *line, size_t number, int *bad)
{
    const json_t *prompts = json_object_get(c->recorded.identity, "prompts");
    const json_t *config = json_object_get(c->recorded.identity, "config");
    size_t n = 0;
    const char *name = replay_text(line, "prompt", &n),
               *hash = replay_text(line, "prompt_hash", &n), *role = replay_text(line, "role", &n);
    const char *want = json_string_value(json_object_get(prompts, name));
    const json_t *seed = json_object_get(line, "seed"), *own = json_object_get(config, "seed");
    if (*hash && (!want || strcmp(want, hash) != 0) && (*bad)++ < VERIFY_SHOWN)
        verify_say(c, DIFFERS, "trace, line %zu: prompt %.60s has hash %.40s, run.json says %.40s",
                   number, name, hash, want ? want : "nothing");
    if (json_is_integer(seed) && json_is_integer(own) && !json_equal(seed, own) &&
        (*bad)++ < VERIFY_SHOWN)
        verify_say(c, DIFFERS, "trace, line %zu: seed %lld, run.json says %lld", number,
                   (long long)json_integer_value(seed), (long long)json_integer_value(own));
    const struct strategy_role *r = find_role(s, role);
    if (of && s && !r && (*bad)++ < VERIFY_SHOWN)
        verify_say(c, DIFFERS, "trace, line %zu: role %.40s, strategy %s of run.json has none such",
                   number, role, s->name);
    if (!of || !r)
        return;
    check_number(c, line, number, "temperature", (double)(float)strategy_temperature(of, r), bad);
    check_number(c, line, number, "top_p", (double)(float)of->top_p, bad);
    if (!*recorded_text(&c->recorded, "match_tokens") && !(r->needs & LLM_CAN_SCORE))
        check_number(c, line, number, "max_tokens", strategy_tokens(of, r), bad);
}

static int check_calls(struct verify_check *c, struct err *e)
{
    size_t number = 0, calls = 0;
    int bad = 0, rc = 0;
    struct config config = {.n = 0};
    const struct strategy *s = NULL;
    const struct agent_options *of = NULL;
    struct err why = {.code = 0};
    if (!c->recorded.imported && prompts_setup(c, &config, &why) == 0) {
        of = config_of(&config, &agent_option_set);
        if (strategy_find(of->strategy, &s, &why) < 0)
            s = NULL; /* check_prompts names it */
    }
    for (size_t i = 0; i < c->lines.n; i++) {
        const char *line;
        size_t n;
        for (size_t at = c->lines.c[i].first;
             replay_line(&c->lines, &c->lines.c[i], &at, &line, &n);) {
            json_t *doc = NULL;
            TRY_DONE(replay_parse(line, n, &doc, e));
            number++;
            if (json_object_get(doc, "call")) {
                calls++;
                check_call(c, of, s, doc, number, &bad);
            }
            json_decref(doc);
        }
    }
    if (bad > VERIFY_SHOWN)
        verify_say(c, DIFFERS, "trace: %d more such lines", bad - VERIFY_SHOWN);
    if (!bad)
        verify_say(c, SAME, "prompt hashes, seed and temperatures of %zu calls", calls);
done:
    config_free(&config);
    return rc;
}

/* ---- prompts and catalogue ------------------------------------------------------------------- */

static void no_reply(struct llm_call *call, void *user)
{
    (void)call;
    (void)user;
}

static void compare_prompts(struct verify_check *c, const json_t *now, const char *from)
{
    const json_t *was = json_object_get(c->recorded.identity, "prompts");
    const char *key;
    json_t *v;
    int bad = 0;
    json_object_foreach((json_t *)(uintptr_t)was, key, v)
    {
        const char *is = json_string_value(json_object_get(now, key));
        const char *want = json_string_value(v);
        if (is && want && !strcmp(is, want))
            continue;
        bad++;
        verify_say(c, DIFFERS, "prompt %.60s: its hash is %.40s, the run had %.40s (%s)", key,
                   is ? is : "none", want ? want : "none", from);
    }
    if (!bad)
        verify_say(c, SAME, "%zu prompts and schemas (%s)", json_object_size(was), from);
}

/* Opens the strategy on a model that is never asked, for the hashes of its prompts. */
static int check_prompts(struct verify_check *c, struct err *e)
{
    struct config config = {.n = 0};
    struct catalog catalog = {.n = 0};
    struct llm *llm = NULL;
    struct strategy_env env = {.llm = NULL};
    struct str text = STR_INIT;
    json_t *now = NULL;
    char path[1200];
    const char *from = review_file(c->o->dir, REVIEW_PROMPTS, path)  ? "review/prompts"
                       : *recorded_text(&c->recorded, "prompts_dir") ? "prompts_dir of the run"
                                                                     : "built in";
    struct err why = {.code = 0};
    const struct agent_options *of = NULL;
    int rc = prompts_setup(c, &config, &why);
    if (!rc) {
        of = config_of(&config, &agent_option_set);
        rc = catalog_read(of->specialties, &catalog, &why);
    }
    if (!rc)
        rc = llm_script_open(no_reply, NULL, 1, &llm, &why);
    if (!rc) {
        env = (struct strategy_env){.llm = llm, .config = &config, .catalog = &catalog};
        rc = strategy_open(&env, &why);
    }
    if (!rc) {
        str_addf(&text, "{%s}", env.prompts.s);
        rc = str_ok(&text, "hashes", &why);
    }
    if (!rc)
        rc = jdoc_load(text.s, text.len, &now, &why);
    if (!rc) {
        const char *hash = recorded_text(&c->recorded, "specialties_sha256");
        compare_prompts(c, now, from);
        verify_say(c, strcmp(hash, catalog.hash) ? DIFFERS : SAME,
                   "catalogue of specialties%s%s%s%s",
                   strcmp(hash, catalog.hash) ? ": sha256 " : "",
                   strcmp(hash, catalog.hash) ? catalog.hash : "",
                   strcmp(hash, catalog.hash) ? ", the run had " : "",
                   strcmp(hash, catalog.hash) ? hash : "");
    }
    json_decref(now);
    str_free(&text);
    strategy_close(&env);
    llm_close(llm);
    catalog_free(&catalog);
    config_free(&config);
    return rc ? verify_found(c, rc, &why, "prompts", e) : 0;
}

/* ---- data and model -------------------------------------------------------------------------- */

/* Names the first record of the file that is not the one of records.jsonl. */
static void name_record(struct verify_check *c, const char *path, const struct medqa *m)
{
    const struct records *rs = &c->run.records;
    for (size_t i = 0; i < m->n_records && i < rs->n; i++) {
        const struct medqa_record *r = &m->record[i];
        const char *id = r->kind == MEDQA_REJECTED ? "" : m->question[r->question].id;
        if (!strcmp(id, rs->r[i].id) && r->kind == rs->r[i].kind)
            continue;
        verify_say(c, DIFFERS, "%s:%lld: record %zu is %.20s, the run had %.20s", path,
                   (long long)r->line, i + 1, *id ? id : "rejected",
                   *rs->r[i].id ? rs->r[i].id : "a rejected one");
        return;
    }
    if (m->n_records != rs->n)
        verify_say(c, DIFFERS, "%s: %zu records, the run had %zu", path, m->n_records, rs->n);
    else
        verify_say(c, DIFFERS, "%s: other bytes, but every question, option and key is the run's",
                   path);
}

static int check_data(struct verify_check *c, struct err *e)
{
    char packed[REVIEW_PATH];
    const json_t *of = json_object_get(c->recorded.about, "data");
    const char *path = json_is_string(of) ? json_string_value(of) : "";
    const char *want = recorded_text(&c->recorded, "data_sha256");
    struct medqa m = {.n = 0};
    struct err why = {.code = 0};
    if (c->o->data)
        path = c->o->data;
    else if (review_file(c->o->dir, REVIEW_QUESTIONS, packed))
        path = packed;
    else if (!*path || !strcmp(path, "-") || access(path, R_OK) != 0) {
        verify_say(c, OPEN, "data: the file '%.200s' is not at hand; give it with --data FILE",
                   path);
        return 0;
    }
    const json_t *form =
        json_object_get(json_object_get(c->recorded.about, "config"), "data_format");
    const int rc = medqa_read_as(path, json_string_value(form), &m, &why);
    if (rc)
        return verify_found(c, rc, &why, "data", e);
    path = path == packed ? "review/" REVIEW_QUESTIONS : path;
    const int varied = vary_recorded(c->o->dir, c->recorded.identity, &m, &why);
    if (varied) {
        medqa_free(&m);
        return verify_found(c, varied, &why, "variants of the data", e);
    }
    if (!strcmp(m.sha256, want)) {
        verify_say(c, SAME, "data: %s, sha256 %s", path, want);
    } else {
        verify_say(c, DIFFERS, "data: %s has sha256 %s, the run had %s", path, m.sha256, want);
        if (c->has_run)
            name_record(c, path, &m);
    }
    medqa_free(&m);
    return 0;
}

/* The hash of the model file, or the one that is known. */
static int model_hash(const struct verify_check *c, const char *name, char hex[65], struct err *e)
{
    struct verify_known *known = c->o->known;
    struct gguf *g = NULL;
    int rc;
    if (known && *known->name && !strcmp(known->name, name)) {
        memcpy(hex, known->sha256, 65);
        return 0;
    }
    TRY_DONE(sources_gguf(name, &g, e));
    TRY_DONE(source_sha256(g, NULL, NULL, hex, e));
    if (known && strlen(name) < sizeof known->name) {
        snprintf(known->name, sizeof known->name, "%s", name);
        memcpy(known->sha256, hex, 65);
    }
done:
    gguf_close(g);
    return rc;
}

static int check_model(struct verify_check *c, struct err *e)
{
    const char *want = recorded_text(&c->recorded, "model_sha256");
    const char *name = c->o->model ? c->o->model : recorded_text(&c->recorded, "model");
    struct err why = {.code = 0};
    char hex[65];
    if (!*want) {
        verify_say(c, OPEN,
                   "model: the run recorded no hash: a server or another program computed it");
        return 0;
    }
    const int rc = model_hash(c, name, hex, &why);
    if (rc == ERR_NOINPUT && !c->o->model) {
        verify_say(c, OPEN,
                   "model: '%.200s' is not at hand; give the file with -m FILE; its sha256 is %s",
                   name, want);
        return 0;
    }
    if (rc)
        return verify_found(c, rc, &why, "model", e);
    if (strcmp(hex, want) != 0)
        verify_say(c, DIFFERS, "model: %.200s has sha256 %s, the run had %s", name, hex, want);
    else
        verify_say(c, SAME, "model: %.200s, sha256 %s", name, want);
    return 0;
}

/* ---- the program -------------------------------------------------------------------------------
 */

/* Replies of two versions may differ, and only one of them is here. */
static int check_versions(struct verify_check *c, struct err *e)
{
    struct str versions = STR_INIT;
    int n = 0;
    manifest_versions(json_object_get(c->recorded.doc, "sessions"), &versions, &n);
    int rc = str_ok(&versions, "versions", e);
    if (rc == 0 && n > 1)
        verify_say(c, OPEN, "versions: %d versions of the program made this run: %.600s", n,
                   versions.s);
    str_free(&versions);
    return rc;
}

/* ---- all ------------------------------------------------------------------------------------- */

int verify_folder(const struct verify_options *o, struct verify *out, struct err *e)
{
    struct verify v = {.text = STR_INIT};
    struct verify_check c = {.o = o, .v = &v};
    int rc;
    TRY_DONE(recorded_open(o->dir, &c.recorded, e));
    if (!o->of_experiment)
        TRY_DONE(verify_manifest(&c, e));
    TRY_DONE(check_versions(&c, e));
    TRY_DONE(check_trace(&c, e));
    if (c.has_run) {
        TRY_DONE(verify_former(&c, e));
        TRY_DONE(check_calls(&c, e));
        TRY_DONE(verify_figures(&c, e));
    }
    if (c.recorded.imported)
        verify_say(&c, OPEN, "prompts: the answers were imported, so the run had none");
    else
        TRY_DONE(check_prompts(&c, e));
    TRY_DONE(check_data(&c, e));
    TRY_DONE(check_model(&c, e));
    TRY_DONE(str_ok(&v.text, "findings", e));
    *out = v;
    v = (struct verify){.text = STR_INIT};
done:
    verify_free(&v);
    trace_run_free(&c.run);
    replay_free(&c.lines);
    recorded_close(&c.recorded);
    return rc;
}

void verify_free(struct verify *v)
{
    if (v->text.s)
        str_free(&v->text);
}
