/*
 * Keys and the tensor table are collected in memory. The first data byte, or finish, fixes the
 * layout and writes them. All later bytes stream through one block of 4 MiB.
 */
#include "gguf_write.h"

#include <inttypes.h>
#include <string.h>

#include "escape.h"
#include "mem.h"
#include "names.h"
#include "outfile.h"
#include "str.h"

#define BLOCK ((size_t)4 << 20) /* large enough that the disk is the limit, not the system call */
#define ALIGN_DEFAULT 32

struct gguf_writer {
    char *path; /* owned */
    struct outfile *out;
    bool hollow;
    bool begun; /* header written: no more keys and tensors */
    struct arena names_mem;
    struct names keys, tensors;
    struct str kv, table; /* encoded records */
    uint64_t n_kv, n_tensor, align;
    struct gguf_write_tensor {
        const char *name; /* in names_mem */
        uint64_t bytes;
        size_t offset_at; /* byte of table that holds its offset */
    } * tensor;
    size_t tensor_cap;
    size_t current;       /* tensor that receives data */
    uint64_t current_at;  /* bytes of that tensor received */
    uint64_t total;       /* bytes of the file at the end */
    unsigned char *block; /* (BLOCK) */
    size_t used;
};

/* ---- bytes to the file ----------------------------------------------------------------------- */

static int writer_flush(struct gguf_writer *w, struct err *e)
{
    size_t n = w->used;
    w->used = 0;
    return outfile_put(w->out, w->block, n, e);
}

/* Writes large pieces directly to the file, small ones through the block. */
static int writer_add(struct gguf_writer *w, const void *data, size_t n, struct err *e)
{
    const unsigned char *p = data;
    while (n) {
        if (w->used == 0 && n >= BLOCK) {
            size_t whole = n - n % BLOCK;
            TRY(outfile_put(w->out, p, whole, e));
            p += whole;
            n -= whole;
            continue;
        }
        size_t room = BLOCK - w->used, k = n < room ? n : room;
        memcpy(w->block + w->used, p, k);
        w->used += k;
        p += k;
        n -= k;
        if (w->used == BLOCK)
            TRY(writer_flush(w, e));
    }
    return 0;
}

