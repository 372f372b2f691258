#include "node_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "mem.h"
#include "outfile.h"
#include "sha256.h"

#define COPY_PIECE ((size_t)4 << 20)
#define COPY_WAIT_NS 100000000
#define COPY_PARTS 999
#define COPY_RECORD 262144 /* bytes of a record at most */

struct node_copier {
    const struct node_copy_options *o;
    struct str dir;   /* of this model below o->dir */
    struct str stem;  /* the path without "-00001-of-00003.gguf"; the path of a single file */
    int parts;        /* 0 = a single file */
    struct str facts; /* sizes, inodes and times of the originals, as in the record */
    uint64_t total, done;
    int lock;
    unsigned char *buf;
    struct sha256 *hash;
};

/* "X-00002-of-00003.gguf": the number of parts; 0 = a single file. */
static int copier_parts(const char *path)
{
    const size_t n = strlen(path);
    int part = 0, of = 0, end = 0;
    if (n < 20 || sscanf(path + n - 20, "-%5d-of-%5d.gguf%n", &part, &of, &end) != 2 || end != 20)
        return 0;
    return part >= 1 && part <= of && of <= COPY_PARTS ? of : 0;
}

static void copier_original(const struct node_copier *c, int part, struct str *out)
{
    str_adds(out, c->stem.s);
    if (c->parts)
        str_addf(out, "-%05d-of-%05d.gguf", part, c->parts);
}

static void copier_target(const struct node_copier *c, const char *original, struct str *out)
{
    const char *slash = strrchr(original, '/');
    str_addf(out, "%s/%s", c->dir.s, slash ? slash + 1 : original);
}

/* Sizes, inodes and times of the originals. */
static int copier_look(const struct node_copier *c, struct str *facts, uint64_t *total,
                       struct err *e)
{
    struct str path = STR_INIT;
    int rc = 0;
    *total = 0;
    for (int i = 1; i <= (c->parts ? c->parts : 1) && rc == 0; i++) {
        struct stat st;
        str_clear(&path);
        copier_original(c, i, &path);
        rc = str_ok(&path, "a path", e);
        if (rc == 0 && stat(path.s, &st) != 0)
            rc = err_set(e, ERR_NOINPUT, "cannot open %s: %s", path.s, strerror(errno));
        if (rc == 0 && !S_ISREG(st.st_mode))
            rc = err_set(e, ERR_NOINPUT, "cannot copy %s: it is no regular file", path.s);
        if (rc < 0)
            break;
        *total += (uint64_t)st.st_size;
        /* no program can set the change time (ctime); the one of the last write it can */
        str_addf(facts,
                 "part %d bytes %" PRId64 " inode %" PRIuMAX " written %" PRId64
                 ".%09ld changed %" PRId64 ".%09ld\n",
                 i, (int64_t)st.st_size, (uintmax_t)st.st_ino, (int64_t)st.st_mtim.tv_sec,
                 st.st_mtim.tv_nsec, (int64_t)st.st_ctim.tv_sec, st.st_ctim.tv_nsec);
    }
    str_free(&path);
    return rc == 0 ? str_ok(facts, "a record", e) : rc;
}

/* Reads a small file; "" if there is none. */
static void copier_read(const char *path, char *out, size_t size)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t n = 0;
    for (ssize_t k = 1; fd >= 0 && k > 0 && n + 1 < size; n += k > 0 ? (size_t)k : 0)
        k = read(fd, out + n, size - 1 - n);
    out[n] = 0;
    if (fd >= 0)
        close(fd);
}

