/* POST /run, /plan, /consult, /aggregate: one case, as one JSON object or as events. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "check.h"
#include "clinical.h"
#include "jdoc.h"
#include "log.h"
#include "mem.h"
#include "result.h"
#include "sheet.h"
#include "text.h"
#include "toy.h"

struct case_args {
#define X(...) FIELD_MEMBER(__VA_ARGS__)
#include "clinical_case.def"
#undef X
};
struct consult_args {
#define X(...) FIELD_MEMBER(__VA_ARGS__)
#include "clinical_consult.def"
#undef X
};
struct aggregate_args {
#define X(...) FIELD_MEMBER(__VA_ARGS__)
#include "clinical_aggregate.def"
#undef X
};

static const struct field_row case_rows[] = {
#define X(...) FIELD_ROW(struct case_args, __VA_ARGS__)
#include "clinical_case.def"
#undef X
};
static const struct field_row consult_rows[] = {
#define X(...) FIELD_ROW(struct consult_args, __VA_ARGS__)
#include "clinical_consult.def"
#undef X
};
static const struct field_row aggregate_rows[] = {
#define X(...) FIELD_ROW(struct aggregate_args, __VA_ARGS__)
#include "clinical_aggregate.def"
#undef X
};
#define ROWS(rows) rows, sizeof rows / sizeof rows[0]
const struct field_set clinical_run_fields = {"CaseRequest", ROWS(case_rows),
                                              sizeof(struct case_args)};
const struct field_set clinical_consult_fields = {"ConsultRequest", ROWS(consult_rows),
                                                  sizeof(struct consult_args)};
const struct field_set clinical_aggregate_fields = {"AggregateRequest", ROWS(aggregate_rows),
                                                    sizeof(struct aggregate_args)};

enum part { PART_RUN, PART_PLAN, PART_CONSULT, PART_AGGREGATE };

struct one { /* a case on its way */
    struct call *c;
    enum part part;
    struct ward ward;
    struct consult_watch watch;
    struct medqa q;
    int specialty[CATALOG_MAX];
    struct answer_report given[CATALOG_MAX];
    struct arena arena; /* of the given reports */
    char dir[RUNFOLDER_PATH], noise[TOY_TEXT];
    struct trace *trace;
    /* of a stream */
    bool streams, began;
    bool planned;         /* the event "plan" was sent */
    pthread_mutex_t lock; /* of held and staging: text comes from the engine's thread */
    bool staging;         /* between the end of a call and the strategy's reading of it */
    struct str held;      /* events of the next stage meanwhile */
    struct str reply;     /* of a case that is no stream */
    bool finished;
};

/* ---- the request ----------------------------------------------------------------------------- */

/* Appends "A. text||B. text". */
static int option_add(struct str *out, int i, const json_t *v, struct err *e)
{
    const char *s = json_string_value(v);
    if (!s || strlen(s) != json_string_length(v))
        FAIL(e, ERR_DATA, "option %c is %s, expected a text", 'A' + i,
             s ? "a text with a NUL character" : "no text");
    if (strstr(s, "||"))
        FAIL(e, ERR_DATA, "option %c holds '||', which separates options", 'A' + i);
    str_addf(out, "%s%c. %s", i ? "||" : "", 'A' + i, s);
    return 0;
}

static int options_text(const json_t *v, struct str *out, struct err *e)
{
    if (json_is_string(v)) {
        if (strlen(json_string_value(v)) != json_string_length(v))
            FAIL(e, ERR_DATA, "'options' holds a NUL character");
        str_adds(out, json_string_value(v));
    } else if (json_is_array(v)) {
        size_t n = json_array_size(v);
        if (n < 2 || n > MEDQA_OPTIONS)
            FAIL(e, ERR_DATA, "'options' has %zu items, expected 2 to %d", n, MEDQA_OPTIONS);
        for (size_t i = 0; i < n; i++)
            TRY(option_add(out, (int)i, json_array_get(v, i), e));
    } else if (json_is_object(v)) {
        size_t n = json_object_size(v);
        if (n < 2 || n > MEDQA_OPTIONS)
            FAIL(e, ERR_DATA, "'options' has %zu members, expected 2 to %d", n, MEDQA_OPTIONS);
        for (size_t i = 0; i < n; i++) {
            char letter[2] = {(char)('A' + i), 0};
            const json_t *o = json_object_get(v, letter);
            if (!o)
                FAIL(e, ERR_DATA, "'options' has %zu members and none is '%s'", n, letter);
            TRY(option_add(out, (int)i, o, e));
        }
    } else {
        FAIL(e, ERR_DATA, "'options' is %s, expected a list, an object or a text",
             jdoc_type_name(json_typeof(v)));
    }
    return str_ok(out, "options", e);
}

