/*
 * body_sample: the choice of one token and the log of the sum of exponentials, in v16. Every filter
 * of sample keeps the tokens above a threshold of the logit, so nothing is sorted. Selection on
 * 32-bit keys that order like the floats finds the threshold. The exponentials of 1024 elements are
 * added in f32, lane by lane; these parts are added in double. Included by cpu_kernel_*.c only.
 */

static double kernel_log_sum_exp(const float *x, int64_t n)
{
    struct v16 top = v16_set1(-INFINITY);
    uint32_t nan = 0;
    int64_t i = 0;
    for (; i + V16 <= n; i += V16) {
        top = v16_max(v16_load(x + i), top);
        nan |= v16_nan_bits(v16_load(x + i));
    }
    float max = v16_top(top);
    for (; i < n; i++) {
        max = x[i] > max ? x[i] : max;
        nan |= isnan(x[i]);
    }
    if (nan || isinf(max))
        return NAN;
    double sum = 0;
    struct v16 m = v16_set1(max);
    for (int64_t at = 0; at < n; at += 1024) {
        int64_t end = at + 1024 < n ? at + 1024 : n;
        struct v16 s = v16_zero();
        for (i = at; i + V16 <= end; i += V16)
            s = v16_add(s, v16_exp(v16_sub(v16_load(x + i), m)));
        if (i < end) {
            struct v16 t = v16_exp(v16_sub(v16_load_n(x + i, end - i), m));
            s = v16_add(s, v16_if_bit((1u << (end - i)) - 1, t, v16_zero()));
        }
        sum += (double)v16_sum(s);
    }
    return (double)max + log(sum);
}

/* ---- the allowed tokens, sixteen at a time
 * --------------------------------------------------------- */

/* Bit i: token at + i exists and is allowed. at is a multiple of 16. */
static uint32_t kernel_allowed(const struct sample_job *s, int64_t at)
{
    uint32_t bits = s->mask ? s->mask[at / 32] >> at % 32 & 0xffff : 0xffff;
    return s->n - at < V16 ? bits & ((1u << (s->n - at)) - 1) : bits;
}

static struct v16 kernel_logits(const struct sample_job *s, int64_t at)
{
    return s->n - at < V16 ? v16_load_n(s->x + at, s->n - at) : v16_load(s->x + at);
}

/* The allowed token with the largest logit, lowest id first; -1 when there is none, when a logit is
 * NaN or when the largest is infinite. */
static int32_t kernel_greedy(const struct sample_job *s)
{
    float best = -INFINITY;
    int32_t id = -1;
    uint32_t nan = 0;
    for (int64_t at = 0; at < s->n; at += V16) {
        struct v16 x = kernel_logits(s, at);
        nan |= v16_nan_bits(x);
        uint32_t better = v16_lt_bits(v16_set1(best), x) & kernel_allowed(s, at);
        for (; better; better &= better - 1) {
            int64_t i = at + __builtin_ctz(better);
            if (s->x[i] > best) {
                best = s->x[i];
                id = (int32_t)i;
            }
        }
    }
    return nan || isinf(best) ? -1 : id;
}

/* ---- thresholds
 * -------------------------------------------------------------------------------------- */

/* Keys order like the floats; -0 and +0 have the same one. */
static uint32_t kernel_key(float x)
{
    uint32_t u = f32_bits(x + 0.0f);
    return u & 0x80000000 ? ~u : u | 0x80000000;
}

static float kernel_unkey(uint32_t key)
{
    return f32_from_bits(key & 0x80000000 ? key & 0x7fffffff : ~key);
}

struct pick { /* a candidate: logit key and weight e^((logit - max) / T) */
    uint32_t key;
    float w;
};

/*
 * The largest key such that the candidates with at least this key weigh `need` or more; if all
 * weigh less, the smallest key. Takes 8 bits of the key at a time and moves the candidates of the
 * chosen digit to the front. With all weights 1 it selects the k-th largest. Sums are double, in
 * candidate order.
 */
static uint32_t kernel_select(struct pick *c, int64_t n, double need)
{
    uint32_t key = 0;
    for (int shift = 24; shift >= 0; shift -= 8) {
        double sum[256] = {0};
        int64_t seen[256] = {0};
        for (int64_t i = 0; i < n; i++) {
            sum[c[i].key >> shift & 255] += (double)c[i].w;
            seen[c[i].key >> shift & 255]++;
        }
        int digit = 255, last = -1; /* last: the lowest digit that occurs */
        for (; digit >= 0; digit--) {
            if (!seen[digit])
                continue;
            last = digit;
            if (sum[digit] >= need)
                break;
            need -= sum[digit];
        }
        uint32_t chosen = (uint32_t)(digit >= 0 ? digit : last);
        if (digit < 0)
            need = INFINITY; /* rounding lost the rest: take the smallest candidate */
        key |= chosen << shift;
        int64_t kept = 0;
        for (int64_t i = 0; i < n; i++)
            if ((c[i].key >> shift & 255) == chosen)
                c[kept++] = c[i];
        n = kept;
    }
    return key;
}

struct scale { /* of the filters: logit, weight, and the search for a threshold */
    const struct sample_job *s;
    float max;         /* largest allowed logit: weight 1 */
    float low;         /* survivors of earlier filters: logits >= low */
    float *w;          /* (n rounded up to 16) weights, 0 for removed tokens */
    struct pick *pick; /* (n) */
};

