/* The GGUF reader: one bad file for each rule of the format, every prefix of a file, the views. */
#include "gguf.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "gguf_make.h"
#include "mem.h"
#include "names.h"
#include "rng.h"
#include "test.h"

/* Opens the file that m describes. */
static int open_made(const struct gguf_make *m, struct gguf **g, unsigned char **bytes,
                     struct err *e)
{
    size_t n;
    *bytes = make_file(m, &n);
    return gguf_open_memory(*bytes, n, "made.gguf", g, e);
}

/* Checks that the file is refused with ERR_DATA. The message must have the file's name and all
 * texts (NULL ends). */
static void refused(struct gguf_make *m, const char *const *texts)
{
    struct err e;
    struct gguf *g = NULL;
    unsigned char *bytes;
    int rc = open_made(m, &g, &bytes, &e);
    if (rc == 0)
        gguf_close(g);
    free(bytes);
    make_free(m);
    if (rc != ERR_DATA)
        fail_msg("%s: returned %d", texts[0], rc);
    if (!strstr(e.msg, "made.gguf"))
        fail_msg("no file name in \"%s\"", e.msg);
    for (; *texts; texts++)
        if (!strstr(e.msg, *texts))
            fail_msg("no \"%s\" in \"%s\"", *texts, e.msg);
}
#define refused(m, ...) refused((m), (const char *const[]){__VA_ARGS__, NULL})

static void tiny_files_of_both_versions_open(void **state)
{
    (void)state;
    for (uint32_t v = 2; v <= 3; v++) {
        struct gguf_make m;
        struct gguf *g;
        unsigned char *bytes;
        struct err e;
        make_tiny(&m, v);
        ok(open_made(&m, &g, &bytes, &e));
        assert_int_equal(gguf_version(g), v);
        assert_int_equal(gguf_n_kv(g), m.n_kv);
        assert_int_equal(gguf_n_tensors(g), 3);
        assert_string_equal(gguf_path(g), "made.gguf");
        const struct gguf_tensor *t = gguf_tensor_find(g, "up");
        assert_non_null(t);
        assert_int_equal(t->t.n_dim, 2);
        assert_int_equal(t->t.dim[0], 3); /* slowest first */
        assert_int_equal(t->t.dim[1], 64);
        assert_int_equal(t->t.dim[2], 1);
        assert_int_equal(t->t.row_bytes, 68);
        assert_int_equal(t->bytes, 204);
        assert_int_equal(t->t.fmt, FMT_Q8_0);
        assert_int_equal(t->at % 32, 0);
        assert_ptr_equal(t->t.data, bytes + t->at);
        assert_int_equal(((unsigned char *)t->t.data)[1], 2);
        assert_null(gguf_tensor_find(g, "u"));
        assert_null(gguf_find(g, "t.none"));
        uint64_t at;
        assert_true(gguf_offset(g, t->t.data, &at));
        assert_int_equal(at, t->at);
        assert_false(gguf_offset(g, &at, &at));
        ok(gguf_check_unchanged(g, &e));
        ok(gguf_populate(g, 0, gguf_file_bytes(g), &e));
        unsigned char two[2];
        ok(gguf_read(g, t->at, two, 2, &e));
        assert_int_equal(two[1], 2);
        fails(gguf_read(g, gguf_file_bytes(g), two, 1, &e), ERR_BUG, "asked for");
        fails(gguf_populate(g, 1, UINT64_MAX, &e), ERR_BUG, "asked for");
        ok(gguf_ahead(g, 0, gguf_file_bytes(g), &e));
        fails(gguf_ahead(g, 1, UINT64_MAX, &e), ERR_BUG, "asked for");
        gguf_close(g);
        free(bytes);
        make_free(&m);
    }
    gguf_close(NULL);
}

