#include "case.h"

#include <math.h>
#include <string.h>

#include "check.h"
#include "fmt_random.h"
#include "rng.h"

#define X(op) extern const struct case_set case_##op;
OP_LIST(X)
#undef X

const struct case_set *const case_registry[OP_COUNT] = {
#define X(op) [OP_##op] = &case_##op,
    OP_LIST(X)
#undef X
};

void case_free(struct op_case *c)
{
    arena_free(&c->arena);
}

void *case_buf(struct op_case *c, const char *name, enum case_role role, enum case_type type,
               size_t n, size_t size)
{
    size_t bytes;
    struct case_buf *b = &c->buf[c->n_buf++];
    void *host = size_mul(n, size, &bytes) ? arena_alloc(&c->arena, bytes, 1) : NULL;
    *b = (struct case_buf){name, role, type, host, bytes, 0, 0, FMT_F32, false};
    return host;
}

float *case_floats(struct op_case *c, const char *name, enum case_role role, int64_t n,
                   uint64_t key, float std)
{
    float *x = case_buf(c, name, role, CASE_F32, (size_t)n, sizeof *x);
    for (int64_t i = 0; x && i < n; i++) /* uniform: deviation 1 / sqrt 12 */
        x[i] = (rng_uniform(key, (uint64_t)i) - 0.5f) * 3.4641016f * std;
    return x;
}

void *case_weights(struct op_case *c, int i, const char *name, enum fmt fmt, int64_t rows,
                   int64_t cols, uint64_t key, float std)
{
    size_t row;
    if (!fmt_row_bytes(fmt, cols, &row)) {
        c->buf[c->n_buf++] = (struct case_buf){.name = name};
        return NULL;
    }
    c->w_at[i] = c->n_buf;
    void *data = case_buf(c, name, CASE_IN, CASE_BYTES, (size_t)rows, row);
    if (data)
        fmt_random(fmt, key, 0, rows * (cols / fmt_info(fmt)->block_elems), std, data);
    c->w[i] = (struct tensor){.fmt = fmt, .n_dim = 2, .dim = {rows, cols, 1, 1}, .row_bytes = row};
    return data;
}

void case_tolerance(struct op_case *c, double abs, double rel)
{
    c->buf[c->n_buf - 1].abs = abs;
    c->buf[c->n_buf - 1].rel = rel;
}

void case_rows(struct op_case *c, enum fmt fmt)
{
    c->buf[c->n_buf - 1].type = CASE_ROWS;
    c->buf[c->n_buf - 1].fmt = fmt;
}

void case_aligned(struct op_case *c)
{
    c->buf[c->n_buf - 1].aligned = true;
}

void case_traffic(struct op_case *c, struct traffic t)
{
    c->bytes = t.bytes;
    c->flops = t.ops;
}

int case_done(const struct op_case *c, struct err *e)
{
    for (int i = 0; i < c->n_buf; i++)
        if (!c->buf[i].host)
            return NOMEM(e, c->buf[i].bytes, "case");
    return 0;
}

int case_upload(const struct op_case *c, struct ops *ops, unsigned skew, struct case_device *d,
                struct err *e)
{
    const struct dev_api *api = ops->dev->api;
    *d = (struct case_device){.ops = ops};
    for (int i = 0; i < c->n_buf; i++) {
        const struct case_buf *b = &c->buf[i];
        const bool off = skew >> i & 1 && b->type == CASE_F32 && !b->aligned;
        const size_t at = off ? sizeof(float) : 0;
        TRY(api->alloc(ops->dev, MEM_DEVICE, at + b->bytes, &d->buf[i], e));
        d->dev[i] = (unsigned char *)d->buf[i].ptr + at;
        if (b->role == CASE_OUT)
            TRY(api->fill(ops->dev, NULL, d->dev[i], 0xff, b->bytes, e));
        else
            TRY(api->copy(ops->dev, NULL, d->dev[i], b->host, b->bytes, e));
    }
    size_t scratch = ops->scratch_bytes(ops, &c->limits);
    TRY(api->alloc(ops->dev, MEM_DEVICE, scratch, &d->scratch, e));
    ops->bind_scratch(ops, d->scratch.ptr, scratch);
    return api->sync(ops->dev, NULL, e);
}

