#include "rng.h"
#include "test.h"
#include "zio.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[256];

static int open_dir(void **state)
{
    (void)state;
    test_mkdir(dir);
    return 0;
}

static int close_dir(void **state)
{
    (void)state;
    test_rmdir(dir);
    return 0;
}

static const char *put(const void *data, size_t n)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/file", dir);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    return path;
}

/* n bytes: half of them compress well, half do not. */
static void fill(struct str *out, size_t n, uint64_t seed)
{
    str_clear(out);
    for (size_t i = 0; i < n; i++)
        str_addc(out, i / 1000 % 2 ? (char)rng_u64(seed, i) : (char)(i / 64));
}

static void files_come_back_plain_or_packed(void **state)
{
    static const size_t sizes[] = {0, 1, 2, 3, 32767, 32768, 32769, 1000000};
    struct str data = STR_INIT, packed = STR_INIT, got = STR_INIT;
    struct err e;
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        fill(&data, sizes[i], i);
        ok(zio_read(put(data.s, data.len), sizes[i], &got, &e));
        assert_int_equal(got.len, sizes[i]);
        assert_memory_equal(got.s, data.s, sizes[i]);
        str_clear(&packed);
        ok(zio_gzip(data.s, data.len, &packed, &e));
        ok(zio_read(put(packed.s, packed.len), sizes[i], &got, &e)); /* replaces what got held */
        assert_int_equal(got.len, sizes[i]);
        assert_memory_equal(got.s, data.s, sizes[i]);
        assert_int_equal(got.s[got.len], 0);
    }
    str_free(&data);
    str_free(&packed);
    str_free(&got);
}

static void members_follow_each_other(void **state)
{
    struct str packed = STR_INIT, data = STR_INIT, got = STR_INIT, all = STR_INIT;
    struct err e;
    (void)state;
    for (uint64_t i = 0; i < 40; i++) { /* members end anywhere in the read buffer */
        fill(&data, (size_t)rng_below(1, i, 20000), i);
        str_add(&all, data.s, data.len);
        ok(zio_gzip(data.s, data.len, &packed, &e));
    }
    ok(zio_read(put(packed.s, packed.len), all.len, &got, &e));
    assert_int_equal(got.len, all.len);
    assert_memory_equal(got.s, all.s, all.len);
    char want[64];
    snprintf(want, sizeof want, "follow at byte %zu", packed.len);
    str_add(&packed, "tail", 4);
    fails(zio_read(put(packed.s, packed.len), all.len, &got, &e), ERR_DATA, want);
    assert_int_equal(got.len, all.len); /* untouched */
    packed.s[packed.len - 4] = 0x1f;    /* one byte of a magic number is none */
    fails(zio_read(put(packed.s, packed.len - 3), all.len, &got, &e), ERR_DATA, want);
    str_free(&packed);
    str_free(&data);
    str_free(&got);
    str_free(&all);
}

static void zeros_after_the_last_member_are_padding(void **state)
{
    static const size_t zeros[] = {1, 2, 511, 32767, 32768, 100000};
    struct str packed = STR_INIT, got = STR_INIT;
    struct err e;
    (void)state;
    ok(zio_gzip("hello\n", 6, &packed, &e));
    ok(zio_gzip("again\n", 6, &packed, &e));
    size_t n = packed.len;
    for (size_t i = 0; i < sizeof zeros / sizeof zeros[0]; i++) {
        while (packed.len < n + zeros[i])
            str_addc(&packed, 0);
        ok(zio_read(put(packed.s, packed.len), 12, &got, &e));
        assert_string_equal(got.s, "hello\nagain\n");
    }
    str_addc(&packed, 'x');
    fails(zio_read(put(packed.s, packed.len), 12, &got, &e), ERR_DATA,
          "100000 zero bytes after a gzip member");
    packed.len = n + 1;
    ok(zio_gzip("more\n", 5, &packed, &e)); /* another member after a zero is no padding */
    fails(zio_read(put(packed.s, packed.len), 99, &got, &e), ERR_DATA,
          "1 zero bytes after a gzip member");
    str_free(&packed);
    str_free(&got);
}

