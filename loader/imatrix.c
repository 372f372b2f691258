#include "imatrix.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "escape.h"
#include "gguf.h"
#include "mem.h"

enum { NAME_MOST = 64, COLS_MOST = 1 << 24, DATASET_MOST = 4096 };
#define FILE_MOST ((off_t)1 << 30)

struct imatrix_entry {
    char name[NAME_MOST + 1];
    int64_t cols;
    float *w; /* (cols) */
};

struct imatrix {
    char *path;
    struct imatrix_entry *entry;
    size_t n, cap;
    struct arena mem; /* of the numbers */
    int64_t chunks;
    char dataset[DATASET_MOST + 1];
};

/* ---- entries --------------------------------------------------------------------------------- */

static const struct imatrix_entry *imatrix_entry(const struct imatrix *im, const char *name)
{
    for (size_t i = 0; i < im->n; i++)
        if (!strcmp(im->entry[i].name, name))
            return &im->entry[i];
    return NULL;
}

/* Copies a name from the file. */
static int imatrix_name(const struct imatrix *im, const char *s, size_t n, char out[NAME_MOST + 1],
                        struct err *e)
{
    char text[ESCAPE_NAME];
    struct gguf_str name = {s, n};
    if (n < 1 || n > NAME_MOST || memchr(s, 0, n))
        FAIL(e, ERR_DATA, "%s: the name '%s' of an entry has %zu bytes; must be 1 to %d of text",
             im->path, escape_name(text, name.s, name.len), n, NAME_MOST);
    memcpy(out, s, n);
    out[n] = 0;
    if (imatrix_entry(im, out))
        FAIL(e, ERR_DATA, "%s: tensor '%s' has two entries", im->path, out);
    return 0;
}

/* Adds the entry of a tensor: sums divided by their number, scaled to mean 1. raw: cols f32. */
static int imatrix_add(struct imatrix *im, const char *name, const unsigned char *raw, int64_t cols,
                       double count, struct err *e)
{
    double total = 0;
    if (!(count >= 0) || !isfinite(count))
        FAIL(e, ERR_DATA, "%s: entry of %s: %g passes; must be 0 or more", im->path, name, count);
    TRY(mem_grow(&im->entry, &im->cap, im->n + 1, sizeof *im->entry, "entries of a matrix", e));
    float *w = arena_alloc(&im->mem, (size_t)cols, sizeof *w);
    if (!w)
        return NOMEM(e, (size_t)cols * sizeof *w, "an entry of a matrix");
    memcpy(w, raw, (size_t)cols * sizeof *w);
    for (int64_t i = 0; i < cols; i++) {
        if (!(w[i] >= 0) || !isfinite(w[i]))
            FAIL(e, ERR_DATA, "%s: entry of %s: column %" PRId64 " has %g; must be 0 or more",
                 im->path, name, i, (double)w[i]);
        total += (double)w[i];
    }
    const double mean = total / (double)cols;
    for (int64_t i = 0; i < cols; i++) {
        const float v = mean > 0 && count > 0 ? (float)((double)w[i] / mean) : 1;
        w[i] = v > IMATRIX_LEAST ? v : IMATRIX_LEAST;
    }
    struct imatrix_entry *p = &im->entry[im->n++];
    snprintf(p->name, sizeof p->name, "%s", name);
    p->cols = cols;
    p->w = w;
    return 0;
}

/* ---- the GGUF form --------------------------------------------------------------------------- */

/* The f32 tensor NAME + suffix of n elements. */
static int imatrix_tensor(const struct imatrix *im, const struct gguf *g, const char *name,
                          const char *suffix, const struct gguf_tensor **out, struct err *e)
{
    char full[NAME_MOST + 32];
    snprintf(full, sizeof full, "%s%s", name, suffix);
    *out = gguf_tensor_find(g, full);
    if (!*out)
        FAIL(e, ERR_DATA, "%s: tensor %s is missing", im->path, full);
    const struct tensor *t = &(*out)->t;
    if (t->fmt != FMT_F32 || tensor_rows(t) != 1)
        FAIL(e, ERR_DATA, "%s: %s is %s with %" PRId64 " rows; must be one row of F32%s", im->path,
             full, fmt_info(t->fmt)->name, tensor_rows(t),
             tensor_rows(t) > 1 ? ", for experts are not supported" : "");
    return 0;
}

