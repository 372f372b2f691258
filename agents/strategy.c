#include "strategy.h"

#include <stdio.h>
#include <string.h>

#include "sha256.h"

static const struct strategy *const strategies[] = {
#define X(name) &strategy_##name,
#include "strategies.def"
#undef X
    NULL};

const struct strategy *const *strategy_all(void)
{
    return strategies;
}

int strategy_find(const char *name, const struct strategy **out, struct err *e)
{
    char names[256];
    size_t n = 0;
    for (const struct strategy *const *s = strategies; *s; s++) {
        if (!strcmp((*s)->name, name)) {
            *out = *s;
            return 0;
        }
        n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", n ? ", " : "", (*s)->name);
    }
    FAIL(e, ERR_CONFIG, "no strategy '%.40s'; there are %s", name, names);
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

int strategy_tokens(const struct agent_options *o, const char *role)
{
    return (int)option_map_get(&o->role_tokens, role, o->max_output_tokens);
}

double strategy_temperature(const struct agent_options *o, const char *role)
{
    return option_map_get(&o->agent_temperatures, role, o->temperature);
}