static void gzip_is_what_gzip_reads_and_always_the_same(void **state)
{
    struct str a = STR_INIT, b = STR_INIT, out = STR_INIT;
    struct err e;
    (void)state;
    ok(zio_gzip("hello\n", 6, &a, &e));
    ok(zio_gzip("hello\n", 6, &b, &e));
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.s, b.s, a.len);
    assert_int_equal(test_run(&out, "gzip -dc < '%s'", put(a.s, a.len)), 0);
    assert_string_equal(out.s, "hello\n");
    str_free(&a);
    str_free(&b);
    str_free(&out);
}

static void every_cut_of_a_packed_file_is_noticed_with_its_place(void **state)
{
    struct str data = STR_INIT, packed = STR_INIT, got = STR_INIT;
    struct err e;
    char want[128];
    (void)state;
    fill(&data, 3000, 7);
    ok(zio_gzip(data.s, 1000, &packed, &e));
    size_t first = packed.len;
    ok(zio_gzip(data.s + 1000, 2000, &packed, &e));
    for (size_t n = 2; n < packed.len; n++) {
        const char *path = put(packed.s, n);
        if (n == first) {
            ok(zio_read(path, 3000, &got, &e));
            continue;
        }
        if (n == first + 1)
            snprintf(want, sizeof want, "no gzip member follow at byte %zu", first);
        else
            snprintf(want, sizeof want,
                     "ends at byte %zu inside the gzip member that begins at byte %zu", n,
                     n > first ? first : (size_t)0);
        fails(zio_read(path, 3000, &got, &e), ERR_DATA, want);
    }
    str_free(&data);
    str_free(&packed);
    str_free(&got);
}

static void a_flipped_bit_never_passes_for_the_data(void **state)
{
    struct str data = STR_INIT, packed = STR_INIT, got = STR_INIT;
    struct err e;
    size_t refused = 0;
    (void)state;
    fill(&data, 1300, 9);
    ok(zio_gzip(data.s, data.len, &packed, &e));
    for (size_t bit = 0; bit < packed.len * 8; bit++) {
        packed.s[bit / 8] ^= (char)(1 << bit % 8);
        int rc = zio_read(put(packed.s, packed.len), 1300, &got, &e);
        bool same = rc == 0 && got.len == data.len && !memcmp(got.s, data.s, data.len);
        /* The first two bytes decide whether it is gzip at all. Time and system in the header, and
         * the padding of the last byte, are not data. */
        if (bit / 8 >= 2 && rc == 0)
            assert_true(same);
        if (rc < 0) {
            assert_int_equal(rc, ERR_DATA);
            assert_non_null(strstr(e.msg, "byte"));
            refused++;
        }
        packed.s[bit / 8] ^= (char)(1 << bit % 8);
    }
    assert_true(refused > packed.len * 7);
    str_free(&data);
    str_free(&packed);
    str_free(&got);
}

static void more_than_the_cap_is_refused_early(void **state)
{
    struct str packed = STR_INIT, got = STR_INIT;
    struct err e;
    (void)state;
    char *zeros = calloc(1 << 20, 1);
    assert_non_null(zeros);
    struct str one = STR_INIT;
    ok(zio_gzip(zeros, 1 << 20, &one, &e));
    for (int i = 0; i < 1024; i++) /* 1 GiB in 1 MiB: a bomb */
        str_add(&packed, one.s, one.len);
    assert_false(packed.failed);
    assert_true(packed.len < 1100 * 1024);
    fails(zio_read(put(packed.s, packed.len), 1000000, &got, &e), ERR_DATA, "1000000 bytes");
    assert_int_equal(got.cap, 0);
    fails(zio_read(put(zeros, 11), 10, &got, &e), ERR_DATA, "limit of 10 bytes");
    ok(zio_read(put(zeros, 10), 10, &got, &e));
    fails(zio_read(put("x", 1), 0, &got, &e), ERR_DATA, "limit of 0 bytes");
    ok(zio_read(put("", 0), 0, &got, &e));
    fails(zio_read("/dev/zero", 100000, &got, &e), ERR_DATA, "100000 bytes");
    free(zeros);
    str_free(&one);
    str_free(&packed);
    str_free(&got);
}

