/* gguf_parse: the rules of the file format; fills a struct gguf from untrusted bytes. Private to
 * gguf. */
#ifndef MAS_GGUF_PARSE_H
#define MAS_GGUF_PARSE_H

#include "gguf.h"
#include "gguf_bytes.h"
#include "names.h"

struct gguf_more {           /* a further part: what it keeps after its index joined the first */
    struct gguf_bytes bytes; /* names of tensors are views of its head */
    uint64_t at;             /* offset of its first byte in the model */
};

struct gguf {
    struct gguf_bytes bytes; /* of the only file, or of the first part */
    struct gguf_more *more;  /* (n_more) the further parts, in order */
    size_t n_more;
    unsigned char *room; /* address space of all maps, for a model of several parts; else NULL */
    size_t room_bytes;
    char shown[208]; /* the path for messages; the beginning of a long path is cut */
    uint32_t version;
    uint64_t alignment; /* bytes: every tensor's offset is a multiple */
    uint64_t data_at;   /* byte offset in the file from which tensor offsets count */
    struct gguf_kv *kv; /* (n_kv) in file order */
    size_t n_kv, kv_cap;
    struct names kv_names;
    struct gguf_tensor *tensor; /* (n_tensor) in file order; t.data stays NULL: not mapped yet */
    size_t n_tensor, tensor_cap;
    struct names tensor_names;
};

/* Opens a file and parses it, without a map. */
int gguf_parse_file(const char *path, struct gguf **out, struct err *e);
/* Maps all parts and points the tensors at their bytes. After a failure call gguf_close. */
int gguf_map(struct gguf *g, struct err *e);
/* The caller sets g->bytes and g->shown and zeroes the rest. After a failure call gguf_close. */
int gguf_parse(struct gguf *g, struct err *e);

#endif
