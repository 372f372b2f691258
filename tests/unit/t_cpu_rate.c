/* The speed of the CPU in predictions: every format has one, and a mixture has a mean. */
#include <math.h>
#include <stdio.h>

#include "cpu_rate.h"
#include "option.h"
#include "shape.h"
#include "test.h"

static const char *const isas[] = {"avx2", "avxvnni", "avx512vnni"};

static void every_format_has_a_rate_on_every_instruction_set(void **state)
{
    (void)state;
    for (int f = 0; f < FMT_COUNT; f++)
        for (int i = 0; i < 3; i++) {
            const double rate = cpu_rate_of((enum fmt)f, isas[i]);
            if (!(rate > 1e9 && rate < 1e12))
                fail_msg("%s on %s: %g weights/s", fmt_info((enum fmt)f)->name, isas[i], rate);
            assert_true(i == 0 || rate > 0.9 * cpu_rate_of((enum fmt)f, isas[i - 1]));
        }
    assert_true(cpu_rate_ops("avx512vnni") > cpu_rate_ops("avx2"));
    assert_true(!(cpu_rate_of(FMT_Q4_K, "neon") > 0) && !(cpu_rate_ops("neon") > 0));
    assert_true(fabs(cpu_rate_of(FMT_Q4_K, "auto") / cpu_rate_of(FMT_Q4_K, "avx2") - 1) < 1e-12);
}

/* Each choice of mas fit --isa has rates; a processor without any is told apart. */
static void each_choice_has_rates(void **state)
{
    char name[32];
    size_t n;
    int i = 0;
    (void)state;
    for (const char *s; s = option_choice(CPU_RATE_ISAS, i, &n), n; i++) {
        snprintf(name, sizeof name, "%.*s", (int)n, s);
        assert_true(cpu_rate_ops(name) > 0);
        if (i)
            assert_string_equal(cpu_rate_isa(name), name);
    }
    assert_int_equal(i, 4);
    assert_string_equal(cpu_rate_isa("amx"), "avx512vnni");
    assert_null(cpu_rate_isa("neon"));
    assert_null(cpu_rate_isa("scalar"));
}

/* bytes/s of a model whose matrices all have one format */
static double plain(enum mixture mix, const char *isa, int cores)
{
    struct err e;
    struct shape shape;
    struct sketch of;
    assert_true(shape_find("llama3-8b", &shape));
    ok(sketch_shape(&shape, mix, &of, &e));
    const double rate = cpu_rate_row(&of.m.w, isa, cores);
    sketch_close(&of);
    return rate;
}

static void a_model_in_one_format_is_taken_at_its_rate(void **state)
{
    (void)state;
    const double q8 = cpu_rate_of(FMT_Q8_0, "avx2") * 34 / 32;
    assert_true(fabs(plain(MIX_Q8_0, "avx2", 1) / q8 - 1) < 1e-9);
    assert_true(fabs(plain(MIX_Q8_0, "avx2", 6) / (6 * q8) - 1) < 1e-9);
    assert_true(!(plain(MIX_Q8_0, "neon", 6) > 0));
}

/* Q4_K_M has Q4_K and Q6_K: its rate lies between theirs. */
static void a_mixture_lies_between_its_formats(void **state)
{
    (void)state;
    const double q4 = cpu_rate_of(FMT_Q4_K, "avx2") * 144 / 256,
                 q6 = cpu_rate_of(FMT_Q6_K, "avx2") * 210 / 256;
    const double low = q4 < q6 ? q4 : q6, high = q4 < q6 ? q6 : q4,
                 mixed = plain(MIX_Q4_K_M, "avx2", 1);
    assert_true(low < mixed && mixed < high);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_format_has_a_rate_on_every_instruction_set),
        cmocka_unit_test(each_choice_has_rates),
        cmocka_unit_test(a_model_in_one_format_is_taken_at_its_rate),
        cmocka_unit_test(a_mixture_lies_between_its_formats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
