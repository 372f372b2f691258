/*
 * fmt: the number formats of weights and of the KV cache, from formats.def.
 *
 * A row of n elements is n / block_elems blocks of block_bytes, one after another; n must be a
 * multiple of block_elems. Decoding is exact in f32, with one rounding if the format's definition
 * has a product. It equals the reference of the GGUF specification bit for bit. Encoding is our
 * own: any finite input gives a valid block, and an all-zero block decodes to zeros. NaN and
 * infinity are an error of the caller; fmt_encode_row checks that and names the first bad element.
 */
#ifndef MAS_FMT_H
#define MAS_FMT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

enum fmt {
#define X(NAME, lower, id, elems, bytes) FMT_##NAME,
#include "formats.def"
#undef X
    FMT_COUNT
};

struct fmt_info {
    const char *name;    /* "Q4_K" */
    uint32_t gguf_id;    /* enum ggml_type in a GGUF file */
    int64_t block_elems; /* elements per block */
    size_t block_bytes;
    /* n elements, n a multiple of block_elems; x and y do not overlap */
    void (*decode)(const void *x, float *y, int64_t n);
    void (*encode)(const float *x, void *y, int64_t n);
};

const struct fmt_info *fmt_info(enum fmt f);         /* never NULL for f < FMT_COUNT */
bool fmt_from_gguf(uint32_t gguf_id, enum fmt *out); /* false: unknown */
bool fmt_from_name(const char *name, enum fmt *out); /* "Q4_K", "q4_k"; case does not matter */
/* *out: bytes of a row of n elements. false when n is no multiple of the block or the product
 * overflows. */
bool fmt_row_bytes(enum fmt f, int64_t n, size_t *out);
/* Encodes n elements. ERR_DATA names the index of the first NaN or infinity. */
int fmt_encode_row(enum fmt f, const float *x, void *y, int64_t n, struct err *e);

#define X(NAME, lower, id, elems, bytes)                                                           \
    void fmt_##lower##_decode(const void *x, float *y, int64_t n);                                 \
    void fmt_##lower##_encode(const float *x, void *y, int64_t n);
#include "formats.def"
#undef X

#endif
