#include "probe.h"

#include <math.h>
#include <string.h>

#include "clock.h"
#include "log.h"
#include "mem.h"
#include "pinned.h"

enum {
    TRIES = 4,
    COPIES = 64,
    HOST_COLS = 4096,
    HOST_BATCH = 32,
    HOP_BYTES = 32 << 10,
    FEWEST = 64 << 10
};
static const size_t copy_bytes = (size_t)64 << 20, host_bytes = (size_t)32 << 20;
static const double step_s = 1e-4;     /* scheduling between two steps; assumed */
static const double launch_s = 1.5e-6; /* of a kernel on a device; assumed */

struct probe {
    struct ops *ops, *host;
    struct buf pinned, from, to;       /* of the device; pinned may be pageable */
    struct buf weights, x, y, scratch; /* of the host */
    size_t bytes;                      /* of each copy */
};

/* The nearest power of 1.2. */
static double rounded(double rate)
{
    return rate > 0 ? pow(1.2, round(log(rate) / log(1.2))) : 0;
}

/* *seconds: the shortest of TRIES runs; run queues the work. */
static int fastest(struct probe *p, int (*run)(struct probe *, struct err *), double *seconds,
                   struct err *e)
{
    struct device *dev = p->ops->dev;
    *seconds = INFINITY;
    for (int i = 0; i <= TRIES; i++) { /* run 0 does not count: it sets up memory on demand */
        int64_t t0 = clock_ns();
        TRY(run(p, e));
        TRY(dev->api->sync(dev, NULL, e));
        double t = (double)(clock_ns() - t0) * 1e-9;
        *seconds = i && t < *seconds ? t : *seconds;
    }
    return 0;
}

static int copy_up(struct probe *p, struct err *e)
{
    return p->ops->dev->api->copy(p->ops->dev, NULL, p->from.ptr, p->pinned.ptr, p->bytes, e);
}

static int copy_inside(struct probe *p, struct err *e)
{
    return p->ops->dev->api->copy(p->ops->dev, NULL, p->to.ptr, p->from.ptr, p->bytes, e);
}

static int copy_hop(struct probe *p, struct err *e)
{
    return p->ops->dev->api->copy(p->ops->dev, NULL, p->pinned.ptr, p->from.ptr, HOP_BYTES, e);
}

/* Allocates memory for the copies; halves the size until the allocation succeeds. */
static int probe_alloc(struct probe *p, struct err *e)
{
    struct device *dev = p->ops->dev;
    const struct dev_api *api = dev->api;
    for (p->bytes = copy_bytes;; p->bytes /= 2) {
        int rc = api->alloc(dev, MEM_PINNED, p->bytes, &p->pinned, e);
        if (rc == ERR_NOMEM && p->bytes / 2 < FEWEST)
            rc = api->alloc(dev, MEM_HOST, p->bytes, &p->pinned, e);
        if (rc == 0)
            rc = api->alloc(dev, MEM_DEVICE, p->bytes, &p->from, e);
        if (rc == 0)
            rc = api->alloc(dev, MEM_DEVICE, p->bytes, &p->to, e);
        if (rc != ERR_NOMEM || p->bytes / 2 < FEWEST)
            return rc;
        api->free(dev, &p->to);
        api->free(dev, &p->from);
        api->free(dev, &p->pinned);
    }
}

static int probe_copies(struct probe *p, struct plan_rates *r, struct err *e)
{
    double t;
    TRY(probe_alloc(p, e));
    memset(p->pinned.ptr, 1, p->bytes);
    TRY(fastest(p, copy_up, &t, e));
    r->link = rounded((double)p->bytes / t);
    TRY(fastest(p, copy_inside, &t, e));
    r->vram = rounded(2 * (double)p->bytes / t); /* bytes read and bytes written */
    TRY(fastest(p, copy_hop, &t, e));
    r->hop_s = rounded(t);
    return 0;
}

/* Times a matrix as large as a part of a large model, times rows of ones. */
static int probe_matmul(struct probe *p, enum fmt fmt, int rows, double *seconds, struct err *e)
{
    size_t row_bytes;
    if (!fmt_row_bytes(fmt, HOST_COLS, &row_bytes))
        FAIL(e, ERR_BUG, "probe: %d elements are no row of %s", HOST_COLS, fmt_info(fmt)->name);
    struct tensor w = {.data = p->weights.ptr,
                       .fmt = fmt,
                       .n_dim = 2,
                       .row_bytes = row_bytes,
                       .dim = {(int64_t)(host_bytes / row_bytes), HOST_COLS, 1, 1}};
    struct matmul_args a = {.x = p->x.ptr,
                            .n_row = rows,
                            .n_in = HOST_COLS,
                            .epilogue = EPI_STORE,
                            .n_out = 1,
                            .out = {{&w, NULL, p->y.ptr}}};
    *seconds = INFINITY;
    for (int i = 0; i <= TRIES; i++) {
        int64_t t0 = clock_ns();
        TRY(p->host->matmul(p->host, NULL, &a, e));
        double t = (double)(clock_ns() - t0) * 1e-9;
        *seconds = i && t < *seconds ? t : *seconds;
    }
    return 0;
}

/* Times the matrix again during copies over the link, for the memory rate that is left for the
 * CPU. */
