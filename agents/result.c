#include "result.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "budget.h"
#include "jdoc.h"
#include "strategy.h"

#define RESULT_HEAD 100 /* characters of the question that a result keeps */

/* ---- writing --------------------------------------------------------------------------------- */

static void result_text(struct str *out, const char *key, const char *s)
{
    str_addf(out, ", \"%s\": ", key);
    str_add_json(out, s, strlen(s));
}

/* null where a number was not measured: JSON has no NaN. 17 digits read back as the same double. */
static void result_number(struct str *out, const char *key, double d)
{
    str_addf(out, ", \"%s\": ", key);
    str_add_number(out, d, 17);
}

static void result_letter(struct str *out, const char *key, int i)
{
    if (i < 0)
        str_addf(out, ", \"%s\": null", key);
    else
        str_addf(out, ", \"%s\": \"%c\"", key, 'A' + i);
}

static void result_write_options(const struct llm_call *l, struct str *out)
{
    double best = (double)NAN;
    str_adds(out, ", \"options\": [");
    for (int i = 0; i < l->n_options; i++) {
        str_adds(out, i ? ", " : "");
        str_add_json(out, l->options[i].s, l->options[i].n);
    }
    str_adds(out, "], \"option_lp\": [");
    for (int i = 0; i < l->n_options; i++) {
        bool known = l->option_lp && isfinite(l->option_lp[i]);
        str_adds(out, i ? ", " : "");
        if (known)
            str_addf(out, "%.17g", l->option_lp[i]);
        else
            str_adds(out, "null");
        if (known && !(best >= l->option_lp[i]))
            best = l->option_lp[i];
    }
    str_adds(out, "]");
    result_number(out, "answer_lp", best);
}

/* The letters' probabilities where the reply wrote its answer, in the order shown to the model. */
static void result_write_choice(const struct llm_call *l, struct str *out)
{
    str_adds(out, ", \"choice_lp\": [");
    for (int i = 0; i < l->n_choice; i++) {
        str_adds(out, i ? ", " : "");
        if (isfinite(l->choice_lp[i]))
            str_addf(out, "%.17g", l->choice_lp[i]);
        else
            str_adds(out, "null");
    }
    str_addc(out, ']');
}

void result_write_call(const struct consult *c, const struct consult_call *k, struct str *out)
{
    const struct llm_call *l = &k->llm;
    str_addf(out, "{\"call\": \"%s\", \"role\": \"%s\", \"index\": %d", c->q->id, k->role->name,
             k->index);
    if (k->specialty >= 0)
        result_text(out, "specialty", c->env->catalog->entry[k->specialty].id);
    str_addf(out, ", \"prompt\": \"%s\", \"prompt_hash\": \"%s\"", prompt_name(k->prompt),
             prompt_hash(k->prompt));
    str_addf(out, ", \"id\": \"%016llx\", \"seed\": %llu, \"max_tokens\": %d",
             (unsigned long long)l->id, (unsigned long long)l->seed, l->max_tokens);
    result_number(out, "temperature", (double)l->temperature);
    str_addf(out, ", \"finish\": \"%s\", \"parsed\": %s", llm_finish_name(l->finish),
             k->parsed ? "true" : "false");
    /* bytes of the reply that are the model's; the rest was filled in */
    if (l->finish == LLM_CLOSED)
        str_addf(out, ", \"own_bytes\": %zu", l->own_len);
    if (!k->parsed)
        result_text(out, "why", k->done ? k->why : "not waited for");
    str_addf(out, ", \"n_prompt\": %d, \"n_cached\": %d", l->n_prompt, l->n_cached);
    if (l->thought != LLM_THOUGHT_NONE) /* before n_new, where roles.c looks for it */
        str_addf(out, ", \"max_think\": %d, \"thought\": \"%s\", \"n_think\": %d", l->max_think,
                 llm_thought_name(l->thought), l->n_think);
    str_addf(out, ", \"n_new\": %d", l->n_new);
    if (l->n_pass)
        str_addf(out, ", \"n_pass\": %d, \"n_drafted\": %d, \"n_accepted\": %d", l->n_pass,
                 l->n_drafted, l->n_accepted);
    if (l->n_retries)
        str_addf(out, ", \"retries\": %d", l->n_retries);
    if (l->retried[0])
        result_text(out, "retried", l->retried);
    if (l->n_repairs)
        str_addf(out, ", \"repairs\": %d", l->n_repairs);
    if (l->fingerprint[0])
        result_text(out, "fingerprint", l->fingerprint);
    result_number(out, "seconds", l->seconds);
    result_number(out, "first_seconds", l->first_seconds);
    result_number(out, "mean_lp", l->mean_lp);
    if (l->n_options)
        result_write_options(l, out);
    if (l->has_choice)
        result_write_choice(l, out);
    str_adds(out, ", \"system\": ");
    str_add_json(out, l->system, l->system_len);
    str_adds(out, ", \"user\": ");
    str_add_json(out, l->user, l->user_len);
    if (l->reply_prefix)
        result_text(out, "reply_prefix", l->reply_prefix);
    if (l->raw) /* the user text is the whole prompt */
        str_addf(out, ", \"raw\": true, \"no_bos\": %s", l->no_bos ? "true" : "false");
    if (l->max_think || l->think.len) {
        str_adds(out, ", \"thinking\": ");
        str_add_json(out, l->think.s, l->think.len);
    }
    str_adds(out, ", \"reply\": ");
    str_add_json(out, l->reply.s, l->reply.len);
}