static int read_case(struct one *o, const struct case_args *a, const char **param, struct err *e)
{
    struct str words = STR_INIT, listed = STR_INIT;
    const json_t *options = a->options;
    int rc;
    if (json_is_string(options) && !json_string_length(options))
        options = NULL; /* "" is none, as in an empty form */
    *param = "question";
    str_adds(&words, a->question);
    TRY_DONE(text_clean(&words, "'question'", ERR_DATA, e));
    *param = "options";
    if (options)
        TRY_DONE(options_text(options, &listed, e));
    TRY_DONE(text_clean(&listed, "'options'", ERR_DATA, e));
    TRY_DONE(medqa_single(words.s, options ? listed.s : NULL, &o->q, e));
done:
    str_free(&words);
    str_free(&listed);
    return rc;
}

static int read_specialties(struct one *o, const json_t *list, struct err *e)
{
    struct strategy_env *env = &o->ward.env;
    size_t n = json_array_size(list);
    for (size_t i = 0; i < n; i++) {
        const char *id = json_string_value(json_array_get(list, i));
        if (!id)
            FAIL(e, ERR_DATA, "item %zu of 'specialties' is no text", i + 1);
        TRY(catalog_need(&o->ward.catalog, id, &o->specialty[i], e));
        for (size_t k = 0; k < i; k++)
            if (o->specialty[k] == o->specialty[i])
                FAIL(e, ERR_DATA, "'specialties' names '%s' twice", id);
    }
    env->specialty = o->specialty;
    env->n_specialty = (int)n;
    env->reports_only = true;
    return 0;
}

static int read_report(struct one *o, const json_t *v, size_t i, struct err *e)
{
    const char *id = json_string_value(json_object_get(v, "specialty_id"));
    if (!id)
        FAIL(e, ERR_DATA, "it has no 'specialty_id'");
    TRY(catalog_need(&o->ward.catalog, id, &o->specialty[i], e));
    for (size_t k = 0; k < i; k++)
        if (o->specialty[k] == o->specialty[i])
            FAIL(e, ERR_DATA, "it is a second one of '%s'", id);
    char *text = json_dumps(v, JSON_COMPACT);
    if (!text)
        return NOMEM(e, 1, "a report");
    int rc = answer_report(text, strlen(text), strlen(text), &o->ward.catalog, o->specialty[i],
                           &o->arena, &o->given[i], e);
    mem_free(text);
    return rc;
}

static int read_reports(struct one *o, const json_t *list, struct err *e)
{
    struct strategy_env *env = &o->ward.env;
    size_t n = json_array_size(list);
    for (size_t i = 0; i < n; i++) {
        int rc = read_report(o, json_array_get(list, i), i, e);
        if (rc < 0)
            return err_wrap(e, rc, "report %zu", i + 1);
    }
    env->given = o->given;
    env->n_given = env->n_specialty = (int)n;
    env->specialty = o->specialty;
    return 0;
}

static bool can_plan(const struct strategy *s)
{
    return s->plans;
}

static bool can_report(const struct strategy *s)
{
    return s->reports;
}

/* The wishes begin every struct of arguments. */
static int read_request(struct one *o, const char **param, struct err *e)
{
    const struct case_args *a = o->c->args;
    const struct clinical_wish wish = {a->model, a->strategy, a->config, a->seed};
    TRY(ward_config(&o->ward, o->c->s, &wish, param, e));
    TRY(read_case(o, a, param, e));
    *param = "strategy";
    if (o->part == PART_PLAN)
        TRY(ward_choose(&o->ward, a->strategy != NULL, can_plan, e));
    if (o->part == PART_CONSULT || o->part == PART_AGGREGATE)
        TRY(ward_choose(&o->ward, a->strategy != NULL, can_report, e));
    *param = "specialties";
    if (o->part == PART_CONSULT)
        TRY(read_specialties(o, ((const struct consult_args *)o->c->args)->specialties, e));
    *param = "reports";
    if (o->part == PART_AGGREGATE)
        TRY(read_reports(o, ((const struct aggregate_args *)o->c->args)->reports, e));
    o->ward.env.plan_only = o->part == PART_PLAN;
    o->streams = a->stream;
    *param = NULL;
    return 0;
}

/* ---- events ---------------------------------------------------------------------------------- */

/* With the lock, or before there is a second thread. Takes the bytes of json. */
static void send_event(struct one *o, const char *name, struct str *json, bool next_stage)
{
    struct str event = STR_INIT;
    event.failed = json->failed;
    if (!json->failed)
        clinical_event(next_stage && o->staging ? &o->held : &event, name, -1, json->s, json->len);
    if (event.len || event.failed)
        http_write_str(o->c->http, &event);
    str_free(&event);
    str_free(json);
}

