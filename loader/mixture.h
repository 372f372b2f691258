/*
 * mixture: chooses the format of each tensor of a quantised file, as in the common GGUF files. A
 * name such as "Q4_K_M" means a mixture of formats. Pure function of tensor name, layer and shape;
 * quantize, synth and fit use it.
 *
 * Sizes in documents rely on Q4_K_M:
 *   - output is Q6_K
 *   - ffn_down and attn_v are Q6_K in half of the layers: the first eighth, every third of the
 *     middle, the last eighth. Elsewhere they are Q4_K.
 *   - in models of 80 layers or more, attn_v is Q5_K elsewhere
 *   - norms and biases stay F32
 *   - a tensor whose rows are no multiple of 256 becomes Q8_0 (multiple of 32) or F16
 */
#ifndef MAS_MIXTURE_H
#define MAS_MIXTURE_H

#include "fmt.h"

enum mixture {
#define P(NAME) MIX_##NAME,
#define M(NAME, ...) MIX_##NAME,
#include "mixtures.def"
    MIX_COUNT
};

struct mixture_model { /* facts of the model that the choice depends on */
    int n_layer, n_head, n_kv_head;
    bool tied_output; /* token_embd doubles as the output matrix */
};

bool mixture_from_name(const char *name, enum mixture *out); /* "Q4_K_M", case does not matter */
const char *mixture_name(enum mixture m);
extern const char mixture_choices[];        /* all names, a space before each */
uint32_t mixture_file_type(enum mixture m); /* general.file_type of GGUF (enum llama_ftype) */
/* name: "blk.3.ffn_down.weight"; n_dim/dim slowest first. *fell_back: the shape does not fit the
 * blocks of the mixture's own format. */
enum fmt mixture_choose(enum mixture m, const struct mixture_model *mm, const char *name, int n_dim,
                        const int64_t *dim, bool *fell_back);

#endif
