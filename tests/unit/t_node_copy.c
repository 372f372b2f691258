/* Copies of model files on this host. */
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "node_copy.h"
#include "sha256.h"
#include "test.h"

#define BYTES ((size_t)9 << 20) /* more than two pieces */

static void write_file(const char *path, size_t n, unsigned seed)
{
    unsigned char *p = malloc(n ? n : 1);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    for (size_t i = 0; i < n; i++)
        p[i] = (unsigned char)((i * 2654435761u + seed) >> 13);
    assert_int_equal(fwrite(p, 1, n, f), n);
    fclose(f);
    free(p);
}

static void hash_of(const char *path, char hex[65])
{
    size_t n = 0;
    struct err e;
    char *s = test_read(path, &n);
    ok(sha256_hex(s, n, hex, &e));
    free(s);
}

static void same_file(const char *a, const char *b)
{
    char x[65], y[65];
    hash_of(a, x);
    hash_of(b, y);
    assert_string_equal(x, y);
}

struct seen {
    uint64_t done, total;
    int calls, die_at; /* at this call the process kills itself; 0 = never */
    atomic_int stop;
    int stop_at;
};

static void progress(uint64_t done, uint64_t total, void *user)
{
    struct seen *s = user;
    s->done = done;
    s->total = total;
    if (++s->calls == s->die_at)
        raise(SIGKILL);
    if (s->calls == s->stop_at)
        s->stop = 1;
}

static int copy(const char *dir, const char *path, struct seen *s, struct str *out, char hex[65],
                bool *made, struct err *e)
{
    const struct node_copy_options o = {
        .dir = dir, .stop = &s->stop, .progress = progress, .user = s};
    str_clear(out);
    return node_copy(&o, path, out, hex, made, e);
}

static void a_file_is_copied_once(void **state)
{
    (void)state;
    char dir[256], from[300], to[300], hex[65], want[65];
    struct str out = STR_INIT;
    struct seen s = {.calls = 0};
    struct err e;
    bool made = false;
    test_mkdir(dir);
    snprintf(from, sizeof from, "%s/model.gguf", dir);
    snprintf(to, sizeof to, "%s/copies", dir);
    write_file(from, BYTES, 1);
    ok(copy(to, from, &s, &out, hex, &made, &e));
    assert_true(made);
    assert_int_equal(s.done, BYTES);
    assert_int_equal(s.total, BYTES);
    same_file(from, out.s);
    hash_of(from, want);
    assert_string_equal(hex, want);
    memset(hex, 0, sizeof hex);
    ok(copy(to, from, &s, &out, hex, &made, &e));
    assert_false(made);
    assert_string_equal(hex, want);
    /* another file of the same name and place: copied again */
    write_file(from, BYTES, 2);
    ok(copy(to, from, &s, &out, hex, &made, &e));
    assert_true(made);
    same_file(from, out.s);
    /* a change in place, with the times of before */
    struct stat st;
    assert_int_equal(stat(from, &st), 0);
    const struct timespec times[2] = {st.st_atim, st.st_mtim};
    const int fd = open(from, O_WRONLY);
    assert_int_equal(pwrite(fd, "other", 5, BYTES / 2), 5);
    close(fd);
    assert_int_equal(utimensat(AT_FDCWD, from, times, 0), 0);
    ok(copy(to, from, &s, &out, hex, &made, &e));
    assert_true(made);
    same_file(from, out.s);
    /* a copy of another length does not count */
    assert_int_equal(truncate(out.s, 5), 0);
    ok(copy(to, from, &s, &out, hex, &made, &e));
    assert_true(made);
    same_file(from, out.s);
    fails(copy(to, "/no/such.gguf", &s, &out, hex, &made, &e), ERR_NOINPUT, "cannot open");
    fails(copy("/proc/no", from, &s, &out, hex, &made, &e), ERR_CREATE, "cannot create the folder");
    str_free(&out);
    test_rmdir(dir);
}

