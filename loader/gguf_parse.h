/* gguf_parse: the rules of the file format; fills a struct gguf from untrusted bytes. Private to
 * gguf. */
#ifndef MAS_GGUF_PARSE_H
#define MAS_GGUF_PARSE_H

#include "gguf.h"
#include "gguf_bytes.h"
#include "names.h"

struct gguf {
    struct gguf_bytes bytes;
    char shown[208]; /* the path for messages; a long one is cut in front */
    uint32_t version;
    uint64_t alignment; /* bytes: every tensor's offset is a multiple */
    uint64_t data_at;   /* where tensor offsets count from */
    struct gguf_kv *kv; /* (n_kv) in file order */
    size_t n_kv, kv_cap;
    struct names kv_names;
    struct gguf_tensor *tensor; /* (n_tensor) in file order; t.data stays NULL: not mapped yet */
    size_t n_tensor, tensor_cap;
    struct names tensor_names;
};

/* g->bytes and g->shown are set, the rest is zero. On failure g holds what gguf_close frees. */
int gguf_parse(struct gguf *g, struct err *e);

#endif
