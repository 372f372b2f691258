#include "rotary.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define TURN 6.28318530717958647692

static bool rotary_is(struct gguf_str s, const char *text)
{
    return s.len == strlen(text) && !memcmp(s.s, text, s.len);
}

static const char *rotary_key(char full[96], const char *arch, const char *key)
{
    snprintf(full, 96, "%s.rope.%s", arch, key);
    return full;
}

static int rotary_type(const struct gguf *g, const char *arch, enum rotary_scaling *out,
                       struct err *e)
{
    char full[96];
    struct gguf_str type;
    *out = ROTARY_LINEAR;
    if (!gguf_find(g, rotary_key(full, arch, "scaling.type")))
        return 0;
    TRY(gguf_get_str(g, full, &type, e));
    if (rotary_is(type, "none"))
        *out = ROTARY_NONE;
    else if (rotary_is(type, "yarn"))
        *out = ROTARY_YARN;
    else if (rotary_is(type, "longrope"))
        *out = ROTARY_LONG;
    else if (!rotary_is(type, "linear"))
        FAIL(e, ERR_DATA, "%s: %s is '%.*s'; supported: none, linear, yarn, longrope", gguf_path(g),
             full, (int)(type.len < 64 ? type.len : 64), type.s);
    return 0;
}

/* *out: the factor; 1 when it is absent or 0. */
static int rotary_factor(const struct gguf *g, const char *arch, float *out, struct err *e)
{
    char full[96];
    float factor;
    if (!gguf_find(g, rotary_key(full, arch, "scaling.factor")))
        rotary_key(full, arch, "scale_linear");
    TRY(gguf_get_f32_or(g, full, 0, 1e6, 0, &factor, e));
    if (factor != 0 && factor < 0.001f)
        FAIL(e, ERR_DATA, "%s: %s is %g; must be 0 (none) or at least 0.001", gguf_path(g), full,
             (double)factor);
    *out = factor == 0 ? 1 : factor;
    return 0;
}

static int rotary_yarn(const struct gguf *g, const char *arch, int n_ctx, struct rotary *r,
                       struct err *e)
{
    char full[96];
    int64_t orig;
    float ext, on = r->scaling == ROTARY_YARN ? 1 : 0;
    TRY(gguf_get_int_or(g, rotary_key(full, arch, "scaling.original_context_length"), 0, 1 << 26, 0,
                        &orig, e));
    r->n_ctx_orig = orig ? (int)orig : n_ctx;
    TRY(gguf_get_f32_or(g, rotary_key(full, arch, "scaling.yarn_beta_fast"), 1e-3, 1e6, 32,
                        &r->beta_fast, e));
    TRY(gguf_get_f32_or(g, rotary_key(full, arch, "scaling.yarn_beta_slow"), 1e-3, 1e6, 1,
                        &r->beta_slow, e));
    if (on != 0 && r->beta_fast < r->beta_slow)
        FAIL(e, ERR_DATA, "%s: %s is %g, above yarn_beta_fast, which is %g", gguf_path(g), full,
             (double)r->beta_slow, (double)r->beta_fast);
    TRY(gguf_get_f32_or(g, rotary_key(full, arch, "scaling.yarn_ext_factor"), -1e6, 1e6, -1, &ext,
                        e));
    if (ext >= 0 && ext != on)
        FAIL(e, ERR_DATA, "%s: %s is %g; supported with rope.scaling.type %s: %g", gguf_path(g),
             full, (double)ext, on != 0 ? "yarn" : "none and linear", (double)on);
    return 0;
}

/* *out: the base of the key, or of its other name in some files. */
static int rotary_base(const struct gguf *g, const char *arch, const char *key, const char *other,
                       float dflt, float *out, struct err *e)
{
    char full[96];
    if (!gguf_find(g, rotary_key(full, arch, key)))
        rotary_key(full, arch, other);
    return gguf_get_f32_or(g, full, 1, 1e12, dflt, out, e);
}

int rotary_read(const struct gguf *g, const char *arch, int n_ctx, struct rotary *r, struct err *e)
{
    char full[96];
    struct rotary made = {.n_rot = r->n_rot};
    TRY(rotary_base(g, arch, "freq_base", "global.freq_base", 10000, &made.theta, e));
    TRY(rotary_type(g, arch, &made.scaling, e));
    TRY(rotary_factor(g, arch, &made.factor, e));
    if (made.scaling == ROTARY_NONE)
        made.factor = 1;
    TRY(gguf_get_f32_or(g, rotary_key(full, arch, "scaling.attn_factor"), 0.001, 1000, 1,
                        &made.attn_factor, e));
    TRY(rotary_yarn(g, arch, n_ctx, &made, e));
    if (made.scaling == ROTARY_YARN && made.theta <= 1)
        FAIL(e, ERR_DATA, "%s: %s.rope.freq_base is 1: YaRN needs a base above 1", gguf_path(g),
             arch);
    if (made.scaling == ROTARY_LONG && made.factor != 1)
        FAIL(e, ERR_DATA,
             "%s: %s.rope.scaling.factor is %g with rope.scaling.type longrope: must be absent, 0 "
             "or 1",
             gguf_path(g), arch, (double)made.factor);
    *r = made;
    return 0;
}

int rotary_read_local(const struct gguf *g, const char *arch, const struct rotary *full, bool own,
                      struct rotary *r, struct err *e)
{
    struct rotary made = *full;
    if (own) {
        made = (struct rotary){
            .n_rot = full->n_rot, .scaling = ROTARY_NONE, .factor = 1, .attn_factor = 1};
        if (rotary_gain(full) != 1)
            FAIL(e, ERR_DATA,
                 "%s: RoPE scaling has a gain of %g, but its layers with a sliding window are not "
                 "scaled: only linear scaling is supported here",
                 gguf_path(g), (double)rotary_gain(full));
    }
    TRY(rotary_base(g, arch, "freq_base_swa", "local.freq_base", own ? 10000 : full->theta,
                    &made.theta, e));
    *r = made;
    return 0;
}

/* The pair that makes `turns` turns within the original context, as a fractional index. */
static double rotary_pair(const struct rotary *r, double turns)
{
    return r->n_rot * log(r->n_ctx_orig / (turns * TURN)) / (2 * log((double)r->theta));
}

/* The share of its own frequency that pair i keeps: 1 = all, 0 = divided by the factor. */
static double rotary_keeps(const struct rotary *r, int i)
{
    if (r->scaling != ROTARY_YARN)
        return 0;
    double low = fmax(0, floor(rotary_pair(r, (double)r->beta_fast)));
    double high = fmin(r->n_rot - 1, ceil(rotary_pair(r, (double)r->beta_slow)));
    double at = (i - low) / fmax(0.001, high - low);
    return 1 - fmin(1, fmax(0, at));
}

void rotary_freqs(const struct rotary *r, const float *factors, float *inv_freq)
{
    for (int i = 0; i < r->n_rot / 2; i++) {
        double f = pow((double)r->theta, -2.0 * i / r->n_rot), keeps = rotary_keeps(r, i);
        f = f / (double)r->factor * (1 - keeps) + f * keeps;
        inv_freq[i] = (float)(f / (factors ? (double)factors[i] : 1));
    }
}

float rotary_gain(const struct rotary *r)
{
    double grown =
        r->scaling == ROTARY_YARN && r->factor > 1 ? 0.1 * log((double)r->factor) + 1 : 1;
    return (float)(grown * (double)r->attn_factor);
}
