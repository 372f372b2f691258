#include "f16.h"
#include "mem.h"
#include "rng.h"
#include "stat.h"
#include "test.h"

#include <math.h>

static void err_messages_are_one_clean_line(void **state)
{
    (void)state;
    struct err e = {0};
    assert_int_equal(err_set(&e, ERR_DATA, "bad key '%s'", "a\nb\033[2J"), ERR_DATA);
    assert_string_equal(e.msg, "bad key 'a?b?[2J'");
    assert_int_equal(err_wrap(&e, ERR_IO, "file %s", "x"), ERR_DATA);
    assert_string_equal(e.msg, "file x: bad key 'a?b?[2J'");
    char big[3000];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = 0;
    err_set(&e, ERR_DATA, "%s", big);
    assert_string_equal(e.msg + strlen(e.msg) - 4, "x...");
    assert_int_equal(err_exit(ERR_CONFIG), 78);
    assert_int_equal(err_exit(-12345), 70);
}

/* Every f16 value survives f16 -> f32 -> f16, and every f32 rounds to the nearest f16, ties to
 * even. All midpoints and their neighbours are checked against exact arithmetic in double. */
static void f16_is_exact_and_rounds_to_nearest_even(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x10000; h++) {
        float f = f16_to_f32((uint16_t)h);
        if (f != f) {
            assert_true((h & 0x7c00) == 0x7c00 && (h & 0x3ff));
            continue;
        }
        assert_int_equal(f32_to_f16(f), h);
    }
    for (uint32_t h = 0; h < 0x7bff; h++) {
        float lo = f16_to_f32((uint16_t)h), hi = f16_to_f32((uint16_t)(h + 1));
        float mid = (float)(((double)lo + (double)hi) / 2); /* exact: 12 significant bits */
        uint16_t even = (h & 1) ? (uint16_t)(h + 1) : (uint16_t)h;
        assert_int_equal(f32_to_f16(mid), even);
        assert_int_equal(f32_to_f16(nextafterf(mid, 1e9f)), h + 1);
        assert_int_equal(f32_to_f16(nextafterf(mid, -1)), h);
        assert_int_equal(f32_to_f16(-mid), even | 0x8000);
    }
    assert_int_equal(f32_to_f16(65519.996f), 0x7bff);
    assert_int_equal(f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(f32_to_f16(INFINITY), 0x7c00);
    assert_true(isnan(f16_to_f32(f32_to_f16(NAN))));
    assert_int_equal(f32_to_bf16(1.00390625f), 0x3f80); /* tie to even, down */
    assert_int_equal(f32_to_bf16(1.01171875f), 0x3f82); /* tie to even, up */
    assert_true(isnan(bf16_to_f32(f32_to_bf16(NAN))));
}

static void utf8_accepts_exactly_the_standard(void **state)
{
    (void)state;
    uint32_t cp;
    for (uint32_t c = 0; c <= 0x10ffff; c++) {
        if (c >= 0xd800 && c <= 0xdfff)
            continue;
        char b[4];
        int n = utf8_encode(c, b);
        assert_int_equal(utf8_decode(b, (size_t)n, &cp), n);
        assert_int_equal(cp, c);
        for (int k = 1; k < n; k++) {
            assert_int_equal(utf8_decode(b, (size_t)k, &cp), 0);
            assert_int_equal(utf8_complete(b, (size_t)k), 0);
        }
        assert_int_equal(utf8_complete(b, (size_t)n), n);
    }
    assert_int_equal(utf8_decode("\xc0\x80", 2, &cp), 0);
    assert_int_equal(utf8_decode("\xed\xa0\x80", 3, &cp), 0);
    assert_int_equal(utf8_decode("\xf4\x90\x80\x80", 4, &cp), 0);
    assert_int_equal(utf8_complete("ab\xe2\x82", 4), 2);
    assert_int_equal(utf8_complete("ab\xed\xa0", 4), 4); /* can never become valid */
    struct str s = STR_INIT;
    str_add_json(&s, "a\"\\\n\x01\xff\xc3\xa9", 8);
    assert_string_equal(s.s, "\"a\\\"\\\\\\n\\u0001\\ufffd\xc3\xa9\"");
    str_free(&s);
}

