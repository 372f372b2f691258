/*
 * case_matmul: every format alone in a set of shapes, then calls of several matrices with mixed
 * formats. The weights have the deviation 1 / sqrt(n_in). So results have the deviation of x, about
 * 1, for every n_in.
 *
 * Tolerance: x in 8 bits has a relative error of about 0.4 % of the result's deviation; 3 % is
 * seven times that. Float weights: f32 sums of n_in terms.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "call_text.h"
#include "case.h"

struct matmul_shape {
    int n_row;
    int64_t n_in; /* in units of 256; tail is added to formats without blocks */
    int tail;
    int64_t n_out;
    enum matmul_epilogue epilogue;
    bool bias, zeros, norm, bench;
};

static const struct matmul_shape matmul_shapes[] = {
    {1, 1, 0, 1, EPI_STORE, false, false, false, false},
    {1, 9, 13, 17, EPI_STORE, true, false, false, false}, /* 9 blocks: one more than a group of 8 */
    {3, 2, 1, 3, EPI_ADD, false, false, true, false},
    {9, 3, 15, 40, EPI_SWIGLU, true, false, true, false},
    {33, 8, 0, 50, EPI_STORE, false, false, false, false},
    {5, 2, 0, 16, EPI_ADD, true, true, true, false}, /* a block of zeros in x, one in w */
    {70, 1, 7, 35, EPI_STORE, false, false, false, false},
    /* the following shapes: every number of columns that has a kernel */
    {2, 2, 0, 21, EPI_STORE, false, false, false, false},
    {2, 3, 5, 9, EPI_SWIGLU, false, false, true, false},
    {3, 4, 0, 33, EPI_STORE, true, false, false, false},
    {20, 3, 0, 37, EPI_ADD, false, false, true, false},
    /* the following shapes: rows of several segments, the last one short */
    {17, 35, 0, 40, EPI_SWIGLU, false, false, true, false},
    {1, 21, 0, 70, EPI_STORE, true, false, true, false},
    {12, 16, 0, 64, EPI_STORE, false, false, true, false},
    /* rows in whole pieces of 16 bytes, not in whole chunks */
    {6, 1, 40, 7, EPI_STORE, false, false, true, false},
    {40, 2, 72, 20, EPI_SWIGLU, true, false, false, false},
    /* one row, and strips of sixteen weight rows that are read at once */
    {1, 3, 3, 70, EPI_SWIGLU, true, false, false, false},
    {1, 2, 0, 70, EPI_GEGLU, false, false, true, false},
    {9, 3, 15, 40, EPI_GEGLU, true, false, true, false},
    {40, 1, 72, 20, EPI_GEGLU, true, false, false, false},
    /* whole lines of y, and rows enough to store them past the caches */
    {66, 1, 0, 48, EPI_SWIGLU, true, false, false, false},
    {65, 1, 0, 32, EPI_ADD, false, false, false, false},
    {1, 16, 0, 4096, EPI_STORE, false, false, true, true},
    {8, 16, 0, 4096, EPI_STORE, false, false, false, true},
    {512, 16, 0, 4096, EPI_STORE, false, false, true, true},
    {1, 16, 0, 14336, EPI_SWIGLU, false, false, true, true},
    {1, 56, 0, 4096, EPI_ADD, false, false, false, true},
    {1, 10, 0, 10240, EPI_GEGLU, false, false, true, true},
};
enum { N_SHAPES = sizeof matmul_shapes / sizeof *matmul_shapes };

static const struct matmul_mix {
    int n_row, n_out;
    enum matmul_epilogue epilogue;
    bool norm;
    enum fmt fmt[3];
    int64_t rows[3];
} matmul_mixes[] = {
    {4, 3, EPI_STORE, true, {FMT_Q4_K, FMT_Q4_K, FMT_Q6_K}, {64, 16, 16}},
    {2, 3, EPI_ADD, true, {FMT_Q8_0, FMT_Q5_K, FMT_F16}, {20, 5, 1}},
    {11, 2, EPI_SWIGLU, true, {FMT_Q4_K, FMT_Q8_0}, {24, 24}},
    {1, 2, EPI_STORE, false, {FMT_F32, FMT_Q4_0}, {7, 33}},
    {5, 2, EPI_GEGLU, true, {FMT_Q6_K, FMT_Q4_K}, {24, 24}},
    {1, 2, EPI_GEGLU, false, {FMT_Q8_0, FMT_F16}, {33, 33}},
};
enum { N_MIXES = sizeof matmul_mixes / sizeof *matmul_mixes };

