#include "grid.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "provider.h"
#include "sha256.h"

#define GRID_VALUE 48 /* longest part of a folder's name that one value has, bytes */

const char *grid_state_name(enum grid_state s)
{
    static const char *const names[] = {"waiting", "partial", "done", "failed", "removed"};
    return names[s];
}

/* ---- the group of a configuration ------------------------------------------------------------ */

/* X(..) as in option.h. */
#define GRID_OPTIONS(X)                                                                            \
    X(name, STRING, "name", 1, 63, "experiment", "",                                               \
      "Name of the experiment, for its folder and its tables.")                                    \
    X(seeds, LIST, "seeds", 0, OPTION_LIST_MAX, "", "", "Seeds; each setting is run with each.")   \
    X(only, LIST, "only", 0, OPTION_LIST_MAX, "", "rules",                                         \
      "Keeps the points for which one of the rules holds, such as 'strategy=panel & seed=1'.")     \
    X(exclude, LIST, "exclude", 0, OPTION_LIST_MAX, "", "rules",                                   \
      "Leaves out the points for which one of the rules holds.")                                   \
    X(n, INT, "data.n", 0, 1048576, "0", "records", "Only the first records; 0 is all.")           \
    X(step, STRING, "data.step", 0, MEDQA_STEP, "", "", "Only questions of this step.")            \
    X(ids_file, STRING, "data.ids", 0, 4096, "", "",                                               \
      "File with the ids of the questions, one a line.")                                           \
    X(sample, INT, "data.sample.n", 0, 1048576, "0", "records",                                    \
      "Size of a random sample; 0 is all.")                                                        \
    X(sample_seed, INT, "data.sample.seed", 0, 9007199254740992, "1", "",                          \
      "Seed of the random sample.")                                                                \
    X(permute, STRING, "data.permute", 0, 16, "", "",                                              \
      "cyclic: each question in all cyclic orders of its options.")                                \
    X(none_of_the_above, BOOL, "data.none_of_the_above", 0, 1, "false", "",                        \
      "Replaces the text of the right option.")                                                    \
    X(paraphrases, STRING, "data.paraphrases", 0, 4096, "", "",                                    \
      "File with other words for the questions; each is asked in its own words and in these.")

#define GRID_ROW(member_, type_, key_, lo_, hi_, otherwise_, unit_, doc_)                          \
    {.key = key_,                                                                                  \
     .type = OPTION_##type_,                                                                       \
     .offset = offsetof(struct grid_options, member_),                                             \
     .size = sizeof(((struct grid_options *)0)->member_),                                          \
     .lo = lo_,                                                                                    \
     .hi = hi_,                                                                                    \
     .otherwise = otherwise_,                                                                      \
     .unit = unit_,                                                                                \
     .doc = doc_},
static const struct option_row grid_rows[] = {GRID_OPTIONS(GRID_ROW)};
enum { GRID_ROWS = sizeof grid_rows / sizeof grid_rows[0] };
static const struct option_set grid_option_set = {grid_rows, GRID_ROWS, sizeof(struct grid_options),
                                                  NULL, NULL};
static const char grid_factor_key[] = "factors.";

bool grid_given(const struct config *base)
{
    return base->n_entry > 0;
}

