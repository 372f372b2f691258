/* The order of packed weights: nothing is lost, and each word has the place that lanes.h gives. */
#include "lanes.h"

#include "fmt_random.h"
#include "ops.h"
#include "sha256.h"
#include "test.h"

/* the last block has no second one; the last strip has few rows */
enum { ROWS = 16 * 3 + 5, BLOCKS = 3 };

struct matrix {
    struct lanes l;
    int64_t n;
    size_t row_bytes;
    char *data;
};

static struct matrix matrix_make(enum fmt f)
{
    struct matrix m = {0};
    assert_true(lanes_of(f, &m.l));
    assert_int_equal(m.l.elems, fmt_info(f)->block_elems);
    assert_int_equal(m.l.bytes, fmt_info(f)->block_bytes);
    m.n = BLOCKS * m.l.elems;
    m.row_bytes = BLOCKS * m.l.bytes;
    m.data = malloc(ROWS * m.row_bytes);
    assert_non_null(m.data);
    fmt_random(f, 7, 0, ROWS * BLOCKS, 1, m.data);
    return m;
}

static void pack_strip(const struct matrix *m, int strip, char *out)
{
    const char *row[LANES];
    for (int j = 0; j < LANES; j++)
        row[j] = m->data + (size_t)(LANES * strip + j) * m->row_bytes;
    lanes_pack(&m->l, row, m->n, out);
}

static void each_block_comes_back(void **state)
{
    (void)state;
    int formats = 0;
    for (int f = 0; f < FMT_COUNT; f++) {
        struct lanes l;
        if (!lanes_of((enum fmt)f, &l))
            continue;
        struct matrix m = matrix_make((enum fmt)f);
        char *strip = malloc(LANES * m.row_bytes), block[256];
        assert_non_null(strip);
        for (int s = 0; s < ROWS / LANES; s++) {
            pack_strip(&m, s, strip); /* AddressSanitizer reports a write after its end */
            for (int j = 0; j < LANES; j++)
                for (int b = 0; b < BLOCKS; b++) {
                    lanes_block(&m.l, strip, j, m.n, b, block);
                    assert_memory_equal(block,
                                        m.data + (size_t)(LANES * s + j) * m.row_bytes +
                                            (size_t)b * m.l.bytes,
                                        m.l.bytes);
                }
        }
        free(strip);
        free(m.data);
        formats++;
    }
    assert_int_equal(formats, 17); /* all that have blocks */
}

static void words_stand_side_by_side(void **state)
{
    (void)state;
    struct matrix m = matrix_make(FMT_Q6_K);
    char *strip = malloc(LANES * m.row_bytes);
    assert_non_null(strip);
    pack_strip(&m, 1, strip);
    const char *row = m.data + 19 * m.row_bytes;                /* lane 3 */
    assert_memory_equal(strip + 4 * 3, row + 192, 4);           /* scales first */
    assert_memory_equal(strip + 64 * 4 + 4 * 3, row + 128, 4);  /* then high */
    assert_memory_equal(strip + 64 * 5 + 4 * 3, row, 4);        /* and low, the half's first 32 */
    assert_memory_equal(strip + 64 * 6 + 4 * 3, row + 32, 4);   /* its second 32 */
    assert_memory_equal(strip + 64 * 51 + 4 * 3, row + 124, 4); /* the last word of low */
    /* d of block 0 */
    assert_memory_equal(strip + 2 * 64 * 52 + 2 * 3, row + 208, 2);
    /* of block 1 */
    assert_memory_equal(strip + 2 * 64 * 52 + 32 + 2 * 3, row + 210 + 208, 2);
    /* of the last, alone */
    assert_memory_equal(strip + 3 * 64 * 52 + 64 + 2 * 3, row + 2 * 210 + 208, 2);
    free(strip);
    free(m.data);
}

/* Files of packed weights are kept from one version of the program to the next. If this hash
 * changes, LANES_ORDER takes another name. */
