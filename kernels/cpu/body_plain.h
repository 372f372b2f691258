/* body_plain: the plainest text of matmul's integer dot products, for rows of weights in the
 * order of files. Included by cpu_kernel_scalar.c, and by cpu_kernel_neon.c for the rows outside
 * strips. */

/* A weight block of 256 in plain integers: w = d * scale * q - dmin * min, per 16 elements. */
struct kblock {
    int8_t q[256];
    int16_t scale[16], min[16];
    float d, dmin;
};

static void kblock_load_k(enum fmt fmt, const char *p, struct kblock *k)
{
    const struct fmt_q4_k *b4 = (const void *)p;
    const struct fmt_q5_k *b5 = (const void *)p;
    const uint8_t *packed = fmt == FMT_Q4_K ? b4->scale : b5->scale;
    for (int i = 0; i < 256; i++)
        k->q[i] = (int8_t)(fmt == FMT_Q4_K ? fmt_q4_k_quant(b4, i) : fmt_q5_k_quant(b5, i));
    for (int i = 0; i < 16; i++) {
        k->scale[i] = (int16_t)fmt_k_scale(packed, i / 2);
        k->min[i] = (int16_t)fmt_k_min(packed, i / 2);
    }
    k->d = f16_to_f32(fmt == FMT_Q4_K ? b4->d : b5->d);
    k->dmin = f16_to_f32(fmt == FMT_Q4_K ? b4->dmin : b5->dmin);
}

static void kblock_load_q2_k(const struct fmt_q2_k *b, struct kblock *k)
{
    for (int i = 0; i < 256; i++)
        k->q[i] = (int8_t)fmt_k_two_bits(b->q, i);
    for (int i = 0; i < 16; i++) {
        k->scale[i] = b->scale[i] & 15;
        k->min[i] = b->scale[i] >> 4;
    }
    k->d = f16_to_f32(b->d);
    k->dmin = f16_to_f32(b->dmin);
}

static void kblock_load_q3_k(const struct fmt_q3_k *b, struct kblock *k)
{
    for (int i = 0; i < 256; i++)
        k->q[i] = (int8_t)fmt_q3_k_quant(b, i);
    for (int i = 0; i < 16; i++)
        k->scale[i] = (int16_t)fmt_q3_k_scale(b->scale, i);
    k->d = f16_to_f32(b->d);
}

static void kblock_load_q6_k(const struct fmt_q6_k *b, struct kblock *k)
{
    for (int i = 0; i < 256; i++)
        k->q[i] = (int8_t)fmt_q6_k_quant(b, i);
    for (int i = 0; i < 16; i++)
        k->scale[i] = b->scale[i];
    k->d = f16_to_f32(b->d);
}

static void kblock_load_iq4_xs(const struct fmt_iq4_xs *b, struct kblock *k)
{
    for (int i = 0; i < 256; i++) {
        const int byte = b->q[i / 32 * 16 + i % 16];
        k->q[i] = fmt_iq4_book[i & 16 ? byte >> 4 : byte & 15];
    }
    for (int i = 0; i < 16; i++)
        k->scale[i] = (int16_t)fmt_iq4_xs_scale(b, i / 2);
    k->d = f16_to_f32(b->d);
}

/* The quants and scales of the formats below are whole numbers: d * (scale + 1/2) / 4 becomes
 * d / 8 * (2 scale + 1). */
static void kblock_load_iq3(enum fmt fmt, const char *p, struct kblock *k)
{
    const struct fmt_iq3_s *s = (const void *)p;
    const struct fmt_iq3_xxs *x = (const void *)p;
    for (int i = 0; i < 256; i++) {
        if (fmt == FMT_IQ3_S) {
            k->q[i] = (int8_t)fmt_iq3_s_quant(s, i);
            k->scale[i / 16] = (int16_t)(1 + 2 * (s->scale[i / 64] >> (i / 32 % 2 * 4) & 15));
            continue;
        }
        const uint32_t word = fmt_iq3_xxs_word(x, i / 32);
        const int signs = fmt_iq_signs((int)(word >> i / 8 % 4 * 7 & 127));
        k->q[i] = (int8_t)fmt_iq_signed(fmt_iq3_xxs_size(fmt_iq3_xxs_book[x->q[i / 4]], i % 4),
                                        signs, i % 8);
        k->scale[i / 16] = (int16_t)(1 + 2 * (word >> 28));
    }
    k->d = fmt == FMT_IQ3_S ? f16_to_f32(s->d) : f16_to_f32(x->d) * 0.25f;
}

static void kblock_load_iq2_xxs(const struct fmt_iq2_xxs *b, struct kblock *k)
{
    for (int i = 0; i < 256; i++) {
        const uint32_t word = fmt_iq2_xxs_word(b, i / 32);
        const int eight = i / 8 % 4, signs = fmt_iq_signs((int)(word >> eight * 7 & 127)),
                  number = b->q[4 * (i / 32) + eight / 2] >> eight % 2 * 8 & 255;
        k->q[i] =
            (int8_t)fmt_iq_signed(fmt_iq2_size(fmt_iq2_xxs_book[number], i % 8), signs, i % 8);
        k->scale[i / 16] = (int16_t)(1 + 2 * (word >> 28));
    }
    k->d = f16_to_f32(b->d) * 0.125f;
}

