/*
 * gguf: an index over a GGUF file (versions 2 and 3, little endian), mapped read-only.
 *
 * The file is untrusted. gguf_open checks every count, length, offset and product against the size
 * of the file. A message names the file, the key or tensor, and the byte offset of a broken rule.
 *
 * A model may consist of several files, its parts. Offsets then count through all parts: part i
 * begins at gguf_part(i).at, a multiple of the page size. The bytes between two parts are zeros.
 *
 * Invariants after gguf_open:
 *   - The bytes of every tensor lie inside one file.
 *   - Every view is in bounds as long as the file keeps its length; gguf_check_unchanged checks
 *     that.
 *   - The index is immutable; any thread may read it.
 *
 * Format: github.com/ggml-org/ggml/blob/master/docs/gguf.md
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
    /* data points into the mapping; dim is slowest first, unlike in the file */
    struct tensor t;
    uint64_t at; /* absolute byte offset of the data in the file, through all parts */
    uint64_t bytes;
};

struct gguf_part { /* one file of a model */
    const char *path;
    uint64_t at; /* offset of its first byte */
    uint64_t bytes;
};

struct gguf;

/* Maps and indexes path. ERR_NOINPUT (cannot open), ERR_DATA (broken rule), ERR_NOMEM. */
int gguf_open(const char *path, struct gguf **out, struct err *e);
/* Opens a model that may consist of several files, given the path of any of them. A file alone
 * opens as by gguf_open. The names of the parts end in -00001-of-0000N.gguf. ERR_NOINPUT names a
 * part that is missing, ERR_DATA the key that contradicts the other parts. */
int gguf_open_model(const char *path, struct gguf **out, struct err *e);
/* Indexes bytes in memory. data is borrowed and aligned to 64 bytes. `name` appears in messages. */
int gguf_open_memory(const void *data, size_t size, const char *name, struct gguf **out,
                     struct err *e);
void gguf_close(struct gguf *g); /* accepts NULL; all views die */

const char *gguf_path(const struct gguf *g);    /* of the first part */
uint64_t gguf_file_bytes(const struct gguf *g); /* of all parts together */
size_t gguf_n_parts(const struct gguf *g);      /* 1 for a model in one file or in memory */
struct gguf_part gguf_part(const struct gguf *g, size_t i);
/* The part that holds offset at, which lies inside the model. */
size_t gguf_part_of(const struct gguf *g, uint64_t at);
uint32_t gguf_version(const struct gguf *g);
size_t gguf_n_kv(const struct gguf *g);
const struct gguf_kv *gguf_kv_at(const struct gguf *g, size_t i);
const struct gguf_kv *gguf_find(const struct gguf *g, const char *key); /* NULL if absent */
size_t gguf_n_tensors(const struct gguf *g);
const struct gguf_tensor *gguf_tensor_at(const struct gguf *g, size_t i);
/* NULL if absent */
const struct gguf_tensor *gguf_tensor_find(const struct gguf *g, const char *name);

/* Typed getters. An integer may have any GGUF integer type; its value must lie in [lo, hi].
 * ERR_DATA names file and key: the key is missing, or its type or range is wrong. The _or forms
 * give `dflt` for a missing key. */
int gguf_get_int(const struct gguf *g, const char *key, int64_t lo, int64_t hi, int64_t *out,
                 struct err *e);
int gguf_get_int_or(const struct gguf *g, const char *key, int64_t lo, int64_t hi, int64_t dflt,
                    int64_t *out, struct err *e);
/* One integer, or an array of exactly n integers (one a layer) that are all equal. Each must have
 * an integer type and lie in [lo, hi]; ERR_DATA names the first that differs. */
int gguf_get_int_each(const struct gguf *g, const char *key, uint64_t n, int64_t lo, int64_t hi,
                      int64_t *out, struct err *e);
int gguf_get_f32_or(const struct gguf *g, const char *key, double lo, double hi, float dflt,
                    float *out, struct err *e);
int gguf_get_bool_or(const struct gguf *g, const char *key, bool dflt, bool *out, struct err *e);
int gguf_get_str(const struct gguf *g, const char *key, struct gguf_str *out, struct err *e);
/* An array with exactly the element type elem; the kv has its count and payload. */
int gguf_get_array(const struct gguf *g, const char *key, enum gguf_type elem,
                   const struct gguf_kv **out, struct err *e);

/* ERR_IO "model file changed" when a file on disk differs from the opened one in length, mtime or
 * inode; 0 for memory. Call it before touching pages after a pause. */
int gguf_check_unchanged(const struct gguf *g, struct err *e);

/* Copies bytes [at, at + n) of the file to dst without touching the mapping. ERR_IO, never a fault,
 * when the file has become shorter. ERR_BUG for bytes outside the file as opened. Any thread. */
int gguf_read(const struct gguf *g, uint64_t at, void *dst, size_t n, struct err *e);
/* Loads bytes [at, at + n) of the mapping into memory at the disk's rate; ERR_IO as gguf_read. */
int gguf_populate(const struct gguf *g, uint64_t at, uint64_t n, struct err *e);
/* Starts to read bytes [at, at + n) of the file and does not wait: a later gguf_read of them takes
 * less time. ERR_BUG as gguf_read. */
int gguf_ahead(const struct gguf *g, uint64_t at, uint64_t n, struct err *e);
/* True when p points into the bytes of the file (tensor data); *at = its byte offset there. */
bool gguf_offset(const struct gguf *g, const void *p, uint64_t *at);

/* Element i < kv->count of a number or bool (0 or 1), or of an array of them; false for strings. */
bool gguf_number(const struct gguf_kv *kv, uint64_t i, double *out);

const char *gguf_type_name(enum gguf_type t); /* "u32", never NULL */
size_t gguf_type_bytes(enum gguf_type t);     /* of one value; 0 for strings and arrays */

#endif
