/* Splitting the fused tensors of a file changes no bit of its logits, in each format, on each
 * backend. */
#include "gguf_write.h"
#include "test.h"

#define FUSED TEST_GOLDEN "/logits_phi3.gguf"

enum { N_PART = 3, Q_ROWS = 32, KV_ROWS = 16, FF_ROWS = 40 }; /* of that file */

static const struct fusion {
    const char *fused;
    struct {
        const char *name;
        int64_t rows;
    } part[N_PART];
} fusions[] = {
    {".attn_qkv.weight",
     {{"attn_q.weight", Q_ROWS}, {"attn_k.weight", KV_ROWS}, {"attn_v.weight", KV_ROWS}}},
    {".ffn_up.weight", {{"ffn_gate.weight", FF_ROWS}, {"ffn_up.weight", FF_ROWS}}},
};

static char dir[256];

static const struct fusion *fusion_of(const char *name)
{
    for (size_t i = 0; i < sizeof fusions / sizeof *fusions; i++) {
        const char *end = strstr(name, fusions[i].fused);
        if (end && !end[strlen(fusions[i].fused)])
            return &fusions[i];
    }
    return NULL;
}

/* Declares the parts of one tensor, or writes their data. */
static void put_parts(struct gguf_writer *w, const struct gguf_tensor *t, const char *name,
                      const struct fusion *f, bool data)
{
    struct err e;
    const unsigned char *at = t->t.data;
    for (int i = 0; i < N_PART && f->part[i].name; i++) {
        char part[96];
        const int64_t dim[2] = {f->part[i].rows, t->t.dim[1]};
        const size_t bytes = (size_t)dim[0] * t->t.row_bytes;
        snprintf(part, sizeof part, "%.*s.%s", (int)(strstr(name, f->fused) - name), name,
                 f->part[i].name);
        if (data)
            ok(gguf_put_data(w, at, bytes, &e));
        else
            ok(gguf_put_tensor(w, part, t->t.fmt, 2, dim, &e));
        at += bytes;
    }
    assert_ptr_equal(at, (const unsigned char *)t->t.data + t->bytes);
}

/* Copies `from` to `to` with its fused tensors apart. */
static void split(const char *from, const char *to)
{
    struct err e;
    struct gguf *g;
    struct gguf_writer *w;
    ok(gguf_open(from, &g, &e));
    ok(gguf_writer_open(to, &w, &e));
    for (size_t i = 0; i < gguf_n_kv(g); i++)
        ok(gguf_put_kv(w, gguf_kv_at(g, i), &e));
    for (int data = 0; data < 2; data++)
        for (size_t i = 0; i < gguf_n_tensors(g); i++) {
            const struct gguf_tensor *t = gguf_tensor_at(g, i);
            char name[65];
            snprintf(name, sizeof name, "%.*s", (int)t->name.len, t->name.s);
            const struct fusion *f = fusion_of(name);
            if (f)
                put_parts(w, t, name, f, data);
            else if (data)
                ok(gguf_put_data(w, t->t.data, t->bytes, &e));
            else
                ok(gguf_put_tensor(w, name, t->t.fmt, t->t.n_dim, t->t.dim, &e));
        }
    ok(gguf_writer_finish(w, &e));
    gguf_close(g);
}

static char *logits_of(const char *model, const char *how, size_t *n)
{
    struct str out = STR_INIT;
    char path[300];
    snprintf(path, sizeof path, "%s/logits", dir);
    if (test_run(&out,
                 "'%s' perplexity -m '%s' %s -p 'The patient has had a cough and a fever for three "
                 "days.' --ctx 32 --quiet --logits-out '%s'",
                 getenv("MAS"), model, how, path))
        fail_msg("%s: %s", how, out.s);
    str_free(&out);
    return test_read(path, n);
}

static void fused_and_split_tensors_have_the_same_logits(void **state)
{
    (void)state;
    static const char *const types[] = {"F32", "F16", "Q8_0", "Q4_0"};
    static const char *const hows[] = {"--backend ref", "--backend cpu",
                                       "--backend cpu --map-weights", "--backend cudahost"};
    char fused[300], apart[300];
    if (!getenv("MAS"))
        skip();
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        struct str out = STR_INIT;
        snprintf(fused, sizeof fused, "%s/fused.gguf", dir);
        snprintf(apart, sizeof apart, "%s/apart.gguf", dir);
        if (test_run(&out, "'%s' quantize --quiet '%s' '%s' %s", getenv("MAS"), FUSED, fused,
                     types[t]))
            fail_msg("%s", out.s);
        str_free(&out);
        split(fused, apart);
        for (size_t h = 0; h < sizeof hows / sizeof *hows; h++) {
            if (strstr(hows[h], "cudahost") && !test_backend("cudahost"))
                continue;
            size_t n, m;
            char *a = logits_of(fused, hows[h], &n), *b = logits_of(apart, hows[h], &m);
            assert_true(n == m && n > 1000);
            if (memcmp(a, b, n) != 0)
                fail_msg("%s, %s: other logits with fused tensors", types[t], hows[h]);
            free(a);
            free(b);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fused_and_split_tensors_have_the_same_logits),
    };
    test_mkdir(dir);
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    test_rmdir(dir);
    return rc;
}
