#include "sizes.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "mem.h"

static const struct shape {
    const char *name;
    int n_layer;
    int64_t n_embd, n_ff;
    int n_head, n_kv_head, n_ctx;
    int64_t n_vocab;
    bool tied;
} shapes[] = {
#define X(name, layers, embd, ff, head, kv, ctx, vocab, tied)                                      \
    {name, layers, embd, ff, head, kv, ctx, vocab, tied},
#include "shapes.def"
#undef X
};

enum { N_SHAPE = sizeof shapes / sizeof *shapes };

const char *const *sizes_shapes(void)
{
    static const char *const names[] = {
#define X(name, layers, embd, ff, head, kv, ctx, vocab, tied) name,
#include "shapes.def"
#undef X
        NULL};
    return names;
}

static int sizes_init(struct model_sizes *s, int n_layer, struct err *e)
{
    *s = (struct model_sizes){.n_layer = n_layer};
    s->attn = mem_zalloc(2 * (size_t)n_layer + 1, sizeof *s->attn);
    if (!s->attn)
        return NOMEM(e, (2 * (size_t)n_layer + 1) * sizeof *s->attn, "sizes of a model");
    s->ffn = s->attn + n_layer;
    return 0;
}

void sizes_free(struct model_sizes *s)
{
    mem_free(s->attn);
    *s = (struct model_sizes){0};
}

/* Counts a tensor by its name; tensors of other names belong to no part. */
static void sizes_add(struct model_sizes *s, const char *name, uint64_t bytes, int64_t elements)
{
    int layer = -1, at = 0;
    s->n_params += elements;
    s->total += bytes;
    if (sscanf(name, "blk.%d.%n", &layer, &at) == 1 && at && layer >= 0 && layer < s->n_layer)
        *(strncmp(name + at, "ffn_", 4) ? &s->attn[layer] : &s->ffn[layer]) += bytes;
    else if (!strncmp(name, "output", 6))
        s->output += bytes;
    else
        s->embed += bytes;
}

/* ---- of a file ------------------------------------------------------------------------------- */

static int file_int(const struct gguf *g, const char *arch, const char *key, int64_t dflt,
                    int64_t *out, struct err *e)
{
    char name[160];
    snprintf(name, sizeof name, "%s.%s", arch, key);
    return dflt < 0 ? gguf_get_int(g, name, 1, INT32_MAX, out, e)
                    : gguf_get_int_or(g, name, 1, INT32_MAX, dflt, out, e);
}

/* Like file_int, for a key that may hold one value for each layer. */
static int file_int_each(const struct gguf *g, const char *arch, const char *key, int64_t n_layer,
                         int64_t dflt, int64_t *out, struct err *e)
{
    char name[160];
    snprintf(name, sizeof name, "%s.%s", arch, key);
    if (dflt >= 0 && !gguf_find(g, name)) {
        *out = dflt;
        return 0;
    }
    return gguf_get_int_each(g, name, (uint64_t)n_layer, 1, INT32_MAX, out, e);
}

static int file_shape(const struct gguf *g, struct model_sizes *s, struct err *e)
{
    struct gguf_str arch_text;
    char arch[64];
    int64_t n_layer, n_embd, n_head, n_kv, head_dim;
    TRY(gguf_get_str(g, "general.architecture", &arch_text, e));
    snprintf(arch, sizeof arch, "%.*s", (int)(arch_text.len < 60 ? arch_text.len : 60),
             arch_text.s);
    TRY(file_int(g, arch, "block_count", -1, &n_layer, e));
    TRY(file_int(g, arch, "embedding_length", -1, &n_embd, e));
    TRY(file_int_each(g, arch, "attention.head_count", n_layer, -1, &n_head, e));
    TRY(file_int_each(g, arch, "attention.head_count_kv", n_layer, n_head, &n_kv, e));
    TRY(file_int(g, arch, "attention.key_length", n_embd / n_head ? n_embd / n_head : 1, &head_dim,
                 e));
    if (n_layer > 10000 || n_kv > 65536 || head_dim > 65536)
        FAIL(e, ERR_DATA,
             "%s: %" PRId64 " layers with %" PRId64 " heads of %" PRId64 " are no model",
             gguf_path(g), n_layer, n_kv, head_dim);
    TRY(sizes_init(s, (int)n_layer, e));
    s->n_embd = (int)n_embd;
    s->head_dim = (int)head_dim;
    s->kv_row = n_kv * head_dim;
    return file_int_each(g, arch, "feed_forward_length", n_layer, 0, &s->n_ff, e);
}

