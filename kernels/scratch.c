#include "scratch.h"

#include "mem.h"

/* bytes of states: beyond, rows of attention are walked by one block each */
#define MOST_STATES ((size_t)64 << 20)
#define BLAS_TILE ((size_t)32 << 20) /* bytes of decoded weights at a time */

static size_t pieces(int64_t n, int64_t of)
{
    return (size_t)((n + of - 1) / of);
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

size_t scratch_states(int64_t n_row, int n_head, int head_dim, int max_kv_len)
{
    return (size_t)n_row * (size_t)n_head * pieces(max_kv_len, SCRATCH_ATTN_SPAN) *
           (2 + (size_t)head_dim) * sizeof(float); /* largest score, sum, output */
}

size_t scratch_forms(int n_form, int64_t n_row, int64_t n_in)
{
    return (size_t)n_form * (size_t)n_row * pieces(n_in, SCRATCH_MM_CHUNK) * SCRATCH_MM_X;
}

size_t scratch_parts(enum fmt fmt, int64_t n_row, int64_t n_in)
{
    const size_t chunk = (size_t)SCRATCH_MH_PARTS(fmt) * SCRATCH_MH_CHUNK * sizeof(uint16_t);
    return (size_t)n_row * (pieces(n_in, SCRATCH_MH_CHUNK) * chunk +
                            pieces(n_in, SCRATCH_MH_SEGMENT) * sizeof(float)); /* 1 / scale */
}

size_t scratch_normed(int64_t n_row, int64_t n_in)
{
    return size_align((size_t)(n_row * n_in) * sizeof(float), 256);
}

int64_t scratch_blas_rows(int64_t n_in, int64_t n_out)
{
    const int64_t rows = (int64_t)(BLAS_TILE / sizeof(uint16_t)) / n_in;
    return rows < 1 ? 1 : rows < n_out ? rows : n_out;
}

size_t scratch_blas(int64_t n_row, int64_t n_in, int64_t n_out)
{
    return size_align((size_t)(n_row * n_in) * sizeof(uint16_t), 256) +
           size_align((size_t)(scratch_blas_rows(n_in, n_out) * n_in) * sizeof(uint16_t), 256) +
           2 * size_align((size_t)(n_row * n_out) * sizeof(float), 256);
}

size_t scratch_logprob(int n_row, int64_t n_vocab)
{
    return (size_t)n_row * pieces(n_vocab, SCRATCH_VOCAB_CHUNK) * SCRATCH_VOCAB_PART;
}

/* Of a row: sums, states, and of each chunk its part, pick and NaN. */
size_t scratch_sample(int n_row, int64_t n_vocab)
{
    const size_t row = (size_t)3 * SCRATCH_SAMPLE_BINS * sizeof(uint64_t) +
                       (size_t)SCRATCH_SAMPLE_STATES * SCRATCH_SAMPLE_STATE +
                       pieces(n_vocab, SCRATCH_VOCAB_CHUNK) *
                           (SCRATCH_VOCAB_PART + SCRATCH_SAMPLE_PICK + sizeof(int));
    return (size_t)(n_row < SCRATCH_SAMPLE_ROWS ? n_row : SCRATCH_SAMPLE_ROWS) * row;
}

static size_t attention(const struct ops_limits *l)
{
    const size_t one = scratch_states(1, l->n_head, l->head_dim, l->max_kv_len),
                 all = one * (size_t)l->max_rows;
    return all < MOST_STATES ? all : larger(one, MOST_STATES);
}

/* Both forms of x in 8 bits, since the matrices of one call may want one each, or what takes their
 * place; then x normed. */
static size_t matmul(const struct ops_limits *l)
{
    size_t most = scratch_forms(2, l->max_rows, l->max_in);
    if (l->all_variants)
        most = larger(most, scratch_blas(l->max_rows, l->max_in, l->max_out));
    if (l->weights[FMT_F16])
        most = larger(most, scratch_parts(FMT_F16, l->max_rows, l->max_in));
    if (l->weights[FMT_BF16])
        most = larger(most, scratch_parts(FMT_BF16, l->max_rows, l->max_in));
    return size_align(most, 256) + scratch_normed(l->max_rows, l->max_norm);
}

size_t scratch_cuda(const struct ops_limits *l)
{
    size_t most = larger(attention(l), matmul(l));
    most = larger(most, scratch_logprob(l->max_logit_rows, l->n_vocab));
    most = larger(most, scratch_sample(l->max_logit_rows, l->n_vocab));
    return size_align(most, 256);
}
