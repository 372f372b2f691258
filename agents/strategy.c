#include "strategy.h"

#include <stdio.h>
#include <string.h>

#include "sha256.h"

#define STRATEGY_LIST 2048 /* bytes of a list on a page */

static const struct strategy *const strategies[] = {
#define X(name) &strategy_##name,
#include "strategies.def"
#undef X
    NULL};

const struct strategy *const *strategy_all(void)
{
    return strategies;
}

void strategy_names(bool planning, struct str *out)
{
    const char *comma = "";
    for (const struct strategy *const *s = strategies; *s; s++)
        if ((*s)->plans || !planning) {
            str_addf(out, "%s%s", comma, (*s)->name);
            comma = ", ";
        }
}

int strategy_find(const char *name, const struct strategy **out, struct err *e)
{
    struct str names = STR_INIT;
    for (const struct strategy *const *s = strategies; *s; s++)
        if (!strcmp((*s)->name, name)) {
            *out = *s;
            return 0;
        }
    strategy_names(false, &names);
    int rc = err_set(e, ERR_CONFIG, "no strategy '%.40s'; there are %s", name, names.s);
    str_free(&names);
    return rc;
}

/* Compares what the roles need with what the llm can do. */
static int strategy_able(const struct strategy_env *env, const struct strategy *s, struct err *e)
{
    const struct llm_info *info = llm_info(env->llm);
    char lacks[160];
    for (const struct strategy_role *r = s->role; r->name; r++)
        if ((r->needs & ~info->can) && (!s->asks || s->asks(env, r)))
            FAIL(e, ERR_CONFIG,
                 "strategy %s needs for its role %s an llm that %s; provider %s does not; choose "
                 "another strategy or provider%s%s",
                 s->name, r->name, llm_can_text(r->needs & ~info->can, lacks), info->provider,
                 s->instead ? ", or set " : "", s->instead ? s->instead : "");
    return 0;
}

/* Compares the budget of thinking with the model and its context. */
static int strategy_thinks(const struct strategy_env *env, const struct strategy *s, struct err *e)
{
    const struct llm_info *info = llm_info(env->llm);
    int budget = env->options->think;
    if (budget > 0 && !info->thinks)
        FAIL(e, ERR_CONFIG,
             "thinking.budget is %d, but the model %s does not think (chat template %s); set it to "
             "0 or -1",
             budget, info->name[0] ? info->name : info->model, info->chat);
    for (const struct strategy_role *r = s->role; r->name; r++) {
        int think = strategy_think(env, r), tokens = strategy_tokens(env->options, r);
        if (think && (int64_t)think + tokens >= info->n_ctx && (!s->asks || s->asks(env, r)))
            FAIL(e, ERR_CONFIG,
                 "thinking of %d tokens and a reply of %d leave no room for the prompt of role %s "
                 "in the context of %d; lower thinking.budget or raise max_context_length",
                 think, tokens, r->name, info->n_ctx);
    }
    return 0;
}

int strategy_makes_plan(const struct strategy *s, struct err *e)
{
    struct str names = STR_INIT;
    if (s->plans)
        return 0;
    strategy_names(true, &names);
    int rc = err_set(e, ERR_CONFIG, "strategy %s makes no plan; these do: %s", s->name, names.s);
    str_free(&names);
    return rc;
}

int strategy_takes(const struct strategy *s, int n_options, struct err *e)
{
    if (s->needs_options && !n_options)
        FAIL(e, ERR_DATA, "strategy %s needs options; choose another strategy for an open question",
             s->name);
    return 0;
}

int strategy_start(const struct strategy_env *env, struct consult *c, struct err *e)
{
    TRY(strategy_takes(env->strategy, c->q->n_options, e));
    return env->strategy->start(env->state, c, e);
}

int strategy_open(struct strategy_env *env, struct err *e)
{
    const struct strategy *s = NULL;
    struct str describe = STR_INIT;
    void *state = NULL;
    int rc;
    env->strategy = NULL;
    env->state = NULL;
    env->prompts = (struct str)STR_INIT;
    env->options = config_of(env->config, &agent_option_set);
    TRY_DONE(strategy_find(env->options->strategy, &s, e));
    if (env->plan_only)
        TRY_DONE(strategy_makes_plan(s, e));
    if ((env->reports_only || env->n_specialty) && !s->reports)
        TRY_DONE(err_set(e, ERR_CONFIG, "strategy %s has no reports", s->name));
    TRY_DONE(strategy_able(env, s, e));
    TRY_DONE(strategy_thinks(env, s, e));
    TRY_DONE(s->open(env, &describe, &state, e));
    rc = str_ok(&describe, "prompt hashes", e);
    if (rc < 0) {
        s->close(state);
        goto done;
    }
    env->strategy = s;
    env->state = state;
    env->prompts = describe;
    describe = (struct str)STR_INIT;
done:
    str_free(&describe);
    return rc;
}

