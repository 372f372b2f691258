/*
 * ops: every operation of the forward pass, as a table that a backend fills. This is the one seam
 * between the model and the hardware: `ref` (the oracle, double accumulation), `cpu` (fast,
 * threaded) and `cuda` implement it, and tests and benchmarks iterate over the same list.
 *
 * Rules for all ops
 * - Every pointer in an args struct lies in MEM_DEVICE of the backend's device, `const struct
 * tensor *`
 *   descriptors and the args struct itself on the host. Args are read before the call returns.
 * - Arrays lie at multiples of their element's size; matrices of weights, the KV cache and matmul's
 * x at
 *   multiples of 16 (ERR_BUG where a kernel needs it). Which address it is never shows in the
 *   result.
 * - A call queues work on stream `s` (NULL = default) and returns; no allocation, no
 * synchronisation.
 *   Scratch comes from the memory bound with ops_bind_scratch.
 * - Rows are independent: row i of an output depends only on row i of the inputs (and on its own
 *   sequence's KV), and is bit for bit the same whatever other rows are in the call. That is the
 *   batch-invariance contract of the project; n_row therefore may be anything from 1 up.
 * - y never overlaps an input unless the op says "in place allowed".
 * - Shapes are slowest first. f32 activations are dense: row stride = row length, unless an ld is
 * given.
 * - Impossible shapes are ERR_BUG with op, value and limit; a format or variant that the backend
 *   lacks is ERR_BUG naming both. Never a silent no-op. NULL pointers for n_row > 0 are ERR_BUG.
 *
 * Symbols: n_embd (width of the residual stream), n_head, n_kv_head (n_head is a multiple of it),
 * head_dim, n_vocab; a *row* is one token's activation.
 */
#ifndef MAS_OPS_H
#define MAS_OPS_H

#include "device.h"
#include "tensor.h"

/* y[r] = decode(table[id[r]]). ids are trusted (checked by forward). */
struct embed_args {
    const struct tensor *table; /* (n_vocab, n_embd) any format */
    const int32_t *id;          /* (n_row) */
    float *y;                   /* (n_row, n_embd) */
    int n_row;
};

/* y[r][i] = x[r][i] / sqrt(mean_i(x[r][i]^2) + eps) * w[i]. In place allowed. (Zhang & Sennrich
 * 2019) */
struct rmsnorm_args {
    const float *x; /* (n_row, n) */
    const float *w; /* (n) */
    float *y;       /* (n_row, n) */
    int n_row;
    int64_t n;
    float eps;
};

/*
 * y_i[r] = x[r] * W_i^T (+ bias_i), for up to three matrices that share x, so that x is read (and
 * quantised) once: q/k/v, or gate/up.
 *   EPI_STORE   y_i  = result
 *   EPI_ADD     y_i += result                     (residual)
 *   EPI_SWIGLU  y_0  = silu(result_0) * result_1  (n_out = 2; out[1].y unused)
 * A backend may quantise x to 8 bits per row (blocks of 32 or 256) when W is quantised; the oracle
 * does not. A row's result is added up in one fixed order that does not depend on n_row.
 */
enum matmul_epilogue { EPI_STORE, EPI_ADD, EPI_SWIGLU };

/* w not NULL: what is multiplied is rmsnorm(x[r]), bit for bit what that op makes of it. */
struct matmul_norm {
    const float *w; /* (n_in), at a multiple of 16 */
    float eps;
};

struct matmul_out {
    const struct tensor *w; /* (n_out_i, n_in) any format */
    const float *bias;      /* (n_out_i) f32 or NULL */
    float *y;               /* (n_row, n_out_i) */
};

struct matmul_args {
    const float *x; /* (n_row, n_in), at a multiple of 16 */
    struct matmul_norm norm;
    int n_row;
    int64_t n_in;
    enum matmul_epilogue epilogue;
    int n_out; /* 1..3 */
    struct matmul_out out[3];
};

/*
 * Rotary position embedding, in place. Pair i of n_rot/2 of each head is turned by the angle
 * pos[r] * inv_freq[i]; dimensions from n_rot on stay. (Su et al. 2021)
 *   ROPE_ADJACENT  pair (2i, 2i+1)         Llama in GGUF files
 *   ROPE_HALVES    pair (i, i + n_rot/2)   NeoX order: Qwen
 */
