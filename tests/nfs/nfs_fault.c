/*
 * nfs_fault: a library for LD_PRELOAD that makes a folder behave like one of a network file system,
 * as seen by several hosts. Each process that is started with it is a client.
 *
 * Below NFS_ROOT:
 * - each operation takes NFS_LATENCY_US microseconds, at random up to twice as many;
 * - flock succeeds for everybody (NFS_FLOCK=lies) or fails with ENOLCK (NFS_FLOCK=none);
 * - written bytes stay in the process until fsync, fdatasync, close or 256 KiB. A killed process
 *   loses the rest, and others do not see it: close-to-open consistency;
 * - a client appends where it believes the end to be, so two clients overwrite each other;
 * - a name that was not there stays absent for NFS_CACHE_MS, and a folder's list stays the same,
 *   unless this process changes the folder: attribute caches;
 * - there is no O_TMPFILE, and no linkat of a descriptor;
 * - NFS_LINK=none: there are no hard links. NFS_LINK=lost: the link is made, but every third call
 *   says EEXIST, as when the reply was lost and the call repeated;
 * - fsync and fdatasync fail with ENOSPC while the file NFS_ROOT.full exists.
 *
 * NFS_HOST: the name of the host, which also becomes the id of its boot.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FDS 1024
#define NAMES 512
#define KEPT ((size_t)256 << 10)

#define REAL(name) ((__typeof__(&name))nfs_real(#name))

struct nfs_file { /* an open file below the root */
    bool ours, append;
    char *bytes; /* written, not flushed */
    size_t n, cap;
    off_t at;  /* of a pwrite; -1 = they follow each other */
    off_t end; /* append: where this client believes the end to be */
};

struct nfs_absent {
    char path[512];
    int64_t until;
};

struct nfs_list { /* of a folder */
    char dir[512];
    char *names; /* each ends with NUL, the list with another one */
    int64_t until;
};

static struct nfs_file nfs_file[FDS];
static struct nfs_absent nfs_absent[NAMES];
static struct nfs_list nfs_list[64];
static char *nfs_old[NAMES]; /* former lists */
static unsigned nfs_n_old;
static struct {
    DIR *d;
    const char *names; /* the old list that is still valid; NULL = none */
} nfs_dir[64];
static pthread_mutex_t nfs_lock = PTHREAD_MUTEX_INITIALIZER;