static int imatrix_dataset_of(struct imatrix *im, const struct gguf *g, struct err *e)
{
    const struct gguf_kv *kv = gguf_find(g, "imatrix.datasets");
    TRY(gguf_get_int_or(g, "imatrix.chunk_count", 0, INT64_MAX, 0, &im->chunks, e));
    if (kv && kv->type == GGUF_ARRAY && kv->elem == GGUF_STRING && kv->count > 0)
        snprintf(im->dataset, sizeof im->dataset, "%.*s",
                 kv->strings[0].len > DATASET_MOST ? DATASET_MOST : (int)kv->strings[0].len,
                 kv->strings[0].s);
    return 0;
}

static int imatrix_read_gguf(struct imatrix *im, const struct gguf *g, struct err *e)
{
    static const char sums[] = ".in_sum2";
    const size_t tail = sizeof sums - 1;
    TRY(imatrix_dataset_of(im, g, e));
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_str full = gguf_tensor_at(g, i)->name;
        const struct gguf_tensor *sum, *count;
        char name[NAME_MOST + 1];
        float n;
        if (full.len <= tail || memcmp(full.s + full.len - tail, sums, tail) != 0)
            continue;
        TRY(imatrix_name(im, full.s, full.len - tail, name, e));
        TRY(imatrix_tensor(im, g, name, sums, &sum, e));
        TRY(imatrix_tensor(im, g, name, ".counts", &count, e));
        if (tensor_cols(&count->t) != 1)
            FAIL(e, ERR_DATA, "%s: %s.counts has %" PRId64 " numbers; must be one", im->path, name,
                 tensor_cols(&count->t));
        memcpy(&n, count->t.data, sizeof n);
        TRY(imatrix_add(im, name, sum->t.data, tensor_cols(&sum->t), (double)n, e));
    }
    if (im->n == 0)
        FAIL(e, ERR_DATA, "%s: a GGUF file without tensors *%s is no importance matrix", im->path,
             sums);
    return 0;
}

/* ---- the legacy form ------------------------------------------------------------------------- */

struct bytes {
    const unsigned char *p;
    size_t n, at;
};

static int bytes_take(const struct imatrix *im, struct bytes *b, size_t n, const char *what,
                      const unsigned char **out, struct err *e)
{
    if (n > b->n - b->at)
        FAIL(e, ERR_DATA,
             "%s: %s at byte %zu needs %zu bytes, but %zu are left; is it an importance matrix by "
             "llama-imatrix, and whole?",
             im->path, what, b->at, n, b->n - b->at);
    *out = b->p + b->at;
    b->at += n;
    return 0;
}