/* Buffers: x; w, bias, y of each matrix; the norm's w if there is one. */
static int matmul_run(const struct op_case *c, void *const *dev, struct ops *ops, struct stream *s,
                      struct err *e)
{
    struct tensor w[3];
    struct matmul_args a = c->args.matmul;
    a.x = dev[0];
    for (int i = 0; i < a.n_out; i++) {
        w[i] = c->w[i];
        w[i].data = dev[1 + 3 * i];
        bool second = matmul_is_gated(a.epilogue) && i == 1;
        a.out[i] = (struct matmul_out){&w[i], c->buf[2 + 3 * i].bytes > 4 ? dev[2 + 3 * i] : NULL,
                                       second ? NULL : dev[3 + 3 * i]};
    }
    if (c->n_buf > 1 + 3 * a.n_out)
        a.norm.w = dev[1 + 3 * a.n_out];
    return ops->matmul(ops, s, &a, e);
}

/* Adds the i-th matrix with its bias and result; without a bias, a buffer of one number. */
static void matmul_add(struct op_case *c, int i, enum fmt fmt, int64_t rows, bool bias)
{
    static const char *const names[3][3] = {
        {"w0", "bias0", "y0"}, {"w1", "bias1", "y1"}, {"w2", "bias2", "y2"}};
    const struct matmul_args *a = &c->args.matmul;
    uint64_t key = 100 + (uint64_t)i;
    case_weights(c, i, names[i][0], fmt, rows, a->n_in, key, 1 / sqrtf((float)a->n_in));
    case_floats(c, names[i][1], CASE_IN, bias ? rows + 1 : 1, key + 10, 1);
    enum case_role role = a->epilogue == EPI_ADD ? CASE_INOUT : CASE_OUT;
    if (matmul_is_gated(a->epilogue) && i == 1) { /* the second matrix has no result of its own */
        case_floats(c, names[i][2], CASE_IN, 1, key, 1);
        return;
    }
    case_floats(c, names[i][2], role, a->n_row * rows, key + 20, 1);
    const bool exact = fmt_is_plain(fmt);
    double abs = exact ? 1e-5 : 0.03;
    case_tolerance(c, matmul_is_gated(a->epilogue) ? 5 * abs : abs, exact ? 1e-5 : 1e-3);
}

/* Adds the last buffer, the weights of a norm of x: numbers around 1, or around -1. */
static void matmul_add_norm(struct op_case *c)
{
    c->args.matmul.norm.eps = 1e-5f;
    const int64_t n = c->args.matmul.n_in;
    float *w = case_floats(c, "norm", CASE_IN, n, 6, 0.5f);
    case_aligned(c);
    for (int64_t i = 0; w && i < n; i++)
        w[i] += w[i] < 0 ? -0.5f : 0.5f;
}

/* Sets tolerances and traffic, once all matrices are added. */
static void matmul_limits(struct op_case *c)
{
    struct matmul_args a = c->args.matmul;
    const bool norm = c->n_buf > 1 + 3 * a.n_out;
    a.norm.w = norm ? c->buf[c->n_buf - 1].host : NULL;
    int64_t most = 0;
    for (int i = 0; i < a.n_out; i++) {
        a.out[i].w = &c->w[i];
        most = tensor_rows(&c->w[i]) > most ? tensor_rows(&c->w[i]) : most;
    }
    case_traffic(c, traffic_matmul(&a));
    c->limits = (struct ops_limits){.max_rows = c->args.matmul.n_row,
                                    .max_in = c->args.matmul.n_in,
                                    .max_norm = norm ? c->args.matmul.n_in : 0,
                                    .max_out = most,
                                    .all_variants = true};
    for (int i = 0; i < a.n_out; i++)
        c->limits.weights[c->w[i].fmt] = true;
    c->run = matmul_run;
}

static int matmul_make_mix(int i, struct op_case *c, struct err *e)
{
    const struct matmul_mix *m = &matmul_mixes[i];
    c->args.matmul = (struct matmul_args){
        .n_row = m->n_row, .n_in = 512, .epilogue = m->epilogue, .n_out = m->n_out};
    snprintf(c->name, sizeof c->name, "%s+%s%s%s %dx512 %s%s", fmt_info(m->fmt[0])->name,
             fmt_info(m->fmt[1])->name, m->n_out > 2 ? "+" : "",
             m->n_out > 2 ? fmt_info(m->fmt[2])->name : "", m->n_row,
             call_epilogue_name(m->epilogue), m->norm ? " norm" : "");
    case_floats(c, "x", CASE_IN, m->n_row * 512, 5, 1);
    case_aligned(c);
    for (int k = 0; k < m->n_out; k++)
        matmul_add(c, k, m->fmt[k], m->rows[k], k == 0);
    if (m->norm)
        matmul_add_norm(c);
    matmul_limits(c);
    return case_done(c, e);
}

