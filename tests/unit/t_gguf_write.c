/* The GGUF writer: the reader reads its files; a failure leaves no file and says why. */
#include "gguf_write.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gguf_make.h"
#include "mem.h"
#include "test.h"

static char dir[256], path[300];

static int set_up(void **state)
{
    (void)state;
    test_mkdir(dir);
    snprintf(path, sizeof path, "%s/w.gguf", dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    test_rmdir(dir);
    return 0;
}

static void what_is_written_is_read_back(void **state)
{
    (void)state;
    struct err e;
    struct gguf_writer *w;
    struct gguf *g;
    const struct gguf_kv *kv;
    const struct gguf_str words[2] = {{"a\0b", 3}, {"", 0}};
    const int32_t ids[3] = {1, -2, 3};
    const float x[5] = {1, 2, 3, 4, 5};
    unsigned char y[204];
    for (size_t i = 0; i < sizeof y; i++)
        y[i] = (unsigned char)i;
    ok(gguf_writer_open(path, &w, &e));
    ok(gguf_put_u32(w, "u", 7, &e));
    ok(gguf_put_f32(w, "f", 0.25f, &e));
    ok(gguf_put_bool(w, "b", true, &e));
    ok(gguf_put_str(w, "s", "x\0y", 3, &e));
    ok(gguf_put_strings(w, "words", words, 2, &e));
    ok(gguf_put_array(w, "ids", GGUF_I32, ids, 3, &e));
    ok(gguf_put_tensor(w, "x", FMT_F32, 1, (int64_t[]){5}, &e));
    ok(gguf_put_tensor(w, "y", FMT_Q8_0, 2, (int64_t[]){3, 64}, &e));
    ok(gguf_put_data(w, x, 8, &e)); /* pieces of any size */
    ok(gguf_put_data(w, x + 2, 0, &e));
    ok(gguf_put_data(w, x + 2, 12, &e));
    ok(gguf_put_data(w, y, sizeof y, &e));
    assert_int_equal(access(path, F_OK), -1); /* not under its name before it is complete */
    ok(gguf_writer_finish(w, &e));
    assert_int_equal(test_count(dir), 1);

    int64_t i;
    float f;
    bool b;
    struct gguf_str s;
    ok(gguf_open(path, &g, &e));
    ok(gguf_get_int(g, "u", 0, 9, &i, &e));
    assert_int_equal(i, 7);
    ok(gguf_get_f32_or(g, "f", 0, 1, 0, &f, &e));
    assert_true(f == 0.25f);
    ok(gguf_get_bool_or(g, "b", false, &b, &e));
    assert_true(b);
    ok(gguf_get_str(g, "s", &s, &e));
    assert_int_equal(s.len, 3);
    assert_memory_equal(s.s, "x\0y", 3);
    ok(gguf_get_array(g, "words", GGUF_STRING, &kv, &e));
    assert_int_equal(kv->count, 2);
    assert_memory_equal(kv->strings[0].s, "a\0b", 3);
    ok(gguf_get_array(g, "ids", GGUF_I32, &kv, &e));
    assert_memory_equal(kv->raw, ids, sizeof ids);
    assert_int_equal(gguf_n_tensors(g), 2);
    assert_memory_equal(gguf_tensor_find(g, "x")->t.data, x, sizeof x);
    const struct gguf_tensor *t = gguf_tensor_find(g, "y");
    assert_int_equal(t->t.dim[0], 3);
    assert_int_equal(t->t.dim[1], 64);
    assert_memory_equal(t->t.data, y, sizeof y);
    gguf_close(g);
}

/* A copy of every key and tensor has the same keys, shapes and bytes, alignment included. */
static void a_copy_equals_the_original(void **state)
{
    (void)state;
    struct gguf_make m;
    struct gguf *a, *b;
    struct gguf_writer *w;
    struct err e;
    size_t n;
    make_tiny(&m, 2);
    unsigned char *bytes = make_file(&m, &n);
    ok(gguf_open_memory(bytes, n, "a", &a, &e));
    ok(gguf_writer_open(path, &w, &e));
    for (size_t i = 0; i < gguf_n_kv(a); i++)
        ok(gguf_put_kv(w, gguf_kv_at(a, i), &e));
    for (size_t i = 0; i < gguf_n_tensors(a); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(a, i);
        char name[65] = {0};
        memcpy(name, t->name.s, t->name.len);
        ok(gguf_put_tensor(w, name, t->t.fmt, t->t.n_dim, t->t.dim, &e));
    }
    for (size_t i = 0; i < gguf_n_tensors(a); i++)
        ok(gguf_put_data(w, gguf_tensor_at(a, i)->t.data, gguf_tensor_at(a, i)->bytes, &e));
    ok(gguf_writer_finish(w, &e));
    ok(gguf_open(path, &b, &e));
    assert_int_equal(gguf_version(b), 3);
    /* equal bytes except for the version; the copy ends with the padding of its last tensor */
    size_t size;
    char *copy = test_read(path, &size);
    assert_int_equal(size, (n + 31) / 32 * 32);
    assert_memory_equal(copy + 8, bytes + 8, n - 8);
    free(copy);
    gguf_close(b);
    gguf_close(a);
    free(bytes);
    make_free(&m);
}

static void alignment_is_taken_from_its_key(void **state)
{
    (void)state;
    struct gguf_writer *w;
    struct gguf *g;
    struct err e;
    ok(gguf_writer_open(path, &w, &e));
    ok(gguf_put_tensor(w, "x", FMT_F32, 1, (int64_t[]){1}, &e));
    ok(gguf_put_tensor(w, "y", FMT_F32, 1, (int64_t[]){1}, &e));
    fails(gguf_put_u32(w, "general.alignment", 33, &e), ERR_BUG, "power of two");
    ok(gguf_put_u32(w, "general.alignment", 131072, &e));
    ok(gguf_put_data(w, "1234", 4, &e));
    ok(gguf_put_data(w, "5678", 4, &e));
    ok(gguf_writer_finish(w, &e));
    ok(gguf_open(path, &g, &e));
    assert_int_equal(gguf_tensor_find(g, "y")->at, 262144);
    assert_memory_equal(gguf_tensor_find(g, "y")->t.data, "5678", 4);
    gguf_close(g);
}

static void large_tensors_stream_through(void **state)
{
    (void)state;
    enum { N = 3 << 20 }; /* 12 MiB: some blocks and a rest */
    struct gguf_writer *w;
    struct gguf *g;
    struct err e;
    float *x = malloc(N * sizeof *x);
    for (int i = 0; i < N; i++)
        x[i] = (float)i;
    ok(gguf_writer_open(path, &w, &e));
    ok(gguf_put_tensor(w, "x", FMT_F32, 1, (int64_t[]){N}, &e));
    ok(gguf_put_data(w, x, 4, &e));
    ok(gguf_put_data(w, x + 1, (N - 2) * sizeof *x, &e));
    ok(gguf_put_data(w, x + N - 1, 4, &e));
    ok(gguf_writer_finish(w, &e));
    ok(gguf_open(path, &g, &e));
    assert_memory_equal(gguf_tensor_find(g, "x")->t.data, x, N * sizeof *x);
    gguf_close(g);
    free(x);
}

static void misuse_is_named(void **state)
{
    (void)state;
    struct gguf_writer *w;
    struct err e;
    ok(gguf_writer_open(path, &w, &e));
    ok(gguf_put_u32(w, "k", 1, &e));
    fails(gguf_put_u32(w, "k", 1, &e), ERR_BUG, "key 'k'");
    fails(gguf_put_u32(w, "", 1, &e), ERR_BUG, "0 bytes; must be 1 to 65535");
    fails(gguf_put_array(w, "a", GGUF_STRING, "", 1, &e), ERR_BUG, "type string");
    fails(gguf_put_array(w, "a", GGUF_U64, "", SIZE_MAX / 4, &e), ERR_BUG, "elements of type u64");
    ok(gguf_put_tensor(w, "t", FMT_F32, 1, (int64_t[]){2}, &e));
    fails(gguf_put_tensor(w, "t", FMT_F32, 1, (int64_t[]){2}, &e), ERR_BUG, "'t'");
    fails(gguf_put_tensor(w, "u", FMT_Q4_K, 1, (int64_t[]){255}, &e), ERR_BUG, "format Q4_K");
    fails(gguf_put_tensor(w, "u", FMT_F32, 2, (int64_t[]){0, 1}, &e), ERR_BUG, "shape");
    fails(gguf_put_tensor(w, "u", FMT_F32, 5, (int64_t[]){1, 1, 1, 1}, &e), ERR_BUG,
          "5 dimensions");
    fails(gguf_put_tensor(w, "12345678901234567890123456789012345678901234567890123456789012345",
                          FMT_F32, 1, (int64_t[]){2}, &e),
          ERR_BUG, "65 bytes; must be 1 to 64");
    fails(gguf_put_data(w, "123456789", 9, &e), ERR_BUG, "only 8 of its 8 are missing");
    fails(gguf_put_u32(w, "late", 1, &e), ERR_BUG, "after the first data");
    fails(gguf_put_tensor(w, "late", FMT_F32, 1, (int64_t[]){2}, &e), ERR_BUG,
          "after the first data");
    ok(gguf_put_data(w, "1234", 4, &e));
    fails(gguf_writer_finish(w, &e), ERR_BUG, "tensor 't' of");
    assert_non_null(strstr(e.msg, "has 4 of its 8 bytes"));
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(test_count(dir), 0);
    ok(gguf_writer_open(path, &w, &e));
    ok(gguf_put_tensor(w, "t", FMT_F32, 1, (int64_t[]){1}, &e));
    ok(gguf_put_data(w, "1234", 4, &e));
    fails(gguf_put_data(w, "5", 1, &e), ERR_BUG, "after its last tensor");
    gguf_writer_abandon(w);
    gguf_writer_abandon(NULL);
    assert_int_equal(test_count(dir), 0);
}

static void places_that_cannot_be_written_are_named(void **state)
{
    (void)state;
    struct gguf_writer *w;
    struct err e;
    fails(gguf_writer_open("/nonexistent/x.gguf", &w, &e), ERR_CREATE, "/nonexistent/x.gguf");
    ok(gguf_writer_open(path, &w, &e));
    assert_int_equal(mkdir(path, 0700), 0); /* meanwhile */
    fails(gguf_writer_finish(w, &e), ERR_CREATE, "no regular file any more");
    assert_int_equal(test_count(dir), 1);
    fails(gguf_writer_open(path, &w, &e), ERR_CREATE, "it is a folder");
}

static int write_one(size_t floats, struct err *e)
{
    struct gguf_writer *w;
    float *x = calloc(floats, sizeof *x);
    int rc = gguf_writer_open(path, &w, e);
    if (rc == 0)
        rc = gguf_put_tensor(w, "x", FMT_F32, 1, (int64_t[]){(int64_t)floats}, e);
    if (rc == 0)
        rc = gguf_put_data(w, x, floats * sizeof *x, e);
    free(x);
    if (rc == 0)
        return gguf_writer_finish(w, e);
    gguf_writer_abandon(w);
    return rc;
}

static void a_full_device_is_said_and_not_replaced(void **state)
{
    (void)state;
    struct err e;
    assert_int_equal(symlink("/dev/full", path), 0);
    fails(write_one(1 << 10, &e), ERR_IO, "No space left on device; 0 of ");
    assert_non_null(strstr(e.msg, path));
    assert_int_equal(test_count(dir), 1);
    struct stat st;
    assert_int_equal(lstat(path, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
}

static void a_file_size_limit_leaves_nothing_behind(void **state)
{
    (void)state;
    struct err e;
    struct rlimit old, small = {.rlim_cur = 5 << 20, .rlim_max = RLIM_INFINITY};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small.rlim_max = old.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int rc = write_one(2 << 20, &e);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(rc, ERR_IO);
    assert_non_null(strstr(e.msg, "ulimit -f, is 5242880 bytes); 5242880 of 8388"));
    assert_non_null(strstr(e.msg, "bytes free there"));
    assert_int_equal(test_count(dir), 0);
    assert_int_equal(access(path, F_OK), -1);
    ok(write_one(16, &e)); /* and the same writer works again */
}

static void a_file_larger_than_the_disk_fails_before_the_data(void **state)
{
    (void)state;
    struct gguf_writer *w;
    struct err e;
    ok(gguf_writer_open(path, &w, &e));
    ok(gguf_put_tensor(w, "x", FMT_F32, 2, (int64_t[]){(int64_t)1 << 30, (int64_t)1 << 26}, &e));
    fails(gguf_put_data(w, "1234", 4, &e), ERR_IO, "No space left");
    assert_non_null(strstr(e.msg, "0 of 2882303761"));
    assert_non_null(strstr(e.msg, "bytes free there"));
    gguf_writer_abandon(w);
}

/* A model is written in one pass, so a pipe can take it. A hollow file cannot go into a pipe. */
static void a_pipe_gets_the_bytes_of_a_file(void **state)
{
    (void)state;
    struct gguf_writer *w;
    struct err e;
    char name[32], want[1 << 14], got[1 << 14];
    int p[2];
    size_t n;
    ok(write_one(100, &e));
    char *file = test_read(path, &n);
    assert_true(n < sizeof want);
    memcpy(want, file, n);
    free(file);
    assert_int_equal(pipe(p), 0);
    snprintf(name, sizeof name, "/dev/fd/%d", p[1]);
    char was[sizeof path];
    memcpy(was, path, sizeof was);
    snprintf(path, sizeof path, "%s", name);
    ok(write_one(100, &e));
    fails(gguf_writer_open_hollow(path, &w, &e), ERR_USAGE,
          "a file with holes cannot go into a pipe");
    memcpy(path, was, sizeof path);
    close(p[1]);
    ssize_t k = read(p[0], got, sizeof got);
    close(p[0]);
    assert_int_equal(k, n);
    assert_memory_equal(got, want, n);
}

static void a_hollow_model_is_all_zeros(void **state)
{
    (void)state;
    struct gguf_writer *w;
    struct gguf *g;
    struct err e;
    ok(gguf_writer_open_hollow(path, &w, &e));
    ok(gguf_put_tensor(w, "x", FMT_F32, 2, (int64_t[]){1 << 10, 1 << 10}, &e));
    fails(gguf_put_data(w, "1234", 4, &e), ERR_BUG, "is hollow");
    ok(gguf_writer_finish(w, &e));
    ok(gguf_open(path, &g, &e));
    const float *x = gguf_tensor_find(g, "x")->t.data;
    for (int i = 0; i < 1 << 20; i++)
        assert_true(x[i] == 0);
    gguf_close(g);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_blocks * 512 < 1 << 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_written_is_read_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_copy_equals_the_original, set_up, tear_down),
        cmocka_unit_test_setup_teardown(alignment_is_taken_from_its_key, set_up, tear_down),
        cmocka_unit_test_setup_teardown(large_tensors_stream_through, set_up, tear_down),
        cmocka_unit_test_setup_teardown(misuse_is_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(places_that_cannot_be_written_are_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_device_is_said_and_not_replaced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_pipe_gets_the_bytes_of_a_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_hollow_model_is_all_zeros, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_size_limit_leaves_nothing_behind, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_larger_than_the_disk_fails_before_the_data, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
