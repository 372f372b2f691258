/*
 * scratch: the memory that the kernels of the CUDA backend need beside their arguments, as
 * functions of shapes. It is plain C: a simulated card asks for the same bytes as a real one. Each
 * kernel's launcher takes its share by the same function.
 *
 * The sizes below belong to kernels, which take them from here. The kernels' files assert the sizes
 * of structs.
 */
#ifndef MAS_SCRATCH_H
#define MAS_SCRATCH_H

#include "ops.h"

#define SCRATCH_ATTN_SPAN 128  /* positions of a split (attention.cuh) */
#define SCRATCH_MM_CHUNK 256   /* elements of a chunk of x in 8 bits (matmul.cuh) */
#define SCRATCH_MM_X 288       /* bytes of that chunk */
#define SCRATCH_MH_CHUNK 64    /* elements of a chunk of x in 16-bit parts (matmul_float_mma.cu) */
#define SCRATCH_MH_SEGMENT 512 /* elements of a segment of those chunks */
#define SCRATCH_MH_PARTS(fmt) ((fmt) == FMT_F16 ? 2 : 3)
#define SCRATCH_VOCAB_CHUNK 4096 /* logits of a chunk (vocab.cuh) */
#define SCRATCH_VOCAB_PART 8     /* bytes of a chunk's part */
/* rows that are sampled together; further rows take turns (sample.cu) */
#define SCRATCH_SAMPLE_ROWS 64
#define SCRATCH_SAMPLE_BINS 2048
#define SCRATCH_SAMPLE_STATES 7
#define SCRATCH_SAMPLE_STATE 40 /* bytes of a state, of a pick */
#define SCRATCH_SAMPLE_PICK 8

/* All in bytes. */
size_t scratch_states(int64_t n_row, int n_head, int head_dim, int max_kv_len); /* of attention */
size_t scratch_forms(int n_form, int64_t n_row, int64_t n_in);   /* x in 8 bits, in n_form forms */
size_t scratch_parts(enum fmt fmt, int64_t n_row, int64_t n_in); /* x in 16-bit parts for fmt */
/* x normed by a launch of its own */
size_t scratch_normed(int64_t n_row, int64_t n_in);
/* The variant blas: x, a tile of W, two results. */
size_t scratch_blas(int64_t n_row, int64_t n_in, int64_t n_out);
int64_t scratch_blas_rows(int64_t n_in, int64_t n_out); /* rows of that tile */
size_t scratch_logprob(int n_row, int64_t n_vocab);
size_t scratch_sample(int n_row, int64_t n_vocab); /* of the rows that are sampled together */

/* Enough for every call within these limits. */
size_t scratch_cuda(const struct ops_limits *l);

#endif
