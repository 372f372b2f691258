#include "stats_test.h"

#include <math.h>
#include <stdbool.h>

#include "mem.h"
#include "stats_dist.h"

void stats_wilson_real(double rate, double n, double z, double *lo, double *hi)
{
    double z2 = z * z, scale = 1 + z2 / n;
    double mid = (rate + z2 / (2 * n)) / scale;
    double half = z / scale * sqrt(rate * (1 - rate) / n + z2 / (4 * n * n));
    bool known = n > 0;
    *lo = !known ? (double)NAN : rate <= 0 ? 0 : mid - half; /* exactly 0 and 1 at the ends */
    *hi = !known ? (double)NAN : rate >= 1 ? 1 : mid + half;
}

struct stats_rate stats_wilson(size_t k, size_t n)
{
    struct stats_rate r = {
        .k = k, .n = n, .rate = (double)NAN, .lo = (double)NAN, .hi = (double)NAN};
    if (!n)
        return r;
    r.rate = (double)k / (double)n;
    stats_wilson_real(r.rate, (double)n, STATS_Z, &r.lo, &r.hi);
    return r;
}

static double test_log_choose(size_t n, size_t k)
{
    int sign;
    return lgamma_r((double)n + 1, &sign) - lgamma_r((double)k + 1, &sign) -
           lgamma_r((double)(n - k) + 1, &sign);
}

/* P(B = k) of the binomial distribution; exact at p = 0 and p = 1. */
static double test_binomial(size_t k, size_t n, double p)
{
    double up = k ? (double)k * log(p) : 0, down = k < n ? (double)(n - k) * log1p(-p) : 0;
    return exp(test_log_choose(n, k) + up + down);
}

double stats_mcnemar(size_t b, size_t c)
{
    size_t n = b + c, least = b < c ? b : c;
    double tail = 0;
    for (size_t i = 0; i <= least; i++)
        tail += exp(test_log_choose(n, i) - (double)n * log(2.0));
    return 2 * tail < 1 ? 2 * tail : 1;
}

static uint64_t test_size(int32_t d)
{
    return (uint64_t)(d < 0 ? -(int64_t)d : d);
}

/* The greatest common divisor of all d; 1 if all are 0. */
static uint64_t test_divisor(const int32_t *d, size_t n)
{
    uint64_t a = 0;
    for (size_t i = 0; i < n && a != 1; i++)
        for (uint64_t b = test_size(d[i]); b;) {
            uint64_t rest = a % b;
            a = b;
            b = rest;
        }
    return a ? a : 1;
}

int stats_sign_flip(const int32_t *d, size_t n, double *p, struct err *e)
{
    uint64_t width = 0, done = 0, unit = test_divisor(d, n);
    int64_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        width += test_size(d[i]) / unit;
        sum += d[i];
    }
    /* chance[t]: P that the differences with a plus sum to t units; then all sum to 2 t - width.
     * Sums up to `last` are the lower tail; the upper one is as large. */
    uint64_t last = (width - (uint64_t)(sum < 0 ? -sum : sum) / unit) / 2;
    double *chance = mem_zalloc(last + 1, sizeof *chance), tail = 0;
    if (!chance)
        return NOMEM(e, (last + 1) * sizeof *chance, "a randomisation test");
    chance[0] = 1;
    for (size_t i = 0; i < n; i++) {
        uint64_t a = test_size(d[i]) / unit;
        if (!a)
            continue;
        done += a;
        for (uint64_t t = (done < last ? done : last) + 1; t-- > 0;)
            chance[t] = 0.5 * chance[t] + (t >= a ? 0.5 * chance[t - a] : 0);
    }
    for (uint64_t t = 0; t <= last; t++)
        tail += chance[t];
    mem_free(chance);
    *p = !n ? (double)NAN : 2 * tail < 1 ? 2 * tail : 1;
    return 0;
}

void stats_holm(const double *p, size_t n, double *adjusted)
{
    size_t left = 0;
    double most = 0;
    for (size_t i = 0; i < n; i++) {
        adjusted[i] = isnan(p[i]) ? p[i] : -1; /* -1: not adjusted yet */
        left += isnan(p[i]) ? 0 : 1;
    }
    for (; left; left--) {
        size_t least = n;
        for (size_t i = 0; i < n; i++)
            if (adjusted[i] < 0 && (least == n || p[i] < p[least]))
                least = i;
        double one = (double)left * p[least];
        most = one > most ? one : most;
        adjusted[least] = most < 1 ? most : 1;
    }
}

