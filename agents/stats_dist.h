/*
 * stats_dist: the distribution functions that tests and intervals need. Their relative error is
 * below 1e-12, that of Student's t below 1e-10. Impossible arguments give NaN.
 */
#ifndef MAS_STATS_DIST_H
#define MAS_STATS_DIST_H

/* P(Z <= x) of the standard normal distribution, by the complementary error function. */
double stats_normal_cdf(double x);
/* The x with stats_normal_cdf(x) = p, p in [0, 1]; infinite at the ends. Start: Abramowitz & Stegun
 * 26.2.23; then Halley steps. */
double stats_normal_quantile(double p);
/* P(X >= x) of the chi-square distribution, df > 0: the regularized upper incomplete gamma function
 * Q(df/2, x/2). By the series of DLMF 8.7.1 or the continued fraction of DLMF 8.9.2. */
double stats_chi2_sf(double x, double df);
/* P(|T| >= x) of Student's t distribution, df > 0: the regularized incomplete beta function of
 * df/(df + x^2) with parameters df/2 and 1/2. By the continued fraction of DLMF 8.17.22. */
double stats_t_tails(double x, double df);
/* The x with P(T <= x) = p, p in (0, 1). By bisection. */
double stats_t_quantile(double p, double df);

#endif
