/*
 * body_lanes_neon: matmul with NEON's dot products on strips of sixteen weight rows (lanes.h). A
 * line of a strip is four registers, and a 32-bit lane belongs to one weight row. sdot takes four
 * signed bytes of each lane, and four of sixteen bytes of x in a register. So x needs no broadcast,
 * and no sum crosses lanes. Offsets of quants are subtracted before the product. The integers are
 * those of cpu_matmul.c, and so are the bits. Included by cpu_kernel_neon.c only.
 */

/* rows of x that an unpacked line is multiplied with: sixteen of 32 registers hold sums */
#define NEON_ROWS 4

struct line { /* of a strip: sixteen 32-bit words, one of each weight row */
    uint8x16_t r[4];
};
struct ints { /* a number for each weight row */
    int32x4_t r[4];
};
struct floats {
    float32x4_t r[4];
};

#define NEON_INLINE static inline __attribute__((always_inline))
#define NEON_EACH(i) _Pragma("GCC unroll 4") for (int i = 0; i < 4; i++)

NEON_INLINE struct line neon_load(const char *p)
{
    struct line y;
    NEON_EACH(i)
    y.r[i] = vld1q_u8((const uint8_t *)p + 16 * i);
    return y;
}

/* The low or the high four bits of each byte. */
NEON_INLINE struct line neon_nibble(struct line v, const int high)
{
    NEON_EACH(i)
    v.r[i] = high ? vshrq_n_u8(v.r[i], 4) : vandq_u8(v.r[i], vdupq_n_u8(15));
    return v;
}

/* v, and the bits of h at `at` moved to bit 4 and masked. */
NEON_INLINE struct line neon_with_bits(struct line v, struct line h, const int at, const int mask)
{
    const int8x16_t by = vdupq_n_s8((int8_t)(4 - at)); /* negative: to the right */
    NEON_EACH(i)
    v.r[i] = vorrq_u8(v.r[i], vandq_u8(vshlq_u8(h.r[i], by), vdupq_n_u8((uint8_t)mask)));
    return v;
}

NEON_INLINE struct line neon_less(struct line v, const int offset)
{
    NEON_EACH(i)
    v.r[i] = vsubq_u8(v.r[i], vdupq_n_u8((uint8_t)offset));
    return v;
}

/* s + products with the four bytes `lane` of x. A macro, because `lane` must be a constant before
 * the compiler unrolls a loop. */
#define NEON_DOT(s, w, x, lane)                                                                    \
    NEON_EACH(j_)(s).r[j_] = vdotq_laneq_s32((s).r[j_], vreinterpretq_s8_u8((w).r[j_]), x, lane)
#define NEON_DOT_AT(s, w, x, k)                                                                    \
    do {                                                                                           \
        if ((k) == 0)                                                                              \
            NEON_DOT(s, w, x, 0);                                                                  \
        else if ((k) == 1)                                                                         \
            NEON_DOT(s, w, x, 1);                                                                  \
        else if ((k) == 2)                                                                         \
            NEON_DOT(s, w, x, 2);                                                                  \
        else                                                                                       \
            NEON_DOT(s, w, x, 3);                                                                  \
    } while (0)

NEON_INLINE struct ints neon_zero(void)
{
    struct ints y;
    NEON_EACH(i)
    y.r[i] = vdupq_n_s32(0);
    return y;
}

/* sum + a * b */
NEON_INLINE struct ints neon_mla(struct ints sum, struct ints a, struct ints b)
{
    NEON_EACH(i)
    sum.r[i] = vmlaq_s32(sum.r[i], a.r[i], b.r[i]);
    return sum;
}

NEON_INLINE struct ints neon_mla_n(struct ints sum, struct ints a, int32_t b)
{
    NEON_EACH(i)
    sum.r[i] = vmlaq_n_s32(sum.r[i], a.r[i], b);
    return sum;
}

/* Byte i of each lane, 0..255 or -128..127. */
NEON_INLINE struct ints neon_byte(struct line v, const int i, const bool is_signed)
{
    const int32x4_t up = vdupq_n_s32(24 - 8 * i), down = vdupq_n_s32(-24);
    struct ints y;
    NEON_EACH(j)
    {
        const uint32x4_t top = vshlq_u32(vreinterpretq_u32_u8(v.r[j]), up);
        y.r[j] = is_signed ? vshlq_s32(vreinterpretq_s32_u32(top), down)
                           : vreinterpretq_s32_u32(vshlq_u32(top, down));
    }
    return y;
}

