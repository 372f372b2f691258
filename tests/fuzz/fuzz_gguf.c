/* Any bytes as a model file: the reader refuses it, or all its views lie inside the bytes. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "gguf.h"
#include "mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned touch(const void *p, size_t n) /* first, middle and last byte: ASan checks them */
{
    const volatile unsigned char *b = p;
    return n ? (unsigned)b[0] + b[n / 2] + b[n - 1] : 0;
}

static unsigned walk_kv(const struct gguf *g, const struct gguf_kv *kv)
{
    unsigned sum = touch(kv->key.s, kv->key.len);
    char *key = mem_strndup(kv->key.s, kv->key.len);
    if (!key)
        return sum;
    if (strlen(key) == kv->key.len)
        CHECK(gguf_find(g, key) == kv);
    int64_t i;
    float f;
    bool b;
    struct gguf_str s;
    if (gguf_get_int(g, key, -5, 1000, &i, NULL) == 0)
        CHECK(i >= -5 && i <= 1000);
    if (gguf_get_f32_or(g, key, 0, 1, 0, &f, NULL) == 0)
        CHECK(f >= 0 && f <= 1);
    if (gguf_get_bool_or(g, key, false, &b, NULL) == 0)
        sum += b;
    if (gguf_get_str(g, key, &s, NULL) == 0)
        sum += touch(s.s, s.len);
    mem_free(key);
    for (uint64_t k = 0; kv->strings && k < kv->count; k++)
        sum += touch(kv->strings[k].s, kv->strings[k].len);
    return sum + touch(kv->raw, (size_t)kv->count * gguf_type_bytes(kv->elem));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gguf *g;
    struct err e;
    volatile unsigned sum = 0;
    int rc = gguf_open_memory(data, size, "fuzz", &g, &e);
    if (rc < 0) {
        CHECK((rc == ERR_DATA || rc == ERR_NOMEM) && e.code == rc && strstr(e.msg, "fuzz"));
        return 0;
    }
    for (size_t i = 0; i < gguf_n_kv(g); i++)
        sum += walk_kv(g, gguf_kv_at(g, i));
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        CHECK(tensor_bytes(&t->t) == t->bytes && t->at <= size && t->bytes <= size - t->at);
        sum += touch(t->name.s, t->name.len) + touch(t->t.data, (size_t)t->bytes);
    }
    gguf_close(g);
    return 0;
}
