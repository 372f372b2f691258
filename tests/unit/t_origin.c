/* The record of a download names its addresses; another length, or a damaged record, is none. */
#include <string.h>

#include "origin.h"
#include "test.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define PULLED "hf:a/b@main/m.gguf"

static char dir[256];
static char path[300], record[300];

static void write_file(const char *at, const char *text)
{
    FILE *f = fopen(at, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
}

static bool found(const char *from)
{
    struct err e = {0};
    bool is = false;
    char hex[65] = "";
    assert_int_equal(origin_find(path, from, &is, hex, &e), 0);
    assert_string_equal(hex, is ? HEX : "");
    return is;
}

static void a_record_names_the_addresses_of_its_file(void **state)
{
    static const char *const from[] = {PULLED, "ollama:r/s/n:t"};
    struct err e = {0};
    (void)state;
    write_file(path, "four");
    assert_false(found(PULLED));
    assert_int_equal(origin_save(path, HEX, from, 2, &e), 0);
    assert_true(found(PULLED));
    assert_true(found("ollama:r/s/n:t"));
    assert_false(found("hf:a/b@main/m.ggu"));
    assert_false(found("hf:a/b@main/m.gguf2"));
    assert_false(found(""));
    write_file(path, "fives"); /* another file took the name */
    assert_false(found(PULLED));
    write_file(path, "four");
    assert_true(found(PULLED));
    assert_int_equal(origin_drop(path, &e), 0);
    assert_int_equal(origin_drop(path, &e), 0);
    assert_false(found(PULLED));
}

static void a_damaged_record_is_none(void **state)
{
    static const char *const bad[] = {
        "",
        "sha256 " HEX,
        "sha256 " HEX "\nbytes 4",
        "sha256 " HEX "\nbytes 4\n",
        "sha256 " HEX "\nbytes 40\nfrom " PULLED "\n",
        "sha256 " HEX "\nbytes x\nfrom " PULLED "\n",
        "sha256 X" HEX "\nbytes 4\nfrom " PULLED "\n",
        "sha257 " HEX "\nbytes 4\nfrom " PULLED "\n",
        "sha256 " HEX "\nbytes 4\nform " PULLED "\n",
    };
    (void)state;
    write_file(path, "four");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        write_file(record, bad[i]);
        assert_false(found(PULLED));
    }
    write_file(record,
               "sha256 " HEX "\nbytes 4\n\nother\nfrom " PULLED); /* no newline at its end */
    assert_true(found(PULLED));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_names_the_addresses_of_its_file),
        cmocka_unit_test(a_damaged_record_is_none),
    };
    test_mkdir(dir);
    snprintf(path, sizeof path, "%s/m.gguf", dir);
    snprintf(record, sizeof record, "%s/.m.gguf.from", dir);
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    test_rmdir(dir);
    return rc;
}
