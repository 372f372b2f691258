#include "stats_runs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "jdoc.h"
#include "mem.h"
#include "stats_boot.h"
#include "trace.h"

/* ---- common questions ------------------------------------------------------------------------ */

struct runs_entry { /* a question of a run */
    const char *id;
    const struct result *r; /* NULL = not finished */
};

static int runs_by_id(const void *a, const void *b)
{
    const struct runs_entry *x = a, *y = b;
    return strcmp(x->id, y->id);
}

/* The questions that the run was asked, by id, each once; list has room for them. */
static size_t runs_list(const struct trace_run *run, struct runs_entry *list)
{
    const struct results *rs = &run->results;
    size_t n = 0, at = 0;
    for (size_t i = 0; i < run->asked; i++) {
        while (at < rs->n && (size_t)rs->r[at].index < i)
            at++;
        const struct result *r = at < rs->n && (size_t)rs->r[at].index == i ? &rs->r[at] : NULL;
        if (run->records.r[i].kind == MEDQA_QUESTION)
            list[n++] = (struct runs_entry){.id = run->records.r[i].id, .r = r};
    }
    if (n)
        qsort(list, n, sizeof *list, runs_by_id);
    return n;
}

/* Walks the runs' lists together; list j begins at list[begin[j]] and ends before list[end[j]]. */
static void runs_join(const struct runs_entry *list, size_t *begin, const size_t *end,
                      struct stats_common *c)
{
    for (;;) {
        const char *least = NULL;
        for (size_t j = 0; j < c->n_run; j++)
            if (begin[j] < end[j] && (!least || strcmp(list[begin[j]].id, least) < 0))
                least = list[begin[j]].id;
        if (!least)
            return;
        bool all = true;
        for (size_t j = 0; j < c->n_run; j++) {
            bool here = begin[j] < end[j] && !strcmp(list[begin[j]].id, least);
            const struct result *r = here ? list[begin[j]].r : NULL;
            begin[j] += here;
            all = all && r;
            if (all) {
                c->right[c->n * c->n_run + j] = r->correct;
                c->answer[c->n * c->n_run + j] = (signed char)r->predicted;
            }
        }
        c->n += all;
        c->left_out += !all;
    }
}

int stats_common(const struct trace_run *const *run, size_t n_run, struct stats_common *out,
                 struct err *e)
{
    struct stats_common c = {.n_run = n_run};
    size_t all = 0, least = SIZE_MAX;
    for (size_t j = 0; j < n_run; j++) {
        all += run[j]->asked;
        least = run[j]->asked < least ? run[j]->asked : least;
    }
    least = n_run ? least : 0;
    struct runs_entry *list = mem_zalloc(all, sizeof *list);
    size_t *at = mem_zalloc(2 * n_run, sizeof *at);
    c.right = mem_zalloc(least * n_run + n_run, 1); /* one row more: the row being tried */
    c.answer = mem_zalloc(least * n_run + n_run, 1);
    int rc = 0;
    if (!list || !at || !c.right || !c.answer) {
        rc = NOMEM(e, all * sizeof *list, "common questions");
        goto done;
    }
    for (size_t j = 0, from = 0; j < n_run; j++) {
        at[j] = from;
        from += runs_list(run[j], list + from);
        at[n_run + j] = from;
    }
    runs_join(list, at, at + n_run, &c);
    *out = c;
    c = (struct stats_common){.n = 0};
done:
    mem_free(list);
    mem_free(at);
    stats_common_free(&c);
    return rc;
}

void stats_common_free(struct stats_common *c)
{
    mem_free(c->right);
    mem_free(c->answer);
    *c = (struct stats_common){.n = 0};
}

/* ---- copies ---------------------------------------------------------------------------------- */

static bool runs_same_number(double x, double y)
{
    return x == y || (isnan(x) && isnan(y));
}

static bool runs_same_result(const struct result *a, const struct result *b)
{
    return !strcmp(a->id, b->id) && a->index == b->index && a->state == b->state &&
           a->predicted == b->predicted && !strcmp(a->answer, b->answer) &&
           runs_same_number(a->seconds, b->seconds) && runs_same_number(a->ended, b->ended) &&
           runs_same_number(a->p, b->p) && a->calls == b->calls &&
           a->prompt_tokens == b->prompt_tokens && a->cached_tokens == b->cached_tokens &&
           a->new_tokens == b->new_tokens && a->think_tokens == b->think_tokens;
}

