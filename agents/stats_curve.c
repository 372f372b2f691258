#include "stats_curve.h"

#include <math.h>
#include <stdlib.h>

#include "mem.h"

static int curve_bin(double p, int bins)
{
    int at = (int)(p * bins);
    return at < bins ? at : bins - 1;
}

double stats_ece(const double *p, const unsigned char *right, size_t n, int bins)
{
    double gap = 0;
    for (int b = 0; b < bins; b++) {
        double sum_p = 0, sum_c = 0;
        for (size_t i = 0; i < n; i++)
            if (curve_bin(p[i], bins) == b) {
                sum_p += p[i];
                sum_c += right[i];
            }
        gap += fabs(sum_c - sum_p);
    }
    return n ? gap / (double)n : (double)NAN;
}

double stats_brier(const double *p, const unsigned char *right, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (p[i] - right[i]) * (p[i] - right[i]);
    return n ? sum / (double)n : (double)NAN;
}

double stats_brier_options(const double *p, int n_options, int key)
{
    double sum = 0;
    for (int i = 0; i < n_options; i++)
        sum += (p[i] - (i == key)) * (p[i] - (i == key));
    return sum;
}

void stats_reliability(const double *p, const unsigned char *right, size_t n, int bins,
                       struct stats_bin *out)
{
    for (int b = 0; b < bins; b++) {
        size_t k = 0, in = 0;
        double sum = 0;
        for (size_t i = 0; i < n; i++)
            if (curve_bin(p[i], bins) == b) {
                sum += p[i];
                k += right[i];
                in++;
            }
        out[b] = (struct stats_bin){.from = (double)b / bins,
                                    .to = (double)(b + 1) / bins,
                                    .mean_p = in ? sum / (double)in : (double)NAN,
                                    .rate = stats_wilson(k, in)};
    }
}

static int curve_surer(const void *a, const void *b)
{
    const struct stats_step *x = a, *y = b;
    return (x->threshold < y->threshold) - (x->threshold > y->threshold);
}

int stats_steps(const double *p, const unsigned char *right, size_t n, struct stats_step *step,
                size_t *n_step, struct err *e)
{
    struct stats_step *one = mem_zalloc(n, sizeof *one);
    size_t out = 0, k = 0;
    if (!one)
        return NOMEM(e, n * sizeof *one, "a risk-coverage curve");
    for (size_t i = 0; i < n; i++)
        one[i] = (struct stats_step){.threshold = p[i], .right = right[i]};
    if (n)
        qsort(one, n, sizeof *one, curve_surer);
    for (size_t i = 0; i < n; i++) {
        k += one[i].right;
        if (i + 1 == n || one[i + 1].threshold < one[i].threshold)
            step[out++] =
                (struct stats_step){.threshold = one[i].threshold, .kept = i + 1, .right = k};
    }
    *n_step = out;
    mem_free(one);
    return 0;
}

double stats_aurc(const struct stats_step *step, size_t n_step)
{
    double sum = 0;
    size_t before = 0;
    for (size_t i = 0; i < n_step; i++) {
        double risk = (double)(step[i].kept - step[i].right) / (double)step[i].kept;
        sum += (double)(step[i].kept - before) * risk;
        before = step[i].kept;
    }
    return n_step ? sum / (double)before : (double)NAN;
}

const struct stats_step *stats_at_coverage(const struct stats_step *step, size_t n_step,
                                           double coverage)
{
    size_t at = 0;
    if (!n_step)
        return NULL;
    double wanted = coverage * (double)step[n_step - 1].kept;
    while (at + 1 < n_step && (double)step[at].kept < wanted)
        at++;
    return &step[at];
}