static void add_text(struct str *out, const char *key, const char *s, size_t n)
{
    str_addf(out, ", \"%s\": ", key);
    str_add_json(out, s, n);
}

static void add_number(struct str *out, const char *key, double v)
{
    str_addf(out, ", \"%s\": ", key);
    str_add_number(out, v, 9);
}

/* With the lock. */
static void send_plan(struct one *o, const struct consult *c, bool next_stage)
{
    struct str s = STR_INIT;
    if (o->planned || !c->selected)
        return;
    o->planned = true;
    str_addf(&s, "{\"n\": %d", c->n_selected);
    if (c->env->strategy->facts)
        c->env->strategy->facts(c, STRATEGY_JSON, &s);
    str_adds(&s, "}");
    send_event(o, "plan", &s, next_stage);
}

static void add_names(struct str *s, const struct consult_call *k)
{
    str_addf(s, "{\"call\": %d, \"role\": \"%s\", \"index\": %d", k->number, k->role->name,
             k->index);
    if (k->role->many)
        str_adds(s, ", \"many\": true");
    if (k->specialty >= 0)
        str_addf(s, ", \"specialty\": \"%s\"", k->of->env->catalog->entry[k->specialty].id);
}

static void on_asked(const struct consult_call *k, void *user)
{
    struct one *o = user;
    const struct llm_call *l = &k->llm;
    struct str s = STR_INIT;
    add_names(&s, k);
    add_text(&s, "prompt", prompt_name(k->prompt), strlen(prompt_name(k->prompt)));
    add_text(&s, "system", l->system, l->system_len);
    add_text(&s, "user", l->user, l->user_len);
    if (l->reply_prefix)
        add_text(&s, "reply_prefix", l->reply_prefix, strlen(l->reply_prefix));
    str_addf(&s, ", \"max_tokens\": %d, \"max_think\": %d", l->max_tokens, l->max_think);
    add_number(&s, "temperature", (double)l->temperature);
    str_adds(&s, "}");
    pthread_mutex_lock(&o->lock);
    if (!o->staging)
        send_plan(o, k->of, true);
    send_event(o, "call-started", &s, true);
    pthread_mutex_unlock(&o->lock);
}

static void on_text(const struct consult_call *k, const char *text, size_t n, bool thinking,
                    void *user)
{
    struct one *o = user;
    struct str s = STR_INIT;
    str_addf(&s, "{\"call\": %d", k->number);
    add_text(&s, "delta", text, n);
    str_adds(&s, thinking ? ", \"thinking\": true}" : "}");
    pthread_mutex_lock(&o->lock);
    send_event(o, "text", &s, true);
    pthread_mutex_unlock(&o->lock);
}

static void on_ended(const struct consult_call *k, void *user)
{
    struct one *o = user;
    (void)k;
    pthread_mutex_lock(&o->lock);
    o->staging = true;
    pthread_mutex_unlock(&o->lock);
}

static void add_scores(struct str *s, const struct llm_call *l)
{
    str_adds(s, ", \"options\": [");
    for (int i = 0; i < l->n_options; i++) {
        str_adds(s, i ? ", " : "");
        str_add_json(s, l->options[i].s, l->options[i].n);
    }
    str_adds(s, "], \"option_lp\": [");
    for (int i = 0; i < l->n_options; i++)
        if (l->option_lp && isfinite(l->option_lp[i]))
            str_addf(s, "%s%.9g", i ? ", " : "", l->option_lp[i]);
        else
            str_addf(s, "%snull", i ? ", " : "");
    str_adds(s, "]");
}

