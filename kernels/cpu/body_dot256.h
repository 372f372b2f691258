/*
 * body_dot256: integer dot products in 256-bit registers, for AVX2 and (with VNNI's one-instruction
 * multiply-add) AVX-512.
 *
 * A weight block is unpacked once and multiplied with up to MM_ROWS activation rows. Eight blocks
 * are reduced together, so that their float contributions are one fmaf in eight lanes. Block b adds
 * to accumulator b % 8, as in the scalar text. Included by cpu_kernel_avx2.c and _avx512.c only.
 */

static inline __m256i dot_load(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

/* acc + the 32-bit sums of products of neighbouring int16 */
static inline __m256i dot_madd(__m256i acc, __m256i a, __m256i b)
{
#if defined(__AVX512VNNI__) && defined(__AVX512VL__)
    return _mm256_dpwssd_epi32(acc, a, b);
#else
    return _mm256_add_epi32(acc, _mm256_madd_epi16(a, b));
#endif
}

/* Lane b = the sum of the lanes of v[b]. */
static inline __m256i dot_reduce(const __m256i v[8])
{
    __m256i a = _mm256_hadd_epi32(_mm256_hadd_epi32(v[0], v[1]), _mm256_hadd_epi32(v[2], v[3]));
    __m256i b = _mm256_hadd_epi32(_mm256_hadd_epi32(v[4], v[5]), _mm256_hadd_epi32(v[6], v[7]));
    return _mm256_add_epi32(_mm256_permute2x128_si256(a, b, 0x20),
                            _mm256_permute2x128_si256(a, b, 0x31));
}

static inline float dot_sum8(__m256 acc)
{
    __m128 c = _mm_add_ps(_mm256_castps256_ps128(acc), _mm256_extractf128_ps(acc, 1));
    c = _mm_add_ps(c, _mm_movehl_ps(c, c));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}

/* ---- K formats
 * ------------------------------------------------------------------------------------- */

struct dot_k {        /* a weight block, unpacked */
    __m256i q[8];     /* 32 unsigned quants each */
    __m256i scale[8]; /* int16, for the pairs of q[i] */
    __m256i min[1]; /* int16 for each 16 elements; Q6_K: 32 * scale, for the offset of its quants */
};

/* Eight scales or minimums (one per 32 elements) as bytes, from the 12 packed ones. */
static inline void dot_k_scales(const uint8_t p[12], uint64_t *scale, uint64_t *min)
{
    uint32_t a, b, c;
    memcpy(&a, p, 4);
    memcpy(&b, p + 4, 4);
    memcpy(&c, p + 8, 4);
    uint32_t hi = (c & 0x0f0f0f0f) | (a >> 2 & 0x30303030);
    *scale = (a & 0x3f3f3f3f) | (uint64_t)hi << 32;
    hi = (c >> 4 & 0x0f0f0f0f) | (b >> 2 & 0x30303030);
    *min = (b & 0x3f3f3f3f) | (uint64_t)hi << 32;
}

/* scale[i] = sixteen copies of the int16 s[i]; min = two copies of each m[i] */
static inline void dot_k_spread(struct dot_k *k, uint64_t scale, uint64_t min)
{
    __m128i s = _mm_cvtepi8_epi16(_mm_cvtsi64_si128((long long)scale));
    __m128i m = _mm_cvtepi8_epi16(_mm_cvtsi64_si128((long long)min));
    __m256i both = _mm256_broadcastsi128_si256(s);
#define SPREAD(i)                                                                                  \
    k->scale[i] = _mm256_shuffle_epi8(both, _mm256_set1_epi16((2 * (i) + 1) << 8 | 2 * (i)))
    SPREAD(0);
    SPREAD(1);
    SPREAD(2);
    SPREAD(3);
    SPREAD(4);
    SPREAD(5);
    SPREAD(6);
    SPREAD(7);
#undef SPREAD
    k->min[0] = _mm256_set_m128i(_mm_unpackhi_epi16(m, m), _mm_unpacklo_epi16(m, m));
}

static inline void dot_unpack_q4_k(const struct fmt_q4_k *b, struct dot_k *k)
{
    const __m256i nibble = _mm256_set1_epi8(15);
    uint64_t scale, min;
    dot_k_scales(b->scale, &scale, &min);
    dot_k_spread(k, scale, min);
    for (int i = 0; i < 4; i++) {
        __m256i q = dot_load(b->q + 32 * i);
        k->q[2 * i] = _mm256_and_si256(q, nibble);
        k->q[2 * i + 1] = _mm256_and_si256(_mm256_srli_epi16(q, 4), nibble);
    }
}

static inline void dot_unpack_q5_k(const struct fmt_q5_k *b, struct dot_k *k)
{
    const __m256i nibble = _mm256_set1_epi8(15), bit = _mm256_set1_epi8(16);
    uint64_t scale, min;
    dot_k_scales(b->scale, &scale, &min);
    dot_k_spread(k, scale, min);
    __m256i high = dot_load(b->high);
    for (int i = 0; i < 4; i++) { /* bits 0 and 1 of high become bit 4 of the next two groups */
        __m256i q = dot_load(b->low + 32 * i);
        __m256i h0 = _mm256_and_si256(_mm256_slli_epi16(high, 4), bit);
        __m256i h1 = _mm256_and_si256(_mm256_slli_epi16(high, 3), bit);
        k->q[2 * i] = _mm256_or_si256(_mm256_and_si256(q, nibble), h0);
        k->q[2 * i + 1] = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(q, 4), nibble), h1);
        high = _mm256_srli_epi16(high, 2);
    }
}

