/* Every function of stats_dist, stats_test, stats_boot, stats_mixed and stats_curve against values
 * of scipy, statsmodels and plain definitions: tests/golden/stats.tsv. */
#include <math.h>
#include <stdlib.h>

#include "stats_boot.h"
#include "stats_curve.h"
#include "stats_dist.h"
#include "stats_mixed.h"
#include "stats_test.h"
#include "test.h"

#define VALUES 20000  /* of a case */
#define EXACT 1e-12   /* of distributions, relative */
#define STUDENT 1e-10 /* of Student's t, likewise */
#define CLOSE 1e-9    /* of statistics, absolute and relative */

struct row { /* one case: numbers read one after another */
    const char *name;
    double *v;
    size_t n, at;
    int line;
};

static double next(struct row *r)
{
    if (r->at == r->n)
        fail_msg("line %d: %s has only %zu numbers", r->line, r->name, r->n);
    return r->v[r->at++];
}

static size_t next_size(struct row *r)
{
    return (size_t)next(r);
}

/* The next number of the case is got, within tol relative; with floor, below 1 absolute. NaN is
 * only NaN. */
static void same(struct row *r, double got, double tol, bool floor)
{
    double want = next(r), scale = fabs(want);
    if (isnan(want) ? isnan(got) : got == want)
        return;
    if (floor && scale < 1)
        scale = 1;
    if (!(fabs(got - want) <= tol * scale))
        fail_msg("line %d: %s, number %zu: %.17g, want %.17g", r->line, r->name, r->at, got, want);
}

/* n of the case's numbers as elements of size 1 or 4; the caller frees them. */
static void *elements(struct row *r, size_t n, size_t size)
{
    signed char *out = calloc(n + 1, size);
    assert_non_null(out);
    for (size_t i = 0; i < n; i++)
        if (size == 1)
            out[i] = (signed char)next(r);
        else
            ((int32_t *)(void *)out)[i] = (int32_t)next(r);
    return out;
}

static void normal_cdf(struct row *r)
{
    double x = next(r);
    same(r, stats_normal_cdf(x), EXACT, false);
}

static void normal_quantile(struct row *r)
{
    double p = next(r);
    same(r, stats_normal_quantile(p), EXACT, false);
}

static void chi2_sf(struct row *r)
{
    double x = next(r), df = next(r);
    same(r, stats_chi2_sf(x, df), EXACT, false);
}

static void t_tails(struct row *r)
{
    double x = next(r), df = next(r);
    same(r, stats_t_tails(x, df), STUDENT, false);
}

static void t_quantile(struct row *r)
{
    double p = next(r), df = next(r);
    same(r, stats_t_quantile(p, df), STUDENT, false);
}

static void wilson(struct row *r)
{
    size_t k = next_size(r), n = next_size(r);
    struct stats_rate s = stats_wilson(k, n);
    same(r, s.lo, CLOSE, true);
    same(r, s.hi, CLOSE, true);
}

static void mcnemar(struct row *r)
{
    size_t b = next_size(r), c = next_size(r);
    same(r, stats_mcnemar(b, c), CLOSE, false);
}

static void sign_flip(struct row *r)
{
    struct err e;
    double p = -1;
    size_t n = next_size(r);
    int32_t *d = elements(r, n, sizeof *d);
    ok(stats_sign_flip(d, n, &p, &e));
    same(r, p, CLOSE, false);
    size_t only_a = 0, only_b = 0, larger = 0;
    for (size_t i = 0; i < n; i++) {
        only_a += d[i] == -1;
        only_b += d[i] == 1;
        larger += d[i] < -1 || d[i] > 1;
    }
    if (!larger) /* then it is McNemar's test */
        assert_true(fabs(p - stats_mcnemar(only_a, only_b)) < CLOSE);
    free(d);
}

static void holm(struct row *r)
{
    size_t n = next_size(r);
    double *adjusted = calloc(n, sizeof *adjusted);
    assert_non_null(adjusted);
    stats_holm(r->v + r->at, n, adjusted);
    r->at += n;
    for (size_t i = 0; i < n; i++)
        same(r, adjusted[i], CLOSE, true);
    free(adjusted);
}

