#include "ops_ref.h"

#include "device_cpu.h"
#include "mem.h"
#include "ops_check.h"

struct ops_ref {
    struct ops ops; /* first: a struct ops * is a struct ops_ref * */
    struct device dev;
    void *scratch; /* lent */
    size_t scratch_bytes;
};

/* The need of one op at a time. Either two decoded weight rows and the normed rows of x, or the
 * scores of one head, or one row's order. */
static size_t ops_ref_scratch_bytes(const struct ops *ops, const struct ops_limits *l)
{
    (void)ops;
    size_t matmul =
        (2 * (size_t)l->max_in + (size_t)l->max_rows * (size_t)l->max_norm) * sizeof(float);
    size_t attention = (size_t)l->max_kv_len * sizeof(double);
    size_t sample = (size_t)l->n_vocab * (sizeof(double) + sizeof(int32_t));
    size_t most = matmul > attention ? matmul : attention;
    return size_align(most > sample ? most : sample, 256);
}

static void ops_ref_bind_scratch(struct ops *ops, void *ptr, size_t bytes)
{
    struct ops_ref *ref = (struct ops_ref *)ops;
    ref->scratch = ptr;
    ref->scratch_bytes = bytes;
}

int ops_ref_scratch(struct ops *ops, const char *op, size_t need, void **out, struct err *e)
{
    struct ops_ref *ref = (struct ops_ref *)ops;
    TRY(ops_check_scratch(op, need, ref->scratch, ref->scratch_bytes, e));
    *out = ref->scratch;
    return 0;
}

static void ops_ref_close(struct ops *ops)
{
    mem_free(ops);
}

int ops_ref_open(const struct ops_options *opt, struct ops **out, struct err *e)
{
    (void)opt; /* one thread, no instruction sets to choose from */
    struct ops_ref *ref = mem_zalloc(1, sizeof *ref);
    if (!ref)
        return NOMEM(e, sizeof *ref, "reference backend");
    device_cpu_init(&ref->dev, 1, "reference");
    ref->ops = (struct ops){
        .name = "ref",
        .dev = &ref->dev,
#define X(op) .op = ref_##op,
        OP_LIST(X)
#undef X
            .scratch_bytes = ops_ref_scratch_bytes,
        .bind_scratch = ops_ref_bind_scratch,
        .close = ops_ref_close,
    };
    *out = &ref->ops;
    return 0;
}
