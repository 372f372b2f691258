/* for O_TMPFILE and statx */
#define _GNU_SOURCE
#include "outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "log.h"
#include "mem.h"
#include "str.h"

#define LINKS_MAX 40 /* links followed, as in the kernel */
#define TRIES 100    /* random names */
#define PIECE ((size_t)1 << 30)

struct outfile {
    char *path;         /* as given, for messages */
    char *target, *dir; /* the file that its links lead to, and the folder of that file */
    /* room for the name of the incomplete file: outfile_commit allocates nothing */
    struct str temp;
    bool has_temp; /* a file of that name exists and is ours */
    int fd;
    /* fd is a file of ours that takes the name at commit; false: fd is the target itself */
    bool replaces;
    bool resumes; /* the temporary file is NAME.part and stays */
    bool regular;
    bool existed;
    struct stat old; /* of the target, if it existed */
    uint64_t written, total;
};

/* ---- the target of a path ------------------------------------------------------------------- */

/* The folder of path; "." for a bare name and "/" for a name in the root. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return mem_strdup(".");
    return mem_strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

static bool in_proc(const char *dir)
{
    struct statfs fs;
    return statfs(dir, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC;
}

/* In a folder like /tmp the kernel follows no link of another user (fs.protected_symlinks). This
 * file follows links by hand, so it applies the same rule. */
static bool link_is_safe(const char *dir, const struct stat *link)
{
    struct stat st;
    if (stat(dir, &st) != 0 || !(st.st_mode & S_ISVTX) || !(st.st_mode & S_IWOTH))
        return true;
    return link->st_uid == geteuid() || link->st_uid == st.st_uid;
}

/* Replaces *at by the path that the link *at leads to. */
static int follow(struct outfile *o, char **at, const char *dir, const struct stat *link,
                  struct err *e)
{
    char text[4096];
    struct str next = STR_INIT;
    if (!link_is_safe(dir, link))
        FAIL(e, ERR_CREATE,
             "cannot write %s: the link %s in a folder open to everybody belongs to somebody else; "
             "name "
             "the file itself",
             o->path, *at);
    ssize_t n = readlink(*at, text, sizeof text - 1);
    if (n < 0 || n == (ssize_t)sizeof text - 1)
        FAIL(e, ERR_CREATE, "cannot write %s: cannot read the link %s: %s", o->path, *at,
             n < 0 ? strerror(errno) : "it is too long");
    text[n] = 0;
    if (*text != '/')
        str_addf(&next, "%s/", dir);
    str_adds(&next, text);
    int rc = str_ok(&next, "a path", e);
    if (rc < 0) {
        str_free(&next);
        return rc;
    }
    mem_free(*at);
    *at = str_take(&next);
    return 0;
}

/* Sets target, dir and old. Following ends at a link of /proc (*magic): its target may have no
 * path. */
static int resolve(struct outfile *o, bool *magic, struct err *e)
{
    *magic = false;
    o->target = mem_strdup(o->path);
    for (int i = 0;; i++) {
        struct stat st;
        mem_free(o->dir);
        o->dir = o->target ? folder_of(o->target) : NULL;
        if (!o->dir)
            return NOMEM(e, strlen(o->path), "a path");
        if (lstat(o->target, &st) != 0) {
            size_t n = strlen(o->target);
            if (errno != ENOENT || n == 0)
                FAIL(e, ERR_CREATE, "cannot write %s: %s", o->path, strerror(errno));
            if (o->target[n - 1] == '/' || in_proc(o->dir))
                FAIL(e, ERR_CREATE, "cannot write %s: there is no %s", o->path, o->target);
            return 0;
        }
        if (!S_ISLNK(st.st_mode)) {
            o->old = st;
            o->existed = true;
            return 0;
        }
        *magic = in_proc(o->dir);
        if (*magic)
            return 0;
        if (i == LINKS_MAX)
            FAIL(e, ERR_CREATE, "cannot write %s: %s", o->path, strerror(ELOOP));
        TRY(follow(o, &o->target, o->dir, &st, e));
    }
}

/* ---- opening --------------------------------------------------------------------------------- */

static int cannot_create(const struct outfile *o, struct err *e)
{
    int why = errno;
    if (strcmp(o->path, o->target) != 0)
        FAIL(e, ERR_CREATE, "cannot create %s, to which %s leads: %s", o->target, o->path,
             strerror(why));
    FAIL(e, ERR_CREATE, "cannot create %s: %s", o->path, strerror(why));
}

