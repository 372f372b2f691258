/*
 * ops: every operation of the forward pass, as a table that a backend fills. This is the one seam
 * between the model and the hardware. `ref` (the oracle, double accumulation), `cpu` (fast,
 * threaded) and `cuda` implement it. Tests and benchmarks iterate over the same list.
 *
 * Rules for all ops
 * - Memory. Every pointer in an args struct lies in MEM_DEVICE of the backend's device. The args
 *   struct and its `const struct tensor *` descriptors lie on the host. Args are read before the
 *   call returns.
 * - Alignment. Arrays lie at multiples of their element's size. Matrices of weights, the KV cache
 *   and matmul's x lie at multiples of 16 bytes (ERR_BUG if a kernel needs it). An address never
 *   changes a result.
 * - Queueing. A call queues work on stream `s` (NULL = default) and returns. It neither allocates
 *   nor waits. Scratch comes from the memory bound with bind_scratch.
 * - Batch invariance. Row i of an output depends only on row i of the inputs and on its own
 *   sequence's KV. It has the same bits whatever other rows are in the call. So n_row may be
 *   anything from 1 up.
 * - Overlap. y never overlaps an input unless the op says "in place allowed".
 * - Shapes are slowest first. f32 activations are dense: row stride = row length, unless an ld is
 *   given.
 * - Errors. Impossible shapes are ERR_BUG with op, value and limit. A format or variant that the
 *   backend lacks is ERR_BUG naming both. NULL pointers for n_row > 0 are ERR_BUG. No call is a
 *   silent no-op.
 *
 * Symbols: n_embd (width of the residual stream), n_head, n_kv_head (n_head is a multiple of it),
 * head_dim, n_vocab; a *row* is one token's activation.
 */
#ifndef MAS_OPS_H
#define MAS_OPS_H

#include "device.h"
#include "tensor.h"

/* y[r] = decode(table[id[r]]) * scale. ids are trusted (checked by forward). */
struct embed_args {
    const struct tensor *table; /* (n_vocab, n_embd) any format */
    const int32_t *id;          /* (n_row) */
    float *y;                   /* (n_row, n_embd) */
    int n_row;
    float scale; /* Gemma: sqrt(n_embd); otherwise 1, which changes no bit. 0 is ERR_BUG. */
};

/* norm(x)[r][i] = x[r][i] / sqrt(mean_i(x[r][i]^2) + eps) * w[i]. (Zhang & Sennrich 2019)
 * y = norm(x), in place allowed. With add: y += norm(x), not in place, with the bits of two ops.
 * Gemma norms a block's result before it is added to the residual stream. */
struct rmsnorm_args {
    const float *x; /* (n_row, n) */
    const float *w; /* (n) */
    float *y;       /* (n_row, n) */
    int n_row;
    int64_t n;
    float eps;
    bool add;
};

/*
 * y_i[r] = x[r] * W_i^T (+ bias_i), for up to three matrices that share x: q/k/v, or gate/up. So x
 * is read and quantised once.
 *   EPI_STORE   y_i  = result
 *   EPI_ADD     y_i += result                     (residual)
 *   EPI_SWIGLU  y_0  = silu(result_0) * result_1  (n_out = 2; out[1].y unused)
 *   EPI_GEGLU   y_0  = gelu(result_0) * result_1  (likewise)
 *     gelu(g) = g / 2 * (1 + tanh(u)) = g / (1 + e^(-2u)),  u = sqrt(2 / pi) (g + 0.044715 g^3)
 *     (the approximation by tanh: Hendrycks & Gimpel 2016; Shazeer 2020)
 * The matrices may be ranges of rows of one larger matrix, each with a tensor of its own. Such a
 * range is packed on its own, and its data lies at a multiple of 16 bytes.
 * A backend may quantise x to 8 bits per row (blocks of 32 or 256) when W is quantised; the oracle
 * does not. A row's sums have one fixed order that does not depend on n_row.
 */
enum matmul_epilogue { EPI_STORE, EPI_ADD, EPI_SWIGLU, EPI_GEGLU };

