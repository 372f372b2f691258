/*
 * mixture: chooses the format of each tensor of a quantised file, as in the common GGUF files. A
 * name such as "Q4_K_M" means a mixture of formats. Pure function of tensor name, layer and shape;
 * quantize, synth and fit use it.
 *
 * Sizes in documents rely on Q4_K_M:
 *   - output is Q6_K
 *   - ffn_down and attn_v are Q6_K in half of the layers, called MORE: the first eighth, every
 *     third of the middle, the last eighth. Elsewhere they are Q4_K.
 *   - in models of 80 layers or more, attn_v is Q5_K elsewhere
 *   - norms and biases stay F32
 *
 * A format whose blocks do not fit a tensor's rows is replaced by one with blocks of 32:
 *   - Q2_K and Q3_K by Q4_0, Q4_K by Q5_0, Q5_K by Q5_1, Q6_K by Q8_0, the IQ formats by IQ4_NL
 *   - any format of the output matrix by Q8_0
 *   - rows that are no multiple of 32 become F16
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
    bool imatrix;     /* an importance matrix steers the quantisation */
};

bool mixture_from_name(const char *name, enum mixture *out); /* "Q4_K_M", case does not matter */
const char *mixture_name(enum mixture m);
extern const char mixture_choices[];        /* all names, a space before each */
extern const char mixture_targets[];        /* those that mixture_writes is true for */
uint32_t mixture_file_type(enum mixture m); /* general.file_type of GGUF (enum llama_ftype) */
bool mixture_from_file_type(uint32_t file_type, enum mixture *out); /* false: unknown */
bool mixture_writes(enum mixture m); /* false: it has a format without an encoder */
/* name: "blk.3.ffn_down.weight"; n_dim/dim slowest first. *want: the format that the mixture
 * prescribes; the result is another one if its blocks do not fit the rows. */
enum fmt mixture_choose(enum mixture m, const struct mixture_model *mm, const char *name, int n_dim,
                        const int64_t *dim, enum fmt *want);

#endif