size_t result_head(const char *s)
{
    size_t n = strlen(s), at = 0;
    for (int i = 0; i < RESULT_HEAD && at < n; i++) {
        uint32_t cp;
        int k = utf8_decode(s + at, n - at, &cp);
        at += k ? (size_t)k : 1;
    }
    return at;
}

/* The members of the strategy, and the specialties that were asked. */
static void result_write_work(const struct consult *c, struct str *out)
{
    const struct strategy *s = c->env->strategy;
    if (s->facts)
        s->facts(c, STRATEGY_TRACE, out);
    if (c->choices)
        result_text(out, "choices", c->choices);
    if (!c->selected)
        return;
    str_adds(out, ", \"selected\": [");
    for (int i = 0; i < c->n_selected; i++)
        str_addf(out, "%s\"%s\"", i ? ", " : "", c->env->catalog->entry[c->selected[i]].id);
    str_addf(out, "], \"reports\": %d", c->n_reports);
    result_number(out, "agreement", c->agreement);
    if (c->synonyms) {
        result_number(out, "agreement_class", c->agreement_class);
        str_addf(out, ", \"synonyms\": \"%.16s\"", c->synonyms);
    }
}

static void result_write_usage(const struct consult *c, struct str *out)
{
    long long prompt = 0, cached = 0, think = 0, new = 0;
    int cut = 0, closed = 0, thoughts_cut = 0;
    for (const struct consult_call *k = c->first; k; k = k->next) {
        cut += k->done && k->llm.finish == LLM_CUT;
        closed += k->done && k->llm.finish == LLM_CLOSED;
        prompt += k->done ? k->llm.n_prompt : 0;
        cached += k->done ? k->llm.n_cached : 0;
        think += k->done ? k->llm.n_think : 0;
        thoughts_cut += k->done && k->llm.thought == LLM_THOUGHT_CUT;
        new += k->done ? k->llm.n_new : 0;
    }
    str_addf(out, ", \"cut\": %d, \"closed\": %d", cut, closed);
    str_addf(out, ", \"prompt_tokens\": %lld, \"cached_tokens\": %lld, \"new_tokens\": %lld",
             prompt, cached, new);
    if (think)
        str_addf(out, ", \"think_tokens\": %lld, \"thoughts_cut\": %d", think, thoughts_cut);
    result_number(out, "seconds", (double)(c->t_end - c->t_start) * 1e-9);
    result_number(out, "ended", (double)c->t_end * 1e-9);
    long long computed = prompt - cached + think + new;
    result_number(out, "joules", c->joules);
    result_number(out, "joules_per_token",
                  computed > 0 ? c->joules / (double)computed : (double)NAN);
    if (c->energy)
        result_text(out, "energy", c->energy);
}