/* Is there a whole copy of the originals as they are now? */
static int copier_has(const struct node_copier *c, bool *has, char sha256[65], struct err *e)
{
    struct str path = STR_INIT, original = STR_INIT;
    char *record = mem_zalloc(1, COPY_RECORD);
    int rc = record ? 0 : NOMEM(e, COPY_RECORD, "a record");
    *has = false;
    if (rc < 0)
        return rc;
    str_addf(&path, "%s/from", c->dir.s);
    rc = str_ok(&path, "a path", e);
    if (rc == 0)
        copier_read(path.s, record, COPY_RECORD);
    const size_t n = c->facts.len;
    bool same = rc == 0 && !strncmp(record, c->facts.s, n) && !strncmp(record + n, "sha256 ", 7) &&
                strlen(record + n) == 7 + 64 + 1;
    for (int i = 1; i <= (c->parts ? c->parts : 1) && same; i++) {
        struct stat a, b;
        str_clear(&path);
        str_clear(&original);
        copier_original(c, i, &original);
        copier_target(c, original.s, &path);
        same = stat(original.s, &a) == 0 && stat(path.s, &b) == 0 && a.st_size == b.st_size;
    }
    if (same) {
        memcpy(sha256, record + n + 7, 64);
        sha256[64] = 0;
        *has = true;
    }
    str_free(&path);
    str_free(&original);
    mem_free(record);
    return rc;
}

static bool copier_stopped(const struct node_copier *c)
{
    return c->o->stop && atomic_load(c->o->stop) != 0;
}

/* Tells the processes that wait, through the lock's file, and the caller. */
static void copier_tell(struct node_copier *c)
{
    char line[96];
    const int n = snprintf(line, sizeof line, "%-12ld %-20" PRIu64 " %-20" PRIu64 "\n",
                           (long)getpid(), c->done, c->total);
    if (pwrite(c->lock, line, (size_t)n, 0) != n) {
        /* they then show no progress */
    }
    if (c->o->progress)
        c->o->progress(c->done, c->total, c->o->user);
}

static int copier_bytes(struct node_copier *c, int from, const char *path, struct outfile *to,
                        struct err *e)
{
    for (;;) {
        const ssize_t n = read(from, c->buf, COPY_PIECE);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            FAIL(e, ERR_IO, "cannot read %s: %s", path, strerror(errno));
        if (n == 0)
            return 0;
        if (copier_stopped(c))
            FAIL(e, ERR_CANCEL, "stopped");
        TRY(sha256_add(c->hash, c->buf, (size_t)n, e));
        TRY(outfile_put(to, c->buf, (size_t)n, e));
        c->done += (uint64_t)n;
        copier_tell(c);
    }
}

static int copier_file(struct node_copier *c, int part, struct err *e)
{
    struct str from = STR_INIT, to = STR_INIT;
    struct outfile *out = NULL;
    struct stat st;
    int fd = -1, rc;
    copier_original(c, part, &from);
    copier_target(c, from.s, &to);
    TRY_DONE(str_ok(&from, "a path", e));
    TRY_DONE(str_ok(&to, "a path", e));
    fd = open(from.s, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0)
        TRY_DONE(err_set(e, ERR_NOINPUT, "cannot open %s: %s", from.s, strerror(errno)));
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    TRY_DONE(outfile_open(to.s, 0, &out, e));
    TRY_DONE(outfile_expect(out, (uint64_t)st.st_size, e));
    TRY_DONE(copier_bytes(c, fd, from.s, out, e));
    struct outfile *whole = out;
    out = NULL;
    rc = outfile_commit(whole, e);
done:
    outfile_abandon(out);
    if (fd >= 0)
        close(fd);
    str_free(&from);
    str_free(&to);
    return rc;
}

/* Copies all parts, then writes the record. */
static int copier_copy(struct node_copier *c, char sha256[65], struct err *e)
{
    struct str now = STR_INIT, path = STR_INIT;
    uint64_t total = 0;
    int rc;
    str_addf(&path, "%s/from", c->dir.s);
    TRY_DONE(str_ok(&path, "a path", e));
    if (unlink(path.s) != 0 && errno != ENOENT)
        TRY_DONE(err_set(e, ERR_IO, "cannot remove %s: %s", path.s, strerror(errno)));
    c->buf = mem_zalloc(1, COPY_PIECE);
    if (!c->buf)
        TRY_DONE(NOMEM(e, COPY_PIECE, "a copy"));
    TRY_DONE(sha256_open(&c->hash, e));
    for (int i = 1; i <= (c->parts ? c->parts : 1); i++)
        TRY_DONE(copier_file(c, i, e));
    TRY_DONE(sha256_finish(c->hash, sha256, e));
    TRY_DONE(copier_look(c, &now, &total, e));
    if (c->done != total || strcmp(now.s, c->facts.s) != 0)
        TRY_DONE(err_set(e, ERR_DATA, "%s changed while it was copied; start again", c->stem.s));
    str_addf(&now, "sha256 %s\n", sha256);
    TRY_DONE(str_ok(&now, "a record", e));
    rc = outfile_save(path.s, now.s, now.len, e);
done:
    sha256_close(c->hash);
    c->hash = NULL;
    mem_free(c->buf);
    c->buf = NULL;
    str_free(&now);
    str_free(&path);
    return rc;
}

