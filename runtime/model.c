#include "model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "mem.h"

static const struct arch archs[] = {
#define X(ENUM, name, rope, flags) {name, rope, flags},
#include "arch.def"
#undef X
};

static int model_arch(const struct gguf *g, const struct arch **out, struct err *e)
{
    struct gguf_str name;
    TRY(gguf_get_str(g, "general.architecture", &name, e));
    char known[256] = "";
    for (size_t i = 0; i < sizeof archs / sizeof archs[0]; i++) {
        if (strlen(archs[i].name) == name.len && !memcmp(archs[i].name, name.s, name.len)) {
            *out = &archs[i];
            return 0;
        }
        size_t at = strlen(known);
        snprintf(known + at, sizeof known - at, "%s%s", at ? ", " : "", archs[i].name);
    }
    FAIL(e, ERR_DATA, "%s: architecture '%.*s' is not supported; supported: %s", gguf_path(g),
         (int)(name.len < 64 ? name.len : 64), name.s, known);
}

/* "<arch>.<key>" as an int in [lo, hi]; absent: dflt, or an error when dflt is -1. */
static int model_int(const struct gguf *g, const struct arch *a, const char *key, int64_t lo,
                     int64_t hi, int64_t dflt, int *out, struct err *e)
{
    char full[96];
    int64_t v;
    snprintf(full, sizeof full, "%s.%s", a->name, key);
    if (dflt < 0)
        TRY(gguf_get_int(g, full, lo, hi, &v, e));
    else
        TRY(gguf_get_int_or(g, full, lo, hi, dflt, &v, e));
    *out = (int)v;
    return 0;
}

static int model_f32(const struct gguf *g, const struct arch *a, const char *key, double lo,
                     double hi, float dflt, float *out, struct err *e)
{
    char full[96];
    snprintf(full, sizeof full, "%s.%s", a->name, key);
    return gguf_get_f32_or(g, full, lo, hi, dflt, out, e);
}

static bool model_has(const struct gguf *g, const struct arch *a, const char *key)
{
    char full[96];
    snprintf(full, sizeof full, "%s.%s", a->name, key);
    return gguf_find(g, full) != NULL;
}

/* Linear scaling is understood; Llama 3.1's own scaling arrives as rope_freqs.weight. */
static int model_rope_scaling(const struct gguf *g, const struct arch *a, struct hparams *hp,
                              struct err *e)
{
    char full[96];
    hp->rope_scale = 1;
    snprintf(full, sizeof full, "%s.rope.scaling.type", a->name);
    if (!gguf_find(g, full))
        return 0;
    struct gguf_str type;
    TRY(gguf_get_str(g, full, &type, e));
    if (type.len == 4 && !memcmp(type.s, "none", 4))
        return 0;
    if (type.len == 6 && !memcmp(type.s, "linear", 6))
        return model_f32(g, a, "rope.scaling.factor", 0.001, 1e6, 1, &hp->rope_scale, e);
    FAIL(e, ERR_DATA, "%s: %s is '%.*s'; supported: none, linear", gguf_path(g), full,
         (int)(type.len < 64 ? type.len : 64), type.s);
}

static int model_hparams(const struct gguf *g, const struct arch *a, int n_vocab,
                         struct hparams *hp, struct err *e)
{
    hp->n_vocab = n_vocab;
    TRY(model_int(g, a, "block_count", 1, 1000, -1, &hp->n_layer, e));
    TRY(model_int(g, a, "embedding_length", 1, 1 << 20, -1, &hp->n_embd, e));
    TRY(model_int(g, a, "feed_forward_length", 1, 1 << 22, -1, &hp->n_ff, e));
    TRY(model_int(g, a, "context_length", 1, 1 << 26, -1, &hp->n_ctx_train, e));
    TRY(model_int(g, a, "attention.head_count", 1, 4096, -1, &hp->n_head, e));
    TRY(model_int(g, a, "attention.head_count_kv", 1, 4096, hp->n_head, &hp->n_kv_head, e));
    if (hp->n_head % hp->n_kv_head)
        FAIL(e, ERR_DATA, "%s: %d query heads cannot share %d KV heads: must divide evenly",
             gguf_path(g), hp->n_head, hp->n_kv_head);
    if (hp->n_embd % hp->n_head && !model_has(g, a, "attention.key_length"))
        FAIL(e, ERR_DATA, "%s: embedding length %d does not divide into %d heads", gguf_path(g),
             hp->n_embd, hp->n_head);
    int value_dim;
    TRY(model_int(g, a, "attention.key_length", 2, 1024, hp->n_embd / hp->n_head, &hp->head_dim, e));
    TRY(model_int(g, a, "attention.value_length", 2, 1024, hp->head_dim, &value_dim, e));
    if (value_dim != hp->head_dim)
        FAIL(e, ERR_DATA, "%s: key length %d and value length %d differ, which is not supported",
             gguf_path(g), hp->head_dim, value_dim);
    TRY(model_int(g, a, "rope.dimension_count", 2, hp->head_dim, hp->head_dim, &hp->n_rot, e));
    if (hp->n_rot % 2 || hp->head_dim % 2)
        FAIL(e, ERR_DATA, "%s: head size %d and rotary dimensions %d must be even", gguf_path(g),
             hp->head_dim, hp->n_rot);
    TRY(model_f32(g, a, "attention.layer_norm_rms_epsilon", 1e-12, 1, 1e-5f, &hp->eps, e));
    TRY(model_f32(g, a, "rope.freq_base", 1, 1e12, 10000, &hp->rope_theta, e));
    return model_rope_scaling(g, a, hp, e);
}

