/*
 * body_strip512: matmul of many rows with AVX-512 VNNI. Sixteen weight rows are unpacked once into
 * panels of 256 columns in which a 32-bit lane belongs to one weight row:
 *
 *   q[k][j][0..3]   quants 4k .. 4k+3 of weight row j, unsigned    one register per k
 *   scale, min, d   one lane per weight row too
 *
 * so that four products of sixteen weight rows are one vpdpbusd with four broadcast bytes of x,
 * sums need no shuffles, and a result is sixteen neighbouring columns. A strip (16 weight rows) of
 * 4096 columns has 90 KiB and stays in L2 while all rows of x pass, MM_ROWS at a time.
 *
 * vpdpbusd wants unsigned weights: Q6_K, Q8_0 and Q4_0 are stored with an offset (32, 128, 8),
 * taken back exactly with the sums of x. The integers are those of cpu_matmul.c, and so are the
 * bits. Included by cpu_kernel_avx512.c only.
 */

static inline __m512i strip_load(const void *p)
{
    return _mm512_load_si512(p);
}

/* The four bytes at p in every lane. */
static inline __m512i strip_spread(const void *p)
{
    int32_t v;
    memcpy(&v, p, sizeof v);
    return _mm512_set1_epi32(v);
}

/* ---- packing
 * ------------------------------------------------------------------------------------- */

/* out[k] lane j = in[j] lane k */
static inline void strip_transpose(const __m512i in[16], __m512i out[16])
{
    __m512i a[16], b[16];
    for (int i = 0; i < 16; i += 2) {
        a[i] = _mm512_unpacklo_epi32(in[i], in[i + 1]);
        a[i + 1] = _mm512_unpackhi_epi32(in[i], in[i + 1]);
    }
    for (int i = 0; i < 16; i += 4)
        for (int h = 0; h < 2; h++) {
            b[i + 2 * h] = _mm512_unpacklo_epi64(a[i + h], a[i + h + 2]);
            b[i + 2 * h + 1] = _mm512_unpackhi_epi64(a[i + h], a[i + h + 2]);
        }
    /* b[4g + c] holds columns c, c+4, c+8, c+12 of rows 4g .. 4g+3, 128 bits each */
    for (int c = 0; c < 4; c++) {
        __m512i p = _mm512_shuffle_i32x4(b[c], b[4 + c], 0x44),
                q = _mm512_shuffle_i32x4(b[c], b[4 + c], 0xee);
        __m512i r = _mm512_shuffle_i32x4(b[8 + c], b[12 + c], 0x44);
        __m512i s = _mm512_shuffle_i32x4(b[8 + c], b[12 + c], 0xee);
        out[c] = _mm512_shuffle_i32x4(p, r, 0x88);
        out[4 + c] = _mm512_shuffle_i32x4(p, r, 0xdd);
        out[8 + c] = _mm512_shuffle_i32x4(q, s, 0x88);
        out[12 + c] = _mm512_shuffle_i32x4(q, s, 0xdd);
    }
}

/* Rows of 256 bytes -> p->q. */
static void strip_interleave(const uint8_t rows[MM_TILE][256], struct mm_panel *p)
{
    for (int part = 0; part < 4; part++) {
        __m512i in[16], out[16];
        for (int j = 0; j < 16; j++)
            in[j] = strip_load(rows[j] + 64 * part);
        strip_transpose(in, out);
        for (int k = 0; k < 16; k++)
            _mm512_store_si512(p->q[16 * part + k], out[k]);
    }
}

static inline void strip_store_row(const __m256i q[8], uint8_t row[256])
{
    for (int i = 0; i < 8; i++)
        _mm256_store_si256((__m256i *)(void *)(row + 32 * i), q[i]);
}

/* Scales and minimums of weight row j, from Q4_K's or Q5_K's packed form. */
static inline void strip_scales(const uint8_t packed[12], int j, struct mm_panel *p)
{
    uint64_t scale, min;
    dot_k_scales(packed, &scale, &min);
    for (int g = 0; g < 8; g++) {
        int32_t m = (int32_t)(min >> 8 * g & 63);
        p->scale[g][j] = (int32_t)(scale >> 8 * g & 63);
        p->min[g][j] = m | m << 16; /* for the sums of both halves of the 32 */
    }
}