/* The number of our descriptor that a link of /proc stands for; -1: it is none of ours. */
static int own_descriptor(const struct outfile *o)
{
    char ours[32], *real = realpath(o->dir, NULL);
    int64_t fd = -1;
    snprintf(ours, sizeof ours, "/proc/%ld/fd", (long)getpid());
    if (real && !strcmp(real, ours) && !str_to_i64(strrchr(o->target, '/') + 1, 0, INT32_MAX, &fd))
        fd = -1;
    mem_free(real);
    return (int)fd;
}

/* Opens a second descriptor of the same open file: both share one offset. */
static int open_descriptor(struct outfile *o, int fd, struct err *e)
{
    int mode = fcntl(fd, F_GETFL);
    if (mode < 0 || (mode & O_ACCMODE) == O_RDONLY)
        FAIL(e, ERR_CREATE, "cannot write %s: descriptor %d is not open for writing", o->path, fd);
    if (fd == STDOUT_FILENO && fflush(stdout) != 0)
        FAIL(e, ERR_IO, "cannot write %s: %s", o->path, strerror(errno));
    o->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    return o->fd < 0 ? cannot_create(o, e) : 0;
}

static int open_in_place(struct outfile *o, int more, struct err *e)
{
    o->fd = open(o->target, O_WRONLY | O_NOCTTY | O_CLOEXEC | more);
    return o->fd < 0 ? cannot_create(o, e) : 0;
}

static mode_t first_mode(const struct outfile *o)
{
    return o->existed ? o->old.st_mode & 0777 : 0666;
}

static void temp_name(struct outfile *o, uint64_t number)
{
    const char *slash = strrchr(o->target, '/');
    str_addf(&o->temp, "%s/%.200s.%016" PRIx64 ".part", o->dir, slash ? slash + 1 : o->target,
             number);
}

/* Calls make(o, name) with random names beside the target until it returns other than EEXIST. */
static int with_random_name(struct outfile *o, int (*make)(struct outfile *o, const char *name))
{
    for (int i = 0; i < TRIES; i++) {
        uint64_t number;
        if (getrandom(&number, sizeof number, 0) != sizeof number)
            return -1;
        str_clear(&o->temp);
        temp_name(o, number);
        o->has_temp = make(o, o->temp.s) == 0;
        if (o->has_temp)
            return 0;
        if (errno != EEXIST)
            return -1;
    }
    return -1;
}

static int make_named(struct outfile *o, const char *name)
{
    o->fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, first_mode(o));
    return o->fd < 0 ? -1 : 0;
}

static int make_linked(struct outfile *o, const char *name)
{
    char proc[64];
    snprintf(proc, sizeof proc, "/proc/self/fd/%d", o->fd);
    return linkat(AT_FDCWD, proc, AT_FDCWD, name, AT_SYMLINK_FOLLOW);
}

/* Opens the file that will take the name; -1 with errno. */
static int open_temporary(struct outfile *o, bool named)
{
    if (!named && in_proc("/proc/self/fd")) {
        o->fd = open(o->dir, O_TMPFILE | O_WRONLY | O_CLOEXEC, first_mode(o));
        if (o->fd >= 0)
            return 0;
    }
    return with_random_name(o, make_named);
}

/* False for a mount point, and for another user's file in a folder like /tmp: their names cannot be
 * given to a new file. Whether the folder may be written shows at the attempt. */
static bool may_replace(const struct outfile *o)
{
    struct statx x;
    struct stat dir;
    if (statx(AT_FDCWD, o->target, AT_SYMLINK_NOFOLLOW, STATX_TYPE, &x) == 0 &&
        (x.stx_attributes_mask & x.stx_attributes & STATX_ATTR_MOUNT_ROOT))
        return false;
    uid_t me = geteuid();
    return me == 0 || stat(o->dir, &dir) != 0 || !(dir.st_mode & S_ISVTX) || o->old.st_uid == me ||
           dir.st_uid == me;
}

