/*
 * matmul of the CUDA backend, beyond its cases:
 *   - every weight reaches its place in every kernel
 *   - no bit depends on the kernel or on other rows
 *   - NaN and infinity stay in their row
 *   - an impossible call is an error that says why
 */
#include <math.h>

#include "cushim_test.h"
#include "fmt_random.h"
#include "ops.h"
#include "rng.h"
#include "test.h"

static struct ops *ops;
static struct device *dev;
static const struct dev_api *api;

static int set_up(void **state)
{
    struct err e;
    (void)state;
    ok(ops_open("cudahost", NULL, &ops, &e));
    dev = ops->dev;
    api = dev->api;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    ops_close(ops);
    assert_int_equal(cushim_live(NULL), 0);
    assert_string_equal(cushim_findings(), "");
    return 0;
}

/* ---- one call: y = x W^T, W of random blocks ------------------------------------------------- */

struct call {
    enum fmt fmt;
    int n_row;
    int64_t n_in, n_out;
    float *x; /* (n_row, n_in) */
    char *w;  /* (n_out, row_bytes) */
    float *y; /* (n_row, n_out) */
    size_t row_bytes;
};

static void call_init(struct call *c, enum fmt fmt, int n_row, int64_t n_in, int64_t n_out)
{
    *c = (struct call){.fmt = fmt, .n_row = n_row, .n_in = n_in, .n_out = n_out};
    assert_true(fmt_row_bytes(fmt, n_in, &c->row_bytes));
    c->x = calloc((size_t)(n_row * n_in), sizeof *c->x);
    c->y = calloc((size_t)(n_row * n_out), sizeof *c->y);
    c->w = malloc((size_t)n_out * c->row_bytes);
    assert_true(c->x && c->y && c->w);
    fmt_random(fmt, 3, 0, n_out * (n_in / fmt_info(fmt)->block_elems), 1, c->w);
    for (int64_t i = 0; i < n_row * n_in; i++)
        c->x[i] = rng_uniform(5, (uint64_t)i) - 0.5f;
}

static void call_free(struct call *c)
{
    free(c->x);
    free(c->y);
    free(c->w);
}

static int variant(const char *name)
{
    for (int i = 0; i < ops->variants(ops, OP_matmul); i++)
        if (!strcmp(ops->variant_name(ops, OP_matmul, i), name))
            return i;
    fail_msg("no kernel named %s", name);
    return -1;
}

/* Computes rows first .. first + n_row - 1 of x into y, by the kernel of this name; NULL: the
 * default kernel. */
static void call_run(struct call *c, const char *name, int first, int n_row)
{
    struct err e;
    struct buf x = {0}, w = {0}, y = {0}, scratch = {0};
    const size_t x_bytes = (size_t)(n_row * c->n_in) * sizeof(float);
    const size_t y_bytes = (size_t)(n_row * c->n_out) * sizeof(float);
    const size_t w_bytes = (size_t)c->n_out * c->row_bytes;
    struct ops_limits limits = {.max_rows = n_row, .max_in = c->n_in, .max_out = c->n_out};
    limits.weights[c->fmt] = true;
    ok(api->alloc(dev, MEM_DEVICE, x_bytes, &x, &e));
    ok(api->alloc(dev, MEM_DEVICE, w_bytes, &w, &e));
    ok(api->alloc(dev, MEM_DEVICE, y_bytes, &y, &e));
    ok(api->alloc(dev, MEM_DEVICE, ops->scratch_bytes(ops, &limits), &scratch, &e));
    ok(api->copy(dev, NULL, x.ptr, c->x + first * c->n_in, x_bytes, &e));
    ok(api->copy(dev, NULL, w.ptr, c->w, w_bytes, &e));
    ops->bind_scratch(ops, scratch.ptr, scratch.bytes);
    ops->variant_force(ops, OP_matmul, name ? variant(name) : -1);
    const struct tensor t = {.fmt = c->fmt,
                             .n_dim = 2,
                             .dim = {c->n_out, c->n_in, 1, 1},
                             .row_bytes = c->row_bytes,
                             .data = w.ptr};
    const struct matmul_args a = {
        .x = x.ptr, .n_row = n_row, .n_in = c->n_in, .n_out = 1, .out = {{.w = &t, .y = y.ptr}}};
    ok(ops->matmul(ops, NULL, &a, &e));
    ok(api->copy(dev, NULL, c->y + first * c->n_out, y.ptr, y_bytes, &e));
    ok(api->sync(dev, NULL, &e));
    ops->variant_force(ops, OP_matmul, -1);
    ops->bind_scratch(ops, NULL, 0);
    api->free(dev, &x);
    api->free(dev, &w);
    api->free(dev, &y);
    api->free(dev, &scratch);
}

