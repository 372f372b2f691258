/* The parts of tools/report that take untrusted text: escaping for a page, the archive of a bundle.
 * tests/cli/report.sh and verify.sh test the commands. */
#include "bundle.h"
#include "html.h"
#include "outfile.h"
#include "test.h"
#include "zio.h"

static void escaped(const char *s, size_t n, const char *want)
{
    struct str out = STR_INIT;
    html_text(&out, s, n);
    assert_string_equal(out.s, want);
    str_free(&out);
}

static void text_cannot_become_markup(void **state)
{
    (void)state;
    escaped("<b a=\"x\" c='y'>&amp;", 20, "&lt;b a=&quot;x&quot; c=&#39;y&#39;&gt;&amp;amp;");
    escaped("a\tb\nc", 5, "a\tb\nc");
    escaped("a\0b", 3,
            "a\xef\xbf\xbd"
            "b");
    escaped("\x1b[2J\x7f", 5, "\xef\xbf\xbd[2J\xef\xbf\xbd");
    escaped("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 9, "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
    escaped("\xc0\xbc\xff", 3, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"); /* an overlong '<' */
    escaped("\xe2\x82", 2, "\xef\xbf\xbd\xef\xbf\xbd");
    escaped("", 0, "");
}

/* RFC 4648, section 10. */
static void base64_of_the_standard(void **state)
{
    static const char *const pairs[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"}};
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        struct str out = STR_INIT;
        html_base64(&out, pairs[i][0], strlen(pairs[i][0]));
        assert_string_equal(out.s, pairs[i][1]);
        str_free(&out);
    }
}

/* sha256 of the empty text, in base64. */
static void hash_of_a_policy(void **state)
{
    struct err e;
    char hash[64];
    (void)state;
    ok(html_hash("", 0, hash, &e));
    assert_string_equal(hash, "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='");
}

/* ---- bundle ---------------------------------------------------------------------------------- */

static void add(struct bundle *b, const char *name, const char *text)
{
    struct err e;
    struct str s = STR_INIT;
    str_adds(&s, text);
    ok(bundle_add(b, name, &s, &e));
    str_free(&s);
}

/* The unpacked archive of two files, which are added in either order. */
static void archive(bool turned, struct str *tar)
{
    struct err e;
    struct bundle b = {.top = "try", .n = 0};
    struct str packed = STR_INIT;
    char dir[256], path[300];
    add(&b, turned ? "run.json" : "a/b.txt", turned ? "{}" : "text");
    add(&b, turned ? "a/b.txt" : "run.json", turned ? "text" : "{}");
    ok(bundle_pack(&b, &packed, &e));
    bundle_free(&b);
    test_mkdir(dir);
    snprintf(path, sizeof path, "%s/x.tar.gz", dir);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(packed.s, 1, packed.len, f), packed.len);
    fclose(f);
    ok(zio_read(path, 1 << 20, tar, &e));
    ok(bundle_read(path, &b, &e));
    assert_int_equal(b.n, 2);
    assert_string_equal(bundle_find(&b, "a/b.txt")->data.s, "text");
    bundle_free(&b);
    str_free(&packed);
    test_rmdir(dir);
}

static void same_files_give_same_bytes(void **state)
{
    struct str a = STR_INIT, b = STR_INIT;
    (void)state;
    archive(false, &a);
    archive(true, &b);
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.s, b.s, a.len);
    str_free(&a);
    str_free(&b);
}

/* Every byte of an archive counts: a changed one is refused, or it changes a file. */
static void every_byte_counts(void **state)
{
    struct err e;
    struct str tar = STR_INIT;
    (void)state;
    archive(false, &tar);
    for (size_t i = 0; i < tar.len; i++) {
        struct bundle b = {.n = 0};
        tar.s[i] ^= 1;
        if (bundle_parse(tar.s, tar.len, &b, &e) == 0) {
            const struct bundle_file *x = bundle_find(&b, "a/b.txt"),
                                     *y = bundle_find(&b, "run.json");
            assert_true(!x || !y || strcmp(x->data.s, "text") != 0 || strcmp(y->data.s, "{}") != 0);
        } else {
            assert_int_equal(e.code, ERR_DATA);
        }
        bundle_free(&b);
        tar.s[i] ^= 1;
    }
    for (size_t n = 0; n < tar.len; n++) {
        struct bundle b = {.n = 0};
        assert_int_equal(bundle_parse(tar.s, n, &b, &e), ERR_DATA);
    }
    str_free(&tar);
}

static void names_stay_in_the_folder(void **state)
{
    static const char *const bad[] = {"../x", "a/../x", "/x", "x/",   "a//b",    ".x",
                                      "a/.x", "a b",    "",   "a\nb", "\xc3\xa4"};
    struct err e;
    struct bundle b = {.top = "try", .n = 0};
    char longest[BUNDLE_NAME + 8];
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct str s = STR_INIT;
        fails(bundle_add(&b, bad[i], &s, &e), ERR_DATA, "cannot pack");
    }
    memset(longest, 'x', sizeof longest);
    longest[130] = '/'; /* a header divides the name here */
    longest[BUNDLE_NAME - 3] = 0;
    struct str s = STR_INIT;
    fails(bundle_add(&b, longest, &s, &e), ERR_DATA, "at most 220 bytes");
    longest[BUNDLE_NAME - 4] = 0;
    ok(bundle_add(&b, longest, &s, &e));
    fails(bundle_add(&b, longest, &s, &e), ERR_DATA, "twice");
    bundle_free(&b);
    longest[130] = 'x'; /* no part of 99 bytes at the end */
    fails(bundle_add(&b, longest, &s, &e), ERR_DATA, "cannot pack");
    bundle_free(&b);
}

/* The names of cells, and names that need both fields of a header. */
static void long_names_come_back(void **state)
{
    static const char *const names[] = {
        "run.json", "direct,temperature=0.7,top_p=1e-05+2,seed=7/review/prompts/x/y.json",
        "planner.specialties=0123456789012345678901234567890123456789012345678901234567890123456789"
        "0123456789012345/review/prompts/panel/planner_full.json"};
    struct err e;
    struct bundle b = {.top = "try", .n = 0};
    struct str packed = STR_INIT;
    char dir[256], path[300];
    (void)state;
    for (size_t i = 0; i < 3; i++)
        add(&b, names[i], names[i]);
    ok(bundle_pack(&b, &packed, &e));
    bundle_free(&b);
    test_mkdir(dir);
    snprintf(path, sizeof path, "%s/x.tar.gz", dir);
    ok(outfile_save(path, packed.s, packed.len, &e));
    ok(bundle_read(path, &b, &e));
    assert_int_equal(b.n, 3);
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(bundle_find(&b, names[i])->data.s, names[i]);
    bundle_free(&b);
    str_free(&packed);
    test_rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_cannot_become_markup), cmocka_unit_test(base64_of_the_standard),
        cmocka_unit_test(hash_of_a_policy),          cmocka_unit_test(same_files_give_same_bytes),
        cmocka_unit_test(every_byte_counts),         cmocka_unit_test(names_stay_in_the_folder),
        cmocka_unit_test(long_names_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
