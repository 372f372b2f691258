#include "model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "keys.h"
#include "log.h"
#include "mem.h"

static const struct arch archs[] = {
#define X(ENUM, name, rope, period, flags) {name, rope, period, flags},
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
    const char *reason = keys_reason(g, name);
    FAIL(e, ERR_DATA, "%s: architecture '%.*s' is not supported%s%s; supported: %s", gguf_path(g),
         (int)(name.len < 64 ? name.len : 64), name.s, reason ? ": it has " : "",
         reason ? reason : "", known);
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

/* *period: every n-th layer is without window. *each: the key with one number or bool for each
 * layer, or with one bool for all; NULL if there is none. */
static int model_pattern(const struct gguf *g, const struct arch *a, int n_layer, int *period,
                         const struct gguf_kv **each, struct err *e)
{
    char full[96];
    double v;
    snprintf(full, sizeof full, "%s.attention.sliding_window_pattern", a->name);
    const struct gguf_kv *kv = gguf_find(g, full);
    *each = NULL;
    *period = a->window_period;
    if (kv && kv->type != GGUF_ARRAY && kv->type != GGUF_BOOL)
        return model_int(g, a, "attention.sliding_window_pattern", 0, 1000, -1, period, e);
    if (kv && kv->type == GGUF_ARRAY && kv->count != (uint64_t)n_layer)
        FAIL(e, ERR_DATA, "%s: key '%s' has %llu elements, must have %d or be one number",
             gguf_path(g), full, (unsigned long long)kv->count, n_layer);
    if (kv && !gguf_number(kv, 0, &v))
        FAIL(e, ERR_DATA, "%s: key '%s' has type %s, must hold numbers or bools", gguf_path(g),
             full, gguf_type_name(kv->elem));
    *each = kv;
    return 0;
}

/* Decides which layers have the sliding window. A window of the whole context is none, but RoPE of
 * its layers stays local. */
static int model_layers(const struct gguf *g, struct model *m, struct err *e)
{
    struct hparams *hp = &m->hp;
    const struct gguf_kv *each = NULL;
    if (g) {
        TRY(model_int(g, m->arch, "attention.sliding_window", 0, INT32_MAX, 0, &hp->window, e));
        TRY(model_pattern(g, m->arch, hp->n_layer, &hp->window_period, &each, e));
    }
    m->layer = mem_zalloc((size_t)hp->n_layer, sizeof *m->layer);
    if (!m->layer)
        return NOMEM(e, (size_t)hp->n_layer * sizeof *m->layer, "facts of layers");
    for (int l = 0; l < hp->n_layer && hp->window; l++) {
        struct layer *layer = &m->layer[l];
        double local = hp->window_period == 0 || (l + 1) % hp->window_period != 0;
        if (each)
            (void)gguf_number(each, each->type == GGUF_ARRAY ? (uint64_t)l : 0, &local);
        layer->local = local != 0;
        layer->window = layer->local && hp->window < hp->n_ctx_train ? hp->window : 0;
    }
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
    if (scale == 0) {
        /* Gemma 3 27B: its heads are not as wide as their share of the width. */
        const bool by_width = a->flags & ARCH_LOCAL_ROPE && hp->n_layer == 62;
        scale = 1.0f / sqrtf((float)(by_width ? hp->n_embd / hp->n_head : hp->head_dim));
    }
    if (gain != 1 && r->n_rot != hp->head_dim)
        FAIL(e, ERR_DATA,
             "%s: RoPE scaling with an attention factor of %g turns %d of %d dimensions: only all "
             "are supported",
             gguf_path(g), (double)gain, r->n_rot, hp->head_dim);
    hp->attn_scale = scale * gain * gain;
    return rotary_read_local(g, a->name, r, a->flags & ARCH_LOCAL_ROPE, &hp->rotary_local, e);
}

static int model_activation(const struct gguf *g, const struct arch *a, struct err *e)
{
    static const char *const names[2][3] = {{"silu", "silu", "silu"},
                                            {"gelu_pytorch_tanh", "gelu_tanh", "gelu"}};
    const bool gelu = a->flags & ARCH_GEGLU;
    char full[96];
    struct gguf_str have;
    snprintf(full, sizeof full, "%s.hidden_activation", a->name);
    if (!gguf_find(g, full))
        return 0;
    TRY(gguf_get_str(g, full, &have, e));
    for (int i = 0; i < 3; i++)
        if (have.len == strlen(names[gelu][i]) && !memcmp(have.s, names[gelu][i], have.len))
            return 0;
    FAIL(e, ERR_DATA,
         "%s: key '%s' is '%.*s': an activation other than %s is not supported; must be %s",
         gguf_path(g), full, (int)(have.len < 64 ? have.len : 64), have.s, gelu ? "GELU" : "SiLU",
         names[gelu][0]);
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
    return model_activation(g, a, e);
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
#define X(NAME, text, in, when, opt, f32, of, init, nd, d0, d1)                                    \
    [SLOT_##NAME] = {.name = (text),                                                               \
                     .part = PART_##in,                                                            \
                     .optional = (opt) || ((when) && !(a->flags & (when))),                        \
                     .f32_only = (f32),                                                            \
                     .share = SHARE_##of,                                                          \
                     .n_dim = (nd),                                                                \
                     .dim = {(d0), (d1), 1, 1}},
#include "slots.def"
#undef X
    };
    const int64_t q_rows = (int64_t)hp->n_head * hp->head_dim,
                  kv_rows = (int64_t)hp->n_kv_head * hp->head_dim;
    memcpy(out, slots, sizeof slots);
#define X(NAME, text, when, first, rows)                                                           \
    if (!(when) || a->flags & (when)) {                                                            \
        out[SLOT_##NAME].fused_name = (text);                                                      \
        out[SLOT_##NAME].fused_first = (first);                                                    \
        out[SLOT_##NAME].fused_rows = (rows);                                                      \
    }
#include "fused.def"
#undef X
    out[SLOT_OUTPUT].or_name = out[SLOT_TOKEN_EMBD].name; /* tied */
}

enum slot_init model_slot_init(enum slot s)
{
    static const enum slot_init inits[SLOT_COUNT] = {
#define X(NAME, text, in, when, opt, f32, of, init, nd, d0, d1) [SLOT_##NAME] = INIT_##init,
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

static size_t freqs_n(const struct model *m)
{
    return (size_t)m->hp.rotary.n_rot / 2;
}

const float *model_freqs(const struct model *m, bool local, int n_ctx)
{
    const bool is_long = n_ctx > m->hp.rotary.n_ctx_orig;
    return m->inv_freq + ((size_t)local * 2 + is_long) * freqs_n(m);
}

/* Frequency factors of one tensor; NULL: it is absent. */
static int freqs_factors(const struct model *m, enum slot slot, const char *name, const float **out,
                         struct err *e)
{
    const float *factors = weights_get(&m->w, (int)slot, 0)->data;
    for (size_t i = 0; factors && i < freqs_n(m); i++)
        if (!(factors[i] > 0 && factors[i] < 1e9f))
            FAIL(e, ERR_DATA, "%s element %zu is %g; must be positive", name, i,
                 (double)factors[i]);
    *out = factors;
    return 0;
}

static int model_make_freqs(const struct gguf *g, struct model *m, struct err *e)
{
    const size_t n = freqs_n(m);
    const float *all, *longer, *shorter;
    TRY(freqs_factors(m, SLOT_ROPE_FREQS, "rope_freqs.weight", &all, e));
    TRY(freqs_factors(m, SLOT_ROPE_LONG, "rope_factors_long.weight", &longer, e));
    TRY(freqs_factors(m, SLOT_ROPE_SHORT, "rope_factors_short.weight", &shorter, e));
    if (!longer != !shorter || (m->hp.rotary.scaling == ROTARY_LONG && !longer))
        FAIL(e, ERR_DATA, "%s: tensor rope_factors_%s.weight is missing, which longrope needs",
             gguf_path(g), longer ? "short" : "long");
    if (all && longer)
        FAIL(e, ERR_DATA,
             "%s: both rope_freqs.weight and rope_factors_long.weight: must be one of them",
             gguf_path(g));
    m->inv_freq = mem_zalloc(4 * n, sizeof *m->inv_freq);
    if (!m->inv_freq)
        return NOMEM(e, 4 * n * sizeof *m->inv_freq, "rotary frequencies");
    for (size_t i = 0; i < 4; i++)
        rotary_freqs(i / 2 ? &m->hp.rotary_local : &m->hp.rotary,
                     all     ? all
                     : i % 2 ? longer
                             : shorter,
                     m->inv_freq + i * n);
    return 0;
}

float model_embed_scale(const struct model *m)
{
    return m->arch->flags & ARCH_EMBED_SCALE ? sqrtf((float)m->hp.n_embd) : 1;
}

enum matmul_epilogue model_gate(const struct model *m)
{
    return m->arch->flags & ARCH_GEGLU ? EPI_GEGLU : EPI_SWIGLU;
}

/* True for tensors of an image encoder, which some files hold beside the text's. */
static bool model_is_vision(struct gguf_str name)
{
    return (name.len > 2 && !memcmp(name.s, "v.", 2)) ||
           (name.len > 3 && !memcmp(name.s, "mm.", 3));
}

/* Refuses a file with a tensor that no slot uses: the computation would silently ignore it. */
static int model_all_used(const struct gguf *g, const struct model *m, struct err *e)
{
    size_t n_vision = 0;
    for (size_t i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        bool used = false;
        for (int s = 0; s < SLOT_COUNT && !used; s++)
            for (int l = 0; l < m->hp.n_layer && !used; l++)
                used = weights_get(&m->w, s, l)->data == t->t.data;
        if (!used && model_is_vision(t->name))
            n_vision++;
        else if (!used)
            FAIL(e, ERR_DATA, "%s: tensor '%.*s' has no place in architecture %s with %d layers",
                 gguf_path(g), (int)t->name.len, t->name.s, m->arch->name, m->hp.n_layer);
    }
    if (n_vision)
        log_warn("%s: %zu tensors of an image encoder are ignored: only text is read", gguf_path(g),
                 n_vision);
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
    TRY_DONE(model_layers(g, &made, e));
    TRY_DONE(model_bind(g, &made, e));
    TRY_DONE(model_all_used(g, &made, e));
    TRY_DONE(model_make_freqs(g, &made, e));
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
    int rc = 0;
    model_slots(a, hp, slots);
    TRY_DONE(model_layers(NULL, &made, e));
    TRY_DONE(weights_outline(slots, SLOT_COUNT, hp->n_layer, tied, outline_format, &o, &made.w, e));
    model_count(&made);
    *m = made;
    return 0;
done:
    model_free(&made);
    return rc;
}

/* Each format of q, k and v beyond the first is a kernel of its own. So is each norm of q and k,
 * and each norm of a result. */
int model_more_launches(const struct model *m)
{
    static const enum slot qkv[] = {SLOT_ATTN_Q, SLOT_ATTN_K, SLOT_ATTN_V};
    const struct weights *w = &m->w;
    int more = 0;
    for (int l = 0; l < m->hp.n_layer; l++) {
        more += weights_own(w, SLOT_ATTN_Q_NORM, l) + weights_own(w, SLOT_ATTN_K_NORM, l) +
                weights_own(w, SLOT_ATTN_POST_NORM, l) + weights_own(w, SLOT_FFN_POST_NORM, l);
        for (int i = 1; i < 3; i++) {
            bool again = false;
            for (int k = 0; k < i; k++)
                again |= weights_get(w, qkv[k], l)->fmt == weights_get(w, qkv[i], l)->fmt;
            more += !again;
        }
    }
    return more;
}

static int common_divisor(int a, int b)
{
    while (b) {
        int rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* The fields of the plan for tensor parallel that depend on the model. */
static void model_plan_rows(const struct model *m, struct plan_rows *r)
{
    const struct hparams *hp = &m->hp;
    r->units = common_divisor(hp->n_kv_head, common_divisor(hp->n_ff, hp->n_embd));
    r->n_vocab = hp->n_vocab;
    r->head_bytes = (uint64_t)hp->n_head * (uint64_t)hp->head_dim * sizeof(float);
    r->ffn_bytes = (uint64_t)hp->n_ff * sizeof(float);
    r->more_bytes = 0;
    for (int l = 0; l < hp->n_layer; l++) {
        const uint64_t more =
            weights_share_more(&m->w, PART_ATTN, l) + weights_share_more(&m->w, PART_FFN, l);
        r->more_bytes = more > r->more_bytes ? more : r->more_bytes;
    }
    r->output_more = weights_share_more(&m->w, PART_OUTPUT, 0);
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
    in->window = m->hp.window;
    in->n_windowed = 0;
    for (int l = 0; l < n; l++)
        in->n_windowed += m->layer[l].window > 0;
    in->attn_bytes = layer;
    in->ffn_bytes = layer + n;
    in->embed_bytes = weights_part_bytes(w, PART_EMBED, 0);
    in->output_bytes = weights_part_bytes(w, PART_OUTPUT, 0);
    in->tied_bytes = in->embed_bytes + in->output_bytes - weights_shared_bytes(w);
    in->row_bytes = (uint64_t)m->hp.n_embd * sizeof(float);
    model_plan_rows(m, &in->rows);
    in->attn_more = n ? (double)model_more_launches(m) / n : 0;
    in->ops_per_byte = 2 * (double)m->n_params / (double)weights_bytes(w);
}

void model_free(struct model *m)
{
    weights_free(&m->w);
    mem_free(m->inv_freq);
    mem_free(m->layer);
    *m = (struct model){0};
}
