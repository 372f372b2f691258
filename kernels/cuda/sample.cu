/*
 * sample: one token a row, greedy, or by the Gumbel-max rule from the allowed tokens that survive
 * top_k, top_p and min_p. Also its log-probability. Definition in ops.h.
 *
 *   logits (n_row, n_vocab) f32; p (n_row); mask_bits (n_mask, n_vocab / 32); id, lp (n_row)
 *
 * Bytes: 4 n_vocab a row and pass: greedy one pass, filters three each, the draw one. A row of
 * 128256 is 513 KB; after one pass it lies in L2 for the next. Only id and lp are written.
 *
 * Nothing is sorted. Every filter keeps the tokens from some logit on. So the kernels search for a
 * threshold: the largest key from which on the tokens reach the filter's count or weight. (A key is
 * 32 bits that order like the floats.) The threshold is found in three digits of 11, 11 and 10
 * bits. A pass adds up the tokens that agree with the digits so far, by their next digit. The
 * following pass picks the digit, from the top, in which the sum reaches the target.
 *
 *   k_sample_chunk   largest allowed logit, sum of exponentials, NaNs of a chunk of 4096
 *   k_sample_begin   a warp a row: merges the row's chunks; greedy and impossible rows end here
 *   k_sample_digit   six times: three for top_k, three for top_p; rows without the filter return
 *                    at once
 *   k_sample_draw    the best score of a chunk among the survivors
 *   k_sample_end     a warp a row: the best of the chunks; its log-probability
 *
 * Variants
 *   radix  the above, ten launches for up to 64 rows. Not measured.
 *
 * Numerics: weights e^((x - max) / T) have the bits of the CPU backend. They are added as integers,
 * in units of 2^-39. So the sum does not depend on the order, atomics may add, and a token errs by
 * at most 2^-40 of the largest. top_p asks for an exact product. Scores and log-probabilities have
 * the bits of the CPU and of logprob.
 */
#include "rng.h"
#include "vocab.cuh"

