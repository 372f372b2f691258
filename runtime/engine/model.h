/*
 * model: the network of a GGUF file: hyperparameters, weight slots bound to its tensors, and RoPE
 * frequencies. Holds views into the gguf, except for the few floats that it computes.
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
    /* tokens; at most the sliding window of the file, so that full attention gives the same
     * result */
    int n_ctx_train;
    float eps;        /* of RMSNorm */
    float attn_scale; /* of q.k: 1 / sqrt(head_dim), times the gain of RoPE scaling for q and k */
    struct rotary rotary;
};

struct model {
    const struct arch *arch;
    struct hparams hp;
    struct weights w;
    /* (rotary.n_rot / 2) on the host; scaling and frequency factors are applied */
    float *inv_freq;
    uint64_t n_params;
};

/* n_vocab: of the tokenizer; tensors must agree. ERR_DATA names an unknown architecture and the
 * known ones; or a key that is missing, out of range or not supported (keys.def); or all tensors
 * that are missing or have a wrong shape. Warns of unknown keys, and of a sliding window that
 * shortens the context. */
int model_init(const struct gguf *g, int n_vocab, struct model *m, struct err *e);
void model_free(struct model *m);

#endif