/* true: the epilogue takes two matrices, gate and up, and has one result. */
static inline bool matmul_is_gated(enum matmul_epilogue e)
{
    return e == EPI_SWIGLU || e == EPI_GEGLU;
}

/* w not NULL: the matrices are multiplied by rmsnorm(x[r]), with the bits of that op. */
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

/*
 * Rotary position embedding, in place. Pair i of n_rot/2 of each head is turned by the angle pos[r]
 * * inv_freq[i]. Dimensions >= n_rot are left unchanged. (Su et al. 2021)
 *   ROPE_ADJACENT  pair (2i, 2i+1)         Llama in GGUF files
 *   ROPE_HALVES    pair (i, i + n_rot/2)   NeoX order: Qwen
 */
enum rope_pairs { ROPE_ADJACENT, ROPE_HALVES };

/* head_dim is the cache's. */
struct kv_write_rope {
    /* (n_row, n_head, head_dim), turned in place; NULL: neither q nor k is turned */
    float *q;
    const int32_t *pos; /* (n_row) >= 0 */
    /* (n_rot / 2): theta^(-2i/n_rot), frequency factors already divided in */
    const float *inv_freq;
    int n_head, n_rot;
    enum rope_pairs pairs;
};

/* Stores k[r] and v[r] at slot[r] = page * page_tokens + offset. Slots of one call are distinct.
 * With rope.q not NULL, q is turned in place and k is stored turned. The array k itself is left
 * unchanged. */
struct kv_write_args {
    const float *k, *v;  /* (n_row, n_kv_head, head_dim) */
    const int32_t *slot; /* (n_row) */
    const struct kv_view *kv;
    int n_row;
    struct kv_write_rope rope;
};

/* Copies the first n_token tokens of page src to page dst: copy-on-write of a shared partial
 * page. */
struct kv_copy_args {
    const struct kv_view *kv;
    int32_t src, dst;
    int n_token;
};

/*
 * Causal attention over paged KV for a ragged batch. Sequence s owns query rows q_start[s] ..
 * q_start[s+1]-1. They are the last of its kv_len[s] positions, and their k and v are already
 * written. Query row r of s has position p = kv_len[s] - q_start[s+1] + r and sees the positions t
 * with max(0, p - window + 1) <= t <= p; window 0 sees 0 <= t <= p. So a row sees at most `window`
 * positions, its own included (Gemma 3, Mistral 7B v0.1, Phi-3).
 *   y[r][h] = sum_t softmax_t(scale * q[r][h].k[t][h/g]) v[t][h/g],  g = n_head / n_kv_head
 * One op serves prefill (many rows a sequence) and decode (one row). Sums go over blocks of
 * positions of a fixed size, counted from position 0, whatever the page size, the window or the
 * chunks of the prefill. Time is proportional to the positions seen. The
 * numbers of positions that no row sees change nothing. The page table has their pages
 * nonetheless.
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
    int window;  /* positions that a row sees at most; 0: all up to its own */
};

/* y[i] += x[i]. matmul and rmsnorm add their own results without this op. */
struct add_args {
    const float *x; /* (n_row, n) */
    float *y;       /* (n_row, n) */
    int n_row;
    int64_t n;
};

/* y[i] = x[row[i]]: the rows that need logits. */
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
    const int32_t *row, *id; /* (n_pair); pairs of one row are neighbours */
    float *lp;               /* (n_pair) */
    int n_pair;
};

