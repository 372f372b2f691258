#include "packed_file.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "lanes.h"
#include "mem.h"
#include "outfile.h"
#include "packed_sum.h"

#define PACKED_PIECE ((uint64_t)64 << 20) /* bytes that are packed at a time */

struct packed_writer {
    struct packed *p;
    const struct packed_options *o;
    struct outfile *out;
    bool refused; /* the file, not the model, is the cause of the error */
    unsigned char *buf;
    uint64_t done;
    struct packed_sum sum; /* of the block that is being written */
    uint64_t *sums;        /* (n_sum) */
};

static int writer_put(struct packed_writer *w, const void *data, size_t n, struct err *e)
{
    const int rc = outfile_put(w->out, data, n, e);
    w->refused |= rc < 0;
    return rc;
}

/* Writes weights; n: a multiple of 64. */
static int writer_weights(struct packed_writer *w, const unsigned char *data, size_t n,
                          struct err *e)
{
    TRY(writer_put(w, data, n, e));
    for (size_t k; n; data += k, n -= k) {
        const uint64_t left = PACKED_BLOCK - w->done % PACKED_BLOCK;
        k = n < left ? n : (size_t)left;
        sum_add(&w->sum, data, k);
        w->done += k;
        if (w->done % PACKED_BLOCK == 0 || w->done == w->p->bytes) {
            /* as sum_of, which adds the bytes after the last whole 64 */
            static const unsigned char none[64];
            sum_add(&w->sum, none, sizeof none);
            w->sums[(w->done - 1) / PACKED_BLOCK] = sum_end(&w->sum);
            sum_init(&w->sum);
        }
    }
    if (w->o->progress)
        w->o->progress(w->done, w->p->bytes, w->o->user);
    return 0;
}

struct rows_of { /* of a tensor, from a row on */
    const struct gguf *g;
    uint64_t file_at;
    size_t row_bytes;
};

static int read_rows(void *user, int64_t row, int64_t n, void *dst, struct err *e)
{
    const struct rows_of *r = user;
    return gguf_read(r->g, r->file_at + (uint64_t)row * r->row_bytes, dst, (size_t)n * r->row_bytes,
                     e);
}

int packed_rows(struct ops *ops, const struct gguf *g, uint64_t file_at, const struct tensor *w,
                int64_t first, int64_t n, void *dst, struct err *e)
{
    struct tensor some = *w;
    struct rows_of from = {g, file_at + (uint64_t)first * w->row_bytes, w->row_bytes};
    some.dim[0] = n;
    some.data = dst;
    /* Threads read at several places of a piece at once, which the system's own read-ahead does not
     * recognise. */
    TRY(gguf_ahead(g, from.file_at, (uint64_t)n * w->row_bytes, e));
    return ops->pack(ops, &some, 0, n, read_rows, &from, e);
}

int64_t packed_step(const struct tensor *w, int64_t at)
{
    const int64_t strips = (int64_t)(PACKED_PIECE / (4 * LANES * w->row_bytes) + 1) * 4;
    const int64_t left = tensor_rows(w) - at, n = strips * LANES;
    return left < n + LANES ? left : n; /* the last piece has a whole strip */
}

static int writer_packed(struct packed_writer *w, const struct packed_tensor *t, struct err *e)
{
    const int64_t rows = tensor_rows(t->t);
    for (int64_t at = 0, n; at < rows; at += n) {
        n = packed_step(t->t, at);
        const size_t bytes = (size_t)n * t->t->row_bytes;
        const size_t all = at + n == rows ? size_align(bytes, WEIGHTS_ALIGN) : bytes;
        TRY(packed_rows(w->o->ops, w->o->w->file, t->file_at, t->t, at, n, w->buf, e));
        memset(w->buf + bytes, 0, all - bytes);
        TRY(writer_weights(w, w->buf, all, e));
    }
    return 0;
}

static int writer_plain(struct packed_writer *w, const struct packed_tensor *t, struct err *e)
{
    for (uint64_t at = 0; at < t->bytes; at += PACKED_PIECE) {
        const size_t n = (size_t)(t->bytes - at < PACKED_PIECE ? t->bytes - at : PACKED_PIECE);
        const size_t all = size_align(n, WEIGHTS_ALIGN);
        TRY(gguf_read(w->o->w->file, t->file_at + at, w->buf, n, e));
        memset(w->buf + n, 0, all - n);
        TRY(writer_weights(w, w->buf, all, e));
    }
    return 0;
}

static int writer_table(struct packed_writer *w, struct err *e)
{
    const struct packed *p = w->p;
    struct packed_foot f = {.bytes = p->bytes, .text_bytes = p->text.len, .n_sum = p->n_sum};
    const size_t sums = (size_t)p->n_sum * sizeof *w->sums, n = p->text.len + sums;
    unsigned char *table = mem_zalloc(n, 1);
    if (!table)
        return NOMEM(e, n, "the table of packed weights");
    memcpy(f.magic, PACKED_MAGIC, sizeof f.magic);
    memcpy(table, p->text.s, p->text.len);
    memcpy(table + p->text.len, w->sums, sums);
    f.sum = sum_of(table, n);
    int rc = writer_put(w, table, n, e);
    if (rc == 0)
        rc = writer_put(w, &f, sizeof f, e);
    mem_free(table);
    return rc;
}

