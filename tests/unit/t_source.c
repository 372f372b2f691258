/* Names of models, and the messages for files that are no models. */
#include "source.h"

#include <sys/stat.h>
#include <unistd.h>

#include "embed.h"
#include "escape.h"
#include "gguf_make.h"
#include "sha256.h"
#include "test.h"

static char dir[256], path[300];

static int set_up(void **state)
{
    (void)state;
    test_mkdir(dir);
    snprintf(path, sizeof path, "%s/m.gguf", dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    test_rmdir(dir);
    return 0;
}

static void a_path_opens_and_a_missing_one_names_the_forms(void **state)
{
    (void)state;
    struct gguf_make m;
    struct gguf *g;
    struct err e;
    make_tiny(&m, 3);
    make_save(&m, path);
    make_free(&m);
    ok(source_open(path, &g, &e));
    assert_string_equal(gguf_path(g), path);
    gguf_close(g);
    fails(source_open("nowhere.gguf", &g, &e), ERR_NOINPUT, "'nowhere.gguf': No such file");
    assert_non_null(strstr(e.msg, "'demo'"));
    fails(source_open("", &g, &e), ERR_NOINPUT, "No such file");
    fails(source_open(dir, &g, &e), ERR_NOINPUT,
          "it is a directory; give the path of a .gguf file");
    fails(source_open("/dev/null", &g, &e), ERR_NOINPUT, "no regular file");
    if (geteuid() != 0) {
        assert_int_equal(chmod(path, 0), 0);
        fails(source_open(path, &g, &e), ERR_NOINPUT, "Permission denied");
    }
}

static void demo_is_the_model_in_the_program(void **state)
{
    (void)state;
    struct gguf *g;
    struct err e;
    ok(source_open("demo", &g, &e));
    assert_int_equal(gguf_file_bytes(g), embed_demo_size);
    assert_string_equal(gguf_path(g), "demo");
    gguf_close(g);
}

static void files_that_are_no_model_are_said_to_be_what_they_are(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        const char *says;
    } files[] = {
        {"", 0, "is empty: download incomplete"},
        {"\n <!DOCTYPE HTML>\n<html>", 23, "a web page"},
        {"<HTML lang=", 11, "a web page"},
        {"\xef\xbb\xbf<?xml version", 16, "a web page"},
        {"version https://git-lfs.github.com/spec/v1\noid", 46, "git lfs pull"},
        {"PK\3\4....", 8, "PyTorch"},
        {"\x80\x02}q", 4, "PyTorch"},
        {"lmgg\1\0\0\0", 8, "before GGUF"},
        {"tjgg\3\0\0\0", 8, "before GGUF"},
        {"FUGG\0\0\0\3", 8, "big-endian"},
        {"\x1f\x8b\x08", 3, "compressed"},
        {"\x40\0\0\0\0\0\0\0{\"__meta", 16, "safetensors"},
        {"{\"a\": 1}", 8, "JSON"},
        {"GGU", 3, "download incomplete"},
        {"GGUF\0\0\0\3", 8, "big-endian"},
        {"hello world", 11, "is not a GGUF file: it begins with 'hell'"},
        {"\0\0\0\0\0\0\0\0\0", 9, "begins with '\\x00\\x00\\x00\\x00'"},
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        struct gguf *g;
        struct err e;
        FILE *f = fopen(path, "wb");
        assert_int_equal(fwrite(files[i].bytes, 1, files[i].n, f), files[i].n);
        fclose(f);
        fails(source_open(path, &g, &e), ERR_DATA, files[i].says);
        assert_non_null(strstr(e.msg, path));
    }
}

static void a_model_of_one_part_is_a_file_like_any_other(void **state)
{
    (void)state;
    struct gguf_make m;
    struct gguf *g;
    struct err e;
    make_init(&m);
    make_kv(&m, "split.count", GGUF_U16, "\1\0", 2);
    make_save(&m, path);
    ok(source_open(path, &g, &e));
    gguf_close(g);
    make_free(&m);
    make_init(&m);
    make_kv_str(&m, "split.count", "3");
    make_save(&m, path);
    fails(source_open(path, &g, &e), ERR_DATA, "must be an integer");
    make_free(&m);
}

static void progress(uint64_t done, uint64_t total, void *user)
{
    uint64_t *last = user;
    assert_true(done > *last && done <= total);
    *last = done;
}

/* Digests: FIPS 180-4 examples ("abc", empty); the file is compared with sha256sum's. */
static void sha256_is_that_of_the_whole_file(void **state)
{
    (void)state;
    struct gguf_make m;
    struct gguf *g;
    struct err e;
    struct str out = STR_INIT;
    struct sha256 *h;
    char hex[65], *zeros = calloc(1, 9 << 20);
    uint64_t last = 0;
    ok(sha256_hex("abc", 3, hex, &e));
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    ok(sha256_open(&h, &e));
    ok(sha256_finish(h, hex, &e));
    sha256_close(h);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    make_tiny(&m, 3);
    make_kv_array(&m, "big", GGUF_U8, 9 << 20, zeros, 9 << 20);
    make_save(&m, path);
    ok(source_open(path, &g, &e));
    ok(source_sha256(g, progress, &last, hex, &e));
    assert_int_equal(last, gguf_file_bytes(g));
    assert_int_equal(test_run(&out, "sha256sum %s", path), 0);
    assert_int_equal(strncmp(out.s, hex, 64), 0);
    str_free(&out);
    hex[0] = 'x';
    assert_int_equal(truncate(path, 100), 0);
    fails(source_sha256(g, NULL, NULL, hex, &e), ERR_IO, "model file changed");
    assert_int_equal(hex[0], 'x');
    gguf_close(g);
    make_free(&m);
    free(zeros);
}

static void escaped_text_cannot_draw_on_a_terminal(void **state)
{
    (void)state;
    struct str s = STR_INIT;
    char buf[ESCAPE_NAME];
    static const char bytes[] = "a\\\x1b[31m\xc3\xa9\xff\xc2\x9b\xe2\x80\xae\0z";
    escape_add(&s, bytes, sizeof bytes - 1, SIZE_MAX);
    assert_string_equal(s.s, "a\\\\\\x1b[31m\xc3\xa9\\xff\\xc2\\x9b\\xe2\\x80\\xae\\x00z");
    str_clear(&s);
    escape_add(&s, "abcdef", 6, 3);
    assert_string_equal(s.s, "abc...");
    str_clear(&s);
    escape_add(&s, "abc", 3, 3);
    assert_string_equal(s.s, "abc");
    str_free(&s);
    char many[200];
    memset(many, 1, sizeof many);
    assert_string_equal(escape_name(buf, "", 0), "");
    escape_name(buf, many, sizeof many);
    assert_true(strlen(buf) < ESCAPE_NAME);
    assert_string_equal(buf + strlen(buf) - 7, "\\x01...");
    memset(many, 'y', sizeof many);
    assert_int_equal(strlen(escape_name(buf, many, sizeof many)), ESCAPE_NAME - 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_path_opens_and_a_missing_one_names_the_forms),
        T(demo_is_the_model_in_the_program),
        T(files_that_are_no_model_are_said_to_be_what_they_are),
        T(a_model_of_one_part_is_a_file_like_any_other),
        T(sha256_is_that_of_the_whole_file),
        T(escaped_text_cannot_draw_on_a_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
