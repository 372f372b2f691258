#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>

#include "packed_file.h"
#include "sha256.h"

#define PACKED_SAMPLE ((size_t)4096) /* bytes at both ends of a tensor */

static void add_time(struct str *out, const char *key, const char *of, struct timespec t)
{
    const time_t seconds = t.tv_sec;
    struct tm tm;
    char day[40];
    if (gmtime_r(&seconds, &tm) && strftime(day, sizeof day, "%Y-%m-%d %H:%M:%S", &tm))
        str_addf(out, "%s of %s = %s.%09ld UTC\n", key, of, day, t.tv_nsec);
    else
        str_addf(out, "%s of %s = %" PRId64 ".%09ld s\n", key, of, (int64_t)t.tv_sec, t.tv_nsec);
}

int packed_identity(const struct gguf *g, struct str *out, struct err *e)
{
    const size_t n = gguf_n_parts(g);
    char of[48] = "the model";
    for (size_t i = 0; i < n; i++) {
        const struct gguf_part part = gguf_part(g, i);
        struct stat st;
        if (stat(part.path, &st) != 0)
            FAIL(e, ERR_IO, "cannot look at model file %s: %s", part.path, strerror(errno));
        if (n > 1)
            snprintf(of, sizeof of, "part %zu of the model", i + 1);
        str_addf(out, "size of %s = %" PRIu64 " bytes\n", of, part.bytes);
        str_addf(out, "inode of %s = %" PRIuMAX "\n", of, (uintmax_t)st.st_ino);
        /* Network, overlay and memory file systems have major 0. The system numbers them anew at
         * each mount, so their numbers would differ between hosts and starts. */
        if (major(st.st_dev))
            str_addf(out, "device of %s = %u:%u\n", of, major(st.st_dev), minor(st.st_dev));
        else
            str_addf(out, "device of %s = numbered at the mount\n", of);
        add_time(out, "time of the last write", of, st.st_mtim);
        add_time(out, "change time (ctime)", of, st.st_ctim); /* which no program can set */
    }
    return str_ok(out, "the identity of a model", e);
}

/* A hash of the first and the last bytes of each tensor: two models of one shape differ there. */
static int packed_sample(const struct packed *p, const struct gguf *g, char hex[65], struct err *e)
{
    unsigned char some[PACKED_SAMPLE];
    struct sha256 *h;
    int rc = 0;
    TRY(sha256_open(&h, e));
    for (size_t i = 0; i < p->n; i++) {
        const struct packed_tensor *t = &p->tensor[i];
        const size_t n = t->bytes < sizeof some ? (size_t)t->bytes : sizeof some;
        TRY_DONE(gguf_read(g, t->file_at, some, n, e));
        TRY_DONE(sha256_add(h, some, n, e));
        TRY_DONE(gguf_read(g, t->file_at + t->bytes - n, some, n, e));
        TRY_DONE(sha256_add(h, some, n, e));
    }
    rc = sha256_finish(h, hex, e);
done:
    sha256_close(h);
    return rc;
}

int packed_text(struct packed *p, const struct gguf *g, const char *order, struct err *e)
{
    char hex[65];
    TRY(packed_identity(g, &p->text, e));
    TRY(packed_sample(p, g, hex, e));
    TRY(gguf_check_unchanged(g, e)); /* identity and samples are of the opened files */
    str_addf(&p->text, "order of the weights = %s\nhash of samples = %s\n", order, hex);
    for (size_t i = 0; i < p->n; i++) {
        const struct packed_tensor *t = &p->tensor[i];
        str_addf(&p->text, "tensor at byte %" PRIu64 " = %" PRIu64 " bytes of %s, %s\n", t->file_at,
                 t->bytes, fmt_info(t->t->fmt)->name, t->packs ? "packed" : "plain");
    }
    return str_ok(&p->text, "the text of packed weights", e);
}

/* Length of "KEY = " at the begin of a line of n bytes; n without one. */
static int key_bytes(const char *line, int n)
{
    for (int i = 0; i + 3 <= n; i++)
        if (!memcmp(line + i, " = ", 3))
            return i + 3;
    return n;
}

static int line_bytes(const char *line, size_t n)
{
    const char *end = memchr(line, '\n', n);
    const size_t k = end ? (size_t)(end - line) : n;
    return k < 300 ? (int)k : 300;
}

void packed_differs(const char *was, size_t n_was, const char *now, size_t n_now, struct str *why)
{
    struct err said; /* control bytes become '?' */
    size_t line = 0;
    for (size_t i = 0; i < n_was && i < n_now && was[i] == now[i]; i++)
        line = was[i] == '\n' ? i + 1 : line;
    const char *a = was + line, *b = now + line;
    const int n = line_bytes(a, n_was - line), m = line_bytes(b, n_now - line), k = key_bytes(b, m);
    if (n >= k && k < m && !memcmp(a, b, (size_t)k))
        err_set(&said, ERR_DATA, "the %.*s was %.*s, it is %.*s now", k - 3, b, n - k, a + k, m - k,
                b + k);
    else
        err_set(&said, ERR_DATA, "the text '%.*s' is '%.*s' now", n, a, m, b);
    str_adds(why, said.msg);
}
