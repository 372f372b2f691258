#include "folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "merged.h"
#include "outfile.h"
#include "vary.h"
#include "zio.h"

#define FOLDER_BYTES ((size_t)16 << 30) /* largest file that is copied */

void folder_path(const struct folder *f, const char *name, char out[1100])
{
    snprintf(out, 1100, "%s/%s", f->dir, name);
}

bool folder_has(const struct folder *f, const char *name)
{
    char path[1100];
    struct stat st;
    folder_path(f, name, path);
    return stat(path, &st) == 0;
}

int folder_sync(const struct folder *f, struct err *e)
{
    int fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int bad = fd < 0 || fsync(fd) != 0;
    if (fd >= 0)
        close(fd);
    if (bad)
        FAIL(e, ERR_IO, "cannot sync the folder %s: %s", f->dir, strerror(errno));
    return 0;
}

int folder_save(const struct folder *f, const char *name, const void *data, size_t n, struct err *e)
{
    char path[1100];
    folder_path(f, name, path);
    return outfile_save(path, data, n, e);
}

/* Writes and syncs a new file; -1 with errno. */
static int folder_put(const char *path, const void *data, size_t n)
{
    const char *p = data;
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    int why = 0;
    if (fd < 0)
        return -1;
    while (n && !why) {
        const ssize_t k = write(fd, p, n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0) {
            why = k ? errno : ENOSPC;
            break;
        }
        p += k;
        n -= (size_t)k;
    }
    if (!why && fsync(fd) != 0)
        why = errno;
    if (close(fd) != 0 && !why)
        why = errno;
    if (why)
        unlink(path);
    errno = why;
    return why ? -1 : 0;
}

/* A file system without hard links: the name comes first, the content after it. */
static bool folder_no_links(int why)
{
    return why == EPERM || why == EOPNOTSUPP || why == ENOSYS || why == EMLINK;
}

/* A full or faulty disk may be good later; a folder that may not be written will not be. */
static int folder_code(int why)
{
    return why == ENOSPC || why == EDQUOT || why == EIO || why == ESTALE ? ERR_IO : ERR_CREATE;
}

int folder_publish(const struct folder *f, const char *name, const void *data, size_t n, bool *made,
                   struct err *e)
{
    char path[1100], temp[1200];
    uint64_t number = 0;
    struct stat st;
    folder_path(f, name, path);
    if (getrandom(&number, sizeof number, 0) != sizeof number)
        FAIL(e, ERR_IO, "no random number for a name: %s", strerror(errno));
    snprintf(temp, sizeof temp, "%s.%016llx.part", path, (unsigned long long)number);
    if (folder_put(temp, data, n) != 0)
        FAIL(e, folder_code(errno), "cannot write %s: %s", temp, strerror(errno));
    int failed = link(temp, path) != 0 ? errno : 0;
    /* the reply to a link that NFS has done can be lost, and its repetition fails */
    if (failed == EEXIST && stat(temp, &st) == 0 && st.st_nlink == 2)
        failed = 0;
    unlink(temp);
    if (folder_no_links(failed))
        failed = folder_put(path, data, n) != 0 ? errno : 0;
    if (failed && failed != EEXIST)
        FAIL(e, folder_code(failed), "cannot create %s: %s", path, strerror(failed));
    *made = !failed;
    return *made ? folder_sync(f, e) : 0;
}

int folder_keep(const struct folder *f, const char *name, const char *as, struct err *e)
{
    char from[1100], to[1100];
    struct str data = STR_INIT;
    int rc;
    folder_path(f, name, from);
    folder_path(f, as, to);
    if (link(from, to) == 0)
        return folder_sync(f, e);
    if (!folder_no_links(errno))
        FAIL(e, folder_code(errno), "cannot keep %s as %s: %s", from, to, strerror(errno));
    TRY_DONE(zio_read_raw(from, FOLDER_BYTES, &data, e));
    TRY_DONE(folder_save(f, as, data.s, data.len, e));
done:
    str_free(&data);
    return rc;
}

int folder_make(struct folder *f, const char *dir, struct err *e)
{
    size_t n = strlen(dir);
    if (!n || n >= sizeof f->dir)
        FAIL(e, ERR_CREATE, "the name of the run's folder has %zu bytes, expected 1 to %zu", n,
             sizeof f->dir - 1);
    memcpy(f->dir, dir, n + 1);
    while (n > 1 && f->dir[n - 1] == '/')
        f->dir[--n] = 0;
    for (size_t i = 1; i <= n; i++) {
        if (f->dir[i] != '/' && f->dir[i] != 0)
            continue;
        f->dir[i] = 0;
        int failed = mkdir(f->dir, 0777) != 0 && errno != EEXIST;
        if (failed)
            FAIL(e, ERR_CREATE, "cannot create the folder %s: %s", f->dir, strerror(errno));
        if (i < n)
            f->dir[i] = '/';
    }
    return 0;
}