static void getters_check_type_and_range(void **state)
{
    (void)state;
    struct gguf_make m;
    struct gguf *g;
    unsigned char *bytes;
    struct err e;
    int64_t i = 77;
    float f = 7;
    bool b = false;
    struct gguf_str s;
    const struct gguf_kv *kv;
    make_tiny(&m, 3);
    ok(open_made(&m, &g, &bytes, &e));
    ok(gguf_get_int(g, "t.u8", 0, 255, &i, &e));
    assert_int_equal(i, 255);
    ok(gguf_get_int(g, "t.i8", -1, -1, &i, &e));
    assert_int_equal(i, -1);
    ok(gguf_get_int(g, "t.i64", -5, 0, &i, &e));
    assert_int_equal(i, -5);
    i = 77;
    fails(gguf_get_int(g, "t.u8", 0, 254, &i, &e), ERR_DATA, "is 255, must be 0 to 254");
    fails(gguf_get_int(g, "t.u64", 0, INT64_MAX, &i, &e), ERR_DATA, "above 9223372036854775807");
    fails(gguf_get_int(g, "t.none", 0, 9, &i, &e), ERR_DATA, "made.gguf: key 't.none' is missing");
    fails(gguf_get_int(g, "t.f32", 0, 9, &i, &e), ERR_DATA, "is f32, must be an integer");
    fails(gguf_get_int_or(g, "t.i8", 0, 9, 3, &i, &e), ERR_DATA, "is -1");
    assert_int_equal(i, 77);
    ok(gguf_get_int_or(g, "t.none", 0, 9, 3, &i, &e));
    assert_int_equal(i, 3);
    ok(gguf_get_f32_or(g, "t.f64", 0, 1, 0, &f, &e));
    assert_true(f == 1e-5f);
    ok(gguf_get_f32_or(g, "t.f32", 0, 1, 0, &f, &e));
    assert_true(f == 0.5f);
    fails(gguf_get_f32_or(g, "t.f32", 0.6, 1, 0, &f, &e), ERR_DATA, "is 0.5, must be 0.6 to 1");
    fails(gguf_get_f32_or(g, "t.u8", 0, 1, 0, &f, &e), ERR_DATA, "is u8, must be f32 or f64");
    ok(gguf_get_f32_or(g, "t.none", 0, 1, 2, &f, &e));
    assert_true(f == 2);
    ok(gguf_get_bool_or(g, "t.bool", false, &b, &e));
    assert_true(b);
    ok(gguf_get_bool_or(g, "t.none", false, &b, &e));
    assert_false(b);
    fails(gguf_get_bool_or(g, "t.u8", false, &b, &e), ERR_DATA, "must be bool");
    ok(gguf_get_str(g, "general.architecture", &s, &e));
    assert_int_equal(s.len, 5);
    assert_memory_equal(s.s, "llama", 5);
    fails(gguf_get_str(g, "t.u8", &s, &e), ERR_DATA, "must be a string");
    fails(gguf_get_str(g, "t.none", &s, &e), ERR_DATA, "missing");
    ok(gguf_get_array(g, "t.words", GGUF_STRING, &kv, &e));
    assert_int_equal(kv->count, 2);
    assert_int_equal(kv->strings[0].len, 3);
    assert_memory_equal(kv->strings[0].s, "a\0b", 3);
    assert_int_equal(kv->strings[1].len, 0);
    ok(gguf_get_array(g, "t.ids", GGUF_I32, &kv, &e));
    int32_t ids[3];
    memcpy(ids, kv->raw, sizeof ids);
    assert_int_equal(ids[1], -2);
    fails(gguf_get_array(g, "t.ids", GGUF_F32, &kv, &e), ERR_DATA,
          "is an array of i32, must be an array of f32");
    fails(gguf_get_array(g, "t.none", GGUF_F32, &kv, &e), ERR_DATA, "missing");
    fails(gguf_get_array(g, "t.u8", GGUF_U8, &kv, &e), ERR_DATA, "is u8, must be an array of u8");
    assert_string_equal(gguf_type_name(GGUF_I16), "i16");
    assert_string_equal(gguf_type_name((enum gguf_type)99), "unknown");
    assert_int_equal(gguf_type_bytes((enum gguf_type)99), 0);
    assert_int_equal(gguf_type_bytes(GGUF_F64), 8);
    gguf_close(g);
    free(bytes);
    make_free(&m);
}