static void result_write_by_option(const char *head, const double *v, int n, struct str *out)
{
    str_adds(out, head);
    for (int i = 0; i < n; i++)
        str_addf(out, "%s%.17g", i ? ", " : "", v[i]);
    str_addc(out, ']');
}

static void result_write_shown(const struct consult *c, struct str *out)
{
    str_adds(out, ", \"shown\": \"");
    for (int i = 0; i < c->q->n_options; i++)
        str_addc(out, (char)('A' + c->shown[i]));
    str_addc(out, '"');
    if (c->has_p)
        result_write_by_option(", \"p_option\": [", c->p_option, c->q->n_options, out);
    if (c->has_lp)
        result_write_by_option(", \"option_lp\": [", c->option_lp, c->q->n_options, out);
}

void result_write(const struct consult *c, struct str *out)
{
    const struct medqa_question *q = c->q;
    bool correct = c->state == CONSULT_ANSWERED && q->key >= 0 && c->predicted == q->key;
    str_addf(out, "{\"case\": \"%s\", \"n\": %lld, \"calls\": %d, \"state\": \"%s\"", q->id,
             (long long)q->index, c->n_calls, consult_state_name(c->state));
    str_addf(out, ", \"n_options\": %d", q->n_options);
    result_letter(out, "predicted", c->predicted);
    result_letter(out, "key", q->key);
    str_addf(out, ", \"correct\": %s", correct ? "true" : "false");
    result_text(out, "answer", c->answer ? c->answer : "");
    result_text(out, "why", c->why);
    result_text(out, "step", q->step);
    result_number(out, "p",
                  c->has_p && c->predicted >= 0 ? c->p_option[c->predicted] : (double)NAN);
    result_write_work(c, out);
    result_write_usage(c, out);
    if (c->env->budget)
        str_addf(out, ", \"budget\": %lld", (long long)budget_of(c->env->budget, q->id));
    result_write_shown(c, out);
    str_adds(out, ", \"warnings\": ");
    str_add_json(out, c->warnings.s, c->warnings.len);
    str_adds(out, ", \"question\": ");
    str_add_json(out, q->text, result_head(q->text));
}

/* ---- reading --------------------------------------------------------------------------------- */

static int result_copy(struct results *rs, const char *s, const char **out, struct err *e)
{
    char *copy = arena_strndup(&rs->arena, s, strlen(s));
    if (!copy)
        return NOMEM(e, strlen(s) + 1, "results");
    *out = copy;
    return 0;
}

static int result_string(struct results *rs, const json_t *doc, const char *key, const char **out,
                         struct err *e)
{
    const char *s = NULL;
    TRY(jdoc_string(doc, key, &s, e));
    return result_copy(rs, s, out, e);
}

/* A number or null (NaN). */
static int result_maybe(const json_t *doc, const char *key, double *out, struct err *e)
{
    json_t *v = json_object_get(doc, key);
    *out = (double)NAN;
    if (!v || json_is_null(v))
        return 0;
    return jdoc_number(doc, key, -1e15, 1e15, out, e);
}

static int result_option(const json_t *doc, const char *key, int n, int *out, struct err *e)
{
    json_t *v = json_object_get(doc, key);
    const char *s = json_string_value(v);
    if (json_is_null(v)) {
        *out = -1;
        return 0;
    }
    if (!s || strlen(s) != 1 || s[0] < 'A' || s[0] >= 'A' + n)
        FAIL(e, ERR_DATA, "'%s' is no letter of %d options", key, n);
    *out = s[0] - 'A';
    return 0;
}

static int result_state(const json_t *doc, enum consult_state *out, struct err *e)
{
    const char *s = NULL;
    TRY(jdoc_string(doc, "state", &s, e));
    for (int i = CONSULT_ANSWERED; i <= CONSULT_REPORTED; i++)
        if (!strcmp(s, consult_state_name((enum consult_state)i))) {
            *out = (enum consult_state)i;
            return 0;
        }
    FAIL(e, ERR_DATA, "state '%.20s' is not known", s);
}