int case_pack(struct op_case *c, struct case_device *d, struct err *e)
{
    for (int i = 0; i < 3; i++) {
        struct tensor w = c->w[i];
        w.data = d->dev[c->w_at[i]];
        w.lanes = false;
        if (!w.n_dim || !d->ops->packs || !d->ops->packs(d->ops, &w))
            continue;
        TRY(d->ops->pack(d->ops, &w, 0, tensor_rows(&w), NULL, NULL, e));
        c->w[i].lanes = true;
    }
    return 0;
}

int case_poison(struct case_device *d, struct err *e)
{
    struct device *dev = d->ops->dev;
    return dev->api->fill(dev, NULL, d->scratch.ptr, 0xff, d->scratch.bytes, e);
}

int case_run(const struct op_case *c, struct case_device *d, struct err *e)
{
    TRY(c->run(c, d->dev, d->ops, NULL, e));
    return d->ops->dev->api->sync(d->ops->dev, NULL, e);
}

int case_download(const struct op_case *c, struct case_device *d, int i, void *host, struct err *e)
{
    struct device *dev = d->ops->dev;
    TRY(dev->api->copy(dev, NULL, host, d->dev[i], c->buf[i].bytes, e));
    return dev->api->sync(dev, NULL, e);
}

void case_release(struct case_device *d)
{
    d->ops->bind_scratch(d->ops, NULL, 0);
    for (int i = 0; i < CASE_BUFS; i++)
        d->ops->dev->api->free(d->ops->dev, &d->buf[i]);
    d->ops->dev->api->free(d->ops->dev, &d->scratch);
}

/* The share of its tolerance that one number uses; equal numbers, and two NaN, use none. */
static double case_used(double got, double want, double allowed)
{
    if (got == want || (isnan(got) && isnan(want)))
        return 0;
    double error = fabs(got - want);
    if (!(error <= allowed)) /* NaN fails this */
        return error > allowed && allowed > 0 ? error / allowed : INFINITY;
    return error / allowed;
}

/* Compares buffers of rows block by block. */
static struct case_diff case_compare_rows(const struct case_buf *b, const char *got,
                                          const char *want)
{
    const struct fmt_info *f = fmt_info(b->fmt);
    struct case_diff worst = {.worst = -1};
    float x[256], y[256];
    CHECK(f->block_elems <= 256);
    for (size_t at = 0, i = 0; at + f->block_bytes <= b->bytes; at += f->block_bytes) {
        f->decode(got + at, x, f->block_elems);
        f->decode(want + at, y, f->block_elems);
        for (int k = 0; k < f->block_elems; k++, i++) {
            double used =
                case_used((double)x[k], (double)y[k], b->abs + b->rel * fabs((double)y[k]));
            if (worst.worst < 0 || used > worst.used)
                worst = (struct case_diff){(int64_t)i, (double)x[k], (double)y[k], used};
        }
    }
    return worst;
}

struct case_diff case_compare(const struct case_buf *b, const void *got, const void *want)
{
    struct case_diff worst = {.worst = -1};
    size_t size = b->type == CASE_BYTES ? 1 : 4;
    if (b->type == CASE_ROWS)
        return case_compare_rows(b, got, want);
    for (size_t i = 0; i < b->bytes / size; i++) {
        double x, y;
        if (b->type == CASE_F32) {
            x = (double)((const float *)got)[i];
            y = (double)((const float *)want)[i];
        } else if (b->type == CASE_I32) {
            x = ((const int32_t *)got)[i];
            y = ((const int32_t *)want)[i];
        } else {
            x = ((const unsigned char *)got)[i];
            y = ((const unsigned char *)want)[i];
        }
        double used = case_used(x, y, b->abs + b->rel * fabs(y));
        if (worst.worst < 0 || used > worst.used)
            worst = (struct case_diff){(int64_t)i, x, y, used};
    }
    return worst;
}
