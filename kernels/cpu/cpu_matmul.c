/*
 * cpu_matmul: y_i[r] = x[r] W_i^T.
 *
 * Numerics (binding: every instruction set, thread count and n_row gives the same bits)
 * - K formats: a row of x is quantised in blocks of 256, Q4_0 and Q8_0 in blocks of 32, to int8 with
 *   the f32 scale d_x = amax / 127, q = nearest integer (ties to even) of x * (127 / amax), and the
 *   sums of q over 16 elements. A block with NaN or infinity has d_x = NaN.
 * - Per block, exact in int32:  dot = sum_g scale[g] (q_w . q_x)_g  and  min = sum_g min[g] sum_g(q_x),
 *   with w = d_w scale[g] q_w - dmin_w min[g] as the format has it (Q4_0, Q8_0: scale 1, no min).
 * - In f32, block b into accumulator b % 8, in block order:
 *     acc = fmaf(d_w * d_x, (float)dot, acc);   Q4_K, Q5_K then  acc = fmaf(-(dmin_w * d_x), (float)min, acc)
 *   and at the end ((0+4)+(2+6)) + ((1+5)+(3+7)).
 * - F32, F16, BF16: element i is added to accumulator i % 16 by fmaf; then v16_sum.
 * - then bias, then the epilogue; silu as in v16.
 *
 * Work: threads share the output columns. A strip of MM_TILE weight rows stays in the core's cache
 * while all activation rows pass, MM_ROWS at a time.
 */
#include <string.h>

#include "mem.h"
#include "ops_check.h"
#include "ops_cpu.h"

static size_t cpu_x_layout(struct mm_x *x, int64_t n_in)
{
    /* room for both block sizes: scales of 32 elements are the larger half */
    x->n_in = n_in;
    x->sum_at = size_align((size_t)n_in, 64);
    x->d_at = x->sum_at + size_align((size_t)(n_in / 16) * sizeof(int16_t), 64);
    x->stride = x->d_at + size_align(((size_t)(n_in / 32) + 8) * sizeof(float), 64);
    return x->stride;
}

size_t cpu_matmul_scratch(int n_row, int64_t n_in)
{
    struct mm_x x;
    return (size_t)n_row * cpu_x_layout(&x, n_in);
}

/* Elements per block of the quantised x that weights of this format meet; 0: x itself. */
static int cpu_x_block(enum fmt fmt)
{
    switch (fmt) {
    case FMT_F32:
    case FMT_F16:
    case FMT_BF16:
        return 0;
    case FMT_Q4_0:
    case FMT_Q8_0:
        return 32;
    case FMT_Q4_K:
    case FMT_Q5_K:
    case FMT_Q6_K:
        return 256;
    default:
        return -1;
    }
}

struct matmul_job {
    const struct matmul_args *a;
    const struct cpu_kernels *k;
    struct mm_x x;
    int block;
    const struct matmul_out *out;
};

static void cpu_quantise_rows(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const struct matmul_job *j = arg;
    for (int64_t r = begin; r < end; r++)
        j->k->quantise(&j->x, r, j->block);
}

static void cpu_add_bias(const float *bias, int64_t j0, int nj, int nr, float *t)
{
    for (int r = 0; bias && r < nr; r++)
        for (int j = 0; j < nj; j++)
            t[r * MM_TILE + j] += bias[j0 + j];
}

/* One tile: rows r0 .. r0 + nr - 1, columns j0 .. j0 + nj - 1, with bias and epilogue, into y. */
static void cpu_matmul_tile(const struct matmul_job *job, int64_t j0, int nj, int64_t r0, int nr)
{
    float t[MM_ROWS * MM_TILE], up[MM_ROWS * MM_TILE];
    const struct matmul_out *o = job->out;
    int64_t n_out = tensor_rows(o->w);
    job->k->tile(&job->x, o->w, j0, nj, r0, nr, t);
    cpu_add_bias(o->bias, j0, nj, nr, t);
    if (job->a->epilogue == EPI_SWIGLU) {
        job->k->tile(&job->x, o[1].w, j0, nj, r0, nr, up);
        cpu_add_bias(o[1].bias, j0, nj, nr, up);
    }
    for (int r = 0; r < nr; r++) {
        float *y = o->y + (r0 + r) * n_out + j0, *from = t + r * MM_TILE;
        if (job->a->epilogue == EPI_SWIGLU)
            job->k->swiglu(from, up + r * MM_TILE, y, nj);
        else if (job->a->epilogue == EPI_ADD)
            job->k->add(from, y, nj);
        else
            memcpy(y, from, (size_t)nj * sizeof *y);
    }
}

static void cpu_matmul_columns(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const struct matmul_job *job = arg;
    for (int64_t j = begin; j < end; j += MM_TILE)
        for (int64_t r = 0; r < job->a->n_row; r += MM_ROWS) {
            int64_t nj = end - j < MM_TILE ? end - j : MM_TILE;
            int64_t nr = job->a->n_row - r < MM_ROWS ? job->a->n_row - r : MM_ROWS;
            cpu_matmul_tile(job, j, (int)nj, r, (int)nr);
        }
}

/* Makes x ready for weights of this block size; does nothing when it is already. */
static void cpu_matmul_prepare(struct ops_cpu *c, struct matmul_job *job, int block)
{
    if (block == job->block)
        return;
    job->block = block;
    if (block)
        pool_run(c->pool, job->a->n_row, cpu_quantise_rows, job);
}

int cpu_matmul(struct ops *ops, struct stream *s, const struct matmul_args *a, struct err *e)
{
    (void)s;
    struct ops_cpu *c = ops_cpu(ops);
    TRY(ops_check_matmul(a, e));
    if (a->n_row == 0)
        return 0;
    struct matmul_job job = {.a = a, .k = c->k};
    bool quantised = false;
    for (int i = 0; i < a->n_out; i++) {
        int block = cpu_x_block(a->out[i].w->fmt);
        if (block < 0)
            FAIL(e, ERR_BUG, "matmul: the cpu backend has no kernel for %s",
                 fmt_info(a->out[i].w->fmt)->name);
        quantised = quantised || block;
    }
    size_t need = quantised ? cpu_matmul_scratch(a->n_row, a->n_in) : 0;
    TRY(ops_check_scratch("matmul", need, c->scratch, c->scratch_bytes, e));
    cpu_x_layout(&job.x, a->n_in);
    job.x.f = a->x;
    job.x.base = c->scratch;
    if (a->epilogue == EPI_SWIGLU && cpu_x_block(a->out[0].w->fmt) != cpu_x_block(a->out[1].w->fmt))
        FAIL(e, ERR_BUG, "matmul: swiglu of %s and %s weights, which want x in different blocks",
             fmt_info(a->out[0].w->fmt)->name, fmt_info(a->out[1].w->fmt)->name);
    int n = a->epilogue == EPI_SWIGLU ? 1 : a->n_out;
    for (int i = 0; i < n; i++) {
        cpu_matmul_prepare(c, &job, cpu_x_block(a->out[i].w->fmt));
        job.out = &a->out[i];
        pool_run_grain(c->pool, tensor_rows(job.out->w), MM_TILE, cpu_matmul_columns, &job);
    }
    return 0;
}
