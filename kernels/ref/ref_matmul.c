#include <math.h>

#include "ops_check.h"
#include "ops_ref.h"

static double ref_dot(const float *x, const float *w, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)w[i];
    return sum;
}

static void ref_decode_row(const struct tensor *w, int64_t j, float *out)
{
    fmt_info(w->fmt)->decode((const char *)w->data + (size_t)j * w->row_bytes, out, tensor_cols(w));
}

static void ref_matmul_out(const struct matmul_args *a, const struct matmul_out *o, float *w)
{
    int64_t n_out = tensor_rows(o->w);
    for (int64_t j = 0; j < n_out; j++) {
        ref_decode_row(o->w, j, w);
        for (int r = 0; r < a->n_row; r++) {
            double v = ref_dot(a->x + r * a->n_in, w, a->n_in) + (o->bias ? (double)o->bias[j] : 0);
            float *y = o->y + r * n_out + j;
            *y = (float)(a->epilogue == EPI_ADD ? (double)*y + v : v);
        }
    }
}

static double ref_silu(double g)
{
    return g / (1 + exp(-g));
}

static double ref_gelu(double g)
{
    const double root = 0.79788456080286535588; /* sqrt(2 / pi) */
    return g / 2 * (1 + tanh(root * (g + 0.044715 * g * g * g)));
}

static void ref_matmul_gated(const struct matmul_args *a, float *gate, float *up)
{
    const struct matmul_out *g = &a->out[0], *u = &a->out[1];
    int64_t n_out = tensor_rows(g->w);
    for (int64_t j = 0; j < n_out; j++) {
        ref_decode_row(g->w, j, gate);
        ref_decode_row(u->w, j, up);
        for (int r = 0; r < a->n_row; r++) {
            const float *x = a->x + r * a->n_in;
            double vg = ref_dot(x, gate, a->n_in) + (g->bias ? (double)g->bias[j] : 0);
            double vu = ref_dot(x, up, a->n_in) + (u->bias ? (double)u->bias[j] : 0);
            const double act = a->epilogue == EPI_GEGLU ? ref_gelu(vg) : ref_silu(vg);
            g->y[r * n_out + j] = (float)(act * vu);
        }
    }
}

int ref_matmul(struct ops *ops, struct stream *s, const struct matmul_args *a, struct err *e)
{
    TRY(ops_check_matmul(a, e));
    if (a->n_row == 0)
        return 0;
    for (int i = 0; i < a->n_out; i++)
        TRY(ops_check_unpacked("matmul", a->out[i].w, e));
    void *scratch;
    const size_t rows = 2 + (a->norm.w ? (size_t)a->n_row : 0);
    TRY(ops_ref_scratch(ops, "matmul", rows * (size_t)a->n_in * sizeof(float), &scratch, e));
    float *w = scratch, *normed = w + 2 * a->n_in;
    struct matmul_args b = *a;
    if (a->norm.w) {
        const struct rmsnorm_args norm = {.x = a->x,
                                          .w = a->norm.w,
                                          .y = normed,
                                          .n_row = a->n_row,
                                          .n = a->n_in,
                                          .eps = a->norm.eps};
        TRY(ref_rmsnorm(ops, s, &norm, e));
        b.x = normed;
    }
    if (matmul_is_gated(a->epilogue)) {
        ref_matmul_gated(&b, w, w + a->n_in);
        return 0;
    }
    for (int i = 0; i < a->n_out; i++)
        ref_matmul_out(&b, &b.out[i], w);
    return 0;
}
