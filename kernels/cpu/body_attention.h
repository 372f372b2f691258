/*
 * body_attention: softmax(scale q k^T) v for one kv head and a few queries, online (Milakov &
 * Gimelshein 2018).
 *
 * A step takes ATTN_BLOCK positions, counted from position 0 of the sequence. A query passes over
 * the same blocks in the same order, whatever the pages, the batch or the chunk. So its bits depend
 * on nothing else.
 *
 * K and V rows are decoded to f32 once for all queries that share them; with few queries they are
 * decoded as they are used. Scores and sums are f32 with v16's fixed order. With many registers two
 * queries go together, which halves the loads. Included by cpu_kernel_*.c only.
 */

static void kernel_decode_kv(const struct kv_view *kv, const char *row, float *y)
{
    int64_t dim = kv->head_dim, i = 0;
    if (kv->fmt == FMT_F16 && dim % V16 == 0) {
        for (; i < dim; i += V16)
            v16_store(y + i, v16_load_f16((const uint16_t *)(const void *)row + i));
    } else if (kv->fmt == FMT_Q8_0) {
        const struct fmt_q8_0 *b = (const struct fmt_q8_0 *)(const void *)row;
        for (; i < dim; i += 32, b++) {
            struct v16 d = v16_set1_f16(b->d);
            v16_store(y + i, v16_mul(d, v16_load_i8(b->q)));
            v16_store(y + i + 16, v16_mul(d, v16_load_i8(b->q + 16)));
        }
    } else if (kv->fmt == FMT_Q4_0) {
        const struct fmt_q4_0 *b = (const struct fmt_q4_0 *)(const void *)row;
        for (; i < dim; i += 32, b++) {
            struct v16 d = v16_set1_f16(b->d);
            v16_store(y + i, v16_mul(d, v16_load_q4(b->q, 0)));
            v16_store(y + i + 16, v16_mul(d, v16_load_q4(b->q, 4)));
        }
    } else {
        fmt_info(kv->fmt)->decode(row, y, dim);
    }
}

/* Decodes rows at .. at + n - 1 of a sequence and the item's head into (n, dim) f32. */
static void kernel_gather_kv(const struct attn_item *it, int seq, const void *base, int at, int n,
                             int64_t dim, float *y)
{
    const struct attention_args *a = it->a;
    const int32_t *page = a->page + (int64_t)seq * a->max_pages;
    const int size = a->kv->page_tokens, head = it->kv_head;
    const size_t bytes = kv_row_bytes(a->kv);
    for (int end = at + n; at < end;) { /* page by page: rows of a page and head are neighbours */
        const char *row = (const char *)base + kv_row_at(a->kv, page[at / size], head, at % size);
        int stop = at - at % size + size < end ? at - at % size + size : end;
        for (; at < stop; at++, row += bytes, y += dim)
            kernel_decode_kv(a->kv, row, y);
    }
}

struct attn_state { /* of one query: running maximum and sum of weights */
    float max, sum;
};

/* s[t] = q . k[t] for skip <= t < n, in whole fours. k has rows for the whole block, whatever
 * skip and n. */
static inline void kernel_scores(const float *q, const float *k, int skip, int n, int64_t dim,
                                 float *s)
{
    k += skip / 4 * 4 * dim;
    for (int t = skip / 4 * 4; t < n; t += 4, k += 4 * dim) {
        struct v16 a = v16_zero(), b = a, c = a, d = a;
        for (int64_t i = 0; i < dim; i += V16) {
            struct v16 x = v16_load(q + i);
            a = v16_fma(x, v16_load(k + i), a);
            b = v16_fma(x, v16_load(k + dim + i), b);
            c = v16_fma(x, v16_load(k + 2 * dim + i), c);
            d = v16_fma(x, v16_load(k + 3 * dim + i), d);
        }
        v16_sum4(a, b, c, d, s + t);
    }
}

/* Turns scores skip .. n - 1 of a block into weights: e^(scale s - largest so far). Returns the
 * factor for all earlier sums. */