static int model_bind(const struct gguf *g, struct model *m, struct err *e)
{
    const struct hparams *hp = &m->hp;
    unsigned flags = m->arch->flags;
    struct weight_slot slots[SLOT_COUNT] = {
#define X(NAME, text, in, when, opt, f32, nd, d0, d1)                                             \
    [SLOT_##NAME] = {.name = (text),                                                              \
                     .part = PART_##in,                                                           \
                     .optional = (opt) || ((when) && !(flags & (when))),                          \
                     .f32_only = (f32),                                                           \
                     .n_dim = (nd),                                                               \
                     .dim = {(d0), (d1), 1, 1}},
#include "slots.def"
#undef X
    };
    slots[SLOT_OUTPUT].or_name = slots[SLOT_TOKEN_EMBD].name; /* tied */
    return weights_bind(g, slots, SLOT_COUNT, hp->n_layer, &m->w, e);
}

static int model_freqs(struct model *m, struct err *e)
{
    int n = m->hp.n_rot / 2;
    m->inv_freq = mem_zalloc((size_t)n, sizeof *m->inv_freq);
    if (!m->inv_freq)
        return NOMEM(e, (size_t)n * sizeof *m->inv_freq, "rotary frequencies");
    const struct tensor *factors = weights_get(&m->w, SLOT_ROPE_FREQS, 0);
    for (int i = 0; i < n; i++) {
        double f = pow((double)m->hp.rope_theta, -2.0 * i / m->hp.n_rot) / (double)m->hp.rope_scale;
        float factor = 1;
        if (factors->data)
            memcpy(&factor, (const char *)factors->data + (size_t)i * sizeof factor, sizeof factor);
        if (!(factor > 0 && factor < 1e9f))
            FAIL(e, ERR_DATA, "rope_freqs.weight element %d is %g; must be positive", i,
                 (double)factor);
        m->inv_freq[i] = (float)(f / (double)factor);
    }
    return 0;
}

/* A tensor that no slot uses would be silently left out of the computation: refuse the file. */
static int model_all_used(const struct gguf *g, const struct model *m, struct err *e)
{
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        bool used = false;
        for (int s = 0; s < SLOT_COUNT && !used; s++)
            for (int l = 0; l < m->hp.n_layer && !used; l++)
                used = weights_get(&m->w, s, l)->data == t->t.data;
        if (!used)
            FAIL(e, ERR_DATA, "%s: tensor '%.*s' has no place in architecture %s with %d layers",
                 gguf_path(g), (int)t->name.len, t->name.s, m->arch->name, m->hp.n_layer);
    }
    return 0;
}

static void model_count(struct model *m)
{
    m->n_params = 0;
    for (int s = 0; s < SLOT_COUNT; s++)
        for (int l = 0; l < (s < (int)SLOT_ATTN_NORM ? 1 : m->hp.n_layer); l++) {
            const struct tensor *t = weights_get(&m->w, s, l);
            if (t->data && !(s == SLOT_OUTPUT && weights_tied(&m->w)))
                m->n_params += (uint64_t)(tensor_rows(t) * tensor_cols(t));
        }
}

int model_init(const struct gguf *g, int n_vocab, struct model *m, struct err *e)
{
    struct model made = {0};
    int rc = 0;
    TRY_DONE(model_arch(g, &made.arch, e));
    TRY_DONE(model_hparams(g, made.arch, n_vocab, &made.hp, e));
    TRY_DONE(model_bind(g, &made, e));
    TRY_DONE(model_all_used(g, &made, e));
    TRY_DONE(model_freqs(&made, e));
    model_count(&made);
    *m = made;
    return 0;
done:
    model_free(&made);
    return rc;
}

void model_free(struct model *m)
{
    weights_free(&m->w);
    mem_free(m->inv_freq);
    *m = (struct model){0};
}