namespace CU_NS
{

static const int SAMPLE_ROWS = SCRATCH_SAMPLE_ROWS; /* more rows take turns */
static const int SAMPLE_DIGIT = 11, SAMPLE_BINS = 1 << SAMPLE_DIGIT;
static const int SAMPLE_DIGITS = 3; /* 11 + 11 + 10 bits */
static const int SAMPLE_LEVELS = 2 * SAMPLE_DIGITS;
static const int SAMPLE_HALF =
    20; /* bits of a weight's lower part: 4096 of them fit into 32 bits */
static const int64_t SAMPLE_VOCAB = 1 << 24; /* whose weights fit into 64 bits */

typedef unsigned long long sample_sum;

struct sample_pick { /* of a chunk, a warp, a row */
    float value;     /* largest allowed logit, or best score; -inf when there is none */
    int32_t id;      /* the lowest that has it */
};

struct sample_state {
    float top;      /* largest allowed logit */
    float2 log_sum; /* of the whole row: vocab_log_sum */
    int done;       /* id and lp are written */
    int all;        /* top_k leaves everything */
    uint32_t low;   /* keys from here on have passed the filters so far */
    uint32_t prefix;
    sample_sum need; /* the weight that the tokens with the prefix must still reach */
};

static_assert(SAMPLE_BINS == SCRATCH_SAMPLE_BINS && 1 + SAMPLE_LEVELS == SCRATCH_SAMPLE_STATES,
              "sums and states of a row");
static_assert(sizeof(sample_sum) == 8 && sizeof(sample_state) == SCRATCH_SAMPLE_STATE &&
                  sizeof(sample_pick) == SCRATCH_SAMPLE_PICK,
              "sizes of the scratch");

struct sample_call {
    const float *logits; /* of the first row of this turn, as the rest */
    const sample_row *p;
    const uint32_t *mask_bits;
    int32_t *id;
    float *lp;
    int n_row;
    unsigned chunks;
    int64_t n_vocab, words;
    bool wide;
    /* scratch */
    sample_sum *sum;     /* (SAMPLE_ROWS, 3, SAMPLE_BINS): level l adds to third l % 3 */
    sample_state *state; /* (SAMPLE_ROWS, 1 + SAMPLE_LEVELS): 0 at first, l + 1 before level l */
    vocab_part *part;    /* (SAMPLE_ROWS, chunks) */
    sample_pick *pick;   /* (SAMPLE_ROWS, chunks): largest logit, later best score */
    int *nan;            /* (SAMPLE_ROWS, chunks): is there a NaN? */
};

/* ---- tokens -------------------------------------------------------------------------------------
 */

/* Bit i: token at + i exists and is allowed; at is a multiple of 4. */
__device__ static unsigned sample_allowed(const sample_call &a, const uint32_t *mask, int64_t at)
{
    const int64_t left = a.n_vocab - at;
    const unsigned there = left >= 4 ? 15u : left > 0 ? (1u << left) - 1 : 0;
    return there && mask ? mask[at / 32] >> (at % 32) & there : there;
}

__device__ static const uint32_t *sample_mask(const sample_call &a, const sample_row &p)
{
    return p.mask < 0 ? NULL : a.mask_bits + p.mask * a.words;
}

/* Orders like the floats; -0 and +0 have the same key. No NaN. */
__device__ static uint32_t sample_key(float x)
{
    const uint32_t u = __float_as_uint(x + 0.0f);
    return u & 0x80000000u ? ~u : u | 0x80000000u;
}

/* The larger value, the lower id if they are equal. */
__device__ static sample_pick sample_better(sample_pick a, sample_pick b)
{
    return b.value > a.value || (b.value == a.value && b.id < a.id) ? b : a;
}

/* The best of the warp, in every lane. */
__device__ static sample_pick sample_warp_best(sample_pick p)
{
    for (int step = 16; step > 0; step /= 2) {
        sample_pick q;
        q.value = __shfl_xor_sync(0xffffffffu, p.value, step);
        q.id = __shfl_xor_sync(0xffffffffu, p.id, step);
        p = sample_better(p, q);
    }
    return p;
}

/* The best of the block, in its first warp. */
__device__ static sample_pick sample_block_best(sample_pick p, sample_pick *shared)
{
    p = sample_warp_best(p);
    if (threadIdx.x % 32 == 0)
        shared[threadIdx.x / 32] = p;
    __syncthreads(); /* every warp's is there */
    if (threadIdx.x < 32) {
        const sample_pick none = {-REAL_INF, INT32_MAX};
        p = sample_warp_best(threadIdx.x < VOCAB_THREADS / 32 ? shared[threadIdx.x] : none);
    }
    return p;
}

/* ---- the row as a whole
 * -------------------------------------------------------------------------- */

/* Zeroes the row's sums of a level; the chunks share the work. */
__device__ static void sample_zero(const sample_call &a, int64_t row, unsigned chunk, int level)
{
    sample_sum *to = a.sum + (row * 3 + level % 3) * SAMPLE_BINS;
    for (unsigned i = chunk * VOCAB_THREADS + threadIdx.x; i < SAMPLE_BINS;
         i += a.chunks * VOCAB_THREADS)
        to[i] = 0;
}

__global__ void __launch_bounds__(VOCAB_THREADS) k_sample_chunk(const sample_call a)
{
    SHARED_ARRAY(float, shared, [VOCAB_THREADS / 32]);
    SHARED_ARRAY(sample_pick, picks, [VOCAB_THREADS / 32]);
    const int64_t row = blockIdx.x / a.chunks;
    const unsigned chunk = blockIdx.x % a.chunks;
    const sample_row p = a.p[row];
    const uint32_t *mask = sample_mask(a, p);
    float4 v[VOCAB_QUADS];
    vocab_load(a.logits + row * a.n_vocab, a.n_vocab, a.wide, (int)chunk, v);
    sample_pick best = {-REAL_INF, INT32_MAX};
    int nan = 0;
#pragma unroll
    for (int k = 0; k < VOCAB_QUADS; k++) {
        const int64_t at = vocab_at((int)chunk, k);
        const unsigned allowed = sample_allowed(a, mask, at);
        const float x[4] = {v[k].x, v[k].y, v[k].z, v[k].w};
        nan |= vocab_nan(v[k]);
#pragma unroll
        for (int i = 0; i < 4; i++)
            if (allowed >> i & 1 && x[i] > best.value)
                best = sample_pick{x[i], (int32_t)(at + i)};
    }
    const vocab_part part = vocab_reduce(v, shared);
    best = sample_block_best(best, picks);
    nan = __syncthreads_or(nan);
    if (threadIdx.x == 0) {
        a.part[blockIdx.x] = part;
        a.pick[blockIdx.x] = best;
        a.nan[blockIdx.x] = nan;
    }
    sample_zero(a, row, chunk, 0);
}

/* The best of a row's chunks, in every lane of the warp. */
__device__ static sample_pick sample_row_best(const sample_call &a, int64_t row)
{
    sample_pick best = {-REAL_INF, INT32_MAX};
    for (unsigned i = threadIdx.x; i < a.chunks; i += 32)
        best = sample_better(best, a.pick[row * a.chunks + i]);
    return sample_warp_best(best);
}

/* A warp a row. */
__global__ void __launch_bounds__(32) k_sample_begin(const sample_call a)
{
    const int64_t row = blockIdx.x;
    int nan = 0;
    for (unsigned i = threadIdx.x; i < a.chunks; i += 32)
        nan |= a.nan[row * a.chunks + i];
    nan = __any_sync(0xffffffffu, nan);
    const sample_pick best = sample_row_best(a, row);
    const float2 log_sum = vocab_log_sum(a.part + row * a.chunks, (int)a.chunks);
    if (threadIdx.x != 0)
        return;
    const bool fine = !nan && fabsf(best.value) < REAL_INF;
    sample_state s = {};
    s.top = best.value;
    s.log_sum = log_sum;
    s.done = !fine || !(a.p[row].temperature > 0);
    a.state[row * (1 + SAMPLE_LEVELS)] = s;
    if (s.done) {
        a.id[row] = fine ? best.id : -1;
        a.lp[row] = fine ? vocab_logprob(best.value, log_sum) : REAL_NAN;
    }
}

/* ---- filters
 * --------------------------------------------------------------------------------------- */

__device__ static bool sample_filters(const sample_row &p)
{
    return p.top_k > 0 || p.top_p < 1;
}

/* true: the row has the filter that this level belongs to. */
__device__ static bool sample_active(const sample_row &p, const sample_state &s, int level)
{
    return level < SAMPLE_DIGITS ? p.top_k > 0 && !s.all : p.top_p < 1;
}

struct sample_shared {
    sample_sum warp[VOCAB_THREADS / 32]; /* sums, then running sums, of the warps' bins */
    sample_sum need;
    int digit;
};

/* Sums of the row's bins, from the largest digit down: this thread's eight bins end at *after. */
__device__ static sample_sum sample_scan(const sample_sum *bins, sample_shared &t,
                                         sample_sum *total)
{
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, each = SAMPLE_BINS / VOCAB_THREADS;
    sample_sum own = 0;
#pragma unroll
    for (int i = 0; i < each; i++)
        own += bins[SAMPLE_BINS - 1 - (each * (int)threadIdx.x + i)];
    sample_sum after = own;
    for (int step = 1; step < 32; step *= 2) {
        sample_sum below = __shfl_up_sync(0xffffffffu, after, step);
        after += lane >= step ? below : 0;
    }
    if (lane == 31)
        t.warp[warp] = after;
    __syncthreads(); /* every warp's sum is there */
    sample_sum before = 0, all = 0;
    for (int i = 0; i < VOCAB_THREADS / 32; i++) {
        before += i < warp ? t.warp[i] : 0;
        all += t.warp[i];
    }
    *total = all;
    return before + after;
}

/* The state before `level`. It chooses the digit of level - 1 from the state before level - 1 and
 * the sums of level - 1. Level 0 has the first state. Called by the whole block. */
__device__ static sample_state sample_resolve(const sample_call &a, int64_t row,
                                              const sample_row &p, int level, sample_shared &t)
{
    const int last = level - 1;
    sample_state s = a.state[row * (1 + SAMPLE_LEVELS) + level];
    if (level == 0)
        s.need = (sample_sum)(p.top_k > 0 ? p.top_k : 0);
    if (level == 0 || !sample_active(p, s, last))
        return s;
    const sample_sum *bins = a.sum + (row * 3 + last % 3) * SAMPLE_BINS;
    const int each = SAMPLE_BINS / VOCAB_THREADS;
    sample_sum total, after = sample_scan(bins, t, &total);
    if (last == SAMPLE_DIGITS) { /* now the weight of all candidates is known */
        int shift;
        const uint32_t m = real_split(p.top_p, &shift);
        s.need = real_mul_shift(total, m, shift);
        s.need += s.need == 0;
    }
    if (total < s.need) { /* fewer tokens than top_k */
        s.all = 1;
        return s;
    }
    sample_sum before = after;
#pragma unroll
    for (int i = each - 1; i >= 0; i--) { /* back over this thread's bins */
        const int digit = SAMPLE_BINS - 1 - (each * (int)threadIdx.x + i);
        before -= bins[digit];
        if (before < s.need && s.need <= after) {
            t.digit = digit;
            t.need = s.need - before;
        }
        after = before;
    }
    __syncthreads(); /* the one thread that found the digit has said so */
    const int bits =
        last % SAMPLE_DIGITS == SAMPLE_DIGITS - 1 ? 32 - 2 * SAMPLE_DIGIT : SAMPLE_DIGIT;
    s.prefix = s.prefix << bits | (uint32_t)t.digit;
    s.need = t.need;
    if (last % SAMPLE_DIGITS == SAMPLE_DIGITS - 1) {
        s.low = s.prefix;
        s.prefix = 0;
    }
    return s;
}

/* e^((x - top) / T) */
__device__ static float sample_weight(float x, float top, float temperature)
{
    return real_exp((x - top) / temperature);
}

__global__ void __launch_bounds__(VOCAB_THREADS) k_sample_digit(const sample_call a, int level)
{
    SHARED_ARRAY(uint32_t, lower, [SAMPLE_BINS]);
    SHARED_ARRAY(uint32_t, upper, [SAMPLE_BINS]);
    SHARED_ARRAY(sample_shared, t, [1]);
    const int64_t row = blockIdx.x / a.chunks;
    const unsigned chunk = blockIdx.x % a.chunks;
    const sample_row p = a.p[row];
    if (!sample_filters(p) || a.state[row * (1 + SAMPLE_LEVELS)].done)
        return;
    const sample_state s = sample_resolve(a, row, p, level, t[0]);
    if (chunk == 0 && threadIdx.x == 0)
        a.state[row * (1 + SAMPLE_LEVELS) + level + 1] = s;
    sample_zero(a, row, chunk, level + 1); /* last read by the level before this one */
    if (!sample_active(p, s, level))
        return;
    for (int i = (int)threadIdx.x; i < SAMPLE_BINS; i += VOCAB_THREADS)
        lower[i] = upper[i] = 0;
    __syncthreads(); /* the bins are empty */
    const int digit = level % SAMPLE_DIGITS;
    const int shift = digit == 0 ? 32 - SAMPLE_DIGIT : digit == 1 ? 32 - 2 * SAMPLE_DIGIT : 0;
    const int bits = digit < 2 ? SAMPLE_DIGIT : 32 - 2 * SAMPLE_DIGIT;
    const uint32_t *mask = sample_mask(a, p);
    float4 v[VOCAB_QUADS];
    vocab_load(a.logits + row * a.n_vocab, a.n_vocab, a.wide, (int)chunk, v);
#pragma unroll
    for (int k = 0; k < VOCAB_QUADS; k++) {
        const unsigned allowed = sample_allowed(a, mask, vocab_at((int)chunk, k));
        const float x[4] = {v[k].x, v[k].y, v[k].z, v[k].w};
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const uint32_t key = sample_key(x[i]), bin = key >> shift & ((1u << bits) - 1);
            const bool same = digit == 0 || key >> (shift + bits) == s.prefix;
            if (!(allowed >> i & 1) || key < s.low || !same)
                continue;
            if (level < SAMPLE_DIGITS) {
                atomicAdd(&lower[bin], 1u);
                continue;
            }
            const float weight = sample_weight(x[i], s.top, p.temperature);
            const sample_sum w = (sample_sum)(f_mul(weight, 0x1p39f) + 0.5f);
            atomicAdd(&lower[bin], (uint32_t)w & ((1u << SAMPLE_HALF) - 1));
            atomicAdd(&upper[bin], (uint32_t)(w >> SAMPLE_HALF));
        }
    }
    __syncthreads(); /* the chunk's sums are complete */
    sample_sum *to = a.sum + (row * 3 + level % 3) * SAMPLE_BINS;
    for (int i = (int)threadIdx.x; i < SAMPLE_BINS; i += VOCAB_THREADS) {
        const sample_sum w = ((sample_sum)upper[i] << SAMPLE_HALF) + lower[i];
        if (w)
            atomicAdd(&to[i], w);
    }
}

