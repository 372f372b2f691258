/* sizes: the sizes of a model that a plan needs, from a file or from a shape without a file. */
#ifndef MAS_SIZES_H
#define MAS_SIZES_H

#include "gguf.h"
#include "mixture.h"

struct model_sizes {
    int n_layer, n_embd;
    /* (n_layer) bytes of a layer before the norm of its ffn, and from that norm on; owned by
     * attn */
    uint64_t *attn, *ffn;
    /* bytes of token_embd (and rope_freqs), and of output_norm and the output matrix */
    uint64_t embed, output;
    uint64_t tied;  /* bytes that embed and output both count */
    uint64_t total; /* a tied matrix counts once */
    int64_t n_params, n_vocab, n_ff;
    int64_t kv_row; /* elements of K (and of V) of one token in one layer */
    int head_dim;
};

/* Sizes by names and shapes of the tensors. ERR_DATA: the file is no model of this form. */
int sizes_of_file(const struct gguf *g, struct model_sizes *out, struct err *e);
/* Sizes of a shape of shapes.def with the formats of mixture m; false: no shape has that name. */
bool sizes_of_shape(const char *name, enum mixture m, struct model_sizes *out, int *rc,
                    struct err *e);
void sizes_free(struct model_sizes *s);
const char *const *sizes_shapes(void); /* their names, NULL-terminated */

#endif
