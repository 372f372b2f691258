/* cpu_pack: weights into the order in which cpu_matmul reads them (lanes.h), in place, strip by strip. */
#include <string.h>

#include "mem.h"
#include "ops_cpu.h"

struct pack_job {
    const struct cpu_kernels *k;
    const struct tensor *w;
    struct lanes lanes;
    int64_t first; /* row */
    char *rows;    /* (n_threads, bytes): sixteen rows as they were */
    size_t bytes;
};

static void cpu_pack_strips(void *arg, int64_t begin, int64_t end, int worker)
{
    const struct pack_job *j = arg;
    const char *row[LANES];
    char *from = j->rows + (size_t)worker * j->bytes;
    for (int i = 0; i < LANES; i++)
        row[i] = from + (size_t)i * j->w->row_bytes;
    for (int64_t s = begin; s < end; s++) {
        char *strip = (char *)j->w->data + (size_t)(j->first + LANES * s) * j->w->row_bytes;
        memcpy(from, strip, LANES * j->w->row_bytes);
        j->k->pack(&j->lanes, row, tensor_cols(j->w), strip);
    }
}

bool cpu_packs(const struct ops *ops, const struct tensor *w)
{
    struct lanes l;
    return ((const struct ops_cpu *)ops)->k->pack && w->n_dim == 2 && !w->lanes && tensor_rows(w) >= LANES &&
           lanes_of(w->fmt, &l);
}

int cpu_pack(struct ops *ops, const struct tensor *w, int64_t first, int64_t n, struct err *e)
{
    struct ops_cpu *c = ops_cpu(ops);
    struct pack_job job = {.k = c->k, .w = w, .first = first, .bytes = size_align(LANES * w->row_bytes, 64)};
    if (!cpu_packs(ops, w))
        FAIL(e, ERR_BUG, "pack: %s of %lld rows has no other order", fmt_info(w->fmt)->name,
             (long long)tensor_rows(w));
    if (first < 0 || first % LANES || n < 0 || n > tensor_rows(w) - first)
        FAIL(e, ERR_BUG, "pack: rows %lld .. %lld of %lld; must begin on a multiple of %d", (long long)first,
             (long long)(first + n), (long long)tensor_rows(w), LANES);
    lanes_of(w->fmt, &job.lanes);
    size_t total = (size_t)pool_threads(c->pool) * job.bytes;
    if (!(job.rows = mem_aligned(total)))
        return NOMEM(e, total, "the order of weights");
    pool_run(c->pool, n / LANES, cpu_pack_strips, &job);
    mem_free(job.rows);
    return 0;
}
