/*
 * weights: binds tensor names of a GGUF file to numbered slots. The loader knows no architecture:
 * the caller (runtime/engine/model.c, from arch.def) says which slots there are and what shape each
 * must have. Owns only its table; the tensors are views into the gguf.
 */
#ifndef MAS_WEIGHTS_H
#define MAS_WEIGHTS_H

#include "gguf.h"
#include "plan.h"

struct weight_slot {  /* one row: a tensor, or one tensor per layer when `name` contains %d */
    const char *name; /* "output_norm.weight", "blk.%d.attn_q.weight" */
    /* what it is placed with; PART_ATTN and PART_FFN exactly when name has %d */
    enum plan_part part;
    bool optional; /* absent is fine: data == NULL */
    /* when absent, the tensor of this name takes its place (tied output); NULL = none */
    const char *or_name;
    /* norms, biases, rope_freqs: must be F32 (F16/BF16 are an error naming it) */
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

/* Looks up every slot for every layer and checks format and shape; on failure ALL misses are listed
 * in one ERR_DATA message (cut with a count when too many to fit). */
int weights_bind(const struct gguf *g, const struct weight_slot *slots, int n_slot, int n_layer,
                 struct weights *out, struct err *e);
void weights_free(struct weights *w);

/* layer 0 for a slot without %d. data == NULL when optional and absent. */
const struct tensor *weights_get(const struct weights *w, int slot, int layer);

/* where each tensor of a copy begins: what kernels may expect of a matrix */
#define WEIGHTS_ALIGN ((uint64_t)256)

/* What plan_make wants to know: bytes of the per-layer slots of one layer, and of all other slots,
 * a tensor that two slots share counted once. All but the first as they lie in a copy, each at a
 * multiple of WEIGHTS_ALIGN. */
uint64_t weights_layer_bytes(const struct weights *w, int layer);
uint64_t weights_shared_bytes(const struct weights *w);
/* Bytes of the slots of one part (of one layer for PART_ATTN and PART_FFN; else layer is not looked
 * at). A tied tensor counts in each part that has it. */
uint64_t weights_part_bytes(const struct weights *w, enum plan_part part, int layer);
/* Which formats do the tensors have? */
void weights_formats(const struct weights *w, bool has[FMT_COUNT]);
/* Does PART_OUTPUT use a tensor of PART_EMBED? */
bool weights_tied(const struct weights *w);

#endif