static int bytes_int(const struct imatrix *im, struct bytes *b, int32_t low, int32_t high,
                     const char *what, int32_t *out, struct err *e)
{
    const unsigned char *p;
    TRY(bytes_take(im, b, 4, what, &p, e));
    *out = (int32_t)((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
                     (uint32_t)p[3] << 24);
    if (*out < low || *out > high)
        FAIL(e, ERR_DATA,
             "%s: %s at byte %zu is %" PRId32 "; must be %" PRId32 " to %" PRId32
             ". Is it an importance matrix by llama-imatrix?",
             im->path, what, b->at - 4, *out, low, high);
    return 0;
}

static int imatrix_read_legacy(struct imatrix *im, struct bytes *b, struct err *e)
{
    int32_t n, len, passes, cols, chunks;
    const unsigned char *p, *raw;
    TRY(bytes_int(im, b, 1, 1 << 20, "the number of entries", &n, e));
    for (int32_t i = 0; i < n; i++) {
        char name[NAME_MOST + 1];
        TRY(bytes_int(im, b, 1, NAME_MOST, "the length of a name", &len, e));
        TRY(bytes_take(im, b, (size_t)len, "a name", &p, e));
        TRY(imatrix_name(im, (const char *)p, (size_t)len, name, e));
        TRY(bytes_int(im, b, 0, INT32_MAX, "the number of passes", &passes, e));
        TRY(bytes_int(im, b, 1, COLS_MOST, "the number of columns", &cols, e));
        TRY(bytes_take(im, b, (size_t)cols * sizeof(float), name, &raw, e));
        TRY(imatrix_add(im, name, raw, cols, passes, e));
    }
    if (b->at == b->n) /* files before 2024 end here */
        return 0;
    TRY(bytes_int(im, b, 0, INT32_MAX, "the number of chunks", &chunks, e));
    TRY(bytes_int(im, b, 0, DATASET_MOST, "the length of the text's name", &len, e));
    TRY(bytes_take(im, b, (size_t)len, "the text's name", &p, e));
    im->chunks = chunks;
    snprintf(im->dataset, sizeof im->dataset, "%.*s", len, (const char *)p);
    return 0;
}

/* ---- the file -------------------------------------------------------------------------------- */

static int read_all(int fd, const char *path, unsigned char *buf, size_t n, struct err *e)
{
    for (size_t at = 0; at < n;) {
        const ssize_t k = pread(fd, buf + at, n - at, (off_t)at);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            FAIL(e, ERR_IO, "cannot read %s at byte %zu: %s", path, at,
                 k < 0 ? strerror(errno) : "the file became shorter");
        at += (size_t)k;
    }
    return 0;
}

static int imatrix_legacy_file(struct imatrix *im, int fd, struct err *e)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        FAIL(e, ERR_IO, "cannot look at %s: %s", im->path, strerror(errno));
    if (!S_ISREG(st.st_mode) || st.st_size > FILE_MOST)
        FAIL(e, ERR_DATA, "%s: must be a regular file of at most 1 GiB", im->path);
    struct bytes b = {.n = (size_t)st.st_size};
    unsigned char *buf = mem_aligned(b.n + 1);
    if (!buf)
        return NOMEM(e, b.n, "an importance matrix");
    int rc = read_all(fd, im->path, buf, b.n, e);
    b.p = buf;
    if (rc == 0)
        rc = imatrix_read_legacy(im, &b, e);
    mem_free(buf);
    return rc;
}

static int imatrix_gguf_file(struct imatrix *im, struct err *e)
{
    struct gguf *g;
    TRY(gguf_open(im->path, &g, e));
    const int rc = imatrix_read_gguf(im, g, e);
    gguf_close(g);
    return rc;
}

static int imatrix_load(struct imatrix *im, struct err *e)
{
    char magic[4] = {0};
    const int fd = open(im->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        FAIL(e, ERR_NOINPUT, "cannot open importance matrix '%s': %s", im->path, strerror(errno));
    const bool gguf = pread(fd, magic, sizeof magic, 0) == 4 && !memcmp(magic, "GGUF", 4);
    const int rc = gguf ? imatrix_gguf_file(im, e) : imatrix_legacy_file(im, fd, e);
    close(fd);
    return rc;
}

int imatrix_open(const char *path, struct imatrix **out, struct err *e)
{
    struct imatrix *im = mem_zalloc(1, sizeof *im);
    if (!im)
        return NOMEM(e, sizeof *im, "an importance matrix");
    im->path = mem_strdup(path);
    int rc = im->path ? imatrix_load(im, e) : NOMEM(e, strlen(path), "a path");
    if (rc < 0) {
        imatrix_close(im);
        return rc;
    }
    *out = im;
    return 0;
}

void imatrix_close(struct imatrix *im)
{
    if (!im)
        return;
    arena_free(&im->mem);
    mem_free(im->entry);
    mem_free(im->path);
    mem_free(im);
}

int imatrix_find(const struct imatrix *im, const char *tensor, int64_t cols, const float **w,
                 struct err *e)
{
    const struct imatrix_entry *p = imatrix_entry(im, tensor);
    *w = NULL;
    if (!p)
        return 0;
    if (p->cols != cols)
        FAIL(e, ERR_DATA,
             "%s: the entry of %s has %" PRId64 " columns, but the tensor has %" PRId64
             "; take the matrix of this model",
             im->path, tensor, p->cols, cols);
    *w = p->w;
    return 0;
}

int imatrix_entries(const struct imatrix *im)
{
    return (int)im->n;
}

int64_t imatrix_chunks(const struct imatrix *im)
{
    return im->chunks;
}

const char *imatrix_dataset(const struct imatrix *im)
{
    return im->dataset;
}
