/* body_matmul: quantisation of activations and the generic tiles of matmul; cpu_matmul.c states the
 * numerics. Included by cpu_kernel_*.c only. */

/* The largest magnitude of m elements (16 .. 256, a multiple of 16). NaN, if one of them is NaN or
 * infinite. */
static float kernel_quantise_top(const float *x, int m)
{
    struct v16 top = v16_zero(), bad = v16_zero();
    for (int i = 0; i < m; i += V16) {
        struct v16 v = v16_load(x + i);
        top = v16_max(v16_abs(v), top);
        bad = v16_fma(v, v16_zero(), bad); /* 0, or NaN */
    }
    return v16_nan_bits(bad) ? NAN : v16_top(top);
}

/* q, sums and scales d of n <= 16 blocks of m elements. A block with a NaN or an infinity gets the
 * scale NaN, so that the fault shows in the result. A block whose elements are below 1e-30 counts
 * as zero, because the quotient 127 / top would overflow. */
static void kernel_quantise_blocks(const float *x, int n, int m, int8_t *q, int16_t *sum, float *d)
{
    float top[V16] = {0}, scale[V16];
    const struct v16 most = v16_set1(127);
    for (int b = 0; b < n; b++)
        top[b] = kernel_quantise_top(x + b * m, m);
    v16_store(scale, v16_div(most, v16_load(top)));
    v16_store_n(d, v16_div(v16_load(top), most), n);
    for (int b = 0; b < n; b++, x += m, q += m, sum += m / 16) {
        if (!(top[b] >= 1e-30f)) {
            d[b] = isnan(top[b]) ? NAN : 0;
            memset(q, 0, (size_t)m);
            memset(sum, 0, (size_t)(m / 16) * sizeof *sum);
            continue;
        }
        const struct v16 s = v16_set1(scale[b]);
        for (int i = 0; i < m; i += V16)
            sum[i / 16] = (int16_t)v16_store_i8(q + i, v16_mul(v16_load(x + i), s));
    }
}

/* The sums in the form of the strip kernels (struct mm_x). */
static void kernel_quantise_sums(const struct mm_x *x, char *row)
{
    static const uint8_t order[8] = {0, 2, 1, 3, 4, 6, 5, 7};
    const int16_t *sum = (const int16_t *)(const void *)(row + x->sum_at);
    int16_t *pair = (int16_t *)(void *)(row + x->pair_at),
            *mix = (int16_t *)(void *)(row + x->mix_at);
    int32_t *off = (int32_t *)(void *)(row + x->off_at),
            *top = (int32_t *)(void *)(row + x->top_at),
            *whole = (int32_t *)(void *)(row + x->whole_at);
    const float *d = (const float *)(const void *)(row + x->d_at);
    float *ds = (float *)(void *)(row + x->ds_at);
    for (int64_t b = 0; b < x->n_in / 32; b++)
        top[b] = -128 * (sum[2 * b] + sum[2 * b + 1]);
    if (x->block == 32) {
        for (int64_t b = 0; b < x->n_in / 32; b++) {
            off[b] = -8 * (sum[2 * b] + sum[2 * b + 1]);
            ds[b] = d[b] * (float)(sum[2 * b] + sum[2 * b + 1]);
        }
        return;
    }
    for (int64_t i = 0; i < x->n_in / 16; i++) {
        off[i] = -32 * sum[i];
        mix[i] = sum[i / 4 * 4 + order[i % 4]];
    }
    for (int64_t b = 0; b < x->n_in / 256; b++, sum += 16) {
        int all = 0;
        for (int g = 0; g < 8; g++) {
            *pair++ = (int16_t)(sum[2 * order[g]] + sum[2 * order[g] + 1]);
            all += pair[-1];
        }
        whole[b] = -127 * all;
    }
}

static void kernel_quantise(const struct mm_x *x, int64_t r)
{
    const int block = x->block;
    char *row = x->base + (size_t)r * x->stride;
    int8_t *q = (int8_t *)row;
    int16_t *sum = (int16_t *)(void *)(row + x->sum_at);
    float *d = (float *)(void *)(row + x->d_at);
    int64_t n = x->n_in / block;
    for (int64_t b = 0; b < n; b += V16)
        kernel_quantise_blocks(x->f + r * x->n_in + b * block, n - b < V16 ? (int)(n - b) : V16,
                               block, q + b * block, sum + b * block / 16, d + b);
    for (; n % 8; n++)
        d[n] = 0;
    kernel_quantise_sums(x, row);
}

/* ---- float weights: 16 interleaved fmaf accumulators, element i in lane i % 16
 * -------------------- */

static struct v16 kernel_load_weights(enum fmt fmt, const char *p, int64_t i)
{
    const uint16_t *h = (const uint16_t *)(const void *)p + i;
    if (fmt == FMT_F32)
        return v16_load((const float *)(const void *)p + i);
    return fmt == FMT_F16 ? v16_load_f16(h) : v16_load_bf16(h);
}

/* FLOAT_W weight rows are multiplied with FLOAT_X rows of x in registers. A loaded weight is used
 * FLOAT_X times, a loaded x FLOAT_W times. */
#if defined(__AVX512F__)
enum { FLOAT_W = 4, FLOAT_X = 4 };
#else
enum { FLOAT_W = 1, FLOAT_X = 4 }; /* a v16 takes two of sixteen registers, or an array */
#endif

/* The last n_in % 16 elements of weight row w. */
static struct v16 kernel_float_tail(enum fmt fmt, const char *w, int64_t i, int64_t n)
{
    float tail[V16] = {0};
    fmt_info(fmt)->decode(w + (size_t)i * fmt_info(fmt)->block_bytes, tail, n - i);
    return v16_load(tail);
}