/* Its quants are multiplied; false: its numbers, read or decoded. */
static bool is_quantised(enum fmt fmt)
{
    return !fmt_is_plain(fmt) && ops->reads(ops, fmt);
}

/* The i-th tensor-core kernel for weights of this format, or NULL. */
static const char *on_tensor_cores(enum fmt fmt, int i)
{
    if (fmt == FMT_F32 || !ops->reads(ops, fmt) || (!is_quantised(fmt) && i > 0) || i > 2)
        return NULL;
    if (!is_quantised(fmt))
        return "float_mma";
    if (i == 2)
        return fmt == FMT_Q4_K || fmt == FMT_Q5_K || fmt == FMT_Q6_K ? "wgmma" : NULL;
    return i ? "mma_split" : "mma";
}

/* ---- tests ----------------------------------------------------------------------------------- */

/* A row of x that is 1 in one place picks a column of W. So each quant of each kernel's decoder is
 * compared with fmt_<x>_decode. With 3 rows of W, blocks have all their alignments. */
static void every_weight_is_decoded_as_by_the_format(void **state)
{
    (void)state;
    const int64_t n = 512;
    float *w = malloc((size_t)n * sizeof *w);
    assert_non_null(w);
    for (int f = 0; f < FMT_COUNT; f++)
        for (int k = -1; k < 0 || on_tensor_cores((enum fmt)f, k); k++) {
            const char *name = k < 0 ? "matvec" : on_tensor_cores((enum fmt)f, k);
            struct call c;
            call_init(&c, (enum fmt)f, (int)n, n, 3);
            memset(c.x, 0, (size_t)(n * n) * sizeof *c.x);
            for (int64_t i = 0; i < n; i++)
                c.x[i * n + i] = 1;
            call_run(&c, name, 0, c.n_row);
            for (int64_t j = 0; j < c.n_out; j++) {
                float most = 0;
                fmt_info(c.fmt)->decode(c.w + (size_t)j * c.row_bytes, w, n);
                for (int64_t i = 0; i < n; i++)
                    most = fmaxf(most, fabsf(w[i]));
                for (int64_t i = 0; i < n; i++)
                    if (!(fabsf(c.y[i * c.n_out + j] - w[i]) <= 1e-6f * most))
                        fail_msg("%s, %s: weight %lld of row %lld is %.9g, decoded %.9g",
                                 fmt_info(c.fmt)->name, name, (long long)i, (long long)j,
                                 (double)c.y[i * c.n_out + j], (double)w[i]);
            }
            call_free(&c);
        }
    free(w);
}

/* The bits of a row depend on the row only: not on the kernel, nor on other rows or their number.
 * The rows of W cross segments (2048) and leave tiles of every kernel partly filled. */
static void a_row_has_the_same_bits_in_any_kernel_and_company(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int first, n_row;
    } parts[] = {
        {"matvec", 0, 1},     {"matvec_rows", 1, 2}, {"matvec", 3, 3},  {"matvec", 6, 5},
        {"mma_split", 11, 9}, {"mma", 20, 17},       {"mma", 37, 33},   {"matvec_rows", 70, 1},
        {NULL, 0, 71},        {NULL, 3, 64},         {"matvec", 0, 71}, {"mma", 0, 71},
        {"mma_split", 0, 71}, {"wgmma", 0, 71},      {"wgmma", 9, 30},  {NULL, 5, 1}};
    for (int f = 0; f < FMT_COUNT; f++) {
        struct call c;
        call_init(&c, (enum fmt)f, 71, 4352, 37); /* two segments of 2048 and 256 more */
        const size_t bytes = (size_t)(c.n_row * c.n_out) * sizeof(float);
        float *want = malloc(bytes);
        assert_non_null(want);
        for (size_t p = 0; p < sizeof parts / sizeof *parts; p++) {
            const char *name = parts[p].name;
            if (!is_quantised(c.fmt)) /* F16 and BF16 have kernels of two families */
                name = on_tensor_cores(c.fmt, 0) ? on_tensor_cores(c.fmt, 0) : "matvec";
            else if (name && !strcmp(name, "wgmma") && !on_tensor_cores(c.fmt, 2))
                name = "mma";
            call_run(&c, parts[p].name ? name : NULL, parts[p].first, parts[p].n_row);
            if (p < 7)
                continue;
            if (p == 7)
                memcpy(want, c.y, bytes);
            if (memcmp(want, c.y, bytes) != 0)
                fail_msg("%s: other bits in %d rows at once (%s)", fmt_info(c.fmt)->name,
                         parts[p].n_row, name ? name : "the kernel chosen");
        }
        free(want);
        call_free(&c);
    }
}

