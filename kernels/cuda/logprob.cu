/*
 * logprob: lp[i] = logits[row[i]][id[i]] - log sum_j e^logits[row[i]][j], over the full row.
 *
 *   logits (n_row, n_vocab) f32; row, id, lp (n_pair)
 *
 * Bytes: 4 n_row * n_vocab, read once: 8 rows of 128256 are 4.1 MB, 1.3 us at 3.3 TB/s. One
 * exponential an element.
 *
 * Variants
 *   chunk  a block takes 4096 logits of a row: largest, then sum of exponentials, both from
 *          registers. A second kernel gives each pair a warp, which adds up the row's chunks.
 *          Not measured.
 *
 * Numerics: f32. A thread adds 16 terms, a tree adds the threads, and chunks are added in a fixed
 * order: a row's bits depend on nothing else. The relative error of the sum is a few 1e-7, so that
 * lp is within 1e-6 for |lp| below 16. The difference to the largest logit is exact. NaN in the row
 * or an infinite largest logit give NaN, a logit of -inf gives -inf.
 */
#include "vocab.cuh"

namespace CU_NS
{

static const int LOGPROB_WARPS = 4;

struct logprob_call {
    const float *logits;
    int64_t n_vocab;
    const int32_t *row, *id;
    float *lp;
    int n_pair;
    unsigned chunks;
    vocab_part *part; /* (n_row, chunks) */
    bool wide;
};

/* Grid: rows times chunks. */
__global__ void __launch_bounds__(VOCAB_THREADS) k_logprob_chunk(const logprob_call a)
{
    SHARED_ARRAY(float, shared, [VOCAB_THREADS / 32]);
    float4 v[VOCAB_QUADS];
    const int64_t row = blockIdx.x / a.chunks;
    vocab_load(a.logits + row * a.n_vocab, a.n_vocab, a.wide, (int)(blockIdx.x % a.chunks), v);
    const vocab_part p = vocab_reduce(v, shared);
    if (threadIdx.x == 0)
        a.part[blockIdx.x] = p;
}

__global__ void __launch_bounds__(32 * LOGPROB_WARPS) k_logprob_pair(const logprob_call a)
{
    const int pair = (int)(blockIdx.x * LOGPROB_WARPS + threadIdx.x / 32);
    if (pair >= a.n_pair)
        return;
    const int64_t row = a.row[pair];
    const float2 sum = vocab_log_sum(a.part + row * a.chunks, (int)a.chunks);
    if (threadIdx.x % 32 == 0)
        a.lp[pair] = vocab_logprob(a.logits[row * a.n_vocab + a.id[pair]], sum);
}

int cuda_logprob_chunk(struct cuda_ctx *cx, cudaStream_t s, const struct logprob_args *a,
                       struct err *e)
{
    void *scratch;
    const int chunks = vocab_chunks(a->n_vocab);
    TRY(cuda_ctx_scratch(cx, "logprob", scratch_logprob(a->n_row, a->n_vocab), &scratch, e));
    const logprob_call call = {a->logits,
                               a->n_vocab,
                               a->row,
                               a->id,
                               a->lp,
                               a->n_pair,
                               (unsigned)chunks,
                               static_cast<vocab_part *>(scratch),
                               row4_wide(a->logits, a->n_vocab)};
    LAUNCH(k_logprob_chunk, dim3((unsigned)(chunks * a->n_row)), dim3(VOCAB_THREADS), 0, s, call);
    CU_LAUNCHED(e, "logprob_chunk");
    LAUNCH(k_logprob_pair, dim3((unsigned)((a->n_pair + LOGPROB_WARPS - 1) / LOGPROB_WARPS)),
           dim3(32 * LOGPROB_WARPS), 0, s, call);
    CU_LAUNCHED(e, "logprob_pair");
    return 0;
}

} // namespace CU_NS
