#include "zio.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <zlib.h>

#include "mem.h"

#define ZIO_CHUNK ((size_t)32 << 10)
#define ZIO_GZIP (15 + 16) /* zlib's window bits: 32 KiB window, gzip header and trailer */

static void *zio_alloc(void *opaque, uInt n, uInt size)
{
    (void)opaque;
    return mem_zalloc(n, size);
}

static void zio_release(void *opaque, void *p)
{
    (void)opaque;
    mem_free(p);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* An open file with the bytes that were read ahead of the decoder. */
struct zio_in {
    int fd;
    const char *path;
    unsigned char buf[ZIO_CHUNK];
    size_t at, n;    /* unused bytes are buf[at..n) */
    uint64_t offset; /* in the file, of buf[at] */
    bool eof;
};

static int in_error(const struct zio_in *in, struct err *e)
{
    if (errno == EISDIR)
        FAIL(e, ERR_NOINPUT, "cannot read '%s': it is a directory; name a file", in->path);
    FAIL(e, ERR_IO, "cannot read '%s' at byte %llu: %s", in->path, (unsigned long long)in->offset,
         strerror(errno));
}

static void in_use(struct zio_in *in, size_t n)
{
    in->at += n;
    in->offset += n;
}

/* Reads on until `want` bytes are in the buffer or the file ends. want <= ZIO_CHUNK. */
static int in_fill(struct zio_in *in, size_t want, struct err *e)
{
    if (in->n - in->at >= want || in->eof)
        return 0;
    memmove(in->buf, in->buf + in->at, in->n - in->at);
    in->n -= in->at;
    in->at = 0;
    while (in->n < want && !in->eof) {
        ssize_t got = read(in->fd, in->buf + in->n, ZIO_CHUNK - in->n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return in_error(in, e);
        in->eof = got == 0;
        in->n += (size_t)got;
    }
    return 0;
}

static bool in_is_gzip(const struct zio_in *in)
{
    return in->n - in->at >= 2 && in->buf[in->at] == 0x1f && in->buf[in->at + 1] == 0x8b;
}

static int out_add(struct str *out, const void *data, size_t n, size_t max_bytes, const char *path,
                   struct err *e)
{
    if (n > max_bytes - out->len)
        FAIL(e, ERR_DATA, "cannot read '%s': it holds more than the limit of %zu bytes", path,
             max_bytes);
    str_add(out, data, n);
    return str_ok(out, path, e);
}

static int read_plain(struct zio_in *in, size_t max_bytes, struct str *out, struct err *e)
{
    for (;;) {
        TRY(in_fill(in, 1, e));
        if (in->at == in->n)
            return 0;
        TRY(out_add(out, in->buf + in->at, in->n - in->at, max_bytes, in->path, e));
        in_use(in, in->n - in->at);
    }
}

static int member_error(int z, const z_stream *zs, const struct zio_in *in, struct err *e)
{
    if (z == Z_MEM_ERROR)
        return NOMEM(e, (size_t)1 << 15, "the gzip decoder");
    FAIL(e, ERR_DATA, "cannot read '%s': corrupt gzip data at byte %llu (%s); get the file again",
         in->path, (unsigned long long)in->offset, zs->msg ? zs->msg : "no valid block");
}

/* Inflates one gzip member. Afterwards `in` points to the byte after it. */
static int read_member(struct zio_in *in, size_t max_bytes, struct str *out, struct err *e)
{
    unsigned char piece[ZIO_CHUNK];
    z_stream zs = {.zalloc = zio_alloc, .zfree = zio_release};
    const uint64_t begin = in->offset;
    int rc = 0, z = inflateInit2(&zs, ZIO_GZIP);
    if (z != Z_OK)
        return member_error(Z_MEM_ERROR, &zs, in, e);
    do {
        TRY_DONE(in_fill(in, 1, e));
        if (in->at == in->n) {
            rc = err_set(e, ERR_DATA,
                         "cannot read '%s': it ends at byte %llu inside the gzip member "
                         "that begins at byte %llu; get the file again",
                         in->path, (unsigned long long)in->offset, (unsigned long long)begin);
            goto done;
        }
        zs.next_in = in->buf + in->at;
        zs.avail_in = (uInt)(in->n - in->at);
        do { /* until this input is used up: output may be a thousand times larger */
            zs.next_out = piece;
            zs.avail_out = sizeof piece;
            z = inflate(&zs, Z_NO_FLUSH);
            TRY_DONE(out_add(out, piece, sizeof piece - zs.avail_out, max_bytes, in->path, e));
        } while (z == Z_OK && zs.avail_out == 0);
        in_use(in, in->n - in->at - zs.avail_in);
        if (z != Z_OK && z != Z_STREAM_END && z != Z_BUF_ERROR) {
            rc = member_error(z, &zs, in, e);
            goto done;
        }
    } while (z != Z_STREAM_END);
done:
    inflateEnd(&zs);
    return rc;
}

/* Passes zeros, with which tapes and block devices fill the last block. They must reach the end of
 * the file. */
static int skip_zeros(struct zio_in *in, struct err *e)
{
    const uint64_t begin = in->offset;
    while (in->at < in->n && !in->buf[in->at]) {
        in_use(in, 1);
        TRY(in_fill(in, 1, e));
    }
    if (in->at < in->n && in->offset > begin)
        FAIL(e, ERR_DATA,
             "cannot read '%s': %llu zero bytes after a gzip member, and other bytes at byte %llu; "
             "get the file again",
             in->path, (unsigned long long)(in->offset - begin), (unsigned long long)in->offset);
    return 0;
}

static int read_all(struct zio_in *in, size_t max_bytes, struct str *out, struct err *e)
{
    TRY(in_fill(in, 2, e));
    if (!in_is_gzip(in))
        return read_plain(in, max_bytes, out, e);
    while (in->at < in->n) {
        if (!in_is_gzip(in))
            FAIL(e, ERR_DATA,
                 "cannot read '%s': bytes that are no gzip member follow at byte %llu; "
                 "get the file again",
                 in->path, (unsigned long long)in->offset);
        TRY(read_member(in, max_bytes, out, e));
        TRY(in_fill(in, 1, e));
        TRY(skip_zeros(in, e));
        TRY(in_fill(in, 2, e));
    }
    return 0;
}

/* Appends to text what could be read, also on failure. */
static int read_path(const char *path, size_t max_bytes, bool raw, struct str *text, struct err *e)
{
    bool is_stdin = !strcmp(path, "-");
    struct zio_in *in = mem_zalloc(1, sizeof *in);
    int rc;
    if (!in)
        return NOMEM(e, sizeof *in, "a read buffer");
    in->path = is_stdin ? "standard input" : path;
    in->fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (in->fd < 0)
        rc = err_set(e, ERR_NOINPUT, "cannot open '%s': %s", path, strerror(errno));
    else
        rc = raw ? read_plain(in, max_bytes, text, e) : read_all(in, max_bytes, text, e);
    if (in->fd >= 0 && !is_stdin)
        close(in->fd);
    mem_free(in);
    return rc;
}

static int read_whole(const char *path, size_t max_bytes, bool raw, struct str *out, struct err *e)
{
    struct str text = STR_INIT;
    int rc = read_path(path, max_bytes, raw, &text, e);
    if (rc < 0) {
        str_free(&text);
        return rc;
    }
    str_free(out);
    *out = text;
    return 0;
}

int zio_read(const char *path, size_t max_bytes, struct str *out, struct err *e)
{
    return read_whole(path, max_bytes, false, out, e);
}

int zio_read_raw(const char *path, size_t max_bytes, struct str *out, struct err *e)
{
    return read_whole(path, max_bytes, true, out, e);
}

int zio_salvage(const char *path, size_t max_bytes, struct str *out, bool *whole, struct err *e)
{
    struct str text = STR_INIT;
    int rc = read_path(path, max_bytes, false, &text, e);
    if (rc < 0 && rc != ERR_DATA) {
        str_free(&text);
        return rc;
    }
    *whole = rc == 0;
    str_free(out);
    *out = text;
    return 0;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* Compresses data[0..n) to the end of the member. */
static int deflate_all(z_stream *zs, const unsigned char *data, size_t n, struct str *out)
{
    unsigned char piece[ZIO_CHUNK];
    int z = Z_OK;
    while (z == Z_OK) {
        if (zs->avail_in == 0 && n > 0) { /* zlib counts in 32 bits */
            size_t part = n < (1u << 30) ? n : 1u << 30;
            zs->next_in = (unsigned char *)(uintptr_t)data; /* zlib does not write to it */
            zs->avail_in = (uInt)part;
            data += part;
            n -= part;
        }
        zs->next_out = piece;
        zs->avail_out = sizeof piece;
        z = deflate(zs, n ? Z_NO_FLUSH : Z_FINISH);
        str_add(out, piece, sizeof piece - zs->avail_out);
    }
    return z;
}

int zio_gzip(const void *data, size_t n, struct str *out, struct err *e)
{
    z_stream zs = {.zalloc = zio_alloc, .zfree = zio_release};
    struct str member = STR_INIT;
    if (deflateInit2(&zs, 6, Z_DEFLATED, ZIO_GZIP, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return NOMEM(e, (size_t)1 << 18, "the gzip encoder");
    int z = deflate_all(&zs, data, n, &member);
    deflateEnd(&zs);
    int rc = str_ok(&member, "a gzip member", e);
    if (rc == 0 && z != Z_STREAM_END)
        rc = err_set(e, ERR_BUG, "cannot compress %zu bytes: zlib says %d", n, z);
    if (rc == 0) {
        struct str old = *out;
        str_add(out, member.s, member.len);
        rc = str_ok(out, "a gzip member", e);
        if (rc < 0)
            out->failed = old.failed;
    }
    str_free(&member);
    return rc;
}

uint32_t zio_crc32(uint32_t crc, const void *data, size_t n)
{
    return (uint32_t)crc32_z(crc, n ? data : (const void *)"", n);
}

static int write_error(int fd, const char *path, size_t done, size_t n, struct err *e)
{
    struct statvfs fs;
    int why = errno;
    if (fstatvfs(fd, &fs) == 0 && fs.f_frsize)
        FAIL(e, ERR_IO,
             "cannot write '%s': %s after %zu of %zu bytes; %llu bytes are free there; make "
             "room and start again",
             path, strerror(why), done, n, (unsigned long long)fs.f_bavail * fs.f_frsize);
    FAIL(e, ERR_IO, "cannot write '%s': %s after %zu of %zu bytes", path, strerror(why), done, n);
}

int zio_write_all(int fd, const char *path, const void *data, size_t n, struct err *e)
{
    const unsigned char *p = data;
    size_t done = 0;
    while (done < n) {
        size_t part = n - done < (1u << 30) ? n - done : 1u << 30;
        ssize_t put = write(fd, p + done, part);
        if (put > 0) {
            done += (size_t)put;
        } else if (put == 0) {
            errno = ENOSPC; /* no error and no progress: nothing more goes in */
            return write_error(fd, path, done, n, e);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            struct pollfd wait = {.fd = fd, .events = POLLOUT};
            (void)poll(&wait, 1, -1);
        } else if (errno != EINTR) {
            return write_error(fd, path, done, n, e);
        }
    }
    return 0;
}
