/* text: byte order marks are removed, CR LF is one line end, UTF-16 and NUL bytes are refused by
 * name. */
#include "text.h"

#include "test.h"

#define BYTES(s) s, sizeof(s) - 1

static void cleaned(const char *in, size_t n, const char *want, size_t n_want)
{
    struct str s = STR_INIT;
    struct err e;
    str_add(&s, in, n);
    ok(text_clean(&s, "a text", ERR_DATA, &e));
    assert_int_equal(s.len, n_want);
    assert_memory_equal(s.s, want, n_want + 1);
    str_free(&s);
}

static void a_mark_goes_and_lines_end_in_lf(void **state)
{
    (void)state;
    cleaned(BYTES(""), BYTES(""));
    cleaned(BYTES("plain\n"), BYTES("plain\n"));
    cleaned(BYTES("\xef\xbb\xbf"
                  "a\r\nb\rc\n\r\n\r"),
            BYTES("a\nb\nc\n\n\n"));
    cleaned(BYTES("\xef\xbb\xbf"), BYTES(""));
    cleaned(BYTES("a\xef\xbb\xbf"), BYTES("a\xef\xbb\xbf")); /* elsewhere it is a character */
    cleaned(BYTES("\xef\xbb"), BYTES("\xef\xbb"));
    cleaned(BYTES("\r"), BYTES("\n"));
    cleaned(BYTES("\xff\xff"), BYTES("\xff\xff")); /* invalid UTF-8 is not checked here */
    assert_int_equal(text_mark(BYTES("\xef\xbb\xbfx")), 3);
    assert_int_equal(text_mark(BYTES("x")), 0);
}

/* Text in an encoding of `size` bytes a character. */
static void widen(const char *s, int size, bool big, bool mark, struct str *out)
{
    if (mark && size == 2)
        str_add(out, big ? "\xfe\xff" : "\xff\xfe", 2);
    else if (mark)
        str_add(out, big ? "\0\0\xfe\xff" : "\xff\xfe\0\0", 4);
    for (size_t n = strlen(s), i = 0; i < n;) {
        uint32_t cp;
        i += (size_t)utf8_decode(s + i, n - i, &cp);
        for (int k = 0; k < size; k++)
            str_addc(out, (char)(cp >> 8 * (big ? size - 1 - k : k)));
    }
}

static void wide_encodings_are_named(void **state)
{
    (void)state;
    static const char *const name[2][2] = {{"UTF-16LE", "UTF-16BE"}, {"UTF-32LE", "UTF-32BE"}};
    static const char *const text[] = {"A 65-year-old man with chest pain.\r\n",
                                       "Fieber seit fünf Tagen, Übelkeit.", "ok.\n"};
    struct err e;
    for (int size = 2; size <= 4; size += 2)
        for (int big = 0; big < 2; big++)
            for (int mark = 0; mark < 2; mark++)
                for (int i = 0; i < 3; i++) {
                    struct str s = STR_INIT;
                    char want[40];
                    widen(text[i], size, big, mark, &s);
                    snprintf(want, sizeof want, "the case is %s text", name[size / 4][big]);
                    fails(text_clean(&s, "the case", ERR_CONFIG, &e), ERR_CONFIG, want);
                    assert_string_equal(text_wide(s.s, s.len, false), name[size / 4][big]);
                    assert_true(!text_wide(s.s, s.len, true) == !mark);
                    str_free(&s);
                }
    assert_string_equal(text_wide(BYTES("a\0"), false), "UTF-16LE");
    assert_string_equal(text_wide(BYTES("\0a"), false), "UTF-16BE");
    struct str few = STR_INIT; /* a letter whose low byte is zero, among forty others */
    widen("Kr\xc4\x80slava: drudzis piecas dienas, sāpes krūtīs.", 2, false, false, &few);
    assert_string_equal(text_wide(few.s, few.len, false), "UTF-16LE");
    str_free(&few);
    /* Greek has no zeros, but its spaces and its mark have */
    struct str s = STR_INIT;
    widen("πυρετός", 2, false, true, &s);
    assert_string_equal(text_wide(s.s, s.len, true), "UTF-16LE");
    str_free(&s);
    widen("πυρετός εδώ και τρεις μέρες", 2, false, false, &s);
    fails(text_check(s.s, s.len, "f.txt", ERR_DATA, &e), ERR_DATA,
          "f.txt has a NUL byte at 15 of 54");
    str_free(&s);
}

static void a_nul_byte_is_named_with_its_place(void **state)
{
    (void)state;
    struct err e;
    fails(text_check(BYTES("abc\0def"), "x.yaml", ERR_CONFIG, &e), ERR_CONFIG,
          "x.yaml has a NUL byte at 3 of 7");
    fails(text_check(BYTES("\0"), "x", ERR_DATA, &e), ERR_DATA, "x has a NUL byte at 0 of 1");
    /* padding */
    fails(text_check(BYTES("abc\0\0\0\0\0\0\0\0\0"), "x", ERR_DATA, &e), ERR_DATA, "NUL byte at 3");
    char big[9000];
    memset(big, 'a', sizeof big);
    big[8999] = 0;
    fails(text_check(big, sizeof big, "x", ERR_DATA, &e), ERR_DATA,
          "x has a NUL byte at 8999 of 9000");
    ok(text_check(big, sizeof big - 1, "x", ERR_DATA, &e));
    ok(text_check("", 0, "x", ERR_DATA, &e));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mark_goes_and_lines_end_in_lf),
        cmocka_unit_test(wide_encodings_are_named),
        cmocka_unit_test(a_nul_byte_is_named_with_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
