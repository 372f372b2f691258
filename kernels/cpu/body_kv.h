/*
 * body_kv: rows of the KV cache in Q8_0 and Q4_0. The bits are those of fmt_q8_0_encode and
 * fmt_q4_0_encode (quant/quant_fit.c), in which every lane sums in the same order. Included by
 * cpu_kernel_*.c only.
 */

/* x (n) finite, n a multiple of 32 */
static void kernel_q8_0(const float *x, void *y, int64_t n)
{
    struct fmt_q8_0 *b = y;
    const struct v16 high = v16_set1(127), low = v16_set1(-127);
    for (int64_t k = 0; k < n / 32; k++, b++, x += 32) {
        const struct v16 p = v16_load(x), q = v16_load(x + V16);
        b->d = quant_fit_scale(v16_top(v16_max(v16_abs(p), v16_abs(q))), 127);
        const float d = f16_to_f32(b->d);
        const struct v16 inv = v16_set1(d > 0 ? 1 / d : 0);
        (void)v16_store_i8(b->q, v16_max(low, v16_min(high, v16_mul(p, inv))));
        (void)v16_store_i8(b->q + V16, v16_max(low, v16_min(high, v16_mul(q, inv))));
    }
}

#define Q4_BOTTOM 8

struct q4_lanes { /* 16 blocks, one a lane */
    struct v16 x[32], w[32];
};

/* The weights of the elements: 1 + |x| / rms. */
static void kernel_q4_weights(struct q4_lanes *t)
{
    struct v16 square = v16_zero();
    float s[V16];
    for (int i = 0; i < 32; i++)
        square = v16_add(square, v16_mul(t->x[i], t->x[i]));
    v16_store(s, square);
    for (int l = 0; l < V16; l++)
        s[l] = s[l] > 0 ? 1 / sqrtf(s[l] / 32) : 0;
    const struct v16 inv = v16_load(s);
    for (int i = 0; i < 32; i++)
        t->w[i] = v16_add(v16_set1(1), v16_mul(v16_abs(t->x[i]), inv));
}

/* Nearest integer (ties to even) within -8 .. 7. */
static inline struct v16 kernel_q4_round(struct v16 t)
{
    const struct v16 shift = v16_set1(0x1.8p23f), low = v16_set1(-Q4_BOTTOM),
                     high = v16_set1(Q4_BOTTOM - 1);
    return v16_sub(v16_add(v16_min(high, v16_max(low, t)), shift), shift);
}

/* One trial at inv = 1 / step: the error of the least-squares step for its quants. */
static inline struct v16 kernel_q4_try(const struct q4_lanes *t, struct v16 inv, struct v16 *step)
{
    struct v16 qq = v16_zero(), pq = qq, pp = qq;
    const struct v16 none = v16_zero(), one = v16_set1(1);
    for (int i = 0; i < 32; i++) {
        const struct v16 s = v16_mul(t->x[i], inv), q = kernel_q4_round(s), p = v16_sub(q, s);
        const struct v16 wq = v16_mul(t->w[i], q), wp = v16_mul(t->w[i], p);
        qq = v16_add(qq, v16_mul(wq, q));
        pq = v16_add(pq, v16_mul(wp, q));
        pp = v16_add(pp, v16_mul(wp, p));
    }
    const struct v16 slope = v16_if_lt(none, qq, v16_div(pq, qq), none);
    const struct v16 unit = v16_if_lt(none, v16_abs(inv), v16_div(one, inv), none);
    *step = v16_mul(v16_sub(one, slope), unit);
    return v16_mul(v16_mul(v16_sub(pp, v16_mul(slope, pq)), unit), unit);
}

/* quant_fit_symmetric */
static struct v16 kernel_q4_steps(struct q4_lanes *t)
{
    enum { TRIALS = 15, POLISH = 2 };
    struct v16 most = v16_zero(), best = most, least = v16_set1(FLT_MAX), step;
    const struct v16 none = v16_zero(), one = v16_set1(1);
    for (int i = 0; i < 32; i++)
        most = v16_if_lt(v16_abs(most), v16_abs(t->x[i]), t->x[i], most);
    const struct v16 base =
        v16_if_lt(v16_abs(most), v16_set1(QUANT_FIT_TINY), none, v16_div(v16_set1(-1), most));
    kernel_q4_weights(t);
    for (int k = 0; k < TRIALS + POLISH; k++) {
        struct v16 inv =
            v16_mul(base, v16_set1((float)Q4_BOTTOM + 0.125f * (float)(k - TRIALS / 2)));
        if (k >= TRIALS)
            inv = v16_if_lt(none, v16_abs(best), v16_div(one, best), none);
        const struct v16 err = kernel_q4_try(t, inv, &step);
        best = v16_if_lt(err, least, step, best);
        least = v16_min(err, least);
    }
    return best;
}

/* x[i][l]: element i of block l < n, finite; the other lanes hold any finite numbers. Writes the n
 * blocks. */
static void kernel_q4_0(const float (*x)[KV_BLOCKS], int n, struct fmt_q4_0 *const *y)
{
    struct q4_lanes t;
    float step[V16], inv[V16], q[32][V16];
    const float limit = FMT_F16_MAX * (float)Q4_BOTTOM;
    const struct v16 high = v16_set1(limit), low = v16_set1(-limit), eight = v16_set1(Q4_BOTTOM);
    for (int i = 0; i < 32; i++)
        t.x[i] = v16_max(low, v16_min(high, v16_load(x[i])));
    v16_store(step, kernel_q4_steps(&t));
    for (int l = 0; l < V16; l++) {
        const uint16_t d = l < n ? quant_fit_scale(fabsf(step[l]), 1) : 0;
        const float size = f16_to_f32(d), one = size > 0 ? 1 / size : 0;
        inv[l] = step[l] < 0 ? -one : one;
        if (l < n)
            y[l]->d = step[l] < 0 ? d | 0x8000 : d;
    }
    for (int i = 0; i < 32; i++)
        v16_store(q[i], v16_add(kernel_q4_round(v16_mul(v16_load(x[i]), v16_load(inv))), eight));
    for (int l = 0; l < n; l++)
        for (int i = 0; i < 16; i++)
            y[l]->q[i] = (uint8_t)((int)q[i][l] | (int)q[i + 16][l] << 4);
}
