/* The importance matrix in both forms of llama-imatrix, and files that only look like one. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "imatrix.h"
#include "test.h"

enum { ENTRIES = 35, COLS = 64, LAYERS = 5 };

#define GGUF_FORM TEST_GOLDEN "/imatrix_stories260K.gguf"
#define LEGACY_FORM TEST_GOLDEN "/imatrix_stories260K.dat"

/* Writes n bytes to a file of the test's folder. */
static const char *file_of(const void *bytes, size_t n)
{
    static char path[64];
    snprintf(path, sizeof path, "/tmp/t_imatrix_%d", (int)getpid());
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    return path;
}

static void refused(const void *bytes, size_t n, const char *word)
{
    struct imatrix *im = NULL;
    struct err e;
    const char *path = file_of(bytes, n);
    fails(imatrix_open(path, &im, &e), ERR_DATA, word);
    assert_null(im);
    unlink(path);
}

static void both_forms_give_the_same_importances(void **state)
{
    (void)state;
    struct imatrix *a = NULL, *b = NULL;
    struct err e;
    ok(imatrix_open(GGUF_FORM, &a, &e));
    ok(imatrix_open(LEGACY_FORM, &b, &e));
    assert_int_equal(imatrix_entries(a), ENTRIES);
    assert_int_equal(imatrix_entries(b), ENTRIES);
    assert_string_equal(imatrix_dataset(a), "s4.txt");
    assert_string_equal(imatrix_dataset(b), "s4.txt");
    assert_true(imatrix_chunks(a) > 0 && imatrix_chunks(a) == imatrix_chunks(b));
    for (int l = 0; l < LAYERS; l++) {
        const float *x, *y;
        char name[64];
        double sum = 0, low = 1;
        snprintf(name, sizeof name, "blk.%d.attn_q.weight", l);
        ok(imatrix_find(a, name, COLS, &x, &e));
        ok(imatrix_find(b, name, COLS, &y, &e));
        assert_true(x && y);
        for (int i = 0; i < COLS; i++) {
            assert_true(fabsf(x[i] - y[i]) <= 1e-5f * x[i]);
            sum += (double)x[i];
            low = x[i] < low ? (double)x[i] : low;
        }
        assert_true(fabs(sum / COLS - 1) < 1e-4 && low < 0.7);
    }
    imatrix_close(a);
    imatrix_close(b);
}

static void an_absent_entry_and_a_foreign_one(void **state)
{
    (void)state;
    struct imatrix *im = NULL;
    struct err e;
    const float *w;
    ok(imatrix_open(GGUF_FORM, &im, &e));
    ok(imatrix_find(im, "token_embd.weight", COLS, &w, &e));
    assert_null(w);
    fails(imatrix_find(im, "blk.0.attn_q.weight", 96, &w, &e), ERR_DATA,
          "has 64 columns, but the tensor has 96");
    imatrix_close(im);
}

/* A legacy file of one entry of two columns, for editing. */
static size_t legacy(unsigned char *out, int32_t n, int32_t passes, float x, float y)
{
    static const char name[] = "blk.0.attn_q.weight";
    const int32_t len = sizeof name - 1, cols = 2, tail[] = {7, 1};
    size_t at = 0;
    const struct {
        const void *p;
        size_t n;
    } part[] = {{&n, 4}, {&len, 4}, {name, (size_t)len}, {&passes, 4}, {&cols, 4},
                {&x, 4}, {&y, 4},   {tail, 8},           {"t", 1}};
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        memcpy(out + at, part[i].p, part[i].n);
        at += part[i].n;
    }
    return at;
}

static void a_broken_file_is_named(void **state)
{
    (void)state;
    unsigned char b[256];
    size_t n = legacy(b, 1, 4, 1, 3);
    struct imatrix *im = NULL;
    struct err e;
    const float *w;
    ok(imatrix_open(file_of(b, n), &im, &e));
    ok(imatrix_find(im, "blk.0.attn_q.weight", 2, &w, &e));
    assert_true(w[0] == 0.5f && w[1] == 1.5f);
    assert_int_equal(imatrix_chunks(im), 7);
    imatrix_close(im);
    refused(b, legacy(b, 1, 4, -1, 3), "column 0 has -1; must be 0 or more");
    refused(b, legacy(b, 1, 4, 1, NAN), "column 1 has nan");
    refused(b, legacy(b, 1, 4, INFINITY, 1), "column 0 has inf");
    refused(b, legacy(b, 1, -4, 1, 1), "number of passes at byte 27 is -4");
    refused(b, legacy(b, 0, 4, 1, 1), "number of entries at byte 0 is 0");
    refused(b, legacy(b, 2, 4, 1, 1), "name");
    refused("no matrix at all", 16, "importance matrix by llama-imatrix");
    refused("", 0, "the number of entries at byte 0 needs 4 bytes, but 0 are left");
    fails(imatrix_open("/nowhere/imatrix.dat", &im, &e), ERR_NOINPUT, "/nowhere/imatrix.dat");
    fails(imatrix_open(TEST_GOLDEN "/stories260K-Q4_1.gguf", &im, &e), ERR_DATA, "without tensors");
}

static void zeros_and_unused_columns_still_count(void **state)
{
    (void)state;
    unsigned char b[256];
    struct imatrix *im = NULL;
    struct err e;
    const float *w;
    ok(imatrix_open(file_of(b, legacy(b, 1, 4, 0, 0)), &im, &e));
    ok(imatrix_find(im, "blk.0.attn_q.weight", 2, &w, &e));
    assert_true(w[0] == 1 && w[1] == 1);
    imatrix_close(im);
    ok(imatrix_open(file_of(b, legacy(b, 1, 4, 0, 9)), &im, &e));
    ok(imatrix_find(im, "blk.0.attn_q.weight", 2, &w, &e));
    assert_true(w[0] == IMATRIX_LEAST && w[1] == 2);
    imatrix_close(im);
}

/* Cut at any byte the file is refused, or it is the form without a tail. */
static void a_cut_file_is_never_accepted_in_part(void **state)
{
    (void)state;
    static const char *const name[] = {LEGACY_FORM, GGUF_FORM};
    for (int k = 0; k < 2; k++) {
        size_t size;
        char *bytes = test_read(name[k], &size);
        for (size_t n = 0; n < size; n += n < 600 ? 1 : 97) {
            struct imatrix *im = NULL;
            struct err e;
            const int rc = imatrix_open(file_of(bytes, n), &im, &e);
            assert_true(rc < 0 || imatrix_entries(im) == ENTRIES);
            imatrix_close(im);
        }
        free(bytes);
    }
    unlink(file_of("", 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_forms_give_the_same_importances),
        cmocka_unit_test(an_absent_entry_and_a_foreign_one),
        cmocka_unit_test(a_broken_file_is_named),
        cmocka_unit_test(zeros_and_unused_columns_still_count),
        cmocka_unit_test(a_cut_file_is_never_accepted_in_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
