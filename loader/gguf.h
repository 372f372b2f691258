/*
 * gguf: an index over a GGUF file (versions 2 and 3, little endian), mapped read-only.
 *
 * The file is untrusted: every count, length, offset and product is checked at open against the
 * file's size, every tensor's bytes lie inside the file, and what breaks a rule is named by file,
 * key or tensor and byte offset (rules: "GGUF reader" in docs). After gguf_open succeeded, every
 * view handed out is in bounds for as long as the file keeps its length; gguf_check_unchanged says
 * whether it has. Immutable after open; any thread may read. Format:
 * github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */
#ifndef MAS_GGUF_H
#define MAS_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "tensor.h"

enum gguf_type { /* ids of the file format */
                 GGUF_U8,
                 GGUF_I8,
                 GGUF_U16,
                 GGUF_I16,
                 GGUF_U32,
                 GGUF_I32,
                 GGUF_F32,
                 GGUF_BOOL,
                 GGUF_STRING,
                 GGUF_ARRAY,
                 GGUF_U64,
                 GGUF_I64,
                 GGUF_F64,
                 GGUF_TYPE_COUNT
};

struct gguf_str { /* a view into the file: not NUL-terminated, may contain NUL */
    const char *s;
    size_t len;
};

struct gguf_kv {
    struct gguf_str key;
    enum gguf_type type;      /* GGUF_ARRAY for arrays */
    enum gguf_type elem;      /* element type of an array */
    uint64_t count;           /* elements of an array, 1 otherwise */
    const unsigned char *raw; /* scalar bytes, unaligned; string or array payload */
    uint64_t at;              /* byte offset of the value in the file */
    struct gguf_str *strings; /* arrays of strings: count views; NULL otherwise */
};

struct gguf_tensor {
    struct gguf_str name; /* 1..64 bytes, unique */
    /* data points into the mapping; dim slowest first (the file says fastest first) */
    struct tensor t;
    uint64_t at; /* absolute byte offset of the data in the file */
    uint64_t bytes;
};

struct gguf;

/* Maps and indexes path. ERR_NOINPUT (cannot open), ERR_DATA (broken rule), ERR_NOMEM. */
int gguf_open(const char *path, struct gguf **out, struct err *e);
/* The same over bytes in memory (borrowed, aligned to 64 or copied by the caller); `name` for
 * messages. */
int gguf_open_memory(const void *data, size_t size, const char *name, struct gguf **out,
                     struct err *e);
void gguf_close(struct gguf *g); /* accepts NULL; all views die */

const char *gguf_path(const struct gguf *g);
uint64_t gguf_file_bytes(const struct gguf *g);
uint32_t gguf_version(const struct gguf *g);
size_t gguf_n_kv(const struct gguf *g);
const struct gguf_kv *gguf_kv_at(const struct gguf *g, size_t i);
const struct gguf_kv *gguf_find(const struct gguf *g, const char *key); /* NULL if absent */
size_t gguf_n_tensors(const struct gguf *g);
const struct gguf_tensor *gguf_tensor_at(const struct gguf *g, size_t i);
/* NULL if absent */
const struct gguf_tensor *gguf_tensor_find(const struct gguf *g, const char *name);

/* Typed getters. Integers: any GGUF integer type whose value lies in [lo, hi]. A missing key or a
 * wrong type or range is ERR_DATA naming file and key, unless the _or form's key is absent (then
 * `dflt`). */
int gguf_get_int(const struct gguf *g, const char *key, int64_t lo, int64_t hi, int64_t *out,
                 struct err *e);
int gguf_get_int_or(const struct gguf *g, const char *key, int64_t lo, int64_t hi, int64_t dflt,
                    int64_t *out, struct err *e);
/* One integer, or an array of exactly n integers: one a layer, which must all be equal. What is
 * said of missing keys, types and ranges holds for each; the first element that differs is
 * named. */
int gguf_get_int_each(const struct gguf *g, const char *key, uint64_t n, int64_t lo, int64_t hi,
                      int64_t *out, struct err *e);
int gguf_get_f32_or(const struct gguf *g, const char *key, double lo, double hi, float dflt,
                    float *out, struct err *e);
int gguf_get_bool_or(const struct gguf *g, const char *key, bool dflt, bool *out, struct err *e);
int gguf_get_str(const struct gguf *g, const char *key, struct gguf_str *out, struct err *e);
/* Array of exactly element type elem; the kv gives count and payload. */
int gguf_get_array(const struct gguf *g, const char *key, enum gguf_type elem,
                   const struct gguf_kv **out, struct err *e);

/* ERR_IO "model file changed" when the file on disk is no longer the one that was opened (length,
 * mtime, inode); 0 for memory. Call before touching pages after a pause. */
int gguf_check_unchanged(const struct gguf *g, struct err *e);

/* Copies bytes [at, at + n) of the file to dst without touching the mapping: a file that became
 * shorter is ERR_IO, never a fault. Bytes outside the file as it was at open are ERR_BUG. Any
 * thread. */
int gguf_read(const struct gguf *g, uint64_t at, void *dst, size_t n, struct err *e);
/* Brings bytes [at, at + n) of the mapping into memory at the disk's rate; ERR_IO as above. */
int gguf_populate(const struct gguf *g, uint64_t at, uint64_t n, struct err *e);
/* True when p points into the bytes of the file (a tensor's data); *at = its byte offset there. */
bool gguf_offset(const struct gguf *g, const void *p, uint64_t *at);

/* Element i of a number, a bool (0 or 1) or an array of such, i < kv->count; false for strings. */
bool gguf_number(const struct gguf_kv *kv, uint64_t i, double *out);

const char *gguf_type_name(enum gguf_type t); /* "u32", never NULL */
size_t gguf_type_bytes(enum gguf_type t);     /* of one value; 0 for strings and arrays */

#endif
