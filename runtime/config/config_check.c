#include "config.h"

#include <math.h>
#include <string.h>

static int check_planner(const struct config *c, struct err *e)
{
    bool fixed = !strcmp(c->planner.selection, "fixed");
    if (fixed && !c->planner.n_fixed)
        FAIL(e, ERR_CONFIG,
             "planner.selection is fixed, but planner.fixed names no specialty; "
             "add planner.fixed: [id, ..]");
    if (!fixed && c->planner.n_fixed)
        FAIL(e, ERR_CONFIG,
             "planner.fixed has %d specialties, but planner.selection is %s; set "
             "planner.selection: fixed or remove planner.fixed",
             c->planner.n_fixed, c->planner.selection);
    for (int i = 0; i < c->planner.n_fixed; i++)
        for (int j = 0; j < i; j++)
            if (!strcmp(c->planner.fixed[i], c->planner.fixed[j]))
                FAIL(e, ERR_CONFIG, "planner.fixed names '%s' twice; remove one",
                     c->planner.fixed[i]);
    return 0;
}

int config_check(const struct config *c, struct err *e)
{
    const struct {
        const char *key;
        int64_t tokens;
    } limits[] = {
        {"max_output_tokens", c->max_output_tokens},
        {"role_tokens.planner", c->role_tokens.planner},
        {"role_tokens.specialist", c->role_tokens.specialist},
        {"role_tokens.aggregator", c->role_tokens.aggregator},
        {"role_tokens.cot", c->role_tokens.cot},
    };
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++)
        if (limits[i].tokens >= c->max_context_length)
            FAIL(e, ERR_CONFIG,
                 "%s is %lld tokens, but max_context_length is %lld and must also hold "
                 "the prompt; lower the one or raise the other",
                 limits[i].key, (long long)limits[i].tokens, (long long)c->max_context_length);
    const double own[] = {c->agent_temperatures.planner, c->agent_temperatures.specialist,
                          c->agent_temperatures.aggregator};
    for (size_t i = 0; i < 3; i++)
        if (own[i] < 0 && fabs(own[i] + 1) > 0)
            FAIL(e, ERR_CONFIG, "agent_temperatures has %g; it takes -1 (as temperature) or 0 to 5",
                 own[i]);
    return check_planner(c, e);
}