static void on_taken(const struct consult_call *k, void *user)
{
    struct one *o = user;
    const struct llm_call *l = &k->llm;
    struct str s = STR_INIT;
    add_names(&s, k);
    str_addf(&s, ", \"parsed\": %s, \"finish\": \"%s\"", k->parsed ? "true" : "false",
             llm_finish_name(l->finish));
    if (!k->parsed)
        add_text(&s, "why", k->why, strlen(k->why));
    add_text(&s, "reply", l->reply.s, l->reply.len);
    if (k->parsed && l->schema && l->reply.len) { /* valid JSON under the schema */
        str_adds(&s, ", \"value\": ");
        for (size_t i = 0; i < l->reply.len; i++) /* a line break would end the event's line */
            str_addc(&s, l->reply.s[i] == '\n' || l->reply.s[i] == '\r' ? ' ' : l->reply.s[i]);
    }
    if (l->think.len)
        add_text(&s, "thinking", l->think.s, l->think.len);
    if (l->n_options)
        add_scores(&s, l);
    str_addf(&s, ", \"prompt_tokens\": %d, \"cached_tokens\": %d, \"think_tokens\": %d",
             l->n_prompt, l->n_cached, l->n_think);
    str_addf(&s, ", \"new_tokens\": %d", l->n_new);
    add_number(&s, "seconds", l->seconds);
    add_number(&s, "first_seconds", l->first_seconds);
    add_number(&s, "mean_lp", l->mean_lp);
    str_adds(&s, "}");
    pthread_mutex_lock(&o->lock);
    send_event(o, "call-finished", &s, false);
    send_plan(o, k->of, false);
    o->staging = false;
    if (o->held.len || o->held.failed)
        http_write_str(o->c->http, &o->held);
    pthread_mutex_unlock(&o->lock);
}

static void send_head(struct one *o)
{
    struct str s = STR_INIT;
    const struct ward *w = &o->ward;
    const char *name = w->model ? w->model->name : llm_info(w->llm)->model;
    const char *id = strrchr(o->dir, '/');
    const struct medqa_question *q = o->q.question;
    str_adds(&s, "{\"notice\": \"" CLINICAL_NOTICE "\"");
    add_text(&s, "id", id ? id + 1 : o->dir, strlen(id ? id + 1 : o->dir));
    add_text(&s, "model", name, strlen(name));
    add_text(&s, "strategy", w->env.strategy->name, strlen(w->env.strategy->name));
    str_addf(&s, ", \"seed\": %lld", (long long)w->env.options->seed);
    add_text(&s, "question", q->text, strlen(q->text));
    str_adds(&s, ", \"options\": [");
    for (int i = 0; i < q->n_options; i++) {
        str_adds(&s, i ? ", " : "");
        str_add_json(&s, q->option[i], strlen(q->option[i]));
    }
    str_adds(&s, "], \"noise\": ");
    if (*o->noise)
        str_add_json(&s, o->noise, strlen(o->noise));
    else
        str_adds(&s, "null");
    str_adds(&s, "}");
    send_event(o, "case", &s, false);
}

/* USD of the case: by the price of a server's tokens, or else of the energy. */
static double case_price(const struct one *o, const struct result *r)
{
    const struct agent_options *ao = o->ward.env.options;
    const struct tool_options *to = config_of(&o->ward.config, &tool_option_set);
    if (ao->price_prompt > 0 || ao->price_completion > 0)
        return 1e-6 * ((double)r->prompt_tokens * ao->price_prompt +
                       (double)(r->think_tokens + r->new_tokens) * ao->price_completion);
    return r->joules / 3.6e6 * to->price_kwh;
}

/* The cost of the case. */
static void send_cost(struct one *o, const struct result *r)
{
    struct str s = STR_INIT;
    str_addf(&s, "{\"calls\": %d, \"prompt_tokens\": %lld, \"cached_tokens\": %lld", r->calls,
             (long long)r->prompt_tokens, (long long)r->cached_tokens);
    str_addf(&s, ", \"think_tokens\": %lld, \"new_tokens\": %lld", (long long)r->think_tokens,
             (long long)r->new_tokens);
    add_number(&s, "seconds", r->seconds);
    add_number(&s, "joules", r->joules);
    add_text(&s, "energy", r->energy, strlen(r->energy));
    add_number(&s, "usd", case_price(o, r));
    str_adds(&s, "}");
    send_event(o, "cost", &s, false);
}

static void on_finished(const struct consult *c, const struct result *r, void *user)
{
    struct one *o = user;
    const char *id = strrchr(o->dir, '/');
    o->finished = true;
    sheet_json(c, r, id ? id + 1 : o->dir, toy_is(llm_info(o->ward.llm)->name) ? o->noise : NULL,
               &o->reply);
    if (!o->streams)
        return;
    send_event(o, "answer", &o->reply, false);
    send_cost(o, r);
}

static double on_joules(void *user, const char **source)
{
    return seat_joules(((struct one *)user)->ward.seat, source);
}

/* ---- the seat's thread ----------------------------------------------------------------------- */

static void set_headers(struct one *o)
{
    const struct agent_options *of = config_of(&o->ward.config, &agent_option_set);
    http_set_header(o->c->http, "X-Mas-Notice", CLINICAL_NOTICE);
    (void)serve_seed(o->c, of->seed);
}

static void begin(struct one *o)
{
    if (!o->streams || o->began)
        return;
    o->began = true;
    set_headers(o);
    http_begin(o->c->http, 200, CLINICAL_STREAM, CLINICAL_BEAT);
}