struct stats_cochran stats_cochran(const unsigned char *right, size_t n, size_t n_run)
{
    struct stats_cochran c = {.n = n, .n_run = n_run, .q = (double)NAN, .p = (double)NAN};
    double total = 0, runs = 0, within = 0, k = (double)n_run;
    for (size_t j = 0; j < n_run; j++) {
        double of_run = 0;
        for (size_t i = 0; i < n; i++)
            of_run += right[i * n_run + j];
        total += of_run;
        runs += of_run * of_run;
    }
    for (size_t i = 0; i < n; i++) {
        size_t of_question = 0;
        for (size_t j = 0; j < n_run; j++)
            of_question += right[i * n_run + j];
        within += (double)of_question * (k - (double)of_question);
        c.n_differ += of_question > 0 && of_question < n_run;
    }
    if (!c.n_differ)
        return c;
    c.q = (k - 1) * (k * runs - total * total) / within;
    c.p = stats_chi2_sf(c.q, k - 1);
    return c;
}

struct stats_kappa stats_fleiss(const signed char *answer, size_t n, size_t n_rater)
{
    struct stats_kappa s = {.n = n,
                            .n_rater = n_rater,
                            .observed = (double)NAN,
                            .expected = (double)NAN,
                            .kappa = (double)NAN};
    double share[128] = {0}, m = (double)n_rater, pairs = 0;
    if (!n || n_rater < 2)
        return s;
    for (size_t i = 0; i < n; i++) {
        size_t count[128] = {0};
        for (size_t j = 0; j < n_rater; j++)
            count[(answer[i * n_rater + j] + 1) & 127]++;
        for (int c = 0; c < 128; c++) {
            share[c] += (double)count[c];
            pairs += (double)count[c] * ((double)count[c] - 1);
        }
    }
    double all = (double)n * m, same = 0;
    for (int c = 0; c < 128; c++)
        same += share[c] * share[c];
    s.observed = pairs / (all * (m - 1));
    s.expected = same / (all * all);
    if (same < all * all)
        s.kappa = (s.observed - s.expected) / (1 - s.expected);
    return s;
}

/* ---- power ----------------------------------------------------------------------------------- */

/* P that the exact test rejects, given m discordant questions, each for the second run with
 * probability `second`. */
static double test_rejects(size_t m, double second, double alpha)
{
    double null_tail = 0, p = 0;
    for (size_t i = 0; 2 * i < m; i++) { /* the split i : m - i, and its mirror */
        null_tail += exp(test_log_choose(m, i) - (double)m * log(2.0));
        if (2 * null_tail > alpha)
            break;
        p += test_binomial(i, m, second) + test_binomial(m - i, m, second);
    }
    return p;
}

static bool test_shares(double discordant, double difference)
{
    return discordant >= 0 && discordant <= 1 && fabs(difference) <= discordant;
}

double stats_power(size_t n, double discordant, double difference, double alpha)
{
    if (!test_shares(discordant, difference))
        return (double)NAN;
    double second = discordant > 0 ? (discordant + difference) / (2 * discordant) : 0.5, power = 0;
    for (size_t m = 0; m <= n; m++) {
        double at = test_binomial(m, n, discordant);
        if (at > 1e-18) /* n of the others sum to less than 1e-12 for n up to a million */
            power += at * test_rejects(m, second, alpha);
    }
    return power;
}

double stats_questions(double discordant, double difference, double alpha, double power)
{
    if (!test_shares(discordant, difference) || difference == 0)
        return (double)NAN;
    double d2 = difference * difference;
    double root = -stats_normal_quantile(alpha / 2) * sqrt(discordant) +
                  stats_normal_quantile(power) * sqrt(discordant - d2);
    return root * root / d2;
}

double stats_detectable(size_t n, double discordant, double alpha, double power)
{
    double lo = 0, hi = discordant;
    if (!(hi > 0) || !(stats_questions(discordant, hi, alpha, power) <= (double)n))
        return (double)NAN;
    for (int i = 0; i < 200; i++) { /* a larger difference needs fewer questions */
        double mid = lo + (hi - lo) / 2;
        bool found = stats_questions(discordant, mid, alpha, power) <= (double)n;
        lo = found ? lo : mid;
        hi = found ? mid : hi;
    }
    return hi;
}
