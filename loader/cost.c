#include "cost.h"

#include "mem.h"

/* Steps. The ring fills during WARM_UP; then durations repeat, except where the ring wraps. */
enum { WARM_UP = 2, MEASURED = 4 };

/* One use of the ring by a streamed part. Positions only grow; the offset in the ring is at %
 * ring. */
struct use {
    uint64_t at, bytes;
    double copied; /* time at which its last byte arrived */
};

/* Uses of the ring are numbered: use n is that of streamed part n % n_item. released <= acquired <=
 * copying. */
struct clock_run {
    const struct cost_model *m;
    const struct cost_load *load;
    double now; /* time that the chain of computations has reached */
    /* the link: its time is link_t; it is copying use `copying`, `done` bytes of it so far */
    double link; /* bytes/s */
    double link_t, done;
    uint64_t n_item, released, acquired, copying, next_at;
    uint64_t *bytes; /* (n_item) */
    struct use *use; /* (n_item) use n at n % n_item */
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
            FAIL(e, ERR_BUG, "cost_step: part %d of layer %d cannot be streamed", (int)p->part,
                 p->layer);
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

static double work_host(double bytes, double rate, double ops, const struct plan_rates *r)
{
    return larger(work(bytes, rate, ops, r->host_ops), r->host_row > 0 ? bytes / r->host_row : 0);
}

/* ---- the link -------------------------------------------------------------------------------- */

/* Places the next use in the ring. */
static void link_place(struct clock_run *r)
{
    uint64_t ring = r->m->ring_bytes, at = r->next_at, bytes = r->bytes[r->copying % r->n_item];
    if (at % ring + bytes > ring)
        at += ring - at % ring;
    r->use[r->copying % r->n_item] = (struct use){at, bytes, 0};
    r->next_at = at + bytes;
}

/* Bytes of the current use that can be copied now: those before the bytes of an older use that is
 * not released. None while that older use is of the same part. */
static double link_room(const struct clock_run *r)
{
    if (!r->n_item || r->copying - r->released >= r->n_item)
        return 0;
    const struct use *u = &r->use[r->copying % r->n_item];
    uint64_t end = u->at + u->bytes;
    if (r->released < r->copying) {
        uint64_t limit = r->use[r->released % r->n_item].at + r->m->ring_bytes;
        end = limit < end ? limit : end;
    }
    double room = (double)(end > u->at ? end - u->at : 0) - r->done;
    return room >= 0.5 ? room : 0; /* less is rounding */
}

/* Copies this number of bytes, at most as many as there is room for. */
static void link_copy(struct clock_run *r, double bytes)
{
    r->done += bytes;
    r->link_t += bytes / r->link;
    r->sum.link_s += bytes / r->link;
    if (r->done < (double)r->use[r->copying % r->n_item].bytes - 0.5)
        return;
    r->use[r->copying % r->n_item].copied = r->link_t;
    r->copying++;
    r->done = 0;
    if (r->copying - r->released < r->n_item)
        link_place(r);
}

/* Runs the link until time t. */
static void link_advance(struct clock_run *r, double t)
{
    while (r->link_t < t) {
        double room = link_room(r), most = (t - r->link_t) * r->link;
        if (room > 0)
            link_copy(r, room < most ? room : most);
        if (room <= 0 || most <= room)
            r->link_t = t;
    }
}

/* Waits for the use of the next part to compute. */
static void link_acquire(struct clock_run *r)
{
    while (r->copying <= r->acquired)
        link_copy(r, link_room(r)); /* all older uses are released, so there is room */
    r->now = larger(r->now, r->use[r->acquired % r->n_item].copied);
    r->acquired++;
}

static void link_release(struct clock_run *r)
{
    link_advance(r, r->now); /* before this time the room was not free */
    bool waits = r->copying - r->released >= r->n_item;
    r->released++;
    if (waits)
        link_place(r);
}

/* Adds a computation of the CPU. While the link copies, the CPU gets less of the shared memory
 * rate. */
static void host_compute(struct clock_run *r, double bytes, double ops)
{
    const struct plan_rates *rates = &r->m->rates;
    double beside = rates->host;
    if (rates->dram > 0 && rates->dram - r->link < beside)
        beside = larger(rates->dram - r->link, rates->host / 10);
    double begin = r->now;
    link_advance(r, r->now);
    for (double left = 1; left > 0;) {
        double room = link_room(r) / r->link,
               whole = work_host(bytes, room > 0 ? beside : rates->host, ops, rates);
        double t = room > 0 && room < left * whole ? room : left * whole;
        left = t < left * whole ? left - t / whole : 0;
        r->now += t;
        link_advance(r, r->now);
    }
    r->sum.host_s += r->now - begin;
}

/* ---- the chain ------------------------------------------------------------------------------- */

static void cross(struct clock_run *r)
{
    const struct plan_rates *rates = &r->m->rates;
    double bytes = (double)r->load->rows * (double)r->m->row_bytes;
    double t = rates->hop_s + (rates->link > 0 ? bytes / rates->link : 0);
    r->sum.hop_s += t;
    r->now += t;
}

static int launches_output(int rows)
{
    return COST_LAUNCHES_OUTPUT +
           COST_LAUNCHES_SAMPLE * ((rows + COST_SAMPLE_ROWS - 1) / COST_SAMPLE_ROWS);
}

double cost_launches(int n_layer, double attn_more, int rows)
{
    return COST_LAUNCHES_EMBED + n_layer * (COST_LAUNCHES_ATTN + attn_more + COST_LAUNCHES_FFN) +
           launches_output(rows);
}

/* Positions of a sequence that attention reads, as the mean over layers. */
static double mean_kv_len(const struct cost_model *m, int kv_len)
{
    if (!m->n_windowed || kv_len <= m->window)
        return kv_len;
    return kv_len - (double)m->n_windowed / m->n_layer * (kv_len - m->window);
}

static void run_part(struct clock_run *r, const struct cost_part *p)
{
    const struct plan_rates *rates = &r->m->rates;
    double bytes = (double)p->bytes, ops = bytes * r->m->ops_per_byte * (double)r->load->rows;
    if (p->part == PART_EMBED) { /* rows are gathered, the matrix is not read */
        if (p->place == PLAN_HOST)
            cross(r);
        else
            r->now += COST_LAUNCHES_EMBED * rates->launch_s;
        return;
    }
    if (p->place == PLAN_HOST) {
        cross(r);
        host_compute(r, bytes, ops);
        cross(r);
        return;
    }
    if (p->place == PLAN_STREAM)
        link_acquire(r);
    const double launches = p->part == PART_ATTN  ? COST_LAUNCHES_ATTN + r->m->attn_more
                            : p->part == PART_FFN ? COST_LAUNCHES_FFN
                                                  : launches_output(r->load->rows);
    double t = work(bytes, rates->vram, ops, rates->device_ops) + launches * rates->launch_s;
    if (p->part == PART_ATTN)
        t += (double)r->load->n_seq * mean_kv_len(r->m, r->load->kv_len) *
             (double)r->m->kv_bytes_per_token / (double)r->m->n_layer / rates->vram;
    r->now += t;
    r->sum.device_s += t;
    if (p->place == PLAN_STREAM)
        link_release(r);
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

int cost_step(const struct cost_model *m, const struct cost_load *load, struct cost *out,
              struct err *e)
{
    struct clock_run r = {.m = m, .load = load, .link = m->rates.link};
    TRY(cost_check(m, &r.n_item, e));
    if (m->from_disk && m->rates.disk > 0 && m->rates.disk < r.link)
        r.link = m->rates.disk;
    r.use = mem_zalloc((size_t)r.n_item + 1, sizeof *r.use);
    r.bytes = mem_zalloc((size_t)r.n_item + 1, sizeof *r.bytes);
    if (!r.use || !r.bytes) {
        mem_free(r.use);
        mem_free(r.bytes);
        return NOMEM(e, (size_t)r.n_item * sizeof *r.use, "a prediction");
    }
    for (int i = 0, n = 0; i < m->n_part; i++)
        if (m->part[i].place == PLAN_STREAM)
            r.bytes[n++] = m->part[i].bytes;
    if (r.n_item)
        link_place(&r);
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
    mem_free(r.bytes);
    *out = (struct cost){.step_s = larger((r.now - begin) / MEASURED, dram_floor(m)),
                         .link_s = r.sum.link_s / MEASURED,
                         .device_s = r.sum.device_s / MEASURED,
                         .host_s = r.sum.host_s / MEASURED,
                         .hop_s = r.sum.hop_s / MEASURED};
    return 0;
}