/* A factor's key exists, and each of its values is one of that key. */
static int grid_factor_check(const struct config *base, const struct grid_factor *f, struct err *e)
{
    struct config c = {.n = 0};
    struct str *is = mem_zalloc((size_t)f->n, sizeof *is);
    int rc;
    if (!is)
        return NOMEM(e, (size_t)f->n * sizeof *is, "values of a factor");
    TRY_DONE(config_copy(base, &c, e));
    for (int i = 0; i < f->n; i++) {
        is[i] = (struct str)STR_INIT;
        TRY_DONE(config_assign(&c, f->key, f->value[i], f->origin, e));
        config_value(&c, f->key, &is[i]); /* 0.7, 0.70 and 7e-1 are one value */
        TRY_DONE(str_ok(&is[i], "a value", e));
        for (int k = 0; k < i; k++)
            if (!strcmp(is[i].s, is[k].s))
                TRY_DONE(err_set(e, ERR_CONFIG, "%s: %s.%s%s has the value '%.80s' twice%s%.80s%s",
                                 f->origin, GRID_GROUP, grid_factor_key, f->key, f->value[k],
                                 strcmp(f->value[i], f->value[k]) ? ": '" : "",
                                 strcmp(f->value[i], f->value[k]) ? f->value[i] : "",
                                 strcmp(f->value[i], f->value[k]) ? "' is the same" : ""));
    }
done:
    for (int i = 0; i < f->n; i++)
        if (is[i].s)
            str_free(&is[i]);
    mem_free(is);
    config_free(&c);
    return rc;
}

static int grid_factor_add(struct grid *g, const struct config *base, const struct grid_factor *f,
                           struct err *e)
{
    if (g->n_factor == GRID_FACTORS)
        FAIL(e, ERR_CONFIG, "%s: more than %d factors", f->origin, GRID_FACTORS);
    if (!f->n)
        FAIL(e, ERR_CONFIG, "%s: %s has no value; write at least one", f->origin, f->key);
    for (int i = 0; i < g->n_factor; i++)
        if (!strcmp(g->factor[i].key, f->key))
            FAIL(e, ERR_CONFIG, "%s: %s is a factor already; write its values once", f->origin,
                 f->key);
    TRY(grid_factor_check(base, f, e));
    g->factor[g->n_factor++] = *f;
    return 0;
}

static int grid_unknown(const struct config_entry *en, struct err *e)
{
    const struct option_row *near = NULL;
    int least = 4;
    for (int i = 0; i < GRID_ROWS; i++) {
        int d = str_distance(en->key, grid_rows[i].key);
        near = d < least ? &grid_rows[i] : near;
        least = d < least ? d : least;
    }
    FAIL(e, ERR_CONFIG, "%s: unknown key '%s.%.80s'; %s%s%s", en->origin, GRID_GROUP, en->key,
         near ? "the nearest is '" GRID_GROUP "." : "agents/EXPERIMENTS.md lists all keys",
         near ? near->key : "", near ? "'" : "");
}

static int grid_entry(struct grid *g, const struct config *base, const struct config_entry *en,
                      struct err *e)
{
    const size_t n = sizeof grid_factor_key - 1;
    if (!strncmp(en->key, grid_factor_key, n)) {
        const struct grid_factor f = {en->key + n, en->item, en->n, en->origin};
        return grid_factor_add(g, base, &f, e);
    }
    const struct option_row *r = NULL;
    for (int i = 0; i < GRID_ROWS && !r; i++)
        r = strcmp(grid_rows[i].key, en->key) ? NULL : &grid_rows[i];
    if (!r)
        return grid_unknown(en, e);
    const struct option_value v = {
        .item = en->item, .n = en->n, .is_list = en->is_list, .origin = en->origin};
    struct str name = STR_INIT;
    str_addf(&name, "%s.%s", GRID_GROUP, en->key);
    int rc = str_ok(&name, "a name", e);
    if (!rc)
        rc = option_set(r, name.s, &v, &g->options, &g->arena, e);
    str_free(&name);
    return rc < 0 ? err_wrap(e, rc, "%s", en->origin) : 0;
}

static int grid_read(struct grid *g, const struct config *base, struct err *e)
{
    option_defaults(&grid_option_set, &g->options);
    for (size_t i = 0; i < base->n_entry; i++)
        if (!base->entry[i].replaced)
            TRY(grid_entry(g, base, &base->entry[i], e));
    const struct option_list *seeds = &g->options.seeds;
    if (seeds->n) { /* the list is part of the struct, which moves */
        const char **value = arena_alloc(&g->arena, (size_t)seeds->n, sizeof *value);
        const struct grid_factor f = {"seed", value, seeds->n, GRID_GROUP ".seeds"};
        if (!value)
            return NOMEM(e, (size_t)seeds->n * sizeof *value, "seeds");
        memcpy(value, seeds->item, (size_t)seeds->n * sizeof *value);
        TRY(grid_factor_add(g, base, &f, e));
    }
    if (!g->n_factor)
        FAIL(e, ERR_CONFIG,
             "the experiment varies nothing; write '" GRID_GROUP
             ": factors: KEY: [values]', or seeds");
    return 0;
}

