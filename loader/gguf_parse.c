/*
 * The reader walks head once, front to back. A rule that fails gives a plain sentence. Its callers
 * put the file, the key or tensor, and the byte offset before the sentence (gguf_blame).
 */
#include "gguf_parse.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "escape.h"
#include "mem.h"

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "numbers are copied unchanged from little-endian files"
#endif

#define KV_MIN_BYTES 14     /* key length 8, key 1, type 4, value 1 */
#define TENSOR_MIN_BYTES 33 /* name length 8, name 1, n_dim 4, dim 8, type 4, offset 8 */
#define KEY_MAX 65535
#define TENSOR_NAME_MAX 64
#define DIM_MAX ((uint64_t)1 << 40)
#define ALIGN_DEFAULT 32

struct reader {
    struct gguf_bytes *bytes;
    uint64_t at;    /* next byte */
    uint64_t field; /* start of the last field that was read: messages point at it */
};

/* Takes the next n bytes; the pointer stays valid. */
static int take(struct reader *r, uint64_t n, const unsigned char **p, struct err *e)
{
    uint64_t left = r->bytes->size - r->at;
    r->field = r->at;
    if (n > left)
        FAIL(e, ERR_DATA,
             "needs %" PRIu64 " bytes, but only %" PRIu64 " of the file's %" PRIu64
             " are left: download incomplete or file damaged",
             n, left, r->bytes->size);
    TRY(gguf_bytes_need(r->bytes, r->at + n, e));
    *p = r->bytes->head + r->at;
    r->at += n;
    return 0;
}

static int take_u32(struct reader *r, uint32_t *out, struct err *e)
{
    const unsigned char *p;
    TRY(take(r, sizeof *out, &p, e));
    memcpy(out, p, sizeof *out);
    return 0;
}

static int take_u64(struct reader *r, uint64_t *out, struct err *e)
{
    const unsigned char *p;
    TRY(take(r, sizeof *out, &p, e));
    memcpy(out, p, sizeof *out);
    return 0;
}

static int take_str(struct reader *r, struct gguf_str *out, struct err *e)
{
    uint64_t len;
    const unsigned char *p;
    TRY(take_u64(r, &len, e));
    TRY(take(r, len, &p, e));
    *out = (struct gguf_str){.s = (const char *)p, .len = (size_t)len};
    return 0;
}

/* Puts file, item and byte offset before the message in e. The name may be empty: not read yet. */
static int gguf_blame(const struct gguf *g, const struct reader *r, const char *what,
                      uint64_t index, struct gguf_str name, int rc, struct err *e)
{
    char text[ESCAPE_NAME];
    if (name.len)
        return err_wrap(e, rc, "%s: %s '%s' at byte %" PRIu64, g->shown, what,
                        escape_name(text, name.s, name.len), r->field);
    return err_wrap(e, rc, "%s: %s %" PRIu64 " at byte %" PRIu64, g->shown, what, index + 1,
                    r->field);
}

/* ---- header ---------------------------------------------------------------------------------- */

static int parse_magic(const struct gguf *g, struct reader *r, struct err *e)
{
    const unsigned char *p;
    char text[ESCAPE_NAME];
    size_t n = r->bytes->size < 4 ? (size_t)r->bytes->size : 4;
    TRY(take(r, n, &p, e));
    if (memcmp(p, "GGUF", n) != 0)
        FAIL(e, ERR_DATA, "%s is not a GGUF file: it begins with '%s', not with 'GGUF'", g->shown,
             escape_name(text, (const char *)p, n));
    if (n < 4)
        FAIL(e, ERR_DATA, "%s has only %" PRIu64 " bytes: download incomplete", g->shown,
             r->bytes->size);
    return 0;
}

static int parse_version(struct gguf *g, struct reader *r, struct err *e)
{
    uint32_t v;
    TRY(take_u32(r, &v, e));
    uint32_t swapped = __builtin_bswap32(v);
    if (swapped == 2 || swapped == 3)
        FAIL(e, ERR_DATA,
             "version %u in big-endian byte order; only little-endian files are read: take the "
             "little-endian file of this model",
             swapped);
    if (v != 2 && v != 3)
        FAIL(e, ERR_DATA, "version %u; only versions 2 and 3 are read%s", v,
             v == 1 ? ": convert the model again with a newer converter" : "");
    g->version = v;
    return 0;
}

/* Takes a count of items of at least `smallest` bytes each; they must fit the rest of the file. */
static int take_count(struct reader *r, uint64_t smallest, const char *what, uint64_t *out,
                      struct err *e)
{
    TRY(take_u64(r, out, e));
    uint64_t left = r->bytes->size - r->at;
    if (*out > left / smallest)
        FAIL(e, ERR_DATA,
             "%" PRIu64 " %s cannot fit into the %" PRIu64 " bytes left of the file's %" PRIu64
             ": download incomplete or file damaged",
             *out, what, left, r->bytes->size);
    return 0;
}

