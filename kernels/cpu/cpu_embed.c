#include "ops_check.h"
#include "ops_cpu.h"

static void cpu_embed_rows(void *arg, int64_t begin, int64_t end, int worker)
{
    (void)worker;
    const struct embed_args *a = arg;
    int64_t n = tensor_cols(a->table);
    for (int64_t r = begin; r < end; r++) {
        const char *row = (const char *)a->table->data + (size_t)a->id[r] * a->table->row_bytes;
        fmt_info(a->table->fmt)->decode(row, a->y + r * n, n);
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
