#include "gguf.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "escape.h"
#include "gguf_parse.h"
#include "mem.h"

static const struct {
    const char *name;
    size_t bytes;
} gguf_types[GGUF_TYPE_COUNT] = {
    [GGUF_U8] = {"u8", 1},       [GGUF_I8] = {"i8", 1},     [GGUF_U16] = {"u16", 2},
    [GGUF_I16] = {"i16", 2},     [GGUF_U32] = {"u32", 4},   [GGUF_I32] = {"i32", 4},
    [GGUF_F32] = {"f32", 4},     [GGUF_BOOL] = {"bool", 1}, [GGUF_STRING] = {"string", 0},
    [GGUF_ARRAY] = {"array", 0}, [GGUF_U64] = {"u64", 8},   [GGUF_I64] = {"i64", 8},
    [GGUF_F64] = {"f64", 8},
};

const char *gguf_type_name(enum gguf_type t)
{
    return t >= 0 && t < GGUF_TYPE_COUNT ? gguf_types[t].name : "unknown";
}

size_t gguf_type_bytes(enum gguf_type t)
{
    return t >= 0 && t < GGUF_TYPE_COUNT ? gguf_types[t].bytes : 0;
}

/* ---- life ------------------------------------------------------------------------------------ */

/* Parses the bytes of g; owns g from now on, also on failure. */
static int gguf_index(struct gguf *g, struct gguf **out, struct err *e)
{
    int rc;
    const char *path = g->bytes.path;
    size_t len = strlen(path), keep = 200;
    snprintf(g->shown, sizeof g->shown, "%s%s", len > keep ? "..." : "",
             len > keep ? path + len - keep : path);
    if (g->bytes.size == 0)
        TRY_DONE(err_set(e, ERR_DATA, "%s is empty: download incomplete", g->shown));
    TRY_DONE(gguf_parse(g, e));
    *out = g;
    return 0;
done:
    gguf_close(g);
    return rc;
}

int gguf_parse_file(const char *path, struct gguf **out, struct err *e)
{
    struct gguf *g = mem_zalloc(1, sizeof *g);
    if (!g)
        return NOMEM(e, sizeof *g, "a model file");
    int rc = gguf_bytes_open(path, &g->bytes, e);
    if (rc < 0) {
        mem_free(g);
        return rc;
    }
    return gguf_index(g, out, e);
}