static int parse_header(struct gguf *g, struct reader *r, uint64_t *n_tensor, uint64_t *n_kv,
                        struct err *e)
{
    int rc = parse_magic(g, r, e);
    if (rc < 0)
        return rc;
    if ((rc = parse_version(g, r, e)) < 0 ||
        (rc = take_count(r, TENSOR_MIN_BYTES, "tensors", n_tensor, e)) < 0 ||
        (rc = take_count(r, KV_MIN_BYTES, "keys", n_kv, e)) < 0)
        return err_wrap(e, rc, "%s: header at byte %" PRIu64, g->shown, r->field);
    return 0;
}

/* ---- metadata -------------------------------------------------------------------------------- */

static int check_bools(struct reader *r, const unsigned char *p, uint64_t n, struct err *e)
{
    uint64_t begin = r->field;
    for (uint64_t i = 0; i < n; i++)
        if (p[i] > 1) {
            r->field = begin + i;
            FAIL(e, ERR_DATA, "bool is %u, must be 0 or 1", p[i]);
        }
    return 0;
}

static int parse_strings(struct reader *r, struct gguf_kv *kv, struct err *e)
{
    size_t n = (size_t)kv->count;
    struct gguf_str *v = mem_resize(NULL, n, sizeof *v);
    if (!v)
        return NOMEM(e, n * sizeof *v, "an array of strings");
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++)
        if ((rc = take_str(r, &v[i], e)) < 0)
            err_wrap(e, rc, "element %zu of %zu", i + 1, n);
    if (rc < 0)
        mem_free(v);
    else
        kv->strings = v;
    return rc;
}

static int take_type(struct reader *r, enum gguf_type *out, struct err *e)
{
    uint32_t t;
    TRY(take_u32(r, &t, e));
    if (t >= GGUF_TYPE_COUNT)
        FAIL(e, ERR_DATA, "type %u is not known; types are 0 to %d", t, GGUF_TYPE_COUNT - 1);
    *out = (enum gguf_type)t;
    return 0;
}

static int parse_array(struct reader *r, struct gguf_kv *kv, struct err *e)
{
    TRY(take_type(r, &kv->elem, e));
    if (kv->elem == GGUF_ARRAY)
        FAIL(e, ERR_DATA, "an array of arrays is not supported");
    size_t size = gguf_type_bytes(kv->elem);
    TRY(take_count(r, size ? size : 8, "array elements", &kv->count, e));
    kv->at = r->at;
    if (kv->elem == GGUF_STRING) {
        kv->raw = r->bytes->head + r->at;
        return parse_strings(r, kv, e);
    }
    TRY(take(r, kv->count * size, &kv->raw, e)); /* no overflow: take_count bounded it */
    return kv->elem == GGUF_BOOL ? check_bools(r, kv->raw, kv->count, e) : 0;
}

static int parse_value(struct reader *r, struct gguf_kv *kv, struct err *e)
{
    TRY(take_type(r, &kv->type, e));
    kv->elem = kv->type;
    kv->count = 1;
    kv->at = r->at;
    if (kv->type == GGUF_ARRAY)
        return parse_array(r, kv, e);
    if (kv->type == GGUF_STRING) {
        struct gguf_str s;
        kv->raw = r->bytes->head + r->at;
        return take_str(r, &s, e);
    }
    TRY(take(r, gguf_type_bytes(kv->type), &kv->raw, e));
    return kv->type == GGUF_BOOL ? check_bools(r, kv->raw, 1, e) : 0;
}

static int parse_key(struct gguf *g, struct reader *r, struct gguf_str *key, struct err *e)
{
    uint64_t begin = r->at;
    uint32_t old;
    TRY(take_str(r, key, e));
    r->field = begin;
    if (key->len < 1 || key->len > KEY_MAX)
        FAIL(e, ERR_DATA, "key length %zu; must be 1 to %d", key->len, KEY_MAX);
    int is_new = names_add(&g->kv_names, key->s, key->len, (uint32_t)g->n_kv, &old, e);
    if (is_new == 0)
        FAIL(e, ERR_DATA, "the same key came before, as number %u", old + 1);
    return is_new < 0 ? is_new : 0;
}

