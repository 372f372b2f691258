/*
 * sizes: what a plan wants to know of a model, from a file or from a shape that has no file.
 */
#ifndef MAS_SIZES_H
#define MAS_SIZES_H

#include "gguf.h"
#include "mixture.h"

struct model_sizes {
    int n_layer, n_embd;
    /* (n_layer) bytes of what a layer has before the ffn's norm, and from it on; owned by attn */
    uint64_t *attn, *ffn;
    /* bytes of token_embd (and rope_freqs), and of output_norm and the output matrix */
    uint64_t embed, output;
    uint64_t tied;  /* bytes counted in both */
    uint64_t total; /* a tied matrix once */
    int64_t n_params, n_vocab, n_ff;
    int64_t kv_row; /* elements of K (and of V) that a token has in a layer */
    int head_dim;
};

/* By names and shapes of the tensors. ERR_DATA for a file that is no model of that form. */
int sizes_of_file(const struct gguf *g, struct model_sizes *out, struct err *e);
/* A shape of shapes.def with the formats of mixture m; false when there is none of that name. */
bool sizes_of_shape(const char *name, enum mixture m, struct model_sizes *out, int *rc,
                    struct err *e);
void sizes_free(struct model_sizes *s);
const char *const *sizes_shapes(void); /* their names, NULL-terminated */

#endif