/* Reserves address space for the maps of all parts. */
static int gguf_reserve(struct gguf *g, struct err *e)
{
    const struct gguf_more *last = &g->more[g->n_more - 1];
    uint64_t room = last->at + gguf_bytes_room(&last->bytes);
    void *p = room > SIZE_MAX ? MAP_FAILED
                              : mmap(NULL, (size_t)room, PROT_NONE,
                                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        FAIL(e, ERR_NOMEM, "cannot map %s: no address space for the %" PRIu64 " bytes of its parts",
             g->shown, room);
    g->room = p;
    g->room_bytes = (size_t)room;
    return 0;
}

int gguf_map(struct gguf *g, struct err *e)
{
    if (g->n_more)
        TRY(gguf_reserve(g, e));
    TRY(gguf_bytes_map(&g->bytes, g->room, e));
    for (size_t i = 0; i < g->n_more; i++)
        TRY(gguf_bytes_map(&g->more[i].bytes, g->room + g->more[i].at, e));
    for (size_t i = 0; i < g->n_tensor; i++)
        g->tensor[i].t.data = (void *)(uintptr_t)(g->bytes.map + g->tensor[i].at);
    return 0;
}

/* Maps a parsed model; owns g from now on, also on failure. */
static int gguf_finish(struct gguf *g, struct gguf **out, struct err *e)
{
    int rc = gguf_map(g, e);
    if (rc < 0)
        gguf_close(g);
    else
        *out = g;
    return rc;
}

int gguf_open(const char *path, struct gguf **out, struct err *e)
{
    struct gguf *g;
    TRY(gguf_parse_file(path, &g, e));
    return gguf_finish(g, out, e);
}

int gguf_open_memory(const void *data, size_t size, const char *name, struct gguf **out,
                     struct err *e)
{
    struct gguf *g = mem_zalloc(1, sizeof *g);
    if (!g)
        return NOMEM(e, sizeof *g, "a model");
    int rc = gguf_bytes_memory(data, size, name, &g->bytes, e);
    if (rc < 0) {
        mem_free(g);
        return rc;
    }
    TRY(gguf_index(g, &g, e));
    return gguf_finish(g, out, e);
}

void gguf_close(struct gguf *g)
{
    if (!g)
        return;
    for (size_t i = 0; i < g->n_kv; i++)
        mem_free(g->kv[i].strings);
    mem_free(g->kv);
    mem_free(g->tensor);
    names_free(&g->kv_names);
    names_free(&g->tensor_names);
    for (size_t i = 0; i < g->n_more; i++)
        gguf_bytes_close(&g->more[i].bytes);
    mem_free(g->more);
    gguf_bytes_close(&g->bytes);
    if (g->room)
        munmap(g->room, g->room_bytes);
    mem_free(g);
}

/* ---- views ----------------------------------------------------------------------------------- */

const char *gguf_path(const struct gguf *g)
{
    return g->bytes.path;
}

uint64_t gguf_file_bytes(const struct gguf *g)
{
    uint64_t sum = g->bytes.size;
    for (size_t i = 0; i < g->n_more; i++)
        sum += g->more[i].bytes.size;
    return sum;
}

size_t gguf_n_parts(const struct gguf *g)
{
    return 1 + g->n_more;
}

static const struct gguf_bytes *bytes_of(const struct gguf *g, size_t part, uint64_t *at)
{
    *at = part ? g->more[part - 1].at : 0;
    return part ? &g->more[part - 1].bytes : &g->bytes;
}

struct gguf_part gguf_part(const struct gguf *g, size_t i)
{
    uint64_t at;
    const struct gguf_bytes *b = bytes_of(g, i, &at);
    return (struct gguf_part){.path = b->path, .at = at, .bytes = b->size};
}

size_t gguf_part_of(const struct gguf *g, uint64_t at)
{
    size_t low = 0, high = g->n_more; /* the part lies in low..high */
    while (low < high) {
        size_t mid = low + (high - low + 1) / 2;
        if (g->more[mid - 1].at <= at)
            low = mid;
        else
            high = mid - 1;
    }
    return low;
}

uint32_t gguf_version(const struct gguf *g)
{
    return g->version;
}

size_t gguf_n_kv(const struct gguf *g)
{
    return g->n_kv;
}

const struct gguf_kv *gguf_kv_at(const struct gguf *g, size_t i)
{
    return &g->kv[i];
}

const struct gguf_kv *gguf_find(const struct gguf *g, const char *key)
{
    uint32_t i;
    return names_find(&g->kv_names, key, strlen(key), &i) ? &g->kv[i] : NULL;
}

size_t gguf_n_tensors(const struct gguf *g)
{
    return g->n_tensor;
}

const struct gguf_tensor *gguf_tensor_at(const struct gguf *g, size_t i)
{
    return &g->tensor[i];
}

const struct gguf_tensor *gguf_tensor_find(const struct gguf *g, const char *name)
{
    uint32_t i;
    return names_find(&g->tensor_names, name, strlen(name), &i) ? &g->tensor[i] : NULL;
}

/* ---- the bytes ------------------------------------------------------------------------------- */

/* The part that holds bytes [*at, *at + n); *at becomes the offset in that part. */
static int gguf_range(const struct gguf *g, uint64_t *at, uint64_t n, const struct gguf_bytes **out,
                      struct err *e)
{
    uint64_t begin;
    const struct gguf_bytes *b = bytes_of(g, gguf_part_of(g, *at), &begin);
    uint64_t inside = *at - begin;
    if (inside > b->size || n > b->size - inside)
        FAIL(e, ERR_BUG, "%s: bytes %" PRIu64 " + %" PRIu64 " of %" PRIu64 " were asked for",
             b->path, inside, n, b->size);
    *at = inside;
    *out = b;
    return 0;
}

int gguf_read(const struct gguf *g, uint64_t at, void *dst, size_t n, struct err *e)
{
    const struct gguf_bytes *b;
    TRY(gguf_range(g, &at, n, &b, e));
    return gguf_bytes_read(b, at, dst, n, e);
}

int gguf_populate(const struct gguf *g, uint64_t at, uint64_t n, struct err *e)
{
    const struct gguf_bytes *b;
    TRY(gguf_range(g, &at, n, &b, e));
    gguf_bytes_ahead(b, at, n);
    return gguf_bytes_populate(b, at, n, e);
}

int gguf_ahead(const struct gguf *g, uint64_t at, uint64_t n, struct err *e)
{
    const struct gguf_bytes *b;
    TRY(gguf_range(g, &at, n, &b, e));
    gguf_bytes_ahead(b, at, n);
    return 0;
}

bool gguf_offset(const struct gguf *g, const void *p, uint64_t *at)
{
    uintptr_t begin = (uintptr_t)g->bytes.map, here = (uintptr_t)p;
    if (here < begin || here - begin >= (g->room ? g->room_bytes : g->bytes.size))
        return false;
    *at = here - begin;
    return true;
}

int gguf_check_unchanged(const struct gguf *g, struct err *e)
{
    TRY(gguf_bytes_unchanged(&g->bytes, e));
    for (size_t i = 0; i < g->n_more; i++)
        TRY(gguf_bytes_unchanged(&g->more[i].bytes, e));
    return 0;
}

/* ---- typed getters --------------------------------------------------------------------------- */

static int gguf_need(const struct gguf *g, const char *key, const struct gguf_kv **out,
                     struct err *e)
{
    *out = gguf_find(g, key);
    if (!*out)
        FAIL(e, ERR_DATA, "%s: key '%s' is missing", g->shown, key);
    return 0;
}

static int gguf_wrong_type(const struct gguf *g, const struct gguf_kv *kv, const char *want,
                           struct err *e)
{
    char text[ESCAPE_NAME];
    FAIL(e, ERR_DATA, "%s: key '%s' at byte %" PRIu64 " is %s%s, must be %s", g->shown,
         escape_name(text, kv->key.s, kv->key.len), kv->at,
         kv->type == GGUF_ARRAY ? "an array of " : "", gguf_type_name(kv->elem), want);
}

/* Reads a value of any integer type t; false for other types. *big: it is above INT64_MAX. */
static bool raw_int(enum gguf_type t, const unsigned char *raw, int64_t *out, bool *big)
{
    uint64_t u = 0;
    int shift = 64 - 8 * (int)gguf_type_bytes(t);
    *big = false;
    switch (t) {
    case GGUF_U8:
    case GGUF_U16:
    case GGUF_U32:
    case GGUF_U64:
        memcpy(&u, raw, gguf_type_bytes(t));
        *big = u > INT64_MAX;
        *out = *big ? INT64_MAX : (int64_t)u;
        return true;
    case GGUF_I8:
    case GGUF_I16:
    case GGUF_I32:
    case GGUF_I64:
        memcpy(&u, raw, gguf_type_bytes(t));
        *out = (int64_t)(u << shift) >> shift; /* sign extension */
        return true;
    case GGUF_F32:
    case GGUF_BOOL:
    case GGUF_STRING:
    case GGUF_ARRAY:
    case GGUF_F64:
    case GGUF_TYPE_COUNT:
        break;
    }
    return false;
}

/* Reads element i as an integer. */
static int kv_get_int(const struct gguf *g, const struct gguf_kv *kv, uint64_t i, int64_t lo,
                      int64_t hi, int64_t *out, struct err *e)
{
    int64_t v;
    bool big;
    char text[ESCAPE_NAME];
    uint64_t offset = i * gguf_type_bytes(kv->elem); /* i < kv->count: inside the file */
    if (!raw_int(kv->elem, kv->raw + offset, &v, &big))
        return gguf_wrong_type(g, kv, "an integer", e);
    if (big || v < lo || v > hi)
        FAIL(e, ERR_DATA,
             "%s: key '%s' at byte %" PRIu64 " is %s%" PRId64 ", must be %" PRId64 " to %" PRId64,
             g->shown, escape_name(text, kv->key.s, kv->key.len), kv->at + offset,
             big ? "above " : "", v, lo, hi);
    *out = v;
    return 0;
}

static int kv_get_one(const struct gguf *g, const struct gguf_kv *kv, int64_t lo, int64_t hi,
                      int64_t *out, struct err *e)
{
    if (kv->type == GGUF_ARRAY)
        return gguf_wrong_type(g, kv, "an integer", e);
    return kv_get_int(g, kv, 0, lo, hi, out, e);
}

int gguf_get_int(const struct gguf *g, const char *key, int64_t lo, int64_t hi, int64_t *out,
                 struct err *e)
{
    const struct gguf_kv *kv;
    TRY(gguf_need(g, key, &kv, e));
    return kv_get_one(g, kv, lo, hi, out, e);
}

int gguf_get_int_each(const struct gguf *g, const char *key, uint64_t n, int64_t lo, int64_t hi,
                      int64_t *out, struct err *e)
{
    const struct gguf_kv *kv;
    int64_t first, v;
    TRY(gguf_need(g, key, &kv, e));
    if (kv->type != GGUF_ARRAY)
        return kv_get_one(g, kv, lo, hi, out, e);
    if (kv->count != n || n == 0)
        FAIL(e, ERR_DATA,
             "%s: key '%s' at byte %" PRIu64 " has %" PRIu64 " elements, must have %" PRIu64
             " or be one number",
             g->shown, key, kv->at, kv->count, n);
    TRY(kv_get_int(g, kv, 0, lo, hi, &first, e));
    for (uint64_t i = 1; i < n; i++) {
        TRY(kv_get_int(g, kv, i, lo, hi, &v, e));
        if (v != first)
            FAIL(e, ERR_DATA,
                 "%s: key '%s' at byte %" PRIu64
                 " differs between layers, which is not supported: layer %" PRIu64 " has %" PRId64
                 ", layer 0 %" PRId64,
                 g->shown, key, kv->at, i, v, first);
    }
    *out = first;
    return 0;
}

int gguf_get_int_or(const struct gguf *g, const char *key, int64_t lo, int64_t hi, int64_t dflt,
                    int64_t *out, struct err *e)
{
    const struct gguf_kv *kv = gguf_find(g, key);
    if (kv)
        return kv_get_one(g, kv, lo, hi, out, e);
    *out = dflt;
    return 0;
}

int gguf_get_f32_or(const struct gguf *g, const char *key, double lo, double hi, float dflt,
                    float *out, struct err *e)
{
    const struct gguf_kv *kv = gguf_find(g, key);
    float f = dflt;
    double v;
    if (!kv) {
        *out = dflt;
        return 0;
    }
    if (kv->type == GGUF_F64) {
        memcpy(&v, kv->raw, sizeof v);
    } else if (kv->type == GGUF_F32) {
        memcpy(&f, kv->raw, sizeof f);
        v = (double)f;
    } else {
        return gguf_wrong_type(g, kv, "f32 or f64", e);
    }
    if (!(v >= lo && v <= hi)) /* false for NaN too */
        FAIL(e, ERR_DATA, "%s: key '%s' at byte %" PRIu64 " is %g, must be %g to %g", g->shown, key,
             kv->at, v, lo, hi);
    *out = (float)v;
    return 0;
}

int gguf_get_bool_or(const struct gguf *g, const char *key, bool dflt, bool *out, struct err *e)
{
    const struct gguf_kv *kv = gguf_find(g, key);
    if (kv && kv->type != GGUF_BOOL)
        return gguf_wrong_type(g, kv, "bool", e);
    *out = kv ? kv->raw[0] != 0 : dflt;
    return 0;
}

bool gguf_number(const struct gguf_kv *kv, uint64_t i, double *out)
{
    const unsigned char *raw = kv->raw + i * gguf_type_bytes(kv->elem);
    int64_t v;
    bool big;
    float f;
    if (kv->elem == GGUF_F32) {
        memcpy(&f, raw, sizeof f);
        *out = (double)f;
    } else if (kv->elem == GGUF_F64) {
        memcpy(out, raw, sizeof *out);
    } else if (kv->elem == GGUF_BOOL) {
        *out = *raw != 0;
    } else if (raw_int(kv->elem, raw, &v, &big)) {
        *out = (double)v;
    } else {
        return false;
    }
    return true;
}

int gguf_get_str(const struct gguf *g, const char *key, struct gguf_str *out, struct err *e)
{
    const struct gguf_kv *kv;
    TRY(gguf_need(g, key, &kv, e));
    if (kv->type != GGUF_STRING)
        return gguf_wrong_type(g, kv, "a string", e);
    uint64_t len;
    memcpy(&len, kv->raw, sizeof len);
    *out = (struct gguf_str){.s = (const char *)kv->raw + sizeof len, .len = (size_t)len};
    return 0;
}

int gguf_get_array(const struct gguf *g, const char *key, enum gguf_type elem,
                   const struct gguf_kv **out, struct err *e)
{
    const struct gguf_kv *kv;
    char want[32];
    TRY(gguf_need(g, key, &kv, e));
    snprintf(want, sizeof want, "an array of %s", gguf_type_name(elem));
    if (kv->type != GGUF_ARRAY || kv->elem != elem)
        return gguf_wrong_type(g, kv, want, e);
    *out = kv;
    return 0;
}