static int parse_kv(struct gguf *g, struct reader *r, struct err *e)
{
    struct gguf_kv kv = {0};
    r->field = r->at;
    int rc = mem_grow(&g->kv, &g->kv_cap, g->n_kv + 1, sizeof *g->kv, "the keys of a model", e);
    if (rc == 0)
        rc = parse_key(g, r, &kv.key, e);
    if (rc == 0)
        rc = parse_value(r, &kv, e);
    if (rc < 0)
        return gguf_blame(g, r, "key", g->n_kv, kv.key, rc, e);
    g->kv[g->n_kv++] = kv;
    return 0;
}

static int parse_alignment(struct gguf *g, struct reader *r, struct err *e)
{
    const struct gguf_kv *kv = gguf_find(g, "general.alignment");
    uint32_t v;
    g->alignment = ALIGN_DEFAULT;
    if (!kv)
        return 0;
    int rc = 0;
    r->field = kv->at;
    if (kv->type != GGUF_U32) {
        rc = err_set(e, ERR_DATA, "is %s, must be u32", gguf_type_name(kv->type));
    } else {
        memcpy(&v, kv->raw, sizeof v);
        g->alignment = v;
        if (v < 8 || (v & (v - 1)) != 0)
            rc = err_set(e, ERR_DATA, "alignment %u; must be a power of two and at least 8", v);
    }
    return rc < 0 ? gguf_blame(g, r, "key", 0, kv->key, rc, e) : 0;
}

/* ---- tensors --------------------------------------------------------------------------------- */

static int take_format(struct reader *r, enum fmt *out, struct err *e)
{
    uint32_t id;
    TRY(take_u32(r, &id, e));
    if (fmt_from_gguf(id, out))
        return 0;
    char known[256];
    size_t n = 0;
    for (int f = 0; f < FMT_COUNT && n < sizeof known; f++) {
        const char *name = fmt_info((enum fmt)f)->name;
        if (n + strlen(name) + 2 > sizeof known)
            break;
        known[n++] = ' ';
        memcpy(known + n, name, strlen(name));
        n += strlen(name);
    }
    FAIL(e, ERR_DATA, "type %u (%s) is not supported; supported:%.*s", id, fmt_gguf_name(id),
         (int)n, known);
}

/* Dimensions: the file has the fastest first, struct tensor the slowest. */
static int parse_dims(struct reader *r, struct tensor *t, struct err *e)
{
    uint32_t n;
    TRY(take_u32(r, &n, e));
    if (n < 1 || n > 4)
        FAIL(e, ERR_DATA, "%u dimensions; must be 1 to 4", n);
    t->n_dim = (int)n;
    for (uint32_t i = 0; i < 4; i++)
        t->dim[i] = 1;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t d;
        TRY(take_u64(r, &d, e));
        if (d < 1 || d > DIM_MAX)
            FAIL(e, ERR_DATA, "dimension %u is %" PRIu64 "; must be 1 to 2^40", i, d);
        t->dim[n - 1 - i] = (int64_t)d;
    }
    return 0;
}

static int check_size(struct gguf_tensor *gt, struct err *e)
{
    struct tensor *t = &gt->t;
    int64_t elems = 1, rows;
    size_t bytes;
    for (int i = 0; i < t->n_dim; i++)
        if (!dim_mul(elems, t->dim[i], &elems))
            FAIL(e, ERR_DATA, "the product of its dimensions overflows");
    const struct fmt_info *f = fmt_info(t->fmt);
    if (tensor_cols(t) % f->block_elems != 0)
        FAIL(e, ERR_DATA, "rows of %" PRId64 " are no multiple of the %" PRId64 " of a %s block",
             tensor_cols(t), f->block_elems, f->name);
    rows = elems / tensor_cols(t);
    if (!fmt_row_bytes(t->fmt, tensor_cols(t), &t->row_bytes) ||
        !size_mul((size_t)rows, t->row_bytes, &bytes) || bytes > INT64_MAX)
        FAIL(e, ERR_DATA, "its size in bytes overflows");
    gt->bytes = bytes;
    return 0;
}

static int parse_tensor_name(struct gguf *g, struct reader *r, struct gguf_str *name, struct err *e)
{
    uint64_t begin = r->at;
    uint32_t old;
    TRY(take_str(r, name, e));
    r->field = begin;
    if (name->len < 1 || name->len > TENSOR_NAME_MAX)
        FAIL(e, ERR_DATA, "name of %zu bytes; must be 1 to %d", name->len, TENSOR_NAME_MAX);
    int is_new = names_add(&g->tensor_names, name->s, name->len, (uint32_t)g->n_tensor, &old, e);
    if (is_new == 0)
        FAIL(e, ERR_DATA, "the same name came before, as tensor %u", old + 1);
    return is_new < 0 ? is_new : 0;
}

