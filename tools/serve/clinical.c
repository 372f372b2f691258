/* Seats, their energy, and GET /clinic. */
#include "clinical.h"

#include <math.h>
#include <string.h>
#include <time.h>

#include "check.h"
#include "clinic.h"
#include "embed.h"
#include "jscan.h"
#include "mem.h"
#include "provider.h"
#include "runs.h"
#include "sources.h"
#include "toy.h"

int clinical_open(struct serve *s, struct clinical **out, struct err *e)
{
    struct clinical *k = mem_zalloc(1, sizeof *k);
    pthread_condattr_t attr;
    if (!k)
        return NOMEM(e, sizeof *k, "clinical cases");
    k->s = s;
    k->n_seat = s->o->cases;
    k->seat = mem_zalloc((size_t)k->n_seat, sizeof *k->seat);
    if (!k->seat) {
        mem_free(k);
        return NOMEM(e, (size_t)s->o->cases * sizeof *k->seat, "clinical cases");
    }
    pthread_mutex_init(&k->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&k->news, &attr);
    pthread_condattr_destroy(&attr);
    for (int i = 0; i < k->n_seat; i++)
        k->seat[i].k = k;
    *out = k;
    return 0;
}

void clinical_stop(struct clinical *k, bool evaluations)
{
    pthread_mutex_lock(&k->lock);
    k->closing = true;
    for (int i = 0; i < k->n_seat && !evaluations; i++)
        atomic_store(&k->seat[i].stop, 1);
    for (struct live_run *r = k->runs; r; r = r->next)
        atomic_store(&r->seat->stop, 1);
    pthread_cond_broadcast(&k->news);
    pthread_mutex_unlock(&k->lock);
}

int clinical_running(struct clinical *k)
{
    int n = 0;
    pthread_mutex_lock(&k->lock);
    for (int i = 0; i < k->n_seat; i++)
        n += k->seat[i].state == SEAT_TAKEN;
    pthread_mutex_unlock(&k->lock);
    return n;
}

void clinical_close(struct clinical *k)
{
    if (!k)
        return;
    for (int i = 0; i < k->n_seat; i++) {
        pthread_mutex_lock(&k->lock);
        bool used = k->seat[i].state != SEAT_FREE;
        pthread_mutex_unlock(&k->lock);
        if (used)
            pthread_join(k->seat[i].thread, NULL);
    }
    CHECK(!k->runs);
    if (k->has_energy)
        energy_close(&k->energy);
    pthread_cond_destroy(&k->news);
    pthread_mutex_destroy(&k->lock);
    mem_free(k->seat);
    mem_free(k);
}

/* ---- seats ----------------------------------------------------------------------------------- */

static void *seat_main(void *arg)
{
    struct seat *s = arg;
    s->run(s, s->user);
    return NULL;
}

void seat_leave_locked(struct seat *s)
{
    CHECK(s->state == SEAT_TAKEN);
    s->metered = false;
    s->state = SEAT_ENDED;
}

void seat_leave(struct seat *s)
{
    struct clinical *k = s->k;
    pthread_mutex_lock(&k->lock);
    seat_leave_locked(s);
    pthread_mutex_unlock(&k->lock);
}

int seat_start(struct clinical *k, void (*run)(struct seat *s, void *user), void *user,
               struct seat **out, struct err *e)
{
    int rc = 0;
    pthread_mutex_lock(&k->lock);
    struct seat *s = NULL;
    for (int i = 0; i < k->n_seat && !s; i++)
        if (k->seat[i].state != SEAT_TAKEN)
            s = &k->seat[i];
    if (k->closing || !s) {
        rc = k->closing ? err_set(e, ERR_CANCEL, "the server is stopping")
                        : err_set(e, ERR_AGAIN,
                                  "%d cases and evaluations run, the limit is serve.cases %d",
                                  k->n_seat, k->n_seat);
    } else {
        if (s->state == SEAT_ENDED)
            pthread_join(s->thread, NULL); /* it sends its last answer, without this lock */
        *s = (struct seat){.k = k, .state = SEAT_TAKEN, .run = run, .user = user};
        if (out)
            *out = s;
        if (pthread_create(&s->thread, NULL, seat_main, s) != 0) {
            s->state = SEAT_FREE;
            rc = err_set(e, ERR_AGAIN, "cannot start a thread for a case");
        }
    }
    pthread_mutex_unlock(&k->lock);
    return rc;
}