static inline void dot_unpack_q6_k(const struct fmt_q6_k *b, struct dot_k *k)
{
    const __m256i nibble = _mm256_set1_epi8(15), two = _mm256_set1_epi8(0x30);
    for (int half = 0; half < 2; half++) {
        __m256i a = dot_load(b->low + 64 * half), c = dot_load(b->low + 64 * half + 32);
        __m256i h = dot_load(b->high + 32 * half), *q = k->q + 4 * half;
        __m256i h0 = _mm256_and_si256(_mm256_slli_epi16(h, 4), two);
        __m256i h1 = _mm256_and_si256(_mm256_slli_epi16(h, 2), two);
        __m256i h2 = _mm256_and_si256(h, two);
        __m256i h3 = _mm256_and_si256(_mm256_srli_epi16(h, 2), two);
        q[0] = _mm256_or_si256(_mm256_and_si256(a, nibble), h0);
        q[1] = _mm256_or_si256(_mm256_and_si256(c, nibble), h1);
        q[2] = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(a, 4), nibble), h2);
        q[3] = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(c, 4), nibble), h3);
    }
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)b->scale);
    __m256i scale = _mm256_cvtepi8_epi16(bytes), pick[2];
    pick[0] = _mm256_permute4x64_epi64(scale, 0x44); /* scales 0..7 in both halves */
    pick[1] = _mm256_permute4x64_epi64(scale, 0xee); /* 8..15 */
    for (int i = 0; i < 8; i++) { /* two scales per 32 quants: one for each half of the register */
        int s = 2 * i % 8;
        __m256i lo = _mm256_set1_epi16((int16_t)((2 * s + 1) << 8 | 2 * s));
        __m256i which =
            _mm256_add_epi8(lo, _mm256_set_m128i(_mm_set1_epi8(2), _mm_setzero_si128()));
        k->scale[i] = _mm256_shuffle_epi8(pick[i / 4], which);
    }
    k->min[0] = _mm256_slli_epi16(scale, 5);
}