static void strip_pack_k(const struct tensor *w, const char *const row[MM_TILE], int64_t b,
                         struct mm_panel *p)
{
    _Alignas(64) uint8_t bytes[MM_TILE][256];
    struct dot_k k;
    for (int j = 0; j < MM_TILE; j++) {
        if (w->fmt == FMT_Q4_K) {
            const struct fmt_q4_k *q = (const struct fmt_q4_k *)(const void *)row[j] + b;
            dot_unpack_q4_k(q, &k);
            strip_scales(q->scale, j, p);
            p->d[j] = _cvtsh_ss(q->d);
            p->dmin[j] = _cvtsh_ss(q->dmin);
        } else if (w->fmt == FMT_Q5_K) {
            const struct fmt_q5_k *q = (const struct fmt_q5_k *)(const void *)row[j] + b;
            dot_unpack_q5_k(q, &k);
            strip_scales(q->scale, j, p);
            p->d[j] = _cvtsh_ss(q->d);
            p->dmin[j] = _cvtsh_ss(q->dmin);
        } else {
            const struct fmt_q6_k *q = (const struct fmt_q6_k *)(const void *)row[j] + b;
            dot_unpack_q6_k(q, &k);
            for (int g = 0; g < 16; g++)
                p->scale[g][j] = q->scale[g];
            for (int g = 0; g < 8; g++) /* 32 * scale of two groups, side by side as int16 */
                p->min[g][j] = (int32_t)((uint32_t)(uint16_t)(q->scale[2 * g] * 32) |
                                         (uint32_t)(q->scale[2 * g + 1] * 32) << 16);
            p->d[j] = _cvtsh_ss(q->d);
        }
        strip_store_row(k.q, bytes[j]);
    }
    strip_interleave(bytes, p);
}

/* Blocks at .. at + n - 1 (n <= 8) of a format of 32 elements. */
static void strip_pack_32(const struct tensor *w, const char *const row[MM_TILE], int64_t at, int n,
                          struct mm_panel *p)
{
    _Alignas(64) uint8_t bytes[MM_TILE][256];
    memset(bytes, 0, sizeof bytes);
    for (int j = 0; j < MM_TILE; j++)
        for (int b = 0; b < n; b++) {
            __m256i q;
            if (w->fmt == FMT_Q4_0) {
                const struct fmt_q4_0 *s = (const struct fmt_q4_0 *)(const void *)row[j] + at + b;
                q = _mm256_add_epi8(dot_unpack_q4_0(s), _mm256_set1_epi8(8));
                p->d32[b][j] = _cvtsh_ss(s->d);
            } else {
                const struct fmt_q8_0 *s = (const struct fmt_q8_0 *)(const void *)row[j] + at + b;
                q = _mm256_xor_si256(dot_load(s->q), _mm256_set1_epi8(-128));
                p->d32[b][j] = _cvtsh_ss(s->d);
            }
            _mm256_store_si256((__m256i *)(void *)(bytes[j] + 32 * b), q);
        }
    strip_interleave(bytes, p);
}

/* Weight rows j0 .. j0 + nj - 1; lanes beyond repeat the last row and are not used. */
static void strip_pack(const struct tensor *w, int64_t j0, int nj, struct mm_panel *p)
{
    const char *row[MM_TILE];
    const int64_t n_in = tensor_cols(w);
    for (int j = 0; j < MM_TILE; j++)
        row[j] = (const char *)w->data + (size_t)(j0 + (j < nj ? j : nj - 1)) * w->row_bytes;
    if (fmt_info(w->fmt)->block_elems == 256) {
        for (int64_t b = 0; b < n_in / 256; b++)
            strip_pack_k(w, row, b, p + b);
        return;
    }
    for (int64_t b = 0; b < n_in / 32; b += 8)
        strip_pack_32(w, row, b, n_in / 32 - b < 8 ? (int)(n_in / 32 - b) : 8, p + b / 8);
}

/* ---- multiplying
 * --------------------------------------------------------------------------------- */

static inline __m512 strip_sum8(const __m512 a[8])
{
    return _mm512_add_ps(_mm512_add_ps(_mm512_add_ps(a[0], a[4]), _mm512_add_ps(a[2], a[6])),
                         _mm512_add_ps(_mm512_add_ps(a[1], a[5]), _mm512_add_ps(a[3], a[7])));
}

