/* Krippendorff's alpha against the package krippendorff (tools/training/golden/alpha.py). */
#include <math.h>

#include "stats_alpha.h"
#include "test.h"

static void near_to(const char *name, const char *figure, double have, const char *want)
{
    const double w = strtod(want, NULL);
    if (isnan(w) ? !isnan(have) : !(fabs(have - w) <= 1e-12))
        fail_msg("%s: %s is %.17g, want %s", name, figure, have, want);
}

static void alpha_is_that_of_the_package(void **state)
{
    (void)state;
    size_t n, lines = 0;
    char *text = test_read(TEST_GOLDEN "/alpha.tsv", &n), *save = NULL;
    for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save), lines++) {
        char *field[6] = {l}, *at = NULL;
        struct stats_alpha a = {.units = 0};
        for (int i = 1; i < 6; i++) {
            field[i] = strchr(field[i - 1], '\t');
            assert_non_null(field[i]);
            *field[i]++ = 0;
        }
        for (char *c = strtok_r(field[5], ",", &at); c; c = strtok_r(NULL, ",", &at))
            stats_alpha_add(&a, c);
        stats_alpha_end(&a);
        near_to(field[0], "alpha", a.alpha, field[1]);
        near_to(field[0], "observed", a.observed, field[2]);
        near_to(field[0], "expected", a.expected, field[3]);
        assert_int_equal(a.units, atoi(field[4]));
    }
    assert_int_equal(lines, 18);
    free(text);
}

/* The example of the paper by Hayes and Krippendorff has its published value. */
static void the_published_example_has_its_value(void **state)
{
    (void)state;
    static const char *const cases[] = {"AAA-", "BBCB", "CCCC", "CCCC", "BBBB", "ABCD",
                                        "DDDD", "AABA", "BBBB", "-EEE", "--AA", "--C-"};
    struct stats_alpha a = {.units = 0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        stats_alpha_add(&a, cases[i]);
    stats_alpha_end(&a);
    assert_true(fabs(a.alpha - 0.743) < 0.0005);
    assert_int_equal(a.units, 11);
    assert_int_equal(a.values, 40);
    assert_int_equal(a.least, 2);
    assert_int_equal(a.most, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alpha_is_that_of_the_package),
        cmocka_unit_test(the_published_example_has_its_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
