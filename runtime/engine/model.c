#include "model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "keys.h"
#include "log.h"
#include "mem.h"

static const struct arch archs[] = {
#define X(ENUM, name, rope, flags) {name, rope, flags},
#include "arch.def"
#undef X
};

const struct arch *model_arch_find(const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof archs / sizeof archs[0]; i++)
        if (strlen(archs[i].name) == len && !memcmp(archs[i].name, name, len))
            return &archs[i];
    return NULL;
}

static int model_arch(const struct gguf *g, const struct arch **out, struct err *e)
{
    struct gguf_str name;
    TRY(gguf_get_str(g, "general.architecture", &name, e));
    *out = model_arch_find(name.s, name.len);
    if (*out)
        return 0;
    char known[256] = "";
    for (size_t i = 0; i < sizeof archs / sizeof archs[0]; i++) {
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

/* Like model_int, for a key that may hold one number for each layer. */
static int model_int_each(const struct gguf *g, const struct arch *a, const char *key, int n_layer,
                          int64_t hi, int *out, struct err *e)
{
    char full[96];
    int64_t v;
    snprintf(full, sizeof full, "%s.%s", a->name, key);
    TRY(gguf_get_int_each(g, full, (uint64_t)n_layer, 1, hi, &v, e));
    *out = (int)v;
    return 0;
}

/* Limits the context to the sliding window: within n tokens, attention with a window equals
 * attention without one. */
static int model_window(const struct gguf *g, const struct arch *a, struct hparams *hp,
                        struct err *e)
{
    int window;
    TRY(model_int(g, a, "attention.sliding_window", 0, INT32_MAX, 0, &window, e));
    if (window == 0 || window >= hp->n_ctx_train)
        return 0;
    log_warn("%s: the context ends at %d tokens, not at %d: beyond its attention has a sliding "
             "window, which is not "
             "supported",
             gguf_path(g), window, hp->n_ctx_train);
    hp->n_ctx_train = window;
    return 0;
}

static int model_heads(const struct gguf *g, const struct arch *a, struct hparams *hp,
                       struct err *e)
{
    TRY(model_int_each(g, a, "attention.head_count", hp->n_layer, 4096, &hp->n_head, e));
    hp->n_kv_head = hp->n_head;
    if (model_has(g, a, "attention.head_count_kv"))
        TRY(model_int_each(g, a, "attention.head_count_kv", hp->n_layer, 4096, &hp->n_kv_head, e));
    if (hp->n_head % hp->n_kv_head)
        FAIL(e, ERR_DATA, "%s: %d query heads cannot share %d KV heads: must divide evenly",
             gguf_path(g), hp->n_head, hp->n_kv_head);
    if (hp->n_embd % hp->n_head && !model_has(g, a, "attention.key_length"))
        FAIL(e, ERR_DATA, "%s: embedding length %d does not divide into %d heads", gguf_path(g),
             hp->n_embd, hp->n_head);
    int value_dim;
    TRY(model_int(g, a, "attention.key_length", 2, 1024, hp->n_embd / hp->n_head, &hp->head_dim,
                  e));
    TRY(model_int(g, a, "attention.value_length", 2, 1024, hp->head_dim, &value_dim, e));
    if (value_dim != hp->head_dim)
        FAIL(e, ERR_DATA, "%s: key length %d and value length %d differ, which is not supported",
             gguf_path(g), hp->head_dim, value_dim);
    return 0;
}

static int model_rotary(const struct gguf *g, const struct arch *a, struct hparams *hp,
                        struct err *e)
{
    struct rotary *r = &hp->rotary;
    TRY(model_int(g, a, "rope.dimension_count", 2, hp->head_dim, hp->head_dim, &r->n_rot, e));
    if (r->n_rot % 2 || hp->head_dim % 2)
        FAIL(e, ERR_DATA, "%s: head size %d and rotary dimensions %d must be even", gguf_path(g),
             hp->head_dim, r->n_rot);
    TRY(rotary_read(g, a->name, hp->n_ctx_train, r, e));
    float scale, gain = rotary_gain(r);
    TRY(model_f32(g, a, "attention.scale", 0, 1e6, 0, &scale, e));
    if (scale == 0)
        scale = 1.0f / sqrtf((float)hp->head_dim);
    if (gain != 1 && r->n_rot != hp->head_dim)
        FAIL(e, ERR_DATA,
             "%s: RoPE scaling with an attention factor of %g turns %d of %d dimensions: only all "
             "are supported",
             gguf_path(g), (double)gain, r->n_rot, hp->head_dim);
    hp->attn_scale = scale * gain * gain;
    return 0;
}

static int model_hparams(const struct gguf *g, const struct arch *a, int n_vocab,
                         struct hparams *hp, struct err *e)
{
    char full[96];
    hp->n_vocab = n_vocab;
    TRY(model_int(g, a, "block_count", 1, 1000, -1, &hp->n_layer, e));
    TRY(model_int(g, a, "embedding_length", 1, 1 << 20, -1, &hp->n_embd, e));
    TRY(model_int_each(g, a, "feed_forward_length", hp->n_layer, 1 << 22, &hp->n_ff, e));
    TRY(model_int(g, a, "context_length", 1, 1 << 26, -1, &hp->n_ctx_train, e));
    TRY(model_heads(g, a, hp, e));
    TRY(model_rotary(g, a, hp, e));
    if (!model_has(g, a, "attention.layer_norm_rms_epsilon")) {
        snprintf(full, sizeof full, "%s.attention.layer_norm_rms_epsilon", a->name);
        FAIL(e, ERR_DATA, "%s: key '%s' is missing", gguf_path(g), full);
    }
    TRY(model_f32(g, a, "attention.layer_norm_rms_epsilon", 1e-12, 1, 0, &hp->eps, e));
    return model_window(g, a, hp, e);
}

static int model_keys(const struct gguf *g, const struct arch *a, struct err *e)
{
    struct str unknown = STR_INIT;
    int rc = keys_check(g, a->name, &unknown, e);
    if (rc == 0 && unknown.len)
        log_warn("%s: unknown keys, without effect here: %s", gguf_path(g), unknown.s);
    str_free(&unknown);
    return rc;
}

void model_slots(const struct arch *a, const struct hparams *hp, struct weight_slot *out)
{
    const struct weight_slot slots[SLOT_COUNT] = {
#define X(NAME, text, in, when, opt, f32, init, nd, d0, d1)                                        \
    [SLOT_##NAME] = {.name = (text),                                                               \
                     .part = PART_##in,                                                            \
                     .optional = (opt) || ((when) && !(a->flags & (when))),                        \
                     .f32_only = (f32),                                                            \
                     .n_dim = (nd),                                                                \
                     .dim = {(d0), (d1), 1, 1}},
#include "slots.def"
#undef X
    };
    memcpy(out, slots, sizeof slots);
    out[SLOT_OUTPUT].or_name = out[SLOT_TOKEN_EMBD].name; /* tied */
}

enum slot_init model_slot_init(enum slot s)
{
    static const enum slot_init inits[SLOT_COUNT] = {
#define X(NAME, text, in, when, opt, f32, init, nd, d0, d1) [SLOT_##NAME] = INIT_##init,
#include "slots.def"
#undef X
    };
    return inits[s];
}

static int model_bind(const struct gguf *g, struct model *m, struct err *e)
{
    struct weight_slot slots[SLOT_COUNT];
    model_slots(m->arch, &m->hp, slots);
    return weights_bind(g, slots, SLOT_COUNT, m->hp.n_layer, &m->w, e);
}

static int model_freqs(struct model *m, struct err *e)
{
    size_t n = (size_t)m->hp.rotary.n_rot / 2;
    m->inv_freq = mem_zalloc(n, sizeof *m->inv_freq);
    if (!m->inv_freq)
        return NOMEM(e, n * sizeof *m->inv_freq, "rotary frequencies");
    const float *factors = weights_get(&m->w, SLOT_ROPE_FREQS, 0)->data;
    for (size_t i = 0; factors && i < n; i++)
        if (!(factors[i] > 0 && factors[i] < 1e9f))
            FAIL(e, ERR_DATA, "rope_freqs.weight element %zu is %g; must be positive", i,
                 (double)factors[i]);
    rotary_freqs(&m->hp.rotary, factors, m->inv_freq);
    return 0;
}

/* Refuses a file with a tensor that no slot uses: the computation would silently ignore it. */
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
        for (int l = 0; l < (m->w.per_layer[s] ? m->hp.n_layer : 1); l++) {
            const struct tensor *t = weights_get(&m->w, s, l);
            if (weights_own(&m->w, s, l))
                m->n_params += (uint64_t)(tensor_rows(t) * tensor_cols(t));
        }
}

int model_init(const struct gguf *g, int n_vocab, struct model *m, struct err *e)
{
    struct model made = {0};
    int rc = 0;
    TRY_DONE(model_arch(g, &made.arch, e));
    TRY_DONE(model_keys(g, made.arch, e));
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

struct outline {
    enum mixture mix;
    struct mixture_model mm;
};

static enum fmt outline_format(const void *user, const char *name, int n_dim, const int64_t *dim)
{
    const struct outline *o = user;
    enum fmt want;
    return mixture_choose(o->mix, &o->mm, name, n_dim, dim, &want);
}

int model_outline(const struct arch *a, const struct hparams *hp, bool tied, enum mixture mix,
                  struct model *m, struct err *e)
{
    const struct mixture_model mm = {.n_layer = hp->n_layer,
                                     .n_head = hp->n_head,
                                     .n_kv_head = hp->n_kv_head,
                                     .tied_output = tied,
                                     .imatrix = !mixture_writes(mix)};
    const struct outline o = {mix, mm};
    struct model made = {.arch = a, .hp = *hp};
    struct weight_slot slots[SLOT_COUNT];
    model_slots(a, hp, slots);
    TRY(weights_outline(slots, SLOT_COUNT, hp->n_layer, tied, outline_format, &o, &made.w, e));
    model_count(&made);
    *m = made;
    return 0;
}

/* Each format of q, k and v beyond the first is a kernel of its own, and so is each norm of q and
 * k. */
int model_more_launches(const struct model *m)
{
    static const enum slot qkv[] = {SLOT_ATTN_Q, SLOT_ATTN_K, SLOT_ATTN_V};
    const struct weights *w = &m->w;
    int more = 0;
    for (int l = 0; l < m->hp.n_layer; l++) {
        more += weights_own(w, SLOT_ATTN_Q_NORM, l) + weights_own(w, SLOT_ATTN_K_NORM, l);
        for (int i = 1; i < 3; i++) {
            bool again = false;
            for (int k = 0; k < i; k++)
                again |= weights_get(w, qkv[k], l)->fmt == weights_get(w, qkv[i], l)->fmt;
            more += !again;
        }
    }
    return more;
}

void model_plan_sizes(const struct model *m, uint64_t *layer, struct plan_input *in)
{
    const struct weights *w = &m->w;
    const int n = m->hp.n_layer;
    for (int l = 0; l < n; l++) {
        layer[l] = weights_part_bytes(w, PART_ATTN, l);
        layer[n + l] = weights_part_bytes(w, PART_FFN, l);
    }
    in->n_layer = n;
    in->attn_bytes = layer;
    in->ffn_bytes = layer + n;
    in->embed_bytes = weights_part_bytes(w, PART_EMBED, 0);
    in->output_bytes = weights_part_bytes(w, PART_OUTPUT, 0);
    in->tied_bytes = in->embed_bytes + in->output_bytes - weights_shared_bytes(w);
    in->row_bytes = (uint64_t)m->hp.n_embd * sizeof(float);
    in->attn_more = n ? (double)model_more_launches(m) / n : 0;
    in->ops_per_byte = 2 * (double)m->n_params / (double)weights_bytes(w);
}

void model_free(struct model *m)
{
    weights_free(&m->w);
    mem_free(m->inv_freq);
    *m = (struct model){0};
}
