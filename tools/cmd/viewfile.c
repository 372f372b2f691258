#include "viewfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bundle.h"
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

#define FIRST_BYTES ((size_t)1 << 16) /* of a file, that tell its kind */
#define FIRST_NAME ((size_t)512)      /* of a summary, that hold a name or an id */
#define PICTURE_HEAD "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\""

static bool begins(const char *s, size_t n, const char *head)
{
    const size_t most = strlen(head);
    return n >= most && !memcmp(s, head, most);
}

/* The place after the text; NULL = it is not there. */
static const char *after(const char *s, size_t n, const char *text)
{
    const size_t len = strlen(text);
    for (size_t i = 0; i + len <= n; i++)
        if (!memcmp(s + i, text, len))
            return s + i + len;
    return NULL;
}

/* Is the text in the first line? */
static bool in_line(const char *s, size_t n, const char *text)
{
    const char *end = memchr(s, '\n', n);
    return end && after(s, (size_t)(end - s), text);
}

static bool is_table(const char *s, size_t n)
{
    return in_line(s, n, "trace_id,question,predicted_answer,correct_answer,");
}

/* Of a run, or of an experiment. */
static bool is_summary(const char *s, size_t n)
{
    return begins(s, n, "{\"accuracy\": {\"correct\": ") ||
           (begins(s, n, "{\"name\": ") &&
            after(s, n < FIRST_NAME ? n : FIRST_NAME, ",\n\"cells\": [{\"name\": "));
}

/* 16 hexadecimal digits a line. */
static bool is_ids(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (i % 17 == 16 ? s[i] != '\n' : !s[i] || !strchr("0123456789abcdef", s[i]))
            return false;
    return true;
}

/* A log whose id is a SHA-256: Inspect's own ids are shorter. */
static bool is_inspect(const char *s, size_t n)
{
    const bool log = begins(s, n, "{\n  \"version\": 2,\n  \"status\": ");
    const char *id = log ? after(s, n < FIRST_NAME ? n : FIRST_NAME, "\"eval_id\": \"") : NULL;
    size_t digits = 0;
    while (id && id + digits < s + n && id[digits] && strchr("0123456789abcdef", id[digits]))
        digits++;
    return digits == 64;
}

/* Questions in the form of MedQA, each with the id of its origin. */
static bool is_variants(const char *s, size_t n)
{
    return begins(s, n, "{\"question\": ") && in_line(s, n, "\", \"of\": \"");
}

/* By its head, or by a look at its first bytes. A bundle has a form of its own. */
static const struct {
    const char *name, *head;
    bool (*is)(const char *s, size_t n);
} kinds[] = {[VIEWFILE_TRACE] = {"trace", PROFILE_TRACE_HEAD, NULL},
             [VIEWFILE_TIMELINE] = {"timeline", PROFILE_TRACE_HEAD, NULL},
             [VIEWFILE_PAGE] = {"page", PROFILE_HTML_HEAD, NULL},
             [VIEWFILE_REPORT] = {"report", STUDY_HEAD, NULL},
             [VIEWFILE_TABLE] = {"table", NULL, is_table},
             [VIEWFILE_SUMMARY] = {"summary", NULL, is_summary},
             [VIEWFILE_IDS] = {"list of ids", NULL, is_ids},
             [VIEWFILE_INSPECT] = {"log", NULL, is_inspect},
             [VIEWFILE_BUNDLE] = {"bundle", NULL, NULL},
             [VIEWFILE_VARIANTS] = {"file of variants", NULL, is_variants},
             [VIEWFILE_PICTURE] = {"picture", PICTURE_HEAD, NULL}};

enum content { EMPTY, LIKE, UNLIKE, NOT_READ };

static enum content compare_bundle(const char *path)
{
    struct bundle b = {.n = 0};
    struct err ignored;
    const int rc = bundle_read(path, &b, &ignored);
    bundle_free(&b);
    return rc ? UNLIKE : LIKE;
}

/* Reads at most `most` bytes of a regular file; < 0: it cannot be read. */
static ssize_t first_bytes(const char *path, char *text, size_t most)
{
    size_t n = 0;
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -1;
    ssize_t got = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? 1 : -1;
    while (got > 0 && n < most) {
        got = read(fd, text + n, most - n);
        n += got > 0 ? (size_t)got : 0;
    }
    close(fd);
    return got < 0 ? -1 : (ssize_t)n;
}

static enum content compare(enum viewfile kind, const char *path)
{
    char *text = mem_zalloc(FIRST_BYTES, 1);
    const ssize_t n = text ? first_bytes(path, text, FIRST_BYTES) : -1;
    enum content c = n < 0 ? NOT_READ : EMPTY;
    if (n > 0 && kind == VIEWFILE_BUNDLE)
        c = compare_bundle(path);
    else if (n > 0)
        c = (kinds[kind].head ? begins(text, (size_t)n, kinds[kind].head)
                              : kinds[kind].is(text, (size_t)n))
                ? LIKE
                : UNLIKE;
    mem_free(text);
    return c;
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

bool viewfile_same(const char *a, const char *b)
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
    if (a && b && viewfile_same(a, b))
        FAIL(e, ERR_USAGE, "%s and %s both name %s; name two files", option_a, option_b, a);
    return 0;
}
