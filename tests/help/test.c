#include "test.h"

#include <dirent.h>

#include "ops.h"
#include <sys/wait.h>
#include <unistd.h>

const char *test_data(const char *name, char buf[1024])
{
    snprintf(buf, 1024, "%s/%s", TEST_DATA, name);
    return access(buf, R_OK) == 0 ? buf : NULL;
}

bool test_backend(const char *kind)
{
    struct ops *ops = NULL;
    struct err e = {0};
    if (ops_open(kind, NULL, &ops, &e) < 0) {
        print_message("skipped: %s\n", e.msg);
        return false;
    }
    ops_close(ops);
    return true;
}

char *test_read(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        fail_msg("cannot open %s", path);
        return NULL;
    }
    fseek(f, 0, SEEK_END);
    long size = ftell(f);
    rewind(f);
    char *p = malloc((size_t)size + 1);
    assert_non_null(p);
    assert_int_equal(fread(p, 1, (size_t)size, f), size);
    p[size] = 0;
    fclose(f);
    if (n)
        *n = (size_t)size;
    return p;
}

char *test_mkdir(char buf[256])
{
    const char *tmp = getenv("TMPDIR");
    snprintf(buf, 256, "%s/mas-test-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(buf));
    return buf;
}

void test_rmdir(const char *dir)
{
    char cmd[512];
    assert_non_null(strstr(dir, "mas-test-"));
    snprintf(cmd, sizeof cmd, "rm -rf -- '%s'", dir);
    assert_int_equal(system(cmd), 0);
}

int test_count(const char *dir)
{
    DIR *d = opendir(dir);
    int n = -2; /* . and .. */
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

int test_run(struct str *out, const char *fmt, ...)
{
    char cmd[4096], full[4200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(cmd, sizeof cmd, fmt, ap);
    va_end(ap);
    snprintf(full, sizeof full, "{ %s; } 2>&1", cmd);
    FILE *p = popen(full, "r");
    assert_non_null(p);
    char buf[4096];
    for (size_t n; (n = fread(buf, 1, sizeof buf, p)) > 0;)
        str_add(out, buf, n);
    int status = pclose(p);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
