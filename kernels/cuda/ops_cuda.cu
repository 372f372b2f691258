/*
 * ops_cuda: the backends "cuda" (compiled by nvcc) and "cudahost" (the same text compiled for the
 * host, see tests/cudahost). The file fills the table of ops with the kernels of variants.def, and
 * makes recordings as CUDA graphs.
 */
#include "device_cuda.cuh"

extern "C" {
#include "call_text.h"
}

namespace CU_NS
{

/* ---- the kernels ----------------------------------------------------------------------------- */

#define X(op, variant, accepts, prefers, bits)                                                     \
    int cuda_##op##_##variant(struct cuda_ctx *cx, cudaStream_t s, const struct op##_args *a,      \
                              struct err *e);                                                      \
    bool accepts(const struct op##_args *a, const struct cuda_ctx *cx);                            \
    bool prefers(const struct op##_args *a, const struct cuda_ctx *cx);
#include "variants.def"

#define X(op)                                                                                      \
    bool cuda_never(const struct op##_args *, const struct cuda_ctx *)                             \
    {                                                                                              \
        return false;                                                                              \
    }                                                                                              \
    bool cuda_any(const struct op##_args *, const struct cuda_ctx *)                               \
    {                                                                                              \
        return true;                                                                               \
    }
OP_LIST(X)
#undef X

struct kernel_row {
    enum op op;
    const char *variant, *bits;
    int (*launch)(struct cuda_ctx *cx, cudaStream_t s, const void *args, struct err *e);
    bool (*accepts)(const void *args, const struct cuda_ctx *cx);
    bool (*prefers)(const void *args, const struct cuda_ctx *cx);
};

static const struct kernel_row kernel_table[] = {
#define X(op, variant, accepts, prefers, bits)                                                     \
    {OP_##op,                                                                                      \
     #variant,                                                                                     \
     #bits,                                                                                        \
     [](struct cuda_ctx *cx, cudaStream_t s, const void *a, struct err *e) {                       \
         return cuda_##op##_##variant(cx, s, static_cast<const struct op##_args *>(a), e);         \
     },                                                                                            \
     [](const void *a, const struct cuda_ctx *cx) {                                                \
         return accepts(static_cast<const struct op##_args *>(a), cx);                             \
     },                                                                                            \
     [](const void *a, const struct cuda_ctx *cx) {                                                \
         return prefers(static_cast<const struct op##_args *>(a), cx);                             \
     }},
#include "variants.def"
};
static const int KERNELS = (int)(sizeof kernel_table / sizeof *kernel_table);

/* Row of the i-th variant of op, -1 when there are fewer. */
static int kernel_find(enum op op, int i)
{
    for (int k = 0; k < KERNELS; k++)
        if (kernel_table[k].op == op && i-- == 0)
            return k;
    return -1;
}

/* ---- the text of a call, for messages; is there anything to do? ------------------------------ */

#define X(op)                                                                                      \
    static void text_of(const struct op##_args *a, char out[CALL_TEXT])                            \
    {                                                                                              \
        call_text_##op(a, out);                                                                    \
    }
OP_LIST(X)
#undef X

template <class A> static bool is_empty(const A *a)
{
    return a->n_row == 0;
}
static bool is_empty(const struct kv_copy_args *a)
{
    return a->n_token == 0;
}
static bool is_empty(const struct logprob_args *a)
{
    return a->n_pair == 0;
}

/* ---- the backend ----------------------------------------------------------------------------- */

/* most recordings at once: batch sizes times lengths in use together */
static const int RECORDINGS = 64;

struct recording {
    uint64_t key; /* 0 = empty */
    cudaGraphExec_t exec;
    uint64_t used; /* count of replays and recordings, to find the least recently used one */
};

struct ops_cuda {
    struct ops ops; /* first: a struct ops * is a struct ops_cuda * */
    struct device_cuda dev;
    struct cuda_ctx cx;
    int forced[OP_COUNT]; /* 1 + index of the variant; 0 = none */
    int taken[OP_COUNT];  /* by the last call: 1 + row of kernel_table; 0 = there was none */
    bool recording;
    struct recording kept[RECORDINGS];
    uint64_t clock;
};

static struct ops_cuda *self(struct ops *ops)
{
    return reinterpret_cast<struct ops_cuda *>(ops);
}

/* Checks ids, slots and pages if the host can read them and they have arrived. Not on a GPU, not
 * while the call is only recorded, and not while their upload may be queued. */
template <class A>
static int call_check(const struct ops_cuda *c, struct stream *s, const A *a,
                      int (*shape)(const A *, struct err *), int (*all)(const A *, struct err *),
                      struct err *e)
{
#ifdef __CUDACC__
    (void)c, (void)s, (void)all;
    return shape(a, e);
#else
    bool there = !c->recording && cudaStreamQuery(device_cuda_stream(&c->dev, s)) == cudaSuccess;
    return there ? all(a, e) : shape(a, e);
#endif
}

template <class A>
static int call(struct ops_cuda *c, enum op op, struct stream *s, const A *a, struct err *e)
{
    char text[CALL_TEXT];
    int k = -1, forced = c->forced[op];
    if (forced)
        k = kernel_find(op, forced - 1);
    for (int i = 0; !forced && i < KERNELS && k < 0; i++)
        if (kernel_table[i].op == op && kernel_table[i].accepts(a, &c->cx) &&
            kernel_table[i].prefers(a, &c->cx))
            k = i;
    if (k < 0 || !kernel_table[k].accepts(a, &c->cx)) {
        text_of(a, text);
        FAIL(e, forced ? ERR_NODEV : ERR_BUG, "%s: %s of backend %s can compute %s",
             ops_op_name(op), forced ? "the forced kernel is not one that" : "no kernel",
             c->ops.name, text);
    }
    c->taken[op] = 1 + k;
    int rc = kernel_table[k].launch(&c->cx, device_cuda_stream(&c->dev, s), a, e);
    if (rc < 0)
        err_wrap(e, rc, "%s_%s on GPU %d", ops_op_name(op), kernel_table[k].variant, c->dev.index);
    return rc;
}

/* Strips of the CPU's order are refused. */
static int check_order(const void *, struct err *)
{
    return 0;
}
static int check_order(const struct embed_args *a, struct err *e)
{
    return ops_check_unpacked("embed", a->table, e);
}
static int check_order(const struct matmul_args *a, struct err *e)
{
    for (int i = 0; i < a->n_out; i++)
        TRY(ops_check_unpacked("matmul", a->out[i].w, e));
    return 0;
}

#define X(op)                                                                                      \
    static int ops_cuda_##op(struct ops *ops, struct stream *s, const struct op##_args *a,         \
                             struct err *e)                                                        \
    {                                                                                              \
        TRY(device_cuda_use(&self(ops)->dev, e));                                                  \
        TRY(call_check(self(ops), s, a, ops_shape_##op, ops_check_##op, e));                       \
        if (is_empty(a))                                                                           \
            return 0;                                                                              \
        TRY(check_order(a, e));                                                                    \
        return call(self(ops), OP_##op, s, a, e);                                                  \
    }
OP_LIST(X)
#undef X

static size_t ops_cuda_scratch_bytes(const struct ops *, const struct ops_limits *l)
{
    return scratch_cuda(l) + (l->all_variants ? cuda_blas_workspace() : 0);
}

static void ops_cuda_bind_scratch(struct ops *ops, void *ptr, size_t bytes)
{
    self(ops)->cx.scratch = ptr;
    self(ops)->cx.scratch_bytes = bytes;
}

/* ---- recordings ------------------------------------------------------------------------------ */

static int ops_cuda_record_begin(struct ops *ops, struct stream *s, struct err *e)
{
    struct ops_cuda *c = self(ops);
    if (c->recording)
        FAIL(e, ERR_BUG, "record_begin: a recording is under way");
    TRY(device_cuda_use(&c->dev, e));
    CU_TRY(e, cudaStreamBeginCapture(device_cuda_stream(&c->dev, s),
                                     cudaStreamCaptureModeThreadLocal));
    c->recording = true;
    return 0;
}

static void recording_drop(struct recording *r)
{
    if (r->exec)
        (void)cudaGraphExecDestroy(r->exec);
    *r = recording{};
}

/* The place for a new recording: that of the same key, a free one, or that of the least recently
 * used one. */
static struct recording *recording_place(struct ops_cuda *c, uint64_t key)
{
    struct recording *best = &c->kept[0];
    for (struct recording &r : c->kept) {
        if (r.key == key)
            return &r;
        if (r.used < best->used)
            best = &r;
    }
    return best;
}

static int ops_cuda_record_end(struct ops *ops, struct stream *s, uint64_t key, struct err *e)
{
    struct ops_cuda *c = self(ops);
    cudaGraph_t graph = NULL;
    cudaGraphExec_t exec = NULL;
    if (!c->recording)
        FAIL(e, ERR_BUG, "record_end: no recording is under way");
    c->recording = false;
    (void)cudaSetDevice(c->dev.index); /* whatever happens, the stream leaves its capture */
    CU_TRY(e, cudaStreamEndCapture(device_cuda_stream(&c->dev, s), &graph));
    cudaError_t instantiate = key ? cudaGraphInstantiate(&exec, graph, 0) : cudaSuccess;
    (void)cudaGraphDestroy(graph);
    if (instantiate != cudaSuccess) {
        (void)cudaGetLastError();
        FAIL(e, cu_err_code(instantiate), "cuda: cudaGraphInstantiate failed: %s",
             cudaGetErrorString(instantiate));
    }
    if (!key)
        return 0;
    struct recording *r = recording_place(c, key);
    recording_drop(r);
    r->key = key;
    r->exec = exec;
    r->used = ++c->clock;
    return 0;
}

static int ops_cuda_replay(struct ops *ops, struct stream *s, uint64_t key, struct err *e)
{
    struct ops_cuda *c = self(ops);
    for (struct recording &r : c->kept) {
        if (r.key != key || !key)
            continue;
        TRY(device_cuda_use(&c->dev, e));
        CU_TRY(e, cudaGraphLaunch(r.exec, device_cuda_stream(&c->dev, s)));
        r.used = ++c->clock;
        return 1;
    }
    return 0;
}

/* ---- variants -------------------------------------------------------------------------------- */

static int ops_cuda_variants(const struct ops *, enum op op)
{
    int n = 0;
    while (kernel_find(op, n) >= 0)
        n++;
    return n;
}

static const char *ops_cuda_variant_name(const struct ops *, enum op op, int i)
{
    int k = kernel_find(op, i);
    return k < 0 ? "none" : kernel_table[k].variant;
}

static int ops_cuda_variant_taken(const struct ops *ops, enum op op)
{
    const struct ops_cuda *c = reinterpret_cast<const struct ops_cuda *>(ops);
    int i = c->taken[op] ? 0 : -1;
    while (i >= 0 && kernel_find(op, i) != c->taken[op] - 1)
        i++;
    return i;
}

static const char *ops_cuda_variant_bits(const struct ops *, enum op op, int i)
{
    int k = kernel_find(op, i);
    return k < 0 ? "none" : kernel_table[k].bits;
}

static void ops_cuda_variant_force(struct ops *ops, enum op op, int i)
{
    self(ops)->forced[op] = i < 0 ? 0 : i + 1;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void ops_cuda_close(struct ops *ops)
{
    struct ops_cuda *c = self(ops);
    (void)cudaSetDevice(c->dev.index);
    for (struct recording &r : c->kept)
        recording_drop(&r);
    cuda_blas_close(&c->cx);
    device_cuda_free(&c->dev);
    mem_free(c);
}

static int ops_cuda_context(struct ops_cuda *c, struct err *e)
{
    int sms, major, minor, index = c->dev.index;
    CU_TRY(e, cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, index));
    CU_TRY(e, cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, index));
    CU_TRY(e, cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, index));
    c->cx.sm_count = sms;
    c->cx.cc = 10 * major + minor;
    return cuda_code_check(&c->cx, e);
}

static bool ops_cuda_reads(const struct ops *, enum fmt fmt)
{
    return cuda_matmul_reads(fmt);
}

static int ops_cuda_peak(struct ops *ops, enum ops_peak what, double *out, struct err *e)
{
#ifdef __CUDACC__
    const int turns = 20000; /* some milliseconds */
#else
    const int turns = 1; /* shows that it works; the figure means nothing */
#endif
    TRY(device_cuda_use(&self(ops)->dev, e));
    return cuda_peak(&self(ops)->cx, self(ops)->dev.main, what, turns, out, e);
}

static void ops_cuda_fill(struct ops *o, struct device *dev)
{
    o->name = CU_KIND;
    o->dev = dev;
#define X(op) o->op = ops_cuda_##op;
    OP_LIST(X)
#undef X
    o->scratch_bytes = ops_cuda_scratch_bytes;
    o->bind_scratch = ops_cuda_bind_scratch;
    o->close = ops_cuda_close;
    o->record_begin = ops_cuda_record_begin;
    o->record_end = ops_cuda_record_end;
    o->replay = ops_cuda_replay;
    o->variants = ops_cuda_variants;
    o->variant_name = ops_cuda_variant_name;
    o->variant_bits = ops_cuda_variant_bits;
    o->variant_force = ops_cuda_variant_force;
    o->variant_taken = ops_cuda_variant_taken;
    o->peak = ops_cuda_peak;
    o->reads = ops_cuda_reads;
}

static int ops_cuda_open(const struct ops_options *opt, struct ops **out, struct err *e)
{
    struct ops_cuda *c = static_cast<struct ops_cuda *>(mem_zalloc(1, sizeof *c));
    if (!c)
        return NOMEM(e, sizeof *c, "CUDA backend");
    int rc = device_cuda_init(&c->dev, opt->device, opt->vram_bytes, e);
    if (rc == 0)
        rc = ops_cuda_context(c, e);
    if (rc < 0) {
        device_cuda_free(&c->dev);
        mem_free(c);
        return rc;
    }
    ops_cuda_fill(&c->ops, &c->dev.dev);
    *out = &c->ops;
    return 0;
}

} // namespace CU_NS

extern "C" int CU_C(ops_open)(const struct ops_options *opt, struct ops **out, struct err *e);

extern "C" int CU_C(ops_open)(const struct ops_options *opt, struct ops **out, struct err *e)
{
    return CU_NS::ops_cuda_open(opt, out, e);
}

extern "C" int CU_C(ops_devices)(int *n, struct err *e);

extern "C" int CU_C(ops_devices)(int *n, struct err *e)
{
    return CU_NS::device_cuda_count(n, e);
}