static int lock(struct folder *f, bool must, struct err *e)
{
    char path[1100], pid[32] = "";
    folder_path(f, "lock", path);
    f->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (f->lock < 0)
        FAIL(e, ERR_CREATE, "cannot create %s: %s", path, strerror(errno));
    if (flock(f->lock, LOCK_EX | LOCK_NB) != 0) {
        if (!must && errno != EWOULDBLOCK)
            return 0;
        ssize_t n = errno == EWOULDBLOCK ? pread(f->lock, pid, sizeof pid - 1, 0) : -1;
        if (n < 0)
            FAIL(e, ERR_CREATE, "cannot lock %s: %s", path, strerror(errno));
        pid[strspn(pid, "0123456789")] = 0;
        FAIL(e, ERR_CREATE,
             "%s is being written by process %s; wait for it or choose another --out", f->dir,
             pid[0] ? pid : "(unknown)");
    }
    int n = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if (ftruncate(f->lock, 0) != 0)
        FAIL(e, ERR_IO, "cannot write %s: %s", path, strerror(errno));
    return zio_write_all(f->lock, path, pid, (size_t)n, e);
}

int folder_lock(struct folder *f, struct err *e)
{
    return lock(f, true, e);
}

int folder_lock_if(struct folder *f, struct err *e)
{
    return lock(f, false, e);
}

void folder_free_name(const struct folder *f, const char *stem, char out[64])
{
    snprintf(out, 64, "%s", stem);
    for (int i = 2; folder_has(f, out) && i < 10000; i++)
        snprintf(out, 64, "%s.%d", stem, i);
}

/* Moves the parts of a trace (trace_parts.h) and the former traces into the subfolder, NULL = moves
 * nothing. *any: there are some parts. */
static int folder_move_parts(const struct folder *f, const char *sub, bool *any, struct err *e)
{
    char from[1100], to[1400];
    DIR *d = opendir(f->dir);
    int rc = 0;
    if (!d)
        FAIL(e, ERR_IO, "cannot read the folder %s: %s", f->dir, strerror(errno));
    for (const struct dirent *i = readdir(d); i && rc == 0; i = readdir(d)) {
        const bool part = !strncmp(i->d_name, "traces-", 7);
        if (!part && strncmp(i->d_name, "traces.jsonl.", 13) != 0)
            continue;
        *any |= part;
        folder_path(f, i->d_name, from);
        snprintf(to, sizeof to, "%s/%s/%s", f->dir, sub ? sub : "", i->d_name);
        if (sub && rename(from, to) != 0)
            rc = err_set(e, ERR_IO, "cannot move %s: %s", from, strerror(errno));
    }
    closedir(d);
    return rc;
}

int folder_set_aside(const struct folder *f, const char *keep, struct str *notes, struct err *e)
{
    static const char *const names[] = {"run.json",     "traces.jsonl", "traces.jsonl.gz",
                                        "summary.json", "results.csv",  "records.jsonl",
                                        VARY_FILE,      MERGED_FILE};
    char sub[64], from[1100], to[1200];
    bool any = false;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        any |= (!keep || strcmp(names[i], keep) != 0) && folder_has(f, names[i]);
    TRY(folder_move_parts(f, NULL, &any, e));
    if (!any)
        return 0;
    for (int i = 1;; i++) {
        snprintf(sub, sizeof sub, "old-%d", i);
        folder_path(f, sub, to);
        if (mkdir(to, 0777) == 0)
            break;
        if (errno != EEXIST || i > 10000)
            FAIL(e, ERR_CREATE, "cannot create %s: %s", to, strerror(errno));
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (keep && !strcmp(names[i], keep))
            continue;
        folder_path(f, names[i], from);
        snprintf(to, sizeof to, "%s/%s/%s", f->dir, sub, names[i]);
        if (rename(from, to) != 0 && errno != ENOENT)
            FAIL(e, ERR_IO, "cannot move %s: %s", from, strerror(errno));
    }
    TRY(folder_move_parts(f, sub, &any, e));
    str_addf(notes, "the former results are in %s/%s\n", f->dir, sub);
    return folder_sync(f, e);
}

void folder_close(struct folder *f)
{
    if (f->lock >= 0)
        close(f->lock); /* gives the lock back */
    f->lock = -1;
}
