/* Means, areas and tails against scipy (tools/training/golden/sample.py). */
#include <math.h>

#include "stats_sample.h"
#include "test.h"

#define MOST 256

static int row_number;

static void near_to(const char *figure, double have, const char *want)
{
    const double w = strtod(want, NULL);
    if (isnan(w) ? !isnan(have) : !(fabs(have - w) <= 1e-9 * fmax(fabs(w), 1e-3)))
        fail_msg("row %d: %s is %.17g, want %s", row_number, figure, have, want);
}

static size_t numbers(char *text, double *out)
{
    char *save = NULL;
    size_t n = 0;
    for (char *s = strtok_r(text, ",", &save); s; s = strtok_r(NULL, ",", &save)) {
        assert_true(n < MOST);
        out[n++] = strtod(s, NULL);
    }
    return n;
}

static void check_mean(char *const *field)
{
    double x[MOST];
    const struct stats_mean m = stats_mean_of(x, numbers(field[7], x));
    assert_int_equal(m.n, atoi(field[1]));
    near_to("mean", m.mean, field[2]);
    near_to("sd", m.sd, field[3]);
    near_to("low", m.lo, field[4]);
    near_to("high", m.hi, field[5]);
    near_to("p", m.p, field[6]);
}

static void check_auc(char *const *field)
{
    double a[MOST], b[MOST];
    const size_t n = numbers(field[4], a), m = numbers(field[5], b);
    const struct stats_auc s = stats_auc_of(a, n, b, m);
    near_to("area", s.auc, field[1]);
    near_to("low", s.lo, field[2]);
    near_to("high", s.hi, field[3]);
}

static void check_least(char *const *field)
{
    double p[MOST], out;
    struct err e;
    const size_t n = numbers(field[3], p);
    ok(stats_at_least(p, n, (size_t)atoi(field[1]), &out, &e));
    near_to("P", out, field[2]);
}

static void figures_are_those_of_scipy(void **state)
{
    (void)state;
    size_t n;
    char *text = test_read(TEST_GOLDEN "/sample.tsv", &n);
    for (char *line = text, *end; *line; line = end + 1) {
        char *field[8] = {line};
        end = strchr(line, '\n');
        assert_non_null(end);
        *end = 0;
        for (int i = 1; i < 8 && field[i - 1]; i++) {
            field[i] = strchr(field[i - 1], '\t');
            if (field[i])
                *field[i]++ = 0;
        }
        row_number++;
        if (!strcmp(line, "mean"))
            check_mean(field);
        else if (!strcmp(line, "auc"))
            check_auc(field);
        else if (!strcmp(line, "least"))
            check_least(field);
        else
            fail_msg("row %d: no such kind '%s'", row_number, line);
    }
    assert_int_equal(row_number, 25);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(figures_are_those_of_scipy)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