enum rope_pairs { ROPE_ADJACENT, ROPE_HALVES };

struct rope_args {
    float *q;           /* (n_row, n_head, head_dim) */
    float *k;           /* (n_row, n_kv_head, head_dim) */
    const int32_t *pos; /* (n_row) >= 0 */
    /* (n_rot / 2): theta^(-2i/n_rot), frequency factors already divided in */
    const float *inv_freq;
    int n_row, n_head, n_kv_head, head_dim, n_rot;
    enum rope_pairs pairs;
};

/*
 * One layer's paged KV cache. Position t of a sequence lies in page table[t / page_tokens], at
 * offset t % page_tokens. A row of head_dim elements is stored in fmt (F16, Q8_0, ...).
 */
struct kv_view {
    enum fmt fmt;
    void *k, *v; /* each (n_page, n_kv_head, page_tokens, head_dim) */
    int32_t n_page;
    int page_tokens; /* power of two, 16..256 */
    int n_kv_head, head_dim;
};

/* As in rope_args; head_dim is the cache's. */
struct kv_write_rope {
    /* (n_row, n_head, head_dim), turned in place; NULL: neither q nor k is turned */
    float *q;
    const int32_t *pos;    /* (n_row) */
    const float *inv_freq; /* (n_rot / 2) */
    int n_head, n_rot;
    enum rope_pairs pairs;
};

/* Stores k[r] and v[r] at slot[r] = page * page_tokens + offset. Slots of one call are distinct.
 * With rope.q, q becomes and k is stored as what rope makes of them, bit for bit; k itself
 * stays. */
struct kv_write_args {
    const float *k, *v;  /* (n_row, n_kv_head, head_dim) */
    const int32_t *slot; /* (n_row) */
    const struct kv_view *kv;
    int n_row;
    struct kv_write_rope rope;
};

/* Copies the first n_token tokens of page src to page dst (copy-on-write of a shared partial
 * page). */
struct kv_copy_args {
    const struct kv_view *kv;
    int32_t src, dst;
    int n_token;
};

/*
 * Causal attention over paged KV for a ragged batch: sequence s owns query rows q_start[s] ..
 * q_start[s+1]-1, which are the last ones of its kv_len[s] positions (their k and v are already
 * written). Query row r of s sees positions 0 .. kv_len[s] - q_start[s+1] + r inclusive.
 *   y[r][h] = sum_t softmax_t(scale * q[r][h].k[t][h/g]) v[t][h/g],  g = n_head / n_kv_head
 * One op for prefill (many rows a sequence) and decode (one row); positions are added up in blocks
 * of a fixed size from 0, whatever the page size or the chunking of the prefill.
 */
struct attention_args {
    const float *q; /* (n_row, n_head, head_dim) */
    float *y;       /* (n_row, n_head, head_dim) */
    const struct kv_view *kv;
    const int32_t *q_start; /* (n_seq + 1), q_start[n_seq] = n_row */
    const int32_t *kv_len;  /* (n_seq) >= rows of s */
    const int32_t *page;    /* (n_seq, max_pages) */
    int n_seq, n_row, max_pages;
    int max_kv_len; /* >= every kv_len, for geometry and scratch */
    int n_head;
    float scale; /* 1 / sqrt(head_dim) */
};

/* y[i] = silu(gate[i]) * up[i]. In place (y == gate or up) allowed. */
struct swiglu_args {
    const float *gate, *up; /* (n_row, n) */
    float *y;               /* (n_row, n) */
    int n_row;
    int64_t n;
};

/* y[i] += x[i]. */
struct add_args {
    const float *x; /* (n_row, n) */
    float *y;       /* (n_row, n) */
    int n_row;
    int64_t n;
};

/* y[i] = x[row[i]]: the rows that want logits. */
struct gather_args {
    const float *x;     /* (.., n) */
    const int32_t *row; /* (n_row) */
    float *y;           /* (n_row, n) */
    int n_row;
    int64_t n;
};

/* lp[i] = logits[row[i]][id[i]] - log sum_j exp(logits[row[i]][j]): natural log, full
 * distribution. */
struct logprob_args {
    const float *logits; /* (n_row, n_vocab) */
    int n_row;
    int64_t n_vocab;
    const int32_t *row, *id; /* (n_pair); pairs of one row stand together */
    float *lp;               /* (n_pair) */
    int n_pair;
};