int strategy_match(struct strategy_env *env, const struct budget *b, struct err *e)
{
    struct str names = STR_INIT;
    if (env->strategy->matches) {
        env->budget = b;
        return 0;
    }
    for (const struct strategy *const *s = strategy_all(); *s; s++)
        if ((*s)->matches)
            str_addf(&names, "%s%s", names.len ? ", " : "", (*s)->name);
    int rc = str_ok(&names, "a message", e);
    if (rc == 0)
        rc = err_set(e, ERR_CONFIG,
                     "strategy %s cannot be given another run's tokens; these can: %s",
                     env->strategy->name, names.s);
    str_free(&names);
    return rc;
}

void strategy_close(struct strategy_env *env)
{
    if (!env->strategy)
        return;
    env->strategy->close(env->state);
    str_free(&env->prompts);
    env->strategy = NULL;
    env->state = NULL;
}

void strategy_describe(struct str *describe, const char *name, const char *hash)
{
    str_addf(describe, "%s\"%s\": \"%s\"", describe->len ? ", " : "", name, hash);
}

int strategy_schema(const struct strategy_env *env, const struct prompt_source *src,
                    const char *file, const struct prompt_constant *c, size_t n,
                    struct str *describe, const struct llm_schema **out, struct err *e)
{
    struct str text = STR_INIT;
    char name[96], hex[65];
    int rc;
    snprintf(name, sizeof name, "%s/%s", src->strategy, file);
    TRY_DONE(prompt_schema(src, file, c, n, &text, e));
    TRY_DONE(llm_schema(env->llm, text.s, text.len, name, out, e));
    if (describe) {
        TRY_DONE(sha256_hex(text.s, text.len, hex, e));
        hex[16] = 0;
        strategy_describe(describe, name, hex);
    }
done:
    str_free(&text);
    return rc;
}

void strategy_answer_form(int n_options, char buf[96])
{
    if (!n_options) {
        snprintf(buf, 96, "{\"type\": \"string\", \"maxLength\": 120}");
        return;
    }
    int at = snprintf(buf, 96, "{\"type\": \"string\", \"enum\": [");
    for (int i = 0; i < n_options; i++)
        at += snprintf(buf + at, 96 - (size_t)at, "%s\"%c\"", i ? "," : "", 'A' + i);
    snprintf(buf + at, 96 - (size_t)at, "]}");
}

int strategy_tokens(const struct agent_options *o, const struct strategy_role *r)
{
    double otherwise = r->max_tokens > 0 ? r->max_tokens : (double)o->max_output_tokens;
    return (int)(r->key ? option_map_get(&o->role_tokens, r->key, otherwise) : otherwise);
}

void strategy_tokens_key(const struct agent_options *o, const struct strategy_role *r,
                         char out[STRATEGY_KEY])
{
    const bool own = r->key && option_map_get(&o->role_tokens, r->key, 0) > 0;
    if (r->key && (own || r->max_tokens > 0))
        snprintf(out, STRATEGY_KEY, "role_tokens.%s", r->key);
    else
        snprintf(out, STRATEGY_KEY, "max_output_tokens");
}

int strategy_think(const struct strategy_env *env, const struct strategy_role *r)
{
    int budget = env->options->think;
    if (r->needs & LLM_CAN_SCORE || !llm_info(env->llm)->thinks)
        return 0;
    return budget < 0 ? LLM_THINK_DEFAULT : budget;
}

double strategy_temperature(const struct agent_options *o, const struct strategy_role *r)
{
    double otherwise = r->temperature >= 0 ? r->temperature : o->temperature;
    return r->key ? option_map_get(&o->agent_temperatures, r->key, otherwise) : otherwise;
}

int strategy_least_tokens(const struct agent_options *o, const struct strategy_role *r, int least,
                          struct err *e)
{
    int have = strategy_tokens(o, r);
    char key[STRATEGY_KEY];
    strategy_tokens_key(o, r, key);
    if (have < least)
        FAIL(e, ERR_CONFIG, "%s is %d, at least %d are needed for role %s; raise %s%s", key, have,
             least, r->name, *key == 'r' ? "it" : "role_tokens.", *key == 'r' ? "" : r->key);
    return 0;
}

/* ---- a finished case ------------------------------------------------------------------------- */

void strategy_show_list(const struct strategy_page *p, const char *head, const char *const *items,
                        int n)
{
    char text[STRATEGY_LIST];
    size_t at = 0;
    if (!n)
        return;
    for (int i = 0; i < n && at < sizeof text - 1; i++) {
        int k = snprintf(text + at, sizeof text - at, "%s%s", i ? "; " : "", items[i]);
        at += k > 0 ? (size_t)k : 0;
    }
    p->text(p->user, head, text);
}

void strategy_facts_selected(const struct consult *c, struct str *out)
{
    str_adds(out, ", \"selected_specialties\": [");
    for (int i = 0; i < c->n_selected; i++)
        str_addf(out, "%s\"%s\"", i ? ", " : "", c->env->catalog->entry[c->selected[i]].id);
    str_addc(out, ']');
}

void strategy_show_decision(const struct strategy_page *p, const struct answer_decision *d)
{
    if (!d)
        return;
    if (d->justification && d->justification[0])
        p->text(p->user, "because       ", d->justification);
    strategy_show_list(p, "differential  ", d->differential, d->n_differential);
    strategy_show_list(p, "warnings      ", d->warnings, d->n_warnings);
}