static int result_selected(struct results *rs, const json_t *doc, struct result *r, struct err *e)
{
    json_t *list = NULL;
    json_int_t reports = 0;
    if (!json_object_get(doc, "selected"))
        return 0;
    TRY(jdoc_array(doc, "selected", 0, CATALOG_MAX, &list, e));
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *s = json_string_value(json_array_get(list, i));
        if (!s)
            FAIL(e, ERR_DATA, "item %zu of 'selected' is not a string", i + 1);
        r->selected[i] = arena_strndup(&rs->arena, s, strlen(s));
        if (!r->selected[i])
            return NOMEM(e, strlen(s) + 1, "results");
    }
    r->n_selected = (int)json_array_size(list);
    TRY(jdoc_int(doc, "reports", 0, r->n_selected, &reports, e));
    r->n_reports = (int)reports;
    return 0;
}

/* As jdoc_int from 0 on. In an imported case a null is -1: not known. */
static int result_count(const json_t *doc, const char *key, bool imported, json_int_t *out,
                        struct err *e)
{
    if (!imported || !json_is_null(json_object_get(doc, key)))
        return jdoc_int(doc, key, 0, (json_int_t)1 << 40, out, e);
    *out = -1;
    return 0;
}

static int result_counts(const json_t *doc, struct result *r, struct err *e)
{
    const json_int_t most = (json_int_t)1 << 40;
    json_int_t v[10] = {0};
    TRY(jdoc_int(doc, "n", 0, most, &v[0], e));
    TRY(jdoc_int(doc, "calls", 0, 1000, &v[1], e));
    TRY(jdoc_int(doc, "n_options", 0, MEDQA_OPTIONS, &v[2], e));
    TRY(result_count(doc, "prompt_tokens", r->imported, &v[3], e));
    TRY(result_count(doc, "cached_tokens", r->imported, &v[4], e));
    TRY(result_count(doc, "new_tokens", r->imported, &v[5], e));
    TRY(jdoc_int(doc, "cut", 0, v[1], &v[6], e));
    TRY(jdoc_int(doc, "closed", 0, v[1], &v[7], e));
    /* of models that think, in runs that recorded it */
    if (json_object_get(doc, "think_tokens")) {
        TRY(jdoc_int(doc, "think_tokens", 0, most, &v[8], e));
        TRY(jdoc_int(doc, "thoughts_cut", 0, v[1], &v[9], e));
    }
    r->index = v[0];
    r->think_tokens = v[8];
    r->thoughts_cut = (int)v[9];
    r->calls = (int)v[1];
    r->n_options = (int)v[2];
    r->cut = (int)v[6];
    r->closed = (int)v[7];
    r->prompt_tokens = v[3];
    r->cached_tokens = v[4];
    r->new_tokens = v[5];
    return 0;
}

/* "energy" is the text of most cases of a run: one copy serves those that follow each other. Runs
 * before had none. */
static int result_energy(struct results *rs, const json_t *doc, struct result *r, struct err *e)
{
    const char *last = rs->n ? rs->r[rs->n - 1].energy : "";
    const char *s = json_string_value(json_object_get(doc, "energy"));
    TRY(result_maybe(doc, "joules", &r->joules, e));
    r->energy = "";
    if (!s || !strcmp(s, last)) {
        r->energy = s ? last : "";
        return 0;
    }
    return result_copy(rs, s, &r->energy, e);
}

/* Of strategies that score the letters, in runs that recorded it. */
static int result_option_lp(const json_t *doc, struct result *r, struct err *e)
{
    json_t *list = NULL;
    if (!json_object_get(doc, "option_lp"))
        return 0;
    TRY(jdoc_array(doc, "option_lp", (size_t)r->n_options, (size_t)r->n_options, &list, e));
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        if (!json_is_number(v) || !(json_number_value(v) <= 0))
            FAIL(e, ERR_DATA, "item %zu of 'option_lp' is no log-probability", i + 1);
        r->option_lp[i] = json_number_value(v);
    }
    r->has_lp = true;
    return 0;
}

/* Of strategies that know the probabilities of the letters, in runs that recorded them. */
static int result_p_option(const json_t *doc, struct result *r, struct err *e)
{
    json_t *list = NULL;
    if (!json_object_get(doc, "p_option"))
        return 0;
    TRY(jdoc_array(doc, "p_option", (size_t)r->n_options, (size_t)r->n_options, &list, e));
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        if (!json_is_number(v) || !(json_number_value(v) >= 0 && json_number_value(v) <= 1 + 1e-9))
            FAIL(e, ERR_DATA, "item %zu of 'p_option' is no probability", i + 1);
        r->p_option[i] = json_number_value(v);
    }
    r->has_p = true;
    return 0;
}