/* JSON has no NaN and no infinity: one of them makes a whole file unreadable. */
static void a_number_that_json_does_not_have_is_null(void **state)
{
    (void)state;
    struct str s = STR_INIT;
    const double v[] = {0.1, NAN, INFINITY, -INFINITY, -0.0, 1e300};
    for (size_t i = 0; i < sizeof v / sizeof v[0]; i++) {
        str_adds(&s, i ? " " : "");
        str_add_number(&s, v[i], 3);
    }
    assert_string_equal(s.s, "0.1 null null null -0 1e+300");
    str_clear(&s);
    str_add_number(&s, 1.0 / 3, 17);
    assert_string_equal(s.s, "0.33333333333333331");
    str_free(&s);
}

static void numbers_are_read_strictly(void **state)
{
    (void)state;
    int64_t i;
    double d;
    uint64_t b;
    assert_true(str_to_i64("-12", -12, 5, &i) && i == -12);
    assert_false(str_to_i64("12x", 0, 100, &i));
    assert_false(str_to_i64("", 0, 100, &i));
    assert_false(str_to_i64(" 1", 0, 100, &i));
    assert_false(str_to_i64("101", 0, 100, &i));
    assert_true(str_to_f64("0.3", 0, 1, &d) && d == 0.3);
    assert_false(str_to_f64("nan", 0, 1, &d));
    assert_false(str_to_f64("0x1", 0, 1, &d));
    assert_false(str_to_f64("1e999", 0, INFINITY, &d));
    assert_true(str_to_bytes("22.5GiB", &b) && b == 24159191040u);
    assert_true(str_to_bytes("25GB", &b) && b == 25000000000u);
    assert_false(str_to_bytes("5 GB", &b));
    assert_false(str_to_bytes("-1", &b));
    assert_int_equal(str_distance("temprature", "temperature"), 1);
    assert_int_equal(str_distance("cuont", "count"), 1);
    assert_int_equal(str_distance("ca", "abc"), 3); /* a swap is not edited further */
    assert_int_equal(str_distance("", "seed"), 4);
}

static void arena_and_layout(void **state)
{
    (void)state;
    struct arena a = {.limit = 1 << 20};
    char *first = arena_strndup(&a, "hello\0x", 7);
    for (int i = 0; i < 100; i++)
        assert_non_null(arena_alloc(&a, 100, 10));
    assert_memory_equal(first, "hello\0x", 8);
    assert_null(arena_alloc(&a, 1 << 20, 1));
    assert_null(arena_alloc(&a, SIZE_MAX / 2, 3));
    assert_string_equal(arena_printf(&a, "%d-%s", 7, "x"), "7-x");
    arena_free(&a);
    struct layout l = {0};
    assert_null(layout_take(&l, 3, 4));
    assert_null(layout_take(&l, 1, 1));
    assert_int_equal(l.size, 257);
}

static void summaries_interpolate(void **state)
{
    (void)state;
    double x[] = {4, 1, 3, 2};
    struct stat_summary s = stat_summarize(x, 4);
    assert_true(s.median == 2.5 && s.min == 1 && s.max == 4 && s.mean == 2.5);
    assert_true(isnan(stat_summarize(NULL, 0).median));
    double u = 0;
    for (uint64_t i = 0; i < 100000; i++) {
        float v = rng_uniform(rng_key(1, 2, 3), i);
        assert_true(v > 0 && v < 1);
        u += v;
    }
    assert_true(fabs(u / 100000 - 0.5) < 0.005);
    /* the draw at this index has its 24 uppermost bits set: the largest value there is */
    assert_int_equal(rng_u64(rng_key(1, 2, 3), 12284191) >> 40, 0xffffff);
    assert_true(rng_uniform(rng_key(1, 2, 3), 12284191) < 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(err_messages_are_one_clean_line),
        cmocka_unit_test(f16_is_exact_and_rounds_to_nearest_even),
        cmocka_unit_test(utf8_accepts_exactly_the_standard),
        cmocka_unit_test(a_number_that_json_does_not_have_is_null),
        cmocka_unit_test(numbers_are_read_strictly),
        cmocka_unit_test(arena_and_layout),
        cmocka_unit_test(summaries_interpolate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