/* Adds zeros up to the next multiple of the alignment. */
static int writer_pad(struct gguf_writer *w, struct err *e)
{
    static const unsigned char zeros[512];
    uint64_t at = outfile_written(w->out) + w->used, n = (w->align - at % w->align) % w->align;
    while (n) {
        size_t k = n < sizeof zeros ? (size_t)n : sizeof zeros;
        TRY(writer_add(w, zeros, k, e));
        n -= k;
    }
    return 0;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void writer_free(struct gguf_writer *w)
{
    names_free(&w->keys);
    names_free(&w->tensors);
    arena_free(&w->names_mem);
    str_free(&w->kv);
    str_free(&w->table);
    mem_free(w->tensor);
    mem_free(w->block);
    mem_free(w->path);
    mem_free(w);
}

static int writer_open(const char *path, bool hollow, struct gguf_writer **out, struct err *e)
{
    struct gguf_writer *w = mem_zalloc(1, sizeof *w);
    if (!w)
        return NOMEM(e, sizeof *w, "a model writer");
    int rc = 0;
    w->align = ALIGN_DEFAULT;
    w->hollow = hollow;
    w->kv = w->table = (struct str)STR_INIT;
    w->path = mem_strdup(path);
    w->block = mem_aligned(BLOCK);
    if (!w->path || !w->block)
        TRY_DONE(NOMEM(e, BLOCK + strlen(path), "a model writer"));
    TRY_DONE(outfile_open(path, hollow ? OUTFILE_EXTENDS : 0, &w->out, e));
    *out = w;
    return 0;
done:
    gguf_writer_abandon(w);
    return rc;
}

int gguf_writer_open(const char *path, struct gguf_writer **out, struct err *e)
{
    return writer_open(path, false, out, e);
}

int gguf_writer_open_hollow(const char *path, struct gguf_writer **out, struct err *e)
{
    return writer_open(path, true, out, e);
}

void gguf_writer_abandon(struct gguf_writer *w)
{
    if (!w)
        return;
    outfile_abandon(w->out);
    writer_free(w);
}

bool gguf_writer_is_stdout(const struct gguf_writer *w)
{
    return outfile_is_stdout(w->out);
}

/* ---- keys ------------------------------------------------------------------------------------ */

static void add_u32(struct str *b, uint32_t v)
{
    str_add(b, &v, sizeof v);
}

static void add_u64(struct str *b, uint64_t v)
{
    str_add(b, &v, sizeof v);
}

static void add_str(struct str *b, const char *s, size_t len)
{
    add_u64(b, len);
    str_add(b, s, len);
}

/* Registers a name of 1..max bytes, once. *copy lives as long as w. */
static int writer_name(struct gguf_writer *w, struct names *set, const char *what, const char *s,
                       size_t len, size_t max, const char **copy, struct err *e)
{
    char text[ESCAPE_NAME];
    escape_name(text, s, len);
    if (w->begun)
        FAIL(e, ERR_BUG, "%s '%s' of %s comes after the first data", what, text, w->path);
    if (len < 1 || len > max)
        FAIL(e, ERR_BUG, "%s '%s' of %s has %zu bytes; must be 1 to %zu", what, text, w->path, len,
             max);
    char *own = arena_strndup(&w->names_mem, s, len);
    if (!own)
        return NOMEM(e, len, "a name");
    int is_new = names_add(set, own, len, 0, NULL, e);
    if (is_new == 0)
        FAIL(e, ERR_BUG, "%s '%s' of %s is written twice", what, text, w->path);
    *copy = own;
    return is_new < 0 ? is_new : 0;
}

/* Writes the head of a key: everything before its payload. */
static int put_head(struct gguf_writer *w, const char *key, size_t len, enum gguf_type type,
                    struct err *e)
{
    const char *copy;
    TRY(writer_name(w, &w->keys, "key", key, len, 65535, &copy, e));
    add_str(&w->kv, key, len);
    add_u32(&w->kv, (uint32_t)type);
    w->n_kv++;
    return 0;
}

static int put_done(const struct gguf_writer *w, struct err *e)
{
    return str_ok(&w->kv, "the keys of a model", e);
}

static int put_scalar(struct gguf_writer *w, const char *key, size_t len, enum gguf_type type,
                      const void *v, struct err *e)
{
    uint32_t align = 0;
    if (type == GGUF_U32 && len == strlen("general.alignment") &&
        !memcmp(key, "general.alignment", len)) {
        memcpy(&align, v, sizeof align);
        if (align < 8 || (align & (align - 1)) != 0)
            FAIL(e, ERR_BUG, "alignment %u of %s; must be a power of two and at least 8", align,
                 w->path);
    }
    TRY(put_head(w, key, len, type, e));
    str_add(&w->kv, v, gguf_type_bytes(type));
    if (align)
        w->align = align;
    return put_done(w, e);
}

int gguf_put_u32(struct gguf_writer *w, const char *key, uint32_t v, struct err *e)
{
    return put_scalar(w, key, strlen(key), GGUF_U32, &v, e);
}

int gguf_put_f32(struct gguf_writer *w, const char *key, float v, struct err *e)
{
    return put_scalar(w, key, strlen(key), GGUF_F32, &v, e);
}

int gguf_put_bool(struct gguf_writer *w, const char *key, bool v, struct err *e)
{
    unsigned char byte = v;
    return put_scalar(w, key, strlen(key), GGUF_BOOL, &byte, e);
}

int gguf_put_str(struct gguf_writer *w, const char *key, const char *s, size_t len, struct err *e)
{
    TRY(put_head(w, key, strlen(key), GGUF_STRING, e));
    add_str(&w->kv, s, len);
    return put_done(w, e);
}

static int put_strings(struct gguf_writer *w, const char *key, size_t len, const struct gguf_str *v,
                       size_t count, struct err *e)
{
    TRY(put_head(w, key, len, GGUF_ARRAY, e));
    add_u32(&w->kv, GGUF_STRING);
    add_u64(&w->kv, count);
    for (size_t i = 0; i < count; i++)
        add_str(&w->kv, v[i].s, v[i].len);
    return put_done(w, e);
}

int gguf_put_strings(struct gguf_writer *w, const char *key, const struct gguf_str *v, size_t count,
                     struct err *e)
{
    return put_strings(w, key, strlen(key), v, count, e);
}

static int put_array(struct gguf_writer *w, const char *key, size_t len, enum gguf_type elem,
                     const void *payload, size_t count, struct err *e)
{
    size_t bytes, size = gguf_type_bytes(elem);
    if (!size || !size_mul(count, size, &bytes))
        FAIL(e, ERR_BUG, "an array of %s has %zu elements of type %s", w->path, count,
             gguf_type_name(elem));
    TRY(put_head(w, key, len, GGUF_ARRAY, e));
    add_u32(&w->kv, (uint32_t)elem);
    add_u64(&w->kv, count);
    str_add(&w->kv, payload, bytes);
    return put_done(w, e);
}

int gguf_put_array(struct gguf_writer *w, const char *key, enum gguf_type elem, const void *payload,
                   size_t count, struct err *e)
{
    return put_array(w, key, strlen(key), elem, payload, count, e);
}

int gguf_put_kv(struct gguf_writer *w, const struct gguf_kv *kv, struct err *e)
{
    const char *key = kv->key.s;
    size_t len = kv->key.len;
    uint64_t n;
    switch (kv->type) {
    case GGUF_STRING:
        memcpy(&n, kv->raw, sizeof n);
        TRY(put_head(w, key, len, GGUF_STRING, e));
        str_add(&w->kv, kv->raw, sizeof n + (size_t)n);
        return put_done(w, e);
    case GGUF_ARRAY:
        if (kv->elem == GGUF_STRING)
            return put_strings(w, key, len, kv->strings, (size_t)kv->count, e);
        return put_array(w, key, len, kv->elem, kv->raw, (size_t)kv->count, e);
    default:
        return put_scalar(w, key, len, kv->type, kv->raw, e);
    }
}

/* ---- tensors --------------------------------------------------------------------------------- */

int gguf_put_tensor(struct gguf_writer *w, const char *name, enum fmt fmt, int n_dim,
                    const int64_t *dim, struct err *e)
{
    struct gguf_write_tensor t = {0};
    size_t bytes;
    if (n_dim < 1 || n_dim > 4)
        FAIL(e, ERR_BUG, "tensor '%s' of %s has %d dimensions; must be 1 to 4", name, w->path,
             n_dim);
    bool fits = dim[n_dim - 1] > 0 && fmt_row_bytes(fmt, dim[n_dim - 1], &bytes);
    for (int i = 0; i + 1 < n_dim; i++)
        fits = fits && dim[i] > 0 && size_mul(bytes, (size_t)dim[i], &bytes);
    if (!fits)
        FAIL(e, ERR_BUG, "tensor '%s' of %s: shape does not fit format %s", name, w->path,
             fmt_info(fmt)->name);
    TRY(mem_grow(&w->tensor, &w->tensor_cap, (size_t)w->n_tensor + 1, sizeof *w->tensor,
                 "a tensor table", e));
    TRY(writer_name(w, &w->tensors, "tensor", name, strlen(name), 64, &t.name, e));
    add_str(&w->table, name, strlen(name));
    add_u32(&w->table, (uint32_t)n_dim);
    for (int i = n_dim; i-- > 0;) /* the file has the fastest dimension first */
        add_u64(&w->table, (uint64_t)dim[i]);
    add_u32(&w->table, fmt_info(fmt)->gguf_id);
    t.bytes = bytes;
    t.offset_at = w->table.len;
    add_u64(&w->table, 0); /* the offset: writer_begin fills it in, when the alignment is known */
    TRY(str_ok(&w->table, "a tensor table", e));
    w->tensor[w->n_tensor++] = t;
    return 0;
}

/* Fixes the layout. Checks first that the disk has room, before hours of work. */
static int writer_begin(struct gguf_writer *w, struct err *e)
{
    uint64_t offset = 0, head = 24 + w->kv.len + w->table.len, align = w->align;
    w->begun = true;
    for (size_t i = 0; i < w->n_tensor; i++) {
        memcpy(w->table.s + w->tensor[i].offset_at, &offset, sizeof offset);
        offset += (w->tensor[i].bytes + align - 1) / align * align;
    }
    w->total = (head + align - 1) / align * align + offset;
    if (!w->hollow)
        TRY(outfile_expect(w->out, w->total, e));
    uint32_t version = 3;
    TRY(writer_add(w, "GGUF", 4, e));
    TRY(writer_add(w, &version, sizeof version, e));
    TRY(writer_add(w, &w->n_tensor, sizeof w->n_tensor, e));
    TRY(writer_add(w, &w->n_kv, sizeof w->n_kv, e));
    TRY(writer_add(w, w->kv.s, w->kv.len, e));
    TRY(writer_add(w, w->table.s, w->table.len, e));
    return writer_pad(w, e);
}

int gguf_put_data(struct gguf_writer *w, const void *data, size_t bytes, struct err *e)
{
    const unsigned char *p = data;
    if (w->hollow)
        FAIL(e, ERR_BUG, "%s is hollow and takes no data", w->path);
    if (!w->begun)
        TRY(writer_begin(w, e));
    if (bytes == 0)
        return 0;
    if (w->current >= w->n_tensor)
        FAIL(e, ERR_BUG, "%zu bytes of data for %s after its last tensor is complete", bytes,
             w->path);
    struct gguf_write_tensor *t = &w->tensor[w->current];
    if (bytes > t->bytes - w->current_at)
        FAIL(e, ERR_BUG,
             "tensor '%s' of %s: %zu bytes of data, but only %" PRIu64 " of its %" PRIu64
             " are missing",
             t->name, w->path, bytes, t->bytes - w->current_at, t->bytes);
    TRY(writer_add(w, p, bytes, e));
    w->current_at += bytes;
    if (w->current_at < t->bytes)
        return 0;
    w->current++;
    w->current_at = 0;
    return writer_pad(w, e);
}

int gguf_writer_finish(struct gguf_writer *w, struct err *e)
{
    int rc = 0;
    if (!w->begun)
        TRY_DONE(writer_begin(w, e));
    if (!w->hollow && w->current < w->n_tensor)
        TRY_DONE(err_set(e, ERR_BUG, "tensor '%s' of %s has %" PRIu64 " of its %" PRIu64 " bytes",
                         w->tensor[w->current].name, w->path, w->current_at,
                         w->tensor[w->current].bytes));
    TRY_DONE(writer_flush(w, e));
    if (w->hollow)
        TRY_DONE(outfile_extend(w->out, w->total, e));
    rc = outfile_commit(w->out, e); /* frees it, also on failure */
    writer_free(w);
    return rc;
done:
    gguf_writer_abandon(w);
    return rc;
}
