/*
 * matmul: the launches of one call. x is normed and quantised once in each form that the call's
 * matrices need. Then each format present is one launch over all its matrices. (A norm is a launch
 * of its own if a matrix takes x in f32.) The kernels, with their floors and ladders:
 *
 *   matmul_quantise.cu  x in 8 bits
 *   matmul_matvec.cu    quantised weights, dp4a: few rows
 *   matmul_mma.cu       quantised weights, tensor cores: more rows
 *   matmul_wgmma.cu     Q4_K, Q5_K, Q6_K, Hopper's tensor cores: many rows
 *   matmul_float_mma.cu F16 or BF16 weights alone, tensor cores
 *   matmul_float.cu     F32, F16, BF16 weights otherwise, and formats without a kernel of their own
 *   matmul_blas.cu      quantised weights through f16 and cuBLAS: the baseline of the others
 *
 * Variants of a call (variants.def): float_mma is for calls whose weights are all F16, or all BF16;
 * the weights alone decide. The other variants are kernels for quantised matrices. All but blas
 * have the same bits (matmul.cuh), so the choice among them is a question of speed only.
 */
#include "matmul.cuh"
#include "norm.cuh"

namespace CU_NS
{

/* A block's address and a row's length are multiples of this: the largest power of two that divides
 * the block, 16 at most (matmul_block.cuh). */
static size_t mm_alignment(enum fmt fmt)
{
    const size_t bytes = fmt_info(fmt)->block_bytes, unit = bytes & (~bytes + 1);
    return unit < 16 ? unit : 16;
}

bool cuda_matmul_reads(enum fmt fmt)
{
    return fmt_is_plain(fmt) || mm_x_block(fmt) != 0;
}

int mm_check(const struct matmul_args *a, struct err *e)
{
    for (int i = 0; i < a->n_out; i++) {
        const struct tensor *w = a->out[i].w;
        const size_t unit = mm_alignment(w->fmt);
        if (tensor_rows(w) > INT32_MAX / 4)
            FAIL(e, ERR_BUG, "matmul: out[%d] has %lld rows, limit %d", i,
                 (long long)tensor_rows(w), INT32_MAX / 4);
        if ((uintptr_t)w->data % 16 || w->row_bytes % unit)
            FAIL(e, ERR_BUG,
                 "matmul: out[%d].w at %p with rows %zu bytes apart; must be multiples of 16 "
                 "and %zu",
                 i, w->data, w->row_bytes, unit);
    }
    if ((uintptr_t)a->x % 16)
        FAIL(e, ERR_BUG, "matmul: x at %p must be a multiple of 16", (const void *)a->x);
    if ((uintptr_t)a->norm.w % 16)
        FAIL(e, ERR_BUG, "matmul: norm.w at %p must be a multiple of 16", (const void *)a->norm.w);
    if (a->n_in > INT32_MAX / 8) /* offsets within 8 rows of x are int */
        FAIL(e, ERR_BUG, "matmul: n_in is %lld, limit %d", (long long)a->n_in, INT32_MAX / 8);
    return 0;
}

static int64_t mm_chunks(int64_t n_in)
{
    return (n_in + MM_CHUNK - 1) / MM_CHUNK;
}

int mm_norm(struct cuda_ctx *cx, cudaStream_t s, const struct matmul_args *a, size_t need,
            struct matmul_args *out, struct err *e)
{
    void *scratch;
    *out = *a;
    if (!a->norm.w)
        return 0;
    need = size_align(need, 256);
    TRY(cuda_ctx_scratch(cx, "matmul", need + scratch_normed(a->n_row, a->n_in), &scratch, e));
    float *x = reinterpret_cast<float *>(static_cast<char *>(scratch) + need);
    const struct rmsnorm_args norm = {a->x, a->norm.w, x, a->n_row, a->n_in, a->norm.eps, false};
    TRY(cuda_rmsnorm_block(cx, s, &norm, e));
    out->x = x;
    out->norm.w = NULL;
    return 0;
}

static bool mm_wants(const struct matmul_args *a, int block)
{
    for (int i = 0; i < a->n_out; i++)
        if (mm_x_block(a->out[i].w->fmt) == block)
            return true;
    return false;
}

struct mm_matrix mm_matrix_of(const struct matmul_out *o, const struct matmul_out *second)
{
    struct mm_matrix m = {};
    m.w[0] = static_cast<const uint8_t *>(o->w->data);
    m.row_bytes[0] = o->w->row_bytes;
    m.bias[0] = o->bias;
    if (second) {
        m.w[1] = static_cast<const uint8_t *>(second->w->data);
        m.row_bytes[1] = second->w->row_bytes;
        m.bias[1] = second->bias;
    }
    m.y = o->y;
    m.n_out = (int)tensor_rows(o->w);
    return m;
}

enum mm_kernel { MM_MATVEC, MM_MATVEC_ROWS, MM_MMA, MM_MMA_SPLIT, MM_WGMMA, MM_FLOAT_MMA };

struct mm_plan { /* of a call */
    cudaStream_t s;
    struct matmul_args a; /* without norm where x has been normed */
    struct mm_x *form[2];
    void *parts; /* MM_FLOAT_MMA */
    enum mm_kernel kernel;
};

static int mm_launch(const struct mm_plan *p, enum fmt fmt, enum mm_epilogue epilogue,
                     const struct mm_matrix *m, int n, struct err *e)
{
    const int block = mm_x_block(fmt);
    struct mm_call c = {};
    c.x = p->form[block == 32];
    c.xf = p->a.x;
    c.parts = p->parts;
    for (int i = 0; i < 3; i++)
        c.m[i] = m[i < n ? i : 0];
    c.n_row = p->a.n_row;
    c.n_in = p->a.n_in;
    c.n_chunk = (int)mm_chunks(c.n_in);
    c.epilogue = epilogue;
    if (!fmt_row_bytes(fmt, c.n_in, &c.row_used))
        FAIL(e, ERR_BUG, "matmul: %lld elements are no row of %s", (long long)c.n_in,
             fmt_info(fmt)->name);
    if (p->kernel == MM_FLOAT_MMA)
        return mm_launch_float_mma(p->s, fmt, &c, n, e);
    if (block == 0)
        return mm_launch_float(p->s, fmt, &c, n, e);
    if (p->kernel == MM_WGMMA && mm_on_wgmma(fmt))
        return mm_launch_wgmma(p->s, fmt, &c, n, e);
    if (p->kernel != MM_MATVEC && p->kernel != MM_MATVEC_ROWS)
        return mm_launch_mma(p->s, p->kernel == MM_MMA_SPLIT, fmt, &c, n, e);
    return mm_launch_matvec(p->s, p->kernel == MM_MATVEC_ROWS, fmt, &c, n, e);
}

/* gate and up: as pairs of rows when they are alike, else one after the other. */
static int mm_gated_pair(const struct mm_plan *p, struct err *e)
{
    const bool gelu = p->a.epilogue == EPI_GEGLU;
    const struct matmul_out *gate = &p->a.out[0];
    struct matmul_out up = p->a.out[1];
    if (gate->w->fmt == up.w->fmt) {
        struct mm_matrix both = mm_matrix_of(gate, &up);
        both.gelu = gelu;
        return mm_launch(p, gate->w->fmt, MM_SWIGLU, &both, 1, e);
    }
    up.y = gate->y;
    struct mm_matrix first = mm_matrix_of(gate, NULL), second = mm_matrix_of(&up, NULL);
    second.gelu = gelu;
    TRY(mm_launch(p, gate->w->fmt, MM_STORE, &first, 1, e));
    return mm_launch(p, up.w->fmt, MM_GATE, &second, 1, e);
}

/* x in 16-bit parts of the weights' format. */
static int mm_prepare_parts(struct cuda_ctx *cx, struct mm_plan *p, struct err *e)
{
    const struct matmul_args a = p->a;
    const enum fmt fmt = a.out[0].w->fmt;
    const size_t need = scratch_parts(fmt, a.n_row, a.n_in);
    TRY(cuda_ctx_scratch(cx, "matmul", need, &p->parts, e));
    TRY(mm_norm(cx, p->s, &a, need, &p->a, e));
    return mm_launch_split(p->s, fmt, &p->a, p->parts, e);
}

/* x in the 8-bit forms that the call needs; form[0] in blocks of 256, form[1] of 32. */
static int mm_prepare_forms(struct cuda_ctx *cx, struct mm_plan *p, struct err *e)
{
    const struct matmul_args a = p->a;
    const size_t chunks = (size_t)a.n_row * (size_t)mm_chunks(a.n_in);
    const bool wide = mm_wants(&a, 256), narrow = mm_wants(&a, 32);
    const size_t need = scratch_forms(wide + narrow, a.n_row, a.n_in);
    void *scratch = NULL;
    if (need)
        TRY(cuda_ctx_scratch(cx, "matmul", need, &scratch, e));
    p->form[0] = static_cast<struct mm_x *>(scratch);
    p->form[1] = p->form[0] + (wide ? chunks : 0);
    if (mm_wants(&a, 0))
        TRY(mm_norm(cx, p->s, &a, need, &p->a, e));
    if (wide)
        TRY(mm_launch_quantise(p->s, &p->a, 256, p->form[0], e));
    if (narrow)
        TRY(mm_launch_quantise(p->s, &p->a, 32, p->form[1], e));
    return 0;
}

static int mm_run(struct cuda_ctx *cx, cudaStream_t s, const struct matmul_args *a,
                  enum mm_kernel kernel, struct err *e)
{
    struct mm_plan p = {s, *a, {NULL, NULL}, NULL, kernel};
    TRY(mm_check(a, e));
    TRY(kernel == MM_FLOAT_MMA ? mm_prepare_parts(cx, &p, e) : mm_prepare_forms(cx, &p, e));
    if (matmul_is_gated(a->epilogue))
        return mm_gated_pair(&p, e);
    const enum mm_epilogue epilogue = a->epilogue == EPI_ADD ? MM_ADD : MM_STORE;
    bool done[3] = {false, false, false};
    for (int i = 0; i < a->n_out; i++) {
        struct mm_matrix m[3];
        int n = 0;
        for (int k = i; k < a->n_out; k++) {
            if (done[k] || a->out[k].w->fmt != a->out[i].w->fmt)
                continue;
            m[n++] = mm_matrix_of(&a->out[k], NULL);
            done[k] = true;
        }
        if (n)
            TRY(mm_launch(&p, a->out[i].w->fmt, epilogue, m, n, e));
    }
    return 0;
}

int cuda_matmul_matvec(struct cuda_ctx *cx, cudaStream_t s, const struct matmul_args *a,
                       struct err *e)
{
    return mm_run(cx, s, a, MM_MATVEC, e);
}

int cuda_matmul_matvec_rows(struct cuda_ctx *cx, cudaStream_t s, const struct matmul_args *a,
                            struct err *e)
{
    return mm_run(cx, s, a, MM_MATVEC_ROWS, e);
}

int cuda_matmul_mma(struct cuda_ctx *cx, cudaStream_t s, const struct matmul_args *a, struct err *e)
{
    return mm_run(cx, s, a, MM_MMA, e);
}

int cuda_matmul_mma_split(struct cuda_ctx *cx, cudaStream_t s, const struct matmul_args *a,
                          struct err *e)
{
    return mm_run(cx, s, a, MM_MMA_SPLIT, e);
}

int cuda_matmul_wgmma(struct cuda_ctx *cx, cudaStream_t s, const struct matmul_args *a,
                      struct err *e)
{
    return mm_run(cx, s, a, MM_WGMMA, e);
}

int cuda_matmul_float_mma(struct cuda_ctx *cx, cudaStream_t s, const struct matmul_args *a,
                          struct err *e)
{
    return mm_run(cx, s, a, MM_FLOAT_MMA, e);
}

/* ---- which: what a variant is for, and when it is the one to take ------------------------ */

/* Rows of all matrices together. */
static int64_t mm_rows(const struct matmul_args *a)
{
    int64_t rows = 0;
    for (int i = 0; i < a->n_out; i++)
        rows += tensor_rows(a->out[i].w);
    return rows;
}

/* All weights F16, or all BF16, in whole pieces of 16 bytes. */
bool cuda_matmul_halves(const struct matmul_args *a, const struct cuda_ctx *)
{
    const enum fmt fmt = a->out[0].w->fmt;
    if ((fmt != FMT_F16 && fmt != FMT_BF16) || a->n_in % 8)
        return false;
    for (int i = 0; i < a->n_out; i++)
        if (a->out[i].w->fmt != fmt || a->out[i].w->row_bytes % 16)
            return false;
    return true;
}

/* There are quants for tensor cores. */
bool cuda_matmul_quants(const struct matmul_args *a, const struct cuda_ctx *)
{
    return mm_wants(a, 256) || mm_wants(a, 32);
}

bool cuda_matmul_quants_narrow(const struct matmul_args *a, const struct cuda_ctx *cx)
{
    return a->n_row <= 2 && cuda_matmul_quants(a, cx);
}

/* wgmma: sm_90a is for this one compute capability, not for later ones. */
bool cuda_matmul_hopper(const struct matmul_args *a, const struct cuda_ctx *cx)
{
    bool any = false;
    for (int i = 0; i < a->n_out; i++)
        any = any || mm_on_wgmma(a->out[i].w->fmt);
    return cx->cc == 90 && mm_has_wgmma() && any;
}

/*
 * The most rows of x for which matvec is taken, by architecture. Derived from instructions a byte
 * (kernels/CUDA.md, "Cost of a byte"), not measured. matvec needs 0.11 to 0.18 for one row, 0.29
 * for four, 0.43 for eight; mma 0.19 for up to 16. By the data sheets, at full bandwidth, four rows
 * take 96 % of an A100's issue slots and 149 % of an H200's. Eight rows take 72 % of an RTX 3090's
 * and 33 % of a 4090's.
 */
static int mm_matvec_most(const struct cuda_ctx *cx)
{
    static const struct {
        int cc, most;
    } table[] = {{80, 2}, {86, 8}, {89, 8}, {90, 2}, {120, 8}};
    int most = table[0].most; /* the newest architecture that is not newer than the card */
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        most = table[i].cc <= cx->cc ? table[i].most : most;
    return most;
}

bool cuda_matmul_wide(const struct matmul_args *a, const struct cuda_ctx *cx)
{
    return a->n_row > mm_matvec_most(cx);
}

/* Such a call, and two blocks of 64 rows would not come to every SM. */
bool cuda_matmul_small(const struct matmul_args *a, const struct cuda_ctx *cx)
{
    return cuda_matmul_wide(a, cx) && a->n_row <= 32 && mm_rows(a) < (int64_t)2 * 64 * cx->sm_count;
}

/* Sixteen warps with 16 (of 2 rows of x: 8) rows of W and a segment come to every SM. */
bool cuda_matmul_large(const struct matmul_args *a, const struct cuda_ctx *cx)
{
    const int64_t segments = (mm_chunks(a->n_in) + MM_SEGMENT - 1) / MM_SEGMENT;
    const int64_t warps = mm_rows(a) * segments / (a->n_row == 1 ? 16 : 8);
    return warps >= (int64_t)16 * cx->sm_count;
}

} // namespace CU_NS
