#include "stats_boot.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "mem.h"
#include "rng.h"
#include "stat.h"
#include "stats_dist.h"
#include "stats_test.h"

static int boot_less(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The share of the resamples at which the interval ends, for the normal quantile z of its level. */
static double boot_share(const struct stats_bca *s, double z)
{
    double shifted = s->bias + z;
    return stats_normal_cdf(s->bias + shifted / (1 - s->acceleration * shifted));
}

/* sum[i]: the sum of resample i, in units of 1/scale. Sorts it. */
static void boot_interval(struct stats_bca *s, double *sum, size_t draws, double estimate,
                          double unit)
{
    size_t twice_below = 0;
    for (size_t i = 0; i < draws; i++)
        twice_below += (size_t)(sum[i] < estimate) + (size_t)(sum[i] <= estimate);
    s->bias = stats_normal_quantile((double)twice_below / (2 * (double)draws));
    double lo = boot_share(s, -STATS_Z), hi = boot_share(s, STATS_Z);
    if (isnan(lo) || isnan(hi))
        return;
    qsort(sum, draws, sizeof *sum, boot_less);
    s->lo = stat_quantile_sorted(sum, draws, lo) / unit;
    s->hi = stat_quantile_sorted(sum, draws, hi) / unit;
}

int stats_bca(const int32_t *d, size_t n, int scale, int draws, uint64_t seed,
              struct stats_bca *out, struct err *e)
{
    struct stats_bca s = {.n = n,
                          .mean = (double)NAN,
                          .lo = (double)NAN,
                          .hi = (double)NAN,
                          .bias = (double)NAN,
                          .acceleration = (double)NAN};
    double total = 0, square = 0, cube = 0;
    for (size_t i = 0; i < n; i++)
        total += d[i];
    for (size_t i = 0; i < n; i++) {
        double off = d[i] - total / (double)n;
        square += off * off;
        cube += off * off * off;
    }
    s.mean = n ? total / (double)n / scale : (double)NAN;
    bool same = true;
    for (size_t i = 1; i < n && same; i++)
        same = d[i] == d[0];
    if (same || draws < 1) {
        *out = s;
        return 0;
    }
    s.acceleration = cube / (6 * square * sqrt(square));
    double *sum = mem_zalloc((size_t)draws, sizeof *sum);
    if (!sum)
        return NOMEM(e, (size_t)draws * sizeof *sum, "a bootstrap");
    for (int i = 0; i < draws; i++) {
        uint64_t key = rng_key(seed, (uint64_t)i, 0);
        int64_t one = 0;
        for (size_t j = 0; j < n; j++)
            one += d[rng_below(key, j, (uint32_t)n)];
        sum[i] = (double)one;
    }
    boot_interval(&s, sum, (size_t)draws, total, (double)n * scale);
    mem_free(sum);
    *out = s;
    return 0;
}