static void one_number_or_one_a_layer(void **state)
{
    (void)state;
    struct gguf_make m;
    struct gguf *g;
    unsigned char *bytes;
    struct err e;
    int64_t v;
    double d;
    static const int32_t same[3] = {4, 4, 4}, other[3] = {4, 4, 5}, high[3] = {4, 4, 99};
    make_init(&m);
    make_kv_u32(&m, "one", 4);
    make_kv_array(&m, "same", GGUF_I32, 3, same, sizeof same);
    make_kv_array(&m, "other", GGUF_I32, 3, other, sizeof other);
    make_kv_array(&m, "high", GGUF_U32, 3, high, sizeof high);
    make_kv_array(&m, "bools", GGUF_BOOL, 3, "\1\0\1", 3);
    ok(open_made(&m, &g, &bytes, &e));
    ok(gguf_get_int_each(g, "one", 3, 1, 8, &v, &e));
    assert_int_equal(v, 4);
    v = 0;
    ok(gguf_get_int_each(g, "same", 3, 1, 8, &v, &e));
    assert_int_equal(v, 4);
    fails(gguf_get_int_each(g, "same", 2, 1, 8, &v, &e), ERR_DATA,
          "has 3 elements, must have 2 or be one number");
    fails(gguf_get_int_each(g, "same", 0, 1, 8, &v, &e), ERR_DATA, "has 3 elements");
    fails(gguf_get_int_each(g, "other", 3, 1, 8, &v, &e), ERR_DATA,
          "key 'other' at byte 112 differs between layers, which is not supported: layer 2 has 5, "
          "layer 0 4");
    fails(gguf_get_int_each(g, "high", 3, 1, 8, &v, &e), ERR_DATA, "is 99, must be 1 to 8");
    fails(gguf_get_int_each(g, "bools", 3, 0, 1, &v, &e), ERR_DATA,
          "is an array of bool, must be an integer");
    fails(gguf_get_int_each(g, "none", 3, 0, 1, &v, &e), ERR_DATA, "key 'none' is missing");
    fails(gguf_get_int(g, "same", 1, 8, &v, &e), ERR_DATA,
          "is an array of i32, must be an integer");
    assert_true(gguf_number(gguf_find(g, "other"), 2, &d) && d == 5);
    assert_true(gguf_number(gguf_find(g, "bools"), 1, &d) && d == 0);
    gguf_close(g);
    free(bytes);
    make_free(&m);
}

static void nan_is_out_of_every_range(void **state)
{
    (void)state;
    struct gguf_make m;
    struct gguf *g;
    unsigned char *bytes;
    struct err e;
    float f = 7;
    make_init(&m);
    make_kv(&m, "eps", GGUF_F32, &(uint32_t){0x7fc00000}, 4);
    ok(open_made(&m, &g, &bytes, &e));
    fails(gguf_get_f32_or(g, "eps", 0, 1, 0, &f, &e), ERR_DATA, "key 'eps'");
    assert_true(f == 7);
    gguf_close(g);
    free(bytes);
    make_free(&m);
}

/* ---- one bad file per rule ------------------------------------------------------------------- */

static void every_prefix_is_an_incomplete_download(void **state)
{
    (void)state;
    struct gguf_make m;
    struct err e;
    struct gguf *g;
    for (uint32_t v = 2; v <= 3; v++) {
        make_tiny(&m, v);
        size_t n;
        unsigned char *whole = make_file(&m, &n);
        for (size_t k = 0; k < n; k++) {
            unsigned char *cut = malloc(k ? k : 1);
            memcpy(cut, whole, k);
            char actual[32];
            snprintf(actual, sizeof actual, "%zu", k);
            fails(gguf_open_memory(cut, k, "cut.gguf", &g, &e), ERR_DATA, "download incomplete");
            if (!strstr(e.msg, "cut.gguf") || (k && !strstr(e.msg, actual)))
                fail_msg("%zu bytes: \"%s\"", k, e.msg);
            if (k > n - 40) { /* only data is missing: the needed size is known */
                char expected[64];
                snprintf(expected, sizeof expected, "expected at least %zu bytes", n);
                assert_non_null(strstr(e.msg, expected));
            }
            free(cut);
        }
        free(whole);
        make_free(&m);
    }
}

static void magic_and_version_are_checked(void **state)
{
    (void)state;
    struct gguf_make m;
    struct gguf *g;
    struct err e;
    fails(gguf_open_memory("\033]0;x\a...", 8, "made.gguf", &g, &e), ERR_DATA,
          "is not a GGUF file: it begins with '\\x1b]0;'");
    make_init(&m), m.version = 1, refused(&m, "version 1;", "2 and 3", "byte 4");
    make_init(&m), m.version = 4, refused(&m, "version 4;", "byte 4");
    make_init(&m), m.version = 0x03000000, refused(&m, "version 3", "big-endian", "byte 4");
    make_init(&m), m.version = 0x02000000, refused(&m, "version 2", "big-endian");
}

