#include "keys.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "escape.h"

enum key_rule { KEY_READ, KEY_ONLY, KEY_WINDOW, KEY_NOTE };

static const struct key {
    const char *name;
    enum key_rule rule;
    const char *only, *what;
} keys[] = {
#define X(name, rule, only, what) {name, KEY_##rule, only, what},
#include "keys.def"
#undef X
};

static const struct key *key_find(const char *s, size_t n)
{
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (strlen(keys[i].name) == n && !memcmp(keys[i].name, s, n))
            return &keys[i];
    return NULL;
}

static struct gguf_str key_text(const struct gguf_kv *kv, uint64_t i)
{
    uint64_t len;
    if (kv->type == GGUF_ARRAY)
        return kv->strings[i];
    memcpy(&len, kv->raw, sizeof len);
    return (struct gguf_str){(const char *)kv->raw + sizeof len, (size_t)len};
}

/* True when element i is one of `only`. */
static bool key_allows(const char *only, const struct gguf_kv *kv, uint64_t i)
{
    double have = 0, want = 0;
    bool number = gguf_number(kv, i, &have);
    struct gguf_str text = number ? (struct gguf_str){0} : key_text(kv, i);
    for (;;) {
        size_t n = strcspn(only, "|");
        char item[32];
        snprintf(item, sizeof item, "%.*s", (int)n, only);
        bool numeric = str_to_f64(item, -INFINITY, INFINITY, &want);
        if (numeric == number &&
            (number ? have == want : text.len == n && !memcmp(text.s, only, n)))
            return true;
        if (!only[n])
            return false;
        only += n + 1;
    }
}

/* Writes the allowed values for a message: "must be 0 or 1". */
static void key_wanted(const char *only, char *out, size_t cap)
{
    size_t at = 0;
    for (; *only && at + 5 < cap; only++)
        at += (size_t)snprintf(out + at, cap - at, *only == '|' ? " or " : "%c", *only);
    out[at] = 0;
}

static void key_value(const struct gguf_kv *kv, uint64_t i, char out[ESCAPE_NAME])
{
    double v;
    if (gguf_number(kv, i, &v)) {
        snprintf(out, ESCAPE_NAME, "%.9g", v);
        return;
    }
    struct gguf_str s = key_text(kv, i);
    char text[ESCAPE_NAME];
    snprintf(out, ESCAPE_NAME, "'%.90s'", escape_name(text, s.s, s.len));
}

static int key_refuse(const struct gguf *g, const struct gguf_kv *kv, const struct key *k,
                      uint64_t i, struct err *e)
{
    char value[ESCAPE_NAME], want[64], element[32] = "";
    key_value(kv, i, value);
    key_wanted(k->only, want, sizeof want);
    if (kv->type == GGUF_ARRAY)
        snprintf(element, sizeof element, " in element %llu", (unsigned long long)i);
    FAIL(e, ERR_DATA, "%s: key '%.*s' is %s%s: %s is not supported; must be %s", gguf_path(g),
         (int)kv->key.len, kv->key.s, value, element, k->what, want);
}

/* True when a layer has a sliding window. */
static bool key_windowed(const struct gguf *g, const char *arch)
{
    char full[96];
    double v;
    snprintf(full, sizeof full, "%s.attention.sliding_window", arch);
    const struct gguf_kv *kv = gguf_find(g, full);
    for (uint64_t i = 0; kv && i < kv->count; i++)
        if (gguf_number(kv, i, &v) && v != 0)
            return true;
    return false;
}

/* The part of a key after "<arch>."; its s is NULL for other keys. */
static struct gguf_str key_own(const struct gguf_kv *kv, struct gguf_str arch)
{
    if (kv->key.len <= arch.len || memcmp(kv->key.s, arch.s, arch.len) != 0 ||
        kv->key.s[arch.len] != '.')
        return (struct gguf_str){0};
    return (struct gguf_str){kv->key.s + arch.len + 1, kv->key.len - arch.len - 1};
}

static bool key_begins(struct gguf_str s, const char *with)
{
    return s.len >= strlen(with) && !memcmp(s.s, with, strlen(with));
}

/* The first element whose value is not supported; kv->count: there is none. */
static uint64_t key_fault(const struct key *k, const struct gguf_kv *kv)
{
    uint64_t i = 0;
    if (k->rule != KEY_ONLY)
        return kv->count;
    while (i < kv->count && key_allows(k->only, kv, i))
        i++;
    return i;
}

const char *keys_reason(const struct gguf *g, struct gguf_str arch)
{
    const char *reason = NULL;
    for (size_t n = 0; n < gguf_n_kv(g); n++) {
        const struct gguf_kv *kv = gguf_kv_at(g, n);
        const struct gguf_str name = key_own(kv, arch);
        const struct key *k = name.s ? key_find(name.s, name.len) : NULL;
        if (!k || key_fault(k, kv) == kv->count)
            continue;
        if (!reason || key_begins(name, "expert_")) /* experts matter more than details */
            reason = k->what;
    }
    return reason;
}

int keys_check(const struct gguf *g, const char *arch, struct str *unknown, struct err *e)
{
    char text[ESCAPE_NAME];
    for (size_t n = 0; n < gguf_n_kv(g); n++) {
        const struct gguf_kv *kv = gguf_kv_at(g, n);
        const struct gguf_str name = key_own(kv, (struct gguf_str){arch, strlen(arch)});
        if (!name.s || key_begins(name, "vision.") || key_begins(name, "mm."))
            continue;
        const struct key *k = key_find(name.s, name.len);
        if (!k) {
            if (unknown->len)
                str_adds(unknown, ", ");
            str_adds(unknown, escape_name(text, kv->key.s, kv->key.len));
            continue;
        }
        if (k->rule == KEY_WINDOW && key_windowed(g, arch))
            FAIL(e, ERR_DATA, "%s: key '%.*s' with a sliding window: %s is not supported",
                 gguf_path(g), (int)kv->key.len, kv->key.s, k->what);
        const uint64_t fault = key_fault(k, kv);
        if (fault < kv->count)
            return key_refuse(g, kv, k, fault, e);
    }
    return str_ok(unknown, "names of keys", e);
}
