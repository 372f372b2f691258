/* backend: the one place that knows which backends there are. */
#include <string.h>

#include "ops.h"
#include "ops_cpu.h"
#include "ops_ref.h"

static int backend_absent(const struct ops_options *opt, struct ops **out, struct err *e)
{
    (void)opt, (void)out;
    FAIL(e, ERR_NODEV, "this build has no CUDA backend; use auto, cpu or ref");
}

static const struct backend {
    const char *kind;
    int (*open)(const struct ops_options *opt, struct ops **out, struct err *e);
} backend_table[] = {
    {"auto", ops_cpu_open}, /* the fastest that works here: today there is one */
    {"cpu", ops_cpu_open},    {"ref", ops_ref_open},
    {"cuda", backend_absent}, {"cudahost", backend_absent},
};

static int backend_complete(const struct ops *ops, struct err *e)
{
#define X(op)                                                                                      \
    if (!ops->op)                                                                                  \
        FAIL(e, ERR_BUG, "backend %s lacks the op %s", ops->name, #op);
    OP_LIST(X)
#undef X
    return 0;
}

int ops_open(const char *kind, const struct ops_options *opt, struct ops **out, struct err *e)
{
    static const struct ops_options plain = {0};
    for (size_t i = 0; i < sizeof backend_table / sizeof *backend_table; i++) {
        if (strcmp(kind, backend_table[i].kind) != 0)
            continue;
        struct ops *ops = NULL;
        TRY(backend_table[i].open(opt ? opt : &plain, &ops, e));
        int rc = backend_complete(ops, e);
        if (rc < 0) {
            ops_close(ops);
            return rc;
        }
        *out = ops;
        return 0;
    }
    FAIL(e, ERR_NODEV, "unknown backend '%s'; use auto, cpu or ref", kind);
}

void ops_close(struct ops *ops)
{
    if (ops)
        ops->close(ops);
}

const char *ops_op_name(enum op op)
{
    static const char *const name[OP_COUNT] = {
#define X(n) [OP_##n] = #n,
        OP_LIST(X)
#undef X
    };
    return (unsigned)op < OP_COUNT ? name[op] : "unknown op";
}