static void the_order_has_the_name_of_its_bytes(void **state)
{
    (void)state;
    struct err e;
    struct sha256 *h;
    char hex[65];
    ok(sha256_open(&h, &e));
    for (int f = 0; f < FMT_COUNT; f++) {
        struct lanes l;
        if (!lanes_of((enum fmt)f, &l))
            continue;
        struct matrix m = matrix_make((enum fmt)f);
        char *strip = malloc(LANES * m.row_bytes);
        assert_non_null(strip);
        pack_strip(&m, 0, strip);
        ok(sha256_add(h, strip, LANES * m.row_bytes, &e));
        free(strip);
        free(m.data);
    }
    ok(sha256_finish(h, hex, &e));
    sha256_close(h);
    assert_string_equal(LANES_ORDER, "lanes16-1");
    assert_string_equal(hex, "01a69443bc9e05154b4e2bff645957714bc109b5b0300ebdc0c394e828adc6a7");
}

struct source {
    const char *data;
    size_t row_bytes;
    int64_t rows;
};

static int read_rows(void *user, int64_t row, int64_t n, void *dst, struct err *e)
{
    const struct source *s = user;
    if (row + n > s->rows)
        FAIL(e, ERR_IO, "rows %d .. %d are not there", (int)row, (int)(row + n));
    memcpy(dst, s->data + (size_t)row * s->row_bytes, (size_t)n * s->row_bytes);
    return 0;
}

static void backends_pack_alike(void **state)
{
    (void)state;
    struct err e;
    struct ops *ops = NULL;
    ok(ops_open("cpu", NULL, &ops, &e));
    for (int f = 0; f < FMT_COUNT; f++) {
        struct lanes l;
        if (!lanes_of((enum fmt)f, &l))
            continue;
        struct matrix m = matrix_make((enum fmt)f);
        struct tensor w = {
            .fmt = (enum fmt)f, .n_dim = 2, .dim = {ROWS, m.n, 1, 1}, .row_bytes = m.row_bytes};
        char *want = malloc(LANES * m.row_bytes), *was = malloc(ROWS * m.row_bytes);
        assert_true(want && was);
        memcpy(was, m.data, ROWS * m.row_bytes);
        pack_strip(&m, 2, want);
        w.data = m.data;
        if (ops->packs(ops, &w)) {
            fails(ops->pack(ops, &w, 8, 16, NULL, NULL, &e), ERR_BUG,
                  "must begin on a multiple of 16");
            fails(ops->pack(ops, &w, 48, 6, NULL, NULL, &e), ERR_BUG, "rows 48 .. 54 of 53");
            ok(ops->pack(ops, &w, 32, ROWS - 32, NULL, NULL, &e));
            assert_memory_equal(m.data, was, 32 * m.row_bytes);
            assert_memory_equal(m.data + 32 * m.row_bytes, want, LANES * m.row_bytes);
            assert_memory_equal(m.data + 48 * m.row_bytes, was + 48 * m.row_bytes, 5 * m.row_bytes);
            struct source from = {was, m.row_bytes, ROWS};
            memset(m.data, 0, ROWS * m.row_bytes); /* once more, read on the way */
            ok(ops->pack(ops, &w, 0, 32, read_rows, &from, &e));
            ok(ops->pack(ops, &w, 32, ROWS - 32, read_rows, &from, &e));
            assert_memory_equal(m.data + 32 * m.row_bytes, want, LANES * m.row_bytes);
            assert_memory_equal(m.data + 48 * m.row_bytes, was + 48 * m.row_bytes, 5 * m.row_bytes);
            from.rows = 20;
            fails(ops->pack(ops, &w, 0, 48, read_rows, &from, &e), ERR_IO,
                  "rows 16 .. 32 are not there");
            w.lanes = true;
            fails(ops->pack(ops, &w, 0, 16, NULL, NULL, &e), ERR_BUG, "has no other order");
        }
        free(want);
        free(was);
        free(m.data);
    }
    const struct tensor few = {.fmt = FMT_Q8_0, .n_dim = 2, .dim = {15, 32, 1, 1}, .row_bytes = 34};
    const struct tensor plain = {
        .fmt = FMT_F16, .n_dim = 2, .dim = {64, 32, 1, 1}, .row_bytes = 64};
    assert_false(ops->packs(ops, &few) || ops->packs(ops, &plain));
    ops_close(ops);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_block_comes_back),
        cmocka_unit_test(words_stand_side_by_side),
        cmocka_unit_test(the_order_has_the_name_of_its_bytes),
        cmocka_unit_test(backends_pack_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