static void counts_are_bounded_by_the_bytes_left(void **state)
{
    (void)state;
    struct gguf_make m;
    make_tiny(&m, 3), m.n_tensor = UINT64_MAX,
                      refused(&m, "18446744073709551615 tensors", "byte 8");
    make_tiny(&m, 3), m.n_kv = 1000000, refused(&m, "1000000 keys", "byte 16");
    make_init(&m), make_kv_array(&m, "a", GGUF_U64, UINT64_MAX / 8 + 2, "", 0);
    refused(&m, "key 'a'", "array elements", "byte 41"); /* count * 8 would wrap to 8 */
    make_init(&m), make_kv_array(&m, "a", GGUF_U32, 3, "12345678901", 11);
    refused(&m, "3 array elements cannot fit into the 11 bytes left");
    make_init(&m), make_kv_array(&m, "a", GGUF_STRING, 3, "1234567890123456789012", 22);
    refused(&m, "3 array elements");
    make_init(&m), m.n_tensor = 1, m.n_kv = 2, make_kv_u32(&m, "a", 1);
    refused(&m, "cannot fit");
}

static void keys_have_a_length_and_are_unique(void **state)
{
    (void)state;
    struct gguf_make m;
    char *longest = malloc(65537);
    memset(longest, 'k', 65536);
    longest[65536] = 0;
    make_init(&m), make_kv_u32(&m, longest, 1), refused(&m, "key 'kkk", "...'", "key length 65536");
    make_init(&m), make_kv_u32(&m, "", 1), make_kv_u32(&m, "pad", 1);
    refused(&m, "key 1 at byte 24", "key length 0");
    make_init(&m), make_kv_u32(&m, "twice", 1), make_kv_u32(&m, "b", 2);
    make_kv_u32(&m, "twice", 1), refused(&m, "key 'twice' at byte 62", "came before, as number 1");
    make_init(&m), make_kv_u32(&m, "a\n\033[2J\xff", 1), make_kv_u32(&m, "a\n\033[2J\xff", 1);
    refused(&m, "key 'a\\x0a\\x1b[2J\\xff'");
    longest[65535] = 0;
    struct gguf *g;
    unsigned char *bytes;
    struct err e;
    make_init(&m), make_kv_u32(&m, longest, 1);
    ok(open_made(&m, &g, &bytes, &e));
    assert_non_null(gguf_find(g, longest));
    gguf_close(g);
    free(bytes);
    make_free(&m);
    free(longest);
}

static void values_have_known_types(void **state)
{
    (void)state;
    struct gguf_make m;
    make_init(&m), make_kv(&m, "x", 13, "12345678", 8),
        refused(&m, "key 'x' at byte 33", "type 13");
    make_init(&m), make_kv(&m, "x", GGUF_BOOL, "\2", 1),
        refused(&m, "key 'x' at byte 37", "bool is 2");
    make_init(&m), make_kv_array(&m, "x", GGUF_BOOL, 3, "\1\0\x80", 3);
    refused(&m, "key 'x' at byte 51", "bool is 128");
    make_init(&m), make_kv_array(&m, "x", GGUF_ARRAY, 1, "1234567890123456", 16);
    refused(&m, "key 'x' at byte 37", "array of arrays");
    make_init(&m), make_kv_array(&m, "x", 77, 1, "1234567890123456", 16), refused(&m, "type 77");
    make_init(&m), make_kv(&m, "x", GGUF_STRING, "\xff\0\0\0\0\0\0\0abc", 11);
    refused(&m, "key 'x' at byte 45", "needs 255 bytes, but only 3");
    make_init(&m), make_kv_array(&m, "x", GGUF_STRING, 1, "\xff\xff\xff\xff\xff\xff\xff\x7f__", 10);
    refused(&m, "key 'x'", "element 1 of 1", "9223372036854775807");
}

