#include "stats_variants.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "stats_dist.h"
#include "trace.h"

struct variants_one {
    const char *origin;
    const struct result *r; /* NULL = not run yet */
};

static int variants_by_origin(const void *a, const void *b)
{
    return strcmp(((const struct variants_one *)a)->origin,
                  ((const struct variants_one *)b)->origin);
}

void stats_clusters(const int *k, const int *size, size_t n, double *mean, double *lo, double *hi)
{
    double right = 0, all = 0, squares = 0;
    *mean = *lo = *hi = (double)NAN;
    for (size_t i = 0; i < n; i++) {
        right += k[i];
        all += size[i];
    }
    if (!(all > 0))
        return;
    const double p = right / all;
    *mean = p;
    if (n < 2)
        return;
    for (size_t i = 0; i < n; i++)
        squares += (k[i] - p * size[i]) * (k[i] - p * size[i]);
    const double variance = squares * (double)n / ((double)(n - 1) * all * all);
    if (variance > 0)
        stats_wilson_real(p, p * (1 - p) / variance, stats_t_quantile(0.975, (double)(n - 1)), lo,
                          hi);
    else
        stats_wilson_real(p, (double)n, STATS_Z, lo, hi);
}

/* The n variants of a question. */
static void variants_group(const struct variants_one *v, size_t n, struct stats_variants *s)
{
    bool same = true, right = true;
    size_t done = 0;
    int first = 0;
    for (size_t i = 0; i < n; i++)
        done += v[i].r != NULL;
    s->alone += n == 1;
    s->unfinished += n > 1 && done && done < n;
    if (n == 1 || done < n)
        return;
    for (size_t i = 0; i < n; i++) {
        const struct result *r = v[i].r;
        const int m = r->n_options;
        const bool known = r->predicted >= 0 && r->key >= 0 && m > 0;
        const int distance = known ? (r->predicted - r->key + m) % m : -1;
        first = i ? first : distance;
        same = same && known && distance == first;
        right = right && r->correct;
    }
    s->same.n++;
    s->same.k += same;
    s->right.k += right;
}

/* v: (n) sorted by origin. */
static void variants_count(const struct variants_one *v, size_t n, int *k, int *size,
                           struct stats_variants *s)
{
    for (size_t i = 0, m; i < n; i += m) {
        for (m = 0; i + m < n && !strcmp(v[i].origin, v[i + m].origin); m++) {
            size[s->questions]++;
            k[s->questions] += v[i + m].r && v[i + m].r->correct;
        }
        variants_group(v + i, m, s);
        s->questions++;
    }
    s->variants = n;
    stats_clusters(k, size, s->questions, &s->mean, &s->lo, &s->hi);
    s->right = stats_wilson(s->right.k, s->same.n);
    s->same = stats_wilson(s->same.k, s->same.n);
}

int stats_variants(const struct trace_run *run, struct stats_variants *out, struct err *e)
{
    struct stats_variants s = {.variants = 0};
    const struct result **of = mem_zalloc(run->asked, sizeof *of);
    struct variants_one *v = mem_zalloc(run->asked, sizeof *v);
    int *k = mem_zalloc(run->asked, sizeof *k), *size = mem_zalloc(run->asked, sizeof *size);
    size_t n = 0;
    const int rc = of && v && k && size ? 0 : NOMEM(e, run->asked * sizeof *v, "variants");
    for (size_t i = 0; rc == 0 && i < run->results.n; i++)
        if ((size_t)run->results.r[i].index < run->asked)
            of[run->results.r[i].index] = &run->results.r[i];
    for (size_t i = 0; rc == 0 && i < run->asked; i++)
        if (run->records.r[i].kind == MEDQA_QUESTION && run->records.r[i].origin)
            v[n++] = (struct variants_one){run->records.r[i].origin, of[i]};
    if (n)
        qsort(v, n, sizeof *v, variants_by_origin);
    if (rc == 0) {
        variants_count(v, n, k, size, &s);
        *out = s;
    }
    mem_free(of);
    mem_free(v);
    mem_free(k);
    mem_free(size);
    return rc;
}