static inline float kernel_soften(float *s, int skip, int n, float scale, struct attn_state *st)
{
    const struct v16 none = v16_set1(-INFINITY), f = v16_set1(scale);
    const uint32_t seen = (n < 32 ? (1u << n) - 1 : ~0u) & ~0u << skip;
    struct v16 lo = v16_if_bit(seen & 0xffff, v16_mul(v16_load(s), f), none);
    struct v16 hi = v16_if_bit(seen >> 16, v16_mul(v16_load(s + V16), f), none);
    /* a NaN never becomes the maximum */
    const float top = v16_top(v16_max(hi, v16_max(lo, none))), old = st->max;
    st->max = top > old ? top : old;
    const struct v16 m = v16_set1(st->max);
    lo = v16_exp(v16_sub(lo, m));
    hi = v16_exp(v16_sub(hi, m));
    float keep[V16] = {1}; /* e^0 */
    if (st->max > old)
        v16_store(keep, v16_exp(v16_set1(old - st->max)));
    v16_store(s, lo);
    v16_store(s + V16, hi);
    st->sum = fmaf(st->sum, keep[0], v16_sum(v16_add(lo, hi)));
    return keep[0];
}

/* out[i] = out[i] * keep + sum_t p[t] v[t][i], t ascending from skip to n - 1 */
static inline void kernel_weigh(const float *p, const float *v, int skip, int n, int64_t dim,
                                float keep, float *out)
{
    struct v16 k = v16_set1(keep);
    int64_t i = 0;
    for (; i + 4 * V16 <= dim; i += 4 * V16) {
        struct v16 a = v16_mul(v16_load(out + i), k), b = v16_mul(v16_load(out + i + 16), k);
        struct v16 c = v16_mul(v16_load(out + i + 32), k), d = v16_mul(v16_load(out + i + 48), k);
        for (int t = skip; t < n; t++) {
            struct v16 w = v16_set1(p[t]);
            const float *row = v + t * dim + i;
            a = v16_fma(w, v16_load(row), a);
            b = v16_fma(w, v16_load(row + 16), b);
            c = v16_fma(w, v16_load(row + 32), c);
            d = v16_fma(w, v16_load(row + 48), d);
        }
        v16_store(out + i, a);
        v16_store(out + i + 16, b);
        v16_store(out + i + 32, c);
        v16_store(out + i + 48, d);
    }
    for (; i < dim; i += V16) {
        struct v16 a = v16_mul(v16_load(out + i), k);
        for (int t = skip; t < n; t++)
            a = v16_fma(v16_set1(p[t]), v16_load(v + t * dim + i), a);
        v16_store(out + i, a);
    }
}

/* One query over one block, of which it sees positions skip .. n - 1. */
static void kernel_attend(const float *q, const float *k, const float *v, int skip, int n,
                          int64_t dim, float scale, struct attn_state *st, float *out)
{
    float s[ATTN_BLOCK] = {0};
    kernel_scores(q, k, skip, n, dim, s);
    kernel_weigh(s, v, skip, n, dim, kernel_soften(s, skip, n, scale, st), out);
}

#ifdef V16_MANY
#define ATTN_TEAM 4 /* most queries that go together */
/* with at most this many queries K and V are decoded as they are used; with more, once for all */
#define ATTN_DIRECT 8
#define ATTN_CACHE 3 /* of __builtin_prefetch: the first cache */

/* Elements i .. i + 15 of a row of this format. */
static inline __attribute__((always_inline)) struct v16 kernel_load(enum fmt fmt, const char *row,
                                                                    int64_t i)
{
    if (fmt == FMT_F16)
        return v16_load_f16((const uint16_t *)(const void *)row + i);
    if (fmt == FMT_Q8_0) {
        const struct fmt_q8_0 *b = (const struct fmt_q8_0 *)(const void *)row + i / 32;
        return v16_mul(v16_set1_f16(b->d), v16_load_i8(b->q + i % 32));
    }
    if (fmt == FMT_Q4_0) {
        const struct fmt_q4_0 *b = (const struct fmt_q4_0 *)(const void *)row + i / 32;
        return v16_mul(v16_set1_f16(b->d), v16_load_q4(b->q, i % 32 ? 4 : 0));
    }
    return v16_load((const float *)(const void *)row + i);
}

/* Asks for bytes from .. to - 1 of a row, which is needed soon. */
static inline __attribute__((always_inline)) void kernel_soon(const char *row, int64_t from,
                                                              int64_t to)
{
    for (int64_t at = from; at < to; at += 64)
        __builtin_prefetch(row + at, 0, ATTN_CACHE);
}

