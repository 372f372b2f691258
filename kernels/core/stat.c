#include "stat.h"

#include <math.h>
#include <stdlib.h>

static int stat_order(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double stat_quantile_sorted(const double *x, size_t n, double q)
{
    if (n == 0)
        return NAN;
    double at = q * (double)(n - 1);
    size_t lo = (size_t)at;
    double frac = at - (double)lo;
    return lo + 1 < n ? x[lo] + frac * (x[lo + 1] - x[lo]) : x[n - 1];
}

struct stat_summary stat_summarize(double *x, size_t n)
{
    struct stat_summary s = {n, NAN, NAN, NAN, NAN, NAN, NAN, NAN};
    if (n == 0)
        return s;
    qsort(x, n, sizeof *x, stat_order);
    double sum = 0, sq = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    s.mean = sum / (double)n;
    for (size_t i = 0; i < n; i++)
        sq += (x[i] - s.mean) * (x[i] - s.mean);
    s.stddev = n > 1 ? sqrt(sq / (double)(n - 1)) : 0;
    s.median = stat_quantile_sorted(x, n, 0.5);
    s.p5 = stat_quantile_sorted(x, n, 0.05);
    s.p95 = stat_quantile_sorted(x, n, 0.95);
    s.min = x[0];
    s.max = x[n - 1];
    return s;
}
