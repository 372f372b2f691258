/* body_matmul: quantisation of activations and the generic tiles of matmul; the numerics are stated
 * in cpu_matmul.c. Included by cpu_kernel_*.c only. */

/* q, sums and scale of m elements (16 .. 256, a multiple of 16). A block with a NaN or an infinity
 * gets the scale NaN, so that it shows in the result; one below 1e-30 counts as zero (127 / amax
 * would overflow). */
static float kernel_quantise_block(const float *x, int m, int8_t *q, int16_t *sum)
{
    struct v16 top = v16_zero(), bad = v16_zero();
    for (int i = 0; i < m; i += V16) {
        struct v16 v = v16_load(x + i);
        top = v16_max(v16_abs(v), top);
        bad = v16_fma(v, v16_zero(), bad); /* 0, or NaN */
    }
    float amax = v16_top(top), poison = v16_sum(bad);
    if (!(amax >= 1e-30f) || poison != 0 || isnan(poison)) {
        memset(q, 0, (size_t)m);
        memset(sum, 0, (size_t)(m / 16) * sizeof *sum);
        return poison;
    }
    struct v16 scale = v16_set1(127 / amax);
    for (int i = 0; i < m; i += V16)
        sum[i / 16] = (int16_t)v16_store_i8(q + i, v16_mul(v16_load(x + i), scale));
    return amax / 127;
}

/* The sums as the kernels of strips want them (struct mm_x). */
static void kernel_quantise_sums(const struct mm_x *x, const int16_t *sum, int16_t *pair, int32_t *off)
{
    static const uint8_t order[8] = {0, 2, 1, 3, 4, 6, 5, 7};
    if (x->block == 32) {
        for (int64_t b = 0; b < x->n_in / 32; b++)
            off[b] = -8 * (sum[2 * b] + sum[2 * b + 1]);
        return;
    }
    for (int64_t i = 0; i < x->n_in / 16; i++)
        off[i] = -32 * sum[i];
    for (int64_t b = 0; b < x->n_in / 256; b++, sum += 16)
        for (int g = 0; g < 8; g++)
            *pair++ = (int16_t)(sum[2 * order[g]] + sum[2 * order[g] + 1]);
}

static void kernel_quantise(const struct mm_x *x, int64_t r)
{
    const int block = x->block;
    char *row = x->base + (size_t)r * x->stride;
    int8_t *q = (int8_t *)row;
    int16_t *sum = (int16_t *)(void *)(row + x->sum_at);
    float *d = (float *)(void *)(row + x->d_at);
    int64_t n = x->n_in / block;
    for (int64_t b = 0; b < n; b++)
        d[b] = kernel_quantise_block(x->f + r * x->n_in + b * block, block, q + b * block,
                                     sum + b * block / 16);
    for (; n % 8; n++)
        d[n] = 0;
    kernel_quantise_sums(x, sum, (int16_t *)(void *)(row + x->pair_at), (int32_t *)(void *)(row + x->off_at));
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

/* rows r0 .. r0 + nr - 1 (nr 1..4) against one weight row; fmt is a constant where this is inlined
 */
static inline __attribute__((always_inline)) void
kernel_float_row(enum fmt fmt, const struct mm_x *x, int64_t r0, int nr, const char *w, float *t)
{
    int64_t n = x->n_in, i = 0;
    const float *a = x->f + r0 * n;
    const float *b = nr > 1 ? a + n : a, *c = nr > 2 ? a + 2 * n : a, *d = nr > 3 ? a + 3 * n : a;
    struct v16 sa = v16_zero(), sb = sa, sc = sa, sd = sa;
    if (nr == 1) {
        for (; i + V16 <= n; i += V16)
            sa = v16_fma(kernel_load_weights(fmt, w, i), v16_load(a + i), sa);
    } else {
        for (; i + V16 <= n; i += V16) {
            struct v16 v = kernel_load_weights(fmt, w, i);
            sa = v16_fma(v, v16_load(a + i), sa);
            sb = v16_fma(v, v16_load(b + i), sb);
            sc = v16_fma(v, v16_load(c + i), sc);
            sd = v16_fma(v, v16_load(d + i), sd);
        }
    }
    if (i < n) {
        float tail[V16] = {0};
        size_t bytes = fmt_info(fmt)->block_bytes;
        fmt_info(fmt)->decode(w + (size_t)i * bytes, tail, n - i);
        struct v16 v = v16_load(tail);
        sa = v16_fma(v, v16_load_n(a + i, n - i), sa);
        sb = v16_fma(v, v16_load_n(b + i, n - i), sb);
        sc = v16_fma(v, v16_load_n(c + i, n - i), sc);
        sd = v16_fma(v, v16_load_n(d + i, n - i), sd);
    }
    const struct v16 s[4] = {sa, sb, sc, sd};
    for (int k = 0; k < nr; k++)
        t[k * MM_TILE] = v16_sum(s[k]);
}

static void kernel_float_tile(const struct mm_x *x, const struct tensor *w, int64_t j0, int nj,
                              int64_t r0, int nr, float *t)
{
    for (int j = 0; j < nj; j++) {
        const char *row = (const char *)w->data + (size_t)(j0 + j) * w->row_bytes;
        for (int r = 0; r < nr; r += 4) {
            int m = nr - r < 4 ? nr - r : 4;
            float *to = t + r * MM_TILE + j;
            if (w->fmt == FMT_F32)
                kernel_float_row(FMT_F32, x, r0 + r, m, row, to);
            else if (w->fmt == FMT_F16)
                kernel_float_row(FMT_F16, x, r0 + r, m, row, to);
            else
                kernel_float_row(FMT_BF16, x, r0 + r, m, row, to);
        }
    }
}
