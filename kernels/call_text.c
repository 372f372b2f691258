#include "call_text.h"

#include <string.h>

/* Spans make these texts on the step path, where snprintf would cost more than the rest. No
 * text is too long for its array; a part that did not fit would be left out. */
struct words {
    char *s; /* CALL_TEXT bytes */
    size_t n;
};

/* The length of a literal is known when this is compiled, and so is the size of its copy. */
static inline __attribute__((always_inline)) void add(struct words *w, const char *s)
{
    const size_t n = strlen(s);
    if (w->n + n >= CALL_TEXT)
        return;
    memcpy(w->s + w->n, s, n + 1);
    w->n += n;
}

static void add_int(struct words *w, int64_t v)
{
    char digits[24], *at = digits + sizeof digits;
    uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    do {
        *--at = (char)('0' + u % 10);
        u /= 10;
    } while (u);
    if (v < 0)
        *--at = '-';
    const size_t n = (size_t)(digits + sizeof digits - at);
    if (w->n + n >= CALL_TEXT)
        return;
    for (size_t i = 0; i < n; i++) /* one or two bytes, mostly */
        w->s[w->n + i] = at[i];
    w->n += n;
    w->s[w->n] = 0;
}

static struct words words(char out[CALL_TEXT])
{
    *out = 0;
    return (struct words){.s = out};
}

const char *call_epilogue_name(enum matmul_epilogue e)
{
    static const char *const names[] = {
        [EPI_STORE] = "store", [EPI_ADD] = "add", [EPI_SWIGLU] = "swiglu", [EPI_GEGLU] = "geglu"};
    return (unsigned)e < sizeof names / sizeof *names ? names[e] : "unknown";
}

static void add_fmt(struct words *w, enum fmt fmt)
{
    add(w, fmt_info(fmt)->name);
}

static void add_shape(struct words *w, int64_t rows, int64_t n)
{
    add_int(w, rows);
    add(w, "x");
    add_int(w, n);
}

static void rows_of(int64_t rows, int64_t n, char out[CALL_TEXT])
{
    struct words w = words(out);
    add_shape(&w, rows, n);
}

void call_text_embed(const struct embed_args *a, char out[CALL_TEXT])
{
    struct words w = words(out);
    add_fmt(&w, a->table->fmt);
    add(&w, " ");
    add_shape(&w, a->n_row, tensor_cols(a->table));
}

void call_text_rmsnorm(const struct rmsnorm_args *a, char out[CALL_TEXT])
{
    struct words w = words(out);
    add_shape(&w, a->n_row, a->n);
    add(&w, a->add ? " add" : "");
}

/* Gate and up have one shape, which stands once. */
void call_text_matmul(const struct matmul_args *a, char out[CALL_TEXT])
{
    const int n_shape = matmul_is_gated(a->epilogue) ? 1 : a->n_out;
    struct words w = words(out);
    bool one_fmt = true, bias = false;
    for (int i = 0; i < a->n_out; i++) {
        one_fmt = one_fmt && a->out[i].w->fmt == a->out[0].w->fmt;
        bias = bias || a->out[i].bias;
    }
    for (int i = 0; i < (one_fmt ? 1 : a->n_out); i++) {
        add(&w, i ? "+" : "");
        add_fmt(&w, a->out[i].w->fmt);
    }
    add(&w, " ");
    add_shape(&w, a->n_row, a->n_in);
    for (int i = 0; i < n_shape; i++) {
        add(&w, i ? "+" : "->");
        add_int(&w, tensor_rows(a->out[i].w));
    }
    add(&w, " ");
    add(&w, call_epilogue_name(a->epilogue));
    add(&w, bias ? " bias" : "");
    add(&w, a->norm.w ? " norm" : "");
}

void call_text_kv_write(const struct kv_write_args *a, char out[CALL_TEXT])
{
    struct words w = words(out);
    add_fmt(&w, a->kv->fmt);
    add(&w, " ");
    add_int(&w, a->n_row);
    add(&w, " rows ");
    add_int(&w, a->kv->n_kv_head);
    add(&w, " heads of ");
    add_int(&w, a->kv->head_dim);
    add(&w, " page ");
    add_int(&w, a->kv->page_tokens);
    if (a->rope.q)
        add(&w, a->rope.pairs == ROPE_ADJACENT ? " rope adjacent" : " rope halves");
}

void call_text_kv_copy(const struct kv_copy_args *a, char out[CALL_TEXT])
{
    struct words w = words(out);
    add_fmt(&w, a->kv->fmt);
    add(&w, " ");
    add_int(&w, a->n_token);
    add(&w, " of ");
    add_int(&w, a->kv->page_tokens);
    add(&w, " tokens, ");
    add_int(&w, a->kv->n_kv_head);
    add(&w, " heads of ");
    add_int(&w, a->kv->head_dim);
}

void call_text_attention(const struct attention_args *a, char out[CALL_TEXT])
{
    struct words w = words(out);
    add_fmt(&w, a->kv->fmt);
    add(&w, " ");
    add_int(&w, a->n_seq);
    add(&w, " sequences ");
    add_int(&w, a->n_row);
    add(&w, " rows, up to ");
    add_int(&w, a->max_kv_len);
    add(&w, " tokens, ");
    add_int(&w, a->n_head);
    add(&w, "/");
    add_int(&w, a->kv->n_kv_head);
    add(&w, " heads of ");
    add_int(&w, a->kv->head_dim);
    if (a->window) {
        add(&w, " window ");
        add_int(&w, a->window);
    }
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
    struct words w = words(out);
    add_int(&w, a->n_row);
    add(&w, " rows of ");
    add_int(&w, a->n_vocab);
    add(&w, ", ");
    add_int(&w, a->n_pair);
    add(&w, " pairs");
}

void call_text_sample(const struct sample_args *a, char out[CALL_TEXT])
{
    rows_of(a->n_row, a->n_vocab, out);
}
