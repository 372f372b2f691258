/*
 * gguf_make: builds GGUF files byte by byte, valid or broken in one place, for tests and for the
 * fuzz corpus. Not the writer of the program: what it writes is checked by nobody but the reader
 * under test.
 */
#ifndef MAS_GGUF_MAKE_H
#define MAS_GGUF_MAKE_H

#include "gguf.h"
#include "str.h"

struct gguf_make {
    uint32_t version;
    uint64_t n_tensor, n_kv; /* as the header says; change them to lie */
    size_t align;
    struct str kv, table, data;
};

void make_init(struct gguf_make *m); /* version 3, nothing in it */
void make_free(struct gguf_make *m);

void make_u32(struct str *b, uint32_t v);
void make_u64(struct str *b, uint64_t v);
void make_str(struct str *b, const char *s, size_t n);

/* One key: type id and raw payload. Keys and names are C strings. */
void make_kv(struct gguf_make *m, const char *key, uint32_t type, const void *payload, size_t n);
void make_kv_u32(struct gguf_make *m, const char *key, uint32_t v);
void make_kv_str(struct gguf_make *m, const char *key, const char *s);
void make_kv_array(struct gguf_make *m, const char *key, uint32_t elem, uint64_t count,
                   const void *payload, size_t n);
/* A table row as given, fastest dimension first; no data. */
void make_row(struct gguf_make *m, const char *name, uint32_t n_dim, const uint64_t *ne,
              uint32_t type, uint64_t offset);
/* A row at the next free offset and its data: bytes 1, 2, 3, .. */
void make_tensor(struct gguf_make *m, const char *name, uint32_t n_dim, const uint64_t *ne,
                 enum fmt fmt);

/* The whole file, in a block of exactly *n bytes (free it with free). */
unsigned char *make_file(const struct gguf_make *m, size_t *n);
/* Writes it to path. */
void make_save(const struct gguf_make *m, const char *path);

/* A valid small file with one key of each kind and three tensors; every rule has something to
 * break. */
void make_tiny(struct gguf_make *m, uint32_t version);

#endif
