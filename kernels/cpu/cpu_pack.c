/* cpu_pack: packs weights into the order that cpu_matmul reads (lanes.h), strip by strip. */
#include <string.h>

#include "log.h"
#include "mem.h"
#include "ops_cpu.h"

struct pack_worker { /* the first strip that could not be read, of those that the worker tried */
    int rc;
    int64_t strip;
    struct err e;
};

struct pack_job {
    const struct cpu_kernels *k;
    const struct tensor *w;
    struct lanes lanes;
    int64_t first; /* row */
    ops_read read;
    void *user;
    char *rows; /* (n_threads, bytes): sixteen rows as files have them */
    size_t bytes;
    struct pack_worker *worker; /* (n_threads) */
};

static void cpu_pack_strips(void *arg, int64_t begin, int64_t end, int worker)
{
    const struct pack_job *j = arg;
    struct pack_worker *me = &j->worker[worker];
    const char *row[LANES];
    char *from = j->rows + (size_t)worker * j->bytes;
    for (int i = 0; i < LANES; i++)
        row[i] = from + (size_t)i * j->w->row_bytes;
    /* Parts come in any order: those before a failure are still done, for the first failure of
     * all is reported. */
    for (int64_t s = begin; s < end && (me->rc == 0 || s < me->strip); s++) {
        const int64_t at = j->first + LANES * s;
        char *strip = (char *)j->w->data + (size_t)at * j->w->row_bytes;
        int rc = 0;
        struct err e;
        if (j->read)
            rc = j->read(j->user, at, LANES, from, &e);
        else
            memcpy(from, strip, LANES * j->w->row_bytes);
        if (rc < 0)
            *me = (struct pack_worker){rc, s, e};
        else
            j->k->pack(&j->lanes, row, tensor_cols(j->w), strip);
    }
}

/* The strips of a matrix lie on the nodes of the workers that own them in a product of this matrix
 * alone. Several products in one call (q, k and v) divide all their strips together: a third of
 * their strips are then on another node. */
void cpu_home(struct ops *ops, const struct tensor *w)
{
    struct ops_cpu *c = ops_cpu(ops);
    if (w->n_dim == 2 && !pool_home(c->pool, tensor_rows(w) / LANES, LANES * w->row_bytes, w->data))
        log_debug("the system refuses memory of a chosen node");
}

bool cpu_packs(const struct ops *ops, const struct tensor *w)
{
    struct lanes l;
    return ((const struct ops_cpu *)ops)->k->pack && w->n_dim == 2 && !w->lanes &&
           tensor_rows(w) >= LANES && lanes_of(w->fmt, &l);
}

static int cpu_pack_run(struct ops_cpu *c, struct pack_job *j, int64_t n, struct err *e)
{
    const int64_t rest = n % LANES, at = j->first + n - rest;
    const int threads = pool_threads(c->pool);
    pool_run(c->pool, n / LANES, cpu_pack_strips, j);
    const struct pack_worker *first = NULL;
    for (const struct pack_worker *w = j->worker; w < j->worker + threads; w++)
        if (w->rc < 0 && (!first || w->strip < first->strip))
            first = w;
    if (first) {
        *e = first->e;
        return first->rc;
    }
    if (rest && j->read)
        return j->read(j->user, at, rest, (char *)j->w->data + (size_t)at * j->w->row_bytes, e);
    return 0;
}

int cpu_pack(struct ops *ops, const struct tensor *w, int64_t first, int64_t n, ops_read read,
             void *user, struct err *e)
{
    struct ops_cpu *c = ops_cpu(ops);
    const size_t threads = (size_t)pool_threads(c->pool);
    struct pack_job job = {.k = c->k,
                           .w = w,
                           .first = first,
                           .read = read,
                           .user = user,
                           .bytes = size_align(LANES * w->row_bytes, 64)};
    if (!cpu_packs(ops, w))
        FAIL(e, ERR_BUG, "pack: %s of %lld rows has no other order", fmt_info(w->fmt)->name,
             (long long)tensor_rows(w));
    if (first < 0 || first % LANES || n < 0 || n > tensor_rows(w) - first)
        FAIL(e, ERR_BUG, "pack: rows %lld .. %lld of %lld; must begin on a multiple of %d",
             (long long)first, (long long)(first + n), (long long)tensor_rows(w), LANES);
    lanes_of(w->fmt, &job.lanes);
    job.rows = mem_aligned(threads * job.bytes);
    job.worker = mem_zalloc(threads, sizeof *job.worker);
    int rc = job.rows && job.worker ? cpu_pack_run(c, &job, n, e)
                                    : NOMEM(e, threads * job.bytes, "the order of weights");
    mem_free(job.worker);
    mem_free(job.rows);
    return rc;
}
