/*
 * model: the network of a GGUF file: hyperparameters, weight slots bound to its tensors, and RoPE
 * frequencies. Holds views into the gguf, except for the few floats that it computes.
 */
#ifndef MAS_MODEL_H
#define MAS_MODEL_H

#include "mixture.h"
#include "ops.h"
#include "rotary.h"
#include "weights.h"

enum arch_flags {
    ARCH_QKV_BIAS = 1,     /* q, k and v have biases */
    ARCH_QK_NORM = 2,      /* each head of q and k is normed before RoPE */
    ARCH_POST_NORM = 4,    /* the results of attention and ffn are normed before they are added */
    ARCH_GEGLU = 8,        /* the gate of ffn is GELU, not SiLU */
    ARCH_EMBED_SCALE = 16, /* embeddings are multiplied by sqrt(n_embd) in f32, as in llama.cpp */
    ARCH_LOCAL_ROPE = 32,  /* layers with a sliding window have RoPE of their own: base 10000 */
    ARCH_GATE_UP = 64,     /* files fuse ffn_gate and ffn_up */
};

struct arch { /* one row of arch.def */
    const char *name;
    enum rope_pairs rope;
    int window_period;
    unsigned flags;
};

enum slot {
#define X(NAME, name, part, when, opt, f32, share, init, nd, d0, d1) SLOT_##NAME,
#include "slots.def"
#undef X
    SLOT_COUNT
};

/* The values of a slot in a synthetic model: all equal, or random. The deviation of random values
 * keeps activations at one size through any depth. n: inputs of a row, L: layers. */
enum slot_init {
    INIT_ZEROS,
    INIT_ONES,
    INIT_UNIT,   /* deviation 1 */
    INIT_EVEN,   /* 1 / sqrt n */
    INIT_DAMPED, /* 1 / sqrt (2 L n): a result that is added to the residual stream, as in GPT-2 */
    INIT_LOGITS, /* 3 / sqrt n: logits have a deviation of 3, the best token has a few per cent */
};

struct hparams {
    int n_layer, n_embd, n_head, n_kv_head, head_dim, n_ff, n_vocab;
    int n_ctx_train; /* tokens */
    /* positions that a query sees in a layer with a sliding window, its own included; 0 = no layer
     * has one */
    int window;
    int window_period; /* every n-th layer is without window; 0 = none is */
    float eps;         /* of RMSNorm */
    float attn_scale;  /* of q.k: 1 / sqrt(head_dim), times the gain of RoPE scaling for q and k */
    struct rotary rotary, rotary_local; /* of full layers, of layers with a window */
};

struct layer {  /* the facts of one layer beside its tensors */
    int window; /* positions that a query sees, its own included; 0 = all before it */
    bool local; /* RoPE of layers with a sliding window; true also if the window is 0: too wide */
};

struct model {
    const struct arch *arch;
    struct hparams hp;
    struct weights w;
    struct layer *layer; /* (n_layer) */
    /* (2 local, 2 long, rotary.n_rot / 2) on the host; scaling and frequency factors are applied */
    float *inv_freq;
    uint64_t n_params;
};

/* n_vocab: of the tokenizer; tensors must agree. ERR_DATA names one of these faults:
 *   - an unknown architecture, with the known ones and its difference from them
 *   - a key that is missing, out of range or not supported (keys.def)
 *   - all tensors that are missing or have a wrong shape
 * Warns of unknown keys, and of tensors of an image encoder, which are ignored. */
int model_init(const struct gguf *g, int n_vocab, struct model *m, struct err *e);
void model_free(struct model *m);

/* Makes a model without a file, for predictions: tensors have shapes and formats but no data, and
 * there are no frequencies. tied: the output matrix is the embedding. */
int model_outline(const struct arch *a, const struct hparams *hp, bool tied, enum mixture mix,
                  struct model *m, struct err *e);

/* The frequencies (rotary.n_rot / 2) of layers that are local or not, for contexts of at most n_ctx
 * tokens. Only longrope depends on n_ctx. */
const float *model_freqs(const struct model *m, bool local, int n_ctx);
/* Embeddings are multiplied by it. */
float model_embed_scale(const struct model *m);
/* The epilogue of gate and up. */
enum matmul_epilogue model_gate(const struct model *m);

const struct arch *model_arch_find(const char *name, size_t len); /* NULL: not supported */
/* The slots of a model of these numbers; slot s of out (SLOT_COUNT) is enum slot s. */
void model_slots(const struct arch *a, const struct hparams *hp, struct weight_slot *out);
enum slot_init model_slot_init(enum slot s);

/* The fields of a plan's input that depend on the model alone. layer: room for 2 n_layer numbers,
 * which *in points to. */
void model_plan_sizes(const struct model *m, uint64_t *layer, struct plan_input *in);
/* Kernels of all layers together beyond COST_LAUNCHES_ATTN and COST_LAUNCHES_FFN each (cost.h). */
int model_more_launches(const struct model *m);

#endif