static void cochran(struct row *r)
{
    size_t n = next_size(r), k = next_size(r);
    unsigned char *right = elements(r, n * k, 1);
    struct stats_cochran c = stats_cochran(right, n, k);
    assert_true(c.n == n && c.n_run == k);
    same(r, (double)c.n_differ, 0, false);
    same(r, c.q, CLOSE, true);
    same(r, c.p, CLOSE, false);
    free(right);
}

static void fleiss(struct row *r)
{
    size_t n = next_size(r), m = next_size(r);
    signed char *answer = elements(r, n * m, 1);
    same(r, stats_fleiss(answer, n, m).kappa, CLOSE, true);
    free(answer);
}

static void bca(struct row *r)
{
    struct err e;
    struct stats_bca s;
    size_t n = next_size(r);
    int scale = (int)next(r), draws = (int)next(r);
    uint64_t seed = (uint64_t)next(r);
    int32_t *d = elements(r, n, sizeof *d);
    ok(stats_bca(d, n, scale, draws, seed, &s, &e));
    same(r, s.mean, CLOSE, true);
    same(r, s.lo, CLOSE, true);
    same(r, s.hi, CLOSE, true);
    free(d);
}

static void mixed(struct row *r)
{
    size_t n = next_size(r), k = next_size(r);
    unsigned char *right = elements(r, n * k, 1);
    struct stats_mixed m = stats_mixed(right, n, k);
    const double got[] = {m.mean, m.sd, m.question, m.seed, m.rest, m.se, m.df, m.lo, m.hi};
    for (size_t i = 0; i < sizeof got / sizeof got[0]; i++)
        same(r, got[i], CLOSE, true);
    free(right);
}

static void calibration(struct row *r)
{
    struct err e;
    struct stats_bin bin[STATS_BINS];
    size_t n = next_size(r), n_step = 0;
    const double *p = r->v + r->at;
    r->at += n;
    unsigned char *right = elements(r, n, 1);
    struct stats_step *step = calloc(n, sizeof *step);
    static const double cover[] = {0.25, 0.5, 0.8, 0.9, 1};
    assert_non_null(step);
    same(r, stats_ece(p, right, n, STATS_BINS), CLOSE, true);
    same(r, stats_brier(p, right, n), CLOSE, true);
    ok(stats_steps(p, right, n, step, &n_step, &e));
    same(r, stats_aurc(step, n_step), CLOSE, true);
    for (size_t i = 0; i < sizeof cover / sizeof cover[0]; i++) {
        const struct stats_step *s = stats_at_coverage(step, n_step, cover[i]);
        assert_non_null(s);
        same(r, (double)s->kept, 0, false);
        same(r, (double)s->right, 0, false);
    }
    stats_reliability(p, right, n, STATS_BINS, bin);
    for (int b = 0; b < STATS_BINS; b++) {
        same(r, (double)bin[b].rate.n, 0, false);
        same(r, (double)bin[b].rate.k, 0, false);
        same(r, bin[b].mean_p, CLOSE, true);
    }
    free(step);
    free(right);
}

static void brier_options(struct row *r)
{
    int n = (int)next(r), key = (int)next(r);
    const double *p = r->v + r->at;
    r->at += (size_t)n;
    same(r, stats_brier_options(p, n, key), CLOSE, true);
}

static void power(struct row *r)
{
    size_t n = next_size(r);
    double discordant = next(r), difference = next(r), alpha = next(r);
    same(r, stats_power(n, discordant, difference, alpha), CLOSE, true);
}

static void questions(struct row *r)
{
    double discordant = next(r), difference = next(r), alpha = next(r), wanted = next(r);
    same(r, stats_questions(discordant, difference, alpha, wanted), CLOSE, true);
}

static void detectable(struct row *r)
{
    size_t n = next_size(r);
    double discordant = next(r), alpha = next(r), wanted = next(r);
    same(r, stats_detectable(n, discordant, alpha, wanted), CLOSE, true);
}