static int answer(struct one *o, struct seat *seat, struct err *e)
{
    static const char *const names[] = {"run", "plan", "consult", "aggregate"};
    const char *energy;
    o->ward.seat = seat;
    if (!ward_resident(&o->ward))
        begin(o); /* loading may take long */
    o->watch = (struct consult_watch){on_asked, on_text, on_ended, on_taken, o};
    o->ward.env.watch = o->streams ? &o->watch : NULL;
    TRY(ward_open(&o->ward, seat, false, e));
    TRY(runfolder_make(&o->ward.config, names[o->part], o->dir, e));
    (void)seat_joules(seat, &energy);
    const struct runfolder f = {
        .env = &o->ward.env, .dir = o->dir, .data_path = "-", .data = &o->q, .energy = energy};
    TRY(runfolder_trace(&f, &o->trace, e));
    toy_says(llm_info(o->ward.llm)->name, o->q.question, o->noise);
    begin(o);
    if (o->streams)
        send_head(o);
    const struct run_options ro = {.env = &o->ward.env,
                                   .question = o->q.question,
                                   .n = 1,
                                   .trace = o->trace,
                                   .stop = &seat->stop,
                                   .poll_ms = CLINICAL_POLL_MS,
                                   .joules = on_joules,
                                   .finished = on_finished,
                                   .user = o};
    return run_questions(&ro, NULL, e);
}

/* Gives back the trace, the model and the seat: only the answer is left. */
static void one_leave(struct one *o, struct seat *seat)
{
    trace_close(o->trace);
    o->trace = NULL;
    ward_close(&o->ward);
    seat_leave(seat);
}

static void one_free(struct one *o)
{
    ward_close(&o->ward);
    medqa_free(&o->q);
    arena_free(&o->arena);
    str_free(&o->held);
    str_free(&o->reply);
    pthread_mutex_destroy(&o->lock);
    mem_free(o);
}

static void end_stream(struct one *o, int rc, const struct err *e)
{
    struct str s = STR_INIT;
    if (rc < 0) {
        int status = call_status(e);
        bool told = status == 400 || status == 404 || e->code == ERR_CANCEL;
        if (!told)
            log_warn("request %" PRIu64 ": %s", http_id(o->c->http), e->msg);
        call_error_json(API_PLAIN, status, NULL,
                        told ? e->msg : "the server failed; its log says why", &s);
        send_event(o, "error", &s, false);
    }
    str_adds(&s, "{}");
    send_event(o, "end", &s, false);
    http_end(o->c->http, false);
    call_free(o->c);
}

static void on_gone(struct http *h, void *user)
{
    struct seat *seat = user;
    (void)h;
    seat_stop(seat);
}

static void case_main(struct seat *seat, void *user)
{
    struct one *o = user;
    struct err e = {0};
    http_watch(o->c->http, on_gone, seat);
    int rc = answer(o, seat, &e);
    http_forget(o->c->http); /* the client's leaving has no effect any more */
    if (!o->began && rc == 0)
        set_headers(o);
    one_leave(o, seat);
    if (o->began) {
        end_stream(o, rc, &e);
    } else if (rc < 0) {
        call_fail_err(o->c, NULL, &e);
    } else {
        CHECK(o->finished);
        call_reply(o->c, 200, &o->reply);
    }
    one_free(o);
}

static void start(struct call *c, enum part part)
{
    struct one *o = mem_zalloc(1, sizeof *o);
    struct err e = {0};
    const char *param = NULL;
    if (!o) {
        NOMEM(&e, sizeof *o, "a case");
        call_fail_err(c, NULL, &e);
        return;
    }
    o->c = c;
    o->part = part;
    o->held = o->reply = (struct str)STR_INIT;
    pthread_mutex_init(&o->lock, NULL);
    int rc = read_request(o, &param, &e);
    if (rc == 0)
        rc = seat_start(c->s->clinical, case_main, o, NULL, &e);
    if (rc < 0) {
        one_free(o);
        if (rc == ERR_AGAIN) {
            atomic_fetch_add(&c->s->rejected, 1);
            call_fail(c, 503, NULL, "%s", e.msg);
        } else {
            call_fail_err(c, param, &e);
        }
    }
}

void clinical_run_post(struct call *c)
{
    start(c, PART_RUN);
}

void clinical_plan_post(struct call *c)
{
    start(c, PART_PLAN);
}

void clinical_consult_post(struct call *c)
{
    start(c, PART_CONSULT);
}

void clinical_aggregate_post(struct call *c)
{
    start(c, PART_AGGREGATE);
}
