/* v16's exp and log against the C library in double, over all magnitudes of float. This test
 * measures the scalar form; t_ops shows that the vector forms have the same bits. */
#include <math.h>

#include "test.h"
#include "v16_math.h"

/* |got - want| in units of the last place of want */
static double ulps(float got, double want)
{
    int exponent;
    frexp(want, &exponent);
    return fabs((double)got - want) / ldexp(1, (exponent < -125 ? -125 : exponent) - 24);
}

struct sweep {
    double worst, at;
};

/* f over every step-th float bit pattern in [lo, hi] (same sign) */
static struct sweep sweep(struct v16 (*f)(struct v16), double (*want)(double), float lo, float hi,
                          uint32_t step)
{
    struct sweep s = {0, 0};
    uint32_t a = f32_bits(lo), b = f32_bits(hi);
    for (uint32_t u = a < b ? a : b, end = a < b ? b : a; u < end - step * V16; u += step * V16) {
        float x[V16], y[V16];
        for (uint32_t i = 0; i < V16; i++)
            x[i] = f32_from_bits(u + i * step);
        v16_store(y, f(v16_load(x)));
        for (int i = 0; i < V16; i++) {
            double e = ulps(y[i], want((double)x[i]));
            if (!(e <= s.worst))
                s = (struct sweep){e, (double)x[i]};
        }
    }
    return s;
}

static void exp_is_within_an_ulp(void **state)
{
    (void)state;
    struct sweep neg = sweep(v16_exp, exp, -87.336f, -1e-30f, 971);
    struct sweep pos = sweep(v16_exp, exp, 1e-30f, 88.7228f, 971);
    print_message("exp: %.3f ulp at %g, %.3f ulp at %g\n", neg.worst, neg.at, pos.worst, pos.at);
    assert_true(neg.worst <= 1 && pos.worst <= 1);
    const float x[V16] = {0, -0.0f, -87.34f, -1000, -INFINITY, 88.73f, INFINITY, NAN};
    const float want[7] = {1, 1, 0, 0, 0, INFINITY, INFINITY};
    float y[V16];
    v16_store(y, v16_exp(v16_load(x)));
    for (int i = 0; i < 7; i++)
        assert_true(y[i] == want[i]);
    assert_true(isnan(y[7]));
}

static void log_is_within_an_ulp(void **state)
{
    (void)state;
    struct sweep s = sweep(v16_log, log, 1.17549435e-38f, 3.4e38f, 971);
    struct sweep near = sweep(v16_log, log, 0.9f, 1.1f, 7);
    print_message("log: %.3f ulp at %g, near 1 %.3f ulp at %g\n", s.worst, s.at, near.worst,
                  near.at);
    assert_true(s.worst <= 1 && near.worst <= 1);
}

static void silu_keeps_its_ends(void **state)
{
    (void)state;
    const float x[V16] = {0, 200, -200, INFINITY, NAN, 1};
    float y[V16];
    v16_store(y, v16_silu(v16_load(x)));
    assert_true(y[0] == 0 && y[1] == 200 && y[2] == 0 && y[3] == INFINITY && isnan(y[4]));
    assert_true(fabs((double)y[5] - 1 / (1 + exp(-1))) < 1e-7);
}

static void gelu_keeps_its_ends(void **state)
{
    (void)state;
    const float x[V16] = {0, 200, -200, INFINITY, NAN, 1, -1, 3, -3, 1e-3f, 1e30f, -1e30f, -0.5f};
    float y[V16];
    v16_store(y, v16_gelu(v16_load(x)));
    assert_true(y[0] == 0 && y[1] == 200 && y[2] == 0 && y[3] == INFINITY && isnan(y[4]));
    assert_true(y[10] == 1e30f && y[11] == 0);
    for (int i = 0; i < 13; i++) {
        const double v = (double)x[i], u = sqrt(2 / acos(-1)) * (v + 0.044715 * v * v * v);
        if (fabs(v) <= 3)
            assert_true(fabs((double)y[i] - v / 2 * (1 + tanh(u))) <= 3e-7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exp_is_within_an_ulp),
        cmocka_unit_test(log_is_within_an_ulp),
        cmocka_unit_test(silu_keeps_its_ends),
        cmocka_unit_test(gelu_keeps_its_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
