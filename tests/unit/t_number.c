#include "number.h"

#include <math.h>

#include "test.h"

static bool walk(const struct number_range *r, const char *text, struct number_prefix *p)
{
    *p = (struct number_prefix){0};
    for (; *text; text++)
        if (!number_step(r, p, (unsigned char)*text))
            return false;
    return true;
}

/* Decides digit by digit, without the code under test, whether text is a number of the grammar. It
 * has at most d decimals, lies in [lo, hi] (units of 10^-d) and is a multiple of step (0: any). */
static bool is_number(const char *text, int64_t lo, int64_t hi, int d, int64_t step)
{
    bool negative = *text == '-';
    const char *s = text + negative;
    size_t n_int = strspn(s, "0123456789");
    if (!n_int || (n_int > 1 && *s == '0'))
        return false;
    const char *frac = s + n_int;
    size_t n_frac = *frac == '.' ? strspn(frac + 1, "0123456789") : 0;
    if (*frac == '.' ? !n_frac || frac[1 + n_frac] : *frac != 0)
        return false;
    if (n_frac > (size_t)d)
        return false;
    int64_t v = 0;
    for (const char *c = s; *c; c++)
        if (*c != '.')
            v = v * 10 + (*c - '0');
    for (size_t i = n_frac; i < (size_t)d; i++)
        v *= 10;
    return (!negative || v) && (negative ? -v : v) >= lo && (negative ? -v : v) <= hi &&
           (!step || v % step == 0);
}

#define LONGEST 6
static const char alphabet[] = "0159-.";
enum { LETTERS = sizeof alphabet - 1 };

struct tree { /* every text over the alphabet up to LONGEST bytes, parents before children */
    char (*text)[LONGEST + 1];
    bool *good; /* some text below is a number of the range */
    size_t n;
};

static void every_text(struct tree *t)
{
    size_t total = 1, level = 1;
    for (int i = 0; i < LONGEST; i++)
        total += level *= LETTERS;
    t->text = calloc(total, sizeof *t->text);
    t->good = calloc(total, sizeof *t->good);
    t->n = 1;
    for (size_t i = 0; i < t->n && strlen(t->text[i]) < LONGEST; i++)
        for (size_t k = 0; k < LETTERS; k++) {
            memcpy(t->text[t->n], t->text[i], LONGEST + 1);
            t->text[t->n++][strlen(t->text[i])] = alphabet[k];
        }
    assert_int_equal(t->n, total);
}

/* The bounds of these ranges are texts over the alphabet. So each feasible prefix has a witness of
 * at most LONGEST bytes, over the alphabet or its own first digits. Both directions can be
 * decided. */
static void prefixes_and_numbers_are_exactly_those_of_the_range(void **state)
{
    (void)state;
    static const struct {
        int64_t lo, hi;
        int d;
        int64_t step;
    } ranges[] = {{0, 100, 2, 0},      {0, 1, 0, 0},         {5, 95, 2, 0},        {-15, 15, 1, 0},
                  {-150, -50, 2, 0},   {0, 0, 2, 0},         {-5, 0, 1, 0},        {-1, 1, 2, 0},
                  {10, 10, 0, 0},      {51, 91, 0, 0},       {9, 1010, 0, 0},      {-99, 1, 0, 0},
                  {-90, -11, 0, 0},    {101, 101, 2, 0},     {995, 1005, 2, 0},    {-5, 5, 3, 0},
                  {-1000, 1000, 3, 0}, {0, 1000, 0, 5},      {-1000, 1000, 1, 51}, {-99, 99, 2, 10},
                  {1, 9999, 0, 909},   {-500, -100, 2, 100}, {5, 95, 2, 45}};
    struct tree t;
    every_text(&t);
    for (size_t r = 0; r < sizeof ranges / sizeof ranges[0]; r++) {
        struct number_range range = {ranges[r].lo, ranges[r].hi, (uint8_t)ranges[r].d,
                                     ranges[r].step};
        struct number_prefix p;
        char shortest[NUMBER_TEXT];
        for (size_t i = t.n; i-- > 0;) { /* children come first */
            size_t len = strlen(t.text[i]);
            bool number = is_number(t.text[i], range.lo, range.hi, range.decimals, range.step);
            bool reached = walk(&range, t.text[i], &p);
            t.good[i] = number;
            for (size_t k = 0; len < LONGEST && k < LETTERS && !t.good[i]; k++)
                t.good[i] = t.good[i * LETTERS + 1 + k];
            if ((reached && number_complete(&range, &p)) != number)
                fail_msg("'%s' in [%ld, %ld]e-%d: complete %d", t.text[i], (long)range.lo,
                         (long)range.hi, range.decimals, !number);
            if (len && len < LONGEST && t.good[i] && !reached)
                fail_msg("'%s' can become a number", t.text[i]);
            if (!reached)
                continue;
            int n =
                number_shortest(&range, &p, shortest); /* the witness that the prefix is feasible */
            assert_int_equal(n, strlen(shortest));
            assert_memory_equal(shortest, t.text[i], len);
            assert_int_equal(number_length(&p), len);
            if (!is_number(shortest, range.lo, range.hi, range.decimals, range.step))
                fail_msg("'%s' was completed to '%s'", t.text[i], shortest);
            for (size_t k = 0; k < t.n && strlen(t.text[k]) < (size_t)n; k++)
                if (!strncmp(t.text[k], t.text[i], len) &&
                    is_number(t.text[k], range.lo, range.hi, range.decimals, range.step))
                    fail_msg("'%s' is shorter than '%s'", t.text[k], shortest);
        }
    }
    free(t.text);
    free(t.good);
}

