#include "span_op.h"

#include "call_text.h"
#include "clock.h"
#include "traffic.h"

#define N_ROW(op)                                                                                  \
    static int64_t rows_##op(const struct op##_args *a)                                            \
    {                                                                                              \
        return a->n_row;                                                                           \
    }
N_ROW(embed)
N_ROW(rmsnorm)
N_ROW(matmul)
N_ROW(kv_write)
N_ROW(attention)
N_ROW(add)
N_ROW(gather)
N_ROW(logprob)
N_ROW(sample)

static int64_t rows_kv_copy(const struct kv_copy_args *a)
{
    return a->n_token;
}

#define X(name_)                                                                                   \
    int spans_run_##name_(struct spans *s, int layer, struct ops *ops,                             \
                          const struct name_##_args *a, struct err *e)                             \
    {                                                                                              \
        if (!s)                                                                                    \
            return ops->name_(ops, NULL, a, e);                                                    \
        char text[CALL_TEXT];                                                                      \
        const int64_t told_ns = clock_ns();                                                        \
        const struct traffic t = traffic_##name_(a);                                               \
        call_text_##name_(a, text);                                                                \
        const struct span span = {.kind = SPAN_OP,                                                 \
                                  .name = #name_,                                                  \
                                  .detail = text,                                                  \
                                  .layer = layer,                                                  \
                                  .rows = rows_##name_(a),                                         \
                                  .bytes = t.bytes,                                                \
                                  .ops = t.ops,                                                    \
                                  .op = OP_##name_,                                                \
                                  .on = ops,                                                       \
                                  .dev = ops->dev,                                                 \
                                  .told_ns = told_ns};                                             \
        spans_begin(s, &span);                                                                     \
        const int rc = ops->name_(ops, NULL, a, e);                                                \
        spans_end(s, &span);                                                                       \
        return rc;                                                                                 \
    }
OP_LIST(X)
#undef X
