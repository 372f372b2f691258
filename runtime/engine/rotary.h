/*
 * rotary: how a model file wants positions turned: the frequencies of RoPE and what it does to the
 * size of q and k.
 *
 *   none    theta^(-2i/n)
 *   linear  the same / factor: positions are divided by it
 *   yarn    pairs that turn often within the original context stay, slow ones are divided by the
 *           factor, and between
 *           beta_fast and beta_slow turns one passes into the other; q and k grow by 0.1 ln(factor)
 *           + 1
 *           (Peng et al. 2023, arXiv:2309.00071, sections 3.2 to 3.4)
 *
 * Llama 3.1's own scaling arrives as factors, a tensor of the file.
 */
#ifndef MAS_ROTARY_H
#define MAS_ROTARY_H

#include "gguf.h"

enum rotary_scaling { ROTARY_NONE, ROTARY_LINEAR, ROTARY_YARN };

struct rotary {
    int n_rot;   /* dimensions of a head that are turned, even */
    float theta; /* base of the frequencies */
    enum rotary_scaling scaling;
    float factor;               /* by which the context is stretched; 1 = not */
    float attn_factor;          /* q and k grow by it, too; 1 = not */
    int n_ctx_orig;             /* yarn: context before it was stretched, tokens */
    float beta_fast, beta_slow; /* yarn: turns within n_ctx_orig */
};

/* Reads the keys "<arch>.rope.*" of g but for the number of dimensions, r->n_rot, which is set.
 * n_ctx: the model's context. A missing type means linear, the old key rope.scale_linear counts
 * where there is no factor, and a factor of 0 is none. ERR_DATA names key, value and what is
 * supported. */
int rotary_read(const struct gguf *g, const char *arch, int n_ctx, struct rotary *r, struct err *e);

/* inv_freq (n_rot / 2): the angle of pair i at position 1. factors (n_rot / 2) divide them, NULL =
 * none. */
void rotary_freqs(const struct rotary *r, const float *factors, float *inv_freq);

/* What q and k are multiplied by, each. */
float rotary_gain(const struct rotary *r);

#endif