/*
 * Chooses one token per row. Allowed: the mask's set bits, or all tokens. T: temperature.
 *
 * T == 0: the allowed token with the largest logit, lowest id on ties.
 *
 * T > 0: p = softmax(logit / T) over the allowed tokens goes through three filters. Each filter
 * takes the survivors of the one before, renormalised, and keeps:
 * - top_k > 0: the k most probable, and all that tie with the k-th;
 * - top_p < 1: the smallest set of most probable ones with sum >= top_p, and ties with the last;
 * - min_p > 0: those with p >= min_p * max p.
 *
 * Then the Gumbel-max rule draws the token: argmax over survivors of logit / T - log(-log u(key,
 * id)), u = rng_uniform. The draw depends only on (key, survivors), never on the order of
 * summation. So a verified draft gives the same tokens.
 *
 * lp is the chosen token's log-probability at T = 1 over the full, unmasked distribution. id is -1
 * and lp NaN for a row without an allowed token, with a NaN logit, or with an infinite largest
 * allowed logit.
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

/* The list of ops. The table below, the case registry and the profiler's names come from it. */
#define OP_LIST(X)                                                                                 \
    X(embed)                                                                                       \
    X(rmsnorm)                                                                                     \
    X(matmul)                                                                                      \
    X(kv_write)                                                                                    \
    X(kv_copy)                                                                                     \
    X(attention)                                                                                   \
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
    int64_t max_norm;   /* longest n_in of a matmul that norms x */
    int64_t max_out;    /* largest n_out_i */
    int64_t n_vocab;
    int max_kv_len;
    int n_head, head_dim;
    bool weights[FMT_COUNT]; /* a matmul has weights of this format */
    /* scratch for every variant, also for those that no call prefers (benchmarks, tests) */
    bool all_variants;
};

enum ops_peak {
    PEAK_F32,         /* fused multiply-add */
    PEAK_INT8,        /* products of 8 bits summed in 32: vpdpbusd, vpmaddubsw + vpmaddwd, dp4a */
    PEAK_TENSOR_F16,  /* mma.sync with f32 sums */
    PEAK_TENSOR_INT8, /* mma.sync with s32 sums */
    PEAK_COUNT
};

/* Writes rows row .. row + n - 1 of a matrix to dst, in the order of files. */
typedef int (*ops_read)(void *user, int64_t row, int64_t n, void *dst, struct err *e);

struct pool_time; /* pool.h */

struct ops {            /* a backend; opened by ops_open, used by one thread at a time */
    const char *name;   /* "ref", "cpu", "cuda", "cudahost", "sim", "sim-cpu" */
    const char *isa;    /* instruction set, a name of OPS_ISAS; NULL: not that of a CPU */
    struct device *dev; /* owned by the backend */
#define X(op) int (*op)(struct ops *, struct stream *, const struct op##_args *, struct err *);
    OP_LIST(X)
#undef X
    size_t (*scratch_bytes)(const struct ops *, const struct ops_limits *);
    void (*bind_scratch)(struct ops *, void *ptr, size_t bytes); /* lent; MEM_DEVICE, 256-aligned */
    void (*close)(struct ops *);

    /*
     * Recording; NULL: the backend has none. Op calls on stream s between record_begin and
     * record_end are not run but kept under the caller's key (not 0). replay runs them with the
     * same arguments on the current content of the pointers' memory. The key must determine all
     * arguments. Only ops may be queued on s in between.
     */
    int (*record_begin)(struct ops *, struct stream *s, struct err *e);
    /* key 0: drops the recording. A full memory of recordings drops the least recently used one. */
    int (*record_end)(struct ops *, struct stream *s, uint64_t key, struct err *e);
    /* 1: queued. 0: no recording has this key. */
    int (*replay)(struct ops *, struct stream *s, uint64_t key, struct err *e);

    /* The kernels of an op, best first; NULL: the backend has one kernel an op. A call takes the
     * first kernel that accepts the call. With a forced kernel, a call that the kernel does not
     * accept is ERR_NODEV. i = -1 ends the forcing. */
    int (*variants)(const struct ops *, enum op op);
    const char *(*variant_name)(const struct ops *, enum op op, int i);
    /* Kernels of an op with the same word give the same bits. */
    const char *(*variant_bits)(const struct ops *, enum op op, int i);
    void (*variant_force)(struct ops *, enum op op, int i);
    /* the kernel of the last call; -1: no call yet */
    int (*variant_taken)(const struct ops *, enum op op);

    /* The threads that share an op; NULL: the backend has none. watch begins or ends the
     * measurement of their times. workers writes the times since the last read for at most `most`
     * of them, and returns their number. */
    void (*watch)(struct ops *, bool on);
    int (*workers)(struct ops *, struct pool_time *out, int most);

    /* true: matmul has a kernel that reads weights of this format directly. false: matmul decodes
     * them first, which is slower. NULL: the backend treats all formats alike. */
    bool (*reads)(const struct ops *, enum fmt fmt);

