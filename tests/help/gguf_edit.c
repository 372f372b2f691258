#include "gguf_edit.h"

#include <math.h>

#include "gguf_write.h"
#include "test.h"

enum { MAX_CHANGES = 32, MAX_ITEMS = 64 };

struct edit { /* one change: WHAT:NAME=VALUE */
    char what[8], name[96], value[64];
};

struct edits {
    struct edit e[MAX_CHANGES];
    int n;
};

static struct edits edits_read(const struct gguf *g, const char *text)
{
    struct edits all = {.n = 0};
    struct err e;
    struct gguf_str arch;
    ok(gguf_get_str(g, "general.architecture", &arch, &e));
    for (; *text && strcmp(text, "-") != 0; text += strcspn(text, ","), text += *text == ',') {
        assert_true(all.n < MAX_CHANGES);
        struct edit *c = &all.e[all.n++];
        char name[64] = "";
        if (sscanf(text, "%7[^:]:%63[^=,]=%63[^,]", c->what, name, c->value) < 2)
            fail_msg("bad change '%s'", text);
        bool whole = !strncmp(name, "tokenizer.", 10) || !strncmp(name, "general.", 8) ||
                     !strcmp(c->what, "bias") || !strcmp(c->what, "nan") ||
                     !strcmp(c->what, "piece");
        snprintf(c->name, sizeof c->name, "%.*s%s%s", whole ? 0 : (int)arch.len, arch.s,
                 whole ? "" : ".", name);
    }
    return all;
}

static const struct edit *edits_find(const struct edits *all, const char *what,
                                     struct gguf_str name)
{
    for (int i = 0; i < all->n; i++) {
        const struct edit *c = &all->e[i];
        bool tensor =
            !strcmp(c->what, "bias") || !strcmp(c->what, "nan") || !strcmp(c->what, "piece");
        if (strlen(c->name) == name.len && !memcmp(c->name, name.s, name.len) &&
            (what ? !strcmp(c->what, what) : !tensor))
            return c;
    }
    return NULL;
}

static void put_array(struct gguf_writer *w, const struct edit *c, enum gguf_type type)
{
    struct err e;
    int32_t item[MAX_ITEMS];
    size_t n = 0;
    for (char *end, *at = (char *)(uintptr_t)c->value; *at; at = end) {
        assert_true(n < MAX_ITEMS);
        item[n++] = (int32_t)strtol(at, &end, 10);
        assert_ptr_not_equal(at, end);
    }
    ok(gguf_put_array(w, c->name, type, item, n, &e));
}

static void put_key(struct gguf_writer *w, const struct edit *c)
{
    struct err e;
    int32_t i32 = (int32_t)strtol(c->value, NULL, 10);
    if (!strcmp(c->what, "u32")) {
        ok(gguf_put_u32(w, c->name, (uint32_t)strtoul(c->value, NULL, 10), &e));
    } else if (!strcmp(c->what, "i32")) {
        const struct gguf_kv kv = {.key = {c->name, strlen(c->name)},
                                   .type = GGUF_I32,
                                   .elem = GGUF_I32,
                                   .count = 1,
                                   .raw = (const unsigned char *)&i32};
        ok(gguf_put_kv(w, &kv, &e));
    } else if (!strcmp(c->what, "f32")) {
        ok(gguf_put_f32(w, c->name, strtof(c->value, NULL), &e));
    } else if (!strcmp(c->what, "bool")) {
        ok(gguf_put_bool(w, c->name, c->value[0] == '1', &e));
    } else if (!strcmp(c->what, "str")) {
        ok(gguf_put_str(w, c->name, c->value, strlen(c->value), &e));
    } else if (!strcmp(c->what, "u32s")) {
        put_array(w, c, GGUF_U32);
    } else if (!strcmp(c->what, "i32s")) {
        put_array(w, c, GGUF_I32);
    } else if (strcmp(c->what, "drop") != 0) {
        fail_msg("bad change '%s:%s'", c->what, c->name);
    }
}

/* The tokens of the vocabulary, some of them renamed. */
static void put_pieces(struct gguf_writer *w, const struct gguf_kv *kv, const struct edits *all)
{
    struct err e;
    struct gguf_str *s = malloc(kv->count * sizeof *s);
    assert_non_null(s);
    memcpy(s, kv->strings, kv->count * sizeof *s);
    for (int i = 0; i < all->n; i++)
        if (!strcmp(all->e[i].what, "piece")) {
            size_t id = strtoul(all->e[i].name, NULL, 10);
            assert_true(id < kv->count);
            s[id] = (struct gguf_str){all->e[i].value, strlen(all->e[i].value)};
        }
    ok(gguf_put_strings(w, "tokenizer.ggml.tokens", s, kv->count, &e));
    free(s);
}

