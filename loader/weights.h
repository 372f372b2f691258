/*
 * weights: binds tensor names of a GGUF file to numbered slots. The loader knows no architecture:
 * the caller (runtime/engine/model.c, from arch.def) gives the slots and their shapes. Owns only
 * its table; the tensors are views into the gguf.
 */
#ifndef MAS_WEIGHTS_H
#define MAS_WEIGHTS_H

#include "gguf.h"
#include "plan.h"

/* The part of a tensor that each device has with tensor parallel (plan.h). */
enum weight_share {
    SHARE_WHOLE, /* all of it */
    SHARE_ROWS,  /* an equal part of the rows, in order; of a vector: of the elements */
};

struct weight_slot {  /* one row: a tensor, or one tensor per layer when `name` contains %d */
    const char *name; /* "output_norm.weight", "blk.%d.attn_q.weight" */
    /* the part that it is placed with; PART_ATTN and PART_FFN exactly when name has %d */
    enum plan_part part;
    bool optional; /* may be absent: data == NULL */
    /* name of the tensor that replaces an absent one (tied output); NULL = none */
    const char *or_name;
    /* norms, biases, rope_freqs: must be F32; an F16 or BF16 tensor is an error that names it */
    bool f32_only;
    enum weight_share share;
    int n_dim; /* exact shape, slowest first */
    int64_t dim[4];
    /* name of the fused tensor that holds this one as a range of rows, for files that lack `name`
     * in this shape; NULL = none */
    const char *fused_name;
    int64_t fused_first, fused_rows; /* the first row of the range; rows of the fused tensor */
};

struct weights {
    const struct gguf *file; /* borrowed */
    int n_slot, n_layer;
    struct tensor *t;         /* (n_slot, max(n_layer, 1)); slots without %d use layer 0 */
    bool *per_layer;          /* (n_slot) the slot's name has %d */
    bool *shares;             /* (n_slot) the slot uses the tensor of its or_name */
    enum plan_part *part;     /* (n_slot) */
    enum weight_share *share; /* (n_slot) */
};

/* Looks up every slot for every layer and checks format and shape. A range of a fused tensor is a
 * view like any other: nothing is copied. ERR_DATA lists all misses in one message; the message is
 * cut with a count if they do not fit. */
int weights_bind(const struct gguf *g, const struct weight_slot *slots, int n_slot, int n_layer,
                 struct weights *out, struct err *e);
void weights_free(struct weights *w);

/* The format of a tensor that no file has. */
typedef enum fmt (*weights_format)(const void *user, const char *name, int n_dim,
                                   const int64_t *dim);

/* The weights of a model without a file: each tensor has a shape and a format but no data. Optional
 * slots are absent, except for one with or_name: tied decides whether it shares that tensor or has
 * one of its own. ERR_USAGE names a tensor whose rows are no whole blocks of its format. */
int weights_outline(const struct weight_slot *slots, int n_slot, int n_layer, bool tied,
                    weights_format format, const void *user, struct weights *out, struct err *e);

enum { WEIGHTS_NAME = 65 }; /* bytes of a tensor's name with its end, at most */
/* The slot's name with the layer's number; false when no tensor can have a name of that length. */
bool weights_name(char out[WEIGHTS_NAME], const struct weight_slot *slot, int layer);

/* layer 0 for a slot without %d. n_dim == 0 and data == NULL when optional and absent. */
const struct tensor *weights_get(const struct weights *w, int slot, int layer);
/* The tensor exists and belongs to this slot alone, or to the first of two slots that share it. */
bool weights_own(const struct weights *w, int slot, int layer);

/* *out: the view of share k of n of this slot. The number of rows is a multiple of n (ERR_BUG
 * otherwise). A tensor that is absent stays absent. */
int weights_share(const struct weights *w, int slot, int layer, int k, int n, struct tensor *out,
                  struct err *e);

/* Every tensor of a copy begins at a multiple of it: kernels expect that of a matrix. */
#define WEIGHTS_ALIGN ((uint64_t)256)

/* The sizes for plan_make. A tensor counts with its bytes in a copy, where each tensor begins at a
 * multiple of WEIGHTS_ALIGN. The first two count a shared tensor once. */
uint64_t weights_bytes(const struct weights *w);        /* of all slots */
uint64_t weights_shared_bytes(const struct weights *w); /* of the slots without %d */
/* Bytes of the slots of one part; layer matters for PART_ATTN and PART_FFN only. A tied tensor
 * counts in each part that has it. */
uint64_t weights_part_bytes(const struct weights *w, enum plan_part part, int layer);
/* With tensor parallel a device has at most 1 / n of the part's bytes, and these: of whole tensors,
 * and of the alignment of shares. */
uint64_t weights_share_more(const struct weights *w, enum plan_part part, int layer);
/* Which formats do the tensors have? */
void weights_formats(const struct weights *w, bool has[FMT_COUNT]);
/* True when PART_OUTPUT uses a tensor of PART_EMBED. */
bool weights_tied(const struct weights *w);

#endif
