/* Matmul with matrix tiles has the bits of the other instruction sets: any number of rows, any
 * shape, any weights. The system's permission, and the choice between tiles and strips. Built
 * twice: tests/CMakeLists.txt, "twin" and "trap". */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "amx_stub.h"
#include "case.h"
#include "cpu_isa.h"
#include "cpu_kernel.h"
#include "fmt_random.h"
#include "rng.h"
#include "test.h"
#include "tile_rows.h"
#if defined(AMX_TRAP)
#include "tile_trap.h"
enum { RANDOM_CALLS = 60 }; /* a signal for each tile instruction takes time */
#else
enum { RANDOM_CALLS = 120 };
#endif
/* Each number of rows is tried with every fourth format; AMX_ALL in the environment: with all, and
 * five times as many random calls. */
enum { ROWS_STEP = 4, ALL_MORE = 5 };

struct trial {
    enum fmt fmt;
    int n_row;
    int64_t n_in, n_out;
    enum matmul_epilogue epilogue;
    int threads, tile_rows;
    bool pack;
};

static bool is_finite(const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}

/* Weights of random bytes: every scale, minimum and quant that a block can hold, as long as its
 * numbers are finite. */
static void any_bytes(struct op_case *c, uint64_t seed)
{
    const struct fmt_info *f = fmt_info(c->w[0].fmt);
    float out[FMT_MOST_ELEMS];
    for (int i = 0; i < c->args.matmul.n_out; i++) {
        struct case_buf *b = &c->buf[c->w_at[i]];
        uint8_t *p = b->host;
        uint64_t draw = 0;
        for (size_t at = 0; at < b->bytes; at += f->block_bytes)
            do {
                for (size_t k = 0; k < f->block_bytes; k++)
                    p[at + k] = (uint8_t)rng_u64(rng_key(seed, (uint64_t)i, 0), draw++);
                f->decode(p + at, out, f->block_elems);
            } while (!is_finite(out, f->block_elems));
    }
}

/* Rows of x with the largest sums: all elements alike, of either sign. */
static void flat_rows(struct op_case *c)
{
    const struct matmul_args *a = &c->args.matmul;
    float *x = c->buf[0].host;
    for (int64_t r = 0; r < a->n_row; r += 3)
        for (int64_t i = 0; i < a->n_in; i++)
            x[r * a->n_in + i] = r % 2 ? -2.5f : 3;
}

static struct op_case trial_case(const struct trial *t, uint64_t seed)
{
    struct err e = {0};
    struct op_case c = {0};
    ok(case_matmul_shape(&c, t->fmt, t->n_row, t->n_in, t->n_out, t->epilogue, &e));
    if (seed % 2) {
        any_bytes(&c, seed);
        flat_rows(&c);
    }
    return c;
}

/* y (n_row, n_out) of an instruction set; free(). */
static float *trial_run(const struct op_case *c, const struct trial *t, const char *isa)
{
    struct err e = {0};
    struct ops *ops = NULL;
    struct case_device d;
    struct op_case mine = *c;
    const struct ops_options opt = {.n_threads = t->threads, .isa = isa, .tile_rows = t->tile_rows};
    float *y = malloc(c->buf[3].bytes);
    assert_non_null(y);
    ok(ops_open("cpu", &opt, &ops, &e));
    ok(case_upload(&mine, ops, 0, &d, &e));
    if (t->pack)
        ok(case_pack(&mine, &d, &e));
    ok(case_poison(&d, &e));
    ok(case_run(&mine, &d, &e));
    ok(case_download(&mine, &d, 3, y, &e));
    case_release(&d);
    ops_close(ops);
    return y;
}

/* The same bits; any NaN for a NaN. */
static void expect_same(const struct trial *t, const float *got, const float *want)
{
    for (int64_t i = 0; i < t->n_row * t->n_out; i++)
        if (memcmp(&got[i], &want[i], sizeof *got) != 0 && !(isnan(got[i]) && isnan(want[i])))
            fail_msg("%s, %d x %lld -> %lld, epilogue %d, %d threads, %s: y[%lld][%lld] is %.9g "
                     "with tiles, %.9g without",
                     fmt_info(t->fmt)->name, t->n_row, (long long)t->n_in, (long long)t->n_out,
                     (int)t->epilogue, t->threads, t->pack ? "packed" : "rows",
                     (long long)(i / t->n_out), (long long)(i % t->n_out), (double)got[i],
                     (double)want[i]);
}

