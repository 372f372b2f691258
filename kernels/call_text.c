#include "call_text.h"

#include <stdio.h>

const char *call_epilogue_name(enum matmul_epilogue e)
{
    return e == EPI_ADD ? "add" : e == EPI_SWIGLU ? "swiglu" : "store";
}

static void rows_of(int64_t rows, int64_t n, char out[CALL_TEXT])
{
    snprintf(out, CALL_TEXT, "%lldx%lld", (long long)rows, (long long)n);
}

void call_text_embed(const struct embed_args *a, char out[CALL_TEXT])
{
    snprintf(out, CALL_TEXT, "%s %dx%lld", fmt_info(a->table->fmt)->name, a->n_row,
             (long long)tensor_cols(a->table));
}

void call_text_rmsnorm(const struct rmsnorm_args *a, char out[CALL_TEXT])
{
    rows_of(a->n_row, a->n, out);
}

/* The matrices of swiglu have one shape, which stands once. */
void call_text_matmul(const struct matmul_args *a, char out[CALL_TEXT])
{
    const size_t cap = CALL_TEXT;
    const int n_shape = a->epilogue == EPI_SWIGLU ? 1 : a->n_out;
    size_t n = 0;
    bool one_fmt = true, bias = false;
    for (int i = 0; i < a->n_out; i++) {
        one_fmt = one_fmt && a->out[i].w->fmt == a->out[0].w->fmt;
        bias = bias || a->out[i].bias;
    }
    for (int i = 0; i < (one_fmt ? 1 : a->n_out); i++)
        n += (size_t)snprintf(out + n, cap - n, "%s%s", i ? "+" : "",
                              fmt_info(a->out[i].w->fmt)->name);
    n += (size_t)snprintf(out + n, cap - n, " %dx%lld", a->n_row, (long long)a->n_in);
    for (int i = 0; i < n_shape; i++)
        n += (size_t)snprintf(out + n, cap - n, "%s%lld", i ? "+" : "->",
                              (long long)tensor_rows(a->out[i].w));
    snprintf(out + n, cap - n, " %s%s%s", call_epilogue_name(a->epilogue), bias ? " bias" : "",
             a->norm.w ? " norm" : "");
}

void call_text_kv_write(const struct kv_write_args *a, char out[CALL_TEXT])
{
    snprintf(out, CALL_TEXT, "%s %d rows %d heads of %d page %d%s", fmt_info(a->kv->fmt)->name,
             a->n_row, a->kv->n_kv_head, a->kv->head_dim, a->kv->page_tokens,
             !a->rope.q                       ? ""
             : a->rope.pairs == ROPE_ADJACENT ? " rope adjacent"
                                              : " rope halves");
}

void call_text_kv_copy(const struct kv_copy_args *a, char out[CALL_TEXT])
{
    snprintf(out, CALL_TEXT, "%s %d of %d tokens, %d heads of %d", fmt_info(a->kv->fmt)->name,
             a->n_token, a->kv->page_tokens, a->kv->n_kv_head, a->kv->head_dim);
}

void call_text_attention(const struct attention_args *a, char out[CALL_TEXT])
{
    snprintf(out, CALL_TEXT, "%s %d sequences %d rows, up to %d tokens, %d/%d heads of %d",
             fmt_info(a->kv->fmt)->name, a->n_seq, a->n_row, a->max_kv_len, a->n_head,
             a->kv->n_kv_head, a->kv->head_dim);
}

void call_text_add(const struct add_args *a, char out[CALL_TEXT])
{
    rows_of(a->n_row, a->n, out);
}

void call_text_gather(const struct gather_args *a, char out[CALL_TEXT])
{
    rows_of(a->n_row, a->n, out);
}

void call_text_logprob(const struct logprob_args *a, char out[CALL_TEXT])
{
    snprintf(out, CALL_TEXT, "%d rows of %lld, %d pairs", a->n_row, (long long)a->n_vocab,
             a->n_pair);
}

void call_text_sample(const struct sample_args *a, char out[CALL_TEXT])
{
    rows_of(a->n_row, a->n_vocab, out);
}
