/* backend: the one place that knows all backends. MAS_HAVE_CUDA: the build found nvcc.
 * MAS_HAVE_CUDAHOST: the build found CUDA's headers. */
#include <string.h>

#include "log.h"
#include "ops.h"
#include "ops_cpu.h"
#include "ops_ref.h"
#include "ops_sim.h"

#if MAS_HAVE_CUDA
int ops_open_cuda(const struct ops_options *opt, struct ops **out, struct err *e);
int ops_devices_cuda(int *n, struct err *e);
#else
static int ops_open_cuda(const struct ops_options *opt, struct ops **out, struct err *e)
{
    (void)opt, (void)out;
    FAIL(e, ERR_NODEV, "this build has no CUDA backend: nvcc was not found, or MAS_CUDA is OFF");
}
static int ops_devices_cuda(int *n, struct err *e)
{
    (void)n;
    return ops_open_cuda(NULL, NULL, e);
}
#endif

#if MAS_HAVE_CUDAHOST
int ops_open_cudahost(const struct ops_options *opt, struct ops **out, struct err *e);
int ops_devices_cudahost(int *n, struct err *e);
#else
static int ops_open_cudahost(const struct ops_options *opt, struct ops **out, struct err *e)
{
    (void)opt, (void)out;
    FAIL(e, ERR_NODEV,
         "this build cannot run CUDA kernels on the host: CUDA's headers were not found");
}
static int ops_devices_cudahost(int *n, struct err *e)
{
    (void)n;
    return ops_open_cudahost(NULL, NULL, e);
}
#endif

/* CUDA if a GPU works, else the CPU. If the options name a GPU or its memory, there is no fallback
 * to the CPU. */
static int ops_open_auto(const struct ops_options *opt, struct ops **out, struct err *e)
{
    struct err why = {0};
    int rc = ops_open_cuda(opt, out, &why);
    if (rc == 0)
        return 0;
    if (rc != ERR_NODEV)
        FAIL(e, rc, "%s", why.msg);
    if (opt->device || opt->vram_bytes || opt->devices) {
        const char *gpu = opt->devices ? "--devices" : opt->device ? "--device" : NULL;
        const bool both = gpu && opt->vram_bytes;
        FAIL(e, rc,
             "%s%s%s for a GPU, and no GPU can be used: %s; for the CPU use --backend cpu "
             "without %s%s%s",
             opt->vram_bytes ? "--vram" : gpu, both ? " and " : "",
             !both          ? " asks"
             : opt->devices ? "--devices ask"
                            : "--device ask",
             why.msg, opt->vram_bytes ? "--vram" : gpu, both ? " and " : "", both ? gpu : "");
    }
    log_line(MAS_HAVE_CUDA ? LOG_WARN : LOG_INFO, "using the CPU: %s", why.msg);
    return ops_cpu_open(opt, out, e);
}

static const struct backend {
    const char *kind;
    int (*open)(const struct ops_options *opt, struct ops **out, struct err *e);
} backend_table[] = {
    {"auto", ops_open_auto},        {"cpu", ops_cpu_open},           {"ref", ops_ref_open},
    {"cuda", ops_open_cuda},        {"cudahost", ops_open_cudahost}, {"sim", ops_sim_open},
    {"sim-cpu", ops_sim_host_open},
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
        int rc = backend_table[i].open(opt ? opt : &plain, &ops, e);
        if (rc == ERR_NODEV && strncmp(kind, "cuda", 4) == 0)
            return err_wrap(e, rc, "cannot use backend %s (use auto, cpu or ref)", kind);
        TRY(rc);
        rc = backend_complete(ops, e);
        if (rc < 0) {
            ops_close(ops);
            return rc;
        }
        *out = ops;
        return 0;
    }
    FAIL(e, ERR_NODEV, "unknown backend '%s'; use auto, cpu or ref", kind);
}

int ops_devices(const char *kind, const struct ops_options *opt, int *n, struct err *e)
{
    if (!strcmp(kind, "sim") && opt && opt->sim) {
        *n = sim_cards(opt->sim);
        return 0;
    }
    if (!strcmp(kind, "cuda"))
        return ops_devices_cuda(n, e);
    if (!strcmp(kind, "cudahost"))
        return ops_devices_cudahost(n, e);
    if (strcmp(kind, "auto") || ops_devices_cuda(n, NULL) < 0)
        *n = 1;
    return 0;
}

int ops_open_beside(const struct ops *ops, const struct ops_options *opt, struct ops **out,
                    struct err *e)
{
    const struct ops_options cpu = {
        .n_threads = opt->n_threads, .isa = opt->isa, .tile_rows = opt->tile_rows, .sim = opt->sim};
    return ops_open(strcmp(ops->name, "sim") ? "cpu" : "sim-cpu", &cpu, out, e);
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