/* Bytes of n elements of a row. */
static inline __attribute__((always_inline)) int64_t kernel_bytes(enum fmt fmt, int64_t n)
{
    return fmt == FMT_F16    ? 2 * n
           : fmt == FMT_Q8_0 ? n / 32 * (int64_t)sizeof(struct fmt_q8_0)
           : fmt == FMT_Q4_0 ? n / 32 * (int64_t)sizeof(struct fmt_q4_0)
                             : 4 * n;
}

struct attn_block { /* the rows of a block of positions */
    const char *k[ATTN_BLOCK], *v[ATTN_BLOCK];
};

/* Rows of k whose scores with n_q queries fit a vector: a divisor of ATTN_BLOCK. */
static inline __attribute__((always_inline)) int kernel_team_rows(int n_q)
{
    return n_q == 3 ? 4 : V16 / n_q;
}

/* The scores of n_q queries with the rows of k that fit: (n_q, kernel_team_rows). Every row is
 * loaded once for all. Asks for the rows `soon`, unless NULL. dim is a multiple of 32. */
static inline __attribute__((always_inline)) struct v16
kernel_scores_team(enum fmt fmt, int n_q, const float *q, const char *const *k,
                   const char *const *soon, int64_t dim)
{
    const int rows = kernel_team_rows(n_q);
    struct v16 a[V16];
    for (int t = 0; soon && t < rows; t++)
        kernel_soon(soon[t], 0, kernel_bytes(fmt, dim));
    for (int t = 0; t < V16; t++)
        a[t] = v16_zero();
    for (int64_t i = 0; i < dim; i += 2 * V16)
#pragma GCC unroll 2
        for (int half = 0; half < 2 * V16; half += V16) {
            struct v16 x[ATTN_TEAM];
            for (int j = 0; j < n_q; j++)
                x[j] = v16_load(q + j * dim + i + half);
            for (int t = 0; t < rows; t++) {
                const struct v16 row = kernel_load(fmt, k[t], i + half);
                for (int j = 0; j < n_q; j++)
                    a[j * rows + t] = v16_fma(x[j], row, a[j * rows + t]);
            }
        }
    return v16_sum16(a);
}

/* 64 elements of n_q outputs, from i on; p (n_q, ATTN_BLOCK). */
static inline __attribute__((always_inline)) void
kernel_weigh_team(enum fmt fmt, int n_q, const float *p, const char *const *v,
                  const char *const *soon, int skip, int n, int64_t i, int64_t dim,
                  const float *keep, float *out)
{
    struct v16 a[4 * ATTN_TEAM];
    for (int c = 0; c < 4 * n_q; c++)
        a[c] = v16_mul(v16_load(out + c / 4 * dim + i + c % 4 * V16), v16_set1(keep[c / 4]));
    for (int t = skip; t < n; t++) {
        if (soon)
            kernel_soon(soon[t], kernel_bytes(fmt, i), kernel_bytes(fmt, i + 4 * V16));
        for (int c = 0; c < 4; c++) {
            const struct v16 row = kernel_load(fmt, v[t], i + c * V16);
            for (int j = 0; j < n_q; j++)
                a[4 * j + c] = v16_fma(v16_set1(p[j * ATTN_BLOCK + t]), row, a[4 * j + c]);
        }
    }
    for (int c = 0; c < 4 * n_q; c++)
        v16_store(out + c / 4 * dim + i + c % 4 * V16, a[c]);
}

/* Neighbouring queries over the rows of a block. All see positions skip .. n - 1. Each gets the
 * bits that it has alone. Asks for the rows of the block `soon`, unless NULL. dim is a multiple of
 * 64. */
static inline __attribute__((always_inline)) void
kernel_attend_team(enum fmt fmt, int n_q, const float *q, const struct attn_block *b,
                   const struct attn_block *soon, int skip, int n, int64_t dim, float scale,
                   struct attn_state *st, float *out)
{
    const int rows = kernel_team_rows(n_q);
    float s[ATTN_TEAM][ATTN_BLOCK] = {{0}}, keep[ATTN_TEAM], all[V16];
    for (int t = skip / rows * rows; t < n; t += rows) {
        v16_store(all, kernel_scores_team(fmt, n_q, q, b->k + t, soon ? soon->k + t : NULL, dim));
        for (int j = 0; j < n_q; j++)
            memcpy(s[j] + t, all + j * rows, (size_t)rows * sizeof *all);
    }
    for (int j = 0; j < n_q; j++)
        keep[j] = kernel_soften(s[j], skip, n, scale, &st[j]);
    for (int64_t i = 0; i < dim; i += 4 * V16)
        kernel_weigh_team(fmt, n_q, s[0], b->v, soon ? soon->v : NULL, skip, n, i, dim, keep, out);
}

