#include "traffic.h"

static double values(double rows, double n)
{
    return rows * n * (double)sizeof(float);
}

/* Bytes of n elements in a cache of this format. */
static double cached(const struct kv_view *kv, double n)
{
    const struct fmt_info *f = fmt_info(kv->fmt);
    return n / (double)f->block_elems * (double)f->block_bytes;
}

struct traffic traffic_embed(const struct embed_args *a)
{
    const double rows = a->n_row * (double)a->table->row_bytes;
    return (struct traffic){.bytes = rows + values(a->n_row, (double)a->table->dim[1]),
                            .kept = rows};
}

struct traffic traffic_rmsnorm(const struct rmsnorm_args *a)
{
    double n = (double)a->n;
    return (struct traffic){.bytes = (a->add ? 3 : 2) * values(a->n_row, n) + values(1, n),
                            .ops = (a->add ? 5 : 4) * a->n_row * n};
}

struct traffic traffic_matmul(const struct matmul_args *a)
{
    struct traffic t = {.bytes = values(a->n_row, (double)a->n_in)};
    if (a->norm.w) {
        t.bytes += values(1, (double)a->n_in);
        t.ops += 4 * a->n_row * (double)a->n_in;
    }
    for (int i = 0; i < a->n_out; i++) {
        double rows = (double)a->out[i].w->dim[0];
        t.kept += rows * (double)a->out[i].w->row_bytes + (a->out[i].bias ? values(1, rows) : 0);
        t.ops += 2 * rows * (double)a->n_in * a->n_row;
        if (!matmul_is_gated(a->epilogue) || i == 0)
            t.bytes += values(a->n_row, rows) * (a->epilogue == EPI_ADD ? 2 : 1);
    }
    t.bytes += t.kept;
    return t;
}

struct traffic traffic_kv_write(const struct kv_write_args *a)
{
    double n = (double)a->n_row * a->kv->n_kv_head * a->kv->head_dim;
    struct traffic t = {.bytes = 2 * (values(1, n) + cached(a->kv, n)),
                        .kept = 2 * cached(a->kv, n)};
    if (a->rope.q) {
        const double q = (double)a->n_row * a->rope.n_head, k = (double)a->n_row * a->kv->n_kv_head;
        t.bytes += 2 * values(q, a->rope.n_rot);
        t.ops += 3 * (q + k) * a->rope.n_rot;
    }
    return t;
}

struct traffic traffic_kv_copy(const struct kv_copy_args *a)
{
    const double bytes = 4 * cached(a->kv, (double)a->n_token * a->kv->n_kv_head * a->kv->head_dim);
    return (struct traffic){.bytes = bytes, .kept = bytes};
}

struct traffic traffic_attention(const struct attention_args *a)
{
    const double dim = a->kv->head_dim, len = a->max_kv_len;
    const double seen = a->window && a->window < len ? a->window : len; /* by a row */
    const double more = a->n_seq ? (double)a->n_row / a->n_seq - 1 : 0; /* by the others */
    const double read = seen + more < len ? seen + more : len;
    const double kv = 2 * cached(a->kv, a->n_seq * read * a->kv->n_kv_head * dim);
    return (struct traffic){.bytes = kv + 2 * values((double)a->n_row * a->n_head, dim),
                            .kept = kv,
                            .ops = 4 * a->n_row * seen * a->n_head * dim};
}

struct traffic traffic_add(const struct add_args *a)
{
    return (struct traffic){.bytes = 3 * values(a->n_row, (double)a->n),
                            .ops = a->n_row * (double)a->n};
}

struct traffic traffic_gather(const struct gather_args *a)
{
    return (struct traffic){.bytes = 2 * values(a->n_row, (double)a->n)};
}

struct traffic traffic_logprob(const struct logprob_args *a)
{
    return (struct traffic){.bytes = values(a->n_row, (double)a->n_vocab)};
}

struct traffic traffic_sample(const struct sample_args *a)
{
    return (struct traffic){.bytes = values(a->n_row, (double)a->n_vocab)};
}