/* acc + d dx sum */
NEON_INLINE struct floats neon_add(struct floats acc, struct floats d, float dx, struct ints sum)
{
    NEON_EACH(i)
    acc.r[i] = vfmaq_f32(acc.r[i], vmulq_n_f32(d.r[i], dx), vcvtq_f32_s32(sum.r[i]));
    return acc;
}

NEON_INLINE struct floats neon_sub(struct floats acc, struct floats d, float dx, struct ints sum)
{
    NEON_EACH(i)
    acc.r[i] = vfmsq_f32(acc.r[i], vmulq_n_f32(d.r[i], dx), vcvtq_f32_s32(sum.r[i]));
    return acc;
}

/* The f16 in the low or the high half of each lane. */
NEON_INLINE struct floats neon_half(struct line v, const int high)
{
    struct floats y;
    NEON_EACH(i)
    {
        const uint32x4_t w = vreinterpretq_u32_u8(v.r[i]);
        y.r[i] = vcvt_f32_f16(vreinterpret_f16_u16(high ? vshrn_n_u32(w, 16) : vmovn_u32(w)));
    }
    return y;
}

/* The left-over f16s of block b; the block's words are at `strip`. */
NEON_INLINE struct floats neon_left(const char *strip, const int words, int64_t b, int64_t n)
{
    const int64_t at = b % 2 ? 64 * words + 32 : b + 1 == n ? 64 * words : 2 * 64 * words;
    struct floats y;
    NEON_EACH(i)
    y.r[i] = vcvt_f32_f16(
        vreinterpret_f16_u16(vld1_u16((const uint16_t *)(const void *)(strip + at) + 4 * i)));
    return y;
}

struct neon_x {
    const int8_t *q;
    const int16_t *pair;
    const float *d;
};

NEON_INLINE void neon_rows(const struct mm_x *x, int64_t r0, int nr, const int n,
                           struct neon_x *out)
{
    for (int i = 0; i < n; i++) { /* rows beyond nr repeat the last one */
        const int64_t r = r0 + (i < nr ? i : nr - 1);
        out[i] = (struct neon_x){mm_x_q(x, r), mm_x_pair(x, r), mm_x_d(x, r)};
    }
}

NEON_INLINE void neon_clear(struct floats (*acc)[8], const int n)
{
    for (int i = 0; i < n; i++)
        for (int b = 0; b < 8; b++)
            for (int j = 0; j < 4; j++)
                acc[i][b].r[j] = vdupq_n_f32(0);
}

NEON_INLINE void neon_store(struct floats (*acc)[8], int nr, float *t)
{
    for (int i = 0; i < nr; i++) {
        const struct floats *a = acc[i];
        NEON_EACH(j)
        {
            const float32x4_t even =
                vaddq_f32(vaddq_f32(a[0].r[j], a[4].r[j]), vaddq_f32(a[2].r[j], a[6].r[j]));
            const float32x4_t odd =
                vaddq_f32(vaddq_f32(a[1].r[j], a[5].r[j]), vaddq_f32(a[3].r[j], a[7].r[j]));
            vst1q_f32(t + i * MM_TILE + 4 * j, vaddq_f32(even, odd));
        }
    }
}

NEON_INLINE void neon_ahead(const char *p, const int lines)
{
    for (int i = 0; i < lines; i++)
        /* prefetch into L2, as lanes_ahead of body_lanes512.h; not measured on this processor */
        __builtin_prefetch(p + 8192 + 64 * i, 0, 2);
}