/* Holds the lock, or waits until there is a copy. *has: another process made it. */
static int copier_lock(struct node_copier *c, bool *has, char sha256[65], struct err *e)
{
    struct str path = STR_INIT;
    char line[96];
    int rc;
    *has = false;
    str_addf(&path, "%s/lock", c->dir.s);
    TRY_DONE(str_ok(&path, "a path", e));
    c->lock = open(path.s, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (c->lock < 0)
        TRY_DONE(err_set(e, ERR_CREATE, "cannot create %s: %s; name a folder that you may write",
                         path.s, strerror(errno)));
    while (flock(c->lock, LOCK_EX | LOCK_NB) != 0) {
        const struct timespec t = {.tv_nsec = COPY_WAIT_NS};
        long pid = 0;
        uint64_t done = 0, total = 0;
        if (errno != EWOULDBLOCK && errno != EINTR)
            TRY_DONE(err_set(e, ERR_CREATE,
                             "cannot lock %s: %s; name a folder on a disk of this host", path.s,
                             strerror(errno)));
        if (copier_stopped(c))
            TRY_DONE(err_set(e, ERR_CANCEL, "stopped"));
        copier_read(path.s, line, sizeof line);
        if (c->o->progress && sscanf(line, "%ld %" SCNu64 " %" SCNu64, &pid, &done, &total) == 3 &&
            total)
            c->o->progress(done, total, c->o->user);
        (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
    }
    rc = copier_has(c, has, sha256, e); /* the process before may have made it */
done:
    str_free(&path);
    return rc;
}

static int copier_dir(struct node_copier *c, const char *path, struct err *e)
{
    char *real = realpath(path, NULL), hex[65];
    int rc;
    if (!real)
        FAIL(e, ERR_NOINPUT, "cannot open %s: %s", path, strerror(errno));
    c->parts = copier_parts(path);
    str_add(&c->stem, path, strlen(path) - (c->parts ? 20 : 0));
    TRY_DONE(sha256_hex(real, strlen(real) - (c->parts ? 20 : 0), hex, e));
    str_addf(&c->dir, "%s/%.16s", c->o->dir, hex);
    TRY_DONE(str_ok(&c->dir, "a path", e));
    TRY_DONE(str_ok(&c->stem, "a path", e));
    for (int i = 0; i < 2; i++) {
        const char *dir = i ? c->dir.s : c->o->dir;
        if (mkdir(dir, 0777) != 0 && errno != EEXIST)
            TRY_DONE(err_set(e, ERR_CREATE,
                             "cannot create the folder %s: %s; name a folder that you may write",
                             dir, strerror(errno)));
    }
done:
    mem_free(real);
    return rc;
}

int node_copy(const struct node_copy_options *o, const char *path, struct str *copy,
              char sha256[65], bool *made, struct err *e)
{
    struct node_copier c = {
        .o = o, .dir = STR_INIT, .stem = STR_INIT, .facts = STR_INIT, .lock = -1};
    bool has = false;
    int rc;
    *made = false;
    TRY_DONE(copier_dir(&c, path, e));
    TRY_DONE(copier_look(&c, &c.facts, &c.total, e));
    TRY_DONE(copier_has(&c, &has, sha256, e));
    if (!has)
        TRY_DONE(copier_lock(&c, &has, sha256, e));
    if (!has) {
        TRY_DONE(copier_copy(&c, sha256, e));
        *made = true;
    }
    copier_target(&c, path, copy);
    rc = str_ok(copy, "a path", e);
done:
    if (c.lock >= 0)
        close(c.lock); /* gives the lock back */
    str_free(&c.dir);
    str_free(&c.stem);
    str_free(&c.facts);
    return rc;
}
