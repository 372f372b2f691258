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

/* A device. Uses of its ring are numbered: use n is that of streamed part n % n_item. released <=
 * acquired <= copying. */
struct card {
    struct cost_device is;
    int first, n_part; /* its parts */
    bool flows;        /* of several: it computes all its parts from its own memory, in one go */
    struct flow {      /* the times of the last two loads */
        int rows, n_seq;
        double seconds;
    } flow[2];
    double free; /* time at which its last computation ended */
    /* the link: its time is link_t; it is copying use `copying`, `done` bytes of it so far */
    double link; /* bytes/s */
    double link_t, done;
    uint64_t n_item, released, acquired, copying, next_at;
    uint64_t *bytes;         /* (n_item) */
    struct use *use;         /* (n_item) use n at n % n_item */
    double link_s, device_s; /* sums */
};

struct clock_run {
    const struct cost_model *m;
    struct cost_load load; /* of the current micro-batch */
    double now;            /* time that its chain of computations has reached */
    struct card card[COST_DEVICES];
    int n_card, at; /* at: the card that has the activations */
    struct cost sum;
};

static double larger(double a, double b)
{
    return a > b ? a : b;
}

/* The cards of the model, without their rings. */
static void cards_fill(struct clock_run *r)
{
    const struct cost_model *m = r->m;
    const struct cost_device one = {.vram = m->rates.vram,
                                    .link = m->rates.link,
                                    .device_ops = m->rates.device_ops,
                                    .launch_s = m->rates.launch_s,
                                    .ring_bytes = m->ring_bytes};
    int streaming = 0;
    r->n_card = m->n_device > 0 ? m->n_device : 1;
    for (int d = 0; d < r->n_card; d++)
        r->card[d].is = m->n_device > 0 ? m->device[d] : one;
    for (int d = 0; d < r->n_card; d++)
        r->card[d].flows = m->n_device > 0 && !m->by_part;
    for (int i = 0; i < m->n_part; i++) {
        struct card *c = &r->card[m->part[i].device];
        c->first = c->n_part ? c->first : i;
        c->n_part++;
        c->n_item += m->part[i].place == PLAN_STREAM;
        c->flows = c->flows && (m->part[i].place == PLAN_VRAM || m->part[i].part == PART_EMBED);
    }
    for (int d = 0; d < r->n_card; d++)
        streaming += r->card[d].n_item > 0;
    for (int d = 0; d < r->n_card; d++) {
        const double disk = streaming ? m->rates.disk / streaming : 0; /* they share it */
        r->card[d].link = r->card[d].is.link;
        if (m->from_disk && disk > 0 && disk < r->card[d].link)
            r->card[d].link = disk;
    }
}

static int cost_check_part(const struct cost_model *m, const struct cost_part *p, int before,
                           struct err *e)
{
    if (p->device < 0 || p->device >= (m->n_device > 0 ? m->n_device : 1) || p->device < before)
        FAIL(e, ERR_BUG, "cost_step: part %d of layer %d on device %d of %d, after device %d",
             (int)p->part, p->layer, p->device, m->n_device, before);
    const double vram = m->n_device > 0 ? m->device[p->device].vram : m->rates.vram,
                 link = m->n_device > 0 ? m->device[p->device].link : m->rates.link;
    const uint64_t ring = m->n_device > 0 ? m->device[p->device].ring_bytes : m->ring_bytes;
    if (p->place == PLAN_STREAM && (link <= 0 || p->bytes > ring))
        FAIL(e, ERR_BUG, "cost_step: part %d of layer %d cannot be streamed", (int)p->part,
             p->layer);
    if (p->place == PLAN_HOST && p->part == PART_FFN && (m->rates.host <= 0 || m->n_micro > 1))
        FAIL(e, ERR_BUG, "cost_step: layer %d on a host without a rate, or in %d micro-batches",
             p->layer, m->n_micro);
    if (!(vram > 0))
        FAIL(e, ERR_BUG, "cost_step: no rate of the device's memory");
    if (p->device > before && !(m->hop[before * m->n_device + p->device].rate > 0))
        FAIL(e, ERR_BUG, "cost_step: no rate from device %d to %d", before, p->device);
    return 0;
}

