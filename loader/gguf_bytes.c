#include "gguf_bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "mem.h"

#ifndef MADV_POPULATE_READ
/* Linux 5.14; an older kernel returns EINVAL, and the pages are read instead */
#define MADV_POPULATE_READ 22
#endif

#define HEAD_STEP ((uint64_t)1 << 20)   /* first read; then doubling */
#define READ_BUFFER ((size_t)1 << 20)   /* for reading pages that cannot be populated */
#define READ_AHEAD ((uint64_t)64 << 20) /* requested while the current piece is awaited */

static uint64_t page_up(uint64_t n)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    return (n + page - 1) & ~(page - 1);
}

static int gguf_bytes_changed(const struct gguf_bytes *b, const char *how, struct err *e)
{
    FAIL(e, ERR_IO, "model file changed while it was in use: %s %s; start again", b->path, how);
}

int gguf_bytes_open(const char *path, struct gguf_bytes *out, struct err *e)
{
    /* O_NONBLOCK: opening a pipe of that name must not wait; regular files ignore the flag */
    struct gguf_bytes b = {.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    int rc = 0;
    struct stat st;
    if (b.fd < 0)
        FAIL(e, ERR_NOINPUT, "cannot open model %s: %s", path, strerror(errno));
    if (fstat(b.fd, &st) != 0)
        rc = err_set(e, ERR_NOINPUT, "cannot look at model %s: %s", path, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        rc = err_set(e, ERR_NOINPUT, "cannot open model %s: it is %s", path,
                     S_ISDIR(st.st_mode) ? "a directory" : "no regular file");
    TRY_DONE(rc);
    b.size = (uint64_t)st.st_size;
    b.dev = st.st_dev;
    b.ino = st.st_ino;
    b.mtime = st.st_mtim;
    b.path = mem_strdup(path);
    if (!b.path)
        TRY_DONE(NOMEM(e, strlen(path) + 1, "a path"));
    b.head_reserved = (size_t)page_up(b.size < GGUF_HEAD_MAX ? b.size : GGUF_HEAD_MAX);
    if (b.head_reserved) { /* address space only; gguf_bytes_need adds memory */
        void *p = mmap(NULL, b.head_reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED) {
            size_t want = b.head_reserved;
            b.head_reserved = 0;
            TRY_DONE(NOMEM(e, want, "the metadata of a model"));
        }
        b.head = p;
    }
    *out = b;
    return 0;
done:
    gguf_bytes_close(&b);
    return rc;
}

int gguf_bytes_memory(const void *data, size_t size, const char *name, struct gguf_bytes *out,
                      struct err *e)
{
    char *path = mem_strdup(name);
    if (!path)
        return NOMEM(e, strlen(name) + 1, "a path");
    *out = (struct gguf_bytes){
        .path = path, .fd = -1, .size = size, .head = data, .head_bytes = size, .map = data};
    return 0;
}

void gguf_bytes_close(struct gguf_bytes *b)
{
    if (b->fd >= 0 && b->path) {
        if (b->head_reserved)
            munmap((void *)(uintptr_t)b->head, b->head_reserved);
        if (b->map && !b->map_lent)
            munmap((void *)(uintptr_t)b->map, (size_t)b->size);
    }
    if (b->fd >= 0)
        close(b->fd);
    mem_free(b->path);
    *b = (struct gguf_bytes){.fd = -1};
}

int gguf_bytes_need(struct gguf_bytes *b, uint64_t upto, struct err *e)
{
    if (upto <= b->head_bytes)
        return 0;
    CHECK(upto <= b->size);
    if (upto > GGUF_HEAD_MAX)
        FAIL(e, ERR_DATA, "metadata goes beyond byte %" PRIu64 ", the largest that is read",
             (uint64_t)GGUF_HEAD_MAX);
    uint64_t limit = b->size < GGUF_HEAD_MAX ? b->size : GGUF_HEAD_MAX;
    uint64_t want = b->head_bytes ? 2 * (uint64_t)b->head_bytes : HEAD_STEP;
    want = want < upto ? upto : want;
    want = want > limit ? limit : want;
    void *head = (void *)(uintptr_t)b->head;
    if (mprotect(head, (size_t)page_up(want), PROT_READ | PROT_WRITE) != 0)
        return NOMEM(e, want, "the metadata of a model");
    size_t have = b->head_bytes;
    TRY(gguf_bytes_read(b, have, (unsigned char *)head + have, (size_t)want - have, e));
    b->head_bytes = (size_t)want;
    return 0;
}

uint64_t gguf_bytes_room(const struct gguf_bytes *b)
{
    return page_up(b->size);
}

int gguf_bytes_map(struct gguf_bytes *b, void *at, struct err *e)
{
    if (b->fd < 0)
        return 0;
    size_t used = (size_t)page_up(b->head_bytes);
    void *head = (void *)(uintptr_t)b->head;
    if (used < b->head_reserved)
        munmap((unsigned char *)head + used, b->head_reserved - used);
    b->head_reserved = used;
    if (used && mprotect(head, used, PROT_READ) != 0)
        FAIL(e, ERR_IO, "cannot protect the metadata of %s: %s", b->path, strerror(errno));
    if (b->size > SIZE_MAX)
        FAIL(e, ERR_DATA, "cannot map %s: %" PRIu64 " bytes", b->path, b->size);
    void *map = mmap(at, (size_t)b->size, PROT_READ, MAP_PRIVATE | (at ? MAP_FIXED : 0), b->fd, 0);
    if (map == MAP_FAILED)
        FAIL(e, errno == ENOMEM ? ERR_NOMEM : ERR_IO, "cannot map the %" PRIu64 " bytes of %s: %s",
             b->size, b->path, strerror(errno));
    b->map = map;
    b->map_lent = at != NULL;
    return 0;
}

int gguf_bytes_read(const struct gguf_bytes *b, uint64_t at, void *dst, size_t n, struct err *e)
{
    CHECK(at <= b->size && n <= b->size - at);
    if (b->fd < 0) {
        if (n)
            memcpy(dst, b->map + at, n);
        return 0;
    }
    for (size_t done = 0; done < n;) {
        ssize_t k = pread(b->fd, (unsigned char *)dst + done, n - done, (off_t)(at + done));
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            FAIL(e, ERR_IO, "cannot read %s at byte %" PRIu64 ": %s", b->path, at + done,
                 strerror(errno));
        if (k == 0)
            return gguf_bytes_changed(b, "became shorter", e);
        done += (size_t)k;
    }
    return 0;
}

/* Replaces MADV_POPULATE_READ on old kernels: reading fills the page cache and never faults. */
static int gguf_bytes_warm(const struct gguf_bytes *b, uint64_t at, uint64_t n, struct err *e)
{
    void *buf = mem_aligned(READ_BUFFER);
    if (!buf)
        return NOMEM(e, READ_BUFFER, "reading a model");
    int rc = 0;
    for (uint64_t done = 0; done < n && rc == 0; done += READ_BUFFER)
        rc = gguf_bytes_read(b, at + done, buf,
                             n - done < READ_BUFFER ? (size_t)(n - done) : READ_BUFFER, e);
    mem_free(buf);
    return rc;
}

void gguf_bytes_ahead(const struct gguf_bytes *b, uint64_t at, uint64_t n)
{
    CHECK(at <= b->size && n <= b->size - at);
    if (b->fd >= 0 && n) /* only advice: without it, every byte is still read */
        (void)posix_fadvise(b->fd, (off_t)at, (off_t)(n + READ_AHEAD), POSIX_FADV_WILLNEED);
}

int gguf_bytes_populate(const struct gguf_bytes *b, uint64_t at, uint64_t n, struct err *e)
{
    CHECK(at <= b->size && n <= b->size - at);
    if (b->fd < 0 || n == 0)
        return 0;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), begin = at & ~(page - 1);
    unsigned char *p = (unsigned char *)(uintptr_t)b->map + begin;
    for (;;) {
        if (madvise(p, (size_t)(at - begin + n), MADV_POPULATE_READ) == 0)
            return 0;
        if (errno != EINTR && errno != EAGAIN) /* EINVAL: old kernel; EFAULT: pread reports why */
            return gguf_bytes_warm(b, at, n, e);
    }
}

int gguf_bytes_unchanged(const struct gguf_bytes *b, struct err *e)
{
    if (b->fd < 0)
        return 0;
    struct stat st;
    if (fstat(b->fd, &st) != 0)
        FAIL(e, ERR_IO, "cannot look at model file %s: %s", b->path, strerror(errno));
    if ((uint64_t)st.st_size < b->size)
        return gguf_bytes_changed(b, "became shorter", e);
    if ((uint64_t)st.st_size > b->size)
        return gguf_bytes_changed(b, "became longer", e);
    if (st.st_mtim.tv_sec != b->mtime.tv_sec || st.st_mtim.tv_nsec != b->mtime.tv_nsec)
        return gguf_bytes_changed(b, "was written to", e);
    if (stat(b->path, &st) != 0)
        return gguf_bytes_changed(b, "is no longer there", e);
    if (st.st_ino != b->ino || st.st_dev != b->dev)
        return gguf_bytes_changed(b, "was replaced by another file", e);
    return 0;
}
