#include "ops_sim.h"

#include <stdio.h>

#include "device_cpu.h"
#include "device_sim.h"
#include "mem.h"
#include "scratch.h"

struct ops_sim {
    struct ops ops;
    struct device_sim on;
    struct device host; /* of "sim-cpu" */
    struct sim *sim;
    bool is_host;
};

/* ---- launches: those of the CUDA backend (kernels/CUDA.md) ----------------------------------- */

enum { SAMPLE_ROWS = 64, SAMPLE_LAUNCHES = 10 };

/* x is quantised; then one launch for each format among the matrices. */
static int launches_matmul(const struct matmul_args *a)
{
    int n = 2;
    for (int i = 1; i < a->n_out; i++) {
        bool seen = false;
        for (int k = 0; k < i; k++)
            seen = seen || a->out[k].w->fmt == a->out[i].w->fmt;
        n += !seen;
    }
    return n;
}

/* A merge follows in long contexts. */
static int launches_attention(const struct attention_args *a)
{
    return a->max_kv_len > SCRATCH_ATTN_SPAN ? 2 : 1;
}

static int launches_sample(const struct sample_args *a)
{
    return SAMPLE_LAUNCHES * ((a->n_row + SAMPLE_ROWS - 1) / SAMPLE_ROWS);
}

#define LAUNCHES_ONE(op)                                                                           \
    static int launches_##op(const struct op##_args *a)                                            \
    {                                                                                              \
        (void)a;                                                                                   \
        return 1;                                                                                  \
    }
LAUNCHES_ONE(embed)
LAUNCHES_ONE(rmsnorm)
LAUNCHES_ONE(kv_write)
LAUNCHES_ONE(kv_copy)
LAUNCHES_ONE(add)
LAUNCHES_ONE(gather)

static int launches_logprob(const struct logprob_args *a)
{
    (void)a;
    return 2;
}

/* ---- time ------------------------------------------------------------------------------------ */

static int spend(struct ops *ops, struct stream *k, const char *name, struct traffic t,
                 int launches, struct err *e)
{
    struct ops_sim *o = (struct ops_sim *)ops;
    struct sim *s = o->sim;
    int rc = 0;
    pthread_mutex_lock(&s->lock);
    if (!o->is_host)
        sim_called(s, launches);
    if (o->is_host)
        sim_compute(s, name, &t);
    else
        rc = sim_work(s, k ? k : &o->on.card->main, SIM_DEVICE, name, t.kept,
                      sim_seconds(&t, o->on.card->c.vram, o->on.card->c.device_ops) +
                          launches * s->c.launch_s,
                      0, e);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

#define X(op)                                                                                      \
    static int sim_##op(struct ops *ops, struct stream *k, const struct op##_args *a,              \
                        struct err *e)                                                             \
    {                                                                                              \
        return spend(ops, k, #op, traffic_##op(a), launches_##op(a), e);                           \
    }
OP_LIST(X)
#undef X

static size_t ops_sim_scratch_bytes(const struct ops *ops, const struct ops_limits *l)
{
    return ((const struct ops_sim *)ops)->is_host ? 0 : scratch_cuda(l);
}

static void ops_sim_bind_scratch(struct ops *ops, void *ptr, size_t bytes)
{
    (void)ops, (void)ptr, (void)bytes;
}

static void ops_sim_close(struct ops *ops)
{
    mem_free(ops);
}

static int ops_sim_make(const struct ops_options *opt, bool is_host, struct ops **out,
                        struct err *e)
{
    if (!opt->sim)
        FAIL(e, ERR_NODEV,
             "a simulated device is made by the program alone: see mas fit --simulate");
    if (!is_host && (opt->device < 0 || opt->device >= sim_cards(opt->sim)))
        FAIL(e, ERR_NODEV, "no simulated GPU %d: there are %d, counted from 0", opt->device,
             sim_cards(opt->sim));
    struct ops_sim *o = mem_zalloc(1, sizeof *o);
    if (!o)
        return NOMEM(e, sizeof *o, "simulated backend");
    o->sim = opt->sim;
    o->is_host = is_host;
    device_sim_init(&o->on, opt->sim, is_host ? 0 : opt->device);
    device_cpu_init(&o->host, 1, "simulated");
    o->host.hollow = true;
    o->ops = (struct ops){
        .name = is_host ? "sim-cpu" : "sim",
        .dev = is_host ? &o->host : &o->on.dev,
#define X(op) .op = sim_##op,
        OP_LIST(X)
#undef X
            .scratch_bytes = ops_sim_scratch_bytes,
        .bind_scratch = ops_sim_bind_scratch,
        .close = ops_sim_close,
    };
    *out = &o->ops;
    return 0;
}

int ops_sim_open(const struct ops_options *opt, struct ops **out, struct err *e)
{
    return ops_sim_make(opt, false, out, e);
}

int ops_sim_host_open(const struct ops_options *opt, struct ops **out, struct err *e)
{
    return ops_sim_make(opt, true, out, e);
}