static int probe_beside(struct probe *p, enum fmt fmt, double alone, const struct plan_rates *r,
                        double *seconds, struct err *e)
{
    struct device *dev = p->ops->dev;
    int n = (int)(2 * (TRIES + 1) * alone * r->link / (double)p->bytes) + 1;
    for (int i = 0; i < n && i < COPIES; i++)
        TRY(copy_up(p, e));
    TRY(probe_matmul(p, fmt, 1, seconds, e));
    return dev->api->sync(dev, NULL, e);
}

static int probe_cpu(struct probe *p, enum fmt fmt, struct plan_rates *r, struct err *e)
{
    struct device *dev = p->host->dev;
    size_t row_bytes;
    if (!fmt_row_bytes(fmt, HOST_COLS, &row_bytes))
        FAIL(e, ERR_BUG, "probe: %d elements are no row of %s", HOST_COLS, fmt_info(fmt)->name);
    int64_t n_out = (int64_t)(host_bytes / row_bytes);
    struct ops_limits lim = {.max_rows = HOST_BATCH,
                             .max_logit_rows = 1,
                             .max_in = HOST_COLS,
                             .max_out = n_out,
                             .n_vocab = 1,
                             .max_kv_len = 1,
                             .n_head = 1,
                             .head_dim = 1};
    size_t scratch = p->host->scratch_bytes(p->host, &lim),
           x = HOST_BATCH * HOST_COLS * sizeof(float);
    double one, many;
    TRY(dev->api->alloc(dev, MEM_DEVICE, host_bytes, &p->weights, e));
    TRY(dev->api->alloc(dev, MEM_DEVICE, x, &p->x, e));
    TRY(dev->api->alloc(dev, MEM_DEVICE, HOST_BATCH * (size_t)n_out * sizeof(float), &p->y, e));
    TRY(dev->api->alloc(dev, MEM_DEVICE, scratch ? scratch : 1, &p->scratch, e));
    memset(p->weights.ptr, 1, host_bytes); /* touches the pages; small numbers in every format */
    for (size_t i = 0; i < x / sizeof(float); i++)
        ((float *)p->x.ptr)[i] = 1;
    p->host->bind_scratch(p->host, p->scratch.ptr, scratch);
    TRY(probe_matmul(p, fmt, 1, &one, e));
    TRY(probe_matmul(p, fmt, HOST_BATCH, &many, e));
    const double bytes = (double)n_out * (double)row_bytes;
    r->host = rounded(bytes / one);
    r->host_ops = rounded(2.0 * HOST_BATCH * HOST_COLS * (double)n_out / many);
    TRY(probe_beside(p, fmt, one, r, &one, e));
    r->dram = r->link + rounded(bytes / one);
    return 0;
}

int probe_rates(struct ops *ops, struct ops *host, enum fmt fmt, struct plan_rates *out,
                struct err *e)
{
    struct probe p = {.ops = ops, .host = host};
    struct device *dev = ops->dev, *cpu = host->dev;
    char gpu[24];
    int rc;
    *out = (struct plan_rates){.step_s = step_s, .launch_s = dev->is_host ? 0 : launch_s};
    TRY_DONE(probe_copies(&p, out, e));
    TRY_DONE(probe_cpu(&p, fmt, out, e));
    log_info("measured%s: device memory %.0f GB/s, link %.1f GB/s, CPU %.1f GB/s and %.0f GOP/s, a "
             "hop %.0f us",
             pinned_gpu(dev, gpu), out->vram * 1e-9, out->link * 1e-9, out->host * 1e-9,
             out->host_ops * 1e-9, out->hop_s * 1e6);
done:
    (void)dev->api->sync(dev, NULL, NULL);
    host->bind_scratch(host, NULL, 0);
    cpu->api->free(cpu, &p.scratch);
    cpu->api->free(cpu, &p.y);
    cpu->api->free(cpu, &p.x);
    cpu->api->free(cpu, &p.weights);
    dev->api->free(dev, &p.to);
    dev->api->free(dev, &p.from);
    dev->api->free(dev, &p.pinned);
    return rc;
}

int probe_peer(struct device *from, struct device *to, double *rate, struct err *e)
{
    struct buf src = {0}, dst = {0};
    double best = INFINITY;
    int rc;
    size_t bytes = 2 * copy_bytes;
    do {
        bytes /= 2;
        from->api->free(from, &src);
        rc = from->api->alloc(from, MEM_DEVICE, bytes, &src, e);
        if (rc == 0)
            rc = to->api->alloc(to, MEM_DEVICE, bytes, &dst, e);
    } while (rc == ERR_NOMEM && bytes / 2 >= FEWEST);
    TRY_DONE(rc);
    TRY_DONE(from->api->fill(from, NULL, src.ptr, 1, bytes, e));
    TRY_DONE(from->api->sync(from, NULL, e));
    for (int i = 0; i <= TRIES; i++) { /* copy 0 does not count: it sets up the way */
        const int64_t t0 = clock_ns();
        TRY_DONE(to->api->peer_copy(to, NULL, dst.ptr, from, src.ptr, bytes, e));
        TRY_DONE(to->api->sync(to, NULL, e));
        const double t = (double)(clock_ns() - t0) * 1e-9;
        best = i && t < best ? t : best;
    }
    *rate = rounded((double)bytes / best);
done:
    to->api->free(to, &dst);
    from->api->free(from, &src);
    return rc;
}
