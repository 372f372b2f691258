#include "ops_check.h"
#include "ops_ref.h"

int ref_embed(struct ops *ops, struct stream *s, const struct embed_args *a, struct err *e)
{
    (void)ops, (void)s;
    TRY(ops_check_embed(a, e));
    if (a->n_row)
        TRY(ops_check_unpacked("embed", a->table, e));
    for (int r = 0; r < a->n_row; r++) {
        int64_t n = tensor_cols(a->table);
        const char *row = (const char *)a->table->data + (size_t)a->id[r] * a->table->row_bytes;
        fmt_info(a->table->fmt)->decode(row, a->y + r * n, n);
        for (int64_t i = 0; i < n; i++)
            a->y[r * n + i] *= a->scale;
    }
    return 0;
}