/* ---- settings that a strategy reads ---------------------------------------------------------- */

static bool grid_in_set(const struct option_set *s, const struct option_row *r)
{
    return s && r >= s->row && r < s->row + s->n;
}

/* Does this role's reply depend on that key of every strategy? */
static bool grid_role_reads(const struct agent_options *o, const struct strategy_role *q,
                            const struct option_row *r, const char *key)
{
    const bool draws = strategy_temperature(o, q) > 0;
    if (option_is_map(r))
        return q->key && !strcmp(key + strlen(r->key) + 1, q->key);
    if (!strcmp(key, "temperature"))
        return q->temperature < 0 &&
               !(q->key && option_map_get(&o->agent_temperatures, q->key, -1) >= 0);
    if (!strcmp(key, "max_output_tokens"))
        return !q->max_tokens && !(q->key && option_map_get(&o->role_tokens, q->key, 0) > 0);
    if (!strcmp(key, "top_p") || !strcmp(key, "min_p") || !strcmp(key, "top_k"))
        return draws;
    return true;
}

bool grid_reads(const struct config *c, const char *key, bool shuffle)
{
    static const char *const of_replies[] = {
        "temperature", "top_p", "min_p", "top_k", "max_output_tokens", "thinking.budget", "seed"};
    const struct agent_options *o = config_of(c, &agent_option_set);
    const struct strategy_env env = {.config = c, .options = o};
    const struct option_row *r = config_find(c, key, NULL);
    const struct strategy *s = NULL;
    struct err unknown;
    bool generates = false;
    if (!r || strategy_find(o->strategy, &s, &unknown) < 0)
        return true; /* opening the cell names the fault */
    for (const struct strategy *const *t = strategy_all(); *t; t++)
        if ((*t)->options != s->options && grid_in_set((*t)->options, r))
            return false;
    if (!strncmp(key, "remote.", 7) && !strcmp(o->provider, provider_local.name))
        return false; /* there is no server */
    bool of_reply = grid_in_set(&agent_option_set, r) && option_is_map(r);
    for (size_t i = 0; i < sizeof of_replies / sizeof of_replies[0]; i++)
        of_reply |= !strcmp(key, of_replies[i]);
    if (!of_reply || (shuffle && !strcmp(key, "seed")))
        return true;
    for (const struct strategy_role *q = s->role; q->name; q++)
        if (!(q->needs & LLM_CAN_SCORE) && (!s->asks || s->asks(&env, q)))
            generates |= grid_role_reads(o, q, r, key);
    return generates;
}

/* ---- rules ----------------------------------------------------------------------------------- */

/* One condition "key=value" of a rule: does the point meet it? */
static int grid_condition(const struct grid *g, const char *s, size_t n, const int *at, bool *met,
                          struct err *e)
{
    const char *eq = memchr(s, '=', n);
    const size_t k = eq ? (size_t)(eq - s) : 0, len = eq ? n - k - 1 : 0;
    if (!eq || !k)
        FAIL(e, ERR_CONFIG, "'%.*s' is no condition; write FACTOR=VALUE", (int)n, s);
    for (int i = 0; i < g->n_factor; i++) {
        const struct grid_factor *f = &g->factor[i];
        if (strlen(f->key) != k || memcmp(f->key, s, k) != 0)
            continue;
        for (int v = 0; v < f->n; v++)
            if (strlen(f->value[v]) == len && !memcmp(f->value[v], eq + 1, len)) {
                *met = at[i] == v;
                return 0;
            }
        FAIL(e, ERR_CONFIG, "factor %s has no value '%.*s'", f->key, (int)len, eq + 1);
    }
    FAIL(e, ERR_CONFIG, "'%.*s' is no factor of the experiment", (int)k, s);
}