/* Of strategies with several voices, in runs that recorded it. */
static int result_choices(struct results *rs, const json_t *doc, struct result *r, struct err *e)
{
    if (!json_object_get(doc, "choices"))
        return 0;
    TRY(result_string(rs, doc, "choices", &r->choices, e));
    for (const char *s = r->choices; *s; s++)
        if (!strchr("-YN", *s) && (*s < 'A' || *s >= 'A' + r->n_options))
            FAIL(e, ERR_DATA, "'choices' holds '%c', which is no letter of %d options",
                 *s >= ' ' && *s < 0x7f ? *s : '?', r->n_options);
    return 0;
}

static int result_fill(struct results *rs, const json_t *doc, struct result *r, struct err *e)
{
    const char *id = NULL;
    TRY(jdoc_string(doc, "case", &id, e));
    if (strlen(id) >= sizeof r->id)
        FAIL(e, ERR_DATA, "the question id has %zu bytes", strlen(id));
    memcpy(r->id, id, strlen(id) + 1);
    r->imported = json_is_true(json_object_get(doc, "imported"));
    TRY(result_counts(doc, r, e));
    TRY(result_state(doc, &r->state, e));
    TRY(result_option(doc, "predicted", r->n_options, &r->predicted, e));
    TRY(result_option_lp(doc, r, e));
    TRY(result_p_option(doc, r, e));
    TRY(result_option(doc, "key", r->n_options, &r->key, e));
    r->correct = json_is_true(json_object_get(doc, "correct"));
    if (r->correct != (r->state == CONSULT_ANSWERED && r->key >= 0 && r->predicted == r->key))
        FAIL(e, ERR_DATA, "'correct' contradicts the letters");
    TRY(result_string(rs, doc, "answer", &r->answer, e));
    TRY(result_string(rs, doc, "why", &r->why, e));
    TRY(result_string(rs, doc, "step", &r->step, e));
    TRY(result_string(rs, doc, "question", &r->question, e));
    TRY(result_selected(rs, doc, r, e));
    TRY(result_maybe(doc, "agreement", &r->agreement, e));
    TRY(result_maybe(doc, "agreement_class", &r->agreement_class, e));
    TRY(result_choices(rs, doc, r, e));
    TRY(result_maybe(doc, "p", &r->p, e));
    TRY(result_energy(rs, doc, r, e));
    TRY(result_maybe(doc, "ended", &r->ended, e));
    if (r->imported)
        return result_maybe(doc, "seconds", &r->seconds, e);
    return jdoc_number(doc, "seconds", 0, 1e12, &r->seconds, e);
}

int result_read(struct results *rs, const char *line, size_t n, struct err *e)
{
    struct result r = {.predicted = -1, .key = -1};
    json_t *doc = NULL;
    int rc;
    TRY_DONE(jdoc_load(line, n, &doc, e));
    TRY_DONE(result_fill(rs, doc, &r, e));
    TRY_DONE(mem_grow(&rs->r, &rs->cap, rs->n + 1, sizeof *rs->r, "results", e));
    rs->r[rs->n++] = r;
done:
    json_decref(doc);
    return rc;
}

int64_t result_computed(const struct result *r)
{
    if (r->prompt_tokens < 0 || r->cached_tokens < 0 || r->new_tokens < 0)
        return -1;
    return r->prompt_tokens - r->cached_tokens + r->think_tokens + r->new_tokens;
}

static int result_before(const void *a, const void *b)
{
    const struct result *x = a, *y = b;
    return (x->index > y->index) - (x->index < y->index);
}

void results_sort(struct results *rs)
{
    if (rs->n)
        qsort(rs->r, rs->n, sizeof *rs->r, result_before);
}

void results_free(struct results *rs)
{
    mem_free(rs->r);
    arena_free(&rs->arena);
    *rs = (struct results){.n = 0};
}