int stats_same_run(const struct trace_run *a, const struct trace_run *b, bool *same, struct err *e)
{
    json_t *x = NULL, *y = NULL;
    bool equal = a->results.n && a->results.n == b->results.n && a->asked == b->asked;
    int rc = 0;
    for (size_t i = 0; equal && i < a->results.n; i++)
        equal = runs_same_result(&a->results.r[i], &b->results.r[i]);
    if (equal && a->json.len && b->json.len) {
        TRY_DONE(jdoc_load(a->json.s, a->json.len, &x, e));
        TRY_DONE(jdoc_load(b->json.s, b->json.len, &y, e));
        equal = json_equal(json_object_get(x, "identity"), json_object_get(y, "identity"));
    }
    *same = equal;
done:
    json_decref(x);
    json_decref(y);
    return rc;
}

/* ---- settings -------------------------------------------------------------------------------- */

/* The run's identity without its seed, as one text; its seed, -1 = none. */
static int runs_identity(const struct trace_run *run, char **text, int64_t *seed, struct err *e)
{
    json_t *doc = NULL;
    *seed = -1;
    if (!run->json.len)
        return 0;
    TRY(jdoc_load(run->json.s, run->json.len, &doc, e));
    json_t *identity = json_object_get(doc, "identity");
    json_t *config = json_object_get(identity, "config");
    const json_t *value = json_object_get(config, "seed");
    if (json_is_integer(value) && json_integer_value(value) >= 0) {
        *seed = json_integer_value(value);
        json_object_del(config, "seed");
        *text = json_dumps(identity, JSON_SORT_KEYS | JSON_COMPACT);
    }
    json_decref(doc);
    return *seed >= 0 && !*text ? NOMEM(e, run->json.len, "the identity of a run") : 0;
}

/* Does a run of setting s, among the first n, have that seed? */
static bool runs_seed_taken(const struct stats_compared *c, size_t n, size_t s)
{
    for (size_t i = 0; i < n; i++)
        if (c->setting[i] == s && c->seed[i] == c->seed[n])
            return true;
    return false;
}

/* Gives each run its setting. */
static int runs_group(const struct trace_run *const *run, struct stats_compared *c, struct err *e)
{
    char **text = mem_zalloc(c->n_run, sizeof *text);
    int rc = 0;
    if (!text)
        return NOMEM(e, c->n_run * sizeof *text, "identities of runs");
    for (size_t i = 0; i < c->n_run; i++) {
        size_t s = c->n_setting;
        TRY_DONE(runs_identity(run[i], &text[i], &c->seed[i], e));
        for (size_t g = 0; text[i] && g < c->n_setting && s == c->n_setting; g++) {
            const char *other = text[c->settings[g].first];
            if (other && !strcmp(other, text[i]) && !runs_seed_taken(c, i, g))
                s = g;
        }
        if (s == c->n_setting)
            c->settings[c->n_setting++] = (struct stats_setting){.first = i};
        c->setting[i] = s;
        c->settings[s].n_run++;
    }
done:
    for (size_t i = 0; i < c->n_run; i++)
        mem_free(text[i]);
    mem_free(text);
    return rc;
}

/* The runs of setting s, put after the n in list; returns how many the list has then. */
static size_t runs_of(const struct trace_run *const *run, const struct stats_compared *c, size_t s,
                      const struct trace_run **list, size_t n)
{
    for (size_t i = 0; i < c->n_run; i++)
        if (c->setting[i] == s)
            list[n++] = run[i];
    return n;
}

/* This setting against the first, of which the first n_a columns of the table are. */
static int runs_difference(const struct stats_common *t, size_t n_a, int draws, uint64_t seed,
                           struct stats_setting *s, struct err *e)
{
    size_t n_b = t->n_run - n_a;
    int32_t *d = mem_zalloc(t->n, sizeof *d);
    int rc = 0;
    if (!d)
        return NOMEM(e, t->n * sizeof *d, "differences of settings");
    for (size_t i = 0; i < t->n; i++)
        for (size_t j = 0; j < t->n_run; j++) /* a run of one counts as often as the other has */
            if (t->right[i * t->n_run + j])
                d[i] += j < n_a ? -(int32_t)n_b : (int32_t)n_a;
    s->difference_left_out = t->left_out;
    TRY_DONE(stats_bca(d, t->n, (int)(n_a * n_b), draws, seed, &s->difference, e));
    TRY_DONE(stats_sign_flip(d, t->n, &s->p, e));
done:
    mem_free(d);
    return rc;
}

