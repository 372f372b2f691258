#include "shape.h"

#include <string.h>

#include "check.h"
#include "source.h"
#include "str.h"

struct shape_row {
    const char *name, *arch;
    int n_layer, n_embd, n_ff, n_head, n_kv_head, head_dim, n_ctx, n_vocab;
    bool tied;
    float theta, eps;
    int window;
};

static const struct shape_row shapes[] = {
#define X(name, arch, layers, embd, ff, head, kv, dim, ctx, vocab, tied, theta, eps, window)       \
    {name, arch, layers, embd, ff, head, kv, dim, ctx, vocab, tied, theta, eps, window},
#include "shapes.def"
#undef X
};

enum { N_SHAPE = sizeof shapes / sizeof *shapes };

static struct shape shape_of(const struct shape_row *r)
{
    const struct arch *arch = model_arch_find(r->arch, strlen(r->arch));
    CHECK(arch);
    return (struct shape){.name = r->name,
                          .arch = arch,
                          .tied = r->tied,
                          .hp = {.n_layer = r->n_layer,
                                 .n_embd = r->n_embd,
                                 .n_head = r->n_head,
                                 .n_kv_head = r->n_kv_head,
                                 .head_dim = r->head_dim,
                                 .n_ff = r->n_ff,
                                 .n_vocab = r->n_vocab,
                                 .n_ctx_train = r->n_ctx,
                                 .eps = r->eps,
                                 .window = r->window,
                                 .window_period = arch->window_period,
                                 .rotary = {.n_rot = r->head_dim, .theta = r->theta}}};
}

bool shape_find(const char *name, struct shape *out)
{
    for (int i = 0; i < N_SHAPE; i++)
        if (!strcmp(shapes[i].name, name)) {
            *out = shape_of(&shapes[i]);
            return true;
        }
    return false;
}

int shape_unknown(const char *option, const char *name, struct err *e)
{
    struct str all = STR_INIT;
    for (int i = 0; i < N_SHAPE; i++)
        str_addf(&all, "%s%s", i ? ", " : "", shapes[i].name);
    err_set(e, ERR_USAGE, "unknown %s '%s'; known: %s", option, name, all.s ? all.s : "");
    str_free(&all);
    return ERR_USAGE;
}

int sketch_shape(const struct shape *shape, enum mixture mix, struct sketch *out, struct err *e)
{
    struct sketch s = {.file = NULL};
    TRY(model_outline(shape->arch, &shape->hp, shape->tied, mix, &s.m, e));
    *out = s;
    return 0;
}

/* The vocabulary's size comes from the embedding: tokens are not looked at. */
static int sketch_model(struct sketch *s, struct err *e)
{
    const struct gguf_tensor *embd = gguf_tensor_find(s->file, "token_embd.weight");
    if (!embd)
        FAIL(e, ERR_DATA, "%s: holds no token_embd.weight; a model is needed", gguf_path(s->file));
    const int64_t n = tensor_rows(&embd->t);
    if (n > INT32_MAX)
        FAIL(e, ERR_DATA, "%s: token_embd.weight has %lld rows: must be at most %d",
             gguf_path(s->file), (long long)n, INT32_MAX);
    return model_init(s->file, (int)n, &s->m, e);
}

int sketch_file(const char *path, struct sketch *out, struct err *e)
{
    struct sketch s = {.file = NULL};
    TRY(source_open(path, &s.file, e));
    const int rc = sketch_model(&s, e);
    if (rc < 0)
        gguf_close(s.file);
    else
        *out = s;
    return rc;
}

void sketch_close(struct sketch *s)
{
    model_free(&s->m);
    gguf_close(s->file);
    *s = (struct sketch){.file = NULL};
}
