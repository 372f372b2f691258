/* Random blocks: they have the promised moments, and every part can be made alone. */
#include "fmt_random.h"
#include "test.h"

#include <math.h>

enum { N = 1 << 18 };

static void every_format_has_the_asked_for_mean_and_deviation(void **state)
{
    (void)state;
    unsigned char *raw = malloc(N * 4);
    float *y = malloc(N * sizeof *y);
    assert_true(raw && y);
    const float want[] = {3e-4f, 4.7e-4f, 0.0156f, 1, 100};
    for (int f = 0; f < FMT_COUNT; f++)
        for (size_t s = 0; s < sizeof want / sizeof *want; s++) {
            const struct fmt_info *info = fmt_info((enum fmt)f);
            fmt_random((enum fmt)f, 99, 0, N / info->block_elems, want[s], raw);
            info->decode(raw, y, N);
            double sum = 0, square = 0;
            for (int i = 0; i < N; i++) {
                assert_true(isfinite(y[i]));
                sum += y[i];
                square += (double)y[i] * y[i];
            }
            double mean = sum / N / want[s], deviation = sqrt(square / N) / want[s];
            if (!(fabs(mean) < 0.01 && fabs(deviation - 1) < 0.04))
                fail_msg("%s at %g: mean %g, deviation %g", info->name, want[s], mean, deviation);
        }
    free(raw);
    free(y);
}

static void any_part_is_the_same_made_alone(void **state)
{
    (void)state;
    static unsigned char whole[64 * FMT_MOST_BYTES], part[64 * FMT_MOST_BYTES];
    for (int f = 0; f < FMT_COUNT; f++) {
        size_t size = fmt_info((enum fmt)f)->block_bytes;
        fmt_random((enum fmt)f, 5, 1000, 64, 0.1f, whole);
        for (int64_t cut = 0; cut <= 64; cut += 7) {
            memset(part, 0xee, sizeof part);
            fmt_random((enum fmt)f, 5, 1000, cut, 0.1f, part);
            fmt_random((enum fmt)f, 5, 1000 + cut, 64 - cut, 0.1f, part + (size_t)cut * size);
            assert_memory_equal(whole, part, 64 * size);
        }
        fmt_random((enum fmt)f, 6, 1000, 64, 0.1f, part);
        assert_memory_not_equal(whole, part, 64 * size);
        fmt_random((enum fmt)f, 5, 1064, 64, 0.1f, part);
        assert_memory_not_equal(whole, part, 64 * size);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_format_has_the_asked_for_mean_and_deviation),
        cmocka_unit_test(any_part_is_the_same_made_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
