#include "cost.h"

#include "mem.h"

enum { WARM_UP = 2, MEASURED = 4 }; /* steps: the ring fills in the first ones, then lengths repeat but for
                                       where the ring wraps */

struct use { /* of the ring by a streamed part; positions only grow, at % ring is the place */
    uint64_t at, bytes;
    double released;
};

struct clock_run {
    const struct cost_model *m;
    const struct cost_load *load;
    double link;       /* bytes/s of streamed parts */
    double now;        /* the chain of computations has come so far */
    double link_free;  /* the link has copied all that was asked for */
    struct use *use;   /* (n_item) use n at n % n_item */
    uint64_t n_item, n_use, next_at;
    struct cost sum;
};

static double larger(double a, double b)
{
    return a > b ? a : b;
}

static int cost_check(const struct cost_model *m, uint64_t *n_item, struct err *e)
{
    *n_item = 0;
    for (int i = 0; i < m->n_part; i++) {
        const struct cost_part *p = &m->part[i];
        if (p->place == PLAN_STREAM && (m->rates.link <= 0 || p->bytes > m->ring_bytes))
            FAIL(e, ERR_BUG, "cost_step: part %d of layer %d cannot be streamed", (int)p->part, p->layer);
        if (p->place == PLAN_HOST && p->part == PART_FFN && m->rates.host <= 0)
            FAIL(e, ERR_BUG, "cost_step: layer %d on a host without a rate", p->layer);
        *n_item += p->place == PLAN_STREAM;
    }
    if (!(m->rates.vram > 0))
        FAIL(e, ERR_BUG, "cost_step: no rate of the device's memory");
    return 0;
}

static double work(double bytes, double rate, double ops, double ops_rate)
{
    return larger(bytes / rate, ops_rate > 0 ? ops / ops_rate : 0);
}

/* Copies one streamed part as early as link and ring allow; returns when its last byte has arrived. Its
 * bytes lie on those of older uses one ring before, each of which must have been released. */
static double copy_part(struct clock_run *r, uint64_t bytes)
{
    uint64_t ring = r->m->ring_bytes, at = r->next_at, end;
    if (at % ring + bytes > ring)
        at += ring - at % ring;
    end = at + bytes;
    uint64_t done = at, first = r->n_use > r->n_item ? r->n_use - r->n_item : 0;
    double t = r->link_free;
    for (uint64_t n = first; n < r->n_use; n++) {
        const struct use *old = &r->use[n % r->n_item];
        uint64_t begin = old->at + ring;
        if (begin + old->bytes <= at || begin >= end)
            continue;
        if (begin > done) {
            t += (double)(begin - done) / r->link;
            done = begin;
        }
        t = larger(t, old->released);
    }
    t += (double)(end - done) / r->link;
    if (r->n_use >= r->n_item) /* the use of the same part in the step before */
        t = larger(t, r->use[r->n_use % r->n_item].released + (double)bytes / r->link);
    r->next_at = end;
    r->link_free = t;
    r->sum.link_s += (double)bytes / r->link;
    r->use[r->n_use % r->n_item] = (struct use){at, bytes, 0};
    return t;
}

static void cross(struct clock_run *r)
{
    const struct plan_rates *rates = &r->m->rates;
    double bytes = (double)r->load->rows * (double)r->m->row_bytes;
    double t = rates->hop_s + (rates->link > 0 ? bytes / rates->link : 0);
    r->sum.hop_s += t;
    r->now += t;
}

static void run_part(struct clock_run *r, const struct cost_part *p)
{
    const struct plan_rates *rates = &r->m->rates;
    double bytes = (double)p->bytes, ops = bytes * r->m->ops_per_byte * (double)r->load->rows;
    if (p->part == PART_EMBED) { /* rows are gathered, the matrix is not read */
        if (p->place == PLAN_HOST)
            cross(r);
        return;
    }
    if (p->place == PLAN_HOST) {
        double t = work(bytes, rates->host, ops, rates->host_ops);
        cross(r);
        r->now += t;
        r->sum.host_s += t;
        cross(r);
        return;
    }
    if (p->place == PLAN_STREAM)
        r->now = larger(r->now, copy_part(r, p->bytes));
    double t = work(bytes, rates->vram, ops, rates->device_ops);
    if (p->part == PART_ATTN)
        t += (double)r->load->n_seq * (double)r->load->kv_len * (double)r->m->kv_bytes_per_token /
             (double)r->m->n_layer / rates->vram;
    r->now += t;
    r->sum.device_s += t;
    if (p->place == PLAN_STREAM)
        r->use[r->n_use++ % r->n_item].released = r->now;
}

static double dram_floor(const struct cost_model *m)
{
    double bytes = 0;
    for (int i = 0; i < m->n_part; i++)
        if (m->part[i].place == PLAN_STREAM ||
            (m->part[i].place == PLAN_HOST && m->part[i].part == PART_FFN))
            bytes += (double)m->part[i].bytes;
    return m->rates.dram > 0 ? bytes / m->rates.dram : 0;
}

int cost_step(const struct cost_model *m, const struct cost_load *load, struct cost *out, struct err *e)
{
    struct clock_run r = {.m = m, .load = load, .link = m->rates.link};
    TRY(cost_check(m, &r.n_item, e));
    if (m->from_disk && m->rates.disk > 0 && m->rates.disk < r.link)
        r.link = m->rates.disk;
    r.use = mem_zalloc((size_t)r.n_item, sizeof *r.use);
    if (r.n_item && !r.use)
        return NOMEM(e, (size_t)r.n_item * sizeof *r.use, "a prediction");
    double begin = 0;
    for (int step = 0; step < WARM_UP + MEASURED; step++) {
        if (step == WARM_UP) {
            begin = r.now;
            r.sum = (struct cost){.step_s = 0};
        }
        for (int i = 0; i < m->n_part; i++)
            run_part(&r, &m->part[i]);
        r.now += m->rates.step_s;
    }
    mem_free(r.use);
    *out = (struct cost){.step_s = larger((r.now - begin) / MEASURED, dram_floor(m)),
                         .link_s = r.sum.link_s / MEASURED, .device_s = r.sum.device_s / MEASURED,
                         .host_s = r.sum.host_s / MEASURED, .hop_s = r.sum.hop_s / MEASURED};
    return 0;
}
