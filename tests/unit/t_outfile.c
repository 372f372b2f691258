/* outfile: links stay, devices and pipes are written to, a file is complete or unchanged. */
#define _GNU_SOURCE /* O_TMPFILE */
#include "outfile.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

static char dir[256], path[300], other[300];

static int set_up(void **state)
{
    (void)state;
    test_mkdir(dir);
    snprintf(path, sizeof path, "%s/f", dir);
    snprintf(other, sizeof other, "%s/g", dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    test_rmdir(dir);
    return 0;
}

static void put(const char *at, const char *text)
{
    FILE *f = fopen(at, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static void holds(const char *at, const char *text)
{
    char *got = test_read(at, NULL);
    assert_string_equal(got, text);
    free(got);
}

static mode_t mode_of(const char *at)
{
    struct stat st;
    assert_int_equal(lstat(at, &st), 0);
    return st.st_mode;
}

/* Both ways of keeping the bytes until the end. */
static int save(const char *at, const char *text, unsigned flags, struct err *e)
{
    struct outfile *o = NULL;
    int rc = outfile_open(at, flags, &o, e);
    if (rc == 0)
        rc = outfile_put(o, text, strlen(text), e);
    if (rc == 0)
        return outfile_commit(o, e);
    outfile_abandon(o);
    return rc;
}

static void a_file_is_there_completely_or_as_it_was(void **state)
{
    (void)state;
    struct err e;
    struct outfile *o;
    for (unsigned flags = 0; flags <= OUTFILE_NAMED; flags++) {
        put(path, "old");
        ok(outfile_open(path, flags, &o, &e));
        ok(outfile_put(o, "new", 3, &e));
        holds(path, "old");
        assert_int_equal(test_count(dir), 1 + (int)flags);
        outfile_abandon(o);
        holds(path, "old");
        assert_int_equal(test_count(dir), 1);
        ok(save(path, "new", flags, &e));
        holds(path, "new");
        assert_int_equal(unlink(path), 0);
        ok(save(path, "first", flags, &e));
        holds(path, "first");
        assert_int_equal(test_count(dir), 1);
    }
    ok(outfile_save(path, "", 0, &e));
    holds(path, "");
    outfile_abandon(NULL);
}

/* A process that dies leaves no file, if the file system has unnamed files. */
static void a_killed_writer_leaves_nothing(void **state)
{
    (void)state;
    int probe = open(dir, O_WRONLY | O_TMPFILE, 0600), status;
    if (probe < 0)
        skip();
    close(probe);
    put(path, "old");
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct outfile *o;
        if (outfile_open(path, 0, &o, NULL) == 0 && outfile_put(o, "new", 3, NULL) == 0)
            kill(getpid(), SIGKILL);
        _exit(1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    holds(path, "old");
    assert_int_equal(test_count(dir), 1);
}

static void names_beside_it_are_left_alone(void **state)
{
    (void)state;
    static const char *const end[] = {"", ".tmp", ".part", "~", ".bak"};
    struct err e;
    char name[320];
    for (size_t i = 1; i < 5; i++) {
        snprintf(name, sizeof name, "%s%s", path, end[i]);
        put(name, end[i]);
    }
    for (unsigned flags = 0; flags <= OUTFILE_NAMED; flags++)
        ok(save(path, "", flags, &e));
    for (size_t i = 0; i < 5; i++) {
        snprintf(name, sizeof name, "%s%s", path, end[i]);
        holds(name, end[i]);
    }
}

static void a_long_name_has_room(void **state)
{
    (void)state;
    struct err e;
    char name[520], base[256];
    memset(base, 'x', 255);
    base[255] = 0;
    snprintf(name, sizeof name, "%s/%s", dir, base);
    ok(save(name, "a", OUTFILE_NAMED, &e));
    ok(save(name, "b", 0, &e));
    holds(name, "b");
    snprintf(name, sizeof name, "%s/%sx", dir, base);
    fails(save(name, "a", 0, &e), ERR_CREATE, "too long");
}

static void the_mode_is_kept_and_the_umask_honoured(void **state)
{
    (void)state;
    struct err e;
    mode_t before = umask(027);
    for (unsigned flags = 0; flags <= OUTFILE_NAMED; flags++) {
        unlink(path);
        ok(save(path, "a", flags, &e));
        assert_int_equal(mode_of(path) & 07777, 0640);
        assert_int_equal(chmod(path, 0666), 0);
        ok(save(path, "b", flags, &e));
        assert_int_equal(mode_of(path) & 07777, 0666);
        assert_int_equal(chmod(path, 0600), 0);
        ok(save(path, "c", flags, &e));
        assert_int_equal(mode_of(path) & 07777, 0600);
        if (geteuid() == 0) {
            struct stat st;
            assert_int_equal(chown(path, 1234, 2345), 0);
            ok(save(path, "d", flags, &e));
            assert_int_equal(stat(path, &st), 0);
            assert_int_equal(st.st_uid, 1234);
            assert_int_equal(st.st_gid, 2345);
            assert_int_equal(st.st_mode & 07777, 0600);
        }
    }
    umask(before);
}

static void a_link_stays_and_its_target_is_replaced(void **state)
{
    (void)state;
    struct err e;
    char sub[320], link[340], far[340];
    snprintf(sub, sizeof sub, "%s/sub", dir);
    snprintf(link, sizeof link, "%s/link", sub);
    snprintf(far, sizeof far, "%s/far", sub);
    assert_int_equal(mkdir(sub, 0700), 0);
    assert_int_equal(symlink("../f", link), 0); /* relative to its own folder */
    put(path, "old");
    ok(save(link, "new", 0, &e));
    assert_true(S_ISLNK(mode_of(link)));
    assert_true(S_ISREG(mode_of(path)));
    holds(path, "new");
    assert_int_equal(symlink(link, far), 0); /* a link to a link */
    ok(save(far, "newer", OUTFILE_NAMED, &e));
    holds(path, "newer");
    assert_int_equal(unlink(path), 0); /* now they lead nowhere */
    ok(save(far, "first", 0, &e));
    assert_true(S_ISLNK(mode_of(far)) && S_ISLNK(mode_of(link)));
    holds(path, "first");
    assert_int_equal(test_count(sub), 2);
}

static void links_that_lead_nowhere_useful_are_named(void **state)
{
    (void)state;
    struct err e;
    assert_int_equal(symlink("g", path), 0);
    assert_int_equal(symlink("f", other), 0);
    fails(save(path, "x", 0, &e), ERR_CREATE, "Too many levels of symbolic links");
    assert_int_equal(unlink(other), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("nowhere/x", path), 0);
    fails(save(path, "x", 0, &e), ERR_CREATE, "nowhere/x, to which ");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink(dir, path), 0);
    fails(save(path, "x", 0, &e), ERR_CREATE, "it is a folder");
    fails(save(dir, "x", 0, &e), ERR_CREATE, "it is a folder");
    fails(save("", "x", 0, &e), ERR_CREATE, "No such file");
    fails(save("/proc/self/fd/999", "x", 0, &e), ERR_CREATE, "there is no /proc/self/fd/999");
    assert_int_equal(test_count(dir), 1);
}

/* As in the kernel: another user's link in a folder open to all is not followed. */
static void a_strangers_link_in_a_common_folder_is_not_followed(void **state)
{
    (void)state;
    struct err e;
    if (geteuid() != 0) {
        print_message("skipped: needs root\n");
        skip();
    }
    put(other, "mine");
    assert_int_equal(symlink("g", path), 0);
    assert_int_equal(lchown(path, 1234, 1234), 0);
    ok(save(path, "new", 0, &e));
    assert_int_equal(chmod(dir, 01777), 0);
    fails(save(path, "newer", 0, &e), ERR_CREATE, "belongs to somebody else");
    holds(other, "new");
}

static void a_device_is_written_into(void **state)
{
    (void)state;
    struct err e;
    struct stat a, b;
    assert_int_equal(stat("/dev/null", &a), 0);
    assert_int_equal(symlink("/dev/null", path), 0);
    ok(save("/dev/null", "x", 0, &e));
    ok(save(path, "x", 0, &e));
    assert_int_equal(stat("/dev/null", &b), 0);
    assert_true(S_ISCHR(b.st_mode) && a.st_ino == b.st_ino && a.st_dev == b.st_dev);
    assert_true(S_ISLNK(mode_of(path)));
    fails(save("/dev/full", "x", 0, &e), ERR_IO,
          "cannot write /dev/full: No space left on device; 0 bytes written");
    struct outfile *o;
    fails(outfile_open("/dev/null", OUTFILE_EXTENDS, &o, &e), ERR_USAGE, "a file with holes");
}

static void a_fifo_gets_the_bytes(void **state)
{
    (void)state;
    struct err e;
    char got[8] = "";
    assert_int_equal(mkfifo(path, 0600), 0);
    int fd = open(path, O_RDONLY | O_NONBLOCK);
    assert_true(fd >= 0);
    ok(save(path, "abc", 0, &e));
    assert_int_equal(read(fd, got, sizeof got), 3);
    assert_string_equal(got, "abc");
    struct outfile *o;
    ok(outfile_open(path, 0, &o, &e));
    close(fd);
    signal(SIGPIPE, SIG_IGN);
    fails(outfile_put(o, "x", 1, &e), ERR_IO, "nobody reads it any more");
    signal(SIGPIPE, SIG_DFL);
    outfile_abandon(o);
    assert_true(S_ISFIFO(mode_of(path)));
}

/* Other writes to the descriptor come before and after our bytes. */
static void an_open_descriptor_is_shared(void **state)
{
    (void)state;
    struct err e;
    char name[64];
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    static const char *const form[] = {"/dev/fd/%d", "/proc/self/fd/%d", "/proc/%2$ld/fd/%1$d"};
    assert_int_equal(write(fd, "<", 1), 1);
    for (size_t i = 0; i < 3; i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-extra-args"
        snprintf(name, sizeof name, form[i], fd, (long)getpid());
#pragma GCC diagnostic pop
        ok(save(name, "abc", 0, &e));
    }
    assert_int_equal(write(fd, ">", 1), 1);
    close(fd);
    holds(path, "<abcabcabc>");
    fd = open(path, O_RDONLY);
    snprintf(name, sizeof name, "/dev/fd/%d", fd);
    fails(save(name, "abc", 0, &e), ERR_CREATE, "is not open for writing");
    close(fd);
    assert_int_equal(test_count(dir), 1);
}

static void other_names_of_a_file_keep_the_old_content(void **state)
{
    (void)state;
    struct err e;
    put(path, "old");
    assert_int_equal(link(path, other), 0);
    ok(save(path, "new", 0, &e));
    holds(path, "new");
    holds(other, "old");
}

/* A pipe that took the target's place meanwhile is not replaced. */
static void a_pipe_that_came_meanwhile_stays(void **state)
{
    (void)state;
    struct err e;
    struct outfile *o;
    for (unsigned flags = 0; flags <= OUTFILE_NAMED; flags++) {
        ok(outfile_open(path, flags, &o, &e));
        assert_int_equal(mkfifo(path, 0600), 0);
        fails(outfile_commit(o, &e), ERR_CREATE, "no regular file any more");
        assert_true(S_ISFIFO(mode_of(path)));
        assert_int_equal(unlink(path), 0);
        ok(outfile_open(path, flags, &o, &e));
        put(path, "another one's");
        ok(outfile_put(o, "ours", 4, &e));
        ok(outfile_commit(o, &e));
        holds(path, "ours");
        assert_int_equal(unlink(path), 0);
        assert_int_equal(test_count(dir), 0);
    }
}

/* Runs as an ordinary user; the exit status reports the checks. */
#define CHILD_CHECK(cond)                                                                          \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "line %d: %s; %s\n", __LINE__, #cond, e.msg);                          \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

static void child_of_no_rights(void)
{
    struct err e = {0};
    char deep[400];
    struct stat st;
    snprintf(deep, sizeof deep, "%s/sub/f", dir);
    /* a folder that may not be written: a writable file in it is written in place, no file is
     * new */
    ino_t was = stat(deep, &st) == 0 ? st.st_ino : 0;
    CHILD_CHECK(save(deep, "new", 0, &e) == 0);
    CHILD_CHECK(stat(deep, &st) == 0 && st.st_ino == was && st.st_size == 3);
    snprintf(deep, sizeof deep, "%s/sub/none", dir);
    CHILD_CHECK(save(deep, "x", 0, &e) == ERR_CREATE && strstr(e.msg, "Permission denied"));
    /* a file that may not be written, in a folder that may */
    CHILD_CHECK(save(path, "x", 0, &e) == ERR_CREATE &&
                strstr(e.msg, "it exists and may not be changed"));
    /* another user's file in a common folder: written in place if it may be written */
    snprintf(deep, sizeof deep, "%s/common/f", dir);
    was = stat(deep, &st) == 0 ? st.st_ino : 0;
    CHILD_CHECK(save(deep, "new", 0, &e) == 0);
    CHILD_CHECK(stat(deep, &st) == 0 && st.st_ino == was && st.st_size == 3);
    _exit(0);
}

static void rights_of_an_ordinary_user(void **state)
{
    (void)state;
    char sub[300], deep[400];
    int status;
    if (geteuid() != 0) {
        print_message("skipped: needs root\n");
        skip();
    }
    assert_int_equal(chown(dir, 1234, 1234), 0);
    put(path, "old");
    assert_int_equal(chmod(path, 0444), 0);
    snprintf(sub, sizeof sub, "%s/sub", dir);
    snprintf(deep, sizeof deep, "%s/f", sub);
    assert_int_equal(mkdir(sub, 0755), 0);
    put(deep, "older");
    assert_int_equal(chown(deep, 1234, 1234), 0);
    snprintf(sub, sizeof sub, "%s/common", dir);
    snprintf(deep, sizeof deep, "%s/f", sub);
    assert_int_equal(mkdir(sub, 0755), 0);
    put(deep, "older");
    assert_int_equal(chmod(sub, 01777), 0);
    assert_int_equal(chmod(deep, 0666), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (setgid(1234) != 0 || setuid(1234) != 0)
            _exit(2);
        child_of_no_rights();
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    holds(path, "old");
}

static void a_limit_on_file_sizes_is_an_error(void **state)
{
    (void)state;
    struct err e;
    struct rlimit old, small;
    char data[5000];
    memset(data, 'x', sizeof data);
    put(path, "old");
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 4096;
    signal(SIGXFSZ, SIG_IGN);
    for (unsigned flags = 0; flags <= OUTFILE_NAMED; flags++) {
        struct outfile *o;
        ok(outfile_open(path, flags, &o, &e));
        ok(outfile_expect(o, sizeof data, &e));
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        int rc = outfile_put(o, data, sizeof data, &e);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        assert_int_equal(rc, ERR_IO);
        assert_non_null(strstr(e.msg, path));
        assert_non_null(strstr(e.msg, "ulimit -f, is 4096 bytes); 4096 of 5000 bytes written, "));
        assert_non_null(strstr(e.msg, "bytes free there"));
        outfile_abandon(o);
        holds(path, "old");
        assert_int_equal(test_count(dir), 1);
    }
    signal(SIGXFSZ, SIG_DFL);
}

static void standard_output_is_known(void **state)
{
    (void)state;
    struct err e;
    struct outfile *o;
    ok(outfile_open("/dev/stdout", 0, &o, &e));
    bool is = outfile_is_stdout(o);
    ok(outfile_commit(o, &e));
    assert_true(is);
    ok(outfile_open(path, 0, &o, &e));
    is = outfile_is_stdout(o);
    outfile_abandon(o);
    assert_false(is);
}

static void a_file_that_would_be_changed_is_known(void **state)
{
    (void)state;
    struct err e;
    bool is = true;
    char from[] = "/tmp/mas-outfile-XXXXXX";
    ok(outfile_replaces(path, &is, &e));
    assert_false(is);
    put(path, "old");
    ok(outfile_replaces(path, &is, &e));
    assert_true(is);
    holds(path, "old");
    assert_int_equal(test_count(dir), 1);
    const int fd = mkstemp(from);
    assert_true(fd >= 0);
    assert_int_equal(unlink(from), 0);
    assert_int_equal(symlink(path, from), 0);
    ok(outfile_replaces(from, &is, &e));
    assert_true(is);
    assert_int_equal(unlink(path), 0);
    ok(outfile_replaces(from, &is, &e));
    assert_false(is);
    assert_int_equal(unlink(from), 0);
    char own[64];
    snprintf(own, sizeof own, "/dev/fd/%d", fd); /* a regular file, but an open one */
    ok(outfile_replaces(own, &is, &e));
    assert_false(is);
    close(fd);
    ok(outfile_replaces("/dev/null", &is, &e));
    assert_false(is);
    fails(outfile_replaces("", &is, &e), ERR_CREATE, "cannot write");
}

static void a_file_to_be_resumed_keeps_its_part(void **state)
{
    (void)state;
    struct outfile *o, *second;
    struct err e;
    char part[320], got[4];
    snprintf(part, sizeof part, "%s.part", path);
    put(path, "old");
    ok(outfile_open(path, OUTFILE_RESUMES, &o, &e));
    assert_string_equal(outfile_part(o), part);
    assert_int_equal(outfile_written(o), 0);
    fails(outfile_open(path, OUTFILE_RESUMES, &second, &e), ERR_AGAIN, "another program writes it");
    ok(outfile_put(o, "abcdef", 6, &e));
    outfile_abandon(o);
    holds(path, "old");
    holds(part, "abcdef");
    ok(outfile_open(path, OUTFILE_RESUMES, &o, &e));
    assert_int_equal(outfile_written(o), 6);
    ok(outfile_reread(o, 2, got, 3, &e));
    assert_memory_equal(got, "cde", 3);
    fails(outfile_reread(o, 4, got, 3, &e), ERR_BUG, "were asked for");
    fails(outfile_cut(o, 7, &e), ERR_BUG, "cannot be cut");
    ok(outfile_cut(o, 4, &e));
    ok(outfile_put(o, "XY", 2, &e));
    ok(outfile_commit(o, &e));
    holds(path, "abcdXY");
    assert_int_equal(access(part, F_OK), -1);
    ok(outfile_open(path, OUTFILE_RESUMES, &o, &e));
    outfile_discard(o);
    assert_int_equal(access(part, F_OK), -1);
    holds(path, "abcdXY");
    assert_int_equal(symlink(other, part), 0); /* a link is not followed */
    fails(outfile_open(path, OUTFILE_RESUMES, &o, &e), ERR_CREATE, "cannot create");
    assert_int_equal(unlink(part), 0);
    assert_int_equal(mkfifo(part, 0600), 0);
    fails(outfile_open(path, OUTFILE_RESUMES, &o, &e), ERR_CREATE, "no regular file");
    fails(outfile_open("/dev/null", OUTFILE_RESUMES, &o, &e), ERR_USAGE, "keeps no part");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_file_is_there_completely_or_as_it_was),
        TEST(a_killed_writer_leaves_nothing),
        TEST(names_beside_it_are_left_alone),
        TEST(a_long_name_has_room),
        TEST(the_mode_is_kept_and_the_umask_honoured),
        TEST(a_link_stays_and_its_target_is_replaced),
        TEST(links_that_lead_nowhere_useful_are_named),
        TEST(a_strangers_link_in_a_common_folder_is_not_followed),
        TEST(a_device_is_written_into),
        TEST(a_fifo_gets_the_bytes),
        TEST(an_open_descriptor_is_shared),
        TEST(other_names_of_a_file_keep_the_old_content),
        TEST(a_pipe_that_came_meanwhile_stays),
        TEST(rights_of_an_ordinary_user),
        TEST(a_limit_on_file_sizes_is_an_error),
        TEST(standard_output_is_known),
        TEST(a_file_that_would_be_changed_is_known),
        TEST(a_file_to_be_resumed_keeps_its_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
