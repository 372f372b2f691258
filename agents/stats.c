#include "stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "rng.h"

#define STATS_Z 1.959963984540054 /* 97.5 % quantile of the normal distribution */
#define STATS_BINS 10

struct stats_rate stats_wilson(size_t k, size_t n)
{
    struct stats_rate r = {.k = k, .n = n, .rate = (double)NAN, .lo = (double)NAN,
                           .hi = (double)NAN};
    if (!n)
        return r;
    double m = (double)n, p = (double)k / m, z2 = STATS_Z * STATS_Z;
    double mid = (p + z2 / (2 * m)) / (1 + z2 / m);
    double half = STATS_Z / (1 + z2 / m) * sqrt(p * (1 - p) / m + z2 / (4 * m * m));
    r.rate = p;
    r.lo = k == 0 ? 0 : mid - half; /* exactly 0 and 1 at the ends, not nearly */
    r.hi = k == n ? 1 : mid + half;
    return r;
}

static double stats_log_choose(size_t n, size_t k)
{
    int sign;
    return lgamma_r((double)n + 1, &sign) - lgamma_r((double)k + 1, &sign) -
           lgamma_r((double)(n - k) + 1, &sign);
}

double stats_mcnemar(size_t b, size_t c)
{
    size_t n = b + c, least = b < c ? b : c;
    double tail = 0;
    for (size_t i = 0; i <= least; i++)
        tail += exp(stats_log_choose(n, i) - (double)n * log(2.0));
    return 2 * tail < 1 ? 2 * tail : 1;
}

double stats_ece(const double *p, const unsigned char *correct, size_t n, int bins)
{
    double gap = 0;
    for (int b = 0; b < bins; b++) {
        double sum_p = 0, sum_c = 0;
        for (size_t i = 0; i < n; i++) {
            int at = (int)(p[i] * bins);
            if ((at < bins ? at : bins - 1) != b)
                continue;
            sum_p += p[i];
            sum_c += correct[i];
        }
        gap += fabs(sum_c - sum_p);
    }
    return n ? gap / (double)n : (double)NAN;
}

/* ---- two runs ------------------------------------------------------------------------------------ */

static int stats_by_id(const void *a, const void *b)
{
    const struct result *const *x = a, *const *y = b;
    return strcmp((*x)->id, (*y)->id);
}

static const struct result **stats_sorted(const struct results *rs)
{
    const struct result **v = mem_zalloc(rs->n, sizeof *v);
    for (size_t i = 0; v && i < rs->n; i++)
        v[i] = &rs->r[i];
    if (v && rs->n)
        qsort(v, rs->n, sizeof *v, stats_by_id);
    return v;
}