static inline __m256i dot_block(const struct dot_k *k, const int8_t *x)
{
    __m256i a = _mm256_setzero_si256(), b = a;
    for (int i = 0; i < 8; i += 2) {
        __m256i p = _mm256_maddubs_epi16(k->q[i], dot_load(x + 32 * i));
        __m256i q = _mm256_maddubs_epi16(k->q[i + 1], dot_load(x + 32 * i + 32));
        a = dot_madd(a, p, k->scale[i]);
        b = dot_madd(b, q, k->scale[i + 1]);
    }
    return _mm256_add_epi32(a, b);
}

/* One weight row against rows r0 .. r0 + nr - 1; fmt and, for one row, nr are constants after
 * inlining. */
static inline __attribute__((always_inline)) void
dot_row_k(const struct mm_x *x, enum fmt fmt, const char *w, int64_t r0, int nr, float *t)
{
    const size_t bytes = fmt == FMT_Q4_K   ? sizeof(struct fmt_q4_k)
                         : fmt == FMT_Q5_K ? sizeof(struct fmt_q5_k)
                                           : sizeof(struct fmt_q6_k);
    const int64_t n = x->n_in / 256;
    __m256 acc[MM_ROWS];
    for (int r = 0; r < nr; r++)
        acc[r] = _mm256_setzero_ps();
    for (int64_t at = 0; at < n; at += 8) {
        __m256i dot[MM_ROWS][8], min[MM_ROWS][8];
        float d[8] = {0}, dmin[8] = {0};
        int m = n - at < 8 ? (int)(n - at) : 8;
        if (m < 8)
            for (int r = 0; r < nr; r++)
                for (int b = 0; b < 8; b++)
                    dot[r][b] = min[r][b] = _mm256_setzero_si256();
        for (int b = 0; b < m; b++) {
            const char *p = w + (size_t)(at + b) * bytes;
            struct dot_k k;
            if (fmt == FMT_Q4_K) {
                dot_unpack_q4_k((const void *)p, &k);
                d[b] = _cvtsh_ss(((const struct fmt_q4_k *)(const void *)p)->d);
                dmin[b] = _cvtsh_ss(((const struct fmt_q4_k *)(const void *)p)->dmin);
            } else if (fmt == FMT_Q5_K) {
                dot_unpack_q5_k((const void *)p, &k);
                d[b] = _cvtsh_ss(((const struct fmt_q5_k *)(const void *)p)->d);
                dmin[b] = _cvtsh_ss(((const struct fmt_q5_k *)(const void *)p)->dmin);
            } else {
                dot_unpack_q6_k((const void *)p, &k);
                d[b] = _cvtsh_ss(((const struct fmt_q6_k *)(const void *)p)->d);
            }
            for (int r = 0; r < nr; r++) {
                __m256i sums = dot_load(mm_x_sum(x, r0 + r) + (at + b) * 16);
                __m256i mins = _mm256_madd_epi16(k.min[0], sums);
                __m256i s = dot_block(&k, mm_x_q(x, r0 + r) + (at + b) * 256);
                dot[r][b] = fmt == FMT_Q6_K ? _mm256_sub_epi32(s, mins) : s;
                min[r][b] = mins;
            }
        }
        for (int r = 0; r < nr; r++) {
            __m256 dx = _mm256_loadu_ps(mm_x_d(x, r0 + r) + at);
            __m256 f = _mm256_cvtepi32_ps(dot_reduce(dot[r]));
            acc[r] = _mm256_fmadd_ps(_mm256_mul_ps(_mm256_loadu_ps(d), dx), f, acc[r]);
            if (fmt == FMT_Q6_K)
                continue;
            f = _mm256_cvtepi32_ps(dot_reduce(min[r]));
            acc[r] = _mm256_fnmadd_ps(_mm256_mul_ps(_mm256_loadu_ps(dmin), dx), f, acc[r]);
        }
    }
    for (int r = 0; r < nr; r++)
        t[r * MM_TILE] = dot_sum8(acc[r]);
}