static void check_trial(const struct trial *t, uint64_t seed)
{
    struct op_case c = trial_case(t, seed);
    float *want = trial_run(&c, t, "avx2"), *got = trial_run(&c, t, "amx");
    expect_same(t, got, want);
    free(want);
    free(got);
    case_free(&c);
}

/* 1 to 70 rows, which end in every place of a unit, and 512, in several chunks. */
static void every_number_of_rows_has_the_same_bits(void **state)
{
    (void)state;
    const int step = getenv("AMX_ALL") ? 1 : ROWS_STEP;
    int n = 0;
    for (int f = 0, nth = 0; f < FMT_COUNT; f++) {
        if (!mm_x_block((enum fmt)f))
            continue;
        nth++;
        struct trial t = {.fmt = (enum fmt)f, .n_in = 512, .n_out = 48, .tile_rows = 1};
        for (t.n_row = 1; t.n_row <= 71; t.n_row++) {
            if (t.n_row % step != nth % step)
                continue;
            n++;
            t.threads = 1 + t.n_row % 3;
            t.pack = t.n_row / step % 2;
            if (t.n_row == 71)
                t.n_row = 512;
            check_trial(&t, (uint64_t)t.n_row);
        }
    }
    print_message("%d calls\n", n);
    assert_true(n >= 17 * 71 / step - 17);
}

/* Random shapes: columns that fill no pair of strips, blocks that fill no group of eight, gated
 * epilogues, chunks. */
static void random_calls_have_the_same_bits(void **state)
{
    (void)state;
    static const enum matmul_epilogue epilogues[] = {EPI_STORE, EPI_ADD, EPI_SWIGLU, EPI_GEGLU};
    enum fmt fmts[FMT_COUNT];
    int n_fmt = 0;
    for (int f = 0; f < FMT_COUNT; f++)
        if (mm_x_block((enum fmt)f))
            fmts[n_fmt++] = (enum fmt)f;
    const uint64_t calls = RANDOM_CALLS * (getenv("AMX_ALL") ? ALL_MORE : 1);
    for (uint64_t i = 0; i < calls; i++) {
        uint32_t r[6];
        for (uint64_t k = 0; k < 6; k++)
            r[k] = (uint32_t)(rng_u64(rng_key(2026, i, k), 0) >> 32);
        struct trial t = {.fmt = fmts[i % (uint64_t)n_fmt],
                          .n_row = 1 + (int)(r[0] % (i % 8 ? 100 : 400)),
                          .n_out = 1 + r[2] % 150,
                          .epilogue = epilogues[r[3] % 4],
                          .threads = 1 + (int)(r[4] % 4),
                          .tile_rows = 1,
                          .pack = r[5] & 1};
        const int64_t block = fmt_info(t.fmt)->block_elems;
        t.n_in = block * (1 + r[1] % (i % 16 ? 20 : 140));
        check_trial(&t, i);
    }
}

/* A fault in x shows in its own row and in no other. */
static void a_nan_stays_in_its_row(void **state)
{
    (void)state;
    const struct trial t = {FMT_Q4_K, 40, 512, 64, EPI_STORE, 1, 1, true};
    struct op_case c = trial_case(&t, 0);
    float *const x = c.buf[0].host, *clean = trial_run(&c, &t, "amx");
    x[17 * 512 + 300] = (float)NAN;
    float *got = trial_run(&c, &t, "amx");
    for (int64_t i = 0; i < 40 * 64; i++)
        if (i / 64 == 17)
            assert_true(isnan(got[i]));
        else
            assert_memory_equal(&got[i], &clean[i], sizeof *got);
    free(clean);
    free(got);
    case_free(&c);
}

static void the_system_may_refuse(void **state)
{
    (void)state;
    struct err e = {0};
    struct ops *ops = NULL;
    const int asked = amx_stub_asked;
    amx_stub_refuses = EPERM;
    fails(ops_open("cpu", &(struct ops_options){.isa = "amx"}, &ops, &e), ERR_NODEV, "refuses AMX");
    assert_null(ops);
    assert_int_equal(amx_stub_asked, asked + 1);
    ok(ops_open("cpu", &(struct ops_options){.isa = "auto"}, &ops, &e));
    assert_string_equal(ops->isa, "avx512vnni");
    assert_non_null(strstr(ops->dev->name, "AVX-512 VNNI (AMX refused by the system)"));
    assert_int_equal(amx_stub_asked, asked + 2);
    ops_close(ops);
    /* another set asks the system for nothing */
    ok(ops_open("cpu", &(struct ops_options){.isa = "avx512vnni"}, &ops, &e));
    assert_null(strstr(ops->dev->name, "AMX"));
    assert_int_equal(amx_stub_asked, asked + 2);
    ops_close(ops);
    amx_stub_refuses = 0;
    ok(ops_open("cpu", NULL, &ops, &e));
    assert_string_equal(ops->isa, "amx");
    assert_non_null(strstr(ops->dev->name, "AMX int8"));
    ops_close(ops);
}