static const struct {
    const char *name;
    void (*check)(struct row *r);
    int least; /* cases in the file */
} kinds[] = {
    {"normal_cdf", normal_cdf, 12},
    {"normal_quantile", normal_quantile, 15},
    {"chi2_sf", chi2_sf, 81},
    {"t_tails", t_tails, 84},
    {"t_quantile", t_quantile, 60},
    {"wilson", wilson, 10},
    {"mcnemar", mcnemar, 11},
    {"sign_flip", sign_flip, 13},
    {"holm", holm, 8},
    {"cochran", cochran, 11},
    {"fleiss", fleiss, 9},
    {"bca", bca, 9},
    {"mixed", mixed, 18},
    {"calibration", calibration, 6},
    {"brier_options", brier_options, 7},
    {"power", power, 10},
    {"questions", questions, 7},
    {"detectable", detectable, 6},
};
#define KINDS (sizeof kinds / sizeof kinds[0])

static void one_case(char *line, int number, double *v, int *seen)
{
    struct row r = {.name = strtok(line, " "), .v = v, .line = number};
    for (char *word; (word = strtok(NULL, " ")) != NULL; r.n++) {
        char *end;
        assert_true(r.n < VALUES);
        v[r.n] = strtod(word, &end);
        if (end == word || *end)
            fail_msg("line %d: '%s' is no number", number, word);
    }
    for (size_t k = 0; k < KINDS; k++) {
        if (strcmp(r.name, kinds[k].name) != 0)
            continue;
        kinds[k].check(&r);
        if (r.at != r.n)
            fail_msg("line %d: %s used %zu of %zu numbers", number, r.name, r.at, r.n);
        seen[k]++;
        return;
    }
    fail_msg("line %d: no function '%s'", number, r.name);
}

static void statistics_agree_with_other_programs(void **state)
{
    (void)state;
    FILE *f = fopen(TEST_GOLDEN "/stats.tsv", "r");
    double *v = calloc(VALUES, sizeof *v);
    int seen[KINDS] = {0}, number = 0;
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    assert_non_null(f);
    assert_non_null(v);
    while ((len = getline(&line, &cap, f)) > 0) {
        line[len - 1] = 0;
        one_case(line, ++number, v, seen);
    }
    for (size_t k = 0; k < KINDS; k++)
        if (seen[k] < kinds[k].least)
            fail_msg("%d cases of %s, want %d", seen[k], kinds[k].name, kinds[k].least);
    free(line);
    free(v);
    fclose(f);
}

/* Arguments outside a function's range give NaN, not a number that looks right. */
static void impossible_arguments_give_no_number(void **state)
{
    (void)state;
    assert_true(isnan(stats_normal_quantile(-0.1)) && isnan(stats_normal_quantile(1.1)));
    assert_true(isnan(stats_normal_quantile((double)NAN)) && isnan(stats_normal_cdf((double)NAN)));
    assert_true(isnan(stats_chi2_sf(1, 0)) && isnan(stats_chi2_sf((double)NAN, 1)));
    assert_true(isnan(stats_t_tails(1, -1)) && isnan(stats_t_tails((double)NAN, 2)));
    assert_true(isnan(stats_t_quantile(0, 2)) && isnan(stats_t_quantile(0.5, 0)));
    assert_true(isnan(stats_ece(NULL, NULL, 0, 10)) && isnan(stats_brier(NULL, NULL, 0)));
    assert_true(isnan(stats_aurc(NULL, 0)) && !stats_at_coverage(NULL, 0, 0.5));
    assert_true(isnan(stats_cochran(NULL, 0, 3).q) && isnan(stats_fleiss(NULL, 0, 3).kappa));
}

/* 95 % of power at the questions that the approximation asks for: the exact test has nearly
 * that. */
static void the_two_ways_to_plan_a_study_agree(void **state)
{
    (void)state;
    for (int i = 1; i <= 4; i++) {
        double share = 0.1 * i, d = 0.05;
        size_t n = (size_t)ceil(stats_questions(share, d, 0.05, 0.95));
        double exact = stats_power(n, share, d, 0.05);
        assert_true(exact > 0.93 && exact < 0.96);
        assert_true(fabs(stats_detectable(n, share, 0.05, 0.95) - d) < 0.001);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statistics_agree_with_other_programs),
        cmocka_unit_test(impossible_arguments_give_no_number),
        cmocka_unit_test(the_two_ways_to_plan_a_study_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
