/*
 * body_attention: softmax(scale q k^T) v for one kv head and a few queries, online (Milakov &
 * Gimelshein 2018), in steps of ATTN_BLOCK positions counted from position 0 of the sequence. A
 * query passes over the same blocks in the same order whatever the pages, the batch or the chunk it
 * came in, so its bits depend on nothing else. K and V rows are decoded to f32 once for all queries
 * that share them; scores and sums are f32 with v16's fixed order. Included by cpu_kernel_*.c only.
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
            struct v16 d = v16_set1(f16_to_f32(b->d));
            v16_store(y + i, v16_mul(d, v16_load_i8(b->q)));
            v16_store(y + i + 16, v16_mul(d, v16_load_i8(b->q + 16)));
        }
    } else if (kv->fmt == FMT_Q4_0) {
        const struct fmt_q4_0 *b = (const struct fmt_q4_0 *)(const void *)row;
        for (; i < dim; i += 32, b++) {
            struct v16 d = v16_set1(f16_to_f32(b->d));
            v16_store(y + i, v16_mul(d, v16_load_q4(b->q, 0)));
            v16_store(y + i + 16, v16_mul(d, v16_load_q4(b->q, 4)));
        }
    } else {
        fmt_info(kv->fmt)->decode(row, y, dim);
    }
}

/* Rows at .. at + n - 1 of a sequence and the item's head, (n, dim) f32. */
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

/* s[t] = scale * q . k[t] for t < n, -inf for the rest of the block; returns the largest. k has
 * rows for the whole block, whatever n. */
static float kernel_scores(const float *q, const float *k, int n, int64_t dim, float scale,
                           float *s)
{
    float top = -INFINITY;
    for (int t = 0; t < n; t += 4, k += 4 * dim) {
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
    for (int t = 0; t < ATTN_BLOCK; t++) {
        s[t] = t < n ? s[t] * scale : -INFINITY;
        top = s[t] > top ? s[t] : top;
    }
    return top;
}

/* out[i] = out[i] * keep + sum_t p[t] v[t][i], t ascending */
static void kernel_weigh(const float *p, const float *v, int n, int64_t dim, float keep, float *out)
{
    struct v16 k = v16_set1(keep);
    int64_t i = 0;
    for (; i + 4 * V16 <= dim; i += 4 * V16) {
        struct v16 a = v16_mul(v16_load(out + i), k), b = v16_mul(v16_load(out + i + 16), k);
        struct v16 c = v16_mul(v16_load(out + i + 32), k), d = v16_mul(v16_load(out + i + 48), k);
        for (int t = 0; t < n; t++) {
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
        for (int t = 0; t < n; t++)
            a = v16_fma(v16_set1(p[t]), v16_load(v + t * dim + i), a);
        v16_store(out + i, a);
    }
}

/* One query over one block of n visible positions. */
static void kernel_attend(const float *q, const float *k, const float *v, int n, int64_t dim,
                          float scale, struct attn_state *st, float *out)
{
    float s[ATTN_BLOCK];
    float top = kernel_scores(q, k, n, dim, scale, s), old = st->max;
    st->max = top > old ? top : old;
    struct v16 m = v16_set1(st->max);
    struct v16 lo = v16_exp(v16_sub(v16_load(s), m)), hi = v16_exp(v16_sub(v16_load(s + V16), m));
    float keep[V16] = {1}; /* e^0 */
    if (st->max > old)
        v16_store(keep, v16_exp(v16_set1(old - st->max)));
    v16_store(s, lo);
    v16_store(s + V16, hi);
    st->sum = fmaf(st->sum, keep[0], v16_sum(v16_add(lo, hi)));
    kernel_weigh(s, v, n, dim, keep[0], out);
}

struct attn_work { /* of one item, in its scratch */
    float *k, *v, *q, *out; /* (ATTN_BLOCK, dim) twice, (ATTN_QUERIES, dim) twice */
    int64_t dim;
    struct attn_state st[ATTN_QUERIES];
};

/* Queries i .. end - 1, whose rows all belong to `seq`, over its positions from `from` on: the first row sees `first` of
 * them, each later one one more, up to `last`. */
static void kernel_attend_from(const struct attn_item *it, struct attn_work *w, int seq, int i, int end, int from,
                               int first, int last)
{
    const struct attention_args *a = it->a;
    for (int at = from; at < last; at += ATTN_BLOCK) {
        int n = last - at < ATTN_BLOCK ? last - at : ATTN_BLOCK;
        kernel_gather_kv(it, seq, a->kv->k, at, n, w->dim, w->k);
        kernel_gather_kv(it, seq, a->kv->v, at, n, w->dim, w->v);
        for (int j = i; j < end; j++) {
            int seen = first + (j - i) / it->n_head - at;
            if (seen > 0)
                kernel_attend(w->q + j * w->dim, w->k, w->v, seen < n ? seen : n, w->dim, a->scale, &w->st[j],
                              w->out + j * w->dim);
        }
    }
}

/* The positions in common once for all, then those of each sequence alone: every query passes over its blocks in the
 * same order as by itself. */
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
    /* for any number of rows: rows of shared positions see them all */
    kernel_attend_from(it, &w, it->seq, 0, n_query, 0, it->shared, it->shared);
    for (int s = it->seq; s < it->seq + it->n_seq; s++) {
        int row = a->q_start[s] > it->row ? a->q_start[s] : it->row, stop = it->row + it->n_row;
        stop = a->q_start[s + 1] < stop ? a->q_start[s + 1] : stop;
        int first = a->kv_len[s] - a->q_start[s + 1] + row + 1; /* positions that this row sees */
        kernel_attend_from(it, &w, s, (row - it->row) * it->n_head, (stop - it->row) * it->n_head, it->shared, first,
                           first + stop - row - 1);
    }
    for (int i = 0; i < n_query; i++) {
        int64_t to = (int64_t)(it->row + i / it->n_head) * a->n_head + head0 + i % it->n_head;
        for (int64_t j = 0; j < head; j++)
            a->y[to * head + j] = w.out[i * dim + j] / w.st[i].sum;
    }
}
