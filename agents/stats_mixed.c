#include "stats_mixed.h"

#include <math.h>
#include <stdbool.h>

#include "stats_dist.h"
#include "stats_test.h"

struct mixed_squares { /* mean squares and their degrees of freedom */
    double question, seed, rest, df_question, df_seed, df_rest;
};

/* Sums of squares, each times n * n_seed: integers, so equal rows give exactly 0. */
static struct mixed_squares mixed_table(const unsigned char *right, struct stats_mixed *m)
{
    double q = (double)m->n, s = (double)m->n_seed, rows = 0, columns = 0, total = 0;
    for (size_t i = 0; i < m->n; i++) {
        double row = 0;
        for (size_t j = 0; j < m->n_seed; j++)
            row += right[i * m->n_seed + j];
        rows += row * row;
        total += row;
    }
    for (size_t j = 0; j < m->n_seed; j++) {
        double column = 0;
        for (size_t i = 0; i < m->n; i++)
            column += right[i * m->n_seed + j];
        columns += column * column;
    }
    double unit = q * s, of_questions = q * rows - total * total;
    double of_seeds = s * columns - total * total;
    double all = unit * total - total * total;
    struct mixed_squares t = {.df_question = q - 1, .df_seed = s - 1, .df_rest = (q - 1) * (s - 1)};
    t.question = of_questions / unit / t.df_question;
    t.seed = of_seeds / unit / t.df_seed;
    t.rest = (all - of_questions - of_seeds) / unit / t.df_rest;
    m->right = (size_t)total;
    m->mean = total / unit;
    m->sd = sqrt(t.seed / q);
    return t;
}

static double mixed_ratio(double square, double df)
{
    return square * square / df;
}

struct stats_mixed stats_mixed(const unsigned char *right, size_t n, size_t n_seed)
{
    const double none = (double)NAN;
    struct stats_mixed m = {.n = n,
                            .n_seed = n_seed,
                            .mean = none,
                            .sd = none,
                            .question = none,
                            .seed = none,
                            .rest = none,
                            .se = none,
                            .df = none,
                            .lo = none,
                            .hi = none};
    if (!n || !n_seed)
        return m;
    struct mixed_squares t = mixed_table(right, &m);
    if (n_seed < 2)
        m.sd = none;
    if (n < 2 || n_seed < 2)
        return m;
    bool by_question = t.question > t.rest, by_seed = t.seed > t.rest;
    m.question = by_question ? (t.question - t.rest) / (double)n_seed : 0;
    m.seed = by_seed ? (t.seed - t.rest) / (double)n : 0;
    m.rest = t.rest;
    /* Mean squares that make up the variance of the mean, with their sign. A component that counts
     * as 0 takes its mean square and one of the rest out of the sum. */
    double with_rest = 1 - (double)by_question - (double)by_seed;
    double sum = (by_question ? t.question : 0) + (by_seed ? t.seed : 0) + with_rest * t.rest;
    double spread = (by_question ? mixed_ratio(t.question, t.df_question) : 0) +
                    (by_seed ? mixed_ratio(t.seed, t.df_seed) : 0) +
                    mixed_ratio(with_rest * t.rest, t.df_rest);
    m.se = sqrt(sum / ((double)n * (double)n_seed));
    if (sum > 0) {
        m.df = sum * sum / spread;
        stats_wilson_real(m.mean, m.mean * (1 - m.mean) / (m.se * m.se),
                          stats_t_quantile(0.975, m.df), &m.lo, &m.hi);
    } else {
        m.df = HUGE_VAL;
        stats_wilson_real(m.mean, (double)n, STATS_Z, &m.lo, &m.hi);
    }
    return m;
}
