#include "fmt.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

#include "check.h"
#include "f16.h"
#include "mem.h"

#define TYPE_FILE(type) type
#define TYPE_NO_FILE -1
#define ENCODE_FITS(lower) fmt_##lower##_encode, true
#define ENCODE_ROUNDS(lower) fmt_##lower##_encode, false
#define ENCODE_DECODES(lower) NULL, false
static const struct fmt_info fmt_table[FMT_COUNT] = {
#define X(NAME, lower, id, elems, bytes, type, kv, enc)                                            \
    [FMT_##NAME] = {                                                                               \
        #NAME, id, elems, bytes, TYPE_##type, kv, fmt_##lower##_decode, ENCODE_##enc(lower)},
#include "formats.def"
};

/* The CPU's generic product adds up sixteen elements at a time. */
#define X(NAME, lower, id, elems, ...)                                                             \
    static_assert(elems == 1 || elems % 16 == 0, #NAME ": elements of a block");
#include "formats.def"

const char fmt_kv_choices[] =
#define X(NAME, lower, id, elems, bytes, type, kv, ...) FMT_YES_##kv("|" #lower)
#include "formats.def"
#define X(NAME, lower, id, elems, bytes, type, kv, ...) FMT_COMPARE_##kv("|" #lower)
#include "formats.def"
    ;

const struct fmt_info *fmt_info(enum fmt f)
{
    CHECK((unsigned)f < FMT_COUNT);
    return &fmt_table[f];
}

bool fmt_from_gguf(uint32_t gguf_id, enum fmt *out)
{
    for (int f = 0; f < FMT_COUNT; f++)
        if (fmt_table[f].gguf_id == gguf_id) {
            *out = (enum fmt)f;
            return true;
        }
    return false;
}

const char *fmt_gguf_name(uint32_t gguf_id)
{
    switch (gguf_id) {
#define X(NAME, lower, id, ...)                                                                    \
    case id:                                                                                       \
        return #NAME;
#define N(NAME, id)                                                                                \
    case id:                                                                                       \
        return #NAME;
#include "formats.def"
    default:
        return "unknown";
    }
}

bool fmt_from_name(const char *name, enum fmt *out)
{
    for (int f = 0; f < FMT_COUNT; f++)
        if (!strcasecmp(fmt_table[f].name, name)) {
            *out = (enum fmt)f;
            return true;
        }
    return false;
}

bool fmt_row_bytes(enum fmt f, int64_t n, size_t *out)
{
    const struct fmt_info *info = fmt_info(f);
    if (n < 0 || n % info->block_elems)
        return false;
    return size_mul((size_t)(n / info->block_elems), info->block_bytes, out);
}

/* Index of the first NaN or infinity, n if there is none. */
static int64_t fmt_first_bad(const float *x, int64_t n)
{
    enum { STEP = 64 };
    for (int64_t at = 0; at < n; at += STEP) {
        int64_t end = n - at < STEP ? n : at + STEP;
        uint32_t bad = 0;
        for (int64_t i = at; i < end; i++)
            bad |= (f32_bits(x[i]) & 0x7f800000) == 0x7f800000;
        for (int64_t i = at; bad && i < end; i++)
            if ((f32_bits(x[i]) & 0x7f800000) == 0x7f800000)
                return i;
    }
    return n;
}

int fmt_encode_row(enum fmt f, const float *x, const float *w, void *y, int64_t n, struct err *e)
{
    const struct fmt_info *info = fmt_info(f);
    CHECK(n >= 0 && n % info->block_elems == 0);
    if (!info->encode)
        FAIL(e, ERR_BUG, "cannot encode as %s: this format is only read", info->name);
    int64_t bad = fmt_first_bad(x, n);
    if (bad < n)
        FAIL(e, ERR_DATA, "cannot encode as %s: element %lld of the row is %s; repair the source",
             info->name, (long long)bad, x[bad] != x[bad] ? "NaN" : "infinite");
    info->encode(x, w, y, n);
    return 0;
}
