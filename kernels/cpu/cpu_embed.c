#include "check.h"
#include "ops_check.h"
#include "ops_cpu.h"

/* A row of a table in strips: block by block, first back into the order of files. */
static void cpu_embed_packed(const struct tensor *table, const struct lanes *l, int64_t row,
                             float *y)
{
    const int64_t n = tensor_cols(table);
    const char *strip =
        (const char *)table->data + (size_t)(row / LANES * LANES) * table->row_bytes;
    char block[256]; /* the largest one has 210 bytes */
    CHECK(l->bytes <= sizeof block);
    for (int64_t b = 0; b < n / l->elems; b++, y += l->elems) {
        lanes_block(l, strip, (int)(row % LANES), n, b, block);
        fmt_info(table->fmt)->decode(block, y, l->elems);
    }
}

static void cpu_embed_rows(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const struct embed_args *a = arg;
    const struct tensor *table = a->table;
    const int64_t n = tensor_cols(table),
                  packed = table->lanes ? tensor_rows(table) / LANES * LANES : 0;
    struct lanes l;
    const bool known = lanes_of(table->fmt, &l);
    for (int64_t r = begin; r < end; r++) {
        float *y = a->y + r * n;
        if (known && a->id[r] < packed)
            cpu_embed_packed(table, &l, a->id[r], y);
        else
            fmt_info(table->fmt)
                ->decode((const char *)table->data + (size_t)a->id[r] * table->row_bytes, y, n);
        for (int64_t i = 0; i < n && a->scale != 1; i++)
            y[i] *= a->scale;
    }
}

int cpu_embed(struct ops *ops, struct stream *s, const struct embed_args *a, struct err *e)
{
    (void)s;
    TRY(ops_check_embed(a, e));
    struct embed_args job = *a;
    pool_run(ops_cpu(ops)->pool, a->n_row, cpu_embed_rows, &job);
    return 0;
}
