/* Every number format: decoding against golden files; errors and edge cases of encoding. */
#include "f16.h"
#include "fmt.h"
#include "quant_fit.h"
#include "rng.h"
#include "test.h"

#define FMT_HEADERS
#include "formats.def"
#undef FMT_HEADERS

#include <float.h>
#include <math.h>

enum { ROW = 4096 };

static float gaussian(uint64_t key, uint64_t i)
{
    double u = rng_uniform(key, 2 * i), v = rng_uniform(key, 2 * i + 1);
    return (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
}

/* Student's t with 4 degrees of freedom: typical for rows with outliers */
static float heavy(uint64_t key, uint64_t i)
{
    double square = 0;
    for (uint64_t k = 1; k <= 4; k++) {
        double g = gaussian(rng_mix(key + k), i);
        square += g * g;
    }
    return (float)(gaussian(key, i) / sqrt(square / 4));
}

static void round_trip(enum fmt f, const float *x, float *y, int64_t n)
{
    struct err e;
    size_t bytes;
    assert_true(fmt_row_bytes(f, n, &bytes));
    unsigned char *block = malloc(bytes); /* exact, so that ASan sees a byte too many */
    assert_non_null(block);
    ok(fmt_encode_row(f, x, NULL, block, n, &e));
    for (int64_t i = 0; i < n; i++)
        y[i] = NAN;
    fmt_info(f)->decode(block, y, n);
    free(block);
}

static bool encodes(enum fmt f)
{
    return fmt_info(f)->encode != NULL;
}

/* rms of the difference over rms of x */
static double relative(const float *x, const float *y, int64_t n)
{
    double err = 0, sum = 0;
    for (int64_t i = 0; i < n; i++) {
        err += ((double)x[i] - y[i]) * ((double)x[i] - y[i]);
        sum += (double)x[i] * x[i];
    }
    return sqrt(err / sum);
}

static void decoding_is_bit_exact_with_the_gguf_package(void **state)
{
    (void)state;
    for (int f = 0; f < FMT_COUNT; f++) {
        const struct fmt_info *info = fmt_info((enum fmt)f);
        char path[1024], lower[16] = {0};
        for (size_t i = 0; i < strlen(info->name); i++)
            lower[i] =
                (char)(info->name[i] | (info->name[i] >= 'A' && info->name[i] <= 'Z' ? 32 : 0));
        snprintf(path, sizeof path, "%s/quant_%s.bin", TEST_GOLDEN, lower);
        size_t size;
        char *file = test_read(path, &size);
        uint32_t blocks;
        memcpy(&blocks, file, 4);
        size_t n = blocks * (size_t)info->block_elems;
        assert_true(blocks >= 32);
        assert_int_equal(size, 4 + blocks * info->block_bytes + n * 4);
        unsigned char *raw = malloc(blocks * info->block_bytes);
        float *want = malloc(n * sizeof *want), *got = malloc(n * sizeof *got);
        assert_true(raw && want && got);
        memcpy(raw, file + 4, blocks * info->block_bytes);
        memcpy(want, file + 4 + blocks * info->block_bytes, n * 4);
        memset(got, 0xff, n * sizeof *got);
        info->decode(raw, got, (int64_t)n);
        for (size_t i = 0; i < n; i++)
            if (f32_bits(got[i]) != f32_bits(want[i]))
                fail_msg("%s element %zu: got %a, want %a", info->name, i, got[i], want[i]);
        free(raw);
        free(want);
        free(got);
        free(file);
    }
}

/* A block of random bytes, whose numbers are finite: bytes are drawn until they are. */
static void random_block(const struct fmt_info *info, uint64_t key, unsigned char *raw, float *y)
{
    for (uint64_t turn = 0;; turn++) {
        bool finite = true;
        assert_true(turn < 1000);
        for (size_t i = 0; i < info->block_bytes; i++)
            raw[i] = (unsigned char)rng_u64(rng_mix(key) + turn, i);
        info->decode(raw, y, info->block_elems);
        for (int64_t i = 0; i < info->block_elems; i++)
            finite = finite && isfinite(y[i]);
        if (finite)
            return;
    }
}

/* The one-element decoders of the headers give the bits of the row decoders. */
static void single_elements_agree_with_the_row_decoders(void **state)
{
    (void)state;
    static float (*const element[FMT_COUNT])(const void *, int64_t) = {
#define X(NAME, lower, ...) [FMT_##NAME] = fmt_##lower##_element,
#include "formats.def"
    };
    for (int f = 0; f < FMT_COUNT; f++) {
        const struct fmt_info *info = fmt_info((enum fmt)f);
        static _Alignas(16) unsigned char row[3 * FMT_MOST_BYTES];
        static float y[3 * FMT_MOST_ELEMS];
        for (uint64_t trial = 0; trial < 20; trial++) {
            for (uint64_t b = 0; b < 3; b++)
                random_block(info, 3 * trial + b, row + b * info->block_bytes,
                             y + (int64_t)b * info->block_elems);
            for (int64_t i = 0; i < 3 * info->block_elems; i++)
                if (f32_bits(element[f](row, i)) != f32_bits(y[i]))
                    fail_msg("%s element %d: %a, its row %a", info->name, (int)i,
                             (double)element[f](row, i), (double)y[i]);
        }
    }
}

/* A number of the specification's that no line has is named all the same. */
static void formats_that_are_not_computed_have_names(void **state)
{
    (void)state;
    enum fmt f;
    int n = 0;
    for (uint32_t id = 0; id < 64; id++) {
        const char *name = fmt_gguf_name(id);
        n += strcmp(name, "unknown") != 0;
        if (fmt_from_gguf(id, &f))
            assert_string_equal(name, fmt_info(f)->name);
        else
            assert_false(fmt_from_name(name, &f));
    }
    assert_int_equal(n, 32);
    assert_string_equal(fmt_gguf_name(39), "MXFP4");
    assert_string_equal(fmt_gguf_name(4), "unknown"); /* was taken out of the specification */
    assert_string_equal(fmt_gguf_name(UINT32_MAX), "unknown");
}

static void choices_of_a_cache_are_formats_that_blocks_of_heads_fit(void **state)
{
    (void)state;
    char all[128], *rest = all;
    enum fmt f;
    int n = 0;
    assert_true(fmt_kv_choices[0] == '|' && strlen(fmt_kv_choices) < sizeof all);
    strcpy(all, fmt_kv_choices + 1);
    for (char *name; (name = strtok_r(rest, "|", &rest)); n++)
        assert_true(fmt_from_name(name, &f) && fmt_info(f)->kv != KV_NO &&
                    fmt_info(f)->block_elems <= 32);
    for (int k = 0; k < FMT_COUNT; k++)
        n -= fmt_info((enum fmt)k)->kv != KV_NO;
    assert_int_equal(n, 0);
}

static void packed_scales_come_back(void **state)
{
    (void)state;
    for (uint64_t t = 0; t < 500; t++) {
        uint8_t s[8], m[8], p[12];
        for (unsigned g = 0; g < 8; g++) {
            s[g] = (uint8_t)rng_below(t, g, 64);
            m[g] = (uint8_t)rng_below(t, 8 + g, 64);
        }
        fmt_k_pack(s, m, p);
        for (int g = 0; g < 8; g++) {
            assert_int_equal(fmt_k_scale(p, g), s[g]);
            assert_int_equal(fmt_k_min(p, g), m[g]);
        }
    }
}

/* Relative rms error of our encoders, plus 0.2 %. For comparison: Q4_0 without a least-squares
 * search has 0.086 / 0.116. The search of the common files has 0.0714 / 0.0868 for Q4_K, 0.0361 /
 * 0.0439 for Q5_K, 0.0178 / 0.0229 for Q6_K. */
static const struct {
    enum fmt f;
    double gaussian, heavy;
} quality[] = {
    {FMT_F32, 0, 0},
    {FMT_F16, 2.08e-4, 2.09e-4},
    {FMT_BF16, 1.662e-3, 1.665e-3},
    {FMT_Q8_0, 5.365e-3, 7.305e-3},
    {FMT_Q6_K, 1.7335e-2, 2.2385e-2},
    {FMT_Q5_K, 3.495e-2, 4.227e-2},
    {FMT_Q4_K, 7.070e-2, 8.555e-2},
    {FMT_Q4_0, 8.180e-2, 1.1260e-1},
    {FMT_Q4_1, 7.015e-2, 8.452e-2},
    {FMT_Q5_0, 4.049e-2, 5.623e-2},
    {FMT_Q5_1, 3.384e-2, 4.070e-2},
    {FMT_IQ4_NL, 7.505e-2, 9.207e-2},
    {FMT_IQ4_XS, 7.561e-2, 9.276e-2},
    {FMT_Q3_K, 1.4497e-1, 1.7664e-1},
    {FMT_Q2_K, 2.6942e-1, 3.0051e-1},
};

/* The limit of a format: its row above. Without a row, three steps of its bits: a search for the
 * best scale keeps to that. */
static double quality_limit(enum fmt f, bool heavy_tails)
{
    for (size_t k = 0; k < sizeof quality / sizeof *quality; k++)
        if (quality[k].f == f)
            return heavy_tails ? quality[k].heavy : quality[k].gaussian;
    const struct fmt_info *info = fmt_info(f);
    return 3 * exp2(-8.0 * (double)info->block_bytes / (double)info->block_elems);
}

static void errors_of_a_round_trip_stay_small(void **state)
{
    (void)state;
    enum { N = 64 * ROW };
    float *x = malloc(N * sizeof *x), *y = malloc(N * sizeof *y);
    assert_true(x && y);
    for (int kind = 0; kind < 2; kind++) {
        for (uint64_t i = 0; i < N; i++)
            x[i] = 0.02f * (kind ? heavy(3, i) : gaussian(3, i));
        for (int k = 0; k < FMT_COUNT; k++) {
            const enum fmt f = (enum fmt)k;
            double limit = quality_limit(f, kind);
            if (!encodes(f))
                continue;
            round_trip(f, x, y, N);
            double got = relative(x, y, N);
            print_message("%-5s %s %.6f (limit %.6f)\n", fmt_info(f)->name,
                          kind ? "heavy tails" : "gaussian   ", got, limit);
            assert_true(got <= limit);
        }
    }
    free(x);
    free(y);
}

static void q8_0_is_never_off_by_more_than_half_a_step(void **state)
{
    (void)state;
    for (int exponent = -30; exponent <= 20; exponent++) { /* subnormal scales too */
        float x[32], y[32];
        struct fmt_q8_0 b;
        for (uint64_t i = 0; i < 32; i++)
            x[i] = ldexpf(gaussian(5, i + 64 * (uint64_t)(exponent + 40)), exponent);
        fmt_q8_0_encode(x, NULL, &b, 32);
        fmt_q8_0_decode(&b, y, 32);
        float half = f16_to_f32(b.d) * 0.50001f;
        for (int i = 0; i < 32; i++) {
            assert_true(fabsf(x[i] - y[i]) <= fmaxf(half, 0x1p-25f));
            assert_true(b.q[i] >= -127);
        }
    }
}

/* Numbers decoded from a block encode to nearly the same numbers. Formats with one scale for each
 * group give the same numbers; others stay within a fraction of the first error. */
static void encoding_twice_changes_little(void **state)
{
    (void)state;
    static float x[ROW], y[ROW], z[ROW];
    for (uint64_t i = 0; i < ROW; i++)
        x[i] = gaussian(7, i);
    for (int f = 0; f < FMT_COUNT; f++) {
        if (!encodes((enum fmt)f))
            continue;
        round_trip((enum fmt)f, x, y, ROW);
        round_trip((enum fmt)f, y, z, ROW);
        double first = relative(x, y, ROW), second = relative(y, z, ROW);
        print_message("%-5s first %.6f second %.6f\n", fmt_info((enum fmt)f)->name, first, second);
        if (fmt_is_plain((enum fmt)f) || f == FMT_Q8_0)
            assert_memory_equal(y, z, sizeof y);
        else
            assert_true(second <= 0.5 * first);
    }
}

static void a_block_of_zeros_decodes_to_zeros(void **state)
{
    (void)state;
    static float x[ROW], y[ROW];
    for (int f = 0; f < FMT_COUNT; f++) {
        if (!encodes((enum fmt)f))
            continue;
        memset(x, 0, sizeof x);
        round_trip((enum fmt)f, x, y, ROW);
        for (int i = 0; i < ROW; i++)
            assert_true(y[i] == 0);
        for (int i = 0; i < ROW; i++) /* a group of zeros between others, one negative zero */
            x[i] = i / 32 % 3 == 1 ? (i % 5 ? 0.0f : -0.0f) : gaussian(9, (uint64_t)i);
        round_trip((enum fmt)f, x, y, ROW);
        for (int i = 0; i < ROW; i++)
            assert_true(i / 32 % 3 != 1 || y[i] == 0);
    }
}

static void equal_numbers_survive(void **state)
{
    (void)state;
    static float x[ROW], y[ROW];
    const float value[] = {1, -1, 0.3f, -0.3f, 1e-3f, -12345};
    for (size_t v = 0; v < sizeof value / sizeof *value; v++)
        for (int f = 0; f < FMT_COUNT; f++) {
            if (!encodes((enum fmt)f))
                continue;
            for (int i = 0; i < ROW; i++)
                x[i] = value[v];
            round_trip((enum fmt)f, x, y, ROW);
            /* numbers of IQ4_XS are up to 4064 times its f16 factor, which is subnormal at 1e-3 */
            assert_true(relative(x, y, ROW) < (f == FMT_IQ4_XS && v == 4 ? 2e-2 : 4.1e-3));
        }
}

/* Any magnitudes give a valid block: every decoded number is finite, and large ones keep their
 * sign. */
static void any_finite_input_gives_a_valid_block(void **state)
{
    (void)state;
    static float x[ROW], y[ROW];
    for (uint64_t kind = 0; kind < 40; kind++) {
        for (uint64_t i = 0; i < ROW; i++) {
            uint32_t bits = (uint32_t)rng_u64(kind, i);
            if (kind % 4 == 1)
                bits = (bits & 0x807fffff) | 0x7f000000; /* huge */
            else if (kind % 4 == 2)
                bits &= 0x807fffff; /* subnormal */
            else if (kind % 4 == 3)
                bits = (bits & 0x81ffffff) | 0x33000000; /* around the smallest f16 */
            if ((bits & 0x7f800000) == 0x7f800000)
                bits ^= 0x40000000;
            x[i] = f32_from_bits(bits);
        }
        for (int f = 0; f < FMT_COUNT; f++) {
            if (!encodes((enum fmt)f))
                continue;
            round_trip((enum fmt)f, x, y, ROW);
            for (int i = 0; i < ROW; i++) {
                assert_true(isfinite(y[i]));
                if (kind % 4 == 1)
                    assert_true(x[i] * y[i] > 0);
            }
        }
    }
    x[0] = FLT_MAX;
    x[1] = -FLT_MAX;
    round_trip(FMT_F16, x, y, 2);
    assert_true(y[0] == 65504 && y[1] == -65504);
    round_trip(FMT_BF16, x, y, 2);
    assert_true(isfinite(y[0]) && y[0] > 3.38e38f && y[1] == -y[0]);
}

static void a_block_does_not_depend_on_its_neighbours(void **state)
{
    (void)state;
    static float x[ROW], w[ROW];
    static unsigned char row[ROW * 4], one[1024];
    for (uint64_t i = 0; i < ROW; i++) {
        x[i] = heavy(13, i) * (i / 256 % 2 ? 100 : 1);
        w[i] = 0.01f + (float)(rng_u64(5, i) % 1000);
    }
    for (int f = 0; f < FMT_COUNT; f++) {
        const struct fmt_info *info = fmt_info((enum fmt)f);
        if (!info->encode)
            continue;
        for (int weighed = 0; weighed < 2; weighed++) {
            info->encode(x, weighed ? w : NULL, row, ROW);
            for (int64_t k = 0; k < ROW / info->block_elems; k++) {
                const int64_t at = k * info->block_elems;
                info->encode(x + at, weighed ? w + at : NULL, one, info->block_elems);
                assert_memory_equal(one, row + (size_t)k * info->block_bytes, info->block_bytes);
            }
        }
    }
}

static float importance(uint64_t i)
{
    return rng_u64(3, i) % 8 == 0 ? 30 : 0.05f;
}

/* Sum over the row of importance times squared error. */
static double weighed_error(const struct fmt_info *info, const float *x, const float *w,
                            const float *given)
{
    static unsigned char row[ROW * 4];
    static float y[ROW];
    double sum = 0;
    info->encode(x, given, row, ROW);
    info->decode(row, y, ROW);
    for (int i = 0; i < ROW; i++)
        sum += (double)w[i] * ((double)y[i] - (double)x[i]) * ((double)y[i] - (double)x[i]);
    return sum;
}

static void importances_lower_the_error_that_they_weigh(void **state)
{
    (void)state;
    static float x[ROW], w[ROW], even[ROW];
    static unsigned char plain[ROW * 4], same[ROW * 4];
    for (uint64_t i = 0; i < ROW; i++) {
        x[i] = heavy(17, i);
        w[i] = importance(i);
        even[i] = 1;
    }
    for (int f = 0; f < FMT_COUNT; f++) {
        const struct fmt_info *info = fmt_info((enum fmt)f);
        if (!info->encode)
            continue;
        info->encode(x, NULL, plain, ROW);
        info->encode(x, even, same, ROW);
        assert_memory_equal(same, plain, (size_t)(ROW / info->block_elems) * info->block_bytes);
        const double without = weighed_error(info, x, w, NULL), with = weighed_error(info, x, w, w);
        if (!info->fits)
            assert_true(with == without);
        else if (!(with < 0.95 * without))
            fail_msg("%s: weighed error %g with importances, %g without", info->name, with,
                     without);
    }
}

static void nan_and_infinity_are_refused_by_index(void **state)
{
    (void)state;
    struct err e;
    static float x[ROW];
    static unsigned char y[ROW * 4];
    for (int f = 0; f < FMT_COUNT; f++) {
        if (!encodes((enum fmt)f)) {
            fails(fmt_encode_row((enum fmt)f, x, NULL, y, ROW, &e), ERR_BUG,
                  "this format is only read");
            continue;
        }
        x[777] = NAN;
        x[800] = INFINITY;
        fails(fmt_encode_row((enum fmt)f, x, NULL, y, ROW, &e), ERR_DATA,
              "element 777 of the row is NaN");
        x[777] = -INFINITY;
        fails(fmt_encode_row((enum fmt)f, x, NULL, y, ROW, &e), ERR_DATA,
              "777 of the row is infinite");
        x[777] = x[800] = 0;
        ok(fmt_encode_row((enum fmt)f, x, NULL, y, ROW, &e));
        x[ROW - 1] = NAN;
        fails(fmt_encode_row((enum fmt)f, x, NULL, y, ROW, &e), ERR_DATA, "element 4095");
        x[ROW - 1] = 0;
    }
}

static void names_ids_and_sizes_are_the_table_of_the_format(void **state)
{
    (void)state;
    enum fmt f;
    size_t bytes = 42;
    for (int k = 0; k < FMT_COUNT; k++) {
        const struct fmt_info *info = fmt_info((enum fmt)k);
        assert_true(fmt_from_gguf(info->gguf_id, &f) && (int)f == k);
        assert_true(fmt_from_name(info->name, &f) && (int)f == k);
        assert_true(fmt_row_bytes((enum fmt)k, 0, &bytes) && bytes == 0);
        assert_true(fmt_row_bytes((enum fmt)k, 512, &bytes));
        assert_int_equal(bytes, 512 / (size_t)info->block_elems * info->block_bytes);
        assert_false(fmt_row_bytes((enum fmt)k, -info->block_elems, &bytes));
        assert_false(info->block_elems > 1 && fmt_row_bytes((enum fmt)k, 513, &bytes));
        assert_false(info->block_elems > 1 && fmt_row_bytes((enum fmt)k, 256 + 31, &bytes));
    }
    assert_true(fmt_from_name("q4_k", &f) && f == FMT_Q4_K);
    assert_true(fmt_from_name("bF16", &f) && f == FMT_BF16);
    assert_false(fmt_from_name("Q4_K_M", &f));
    assert_false(fmt_from_name("", &f));
    assert_false(fmt_from_gguf(UINT32_MAX, &f));
    assert_false(fmt_row_bytes(FMT_Q4_K, 256 + 32, &bytes));
    assert_true(fmt_row_bytes(FMT_Q6_K, 4096, &bytes) && bytes == 3360);
}

static void scales_are_rounded_so_that_nothing_is_clipped(void **state)
{
    (void)state;
    for (int exponent = -40; exponent < 30; exponent++)
        for (uint64_t i = 0; i < 50; i++) {
            float most = ldexpf(1 + rng_uniform(17, i), exponent);
            float d = f16_to_f32(quant_fit_scale(most, 63));
            assert_true(isfinite(d));
            if (most >= 0x1p-26f && most <= 65504.0f * 63)
                assert_true(d * 63.5f >= most);
            else
                assert_true(most < 1 ? d == 0 : d == 65504);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decoding_is_bit_exact_with_the_gguf_package),
        cmocka_unit_test(single_elements_agree_with_the_row_decoders),
        cmocka_unit_test(formats_that_are_not_computed_have_names),
        cmocka_unit_test(choices_of_a_cache_are_formats_that_blocks_of_heads_fit),
        cmocka_unit_test(packed_scales_come_back),
        cmocka_unit_test(errors_of_a_round_trip_stay_small),
        cmocka_unit_test(q8_0_is_never_off_by_more_than_half_a_step),
        cmocka_unit_test(encoding_twice_changes_little),
        cmocka_unit_test(a_block_of_zeros_decodes_to_zeros),
        cmocka_unit_test(equal_numbers_survive),
        cmocka_unit_test(any_finite_input_gives_a_valid_block),
        cmocka_unit_test(a_block_does_not_depend_on_its_neighbours),
        cmocka_unit_test(importances_lower_the_error_that_they_weigh),
        cmocka_unit_test(nan_and_infinity_are_refused_by_index),
        cmocka_unit_test(names_ids_and_sizes_are_the_table_of_the_format),
        cmocka_unit_test(scales_are_rounded_so_that_nothing_is_clipped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