static int cost_check(const struct cost_model *m, struct err *e)
{
    if (m->n_device < 0 || m->n_device > COST_DEVICES || m->n_part < 1)
        FAIL(e, ERR_BUG, "cost_step: %d parts on %d devices: must be 1 or more on at most %d",
             m->n_part, m->n_device, COST_DEVICES);
    for (int i = 0; i < m->n_part; i++)
        TRY(cost_check_part(m, &m->part[i], m->part[i ? i - 1 : 0].device, e));
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
static void link_place(struct card *c)
{
    uint64_t ring = c->is.ring_bytes, at = c->next_at, bytes = c->bytes[c->copying % c->n_item];
    if (at % ring + bytes > ring)
        at += ring - at % ring;
    c->use[c->copying % c->n_item] = (struct use){at, bytes, 0};
    c->next_at = at + bytes;
}

/* Bytes of the current use that can be copied now: those before the bytes of an older use that is
 * not released. None while that older use is of the same part. */
static double link_room(const struct card *c)
{
    if (!c->n_item || c->copying - c->released >= c->n_item)
        return 0;
    const struct use *u = &c->use[c->copying % c->n_item];
    uint64_t end = u->at + u->bytes;
    if (c->released < c->copying) {
        uint64_t limit = c->use[c->released % c->n_item].at + c->is.ring_bytes;
        end = limit < end ? limit : end;
    }
    double room = (double)(end > u->at ? end - u->at : 0) - c->done;
    return room >= 0.5 ? room : 0; /* less is rounding */
}

/* Copies this number of bytes, at most as many as there is room for. */
static void link_copy(struct card *c, double bytes)
{
    c->done += bytes;
    c->link_t += bytes / c->link;
    c->link_s += bytes / c->link;
    if (c->done < (double)c->use[c->copying % c->n_item].bytes - 0.5)
        return;
    c->use[c->copying % c->n_item].copied = c->link_t;
    c->copying++;
    c->done = 0;
    if (c->copying - c->released < c->n_item)
        link_place(c);
}

/* Runs the link until time t. */
static void link_advance(struct card *c, double t)
{
    while (c->link_t < t) {
        double room = link_room(c), most = (t - c->link_t) * c->link;
        if (room > 0)
            link_copy(c, room < most ? room : most);
        if (room <= 0 || most <= room)
            c->link_t = t;
    }
}

/* Waits for the use of the next part to compute. */
static void link_acquire(struct clock_run *r, struct card *c)
{
    while (c->copying <= c->acquired)
        link_copy(c, link_room(c)); /* all older uses are released, so there is room */
    r->now = larger(r->now, c->use[c->acquired % c->n_item].copied);
    c->acquired++;
}

static void link_release(struct clock_run *r, struct card *c)
{
    link_advance(c, r->now); /* before this time the room was not free */
    bool waits = c->copying - c->released >= c->n_item;
    c->released++;
    if (waits)
        link_place(c);
}

/* Runs all links until now. *rate: bytes/s of those that still copy. Returns the seconds until the
 * first of them has no more room; 0 = none copies. */
static double links_beside(struct clock_run *r, double *rate)
{
    double until = 0;
    *rate = 0;
    for (int d = 0; d < r->n_card; d++) {
        struct card *c = &r->card[d];
        if (!c->n_item)
            continue;
        link_advance(c, r->now);
        double room = link_room(c) / c->link;
        if (room > 0) {
            *rate += c->link;
            until = until > 0 && until < room ? until : room;
        }
    }
    return until;
}

/* Adds a computation of the CPU. While links copy, the CPU gets less of the shared memory rate. */
static void host_compute(struct clock_run *r, double bytes, double ops)
{
    const struct plan_rates *rates = &r->m->rates;
    double links, begin = r->now;
    for (double left = 1; left > 0;) {
        double room = links_beside(r, &links), beside = rates->host;
        if (rates->dram > 0 && rates->dram - links < beside)
            beside = larger(rates->dram - links, rates->host / 10);
        double whole = work_host(bytes, room > 0 ? beside : rates->host, ops, rates);
        double t = room > 0 && room < left * whole ? room : left * whole;
        left = t < left * whole ? left - t / whole : 0;
        r->now += t;
    }
    (void)links_beside(r, &links);
    r->sum.host_s += r->now - begin;
}

/* ---- the chain ------------------------------------------------------------------------------- */

/* Between the card and the host. */
static void cross(struct clock_run *r, const struct card *c)
{
    double bytes = (double)r->load.rows * (double)r->m->row_bytes;
    double t = r->m->rates.hop_s + (c->is.link > 0 ? bytes / c->is.link : 0);
    r->sum.hop_s += t;
    r->now += t;
}

/* Between two cards. */
static void cross_border(struct clock_run *r, int to)
{
    const struct cost_hop *h = &r->m->hop[r->at * r->m->n_device + to];
    double t = h->hop_s + (double)r->load.rows * (double)r->m->row_bytes / h->rate;
    r->sum.border_s += t;
    r->now += t;
    r->at = to;
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

double cost_part_launches(const struct cost_model *m, enum plan_part part, int rows)
{
    return part == PART_EMBED  ? COST_LAUNCHES_EMBED
           : part == PART_ATTN ? COST_LAUNCHES_ATTN + m->attn_more
           : part == PART_FFN  ? COST_LAUNCHES_FFN
                               : launches_output(rows);
}

double cost_part_seconds(const struct cost_model *m, const struct cost_load *load,
                         const struct cost_device *on, const struct cost_part *p, double ops)
{
    const double launches = cost_part_launches(m, p->part, load->rows);
    if (p->part == PART_EMBED) /* rows are gathered, the matrix is not read */
        return launches * on->launch_s;
    double t = work((double)p->bytes, on->vram, ops, on->device_ops) + launches * on->launch_s;
    if (p->part == PART_ATTN)
        t += (double)load->n_seq * mean_kv_len(m, load->kv_len) * (double)m->kv_bytes_per_token /
             (double)m->n_layer / on->vram;
    return t;
}

static double card_seconds(const struct clock_run *r, const struct card *c,
                           const struct cost_part *p, double ops)
{
    return cost_part_seconds(r->m, &r->load, &c->is, p, ops);
}

static void run_part(struct clock_run *r, const struct cost_part *p)
{
    struct card *c = &r->card[p->device];
    double bytes = (double)p->bytes, ops = bytes * r->m->ops_per_byte * (double)r->load.rows;
    if (p->device != r->at)
        cross_border(r, p->device);
    if (p->place == PLAN_HOST) {
        cross(r, c);
        if (p->part == PART_EMBED)
            return;
        host_compute(r, bytes, ops);
        cross(r, c);
        return;
    }
    r->now = larger(r->now, c->free);
    if (p->place == PLAN_STREAM)
        link_acquire(r, c);
    double t = card_seconds(r, c, p, ops);
    r->now += t;
    c->free = r->now;
    if (p->part != PART_EMBED)
        c->device_s += t;
    if (p->place == PLAN_STREAM)
        link_release(r, c);
}

static double dram_floor(const struct cost_model *m)
{
    double bytes = 0;
    for (int i = 0; i < m->n_part; i++)
        if (m->part[i].place == PLAN_STREAM ||
            (m->part[i].place == PLAN_HOST && m->part[i].part == PART_FFN))
            bytes += (double)m->part[i].bytes;
    bytes *= m->n_micro > 1 ? m->n_micro : 1;
    return m->rates.dram > 0 ? bytes / m->rates.dram : 0;
}

static int cards_open(struct clock_run *r, struct err *e)
{
    const struct cost_model *m = r->m;
    for (int d = 0; d < r->n_card; d++) {
        struct card *c = &r->card[d];
        c->use = mem_zalloc((size_t)c->n_item + 1, sizeof *c->use);
        c->bytes = mem_zalloc((size_t)c->n_item + 1, sizeof *c->bytes);
        if (!c->use || !c->bytes)
            return NOMEM(e, (size_t)c->n_item * sizeof *c->use, "a prediction");
        uint64_t n = 0;
        for (int i = 0; i < m->n_part; i++)
            if (m->part[i].place == PLAN_STREAM && m->part[i].device == d)
                c->bytes[n++] = m->part[i].bytes;
        if (c->n_item)
            link_place(c);
    }
    return 0;
}

static void cards_close(struct clock_run *r)
{
    for (int d = 0; d < r->n_card; d++) {
        mem_free(r->card[d].use);
        mem_free(r->card[d].bytes);
    }
}

static void begin_measuring(struct clock_run *r)
{
    r->sum = (struct cost){.step_s = 0};
    for (int d = 0; d < r->n_card; d++)
        r->card[d].link_s = r->card[d].device_s = 0;
}

/* Time of the parts first .. end - 1, all in the memory of the card. The last times are kept, since
 * a step has two sizes of micro-batches at most. */
static double flow_seconds(const struct clock_run *r, struct card *c, int first, int end)
{
    const struct cost_model *m = r->m;
    for (int i = 0; i < 2; i++)
        if (c->flow[i].rows == r->load.rows && c->flow[i].n_seq == r->load.n_seq)
            return c->flow[i].seconds;
    double sum = 0;
    for (int i = first; i < end; i++)
        sum += card_seconds(r, c, &m->part[i],
                            (double)m->part[i].bytes * m->ops_per_byte * (double)r->load.rows);
    c->flow[1] = c->flow[0];
    c->flow[0] = (struct flow){r->load.rows, r->load.n_seq, sum};
    return sum;
}

/* The parts of a card for the micro-batch, without the output if `joined`. */
static void run_card(struct clock_run *r, struct card *c, bool joined)
{
    const struct cost_part *part = r->m->part;
    int first = c->first, end = c->first + c->n_part;
    if (joined && first < end && part[end - 1].part == PART_OUTPUT)
        end--;
    while (first < end && (!c->flows || part[first].place == PLAN_HOST))
        run_part(r, &part[first++]);
    if (first == end)
        return;
    if (part[first].device != r->at)
        cross_border(r, part[first].device);
    double t = flow_seconds(r, c, first, end);
    r->now = larger(r->now, c->free) + t;
    c->free = r->now;
    c->device_s += t;
}

/* One step. ready: (n_micro) the time at which each micro-batch may begin; then that of the next
 * step. Returns the latest of these. */
static double run_step(struct clock_run *r, const struct cost_load *load, int n_micro,
                       double *ready)
{
    const struct cost_model *m = r->m;
    const bool joined = n_micro > 1 && !m->steps_overlap;
    double last = 0;
    for (int k = 0; k < n_micro; k++) {
        r->load.rows = load->rows / n_micro + (k < load->rows % n_micro);
        r->load.n_seq = load->n_seq / n_micro + (k < load->n_seq % n_micro);
        r->now = ready[k];
        r->at = m->part[0].device;
        for (int d = 0; d < r->n_card; d++)
            run_card(r, &r->card[d], joined);
        ready[k] = r->now + m->rates.step_s;
        last = larger(last, ready[k]);
    }
    r->load = *load;
    for (int i = 0; i < m->n_part && joined; i++)
        if (m->part[i].part == PART_OUTPUT) {
            run_part(r, &m->part[i]);
            last = r->now + m->rates.step_s;
        }
    for (int k = 0; k < n_micro && !m->steps_overlap; k++)
        ready[k] = last;
    return last;
}

static void cost_write(const struct clock_run *r, double step_s, struct cost *out)
{
    *out = (struct cost){.step_s = larger(step_s, dram_floor(r->m)),
                         .host_s = r->sum.host_s / MEASURED,
                         .hop_s = r->sum.hop_s / MEASURED,
                         .border_s = r->sum.border_s / MEASURED};
    for (int d = 0; d < r->n_card; d++) {
        out->busy_s[d] = r->card[d].device_s / MEASURED;
        out->device_s = larger(out->device_s, out->busy_s[d]);
        out->link_s = larger(out->link_s, r->card[d].link_s / MEASURED);
    }
}

int cost_step(const struct cost_model *m, const struct cost_load *load, struct cost *out,
              struct err *e)
{
    struct clock_run r = {.m = m, .load = *load};
    double ready[COST_MICRO] = {0}, begin = 0, end = 0;
    const int n_micro = m->n_micro > 1 ? m->n_micro : 1,
              warm_up = WARM_UP + (n_micro > 1 ? m->n_device : 0);
    if (n_micro > COST_MICRO || (n_micro > 1 && n_micro > load->rows))
        FAIL(e, ERR_BUG, "cost_step: %d micro-batches of %d rows: at most %d", n_micro, load->rows,
             COST_MICRO);
    if (m->rows)
        return cost_rows_step(m, load, out, e);
    TRY(cost_check(m, e));
    cards_fill(&r);
    int rc = cards_open(&r, e);
    for (int step = 0; rc == 0 && step < warm_up + MEASURED; step++) {
        if (step == warm_up) {
            begin = end;
            begin_measuring(&r);
        }
        end = run_step(&r, load, n_micro, ready);
    }
    cards_close(&r);
    TRY(rc);
    cost_write(&r, (end - begin) / MEASURED, out);
    return 0;
}