/* Weights of all tokens (count: 1 each, for top_k). Returns their sum. */
static double kernel_weights(const struct scale *c, bool count)
{
    const struct sample_job *s = c->s;
    struct v16 m = v16_set1(c->max), t = v16_set1(s->p->temperature), lo = v16_set1(c->low);
    double total = 0;
    for (int64_t part = 0; part < s->n; part += 1024) {
        struct v16 sum = v16_zero();
        for (int64_t at = part; at < s->n && at < part + 1024; at += V16) {
            struct v16 x = kernel_logits(s, at);
            uint32_t in = kernel_allowed(s, at) & ~v16_lt_bits(x, lo);
            struct v16 e = count ? v16_set1(1) : v16_exp(v16_div(v16_sub(x, m), t));
            e = v16_if_bit(in, e, v16_zero());
            v16_store(c->w + at, e);
            sum = v16_add(sum, e);
        }
        total += (double)v16_sum(sum);
    }
    return total;
}

/* Weight of the tokens with a logit >= from. */
static double kernel_weight_above(const struct scale *c, float from)
{
    const struct sample_job *s = c->s;
    struct v16 lo = v16_set1(from), zero = v16_zero();
    double total = 0;
    for (int64_t part = 0; part < s->n; part += 1024) {
        struct v16 sum = zero;
        for (int64_t at = part; at < s->n && at < part + 1024; at += V16)
            sum = v16_add(sum, v16_if_lt(kernel_logits(s, at), lo, zero, v16_load(c->w + at)));
        total += (double)v16_sum(sum);
    }
    return total;
}

/*
 * The largest logit such that the tokens with at least this logit weigh `need` or more. First an
 * interval of logits is halved repeatedly (a vector pass each). Then the few tokens inside are
 * selected exactly. Invariant: the tokens from `hi` on weigh `above` < need; the tokens from `lo`
 * on weigh need or more.
 */
static float kernel_cut(const struct scale *c, double need)
{
    const struct sample_job *s = c->s;
    float lo = -INFINITY, hi = INFINITY, step = 64 * s->p->temperature;
    double above = 0;
    for (int i = 0; i < 12; i++, step /= 2) { /* to 1/32 of a temperature, or e^(1/32) in weight */
        float mid = (i == 0 ? c->max : hi > c->max ? c->max : hi) - step;
        double sum = kernel_weight_above(c, mid);
        if (sum >= need) {
            lo = mid;
        } else {
            hi = mid;
            above = sum;
        }
    }
    int64_t n = 0;
    struct v16 low = v16_set1(lo), high = v16_set1(hi);
    for (int64_t at = 0; at < s->n; at += V16) {
        struct v16 x = kernel_logits(s, at), w = v16_load(c->w + at);
        uint32_t in = v16_lt_bits(x, high) & ~v16_lt_bits(x, low) & v16_lt_bits(v16_zero(), w);
        for (; in; in &= in - 1) {
            int64_t i = at + __builtin_ctz(in);
            c->pick[n++] = (struct pick){kernel_key(s->x[i]), c->w[i]};
        }
    }
    return n ? kernel_unkey(kernel_select(c->pick, n, need - above)) : lo;
}

/* The smallest logit that survives top_k and top_p. */
static float kernel_threshold(const struct sample_job *s, float max)
{
    size_t n = (size_t)(s->n + V16 - 1) / V16 * V16;
    struct scale c = {s, max, -INFINITY, (float *)(void *)s->scratch, NULL};
    c.pick = (struct pick *)(void *)(c.w + n);
    if (s->p->top_k > 0 && kernel_weights(&c, true) > (double)s->p->top_k)
        c.low = kernel_cut(&c, (double)s->p->top_k);
    if (s->p->top_p < 1) {
        double total = kernel_weights(&c, false);
        c.low = kernel_cut(&c, (double)s->p->top_p * total);
    }
    return c.low;
}

/* ---- the draw
 * ---------------------------------------------------------------------------------------- */

/* -ln(-ln u(key, id)) of sixteen tokens. */
static struct v16 kernel_gumbel(uint64_t key, int64_t at)
{
    float u[V16];
    for (int i = 0; i < V16; i++)
        u[i] = rng_uniform(key, (uint64_t)(at + i));
    struct v16 e = v16_sub(v16_zero(), v16_log(v16_load(u)));
    return v16_sub(v16_zero(), v16_log(e));
}

static int32_t kernel_sample(const struct sample_job *s)
{
    int32_t id = kernel_greedy(s);
    if (id < 0 || !(s->p->temperature > 0))
        return id;
    float max = s->x[id], low = kernel_threshold(s, max), best = -INFINITY;
    struct v16 m = v16_set1(max), t = v16_set1(s->p->temperature), lo = v16_set1(low);
    struct v16 least = v16_set1(s->p->min_p);
    for (int64_t at = 0; at < s->n; at += V16) {
        struct v16 x = kernel_logits(s, at);
        uint32_t bits = kernel_allowed(s, at) & ~v16_lt_bits(x, lo);
        if (!bits)
            continue;
        struct v16 z = v16_div(v16_sub(x, m), t);
        if (s->p->min_p > 0)
            bits &= ~v16_lt_bits(v16_exp(z), least);
        if (!bits)
            continue;
        struct v16 score = v16_add(z, kernel_gumbel(s->p->key, at));
        uint32_t better = v16_lt_bits(v16_set1(best), score) & bits;
        float f[V16];
        for (v16_store(f, score); better; better &= better - 1)
            if (f[__builtin_ctz(better)] > best) {
                best = f[__builtin_ctz(better)];
                id = (int32_t)(at + __builtin_ctz(better));
            }
    }
    return id;
}