static void put_keys(const struct gguf *g, struct gguf_writer *w, const struct edits *all)
{
    struct err e;
    for (size_t i = 0; i < gguf_n_kv(g); i++) {
        const struct gguf_kv *kv = gguf_kv_at(g, i);
        if (kv->key.len == 21 && !memcmp(kv->key.s, "tokenizer.ggml.tokens", 21))
            put_pieces(w, kv, all);
        else if (!edits_find(all, NULL, kv->key))
            ok(gguf_put_kv(w, kv, &e));
    }
    for (int i = 0; i < all->n; i++)
        if (strcmp(all->e[i].what, "bias") != 0 && strcmp(all->e[i].what, "nan") != 0 &&
            strcmp(all->e[i].what, "piece") != 0)
            put_key(w, &all->e[i]);
}

/* Declares one bias, or one of each layer; with `data` writes their data instead. */
static void put_bias(struct gguf_writer *w, const struct edit *c, int n_layer, bool data)
{
    struct err e;
    bool once = !strcmp(c->name, "output");
    int64_t n = strtol(c->value, NULL, 10);
    for (int l = 0; l < (once ? 1 : n_layer); l++) {
        char name[128];
        snprintf(name, sizeof name, "blk.%d.%s%s", l, c->name,
                 strstr(c->name, ".weight") ? "" : ".bias");
        if (!data)
            ok(gguf_put_tensor(w, once ? "output.bias" : name, FMT_F32, 1, &n, &e));
        for (int64_t i = 0; data && i < n; i++) {
            float v = (float)((7 * i + 3 * l) % 11 - 5) / 16;
            ok(gguf_put_data(w, &v, sizeof v, &e));
        }
    }
}

static void put_tensor_data(struct gguf_writer *w, const struct gguf_tensor *t,
                            const struct edit *nan)
{
    struct err e;
    if (!nan) {
        ok(gguf_put_data(w, t->t.data, t->bytes, &e));
        return;
    }
    char *end;
    size_t at = 4 * (size_t)strtoul(nan->value, &end, 10);
    float v = *end ? strtof(end, NULL) : NAN;
    assert_true(at + 4 <= t->bytes);
    ok(gguf_put_data(w, t->t.data, at, &e));
    ok(gguf_put_data(w, &v, 4, &e));
    ok(gguf_put_data(w, (const char *)t->t.data + at + 4, t->bytes - at - 4, &e));
}

static void put_tensors(const struct gguf *g, struct gguf_writer *w, const struct edits *all)
{
    struct err e;
    int64_t n_layer;
    struct gguf_str arch;
    char key[96];
    ok(gguf_get_str(g, "general.architecture", &arch, &e));
    snprintf(key, sizeof key, "%.*s.block_count", (int)arch.len, arch.s);
    ok(gguf_get_int(g, key, 1, 1000, &n_layer, &e));
    for (int data = 0; data < 2; data++) {
        for (size_t i = 0; i < gguf_n_tensors(g); i++) {
            const struct gguf_tensor *t = gguf_tensor_at(g, i);
            char name[65];
            snprintf(name, sizeof name, "%.*s", (int)t->name.len, t->name.s);
            if (data)
                put_tensor_data(w, t, edits_find(all, "nan", t->name));
            else
                ok(gguf_put_tensor(w, name, t->t.fmt, t->t.n_dim, t->t.dim, &e));
        }
        for (int i = 0; i < all->n; i++)
            if (!strcmp(all->e[i].what, "bias"))
                put_bias(w, &all->e[i], (int)n_layer, data);
    }
}

void gguf_edit(const char *from, const char *to, const char *changes)
{
    struct err e;
    struct gguf *g;
    struct gguf_writer *w;
    ok(gguf_open(from, &g, &e));
    struct edits all = edits_read(g, changes);
    ok(gguf_writer_open(to, &w, &e));
    put_keys(g, w, &all);
    put_tensors(g, w, &all);
    ok(gguf_writer_finish(w, &e));
    gguf_close(g);
}