static void kblock_load_iq2(enum fmt fmt, const char *p, struct kblock *k)
{
    const struct fmt_iq2_xs *x = (const void *)p;
    const struct fmt_iq2_s *s = (const void *)p;
    for (int i = 0; i < 256; i++) {
        const int q = x->q[i / 8], size = fmt_iq2_size(fmt_iq2_xs_book[q & 511], i % 8);
        k->q[i] = (int8_t)(fmt == FMT_IQ2_S ? fmt_iq2_s_quant(s, i)
                                            : fmt_iq_signed(size, fmt_iq_signs(q >> 9), i % 8));
    }
    for (int i = 0; i < 16; i++) {
        const int byte = fmt == FMT_IQ2_S ? s->scale[i / 2] : x->scale[i / 2];
        k->scale[i] = (int16_t)(1 + 2 * (byte >> i % 2 * 4 & 15));
    }
    k->d = f16_to_f32(fmt == FMT_IQ2_S ? s->d : x->d) * 0.125f;
}

static void kblock_load(enum fmt fmt, const char *p, struct kblock *k)
{
    memset(k->min, 0, sizeof k->min);
    k->dmin = 0;
    switch (fmt) {
    case FMT_Q4_K:
    case FMT_Q5_K:
        kblock_load_k(fmt, p, k);
        break;
    case FMT_Q2_K:
        kblock_load_q2_k((const void *)p, k);
        break;
    case FMT_Q3_K:
        kblock_load_q3_k((const void *)p, k);
        break;
    case FMT_Q6_K:
        kblock_load_q6_k((const void *)p, k);
        break;
    case FMT_IQ4_XS:
        kblock_load_iq4_xs((const void *)p, k);
        break;
    case FMT_IQ3_S:
    case FMT_IQ3_XXS:
        kblock_load_iq3(fmt, p, k);
        break;
    case FMT_IQ2_XXS:
        kblock_load_iq2_xxs((const void *)p, k);
        break;
    case FMT_IQ2_XS:
    case FMT_IQ2_S:
        kblock_load_iq2(fmt, p, k);
        break;
    default:
        UNREACHABLE("a row of MM_QUANTS in blocks of 256 without a case");
    }
}

/* A weight block of 32: w = d * q + m. */
struct block32 {
    int8_t q[32];
    float d, m;
};

static int block32_quant(enum fmt fmt, const char *p, int i)
{
    const int shift = i / 16 * 4;
    switch (fmt) {
    case FMT_Q8_0:
        return ((const struct fmt_q8_0 *)(const void *)p)->q[i];
    case FMT_Q4_0:
        return fmt_q4_0_quant((const void *)p, i);
    case FMT_Q4_1:
        return fmt_q4_1_quant((const void *)p, i);
    case FMT_Q5_0:
        return fmt_q5_0_quant((const void *)p, i);
    case FMT_Q5_1:
        return fmt_q5_1_quant((const void *)p, i);
    case FMT_IQ4_NL:
        return fmt_iq4_book[((const struct fmt_iq4_nl *)(const void *)p)->q[i % 16] >> shift & 15];
    default:
        UNREACHABLE("a row of MM_QUANTS in blocks of 32 without a case");
    }
}

static void block32_load(enum fmt fmt, const char *p, struct block32 *k)
{
    uint16_t half[2];
    memcpy(half, p, sizeof half); /* all begin with d; m follows where there is one */
    for (int i = 0; i < 32; i++)
        k->q[i] = (int8_t)block32_quant(fmt, p, i);
    k->d = f16_to_f32(half[0]);
    k->m = mm_has_min(fmt) ? f16_to_f32(half[1]) : 0;
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

/* One weight row in blocks of 256 against rows r0 .. r0 + nr - 1. */
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
            if (mm_has_min(fmt))
                *to = fmaf(-(k.dmin * dx), (float)min, *to);
        }
    }
    for (int r = 0; r < nr; r++)
        t[r * MM_TILE] = plain_sum8(acc[r]);
}

/* One weight row in blocks of 32. */
static void plain_row_32(const struct mm_x *x, enum fmt fmt, const char *w, int64_t r0, int nr,
                         float *t)
{
    float acc[MM_ROWS][8] = {{0}};
    struct block32 k;
    for (int64_t b = 0; b < x->n_in / 32; b++) {
        block32_load(fmt, w + (size_t)b * fmt_info(fmt)->block_bytes, &k);
        for (int r = 0; r < nr; r++) {
            int32_t dot = plain_dot(k.q, mm_x_q(x, r0 + r) + b * 32, 32);
            float *to = &acc[r][b % 8];
            *to = fmaf(k.d * mm_x_d(x, r0 + r)[b], (float)dot, *to);
            if (mm_has_min(fmt))
                *to = fmaf(k.m, mm_x_ds(x, r0 + r)[b], *to);
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
        if (mm_x_block(w->fmt) == 256)
            plain_row_k(x, w->fmt, row, r0, nr, t + j);
        else
            plain_row_32(x, w->fmt, row, r0, nr, t + j);
    }
}