typedef void (*kernel_attend_fn)(const float *q, const struct attn_block *b,
                                 const struct attn_block *soon, int skip, int n, int64_t dim,
                                 float scale, struct attn_state *st, float *out);

#define ATTEND(name, fmt, n_q)                                                                     \
    static __attribute__((noinline)) void name(                                                    \
        const float *q, const struct attn_block *b, const struct attn_block *soon, int skip,       \
        int n, int64_t dim, float scale, struct attn_state *st, float *out)                        \
    {                                                                                              \
        if (soon)                                                                                  \
            kernel_attend_team(fmt, n_q, q, b, soon, skip, n, dim, scale, st, out);                \
        else                                                                                       \
            kernel_attend_team(fmt, n_q, q, b, NULL, skip, n, dim, scale, st, out);                \
    }
ATTEND(kernel_attend_f32_1, FMT_F32, 1)
ATTEND(kernel_attend_f32_2, FMT_F32, 2)
ATTEND(kernel_attend_f32_3, FMT_F32, 3)
ATTEND(kernel_attend_f32_4, FMT_F32, 4)
ATTEND(kernel_attend_f16_1, FMT_F16, 1)
ATTEND(kernel_attend_f16_2, FMT_F16, 2)
ATTEND(kernel_attend_f16_3, FMT_F16, 3)
ATTEND(kernel_attend_f16_4, FMT_F16, 4)
ATTEND(kernel_attend_q8_1, FMT_Q8_0, 1)
ATTEND(kernel_attend_q8_2, FMT_Q8_0, 2)
ATTEND(kernel_attend_q8_3, FMT_Q8_0, 3)
ATTEND(kernel_attend_q8_4, FMT_Q8_0, 4)
ATTEND(kernel_attend_q4_1, FMT_Q4_0, 1)
ATTEND(kernel_attend_q4_2, FMT_Q4_0, 2)
ATTEND(kernel_attend_q4_3, FMT_Q4_0, 3)
ATTEND(kernel_attend_q4_4, FMT_Q4_0, 4)
#undef ATTEND

/* The functions for one query to ATTN_TEAM of them. */
static const kernel_attend_fn *kernel_attend_of(enum fmt fmt)
{
#define BY_TEAM(f)                                                                                 \
    {                                                                                              \
        kernel_attend_##f##_1, kernel_attend_##f##_2, kernel_attend_##f##_3, kernel_attend_##f##_4 \
    }
    static const kernel_attend_fn f32[] = BY_TEAM(f32), f16[] = BY_TEAM(f16), q8[] = BY_TEAM(q8),
                                  q4[] = BY_TEAM(q4);
#undef BY_TEAM
    return fmt == FMT_F16 ? f16 : fmt == FMT_Q8_0 ? q8 : fmt == FMT_Q4_0 ? q4 : f32;
}

/* Finds the rows of positions at + skip .. at + n - 1; the rest of the block repeats the first and
 * the last. skip < n. */
static void kernel_find_rows(const struct attn_item *it, int seq, const void *base, int at,
                             int skip, int n, const char *row[ATTN_BLOCK])
{
    const struct attention_args *a = it->a;
    const int32_t *page = a->page + (int64_t)seq * a->max_pages;
    const int size = a->kv->page_tokens;
    const size_t bytes = kv_row_bytes(a->kv);
    for (int t = skip; t < n;) {
        const char *first = (const char *)base +
                            kv_row_at(a->kv, page[(at + t) / size], it->kv_head, (at + t) % size);
        for (int stop = t - (at + t) % size + size; t < n && t < stop; t++, first += bytes)
            row[t] = first;
    }
    for (int t = 0; t < skip; t++)
        row[t] = row[skip];
    for (int t = n; t < ATTN_BLOCK; t++)
        row[t] = row[n - 1];
}

static void kernel_find_block(const struct attn_item *it, int seq, int at, int skip, int last,
                              struct attn_block *b)
{
    const int n = last - at < ATTN_BLOCK ? last - at : ATTN_BLOCK;
    kernel_find_rows(it, seq, it->a->kv->k, at, skip, n, b->k);
    kernel_find_rows(it, seq, it->a->kv->v, at, skip, n, b->v);
}
#endif

