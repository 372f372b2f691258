/*
 * model: what a GGUF file says the network is: hyperparameters, the weight slots bound to its
 * tensors, and the RoPE frequencies. Views into the gguf, except for the few floats it computes.
 */
#ifndef MAS_MODEL_H
#define MAS_MODEL_H

#include "ops.h"
#include "rotary.h"
#include "weights.h"

enum arch_flags { ARCH_QKV_BIAS = 1, ARCH_QK_NORM = 2 };

struct arch { /* one row of arch.def */
    const char *name;
    enum rope_pairs rope;
    unsigned flags;
};

enum slot {
#define X(NAME, name, part, when, opt, f32, nd, d0, d1) SLOT_##NAME,
#include "slots.def"
#undef X
    SLOT_COUNT
};

struct hparams {
    int n_layer, n_embd, n_head, n_kv_head, head_dim, n_ff, n_vocab;
    /* tokens; not more than a sliding window, so that attention to all positions is what the file
     * means */
    int n_ctx_train;
    float eps;        /* of RMSNorm */
    float attn_scale; /* of q.k: 1 / sqrt(head_dim), times what RoPE scaling makes of q and k */
    struct rotary rotary;
};

struct model {
    const struct arch *arch;
    struct hparams hp;
    struct weights w;
    float *inv_freq; /* (rotary.n_rot / 2), on the host; scaling and frequency factors are in */
    uint64_t n_params;
};

/* n_vocab is that of the tokenizer; tensors must agree. ERR_DATA names what is missing, out of
 * range, not computed here (keys.def) or of the wrong shape, all tensors at once; an unknown
 * architecture is named with those known. Warns of unknown keys, and of a sliding window that
 * shortens the context. */
int model_init(const struct gguf *g, int n_vocab, struct model *m, struct err *e);
void model_free(struct model *m);

#endif