static void alignment_is_a_power_of_two(void **state)
{
    (void)state;
    struct gguf_make m;
    static const uint32_t bad[] = {0, 1, 4, 33, 131073, 0xffffffff};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        make_init(&m), make_kv_u32(&m, "general.alignment", bad[i]);
        refused(&m, "key 'general.alignment' at byte 53", "power of two");
    }
    make_init(&m), make_kv(&m, "general.alignment", GGUF_U64, "\x20\0\0\0\0\0\0\0", 8);
    refused(&m, "is u64, must be u32");
    struct gguf *g;
    unsigned char *bytes;
    struct err e;
    static const uint32_t good[] = {8, 4096, 131072, 1 << 20};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) { /* the largest that fits the file */
        make_init(&m), m.align = good[i], make_kv_u32(&m, "general.alignment", good[i]);
        make_tensor(&m, "x", 1, (uint64_t[]){1}, FMT_F32),
            make_tensor(&m, "y", 1, (uint64_t[]){1}, FMT_F32);
        ok(open_made(&m, &g, &bytes, &e));
        assert_int_equal(gguf_tensor_find(g, "y")->at % good[i], 0);
        assert_int_equal(gguf_tensor_find(g, "y")->at - gguf_tensor_find(g, "x")->at, good[i]);
        gguf_close(g);
        free(bytes);
        make_free(&m);
    }
    make_init(&m), make_kv_u32(&m, "general.alignment", 0x80000000);
    make_row(&m, "x", 1, (uint64_t[]){1}, 0, 0);
    refused(&m, "tensor 'x' at byte 2147483648 goes beyond the end of the file");
}

static void tensors_have_names_shapes_and_types(void **state)
{
    (void)state;
    struct gguf_make m;
    uint64_t ne[4] = {32, 1, 1, 1}, big = (uint64_t)1 << 40;
    char name[66];
    memset(name, 'n', 65);
    name[65] = 0;
    make_init(&m), make_row(&m, "", 1, ne, 0, 0), make_row(&m, "b", 1, ne, 0, 128);
    refused(&m, "tensor 1 at byte 24", "name of 0 bytes");
    make_init(&m), make_row(&m, name, 1, ne, 0, 0),
        refused(&m, "name of 65 bytes; must be 1 to 64");
    make_init(&m), make_row(&m, "x", 1, ne, 0, 0), make_row(&m, "x", 1, ne, 0, 128);
    refused(&m, "tensor 'x' at byte 57", "came before, as tensor 1");
    make_init(&m), make_row(&m, "x", 0, ne, 0, 0), make_row(&m, "b", 4, ne, 0, 128);
    refused(&m, "tensor 'x' at byte 33", "0 dimensions");
    make_init(&m), make_row(&m, "x", 5, (uint64_t[]){1, 1, 1, 1, 1}, 0, 0);
    refused(&m, "5 dimensions; must be 1 to 4");
    make_init(&m), make_row(&m, "x", 2, (uint64_t[]){32, 0}, 0, 0);
    refused(&m, "tensor 'x' at byte 45", "dimension 1 is 0");
    make_init(&m), make_row(&m, "x", 1, (uint64_t[]){big + 1}, 0, 0);
    refused(&m, "dimension 0 is 1099511627777");
    make_init(&m), make_row(&m, "x", 2, (uint64_t[]){big, big}, 0, 0), refused(&m, "product");
    make_init(&m), make_row(&m, "x", 3, (uint64_t[]){big, (uint64_t)1 << 22, 1}, 0, 0);
    refused(&m, "size in bytes overflows");
    make_init(&m), make_row(&m, "x", 2, (uint64_t[]){33, 2}, 8, 0);
    refused(&m, "rows of 33 are no multiple of the 32 of a Q8_0 block");
    make_init(&m), make_row(&m, "x", 1, ne, 39, 0);
    refused(&m, "tensor 'x' at byte 45", "type 39 (MXFP4)", "supported: F32 F16");
    make_init(&m), make_row(&m, "x", 1, ne, 12345, 0), refused(&m, "type 12345 (unknown)");
}

