/*
 * body_rows: element-wise ops and rmsnorm of one row, in v16. Included by cpu_kernel_*.c only. The
 * tail is left out where there is none. For 16 elements it took four fifths of kernel_add's time,
 * about 80 cycles. (perf record, prompt of SmolLM2-135M, one thread, AMD EPYC, Zen 5, 2026-11-30.)
 */

static void kernel_add(const float *x, float *y, int64_t n)
{
    int64_t i = 0;
    for (; i + V16 <= n; i += V16)
        v16_store(y + i, v16_add(v16_load(y + i), v16_load(x + i)));
    if (i < n)
        v16_store_n(y + i, v16_add(v16_load_n(y + i, n - i), v16_load_n(x + i, n - i)), n - i);
}

static void kernel_swiglu(const float *gate, const float *up, float *y, int64_t n)
{
    int64_t i = 0;
    for (; i + V16 <= n; i += V16)
        v16_store(y + i, v16_mul(v16_silu(v16_load(gate + i)), v16_load(up + i)));
    if (i < n) {
        struct v16 g = v16_load_n(gate + i, n - i), u = v16_load_n(up + i, n - i);
        v16_store_n(y + i, v16_mul(v16_silu(g), u), n - i);
    }
}

static void kernel_geglu(const float *gate, const float *up, float *y, int64_t n)
{
    int64_t i = 0;
    for (; i + V16 <= n; i += V16)
        v16_store(y + i, v16_mul(v16_gelu(v16_load(gate + i)), v16_load(up + i)));
    if (i < n) {
        struct v16 g = v16_load_n(gate + i, n - i), u = v16_load_n(up + i, n - i);
        v16_store_n(y + i, v16_mul(v16_gelu(g), u), n - i);
    }
}

/* The bits of fmt_f16_encode: magnitudes beyond the range of f16 are clamped. */
static void kernel_f16(const float *x, uint16_t *y, int64_t n)
{
    const struct v16 hi = v16_set1(FMT_F16_MAX), lo = v16_set1(-FMT_F16_MAX);
    int64_t i = 0;
    for (; i + V16 <= n; i += V16) /* this order keeps a NaN */
        v16_store_f16(y + i, v16_max(lo, v16_min(hi, v16_load(x + i))));
    for (; i < n; i++)
        y[i] = f32_to_f16(x[i] > FMT_F16_MAX    ? FMT_F16_MAX
                          : x[i] < -FMT_F16_MAX ? -FMT_F16_MAX
                                                : x[i]);
}

/* y = norm(x), or y += norm(x) with the bits of rmsnorm and add. The squares of 1024 elements are
 * added in f32, lane by lane; these parts are added in double. */
static void kernel_rmsnorm(const float *x, const float *w, float *y, int64_t n, float eps, bool add)
{
    double sum = 0;
    for (int64_t at = 0; at < n; at += 1024) {
        int64_t end = at + 1024 < n ? at + 1024 : n, i = at;
        struct v16 s = v16_zero();
        for (; i + V16 <= end; i += V16)
            s = v16_fma(v16_load(x + i), v16_load(x + i), s);
        if (i < end) {
            struct v16 t = v16_load_n(x + i, end - i);
            s = v16_fma(t, t, s);
        }
        sum += (double)v16_sum(s);
    }
    struct v16 scale = v16_set1((float)(1 / sqrt(sum / (double)n + (double)eps)));
    int64_t i = 0;
    for (; i + V16 <= n; i += V16) {
        struct v16 v = v16_mul(v16_mul(v16_load(x + i), scale), v16_load(w + i));
        v16_store(y + i, add ? v16_add(v16_load(y + i), v) : v);
    }
    if (i == n)
        return;
    struct v16 t = v16_mul(v16_load_n(x + i, n - i), scale);
    t = v16_mul(t, v16_load_n(w + i, n - i));
    v16_store_n(y + i, add ? v16_add(v16_load_n(y + i, n - i), t) : t, n - i);
}

/* A pair (u, v) becomes (u c - v s, u s + v c). */
static void kernel_rope_adjacent(float *x, int n_rot, const struct cpu_turn *t)
{
    int i = 0;
    for (; i + V16 <= n_rot; i += V16) {
        const struct v16 v = v16_load(x + i);
        v16_store(x + i, v16_fma(v16_evens(v), v16_load(t->c + i),
                                 v16_mul(v16_odds(v), v16_load(t->s + i))));
    }
    for (; i < n_rot; i += 2) {
        const float u = x[i], v = x[i + 1];
        x[i] = fmaf(u, t->c[i], v * t->s[i]);
        x[i + 1] = fmaf(u, t->c[i + 1], v * t->s[i + 1]);
    }
}

static void kernel_rope_halves(float *x, int n_rot, const struct cpu_turn *t)
{
    const struct v16 minus = v16_set1(-0.0f);
    const int n = n_rot / 2;
    int i = 0;
    for (; i + V16 <= n; i += V16) {
        const struct v16 u = v16_load(x + i), v = v16_load(x + n + i), c = v16_load(t->c + i),
                         s = v16_load(t->s + i);
        v16_store(x + i, v16_fma(u, c, v16_mul(v, v16_sub(minus, s))));
        v16_store(x + n + i, v16_fma(u, s, v16_mul(v, c)));
    }
    for (; i < n; i++) {
        const float u = x[i], v = x[n + i];
        x[i] = fmaf(u, t->c[i], -(v * t->s[i]));
        x[n + i] = fmaf(u, t->s[i], v * t->c[i]);
    }
}

static void kernel_rope(float *x, int n_head, int head_dim, const struct cpu_turn *t)
{
    for (int h = 0; h < n_head; h++, x += head_dim)
        if (t->pairs == ROPE_ADJACENT)
            kernel_rope_adjacent(x, t->n_rot, t);
        else
            kernel_rope_halves(x, t->n_rot, t);
}
