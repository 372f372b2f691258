#include "rerun.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "budget.h"
#include "clinic.h"
#include "identity.h"
#include "jdoc.h"
#include "mem.h"
#include "recorded.h"
#include "review.h"
#include "sources.h"
#include "trace_diff.h"
#include "vary.h"

#define RERUN_OWN 4 /* settings that are added: backend, model, prompts, catalogue */

struct rerun {
    const struct rerun_options *o;
    const struct replay *r;
    const struct replay_case *c;
    struct recorded recorded;
    struct arena words; /* settings that are added */
    struct clinic clinic;
    struct medqa data;
    const struct medqa_question *q;
    char *subset, *variants; /* of the run's identity */
    struct budget budget;    /* of the case alone */
    struct budget_row given;
    char dir[256];    /* of the second run, removed at the end; "" = none */
    int same, differ; /* calls */
    bool answer_same;
    bool finished;
    int rc; /* of the comparison */
    struct err err;
};

/* ---- the settings of the run ----------------------------------------------------------------- */

/* An unpacked bundle has its own prompts and catalogue. */
static int rerun_review(struct rerun *x, const char *key, const char *name,
                        struct clinic_options *to, struct err *e)
{
    char path[REVIEW_PATH];
    if (!review_file(x->o->dir, name, path))
        return 0;
    char *set = arena_printf(&x->words, "%s=%s", key, path);
    if (!set)
        return NOMEM(e, strlen(path), "a setting");
    to->set[to->n_set++] = set;
    return 0;
}

/* The settings that decide results, the backend, those of a bundle; then those of the command
 * line. */
static int rerun_settings(struct rerun *x, struct clinic_options *to, struct err *e)
{
    const struct recorded *r = &x->recorded;
    if (r->imported)
        FAIL(e, ERR_CONFIG,
             "the answers of this run were imported: there is nothing to compute "
             "again");
    const char *provider = recorded_text(r, "provider"), *backend = recorded_text(r, "backend");
    if (r->n_set + x->o->n_set + RERUN_OWN > CLINIC_SETS)
        FAIL(e, ERR_DATA, "run.json has %d settings, the limit is %d", r->n_set,
             CLINIC_SETS - x->o->n_set - RERUN_OWN);
    for (int i = 0; i < r->n_set; i++)
        to->set[to->n_set++] = r->set[i];
    if (*backend && !strcmp(provider, "local")) {
        char *kind = arena_printf(&x->words, "backend=%s", backend);
        if (!kind)
            return NOMEM(e, strlen(backend), "a setting");
        to->set[to->n_set++] = kind;
    }
    TRY(rerun_review(x, "prompts_dir", REVIEW_PROMPTS, to, e));
    TRY(rerun_review(x, "specialties", REVIEW_SPECIALTIES, to, e));
    for (int i = 0; i < x->o->n_set; i++)
        to->set[to->n_set++] = x->o->set[i];
    if (x->o->model) { /* after the run's own */
        char *model = arena_printf(&x->words, "model=%s", x->o->model);
        if (!model)
            return NOMEM(e, strlen(x->o->model), "a setting");
        to->set[to->n_set++] = model;
    }
    return 0;
}

/* ---- the question ---------------------------------------------------------------------------- */

static int rerun_question(struct rerun *x, struct err *e)
{
    const char *id = x->r->results.r[x->c->result].id;
    const char *path = json_string_value(json_object_get(x->recorded.about, "data"));
    char packed[REVIEW_PATH];
    struct str file = STR_INIT;
    int rc;
    if (!x->o->data && review_file(x->o->dir, REVIEW_QUESTIONS, packed))
        path = packed;
    if (!x->o->data && (!path || !strcmp(path, "-")))
        FAIL(e, ERR_NOINPUT,
             "the run had its case from the command line; give a file of questions "
             "that has it with --data FILE");
    TRY_DONE(sources_data(x->o->data ? x->o->data : path, &file, e));
    const json_t *format =
        json_object_get(json_object_get(x->recorded.about, "config"), "data_format");
    rc = medqa_read_as(file.s, json_string_value(format), &x->data, e);
    if (rc < 0 && !x->o->data)
        err_wrap(e, rc, "the questions of the run (give them with --data FILE)");
    TRY_DONE(rc);
    TRY_DONE(vary_recorded(x->o->dir, x->recorded.identity, &x->data, e));
    for (size_t i = 0; i < x->data.n && !x->q; i++)
        if (!strcmp(x->data.question[i].id, id))
            x->q = &x->data.question[i];
    if (!x->q)
        rc = err_set(e, ERR_DATA,
                     "%s has no question %s: a byte of its text, its options or its "
                     "key differs, or it is another file",
                     file.s, id);
done:
    str_free(&file);
    return rc;
}