static void tensor_data_lies_inside_aligned_and_apart(void **state)
{
    (void)state;
    struct gguf_make m;
    uint64_t ne[1] = {16};
    make_init(&m), make_tensor(&m, "a", 1, ne, FMT_F32), make_row(&m, "b", 1, ne, 0, 8);
    refused(&m, "tensor 'b'", "offset 8 is no multiple of the alignment 32");
    make_init(&m), make_tensor(&m, "a", 1, ne, FMT_F32), make_row(&m, "b", 1, ne, 0, 32);
    str_add(&m.data, (char[64]){0}, 64);
    refused(&m, "tensor 'b' at byte 128 overlaps 'a', which ends at 160");
    make_init(&m), make_row(&m, "late", 1, ne, 0, 64), make_row(&m, "early", 1, ne, 0, 0);
    make_row(&m, "same", 1, ne, 0, 0), str_add(&m.data, (char[128]){0}, 128);
    refused(&m, "overlaps 'early'");
    make_init(&m), make_tensor(&m, "a", 1, ne, FMT_F32), make_row(&m, "b", 1, ne, 0, 64);
    refused(&m, "tensor 'b' at byte 160 goes beyond",
            "expected at least 224 bytes, the file has 160");
    make_init(&m), make_row(&m, "b", 1, ne, 0, UINT64_MAX - 31),
        refused(&m, "tensor 'b'", "overflows");
    make_init(&m), make_row(&m, "b", 1, ne, 0, (uint64_t)1 << 62),
        refused(&m, "tensor 'b'", "beyond");
    struct gguf *g;
    unsigned char *bytes;
    struct err e;
    make_init(&m), make_row(&m, "late", 1, ne, 0, 64), make_row(&m, "early", 1, ne, 0, 0);
    str_add(&m.data, (char[128]){0}, 128); /* any order is fine */
    ok(open_made(&m, &g, &bytes, &e));
    gguf_close(g);
    free(bytes);
    make_free(&m);
}

/* ---- files ----------------------------------------------------------------------------------- */

