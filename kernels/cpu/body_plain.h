/* body_plain: the plainest text of matmul's integer dot products, for rows of weights in the
 * order of files. Included by cpu_kernel_scalar.c, and by cpu_kernel_neon.c for the rows outside
 * strips. */

/* A weight block of a K format in plain integers: w = d * scale * q - dmin * min, per 16 elements.
 */
struct kblock {
    int8_t q[256]; /* 0..31; Q6_K: -32..31 */
    int16_t scale[16], min[16];
    float d, dmin;
};

static void kblock_load(enum fmt fmt, const char *p, struct kblock *k)
{
    const struct fmt_q4_k *b4 = (const void *)p;
    const struct fmt_q5_k *b5 = (const void *)p;
    const struct fmt_q6_k *b6 = (const void *)p;
    const uint8_t *packed = fmt == FMT_Q4_K ? b4->scale : b5->scale;
    for (int i = 0; i < 256; i++)
        k->q[i] = (int8_t)(fmt == FMT_Q4_K   ? fmt_q4_k_quant(b4, i)
                           : fmt == FMT_Q5_K ? fmt_q5_k_quant(b5, i)
                                             : fmt_q6_k_quant(b6, i));
    for (int i = 0; i < 16; i++) {
        k->scale[i] = (int16_t)(fmt == FMT_Q6_K ? b6->scale[i] : fmt_k_scale(packed, i / 2));
        k->min[i] = (int16_t)(fmt == FMT_Q6_K ? 0 : fmt_k_min(packed, i / 2));
    }
    k->d = f16_to_f32(fmt == FMT_Q4_K ? b4->d : fmt == FMT_Q5_K ? b5->d : b6->d);
    k->dmin = fmt == FMT_Q6_K ? 0 : f16_to_f32(fmt == FMT_Q4_K ? b4->dmin : b5->dmin);
}

static int32_t plain_dot(const int8_t *a, const int8_t *b, int n)
{
    int32_t s = 0;
    for (int i = 0; i < n; i++)
        s += a[i] * b[i];
    return s;
}

static float plain_sum8(const float acc[8])
{
    return ((acc[0] + acc[4]) + (acc[2] + acc[6])) + ((acc[1] + acc[5]) + (acc[3] + acc[7]));
}

/* One weight row of a K format against rows r0 .. r0 + nr - 1. */
static void plain_row_k(const struct mm_x *x, enum fmt fmt, const char *w, int64_t r0, int nr,
                        float *t)
{
    float acc[MM_ROWS][8] = {{0}};
    struct kblock k;
    for (int64_t b = 0; b < x->n_in / 256; b++) {
        kblock_load(fmt, w + (size_t)b * fmt_info(fmt)->block_bytes, &k);
        for (int r = 0; r < nr; r++) {
            const int8_t *q = mm_x_q(x, r0 + r) + b * 256;
            const int16_t *sum = mm_x_sum(x, r0 + r) + b * 16;
            int32_t dot = 0, min = 0;
            for (int g = 0; g < 16; g++) {
                dot += k.scale[g] * plain_dot(k.q + 16 * g, q + 16 * g, 16);
                min += k.min[g] * sum[g];
            }
            float dx = mm_x_d(x, r0 + r)[b], *to = &acc[r][b % 8];
            *to = fmaf(k.d * dx, (float)dot, *to);
            if (fmt != FMT_Q6_K)
                *to = fmaf(-(k.dmin * dx), (float)min, *to);
        }
    }
    for (int r = 0; r < nr; r++)
        t[r * MM_TILE] = plain_sum8(acc[r]);
}

/* One weight row of Q8_0 or Q4_0. */
static void plain_row_32(const struct mm_x *x, enum fmt fmt, const char *w, int64_t r0, int nr,
                         float *t)
{
    float acc[MM_ROWS][8] = {{0}};
    for (int64_t b = 0; b < x->n_in / 32; b++) {
        const char *p = w + (size_t)b * fmt_info(fmt)->block_bytes;
        int8_t q[32];
        uint16_t d;
        memcpy(&d, p, sizeof d); /* both formats begin with d */
        for (int i = 0; i < 32; i++)
            q[i] = fmt == FMT_Q8_0 ? ((const struct fmt_q8_0 *)(const void *)p)->q[i]
                                   : (int8_t)fmt_q4_0_quant((const void *)p, i);
        for (int r = 0; r < nr; r++) {
            int32_t dot = plain_dot(q, mm_x_q(x, r0 + r) + b * 32, 32);
            float *to = &acc[r][b % 8];
            *to = fmaf(f16_to_f32(d) * mm_x_d(x, r0 + r)[b], (float)dot, *to);
        }
    }
    for (int r = 0; r < nr; r++)
        t[r * MM_TILE] = plain_sum8(acc[r]);
}

static void plain_tile(const struct mm_x *x, const struct tensor *w, int64_t j0, int nj, int64_t r0,
                       int nr, float *t)
{
    if (!mm_x_block(w->fmt)) {
        kernel_float_tile(x, w, j0, nj, r0, nr, t);
        return;
    }
    for (int j = 0; j < nj; j++) {
        const char *row = (const char *)w->data + (size_t)(j0 + j) * w->row_bytes;
        switch (w->fmt) {
        case FMT_Q4_K:
        case FMT_Q5_K:
        case FMT_Q6_K:
            plain_row_k(x, w->fmt, row, r0, nr, t + j);
            break;
        case FMT_Q4_0:
        case FMT_Q8_0:
            plain_row_32(x, w->fmt, row, r0, nr, t + j);
            break;
        default:
            UNREACHABLE("a row of MM_QUANTS without a case");
        }
    }
}
