#include "ops_check.h"

#include <math.h>

#include "call_text.h"

#define NEED(p)                                                                                    \
    do {                                                                                           \
        if (!(p))                                                                                  \
            FAIL(e, ERR_BUG, "%s: %s is NULL", op, #p + 3); /* without "a->" */                    \
    } while (0)

#define AT_LEAST(value, limit)                                                                     \
    do {                                                                                           \
        if ((value) < (limit))                                                                     \
            FAIL(e, ERR_BUG, "%s: %s is %lld, must be at least %lld", op, #value + 3,              \
                 (long long)(value), (long long)(limit));                                          \
    } while (0)

#define AT_MOST(value, limit)                                                                      \
    do {                                                                                           \
        if ((value) > (limit))                                                                     \
            FAIL(e, ERR_BUG, "%s: %s is %lld, limit %lld", op, #value + 3, (long long)(value),     \
                 (long long)(limit));                                                              \
    } while (0)

#define MULTIPLE(value, of)                                                                        \
    do {                                                                                           \
        if ((value) % (of))                                                                        \
            FAIL(e, ERR_BUG, "%s: %s is %lld, not a multiple of %lld", op, #value + 3,             \
                 (long long)(value), (long long)(of));                                             \
    } while (0)

/* what[r] is a number in [0, n) for every r */
static int ops_check_ids(const char *op, const char *what, const int32_t *id, int64_t n_id,
                         int64_t n, struct err *e)
{
    for (int64_t i = 0; i < n_id; i++)
        if (id[i] < 0 || id[i] >= n)
            FAIL(e, ERR_BUG, "%s: %s[%lld] is %d, must be 0 to %lld", op, what, (long long)i,
                 (int)id[i], (long long)n - 1);
    return 0;
}

static int ops_check_tensor(const char *op, const struct tensor *t, struct err *e)
{
    size_t row;
    if (!t->data)
        FAIL(e, ERR_BUG, "%s: the tensor has no data", op);
    if ((unsigned)t->fmt >= FMT_COUNT)
        FAIL(e, ERR_BUG, "%s: unknown format %d, limit %d", op, (int)t->fmt, FMT_COUNT - 1);
    if (t->n_dim < 1 || t->n_dim > 4)
        FAIL(e, ERR_BUG, "%s: %d dimensions, must be 1 to 4", op, t->n_dim);
    for (int i = 0; i < t->n_dim; i++)
        if (t->dim[i] < 1)
            FAIL(e, ERR_BUG, "%s: dimension %d is %lld, must be at least 1", op, i,
                 (long long)t->dim[i]);
    if (!fmt_row_bytes(t->fmt, tensor_cols(t), &row))
        FAIL(e, ERR_BUG, "%s: a row of %lld elements is no multiple of a %s block (%lld)", op,
             (long long)tensor_cols(t), fmt_info(t->fmt)->name,
             (long long)fmt_info(t->fmt)->block_elems);
    if (t->row_bytes < row)
        FAIL(e, ERR_BUG, "%s: rows are %zu bytes apart, a row has %zu", op, t->row_bytes, row);
    if (t->lanes && t->row_bytes != row)
        FAIL(e, ERR_BUG, "%s: packed rows are %zu bytes apart, must be %zu", op, t->row_bytes, row);
    return 0;
}

int ops_check_unpacked(const char *op, const struct tensor *t, struct err *e)
{
    if (t->lanes)
        FAIL(e, ERR_BUG,
             "%s: the weights are packed for the cpu backend (lanes.h), this one reads rows", op);
    return 0;
}

int ops_shape_embed(const struct embed_args *a, struct err *e)
{
    const char *op = "embed";
    AT_LEAST(a->n_row, 0);
    if (a->n_row == 0)
        return 0;
    NEED(a->table);
    NEED(a->id);
    NEED(a->y);
    if (!isfinite(a->scale) || a->scale == 0)
        FAIL(e, ERR_BUG, "%s: scale is %g, must be finite and not 0", op, (double)a->scale);
    return ops_check_tensor(op, a->table, e);
}

int ops_check_embed(const struct embed_args *a, struct err *e)
{
    TRY(ops_shape_embed(a, e));
    return a->n_row ? ops_check_ids("embed", "id", a->id, a->n_row, tensor_rows(a->table), e) : 0;
}

int ops_shape_rmsnorm(const struct rmsnorm_args *a, struct err *e)
{
    const char *op = "rmsnorm";
    AT_LEAST(a->n_row, 0);
    AT_LEAST(a->n, 1);
    if (!(a->eps >= 0) || !isfinite(a->eps))
        FAIL(e, ERR_BUG, "%s: eps is %g, must be finite and at least 0", op, (double)a->eps);
    if (a->n_row == 0)
        return 0;
    NEED(a->x);
    NEED(a->w);
    NEED(a->y);
    if (a->add && a->x == a->y)
        FAIL(e, ERR_BUG, "%s: x and y are one array, add needs two", op);
    return 0;
}

int ops_shape_matmul(const struct matmul_args *a, struct err *e)
{
    const char *op = "matmul";
    AT_LEAST(a->n_row, 0);
    AT_LEAST(a->n_in, 1);
    AT_LEAST(a->n_out, 1);
    AT_MOST(a->n_out, 3);
    if ((unsigned)a->epilogue > EPI_GEGLU)
        FAIL(e, ERR_BUG, "%s: unknown epilogue %d, limit %d", op, (int)a->epilogue, EPI_GEGLU);
    const bool gated = matmul_is_gated(a->epilogue);
    const char *epilogue = call_epilogue_name(a->epilogue);
    if (gated && a->n_out != 2)
        FAIL(e, ERR_BUG, "%s: the %s epilogue takes 2 matrices, not %d", op, epilogue, a->n_out);
    if (a->n_row == 0)
        return 0;
    NEED(a->x);
    if (a->norm.w && (!(a->norm.eps >= 0) || !isfinite(a->norm.eps)))
        FAIL(e, ERR_BUG, "%s: norm.eps is %g, must be finite and at least 0", op,
             (double)a->norm.eps);
    for (int i = 0; i < a->n_out; i++) {
        const struct tensor *w = a->out[i].w;
        if (!w || (!a->out[i].y && !(gated && i == 1)))
            FAIL(e, ERR_BUG, "%s: out[%d].%s is NULL", op, i, w ? "y" : "w");
        TRY(ops_check_tensor(op, w, e));
        if (tensor_cols(w) != a->n_in)
            FAIL(e, ERR_BUG, "%s: out[%d].w has rows of %lld elements, x of %lld", op, i,
                 (long long)tensor_cols(w), (long long)a->n_in);
    }
    if (gated && tensor_rows(a->out[0].w) != tensor_rows(a->out[1].w))
        FAIL(e, ERR_BUG, "%s: %s of %lld gate and %lld up rows", op, epilogue,
             (long long)tensor_rows(a->out[0].w), (long long)tensor_rows(a->out[1].w));
    return 0;
}

static int ops_check_kv(const char *op, const struct kv_view *kv, struct err *e)
{
    size_t row;
    if (!kv || !kv->k || !kv->v)
        FAIL(e, ERR_BUG, "%s: %s is NULL", op, !kv ? "kv" : !kv->k ? "kv->k" : "kv->v");
    if ((unsigned)kv->fmt >= FMT_COUNT)
        FAIL(e, ERR_BUG, "%s: unknown format %d, limit %d", op, (int)kv->fmt, FMT_COUNT - 1);
    if (kv->head_dim < 1 || kv->head_dim > OPS_MAX_HEAD_DIM)
        FAIL(e, ERR_BUG, "%s: head_dim is %d, must be 1 to %d", op, kv->head_dim, OPS_MAX_HEAD_DIM);
    if (!fmt_row_bytes(kv->fmt, kv->head_dim, &row))
        FAIL(e, ERR_BUG, "%s: head_dim %d is no multiple of a %s block (%lld)", op, kv->head_dim,
             fmt_info(kv->fmt)->name, (long long)fmt_info(kv->fmt)->block_elems);
    if (kv->page_tokens < 16 || kv->page_tokens > 256 || kv->page_tokens & (kv->page_tokens - 1))
        FAIL(e, ERR_BUG, "%s: page_tokens is %d, must be a power of two, 16 to 256", op,
             kv->page_tokens);
    if (kv->n_kv_head < 1 || kv->n_page < 1)
        FAIL(e, ERR_BUG, "%s: %d pages of %d kv heads, both must be at least 1", op,
             (int)kv->n_page, kv->n_kv_head);
    return 0;
}

int ops_shape_kv_write(const struct kv_write_args *a, struct err *e)
{
    const char *op = "kv_write";
    AT_LEAST(a->n_row, 0);
    if (a->n_row == 0)
        return 0;
    NEED(a->k);
    NEED(a->v);
    NEED(a->slot);
    TRY(ops_check_kv(op, a->kv, e));
    if (!a->rope.q)
        return 0;
    NEED(a->rope.pos);
    NEED(a->rope.inv_freq);
    AT_LEAST(a->rope.n_head, 1);
    AT_LEAST(a->rope.n_rot, 2);
    AT_MOST(a->rope.n_rot, a->kv->head_dim);
    MULTIPLE(a->rope.n_rot, 2);
    if (a->rope.pairs != ROPE_ADJACENT && a->rope.pairs != ROPE_HALVES)
        FAIL(e, ERR_BUG, "%s: unknown pairing %d, limit %d", op, (int)a->rope.pairs, ROPE_HALVES);
    return 0;
}

int ops_check_kv_write(const struct kv_write_args *a, struct err *e)
{
    TRY(ops_shape_kv_write(a, e));
    if (a->n_row == 0)
        return 0;
    if (a->rope.q)
        TRY(ops_check_ids("kv_write", "rope.pos", a->rope.pos, a->n_row, INT32_MAX, e));
    return ops_check_ids("kv_write", "slot", a->slot, a->n_row,
                         (int64_t)a->kv->n_page * a->kv->page_tokens, e);
}

int ops_shape_kv_copy(const struct kv_copy_args *a, struct err *e)
{
    const char *op = "kv_copy";
    TRY(ops_check_kv(op, a->kv, e));
    TRY(ops_check_ids(op, "src", &a->src, 1, a->kv->n_page, e));
    TRY(ops_check_ids(op, "dst", &a->dst, 1, a->kv->n_page, e));
    if (a->src == a->dst)
        FAIL(e, ERR_BUG, "%s: src and dst are both page %d", op, (int)a->src);
    AT_LEAST(a->n_token, 0);
    AT_MOST(a->n_token, a->kv->page_tokens);
    return 0;
}

static int ops_check_sequence(const struct attention_args *a, int s, struct err *e)
{
    const char *op = "attention";
    int rows = a->q_start[s + 1] - a->q_start[s], len = a->kv_len[s];
    if (rows < 0 || a->q_start[s] < 0 || a->q_start[s + 1] > a->n_row)
        FAIL(e, ERR_BUG, "%s: sequence %d owns rows %d to %d of %d", op, s, a->q_start[s],
             a->q_start[s + 1], a->n_row);
    if (len < rows || len > a->max_kv_len)
        FAIL(e, ERR_BUG, "%s: kv_len[%d] is %d, must be %d (its rows) to %d (max_kv_len)", op, s,
             len, rows, a->max_kv_len);
    int pages = (int)(((int64_t)len + a->kv->page_tokens - 1) / a->kv->page_tokens);
    if (pages > a->max_pages)
        FAIL(e, ERR_BUG, "%s: sequence %d needs %d pages, max_pages is %d", op, s, pages,
             a->max_pages);
    return ops_check_ids(op, "page", a->page + (int64_t)s * a->max_pages, pages, a->kv->n_page, e);
}

int ops_shape_attention(const struct attention_args *a, struct err *e)
{
    const char *op = "attention";
    AT_LEAST(a->n_row, 0);
    AT_LEAST(a->n_seq, 0);
    AT_LEAST(a->n_head, 1);
    AT_LEAST(a->window, 0);
    if (a->n_row == 0)
        return 0;
    AT_LEAST(a->n_seq, 1);
    NEED(a->q);
    NEED(a->y);
    NEED(a->q_start);
    NEED(a->kv_len);
    NEED(a->page);
    TRY(ops_check_kv(op, a->kv, e));
    MULTIPLE(a->n_head, a->kv->n_kv_head);
    if (!isfinite(a->scale))
        FAIL(e, ERR_BUG, "%s: scale is %g, must be finite", op, (double)a->scale);
    return 0;
}

int ops_check_attention(const struct attention_args *a, struct err *e)
{
    const char *op = "attention";
    TRY(ops_shape_attention(a, e));
    if (a->n_row == 0)
        return 0;
    if (a->q_start[0] != 0 || a->q_start[a->n_seq] != a->n_row)
        FAIL(e, ERR_BUG, "%s: q_start runs from %d to %d, must be 0 to %d", op, a->q_start[0],
             a->q_start[a->n_seq], a->n_row);
    for (int s = 0; s < a->n_seq; s++)
        TRY(ops_check_sequence(a, s, e));
    return 0;
}

int ops_shape_add(const struct add_args *a, struct err *e)
{
    const char *op = "add";
    AT_LEAST(a->n_row, 0);
    AT_LEAST(a->n, 1);
    if (a->n_row == 0)
        return 0;
    NEED(a->x);
    NEED(a->y);
    return 0;
}

int ops_shape_gather(const struct gather_args *a, struct err *e)
{
    const char *op = "gather";
    AT_LEAST(a->n_row, 0);
    AT_LEAST(a->n, 1);
    if (a->n_row == 0)
        return 0;
    NEED(a->x);
    NEED(a->row);
    NEED(a->y);
    return 0;
}

int ops_check_gather(const struct gather_args *a, struct err *e)
{
    TRY(ops_shape_gather(a, e));
    return ops_check_ids("gather", "row", a->row, a->n_row, INT32_MAX, e);
}

int ops_shape_logprob(const struct logprob_args *a, struct err *e)
{
    const char *op = "logprob";
    AT_LEAST(a->n_row, 0);
    AT_LEAST(a->n_pair, 0);
    AT_LEAST(a->n_vocab, 1);
    AT_MOST(a->n_vocab, INT32_MAX);
    if (a->n_pair == 0)
        return 0;
    NEED(a->logits);
    NEED(a->row);
    NEED(a->id);
    NEED(a->lp);
    return 0;
}

int ops_check_logprob(const struct logprob_args *a, struct err *e)
{
    TRY(ops_shape_logprob(a, e));
    TRY(ops_check_ids("logprob", "row", a->row, a->n_pair, a->n_row, e));
    return ops_check_ids("logprob", "id", a->id, a->n_pair, a->n_vocab, e);
}

static int ops_check_sample_row(const struct sample_args *a, int r, struct err *e)
{
    const struct sample_row *p = &a->p[r];
    if (!(p->temperature >= 0) || !isfinite(p->temperature))
        FAIL(e, ERR_BUG, "sample: row %d: temperature is %g, must be finite and at least 0", r,
             (double)p->temperature);
    if (!(p->top_p > 0 && p->top_p <= 1))
        FAIL(e, ERR_BUG, "sample: row %d: top_p is %g, must be above 0, at most 1", r,
             (double)p->top_p);
    if (!(p->min_p >= 0 && p->min_p < 1))
        FAIL(e, ERR_BUG, "sample: row %d: min_p is %g, must be at least 0, below 1", r,
             (double)p->min_p);
    if (p->top_k < 0)
        FAIL(e, ERR_BUG, "sample: row %d: top_k is %d, must be at least 0", r, (int)p->top_k);
    if (p->mask < -1 || p->mask >= a->n_mask)
        FAIL(e, ERR_BUG, "sample: row %d: mask is %d, must be -1 to %d", r, (int)p->mask,
             a->n_mask - 1);
    return 0;
}

int ops_shape_sample(const struct sample_args *a, struct err *e)
{
    const char *op = "sample";
    AT_LEAST(a->n_row, 0);
    AT_LEAST(a->n_mask, 0);
    AT_LEAST(a->n_vocab, 1);
    AT_MOST(a->n_vocab, INT32_MAX);
    if (a->n_row == 0)
        return 0;
    NEED(a->logits);
    NEED(a->p);
    NEED(a->id);
    NEED(a->lp);
    if (a->n_mask > 0)
        NEED(a->mask_bits);
    return 0;
}

int ops_check_sample(const struct sample_args *a, struct err *e)
{
    TRY(ops_shape_sample(a, e));
    for (int r = 0; r < a->n_row; r++)
        TRY(ops_check_sample_row(a, r, e));
    return 0;
}

/* Ops without ids: nothing to look at but the shapes. */
#define SHAPE_ONLY(op)                                                                             \
    int ops_check_##op(const struct op##_args *a, struct err *e)                                   \
    {                                                                                              \
        return ops_shape_##op(a, e);                                                               \
    }
SHAPE_ONLY(rmsnorm)
SHAPE_ONLY(matmul)
SHAPE_ONLY(kv_copy)
SHAPE_ONLY(add)

int ops_check_scratch(const char *op, size_t need, const void *bound, size_t bytes, struct err *e)
{
    if (need && (!bound || bytes < need))
        FAIL(e, ERR_BUG, "%s: needs %zu bytes of scratch, %zu are bound", op, need,
             bound ? bytes : (size_t)0);
    return 0;
}