static void files_that_cannot_be_opened_are_named(void **state)
{
    (void)state;
    struct gguf *g;
    struct err e;
    char dir[256], path[300];
    test_mkdir(dir);
    fails(gguf_open("/nonexistent/x.gguf", &g, &e), ERR_NOINPUT,
          "/nonexistent/x.gguf: No such file");
    fails(gguf_open(dir, &g, &e), ERR_NOINPUT, "it is a directory");
    fails(gguf_open("/dev/null", &g, &e), ERR_NOINPUT, "no regular file");
    snprintf(path, sizeof path, "%s/empty.gguf", dir);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    fails(gguf_open(path, &g, &e), ERR_DATA, "is empty: download incomplete");
    snprintf(path, sizeof path, "%s/pipe.gguf", dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    fails(gguf_open(path, &g, &e), ERR_NOINPUT, "no regular file"); /* and does not wait */
    test_rmdir(dir);
}

/* A file may have terabytes. Metadata of that size are refused before they are read. */
static void endless_metadata_is_refused_unread(void **state)
{
    (void)state;
    struct gguf_make m;
    struct gguf *g;
    struct err e;
    char dir[256], path[300];
    make_init(&m);
    make_kv_array(&m, "huge", GGUF_U8, (uint64_t)1 << 30, "", 0);
    test_mkdir(dir);
    snprintf(path, sizeof path, "%s/huge.gguf", dir);
    make_save(&m, path);
    assert_int_equal(truncate(path, (off_t)1 << 31), 0); /* sparse */
    int64_t t = clock_ns();
    fails(gguf_open(path, &g, &e), ERR_DATA, "key 'huge' at byte");
    assert_non_null(strstr(e.msg, "metadata goes beyond byte 1073741824"));
    assert_true(clock_ns() - t < 1000000000);
    make_free(&m);
    test_rmdir(dir);
}

static void a_changed_file_is_a_message_not_a_fault(void **state)
{
    (void)state;
    struct gguf_make m;
    struct gguf *g;
    struct err e;
    char dir[256], path[300], other[300];
    make_init(&m);
    make_kv_str(&m, "general.name", "kept");
    make_tensor(&m, "x", 2, (uint64_t[]){4096, 16}, FMT_F32); /* 256 KiB: several pages */
    test_mkdir(dir);
    snprintf(path, sizeof path, "%s/m.gguf", dir);
    snprintf(other, sizeof other, "%s/n.gguf", dir);

    make_save(&m, path);
    ok(gguf_open(path, &g, &e));
    ok(gguf_check_unchanged(g, &e));
    ok(gguf_populate(g, 0, gguf_file_bytes(g), &e));
    assert_int_equal(truncate(path, 4096), 0);
    fails(gguf_check_unchanged(g, &e), ERR_IO, "model file changed");
    assert_non_null(strstr(e.msg, "became shorter"));
    fails(gguf_populate(g, 0, gguf_file_bytes(g), &e), ERR_IO, "model file changed");
    unsigned char byte;
    fails(gguf_read(g, gguf_file_bytes(g) - 1, &byte, 1, &e), ERR_IO, "model file changed");
    assert_int_equal(truncate(path, 0), 0); /* metadata is our own copy: no fault even now */
    struct gguf_str s;
    ok(gguf_get_str(g, "general.name", &s, &e));
    assert_memory_equal(s.s, "kept", 4);
    gguf_close(g);

    make_save(&m, path);
    ok(gguf_open(path, &g, &e));
    assert_int_equal(truncate(path, (off_t)gguf_file_bytes(g) + 1), 0);
    fails(gguf_check_unchanged(g, &e), ERR_IO, "became longer");
    gguf_close(g);

    make_save(&m, path);
    ok(gguf_open(path, &g, &e));
    struct timespec past[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    assert_int_equal(utimensat(AT_FDCWD, path, past, 0), 0);
    fails(gguf_check_unchanged(g, &e), ERR_IO, "was written to");
    gguf_close(g);

    make_save(&m, path);
    make_save(&m, other);
    ok(gguf_open(path, &g, &e));
    assert_int_equal(rename(other, path), 0);
    fails(gguf_check_unchanged(g, &e), ERR_IO, "was replaced by another file");
    assert_int_equal(unlink(path), 0);
    fails(gguf_check_unchanged(g, &e), ERR_IO, "is no longer there");
    gguf_close(g);
    make_free(&m);
    test_rmdir(dir);
}

/* Is the page of this byte of the file in the page cache? */
static bool page_is_cached(const unsigned char *map, size_t at)
{
    unsigned char in = 0;
    assert_int_equal(mincore((void *)(uintptr_t)(map + at / 4096 * 4096), 1, &in), 0);
    return in & 1;
}

/* Drops the file from the page cache, which a file system in memory does not do: no bad sign. */
static void bytes_asked_for_ahead_arrive_without_a_read(void **state)
{
    (void)state;
    enum { SIZE = 4 << 20 };
    struct gguf_make m;
    struct gguf *g;
    struct err e;
    char dir[256], path[300];
    make_init(&m);
    make_tensor(&m, "x", 2, (uint64_t[]){4096, SIZE / 4 / 4096}, FMT_F32);
    test_mkdir(dir);
    snprintf(path, sizeof path, "%s/m.gguf", dir);
    make_save(&m, path);
    make_free(&m);
    const int fd = open(path, O_RDONLY);
    assert_int_equal(fsync(fd), 0);
    assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    ok(gguf_open(path, &g, &e)); /* reads the first MiB */
    const struct gguf_tensor *t = gguf_tensor_find(g, "x");
    const unsigned char *map = (const unsigned char *)t->t.data - t->at;
    const size_t last = (size_t)gguf_file_bytes(g) - 1;
    ok(gguf_ahead(g, 0, gguf_file_bytes(g), &e));
    const int64_t give_up = clock_ns() + 20000000000;
    while (!page_is_cached(map, last) && clock_ns() < give_up)
        usleep(1000);
    assert_true(page_is_cached(map, last));
    gguf_close(g);
    close(fd);
    test_rmdir(dir);
}

static void a_mapped_file_equals_the_same_bytes_in_memory(void **state)
{
    (void)state;
    struct gguf_make m;
    struct gguf *a, *b;
    struct err e;
    char dir[256], path[300];
    unsigned char *bytes;
    make_tiny(&m, 3);
    char *big = calloc(1, 3 << 20); /* metadata larger than the first read */
    make_kv_array(&m, "t.big", GGUF_U8, 3 << 20, big, 3 << 20);
    free(big);
    make_kv_u32(&m, "t.last", 9);
    test_mkdir(dir);
    snprintf(path, sizeof path, "%s/m.gguf", dir);
    make_save(&m, path);
    ok(gguf_open(path, &a, &e));
    ok(open_made(&m, &b, &bytes, &e));
    assert_int_equal(gguf_n_kv(a), gguf_n_kv(b));
    for (size_t i = 0; i < gguf_n_kv(a); i++) {
        const struct gguf_kv *x = gguf_kv_at(a, i), *y = gguf_kv_at(b, i);
        assert_int_equal(x->at, y->at);
        assert_int_equal(x->key.len, y->key.len);
        assert_memory_equal(x->key.s, y->key.s, x->key.len);
        assert_int_equal(x->raw - (const unsigned char *)x->key.s,
                         y->raw - (const unsigned char *)y->key.s);
    }
    for (size_t i = 0; i < 3; i++)
        assert_memory_equal(gguf_tensor_at(a, i)->t.data, gguf_tensor_at(b, i)->t.data,
                            gguf_tensor_at(a, i)->bytes);
    gguf_close(a);
    gguf_close(b);
    free(bytes);
    make_free(&m);
    test_rmdir(dir);
}

static void a_long_path_leaves_room_for_the_reason(void **state)
{
    (void)state;
    struct err e;
    struct gguf *g;
    char name[1200];
    memset(name, 'p', sizeof name);
    memcpy(name + sizeof name - 6, "/end!", 6);
    fails(gguf_open_memory("GGUF\1\0\0\0", 8, name, &g, &e), ERR_DATA, "pp/end!: header at byte 4");
    assert_non_null(strstr(e.msg, "version 1"));
}

static void real_files_open_quickly(void **state)
{
    (void)state;
    static const char *const names[] = {
        "vocab/ggml-vocab-llama-bpe.gguf", "vocab/ggml-vocab-llama-spm.gguf",
        "models/stories260K.gguf", "models/stories260K-pad1024-Q4_K_M.gguf"};
    char path[1024];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct gguf *g;
        struct err e;
        need_data(names[i], path);
        int64_t t = clock_ns();
        ok(gguf_open(path, &g, &e));
        double ms = (double)(clock_ns() - t) / 1e6;
        print_message("%s: %zu keys, %zu tensors, %.1f ms\n", names[i], gguf_n_kv(g),
                      gguf_n_tensors(g), ms);
        if (i == 0) {
            const struct gguf_kv *kv;
            ok(gguf_get_array(g, "tokenizer.ggml.tokens", GGUF_STRING, &kv, &e));
            assert_int_equal(kv->count, 128256);
            assert_true(ms < 500); /* 50 in a release build; sanitizers and a busy machine add */
        }
        gguf_close(g);
    }
}

/* ---- names ----------------------------------------------------------------------------------- */

static void names_keep_any_bytes_apart(void **state)
{
    (void)state;
    enum { N = 20000 };
    struct names t = {0};
    struct err e;
    char(*key)[16] = calloc(N, sizeof *key);
    uint32_t v;
    assert_false(names_find(&t, "a", 1, &v));
    for (uint32_t i = 0; i < N; i++) {
        snprintf(key[i], sizeof key[i], "%08x", (unsigned)rng_u64(1, i));
        size_t len = 4 + i % 5; /* some keys are prefixes of others */
        uint32_t old = UINT32_MAX;
        int is_new = names_add(&t, key[i], len, i, &old, &e);
        assert_true(is_new >= 0);
        assert_true(names_find(&t, key[i], len, &v));
        assert_int_equal(v, is_new ? i : old);
        assert_int_equal(memcmp(key[v], key[i], len), 0);
    }
    assert_int_equal(names_add(&t, "\0", 1, 1, NULL, &e), 1);
    assert_int_equal(names_add(&t, "\0\0", 2, 2, NULL, &e), 1);
    assert_int_equal(names_add(&t, "\0", 1, 3, NULL, &e), 0);
    names_free(&t);
    free(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiny_files_of_both_versions_open),
        cmocka_unit_test(getters_check_type_and_range),
        cmocka_unit_test(one_number_or_one_a_layer),
        cmocka_unit_test(nan_is_out_of_every_range),
        cmocka_unit_test(every_prefix_is_an_incomplete_download),
        cmocka_unit_test(magic_and_version_are_checked),
        cmocka_unit_test(counts_are_bounded_by_the_bytes_left),
        cmocka_unit_test(keys_have_a_length_and_are_unique),
        cmocka_unit_test(values_have_known_types),
        cmocka_unit_test(alignment_is_a_power_of_two),
        cmocka_unit_test(tensors_have_names_shapes_and_types),
        cmocka_unit_test(tensor_data_lies_inside_aligned_and_apart),
        cmocka_unit_test(files_that_cannot_be_opened_are_named),
        cmocka_unit_test(endless_metadata_is_refused_unread),
        cmocka_unit_test(a_changed_file_is_a_message_not_a_fault),
        cmocka_unit_test(bytes_asked_for_ahead_arrive_without_a_read),
        cmocka_unit_test(a_mapped_file_equals_the_same_bytes_in_memory),
        cmocka_unit_test(a_long_path_leaves_room_for_the_reason),
        cmocka_unit_test(real_files_open_quickly),
        cmocka_unit_test(names_keep_any_bytes_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
