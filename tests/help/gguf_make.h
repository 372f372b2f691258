/*
 * gguf_make: builds GGUF files byte by byte, valid or broken in one place, for tests and for the
 * fuzz corpus. It is independent of the program's writer and checks nothing: the reader under test
 * does.
 */
#ifndef MAS_GGUF_MAKE_H
#define MAS_GGUF_MAKE_H

#include "gguf.h"
#include "str.h"

struct gguf_make {
    uint32_t version;
    uint64_t n_tensor, n_kv; /* of the header; a test may change them to wrong numbers */
    size_t align;
    struct str kv, table, data;
};

void make_init(struct gguf_make *m); /* version 3, without keys and tensors */
void make_free(struct gguf_make *m);

void make_u32(struct str *b, uint32_t v);
void make_u64(struct str *b, uint64_t v);
void make_str(struct str *b, const char *s, size_t n);

/* Adds one key from type id and raw payload. Keys and names are C strings. */
void make_kv(struct gguf_make *m, const char *key, uint32_t type, const void *payload, size_t n);
void make_kv_u32(struct gguf_make *m, const char *key, uint32_t v);
void make_kv_str(struct gguf_make *m, const char *key, const char *s);
void make_kv_array(struct gguf_make *m, const char *key, uint32_t elem, uint64_t count,
                   const void *payload, size_t n);
/* Adds a table row unchecked, fastest dimension first; no data. */
void make_row(struct gguf_make *m, const char *name, uint32_t n_dim, const uint64_t *ne,
              uint32_t type, uint64_t offset);
/* Adds a row at the next free offset, and its data: bytes 1, 2, 3, .. */
void make_tensor(struct gguf_make *m, const char *name, uint32_t n_dim, const uint64_t *ne,
                 enum fmt fmt);

/* The whole file, in a block of exactly *n bytes; free() it. */
unsigned char *make_file(const struct gguf_make *m, size_t *n);
/* Writes the whole file to path. */
void make_save(const struct gguf_make *m, const char *path);

/* Makes a small valid file with one key of each kind and three tensors. It has a place for breaking
 * each rule. */
void make_tiny(struct gguf_make *m, uint32_t version);

#endif