static void all_parts_are_copied(void **state)
{
    (void)state;
    char dir[256], from[300], to[300], hex[65], want[65], other[1400];
    struct str out = STR_INIT;
    struct seen s = {.calls = 0};
    struct sha256 *h = NULL;
    struct err e;
    bool made = false;
    test_mkdir(dir);
    snprintf(to, sizeof to, "%s/copies", dir);
    ok(sha256_open(&h, &e));
    for (int i = 1; i <= 3; i++) {
        size_t n = 0;
        snprintf(from, sizeof from, "%s/m-%05d-of-00003.gguf", dir, i);
        write_file(from, 1000 * (size_t)i, (unsigned)i);
        char *text = test_read(from, &n);
        ok(sha256_add(h, text, n, &e));
        free(text);
    }
    ok(sha256_finish(h, want, &e));
    sha256_close(h);
    snprintf(from, sizeof from, "%s/m-00002-of-00003.gguf", dir);
    ok(copy(to, from, &s, &out, hex, &made, &e));
    assert_string_equal(hex, want);
    same_file(from, out.s);
    snprintf(other, sizeof other, "%.*s00003-of-00003.gguf", (int)(out.len - 19), out.s);
    snprintf(from, sizeof from, "%s/m-00003-of-00003.gguf", dir);
    same_file(from, other);
    ok(copy(to, from, &s, &out, hex, &made, &e)); /* any part names the model */
    assert_false(made);
    snprintf(from, sizeof from, "%s/m-00001-of-00003.gguf", dir);
    unlink(from);
    fails(copy(to, from, &s, &out, hex, &made, &e), ERR_NOINPUT, "m-00001-of-00003.gguf");
    str_free(&out);
    test_rmdir(dir);
}

/* One of several processes copies; when it is killed, another does. */
static void of_many_processes_one_copies(void **state)
{
    (void)state;
    for (int killed = 0; killed <= 1; killed++) {
        char dir[256], from[300], to[300];
        int makers = 0, deaths = 0;
        pid_t pid[5];
        test_mkdir(dir);
        snprintf(from, sizeof from, "%s/model.gguf", dir);
        snprintf(to, sizeof to, "%s/copies", dir);
        write_file(from, BYTES, 3);
        for (int i = 0; i < 5; i++) {
            pid[i] = fork();
            if (pid[i])
                continue;
            struct str out = STR_INIT;
            struct seen s = {.die_at = killed && i == 0 ? 2 : 0};
            struct err e = {.code = 0};
            char hex[65];
            bool made = false;
            if (killed && i) /* the first one has begun */
                usleep(30000);
            _exit(copy(to, from, &s, &out, hex, &made, &e) < 0 ? 9 : made ? 1 : 0);
        }
        for (int i = 0; i < 5; i++) {
            int status = 0;
            waitpid(pid[i], &status, 0);
            deaths += WIFSIGNALED(status);
            makers += WIFEXITED(status) && WEXITSTATUS(status) == 1;
            assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 9);
        }
        assert_int_equal(deaths, killed);
        assert_int_equal(makers, 1);
        test_rmdir(dir);
    }
}

static void a_stop_leaves_no_half_copy(void **state)
{
    (void)state;
    char dir[256], from[300], to[300], hex[65];
    struct str out = STR_INIT;
    struct seen s = {.stop_at = 1};
    struct err e;
    bool made = false;
    test_mkdir(dir);
    snprintf(from, sizeof from, "%s/model.gguf", dir);
    snprintf(to, sizeof to, "%s/copies", dir);
    write_file(from, BYTES, 4);
    fails(copy(to, from, &s, &out, hex, &made, &e), ERR_CANCEL, "stopped");
    s = (struct seen){.calls = 0};
    ok(copy(to, from, &s, &out, hex, &made, &e));
    assert_true(made);
    same_file(from, out.s);
    str_free(&out);
    test_rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_copied_once),
        cmocka_unit_test(all_parts_are_copied),
        cmocka_unit_test(of_many_processes_one_copies),
        cmocka_unit_test(a_stop_leaves_no_half_copy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
