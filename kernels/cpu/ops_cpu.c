#include "ops_cpu.h"

#include "clock.h"
#include "device_cpu.h"
#include "mem.h"
#include "stat.h"

static const struct cpu_kernels *ops_cpu_kernels(enum cpu_isa isa)
{
#if defined(__x86_64__)
    if (isa == CPU_AVX2)
        return &cpu_kernels_avx2;
    if (isa == CPU_AVXVNNI)
        return &cpu_kernels_avxvnni;
    if (isa == CPU_AVX512VNNI || isa == CPU_AMX)
        return &cpu_kernels_avx512;
#elif defined(__aarch64__)
    if (isa == CPU_NEON)
        return &cpu_kernels_neon;
#endif
    (void)isa; /* cpu_isa_choose gives nothing else on other processors */
    return &cpu_kernels_scalar;
}

/* Those of a matmul with many rows of x; NULL: there are none. */
static const struct cpu_tiles *ops_cpu_tiles(enum cpu_isa isa)
{
#if defined(__x86_64__)
    if (isa == CPU_AMX)
        return &cpu_tiles_amx;
#endif
    (void)isa;
    return NULL;
}

static size_t ops_cpu_scratch_bytes(const struct ops *ops, const struct ops_limits *l)
{
    const struct ops_cpu *c = (const struct ops_cpu *)ops;
    int threads = pool_threads(c->pool);
    size_t most = cpu_matmul_scratch(c, l->max_rows, l->max_in, l->max_norm);
    /* sequences have a row at least */
    size_t attention = cpu_attention_scratch(threads, l->head_dim, l->max_rows);
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

/* ---- peak ------------------------------------------------------------------------------------ */

struct peak_job {
    const struct cpu_kernels *k;
    bool int8;
    int64_t turns;
    double *done; /* operations of each worker, a cache line apart */
};

static void peak_part(void *arg, int64_t begin, int64_t end, int worker)
{
    struct peak_job *j = arg;
    volatile float start = 1; /* a value that the compiler cannot know */
    for (int64_t i = begin; i < end; i++) {
        float sink = start;
        j->done[8 * worker] += j->k->peak(j->int8, j->turns, &sink);
        start = sink > 0 ? 1.0f : 0.5f;
    }
}

static int ops_cpu_peak(struct ops *ops, enum ops_peak what, double *out, struct err *e)
{
    enum { REPEATS = 5, TURNS = 2000000 };
    struct ops_cpu *c = ops_cpu(ops);
    const int threads = pool_threads(c->pool);
    double rate[REPEATS];
    struct peak_job j = {c->k, what == PEAK_INT8, TURNS, NULL};
    *out = 0;
    if (what != PEAK_F32 && what != PEAK_INT8)
        return 0;
    j.done = mem_zalloc(8 * (size_t)threads, sizeof *j.done);
    if (!j.done)
        return NOMEM(e, 8 * (size_t)threads * sizeof *j.done, "a measurement");
    for (int i = -1; i < REPEATS; i++) { /* the first one warms up */
        double sum = 0;
        for (int k = 0; k < threads; k++)
            j.done[8 * k] = 0;
        const int64_t t0 = clock_ns();
        pool_run(c->pool, threads, peak_part, &j);
        const double s = (double)(clock_ns() - t0) * 1e-9;
        for (int k = 0; k < threads; k++)
            sum += j.done[8 * k];
        if (i >= 0)
            rate[i] = sum / s;
    }
    mem_free(j.done);
    *out = stat_summarize(rate, REPEATS).median;
    return 0;
}

/* ---- read ------------------------------------------------------------------------------------ */

static const struct read_pattern {
    const char *name;
    int streams; /* of each thread */
    bool ahead;
} read_patterns[] = {
    {"1 stream", 1, false},           {"2 streams", 2, false},
    {"3 streams", 3, false},          {"4 streams", 4, false},
    {"1 stream, prefetch", 1, true},  {"2 streams, prefetch", 2, true},
    {"3 streams, prefetch", 3, true}, {"4 streams, prefetch", 4, true},
};
enum { N_READ = sizeof read_patterns / sizeof *read_patterns };

struct read_job {
    const struct cpu_kernels *k;
    struct read_pattern how;
    const char *p;
    uint64_t *sum; /* of each worker, a cache line apart */
};

static void read_part(void *arg, int64_t begin, int64_t end, int worker)
{
    struct read_job *j = arg;
    j->sum[8 * worker] ^=
        j->k->read(j->p + 64 * begin, 64 * (end - begin), j->how.streams, j->how.ahead);
}

static const char *ops_cpu_read_name(const struct ops *ops, int i)
{
    (void)ops;
    return i >= 0 && i < N_READ ? read_patterns[i].name : NULL;
}

static int ops_cpu_read(struct ops *ops, int i, const void *p, size_t n, uint64_t *sum,
                        struct err *e)
{
    struct ops_cpu *c = ops_cpu(ops);
    const int threads = pool_threads(c->pool);
    if (i < 0 || i >= N_READ)
        FAIL(e, ERR_BUG, "read: pattern %d, must be 0 to %d", i, N_READ - 1);
    if ((uintptr_t)p % 64 || n % 64)
        FAIL(e, ERR_BUG, "read: %zu bytes at %p, both must be multiples of 64", n, p);
    struct read_job j = {c->k, read_patterns[i], p, NULL};
    j.sum = mem_zalloc(8 * (size_t)threads, sizeof *j.sum);
    if (!j.sum)
        return NOMEM(e, 8 * (size_t)threads * sizeof *j.sum, "a measurement");
    pool_run(c->pool, (int64_t)(n / 64), read_part, &j);
    *sum = 0;
    for (int k = 0; k < threads; k++)
        *sum ^= j.sum[8 * k];
    mem_free(j.sum);
    return 0;
}

static bool ops_cpu_reads(const struct ops *ops, enum fmt fmt)
{
    (void)ops;
    return fmt_is_plain(fmt) || mm_x_block(fmt) != 0;
}

static void ops_cpu_watch(struct ops *ops, bool on)
{
    pool_watch(ops_cpu(ops)->pool, on);
}

static int ops_cpu_workers(struct ops *ops, struct pool_time *out, int most)
{
    return pool_times(ops_cpu(ops)->pool, out, most);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void ops_cpu_close(struct ops *ops)
{
    pool_close(ops_cpu(ops)->pool);
    mem_free(ops_cpu(ops)->turns);
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
    if (rc == 0 && !(c->turns = mem_zalloc(1, sizeof *c->turns)))
        rc = NOMEM(e, sizeof *c->turns, "CPU backend");
    if (rc < 0) {
        pool_close(c->pool);
        mem_free(c);
        return rc;
    }
    c->k = ops_cpu_kernels(isa);
    c->tiles = ops_cpu_tiles(isa);
    c->tile_rows = opt->tile_rows;
    device_cpu_init(&c->dev, pool_threads(c->pool), cpu_isa_chosen_title(opt->isa, isa));
    c->ops = (struct ops){
        .name = "cpu",
        .isa = cpu_isa_name(isa),
        .dev = &c->dev,
#define X(op) .op = cpu_##op,
        OP_LIST(X)
#undef X
            .scratch_bytes = ops_cpu_scratch_bytes,
        .bind_scratch = ops_cpu_bind_scratch,
        .close = ops_cpu_close,
        .peak = ops_cpu_peak,
        .read_name = ops_cpu_read_name,
        .read = ops_cpu_read,
        .watch = ops_cpu_watch,
        .workers = ops_cpu_workers,
        .reads = ops_cpu_reads,
        .pack_order = c->k->pack ? LANES_ORDER : NULL,
        .packs = cpu_packs,
        .pack = cpu_pack,
        .home = pool_topology(c->pool)->n_node > 1 ? cpu_home : NULL,
    };
    *out = &c->ops;
    return 0;
}
