/*
 * fmt: the number formats of weights and of the KV cache, from formats.def.
 *
 * A row of n elements is n / block_elems blocks of block_bytes, one after another; n must be a
 * multiple of block_elems. Decoding is exact in f32, with one rounding if the format's definition
 * has a product. It equals the reference of the GGUF specification bit for bit.
 *
 * Encoding is our own: any finite input gives a valid block, and an all-zero block decodes to
 * zeros. An importance w of each element, positive and finite, weighs its error; NULL: all are
 * alike. NaN and infinity are an error of the caller; fmt_encode_row checks that and names the
 * first bad element. A format without an encoder is only read.
 */
#ifndef MAS_FMT_H
#define MAS_FMT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

enum fmt {
#define X(NAME, lower, ...) FMT_##NAME,
#include "formats.def"
    FMT_COUNT
};

/* One block of any format, as bytes, and as decoded numbers. */
union fmt_any_block {
#define X(NAME, lower, id, elems, bytes, ...) unsigned char lower[bytes];
#include "formats.def"
};
union fmt_any_numbers {
#define X(NAME, lower, id, elems, ...) float lower[elems];
#include "formats.def"
};
enum {
    FMT_MOST_BYTES = sizeof(union fmt_any_block), /* of a block */
    FMT_MOST_ELEMS = sizeof(union fmt_any_numbers) / sizeof(float)
};

/* formats.def. FMT_YES_##kv(text), FMT_COMPARE_##kv(text): the text, for lines of that kind. */
enum fmt_kv { KV_NO, KV_YES, KV_COMPARE };
#define FMT_YES_KV_NO(text)
#define FMT_YES_KV_YES(text) text
#define FMT_YES_KV_COMPARE(text)
#define FMT_COMPARE_KV_NO(text)
#define FMT_COMPARE_KV_YES(text)
#define FMT_COMPARE_KV_COMPARE(text) text

struct fmt_info {
    const char *name;    /* "Q4_K" */
    uint32_t gguf_id;    /* enum ggml_type in a GGUF file */
    int64_t block_elems; /* elements per block */
    size_t block_bytes;
    int file_type; /* general.file_type of a GGUF file of this format; -1: none */
    enum fmt_kv kv;
    /* n elements, n a multiple of block_elems; x and y do not overlap */
    void (*decode)(const void *x, float *y, int64_t n);
    /* w: (n) or NULL. encode NULL: the format is only read */
    void (*encode)(const float *x, const float *w, void *y, int64_t n);
    bool fits; /* encode regards w; otherwise every weight gets its nearest number */
};

const struct fmt_info *fmt_info(enum fmt f);         /* never NULL for f < FMT_COUNT */
bool fmt_from_gguf(uint32_t gguf_id, enum fmt *out); /* false: unknown */
bool fmt_from_name(const char *name, enum fmt *out); /* "Q4_K", "q4_k"; case does not matter */
/* The name that the GGUF specification gives to an id, supported or not; "unknown" for others. */
const char *fmt_gguf_name(uint32_t gguf_id);
/* The formats of a KV cache, each after a '|': "|f16|q4_0|f32". Those for comparisons are last. */
extern const char fmt_kv_choices[];
/* *out: bytes of a row of n elements. false when n is no multiple of the block or the product
 * overflows. */
bool fmt_row_bytes(enum fmt f, int64_t n, size_t *out);
/* Encodes n elements of a format that has an encoder. ERR_DATA names the index of the first NaN or
 * infinity. */
int fmt_encode_row(enum fmt f, const float *x, const float *w, void *y, int64_t n, struct err *e);

/* true: a format without blocks, in which every element is a number of its own. */
static inline bool fmt_is_plain(enum fmt f)
{
    return fmt_info(f)->block_elems == 1;
}

#define FMT_DECLARE_FITS(lower)                                                                    \
    void fmt_##lower##_encode(const float *x, const float *w, void *y, int64_t n);
#define FMT_DECLARE_ROUNDS(lower) FMT_DECLARE_FITS(lower)
#define FMT_DECLARE_DECODES(lower)
#define X(NAME, lower, id, elems, bytes, type, kv, enc)                                            \
    void fmt_##lower##_decode(const void *x, float *y, int64_t n);                                 \
    FMT_DECLARE_##enc(lower)
#include "formats.def"

#endif
