/*
 * rotary: the rotation of positions that a model file asks for: RoPE frequencies, and the gain of q
 * and k.
 *
 *   scaling  frequency of pair i                         gain of q and k
 *   none     theta^(-2i/n)                               1
 *   linear   theta^(-2i/n) / factor                      1
 *   yarn     fast pairs as none, slow pairs as linear    0.1 ln(factor) + 1
 *   longrope theta^(-2i/n) / f_i                         attn_factor
 *
 * yarn (Peng et al. 2023, arXiv:2309.00071, sections 3.2 to 3.4): a pair is fast with at least
 * beta_fast turns within the original context, slow with at most beta_slow. Between the two,
 * frequencies are interpolated.
 *
 * longrope (Ding et al. 2024, arXiv:2402.13753): the file has two tensors of factors f, one for
 * contexts up to n_ctx_orig and one for longer ones. Llama 3.1's own scaling is stored as frequency
 * factors too, in one tensor. Every gain is multiplied by attn_factor.
 */
#ifndef MAS_ROTARY_H
#define MAS_ROTARY_H

#include "gguf.h"

enum rotary_scaling { ROTARY_NONE, ROTARY_LINEAR, ROTARY_YARN, ROTARY_LONG };

struct rotary {
    int n_rot;   /* rotated dimensions of a head, even */
    float theta; /* base of the frequencies */
    enum rotary_scaling scaling;
    float factor;               /* stretch of the context; 1 = none */
    float attn_factor;          /* additional gain of q and k; 1 = none */
    int n_ctx_orig;             /* yarn, longrope: tokens of the context before the stretch */
    float beta_fast, beta_slow; /* yarn: turns within n_ctx_orig */
};

/* Reads the keys "<arch>.rope.*" of g, except the number of dimensions: r->n_rot is set already.
 * n_ctx: the model's context. A missing type means linear. The old key rope.scale_linear is used if
 * the factor is missing. A factor of 0 means none. ERR_DATA names key, value and the supported
 * values. */
int rotary_read(const struct gguf *g, const char *arch, int n_ctx, struct rotary *r, struct err *e);

/* The rotation of layers with a sliding window: full, with the base of key rope.freq_base_swa. With
 * `own` those layers have base 10000 if that key is absent, and no scaling (Gemma 3). */
int rotary_read_local(const struct gguf *g, const char *arch, const struct rotary *full, bool own,
                      struct rotary *r, struct err *e);

/* inv_freq (n_rot / 2): the angle of pair i at position 1. It is divided by factors (n_rot / 2);
 * NULL = none. */
void rotary_freqs(const struct rotary *r, const float *factors, float *inv_freq);

/* The factor that multiplies each of q and k. */
float rotary_gain(const struct rotary *r);

#endif
