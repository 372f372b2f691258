#include "agent_options.h"

#include <stdio.h>
#include <string.h>

#include "check.h"
#include "strategy.h"

#define NEAR 3 /* edits between a name and the one that may have been meant */

/* The keys of the roles that strategies declare, each once, in the order of strategies.def. */
static const char *role_key(const struct option_row *r, int i)
{
    const struct strategy_role *all[64];
    int n = 0;
    (void)r;
    for (const struct strategy *const *s = strategy_all(); *s; s++)
        for (const struct strategy_role *q = (*s)->role; q->name; q++) {
            bool known = !q->key;
            for (int k = 0; k < n && !known; k++)
                known = !strcmp(all[k]->key, q->key);
            if (known)
                continue;
            CHECK_MSG(n < 64, "more roles than there is room for");
            if (n == i)
                return q->key;
            all[n++] = q;
        }
    return NULL;
}

static int refuse_name(const struct option_row *r, const struct option_map_item *item,
                       struct err *e)
{
    char names[512], near[80] = "";
    size_t n = 0;
    int least = NEAR + 1;
    for (int i = 0; role_key(r, i); i++) {
        const char *key = role_key(r, i);
        int d = str_distance(item->name, key);
        if (d < least)
            snprintf(near, sizeof near, "the nearest is '%.60s'; ", key);
        least = d < least ? d : least;
        if (n < sizeof names)
            n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", i ? ", " : "", key);
    }
    FAIL(e, ERR_CONFIG, "%s: %s has no role '%s'; %sthere are %s", item->origin, r->key, item->name,
         near, names);
}

/* Every name of a map is that of a role, of whichever strategy. */
static int check_names(const struct option_row *r, const struct option_map *m, struct err *e)
{
    for (int i = 0; i < m->n; i++) {
        int k = 0;
        while (role_key(r, k) && strcmp(role_key(r, k), m->item[i].name) != 0)
            k++;
        if (!role_key(r, k))
            return refuse_name(r, &m->item[i], e);
    }
    return 0;
}

/* The limits of the roles that the strategy asks leave room for a prompt. */
static int check_tokens(const struct config *c, const struct agent_options *o, struct err *e)
{
    const struct strategy_env env = {.config = c, .options = o};
    const struct strategy *s = NULL;
    int64_t context = config_int(c, "max_context_length");
    TRY(strategy_find(o->strategy, &s, e));
    for (const struct strategy_role *r = s->role; r->name; r++) {
        int tokens = strategy_tokens(o, r);
        if (o->think > 0 && tokens < context && (int64_t)o->think + tokens >= context &&
            !(r->needs & LLM_CAN_SCORE) && (!s->asks || s->asks(&env, r)))
            FAIL(e, ERR_CONFIG,
                 "thinking.budget is %d tokens and the reply of role %s %d, but max_context_length "
                 "is %lld and must also hold the prompt; lower the budget or raise the context",
                 o->think, r->name, tokens, (long long)context);
        char key[STRATEGY_KEY];
        strategy_tokens_key(o, r, key);
        if (r->needs & LLM_CAN_SCORE || tokens < context || (s->asks && !s->asks(&env, r)))
            continue;
        FAIL(e, ERR_CONFIG,
             "%s is %d tokens, but max_context_length is %lld and must also hold the prompt; "
             "lower the one or raise the other",
             key, tokens, (long long)context);
    }
    return 0;
}

static int check(const struct config *c, struct err *e)
{
    const struct agent_options *o = config_of(c, &agent_option_set);
    for (int i = 0; i < agent_option_set.n; i++) {
        const struct option_row *r = &agent_option_set.row[i];
        if (option_is_map(r))
            TRY(check_names(r, (const void *)((const char *)o + r->offset), e));
    }
    return check_tokens(c, o, e);
}

static const struct option_row rows[] = {
#define X(...) OPTION_ROW(struct agent_options, __VA_ARGS__)
#include "agent_options.def"
#undef X
};

const struct option_set agent_option_set = {rows, sizeof rows / sizeof rows[0],
                                            sizeof(struct agent_options), check, role_key};

int agent_option_sets(const struct option_set **out, int most)
{
    int n = 0;
    out[n++] = &agent_option_set;
    for (const struct strategy *const *s = strategy_all(); *s; s++) {
        bool known = !(*s)->options; /* some strategies share a table */
        for (int i = 0; i < n && !known; i++)
            known = out[i] == (*s)->options;
        CHECK_MSG(n < most, "more tables of options than there is room for");
        if (!known)
            out[n++] = (*s)->options;
    }
    return n;
}
