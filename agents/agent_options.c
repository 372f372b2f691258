#include "agent_options.h"

#include <string.h>

#include "check.h"
#include "strategy.h"

static bool is_choice(const char *choices, const char *name)
{
    size_t n = strlen(name);
    for (const char *s = choices; *s; s += strcspn(s, "|") + (s[strcspn(s, "|")] == '|'))
        if (strcspn(s, "|") == n && !memcmp(s, name, n))
            return true;
    return false;
}

/* Every name of a map must be one of its row's choices. */
static int check_names(const struct option_row *r, const struct option_map *m, struct err *e)
{
    for (int i = 0; i < m->n; i++)
        if (!is_choice(r->choices, m->item[i].name))
            FAIL(e, ERR_CONFIG, "%s: %s has no role '%s'; there are %s", m->item[i].origin, r->key,
                 m->item[i].name, r->choices);
    return 0;
}

static int check_tokens(const char *key, const char *role, double tokens, int64_t context,
                        struct err *e)
{
    if (tokens >= (double)context)
        FAIL(e, ERR_CONFIG,
             "%s%s%s is %.0f tokens, but max_context_length is %lld and must also hold the prompt; "
             "lower the one or raise the other",
             key, *role ? "." : "", role, tokens, (long long)context);
    return 0;
}

static int check(const struct config *c, struct err *e)
{
    const struct agent_options *o = config_of(c, &agent_option_set);
    int64_t context = config_int(c, "max_context_length");
    for (int i = 0; i < agent_option_set.n; i++) {
        const struct option_row *r = &agent_option_set.row[i];
        if (option_is_map(r))
            TRY(check_names(r, (const void *)((const char *)o + r->offset), e));
    }
    TRY(check_tokens("max_output_tokens", "", o->max_output_tokens, context, e));
    for (int i = 0; i < o->role_tokens.n; i++)
        TRY(check_tokens("role_tokens", o->role_tokens.item[i].name, o->role_tokens.item[i].value,
                         context, e));
    return 0;
}

static const struct option_row rows[] = {
#define X(...) OPTION_ROW(struct agent_options, __VA_ARGS__)
#include "agent_options.def"
#undef X
};

const struct option_set agent_option_set = {rows, sizeof rows / sizeof rows[0],
                                            sizeof(struct agent_options), check};

int agent_option_sets(const struct option_set **out, int most)
{
    int n = 0;
    out[n++] = &agent_option_set;
    for (const struct strategy *const *s = strategy_all(); *s; s++) {
        CHECK_MSG(n < most, "more tables of options than there is room for");
        if ((*s)->options)
            out[n++] = (*s)->options;
    }
    return n;
}
