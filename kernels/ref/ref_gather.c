#include <string.h>

#include "ops_check.h"
#include "ops_ref.h"

int ref_gather(struct ops *ops, struct stream *s, const struct gather_args *a, struct err *e)
{
    (void)ops, (void)s;
    TRY(ops_check_gather(a, e));
    for (int64_t r = 0; r < a->n_row; r++)
        memcpy(a->y + r * a->n, a->x + a->row[r] * a->n, (size_t)a->n * sizeof *a->y);
    return 0;
}