static void what_cannot_be_read_is_named(void **state)
{
    struct str got = STR_INIT;
    struct err e;
    char path[512];
    (void)state;
    snprintf(path, sizeof path, "%s/none", dir);
    fails(zio_read(path, 10, &got, &e), ERR_NOINPUT, "/none': No such file");
    fails(zio_read(dir, 10, &got, &e), ERR_NOINPUT, "is a directory");
    assert_int_equal(got.len, 0);
    str_free(&got);
}

static void standard_input_has_a_name(void **state)
{
    struct str got = STR_INIT;
    struct err e;
    (void)state;
    int keep = dup(STDIN_FILENO), fd = open(put("from stdin", 10), O_RDONLY);
    assert_true(keep >= 0 && fd >= 0);
    assert_true(dup2(fd, STDIN_FILENO) == STDIN_FILENO);
    close(fd);
    ok(zio_read("-", 10, &got, &e));
    assert_string_equal(got.s, "from stdin");
    assert_true(lseek(STDIN_FILENO, 0, SEEK_SET) == 0);
    fails(zio_read("-", 9, &got, &e), ERR_DATA, "'standard input'");
    dup2(keep, STDIN_FILENO);
    close(keep);
    str_free(&got);
}

static void crc_is_the_one_of_gzip(void **state)
{
    (void)state;
    assert_true(zio_crc32(0, "123456789", 9) == 0xcbf43926u); /* check value of CRC-32/ISO-HDLC */
    assert_true(zio_crc32(zio_crc32(0, "1234", 4), "56789", 5) == 0xcbf43926u);
    assert_true(zio_crc32(0, NULL, 0) == 0);
    assert_true(zio_crc32(0xcbf43926u, NULL, 0) == 0xcbf43926u);
}

static void a_full_disk_is_named_with_what_is_free(void **state)
{
    struct err e;
    (void)state;
    int fd = open("/dev/full", O_WRONLY);
    if (fd < 0)
        skip();
    fails(zio_write_all(fd, "runs/x/traces.jsonl", "abc", 3, &e), ERR_IO,
          "cannot write 'runs/x/traces.jsonl': No space left on device after 0 of 3 bytes; ");
    assert_non_null(strstr(e.msg, "bytes are free there; make room"));
    ok(zio_write_all(fd, "runs/x/traces.jsonl", "", 0, &e));
    close(fd);
    fails(zio_write_all(-1, "gone", "abc", 3, &e), ERR_IO, "cannot write 'gone': Bad file");
}

static void a_short_write_goes_on_until_nothing_more_fits(void **state)
{
    struct err e;
    struct rlimit old, small;
    struct str data = STR_INIT;
    (void)state;
    const char *path = put("", 0);
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    fill(&data, 10000, 3);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 4096; /* the kernel writes 4,096 bytes, then refuses */
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int rc = zio_write_all(fd, path, data.s, data.len, &e);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_DFL);
    close(fd);
    assert_int_equal(rc, ERR_IO);
    assert_non_null(strstr(e.msg, "after 4096 of 10000 bytes"));
    size_t n;
    char *back = test_read(path, &n);
    assert_int_equal(n, 4096);
    assert_memory_equal(back, data.s, n);
    free(back);
    str_free(&data);
}

static volatile sig_atomic_t alarms;
static int go_fd;