static int runs_setting(const struct trace_run *const *run, const struct trace_run **list,
                        int draws, uint64_t seed, struct stats_compared *c, size_t at,
                        struct err *e)
{
    struct stats_setting *s = &c->settings[at];
    struct stats_common t = {.n = 0};
    TRY(stats_common(list, runs_of(run, c, at, list, 0), &t, e));
    s->m = stats_mixed(t.right, t.n, t.n_run);
    s->left_out = t.left_out;
    s->p = s->p_holm = (double)NAN;
    stats_common_free(&t);
    if (at == 0)
        return 0;
    size_t n_a = runs_of(run, c, 0, list, 0);
    TRY(stats_common(list, runs_of(run, c, at, list, n_a), &t, e));
    int rc = runs_difference(&t, n_a, draws, seed, s, e);
    stats_common_free(&t);
    return rc;
}

/* ---- all ------------------------------------------------------------------------------------- */

/* Holm's adjustment of the p of all runs, and of all settings, but the first. p: room for both. */
static void runs_adjust(struct stats_compared *c, double *p)
{
    double *adjusted = p + c->n_run;
    for (size_t i = 1; i < c->n_run; i++)
        p[i] = c->paired[i].p;
    stats_holm(p + 1, c->n_run - 1, adjusted + 1);
    for (size_t i = 1; i < c->n_run; i++)
        c->paired[i].p_holm = adjusted[i];
    for (size_t i = 1; i < c->n_setting; i++)
        p[i] = c->settings[i].p;
    stats_holm(p + 1, c->n_setting - 1, adjusted + 1);
    for (size_t i = 1; i < c->n_setting; i++)
        c->settings[i].p_holm = adjusted[i];
}

static int runs_all(const struct trace_run *const *run, struct stats_compared *c, struct err *e)
{
    struct stats_common t = {.n = 0};
    TRY(stats_common(run, c->n_run, &t, e));
    c->n = t.n;
    c->left_out = t.left_out;
    c->cochran = stats_cochran(t.right, t.n, t.n_run);
    c->kappa = stats_fleiss(t.answer, t.n, t.n_run);
    stats_common_free(&t);
    return 0;
}

int stats_compare(const struct trace_run *const *run, size_t n_run, int draws, uint64_t seed,
                  struct stats_compared *out, struct err *e)
{
    struct stats_compared c = {.n_run = n_run};
    const struct trace_run **list = mem_zalloc(2 * n_run, sizeof *list);
    double *p = mem_zalloc(2 * n_run, sizeof *p);
    int rc = 0;
    c.paired = mem_zalloc(n_run, sizeof *c.paired);
    c.setting = mem_zalloc(n_run, sizeof *c.setting);
    c.seed = mem_zalloc(n_run, sizeof *c.seed);
    c.settings = mem_zalloc(n_run, sizeof *c.settings);
    if (!list || !p || !c.paired || !c.setting || !c.seed || !c.settings) {
        rc = NOMEM(e, n_run * sizeof *c.settings, "a comparison of runs");
        goto done;
    }
    TRY_DONE(runs_group(run, &c, e));
    TRY_DONE(runs_all(run, &c, e));
    for (size_t i = 1; i < n_run; i++)
        TRY_DONE(stats_pair(run[0], run[i], draws, seed, &c.paired[i], e));
    for (size_t i = 0; i < c.n_setting; i++)
        TRY_DONE(runs_setting(run, list, draws, seed, &c, i, e));
    if (n_run)
        runs_adjust(&c, p);
    *out = c;
    c = (struct stats_compared){.n_run = 0};
done:
    mem_free(list);
    mem_free(p);
    stats_compared_free(&c);
    return rc;
}

void stats_compared_free(struct stats_compared *c)
{
    mem_free(c->paired);
    mem_free(c->setting);
    mem_free(c->seed);
    mem_free(c->settings);
    *c = (struct stats_compared){.n_run = 0};
}