/* Conditions are joined by '&'. The rule holds when the point meets all of them. */
static int grid_rule(const struct grid *g, const char *rule, const int *at, bool *holds,
                     struct err *e)
{
    *holds = true;
    for (const char *s = rule; s;) {
        const char *end = strchr(s, '&'), *next = end ? end + 1 : NULL;
        bool met = false;
        end = end ? end : s + strlen(s);
        s += strspn(s, " ");
        while (end > s && end[-1] == ' ')
            end--;
        TRY(grid_condition(g, s, end > s ? (size_t)(end - s) : 0, at, &met, e));
        *holds &= met;
        s = next;
    }
    return 0;
}

static int grid_rules(const struct grid *g, const char *key, const struct option_list *rules,
                      const int *at, bool *any, struct err *e)
{
    *any = false;
    for (int i = 0; i < rules->n; i++) {
        bool holds = false;
        int rc = grid_rule(g, rules->item[i], at, &holds, e);
        if (rc < 0)
            return err_wrap(e, rc, "%s.%s: '%.120s'", GRID_GROUP, key, rules->item[i]);
        *any |= holds;
    }
    return 0;
}

/* ---- cells ----------------------------------------------------------------------------------- */

const char *grid_value(const struct grid *g, const struct grid_cell *c, int factor)
{
    return c->value[factor] < 0 ? NULL : g->factor[factor].value[c->value[factor]];
}

/* The base with the values of the cell. */
static int grid_configure(const struct grid *g, const struct config *base, struct grid_cell *c,
                          struct err *e)
{
    TRY(config_copy(base, &c->config, e));
    for (int i = 0; i < g->n_factor; i++)
        if (grid_value(g, c, i))
            TRY(config_assign(&c->config, g->factor[i].key, grid_value(g, c, i),
                              g->factor[i].origin, e));
    return 0;
}

/* A value as part of a folder's name: of a path its last part; other characters become '-'. */
static void grid_name_value(const char *value, struct str *out)
{
    const size_t n = strlen(value);
    const char *slash = strrchr(value, '/');
    if (slash && slash[1])
        value = slash + 1;
    for (size_t i = 0; value[i] && i < GRID_VALUE; i++) {
        const char c = value[i];
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           (c >= '0' && c <= '9') || strchr("._+-", c);
        str_addc(out, plain ? c : '-');
    }
    if (!n)
        str_adds(out, "none");
}

/* "panel,temperature=0.3,seed=1": the strategy's name stands without its key. */
static int grid_name(struct grid *g, struct grid_cell *c, struct err *e)
{
    struct str s = STR_INIT;
    for (int i = 0; i < g->n_factor; i++) {
        const char *value = grid_value(g, c, i);
        if (!value)
            continue;
        str_adds(&s, s.len ? "," : "");
        if (strcmp(g->factor[i].key, "strategy") != 0)
            str_addf(&s, "%s=", g->factor[i].key);
        grid_name_value(value, &s);
    }
    if (!s.len)
        str_adds(&s, "all");
    const size_t most = GRID_NAME - 12; /* room for "-4096" and a hash */
    if (s.len > most) {
        char hex[65];
        int rc = sha256_hex(s.s, s.len, hex, e);
        if (rc < 0) {
            str_free(&s);
            return rc;
        }
        snprintf(c->name, sizeof c->name, "%.*s-%.6s", (int)(most - 7), s.s, hex);
    } else {
        snprintf(c->name, sizeof c->name, "%s%s", *s.s == '.' ? "_" : "", s.s);
    }
    int rc = str_ok(&s, "a name", e);
    str_free(&s);
    return rc;
}