void seat_stop(struct seat *s)
{
    atomic_store(&s->stop, 1);
    pthread_mutex_lock(&s->k->lock);
    pthread_cond_broadcast(&s->k->news);
    pthread_mutex_unlock(&s->k->lock);
}

/* Shares the joules since the last reading among the metered seats. With the lock. */
static void clinical_read(struct clinical *k, const char **source)
{
    double now = energy_joules(&k->energy, source);
    int n = 0;
    for (int i = 0; i < k->n_seat; i++)
        n += k->seat[i].metered;
    for (int i = 0; i < k->n_seat; i++)
        if (k->seat[i].metered)
            k->seat[i].joules += (now - k->read) / n;
    k->read = now;
}

double seat_joules(struct seat *s, const char **source)
{
    struct clinical *k = s->k;
    pthread_mutex_lock(&k->lock);
    double joules = (double)NAN;
    *source = "not measured: no counter could be opened";
    if (k->has_energy) {
        clinical_read(k, source);
        s->metered = true;
        joules = isfinite(k->read) ? s->joules : (double)NAN;
    }
    pthread_mutex_unlock(&k->lock);
    return joules;
}

static void seat_meter(struct seat *s, const struct llm_info *info)
{
    struct clinical *k = s->k;
    pthread_mutex_lock(&k->lock);
    if (!k->has_energy)
        k->has_energy = energy_open(&k->energy, info->backend, info->pci, info->gpu, NULL) == 0;
    pthread_mutex_unlock(&k->lock);
}

/* ---- the wait for a model -------------------------------------------------------------------- */

static void seat_have(struct hub_wait *w, struct hub_model *m, const struct err *why)
{
    struct seat *s = w->user;
    pthread_mutex_lock(&s->k->lock);
    s->model = m;
    if (why)
        s->why = *why;
    s->waiting = false;
    pthread_cond_broadcast(&s->k->news);
    pthread_mutex_unlock(&s->k->lock);
}

static int seat_model(struct seat *s, int index, struct hub_model **out, struct err *e)
{
    struct clinical *k = s->k;
    s->wait = (struct hub_wait){.index = index, .ready = seat_have, .user = s};
    s->waiting = true;
    hub_want(k->s->hub, &s->wait);
    pthread_mutex_lock(&k->lock);
    while (s->waiting) {
        if (atomic_load(&s->stop)) {
            pthread_mutex_unlock(&k->lock);
            if (hub_give_up(k->s->hub, &s->wait))
                FAIL(e, ERR_CANCEL, "stopped before the model was loaded");
            pthread_mutex_lock(&k->lock);
        }
        if (s->waiting)
            pthread_cond_wait(&k->news, &k->lock);
    }
    pthread_mutex_unlock(&k->lock);
    if (!s->model) {
        if (e)
            *e = s->why;
        return s->why.code;
    }
    *out = s->model;
    return 0;
}

/* ---- settings -------------------------------------------------------------------------------- */

static int ward_set(struct config *c, const char *key, const char *value, struct err *e)
{
    struct str s = STR_INIT;
    struct err why = {0};
    str_addf(&s, "%s=%s", key, value);
    int rc = str_ok(&s, "a setting", e);
    if (rc == 0) {
        rc = config_set(c, s.s, &why);
        const char *text = strstr(why.msg, ": ");
        if (rc < 0)
            err_set(e, rc, "%s", text ? text + 2 : why.msg);
    }
    str_free(&s);
    return rc;
}