struct attn_work {          /* of one item, in its scratch */
    float *k, *v, *q, *out; /* (ATTN_BLOCK, dim) twice, (ATTN_QUERIES, dim) twice */
    int64_t dim;
    struct attn_state st[ATTN_QUERIES];
    int low[ATTN_QUERIES]; /* the first position that a query sees */
};

/* Number of the n positions from `at` on that query j sees. The first row of queries sees `first`
 * positions, each later row one more. */
static inline int kernel_seen(const struct attn_item *it, int first, int i, int j, int at, int n)
{
    int seen = first + (j - i) / it->n_head - at;
    return seen < n ? seen : n;
}

#ifdef ATTN_TEAM
/* true: the block's K and V are decoded as they are used, because queries are few. */
static bool kernel_is_direct(const struct attn_item *it, const struct attn_work *w, int n_query)
{
    const struct kv_view *kv = it->a->kv;
    return n_query <= ATTN_DIRECT && w->dim == kv->head_dim && w->dim % 64 == 0 &&
           (kv->fmt == FMT_F16 || kv->fmt == FMT_Q8_0 || kv->fmt == FMT_Q4_0 || kv->fmt == FMT_F32);
}
#endif

/* The first position that one of queries i .. end - 1 sees. */
static int kernel_low(const struct attn_work *w, int i, int end)
{
    int low = w->low[i];
    for (int j = i + 1; j < end; j++)
        low = w->low[j] < low ? w->low[j] : low;
    return low;
}

/* Number of the positions from `at` on that lie before `low`. */
static inline int kernel_skip(int low, int at)
{
    return low > at ? low - at : 0;
}

#ifdef ATTN_TEAM
/* The number of queries from j on that see the same of the n positions from `at` on and so go
 * together. 0: kernel_attend takes one. */
static int kernel_team(const struct attn_item *it, const struct attn_work *w, int first, int i,
                       int j, int end, int at, int n)
{
    const int seen = kernel_seen(it, first, i, j, at, n), skip = kernel_skip(w->low[j], at);
    int same = 1;
    if (w->dim % 64)
        return 0;
    while (same < ATTN_TEAM && j + same < end &&
           kernel_seen(it, first, i, j + same, at, n) == seen &&
           kernel_skip(w->low[j + same], at) == skip)
        same++;
    return same;
}
#endif

/* Queries i .. end - 1, whose rows all belong to `seq`, over its positions from `from` on, a
 * multiple of ATTN_BLOCK. The first row sees positions up to `first` - 1, each later row one more,
 * up to `last` - 1. Blocks before the first position that a query sees are skipped. */
static void kernel_attend_from(const struct attn_item *it, struct attn_work *w, int seq, int i,
                               int end, int from, int first, int last)
{
    const struct attention_args *a = it->a;
#ifdef ATTN_TEAM
    struct attn_block block[2]; /* the one at hand and the next */
    const bool direct = kernel_is_direct(it, w, end - i);
    const kernel_attend_fn *const attend = kernel_attend_of(direct ? a->kv->fmt : FMT_F32);
    for (int t = 0; t < ATTN_BLOCK && !direct; t++) {
        block[0].k[t] = (const char *)(w->k + t * w->dim);
        block[0].v[t] = (const char *)(w->v + t * w->dim);
    }
#endif
    const int low = kernel_low(w, i, end), start = low / ATTN_BLOCK * ATTN_BLOCK,
              begin = start > from ? start : from;
    for (int at = begin; at < last; at += ATTN_BLOCK) {
        const int n = last - at < ATTN_BLOCK ? last - at : ATTN_BLOCK;
        const int none = kernel_skip(low, at); /* positions that no query sees */
        int j = i;
#ifdef ATTN_TEAM
        const struct attn_block *const now = &block[at / ATTN_BLOCK * direct % 2], *soon = NULL;
        if (direct && at == begin)
            kernel_find_block(it, seq, at, none, last, &block[at / ATTN_BLOCK % 2]);
        if (direct && at + ATTN_BLOCK < last) {
            kernel_find_block(it, seq, at + ATTN_BLOCK, kernel_skip(low, at + ATTN_BLOCK), last,
                              &block[(at / ATTN_BLOCK + 1) % 2]);
            soon = &block[(at / ATTN_BLOCK + 1) % 2];
        }
        if (!direct)
#endif
        {
            kernel_gather_kv(it, seq, a->kv->k, at + none, n - none, w->dim, w->k + none * w->dim);
            kernel_gather_kv(it, seq, a->kv->v, at + none, n - none, w->dim, w->v + none * w->dim);
        }
        for (int step; j < end; j += step) {
            const int seen = kernel_seen(it, first, i, j, at, n), skip = kernel_skip(w->low[j], at);
            step = 1;
            if (seen <= skip)
                continue;
#ifdef ATTN_TEAM
            const int team = kernel_team(it, w, first, i, j, end, at, n);
            if (team) {
                step = team;
                attend[team - 1](w->q + j * w->dim, now, soon, skip, seen, w->dim, a->scale,
                                 &w->st[j], w->out + j * w->dim);
                soon = NULL;
                continue;
            }
#endif
            kernel_attend(w->q + j * w->dim, w->k, w->v, skip, seen, w->dim, a->scale, &w->st[j],
                          w->out + j * w->dim);
        }
    }
}