/* A name of an earlier cell gets a number. */
static void grid_name_apart(struct grid *g, struct grid_cell *c)
{
    char stem[GRID_NAME + 1];
    memcpy(stem, c->name, sizeof stem);
    for (int k = 2;; k++) {
        size_t i = 0;
        while (i < g->n && strcmp(g->cell[i].name, c->name) != 0)
            i++;
        if (i == g->n)
            return;
        snprintf(c->name, sizeof c->name, "%.*s-%d", GRID_NAME - 6, stem, k);
    }
}

/* The cell of the point: an earlier one with the same settings, or a new one. */
static int grid_point(struct grid *g, const struct config *base, const int *at, bool shuffle,
                      struct err *e)
{
    struct grid_cell c = {.state = GRID_WAITING};
    int rc;
    memcpy(c.value, at, sizeof c.value);
    TRY_DONE(grid_configure(g, base, &c, e));
    for (int i = 0; i < g->n_factor; i++)
        if (!grid_reads(&c.config, g->factor[i].key, shuffle))
            c.value[i] = -1;
    for (size_t i = 0; i < g->n; i++)
        if (!memcmp(g->cell[i].value, c.value, sizeof c.value))
            goto done; /* rc is 0 */
    config_free(&c.config);
    TRY_DONE(grid_configure(g, base, &c, e));
    TRY_DONE(grid_name(g, &c, e));
    grid_name_apart(g, &c);
    rc = config_check(&c.config, e);
    if (rc < 0) {
        rc = err_wrap(e, rc, "cell %s", c.name);
        goto done;
    }
    TRY_DONE(mem_grow(&g->cell, &g->cap, g->n + 1, sizeof *g->cell, "cells", e));
    g->cell[g->n++] = c;
    return 0;
done:
    config_free(&c.config);
    return rc;
}

static int grid_product(struct grid *g, const struct config *base, bool shuffle, struct err *e)
{
    int at[GRID_FACTORS] = {0};
    g->points = 1;
    for (int i = 0; i < g->n_factor; i++) {
        g->points *= (size_t)g->factor[i].n;
        if (g->points > GRID_POINTS)
            FAIL(e, ERR_CONFIG, "the experiment has more than %d points; take values away",
                 GRID_POINTS);
    }
    for (size_t p = 0; p < g->points; p++) {
        bool only = false, exclude = false;
        size_t rest = p;
        for (int i = g->n_factor; i-- > 0; rest /= (size_t)g->factor[i].n)
            at[i] = (int)(rest % (size_t)g->factor[i].n);
        TRY(grid_rules(g, "only", &g->options.only, at, &only, e));
        TRY(grid_rules(g, "exclude", &g->options.exclude, at, &exclude, e));
        if (exclude || (g->options.only.n && !only))
            g->left_out++;
        else
            TRY(grid_point(g, base, at, shuffle, e));
    }
    if (!g->n)
        FAIL(e, ERR_CONFIG, "the rules of the experiment leave no point of %zu", g->points);
    return 0;
}

/* ---- order ----------------------------------------------------------------------------------- */

/* The settings on which the opening of an llm depends: all but those of agents. Agents' own rows
 * that describe the provider count too. */
static void grid_model_text(const struct config *c, struct str *out)
{
    const struct option_set *agents[CONFIG_SETS_MAX];
    const int n = agent_option_sets(agents, CONFIG_SETS_MAX);
    for (int s = 0; s < c->n; s++) {
        bool of_agents = false;
        for (int i = 0; i < n; i++)
            of_agents |= agents[i] == c->set[s];
        for (int i = 0; i < c->set[s]->n; i++) {
            const struct option_row *r = &c->set[s]->row[i];
            const bool provider = c->set[s] == &agent_option_set &&
                                  (!strcmp(r->key, "provider") || !strncmp(r->key, "remote.", 7));
            if (option_is_map(r) || (of_agents && !provider))
                continue;
            str_addf(out, "%s=", r->key);
            config_value(c, r->key, out);
            str_addc(out, '\n');
        }
    }
}