/* ---- the draw
 * -------------------------------------------------------------------------------------- */

/* (x - top) / T - ln(-ln u(key, id)) */
__device__ static float sample_score(float z, uint64_t key, int64_t id)
{
    return z + -real_log(-real_log(rng_uniform(key, (uint64_t)id)));
}

__global__ void __launch_bounds__(VOCAB_THREADS) k_sample_draw(const sample_call a)
{
    SHARED_ARRAY(sample_shared, t, [1]);
    SHARED_ARRAY(sample_pick, picks, [VOCAB_THREADS / 32]);
    const int64_t row = blockIdx.x / a.chunks;
    const unsigned chunk = blockIdx.x % a.chunks;
    const sample_row p = a.p[row];
    sample_state s = a.state[row * (1 + SAMPLE_LEVELS)];
    if (s.done)
        return;
    if (sample_filters(p))
        s = sample_resolve(a, row, p, SAMPLE_LEVELS, t[0]);
    const uint32_t *mask = sample_mask(a, p);
    sample_pick best = {-REAL_INF, INT32_MAX};
    float4 v[VOCAB_QUADS];
    vocab_load(a.logits + row * a.n_vocab, a.n_vocab, a.wide, (int)chunk, v);
#pragma unroll
    for (int k = 0; k < VOCAB_QUADS; k++) {
        const int64_t at = vocab_at((int)chunk, k);
        const unsigned allowed = sample_allowed(a, mask, at);
        const float x[4] = {v[k].x, v[k].y, v[k].z, v[k].w};
#pragma unroll
        for (int i = 0; i < 4; i++) {
            if (!(allowed >> i & 1) || sample_key(x[i]) < s.low)
                continue;
            const float z = (x[i] - s.top) / p.temperature;
            if (p.min_p > 0 && real_exp(z) < p.min_p)
                continue;
            const float score = sample_score(z, p.key, at + i);
            if (score > best.value)
                best = sample_pick{score, (int32_t)(at + i)};
        }
    }
    best = sample_block_best(best, picks);
    if (threadIdx.x == 0)
        a.pick[blockIdx.x] = best;
}