    /* Weights in the order that matmul reads fastest (lanes.h); NULL: that is the files' order.
     *
     * - packs: true if such an order exists for w, a matrix in the order of files.
     * - pack: reorders rows first .. first + n - 1, first a multiple of 16. Rows after the last
     *   whole strip of 16 keep the files' order. With read NULL the rows are in w->data already.
     *   Otherwise `read` delivers them: several threads call it at once, and its error is passed
     *   on.
     * - When all rows have been packed, the caller sets w->lanes. matmul and embed take either
     *   order and give the same bits.
     * - pack_order: names the order, for packed weights that are kept in a file. Two backends with
     *   the same name read each other's. NULL: nothing is packed. */
    const char *pack_order;
    bool (*packs)(const struct ops *, const struct tensor *w);
    int (*pack)(struct ops *, const struct tensor *w, int64_t first, int64_t n, ops_read read,
                void *user, struct err *e);

    /* Asks for memory near the threads that multiply with the rows of w, a matrix. Call it before
     * the first write to w->data. NULL: the memory of this machine is alike for all threads. */
    void (*home)(struct ops *, const struct tensor *w);

    /* Measures the peak rate of the processors without memory traffic, in operations a second; a
     * multiply-add is two. 0: there is no such unit. Takes some 100 ms. NULL: unknown. */
    int (*peak)(struct ops *, enum ops_peak what, double *out, struct err *e);

    /* For measuring the memory's bandwidth. read: reads the n bytes at p once, in pattern i, and
     * returns when all are read. p and n are multiples of 64. read_name: the name of pattern i;
     * NULL ends the list. *sum: exclusive or of all 64-bit words, the same in every pattern. NULL:
     * not available. */
    const char *(*read_name)(const struct ops *, int i);
    int (*read)(struct ops *, int i, const void *p, size_t n, uint64_t *sum, struct err *e);
};

/* The kinds of ops_open, and the cpu backend's instruction sets, that users may choose. */
#define OPS_KINDS "auto|ref|cpu|cuda|cudahost"
#define OPS_ISAS "auto|scalar|avx2|avxvnni|avx512vnni|amx|neon"

struct ops_options {
    int n_threads; /* CPU: 0 = all cores this process may use */
    /* CPU: "auto", "scalar", "avx2", "avxvnni", "avx512vnni", "amx", "neon"; a set that the
     * processor lacks, or that the system refuses, is an error */
    const char *isa;
    /* CPU, isa "amx": the number of rows from which matrix tiles multiply, for tests and
     * measurements; 0: that of each format. It changes no result. */
    int tile_rows;
    int device;          /* GPU: its number; also of "sim" */
    uint64_t vram_bytes; /* GPU: the most memory to take; 0 = all free memory */
    bool devices;        /* "auto": GPUs were named in a list, so the CPU will not do */
    struct sim *sim;     /* "sim": its clock (sim.h), which outlives the backend */
};

/* The one chooser. kind:
 * - "auto": CUDA if it is built in and a GPU works; else the CPU, with the reason in the log;
 * - "ref", "cpu", "cuda";
 * - "cudahost": the CUDA kernels run by the host, for tests;
 * - "sim": computes nothing (sim.h).
 *
 * ERR_NODEV with the reason and the alternatives when this build or machine lacks the kind. ERR_BUG
 * naming the op when the backend lacks an op. */
int ops_open(const char *kind, const struct ops_options *opt, struct ops **out, struct err *e);
/* The backend that computes on the host beside `ops`: "cpu", or the CPU of the same simulation. */
int ops_open_beside(const struct ops *ops, const struct ops_options *opt, struct ops **out,
                    struct err *e);
/* *n: number of devices of this kind, to open by the numbers 0 .. n - 1. "auto" counts GPUs, or the
 * CPU as one; "sim" those of opt->sim. ERR_NODEV as ops_open. */
int ops_devices(const char *kind, const struct ops_options *opt, int *n, struct err *e);
void ops_close(struct ops *ops); /* accepts NULL */
const char *ops_op_name(enum op op);

#endif
