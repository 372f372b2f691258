#include "vocab.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "log.h"
#include "mem.h"
#include "rng.h"
#include "str.h"

#define KEY_TOKENS "tokenizer.ggml.tokens"
#define KEY_TYPES "tokenizer.ggml.token_type"

static const char *const control_names[] = {
#define X(name, end) name,
#include "markers.def"
};

/* ---- notation ------------------------------------------------------------------------------ */

/* The byte of a character in GPT-2's table. Printable Latin-1 characters are their own bytes; the
 * other 68 bytes are U+0100 + k in ascending order. -1 = no such character. */
static int level_byte(uint32_t cp)
{
    if ((cp >= 33 && cp <= 126) || (cp >= 161 && cp <= 172) || (cp >= 174 && cp <= 255))
        return (int)cp;
    if (cp < 256 || cp > 323)
        return -1;
    int k = (int)cp - 256;
    if (k <= 32)
        return k;
    return k < 67 ? k - 33 + 127 : 173;
}

size_t vocab_unescape(enum vocab_form form, const char *s, size_t len, char *out)
{
    size_t n = 0;
    if (form == VOCAB_SENTENCE) {
        for (size_t i = 0; i < len; n++) {
            bool space = len - i >= 3 && !memcmp(s + i, "\xe2\x96\x81", 3);
            out[n] = space ? ' ' : s[i];
            i += space ? 3 : 1;
        }
        return n;
    }
    for (size_t i = 0; i < len; n++) {
        uint32_t cp;
        int k = utf8_decode(s + i, len - i, &cp);
        int byte = k ? level_byte(cp) : -1;
        if (byte < 0)
            return SIZE_MAX;
        out[n] = (char)byte;
        i += (size_t)k;
    }
    return n;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int byte_token(struct gguf_str s) /* the byte of "<0xAB>", -1 for any other text */
{
    if (s.len != 6 || memcmp(s.s, "<0x", 3) || s.s[5] != '>')
        return -1;
    int hi = hex_digit(s.s[3]), lo = hex_digit(s.s[4]);
    return hi < 0 || lo < 0 ? -1 : hi << 4 | lo;
}

/* ---- maps ---------------------------------------------------------------------------------- */

static uint32_t map_hash(const char *s, size_t n)
{
    uint64_t h = n;
    for (; n >= 8; s += 8, n -= 8) {
        uint64_t w;
        memcpy(&w, s, 8);
        h = rng_mix(h ^ w);
    }
    uint64_t w = 0;
    if (n)
        memcpy(&w, s, n);
    return (uint32_t)(rng_mix(h ^ w) >> 32);
}

static int map_init(struct vocab_map *m, size_t n, struct err *e)
{
    size_t slots = 16;
    while (slots < n * 2) /* n < 2^31 */
        slots *= 2;
    m->slot = mem_resize(NULL, slots, sizeof *m->slot);
    if (!m->slot)
        return NOMEM(e, slots * sizeof *m->slot, "the table of tokens");
    memset(m->slot, 0xff, slots * sizeof *m->slot); /* id -1 everywhere */
    m->mask = slots - 1;
    return 0;
}

/* The slot of s, or the free slot for it. */
static struct vocab_slot *map_slot(const struct vocab *v, const struct vocab_map *m, const char *s,
                                   size_t n, uint32_t hash)
{
    for (size_t i = hash & m->mask;; i = (i + 1) & m->mask) {
        struct vocab_slot *slot = &m->slot[i];
        if (slot->id < 0)
            return slot;
        const char *have = v->bytes + v->at[slot->id];
        size_t len = v->at[slot->id + 1] - v->at[slot->id];
        if (slot->hash == hash && len == n && !memcmp(have, s, n))
            return slot;
    }
}

static void map_put(const struct vocab *v, struct vocab_map *m, int32_t id)
{
    size_t len;
    const char *s = vocab_text(v, id, &len);
    if (len == 0)
        return;
    uint32_t hash = map_hash(s, len);
    struct vocab_slot *slot = map_slot(v, m, s, len, hash);
    if (slot->id < 0)
        *slot = (struct vocab_slot){hash, id};
}

static int32_t map_find(const struct vocab *v, const struct vocab_map *m, const char *s, size_t n)
{
    return n ? map_slot(v, m, s, n, map_hash(s, n))->id : -1;
}

int32_t vocab_plain(const struct vocab *v, const char *s, size_t n)
{
    return map_find(v, &v->plain, s, n);
}

int32_t vocab_marked(const struct vocab *v, const char *s, size_t n)
{
    return map_find(v, &v->marked, s, n);
}

const char *vocab_text(const struct vocab *v, int32_t id, size_t *len)
{
    CHECK(id >= 0 && id < v->n);
    *len = v->at[id + 1] - v->at[id];
    return v->bytes + v->at[id];
}

/* ---- spotting whole tokens in text --------------------------------------------------------- */

static bool is_spotted(const struct vocab *v, int32_t id)
{
    return v->at[id] < v->at[id + 1] && (v->type[id] == VOCAB_CONTROL ||
                                         v->type[id] == VOCAB_UNKNOWN || v->type[id] == VOCAB_USER);
}

static int spotted_order(const void *pa, const void *pb)
{
    const struct vocab_spotted *a = pa, *b = pb;
    int c = memcmp(a->s, b->s, a->len < b->len ? a->len : b->len);
    if (c)
        return c;
    if (a->len != b->len)
        return a->len < b->len ? -1 : 1;
    return (a->id > b->id) - (a->id < b->id);
}

static int spotted_init(struct vocab *v, struct err *e)
{
    size_t n = 0;
    for (int32_t i = 0; i < v->n; i++)
        n += is_spotted(v, i);
    v->spotted = mem_zalloc(n, sizeof *v->spotted);
    if (!v->spotted)
        return NOMEM(e, n * sizeof *v->spotted, "the list of control tokens");
    for (int32_t i = 0; i < v->n; i++) {
        if (!is_spotted(v, i))
            continue;
        struct vocab_spotted *s = &v->spotted[v->n_spotted++];
        s->s = vocab_text(v, i, &s->len);
        s->id = i;
        v->starts[(unsigned char)s->s[0]] = true;
    }
    qsort(v->spotted, n, sizeof *v->spotted, spotted_order);
    return 0;
}

/* First of spotted[lo..hi) whose byte at `depth` is >= c. All are longer than `depth` bytes. */
static size_t spotted_bound(const struct vocab *v, size_t lo, size_t hi, size_t depth, unsigned c)
{
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if ((unsigned char)v->spotted[mid].s[depth] < c)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

int32_t vocab_spot(const struct vocab *v, const char *s, size_t n, bool control)
{
    int32_t best = -1;
    size_t lo = 0, hi = v->n_spotted; /* the tokens that begin with s[0..depth) */
    if (n == 0 || !v->starts[(unsigned char)s[0]])
        return -1;
    for (size_t depth = 0; lo < hi && depth < n; depth++) {
        unsigned c = (unsigned char)s[depth];
        lo = spotted_bound(v, lo, hi, depth, c);
        hi = spotted_bound(v, lo, hi, depth, c + 1);
        bool found = false;
        for (; lo < hi && v->spotted[lo].len == depth + 1; lo++) {
            int32_t id = v->spotted[lo].id;
            if (!found && (control || v->type[id] == VOCAB_USER)) {
                best = id;
                found = true;
            }
        }
    }
    return best;
}

/* ---- reading the file ---------------------------------------------------------------------- */

static int read_types(struct vocab *v, const struct gguf *g, const struct gguf_kv *tokens,
                      struct err *e)
{
    const struct gguf_kv *types = NULL;
    if (gguf_find(g, KEY_TYPES))
        TRY(gguf_get_array(g, KEY_TYPES, GGUF_I32, &types, e));
    if (types && types->count != tokens->count)
        FAIL(e, ERR_DATA, "%s: %s has %llu elements, but " KEY_TOKENS " %llu", gguf_path(g),
             KEY_TYPES, (unsigned long long)types->count, (unsigned long long)tokens->count);
    v->type = mem_zalloc((size_t)v->n, 1);
    if (!v->type)
        return NOMEM(e, v->n, "token types");
    for (int32_t i = 0; i < v->n; i++) {
        int32_t type = VOCAB_NORMAL;
        if (types)
            memcpy(&type, types->raw + (size_t)i * sizeof type, sizeof type);
        if (type < 0 || type > VOCAB_BYTE)
            FAIL(e, ERR_DATA, "%s: " KEY_TYPES "[%d] is %d, must be 0 to 6", gguf_path(g), i, type);
        v->type[i] = (unsigned char)(type ? type : VOCAB_NORMAL);
    }
    return 0;
}

static void force_control(struct vocab *v, int32_t id)
{
    if (v->type[id] == VOCAB_NORMAL || v->type[id] == VOCAB_USER)
        v->type[id] = VOCAB_CONTROL;
}

static bool has_control_name(struct gguf_str s)
{
    for (size_t i = 0; i < sizeof control_names / sizeof control_names[0]; i++)
        if (strlen(control_names[i]) == s.len && !memcmp(control_names[i], s.s, s.len))
            return true;
    return false;
}

/* A token of type normal that no text encodes to: it was added without a type. Returns its bytes,
 * which are written as they are. */
static size_t odd_token(struct vocab *v, const struct gguf *g, int32_t i, struct gguf_str s,
                        char *out)
{
    memcpy(out, s.s, s.len);
    v->type[i] = VOCAB_UNUSED;
    if (!v->n_odd++)
        log_warn("%s: " KEY_TOKENS "[%d] '%.*s' has type normal, but a character outside the "
                 "byte-level alphabet; such tokens count as unused",
                 gguf_path(g), i, s.len > 40 ? 40 : (int)s.len, s.s);
    return s.len;
}

/* Writes token i after token i - 1. */
static int read_token(struct vocab *v, const struct gguf *g, enum vocab_form form, int32_t i,
                      struct gguf_str s, struct err *e)
{
    int shown = s.len > 40 ? 40 : (int)s.len;
    char *out = v->bytes + v->at[i];
    size_t len = s.len;
    if (v->type[i] == VOCAB_BYTE) {
        int byte = byte_token(s);
        if (byte < 0)
            FAIL(e, ERR_DATA,
                 "%s: " KEY_TOKENS "[%d] '%.*s' has type byte, but is not <0x00> .. <0xFF>",
                 gguf_path(g), i, shown, s.s);
        out[0] = (char)byte;
        len = 1;
    } else if (v->type[i] == VOCAB_NORMAL || form == VOCAB_SENTENCE) {
        len = vocab_unescape(form, s.s, s.len, out);
        if (len == SIZE_MAX)
            len = odd_token(v, g, i, s, out);
    } else if (len) {
        memcpy(out, s.s, len);
    }
    v->at[i + 1] = v->at[i] + len;
    return 0;
}

static int read_tokens(struct vocab *v, const struct gguf *g, enum vocab_form form,
                       const struct gguf_str *s, struct err *e)
{
    size_t total = 0;
    for (int32_t i = 0; i < v->n; i++)
        if (!size_add(total, s[i].len, &total))
            FAIL(e, ERR_DATA, "%s: " KEY_TOKENS " is longer than memory", gguf_path(g));
    v->bytes = mem_resize(NULL, total, 1);
    v->at = mem_zalloc((size_t)v->n + 1, sizeof *v->at);
    if (!v->bytes || !v->at)
        return NOMEM(e, total + (size_t)v->n * sizeof *v->at, "token texts");
    for (int32_t i = 0; i < v->n; i++) {
        if (has_control_name(s[i]))
            force_control(v, i);
        TRY(read_token(v, g, form, i, s[i], e));
    }
    return 0;
}

static int index_tokens(struct vocab *v, struct err *e)
{
    size_t n_plain = 0;
    for (int32_t i = 0; i < v->n; i++)
        n_plain += v->type[i] == VOCAB_NORMAL || v->type[i] == VOCAB_BYTE;
    TRY(map_init(&v->plain, n_plain, e));
    TRY(map_init(&v->marked, (size_t)v->n - n_plain, e));
    for (int32_t i = 0; i < v->n; i++)
        if (v->type[i] != VOCAB_BYTE)
            map_put(v, v->type[i] == VOCAB_NORMAL ? &v->plain : &v->marked, i);
    for (int32_t i = 0; i < v->n; i++)
        if (v->type[i] == VOCAB_BYTE)
            map_put(v, &v->plain, i);
    return spotted_init(v, e);
}

int vocab_init(struct vocab *v, const struct gguf *g, enum vocab_form form, const int32_t *control,
               size_t n_control, struct err *e)
{
    const struct gguf_kv *tokens;
    int rc;
    *v = (struct vocab){0};
    TRY(gguf_get_array(g, KEY_TOKENS, GGUF_STRING, &tokens, e));
    if (tokens->count < 1 || tokens->count > INT32_MAX - 1)
        FAIL(e, ERR_DATA, "%s: " KEY_TOKENS " has %llu elements, must be 1 to %d", gguf_path(g),
             (unsigned long long)tokens->count, INT32_MAX - 1);
    v->n = (int32_t)tokens->count;
    TRY_DONE(read_types(v, g, tokens, e));
    for (size_t i = 0; i < n_control; i++)
        if (control[i] >= 0)
            force_control(v, control[i]);
    TRY_DONE(read_tokens(v, g, form, tokens->strings, e));
    rc = index_tokens(v, e);
done:
    if (rc < 0)
        vocab_free(v);
    return rc;
}

void vocab_free(struct vocab *v)
{
    mem_free(v->type);
    mem_free(v->bytes);
    mem_free(v->at);
    mem_free(v->plain.slot);
    mem_free(v->marked.slot);
    mem_free(v->spotted);
    *v = (struct vocab){0};
}