/* Opens NAME.part with the bytes that it has, and locks it. */
static int open_resumed(struct outfile *o, struct err *e)
{
    struct stat st, named;
    int64_t end;
    o->resumes = true;
    if (o->existed && !may_replace(o))
        FAIL(e, ERR_CREATE, "cannot write %s: no new file may take its name; choose another place",
             o->path);
    str_clear(&o->temp);
    str_addf(&o->temp, "%s.part", o->target);
    TRY(str_ok(&o->temp, "a path", e));
    o->fd = open(o->temp.s, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0666);
    if (o->fd < 0)
        FAIL(e, ERR_CREATE, "cannot create %s: %s", o->temp.s, strerror(errno));
    if (fstat(o->fd, &st) != 0 || !S_ISREG(st.st_mode))
        FAIL(e, ERR_CREATE, "cannot write %s: it is no regular file", o->temp.s);
    /* a file system without locks refuses with another error */
    if ((flock(o->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) ||
        stat(o->temp.s, &named) != 0 || named.st_ino != st.st_ino || named.st_dev != st.st_dev)
        FAIL(e, ERR_AGAIN, "cannot write %s: another program writes it now", o->temp.s);
    end = lseek(o->fd, 0, SEEK_END);
    if (end < 0)
        FAIL(e, ERR_IO, "cannot read %s: %s", o->temp.s, strerror(errno));
    o->written = (uint64_t)end;
    o->has_temp = o->replaces = true;
    return 0;
}

static int open_regular(struct outfile *o, unsigned flags, struct err *e)
{
    if (o->existed && faccessat(AT_FDCWD, o->target, W_OK, AT_EACCESS) != 0)
        FAIL(e, ERR_CREATE, "cannot write %s: %s; it exists and may not be changed", o->path,
             strerror(errno));
    o->regular = true;
    temp_name(o, UINT64_MAX);
    TRY(str_ok(&o->temp, "a path", e));
    if (flags & OUTFILE_RESUMES)
        return open_resumed(o, e);
    if (!o->existed || may_replace(o)) {
        o->replaces = open_temporary(o, flags & OUTFILE_NAMED) == 0;
        if (o->replaces)
            return 0;
        if (!o->existed || (errno != EACCES && errno != EPERM && errno != EROFS))
            return cannot_create(o, e);
    }
    TRY(open_in_place(o, O_TRUNC, e));
    log_warn("%s is written in place, because no new file may take its name: an interruption "
             "leaves it incomplete",
             o->path);
    return 0;
}

static int open_target(struct outfile *o, unsigned flags, struct err *e)
{
    bool magic;
    TRY(resolve(o, &magic, e));
    if (magic) {
        int fd = own_descriptor(o);
        if (fd >= 0)
            return open_descriptor(o, fd, e);
        return open_in_place(o, O_TRUNC, e);
    }
    if (o->existed && S_ISDIR(o->old.st_mode))
        FAIL(e, ERR_CREATE, "cannot write %s: it is a folder; name a file", o->path);
    if (o->existed && !S_ISREG(o->old.st_mode))
        return open_in_place(o, 0, e);
    return open_regular(o, flags, e);
}

static void outfile_free(struct outfile *o)
{
    if (o->fd >= 0)
        close(o->fd);
    mem_free(o->path);
    mem_free(o->target);
    mem_free(o->dir);
    str_free(&o->temp);
    mem_free(o);
}

/* An outfile that only knows its path. */
static int outfile_new(const char *path, struct outfile **out, struct err *e)
{
    struct outfile *o = mem_zalloc(1, sizeof *o);
    if (!o)
        return NOMEM(e, sizeof *o, "an output file");
    o->fd = -1;
    o->temp = (struct str)STR_INIT;
    o->path = mem_strdup(path);
    if (!o->path) {
        outfile_free(o);
        return NOMEM(e, strlen(path), "a path");
    }
    *out = o;
    return 0;
}

int outfile_open(const char *path, unsigned flags, struct outfile **out, struct err *e)
{
    struct outfile *o;
    int rc = 0;
    TRY(outfile_new(path, &o, e));
    TRY_DONE(open_target(o, flags, e));
    if ((flags & OUTFILE_EXTENDS) && !o->regular)
        TRY_DONE(
            err_set(e, ERR_USAGE,
                    "cannot write %s: a file with holes cannot go into a pipe or a device; name a "
                    "regular file",
                    path));
    if ((flags & OUTFILE_RESUMES) && !o->resumes)
        TRY_DONE(err_set(e, ERR_USAGE,
                         "cannot write %s: a pipe or a device keeps no part of a file; name a "
                         "regular file",
                         path));
    *out = o;
    return 0;
done:
    outfile_abandon(o);
    return rc;
}

int outfile_replaces(const char *path, bool *out, struct err *e)
{
    struct outfile *o;
    bool magic;
    int rc = 0;
    TRY(outfile_new(path, &o, e));
    TRY_DONE(resolve(o, &magic, e));
    if (magic)
        *out = own_descriptor(o) < 0 && stat(path, &o->old) == 0 && S_ISREG(o->old.st_mode);
    else
        *out = o->existed && S_ISREG(o->old.st_mode);
done:
    outfile_free(o);
    return rc;
}

void outfile_abandon(struct outfile *o)
{
    if (!o)
        return;
    if (o->has_temp && !o->resumes)
        unlink(o->temp.s);
    outfile_free(o);
}

void outfile_discard(struct outfile *o)
{
    o->resumes = false;
    outfile_abandon(o);
}

const char *outfile_part(const struct outfile *o)
{
    return o->temp.s;
}

/* ---- writing --------------------------------------------------------------------------------- */

static void add_reason(struct str *s, int why)
{
    struct rlimit lim;
    str_adds(s, strerror(why));
    if (why == EFBIG && getrlimit(RLIMIT_FSIZE, &lim) == 0 && lim.rlim_cur != RLIM_INFINITY)
        str_addf(s, " (the file size limit of this process, ulimit -f, is %llu bytes)",
                 (unsigned long long)lim.rlim_cur);
    else if (why == EPIPE)
        str_adds(s, " (nobody reads it any more)");
}

static int io_error(const struct outfile *o, const char *what, int why, struct err *e)
{
    struct statvfs v;
    struct str s = STR_INIT;
    add_reason(&s, why);
    str_addf(&s, "; %" PRIu64 " ", o->written);
    if (o->total)
        str_addf(&s, "of %" PRIu64 " ", o->total);
    str_adds(&s, "bytes written");
    if (o->regular && fstatvfs(o->fd, &v) == 0)
        str_addf(&s, ", %" PRIu64 " bytes free there; make room or choose another place",
                 (uint64_t)v.f_bavail * v.f_frsize);
    err_set(e, ERR_IO, "cannot %s %s: %s", what, o->path, s.s);
    str_free(&s);
    return ERR_IO;
}

int outfile_expect(struct outfile *o, uint64_t total, struct err *e)
{
    struct statvfs v;
    o->total = total;
    uint64_t left = total > o->written ? total - o->written : 0;
    if (o->regular && fstatvfs(o->fd, &v) == 0 && v.f_blocks && left / v.f_frsize > v.f_bavail)
        return io_error(o, "write", ENOSPC, e);
    return 0;
}

int outfile_put(struct outfile *o, const void *data, size_t n, struct err *e)
{
    const unsigned char *p = data;
    while (n) {
        ssize_t k = write(o->fd, p, n < PIECE ? n : PIECE);
        if (k > 0) {
            p += k;
            n -= (size_t)k;
            o->written += (uint64_t)k;
        } else if (k == 0) {
            /* no error and no progress: the target accepts no more bytes */
            return io_error(o, "write", ENOSPC, e);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            struct pollfd wait = {.fd = o->fd, .events = POLLOUT};
            (void)poll(&wait, 1, -1);
        } else if (errno != EINTR) {
            return io_error(o, "write", errno, e);
        }
    }
    return 0;
}

int outfile_cut(struct outfile *o, uint64_t total, struct err *e)
{
    if (!o->resumes || total > o->written)
        FAIL(e, ERR_BUG, "%s cannot be cut to %" PRIu64 " bytes", o->path, total);
    if (ftruncate(o->fd, (off_t)total) != 0 || lseek(o->fd, (off_t)total, SEEK_SET) < 0)
        return io_error(o, "cut", errno, e);
    o->written = total;
    return 0;
}

int outfile_reread(const struct outfile *o, uint64_t at, void *dst, size_t n, struct err *e)
{
    if (!o->resumes || at > o->written || n > o->written - at)
        FAIL(e, ERR_BUG, "%s: bytes %" PRIu64 " + %zu were asked for", o->path, at, n);
    for (size_t done = 0; done < n;) {
        ssize_t k = pread(o->fd, (unsigned char *)dst + done, n - done, (off_t)(at + done));
        if (k > 0)
            done += (size_t)k;
        else if (k == 0 || errno != EINTR)
            FAIL(e, ERR_IO, "cannot read %s: %s", o->temp.s,
                 k ? strerror(errno) : "it became shorter");
    }
    return 0;
}

int outfile_extend(struct outfile *o, uint64_t total, struct err *e)
{
    if (!o->regular || total > INT64_MAX)
        FAIL(e, ERR_BUG, "%s cannot be made %" PRIu64 " bytes long", o->path, total);
    o->total = total;
    if (ftruncate(o->fd, (off_t)total) != 0)
        return io_error(o, "extend", errno, e);
    o->written = total;
    return 0;
}

bool outfile_is_stdout(const struct outfile *o)
{
    struct stat a, b;
    return !o->replaces && fstat(o->fd, &a) == 0 && fstat(STDOUT_FILENO, &b) == 0 &&
           a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

uint64_t outfile_written(const struct outfile *o)
{
    return o->written;
}

int outfile_owner(const struct outfile *o, uid_t *owner, struct err *e)
{
    struct stat st;
    if (fstat(o->fd, &st) != 0)
        return io_error(o, "look at", errno, e);
    *owner = st.st_uid;
    return 0;
}

/* ---- the end --------------------------------------------------------------------------------- */

/* Takes over mode and owner of the replaced file. If the group cannot be kept, the group's rights
 * become those of other users. */
static void keep_mode(const struct outfile *o)
{
    mode_t mode = o->old.st_mode & 0777;
    if (!o->existed)
        return;
    if (fchown(o->fd, o->old.st_uid, o->old.st_gid) != 0 &&
        fchown(o->fd, (uid_t)-1, o->old.st_gid) != 0)
        mode = (mode & 0707) | (mode & 7) << 3;
    if (fchmod(o->fd, mode) != 0)
        log_warn("%s has another mode than before: %s", o->path, strerror(errno));
}

/* A rename survives a power failure only when the folder is on the disk too. */
static int sync_folder(const struct outfile *o, struct err *e)
{
    int rc = 0, fd = open(o->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno == EACCES) /* the folder may be written but not read */
        return 0;
    if (fd < 0 || (fsync(fd) != 0 && errno != EINVAL)) /* EINVAL: a file system without fsync */
        rc = err_set(e, ERR_IO, "cannot sync the folder of %s: %s", o->path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return rc;
}

/* Checks that no other file has taken the target's place meanwhile: it must not be lost. */
static int check_place(const struct outfile *o, struct err *e)
{
    struct stat st;
    if (lstat(o->target, &st) == 0 && !S_ISREG(st.st_mode))
        FAIL(e, ERR_CREATE, "cannot write %s: it is no regular file any more", o->path);
    return 0;
}

static int take_name(struct outfile *o, struct err *e)
{
    TRY(check_place(o, e));
    if (!o->has_temp) {
        if (!o->existed && make_linked(o, o->target) == 0)
            return 0;
        if (with_random_name(o, make_linked) != 0)
            FAIL(e, ERR_CREATE, "cannot give the file its name %s: %s", o->path, strerror(errno));
    }
    keep_mode(o);
    if (rename(o->temp.s, o->target) != 0)
        FAIL(e, ERR_CREATE, "cannot rename %s to %s: %s", o->temp.s, o->target, strerror(errno));
    o->has_temp = false;
    return 0;
}

int outfile_commit(struct outfile *o, struct err *e)
{
    int rc = 0;
    /* pipes and terminals have no fsync */
    if (fsync(o->fd) != 0 && (o->regular || (errno != EINVAL && errno != EROFS)))
        TRY_DONE(io_error(o, "sync", errno, e));
    if (o->replaces) {
        TRY_DONE(take_name(o, e));
        rc = sync_folder(o, e); /* the file is in place: a failure is reported, not undone */
    }
    outfile_free(o);
    return rc;
done:
    outfile_abandon(o);
    return rc;
}

int outfile_save(const char *path, const void *data, size_t n, struct err *e)
{
    struct outfile *o = NULL;
    int rc = outfile_open(path, 0, &o, e);
    if (rc == 0)
        rc = outfile_expect(o, n, e);
    if (rc == 0)
        rc = outfile_put(o, data, n, e);
    if (rc == 0)
        return outfile_commit(o, e);
    outfile_abandon(o);
    return rc;
}