/* The largest piece, and what fills it up to WEIGHTS_ALIGN. */
static size_t writer_room(const struct packed *p)
{
    size_t most = 0;
    for (size_t i = 0; i < p->n; i++) {
        const struct tensor *t = p->tensor[i].t;
        const uint64_t piece = p->tensor[i].packs
                                   ? (uint64_t)(packed_step(t, 0) + LANES) * t->row_bytes
                                   : PACKED_PIECE;
        const uint64_t n = p->tensor[i].bytes < piece ? p->tensor[i].bytes : piece;
        most = n > most ? (size_t)n : most;
    }
    return most + WEIGHTS_ALIGN;
}

/* Removes the file that may not be used: the disk may have no room for two, and the new one belongs
 * to this user. Nothing else of that name is removed. */
static int writer_remove(const struct packed *p, struct err *e)
{
    struct stat st;
    if (lstat(p->path, &st) != 0 && errno == ENOENT)
        return 0;
    if (!p->old.there || st.st_dev != p->old.dev || st.st_ino != p->old.ino)
        FAIL(e, ERR_CREATE, "cannot write %s: another file has taken its place", p->path);
    if (unlink(p->path) != 0)
        FAIL(e, ERR_CREATE, "cannot remove %s: %s", p->path, strerror(errno));
    return 0;
}

/* The system may give new files to another user, as network file systems do with those of root. */
static int writer_owner(const struct packed_writer *w, struct err *e)
{
    struct str why = STR_INIT;
    uid_t owner;
    TRY(outfile_owner(w->out, &owner, e));
    packed_check_owner(w->o->w->file, owner, &why);
    int rc = str_ok(&why, "a reason", e);
    if (rc == 0 && why.len)
        rc = err_set(e, ERR_CREATE, "cannot use a new file %s: %s", w->p->path, why.s);
    str_free(&why);
    return rc;
}

/* A folder that may not be written keeps the file that it has. */
static int writer_open(struct packed_writer *w, struct err *e)
{
    const struct packed *p = w->p;
    struct str dir = STR_INIT;
    int rc = packed_dir(p, &dir, e);
    if (rc == 0 && access(dir.s, W_OK) != 0)
        rc = err_set(e, ERR_CREATE, "cannot write into the folder %s: %s", dir.s, strerror(errno));
    str_free(&dir);
    if (rc == 0)
        rc = writer_remove(p, e);
    if (rc == 0)
        rc = outfile_open(p->path, 0, &w->out, e);
    if (rc == 0)
        rc = writer_owner(w, e);
    if (rc == 0)
        rc = outfile_expect(
            w->out,
            p->bytes + p->text.len + p->n_sum * sizeof *w->sums + sizeof(struct packed_foot), e);
    w->refused = rc < 0;
    return rc;
}

static int writer_head(struct packed_writer *w, struct err *e)
{
    unsigned char head[WEIGHTS_ALIGN] = PACKED_MAGIC;
    return writer_weights(w, head, sizeof head, e);
}

/* All bytes are of one version of the model, which its text describes. */
static int writer_same_model(struct packed_writer *w, struct err *e)
{
    const struct gguf *g = w->o->w->file;
    struct str now = STR_INIT, why = STR_INIT;
    int rc = 0;
    TRY_DONE(gguf_check_unchanged(g, e));
    TRY_DONE(packed_identity(g, &now, e));
    if (strncmp(w->p->text.s, now.s, now.len) != 0) {
        packed_differs(w->p->text.s, now.len, now.s, now.len, &why);
        TRY_DONE(str_ok(&why, "a reason", e));
        w->refused = true; /* perhaps no byte has changed */
        rc = err_set(e, ERR_IO, "the model changed while it was packed: %s", why.s);
    }
done:
    str_free(&now);
    str_free(&why);
    return rc;
}

static int writer_all(struct packed_writer *w, struct err *e)
{
    const struct packed *p = w->p;
    w->buf = mem_aligned(writer_room(p));
    w->sums = mem_zalloc((size_t)p->n_sum, sizeof *w->sums);
    if (!w->buf || !w->sums)
        return NOMEM(e, writer_room(p), "packed weights");
    TRY(writer_open(w, e));
    sum_init(&w->sum);
    TRY(writer_head(w, e));
    for (size_t i = 0; i < p->n; i++)
        TRY(p->tensor[i].packs ? writer_packed(w, &p->tensor[i], e)
                               : writer_plain(w, &p->tensor[i], e));
    CHECK(w->done == p->bytes);
    TRY(writer_table(w, e));
    TRY(writer_same_model(w, e));
    struct outfile *whole = w->out;
    w->out = NULL;
    const int rc = outfile_commit(whole, e);
    w->refused = rc < 0;
    return rc;
}

int packed_write(struct packed *p, const struct packed_options *o, bool *refused, struct err *e)
{
    struct packed_writer w = {.p = p, .o = o};
    const int rc = writer_all(&w, e);
    outfile_abandon(w.out);
    mem_free(w.sums);
    mem_free(w.buf);
    *refused = w.refused;
    return rc;
}