/* Q4_K, Q5_K. Computes n rows and stores nr <= n. n is 1, 2 or 4, a constant after inlining. */
NEON_INLINE void neon_k(const struct mm_x *x, const enum fmt fmt, const char *strip, int64_t r0,
                        int nr, const int n, float *t)
{
    const int words = fmt == FMT_Q4_K ? 36 : 44, low = words - 32;
    static const int place[8] = {0, 2, 1, 3, 4, 6, 5, 7}; /* of a group's sum in pair */
    struct floats acc[NEON_ROWS][8];
    struct neon_x row[NEON_ROWS];
    neon_rows(x, r0, nr, n, row);
    neon_clear(acc, n);
    for (int64_t b = 0; b < x->n_in / 256; b++, strip += 64 * words) {
        const struct line p = neon_load(strip + 64), q = neon_load(strip + 128),
                          r = neon_load(strip + 192);
        struct line scale[2] = {p, neon_nibble(r, 0)}, least[2] = {q, neon_nibble(r, 1)};
        NEON_EACH(j)
        {
            scale[1].r[j] =
                vorrq_u8(scale[1].r[j], vandq_u8(vshrq_n_u8(p.r[j], 2), vdupq_n_u8(48)));
            least[1].r[j] =
                vorrq_u8(least[1].r[j], vandq_u8(vshrq_n_u8(q.r[j], 2), vdupq_n_u8(48)));
            scale[0].r[j] = vandq_u8(p.r[j], vdupq_n_u8(63));
            least[0].r[j] = vandq_u8(q.r[j], vdupq_n_u8(63));
        }
        struct ints dot[NEON_ROWS], min[NEON_ROWS];
        for (int i = 0; i < n; i++)
            dot[i] = min[i] = neon_zero();
        for (int g = 0; g < 8; g++) {
            struct ints s[NEON_ROWS];
            for (int i = 0; i < n; i++)
                s[i] = neon_zero();
            if (g % 2 == 0)
                neon_ahead(strip + 16 * words * g / 2, words / 4);
#pragma GCC unroll 8
            for (int k = 0; k < 8; k++) {
                struct line w = neon_load(strip + 64 * (low + 8 * (g / 2) + k));
                w = g % 2 ? neon_nibble(w, 1) : neon_nibble(w, 0);
                if (fmt == FMT_Q5_K)
                    w = neon_with_bits(w, neon_load(strip + 64 * (4 + k)), g, 16);
#pragma GCC unroll 4
                for (int i = 0; i < n; i++) {
                    const int8x16_t v = vld1q_s8(row[i].q + 256 * b + 32 * g + 16 * (k / 4));
                    NEON_DOT_AT(s[i], w, v, k % 4);
                }
            }
            const struct ints factor = neon_byte(scale[g / 4], g % 4, false),
                              m = neon_byte(least[g / 4], g % 4, false);
#pragma GCC unroll 4
            for (int i = 0; i < n; i++) {
                dot[i] = neon_mla(dot[i], s[i], factor);
                min[i] = neon_mla_n(min[i], m, row[i].pair[8 * b + place[g]]);
            }
        }
        const struct line ds = neon_load(strip);
        const struct floats d = neon_half(ds, 0), dmin = neon_half(ds, 1);
        for (int i = 0; i < n; i++) {
            struct floats *to = &acc[i][b % 8];
            *to = neon_add(*to, d, row[i].d[b], dot[i]);
            *to = neon_sub(*to, dmin, row[i].d[b], min[i]);
        }
    }
    neon_store(acc, nr, t);
}

NEON_INLINE void neon_q6(const struct mm_x *x, const char *strip, int64_t r0, int nr, const int n,
                         float *t)
{
    const int64_t blocks = x->n_in / 256;
    struct floats acc[NEON_ROWS][8];
    struct neon_x row[NEON_ROWS];
    neon_rows(x, r0, nr, n, row);
    neon_clear(acc, n);
    for (int64_t b = 0; b < blocks; b++, strip += 64 * 52 + (b % 2 ? 0 : 64)) {
        struct ints dot[NEON_ROWS];
        for (int i = 0; i < n; i++)
            dot[i] = neon_zero();
        for (int part = 0; part < 4; part++) {
            neon_ahead(strip + 64 * 13 * part, 13);
#pragma GCC unroll 4
            for (int quarter = 0; quarter < 4; quarter++) {
                const int group = part / 2 * 8 + 2 * quarter + part % 2;
                struct ints s[NEON_ROWS];
                for (int i = 0; i < n; i++)
                    s[i] = neon_zero();
#pragma GCC unroll 4
                for (int k = 0; k < 4; k++) {
                    const char *word = strip + 64 * (4 + 12 * part + 3 * k);
                    struct line w =
                        neon_nibble(neon_load(word + 64 * (1 + quarter % 2)), quarter / 2);
                    w = neon_less(neon_with_bits(w, neon_load(word), 2 * quarter, 48), 32);
#pragma GCC unroll 4
                    for (int i = 0; i < n; i++) {
                        const int8x16_t v = vld1q_s8(row[i].q + 256 * b + 16 * group);
                        NEON_DOT_AT(s[i], w, v, k);
                    }
                }
                const struct ints factor =
                    neon_byte(neon_load(strip + 64 * (group / 4)), group % 4, true);
#pragma GCC unroll 4
                for (int i = 0; i < n; i++)
                    dot[i] = neon_mla(dot[i], s[i], factor);
            }
        }
        const struct floats d = neon_left(strip, 52, b, blocks);
        for (int i = 0; i < n; i++)
            acc[i][b % 8] = neon_add(acc[i][b % 8], d, row[i].d[b], dot[i]);
    }
    neon_store(acc, nr, t);
}