/* All integers and all two-digit decimals of some ranges, digit by digit. */
static void every_number_of_a_range_can_be_written(void **state)
{
    (void)state;
    static const int64_t bounds[][2] = {{-1234, 1234}, {100, 250}, {-30, 0}, {-999, -7}, {1, 1000}};
    for (size_t r = 0; r < 5; r++)
        for (int d = 0; d <= 2; d++)
            for (int64_t v = -2000; v <= 2000; v++) {
                struct number_range range = {bounds[r][0], bounds[r][1], (uint8_t)d, 0};
                struct number_prefix p;
                char text[NUMBER_TEXT];
                number_write(v, d, text);
                bool in = v >= range.lo && v <= range.hi;
                assert_int_equal(walk(&range, text, &p) && number_complete(&range, &p), in);
            }
}

static void extreme_bounds_do_not_overflow(void **state)
{
    (void)state;
    int64_t big = NUMBER_UNITS;
    struct number_range r = {-big, big, 9, 0};
    struct number_prefix p;
    assert_true(walk(&r, "1000000000.000000000", &p) && number_complete(&r, &p));
    assert_true(walk(&r, "-1000000000.000000000", &p) && number_complete(&r, &p));
    assert_true(walk(&r, "999999999.999999999", &p) && number_complete(&r, &p));
    assert_false(walk(&r, "1000000000.000000001", &p));
    assert_false(walk(&r, "1000000001", &p));
    assert_false(walk(&r, "10000000000", &p));
    assert_false(walk(&r, "0.0000000001", &p));
    struct number_range top = {big - 1, big, 9, 0};
    char text[NUMBER_TEXT];
    assert_true(walk(&top, "9", &p));
    assert_int_equal(number_shortest(&top, &p, text), 19);
    assert_string_equal(text, "999999999.999999999");
    assert_true(walk(&top, "", &p));
    assert_int_equal(number_shortest(&top, &p, text), 10);
    assert_string_equal(text, "1000000000");
}

static void decimals_are_read_exactly(void **state)
{
    (void)state;
    int64_t m;
    int d;
    assert_true(number_decimal(0.05, &m, &d) && m == 5 && d == 2);
    assert_true(number_decimal(-0.25, &m, &d) && m == -25 && d == 2);
    assert_true(number_decimal(1e9, &m, &d) && m == 1000000000 && d == 0);
    assert_false(number_decimal(0.30000000000000004, &m, &d)); /* 0.1 + 0.2 */
    assert_true(number_decimal(1e9 + 1, &m, &d) && m == 1000000001 && d == 0);
    assert_true(number_decimal(-1e15, &m, &d) && m == -NUMBER_LIMIT && d == 0);
    assert_false(number_decimal(1e15 + 1, &m, &d));
    assert_false(number_decimal(1e-10, &m, &d));
    assert_false(number_decimal(NAN, &m, &d));
    assert_false(number_decimal(INFINITY, &m, &d));
    for (int64_t v = -100000; v <= 100000; v += 7) {
        assert_true(number_decimal((double)v / 1000, &m, &d));
        assert_int_equal(number_rescale(m, d, 3, true), v);
        assert_int_equal(number_rescale(m, d, 3, false), v);
    }
    assert_int_equal(number_rescale(5, 2, 1, true), 1);
    assert_int_equal(number_rescale(5, 2, 1, false), 0);
    assert_int_equal(number_rescale(-5, 2, 1, true), 0);
    assert_int_equal(number_rescale(-5, 2, 1, false), -1);
    assert_int_equal(number_rescale(-5, 1, 3, false), -500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prefixes_and_numbers_are_exactly_those_of_the_range),
        cmocka_unit_test(every_number_of_a_range_can_be_written),
        cmocka_unit_test(extreme_bounds_do_not_overflow),
        cmocka_unit_test(decimals_are_read_exactly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