static void *nfs_real(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

static int64_t nfs_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static long nfs_number(const char *name)
{
    const char *s = getenv(name);
    return s ? strtol(s, NULL, 10) : 0;
}

static bool nfs_is(const char *name, const char *value)
{
    const char *s = getenv(name);
    return s && !strcmp(s, value);
}

/* Is the path below the root? The tests give absolute paths. */
static bool nfs_ours(const char *path)
{
    const char *root = getenv("NFS_ROOT");
    const size_t n = root ? strlen(root) : 0;
    return n && path && !strncmp(path, root, n) && (path[n] == '/' || !path[n]);
}

static void nfs_wait(void)
{
    static _Thread_local unsigned seed;
    const long us = nfs_number("NFS_LATENCY_US");
    if (!seed)
        seed = (unsigned)getpid() ^ (unsigned)nfs_now();
    if (us > 0)
        usleep((useconds_t)((double)us * 2 * rand_r(&seed) / RAND_MAX));
}

/* ---- caches ---------------------------------------------------------------------------------- */

/* This process has changed the folder of the path: its caches end. */
static void nfs_changed(const char *path)
{
    char dir[512];
    snprintf(dir, sizeof dir, "%s", path);
    char *slash = strrchr(dir, '/');
    if (slash)
        *slash = 0;
    const size_t n = strlen(dir);
    pthread_mutex_lock(&nfs_lock);
    for (int i = 0; i < NAMES; i++)
        if (!strncmp(nfs_absent[i].path, dir, n) && nfs_absent[i].path[n] == '/')
            nfs_absent[i].until = 0;
    for (int i = 0; i < 64; i++)
        if (!strcmp(nfs_list[i].dir, dir))
            nfs_list[i].until = 0;
    pthread_mutex_unlock(&nfs_lock);
}

static bool nfs_was_absent(const char *path)
{
    bool hit = false;
    pthread_mutex_lock(&nfs_lock);
    for (int i = 0; i < NAMES && !hit; i++)
        hit = nfs_absent[i].until > nfs_now() && !strcmp(nfs_absent[i].path, path);
    pthread_mutex_unlock(&nfs_lock);
    return hit;
}

static void nfs_is_absent(const char *path)
{
    static int next;
    const long ms = nfs_number("NFS_CACHE_MS");
    if (ms <= 0)
        return;
    pthread_mutex_lock(&nfs_lock);
    next = (next + 1) % NAMES;
    snprintf(nfs_absent[next].path, sizeof nfs_absent[next].path, "%s", path);
    nfs_absent[next].until = nfs_now() + ms * 1000000;
    pthread_mutex_unlock(&nfs_lock);
}

static int nfs_stat(const char *path, struct stat *st, __typeof__(&stat) real)
{
    if (!nfs_ours(path))
        return real(path, st);
    nfs_wait();
    if (nfs_was_absent(path)) {
        errno = ENOENT;
        return -1;
    }
    const int rc = real(path, st);
    if (rc != 0 && errno == ENOENT) {
        nfs_is_absent(path);
        errno = ENOENT;
    }
    return rc;
}

int stat(const char *path, struct stat *st)
{
    return nfs_stat(path, st, REAL(stat));
}

int lstat(const char *path, struct stat *st)
{
    return nfs_stat(path, st, REAL(lstat));
}

int access(const char *path, int mode)
{
    struct stat st;
    if (nfs_ours(path) && mode == F_OK)
        return stat(path, &st);
    return REAL(access)(path, mode);
}

DIR *opendir(const char *path)
{
    DIR *d = REAL(opendir)(path);
    const long ms = nfs_number("NFS_CACHE_MS");
    if (!d || !nfs_ours(path) || ms <= 0)
        return d;
    nfs_wait();
    pthread_mutex_lock(&nfs_lock);
    struct nfs_list *l = NULL;
    for (int i = 0; i < 64; i++)
        if (!strcmp(nfs_list[i].dir, path))
            l = &nfs_list[i];
    for (int i = 0; i < 64 && !l; i++)
        if (!nfs_list[i].dir[0])
            l = &nfs_list[i];
    if (l && (l->until <= nfs_now() || !l->names)) { /* reads it anew, and keeps it */
        FILE *f;
        char *text = NULL;
        size_t n = 0;
        f = open_memstream(&text, &n);
        for (struct dirent *e = REAL(readdir)(d); e; e = REAL(readdir)(d))
            fprintf(f, "%s%c", e->d_name, 0);
        fputc(0, f);
        fclose(f);
        rewinddir(d);
        free(nfs_old[nfs_n_old % NAMES]); /* of long ago: nobody reads it any more */
        nfs_old[nfs_n_old++ % NAMES] = l->names;
        l->names = text;
        snprintf(l->dir, sizeof l->dir, "%s", path);
        l->until = nfs_now() + ms * 1000000;
    }
    for (int i = 0; i < 64 && l; i++)
        if (!nfs_dir[i].d) {
            nfs_dir[i].d = d;
            nfs_dir[i].names = l->names;
            break;
        }
    pthread_mutex_unlock(&nfs_lock);
    return d;
}

struct dirent *readdir(DIR *d)
{
    const char *names = NULL;
    for (int i = 0; i < 64; i++)
        if (nfs_dir[i].d == d)
            names = nfs_dir[i].names;
    for (;;) {
        struct dirent *e = REAL(readdir)(d);
        const char *k = names;
        while (e && k && *k && strcmp(k, e->d_name) != 0)
            k += strlen(k) + 1;
        if (!e || !names || *k)
            return e;
    }
}

int closedir(DIR *d)
{
    for (int i = 0; i < 64; i++)
        if (nfs_dir[i].d == d)
            nfs_dir[i].d = NULL;
    return REAL(closedir)(d);
}

/* ---- names ----------------------------------------------------------------------------------- */

int link(const char *from, const char *to)
{
    static int calls;
    if (!nfs_ours(to))
        return REAL(link)(from, to);
    nfs_wait();
    nfs_changed(to);
    if (nfs_is("NFS_LINK", "none")) {
        errno = EPERM;
        return -1;
    }
    const int rc = REAL(link)(from, to);
    if (rc == 0 && nfs_is("NFS_LINK", "lost") && ++calls % 3 == 0) {
        errno = EEXIST;
        return -1;
    }
    return rc;
}

int linkat(int a, const char *from, int b, const char *to, int flags)
{
    if (nfs_ours(to)) {
        errno = EOPNOTSUPP;
        return -1;
    }
    return REAL(linkat)(a, from, b, to, flags);
}

int rename(const char *from, const char *to)
{
    if (nfs_ours(to)) {
        nfs_wait();
        nfs_changed(to);
    }
    return REAL(rename)(from, to);
}

int unlink(const char *path)
{
    if (nfs_ours(path)) {
        nfs_wait();
        nfs_changed(path);
    }
    return REAL(unlink)(path);
}

int mkdir(const char *path, mode_t mode)
{
    if (nfs_ours(path)) {
        nfs_wait();
        nfs_changed(path);
    }
    return REAL(mkdir)(path, mode);
}

/* ---- files ----------------------------------------------------------------------------------- */

static int nfs_boot(void)
{
    const char *host = getenv("NFS_HOST");
    const int fd = memfd_create("boot", MFD_CLOEXEC);
    if (fd >= 0 && dprintf(fd, "boot-of-%s\n", host) > 0)
        lseek(fd, 0, SEEK_SET);
    return fd;
}

int open(const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    const mode_t mode =
        (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    if (getenv("NFS_HOST") && !strcmp(path, "/proc/sys/kernel/random/boot_id"))
        return nfs_boot();
    if (!nfs_ours(path))
        return REAL(open)(path, flags, mode);
    nfs_wait();
    if ((flags & O_TMPFILE) == O_TMPFILE) {
        errno = EOPNOTSUPP;
        return -1;
    }
    if (flags & O_CREAT)
        nfs_changed(path);
    const int fd = REAL(open)(path, flags & ~O_APPEND, mode);
    if (fd >= 0 && fd < FDS && (flags & O_ACCMODE) != O_RDONLY && !(flags & O_DIRECTORY))
        nfs_file[fd] = (struct nfs_file){.ours = true, .append = flags & O_APPEND, .at = -1};
    if (fd >= 0 && fd < FDS && (flags & O_APPEND))
        nfs_file[fd].end = lseek(fd, 0, SEEK_END);
    return fd;
}

static struct nfs_file *nfs_of(int fd)
{
    return fd >= 0 && fd < FDS && nfs_file[fd].ours ? &nfs_file[fd] : NULL;
}

static int nfs_flush(int fd)
{
    struct nfs_file *f = nfs_of(fd);
    size_t done = 0;
    if (!f)
        return 0;
    while (done < f->n) {
        const off_t at = f->at >= 0 ? f->at : f->append ? f->end : -1;
        const ssize_t k = at >= 0 ? REAL(pwrite)(fd, f->bytes + done, f->n - done, at + (off_t)done)
                                  : REAL(write)(fd, f->bytes + done, f->n - done);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return -1;
        done += (size_t)k;
    }
    f->end += f->at < 0 ? (off_t)f->n : 0;
    f->n = 0;
    f->at = -1;
    return 0;
}

static ssize_t nfs_keep(int fd, struct nfs_file *f, const void *data, size_t n, off_t at)
{
    if ((at != f->at && f->n && nfs_flush(fd) < 0) || (at >= 0 && f->n && nfs_flush(fd) < 0))
        return -1;
    if (f->n + n > f->cap) {
        char *p = realloc(f->bytes, f->n + n);
        if (!p) {
            errno = ENOSPC;
            return -1;
        }
        f->bytes = p;
        f->cap = f->n + n;
    }
    memcpy(f->bytes + f->n, data, n);
    f->n += n;
    f->at = at;
    if (f->n > KEPT && nfs_flush(fd) < 0)
        return -1;
    return (ssize_t)n;
}

ssize_t write(int fd, const void *data, size_t n)
{
    struct nfs_file *f = nfs_of(fd);
    return f ? nfs_keep(fd, f, data, n, -1) : REAL(write)(fd, data, n);
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
    struct nfs_file *f = nfs_of(fd);
    return f ? nfs_keep(fd, f, data, n, at) : REAL(pwrite)(fd, data, n, at);
}

static int nfs_sync(int fd, int (*real)(int))
{
    char full[600];
    const char *root = getenv("NFS_ROOT");
    if (!nfs_of(fd))
        return real(fd);
    nfs_wait();
    snprintf(full, sizeof full, "%.500s.full", root ? root : "");
    if (REAL(access)(full, F_OK) == 0) { /* the server says so at the flush */
        nfs_of(fd)->n = 0;
        errno = ENOSPC;
        return -1;
    }
    return nfs_flush(fd) < 0 ? -1 : real(fd);
}

int fsync(int fd)
{
    return nfs_sync(fd, REAL(fsync));
}

int fdatasync(int fd)
{
    return nfs_sync(fd, REAL(fdatasync));
}

int ftruncate(int fd, off_t n)
{
    if (nfs_flush(fd) < 0)
        return -1;
    if (nfs_of(fd))
        nfs_of(fd)->end = n;
    return REAL(ftruncate)(fd, n);
}

int close(int fd)
{
    int failed = 0;
    struct nfs_file *f = nfs_of(fd);
    if (f) {
        failed = nfs_flush(fd) < 0 ? errno : 0;
        free(f->bytes);
        *f = (struct nfs_file){.ours = false};
    }
    const int rc = REAL(close)(fd);
    if (failed) {
        errno = failed;
        return -1;
    }
    return rc;
}

/* ---- the host -------------------------------------------------------------------------------- */

int flock(int fd, int how)
{
    if (nfs_is("NFS_FLOCK", "lies"))
        return 0;
    if (nfs_is("NFS_FLOCK", "none")) {
        errno = ENOLCK;
        return -1;
    }
    return REAL(flock)(fd, how);
}

int gethostname(char *out, size_t n)
{
    const char *host = getenv("NFS_HOST");
    if (!host)
        return REAL(gethostname)(out, n);
    snprintf(out, n, "%s", host);
    return 0;
}
