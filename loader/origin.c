#include "origin.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "outfile.h"

#define RECORD_MAX ((size_t)64 << 10)

static int record_path(const char *path, struct str *out, struct err *e)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    str_add(out, path, (size_t)(name - path));
    str_addf(out, ".%s.from", name);
    return str_ok(out, "a path", e);
}

int origin_save(const char *path, const char sha256[65], const char *const *from, size_t n,
                struct err *e)
{
    struct str at = STR_INIT, text = STR_INIT;
    struct stat st;
    int rc = 0;
    if (stat(path, &st) != 0)
        FAIL(e, ERR_IO, "cannot read %s: %s", path, strerror(errno));
    TRY_DONE(record_path(path, &at, e));
    str_addf(&text, "sha256 %s\nbytes %" PRIu64 "\n", sha256, (uint64_t)st.st_size);
    for (size_t i = 0; i < n; i++)
        if (!strchr(from[i], '\n'))
            str_addf(&text, "from %s\n", from[i]);
    TRY_DONE(str_ok(&text, "the record of a download", e));
    rc = outfile_save(at.s, text.s, text.len, e);
done:
    str_free(&at);
    str_free(&text);
    return rc;
}

int origin_drop(const char *path, struct err *e)
{
    struct str at = STR_INIT;
    int rc = record_path(path, &at, e);
    if (rc == 0 && unlink(at.s) != 0 && errno != ENOENT)
        rc = err_set(e, ERR_CREATE, "cannot remove %s: %s", at.s, strerror(errno));
    str_free(&at);
    return rc;
}

/* Reads the record; an empty text when there is none. */
static int record_read(const char *path, struct str *out, struct err *e)
{
    struct str at = STR_INIT;
    char buf[4096];
    int fd = -1, rc = 0;
    TRY_DONE(record_path(path, &at, e));
    fd = open(at.s, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    for (;;) {
        ssize_t k = fd < 0 ? 0 : read(fd, buf, sizeof buf);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0 || out->len > RECORD_MAX)
            break;
        str_add(out, buf, (size_t)k);
    }
    str_addc(out, '\n');
    rc = str_ok(out, "the record of a download", e);
done:
    if (fd >= 0)
        close(fd);
    str_free(&at);
    return rc;
}

/* The record as it must begin, and the line of the address. */
static bool record_names(const struct str *text, uint64_t bytes, const char *from, char sha256[65])
{
    char head[128], hex[65];
    if (text->len < 72 || strncmp(text->s, "sha256 ", 7) != 0)
        return false;
    memcpy(hex, text->s + 7, 64);
    hex[64] = 0;
    if (strspn(hex, "0123456789abcdef") != 64)
        return false;
    int n = snprintf(head, sizeof head, "sha256 %s\nbytes %" PRIu64 "\n", hex, bytes);
    if (strncmp(text->s, head, (size_t)n) != 0)
        return false;
    for (const char *line = text->s + n; *line; line += strcspn(line, "\n") + 1) {
        size_t len = strcspn(line, "\n");
        if (len == strlen(from) + 5 && !strncmp(line, "from ", 5) &&
            !strncmp(line + 5, from, len - 5)) {
            memcpy(sha256, hex, sizeof hex);
            return true;
        }
        if (!line[len])
            break;
    }
    return false;
}

int origin_find(const char *path, const char *from, bool *found, char sha256[65], struct err *e)
{
    struct str text = STR_INIT;
    struct stat st;
    *found = false;
    if (stat(path, &st) != 0)
        return 0;
    int rc = record_read(path, &text, e);
    if (rc == 0)
        *found = record_names(&text, (uint64_t)st.st_size, from, sha256);
    str_free(&text);
    return rc;
}