/* n is MM_ROWS or half of it, groups 8 or 16 scales per 256: constants after inlining. */
static inline __attribute__((always_inline)) void strip_k(const struct mm_x *x, enum fmt fmt,
                                                          const struct mm_panel *p,
                                                          const int64_t r[MM_ROWS], const int n,
                                                          float *t)
{
    const int groups = fmt == FMT_Q6_K ? 16 : 8, steps = 64 / groups;
    __m512 acc[MM_ROWS][8];
    for (int i = 0; i < n; i++)
        for (int b = 0; b < 8; b++)
            acc[i][b] = _mm512_setzero_ps();
    for (int64_t b = 0; b < x->n_in / 256; b++, p++) {
        const int8_t *q[MM_ROWS];
        __m512i dot[MM_ROWS], min[MM_ROWS];
#pragma GCC unroll 8
        for (int i = 0; i < n; i++) {
            q[i] = mm_x_q(x, r[i]) + 256 * b;
            dot[i] = min[i] = _mm512_setzero_si512();
        }
        for (int g = 0; g < groups; g++) {
            __m512i s[MM_ROWS];
#pragma GCC unroll 8
            for (int i = 0; i < n; i++)
                s[i] = _mm512_setzero_si512();
#pragma GCC unroll 8
            for (int k = 0; k < steps; k++) {
                __m512i w = strip_load(p->q[g * steps + k]);
#pragma GCC unroll 8
                for (int i = 0; i < n; i++)
                    s[i] = _mm512_dpbusd_epi32(s[i], w, strip_spread(q[i] + 4 * (g * steps + k)));
            }
            __m512i scale = strip_load(p->scale[g]);
#pragma GCC unroll 8
            for (int i = 0; i < n; i++)
                dot[i] = _mm512_add_epi32(dot[i], _mm512_mullo_epi32(s[i], scale));
        }
        for (int g = 0; g < 8; g++) {
            __m512i m = strip_load(p->min[g]);
#pragma GCC unroll 8
            for (int i = 0; i < n; i++)
                min[i] = _mm512_dpwssd_epi32(min[i], m,
                                             strip_spread(mm_x_sum(x, r[i]) + 16 * b + 2 * g));
        }
#pragma GCC unroll 8
        for (int i = 0; i < n; i++) {
            __m512 dx = _mm512_set1_ps(mm_x_d(x, r[i])[b]), *to = &acc[i][b % 8];
            __m512i isum = fmt == FMT_Q6_K ? _mm512_sub_epi32(dot[i], min[i]) : dot[i];
            __m512 d = _mm512_mul_ps(_mm512_load_ps(p->d), dx);
            *to = _mm512_fmadd_ps(d, _mm512_cvtepi32_ps(isum), *to);
            if (fmt != FMT_Q6_K) {
                d = _mm512_mul_ps(_mm512_load_ps(p->dmin), dx);
                *to = _mm512_fnmadd_ps(d, _mm512_cvtepi32_ps(min[i]), *to);
            }
        }
    }
    for (int i = 0; i < n; i++)
        _mm512_storeu_ps(t + i * MM_TILE, strip_sum8(acc[i]));
}

static inline __attribute__((always_inline)) void strip_32(const struct mm_x *x, int offset,
                                                           const struct mm_panel *p,
                                                           const int64_t r[MM_ROWS], const int n,
                                                           float *t)
{
    __m512 acc[MM_ROWS][8];
    for (int i = 0; i < n; i++)
        for (int b = 0; b < 8; b++)
            acc[i][b] = _mm512_setzero_ps();
    for (int64_t b = 0; b < x->n_in / 32; b++) {
        const struct mm_panel *panel = p + b / 8;
        __m512i s[MM_ROWS];
#pragma GCC unroll 8
        for (int i = 0; i < n; i++) {
            const int16_t *sum = mm_x_sum(x, r[i]) + 2 * b;
            s[i] = _mm512_set1_epi32(-offset * (sum[0] + sum[1]));
        }
#pragma GCC unroll 8
        for (int k = 0; k < 8; k++) {
            __m512i w = strip_load(panel->q[b % 8 * 8 + k]);
#pragma GCC unroll 8
            for (int i = 0; i < n; i++)
                s[i] = _mm512_dpbusd_epi32(s[i], w, strip_spread(mm_x_q(x, r[i]) + 32 * b + 4 * k));
        }
#pragma GCC unroll 8
        for (int i = 0; i < n; i++) {
            __m512 dx = _mm512_set1_ps(mm_x_d(x, r[i])[b]);
            __m512 d = _mm512_mul_ps(_mm512_load_ps(panel->d32[b % 8]), dx);
            acc[i][b % 8] = _mm512_fmadd_ps(d, _mm512_cvtepi32_ps(s[i]), acc[i][b % 8]);
        }
    }
    for (int i = 0; i < n; i++)
        _mm512_storeu_ps(t + i * MM_TILE, strip_sum8(acc[i]));
}

static void strip_tile(const struct mm_x *x, enum fmt fmt, const struct mm_panel *p, int64_t r0,
                       int nr, float *t)
{
    int64_t r[MM_ROWS]; /* rows beyond nr repeat the last one */
    for (int i = 0; i < MM_ROWS; i++)
        r[i] = r0 + (i < nr ? i : nr - 1);
#define STRIP(kind, arg)                                                                           \
    (nr > MM_ROWS / 2 ? strip_##kind(x, arg, p, r, MM_ROWS, t)                                     \
                      : strip_##kind(x, arg, p, r, MM_ROWS / 2, t))
    switch (fmt) {
    case FMT_Q4_K:
        STRIP(k, FMT_Q4_K);
        break;
    case FMT_Q5_K:
        STRIP(k, FMT_Q5_K);
        break;
    case FMT_Q6_K:
        STRIP(k, FMT_Q6_K);
        break;
    case FMT_Q4_0:
        STRIP(32, 8);
        break;
    case FMT_Q8_0:
        STRIP(32, 128);
        break;
    default:
        UNREACHABLE("only quantised weights are packed");
    }
#undef STRIP
}