/* A number counts only if tiles are faster from it on without a gap. */
static void the_measured_number_of_rows_has_no_gap(void **state)
{
    (void)state;
    static const int rows[4] = {8, 16, 24, 32};
    double all[4][2] = {{2, 1}, {2, 1}, {2, 1}, {2, 1}},
           gap[4][2] = {{2, 1}, {2, 1}, {1, 2}, {2, 1}},
           last[4][2] = {{2, 1}, {2, 1}, {2, 1}, {1, 1}};
    assert_int_equal(tile_rows_least(rows, all, 4), 8);
    assert_int_equal(tile_rows_least(rows, gap, 4), 32);
    assert_int_equal(tile_rows_least(rows, last, 4), 0); /* as fast is not faster */
}

#if defined(AMX_TRAP)
static long instructions(const struct trial *t)
{
    struct op_case c = trial_case(t, 0);
    const long before = tile_trap_count();
    free(trial_run(&c, t, "amx"));
    case_free(&c);
    assert_int_equal(tile_trap_configured(), 0); /* tiles are given back */
    return tile_trap_count() - before;
}

static void tiles_multiply_from_their_number_of_rows_on(void **state)
{
    (void)state;
    for (int f = 0; f < FMT_COUNT; f++) {
        struct trial t = {(enum fmt)f, 0, 256, 32, EPI_STORE, 2, 0, true};
        const int least = mm_x_block((enum fmt)f) == 32 ? 32 : 16;
        t.n_row = least - 1;
        assert_int_equal(instructions(&t), 0);
        t.n_row = least;
        assert_int_equal(instructions(&t) > 0, mm_x_block((enum fmt)f) > 0);
        t.n_row = 64; /* one strip has no second one */
        t.n_out = 16;
        assert_int_equal(instructions(&t), 0);
    }
}

/* The instructions of a call, counted: that no step does more than body_tiles.h says. */
static void a_step_takes_sixteen_products(void **state)
{
    (void)state;
    const struct trial two = {FMT_Q4_K, 32, 256, 32, EPI_STORE, 1, 1, true},
                       more = {FMT_Q4_K, 32, 512, 32, EPI_STORE, 1, 1, true},
                       flat = {FMT_Q3_K, 32, 256, 32, EPI_STORE, 1, 1, true},
                       mins = {FMT_Q2_K, 32, 256, 32, EPI_STORE, 1, 1, true},
                       small = {FMT_Q8_0, 32, 256, 32, EPI_STORE, 1, 1, true};
    const long step = 16 + 16 + 4 + 4, ends = 4 + 2;       /* four stores, configuration, release */
    assert_int_equal(instructions(&two), 2 * step + ends); /* a step for each strip */
    assert_int_equal(instructions(&more), 4 * step + ends);
    assert_int_equal(instructions(&flat), step + ends);          /* one for both */
    assert_int_equal(instructions(&mins), step + 2 * 16 + ends); /* minimums: twice */
    assert_int_equal(instructions(&small), 8 * (4 + 4 + 4 + 4) + 2);
}
#endif

int main(void)
{
    if (!cpu_isa_has(CPU_AVX512VNNI)) {
        printf("skipped: this machine has no avx512vnni, which the kernels for AMX need\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_number_of_rows_has_the_same_bits),
        cmocka_unit_test(random_calls_have_the_same_bits),
        cmocka_unit_test(a_nan_stays_in_its_row),
        cmocka_unit_test(the_system_may_refuse),
        cmocka_unit_test(the_measured_number_of_rows_has_no_gap),
#if defined(AMX_TRAP)
        cmocka_unit_test(tiles_multiply_from_their_number_of_rows_on),
        cmocka_unit_test(a_step_takes_sixteen_products),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