static int parse_tensor_fields(struct gguf *g, struct reader *r, struct gguf_tensor *t,
                               struct err *e)
{
    TRY(parse_tensor_name(g, r, &t->name, e));
    TRY(parse_dims(r, &t->t, e));
    TRY(take_format(r, &t->t.fmt, e));
    TRY(check_size(t, e));
    TRY(take_u64(r, &t->at, e)); /* from the start of the data until check_inside adds that */
    if (t->at % g->alignment != 0)
        FAIL(e, ERR_DATA, "offset %" PRIu64 " is no multiple of the alignment %" PRIu64, t->at,
             g->alignment);
    return 0;
}

static int parse_tensor(struct gguf *g, struct reader *r, struct err *e)
{
    struct gguf_tensor t = {0};
    r->field = r->at;
    int rc = mem_grow(&g->tensor, &g->tensor_cap, g->n_tensor + 1, sizeof *g->tensor,
                      "the tensors of a model", e);
    if (rc == 0)
        rc = parse_tensor_fields(g, r, &t, e);
    if (rc < 0)
        return gguf_blame(g, r, "tensor", g->n_tensor, t.name, rc, e);
    g->tensor[g->n_tensor++] = t;
    return 0;
}

/* ---- data ------------------------------------------------------------------------------------ */

/* Makes offsets absolute; every tensor must end inside the file. */
static int check_inside(struct gguf *g, struct err *e)
{
    uint64_t size = g->bytes.size, expected = 0, end;
    const struct gguf_tensor *first = NULL;
    char text[ESCAPE_NAME];
    for (size_t i = 0; i < g->n_tensor; i++) {
        struct gguf_tensor *t = &g->tensor[i];
        if (__builtin_add_overflow(t->at, g->data_at, &t->at) ||
            __builtin_add_overflow(t->at, t->bytes, &end) || end > INT64_MAX)
            FAIL(e, ERR_DATA, "%s: tensor '%s' at byte %" PRIu64 ": its end overflows", g->shown,
                 escape_name(text, t->name.s, t->name.len), t->at);
        if (end > size && !first)
            first = t;
        expected = end > expected ? end : expected;
    }
    if (first)
        FAIL(e, ERR_DATA,
             "%s: tensor '%s' at byte %" PRIu64
             " goes beyond the end of the file: expected at least "
             "%" PRIu64 " bytes, the file has %" PRIu64 ": download incomplete",
             g->shown, escape_name(text, first->name.s, first->name.len), first->at, expected,
             size);
    return 0;
}

struct extent {
    uint64_t at;
    size_t tensor;
};

static int extent_order(const void *a, const void *b)
{
    const struct extent *x = a, *y = b;
    return x->at != y->at ? (x->at > y->at) - (x->at < y->at)
                          : (x->tensor > y->tensor) - (x->tensor < y->tensor);
}

static int check_overlap(const struct gguf *g, struct err *e)
{
    struct extent *x = mem_resize(NULL, g->n_tensor, sizeof *x);
    if (!x)
        return NOMEM(e, g->n_tensor * sizeof *x, "the order of tensors");
    bool sorted = true;
    for (size_t i = 0; i < g->n_tensor; i++) {
        x[i] = (struct extent){.at = g->tensor[i].at, .tensor = i};
        sorted = sorted && (i == 0 || x[i - 1].at <= x[i].at);
    }
    if (!sorted)
        qsort(x, g->n_tensor, sizeof *x, extent_order);
    int rc = 0;
    for (size_t i = 1; i < g->n_tensor && rc == 0; i++) {
        const struct gguf_tensor *a = &g->tensor[x[i - 1].tensor], *b = &g->tensor[x[i].tensor];
        char an[ESCAPE_NAME], bn[ESCAPE_NAME];
        if (a->at + a->bytes > b->at)
            rc =
                err_set(e, ERR_DATA,
                        "%s: tensor '%s' at byte %" PRIu64 " overlaps '%s', which ends at %" PRIu64,
                        g->shown, escape_name(bn, b->name.s, b->name.len), b->at,
                        escape_name(an, a->name.s, a->name.len), a->at + a->bytes);
    }
    mem_free(x);
    return rc;
}

int gguf_parse(struct gguf *g, struct err *e)
{
    struct reader r = {.bytes = &g->bytes};
    uint64_t n_tensor, n_kv;
    TRY(parse_header(g, &r, &n_tensor, &n_kv, e));
    for (uint64_t i = 0; i < n_kv; i++)
        TRY(parse_kv(g, &r, e));
    TRY(parse_alignment(g, &r, e));
    for (uint64_t i = 0; i < n_tensor; i++)
        TRY(parse_tensor(g, &r, e));
    g->data_at = (r.at + g->alignment - 1) & ~(g->alignment - 1); /* r.at <= size <= INT64_MAX */
    TRY(check_inside(g, e));
    return check_overlap(g, e);
}