static void grid_family_text(const struct config *c, struct str *out)
{
    config_value(c, "strategy", out);
    str_addc(out, '\n');
    config_value(c, "prompts_dir", out);
}

/* number[i]: cells with the same text have the same number, in order of appearance. */
static int grid_number(struct grid *g, void (*text)(const struct config *c, struct str *out),
                       size_t offset, struct err *e)
{
    struct str *of = mem_zalloc(g->n, sizeof *of);
    int rc = of ? 0 : NOMEM(e, g->n * sizeof *of, "cells"), next = 0;
    for (size_t i = 0; of && i < g->n; i++) {
        int *own = (int *)(void *)((char *)&g->cell[i] + offset);
        of[i] = (struct str)STR_INIT;
        text(&g->cell[i].config, &of[i]);
        rc = rc < 0 ? rc : str_ok(&of[i], "a cell", e);
        *own = -1;
        for (size_t k = 0; k < i && *own < 0; k++)
            if (!strcmp(of[k].s, of[i].s))
                *own = *(const int *)(const void *)((const char *)&g->cell[k] + offset);
        if (*own < 0)
            *own = next++;
    }
    for (size_t i = 0; of && i < g->n; i++)
        str_free(&of[i]);
    mem_free(of);
    return rc;
}

static int grid_order(struct grid *g, struct err *e)
{
    TRY(grid_number(g, grid_model_text, offsetof(struct grid_cell, model), e));
    TRY(grid_number(g, grid_family_text, offsetof(struct grid_cell, family), e));
    g->order = mem_zalloc(g->n, sizeof *g->order);
    if (!g->order)
        return NOMEM(e, g->n * sizeof *g->order, "cells");
    for (size_t i = 0; i < g->n; i++) {
        size_t at = i;
        for (; at > 0; at--) { /* insertion: stable */
            const struct grid_cell *a = &g->cell[g->order[at - 1]], *b = &g->cell[i];
            if (a->model < b->model || (a->model == b->model && a->family <= b->family))
                break;
            g->order[at] = g->order[at - 1];
        }
        g->order[at] = i;
    }
    return 0;
}

int grid_open(const struct config *base, bool shuffle, struct grid *out, struct err *e)
{
    struct grid g = {.arena = {.limit = (size_t)16 << 20}};
    int rc;
    TRY_DONE(grid_read(&g, base, e));
    TRY_DONE(grid_product(&g, base, shuffle, e));
    TRY_DONE(grid_order(&g, e));
    *out = g;
    return 0;
done:
    grid_close(&g);
    return rc;
}

void grid_close(struct grid *g)
{
    for (size_t i = 0; i < g->n; i++)
        config_free(&g->cell[i].config);
    mem_free(g->cell);
    mem_free(g->order);
    arena_free(&g->arena);
    memset(g, 0, sizeof *g);
}

int grid_identify(struct grid *g, const struct grid_data *data, struct err *e)
{
    struct str s = STR_INIT;
    int rc = 0;
    for (size_t i = 0; i < g->n; i++) {
        struct grid_cell *c = &g->cell[i];
        str_clear(&s);
        config_json(&c->config, true, &s);
        str_addf(&s, "\n%s\n%s\n%d\n", data->sha256, data->subset, data->shuffle);
        if (*data->variants)
            str_addf(&s, "variants %s\n", data->variants);
        for (int f = 0; f < g->n_factor; f++) { /* settings that change no result count as well */
            const struct option_row *r = config_find(&c->config, g->factor[f].key, NULL);
            if (grid_value(g, c, f) && !(r->marks & OPTION_RESULT))
                str_addf(&s, "%s=%s\n", g->factor[f].key, grid_value(g, c, f));
        }
        TRY_DONE(str_ok(&s, "a cell", e));
        TRY_DONE(sha256_hex(s.s, s.len, c->hash, e));
    }
done:
    str_free(&s);
    return rc;
}