/* nw weight rows against rows r0 .. r0 + nr - 1. nx >= nr rows are computed; the last one is
 * repeated. fmt, nw and nx are constants after inlining. */
static inline __attribute__((always_inline)) void
kernel_float_rows(enum fmt fmt, const struct mm_x *x, int64_t r0, int nr, const int nx,
                  const char *w, size_t row_bytes, const int nw, float *t)
{
    const int64_t n = x->n_in;
    const float *a[FLOAT_X];
    struct v16 s[FLOAT_W][FLOAT_X], v[FLOAT_W];
    int64_t i = 0;
    for (int k = 0; k < nx; k++)
        a[k] = x->f + (r0 + (k < nr ? k : nr - 1)) * n;
    for (int j = 0; j < nw; j++)
        for (int k = 0; k < nx; k++)
            s[j][k] = v16_zero();
    for (; i + V16 <= n; i += V16) {
#pragma GCC unroll 4
        for (int j = 0; j < nw; j++)
            v[j] = kernel_load_weights(fmt, w + (size_t)j * row_bytes, i);
#pragma GCC unroll 4
        for (int k = 0; k < nx; k++) {
            const struct v16 y = v16_load(a[k] + i);
#pragma GCC unroll 4
            for (int j = 0; j < nw; j++)
                s[j][k] = v16_fma(v[j], y, s[j][k]);
        }
    }
    for (int j = 0; j < nw && i < n; j++) {
        const struct v16 rest = kernel_float_tail(fmt, w + (size_t)j * row_bytes, i, n);
        for (int k = 0; k < nx; k++)
            s[j][k] = v16_fma(rest, v16_load_n(a[k] + i, n - i), s[j][k]);
    }
    for (int j = 0; j < nw; j++)
        for (int k = 0; k < nr; k++)
            t[k * MM_TILE + j] = v16_sum(s[j][k]);
}

static inline __attribute__((always_inline)) void
kernel_float_part(enum fmt fmt, const struct mm_x *x, int64_t r0, int nr, const char *w,
                  size_t row_bytes, const int nw, float *t)
{
    if (nr == 1)
        kernel_float_rows(fmt, x, r0, 1, 1, w, row_bytes, nw, t);
    else if (nr == 2)
        kernel_float_rows(fmt, x, r0, 2, 2, w, row_bytes, nw, t);
    else
        kernel_float_rows(fmt, x, r0, nr, FLOAT_X, w, row_bytes, nw, t);
}

static inline __attribute__((always_inline)) void
kernel_float_format(enum fmt fmt, const struct mm_x *x, const struct tensor *w, int64_t j0, int nj,
                    int64_t r0, int nr, float *t)
{
    for (int r = 0; r < nr; r += FLOAT_X) {
        const int m = nr - r < FLOAT_X ? nr - r : FLOAT_X;
        const char *row = (const char *)w->data + (size_t)j0 * w->row_bytes;
        int j = 0;
        for (; FLOAT_W > 1 && j + FLOAT_W <= nj; j += FLOAT_W)
            kernel_float_part(fmt, x, r0 + r, m, row + (size_t)j * w->row_bytes, w->row_bytes,
                              FLOAT_W, t + r * MM_TILE + j);
        for (; j < nj; j++)
            kernel_float_part(fmt, x, r0 + r, m, row + (size_t)j * w->row_bytes, w->row_bytes, 1,
                              t + r * MM_TILE + j);
    }
}

/* ---- formats of blocks without a kernel of their own ----------------------------------------- */

/* One weight row, decoded piece by piece, against rows r0 .. r0 + nr - 1. */
static void kernel_decoded_row(const struct mm_x *x, const struct fmt_info *f, const char *w,
                               int64_t r0, int nr, float *t)
{
    _Alignas(64) float piece[4 * FMT_MOST_ELEMS];
    const int64_t blocks = (int64_t)(sizeof piece / sizeof *piece) / f->block_elems;
    const int64_t most = blocks * f->block_elems;
    struct v16 s[MM_ROWS];
    for (int r = 0; r < nr; r++)
        s[r] = v16_zero();
    for (int64_t at = 0; at < x->n_in; at += most, w += (size_t)blocks * f->block_bytes) {
        const int64_t n = x->n_in - at < most ? x->n_in - at : most;
        f->decode(w, piece, n);
        for (int r = 0; r < nr; r++) {
            const float *a = x->f + (r0 + r) * x->n_in + at;
            for (int64_t i = 0; i < n; i += V16)
                s[r] = v16_fma(v16_load(piece + i), v16_load(a + i), s[r]);
        }
    }
    for (int r = 0; r < nr; r++)
        t[r * MM_TILE] = v16_sum(s[r]);
}

static void kernel_float_tile(const struct mm_x *x, const struct tensor *w, int64_t j0, int nj,
                              int64_t r0, int nr, float *t)
{
    if (w->fmt == FMT_F32)
        kernel_float_format(FMT_F32, x, w, j0, nj, r0, nr, t);
    else if (w->fmt == FMT_F16)
        kernel_float_format(FMT_F16, x, w, j0, nj, r0, nr, t);
    else if (w->fmt == FMT_BF16)
        kernel_float_format(FMT_BF16, x, w, j0, nj, r0, nr, t);
    else
        for (int j = 0; j < nj; j++)
            kernel_decoded_row(x, fmt_info(w->fmt),
                               (const char *)w->data + (size_t)(j0 + j) * w->row_bytes, r0, nr,
                               t + j);
}
