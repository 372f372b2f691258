#include "gguf_make.h"

#include "test.h"

void make_init(struct gguf_make *m)
{
    *m = (struct gguf_make){
        .version = 3, .align = 32, .kv = STR_INIT, .table = STR_INIT, .data = STR_INIT};
}

void make_free(struct gguf_make *m)
{
    str_free(&m->kv);
    str_free(&m->table);
    str_free(&m->data);
}

void make_u32(struct str *b, uint32_t v)
{
    str_add(b, &v, sizeof v);
}

void make_u64(struct str *b, uint64_t v)
{
    str_add(b, &v, sizeof v);
}

void make_str(struct str *b, const char *s, size_t n)
{
    make_u64(b, n);
    str_add(b, s, n);
}

void make_kv(struct gguf_make *m, const char *key, uint32_t type, const void *payload, size_t n)
{
    make_str(&m->kv, key, strlen(key));
    make_u32(&m->kv, type);
    str_add(&m->kv, payload, n);
    m->n_kv++;
}

void make_kv_u32(struct gguf_make *m, const char *key, uint32_t v)
{
    make_kv(m, key, GGUF_U32, &v, sizeof v);
}

void make_kv_str(struct gguf_make *m, const char *key, const char *s)
{
    struct str b = STR_INIT;
    make_str(&b, s, strlen(s));
    make_kv(m, key, GGUF_STRING, b.s, b.len);
    str_free(&b);
}

void make_kv_array(struct gguf_make *m, const char *key, uint32_t elem, uint64_t count,
                   const void *payload, size_t n)
{
    struct str b = STR_INIT;
    make_u32(&b, elem);
    make_u64(&b, count);
    str_add(&b, payload, n);
    make_kv(m, key, GGUF_ARRAY, b.s, b.len);
    str_free(&b);
}

void make_row(struct gguf_make *m, const char *name, uint32_t n_dim, const uint64_t *ne,
              uint32_t type, uint64_t offset)
{
    make_str(&m->table, name, strlen(name));
    make_u32(&m->table, n_dim);
    for (uint32_t i = 0; i < n_dim; i++)
        make_u64(&m->table, ne[i]);
    make_u32(&m->table, type);
    make_u64(&m->table, offset);
    m->n_tensor++;
}

void make_tensor(struct gguf_make *m, const char *name, uint32_t n_dim, const uint64_t *ne,
                 enum fmt fmt)
{
    const struct fmt_info *f = fmt_info(fmt);
    size_t bytes = (size_t)ne[0] / (size_t)f->block_elems * f->block_bytes;
    for (uint32_t i = 1; i < n_dim; i++)
        bytes *= (size_t)ne[i];
    while (m->data.len % m->align)
        str_addc(&m->data, 0);
    make_row(m, name, n_dim, ne, f->gguf_id, m->data.len);
    for (size_t i = 0; i < bytes; i++)
        str_addc(&m->data, (char)(i + 1));
}

unsigned char *make_file(const struct gguf_make *m, size_t *n)
{
    struct str b = STR_INIT;
    str_adds(&b, "GGUF");
    make_u32(&b, m->version);
    make_u64(&b, m->n_tensor);
    make_u64(&b, m->n_kv);
    str_add(&b, m->kv.s, m->kv.len);
    str_add(&b, m->table.s, m->table.len);
    while (m->data.len && b.len % m->align)
        str_addc(&b, 0);
    str_add(&b, m->data.s, m->data.len);
    unsigned char *p = malloc(b.len); /* exact, so that ASan sees one byte too many */
    assert_non_null(p);
    memcpy(p, b.s, b.len);
    *n = b.len;
    str_free(&b);
    return p;
}

void make_save(const struct gguf_make *m, const char *path)
{
    size_t n;
    unsigned char *p = make_file(m, &n);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    free(p);
}

void make_tiny(struct gguf_make *m, uint32_t version)
{
    static const float f32 = 0.5f;
    static const double f64 = 1e-5;
    static const int64_t i64 = -5;
    static const uint64_t u64 = UINT64_MAX;
    static const int32_t ids[3] = {1, -2, 3};
    make_init(m);
    m->version = version;
    make_kv_str(m, "general.architecture", "llama");
    make_kv_str(m, "general.name", "tiny \x1b[31m");
    make_kv_u32(m, "general.alignment", 32);
    make_kv(m, "t.f32", GGUF_F32, &f32, sizeof f32);
    make_kv(m, "t.f64", GGUF_F64, &f64, sizeof f64);
    make_kv(m, "t.i64", GGUF_I64, &i64, sizeof i64);
    make_kv(m, "t.u64", GGUF_U64, &u64, sizeof u64);
    make_kv(m, "t.u8", GGUF_U8, "\xff", 1);
    make_kv(m, "t.i8", GGUF_I8, "\xff", 1);
    make_kv(m, "t.bool", GGUF_BOOL, "\1", 1);
    make_kv_array(m, "t.ids", GGUF_I32, 3, ids, sizeof ids);
    make_kv_array(m, "t.flags", GGUF_BOOL, 2, "\0\1", 2);
    struct str b = STR_INIT;
    make_str(&b, "a\0b", 3);
    make_str(&b, "", 0);
    make_kv_array(m, "t.words", GGUF_STRING, 2, b.s, b.len);
    str_free(&b);
    make_tensor(m, "norm", 1, (uint64_t[]){5}, FMT_F32);
    make_tensor(m, "up", 2, (uint64_t[]){64, 3}, FMT_Q8_0);
    make_tensor(m, "down", 4, (uint64_t[]){2, 3, 4, 1}, FMT_F16);
}