static void on_alarm(int sig)
{
    (void)sig;
    if (++alarms == 3) /* the first cuts a write short; at the second nothing is written: EINTR */
        (void)!write(go_fd, "g", 1);
}

/* The reader sleeps until the writer, blocked on a full pipe, has been interrupted three times. */
static void interrupted_writes_go_on(void **state)
{
    struct err e;
    struct str data = STR_INIT;
    int pipe_fd[2], go[2], status;
    const size_t size = 1 << 20;
    (void)state;
    fill(&data, size, 5);
    assert_int_equal(pipe(pipe_fd), 0);
    assert_int_equal(pipe(go), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        char buf[4096];
        uint32_t crc = 0;
        size_t got = 0;
        close(pipe_fd[1]);
        bool good = read(go[0], buf, 1) == 1;
        for (ssize_t k; (k = read(pipe_fd[0], buf, sizeof buf)) > 0; got += (size_t)k)
            crc = zio_crc32(crc, buf, (size_t)k);
        _exit(good && got == size && crc == zio_crc32(0, data.s, size) ? 0 : 1);
    }
    close(pipe_fd[0]);
    go_fd = go[1];
    struct sigaction act = {.sa_handler = on_alarm}, before; /* no SA_RESTART */
    assert_int_equal(sigaction(SIGALRM, &act, &before), 0);
    struct itimerval every = {{0, 2000}, {0, 2000}}, off = {{0, 0}, {0, 0}};
    assert_int_equal(setitimer(ITIMER_REAL, &every, NULL), 0);
    int rc = zio_write_all(pipe_fd[1], "a pipe", data.s, size, &e);
    setitimer(ITIMER_REAL, &off, NULL);
    sigaction(SIGALRM, &before, NULL);
    close(pipe_fd[1]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(rc, 0);
    assert_int_equal(status, 0);
    assert_true(alarms >= 3);
    close(go[0]);
    close(go[1]);
    str_free(&data);
}

/* A writer waits for a nonblocking descriptor. */
static void a_descriptor_that_does_not_block_is_waited_for(void **state)
{
    struct err e;
    struct str data = STR_INIT;
    int pipe_fd[2], status;
    (void)state;
    fill(&data, 1 << 20, 6);
    assert_int_equal(pipe(pipe_fd), 0);
    assert_true(fcntl(pipe_fd[1], F_SETFL, O_NONBLOCK) == 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        char buf[4096];
        size_t got = 0;
        close(pipe_fd[1]);
        for (ssize_t k; (k = read(pipe_fd[0], buf, sizeof buf)) > 0;)
            got += (size_t)k;
        _exit(got == 1 << 20 ? 0 : 1);
    }
    close(pipe_fd[0]);
    ok(zio_write_all(pipe_fd[1], "a pipe", data.s, data.len, &e));
    close(pipe_fd[1]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    str_free(&data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_come_back_plain_or_packed),
        cmocka_unit_test(members_follow_each_other),
        cmocka_unit_test(zeros_after_the_last_member_are_padding),
        cmocka_unit_test(gzip_is_what_gzip_reads_and_always_the_same),
        cmocka_unit_test(every_cut_of_a_packed_file_is_noticed_with_its_place),
        cmocka_unit_test(a_flipped_bit_never_passes_for_the_data),
        cmocka_unit_test(more_than_the_cap_is_refused_early),
        cmocka_unit_test(what_cannot_be_read_is_named),
        cmocka_unit_test(standard_input_has_a_name),
        cmocka_unit_test(crc_is_the_one_of_gzip),
        cmocka_unit_test(a_full_disk_is_named_with_what_is_free),
        cmocka_unit_test(a_short_write_goes_on_until_nothing_more_fits),
        cmocka_unit_test(interrupted_writes_go_on),
        cmocka_unit_test(a_descriptor_that_does_not_block_is_waited_for),
    };
    return cmocka_run_group_tests(tests, open_dir, close_dir);
}
