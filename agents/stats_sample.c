#include "stats_sample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "stats_dist.h"
#include "stats_test.h"

struct stats_mean stats_mean_of(const double *x, size_t n)
{
    const double none = (double)NAN;
    struct stats_mean s = {.mean = none, .sd = none, .lo = none, .hi = none, .p = none};
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        s.n += isfinite(x[i]) != 0;
        sum += isfinite(x[i]) ? x[i] : 0;
    }
    if (!s.n)
        return s;
    const double k = (double)s.n;
    s.mean = sum / k;
    if (s.n < 2)
        return s;
    for (size_t i = 0; i < n; i++)
        squares += isfinite(x[i]) ? (x[i] - s.mean) * (x[i] - s.mean) : 0;
    s.sd = sqrt(squares / (k - 1));
    const double half = stats_t_quantile(0.975, k - 1) * s.sd / sqrt(k);
    s.lo = s.mean - half;
    s.hi = s.mean + half;
    if (s.sd > 0)
        s.p = stats_t_tails(fabs(s.mean) / (s.sd / sqrt(k)), k - 1);
    return s;
}

/* ---- two samples ----------------------------------------------------------------------------- */

static int sample_order(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts the finite values of x to its beginning. Returns their number. */
static size_t sample_sort(double *x, size_t n)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        if (isfinite(x[i])) {
            const double v = x[i];
            x[i] = x[k];
            x[k++] = v;
        }
    if (k)
        qsort(x, k, sizeof *x, sample_order);
    return k;
}

/* The variance over the values x (n) of their place among y (m): the share of y below x, ties half.
 * Both are sorted. *mean: of the places. */
static double sample_places(const double *x, size_t n, const double *y, size_t m, double *mean)
{
    double sum = 0, squares = 0;
    for (int pass = 0; pass < 2; pass++) {
        size_t below = 0, upto = 0;
        for (size_t i = 0; i < n; i++) {
            while (below < m && y[below] < x[i])
                below++;
            while (upto < m && y[upto] <= x[i])
                upto++;
            const double place = ((double)below + (double)(upto - below) / 2) / (double)m;
            if (pass)
                squares += (place - *mean) * (place - *mean);
            else
                sum += place;
        }
        if (!pass)
            *mean = sum / (double)n;
    }
    return n > 1 ? squares / (double)(n - 1) : (double)NAN;
}

struct stats_auc stats_auc_of(double *a, size_t n_a, double *b, size_t n_b)
{
    const double none = (double)NAN;
    struct stats_auc s = {.auc = none, .lo = none, .hi = none};
    double other;
    s.n_a = sample_sort(a, n_a);
    s.n_b = sample_sort(b, n_b);
    if (s.n_a && s.n_b) {
        const double v = sample_places(a, s.n_a, b, s.n_b, &s.auc);
        const double w = sample_places(b, s.n_b, a, s.n_a, &other);
        const double half = STATS_Z * sqrt(v / (double)s.n_a + w / (double)s.n_b);
        if (half > 0) {
            s.lo = fmax(0, s.auc - half);
            s.hi = fmin(1, s.auc + half);
        }
    }
    return s;
}

/* ---- events ---------------------------------------------------------------------------------- */

int stats_at_least(const double *p, size_t n, size_t k, double *out, struct err *e)
{
    double *at = mem_zalloc(n + 1, sizeof *at), sum = 0; /* at[i] = P(i events so far) */
    if (!at)
        return NOMEM(e, (n + 1) * sizeof *at, "probabilities");
    at[0] = 1;
    for (size_t i = 0; i < n; i++)
        for (size_t j = i + 2; j-- > 0;)
            at[j] = at[j] * (1 - p[i]) + (j ? at[j - 1] * p[i] : 0);
    for (size_t i = n + 1; i-- > k;) /* small ones first */
        sum += at[i];
    *out = k ? fmin(1, sum) : 1;
    mem_free(at);
    return 0;
}