/* The run's choice of records, which bears on no case, and the tokens that the case was given. */
static int rerun_choice(struct rerun *x, struct err *e)
{
    const json_t *subset = json_object_get(x->recorded.identity, "subset");
    const char *match = recorded_text(&x->recorded, "match_tokens"), *line;
    size_t at = x->c->last, n;
    json_t *doc = NULL;
    json_int_t tokens;
    int rc = 0;
    const json_t *variants = json_object_get(x->recorded.identity, "variants");
    x->subset = subset ? json_dumps(subset, 0) : NULL;
    x->variants = variants ? json_dumps(variants, 0) : NULL;
    if ((subset && !x->subset) || (variants && !x->variants))
        return NOMEM(e, 1, "a choice of records");
    x->clinic.env.subset = x->subset;
    x->clinic.env.variants = x->variants;
    if (!*match)
        return 0;
    if (!replay_line(x->r, x->c, &at, &line, &n))
        FAIL(e, ERR_DATA, "the case has no line of its own");
    TRY_DONE(replay_parse(line, n, &doc, e));
    TRY_DONE(jdoc_int(doc, "budget", 0, INT64_MAX, &tokens, e));
    snprintf(x->given.id, sizeof x->given.id, "%s", x->q->id);
    x->given.tokens = tokens;
    x->budget = (struct budget){.row = &x->given, .n = 1};
    snprintf(x->budget.sha256, sizeof x->budget.sha256, "%s", match);
    TRY_DONE(strategy_match(&x->clinic.env, &x->budget, e));
done:
    json_decref(doc);
    return rc;
}

/* ---- comparing ------------------------------------------------------------------------------- */

static const struct consult_call *rerun_find(const struct consult *c, const json_t *line)
{
    const char *role = json_string_value(json_object_get(line, "role"));
    const json_int_t index = json_integer_value(json_object_get(line, "index"));
    for (const struct consult_call *k = c->first; k; k = k->next)
        if (role && !strcmp(k->role->name, role) && k->index == index)
            return k;
    return NULL;
}

/* Adds ", reply differs at byte 17" unless the texts are equal. */
static void rerun_bytes(const json_t *line, const char *key, const char *now, size_t n,
                        struct str *out)
{
    size_t m = 0, at = 0;
    const char *was = replay_text(line, key, &m);
    while (at < n && at < m && was[at] == now[at])
        at++;
    if (at < n || at < m)
        str_addf(out, "%s%s differs at byte %zu of %zu (now %zu)", out->len ? ", " : "", key, at, m,
                 n);
}

static void rerun_scores(const json_t *line, const struct llm_call *l, struct str *out)
{
    const json_t *list = json_object_get(line, "option_lp");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        const bool known = l->option_lp && (int)i < l->n_options;
        if (json_is_number(v) && !(known && l->option_lp[i] == json_number_value(v)))
            str_addf(out, "%slog-probability of option %zu was %.17g, is %.17g",
                     out->len ? ", " : "", i + 1, json_number_value(v),
                     known ? l->option_lp[i] : 0.0);
    }
}

static int rerun_call(struct rerun *x, const struct consult *c, const json_t *line, struct err *e)
{
    const struct consult_call *k = rerun_find(c, line);
    const char *role = json_string_value(json_object_get(line, "role"));
    struct str diff = STR_INIT;
    if (!role || (x->o->role && strcmp(role, x->o->role) != 0))
        return 0;
    if (!k) {
        str_adds(&diff, "was not asked again");
    } else {
        rerun_bytes(line, "system", k->llm.system ? k->llm.system : "", k->llm.system_len, &diff);
        rerun_bytes(line, "user", k->llm.user, k->llm.user_len, &diff);
        rerun_bytes(line, "thinking", k->llm.think.s, k->llm.think.len, &diff);
        rerun_bytes(line, "reply", k->llm.reply.s, k->llm.reply.len, &diff);
        rerun_scores(line, &k->llm, &diff);
    }
    clinic_clean(stdout, role, strlen(role));
    printf(" %lld: ", (long long)json_integer_value(json_object_get(line, "index")));
    if (diff.len)
        printf("%s\n", diff.s);
    else if (k->llm.n_options)
        printf("the same prompt and log-probabilities\n");
    else
        printf("the same prompt and reply, %zu bytes\n", k->llm.reply.len);
    x->same += !diff.len;
    x->differ += diff.len > 0;
    const int rc = str_ok(&diff, "a comparison", e);
    str_free(&diff);
    return rc;
}

static void rerun_finished(const struct consult *c, const struct result *now, void *user)
{
    struct rerun *x = user;
    const struct result *was = &x->r->results.r[x->c->result];
    const char *line;
    size_t n;
    for (size_t at = x->c->first; !x->rc && replay_line(x->r, x->c, &at, &line, &n);) {
        json_t *doc = NULL;
        x->rc = replay_parse(line, n, &doc, &x->err);
        if (!x->rc)
            x->rc = rerun_call(x, c, doc, &x->err);
        json_decref(doc);
    }
    x->answer_same = was->state == now->state && was->predicted == now->predicted &&
                     was->calls == now->calls && !strcmp(was->answer, now->answer) &&
                     !strcmp(was->why, now->why);
    x->finished = true;
}

