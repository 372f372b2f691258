#include "ops_cpu.h"

#include "device_cpu.h"
#include "mem.h"

static const struct cpu_kernels *ops_cpu_kernels(enum cpu_isa isa)
{
#if defined(__x86_64__)
    if (isa == CPU_AVX2)
        return &cpu_kernels_avx2;
    if (isa == CPU_AVX512VNNI)
        return &cpu_kernels_avx512;
#endif
    (void)isa; /* cpu_isa_choose gives nothing else on other processors */
    return &cpu_kernels_scalar;
}

static size_t ops_cpu_scratch_bytes(const struct ops *ops, const struct ops_limits *l)
{
    int threads = pool_threads(((const struct ops_cpu *)ops)->pool);
    size_t most = cpu_matmul_scratch(threads, l->max_rows, l->max_in);
    size_t attention = cpu_attention_scratch(threads, l->head_dim);
    size_t sample = cpu_sample_scratch(threads, l->n_vocab);
    most = attention > most ? attention : most;
    most = sample > most ? sample : most;
    return size_align(most, 256);
}

static void ops_cpu_bind_scratch(struct ops *ops, void *ptr, size_t bytes)
{
    ops_cpu(ops)->scratch = ptr;
    ops_cpu(ops)->scratch_bytes = bytes;
}

static void ops_cpu_close(struct ops *ops)
{
    pool_close(ops_cpu(ops)->pool);
    mem_free(ops);
}

int ops_cpu_open(const struct ops_options *opt, struct ops **out, struct err *e)
{
    enum cpu_isa isa;
    TRY(cpu_isa_choose(opt->isa, &isa, e));
    struct ops_cpu *c = mem_zalloc(1, sizeof *c);
    if (!c)
        return NOMEM(e, sizeof *c, "CPU backend");
    int rc = pool_open(opt->n_threads, &c->pool, e);
    if (rc < 0) {
        mem_free(c);
        return rc;
    }
    c->k = ops_cpu_kernels(isa);
    device_cpu_init(&c->dev, pool_threads(c->pool), cpu_isa_title(isa));
    c->ops = (struct ops){
        .name = "cpu",
        .dev = &c->dev,
#define X(op) .op = cpu_##op,
        OP_LIST(X)
#undef X
            .scratch_bytes = ops_cpu_scratch_bytes,
        .bind_scratch = ops_cpu_bind_scratch,
        .close = ops_cpu_close,
    };
    *out = &c->ops;
    return 0;
}