/* Q4_0, Q8_0: blocks of 32, each with a scale. */
NEON_INLINE void neon_32(const struct mm_x *x, const enum fmt fmt, const char *strip, int64_t r0,
                         int nr, const int n, float *t)
{
    const int words = fmt == FMT_Q4_0 ? 4 : 8;
    const int64_t blocks = x->n_in / 32;
    struct floats acc[NEON_ROWS][8];
    struct neon_x row[NEON_ROWS];
    neon_rows(x, r0, nr, n, row);
    neon_clear(acc, n);
    for (int64_t b = 0; b < blocks; b++, strip += 64 * words + (b % 2 ? 0 : 64)) {
        struct ints s[NEON_ROWS];
        for (int i = 0; i < n; i++)
            s[i] = neon_zero();
        neon_ahead(strip, words + 1);
#pragma GCC unroll 8
        for (int k = 0; k < 8; k++) {
            struct line w = neon_load(strip + 64 * (k % words));
            if (fmt == FMT_Q4_0)
                w = neon_less(neon_nibble(w, k / 4), 8);
#pragma GCC unroll 4
            for (int i = 0; i < n; i++) {
                const int8x16_t v = vld1q_s8(row[i].q + 32 * b + 16 * (k / 4));
                NEON_DOT_AT(s[i], w, v, k % 4);
            }
        }
        const struct floats d = neon_left(strip, words, b, blocks);
        for (int i = 0; i < n; i++)
            acc[i][b % 8] = neon_add(acc[i][b % 8], d, row[i].d[b], s[i]);
    }
    neon_store(acc, nr, t);
}

/* A function for each format, NEON_ROWS rows at a time. */
#define NEON_TILE(name, call)                                                                      \
    static void name(const struct mm_x *x, const char *strip, int64_t r0, int nr, float *t)        \
    {                                                                                              \
        for (; nr > 0; nr -= NEON_ROWS, r0 += NEON_ROWS, t += NEON_ROWS * MM_TILE) {               \
            const int m = nr < NEON_ROWS ? nr : NEON_ROWS;                                         \
            if (m == 1)                                                                            \
                call(1);                                                                           \
            else if (m == 2)                                                                       \
                call(2);                                                                           \
            else                                                                                   \
                call(4);                                                                           \
        }                                                                                          \
    }
#define NEON_Q4_K(n) neon_k(x, FMT_Q4_K, strip, r0, m, n, t)
#define NEON_Q5_K(n) neon_k(x, FMT_Q5_K, strip, r0, m, n, t)
#define NEON_Q6_K(n) neon_q6(x, strip, r0, m, n, t)
#define NEON_Q4_0(n) neon_32(x, FMT_Q4_0, strip, r0, m, n, t)
#define NEON_Q8_0(n) neon_32(x, FMT_Q8_0, strip, r0, m, n, t)
NEON_TILE(neon_tile_q4_k, NEON_Q4_K)
NEON_TILE(neon_tile_q5_k, NEON_Q5_K)
NEON_TILE(neon_tile_q6_k, NEON_Q6_K)
NEON_TILE(neon_tile_q4_0, NEON_Q4_0)
NEON_TILE(neon_tile_q8_0, NEON_Q8_0)

static void neon_strip(const struct mm_x *x, enum fmt fmt, const char *strip, int64_t r0, int nr,
                       float *t)
{
    switch (fmt) {
    case FMT_Q4_K:
        neon_tile_q4_k(x, strip, r0, nr, t);
        break;
    case FMT_Q5_K:
        neon_tile_q5_k(x, strip, r0, nr, t);
        break;
    case FMT_Q6_K:
        neon_tile_q6_k(x, strip, r0, nr, t);
        break;
    case FMT_Q4_0:
        neon_tile_q4_0(x, strip, r0, nr, t);
        break;
    case FMT_Q8_0:
        neon_tile_q8_0(x, strip, r0, nr, t);
        break;
    default:
        UNREACHABLE("only quantised weights are packed");
    }
}
