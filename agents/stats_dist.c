#include "stats_dist.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>

#define DIST_STEPS 100000 /* of a series or a fraction: sqrt(df) times a few suffice */
#define DIST_TINY 1e-300  /* in place of a zero denominator (Lentz, modified) */
#define DIST_LN_PI 1.1447298858494001741
#define DIST_SQRT_2PI 2.5066282746310005024

double stats_normal_cdf(double x)
{
    return 0.5 * erfc(-x / sqrt(2.0));
}

/* The lower tail, 0 < p < 0.5. */
static double dist_normal_lower(double p)
{
    double t = sqrt(-2 * log(p));
    double x = (2.515517 + t * (0.802853 + t * 0.010328)) /
                   (1 + t * (1.432788 + t * (0.189269 + t * 0.001308))) -
               t; /* error below 4.5e-4 */
    for (int i = 0; i < 4; i++) {
        /* near the middle, the distance from 1/2 keeps the digits that the tail itself has not */
        double over = p < 0.25 ? stats_normal_cdf(x) - p : 0.5 * erf(x / sqrt(2.0)) - (p - 0.5);
        double u = over * DIST_SQRT_2PI * exp(x * x / 2);
        x -= u / (1 + x * u / 2);
    }
    return x;
}

double stats_normal_quantile(double p)
{
    if (!(p >= 0 && p <= 1))
        return (double)NAN;
    if (p == 0 || p == 1)
        return p == 0 ? -HUGE_VAL : HUGE_VAL;
    if (p == 0.5)
        return 0;
    return p < 0.5 ? dist_normal_lower(p) : -dist_normal_lower(1 - p);
}

/* x^a e^-x / Gamma(a), which stands before both expansions of Q. For a large a its logarithm is a
 * difference of large numbers; Stirling's series (DLMF 5.11.1) takes them out. */
static double dist_gamma_front(double a, double x)
{
    int sign;
    if (a < 50)
        return exp(a * log(x) - x - lgamma_r(a, &sign));
    double off = (x - a) / a, r = 1 / a, r2 = r * r;
    double series = r * (1.0 / 12 - r2 * (1.0 / 360 - r2 * (1.0 / 1260 - r2 / 1680)));
    return sqrt(a) / DIST_SQRT_2PI * exp(a * (log1p(off) - off) - series);
}

/* Q(a, x) for x > 0. */
static double dist_gamma_q(double a, double x)
{
    double front = dist_gamma_front(a, x);
    if (x < a + 1) {
        double term = 1 / a, sum = term;
        for (int i = 1; i < DIST_STEPS && term > sum * DBL_EPSILON / 4; i++) {
            term *= x / (a + i);
            sum += term;
        }
        return 1 - front * sum;
    }
    double b = x + 1 - a, c = 1 / DIST_TINY, d = 1 / b, h = d;
    for (int i = 1; i < DIST_STEPS; i++) {
        double an = -i * (i - a);
        b += 2;
        d = an * d + b;
        c = b + an / c;
        d = 1 / (fabs(d) < DIST_TINY ? DIST_TINY : d);
        c = fabs(c) < DIST_TINY ? DIST_TINY : c;
        h *= d * c;
        if (fabs(d * c - 1) < DBL_EPSILON)
            break;
    }
    return front * h;
}

double stats_chi2_sf(double x, double df)
{
    if (!(df > 0) || isnan(x))
        return (double)NAN;
    if (isinf(x))
        return x > 0 ? 0 : 1;
    return x <= 0 ? 1 : dist_gamma_q(df / 2, x / 2);
}

/* log B(a, 1/2). For a large a the difference of two log-gammas would lose digits; its asymptotic
 * expansion (from DLMF 5.11.8) does not. */
static double dist_log_beta_half(double a)
{
    int sign;
    if (a < 50)
        return lgamma_r(a, &sign) + DIST_LN_PI / 2 - lgamma_r(a + 0.5, &sign);
    double r = 1 / a, r2 = r * r;
    double ratio =
        0.5 * log(a) - r * (1.0 / 8 - r2 * (1.0 / 192 - r2 * (1.0 / 640 - r2 * 17.0 / 14336)));
    return DIST_LN_PI / 2 - ratio;
}

/* The continued fraction of I_x(a, b), which converges fast for x < (a + 1) / (a + b + 2). */
static double dist_beta_fraction(double a, double b, double x)
{
    double c = 1, d = 1 - (a + b) * x / (a + 1);
    d = 1 / (fabs(d) < DIST_TINY ? DIST_TINY : d);
    double h = d;
    for (int m = 1; m < DIST_STEPS; m++) {
        double term[2] = {m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
                          -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))};
        double change = 1;
        for (int i = 0; i < 2; i++) {
            d = 1 + term[i] * d;
            c = 1 + term[i] / c;
            d = 1 / (fabs(d) < DIST_TINY ? DIST_TINY : d);
            c = fabs(c) < DIST_TINY ? DIST_TINY : c;
            change = d * c;
            h *= change;
        }
        if (fabs(change - 1) < DBL_EPSILON)
            break;
    }
    return h;
}

double stats_t_tails(double x, double df)
{
    if (!(df > 0) || isnan(x))
        return (double)NAN;
    if (x == 0 || isinf(x))
        return x == 0 ? 1 : 0;
    double a = df / 2, ratio = x * x / df;
    double near = 1 / (1 + ratio), far = ratio / (1 + ratio); /* they sum to 1 */
    double front = exp(-a * log1p(ratio) + 0.5 * log(far) - dist_log_beta_half(a));
    if (near < (a + 1) / (a + 2.5))
        return front * dist_beta_fraction(a, 0.5, near) / a;
    return 1 - front * dist_beta_fraction(0.5, a, far) / 0.5;
}

double stats_t_quantile(double p, double df)
{
    if (!(p > 0 && p < 1) || !(df > 0))
        return (double)NAN;
    if (p == 0.5)
        return 0;
    double tails = 2 * (p < 0.5 ? p : 1 - p), lo = 0, hi = 1;
    while (stats_t_tails(hi, df) > tails && hi < 1e150)
        hi *= 2;
    for (int i = 0; i < 200; i++) {
        double mid = lo + (hi - lo) / 2;
        bool over = stats_t_tails(mid, df) > tails;
        lo = over ? mid : lo;
        hi = over ? hi : mid;
        if (hi - lo <= DBL_EPSILON * hi)
            break;
    }
    double x = lo + (hi - lo) / 2;
    return p < 0.5 ? -x : x;
}