/* ---- formats of 32 elements
 * -------------------------------------------------------------------------- */

static inline __m256i dot_unpack_q4_0(const struct fmt_q4_0 *b) /* -8..7 */
{
    __m128i q = _mm_loadu_si128((const __m128i *)(const void *)b->q);
    __m256i both = _mm256_set_m128i(_mm_srli_epi16(q, 4), q);
    both = _mm256_and_si256(both, _mm256_set1_epi8(15));
    return _mm256_sub_epi8(both, _mm256_set1_epi8(8));
}

static inline __attribute__((always_inline)) void
dot_row_32(const struct mm_x *x, enum fmt fmt, const char *w, int64_t r0, int nr, float *t)
{
    const size_t bytes = fmt == FMT_Q4_0 ? sizeof(struct fmt_q4_0) : sizeof(struct fmt_q8_0);
    const int64_t n = x->n_in / 32;
    const __m256i ones = _mm256_set1_epi16(1);
    __m256 acc[MM_ROWS];
    for (int r = 0; r < nr; r++)
        acc[r] = _mm256_setzero_ps();
    for (int64_t at = 0; at < n; at += 8) {
        __m256i dot[MM_ROWS][8];
        float d[8] = {0};
        int m = n - at < 8 ? (int)(n - at) : 8;
        if (m < 8)
            for (int r = 0; r < nr; r++)
                for (int b = 0; b < 8; b++)
                    dot[r][b] = _mm256_setzero_si256();
        for (int b = 0; b < m; b++) {
            const char *p = w + (size_t)(at + b) * bytes;
            uint16_t half;
            memcpy(&half, p, sizeof half); /* both formats begin with d */
            d[b] = _cvtsh_ss(half);
            __m256i q =
                fmt == FMT_Q4_0 ? dot_unpack_q4_0((const void *)p) : dot_load(p + sizeof half);
            __m256i mag = _mm256_abs_epi8(q); /* 0..128 as unsigned: 2 * 128 * 127 fits 16 bits */
            for (int r = 0; r < nr; r++) {
                __m256i v = dot_load(mm_x_q(x, r0 + r) + (at + b) * 32);
                __m256i pairs = _mm256_maddubs_epi16(mag, _mm256_sign_epi8(v, q));
                dot[r][b] = _mm256_madd_epi16(pairs, ones);
            }
        }
        for (int r = 0; r < nr; r++) {
            __m256 dx = _mm256_loadu_ps(mm_x_d(x, r0 + r) + at);
            __m256 f = _mm256_cvtepi32_ps(dot_reduce(dot[r]));
            acc[r] = _mm256_fmadd_ps(_mm256_mul_ps(_mm256_loadu_ps(d), dx), f, acc[r]);
        }
    }
    for (int r = 0; r < nr; r++)
        t[r * MM_TILE] = dot_sum8(acc[r]);
}

/* One row (decode) has a copy of the text of its own, in which the loops over rows vanish. */
#define DOT_ROWS(kind, FMT)                                                                        \
    (nr == 1 ? dot_row_##kind(x, FMT, row, r0, 1, t + j)                                           \
             : dot_row_##kind(x, FMT, row, r0, nr, t + j))

static void dot_tile(const struct mm_x *x, const struct tensor *w, int64_t j0, int nj, int64_t r0,
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
            DOT_ROWS(k, FMT_Q4_K);
            break;
        case FMT_Q5_K:
            DOT_ROWS(k, FMT_Q5_K);
            break;
        case FMT_Q6_K:
            DOT_ROWS(k, FMT_Q6_K);
            break;
        case FMT_Q4_0:
            DOT_ROWS(32, FMT_Q4_0);
            break;
        case FMT_Q8_0:
            DOT_ROWS(32, FMT_Q8_0);
            break;
        default:
            UNREACHABLE("a row of MM_QUANTS without a case");
        }
    }
}