static int stats_less(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Resamples the questions; d[i] is -1, 0 or 1. */
static int stats_bootstrap(const signed char *d, size_t n, int draws, uint64_t seed,
                           struct stats_paired *out, struct err *e)
{
    double *mean = mem_zalloc((size_t)draws, sizeof *mean);
    if (!mean)
        return NOMEM(e, (size_t)draws * sizeof *mean, "a bootstrap");
    for (int i = 0; i < draws; i++) {
        uint64_t key = rng_key(seed, (uint64_t)i, 0);
        int64_t sum = 0;
        for (size_t j = 0; j < n; j++)
            sum += d[rng_below(key, j, (uint32_t)n)];
        mean[i] = (double)sum / (double)n;
    }
    qsort(mean, (size_t)draws, sizeof *mean, stats_less);
    out->lo = stat_quantile_sorted(mean, (size_t)draws, 0.025);
    out->hi = stat_quantile_sorted(mean, (size_t)draws, 0.975);
    mem_free(mean);
    return 0;
}

int stats_pair(const struct results *a, const struct results *b, int draws, uint64_t seed,
               struct stats_paired *out, struct err *e)
{
    const struct result **x = stats_sorted(a), **y = stats_sorted(b);
    signed char *d = mem_zalloc(a->n, 1);
    struct stats_paired s = {.n = 0};
    int rc = 0;
    if (!x || !y || !d) {
        rc = NOMEM(e, (a->n + b->n) * sizeof *x, "paired results");
        goto done;
    }
    for (size_t i = 0, j = 0; i < a->n && j < b->n;) {
        int order = strcmp(x[i]->id, y[j]->id);
        if (order == 0) {
            s.both += x[i]->correct && y[j]->correct;
            s.only_a += x[i]->correct && !y[j]->correct;
            s.only_b += !x[i]->correct && y[j]->correct;
            s.neither += !x[i]->correct && !y[j]->correct;
            d[s.n++] = (signed char)(x[i]->correct - y[j]->correct);
        }
        i += order <= 0;
        j += order >= 0;
    }
    if (!s.n) {
        rc = err_set(e, ERR_DATA, "the two runs have no question in common");
        goto done;
    }
    s.difference = ((double)s.only_a - (double)s.only_b) / (double)s.n;
    s.p = stats_mcnemar(s.only_a, s.only_b);
    TRY_DONE(stats_bootstrap(d, s.n, draws, seed, &s, e));
    *out = s;
done:
    mem_free(x);
    mem_free(y);
    mem_free(d);
    return rc;
}

/* ---- one run ------------------------------------------------------------------------------------- */

/* Counts a question in the group of that name, in alphabetical order; groups beyond cap are left out. */
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

static void stats_finish(struct stats_group *g, int n)
{
    for (int i = 0; i < n; i++)
        g[i].rate = stats_wilson(g[i].rate.k, g[i].rate.n);
}

struct stats_sums {
    double agreement, joules;
    size_t n_agreement, n_joules, n_p;
    double *p, *seconds; /* (n_p), (n) */
    unsigned char *right;
};

static void stats_add(struct stats_summary *s, struct stats_sums *t, const struct result *r,
                      size_t i)
{
    s->answered += r->state == CONSULT_ANSWERED;
    s->unparsed += r->state == CONSULT_UNPARSED;
    s->failed += r->state == CONSULT_FAILED;
    s->no_key += r->key < 0;
    s->accuracy.k += r->correct;
    if (r->step[0])
        stats_count(s->step, &s->n_step, STATS_STEPS, r->step, r->correct);
    for (int j = 0; j < r->n_selected; j++)
        stats_count(s->specialty, &s->n_specialty, CATALOG_MAX, r->selected[j], r->correct);
    if (isfinite(r->agreement)) {
        t->agreement += r->agreement;
        t->n_agreement++;
    }
    if (isfinite(r->joules)) {
        t->joules += r->joules;
        t->n_joules++;
    }
    if (isfinite(r->p) && r->p >= 0 && r->p <= 1) {
        t->p[t->n_p] = r->p;
        t->right[t->n_p++] = r->correct;
    }
    t->seconds[i] = r->seconds;
    s->calls += r->calls;
    s->prompt_tokens += (double)r->prompt_tokens;
    s->cached_tokens += (double)r->cached_tokens;
    s->new_tokens += (double)r->new_tokens;
}

int stats_summarize(const struct results *rs, double price_kwh, struct stats_summary *out,
                    struct err *e)
{
    struct stats_summary s = {.answered = 0};
    struct stats_sums t = {.n_p = 0};
    double n = (double)(rs->n ? rs->n : 1);
    int rc = 0;
    t.p = mem_zalloc(rs->n, sizeof *t.p);
    t.seconds = mem_zalloc(rs->n, sizeof *t.seconds);
    t.right = mem_zalloc(rs->n, 1);
    if (!t.p || !t.seconds || !t.right) {
        rc = NOMEM(e, rs->n * sizeof *t.p, "statistics");
        goto done;
    }
    for (size_t i = 0; i < rs->n; i++)
        stats_add(&s, &t, &rs->r[i], i);
    s.accuracy = stats_wilson(s.accuracy.k, rs->n);
    stats_finish(s.step, s.n_step);
    stats_finish(s.specialty, s.n_specialty);
    s.agreement = t.n_agreement ? t.agreement / (double)t.n_agreement : (double)NAN;
    s.ece = stats_ece(t.p, t.right, t.n_p, STATS_BINS);
    s.n_ece = t.n_p;
    s.calls /= n;
    s.prompt_tokens /= n;
    s.cached_tokens /= n;
    s.new_tokens /= n;
    s.seconds = stat_summarize(t.seconds, rs->n);
    s.joules = t.n_joules ? t.joules / (double)t.n_joules : (double)NAN;
    s.cost = s.joules / 3.6e6 * price_kwh;
    *out = s;
done:
    mem_free(t.p);
    mem_free(t.seconds);
    mem_free(t.right);
    return rc;
}