int case_matmul_row(enum fmt fmt, int64_t n_in, struct err *e)
{
    const struct fmt_info *f = fmt_info(fmt);
    if (n_in % f->block_elems)
        FAIL(e, ERR_USAGE, "%s has no rows of %lld elements: must be a multiple of %d", f->name,
             (long long)n_in, (int)f->block_elems);
    return 0;
}

int case_matmul_shape(struct op_case *c, enum fmt fmt, int n_row, int64_t n_in, int64_t n_out,
                      enum matmul_epilogue epilogue, struct err *e)
{
    const struct fmt_info *f = fmt_info(fmt);
    TRY(case_matmul_row(fmt, n_in, e));
    snprintf(c->name, sizeof c->name, "%s %dx%lld->%lld %s", f->name, n_row, (long long)n_in,
             (long long)n_out, call_epilogue_name(epilogue));
    int n = matmul_is_gated(epilogue) ? 2 : 1;
    c->bench = true;
    c->args.matmul =
        (struct matmul_args){.n_row = n_row, .n_in = n_in, .epilogue = epilogue, .n_out = n};
    case_floats(c, "x", CASE_IN, n_row * n_in, 5, 1);
    case_aligned(c);
    for (int i = 0; i < n; i++)
        matmul_add(c, i, fmt, n_out, false);
    matmul_limits(c);
    c->limits.max_out = n_out;
    return case_done(c, e);
}

int case_matmul_call(struct op_case *c, const struct matmul_call *call, int n_row, struct err *e)
{
    char text[CALL_TEXT];
    for (int i = 0; i < call->n_out; i++)
        TRY(case_matmul_row(call->fmt[i], call->n_in, e));
    c->bench = true;
    c->args.matmul = (struct matmul_args){
        .n_row = n_row, .n_in = call->n_in, .epilogue = call->epilogue, .n_out = call->n_out};
    case_floats(c, "x", CASE_IN, n_row * call->n_in, 5, 1);
    case_aligned(c);
    for (int i = 0; i < call->n_out; i++)
        matmul_add(c, i, call->fmt[i], call->rows[i], false);
    if (call->norm)
        matmul_add_norm(c);
    matmul_limits(c);
    struct matmul_args a = c->args.matmul;
    for (int i = 0; i < a.n_out; i++)
        a.out[i].w = &c->w[i];
    a.norm.w = call->norm ? c->buf[c->n_buf - 1].host : NULL;
    call_text_matmul(&a, text);
    snprintf(c->name, sizeof c->name, "%s", text);
    return case_done(c, e);
}

static bool matmul_bench(int i)
{
    return i < FMT_COUNT * N_SHAPES && matmul_shapes[i % N_SHAPES].bench;
}

static int matmul_make(int i, struct op_case *c, struct err *e)
{
    if (i >= FMT_COUNT * N_SHAPES)
        return matmul_make_mix(i - FMT_COUNT * N_SHAPES, c, e);
    const struct matmul_shape *s = &matmul_shapes[i % N_SHAPES];
    enum fmt fmt = (enum fmt)(i / N_SHAPES);
    const struct fmt_info *f = fmt_info(fmt);
    int64_t n_in = s->n_in * 256 + (f->block_elems == 1 ? s->tail : 0);
    if (f->block_elems == 32 && s->tail)
        n_in += 96; /* three blocks of 32: a partly filled group of 8 */
    c->bench = matmul_bench(i);
    snprintf(c->name, sizeof c->name, "%s %dx%lld->%lld %s%s%s%s", f->name, s->n_row,
             (long long)n_in, (long long)s->n_out, call_epilogue_name(s->epilogue),
             s->bias ? " bias" : "", s->zeros ? " zero blocks" : "", s->norm ? " norm" : "");
    int n_out = matmul_is_gated(s->epilogue) ? 2 : 1;
    c->args.matmul = (struct matmul_args){
        .n_row = s->n_row, .n_in = n_in, .epilogue = s->epilogue, .n_out = n_out};
    float *x = case_floats(c, "x", CASE_IN, s->n_row * n_in, 5, 1);
    case_aligned(c);
    for (int k = 0; k < n_out; k++)
        matmul_add(c, k, fmt, s->n_out, s->bias);
    if (s->norm)
        matmul_add_norm(c);
    TRY(case_done(c, e));
    if (s->zeros) {
        memset(x, 0, 256 * sizeof *x);
        memset(c->buf[1].host, 0, f->block_bytes);
    }
    matmul_limits(c);
    return 0;
}

const struct case_set case_matmul = {FMT_COUNT * N_SHAPES + N_MIXES, matmul_make, matmul_bench};
