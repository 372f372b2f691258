/* cost_rows: a step of tensor parallel, where every device has a share of each matrix. Each device
 * has a clock, and so has the host, which queues the work of one device after the other. Work
 * starts when it is queued, or after the work before it. A gather sets the clock of a device to the
 * time at which the last share has arrived. */
#include "cost.h"

struct rows_run {
    const struct cost_model *m;
    struct cost_model one; /* the same for a single device: its share of the KV cache */
    const struct cost_load *load;
    double now[COST_DEVICES]; /* the clocks, in seconds */
    double host;              /* the host's: its calls so far */
    struct cost sum;
};

/* copies of a step beside gathers: settings of the sampler, masks, tokens, log-probabilities */
enum { ROWS_RESULTS = 4 };

static double larger(double a, double b)
{
    return a > b ? a : b;
}

static const struct cost_hop *hop_of(const struct cost_model *m, int from, int to)
{
    return &m->hop[from * m->n_device + to];
}

/* True when device d sends through pinned memory, as some device cannot read its memory. */
static bool sends_by_host(const struct cost_model *m, int d)
{
    for (int to = 0; to < m->n_device; to++)
        if (to != d && !hop_of(m, d, to)->peer)
            return true;
    return false;
}

/* Queues n kernels or one copy of device d, which take this time. */
static void work(struct rows_run *r, int d, double n, double seconds)
{
    const double call_s = r->m->rows->call_s;
    r->now[d] = larger(r->now[d], r->host + call_s) + seconds;
    r->host += n * call_s;
    r->now[d] = larger(r->now[d], r->host);
}

static void copy(struct rows_run *r, int d, double bytes, double rate)
{
    work(r, d, 1, r->m->rows->copy_s + bytes / rate);
}

/* Device `from` sends its share, -1: each does. Device `to` gets them, -1: each does. */
static void gather(struct rows_run *r, int from, int to, double bytes)
{
    const struct cost_model *m = r->m;
    double sent[COST_DEVICES];
    for (int s = 0; s < m->n_device; s++) {
        const bool by_host = sends_by_host(m, s);
        if (from >= 0 && s != from)
            continue;
        if (by_host)
            copy(r, s, bytes, m->device[s].link);
        r->host += m->rows->call_s;
        sent[s] = larger(r->now[s], r->host);
    }
    for (int d = 0; d < m->n_device; d++)
        for (int s = 0; s < m->n_device; s++) {
            const struct cost_hop *h = hop_of(m, s, d);
            if (s == d || (from >= 0 && s != from) || (to >= 0 && d != to))
                continue;
            r->host += m->rows->call_s;
            r->now[d] = larger(r->now[d], sent[s]);
            copy(r, d, bytes, h->peer ? h->rate : m->device[d].link);
        }
}

/* `share` of a part on devices first .. n_device - 1, of which each has 1 / n of its bytes.
 * kernels: launches beside those of the part. */
static void compute(struct rows_run *r, const struct cost_part *p, double share, int first, int n,
                    int kernels)
{
    const struct cost_model *m = r->m;
    struct cost_part mine = *p;
    mine.bytes = p->bytes / (uint64_t)n;
    const double ops = (double)mine.bytes * m->ops_per_byte * (double)r->load->rows;
    for (int d = first; d < m->n_device; d++) {
        const struct cost_device *on = &m->device[d];
        const double t =
            share * cost_part_seconds(&r->one, r->load, on, &mine, ops) + kernels * on->launch_s;
        r->sum.busy_s[d] += t;
        work(r, d,
             kernels + share * (p->part == PART_OUTPUT && d + 1 < m->n_device
                                    ? COST_LAUNCHES_OUTPUT /* the last one samples */
                                    : cost_part_launches(m, p->part, r->load->rows)),
             t);
    }
}

/* Half of the part, a gather, the other half, a gather. Results of more than one row are put into
 * order by a kernel after each gather. */
static void layer_part(struct rows_run *r, const struct cost_part *p)
{
    const int n = r->m->n_device, kernels = r->load->rows > 1;
    const double rows = (double)r->load->rows / n;
    const struct cost_rows *w = r->m->rows;
    compute(r, p, 0.5, 0, n, kernels);
    gather(r, -1, -1, rows * (double)(p->part == PART_ATTN ? w->head_bytes : w->ffn_bytes));
    compute(r, p, 0.5, 0, n, kernels);
    gather(r, -1, -1, rows * (double)r->m->row_bytes);
}

static void output(struct rows_run *r, const struct cost_part *p)
{
    const int n = r->m->n_device;
    if (!r->m->rows->output) {
        compute(r, p, 1, n - 1, 1, 0);
        return;
    }
    compute(r, p, 1, 0, n, r->load->rows > 1);
    gather(r, -1, n - 1, (double)r->load->rows / n * (double)r->m->rows->logit_bytes);
}

static int rows_check(const struct cost_model *m, struct err *e)
{
    if (m->n_device < 2 || m->n_device > COST_DEVICES)
        FAIL(e, ERR_BUG, "cost_step: %d devices share matrices: must be 2 to %d", m->n_device,
             COST_DEVICES);
    for (int i = 0; i < m->n_part; i++)
        if (m->part[i].place != PLAN_VRAM)
            FAIL(e, ERR_BUG, "cost_step: part %d of layer %d is not resident: no device shares it",
                 (int)m->part[i].part, m->part[i].layer);
    for (int d = 0; d < m->n_device; d++) {
        if (!(m->device[d].vram > 0 && m->device[d].link > 0))
            FAIL(e, ERR_BUG, "cost_step: no rates of device %d", d);
        for (int s = 0; s < m->n_device; s++)
            if (s != d && !(hop_of(m, s, d)->rate > 0))
                FAIL(e, ERR_BUG, "cost_step: no rate from device %d to %d", s, d);
    }
    return 0;
}

static void part(struct rows_run *r, const struct cost_part *p)
{
    switch (p->part) {
    case PART_EMBED: /* on the first device */
        work(r, 0, 1, cost_part_seconds(r->m, r->load, &r->m->device[0], p, 0));
        gather(r, 0, -1, (double)r->load->rows * (double)r->m->row_bytes);
        break;
    case PART_ATTN:
    case PART_FFN:
        layer_part(r, p);
        break;
    case PART_OUTPUT:
        output(r, p);
        break;
    }
}

int cost_rows_step(const struct cost_model *m, const struct cost_load *load, struct cost *out,
                   struct err *e)
{
    struct rows_run r = {.m = m, .one = *m, .load = load};
    double end = 0;
    TRY(rows_check(m, e));
    r.one.kv_bytes_per_token = m->kv_bytes_per_token / (uint64_t)m->n_device;
    for (int d = 0; d < m->n_device; d++) {
        r.now[d] = m->rates.hop_s;
        copy(&r, d, 0, 1); /* the batch */
    }
    for (int i = 0; i < m->n_part; i++)
        part(&r, &m->part[i]);
    for (int i = 0; i < ROWS_RESULTS; i++)
        copy(&r, m->n_device - 1, 0, 1);
    for (int d = 0; d < m->n_device; d++) {
        end = larger(end, r.now[d] + m->rates.hop_s);
        r.sum.device_s = larger(r.sum.device_s, r.sum.busy_s[d]);
    }
    *out = r.sum;
    out->call_s = r.host;
    out->border_s = end - r.sum.device_s;
    out->step_s = end + m->rates.step_s;
    return 0;
}