/* ---- the second run -------------------------------------------------------------------------- */

/* Says which hashes and settings differ: *n of them. */
static int rerun_identity(struct rerun *x, int *n, struct err *e)
{
    struct str now = STR_INIT, diff = STR_INIT, defaults = STR_INIT;
    const char *version = json_string_value(json_object_get(x->recorded.about, "version"));
    int rc;
    identity_json(&x->clinic.env, x->data.sha256, &now);
    TRY_DONE(str_ok(&now, "an identity", e));
    TRY_DONE(config_json_defaults(x->clinic.env.config, &defaults, e));
    TRY_DONE(trace_differences(x->recorded.identity, now.s, defaults.s, n, &diff, e));
    if (*n)
        printf("differs: %s\n", diff.s);
    else
        printf("the same model, prompts, data, settings and backend\n");
    if (version && strcmp(version, MAS_COMMIT) != 0)
        printf("program: was %.60s, is %s\n", version, MAS_COMMIT);
    else
        printf("the same program, %s\n", MAS_COMMIT);
done:
    str_free(&now);
    str_free(&diff);
    str_free(&defaults);
    return rc;
}

static int rerun_dir(struct rerun *x, struct err *e)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(x->dir, sizeof x->dir, "%.200s/mas-replay-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (mkdtemp(x->dir))
        return 0;
    x->dir[0] = 0;
    FAIL(e, ERR_CREATE, "cannot create a folder in %.200s; set TMPDIR", tmp && *tmp ? tmp : "/tmp");
}

static void rerun_remove(const struct rerun *x)
{
    static const char *const names[] = {"run.json", "records.jsonl", "traces.jsonl",
                                        "traces.jsonl.gz", "lock"};
    char path[320];
    for (size_t i = 0; x->dir[0] && i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", x->dir, names[i]);
        (void)unlink(path);
    }
    if (x->dir[0])
        (void)rmdir(x->dir);
}

static int rerun_ask(struct rerun *x, struct err *e)
{
    struct trace *t = NULL;
    char dir[1024];
    int rc;
    TRY_DONE(rerun_dir(x, e));
    const struct clinic_trace to = {
        .dir = x->dir, .name = "replay", .data_path = "-", .data = &x->data};
    TRY_DONE(clinic_trace(&x->clinic, &to, dir, &t, e));
    const struct run_options ro = {.env = &x->clinic.env,
                                   .question = x->q,
                                   .n = 1,
                                   .trace = t,
                                   .stop = clinic_signals(),
                                   .finished = rerun_finished,
                                   .user = x};
    TRY_DONE(run_questions(&ro, NULL, e));
    if (x->rc < 0)
        TRY_DONE(err_set(e, x->rc, "%s", x->err.msg));
done:
    trace_close(t);
    return rc;
}

static int rerun_verdict(const struct rerun *x, int hashes, struct err *e)
{
    if (!x->finished)
        FAIL(e, ERR_CANCEL, "the case was not finished");
    if (!x->same && !x->differ && x->o->role)
        FAIL(e, ERR_USAGE, "the case has no call of role '%.40s'", x->o->role);
    if (!x->differ && x->answer_same) {
        printf("the bytes agree: %d calls and the answer\n", x->same);
        return 0;
    }
    FAIL(e, ERR_ITEMS, "%d of %d calls differ, the answer is %s; %s", x->differ,
         x->same + x->differ, x->answer_same ? "the same" : "another one",
         hashes ? "the first lines name the hashes that differ" : "no hash differs");
}

int rerun(const struct rerun_options *o, const struct replay *r, const struct replay_case *c,
          struct err *e)
{
    struct rerun x = {.o = o, .r = r, .c = c};
    struct clinic_options to = {.quiet = true};
    int rc, hashes = 0;
    TRY_DONE(recorded_open(o->dir, &x.recorded, e));
    TRY_DONE(rerun_settings(&x, &to, e));
    TRY_DONE(rerun_question(&x, e));
    TRY_DONE(clinic_open(&to, true, json_is_true(json_object_get(x.recorded.identity, "shuffle")),
                         false, &x.clinic, e));
    TRY_DONE(rerun_choice(&x, e));
    TRY_DONE(rerun_identity(&x, &hashes, e));
    TRY_DONE(rerun_ask(&x, e));
    TRY_DONE(rerun_verdict(&x, hashes, e));
done:
    rerun_remove(&x);
    clinic_close(&x.clinic);
    medqa_free(&x.data);
    free(x.subset); /* jansson's */
    free(x.variants);
    arena_free(&x.words);
    recorded_close(&x.recorded);
    return rc;
}