static void what_is_not_finite_stays_in_its_row(void **state)
{
    (void)state;
    for (int f = 0; f < FMT_COUNT; f++)
        for (int k = -1; k < 0 || on_tensor_cores((enum fmt)f, k); k++) {
            struct call c;
            call_init(&c, (enum fmt)f, 11, 512, 5);
            const char *name = k < 0 ? "matvec" : on_tensor_cores(c.fmt, k);
            const size_t bytes = (size_t)(c.n_row * c.n_out) * sizeof(float);
            float *want = malloc(bytes);
            assert_non_null(want);
            call_run(&c, name, 0, c.n_row);
            memcpy(want, c.y, bytes);
            c.x[2 * c.n_in + 300] = NAN;
            c.x[9 * c.n_in + 7] = -INFINITY;
            call_run(&c, name, 0, c.n_row);
            for (int r = 0; r < c.n_row; r++)
                for (int64_t j = 0; j < c.n_out; j++) {
                    float got = c.y[r * c.n_out + j];
                    bool good = r == 2   ? isnan(got)
                                : r == 9 ? !isfinite(got)
                                         : got == want[r * c.n_out + j];
                    if (!good)
                        fail_msg("%s, %s: row %d is %g", fmt_info(c.fmt)->name, name, r,
                                 (double)got);
                }
            free(want);
            call_free(&c);
        }
}

/* Parts of a row of x may differ by many powers of two; each part keeps its accuracy. Row j of W
 * has weights in the j-th 512 elements only. x is about 2^(12 j - 30) there. */
static void each_part_of_x_keeps_its_accuracy(void **state)
{
    (void)state;
    enum { PARTS = 5, PART = 512 };
    static const enum fmt formats[] = {FMT_F16, FMT_BF16};
    for (int f = 0; f < 2; f++)
        for (int rows = 3; rows <= 40; rows += 37) { /* kernels for few rows and for many */
            struct call c;
            call_init(&c, formats[f], rows, PARTS * PART, PARTS);
            float *w = calloc(PARTS * PART, sizeof *w);
            assert_non_null(w);
            for (int64_t i = 0; i < rows * c.n_in; i++)
                c.x[i] = ldexpf(c.x[i], (int)(i % c.n_in / PART) * 12 - 30);
            for (int j = 0; j < PARTS; j++) {
                char *row = c.w + (size_t)j * c.row_bytes;
                memset(row, 0, (size_t)j * PART * 2);
                memset(row + (size_t)(j + 1) * PART * 2, 0, (size_t)(PARTS - 1 - j) * PART * 2);
            }
            call_run(&c, "float_mma", 0, rows);
            for (int j = 0; j < PARTS; j++) {
                fmt_info(c.fmt)->decode(c.w + (size_t)j * c.row_bytes, w, c.n_in);
                for (int r = 0; r < rows; r++) {
                    double want = 0, size = 0;
                    for (int64_t i = 0; i < c.n_in; i++) {
                        double p = (double)w[i] * (double)c.x[r * c.n_in + i];
                        want += p;
                        size += fabs(p);
                    }
                    double got = (double)c.y[r * PARTS + j];
                    if (!(fabs(got - want) <= 1e-6 * size))
                        fail_msg("%s, %d rows: part %d of row %d is %.9g, must be %.9g",
                                 fmt_info(c.fmt)->name, rows, j, r, got, want);
                }
            }
            free(w);
            call_free(&c);
        }
}

/* Rows of zeros, and rows too small to divide 127 by, give zeros. */
static void nothing_is_divided_by_zero(void **state)
{
    (void)state;
    for (int f = 0; f < FMT_COUNT; f++) {
        struct call c;
        call_init(&c, (enum fmt)f, 3, 512, 5);
        for (int64_t i = 0; i < c.n_in; i++) {
            c.x[i] = 0;
            c.x[c.n_in + i] = 1e-38f;
            c.x[2 * c.n_in + i] = 1e-31f;
        }
        call_run(&c, NULL, 0, c.n_row);
        for (int64_t i = 0; i < c.n_row * c.n_out; i++)
            assert_true(is_quantised(c.fmt) ? c.y[i] == 0 : fabsf(c.y[i]) < 1e-27f);
        call_free(&c);
    }
}

