#include "viewfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mem.h"
#include "outfile.h"
#include "profile.h"
#include "study.h"

error_t viewfile_name(struct argp_state *st, const char *option, const char *arg, const char **out)
{
    if (!*arg) {
        argp_error(st, "%s needs a file name", option);
        return EINVAL;
    }
    *out = arg;
    return 0;
}

/* ---- the content of a file ------------------------------------------------------------------- */

static const struct {
    const char *name, *head;
} kinds[] = {[VIEWFILE_TRACE] = {"trace", PROFILE_TRACE_HEAD},
             [VIEWFILE_TIMELINE] = {"timeline", PROFILE_TRACE_HEAD},
             [VIEWFILE_PAGE] = {"page", PROFILE_HTML_HEAD},
             [VIEWFILE_REPORT] = {"report", STUDY_HEAD}};

enum content { EMPTY, LIKE, UNLIKE, NOT_READ };

static enum content compare(enum viewfile kind, const char *path)
{
    const char *head = kinds[kind].head;
    char text[256];
    size_t n = 0, most = strlen(head);
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return NOT_READ;
    ssize_t got = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && most <= sizeof text ? 1 : -1;
    while (got > 0 && n < most) {
        got = read(fd, text + n, most - n);
        n += got > 0 ? (size_t)got : 0;
    }
    close(fd);
    if (got < 0)
        return NOT_READ;
    return n == 0 ? EMPTY : n == most && !memcmp(text, head, most) ? LIKE : UNLIKE;
}

bool viewfile_is(enum viewfile kind, const char *path)
{
    return compare(kind, path) == LIKE;
}

int viewfile_free(enum viewfile kind, const char *path, struct err *e)
{
    bool replaces;
    TRY(outfile_replaces(path, &replaces, e));
    if (!replaces)
        return 0;
    const enum content c = compare(kind, path);
    if (c == NOT_READ)
        FAIL(e, ERR_USAGE, "%s exists and cannot be read: is it a %s of mas? choose another name",
             path, kinds[kind].name);
    if (c == UNLIKE)
        FAIL(e, ERR_USAGE, "%s exists and is no %s of mas; choose another name", path,
             kinds[kind].name);
    return 0;
}

/* ---- two names ------------------------------------------------------------------------------- */

/* The folder of path, as stat sees it; false: there is none. *base: the name in it. */
static bool folder_of(const char *path, struct stat *st, const char **base)
{
    const char *slash = strrchr(path, '/');
    *base = slash ? slash + 1 : path;
    char *dir = slash ? mem_strndup(path, (size_t)(slash - path) + 1) : mem_strdup(".");
    const bool known = dir && stat(dir, st) == 0;
    mem_free(dir);
    return known;
}

static bool same_node(const struct stat *x, const struct stat *y)
{
    return x->st_dev == y->st_dev && x->st_ino == y->st_ino;
}

static bool same_file(const char *a, const char *b)
{
    struct stat x, y;
    const char *base_a, *base_b;
    const bool has_a = stat(a, &x) == 0, has_b = stat(b, &y) == 0;
    if (has_a && has_b)
        return same_node(&x, &y) && !S_ISCHR(x.st_mode);
    if (has_a || has_b)
        return false;
    return !strcmp(a, b) || (folder_of(a, &x, &base_a) && folder_of(b, &y, &base_b) &&
                             same_node(&x, &y) && !strcmp(base_a, base_b));
}

int viewfile_apart(const char *option_a, const char *a, const char *option_b, const char *b,
                   struct err *e)
{
    if (a && b && same_file(a, b))
        FAIL(e, ERR_USAGE, "%s and %s both name %s; name two files", option_a, option_b, a);
    return 0;
}