/*
 * Chooses one token per row.
 *   allowed = the mask's set bits, or all; T = temperature
 *   T == 0: the allowed token with the largest logit, lowest id on ties.
 *   else, on the distribution p = softmax(logit / T) over the allowed tokens, keep:
 *     top_k > 0: the k most probable (all that tie with the k-th);
 *     top_p < 1: the smallest set of most probable ones with sum >= top_p (ties with the last
 *     kept);
 *     min_p > 0: those with p >= min_p * max p;
 *   each filter on the survivors of the one before, renormalised; then draw by the Gumbel-max rule:
 *   argmax over survivors of logit / T - log(-log u(key, id)), u = rng_uniform. The draw depends
 *   only
 *   on (key, survivors), never on the order of summation, so a verified draft gives the same
 *   tokens.
 * lp is the chosen token's log-probability at T = 1 over the full, unmasked distribution.
 * A row without an allowed token, with a NaN logit, or whose largest allowed logit is infinite,
 * gives id -1 and lp NaN.
 */
struct sample_row {
    float temperature; /* >= 0 */
    float top_p;       /* (0, 1]; 1 = off */
    float min_p;       /* [0, 1); 0 = off */
    int32_t top_k;     /* 0 = off */
    int32_t mask;      /* row of mask_bits, -1 = everything allowed */
    uint64_t key;      /* rng_key(seed, request, step) */
};

struct sample_args {
    const float *logits; /* (n_row, n_vocab) */
    int n_row;
    int64_t n_vocab;
    const struct sample_row *p; /* (n_row) */
    /* (n_mask, ceil(n_vocab / 32)), bit id%32 of word id/32; may be NULL */
    const uint32_t *mask_bits;
    int n_mask;
    int32_t *id; /* (n_row) */
    float *lp;   /* (n_row) */
};

/* The list of ops: the table below, the case registry and the profiler's names come from it. */
#define OP_LIST(X)                                                                                 \
    X(embed)                                                                                       \
    X(rmsnorm)                                                                                     \
    X(matmul)                                                                                      \
    X(rope)                                                                                        \
    X(kv_write)                                                                                    \
    X(kv_copy)                                                                                     \
    X(attention)                                                                                   \
    X(swiglu)                                                                                      \
    X(add)                                                                                         \
    X(gather)                                                                                      \
    X(logprob)                                                                                     \
    X(sample)

enum op {
#define X(name) OP_##name,
    OP_LIST(X)
#undef X
        OP_COUNT
};

/* The largest shapes a caller will ever pass, so that a backend can state its scratch once. */
struct ops_limits {
    int max_rows;       /* rows of any call */
    int max_logit_rows; /* rows of logprob and sample */
    int64_t max_in;     /* longest n_in of a matmul */
    int64_t max_norm;   /* of one that norms x */
    int64_t max_out;    /* largest n_out_i */
    int64_t n_vocab;
    int max_kv_len;
    int n_head, head_dim;
    bool weights[FMT_COUNT]; /* a matmul has weights of this format */
    /* also those that no call takes by itself (benchmarks, tests) */
    bool all_variants;
};

enum ops_peak {
    PEAK_F32,         /* fused multiply-add */
    PEAK_INT8,        /* products of 8 bits summed in 32: vpdpbusd, vpmaddubsw + vpmaddwd, dp4a */
    PEAK_TENSOR_F16,  /* mma.sync with f32 sums */
    PEAK_TENSOR_INT8, /* mma.sync with s32 sums */
    PEAK_COUNT
};

/* Writes rows row .. row + n - 1 of a matrix, as files have them, to dst. */
typedef int (*ops_read)(void *user, int64_t row, int64_t n, void *dst, struct err *e);

struct ops {            /* a backend; opened by ops_open, used by one thread at a time */
    const char *name;   /* "ref", "cpu", "cuda", "cudahost", "sim", "sim-cpu" */
    struct device *dev; /* owned by the backend */
#define X(op) int (*op)(struct ops *, struct stream *, const struct op##_args *, struct err *);
    OP_LIST(X)
#undef X
    size_t (*scratch_bytes)(const struct ops *, const struct ops_limits *);
    void (*bind_scratch)(struct ops *, void *ptr, size_t bytes); /* lent; MEM_DEVICE, 256-aligned */
    void (*close)(struct ops *);