/* A warp a row. */
__global__ void __launch_bounds__(32) k_sample_end(const sample_call a)
{
    const int64_t row = blockIdx.x;
    const sample_state s = a.state[row * (1 + SAMPLE_LEVELS)];
    if (s.done)
        return;
    const sample_pick best = sample_row_best(a, row);
    if (threadIdx.x == 0) {
        a.id[row] = best.id;
        a.lp[row] = vocab_logprob(a.logits[row * a.n_vocab + best.id], s.log_sum);
    }
}

/* ---- launchers
 * -------------------------------------------------------------------------------------- */

/* The arrays of rows' scratch, the ones with the widest elements first. */
static void sample_carve(sample_call *c, void *scratch, size_t rows)
{
    c->sum = static_cast<sample_sum *>(scratch);
    c->state = reinterpret_cast<sample_state *>(c->sum + rows * 3 * SAMPLE_BINS);
    c->part = reinterpret_cast<vocab_part *>(c->state + rows * (1 + SAMPLE_LEVELS));
    c->pick = reinterpret_cast<sample_pick *>(c->part + rows * c->chunks);
    c->nan = reinterpret_cast<int *>(c->pick + rows * c->chunks);
}

static int sample_turn(const sample_call &c, cudaStream_t s, struct err *e)
{
    const dim3 rows((unsigned)c.n_row), chunks((unsigned)c.n_row * c.chunks), block(VOCAB_THREADS);
    LAUNCH(k_sample_chunk, chunks, block, 0, s, c);
    CU_LAUNCHED(e, "sample_chunk");
    LAUNCH(k_sample_begin, rows, dim3(32), 0, s, c);
    CU_LAUNCHED(e, "sample_begin");
    for (int level = 0; level < SAMPLE_LEVELS; level++) {
        LAUNCH(k_sample_digit, chunks, block, 0, s, c, level);
        CU_LAUNCHED(e, "sample_digit");
    }
    LAUNCH(k_sample_draw, chunks, block, 0, s, c);
    CU_LAUNCHED(e, "sample_draw");
    LAUNCH(k_sample_end, rows, dim3(32), 0, s, c);
    CU_LAUNCHED(e, "sample_end");
    return 0;
}

bool sample_fits(const struct sample_args *a, const struct cuda_ctx *)
{
    return a->n_vocab <= SAMPLE_VOCAB;
}

int cuda_sample_radix(struct cuda_ctx *cx, cudaStream_t s, const struct sample_args *a,
                      struct err *e)
{
    const int most = a->n_row < SAMPLE_ROWS ? a->n_row : SAMPLE_ROWS;
    void *scratch;
    TRY(cuda_ctx_scratch(cx, "sample", scratch_sample(most, a->n_vocab), &scratch, e));
    for (int at = 0; at < a->n_row; at += most) {
        sample_call c;
        c.logits = a->logits + at * a->n_vocab;
        c.p = a->p + at;
        c.mask_bits = a->mask_bits;
        c.id = a->id + at;
        c.lp = a->lp + at;
        c.n_row = a->n_row - at < most ? a->n_row - at : most;
        c.chunks = (unsigned)vocab_chunks(a->n_vocab);
        c.n_vocab = a->n_vocab;
        c.words = (a->n_vocab + 31) / 32;
        c.wide = row4_wide(a->logits, a->n_vocab);
        sample_carve(&c, scratch, (size_t)most);
        TRY(sample_turn(c, s, e));
    }
    return 0;
}

} // namespace CU_NS
