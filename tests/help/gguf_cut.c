#include "gguf_cut.h"

#include <sys/stat.h>

#include "gguf_make.h"
#include "test.h"

static void put_u16(struct gguf_make *m, const char *key, int value)
{
    uint16_t v = (uint16_t)value;
    make_kv(m, key, GGUF_U16, &v, sizeof v);
}

static void put_keys(struct gguf_make *m, const struct gguf *g)
{
    struct err e;
    for (size_t i = 0; i < gguf_n_kv(g); i++) {
        const struct gguf_kv *kv = gguf_kv_at(g, i);
        size_t n = (size_t)kv->count * gguf_type_bytes(kv->elem);
        struct str value = STR_INIT, key = STR_INIT;
        str_add(&key, kv->key.s, kv->key.len);
        if (kv->type == GGUF_ARRAY) {
            make_u32(&value, kv->elem);
            make_u64(&value, kv->count);
        }
        for (size_t k = 0; kv->elem == GGUF_STRING && kv->type == GGUF_ARRAY && k < kv->count; k++)
            make_str(&value, kv->strings[k].s, kv->strings[k].len);
        if (kv->type == GGUF_STRING) {
            struct gguf_str s;
            ok(gguf_get_str(g, key.s, &s, &e));
            make_str(&value, s.s, s.len);
        } else if (kv->elem != GGUF_STRING) {
            str_add(&value, kv->raw, n);
        }
        make_kv(m, key.s, kv->type, value.s, value.len);
        str_free(&value);
        str_free(&key);
    }
}

static void put_tensor(struct gguf_make *m, const struct gguf_tensor *t)
{
    uint64_t ne[4];
    struct str name = STR_INIT;
    for (int i = 0; i < t->t.n_dim; i++)
        ne[i] = (uint64_t)t->t.dim[t->t.n_dim - 1 - i];
    while (m->data.len % m->align)
        str_addc(&m->data, 0);
    str_add(&name, t->name.s, t->name.len);
    make_row(m, name.s, (uint32_t)t->t.n_dim, ne, fmt_info(t->t.fmt)->gguf_id, m->data.len);
    str_add(&m->data, t->t.data, (size_t)t->bytes);
    str_free(&name);
}

void gguf_cut(const char *from, const char *prefix, int n, const struct gguf_cut *fault)
{
    struct gguf *g;
    struct err e;
    static const struct gguf_cut none = {.part = -1};
    fault = fault ? fault : &none;
    ok(gguf_open(from, &g, &e));
    int all = (int)gguf_n_tensors(g), empty = fault->first_is_metadata;
    for (int p = 0, at = 0; p < n; p++) {
        struct gguf_make m;
        char path[512];
        bool bad = fault->part == p;
        int upto = empty ? all * p / (n - 1) : all * (p + 1) / n;
        int32_t total = all + (p == 0 ? fault->tensors : 0);
        make_init(&m);
        if (p == 0)
            put_keys(&m, g);
        put_u16(&m, "split.no", p + (bad ? fault->no : 0));
        put_u16(&m, "split.count", n + (bad ? fault->count : 0));
        make_kv(&m, "split.tensors.count", GGUF_I32, &total, sizeof total);
        for (; at < upto; at++)
            put_tensor(&m, gguf_tensor_at(g, (size_t)at));
        if (bad && fault->twice)
            put_tensor(&m, gguf_tensor_find(g, fault->twice));
        snprintf(path, sizeof path, "%s-%05d-of-%05d.gguf", prefix, p + 1, n);
        make_save(&m, path);
        make_free(&m);
    }
    gguf_close(g);
}