    /*
     * Recording, NULL where the backend has none: op calls on stream s between record_begin and
     * record_end are kept under the caller's key (not 0) instead of being run; replay runs them
     * again with the same arguments on what the pointers' memory then holds. The caller's key says
     * everything that the arguments depend on. Nothing but ops may be queued on s in between.
     */
    int (*record_begin)(struct ops *, struct stream *s, struct err *e);
    /* key 0: throws the recording away. A full memory of recordings forgets the one unused
     * longest. */
    int (*record_end)(struct ops *, struct stream *s, uint64_t key, struct err *e);
    /* 1: queued. 0: nothing is kept under this key. */
    int (*replay)(struct ops *, struct stream *s, uint64_t key, struct err *e);

    /* The kernels of an op, best first, NULL where the backend has one way to compute it. A call
     * takes the first that can do it, or the forced one: then ERR_NODEV when that one cannot. i
     * = -1 ends it. */
    int (*variants)(const struct ops *, enum op op);
    const char *(*variant_name)(const struct ops *, enum op op, int i);
    /* Kernels of an op with the same word here give the same bits. */
    const char *(*variant_bits)(const struct ops *, enum op op, int i);
    void (*variant_force)(struct ops *, enum op op, int i);
    int (*variant_taken)(const struct ops *, enum op op); /* by the last call; -1: there was none */

    /* Has matmul a kernel that reads weights of this format as they are? false: it decodes them
     * first, which is slower. NULL: the backend treats all formats alike. */
    bool (*reads)(const struct ops *, enum fmt fmt);

    /* Weights in the order that matmul reads fastest (lanes.h), NULL where that is the files'
     * order. packs: is there such an order for w, a matrix as files have it? pack: brings its rows
     * first .. first + n - 1 into it, where first is a multiple of 16; what is left over of 16 rows
     * stays. The rows are in w->data already (read NULL), or come from `read`, which is called from
     * several threads at once and whose error is passed on. When all rows have been packed the
     * caller sets w->lanes; matmul and embed take either order and give the same bits. */
    bool (*packs)(const struct ops *, const struct tensor *w);
    int (*pack)(struct ops *, const struct tensor *w, int64_t first, int64_t n, ops_read read,
                void *user, struct err *e);

    /* Measures what the processors can compute when no memory is in the way, in operations a second
     * (a multiplication and an addition are two); 0: there is no such unit. Takes some 100 ms.
     * NULL: unknown. */
    int (*peak)(struct ops *, enum ops_peak what, double *out, struct err *e);

    /* Reads the n bytes at p once, both multiples of 64, in pattern i of those that read_name tells
     * (NULL ends them), and returns when all are read: for measuring what memory gives at most.
     * *sum: exclusive or of them as 64-bit words, the same in every pattern. NULL: there is no
     * such thing. */
    const char *(*read_name)(const struct ops *, int i);
    int (*read)(struct ops *, int i, const void *p, size_t n, uint64_t *sum, struct err *e);
};

struct ops_options {
    int n_threads; /* CPU: 0 = all cores this process may use */
    /* CPU: "auto", "scalar", "avx2", "avxvnni", "avx512vnni", "neon"; asking for what is missing
     * fails */
    const char *isa;
    int device;          /* GPU: its number */
    uint64_t vram_bytes; /* GPU: most memory to take of it; 0 = what is free */
    struct sim *sim;     /* "sim": its clock (sim.h), which outlives the backend */
};

/* The one chooser. kind: "auto" (CUDA where it is built in and a GPU can be used, else the CPU with
 * a line in the log that says why), "ref", "cpu", "cuda", "cudahost" (the CUDA kernels run by the
 * host, for tests), "sim" (computes nothing: sim.h).
 * ERR_NODEV with the reason and the alternatives when the kind is not in this build or machine;
 * ERR_BUG naming the op when the backend lacks one. */
int ops_open(const char *kind, const struct ops_options *opt, struct ops **out, struct err *e);
/* The backend that computes on the host beside `ops`: "cpu", or the CPU of the same simulation. */
int ops_open_beside(const struct ops *ops, const struct ops_options *opt, struct ops **out,
                    struct err *e);
void ops_close(struct ops *ops); /* accepts NULL */
const char *ops_op_name(enum op op);

#endif
