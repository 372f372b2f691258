/*
 * weights: binds tensor names of a GGUF file to numbered slots. The loader knows no architecture:
 * the caller (runtime/engine/model.c, from arch.def) gives the slots and their shapes. Owns only
 * its table; the tensors are views into the gguf.
 */
#ifndef MAS_WEIGHTS_H
#define MAS_WEIGHTS_H

#include "gguf.h"
#include "plan.h"

struct weight_slot {  /* one row: a tensor, or one tensor per layer when `name` contains %d */
    const char *name; /* "output_norm.weight", "blk.%d.attn_q.weight" */
    /* the part that it is placed with; PART_ATTN and PART_FFN exactly when name has %d */
    enum plan_part part;
    bool optional; /* may be absent: data == NULL */
    /* name of the tensor that replaces an absent one (tied output); NULL = none */
    const char *or_name;
    /* norms, biases, rope_freqs: must be F32; an F16 or BF16 tensor is an error that names it */
    bool f32_only;
    int n_dim; /* exact shape, slowest first */
    int64_t dim[4];
};

struct weights {
    const struct gguf *file; /* borrowed */
    int n_slot, n_layer;
    struct tensor *t;     /* (n_slot, max(n_layer, 1)); slots without %d use layer 0 */
    bool *per_layer;      /* (n_slot) the slot's name has %d */
    enum plan_part *part; /* (n_slot) */
    uint64_t layer_bytes; /* bytes of the largest layer */
};

/* Looks up every slot for every layer and checks format and shape. ERR_DATA lists all misses in one
 * message; the message is cut with a count if they do not fit. */
int weights_bind(const struct gguf *g, const struct weight_slot *slots, int n_slot, int n_layer,
                 struct weights *out, struct err *e);
void weights_free(struct weights *w);

/* layer 0 for a slot without %d. data == NULL when optional and absent. */
const struct tensor *weights_get(const struct weights *w, int slot, int layer);

/* Every tensor of a copy begins at a multiple of it: kernels expect that of a matrix. */
#define WEIGHTS_ALIGN ((uint64_t)256)

/* Bytes of the per-layer slots of one layer, and of all other slots. A tensor shared by two slots
 * counts once. weights_layer_bytes counts bytes of the file; all other functions count bytes of a
 * copy, with each tensor at a multiple of WEIGHTS_ALIGN. */
uint64_t weights_layer_bytes(const struct weights *w, int layer);
uint64_t weights_shared_bytes(const struct weights *w);
/* Bytes of the slots of one part; layer matters for PART_ATTN and PART_FFN only. A tied tensor
 * counts in each part that has it. */
uint64_t weights_part_bytes(const struct weights *w, enum plan_part part, int layer);
/* True when PART_OUTPUT uses a tensor of PART_EMBED. */
bool weights_tied(const struct weights *w);

#endif