/* The text of a setting's value, as a command line would give it. */
static int ward_value(const char *key, const json_t *v, struct str *out, struct err *e)
{
    if (json_is_string(v) && strlen(json_string_value(v)) == json_string_length(v)) {
        str_adds(out, json_string_value(v));
    } else if (json_is_integer(v)) {
        str_addf(out, "%lld", (long long)json_integer_value(v));
    } else if (json_is_real(v)) {
        str_addf(out, "%.17g", json_real_value(v));
    } else if (json_is_boolean(v)) {
        str_adds(out, json_is_true(v) ? "true" : "false");
    } else if (json_is_array(v)) {
        str_addc(out, '[');
        for (size_t i = 0; i < json_array_size(v); i++) {
            const char *s = json_string_value(json_array_get(v, i));
            if (!s || !*s || s[strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_")])
                FAIL(e, ERR_DATA, "item %zu of setting '%.64s' is no id", i + 1, key);
            str_addf(out, "%s%s", i ? ", " : "", s);
        }
        str_addc(out, ']');
    } else {
        FAIL(e, ERR_DATA, "setting '%.64s' has a value of the wrong type", key);
    }
    return str_ok(out, "a setting", e);
}

static int ward_setting(struct config *c, const char *key, const json_t *v, struct err *e)
{
    struct str text = STR_INIT;
    const struct option_row *row = config_find(c, key, NULL);
    int rc;
    if (!row || !(row->marks & OPTION_CLIENT)) {
        struct str near = STR_INIT;
        config_nearest(c, key, &near);
        rc = row ? err_set(e, ERR_DATA,
                           "a client may not set '%.64s'; GET /clinic lists the others", key)
                 : err_set(e, ERR_DATA, "no setting '%.64s'%s%s; GET /clinic lists all", key,
                           near.len ? "; the nearest is " : "", near.s);
        str_free(&near);
        return rc;
    }
    TRY_DONE(ward_value(key, v, &text, e));
    TRY_DONE(ward_set(c, key, text.s, e));
done:
    str_free(&text);
    return rc;
}

/* {"a": {"b": 1}} is the same as {"a.b": 1}. */
static int ward_settings(struct config *c, json_t *object, struct err *e)
{
    const char *key, *name;
    json_t *v, *inner;
    json_object_foreach(object, key, v)
    {
        char full[130];
        if (json_is_null(v))
            continue;
        if (!json_is_object(v)) {
            TRY(ward_setting(c, key, v, e));
            continue;
        }
        json_object_foreach(v, name, inner)
        {
            snprintf(full, sizeof full, "%.64s.%.64s", key, name);
            if (!json_is_null(inner))
                TRY(ward_setting(c, full, inner, e));
        }
    }
    return 0;
}

/* The model of the wish; -1 when the configuration names a provider that has it. */
static int ward_index(struct ward *w, struct serve *s, const char *name, struct err *e)
{
    const struct agent_options *o = config_of(&w->config, &agent_option_set);
    struct hub_entry entry;
    w->index = -1;
    if (strcmp(o->provider, provider_local.name) != 0) {
        if (name && *name)
            FAIL(e, ERR_DATA, "provider %s has the model; leave 'model' out", o->provider);
        return 0;
    }
    w->index = hub_find(s->hub, name);
    if (w->index < 0) {
        struct str names = STR_INIT;
        hub_names(s->hub, &names);
        int rc = err_set(e, ERR_NOINPUT, "no model '%.100s'; there are %.700s", name, names.s);
        str_free(&names);
        return rc;
    }
    hub_entry(s->hub, w->index, &entry);
    return ward_set(&w->config, "model", entry.path, e);
}

int ward_config(struct ward *w, struct serve *s, const struct clinical_wish *wish,
                const char **param, struct err *e)
{
    const struct strategy *known = NULL;
    char seed[32];
    *param = NULL;
    TRY(config_copy(s->config, &w->config, e));
    *param = "model";
    TRY(ward_index(w, s, wish->model, e));
    *param = "config";
    if (wish->config)
        TRY(ward_settings(&w->config, wish->config, e));
    *param = "seed";
    snprintf(seed, sizeof seed, "%lld", (long long)wish->seed);
    if (wish->seed != FIELD_UNSET)
        TRY(ward_set(&w->config, "seed", seed, e));
    *param = "strategy";
    if (wish->strategy)
        TRY(ward_set(&w->config, "strategy", wish->strategy, e));
    const struct agent_options *of = config_of(&w->config, &agent_option_set);
    TRY(strategy_find(of->strategy, &known, e));
    *param = "config";
    TRY(config_check(&w->config, e));
    *param = NULL;
    return catalog_read(of->specialties, &w->catalog, e);
}

int ward_choose(struct ward *w, bool named, bool (*able)(const struct strategy *s), struct err *e)
{
    const struct agent_options *of = config_of(&w->config, &agent_option_set);
    const struct strategy *s = NULL;
    TRY(strategy_find(of->strategy, &s, e));
    if (able(s))
        return 0;
    for (const struct strategy *const *k = strategy_all(); *k && !named; k++)
        if (able(*k))
            return ward_set(&w->config, "strategy", (*k)->name, e);
    struct str names = STR_INIT;
    for (const struct strategy *const *k = strategy_all(); *k; k++)
        if (able(*k))
            str_addf(&names, "%s%s", names.len ? ", " : "", (*k)->name);
    int rc = err_set(e, ERR_DATA, "strategy %s cannot do this part alone; these can: %s", s->name,
                     names.s);
    str_free(&names);
    return rc;
}

bool ward_resident(const struct ward *w)
{
    struct hub_entry entry;
    if (w->index < 0)
        return true;
    hub_entry(w->seat->k->s->hub, w->index, &entry);
    return entry.resident;
}

static int ward_llm(struct ward *w, bool hash, struct err *e)
{
    char hex[65];
    if (w->index < 0) {
        const char *key = NULL;
        TRY(clinic_key(&w->config, &key, e));
        const struct provider_options po = {
            .config = &w->config, .key = key, .hash = hash, .stop = &w->seat->stop};
        return provider_open(&po, &w->llm, e);
    }
    TRY(seat_model(w->seat, w->index, &w->model, e));
    if (hash)
        TRY(engine_hash(w->model->en, hex, e));
    return llm_local_open(w->model->en, false, &w->llm, e);
}

int ward_open(struct ward *w, struct seat *seat, bool hash, struct err *e)
{
    w->seat = seat;
    TRY(ward_llm(w, hash, e));
    seat_meter(seat, llm_info(w->llm));
    w->env.llm = w->llm;
    w->env.config = &w->config;
    w->env.catalog = &w->catalog;
    return strategy_open(&w->env, e);
}

void ward_close(struct ward *w)
{
    strategy_close(&w->env);
    llm_close(w->llm);
    if (w->model)
        hub_release(w->seat->k->s->hub, w->model, -1);
    catalog_free(&w->catalog);
    config_free(&w->config);
    memset(w, 0, sizeof *w);
}

void clinical_event(struct str *out, const char *name, int64_t id, const char *data, size_t n)
{
    while (n && (data[n - 1] == '\n' || data[n - 1] == ' '))
        n--;
    if (id >= 0)
        str_addf(out, "id: %lld\n", (long long)id);
    str_addf(out, "event: %s\ndata: ", name);
    str_add(out, data, n);
    str_adds(out, "\n\n");
}

/* ---- GET /clinic ----------------------------------------------------------------------------- */

static void text_member(struct str *out, const char *key, const char *s)
{
    str_addf(out, ", \"%s\": ", key);
    str_add_json(out, s, strlen(s));
}

static void strategies_json(struct str *out)
{
    str_adds(out, ", \"strategies\": [");
    for (const struct strategy *const *s = strategy_all(); *s; s++) {
        str_addf(out, "%s{\"name\": \"%s\"", s == strategy_all() ? "" : ", ", (*s)->name);
        text_member(out, "doc", (*s)->doc);
        str_addf(out, ", \"plans\": %s, \"needs_options\": %s}", (*s)->plans ? "true" : "false",
                 (*s)->needs_options ? "true" : "false");
    }
    str_adds(out, "]");
}

static void specialties_json(const struct catalog *cat, struct str *out)
{
    str_adds(out, ", \"specialties\": [");
    for (int i = 0; i < cat->n; i++) {
        const struct catalog_entry *c = &cat->entry[i];
        str_addf(out, "%s{\"id\": \"%s\"", i ? ", " : "", c->id);
        text_member(out, "name", c->name);
        text_member(out, "scope", c->scope);
        str_addf(out, ", \"kind\": \"%s\"}", catalog_kind_name(c->kind));
    }
    str_adds(out, "]");
}

/* The settings that a client may set, with their present values. */
static void settings_json(const struct config *c, struct str *out)
{
    int n = 0;
    str_adds(out, ", \"settings\": [");
    for (int t = 0; t < c->n; t++)
        for (int i = 0; i < c->set[t]->n; i++) {
            const struct option_row *r = &c->set[t]->row[i];
            struct str value = STR_INIT;
            if (!(r->marks & OPTION_CLIENT))
                continue;
            str_addf(out, "%s{\"key\": \"%s\"", n++ ? ", " : "", r->key);
            if (r->type != OPTION_MAP_OF_INT && r->type != OPTION_MAP_OF_FLOAT) {
                config_value(c, r->key, &value);
                text_member(out, "value", value.s);
                out->failed |= value.failed;
            }
            if (r->choices)
                text_member(out, "choices", r->choices);
            text_member(out, "unit", r->unit);
            text_member(out, "doc", r->doc);
            str_adds(out, "}");
            str_free(&value);
        }
    str_adds(out, "]");
}

static void models_json(struct serve *s, struct str *out)
{
    str_adds(out, ", \"models\": [");
    for (int i = 0; i < hub_count(s->hub) && !serve_is_remote(s); i++) {
        struct hub_entry m;
        hub_entry(s->hub, i, &m);
        struct hub_model *there = hub_peek(s->hub, i);
        bool toy = there ? toy_is(there->info->name) : !strcmp(m.path, "demo");
        if (there)
            hub_unpeek(s->hub, there);
        str_adds(out, i ? ", {\"name\": " : "{\"name\": ");
        str_add_json(out, m.name, strlen(m.name));
        str_addf(out, ", \"resident\": %s, \"toy\": %s}", m.resident ? "true" : "false",
                 toy ? "true" : "false");
    }
    str_adds(out, "]");
}

/* Names of question files that are here: of the list of downloads, and the configuration's. */
static void data_json(struct serve *s, struct str *out)
{
    struct sources list = {.data = NULL};
    const struct tool_options *of = config_of(s->config, &tool_option_set);
    int n = 0;
    str_addf(out, ", \"default_data\": %s, \"data\": [", *of->data ? "true" : "false");
    int rc = sources_open(NULL, &list, NULL);
    for (size_t i = list.n_model; rc == 0 && i < list.n_entry; i++) {
        struct str path = STR_INIT;
        rc = sources_data(list.entry[i].name, &path, NULL);
        if (rc == 0) {
            str_adds(out, n++ ? ", " : "");
            str_add_json(out, list.entry[i].name, strlen(list.entry[i].name));
        }
        rc = rc == ERR_NOINPUT ? 0 : rc; /* it is not here */
        str_free(&path);
    }
    out->failed |= rc == ERR_NOMEM;
    sources_close(&list);
    str_adds(out, "]");
}

/* Cases that were written for this project: of the toy model's world, and in the form of real
 * ones. */
static void examples_json(const char *key, const char *path, int most, struct str *out)
{
    const struct embed_file *f = embed_find(path);
    const char *at = f->data, *end = f->data + f->size;
    str_addf(out, ", \"%s\": [", key);
    for (int i = 0; i < most && at < end; i++) {
        size_t n = strcspn(at, "\n");
        str_adds(out, i ? ", " : "");
        str_add(out, at, n);
        at += n + 1;
    }
    str_adds(out, "]");
}

void clinical_get(struct call *c)
{
    struct serve *s = c->s;
    const struct agent_options *of = config_of(s->config, &agent_option_set);
    struct catalog cat = {.n = 0};
    struct str out = STR_INIT;
    struct err e = {0};
    if (catalog_read(of->specialties, &cat, &e) < 0) {
        call_fail_err(c, NULL, &e);
        return;
    }
    str_adds(&out, "{\"notice\": \"" CLINICAL_NOTICE "\"");
    text_member(&out, "version", MAS_COMMIT);
    text_member(&out, "provider", of->provider);
    text_member(&out, "strategy", of->strategy);
    str_addf(&out, ", \"seed\": %lld, \"cases\": %d", (long long)of->seed, s->o->cases);
    models_json(s, &out);
    strategies_json(&out);
    specialties_json(&cat, &out);
    settings_json(s->config, &out);
    data_json(s, &out);
    examples_json("toy_examples", "configs/demo/questions.jsonl", 8, &out);
    examples_json("examples", "configs/demo/handwritten.jsonl", 8, &out);
    str_adds(&out, "}\n");
    catalog_free(&cat);
    call_reply(c, 200, &out);
}
