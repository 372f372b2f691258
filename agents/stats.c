#include "stats.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "stats_boot.h"
#include "trace.h"

/* ---- two runs -------------------------------------------------------------------------------- */

static int stats_by_id(const void *a, const void *b)
{
    const struct result *const *x = a, *const *y = b;
    return strcmp((*x)->id, (*y)->id);
}

/* The results of the records asked for, by id; *n of them. NULL without memory. */
static const struct result **stats_sorted(const struct trace_run *run, size_t *n)
{
    const struct result **v = mem_zalloc(run->results.n, sizeof *v);
    size_t k = 0;
    for (size_t i = 0; v && i < run->results.n; i++)
        if ((size_t)run->results.r[i].index < run->asked)
            v[k++] = &run->results.r[i];
    if (k)
        qsort(v, k, sizeof *v, stats_by_id);
    *n = k;
    return v;
}

static int stats_by_text(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

/* Number of different questions that the two runs were asked. ERR_NOMEM. */
static int stats_union(const struct trace_run *a, const struct trace_run *b, size_t *n,
                       struct err *e)
{
    const char **id = mem_zalloc(a->asked + b->asked, sizeof *id);
    size_t k = 0;
    if (!id)
        return NOMEM(e, (a->asked + b->asked) * sizeof *id, "ids of questions");
    for (size_t i = 0; i < a->asked + b->asked; i++) {
        const struct records_row *row =
            i < a->asked ? &a->records.r[i] : &b->records.r[i - a->asked];
        if (row->kind == MEDQA_QUESTION)
            id[k++] = row->id;
    }
    if (k)
        qsort(id, k, sizeof *id, stats_by_text);
    *n = k > 0;
    for (size_t i = 1; i < k; i++)
        *n += strcmp(id[i - 1], id[i]) != 0;
    mem_free(id);
    return 0;
}

int stats_pair(const struct trace_run *a, const struct trace_run *b, int draws, uint64_t seed,
               struct stats_paired *out, struct err *e)
{
    size_t n_x = 0, n_y = 0;
    const struct result **x = stats_sorted(a, &n_x), **y = stats_sorted(b, &n_y);
    int32_t *d = mem_zalloc(a->results.n, sizeof *d);
    const double none = (double)NAN;
    struct stats_paired s = {.difference = none, .lo = none, .hi = none, .p = none, .p_holm = none};
    struct stats_bca interval;
    int rc = 0;
    if (!x || !y || !d) {
        rc = NOMEM(e, (a->results.n + b->results.n) * sizeof *x, "paired results");
        goto done;
    }
    for (size_t i = 0, j = 0; i < n_x && j < n_y;) {
        int order = strcmp(x[i]->id, y[j]->id);
        if (order == 0) {
            s.both += x[i]->correct && y[j]->correct;
            s.only_a += x[i]->correct && !y[j]->correct;
            s.only_b += !x[i]->correct && y[j]->correct;
            s.neither += !x[i]->correct && !y[j]->correct;
            d[s.n++] = (int32_t)y[j]->correct - (int32_t)x[i]->correct;
        }
        i += order <= 0;
        j += order >= 0;
    }
    TRY_DONE(stats_union(a, b, &s.left_out, e));
    s.left_out -= s.n;
    if (s.n) {
        s.difference = ((double)s.only_b - (double)s.only_a) / (double)s.n;
        s.p = s.p_holm = stats_mcnemar(s.only_a, s.only_b);
        TRY_DONE(stats_bca(d, s.n, 1, draws, seed, &interval, e));
        s.lo = interval.lo;
        s.hi = interval.hi;
    }
    *out = s;
done:
    mem_free(x);
    mem_free(y);
    mem_free(d);
    return rc;
}

bool stats_disagree(double lo, double hi, double p)
{
    if (!isfinite(lo) || !isfinite(hi) || !isfinite(p))
        return false;
    return (lo > 0 || hi < 0) != (p < 0.05);
}

/* ---- one run --------------------------------------------------------------------------------- */

/* Counts a question in the group of that name, in alphabetical order; groups beyond cap are left
 * out. */
static void stats_count(struct stats_group *g, int *n, int cap, const char *name, bool correct)
{
    int i = 0;
    while (i < *n && strcmp(g[i].name, name) < 0)
        i++;
    if (i == *n || strcmp(g[i].name, name) != 0) {
        if (*n == cap)
            return;
        memmove(g + i + 1, g + i, (size_t)(*n - i) * sizeof *g);
        g[i] = (struct stats_group){.name = name};
        (*n)++;
    }
    g[i].rate.n++;
    g[i].rate.k += correct;
}

/* k of n are right, and the outcome of `unknown` more of the n is not known yet. */
static struct stats_rate stats_open_rate(size_t k, size_t unknown, size_t n)
{
    struct stats_rate r = stats_wilson(k, n);
    r.hi = stats_wilson(k + unknown, n).hi;
    return r;
}

static void stats_finish(struct stats_group *g, size_t n)
{
    for (size_t i = 0; i < n; i++)
        g[i].rate = stats_open_rate(g[i].rate.k, g[i].unknown, g[i].rate.n);
}

static int stats_by_name(const void *a, const void *b)
{
    const struct stats_group *x = a, *y = b;
    return strcmp(x->name, y->name);
}

/* Groups of one record each become one group a name. */
static size_t stats_merge(struct stats_group *g, size_t n)
{
    size_t out = 0;
    if (n)
        qsort(g, n, sizeof *g, stats_by_name);
    for (size_t i = 0; i < n; i++) {
        const struct stats_group one = g[i]; /* out <= i: its place may be taken */
        if (!out || strcmp(g[out - 1].name, one.name) != 0)
            g[out++] = (struct stats_group){.name = one.name};
        g[out - 1].rate.n++;
        g[out - 1].rate.k += one.rate.k;
        g[out - 1].unknown += one.unknown;
    }
    stats_finish(g, out);
    return out;
}

struct stats_sums {
    double agreement, agreement_class, joules, options;
    double computed, new_tokens; /* of the questions that have joules */
    size_t n, n_agreement, n_joules, n_p, n_seconds;
    double *p, *seconds; /* (n_p), (n_seconds) */
    unsigned char *right;
};

/* NaN makes the mean NaN, too: it is not known if one case is not. */
static double stats_known(int64_t tokens)
{
    return tokens < 0 ? (double)NAN : (double)tokens;
}

/* A finished question. */
static void stats_add(struct stats_summary *s, struct stats_sums *t, const struct result *r)
{
    s->answered += r->state == CONSULT_ANSWERED;
    s->unparsed += r->state == CONSULT_UNPARSED;
    s->failed += r->state == CONSULT_FAILED;
    s->planned += r->state == CONSULT_PLANNED || r->state == CONSULT_REPORTED;
    s->calls_cut += (size_t)r->cut;
    s->cases_cut += r->cut > 0;
    s->calls_closed += (size_t)r->closed;
    s->cases_closed += r->closed > 0;
    s->thoughts_cut += (size_t)r->thoughts_cut;
    s->cases_thought_cut += r->thoughts_cut > 0;
    for (int j = 0; j < r->n_selected; j++)
        stats_count(s->specialty, &s->n_specialty, CATALOG_MAX, r->selected[j], r->correct);
    if (isfinite(r->agreement)) {
        t->agreement += r->agreement;
        t->n_agreement++;
    }
    if (isfinite(r->agreement_class)) {
        t->agreement_class += r->agreement_class;
        s->n_agreement_class++;
    }
    if (r->choices)
        stats_alpha_add(strpbrk(r->choices, "YN") ? &s->votes : &s->choices, r->choices);
    if (isfinite(r->joules)) {
        t->joules += r->joules;
        t->computed += (double)result_computed(r);
        t->new_tokens += (double)(r->think_tokens + r->new_tokens);
        t->n_joules++;
        s->energy = r->energy;
    } else {
        s->energy_gap = r->energy;
    }
    if (r->has_p && r->key >= 0) {
        t->options += stats_brier_options(r->p_option, r->n_options, r->key);
        s->n_options++;
    }
    if (isfinite(r->p) && r->p >= 0 && r->p <= 1) {
        t->p[t->n_p] = r->p;
        t->right[t->n_p++] = r->correct;
    }
    t->n++;
    if (isfinite(r->seconds))
        t->seconds[t->n_seconds++] = r->seconds;
    s->imported = s->imported || r->imported;
    s->calls += r->imported ? (double)NAN : r->calls;
    s->prompt_tokens += stats_known(r->prompt_tokens);
    s->cached_tokens += stats_known(r->cached_tokens);
    s->new_tokens += stats_known(r->new_tokens);
    s->think_tokens += r->imported ? (double)NAN : (double)r->think_tokens;
}

/* A record of the file; r: the result of its question, NULL = none yet. */
static void stats_record(struct stats_summary *s, struct stats_sums *t,
                         const struct records_row *row, const struct result *r)
{
    bool correct = r && r->correct, known = r || row->kind == MEDQA_REJECTED;
    struct stats_group *g = &s->step[s->n_step++];
    *g = (struct stats_group){.name = row->kind == MEDQA_REJECTED ? STATS_REJECTED
                                      : row->step[0]              ? row->step
                                                                  : STATS_NO_STEP,
                              .unknown = !known,
                              .rate = {.k = correct}};
    s->accuracy.k += correct;
    s->so_far.n += known;
    s->rejected += row->kind == MEDQA_REJECTED;
    s->duplicates += row->kind == MEDQA_DUPLICATE;
    if (row->kind != MEDQA_QUESTION)
        return;
    s->no_key += row->key < 0;
    s->not_run += !r;
    if (r)
        stats_add(s, t, r);
}

static void stats_rates(struct stats_summary *s, const struct stats_sums *t, size_t asked,
                        double price_kwh)
{
    double n = (double)(t->n ? t->n : 1);
    size_t k = s->accuracy.k, unknown = asked - s->so_far.n;
    s->accuracy = stats_open_rate(k, unknown, asked);
    s->so_far = stats_wilson(k, s->so_far.n);
    s->finished = t->n;
    s->n_step = stats_merge(s->step, s->n_step);
    stats_finish(s->specialty, (size_t)s->n_specialty);
    s->n_agreement = t->n_agreement;
    s->agreement = t->n_agreement ? t->agreement / (double)t->n_agreement : (double)NAN;
    s->agreement_class =
        s->n_agreement_class ? t->agreement_class / (double)s->n_agreement_class : (double)NAN;
    stats_alpha_end(&s->choices);
    stats_alpha_end(&s->votes);
    s->calls /= n;
    s->prompt_tokens /= n;
    s->cached_tokens /= n;
    s->new_tokens /= n;
    s->think_tokens /= n;
    s->seconds = stat_summarize(t->seconds, t->n_seconds);
    s->n_joules = t->n_joules;
    s->joules = t->n_joules ? t->joules / (double)t->n_joules : (double)NAN;
    s->joules_per_token = t->computed > 0 ? t->joules / t->computed : (double)NAN;
    s->joules_per_new_token = t->new_tokens > 0 ? t->joules / t->new_tokens : (double)NAN;
    s->cost = s->joules / 3.6e6 * price_kwh;
}

static int stats_confidence(struct stats_summary *s, const struct stats_sums *t, struct err *e)
{
    s->n_ece = t->n_p;
    s->ece = stats_ece(t->p, t->right, t->n_p, STATS_BINS);
    s->brier_options = s->n_options ? t->options / (double)s->n_options : (double)NAN;
    s->brier = stats_brier(t->p, t->right, t->n_p);
    stats_reliability(t->p, t->right, t->n_p, STATS_BINS, s->bin);
    s->sure = mem_zalloc(t->n_p, sizeof *s->sure);
    if (!s->sure)
        return NOMEM(e, t->n_p * sizeof *s->sure, "a risk-coverage curve");
    TRY(stats_steps(t->p, t->right, t->n_p, s->sure, &s->n_sure, e));
    s->aurc = stats_aurc(s->sure, s->n_sure);
    return 0;
}

/* The result of each record's question, NULL = none; (asked). */
static const struct result **stats_by_record(const struct trace_run *run)
{
    const struct result **v = mem_zalloc(run->asked, sizeof *v);
    for (size_t i = 0; v && i < run->results.n; i++)
        if ((size_t)run->results.r[i].index < run->asked)
            v[run->results.r[i].index] = &run->results.r[i];
    return v;
}

/* Questions that were asked again, among the records asked for. */
static int stats_retried(const struct trace_run *run, struct retried *out, struct err *e)
{
    json_t *ids = json_object();
    int rc = ids ? 0 : NOMEM(e, run->asked, "questions that were asked again");
    for (size_t i = 0; i < run->asked && rc == 0; i++)
        if (json_object_set_new(ids, run->records.r[i].id, json_true()) != 0)
            rc = NOMEM(e, run->asked, "questions that were asked again");
    if (rc == 0)
        rc = retried_choose(&run->retried, ids, out, e);
    json_decref(ids);
    return rc;
}

int stats_summarize(const struct trace_run *run, double price_kwh, struct stats_summary *out,
                    struct err *e)
{
    struct stats_summary s = {.energy = "", .energy_gap = ""};
    struct stats_sums t = {.n_p = 0};
    const struct result **of = stats_by_record(run);
    int rc = 0;
    t.p = mem_zalloc(run->asked, sizeof *t.p);
    t.seconds = mem_zalloc(run->asked, sizeof *t.seconds);
    t.right = mem_zalloc(run->asked, 1);
    s.step = mem_zalloc(run->asked, sizeof *s.step);
    if (!of || !t.p || !t.seconds || !t.right || !s.step) {
        rc = NOMEM(e, run->asked * sizeof *s.step, "statistics");
        goto done;
    }
    for (size_t i = 0; i < run->asked; i++) {
        const struct records_row *row = &run->records.r[i];
        stats_record(&s, &t, row, row->kind == MEDQA_REJECTED ? NULL : of[row->of]);
    }
    stats_rates(&s, &t, run->asked, price_kwh);
    TRY_DONE(stats_confidence(&s, &t, e));
    TRY_DONE(stats_variants(run, &s.variants, e));
    s.token_usd = (s.prompt_tokens * run->price_prompt +
                   (s.new_tokens + s.think_tokens) * run->price_completion) *
                  1e-6;
    s.role = run->roles.r;
    s.n_role = run->roles.n;
    if (retried_attempts(&run->retried))
        TRY_DONE(stats_retried(run, &s.retried, e));
    *out = s;
    s.retried = (struct retried){.ids = NULL};
    s.step = NULL;
    s.sure = NULL;
done:
    stats_free(&s);
    mem_free(of);
    mem_free(t.p);
    mem_free(t.seconds);
    mem_free(t.right);
    return rc;
}

void stats_free(struct stats_summary *s)
{
    mem_free(s->step);
    mem_free(s->sure);
    retried_free(&s->retried);
    s->step = NULL;
    s->sure = NULL;
    s->n_step = s->n_sure = 0;
}

void stats_partial(const struct stats_summary *s, char out[64])
{
    out[0] = 0;
    if (s->not_run)
        snprintf(out, 64, "partial, %zu of %zu", s->so_far.n, s->accuracy.n);
}
