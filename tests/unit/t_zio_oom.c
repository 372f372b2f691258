#include "oom.h"
#include "test.h"
#include "zio.h"

static char dir[256], path[512];
static struct str packed = STR_INIT;

static int gzip_something(void *arg)
{
    static char data[100000]; /* zeros */
    struct str out = STR_INIT;
    struct err e = {0};
    (void)arg;
    int rc = zio_gzip(data, sizeof data, &out, &e);
    if (rc == 0)
        assert_true(out.len > 20);
    else
        assert_int_equal(out.len, 0);
    str_free(&out);
    return rc;
}

static int read_something(void *arg)
{
    struct str out = STR_INIT;
    struct err e = {0};
    (void)arg;
    int rc = zio_read(path, 1 << 20, &out, &e);
    if (rc == 0)
        assert_int_equal(out.len, 100000);
    str_free(&out);
    return rc;
}

static void lack_of_memory_is_an_error_and_nothing_leaks(void **state)
{
    static char data[100000];
    struct err e;
    (void)state;
    test_mkdir(dir);
    snprintf(path, sizeof path, "%s/zeros.gz", dir);
    ok(zio_gzip(data, sizeof data, &packed, &e));
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(packed.s, 1, packed.len, f), packed.len);
    assert_int_equal(fclose(f), 0);
    for (int from_then_on = 0; from_then_on < 2; from_then_on++) {
        assert_true(oom_loop(gzip_something, NULL, from_then_on) >= 5);
        assert_true(oom_loop(read_something, NULL, from_then_on) >= 5);
    }
    str_free(&packed);
    test_rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lack_of_memory_is_an_error_and_nothing_leaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