int sizes_of_file(const struct gguf *g, struct model_sizes *out, struct err *e)
{
    TRY(file_shape(g, out, e));
    const struct gguf_tensor *embd = gguf_tensor_find(g, "token_embd.weight");
    bool own = gguf_tensor_find(g, "output.weight") != NULL;
    if (!embd || !out->n_layer) {
        sizes_free(out);
        FAIL(e, ERR_DATA, "%s: holds no token_embd.weight; a model is needed", gguf_path(g));
    }
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        char name[80];
        int64_t n = 1;
        snprintf(name, sizeof name, "%.*s", (int)t->name.len, t->name.s);
        for (int d = 0; d < t->t.n_dim; d++)
            n *= t->t.dim[d];
        sizes_add(out, name, t->bytes, n);
    }
    out->n_vocab = tensor_rows(&embd->t);
    if (!own) {
        out->tied = embd->bytes;
        out->output += embd->bytes;
    }
    return 0;
}

/* ---- of a shape ------------------------------------------------------------------------------ */

static void shape_tensor(struct model_sizes *s, const struct shape *sh, enum mixture m,
                         const char *name, int n_dim, int64_t rows, int64_t cols)
{
    const struct mixture_model mm = {sh->n_layer, sh->n_head, sh->n_kv_head, sh->tied};
    const int64_t dim[2] = {n_dim == 1 ? cols : rows, cols};
    bool fell_back;
    size_t row = 0;
    enum fmt f = mixture_choose(m, &mm, name, n_dim, dim, &fell_back);
    (void)fmt_row_bytes(f, cols, &row); /* shapes.def has whole blocks */
    sizes_add(s, name, (uint64_t)rows * row, rows * cols);
}

static void shape_layer(struct model_sizes *s, const struct shape *sh, enum mixture m, int l)
{
    const struct {
        const char *name;
        int n_dim;
        int64_t rows, cols;
    } t[] = {
        {"attn_norm", 1, 1, sh->n_embd},
        {"attn_q", 2, sh->n_embd, sh->n_embd},
        {"attn_k", 2, s->kv_row, sh->n_embd},
        {"attn_v", 2, s->kv_row, sh->n_embd},
        {"attn_output", 2, sh->n_embd, sh->n_embd},
        {"ffn_norm", 1, 1, sh->n_embd},
        {"ffn_gate", 2, sh->n_ff, sh->n_embd},
        {"ffn_up", 2, sh->n_ff, sh->n_embd},
        {"ffn_down", 2, sh->n_embd, sh->n_ff},
    };
    char name[64];
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        snprintf(name, sizeof name, "blk.%d.%s.weight", l, t[i].name);
        shape_tensor(s, sh, m, name, t[i].n_dim, t[i].rows, t[i].cols);
    }
}

bool sizes_of_shape(const char *name, enum mixture m, struct model_sizes *out, int *rc,
                    struct err *e)
{
    const struct shape *sh = NULL;
    for (int i = 0; i < N_SHAPE; i++)
        if (!strcmp(shapes[i].name, name))
            sh = &shapes[i];
    *rc = 0;
    if (!sh)
        return false;
    *rc = sizes_init(out, sh->n_layer, e);
    if (*rc < 0)
        return true;
    out->n_embd = (int)sh->n_embd;
    out->n_ff = sh->n_ff;
    out->n_vocab = sh->n_vocab;
    out->head_dim = (int)(sh->n_embd / sh->n_head);
    out->kv_row = (int64_t)sh->n_kv_head * out->head_dim;
    shape_tensor(out, sh, m, "token_embd.weight", 2, sh->n_vocab, sh->n_embd);
    uint64_t embd = out->embed;
    for (int l = 0; l < sh->n_layer; l++)
        shape_layer(out, sh, m, l);
    shape_tensor(out, sh, m, "output_norm.weight", 1, 1, sh->n_embd);
    if (sh->tied) {
        out->tied = embd;
        out->output += embd;
    } else {
        shape_tensor(out, sh, m, "output.weight", 2, sh->n_vocab, sh->n_embd);
    }
    return true;
}