struct attn_rows {
    int row, stop; /* the item's rows of a sequence: row .. stop - 1 of the batch */
    int end;       /* the first of them sees positions up to end - 1 */
};

static struct attn_rows kernel_rows(const struct attn_item *it, int s)
{
    const struct attention_args *a = it->a;
    const int from = a->q_start[s], to = a->q_start[s + 1], stop = it->row + it->n_row;
    struct attn_rows r = {from > it->row ? from : it->row, to < stop ? to : stop, 0};
    r.end = a->kv_len[s] - to + r.row + 1;
    return r;
}

static void kernel_find_low(const struct attn_item *it, struct attn_work *w, int s)
{
    const struct attn_rows r = kernel_rows(it, s);
    const int window = it->a->window;
    for (int row = r.row; row < r.stop; row++) {
        const int end = r.end + row - r.row, low = window && end > window ? end - window : 0;
        for (int h = 0; h < it->n_head; h++)
            w->low[(row - it->row) * it->n_head + h] = low;
    }
}

/* First the shared positions for all queries, then each sequence's own positions. So every query
 * passes over its blocks in the same order as alone. */
static void kernel_attention(const struct attn_item *it)
{
    const struct attention_args *a = it->a;
    int group = a->n_head / a->kv->n_kv_head, n_query = it->n_row * it->n_head;
    int head0 = it->kv_head * group + it->head;
    int64_t head = a->kv->head_dim, dim = (head + V16 - 1) / V16 * V16;
    struct attn_work w = {.k = it->scratch, .dim = dim};
    w.v = w.k + ATTN_BLOCK * dim;
    w.q = w.v + ATTN_BLOCK * dim;
    w.out = w.q + ATTN_QUERIES * dim;
    memset(w.k, 0, (size_t)(2 * ATTN_BLOCK + 2 * ATTN_QUERIES) * (size_t)dim * sizeof *w.k);
    for (int i = 0; i < n_query; i++) {
        int64_t from = (int64_t)(it->row + i / it->n_head) * a->n_head + head0 + i % it->n_head;
        memcpy(w.q + i * dim, a->q + from * head, (size_t)head * sizeof *w.q);
        w.st[i] = (struct attn_state){-INFINITY, 0};
    }
    for (int s = it->seq; s < it->seq + it->n_seq; s++)
        kernel_find_low(it, &w, s);
    /* any number of rows: no row ends before the last shared position */
    if (it->shared)
        kernel_attend_from(it, &w, it->seq, 0, n_query, 0, it->shared, it->shared);
    for (int s = it->seq; s < it->seq + it->n_seq; s++) {
        const struct attn_rows r = kernel_rows(it, s);
        kernel_attend_from(it, &w, s, (r.row - it->row) * it->n_head,
                           (r.stop - it->row) * it->n_head, it->shared, r.end,
                           r.end + r.stop - r.row - 1);
    }
    for (int i = 0; i < n_query; i++) {
        int64_t to = (int64_t)(it->row + i / it->n_head) * a->n_head + head0 + i % it->n_head;
        for (int64_t j = 0; j < head; j++)
            a->y[to * head + j] = w.out[i * dim + j] / w.st[i].sum;
    }
}