/* Three matrices of one format are one launch; y receives each result once. */
static void matrices_of_one_format_are_added_once(void **state)
{
    (void)state;
    struct err e;
    struct call c;
    struct buf x = {0}, w = {0}, y = {0}, scratch = {0};
    float got[3 * 2 * 37];
    const struct ops_limits limits = {.max_rows = 2, .max_in = 512, .max_out = 37};
    call_init(&c, FMT_Q8_0, 2, 512, 37);
    call_run(&c, NULL, 0, 2);
    ok(api->alloc(dev, MEM_DEVICE, 2 * 512 * sizeof(float), &x, &e));
    ok(api->alloc(dev, MEM_DEVICE, 37 * c.row_bytes, &w, &e));
    ok(api->alloc(dev, MEM_DEVICE, sizeof got, &y, &e));
    ok(api->alloc(dev, MEM_DEVICE, ops->scratch_bytes(ops, &limits), &scratch, &e));
    ok(api->copy(dev, NULL, x.ptr, c.x, 2 * 512 * sizeof(float), &e));
    ok(api->copy(dev, NULL, w.ptr, c.w, 37 * c.row_bytes, &e));
    ok(api->fill(dev, NULL, y.ptr, 0, sizeof got, &e));
    ops->bind_scratch(ops, scratch.ptr, scratch.bytes);
    const struct tensor t = {
        .fmt = c.fmt, .n_dim = 2, .dim = {37, 512, 1, 1}, .row_bytes = c.row_bytes, .data = w.ptr};
    struct matmul_args a = {.x = x.ptr, .n_row = 2, .n_in = 512, .epilogue = EPI_ADD, .n_out = 3};
    for (int i = 0; i < 3; i++)
        a.out[i] = (struct matmul_out){.w = &t, .y = (float *)y.ptr + i * 2 * 37};
    ok(ops->matmul(ops, NULL, &a, &e));
    ok(api->copy(dev, NULL, got, y.ptr, sizeof got, &e));
    ok(api->sync(dev, NULL, &e));
    for (int i = 0; i < 3; i++)
        assert_memory_equal(got + i * 2 * 37, c.y, 2 * 37 * sizeof(float));
    ops->bind_scratch(ops, NULL, 0);
    api->free(dev, &x);
    api->free(dev, &w);
    api->free(dev, &y);
    api->free(dev, &scratch);
    call_free(&c);
}

static void what_no_kernel_can_read_is_said(void **state)
{
    (void)state;
    struct err e;
    struct buf b = {0};
    ok(api->alloc(dev, MEM_DEVICE, 4096, &b, &e));
    struct tensor t = {
        .fmt = FMT_Q4_K, .n_dim = 2, .dim = {2, 256, 1, 1}, .row_bytes = 152, .data = b.ptr};
    struct matmul_args a = {
        .x = b.ptr, .n_row = 1, .n_in = 256, .n_out = 1, .out = {{.w = &t, .y = b.ptr}}};
    fails(ops->matmul(ops, NULL, &a, &e), ERR_BUG, "rows 152 bytes apart");
    t.row_bytes = 144;
    t.data = (char *)b.ptr + 8;
    fails(ops->matmul(ops, NULL, &a, &e), ERR_BUG, "must be multiples of 16");
    t.data = b.ptr;
    a.x = (const float *)b.ptr + 1;
    fails(ops->matmul(ops, NULL, &a, &e), ERR_BUG, "matmul: x at");
    a.x = b.ptr;
    a.norm = (struct matmul_norm){(const float *)b.ptr + 2, 1e-5f};
    fails(ops->matmul(ops, NULL, &a, &e), ERR_BUG, "matmul: norm.w at");
    a.norm.w = NULL;
    fails(ops->matmul(ops, NULL, &a, &e), ERR_BUG,
          "matmul: needs 288 bytes of scratch, 0 are bound");
    struct tensor other = t; /* reads x in blocks of 32: both forms of x are needed */
    other.fmt = FMT_Q8_0;
    other.row_bytes = 272;
    a.out[1] = (struct matmul_out){.w = &other, .y = b.ptr};
    a.n_out = 2;
    ops->bind_scratch(ops, b.ptr, 288);
    fails(ops->matmul(ops, NULL, &a, &e), ERR_BUG,
          "matmul: needs 576 bytes of scratch, 288 are bound");
    other.fmt = FMT_F16; /* needs x in f32, with a norm of its own after that of the other */
    other.row_bytes = 512;
    a.norm.w = b.ptr;
    fails(ops->matmul(ops, NULL, &a, &e), ERR_BUG,
          "matmul: needs 1536 bytes of scratch, 288 are bound");
    ops->bind_scratch(ops, NULL, 0);
    api->free(dev, &b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_weight_is_decoded_as_by_the_format, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_row_has_the_same_bits_in_any_kernel_and_company, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_is_not_finite_stays_in_its_row, set_up, tear_down),
        cmocka_unit_test_setup_teardown(each_part_of_x_keeps_its_accuracy, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_is_divided_by_zero, set_up, tear_down),
        cmocka_unit_test_setup_teardown(matrices_of_one_format_are_added_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_no_kernel_can_read_is_said, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
